//! Every rule with a pair of small documents, for what is sent and for what is received.

mod operations;
mod report;
mod rules;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Impact::{Breaking, Risky, Safe};
use super::*;
use crate::contract::containment::tests::pairs;

/// A version's file with this text.
fn file(version: &str, document: &Value) -> SourceFile {
    SourceFile {
        path: format!("contracts/t/{version}/openapi.yaml").into(),
        text: format!("{document:#}").into(),
    }
}

fn compare(older: &Value, newer: &Value) -> Comparison {
    Comparison::new("t", &[file("v1", older)], &[file("v2", newer)], &Options::default()).unwrap()
}

/// A document with one operation.
fn document(operation: &Value, components: &Value) -> Value {
    json!({ "openapi": "3.1.0", "paths": { "/things/{id}": { "post": operation } }, "components": components })
}

/// A document whose one operation takes and answers values of a schema.
fn exchanging(schema: &Value) -> Value {
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } });
    let operation = json!({
        "operationId": "sendThing",
        "requestBody": { "required": true, "content": content },
        "responses": { "200": { "content": content } },
    });
    document(&operation, &json!({ "schemas": { "Thing": schema } }))
}

/// Rules and impacts of a side, those of bodies without their first words.
fn rules(comparison: &Comparison, side: Side) -> Vec<(String, Impact)> {
    let of_side = comparison.changes.iter().filter(|change| change.side == side);
    let short = |rule: &str| {
        let rest = rule
            .strip_prefix("request-body-")
            .or(rule.strip_prefix("response-body-"));
        rest.unwrap_or(rule).to_owned()
    };
    of_side.map(|change| (short(&change.rule), change.impact)).collect()
}

/// Asserts that a change of a schema is one change of a rule, and what it means each way.
#[track_caller]
fn is_change(old: &Value, new: &Value, rule: &str, sent: Impact, received: Impact) {
    let comparison = compare(&exchanging(old), &exchanging(new));
    let found = (rules(&comparison, Side::Request), rules(&comparison, Side::Response));
    let expected = (vec![(rule.to_owned(), sent)], vec![(rule.to_owned(), received)]);
    assert_eq!(found, expected, "{old} → {new}: {:#?}", comparison.changes);
}

/// The same for a member of an object.
#[track_caller]
fn is_change_of_member(old: Value, new: Value, rule: &str, sent: Impact, received: Impact) {
    let object =
        |member: Value| json!({ "type": "object", "additionalProperties": false, "properties": { "a": member } });
    is_change(&object(old), &object(new), rule, sent, received);
}

#[test]
fn bounds_break_what_is_sent_when_narrowed_and_what_is_received_when_widened() {
    for (keyword, kind, rule, is_upper) in [
        ("minLength", "string", "min-length", false),
        ("maxLength", "string", "max-length", true),
        ("minimum", "number", "minimum", false),
        ("exclusiveMinimum", "number", "exclusive-minimum", false),
        ("maximum", "number", "maximum", true),
        ("exclusiveMaximum", "integer", "exclusive-maximum", true),
        ("minItems", "array", "min-items", false),
        ("maxItems", "array", "max-items", true),
        ("minProperties", "object", "min-properties", false),
        ("maxProperties", "object", "max-properties", true),
    ] {
        let with = |bound: Option<u64>| match bound {
            Some(bound) => json!({ "type": kind, keyword: bound }),
            None => json!({ "type": kind }),
        };
        let (lowered, raised) = if is_upper {
            ((Breaking, Safe), (Safe, Breaking))
        } else {
            ((Safe, Breaking), (Breaking, Safe))
        };
        for (old, new, verb, (sent, received)) in [
            (Some(7), Some(3), "lowered", lowered),
            (Some(3), Some(7), "raised", raised),
            (None, Some(3), "set", (Breaking, Safe)),
            (Some(3), None, "removed", (Safe, Breaking)),
        ] {
            is_change(&with(old), &with(new), &format!("{rule}-{verb}"), sent, received);
        }
    }
}

#[test]
fn patterns_and_their_like_are_decided_by_what_they_admit() {
    let text = |keyword: &str, value: Value| json!({ "type": "string", keyword: value });
    let any = json!({ "type": "string" });
    let (narrow, wide) = (text("pattern", json!("^[A-Z]{2}$")), text("pattern", json!("^[A-Z]+$")));
    is_change(&wide, &narrow, "pattern-changed", Breaking, Safe);
    is_change(&narrow, &wide, "pattern-changed", Safe, Breaking);
    is_change(
        &narrow,
        &text("pattern", json!("^[A-Z][A-Z]$")),
        "pattern-changed",
        Safe,
        Safe,
    );
    is_change(&any, &narrow, "pattern-set", Breaking, Safe);
    is_change(&narrow, &any, "pattern-removed", Safe, Breaking);
    is_change(&any, &text("format", json!("date")), "format-set", Breaking, Safe);
    is_change(&text("format", json!("date")), &any, "format-removed", Safe, Breaking);
    is_change(
        &text("format", json!("date")),
        &text("format", json!("date-time")),
        "format-changed",
        Breaking,
        Breaking,
    );
    let number = |step: f64| json!({ "type": "number", "multipleOf": step });
    is_change(&number(0.01), &number(0.1), "multiple-of-changed", Breaking, Safe);
    is_change(&number(0.1), &number(0.01), "multiple-of-changed", Safe, Breaking);
    let list = |is_unique: bool| json!({ "type": "array", "uniqueItems": is_unique });
    is_change(&list(false), &list(true), "unique-items-changed", Breaking, Safe);
    is_change(
        &any,
        &json!({ "type": "string", "not": { "const": "a" } }),
        "not-set",
        Breaking,
        Safe,
    );
}

#[test]
fn a_pattern_that_cannot_be_compared_is_risky_unless_a_value_shows_it() {
    let old = json!({ "type": "string", "pattern": "^(?=[a-z])[a-z]+$" });
    let new = json!({ "type": "string", "pattern": "^(?=[a-z])[a-z]*$" });
    is_change(&old, &new, "pattern-changed", Risky, Risky);
}

#[test]
fn types_and_null_break_the_side_that_meets_what_it_does_not_know() {
    is_change(
        &json!({ "type": "string" }),
        &json!({ "type": "integer" }),
        "type-changed",
        Breaking,
        Breaking,
    );
    is_change(
        &json!({ "type": "integer" }),
        &json!({ "type": "number" }),
        "type-changed",
        Safe,
        Breaking,
    );
    is_change(
        &json!({ "type": "number" }),
        &json!({ "type": "integer" }),
        "type-changed",
        Breaking,
        Safe,
    );
    let nullable = json!({ "type": ["string", "null"] });
    is_change(
        &json!({ "type": "string" }),
        &nullable,
        "became-nullable",
        Safe,
        Breaking,
    );
    is_change(
        &nullable,
        &json!({ "type": "string" }),
        "became-not-nullable",
        Breaking,
        Safe,
    );
}

#[test]
fn values_of_a_list_come_and_go() {
    let codes = |codes: &[&str]| json!({ "type": "string", "enum": codes });
    let text = json!({ "type": "string" });
    is_change(
        &codes(&["a", "b"]),
        &codes(&["a"]),
        "enum-value-removed",
        Breaking,
        Safe,
    );
    is_change(&codes(&["a"]), &codes(&["a", "b"]), "enum-value-added", Safe, Breaking);
    is_change(&text, &codes(&["a"]), "became-enum", Breaking, Safe);
    is_change(&codes(&["a"]), &text, "enum-opened", Safe, Breaking);
    is_change(
        &json!({ "const": "a" }),
        &json!({ "enum": ["a", "b"] }),
        "enum-value-added",
        Safe,
        Breaking,
    );
    // Readers were told that there will be more.
    let extensible = |codes: &[&str]| json!({ "type": "string", "enum": codes, "x-extensible-enum": true });
    is_change(
        &extensible(&["a"]),
        &extensible(&["a", "b"]),
        "enum-value-added",
        Safe,
        Safe,
    );
    is_change(
        &extensible(&["a", "b"]),
        &extensible(&["a"]),
        "enum-value-removed",
        Breaking,
        Safe,
    );
}

#[test]
fn members_come_and_go_and_are_required_or_not() {
    let closed = |members: Value, required: &[&str]| json!({ "type": "object", "additionalProperties": false, "properties": members, "required": required });
    let open = |members: Value| json!({ "type": "object", "properties": members });
    let (one, both) = (
        json!({ "a": { "type": "string" } }),
        json!({ "a": { "type": "string" }, "b": { "type": "integer" } }),
    );
    is_change(
        &closed(one.clone(), &[]),
        &closed(both.clone(), &[]),
        "property-added",
        Safe,
        Risky,
    );
    is_change(
        &closed(both.clone(), &[]),
        &closed(one.clone(), &[]),
        "property-removed",
        Breaking,
        Risky,
    );
    is_change(
        &closed(both.clone(), &["b"]),
        &closed(one.clone(), &[]),
        "property-removed",
        Breaking,
        Breaking,
    );
    is_change(
        &open(both.clone()),
        &open(one.clone()),
        "property-removed",
        Risky,
        Risky,
    );
    is_change(&open(one.clone()), &open(both.clone()), "property-added", Risky, Safe);
    is_change(
        &closed(one.clone(), &[]),
        &closed(both.clone(), &["b"]),
        "required-property-added",
        Breaking,
        Risky,
    );
    is_change(
        &closed(one.clone(), &[]),
        &closed(one.clone(), &["a"]),
        "property-became-required",
        Breaking,
        Safe,
    );
    is_change(
        &closed(one.clone(), &["a"]),
        &closed(one.clone(), &[]),
        "property-became-optional",
        Safe,
        Breaking,
    );
    is_change(
        &open(one.clone()),
        &closed(one.clone(), &[]),
        "additional-properties-closed",
        Breaking,
        Safe,
    );
    is_change(
        &closed(one.clone(), &[]),
        &open(one),
        "additional-properties-opened",
        Safe,
        Risky,
    );
    let any = json!({ "type": "object" });
    let numbers = json!({ "type": "object", "additionalProperties": { "type": "number" } });
    is_change(&any, &numbers, "additional-properties-set", Breaking, Safe);
    is_change(&numbers, &any, "additional-properties-removed", Safe, Breaking);
    let whole = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    is_change(&numbers, &whole, "type-changed", Breaking, Safe);
}

#[test]
fn items_follow_schemas_or_not() {
    let list = json!({ "type": "array" });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    is_change(&list, &texts, "items-set", Breaking, Safe);
    is_change(&texts, &list, "items-removed", Safe, Breaking);
    is_change(
        &texts,
        &json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        "min-length-set",
        Breaking,
        Safe,
    );
    let pair = |count: usize| json!({ "type": "array", "prefixItems": vec![json!({ "type": "string" }); count] });
    is_change(&pair(1), &pair(2), "prefix-items-changed", Breaking, Safe);
}

#[test]
fn branches_of_a_choice_come_and_go() {
    let kind =
        |name: &str| json!({ "type": "object", "required": ["kind"], "properties": { "kind": { "const": name } } });
    for (keyword, rule) in [("oneOf", "one-of"), ("anyOf", "any-of")] {
        let choice = |names: &[&str]| json!({ keyword: names.iter().map(|name| kind(name)).collect::<Vec<_>>() });
        is_change(
            &choice(&["a", "b"]),
            &choice(&["a"]),
            &format!("{rule}-branch-removed"),
            Breaking,
            Safe,
        );
        is_change(
            &choice(&["a"]),
            &choice(&["a", "b"]),
            &format!("{rule}-branch-added"),
            Safe,
            Breaking,
        );
    }
}

#[test]
fn what_is_only_said_is_judged_by_who_relies_on_it() {
    let text = |keyword: &str, value: Value| json!({ "type": "string", keyword: value });
    let plain = || json!({ "type": "string" });
    is_change_of_member(
        text("default", json!("a")),
        text("default", json!("b")),
        "default-changed",
        Breaking,
        Safe,
    );
    is_change_of_member(plain(), text("default", json!("b")), "default-set", Risky, Safe);
    is_change_of_member(text("default", json!("b")), plain(), "default-removed", Risky, Safe);
    is_change_of_member(plain(), text("readOnly", json!(true)), "became-read-only", Risky, Safe);
    is_change_of_member(
        text("readOnly", json!(true)),
        plain(),
        "no-longer-read-only",
        Safe,
        Safe,
    );
    is_change_of_member(
        plain(),
        text("writeOnly", json!(true)),
        "became-write-only",
        Safe,
        Risky,
    );
    is_change_of_member(
        plain(),
        text("deprecated", json!(true)),
        "became-deprecated",
        Safe,
        Safe,
    );
    is_change_of_member(
        text("contentEncoding", json!("base64")),
        text("contentEncoding", json!("base64url")),
        "content-encoding-changed",
        Breaking,
        Breaking,
    );
    let choice = |mapping: Value| {
        json!({
            "discriminator": { "propertyName": "kind", "mapping": mapping }, "type": "object",
        })
    };
    let (one, both) = (json!({ "a": "#/a" }), json!({ "a": "#/a", "b": "#/b" }));
    is_change(
        &choice(one.clone()),
        &choice(both.clone()),
        "discriminator-mapping-added",
        Safe,
        Risky,
    );
    is_change(
        &choice(both),
        &choice(one.clone()),
        "discriminator-changed",
        Breaking,
        Breaking,
    );
    is_change(
        &json!({ "type": "object" }),
        &choice(one.clone()),
        "discriminator-set",
        Risky,
        Risky,
    );
    is_change(
        &choice(one),
        &json!({ "type": "object" }),
        "discriminator-removed",
        Risky,
        Risky,
    );
}

#[test]
fn another_way_to_say_the_same_changes_nothing() {
    for (old, new) in [
        (
            json!({ "type": "string", "maxLength": 4 }),
            json!({ "allOf": [{ "type": "string" }, { "maxLength": 4 }] }),
        ),
        (
            json!({ "type": "object", "description": "x" }),
            json!({ "type": "object", "description": "y" }),
        ),
    ] {
        let comparison = compare(&exchanging(&old), &exchanging(&new));
        assert!(!comparison.has(Risky), "{:#?}", comparison.changes);
    }
    // The same values, though every keyword is another.
    let (old, new) = (
        json!({ "type": "integer", "exclusiveMinimum": 0 }),
        json!({ "type": "integer", "minimum": 1 }),
    );
    let comparison = compare(&exchanging(&old), &exchanging(&new));
    assert!(
        !comparison.changes.is_empty() && !comparison.has(Risky),
        "{:#?}",
        comparison.changes
    );
}

#[test]
fn what_no_edit_explains_is_told_by_a_value() {
    let old = json!({ "if": { "type": "string" }, "then": { "maxLength": 3 } });
    let new = json!({ "if": { "type": "string" }, "then": { "maxLength": 2 } });
    let comparison = compare(&exchanging(&old), &exchanging(&new));
    assert_eq!(rules(&comparison, Side::Request).len(), 1);
    assert!(comparison.has(Risky), "{:#?}", comparison.changes);
}

#[test]
fn recursive_schemas_are_walked_once() {
    let tree = |max: u64| {
        json!({ "type": "object", "properties": {
            "name": { "type": "string", "maxLength": max },
            "parts": { "type": "array", "items": { "$ref": "#/components/schemas/Thing" } },
        } })
    };
    let comparison = compare(&exchanging(&tree(9)), &exchanging(&tree(3)));
    let request: Vec<_> = comparison
        .changes
        .iter()
        .filter(|change| change.side == Side::Request)
        .collect();
    assert_eq!(request[0].at, "body name");
    assert_eq!(
        (request[0].rule.as_str(), request[0].impact),
        ("request-body-max-length-lowered", Breaking)
    );
}

#[test]
fn both_places_are_told() {
    let old = "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      operationId: a\n      requestBody:\n        content:\n          application/json:\n            schema:\n              type: string\n              maxLength: 9\n      responses: {}\n";
    let new = old.replace(
        "              maxLength: 9",
        "              minLength: 0\n              maxLength: 8",
    );
    let read = |version: &str, text: &str| SourceFile {
        path: format!("contracts/t/{version}/openapi.yaml").into(),
        text: text.into(),
    };
    let comparison = Comparison::new("t", &[read("v1", old)], &[read("v2", &new)], &Options::default()).unwrap();
    let change = &comparison.changes[0];
    assert_eq!(change.rule, "request-body-max-length-lowered");
    assert_eq!(
        change.older.as_ref().unwrap().to_string(),
        "contracts/t/v1/openapi.yaml:11:26"
    );
    assert_eq!(
        change.newer.as_ref().unwrap().to_string(),
        "contracts/t/v2/openapi.yaml:12:26"
    );
    assert_eq!(change.example, Some(json!("aaaaaaaaa")));
}

#[test]
fn a_document_that_cannot_be_read_is_a_mistake_with_its_place() {
    let broken = json!({ "openapi": "2.0", "paths": {} });
    let mistakes = Comparison::new(
        "t",
        &[file("v1", &exchanging(&json!(true)))],
        &[file("v2", &broken)],
        &Options::default(),
    )
    .unwrap_err();
    assert_eq!(mistakes[0].file.to_string_lossy(), "contracts/t/v2/openapi.yaml");
    assert!(mistakes[0].message.contains("2.0"), "{mistakes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// However two schemas are written, it is containment that decides.
    #[test]
    fn a_change_breaks_exactly_where_containment_says_so((old, new) in pairs()) {
        let (older, newer) = (exchanging(&old), exchanging(&new));
        let comparison = compare(&older, &newer);
        let place = "/components/schemas/Thing";
        for (side, answer) in [
            (Side::Request, Containment::new(older.clone(), newer.clone()).decide(place, place)),
            (Side::Response, Containment::new(newer.clone(), older.clone()).decide(place, place)),
        ] {
            let found = rules(&comparison, side);
            let worst = found.iter().map(|(_, impact)| *impact).min().unwrap_or(Safe);
            match answer {
                // A member that is no longer described is risky even where it is still taken.
                Answer::Proved => prop_assert_ne!(worst, Breaking, "{:#?}", comparison.changes),
                Answer::Refuted { .. } => prop_assert_ne!(worst, Safe, "{:#?}", comparison.changes),
                Answer::Unknown(_) => prop_assert_eq!(worst, Risky, "{:#?}", comparison.changes),
            }
        }
        prop_assert!(compare(&older, &older).changes.is_empty());
    }
}
