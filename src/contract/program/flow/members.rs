//! Objects: what becomes of the members of a source, and what is made beside them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::plan::{Action, Against, Check, Combined, Entry, Made, Opened, Origin, Plan, Producer, Walk};
use super::super::{Computed, Outward, Program};
use super::image::{Doubts, Given};
use super::{DoubtKind, Flow, Presence, Scope, any_of, some_value};
use crate::contract::containment::{Conj, Types};
use crate::contract::convert::Change;
use crate::contract::spec::{Agree, DecimalForm, Direction};
use crate::expression::{Expression, Shape, Type};
use crate::json::{Document, Kind};

/// What is known of an object that is made.
#[derive(Default)]
pub(super) struct Members {
    named: BTreeMap<String, (Vec<Value>, Presence)>,
    /// Of members without a name; none if there are none.
    pub(super) others: Value,
}

/// An object that is run over.
struct Frame<'s, 'p> {
    scope: &'s Scope<'s>,
    plan: &'p Plan,
    program: &'p Program,
    /// What was picked up, where it stands, and whether it is there.
    slots: Vec<Option<(Conj, Presence, Vec<String>)>>,
    /// What combinations made.
    parts: Vec<(Value, Presence)>,
}

impl Members {
    pub(super) fn put(&mut self, name: &str, schema: Value, presence: Presence) {
        if presence != Presence::Never && schema != Value::Bool(false) {
            self.named.insert(name.to_owned(), (vec![schema], presence));
        }
    }

    /// Another value that stands there where the first does not.
    fn put_otherwise(&mut self, name: &str, schema: Value, presence: Presence) {
        match self.named.get_mut(name) {
            _ if presence == Presence::Never => {}
            Some((schemas, known)) => {
                schemas.push(schema);
                if presence == Presence::Always {
                    *known = Presence::Always;
                }
            }
            None => self.put(name, schema, presence),
        }
    }

    /// Whether it has any members.
    fn presence(&self) -> Presence {
        let mut presences = self.named.values().map(|(_, presence)| *presence);
        let is_certain = presences.any(|presence| presence == Presence::Always);
        let has_others = !matches!(self.others, Value::Null | Value::Bool(false));
        match (is_certain, self.named.is_empty() && !has_others) {
            (true, _) => Presence::Always,
            (_, true) => Presence::Never,
            _ => Presence::Maybe,
        }
    }

    pub(super) fn schema(self) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, (schemas, presence)) in self.named {
            if presence == Presence::Always {
                required.push(Value::from(name.clone()));
            }
            properties.insert(name, any_of(schemas));
        }
        let others = if self.others.is_null() {
            Value::Bool(false)
        } else {
            self.others
        };
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": others,
        })
    }
}

impl Flow<'_> {
    pub(super) fn object(&mut self, program: usize, conj: &Conj, around: Option<&Scope<'_>>) -> Value {
        let given = std::mem::take(&mut self.given);
        let programs = self.programs;
        let own = &programs.list[program];
        let plan = own.plan(self.asked.way);
        let scope = Scope {
            object: conj.clone(),
            program,
            around,
        };
        let mut frame = Frame {
            scope: &scope,
            plan,
            program: own,
            slots: vec![None; plan.slots],
            parts: Vec::new(),
        };
        let length = self.from.len();
        self.collect(&mut frame, 0, conj, Presence::Always);
        self.from.truncate(length);
        for check in &plan.checks {
            self.check(&frame, check);
        }
        for combined in &plan.combinations {
            self.combine(&mut frame, combined);
        }
        let mut made = self.members(&frame, Some((0, conj)), 0);
        for (name, schema) in given {
            if made.named.contains_key(&name) {
                self.refuse((0, 0), &format!("a second value for `{name}`"), None);
            }
            made.put(&name, schema, Presence::Always);
        }
        made.schema()
    }

    fn collect(&mut self, frame: &mut Frame<'_, '_>, source: usize, conj: &Conj, presence: Presence) {
        for (name, action) in frame.plan.sources[source].names.iter() {
            let Some((member, own)) = self.find(conj, &[name.into()]) else {
                continue;
            };
            let presence = presence.and(own);
            self.from.push(name.to_owned());
            match action {
                Action::Take(slot) => frame.slots[*slot] = Some((member, presence, self.from.clone())),
                Action::Open(opened) => {
                    let is_object = member.types.is_within(Types::OBJECT);
                    let presence = presence.and(if is_object { Presence::Always } else { Presence::Maybe });
                    self.collect(frame, opened.source, &member.only(Types::OBJECT), presence);
                }
                Action::Skip(_) | Action::Change(..) | Action::Carry(..) | Action::Refuse => {}
            }
            self.from.pop();
        }
    }

    /// What is left out must be what was expected.
    fn check(&mut self, frame: &Frame<'_, '_>, check: &Check) {
        let Some((conj, ..)) = frame.slots[check.slot]
            .clone()
            .filter(|_| check.otherwise == Agree::Error)
        else {
            return;
        };
        let from = frame.slots[check.slot]
            .as_ref()
            .map_or_else(Vec::new, |(_, _, from)| from.clone());
        let (is_met, why) = match &check.against {
            Against::Value(expected) => {
                let wanted = scalar_text(expected);
                let listed = conj.listed(self.side);
                let is_same = |value: &Value| wanted.is_some() && text_of(value) == wanted;
                let is_met = listed.is_some_and(|listed| listed.iter().all(is_same));
                (is_met, format!("a value other than {}", expected.text()))
            }
            Against::Older(outward) => {
                // On the way back, the value is the one it was copied from, unless that was changed meanwhile.
                let is_met = self.asked.is_return && self.is_kept(frame, outward);
                (is_met, "a value that differs from the one it repeats".to_owned())
            }
        };
        if !is_met {
            // It has no place in the target, so it is told in the source's words.
            let words = from.iter().map(|token| if token == "0" { "[]" } else { token });
            let words = words.map(str::to_owned).collect();
            let (from, to) = (
                std::mem::replace(&mut self.from, from),
                std::mem::replace(&mut self.to, words),
            );
            self.refuse(check.place, &why, None);
            (self.from, self.to) = (from, to);
        }
    }

    /// Whether what stands at a place of the older version is carried letter by letter.
    fn is_kept(&self, frame: &Frame<'_, '_>, outward: &Outward) -> bool {
        let Some(scope) = (0..outward.up).try_fold(frame.scope, |scope, _| scope.around) else {
            return false;
        };
        let side = self.programs.list[scope.program].side(self.asked.way);
        let mover = side.moves.iter().find(|step| outward.path.starts_with(&step.to));
        mover.is_none_or(|step| matches!(step.change, Change::Keep))
    }

    fn combine(&mut self, frame: &mut Frame<'_, '_>, combined: &Combined) {
        let taken: Vec<_> = combined.slots.iter().map(|slot| frame.slots[*slot].clone()).collect();
        let mut presence = Presence::Never;
        for (_, own, _) in taken.iter().flatten() {
            presence = match (presence, *own) {
                (Presence::Always, _) | (_, Presence::Always) => Presence::Always,
                _ => Presence::Maybe,
            };
        }
        let from = taken
            .iter()
            .flatten()
            .next()
            .map_or_else(|| self.from.clone(), |(_, _, from)| from.clone());
        if presence == Presence::Never {
            frame
                .parts
                .extend((0..combined.count).map(|_| (Value::Bool(false), Presence::Never)));
            return;
        }
        let outer = std::mem::replace(&mut self.from, from);
        let to = self.to.clone();
        self.to.extend(combined_target(frame.plan, frame.parts.len()));
        if taken.iter().flatten().any(|(conj, ..)| conj.types.meets(Types::NULL)) {
            self.refuse(combined.place, "null where a value is expected", Some(Value::Null));
        }
        let given: Vec<Option<Given<'_>>> = taken
            .iter()
            .map(|slot| {
                let (conj, presence, _) = slot.as_ref()?;
                let present = conj.only(conj.types.without(Types::NULL));
                Some(Given::new(&present, *presence, self.side, self.asked.deadline))
            })
            .collect();
        let seen: Vec<Option<Given<'_>>> = combined
            .seen
            .iter()
            .map(|outward| {
                let (conj, presence) = match self.asked.way {
                    Direction::Up => self.look(frame.scope, outward)?,
                    // What the older form will be is not followed here.
                    Direction::Down => return None,
                };
                Some(Given::new(&conj, presence, self.side, self.asked.deadline))
            })
            .collect();
        let mut doubts = Doubts {
            is_return: self.asked.is_return,
            found: Vec::new(),
        };
        let mut made = combined.rule.image(&given, &seen, &mut doubts);
        let is_text = given
            .iter()
            .flatten()
            .all(|given| given.types().is_within(Types::STRING));
        for (kind, why, value) in doubts.found {
            self.doubt(kind, combined.place, &why, value);
        }
        if self.asked.is_wire && !is_text {
            made = made
                .into_iter()
                .map(|(_, presence)| (Value::Bool(true), presence))
                .collect();
            self.refuse(combined.place, "values of parameters are text on their way", None);
        }
        made.resize(combined.count, (Value::Bool(true), Presence::Maybe));
        frame
            .parts
            .extend(made.into_iter().map(|(schema, own)| (schema, presence.and(own))));
        (self.from, self.to) = (outer, to);
    }

    /// The members of an object: those that stay, and those that are made.
    fn members(&mut self, frame: &Frame<'_, '_>, source: Option<(usize, &Conj)>, target: usize) -> Members {
        let mut made = Members::default();
        // How sure it is that the source has what an entry of the target is called.
        let mut noted: BTreeMap<usize, Presence> = BTreeMap::new();
        if let Some((number, conj)) = source {
            let source = &frame.plan.sources[number];
            let required = conj.required(self.side);
            let mut names: BTreeSet<String> = conj.names(self.side);
            names.extend(required.iter().cloned());
            names.extend(source.names.iter().map(|(name, _)| name.to_owned()));
            for name in names {
                let member = conj.member(self.side, &name);
                if self.is_void(&member) {
                    continue;
                }
                let presence = if required.contains(&name) {
                    Presence::Always
                } else {
                    Presence::Maybe
                };
                match source.names.get(&name) {
                    None if source.is_closed => self.at_source(&[&name], |flow| {
                        flow.refuse((0, 0), &no_place(frame.program, flow.asked.way), None);
                    }),
                    None => {
                        let around = frame.scope.around;
                        let schema = self.at_member(&name, |flow| flow.value(&member, &source.rest, around));
                        made.put(&name, schema, presence);
                    }
                    // Only joined plans refuse, and what is proved are the mappings that they are made of.
                    Some(Action::Take(_) | Action::Skip(_) | Action::Refuse) => {}
                    Some(Action::Carry(walk, entry)) => {
                        let scope = Some(frame.scope);
                        let schema = self.at_member(&name, |flow| flow.value(&member, walk, scope));
                        made.put(&name, schema, presence);
                        noted.extend(entry.map(|entry| (entry, presence)));
                    }
                    Some(Action::Change(producer, entry)) => {
                        let own = Some((member, presence));
                        let value = self.at_member(&name, |flow| flow.produce(frame, producer, own));
                        if let Some((schema, presence)) = value {
                            made.put(&name, schema, presence);
                            noted.extend(entry.map(|entry| (entry, presence)));
                        }
                    }
                    Some(Action::Open(opened)) => {
                        self.to.push(name.clone());
                        self.from.push(name.clone());
                        self.open(frame, opened, (&name, &member, presence), &mut made, &mut noted);
                        self.from.pop();
                        self.to.pop();
                    }
                }
            }
            for other in self.unnamed(conj) {
                if source.is_closed {
                    let why = no_place(frame.program, self.asked.way);
                    self.at_source(&["*"], |flow| flow.refuse((0, 0), &why, None));
                } else {
                    let around = frame.scope.around;
                    let schema = self.at_member("*", |flow| flow.value(&other, &source.rest, around));
                    let before = std::mem::take(&mut made.others);
                    let known = if before.is_null() { Value::Bool(false) } else { before };
                    made.others = any_of(vec![known, schema]);
                }
            }
        }
        for (position, entry) in frame.plan.targets[target].iter().enumerate() {
            let is_noted = noted.get(&position).copied().unwrap_or(Presence::Never);
            self.to.push(entry.name.to_string());
            self.make(frame, entry, is_noted, &mut made);
            self.to.pop();
        }
        made
    }

    /// An object that steps reach into.
    fn open(
        &mut self,
        frame: &Frame<'_, '_>,
        opened: &Opened,
        (name, member, presence): (&str, &Conj, Presence),
        made: &mut Members,
        noted: &mut BTreeMap<usize, Presence>,
    ) {
        let others = member.only(member.types.without(Types::OBJECT));
        let object = member.only(Types::OBJECT);
        if !others.is_never() {
            if self.members(frame, None, opened.target).presence() != Presence::Never {
                let sample = others.types.classes().next().and_then(some_value);
                self.refuse((0, 0), "something else stands where an object is expected", sample);
            }
            let schema = self.plainly(&others);
            made.put_otherwise(name, schema, presence.and(Presence::Maybe));
            noted.extend(opened.entry.map(|entry| (entry, presence)));
        }
        if self.is_void(&object) {
            return;
        }
        let mut schemas = Vec::new();
        let mut left = None;
        for branch in self.branches(&object) {
            let inner = self.members(frame, Some((opened.source, &branch)), opened.target);
            let own = inner.presence();
            left = Some(left.map_or(own, |left: Presence| left.or(own)));
            schemas.push(inner.schema());
        }
        let left = left.unwrap_or(Presence::Never);
        if opened.is_dissolved {
            if left != Presence::Never {
                self.refuse((0, 0), &no_place(frame.program, self.asked.way), None);
            }
            return;
        }
        let is_taken_from = frame.plan.sources[opened.source].is_taken_from;
        let own = if is_taken_from { left } else { Presence::Always };
        let sure = if others.is_never() {
            presence
        } else {
            presence.and(Presence::Maybe)
        };
        if let Some((known, _)) = made.named.get_mut(name) {
            known.extend(schemas);
            if own == Presence::Always && presence == Presence::Always {
                made.named
                    .entry(name.to_owned())
                    .and_modify(|entry| entry.1 = Presence::Always);
            }
        } else {
            made.put(name, any_of(schemas), sure.and(own));
        }
        noted.extend(opened.entry.map(|entry| (entry, presence)));
    }

    /// A member that is made, if there is anything to make it of.
    fn make(&mut self, frame: &Frame<'_, '_>, entry: &Entry, is_noted: Presence, made: &mut Members) {
        match &entry.what {
            Made::Object(_) if is_noted == Presence::Always => {}
            Made::Object(inner) => {
                let inner = self.members(frame, None, *inner);
                let presence = inner.presence();
                made.put_otherwise(&entry.name, inner.schema(), presence);
            }
            Made::Value(producer) if is_noted == Presence::Always && matches!(producer.from, Origin::Nothing) => {}
            Made::Value(producer) => {
                let Some((schema, presence)) = self.produce(frame, producer, None) else {
                    return;
                };
                if is_noted != Presence::Never && !matches!(producer.from, Origin::Nothing) {
                    let why = format!("a second value for `{}`", entry.name);
                    self.refuse(producer.place, &why, None);
                }
                made.put_otherwise(&entry.name, schema, presence);
            }
        }
    }

    /// A value; none if there never is one.
    fn produce(
        &mut self,
        frame: &Frame<'_, '_>,
        producer: &Producer,
        own: Option<(Conj, Presence)>,
    ) -> Option<(Value, Presence)> {
        self.note();
        let value = match &producer.from {
            Origin::Moved { slot, change, walk } => {
                let taken = match own {
                    Some((conj, presence)) => Some((conj, presence, self.from.clone())),
                    None => frame.slots[*slot].clone(),
                };
                taken.and_then(|(conj, presence, from)| {
                    let outer = std::mem::replace(&mut self.from, from);
                    let made = self.changed(&conj, change, walk, frame.scope, producer.place);
                    self.from = outer;
                    made.map(|(schema, own)| (schema, presence.and(own)))
                })
            }
            Origin::Copied(outward) => {
                let found = self.look(frame.scope, outward);
                found.map(|(conj, presence)| (self.plainly(&conj), presence))
            }
            Origin::Part(part) => frame.parts.get(*part).cloned(),
            Origin::Computed(computed) => self.compute(frame, computed),
            Origin::Expression(expression) => Some(self.express(expression, producer.place)),
            Origin::Unless(_) => own.map(|(conj, presence)| (self.plainly(&conj), presence.and(Presence::Maybe))),
            Origin::Nothing => None,
        };
        let value = value.filter(|(_, presence)| *presence != Presence::Never);
        match (value, &producer.otherwise) {
            (Some((schema, Presence::Always)), _) => Some((schema, Presence::Always)),
            (Some((schema, _)), Some(other)) => Some((any_of(vec![schema, constant(other)]), Presence::Always)),
            (None, Some(other)) => Some((constant(other), Presence::Always)),
            (value, None) => value,
        }
    }

    /// What a list adds up to, or how long it is.
    fn compute(&mut self, frame: &Frame<'_, '_>, computed: &Computed) -> Option<(Value, Presence)> {
        let (conj, presence) = self.find(&frame.scope.object, &computed.of)?;
        if self.asked.is_wire {
            self.refuse(computed.place, "values of parameters are text on their way", None);
            return Some((Value::Bool(true), Presence::Maybe));
        }
        let is_list = conj.types.is_within(Types::ARRAY);
        let list = conj.only(Types::ARRAY);
        if list.is_never() {
            return None;
        }
        let presence = presence.and(if is_list { Presence::Always } else { Presence::Maybe });
        if computed.field.is_none() && !computed.inner.is_empty() {
            return Some((json!({ "type": "integer", "minimum": 0 }), presence));
        }
        if computed.field.is_none() {
            let mut count = json!({ "type": "integer", "minimum": list.at_least(self.side, "minItems") });
            if let Some(most) = list.at_most(self.side, "maxItems") {
                count["maximum"] = most.into();
            }
            return Some((count, presence));
        }
        let outer = self.from.clone();
        self.from.extend(computed.of.iter().map(ToString::to_string));
        self.refuse(
            computed.place,
            "a sum of too many digits, or of what is no number",
            None,
        );
        self.from = outer;
        let schema = match computed.form {
            DecimalForm::Number => json!({ "type": "number" }),
            DecimalForm::String => json!({ "type": "string", "pattern": super::change::NUMBER }),
        };
        Some((schema, presence))
    }

    /// What an expression results in.
    fn express(&mut self, expression: &Expression, place: (u32, u32)) -> (Value, Presence) {
        let why = if expression.is_fallible() {
            "the expression fails for some values"
        } else {
            "the expression may come to a limit of digits or steps"
        };
        self.refuse(place, why, None);
        let kind = expression.result_type();
        let presence = if kind.may_be_absent || self.asked.is_wire || self.asked.stage > 0 {
            Presence::Maybe
        } else {
            Presence::Always
        };
        // Types of the expression are those of the version's own schema; of a longer way, that is not what comes here.
        let schema = if self.asked.stage == 0 && !self.asked.is_wire {
            self.typed_result(kind)
        } else {
            Value::Bool(true)
        };
        (schema, presence)
    }

    fn typed_result(&self, kind: &Type) -> Value {
        let schema = match &kind.shape {
            Shape::Dyn => Value::Bool(true),
            Shape::Never => Value::Bool(false),
            Shape::Bool => json!({ "type": "boolean" }),
            Shape::Int => json!({ "type": "integer" }),
            Shape::Decimal => json!({ "type": "number" }),
            Shape::String(Some(listed)) => {
                let listed: Vec<Value> = listed.iter().map(|text| Value::from(&**text)).collect();
                json!({ "enum": listed })
            }
            Shape::String(None) => json!({ "type": "string" }),
            Shape::Date => json!({ "type": "string", "format": "date" }),
            Shape::Timestamp => json!({ "type": "string", "format": "date-time" }),
            Shape::List { item, least, most } => {
                let mut list = json!({ "type": "array", "items": self.typed_result(item), "minItems": least });
                if let Some(most) = most {
                    list["maxItems"] = (*most).into();
                }
                list
            }
            Shape::Object(place) => match self.side.root.pointer(place) {
                Some(_) => json!({ "$ref": crate::contract::openapi::fragment(place) }),
                None => json!({ "type": "object" }),
            },
            Shape::Record(fields) => {
                let mut made = Members::default();
                for (name, kind) in fields.iter() {
                    let presence = if kind.may_be_absent {
                        Presence::Maybe
                    } else {
                        Presence::Always
                    };
                    made.put(name, self.typed_result(kind), presence);
                }
                made.schema()
            }
        };
        if kind.may_be_null {
            any_of(vec![schema, json!({ "type": "null" })])
        } else {
            schema
        }
    }

    /// That a value is known to come back, but not how.
    pub(super) fn unreturned(&mut self, place: (u32, u32), why: &str, value: Option<Value>) {
        if !self.asked.is_return && !self.asked.is_wire {
            self.doubt(DoubtKind::Return, place, why, value);
        }
    }

    /// What is done with an item of a list.
    pub(super) fn item_walk(walk: &Walk) -> &Walk {
        match walk {
            Walk::Inside(inside) => inside.items.as_ref().unwrap_or(&Walk::Whole),
            _ => &Walk::Whole,
        }
    }
}

fn no_place(program: &Program, way: Direction) -> String {
    format!("version {} has no place for it", program.side(way).target)
}

/// The first field that a combination fills.
fn combined_target(plan: &Plan, part: usize) -> Option<String> {
    fn find(plan: &Plan, target: usize, part: usize) -> Option<Vec<String>> {
        plan.targets[target].iter().find_map(|entry| match &entry.what {
            Made::Value(producer) => {
                matches!(producer.from, Origin::Part(own) if own == part).then(|| vec![entry.name.to_string()])
            }
            Made::Object(inner) => {
                let mut path = find(plan, *inner, part)?;
                path.insert(0, entry.name.to_string());
                Some(path)
            }
        })
    }
    find(plan, 0, part).map(|path| path.join("."))
}

fn constant(value: &Document) -> Value {
    serde_json::from_str(value.text()).map_or(Value::Bool(true), |value: Value| json!({ "const": value }))
}

fn scalar_text(value: &Document) -> Option<String> {
    let root = value.root();
    match root.kind() {
        Kind::String => root.as_str().map(std::borrow::Cow::into_owned),
        Kind::Number | Kind::Bool => Some(root.raw().to_owned()),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        // A number may be written in other ways.
        _ => None,
    }
}
