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
