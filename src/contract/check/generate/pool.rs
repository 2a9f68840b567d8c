//! The values one field is given: drawn up once, sifted by the production validator, then taken in turn.

use fastrand::Rng;
use jsonschema::Validator;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::pattern::{Pattern, Reach};
use crate::contract::check::sample::Sample;
use crate::json::Tape;

/// Texts made from a pattern.
const FROM_PATTERN: usize = 120;

/// Numbers made between the bounds.
const BETWEEN: usize = 90;

/// Longest text that is tried where the schema has no bound.
const UNBOUNDED: usize = 300;

/// Longest text that is tried at all: a bound beyond is out of reach.
const LONGEST: usize = 20_000;

/// Texts that have broken somebody's mapping before.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "0",
    "1",
    "007",
    "0000000000",
    "0000100234",
    "100234",
    "9999999999",
    "A-17",
    "EA",
    "DE",
    "EUR",
    "true",
    "null",
    "NaN",
    "-1",
    "+1",
    "1.",
    ".5",
    "0.00",
    "1.0",
    "19.90",
    "19.9",
    "0.1000",
    "1e2",
    "1,50",
    "12345678901234567890.12",
    "trailing ",
    " leading",
    "two  blanks",
    "tab\there",
    "line\nbreak",
    "line\r\nbreak",
    "Jörg Müller",
    "Straße",
    "İstanbul",
    "東京都",
    "🚚📦",
    "e\u{301}",
    "quote\"quote",
    "back\\slash",
    "<b>&amp;</b>",
    "a\u{2028}b",
    "a\u{0}b",
    "\u{feff}bom",
    "a/b~c",
    "{\"a\":1}",
    "'; --",
    "..",
    "%2F",
];

/// Values of the formats that schemas name, and dates in the forms that mappings know.
const FORMATS: &[&str] = &[
    "2026-11-20",
    "2028-02-29",
    "1999-12-31",
    "2026-01-01",
    "0001-01-01",
    "9999-12-31",
    "2000-02-29",
    "2026-03-29",
    "2026-10-25",
    "20.11.2026",
    "29.02.2028",
    "31.12.1999",
    "01.01.2026",
    "29.03.2026",
    "29.02.2027",
    "24.13.2026",
    "22.85.2126",
    "20261120",
    "20280229",
    "20261301",
    "2026-11-20T18:00:00+01:00",
    "2026-11-20T23:30:00Z",
    "2026-03-29T02:30:00+01:00",
    "2026-10-25T02:30:00+02:00",
    "2026-10-25T02:30:00+01:00",
    "2016-12-31T23:59:60Z",
    "2026-11-20T18:00:00.123456789Z",
    "2028-02-29T00:00:00-11:00",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00Z",
    "18:00:00Z",
    "23:59:59+01:00",
    "P1Y2M3DT4H5M6S",
    "PT15M",
    "P2W",
    "shop@example.com",
    "jörg@example.com",
    "\"a b\"@example.com",
    "example.com",
    "xn--bcher-kva.example",
    "192.0.2.1",
    "2001:db8::1",
    "::",
    "https://example.com/a?b=c#d",
    "urn:crossdock:problem:unmappable",
    "mailto:shop@example.com",
    "/orders/A-17",
    "a b",
    "https://example.com/{id}",
    "019aa0e2-7c11-7b2e-8f3a-5a0e6d1c9b42",
    "00000000-0000-0000-0000-000000000000",
    "/lines/0/sku",
    "0/sku",
    "^[a-z]+$",
];

/// Letters that texts are lengthened with.
const ALPHABETS: &[&str] = &[
    "a",
    "0",
    "Z9-",
    "üß€",
    "漢字",
    "🚚",
    "\"\\",
    "a ",
    "\u{2028}x",
    "é\u{301}",
];

/// Of a hundred values, so many are of those that some step refuses.
const SELDOM_PERCENT: u8 = 4;

/// Values for one field, the edges first.
pub(super) struct Pool {
    values: Vec<Sample>,
    next: usize,
    /// Values that were refused. Were they as frequent as the others, hardly any document would pass.
    seldom: Vec<Sample>,
}

impl Pool {
    /// The next in turn, or any.
    pub(super) fn take(&mut self, rng: &mut Rng) -> Sample {
        let is_seldom = self.values.is_empty() || rng.u8(..100) < SELDOM_PERCENT;
        if is_seldom && !self.seldom.is_empty() {
            return self.seldom[rng.usize(..self.seldom.len())].clone();
        }
        if self.values.is_empty() {
            return Sample::Null;
        }
        let position = if rng.bool() {
            self.next += 1;
            (self.next - 1) % self.values.len()
        } else {
            rng.usize(..self.values.len())
        };
        self.values[position].clone()
    }

    /// Takes a value seldom from now on.
    pub(super) fn demote(&mut self, value: &Sample) {
        if let Some(position) = self.values.iter().position(|known| known == value) {
            self.seldom.push(self.values.remove(position));
        }
    }

    pub(super) fn of_texts(schemas: &[&Map<String, Value>], mut rng: Rng, validator: Option<&Validator<Tape>>) -> Self {
        let bound = |keyword: &'static str| {
            schemas
                .iter()
                .filter_map(move |schema| schema.get(keyword)?.as_u64())
                .map(bounded)
        };
        let least = bound("minLength").max().unwrap_or(0);
        let most = bound("maxLength").min();
        let patterns: Vec<Pattern> = schemas
            .iter()
            .filter_map(|schema| Pattern::parse(schema.get("pattern")?.as_str()?))
            .collect();
        let is_free = !schemas
            .iter()
            .any(|schema| schema.contains_key("pattern") || schema.contains_key("format"));
        let mut texts: Vec<String> = Vec::new();
        for pattern in &patterns {
            texts.extend([Reach::Least, Reach::Most].map(|reach| pattern.text(reach, &mut rng)));
        }
        let ends = [
            least,
            least + 1,
            most.unwrap_or(UNBOUNDED).saturating_sub(1),
            most.unwrap_or(UNBOUNDED),
        ];
        if is_free {
            for (position, length) in ends.iter().enumerate() {
                texts.extend(
                    (0..3).map(|round| lengthened(ALPHABETS[(position * 3 + round) % ALPHABETS.len()], *length)),
                );
            }
        }
        texts.extend(FORMATS.iter().chain(TEXTS).map(|text| (*text).to_owned()));
        for pattern in &patterns {
            for _ in 0..FROM_PATTERN {
                let made = pattern.any(&mut rng);
                // Where the pattern is not anchored, something may stand around it.
                if rng.u8(..8) == 0 {
                    texts.push(format!("x{made}"));
                    texts.push(format!("{made} "));
                }
                texts.push(made);
            }
        }
        if is_free {
            for alphabet in ALPHABETS {
                let length = rng.usize(least..=most.unwrap_or(UNBOUNDED).clamp(least, least + 80));
                texts.push(lengthened(alphabet, length));
            }
        }
        Self::sifted(texts.into_iter().map(Sample::Str), validator)
    }

    pub(super) fn of_numbers(
        schemas: &[&Map<String, Value>],
        mut rng: Rng,
        validator: Option<&Validator<Tape>>,
    ) -> Self {
        let bounds = |keywords: [&str; 2]| {
            let found = schemas
                .iter()
                .flat_map(|schema| keywords.map(|keyword| schema.get(keyword)));
            found.flatten().filter_map(decimal).collect::<Vec<_>>()
        };
        let low = bounds(["minimum", "exclusiveMinimum"]).into_iter().max();
        let high = bounds(["maximum", "exclusiveMaximum"]).into_iter().min();
        let whole = schemas
            .iter()
            .any(|schema| schema.get("type").and_then(Value::as_str) == Some("integer"));
        let step = bounds(["multipleOf", "multipleOf"]).into_iter().max();
        let step = step.unwrap_or(if whole { Decimal::ONE } else { Decimal::new(1, 2) });
        let mut texts: Vec<String> = Vec::new();
        for bound in low.iter().chain(&high) {
            for offset in [Decimal::ZERO, step, -step, Decimal::new(1, 4), Decimal::new(-1, 4)] {
                if let Some(near) = bound.checked_add(offset) {
                    texts.extend(spellings(near));
                }
            }
        }
        texts.extend(
            [
                "0",
                "0.00",
                "-0",
                "1",
                "1.0",
                "-1",
                "19.90",
                "19.9",
                "0.1000",
                "1e2",
                "1E-3",
                "1E+2",
                "2.5",
                "0.07",
                "0.001",
                "9007199254740993",
                "9223372036854775807",
                "18446744073709551616",
                "12345678901234567890.123456",
                "0.1",
                "100",
                "400",
                "599",
                "50",
                "99999999.99",
            ]
            .map(str::to_owned),
        );
        let floor = low.unwrap_or(Decimal::from(if high.is_some_and(|high| high < Decimal::ZERO) {
            -100_000
        } else {
            0
        }));
        let ceiling = high.unwrap_or_else(|| floor.saturating_add(Decimal::from(100_000)));
        for _ in 0..BETWEEN {
            let share = Decimal::new(i64::from(rng.u32(..=1_000_000)), 6);
            let span = ceiling.saturating_sub(floor).checked_mul(share).unwrap_or(Decimal::ONE);
            let small = Decimal::from(rng.u32(..2_000));
            let raw = floor.saturating_add(if rng.bool() { span } else { small.saturating_mul(step) });
            let steps = raw.checked_div(step).map_or(Decimal::ONE, |steps| steps.floor());
            if let Some(number) = steps.checked_mul(step) {
                let own = spellings(number);
                texts.push(own[rng.usize(..own.len())].clone());
            }
        }
        Self::sifted(texts.into_iter().map(Sample::Num), validator)
    }

    /// Keeps what conforms, each once.
    fn sifted(candidates: impl Iterator<Item = Sample>, validator: Option<&Validator<Tape>>) -> Self {
        let mut values: Vec<Sample> = Vec::new();
        for candidate in candidates {
            let conforms = candidate
                .document()
                .is_some_and(|document| validator.is_none_or(|validator| validator.is_valid(document.root())));
            if conforms && !values.contains(&candidate) {
                values.push(candidate);
            }
        }
        Self {
            values,
            next: 0,
            seldom: Vec::new(),
        }
    }
}

/// A name for a member that no schema names.
pub(super) fn member_name(rng: &mut Rng, position: usize) -> String {
    match rng.u8(..6) {
        0 => format!("größe {position}"),
        1 => format!("x-{position}"),
        2 => format!("a/b~{position}"),
        _ => format!("field{position}"),
    }
}

fn bounded(bound: u64) -> usize {
    usize::try_from(bound).unwrap_or(LONGEST).min(LONGEST)
}

fn lengthened(alphabet: &str, length: usize) -> String {
    alphabet.chars().cycle().take(length).collect()
}

/// A number in the ways people and programs write it.
fn spellings(number: Decimal) -> Vec<String> {
    let plain = number.normalize().to_string();
    let mut all = vec![plain.clone()];
    if plain.contains('.') {
        all.push(format!("{plain}0"));
    } else {
        all.extend([format!("{plain}.0"), format!("{plain}.00"), format!("{plain}e0")]);
        if let Some(hundreds) = plain
            .strip_suffix("00")
            .filter(|hundreds| !matches!(*hundreds, "" | "-"))
        {
            all.push(format!("{hundreds}E+2"));
        }
    }
    all
}

fn decimal(number: &Value) -> Option<Decimal> {
    let text = number.as_number()?.to_string();
    Decimal::from_str_exact(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .ok()
}
