//! What an attempt means: for its message, and for the upstream's pace. Pure, so that the table can be read and tested.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::{AttemptOutcome, Backoff, Delivery, Failure, StoredResponse, after};
use crate::problem::FailureClass;

/// What is known of an attempt besides its end.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// This attempt's number among those that count, from 1.
    pub number: u32,
    pub max_attempts: u32,
    pub deadline: Timestamp,
    /// When the upstream may first have seen the idempotency key.
    pub first_sent: Timestamp,
    pub repeats: Repeats,
    /// An earlier attempt may have had its effect.
    pub was_in_doubt: bool,
    /// Closed doors in a row at this upstream before this attempt.
    pub closed_door_failures: u32,
}

/// What an attempt says of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It works.
    Answered,
    /// It failed at this message.
    Trouble,
    /// It wants no messages for a while.
    Pause { until: Timestamp },
    /// It works, and says that its own limit is used up until then.
    Spent { until: Timestamp },
    /// Nothing: it was not asked.
    None,
}

/// An upstream cannot ask for a longer pause than this, by `Retry-After` or by the fields of its limit.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

pub(super) const PARKED: &str =
    "an attempt may have had its effect, and the upstream does not (or no longer) recognise a repeat";

/// Decides what becomes of a message after an attempt. `random`, from 0 up to 1, is the jitter.
///
/// | the attempt | means | then |
/// | --- | --- | --- |
/// | not sent | nothing was done | again soon, not counted; the upstream pauses |
/// | unsendable | nothing was done, and it is not the upstream's fault | again later, not counted |
/// | 2xx, or withheld | done | delivered |
/// | 429; 503 with `Retry-After` | nothing was done | again when asked to, not counted; the upstream pauses |
/// | 425 | nothing was done | again, counted |
/// | 401, 403 | the gateway's credentials are refused | again later, not counted; the upstream pauses |
/// | 409 to a repeat | an earlier attempt is still under way | in doubt |
/// | 408, other 5xx, broken off | may have been done | in doubt: the same key again while the upstream honours it, or asked by a lookup, else parked |
/// | everything else | refused | rejected |
///
/// An answer that says that the upstream's own limit is used up holds back all messages until it is not.
pub fn classify(delivery: Delivery, attempt: &Attempt, now: Timestamp, random: f64) -> (AttemptOutcome, Signal) {
    let (response, retry_after, spent) = match delivery {
        Delivery::Answer {
            response,
            retry_after,
            spent,
        } => (response, retry_after, spent),
        Delivery::Unsendable(cause) => {
            let at = after(now, Backoff::UNSENDABLE.wait(1, random)).min(attempt.deadline);
            let failure = Failure::technical(cause);
            return (
                AttemptOutcome::RetryAt {
                    at,
                    failure,
                    counts: false,
                },
                Signal::None,
            );
        }
        Delivery::NotSent(cause) => {
            let failure = Failure::technical(cause);
            return closed_door(failure, None, Backoff::CLOSED_DOOR, attempt, now, random);
        }
        Delivery::Broken(cause) => {
            return (
                in_doubt(Failure::technical(cause), None, attempt, now, random),
                Signal::Trouble,
            );
        }
        Delivery::Withheld { status, note } => {
            return (AttemptOutcome::Delivered(withheld(status, &note)), Signal::Answered);
        }
    };
    let status = response.status;
    let failure = |class| Failure {
        class,
        cause: format!("the upstream answered {status}"),
    };
    let (technical, partner) = (failure(FailureClass::Technical), failure(FailureClass::Partner));
    // Where it only throttles, when its limit is there again is when to come back.
    let retry_after = retry_after.or(spent.filter(|_| status == 429));
    let (outcome, signal) = match status {
        200..=299 => (AttemptOutcome::Delivered(response), Signal::Answered),
        429 => closed_door(partner, retry_after, Backoff::CLOSED_DOOR, attempt, now, random),
        503 if retry_after.is_some() => closed_door(technical, retry_after, Backoff::CLOSED_DOOR, attempt, now, random),
        401 | 403 => closed_door(partner, retry_after, Backoff::MESSAGE, attempt, now, random),
        425 => (again(technical, retry_after, attempt, now, random), Signal::Trouble),
        // Nobody but an earlier attempt of ours has sent this key; a first attempt's 409 is a matter of business.
        409 if attempt.was_in_doubt && attempt.number < attempt.max_attempts => {
            (in_doubt(technical, retry_after, attempt, now, random), Signal::Answered)
        }
        408 | 500.. => (in_doubt(technical, retry_after, attempt, now, random), Signal::Trouble),
        _ => (AttemptOutcome::Rejected(response), Signal::Answered),
    };
    let signal = match (signal, spent) {
        (Signal::Answered, Some(wait)) => Signal::Spent {
            until: after(now, wait.min(LONGEST_RETRY_AFTER)),
        },
        (signal, _) => signal,
    };
    (outcome, signal)
}

/// What an upstream does with a request it has seen before: how doubt is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// The same idempotency key has one effect, for this long.
    Honoured { retention: Duration },
    /// It can be asked whether it did it, this long after the attempt.
    Lookup { settle: Duration },
    /// It may do it twice; a person has to find out.
    Unsafe,
}

impl Repeats {
    /// Whether doubt about an attempt first made at `first_sent` can be resolved at `at` without a person.
    pub(super) fn resolves(self, first_sent: Timestamp, at: Timestamp) -> bool {
        match self {
            Self::Honoured { retention } => {
                // A margin for clocks that differ and for the way there.
                let kept = retention.saturating_sub((retention / 10).min(Duration::from_mins(1)));
                after(first_sent, kept) > at
            }
            Self::Lookup { .. } => true,
            Self::Unsafe => false,
        }
    }
}

pub(super) fn exhausted(is_in_doubt: bool, cause: &str) -> String {
    let doubt = if is_in_doubt {
        "; an attempt may have had its effect"
    } else {
        ""
    };
    format!("its attempts are used up, the last one: {cause}{doubt}")
}

fn closed_door(
    failure: Failure,
    retry_after: Option<Duration>,
    backoff: Backoff,
    attempt: &Attempt,
    now: Timestamp,
    random: f64,
) -> (AttemptOutcome, Signal) {
    let wait = backoff.wait(attempt.closed_door_failures.saturating_add(1), random);
    let until = after(now, wait.max(floor(retry_after)));
    (
        AttemptOutcome::RetryAt {
            at: until.min(attempt.deadline),
            failure,
            counts: false,
        },
        Signal::Pause { until },
    )
}

fn floor(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER)
}

fn again(
    failure: Failure,
    retry_after: Option<Duration>,
    attempt: &Attempt,
    now: Timestamp,
    random: f64,
) -> AttemptOutcome {
    if attempt.number >= attempt.max_attempts {
        return dead(attempt.was_in_doubt, &failure);
    }
    AttemptOutcome::RetryAt {
        at: next(attempt, retry_after, now, random),
        failure,
        counts: true,
    }
}

fn dead(is_in_doubt: bool, failure: &Failure) -> AttemptOutcome {
    let failure = Failure {
        cause: exhausted(is_in_doubt, &failure.cause),
        class: failure.class,
    };
    AttemptOutcome::Dead { failure, is_in_doubt }
}

fn in_doubt(
    failure: Failure,
    retry_after: Option<Duration>,
    attempt: &Attempt,
    now: Timestamp,
    random: f64,
) -> AttemptOutcome {
    let at = next(attempt, retry_after, now, random);
    if !attempt.repeats.resolves(attempt.first_sent, at) {
        let cause = format!("{}; {PARKED}", failure.cause);
        return AttemptOutcome::Parked {
            failure: Failure { cause, ..failure },
        };
    }
    if attempt.number >= attempt.max_attempts {
        return dead(true, &failure);
    }
    AttemptOutcome::InDoubt { at, failure }
}

/// At the deadline at the latest: there the log ends the message.
fn next(attempt: &Attempt, retry_after: Option<Duration>, now: Timestamp, random: f64) -> Timestamp {
    let wait = Backoff::MESSAGE.wait(attempt.number, random).max(floor(retry_after));
    after(now, wait).min(attempt.deadline)
}

fn withheld(status: u16, note: &str) -> StoredResponse {
    let body = serde_json::json!({ "note": note }).to_string();
    StoredResponse {
        status,
        headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: Bytes::from(body),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const DAY: Duration = Duration::from_hours(24);

    fn first() -> Attempt {
        Attempt {
            number: 1,
            max_attempts: 5,
            deadline: after(NOW, 3 * DAY),
            first_sent: NOW,
            repeats: Repeats::Honoured { retention: DAY },
            was_in_doubt: false,
            closed_door_failures: 0,
        }
    }

    fn answer(status: u16) -> Delivery {
        let response = StoredResponse {
            status,
            headers: vec![],
            body: Bytes::new(),
        };
        Delivery::Answer {
            response,
            retry_after: None,
            spent: None,
        }
    }

    fn answer_with_retry_after(status: u16, seconds: u64) -> Delivery {
        let response = StoredResponse {
            status,
            headers: vec![],
            body: Bytes::new(),
        };
        Delivery::Answer {
            response,
            retry_after: Some(Duration::from_secs(seconds)),
            spent: None,
        }
    }

    fn judge(delivery: Delivery, attempt: &Attempt) -> (&'static str, Signal) {
        let (outcome, signal) = classify(delivery, attempt, NOW, 1.0);
        let outcome = match outcome {
            AttemptOutcome::Delivered(_) => "delivered",
            AttemptOutcome::Rejected(_) => "rejected",
            AttemptOutcome::RetryAt { counts: true, .. } => "retry, counted",
            AttemptOutcome::RetryAt { counts: false, .. } => "retry",
            AttemptOutcome::InDoubt { .. } => "in doubt",
            AttemptOutcome::Parked { .. } => "parked",
            AttemptOutcome::Dead { .. } => "dead",
            AttemptOutcome::Answered(_) | AttemptOutcome::Lost { .. } | AttemptOutcome::Forgotten => {
                unreachable!("no upstream says so")
            }
        };
        (outcome, signal)
    }

    fn in_millis(millis: u64) -> Timestamp {
        after(NOW, Duration::from_millis(millis))
    }

    #[test]
    fn definite_answers_end_a_message() {
        for status in [200, 201, 204, 299] {
            assert_eq!(
                judge(answer(status), &first()),
                ("delivered", Signal::Answered),
                "{status}"
            );
        }
        for status in [304, 400, 404, 405, 409, 410, 413, 415, 422, 451] {
            assert_eq!(
                judge(answer(status), &first()),
                ("rejected", Signal::Answered),
                "{status}"
            );
        }
    }

    #[test]
    fn what_may_have_been_done_is_in_doubt_where_repeats_are_honoured() {
        for status in [408, 500, 502, 503, 504, 599] {
            assert_eq!(
                judge(answer(status), &first()),
                ("in doubt", Signal::Trouble),
                "{status}"
            );
        }
        assert_eq!(
            judge(Delivery::Broken("reset".into()), &first()),
            ("in doubt", Signal::Trouble)
        );
    }

    #[test]
    fn what_may_have_been_done_is_parked_where_they_are_not() {
        let attempt = Attempt {
            repeats: Repeats::Unsafe,
            ..first()
        };
        for status in [408, 500, 502, 503, 504] {
            assert_eq!(judge(answer(status), &attempt), ("parked", Signal::Trouble), "{status}");
        }
        assert_eq!(
            judge(Delivery::Broken("reset".into()), &attempt),
            ("parked", Signal::Trouble)
        );
    }

    #[test]
    fn doubt_older_than_the_upstreams_memory_is_parked() {
        let sent = |ago| Attempt {
            first_sent: NOW.saturating_sub(ago).unwrap(),
            ..first()
        };
        assert_eq!(judge(answer(500), &sent(Duration::from_secs(86_339))).0, "in doubt");
        assert_eq!(judge(answer(500), &sent(Duration::from_mins(24 * 60 - 1))).0, "parked");
    }

    #[test]
    fn what_was_not_sent_is_retried_soon_and_not_counted() {
        let (outcome, signal) = classify(Delivery::NotSent("refused".into()), &first(), NOW, 1.0);
        let at = in_millis(200);
        assert_eq!(
            outcome,
            AttemptOutcome::RetryAt {
                at,
                failure: Failure::technical("refused"),
                counts: false
            }
        );
        assert_eq!(signal, Signal::Pause { until: at });

        let long_closed = Attempt {
            closed_door_failures: 1000,
            number: 5,
            repeats: Repeats::Unsafe,
            ..first()
        };
        assert_eq!(
            classify(Delivery::NotSent(String::new()), &long_closed, NOW, 1.0).1,
            Signal::Pause { until: in_millis(2000) }
        );
    }

    #[test]
    fn a_throttling_upstream_pauses_as_long_as_it_asks() {
        for status in [429, 503] {
            let judged = judge(answer_with_retry_after(status, 7), &first());
            assert_eq!(judged, ("retry", Signal::Pause { until: in_millis(7000) }), "{status}");
        }
        assert_eq!(
            judge(answer(429), &first()),
            ("retry", Signal::Pause { until: in_millis(200) })
        );
        assert_eq!(
            judge(answer_with_retry_after(429, 0), &first()),
            ("retry", Signal::Pause { until: in_millis(200) })
        );
        let judged = judge(answer_with_retry_after(429, u64::MAX), &first());
        assert_eq!(
            judged,
            (
                "retry",
                Signal::Pause {
                    until: in_millis(3_600_000)
                }
            )
        );
    }

    #[test]
    fn a_spent_limit_holds_all_back_and_fails_nothing() {
        let spent = |status, seconds| match answer(status) {
            Delivery::Answer { response, .. } => Delivery::Answer {
                response,
                retry_after: None,
                spent: Some(Duration::from_secs(seconds)),
            },
            other => other,
        };
        let until = in_millis(9_000);
        assert_eq!(judge(spent(201, 9), &first()), ("delivered", Signal::Spent { until }));
        assert_eq!(judge(spent(422, 9), &first()), ("rejected", Signal::Spent { until }));
        assert_eq!(judge(spent(429, 9), &first()), ("retry", Signal::Pause { until }));
        assert_eq!(judge(spent(500, 9), &first()), ("in doubt", Signal::Trouble));
        let longest = in_millis(3_600_000);
        let judged = judge(spent(200, u64::MAX), &first());
        assert_eq!(judged, ("delivered", Signal::Spent { until: longest }));
    }

    #[test]
    fn what_cannot_be_sent_as_things_are_holds_nobody_back() {
        let (outcome, signal) = classify(Delivery::Unsendable("no mapping".into()), &first(), NOW, 1.0);
        let expected = AttemptOutcome::RetryAt {
            at: in_millis(5_000),
            failure: Failure::technical("no mapping"),
            counts: false,
        };
        assert_eq!((outcome, signal), (expected, Signal::None));
    }

    proptest! {
        /// Whatever the answer, nobody asks again before `Retry-After`, or an hour, unless the deadline ends it.
        #[test]
        fn retry_after_is_the_least_wait(
            status in 400..600_u16,
            seconds in 0..10_000_u64,
            number in 1..5_u32,
            life in 0..20_000_u64,
            random in 0.0..1.0_f64,
        ) {
            let deadline = after(NOW, Duration::from_secs(life));
            let attempt = Attempt { number, deadline, ..first() };
            let (outcome, _) = classify(answer_with_retry_after(status, seconds), &attempt, NOW, random);
            if let AttemptOutcome::RetryAt { at, .. } | AttemptOutcome::InDoubt { at, .. } = outcome {
                let least = after(NOW, Duration::from_secs(seconds.min(3_600))).min(deadline);
                prop_assert!(at >= least && at <= deadline);
            }
        }
    }

    #[test]
    fn refused_credentials_pause_the_upstream_and_keep_the_message() {
        for status in [401, 403] {
            assert_eq!(
                judge(answer(status), &first()),
                ("retry", Signal::Pause { until: in_millis(200) }),
                "{status}"
            );
        }
    }

    #[test]
    fn a_conflict_is_an_earlier_attempt_only_where_there_was_one() {
        assert_eq!(judge(answer(409), &first()).0, "rejected");
        let repeat = Attempt {
            number: 2,
            was_in_doubt: true,
            ..first()
        };
        assert_eq!(judge(answer(409), &repeat).0, "in doubt");
        assert_eq!(judge(answer(409), &Attempt { number: 5, ..repeat }).0, "rejected");
    }

    #[test]
    fn too_early_is_retried_and_counted() {
        assert_eq!(judge(answer(425), &first()), ("retry, counted", Signal::Trouble));
    }

    #[test]
    fn a_message_whose_attempts_are_used_up_is_dead() {
        let last = Attempt { number: 5, ..first() };
        for delivery in [answer(500), answer(425), Delivery::Broken("reset".into())] {
            assert_eq!(judge(delivery, &last).0, "dead");
        }
        assert_eq!(judge(answer(200), &last).0, "delivered");
        assert_eq!(judge(answer(429), &last).0, "retry");
    }

    #[test]
    fn no_retry_is_planned_past_the_deadline() {
        let hurried = Attempt {
            deadline: in_millis(50),
            ..first()
        };
        for delivery in [answer(500), answer(425), answer(429), Delivery::NotSent(String::new())] {
            match classify(delivery, &hurried, NOW, 1.0).0 {
                AttemptOutcome::RetryAt { at, .. } | AttemptOutcome::InDoubt { at, .. } => {
                    assert_eq!(at, in_millis(50));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_withheld_answer_is_delivered_with_a_note() {
        let (outcome, _) = classify(
            Delivery::Withheld {
                status: 201,
                note: "no mapping".into(),
            },
            &first(),
            NOW,
            0.0,
        );
        let AttemptOutcome::Delivered(response) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (response.status, &response.body[..]),
            (201, &br#"{"note":"no mapping"}"#[..])
        );
    }
}
