//! What of a document that was read can be sent: an update may take less than a read gives.

use std::collections::BTreeMap;

use super::tree::Tree;
use crate::contract::openapi::OpenApi;

/// How deep schemas are followed; what lies deeper is sent as it is.
const DEPTH: usize = 16;

/// Which members a schema takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Projection {
    /// Members with something to say about them.
    members: BTreeMap<String, Projection>,
    /// Members that are only read.
    hidden: Vec<String>,
    /// The only members that it takes, sorted; `None` if it takes any.
    only: Option<Vec<String>>,
    items: Option<Box<Projection>>,
}

impl Projection {
    /// Of the schema at a place.
    pub(super) fn of(document: &OpenApi, schema: &str) -> Self {
        Self::within(document, schema, 0)
    }

    fn within(document: &OpenApi, schema: &str, depth: usize) -> Self {
        let mut made = Self::default();
        if depth == DEPTH {
            return made;
        }
        let properties = document.properties(schema);
        let required = document.required(schema);
        for (name, place) in &properties {
            let is_read_only = |place: &str| document.at(place).get("readOnly") == Some(&true.into());
            let resolved = document.resolve(place);
            if !required.contains(name) && (is_read_only(place) || resolved.as_deref().is_some_and(is_read_only)) {
                made.hidden.push(name.clone());
                continue;
            }
            let inner = Self::within(document, resolved.as_deref().unwrap_or(place), depth + 1);
            if !inner.takes_all() {
                made.members.insert(name.clone(), inner);
            }
        }
        let is_plain = document.choices(schema).is_empty() && document.at(schema).get("patternProperties").is_none();
        if document.is_closed(schema) && is_plain && !properties.is_empty() {
            made.only = Some(properties.into_keys().collect());
        }
        if let Some(items) = document.items(schema) {
            let inner = Self::within(document, &document.resolve(&items).unwrap_or(items), depth + 1);
            made.items = (!inner.takes_all()).then(|| Box::new(inner));
        }
        made
    }

    fn takes_all(&self) -> bool {
        self.members.is_empty() && self.hidden.is_empty() && self.only.is_none() && self.items.is_none()
    }

    /// A document without what is not taken.
    pub(super) fn apply(&self, tree: &Tree) -> Tree {
        match (tree, &self.items) {
            (Tree::Object(members), _) => {
                let is_taken = |name: &str| {
                    let is_known = |only: &Vec<String>| only.binary_search_by(|known| known.as_str().cmp(name)).is_ok();
                    self.only.as_ref().is_none_or(is_known) && !self.hidden.iter().any(|hidden| hidden == name)
                };
                let kept = members.iter().filter(|(name, _)| is_taken(name)).map(|(name, value)| {
                    let inner = self.members.get(&**name);
                    (
                        name.clone(),
                        inner.map_or_else(|| value.clone(), |inner| inner.apply(value)),
                    )
                });
                Tree::Object(kept.collect())
            }
            (Tree::List(elements), Some(items)) => Tree::List(elements.iter().map(|item| items.apply(item)).collect()),
            _ => tree.clone(),
        }
    }
}
