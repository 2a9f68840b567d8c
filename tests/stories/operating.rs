//! Operators see what waits, decide about what failed, and every decision is on record.

use std::process::Output;

use serde_json::Value;

use crate::{
    harness::{World, crossdock},
    orders::order_v3,
};

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) is_well: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Whether it says that it went well.
    pub(crate) fn is_well(&self) -> bool {
        self.is_well
    }

    /// What it said of what went wrong.
    pub(crate) fn err(&self) -> &str {
        &self.err
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            is_well: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl World {
    /// Runs `crossdock WORDS --config …` as operator jo.
    pub(crate) async fn operator(&self, words: &[&str]) -> Said {
        let mut command = crossdock();
        command.args(words).arg("--config").arg(self.config()).env("USER", "jo");
        tokio::task::spawn_blocking(move || command.output().unwrap().into())
            .await
            .unwrap()
    }

    /// The messages that `crossdock queue list` finds.
    async fn listed(&self, filter: &[&str]) -> Vec<Value> {
        let words = [&["queue", "list", "--format", "json"], filter].concat();
        let said = self.operator(&words).await;
        assert!(said.is_well, "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Sends a shipment of an order, and returns the id of the message it became.
    pub(crate) async fn ships(&self, token: &str, order: &str, key: &str) -> String {
        let body = serde_json::json!({
            "shipmentNumber": key, "shippedAt": "2026-11-20T10:00:00Z",
            "lines": [{ "lineNumber": 10, "quantity": { "value": 1, "unit": "C62" } }]
        });
        let path = format!("/system/erp/v3/orders/{order}/shipments");
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let answer = self.call(http::Method::POST, &path, &headers, body.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").rsplit('/').next().unwrap().to_owned()
    }

    async fn is(&self, id: &str, state: &str) -> bool {
        let said = self.operator(&["queue", "show", id, "--format", "json"]).await;
        let shown: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        shown["message"]["state"] == state
    }
}

#[tokio::test]
async fn what_failed_waits_for_a_decision_and_the_decision_is_on_record() {
    let world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    // The shipment comes before its order: the ERP will not know what to ship.
    let shipment = world.ships(&token, "O-1", "1001").await;
    let order = world
        .orders(&token, "v3", "create-1", order_v3("O-1").to_string())
        .await;
    assert_eq!(order.status, 202, "{order:?}");
    let order = order.header("location").rsplit('/').next().unwrap().to_owned();
    let waiting = world.listed(&["--key", "O-1"]).await;
    let ids: Vec<_> = waiting.iter().map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&shipment, &order]);

    world.fault("erp", "up").await;
    world
        .until("the shipment is dead", async || world.is(&shipment, "dead").await)
        .await;
    assert!(world.is(&order, "waiting").await, "it waits until somebody decides");
    let dead = world.listed(&["--state", "dead", "--class", "business"]).await;
    assert_eq!((dead.len(), dead[0]["channel"].as_str()), (1, Some("storefront")));
    assert!(world.listed(&["--class", "partner"]).await.is_empty());

    // A decision needs a reason, many need a yes.
    let refused = world.operator(&["queue", "discard", &shipment]).await;
    assert!(!refused.is_well && refused.err.contains("reason"), "{refused:?}");
    let preview = world
        .operator(&["queue", "discard", "--state", "dead", "--reason", "sent too early"])
        .await;
    assert!(
        !preview.is_well && preview.err.contains("discard: 1 messages"),
        "{preview:?}"
    );
    assert!(
        preview.err.contains(&shipment) && preview.err.contains("--yes"),
        "{preview:?}"
    );
    assert!(world.is(&shipment, "dead").await);
    let done = world
        .operator(&[
            "queue",
            "discard",
            "--state",
            "dead",
            "--reason",
            "sent too early",
            "--yes",
        ])
        .await;
    assert!(done.is_well && done.out.contains("1 of 1"), "{done:?}");
    world
        .until("the order is delivered", async || world.is(&order, "delivered").await)
        .await;

    let log = world.operator(&["audit", "list"]).await;
    for expected in ["jo", "discard", &shipment, "sent too early", "dead -> discarded"] {
        assert!(log.out.contains(expected), "{expected} in {log:?}");
    }
    let sound = world.operator(&["audit", "verify"]).await;
    assert!(
        sound.is_well && sound.out.contains("1 entries, none changed"),
        "{sound:?}"
    );
    let head = sound.out.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(world.operator(&["audit", "verify", "--head", &head]).await.is_well);
    let longer = head.replacen("1:", "2:", 1);
    let cut = world.operator(&["audit", "verify", "--head", &longer]).await;
    assert!(!cut.is_well && cut.err.contains("cut off"), "{cut:?}");
}

#[tokio::test]
async fn a_dead_message_is_put_right_and_delivered() {
    let world = World::start().await;
    let token = world.token("storefront");
    let order = world
        .orders(&token, "v3", "create-1", order_v3("O-1").to_string())
        .await;
    assert_eq!(order.status, 201, "{order:?}");
    // Held back, so that nothing of it gets to the ERP meanwhile.
    assert!(world.operator(&["queue", "pause", "upstream:erp"]).await.is_well);
    let shipment = world.ships(&token, "O-1", "1001").await;
    let file = world.folder().join("body.json");
    let edit = [
        "queue",
        "edit",
        &shipment,
        "--reason",
        "typo",
        "--body",
        file.to_str().unwrap(),
    ];
    std::fs::write(&file, r#"{"shipmentNumber":1001}"#).unwrap();
    let refused = world.operator(&edit).await;
    assert!(
        !refused.is_well && refused.err.contains("/shipmentNumber"),
        "{refused:?}"
    );

    let body = r#"{"shipmentNumber":"2002","shippedAt":"2026-11-20T10:00:00Z",
        "lines":[{"lineNumber":10,"quantity":{"value":1.50,"unit":"C62"}}]}"#;
    std::fs::write(&file, body).unwrap();
    let done = world.operator(&edit).await;
    assert!(done.is_well, "{done:?}");
    let shown = world.operator(&["queue", "show", &shipment, "--format", "json"]).await;
    assert!(shown.out.contains("1.50"), "digits stay: {shown:?}");
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["former"][0]["body"]["shipmentNumber"], "1001");
    assert_eq!(shown["request"]["idempotencyKey"], "1001.1");

    assert!(world.operator(&["queue", "resume", "upstream:erp"]).await.is_well);
    world
        .until("it is delivered", async || world.is(&shipment, "delivered").await)
        .await;
    let ledger = world.ledger("erp").await;
    assert_eq!(ledger.last().unwrap()["idempotencyKey"], "1001.1");
}

#[tokio::test]
async fn a_planned_outage_is_a_pause() {
    let world = World::start().await;
    let token = world.token("storefront");
    let paused = world
        .operator(&["queue", "pause", "upstream:erp", "--reason", "release night"])
        .await;
    assert!(paused.is_well, "{paused:?}");
    // The ERP is up, and yet gets nothing.
    let answer = world.orders(&token, "v3", "k-1", order_v3("P-1").to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let stats = world.operator(&["queue", "stats"]).await;
    for expected in ["paused", "upstream:erp", "release night", "an outage"] {
        assert!(stats.out.contains(expected), "{expected} in {stats:?}");
    }
    assert!(world.ledger("erp").await.is_empty());

    let resumed = world.operator(&["queue", "resume", "upstream:erp"]).await;
    assert!(resumed.is_well, "{resumed:?}");
    let drained = world.operator(&["queue", "drain"]).await;
    assert!(drained.is_well, "{drained:?}");
    assert_eq!(world.ledger("erp").await.len(), 1);

    let wrong = world.operator(&["queue", "pause", "erp"]).await;
    assert!(!wrong.is_well && wrong.err.contains("upstream:NAME"), "{wrong:?}");
}

#[tokio::test]
async fn a_queue_moves_to_another_gateway() {
    let mut world = World::start().await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let shipment = world.ships(&token, "O-1", "1001").await;
    let file = world.folder().join("queue.ndjson");
    let export = ["queue", "export", file.to_str().unwrap()];
    let refused = world.operator(&export).await;
    assert!(
        !refused.is_well && refused.err.contains("pause `all` first"),
        "{refused:?}"
    );
    assert!(!file.exists());

    // A stopped gateway can be looked at all the same.
    world.signals_gateway("TERM");
    assert!(world.gateway_ends().await);
    let listed = world.operator(&["queue", "list"]).await;
    assert!(listed.is_well && listed.out.contains(&shipment), "{listed:?}");
    assert!(listed.err.contains("no gateway answers"), "{listed:?}");
    assert!(world.operator(&["queue", "stats"]).await.out.contains("stopped"));
    let impossible = world.operator(&["queue", "retry", &shipment]).await;
    assert!(
        !impossible.is_well && impossible.err.contains("needs a running gateway"),
        "{impossible:?}"
    );
    let exported = world.operator(&export).await;
    assert!(
        exported.is_well && exported.out.starts_with("1 messages"),
        "{exported:?}"
    );

    // A gateway with a folder of its own takes over.
    std::fs::rename(world.folder().join("state"), world.folder().join("old-state")).unwrap();
    world.starts_gateway().await;
    assert!(world.listed(&[]).await.is_empty());
    let import = ["queue", "import", file.to_str().unwrap(), "--reason", "new machine"];
    let imported = world.operator(&import).await;
    assert!(
        imported.is_well && imported.out.contains("1 messages taken over"),
        "{imported:?}"
    );
    assert!(
        world
            .operator(&import)
            .await
            .out
            .contains("0 messages taken over, 1 were known")
    );
    world.fault("erp", "up").await;
    world
        .until("the ERP has answered", async || world.is(&shipment, "dead").await)
        .await;
    assert!(world.operator(&["audit", "verify"]).await.is_well);
}
