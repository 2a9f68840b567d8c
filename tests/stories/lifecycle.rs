//! Versions come, are tried, grow old and go, while channels go on calling.

use std::path::Path;

use http::Method;

use crate::harness::{Answer, World};

const API: &str = "policies/apis/erp-orders.yaml";

/// Replaces text in a file of the folder, before the gateway starts.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} does not hold {from:?}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Takes the version out of the path, so that callers choose it otherwise.
fn unversioned(folder: &Path) {
    edit(folder, API, "path: /system/erp/{version}", "path: /system/erp");
}

/// Lists orders as a channel, with further fields.
async fn lists(world: &World, token: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(fields);
    world.call(Method::GET, path, &headers, "").await
}

#[tokio::test]
async fn a_caller_gets_the_version_it_names_else_its_pin_else_the_default() {
    let world = World::start_with(|folder| {
        unversioned(folder);
        edit(folder, API, "authenticate:", "defaultVersion: v3\nauthenticate:");
        edit(
            folder,
            "policies/channels/storefront.yaml",
            "scopes:",
            "versions: { erp-orders: v2 }\nscopes:",
        );
    })
    .await;
    let (pinned, other) = (world.token("storefront"), world.token("marketplace"));
    for (token, fields, expected) in [
        (&other, &[][..], "v3"),
        (&pinned, &[], "v2"),
        (&pinned, &[("accept-version", "v1")], "v1"),
        (&other, &[("accept", "application/json; version=v2")], "v2"),
        (&other, &[("accept", "application/json")], "v3"),
        (
            &other,
            &[("accept-version", "v1"), ("accept", "application/json; version=v1")],
            "v1",
        ),
    ] {
        let answer = lists(&world, token, "/system/erp/orders", fields).await;
        assert_eq!(answer.status, 200, "{fields:?}: {answer:?}");
        assert_eq!(answer.header("content-version"), expected, "{fields:?}");
        assert!(answer.header("vary").contains("Accept-Version"), "{answer:?}");
    }
    for (fields, status, slug) in [
        (&[("accept-version", "v9")][..], 400, "unknown-version"),
        (&[("accept", "application/json; version=v9")], 406, "unknown-version"),
        (
            &[("content-type", "application/json; version=v9")],
            415,
            "unknown-version",
        ),
        (
            &[("accept-version", "v1"), ("accept", "application/json; version=v2")],
            400,
            "conflicting-versions",
        ),
    ] {
        let answer = lists(&world, &other, "/system/erp/orders", fields).await;
        let problem = answer.is_problem(status, slug);
        if slug == "unknown-version" {
            assert_eq!(problem["offered"], serde_json::json!(["v1", "v2", "v3"]));
        }
        assert!(answer.header("vary").contains("Accept"), "{answer:?}");
    }
    // An order in the words of the version that its content type names arrives in the upstream's.
    let headers = [
        ("authorization", format!("Bearer {other}")),
        ("content-type", "application/json; version=v1".to_owned()),
        ("idempotency-key", "k".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = crate::orders::order_v1("V-1");
    let answer = world.call(Method::POST, "/system/erp/orders", &headers, body).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-version")), (201, "v1"));
    assert_eq!(world.ledger("erp").await[0]["body"]["orderNumber"], "V-1");

    lists(&world, "x", "/system/erp/orders", &[])
        .await
        .is_problem(401, "unauthenticated");
    let answer = lists(&world, &other, "/system/erp/nothing", &[]).await;
    answer.is_problem(404, "not-found");
    let answer = world.call(Method::DELETE, "/system/erp/orders", &headers, "").await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("content-version"), "v1");
}

#[tokio::test]
async fn a_version_in_the_path_is_the_callers_word() {
    let world = World::start().await;
    let token = world.token("storefront");
    for version in ["v1", "v2", "v3"] {
        let path = format!("/system/erp/{version}/orders");
        let answer = lists(&world, &token, &path, &[("accept-version", version)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-version")),
            (200, version)
        );
    }
    let answer = lists(&world, &token, "/system/erp/v1/orders", &[("accept-version", "v2")]).await;
    answer.is_problem(400, "conflicting-versions");
    assert_eq!(answer.header("content-version"), "v1", "problems tell it as well");
}

/// Gives the API's versions these lives.
fn lives(folder: &Path, versions: &str) {
    edit(
        folder,
        API,
        "authenticate:",
        &format!("versions:\n{versions}authenticate:"),
    );
}

/// A moment so many seconds from now, as it is written.
fn in_seconds(seconds: i64) -> String {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + seconds)
        .unwrap()
        .to_string()
}

#[tokio::test]
async fn a_deprecated_version_says_so_on_every_answer_and_on_every_problem() {
    let world = World::start_with(|folder| {
        lives(
            folder,
            "  v1: { state: deprecated, since: 2026-06-01, sunset: 2099-06-01, successor: v2, link: 'https://docs.example/v1' }
  v2: active
  v3: active
",
        );
    })
    .await;
    let token = world.token("storefront");
    let bad_order = crate::orders::order_v1("D-1").replace("20.11.2026", "31.02.2026");
    for (status, answer) in [
        (200, lists(&world, &token, "/system/erp/v1/orders", &[]).await),
        (401, lists(&world, "x", "/system/erp/v1/orders", &[]).await),
        (422, world.orders(&token, "v1", "k", bad_order).await),
        // Also where the version has no such path, or not this method.
        (404, lists(&world, &token, "/system/erp/v1/nothing", &[]).await),
        (405, world.call(Method::DELETE, "/system/erp/v1/orders", &[], "").await),
    ] {
        assert_eq!(answer.header("content-version"), "v1");
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.header("deprecation"), "@1780272000");
        assert_eq!(answer.header("sunset"), "Mon, 01 Jun 2099 00:00:00 GMT");
        let links: Vec<_> = answer.headers.get_all("link").iter().collect();
        assert!(
            links
                .iter()
                .any(|link| *link == "</system/erp/v2>; rel=\"successor-version\""),
            "{links:?}"
        );
        assert!(
            links.iter().any(|link| link
                .to_str()
                .unwrap()
                .starts_with("<https://docs.example/v1>; rel=\"deprecation\"")),
            "{links:?}"
        );
    }
    for path in [
        "/system/erp/v2/orders",
        "/system/erp/v2/nothing",
        "/system/erp/v9/orders",
        "/nothing",
    ] {
        let answer = lists(&world, &token, path, &[]).await;
        assert!(!answer.headers.contains_key("deprecation"), "{answer:?}");
    }

    // Who still calls v1?
    let metrics = world.admin("/metrics").await.text;
    let line = "crossdock_version_requests_total{api=\"erp-orders\",version=\"v1\",channel=\"storefront\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    let versions = world.admin("/versions").await.json();
    let orders = versions["apis"]
        .as_array()
        .unwrap()
        .iter()
        .find(|api| api["api"] == "erp-orders")
        .unwrap()
        .clone();
    let v1 = &orders["versions"][0];
    assert_eq!(
        (&v1["state"], &v1["requests"]),
        (&"deprecated".into(), &2.into()),
        "{versions}"
    );
    assert_eq!(v1["channels"][0]["channel"], "storefront");
}

#[tokio::test]
async fn a_brown_out_is_announced_ends_by_itself_and_queues_nothing() {
    let world = World::start_with(|folder| {
        let (from, to) = (in_seconds(-5), in_seconds(7));
        lives(
            folder,
            &format!(
                "  v1: {{ state: deprecated, since: 2026-06-01, successor: v2, brownOuts: [{{ from: '{from}', to: '{to}' }}] }}
  v2: active
"
            ),
        );
    })
    .await;
    let token = world.token("storefront");
    let answer = world.orders(&token, "v1", "k", crate::orders::order_v1("BO-1")).await;
    let problem = answer.is_problem(503, "version-brown-out");
    assert_eq!(problem["successor"], "v2");
    assert!(
        (1..=12).contains(&answer.header("retry-after").parse::<u32>().unwrap()),
        "{answer:?}"
    );
    assert_eq!(answer.header("content-version"), "v1");
    assert_eq!(lists(&world, &token, "/system/erp/v2/orders", &[]).await.status, 200);
    world
        .until("the brown-out is over", async || {
            lists(&world, &token, "/system/erp/v1/orders", &[]).await.status == 200
        })
        .await;
    assert_eq!(world.ledger("erp").await.len(), 0, "nothing waited for the end");
}

#[tokio::test]
async fn what_is_retired_or_past_its_sunset_is_gone_and_names_its_successor() {
    let world = World::start_with(|folder| {
        let sunset = in_seconds(4);
        lives(
            folder,
            &format!(
                "  v0: {{ state: retired, since: 2025-01-01, successor: v2 }}
  v1: {{ state: deprecated, since: 2026-01-01, sunset: '{sunset}', successor: v2 }}
  v2: active
  v3: {{ state: draft, channels: [marketplace] }}
"
            ),
        );
    })
    .await;
    let token = world.token("storefront");
    for path in [
        "/system/erp/v0/orders",
        "/system/erp/v0/whatever/it/was",
        "/system/erp/v0",
    ] {
        let answer = lists(&world, &token, path, &[]).await;
        let problem = answer.is_problem(410, "version-retired");
        assert_eq!(problem["successor"], "v2");
        assert_eq!(answer.header("link"), "</system/erp/v2>; rel=\"successor-version\"");
    }
    lists(&world, "x", "/system/erp/v0/orders", &[])
        .await
        .is_problem(401, "unauthenticated");
    world
        .until("v1 is past its sunset", async || {
            lists(&world, &token, "/system/erp/v1/orders", &[]).await.status == 410
        })
        .await;
    lists(&world, &token, "/system/erp/v1/orders", &[])
        .await
        .is_problem(410, "version-retired");

    let problem = lists(&world, &token, "/system/erp/v3/orders", &[])
        .await
        .is_problem(404, "version-draft");
    assert_eq!(problem["offered"], serde_json::json!(["v1", "v2"]));
    let tester = world.token("marketplace");
    assert_eq!(lists(&world, &tester, "/system/erp/v3/orders", &[]).await.status, 200);
    let problem = lists(&world, &token, "/system/erp/v9/orders", &[])
        .await
        .is_problem(404, "unknown-version");
    assert_eq!(problem["offered"], serde_json::json!(["v1", "v2"]));
}

#[tokio::test]
async fn a_canary_gets_its_share_of_calls_without_a_version_and_keeps_it() {
    let world = World::start_with(|folder| {
        unversioned(folder);
        lives(
            folder,
            "  v0: { state: retired, successor: v2 }
  v1: active
  v2: active
  v3: { state: canary, share: 30%, by: correlation, channels: [marketplace] }
",
        );
    })
    .await;
    let (token, named) = (world.token("storefront"), world.token("marketplace"));
    let version = async |token: &str, correlation: &str| {
        let answer = lists(
            &world,
            token,
            "/system/erp/orders",
            &[("x-correlation-id", correlation)],
        )
        .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("content-version").to_owned()
    };
    let mut first = Vec::new();
    for number in 0..100 {
        first.push(version(&token, &format!("c-{number}")).await);
    }
    let drawn = first.iter().filter(|version| *version == "v3").count();
    assert!((15..=45).contains(&drawn), "{drawn} of 100");
    for (number, before) in first.iter().enumerate().take(20) {
        assert_eq!(version(&token, &format!("c-{number}")).await, *before, "it is sticky");
    }
    assert_eq!(version(&named, "c-1").await, "v3");

    // Whoever is not drawn may not ask for it either.
    let outside = first.iter().position(|version| version == "v1").unwrap();
    let correlation = format!("c-{outside}");
    let fields = [("x-correlation-id", correlation.as_str()), ("accept-version", "v3")];
    lists(&world, &token, "/system/erp/orders", &fields)
        .await
        .is_problem(404, "version-canary");
    let answer = lists(&world, &token, "/system/erp/orders", &[("accept-version", "v0")]).await;
    answer.is_problem(410, "version-retired");
    assert_eq!(answer.header("content-version"), "v0");
}

/// Puts a changed mapping beside the live one.
fn candidate(folder: &Path, from: &str, to: &str) {
    let live = std::fs::read_to_string(folder.join("contracts/orders/v1-v2.map.yaml")).unwrap();
    assert!(live.contains(from), "the mapping does not hold {from:?}");
    let path = folder.join("contracts/orders/v1-v2.candidate.map.yaml");
    std::fs::write(path, live.replacen(from, to, 1)).unwrap();
}

/// Lets mappings in that were never checked.
fn unchecked(folder: &Path) {
    edit(
        folder,
        "policies/gateway.yaml",
        "state: ../state",
        "state: ../state\nmappings: any",
    );
}

/// Checks the mappings, and what is tried in their place.
fn check(folder: &Path) {
    let mut command = crate::harness::crossdock();
    command.args(["contract", "check", "orders", "--cases", "400", "--contracts"]);
    let output = command.arg(folder.join("contracts")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// How the candidate of the orders' API stands.
async fn standing(world: &World) -> serde_json::Value {
    let versions = world.admin("/versions").await.json();
    let apis = versions["apis"].as_array().unwrap();
    let orders = apis.iter().find(|api| api["api"] == "erp-orders").unwrap();
    orders["candidate"].clone()
}

#[tokio::test]
async fn a_shadow_tells_its_differences_and_changes_no_answer() {
    let world = World::start_with(|folder| {
        unchecked(folder);
        candidate(folder, "SD: same-day, ST: standard", "ST: same-day, SD: standard");
        edit(
            folder,
            API,
            "authenticate:",
            "candidate: { mode: shadow, sample: 100% }\nauthenticate:",
        );
    })
    .await;
    let token = world.token("storefront");
    let answer = world.orders(&token, "v1", "k", crate::orders::order_v1("SH-1")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["delivClass"], "SD");
    // Callers of other versions do not come through the changed mapping.
    let order = crate::orders::order_v2("SH-2").to_string();
    assert_eq!(world.orders(&token, "v2", "k2", order).await.status, 201);
    world
        .until("the translations were compared", async || {
            standing(&world).await["compared"] == 1
        })
        .await;
    let standing = standing(&world).await;
    assert_eq!(
        (&standing["mode"], &standing["differing"]),
        (&"shadow".into(), &1.into()),
        "{standing}"
    );
    let differences = standing["differences"].as_array().unwrap();
    let of = |direction: &str| {
        let mut of = differences
            .iter()
            .filter(|difference| difference["direction"] == direction);
        of.next()
            .unwrap_or_else(|| panic!("none for the {direction} in {standing}"))
            .clone()
    };
    assert_eq!(
        (&of("request")["at"], &of("request")["kind"]),
        (&"/serviceLevel".into(), &"value".into())
    );
    assert_eq!(of("response")["at"], "/delivClass");
    assert!(
        !standing.to_string().contains("same-day"),
        "no values are shown: {standing}"
    );
    let ledger = world.ledger("erp").await;
    assert_eq!(ledger.len(), 2, "nothing is sent twice");
    assert_eq!(ledger[0]["body"]["serviceLevel"], "same-day", "what is live was sent");
    let metrics = world.admin("/metrics").await.text;
    let line = "crossdock_candidate_comparisons_total{api=\"erp-orders\",outcome=\"differs\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_canary_that_fails_too_often_is_rolled_back_by_itself_for_good() {
    let mut world = World::start_with(|folder| {
        unchecked(folder);
        candidate(
            folder,
            "from: price, to: unitPrice.amount, scale: 2, pad: true",
            "from: price, to: unitPrice.amount, scale: 0",
        );
        edit(
            folder,
            API,
            "authenticate:",
            "candidate: { mode: canary, share: 100%, rollback: { failures: 10%, over: 5m, least: 8 } }\nauthenticate:",
        );
    })
    .await;
    let token = world.token("storefront");
    let places = async |world: &World, number: usize| {
        let order = crate::orders::order_v1(&format!("RB-{number}"));
        world
            .orders(&token, "v1", &format!("k-{number}"), order)
            .await
            .status
            .as_u16()
    };
    let mut statuses = Vec::new();
    for number in 0..20 {
        statuses.push(places(&world, number).await);
    }
    let (failed, served) = statuses.split_at(8);
    assert!(failed.iter().all(|status| *status == 422), "{statuses:?}");
    assert!(served.iter().all(|status| *status == 201), "{statuses:?}");
    let before = standing(&world).await;
    assert_eq!(
        before["rolledBack"]["why"], "8 of its latest 8 requests failed",
        "{before}"
    );
    let metrics = world.admin("/metrics").await.text;
    assert!(
        metrics.contains("crossdock_candidate_rolled_back{api=\"erp-orders\"} 1"),
        "{metrics}"
    );
    assert!(world.gateway_log().contains("candidate rolled back"));

    // A reload that changes something else does not try it again, nor does a restart.
    world.edit(API, "share: 100%", "share: 99.9%");
    let number = world.admin("/snapshot").await.json()["number"].as_u64().unwrap();
    world
        .until("the edit is live", async || {
            world.admin("/snapshot").await.json()["number"].as_u64().unwrap() > number
        })
        .await;
    assert_eq!(places(&world, 20).await, 201);
    world
        .until("the rollback is stored", async || {
            world.folder().join("state/candidates.json").exists()
        })
        .await;
    world.kills_gateway();
    world.starts_gateway().await;
    assert_eq!(places(&world, 21).await, 201);
    assert_eq!(standing(&world).await["rolledBack"]["why"], before["rolledBack"]["why"]);

    // Another content is another candidate.
    let file = "contracts/orders/v1-v2.candidate.map.yaml";
    world.edit(
        file,
        "unitPrice.amount, scale: 0",
        "unitPrice.amount, scale: 2, pad: true",
    );
    world
        .until("the repaired candidate is tried", async || {
            standing(&world).await["rolledBack"].is_null()
        })
        .await;
    assert_eq!(places(&world, 22).await, 201);
    assert_eq!(standing(&world).await["served"], 1);
}

#[tokio::test]
async fn an_order_of_a_canary_is_queued_while_the_upstream_is_away_and_the_door_is_not_its_fault() {
    let world = World::start_with(|folder| {
        unchecked(folder);
        candidate(folder, "SD: same-day, ST: standard", "ST: same-day, SD: standard");
        edit(
            folder,
            API,
            "authenticate:",
            "candidate: { mode: canary, share: 100%, by: key, rollback: { least: 1 } }\nauthenticate:",
        );
    })
    .await;
    let token = world.token("storefront");
    world.fault("erp", "down").await;
    let answer = world.orders(&token, "v1", "k", crate::orders::order_v1("CQ-1")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let status = answer.header("location").to_owned();
    world.fault("erp", "up").await;
    world
        .until("the order has arrived", async || world.ledger("erp").await.len() == 1)
        .await;
    assert_eq!(
        world.ledger("erp").await[0]["body"]["serviceLevel"],
        "standard",
        "as the candidate says"
    );
    world
        .until("its answer is there, in v1 again", async || {
            let answer = world.reads(&token, &status).await;
            answer.text.contains("delivered") && answer.text.contains("CQ-1")
        })
        .await;
    assert!(standing(&world).await["rolledBack"].is_null());
}

/// Runs `crossdock contract …` on a world's files: whether it went well, and what it said.
fn contract(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = crate::harness::crossdock()
        .arg("contract")
        .args(arguments)
        .arg("--contracts")
        .arg(world.folder().join("contracts"))
        .arg("--config")
        .arg(world.config())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), said)
}

#[tokio::test]
async fn a_mapping_is_promoted_and_rolled_back_under_load_without_a_failed_request() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };
    let world = Arc::new(
        World::start_with(|folder| {
            candidate(
                folder,
                "missDown: { returned: INVOICED }",
                "missDown: { returned: CANCELLED }",
            );
            check(folder);
            edit(
                folder,
                API,
                "authenticate:",
                "candidate: { mode: shadow, sample: 50% }\nauthenticate:",
            );
        })
        .await,
    );
    let token = world.token("storefront");
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..3 {
        let (world, token, stop, sent) = (world.clone(), token.clone(), stop.clone(), sent.clone());
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                let order = crate::orders::order_v1(&format!("P-{client}-{number}"));
                let answer = world.orders(&token, "v1", &format!("{client}-{number}"), order).await;
                assert_eq!(answer.status, 201, "{answer:?}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
    }
    let mappings = world.folder().join("contracts/orders");
    let live = || std::fs::read_to_string(mappings.join("v1-v2.map.yaml")).unwrap();
    let number = async || world.admin("/snapshot").await.json()["number"].as_u64().unwrap();
    let before = live();
    for (command, is_new) in [
        ("promote", true),
        ("rollback", false),
        ("rollback", true),
        ("rollback", false),
    ] {
        let running = number().await;
        let (went_well, said) = contract(&world, &[command, "orders"]);
        assert!(went_well && said.contains("v1-v2.map.yaml"), "{said}");
        assert_eq!(live() != before, is_new, "{command}: {said}");
        world.until("it is live", async || number().await > running).await;
        let sent_then = sent.load(Ordering::Relaxed);
        world
            .until("requests went on", async || {
                sent.load(Ordering::Relaxed) > sent_then + 6
            })
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert!(mappings.join("v1-v2.previous.map.yaml").exists() && !mappings.join("v1-v2.candidate.map.yaml").exists());
    let (went_well, said) = contract(&world, &["promote", "orders"]);
    assert!(!went_well && said.contains("has no candidate"), "{said}");
}

#[tokio::test]
async fn a_version_is_promoted_in_its_file_and_its_status_is_told() {
    let world = World::start_with(|folder| {
        lives(
            folder,
            "  v1: { state: deprecated, since: 2026-06-01, successor: v2 } # soon gone
  v2: active
  v3: # the newest
    state: draft
    channels: [marketplace]
",
        );
    })
    .await;
    let token = world.token("storefront");
    let path = "/system/erp/v3/orders";
    lists(&world, &token, path, &[]).await.is_problem(404, "version-draft");
    let before = std::fs::read_to_string(world.folder().join(API)).unwrap();
    let (went_well, said) = contract(&world, &["promote", "erp-orders", "v3"]);
    assert!(went_well && said.contains("active now, it was draft"), "{said}");
    let after = std::fs::read_to_string(world.folder().join(API)).unwrap();
    let expected = before.replace(
        "  v3: # the newest\n    state: draft\n    channels: [marketplace]\n",
        "  v3: active\n",
    );
    assert_eq!(after, expected, "nothing else has changed");
    world
        .until("v3 is served", async || {
            lists(&world, &token, path, &[]).await.status == 200
        })
        .await;

    lists(&world, &token, "/system/erp/v1/orders", &[]).await;
    let (went_well, said) = contract(&world, &["status", "erp-orders"]);
    assert!(went_well, "{said}");
    let line = |version: &str| {
        let mut lines = said.lines().filter(|line| line.trim_start().starts_with(version));
        lines
            .next()
            .unwrap_or_else(|| panic!("no {version} in {said}"))
            .to_owned()
    };
    assert!(
        line("v1").contains("deprecated") && line("v1").contains("storefront 1"),
        "{said}"
    );
    assert!(line("v3").contains("active"), "{said}");
    let (went_well, said) = contract(&world, &["status", "orders", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(
        went_well && status["apis"][0]["versions"][2]["state"] == "active",
        "{said}"
    );

    assert!(!contract(&world, &["promote", "erp-orders", "v3"]).0);
    assert!(contract(&world, &["rollback", "erp-orders", "v3"]).0);
    world
        .until("v3 is a draft again", async || {
            lists(&world, &token, path, &[]).await.status == 404
        })
        .await;
    for (arguments, expected) in [
        (&["promote", "order"][..], "there are"),
        (&["promote", "erp-orders", "v9"], "says nothing of version `v9`"),
        (&["status", "nothing"], "no API and no contract"),
    ] {
        let (went_well, said) = contract(&world, arguments);
        assert!(!went_well && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn before_it_is_enforced_a_contract_tells_who_would_be_refused_and_changes_nothing() {
    let world = World::start_with(|folder| {
        edit(
            folder,
            API,
            "validate: { request: enforce, response: report }",
            "validate: { request: report, response: { sampled: 100% }, channels: { marketplace: { request: enforce } } }",
        );
        edit(
            folder,
            "policies/apis/wms-inventory.yaml",
            "validate: { request: enforce, response: report }",
            "validate: { request: report, response: report }",
        );
    })
    .await;
    let (reported, enforced) = (world.token("storefront"), world.token("marketplace"));
    let mut order = crate::orders::order_v3("VA-1");
    order["surprise"] = serde_json::json!("its value");
    order["lines"][0]["quantity"]["unit"] = serde_json::json!("dozen");
    let order = order.to_string();
    let problem = world
        .orders(&enforced, "v3", "k", order.clone())
        .await
        .is_problem(422, "contract-violation");
    assert!(
        problem["errors"].to_string().contains("/lines/0/quantity/unit"),
        "{problem}"
    );
    // What the upstream thinks of it is its own affair.
    let answer = world.orders(&reported, "v3", "k", order.clone()).await;
    assert!(!answer.text.contains("urn:crossdock:problem"), "{answer:?}");

    // Not even JSON, and yet it passes as it is where nobody insists.
    let handheld = world.token("handheld");
    let headers = [
        ("authorization", format!("Bearer {handheld}")),
        ("content-type", "text/plain".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reservations = "/system/inventory/v1/reservations";
    let answer = world.call(Method::POST, reservations, &headers, "no JSON at all").await;
    assert!(!answer.text.contains("urn:crossdock:problem"), "{answer:?}");
    assert!(answer.status.is_client_error(), "the WMS saw it: {answer:?}");

    let versions = world.admin("/versions").await.json();
    let apis = versions["apis"].as_array().unwrap();
    let orders = apis.iter().find(|api| api["api"] == "erp-orders").unwrap();
    let counted = orders["validation"].as_array().unwrap();
    let of = |channel: &str, direction: &str| {
        let mut of = counted
            .iter()
            .filter(|counted| counted["channel"] == channel && counted["direction"] == direction);
        of.next()
            .unwrap_or_else(|| panic!("{channel} {direction} in {versions}"))
            .clone()
    };
    let requests = of("storefront", "request");
    assert!(requests["violated"].as_u64().unwrap() >= 1, "{requests}");
    let places = requests["places"].to_string();
    assert!(
        places.contains("/lines/*/quantity/unit") && !places.contains("dozen"),
        "{places}"
    );
    assert!(!places.contains("its value"), "{places}");
    assert_eq!(of("marketplace", "request")["violated"], 1);
    let metrics = world.admin("/metrics").await.text;
    let line = "crossdock_contract_checks_total{api=\"erp-orders\",version=\"v3\",channel=\"marketplace\",\
                direction=\"request\",result=\"violates\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    let (went_well, said) = contract(&world, &["status", "erp-orders"]);
    assert!(went_well && said.contains("v3 request of storefront"), "{said}");
}

#[tokio::test]
async fn a_canary_may_try_another_version_of_the_upstream() {
    let world = World::start_with(|folder| {
        unchecked(folder);
        let orders = folder.join("contracts/orders");
        std::fs::create_dir(orders.join("v4")).unwrap();
        std::fs::copy(orders.join("v3/openapi.yaml"), orders.join("v4/openapi.yaml")).unwrap();
        let mapping = "kind: Mapping\ncontract: orders\nfrom: v3\nto: v4\n";
        std::fs::write(orders.join("v3-v4.map.yaml"), mapping).unwrap();
        let candidate = "candidate: { mode: canary, channels: [storefront], upstream: { name: erp, version: v4 } }";
        edit(folder, API, "authenticate:", &format!("{candidate}\nauthenticate:"));
    })
    .await;
    for (channel, number) in [("storefront", "UV-1"), ("marketplace", "UV-2")] {
        let token = world.token(channel);
        let answer = world
            .orders(&token, "v1", number, crate::orders::order_v1(number))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json()["orderNo"], number);
    }
    let standing = standing(&world).await;
    assert_eq!(
        (&standing["served"], &standing["failed"]),
        (&1.into(), &0.into()),
        "{standing}"
    );
    assert_eq!(world.ledger("erp").await.len(), 2);
}
