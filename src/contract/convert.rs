//! What happens to a single value on its way between versions: codes, decimals, dates, padding.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::arithmetic::Ratio;
use super::book::{Book, Found};
use super::lookup::{Answer, Answers, Lookup};
use super::spec::{DateForm, DecimalForm, Direction, LetterCase, More, Nothing, Scalar};
use crate::json::{Builder, Decimal, Kind, MemberName, Value};

/// A change of one value, in one direction. A value that it does not fit is an error, never a guess.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Carried as it is.
    Keep,
    /// A list of one.
    Wrap,
    /// The only item of a list.
    Single { more: More, separator: Arc<str> },
    /// A code by its table.
    Table(Arc<Codes>),
    /// A key of one system to another's.
    Lookup(Arc<Keys>),
    /// A number to text.
    NumberToText { scale: Option<u8>, pad: bool },
    /// Text to a number.
    TextToNumber { scale: Option<u8> },
    /// From one way of writing a date to another.
    Date(Arc<DateChange>),
    /// Leading padding off.
    Strip { char: char, width: u8 },
    /// Leading padding on.
    Pad { char: char, width: u8 },
    /// A code to true or false.
    ToBool(Arc<YesNo>),
    /// True or false to a code.
    FromBool(Arc<YesNo>),
    /// Letters to upper or lower case; `from` is how they are written now.
    Case { from: LetterCase, to: LetterCase },
    /// White space at both ends off.
    Trim,
    /// A number, or a text that is one, multiplied; `form` is what it becomes, if that is another.
    Scale {
        by: Ratio,
        round: Option<u8>,
        form: Option<DecimalForm>,
    },
    /// One way of saying nothing to another; what says something is changed further.
    Nothing {
        from: Nothing,
        to: Nothing,
        then: Box<Change>,
    },
    /// One text to a list of texts.
    Apart { separator: Arc<str> },
    /// A list of texts to one.
    Together { separator: Arc<str> },
    /// A list of names and values to an object.
    Pivot(Arc<Pair>),
    /// An object to a list of names and values.
    Unpivot(Arc<Pair>),
    /// A list to an object: each item under the name that its key stands for.
    Named(Arc<Naming>),
    /// An object to a list: each member with the key that its name stands for.
    Keyed(Arc<Naming>),
    /// A list to a list of groups.
    Group(Arc<Grouping>),
    /// A list of groups to a list.
    Flatten(Arc<Grouping>),
    /// One plain value to another, and that to a third.
    Then(Box<[Change; 2]>),
}

/// What stands for true and for false.
#[derive(Debug)]
pub(super) struct YesNo {
    pub(super) yes: Scalar,
    pub(super) no: Scalar,
}

/// The members of an item that are a name and its value.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: MemberName,
    pub(super) value: MemberName,
    pub(super) names: [Box<str>; 2],
}

/// How items become members of an object.
#[derive(Debug)]
pub(super) struct Naming {
    /// The member of an item that says which it is.
    pub(super) key: MemberName,
    pub(super) key_name: Box<str>,
    /// Keys and their names; if there are none, a key is its own name.
    pub(super) names: BTreeMap<Box<str>, Box<str>>,
    pub(super) keys: BTreeMap<Box<str>, Box<str>>,
    /// Others are left out, not refused.
    pub(super) drops_others: bool,
}

/// How items make groups.
#[derive(Debug)]
pub(super) struct Grouping {
    pub(super) by: Vec<GroupedBy>,
    /// The member of a group that holds its items.
    pub(super) items: MemberName,
    pub(super) items_name: Box<str>,
    /// What gives the order of a flat list: where an item has it that lies in a group.
    pub(super) order_by: Option<Box<[Box<str>]>>,
}

/// A member that makes a group.
#[derive(Debug)]
pub(super) struct GroupedBy {
    pub(super) item_name: Box<str>,
    pub(super) group_name: Box<str>,
    pub(super) in_item: MemberName,
    pub(super) in_group: MemberName,
}

/// One direction of a code list.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// Code to code; `None` refuses it.
    pub rows: BTreeMap<Box<str>, Option<Box<str>>>,
    /// What becomes of codes without a row; `None` refuses them.
    pub otherwise: Option<Box<str>>,
}

/// One direction of a lookup.
#[derive(Debug)]
pub(super) struct Keys {
    pub source: KeySource,
    /// What becomes of keys without a row, or with several.
    pub chosen: Codes,
}

/// Who knows the counterpart of a key.
#[derive(Debug)]
pub(super) enum KeySource {
    /// A table in a file.
    Book(Arc<Book>, Direction),
    /// An operation of a system.
    Operation(Arc<Lookup>),
    /// Nobody: only what was chosen has one.
    Nobody,
}

/// From one way of writing a date to another.
#[derive(Debug)]
pub(super) struct DateChange {
    pub from: DateForm,
    pub to: DateForm,
    pub timezone: TimeZone,
    pub time: Time,
}

/// A plain value that a change made.
#[derive(Debug)]
pub(super) enum Plain<'a> {
    Text(Cow<'a, str>),
    /// The text of a JSON number.
    Number(Cow<'a, str>),
    Bool(bool),
}

impl<'a> Plain<'a> {
    /// A string's content, a number's digits, `true`, `false`.
    pub(super) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) | Self::Number(text) => text,
            Self::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        }
    }

    /// Writes it.
    pub(super) fn write(&self, to: &mut Builder) {
        match self {
            Self::Text(text) => to.string(text),
            Self::Number(text) => to.number(text),
            Self::Bool(value) => to.bool(*value),
        }
    }
}

impl Change {
    /// Whether it turns one plain value into another.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(
            self,
            Self::Keep
                | Self::Wrap
                | Self::Single { .. }
                | Self::Nothing { .. }
                | Self::Apart { .. }
                | Self::Together { .. }
                | Self::Pivot(_)
                | Self::Unpivot(_)
                | Self::Named(_)
                | Self::Keyed(_)
                | Self::Group(_)
                | Self::Flatten(_)
        )
    }

    /// Changes a plain value. The error is a phrase that names the value. Of a key that is not known yet, what is made
    /// means nothing.
    pub(super) fn plain<'v>(&'v self, value: Value<'v>, answers: Option<&dyn Answers>) -> Result<Plain<'v>, String> {
        let changed = match (self, value.kind()) {
            (Self::Then(changes), _) => return changes[1].owned(&changes[0].plain(value, answers)?, answers),
            (Self::Table(codes), Kind::String) => Plain::Text(Cow::Borrowed(codes.translate(&text(value))?)),
            (Self::Lookup(keys), Kind::String) => Plain::Text(keys.translate(&text(value), answers)?),
            (Self::NumberToText { scale, pad }, Kind::Number) => {
                Plain::Text(number_to_text(Cow::Borrowed(value.raw()), *scale, *pad)?)
            }
            (Self::TextToNumber { scale }, Kind::String) => Plain::Number(text_to_number(text(value), *scale)?),
            (Self::Date(change), Kind::String | Kind::Number) => change.apply(value)?,
            (Self::Strip { char, width }, Kind::String) => Plain::Text(strip(text(value), *char, *width)?),
            (Self::Pad { char, width }, Kind::String) => Plain::Text(pad(&text(value), *char, *width)?.into()),
            (Self::ToBool(codes), Kind::String | Kind::Number | Kind::Bool) => Plain::Bool(codes.truth(value)?),
            (Self::FromBool(codes), Kind::Bool) => codes.code(value.as_bool() == Some(true)),
            (Self::Case { from, to }, Kind::String) => Plain::Text(cased(&text(value), *from, *to)?.into()),
            (Self::Trim, Kind::String) => Plain::Text(text(value).trim().to_owned().into()),
            (Self::Scale { by, round, form }, Kind::Number) if *form != Some(DecimalForm::Number) => {
                let scaled = by.apply(value.raw(), *round)?.into();
                match form {
                    Some(_) => Plain::Text(scaled),
                    None => Plain::Number(scaled),
                }
            }
            (Self::Scale { by, round, form }, Kind::String) if *form != Some(DecimalForm::String) => {
                let scaled = by.apply(&text(value), *round)?.into();
                match form {
                    Some(_) => Plain::Number(scaled),
                    None => Plain::Text(scaled),
                }
            }
            (change, kind) => return Err(format!("{} where {} is expected", name(kind), change.expects())),
        };
        Ok(changed)
    }

    /// Changes a value that was made. The result holds nothing of it.
    fn owned<'v>(&'v self, made: &Plain<'_>, answers: Option<&dyn Answers>) -> Result<Plain<'v>, String> {
        let mut builder = Builder::with_capacity(64, 1);
        made.write(&mut builder);
        let made = builder.finish().ok_or("a value larger than any that is read")?;
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Ok(match self.plain(made.root(), answers)? {
            Plain::Text(text) => Plain::Text(owned(text)),
            Plain::Number(text) => Plain::Number(owned(text)),
            Plain::Bool(value) => Plain::Bool(value),
        })
    }

    fn expects(&self) -> &'static str {
        match self {
            Self::Then(changes) => changes[0].expects(),
            Self::Keep | Self::Wrap | Self::Nothing { .. } => "a value",
            Self::Single { .. }
            | Self::Together { .. }
            | Self::Pivot(_)
            | Self::Named(_)
            | Self::Group(_)
            | Self::Flatten(_) => "a list",
            Self::Unpivot(_) | Self::Keyed(_) => "an object",
            Self::ToBool(_) => "a code",
            Self::FromBool(_) => "true or false",
            Self::Table(_) => "a code as text",
            Self::Lookup(_) => "a key as text",
            Self::TextToNumber { .. }
            | Self::Scale {
                form: Some(DecimalForm::Number),
                ..
            } => "a number as text",
            Self::NumberToText { .. } | Self::Scale { .. } => "a number",
            Self::Date(_) => "a date",
            Self::Apart { .. } | Self::Strip { .. } | Self::Pad { .. } | Self::Case { .. } | Self::Trim => "text",
        }
    }
}

fn text(value: Value<'_>) -> Cow<'_, str> {
    value.as_str().unwrap_or_default()
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "true or false",
        Kind::Number => "a number",
        Kind::String => "text",
        Kind::Array => "a list",
        Kind::Object => "an object",
    }
}

/// At most 60 characters of a value, for a message.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}

impl YesNo {
    fn truth(&self, value: Value<'_>) -> Result<bool, String> {
        let given = match value.as_str() {
            Some(text) => text,
            None => Cow::Borrowed(value.raw()),
        };
        match (self.yes.text() == given, self.no.text() == given) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(format!(
                "{} is neither `{}` nor `{}`",
                shown(&given),
                self.yes.text(),
                self.no.text()
            )),
        }
    }

    fn code(&self, truth: bool) -> Plain<'_> {
        let code = if truth { &self.yes } else { &self.no };
        match &code.0 {
            serde_json::Value::Bool(value) => Plain::Bool(*value),
            serde_json::Value::Number(_) => Plain::Number(code.text()),
            _ => Plain::Text(code.text()),
        }
    }
}

/// A text that was not written as it should be would come back otherwise.
fn cased(text: &str, from: LetterCase, to: LetterCase) -> Result<String, String> {
    let write = |text: &str, case| match case {
        LetterCase::Upper => text.to_uppercase(),
        LetterCase::Lower => text.to_lowercase(),
        LetterCase::Any => text.to_owned(),
    };
    let written = write(text, to);
    match from {
        LetterCase::Upper if write(&written, from) != text => Err(format!("{} is not in upper case", shown(text))),
        LetterCase::Lower if write(&written, from) != text => Err(format!("{} is not in lower case", shown(text))),
        _ => Ok(written),
    }
}

impl Codes {
    fn translate(&self, code: &str) -> Result<&str, String> {
        let found = match self.rows.get(code) {
            Some(row) => row.as_deref(),
            None => self.otherwise.as_deref(),
        };
        found.ok_or_else(|| format!("the code {} has no counterpart", shown(code)))
    }
}

impl Keys {
    fn translate(&self, key: &str, answers: Option<&dyn Answers>) -> Result<Cow<'_, str>, String> {
        let refused = |why: &str| format!("the key {} {why}", shown(key));
        if let Some(row) = self.chosen.rows.get(key) {
            return row
                .as_deref()
                .map(Cow::Borrowed)
                .ok_or_else(|| refused("has no counterpart"));
        }
        let found = match &self.source {
            KeySource::Book(book, way) => match book.find(*way, key) {
                Found::One(other) => return Ok(Cow::Borrowed(other)),
                Found::Several => Answer::Several,
                Found::Nothing => Answer::Nothing,
            },
            KeySource::Operation(lookup) => {
                let answers = answers.ok_or_else(|| refused("would have to be looked up, which is not done here"))?;
                match answers.answer(lookup, key) {
                    Some(Answer::Key(other)) => return Ok(Cow::Owned(other.to_string())),
                    Some(other) => other,
                    None => return Ok(Cow::Borrowed("")),
                }
            }
            KeySource::Nobody => Answer::Nothing,
        };
        match (found, self.chosen.otherwise.as_deref()) {
            (_, Some(other)) => Ok(Cow::Borrowed(other)),
            (Answer::Several, None) => Err(refused("stands for several")),
            (_, None) => Err(refused("has no counterpart")),
        }
    }
}

fn number_to_text(text: Cow<'_, str>, scale: Option<u8>, pad: bool) -> Result<Cow<'_, str>, String> {
    let digits = scale.filter(|_| pad).map(usize::from);
    let text = without_sign_of_zero(text);
    let is_plain = !text.bytes().any(|byte| matches!(byte, b'e' | b'E'));
    let fraction = fraction_digits(&text);
    // Nearly all amounts are written as they are wanted.
    if is_plain && digits.is_none_or(|digits| digits == fraction) && scale.is_none_or(|most| fraction <= most.into()) {
        return Ok(text);
    }
    let number = parse(&text)?;
    within(&number, &text, scale)?;
    if is_plain && !pad {
        return Ok(text);
    }
    let plain = number
        .plain(digits)
        .ok_or_else(|| format!("{} has more digits than can be written out", shown(&text)))?;
    Ok(Cow::Owned(plain))
}

/// `-0.00` is nothing less than `0.00`, and no pattern of amounts expects it.
fn without_sign_of_zero(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_signed = text.starts_with('-') && Decimal::parse(&text).is_some_and(|number| !number.is_negative());
    match text {
        Cow::Borrowed(text) if is_signed => Cow::Borrowed(&text[1..]),
        Cow::Owned(text) if is_signed => Cow::Owned(text[1..].to_owned()),
        text => text,
    }
}

fn text_to_number(text: Cow<'_, str>, scale: Option<u8>) -> Result<Cow<'_, str>, String> {
    let number = parse(&text)?;
    within(&number, &text, scale)?;
    Ok(text)
}

fn parse(text: &str) -> Result<Decimal<'_>, String> {
    Decimal::parse(text).ok_or_else(|| format!("{} is not a decimal number", shown(text)))
}

fn within(number: &Decimal<'_>, text: &str, scale: Option<u8>) -> Result<(), String> {
    match scale {
        Some(scale) if number.scale() > u64::from(scale) => Err(format!(
            "{} has more than {scale} digits after the point, and nothing is rounded",
            shown(text)
        )),
        _ => Ok(()),
    }
}

fn fraction_digits(text: &str) -> usize {
    let point = text.bytes().position(|byte| byte == b'.');
    point.map_or(0, |point| text.len() - point - 1)
}

impl DateChange {
    fn apply(&self, value: Value<'_>) -> Result<Plain<'static>, String> {
        let text = value.as_str().unwrap_or_else(|| Cow::Borrowed(value.raw()));
        let wrong = || format!("{} is not a date written as {}", shown(&text), form(self.from));
        if self.from.is_number() != (value.kind() == Kind::Number) {
            return Err(wrong());
        }
        if self.from.is_instant() {
            let instant = read_instant(&text, self.from).ok_or_else(wrong)?;
            let local = instant.to_zoned(self.timezone.clone());
            if local.year() < 0 {
                // Before the year 0 by the local calendar: no form has a sign.
                return Err(wrong());
            }
            return if self.to.is_instant() {
                write_instant(&local, self.to, &text)
            } else {
                Ok(Plain::Text(write_date(local.date(), self.to).into()))
            };
        }
        let date = read_date(&text, self.from).ok_or_else(wrong)?;
        if !self.to.is_instant() {
            return Ok(Plain::Text(write_date(date, self.to).into()));
        }
        let local: Zoned = date
            .to_datetime(self.time)
            .to_zoned(self.timezone.clone())
            .map_err(|_| wrong())?;
        write_instant(&local, self.to, &text)
    }
}

fn read_instant(text: &str, form: DateForm) -> Option<Timestamp> {
    match form {
        DateForm::Timestamp => text.parse().ok(),
        DateForm::Unix => Timestamp::from_second(whole(text)?).ok(),
        DateForm::UnixMillis => Timestamp::from_millisecond(whole(text)?).ok(),
        DateForm::OData => {
            let millis = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
            let is_whole =
                !millis.starts_with('+') && (millis == "0" || !millis.trim_start_matches('-').starts_with('0'));
            Timestamp::from_millisecond(millis.parse().ok().filter(|_| is_whole)?).ok()
        }
        _ => None,
    }
}

/// A whole number, however JSON writes it.
fn whole(text: &str) -> Option<i64> {
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => Decimal::parse(text)?.plain(Some(0))?.parse().ok(),
    }
}

/// `text` is what it was read from. What the form cannot tell is refused and not rounded.
fn write_instant(local: &Zoned, form: DateForm, text: &str) -> Result<Plain<'static>, String> {
    let (instant, nanoseconds) = (local.timestamp(), i64::from(local.timestamp().subsec_nanosecond()));
    let finer = |unit: &str| format!("{} is finer than a {unit}, and nothing is rounded", shown(text));
    match form {
        DateForm::Unix if nanoseconds != 0 => Err(finer("second")),
        DateForm::Unix => Ok(Plain::Number(instant.as_second().to_string().into())),
        DateForm::UnixMillis | DateForm::OData if nanoseconds % 1_000_000 != 0 => Err(finer("millisecond")),
        DateForm::UnixMillis => Ok(Plain::Number(instant.as_millisecond().to_string().into())),
        DateForm::OData => Ok(Plain::Text(format!("/Date({})/", instant.as_millisecond()).into())),
        _ if local.year() < 0 => Err(format!("{} lies before the years of RFC 3339", shown(text))),
        _ if *local.time_zone() == TimeZone::UTC => Ok(Plain::Text(format!("{}Z", local.datetime()).into())),
        _ => {
            let offset = local.offset().seconds() / 60;
            let sign = if offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
            Ok(Plain::Text(
                format!("{}{sign}{hours:02}:{minutes:02}", local.datetime()).into(),
            ))
        }
    }
}

fn form(form: DateForm) -> &'static str {
    match form {
        DateForm::German => "dd.MM.yyyy",
        DateForm::Iso => "yyyy-MM-dd",
        DateForm::Compact => "yyyyMMdd",
        DateForm::American => "MM/dd/yyyy",
        DateForm::Timestamp => "RFC 3339",
        DateForm::Unix => "whole seconds since 1970",
        DateForm::UnixMillis => "whole milliseconds since 1970",
        DateForm::OData => "`/Date(milliseconds)/`",
    }
}

fn read_date(text: &str, form: DateForm) -> Option<Date> {
    // Byte positions of year, month, day, and of the separators.
    let ([year, month, day], length, separators): ([usize; 3], _, &[(usize, u8)]) = match form {
        DateForm::German => ([6, 3, 0], 10, &[(2, b'.'), (5, b'.')]),
        DateForm::Iso => ([0, 5, 8], 10, &[(4, b'-'), (7, b'-')]),
        DateForm::Compact => ([0, 4, 6], 8, &[]),
        DateForm::American => ([6, 0, 3], 10, &[(2, b'/'), (5, b'/')]),
        _ => return None,
    };
    let bytes = text.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if bytes.len() != length || digits != 8 || separators.iter().any(|(at, byte)| bytes[*at] != *byte) {
        return None;
    }
    Date::new(
        text.get(year..year + 4)?.parse().ok()?,
        text.get(month..month + 2)?.parse().ok()?,
        text.get(day..day + 2)?.parse().ok()?,
    )
    .ok()
}

fn write_date(date: Date, form: DateForm) -> String {
    let mut text = String::with_capacity(10);
    let mut push = |number: i16, unit: i16| {
        let mut unit = unit;
        while unit > 0 {
            // One digit, so it fits.
            text.push(char::from(b'0' + u8::try_from(number / unit % 10).unwrap_or_default()));
            unit /= 10;
        }
    };
    let (year, month, day) = (date.year(), i16::from(date.month()), i16::from(date.day()));
    match form {
        DateForm::German => {
            push(day, 10);
            push(month, 10);
            push(year, 1_000);
            text.insert(2, '.');
            text.insert(5, '.');
        }
        DateForm::Compact => {
            push(year, 1_000);
            push(month, 10);
            push(day, 10);
        }
        DateForm::American => {
            push(month, 10);
            push(day, 10);
            push(year, 1_000);
            text.insert(2, '/');
            text.insert(5, '/');
        }
        _ => {
            push(year, 1_000);
            push(month, 10);
            push(day, 10);
            text.insert(4, '-');
            text.insert(7, '-');
        }
    }
    text
}

fn strip(text: Cow<'_, str>, char: char, width: u8) -> Result<Cow<'_, str>, String> {
    let length = text.chars().count();
    if length != usize::from(width) {
        // Anything else would come back with another length.
        return Err(format!("{} has {length} characters and not {width}", shown(&text)));
    }
    let stripped = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches(char)),
        Cow::Owned(text) => Cow::Owned(text.trim_start_matches(char).to_owned()),
    };
    if stripped.is_empty() {
        return Err("a text that is nothing but padding".to_owned());
    }
    Ok(stripped)
}

fn pad(text: &str, char: char, width: u8) -> Result<String, String> {
    let length = text.chars().count();
    let width = usize::from(width);
    if length > width {
        return Err(format!("{} has more than {width} characters", shown(text)));
    }
    if text.is_empty() || text.starts_with(char) {
        // It would be taken for padding on the way back.
        return Err(format!("{} cannot be told from padding with `{char}`", shown(text)));
    }
    let mut padded = String::with_capacity(width * char.len_utf8());
    padded.extend(std::iter::repeat_n(char, width - length));
    padded.push_str(text);
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::json::Document;

    fn text(value: &str) -> Document {
        Document::of_string(value)
    }

    fn number(value: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(value.as_bytes())).unwrap()
    }

    fn changed(change: &Change, value: &Document) -> Result<String, String> {
        let changed = change.plain(value.root(), None)?;
        Ok(match changed {
            Plain::Text(text) => format!("\"{text}\""),
            other => other.into_text().into_owned(),
        })
    }

    fn date(from: DateForm, to: DateForm) -> Change {
        Change::Date(Arc::new(DateChange {
            from,
            to,
            timezone: TimeZone::get("Europe/Berlin").unwrap(),
            time: Time::constant(18, 0, 0, 0),
        }))
    }

    #[test]
    fn decimals_keep_their_digits() {
        let plain = Change::NumberToText {
            scale: None,
            pad: false,
        };
        assert_eq!(changed(&plain, &number("19.90")).unwrap(), r#""19.90""#);
        assert_eq!(
            changed(&plain, &number("12345678901234567890.120")).unwrap(),
            r#""12345678901234567890.120""#
        );
        assert_eq!(changed(&plain, &number("1e2")).unwrap(), r#""100""#);
        let cents = Change::NumberToText {
            scale: Some(2),
            pad: true,
        };
        assert_eq!(changed(&cents, &number("5")).unwrap(), r#""5.00""#);
        assert_eq!(changed(&cents, &number("5.1000")).unwrap(), r#""5.10""#);
        let back = Change::TextToNumber { scale: Some(2) };
        assert_eq!(changed(&back, &text("19.90")).unwrap(), "19.90");
    }

    #[test]
    fn nothing_is_rounded() {
        let cents = Change::NumberToText {
            scale: Some(2),
            pad: true,
        };
        assert!(
            changed(&cents, &number("5.105"))
                .unwrap_err()
                .contains("more than 2 digits")
        );
        assert!(changed(&cents, &number("1e99")).unwrap_err().contains("more digits"));
        let back = Change::TextToNumber { scale: None };
        for wrong in ["", "1,50", "1.", "12 EUR", "NaN", "0x10", "01.5"] {
            assert!(
                changed(&back, &text(wrong))
                    .unwrap_err()
                    .contains("not a decimal number"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        let iso = date(DateForm::German, DateForm::Iso);
        assert_eq!(changed(&iso, &text("29.02.2028")).unwrap(), r#""2028-02-29""#);
        for wrong in [
            "22.85.2126",
            "29.02.2027",
            "1.2.2026",
            "01-02-2026",
            "0102.2026.",
            "01.02.2026 ",
            "0é.02.2026",
        ] {
            assert!(
                changed(&iso, &text(wrong)).unwrap_err().contains("not a date"),
                "{wrong}"
            );
        }
        let compact = date(DateForm::Iso, DateForm::Compact);
        assert_eq!(changed(&compact, &text("2026-11-20")).unwrap(), r#""20261120""#);
    }

    #[test]
    fn a_day_becomes_a_point_in_time_in_its_zone() {
        let up = date(DateForm::Iso, DateForm::Timestamp);
        assert_eq!(
            changed(&up, &text("2026-11-20")).unwrap(),
            r#""2026-11-20T18:00:00+01:00""#
        );
        assert_eq!(
            changed(&up, &text("2026-07-20")).unwrap(),
            r#""2026-07-20T18:00:00+02:00""#
        );
        let down = date(DateForm::Timestamp, DateForm::Iso);
        assert_eq!(
            changed(&down, &text("2026-11-20T23:30:00Z")).unwrap(),
            r#""2026-11-21""#
        );
        assert!(changed(&down, &text("2026-11-20")).unwrap_err().contains("RFC 3339"));
    }

    #[test]
    fn a_point_in_time_is_the_same_in_every_form() {
        let utc = |from, to| {
            Change::Date(Arc::new(DateChange {
                from,
                to,
                timezone: TimeZone::UTC,
                time: Time::midnight(),
            }))
        };
        let (rfc, unix, millis, odata) = (
            text("2026-11-20T15:00:00Z"),
            number("1795186800"),
            number("1795186800000"),
            text("/Date(1795186800000)/"),
        );
        let forms = [
            (DateForm::Timestamp, &rfc, r#""2026-11-20T15:00:00Z""#),
            (DateForm::Unix, &unix, "1795186800"),
            (DateForm::UnixMillis, &millis, "1795186800000"),
            (DateForm::OData, &odata, r#""/Date(1795186800000)/""#),
        ];
        for (from, value, _) in forms {
            for (to, _, written) in forms.into_iter().filter(|(to, ..)| *to != from) {
                assert_eq!(changed(&utc(from, to), value).unwrap(), written, "{from:?} {to:?}");
            }
        }
        let seconds = utc(DateForm::Timestamp, DateForm::Unix);
        assert_eq!(changed(&seconds, &text("1969-12-31T23:59:59+00:00")).unwrap(), "-1");
        assert!(
            changed(&seconds, &text("2026-11-20T15:00:00.5Z"))
                .unwrap_err()
                .contains("finer than a second")
        );
        let back = utc(DateForm::Unix, DateForm::Timestamp);
        assert_eq!(changed(&back, &number("1.0e1")).unwrap(), r#""1970-01-01T00:00:10Z""#);
        for wrong in ["0.5", "1e99", "9223372036854775807", "-99999999999"] {
            assert!(changed(&back, &number(wrong)).is_err(), "{wrong}");
        }
        assert!(changed(&back, &text("10")).unwrap_err().contains("not a date"));
        let read = utc(DateForm::OData, DateForm::UnixMillis);
        for wrong in [
            "/Date()/",
            "/Date(+5)/",
            "/Date(05)/",
            "/Date(1795186800000+0100)/",
            "Date(5)",
        ] {
            assert!(changed(&read, &text(wrong)).is_err(), "{wrong}");
        }
        let american = date(DateForm::American, DateForm::Iso);
        assert_eq!(changed(&american, &text("11/20/2026")).unwrap(), r#""2026-11-20""#);
    }

    #[test]
    fn padding_comes_back_as_it_was_or_not_at_all() {
        let (strip, pad) = (
            Change::Strip { char: '0', width: 10 },
            Change::Pad { char: '0', width: 10 },
        );
        assert_eq!(changed(&strip, &text("0000100234")).unwrap(), r#""100234""#);
        assert_eq!(changed(&pad, &text("100234")).unwrap(), r#""0000100234""#);
        assert!(changed(&strip, &text("100234")).unwrap_err().contains("6 characters"));
        assert!(
            changed(&strip, &text("0000000000"))
                .unwrap_err()
                .contains("nothing but padding")
        );
        assert!(
            changed(&pad, &text("12345678901"))
                .unwrap_err()
                .contains("more than 10")
        );
        assert!(
            changed(&pad, &text("0123"))
                .unwrap_err()
                .contains("cannot be told from padding")
        );
    }

    #[test]
    fn codes_without_a_row_are_refused_unless_something_else_is_said() {
        let codes = |otherwise: Option<&str>| {
            let rows = [("a", Some("b")), ("x", None)];
            Change::Table(Arc::new(Codes {
                rows: rows
                    .into_iter()
                    .map(|(from, to)| (from.into(), to.map(Into::into)))
                    .collect(),
                otherwise: otherwise.map(Into::into),
            }))
        };
        assert_eq!(changed(&codes(None), &text("a")).unwrap(), r#""b""#);
        assert!(
            changed(&codes(None), &text("c"))
                .unwrap_err()
                .contains("`c` has no counterpart")
        );
        assert_eq!(changed(&codes(Some("z")), &text("c")).unwrap(), r#""z""#);
        assert!(changed(&codes(Some("z")), &text("x")).is_err());
        assert!(
            changed(&codes(None), &number("1"))
                .unwrap_err()
                .contains("a number where a code")
        );
    }

    #[test]
    fn codes_stand_for_true_and_false() {
        let codes = Arc::new(YesNo {
            yes: Scalar("X".into()),
            no: Scalar(0.into()),
        });
        let (up, down) = (Change::ToBool(codes.clone()), Change::FromBool(codes));
        assert_eq!(changed(&up, &text("X")).unwrap(), "true");
        assert_eq!(changed(&up, &number("0")).unwrap(), "false");
        assert!(changed(&up, &text("J")).unwrap_err().contains("neither `X` nor `0`"));
        assert_eq!(changed(&down, &number("true")).unwrap(), r#""X""#);
        assert_eq!(changed(&down, &number("false")).unwrap(), "0");
        assert!(
            changed(&down, &text("X"))
                .unwrap_err()
                .contains("true or false is expected")
        );
    }

    #[test]
    fn letters_change_only_if_they_can_change_back() {
        let case = |from, to| Change::Case { from, to };
        let up = case(LetterCase::Lower, LetterCase::Upper);
        assert_eq!(changed(&up, &text("köln")).unwrap(), r#""KÖLN""#);
        assert!(changed(&up, &text("Köln")).unwrap_err().contains("not in lower case"));
        assert!(changed(&up, &text("straße")).unwrap_err().contains("not in lower case"));
        let any = case(LetterCase::Any, LetterCase::Upper);
        assert_eq!(changed(&any, &text("Straße")).unwrap(), r#""STRASSE""#);
        assert_eq!(
            changed(&case(LetterCase::Upper, LetterCase::Any), &text("AB")).unwrap(),
            r#""AB""#
        );
        assert_eq!(changed(&Change::Trim, &text(" a b\u{a0}")).unwrap(), r#""a b""#);
    }

    #[test]
    fn a_scaled_number_stays_what_it_was() {
        let up = Change::Scale {
            by: Ratio::parse("1/100").unwrap(),
            round: None,
            form: None,
        };
        assert_eq!(changed(&up, &number("19")).unwrap(), "0.19");
        assert_eq!(changed(&up, &text("19")).unwrap(), r#""0.19""#);
        assert!(
            changed(&up, &number("true"))
                .unwrap_err()
                .contains("a number is expected")
        );
    }
}
