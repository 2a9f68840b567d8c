//! Contracts are worked on before they are published.

use std::{path::Path, process::Output};

use crate::harness::crossdock;

/// Runs `crossdock contract …` on a folder of contracts.
fn contract(contracts: &Path, args: &[&str]) -> Output {
    let mut command = crossdock();
    command.arg("contract").args(args).arg("--contracts").arg(contracts);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A contract of two versions that differ by one replacement.
fn two_versions(replace: &str, with: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let orders = std::fs::read_to_string(repository().join("orders/v1/openapi.yaml")).unwrap();
    assert!(orders.contains(replace), "{replace}");
    for (version, document) in [("v1", orders.clone()), ("v2", orders.replace(replace, with))] {
        let version = folder.path().join("orders").join(version);
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("openapi.yaml"), document).unwrap();
    }
    folder
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contracts"))
}

#[test]
fn a_change_that_breaks_channels_fails_the_pipeline_and_says_where() {
    let folder = two_versions(
        "remark: { type: string, maxLength: 1000 }",
        "remark: { type: string, maxLength: 80 }",
    );
    let output = contract(folder.path(), &["diff", "orders", "v1", "v2", "--fail-on", "breaking"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(
        report.contains("breaking  body remark has a `maxLength` of 80 now, before 1000"),
        "{report}"
    );
    assert!(report.contains("request-body-max-length-lowered"), "{report}");
    let newer = std::fs::read_to_string(folder.path().join("orders/v2/openapi.yaml")).unwrap();
    let line = 1 + newer
        .lines()
        .position(|line| line.contains("remark: { type: string, maxLength: 80 }"))
        .unwrap();
    assert!(report.contains(&format!("v2/openapi.yaml:{line}:")), "{report}");
    assert!(
        report.contains("safe      201 body remark"),
        "what is received only got shorter: {report}"
    );

    let output = contract(folder.path(), &["diff", "orders", "v1", "v2"]);
    assert_eq!(output.status.code(), Some(0), "without --fail-on it only tells");
}

#[test]
fn a_change_that_breaks_nobody_passes_in_every_format() {
    let folder = two_versions("maximum: 200, default: 50", "maximum: 500, default: 50");
    let diff = |more: &[&str]| {
        let output = contract(
            folder.path(),
            &[&["diff", "orders", "v1", "v2", "--fail-on", "risky"], more].concat(),
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        text(&output.stdout)
    };
    assert!(diff(&[]).contains("safe      query limit has a `maximum` of 500 now, before 200"));
    let document: serde_json::Value = serde_json::from_str(&diff(&["--format", "json"])).unwrap();
    assert_eq!(document["contract"], "orders");
    assert_eq!(
        document["summary"],
        serde_json::json!({ "breaking": 0, "risky": 0, "safe": 1 })
    );
    let log: serde_json::Value = serde_json::from_str(&diff(&["--format", "sarif"])).unwrap();
    assert_eq!(log["runs"][0]["results"][0]["ruleId"], "page-size-maximum-raised");
    let commands = diff(&["--format", "github"]);
    assert!(commands.starts_with("::notice file="), "{commands}");
    assert_eq!(commands.lines().count(), 1);

    let output = contract(folder.path(), &["diff", "orders", "v2", "v1", "--fail-on", "breaking"]);
    assert_eq!(output.status.code(), Some(1), "the other way round it breaks");
    let output = contract(folder.path(), &["diff", "orders", "v1", "v1", "--fail-on", "risky"]);
    assert!(text(&output.stdout).contains("nothing changed for those who call"));
}

#[test]
fn a_contract_or_version_that_is_not_there_is_named_with_those_that_are() {
    let output = contract(repository(), &["diff", "order", "v1", "v2"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("no contract `order`") && complaint.contains("orders"),
        "{complaint}"
    );
    let output = contract(repository(), &["diff", "orders", "v1", "v9"]);
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("no version `v9`") && complaint.contains("v1, v2, v3"),
        "{complaint}"
    );

    let folder = two_versions("openapi: 3.1.0", "openapi: 2.0.0");
    let output = contract(folder.path(), &["diff", "orders", "v1", "v2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("v2/openapi.yaml:1:10: error"),
        "{}",
        text(&output.stderr)
    );
    assert!(output.stdout.is_empty());
}
