//! Runs a program over a schema instead of a document: what comes out of it, for every document there can be.
//!
//! The result is the *image*: a schema that admits at least all that the program can make. It may admit more, never
//! less, so whatever holds of the image holds of the program. Beside it stand the doubts: steps that may refuse a value,
//! and steps of which it is not known that the way back restores the value.
//!
//! This follows `run` line by line; what that does with a value, this does with what is known of the value.

mod change;
mod excerpt;
mod image;
mod lists;
mod members;
mod texts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::plan::{Inside, Walk};
use super::{Choice, Inner, Outward, Place, Programs};
use crate::contract::containment::{Conj, ConjKey, Side, Types, member_place};
use crate::contract::openapi::{fragment, push_token};
use crate::contract::spec::Direction;
pub(in crate::contract) use change::NUMBER;
pub(in crate::contract) use excerpt::excerpt;
pub(in crate::contract) use image::{Abstract, Doubts, Given};

/// Where images stand in their document.
const IMAGES: &str = "x-crossdock-images";

/// Where a document says that a member is one code.
const CASES: &str = "x-crossdock-cases";

/// Types that are run over at most.
const STEP_LIMIT: usize = 20_000;

/// How deep types nest that are followed.
const DEPTH_LIMIT: usize = 100;

/// Branches of a choice that are run over one by one; of more, only what they have in common is known.
const BRANCH_LIMIT: usize = 16;

/// Doubts that are kept of one program.
const DOUBT_LIMIT: usize = 200;

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contract) enum Presence {
    Never,
    Maybe,
    Always,
}

impl Presence {
    /// There if both are.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Always, Self::Always) => Self::Always,
            _ => Self::Maybe,
        }
    }

    /// One or the other.
    fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Maybe }
    }
}

/// What comes out of a program.
pub(in crate::contract) struct Image {
    /// The document the image stands in, with all that it leads to.
    pub(in crate::contract) document: Arc<Value>,
    /// Pointer of the image.
    pub(in crate::contract) root: String,
    /// Fields that are made, in the target's words.
    pub(in crate::contract) places: Vec<String>,
    pub(in crate::contract) doubts: Vec<Doubtful>,
}

/// What a program is not known to do for every value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::contract) struct Doubtful {
    pub(in crate::contract) kind: DoubtKind,
    /// The step in the mapping file.
    pub(in crate::contract) place: Place,
    /// Where the value stands in the source: names, and `0` for any item.
    pub(in crate::contract) from: Vec<String>,
    /// The field of the target that depends on it.
    pub(in crate::contract) to: String,
    /// One lower-case phrase.
    pub(in crate::contract) why: String,
    /// A value of the source that might show it.
    pub(in crate::contract) value: Option<Value>,
}

/// What is doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contract) enum DoubtKind {
    /// A value may be refused.
    Refusal,
    /// A value may come back otherwise, and no step says so.
    Return,
}

/// How a program is run over a schema.
pub(in crate::contract) struct Question<'q> {
    /// The document with the source's schema.
    pub(in crate::contract) source: &'q Arc<Value>,
    /// Pointer of the schema.
    pub(in crate::contract) root: &'q str,
    pub(in crate::contract) way: Direction,
    /// How many programs were run before; each has its own images.
    pub(in crate::contract) stage: usize,
    /// What runs is the way back of values that the way there made.
    pub(in crate::contract) is_return: bool,
    /// Values are those of parameters, which are text whatever their schema says.
    pub(in crate::contract) is_wire: bool,
    pub(in crate::contract) deadline: Instant,
}

/// A run over a schema.
struct Flow<'f> {
    programs: &'f Programs,
    side: &'f Side,
    asked: &'f Question<'f>,
    images: Map<String, Value>,
    known: HashMap<Key, String>,
    doubts: Vec<Doubtful>,
    places: Vec<String>,
    /// The way to the value at hand, in the source and in the target.
    from: Vec<String>,
    to: Vec<String>,
    /// Members that the next object gets beside its own.
    given: Vec<(String, Value)>,
    /// How many objects around one that is run over can be seen from it.
    sight: usize,
    steps: usize,
    depth: usize,
    is_exhausted: bool,
}

/// A program, what it runs over, and the objects around.
type Key = (usize, ConjKey, Vec<ConjKey>);

/// An object that is run over, and those around it.
struct Scope<'s> {
    object: Conj,
    program: usize,
    around: Option<&'s Scope<'s>>,
}

impl Programs {
    /// What a program makes of all that a schema admits.
    pub(in crate::contract) fn flow(&self, program: usize, asked: &Question<'_>) -> Image {
        let mut source = Value::clone(asked.source);
        self.add_cases(&mut source, asked.way);
        let source = Arc::new(source);
        let side = Side::new(source.clone());
        let mut flow = Flow {
            programs: self,
            side: &side,
            asked,
            images: Map::new(),
            known: HashMap::new(),
            doubts: Vec::new(),
            places: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            given: Vec::new(),
            sight: self.sight(),
            steps: 0,
            depth: 0,
            is_exhausted: false,
        };
        let root: Arc<str> = asked.root.into();
        let conj = Conj::new(&side, std::slice::from_ref(&root), &root);
        let is_broken = side.flat(&root).is_broken;
        let mut made = flow.program(program, &conj, None);
        if is_broken || flow.is_exhausted {
            let why = if is_broken {
                "a reference there is not followed"
            } else {
                "the budget for it was used up"
            };
            flow.refuse((0, 0), why, None);
            made = Value::Bool(true);
        }
        let (doubts, places) = (flow.doubts, flow.places);
        let mut images = flow.images;
        images.insert("root".to_owned(), made);
        let name = format!("s{}", asked.stage);
        let mut document = Value::clone(&source);
        document[IMAGES][&name] = Value::Object(images);
        let root = format!("/{IMAGES}/{name}/root");
        Image {
            document: Arc::new(excerpt(&document, &[&root])),
            root,
            places,
            doubts,
        }
    }

    /// Schemas that settle which type a value is, where a member says so.
    fn add_cases(&self, document: &mut Value, way: Direction) {
        let nested = self.list.iter().flat_map(|program| &program.nested);
        for choice in nested.filter_map(|nested| match &nested.what {
            Inner::Choice(choice) => Some(choice),
            Inner::Program(_) => None,
        }) {
            let side = usize::from(way == Direction::Down);
            for (said, _) in &choice.cases {
                let (by, code) = (&*choice.by[side], &*said[side]);
                document[CASES][case_name(by, code)] =
                    json!({ "type": "object", "properties": { by: { "const": code } }, "required": [by] });
            }
        }
    }

    /// How far outwards steps look at most.
    fn sight(&self) -> usize {
        let sides = self.list.iter().flat_map(|program| [&program.up, &program.down]);
        let outward = |side: &super::Side| {
            let copied = side.copies.iter().map(|copy| copy.from.up);
            let seen = side
                .combinations
                .iter()
                .flat_map(|combine| combine.seen.iter().map(|seen| seen.up));
            copied.chain(seen).max().unwrap_or(0)
        };
        sides.map(outward).max().unwrap_or(0)
    }
}

impl Flow<'_> {
    /// What a type becomes: a schema.
    fn program(&mut self, program: usize, conj: &Conj, around: Option<&Scope<'_>>) -> Value {
        if self.is_void(conj) {
            return Value::Bool(false);
        }
        if self.programs.list[program].is_identity {
            return self.copied(conj);
        }
        let mut seen = Vec::new();
        let mut scope = around;
        while let Some(outer) = scope.filter(|_| seen.len() < self.sight) {
            seen.push(outer.object.key());
            scope = outer.around;
        }
        let key: Key = (program, conj.key(), seen);
        let is_plain = self.given.is_empty();
        if let Some(name) = self.known.get(&key).filter(|_| is_plain) {
            return self.reference(name);
        }
        self.steps += 1;
        if self.steps > STEP_LIMIT || self.depth > DEPTH_LIMIT || Instant::now() > self.asked.deadline {
            self.is_exhausted = true;
            return Value::Bool(true);
        }
        let name = self.images.len().to_string();
        // Taken before the type is run over, so that a type inside itself finds its own image.
        self.images.insert(name.clone(), Value::Bool(true));
        if is_plain {
            self.known.insert(key, name.clone());
        }
        self.depth += 1;
        let image = self.typed(program, conj, around);
        self.depth -= 1;
        self.images.insert(name.clone(), image);
        self.reference(&name)
    }

    /// One type of JSON after the other.
    fn typed(&mut self, program: usize, conj: &Conj, around: Option<&Scope<'_>>) -> Value {
        let plan = self.programs.list[program].plan(self.asked.way);
        let mut all = Vec::new();
        for class in conj.types.classes() {
            let one = conj.only(class);
            let is_list = class == Types::ARRAY;
            all.push(match &plan.items {
                _ if class == Types::NULL => self.copied(&one),
                Some(walk) if is_list => self.items(&one, walk, around),
                Some(_) => {
                    self.refuse((0, 0), "something else where a list is expected", None);
                    continue;
                }
                None if class == Types::OBJECT => self.choices(program, &one, around),
                None if plan.is_busy => {
                    let sample = some_value(class);
                    self.refuse((0, 0), "something else where an object is expected", sample);
                    continue;
                }
                None => self.copied(&one),
            });
        }
        any_of(all)
    }

    /// An object of one of several schemas: each is run over by itself.
    fn choices(&mut self, program: usize, conj: &Conj, around: Option<&Scope<'_>>) -> Value {
        let given = std::mem::take(&mut self.given);
        let branches = self.branches(conj);
        let made = branches.iter().map(|branch| {
            self.given.clone_from(&given);
            self.object(program, branch, around)
        });
        let made = made.collect();
        self.given.clear();
        any_of(made)
    }

    /// All ways to settle the choices of a schema; itself if there are none, or too many.
    fn branches(&self, conj: &Conj) -> Vec<Conj> {
        let mut settled = Vec::new();
        let mut open = vec![conj.clone()];
        while let Some(next) = open.pop() {
            match next.split(self.side) {
                Some(branches) => open.extend(branches.into_iter().filter(|branch| !self.is_void(branch))),
                None => settled.push(next),
            }
            if settled.len() + open.len() > BRANCH_LIMIT {
                return vec![conj.clone()];
            }
        }
        settled
    }

    /// Whether nothing is admitted, as far as that is seen at once.
    fn is_void(&self, conj: &Conj) -> bool {
        if conj.is_never() || conj.listed(self.side).is_some_and(|listed| listed.is_empty()) {
            return true;
        }
        let is_lost = |name: &String| {
            let member = conj.member(self.side, name);
            member.is_never() || member.listed(self.side).is_some_and(|listed| listed.is_empty())
        };
        conj.types.is_within(Types::OBJECT) && conj.required(self.side).iter().any(is_lost)
    }

    /// A value whose parts may be types of their own.
    fn value(&mut self, conj: &Conj, walk: &Walk, around: Option<&Scope<'_>>) -> Value {
        if self.is_void(conj) {
            return Value::Bool(false);
        }
        match walk {
            Walk::Whole => self.copied(conj),
            Walk::Program(program) => self.program(*program, conj, around),
            Walk::Choice(choice) => self.choose(choice, conj, around),
            Walk::Inside(inside) => self.inside(conj, inside, around),
        }
    }

    fn inside(&mut self, conj: &Conj, inside: &Inside, around: Option<&Scope<'_>>) -> Value {
        let mut all = Vec::new();
        for class in conj.types.classes() {
            let one = conj.only(class);
            let has_members = inside.values.is_some() || !inside.fields.is_empty();
            all.push(match &inside.items {
                _ if class == Types::NULL => self.copied(&one),
                Some(items) if class == Types::ARRAY => self.items(&one, items, around),
                _ if class == Types::OBJECT && has_members => {
                    let branches = self.branches(&one);
                    let made = branches.iter().map(|branch| self.walked(branch, inside, around));
                    any_of(made.collect())
                }
                _ => {
                    let wanted = if inside.items.is_some() { "a list" } else { "an object" };
                    let why = format!("something else where {wanted} is expected");
                    self.refuse((0, 0), &why, some_value(class));
                    continue;
                }
            });
        }
        any_of(all)
    }

    /// An object of which only some members are types of their own.
    fn walked(&mut self, conj: &Conj, inside: &Inside, around: Option<&Scope<'_>>) -> Value {
        let mut made = members::Members::default();
        let mut names = conj.names(self.side);
        names.extend(inside.fields.keys().map(ToString::to_string));
        names.extend(conj.required(self.side));
        let required = conj.required(self.side);
        for name in names {
            let member = conj.member(self.side, &name);
            let walk = inside.fields.get(&*name).or(inside.values.as_ref());
            let schema = self.at_member(&name, |flow| flow.value(&member, walk.unwrap_or(&Walk::Whole), around));
            let presence = if required.contains(&name) {
                Presence::Always
            } else {
                Presence::Maybe
            };
            made.put(&name, schema, presence);
        }
        let others = self.unnamed(conj);
        let walk = inside.values.as_ref().unwrap_or(&Walk::Whole);
        made.others = self.at_member("*", |flow| {
            any_of(others.iter().map(|other| flow.value(other, walk, around)).collect())
        });
        made.schema()
    }

    /// What members follow that no `properties` names.
    fn unnamed(&self, conj: &Conj) -> Vec<Conj> {
        let patterns = conj.parts.iter().flat_map(|part| {
            let patterns = self.side.patterns_of_names(part);
            patterns.map(move |pattern| {
                let mut pointer = format!("{part}/patternProperties");
                push_token(&mut pointer, pattern);
                Arc::<str>::from(pointer)
            })
        });
        let patterns: Vec<_> = patterns
            .map(|pointer| Conj::new(self.side, &[pointer], &conj.origin))
            .collect();
        let others = std::iter::once(conj.others(self.side)).chain(patterns);
        others.filter(|other| !self.is_void(other)).collect()
    }

    /// A value of the type that it says it is.
    fn choose(&mut self, choice: &Choice, conj: &Conj, around: Option<&Scope<'_>>) -> Value {
        let side = usize::from(self.asked.way == Direction::Down);
        let by = &*choice.by[side];
        let mut all = Vec::new();
        if conj.types.meets(Types::NULL) {
            all.push(self.copied(&conj.only(Types::NULL)));
        }
        for branch in self.branches(&conj.only(Types::OBJECT)) {
            let member = branch.member(self.side, by);
            let listed = member.listed(self.side);
            let is_known = |code: &Value| choice.cases.iter().any(|(said, _)| code.as_str() == Some(&said[side]));
            let is_told = branch.required(self.side).contains(by);
            if !is_told || !listed.as_ref().is_some_and(|listed| listed.iter().all(is_known)) {
                let unknown = listed.and_then(|listed| listed.into_iter().find(|code| !is_known(code)));
                let why = format!("a value may be none of the types that `{by}` may say");
                self.at_source(&[by], |flow| flow.refuse((0, 0), &why, unknown));
            }
            for (said, program) in &choice.cases {
                let pointer: Arc<str> = format!("/{CASES}/{}", case_name(by, &said[side])).into();
                let case = branch.clone().and(self.side, &pointer);
                all.push(self.program(*program, &case, around));
            }
        }
        let others = conj.types.without(Types::NULL | Types::OBJECT);
        if let Some(class) = others.classes().next() {
            let why = format!("a value without `{by}`, which says what it is");
            self.refuse((0, 0), &why, some_value(class));
        }
        any_of(all)
    }

    fn items(&mut self, conj: &Conj, walk: &Walk, around: Option<&Scope<'_>>) -> Value {
        self.list(conj, |flow, item| flow.value(item, walk, around))
    }

    /// A list, with each item made anew.
    fn list(&mut self, conj: &Conj, mut item: impl FnMut(&mut Self, &Conj) -> Value) -> Value {
        let mut list = json!({ "type": "array" });
        let prefix = conj.prefix(self.side);
        let mut made = Vec::new();
        for position in 0..=prefix {
            let one = conj.item(self.side, position);
            made.push(self.at_items(|flow| item(flow, &one)));
        }
        list["items"] = made.pop().unwrap_or(Value::Bool(true));
        if !made.is_empty() {
            list["prefixItems"] = made.into();
        }
        self.size(conj, &mut list);
        list
    }

    /// The length of a list that stays as long as it is.
    fn size(&self, conj: &Conj, list: &mut Value) {
        let least = conj.at_least(self.side, "minItems");
        if least > 0 {
            list["minItems"] = least.into();
        }
        if let Some(most) = conj.at_most(self.side, "maxItems") {
            list["maxItems"] = most.into();
        }
    }

    /// A value that stays as it is.
    fn copied(&mut self, conj: &Conj) -> Value {
        self.note();
        self.plainly(conj)
    }

    /// The schema of what a conjunction admits.
    fn plainly(&self, conj: &Conj) -> Value {
        if conj.is_never() {
            return Value::Bool(false);
        }
        let references = conj.parts.iter().map(|part| json!({ "$ref": fragment(part) }));
        let said = conj
            .parts
            .iter()
            .fold(Types::ALL, |types, part| types & self.side.types(part));
        let mut schema = match references.collect::<Vec<_>>() {
            none if none.is_empty() => json!({}),
            mut one if one.len() == 1 => one.remove(0),
            all => json!({ "allOf": all }),
        };
        if said != conj.types {
            schema["type"] = conj.types.names();
        }
        schema
    }

    fn reference(&self, name: &str) -> Value {
        json!({ "$ref": format!("#/{IMAGES}/s{}/{name}", self.asked.stage) })
    }

    /// What stands at a path that may begin further out, and whether something does.
    fn look(&self, scope: &Scope<'_>, from: &Outward) -> Option<(Conj, Presence)> {
        let scope = (0..from.up).try_fold(scope, |scope, _| scope.around)?;
        self.find(&scope.object, &from.path)
    }

    /// What stands at a path, and whether something does; none if nothing ever does.
    fn find(&self, object: &Conj, path: &[Box<str>]) -> Option<(Conj, Presence)> {
        let mut at = object.clone();
        let mut presence = Presence::Always;
        for name in path {
            let is_object = at.types.is_within(Types::OBJECT);
            at = at.only(Types::OBJECT);
            let is_required = is_object && at.required(self.side).contains(&**name);
            let member = at.member(self.side, name);
            if at.is_never() || self.is_void(&member) {
                return None;
            }
            presence = presence.and(if is_required { Presence::Always } else { Presence::Maybe });
            at = member;
        }
        Some((at, presence))
    }

    fn at_source<T>(&mut self, names: &[impl AsRef<str>], then: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.from.len();
        self.from.extend(names.iter().map(|name| name.as_ref().to_owned()));
        let result = then(self);
        self.from.truncate(length);
        result
    }

    /// Inside a member that is called the same on both sides.
    fn at_member<T>(&mut self, name: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.to.push(name.to_owned());
        let result = self.at_source(&[name], then);
        self.to.pop();
        result
    }

    /// Inside an item.
    fn at_items<T>(&mut self, then: impl FnOnce(&mut Self) -> T) -> T {
        self.to.push("[]".to_owned());
        let result = self.at_source(&["0"], then);
        self.to.pop();
        result
    }

    /// A field of the target is made here.
    fn note(&mut self) {
        let place = shown(&self.to);
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    /// A value may be refused here.
    fn refuse(&mut self, place: Place, why: &str, value: Option<Value>) {
        self.doubt(DoubtKind::Refusal, place, why, value);
    }

    fn doubt(&mut self, kind: DoubtKind, place: Place, why: &str, value: Option<Value>) {
        let doubt = Doubtful {
            kind,
            place,
            from: self.from.clone(),
            to: shown(&self.to),
            why: why.to_owned(),
            value,
        };
        self.note();
        if self.doubts.len() < DOUBT_LIMIT && !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }
}

/// A place as people write it.
fn shown(tokens: &[String]) -> String {
    let mut place = String::new();
    for token in tokens {
        match token.as_str() {
            "[]" => place.push_str("[]"),
            "*" => place.push_str(if place.is_empty() { "*" } else { ".*" }),
            name => place = member_place(&place, name),
        }
    }
    place
}

/// Whatever one of the schemas admits.
fn any_of(mut schemas: Vec<Value>) -> Value {
    schemas.retain(|schema| *schema != Value::Bool(false));
    schemas.dedup();
    if schemas.contains(&Value::Bool(true)) {
        return Value::Bool(true);
    }
    match schemas.len() {
        0 => Value::Bool(false),
        1 => schemas.remove(0),
        _ => json!({ "anyOf": schemas }),
    }
}

/// Any value of a type.
fn some_value(class: Types) -> Option<Value> {
    [json!("a"), json!(1), json!(true), json!({}), json!([]), Value::Null]
        .into_iter()
        .find(|value| Types::of(value).meets(class))
}

fn case_name(by: &str, code: &str) -> String {
    blake3::hash(format!("{}:{by}{code}", by.len()).as_bytes()).to_hex()[..16].to_owned()
}
