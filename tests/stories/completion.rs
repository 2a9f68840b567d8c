//! A channel is told by a signed webhook how a request that was answered with 202 ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    fleet::Fleet,
    harness::World,
    orders::{order_v1, order_v3},
    protocols::has,
    webhooks::hmac,
};

const OLD: &str = "whsec_b2xkLXNlY3JldC1vZi10aGUtc3RvcmVmcm9udC0wMDE=";
const NEW: &str = "whsec_bmV3LXNlY3JldC1vZi10aGUtc3RvcmVmcm9udC0wMDI=";

/// The storefront's receiver: it remembers what it took and refused.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    all: Mutex<Vec<Webhook>>,
    /// What it answers; 0 for never.
    status: AtomicU64,
    retry_after: AtomicU64,
}

#[derive(Clone, Debug)]
struct Webhook {
    headers: HeaderMap,
    body: String,
    status: u64,
}

impl Receiver {
    async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        seen.status.store(204, Ordering::SeqCst);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/hooks", post(take)).with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen }
    }

    fn answers(&self, status: u64) {
        self.seen.status.store(status, Ordering::SeqCst);
    }

    /// All that came, or what of it was answered with this status.
    fn came(&self, status: Option<u64>) -> Vec<Webhook> {
        let all = self.seen.all.lock().unwrap();
        let meant = |webhook: &&Webhook| status.is_none_or(|status| webhook.status == status);
        all.iter().filter(meant).cloned().collect()
    }

    /// What a channel's file says of it.
    fn webhook(&self, more: &str) -> String {
        format!(
            "\nwebhook:\n  url: http://{}/hooks\n  secrets: [file:secrets/old]\n{more}",
            self.address
        )
    }

    /// Registers it for the storefront.
    fn registers(&self, folder: &Path, more: &str) {
        std::fs::write(folder.join("policies/secrets/old"), OLD).unwrap();
        std::fs::write(folder.join("policies/secrets/new"), NEW).unwrap();
        let file = folder.join("policies/channels/storefront.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let own = text.split("\nwebhook:").next().unwrap();
        std::fs::write(file, format!("{own}{}", self.webhook(more))).unwrap();
    }
}

async fn take(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    let status = seen.status.load(Ordering::SeqCst);
    seen.all.lock().unwrap().push(Webhook {
        headers,
        body: String::from_utf8(body.into()).unwrap(),
        status,
    });
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
    match seen.retry_after.load(Ordering::SeqCst) {
        0 => status.into_response(),
        seconds => (status, [("retry-after", seconds.to_string())]).into_response(),
    }
}

impl Webhook {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn id(&self) -> &str {
        self.header("webhook-id")
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The signatures are these secrets', by OpenSSL, and the time is now.
    fn is_signed_by(&self, secrets: &[&str]) {
        let time = self.header("webhook-timestamp");
        let text = format!("{}.{time}.{}", self.id(), self.body);
        let expected = secrets.iter().map(|secret| {
            let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
            format!("v1,{}", STANDARD.encode(hmac(&key, &text)))
        });
        assert_eq!(self.header("webhook-signature"), expected.collect::<Vec<_>>().join(" "));
        let age = jiff::Timestamp::now().as_second() - time.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "signed {age} s ago");
    }
}

impl World {
    async fn webhooks(&self, filter: &[&str]) -> Vec<Value> {
        let words = [&["queue", "webhooks", "list", "--format", "json"], filter].concat();
        let said = self.operator(&words).await;
        assert!(said.is_well, "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// An order that waits in the queue; the id of its message.
    async fn queues(&self, token: &str, order: &str) -> String {
        let answer = self.orders(token, "v1", &format!("k-{order}"), order_v1(order)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").rsplit('/').next().unwrap().to_owned()
    }

    /// The value of a series.
    async fn measures(&self, series: &str) -> Option<f64> {
        let text = self.admin("/metrics").await.text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}

#[tokio::test]
async fn a_channel_is_told_how_its_requests_ended_by_a_signed_webhook() {
    if !has("openssl") {
        return;
    }
    let receiver = Receiver::start().await;
    let world = World::start_with(|folder| receiver.registers(folder, "")).await;
    let token = world.token("storefront");
    // An order that is answered at once is not told.
    let at_once = world.orders(&token, "v1", "k-0", order_v1("W-0")).await;
    assert_eq!(at_once.status, 201, "{at_once:?}");
    world.fault("erp", "down").await;
    let shipment = world.ships(&token, "W-2", "2001").await;
    let order = world.queues(&token, "W-1").await;
    let other = world.token("marketplace");
    let theirs = world
        .orders(&other, "v2", "k-9", crate::orders::order_v2("W-9").to_string())
        .await;
    assert_eq!(theirs.status, 202, "{theirs:?}");
    world.fault("erp", "up").await;
    world
        .until("both ends are told", async || receiver.came(None).len() >= 2)
        .await;

    let came = receiver.came(None);
    let told = |id: &str| came.iter().find(|webhook| webhook.event()["subject"] == id).unwrap();
    let delivered = told(&order);
    delivered.is_signed_by(&[OLD]);
    assert_eq!(delivered.header("content-type"), "application/cloudevents+json");
    let event = delivered.event();
    assert_eq!(
        (event["id"].as_str(), event["specversion"].as_str()),
        (Some(delivered.id()), Some("1.0"))
    );
    assert_eq!(event["type"], "crossdock.message.delivered");
    let data = &event["data"];
    assert_eq!(
        (&data["state"], &data["channel"]),
        (&"delivered".into(), &"storefront".into())
    );
    assert_eq!(data["response"]["status"], 201);
    assert_eq!(data["response"]["body"]["orderNo"], "W-1", "in the words of v1");
    assert!(delivered.body.contains("19.90"), "to the letter: {}", delivered.body);
    // The link is the one that the 202 gave, and says the same.
    let status = world.reads(&token, data["location"].as_str().unwrap()).await;
    assert_eq!(
        (status.status.as_u16(), &status.json()["finished"]),
        (200, &data["finished"])
    );

    let dead = told(&shipment);
    dead.is_signed_by(&[OLD]);
    let event = dead.event();
    assert_eq!(event["type"], "crossdock.message.dead");
    let problem = &event["data"]["problem"];
    assert_eq!(problem["type"], "urn:crossdock:message:dead");
    assert_eq!(problem["class"], "business");
    assert!(problem["detail"].as_str().unwrap().contains("rejected"), "{problem}");

    // A person takes the dead one out: that is another end, under another id.
    let done = world
        .operator(&["queue", "discard", &shipment, "--reason", "sent too early"])
        .await;
    assert!(done.is_well, "{done:?}");
    world
        .until("the third end is told", async || receiver.came(None).len() >= 3)
        .await;
    let ids: BTreeSet<String> = receiver
        .came(None)
        .iter()
        .map(|webhook| webhook.id().to_owned())
        .collect();
    assert_eq!((ids.len(), receiver.came(None).len()), (3, 3));
    assert_eq!(receiver.came(None)[2].event()["type"], "crossdock.message.discarded");
    world
        .until("the sent ones are counted", async || {
            world
                .measures("crossdock_webhook_tries_total{channel=\"storefront\",outcome=\"sent\"}")
                .await
                == Some(3.0)
        })
        .await;
    assert!(world.webhooks(&[]).await.is_empty(), "nothing waits");
    let sent = world.webhooks(&["--state", "sent", "--message", &shipment]).await;
    let events: Vec<_> = sent.iter().map(|webhook| webhook["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["dead", "discarded"]);
    assert_eq!(sent[0]["channel"], "storefront");
}

#[tokio::test]
async fn in_the_sandbox_the_storefront_is_told_too() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let order = world.queues(&token, "D-1").await;
    world.fault("erp", "up").await;
    world
        .until("it is told", async || !world.ledger("crm").await.is_empty())
        .await;
    let told = world.ledger("crm").await.remove(0);
    assert_eq!(
        (&told["operation"], &told["businessKey"]),
        (&"orderEvent".into(), &"D-1".into())
    );
    assert_eq!(told["body"]["subject"], order.as_str());
    // What it knows it takes again, and does nothing.
    let id = told["body"]["id"].as_str().unwrap();
    assert!(world.operator(&["queue", "webhooks", "resend", id]).await.is_well);
    world
        .until("it is sent again", async || {
            world.webhooks(&["--state", "sent"]).await.len() == 1
                && world
                    .measures("crossdock_webhook_tries_total{channel=\"storefront\",outcome=\"sent\"}")
                    .await
                    == Some(2.0)
        })
        .await;
    assert_eq!(world.ledger("crm").await.len(), 1);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told_when_it_is_back_and_holds_up_nothing_meanwhile() {
    if !has("openssl") {
        return;
    }
    let receiver = Receiver::start().await;
    let world = World::start_with(|folder| receiver.registers(folder, "  timeout: 1s\n")).await;
    let token = world.token("storefront");
    // It does not answer at all, and deliveries go on.
    receiver.answers(0);
    world.fault("erp", "down").await;
    let mut orders = Vec::new();
    for number in 0..6 {
        orders.push(world.queues(&token, &format!("R-{number}")).await);
    }
    world.fault("erp", "up").await;
    world
        .until("all are delivered", async || {
            let sent = world.ledger("erp").await;
            sent.len() == 6
        })
        .await;
    world
        .until("it was tried in vain", async || {
            world
                .measures("crossdock_webhook_tries_total{channel=\"storefront\",outcome=\"again\"}")
                .await
                .is_some_and(|count| count >= 2.0)
        })
        .await;
    let waiting = world.webhooks(&["--channel", "storefront"]).await;
    assert_eq!(waiting.len(), 6, "{waiting:?}");
    let error = waiting.iter().find_map(|webhook| webhook["error"].as_str()).unwrap();
    assert!(error.contains("no answer within 1s"), "{error}");
    world
        .until("they are counted", async || {
            world
                .measures("crossdock_webhooks{channel=\"storefront\",state=\"waiting\"}")
                .await
                == Some(6.0)
        })
        .await;
    assert!(world.measures("crossdock_webhook_oldest_age_seconds").await.unwrap() > 0.0);

    receiver.answers(204);
    world
        .until("all are told", async || receiver.came(Some(204)).len() >= 6)
        .await;
    let told: BTreeSet<String> = receiver
        .came(Some(204))
        .iter()
        .map(|webhook| webhook.event()["subject"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, orders.iter().cloned().collect());
    // However often it is told, it is the same event.
    let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for webhook in receiver.came(None) {
        bodies.entry(webhook.id().to_owned()).or_default().insert(webhook.body);
    }
    assert!(
        bodies.len() == 6 && bodies.values().all(|bodies| bodies.len() == 1),
        "{bodies:?}"
    );

    // It may have lost one: a person has it sent again, under the same id, and that is on record.
    let one = receiver.came(Some(204))[0].clone();
    let before = receiver.came(None).len();
    let done = world
        .operator(&["queue", "webhooks", "resend", one.id(), "--reason", "the shop lost it"])
        .await;
    assert!(done.is_well && done.out.contains("1 of 1"), "{done:?}");
    world
        .until("it is told again", async || receiver.came(None).len() > before)
        .await;
    let again = receiver.came(None).pop().unwrap();
    assert_eq!((again.id(), &again.body), (one.id(), &one.body));
    let audit = world.operator(&["audit", "list"]).await;
    for expected in ["resend webhook", one.id(), "the shop lost it"] {
        assert!(audit.out.contains(expected), "{audit:?}");
    }
    let unknown = world.operator(&["queue", "webhooks", "resend", "nothing"]).await;
    assert!(
        !unknown.is_well && unknown.err.contains("no such webhook"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_until_a_person_or_another_url_says_so() {
    let receiver = Receiver::start().await;
    let world = World::start_with(|folder| receiver.registers(folder, "")).await;
    let token = world.token("storefront");
    receiver.answers(410);
    world.fault("erp", "down").await;
    for number in 0..3 {
        world.queues(&token, &format!("G-{number}")).await;
    }
    world.fault("erp", "up").await;
    let scope = format!("webhook:http://{}/hooks", receiver.address);
    world
        .until("its URL is paused", async || {
            world.operator(&["queue", "stats"]).await.out.contains(&scope)
        })
        .await;
    world
        .until("that is counted", async || {
            world.measures("crossdock_webhook_receivers_paused").await == Some(1.0)
        })
        .await;
    assert!(world.gateway_log().contains("answered 410"), "{}", world.gateway_log());
    receiver.answers(204);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(receiver.came(Some(204)).is_empty(), "it is left alone");
    assert_eq!(world.webhooks(&[]).await.len(), 3, "and nothing is lost");
    let resumed = world
        .operator(&["queue", "resume", &scope, "--reason", "it was a mistake"])
        .await;
    assert!(resumed.is_well, "{resumed:?}");
    world
        .until("all are told", async || receiver.came(Some(204)).len() >= 3)
        .await;

    // The same again, and the channel moves to another receiver.
    receiver.answers(410);
    world.fault("erp", "down").await;
    let last = world.queues(&token, "G-9").await;
    world.fault("erp", "up").await;
    world
        .until("its URL is paused again", async || {
            world.operator(&["queue", "stats"]).await.out.contains(&scope)
        })
        .await;
    let other = Receiver::start().await;
    other.registers(world.folder(), "");
    world
        .until("the other one is told", async || other.came(None).len() == 1)
        .await;
    assert_eq!(other.came(None)[0].event()["subject"], last.as_str());
}

#[tokio::test]
async fn a_gateway_that_is_killed_between_the_end_and_the_webhook_sends_it_when_it_is_back() {
    let receiver = Receiver::start().await;
    let mut world = World::start_with(|folder| receiver.registers(folder, "  timeout: 30s\n")).await;
    let token = world.token("storefront");
    receiver.answers(0);
    world.fault("erp", "down").await;
    let order = world.queues(&token, "K-1").await;
    world.fault("erp", "up").await;
    world
        .until("the receiver has it and says nothing", async || {
            receiver.came(None).len() == 1
        })
        .await;
    world.kills_gateway();
    receiver.answers(204);
    world.starts_gateway().await;
    world
        .until("it is told", async || !receiver.came(Some(204)).is_empty())
        .await;
    let (first, second) = (&receiver.came(Some(0))[0], &receiver.came(Some(204))[0]);
    assert_eq!((first.id(), &first.body), (second.id(), &second.body), "the same event");
    assert_eq!(second.event()["subject"], order.as_str());
}

#[tokio::test]
async fn a_secret_takes_the_place_of_another_without_a_gap() {
    if !has("openssl") {
        return;
    }
    let receiver = Receiver::start().await;
    let world = World::start_with(|folder| receiver.registers(folder, "  events: [delivered]\n")).await;
    let token = world.token("storefront");
    let mut number = 0;
    for (secrets, signers) in [
        ("file:secrets/old", &[OLD][..]),
        ("file:secrets/new, file:secrets/old", &[NEW, OLD]),
        ("file:secrets/new", &[NEW]),
    ] {
        let file = "policies/channels/storefront.yaml";
        let text = std::fs::read_to_string(world.folder().join(file)).unwrap();
        let from = text.lines().find(|line| line.contains("secrets:")).unwrap();
        let snapshot = world.measures("crossdock_snapshot").await.unwrap();
        world.edit(file, from, &format!("  secrets: [{secrets}] # {number}"));
        world
            .until("the change is live", async || {
                world.measures("crossdock_snapshot").await.unwrap() > snapshot
            })
            .await;
        world.fault("erp", "down").await;
        world.queues(&token, &format!("S-{number}")).await;
        world.fault("erp", "up").await;
        number += 1;
        world
            .until("it is told", async || receiver.came(None).len() == number)
            .await;
        receiver.came(None)[number - 1].is_signed_by(signers);
    }
}

#[tokio::test]
async fn a_fleet_tells_each_end_once_and_takes_over_from_a_gateway_that_died() {
    let receiver = Receiver::start().await;
    let prepare = |folder: &Path| receiver.registers(folder, "  timeout: 2s\n");
    let Some(mut fleet) = Fleet::start_with(2, prepare).await else {
        return;
    };
    fleet.world.fault("erp", "down").await;
    for number in 0..12 {
        let (key, order) = (format!("k-{number}"), order_v3(&format!("Q-{number}")).to_string());
        assert!(fleet.accepted(number, "/system/erp/v3/orders", &key, &order).await);
    }
    fleet.world.fault("erp", "up").await;
    fleet
        .until("all ends are told", async || receiver.came(None).len() >= 12)
        .await;
    // Long enough for a second one to come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ids: BTreeSet<String> = receiver
        .came(None)
        .iter()
        .map(|webhook| webhook.id().to_owned())
        .collect();
    assert_eq!((ids.len(), receiver.came(None).len()), (12, 12), "each once");

    // One gateway has a webhook under way, and dies.
    receiver.answers(0);
    fleet.kills(1);
    fleet.world.fault("erp", "down").await;
    let order = order_v3("Q-99").to_string();
    assert!(fleet.accepted(0, "/system/erp/v3/orders", "k-99", &order).await);
    fleet.world.fault("erp", "up").await;
    fleet
        .until("the receiver has it and says nothing", async || {
            receiver.came(Some(0)).len() == 1
        })
        .await;
    fleet.kills(0);
    receiver.answers(204);
    fleet.starts(1).await;
    fleet
        .until("the other one tells it", async || receiver.came(Some(204)).len() == 13)
        .await;
    assert_eq!(receiver.came(Some(204))[12].id(), receiver.came(Some(0))[0].id());
}
