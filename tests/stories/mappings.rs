//! Mappings run by hand, before anything goes live.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::harness::crossdock;

/// Translates a document of the repository's own contract of orders.
fn map(arguments: &[&str], document: &str) -> Output {
    let mut process = crossdock()
        .args(["contract", "map", "orders"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const CANCELLATION: &str = r#"{"reasonCode":"02","remark":"not in stock"}"#;

#[test]
fn a_document_is_translated_by_hand_either_way() {
    let output = map(&["v1", "v3", "--operation", "cancelOrder"], CANCELLATION);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout).trim(),
        r#"{"reason":"out-of-stock","comment":"not in stock"}"#
    );

    let order = include_str!("../../bench/orders/answer-v3.json");
    let output = map(&["v3", "v1", "--operation", "createOrder", "--response", "201"], order);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""orderNo":"SO-2026-0047113""#));
}

#[test]
fn each_step_is_explained_with_its_line() {
    let output = map(&["v1", "v2", "--operation", "cancelOrder", "--explain"], CANCELLATION);
    let told = text(&output.stdout);
    let lines: Vec<_> = told.lines().map(str::trim).collect();
    assert!(lines[0].ends_with("v1-v2.map.yaml, up:"), "{told}");
    let step = "table: { from: reasonCode, to: reason, table: reason }";
    let place = lines
        .iter()
        .position(|line| line.ends_with(step))
        .expect("the step is named");
    assert_eq!(lines[place + 1], r#"/reasonCode "02"  →  /reason "out-of-stock""#);
}

#[test]
fn what_is_wrong_with_a_document_or_a_name_is_said() {
    let fails = |arguments: &[&str], document: &str, message: &str| {
        let output = map(arguments, document);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains(message), "{told}");
    };
    let cancel = ["v1", "v3", "--operation", "cancelOrder"];
    fails(
        &cancel,
        r#"{"reasonCode":"77"}"#,
        "the code `77` has no counterpart at `/reasonCode`",
    );
    fails(&cancel, r#"{"reasonCode":"02","x":1}"#, "does not conform to v1");
    fails(&cancel, "{", "the document is not JSON");
    fails(
        &["v1", "v9", "--operation", "cancelOrder"],
        "{}",
        "its versions are v1, v2, v3",
    );
    fails(&["v1", "v3", "--operation", "sing"], "{}", "has no sing");
    fails(
        &["v3", "v1", "--operation", "cancelOrder", "--response", "299"],
        "{}",
        "299",
    );
}
