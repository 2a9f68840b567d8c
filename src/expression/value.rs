//! Values while an expression is evaluated: borrowed from the document wherever they come from there.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::number::Number;
use crate::json::{Decimal, Elements, Kind, Out, Value};

/// What a variable stands for.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'v> {
    /// Nothing.
    Absent,
    /// A value of a document.
    Json(Value<'v>),
    /// A value on its way out.
    Out(&'v Out<'v>),
    /// A string.
    Text(&'v str),
}

/// A value. Documents' scalars are read at once, so that `Json` and `Out` are lists and objects.
#[derive(Clone, Debug)]
pub(super) enum Val<'v> {
    Absent,
    Null,
    Bool(bool),
    /// A number as it was written.
    Digits(Cow<'v, str>),
    Number(Number),
    Text(Cow<'v, str>),
    Date(Date),
    Timestamp(Timestamp),
    Json(Value<'v>),
    Out(&'v Out<'v>),
    List(Rc<Vec<Val<'v>>>),
    Record(Rc<Vec<(Cow<'v, str>, Val<'v>)>>),
}

impl<'v> From<Binding<'v>> for Val<'v> {
    fn from(binding: Binding<'v>) -> Self {
        match binding {
            Binding::Absent => Self::Absent,
            Binding::Json(value) => value.into(),
            Binding::Out(out) => out.into(),
            Binding::Text(text) => Self::Text(Cow::Borrowed(text)),
        }
    }
}

impl<'v> From<Value<'v>> for Val<'v> {
    fn from(value: Value<'v>) -> Self {
        match value.kind() {
            Kind::Null => Self::Null,
            Kind::Bool => Self::Bool(value.as_bool() == Some(true)),
            Kind::Number => Self::Digits(Cow::Borrowed(value.raw())),
            Kind::String => Self::Text(value.as_str().unwrap_or_default()),
            Kind::Array | Kind::Object => Self::Json(value),
        }
    }
}

impl<'v> From<&'v Out<'v>> for Val<'v> {
    fn from(out: &'v Out<'v>) -> Self {
        match out {
            Out::Absent => Self::Absent,
            Out::Null => Self::Null,
            Out::Bool(value) => Self::Bool(*value),
            Out::Num(digits) => Self::Digits(Cow::Borrowed(digits)),
            Out::Str(text) => Self::Text(Cow::Borrowed(text)),
            Out::Raw(value) => (*value).into(),
            Out::Arr(_) | Out::Obj(_) => Self::Out(out),
        }
    }
}

impl<'v> Val<'v> {
    /// Neither absent nor `null`.
    pub(super) fn is_something(&self) -> bool {
        !matches!(self, Self::Absent | Self::Null)
    }

    /// The field of this name; absent if there is none, or this is no object.
    pub(super) fn field(&self, name: &str) -> Self {
        match self {
            Self::Json(value) => value.get(name).map_or(Self::Absent, Self::from),
            Self::Out(Out::Obj(members)) => members
                .iter()
                .find(|(member, value)| member == name && !matches!(value, Out::Absent))
                .map_or(Self::Absent, |(_, value)| value.into()),
            Self::Record(members) => members
                .iter()
                .find(|(member, _)| member == name)
                .map_or(Self::Absent, |(_, value)| value.clone()),
            _ => Self::Absent,
        }
    }

    /// The items, if this is a list.
    pub(super) fn items(&self) -> Option<Items<'v>> {
        match self {
            Self::Json(value) if value.kind() == Kind::Array => Some(Items::Json(value.elements())),
            Self::Out(Out::Arr(items)) => Some(Items::Out(items.iter())),
            Self::List(items) => Some(Items::Made(items.clone(), 0)),
            _ => None,
        }
    }

    /// How many items, if this is a list.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::Json(value) if value.kind() == Kind::Array => Some(value.len()),
            Self::Out(Out::Arr(items)) => Some(items.len()),
            Self::List(items) => Some(items.len()),
            _ => None,
        }
    }

    /// Names and values, if this is an object.
    fn members(&self) -> Option<Vec<(Cow<'v, str>, Self)>> {
        match self {
            Self::Json(value) if value.kind() == Kind::Object => {
                let members = value.members();
                Some(members.map(|(name, value)| (name.text(), value.into())).collect())
            }
            Self::Out(Out::Obj(members)) => Some(
                members
                    .iter()
                    .filter(|(_, value)| !matches!(value, Out::Absent))
                    .map(|(name, value)| (Cow::Borrowed(&**name), value.into()))
                    .collect(),
            ),
            Self::Record(members) => Some(members.to_vec()),
            _ => None,
        }
    }

    /// Roughly how many bytes it takes to look at all of it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Json(value) => value.raw().len(),
            Self::Out(Out::Arr(items)) => items.iter().map(|item| Self::from(item).weight() + 8).sum(),
            Self::Out(Out::Obj(members)) => members
                .iter()
                .map(|(name, value)| name.len() + Self::from(value).weight() + 8)
                .sum(),
            Self::List(items) => items.iter().map(|item| item.weight() + 8).sum(),
            Self::Record(members) => members
                .iter()
                .map(|(name, value)| name.len() + value.weight() + 8)
                .sum(),
            Self::Text(text) | Self::Digits(text) => text.len(),
            _ => 8,
        }
    }

    /// Whether both say the same: numbers by value, objects in any order of their members.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) | (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Digits(one), Self::Digits(other)) if one == other => true,
            (Self::Digits(_) | Self::Number(_), Self::Digits(_) | Self::Number(_)) => {
                self.compare(other) == Some(Ordering::Equal)
            }
            (Self::Date(one), Self::Date(other)) => one == other,
            (Self::Timestamp(one), Self::Timestamp(other)) => one == other,
            (Self::Date(date), Self::Text(text)) | (Self::Text(text), Self::Date(date)) => date.to_string() == **text,
            (Self::Timestamp(time), Self::Text(text)) | (Self::Text(text), Self::Timestamp(time)) => {
                text.parse::<Timestamp>().is_ok_and(|other| other == *time)
            }
            _ => match (self.items(), other.items(), self.members(), other.members()) {
                (Some(mut one), Some(mut other), ..) => loop {
                    match (one.next(), other.next()) {
                        (None, None) => break true,
                        (Some(one), Some(other)) if one.equals(&other) => {}
                        _ => break false,
                    }
                },
                (_, _, Some(one), Some(mut other)) => {
                    // Sorted, since a search per member would cost their product.
                    let mut one = one;
                    one.sort_by(|(one, _), (other, _)| one.cmp(other));
                    other.sort_by(|(one, _), (other, _)| one.cmp(other));
                    one.len() == other.len()
                        && one
                            .iter()
                            .zip(&other)
                            .all(|((name, value), (other_name, other))| name == other_name && value.equals(other))
                }
                _ => false,
            },
        }
    }

    /// Which comes first. `None` if they are not two of a kind that has an order.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Digits(_) | Self::Number(_), Self::Digits(_) | Self::Number(_)) => {
                if let (Some(one), Some(other)) = (self.number(), other.number()) {
                    return Some(one.cmp(&other));
                }
                // More digits than are computed with, but they can be compared.
                let (one, other) = (self.digits()?, other.digits()?);
                Decimal::parse(&one)?.cmp(&Decimal::parse(&other)?)
            }
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Date(one), Self::Date(other)) => one.cmp(other),
            (Self::Timestamp(one), Self::Timestamp(other)) => one.cmp(other),
            _ => return None,
        })
    }

    /// The number, if it is one that can be computed with.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Digits(text) => Number::parse(text),
            _ => None,
        }
    }

    /// A number as JSON writes it.
    fn digits(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Number(number) => Some(Cow::Owned(number.text())),
            Self::Digits(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// A scalar as text: digits without an exponent, days and times as JSON writes them.
    pub(super) fn text(&self) -> Option<Cow<'v, str>> {
        Some(match self {
            Self::Digits(text) if text.contains(['e', 'E']) => match Number::parse(text) {
                Some(number) => Cow::Owned(number.text()),
                None => text.clone(),
            },
            Self::Text(text) | Self::Digits(text) => text.clone(),
            Self::Number(number) => Cow::Owned(number.text()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Date(date) => Cow::Owned(date.to_string()),
            Self::Timestamp(time) => Cow::Owned(time.to_string()),
            _ => return None,
        })
    }

    /// What it is, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Digits(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Date(_) => "a date",
            Self::Timestamp(_) => "a timestamp",
            _ if self.count().is_some() => "a list",
            Self::List(_) | Self::Record(_) | Self::Json(_) | Self::Out(_) => "an object",
        }
    }

    /// As JSON. Nothing if it is absent; absent members are left out.
    pub(super) fn into_out(self) -> Option<Out<'v>> {
        Some(match self {
            Self::Absent => return None,
            Self::Null => Out::Null,
            Self::Bool(value) => Out::Bool(value),
            Self::Digits(text) => Out::Num(text),
            Self::Number(number) => Out::Num(Cow::Owned(number.text())),
            Self::Text(text) => Out::Str(text),
            Self::Date(date) => Out::Str(Cow::Owned(date.to_string())),
            Self::Timestamp(time) => Out::Str(Cow::Owned(time.to_string())),
            Self::Json(value) => Out::Raw(value),
            Self::Out(out) => out.clone(),
            Self::List(items) => Out::Arr(
                Rc::unwrap_or_clone(items)
                    .into_iter()
                    .map(|item| item.into_out().unwrap_or(Out::Null))
                    .collect(),
            ),
            Self::Record(members) => Out::Obj(
                Rc::unwrap_or_clone(members)
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value.into_out()?)))
                    .collect(),
            ),
        })
    }
}

/// The items of a list.
pub(super) enum Items<'v> {
    Json(Elements<'v>),
    Out(std::slice::Iter<'v, Out<'v>>),
    Made(Rc<Vec<Val<'v>>>, usize),
}

impl<'v> Iterator for Items<'v> {
    type Item = Val<'v>;

    fn next(&mut self) -> Option<Val<'v>> {
        match self {
            Self::Json(elements) => elements.next().map(Val::from),
            Self::Out(items) => items.next().map(Val::from),
            Self::Made(items, next) => {
                let item = items.get(*next)?.clone();
                *next += 1;
                Some(item)
            }
        }
    }
}
