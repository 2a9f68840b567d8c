//! What the parts of an `OpenAPI` document are: which values are schemas, which parameters, which are only data.

use super::tree::{Content, Node};

/// What a value in a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Shape {
    Document,
    Components,
    PathItem,
    Operation,
    Parameter,
    Header,
    RequestBody,
    Response,
    MediaType,
    Encoding,
    Schema,
    Callback,
    Link,
    Example,
    SecurityScheme,
}

/// How values of a shape stand behind a name.
enum Part {
    One(Shape),
    List(Shape),
    Map(Shape),
}

/// The names under which a path item has operations, beside `additionalOperations`.
pub(super) const METHODS: [&str; 9] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace", "query",
];

impl Shape {
    /// The section of `components` that holds such values.
    pub(super) fn section(self) -> Option<&'static str> {
        match self {
            Self::Schema => Some("schemas"),
            Self::Parameter => Some("parameters"),
            Self::Header => Some("headers"),
            Self::RequestBody => Some("requestBodies"),
            Self::Response => Some("responses"),
            Self::MediaType => Some("mediaTypes"),
            Self::Callback => Some("callbacks"),
            Self::Link => Some("links"),
            Self::Example => Some("examples"),
            Self::SecurityScheme => Some("securitySchemes"),
            Self::PathItem => Some("pathItems"),
            Self::Document | Self::Components | Self::Operation | Self::Encoding => None,
        }
    }

    fn part(self, name: &str) -> Option<Part> {
        use Part::{List, Map, One};
        Some(match (self, name) {
            (Self::Document, "paths" | "webhooks") | (Self::Components, "pathItems") => Map(Self::PathItem),
            (Self::Document, "components") => One(Self::Components),
            (Self::Components, "schemas") => Map(Self::Schema),
            (Self::Components, "parameters") => Map(Self::Parameter),
            (Self::Components | Self::Response | Self::Encoding, "headers") => Map(Self::Header),
            (Self::Components, "requestBodies") => Map(Self::RequestBody),
            (Self::Components | Self::Operation, "responses") => Map(Self::Response),
            (Self::Components | Self::Operation, "callbacks") => Map(Self::Callback),
            (Self::Components | Self::Response, "links") => Map(Self::Link),
            (Self::Components | Self::Parameter | Self::Header | Self::MediaType, "examples") => Map(Self::Example),
            (Self::Components, "securitySchemes") => Map(Self::SecurityScheme),
            (Self::PathItem | Self::Operation, "parameters") => List(Self::Parameter),
            (Self::PathItem, "additionalOperations") => Map(Self::Operation),
            (Self::PathItem, name) if METHODS.contains(&name) => One(Self::Operation),
            (Self::Operation, "requestBody") => One(Self::RequestBody),
            (Self::Parameter | Self::Header | Self::MediaType, "schema") | (Self::MediaType, "itemSchema") => {
                One(Self::Schema)
            }
            (Self::Components, "mediaTypes")
            | (Self::Parameter | Self::Header | Self::RequestBody | Self::Response, "content") => Map(Self::MediaType),
            (Self::MediaType | Self::Encoding, "encoding") => Map(Self::Encoding),
            (Self::MediaType | Self::Encoding, "prefixEncoding") => List(Self::Encoding),
            (Self::MediaType | Self::Encoding, "itemEncoding") => One(Self::Encoding),
            (Self::Callback, name) if name != "$ref" => One(Self::PathItem),
            (Self::Schema, "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas") => {
                Map(Self::Schema)
            }
            (Self::Schema, "allOf" | "anyOf" | "oneOf" | "prefixItems") => List(Self::Schema),
            (
                Self::Schema,
                "items"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contentSchema",
            ) => One(Self::Schema),
            _ => return None,
        })
    }
}

/// Visits a value of a shape and all values of known shapes in it, from the outside inwards.
///
/// `at` are the tokens of its pointer. Extensions (`x-…`), examples and other data are passed over.
pub(super) fn visit(
    node: &mut Node,
    shape: Shape,
    at: &mut Vec<String>,
    look: &mut dyn FnMut(Shape, &mut Node, &[String]),
) {
    look(shape, node, at);
    let Some(members) = node.members_mut() else { return };
    for (name, member) in members {
        // Where names are people's own, one that looks like an extension is a name all the same.
        if name.starts_with("x-") {
            continue;
        }
        let Some(part) = shape.part(name) else { continue };
        at.push(name.clone());
        match (part, &mut member.value.content) {
            (Part::One(inner), _) => visit(&mut member.value, inner, at, look),
            (Part::List(inner), Content::List(nodes)) => {
                for (position, node) in nodes.iter_mut().enumerate() {
                    at.push(position.to_string());
                    visit(node, inner, at, look);
                    at.pop();
                }
            }
            (Part::Map(inner), Content::Map(members)) => {
                for (name, member) in members {
                    if name.starts_with("x-") && inner == Shape::PathItem {
                        continue;
                    }
                    at.push(name.clone());
                    visit(&mut member.value, inner, at, look);
                    at.pop();
                }
            }
            _ => {}
        }
        at.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::tree::read_text;

    #[test]
    fn what_a_value_is_follows_from_where_it_stands() {
        let mut tree = read_text(
            "paths:\n  /a:\n    query:\n      requestBody: { content: { application/json: { schema: { properties: { x-a: {}, example: {} } } } } }\n      \
             responses: { '200': { headers: { X-A: { schema: {} } } } }\n      \
             callbacks: { done: { '{$url}': { post: {} } } }\n    additionalOperations: { COPY: {} }\n  x-note: { get: {} }\n\
             components: { schemas: { A: { default: { properties: { no: {} } }, example: { items: {} } } } }\n",
        );
        let mut seen = Vec::new();
        visit(&mut tree, Shape::Document, &mut Vec::new(), &mut |shape, _, at| {
            if matches!(shape, Shape::Schema | Shape::Operation | Shape::Header) {
                seen.push(at.join(" "));
            }
        });
        let body = "paths /a query requestBody content application/json schema";
        let expected = [
            "paths /a query",
            body,
            &format!("{body} properties x-a"),
            &format!("{body} properties example"),
            "paths /a query responses 200 headers X-A",
            "paths /a query responses 200 headers X-A schema",
            "paths /a query callbacks done {$url} post",
            "paths /a additionalOperations COPY",
            "components schemas A",
        ];
        assert_eq!(seen, expected);
    }
}
