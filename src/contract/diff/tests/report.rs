use super::*;

fn two_changes() -> Comparison {
    let object = |max: u64, required: &[&str]| json!({ "type": "object", "required": required, "properties": { "note": { "type": "string", "maxLength": max } } });
    compare(&exchanging(&object(9, &[])), &exchanging(&object(3, &["note"])))
}

/// One of the versions in the repository.
fn orders(version: &str) -> SourceFile {
    let path = format!("contracts/orders/{version}/openapi.yaml");
    SourceFile {
        text: std::fs::read_to_string(&path).unwrap().into(),
        path: path.into(),
    }
}

#[test]
fn the_text_is_grouped_and_ends_with_a_summary() {
    let text = two_changes().text();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("openapi.yaml")).collect();
    assert_eq!(
        lines,
        [
            "t v1 → v2",
            "",
            "sendThing  POST /things/{id}",
            "  request",
            "    breaking  body note became required",
            "    breaking  body note has a `maxLength` of 3 now, before 9; `aaaa` is refused now",
            "  response",
            "    safe      200 body note became required",
            "    safe      200 body note has a `maxLength` of 3 now, before 9",
            "",
            "2 breaking, 0 risky and 2 safe changes in 1 operation",
        ]
    );
    let same = exchanging(&json!({ "type": "string" }));
    assert_eq!(
        compare(&same, &same).text(),
        "t v1 → v2\nnothing changed for those who call\n"
    );
}

#[test]
fn json_and_sarif_say_the_same_for_machines() {
    let comparison = two_changes();
    let document: Value = serde_json::from_str(&comparison.json()).unwrap();
    assert_eq!(document["summary"], json!({ "breaking": 2, "risky": 0, "safe": 2 }));
    assert_eq!(document["changes"][1]["rule"], "request-body-max-length-lowered");
    assert_eq!(document["changes"][1]["example"], "aaaa");
    assert_eq!(document["changes"][1]["newer"]["file"], "contracts/t/v2/openapi.yaml");
    let log: Value = serde_json::from_str(&comparison.sarif()).unwrap();
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 4);
    assert_eq!(run["results"][0]["level"], "error");
    assert_eq!(run["results"][2]["level"], "note");
    let place = &run["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "contracts/t/v2/openapi.yaml");
    let named: Vec<&Value> = run["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["id"])
        .collect();
    assert!(
        run["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|result| named.contains(&&result["ruleId"]))
    );
}

#[test]
fn workflow_commands_keep_to_one_line_each() {
    let mut comparison = two_changes();
    comparison.changes[0].what = "100% of\nit".to_owned();
    let out = comparison.github();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[0].starts_with("::error file=contracts/t/v2/openapi.yaml,line="),
        "{out}"
    );
    assert!(
        lines[0]
            .ends_with("title=request-body-property-became-required::sendThing (request): body note 100%25 of%0Ait"),
        "{out}"
    );
    assert!(lines[3].starts_with("::notice "), "{out}");
}

#[test]
fn the_versions_of_orders_break_where_their_mappings_translate() {
    let comparison = Comparison::new("orders", &[orders("v1")], &[orders("v2")], &Options::default()).unwrap();
    let has = |side: Side, operation: &str, rule: &str, at: &str, impact: Impact| {
        comparison.changes.iter().any(|change| {
            (
                change.side,
                change.operation.as_str(),
                change.rule.as_str(),
                change.at.as_str(),
                change.impact,
            ) == (side, operation, rule, at, impact)
        })
    };
    for (side, operation, rule, at, impact) in [
        (
            Side::Request,
            "createOrder",
            "request-body-property-removed",
            "body orderNo",
            Breaking,
        ),
        (
            Side::Request,
            "createOrder",
            "request-body-required-property-added",
            "body items",
            Breaking,
        ),
        (
            Side::Request,
            "createOrder",
            "request-body-enum-value-removed",
            "body status",
            Breaking,
        ),
        (
            Side::Response,
            "createOrder",
            "response-body-enum-value-added",
            "201 body status",
            Breaking,
        ),
        (
            Side::Response,
            "getOrder",
            "response-body-type-changed",
            "200 body total",
            Breaking,
        ),
        (Side::Operation, "getOrder", "path-names-changed", "", Safe),
        (
            Side::Request,
            "listOrders",
            "request-parameter-enum-value-removed",
            "query status",
            Breaking,
        ),
    ] {
        assert!(
            has(side, operation, rule, at, impact),
            "{rule} at {at}: {}",
            comparison.text()
        );
    }
    assert!(
        comparison
            .changes
            .iter()
            .all(|change| !change.rule.ends_with("-undecided")),
        "{}",
        comparison.text()
    );
    let comparison = Comparison::new("orders", &[orders("v2")], &[orders("v3")], &Options::default()).unwrap();
    assert!(
        comparison.has(Breaking)
            && comparison
                .changes
                .iter()
                .all(|change| !change.rule.ends_with("-undecided"))
    );
    for version in ["v1", "v2", "v3"] {
        let same = Comparison::new("orders", &[orders(version)], &[orders(version)], &Options::default()).unwrap();
        assert!(same.changes.is_empty(), "{}", same.text());
    }
}
