//! What steps over several values do to values of which only the schema is known.

use std::time::Instant;

use serde_json::Value;

use super::change::Numbers;
use super::texts::Texts;
use super::{DoubtKind, Presence};
use crate::contract::containment::{Conj, Side, Types};

/// What is known of a combination's results. Every combination says it: one that does not is no combination.
pub(in crate::contract) trait Abstract {
    /// A schema for each field it fills, and whether it is filled if any of the values it takes is there. `given` and
    /// `seen` are what [`combine`](crate::contract::combine::Combination::combine) gets; none is never there, or not
    /// known.
    fn image(
        &self,
        given: &[Option<Given<'_>>],
        seen: &[Option<Given<'_>>],
        doubts: &mut Doubts,
    ) -> Vec<(Value, Presence)>;
}

/// A value that a combination takes.
pub(in crate::contract) struct Given<'g> {
    conj: Conj,
    presence: Presence,
    side: &'g Side,
    deadline: Instant,
}

impl<'g> Given<'g> {
    pub(super) fn new(conj: &Conj, presence: Presence, side: &'g Side, deadline: Instant) -> Self {
        Self {
            conj: conj.clone(),
            presence,
            side,
            deadline,
        }
    }

    pub(in crate::contract) fn types(&self) -> Types {
        self.conj.types
    }

    pub(in crate::contract) fn is_certain(&self) -> bool {
        self.presence == Presence::Always
    }

    pub(in crate::contract) fn texts(&self) -> Texts<'g> {
        Texts::new(&self.conj, self.side, self.deadline)
    }

    pub(in crate::contract) fn numbers(&self) -> Numbers {
        Numbers::of(&self.conj, self.side)
    }

    /// Whether it is text, each of a pattern; and one that may not be.
    pub(in crate::contract) fn is_text_of(&self, pattern: &str) -> (bool, Option<Value>) {
        if !self.conj.types.is_within(Types::STRING) {
            return (false, Some(Value::from(1)));
        }
        let outcome = self.texts().within(pattern);
        (outcome.holds(), outcome.value())
    }
}

/// What is doubtful of a combination.
pub(in crate::contract) struct Doubts {
    /// It is the way back of what the way there made.
    pub(in crate::contract) is_return: bool,
    pub(super) found: Vec<(DoubtKind, String, Option<Value>)>,
}

impl Doubts {
    /// Some values are refused.
    pub(in crate::contract) fn refuse(&mut self, why: &str, value: Option<Value>) {
        self.found.push((DoubtKind::Refusal, why.to_owned(), value));
    }

    /// Some values may come back otherwise.
    pub(in crate::contract) fn unreturned(&mut self, why: &str) {
        if !self.is_return {
            self.found.push((DoubtKind::Return, why.to_owned(), None));
        }
    }
}
