//! Whether two schemas of two documents are the same text, but for words to people.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::side::{Side, target};
use super::types::equal;

/// Keywords that say nothing about values.
const ANNOTATIONS: [&str; 16] = [
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$defs",
    "definitions",
    "externalDocs",
    "xml",
    "discriminator",
    "contentMediaType",
    "contentEncoding",
];

/// How deep texts are compared.
const DEPTH_LIMIT: usize = 64;

type Pairs = HashSet<(Arc<str>, Arc<str>)>;

/// Whether the schemas at two pointers are the same, references followed.
pub(super) fn is_same(one: (&Side, &Arc<str>), other: (&Side, &Arc<str>)) -> bool {
    follow((one.0, one.1), (other.0, other.1), &mut Pairs::new(), 0)
}

/// Whether two parts have the same keyword, or neither has it.
pub(super) fn has_same_keyword(one: (&Side, &Arc<str>), other: (&Side, &Arc<str>), keyword: &str) -> bool {
    keywords_are_same(one, other, keyword, &mut Pairs::new(), 0)
}

fn follow(one: (&Side, &Arc<str>), other: (&Side, &Arc<str>), seen: &mut Pairs, depth: usize) -> bool {
    if !seen.insert((one.1.clone(), other.1.clone())) {
        return true;
    }
    if depth > DEPTH_LIMIT {
        return false;
    }
    match (one.0.root.pointer(one.1), other.0.root.pointer(other.1)) {
        (Some(Value::Object(own)), Some(Value::Object(its))) => {
            let all = own
                .keys()
                .chain(its.keys().filter(|keyword| !own.contains_key(*keyword)));
            let mut meaningful = all.filter(|keyword| !is_annotation(keyword));
            meaningful.all(|keyword| keywords_are_same(one, other, keyword, seen, depth))
        }
        (Some(own), Some(its)) => own == its,
        _ => false,
    }
}

fn keywords_are_same(
    one: (&Side, &Arc<str>),
    other: (&Side, &Arc<str>),
    keyword: &str,
    seen: &mut Pairs,
    depth: usize,
) -> bool {
    let (own, its) = match (
        one.0.keywords(one.1).get(keyword),
        other.0.keywords(other.1).get(keyword),
    ) {
        (Some(own), Some(its)) => (own, its),
        (None, None) => return true,
        _ => return false,
    };
    let mut below = |steps: &[&str]| {
        let pointer = |around: &str| -> Arc<str> {
            let mut pointer = around.to_owned();
            for step in steps {
                crate::contract::openapi::push_token(&mut pointer, step);
            }
            pointer.into()
        };
        follow((one.0, &pointer(one.1)), (other.0, &pointer(other.1)), seen, depth + 1)
    };
    match keyword {
        "$ref" => match (own.as_str().and_then(target), its.as_str().and_then(target)) {
            (Some(own), Some(its)) => follow((one.0, &own), (other.0, &its), seen, depth + 1),
            _ => false,
        },
        // What these mean depends on where they stand.
        "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor" => false,
        "properties" | "patternProperties" | "dependentSchemas" => match (own.as_object(), its.as_object()) {
            (Some(own), Some(its)) => {
                own.len() == its.len() && own.keys().all(|name| its.contains_key(name) && below(&[keyword, name]))
            }
            _ => false,
        },
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => match (own.as_array(), its.as_array()) {
            (Some(own), Some(its)) => {
                own.len() == its.len() && (0..own.len()).all(|position| below(&[keyword, &position.to_string()]))
            }
            _ => false,
        },
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "unevaluatedProperties"
        | "unevaluatedItems" => below(&[keyword]),
        _ => equal(own, its),
    }
}

fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}
