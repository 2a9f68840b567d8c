//! Every rule there is, with two small versions that break it; and every rule in the guide.

use std::collections::BTreeSet;

use super::super::rules::{BOUNDS, KEYWORDS, RULES, SUBJECTS, VALUE_RULES};
use super::*;

/// A change of a schema, and what it means where its values are sent and where they are received, if anything.
struct OfValue {
    rule: String,
    older: Value,
    newer: Value,
    earlier: Option<Value>,
    sent: Option<Impact>,
    received: Option<Impact>,
}

/// A document in which values of a schema are what a rule's first words say.
fn about(subject: &str, schema: &Value) -> Value {
    let content = json!({ "content": { "application/json": { "schema": schema } } });
    let none = json!({ "responses": { "200": {} } });
    let (operation, hook) = match subject {
        "request-body" => (json!({ "requestBody": content, "responses": { "200": {} } }), none),
        "response-body" => (json!({ "responses": { "200": content } }), none),
        "request-parameter" => {
            let parameter = json!({ "name": "filter", "in": "query", "schema": schema });
            (json!({ "parameters": [parameter], "responses": { "200": {} } }), none)
        }
        "response-header" => {
            let field = json!({ "Filter": { "schema": schema } });
            (json!({ "responses": { "200": { "headers": field } } }), none)
        }
        "webhook-body" => (none, json!({ "requestBody": content, "responses": { "200": {} } })),
        "webhook-response-body" => (none, json!({ "responses": { "200": content } })),
        other => panic!("{other}"),
    };
    documented(operation, &hook)
}

fn documented(mut operation: Value, hook: &Value) -> Value {
    operation["operationId"] = "sendThing".into();
    json!({ "openapi": "3.1.0", "paths": { "/things": { "post": operation } }, "webhooks": { "done": { "post": hook } } })
}

fn is_sent(subject: &str) -> bool {
    ["request-body", "request-parameter", "webhook-response-body"].contains(&subject)
}

/// Whether a rule on values can be about this.
fn can_be(subject: &str, rule: &str) -> bool {
    let is_of_bodies = rule.starts_with("schema-") || rule.starts_with("media-type-");
    let is_of_way = match rule {
        "narrowed" => is_sent(subject),
        "widened" => !is_sent(subject),
        _ => true,
    };
    is_of_way && (!is_of_bodies || subject.ends_with("-body"))
}

fn row(rule: &str, older: Value, newer: Value, sent: Impact, received: Impact) -> OfValue {
    OfValue {
        rule: rule.to_owned(),
        older,
        newer,
        earlier: None,
        sent: Some(sent),
        received: Some(received),
    }
}

/// One that sets a keyword, and what the same is the other way round.
fn both(name: &str, verbs: (&str, &str), without: &Value, with: &Value) -> [OfValue; 2] {
    [
        row(
            &format!("{name}-{}", verbs.0),
            without.clone(),
            with.clone(),
            Breaking,
            Safe,
        ),
        row(
            &format!("{name}-{}", verbs.1),
            with.clone(),
            without.clone(),
            Safe,
            Breaking,
        ),
    ]
}

/// A schema with more keywords.
fn with(schema: &Value, more: &Value) -> Value {
    let mut schema = schema.clone();
    if let (Some(all), Some(more)) = (schema.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    schema
}

fn bounds() -> Vec<OfValue> {
    let kinds = [
        "string", "string", "number", "number", "number", "number", "array", "array", "object", "object",
    ];
    let mut rows = Vec::new();
    for (rule, kind) in BOUNDS.iter().zip(kinds) {
        let keyword: String = rule
            .split('-')
            .enumerate()
            .map(|(place, word)| {
                let capital = word[..1].to_uppercase() + &word[1..];
                if place == 0 { word.to_owned() } else { capital }
            })
            .collect();
        let bound = |bound: u64| json!({ "type": kind, &keyword: bound });
        let any = json!({ "type": kind });
        let is_upper = rule.contains("max");
        let (narrow, wide) = if is_upper { (3, 7) } else { (7, 3) };
        let verbs = if is_upper {
            ("lowered", "raised")
        } else {
            ("raised", "lowered")
        };
        rows.extend(both(rule, verbs, &bound(wide), &bound(narrow)));
        rows.extend(both(rule, ("set", "removed"), &any, &bound(3)));
    }
    rows
}

fn keywords() -> Vec<OfValue> {
    let text = json!({ "type": "string" });
    let list = json!({ "type": "array", "items": { "enum": ["a", "b"] } });
    let any = json!({ "type": "object" });
    let members = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": {}, "c": {} } });
    let letters = json!({ "enum": ["a", "b", "c"] });
    let condition = |wanted: &[&str]| json!({ "if": { "required": ["a"], "properties": { "a": { "const": "DE" } } }, "then": { "required": wanted } });
    let mut rows = Vec::new();
    for (rule, schema, wide, narrow, impacts) in [
        (
            "pattern",
            &text,
            json!({ "pattern": "^[A-Z]+$" }),
            json!({ "pattern": "^[A-Z]{2}$" }),
            (Breaking, Safe),
        ),
        (
            "format",
            &text,
            json!({ "format": "date" }),
            json!({ "format": "date-time" }),
            (Breaking, Breaking),
        ),
        (
            "multiple-of",
            &json!({ "type": "number" }),
            json!({ "multipleOf": 0.01 }),
            json!({ "multipleOf": 0.1 }),
            (Breaking, Safe),
        ),
        (
            "unique-items",
            &list,
            json!({ "uniqueItems": false }),
            json!({ "uniqueItems": true }),
            (Breaking, Safe),
        ),
        (
            "not",
            &letters,
            json!({ "not": { "const": "a" } }),
            json!({ "not": { "enum": ["a", "b"] } }),
            (Breaking, Safe),
        ),
        (
            "condition",
            &members,
            condition(&["b"]),
            condition(&["b", "c"]),
            (Breaking, Safe),
        ),
        (
            "contains",
            &list,
            json!({ "contains": { "const": "a" } }),
            json!({ "contains": { "const": "a" }, "minContains": 2 }),
            (Breaking, Safe),
        ),
        (
            "property-names",
            &any,
            json!({ "propertyNames": { "pattern": "^[a-z]+$" } }),
            json!({ "propertyNames": { "pattern": "^[a-z]{1,3}$" } }),
            (Breaking, Safe),
        ),
        (
            "pattern-properties",
            &any,
            json!({ "patternProperties": { "^x": { "type": "number" } } }),
            json!({ "patternProperties": { "^x": { "type": "integer" } } }),
            (Breaking, Safe),
        ),
        (
            "dependencies",
            &members,
            json!({ "dependentRequired": { "a": ["b"] } }),
            json!({ "dependentRequired": { "a": ["b", "c"] } }),
            (Breaking, Safe),
        ),
        (
            "unevaluated-items",
            &json!({ "type": "array" }),
            json!({ "unevaluatedItems": { "type": "number" } }),
            json!({ "unevaluatedItems": { "type": "integer" } }),
            (Breaking, Safe),
        ),
        (
            "unevaluated-properties",
            &any,
            json!({ "unevaluatedProperties": { "type": "number" } }),
            json!({ "unevaluatedProperties": { "type": "integer" } }),
            (Breaking, Safe),
        ),
    ] {
        let (wide, narrow) = (with(schema, &wide), with(schema, &narrow));
        rows.extend(both(rule, ("set", "removed"), schema, &narrow));
        rows.push(row(&format!("{rule}-changed"), wide, narrow, impacts.0, impacts.1));
    }
    // Dependencies are also schemas.
    let dependent = with(&members, &json!({ "dependentSchemas": { "a": { "required": ["b"] } } }));
    rows.extend(both("dependencies", ("set", "removed"), &members, &dependent));
    rows
}

fn members() -> Vec<OfValue> {
    let closed = |members: Value, required: &[&str]| json!({ "type": "object", "additionalProperties": false, "properties": members, "required": required });
    let (one, two) = (json!({ "a": {} }), json!({ "a": {}, "b": { "type": "integer" } }));
    let texts = json!({ "a": {}, "b": { "type": "string" } });
    let reserved = |members: &Value| with(&closed(members.clone(), &[]), &json!({ "x-reserved": ["b"] }));
    let any = json!({ "type": "object" });
    let mut rows = vec![
        row(
            "property-added",
            closed(one.clone(), &[]),
            closed(two.clone(), &[]),
            Safe,
            Risky,
        ),
        row(
            "property-removed",
            closed(two.clone(), &["b"]),
            closed(one.clone(), &[]),
            Breaking,
            Breaking,
        ),
        row(
            "required-property-added",
            closed(one.clone(), &[]),
            closed(two.clone(), &["b"]),
            Breaking,
            Risky,
        ),
        row("reserved-name-used", reserved(&one), reserved(&two), Breaking, Breaking),
        row(
            "reservation-removed",
            reserved(&one),
            closed(one.clone(), &[]),
            Risky,
            Risky,
        ),
        OfValue {
            earlier: Some(closed(texts, &[])),
            ..row(
                "removed-name-reused",
                closed(one.clone(), &[]),
                closed(two, &[]),
                Risky,
                Risky,
            )
        },
    ];
    let (optional, required) = (closed(one.clone(), &[]), closed(one.clone(), &["a"]));
    rows.extend(both("property-became", ("required", "optional"), &optional, &required));
    let open = json!({ "type": "object", "properties": one });
    rows.push(row(
        "additional-properties-closed",
        open.clone(),
        optional.clone(),
        Breaking,
        Safe,
    ));
    rows.push(row("additional-properties-opened", optional, open, Safe, Risky));
    let numbers = json!({ "type": "object", "additionalProperties": { "type": "number" } });
    rows.extend(both("additional-properties", ("set", "removed"), &any, &numbers));
    rows
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn others() -> Vec<OfValue> {
    let text = json!({ "type": "string" });
    let says = |keyword: &str, value: Value| with(&text, &json!({ keyword: value }));
    let codes = |codes: &[&str]| json!({ "type": "string", "enum": codes });
    let kind =
        |name: &str| json!({ "type": "object", "required": ["kind"], "properties": { "kind": { "const": name } } });
    let prefix = |count: usize| json!({ "type": "array", "prefixItems": vec![text.clone(); count] });
    let nullable = json!({ "type": ["string", "null"] });
    let meaning =
        |mapping: Value| json!({ "type": "object", "discriminator": { "propertyName": "kind", "mapping": mapping } });
    let (known, more) = (
        meaning(json!({ "a": "#/a" })),
        meaning(json!({ "a": "#/a", "b": "#/b" })),
    );
    let any = json!({ "type": "object" });
    let twice = |limit: u64| json!({ "type": "string", "allOf": [{ "maxLength": limit }, { "maxLength": 9 }] });
    let odd = |last: &str| json!({ "type": "string", "allOf": [{ "pattern": format!("^(?=[a-z])[a-z]{last}$") }, { "pattern": "^[a-z]" }] });
    let mut rows = vec![
        row(
            "type-changed",
            text.clone(),
            json!({ "type": "integer" }),
            Breaking,
            Breaking,
        ),
        row("became-nullable", text.clone(), nullable.clone(), Safe, Breaking),
        row("became-not-nullable", nullable, text.clone(), Breaking, Safe),
        row("became-enum", text.clone(), codes(&["a"]), Breaking, Safe),
        row("enum-opened", codes(&["a"]), text.clone(), Safe, Breaking),
        row("enum-value-added", codes(&["a"]), codes(&["a", "b"]), Safe, Breaking),
        row("enum-value-removed", codes(&["a", "b"]), codes(&["a"]), Breaking, Safe),
        row("prefix-items-changed", prefix(1), prefix(2), Breaking, Safe),
        row("default-set", text.clone(), says("default", json!("a")), Risky, Safe),
        row(
            "default-changed",
            says("default", json!("a")),
            says("default", json!("b")),
            Breaking,
            Safe,
        ),
        row(
            "default-removed",
            says("default", json!("a")),
            text.clone(),
            Risky,
            Safe,
        ),
        row(
            "became-read-only",
            text.clone(),
            says("readOnly", json!(true)),
            Risky,
            Safe,
        ),
        row(
            "no-longer-read-only",
            says("readOnly", json!(true)),
            text.clone(),
            Safe,
            Safe,
        ),
        row(
            "became-write-only",
            text.clone(),
            says("writeOnly", json!(true)),
            Safe,
            Risky,
        ),
        row(
            "no-longer-write-only",
            says("writeOnly", json!(true)),
            text.clone(),
            Safe,
            Safe,
        ),
        row(
            "became-deprecated",
            text.clone(),
            says("deprecated", json!(true)),
            Safe,
            Safe,
        ),
        row(
            "no-longer-deprecated",
            says("deprecated", json!(true)),
            text.clone(),
            Safe,
            Safe,
        ),
        row(
            "content-encoding-changed",
            text.clone(),
            says("contentEncoding", json!("base64")),
            Breaking,
            Breaking,
        ),
        row(
            "content-media-type-changed",
            text.clone(),
            says("contentMediaType", json!("text/csv")),
            Breaking,
            Breaking,
        ),
        row("discriminator-set", any.clone(), known.clone(), Risky, Risky),
        row("discriminator-removed", known.clone(), any, Risky, Risky),
        row("discriminator-mapping-added", known.clone(), more.clone(), Safe, Risky),
        row("discriminator-changed", more, known, Breaking, Breaking),
        OfValue {
            received: None,
            ..row("narrowed", twice(5), twice(3), Breaking, Safe)
        },
        OfValue {
            sent: None,
            ..row("widened", twice(3), twice(5), Safe, Breaking)
        },
        row("undecided", odd("+"), odd("*"), Risky, Risky),
    ];
    let list = json!({ "type": "array" });
    rows.extend(both(
        "items",
        ("set", "removed"),
        &list,
        &with(&list, &json!({ "items": text })),
    ));
    for (keyword, rule) in [("oneOf", "one-of-branch"), ("anyOf", "any-of-branch")] {
        let (two, one) = (
            json!({ keyword: [kind("a"), kind("b")] }),
            json!({ keyword: [kind("a")] }),
        );
        rows.extend(both(rule, ("removed", "added"), &two, &one));
    }
    rows
}

/// Changes of what kinds of bodies there are: the rule, both `content`, sent and received.
fn kinds() -> Vec<OfValue> {
    let of = |kind: &str, described: Value| json!({ kind: described });
    let (bare, text) = (
        of("application/json", json!({})),
        of("application/json", json!({ "schema": { "type": "string" } })),
    );
    let two = json!({ "application/json": {}, "text/csv": {} });
    let mut rows = Vec::from(both("schema", ("set", "removed"), &bare, &text));
    rows.push(row("media-type-added", bare.clone(), two.clone(), Safe, Safe));
    rows.push(row("media-type-removed", two, bare, Breaking, Breaking));
    rows.push(row(
        "media-type-generalised",
        of("text/csv", json!({})),
        of("text/*", json!({})),
        Safe,
        Breaking,
    ));
    rows
}

/// Compares two versions, and says what a rule means there.
#[track_caller]
fn impact_of(rule: &str, older: &Value, newer: &Value, options: &Options) -> Option<Impact> {
    let comparison = Comparison::new("t", &[file("v1", older)], &[file("v2", newer)], options).unwrap();
    let found: Vec<&Change> = comparison.changes.iter().filter(|change| change.rule == rule).collect();
    assert!(found.len() <= 1, "{rule}: {:#?}", comparison.changes);
    found.first().map(|change| change.impact)
}

#[test]
fn every_rule_on_values_has_two_schemas_that_break_it() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    let schemas = [bounds(), keywords(), members(), others()].into_iter().flatten();
    let rows = schemas
        .map(|row| (false, row))
        .chain(kinds().into_iter().map(|row| (true, row)));
    for (is_kind, row) in rows {
        for subject in SUBJECTS.iter().filter(|subject| can_be(subject, &row.rule)) {
            let document = |value: &Value| {
                if !is_kind {
                    return about(subject, value);
                }
                let mut document = about(subject, &json!({}));
                for place in [
                    "/paths/~1things/post/requestBody/content",
                    "/paths/~1things/post/responses/200/content",
                    "/webhooks/done/post/requestBody/content",
                    "/webhooks/done/post/responses/200/content",
                ] {
                    if let Some(content) = document.pointer_mut(place) {
                        *content = value.clone();
                    }
                }
                document
            };
            let rule = format!("{subject}-{}", row.rule);
            let options = Options {
                earlier: row
                    .earlier
                    .iter()
                    .map(|earlier| vec![file("v0", &document(earlier))])
                    .collect(),
                ..Options::default()
            };
            let expected = if is_sent(subject) { row.sent } else { row.received };
            let found = impact_of(&rule, &document(&row.older), &document(&row.newer), &options);
            if found != expected {
                wrong.push(format!(
                    "{rule}: {found:?} instead of {expected:?}, {} → {}",
                    row.older, row.newer
                ));
            }
            seen.insert(rule);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = SUBJECTS.iter().flat_map(|subject| {
        let rules = of_values().into_iter().filter(|rule| can_be(subject, rule));
        rules.map(|rule| format!("{subject}-{rule}")).collect::<Vec<_>>()
    });
    let missing: Vec<String> = all.filter(|rule| !seen.contains(rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The rules on values, behind what they are about.
fn of_values() -> BTreeSet<String> {
    let each = |names: &[&str], verbs: &[&str]| -> Vec<String> {
        let names = names
            .iter()
            .flat_map(|name| verbs.iter().map(move |verb| format!("{name}-{verb}")));
        names.collect()
    };
    let mut all: BTreeSet<String> = VALUE_RULES.iter().map(|rule| (*rule).to_owned()).collect();
    all.extend(each(BOUNDS, &["lowered", "raised", "set", "removed"]));
    all.extend(each(KEYWORDS, &["set", "changed", "removed"]));
    all
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_other_rule_has_two_versions_that_break_it() {
    let of = |parts: Value| {
        documented(
            with(&json!({ "responses": { "200": {} } }), &parts),
            &json!({ "responses": { "200": {} } }),
        )
    };
    let none = || of(json!({}));
    let empty = || json!({ "openapi": "3.1.0", "paths": {}, "webhooks": { "done": { "post": { "responses": { "200": {} } } } } });
    let at = |path: &str, id: &str| {
        let names: Vec<_> = path
            .split('{')
            .skip(1)
            .map(|rest| rest.trim_end_matches('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": {} }))
            .collect();
        json!({ "openapi": "3.1.0", "paths": { path: { "get": { "operationId": id, "parameters": names, "responses": {} } } } })
    };
    let until = |day: &str| of(json!({ "deprecated": true, "x-sunset": day }));
    let open = || of(json!({ "deprecated": true }));
    let soon = jiff::Zoned::now()
        .date()
        .tomorrow()
        .unwrap()
        .tomorrow()
        .unwrap()
        .to_string();
    let level = |level: &str| of(json!({ "x-stability-level": level }));
    let needs = |security: Value| of(json!({ "security": security }));
    let scheme = |place: &str| {
        with(
            &needs(json!([{ "key": [] }])),
            &json!({ "components": { "securitySchemes": { "key": { "type": "apiKey", "in": place, "name": "k" } } } }),
        )
    };
    let query = |name: &str, schema: Value, more: Value| {
        of(json!({ "parameters": [with(&json!({ "name": name, "in": "query", "schema": schema }), &more)] }))
    };
    let plain = |name: &str| query(name, json!({ "type": "string" }), json!({}));
    let size = |more: Value| query("page_size", with(&json!({ "type": "integer" }), &more), json!({}));
    let body = |is_required: bool| {
        of(json!({ "requestBody": { "required": is_required, "content": { "application/json": {} } } }))
    };
    let answers = |answers: Value| of(json!({ "responses": answers }));
    let field = |is_required: bool| answers(json!({ "200": { "headers": { "Total": { "required": is_required } } } }));
    let failing = |kinds: Value| {
        answers(
            json!({ "422": { "content": { "application/json": { "schema": { "type": "object", "properties": { "type": { "enum": kinds } } } } } } }),
        )
    };
    let hook = |parts: Value| {
        documented(
            json!({ "responses": { "200": {} } }),
            &with(&json!({ "responses": { "200": {} } }), &parts),
        )
    };
    let called = |is_required: bool| {
        hook(json!({ "requestBody": { "required": is_required, "content": { "application/json": {} } } }))
    };
    let unhooked = || json!({ "openapi": "3.1.0", "paths": none()["paths"] });
    let table = [
        ("operation-added", empty(), none(), Safe),
        ("operation-removed", none(), empty(), Breaking),
        (
            "operation-removed-before-sunset",
            until("9999-01-31"),
            empty(),
            Breaking,
        ),
        ("operation-removed-after-sunset", until("2020-01-31"), empty(), Safe),
        ("deprecated-operation-removed", open(), empty(), Risky),
        ("operation-id-changed", at("/a", "a"), at("/a", "b"), Risky),
        ("operation-moved", at("/a", "a"), at("/b", "a"), Breaking),
        ("path-names-changed", at("/a/{no}", "a"), at("/a/{id}", "a"), Safe),
        ("operation-deprecated", none(), until("9999-01-31"), Safe),
        ("operation-deprecated-without-sunset", none(), open(), Risky),
        (
            "operation-deprecated-without-sunset",
            none(),
            until("soon after"),
            Risky,
        ),
        ("operation-no-longer-deprecated", open(), none(), Safe),
        ("sunset-set", open(), until("9999-01-31"), Safe),
        (
            "sunset-moved-earlier",
            until("9999-06-30"),
            until("9999-01-31"),
            Breaking,
        ),
        ("sunset-moved-later", until("9999-01-31"), until("9999-06-30"), Safe),
        ("sunset-removed", until("9999-01-31"), open(), Risky),
        ("sunset-too-near", none(), until(&soon), Breaking),
        ("sunset-too-near", open(), until(&soon), Breaking),
        ("stability-decreased", level("stable"), level("beta"), Breaking),
        ("stability-increased", level("draft"), level("alpha"), Safe),
        (
            "security-relaxed",
            needs(json!([{ "key": [] }])),
            needs(json!([])),
            Safe,
        ),
        (
            "security-tightened",
            needs(json!([])),
            needs(json!([{ "key": [] }])),
            Breaking,
        ),
        (
            "security-scope-added",
            needs(json!([{ "key": ["a"] }])),
            needs(json!([{ "key": ["a", "b"] }])),
            Breaking,
        ),
        ("security-scheme-changed", scheme("header"), scheme("query"), Breaking),
        ("pagination-added", none(), plain("page"), Risky),
        ("pagination-removed", plain("offset"), none(), Breaking),
        (
            "pagination-style-changed",
            plain("page[number]"),
            plain("pageToken"),
            Breaking,
        ),
        (
            "page-size-default-set",
            size(json!({})),
            size(json!({ "default": 20 })),
            Risky,
        ),
        (
            "page-size-default-changed",
            size(json!({ "default": 50 })),
            size(json!({ "default": 20 })),
            Breaking,
        ),
        (
            "page-size-default-removed",
            size(json!({ "default": 20 })),
            size(json!({})),
            Risky,
        ),
        (
            "page-size-maximum-set",
            size(json!({})),
            size(json!({ "maximum": 20 })),
            Breaking,
        ),
        (
            "page-size-maximum-lowered",
            size(json!({ "maximum": 50 })),
            size(json!({ "maximum": 20 })),
            Breaking,
        ),
        (
            "page-size-maximum-raised",
            size(json!({ "maximum": 20 })),
            size(json!({ "maximum": 50 })),
            Safe,
        ),
        (
            "page-size-maximum-removed",
            size(json!({ "maximum": 20 })),
            size(json!({})),
            Safe,
        ),
        ("request-parameter-added", none(), plain("q"), Safe),
        (
            "required-request-parameter-added",
            none(),
            query("q", json!({}), json!({ "required": true })),
            Breaking,
        ),
        ("request-parameter-removed", plain("q"), none(), Breaking),
        (
            "request-parameter-moved",
            plain("q"),
            of(json!({ "parameters": [{ "name": "q", "in": "header", "schema": {} }] })),
            Breaking,
        ),
        (
            "request-parameter-became-required",
            plain("q"),
            query("q", json!({}), json!({ "required": true })),
            Breaking,
        ),
        (
            "request-parameter-became-optional",
            query("q", json!({}), json!({ "required": true })),
            plain("q"),
            Safe,
        ),
        (
            "request-parameter-style-changed",
            plain("q"),
            query("q", json!({}), json!({ "explode": false })),
            Breaking,
        ),
        (
            "request-parameter-deprecated",
            plain("q"),
            query("q", json!({}), json!({ "deprecated": true })),
            Safe,
        ),
        ("request-body-added", none(), body(false), Safe),
        ("required-request-body-added", none(), body(true), Breaking),
        ("request-body-removed", body(false), none(), Breaking),
        ("request-body-became-required", body(false), body(true), Breaking),
        ("request-body-became-optional", body(true), body(false), Safe),
        (
            "response-status-added",
            none(),
            answers(json!({ "200": {}, "202": {} })),
            Risky,
        ),
        (
            "response-status-removed",
            answers(json!({ "200": {}, "202": {} })),
            none(),
            Breaking,
        ),
        (
            "response-failure-status-added",
            none(),
            answers(json!({ "200": {}, "404": {} })),
            Risky,
        ),
        (
            "response-failure-status-added",
            answers(json!({ "200": {}, "4XX": {} })),
            answers(json!({ "200": {}, "4XX": {}, "404": {} })),
            Safe,
        ),
        (
            "response-failure-status-removed",
            answers(json!({ "200": {}, "404": {} })),
            none(),
            Risky,
        ),
        ("response-header-added", none(), field(false), Safe),
        ("response-header-removed", field(false), none(), Risky),
        ("required-response-header-removed", field(true), none(), Breaking),
        ("response-header-became-required", field(false), field(true), Safe),
        ("response-header-became-optional", field(true), field(false), Breaking),
        (
            "problem-type-added",
            failing(json!(["a"])),
            failing(json!(["a", "b"])),
            Breaking,
        ),
        (
            "problem-type-removed",
            failing(json!(["a", "b"])),
            failing(json!(["a"])),
            Risky,
        ),
        ("webhook-added", unhooked(), none(), Safe),
        ("webhook-removed", none(), unhooked(), Breaking),
        ("webhook-body-added", none(), called(false), Safe),
        ("webhook-body-removed", called(false), none(), Risky),
        ("webhook-body-became-required", called(false), called(true), Safe),
        ("webhook-body-became-optional", called(true), called(false), Breaking),
    ];
    let options = Options {
        sunset_days: Some(90),
        ..Options::default()
    };
    for (rule, older, newer, impact) in &table {
        assert_eq!(
            impact_of(rule, older, newer, &options),
            Some(*impact),
            "{rule}: {older} → {newer}"
        );
    }
    let missing: Vec<_> = RULES
        .iter()
        .filter(|rule| table.iter().all(|row| row.0 != **rule))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_sunset_may_be_near_where_nobody_asked() {
    let tomorrow = jiff::Zoned::now().date().tomorrow().unwrap().to_string();
    let newer = documented(
        json!({ "responses": {}, "deprecated": true, "x-sunset": tomorrow }),
        &json!({}),
    );
    let older = documented(json!({ "responses": {} }), &json!({}));
    assert_eq!(
        impact_of("operation-deprecated", &older, &newer, &Options::default()),
        Some(Safe)
    );
}

#[test]
fn the_guide_lists_every_rule_and_no_other() {
    let guide = std::fs::read_to_string("contracts/README.md").unwrap();
    let start = guide.find("The rules have names that stay").unwrap();
    let end = start + guide[start..].find("\n## ").unwrap();
    let mut listed = BTreeSet::new();
    for row in guide[start..end].lines().filter(|line| line.starts_with("| `")) {
        let names: Vec<&str> = row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        let (verbs, names): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.starts_with("X-"));
        if verbs.is_empty() {
            listed.extend(names.into_iter().map(str::to_owned));
        } else {
            let of = |name: &str| verbs.iter().map(|verb| verb.replace('X', name)).collect::<Vec<_>>();
            listed.extend(names.into_iter().flat_map(of));
        }
    }
    let mut all = of_values();
    all.extend(RULES.iter().map(|rule| (*rule).to_owned()));
    assert_eq!(
        listed.symmetric_difference(&all).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}
