//! Everything changes while traffic runs, and every answer is accounted for.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crossdock::{config::Sources, gateway, snapshot};
use serde_json::{Value, json};

use crate::harness::{Answer, World};

const API: &str = "policies/apis/erp-orders.yaml";
const DOCUMENT: &str = "contracts/orders/v1/openapi.yaml";
const MAPPING: &str = "contracts/orders/v1-v2.map.yaml";

/// Replaces text in a file of the folder, before the gateway starts.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} does not hold {from:?}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Lets mappings in that were never checked, and all the traffic there is.
fn at_full_load(folder: &Path) {
    edit(
        folder,
        "policies/gateway.yaml",
        "state: ../state",
        "state: ../state\nmappings: any",
    );
    edit(folder, API, "rate: 500/s, burst: 1000", "rate: 100000/s, burst: 100000");
}

/// Two places of an order in v1 that only the mapping writes, alike in each snapshot.
fn marked(folder: &Path) {
    let marks = "        markA: { type: string }\n        markB: { type: string }\n";
    let first = "        orderNo: { $ref: '#/components/schemas/OrderNo' }\n        customerNo:";
    edit(folder, DOCUMENT, first, &format!("{marks}{first}"));
    let move_ = "    - move: { from: orderNo, to: orderId }\n";
    let drops = "    - drop: { path: markA, restore: 's0' }\n    - drop: { path: markB, restore: 's0' }\n";
    edit(folder, MAPPING, move_, &format!("{move_}{drops}"));
}

/// All marks in an answer.
fn marks(answer: &Value, found: &mut BTreeSet<String>) -> usize {
    match answer {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                if name.starts_with("mark") {
                    found.insert(value.as_str().unwrap().to_owned());
                    1
                } else {
                    marks(value, found)
                }
            })
            .sum(),
        Value::Array(items) => items.iter().map(|item| marks(item, found)).sum(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_swaps_under_full_load_lose_nothing_and_mix_nothing() {
    const EACH: usize = 150;
    let world = World::without_gateway(|folder| {
        at_full_load(folder);
        marked(folder);
    })
    .await;
    let overrides = gateway::Overrides {
        access_log_off: true,
        ..Default::default()
    };
    let gateway = gateway::start(&world.config(), overrides)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    let mut snapshots = Vec::new();
    for number in 1..=6 {
        for _ in 0..2 {
            world.edit(MAPPING, &format!("'s{}'", number - 1), &format!("'s{number}'"));
        }
        let sources = Sources::read(&world.config()).unwrap();
        let (compiled, mistakes) = snapshot::compile(&sources, &gateway.shared);
        snapshots.push(Arc::new(compiled.unwrap_or_else(|| panic!("{mistakes:?}"))));
    }
    gateway.shared.snapshot.store(Some(snapshots[0].clone()));

    let token = Arc::new(world.token("storefront"));
    let world = Arc::new(world);
    let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let swapper = std::thread::spawn({
        let (shared, stop, swaps) = (gateway.shared.clone(), stop.clone(), swaps.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let number = swaps.fetch_add(1, Ordering::Relaxed);
                let next = snapshots[number % snapshots.len()].clone();
                shared.snapshot.store(Some(next));
                std::thread::yield_now();
            }
        }
    });
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (world, token) = (world.clone(), token.clone());
        clients.spawn(async move {
            let (mut seen, mut placed) = (BTreeSet::new(), Vec::new());
            for round in 0..EACH {
                let version = ["v1", "v2", "v3"][(client + round) % 3];
                let number = format!("SW-{client}-{round}");
                let order = match version {
                    "v1" => crate::orders::order_v1(&number),
                    "v2" => crate::orders::order_v2(&number).to_string(),
                    _ => crate::orders::order_v3(&number).to_string(),
                };
                let answer = world.orders(&token, version, &number, order).await;
                assert_eq!(answer.status, 201, "{answer:?}");
                placed.push(number);
                let listed = world.reads(&token, "/system/erp/v1/orders?limit=20").await;
                assert_eq!(listed.status, 200, "{listed:?}");
                for (answer, is_v1) in [(answer, version == "v1"), (listed, true)] {
                    let mut found = BTreeSet::new();
                    let count = marks(&answer.json(), &mut found);
                    assert_eq!((found.len(), count > 0), (usize::from(is_v1), is_v1), "{answer:?}");
                    seen.extend(found);
                }
            }
            (seen, placed)
        });
    }
    let (mut seen, mut placed) = (BTreeSet::new(), BTreeSet::new());
    while let Some(client) = clients.join_next().await {
        let (marks, orders) = client.unwrap();
        seen.extend(marks);
        placed.extend(orders);
    }
    world
        .until("thousands of swaps were made", async || {
            swaps.load(Ordering::Relaxed) > 5_000
        })
        .await;
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(seen.len() > 2, "answers of several snapshots: {seen:?}");
    let ledger = world.ledger("erp").await;
    let arrived: BTreeSet<_> = ledger
        .iter()
        .map(|entry| entry["body"]["orderNumber"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((ledger.len(), &arrived), (4 * EACH, &placed), "each order once");
    gateway.stop().await;
}

/// How the candidate of the orders' API stands.
async fn standing(world: &World) -> Value {
    let versions = world.admin("/versions").await.json();
    let apis = versions["apis"].as_array().unwrap();
    let orders = apis.iter().find(|api| api["api"] == "erp-orders").unwrap();
    orders["candidate"].clone()
}

#[tokio::test]
async fn shadow_canary_rollback_and_retirement_come_and_go_while_orders_are_placed() {
    let world = Arc::new(World::start_with(at_full_load).await);
    let token = Arc::new(world.token("storefront"));
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..3 {
        let (world, token, stop) = (world.clone(), token.clone(), stop.clone());
        clients.spawn(async move {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let number = format!("L-{client}-{}", answers.len());
                let order = crate::orders::order_v1(&number);
                let answer = world.orders(&token, "v1", &number, order).await;
                answers.push((number, answer));
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            answers
        });
    }
    let candidate = |from: &str, to: &str| {
        let live = std::fs::read_to_string(world.folder().join(MAPPING)).unwrap();
        assert!(live.contains(from), "the mapping does not hold {from:?}");
        let path = world.folder().join("contracts/orders/v1-v2.candidate.map.yaml");
        std::fs::write(path, live.replacen(from, to, 1)).unwrap();
    };

    // A shadow looks on.
    candidate("SD: same-day, ST: standard", "ST: same-day, SD: standard");
    world.edit(
        API,
        "authenticate:",
        "candidate: { mode: shadow, sample: 100% }\nauthenticate:",
    );
    world
        .until("the shadow has compared a lot", async || {
            standing(&world).await["compared"].as_u64() > Some(20)
        })
        .await;
    let looked = standing(&world).await;
    assert_eq!(looked["compared"], looked["differing"], "every order differs: {looked}");

    // A canary that refuses what the live mapping takes is rolled back by itself.
    candidate(
        "from: price, to: unitPrice.amount, scale: 2, pad: true",
        "from: price, to: unitPrice.amount, scale: 0",
    );
    world.edit(
        API,
        "candidate: { mode: shadow, sample: 100% }",
        "candidate: { mode: canary, share: 50%, by: correlation, rollback: { failures: 20%, over: 5m, least: 10 } }",
    );
    world
        .until("the canary is rolled back", async || {
            !standing(&world).await["rolledBack"].is_null()
        })
        .await;
    let rolled_back = standing(&world).await;
    let placed = world.ledger("erp").await.len();
    world
        .until("orders go on", async || world.ledger("erp").await.len() > placed + 20)
        .await;

    // The version is retired.
    world.edit(
        API,
        "authenticate:",
        "versions:\n  v1: { state: retired, successor: v2 }\n  v2: active\n  v3: active\nauthenticate:",
    );
    world
        .until("the retired version is gone", async || {
            let answer = world.reads(&token, "/system/erp/v1/orders").await;
            answer.status == 410
        })
        .await;
    tokio::task::yield_now().await;
    stop.store(true, Ordering::Relaxed);

    let (mut counts, mut accepted) = (BTreeMap::new(), BTreeSet::new());
    while let Some(client) = clients.join_next().await {
        account(client.unwrap(), &mut counts, &mut accepted);
    }
    let arrived: Vec<_> = world
        .ledger("erp")
        .await
        .iter()
        .map(|entry| entry["body"]["orderNumber"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arrived.len(), accepted.len(), "none twice, none lost");
    assert_eq!(arrived.into_iter().collect::<BTreeSet<_>>(), accepted);
    assert!(
        counts[&422] >= 2 && counts[&422] <= rolled_back["served"].as_u64().unwrap() + 3,
        "only the canary refused: {counts:?}, {rolled_back}"
    );
}

/// Counts a client's answers by their status, and notes the orders that were accepted.
fn account(answers: Vec<(String, Answer)>, counts: &mut BTreeMap<u16, u64>, accepted: &mut BTreeSet<String>) {
    let mut is_retired = false;
    for (number, answer) in answers {
        *counts.entry(answer.status.as_u16()).or_default() += 1;
        assert!(!is_retired || answer.status == 410, "nothing comes back: {answer:?}");
        match answer.status.as_u16() {
            201 => {
                assert_eq!(answer.json()["orderNo"], number.as_str());
                accepted.insert(number);
            }
            422 => {
                answer.is_problem(422, "unmappable");
            }
            410 => {
                assert_eq!(answer.is_problem(410, "version-retired")["successor"], "v2");
                is_retired = true;
            }
            _ => panic!("{number}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn rules_of_the_business_are_kept_at_the_door() {
    let world = World::start_with(|folder| {
        at_full_load(folder);
        let rules = "    Order:\n      x-crossdock-rules:\n        - id: total-matches\n          \
                     rule: total == round(lines.sum(l, l.qty * l.price), 2)\n          \
                     message: the total is not the sum of the lines\n        - id: edi-names-its-order\n          \
                     rule: channel != 'edi-intake' || has(custRef)\n          \
                     message: orders by EDI carry the buyer's reference\n      type: object\n";
        edit(folder, DOCUMENT, "    Order:\n      type: object\n", rules);
    })
    .await;
    let token = world.token("storefront");
    let good = crate::orders::order_v1("RU-1");
    assert_eq!(world.orders(&token, "v1", "a", good.clone()).await.status, 201);

    let wrong = crate::orders::order_v1("RU-2").replace("1263.80", "1263.81");
    let problem = world
        .orders(&token, "v1", "b", wrong)
        .await
        .is_problem(422, "rule-broken");
    assert_eq!(problem["class"], "business");
    let errors = problem["errors"].to_string();
    assert!(
        errors.contains("the total is not the sum of the lines") && errors.contains("total-matches"),
        "{errors}"
    );
    assert!(!errors.contains("edi-names-its-order"), "{errors}");

    // The same order is one thing from a shop, and another by EDI.
    let key = crossdock::sandbox::demo_key("edi-intake").unwrap();
    let nameless = good.replace("RU-1", "RU-3").replace(r#""custRef":"PO 4711","#, "");
    let headers = [
        ("x-api-key", key),
        ("content-type", "application/json"),
        ("idempotency-key", "c"),
    ];
    let path = "/system/erp/v1/orders";
    let answer = world.call(http::Method::POST, path, &headers, nameless.clone()).await;
    let problem = answer.is_problem(422, "rule-broken");
    assert!(
        problem["errors"].to_string().contains("edi-names-its-order"),
        "{problem}"
    );
    assert_eq!(world.orders(&token, "v1", "d", nameless).await.status, 201);

    // A version without rules takes it; what a schema refuses is told before any rule is.
    let mut other = crate::orders::order_v2("RU-4");
    other["total"]["amount"] = json!("1.00");
    assert_eq!(world.orders(&token, "v2", "e", other.to_string()).await.status, 201);
    let malformed = good.replace("\"EUR\"", "\"euro\"").replace("1263.80", "1");
    world
        .orders(&token, "v1", "f", malformed)
        .await
        .is_problem(422, "contract-violation");
    assert_eq!(world.ledger("erp").await.len(), 3);
}
