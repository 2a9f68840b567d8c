//! What a program makes, told by where it comes from.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::laid::Leaf;
use super::{
    Against, Agreed, Agreement, Change, Combined, Direction, Document, Fuser, Made, Origin, Outward, Path, Plan,
};
use super::{Agree, Opened, Producer, Program, Seen, Walk};
use crate::contract::program::Place;
use crate::contract::program::plan::{Action, Entry, Source};

/// What stands at a place of the first program's result.
#[derive(Clone)]
pub(super) enum Given<'p> {
    Value(Box<Value<'p>>),
    /// An object that it makes or reaches into.
    Object(Rc<Object<'p>>),
}

/// A value, and what is done with it.
#[derive(Clone)]
pub(super) struct Value<'p> {
    pub(super) spot: Spot,
    pub(super) change: Change,
    pub(super) walk: Walk,
    /// Put where nothing comes.
    pub(super) otherwise: Option<Document>,
    pub(super) place: Place,
    pub(super) around: Around<'p>,
}

/// Where a value comes from.
#[derive(Clone)]
pub(super) enum Spot {
    /// From the same place.
    Stays(Path),
    Taken(Path),
    /// It stands elsewhere, too.
    Seen(Outward),
    /// From the same place, unless it is this.
    Unless(Path, Document),
    Made(Origin),
}

/// An object and its members, those that are made in their order.
pub(super) struct Object<'p> {
    /// Where it stands in the source, if it is one of it.
    pub(super) source: Option<Path>,
    /// It goes elsewhere, and what is left of it with it.
    pub(super) is_moved: bool,
    pub(super) members: Vec<(Box<str>, Given<'p>)>,
    /// Names that the first program does something with.
    known: BTreeSet<Box<str>>,
    pub(super) is_closed: bool,
    pub(super) is_taken_from: bool,
    /// What is done inside members of other names.
    pub(super) rest: Walk,
    pub(super) around: Around<'p>,
}

/// Objects around one that the first program has types for, the outermost first.
#[derive(Clone, Default)]
pub(super) struct Around<'p>(Option<Rc<Ring<'p>>>);

struct Ring<'p> {
    program: &'p Program,
    /// The frame it is in, and where it stands there.
    frame: usize,
    base: Path,
    outside: Around<'p>,
}

impl<'p> Around<'p> {
    pub(super) fn with(&self, program: &'p Program, frame: usize, base: Path) -> Self {
        let outside = self.clone();
        Self(Some(Rc::new(Ring {
            program,
            frame,
            base,
            outside,
        })))
    }

    /// What is around the first so many frames.
    pub(super) fn outside(&self, frames: usize) -> Self {
        let mut around = self.clone();
        while let Some(ring) = around.0.clone().filter(|ring| ring.frame > frames) {
            around = ring.outside.clone();
        }
        around
    }

    fn up(&self, up: usize) -> Option<Rc<Ring<'p>>> {
        (0..up).try_fold(self.0.clone()?, |ring, _| ring.outside.0.clone())
    }
}

impl<'p> From<Value<'p>> for Given<'p> {
    fn from(value: Value<'p>) -> Self {
        Self::Value(Box::new(value))
    }
}

impl<'p> Value<'p> {
    fn new(spot: Spot, around: &Around<'p>) -> Self {
        Self {
            spot,
            change: Change::Keep,
            walk: Walk::Whole,
            otherwise: None,
            place: (0, 0),
            around: around.clone(),
        }
    }

    /// Nothing is done with it that could find it wrong.
    pub(super) fn is_changeless(&self) -> bool {
        matches!((&self.change, &self.walk), (Change::Keep, Walk::Whole))
    }

    /// It comes as it is, or not at all.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_changeless() && self.otherwise.is_none()
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match &self.spot {
            Spot::Stays(path) | Spot::Taken(path) => Some(path),
            Spot::Seen(_) | Spot::Unless(..) | Spot::Made(_) => None,
        }
    }

    /// A member of it, if it is an object that is passed as it is.
    fn member(&self, name: &str) -> Option<Self> {
        let walk = match &self.walk {
            Walk::Whole => Walk::Whole,
            Walk::Inside(inside) if inside.items.is_none() => {
                let walk = inside.fields.get(name).or(inside.values.as_ref());
                walk.cloned().unwrap_or_default()
            }
            _ => return None,
        };
        if !matches!(self.change, Change::Keep) || self.otherwise.is_some() {
            return None;
        }
        let spot = match &self.spot {
            Spot::Stays(path) => Spot::Stays(joined(path, name)),
            Spot::Taken(path) => Spot::Taken(joined(path, name)),
            Spot::Seen(outward) => Spot::Seen(Outward {
                up: outward.up,
                path: joined(&outward.path, name),
            }),
            Spot::Unless(..) | Spot::Made(_) => return None,
        };
        Some(Self {
            walk,
            ..Self::new(spot, &self.around)
        })
    }
}

impl<'p> Object<'p> {
    fn spot(&self, path: Path) -> Spot {
        if self.is_moved {
            Spot::Taken(path)
        } else {
            Spot::Stays(path)
        }
    }

    /// What the first program does not name, but the source may have.
    fn passing(&self, name: &str) -> Option<Given<'p>> {
        let path = self.source.as_ref()?;
        if self.is_closed || self.known.contains(name) {
            return None;
        }
        let value = Value::new(self.spot(joined(path, name)), &self.around);
        Some(Given::from(Value {
            walk: self.rest.clone(),
            ..value
        }))
    }

    /// All members that it may have, as far as they or somebody who asks name them.
    pub(super) fn members(&self, asked: &Source) -> Vec<(Box<str>, Given<'p>)> {
        let mut members = self.members.clone();
        for (name, _) in asked.names.iter() {
            if !members.iter().any(|(known, _)| **known == *name) {
                members.extend(self.passing(name).map(|passing| (name.into(), passing)));
            }
        }
        members
    }

    /// Whether something is made in it.
    pub(super) fn makes_any(&self) -> bool {
        self.members.iter().any(|(_, member)| match member {
            Given::Value(value) => value.otherwise.is_some() || !matches!(value.spot, Spot::Stays(_)),
            Given::Object(object) => object.source.is_none() || object.makes_any(),
        })
    }

    /// What stands at a path.
    pub(super) fn find(&self, path: &[Box<str>]) -> Option<Given<'p>> {
        let (name, rest) = path.split_first()?;
        let member = self.members.iter().find(|(known, _)| known == name);
        let found = member
            .map(|(_, member)| member.clone())
            .or_else(|| self.passing(name))?;
        if rest.is_empty() {
            return Some(found);
        }
        match found {
            Given::Object(inner) => inner.find(rest),
            Given::Value(value) => {
                let inner = rest.iter().try_fold(*value, |value, name| value.member(name))?;
                Some(Given::from(inner))
            }
        }
    }

    /// Whether nothing can stand at a path.
    pub(super) fn never_has(&self, path: &[Box<str>]) -> bool {
        let Some((name, rest)) = path.split_first() else {
            return false;
        };
        match self.members.iter().find(|(known, _)| known == name) {
            Some((_, Given::Object(inner))) => !rest.is_empty() && inner.never_has(rest),
            Some((_, Given::Value(_))) => false,
            None => self.passing(name).is_none(),
        }
    }
}

impl<'p> Fuser<'p> {
    /// Describes what the first program makes of an object.
    pub(super) fn describe(&self, plan: &Plan, path: &Path, around: &Around<'p>, is_moved: bool) -> Option<Object<'p>> {
        let mut slots = vec![None; plan.slots];
        note_slots(plan, 0, path, &mut slots);
        let telling = Telling {
            plan,
            slots,
            around,
            frame: self.frames.len(),
            is_moved,
        };
        telling.object((0, 0), path)
    }

    /// What the second program reaches into.
    pub(super) fn inner(&mut self, given: &Given<'p>) -> Option<Rc<Object<'p>>> {
        let value = match given {
            Given::Object(object) => return Some(object.clone()),
            Given::Value(value) => value,
        };
        let (Change::Keep, None) = (&value.change, &value.otherwise) else {
            return None;
        };
        let path = value.path()?.clone();
        let is_moved = matches!(value.spot, Spot::Taken(_));
        if let Some(known) = self.frame().inlined.get(&path) {
            return Some(known.clone());
        }
        let (programs, way) = self.first;
        let shape = super::Shape::of(&value.walk, programs, way)?;
        let plan = shape.plan()?;
        let frame = self.frames.len();
        let around = match shape.program() {
            Some(program) => value.around.with(program, frame, path.clone()),
            None => value.around.clone(),
        };
        if !plan.combinations.is_empty() {
            return None;
        }
        let object = Rc::new(self.describe(&plan, &path, &around, is_moved)?);
        self.enter(&plan, &path, &around)?;
        self.frame().inlined.insert(path, object.clone());
        Some(object)
    }

    /// Takes over what the first program does with an object of the source beside making something of it.
    pub(super) fn enter(&mut self, plan: &Plan, path: &Path, around: &Around<'p>) -> Option<()> {
        self.enter_source(plan, (0, 0), path)?;
        let frame = self.frames.len();
        let mut slots = vec![None; plan.slots];
        note_slots(plan, 0, path, &mut slots);
        let own = |path: Path| Seen {
            from: Outward { up: 0, path },
            change: Change::Keep,
        };
        for check in plan.checks.iter().filter(|check| check.otherwise != Agree::Ignore) {
            let Some(path) = slots[check.slot].clone() else {
                continue;
            };
            let expected = match &check.against {
                Against::Value(value) => Agreed::Value(value.clone()),
                Against::Older(outward) => Agreed::Seen(older(around, self.first.1, outward, frame)?),
            };
            let found = own(path);
            self.frame().agreements.push(Agreement { found, expected });
        }
        // A joined program has these.
        for agreement in &plan.agreements {
            let found = seen(around, &agreement.found, frame)?;
            let expected = match &agreement.expected {
                Agreed::Value(value) => Agreed::Value(value.clone()),
                Agreed::Seen(expected) => Agreed::Seen(seen(around, expected, frame)?),
            };
            self.frame().agreements.push(Agreement { found, expected });
        }
        for producer in &plan.discarded {
            let Origin::Moved { slot, change, walk } = &producer.from else {
                return None;
            };
            let path = slots[*slot].clone()?;
            let value = Value {
                change: change.clone(),
                walk: walk.clone(),
                ..Value::new(Spot::Taken(path.clone()), around)
            };
            let (change, walk) = self.joined_value(&value, &Change::Keep, &Walk::Whole)?;
            let slot = self.frame().take(&path)?;
            let (place, otherwise) = (producer.place, None);
            let from = Origin::Moved { slot, change, walk };
            self.frame().discarded.push(Producer { place, from, otherwise });
        }
        for combined in &plan.combinations {
            let mut taken = Vec::with_capacity(combined.slots.len());
            for slot in &combined.slots {
                let path = slots[*slot].clone();
                let frame = self.frame();
                taken.push(match path {
                    Some(path) => frame.take(&path)?,
                    None => frame.empty_slot(),
                });
            }
            let mut looked = Vec::with_capacity(combined.seen.len());
            for outward in &combined.seen {
                let found = match self.first.1 {
                    Direction::Up => located(around, outward, frame)?,
                    Direction::Down => older(around, Direction::Down, outward, frame)?.untouched()?,
                };
                looked.push(found);
            }
            self.frame().combine(Combined {
                slots: taken,
                seen: looked,
                rule: combined.rule.clone(),
                count: combined.count,
                place: combined.place,
            });
        }
        Some(())
    }

    fn enter_source(&mut self, plan: &Plan, (source, target): (usize, usize), path: &Path) -> Option<()> {
        let own = &plan.sources[source];
        for (name, action) in own.names.iter() {
            let at = joined(path, name);
            match action {
                Action::Skip(place) => self.frame().skip(&at, *place)?,
                Action::Take(_) => self.frame().skip(&at, (0, 0))?,
                Action::Refuse => self.frame().put(&at, Leaf::Refuse)?,
                Action::Carry(_, entry) | Action::Change(_, entry) => {
                    if is_brought(&plan.targets[target], *entry) {
                        self.frame().put(&at, Leaf::Refuse)?;
                    }
                }
                Action::Open(opened) if !opened.is_known => self.frame().put(&at, Leaf::Refuse)?,
                Action::Open(opened) => {
                    let inner = &plan.sources[opened.source];
                    let node = self.frame().node(&at)?;
                    node.is_taken_from |= inner.is_taken_from;
                    node.is_closed |= inner.is_closed;
                    node.is_dissolved |= is_emptied(plan, opened);
                    self.enter_source(plan, (opened.source, opened.target), &at)?;
                }
            }
        }
        Some(())
    }
}

/// Whether a name comes from elsewhere, too, so that what stands there would be a second value.
pub(super) fn is_brought(target: &[Entry], entry: Option<usize>) -> bool {
    let what = entry.map(|entry| &target[entry].what);
    matches!(what, Some(Made::Value(producer)) if !matches!(producer.from, Origin::Nothing))
}

/// Whether nothing is left of an object that steps reach into, and nothing is put into it.
fn is_emptied(plan: &Plan, opened: &Opened) -> bool {
    let source = &plan.sources[opened.source];
    let is_gone = |action: &Action| match action {
        Action::Skip(_) | Action::Take(_) | Action::Refuse => true,
        Action::Open(inner) => !inner.is_known || is_emptied(plan, inner),
        Action::Carry(..) | Action::Change(..) => false,
    };
    let is_left = || plan.targets[opened.target].is_empty() && source.names.iter().all(|(_, action)| is_gone(action));
    opened.is_dissolved || source.is_taken_from && is_left()
}

/// Tells what a plan makes.
struct Telling<'s, 'p> {
    plan: &'s Plan,
    /// Where values are picked up.
    slots: Vec<Option<Path>>,
    around: &'s Around<'p>,
    frame: usize,
    is_moved: bool,
}

impl<'p> Telling<'_, 'p> {
    fn object(&self, (source, target): (usize, usize), path: &Path) -> Option<Object<'p>> {
        let own = &self.plan.sources[source];
        let entries = &self.plan.targets[target];
        let mut object = Object {
            source: Some(path.clone()),
            is_moved: self.is_moved,
            members: Vec::new(),
            known: own.names.iter().map(|(name, _)| name.into()).collect(),
            is_closed: own.is_closed,
            is_taken_from: own.is_taken_from,
            rest: own.rest.clone(),
            around: self.around.clone(),
        };
        let mut opened = HashMap::new();
        for (name, action) in own.names.iter() {
            let at = joined(path, name);
            let spot = object.spot(at.clone());
            let member = match action {
                Action::Skip(_) | Action::Take(_) | Action::Refuse => continue,
                Action::Carry(_, entry) | Action::Change(_, entry) if is_brought(entries, *entry) => continue,
                Action::Carry(walk, _) => Given::from(Value {
                    walk: walk.clone(),
                    ..Value::new(spot, self.around)
                }),
                Action::Change(producer, _) => Given::from(self.stays(producer, spot)?),
                Action::Open(inner) if !inner.is_known || is_emptied(self.plan, inner) => continue,
                Action::Open(inner) => {
                    opened.insert(inner.target, name);
                    Given::Object(Rc::new(self.object((inner.source, inner.target), &at)?))
                }
            };
            object.members.push((name.into(), member));
        }
        self.entries(target, &mut object, &opened)?;
        Some(object)
    }

    fn stays(&self, producer: &Producer, spot: Spot) -> Option<Value<'p>> {
        let place = producer.place;
        Some(match (&producer.from, spot) {
            (Origin::Moved { change, walk, .. }, spot) => Value {
                change: change.clone(),
                walk: walk.clone(),
                place,
                ..Value::new(spot, self.around)
            },
            (Origin::Unless(value), Spot::Stays(path)) => Value {
                place,
                ..Value::new(Spot::Unless(path, value.clone()), self.around)
            },
            _ => return None,
        })
    }

    /// Adds what is made.
    fn entries(&self, target: usize, object: &mut Object<'p>, opened: &HashMap<usize, &str>) -> Option<()> {
        for entry in &self.plan.targets[target] {
            let known = object.members.iter().position(|(name, _)| *name == entry.name);
            let member = match (&entry.what, known) {
                (Made::Value(producer), Some(known)) => {
                    let (Origin::Nothing, Given::Value(value)) = (&producer.from, &mut object.members[known].1) else {
                        return None;
                    };
                    value.otherwise.clone_from(&producer.otherwise);
                    continue;
                }
                (Made::Value(producer), None) if self.is_never(producer) => continue,
                (Made::Value(producer), None) => Given::from(self.made(producer)?),
                // What is put into it comes where it would stand if it were not there.
                (Made::Object(inner), Some(known)) if opened.contains_key(inner) => object.members.remove(known).1,
                (Made::Object(_), Some(_)) => return None,
                (Made::Object(inner), None) => {
                    let mut made = Object {
                        source: None,
                        is_moved: false,
                        members: Vec::new(),
                        known: BTreeSet::new(),
                        is_closed: true,
                        is_taken_from: false,
                        rest: Walk::Whole,
                        around: self.around.clone(),
                    };
                    self.entries(*inner, &mut made, &HashMap::new())?;
                    if made.members.is_empty() {
                        continue;
                    }
                    Given::Object(Rc::new(made))
                }
            };
            object.members.push((entry.name.clone(), member));
        }
        Some(())
    }

    /// Whether there is nothing to make it of.
    fn is_never(&self, producer: &Producer) -> bool {
        let is_empty = match &producer.from {
            Origin::Moved { slot, .. } => self.slots[*slot].is_none(),
            Origin::Nothing => true,
            _ => false,
        };
        is_empty && producer.otherwise.is_none()
    }

    fn made(&self, producer: &Producer) -> Option<Value<'p>> {
        let with = |spot| Value {
            place: producer.place,
            otherwise: producer.otherwise.clone(),
            ..Value::new(spot, self.around)
        };
        Some(match &producer.from {
            Origin::Moved { slot, change, walk } => match &self.slots[*slot] {
                Some(path) => Value {
                    change: change.clone(),
                    walk: walk.clone(),
                    ..with(Spot::Taken(path.clone()))
                },
                None => with(Spot::Made(Origin::Nothing)),
            },
            Origin::Copied(outward) => with(Spot::Seen(located(self.around, outward, self.frame)?)),
            Origin::Part(part) => with(Spot::Made(Origin::Part(*part))),
            Origin::Nothing => with(Spot::Made(Origin::Nothing)),
            Origin::Computed(_) | Origin::Expression(_) if self.is_inlined() => return None,
            Origin::Computed(computed) => with(Spot::Made(Origin::Computed(computed.clone()))),
            Origin::Expression(expression) => with(Spot::Made(Origin::Expression(expression.clone()))),
            Origin::Unless(_) => return None,
        })
    }

    /// The object is not that of the joined program, so that paths would begin elsewhere.
    fn is_inlined(&self) -> bool {
        !matches!(&self.around.0, Some(ring) if ring.frame == self.frame && ring.base.is_empty())
    }
}

/// Where the slots of a plan are filled.
fn note_slots(plan: &Plan, source: usize, path: &Path, slots: &mut [Option<Path>]) {
    for (name, action) in plan.sources[source].names.iter() {
        match action {
            Action::Take(slot) => slots[*slot] = Some(joined(path, name)),
            Action::Open(opened) => note_slots(plan, opened.source, &joined(path, name), slots),
            _ => {}
        }
    }
}

/// A place that the first program looks at, from a frame.
fn located(around: &Around<'_>, outward: &Outward, frame: usize) -> Option<Outward> {
    let ring = around.up(outward.up)?;
    let path = ring.base.iter().chain(&outward.path);
    Some(Outward {
        up: frame.checked_sub(ring.frame)?,
        path: path.cloned().collect(),
    })
}

/// What stands in the older form, as the first program sees it.
fn older(around: &Around<'_>, way: Direction, outward: &Outward, frame: usize) -> Option<Seen> {
    let ring = around.up(outward.up)?;
    let (path, change) = ring.program.side(way).older(&outward.path);
    let up = outward.up;
    let from = located(around, &Outward { up, path }, frame)?;
    Some(Seen { from, change })
}

fn seen(around: &Around<'_>, seen: &Seen, frame: usize) -> Option<Seen> {
    let from = located(around, &seen.from, frame)?;
    let change = seen.change.clone();
    Some(Seen { from, change })
}

fn joined(path: &[Box<str>], name: &str) -> Path {
    path.iter().cloned().chain([name.into()]).collect()
}
