//! What a step is entitled to: which values it may refuse, and which it may bring back differently.

use jiff::civil::Date;

use super::compare::{Change, Difference};
use super::locate::{Sheet, Spot};
use super::sample::Sample;
use crate::contract::spec::{
    Agree, DateForm, DecimalForm, Direction, LetterCase, More, MoreParts, OpSpec, Others, SideSpec,
};

/// Why the engine refuses a value that the source version admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Refusal {
    /// The author said so: `~`, `more: error`, `agree: error`, `expect: error`, `scale`.
    Declared,
    /// No mapping could do otherwise: a day that does not exist, a number that is nothing but padding.
    Inherent,
    /// The source's schema is wider than what the step can read, and nobody said what becomes of the rest.
    Open,
    /// The step cannot do what it is there for.
    Fault,
}

/// Judges a refusal at a place whose value is known.
pub(super) fn refusal(op: Option<&OpSpec>, way: Direction, value: Option<&Sample>) -> Refusal {
    if let (Some(Sample::Arr(items)), false) = (value, matches!(op, Some(OpSpec::Wrap(_) | OpSpec::First(_)))) {
        // What is said of a value is said of each in a list of them: one of them was refused.
        let judged = items.iter().map(|item| one(op, way, Some(item)));
        return judged.min().unwrap_or(Refusal::Fault);
    }
    one(op, way, value)
}

fn one(op: Option<&OpSpec>, way: Direction, value: Option<&Sample>) -> Refusal {
    match op {
        Some(OpSpec::Table(op)) => {
            let misses = if way == Direction::Up {
                &op.miss_up
            } else {
                &op.miss_down
            };
            let Some(Sample::Str(code)) = value else {
                return Refusal::Fault;
            };
            let said = misses.get(code).or_else(|| misses.get("*"));
            if said.is_some_and(Option::is_none) {
                Refusal::Declared
            } else {
                Refusal::Open
            }
        }
        Some(OpSpec::Wrap(op) | OpSpec::First(op)) => match (value, op.more) {
            (Some(Sample::Arr(items)), More::Error) if items.len() > 1 => Refusal::Declared,
            (Some(Sample::Arr(_)), More::Join) => Refusal::Open,
            _ => Refusal::Fault,
        },
        Some(OpSpec::Date(op)) => {
            let (form, to) = match way {
                Direction::Up => (op.older, op.newer),
                Direction::Down => (op.newer, op.older),
            };
            match value {
                // Part of a second where the other version counts seconds.
                Some(Sample::Str(text)) if to.is_instant() && text.contains('.') && starts_with_day(text) => {
                    Refusal::Declared
                }
                Some(Sample::Str(text)) if has_form(text, form) => Refusal::Inherent,
                // Beyond the years that a calendar has.
                Some(Sample::Num(text)) if is_counted(form) => match crate::json::Decimal::parse(text) {
                    Some(number) if number.scale() == 0 => Refusal::Inherent,
                    _ => Refusal::Open,
                },
                Some(Sample::Str(_)) if !is_counted(form) => Refusal::Open,
                _ => Refusal::Fault,
            }
        }
        Some(OpSpec::Decimal(op)) => match value {
            Some(Sample::Num(text) | Sample::Str(text)) => {
                let scale = crate::json::Decimal::parse(text).map(|number| number.scale());
                match (scale, op.scale) {
                    (Some(scale), Some(most)) if scale > u64::from(most) => Refusal::Declared,
                    (None, _) if matches!(value, Some(Sample::Num(_))) => Refusal::Fault,
                    // The other kind of value altogether.
                    (Some(_), _) if is_of_other_kind(value, op.newer, way) => Refusal::Fault,
                    _ => Refusal::Open,
                }
            }
            _ => Refusal::Fault,
        },
        Some(OpSpec::Strip(op)) => padding(op.char, op.width, way == Direction::Up, value),
        Some(OpSpec::Pad(op)) => padding(op.char, op.width, way == Direction::Down, value),
        Some(OpSpec::Split(op)) if way == Direction::Up => too_many(&op.separator, op.more, op.to.len(), value),
        Some(OpSpec::Join(op)) if way == Direction::Down => too_many(&op.separator, op.more, op.from.len(), value),
        Some(OpSpec::Null(op)) if op.step.is_some() => one(op.step.as_deref(), way, value),
        // A value that would be taken for nothing, a name that stands twice, an offset between two pages.
        // Nor does any drawn key stand in a table of real ones.
        Some(OpSpec::Lookup(_) | OpSpec::Null(_) | OpSpec::Pivot(_) | OpSpec::Paging(_)) => Refusal::Inherent,
        // They read what their schema may be wider than.
        Some(
            OpSpec::Bool(_)
            | OpSpec::Case(_)
            | OpSpec::Trim(_)
            | OpSpec::Scale(_)
            | OpSpec::Split(_)
            | OpSpec::Join(_)
            | OpSpec::List(_)
            | OpSpec::Pattern(_)
            | OpSpec::MinorUnits(_)
            | OpSpec::Unit(_)
            | OpSpec::Group(_)
            | OpSpec::Flatten(_)
            | OpSpec::Variant(_)
            | OpSpec::Count(_)
            | OpSpec::Sum(_)
            | OpSpec::Expr(_),
        ) => Refusal::Open,
        Some(OpSpec::Const(op)) if way == Direction::Down && op.expect == Agree::Error => Refusal::Declared,
        Some(OpSpec::Copy(op)) if way == Direction::Down && op.agree == Agree::Error => Refusal::Declared,
        _ => Refusal::Fault,
    }
}

fn too_many(separator: &str, more: MoreParts, most: usize, value: Option<&Sample>) -> Refusal {
    match value {
        Some(Sample::Str(text)) if more == MoreParts::Error && text.split(separator).count() > most => {
            Refusal::Declared
        }
        Some(Sample::Str(_)) => Refusal::Open,
        _ => Refusal::Fault,
    }
}

fn is_of_other_kind(value: Option<&Sample>, newer: DecimalForm, way: Direction) -> bool {
    let is_text_expected = (newer == DecimalForm::String) == (way == Direction::Down);
    matches!(value, Some(Sample::Str(_))) != is_text_expected
}

fn padding(char: char, width: u8, is_stripped: bool, value: Option<&Sample>) -> Refusal {
    let Some(Sample::Str(text)) = value else {
        return Refusal::Fault;
    };
    let is_full = text.chars().count() == usize::from(width);
    match (is_stripped, is_full) {
        (true, true) if text.chars().all(|letter| letter == char) => Refusal::Inherent,
        _ => Refusal::Open,
    }
}

/// Whether a form is a number.
fn is_counted(form: DateForm) -> bool {
    matches!(form, DateForm::Unix | DateForm::UnixMillis)
}

/// Written as the form wants it, whether or not there is such a day.
fn has_form(text: &str, form: DateForm) -> bool {
    let digits = |positions: &[usize]| positions.iter().all(|at| text.as_bytes()[*at].is_ascii_digit());
    match form {
        DateForm::German => {
            text.len() == 10 && digits(&[0, 1, 3, 4, 6, 7, 8, 9]) && &text[2..3] == "." && &text[5..6] == "."
        }
        DateForm::Iso => {
            text.len() == 10 && digits(&[0, 1, 2, 3, 5, 6, 8, 9]) && &text[4..5] == "-" && &text[7..8] == "-"
        }
        DateForm::American => {
            text.len() == 10 && digits(&[0, 1, 3, 4, 6, 7, 8, 9]) && &text[2..3] == "/" && &text[5..6] == "/"
        }
        DateForm::OData => {
            let millis = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/"));
            millis.is_some_and(|millis| millis.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()))
        }
        DateForm::Unix | DateForm::UnixMillis => false,
        DateForm::Compact => text.len() == 8 && digits(&[0, 1, 2, 3, 4, 5, 6, 7]),
        // Beyond the years that a calendar has.
        DateForm::Timestamp => {
            text.len() >= 20 && text.is_ascii() && text.as_bytes()[10].eq_ignore_ascii_case(&b't') && {
                let day = &text[..10];
                has_form(day, DateForm::Iso)
                    && (day.parse::<Date>().is_err()
                        || day.starts_with("9999")
                        || day.starts_with("000")
                        || text.contains(":60"))
            }
        }
    }
}

fn starts_with_day(text: &str) -> bool {
    text.get(..10).is_some_and(|day| has_form(day, DateForm::Iso))
}

/// Why a difference is what the author asked for, if a step says so: a phrase.
pub(super) fn permits(sheet: &Sheet<'_>, spot: &Spot<'_>, first: Direction, difference: &Difference) -> Option<String> {
    permits_step(sheet, spot.op?, first, difference)
}

fn permits_step(sheet: &Sheet<'_>, op: &OpSpec, first: Direction, difference: &Difference) -> Option<String> {
    let up = first == Direction::Up;
    match op {
        OpSpec::Drop(_) if up => Some("dropped".to_owned()),
        OpSpec::Default(op) => match difference.kind {
            Change::Added if up => Some(format!("filled with {}", op.value.0)),
            Change::Lost if up && op.omit => Some("left out where it is the default".to_owned()),
            // Absent and the default are one there.
            Change::Added if !up => Some(format!("filled with {}", op.value.0)),
            _ => None,
        },
        OpSpec::Const(op) if !up => match difference.kind {
            Change::Added => Some(format!("always {}", op.value.0)),
            Change::Changed | Change::Lost if op.expect == Agree::Ignore => Some(format!("always {}", op.value.0)),
            _ => None,
        },
        OpSpec::Copy(op) if !up => match difference.kind {
            Change::Added => Some(format!("repeats {}", op.from)),
            _ if op.agree == Agree::Ignore => Some(format!("repeats {}", op.from)),
            _ => None,
        },
        OpSpec::Wrap(op) | OpSpec::First(op) => match op.more {
            More::Join => Some("joined to one text".to_owned()),
            More::Drop => Some("only the first is kept".to_owned()),
            More::Error => None,
        },
        OpSpec::Pivot(op) if op.others == Others::Drop => Some("other keys are left out".to_owned()),
        OpSpec::Case(op) if op.older == LetterCase::Any => Some("letters change".to_owned()),
        OpSpec::Trim(_) => Some("without white space at its ends".to_owned()),
        OpSpec::Scale(op) => op.round.map(|digits| format!("rounded to {digits} digits")),
        OpSpec::Null(op) => matches!(difference.kind, Change::Lost | Change::Added | Change::Changed)
            .then(|| "says nothing in another way".to_owned())
            .filter(|_| op.step.is_none() || difference.kind != Change::Changed)
            .or_else(|| permits_step(sheet, op.step.as_deref()?, first, difference)),
        OpSpec::Unit(op) if up => Some(format!("comes back in {}", op.back)),
        OpSpec::Unit(op) => op.round.map(|digits| format!("rounded to {digits} digits")),
        OpSpec::Count(op) if (op.side == SideSpec::Newer) != up => Some("counted anew".to_owned()),
        OpSpec::Sum(op) if (op.side == SideSpec::Newer) != up => Some("added up anew".to_owned()),
        OpSpec::Expr(op) if up && op.from.is_some() || !up && op.to.is_some() => Some("computed anew".to_owned()),
        // Keys that were chosen for others come back as what was chosen.
        OpSpec::Lookup(op) if !op.miss_up.is_empty() || !op.miss_down.is_empty() => {
            Some("comes back as the key that was chosen for it".to_owned())
        }
        OpSpec::Table(op) => {
            let Some(Sample::Str(code)) = &difference.before else {
                return None;
            };
            let across = sheet
                .spec
                .tables
                .get(&op.table)
                .and_then(|table| table.value.rows.get(code));
            let is_chosen = op.miss_up.contains_key(code)
                || op.miss_down.contains_key(code)
                || across.is_some_and(|newer| up && op.miss_down.contains_key(newer))
                || (if up { &op.miss_up } else { &op.miss_down })
                    .get("*")
                    .is_some_and(Option::is_some);
            let after = difference.after.as_ref()?;
            is_chosen.then(|| format!("\"{code}\" comes back as {after}"))
        }
        _ => None,
    }
}

/// Whether text that reads as the same number or instant is only written differently there.
pub(super) fn rewrites_text(op: Option<&OpSpec>) -> bool {
    let inner = match op {
        Some(OpSpec::Null(op)) => op.step.as_deref(),
        _ => op,
    };
    matches!(
        inner,
        Some(
            OpSpec::Decimal(_)
                | OpSpec::Date(_)
                | OpSpec::Scale(_)
                | OpSpec::MinorUnits(_)
                | OpSpec::Unit(_)
                | OpSpec::Sum(_)
                | OpSpec::Expr(_)
        )
    )
}

/// What a step is called in a report.
pub(super) fn name(op: &OpSpec) -> &'static str {
    match op {
        OpSpec::Move(_) => "move",
        OpSpec::Copy(_) => "copy",
        OpSpec::Wrap(_) => "wrap",
        OpSpec::First(_) => "first",
        OpSpec::Default(_) => "default",
        OpSpec::Const(_) => "const",
        OpSpec::Drop(_) => "drop",
        OpSpec::Each(_) => "each",
        OpSpec::Table(_) => "table",
        OpSpec::Lookup(_) => "lookup",
        OpSpec::Decimal(_) => "decimal",
        OpSpec::Date(_) => "date",
        OpSpec::Strip(_) => "strip",
        OpSpec::Pad(_) => "pad",
        OpSpec::Bool(_) => "bool",
        OpSpec::Case(_) => "case",
        OpSpec::Trim(_) => "trim",
        OpSpec::Scale(_) => "scale",
        OpSpec::Null(_) => "null",
        OpSpec::Split(_) => "split",
        OpSpec::Join(_) => "join",
        OpSpec::List(_) => "list",
        OpSpec::Pattern(_) => "pattern",
        OpSpec::MinorUnits(_) => "minorUnits",
        OpSpec::Unit(_) => "unit",
        OpSpec::Pivot(_) => "pivot",
        OpSpec::Group(_) => "group",
        OpSpec::Flatten(_) => "flatten",
        OpSpec::Variant(_) => "variant",
        OpSpec::Count(_) => "count",
        OpSpec::Sum(_) => "sum",
        OpSpec::Paging(_) => "paging",
        OpSpec::Expr(_) => "expr",
    }
}
