//! What each change of a single value does to values of which only the schema is known.

use rust_decimal::Decimal as Number;
use serde_json::{Value, json};

use super::super::plan::Walk;
use super::texts::{Outcome, Texts, class, with, without};
use super::{Flow, Presence, Scope, any_of, some_value};
use crate::contract::arithmetic::{self, Ratio};
use crate::contract::containment::{Conj, Side, Types};
use crate::contract::convert::{Change, Codes, DateChange, YesNo};
use crate::contract::spec::{DateForm, DecimalForm, LetterCase, More, Nothing};

/// A decimal number as text.
pub(in crate::contract) const NUMBER: &str = "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$";

/// A decimal number as text, in any spelling.
const ANY_NUMBER: &str = "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]{1,15})?$";

/// A point in time as `OData` 2 writes it.
const ODATA: &str = "^/Date\\((0|-?[1-9][0-9]*)\\)/$";

/// Digits that a number may have for a bound on it to be exact in a schema.
const EXACT_DIGITS: usize = 15;

/// Digits that numbers may have to be computed with.
const COMPUTED_DIGITS: u32 = 20;

/// Codes that are translated one by one.
const CODE_LIMIT: usize = 2_000;

/// What is known of numbers.
#[derive(Clone, Copy, Debug)]
pub(in crate::contract) struct Numbers {
    least: Option<Number>,
    most: Option<Number>,
    /// The most digits after the point.
    scale: Option<u32>,
}

impl Numbers {
    pub(in crate::contract) fn of(conj: &Conj, side: &Side) -> Self {
        let read = |value: &Value| {
            value
                .is_number()
                .then(|| arithmetic::number(&value.to_string()).ok())
                .flatten()
        };
        if let Some(listed) = conj.only(Types::NUMBER).listed(side) {
            let numbers: Option<Vec<Number>> = listed.iter().map(read).collect();
            let numbers = numbers.filter(|numbers| !numbers.is_empty()).unwrap_or_default();
            return Self {
                least: numbers.iter().min().copied(),
                most: numbers.iter().max().copied(),
                scale: numbers.iter().map(|number| number.normalize().scale()).max(),
            };
        }
        let bounds = |keywords: [&'static str; 2]| {
            conj.parts.iter().flat_map(move |part| {
                let said = side.keywords(part);
                keywords.into_iter().filter_map(move |keyword| read(said.get(keyword)?))
            })
        };
        let steps = conj
            .parts
            .iter()
            .filter_map(|part| read(side.keywords(part).get("multipleOf")?));
        let whole = (!conj.types.meets(Types::FRACTION)).then_some(0);
        Self {
            least: bounds(["minimum", "exclusiveMinimum"]).max(),
            most: bounds(["maximum", "exclusiveMaximum"]).min(),
            scale: steps.map(|step| step.normalize().scale()).chain(whole).min(),
        }
    }

    pub(in crate::contract) fn is_positive(&self) -> bool {
        self.least
            .is_some_and(|least| !least.is_sign_negative() || least.is_zero())
    }

    /// The most digits before the point.
    fn whole_digits(&self) -> Option<usize> {
        let digits = |number: Number| match number.abs().trunc().normalize() {
            zero if zero.is_zero() => 0,
            whole => whole.to_string().len(),
        };
        Some(digits(self.least?).max(digits(self.most?)))
    }

    /// Few enough digits for every computation.
    fn is_small(&self) -> bool {
        let whole = self.whole_digits().and_then(|digits| u32::try_from(digits).ok());
        whole
            .zip(self.scale)
            .is_some_and(|(whole, scale)| whole + scale <= COMPUTED_DIGITS)
    }

    /// They are written out with these digits after the point: a pattern.
    pub(in crate::contract) fn pattern(&self, fraction: &str) -> String {
        let sign = if self.is_positive() { "" } else { "-?" };
        let whole = match self.whole_digits() {
            Some(0) => "0".to_owned(),
            Some(1) => "[0-9]".to_owned(),
            Some(digits) => format!("(0|[1-9][0-9]{{0,{}}})", digits - 1),
            None => "(0|[1-9][0-9]*)".to_owned(),
        };
        format!("^{sign}{whole}{fraction}$")
    }
}

impl Flow<'_> {
    /// What a change makes of what a schema admits, and whether anything; none if it never makes anything.
    pub(super) fn changed(
        &mut self,
        conj: &Conj,
        change: &Change,
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Option<(Value, Presence)> {
        let always = |schema| Some((schema, Presence::Always));
        let is_carried = matches!(change, Change::Keep) || change.is_plain();
        if self.asked.is_wire && !is_carried && !conj.types.is_within(Types::STRING) {
            // One item of a list comes as a text.
            self.refuse(place, "values of parameters are text on their way", None);
            return Some((Value::Bool(true), Presence::Maybe));
        }
        match change {
            Change::Keep => return always(self.value(conj, walk, Some(scope))),
            Change::Wrap => {
                self.to.push("[]".to_owned());
                let item = self.value(conj, walk, Some(scope));
                self.to.pop();
                return always(json!({ "type": "array", "items": item, "minItems": 1, "maxItems": 1 }));
            }
            Change::Nothing { from, to, then } => {
                return self.nothing(conj, (*from, *to), then, walk, scope, place);
            }
            _ => {}
        }
        let mut all = Vec::new();
        let mut presence: Option<Presence> = None;
        for class in conj.types.classes() {
            let one = conj.only(class);
            let made = match change {
                _ if class == Types::NULL => {
                    if matches!(change, Change::Single { .. }) {
                        self.unreturned(place, "null comes back as a list of null", Some(Value::Null));
                    }
                    always(json!({ "type": "null" }))
                }
                Change::Single { more, separator } if class == Types::ARRAY => {
                    self.single(&one, (*more, separator), walk, scope, place)
                }
                Change::Apart { .. } if class == Types::STRING => {
                    self.refuse(place, "the parts of a text are not followed", None);
                    always(json!({ "type": "array", "items": { "type": "string" } }))
                }
                Change::Together { .. } if class == Types::ARRAY => {
                    self.refuse(place, "a text made of a list is not followed", None);
                    always(json!({ "type": "string" }))
                }
                Change::Pivot(pair) if class == Types::ARRAY => always(self.pivot(&one, pair, place)),
                Change::Unpivot(pair) if class == Types::OBJECT => always(self.unpivot(&one, pair)),
                Change::Named(naming) if class == Types::ARRAY => always(self.named(&one, naming, walk, scope, place)),
                Change::Keyed(naming) if class == Types::OBJECT => always(self.keyed(&one, naming, walk, scope, place)),
                Change::Group(grouping) if class == Types::ARRAY => {
                    always(self.group(&one, grouping, walk, scope, place))
                }
                Change::Flatten(grouping) if class == Types::ARRAY => {
                    always(self.flatten(&one, grouping, walk, scope, place))
                }
                change if class == Types::ARRAY && change.is_plain() => {
                    always(self.list(&one, |flow, item| flow.plain_or_null(item, change, place)))
                }
                change => always(self.plain(&one, change, place)),
            };
            let own = match &made {
                Some((Value::Bool(false), _)) => continue,
                Some((_, own)) => *own,
                None => Presence::Never,
            };
            presence = Some(presence.map_or(own, |known| known.or(own)));
            all.extend(made.map(|(schema, _)| schema));
        }
        presence.map(|presence| (any_of(all), presence))
    }

    fn plain_or_null(&mut self, conj: &Conj, change: &Change, place: (u32, u32)) -> Value {
        let classes: Vec<_> = conj.types.classes().map(|class| conj.only(class)).collect();
        let made = classes.iter().map(|one| {
            if one.types == Types::NULL {
                json!({ "type": "null" })
            } else {
                self.plain(one, change, place)
            }
        });
        any_of(made.collect())
    }

    /// One plain value, of one type.
    fn plain(&mut self, conj: &Conj, change: &Change, place: (u32, u32)) -> Value {
        self.note();
        if self.is_void(conj) {
            return Value::Bool(false);
        }
        let is_text = conj.types == Types::STRING;
        let is_number = conj.types.is_within(Types::NUMBER);
        if self.asked.is_wire && !is_text {
            // On its way a parameter is text, whatever its schema says.
            self.refuse(place, "values of parameters are text on their way", None);
            return Value::Bool(true);
        }
        let texts = Texts::new(conj, self.side, self.asked.deadline);
        match change {
            Change::Table(codes) if is_text => self.coded(&texts, codes, place),
            // Rows come and go without a new check: which there are is not part of a proof.
            Change::Lookup(_) if is_text => {
                self.refuse(place, "a key that may not be in the table", None);
                self.unreturned(place, "a key that may come back as another", None);
                json!({ "type": "string" })
            }
            Change::NumberToText { scale, pad } if is_number => self.text_of_number(conj, *scale, *pad, place),
            Change::TextToNumber { scale } if is_text => self.number_of_text(&texts, *scale, place),
            Change::Date(change) if is_text && !change.from.is_number() => self.dated(&texts, change, place),
            Change::Date(change) if is_number && change.from.is_number() => {
                self.refuse(place, "a point in time beyond the calendar", None);
                self.unreturned(place, "the time of day comes back as another", None);
                date_as(change.to)
            }
            Change::Strip { char, width } if is_text => self.stripped(&texts, *char, *width, place),
            Change::Pad { char, width } if is_text => self.padded(&texts, *char, *width, place),
            Change::ToBool(codes) if is_text || is_number || conj.types == Types::BOOL => {
                self.truth(conj, &texts, codes, place)
            }
            Change::FromBool(codes) if conj.types == Types::BOOL => {
                if codes.yes.text() == codes.no.text() {
                    self.unreturned(place, "true and false become the same", None);
                }
                let listed = conj.listed(self.side).unwrap_or_default();
                let code = |truth: &Value| if *truth == true { &codes.yes.0 } else { &codes.no.0 };
                json!({ "enum": listed.iter().map(code).collect::<Vec<_>>() })
            }
            Change::Case { from, to } if is_text => self.cased(&texts, *from, *to, place),
            Change::Trim if is_text => self.trimmed(conj, &texts),
            Change::Scale { by, round, form }
                if is_text && *form != Some(DecimalForm::String) || is_number && *form != Some(DecimalForm::Number) =>
            {
                self.scaled(conj, &texts, by, *round, form.is_some(), place)
            }
            // Values of another type than the change is made for.
            Change::Table(_)
            | Change::Lookup(_)
            | Change::NumberToText { .. }
            | Change::TextToNumber { .. }
            | Change::Date(_)
            | Change::Strip { .. }
            | Change::Pad { .. }
            | Change::ToBool(_)
            | Change::FromBool(_)
            | Change::Case { .. }
            | Change::Trim
            | Change::Scale { .. }
            | Change::Keep
            | Change::Wrap
            | Change::Single { .. }
            | Change::Nothing { .. }
            | Change::Apart { .. }
            | Change::Together { .. }
            | Change::Pivot(_)
            | Change::Unpivot(_)
            | Change::Named(_)
            | Change::Keyed(_)
            | Change::Group(_)
            | Change::Flatten(_)
            | Change::Then(_) => {
                let value = conj.types.classes().next().and_then(some_value);
                self.refuse(place, "a value of another type than the step takes", value);
                Value::Bool(false)
            }
        }
    }

    /// A number, or a text that is one, multiplied. What is turned becomes the other of the two.
    fn scaled(
        &mut self,
        conj: &Conj,
        texts: &Texts<'_>,
        by: &Ratio,
        round: Option<u8>,
        is_turned: bool,
        place: (u32, u32),
    ) -> Value {
        let is_text = conj.types == Types::STRING;
        let numbers = Numbers::of(conj, self.side);
        if is_text && !texts.within(ANY_NUMBER).holds() {
            let value = texts.within(ANY_NUMBER).value();
            self.refuse(place, "a text that is no number", value);
        } else if is_text || !numbers.is_small() {
            self.refuse(place, "a number of too many digits to be computed with", None);
        } else if round.is_none() && by.digits().is_none() && !self.asked.is_return {
            self.refuse(place, "a number that has no exact result", None);
        }
        let sign = numbers.is_positive() && by.is_positive();
        // Told to become the other, it does.
        match (is_text != is_turned, sign) {
            (true, _) => json!({ "type": "string", "pattern": NUMBER }),
            (false, true) => {
                let mut schema = json!({ "type": "number", "minimum": 0 });
                let most = numbers.most.and_then(|most| by.apply(&most.to_string(), None).ok());
                if let Some(most) = most.and_then(|most| exact_bound(&most)) {
                    schema["maximum"] = most;
                }
                let digits = numbers.scale.zip(by.digits()).map(|(own, more)| own + more);
                let digits = digits
                    .or(round.map(u32::from))
                    .and_then(|digits| usize::try_from(digits).ok());
                if let Some(step) = digits.and_then(|digits| exact_bound(&step_of(digits))) {
                    schema["multipleOf"] = step;
                }
                schema
            }
            (false, false) => json!({ "type": "number" }),
        }
    }

    fn coded(&mut self, texts: &Texts<'_>, codes: &Codes, place: (u32, u32)) -> Value {
        let mut made: Vec<&str> = Vec::new();
        if let Some(listed) = texts.listed() {
            for code in &listed {
                let found = codes.rows.get(code.as_str()).unwrap_or(&codes.otherwise);
                if let Some(found) = found {
                    made.push(found);
                } else {
                    let why = format!("the code \"{code}\" has no counterpart");
                    self.refuse(place, &why, Some(code.as_str().into()));
                }
            }
        } else {
            for (code, found) in codes
                .rows
                .iter()
                .take(CODE_LIMIT)
                .filter(|(code, _)| texts.may_be(code))
            {
                if let Some(found) = found {
                    made.push(found);
                } else {
                    let why = format!("the code \"{code}\" has no counterpart");
                    self.refuse(place, &why, Some(Value::from(&**code)));
                }
            }
            match &codes.otherwise {
                Some(found) => made.push(found),
                None => match texts.among(codes.rows.keys().map(|code| &**code)) {
                    Outcome::Within => {}
                    outcome => self.refuse(place, "a code without a row", outcome.value()),
                },
            }
            if codes.rows.len() > CODE_LIMIT {
                self.refuse(place, "a table of more rows than are followed", None);
                return json!({ "type": "string" });
            }
        }
        made.sort_unstable();
        made.dedup();
        json!({ "enum": made })
    }

    fn text_of_number(&mut self, conj: &Conj, scale: Option<u8>, pad: bool, place: (u32, u32)) -> Value {
        let numbers = Numbers::of(conj, self.side);
        let finer_than = |most: &u32| numbers.scale.is_none_or(|scale| scale > *most);
        if let Some(most) = scale.map(u32::from).filter(finer_than) {
            let finer = json!(10_f64.powi(-(i32::try_from(most).unwrap_or(0) + 1)));
            let why = format!("a number with more than {most} digits after the point");
            self.refuse(place, &why, Some(finer));
        }
        if numbers.whole_digits().is_none_or(|digits| digits > 30) || numbers.scale.is_none_or(|scale| scale > 30) {
            let value = if numbers.most.is_none() {
                json!(1e50)
            } else {
                json!(1e-50)
            };
            self.refuse(place, "a number of more digits than can be written out", Some(value));
        }
        let fraction = match scale.filter(|_| pad) {
            Some(0) => String::new(),
            Some(scale) => format!("\\.[0-9]{{{scale}}}"),
            None => "(\\.[0-9]+)?".to_owned(),
        };
        json!({ "type": "string", "pattern": numbers.pattern(&fraction) })
    }

    fn number_of_text(&mut self, texts: &Texts<'_>, scale: Option<u8>, place: (u32, u32)) -> Value {
        match texts.within(ANY_NUMBER) {
            Outcome::Within => {}
            outcome => self.refuse(place, "a text that is no decimal number", outcome.value()),
        }
        let mut schema = json!({ "type": "number" });
        let fraction = |most: usize| match most {
            0 => String::new(),
            most => format!("(\\.[0-9]{{1,{most}}})?"),
        };
        let is_within = |digits: &str, most: usize| texts.within(&format!("^-?{digits}{}$", fraction(most))).holds();
        let digits = (0..=6).find(|most| is_within("(0|[1-9][0-9]*)", *most));
        match (scale.map(usize::from), digits) {
            (Some(most), known) if known.is_none_or(|digits| digits > most) => {
                let pattern = format!("^-?[0-9]+{}0*$", fraction(most));
                let outcome = texts.within(&pattern);
                if !outcome.holds() {
                    let why = format!("a number with more than {most} digits after the point");
                    self.refuse(place, &why, outcome.value());
                }
            }
            _ => {}
        }
        // With a scale, no more digits come through.
        let digits = match (digits, scale.map(usize::from)) {
            (Some(digits), Some(scale)) => Some(digits.min(scale)),
            (digits, scale) => digits.or(scale),
        };
        if let Some(step) = digits.and_then(|digits| exact_bound(&step_of(digits))) {
            schema["multipleOf"] = step;
        }
        let is_positive = texts.within("^[^-]*$").holds();
        if is_positive {
            schema["minimum"] = json!(0);
        }
        let whole = (1..=EXACT_DIGITS).find(|most| {
            let whole = format!("(0|[1-9][0-9]{{0,{}}})", most - 1);
            texts.within(&format!("^-?{whole}(\\.[0-9]+)?$")).holds()
        });
        if let Some(whole) = whole {
            let nines = "9".repeat(whole);
            let limit = match digits {
                Some(0) => nines,
                Some(digits) if digits + whole <= EXACT_DIGITS => format!("{nines}.{}", "9".repeat(digits)),
                _ => format!("1{}", "0".repeat(whole)),
            };
            if let Some(bound) = exact_bound(&limit) {
                schema["maximum"] = bound;
            }
            if let Some(bound) = exact_bound(&format!("-{limit}")).filter(|_| !is_positive) {
                schema["minimum"] = bound;
            }
        }
        if is_positive && texts.within("^[^eE]*[1-9][^eE]*$").holds() {
            schema["exclusiveMinimum"] = json!(0);
        }
        schema
    }

    fn dated(&mut self, texts: &Texts<'_>, change: &DateChange, place: (u32, u32)) -> Value {
        let written = match change.from {
            DateForm::German => "^[0-9]{2}\\.[0-9]{2}\\.[0-9]{4}$",
            DateForm::Iso => "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
            DateForm::Compact => "^[0-9]{8}$",
            DateForm::Timestamp => "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt].*$",
            DateForm::American => "^[0-9]{2}/[0-9]{2}/[0-9]{4}$",
            DateForm::OData => ODATA,
            DateForm::Unix | DateForm::UnixMillis => "^-?[0-9]+$",
        };
        let is_day = change.from == DateForm::Iso && texts.has_format("date");
        match texts.within(written) {
            Outcome::Within if is_day => {}
            Outcome::Within if change.from.is_instant() => {
                self.refuse(place, "a point in time beyond the calendar", None);
            }
            Outcome::Within => {
                let none = match change.from {
                    DateForm::German => "30.02.2026",
                    DateForm::American => "02/30/2026",
                    DateForm::Iso => "2026-02-30",
                    _ => "20260230",
                };
                let value = texts.may_be(none).then(|| Value::from(none));
                // What the way there wrote is a day.
                if !self.asked.is_return {
                    self.refuse(place, "a day that does not exist", value);
                }
            }
            outcome => self.refuse(place, "a text that is no date as the step reads it", outcome.value()),
        }
        match (change.from.is_instant(), change.to.is_instant()) {
            (true, to) => {
                if to {
                    self.refuse(place, "a point in time finer than the other form tells", None);
                }
                self.unreturned(place, "the time of day comes back as another", None);
            }
            (false, true) => {
                self.refuse(place, "a day at the end of the calendar", None);
                self.unreturned(place, "the day is followed through a time zone", None);
            }
            (false, false) => {}
        }
        date_as(change.to)
    }

    fn stripped(&mut self, texts: &Texts<'_>, char: char, width: u8, place: (u32, u32)) -> Value {
        match texts.within(&format!("^[\\s\\S]{{{width}}}$")) {
            Outcome::Within => {}
            outcome => {
                let why = format!("a text that has not {width} characters");
                self.refuse(place, &why, outcome.value());
            }
        }
        let padding: String = std::iter::repeat_n(char, width.into()).collect();
        // What the way there padded has more to it.
        if !self.asked.is_return && texts.may_be(&padding) {
            self.refuse(place, "a text that is nothing but padding", Some(padding.into()));
        }
        if width == 0 {
            return Value::Bool(false);
        }
        let Some(letters) = texts.alphabet() else {
            return json!({ "type": "string", "minLength": 1, "maxLength": width });
        };
        let (first, rest) = (class(&without(&letters, char)), class(&letters));
        if without(&letters, char).is_empty() {
            return Value::Bool(false);
        }
        json!({ "type": "string", "pattern": format!("^{first}{rest}{{0,{}}}$", width - 1) })
    }

    fn padded(&mut self, texts: &Texts<'_>, char: char, width: u8, place: (u32, u32)) -> Value {
        let others = class(&[(char, char)]).replacen('[', "[^", 1);
        let limit = width.saturating_sub(1);
        match texts.within(&format!("^{others}[\\s\\S]{{0,{limit}}}$")) {
            Outcome::Within => {}
            outcome => {
                let why = format!("a text that is empty, begins with padding or has more than {width} characters");
                self.refuse(place, &why, outcome.value());
            }
        }
        let Some(letters) = texts.alphabet() else {
            return json!({ "type": "string", "minLength": width, "maxLength": width });
        };
        let letters = class(&with(&letters, char));
        json!({ "type": "string", "pattern": format!("^{letters}{{{width}}}$") })
    }

    fn truth(&mut self, conj: &Conj, texts: &Texts<'_>, codes: &YesNo, place: (u32, u32)) -> Value {
        let known = [codes.yes.text(), codes.no.text()];
        if conj.types == Types::STRING {
            match texts.among(known.iter().map(|code| &**code)) {
                Outcome::Within => {}
                outcome => self.refuse(place, "a code that is neither of the two", outcome.value()),
            }
        } else {
            self.refuse(place, "a code that may be neither of the two", None);
        }
        let is_same = |code: &Value| Types::of(code).meets(conj.types);
        if !(is_same(&codes.yes.0) && is_same(&codes.no.0)) {
            self.unreturned(place, "the code comes back as another type", None);
        }
        json!({ "type": "boolean" })
    }

    fn cased(&mut self, texts: &Texts<'_>, from: LetterCase, to: LetterCase, place: (u32, u32)) -> Value {
        let written = match from {
            LetterCase::Upper => Some("^[ -`{-~]*$"),
            LetterCase::Lower => Some("^[ -@\\[-~]*$"),
            LetterCase::Any => None,
        };
        if let Some(written) = written {
            match texts.within(written) {
                Outcome::Within => {}
                outcome => self.refuse(place, "a text that is not in the case it should be", outcome.value()),
            }
        }
        let write = |text: &str| match to {
            LetterCase::Upper => text.to_uppercase(),
            LetterCase::Lower => text.to_lowercase(),
            LetterCase::Any => text.to_owned(),
        };
        if let Some(listed) = texts.listed() {
            return json!({ "enum": listed.iter().map(|text| write(text)).collect::<Vec<_>>() });
        }
        let Some(letters) = texts.alphabet() else {
            return json!({ "type": "string" });
        };
        // Of ASCII letters each becomes one.
        let range = |(first, last): &(char, char)| match (first, last, to) {
            ('a', 'z', LetterCase::Upper) => ('A', 'Z'),
            ('A', 'Z', LetterCase::Lower) => ('a', 'z'),
            other => (*other.0, *other.1),
        };
        let mut changed: Vec<(char, char)> = letters.iter().map(range).collect();
        changed.dedup();
        let mut schema = json!({ "type": "string", "pattern": format!("^{}*$", class(&changed)) });
        if let Some(most) = texts.most() {
            schema["maxLength"] = most.into();
        }
        schema["minLength"] = texts.least().into();
        for length in 1..=12 {
            if texts.within(&format!("^[\\s\\S]{{{length}}}$")).holds() {
                schema["pattern"] = format!("^{}{{{length}}}$", class(&changed)).into();
            }
        }
        schema
    }

    fn trimmed(&mut self, conj: &Conj, texts: &Texts<'_>) -> Value {
        if texts.within("^[!-~]*$").holds() {
            return self.plainly(conj);
        }
        let mut schema = json!({ "type": "string" });
        if let Some(most) = texts.most() {
            schema["maxLength"] = most.into();
        }
        schema
    }

    /// Says nothing in another way.
    fn nothing(
        &mut self,
        conj: &Conj,
        (from, to): (Nothing, Nothing),
        then: &Change,
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Option<(Value, Presence)> {
        let texts = Texts::new(conj, self.side, self.asked.deadline);
        let may_be = |nothing| match nothing {
            Nothing::Absent => false,
            Nothing::Null => conj.types.meets(Types::NULL),
            Nothing::Empty => conj.types.meets(Types::STRING) && texts.may_be(""),
        };
        let (is_from, is_to) = (may_be(from), may_be(to));
        if is_to {
            let value = if to == Nothing::Null { Value::Null } else { "".into() };
            self.refuse(
                place,
                "a value that would be taken for none on the way back",
                Some(value),
            );
        }
        let gone = |nothing| match nothing {
            Nothing::Null => Types::NULL,
            Nothing::Absent | Nothing::Empty => Types::NONE,
        };
        let left = conj.types.without(gone(from) | gone(to));
        let mut all = Vec::new();
        // What says something may become nothing by what is done with it then.
        let mut kept_presence = Presence::Always;
        if !left.is_empty() {
            let left = conj.only(left);
            match then {
                Change::Keep => {
                    let kept = self.value(&left, walk, Some(scope));
                    // Empty text is taken out of what is left.
                    let is_emptied = from == Nothing::Empty || to == Nothing::Empty;
                    all.push(if is_emptied && left.types.meets(Types::STRING) {
                        json!({ "allOf": [kept, { "minLength": 1 }] })
                    } else {
                        kept
                    });
                }
                then => {
                    let made = self.changed(&left, then, walk, scope, place);
                    kept_presence = made.as_ref().map_or(Presence::Never, |(_, own)| *own);
                    all.extend(made.map(|(schema, _)| schema));
                }
            }
        }
        let presence = match (is_from, to) {
            (true, Nothing::Absent) if all.is_empty() => return None,
            (true, Nothing::Absent) => Presence::Maybe,
            (true, Nothing::Null) => {
                all.push(json!({ "type": "null" }));
                Presence::Always
            }
            (true, Nothing::Empty) => {
                all.push(json!({ "const": "" }));
                Presence::Always
            }
            (false, _) => Presence::Always,
        };
        let presence = if kept_presence == Presence::Always {
            presence
        } else {
            Presence::Maybe
        };
        Some((any_of(all), presence))
    }

    /// The only item of a list.
    fn single(
        &mut self,
        conj: &Conj,
        (more, separator): (More, &str),
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Option<(Value, Presence)> {
        let (least, most) = (
            conj.at_least(self.side, "minItems"),
            conj.at_most(self.side, "maxItems"),
        );
        if most == Some(0) {
            return None;
        }
        let first = conj.item(self.side, 0);
        let mut all = vec![self.at_source(&["0"], |flow| flow.value(&first, walk, Some(scope)))];
        if most.is_none_or(|most| most > 1) {
            match more {
                More::Error => self.refuse(place, "a list of several items where only one can be carried", None),
                More::Drop => {}
                More::Join => {
                    if !first.types.is_within(Types::STRING | Types::NUMBER | Types::BOOL) || conj.prefix(self.side) > 0
                    {
                        self.refuse(place, "a list of something else than texts cannot be joined", None);
                    }
                    let texts = Texts::new(&first, self.side, self.asked.deadline);
                    let mut joined = json!({ "type": "string" });
                    let bound = texts.most().zip(most).filter(|_| first.types.is_within(Types::STRING));
                    if let Some((longest, most)) = bound {
                        let between = (most - 1).saturating_mul(separator.chars().count() as u64);
                        joined["maxLength"] = longest.saturating_mul(most).saturating_add(between).into();
                    }
                    all.push(joined);
                }
            }
        }
        let presence = if least > 0 { Presence::Always } else { Presence::Maybe };
        Some((any_of(all), presence))
    }
}

/// What a date is in a form.
fn date_as(form: DateForm) -> Value {
    let pattern = match form {
        DateForm::German => "^[0-3][0-9]\\.[01][0-9]\\.[0-9]{4}$",
        DateForm::American => "^[01][0-9]/[0-3][0-9]/[0-9]{4}$",
        DateForm::Compact => "^[0-9]{4}[01][0-9][0-3][0-9]$",
        DateForm::OData => ODATA,
        DateForm::Unix | DateForm::UnixMillis => return json!({ "type": "integer" }),
        DateForm::Iso => {
            let pattern = "^[0-9]{4}-[01][0-9]-[0-3][0-9]$";
            return json!({ "type": "string", "format": "date", "pattern": pattern });
        }
        DateForm::Timestamp => {
            let pattern =
                "^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]([.][0-9]+)?[+-][0-2][0-9]:[0-5][0-9]$";
            return json!({ "type": "string", "format": "date-time", "pattern": pattern });
        }
    };
    json!({ "type": "string", "pattern": pattern })
}

/// The text of a number as a bound in a schema, if that is exact there.
fn exact_bound(text: &str) -> Option<Value> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let value: Value = serde_json::from_str(text).ok()?;
    let most = if text.contains('.') {
        EXACT_DIGITS
    } else {
        EXACT_DIGITS + 3
    };
    (digits <= most).then_some(value)
}

fn step_of(digits: usize) -> String {
    match digits {
        0 => "1".to_owned(),
        digits => format!("0.{}1", "0".repeat(digits - 1)),
    }
}
