//! What is refused, and what the channel is told.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    harness::World,
    orders::{order_v1, order_v2},
};

#[tokio::test]
async fn nobody_comes_in_without_a_credential_or_with_a_wrong_one() {
    let world = World::start().await;
    let orders = "/system/erp/v1/orders";
    let answer = world.call(Method::GET, orders, &[], "").await;
    answer.is_problem(401, "unauthenticated");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));

    let token = world.token("storefront");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    for wrong in ["x", &format!("{head}.{turned}"), "eyJhbGciOiJub25lIn0.e30."] {
        let answer = world
            .call(
                Method::GET,
                orders,
                &[("authorization", &format!("Bearer {wrong}"))],
                "",
            )
            .await;
        answer.is_problem(401, "unauthenticated");
    }
    world
        .call(Method::GET, orders, &[("x-api-key", "guessed")], "")
        .await
        .is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let world = World::start().await;
    let token = world.token_with("storefront", &["--scope", "orders:read"]);
    let problem = world
        .orders(&token, "v2", "k", order_v2("G-1").to_string())
        .await
        .is_problem(403, "forbidden");
    assert!(
        problem["detail"].as_str().unwrap().contains("orders:write"),
        "{problem}"
    );
    assert_eq!(world.ledger("erp").await.len(), 0);
}

#[tokio::test]
async fn unknown_paths_versions_and_methods_are_told_apart() {
    let world = World::start().await;
    world
        .call(Method::GET, "/nothing", &[], "")
        .await
        .is_problem(404, "not-found");
    let problem = world
        .call(Method::GET, "/system/erp/v9/orders", &[], "")
        .await
        .is_problem(404, "unknown-version");
    assert!(problem["detail"].as_str().unwrap().contains("v1, v2, v3"), "{problem}");
    let answer = world.call(Method::DELETE, "/system/erp/v1/orders", &[], "").await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    world
        .call(Method::GET, "/system/erp/v1/%2e%2e/orders", &[], "")
        .await
        .is_problem(400, "bad-request");
}

#[tokio::test]
async fn every_place_where_an_order_breaks_the_contract_is_listed() {
    let world = World::start().await;
    let token = world.token("storefront");
    let mut order = order_v2("H-1");
    order["customer"] = json!({ "id": "abc" });
    order["items"][0]["unit"] = json!("dozen");
    order["surprise"] = json!(true);
    let problem = world
        .orders(&token, "v2", "k", order.to_string())
        .await
        .is_problem(422, "contract-violation");
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    for expected in ["/customer/id", "/items/0/unit"] {
        assert!(pointers.contains(&expected), "{expected} in {problem}");
    }
    assert!(problem.to_string().contains("surprise"), "{problem}");
    assert_eq!(problem["class"], "business");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_it_is_looked_at() {
    let world = World::start().await;
    let token = world.token("storefront");
    for broken in ["{", r#"{"orderId":1,"orderId":2}"#, "\u{feff}{}", r#"{"a":01}"#] {
        world
            .orders(&token, "v2", "k", broken.to_owned())
            .await
            .is_problem(400, "malformed");
    }
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    world.orders(&token, "v2", "k", deep).await.is_problem(400, "malformed");
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    world
        .orders(&token, "v2", "k", large)
        .await
        .is_problem(413, "body-too-large");

    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "text/xml".into()),
        ("idempotency-key", "k".into()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world
        .call(Method::POST, "/system/erp/v2/orders", &headers, "<order/>")
        .await
        .is_problem(415, "unsupported-media-type");

    let answer = world.reads(&token, "/system/erp/v2/orders?limit=many").await;
    answer.is_problem(400, "malformed");
}

#[tokio::test]
async fn who_sends_everything_before_reading_still_gets_the_refusal() {
    let world = World::start().await;
    let address = world.gateway_url().replace("http://", "");
    for (token, expected) in [(String::new(), "401"), (world.token("storefront"), "413")] {
        let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
        let length = 8 << 20;
        let head = format!(
            "POST /system/erp/v2/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\nidempotency-key: k\r\ncontent-length: {length}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b' '; length]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.ends_with('}'), "{answer}");
    }
}

#[tokio::test]
async fn an_order_without_an_idempotency_key_is_refused() {
    let world = World::start().await;
    let token = world.token("storefront");
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".into()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = world
        .call(Method::POST, "/system/erp/v1/orders", &headers, order_v1("I-1"))
        .await;
    answer.is_problem(400, "idempotency-key-missing");
}

#[tokio::test]
async fn a_date_that_does_not_exist_cannot_be_translated_and_says_where() {
    let world = World::start().await;
    let token = world.token("storefront");
    let order = order_v1("J-1").replace("20.11.2026", "31.02.2026");
    let problem = world
        .orders(&token, "v1", "k", order)
        .await
        .is_problem(422, "unmappable");
    assert_eq!(problem["errors"][0]["pointer"], "/orderDate", "{problem}");
    let mapping = include_str!("../../contracts/orders/v1-v2.map.yaml");
    let written = "- date: { path: orderDate,";
    let line = 1 + mapping.lines().position(|line| line.contains(written)).unwrap();
    let step = problem["step"].as_str().unwrap();
    assert!(
        step.starts_with(&format!("orders/v1-v2.map.yaml:{line}:")) && step.ends_with(" (date)"),
        "{problem}"
    );
    assert_eq!(world.ledger("erp").await.len(), 0);
    // Operators read the whole way to the file, and count by operation.
    world
        .until("the access line names the step", async || {
            let step = format!("contracts/orders/v1-v2.map.yaml:{line}:");
            world.access_log().contains(&step)
        })
        .await;
    let counted = r#"operation="createOrder",kind="request_unmappable"} 1"#;
    assert!(world.admin("/metrics").await.text.contains(counted));
}

#[tokio::test]
async fn a_channel_over_its_limit_waits_and_knows_how_long() {
    let world = World::start_with(|folder| {
        let path = folder.join("policies/apis/crm-cases.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let start = text.find("limits:").expect("the demo API has limits");
        let end = text[start..]
            .find("\nvalidate")
            .or_else(|| text[start..].find("\nauthorize"))
            .map_or(text.len(), |end| start + end);
        let text = format!(
            "{}limits:\n  - {{ per: channel, rate: 2/m, burst: 2 }}{}",
            &text[..start],
            &text[end..]
        );
        std::fs::write(path, text).unwrap();
    })
    .await;
    let token = world.token("agent-desktop");
    let path = "/system/crm/v1/cases";
    let first = world.reads(&token, path).await;
    assert!(first.status.is_success(), "{first:?}");
    assert!(first.headers.contains_key("ratelimit"), "{first:?}");
    world.reads(&token, path).await;
    let refused = world.reads(&token, path).await;
    refused.is_problem(429, "rate-limited");
    assert!(
        (1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()),
        "{refused:?}"
    );
    assert!(refused.headers.contains_key("ratelimit-policy"), "{refused:?}");
}
