//! An outage of the ERP is a delay and not a loss, even when the gateway is killed in the middle.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::Value;

use crate::{
    harness::{Answer, World},
    orders::{order_v1, order_v2, order_v3},
};

impl World {
    async fn status(&self, token: &str, location: &str) -> Answer {
        self.reads(token, location).await
    }

    async fn is_delivered(&self, token: &str, location: &str) -> bool {
        self.status(token, location).await.json()["state"] == "delivered"
    }
}

#[tokio::test]
async fn an_order_placed_while_the_erp_is_down_arrives_once_it_is_back() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let answer = world.orders(&token, "v1", "k-17", order_v1("A-17")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    assert!(location.starts_with("/status/"), "{location}");
    let state = world.status(&token, &location).await.json();
    assert!(
        ["waiting", "attempting", "inDoubt"].contains(&state["state"].as_str().unwrap()),
        "{state}"
    );

    let again = world.orders(&token, "v1", "k-17", order_v1("A-17")).await;
    assert_eq!(
        (again.status.as_u16(), again.header("location")),
        (202, location.as_str()),
        "a repeat is the same message"
    );

    world.fault("erp", "up").await;
    world
        .until("the order is delivered", async || {
            world.is_delivered(&token, &location).await
        })
        .await;
    let state = world.status(&token, &location).await;
    assert_eq!(state.json()["response"]["status"], 201);
    assert_eq!(
        state.json()["response"]["body"]["orderNo"],
        "A-17",
        "in the words of v1: {}",
        state.text
    );
    assert!(state.text.contains("19.90"), "{}", state.text);

    let ledger = world.ledger("erp").await;
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0]["idempotencyKey"], "k-17");

    let replayed = world.orders(&token, "v1", "k-17", order_v1("A-17")).await;
    assert_eq!(
        replayed.status, 201,
        "a late repeat gets the final answer: {replayed:?}"
    );
}

#[tokio::test]
async fn a_message_is_shown_to_the_channel_that_sent_it_and_to_no_other() {
    let world = World::start().await;
    world.fault("erp", "down").await;
    let answer = world
        .orders(&world.token("storefront"), "v2", "k", order_v2("B-1").to_string())
        .await;
    let location = answer.header("location").to_owned();
    world
        .reads(&world.token("marketplace"), &location)
        .await
        .is_problem(404, "unknown-message");
    world
        .call(Method::GET, &location, &[], "")
        .await
        .is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_timeout_after_the_effect_does_not_become_a_second_order() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "slow").await;
    let answer = world.orders(&token, "v2", "slow-1", order_v2("S-1").to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    world.fault("erp", "up").await;
    let location = answer.header("location").to_owned();
    world
        .until("the order is delivered", async || {
            world.is_delivered(&token, &location).await
        })
        .await;
    let orders = world
        .ledger("erp")
        .await
        .into_iter()
        .filter(|entry| entry["operation"] == "createOrder");
    assert_eq!(orders.count(), 1);
}

#[tokio::test]
async fn a_client_may_ask_to_be_answered_at_once() {
    let world = World::start().await;
    let token = world.token("storefront");
    let headers = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".into()),
        ("idempotency-key", "async-1".into()),
        ("prefer", "respond-async".into()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = world
        .call(
            Method::POST,
            "/system/erp/v3/orders",
            &headers,
            order_v3("P-1").to_string(),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("preference-applied")),
        (202, "respond-async")
    );
    let location = answer.header("location").to_owned();
    world
        .until("the order is delivered", async || {
            world.is_delivered(&token, &location).await
        })
        .await;
}

#[tokio::test]
async fn after_an_outage_the_vendors_limit_is_kept_and_metrics_say_so() {
    let world = World::start_with(|folder| {
        let path = folder.join("policies/upstreams/erp.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}delivery: {{ limits: [{{ rate: 5/s }}] }}\n")).unwrap();
    })
    .await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    for number in 0..10 {
        let order = format!("L-{number}");
        let answer = world.orders(&token, "v3", &order, order_v3(&order).to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let says = async |series: &str| world.admin("/metrics").await.text.contains(series);
    // One that answers, but not with what is wanted, is left alone for as long as it says.
    world.fault("erp", "throttle").await;
    let pauses = r#"crossdock_queue_holds_total{upstream="erp",cause="pause"}"#;
    world.until(pauses, async || says(pauses).await).await;

    let up = Instant::now();
    world.fault("erp", "up").await;
    world
        .until("all are delivered", async || world.ledger("erp").await.len() >= 10)
        .await;
    assert!(
        up.elapsed() >= Duration::from_millis(1_750),
        "ten in {:?}",
        up.elapsed()
    );
    for series in [
        r#"crossdock_queue_holds_total{upstream="erp",cause="limit"}"#,
        r#"crossdock_queue_attempts_total{upstream="erp",outcome="delivered",class="none"} 10"#,
        r#"crossdock_queue_waiting{upstream="erp",lane="standard"}"#,
        r#"crossdock_queue_pace{upstream="erp"}"#,
        r#"crossdock_upstream_retries_refused_total{upstream="erp"} 0"#,
    ] {
        world.until(series, async || says(series).await).await;
    }
}

/// Several order keys, several requests each, while the ERP goes away and comes back and the gateway is killed. Every
/// request that was answered with 201 or 202 is in the ERP's ledger exactly once, in the order in which it was accepted.
#[tokio::test]
async fn crash_in_the_middle_of_an_outage_loses_nothing_doubles_nothing_and_keeps_order() {
    let rounds: usize = std::env::var("CROSSDOCK_CRASHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    let mut world = World::start().await;
    let token = world.token("storefront");
    let mut acknowledged: HashMap<String, Vec<String>> = HashMap::new();
    for round in 0..rounds {
        let mode = ["down", "flaky", "slow"][round % 3];
        world.fault("erp", mode).await;
        for key in 0..4 {
            let order = format!("R{round}-{key}");
            let created = format!("create-{order}");
            if !accepted(
                &world,
                &token,
                "/system/erp/v3/orders",
                &created,
                order_v3(&order).to_string(),
            )
            .await
            {
                continue;
            }
            acknowledged.entry(order.clone()).or_default().push(created);
            let shipped = format!("ship-{order}");
            let body = serde_json::json!({
                "shipmentNumber": format!("{}{key}1", round + 1), "shippedAt": "2026-11-20T10:00:00Z",
                "lines": [{ "lineNumber": 10, "quantity": { "value": 1, "unit": "C62" } }]
            });
            let path = format!("/system/erp/v3/orders/{order}/shipments");
            if accepted(&world, &token, &path, &shipped, body.to_string()).await {
                acknowledged.entry(order).or_default().push(shipped);
            }
        }
        if round % 2 == 1 {
            // The kill may fall into the middle of a delivery.
            world.fault("erp", "up").await;
        }
        world.kills_gateway();
        world.starts_gateway().await;
    }
    world.fault("erp", "up").await;
    let expected: usize = acknowledged.values().map(Vec::len).sum();
    assert!(expected >= rounds * 4, "most were accepted: {expected}");
    world
        .until("everything is in the ledger", async || {
            keys(&world).await.len() >= expected
        })
        .await;
    let world_is_quiet = async || {
        let metrics = world.admin("/metrics").await.text;
        metrics
            .lines()
            .filter(|line| line.starts_with("crossdock_queue_waiting"))
            .all(|line| line.ends_with(" 0"))
    };
    world.until("the queue is empty", world_is_quiet).await;

    let ledger = keys(&world).await;
    for (order, sent) in &acknowledged {
        let done: Vec<&String> = ledger
            .iter()
            .filter(|key| key.ends_with(&format!("-{order}")))
            .collect();
        assert_eq!(done, sent.iter().collect::<Vec<_>>(), "{order}: once each and in order");
    }
}

async fn keys(world: &World) -> Vec<String> {
    let key = |entry: &Value| entry["idempotencyKey"].as_str().unwrap_or_default().to_owned();
    world.ledger("erp").await.iter().map(key).collect()
}

/// Sends until there is an answer, as a good client does: the same key each time.
async fn accepted(world: &World, token: &str, path: &str, key: &str, body: String) -> bool {
    for _ in 0..20 {
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("content-type", "application/json".into()),
            ("idempotency-key", key.to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match world.tries(Method::POST, path, &headers, body.clone()).await {
            Some(answer) if answer.status.is_success() => return true,
            Some(answer) if answer.status.is_client_error() && answer.status != 409 => panic!("{answer:?}"),
            _ => {}
        }
    }
    false
}
