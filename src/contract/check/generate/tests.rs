use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::SourceFile;

/// A document with one schema `S`, and others beside it.
fn document(schemas: &str) -> OpenApi {
    let text = format!("openapi: 3.1.0\ncomponents:\n  schemas:\n{schemas}");
    let file = SourceFile {
        path: "contracts/things/v1/openapi.yaml".into(),
        text: text.into(),
    };
    OpenApi::parse("v1", &[file])
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
        .0
}

const S: &str = "/components/schemas/S";

/// So many documents that conform, and how many did not.
fn drawn(document: &OpenApi, count: usize) -> (Vec<Sample>, usize) {
    let validator = document.validator(S).unwrap();
    let mut generator = Generator::new(document, 42);
    let all: Vec<_> = (0..count).map(|_| generator.draw(S)).collect();
    let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(|sample| {
        sample
            .document()
            .is_some_and(|document| validator.is_valid(document.root()))
    });
    (good, bad.len())
}

#[test]
fn nearly_all_documents_conform_and_every_code_and_edge_comes_up() {
    let document = document(
        "    S:
      type: object
      additionalProperties: false
      required: [code, amount]
      properties:
        code: { enum: [a, b, c, d, e] }
        amount: { type: number, minimum: 0, maximum: 99.99, multipleOf: 0.01 }
        name: { type: string, minLength: 2, maxLength: 40 }
        day: { type: string, format: date }
        number: { type: string, pattern: '^[1-9][0-9]{0,9}$' }
        note: { type: [string, 'null'], maxLength: 3 }
        list: { type: array, minItems: 1, maxItems: 999, items: { type: integer, minimum: -3, maximum: 3 } }
",
    );
    let (good, bad) = drawn(&document, 2_000);
    assert!(bad < 20, "{bad} do not conform");
    let texts = |name: &str| -> BTreeSet<String> {
        good.iter()
            .filter_map(|sample| sample.get(name))
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(texts("code").len(), 5);
    for edge in ["0", "0.00", "99.99", "99.990", "1e2", "19.90", "1E-3"] {
        let conforms = !matches!(edge, "1e2" | "1E-3");
        assert_eq!(texts("amount").contains(edge), conforms, "{edge}");
    }
    assert!(texts("day").contains("\"2028-02-29\""));
    assert!(texts("note").contains("null"));
    let lengths = |name: &str| -> BTreeSet<usize> {
        let found = good.iter().filter_map(|sample| sample.get(name));
        found
            .filter_map(|value| match value {
                Sample::Str(text) => Some(text.chars().count()),
                Sample::Arr(list) => Some(list.len()),
                _ => None,
            })
            .collect()
    };
    assert!(lengths("name").is_superset(&BTreeSet::from([2, 3, 39, 40])));
    assert!(lengths("number").is_superset(&BTreeSet::from([1, 10])));
    assert!(
        lengths("list").contains(&1) && lengths("list").contains(&999),
        "{:?}",
        lengths("list")
    );
}

#[test]
fn each_optional_field_is_seen_alone_missing_and_with_each_other() {
    let document = document(
        "    S:
      type: object
      additionalProperties: false
      properties: { a: { type: integer }, b: { type: integer }, c: { type: integer }, d: { type: integer } }
",
    );
    let (good, bad) = drawn(&document, 300);
    assert_eq!(bad, 0);
    let mut seen: BTreeMap<(usize, usize), BTreeSet<(bool, bool)>> = BTreeMap::new();
    for sample in &good {
        let has: Vec<bool> = ["a", "b", "c", "d"]
            .iter()
            .map(|name| sample.get(name).is_some())
            .collect();
        for one in 0..4 {
            for other in 0..one {
                seen.entry((one, other)).or_default().insert((has[one], has[other]));
            }
        }
    }
    assert!(seen.values().all(|pairs| pairs.len() == 4), "{seen:?}");
}

#[test]
fn choices_parts_and_schemas_inside_themselves_are_followed_and_end() {
    let document = document(
        "    S:
      allOf:
        - { $ref: '#/components/schemas/Base' }
        - { properties: { kind: { const: tree } }, required: [kind] }
      unevaluatedProperties: false
    Base:
      type: object
      properties:
        children: { type: array, items: { $ref: '#/components/schemas/Node' } }
        either: { oneOf: [{ type: integer }, { type: string, maxLength: 5 }, { type: 'null' }] }
        tags: { type: array, uniqueItems: true, minItems: 2, maxItems: 4, items: { enum: [a, b, c, d] } }
        labels: { type: object, additionalProperties: { type: string, maxLength: 4 } }
        pair: { type: array, prefixItems: [{ type: string }, { type: integer }], items: false }
    Node:
      type: object
      additionalProperties: false
      required: [name]
      properties:
        name: { type: string, maxLength: 3 }
        children: { type: array, items: { $ref: '#/components/schemas/Node' } }
        parent: { $ref: '#/components/schemas/Node' }
",
    );
    let (good, bad) = drawn(&document, 1_000);
    assert!(bad < 50, "{bad} do not conform");
    let kinds: BTreeSet<_> = good
        .iter()
        .filter_map(|sample| sample.get("either"))
        .map(|either| match either {
            Sample::Num(_) => 0,
            Sample::Str(_) => 1,
            _ => 2,
        })
        .collect();
    assert_eq!(kinds.len(), 3);
    assert!(
        good.iter()
            .any(|sample| matches!(sample.get("labels"), Some(Sample::Obj(members)) if !members.is_empty()))
    );
}

#[test]
fn the_same_seed_draws_the_same_and_what_nothing_conforms_to_is_told_apart() {
    let document = document("    S: { type: string, pattern: '^(?=b)a$' }\n");
    let (good, bad) = drawn(&document, 50);
    assert_eq!((good.len(), bad), (0, 50));

    let document = self::document("    S: { type: [string, number, 'null'], maxLength: 20 }\n");
    let draw = |seed| {
        let mut generator = Generator::new(&document, seed);
        (0..200).map(|_| generator.draw(S).to_string()).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
