//! Other people's `OpenAPI` documents become contract versions.

use std::{fs, path::Path, process::Output};

use http::Method;

use crate::harness::{World, crossdock};

const API: &str = "kind: Api
name: sales
description: Sales orders of the second ERP.
tier: system
path: /system/sales/{version}
contract: sales
upstream: { name: erp, version: v1 }
authenticate: [jwt]
validate: { request: enforce, response: report }
";

fn import(world: &World, arguments: &[&str]) -> Output {
    crossdock()
        .args(["contract", "import"])
        .args(arguments)
        .arg("--contracts")
        .arg(world.folder().join("contracts"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn erp() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/erp/openapi.yaml");
    file.display().to_string()
}

#[tokio::test]
async fn a_vendors_document_is_imported_changed_by_an_overlay_and_published() {
    let world = World::start().await;
    let output = import(&world, &[&erp(), "--name", "sales", "--version", "v1"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for expected in [
        "OpenAPI 3.0 with 5 operations from 10 files",
        "POST /sales-orders is postSalesOrders",
        "Not enforced by the gateway",
        "which loads",
    ] {
        assert!(said(&output).contains(expected), "{expected} in\n{}", said(&output));
    }

    // Nothing is overwritten unless that is asked for.
    let output = import(&world, &[&erp(), "--name", "sales", "--version", "v1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--force"), "{}", said(&output));

    let version = world.folder().join("contracts/sales/v1");
    let overlay = "overlay: 1.0.0\ninfo: { title: Ours, version: '1' }\nactions:\n  - target: $.paths['/sales-orders'].post\n    \
                   update: { operationId: createSalesOrder }\n  - target: $.paths['/gone']\n    remove: true\n";
    fs::write(version.join("overlay.yaml"), overlay).unwrap();
    let output = import(
        &world,
        &[
            &erp(),
            "--name",
            "sales",
            "--version",
            "v1",
            "--force",
            "--format",
            "json",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["operations"], 5);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaints.contains("overlay.yaml:6:13: warning: `$.paths['/gone']` matches nothing"),
        "{complaints}"
    );

    let check = || {
        let output = crossdock()
            .args(["check", "--config"])
            .arg(world.config())
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("matches nothing"), "{text}");

    // Published, it answers; an overlay that takes a path out is noticed.
    let status = async || {
        world
            .call(Method::GET, "/system/sales/v1/sales-orders", &[], "")
            .await
            .status
    };
    assert_eq!(status().await, 404);
    fs::write(world.folder().join("policies/apis/sales.yaml"), API).unwrap();
    world
        .until("the import is published", async || status().await == 401)
        .await;
    let removing = overlay.replace("$.paths['/gone']", "$.paths['/sales-orders'].get");
    fs::write(version.join("overlay.yaml"), removing).unwrap();
    world.until("the overlay is live", async || status().await == 405).await;
    fs::write(
        version.join("overlay.yaml"),
        overlay.replace("$.paths['/gone']", "$.paths["),
    )
    .unwrap();
    let (code, text) = check();
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("overlay.yaml:6:13: error: `$.paths[` is not a JSONPath"),
        "{text}"
    );
}

#[tokio::test]
async fn a_document_with_a_mistake_is_not_written() {
    let world = World::start().await;
    let file = world.folder().join("openapi.json");
    fs::write(
        &file,
        r#"{"openapi":"3.0.0","info":{"title":"x","version":"1"},"paths":{"/a":{"get":{"responses":{"200":{"description":"ok",
        "content":{"application/json":{"schema":{"$ref":"../../etc/passwd"}}}}}}}}}"#,
    )
    .unwrap();
    let file = file.display().to_string();
    let output = import(&world, &[&file, "--name", "x", "--version", "v1"]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("openapi.json:2:") && text.contains("lies outside the folder"),
        "{text}"
    );
    assert!(text.contains("nothing was written") && !world.folder().join("contracts/x").exists());

    for name in ["../x", "a/b", ".hidden", ""] {
        let output = import(&world, &[&file, "--name", name, "--version", "v1"]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[tokio::test]
async fn a_first_mapping_is_written_once_and_can_be_printed() {
    let world = World::start().await;
    let scaffold = |arguments: &[&str]| {
        crossdock()
            .args(["contract", "scaffold", "orders", "v1", "v2"])
            .args(arguments)
            .arg("--contracts")
            .arg(world.folder().join("contracts"))
            .output()
            .unwrap()
    };
    let mapping = world.folder().join("contracts/orders/v1-v2.map.yaml");
    let before = fs::read_to_string(&mapping).unwrap();
    let refused = scaffold(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(fs::read_to_string(&mapping).unwrap(), before);

    let printed = scaffold(&["--stdout"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("# - move: { from: orderNo, to: orderId } # 0."), "{text}");
    let written = scaffold(&["--force"]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written));
    assert_eq!(fs::read_to_string(&mapping).unwrap().trim(), text.trim());

    let missing = crossdock()
        .args(["contract", "scaffold", "orders", "v1", "v9"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("v9"), "{}", said(&missing));
}
