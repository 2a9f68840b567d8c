//! What channels were told of how their messages ended.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::queue::{NoticeOutcome, NoticeState, NoticeStats, Pause, PauseScope};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TryLabels {
    channel: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeptLabels {
    channel: String,
    state: &'static str,
}

/// Series of completion webhooks.
#[derive(Default)]
pub(super) struct Webhooks {
    tries: Family<TryLabels, Counter>,
    kept: Family<KeptLabels, Gauge>,
    oldest: Gauge<f64, AtomicU64>,
    stopped: Gauge,
    /// Channels with a series: what is counted no longer is zero.
    known: Mutex<HashSet<String>>,
}

impl Webhooks {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Completion webhooks sent: taken by the receiver, to be sent again, or given up";
        registry.register("webhook_tries", help, self.tries.clone());
        let help = "Completion webhooks that wait, or were given up and are kept";
        registry.register("webhooks", help, self.kept.clone());
        let help = "Age of the oldest completion webhook that waits";
        registry.register_with_unit("webhook_oldest_age", help, Unit::Seconds, self.oldest.clone());
        let help = "Receivers of completion webhooks that get nothing: they answered 410, or a person paused them";
        registry.register("webhook_receivers_paused", help, self.stopped.clone());
    }

    pub(super) fn tried(&self, channel: &str, outcome: &NoticeOutcome) {
        let labels = TryLabels {
            channel: channel.to_owned(),
            outcome: match outcome {
                NoticeOutcome::Sent => "sent",
                NoticeOutcome::RetryAt { .. } => "again",
                NoticeOutcome::Failed(_) => "failed",
            },
        };
        self.tries.get_or_create(&labels).inc();
    }

    pub(super) fn kept(&self, stats: &NoticeStats, pauses: &[Pause], now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(stats.groups.keys().map(|(channel, _)| channel.clone()));
        for channel in &*known {
            for state in [NoticeState::Waiting, NoticeState::Failed] {
                let labels = KeptLabels {
                    channel: channel.clone(),
                    state: state.name(),
                };
                let count = stats.groups.get(&(channel.clone(), state)).copied().unwrap_or(0);
                self.kept
                    .get_or_create(&labels)
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let age = stats
            .oldest
            .map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        self.oldest.set(age.max(0.0));
        let stopped = pauses
            .iter()
            .filter(|pause| matches!(pause.scope, PauseScope::Webhook(_)));
        self.stopped.set(i64::try_from(stopped.count()).unwrap_or(i64::MAX));
    }
}
