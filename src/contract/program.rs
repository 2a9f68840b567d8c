//! A compiled mapping, and the machine that runs it over a document.
//!
//! Every type has one program with two sides: what its steps say, one direction each. A side is laid out as a plan
//! (`plan`): one pass over the members of the source picks up what steps take, one over what the target needs writes
//! the translated document, its text and its nodes at once (`run`). The source is never changed, so the order of the
//! steps does not matter, and a step that looks outwards (`^.currency`) finds the older version's field either way.

mod flow;
mod fuse;
mod names;
mod plan;
mod run;
mod writer;

use std::sync::Arc;

use super::combine::Combination;
use super::convert::Change;
use super::lookup::Answers;
use super::spec::{Agree, DecimalForm, Direction};
use crate::expression::Expression;
use crate::json::{Document, Value};
pub(in crate::contract) use flow::{Abstract, Doubtful, Doubts, Given, Image, NUMBER, Presence, Question, excerpt};
pub(in crate::contract) use fuse::Link;
use plan::Plan;
use run::Run;

/// Line and column of a step in the mapping file.
pub(super) type Place = (u32, u32);

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
    up_plan: Plan,
    down_plan: Plan,
}

impl Program {
    /// A type with these steps and these types inside.
    pub(super) fn new(is_identity: bool, nested: Vec<Nested>, up: Side, down: Side) -> Self {
        Self {
            is_identity,
            nested,
            up,
            down,
            ..Self::default()
        }
    }
}

/// A type inside another.
#[derive(Debug)]
pub(super) struct Nested {
    pub(super) path: Vec<Step>,
    pub(super) what: Inner,
}

/// What stands inside a type.
#[derive(Clone, Debug)]
pub(super) enum Inner {
    /// A type, by the position of its program.
    Program(usize),
    /// One of several types.
    Choice(Arc<Choice>),
}

/// One of several types, of which a member says which it is.
#[derive(Debug)]
pub(super) struct Choice {
    /// The member in the older version and in the newer.
    pub(super) by: [Box<str>; 2],
    /// What it says in the older version, in the newer, and the program.
    pub(super) cases: Vec<([Box<str>; 2], usize)>,
    pub(super) place: Place,
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
    pub(super) drops: Vec<(Path, Place)>,
    /// Left out if they are what was expected.
    pub(super) expects: Vec<Expect>,
    /// Values taken from one place, changed, and put in another.
    pub(super) moves: Vec<Move>,
    /// Values read and put in a second place.
    pub(super) copies: Vec<CopyTo>,
    /// Several values turned into several others.
    pub(super) combinations: Vec<Combine>,
    /// Values computed from a list.
    pub(super) computed: Vec<Computed>,
    /// Values computed by an expression over the source.
    pub(super) expressions: Vec<Expressed>,
    /// Values put where nothing stands.
    pub(super) fills: Vec<(Path, serde_json::Value, Place)>,
    /// Names of fields that the source declares.
    pub(super) declared: Box<[Box<str>]>,
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
    pub(super) place: Place,
}

/// Several values turned into several others.
#[derive(Debug)]
pub(super) struct Combine {
    pub(super) from: Vec<Path>,
    /// Values it looks at, as the older version has them.
    pub(super) seen: Vec<Outward>,
    pub(super) to: Vec<Path>,
    pub(super) rule: Arc<dyn Combination>,
    pub(super) place: Place,
}

/// A value computed by an expression.
#[derive(Clone, Debug)]
pub(super) struct Expressed {
    pub(super) expression: Arc<Expression>,
    pub(super) to: Path,
    pub(super) place: Place,
}

/// A value computed from a list.
#[derive(Clone, Debug)]
pub(super) struct Computed {
    pub(super) of: Path,
    /// Lists further inside: each from an item of the one around it.
    pub(super) inner: Vec<Path>,
    /// The member of its items that is added up; without one, items are counted.
    pub(super) field: Option<Path>,
    pub(super) to: Path,
    pub(super) form: DecimalForm,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) struct CopyTo {
    pub(super) from: Outward,
    pub(super) to: Path,
    pub(super) place: Place,
}

/// A path that starts some objects further out.
#[derive(Clone, Debug)]
pub(super) struct Outward {
    pub(super) up: usize,
    pub(super) path: Path,
}

impl Outward {
    /// Reads `^.currency`: one object further out for each `^`.
    pub(super) fn parse(written: &str) -> Self {
        let up = written.bytes().take_while(|byte| *byte == b'^').count();
        let inner = written.trim_start_matches('^').trim_start_matches('.');
        Self {
            up,
            path: inner.split('.').map(Into::into).collect(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Expect {
    pub(super) path: Path,
    pub(super) expected: Expected,
    pub(super) otherwise: Agree,
    pub(super) place: Place,
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
    /// The step at fault; `None` where no step says what becomes of the value.
    pub(super) step: Option<Place>,
}

/// What one step did to a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Line of the step in the mapping file, 1-based.
    pub line: u32,
    /// Column of the step, 1-based.
    pub column: u32,
    /// JSON Pointer and text of the value it took, if it took one.
    pub taken: Option<(String, String)>,
    /// JSON Pointer and text of the value it put, if it put one.
    pub put: Option<(String, String)>,
}

impl Programs {
    /// All programs between two versions, laid out for running.
    pub(super) fn new(mut list: Vec<Program>) -> Self {
        for program in &mut list {
            program.up_plan = Plan::new(program, Direction::Up);
            program.down_plan = Plan::new(program, Direction::Down);
        }
        Self { list }
    }

    /// Translates a document. What comes out means nothing while `answers` wait for something.
    pub(super) fn run(
        &self,
        program: usize,
        way: Direction,
        document: &Document,
        answers: Option<&dyn Answers>,
    ) -> Result<Document, Fault> {
        Run::new(self, way, document, answers).document(program, document)
    }

    /// Translates a document and tells what each step did.
    pub(super) fn explain(
        &self,
        program: usize,
        way: Direction,
        document: &Document,
        answers: Option<&dyn Answers>,
    ) -> Result<(Document, Vec<Effect>), Fault> {
        Run::new(self, way, document, answers).explained(program, document)
    }

    /// Where a place in the translated document came from, or the nearest around it that came from anywhere.
    pub(super) fn origin(&self, program: usize, way: Direction, tokens: Vec<String>) -> Vec<String> {
        self.trace(program, way, Trace::exactly(tokens)).tokens
    }

    /// Like `origin`, and whether it is the place itself.
    pub(super) fn trace(&self, program: usize, way: Direction, trace: Trace) -> Trace {
        let program = &self.list[program];
        if program.is_identity || !trace.is_exact {
            return trace;
        }
        let inner = |Trace { tokens, is_exact }: Trace| {
            if !is_exact {
                return Trace { tokens, is_exact };
            }
            let deepest = program
                .nested
                .iter()
                .filter(|nested| leads_into(&nested.path, &tokens))
                .max_by_key(|nested| nested.path.len());
            match deepest {
                Some(Nested {
                    path,
                    what: Inner::Program(program),
                }) => {
                    let mut outer = tokens;
                    let rest = outer.split_off(path.len());
                    let rest = self.trace(*program, way, Trace::exactly(rest));
                    outer.extend(rest.tokens);
                    Trace {
                        tokens: outer,
                        is_exact: rest.is_exact,
                    }
                }
                // Which of several types it was, the place alone does not tell.
                Some(Nested {
                    path,
                    what: Inner::Choice(_),
                }) if path.len() < tokens.len() => Trace::around(&tokens, path.len()),
                _ => Trace::exactly(tokens),
            }
        };
        match way {
            Direction::Up => inner(program.up.origin(trace.tokens)),
            Direction::Down => {
                let Trace { tokens, is_exact } = inner(trace);
                let outer = program.down.origin(tokens);
                Trace {
                    is_exact: is_exact && outer.is_exact,
                    ..outer
                }
            }
        }
    }
}

impl Program {
    pub(super) fn side(&self, way: Direction) -> &Side {
        match way {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn plan(&self, way: Direction) -> &Plan {
        match way {
            Direction::Up => &self.up_plan,
            Direction::Down => &self.down_plan,
        }
    }
}

impl Side {
    /// The step that puts what stands at a place of the older form, and the way further inwards.
    fn mover<'s>(&'s self, older: &'s [Box<str>]) -> Option<(&'s Move, &'s [Box<str>])> {
        let step = self.moves.iter().find(|step| older.starts_with(&step.to))?;
        Some((step, &older[step.to.len()..]))
    }

    /// Where a value of the older form comes from, and what becomes of it if it is a plain one.
    fn older(&self, path: &[Box<str>]) -> (Path, Change) {
        match self.mover(path) {
            None => (path.into(), Change::Keep),
            Some((step, [])) if step.change.is_plain() => (step.from.clone(), step.change.clone()),
            Some((step, inner)) => {
                let from = step.from.iter().chain(inner);
                (from.cloned().collect(), Change::Keep)
            }
        }
    }

    /// Where a place of the translated document came from, as far as this type alone moved it.
    fn origin(&self, tokens: Vec<String>) -> Trace {
        let is_prefix = |path: &[Box<str>], tokens: &[String]| {
            path.len() <= tokens.len() && path.iter().zip(tokens).all(|(name, token)| **name == **token)
        };
        let owned = |path: &[Box<str>]| path.iter().map(ToString::to_string).collect::<Vec<_>>();
        let moved = self.moves.iter().filter(|step| is_prefix(&step.to, &tokens));
        if let Some(step) = moved.max_by_key(|step| step.to.len()) {
            return step.origin(owned(&step.from), &tokens[step.to.len()..]);
        }
        let mut combined = self.combinations.iter();
        if let Some(combine) = combined.find(|combine| combine.to.iter().any(|to| is_prefix(to, &tokens))) {
            return Trace::exactly(owned(&combine.from[0]));
        }
        if let Some(copy) = self.copies.iter().find(|copy| is_prefix(&copy.to, &tokens)) {
            return match copy.from.up {
                0 => Trace::exactly(owned(&copy.from.path)),
                _ => Trace::around(&tokens, 0),
            };
        }
        let computed = self.computed.iter().map(|computed| &computed.to);
        let mut made = computed.chain(self.expressions.iter().map(|expressed| &expressed.to));
        if made.any(|to| is_prefix(to, &tokens)) {
            return Trace::around(&tokens, 0);
        }
        // An object that the mapping made: one of the fields it was made from.
        let made = self.moves.iter().find(|step| {
            !tokens.is_empty()
                && step.to.len() > tokens.len()
                && step.to.iter().zip(&tokens).all(|(name, token)| **name == **token)
        });
        if let Some(step) = made {
            return Trace::exactly(owned(&step.from));
        }
        // A field of this name went elsewhere, so that this one came from nowhere.
        let moved = self.moves.iter().map(|step| &step.from);
        let dropped = self.drops.iter().map(|(path, _)| path);
        let expected = self.expects.iter().filter_map(|expect| match expect.expected {
            Expected::OrKept(_) => None,
            _ => Some(&expect.path),
        });
        let combined = self.combinations.iter().flat_map(|combine| &combine.from);
        let mut taken = moved.chain(dropped).chain(expected).chain(combined);
        match taken.find(|path| is_prefix(path, &tokens)) {
            Some(path) => Trace::around(&tokens, path.len() - 1),
            None => Trace::exactly(tokens),
        }
    }
}

impl Move {
    /// Where a place inside what it put came from; `tokens` are the way to what it took.
    fn origin(&self, mut tokens: Vec<String>, inside: &[String]) -> Trace {
        let is_exact = match self.change {
            // One value became a list of one.
            Change::Wrap => {
                tokens.extend(inside.iter().skip(1).cloned());
                true
            }
            // The first of a list became the value.
            Change::Single { .. } => {
                if !inside.is_empty() {
                    tokens.push("0".to_owned());
                    tokens.extend(inside.iter().cloned());
                }
                true
            }
            // Positions and names inside are others, and only the document tells which.
            Change::Group(_)
            | Change::Flatten(_)
            | Change::Pivot(_)
            | Change::Unpivot(_)
            | Change::Named(_)
            | Change::Keyed(_) => inside.is_empty(),
            _ => {
                tokens.extend(inside.iter().cloned());
                true
            }
        };
        Trace { tokens, is_exact }
    }
}

/// A place that is followed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) tokens: Vec<String>,
    /// The place itself, not one around it.
    pub(super) is_exact: bool,
}

impl Trace {
    pub(super) fn exactly(tokens: Vec<String>) -> Self {
        Self { tokens, is_exact: true }
    }

    /// What stands around a place, so many names inwards.
    fn around(tokens: &[String], depth: usize) -> Self {
        Self {
            tokens: tokens[..depth].to_vec(),
            is_exact: false,
        }
    }
}

impl Fault {
    fn at(value: Value<'_>, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            tokens: value.pointer().tokens().to_vec(),
            step: None,
        }
    }

    /// The same as the fault of a step, unless it is already that of one inside it.
    fn by(mut self, step: Place) -> Self {
        self.step.get_or_insert(step);
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
