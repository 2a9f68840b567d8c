//! A compiled mapping, and the machine that runs it over a document.
//!
//! Every type has one program with two sides. A side takes all values it names away before it puts any, so the order
//! of its steps does not matter. Types inside a type are translated while the outer one is in the *older* form: going
//! up first, going down last. So a step that looks outwards (`^.currency`) finds the older version's field either way.

mod place;

use std::borrow::Cow;
use std::sync::Arc;

use super::convert::Change;
use super::spec::{Agree, Direction};
use crate::json::Out;
use place::{is_empty, is_same, position, put, shown, slot, take};

/// Names from an object inwards.
pub(super) type Path = Box<[Box<str>]>;

/// All programs between two neighbouring versions; they call each other by position.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) list: Vec<Program>,
}

/// How one type becomes its other version, and back.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// Nothing to do: the value is carried without being looked at.
    pub(super) is_identity: bool,
    /// Types inside this one, where the older version has them.
    pub(super) nested: Vec<Nested>,
    pub(super) up: Side,
    pub(super) down: Side,
}

/// A type inside another.
#[derive(Debug)]
pub(super) struct Nested {
    pub(super) path: Vec<Step>,
    pub(super) program: usize,
}

/// One step inwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Field(Box<str>),
    /// Every element of a list.
    Items,
    /// Every member of an object.
    Values,
}

/// One direction of a program, without what is nested.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Left out, because it is a declared loss or the other version has no place for it.
    pub(super) drops: Vec<Path>,
    /// Left out if they are what was expected.
    pub(super) expects: Vec<Expect>,
    /// Values taken from one place, changed, and put in another.
    pub(super) moves: Vec<Move>,
    /// Values read and put in a second place.
    pub(super) copies: Vec<CopyTo>,
    /// Values put where nothing stands.
    pub(super) fills: Vec<(Path, serde_json::Value)>,
    /// Objects that are left out if nothing is left in them, innermost first.
    pub(super) prune: Vec<Path>,
    /// Names of fields that may be carried unchanged, sorted; `None` if the target takes any.
    pub(super) carried: Option<Box<[Box<str>]>>,
    /// The version this side leads to.
    pub(super) target: Arc<str>,
}

#[derive(Debug)]
pub(super) struct Move {
    pub(super) from: Path,
    pub(super) to: Path,
    pub(super) change: Change,
}

#[derive(Debug)]
pub(super) struct CopyTo {
    pub(super) from: Outward,
    pub(super) to: Path,
}

/// A path that starts some objects further out.
#[derive(Clone, Debug)]
pub(super) struct Outward {
    pub(super) up: usize,
    pub(super) path: Path,
}

#[derive(Debug)]
pub(super) struct Expect {
    pub(super) path: Path,
    pub(super) expected: Expected,
    pub(super) otherwise: Agree,
}

#[derive(Debug)]
pub(super) enum Expected {
    /// This value.
    Value(serde_json::Value),
    /// This value; anything else stays where it is.
    OrKept(serde_json::Value),
    /// What stands there in the older form.
    Same(Outward),
}

/// Why a document could not be translated, in the vocabulary it was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) detail: String,
    pub(super) tokens: Vec<String>,
}

/// The objects around the one being translated.
struct Scope<'s, 'a> {
    value: &'s Out<'a>,
    around: Option<&'s Scope<'s, 'a>>,
}

impl Programs {
    /// Translates a value in place.
    pub(super) fn run<'a>(&'a self, program: usize, way: Direction, value: &mut Out<'a>) -> Result<(), Fault> {
        self.run_in(program, way, value, None)
    }

    fn run_in<'a>(
        &'a self,
        program: usize,
        way: Direction,
        value: &mut Out<'a>,
        around: Option<&Scope<'_, 'a>>,
    ) -> Result<(), Fault> {
        let program = &self.list[program];
        if program.is_identity || matches!(value.open(), Out::Null) {
            return Ok(());
        }
        if way == Direction::Up {
            self.run_nested(program, way, value, around)?;
            program.up.run(value, around)?;
            return Ok(());
        }
        let kept = program.down.run(value, around)?;
        self.run_nested(program, way, value, around).map_err(|mut fault| {
            fault.tokens = program.down.origin(fault.tokens);
            fault
        })?;
        program.down.compare(kept, value, around)
    }

    fn run_nested<'a>(
        &'a self,
        program: &'a Program,
        way: Direction,
        value: &mut Out<'a>,
        around: Option<&Scope<'_, 'a>>,
    ) -> Result<(), Fault> {
        for nested in &program.nested {
            let Some((Step::Field(name), rest)) = nested.path.split_first() else {
                // A list or map that is a type of its own: its parts look outwards past it.
                self.descend(&nested.path, nested.program, way, value, around)?;
                continue;
            };
            let Some(position) = position(value, name) else {
                continue;
            };
            let Some(members) = value.members_mut() else { continue };
            let mut inner = std::mem::replace(&mut members[position].1, Out::Absent);
            let scope = Scope { value, around };
            let result = self.descend(rest, nested.program, way, &mut inner, Some(&scope));
            if let Some(members) = value.members_mut() {
                members[position].1 = inner;
            }
            result.map_err(|fault| fault.inside(name))?;
        }
        Ok(())
    }

    fn descend<'a>(
        &'a self,
        path: &[Step],
        program: usize,
        way: Direction,
        value: &mut Out<'a>,
        around: Option<&Scope<'_, 'a>>,
    ) -> Result<(), Fault> {
        let Some((step, rest)) = path.split_first() else {
            return self.run_in(program, way, value, around);
        };
        match (step, value.open()) {
            (_, Out::Null) => Ok(()),
            (Step::Items, Out::Arr(elements)) => {
                for (position, element) in elements.iter_mut().enumerate() {
                    self.descend(rest, program, way, element, around)
                        .map_err(|fault| fault.inside(&position.to_string()))?;
                }
                Ok(())
            }
            (Step::Values, Out::Obj(members)) => {
                for (name, member) in members {
                    if !matches!(member, Out::Absent) {
                        self.descend(rest, program, way, member, around)
                            .map_err(|fault| fault.inside(name))?;
                    }
                }
                Ok(())
            }
            (Step::Field(name), Out::Obj(members)) => {
                let found = members
                    .iter_mut()
                    .find(|(member, value)| **member == **name && !matches!(value, Out::Absent));
                match found {
                    Some((_, member)) => self
                        .descend(rest, program, way, member, around)
                        .map_err(|fault| fault.inside(name)),
                    None => Ok(()),
                }
            }
            (Step::Items, _) => Err(Fault::here("something else where a list is expected")),
            (Step::Field(_) | Step::Values, _) => Err(Fault::here("something else where an object is expected")),
        }
    }

    /// Where a place in the translated document came from.
    pub(super) fn origin(&self, program: usize, way: Direction, tokens: Vec<String>) -> Vec<String> {
        let program = &self.list[program];
        if program.is_identity {
            return tokens;
        }
        let inner = |tokens: Vec<String>| {
            let deepest = program
                .nested
                .iter()
                .filter(|nested| leads_into(&nested.path, &tokens))
                .max_by_key(|nested| nested.path.len());
            match deepest {
                Some(nested) => {
                    let mut outer = tokens;
                    let rest = outer.split_off(nested.path.len());
                    outer.extend(self.origin(nested.program, way, rest));
                    outer
                }
                None => tokens,
            }
        };
        match way {
            Direction::Up => inner(program.up.origin(tokens)),
            Direction::Down => program.down.origin(inner(tokens)),
        }
    }
}

/// Values that were taken away and must agree with others once the older form is complete.
type Kept<'p, 'a> = Vec<(&'p Expect, Out<'a>)>;

impl Side {
    fn run<'a>(&'a self, value: &mut Out<'a>, around: Option<&Scope<'_, 'a>>) -> Result<Kept<'a, 'a>, Fault> {
        if value.members_mut().is_none() {
            let is_busy = !(self.moves.is_empty() && self.copies.is_empty() && self.fills.is_empty());
            return if is_busy {
                Err(Fault::here("something else where an object is expected"))
            } else {
                Ok(Vec::new())
            };
        }
        let mut copied = Vec::with_capacity(self.copies.len());
        for copy in &self.copies {
            copied.push(look(value, around, &copy.from));
        }
        for path in &self.drops {
            take(value, path);
        }
        let kept = self.take_expected(value)?;
        let mut taken = Vec::with_capacity(self.moves.len());
        for step in &self.moves {
            taken.push(match slot(value, &step.from) {
                None => None,
                Some(place) => {
                    let found = std::mem::replace(place, Out::Absent);
                    let changed = step
                        .change
                        .apply(found)
                        .map_err(|detail| Fault::at(detail, &step.from))?;
                    if step.from == step.to {
                        *place = changed;
                        None
                    } else {
                        Some(changed)
                    }
                }
            });
        }
        for path in &self.prune {
            if let Some(place) = slot(value, path)
                && place.members_mut().is_some_and(|members| is_empty(members))
            {
                *place = Out::Absent;
            }
        }
        if let Some(members) = value.members_mut() {
            // What was taken away is not searched again for every value that is put.
            members.retain(|(_, value)| !matches!(value, Out::Absent));
        }
        self.refuse_unknown(value)?;
        for (step, taken) in self.moves.iter().zip(taken) {
            if let Some(taken) = taken {
                put(value, &step.to, taken).map_err(|detail| Fault::at(detail, &step.from))?;
            }
        }
        for (copy, found) in self.copies.iter().zip(copied) {
            if let Some(found) = found {
                put(value, &copy.to, found).map_err(|detail| Fault::at(detail, &copy.from.path))?;
            }
        }
        for (path, filling) in &self.fills {
            if value.find(path).is_none() {
                put(value, path, filling.into()).map_err(Fault::here)?;
            }
        }
        Ok(kept)
    }

    fn take_expected<'a>(&'a self, value: &mut Out<'a>) -> Result<Kept<'a, 'a>, Fault> {
        let mut kept = Vec::new();
        for expect in &self.expects {
            let Some(place) = slot(value, &expect.path) else {
                continue;
            };
            match &expect.expected {
                Expected::OrKept(expected) => {
                    if is_same(place, &expected.into()) {
                        *place = Out::Absent;
                    }
                }
                Expected::Value(expected) => {
                    let found = std::mem::replace(place, Out::Absent);
                    if expect.otherwise == Agree::Error && !is_same(&found, &expected.into()) {
                        let detail = format!("{} where version {} knows only {expected}", shown(&found), self.target);
                        return Err(Fault::at(detail, &expect.path));
                    }
                }
                Expected::Same(_) => kept.push((expect, std::mem::replace(place, Out::Absent))),
            }
        }
        Ok(kept)
    }

    /// Compares what was dropped as a repetition with what it repeats.
    fn compare<'a>(&self, kept: Kept<'_, 'a>, value: &Out<'a>, around: Option<&Scope<'_, 'a>>) -> Result<(), Fault> {
        for (expect, found) in kept {
            let Expected::Same(other) = &expect.expected else {
                continue;
            };
            if expect.otherwise == Agree::Ignore {
                continue;
            }
            let agrees = look(value, around, other).is_some_and(|other| is_same(&found, &other));
            if !agrees {
                let detail = format!(
                    "{} differs from the one value that version {} has for it",
                    shown(&found),
                    self.target
                );
                return Err(Fault::at(detail, &expect.path));
            }
        }
        Ok(())
    }

    /// What is left must have a place in the other version.
    fn refuse_unknown(&self, value: &mut Out<'_>) -> Result<(), Fault> {
        let (Some(carried), Some(members)) = (&self.carried, value.members_mut()) else {
            return Ok(());
        };
        for (name, value) in members {
            let is_known = carried.binary_search_by(|known| (**known).cmp(name)).is_ok();
            if !is_known && !matches!(value, Out::Absent) {
                let mut shown: String = name.chars().take(60).collect();
                shown = shown.escape_debug().to_string();
                let fault = Fault::here(format!("version {} has no place for `{shown}`", self.target));
                return Err(fault.inside(name));
            }
        }
        Ok(())
    }

    /// Where a place of the translated document came from, as far as this type alone moved it.
    fn origin(&self, tokens: Vec<String>) -> Vec<String> {
        let is_prefix = |path: &[Box<str>], tokens: &[String]| {
            path.len() <= tokens.len() && path.iter().zip(tokens).all(|(name, token)| **name == **token)
        };
        let exact = self
            .moves
            .iter()
            .filter(|step| is_prefix(&step.to, &tokens))
            .max_by_key(|step| step.to.len());
        if let Some(step) = exact {
            let rest = tokens[step.to.len()..].iter().cloned();
            return step.from.iter().map(ToString::to_string).chain(rest).collect();
        }
        // An object that the mapping made: one of the fields it was made from.
        let made = self.moves.iter().find(|step| {
            !tokens.is_empty()
                && step.to.len() > tokens.len()
                && step.to.iter().zip(&tokens).all(|(name, token)| **name == **token)
        });
        match made {
            Some(step) => step.from.iter().map(ToString::to_string).collect(),
            None => tokens,
        }
    }
}

impl Fault {
    fn here(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            tokens: Vec::new(),
        }
    }

    fn at(detail: String, path: &[Box<str>]) -> Self {
        Self {
            detail,
            tokens: path.iter().map(ToString::to_string).collect(),
        }
    }

    fn inside(mut self, name: &str) -> Self {
        self.tokens.insert(0, name.to_owned());
        self
    }
}

fn leads_into(path: &[Step], tokens: &[String]) -> bool {
    path.len() <= tokens.len()
        && path.iter().zip(tokens).all(|(step, token)| match step {
            Step::Field(name) => **name == **token,
            Step::Items => token.bytes().all(|byte| byte.is_ascii_digit()),
            Step::Values => true,
        })
}

/// A copy of what stands at a path that may begin further out.
fn look<'a>(value: &Out<'a>, around: Option<&Scope<'_, 'a>>, from: &Outward) -> Option<Out<'a>> {
    let mut scope = around;
    let mut object = value;
    for _ in 0..from.up {
        object = scope?.value;
        scope = scope?.around;
    }
    object.find(&from.path).map(Cow::into_owned)
}
