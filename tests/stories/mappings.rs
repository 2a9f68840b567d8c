//! Mappings: run by hand before anything goes live, and what callers see of whole messages.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::{
    harness::{World, crossdock},
    orders::{order_v1, order_v2, order_v3},
};

/// Translates a document of the repository's own contract of orders.
fn map(arguments: &[&str], document: &str) -> Output {
    let mut process = crossdock()
        .args(["contract", "map", "orders"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const CANCELLATION: &str = r#"{"reasonCode":"02","remark":"not in stock"}"#;

#[test]
fn a_document_is_translated_by_hand_either_way() {
    let output = map(&["v1", "v3", "--operation", "cancelOrder"], CANCELLATION);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout).trim(),
        r#"{"reason":"out-of-stock","comment":"not in stock"}"#
    );

    let order = include_str!("../../bench/orders/answer-v3.json");
    let output = map(&["v3", "v1", "--operation", "createOrder", "--response", "201"], order);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""orderNo":"SO-2026-0047113""#));
}

#[test]
fn each_step_is_explained_with_its_line() {
    let output = map(&["v1", "v2", "--operation", "cancelOrder", "--explain"], CANCELLATION);
    let told = text(&output.stdout);
    let lines: Vec<_> = told.lines().map(str::trim).collect();
    assert!(lines[0].ends_with("v1-v2.map.yaml, up:"), "{told}");
    let step = "table: { from: reasonCode, to: reason, table: reason }";
    let place = lines
        .iter()
        .position(|line| line.ends_with(step))
        .expect("the step is named");
    assert_eq!(lines[place + 1], r#"/reasonCode "02"  →  /reason "out-of-stock""#);
}

#[test]
fn what_is_wrong_with_a_document_or_a_name_is_said() {
    let fails = |arguments: &[&str], document: &str, message: &str| {
        let output = map(arguments, document);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains(message), "{told}");
    };
    let cancel = ["v1", "v3", "--operation", "cancelOrder"];
    fails(
        &cancel,
        r#"{"reasonCode":"77"}"#,
        "the code `77` has no counterpart at `/reasonCode`",
    );
    fails(&cancel, r#"{"reasonCode":"02","x":1}"#, "does not conform to v1");
    fails(&cancel, "{", "the document is not JSON");
    fails(
        &["v1", "v9", "--operation", "cancelOrder"],
        "{}",
        "its versions are v1, v2, v3",
    );
    fails(&["v1", "v3", "--operation", "sing"], "{}", "has no sing");
    fails(
        &["v3", "v1", "--operation", "cancelOrder", "--response", "299"],
        "{}",
        "299",
    );
}

#[tokio::test]
async fn what_the_erp_finds_wrong_is_told_where_the_caller_wrote_it() {
    let world = World::start().await;
    let token = world.token("storefront");
    let stranger = order_v1("P-1").replace("0000010001", "0000099999");
    let answer = world.orders(&token, "v1", "p-1", stranger).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["code"], "E101");
    assert_eq!(problem["errors"][0]["pointer"], "/customerNo", "{answer:?}");
    let stranger = order_v2("P-2").to_string().replace("10001", "99999");
    let answer = world.orders(&token, "v2", "p-2", stranger).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/customer/id", "{answer:?}");
    // The mapped routes leave a trace of what had no counterpart only where there was any.
    assert!(!world.admin("/metrics").await.text.contains("place_unknown"));
}

#[tokio::test]
async fn links_and_cursors_lead_a_caller_through_the_pages_of_its_own_version() {
    let world = World::start().await;
    let token = world.token("storefront");
    for number in ["L-1", "L-2", "L-3"] {
        let answer = world.orders(&token, "v1", number, order_v1(number)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("location"), format!("/system/erp/v1/orders/{number}"));
    }
    let mut path = "/system/erp/v1/orders?status=OPEN&customer=0000010001&limit=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = world.reads(&token, &path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        seen.push(page["orders"][0]["orderNo"].as_str().unwrap().to_owned());
        assert_eq!(page["count"], 3);
        let Some(next) = page["nextPage"].as_str() else { break };
        assert!(next.starts_with("/system/erp/v1/orders?"), "{next}");
        assert!(
            next.contains("customer=0000010001") && next.contains("status=OPEN"),
            "{next}"
        );
        // The ERP's own cursor is the number of an order: callers do not see it.
        assert!(!next.contains("L-"), "{next}");
        next.clone_into(&mut path);
    }
    assert_eq!(seen, ["L-3", "L-2", "L-1"]);

    // A cursor belongs to the version that gave it out; what was not given out here is refused.
    let cursor = path
        .rsplit_once("startKey=")
        .map(|(_, rest)| rest.split('&').next().unwrap())
        .unwrap();
    let answer = world
        .reads(&token, &format!("/system/erp/v2/orders?cursor={cursor}"))
        .await;
    let problem = answer.is_problem(400, "malformed");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("a cursor of contract version v1"),
        "{problem}"
    );
    assert_eq!(
        (&problem["errors"][0]["in"], &problem["errors"][0]["name"]),
        (&"query".into(), &"cursor".into())
    );
    let answer = world.reads(&token, "/system/erp/v1/orders?startKey=L-2").await;
    let problem = answer.is_problem(400, "malformed");
    assert_eq!(problem["errors"][0]["name"], "startKey");
}

#[tokio::test]
async fn a_cursor_outlives_the_gateway_that_gave_it_out() {
    let mut world = World::start().await;
    let token = world.token("storefront");
    for number in ["C-1", "C-2"] {
        assert_eq!(world.orders(&token, "v1", number, order_v1(number)).await.status, 201);
    }
    let page = world.reads(&token, "/system/erp/v1/orders?limit=1").await.json();
    let next = page["nextPage"].as_str().unwrap().to_owned();
    world.kills_gateway();
    world.starts_gateway().await;
    let page = world.reads(&token, &next).await;
    assert_eq!(page.json()["orders"][0]["orderNo"], "C-1", "{page:?}");
}

#[tokio::test]
async fn a_link_without_a_counterpart_is_left_out_and_counted() {
    let world = World::start_with(|folder| {
        let mapping = folder.join("contracts/orders/v2-v3.map.yaml");
        let text = std::fs::read_to_string(&mapping).unwrap();
        // Callers of v2 cannot be led to pages of orders in this state.
        let text = text.replacen(
            "missDown: { on-hold: open } }\n    cursors",
            "missDown: { on-hold: open, received: ~ } }\n    cursors",
            1,
        );
        std::fs::write(mapping, text).unwrap();
        let gateway = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&gateway).unwrap();
        std::fs::write(gateway, text + "\nmappings: any\n").unwrap();
    })
    .await;
    let token = world.token("storefront");
    for number in ["D-1", "D-2"] {
        assert_eq!(
            world
                .orders(&token, "v2", number, order_v2(number).to_string())
                .await
                .status,
            201
        );
    }
    let page = world.reads(&token, "/system/erp/v2/orders?status=open&limit=1").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.json().get("next").is_none(), "{page:?}");
    let metrics = world.admin("/metrics").await.text;
    let counted = r#"crossdock_contract_violations_total{api="erp-orders",version="v2",operation="listOrders",kind="link_dropped"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn an_error_translated_by_hand_has_its_places_translated_too() {
    let problem =
        r#"{"title":"No","status":422,"errors":[{"pointer":"/lines/0/quantity/unit","detail":"no such unit"}]}"#;
    let output = map(
        &[
            "v3",
            "v1",
            "--operation",
            "createOrder",
            "--response",
            "422",
            "--media-type",
            "application/problem+json",
        ],
        problem,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains(r#""pointer":"/lines/0/uom""#),
        "{}",
        text(&output.stdout)
    );
}

#[tokio::test]
async fn an_order_of_many_thousand_lines_takes_a_few_times_its_size_in_memory() {
    let world = World::start_with(|folder| {
        for version in ["v1", "v2", "v3"] {
            let path = folder.join(format!("contracts/orders/{version}/openapi.yaml"));
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replace("maxItems: 999\n", "maxItems: 999999\n")).unwrap();
        }
        let gateway = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&gateway).unwrap();
        std::fs::write(gateway, text + "\nmappings: any\n").unwrap();
        let api = folder.join("policies/apis/erp-orders.yaml");
        let text = std::fs::read_to_string(&api).unwrap();
        std::fs::write(api, text + "\nbody: 16MiB\n").unwrap();
        let erp = folder.join("policies/upstreams/erp.yaml");
        let text = std::fs::read_to_string(&erp).unwrap();
        let patient = "response: 50s, total: 55s }";
        std::fs::write(erp, text.replacen("response: 1s, total: 3s }", patient, 1)).unwrap();
    })
    .await;
    let token = world.token("storefront");
    let small = world.orders(&token, "v1", "small", order_v1("M-1")).await;
    assert_eq!(small.status, 201, "{small:?}");
    let order = order_v1("M-2");
    let (start, rest) = order.split_once("\"lines\":[").unwrap();
    let (lines, end) = rest.split_once(']').unwrap();
    let lines = vec![lines; 7_000_000 / lines.len()].join(",");
    let order = format!("{start}\"lines\":[{lines}]{end}");
    let (size, before) = (order.len(), world.gateway_memory());
    let large = world.orders(&token, "v1", "large", order).await;
    assert_eq!(large.status, 201);
    let grown = world.gateway_memory() - before;
    // Short lines, of which each becomes twice as long in v3, and there and back: the answer repeats all of it. What the
    // allocator has not given back yet counts, too.
    assert!(grown <= 12 * size, "{grown} bytes for a body of {size}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_translated_is_withheld_and_says_where_and_by_which_step() {
    let world = World::start().await;
    let token = world.token("storefront");
    let mut order = order_v3("W-1");
    // Callers of v1 know one currency for the whole order.
    order["lines"][0]["unitPrice"]["currency"] = "USD".into();
    order["lines"][0]["description"] = "for nobody else".into();
    let placed = world.orders(&token, "v3", "k-1", order.to_string()).await;
    assert_eq!(placed.status, 201, "{placed:?}");

    let answer = world.reads(&token, "/system/erp/v1/orders/W-1").await;
    let problem = answer.is_problem(502, "upstream-invalid");
    assert_eq!(problem["step"], "orders/v1-v2.map.yaml:41:9 (copy)", "{problem}");
    let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
    assert!(pointer.starts_with("/lines/0"), "in the words of v1: {problem}");
    for raw in ["USD", "for nobody else", "unitPrice", "19.90"] {
        assert!(!answer.text.contains(raw), "{raw} in {}", answer.text);
    }
    world
        .until("operators read why", async || {
            let line = world.access_log();
            line.contains("v1-v2.map.yaml:41:9 (copy)")
        })
        .await;
    let metrics = world.admin("/metrics").await.text;
    assert!(metrics.contains("kind=\"response_unmappable\""), "{metrics}");
    // Who speaks the ERP's version reads it as it is.
    let read = world.reads(&token, "/system/erp/v3/orders/W-1").await;
    assert_eq!(read.json()["lines"][0]["unitPrice"]["currency"], "USD");
}

#[tokio::test]
async fn a_document_that_a_mapping_made_wrong_is_not_sent_and_names_the_step() {
    let world = World::start_with(|folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\nmappings: any\n")).unwrap();
        // The ERP takes whole amounts only, and nobody told the mappings.
        let path = folder.join("contracts/orders/v3/openapi.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let digits = r"pattern: '^(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?$'";
        assert!(text.contains(digits), "{text}");
        std::fs::write(&path, text.replacen(digits, "pattern: '^[0-9]+$'", 1)).unwrap();
    })
    .await;
    let token = world.token("storefront");
    let answer = world.orders(&token, "v1", "k-1", order_v1("M-1")).await;
    let problem = answer.is_problem(500, "mapping-invalid");
    let expected = match problem["errors"][0]["pointer"].as_str().unwrap() {
        "/lines/0/unitPrice/amount" => "orders/v1-v2.map.yaml:39:9 (decimal)",
        "/totals/net/amount" => "orders/v1-v2.map.yaml:29:7 (decimal)",
        other => panic!("{other}: {problem}"),
    };
    assert_eq!(problem["step"], expected, "{problem}");
    assert!(world.ledger("erp").await.is_empty());
}
