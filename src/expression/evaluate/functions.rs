//! What the functions of the language do.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use jiff::Span;
use jiff::Timestamp;
use jiff::civil::Date;

use super::{EvaluationError, Machine, Result, number_of, steps_for, unfit};
use crate::expression::date::DatePattern;
use crate::expression::node::{Call, Node};
use crate::expression::number::Number;
use crate::expression::value::Val;

/// Most characters of a value that a message quotes.
const SHOWN: usize = 60;

impl<'v> Machine<'v, '_> {
    /// The value of a function. The checker has seen to the number of its arguments.
    #[expect(clippy::too_many_lines, reason = "one table, a row per function")]
    pub(super) fn call(&mut self, call: &'v Call, arguments: &'v [Node]) -> Result<Val<'v>> {
        let at = |position: usize| arguments.get(position).unwrap_or(&Node::Absent);
        Ok(match call {
            Call::Size => {
                let value = self.value(at(0))?;
                let size = match &value {
                    Val::Text(text) => {
                        self.look(&value)?;
                        text.chars().count()
                    }
                    _ => value.count().ok_or_else(|| unfit(&value, "a string or a list"))?,
                };
                count(size)
            }
            Call::Contains => {
                let (text, part) = (self.text(at(0))?, self.text(at(1))?);
                self.spend(steps_for(text.len()))?;
                Val::Bool(text.contains(&*part))
            }
            Call::StartsWith => Val::Bool(self.text(at(0))?.starts_with(&*self.text(at(1))?)),
            Call::EndsWith => Val::Bool(self.text(at(0))?.ends_with(&*self.text(at(1))?)),
            Call::Matches(regex) => {
                let text = self.text(at(0))?;
                self.spend(steps_for(text.len()) * 8)?;
                Val::Bool(regex.is_match(&text))
            }
            Call::Substring => {
                let text = self.text(at(0))?;
                let start = place(self.whole(at(1))?);
                let end = match arguments.get(2) {
                    Some(end) => place(self.whole(end)?),
                    None => usize::MAX,
                };
                self.spend(steps_for(text.len()))?;
                let bytes = byte_of(&text, start)..byte_of(&text, end.max(start));
                self.part(text, bytes)?
            }
            Call::Upper => self.changed(at(0), str::to_uppercase)?,
            Call::Lower => self.changed(at(0), str::to_lowercase)?,
            Call::Trim => {
                let text = self.text(at(0))?;
                let start = text.len() - text.trim_start().len();
                let end = start + text.trim().len();
                self.part(text, start..end)?
            }
            Call::Replace => {
                let (text, from, to) = (self.text(at(0))?, self.text(at(1))?, self.text(at(2))?);
                self.spend(steps_for(text.len()))?;
                let count = text.matches(&*from).count();
                self.keep((text.len() + count.saturating_mul(to.len())).saturating_sub(count * from.len()))?;
                Val::Text(Cow::Owned(text.replace(&*from, &to)))
            }
            Call::Split => {
                let (text, separator) = (self.text(at(0))?, self.text(at(1))?);
                let mut parts = Vec::new();
                match text {
                    Cow::Borrowed(text) => {
                        for part in text.split(&*separator) {
                            self.push(&mut parts, Val::Text(Cow::Borrowed(part)))?;
                        }
                    }
                    Cow::Owned(text) => {
                        for part in text.split(&*separator) {
                            self.keep(part.len())?;
                            self.push(&mut parts, Val::Text(Cow::Owned(part.to_owned())))?;
                        }
                    }
                }
                Val::List(parts.into())
            }
            Call::Join => {
                let separator = match arguments.get(1) {
                    Some(separator) => self.text(separator)?,
                    None => Cow::Borrowed(""),
                };
                let mut joined = String::new();
                for (position, item) in self.items(at(0))?.enumerate() {
                    let Val::Text(item) = item else {
                        return Err(unfit(&item, "a string"));
                    };
                    let between = if position > 0 { &*separator } else { "" };
                    self.keep(between.len() + item.len() + 1)?;
                    joined.push_str(between);
                    joined.push_str(&item);
                }
                Val::Text(Cow::Owned(joined))
            }
            Call::Pad => self.padded(arguments, true)?,
            Call::PadEnd => self.padded(arguments, false)?,
            Call::Format(texts) => {
                let mut made = String::new();
                for (position, text) in texts.iter().enumerate() {
                    if let Some(node) = position.checked_sub(1).and_then(|before| arguments.get(before)) {
                        let value = self.value(node)?;
                        let value = value.text().ok_or_else(|| unfit(&value, "a scalar"))?;
                        self.keep(value.len())?;
                        made.push_str(&value);
                    }
                    self.keep(text.len())?;
                    made.push_str(text);
                }
                Val::Text(Cow::Owned(made))
            }
            Call::ToString => {
                let value = self.value(at(0))?;
                Val::Text(value.text().ok_or_else(|| unfit(&value, "a scalar"))?)
            }
            Call::AnyToString => {
                let value = self.value(at(0))?;
                Val::Text(value.text().ok_or_else(|| failed(&value, "a string"))?)
            }
            Call::ToInt => {
                let value = self.value(at(0))?;
                let number = decimal(&value).ok_or_else(|| failed(&value, "a whole number"))?;
                if !number_of(&number)?.is_whole() {
                    return Err(failed(&value, "a whole number"));
                }
                number
            }
            Call::ToDecimal => {
                let value = self.value(at(0))?;
                decimal(&value).ok_or_else(|| failed(&value, "a number"))?
            }
            Call::ToBool => {
                let value = self.value(at(0))?;
                match &value {
                    Val::Bool(_) => value,
                    Val::Text(text) if text == "true" => Val::Bool(true),
                    Val::Text(text) if text == "false" => Val::Bool(false),
                    _ => return Err(failed(&value, "true or false")),
                }
            }
            Call::ToList => {
                let value = self.value(at(0))?;
                if value.count().is_none() {
                    return Err(failed(&value, "a list"));
                }
                value
            }
            Call::Concatenate => {
                let (one, other) = (self.text(at(0))?, self.text(at(1))?);
                self.keep(one.len() + other.len())?;
                let mut text = one.into_owned();
                text.push_str(&other);
                Val::Text(Cow::Owned(text))
            }
            Call::ConcatenateLists => {
                let mut items = Vec::new();
                for list in arguments {
                    for item in self.items(list)? {
                        self.push(&mut items, item)?;
                    }
                }
                Val::List(items.into())
            }
            Call::Abs => Val::Number(self.number(at(0))?.abs()?),
            Call::Smallest => self.extreme(arguments, Ordering::Less)?,
            Call::Largest => self.extreme(arguments, Ordering::Greater)?,
            Call::Least => self.extreme_item(at(0), Ordering::Less)?,
            Call::Most => self.extreme_item(at(0), Ordering::Greater)?,
            Call::Sum => {
                let mut sum = Number::ZERO;
                for item in self.items(at(0))? {
                    self.spend(1)?;
                    sum = sum.add(number_of(&item)?)?;
                }
                Val::Number(sum)
            }
            Call::First => self.items(at(0))?.next().unwrap_or(Val::Absent),
            Call::Last => {
                let items = self.value(at(0))?;
                self.spend(items.count().unwrap_or_default())?;
                let items = items.items().ok_or_else(|| unfit(&items, "a list"))?;
                items.last().unwrap_or(Val::Absent)
            }
            Call::Distinct => {
                let (mut seen, mut items) = (HashSet::new(), Vec::new());
                for item in self.items(at(0))? {
                    let key = match &item {
                        Val::Digits(_) | Val::Number(_) => number_of(&item)?.canonical_text(),
                        other => other
                            .text()
                            .map(Cow::into_owned)
                            .ok_or_else(|| unfit(other, "a scalar"))?,
                    };
                    self.keep(key.len())?;
                    if seen.insert(key) {
                        self.push(&mut items, item)?;
                    }
                }
                Val::List(items.into())
            }
            Call::Sort => {
                let mut keyed = Vec::new();
                for item in self.items(at(0))? {
                    self.keep(size_of::<Val<'_>>() * 2)?;
                    keyed.push((item.clone(), item));
                }
                self.sorted(keyed)?
            }
            Call::ParseDate(pattern) => {
                let text = self.text(at(0))?;
                let date = pattern.read(&text).ok_or_else(|| {
                    EvaluationError::Failed(format!("{} is not a day written as {}", shown(&text), pattern.text))
                })?;
                Val::Date(date)
            }
            Call::ParseTimestamp => {
                let text = self.text(at(0))?;
                let time = text.parse::<Timestamp>().map_err(|_| {
                    let text = shown(&text);
                    EvaluationError::Failed(format!("{text} is not a time written as 2026-11-20T18:00:00Z"))
                })?;
                Val::Timestamp(time)
            }
            Call::AsDate => Val::Date(self.date(at(0))?),
            Call::AsTimestamp => Val::Timestamp(self.timestamp(at(0))?),
            Call::DateIn(zone) => Val::Date(self.timestamp(at(0))?.to_zoned(zone.clone()).date()),
            Call::FormatDate(pattern) => {
                let date = self.date(at(0))?;
                let text = pattern.write(date);
                self.keep(text.len())?;
                Val::Text(Cow::Owned(text))
            }
            Call::AddDays => self.days_from(arguments, 1)?,
            Call::SubtractDays => self.days_from(arguments, -1)?,
            Call::DaysBetween => {
                let (one, other) = (self.date(at(0))?, self.date(at(1))?);
                Val::Number((other.duration_until(one).as_hours() / 24).into())
            }
            Call::Year => Val::Number(i64::from(self.date(at(0))?.year()).into()),
            Call::Month => Val::Number(i64::from(self.date(at(0))?.month()).into()),
            Call::Day => Val::Number(i64::from(self.date(at(0))?.day()).into()),
            Call::Weekday => {
                let weekday = self.date(at(0))?.weekday().to_monday_one_offset();
                Val::Number(i64::from(weekday).into())
            }
            Call::Lookup(table, name) => {
                let code = self.text(at(0))?;
                let found = table
                    .find(&code)
                    .ok_or_else(|| EvaluationError::Failed(format!("table {name} has no row for {}", shown(&code))))?;
                Val::Text(Cow::Borrowed(found))
            }
        })
    }

    /// A part of a text, borrowed where the text is.
    fn part(&mut self, text: Cow<'v, str>, bytes: std::ops::Range<usize>) -> Result<Val<'v>> {
        Ok(Val::Text(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[bytes]),
            Cow::Owned(text) => {
                self.keep(bytes.len())?;
                Cow::Owned(text[bytes].to_owned())
            }
        }))
    }

    fn changed(&mut self, node: &'v Node, change: impl Fn(&str) -> String) -> Result<Val<'v>> {
        let text = self.text(node)?;
        // Capitals are at most three times as long.
        self.keep(text.len() * 3)?;
        Ok(Val::Text(Cow::Owned(change(&text))))
    }

    fn padded(&mut self, arguments: &'v [Node], in_front: bool) -> Result<Val<'v>> {
        let [text, width, filler] = arguments else {
            return Ok(Val::Absent);
        };
        let text = self.text(text)?;
        let width = place(self.whole(width)?);
        let filler = self.text(filler)?;
        self.spend(steps_for(text.len()))?;
        let missing = width.saturating_sub(text.chars().count());
        if missing == 0 {
            return Ok(Val::Text(text));
        }
        self.keep(text.len().saturating_add(missing.saturating_mul(filler.len())))?;
        let filler = filler.repeat(missing);
        Ok(Val::Text(Cow::Owned(if in_front {
            filler + &text
        } else {
            text.into_owned() + &filler
        })))
    }

    fn extreme(&mut self, arguments: &'v [Node], wanted: Ordering) -> Result<Val<'v>> {
        let mut extreme: Option<Val<'v>> = None;
        for node in arguments {
            let value = self.value(node)?;
            extreme = Some(further(extreme, value, wanted)?);
        }
        Ok(extreme.unwrap_or(Val::Absent))
    }

    fn extreme_item(&mut self, list: &'v Node, wanted: Ordering) -> Result<Val<'v>> {
        let mut extreme: Option<Val<'v>> = None;
        for item in self.items(list)? {
            self.spend(1)?;
            extreme = Some(further(extreme, item, wanted)?);
        }
        Ok(extreme.unwrap_or(Val::Absent))
    }

    fn date(&mut self, node: &'v Node) -> Result<Date> {
        match self.value(node)? {
            Val::Date(date) => Ok(date),
            Val::Text(text) => DatePattern::iso()
                .read(&text)
                .ok_or_else(|| unfit(&Val::Text(text), "a day")),
            other => Err(unfit(&other, "a day")),
        }
    }

    fn timestamp(&mut self, node: &'v Node) -> Result<Timestamp> {
        match self.value(node)? {
            Val::Timestamp(time) => Ok(time),
            Val::Text(text) => text.parse().map_err(|_| unfit(&Val::Text(text), "a time")),
            other => Err(unfit(&other, "a time")),
        }
    }

    fn days_from(&mut self, arguments: &'v [Node], sign: i64) -> Result<Val<'v>> {
        let [date, days] = arguments else {
            return Ok(Val::Absent);
        };
        let date = self.date(date)?;
        let days = self.whole(days)?.checked_mul(sign);
        let span = days.and_then(|days| Span::new().try_days(days).ok());
        let moved = span.and_then(|span| date.checked_add(span).ok());
        moved.map(Val::Date).ok_or(EvaluationError::Overflow)
    }
}

/// A number, or text that is one.
fn decimal<'v>(value: &Val<'v>) -> Option<Val<'v>> {
    match value {
        Val::Digits(_) | Val::Number(_) => Some(value.clone()),
        Val::Text(text) => crate::json::Decimal::parse(text).map(|_| Val::Digits(text.clone())),
        _ => None,
    }
}

fn further<'v>(best: Option<Val<'v>>, value: Val<'v>, wanted: Ordering) -> Result<Val<'v>> {
    let Some(best) = best else { return Ok(value) };
    let order = value
        .compare(&best)
        .ok_or_else(|| unfit(&value, "what it is compared with"))?;
    Ok(if order == wanted { value } else { best })
}

fn count<'v>(size: usize) -> Val<'v> {
    Val::Number(i64::try_from(size).unwrap_or(i64::MAX).into())
}

/// A position in a text; before the start is the start.
fn place(position: i64) -> usize {
    usize::try_from(position.max(0)).unwrap_or(usize::MAX)
}

/// Where the character of this number starts, or the text ends.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

fn failed(value: &Val<'_>, wanted: &str) -> EvaluationError {
    let found = match value {
        Val::Text(text) => shown(text),
        other => other
            .text()
            .map_or_else(|| other.name().to_owned(), |text| shown(&text)),
    };
    EvaluationError::Failed(format!("{found} is not {wanted}"))
}

/// A value for a message, shortened.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}
