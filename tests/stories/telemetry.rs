//! What operators see: traces in a collector, metrics, the access log.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use prost::Message as _;

use crate::{
    harness::World,
    orders::{order_v1, order_v2},
};

/// An OTLP collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, collector) = (listener.local_addr().unwrap().port(), self.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collector = collector.clone();
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let collector = collector.clone();
                    async move {
                        let bytes = request.into_body().collect().await?.to_bytes();
                        let export = ExportTraceServiceRequest::decode(bytes).unwrap();
                        let spans = export
                            .resource_spans
                            .into_iter()
                            .flat_map(|resource| resource.scope_spans);
                        collector.0.lock().unwrap().extend(spans.flat_map(|scope| scope.spans));
                        Ok::<_, hyper::Error>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        port
    }

    fn find(&self, matches: impl Fn(&Span) -> bool) -> Option<Span> {
        self.0.lock().unwrap().iter().find(|span| matches(span)).cloned()
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()?;
    Some(match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

async fn traced(sample: &str) -> (World, Collector) {
    let collector = Collector::default();
    let port = collector.start().await;
    let sample = sample.to_owned();
    let world = World::start_with(move |folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let traces =
            format!("telemetry:\n  traces: {{ endpoint: 'http://127.0.0.1:{port}/v1/traces', sample: {sample} }}\n");
        assert!(
            !text.lines().any(|line| line.starts_with("telemetry:")),
            "the demo exports no traces by itself"
        );
        std::fs::write(path, format!("{text}\n{traces}")).unwrap();
    })
    .await;
    (world, collector)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_shows_the_request_its_decisions_and_the_attempt() {
    let (world, collector) = traced("100%").await;
    let token = world.token("storefront");
    assert_eq!(world.orders(&token, "v1", "t-1", order_v1("T-1")).await.status, 201);
    let server =
        |span: &Span| attribute(span, "crossdock.operation").as_deref() == Some("createOrder") && span.kind == 2;
    world
        .until("the trace arrives", async || collector.find(server).is_some())
        .await;
    let root = collector.find(server).unwrap();
    assert_eq!(attribute(&root, "crossdock.channel").as_deref(), Some("storefront"));
    assert_eq!(attribute(&root, "crossdock.transaction.key").as_deref(), Some("T-1"));
    assert_eq!(attribute(&root, "http.response.status_code").as_deref(), Some("201"));
    for step in ["authenticate", "authorize", "limit", "validate", "map"] {
        let child = |span: &Span| span.name.contains(step) && span.parent_span_id == root.span_id;
        world
            .until(&format!("the span of {step} arrives"), async || {
                collector.find(child).is_some()
            })
            .await;
    }
    let attempt = |span: &Span| span.kind == 3 && span.trace_id == root.trace_id;
    world
        .until("the attempt's span arrives", async || collector.find(attempt).is_some())
        .await;
    let sent = world.ledger("erp").await[0]["traceparent"].as_str().unwrap().to_owned();
    let id = collector.find(attempt).unwrap().span_id;
    let id = format!("{:016x}", u64::from_be_bytes(id.try_into().unwrap()));
    assert!(sent.contains(&id), "the ERP's parent is the attempt's span: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_request_is_always_traced_and_its_delivery_links_to_it() {
    let (world, collector) = traced("0%").await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    assert_eq!(
        world
            .orders(&token, "v2", "t-2", order_v2("T-2").to_string())
            .await
            .status,
        202
    );
    let root = |span: &Span| span.kind == 2 && attribute(span, "crossdock.queue.id").is_some();
    world
        .until("the request's trace arrives", async || collector.find(root).is_some())
        .await;
    let root = collector.find(root).unwrap();
    world.fault("erp", "up").await;
    let delivery = |span: &Span| span.links.iter().any(|link| link.trace_id == root.trace_id);
    world
        .until("the delivery's trace links to it", async || {
            collector.find(delivery).is_some()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_the_access_log_tell_what_happened() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.orders(&token, "v2", "m-1", order_v2("M-1").to_string()).await;
    world.call(http::Method::GET, "/nowhere?secret=1", &[], "").await;
    world
        .until("the access log is written", async || {
            world.access_log().contains("/nowhere")
        })
        .await;
    let log = world.access_log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let order = lines.iter().find(|line| line["operation"] == "createOrder").unwrap();
    assert_eq!(
        (&order["status"], &order["channel"], &order["version"]),
        (&201.into(), &"storefront".into(), &"v2".into())
    );
    assert!(!log.contains("secret") && !log.contains(&token), "{log}");

    let metrics = world.admin("/metrics").await;
    assert!(
        metrics.text.contains("crossdock_http_requests_total"),
        "{}",
        metrics.text
    );
    assert!(
        metrics
            .text
            .lines()
            .any(|line| line.contains("createOrder") && line.contains("erp-orders")),
        "{}",
        metrics.text
    );
    assert_eq!(world.admin("/healthz").await.status, 200);
    assert_eq!(world.admin("/readyz").await.status, 200);
}
