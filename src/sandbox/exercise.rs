//! A day in miniature: orders of several channels and versions, an outage of the ERP, recovery, and the reckoning.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Mode,
    compare::{Acknowledged, Disagreement, compare},
};

/// Clients at the same time.
const CLIENTS: u64 = 8;
/// How often a good client sends a request that got no definite answer.
const TRIES: u32 = 40;
/// How long the queue may take to drain after the outage.
const DRAIN: Duration = Duration::from_secs(90);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is needed to play.
#[derive(Clone)]
pub struct Stage {
    /// `http://127.0.0.1:8080`.
    pub gateway: String,
    /// `http://127.0.0.1:9101`.
    pub erp: String,
    /// The header field that identifies each channel: its name and value.
    pub channels: Vec<(String, &'static str, String)>,
    /// A token that lacks the scope to order.
    pub reader: String,
    /// Orders to place.
    pub orders: u64,
}

/// How it went.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests that were acknowledged: done at once, or accepted with 202.
    pub accepted: u64,
    /// Of these, accepted with 202.
    pub queued: u64,
    /// Of the queued, delivered.
    pub delivered: u64,
    /// Of the queued, told to be dead, expired or parked.
    pub dead: u64,
    /// Requests that were refused for good.
    pub refused: u64,
    /// Refusals by status and problem type.
    pub refused_by_type: BTreeMap<String, u64>,
    /// Requests that never got a definite answer.
    pub unanswered: u64,
    /// Acknowledged and not in the ERP's ledger.
    pub lost: u64,
    /// Twice in the ledger.
    pub doubled: u64,
    /// In the ledger in another order than acknowledged.
    pub out_of_order: u64,
    /// Whether the ledger agrees one to one with what was acknowledged.
    pub ledger_agrees: bool,
    /// Of all answers.
    pub latency: Latency,
}

/// Percentiles of latency in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

struct Player {
    stage: Stage,
    client: Client<HttpConnector, Full<Bytes>>,
    run: String,
    bar: ProgressBar,
    placed: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    acknowledged: Vec<Acknowledged>,
    sent: Vec<String>,
    /// Status URL, its channel, its key.
    queued: Vec<(String, usize, String)>,
    refused: BTreeMap<String, u64>,
    unanswered: u64,
    latencies: Vec<Duration>,
}

enum Outcome {
    Done,
    Queued(String),
    Refused,
    Unanswered,
}

/// Plays the day. Leaves the ERP up.
pub async fn play(stage: Stage, bar: ProgressBar) -> anyhow::Result<Report> {
    bar.set_length(stage.orders);
    let client = Client::builder(TokioExecutor::new()).build_http();
    // So that a second day against the same ERP does not meet the orders of the first.
    let run = format!("{:X}", fastrand::u32(0x1000..0xFFFF_FFFF));
    let notes = Mutex::default();
    let player = Arc::new(Player {
        stage,
        client,
        run,
        bar,
        placed: AtomicU64::new(0),
        notes,
    });
    player.switch(Mode::Up).await?;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(player.clone().shop());
    }
    let weather = tokio::spawn(player.clone().weather());
    while let Some(ended) = clients.join_next().await {
        ended.context("a client of the exercise panicked")?;
    }
    weather.await.context("the weather of the exercise panicked")??;
    player.switch(Mode::Up).await?;
    player.wrong_requests().await;
    let (delivered, dead) = player.settle().await;
    let ledger = player.ledger().await?;
    player.bar.finish_and_clear();
    let notes = std::mem::take(&mut *player.notes());
    Ok(report(&notes, delivered, &dead, &ledger))
}

fn report(notes: &Notes, delivered: u64, dead: &[String], ledger: &[Value]) -> Report {
    let found: Disagreement = compare(&notes.acknowledged, dead, &notes.sent, ledger);
    let mut latencies = notes.latencies.clone();
    latencies.sort_unstable();
    let percentile = |share: usize| {
        let place = (latencies.len() * share / 100).min(latencies.len().saturating_sub(1));
        latencies
            .get(place)
            .map_or(0.0, |latency| (latency.as_secs_f64() * 1e5).round() / 1e2)
    };
    Report {
        accepted: notes.acknowledged.len() as u64,
        queued: notes.queued.len() as u64,
        delivered,
        dead: dead.len() as u64,
        refused: notes.refused.values().sum(),
        refused_by_type: notes.refused.clone(),
        unanswered: notes.unanswered,
        lost: found.lost.len() as u64,
        doubled: found.doubled.len() as u64,
        out_of_order: found.out_of_order.len() as u64,
        ledger_agrees: found.is_none(),
        latency: Latency {
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
        },
    }
}

impl Player {
    /// One client: places orders, and for some of them what follows.
    async fn shop(self: Arc<Self>) {
        loop {
            let number = self.placed.fetch_add(1, Ordering::Relaxed);
            if number >= self.stage.orders {
                return;
            }
            let version = ["v1", "v2", "v3"][usize::try_from(number % 3).unwrap_or(0)];
            let channel = usize::try_from(number).unwrap_or(0) % self.stage.channels.len();
            let order = format!("{}-{number}", self.run);
            let body = order_body(version, &order, number);
            if self
                .send(channel, &format!("/system/erp/{version}/orders"), &order, 0, body)
                .await
            {
                let path = |what: &str| format!("/system/erp/v3/orders/{order}/{what}");
                match number % 3 {
                    0 => {
                        let body = json!({
                            "shipmentNumber": (number + 1).to_string(), "shippedAt": "2026-11-20T16:00:00Z",
                            "lines": [{ "lineNumber": 10, "quantity": { "value": 1, "unit": "C62" } }]
                        });
                        // Only the storefront confirms shipments in this demo.
                        self.send(0, &path("shipments"), &order, 1, body.to_string()).await;
                    }
                    1 if number.is_multiple_of(2) => {
                        let body = json!({ "reason": "customer-request" });
                        self.send(channel, &path("cancel"), &order, 1, body.to_string()).await;
                    }
                    _ => {}
                }
            }
            self.bar.inc(1);
        }
    }

    /// The ERP's day, by orders placed: well, gone, slow, moody, well.
    async fn weather(self: Arc<Self>) -> anyhow::Result<()> {
        for (share, mode) in [(25, Mode::Down), (55, Mode::Slow), (65, Mode::Flaky), (85, Mode::Up)] {
            while self.placed.load(Ordering::Relaxed) < self.stage.orders * share / 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.bar.set_message(format!("ERP {mode:?}").to_lowercase());
            self.switch(mode).await?;
        }
        Ok(())
    }

    /// Sends until there is a definite answer, with the same key each time, as a good client does.
    async fn send(&self, channel: usize, path: &str, order: &str, sequence: u64, body: String) -> bool {
        let key = format!("{order}-{sequence}");
        self.notes().sent.push(key.clone());
        let (name, field, value) = &self.stage.channels[channel];
        tracing::debug!(channel = name, path, key, "sending");
        let headers = [
            (*field, value.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        let mut outcome = Outcome::Unanswered;
        for attempt in 0..TRIES {
            outcome = self.once(path, &headers, body.clone()).await;
            if !matches!(outcome, Outcome::Unanswered) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(u64::from(20 * (attempt + 1)).min(300))).await;
        }
        let mut notes = self.notes();
        match outcome {
            Outcome::Refused => return false,
            Outcome::Unanswered => {
                notes.unanswered += 1;
                return false;
            }
            Outcome::Done => {}
            Outcome::Queued(location) => notes.queued.push((location, channel, key.clone())),
        }
        notes.acknowledged.push(Acknowledged {
            key,
            order: order.to_owned(),
            sequence,
        });
        true
    }

    async fn once(&self, path: &str, headers: &[(&str, &str)], body: String) -> Outcome {
        let started = Instant::now();
        let Ok((status, fields, body)) = self.call(Method::POST, path, headers, body).await else {
            return Outcome::Unanswered;
        };
        let mut notes = self.notes();
        notes.latencies.push(started.elapsed());
        match status {
            202 => {
                let location = fields.get(header::LOCATION).and_then(|location| location.to_str().ok());
                Outcome::Queued(location.unwrap_or_default().to_owned())
            }
            200..=299 => Outcome::Done,
            409 if body["type"] == "urn:crossdock:problem:idempotency-in-flight" => Outcome::Unanswered,
            408 | 429 | 500.. => Outcome::Unanswered,
            _ => {
                let kind = body["type"].as_str().unwrap_or("about:blank");
                let kind = kind.rsplit_once(':').map_or(kind, |(_, slug)| slug);
                *notes.refused.entry(format!("{status} {kind}")).or_default() += 1;
                Outcome::Refused
            }
        }
    }

    /// What must be refused, whatever the weather.
    async fn wrong_requests(&self) {
        let (_, field, value) = &self.stage.channels[0];
        let json = ("content-type", "application/json");
        let reader = ("authorization", self.stage.reader.as_str());
        let path = "/system/erp/v2/orders";
        let good = order_body("v2", &format!("{}-WRONG", self.run), 0);
        let bad = good.replace("\"each\"", "\"dozen\"");
        for (path, credential, body) in [
            (path, ("authorization", "Bearer forged.token.here"), good.clone()),
            (path, reader, good.clone()),
            (path, (*field, value.as_str()), bad),
            ("/system/erp/v9/orders", (*field, value.as_str()), good.clone()),
            ("/nowhere", (*field, value.as_str()), good),
        ] {
            self.once(path, &[credential, json, ("idempotency-key", "wrong")], body)
                .await;
        }
    }

    /// Waits until every queued request has come to an end; returns how many were delivered, and the keys of the rest.
    async fn settle(&self) -> (u64, Vec<String>) {
        let mut waiting = self.notes().queued.clone();
        let (mut delivered, mut dead) = (0, Vec::new());
        let until = Instant::now() + DRAIN;
        self.bar.set_length(waiting.len() as u64);
        self.bar.set_position(0);
        self.bar.set_message("waiting for the queue");
        while !waiting.is_empty() && Instant::now() < until {
            let mut still = Vec::new();
            for (location, channel, key) in waiting {
                let (_, field, value) = &self.stage.channels[channel];
                let answer = self
                    .call(Method::GET, &location, &[(*field, value.as_str())], String::new())
                    .await;
                let state = answer
                    .ok()
                    .and_then(|(_, _, body)| body["state"].as_str().map(str::to_owned));
                match state.as_deref() {
                    Some("delivered") => delivered += 1,
                    Some("dead" | "expired" | "parked") => dead.push(key),
                    _ => {
                        still.push((location, channel, key));
                        continue;
                    }
                }
                self.bar.inc(1);
            }
            waiting = still;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (delivered, dead)
    }

    async fn switch(&self, mode: Mode) -> anyhow::Result<()> {
        set_fault(&self.stage.erp, mode, Some(Duration::from_secs(2))).await
    }

    /// What this day has left in the ERP's ledger.
    async fn ledger(&self) -> anyhow::Result<Vec<Value>> {
        let entries = ledger(&self.stage.erp).await?;
        let of_this_run = |entry: &Value| {
            entry["businessKey"]
                .as_str()
                .is_some_and(|key| key.starts_with(&format!("{}-", self.run)))
        };
        Ok(entries.into_iter().filter(of_this_run).collect())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> anyhow::Result<(u16, HeaderMap, Value)> {
        call(
            &self.client,
            method,
            &format!("{}{path}", self.stage.gateway),
            headers,
            body,
        )
        .await
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Switches a back end's behaviour.
pub async fn set_fault(backend: &str, mode: Mode, latency: Option<Duration>) -> anyhow::Result<()> {
    let mut body = json!({ "mode": mode });
    if let Some(latency) = latency {
        body["latencyMs"] = json!(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
    }
    let url = format!("{backend}/sandbox/fault");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (status, _, answer) = call(
        &client,
        Method::POST,
        &url,
        &[("content-type", "application/json")],
        body.to_string(),
    )
    .await
    .with_context(|| format!("no sandbox answers at {backend}; start it with `crossdock sandbox`"))?;
    anyhow::ensure!(status == 200, "{url} answered {status}: {answer}");
    Ok(())
}

/// What a back end has done.
pub async fn ledger(backend: &str) -> anyhow::Result<Vec<Value>> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (_, _, entries) = call(
        &client,
        Method::GET,
        &format!("{backend}/sandbox/ledger"),
        &[],
        String::new(),
    )
    .await
    .with_context(|| format!("no sandbox answers at {backend}; start it with `crossdock sandbox`"))?;
    match entries {
        Value::Array(entries) => Ok(entries),
        other => anyhow::bail!("the ledger is no list: {other}"),
    }
}

async fn call(
    client: &Client<HttpConnector, Full<Bytes>>,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<(u16, HeaderMap, Value)> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = tokio::time::timeout(PATIENCE, client.request(request.body(Full::new(body.into()))?)).await??;
    let (parts, body) = response.into_parts();
    let bytes = tokio::time::timeout(PATIENCE, body.collect()).await??.to_bytes();
    Ok((
        parts.status.as_u16(),
        parts.headers,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    ))
}

/// An order in the words of a contract version. `number` varies customer and urgency.
pub fn order_body(version: &str, order: &str, number: u64) -> String {
    let customer = 10_001 + number % 50;
    let urgent = number.is_multiple_of(5);
    match version {
        "v1" => {
            let class = if urgent { "SD" } else { "ST" };
            // Written as text: the amount is to keep its digits.
            format!(
                r#"{{"orderNo":"{order}","customerNo":"{customer:010}","custName":"Bäckerei Öz & Söhne","orderDate":"20.11.2026","delivClass":"{class}","shipName":"Filiale Süd","shipStreet":"Hauptstraße 5","shipZip":"04109","shipCity":"Leipzig","shipCountry":"DE","currency":"EUR","lines":[{{"pos":10,"sku":"FLOUR-405-25","desc":"Weizenmehl 25 kg","qty":12,"uom":"EA","price":19.90}}],"total":238.80}}"#
            )
        }
        "v2" => json!({
            "orderId": order, "customer": { "id": customer.to_string() }, "orderDate": "2026-11-20",
            "priority": if urgent { "same-day" } else { "standard" },
            "shipTo": { "name": "Filiale Süd", "address": { "street": "Hauptstraße 5", "zip": "04109", "city": "Leipzig", "country": "DE" } },
            "items": [{ "lineNumber": 10, "itemCode": "SUGAR-1000", "quantity": 2, "unit": "each",
                        "unitPrice": { "amount": "1.10", "currency": "EUR" } }],
            "total": { "amount": "2.20", "currency": "EUR" }
        })
        .to_string(),
        _ => json!({
            "orderNumber": order, "orderedOn": "2026-11-20",
            "serviceLevel": if urgent { "same-day" } else { "standard" },
            "parties": { "soldTo": { "number": customer.to_string() } },
            "lines": [{ "lineNumber": 10, "sku": "YEAST-42", "quantity": { "value": 42, "unit": "C62" },
                        "unitPrice": { "amount": "0.19", "currency": "EUR" } }],
            "totals": { "net": { "amount": "7.98", "currency": "EUR" } }
        })
        .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reckoning_counts_what_was_noted() {
        let notes = Notes {
            acknowledged: vec![Acknowledged {
                key: "A-0".into(),
                order: "A".into(),
                sequence: 0,
            }],
            sent: vec!["A-0".into()],
            queued: vec![("/status/1".into(), 0, "A-0".into())],
            refused: BTreeMap::from([("401 unauthenticated".to_owned(), 2)]),
            unanswered: 1,
            latencies: (1..=100).map(Duration::from_millis).collect(),
        };
        let report = report(&notes, 1, &[], &[]);
        assert_eq!(
            (report.accepted, report.queued, report.refused, report.lost),
            (1, 1, 2, 1)
        );
        assert!(!report.ledger_agrees);
        assert!((report.latency.p50_ms - 51.0).abs() < 0.1, "{report:?}");
    }

    #[test]
    fn bodies_are_json_in_every_version() {
        for version in ["v1", "v2", "v3"] {
            serde_json::from_str::<Value>(&order_body(version, "A-1", 5)).unwrap();
        }
    }
}
