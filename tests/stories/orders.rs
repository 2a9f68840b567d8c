//! Orders of channels that speak different contract versions reach an ERP that speaks v3.

use http::Method;
use serde_json::{Value, json};

use crate::harness::World;

/// A customer the sandbox's ERP knows.
pub(crate) const CUSTOMER: &str = "10001";

/// An order in the words of v1: flat, German dates, amounts as numbers. Written as text, so that `19.90` stays `19.90`.
pub(crate) fn order_v1(number: &str) -> String {
    format!(
        r#"{{"orderNo":"{number}","customerNo":"{CUSTOMER:0>10}","custName":"Bäckerei Öz & Söhne","orderDate":"20.11.2026","reqDate":"23.11.2026","delivClass":"SD","custRef":"PO 4711","shipName":"Filiale Süd","shipStreet":"Hauptstraße 5","shipZip":"04109","shipCity":"Leipzig","shipCountry":"DE","remark":"Rampe 3","currency":"EUR","lines":[{{"pos":10,"sku":"FLOUR-405-25","desc":"Weizenmehl 25 kg","qty":12,"uom":"EA","price":19.90}},{{"pos":20,"sku":"SUGAR-1000","qty":2.5,"uom":"PAL","price":410.00}}],"total":1263.80}}"#
    )
}

/// The same order in the words of v2.
pub(crate) fn order_v2(number: &str) -> Value {
    json!({
        "orderId": number, "customer": { "id": CUSTOMER, "name": "Bäckerei Öz & Söhne" }, "orderDate": "2026-11-20",
        "priority": "standard", "customerReference": "PO 4712",
        "shipTo": { "name": "Filiale Süd", "address": { "street": "Hauptstraße 5", "zip": "04109", "city": "Leipzig", "country": "DE" } },
        "items": [{ "lineNumber": 10, "itemCode": "FLOUR-405-25", "quantity": 12, "unit": "each",
                    "unitPrice": { "amount": "19.90", "currency": "EUR" } }],
        "total": { "amount": "238.80", "currency": "EUR" }
    })
}

/// The same order in the words of v3.
pub(crate) fn order_v3(number: &str) -> Value {
    json!({
        "orderNumber": number, "orderedOn": "2026-11-20", "serviceLevel": "standard",
        "parties": { "soldTo": { "number": CUSTOMER, "name": "Bäckerei Öz & Söhne" } },
        "lines": [{ "lineNumber": 10, "sku": "FLOUR-405-25", "quantity": { "value": 12, "unit": "C62" },
                    "unitPrice": { "amount": "19.90", "currency": "EUR" } }],
        "totals": { "net": { "amount": "238.80", "currency": "EUR" } }
    })
}

impl World {
    /// Places an order as a channel that has tokens.
    pub(crate) async fn orders(
        &self,
        token: &str,
        version: &str,
        key: &str,
        body: impl Into<bytes::Bytes>,
    ) -> crate::harness::Answer {
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("content-type", "application/json".to_owned()),
            ("idempotency-key", key.to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.call(Method::POST, &format!("/system/erp/{version}/orders"), &headers, body)
            .await
    }

    /// Reads something as a channel that has tokens.
    pub(crate) async fn reads(&self, token: &str, path: &str) -> crate::harness::Answer {
        self.call(Method::GET, path, &[("authorization", &format!("Bearer {token}"))], "")
            .await
    }
}

#[tokio::test]
async fn a_v1_order_reaches_the_erp_as_v3_and_its_answer_comes_back_as_v1() {
    let world = World::start().await;
    let token = world.token("storefront");
    let answer = world.orders(&token, "v1", "key-1", order_v1("A-17")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let order = answer.json();
    assert_eq!(
        (&order["orderNo"], &order["customerNo"]),
        (&json!("A-17"), &json!(format!("{CUSTOMER:0>10}")))
    );
    assert_eq!(order["orderDate"], "20.11.2026");
    assert!(
        answer.text.contains(r#""price":19.90"#),
        "an amount kept its digits: {}",
        answer.text
    );
    assert!(
        !answer.text.contains("orderNumber"),
        "no word of v3 came through: {}",
        answer.text
    );

    let ledger = world.ledger("erp").await;
    assert_eq!(ledger.len(), 1);
    let body = &ledger[0]["body"];
    assert_eq!(
        (&body["orderNumber"], &body["orderedOn"]),
        (&json!("A-17"), &json!("2026-11-20"))
    );
    assert_eq!(body["parties"]["soldTo"]["number"], CUSTOMER);
    assert_eq!(body["parties"]["shipTo"]["address"]["city"], "Leipzig");
    assert_eq!(
        body["lines"][0]["unitPrice"],
        json!({ "amount": "19.90", "currency": "EUR" })
    );
    assert_eq!(body["lines"][1]["quantity"]["unit"], "XPX");
    assert_eq!(body["serviceLevel"], "same-day");
    assert_eq!(ledger[0]["idempotencyKey"], "key-1");
}

#[tokio::test]
async fn v2_and_v3_callers_see_the_same_order_each_in_its_own_words() {
    let world = World::start().await;
    let token = world.token("storefront");
    assert_eq!(
        world
            .orders(&token, "v2", "a", order_v2("B-2").to_string())
            .await
            .status,
        201
    );
    assert_eq!(
        world
            .orders(&token, "v3", "b", order_v3("B-3").to_string())
            .await
            .status,
        201
    );

    let v1 = world.reads(&token, "/system/erp/v1/orders/B-3").await.json();
    let v2 = world.reads(&token, "/system/erp/v2/orders/B-3").await.json();
    let v3 = world.reads(&token, "/system/erp/v3/orders/B-3").await.json();
    assert_eq!(
        (&v1["orderNo"], &v2["orderId"], &v3["orderNumber"]),
        (&json!("B-3"), &json!("B-3"), &json!("B-3"))
    );
    assert_eq!(
        (&v1["lines"][0]["uom"], &v2["items"][0]["unit"]),
        (&json!("EA"), &json!("each"))
    );

    let listed = world
        .reads(
            &token,
            &format!("/system/erp/v1/orders?customer={CUSTOMER:0>10}&limit=10"),
        )
        .await
        .json();
    assert_eq!(listed["count"], 2, "{listed}");
}

#[tokio::test]
async fn a_refusal_of_the_erp_comes_in_the_words_of_the_caller() {
    let world = World::start().await;
    let token = world.token("storefront");
    let order = order_v1("C-1").replace(&format!("{CUSTOMER:0>10}"), "0000000404");
    let answer = world.orders(&token, "v1", "c", order).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.header("content-type").starts_with("application/problem+json"));
    assert!(answer.json()["title"].is_string());
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_no_second_order() {
    let world = World::start().await;
    let token = world.token("storefront");
    let first = world.orders(&token, "v2", "same", order_v2("D-1").to_string()).await;
    let again = world.orders(&token, "v2", "same", order_v2("D-1").to_string()).await;
    assert_eq!(
        (first.status, again.status),
        (http::StatusCode::CREATED, http::StatusCode::CREATED)
    );
    assert_eq!(
        (again.header("idempotency-replayed"), &first.text),
        ("true", &again.text)
    );
    world
        .orders(&token, "v2", "same", order_v2("D-2").to_string())
        .await
        .is_problem(422, "idempotency-key-reused");
    assert_eq!(world.ledger("erp").await.len(), 1);
}

#[tokio::test]
async fn an_api_key_opens_the_same_door() {
    let world = World::start().await;
    let key = crossdock::sandbox::demo_key("edi-intake").expect("the demo's EDI intake has a key");
    let headers = [
        ("x-api-key", key),
        ("content-type", "application/json"),
        ("idempotency-key", "edi-1"),
    ];
    let answer = world
        .call(Method::POST, "/system/erp/v1/orders", &headers, order_v1("E-1"))
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn the_upstream_sees_the_gateway_and_not_the_callers_credentials() {
    let world = World::start().await;
    let token = world.token("storefront");
    let answer = world
        .call(
            Method::POST,
            "/system/erp/v3/orders",
            &[
                ("authorization", &format!("Bearer {token}")),
                ("content-type", "application/json"),
                ("idempotency-key", "f-1"),
                ("x-correlation-id", "shop-checkout-7"),
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("x-forwarded-user", "root"),
            ],
            order_v3("F-1").to_string(),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-correlation-id")),
        (201, "shop-checkout-7")
    );
    let entry = &world.ledger("erp").await[0];
    let traceparent = entry["traceparent"].as_str().unwrap();
    assert!(
        traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{traceparent}"
    );
    assert!(
        !traceparent.contains("00f067aa0ba902b7"),
        "the parent is the gateway's own span: {traceparent}"
    );
}
