//! Steps that turn several values into several others: names, order keys, amounts with their currency, pages.

mod currency;
mod image;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

use super::arithmetic::{self, Ratio};
use super::convert::{Plain, shown};
use super::program::Abstract;
use super::spec::{DecimalForm, MoreParts};
use crate::json::{Kind, Value};

/// Turns values into others, in one direction.
pub(super) trait Combination: Abstract + fmt::Debug + Send + Sync {
    /// `taken` are the values of its fields, at least one of them present and none `null`; `seen` the texts of values
    /// that stay where they are. One result for each field it fills. The error is a phrase that names the value.
    fn combine(&self, taken: &[Option<Value<'_>>], seen: &[Option<Cow<'_, str>>]) -> Result<Made, String>;
}

/// What a combination made, field by field.
pub(super) type Made = Vec<Option<Plain<'static>>>;

/// One text to several.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) count: usize,
    pub(super) separator: Box<str>,
    pub(super) more: MoreParts,
}

impl Combination for Split {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let text = text_of(taken[0])?.unwrap_or_default();
        let mut parts: Vec<&str> = match self.more {
            MoreParts::Error => text.split(&*self.separator).collect(),
            MoreParts::Last => text.splitn(self.count, &*self.separator).collect(),
        };
        if parts.len() > self.count {
            return Err(format!(
                "{} has {} parts where {} can be carried",
                shown(&text),
                parts.len(),
                self.count
            ));
        }
        // An empty part would be left out on the way back, and its separator with it.
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("{} has an empty part", shown(&text)));
        }
        let mut made: Made = parts.drain(..).map(|part| Some(owned(part))).collect();
        made.resize_with(self.count, || None);
        Ok(made)
    }
}

/// Several texts to one.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) separator: Box<str>,
    pub(super) more: MoreParts,
}

impl Combination for Join {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let mut joined = String::new();
        let mut has_ended = false;
        for (position, value) in taken.iter().enumerate() {
            let Some(text) = text_of(*value)? else {
                has_ended = true;
                continue;
            };
            if has_ended {
                return Err(format!("{} follows a part that is not there", shown(&text)));
            }
            let is_last = position + 1 == taken.len() && self.more == MoreParts::Last;
            if text.is_empty() || (!is_last && text.contains(&*self.separator)) {
                return Err(format!(
                    "{} could not be told apart from its neighbours on the way back",
                    shown(&text)
                ));
            }
            if position > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(&text);
        }
        Ok(vec![Some(Plain::Text(joined.into()))])
    }
}

/// Texts with parts to other texts with the same parts.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) from: Vec<Template>,
    pub(super) to: Vec<Template>,
}

/// How a text with parts is written.
#[derive(Clone, Debug)]
pub(super) struct Template {
    written: Box<str>,
    /// Literal text and names of parts, in turns: text, part, text.
    pieces: Vec<Piece>,
    /// The regular expressions of its parts.
    expressions: BTreeMap<Box<str>, Box<str>>,
    regex: Regex,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<str>),
    Part(Box<str>),
}

impl Template {
    /// Reads `{part}` texts. Each part has its regular expression. The error is a phrase.
    pub(super) fn parse(written: &str, parts: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut expressions = BTreeMap::new();
        let mut regex = "^(?:".to_owned();
        let mut rest = written;
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`{written}` opens a brace and does not close it"));
            };
            let expression = parts
                .get(name)
                .ok_or_else(|| format!("`{{{name}}}` is none of the parts"))?;
            if pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Part(other) if **other == *name))
            {
                return Err(format!("`{{{name}}}` stands twice in `{written}`"));
            }
            let alone = Regex::new(&format!("^(?:{expression})$"))
                .map_err(|error| format!("the part `{name}` is no regular expression: {error}"))?;
            if alone.captures_len() > 1 {
                return Err(format!("the part `{name}` has a group that captures; write it `(?:…)`"));
            }
            regex.push_str(&regex::escape(literal));
            regex.extend(["(?<", name, ">", expression, ")"]);
            expressions.insert(name.into(), expression.as_str().into());
            pieces.push(Piece::Literal(literal.into()));
            pieces.push(Piece::Part(name.into()));
            rest = after;
        }
        regex.push_str(&regex::escape(rest));
        regex.push_str(")$");
        pieces.push(Piece::Literal(rest.into()));
        let regex = Regex::new(&regex).map_err(|_| {
            format!("`{written}` cannot be read: names of parts are letters, digits and `_`, and begin with a letter")
        })?;
        Ok(Self {
            written: written.into(),
            pieces,
            expressions,
            regex,
        })
    }

    /// The names of its parts.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Part(name) => Some(&**name),
            Piece::Literal(_) => None,
        })
    }

    /// The regular expression of a part.
    fn expression(&self, part: &str) -> &str {
        self.expressions.get(part).map_or("", |expression| expression)
    }

    fn read<'t>(&'t self, text: &'t str) -> Option<Vec<(&'t str, &'t str)>> {
        let found = self.regex.captures(text)?;
        self.parts()
            .map(|name| Some((name, found.name(name)?.as_str())))
            .collect()
    }

    /// `None` if a part is not known.
    fn write(&self, parts: &BTreeMap<Box<str>, String>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Part(name) => text.push_str(parts.get(name)?),
            }
        }
        Some(text)
    }
}

impl Combination for Pattern {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let mut parts: BTreeMap<Box<str>, String> = BTreeMap::new();
        for (template, value) in self.from.iter().zip(taken) {
            let Some(text) = text_of(*value)? else { continue };
            let read = template
                .read(&text)
                .ok_or_else(|| format!("{} is not written as `{}`", shown(&text), template.written))?;
            for (name, part) in read {
                match parts.get(name) {
                    Some(other) if other != part => {
                        return Err(format!("two values for `{name}`: {} and {}", shown(other), shown(part)));
                    }
                    _ => parts.insert(name.into(), part.to_owned()),
                };
            }
        }
        let mut made = Vec::with_capacity(self.to.len());
        for template in &self.to {
            let Some(text) = template.write(&parts) else {
                made.push(None);
                continue;
            };
            // What could be read in two ways would not come back as it was.
            let is_clear = template.read(&text).is_some_and(|read| {
                read.iter()
                    .all(|(name, part)| parts.get(*name).is_some_and(|known| known == part))
            });
            if !is_clear {
                return Err(format!("{} could not be read back part by part", shown(&text)));
            }
            made.push(Some(Plain::Text(text.into())));
        }
        Ok(made)
    }
}

/// An amount to a whole number of its currency's smallest unit.
#[derive(Debug)]
pub(super) struct ToMinorUnits;

impl Combination for ToMinorUnits {
    fn combine(&self, taken: &[Option<Value<'_>>], seen: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let amount = decimal_of(taken[0])?;
        let by = Ratio::parse(&format!("1{}", "0".repeat(exponent(seen)?)))?;
        let minor = by.apply(&amount, None)?;
        let minor = arithmetic::number(&minor)?.normalize();
        if minor.scale() > 0 {
            return Err(format!(
                "{} has digits below the currency's smallest unit, and nothing is rounded",
                shown(&amount)
            ));
        }
        Ok(vec![Some(Plain::Number(minor.to_string().into()))])
    }
}

/// A whole number of a currency's smallest unit to an amount.
#[derive(Debug)]
pub(super) struct FromMinorUnits {
    pub(super) form: DecimalForm,
}

impl Combination for FromMinorUnits {
    fn combine(&self, taken: &[Option<Value<'_>>], seen: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let minor = decimal_of(taken[0])?;
        let mut amount = arithmetic::number(&minor)?.normalize();
        if amount.scale() > 0 {
            return Err(format!("{} is no whole number", shown(&minor)));
        }
        let by = Ratio::parse(&format!("1/1{}", "0".repeat(exponent(seen)?)))?;
        amount = arithmetic::number(&by.apply(&amount.to_string(), None)?)?;
        // All of the currency's digits are written.
        amount.rescale(u32::try_from(exponent(seen)?).unwrap_or_default());
        Ok(vec![Some(formed(amount.to_string(), self.form))])
    }
}

/// Digits after the point of the currency that was seen.
fn exponent(seen: &[Option<Cow<'_, str>>]) -> Result<usize, String> {
    let Some(Some(code)) = seen.first() else {
        return Err("an amount without its currency".to_owned());
    };
    currency::exponent(code).ok_or_else(|| format!("{} is no currency of ISO 4217", shown(code)))
}

/// A quantity and its unit to a quantity in one unit.
#[derive(Debug)]
pub(super) struct ToUnit {
    pub(super) factors: BTreeMap<Box<str>, Ratio>,
    pub(super) round: Option<u8>,
}

impl Combination for ToUnit {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let (Some(value), Some(unit)) = (taken[0], text_of(taken[1])?) else {
            return Err("a quantity and its unit of which only one is there".to_owned());
        };
        let factor = self
            .factors
            .get(&*unit)
            .ok_or_else(|| format!("the unit {} has no factor", shown(&unit)))?;
        let scaled = factor.apply(&decimal_of(Some(value))?, self.round)?;
        Ok(vec![Some(like(value, scaled))])
    }
}

/// A quantity in one unit to a quantity and its unit.
#[derive(Debug)]
pub(super) struct FromUnit {
    pub(super) factor: Ratio,
    pub(super) unit: Box<str>,
    pub(super) round: Option<u8>,
}

impl Combination for FromUnit {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let scaled = self.factor.apply(&decimal_of(taken[0])?, self.round)?;
        let value = taken[0].map(|value| like(value, scaled));
        Ok(vec![value, Some(owned(&self.unit))])
    }
}

/// A page's number and size to an offset and a limit.
#[derive(Debug)]
pub(super) struct ToOffset {
    pub(super) first: u64,
    pub(super) default: u64,
}

impl Combination for ToOffset {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let (page, size) = (
            whole(taken[0])?.unwrap_or(self.first),
            whole(taken[1])?.unwrap_or(self.default),
        );
        let before = page
            .checked_sub(self.first)
            .ok_or_else(|| format!("page {page} where the first is {}", self.first))?;
        let offset = before
            .checked_mul(size)
            .ok_or_else(|| format!("page {page} of {size} items is beyond every list"))?;
        Ok(alike(taken, [offset, size]))
    }
}

/// An offset and a limit to a page's number and size.
#[derive(Debug)]
pub(super) struct ToPage {
    pub(super) first: u64,
    pub(super) default: u64,
}

impl Combination for ToPage {
    fn combine(&self, taken: &[Option<Value<'_>>], _: &[Option<Cow<'_, str>>]) -> Result<Made, String> {
        let (offset, limit) = (whole(taken[0])?.unwrap_or(0), whole(taken[1])?.unwrap_or(self.default));
        if limit == 0 || offset % limit != 0 {
            return Err(format!(
                "the offset {offset} is no multiple of the limit {limit}, so it is no page"
            ));
        }
        let page = (offset / limit)
            .checked_add(self.first)
            .ok_or_else(|| format!("the offset {offset} is beyond every list"))?;
        Ok(alike(taken, [page, limit]))
    }
}

/// In a body pages are numbers, in a query they are text.
fn alike(taken: &[Option<Value<'_>>], made: [u64; 2]) -> Made {
    let is_number = taken.iter().flatten().any(|value| value.kind() == Kind::Number);
    let form = if is_number {
        DecimalForm::Number
    } else {
        DecimalForm::String
    };
    made.map(|number| Some(formed(number.to_string(), form))).into()
}

fn whole(value: Option<Value<'_>>) -> Result<Option<u64>, String> {
    let Some(value) = value else { return Ok(None) };
    let text = decimal_of(Some(value))?;
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!("{} is no whole number", shown(&text))),
    }
}

fn text_of(value: Option<Value<'_>>) -> Result<Option<Cow<'_, str>>, String> {
    match value {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err("something else where text is expected".to_owned()),
        },
    }
}

/// The digits of a number, or of a text that is one.
fn decimal_of(value: Option<Value<'_>>) -> Result<Cow<'_, str>, String> {
    let text = value.and_then(|value| match value.kind() {
        Kind::Number => Some(Cow::Borrowed(value.raw())),
        Kind::String => value.as_str(),
        _ => None,
    });
    text.ok_or_else(|| "something else where a number is expected".to_owned())
}

/// Written as the value it is made of: a number or text.
fn like(value: Value<'_>, digits: String) -> Plain<'static> {
    let form = if value.kind() == Kind::Number {
        DecimalForm::Number
    } else {
        DecimalForm::String
    };
    formed(digits, form)
}

fn formed(digits: String, form: DecimalForm) -> Plain<'static> {
    match form {
        DecimalForm::String => Plain::Text(digits.into()),
        DecimalForm::Number => Plain::Number(digits.into()),
    }
}

fn owned(text: &str) -> Plain<'static> {
    Plain::Text(Cow::Owned(text.to_owned()))
}

#[cfg(test)]
mod tests;
