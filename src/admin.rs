//! The admin listener: health, metrics, the snapshot in force, contract versions, the queue, the audit log.

pub mod queue;
pub(crate) mod versions;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{queue::Health, shared::Shared};

/// Serves until `stop`. Answers only requests that name a loopback host: a web page that resolves its own name to this
/// address gets nothing.
pub async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/snapshot", get(snapshot))
        .route("/versions", get(versions))
        .merge(queue::routes())
        .fallback(async || problem(StatusCode::NOT_FOUND, "the admin listener has no such resource"))
        .layer(middleware::from_fn(only_loopback))
        .with_state(shared);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        error!(%error, "the admin listener ended");
    }
}

async fn only_loopback(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if !is_loopback(host) {
        return problem(
            StatusCode::MISDIRECTED_REQUEST,
            "the admin listener answers to loopback host names only",
        );
    }
    // A web page can make a browser send a form to this address, but not JSON without asking first.
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if request.method().is_safe() || matches!(essence, "application/json" | "application/x-ndjson") {
        next.run(request).await
    } else {
        problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "what is sent here is `content-type: application/json`",
        )
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let mut reasons = Vec::new();
    if shared.snapshot.load().is_none() {
        reasons.push("no snapshot is in force yet".to_owned());
    }
    if shared.metrics.is_draining() {
        reasons.push("the gateway is draining".to_owned());
    }
    let health = shared.log.health();
    if let Health::Poisoned(cause) = &health {
        reasons.push(format!("the queue's store failed: {cause}"));
    }
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    // A queue that is full, or whose store is away, refuses new messages and nothing else: direct traffic goes on.
    let cause = match &health {
        Health::Unavailable(cause) | Health::Poisoned(cause) => Some(cause.clone()),
        _ => None,
    };
    let queue = match health {
        Health::Ok => "ok",
        Health::Full => "full",
        Health::Draining => "draining",
        Health::Unavailable(_) => "unavailable",
        Health::Poisoned(_) => "failed",
    };
    let check = shared.log.checked().map(|checked| {
        json!({ "at": checked.at.to_string(), "seconds": checked.took.as_secs_f64(), "result": checked.result.name() })
    });
    (
        status,
        Json(json!({
            "ready": reasons.is_empty(),
            "reasons": reasons,
            "queue": queue,
            "queueCause": cause,
            "queueCheck": check,
        })),
    )
        .into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], shared.metrics.text()).into_response()
}

async fn snapshot(State(shared): State<Arc<Shared>>) -> Response {
    let Some(snapshot) = shared.snapshot.load_full() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "no snapshot is in force yet");
    };
    Json(json!({
        "number": snapshot.number,
        "digest": snapshot.digest,
        "since": snapshot.since.to_string(),
        "routes": snapshot.routes(),
        "lastError": shared.metrics.last_error(),
    }))
    .into_response()
}

async fn versions(State(shared): State<Arc<Shared>>) -> Response {
    match shared.snapshot.load_full() {
        Some(snapshot) => Json(versions::document(&snapshot, &shared, Timestamp::now())).into_response(),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "no snapshot is in force yet"),
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    problem_with(status, detail, &[])
}

#[expect(clippy::unnecessary_box_returns, reason = "what goes through `?` is to be small")]
fn refuse(status: StatusCode, detail: &str) -> Box<Response> {
    Box::new(problem(status, detail))
}

fn problem_with(status: StatusCode, detail: &str, errors: &[Value]) -> Response {
    let mut body = json!({ "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
    if !errors.is_empty() {
        body["errors"] = errors.into();
    }
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_known_in_every_spelling() {
        for host in [
            "localhost",
            "LocalHost:9901",
            "127.0.0.1:9901",
            "127.8.8.8",
            "[::1]:9901",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com:9901",
            "10.0.0.1",
            "127.0.0.1.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
