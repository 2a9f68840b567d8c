//! A disk that fails under the queue: no promise is made any more that it might not keep, and each one made before is
//! kept once the gateway has started again.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use http::Method;

use crate::{harness::World, orders::order_v3};

/// The library that makes calls on the store's files fail; what it can do is said in it.
struct Disk {
    library: PathBuf,
    armed: PathBuf,
    hit: PathBuf,
}

impl Disk {
    fn compile(folder: &Path) -> Self {
        let library = folder.join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories/faults/disk.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler, which building the gateway takes as well");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        Self {
            library,
            armed: folder.join("armed"),
            hit: folder.join("hit"),
        }
    }

    fn environment(&self, kind: &str, at: u32) -> Vec<(&'static str, String)> {
        let path = |path: &Path| path.display().to_string();
        vec![
            ("LD_PRELOAD", path(&self.library)),
            ("FAULT_KIND", kind.to_owned()),
            ("FAULT_AT", at.to_string()),
            ("FAULT_ARMED", path(&self.armed)),
            ("FAULT_HIT", path(&self.hit)),
        ]
    }

    fn arm(&self) {
        std::fs::write(&self.armed, "").unwrap();
    }

    fn has_hit(&self) -> bool {
        self.hit.exists()
    }
}

/// Asks for the order to be queued. Its idempotency key is its name.
async fn queue(world: &World, token: &str, order: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", order),
        ("prefer", "respond-async"),
    ];
    let path = "/system/erp/v3/orders";
    let answer = world
        .call(Method::POST, path, &headers, order_v3(order).to_string())
        .await;
    answer.status.as_u16()
}

/// One fault, from a healthy gateway to what is true after it.
async fn fails_and_recovers(kind: &str, at: u32) {
    let mut world = World::without_gateway(|_| {}).await;
    let disk = Disk::compile(world.folder());
    world.starts_gateway_with(&disk.environment(kind, at)).await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let mut promised = BTreeSet::new();
    for number in 0..3 {
        let order = format!("F{number}");
        assert_eq!(queue(&world, &token, &order).await, 202, "{kind} {at}");
        promised.insert(order);
    }

    disk.arm();
    let (mut refused, mut number) = (Vec::new(), 3);
    // Once it has failed it stays so, whatever the disk says then.
    while refused.len() < 5 {
        assert!(number < 500, "{kind} {at}: the disk was not asked often enough");
        let order = format!("F{number}");
        number += 1;
        match queue(&world, &token, &order).await {
            202 => {
                assert!(
                    refused.is_empty(),
                    "{kind} {at}: {order} was accepted after {refused:?}"
                );
                promised.insert(order);
            }
            503 => {
                assert!(
                    disk.has_hit(),
                    "{kind} {at}: {order} was refused before the disk failed"
                );
                refused.push(order);
            }
            other => panic!("{kind} {at}: {other}"),
        }
        // What reads comes by as well.
        let metrics = world.admin("/queue").await;
        assert!(metrics.status == 200 || metrics.status == 503, "{metrics:?}");
    }
    let ready = world.admin("/readyz").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(ready.json()["queue"], "failed");
    assert!(ready.text.contains("the queue's store failed"), "{ready:?}");
    assert!(world.gateway_log().contains("the queue's store failed"));
    assert_eq!(world.admin("/healthz").await.status, 200);

    // A process that believes something else than the disk must not go on: its supervisor starts another one.
    world.kills_gateway();
    world.starts_gateway().await;
    world.fault("erp", "up").await;
    world
        .until("every promise is kept", async || {
            let ledger = ledger(&world).await;
            promised.iter().all(|order| ledger.contains(order))
        })
        .await;
    for order in &refused {
        // Whether it had got to the disk is not known; sent again under its key, it happens once.
        assert!([201, 202].contains(&queue(&world, &token, order).await));
    }
    world
        .until("the repeats are done", async || {
            let ledger = ledger(&world).await;
            refused.iter().all(|order| ledger.contains(order))
        })
        .await;
    let mut ledger = ledger(&world).await;
    let effects = ledger.len();
    ledger.sort();
    ledger.dedup();
    assert_eq!(ledger.len(), effects, "{kind} {at}: something was done twice");
}

/// Takes the power away, over and over, and returns which promises were not kept.
async fn cuts(lies: bool, rounds: usize) -> Vec<String> {
    let mut world = World::without_gateway(|_| {}).await;
    let disk = Disk::compile(world.folder());
    let left = world.folder().join("left");
    std::fs::create_dir(&left).unwrap();
    let mut environment = vec![
        ("LD_PRELOAD", disk.library.display().to_string()),
        ("POWER_LEFT", left.display().to_string()),
    ];
    if lies {
        environment.push(("POWER_LIES", "yes".to_owned()));
    }
    let token = world.token("storefront");
    let mut promised = BTreeSet::new();
    for round in 0..rounds {
        world.fault("erp", "down").await;
        world.starts_gateway_with(&environment).await;
        for number in 0..8 {
            let order = format!("P{round}-{number}");
            if number == 4 && round % 2 == 1 {
                // The cut may fall into the middle of a delivery.
                world.fault("erp", "flaky").await;
            }
            assert_eq!(queue(&world, &token, &order).await, 202);
            promised.insert(order);
        }
        world.kills_gateway();
        let state = world.folder().join("state");
        for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
            let _ = std::fs::remove_file(state.join(name));
            if let Ok(bytes) = std::fs::read(left.join(name)) {
                std::fs::write(state.join(name), bytes).unwrap();
            }
        }
    }
    world.fault("erp", "up").await;
    world.starts_gateway().await;
    world
        .until("nothing waits any more", async || {
            // Cut off twice in the middle of its delivery, a message waits for a person.
            let retry = [
                "queue",
                "retry",
                "--state",
                "parked",
                "--yes",
                "--reason",
                "the power was cut",
            ];
            world.operator(&retry).await;
            let stats = world.admin("/queue").await.text;
            let is_open = ["waiting", "attempting", "inDoubt", "parked"];
            let found = world
                .admin(&format!("/queue/messages?state={}", is_open.join(",")))
                .await;
            assert_eq!(found.status, 200, "{stats}");
            found.json()["messages"].as_array().unwrap().is_empty()
        })
        .await;
    let ledger = ledger(&world).await;
    let mut faults = Vec::new();
    for order in promised {
        match ledger.iter().filter(|done| **done == order).count() {
            1 => {}
            times => faults.push(format!("{order} was done {times} times")),
        }
    }
    faults
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_promised() {
    let rounds = places(&[1, 2, 3]).len();
    assert_eq!(cuts(false, rounds).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_disk_that_lies_about_its_syncs_is_noticed_by_the_judge() {
    let faults = cuts(true, 1).await;
    assert!(faults.iter().any(|fault| fault.ends_with("0 times")), "{faults:?}");
}

async fn ledger(world: &World) -> Vec<String> {
    let entries = world.ledger("erp").await;
    entries
        .iter()
        .map(|entry| entry["idempotencyKey"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Which calls fail: the first few that come, or as many as `CROSSDOCK_FAULTS` says.
fn places(usual: &[u32]) -> Vec<u32> {
    let asked = std::env::var("CROSSDOCK_FAULTS")
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    asked.map_or_else(|| usual.to_vec(), |last| (1..=last).collect())
}

#[tokio::test]
async fn a_sync_that_fails_ends_all_promises_until_a_restart() {
    for at in places(&[1, 4]) {
        fails_and_recovers("sync", at).await;
    }
}

#[tokio::test]
async fn a_write_that_fails_or_is_torn_ends_all_promises_until_a_restart() {
    for at in places(&[1, 7]) {
        fails_and_recovers("write", at).await;
        fails_and_recovers("short", at + 1).await;
    }
}

#[tokio::test]
async fn a_read_that_fails_ends_all_promises_until_a_restart() {
    for at in places(&[1, 3]) {
        fails_and_recovers("read", at).await;
    }
}

/// What a person does with a damaged store: save what can be read, and go on with it in a new one.
#[tokio::test]
async fn a_damaged_store_is_refused_and_what_can_be_read_goes_on_in_a_new_one() {
    let mut world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let orders: Vec<String> = (0..60).map(|number| format!("D{number}")).collect();
    for order in &orders {
        assert_eq!(queue(&world, &token, order).await, 202);
    }
    world.kills_gateway();
    let state = world.folder().join("state");
    let store = state.join("queue.db");
    let connection = rusqlite::Connection::open(&store).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    // A page with requests on it.
    let page: i64 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'request'", [], |row| {
            row.get(0)
        })
        .unwrap();
    drop(connection);
    let page = usize::try_from(page).unwrap();
    let mut bytes = std::fs::read(&store).unwrap();
    // The root leads to all of them. Behind it are leaves, this one among them.
    let leaf = u32::from_be_bytes(bytes[(page - 1) * 4096 + 8..(page - 1) * 4096 + 12].try_into().unwrap()) as usize;
    bytes[(leaf - 1) * 4096..leaf * 4096].fill(0xA5);
    std::fs::write(&store, bytes).unwrap();

    // It starts, as what it needs for that is sound, and finds it out; sales that need no queue go on.
    world.starts_damaged_gateway().await;
    world
        .until("it is found out", async || {
            let ready = world.admin("/readyz").await;
            ready.status == 503 && ready.json()["queueCheck"]["result"] == "damaged"
        })
        .await;
    let ready = world.admin("/readyz").await.text;
    assert!(ready.contains("--salvage"), "{ready}");
    assert_eq!(queue(&world, &token, "D-after").await, 503);
    world
        .until("it is among the metrics", async || {
            world
                .admin("/metrics")
                .await
                .text
                .contains("crossdock_queue_check{state=\"damaged\"} 1")
        })
        .await;
    let file = world.folder().join("saved");
    let path = file.display().to_string();
    let said = world.operator(&["queue", "export", "--salvage", &path]).await;
    assert!(
        !said.is_well() && said.err().contains("another gateway uses"),
        "{said:?}"
    );
    world.kills_gateway();

    let said = world.operator(&["queue", "export", "--salvage", &path]).await;
    assert!(!said.is_well(), "{said:?}");
    assert!(said.err().contains("cannot be read; they are listed in"), "{said:?}");
    let saved = std::fs::read_to_string(&file).unwrap();
    let lost = std::fs::read_to_string(format!("{path}.lost")).unwrap();
    let lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (saved, lost) = (lines(&saved), lines(&lost));
    assert_eq!(saved.len() + lost.len(), orders.len(), "each is saved or told");
    assert!(
        !lost.is_empty() && saved.len() > lost.len(),
        "{}: {lost:?}",
        saved.len()
    );
    assert!(
        lost.iter()
            .all(|message| message["id"].is_string() && message["cause"].is_string())
    );

    std::fs::rename(&state, world.folder().join("state.damaged")).unwrap();
    world.starts_gateway().await;
    let said = world.operator(&["queue", "import", &path]).await;
    assert!(said.is_well(), "{said:?}");
    world.fault("erp", "up").await;
    world
        .until("what was saved is delivered", async || {
            ledger(&world).await.len() == saved.len()
        })
        .await;
    let told: Vec<&str> = lost.iter().filter_map(|message| message["key"].as_str()).collect();
    let done = ledger(&world).await;
    for order in &orders {
        assert!(done.contains(order) != told.contains(&order.as_str()), "{order}");
    }
}
