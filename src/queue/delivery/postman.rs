//! One message, from its lease to its record.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::{
    AWAY_INTERVAL, Attempt, AttemptOutcome, Backoff, Claimed, Courier, Delivery, DeliverySettings, Failure, Lease,
    LogError, LookedUp, MessageLog, Repeats, Signal, StoredResponse, after, classify,
    classify::{PARKED, exhausted},
};
use crate::telemetry::Hold;

/// Why a message that was tried before is put off.
const OVER_BUDGET: &str = "it is put off: the upstream gets as many retries as its `retryBudget` allows already";

/// What an attempt needs.
pub(super) struct Postman {
    pub(super) log: Arc<dyn MessageLog>,
    pub(super) courier: Arc<dyn Courier>,
    pub(super) settings: DeliverySettings,
    pub(super) clock: fn() -> Timestamp,
}

impl Postman {
    /// One message, from its lease to its record.
    pub(super) async fn deliver(&self, claimed: Claimed, closed_door_failures: u32) -> Signal {
        let now = (self.clock)();
        let repeats = self.courier.repeats(&claimed.message);
        if let Some(outcome) = self.without_sending(&claimed, repeats, now).await {
            self.finish(&claimed, outcome).await;
            return Signal::None;
        }
        let upstream = &claimed.message.order_key.upstream;
        if claimed.attempts > 0 && !self.courier.may_retry(upstream) {
            self.settings.metrics.holds(upstream, Hold::Budget);
            let wait = Backoff::MESSAGE.wait(claimed.attempts.saturating_add(1), fastrand::f64());
            let outcome = AttemptOutcome::RetryAt {
                at: after(now, wait).min(claimed.message.deadline),
                failure: Failure::technical(OVER_BUDGET),
                counts: false,
            };
            self.finish(&claimed, outcome).await;
            return Signal::None;
        }
        let number = match self.log.begin_attempt(claimed.lease.clone(), now).await {
            Ok(number) => number,
            Err(error) => {
                warn!(message.id = claimed.message.id, %error, "a queued message was not sent: its attempt could not be recorded");
                return Signal::Trouble;
            }
        };
        // An attempt ends before its lease, so that nobody else sends the message meanwhile.
        let limit = self.settings.lease.mul_f64(0.9);
        let delivery = timeout(limit, self.courier.attempt(&claimed.message, number)).await;
        let delivery = delivery.unwrap_or_else(|_| Delivery::Broken(format!("no answer within {limit:?}")));
        let attempt = Attempt {
            number,
            max_attempts: claimed.message.max_attempts,
            deadline: claimed.message.deadline,
            first_sent: claimed.first_sent.unwrap_or(now),
            repeats,
            was_in_doubt: claimed.message.is_in_doubt,
            closed_door_failures,
        };
        let (outcome, signal) = classify(delivery, &attempt, (self.clock)(), fastrand::f64());
        self.settings.metrics.ended(upstream, &outcome);
        self.finish(&claimed, outcome).await;
        signal
    }

    /// What can be said of a message before it is sent (again).
    async fn without_sending(&self, claimed: &Claimed, repeats: Repeats, now: Timestamp) -> Option<AttemptOutcome> {
        if claimed.message.is_in_doubt {
            let first_sent = claimed.first_sent.unwrap_or(claimed.admitted);
            match repeats {
                Repeats::Lookup { settle } => {
                    if let Some(outcome) = self.look_up(claimed, settle, now).await {
                        return Some(outcome);
                    }
                }
                _ if repeats.resolves(first_sent, now) => {}
                _ => {
                    return Some(AttemptOutcome::Parked {
                        failure: Failure::technical(PARKED),
                    });
                }
            }
        }
        if claimed.attempts >= claimed.message.max_attempts {
            let is_in_doubt = claimed.message.is_in_doubt;
            return Some(AttemptOutcome::Dead {
                failure: Failure::technical(exhausted(is_in_doubt, "no answer")),
                is_in_doubt,
            });
        }
        None
    }

    /// Asks whether it was done. `None`: it was not, so it may be sent again.
    async fn look_up(&self, claimed: &Claimed, settle: Duration, now: Timestamp) -> Option<AttemptOutcome> {
        let limit = self.settings.lease.mul_f64(0.4);
        let asked = timeout(limit, self.courier.look_up(&claimed.message)).await;
        match asked.unwrap_or_else(|_| LookedUp::Failed(format!("no answer within {limit:?}"))) {
            LookedUp::Found(response) => Some(AttemptOutcome::Delivered(response)),
            LookedUp::NotFound => {
                // An attempt that was slow may still have its effect.
                let settled = after(claimed.last_sent.unwrap_or(claimed.admitted), settle);
                (settled > now).then(|| AttemptOutcome::InDoubt {
                    at: settled,
                    failure: Failure::technical("the upstream does not have it yet; it is asked again"),
                })
            }
            LookedUp::Failed(cause) => {
                let wait = Backoff::CLOSED_DOOR.wait(u32::MAX, fastrand::f64());
                Some(AttemptOutcome::InDoubt {
                    at: after((self.clock)(), wait).min(claimed.message.deadline),
                    failure: Failure::technical(format!("whether it was done could not be found out: {cause}")),
                })
            }
        }
    }

    /// An attempt ended without an outcome.
    pub(super) async fn broke_off(&self, upstream: &str, lease: Lease) {
        let now = (self.clock)();
        let outcome = AttemptOutcome::Lost {
            at: after(now, Backoff::MESSAGE.wait(1, fastrand::f64())),
            failure: Failure::technical("its delivery broke off in the gateway"),
        };
        // It may have ended after its outcome was recorded.
        match self.log.finish(lease, outcome.clone(), now).await {
            Ok(()) => self.settings.metrics.ended(upstream, &outcome),
            Err(LogError::Fenced) => {}
            Err(error) => error!(%error, "the end of an attempt could not be recorded"),
        }
    }

    /// Records the outcome; where that fails, the lease will end and the message be in doubt.
    async fn finish(&self, claimed: &Claimed, outcome: AttemptOutcome) {
        report(claimed, &outcome);
        // A store that is away may be back before the lease ends.
        let until = after((self.clock)(), self.settings.lease);
        let mut was_in_doubt = false;
        loop {
            let error = match self.record(claimed, &outcome).await {
                Ok(()) => return,
                // It was recorded the time before.
                Err(LogError::Fenced) if was_in_doubt => return,
                Err(error) => error,
            };
            was_in_doubt |= matches!(error, LogError::InDoubt(_));
            let may_pass = matches!(error, LogError::Unavailable(_) | LogError::InDoubt(_));
            if !may_pass || (self.clock)() >= until {
                error!(message.id = claimed.message.id, %error, "the outcome of an attempt could not be recorded");
                return;
            }
            sleep(AWAY_INTERVAL).await;
        }
    }

    async fn record(&self, claimed: &Claimed, outcome: &AttemptOutcome) -> Result<(), LogError> {
        let mut result = self
            .log
            .finish(claimed.lease.clone(), outcome.clone(), (self.clock)())
            .await;
        if result == Err(LogError::Full) {
            // What matters is that it was done; its answer may be too large for what is left.
            result = self
                .log
                .finish(claimed.lease.clone(), without_body(outcome.clone()), (self.clock)())
                .await;
        }
        result
    }
}

fn without_body(outcome: AttemptOutcome) -> AttemptOutcome {
    let empty = |response: StoredResponse| StoredResponse {
        body: bytes::Bytes::new(),
        ..response
    };
    match outcome {
        AttemptOutcome::Delivered(response) => AttemptOutcome::Delivered(empty(response)),
        AttemptOutcome::Rejected(response) => AttemptOutcome::Rejected(empty(response)),
        other => other,
    }
}

fn report(claimed: &Claimed, outcome: &AttemptOutcome) {
    let message = &claimed.message;
    let (id, upstream, correlation) = (&message.id, &message.order_key.upstream, &message.correlation);
    match outcome {
        AttemptOutcome::Delivered(response) => {
            info!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                response.status,
                "queued message delivered"
            );
        }
        AttemptOutcome::Rejected(response) => {
            warn!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                response.status,
                "queued message rejected"
            );
        }
        AttemptOutcome::RetryAt { at, failure, .. } => {
            let cause = &failure.cause;
            info!(message.id = id, upstream.name = upstream, correlation, %at, cause, "queued message will be retried");
        }
        AttemptOutcome::InDoubt { at, failure } => {
            let cause = &failure.cause;
            warn!(message.id = id, upstream.name = upstream, correlation, %at, cause, "queued message in doubt");
        }
        AttemptOutcome::Parked { failure } => {
            warn!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                cause = failure.cause,
                "queued message parked for a person"
            );
        }
        // None of these is an upstream's word.
        AttemptOutcome::Answered(_) | AttemptOutcome::Lost { .. } | AttemptOutcome::Forgotten => {}
        AttemptOutcome::Dead { failure, .. } => {
            warn!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                cause = failure.cause,
                "queued message dead"
            );
        }
    }
}
