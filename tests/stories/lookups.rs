//! Shops that know customers by other numbers than the ERP: the CRM knows both, and is asked.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    harness::{World, crossdock},
    orders::{order_v1, order_v3},
};

/// In place of the padding that the repository's own mapping takes off.
const LOOKUP: &str = "lookup: { from: customerNo, to: customer.id, \
     up: { api: crm-accounts, operation: findAccounts, parameter: formerNumber, take: /accounts/0/customerNumber }, \
     down: { api: crm-accounts, operation: getAccount, parameter: customerNumber, take: /formerNumber } }";
const STRIP: &str = "strip: { from: customerNo, to: customer.id, char: '0', width: 10 }";
const MAPPING: &str = "contracts/orders/v1-v2.map.yaml";

/// Has shops of v1 use the numbers from before the ERP.
fn ask(folder: &Path) {
    replace(folder, MAPPING, STRIP, LOOKUP);
    let path = folder.join("policies/gateway.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\nmappings: any\n")).unwrap();
}

fn replace(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

/// A v1 order of a customer by its former number.
fn order(number: &str, customer: &str) -> String {
    order_v1(number).replace("0000010001", customer)
}

impl World {
    /// How many keys of an operation came to a result.
    async fn keys(&self, operation: &str, result: &str) -> u64 {
        let metrics = self.admin("/metrics").await.text;
        let series = format!(
            "crossdock_lookup_keys_total{{api=\"crm-accounts\",operation=\"{operation}\",result=\"{result}\"}} "
        );
        let line = metrics.lines().find_map(|line| line.strip_prefix(series.as_str()));
        line.unwrap_or_else(|| panic!("{series} in {metrics}")).parse().unwrap()
    }
}

#[tokio::test]
async fn a_shop_s_own_customer_number_becomes_the_erp_s_and_comes_back() {
    let world = World::start_with(ask).await;
    let token = world.token("storefront");
    let answer = world.orders(&token, "v1", "k-1", order("L-1", "0000700001")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["customerNo"], "0000700001");
    let placed = world.ledger("erp").await.pop().unwrap();
    assert_eq!(placed["body"]["parties"]["soldTo"]["number"], "10001");
    // One call for each way.
    assert_eq!(world.keys("findAccounts", "found").await, 1);
    assert_eq!(world.keys("getAccount", "found").await, 1);

    // What is known is not asked for again, not even while nobody could answer.
    world.fault("crm", "down").await;
    let answer = world.orders(&token, "v1", "k-2", order("L-2", "0000700001")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let read = world.reads(&token, "/system/erp/v1/orders/L-1").await;
    assert_eq!(read.json()["customerNo"], "0000700001", "{read:?}");
    assert_eq!(world.keys("findAccounts", "found").await, 1);
    assert_eq!(world.keys("findAccounts", "known").await, 1);
    assert_eq!(world.keys("getAccount", "known").await, 2);
}

#[tokio::test]
async fn a_number_that_nobody_has_is_told_where_the_shop_wrote_it() {
    let world = World::start_with(ask).await;
    let token = world.token("storefront");
    for (key, number) in [("k-1", "L-1"), ("k-2", "L-2")] {
        let answer = world.orders(&token, "v1", key, order(number, "0000799999")).await;
        let problem = answer.is_problem(422, "unmappable");
        assert_eq!(problem["errors"][0]["pointer"], "/customerNo", "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("`0000799999` has no counterpart"),
            "{problem}"
        );
    }
    assert_eq!(world.ledger("erp").await, Vec::<serde_json::Value>::new());
    assert_eq!(
        world.keys("findAccounts", "missing").await,
        1,
        "the second one is known to be missing"
    );
}

#[tokio::test]
async fn while_the_crm_is_down_nothing_is_sent_by_halves_and_nothing_is_queued() {
    let world = World::start_with(ask).await;
    let token = world.token("storefront");
    let mut of_erp = order_v3("L-9");
    of_erp["parties"]["soldTo"]["number"] = json!("10002");
    let placed = world.orders(&token, "v3", "k-9", of_erp.to_string()).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    world.fault("crm", "down").await;

    let answer = world.orders(&token, "v1", "k-1", order("L-1", "0000700001")).await;
    let problem = answer.is_problem(503, "upstream-unavailable");
    assert_eq!(problem["detail"], "upstream crm is unavailable");
    assert_eq!(problem["class"], "technical");
    let read = world.reads(&token, "/system/erp/v1/orders/L-9").await;
    let problem = read.is_problem(502, "upstream-invalid");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("upstream crm is unavailable"),
        "{problem}"
    );
    assert!(!read.text.contains("10002"), "{read:?}");
    assert_eq!(
        world.ledger("erp").await.len(),
        1,
        "what could not be translated was not sent"
    );
    assert!(world.keys("findAccounts", "failed").await >= 1);

    world.fault("crm", "up").await;
    world
        .until("the CRM is asked again", async || {
            let answer = world.orders(&token, "v1", "k-1", order("L-1", "0000700001")).await;
            answer.status == 201
        })
        .await;
    assert_eq!(world.ledger("erp").await.len(), 2);
}

#[tokio::test]
async fn an_order_of_hundreds_of_lines_asks_for_each_key_once() {
    let world = World::start_with(|folder| {
        ask(folder);
        // Articles that are called like customers: what matters is how many there are.
        let lookup = LOOKUP.replace("from: customerNo, to: customer.id", "from: sku, to: itemCode");
        replace(folder, MAPPING, "move: { from: sku, to: itemCode }", &lookup);
    })
    .await;
    let token = world.token("storefront");
    let lines: Vec<_> = (1..=300)
        .map(|pos| json!({ "pos": pos, "sku": format!("{:0>10}", 700_001 + pos % 60), "qty": 1, "uom": "EA", "price": 1 }))
        .collect();
    let order = json!({
        "orderNo": "L-1", "customerNo": "0000700001", "orderDate": "20.11.2026", "currency": "EUR",
        "lines": lines, "total": 300,
    });
    let answer = world.orders(&token, "v1", "k-1", order.to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["lines"][299]["sku"], lines[299]["sku"]);
    let placed = world.ledger("erp").await.pop().unwrap();
    assert_eq!(placed["body"]["lines"][298]["sku"], "10060");
    assert_eq!(world.keys("findAccounts", "found").await, 60);
    assert_eq!(world.keys("getAccount", "found").await, 60);
}

#[tokio::test]
async fn what_waits_is_translated_when_it_is_accepted_and_its_answer_when_it_is_delivered() {
    let world = World::start_with(ask).await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let answer = world.orders(&token, "v1", "k-1", order("L-1", "0000700001")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    assert_eq!(world.keys("findAccounts", "found").await, 1);
    world.fault("erp", "up").await;
    world
        .until("the order is delivered", async || {
            world.reads(&token, &location).await.json()["state"] == "delivered"
        })
        .await;
    let placed = world.ledger("erp").await.pop().unwrap();
    assert_eq!(placed["body"]["parties"]["soldTo"]["number"], "10001");
    let state = world.reads(&token, &location).await.json();
    assert_eq!(state["response"]["body"]["customerNo"], "0000700001", "{state}");
    assert_eq!(world.keys("getAccount", "found").await, 1);
}

#[tokio::test]
async fn an_update_that_is_merged_asks_for_its_keys_too() {
    let world = World::start_with(ask).await;
    let token = world.token("storefront");
    let placed = world.orders(&token, "v1", "k-1", order("L-1", "0000700001")).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let changed = order("L-1", "0000700002").replace("Rampe 3", "Rampe 4");
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "k-2"),
    ];
    let path = "/system/erp/v1/orders/L-1";
    let answer = world.call(http::Method::PUT, path, &headers, changed).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["customerNo"], "0000700002");
    let sent = world.ledger("erp").await.pop().unwrap();
    assert_eq!(sent["body"]["parties"]["soldTo"]["number"], "10002");
    assert_eq!(sent["body"]["notes"][0], "Rampe 4");
}

#[tokio::test]
async fn keys_that_nobody_answers_in_time_end_a_request_and_send_nothing() {
    let world = World::start_with(|folder| {
        ask(folder);
        let timeouts = "timeouts: { connect: 500ms, response: 300ms, total: 400ms }";
        let theirs = "timeouts: { connect: 500ms, response: 8s, total: 10s }";
        replace(folder, "policies/upstreams/crm.yaml", theirs, timeouts);
    })
    .await;
    let token = world.token("storefront");
    world.fault("crm", "slow").await;
    let answer = world.orders(&token, "v1", "k-1", order("L-1", "0000700001")).await;
    let problem = answer.is_problem(504, "upstream-timeout");
    assert!(problem["detail"].as_str().unwrap().contains("crm"), "{problem}");
    assert_eq!(world.ledger("erp").await, Vec::<serde_json::Value>::new());
    assert_eq!(world.keys("findAccounts", "failed").await, 1);
}

#[tokio::test]
async fn links_ask_for_their_keys_and_are_left_out_where_nobody_answers() {
    let world = World::start_with(|folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\nmappings: any\n")).unwrap();
        // Only the query: bodies have the padded number still. What is known on the way back is soon forgotten.
        let lookup = LOOKUP
            .replace("from: customerNo, to: customer.id", "path: customer")
            .replace("take: /formerNumber }", "take: /formerNumber, keep: 1s }");
        replace(
            folder,
            MAPPING,
            "- strip: { path: customer, char: '0', width: 10 }",
            &format!("- {lookup}"),
        );
    })
    .await;
    let token = world.token("storefront");
    for number in ["L-1", "L-2"] {
        let answer = world.orders(&token, "v1", number, order_v1(number)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let path = "/system/erp/v1/orders?customer=0000700001&limit=1";
    let page = world.reads(&token, path).await;
    assert_eq!(page.status, 200, "{page:?}");
    let next = page.json()["nextPage"].as_str().unwrap_or_default().to_owned();
    assert!(
        next.contains("customer=0000700001"),
        "in the shop's own words: {page:?}"
    );
    let page = world.reads(&token, &next).await;
    assert_eq!(page.json()["orders"][0]["orderNo"], "L-1", "{page:?}");

    world.fault("crm", "down").await;
    world
        .until("the link is left out", async || {
            let page = world.reads(&token, path).await;
            assert_eq!(page.status, 200, "nothing is withheld for a link: {page:?}");
            page.json()["nextPage"].is_null()
        })
        .await;
    let metrics = world.admin("/metrics").await.text;
    assert!(metrics.contains("kind=\"link_dropped\""), "{metrics}");
}

#[tokio::test]
async fn a_lookup_that_cannot_be_asked_is_found_before_it_goes_live() {
    let world = World::without_gateway(|folder| {
        ask(folder);
        replace(folder, MAPPING, "operation: findAccounts", "operation: findAccount");
        replace(
            folder,
            MAPPING,
            "api: crm-accounts, operation: getAccount",
            "api: crm, operation: getAccount",
        );
    })
    .await;
    let output = crossdock()
        .args(["check", "--config"])
        .arg(world.config())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("v1-v2.map.yaml:13:"), "{told}");
    assert!(
        told.contains("API `crm-accounts` has no operation `findAccount` in version v1"),
        "{told}"
    );
    assert!(told.contains("there is no Api named `crm`"), "{told}");
}

#[tokio::test]
async fn recorded_answers_translate_a_document_by_hand_and_the_check_makes_some_up() {
    let world = World::without_gateway(ask).await;
    let run = |arguments: &[&str]| {
        let output = crossdock()
            .args(["contract", "--contracts"])
            .arg(world.folder().join("contracts"))
            .args(arguments)
            .output()
            .unwrap();
        let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        (output.status.success(), texts.concat())
    };
    let path = |name: &str, text: &str| {
        let path = world.folder().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let document = path("order.json", &order("L-1", "0000700001"));
    let answers = path(
        "answers.json",
        r#"{"crm-accounts.findAccounts.formerNumber":{"0000700001":"10001"}}"#,
    );
    let map = ["map", "orders", "v1", "v2", "--operation", "createOrder"];
    let (is_good, told) = run(&[&map[..], &["--lookup", &answers, &document]].concat());
    assert!(is_good && told.contains(r#""customer":{"id":"10001""#), "{told}");
    let (is_good, told) = run(&[&map[..], &[document.as_str()]].concat());
    assert!(!is_good, "{told}");
    assert!(
        told.contains("crm-accounts.findAccounts.formerNumber is asked for `0000700001`"),
        "{told}"
    );
    let other = path("other.json", r#"{"crm-accounts.find.number":{}}"#);
    let (is_good, told) = run(&[&map[..], &["--lookup", &other, &document]].concat());
    assert!(
        !is_good && told.contains("no mapping asks `crm-accounts.find.number`"),
        "{told}"
    );

    let (is_good, told) = run(&["check", "orders", "--cases", "200", "--proving", "5", "--full"]);
    assert!(is_good, "{told}");
    assert!(told.contains("has no counterpart"), "{told}");
}
