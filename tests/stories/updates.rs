//! Changes by callers of an older version: what they cannot see stays, what somebody else changed is not overwritten,
//! and what is kept for later says by which mapping it was made.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, World},
    orders::{order_v1, order_v2, order_v3},
};

/// Numbers the changes of all stories.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl World {
    /// Changes an order as a channel that has tokens.
    async fn changes(&self, method: Method, token: &str, path: &str, fields: &[(&str, &str)], body: String) -> Answer {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("authorization", authorization.as_str())];
        if !fields.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        // A new request, unless the story says that it is a repeat.
        let key = format!("update-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        if !fields.iter().any(|(name, _)| *name == "idempotency-key") {
            headers.push(("idempotency-key", &key));
        }
        headers.extend(fields);
        self.call(method, path, &headers, body).await
    }

    /// Reads on a condition.
    async fn reads_if(&self, token: &str, path: &str, tag: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("if-none-match", tag)];
        self.call(Method::GET, path, &headers, "").await
    }

    async fn snapshot(&self) -> Value {
        self.admin("/snapshot").await.json()["number"].clone()
    }

    /// Changes a file and waits until that is live.
    async fn swaps(&self, file: &str, from: &str, to: &str) {
        let before = self.snapshot().await;
        self.edit(file, from, to);
        self.until("the change is live", async || self.snapshot().await != before)
            .await;
    }
}

/// A world in which mappings go live unchecked, so that a story can change them.
async fn world() -> World {
    World::start_with(|folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\nmappings: any\n")).unwrap();
    })
    .await
}

/// An order with all that only v3 can say.
fn rich_order(number: &str) -> Value {
    let mut order = order_v3(number);
    order["parties"]["shipTo"] = json!({ "name": "Filiale Süd", "phone": "+49 341 1234" });
    order["totals"]["tax"] = json!({ "amount": "45.37", "currency": "EUR" });
    order["notes"] = json!(["Rampe 3", "call before"]);
    order
}

const V1: &str = "/system/erp/v1/orders/U-1";
const V3: &str = "/system/erp/v3/orders/U-1";

#[tokio::test]
async fn a_v1_caller_changes_an_order_and_erases_nothing_of_v3() {
    let world = World::start().await;
    let token = world.token("storefront");
    let placed = world.orders(&token, "v3", "k-1", rich_order("U-1").to_string()).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let seen = world.reads(&token, V1).await;
    let tag = seen.header("etag").to_owned();
    assert!(tag.contains(";v1;r"), "{tag}");
    assert!(!seen.text.contains("1234") && !seen.text.contains("45.37"), "{seen:?}");

    let changed = seen
        .text
        .replace("\"qty\":12", "\"qty\":14")
        .replace("Rampe 3", "Rampe 4");
    let answer = world
        .changes(Method::PUT, &token, V1, &[("if-match", &tag)], changed.clone())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(answer.header("etag"), tag);
    let now = world.reads(&token, V3).await.json();
    assert_eq!(now["lines"][0]["quantity"]["value"], 14);
    assert_eq!(now["parties"]["shipTo"]["phone"], "+49 341 1234");
    assert_eq!(now["totals"]["tax"]["amount"], "45.37");
    assert_eq!(now["createdAt"], placed.json()["createdAt"]);
    // The notes were changed: v1 sees the first only and says what there is now.
    assert_eq!(now["notes"], json!(["Rampe 4"]));

    let stale = world
        .changes(Method::PUT, &token, V1, &[("if-match", &tag)], changed)
        .await;
    stale.is_problem(412, "precondition-failed");
    let removed = seen.text.replace("\"custName\":\"Bäckerei Öz & Söhne\",", "");
    assert!(removed.len() < seen.text.len());
    let answer = world.changes(Method::PUT, &token, V1, &[], removed).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let now = world.reads(&token, V3).await.json();
    assert_eq!(
        now["parties"]["soldTo"].get("name"),
        None,
        "what v1 can see and leaves out is gone"
    );
    assert_eq!(now["parties"]["shipTo"]["phone"], "+49 341 1234");
}

#[tokio::test]
async fn patches_of_a_v1_caller_are_in_its_own_words() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.orders(&token, "v3", "k-1", rich_order("U-1").to_string()).await;
    let merge = [("content-type", "application/merge-patch+json")];
    let answer = world
        .changes(
            Method::PATCH,
            &token,
            V1,
            &merge,
            r#"{"delivClass":"SD","custRef":null,"total":240.00}"#.into(),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let sent = world.ledger("erp").await.pop().unwrap();
    assert_eq!(
        sent["body"],
        json!({ "serviceLevel": "same-day", "totals": { "net": { "amount": "240.00" } } }),
        "the upstream gets the change and no more"
    );
    let operations = [("content-type", "application/json-patch+json")];
    let patch =
        r#"[{"op":"test","path":"/delivClass","value":"SD"},{"op":"replace","path":"/lines/0/uom","value":"CT"}]"#;
    let answer = world
        .changes(Method::PATCH, &token, V1, &operations, patch.into())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let now = world.reads(&token, V3).await.json();
    assert_eq!(now["lines"][0]["quantity"]["unit"], "XCT");
    assert_eq!(now["totals"]["tax"]["amount"], "45.37");

    let patch = r#"[{"op":"test","path":"/delivClass","value":"RP"}]"#;
    let answer = world
        .changes(Method::PATCH, &token, V1, &operations, patch.into())
        .await;
    assert_eq!(
        answer.is_problem(409, "update-conflict")["errors"][0]["pointer"],
        "/0/path"
    );
    let patch = r#"[{"op":"sing","path":"/delivClass"}]"#;
    let answer = world
        .changes(Method::PATCH, &token, V1, &operations, patch.into())
        .await;
    answer.is_problem(400, "malformed");
    let answer = world
        .changes(Method::PATCH, &token, V1, &merge, r#"{"delivClass":"XX"}"#.into())
        .await;
    answer.is_problem(422, "unmappable");
    let missing = V1.replace("U-1", "U-9");
    let answer = world
        .changes(Method::PATCH, &token, &missing, &merge, r#"{"custRef":"x"}"#.into())
        .await;
    assert_eq!(answer.status, 404, "{answer:?}");
}

#[tokio::test]
async fn changes_that_race_each_other_are_all_there_in_the_end() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.orders(&token, "v3", "k-1", rich_order("U-1").to_string()).await;
    let fields = [
        ("custRef", "a"),
        ("remark", "b"),
        ("shipName", "c"),
        ("shipStreet", "d"),
        ("shipCity", "e"),
        ("custName", "f"),
    ];
    let patches = fields.map(|(name, value)| {
        let (world, token) = (&world, &token);
        async move {
            let body = json!({ name: value }).to_string();
            let merge = [("content-type", "application/merge-patch+json")];
            loop {
                let answer = world.changes(Method::PATCH, token, V1, &merge, body.clone()).await;
                match answer.status.as_u16() {
                    200 => break,
                    409 => drop(answer.is_problem(409, "update-conflict")),
                    _ => panic!("{answer:?}"),
                }
            }
        }
    });
    let [first, second, third, fourth, fifth, sixth] = patches;
    tokio::join!(first, second, third, fourth, fifth, sixth);
    let now = world.reads(&token, V1).await.json();
    for (name, value) in fields {
        assert_eq!(now[name], value, "{now}");
    }
}

#[tokio::test]
async fn an_entity_tag_is_of_one_version_and_one_mapping() {
    let world = world().await;
    let token = world.token("storefront");
    world.orders(&token, "v3", "k-1", rich_order("U-1").to_string()).await;
    let tag = world.reads(&token, V1).await.header("etag").to_owned();
    let tag_v2 = world
        .reads(&token, &V1.replace("v1", "v2"))
        .await
        .header("etag")
        .to_owned();
    let tag_v3 = world.reads(&token, V3).await.header("etag").to_owned();
    assert!(!tag_v3.contains(';'), "{tag_v3}");

    let unchanged = world.reads_if(&token, V1, &format!("\"x\", {tag}")).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.text.as_str()), (304, ""));
    assert_eq!(unchanged.header("etag"), tag);
    for other in [&tag_v2, &tag_v3] {
        assert_eq!(world.reads_if(&token, V1, other).await.status, 200, "{other}");
        let answer = world
            .changes(Method::PUT, &token, V1, &[("if-match", other)], order_v1("U-1"))
            .await;
        answer.is_problem(412, "precondition-failed");
    }
    // A part of a translation is not served, and nobody is told otherwise.
    let authorization = format!("Bearer {token}");
    let whole = world
        .call(
            Method::GET,
            V1,
            &[("authorization", &authorization), ("range", "bytes=0-9")],
            "",
        )
        .await;
    assert_eq!(whole.status, 200);
    let signed = [("signature", "sig1=:eA==:"), ("signature-input", "sig1=()")];
    let answer = world.changes(Method::PUT, &token, V1, &signed, order_v1("U-1")).await;
    answer.is_problem(400, "bad-request");

    world
        .swaps(
            "contracts/orders/v1-v2.map.yaml",
            "missDown: { returned: INVOICED }",
            "missDown: { returned: SHIPPED }",
        )
        .await;
    let again = world.reads_if(&token, V1, &tag).await;
    assert_eq!(again.status, 200, "another mapping makes another representation");
    assert_ne!(again.header("etag"), tag);
    let line = world.access_log();
    assert!(line.contains("\"contract\":\"orders@v1->v3#r"), "{line}");
}

#[tokio::test]
async fn a_repeat_gets_the_stored_bytes_whatever_the_mapping_has_become() {
    let world = world().await;
    let token = world.token("storefront");
    let first = world.orders(&token, "v1", "k-1", order_v1("U-1")).await;
    assert_eq!(first.status, 201, "{first:?}");
    world
        .swaps(
            "contracts/orders/v1-v2.map.yaml",
            "OPEN: open, RELEASED: released",
            "OPEN: released, RELEASED: open",
        )
        .await;
    let again = world.orders(&token, "v1", "k-1", order_v1("U-1")).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_ne!(world.reads(&token, V1).await.json()["status"], first.json()["status"]);
}

#[tokio::test]
async fn an_update_that_waited_is_put_into_what_stands_there_then() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.orders(&token, "v3", "k-1", rich_order("U-1").to_string()).await;
    let seen = world.reads(&token, V1).await.text;
    world.fault("erp", "down").await;
    let changed = seen.replace("\"qty\":12", "\"qty\":14");
    let answer = world
        .changes(Method::PUT, &token, V1, &[("idempotency-key", "k-2")], changed)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    world.fault("erp", "up").await;
    world
        .until("the update is delivered", async || {
            world.reads(&token, &location).await.json()["state"] == "delivered"
        })
        .await;
    let now = world.reads(&token, V3).await.json();
    assert_eq!(now["lines"][0]["quantity"]["value"], 14);
    assert_eq!(now["parties"]["shipTo"]["phone"], "+49 341 1234");
    let state = world.reads(&token, &location).await;
    assert!(
        state.text.contains("\"orderNo\":\"U-1\""),
        "the answer is in the words of v1: {}",
        state.text
    );
}

/// A gateway whose ERP speaks v2, for the time before it speaks v3, and the storefront's token.
async fn with_an_erp_of_v2() -> (World, String) {
    let world = World::start_with(|folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\nmappings: any\n")).unwrap();
        let path = folder.join("policies/apis/erp-orders.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("{ name: erp, version: v3 }", "{ name: erp, version: v2 }");
        std::fs::write(&path, text).unwrap();
    })
    .await;
    let token = world.token("storefront");
    (world, token)
}

#[tokio::test]
async fn an_order_that_waited_arrives_right_though_mapping_and_upstream_version_changed() {
    let (world, token) = with_an_erp_of_v2().await;
    world.fault("erp", "down").await;
    let answer = world.orders(&token, "v1", "k-1", order_v1("U-1")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    world
        .swaps(
            "contracts/orders/v1-v2.map.yaml",
            "SD: same-day, ST: standard",
            "SD: standard, ST: same-day",
        )
        .await;
    world
        .swaps(
            "policies/apis/erp-orders.yaml",
            "{ name: erp, version: v2 }",
            "{ name: erp, version: v3 }",
        )
        .await;
    world.fault("erp", "up").await;
    world
        .until("the order is delivered", async || {
            world.reads(&token, &location).await.json()["state"] == "delivered"
        })
        .await;
    let sent = world.ledger("erp").await.pop().unwrap();
    assert_eq!(sent["body"]["orderNumber"], "U-1", "in the words of v3: {sent}");
    assert_eq!(
        sent["body"]["serviceLevel"], "same-day",
        "by the mapping it was accepted under: {sent}"
    );
    let state = world.reads(&token, &location).await;
    assert!(state.text.contains("\"orderNo\":\"U-1\""), "{}", state.text);
}

#[tokio::test]
async fn an_order_that_waits_is_put_right_in_the_words_it_was_accepted_for() {
    let (world, token) = with_an_erp_of_v2().await;
    world.operator(&["queue", "pause", "upstream:erp"]).await;
    let answer = world.orders(&token, "v1", "k-1", order_v1("U-1")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let location = answer.header("location").to_owned();
    let id = location.rsplit('/').next().unwrap();
    world
        .swaps(
            "policies/apis/erp-orders.yaml",
            "{ name: erp, version: v2 }",
            "{ name: erp, version: v3 }",
        )
        .await;
    let edit = async |body: Value| {
        let file = world.folder().join("body.json");
        std::fs::write(&file, body.to_string()).unwrap();
        let words = [
            "queue",
            "edit",
            id,
            "--reason",
            "typo",
            "--body",
            file.to_str().unwrap(),
        ];
        world.operator(&words).await
    };
    let refused = edit(order_v3("U-1")).await;
    assert!(
        !refused.is_well && refused.err.contains("contract version v2"),
        "{refused:?}"
    );
    assert!(refused.err.contains("orderId"), "{refused:?}");
    let mut right = order_v2("U-1");
    right["priority"] = "same-day".into();
    let done = edit(right).await;
    assert!(done.is_well, "{done:?}");
    world.operator(&["queue", "resume", "upstream:erp"]).await;
    world
        .until("the order is delivered", async || {
            world.reads(&token, &location).await.json()["state"] == "delivered"
        })
        .await;
    let sent = world.ledger("erp").await.pop().unwrap();
    assert_eq!(
        (&sent["body"]["orderNumber"], &sent["body"]["serviceLevel"]),
        (&json!("U-1"), &json!("same-day")),
        "in the words of v3: {sent}"
    );
}

#[tokio::test]
async fn keys_of_a_table_in_a_file_are_translated_and_a_new_row_is_live_at_once() {
    let world = World::start_with(|folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\nmappings: any\n")).unwrap();
        let contract = folder.join("contracts/orders");
        std::fs::create_dir(contract.join("tables")).unwrap();
        std::fs::write(contract.join("tables/sku.csv"), "sap;shop\nFLOUR-405-25;4711\n").unwrap();
        let path = contract.join("v1-v2.map.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace(
                "tables:\n",
                "tables:\n  sku: { file: tables/sku.csv, older: sap, newer: shop }\n",
            )
            .replace(
                "- move: { from: sku, to: itemCode }",
                "- lookup: { from: sku, to: itemCode, table: sku }",
            );
        std::fs::write(&path, text).unwrap();
    })
    .await;
    let token = world.token("storefront");
    let refused = world.orders(&token, "v1", "k-1", order_v1("U-1")).await;
    let problem = refused.is_problem(422, "unmappable");
    assert_eq!(problem["errors"][0]["pointer"], "/lines/1/sku", "{problem}");
    world
        .swaps(
            "contracts/orders/tables/sku.csv",
            "FLOUR-405-25;4711\n",
            "FLOUR-405-25;4711\nSUGAR-1000;4712\n",
        )
        .await;
    let answer = world.orders(&token, "v1", "k-2", order_v1("U-1")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let sent = world.ledger("erp").await.pop().unwrap();
    assert_eq!(
        (&sent["body"]["lines"][0]["sku"], &sent["body"]["lines"][1]["sku"]),
        (&json!("4711"), &json!("4712"))
    );
    assert_eq!(answer.json()["lines"][1]["sku"], "SUGAR-1000");
}
