//! What outlives a snapshot: counters, breakers, pools, the queue, keys, telemetry.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::{
    contract::CursorKeys,
    lifecycle::trial::Trials,
    lookup::Lookups,
    policy::{
        authenticate::{ChannelIndexes, KeySets, TokenCache},
        fallback::Gates,
        idempotency::Answers,
        limit::Limiters,
        trial::Shadows,
    },
    queue::{Arrivals, MemoryLog, MessageLog},
    snapshot::Snapshot,
    telemetry::{AccessLog, Metrics, Traces},
};

/// Memory for answers that repeats get, in bytes.
const ANSWERS: u64 = 64 << 20;

/// One per process; every request has a reference.
pub struct Shared {
    /// The snapshot in force; `None` only until the first one is compiled.
    pub snapshot: ArcSwapOption<Snapshot>,
    pub log: Arc<dyn MessageLog>,
    pub metrics: Metrics,
    pub traces: Option<Traces>,
    pub access_log: AccessLog,
    /// Runs what must not delay requests, and what must go on when a client hangs up.
    pub background: tokio::runtime::Handle,
    pub(crate) limiters: Limiters,
    pub(crate) channels: ChannelIndexes,
    pub(crate) key_sets: Arc<KeySets>,
    pub(crate) tokens: Arc<TokenCache>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) arrivals: Arrivals,
    pub(crate) trials: Arc<Trials>,
    pub(crate) shadows: Arc<Shadows>,
    pub(crate) cursors: CursorKeys,
    pub(crate) lookups: Arc<Lookups>,
}

impl Shared {
    /// With empty counters and no snapshot yet.
    pub fn new(
        log: Arc<dyn MessageLog>,
        metrics: Metrics,
        traces: Option<Traces>,
        access_log: AccessLog,
        background: tokio::runtime::Handle,
    ) -> Arc<Self> {
        let key_sets = KeySets::new(background.clone());
        Arc::new(Self::with(log, metrics, traces, access_log, background, key_sets))
    }

    /// To compile policies and throw the result away: asks nobody, keeps nothing.
    pub fn for_check(background: tokio::runtime::Handle) -> Self {
        let metrics = Metrics::default();
        let access_log = AccessLog::off(&metrics);
        Self::with(
            Arc::new(MemoryLog::default()),
            metrics,
            None,
            access_log,
            background,
            KeySets::offline(),
        )
    }

    fn with(
        log: Arc<dyn MessageLog>,
        metrics: Metrics,
        traces: Option<Traces>,
        access_log: AccessLog,
        background: tokio::runtime::Handle,
        key_sets: Arc<KeySets>,
    ) -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            log,
            metrics,
            traces,
            access_log,
            limiters: Limiters::default(),
            channels: ChannelIndexes::default(),
            key_sets,
            tokens: Arc::default(),
            answers: Arc::new(Answers::new(ANSWERS)),
            gates: Arc::default(),
            arrivals: Arrivals::default(),
            trials: Arc::new(Trials::new(background.clone())),
            shadows: Arc::default(),
            cursors: CursorKeys::default(),
            lookups: Arc::default(),
            background,
        }
    }
}
