//! Counters for Prometheus. Handles are resolved when a snapshot is compiled; a request only adds to them.

mod checks;
mod deliveries;
mod lookups;
mod traffic;
mod trial;
mod webhooks;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use self::{
    checks::{ChannelChecks, Direction},
    deliveries::{DeliveryMetrics, Hold},
    lookups::LookupMetrics,
    traffic::VersionCalls,
    trial::TrialMetrics,
};
use self::{
    checks::{Checks, VersionChecks},
    lookups::Keys,
    traffic::{Traffic, VersionTraffic},
    trial::Candidates,
    webhooks::Webhooks,
};
use crate::{
    exchange::{Caller, Exchange},
    queue::{CheckResult, Checked, Health, NoticeOutcome, NoticeStats, Pause, QueueStats},
    upstream::breaker::BreakerState,
};

/// Bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0,
];
const DECISIONS: [&str; 4] = ["forwarded", "refused", "queued", "answered"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    api: String,
    operation: String,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    api: String,
    operation: String,
    version: String,
    status: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    api: String,
    problem: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    upstream: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ContractLabels {
    api: String,
    version: String,
    operation: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// All series of the process. A clone is another handle on the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    in_flight: Family<RouteLabels, Gauge>,
    refusals: Family<RefusalLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    attempt_durations: Family<UpstreamLabels, Histogram, fn() -> Histogram>,
    breakers: Family<UpstreamLabels, Gauge>,
    violations: Family<ContractLabels, Counter>,
    traffic: Traffic,
    checks: Checks,
    candidates: Candidates,
    keys: Keys,
    deliveries: DeliveryMetrics,
    retries_refused: Family<UpstreamLabels, Counter>,
    webhooks: Webhooks,
    queue_health: Family<StateLabels, Gauge>,
    queue_check: Family<StateLabels, Gauge>,
    queue_checked: Gauge,
    queue_oldest: Gauge<f64, AtomicU64>,
    spans_dropped: Counter,
    lines_dropped: Counter,
    snapshot: Gauge,
    snapshot_since: Gauge<f64, AtomicU64>,
    reloads_failed: Counter,
    cpu: Gauge<f64, AtomicU64>,
    memory: Gauge,
    last_error: Mutex<Option<String>>,
    is_draining: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut inner = Inner {
            registry: Registry::with_prefix("crossdock"),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            in_flight: Family::default(),
            refusals: Family::default(),
            attempts: Family::default(),
            attempt_durations: Family::new_with_constructor(histogram),
            breakers: Family::default(),
            violations: Family::default(),
            traffic: Traffic::default(),
            checks: Checks::default(),
            candidates: Candidates::default(),
            keys: Keys::default(),
            deliveries: DeliveryMetrics::default(),
            retries_refused: Family::default(),
            webhooks: Webhooks::default(),
            queue_health: Family::default(),
            queue_check: Family::default(),
            queue_checked: Gauge::default(),
            queue_oldest: Gauge::default(),
            spans_dropped: Counter::default(),
            lines_dropped: Counter::default(),
            snapshot: Gauge::default(),
            snapshot_since: Gauge::default(),
            reloads_failed: Counter::default(),
            cpu: Gauge::default(),
            memory: Gauge::default(),
            last_error: Mutex::default(),
            is_draining: AtomicBool::new(false),
        };
        inner.register();
        Self(Arc::new(inner))
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered", self.requests.clone());
        let help = "From a request's header to its response's header";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, self.durations.clone());
        registry.register("http_requests_in_flight", "Requests under way", self.in_flight.clone());
        registry.register("refusals", "Requests that the gateway refused", self.refusals.clone());
        registry.register("upstream_attempts", "Attempts at an upstream", self.attempts.clone());
        let help = "From an attempt's begin to its response's header or failure";
        registry.register_with_unit(
            "upstream_attempt_duration",
            help,
            Unit::Seconds,
            self.attempt_durations.clone(),
        );
        let help = "0 closed, 1 half open, 2 open: the best of the upstream's endpoints";
        registry.register("upstream_breaker_state", help, self.breakers.clone());
        let help = "Messages that broke a contract or could not be mapped, by the caller's contract version";
        registry.register("contract_violations", help, self.violations.clone());
        self.traffic.register(registry);
        self.checks.register(registry);
        self.candidates.register(registry);
        self.keys.register(registry);
        self.deliveries.register(registry);
        let help = "Retries of requests that were not made: the upstream's budget of retries was used up";
        registry.register("upstream_retries_refused", help, self.retries_refused.clone());
        self.webhooks.register(registry);
        let help = "How the queue's store is: 1 for the state it is in";
        registry.register("queue_health", help, self.queue_health.clone());
        let help = "What the last look through the queue's store found: 1 for sound, unfinished or damaged";
        registry.register("queue_check", help, self.queue_check.clone());
        let help = "When the queue's store was last looked through, in seconds since 1970; 0 before that";
        registry.register("queue_checked_timestamp", help, self.queue_checked.clone());
        let help = "Age of the oldest message that waits";
        registry.register_with_unit("queue_oldest_age", help, Unit::Seconds, self.queue_oldest.clone());
        registry.register(
            "trace_spans_dropped",
            "Spans that could not be exported",
            self.spans_dropped.clone(),
        );
        registry.register(
            "access_log_lines_dropped",
            "Access lines that nobody took",
            self.lines_dropped.clone(),
        );
        registry.register("snapshot", "Number of the snapshot in force", self.snapshot.clone());
        let help = "When the snapshot went live, since 1970";
        registry.register_with_unit("snapshot_since", help, Unit::Seconds, self.snapshot_since.clone());
        registry.register(
            "snapshot_reloads_failed",
            "Changed files that could not go live",
            self.reloads_failed.clone(),
        );
        registry.register_with_unit(
            "process_cpu",
            "User and system time so far",
            Unit::Seconds,
            self.cpu.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Memory in use",
            Unit::Bytes,
            self.memory.clone(),
        );
    }
}

impl Metrics {
    /// The series of one route. Asked again for the same, they go on counting.
    pub fn route(&self, api: &str, operation: &str, version: &str) -> RouteMetrics {
        let labels = RouteLabels {
            api: api.to_owned(),
            operation: operation.to_owned(),
            version: version.to_owned(),
        };
        let request = |status, decision| {
            let RouteLabels {
                api,
                operation,
                version,
            } = labels.clone();
            // Made when first counted, so that the text does not list what never happened.
            Lazy::new(RequestLabels {
                api,
                operation,
                version,
                status,
                decision,
            })
        };
        RouteMetrics {
            metrics: self.clone(),
            api: api.to_owned(),
            requests: CLASSES.map(|status| DECISIONS.map(|decision| request(status, decision))),
            duration: self.0.durations.get_or_create(&labels).clone(),
            in_flight: self.0.in_flight.get_or_create(&labels).clone(),
            traffic: None,
        }
    }

    /// All calls to an API so far, by version and channel.
    pub fn calls(&self, api: &str) -> Vec<VersionCalls> {
        self.0.traffic.of(api)
    }

    /// The series of one upstream.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        let labels = UpstreamLabels {
            upstream: name.to_owned(),
        };
        UpstreamMetrics {
            metrics: self.clone(),
            duration: self.0.attempt_durations.get_or_create(&labels).clone(),
            breaker: self.0.breakers.get_or_create(&labels).clone(),
            retries_refused: self.0.retries_refused.get_or_create(&labels).clone(),
            ok: self
                .0
                .attempts
                .get_or_create(&AttemptLabels {
                    upstream: name.to_owned(),
                    outcome: "2xx",
                })
                .clone(),
            name: labels.upstream,
        }
    }

    /// What came of the messages of an API that were held against its contract, by version and channel.
    pub fn checks(&self, api: &str) -> Vec<ChannelChecks> {
        self.0.checks.of(api)
    }

    /// The series of what mappings ask of an operation.
    pub fn lookup(&self, api: &str, operation: &str) -> LookupMetrics {
        self.0.keys.of(api, operation)
    }

    /// The series of one API's contract version; channels have numbers below `channels`.
    pub fn validation(&self, api: &str, version: &str, operation: &str, channels: usize) -> ValidationMetrics {
        ValidationMetrics {
            metrics: self.clone(),
            checks: self.0.checks.version(api, version, channels),
            api: api.to_owned(),
            version: version.to_owned(),
            operation: operation.to_owned(),
        }
    }

    /// The series of deliveries from the queue.
    pub fn deliveries(&self) -> DeliveryMetrics {
        self.0.deliveries.clone()
    }

    /// The series of one API's candidate.
    pub fn trial(&self, api: &str) -> TrialMetrics {
        self.0.candidates.of(api)
    }

    /// A snapshot went live.
    pub fn snapshot(&self, number: u64) {
        self.0.snapshot.set(i64::try_from(number).unwrap_or(i64::MAX));
        self.0.snapshot_since.set(Timestamp::now().as_duration().as_secs_f64());
        self.reload_unchanged();
    }

    /// The files are as they were when the running snapshot was compiled.
    pub fn reload_unchanged(&self) {
        *self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Changed files could not go live.
    pub fn reload_failed(&self, why: String) {
        self.0.reloads_failed.inc();
        *self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why the last change of the files is not live, where it is not.
    pub fn last_error(&self) -> Option<String> {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The gateway takes no new requests any more.
    pub fn draining(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway is about to end.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }

    /// Whether new messages can be queued.
    pub fn queue_health(&self, health: &Health) {
        for (state, is_it) in [
            ("ok", *health == Health::Ok),
            ("full", *health == Health::Full),
            ("draining", *health == Health::Draining),
            ("unavailable", matches!(health, Health::Unavailable(_))),
            ("failed", matches!(health, Health::Poisoned(_))),
        ] {
            self.0
                .queue_health
                .get_or_create(&StateLabels { state })
                .set(i64::from(is_it));
        }
    }

    /// What the last look through the queue's store found.
    pub fn queue_check(&self, checked: &Checked) {
        for state in CheckResult::NAMES {
            self.0
                .queue_check
                .get_or_create(&StateLabels { state })
                .set(i64::from(state == checked.result.name()));
        }
        self.0.queue_checked.set(checked.at.as_second());
    }

    /// How the queue stands.
    pub fn queue(&self, stats: &QueueStats) {
        self.0.deliveries.count(stats);
        self.0
            .queue_oldest
            .set(stats.oldest.map_or(0.0, |age| age.as_secs_f64()));
    }

    /// What came of one try at telling a channel by a webhook.
    pub fn webhook(&self, channel: &str, outcome: &NoticeOutcome) {
        self.0.webhooks.tried(channel, outcome);
    }

    /// How many webhooks wait or were given up.
    pub fn webhooks(&self, stats: &NoticeStats, pauses: &[Pause], now: Timestamp) {
        self.0.webhooks.kept(stats, pauses, now);
    }

    /// Spans were lost.
    pub fn spans_dropped(&self, count: u64) {
        self.0.spans_dropped.inc_by(count);
    }

    /// Access lines were lost.
    pub fn log_lines_dropped(&self, count: u64) {
        self.0.lines_dropped.inc_by(count);
    }

    /// Everything, in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        self.read_process();
        let mut text = String::new();
        // Writing to a String never fails.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// CPU time and memory of this process, as the kernel counts them.
    fn read_process(&self) {
        /// Clock ticks a second: fixed for all Linux user space.
        const TICKS: f64 = 100.0;
        const PAGE: i64 = 4_096;
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in parentheses may hold spaces; what follows it does not.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_ascii_whitespace()
            .collect();
        let field = |number: usize| {
            fields
                .get(number)
                .and_then(|text| text.parse::<u32>().ok())
                .map_or(0.0, f64::from)
        };
        self.0.cpu.set((field(11) + field(12)) / TICKS);
        if let Some(pages) = fields.get(21).and_then(|text| text.parse::<i64>().ok()) {
            self.0.memory.set(pages * PAGE);
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A counter that exists once it has counted.
struct Lazy {
    labels: RequestLabels,
    counter: std::sync::OnceLock<Counter>,
}

impl Lazy {
    fn new(labels: RequestLabels) -> Self {
        Self {
            labels,
            counter: std::sync::OnceLock::new(),
        }
    }

    fn inc(&self, metrics: &Metrics) {
        self.counter
            .get_or_init(|| metrics.0.requests.get_or_create(&self.labels).clone())
            .inc();
    }
}

/// What one route counts.
pub struct RouteMetrics {
    metrics: Metrics,
    api: String,
    requests: [[Lazy; DECISIONS.len()]; CLASSES.len()],
    duration: Histogram,
    in_flight: Gauge,
    traffic: Option<VersionTraffic>,
}

/// A request under way; counted until it is dropped.
pub struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RouteMetrics {
    /// Counts who calls this contract version as well; channels have numbers below `channels`.
    #[must_use]
    pub fn by_channel(mut self, version: &str, channels: usize) -> Self {
        self.traffic = Some(self.metrics.0.traffic.version(&self.api, version, channels));
        self
    }

    /// A request begins.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    /// A request has ended.
    pub fn record(&self, exchange: &Exchange, status: u16, ended: Instant) {
        self.duration
            .observe(ended.duration_since(exchange.started).as_secs_f64());
        if let Some(traffic) = &self.traffic {
            traffic.count(exchange);
        }
        let trail = exchange.trail();
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let decision = DECISIONS.iter().position(|name| *name == trail.decision()).unwrap_or(0);
        self.requests[class][decision].inc(&self.metrics);
        if let Some((problem, class)) = trail.refusal {
            let labels = RefusalLabels {
                api: self.api.clone(),
                problem,
                class: class.as_str(),
            };
            self.metrics.0.refusals.get_or_create(&labels).inc();
        }
    }
}

/// What one upstream counts.
pub struct UpstreamMetrics {
    metrics: Metrics,
    name: String,
    duration: Histogram,
    breaker: Gauge,
    retries_refused: Counter,
    ok: Counter,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// An answer with this status.
    Status(u16),
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Broken,
}

impl UpstreamMetrics {
    /// An attempt has ended.
    pub fn attempt(&self, result: AttemptResult, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        let outcome = match result {
            AttemptResult::Status(200..=299) => {
                self.ok.inc();
                return;
            }
            AttemptResult::Status(status) => CLASSES[usize::from(status / 100).clamp(1, CLASSES.len()) - 1],
            AttemptResult::Connect => "connect",
            AttemptResult::Timeout => "timeout",
            AttemptResult::Broken => "broken",
        };
        self.metrics
            .0
            .attempts
            .get_or_create(&AttemptLabels {
                upstream: self.name.clone(),
                outcome,
            })
            .inc();
    }

    /// A retry was not made, as too many are made already.
    pub fn retry_refused(&self) {
        self.retries_refused.inc();
    }

    /// How the upstream's breaker stands.
    pub fn breaker(&self, state: BreakerState) {
        self.breaker.set(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
    }
}

/// What one contract version counts.
pub struct ValidationMetrics {
    metrics: Metrics,
    checks: VersionChecks,
    api: String,
    version: String,
    operation: String,
}

impl ValidationMetrics {
    fn count(&self, kind: &'static str) {
        self.count_by(kind, 1);
    }

    fn count_by(&self, kind: &'static str, count: u32) {
        if count == 0 {
            return;
        }
        let labels = ContractLabels {
            api: self.api.clone(),
            version: self.version.clone(),
            operation: self.operation.clone(),
            kind,
        };
        self.metrics
            .0
            .violations
            .get_or_create(&labels)
            .inc_by(u64::from(count));
    }

    /// Links of an answer were left out, and places that errors name have no counterpart.
    pub fn missed(&self, links: u32, places: u32) {
        self.count_by("link_dropped", links);
        self.count_by("place_unknown", places);
    }

    /// A message was held against the contract of its operation; `places` are those where it violates it.
    pub fn checked(
        &self,
        caller: Option<&Caller>,
        direction: Direction,
        operation: &Arc<str>,
        places: impl Iterator<Item = String>,
    ) {
        self.checks.count(caller, direction, operation, places);
    }

    /// A request does not conform.
    pub fn request_violated(&self) {
        self.count("request");
    }

    /// A response does not conform.
    pub fn response_violated(&self) {
        self.count("response");
    }

    /// A request cannot be mapped.
    pub fn request_unmappable(&self) {
        self.count("request_unmappable");
    }

    /// A response cannot be mapped.
    pub fn response_unmappable(&self) {
        self.count("response_unmappable");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TraceContext;

    #[test]
    fn a_series_goes_on_counting_across_snapshots() {
        let metrics = Metrics::default();
        let trace = TraceContext {
            trace_id: 1,
            span_id: 1,
            parent: None,
            sampled: false,
        };
        let exchange = Exchange::new("r".into(), "c".into(), trace, "127.0.0.1:1".parse().unwrap(), false);
        for _ in 0..2 {
            metrics.route("erp", "get", "v1").record(&exchange, 200, Instant::now());
        }
        let expected = r#"crossdock_http_requests_total{api="erp",operation="get",version="v1",status="2xx",decision="answered"} 2"#;
        assert!(metrics.text().contains(expected), "{}", metrics.text());
    }

    #[test]
    fn what_is_under_way_is_counted_until_it_ends() {
        let metrics = Metrics::default();
        let route = metrics.route("erp", "get", "v1");
        let under_way = route.begin();
        assert!(
            metrics
                .text()
                .contains(r#"in_flight{api="erp",operation="get",version="v1"} 1"#)
        );
        drop(under_way);
        assert!(
            metrics
                .text()
                .contains(r#"in_flight{api="erp",operation="get",version="v1"} 0"#)
        );
    }

    #[test]
    fn the_process_tells_its_memory() {
        let text = Metrics::default().text();
        let line = text
            .lines()
            .find(|line| line.starts_with("crossdock_process_resident_memory_bytes "))
            .unwrap();
        assert!(
            line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap() > 1_000_000,
            "{line}"
        );
    }

    #[test]
    fn the_last_error_goes_when_a_good_snapshot_comes() {
        let metrics = Metrics::default();
        metrics.reload_failed("line 3".into());
        assert_eq!(metrics.last_error().as_deref(), Some("line 3"));
        metrics.snapshot(2);
        assert_eq!(metrics.last_error(), None);
    }
}
