//! Makes one program of several that follow each other, so that v1 becomes v3 in one go, without a v2 in between.
//!
//! The first program's result is described by where each of its values comes from (`given`); the second program is then
//! laid out over that description instead of over a document, and what it would take from the first's result it takes
//! from the source. Not every pair can be joined: an expression, for example, looks at a document that is not there.
//!
//! A joined program makes what its parts make, or fails. It fails on everything doubtful, too, because whoever runs it
//! then runs the parts, one after the other, which say what is wrong and where.

mod given;
mod laid;
mod settle;
mod shape;

use std::rc::Rc;

use super::super::convert::Change;
use super::super::spec::{Agree, Direction};
use super::plan::{Against, Agreed, Agreement, Combined, Entry, Made, Opened, Origin, Plan, Producer, Seen, Walk};
use super::{Choice, Outward, Path, Program, Programs};
use crate::json::Document;
use given::{Around, Given, Object, Spot, is_brought};
use laid::{Frame, Leaf};
use settle::{Settled, joined_change};
use shape::Shape;

/// A program of a mapping and the way through it.
pub(in crate::contract) type Link<'p> = (&'p Programs, usize, Direction);

/// Deepest nesting of objects that are joined; types that hold themselves would never end.
const DEPTH: usize = 16;

/// Most programs that a joined one is made of: it has its own of each type for each place where the type stands.
const PROGRAMS: usize = 512;

impl Programs {
    /// One program that does at once what a chain does link by link: the last one of its list, upwards. `None` where
    /// there is nothing to join or it cannot be joined.
    pub(in crate::contract) fn fused(chain: &[Link<'_>]) -> Option<Self> {
        let busy = |(programs, program, _): &&Link<'_>| !programs.list[*program].is_identity;
        let mut links = chain.iter().filter(busy);
        let (first, second) = (links.next()?, links.next()?);
        let mut joined = Fuser::new((first.0, first.2), (second.0, second.2)).join(first.1, second.1)?;
        for link in links {
            let last = joined.list.len() - 1;
            joined = Fuser::new((&joined, Direction::Up), (link.0, link.2)).join(last, link.1)?;
        }
        Some(joined)
    }

    /// Runs what was joined: its last program.
    pub(in crate::contract) fn run_fused(&self, document: &Document) -> Option<Document> {
        self.run(self.list.len() - 1, Direction::Up, document, None).ok()
    }
}

/// Joins two programs.
struct Fuser<'p> {
    first: (&'p Programs, Direction),
    second: (&'p Programs, Direction),
    made: Vec<Program>,
    /// Objects of the source that are under way, the innermost last.
    frames: Vec<Frame<'p>>,
    /// Objects that the second program is under way in, the innermost last.
    scopes: Vec<Scope<'p>>,
}

/// An object as the second program sees it.
struct Scope<'p> {
    program: &'p Program,
    given: Rc<Object<'p>>,
    /// The number of the frame that it is in.
    frame: usize,
}

/// The second program's part in one object.
struct Second<'s, 'p> {
    plan: &'s Plan,
    slots: Vec<Option<Given<'p>>>,
    used: Vec<bool>,
    /// Objects that it reaches into, by its own target's number: the joined target, and whether it is announced.
    opened: Vec<(usize, usize, bool)>,
    /// Where its own values begin among the joined program's.
    parts: usize,
    /// Nothing may be left out, because nobody knows whether something is left.
    keeps_all: bool,
}

impl<'p> Fuser<'p> {
    fn new(first: (&'p Programs, Direction), second: (&'p Programs, Direction)) -> Self {
        Self {
            first,
            second,
            made: Vec::new(),
            frames: Vec::new(),
            scopes: Vec::new(),
        }
    }

    fn join(mut self, first: usize, second: usize) -> Option<Programs> {
        let walk = self.compose(&Walk::Program(first), &Walk::Program(second), &Around::default())?;
        // Whoever runs it begins with the last program.
        let whole = match walk {
            Walk::Program(program) if program + 1 == self.made.len() => return Some(Programs { list: self.made }),
            Walk::Inside(inside) if inside.fields.is_empty() && inside.values.is_none() => inside.items?,
            _ => return None,
        };
        self.made.push(Program::list_of(whole));
        Some(Programs { list: self.made })
    }

    fn frame(&mut self) -> &mut Frame<'p> {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// What is done with a value that one walk after the other passes.
    fn compose(&mut self, first: &Walk, second: &Walk, around: &Around<'p>) -> Option<Walk> {
        let (programs, way) = self.first;
        let one = Shape::of(first, programs, way)?;
        let (programs, way) = self.second;
        let other = Shape::of(second, programs, way)?;
        Some(match (one, other) {
            (Shape::Whole, Shape::Whole) => Walk::Whole,
            (Shape::Items(one), Shape::Items(other)) => Walk::items(self.compose(&one, &other, around)?),
            (Shape::Items(one), Shape::Whole) => Walk::items(self.compose(&one, &Walk::Whole, around)?),
            (Shape::Whole, Shape::Items(other)) => Walk::items(self.compose(&Walk::Whole, &other, around)?),
            (Shape::Choice(choice), Shape::Whole) => {
                let version = usize::from(self.first.1 == Direction::Down);
                self.choice(&choice, version, |fuser, _, program| {
                    fuser.compose(&Walk::Program(program), &Walk::Whole, around)
                })?
            }
            (Shape::Whole, Shape::Choice(choice)) => {
                let version = usize::from(self.second.1 == Direction::Down);
                self.choice(&choice, version, |fuser, _, program| {
                    fuser.compose(&Walk::Whole, &Walk::Program(program), around)
                })?
            }
            (Shape::Choice(one), Shape::Choice(other)) => {
                let from = usize::from(self.first.1 == Direction::Down);
                let between = usize::from(self.second.1 == Direction::Down);
                if one.by[1 - from] != other.by[between] {
                    return None;
                }
                self.choice(&one, from, |fuser, names, program| {
                    let said = &names[1 - from];
                    let (_, next) = other.cases.iter().find(|(names, _)| names[between] == *said)?;
                    fuser.compose(&Walk::Program(program), &Walk::Program(*next), around)
                })?
            }
            (one @ (Shape::Whole | Shape::Object { .. }), other @ (Shape::Whole | Shape::Object { .. })) => {
                Walk::Program(self.object(&one, &other, around)?)
            }
            _ => return None,
        })
    }

    /// A choice between joined programs. Cases that cannot be joined are met by the programs one after the other.
    fn choice(
        &mut self,
        choice: &Choice,
        version: usize,
        mut case: impl FnMut(&mut Self, &[Box<str>; 2], usize) -> Option<Walk>,
    ) -> Option<Walk> {
        let mut cases = Vec::with_capacity(choice.cases.len());
        for (names, program) in &choice.cases {
            let joined = match case(self, names, *program)? {
                Walk::Program(program) => program,
                // A type that passes as it is still needs a program here.
                Walk::Whole => {
                    self.made.push(Program {
                        is_identity: true,
                        ..Program::default()
                    });
                    self.made.len() - 1
                }
                _ => return None,
            };
            cases.push(([names[version].clone(), names[version].clone()], joined));
        }
        let by = [choice.by[version].clone(), choice.by[version].clone()];
        let place = choice.place;
        Some(Walk::Choice(Choice { by, cases, place }.into()))
    }

    /// A program for an object of the source.
    fn object(&mut self, first: &Shape<'p>, second: &Shape<'p>, around: &Around<'p>) -> Option<usize> {
        if self.frames.len() >= DEPTH || self.made.len() >= PROGRAMS {
            return None;
        }
        self.frames.push(Frame::default());
        let joined = self.joined(first, second, around);
        let frame = self.frames.pop()?;
        joined?;
        self.made.push(Program::joined(frame.finish()));
        Some(self.made.len() - 1)
    }

    fn joined(&mut self, first: &Shape<'p>, second: &Shape<'p>, around: &Around<'p>) -> Option<()> {
        let frame = self.frames.len();
        let around = match first.program() {
            Some(program) => around.with(program, frame, Path::default()),
            None => around.clone(),
        };
        let plan = first.plan()?;
        let given = Rc::new(self.describe(&plan, &Path::default(), &around, false)?);
        self.enter(&plan, &Path::default(), &around)?;
        let plan = second.plan()?;
        let scope = second.program().map(|program| Scope {
            program,
            given: given.clone(),
            frame,
        });
        let is_scope = scope.is_some();
        self.scopes.extend(scope);
        let done = self.second(&plan, &given, 0, false);
        if is_scope {
            self.scopes.pop();
        }
        done
    }

    /// Runs the second program over what the first gives, and writes what comes out into a target.
    fn second(&mut self, plan: &Plan, given: &Rc<Object<'p>>, into: usize, keeps_all: bool) -> Option<()> {
        let mut second = Second {
            plan,
            slots: vec![None; plan.slots],
            used: vec![false; plan.slots],
            opened: Vec::new(),
            parts: 0,
            keeps_all,
        };
        self.collect(&mut second, given, 0)?;
        self.agreements(&mut second)?;
        self.combinations(&mut second)?;
        self.write(&mut second, given, (0, 0), into)?;
        for (slot, given) in std::mem::take(&mut second.slots).into_iter().enumerate() {
            if let (Some(given), false) = (given, second.used[slot]) {
                self.drop(&second, given)?;
            }
        }
        Some(())
    }

    /// Picks up what the second program's steps take.
    fn collect(&mut self, second: &mut Second<'_, 'p>, given: &Rc<Object<'p>>, source: usize) -> Option<()> {
        use super::plan::Action;
        for (name, member) in given.members(&second.plan.sources[source]) {
            match second.plan.sources[source].names.get(&name) {
                Some(Action::Take(slot)) => second.slots[*slot] = Some(member),
                Some(Action::Open(opened)) => {
                    let inner = self.inner(&member)?;
                    self.collect(second, &inner, opened.source)?;
                }
                _ => {}
            }
        }
        Some(())
    }

    /// What the second program leaves out must be what it expects.
    fn agreements(&mut self, second: &mut Second<'_, 'p>) -> Option<()> {
        for check in &second.plan.checks {
            let Some(given) = second.slots[check.slot].clone() else {
                continue;
            };
            second.used[check.slot] = true;
            let found = self.read(&given, self.frames.len(), None);
            self.drop(second, given)?;
            if check.otherwise == Agree::Ignore {
                continue;
            }
            let expected = match &check.against {
                Against::Value(value) => Agreed::Value(value.clone()),
                Against::Older(outward) => Agreed::Seen(self.older(outward)?),
            };
            let found = found?;
            self.frame().agreements.push(Agreement { found, expected });
        }
        Some(())
    }

    fn combinations(&mut self, second: &mut Second<'_, 'p>) -> Option<()> {
        second.parts = self.frame().parts;
        for combined in &second.plan.combinations {
            let mut slots = Vec::with_capacity(combined.slots.len());
            for slot in &combined.slots {
                second.used[*slot] = true;
                slots.push(match &second.slots[*slot] {
                    Some(Given::Value(value)) if value.is_untouched() => {
                        let path = value.path()?.clone();
                        self.frame().take(&path)?
                    }
                    Some(_) => return None,
                    // A slot that nothing is put into.
                    None => self.frame().empty_slot(),
                });
            }
            let way = self.second.1;
            let mut seen = Vec::with_capacity(combined.seen.len());
            for outward in &combined.seen {
                let found = match way {
                    Direction::Up => self.outward(outward, &Change::Keep)?,
                    Direction::Down => self.older(outward)?,
                };
                seen.push(found.untouched()?);
            }
            self.frame().combine(Combined {
                slots,
                seen,
                rule: combined.rule.clone(),
                count: combined.count,
                place: combined.place,
            });
        }
        Some(())
    }

    /// What stands in the older form, as the second program sees it.
    fn older(&self, outward: &Outward) -> Option<Seen> {
        let scope = self.scopes.get(self.scopes.len().checked_sub(outward.up + 1)?)?;
        let (path, change) = scope.program.side(self.second.1).older(&outward.path);
        let outward = Outward { up: outward.up, path };
        self.outward(&outward, &change)
    }

    /// Where in the source a place is that the second program looks at, and what becomes of its value.
    fn outward(&self, outward: &Outward, change: &Change) -> Option<Seen> {
        let scope = self.scopes.get(self.scopes.len().checked_sub(outward.up + 1)?)?;
        let given = scope.given.find(&outward.path)?;
        self.read(&given, scope.frame, Some(change))
    }

    /// The same for a value that the first program gives in a frame.
    fn read(&self, given: &Given<'p>, frame: usize, then: Option<&Change>) -> Option<Seen> {
        let Given::Value(value) = given else { return None };
        if value.otherwise.is_some() || !matches!(value.walk, Walk::Whole) {
            return None;
        }
        let change = match (&value.change, then) {
            (change, None | Some(Change::Keep)) => change.clone(),
            (Change::Keep, Some(then)) => then.clone(),
            (one, Some(then)) => joined_change(one, then)?,
        };
        if !matches!(change, Change::Keep) && !change.is_plain() {
            return None;
        }
        let further = self.frames.len() - frame;
        let from = match &value.spot {
            Spot::Stays(path) | Spot::Taken(path) => Outward {
                up: further,
                path: path.clone(),
            },
            Spot::Seen(outward) => Outward {
                up: further + outward.up,
                path: outward.path.clone(),
            },
            Spot::Unless(..) | Spot::Made(_) => return None,
        };
        Some(Seen { from, change })
    }

    /// Writes what the second program makes of the members of an object.
    fn write(
        &mut self,
        second: &mut Second<'_, 'p>,
        given: &Rc<Object<'p>>,
        (source, target): (usize, usize),
        into: usize,
    ) -> Option<()> {
        use super::plan::Action;
        let plan = second.plan;
        let own = &plan.sources[source];
        if let Some(path) = &given.source {
            let rest = self.rest(given, &own.rest)?;
            let node = self.frame().node(path)?;
            node.is_closed |= given.is_closed || own.is_closed || given.is_moved;
            node.is_taken_from |= given.is_taken_from || own.is_taken_from;
            node.rest = rest;
        }
        // Names that stay, and whether something else may be put there where nothing comes.
        let mut kept: Vec<Box<str>> = Vec::new();
        for (name, member) in given.members(own) {
            let settled = match own.names.get(&name) {
                Some(Action::Carry(_, entry) | Action::Change(_, entry))
                    if is_brought(&plan.targets[target], *entry) =>
                {
                    self.refuse(member)?;
                    continue;
                }
                None if own.is_closed => {
                    self.refuse(member)?;
                    continue;
                }
                None => self.settle(member, &Change::Keep, &own.rest, Some(&name))?,
                Some(Action::Refuse) => {
                    self.refuse(member)?;
                    continue;
                }
                Some(Action::Skip(_)) => {
                    self.drop(second, member)?;
                    continue;
                }
                Some(Action::Take(_)) => continue,
                Some(Action::Carry(walk, _)) => self.settle(member, &Change::Keep, walk, Some(&name))?,
                Some(Action::Change(producer, _)) => match &producer.from {
                    Origin::Moved { change, walk, .. } => self.settle(member, change, walk, Some(&name))?,
                    Origin::Unless(value) => Settled::unless(member, value, producer)?,
                    _ => return None,
                },
                Some(Action::Open(opened)) => self.open(second, &member, opened)?,
            };
            if let Settled::Nothing = settled {
                continue;
            }
            let opened = match own.names.get(&name) {
                Some(Action::Open(opened)) => Some(opened.target),
                _ => None,
            };
            self.put(second, into, &name, settled, opened)?;
            kept.push(name);
        }
        // What is left of it would have to keep its order.
        if given.is_moved && !kept.is_empty() {
            return None;
        }
        self.entries(second, target, into, &kept)
    }

    /// What is done with members that neither program names.
    fn rest(&mut self, given: &Object<'p>, second: &Walk) -> Option<Walk> {
        if matches!((&given.rest, second), (Walk::Whole, Walk::Whole)) {
            return Some(Walk::Whole);
        }
        // The types there look past the object that holds them.
        if given.source.as_ref().is_none_or(|path| !path.is_empty()) {
            return None;
        }
        let frame = self.frames.pop()?;
        let scope = self.scopes.pop_if(|scope| scope.frame == self.frames.len() + 1);
        let around = given.around.outside(self.frames.len());
        let composed = self.compose(&given.rest, second, &around);
        self.scopes.extend(scope);
        self.frames.push(frame);
        composed
    }

    /// Reaches into a member for the second program; `None` if nothing of it may be left.
    fn open(&mut self, second: &mut Second<'_, 'p>, member: &Given<'p>, opened: &Opened) -> Option<Settled> {
        let inner = self.inner(member)?;
        let into = self.frame().target();
        self.write(second, &inner, (opened.source, opened.target), into)?;
        let must_be_empty = opened.is_dissolved || inner.is_moved;
        if let Some(path) = &inner.source {
            let node = self.frame().node(path)?;
            node.is_dissolved |= must_be_empty;
            if !must_be_empty {
                node.target = into;
            } else if !node.is_taken_from {
                return None;
            }
        }
        if inner.is_moved && self.frame().targets[into].is_empty() {
            second.opened.push((opened.target, into, false));
            return Some(Settled::Nothing);
        }
        if opened.is_dissolved {
            // What it was made of went elsewhere.
            return self.frame().targets[into].is_empty().then_some(Settled::Nothing);
        }
        Some(Settled::Object(into))
    }

    /// Puts what has been settled into a target.
    fn put(
        &mut self,
        second: &mut Second<'_, 'p>,
        into: usize,
        name: &str,
        settled: Settled,
        opened: Option<usize>,
    ) -> Option<()> {
        let frame = self.frame();
        match settled {
            Settled::Value(producer, None) => frame.targets[into].push(Entry::new(name, Made::Value(producer))),
            Settled::Value(mut producer, Some(path)) => {
                let (place, from) = (producer.place, Origin::Nothing);
                let otherwise = producer.otherwise.take();
                frame.stay(&path, producer)?;
                if otherwise.is_some() {
                    let what = Made::Value(Producer { place, from, otherwise });
                    frame.targets[into].push(Entry::new(name, what));
                }
            }
            Settled::Object(target) => {
                let is_announced = !frame.targets[target].is_empty();
                if is_announced {
                    frame.targets[into].push(Entry::new(name, Made::Object(target)));
                }
                if let Some(own) = opened {
                    second.opened.push((own, target, is_announced));
                }
            }
            Settled::Nothing => {}
        }
        Some(())
    }

    /// Writes what the second program makes.
    fn entries(&mut self, second: &mut Second<'_, 'p>, target: usize, into: usize, kept: &[Box<str>]) -> Option<()> {
        let plan = second.plan;
        for entry in &plan.targets[target] {
            let producer = match &entry.what {
                Made::Value(producer) => producer,
                Made::Object(inner) => {
                    let opened = second.opened.iter_mut().find(|(own, ..)| own == inner);
                    match opened {
                        Some((_, _, true)) => {}
                        Some((_, joined, is_announced)) => {
                            *is_announced = true;
                            let joined = *joined;
                            if !self.frame().targets[joined].is_empty() {
                                self.frame().targets[into].push(Entry::new(&entry.name, Made::Object(joined)));
                            }
                        }
                        // A value that cannot be reached into stands there.
                        None if kept.contains(&entry.name) => return None,
                        None => {
                            let joined = self.frame().target();
                            self.entries(second, *inner, joined, &[])?;
                            if !self.frame().targets[joined].is_empty() {
                                self.frame().targets[into].push(Entry::new(&entry.name, Made::Object(joined)));
                            }
                        }
                    }
                    continue;
                }
            };
            if kept.contains(&entry.name) {
                let (Origin::Nothing, Some(otherwise)) = (&producer.from, &producer.otherwise) else {
                    return None;
                };
                self.frame().fill(into, &entry.name, otherwise, producer)?;
                continue;
            }
            let settled = self.produced(second, producer)?;
            self.put(second, into, &entry.name, settled, None)?;
        }
        Some(())
    }

    /// A value that the second program makes.
    fn produced(&mut self, second: &mut Second<'_, 'p>, producer: &Producer) -> Option<Settled> {
        let simple = |from| {
            let otherwise = producer.otherwise.clone();
            let place = producer.place;
            Settled::Value(Producer { place, from, otherwise }, None)
        };
        let nothing = || match producer.otherwise {
            Some(_) => simple(Origin::Nothing),
            None => Settled::Nothing,
        };
        Some(match &producer.from {
            Origin::Moved { slot, change, walk } => match second.slots[*slot].clone() {
                None => nothing(),
                Some(given) => {
                    second.used[*slot] = true;
                    let settled = self.settle(given, change, walk, None)?;
                    settled.or(producer.otherwise.as_ref())?
                }
            },
            Origin::Copied(outward) => {
                let scope = self.scopes.get(self.scopes.len().checked_sub(outward.up + 1)?)?;
                if scope.given.never_has(&outward.path) {
                    nothing()
                } else {
                    let from = self.outward(outward, &Change::Keep)?.untouched()?;
                    simple(Origin::Copied(from))
                }
            }
            Origin::Part(part) => simple(Origin::Part(second.parts + part)),
            Origin::Nothing => nothing(),
            // They look at a document that is not there.
            Origin::Computed(_) | Origin::Expression(_) | Origin::Unless(_) => return None,
        })
    }

    /// A value that the second program has no place for, if it comes.
    fn refuse(&mut self, given: Given<'p>) -> Option<()> {
        match given {
            Given::Value(value) => match value.spot {
                Spot::Stays(path) | Spot::Unless(path, _) if value.otherwise.is_none() => {
                    self.frame().put(&path, Leaf::Refuse)
                }
                _ => None,
            },
            Given::Object(object) if object.source.is_some() && !object.makes_any() => {
                let path = object.source.clone()?;
                let node = self.frame().node(&path)?;
                // If nothing is left, it is left out.
                if !node.is_taken_from {
                    return None;
                }
                node.is_dissolved = true;
                for (name, _) in &object.members {
                    node.refuse(name)?;
                }
                Some(())
            }
            Given::Object(_) => None,
        }
    }

    /// A value that the second program leaves out. What the first would have found wrong with it stays wrong.
    fn drop(&mut self, second: &Second<'_, 'p>, given: Given<'p>) -> Option<()> {
        if second.keeps_all {
            return None;
        }
        let Given::Value(value) = given else { return None };
        match &value.spot {
            Spot::Stays(path) | Spot::Taken(path) if value.is_changeless() => {
                let path = path.clone();
                self.frame().skip(&path, value.place)
            }
            Spot::Stays(path) | Spot::Taken(path) => {
                let path = path.clone();
                let (change, walk) = self.joined_value(&value, &Change::Keep, &Walk::Whole)?;
                let frame = self.frame();
                let slot = frame.take(&path)?;
                frame.discarded.push(Producer {
                    place: value.place,
                    from: Origin::Moved { slot, change, walk },
                    otherwise: None,
                });
                Some(())
            }
            Spot::Seen(_) => Some(()),
            Spot::Made(origin) => {
                let from = origin.clone();
                let place = value.place;
                let otherwise = None;
                self.frame().discarded.push(Producer { place, from, otherwise });
                Some(())
            }
            Spot::Unless(..) => None,
        }
    }
}
