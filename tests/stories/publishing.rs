//! Policies and contracts change while traffic runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::harness::{World, crossdock};

/// Number of the snapshot in force.
async fn snapshot(world: &World) -> u64 {
    world.admin("/snapshot").await.json()["number"].as_u64().unwrap()
}

#[tokio::test]
async fn an_edit_is_live_within_the_second_and_a_broken_one_changes_nothing() {
    let world = World::start().await;
    let token = world.token_with("storefront", &["--scope", "orders:read"]);
    let orders = "/system/erp/v3/orders";
    assert_eq!(world.reads(&token, orders).await.status, 200);

    let api = "policies/apis/erp-orders.yaml";
    let before = std::fs::read_to_string(world.folder().join(api)).unwrap();
    world.edit(api, "listOrders: [orders:read]", "listOrders: [orders:write]");
    world
        .until("the edit is live", async || {
            world.reads(&token, orders).await.status == 403
        })
        .await;

    world.edit(api, "authenticate:", "authentificate:");
    world
        .until("the mistake is reported", async || {
            world.gateway_log().contains("authentificate")
        })
        .await;
    let log = world.gateway_log();
    assert!(log.contains("erp-orders.yaml"), "{log}");
    assert_eq!(
        world.reads(&token, orders).await.status,
        403,
        "the running snapshot stays"
    );
    assert!(
        world.admin("/snapshot").await.text.contains("authentificate"),
        "the last error is shown"
    );

    std::fs::write(world.folder().join(api), before).unwrap();
    world
        .until("the repaired file is live", async || {
            world.reads(&token, orders).await.status == 200
        })
        .await;
}

#[tokio::test]
async fn a_changed_mapping_stays_out_until_it_was_checked() {
    let world = World::start().await;
    let first = snapshot(&world).await;
    let map = "contracts/orders/v1-v2.map.yaml";
    world.edit(
        map,
        "its callers see the first note only",
        "its callers see but the first note",
    );
    world
        .until("the gateway says what to do", async || {
            world.gateway_log().contains("crossdock contract check orders")
        })
        .await;
    assert_eq!(snapshot(&world).await, first, "the running snapshot stays");
    let check = |arguments: &[&str]| {
        crossdock()
            .args(["contract", "check", "orders", "--contracts"])
            .arg(world.folder().join("contracts"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = check(&["--verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("changed after they were checked"));

    let output = check(&["--cases", "60"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("verdict: GOOD"));
    world
        .until("the checked mapping is live", async || snapshot(&world).await > first)
        .await;
    assert!(check(&["--verify"]).status.success());

    // A mapping that loses what it does not say is refuted, with the smallest order that shows it.
    world.edit(
        "contracts/orders/v2/openapi.yaml",
        "itemCode: { type: string, minLength: 1, maxLength: 40 }",
        "itemCode: { type: string, minLength: 1, maxLength: 20 }",
    );
    let output = check(&["--cases", "200", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let reports: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = reports[0]["ways"][0]["lenses"].as_array().unwrap().iter();
    let findings: Vec<_> = findings.flat_map(|lens| lens["findings"].as_array().unwrap()).collect();
    let wrong = findings.iter().find(|finding| finding["weight"] == "error").unwrap();
    assert!(wrong["path"].as_str().unwrap().ends_with("items[].itemCode"), "{wrong}");
    assert_eq!(wrong["op"], "move");
    assert!(
        wrong["line"].as_u64().unwrap() > 30 && wrong["witness"].as_str().unwrap().len() < 400,
        "{wrong}"
    );
}

#[tokio::test]
async fn a_hundred_swaps_under_load_fail_no_request() {
    let world = Arc::new(World::start().await);
    let token = world.token("storefront");
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (world, token, stop, sent) = (world.clone(), token.clone(), stop.clone(), sent.clone());
        clients.spawn(async move {
            let version = ["v1", "v2", "v3"][client % 3];
            while !stop.load(Ordering::Relaxed) {
                let answer = world
                    .reads(&token, &format!("/system/erp/{version}/orders?limit=5"))
                    .await;
                assert_eq!(answer.status, 200, "{answer:?}");
                sent.fetch_add(1, Ordering::Relaxed);
                // The channel's limit is not what this story is about.
                tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            }
        });
    }
    let first = snapshot(&world).await;
    for swap in 1..=100_u64 {
        let path = world.folder().join("policies/channels/storefront.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("# swap")).collect();
        std::fs::write(path, format!("{}\n# swap {swap}\n", text.join("\n"))).unwrap();
        world
            .until("the swap is live", async || snapshot(&world).await >= first + swap)
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert!(sent.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn check_finds_all_mistakes_of_all_files_at_once() {
    let world = World::start().await;
    let check = || {
        crossdock()
            .args(["check", "--config"])
            .arg(world.config())
            .output()
            .unwrap()
    };
    assert!(check().status.success(), "{}", String::from_utf8_lossy(&check().stderr));

    world.edit(
        "policies/apis/erp-orders.yaml",
        "name: erp-orders",
        "name: erp-orders\nlimit: 3",
    );
    world.edit("policies/apis/crm-cases.yaml", "name: crm,", "name: crn,");
    world.edit(
        "policies/channels/storefront.yaml",
        "issuer: sandbox",
        "issuer: sandpit",
    );
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for expected in [
        "erp-orders.yaml",
        "limit",
        "crm-cases.yaml",
        "crn",
        "storefront.yaml",
        "sandpit",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn every_kind_has_a_schema_and_a_wrong_kind_is_told_the_right_ones() {
    for kind in ["gateway", "issuer", "upstream", "channel", "api", "mapping"] {
        let output = crossdock().args(["schema", kind]).output().unwrap();
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{kind}");
    }
    let output = crossdock().args(["schema", "nonsense"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("upstream"));
}

#[tokio::test]
async fn a_second_gateway_on_the_same_state_or_port_says_so() {
    let world = World::start().await;
    let output = crossdock()
        .args(["serve", "--config"])
        .arg(world.config())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("state"), "{text}");
}
