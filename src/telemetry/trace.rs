//! Spans, made when a request has ended and only if its trace is kept.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use http::Method;
use jiff::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};

use super::{Metrics, Sampler, TraceContext, export};
use crate::{
    config::TracesSpec,
    exchange::{Attempt, Exchange, Trail},
    queue::{NewMessage, delivery::Delivery},
};

/// How long the last spans may take to leave when the gateway stops.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// Makes spans and hands them to the exporter.
pub struct Traces {
    sampler: Sampler,
    processor: Box<dyn SpanProcessor>,
    scope: InstrumentationScope,
    /// Spans handed over in this second, to bound what always-kept errors cost in a storm.
    storm: Storm,
}

/// The trace of one delivery of a queued message. It is its own, and links to the request that was answered with 202.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryTrace {
    context: TraceContext,
    origin: Option<(u128, u64)>,
}

impl DeliveryTrace {
    /// The `traceparent` of an attempt.
    pub fn traceparent(&self, span_id: u64) -> http::HeaderValue {
        self.context.traceparent(span_id)
    }
}

impl Traces {
    /// Exports as the policies say. Needs the background runtime. The error is a phrase.
    pub fn start(spec: &TracesSpec, metrics: &Metrics) -> Result<Self, String> {
        let processor: BatchSpanProcessor = export::processor(&spec.endpoint, metrics)?;
        Ok(Self::new(Sampler::new(spec.sample.0), Box::new(processor)))
    }

    fn new(sampler: Sampler, processor: Box<dyn SpanProcessor>) -> Self {
        Self {
            sampler,
            processor,
            scope: InstrumentationScope::builder("crossdock").build(),
            storm: Storm::default(),
        }
    }

    /// Decides about traces that begin here.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// A request has ended. Its trace is kept where it is sampled, failed on our side, or was queued.
    pub fn record(&self, exchange: &Exchange, status: u16, method: &Method, path: &str, ended: Instant) {
        let trail = exchange.trail();
        let is_kept = exchange.trace.sampled || ((status >= 500 || trail.is_queued) && self.storm.allows());
        if !is_kept {
            return;
        }
        let clock = Clock {
            instant: exchange.started,
            time: exchange.started_at,
        };
        let trace = &exchange.trace;
        let route = exchange.route.get();
        let name = match route {
            Some(route) => format!("{method} {}", route.template),
            None => method.to_string(),
        };
        let mut root = self.span(
            trace.trace_id,
            trace.span_id,
            trace.parent,
            SpanKind::Server,
            name.into(),
            clock.span(exchange.started, ended),
        );
        root.parent_span_is_remote = trace.parent.is_some();
        root.attributes = attributes(exchange, &trail, status, method, path);
        if status >= 500 {
            root.status = Status::error(trail.refusal.map_or("", |(slug, _)| slug));
        }
        self.processor.on_end(root);
        for (number, step) in trail.steps.iter().enumerate() {
            // What the last step does is told by its attempts.
            if step.name == "forward" {
                continue;
            }
            let until = trail.steps.get(number + 1).map_or(ended, |next| next.entered);
            let name = Cow::Borrowed(step.name);
            let span = self.span(
                trace.trace_id,
                fastrand::u64(1..),
                Some(trace.span_id),
                SpanKind::Internal,
                name,
                clock.span(step.entered, until),
            );
            self.processor.on_end(span);
        }
        for attempt in &trail.attempts {
            self.attempt(trace.trace_id, trace.span_id, attempt, clock);
        }
    }

    fn attempt(&self, trace_id: u128, parent: u64, attempt: &Attempt, clock: Clock) {
        let name = format!("attempt {}", attempt.upstream).into();
        let mut span = self.span(
            trace_id,
            attempt.span_id,
            Some(parent),
            SpanKind::Client,
            name,
            clock.span(attempt.started, attempt.ended),
        );
        let (host, port) = attempt.endpoint.rsplit_once(':').unwrap_or((&attempt.endpoint, ""));
        span.attributes = vec![
            KeyValue::new("crossdock.upstream", attempt.upstream.to_string()),
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("server.port", port.parse().unwrap_or(0_i64)),
        ];
        match &attempt.result {
            Ok(status) => {
                span.attributes
                    .push(KeyValue::new("http.response.status_code", i64::from(*status)));
                // For a client, 4xx is an error as well (HTTP semantic conventions).
                if *status >= 400 {
                    span.status = Status::error("");
                }
            }
            Err(cause) => {
                span.attributes.push(KeyValue::new("error.type", cause.clone()));
                span.status = Status::error(cause.clone());
            }
        }
        self.processor.on_end(span);
    }

    /// Begins the trace of a delivery attempt. Deliveries are always kept: they are the rest of a kept trace.
    pub fn delivery(&self, traceparent: &str) -> DeliveryTrace {
        let context = TraceContext {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
            parent: None,
            sampled: true,
        };
        DeliveryTrace {
            context,
            origin: TraceContext::linked(traceparent),
        }
    }

    /// A delivery attempt has ended.
    pub fn record_delivery(
        &self,
        trace: &DeliveryTrace,
        message: &NewMessage,
        number: u32,
        attempts: &[Attempt],
        started: Instant,
        delivery: &Delivery,
    ) {
        if !self.storm.allows() {
            return;
        }
        let ended = Instant::now();
        let clock = Clock {
            instant: ended,
            time: SystemTime::now(),
        };
        let context = &trace.context;
        let name = format!("deliver {}", message.operation).into();
        let mut root = self.span(
            context.trace_id,
            context.span_id,
            None,
            SpanKind::Consumer,
            name,
            clock.span(started, ended),
        );
        root.attributes = vec![
            KeyValue::new("crossdock.queue.id", message.id.clone()),
            KeyValue::new("crossdock.queue.attempt", i64::from(number)),
            KeyValue::new("crossdock.api", message.api.clone()),
            KeyValue::new("crossdock.operation", message.operation.clone()),
            KeyValue::new("crossdock.contract.version", message.version.clone()),
            KeyValue::new("crossdock.channel", message.channel.clone()),
            KeyValue::new("crossdock.upstream", message.order_key.upstream.clone()),
            KeyValue::new("crossdock.correlation_id", message.correlation.clone()),
        ];
        if let Some((kind, key)) = &message.transaction {
            root.attributes
                .push(KeyValue::new("crossdock.transaction.type", kind.clone()));
            root.attributes
                .push(KeyValue::new("crossdock.transaction.key", key.clone()));
        }
        if let Ok(id) = message.id.parse::<uuid::Uuid>()
            && let Some((seconds, nanos)) = id.get_timestamp().map(|at| at.to_unix())
            && let Ok(admitted) = Timestamp::new(i64::try_from(seconds).unwrap_or(0), i32::try_from(nanos).unwrap_or(0))
        {
            let waited = Timestamp::now().duration_since(admitted).as_millis();
            root.attributes.push(KeyValue::new(
                "crossdock.queue.wait_ms",
                i64::try_from(waited).unwrap_or(i64::MAX),
            ));
        }
        match delivery {
            Delivery::Answer { response, .. } => {
                root.attributes
                    .push(KeyValue::new("http.response.status_code", i64::from(response.status)));
                if response.status >= 400 {
                    root.status = Status::error("");
                }
            }
            Delivery::Withheld { note: cause, .. }
            | Delivery::NotSent(cause)
            | Delivery::Unsendable(cause)
            | Delivery::Broken(cause) => {
                root.status = Status::error(cause.clone());
            }
        }
        if let Some((trace_id, span_id)) = trace.origin {
            let origin = span_context(trace_id, span_id, true);
            root.links
                .links
                .push(Link::new(origin, vec![KeyValue::new("crossdock.link", "accepted")], 0));
        }
        self.processor.on_end(root);
        for attempt in attempts {
            self.attempt(context.trace_id, context.span_id, attempt, clock);
        }
    }

    /// Exports what is left. Blocks for some seconds at most.
    pub fn shutdown(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(SHUTDOWN) {
            tracing::debug!(%error, "the last traces were not exported");
        }
    }

    fn span(
        &self,
        trace_id: u128,
        span_id: u64,
        parent: Option<u64>,
        span_kind: SpanKind,
        name: Cow<'static, str>,
        (start_time, end_time): (SystemTime, SystemTime),
    ) -> SpanData {
        SpanData {
            span_context: span_context(trace_id, span_id, false),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.to_be_bytes())),
            parent_span_is_remote: false,
            span_kind,
            name,
            start_time,
            end_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn span_context(trace_id: u128, span_id: u64, is_remote: bool) -> SpanContext {
    let (trace, span) = (
        TraceId::from_bytes(trace_id.to_be_bytes()),
        SpanId::from_bytes(span_id.to_be_bytes()),
    );
    // What is exported is kept, whatever was decided when the request came.
    SpanContext::new(trace, span, TraceFlags::SAMPLED, is_remote, TraceState::NONE)
}

fn attributes(exchange: &Exchange, trail: &Trail, status: u16, method: &Method, path: &str) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", method.to_string()),
        KeyValue::new("http.response.status_code", i64::from(status)),
        KeyValue::new("url.path", path.to_owned()),
        KeyValue::new("url.scheme", if exchange.is_tls { "https" } else { "http" }),
        KeyValue::new("client.address", exchange.peer.ip().to_canonical().to_string()),
        KeyValue::new("crossdock.request_id", exchange.id.to_string()),
        KeyValue::new("crossdock.correlation_id", exchange.correlation.to_string()),
        KeyValue::new("crossdock.decision", trail.decision()),
    ];
    if let Some(route) = exchange.route.get() {
        attributes.push(KeyValue::new("http.route", route.template.to_string()));
        attributes.push(KeyValue::new("crossdock.api", route.api.to_string()));
        attributes.push(KeyValue::new("crossdock.operation", route.operation.to_string()));
        attributes.push(KeyValue::new("crossdock.contract.version", route.version.to_string()));
        attributes.push(KeyValue::new(
            "crossdock.snapshot",
            i64::try_from(route.snapshot).unwrap_or(i64::MAX),
        ));
    }
    if let Some(caller) = exchange.caller.get() {
        attributes.push(KeyValue::new("crossdock.channel", caller.channel.to_string()));
    }
    if let Some((slug, class)) = trail.refusal {
        attributes.push(KeyValue::new("crossdock.problem", slug));
        attributes.push(KeyValue::new("crossdock.failure.class", class.as_str()));
    }
    attributes.extend(
        trail
            .facts
            .iter()
            .map(|(name, value)| KeyValue::new(*name, value.clone())),
    );
    attributes
}

/// Instants as times of day.
#[derive(Clone, Copy)]
struct Clock {
    instant: Instant,
    time: SystemTime,
}

impl Clock {
    fn at(self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.time + later,
            None => self.time - (self.instant - instant),
        }
    }

    fn span(self, from: Instant, until: Instant) -> (SystemTime, SystemTime) {
        (self.at(from), self.at(until))
    }
}

/// Lets so many traces a second through that were not sampled.
#[derive(Default)]
struct Storm {
    second: AtomicI64,
    count: AtomicI64,
}

/// Traces kept a second although they were not sampled.
const UNSAMPLED: i64 = 200;

impl Storm {
    fn allows(&self) -> bool {
        let now = Timestamp::now().as_second();
        if self.second.swap(now, Ordering::Relaxed) != now {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < UNSAMPLED
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::OTelSdkResult;

    use super::*;
    use crate::exchange::Caller;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn exchange(sampled: bool) -> Exchange {
        let trace = TraceContext {
            trace_id: 7,
            span_id: 8,
            parent: Some(9),
            sampled,
        };
        Exchange::new("r".into(), "c".into(), trace, "127.0.0.1:1".parse().unwrap(), false)
    }

    fn recorded(exchange: &Exchange, status: u16) -> Vec<SpanData> {
        let kept = Kept::default();
        let traces = Traces::new(Sampler::new(0.0), Box::new(kept.clone()));
        traces.record(exchange, status, &Method::GET, "/orders", Instant::now());
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn an_unsampled_success_leaves_nothing() {
        assert!(recorded(&exchange(false), 200).is_empty());
        assert!(recorded(&exchange(false), 404).is_empty());
    }

    #[test]
    fn failures_and_queued_requests_are_kept() {
        assert_eq!(recorded(&exchange(false), 502).len(), 1);
        let queued = exchange(false);
        queued.trail().is_queued = true;
        assert_eq!(recorded(&queued, 202).len(), 1);
    }

    #[test]
    fn steps_and_attempts_are_children_of_the_request() {
        let exchange = exchange(true);
        let caller = Caller {
            channel: "shop".into(),
            index: 1,
            scopes: Arc::default(),
        };
        exchange.caller.set(caller).unwrap();
        exchange.trail().enter("authenticate");
        exchange.trail().enter("forward");
        let now = Instant::now();
        exchange.trail().attempts.push(Attempt {
            span_id: 42,
            upstream: "erp".into(),
            endpoint: "10.0.0.1:80".into(),
            started: now,
            ended: now,
            result: Err("no connection".into()),
        });
        let spans = recorded(&exchange, 503);
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["GET", "authenticate", "attempt erp"]);
        assert_eq!(spans[0].parent_span_id, SpanId::from_bytes(9_u64.to_be_bytes()));
        assert!(
            spans[0]
                .attributes
                .contains(&KeyValue::new("crossdock.channel", "shop"))
        );
        assert!(matches!(spans[0].status, Status::Error { .. }));
        for child in &spans[1..] {
            assert_eq!(child.parent_span_id, SpanId::from_bytes(8_u64.to_be_bytes()));
        }
        assert_eq!(
            spans[2].span_context.span_id(),
            SpanId::from_bytes(42_u64.to_be_bytes())
        );
    }

    #[test]
    fn a_storm_of_failures_is_bounded() {
        let storm = Storm::default();
        let allowed = (0..10_000).filter(|_| storm.allows()).count();
        assert!(allowed <= 2 * usize::try_from(UNSAMPLED).unwrap(), "{allowed}");
    }
}
