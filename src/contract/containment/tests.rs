use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::json;

use super::*;

fn decide(sub: &Value, sup: &Value) -> Answer {
    Containment::new(sub.clone(), sup.clone()).decide("", "")
}

/// The places and keywords of what is refused.
fn refusals(answer: &Answer) -> Vec<(&str, &str)> {
    match answer {
        Answer::Refuted { differences, .. } => differences
            .iter()
            .map(|found| (found.at.as_str(), found.keyword.as_str()))
            .collect(),
        other => panic!("not refuted: {other:?}"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is written where it is passed")]
fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

#[test]
fn what_is_narrower_is_within() {
    for (sub, sup) in [
        (json!(false), json!({ "type": "string" })),
        (json!({ "type": "string" }), json!(true)),
        (json!({ "type": "integer" }), json!({ "type": "number" })),
        (
            json!({ "type": "integer", "minimum": 1 }),
            json!({ "exclusiveMinimum": 0 }),
        ),
        (
            json!({ "multipleOf": 0.01, "type": "number" }),
            json!({ "multipleOf": 0.001 }),
        ),
        (
            json!({ "enum": ["a", null] }),
            json!({ "type": ["string", "null"], "maxLength": 1 }),
        ),
        (
            json!({ "type": "string", "pattern": "^[A-Z]{2}$" }),
            json!({ "type": "string", "minLength": 2, "maxLength": 40 }),
        ),
        (
            json!({ "type": "string", "pattern": "^(a|b)$" }),
            json!({ "enum": ["a", "b", "c"] }),
        ),
        (
            json!({ "type": "string", "format": "date" }),
            json!({ "maxLength": 10 }),
        ),
        (
            json!({ "type": "string", "maxLength": 5, "format": "x-own" }),
            json!({ "type": "string", "maxLength": 5 }),
        ),
        (json!({ "type": "boolean" }), json!({ "enum": [true, false, 3] })),
        (
            object(json!({ "a": { "type": "string", "maxLength": 3 } }), &["a"]),
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "null" } }, "maxProperties": 2 }),
        ),
        (
            json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 3, "minItems": 1 }),
            json!({ "type": "array", "items": { "type": "number" }, "maxItems": 4 }),
        ),
        (
            json!({ "type": "array", "prefixItems": [{ "const": 1 }, { "const": 2 }], "items": false }),
            json!({ "type": "array", "items": { "type": "integer" }, "maxItems": 2 }),
        ),
        (
            json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] }),
            json!({ "type": ["null", "string", "boolean"] }),
        ),
        (
            json!({ "type": ["string", "null"] }),
            json!({ "anyOf": [{ "type": "null" }, { "type": "string" }] }),
        ),
        (
            object(
                json!({ "kind": { "const": "cat" }, "name": { "type": "string" } }),
                &["kind"],
            ),
            json!({ "oneOf": [
                { "type": "object", "required": ["kind"], "properties": { "kind": { "const": "dog" } } },
                { "type": "object", "required": ["kind"], "properties": { "kind": { "enum": ["cat", "lion"] } } },
            ] }),
        ),
        (
            json!({ "allOf": [{ "type": "string" }, { "maxLength": 3 }] }),
            json!({ "allOf": [{ "maxLength": 4 }, { "type": ["string", "null"] }] }),
        ),
        (
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "integer" } }, "additionalProperties": false }),
            json!({ "type": "object", "additionalProperties": { "type": "number" } }),
        ),
        (
            json!({ "type": "object", "properties": { "x-a": { "const": 1 } }, "additionalProperties": false }),
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "number" } }, "additionalProperties": false }),
        ),
        (
            json!({ "if": { "type": "string" }, "then": { "maxLength": 3 }, "type": "string" }),
            json!({ "if": { "type": "string" }, "then": { "maxLength": 3 } }),
        ),
        (
            json!({ "type": "string", "minLength": 3 }),
            json!({ "not": { "type": "integer" } }),
        ),
        (
            json!({ "allOf": [{ "properties": { "a": { "type": "string" } } }], "type": "object", "unevaluatedProperties": false }),
            object(json!({ "a": true }), &[]),
        ),
    ] {
        assert_eq!(decide(&sub, &sup), Answer::Proved, "{sub} within {sup}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_is_wider_is_refuted_with_its_place_and_a_document() {
    for (sub, sup, expected) in [
        (json!(true), json!(false), ("", "false")),
        (json!({ "type": "string" }), json!({ "type": "integer" }), ("", "type")),
        (json!({ "type": "number" }), json!({ "type": "integer" }), ("", "type")),
        (
            json!({ "type": "string", "maxLength": 40 }),
            json!({ "maxLength": 20 }),
            ("", "maxLength"),
        ),
        (
            json!({ "type": "string" }),
            json!({ "minLength": 1 }),
            ("", "minLength"),
        ),
        (
            json!({ "type": "string" }),
            json!({ "pattern": "^[0-9]+$" }),
            ("", "pattern"),
        ),
        (
            json!({ "type": "string" }),
            json!({ "pattern": "^(?=a)" }),
            ("", "pattern"),
        ),
        (
            json!({ "type": "string", "maxLength": 10 }),
            json!({ "format": "date" }),
            ("", "format"),
        ),
        (
            json!({ "type": "string", "format": "uuid" }),
            json!({ "maxLength": 30 }),
            ("", "maxLength"),
        ),
        (
            json!({ "type": "integer", "maximum": 9 }),
            json!({ "maximum": 8 }),
            ("", "maximum"),
        ),
        (
            json!({ "type": "number", "minimum": 0 }),
            json!({ "exclusiveMinimum": 0 }),
            ("", "exclusiveMinimum"),
        ),
        (
            json!({ "type": "number", "multipleOf": 0.01 }),
            json!({ "multipleOf": 0.1 }),
            ("", "multipleOf"),
        ),
        (
            json!({ "type": "string" }),
            json!({ "minLength": 1e20 }),
            ("", "minLength"),
        ),
        (json!({ "enum": ["a", "b"] }), json!({ "enum": ["a"] }), ("", "enum")),
        (json!({ "enum": ["a", "b"] }), json!({ "const": "a" }), ("", "const")),
        (json!({ "type": "string" }), json!({ "enum": ["a"] }), ("", "enum")),
        (
            json!({ "type": ["string", "null"] }),
            json!({ "type": "string" }),
            ("", "type"),
        ),
        (
            object(json!({ "a": { "type": "string" } }), &[]),
            object(json!({ "a": { "type": "string" } }), &["a"]),
            ("a", "required"),
        ),
        (
            object(json!({ "a": true, "b": { "type": "integer" } }), &["a"]),
            object(json!({ "a": true }), &[]),
            ("b", "false"),
        ),
        (json!({ "type": "object" }), object(json!({}), &[]), ("*", "false")),
        (
            object(
                json!({ "lines": { "type": "array", "items": object(json!({ "uom": { "enum": ["EA", "KG"] } }), &["uom"]) } }),
                &["lines"],
            ),
            object(
                json!({ "lines": { "type": "array", "items": object(json!({ "uom": { "const": "EA" } }), &["uom"]) } }),
                &["lines"],
            ),
            ("lines[].uom", "const"),
        ),
        (
            json!({ "type": "array", "maxItems": 200, "items": { "type": "integer" } }),
            json!({ "type": "array", "maxItems": 100 }),
            ("", "maxItems"),
        ),
        (
            json!({ "type": "array" }),
            json!({ "uniqueItems": true }),
            ("", "uniqueItems"),
        ),
        (
            json!({ "type": "array", "prefixItems": [true, { "type": "integer" }] }),
            json!({ "type": "array", "prefixItems": [true, { "type": "string" }] }),
            ("[1]", "type"),
        ),
        (
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] }),
            json!({ "oneOf": [{ "type": "string" }, { "type": "boolean" }] }),
            ("", "oneOf"),
        ),
        (
            json!({ "oneOf": [object(json!({ "k": { "const": "a" }, "n": { "maxLength": 9, "type": "string" } }), &["k"])] }),
            json!({ "oneOf": [
                object(json!({ "k": { "const": "a" }, "n": { "maxLength": 3, "type": "string" } }), &["k"]),
                object(json!({ "k": { "const": "b" } }), &["k"]),
            ] }),
            ("n", "maxLength"),
        ),
        (
            json!({ "type": "integer" }),
            json!({ "not": { "const": 0 } }),
            ("", "not"),
        ),
        (
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "number" } }, "additionalProperties": false }),
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            ("*", "type"),
        ),
    ] {
        let answer = decide(&sub, &sup);
        assert_eq!(refusals(&answer), [expected], "{sub} within {sup}: {answer:?}");
        is_confirmed(&sub, &sup, &answer);
    }
}

/// Every difference has a document that the one schema admits and the other refuses.
fn is_confirmed(sub: &Value, sup: &Value, answer: &Answer) {
    let Answer::Refuted { differences, .. } = answer else {
        return;
    };
    assert!(!differences.is_empty());
    let (sub, sup) = (jsonschema_of(sub), jsonschema_of(sup));
    for found in differences {
        assert!(
            sub.is_valid(&found.witness) && !sup.is_valid(&found.witness),
            "{found:?}"
        );
    }
}

/// Another validator than the one that the walk itself asks.
fn jsonschema_of(schema: &Value) -> jsonschema::Validator {
    let options = jsonschema::options()
        .offline()
        .with_draft(jsonschema::Draft::Draft202012);
    options.should_validate_formats(true).build(schema).unwrap()
}

#[test]
fn all_differences_of_a_document_are_found_at_once() {
    let sub = object(
        json!({ "a": { "type": "string" }, "b": { "type": "integer" }, "c": true }),
        &["b"],
    );
    let sup = object(
        json!({ "a": { "type": "string", "maxLength": 3 }, "b": { "type": "integer", "minimum": 0 } }),
        &["a"],
    );
    let mut found = refusals(&decide(&sub, &sup))
        .into_iter()
        .map(|(at, keyword)| format!("{at} {keyword}"))
        .collect::<Vec<_>>();
    found.sort();
    assert_eq!(found, ["a maxLength", "a required", "b minimum", "c false"]);
}

#[test]
fn what_is_beyond_is_told_as_a_schema() {
    let Answer::Refuted { differences, .. } = decide(
        &json!({ "type": "string", "maxLength": 40 }),
        &json!({ "type": "string", "maxLength": 20 }),
    ) else {
        panic!("not refuted")
    };
    assert_eq!(
        differences[0].beyond,
        Some(json!({ "type": "string", "minLength": 21, "maxLength": 40 }))
    );
    let Answer::Refuted { differences, .. } = decide(&json!({ "enum": ["a", "b", "c"] }), &json!({ "enum": ["b"] }))
    else {
        panic!("not refuted")
    };
    assert_eq!(differences[0].beyond, Some(json!({ "enum": ["a", "c"] })));
}

#[test]
fn recursive_schemas_are_compared_by_induction() {
    let tree = |depth: u64| {
        json!({
            "$ref": "#/$defs/Tree",
            "$defs": { "Tree": {
                "type": "object", "additionalProperties": false,
                "properties": { "name": { "type": "string", "maxLength": depth }, "parts": { "type": "array", "items": { "$ref": "#/$defs/Tree" } } },
            } },
        })
    };
    assert_eq!(decide(&tree(3), &tree(4)), Answer::Proved);
    let answer = decide(&tree(4), &tree(3));
    assert_eq!(refusals(&answer)[0], ("name", "maxLength"));
    // Circles without a step into the value end too.
    let circle =
        json!({ "$ref": "#/$defs/A", "$defs": { "A": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "string" }] } } });
    assert!(matches!(
        decide(&json!({ "type": "integer" }), &circle),
        Answer::Unknown(_) | Answer::Refuted { .. }
    ));
    assert_ne!(decide(&circle, &json!({ "type": "integer" })), Answer::Proved);
    assert_eq!(decide(&json!({ "type": "string" }), &circle), Answer::Proved);
    let own = json!({ "$ref": "#" });
    assert!(!matches!(decide(&own, &json!({ "type": "string" })), Answer::Proved));
}

#[test]
fn large_enumerations_and_wide_objects_are_compared_in_time() {
    let codes = |count: usize| json!({ "enum": (0..count).map(|code| format!("C{code}")).collect::<Vec<_>>() });
    let started = Instant::now();
    assert_eq!(decide(&codes(3_000), &codes(3_001)), Answer::Proved);
    assert_eq!(refusals(&decide(&codes(3_001), &codes(3_000))), [("", "enum")]);
    let wide = |max: usize| {
        let names = (0..300).map(|name| (format!("p{name}"), json!({ "type": "string", "maxLength": max })));
        object(Value::Object(names.collect()), &[])
    };
    assert_eq!(decide(&wide(3), &wide(4)), Answer::Proved);
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
}

#[test]
fn a_used_up_budget_is_unknown_and_nothing_else() {
    let branches: Vec<Value> = (0..12)
        .map(|choice| {
            json!({ "anyOf": (0..6).map(|branch| json!({ "properties": { format!("p{choice}"): { "const": branch } } })).collect::<Vec<_>>() })
        })
        .collect();
    let (sub, sup) = (
        json!({ "allOf": branches }),
        json!({ "properties": { "q": { "type": "string", "contains": true } }, "dependentSchemas": { "q": { "maxProperties": 4 } } }),
    );
    let started = Instant::now();
    let mut containment = Containment::new(sub, sup).with_budget(Duration::from_millis(300));
    assert!(matches!(
        containment.decide("", ""),
        Answer::Unknown(_) | Answer::Refuted { .. }
    ));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn schemas_are_taken_from_the_middle_of_a_document() {
    let document = |max: u64| {
        json!({
            "openapi": "3.1.0",
            "components": { "schemas": {
                "Order": { "type": "object", "properties": { "a/b": { "$ref": "#/components/schemas/Name" } } },
                "Name": { "type": "string", "maxLength": max },
            } },
            "paths": { "/orders/{id}": { "x": { "$ref": "#/components/schemas/Order" } } },
        })
    };
    let mut containment = Containment::new(document(4), document(3));
    let place = "/paths/~1orders~1{id}/x";
    let Answer::Refuted { differences, .. } = containment.decide(place, "/components/schemas/Order") else {
        panic!("not refuted")
    };
    assert_eq!(differences[0].at, "\"a/b\"");
    assert_eq!(differences[0].sup, "/components/schemas/Name");
    assert_eq!(differences[0].sub, "/components/schemas/Order/properties/a~1b");
    assert_eq!(
        containment.decide("/components/schemas/Order", "/components/schemas/Order"),
        Answer::Refuted {
            differences,
            doubts: Vec::new()
        }
    );
}

#[test]
fn keywords_that_look_at_the_whole_value_are_compared_by_what_they_ask() {
    let members = |more: Value| {
        let mut schema = json!({ "type": "object", "properties": { "a": { "enum": ["DE", "FR"] }, "b": {}, "c": {} } });
        schema
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        schema
    };
    let list = |more: Value| {
        let mut schema = json!({ "type": "array", "items": { "enum": ["a", "b"] } });
        schema
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        schema
    };
    let when =
        |then: Value| json!({ "if": { "required": ["a"], "properties": { "a": { "const": "DE" } } }, "then": then });
    let needs = |names: &[&str]| json!({ "required": names });
    for (narrow, wide, keyword) in [
        (members(when(needs(&["b", "c"]))), members(when(needs(&["b"]))), "if"),
        (members(needs(&["b"])), members(when(needs(&["b"]))), "if"),
        (members(when(needs(&["b"]))), members(json!({})), ""),
        (
            list(json!({ "contains": { "const": "a" }, "minContains": 2 })),
            list(json!({ "contains": { "const": "a" } })),
            "contains",
        ),
        (
            list(json!({ "contains": { "const": "a" } })),
            list(json!({ "contains": { "type": "string" } })),
            "contains",
        ),
        (
            list(json!({ "minItems": 2 })),
            list(json!({ "contains": { "type": "string" } })),
            "contains",
        ),
        (
            list(json!({ "maxItems": 2 })),
            list(json!({ "contains": { "const": "a" }, "minContains": 0, "maxContains": 2 })),
            "contains",
        ),
        (
            members(json!({ "propertyNames": { "maxLength": 2 } })),
            members(json!({ "propertyNames": { "maxLength": 3 } })),
            "propertyNames",
        ),
        (
            members(json!({ "additionalProperties": false })),
            members(json!({ "propertyNames": { "maxLength": 9 } })),
            "propertyNames",
        ),
        (
            members(json!({ "dependentRequired": { "a": ["b"], "b": ["c"] } })),
            members(json!({ "dependentRequired": { "a": ["c"] } })),
            "dependentRequired",
        ),
        (
            members(needs(&["b"])),
            members(json!({ "dependentRequired": { "a": ["b"] } })),
            "dependentRequired",
        ),
        (
            members(json!({ "dependentSchemas": { "a": needs(&["b", "c"]) } })),
            members(json!({ "dependentSchemas": { "a": needs(&["b"]) } })),
            "dependentSchemas",
        ),
    ] {
        assert_eq!(decide(&narrow, &wide), Answer::Proved, "{narrow} {wide}");
        let answer = decide(&wide, &narrow);
        assert!(matches!(answer, Answer::Refuted { .. }), "{wide} {narrow}: {answer:?}");
        is_confirmed(&wide, &narrow, &answer);
        if !keyword.is_empty() {
            // Where the wide one says nothing of it, all that breaks it is found, too.
            let open = if keyword == "contains" {
                list(json!({}))
            } else {
                members(json!({}))
            };
            assert!(matches!(decide(&open, &wide), Answer::Refuted { .. }), "{open} {wide}");
        }
    }
    // What `unevaluatedItems` leaves over depends on what stands beside it.
    let rest =
        |prefix: usize| json!({ "type": "array", "prefixItems": vec![json!({}); prefix], "unevaluatedItems": false });
    assert_eq!(decide(&rest(1), &rest(2)), Answer::Proved);
    assert!(matches!(decide(&rest(2), &rest(1)), Answer::Refuted { .. }));
}

#[test]
fn references_that_lead_nowhere_are_not_guessed() {
    for broken in [
        json!({ "$ref": "#/$defs/None" }),
        json!({ "$ref": "other.json" }),
        json!({ "$ref": "#anchor" }),
    ] {
        assert_ne!(decide(&json!({ "type": "string" }), &broken), Answer::Proved);
        assert_ne!(decide(&broken, &json!({ "type": "string" })), Answer::Proved);
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-4_i64..5).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.5, -0.25, 2.0, 0.1]).prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
        prop::sample::select(vec!["2026-02-28", "2026-02-30", "ä", "A1"]).prop_map(Value::from),
    ]
}

fn instance() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abx]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// One or two keywords that mean something.
fn keyword() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::subsequence(
            vec!["null", "boolean", "integer", "number", "string", "array", "object"],
            1..4
        )
        .prop_map(|names| json!({ "type": names })),
        prop::collection::vec(scalar(), 1..4).prop_map(|values| json!({ "enum": values })),
        scalar().prop_map(|value| json!({ "const": value })),
        (0_u64..3).prop_map(|count| json!({ "minLength": count, "type": "string" })),
        (0_u64..3).prop_map(|count| json!({ "maxLength": count })),
        prop::sample::select(vec!["^a*$", "b", "^[ab]{2}$", "^$", "^(?!b)"])
            .prop_map(|pattern| json!({ "pattern": pattern })),
        Just(json!({ "format": "date" })),
        (-2_i64..3).prop_map(|bound| json!({ "minimum": bound })),
        (-2_i64..3).prop_map(|bound| json!({ "exclusiveMaximum": bound, "type": ["number", "string"] })),
        prop::sample::select(vec![0.5, 1.0, 2.0, 0.1]).prop_map(|step| json!({ "multipleOf": step })),
        (0_u64..3).prop_map(|count| json!({ "minItems": count })),
        (0_u64..3).prop_map(|count| json!({ "maxItems": count, "uniqueItems": true })),
        (0_u64..3).prop_map(|count| json!({ "minProperties": count })),
        (0_u64..3).prop_map(|count| json!({ "maxProperties": count })),
        prop::sample::subsequence(vec!["a", "b"], 0..3)
            .prop_map(|names| json!({ "required": names, "type": "object" })),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let merged = prop::collection::vec(keyword(), 0..3).prop_map(|all| {
        let members = all
            .into_iter()
            .flat_map(|one| one.as_object().cloned().unwrap_or_default());
        Value::Object(members.collect())
    });
    let leaf = prop_oneof![8 => merged, 1 => any::<bool>().prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (prop::collection::btree_map("[ab]", inner.clone(), 0..3), inner.clone(), any::<bool>(), prop::sample::subsequence(vec!["a", "b"], 0..3)).prop_map(
                |(properties, other, is_closed, required)| {
                    let other = if is_closed { json!(false) } else { other };
                    json!({ "type": "object", "properties": properties, "additionalProperties": other, "required": required })
                }
            ),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| json!({ "patternProperties": { "^a": one }, "additionalProperties": other })),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| json!({ "patternProperties": { "[ax]": one, "b": other } })),
            (inner.clone(), several.clone()).prop_map(|(items, prefix)| json!({ "items": items, "prefixItems": prefix })),
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            several.clone().prop_map(|all| json!({ "anyOf": all })),
            several.clone().prop_map(|all| json!({ "oneOf": all })),
            several.clone().prop_map(|all| json!({ "allOf": all })),
            inner.clone().prop_map(|one| json!({ "not": one })),
            inner.clone().prop_map(|one| json!({ "contains": one })),
            (inner.clone(), 0_u64..3, 0_u64..3).prop_map(|(one, least, most)| json!({ "contains": one, "minContains": least, "maxContains": most, "maxItems": 2 })),
            inner.clone().prop_map(|one| json!({ "propertyNames": one })),
            prop::sample::subsequence(vec!["a", "b", "x"], 0..3).prop_map(|names| json!({ "dependentRequired": { "a": names } })),
            inner.clone().prop_map(|one| json!({ "dependentSchemas": { "a": one } })),
            (several.clone(), inner.clone()).prop_map(|(prefix, rest)| json!({ "prefixItems": prefix, "unevaluatedItems": rest })),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(when, then, or)| json!({ "if": when, "then": then, "else": or })),
            inner.prop_map(|one| json!({ "properties": { "a": one, "b": { "$ref": "#" } } })),
        ]
    })
}

/// Two schemas: often one is the other with something taken away or added, so that many are within.
pub(in crate::contract) fn pairs() -> impl Strategy<Value = (Value, Value)> {
    prop_oneof![
        (schema(), schema()),
        (schema(), schema()).prop_map(|(one, other)| (json!({ "allOf": [one, other.clone()] }), other)),
        (schema(), schema()).prop_map(|(one, other)| (one.clone(), json!({ "anyOf": [one, other] }))),
        (schema(), keyword()).prop_map(|(one, other)| {
            let mut narrowed = one.clone();
            if let (Some(into), Some(from)) = (narrowed.as_object_mut(), other.as_object()) {
                into.extend(from.clone());
            }
            (narrowed, one)
        }),
    ]
}

#[test]
fn most_pairs_of_schemas_are_decided() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut proved, mut refuted, mut unknown) = (0, 0, 0);
    for _ in 0..400 {
        let (sub, sup) = pairs().new_tree(&mut runner).unwrap().current();
        match decide(&sub, &sup) {
            Answer::Proved => proved += 1,
            Answer::Refuted { .. } => refuted += 1,
            Answer::Unknown(_) => unknown += 1,
        }
    }
    assert!(
        proved > 150 && refuted > 60 && unknown < 60,
        "{proved} proved, {refuted} refuted, {unknown} unknown"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_document_contradicts_an_answer((sub, sup) in pairs(), documents in prop::collection::vec(instance(), 40)) {
        let answer = decide(&sub, &sup);
        is_confirmed(&sub, &sup, &answer);
        if answer == Answer::Proved {
            let (one, other) = (jsonschema_of(&sub), jsonschema_of(&sup));
            for document in documents {
                prop_assert!(!one.is_valid(&document) || other.is_valid(&document), "{document} contradicts {sub} within {sup}");
            }
        }
    }
}
