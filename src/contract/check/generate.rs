//! Draws documents from a schema, with a bias towards what breaks mappings: bounds, every code, every combination of
//! optional fields, numbers in all spellings, texts from all corners of Unicode, dates that hardly exist.
//!
//! The same seed draws the same documents. What is drawn for a single field comes from a pool that the production
//! validator has sifted; whole documents are sifted by the caller, and what does not conform is counted, never hidden.

mod pattern;
mod pool;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;

use fastrand::Rng;
use serde_json::{Map, Value};

use super::sample::Sample;
use crate::contract::openapi::{OpenApi, push_token, target_of};
use pool::Pool;

/// Values in an ordinary document, as a goal: past it, only what is required is drawn.
const ORDINARY_SIZE: usize = 160;

/// Values in a document that stretches its lists to their bounds.
const WIDE_SIZE: usize = 24_000;

/// Every so many documents one is wide.
const WIDE_EVERY: u64 = 250;

/// Schemas inside schemas that are followed; whatever is deeper is left out or does not conform.
const DEPTH_LIMIT: usize = 40;

/// Schemas that apply to one value at once.
const PART_LIMIT: usize = 64;

/// Keywords that say nothing of values of other types.
const HINTS: &[(Type, &[&str])] = &[
    (
        Type::Object,
        &["properties", "required", "additionalProperties", "patternProperties"],
    ),
    (Type::Array, &["items", "prefixItems", "minItems", "maxItems"]),
    (Type::String, &["pattern", "format", "minLength", "maxLength"]),
    (
        Type::Number,
        &[
            "minimum",
            "maximum",
            "multipleOf",
            "exclusiveMinimum",
            "exclusiveMaximum",
        ],
    ),
];

/// Draws documents from the schemas of one `OpenAPI` document.
pub(in crate::contract) struct Generator<'d> {
    document: &'d OpenApi,
    rng: Rng,
    seed: u64,
    pools: HashMap<String, Pool>,
    /// Schemas without a choice, which always have the same parts.
    fixed: HashMap<String, Rc<Parts<'d>>>,
    /// How often each object was drawn, to walk through which of its fields are present.
    objects: HashMap<String, u64>,
    /// How often each listed code or choice was drawn.
    turns: HashMap<String, u64>,
    drawn: u64,
    left: usize,
    is_wide: bool,
    /// What each pool gave in this document, if it is to give the same throughout: some mappings want values to agree.
    given: Option<HashMap<String, Sample>>,
}

/// Everything that applies to one value, and what was made of it.
#[derive(Default)]
struct Parts<'d> {
    schemas: Vec<(String, &'d Map<String, Value>)>,
    /// A choice was made: another time, another schema applies.
    has_choice: bool,
    listed: OnceCell<Option<Vec<&'d Value>>>,
    types: OnceCell<Types>,
    object: OnceCell<Object>,
    list: OnceCell<List>,
    pool: OnceCell<String>,
}

/// What the parts say of the type.
struct Types {
    allowed: Vec<Type>,
    /// There is a `type`.
    is_said: bool,
    /// What other keywords are about.
    hints: Vec<Type>,
}

/// What the parts say of an object.
struct Object {
    properties: BTreeMap<String, String>,
    required: Vec<String>,
    optional: Vec<String>,
    /// Whether other members are let in.
    is_open: bool,
    /// Where their schema stands, if they have one.
    extra: Option<String>,
    patterns: Vec<(String, String)>,
    least: usize,
    most: usize,
}

/// What the parts say of a list.
struct List {
    least: usize,
    most: Option<usize>,
    is_unique: bool,
    items: Option<String>,
    prefix: Vec<String>,
}

/// A value may be one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'d> Generator<'d> {
    pub(in crate::contract) fn new(document: &'d OpenApi, seed: u64) -> Self {
        Self {
            document,
            rng: Rng::with_seed(seed),
            seed,
            pools: HashMap::new(),
            fixed: HashMap::new(),
            objects: HashMap::new(),
            turns: HashMap::new(),
            drawn: 0,
            left: 0,
            is_wide: false,
            given: None,
        }
    }

    /// A document of the schema at a pointer. Most conform to it; whether this one does, a validator says.
    pub(in crate::contract) fn draw(&mut self, pointer: &str) -> Sample {
        self.drawn += 1;
        self.is_wide = self.drawn.is_multiple_of(WIDE_EVERY);
        self.left = if self.is_wide { WIDE_SIZE } else { ORDINARY_SIZE };
        self.given = self.rng.bool().then(HashMap::new);
        self.value(pointer, 0)
    }

    /// Draws a value seldom from now on, as one that a mapping refuses.
    pub(in crate::contract) fn demote(&mut self, value: &Sample) {
        for pool in self.pools.values_mut() {
            pool.demote(value);
        }
    }

    fn value(&mut self, pointer: &str, depth: usize) -> Sample {
        self.left = self.left.saturating_sub(1);
        if depth > DEPTH_LIMIT {
            return Sample::Null;
        }
        let parts = self.parts(pointer);
        if let Some(listed) = self.listed(pointer, &parts) {
            return listed;
        }
        match self.choose_type(&parts) {
            Type::Null => Sample::Null,
            Type::Bool => Sample::Bool(self.rng.bool()),
            kind @ (Type::Number | Type::String) => self.scalar(pointer, &parts, kind),
            Type::Array => self.array(&parts, depth),
            Type::Object => self.object(pointer, &parts, depth),
        }
    }

    /// The schema and everything that applies beside it: what `$ref` and `allOf` lead to, and one of each choice.
    fn parts(&mut self, pointer: &str) -> Rc<Parts<'d>> {
        if let Some(known) = self.fixed.get(pointer) {
            return known.clone();
        }
        let parts = Rc::new(self.find_parts(pointer));
        if !parts.has_choice {
            self.fixed.insert(pointer.to_owned(), parts.clone());
        }
        parts
    }

    fn find_parts(&mut self, pointer: &str) -> Parts<'d> {
        let document = self.document;
        let mut has_choice = false;
        let mut parts: Vec<String> = Vec::new();
        let mut waiting = vec![pointer.to_owned()];
        while let Some(pointer) = waiting.pop() {
            if parts.len() == PART_LIMIT || parts.contains(&pointer) {
                continue;
            }
            let Value::Object(schema) = document.at(&pointer) else {
                continue;
            };
            if let Some(Value::String(reference)) = schema.get("$ref") {
                waiting.extend(target_of(reference));
            }
            let count = |keyword: &str| schema.get(keyword).and_then(Value::as_array).map_or(0, Vec::len);
            waiting.extend((0..count("allOf")).map(|position| format!("{pointer}/allOf/{position}")));
            for keyword in ["oneOf", "anyOf"] {
                let count = count(keyword);
                if count > 0 {
                    has_choice = true;
                    let place = format!("{pointer}/{keyword}");
                    let turn = self.turn(&place, count);
                    waiting.push(format!("{place}/{turn}"));
                }
            }
            if schema.contains_key("if") {
                has_choice = true;
                let branch = if self.rng.bool() { "then" } else { "else" };
                if branch == "then" {
                    waiting.push(format!("{pointer}/if"));
                }
                waiting.push(format!("{pointer}/{branch}"));
            }
            parts.push(pointer);
        }
        let schemas = parts.into_iter().filter_map(|part| {
            let schema = document.at(&part).as_object()?;
            Some((part, schema))
        });
        Parts {
            schemas: schemas.collect(),
            has_choice,
            ..Parts::default()
        }
    }

    /// Half of the time the next in turn, so that each comes up; else any.
    fn turn(&mut self, place: &str, count: usize) -> usize {
        if self.rng.bool() {
            return self.rng.usize(..count);
        }
        let turn = self.turns.entry(place.to_owned()).or_default();
        *turn += 1;
        usize::try_from((*turn - 1) % count as u64).unwrap_or_default()
    }

    /// A value of `const` or `enum`.
    fn listed(&mut self, pointer: &str, parts: &Parts<'d>) -> Option<Sample> {
        let listed = parts.listed.get_or_init(|| {
            let constant = parts.schemas.iter().find_map(|(_, schema)| schema.get("const"));
            if let Some(constant) = constant {
                return Some(vec![constant]);
            }
            let lists: Vec<&Vec<Value>> = parts
                .schemas
                .iter()
                .filter_map(|(_, schema)| schema.get("enum")?.as_array())
                .collect();
            let (first, others) = lists.split_first()?;
            let is_everywhere = |value: &&Value| others.iter().all(|other| other.contains(value));
            Some(first.iter().filter(is_everywhere).collect())
        });
        let listed = listed.as_ref()?;
        if listed.is_empty() {
            return Some(Sample::Null);
        }
        let turn = self.turn(pointer, listed.len());
        Some(Sample::of_plain(listed[turn]))
    }

    fn choose_type(&mut self, parts: &Parts<'d>) -> Type {
        let Types {
            allowed,
            is_said,
            hints,
        } = parts.types.get_or_init(|| types(parts));
        if !is_said && !hints.is_empty() && self.rng.u8(..100) > 2 {
            return hints[self.rng.usize(..hints.len())];
        }
        let is_null = |kind: &Type| *kind == Type::Null;
        match allowed.as_slice() {
            [] => Type::Null,
            [one] => *one,
            // Null is one edge of many.
            several if several.iter().any(is_null) && self.rng.u8(..100) < 12 => Type::Null,
            _ if !is_said && self.left == 0 => Type::String,
            several => {
                let others = several.iter().filter(|kind| !is_null(kind));
                let turn = self.rng.usize(..others.clone().count());
                others.copied().nth(turn).unwrap_or(Type::Null)
            }
        }
    }

    fn scalar(&mut self, pointer: &str, parts: &Parts<'d>, kind: Type) -> Sample {
        let mut key = String::from(if kind == Type::Number { "number" } else { "text" });
        key.push_str(parts.pool.get_or_init(|| {
            // Fields that are described alike share their values.
            let mut telling = String::new();
            for (_, schema) in &parts.schemas {
                let said = schema
                    .iter()
                    .filter(|(name, _)| !matches!(name.as_str(), "description" | "title" | "$ref"));
                for (name, value) in said {
                    let _ = write!(telling, ";{name}={value}");
                }
            }
            telling
        }));
        if !self.pools.contains_key(&key) {
            let hash = blake3::hash(key.as_bytes());
            let own = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default());
            let rng = Rng::with_seed(self.seed ^ own);
            let schemas: Vec<_> = parts.schemas.iter().map(|(_, schema)| *schema).collect();
            let validator = self.document.validator(pointer).ok();
            let pool = if kind == Type::Number {
                Pool::of_numbers(&schemas, rng, validator.as_deref())
            } else {
                Pool::of_texts(&schemas, rng, validator.as_deref())
            };
            self.pools.insert(key.clone(), pool);
        }
        if let Some(given) = self.given.as_ref().and_then(|given| given.get(&key)) {
            return given.clone();
        }
        let Some(pool) = self.pools.get_mut(&key) else {
            return Sample::Null;
        };
        let value = pool.take(&mut self.rng);
        if let Some(given) = &mut self.given {
            given.insert(key, value.clone());
        }
        value
    }

    fn array(&mut self, parts: &Parts<'d>, depth: usize) -> Sample {
        let list = parts.list.get_or_init(|| list(&parts.schemas));
        let List {
            least, most, is_unique, ..
        } = *list;
        let (items, prefix) = (&list.items, &list.prefix);
        let wanted = self.count(least, most, depth);
        let mut elements: Vec<Sample> = Vec::with_capacity(wanted.min(1_024));
        let mut tries = 0;
        while elements.len() < wanted {
            let item = prefix.get(elements.len()).or(items.as_ref());
            let element = match item {
                Some(item) => self.value(item, depth + 1),
                None => Sample::Str(format!("item {}", elements.len())),
            };
            tries += 1;
            if is_unique && elements.contains(&element) && tries < 20 * (wanted + 1) {
                continue;
            }
            elements.push(element);
            // A document must end, even if its lists could go on.
            if self.left == 0 && elements.len() >= least && elements.len() > 1 {
                break;
            }
        }
        Sample::Arr(elements)
    }

    fn count(&mut self, least: usize, most: Option<usize>, depth: usize) -> usize {
        let cap = |count: usize| count.max(least).min(most.unwrap_or(usize::MAX));
        if self.left == 0 {
            return least;
        }
        if self.is_wide {
            // One list to its bound, those inside it as short as may be.
            let bound = most.unwrap_or(least + 50);
            let room = self.left / (8 * (depth + 1));
            return if depth <= 3 { cap(bound.min(room.max(2))) } else { least };
        }
        match self.rng.u8(..100) {
            0..30 => least,
            30..55 => cap(least + 1),
            55..75 => cap(2),
            75..95 => cap(3),
            // Within reach, the bound itself.
            _ => cap(most.filter(|most| *most <= 25).unwrap_or(5)),
        }
    }

    fn object(&mut self, pointer: &str, parts: &Parts<'d>, depth: usize) -> Sample {
        let object = parts.object.get_or_init(|| object(&parts.schemas));
        let mut present = self.present(pointer, object, depth);
        while present.len() > object.most {
            let Some(position) = present.iter().rposition(|name| !object.required.contains(name)) else {
                break;
            };
            present.remove(position);
        }
        let mut members: Vec<(String, Sample)> = Vec::with_capacity(present.len());
        for name in present {
            let value = match object.properties.get(name) {
                Some(place) => self.value(place, depth + 1),
                // Required, and of any kind.
                None => Sample::Str("any".to_owned()),
            };
            members.push((name.clone(), value));
        }
        self.add_extras(&mut members, object, depth);
        Sample::Obj(members)
    }

    /// Which fields an object has this time: first all, none but the required, each alone, each missing; then any.
    fn present<'o>(&mut self, pointer: &str, object: &'o Object, depth: usize) -> Vec<&'o String> {
        let turn = match self.objects.get_mut(pointer) {
            Some(turn) => turn,
            None => self.objects.entry(pointer.to_owned()).or_default(),
        };
        let now = usize::try_from(*turn).unwrap_or(usize::MAX);
        *turn += 1;
        let mut names: Vec<&String> = object.required.iter().collect();
        if self.left == 0 || depth + 2 > DEPTH_LIMIT / 2 || (self.is_wide && depth > 1) {
            return names;
        }
        let count = object.optional.len();
        let share = if self.is_wide {
            80
        } else {
            [20, 50, 80][self.rng.usize(..3)]
        };
        for (position, name) in object.optional.iter().enumerate() {
            let is_present = match now {
                0 => true,
                1 => false,
                _ if now < 2 + count => position == now - 2,
                _ if now < 2 + 2 * count => position != now - 2 - count,
                _ => self.rng.u8(..100) < share,
            };
            if is_present {
                names.push(name);
            }
        }
        names
    }

    /// Members that no property names, where the schema lets them in.
    fn add_extras(&mut self, members: &mut Vec<(String, Sample)>, object: &Object, depth: usize) {
        let missing = object.least.saturating_sub(members.len());
        let schema = object.extra.as_ref();
        // A schema for other members is an invitation; its absence only a gap.
        let chance = if schema.is_some() { 70 } else { 8 };
        let wanted = match (object.is_open, self.rng.u8(..100) < chance) {
            (false, _) => 0,
            (true, true) => missing.max(self.rng.usize(1..=3)),
            (true, false) => missing,
        };
        for _ in 0..wanted.min(1_000) {
            if members.len() >= object.most {
                return;
            }
            let name = pool::member_name(&mut self.rng, members.len());
            if members.iter().any(|(member, _)| *member == name) {
                continue;
            }
            let value = match schema {
                Some(place) => self.value(place, depth + 1),
                None => Sample::Str("x".to_owned()),
            };
            members.push((name, value));
        }
        for (written, place) in &object.patterns {
            if members.len() < object.most && self.left > 0 && self.rng.u8(..100) < 60 {
                let name = pattern::Pattern::parse(written).map(|pattern| pattern.any(&mut self.rng));
                if let Some(name) = name.filter(|name| members.iter().all(|(member, _)| member != name)) {
                    let value = self.value(place, depth + 1);
                    members.push((name, value));
                }
            }
        }
    }
}

/// Which types a value may have.
fn types(parts: &Parts<'_>) -> Types {
    use Type::{Array, Bool, Null, Number, Object, String};
    let mut types = Types {
        allowed: vec![Null, Bool, Number, String, Array, Object],
        is_said: false,
        hints: Vec::new(),
    };
    for (_, schema) in &parts.schemas {
        let named: Option<Vec<&str>> = match schema.get("type") {
            Some(Value::String(name)) => Some(vec![name]),
            Some(Value::Array(names)) => Some(names.iter().filter_map(Value::as_str).collect()),
            _ => None,
        };
        if let Some(named) = named {
            types.is_said = true;
            types.allowed.retain(|kind| {
                named.iter().any(|name| match *name {
                    "null" => *kind == Null,
                    "boolean" => *kind == Bool,
                    "number" | "integer" => *kind == Number,
                    "string" => *kind == String,
                    "array" => *kind == Array,
                    _ => *kind == Object,
                })
            });
        }
        for (kind, keywords) in HINTS {
            if keywords.iter().any(|keyword| schema.contains_key(*keyword)) {
                types.hints.push(*kind);
            }
        }
    }
    types
}

fn list(parts: &[(String, &Map<String, Value>)]) -> List {
    let bound = |keyword: &'static str| {
        let bounds = parts
            .iter()
            .filter_map(move |(_, schema)| schema.get(keyword)?.as_u64());
        bounds.map(|bound| usize::try_from(bound).unwrap_or(usize::MAX))
    };
    let mut list = List {
        least: bound("minItems").max().unwrap_or(0),
        most: bound("maxItems").min(),
        is_unique: parts
            .iter()
            .any(|(_, schema)| schema.get("uniqueItems") == Some(&Value::Bool(true))),
        items: None,
        prefix: Vec::new(),
    };
    let mut is_closed = false;
    for (part, schema) in parts {
        if let Some(Value::Array(listed)) = schema.get("prefixItems") {
            list.prefix = (0..listed.len())
                .map(|position| format!("{part}/prefixItems/{position}"))
                .collect();
        }
        match schema.get("items") {
            Some(Value::Object(_)) => list.items = Some(format!("{part}/items")),
            Some(Value::Bool(false)) => is_closed = true,
            _ => {}
        }
    }
    if is_closed {
        list.most = Some(list.prefix.len());
    }
    list
}

fn object(parts: &[(String, &Map<String, Value>)]) -> Object {
    let mut object = Object {
        properties: BTreeMap::new(),
        required: Vec::new(),
        optional: Vec::new(),
        is_open: true,
        extra: None,
        patterns: Vec::new(),
        least: 0,
        most: usize::MAX,
    };
    for (part, schema) in parts {
        let places = |keyword: &str| {
            let members = schema.get(keyword).and_then(Value::as_object);
            let names = members.into_iter().flat_map(Map::keys);
            let placed = names.map(|name| {
                let mut place = format!("{part}/{keyword}");
                push_token(&mut place, name);
                (name.clone(), place)
            });
            placed.collect::<Vec<_>>()
        };
        for (name, place) in places("properties") {
            object.properties.entry(name).or_insert(place);
        }
        object.patterns.extend(places("patternProperties"));
        let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in names.filter_map(Value::as_str) {
            if !object.required.iter().any(|known| known == name) {
                object.required.push(name.to_owned());
            }
        }
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            match schema.get(keyword) {
                Some(Value::Bool(false)) => object.is_open = false,
                Some(Value::Object(_)) => object.extra = Some(format!("{part}/{keyword}")),
                _ => {}
            }
        }
        let bound = |keyword: &str| Some(usize::try_from(schema.get(keyword)?.as_u64()?).unwrap_or(usize::MAX));
        object.least = object.least.max(bound("minProperties").unwrap_or(0));
        object.most = object.most.min(bound("maxProperties").unwrap_or(usize::MAX));
    }
    let names = object.properties.keys();
    object.optional = names.filter(|name| !object.required.contains(name)).cloned().collect();
    object
}

#[cfg(test)]
mod tests;
