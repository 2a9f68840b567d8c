//! What combinations make of values of which only the schema is known.

use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Value, json};

use super::{FromMinorUnits, FromUnit, Join, Pattern, Piece, Split, Template, ToMinorUnits, ToOffset, ToPage, ToUnit};
use crate::contract::containment::Types;
use crate::contract::program::{Abstract, Doubts, Given, NUMBER, Presence};
use crate::contract::spec::{DecimalForm, MoreParts};

type Image = Vec<(Value, Presence)>;

/// A part of a text between separators, as a pattern; only of separators of one character.
fn part_of(separator: &str) -> Option<String> {
    let mut letters = separator.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    let escaped = if letter.is_ascii_punctuation() {
        format!("\\x{:02X}", u32::from(letter))
    } else {
        letter.to_string()
    };
    Some(format!("[^{escaped}]+"))
}

impl Abstract for Split {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        let Some(Some(text)) = given.first() else {
            return Vec::new();
        };
        let separator = regex_syntax::escape(&self.separator);
        let (is_whole, value) = match part_of(&self.separator) {
            Some(part) => {
                let last = if self.more == MoreParts::Last {
                    "[\\s\\S]+"
                } else {
                    &part
                };
                let more = self.count - 2;
                let pattern = format!("^{part}({separator}{part}){{0,{more}}}({separator}{last})?$");
                text.is_text_of(&pattern)
            }
            None => (false, None),
        };
        if !is_whole {
            doubts.refuse("a text with an empty part, or with more parts than fields", value);
        }
        let longest = text.texts().most();
        let part = |position: usize| {
            let mut schema = json!({ "type": "string", "minLength": 1 });
            if let Some(longest) = longest {
                schema["maxLength"] = longest.into();
            }
            let is_rest = self.more == MoreParts::Last && position + 1 == self.count;
            if let Some(part) = part_of(&self.separator).filter(|_| !is_rest) {
                schema["pattern"] = format!("^{part}$").into();
            }
            let presence = if position == 0 {
                Presence::Always
            } else {
                Presence::Maybe
            };
            (schema, presence)
        };
        (0..self.count).map(part).collect()
    }
}

impl Abstract for Join {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        let (mut longest, mut has_gap) = (Some(0_u64), false);
        let between = self.separator.chars().count() as u64;
        for (position, part) in given.iter().enumerate() {
            let Some(part) = part else {
                has_gap = true;
                continue;
            };
            if has_gap && !doubts.is_return {
                doubts.refuse("a part that follows one that is not there", None);
            }
            has_gap |= !part.is_certain();
            let is_last = position + 1 == given.len() && self.more == MoreParts::Last;
            let pattern = match part_of(&self.separator) {
                _ if is_last => Some("[\\s\\S]+".to_owned()),
                pattern => pattern,
            };
            let (is_clear, value) = pattern.map_or((false, None), |part_of| part.is_text_of(&format!("^{part_of}$")));
            if !is_clear {
                doubts.refuse("a part that is empty or holds the separator", value);
            }
            longest = longest
                .zip(part.texts().most())
                .map(|(all, own)| all.saturating_add(own).saturating_add(between));
        }
        let mut schema = json!({ "type": "string", "minLength": 1 });
        if let Some(longest) = longest {
            schema["maxLength"] = longest.saturating_sub(between).into();
        }
        vec![(schema, Presence::Always)]
    }
}

impl Abstract for Pattern {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        let mut known: Vec<&str> = Vec::new();
        for (template, text) in self.from.iter().zip(given) {
            let Some(text) = text else { continue };
            let (is_read, value) = template
                .pattern()
                .map_or((false, None), |pattern| text.is_text_of(&pattern));
            if !is_read {
                let why = format!("a text that is not written as `{}`", template.written);
                doubts.refuse(&why, value);
            }
            if template.parts().any(|part| known.contains(&part)) && !doubts.is_return {
                doubts.refuse("two texts with different values for one part", None);
            }
            if text.is_certain() {
                known.extend(template.parts());
            }
        }
        let clear = self.to.iter().chain(&self.from).all(Template::is_clear);
        if !clear {
            doubts.refuse("a text that may be read in two ways", None);
        }
        let made = self.to.iter().map(|template| {
            let is_certain = template.parts().all(|part| known.contains(&part));
            let presence = if is_certain { Presence::Always } else { Presence::Maybe };
            let mut schema = json!({ "type": "string" });
            if let Some(pattern) = template.pattern() {
                schema["pattern"] = pattern.into();
            }
            (schema, presence)
        });
        made.collect()
    }
}

impl Template {
    /// The texts it writes, as a pattern of JSON Schema; none if that cannot say it.
    fn pattern(&self) -> Option<String> {
        let mut pattern = "^".to_owned();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => pattern.push_str(&regex_syntax::escape(literal)),
                Piece::Part(name) => {
                    // Written out letter by letter: `\d` means more digits here than in JSON Schema.
                    let part = regex_syntax::parse(self.expression(name)).ok()?;
                    if !part.properties().look_set().is_empty() {
                        return None;
                    }
                    let written = part.to_string();
                    if written.contains("(?s") || written.contains("(?-") {
                        return None;
                    }
                    pattern.extend(["(?:", &written, ")"]);
                }
            }
        }
        pattern.push('$');
        Some(pattern)
    }

    /// Whether a text can be read in one way only: all parts but one are of one length.
    fn is_clear(&self) -> bool {
        let loose = self
            .parts()
            .filter(|part| fixed_length(self.expression(part)).is_none());
        loose.count() <= 1
    }
}

/// How many characters a pattern matches, if that is always the same.
fn fixed_length(pattern: &str) -> Option<usize> {
    fn of(hir: &Hir) -> Option<usize> {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Some(0),
            HirKind::Literal(literal) => Some(std::str::from_utf8(&literal.0).ok()?.chars().count()),
            HirKind::Class(_) => Some(1),
            HirKind::Repetition(repetition) => {
                let count = (Some(repetition.min) == repetition.max).then_some(repetition.min)?;
                Some(of(&repetition.sub)? * usize::try_from(count).ok()?)
            }
            HirKind::Capture(capture) => of(&capture.sub),
            HirKind::Concat(parts) => parts.iter().map(of).sum(),
            HirKind::Alternation(branches) => {
                let mut lengths = branches.iter().map(of);
                let first = lengths.next()??;
                lengths.all(|length| length == Some(first)).then_some(first)
            }
        }
    }
    of(&regex_syntax::parse(pattern).ok()?)
}

/// The first value, if it is known to be a number or text in which one may stand.
fn is_number(given: &[Option<Given<'_>>]) -> bool {
    let types = given.first().and_then(Option::as_ref).map(Given::types);
    types.is_some_and(|types| types.is_within(Types::NUMBER))
}

fn formed(form: DecimalForm, is_positive: bool) -> Value {
    match form {
        DecimalForm::String => json!({ "type": "string", "pattern": NUMBER }),
        DecimalForm::Number if is_positive => json!({ "type": "number", "minimum": 0 }),
        DecimalForm::Number => json!({ "type": "number" }),
    }
}

impl Abstract for ToMinorUnits {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        doubts.refuse("an amount finer than its currency, or of no currency", None);
        let amount = given.first().and_then(Option::as_ref);
        let is_positive = amount.is_some_and(|amount| {
            if is_number(given) {
                amount.numbers().is_positive()
            } else {
                amount.is_text_of("^[^-]*$").0
            }
        });
        let mut schema = json!({ "type": "integer" });
        if is_positive {
            schema["minimum"] = json!(0);
        }
        vec![(schema, Presence::Always)]
    }
}

impl Abstract for FromMinorUnits {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        doubts.refuse("an amount of no currency, or of too many digits", None);
        let amount = given.first().and_then(Option::as_ref);
        let is_positive = amount.is_some_and(|amount| is_number(given) && amount.numbers().is_positive());
        vec![(formed(self.form, is_positive), Presence::Always)]
    }
}

impl Abstract for ToUnit {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        let unit = given.get(1).and_then(Option::as_ref);
        let is_known = unit.is_some_and(|unit| {
            let known = self.factors.keys().map(|code| &**code);
            unit.types().is_within(Types::STRING) && unit.texts().among(known).holds()
        });
        if !is_known {
            doubts.refuse("a unit without a factor", None);
        }
        doubts.refuse("a quantity without its unit, or of too many digits", None);
        let form = if is_number(given) {
            DecimalForm::Number
        } else {
            DecimalForm::String
        };
        let is_positive = given
            .first()
            .and_then(Option::as_ref)
            .is_some_and(|value| value.numbers().is_positive());
        let schema = if given
            .first()
            .and_then(Option::as_ref)
            .is_none_or(|value| !value.types().is_within(Types::NUMBER) && !value.types().is_within(Types::STRING))
        {
            Value::Bool(true)
        } else {
            formed(form, is_positive)
        };
        vec![(schema, Presence::Always)]
    }
}

impl Abstract for FromUnit {
    fn image(&self, given: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        doubts.refuse("a quantity of too many digits", None);
        let value = given.first().and_then(Option::as_ref);
        let types = value.map_or(Types::NONE, Given::types);
        if self.round.is_some() {
            doubts.unreturned("a quantity is rounded");
        }
        let schema = if types.is_within(Types::NUMBER) {
            formed(
                DecimalForm::Number,
                value.is_some_and(|value| value.numbers().is_positive()),
            )
        } else if types.is_within(Types::STRING) {
            formed(DecimalForm::String, false)
        } else {
            Value::Bool(true)
        };
        vec![
            (schema, Presence::Always),
            (json!({ "const": &*self.unit }), Presence::Always),
        ]
    }
}

impl Abstract for ToOffset {
    fn image(&self, _: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        doubts.refuse("a page before the first, or beyond every list", None);
        let digits = || (json!({ "type": "string", "pattern": "^[0-9]+$" }), Presence::Always);
        vec![digits(), digits()]
    }
}

impl Abstract for ToPage {
    fn image(&self, _: &[Option<Given<'_>>], _: &[Option<Given<'_>>], doubts: &mut Doubts) -> Image {
        doubts.refuse("an offset between two pages", None);
        let digits = || (json!({ "type": "string", "pattern": "^[0-9]+$" }), Presence::Always);
        vec![digits(), digits()]
    }
}
