//! What several schemas of a document say together about one value.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::regular::{Automaton, Length};
use super::side::{Side, listed_values};
use super::types::{Types, equal};

/// The schemas that one value has to follow, all of them.
#[derive(Clone)]
pub(in crate::contract) struct Conj {
    /// Pointers of schema objects, sorted; `$ref` and `allOf` are followed already.
    pub(in crate::contract) parts: Vec<Arc<str>>,
    /// Choices (`oneOf`, `anyOf`) of which a branch is among the parts already, sorted.
    settled: Vec<Arc<str>>,
    /// What is left of the types; none if nothing is admitted.
    pub(in crate::contract) types: Types,
    /// Where it is written, for people.
    pub(in crate::contract) origin: Arc<str>,
}

/// Tells conjunctions apart that admit different values.
pub(in crate::contract) type ConjKey = (Vec<Arc<str>>, Vec<Arc<str>>, Types);

impl Conj {
    /// Of the schemas at some pointers; `origin` is named if there is none.
    pub(in crate::contract) fn new(side: &Side, pointers: &[Arc<str>], origin: &Arc<str>) -> Self {
        let conj = Self {
            parts: Vec::new(),
            settled: Vec::new(),
            types: Types::ALL,
            origin: pointers.first().unwrap_or(origin).clone(),
        };
        pointers.iter().fold(conj, |conj, pointer| conj.and(side, pointer))
    }

    /// With one more schema.
    pub(in crate::contract) fn and(mut self, side: &Side, pointer: &Arc<str>) -> Self {
        let flat = side.flat(pointer);
        for part in &flat.parts {
            if let Err(place) = self.parts.binary_search(part) {
                self.types = self.types & side.types(part);
                self.parts.insert(place, part.clone());
            }
        }
        if flat.is_never {
            self.types = Types::NONE;
        }
        self
    }

    /// Of these types only.
    pub(in crate::contract) fn only(&self, types: Types) -> Self {
        Self {
            types: self.types & types,
            ..self.clone()
        }
    }

    pub(in crate::contract) fn is_never(&self) -> bool {
        self.types.is_empty()
    }

    pub(in crate::contract) fn key(&self) -> ConjKey {
        (self.parts.clone(), self.settled.clone(), self.types)
    }

    /// The first choice that is still open, as one conjunction for each of its branches.
    pub(in crate::contract) fn split(&self, side: &Side) -> Option<Vec<Self>> {
        for part in &self.parts {
            for keyword in ["oneOf", "anyOf"] {
                let choice: Arc<str> = format!("{part}/{keyword}").into();
                let branches = side.branches(part, keyword);
                let Err(place) = self.settled.binary_search(&choice) else {
                    continue;
                };
                if branches.is_empty() {
                    continue;
                }
                let taken = branches.iter().map(|branch| {
                    let mut taken = self.clone().and(side, branch);
                    taken.settled.insert(place, choice.clone());
                    taken
                });
                return Some(taken.collect());
            }
        }
        None
    }

    /// The values it lists, if it does; they may break other keywords.
    pub(in crate::contract) fn listed(&self, side: &Side) -> Option<Vec<Value>> {
        let mut lists = self.parts.iter().flat_map(|part| listed_values(side.keywords(part)));
        let first = match lists.next() {
            Some(first) => first,
            None if self.types.is_within(Types::BOOL | Types::NULL) => {
                let all = [Value::Null, true.into(), false.into()];
                return Some(
                    all.into_iter()
                        .filter(|value| Types::of(value).meets(self.types))
                        .collect(),
                );
            }
            None => return None,
        };
        let others: Vec<&[Value]> = lists.collect();
        let is_admitted = |value: &&Value| {
            Types::of(value).meets(self.types) && others.iter().all(|list| list.iter().any(|other| equal(other, value)))
        };
        Some(first.iter().filter(is_admitted).cloned().collect())
    }

    /// What a member of this name follows.
    pub(in crate::contract) fn member(&self, side: &Side, name: &str) -> Self {
        let pointers: Vec<_> = self.parts.iter().flat_map(|part| side.member(part, name)).collect();
        Self::new(side, &pointers, &self.origin)
    }

    /// What members follow whose name no keyword gives.
    pub(in crate::contract) fn others(&self, side: &Side) -> Self {
        let pointers: Vec<_> = self.parts.iter().filter_map(|part| side.others(part)).collect();
        let pointers: Vec<_> = pointers.into_iter().map(|others| others.schema).collect();
        Self::new(side, &pointers, &self.origin)
    }

    /// What the item at a position follows.
    pub(in crate::contract) fn item(&self, side: &Side, position: usize) -> Self {
        let pointers: Vec<_> = self
            .parts
            .iter()
            .filter_map(|part| item(side, part, position))
            .collect();
        Self::new(side, &pointers, &self.origin)
    }

    /// Positions with a schema of their own.
    pub(in crate::contract) fn prefix(&self, side: &Side) -> usize {
        let lengths = self.parts.iter().map(|part| side.branches(part, "prefixItems").len());
        lengths.max().unwrap_or(0)
    }

    /// Names that an object must have.
    pub(in crate::contract) fn required(&self, side: &Side) -> BTreeSet<String> {
        let lists = self
            .parts
            .iter()
            .filter_map(|part| side.keywords(part).get("required")?.as_array());
        lists.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Names that have a schema of their own.
    pub(in crate::contract) fn names(&self, side: &Side) -> BTreeSet<String> {
        self.parts
            .iter()
            .flat_map(|part| side.names(part))
            .map(str::to_owned)
            .collect()
    }

    /// The greatest value of a keyword that counts from below.
    pub(in crate::contract) fn at_least(&self, side: &Side, keyword: &str) -> u64 {
        self.counts(side, keyword).max().unwrap_or(0)
    }

    /// The smallest value of a keyword that counts from above.
    pub(in crate::contract) fn at_most(&self, side: &Side, keyword: &str) -> Option<u64> {
        self.counts(side, keyword).min()
    }

    fn counts<'a>(&'a self, side: &'a Side, keyword: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.parts
            .iter()
            .filter_map(move |part| count(side.keywords(part).get(keyword)?))
    }

    /// Whether one of the parts has a keyword with exactly this value.
    pub(in crate::contract) fn says(&self, side: &Side, keyword: &str, value: &Value) -> bool {
        self.parts
            .iter()
            .any(|part| side.keywords(part).get(keyword) == Some(value))
    }

    /// The keywords of these names, of all parts, as one schema.
    pub(in crate::contract) fn excerpt(&self, side: &Side, keywords: &[&str]) -> Value {
        let parts = self.parts.iter().filter_map(|part| {
            let kept = side
                .keywords(part)
                .iter()
                .filter(|(keyword, _)| keywords.contains(&keyword.as_str()));
            let kept: serde_json::Map<_, _> = kept.map(|(keyword, value)| (keyword.clone(), value.clone())).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        });
        match parts.collect::<Vec<_>>() {
            none if none.is_empty() => serde_json::json!({}),
            all => serde_json::json!({ "allOf": all }),
        }
    }

    /// Its texts: automata of all patterns (and of formats that are patterns), and the length.
    /// A pattern that cannot be read is left out: that admits more, never less.
    pub(in crate::contract) fn texts(&self, side: &Side) -> (Vec<Automaton>, Length) {
        let automata = self.parts.iter().flat_map(|part| {
            let keywords = side.keywords(part);
            let pattern = keywords.get("pattern").and_then(Value::as_str);
            let format = keywords.get("format").and_then(Value::as_str).and_then(format_pattern);
            [pattern, format].into_iter().flatten()
        });
        let length = Length {
            min: self.at_least(side, "minLength"),
            max: self.at_most(side, "maxLength"),
        };
        (automata.filter_map(|pattern| side.automaton(pattern)).collect(), length)
    }
}

/// Pointer of the schema that a part has for the item at a position.
pub(in crate::contract) fn item(side: &Side, part: &str, position: usize) -> Option<Arc<str>> {
    let prefix = side.branches(part, "prefixItems");
    match prefix.get(position) {
        Some(schema) => Some(schema.clone()),
        None if side.keywords(part).contains_key("items") => Some(format!("{part}/items").into()),
        None => has_plain_rest(side, part).then(|| format!("{part}/unevaluatedItems").into()),
    }
}

/// Whether `unevaluatedItems` of a part means all items behind its `prefixItems`, as `items` would.
pub(in crate::contract) fn has_plain_rest(side: &Side, part: &str) -> bool {
    let keywords = side.keywords(part);
    let others = [
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "dependentSchemas",
        "contains",
        "items",
    ];
    keywords.contains_key("unevaluatedItems") && !others.iter().any(|keyword| keywords.contains_key(*keyword))
}

/// A count as JSON Schema writes it: `3`, or `3.0`. One that no value can reach is the greatest there is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float stops at either end"
)]
pub(in crate::contract) fn count(value: &Value) -> Option<u64> {
    let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
    value.as_u64().or_else(|| whole(value.as_f64()?))
}

/// A pattern that every text of a format matches. Others than its own may match it too.
fn format_pattern(format: &str) -> Option<&'static str> {
    match format {
        "date" => Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        "date-time" => {
            Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$")
        }
        "uuid" => Some("^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"),
        "ipv4" => Some("^[0-9]{1,3}(\\.[0-9]{1,3}){3}$"),
        _ => None,
    }
}
