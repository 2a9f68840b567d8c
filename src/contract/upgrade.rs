//! Brings an `OpenAPI` 3.0 document to 3.1, in memory: what 3.0 says in words of its own becomes JSON Schema 2020-12.

use std::collections::BTreeMap;

use super::shape::{Shape, visit};
use super::tree::{Content, Node, Origin};

/// What was said in other words, and how often.
pub(super) type Converted = BTreeMap<&'static str, usize>;

/// Rewrites a document of 3.0 as one of 3.1. What a node says afterwards keeps the place where it was written.
pub(super) fn upgrade(document: &mut Node) -> Converted {
    let mut converted = Converted::new();
    visit(document, Shape::Document, &mut Vec::new(), &mut |shape, node, _| {
        if shape == Shape::Schema {
            schema(node, &mut |what| *converted.entry(what).or_default() += 1);
        }
    });
    let origin = document.get("openapi").map(|version| version.origin);
    document.set("openapi", Node::text(origin.unwrap_or_default(), "3.1.0"));
    converted
}

fn schema(node: &mut Node, say: &mut dyn FnMut(&'static str)) {
    if node.get("$ref").is_some_and(|reference| reference.as_str().is_some()) {
        // 3.0 has them ignored; in 3.1 they would count.
        if let Some(members) = node.members_mut() {
            let before = members.len();
            members.retain(|name, _| name == "$ref");
            if members.len() < before {
                say("keywords beside a `$ref`, which 3.0 ignores, are left out");
            }
        }
        return;
    }
    bound(node, "exclusiveMinimum", "minimum", say);
    bound(node, "exclusiveMaximum", "maximum", say);
    if let Some(example) = node.take("example") {
        say("`example` became `examples`");
        if node.get("examples").is_none() {
            node.set("examples", Node::list(example.origin, vec![example]));
        }
    }
    format(node, say);
    if let Some(nullable) = node.take("nullable")
        && nullable.is_true()
    {
        say("`nullable` became the type `null`");
        allow_null(node, nullable.origin);
    }
}

/// `exclusiveMinimum: true` beside `minimum: 5` is `exclusiveMinimum: 5`.
fn bound(node: &mut Node, exclusive: &str, inclusive: &str, say: &mut dyn FnMut(&'static str)) {
    if !matches!(node.get(exclusive).map(|flag| &flag.content), Some(Content::Bool(_))) {
        return;
    }
    say("a true or false `exclusiveMinimum` or `exclusiveMaximum` became the bound itself");
    let is_exclusive = node.take(exclusive).is_some_and(|flag| flag.is_true());
    if is_exclusive && let Some(limit) = node.take(inclusive) {
        node.set(exclusive, limit);
    }
}

fn format(node: &mut Node, say: &mut dyn FnMut(&'static str)) {
    let is_file = node.get("type").and_then(Node::as_str) == Some("file");
    let (name, value) = match node.get("format").and_then(Node::as_str) {
        Some("byte") => {
            say("`format: byte` became `contentEncoding: base64`");
            ("contentEncoding", "base64")
        }
        Some("binary") => {
            say("`format: binary` became `contentMediaType: application/octet-stream`");
            ("contentMediaType", "application/octet-stream")
        }
        _ if is_file => ("contentMediaType", "application/octet-stream"),
        _ => return,
    };
    let origin = node.take("format").map_or(node.origin, |format| format.origin);
    node.set(name, Node::text(origin, value));
    if is_file {
        say("`type: file` became text of bytes");
        let origin = node.get("type").map_or(origin, |kind| kind.origin);
        node.set("type", Node::text(origin, "string"));
    }
}

/// `origin` is where `nullable: true` was written.
fn allow_null(node: &mut Node, origin: Origin) {
    let null_schema = || Node::map(origin, [("type", Node::text(origin, "null"))]);
    let null = || Node {
        origin,
        content: Content::Null,
    };
    if let Some(kind) = node.get_mut("type").filter(|kind| kind.as_str().is_some()) {
        let written = std::mem::replace(kind, null());
        *kind = Node::list(origin, vec![written, Node::text(origin, "null")]);
    }
    // Whoever lists codes and says `nullable` means both, though 3.0.3 wants `null` among the codes.
    if let Some(codes) = node.get_mut("enum").and_then(Node::as_list_mut)
        && !codes.iter().any(|code| matches!(code.content, Content::Null))
    {
        codes.push(null());
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = node.get_mut(choice).and_then(Node::as_list_mut) {
            choices.push(null_schema());
        }
    }
    // All of them would have to allow it: either all of them, or null.
    if let Some(all) = node.take("allOf") {
        let either = Node::list(origin, vec![Node::map(origin, [("allOf", all)]), null_schema()]);
        if node.get("anyOf").is_some() {
            let part = Node::map(origin, [("anyOf", either)]);
            node.set("allOf", Node::list(origin, vec![part]));
        } else {
            node.set("anyOf", either);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::contract::tree::read_text;

    /// A schema of 3.0 in the words of 3.1.
    fn upgraded(schema: &str) -> Value {
        let text = format!("openapi: 3.0.3\ncomponents: {{ schemas: {{ A: {schema} }} }}\n");
        let mut tree = read_text(&text);
        upgrade(&mut tree);
        assert_eq!(tree.get("openapi").and_then(Node::as_str), Some("3.1.0"));
        tree.to_value()["components"]["schemas"]["A"].take()
    }

    #[test]
    fn nullable_becomes_a_type() {
        assert_eq!(
            upgraded("{ type: string, nullable: true }"),
            json!({ "type": ["string", "null"] })
        );
        assert_eq!(
            upgraded("{ type: string, nullable: false }"),
            json!({ "type": "string" })
        );
        assert_eq!(upgraded("{ nullable: true }"), json!({}));
    }

    #[test]
    fn a_nullable_list_of_codes_has_null_among_them() {
        let codes = json!({ "type": ["string", "null"], "enum": ["a", null] });
        assert_eq!(upgraded("{ type: string, nullable: true, enum: [a] }"), codes);
        assert_eq!(upgraded("{ type: string, nullable: true, enum: [a, null] }"), codes);
    }

    #[test]
    fn a_nullable_choice_has_null_as_one_of_them() {
        assert_eq!(
            upgraded("{ nullable: true, oneOf: [{ type: string }] }"),
            json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] })
        );
        let reference = json!({ "$ref": "#/components/schemas/B" });
        assert_eq!(
            upgraded("{ nullable: true, description: d, allOf: [{ $ref: '#/components/schemas/B' }] }"),
            json!({ "description": "d", "anyOf": [{ "allOf": [reference] }, { "type": "null" }] })
        );
        assert_eq!(
            upgraded("{ nullable: true, anyOf: [{ type: string }], allOf: [{ $ref: '#/components/schemas/B' }] }"),
            json!({
                "anyOf": [{ "type": "string" }, { "type": "null" }],
                "allOf": [{ "anyOf": [{ "allOf": [reference] }, { "type": "null" }] }],
            })
        );
    }

    #[test]
    fn exclusive_bounds_are_the_bounds() {
        assert_eq!(
            upgraded("{ minimum: 0, exclusiveMinimum: true, maximum: 9, exclusiveMaximum: false }"),
            json!({ "exclusiveMinimum": 0, "maximum": 9 })
        );
        assert_eq!(upgraded("{ exclusiveMinimum: true }"), json!({}));
        assert_eq!(upgraded("{ exclusiveMinimum: 3 }"), json!({ "exclusiveMinimum": 3 }));
    }

    #[test]
    fn an_example_is_one_of_examples() {
        assert_eq!(upgraded("{ example: { a: 1 } }"), json!({ "examples": [{ "a": 1 }] }));
        assert_eq!(upgraded("{ example: 1, examples: [2] }"), json!({ "examples": [2] }));
    }

    #[test]
    fn bytes_are_named_by_their_encoding() {
        assert_eq!(
            upgraded("{ type: string, format: byte }"),
            json!({ "type": "string", "contentEncoding": "base64" })
        );
        let binary = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
        assert_eq!(upgraded("{ type: string, format: binary }"), binary);
        assert_eq!(upgraded("{ type: file }"), binary);
        assert_eq!(
            upgraded("{ type: string, format: date }"),
            json!({ "type": "string", "format": "date" })
        );
    }

    #[test]
    fn keywords_beside_a_reference_are_left_out() {
        assert_eq!(
            upgraded("{ $ref: '#/components/schemas/B', nullable: true, maxLength: 3 }"),
            json!({ "$ref": "#/components/schemas/B" })
        );
        let named = "{ properties: { $ref: { type: string, nullable: true } } }";
        assert_eq!(
            upgraded(named),
            json!({ "properties": { "$ref": { "type": ["string", "null"] } } })
        );
    }

    #[test]
    fn data_is_left_alone() {
        let schema =
            "{ type: object, default: { nullable: true }, properties: { example: { type: string, example: x } } }";
        assert_eq!(
            upgraded(schema),
            json!({
                "type": "object",
                "default": { "nullable": true },
                "properties": { "example": { "type": "string", "examples": ["x"] } },
            })
        );
    }

    #[test]
    fn what_was_rewritten_keeps_its_place() {
        let mut tree = read_text("components:\n  schemas:\n    A:\n      type: string\n      nullable: true\n");
        let converted = upgrade(&mut tree);
        assert_eq!(tree.origin_of("/components/schemas/A/type/0").place.line, 4);
        assert_eq!(tree.origin_of("/components/schemas/A/type/1").place.line, 5);
        assert_eq!(converted.values().sum::<usize>(), 1);
    }
}
