//! A crash between an upstream's success and the gateway's record is a doubt, and the doubt is resolved by the rules.

use std::path::Path;

use http::Method;

use crate::{
    harness::{Answer, World},
    orders::order_v3,
};

/// Makes orders durable, and the ERP one that does not honour keys; `more` is added to the fallback.
fn durable(folder: &Path, more: &str) {
    let edit = |file: &str, from: &str, to: &str| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from:?}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    edit(
        "policies/apis/erp-orders.yaml",
        "idempotency: { required: [createOrder, updateOrder, confirmShipment, cancelOrder] }",
        "idempotency: { required: [createOrder, updateOrder, confirmShipment, cancelOrder], durable: [createOrder],\n  \
         derive: { v1: [/orderNo], v2: [/orderId], v3: [/orderNumber, hash:/lines] } }",
    );
    edit(
        "policies/apis/erp-orders.yaml",
        "  operations: [createOrder, updateOrder, confirmShipment, cancelOrder]\n",
        &format!("  operations: [createOrder, updateOrder, confirmShipment, cancelOrder]\n{more}"),
    );
    edit(
        "policies/upstreams/erp.yaml",
        "repeats: { honoured: { header: Idempotency-Key, perChannel: false, retention: 24h } }",
        "repeats: unsafe",
    );
}

const LOOKUP: &str =
    "  lookup: { createOrder: { operation: getOrder, values: { orderNumber: /orderNumber }, settle: 1s } }\n";

impl World {
    /// Sends an order until the gateway says something other than that it is busy with it.
    async fn asks_for(&self, token: &str, key: &str, number: &str) -> Answer {
        loop {
            let answer = self.orders(token, "v3", key, order_v3(number).to_string()).await;
            if answer.status != 409 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    }

    /// An order whose gateway is killed while the ERP works on it: it gets there, and nobody knows.
    async fn loses_sight_of(&mut self, token: &str, number: &str) {
        self.fault("erp", "slow").await;
        let body = order_v3(number).to_string();
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", number),
        ];
        {
            let sending = self.tries(Method::POST, "/system/erp/v3/orders", &headers, body);
            tokio::pin!(sending);
            let stored = async {
                // Sent and in the ERP's books, but not answered.
                while self.ledger("erp").await.is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = &mut sending => {}
                () = stored => {}
            }
        }
        self.kills_gateway();
        self.fault("erp", "up").await;
        self.starts_gateway().await;
    }
}

#[tokio::test]
async fn a_durable_answer_is_replayed_after_a_crash() {
    let mut world = World::start_with(|folder| durable(folder, "")).await;
    let token = world.token("storefront");
    let first = world.orders(&token, "v3", "k-1", order_v3("D-1").to_string()).await;
    assert_eq!(first.status, 201, "{first:?}");
    world.kills_gateway();
    world.starts_gateway().await;
    let again = world.orders(&token, "v3", "k-1", order_v3("D-1").to_string()).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    world
        .orders(&token, "v3", "k-1", order_v3("D-2").to_string())
        .await
        .is_problem(422, "idempotency-key-reused");
    assert_eq!(world.ledger("erp").await.len(), 1);
}

#[tokio::test]
async fn a_crash_after_the_effect_is_found_out_by_a_lookup() {
    let mut world = World::start_with(|folder| durable(folder, LOOKUP)).await;
    let token = world.token("storefront");
    world.loses_sight_of(&token, "D-1").await;
    let answer = world.asks_for(&token, "D-1", "D-1").await;
    assert!(answer.status.is_success(), "{answer:?}");
    world
        .until("the order is found in the ERP", async || {
            world.asks_for(&token, "D-1", "D-1").await.status == 200
        })
        .await;
    let found = world.asks_for(&token, "D-1", "D-1").await;
    assert_eq!(found.json()["orderNumber"], "D-1");
    assert_eq!(world.ledger("erp").await.len(), 1, "once");
}

#[tokio::test]
async fn without_any_way_to_find_out_a_person_is_asked() {
    let mut world = World::start_with(|folder| durable(folder, "")).await;
    let token = world.token("storefront");
    world.loses_sight_of(&token, "D-1").await;
    let answer = world.asks_for(&token, "D-1", "D-1").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    world
        .until("the order is parked", async || {
            world.reads(&token, &location).await.json()["state"] == "parked"
        })
        .await;
    assert_eq!(world.ledger("erp").await.len(), 1, "not sent again");
}

#[tokio::test]
async fn where_a_channel_sends_no_key_the_order_itself_is_one() {
    let world = World::start_with(|folder| durable(folder, LOOKUP)).await;
    let token = world.token("storefront");
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let send = async |body: serde_json::Value| {
        world
            .call(Method::POST, "/system/erp/v3/orders", &headers, body.to_string())
            .await
    };
    let first = send(order_v3("N-1")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = send(order_v3("N-1")).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (201, "true")
    );
    let ledger = world.ledger("erp").await;
    assert_eq!(ledger.len(), 1);
    // What nobody can derive a key from is refused as before.
    let mut without = order_v3("N-2");
    without.as_object_mut().unwrap().remove("orderNumber");
    send(without).await.is_problem(400, "idempotency-key-missing");
}

#[tokio::test]
async fn a_client_may_wait_for_the_end() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let answer = world.orders(&token, "v3", "w-1", order_v3("W-1").to_string()).await;
    let location = answer.header("location").to_owned();
    let bearer = format!("Bearer {token}");
    let read = async |more: &[(&str, &str)]| {
        let headers = [&[("authorization", bearer.as_str())], more].concat();
        world.call(Method::GET, &location, &headers, "").await
    };
    world.fault("erp", "up").await;
    let done = read(&[("prefer", "wait=60")]).await;
    assert_eq!(
        (done.json()["state"].as_str(), done.header("preference-applied")),
        (Some("delivered"), "wait=60")
    );
    let tag = done.header("etag").to_owned();
    let same = read(&[("if-none-match", &tag)]).await;
    assert_eq!(
        (same.status.as_u16(), same.text.as_str(), same.header("etag")),
        (304, "", tag.as_str())
    );
}
