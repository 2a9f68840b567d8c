//! Finds the step that wrote a place of a translated document, by the steps alone.

use super::{Direction, Inner, Nested, Place, Programs, Side, leads_into};
use crate::contract::convert::Change;

/// A step that wrote a place, or what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contract) struct Writer {
    pub(in crate::contract) place: Place,
    /// It only moved the value: what is wrong with it was so before.
    pub(in crate::contract) is_plain: bool,
}

impl Programs {
    /// Which step wrote a place of the translated document; `None` where the value stands as it stood before, or where the
    /// place alone does not tell.
    pub(in crate::contract) fn writer(&self, program: usize, way: Direction, tokens: &[String]) -> Option<Writer> {
        let program = &self.list[program];
        if program.is_identity {
            return None;
        }
        // Types inside stand where the older version has them.
        let older = match way {
            Direction::Up => Some(program.up.origin(tokens.to_vec())).filter(|trace| trace.is_exact),
            Direction::Down => Some(super::Trace::exactly(tokens.to_vec())),
        };
        let inner = older.and_then(|older| {
            let inside = program
                .nested
                .iter()
                .filter(|nested| leads_into(&nested.path, &older.tokens));
            match inside.max_by_key(|nested| nested.path.len())? {
                Nested {
                    path,
                    what: Inner::Program(inner),
                } => self.writer(*inner, way, &older.tokens[path.len()..]),
                Nested {
                    what: Inner::Choice(_), ..
                } => None,
            }
        });
        inner.or_else(|| program.side(way).writer(tokens))
    }
}

impl Side {
    fn writer(&self, tokens: &[String]) -> Option<Writer> {
        let made = |place| Writer { place, is_plain: false };
        let fills = self.fills.iter().map(|(to, _, place)| (to, made(*place)));
        let computed = self
            .computed
            .iter()
            .map(|computed| (&computed.to, made(computed.place)));
        let expressed = self
            .expressions
            .iter()
            .map(|expressed| (&expressed.to, made(expressed.place)));
        let combined = self
            .combinations
            .iter()
            .flat_map(|combine| combine.to.iter().map(|to| (to, made(combine.place))));
        let copies = self.copies.iter().map(|copy| (&copy.to, made(copy.place)));
        let moves = self.moves.iter().map(|step| {
            let is_plain = matches!(step.change, Change::Keep);
            (
                &step.to,
                Writer {
                    place: step.place,
                    is_plain,
                },
            )
        });
        // Of two at the same place the last counts: what is filled in is so only where nothing is moved.
        let all = fills
            .chain(computed)
            .chain(expressed)
            .chain(combined)
            .chain(copies)
            .chain(moves);
        let is_around =
            |to: &[Box<str>]| to.len() <= tokens.len() && to.iter().zip(tokens).all(|(name, token)| **name == **token);
        // Whoever only moved what is around it had no hand in it.
        all.filter(|(to, writer)| is_around(to) && (!writer.is_plain || to.len() == tokens.len()))
            .max_by_key(|(to, _)| to.len())
            .map(|(_, writer)| writer)
    }
}
