//! Lays a side out for running: one pass over the members of the source, one over what the target needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::combine::Combination;
use super::super::convert::Change;
use super::names::Names;
use super::{Choice, Computed, Expected, Inner, Nested, Outward, Path, Place, Program, Side, Step};
use crate::contract::spec::{Agree, Direction};
use crate::expression::Expression;
use crate::json::{Builder, Document, MemberName};

/// How one direction of a program is run.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The object and those inside it that steps reach into; the first is the object itself.
    pub(super) sources: Vec<Source>,
    /// The object that is made and those inside it; the first is the object itself.
    pub(super) targets: Vec<Vec<Entry>>,
    pub(super) checks: Vec<Check>,
    pub(super) combinations: Vec<Combined>,
    /// How many values combinations make.
    pub(super) parts: usize,
    /// How many values are picked up.
    pub(super) slots: usize,
    /// What is done with the items where this is a list.
    pub(super) items: Option<Walk>,
    /// Nothing but an object can be translated.
    pub(super) is_busy: bool,
    /// It was made of several: whatever is doubtful fails.
    pub(super) is_joined: bool,
    /// Values that are left out must be what is expected; those of joined plans.
    pub(super) agreements: Vec<Agreement>,
    /// Values that are made to find out whether they can be made.
    pub(super) discarded: Vec<Producer>,
}

/// What is done with the members of an object.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) names: Names<Action>,
    /// Members of other names have no place in the target.
    pub(super) is_closed: bool,
    /// What is done inside members of other names.
    pub(super) rest: Walk,
    /// Steps take something out of it: if nothing is left, it is left out.
    pub(super) is_taken_from: bool,
}

/// What is done with a member.
#[derive(Debug)]
pub(super) enum Action {
    /// It is left out.
    Skip(Place),
    /// It is picked up for a step.
    Take(usize),
    /// It stays, changed. The number is that of the target's entry of the same name, if any.
    Change(Producer, Option<usize>),
    /// It stays.
    Carry(Walk, Option<usize>),
    /// Steps reach into it.
    Open(Opened),
    /// Nobody knows what would become of it.
    Refuse,
}

/// An object that steps reach into.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) source: usize,
    pub(super) target: usize,
    /// The target's entry of the same name.
    pub(super) entry: Option<usize>,
    /// Another value stands in its place: nothing may be left of it.
    pub(super) is_dissolved: bool,
    /// The source is known to have such an object, not only what is made inside it.
    pub(super) is_known: bool,
}

/// A member of the target that is made.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) written: MemberName,
    pub(super) what: Made,
}

/// What is made.
#[derive(Debug)]
pub(super) enum Made {
    Value(Producer),
    /// An object, by its number among the targets.
    Object(usize),
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) struct Producer {
    pub(super) place: Place,
    pub(super) from: Origin,
    /// Put where nothing else comes.
    pub(super) otherwise: Option<Document>,
}

#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A value that was picked up (or is the one at hand, for a member that stays), changed.
    Moved { slot: usize, change: Change, walk: Walk },
    /// A value that stands elsewhere in the source.
    Copied(Outward),
    /// What a combination made.
    Part(usize),
    /// Computed from a list in the source.
    Computed(Computed),
    /// Computed by an expression over the source.
    Expression(Arc<Expression>),
    /// The value at hand, unless it is this one.
    Unless(Document),
    /// Nowhere: only what is put otherwise.
    Nothing,
}

/// Several values turned into several others.
#[derive(Debug)]
pub(super) struct Combined {
    pub(super) slots: Vec<usize>,
    pub(super) seen: Vec<Outward>,
    pub(super) rule: Arc<dyn Combination>,
    /// How many values it makes.
    pub(super) count: usize,
    pub(super) place: Place,
}

/// A value that is left out must be what is expected.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) slot: usize,
    pub(super) against: Against,
    pub(super) otherwise: Agree,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Against {
    Value(Document),
    /// What stands there in the older form.
    Older(Outward),
}

/// A value that is left out must be this; the same where two programs have become one.
#[derive(Debug)]
pub(super) struct Agreement {
    pub(super) found: Seen,
    pub(super) expected: Agreed,
}

#[derive(Debug)]
pub(super) enum Agreed {
    Value(Document),
    Seen(Seen),
}

/// A plain value that is looked at, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) from: Outward,
    pub(super) change: Change,
}

impl Seen {
    /// Where it is, if it is looked at as it is.
    pub(super) fn untouched(self) -> Option<Outward> {
        matches!(self.change, Change::Keep).then_some(self.from)
    }
}

/// What is done with what a value holds.
#[derive(Clone, Debug, Default)]
pub(super) enum Walk {
    /// It is copied whole.
    #[default]
    Whole,
    /// It is a type of its own.
    Program(usize),
    /// It is one of several types.
    Choice(Arc<Choice>),
    /// It holds types of their own.
    Inside(Box<Inside>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inside {
    pub(super) items: Option<Walk>,
    pub(super) values: Option<Walk>,
    pub(super) fields: BTreeMap<Box<str>, Walk>,
}

impl Walk {
    /// Adds a program to be found further inside.
    fn add(&mut self, path: &[Step], what: &Inner) {
        let Some((step, rest)) = path.split_first() else {
            *self = match what {
                Inner::Program(program) => Self::Program(*program),
                Inner::Choice(choice) => Self::Choice(choice.clone()),
            };
            return;
        };
        if let Self::Whole = self {
            *self = Self::Inside(Box::default());
        }
        // What stands inside a type of its own is that type's.
        if let Self::Inside(inside) = self {
            let inner = match step {
                Step::Items => inside.items.get_or_insert_default(),
                Step::Values => inside.values.get_or_insert_default(),
                Step::Field(name) => inside.fields.entry(name.clone()).or_default(),
            };
            inner.add(rest, what);
        }
    }
}

impl Plan {
    /// The first of the steps that put something into a target.
    pub(super) fn first_step(&self, target: usize) -> Option<Place> {
        self.targets[target].iter().find_map(|entry| match &entry.what {
            Made::Value(producer) => Some(producer.place),
            Made::Object(inner) => self.first_step(*inner),
        })
    }

    /// Lays out one direction of a program.
    pub(super) fn new(program: &Program, way: Direction) -> Self {
        let side = program.side(way);
        let mut layout = Layout {
            root: Branch::default(),
            targets: vec![Vec::new()],
            plan: Self::default(),
        };
        layout.steps(side);
        layout.merge_targets();
        layout.nest(&program.nested, side, way);
        layout.finish(side)
    }
}

/// A plan in the making.
struct Layout {
    root: Branch,
    targets: Vec<Vec<Entry>>,
    plan: Plan,
}

/// Members of an object by name.
#[derive(Default)]
struct Branch {
    members: BTreeMap<Box<str>, Member>,
    is_taken_from: bool,
    /// Steps or types reach into it.
    is_asked: bool,
    /// What is done inside members that no step names.
    rest: Walk,
}

enum Member {
    Skip(Place),
    Take(usize),
    Change(Producer),
    Carry(Walk),
    Open(Branch),
}

impl Layout {
    fn steps(&mut self, side: &Side) {
        for (path, place) in &side.drops {
            self.root.put(path, Member::Skip(*place), true);
        }
        for expect in &side.expects {
            let against = match &expect.expected {
                Expected::OrKept(value) => {
                    let producer = Producer {
                        place: expect.place,
                        from: Origin::Unless(constant(value)),
                        otherwise: None,
                    };
                    self.root.put(&expect.path, Member::Change(producer), true);
                    continue;
                }
                Expected::Value(value) => Against::Value(constant(value)),
                Expected::Same(outward) => Against::Older(outward.clone()),
            };
            let check = Check {
                slot: self.pick_up(&expect.path),
                against,
                otherwise: expect.otherwise,
                place: expect.place,
            };
            self.plan.checks.push(check);
        }
        for step in &side.moves {
            let mut producer = Producer {
                place: step.place,
                from: Origin::Moved {
                    slot: 0,
                    change: step.change.clone(),
                    walk: Walk::Whole,
                },
                otherwise: None,
            };
            if step.from == step.to {
                let member = match step.change {
                    Change::Keep => Member::Carry(Walk::Whole),
                    _ => Member::Change(producer),
                };
                self.root.put(&step.from, member, false);
            } else {
                let picked = self.pick_up(&step.from);
                if let Origin::Moved { slot, .. } = &mut producer.from {
                    *slot = picked;
                }
                self.make(&step.to, producer);
            }
        }
        for copy in &side.copies {
            self.make(&copy.to, Producer::new(copy.place, Origin::Copied(copy.from.clone())));
        }
        for combine in &side.combinations {
            let combined = Combined {
                slots: combine.from.iter().map(|path| self.pick_up(path)).collect(),
                seen: combine.seen.clone(),
                rule: combine.rule.clone(),
                count: combine.to.len(),
                place: combine.place,
            };
            for (part, path) in (self.plan.parts..).zip(&combine.to) {
                self.make(path, Producer::new(combine.place, Origin::Part(part)));
            }
            self.plan.parts += combined.count;
            self.plan.combinations.push(combined);
        }
        for computed in &side.computed {
            let producer = Producer::new(computed.place, Origin::Computed(computed.clone()));
            self.make(&computed.to, producer);
        }
        for expressed in &side.expressions {
            let producer = Producer::new(expressed.place, Origin::Expression(expressed.expression.clone()));
            self.make(&expressed.to, producer);
        }
        for (path, value, place) in &side.fills {
            let value = constant(value);
            match self.made(path) {
                Some(producer) => producer.otherwise = Some(value),
                None => self.make(
                    path,
                    Producer {
                        place: *place,
                        from: Origin::Nothing,
                        otherwise: Some(value),
                    },
                ),
            }
        }
    }

    fn pick_up(&mut self, path: &Path) -> usize {
        let slot = self.plan.slots;
        self.plan.slots += 1;
        self.root.put(path, Member::Take(slot), true);
        slot
    }

    fn make(&mut self, path: &Path, producer: Producer) {
        let Some((last, way)) = path.split_last() else { return };
        let target = way.iter().fold(0, |target, name| self.object(target, name));
        self.targets[target].push(Entry::new(last, Made::Value(producer)));
    }

    /// What makes the value at a path already.
    fn made(&mut self, path: &Path) -> Option<&mut Producer> {
        let (last, way) = path.split_last()?;
        let target = way.iter().try_fold(0, |target: usize, name| {
            self.targets[target].iter().find_map(|entry| match entry.what {
                Made::Object(inner) if entry.name == *name => Some(inner),
                _ => None,
            })
        })?;
        self.targets[target].iter_mut().find_map(|entry| match &mut entry.what {
            Made::Value(producer) if entry.name == *last => Some(producer),
            _ => None,
        })
    }

    /// The target inside another, by name.
    fn object(&mut self, target: usize, name: &str) -> usize {
        let known = self.targets[target].iter().find_map(|entry| match entry.what {
            Made::Object(inner) if *entry.name == *name => Some(inner),
            _ => None,
        });
        known.unwrap_or_else(|| {
            self.targets.push(Vec::new());
            let inner = self.targets.len() - 1;
            self.targets[target].push(Entry::new(name, Made::Object(inner)));
            inner
        })
    }

    /// An object that steps put something into may come with members of its own.
    fn merge_targets(&mut self) {
        fn merge(branch: &mut Branch, targets: &[Vec<Entry>], target: usize) {
            for entry in &targets[target] {
                if let Made::Object(inner) = entry.what {
                    let member = branch
                        .members
                        .entry(entry.name.clone())
                        .or_insert_with(|| Member::Open(Branch::default()));
                    if let Member::Open(branch) = member {
                        merge(branch, targets, inner);
                    }
                }
            }
        }
        merge(&mut self.root, &self.targets, 0);
    }

    /// Types inside this one are named by where the older version has them.
    fn nest(&mut self, nested: &[Nested], side: &Side, way: Direction) {
        for nested in nested {
            let fields: Vec<Box<str>> = nested.path.iter().map_while(Step::field).collect();
            let mover = side.moves.iter().find(|step| {
                step.from != step.to
                    && match way {
                        Direction::Up => fields.starts_with(&step.from),
                        Direction::Down => fields.starts_with(&step.to),
                    }
            });
            if let Some(mover) = mover {
                let older = if way == Direction::Up { &mover.from } else { &mover.to };
                let length = older.len();
                if let Some(Producer {
                    from: Origin::Moved { walk, .. },
                    ..
                }) = self.made(&mover.to)
                {
                    walk.add(&nested.path[length..], &nested.what);
                }
                continue;
            }
            match nested.path.first() {
                Some(Step::Items) => {
                    let mut walk = Walk::Whole;
                    walk.add(&nested.path[1..], &nested.what);
                    self.plan.items = Some(walk);
                }
                Some(Step::Values) => self.root.rest.add(&nested.path[1..], &nested.what),
                Some(Step::Field(_)) => self.root.nest(&nested.path, &nested.what),
                None => {}
            }
        }
    }

    fn finish(mut self, side: &Side) -> Plan {
        if let Some(names) = &side.carried {
            for name in names {
                let member = self.root.members.entry(name.clone());
                member.or_insert_with(|| Member::Carry(Walk::Whole));
            }
        }
        let root = std::mem::take(&mut self.root);
        self.plan.sources.push(Source::default());
        self.source(0, root, 0, &side.declared);
        self.plan.sources[0].is_closed = side.carried.is_some();
        self.plan.targets = self.targets;
        self.plan.is_busy = self.plan.targets.len() > 1 || !self.plan.targets[0].is_empty() || !side.moves.is_empty();
        self.plan
    }

    /// Lays out the members of an object; `declared` are those that the source declares.
    fn source(&mut self, number: usize, branch: Branch, target: usize, declared: &[Box<str>]) {
        let mut actions = Vec::with_capacity(branch.members.len());
        // A name that is made may also come with the source, if the source is open.
        for position in 0..self.targets[target].len() {
            let name = self.targets[target][position].name.clone();
            if !branch.members.contains_key(&name) {
                actions.push((name, Action::Carry(Walk::Whole, Some(position))));
            }
        }
        for (name, member) in branch.members {
            let entry = self.targets[target].iter().position(|entry| entry.name == name);
            let action = match member {
                Member::Skip(place) => Action::Skip(place),
                Member::Take(slot) => Action::Take(slot),
                Member::Change(producer) => Action::Change(producer, entry),
                Member::Carry(walk) => Action::Carry(walk, entry),
                Member::Open(branch) => {
                    let is_dissolved =
                        entry.is_some_and(|entry| matches!(self.targets[target][entry].what, Made::Value(_)));
                    let inner = if is_dissolved {
                        self.targets.push(Vec::new());
                        self.targets.len() - 1
                    } else {
                        self.object(target, &name)
                    };
                    let source = self.plan.sources.len();
                    let is_known = branch.is_asked || declared.contains(&name);
                    self.plan.sources.push(Source::default());
                    self.source(source, branch, inner, &[]);
                    Action::Open(Opened {
                        source,
                        target: inner,
                        entry: self.targets[target].iter().position(|entry| entry.name == name),
                        is_dissolved,
                        is_known,
                    })
                }
            };
            actions.push((name, action));
        }
        self.plan.sources[number] = Source {
            names: Names::new(actions),
            is_closed: false,
            rest: branch.rest,
            is_taken_from: branch.is_taken_from,
        };
    }
}

impl Branch {
    /// Says what is done at a path. What was said before of a place around it holds.
    fn put(&mut self, path: &[Box<str>], member: Member, takes: bool) {
        let Some((name, rest)) = path.split_first() else { return };
        self.is_taken_from |= takes;
        self.is_asked = true;
        if rest.is_empty() {
            self.members.entry(name.clone()).or_insert(member);
            return;
        }
        let inner = self
            .members
            .entry(name.clone())
            .or_insert_with(|| Member::Open(Self::default()));
        if let Member::Open(branch) = inner {
            branch.put(rest, member, takes);
        }
    }

    /// A type inside a member that stays.
    fn nest(&mut self, path: &[Step], what: &Inner) {
        let Some((Step::Field(name), rest)) = path.split_first() else {
            return;
        };
        self.is_asked = true;
        let member = self
            .members
            .entry(name.clone())
            .or_insert_with(|| Member::Carry(Walk::Whole));
        match member {
            Member::Carry(walk)
            | Member::Change(Producer {
                from: Origin::Moved { walk, .. },
                ..
            }) => walk.add(rest, what),
            Member::Open(branch) => branch.nest(rest, what),
            Member::Skip(_) | Member::Take(_) | Member::Change(_) => {}
        }
    }
}

impl Producer {
    fn new(place: Place, from: Origin) -> Self {
        Self {
            place,
            from,
            otherwise: None,
        }
    }
}

impl Entry {
    pub(super) fn new(name: &str, what: Made) -> Self {
        Self {
            name: name.into(),
            written: MemberName::new(name),
            what,
        }
    }
}

impl Step {
    fn field(&self) -> Option<Box<str>> {
        match self {
            Self::Field(name) => Some(name.clone()),
            Self::Items | Self::Values => None,
        }
    }
}

fn constant(value: &serde_json::Value) -> Document {
    let mut builder = Builder::with_capacity(16, 1);
    builder.json(value);
    builder.finish().unwrap_or_else(|| Document::of_string(""))
}
