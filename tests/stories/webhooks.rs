//! What other systems report by signed webhooks is taken at once, once, and delivered in order.

use std::{io::Write as _, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::json;

use crate::{
    harness::{Answer, World},
    protocols::has,
};

const EVENTS: &str = "/system/tracking-events/v1/events";

/// The HMAC of a text, made by OpenSSL.
pub(crate) fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let hex = key
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .concat();
    let mut openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "-mac", "HMAC", "-macopt"])
        .arg(format!("hexkey:{hex}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// The carrier's secret, from the policies.
fn secret(world: &World) -> Vec<u8> {
    let text = std::fs::read_to_string(world.folder().join("policies/secrets/carrier.sandbox")).unwrap();
    STANDARD.decode(text.trim().strip_prefix("whsec_").unwrap()).unwrap()
}

fn event(parcel: &str, status: &str) -> String {
    json!({ "trackingNumber": parcel, "status": status, "occurredAt": "2026-11-20T08:15:00Z" }).to_string()
}

fn now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl World {
    /// The carrier reports an event, signed at a time and for a body that need not be the one sent.
    async fn carrier_reports(&self, id: &str, body: &str, signed: (i64, &str)) -> Answer {
        let (time, signed_body) = signed;
        let tag = STANDARD.encode(hmac(&secret(self), &format!("{id}.{time}.{signed_body}")));
        let (time, signature) = (time.to_string(), format!("v1,{tag}"));
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        self.call(Method::POST, EVENTS, &headers, body.to_owned()).await
    }

    async fn parcels(&self) -> Vec<(String, String)> {
        let ledger = self.ledger("wms").await;
        ledger
            .iter()
            .map(|entry| {
                let text = |name: &str| entry["body"][name].as_str().unwrap_or_default().to_owned();
                (text("trackingNumber"), text("status"))
            })
            .collect()
    }
}

#[tokio::test]
async fn a_signed_event_is_taken_once_and_a_forged_or_old_one_never() {
    if !has("openssl") {
        return;
    }
    let world = World::start().await;
    let body = event("PX0000000001", "in-transit");
    let answer = world.carrier_reports("evt-1", &body, (now(), &body)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();

    // Sent again, signed anew, as senders do who heard no answer.
    let again = world.carrier_reports("evt-1", &body, (now() - 1, &body)).await;
    assert!(again.status.is_success(), "{again:?}");
    let other = event("PX0000000001", "delivered");
    let reused = world.carrier_reports("evt-1", &other, (now(), &other)).await;
    reused.is_problem(422, "idempotency-key-reused");

    let forged = world.carrier_reports("evt-2", &other, (now(), &body)).await;
    assert!(
        forged.is_problem(401, "unauthenticated")["detail"]
            .to_string()
            .contains("not valid")
    );
    let stale = world.carrier_reports("evt-2", &other, (now() - 400, &other)).await;
    assert!(
        stale.is_problem(401, "unauthenticated")["detail"]
            .to_string()
            .contains("too old")
    );
    let unsigned = world
        .call(Method::POST, EVENTS, &[("content-type", "application/json")], other)
        .await;
    unsigned.is_problem(401, "unauthenticated");
    let wrong = event("px", "in-transit");
    let wrong = world.carrier_reports("evt-3", &wrong, (now(), &wrong)).await;
    wrong.is_problem(422, "contract-violation");

    world
        .until("the event is delivered", async || world.parcels().await.len() == 1)
        .await;
    assert_eq!(world.parcels().await, [("PX0000000001".into(), "in-transit".into())]);
    assert!(location.starts_with("/status/"), "{location}");
}

#[tokio::test]
async fn events_of_a_parcel_arrive_in_order_after_an_outage() {
    if !has("openssl") {
        return;
    }
    let world = World::start().await;
    world.fault("wms", "down").await;
    let statuses = ["announced", "picked-up", "in-transit", "delivered"];
    for (number, status) in statuses.iter().enumerate() {
        for parcel in ["PX0000000001", "PX0000000002"] {
            let body = event(parcel, status);
            let answer = world
                .carrier_reports(&format!("{parcel}-{number}"), &body, (now(), &body))
                .await;
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    }
    world.fault("wms", "up").await;
    world
        .until("all events are delivered", async || world.parcels().await.len() == 8)
        .await;
    for parcel in ["PX0000000001", "PX0000000002"] {
        let seen = world.parcels().await.into_iter().filter(|(name, _)| name == parcel);
        assert_eq!(seen.map(|(_, status)| status).collect::<Vec<_>>(), statuses, "{parcel}");
    }
}

#[tokio::test]
async fn a_sender_with_a_way_of_its_own_is_described_in_its_channel() {
    if !has("openssl") {
        return;
    }
    let world = World::start_with(|folder| {
        let file = folder.join("policies/channels/carrier.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let own = "secrets/carrier.sandbox], hmac: { header: X-Hmac-Sha256, encoding: base64 } }]";
        std::fs::write(&file, text.replace("secrets/carrier.sandbox] }]", own)).unwrap();
        std::fs::write(folder.join("policies/secrets/carrier.sandbox"), "shared\n").unwrap();
    })
    .await;
    let body = event("PX0000000009", "returned");
    let signature = STANDARD.encode(hmac(b"shared", &body));
    let mut headers = [
        ("content-type", "application/json"),
        ("x-hmac-sha256", signature.as_str()),
        // Not signed, so it must not make the same event another one.
        ("idempotency-key", "mine"),
    ];
    let first = world.call(Method::POST, EVENTS, &headers, body.clone()).await;
    assert_eq!(first.status, 202, "{first:?}");
    headers[2].1 = "another";
    let again = world.call(Method::POST, EVENTS, &headers, body.clone()).await;
    assert!(again.status.is_success(), "{again:?}");
    world
        .call(Method::POST, EVENTS, &headers, event("PX0000000009", "delivered"))
        .await
        .is_problem(401, "unauthenticated");
    world
        .until("the event is delivered", async || world.parcels().await.len() == 1)
        .await;
}
