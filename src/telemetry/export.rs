//! OTLP over HTTP with the gateway's own client, on the background runtime.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _},
};
use tracing::{info, warn};

use super::metrics::Metrics;
use crate::client::{Https, https};

/// Spans that wait for export at most; further ones are dropped and counted.
const QUEUE: usize = 8_192;
/// How long one export may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer of a collector, in bytes.
const LARGEST: usize = 1 << 20;

/// A processor that exports to `endpoint` in batches.
pub(super) fn processor(endpoint: &str, metrics: &Metrics) -> Result<BatchSpanProcessor, String> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Collector {
            client: https(),
            runtime: tokio::runtime::Handle::current(),
        })
        .with_endpoint(endpoint)
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(512)
        .with_scheduled_delay(Duration::from_millis(500));
    let exporter = Watched {
        exporter,
        metrics: metrics.clone(),
        is_failing: Arc::default(),
    };
    let mut processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(config.build())
        .build();
    processor.set_resource(
        &Resource::builder()
            .with_service_name("crossdock")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build(),
    );
    Ok(processor)
}

/// The exporter calls from a thread of its own; the work is done where the sockets live.
#[derive(Debug)]
struct Collector {
    client: Https<Full<Bytes>>,
    runtime: tokio::runtime::Handle,
}

impl HttpClient for Collector {
    // The trait is written with `async_trait`; this is what it asks for.
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let sending = self.client.request(request.map(Full::new));
        let exporting = self.runtime.spawn(async move {
            let (parts, body) = tokio::time::timeout(TIMEOUT, sending).await??.into_parts();
            let bytes = Limited::new(body, LARGEST).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, bytes))
        });
        Box::pin(async move { exporting.await? })
    }
}

/// Counts what could not be exported, and says so once until it works again.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    metrics: Metrics,
    is_failing: Arc<std::sync::atomic::AtomicBool>,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        use std::sync::atomic::Ordering::Relaxed;

        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => {
                if self.is_failing.swap(false, Relaxed) {
                    info!("traces are exported again");
                }
            }
            Err(error) => {
                self.metrics.spans_dropped(spans);
                if !self.is_failing.swap(true, Relaxed) {
                    warn!(%error, "traces cannot be exported; they are dropped until the collector answers");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
