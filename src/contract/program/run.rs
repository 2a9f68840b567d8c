//! Runs programs over a document and writes the translated one.

mod lists;

use std::borrow::Cow;

use super::super::convert::{Change, Plain};
use super::super::lookup::Answers;
use super::super::spec::{Agree, DecimalForm, Direction, More, Nothing};
use super::plan::{Action, Against, Agreed, Entry, Made, Origin, Plan, Producer, Seen, Walk};
use super::{Choice, Computed, Effect, Fault, Outward, Place, Program, Programs};
use crate::contract::arithmetic;
use crate::expression::Binding;
use crate::json::{Begun, Builder, Document, Kind, MemberName, Out, Value};

/// Of a member that no step names.
const UNNAMED: u16 = u16::MAX;

/// One run over one document.
pub(super) struct Run<'a> {
    programs: &'a Programs,
    way: Direction,
    /// What is known of keys.
    answers: Option<&'a dyn Answers>,
    out: Builder,
    /// Values that were picked up, of all objects that are under way, the innermost last.
    slots: Vec<Option<Value<'a>>>,
    /// What the members met so far are to be done with, as positions of names.
    actions: Vec<u16>,
    /// Entries of targets that the source had itself.
    noted: Vec<usize>,
    /// What combinations made, of all objects that are under way.
    parts: Vec<Option<Plain<'static>>>,
    /// Members that the next object gets beside its own: what its group says of it.
    given: Vec<(&'a MemberName, Given<'a>)>,
    /// What steps did, if that is to be told.
    told: Option<Vec<Told<'a>>>,
}

/// A member that an object gets from around it.
#[derive(Clone)]
enum Given<'a> {
    Value(Value<'a>),
    Text(Cow<'a, str>),
}

/// What a step did: the value it took, and where in the new document the value it put begins.
struct Told<'a> {
    place: Place,
    taken: Option<Value<'a>>,
    put: Option<usize>,
}

/// An object that is being translated, and those around it.
struct Scope<'s, 'a> {
    object: Value<'a>,
    program: &'a Program,
    plan: &'a Plan,
    answers: Option<&'a dyn Answers>,
    /// Where its values begin among the slots.
    slots: usize,
    /// Where its values begin among the parts.
    parts: usize,
    around: Option<&'s Scope<'s, 'a>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        programs: &'a Programs,
        way: Direction,
        document: &Document,
        answers: Option<&'a dyn Answers>,
    ) -> Self {
        Self {
            programs,
            way,
            answers,
            out: Builder::like(document),
            slots: Vec::with_capacity(64),
            actions: Vec::with_capacity(64),
            noted: Vec::new(),
            parts: Vec::new(),
            given: Vec::new(),
            told: None,
        }
    }

    pub(super) fn document(mut self, program: usize, document: &'a Document) -> Result<Document, Fault> {
        self.program(program, document.root(), None)?;
        self.out
            .finish()
            .ok_or_else(|| Fault::at(document.root(), "a translation larger than any text that is read"))
    }

    /// Like `document`, with what each step did.
    pub(super) fn explained(
        mut self,
        program: usize,
        document: &'a Document,
    ) -> Result<(Document, Vec<Effect>), Fault> {
        self.told = Some(Vec::new());
        self.program(program, document.root(), None)?;
        let told = self.told.take().unwrap_or_default();
        let made = self.out.finish();
        let made = made.ok_or_else(|| Fault::at(document.root(), "a translation larger than any text that is read"))?;
        let shown = |value: Value<'_>| (value.pointer().to_string(), value.raw().to_owned());
        let effects = told.into_iter().map(|told| Effect {
            line: told.place.0,
            column: told.place.1,
            taken: told.taken.map(shown),
            put: told.put.map(|index| shown(made.value(index))),
        });
        let effects = effects.collect();
        Ok((made, effects))
    }

    fn tell(&mut self, place: Place, taken: Option<Value<'a>>, put: Option<usize>) {
        if let Some(told) = &mut self.told {
            told.push(Told { place, taken, put });
        }
    }

    /// Writes a value of a type.
    fn program(&mut self, program: usize, value: Value<'a>, around: Option<&Scope<'_, 'a>>) -> Result<(), Fault> {
        let program = &self.programs.list[program];
        if program.is_identity || value.is_null() {
            self.out.copy(value);
            return Ok(());
        }
        let plan = program.plan(self.way);
        match (value.kind(), &plan.items) {
            // Parts of a list that is a type of its own look outwards past it.
            (Kind::Array, Some(walk)) => self.items(value, walk, around),
            (_, Some(_)) => Err(Fault::at(value, "something else where a list is expected")),
            (Kind::Object, None) => self.object(value, program, plan, around),
            _ if plan.is_busy => Err(Fault::at(value, "something else where an object is expected")),
            _ => {
                self.out.copy(value);
                Ok(())
            }
        }
    }

    fn object(
        &mut self,
        object: Value<'a>,
        program: &'a Program,
        plan: &'a Plan,
        around: Option<&Scope<'_, 'a>>,
    ) -> Result<(), Fault> {
        let (slots, actions, parts) = (self.slots.len(), self.actions.len(), self.parts.len());
        let given = std::mem::take(&mut self.given);
        self.slots.resize(slots + plan.slots, None);
        let scope = Scope {
            object,
            program,
            plan,
            answers: self.answers,
            slots,
            parts,
            around,
        };
        self.collect(&scope, 0, object);
        self.check(&scope)?;
        self.combine(&scope)?;
        agree(&scope)?;
        let begun = self.out.begin_object();
        self.discard(&scope, begun)?;
        self.members(&scope, Some((0, object)), 0, begun, &mut { actions })?;
        for (name, value) in given {
            self.out.name(begun, name);
            match value {
                Given::Value(value) => self.out.copy(value),
                Given::Text(text) => self.out.string(&text),
            }
        }
        self.out.end(begun);
        self.slots.truncate(slots);
        self.parts.truncate(parts);
        self.actions.truncate(actions);
        Ok(())
    }

    /// Picks up what steps take, before anything is put.
    fn collect(&mut self, scope: &Scope<'_, 'a>, source: usize, object: Value<'a>) {
        let names = &scope.plan.sources[source].names;
        for (name, value) in object.members() {
            let Some(position) = names.find(name) else {
                self.actions.push(UNNAMED);
                continue;
            };
            self.actions.push(position);
            match names.at(position) {
                Action::Take(slot) => self.slots[scope.slots + slot] = Some(value),
                Action::Open(opened) if value.kind() == Kind::Object => self.collect(scope, opened.source, value),
                _ => {}
            }
        }
    }

    /// What is left out must be what was expected.
    fn check(&mut self, scope: &Scope<'_, 'a>) -> Result<(), Fault> {
        for check in &scope.plan.checks {
            let Some(found) = self.slots[scope.slots + check.slot] else {
                continue;
            };
            self.tell(check.place, Some(found), None);
            if check.otherwise == Agree::Ignore {
                continue;
            }
            let target = &scope.program.side(self.way).target;
            match &check.against {
                Against::Value(expected) if is_same(found, expected.root()) => {}
                Against::Value(expected) => {
                    let expected = expected.text();
                    let detail = format!("{} where version {target} knows only {expected}", shown(found));
                    return Err(Fault::at(found, detail).by(check.place));
                }
                Against::Older(outward) => {
                    let repeated = older_text(scope, self.way, outward);
                    if repeated.is_none() || repeated.as_deref() != text(found).as_deref() {
                        let detail = format!(
                            "{} differs from the one value that version {target} has for it",
                            shown(found)
                        );
                        return Err(Fault::at(found, detail).by(check.place));
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes what is left out, to find out whether it can be made.
    fn discard(&mut self, scope: &Scope<'_, 'a>, begun: Begun) -> Result<(), Fault> {
        for producer in &scope.plan.discarded {
            let mark = self.out.mark(begun);
            self.out.element(begun);
            self.produce(scope, producer, None)?;
            self.out.rewind(begun, mark);
        }
        Ok(())
    }

    /// Turns several values into several others.
    fn combine(&mut self, scope: &Scope<'_, 'a>) -> Result<(), Fault> {
        for combined in &scope.plan.combinations {
            let taken: Vec<_> = combined
                .slots
                .iter()
                .map(|slot| self.slots[scope.slots + slot])
                .collect();
            let Some(first) = taken.iter().flatten().next() else {
                self.parts.extend((0..combined.count).map(|_| None));
                continue;
            };
            if let Some(null) = taken.iter().flatten().find(|value| value.is_null()) {
                return Err(Fault::at(*null, "null where a value is expected").by(combined.place));
            }
            let seen: Vec<_> = combined
                .seen
                .iter()
                .map(|outward| match self.way {
                    Direction::Up => look(scope, outward).and_then(text),
                    Direction::Down => older_text(scope, self.way, outward),
                })
                .collect();
            let made = combined
                .rule
                .combine(&taken, &seen)
                .map_err(|detail| Fault::at(*first, detail).by(combined.place))?;
            for value in taken.into_iter().flatten() {
                self.tell(combined.place, Some(value), None);
            }
            self.parts.extend(made);
        }
        Ok(())
    }

    /// Writes the members of an object: those that stay, in their order, then those that are made.
    fn members(
        &mut self,
        scope: &Scope<'_, 'a>,
        source: Option<(usize, Value<'a>)>,
        target: usize,
        begun: Begun,
        next: &mut usize,
    ) -> Result<(), Fault> {
        let noted = self.noted.len();
        let entries = &scope.plan.targets[target];
        if let Some((number, object)) = source {
            let source = &scope.plan.sources[number];
            for (name, value) in object.members() {
                let position = self.actions[*next];
                *next += 1;
                if position == UNNAMED {
                    if source.is_closed {
                        let target = &scope.program.side(self.way).target;
                        return Err(Fault::at(
                            value,
                            format!("version {target} has no place for {}", shown_text(&name.text())),
                        ));
                    }
                    self.out.name_as_it_came(begun, name);
                    self.value(value, &source.rest, scope.around)?;
                    continue;
                }
                match source.names.at(position) {
                    Action::Take(_) => {}
                    Action::Refuse => return Err(Fault::at(value, "a value of which nobody knows what becomes")),
                    Action::Skip(place) => self.tell(*place, Some(value), None),
                    Action::Carry(walk, entry) => {
                        self.out.name_as_it_came(begun, name);
                        self.value(value, walk, Some(scope))?;
                        self.noted.extend(entry);
                    }
                    Action::Change(producer, entry) => {
                        let mark = self.out.mark(begun);
                        self.out.name_as_it_came(begun, name);
                        if self.produce(scope, producer, Some(value))? {
                            self.noted.extend(entry);
                        } else {
                            self.out.rewind(begun, mark);
                        }
                    }
                    Action::Open(opened) => {
                        let mark = self.out.mark(begun);
                        self.out.name_as_it_came(begun, name);
                        if value.kind() != Kind::Object {
                            if scope.plan.is_joined {
                                return Err(Fault::at(value, "something else where an object is expected"));
                            }
                            self.out.copy(value);
                            self.noted.extend(opened.entry);
                            self.refuse_occupied(scope, opened.target, begun, value)?;
                            continue;
                        }
                        let inner = self.out.begin_object();
                        self.members(scope, Some((opened.source, value)), opened.target, inner, next)?;
                        let is_empty = self.out.count(inner) == 0;
                        if opened.is_dissolved && !is_empty {
                            let target = &scope.program.side(self.way).target;
                            return Err(Fault::at(value, format!("version {target} has no place for all of it")));
                        }
                        if !opened.is_dissolved {
                            self.noted.extend(opened.entry);
                        }
                        if is_empty && scope.plan.sources[opened.source].is_taken_from {
                            self.out.rewind(begun, mark);
                        } else {
                            self.out.end(inner);
                        }
                    }
                }
            }
        }
        for (position, entry) in entries.iter().enumerate() {
            let is_noted = self.noted[noted..].contains(&position);
            self.make(scope, entry, is_noted, begun)?;
        }
        self.noted.truncate(noted);
        Ok(())
    }

    /// Writes a member that is made, if there is anything to make it of.
    fn make(&mut self, scope: &Scope<'_, 'a>, entry: &'a Entry, is_noted: bool, begun: Begun) -> Result<(), Fault> {
        let mark = self.out.mark(begun);
        match &entry.what {
            Made::Object(_) if is_noted => {}
            Made::Object(made) => {
                self.out.name(begun, &entry.written);
                let opened = self.out.begin_object();
                self.members(scope, None, *made, opened, &mut 0)?;
                if self.out.count(opened) == 0 {
                    self.out.rewind(begun, mark);
                } else {
                    self.out.end(opened);
                }
            }
            Made::Value(producer) if is_noted && matches!(producer.from, Origin::Nothing) => {}
            Made::Value(producer) => {
                self.out.name(begun, &entry.written);
                if !self.produce(scope, producer, None)? {
                    self.out.rewind(begun, mark);
                } else if is_noted {
                    let detail = format!("a second value for `{}`", entry.name);
                    return Err(Fault::at(scope.object, detail).by(producer.place));
                }
            }
        }
        Ok(())
    }

    /// Something else than an object stands where steps would put values into one.
    fn refuse_occupied(
        &mut self,
        scope: &Scope<'_, 'a>,
        made: usize,
        begun: Begun,
        value: Value<'a>,
    ) -> Result<(), Fault> {
        let mark = self.out.mark(begun);
        self.out.element(begun);
        let opened = self.out.begin_object();
        self.members(scope, None, made, opened, &mut 0)?;
        let count = self.out.count(opened);
        self.out.rewind(begun, mark);
        if count == 0 {
            Ok(())
        } else {
            let fault = Fault::at(value, "something else stands where an object is expected");
            Err(match scope.plan.first_step(made) {
                Some(step) => fault.by(step),
                None => fault,
            })
        }
    }

    /// Writes a value; false if there is none.
    fn produce(
        &mut self,
        scope: &Scope<'_, 'a>,
        producer: &'a Producer,
        own: Option<Value<'a>>,
    ) -> Result<bool, Fault> {
        self.produced(scope, producer, own)
            .map_err(|fault| fault.by(producer.place))
    }

    fn produced(
        &mut self,
        scope: &Scope<'_, 'a>,
        producer: &'a Producer,
        own: Option<Value<'a>>,
    ) -> Result<bool, Fault> {
        let begins = self.out.position();
        let taken = match &producer.from {
            Origin::Moved { slot, .. } => own.or_else(|| self.slots[scope.slots + slot]),
            Origin::Copied(outward) => look(scope, outward),
            Origin::Unless(_) => own,
            Origin::Part(_) | Origin::Computed(_) | Origin::Expression(_) | Origin::Nothing => None,
        };
        let is_made = match &producer.from {
            Origin::Moved { change, walk, .. } => match taken {
                Some(value) => self.changed(value, change, walk, scope)?,
                None => false,
            },
            Origin::Copied(_) => match taken {
                Some(value) => {
                    self.out.copy(value);
                    true
                }
                None => false,
            },
            Origin::Part(part) => match &self.parts[scope.parts + part] {
                Some(made) => {
                    made.write(&mut self.out);
                    true
                }
                None => false,
            },
            Origin::Computed(computed) => match compute(scope, computed)? {
                Some(made) => {
                    made.write(&mut self.out);
                    true
                }
                None => false,
            },
            Origin::Expression(expression) => {
                let value = expression.evaluate(&[Binding::Json(scope.object)]);
                match value.map_err(|error| Fault::at(scope.object, error.to_string()))? {
                    Some(value) if !matches!(value, Out::Absent) => {
                        self.out.out(&value);
                        true
                    }
                    _ => false,
                }
            }
            Origin::Unless(value) => match own {
                Some(own) if !is_same(own, value.root()) => {
                    self.out.copy(own);
                    true
                }
                _ => false,
            },
            Origin::Nothing => false,
        };
        let is_made = match &producer.otherwise {
            Some(value) if !is_made => {
                self.out.copy(value.root());
                true
            }
            _ => is_made,
        };
        if is_made || taken.is_some() {
            self.tell(producer.place, taken, is_made.then_some(begins));
        }
        Ok(is_made)
    }

    /// Writes a changed value; false if nothing is left of it.
    fn changed(
        &mut self,
        value: Value<'a>,
        change: &'a Change,
        walk: &Walk,
        scope: &Scope<'_, 'a>,
    ) -> Result<bool, Fault> {
        match (change, value.kind()) {
            (Change::Keep, _) => self.value(value, walk, Some(scope))?,
            (Change::Wrap, _) => {
                let begun = self.out.begin_array();
                self.out.element(begun);
                self.value(value, walk, Some(scope))?;
                self.out.end(begun);
            }
            (Change::Nothing { from, to, then }, _) => return self.nothing(value, (*from, *to), then, walk, scope),
            // Null has no code, no digits and no date. Whether it may stand there, the target's schema says.
            (_, Kind::Null) => self.out.null(),
            (Change::Single { more, separator }, Kind::Array) => {
                let mut items = value.elements();
                // An empty list says nothing, and so does a field that is not there.
                let Some(first) = items.next() else { return Ok(false) };
                match more {
                    More::Error if value.len() > 1 => {
                        let detail = format!("a list of {} items where only one can be carried", value.len());
                        return Err(Fault::at(value, detail));
                    }
                    More::Join if value.len() > 1 => self.out.string(&joined(value, separator)?),
                    _ => self.value(first, walk, Some(scope))?,
                }
            }
            (Change::Apart { separator }, Kind::String) => self.apart(value, separator)?,
            (Change::Together { separator }, Kind::Array) => self.together(value, separator)?,
            (Change::Pivot(pair), Kind::Array) => self.pivot(value, pair)?,
            (Change::Unpivot(pair), Kind::Object) => self.unpivot(value, pair),
            (Change::Named(naming), Kind::Array) => self.named(value, naming, walk, scope)?,
            (Change::Keyed(naming), Kind::Object) => self.keyed(value, naming, walk, scope)?,
            (Change::Group(grouping), Kind::Array) => self.group(value, grouping, walk, scope)?,
            (Change::Flatten(grouping), Kind::Array) => self.flatten(value, grouping, walk, scope)?,
            // What is said of a value is said of each in a list of them.
            (change, Kind::Array) if change.is_plain() => {
                let begun = self.out.begin_array();
                for item in value.elements() {
                    self.out.element(begun);
                    self.plain(item, change)?;
                }
                self.out.end(begun);
            }
            (change, _) => self.plain(value, change)?,
        }
        Ok(true)
    }

    fn plain(&mut self, value: Value<'a>, change: &Change) -> Result<(), Fault> {
        if value.is_null() {
            self.out.null();
            return Ok(());
        }
        let changed = change.plain(value, self.answers);
        let changed = changed.map_err(|detail| Fault::at(value, detail))?;
        changed.write(&mut self.out);
        Ok(())
    }

    /// Says nothing in another way. A value that looks like the other way could not be told from it.
    fn nothing(
        &mut self,
        value: Value<'a>,
        (from, to): (Nothing, Nothing),
        then: &'a Change,
        walk: &Walk,
        scope: &Scope<'_, 'a>,
    ) -> Result<bool, Fault> {
        let is = |nothing| match nothing {
            Nothing::Absent => false,
            Nothing::Null => value.is_null(),
            Nothing::Empty => value.kind() == Kind::String && value.raw() == "\"\"",
        };
        if is(from) {
            match to {
                Nothing::Absent => return Ok(false),
                Nothing::Null => self.out.null(),
                Nothing::Empty => self.out.string(""),
            }
        } else if is(to) {
            return Err(Fault::at(value, "a value that would be taken for none on the way back"));
        } else {
            return self.changed(value, then, walk, scope);
        }
        Ok(true)
    }

    /// Writes a value whose parts may be types of their own.
    fn value(&mut self, value: Value<'a>, walk: &Walk, around: Option<&Scope<'_, 'a>>) -> Result<(), Fault> {
        let inside = match walk {
            Walk::Whole => {
                self.out.copy(value);
                return Ok(());
            }
            Walk::Program(program) => return self.program(*program, value, around),
            Walk::Choice(choice) => return self.choose(choice, value, around),
            Walk::Inside(inside) => inside,
        };
        match (value.kind(), &inside.items) {
            (Kind::Null, _) => self.out.null(),
            (Kind::Array, Some(items)) => self.items(value, items, around)?,
            (Kind::Object, _) if inside.values.is_some() || !inside.fields.is_empty() => {
                let begun = self.out.begin_object();
                for (name, member) in value.members() {
                    self.out.name_as_it_came(begun, name);
                    match inside.fields.get(&*name.text()).or(inside.values.as_ref()) {
                        Some(walk) => self.value(member, walk, around)?,
                        None => self.out.copy(member),
                    }
                }
                self.out.end(begun);
            }
            (_, Some(_)) => return Err(Fault::at(value, "something else where a list is expected")),
            _ => return Err(Fault::at(value, "something else where an object is expected")),
        }
        Ok(())
    }

    /// Writes a value of the type that it says it is.
    fn choose(&mut self, choice: &Choice, value: Value<'a>, around: Option<&Scope<'_, 'a>>) -> Result<(), Fault> {
        if value.is_null() {
            self.out.null();
            return Ok(());
        }
        let version = usize::from(self.way == Direction::Down);
        let by = &choice.by[version];
        let said = value.get(by).and_then(text);
        let said = said.ok_or_else(|| {
            Fault::at(value, format!("a value without `{by}`, which says what it is")).by(choice.place)
        })?;
        match choice.cases.iter().find(|(names, _)| *names[version] == *said) {
            Some((_, program)) => self.program(*program, value, around),
            None => Err(Fault::at(
                value,
                format!("{} is none of the types that `{by}` may say", shown_text(&said)),
            )
            .by(choice.place)),
        }
    }

    fn items(&mut self, list: Value<'a>, walk: &Walk, around: Option<&Scope<'_, 'a>>) -> Result<(), Fault> {
        let begun = self.out.begin_array();
        for item in list.elements() {
            self.out.make_room();
            self.out.element(begun);
            self.value(item, walk, around)?;
        }
        self.out.end(begun);
        Ok(())
    }
}

/// What stands at a path that may begin further out.
fn look<'a>(scope: &Scope<'_, 'a>, from: &Outward) -> Option<Value<'a>> {
    let scope = outward(scope, from.up)?;
    from.path.iter().try_fold(scope.object, |value, name| value.get(name))
}

fn outward<'s, 'a>(scope: &'s Scope<'s, 'a>, up: usize) -> Option<&'s Scope<'s, 'a>> {
    (0..up).try_fold(scope, |scope, _| scope.around)
}

/// The text of what will stand at a place of the older form, seen from the newer one.
fn older_text<'s>(scope: &'s Scope<'s, '_>, way: Direction, from: &'s Outward) -> Option<Cow<'s, str>> {
    let scope = outward(scope, from.up)?;
    let side = scope.program.side(way);
    let find = |path: &[Box<str>]| path.iter().try_fold(scope.object, |value, name| value.get(name));
    let Some((step, inner)) = side.mover(&from.path) else {
        return find(&from.path).and_then(text);
    };
    let value = find(&step.from)?;
    match &step.change {
        change if change.is_plain() && inner.is_empty() => {
            change.plain(value, scope.answers).ok().map(Plain::into_text)
        }
        _ => inner
            .iter()
            .try_fold(value, |value, name| value.get(name))
            .and_then(text),
    }
}

/// The text of a value that is looked at.
fn seen<'a>(value: Value<'a>, seen: &'a Seen, answers: Option<&dyn Answers>) -> Option<Cow<'a, str>> {
    match &seen.change {
        Change::Keep => text(value),
        change => change.plain(value, answers).ok().map(Plain::into_text),
    }
}

/// What is left out must be what was expected, where two programs have become one. What is wrong, the two find out.
fn agree(scope: &Scope<'_, '_>) -> Result<(), Fault> {
    for agreement in &scope.plan.agreements {
        let Some(value) = look(scope, &agreement.found.from) else {
            continue;
        };
        let found = seen(value, &agreement.found, scope.answers);
        let expected = match &agreement.expected {
            Agreed::Value(expected) => text(expected.root()),
            Agreed::Seen(other) => look(scope, &other.from).and_then(|value| seen(value, other, scope.answers)),
        };
        if found.is_none() || found != expected {
            return Err(Fault::at(value, "a value that differs from what is expected"));
        }
    }
    Ok(())
}

/// What a list adds up to, or how long it is.
fn compute(scope: &Scope<'_, '_>, computed: &Computed) -> Result<Option<Plain<'static>>, Fault> {
    let list = computed.of.iter().try_fold(scope.object, |value, name| value.get(name));
    let Some(list) = list.filter(|list| list.kind() == Kind::Array) else {
        return Ok(None);
    };
    let mut lists = vec![list];
    for path in &computed.inner {
        let items = lists.iter().flat_map(|list| list.elements());
        let inner = items.filter_map(|item| path.iter().try_fold(item, |value, name| value.get(name)));
        lists = inner.filter(|list| list.kind() == Kind::Array).collect();
    }
    let Some(field) = &computed.field else {
        let count: usize = lists.iter().map(|list| list.len()).sum();
        return Ok(Some(Plain::Number(count.to_string().into())));
    };
    let values = lists
        .iter()
        .flat_map(|list| list.elements())
        .filter_map(|item| field.iter().try_fold(item, |value, name| value.get(name)))
        .filter_map(text);
    let sum = arithmetic::sum(values).map_err(|detail| Fault::at(list, detail))?;
    Ok(Some(match computed.form {
        DecimalForm::String => Plain::Text(sum.into()),
        DecimalForm::Number => Plain::Number(sum.into()),
    }))
}

fn joined(list: Value<'_>, separator: &str) -> Result<String, Fault> {
    let texts: Option<Vec<_>> = list.elements().map(text).collect();
    texts
        .map(|texts| texts.join(separator))
        .ok_or_else(|| Fault::at(list, "a list of something else than texts cannot be joined"))
}

/// A scalar as text: a string's content, a number's digits, `true`, `false`.
fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::String => value.as_str(),
        Kind::Number | Kind::Bool => Some(Cow::Borrowed(value.raw())),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// Scalars of the same text; nothing else is compared.
fn is_same(one: Value<'_>, other: Value<'_>) -> bool {
    text(one).is_some_and(|one| text(other).is_some_and(|other| one == other))
}

fn shown(value: Value<'_>) -> String {
    text(value).map_or_else(|| "a value".to_owned(), |text| shown_text(&text))
}

fn shown_text(text: &str) -> String {
    format!("`{}`", text.chars().take(60).collect::<String>().escape_debug())
}
