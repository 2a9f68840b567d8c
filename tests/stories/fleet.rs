//! Several gateways share one database: what one accepted another may deliver, and none does what is not its own.

#[path = "fleet/moves.rs"]
mod moves;
#[path = "fleet/tls.rs"]
mod tls;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};

use crate::{
    database::Server,
    harness::{Answer, World, crossdock},
    orders::{order_v1, order_v3},
};

/// The back ends, the files, a database, and gateways that share it.
pub(crate) struct Fleet {
    pub(crate) world: World,
    database: Server,
    gateways: Vec<Gateway>,
}

/// One process with files, ports and a folder of its own.
struct Gateway {
    process: Option<Child>,
    folder: std::path::PathBuf,
    url: String,
    admin: String,
}

impl Fleet {
    /// `None` where there is no database, which was said.
    async fn start(gateways: usize) -> Option<Self> {
        Self::start_with(gateways, |_| {}).await
    }

    /// The same, after `prepare` has changed files in the folder.
    pub(crate) async fn start_with(gateways: usize, prepare: impl FnOnce(&std::path::Path)) -> Option<Self> {
        let database = Server::start()?;
        let world = World::without_gateway(prepare).await;
        let mut fleet = Self {
            world,
            database,
            gateways: Vec::new(),
        };
        for number in 0..gateways {
            fleet.adds_gateway(number, "10s");
        }
        for number in 0..gateways {
            fleet.starts(number).await;
        }
        Some(fleet)
    }

    fn adds_gateway(&mut self, number: usize, lease: &str) {
        let folder = self.world.folder().join(format!("gateway-{number}"));
        for name in ["policies", "contracts"] {
            let from = self.world.folder().join(name);
            fs::create_dir_all(&folder).unwrap();
            assert!(
                Command::new("cp")
                    .arg("-r")
                    .arg(from)
                    .arg(&folder)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, admin) = (free(), free());
        let file = folder.join("policies/gateway.yaml");
        fs::write(
            &file,
            format!(
                "kind: Gateway\nlisteners: [{{ address: \"{address}\" }}]\nadmin: {{ address: \"{admin}\" }}\n\
                 contracts: ../contracts\nstate: {}\nqueue: {{ lease: {lease} }}\nworkers: 1\nmappings: any\n",
                self.database.url()
            ),
        )
        .unwrap();
        let upstreams = folder.join("policies/upstreams");
        for entry in fs::read_dir(upstreams).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            // Shorter than a lease.
            let text = text
                .lines()
                .filter(|line| !line.starts_with("timeouts:"))
                .collect::<Vec<_>>()
                .join("\n");
            fs::write(
                path,
                format!("{text}\ntimeouts: {{ connect: 500ms, response: 2s, total: 4s }}\n"),
            )
            .unwrap();
        }
        self.gateways.push(Gateway {
            process: None,
            folder,
            url: format!("http://{address}"),
            admin: format!("http://{admin}"),
        });
    }

    pub(crate) async fn starts(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(gateway.folder.join("log"))
            .unwrap();
        let process = crossdock()
            .args(["serve", "--config"])
            .arg(gateway.folder.join("policies/gateway.yaml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        gateway.process = Some(process);
        // What cannot start is not waited for.
        let gateway = &self.gateways[number];
        let has_ended = || {
            fs::read_to_string(gateway.folder.join("log"))
                .unwrap()
                .contains("error in")
        };
        self.until(&format!("gateway {number} is ready"), async || {
            assert!(!has_ended(), "{}", self.logs());
            self.admin(number, "/readyz")
                .await
                .is_some_and(|answer| answer.status == 200)
        })
        .await;
    }

    pub(crate) fn kills(&mut self, number: usize) {
        let mut process = self.gateways[number].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn signals(&self, number: usize, signal: &str) {
        let id = self.gateways[number].process.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    async fn admin(&self, number: usize, path: &str) -> Option<Answer> {
        let url = format!("{}{path}", self.gateways[number].admin);
        self.world.send(Method::GET, &url, &[], "".into()).await.ok()
    }

    /// What the queue's health is, as a gateway says it.
    async fn health(&self, number: usize) -> String {
        let answer = self.admin(number, "/readyz").await.unwrap();
        assert_eq!(answer.status, 200, "direct traffic goes on: {answer:?}");
        answer.json()["queue"].as_str().unwrap().to_owned()
    }

    async fn tries(&self, number: usize, method: Method, path: &str, key: &str, body: String) -> Option<Answer> {
        let token = format!("Bearer {}", self.world.token("storefront"));
        let mut headers = vec![("authorization", token.as_str())];
        if method != Method::GET {
            headers.extend([("content-type", "application/json"), ("idempotency-key", key)]);
        }
        let url = format!("{}{path}", self.gateways[number].url);
        self.world.send(method, &url, &headers, body.into()).await.ok()
    }

    async fn orders(&self, number: usize, key: &str, order: &str) -> Answer {
        self.tries(number, Method::POST, "/system/erp/v1/orders", key, order_v1(order))
            .await
            .unwrap()
    }

    async fn reads(&self, number: usize, path: &str) -> Answer {
        self.tries(number, Method::GET, path, "", String::new()).await.unwrap()
    }

    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let is_met = tokio::time::timeout(Duration::from_mins(2), waiting).await.is_ok();
        assert!(is_met, "waited in vain until {what}\n{}", self.logs());
    }

    fn logs(&self) -> String {
        let log = |gateway: &Gateway| fs::read_to_string(gateway.folder.join("log")).unwrap_or_default();
        let logs = self
            .gateways
            .iter()
            .map(|gateway| format!("--- {}\n{}", gateway.url, log(gateway)));
        logs.collect::<String>() + "--- database\n" + &self.database.log()
    }

    /// Idempotency keys in the ERP's ledger, in the order of effect.
    async fn ledger(&self) -> Vec<String> {
        let key = |entry: &Value| entry["idempotencyKey"].as_str().unwrap_or_default().to_owned();
        self.world.ledger("erp").await.iter().map(key).collect()
    }

    /// Sends until there is an answer, to one gateway after the other, as a client behind a load balancer does.
    pub(crate) async fn accepted(&self, start: usize, path: &str, key: &str, body: &str) -> bool {
        for number in start..start + 60 {
            let number = number % self.gateways.len();
            match self.tries(number, Method::POST, path, key, body.to_owned()).await {
                Some(answer) if answer.status.is_success() => return true,
                Some(answer) if answer.status.is_client_error() && answer.status != 409 => panic!("{answer:?}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        false
    }

    /// Two requests for each of four orders. What was accepted, by order.
    async fn round(&self, round: usize, accepted: &mut BTreeMap<String, Vec<String>>) {
        for key in 0..4 {
            let order = format!("F{round}-{key}");
            let created = format!("create-{order}");
            let body = order_v3(&order).to_string();
            if !self.accepted(key, "/system/erp/v3/orders", &created, &body).await {
                continue;
            }
            accepted.entry(order.clone()).or_default().push(created);
            let shipped = format!("ship-{order}");
            let body = json!({
                "shipmentNumber": format!("{}{key}1", round + 1), "shippedAt": "2026-11-20T10:00:00Z",
                "lines": [{ "lineNumber": 10, "quantity": { "value": 1, "unit": "C62" } }]
            });
            let path = format!("/system/erp/v3/orders/{order}/shipments");
            // By another gateway than the first.
            if self.accepted(key + 1, &path, &shipped, &body.to_string()).await {
                accepted.entry(order).or_default().push(shipped);
            }
        }
    }

    /// Once everything is delivered: each request once, and in order per order.
    async fn judges(&self, accepted: &BTreeMap<String, Vec<String>>) {
        let expected: usize = accepted.values().map(Vec::len).sum();
        assert!(expected > 0, "nothing was accepted\n{}", self.logs());
        self.until("everything is in the ledger", async || {
            self.ledger().await.len() >= expected
        })
        .await;
        self.until("nothing waits", async || {
            self.database.sql("SELECT count(*) FROM crossdock.order_key") == "0"
        })
        .await;
        let ledger = self.ledger().await;
        for (order, sent) in accepted {
            let done: Vec<&String> = ledger
                .iter()
                .filter(|key| key.ends_with(&format!("-{order}")))
                .collect();
            assert_eq!(
                done,
                sent.iter().collect::<Vec<_>>(),
                "{order}: once each and in order\n{}",
                self.logs()
            );
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for gateway in &mut self.gateways {
            if let Some(mut process) = gateway.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

#[tokio::test]
async fn what_one_gateway_accepted_another_knows() {
    let Some(fleet) = Fleet::start(2).await else { return };
    fleet.world.fault("erp", "down").await;
    let path = "/system/erp/v3/orders";
    let order = |number| fleet.tries(number, Method::POST, path, "k-1", order_v3("N-1").to_string());
    let answer = order(0).await.unwrap();
    assert_eq!(answer.status, 202, "{answer:?}\n{}", fleet.logs());
    let location = answer.header("location").to_owned();
    // The same request at the other gateway is the same message, and its status is answered there.
    let again = order(1).await.unwrap();
    assert_eq!(
        (again.status.as_u16(), again.header("location")),
        (202, location.as_str())
    );
    assert_eq!(fleet.reads(1, &location).await.status, 200);
    let other = fleet
        .tries(1, Method::POST, path, "k-1", order_v3("N-2").to_string())
        .await
        .unwrap();
    assert_eq!(other.status, 422, "{other:?}");

    fleet.world.fault("erp", "up").await;
    for number in [0, 1] {
        fleet
            .until("it is delivered", async || {
                fleet.reads(number, &location).await.json()["state"] == "delivered"
            })
            .await;
    }
    assert_eq!(fleet.ledger().await, ["k-1"]);
}

#[tokio::test]
async fn killed_gateways_lose_nothing_double_nothing_and_keep_order() {
    let Some(mut fleet) = Fleet::start(3).await else { return };
    let mut accepted = BTreeMap::new();
    for round in 0..3 {
        fleet.world.fault("erp", ["down", "flaky", "slow"][round]).await;
        fleet.round(round, &mut accepted).await;
        if round % 2 == 1 {
            // The kill may fall into the middle of a delivery.
            fleet.world.fault("erp", "up").await;
        }
        fleet.kills(round);
        if round != 1 {
            fleet.starts(round).await;
        }
    }
    // The second one never comes back: the others deliver what it had accepted, and take what it had under way.
    fleet.world.fault("erp", "up").await;
    fleet.judges(&accepted).await;
}

#[tokio::test]
async fn a_database_that_goes_away_in_the_middle_is_an_outage_of_new_queueing_alone() {
    let Some(mut fleet) = Fleet::start(2).await else { return };
    let mut accepted = BTreeMap::new();
    fleet.world.fault("erp", "down").await;
    fleet.round(0, &mut accepted).await;
    fleet.world.fault("erp", "flaky").await;
    fleet.database.kill();
    for number in [0, 1] {
        fleet
            .until("the gateway says so", async || {
                fleet.health(number).await == "unavailable"
            })
            .await;
    }
    let metrics = fleet.admin(0, "/metrics").await.unwrap().text;
    assert!(metrics.contains("queue_health"), "{metrics}");
    // Nothing is known of this order, and something waits: it is not sent, and the client is told when to come again.
    let answer = fleet.orders(0, "k-away", "A-1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers.contains_key("retry-after")),
        (503, true),
        "{answer:?}"
    );
    // What never waits goes on.
    fleet.world.fault("erp", "up").await;
    let read = fleet.reads(1, "/system/erp/v3/customers/C-1001").await;
    assert!(read.status.as_u16() < 500, "{read:?}");

    fleet.database.run();
    for number in [0, 1] {
        fleet
            .until("the gateway is whole again", async || {
                fleet.health(number).await == "ok"
            })
            .await;
    }
    fleet.round(1, &mut accepted).await;
    fleet.judges(&accepted).await;

    // With nothing waiting anywhere, orders go straight on while the database is away.
    fleet
        .until("both know that nothing waits", async || {
            let mut is_known = true;
            for number in [0, 1] {
                let stats = fleet.admin(number, "/metrics").await.unwrap().text;
                is_known &= stats
                    .lines()
                    .filter(|line| line.starts_with("crossdock_queue_waiting"))
                    .all(|line| line.ends_with(" 0"));
            }
            is_known
        })
        .await;
    // What waits where, which says whether anything may be overtaken, they ask once a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fleet.database.kill();
    fleet
        .until("the gateway says so", async || fleet.health(0).await == "unavailable")
        .await;
    let answer = fleet
        .tries(
            0,
            Method::POST,
            "/system/erp/v3/orders",
            "k-direct",
            order_v3("D-1").to_string(),
        )
        .await
        .unwrap();
    assert_eq!(answer.status, 201, "{answer:?}\n{}", fleet.logs());

    // An ERP that would not know a repeat gets nothing that may be one, unless that is asked for.
    let next = AtomicU32::new(0);
    let order = async || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (key, order) = (format!("k-away-{number}"), format!("AWAY-{number}"));
        let body = order_v3(&order).to_string();
        let sent = fleet.tries(0, Method::POST, "/system/erp/v3/orders", &key, body);
        sent.await.expect("the gateway answers")
    };
    let (upstream, api) = (
        "gateway-0/policies/upstreams/erp.yaml",
        "gateway-0/policies/apis/erp-orders.yaml",
    );
    let honoured = "repeats: { honoured: { header: Idempotency-Key, perChannel: false, retention: 24h } }";
    fleet.world.edit(upstream, honoured, "repeats: unsafe");
    fleet.until("it is refused", async || order().await.status == 503).await;
    let refused = order().await;
    refused.is_problem(503, "queue-unavailable");
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    let (as_usual, forward, refuse) = (
        "idempotency: {",
        "idempotency: { whenStoreIsAway: forward,",
        "idempotency: { whenStoreIsAway: refuse,",
    );
    fleet.world.edit(api, as_usual, forward);
    fleet
        .until("it is forwarded", async || order().await.status == 201)
        .await;
    fleet.world.edit(upstream, "repeats: unsafe", honoured);
    fleet.world.edit(api, forward, refuse);
    fleet
        .until("it is refused wherever it goes", async || order().await.status == 503)
        .await;
}

#[tokio::test]
async fn a_gateway_starts_without_its_database() {
    let Some(mut fleet) = Fleet::start(0).await else { return };
    fleet.adds_gateway(0, "10s");
    fleet.database.kill();
    fleet.starts(0).await;
    assert_eq!(fleet.health(0).await, "unavailable");
    let answer = fleet.orders(0, "k-1", "A-1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers.contains_key("retry-after")),
        (503, true),
        "{answer:?}"
    );
    fleet.database.run();
    fleet
        .until("the gateway is whole", async || fleet.health(0).await == "ok")
        .await;
    assert_eq!(fleet.orders(0, "k-1", "A-1").await.status, 201, "{}", fleet.logs());
}

#[tokio::test]
async fn a_gateway_that_slept_past_its_lease_is_fenced() {
    let Some(fleet) = Fleet::start(2).await else { return };
    // One delivery is under way, in whichever gateway took it.
    fleet.world.fault("erp", "down").await;
    let path = "/system/erp/v3/orders";
    let answer = fleet
        .tries(0, Method::POST, path, "k-1", order_v3("Z-1").to_string())
        .await
        .unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    fleet.world.fault("erp", "slow").await;
    let holder = "SELECT coalesce(min(holder), '') FROM crossdock.message WHERE state = 'attempting'";
    let mut sleeper = None;
    let names: Vec<String> = fleet
        .gateways
        .iter()
        .map(|gateway| {
            fs::read_to_string(gateway.folder.join("state/node"))
                .unwrap()
                .trim()
                .to_owned()
        })
        .collect();
    while sleeper.is_none() {
        let found = fleet.database.sql(holder);
        sleeper = names.iter().position(|name| *name == found);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sleeper = sleeper.unwrap();
    let (other, epoch) = (1 - sleeper, "SELECT max(epoch) FROM crossdock.message");
    fleet.signals(sleeper, "STOP");
    let before: i64 = fleet.database.sql(epoch).parse().unwrap();
    fleet.world.fault("erp", "up").await;
    // The lease ends, and the other one delivers what was in doubt, under the same key.
    fleet
        .until("the other delivers it", async || {
            fleet.reads(other, &location).await.json()["state"] == "delivered"
        })
        .await;
    let after: i64 = fleet.database.sql(epoch).parse().unwrap();
    assert!(after > before, "{after} after {before}");
    let how = "SELECT string_agg(number || ':' || result, ', ' ORDER BY number) FROM crossdock.attempt";
    let settled = fleet.database.sql(how);
    fleet.signals(sleeper, "CONT");
    // It wakes, wants to say what became of its attempt, and is not listened to.
    fleet
        .until("the sleeper is fenced", async || {
            let log = fs::read_to_string(fleet.gateways[sleeper].folder.join("log")).unwrap();
            log.contains("the lease is no longer valid")
        })
        .await;
    assert_eq!(fleet.database.sql(how), settled);
    assert_eq!(fleet.ledger().await, ["k-1"]);
    assert_eq!(fleet.reads(sleeper, &location).await.json()["state"], "delivered");
}
