//! How queued messages fare: what waits for whom, how attempts end, and what holds deliveries back.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::signed;
use crate::queue::{AttemptOutcome, Lane, MessageState, QueueStats};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    upstream: String,
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    upstream: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    upstream: String,
    outcome: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HoldLabels {
    upstream: String,
    cause: &'static str,
}

/// What keeps a message that is due from being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The upstream could not be reached, throttled, or refused the gateway's credentials.
    Pause,
    /// The upstream said that its own limit is used up.
    Spent,
    /// `delivery.limits` of the upstream.
    Limit,
    /// `retryBudget` of the upstream.
    Budget,
    /// The message may have ended a gateway: it waits until it can be tried alone.
    Suspect,
}

impl Hold {
    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Spent => "spent",
            Self::Limit => "limit",
            Self::Budget => "budget",
            Self::Suspect => "suspect",
        }
    }
}

/// Series of all deliveries. A clone is another handle on the same ones.
#[derive(Clone, Default)]
pub struct DeliveryMetrics {
    waiting: Family<LaneLabels, Gauge>,
    messages: Family<StateLabels, Gauge>,
    /// Upstreams with series: what is no longer there is zero.
    known: Arc<Mutex<BTreeSet<String>>>,
    under_way: Family<UpstreamLabels, Gauge>,
    limit: Family<UpstreamLabels, Gauge>,
    attempts: Family<OutcomeLabels, Counter>,
    holds: Family<HoldLabels, Counter>,
}

impl fmt::Debug for DeliveryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryMetrics")
    }
}

impl DeliveryMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Messages that wait for delivery or are under way";
        registry.register("queue_waiting", help, self.waiting.clone());
        let help = "Messages by state, where they do not wait";
        registry.register("queue_messages", help, self.messages.clone());
        let help = "Messages that this gateway delivers right now";
        registry.register("queue_under_way", help, self.under_way.clone());
        let help = "Messages that this gateway would deliver at the same time: 0 while the upstream is left alone";
        registry.register("queue_pace", help, self.limit.clone());
        let help = "Attempts to deliver a message, by how they ended and who has to act";
        registry.register("queue_attempts", help, self.attempts.clone());
        let help = "Times that something other than an earlier message held deliveries back";
        registry.register("queue_holds", help, self.holds.clone());
    }

    /// How the queue stands.
    pub(super) fn count(&self, stats: &QueueStats) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(stats.groups.keys().map(|group| group.upstream.clone()));
        for upstream in &*known {
            for lane in Lane::ALL {
                let labels = LaneLabels {
                    upstream: upstream.clone(),
                    lane: lane.name(),
                };
                let count = stats.count(|group| {
                    group.upstream == *upstream
                        && group.lane == lane
                        && matches!(group.state, MessageState::Queued | MessageState::Attempting)
                });
                self.waiting.get_or_create(&labels).set(signed(count));
            }
            for (state, name) in [
                (MessageState::InDoubt, "in_doubt"),
                (MessageState::Parked, "parked"),
                (MessageState::Delivered, "delivered"),
                (MessageState::Dead, "dead"),
                (MessageState::Expired, "expired"),
                (MessageState::Discarded, "discarded"),
            ] {
                let labels = StateLabels {
                    upstream: upstream.clone(),
                    state: name,
                };
                let count = stats.count(|group| group.upstream == *upstream && group.state == state);
                self.messages.get_or_create(&labels).set(signed(count));
            }
        }
    }

    /// How much this gateway delivers to an upstream right now, and how much it would.
    pub fn pace(&self, upstream: &str, under_way: usize, limit: usize) {
        let labels = UpstreamLabels {
            upstream: upstream.to_owned(),
        };
        self.under_way.get_or_create(&labels).set(signed(under_way as u64));
        self.limit.get_or_create(&labels).set(signed(limit as u64));
    }

    /// An attempt ended.
    pub fn ended(&self, upstream: &str, outcome: &AttemptOutcome) {
        let name = match outcome {
            AttemptOutcome::Delivered(_) => "delivered",
            AttemptOutcome::Rejected(_) => "rejected",
            AttemptOutcome::RetryAt { counts: true, .. } => "retry",
            AttemptOutcome::RetryAt { counts: false, .. } => "put_off",
            AttemptOutcome::InDoubt { .. } => "in_doubt",
            AttemptOutcome::Parked { .. } => "parked",
            AttemptOutcome::Dead { .. } => "dead",
            AttemptOutcome::Lost { .. } => "broke_off",
            // None of these is an upstream's word.
            AttemptOutcome::Answered(_) | AttemptOutcome::Forgotten => return,
        };
        let labels = OutcomeLabels {
            upstream: upstream.to_owned(),
            outcome: name,
            class: outcome.failure().map_or("none", |failure| failure.class.as_str()),
        };
        self.attempts.get_or_create(&labels).inc();
    }

    /// Something holds deliveries back.
    pub fn holds(&self, upstream: &str, hold: Hold) {
        let labels = HoldLabels {
            upstream: upstream.to_owned(),
            cause: hold.name(),
        };
        self.holds.get_or_create(&labels).inc();
    }
}
