//! Whether one schema admits only what another admits: the question under mappings and under changes of a contract.
//!
//! Both schemas are walked side by side (`walk`); texts are compared as automata (`regular`), what resists is put to a
//! second opinion (`canon`). Proved means that no value can escape. Refuted means that a document shows it: validators
//! took it on the one side and refused it on the other. Whatever is neither is unknown, and never guessed.

mod canon;
mod conj;
mod regular;
mod same;
mod sample;
mod side;
mod types;
mod walk;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use canon::Canon;
pub(super) use conj::{Conj, ConjKey};
pub(super) use regular::{Automaton, shortest};
pub(super) use side::Side;
pub(super) use types::Types;
use walk::{Known, Walk};

/// How long one comparison may take, unless somebody says otherwise.
const BUDGET: Duration = Duration::from_secs(5);

/// Two documents whose schemas are compared: JSON Schema 2020-12, with references into their own document.
///
/// A document is a schema with its `$defs`, or an `OpenAPI` document with its components. What is found out about a
/// document is kept for the next comparison.
pub struct Containment {
    sub: Side,
    sup: Side,
    canon: Canon,
    known: Known,
    budget: Duration,
}

/// Whether one schema is within another.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// All that the one admits, the other admits.
    Proved,
    /// The one admits what the other refuses.
    Refuted {
        /// Each with a document that shows it. Never empty.
        differences: Vec<Difference>,
        /// Places where there may be more.
        doubts: Vec<Doubt>,
    },
    /// Neither could be shown, for these reasons.
    Unknown(Vec<Doubt>),
}

/// One thing that the one schema admits and the other refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where in the value, as people write it: `lines[].uom`; empty for the whole value.
    pub at: String,
    /// The same as names and positions in the document that shows it: `lines`, `0`, `uom`.
    pub path: Vec<String>,
    /// The keyword that refuses: `maxLength`; `false` where nothing is admitted.
    pub keyword: String,
    /// Pointer of the schema that admits, in its document.
    pub sub: String,
    /// Pointer of the schema with the keyword, in the other document.
    pub sup: String,
    /// What stands there in the document that shows it.
    pub value: Value,
    /// A whole document that the one schema admits and the other refuses.
    pub witness: Value,
    /// All that is refused there and was admitted, as a schema; where that is known.
    pub beyond: Option<Value>,
}

/// One place that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Where in the value: `lines[].uom`; empty for the whole value.
    pub at: String,
    /// The keyword that was not decided; may be empty.
    pub keyword: String,
    /// Pointer of the one schema, in its document.
    pub sub: String,
    /// Pointer of the other schema, in its document.
    pub sup: String,
    /// What stood in the way: one lower-case phrase.
    pub why: String,
}

impl Containment {
    /// Of schemas in the document `sub` within schemas in the document `sup`.
    pub fn new(sub: impl Into<Arc<Value>>, sup: impl Into<Arc<Value>>) -> Self {
        let (sub, sup) = (sub.into(), sup.into());
        Self {
            canon: Canon::new(sub.clone(), sup.clone()),
            sub: Side::new(sub),
            sup: Side::new(sup),
            known: Known::default(),
            budget: BUDGET,
        }
    }

    /// How long each comparison may take before what is left of it is unknown.
    #[must_use]
    pub fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The same, between two comparisons.
    pub fn set_budget(&mut self, budget: Duration) {
        self.budget = budget;
    }

    /// Whether the schema at a JSON Pointer of the one document (empty for the document itself) is within the schema at
    /// a pointer of the other.
    pub fn decide(&mut self, sub: &str, sup: &str) -> Answer {
        let deadline = Instant::now() + self.budget;
        let roots: (Arc<str>, Arc<str>) = (sub.into(), sup.into());
        let admitted = Conj::new(&self.sub, std::slice::from_ref(&roots.0), &roots.0);
        let is_broken = self.sub.flat(&roots.0).is_broken;
        let mut walk = Walk::new(
            (&self.sub, &self.sup),
            &mut self.canon,
            &mut self.known,
            deadline,
            roots.clone(),
        );
        if walk.within(&admitted, &roots.1) && !is_broken {
            return Answer::Proved;
        }
        let (differences, mut doubts) = (walk.differences, walk.doubts);
        if !differences.is_empty() {
            return Answer::Refuted { differences, doubts };
        }
        if self.canon.parts(vec![roots.0], roots.1, deadline).is_within {
            return Answer::Proved;
        }
        if doubts.is_empty() {
            doubts.push(Doubt {
                at: String::new(),
                keyword: String::new(),
                sub: sub.to_owned(),
                sup: sup.to_owned(),
                why: "a reference there is not followed".to_owned(),
            });
        }
        Answer::Unknown(doubts)
    }
}

/// The place of a member of what stands at a place: `customer.name`, quoted where the name is no word.
pub(super) fn member_place(at: &str, name: &str) -> String {
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-$@".contains(c));
    let name = if is_word {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    };
    if at.is_empty() { name } else { format!("{at}.{name}") }
}

#[cfg(test)]
pub(super) mod tests;
