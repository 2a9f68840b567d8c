//! The places that documents of a schema may have, kept small: what remains of an `OpenAPI` document once it is compiled.

use std::collections::{BTreeMap, HashMap};

use super::openapi::OpenApi;

/// Schemas that are looked at; what lies beyond is taken for free-form.
const LIMIT: usize = 20_000;

/// The outlines of some schemas of one version; they share their parts.
#[derive(Debug, Default)]
pub(super) struct Outline {
    nodes: Vec<Node>,
    known: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Node {
    fields: BTreeMap<Box<str>, usize>,
    /// All other members.
    rest: Option<usize>,
    items: Option<usize>,
    /// Nothing says what it holds.
    is_free: bool,
}

impl Outline {
    /// Adds a schema; the number names it.
    pub(super) fn add(&mut self, document: &OpenApi, schema: &str) -> usize {
        let Some(pointer) = document.resolve(schema) else {
            return self.free();
        };
        if let Some(known) = self.known.get(&pointer) {
            return *known;
        }
        if self.nodes.len() >= LIMIT {
            return self.free();
        }
        let number = self.nodes.len();
        self.nodes.push(Node::default());
        // Before its parts, so that a schema inside itself finds itself.
        self.known.insert(pointer.clone(), number);
        let mut schemas = vec![pointer.clone()];
        schemas.extend(document.choices(&pointer));
        let mut node = Node::default();
        for schema in schemas {
            for (name, place) in document.properties(&schema) {
                let inner = self.add(document, &place);
                node.fields.entry(name.into()).or_insert(inner);
            }
            if let Some(items) = document.items(&schema) {
                node.items = Some(self.add(document, &items));
            }
            if let Some(rest) = document.additional(&schema) {
                node.rest = Some(self.add(document, &rest));
            }
        }
        let is_plain = node.fields.is_empty() && node.items.is_none() && node.rest.is_none();
        let types = document.types(&pointer);
        node.is_free = is_plain && (types.is_empty() || types == ["object"]) && !document.is_closed(&pointer);
        self.nodes[number] = node;
        number
    }

    fn free(&mut self) -> usize {
        self.nodes.push(Node {
            is_free: true,
            ..Node::default()
        });
        self.nodes.len() - 1
    }

    /// How many names of a way from a schema inwards lead to something it has.
    pub(super) fn reach(&self, schema: usize, tokens: &[String]) -> usize {
        let mut at = schema;
        for (depth, token) in tokens.iter().enumerate() {
            let Some(node) = self.nodes.get(at) else { return depth };
            let is_position = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
            let inner = match node.fields.get(&**token) {
                Some(inner) => Some(*inner),
                None if is_position && node.items.is_some() => node.items,
                None => node.rest,
            };
            match inner {
                Some(inner) => at = inner,
                None if node.is_free => return tokens.len(),
                None => return depth,
            }
        }
        tokens.len()
    }
}
