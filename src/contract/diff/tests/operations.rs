use super::*;

/// An operation with some of its parts replaced.
fn operation(parts: Value) -> Value {
    let mut operation = json!({ "operationId": "sendThing", "responses": { "200": {} } });
    if let (Some(all), Value::Object(parts)) = (operation.as_object_mut(), parts) {
        all.extend(parts);
    }
    document(&operation, &json!({}))
}

/// Asserts that two versions of an operation differ by exactly these rules.
#[track_caller]
fn are_changes(old: Value, new: Value, expected: &[(&str, Impact)]) {
    let comparison = compare(&operation(old), &operation(new));
    let found: Vec<_> = comparison
        .changes
        .iter()
        .map(|change| (change.rule.as_str(), change.impact))
        .collect();
    assert_eq!(found, expected, "{:#?}", comparison.changes);
}

/// Asserts what a change of one thing is, and what it is the other way round.
#[track_caller]
fn is_change_both_ways(old: Value, new: Value, forth: (&str, Impact), back: (&str, Impact)) {
    are_changes(old.clone(), new.clone(), &[forth]);
    are_changes(new, old, &[back]);
}

#[expect(clippy::needless_pass_by_value, reason = "it is written where it is passed")]
fn with_parameter(parameter: Value) -> Value {
    json!({ "parameters": [parameter] })
}

#[test]
fn operations_come_and_go() {
    let with = |paths: Value| json!({ "openapi": "3.1.0", "paths": paths });
    let get = |id: &str| json!({ "get": { "operationId": id, "responses": {} } });
    let rules_of = |old: Value, new: Value| -> Vec<(String, Impact)> {
        let comparison = compare(&with(old), &with(new));
        comparison
            .changes
            .into_iter()
            .map(|change| (change.rule, change.impact))
            .collect()
    };
    let (one, both) = (json!({ "/a": get("a") }), json!({ "/a": get("a"), "/b": get("b") }));
    assert_eq!(
        rules_of(one.clone(), both.clone()),
        [("operation-added".to_owned(), Safe)]
    );
    assert_eq!(
        rules_of(both, one.clone()),
        [("operation-removed".to_owned(), Breaking)]
    );
    let moved = json!({ "/c": get("a") });
    assert_eq!(rules_of(one.clone(), moved), [("operation-moved".to_owned(), Breaking)]);
    let renamed = json!({ "/a": get("z") });
    assert_eq!(
        rules_of(one.clone(), renamed),
        [("operation-id-changed".to_owned(), Risky)]
    );
    let posted = json!({ "/a": { "post": { "operationId": "a", "responses": {} } } });
    assert_eq!(rules_of(one, posted), [("operation-moved".to_owned(), Breaking)]);
    let named = |name: &str| {
        let parameter = json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
        json!({ (format!("/a/{{{name}}}")): { "parameters": [parameter], "get": { "operationId": "a", "responses": {} } } })
    };
    assert_eq!(
        rules_of(named("no"), named("id")),
        [("path-names-changed".to_owned(), Safe)]
    );
    // A name that moved to another path takes its own with it.
    let (old, new) = (
        json!({ "/a": get("a"), "/b": get("b") }),
        json!({ "/a": get("b"), "/b": get("a") }),
    );
    assert_eq!(rules_of(old, new), vec![("operation-moved".to_owned(), Breaking); 2]);
}

#[test]
fn what_is_removed_after_its_sunset_was_announced() {
    let rule_of = |parts: Value| {
        let none = json!({ "openapi": "3.1.0", "paths": {} });
        let change = compare(&operation(parts), &none).changes.remove(0);
        (change.rule, change.impact)
    };
    for (parts, rule, impact) in [
        (json!({}), "operation-removed", Breaking),
        (json!({ "deprecated": true }), "deprecated-operation-removed", Risky),
        (
            json!({ "deprecated": true, "x-sunset": "2020-01-31" }),
            "operation-removed-after-sunset",
            Safe,
        ),
        (
            json!({ "deprecated": true, "x-sunset": "9999-01-31" }),
            "operation-removed-before-sunset",
            Breaking,
        ),
        (json!({ "x-sunset": "2020-01-31" }), "operation-removed", Breaking),
    ] {
        assert_eq!(rule_of(parts), (rule.to_owned(), impact));
    }
}

#[test]
fn deprecation_and_stability_are_told() {
    let until = |sunset: &str| json!({ "deprecated": true, "x-sunset": sunset });
    let open = json!({ "deprecated": true });
    is_change_both_ways(
        json!({}),
        open.clone(),
        ("operation-deprecated-without-sunset", Risky),
        ("operation-no-longer-deprecated", Safe),
    );
    are_changes(json!({}), until("2030-01-31"), &[("operation-deprecated", Safe)]);
    is_change_both_ways(
        until("2030-06-30"),
        until("2030-01-31"),
        ("sunset-moved-earlier", Breaking),
        ("sunset-moved-later", Safe),
    );
    is_change_both_ways(
        open,
        until("2030-01-31"),
        ("sunset-set", Safe),
        ("sunset-removed", Risky),
    );
    let level = |level: &str| json!({ "x-stability-level": level });
    is_change_both_ways(
        level("stable"),
        level("beta"),
        ("stability-decreased", Breaking),
        ("stability-increased", Safe),
    );
}

#[test]
fn parameters_come_and_go() {
    let limit = |more: Value| {
        let mut parameter = json!({ "name": "limit", "in": "query", "schema": { "type": "integer" } });
        if let (Some(all), Value::Object(more)) = (parameter.as_object_mut(), more) {
            all.extend(more);
        }
        with_parameter(parameter)
    };
    let none = json!({});
    let (added, removed) = ("request-parameter-added", "request-parameter-removed");
    is_change_both_ways(none.clone(), limit(json!({})), (added, Safe), (removed, Breaking));
    let required = json!({ "required": true });
    is_change_both_ways(
        none.clone(),
        limit(required.clone()),
        ("required-request-parameter-added", Breaking),
        (removed, Breaking),
    );
    is_change_both_ways(
        limit(json!({})),
        limit(required),
        ("request-parameter-became-required", Breaking),
        ("request-parameter-became-optional", Safe),
    );
    let header = with_parameter(json!({ "name": "X-Mode", "in": "header", "schema": { "type": "string" } }));
    is_change_both_ways(none, header.clone(), (added, Safe), (removed, Risky));
    let lower = with_parameter(json!({ "name": "x-mode", "in": "header", "schema": { "type": "string" } }));
    are_changes(header.clone(), lower, &[]);
    let query = with_parameter(json!({ "name": "X-Mode", "in": "query", "schema": { "type": "string" } }));
    let moved = ("request-parameter-moved", Breaking);
    is_change_both_ways(header, query, moved, moved);
    let style = ("request-parameter-style-changed", Breaking);
    is_change_both_ways(limit(json!({})), limit(json!({ "explode": false })), style, style);
    are_changes(
        limit(json!({})),
        limit(json!({ "deprecated": true })),
        &[("request-parameter-deprecated", Safe)],
    );
    let at_most = |max: u64| limit(json!({ "schema": { "type": "integer", "maximum": max } }));
    is_change_both_ways(
        at_most(200),
        at_most(100),
        ("page-size-maximum-lowered", Breaking),
        ("page-size-maximum-raised", Safe),
    );
    let default = |size: u64| limit(json!({ "schema": { "type": "integer", "default": size } }));
    let changed = ("page-size-default-changed", Breaking);
    is_change_both_ways(default(50), default(20), changed, changed);
}

#[test]
fn bodies_come_and_go() {
    let body = |is_required: bool| json!({ "requestBody": { "required": is_required, "content": { "application/json": { "schema": {} } } } });
    let none = json!({});
    is_change_both_ways(
        none.clone(),
        body(false),
        ("request-body-added", Safe),
        ("request-body-removed", Breaking),
    );
    are_changes(none, body(true), &[("required-request-body-added", Breaking)]);
    is_change_both_ways(
        body(false),
        body(true),
        ("request-body-became-required", Breaking),
        ("request-body-became-optional", Safe),
    );
    let kinds = |kinds: &[&str]| {
        let content: serde_json::Map<_, _> = kinds.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect();
        json!({ "requestBody": { "content": content } })
    };
    is_change_both_ways(
        kinds(&["application/json"]),
        kinds(&["application/json", "text/csv"]),
        ("request-body-media-type-added", Safe),
        ("request-body-media-type-removed", Breaking),
    );
    are_changes(
        kinds(&["text/csv"]),
        kinds(&["text/*"]),
        &[("request-body-media-type-generalised", Safe)],
    );
    is_change_both_ways(
        kinds(&["application/json"]),
        json!({ "requestBody": { "content": { "application/json": { "schema": { "type": "string" } } } } }),
        ("request-body-schema-set", Breaking),
        ("request-body-schema-removed", Safe),
    );
}

#[test]
fn answers_come_and_go() {
    let answers = |answers: Value| json!({ "responses": answers });
    is_change_both_ways(
        answers(json!({ "200": {}, "202": {} })),
        answers(json!({ "200": {} })),
        ("response-status-removed", Breaking),
        ("response-status-added", Risky),
    );
    is_change_both_ways(
        answers(json!({ "200": {}, "404": {} })),
        answers(json!({ "200": {} })),
        ("response-failure-status-removed", Risky),
        ("response-failure-status-added", Risky),
    );
    is_change_both_ways(
        answers(json!({ "200": {}, "404": {}, "default": {} })),
        answers(json!({ "200": {}, "default": {} })),
        ("response-failure-status-removed", Safe),
        ("response-failure-status-added", Safe),
    );
    let kinds = |kinds: &[&str]| {
        let content: serde_json::Map<_, _> = kinds.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect();
        answers(json!({ "200": { "content": content } }))
    };
    is_change_both_ways(
        kinds(&["application/json"]),
        kinds(&["application/json", "text/csv"]),
        ("response-body-media-type-added", Safe),
        ("response-body-media-type-removed", Breaking),
    );
    are_changes(
        kinds(&["text/csv"]),
        kinds(&["text/*"]),
        &[("response-body-media-type-generalised", Breaking)],
    );
    let field = |field: Value| answers(json!({ "200": { "headers": field } }));
    let total =
        |is_required: bool| field(json!({ "Total": { "required": is_required, "schema": { "type": "integer" } } }));
    is_change_both_ways(
        total(true),
        total(false),
        ("response-header-became-optional", Breaking),
        ("response-header-became-required", Safe),
    );
    is_change_both_ways(
        total(true),
        field(json!({})),
        ("required-response-header-removed", Breaking),
        ("response-header-added", Safe),
    );
    are_changes(total(false), field(json!({})), &[("response-header-removed", Risky)]);
    let text = field(json!({ "Total": { "required": true, "schema": { "type": "string" } } }));
    let changed = ("response-header-type-changed", Breaking);
    is_change_both_ways(total(true), text, changed, changed);
}

#[test]
fn kinds_of_failure_are_what_callers_tell_apart() {
    let kinds = |kinds: &[&str]| {
        let schema = json!({ "type": "object", "properties": { "type": { "enum": kinds } } });
        json!({ "responses": { "422": { "content": { "application/problem+json": { "schema": schema } } } } })
    };
    is_change_both_ways(
        kinds(&["urn:a", "urn:b"]),
        kinds(&["urn:a"]),
        ("problem-type-removed", Risky),
        ("problem-type-added", Breaking),
    );
}

#[test]
fn security_is_tightened_or_relaxed() {
    let needs = |alternatives: Value| json!({ "security": alternatives });
    let (key, token) = (json!({ "key": [] }), json!({ "token": ["read"] }));
    is_change_both_ways(
        needs(json!([])),
        needs(json!([key])),
        ("security-tightened", Breaking),
        ("security-relaxed", Safe),
    );
    is_change_both_ways(
        needs(json!([key])),
        needs(json!([key, token])),
        ("security-relaxed", Safe),
        ("security-tightened", Breaking),
    );
    is_change_both_ways(
        needs(json!([token])),
        needs(json!([{ "token": ["read", "write"] }])),
        ("security-scope-added", Breaking),
        ("security-relaxed", Safe),
    );
    let scheme = |place: &str| {
        let operation = json!({ "operationId": "a", "responses": {}, "security": [{ "key": [] }] });
        document(
            &operation,
            &json!({ "securitySchemes": { "key": { "type": "apiKey", "in": place, "name": "k" } } }),
        )
    };
    let comparison = compare(&scheme("header"), &scheme("query"));
    assert_eq!(comparison.changes[0].rule, "security-scheme-changed");
    assert_eq!(comparison.changes[0].impact, Breaking);
}

#[test]
fn a_webhook_goes_the_other_way() {
    let hook = |max: u64| {
        let body = json!({ "content": { "application/json": { "schema": { "type": "string", "maxLength": max } } } });
        json!({ "openapi": "3.1.0", "webhooks": { "shipped": { "post": { "requestBody": body, "responses": { "200": {} } } } } })
    };
    let of = |old: &Value, new: &Value| {
        let change = compare(old, new).changes.remove(0);
        (change.rule, change.impact)
    };
    assert_eq!(
        of(&hook(9), &hook(3)),
        ("webhook-body-max-length-lowered".to_owned(), Safe)
    );
    assert_eq!(
        of(&hook(3), &hook(9)),
        ("webhook-body-max-length-raised".to_owned(), Breaking)
    );
    let none = json!({ "openapi": "3.1.0" });
    assert_eq!(of(&hook(9), &none), ("webhook-removed".to_owned(), Breaking));
    assert_eq!(of(&none, &hook(9)), ("webhook-added".to_owned(), Safe));
}
