//! Traces, metrics and the access log: what operators see.

mod access_log;
mod context;
mod export;
mod metrics;
mod trace;

pub use access_log::AccessLog;
pub use context::{Sampler, TraceContext};
pub(crate) use context::{TRACEPARENT, hex};
pub use metrics::{
    AttemptResult, ChannelChecks, DeliveryMetrics, Direction, Hold, LookupMetrics, Metrics, RouteMetrics, TrialMetrics,
    UpstreamMetrics, ValidationMetrics, VersionCalls,
};
pub use trace::{DeliveryTrace, Traces};
