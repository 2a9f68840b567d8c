//! One of two documents whose schemas are compared: what stands where, and which values a schema admits.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use jsonschema::{Draft, Registry, Validator};
use serde_json::{Map, Value, json};

use super::regular::Automaton;
use super::types::Types;
use crate::contract::openapi::{fragment, push_token};
use crate::json::{Document, Tape, exact_options};

/// The document's name while validators are built.
const NAME: &str = "urn:crossdock:compared";

/// A document, and what was found out about it.
pub(in crate::contract) struct Side {
    pub(in crate::contract) root: Arc<Value>,
    flat: RefCell<HashMap<Arc<str>, Rc<Flat>>>,
    validators: RefCell<HashMap<Arc<str>, MayValidate>>,
    automata: RefCell<HashMap<String, Option<Automaton>>>,
}

/// A validator, unless none can be built.
type MayValidate = Option<Rc<Validator<Tape>>>;

/// A schema with all that `$ref` and `allOf` add to it in place.
#[derive(Default)]
pub(in crate::contract) struct Flat {
    /// Pointers of the objects whose keywords a value must follow; their `$ref` and `allOf` are among them.
    pub(in crate::contract) parts: Vec<Arc<str>>,
    /// It admits nothing.
    pub(in crate::contract) is_never: bool,
    /// It leads nowhere, in a circle or to something that is no schema.
    pub(in crate::contract) is_broken: bool,
}

/// What a part says of the members it does not name.
pub(in crate::contract) struct Others {
    /// Pointer of the schema they follow.
    pub(in crate::contract) schema: Arc<str>,
    /// The parts whose `properties` and `patternProperties` name the rest.
    pub(in crate::contract) named_by: Vec<Arc<str>>,
}

impl Side {
    pub(in crate::contract) fn new(root: Arc<Value>) -> Self {
        Self {
            root,
            flat: RefCell::default(),
            validators: RefCell::default(),
            automata: RefCell::default(),
        }
    }

    pub(in crate::contract) fn at(&self, pointer: &str) -> &Value {
        self.root.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The keywords of a part.
    pub(in crate::contract) fn keywords(&self, part: &str) -> &Map<String, Value> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.at(part).as_object().unwrap_or(&NONE)
    }

    /// The schema at a pointer, taken apart.
    pub(in crate::contract) fn flat(&self, pointer: &Arc<str>) -> Rc<Flat> {
        if let Some(flat) = self.flat.borrow().get(pointer) {
            return flat.clone();
        }
        let mut flat = Flat::default();
        let mut seen = HashSet::new();
        let mut waiting = vec![pointer.clone()];
        while let Some(pointer) = waiting.pop() {
            if !seen.insert(pointer.clone()) {
                continue;
            }
            match self.root.pointer(&pointer) {
                Some(Value::Bool(true)) => {}
                Some(Value::Bool(false)) => flat.is_never = true,
                Some(Value::Object(keywords)) => {
                    // Below a name of its own, references mean something else.
                    flat.is_broken |= keywords.contains_key("$id") && !pointer.is_empty();
                    if let Some(reference) = keywords.get("$ref") {
                        match reference.as_str().and_then(target) {
                            Some(target) => waiting.push(target),
                            None => flat.is_broken = true,
                        }
                    }
                    waiting.extend(self.branches(&pointer, "allOf"));
                    flat.parts.push(pointer);
                }
                _ => flat.is_broken = true,
            }
        }
        flat.parts.sort_unstable();
        let flat = Rc::new(flat);
        self.flat.borrow_mut().insert(pointer.clone(), flat.clone());
        flat
    }

    /// Pointers of the schemas a keyword lists.
    pub(in crate::contract) fn branches(&self, part: &str, keyword: &str) -> Vec<Arc<str>> {
        let count = self
            .keywords(part)
            .get(keyword)
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        (0..count)
            .map(|position| format!("{part}/{keyword}/{position}").into())
            .collect()
    }

    /// Pointers of the schemas that a member of this name follows, by one part.
    pub(in crate::contract) fn member(&self, part: &str, name: &str) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = self.named(part, name).unwrap_or_default();
        let Some(others) = self.others(part) else { return found };
        let is_named = others.named_by.iter().map(|part| self.named(part, name));
        let mut is_other = true;
        for named in is_named {
            // Where nobody can say whether a pattern names it, nothing is said: that admits more, never less.
            is_other &= named.is_some_and(|named| named.is_empty());
        }
        if is_other {
            found.push(others.schema);
        }
        found
    }

    /// The schemas of `properties` and `patternProperties` for a name; `None` if a pattern cannot be read.
    pub(in crate::contract) fn named(&self, part: &str, name: &str) -> Option<Vec<Arc<str>>> {
        let keywords = self.keywords(part);
        let mut found = Vec::new();
        if keywords
            .get("properties")
            .is_some_and(|named| named.get(name).is_some())
        {
            found.push(child(part, "properties", name));
        }
        for pattern in self.patterns_of_names(part) {
            if self.matches(pattern, name)? {
                found.push(child(part, "patternProperties", pattern));
            }
        }
        Some(found)
    }

    /// The patterns of `patternProperties`.
    pub(in crate::contract) fn patterns_of_names(&self, part: &str) -> impl Iterator<Item = &str> {
        let named = self.keywords(part).get("patternProperties").and_then(Value::as_object);
        named.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// The names under `properties`.
    pub(in crate::contract) fn names(&self, part: &str) -> impl Iterator<Item = &str> {
        let named = self.keywords(part).get("properties").and_then(Value::as_object);
        named.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// What a part says of members it does not name; `None` if nothing, or nothing that is understood.
    pub(in crate::contract) fn others(&self, part: &str) -> Option<Others> {
        let keywords = self.keywords(part);
        if keywords.contains_key("additionalProperties") {
            return Some(Others {
                schema: format!("{part}/additionalProperties").into(),
                named_by: vec![part.into()],
            });
        }
        keywords.get("unevaluatedProperties")?;
        let named_by = self.flat(&part.into()).parts.clone();
        let is_plain = |part: &Arc<str>| {
            let keywords = self.keywords(part);
            let conditional = [
                "anyOf",
                "oneOf",
                "if",
                "dependentSchemas",
                "additionalProperties",
                "$dynamicRef",
            ];
            !conditional.iter().any(|keyword| keywords.contains_key(*keyword))
        };
        named_by.iter().all(is_plain).then(|| Others {
            schema: format!("{part}/unevaluatedProperties").into(),
            named_by,
        })
    }

    /// Whether a pattern matches a text; `None` if the pattern cannot be read.
    fn matches(&self, pattern: &str, text: &str) -> Option<bool> {
        let mut automata = self.automata.borrow_mut();
        let automaton = automata
            .entry(pattern.to_owned())
            .or_insert_with(|| Automaton::new(pattern));
        automaton.as_mut()?.matches(text).ok()
    }

    /// The automaton of a pattern, with what was already found of it.
    pub(in crate::contract) fn automaton(&self, pattern: &str) -> Option<Automaton> {
        let mut automata = self.automata.borrow_mut();
        let automaton = automata
            .entry(pattern.to_owned())
            .or_insert_with(|| Automaton::new(pattern));
        automaton.clone()
    }

    /// The types that one part admits.
    pub(in crate::contract) fn types(&self, part: &str) -> Types {
        let keywords = self.keywords(part);
        let mut types = keywords.get("type").map_or(Types::ALL, Types::named);
        for values in listed_values(keywords) {
            types = types & values.iter().map(Types::of).fold(Types::NONE, |all, one| all | one);
        }
        types
    }

    /// Whether the schema at a pointer admits a value; `None` if no validator can be built of it.
    pub(in crate::contract) fn admits(&self, pointer: &Arc<str>, value: &Value) -> Option<bool> {
        let known = self.validators.borrow().get(pointer).cloned();
        let validator = known.unwrap_or_else(|| {
            let built = self.build(pointer).map(Rc::new);
            self.validators.borrow_mut().insert(pointer.clone(), built.clone());
            built
        })?;
        let document = Document::parse(Bytes::from(value.to_string())).ok()?;
        Some(validator.is_valid(document.root()))
    }

    fn build(&self, pointer: &str) -> Option<Validator<Tape>> {
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .add(NAME, &*self.root)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .ok()?;
        let schema = json!({ "$ref": format!("{NAME}{}", fragment(pointer)) });
        exact_options().with_registry(&registry).build(&schema).ok()
    }
}

/// The lists of values that a part allows: `enum`, and `const` as a list of one.
pub(in crate::contract) fn listed_values(keywords: &Map<String, Value>) -> impl Iterator<Item = &[Value]> {
    let listed = keywords.get("enum").and_then(Value::as_array).map(Vec::as_slice);
    listed
        .into_iter()
        .chain(keywords.get("const").map(std::slice::from_ref))
}

/// The pointer of a named schema under a keyword.
pub(in crate::contract) fn child(part: &str, keyword: &str, name: &str) -> Arc<str> {
    let mut pointer = format!("{part}/{keyword}");
    push_token(&mut pointer, name);
    pointer.into()
}

/// The pointer a reference into its own document means.
pub(in crate::contract) fn target(reference: &str) -> Option<Arc<str>> {
    let pointer = reference.strip_prefix('#')?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
    Some(pointer.as_ref().into())
}
