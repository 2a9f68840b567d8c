//! Who still calls which contract version, and when last.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::exchange::Exchange;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct TrafficLabels {
    api: String,
    version: String,
    channel: String,
}

/// Calls of all channels to all versions. A clone is another handle on the same ones.
#[derive(Clone, Default)]
pub(super) struct Traffic {
    requests: Family<TrafficLabels, Counter>,
    calls: Arc<Mutex<BTreeMap<TrafficLabels, Arc<Calls>>>>,
}

struct Calls {
    requests: Counter,
    /// Seconds since 1970.
    last: AtomicI64,
}

/// How often a channel has called a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionCalls {
    pub version: String,
    pub channel: String,
    pub requests: u64,
    /// When the last call came.
    pub last: Timestamp,
}

impl Traffic {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Requests by contract version and channel, whatever became of them";
        registry.register("version_requests", help, self.requests.clone());
    }

    /// The calls to one version; channels have numbers below `channels`.
    pub(super) fn version(&self, api: &str, version: &str, channels: usize) -> VersionTraffic {
        VersionTraffic {
            traffic: self.clone(),
            api: api.to_owned(),
            version: version.to_owned(),
            by_channel: std::iter::repeat_with(OnceLock::new).take(channels).collect(),
        }
    }

    /// All calls to an API so far.
    pub(super) fn of(&self, api: &str) -> Vec<VersionCalls> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .filter(|(labels, _)| labels.api == api)
            .map(|(labels, calls)| VersionCalls {
                version: labels.version.clone(),
                channel: labels.channel.clone(),
                requests: calls.requests.get(),
                last: Timestamp::from_second(calls.last.load(Ordering::Relaxed)).unwrap_or_default(),
            })
            .collect()
    }

    fn calls(&self, labels: TrafficLabels) -> Arc<Calls> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = calls.get(&labels) {
            return known.clone();
        }
        let fresh = Arc::new(Calls {
            requests: self.requests.get_or_create(&labels).clone(),
            last: AtomicI64::new(0),
        });
        calls.insert(labels, fresh.clone());
        fresh
    }
}

/// What one route counts of its version's calls.
pub(super) struct VersionTraffic {
    traffic: Traffic,
    api: String,
    version: String,
    by_channel: Box<[OnceLock<Arc<Calls>>]>,
}

impl VersionTraffic {
    /// A request has ended. One whose caller is not known says nothing of who calls.
    pub(super) fn count(&self, exchange: &Exchange) {
        let Some(caller) = exchange.caller.get() else { return };
        let find = || {
            self.traffic.calls(TrafficLabels {
                api: self.api.clone(),
                version: self.version.clone(),
                channel: caller.channel.to_string(),
            })
        };
        let seconds = exchange.started_at.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = seconds.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let note = |calls: &Calls| {
            calls.requests.inc();
            calls.last.fetch_max(seconds, Ordering::Relaxed);
        };
        match self.by_channel.get(caller.index as usize) {
            Some(known) => note(known.get_or_init(find)),
            None => note(&find()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exchange::Caller, telemetry::TraceContext};

    fn call(channel: &str, index: u32) -> Exchange {
        let trace = TraceContext {
            trace_id: 1,
            span_id: 1,
            parent: None,
            sampled: false,
        };
        let exchange = Exchange::new("r".into(), "c".into(), trace, "127.0.0.1:1".parse().unwrap(), false);
        let scopes = Arc::default();
        let channel = channel.into();
        exchange.caller.set(Caller { channel, index, scopes }).unwrap();
        exchange
    }

    #[test]
    fn calls_are_counted_by_version_and_channel_across_snapshots() {
        let traffic = Traffic::default();
        for channels in [1, 2] {
            let v1 = traffic.version("erp", "v1", channels);
            v1.count(&call("storefront", 0));
            v1.count(&call("marketplace", 1));
        }
        traffic.version("erp", "v2", 2).count(&call("storefront", 0));
        let said: Vec<_> = traffic
            .of("erp")
            .into_iter()
            .map(|calls| (calls.version, calls.channel, calls.requests))
            .collect();
        let expected = [
            ("v1", "marketplace", 2),
            ("v1", "storefront", 2),
            ("v2", "storefront", 1),
        ];
        assert_eq!(
            said,
            expected.map(|(version, channel, count)| (version.into(), channel.into(), count))
        );
        assert!(traffic.of("wms").is_empty());
    }
}
