//! What happens to a single value on its way between versions: codes, decimals, dates, padding.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::spec::{DateForm, More};
use crate::json::{Decimal, Out};

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
}

/// One direction of a code list.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// Code to code; `None` refuses it.
    pub rows: BTreeMap<Box<str>, Option<Box<str>>>,
    /// What becomes of codes without a row; `None` refuses them.
    pub otherwise: Option<Box<str>>,
}

/// From one way of writing a date to another.
#[derive(Debug)]
pub(super) struct DateChange {
    pub from: DateForm,
    pub to: DateForm,
    pub timezone: TimeZone,
    pub time: Time,
}

impl Change {
    /// Changes a value. The error is a phrase that names the value.
    pub(super) fn apply<'a>(&'a self, mut value: Out<'a>) -> Result<Out<'a>, String> {
        if let Self::Keep = self {
            return Ok(value);
        }
        value.open();
        match (self, value) {
            // Null has no code, no digits and no date. Whether it may stand there, the target's schema says.
            // What is said of a value is said of each in a list of them.
            (
                change @ (Self::Table(_)
                | Self::NumberToText { .. }
                | Self::TextToNumber { .. }
                | Self::Date(_)
                | Self::Strip { .. }
                | Self::Pad { .. }),
                Out::Arr(items),
            ) => {
                let changed: Result<_, _> = items.into_iter().map(|item| change.apply(item)).collect();
                changed.map(Out::Arr)
            }
            (change, Out::Null) if !matches!(change, Self::Wrap) => Ok(Out::Null),
            (Self::Wrap, value) => Ok(Out::Arr(vec![value])),
            (Self::Single { more, separator }, Out::Arr(items)) => single(items, *more, separator),
            (Self::Table(codes), Out::Str(code)) => codes.translate(&code).map(|code| Out::Str(Cow::Borrowed(code))),
            (Self::NumberToText { scale, pad }, Out::Num(text)) => number_to_text(text, *scale, *pad),
            (Self::TextToNumber { scale }, Out::Str(text)) => text_to_number(text, *scale),
            (Self::Date(change), Out::Str(text)) => change.apply(&text).map(|text| Out::Str(Cow::Owned(text))),
            (Self::Strip { char, width }, Out::Str(text)) => strip(text, *char, *width),
            (Self::Pad { char, width }, Out::Str(text)) => pad(&text, *char, *width),
            (change, value) => Err(format!("{} where {} is expected", name(&value), change.expects())),
        }
    }

    fn expects(&self) -> &'static str {
        match self {
            Self::Keep | Self::Wrap => "a value",
            Self::Single { .. } => "a list",
            Self::Table(_) => "a code as text",
            Self::NumberToText { .. } => "a number",
            Self::TextToNumber { .. } => "a number as text",
            Self::Date(_) => "a date as text",
            Self::Strip { .. } | Self::Pad { .. } => "text",
        }
    }
}

fn name(value: &Out<'_>) -> &'static str {
    match value {
        Out::Absent => "nothing",
        Out::Null => "null",
        Out::Bool(_) => "true or false",
        Out::Num(_) => "a number",
        Out::Str(_) => "text",
        Out::Raw(_) => "a value",
        Out::Arr(_) => "a list",
        Out::Obj(_) => "an object",
    }
}

/// At most 60 characters of a value, for a message.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}

fn single<'a>(items: Vec<Out<'a>>, more: More, separator: &str) -> Result<Out<'a>, String> {
    let count = items.len();
    if more == More::Join && count > 1 {
        let texts: Option<Vec<_>> = items.iter().map(Out::as_text).collect();
        return texts
            .map(|texts| Out::Str(Cow::Owned(texts.join(separator))))
            .ok_or_else(|| "a list of something else than texts cannot be joined".to_owned());
    }
    if more == More::Error && count > 1 {
        return Err(format!("a list of {count} items where only one can be carried"));
    }
    // An empty list says nothing, and so does a field that is not there.
    Ok(items.into_iter().next().unwrap_or(Out::Absent))
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

fn number_to_text(text: Cow<'_, str>, scale: Option<u8>, pad: bool) -> Result<Out<'_>, String> {
    let digits = scale.filter(|_| pad).map(usize::from);
    let is_plain = !text.bytes().any(|byte| matches!(byte, b'e' | b'E'));
    let fraction = fraction_digits(&text);
    // Nearly all amounts are written as they are wanted.
    if is_plain && digits.is_none_or(|digits| digits == fraction) && scale.is_none_or(|most| fraction <= most.into()) {
        return Ok(Out::Str(text));
    }
    let number = parse(&text)?;
    within(&number, &text, scale)?;
    if is_plain && !pad {
        return Ok(Out::Str(text));
    }
    let plain = number
        .plain(digits)
        .ok_or_else(|| format!("{} has more digits than can be written out", shown(&text)))?;
    Ok(Out::Str(Cow::Owned(plain)))
}

fn text_to_number(text: Cow<'_, str>, scale: Option<u8>) -> Result<Out<'_>, String> {
    let number = parse(&text)?;
    within(&number, &text, scale)?;
    Ok(Out::Num(text))
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
    fn apply(&self, text: &str) -> Result<String, String> {
        let wrong = || format!("{} is not a date written as {}", shown(text), form(self.from));
        if self.from == DateForm::Timestamp {
            let instant: Timestamp = text.parse().map_err(|_| wrong())?;
            let local = instant.to_zoned(self.timezone.clone());
            return Ok(write_date(local.date(), self.to));
        }
        let date = read_date(text, self.from).ok_or_else(wrong)?;
        if self.to != DateForm::Timestamp {
            return Ok(write_date(date, self.to));
        }
        let local: Zoned = date
            .to_datetime(self.time)
            .to_zoned(self.timezone.clone())
            .map_err(|_| wrong())?;
        let offset = local.offset().seconds() / 60;
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
        Ok(format!("{}{sign}{hours:02}:{minutes:02}", local.datetime()))
    }
}

fn form(form: DateForm) -> &'static str {
    match form {
        DateForm::German => "dd.MM.yyyy",
        DateForm::Iso => "yyyy-MM-dd",
        DateForm::Compact => "yyyyMMdd",
        DateForm::Timestamp => "RFC 3339",
    }
}

fn read_date(text: &str, form: DateForm) -> Option<Date> {
    // Byte positions of year, month, day, and of the separators.
    let ([year, month, day], length, separators): ([usize; 3], _, &[(usize, u8)]) = match form {
        DateForm::German => ([6, 3, 0], 10, &[(2, b'.'), (5, b'.')]),
        DateForm::Iso => ([0, 5, 8], 10, &[(4, b'-'), (7, b'-')]),
        DateForm::Compact => ([0, 4, 6], 8, &[]),
        DateForm::Timestamp => return None,
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
        DateForm::Iso | DateForm::Timestamp => {
            push(year, 1_000);
            push(month, 10);
            push(day, 10);
            text.insert(4, '-');
            text.insert(7, '-');
        }
    }
    text
}

fn strip(text: Cow<'_, str>, char: char, width: u8) -> Result<Out<'_>, String> {
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
    Ok(Out::Str(stripped))
}

fn pad<'a>(text: &str, char: char, width: u8) -> Result<Out<'a>, String> {
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
    Ok(Out::Str(Cow::Owned(padded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Out<'static> {
        Out::Str(Cow::Owned(value.to_owned()))
    }

    fn number(value: &str) -> Out<'static> {
        Out::Num(Cow::Owned(value.to_owned()))
    }

    fn changed(change: &Change, value: Out<'static>) -> Result<String, String> {
        // The change outlives the value it is applied to, as programs outlive requests.
        let written = change.apply(value)?.into_bytes();
        Ok(String::from_utf8(written).unwrap())
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
        assert_eq!(changed(&plain, number("19.90")).unwrap(), r#""19.90""#);
        assert_eq!(
            changed(&plain, number("12345678901234567890.120")).unwrap(),
            r#""12345678901234567890.120""#
        );
        assert_eq!(changed(&plain, number("1e2")).unwrap(), r#""100""#);
        let cents = Change::NumberToText {
            scale: Some(2),
            pad: true,
        };
        assert_eq!(changed(&cents, number("5")).unwrap(), r#""5.00""#);
        assert_eq!(changed(&cents, number("5.1000")).unwrap(), r#""5.10""#);
        let back = Change::TextToNumber { scale: Some(2) };
        assert_eq!(changed(&back, text("19.90")).unwrap(), "19.90");
    }

    #[test]
    fn nothing_is_rounded() {
        let cents = Change::NumberToText {
            scale: Some(2),
            pad: true,
        };
        assert!(
            changed(&cents, number("5.105"))
                .unwrap_err()
                .contains("more than 2 digits")
        );
        assert!(changed(&cents, number("1e99")).unwrap_err().contains("more digits"));
        let back = Change::TextToNumber { scale: None };
        for wrong in ["", "1,50", "1.", "12 EUR", "NaN", "0x10", "01.5"] {
            assert!(
                changed(&back, text(wrong))
                    .unwrap_err()
                    .contains("not a decimal number"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        let iso = date(DateForm::German, DateForm::Iso);
        assert_eq!(changed(&iso, text("29.02.2028")).unwrap(), r#""2028-02-29""#);
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
                changed(&iso, text(wrong)).unwrap_err().contains("not a date"),
                "{wrong}"
            );
        }
        let compact = date(DateForm::Iso, DateForm::Compact);
        assert_eq!(changed(&compact, text("2026-11-20")).unwrap(), r#""20261120""#);
    }

    #[test]
    fn a_day_becomes_a_point_in_time_in_its_zone() {
        let up = date(DateForm::Iso, DateForm::Timestamp);
        assert_eq!(
            changed(&up, text("2026-11-20")).unwrap(),
            r#""2026-11-20T18:00:00+01:00""#
        );
        assert_eq!(
            changed(&up, text("2026-07-20")).unwrap(),
            r#""2026-07-20T18:00:00+02:00""#
        );
        let down = date(DateForm::Timestamp, DateForm::Iso);
        assert_eq!(changed(&down, text("2026-11-20T23:30:00Z")).unwrap(), r#""2026-11-21""#);
        assert!(changed(&down, text("2026-11-20")).unwrap_err().contains("RFC 3339"));
    }

    #[test]
    fn padding_comes_back_as_it_was_or_not_at_all() {
        let (strip, pad) = (
            Change::Strip { char: '0', width: 10 },
            Change::Pad { char: '0', width: 10 },
        );
        assert_eq!(changed(&strip, text("0000100234")).unwrap(), r#""100234""#);
        assert_eq!(changed(&pad, text("100234")).unwrap(), r#""0000100234""#);
        assert!(changed(&strip, text("100234")).unwrap_err().contains("6 characters"));
        assert!(
            changed(&strip, text("0000000000"))
                .unwrap_err()
                .contains("nothing but padding")
        );
        assert!(changed(&pad, text("12345678901")).unwrap_err().contains("more than 10"));
        assert!(
            changed(&pad, text("0123"))
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
        assert_eq!(changed(&codes(None), text("a")).unwrap(), r#""b""#);
        assert!(
            changed(&codes(None), text("c"))
                .unwrap_err()
                .contains("`c` has no counterpart")
        );
        assert_eq!(changed(&codes(Some("z")), text("c")).unwrap(), r#""z""#);
        assert!(changed(&codes(Some("z")), text("x")).is_err());
        assert!(
            changed(&codes(None), number("1"))
                .unwrap_err()
                .contains("a number where a code")
        );
        let list = Out::Arr(vec![text("a"), text("a")]);
        assert_eq!(changed(&codes(None), list).unwrap(), r#"["b","b"]"#);
    }

    #[test]
    fn a_list_becomes_one_value_only_as_it_was_agreed() {
        let single = |more| Change::Single {
            more,
            separator: ", ".into(),
        };
        let list = || Out::Arr(vec![text("a"), text("b")]);
        assert_eq!(changed(&single(More::Join), list()).unwrap(), r#""a, b""#);
        assert_eq!(changed(&single(More::Drop), list()).unwrap(), r#""a""#);
        assert!(changed(&single(More::Error), list()).unwrap_err().contains("2 items"));
        assert_eq!(changed(&Change::Wrap, text("a")).unwrap(), r#"["a"]"#);
        assert!(changed(&single(More::Join), text("a")).is_err());
    }
}
