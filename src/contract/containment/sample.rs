//! Makes up values that schemas admit: small ones, to show what would be refused.
//!
//! What is made up is a guess. Whoever shows it holds it against validators first.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::conj::Conj;
use super::regular::shortest;
use super::side::Side;
use super::types::Types;

/// How deep made-up values nest.
const DEPTH_LIMIT: usize = 16;

/// The longest list and the widest object that is made up.
pub(super) const ITEM_LIMIT: u64 = 5_000;

/// Makes values up.
#[derive(Clone, Copy)]
pub(super) struct Sampler<'a> {
    pub(super) side: &'a Side,
    pub(super) deadline: Instant,
}

impl Sampler<'_> {
    /// A value, another one for another variant. Even variants have few members, odd ones all.
    pub(super) fn value(self, conj: &Conj, variant: usize) -> Option<Value> {
        self.at_depth(conj, variant, 0)
    }

    fn at_depth(self, conj: &Conj, variant: usize, depth: usize) -> Option<Value> {
        if conj.is_never() || depth > DEPTH_LIMIT || Instant::now() > self.deadline {
            return None;
        }
        if let Some(listed) = conj.listed(self.side) {
            return listed.get(variant % listed.len().max(1)).cloned();
        }
        if let Some(branches) = conj.split(self.side) {
            let count = branches.len();
            let mut turns = (0..count).map(|turn| &branches[(variant + turn) % count]);
            return turns.find_map(|branch| self.at_depth(branch, variant / count, depth + 1));
        }
        let classes: Vec<Types> = conj.types.classes().collect();
        let count = classes.len();
        let mut turns = (0..count).map(|turn| classes[(variant + turn) % count]);
        turns.find_map(|class| self.of_type(conj, class, variant / count, depth))
    }

    fn of_type(self, conj: &Conj, class: Types, variant: usize, depth: usize) -> Option<Value> {
        match class {
            Types::NULL => Some(Value::Null),
            Types::BOOL => Some(variant.is_multiple_of(2).into()),
            Types::STRING => self.text(conj, variant).map(Value::String),
            Types::ARRAY => self.list(conj, conj.at_least(self.side, "minItems"), variant, depth),
            Types::OBJECT => self.object(conj, variant, depth, &[]),
            numbers => self.number(conj, numbers, variant),
        }
    }

    fn text(self, conj: &Conj, variant: usize) -> Option<String> {
        let formats = conj
            .parts
            .iter()
            .filter_map(|part| self.side.keywords(part).get("format")?.as_str());
        let (mut patterns, mut length) = conj.texts(self.side);
        if let Some(samples) = formats.map(of_format).find(|samples| !samples.is_empty()) {
            let count = |text: &str| text.chars().count() as u64;
            let is_sized = |text: &&str| count(text) >= length.min && length.max.is_none_or(|max| count(text) <= max);
            let sized: Vec<&str> = samples.iter().copied().filter(is_sized).collect();
            return sized.get(variant % sized.len().max(1)).map(|text| (*text).to_owned());
        }
        let longer = length.min + variant as u64;
        length.min = length.max.map_or(longer, |max| longer.min(max));
        match shortest(&mut patterns, None, length, self.deadline) {
            Ok(None) => {
                length.min = conj.at_least(self.side, "minLength");
                shortest(&mut patterns, None, length, self.deadline).ok()?
            }
            found => found.ok()?,
        }
    }

    /// A number: near the bounds, or a small one.
    pub(super) fn number(self, conj: &Conj, types: Types, variant: usize) -> Option<Value> {
        let numbers = near_bounds(self.side, conj);
        let fitting: Vec<Value> = numbers
            .into_iter()
            .filter(|number| Types::of(number).meets(types) && is_between(self.side, conj, number))
            .collect();
        fitting.get(variant % fitting.len().max(1)).cloned()
    }

    /// A list of so many items.
    pub(super) fn list(self, conj: &Conj, length: u64, variant: usize, depth: usize) -> Option<Value> {
        if length > ITEM_LIMIT {
            return None;
        }
        let is_unique = conj.says(self.side, "uniqueItems", &true.into());
        let prefix = conj.prefix(self.side);
        let mut items: Vec<Value> = Vec::new();
        let mut rest: Option<Value> = None;
        for position in 0..usize::try_from(length).ok()? {
            let item = match &rest {
                Some(item) if !is_unique => item.clone(),
                _ => {
                    let schema = conj.item(self.side, position);
                    let mut turns = (0..=position).map(|turn| self.at_depth(&schema, variant + turn, depth + 1));
                    turns.find_map(|item| item.filter(|item| !is_unique || !items.contains(item)))?
                }
            };
            if position >= prefix {
                rest.get_or_insert_with(|| item.clone());
            }
            items.push(item);
        }
        Some(items.into())
    }

    /// An object that has what it must, without some names.
    pub(super) fn object(self, conj: &Conj, variant: usize, depth: usize, without: &[&str]) -> Option<Value> {
        let wanted = conj.at_least(self.side, "minProperties");
        self.wide(conj, wanted, variant, depth, without)
    }

    /// The same, of so many members at least.
    pub(super) fn wide(
        self,
        conj: &Conj,
        wanted: u64,
        variant: usize,
        depth: usize,
        without: &[&str],
    ) -> Option<Value> {
        let mut members = Map::new();
        let required = conj.required(self.side);
        for name in required.iter().filter(|name| !without.contains(&name.as_str())) {
            members.insert(
                name.clone(),
                self.at_depth(&conj.member(self.side, name), variant, depth + 1)?,
            );
        }
        let wanted = usize::try_from(wanted.min(ITEM_LIMIT)).ok()?;
        for name in conj.names(self.side) {
            let is_wanted = (!variant.is_multiple_of(2) && depth < 4) || members.len() < wanted;
            if is_wanted
                && !members.contains_key(&name)
                && !without.contains(&name.as_str())
                && let Some(value) = self.at_depth(&conj.member(self.side, &name), variant, depth + 1)
            {
                members.insert(name, value);
            }
        }
        for number in 0.. {
            if members.len() >= wanted {
                break;
            }
            let name = fresh_name(number);
            let value = self.at_depth(&conj.member(self.side, &name), variant, depth + 1)?;
            members.insert(name, value);
        }
        Some(members.into())
    }
}

/// A name that documents hardly give.
pub(super) fn fresh_name(number: usize) -> String {
    match number {
        0 => "unnamed".to_owned(),
        number => format!("unnamed{number}"),
    }
}

/// Numbers at, beside and between the bounds of a schema, and some of every kind.
pub(super) fn near_bounds(side: &Side, conj: &Conj) -> Vec<Value> {
    let mut numbers: Vec<Value> = Vec::new();
    let mut steps = vec![json!(1)];
    for part in &conj.parts {
        steps.extend(side.keywords(part).get("multipleOf").cloned());
    }
    for part in &conj.parts {
        for keyword in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
            if let Some(bound) = side.keywords(part).get(keyword) {
                numbers.extend(beside(bound, &steps));
            }
        }
    }
    numbers.extend([
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(-0.5),
        json!(2),
        json!(1000),
    ]);
    numbers.extend(steps.iter().skip(1).cloned());
    numbers.extend(steps.iter().skip(1).filter_map(|step| number(step.as_f64()? * 3.0)));
    numbers
}

/// A bound, and the numbers one step to both sides of it.
pub(super) fn beside(bound: &Value, steps: &[Value]) -> Vec<Value> {
    let mut numbers = vec![bound.clone()];
    for step in steps {
        if let (Some(bound), Some(step)) = (bound.as_i64(), step.as_i64()) {
            numbers.extend(
                [bound.checked_add(step), bound.checked_sub(step)]
                    .into_iter()
                    .flatten()
                    .map(Value::from),
            );
        } else if let (Some(bound), Some(step)) = (bound.as_f64(), step.as_f64()) {
            numbers.extend([number(bound + step), number(bound - step)].into_iter().flatten());
            // The multiple of the step nearest to the bound, on both sides.
            let turns = (bound / step).floor();
            numbers.extend(
                [number(turns * step), number((turns + 1.0) * step)]
                    .into_iter()
                    .flatten(),
            );
        }
    }
    numbers
}

/// A float as people would write it: at most ten digits after the point, none for whole numbers.
#[expect(clippy::cast_possible_truncation, reason = "held against both ends before")]
fn number(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Some(Value::from(value as i64));
    }
    let written: f64 = format!("{value:.10}").parse().ok()?;
    serde_json::Number::from_f64(written).map(Value::Number)
}

/// Whether a number keeps the bounds, as far as floats can tell.
fn is_between(side: &Side, conj: &Conj, number: &Value) -> bool {
    let Some(number) = number.as_f64() else { return false };
    conj.parts.iter().all(|part| {
        let bound = |keyword: &str| side.keywords(part).get(keyword).and_then(Value::as_f64);
        let is_multiple = |step: f64| {
            let turns = number / step;
            (turns - turns.round()).abs() < 1e-9 * turns.abs().max(1.0)
        };
        bound("minimum").is_none_or(|bound| number >= bound)
            && bound("maximum").is_none_or(|bound| number <= bound)
            && bound("exclusiveMinimum").is_none_or(|bound| number > bound)
            && bound("exclusiveMaximum").is_none_or(|bound| number < bound)
            && bound("multipleOf").is_none_or(is_multiple)
    })
}

/// Texts of a format.
pub(super) fn of_format(format: &str) -> &'static [&'static str] {
    match format {
        "date" => &["2026-02-28", "1999-12-31"],
        "date-time" => &["2026-02-28T12:00:00Z", "1999-12-31T23:59:59.5+01:00"],
        "time" => &["12:00:00Z", "23:59:59.5+01:00"],
        "duration" => &["P1D", "PT1H30M"],
        "uuid" => &[
            "0e1c1d2e-3b4a-4c5d-8e6f-7a8b9c0d1e2f",
            "ABCDEF01-2345-4789-8ABC-DEF012345678",
        ],
        "email" | "idn-email" => &["a@b.example", "first.last@shop.example"],
        "hostname" | "idn-hostname" => &["a.example", "shop.example"],
        "ipv4" => &["192.0.2.1", "198.51.100.7"],
        "ipv6" => &["2001:db8::1", "::"],
        "uri" | "iri" => &["https://a.example/", "urn:a:b"],
        "uri-reference" | "iri-reference" => &["a", "https://a.example/?q=1"],
        "json-pointer" => &["", "/a"],
        "regex" => &["a", "^[0-9]+$"],
        _ => &[],
    }
}
