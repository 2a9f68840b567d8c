//! What every message log has to do, run against each of them.

mod operate;
mod outbox;
mod random;

pub(crate) use outbox::all_ends;

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    Act, Actor, Admission, Admitted, AttemptOutcome, Claimed, Failure, Gate, HeadOfLine, Health, Lane, Lease, Limits,
    LogError, LogFuture, MemoryLog, MessageFilter, MessageLog, MessageState, MessageView, NewMessage, OrderKey,
    PauseScope, SqliteLog, StoredRequest, StoredResponse, SweepReport, after,
};
use crate::{audit, problem::FailureClass};

const LEASE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Short forms.
pub(crate) trait Short: MessageLog {
    fn put(&self, message: NewMessage, now: Timestamp) -> LogFuture<'_, Admitted> {
        self.admit(message.into(), now)
    }

    /// How many messages hold an order key.
    fn depth<'a>(&'a self, key: &OrderKey) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>> {
        let gate = self.gate("orders", key);
        Box::pin(async move {
            match gate.await.unwrap() {
                Gate::Behind(depth) => depth,
                Gate::Open | Gate::Paused => 0,
            }
        })
    }
}

impl<L: MessageLog + ?Sized> Short for L {}

pub(crate) fn cause(view: &MessageView) -> Option<&str> {
    Some(view.failure.as_ref()?.cause.as_str())
}

pub(crate) fn by(name: &str) -> Actor {
    Actor {
        name: name.into(),
        reason: "ticket 7".into(),
    }
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    after(Timestamp::UNIX_EPOCH, DAY + Duration::from_secs(seconds))
}

pub(crate) fn key(value: &str) -> OrderKey {
    OrderKey {
        upstream: "erp".into(),
        value: value.into(),
    }
}

pub(crate) fn message(number: u8, value: &str) -> NewMessage {
    NewMessage {
        id: format!("m{number}"),
        scope: [number; 32],
        fingerprint: [number; 32],
        api: "orders".into(),
        operation: "createOrder".into(),
        version: "1".into(),
        channel: "shop".into(),
        order_key: key(value),
        lane: Lane::Standard,
        head_of_line: HeadOfLine::Quarantine,
        transaction: Some(("order".into(), value.into())),
        correlation: format!("c{number}"),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        request: StoredRequest {
            method: "POST".into(),
            path_and_query: "/orders?dry=0".into(),
            headers: vec![("content-type".into(), b"application/json".to_vec())],
            body: Bytes::from(format!("{{\"n\":{number}}}")),
            idempotency_key: format!("k{number}"),
        },
        deadline: at(86_400),
        max_attempts: 5,
        is_in_doubt: false,
        is_synchronous: false,
    }
}

pub(crate) fn created() -> StoredResponse {
    StoredResponse {
        status: 201,
        headers: vec![("location".into(), b"/orders/1".to_vec())],
        body: Bytes::from_static(b"{\"total\":19.90}"),
    }
}

fn retry(seconds: u64) -> AttemptOutcome {
    AttemptOutcome::RetryAt {
        at: at(seconds),
        failure: Failure::technical("too busy"),
        counts: true,
    }
}

fn dead(cause: &str) -> AttemptOutcome {
    AttemptOutcome::Dead {
        failure: Failure::technical(cause),
        is_in_doubt: false,
    }
}

fn in_doubt(seconds: u64) -> AttemptOutcome {
    AttemptOutcome::InDoubt {
        at: at(seconds),
        failure: Failure::technical("connection reset"),
    }
}

pub(crate) async fn admit(log: &dyn MessageLog, number: u8, value: &str, now: u64) {
    assert_eq!(log.put(message(number, value), at(now)).await, Ok(Admitted::New(None)));
}

pub(crate) async fn claim(log: &dyn MessageLog, max: usize, now: u64) -> Vec<Claimed> {
    log.claim("erp", max, LEASE, at(now)).await.unwrap()
}

async fn claim_ids(log: &dyn MessageLog, max: usize, now: u64) -> Vec<String> {
    claim(log, max, now)
        .await
        .into_iter()
        .map(|claimed| claimed.message.id)
        .collect()
}

/// Claims the one message that is ready.
pub(crate) async fn claim_one(log: &dyn MessageLog, now: u64) -> Claimed {
    let mut claimed = claim(log, 9, now).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

pub(crate) async fn attempt(log: &dyn MessageLog, now: u64, outcome: AttemptOutcome) {
    let lease = claim_one(log, now).await.lease;
    log.begin_attempt(lease.clone(), at(now)).await.unwrap();
    log.finish(lease, outcome, at(now + 1)).await.unwrap();
}

async fn state(log: &dyn MessageLog, id: &str) -> MessageState {
    log.get(id).await.unwrap().unwrap().state
}

macro_rules! facts {
    ($($fact:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $fact() {
                super::$fact(&crate::queue::MemoryLog::default()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $fact() {
                let folder = tempfile::tempdir().unwrap();
                super::$fact(&crate::queue::SqliteLog::open(folder.path(), 16 << 20).unwrap()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $fact() {
                if let Some(world) = crate::queue::postgres::tests::World::new().await {
                    super::$fact(&world.log).await;
                }
            })*
        }
    };
}

use facts;

facts! {
    a_message_comes_back_as_it_was_admitted
    the_same_request_is_stored_once
    another_request_under_the_same_scope_is_a_mismatch
    messages_of_one_key_go_one_after_the_other
    keys_do_not_wait_for_each_other
    a_key_is_per_upstream
    a_retry_waits_and_holds_its_key
    an_attempt_that_does_not_count_lends_its_number
    a_stale_lease_changes_nothing
    an_attempt_begins_once_and_only_within_its_lease
    a_lease_that_ends_unused_leaves_no_doubt
    a_lease_that_ends_in_an_attempt_leaves_doubt
    doubt_stays_until_there_is_an_answer
    a_message_may_be_admitted_in_doubt
    a_parked_message_holds_its_key
    a_dead_message_holds_its_key_until_a_person_decides
    a_dead_message_releases_its_key_where_it_may_be_skipped
    a_rejected_message_keeps_its_answer
    what_waits_past_its_deadline_expires
    an_attempt_under_way_outlives_its_deadline
    a_finished_message_is_remembered_for_its_retention
    lanes_share_and_none_starves
    a_key_takes_the_most_urgent_lane_that_waits_in_it
    due_tells_when_the_first_message_of_an_upstream_is_ready
    depth_and_ahead_count_what_holds_the_key
    stats_count_every_message_once
    a_change_wakes_the_listener
}

async fn a_message_comes_back_as_it_was_admitted(log: &dyn MessageLog) {
    admit(log, 1, "4711", 0).await;
    let claimed = claim_one(log, 5).await;
    assert_eq!(claimed.message, message(1, "4711"));
    assert_eq!(
        (claimed.attempts, claimed.first_sent, claimed.admitted),
        (0, None, at(0))
    );

    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.upstream.as_str(), view.order_key.as_str()), ("erp", "4711"));
    assert_eq!(view.transaction, Some(("order".into(), "4711".into())));
    assert_eq!(
        (view.state, view.admitted, view.deadline),
        (MessageState::Queued, at(0), at(86_400))
    );
    assert_eq!(log.get("m2").await, Ok(None));
    assert_eq!(log.health(), Health::Ok);
}

async fn the_same_request_is_stored_once(log: &dyn MessageLog) {
    assert_eq!(log.find([1; 32]).await, Ok(None));
    admit(log, 1, "a", 0).await;
    let repeat = NewMessage {
        id: "another".into(),
        ..message(1, "a")
    };
    let Ok(Admitted::Replay(view)) = log.put(repeat.clone(), at(1)).await else {
        panic!("not a replay")
    };
    assert_eq!((view.id.as_str(), log.depth(&key("a")).await), ("m1", 1));
    assert_eq!(log.find([1; 32]).await.unwrap().unwrap(), (*view, [1; 32]));

    attempt(log, 2, AttemptOutcome::Delivered(created())).await;
    let Ok(Admitted::Replay(view)) = log.put(repeat, at(9)).await else {
        panic!("not a replay")
    };
    assert_eq!((view.state, view.response), (MessageState::Delivered, Some(created())));
}

async fn another_request_under_the_same_scope_is_a_mismatch(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let other = NewMessage {
        id: "another".into(),
        fingerprint: [9; 32],
        ..message(1, "a")
    };
    assert_eq!(log.put(other, at(1)).await, Ok(Admitted::Mismatch));
    let same_id = NewMessage {
        id: "m1".into(),
        ..message(2, "a")
    };
    assert_eq!(log.put(same_id, at(1)).await, Ok(Admitted::Mismatch));
    assert_eq!(log.depth(&key("a")).await, 1);
}

async fn messages_of_one_key_go_one_after_the_other(log: &dyn MessageLog) {
    for number in 1..=3 {
        admit(log, number, "a", 0).await;
    }
    for id in ["m1", "m2", "m3"] {
        let claimed = claim_one(log, 1).await;
        assert_eq!(claimed.message.id, id);
        assert_eq!(claim(log, 9, 1).await, []);
        log.begin_attempt(claimed.lease.clone(), at(1)).await.unwrap();
        assert_eq!(claim(log, 9, 1).await, []);
        log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(2))
            .await
            .unwrap();
    }
    assert_eq!(claim(log, 9, 3).await, []);
}

async fn keys_do_not_wait_for_each_other(log: &dyn MessageLog) {
    for (number, value) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
        admit(log, number, value, 0).await;
    }
    assert_eq!(claim_ids(log, 2, 1).await, ["m1", "m2"]);
    assert_eq!(claim_ids(log, 2, 1).await, ["m4"]);
}

async fn a_key_is_per_upstream(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let wms = OrderKey {
        upstream: "wms".into(),
        value: "a".into(),
    };
    log.put(
        NewMessage {
            order_key: wms.clone(),
            ..message(2, "a")
        },
        at(0),
    )
    .await
    .unwrap();
    assert_eq!((log.depth(&key("a")).await, log.depth(&wms).await), (1, 1));
    assert_eq!(claim_ids(log, 9, 1).await, ["m1"]);
    assert_eq!(log.claim("wms", 9, LEASE, at(1)).await.unwrap()[0].message.id, "m2");
}

async fn a_retry_waits_and_holds_its_key(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    admit(log, 2, "a", 0).await;
    attempt(log, 1, retry(30)).await;
    assert_eq!(claim(log, 9, 29).await, []);
    let claimed = claim_one(log, 30).await;
    assert_eq!(
        (claimed.message.id.as_str(), claimed.attempts, claimed.first_sent),
        ("m1", 1, None)
    );
    assert_eq!(log.begin_attempt(claimed.lease, at(30)).await, Ok(2));

    let attempts = log.get("m1").await.unwrap().unwrap().attempts;
    assert_eq!(
        (attempts[0].number, attempts[0].started, attempts[0].ended),
        (1, at(1), Some(at(2)))
    );
    assert_eq!(attempts[0].result, "retry: too busy");
    assert_eq!(
        (attempts[1].number, attempts[1].started, attempts[1].ended),
        (2, at(30), None)
    );
}

async fn an_attempt_that_does_not_count_lends_its_number(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    for second in 1..50 {
        let closed = AttemptOutcome::RetryAt {
            at: at(second),
            failure: Failure::technical("refused"),
            counts: false,
        };
        attempt(log, second, closed).await;
    }
    let claimed = claim_one(log, 50).await;
    assert_eq!(claimed.attempts, 0);
    assert_eq!(log.begin_attempt(claimed.lease, at(50)).await, Ok(1));
    assert_eq!(log.get("m1").await.unwrap().unwrap().attempts.len(), 1);
}

async fn a_stale_lease_changes_nothing(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let stale = claim_one(log, 0).await.lease;
    log.sweep(DAY, at(60)).await.unwrap();
    let fresh = claim_one(log, 60).await.lease;
    let before = log.get("m1").await;

    let delivered = || AttemptOutcome::Delivered(created());
    assert_eq!(log.begin_attempt(stale.clone(), at(60)).await, Err(LogError::Fenced));
    assert_eq!(log.finish(stale, delivered(), at(60)).await, Err(LogError::Fenced));
    assert_eq!(log.get("m1").await, before);

    log.begin_attempt(fresh.clone(), at(60)).await.unwrap();
    log.finish(fresh.clone(), delivered(), at(61)).await.unwrap();
    assert_eq!(log.finish(fresh, delivered(), at(61)).await, Err(LogError::Fenced));
    let unknown = Lease {
        id: "nobody".into(),
        epoch: 1,
    };
    assert_eq!(log.finish(unknown, delivered(), at(61)).await, Err(LogError::Fenced));
}

async fn an_attempt_begins_once_and_only_within_its_lease(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let lease = claim_one(log, 0).await.lease;
    assert_eq!(log.begin_attempt(lease.clone(), at(60)).await, Err(LogError::Fenced));
    assert_eq!(log.begin_attempt(lease.clone(), at(59)).await, Ok(1));
    assert_eq!(log.begin_attempt(lease, at(59)).await, Err(LogError::Fenced));
}

async fn a_lease_that_ends_unused_leaves_no_doubt(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    claim_one(log, 0).await;
    assert_eq!(log.sweep(DAY, at(59)).await, Ok(SweepReport::default()));
    assert_eq!(
        log.sweep(DAY, at(60)).await,
        Ok(SweepReport {
            leases_expired: 1,
            ..SweepReport::default()
        })
    );
    let claimed = claim_one(log, 60).await;
    assert_eq!((claimed.message.is_in_doubt, claimed.attempts), (false, 0));
}

async fn a_lease_that_ends_in_an_attempt_leaves_doubt(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let lost = claim_one(log, 0).await.lease;
    log.begin_attempt(lost.clone(), at(3)).await.unwrap();
    assert_eq!(state(log, "m1").await, MessageState::Attempting);
    log.sweep(DAY, at(70)).await.unwrap();
    assert_eq!(
        log.finish(lost, AttemptOutcome::Delivered(created()), at(70)).await,
        Err(LogError::Fenced)
    );

    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.next_attempt), (MessageState::InDoubt, Some(at(70))));
    assert_eq!(view.attempts[0].result, "in doubt: the gateway lost sight of it");
    let claimed = claim_one(log, 70).await;
    assert_eq!(
        (claimed.message.is_in_doubt, claimed.attempts, claimed.first_sent),
        (true, 1, Some(at(3)))
    );
}

async fn doubt_stays_until_there_is_an_answer(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    attempt(log, 1, in_doubt(5)).await;
    assert_eq!(state(log, "m1").await, MessageState::InDoubt);
    attempt(log, 5, retry(9)).await;
    assert_eq!(state(log, "m1").await, MessageState::InDoubt);
    let claimed = claim_one(log, 9).await;
    assert_eq!((claimed.message.is_in_doubt, claimed.first_sent), (true, Some(at(1))));
    log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(9))
        .await
        .unwrap();
    assert_eq!(state(log, "m1").await, MessageState::Delivered);
}

async fn a_message_may_be_admitted_in_doubt(log: &dyn MessageLog) {
    log.put(
        NewMessage {
            is_in_doubt: true,
            ..message(1, "a")
        },
        at(2),
    )
    .await
    .unwrap();
    assert_eq!(state(log, "m1").await, MessageState::InDoubt);
    let claimed = claim_one(log, 2).await;
    assert_eq!((claimed.message.is_in_doubt, claimed.first_sent), (true, Some(at(2))));
}

async fn a_parked_message_holds_its_key(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    admit(log, 2, "a", 0).await;
    attempt(
        log,
        1,
        AttemptOutcome::Parked {
            failure: Failure::technical("nobody knows"),
        },
    )
    .await;
    assert_eq!(claim(log, 9, 9).await, []);
    assert_eq!(log.depth(&key("a")).await, 2);
    // Its deadline ends what waits behind it, and leaves it to a person.
    log.sweep(DAY, at(86_400)).await.unwrap();
    assert_eq!(
        (state(log, "m1").await, state(log, "m2").await),
        (MessageState::Parked, MessageState::Expired)
    );
    assert_eq!(cause(&log.get("m1").await.unwrap().unwrap()), Some("nobody knows"));
    // So does what expired behind it: it was not delivered.
    assert_eq!(log.depth(&key("a")).await, 2);
}

async fn a_dead_message_holds_its_key_until_a_person_decides(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    admit(log, 2, "a", 0).await;
    attempt(log, 1, dead("five times")).await;
    assert_eq!(claim(log, 9, 2).await, []);
    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!(
        (view.state, view.finished, view.next_attempt),
        (MessageState::Dead, Some(at(2)), None)
    );
    assert_eq!(cause(&view), Some("five times"));
    // It is not forgotten either.
    log.sweep(Duration::ZERO, at(100)).await.unwrap();
    assert_eq!(
        (state(log, "m1").await, log.depth(&key("a")).await),
        (MessageState::Dead, 2)
    );

    log.act("m1", Act::Discard, by("jo"), at(101)).await.unwrap();
    assert_eq!(claim_ids(log, 9, 102).await, ["m2"]);
}

async fn a_dead_message_releases_its_key_where_it_may_be_skipped(log: &dyn MessageLog) {
    for number in 1..=2 {
        let skipped = NewMessage {
            head_of_line: HeadOfLine::Skip,
            ..message(number, "a")
        };
        log.put(skipped, at(0)).await.unwrap();
    }
    attempt(log, 1, dead("five times")).await;
    assert_eq!(
        (state(log, "m1").await, log.depth(&key("a")).await),
        (MessageState::Dead, 1)
    );
    assert_eq!(claim_ids(log, 9, 2).await, ["m2"]);
}

async fn a_rejected_message_keeps_its_answer(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let answer = StoredResponse {
        status: 422,
        ..created()
    };
    attempt(log, 1, AttemptOutcome::Rejected(answer.clone())).await;
    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!(cause(&view), Some("the upstream rejected it with 422"));
    assert_eq!(view.failure.as_ref().unwrap().class, FailureClass::Business);
    assert_eq!((view.state, view.response), (MessageState::Dead, Some(answer)));
}

async fn what_waits_past_its_deadline_expires(log: &dyn MessageLog) {
    for number in 1..=3 {
        log.put(
            NewMessage {
                head_of_line: HeadOfLine::Skip,
                deadline: at(100),
                ..message(number, "a")
            },
            at(0),
        )
        .await
        .unwrap();
    }
    attempt(log, 1, in_doubt(200)).await;
    // Neither leased nor left to the sweep.
    assert_eq!(claim(log, 9, 100).await, []);
    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.finished), (MessageState::Expired, Some(at(100))));
    assert_eq!(
        cause(&view),
        Some("its deadline passed; an attempt before may have had its effect")
    );
    let view = log.get("m3").await.unwrap().unwrap();
    assert_eq!(
        (view.state, cause(&view)),
        (MessageState::Expired, Some("its deadline passed"))
    );
    assert_eq!(log.depth(&key("a")).await, 0);
}

async fn an_attempt_under_way_outlives_its_deadline(log: &dyn MessageLog) {
    log.put(
        NewMessage {
            deadline: at(10),
            ..message(1, "a")
        },
        at(0),
    )
    .await
    .unwrap();
    let lease = claim_one(log, 9).await.lease;
    log.begin_attempt(lease.clone(), at(9)).await.unwrap();
    assert_eq!(log.sweep(DAY, at(11)).await, Ok(SweepReport::default()));
    log.finish(lease, AttemptOutcome::Delivered(created()), at(12))
        .await
        .unwrap();
    assert_eq!(state(log, "m1").await, MessageState::Delivered);
}

async fn a_finished_message_is_remembered_for_its_retention(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    attempt(log, 9, AttemptOutcome::Delivered(created())).await;
    let hour = Duration::from_hours(1);
    assert_eq!(log.sweep(hour, at(3609)).await, Ok(SweepReport::default()));
    assert!(log.find([1; 32]).await.unwrap().is_some());
    let forgotten = SweepReport {
        messages_forgotten: 1,
        ..SweepReport::default()
    };
    assert_eq!(log.sweep(hour, at(3610)).await, Ok(forgotten));
    assert_eq!(log.find([1; 32]).await, Ok(None));
    admit(log, 1, "a", 4000).await;
}

async fn lanes_share_and_none_starves(log: &dyn MessageLog) {
    for number in 0..60 {
        let lane = Lane::ALL[usize::from(number) % 3];
        log.put(
            NewMessage {
                lane,
                ..message(number, &number.to_string())
            },
            at(0),
        )
        .await
        .unwrap();
    }
    let mut served = [0; 3];
    for _ in 0..24 {
        served[claim(log, 1, 1).await[0].message.lane.rank()] += 1;
    }
    assert_eq!(served, [16, 6, 2]);
}

async fn a_key_takes_the_most_urgent_lane_that_waits_in_it(log: &dyn MessageLog) {
    admit(log, 1, "b", 0).await;
    log.put(
        NewMessage {
            lane: Lane::Bulk,
            ..message(2, "a")
        },
        at(1),
    )
    .await
    .unwrap();
    log.put(
        NewMessage {
            lane: Lane::Urgent,
            ..message(3, "a")
        },
        at(2),
    )
    .await
    .unwrap();
    assert_eq!(claim_ids(log, 1, 3).await, ["m2"]);
}

async fn due_tells_when_the_first_message_of_an_upstream_is_ready(log: &dyn MessageLog) {
    assert_eq!(log.due().await, Ok(vec![]));
    let wms = OrderKey {
        upstream: "wms".into(),
        value: "a".into(),
    };
    log.put(
        NewMessage {
            order_key: wms,
            ..message(9, "a")
        },
        at(7),
    )
    .await
    .unwrap();
    log.put(
        NewMessage {
            lane: Lane::Bulk,
            ..message(1, "a")
        },
        at(3),
    )
    .await
    .unwrap();
    assert_eq!(log.due().await, Ok(vec![("erp".into(), at(3)), ("wms".into(), at(7))]));
    let lease = claim_one(log, 3).await.lease;
    assert_eq!(log.due().await, Ok(vec![("wms".into(), at(7))]));
    log.finish(lease, retry(40), at(4)).await.unwrap();
    assert_eq!(log.due().await, Ok(vec![("erp".into(), at(40)), ("wms".into(), at(7))]));
}

async fn depth_and_ahead_count_what_holds_the_key(log: &dyn MessageLog) {
    for number in 1..=3 {
        admit(log, number, "a", 0).await;
        assert_eq!(log.depth(&key("a")).await, u64::from(number));
    }
    assert_eq!(log.get("m3").await.unwrap().unwrap().ahead, 2);
    attempt(log, 1, AttemptOutcome::Delivered(created())).await;
    assert_eq!((log.depth(&key("a")).await, log.depth(&key("b")).await), (2, 0));
    assert_eq!(log.get("m3").await.unwrap().unwrap().ahead, 1);
    assert_eq!(log.get("m1").await.unwrap().unwrap().ahead, 0);
}

async fn stats_count_every_message_once(log: &dyn MessageLog) {
    let outcomes = [
        AttemptOutcome::Delivered(created()),
        dead("why"),
        AttemptOutcome::Parked {
            failure: Failure::technical("why"),
        },
        in_doubt(99),
    ];
    for (number, outcome) in (1..).zip(outcomes) {
        admit(log, number, &number.to_string(), u64::from(number)).await;
        attempt(log, 20, outcome).await;
    }
    log.put(
        NewMessage {
            deadline: at(30),
            ..message(5, "5")
        },
        at(5),
    )
    .await
    .unwrap();
    log.sweep(DAY, at(30)).await.unwrap();
    log.put(
        NewMessage {
            lane: Lane::Bulk,
            ..message(6, "6")
        },
        at(6),
    )
    .await
    .unwrap();
    let stats = log.stats(at(36)).await.unwrap();
    assert_eq!(Lane::ALL.map(|lane| stats.waiting(lane)), [0, 0, 1]);
    let counts = MessageState::ALL.map(|state| stats.in_state(state));
    assert_eq!(counts, [1, 0, 1, 1, 1, 1, 1, 0]);
    assert_eq!(stats.oldest, Some(Duration::from_secs(32)));
    assert_eq!(stats.count(|group| group.holds), 5);
    assert_eq!(log.room().await.unwrap().admitted, 6);
}

async fn a_change_wakes_the_listener(log: &dyn MessageLog) {
    let changed = log.changed();
    admit(log, 1, "a", 0).await;
    changed.notified().await;
    attempt(log, 1, retry(9)).await;
    changed.notified().await;
}
