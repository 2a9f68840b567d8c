//! Texts that match a pattern, made by walking it.

use fastrand::Rng;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest text that is made.
const LENGTH_LIMIT: usize = 4_096;

/// How often something is repeated beyond the least, where nothing bounds it.
const MORE: u32 = 12;

/// A pattern of a schema, taken apart.
pub(super) struct Pattern(Hir);

/// How far repetitions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Least,
    Most,
    Any,
}

impl Pattern {
    /// `None` if the pattern looks around or back, which cannot be walked.
    pub(super) fn parse(written: &str) -> Option<Self> {
        let translated = jsonschema_regex::to_rust_regex(written).ok()?;
        regex_syntax::Parser::new().parse(&translated).ok().map(Self)
    }

    /// A text that matches, without what may stand before and after where the pattern is not anchored.
    pub(super) fn any(&self, rng: &mut Rng) -> String {
        self.text(Reach::Any, rng)
    }

    /// A text that matches, as short or as long as wanted.
    pub(super) fn text(&self, reach: Reach, rng: &mut Rng) -> String {
        let mut text = String::new();
        walk(&self.0, reach, rng, &mut text);
        text
    }
}

fn walk(hir: &Hir, reach: Reach, rng: &mut Rng, text: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.extend(pick(class, rng)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min.saturating_add(MORE));
            let count = match reach {
                Reach::Least => repetition.min,
                Reach::Most => most,
                Reach::Any => rng.u32(repetition.min..=most),
            };
            for _ in 0..count {
                if text.len() >= LENGTH_LIMIT {
                    break;
                }
                walk(&repetition.sub, reach, rng, text);
            }
        }
        HirKind::Capture(capture) => walk(&capture.sub, reach, rng, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| walk(part, reach, rng, text)),
        HirKind::Alternation(choices) => {
            if let Some(choice) = choices.get(rng.usize(..choices.len().max(1))) {
                walk(choice, reach, rng, text);
            }
        }
    }
}

/// A character of a class: its ends more often than what lies between.
fn pick(class: &Class, rng: &mut Rng) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class
            .iter()
            .map(|range| (char::from(range.start()), char::from(range.end())))
            .collect(),
    };
    if ranges.is_empty() {
        return None;
    }
    let (start, end) = ranges[rng.usize(..ranges.len())];
    Some(match rng.u8(..4) {
        0 => start,
        1 => end,
        // Where everything is allowed, mostly what people write.
        2 if start <= 'A' && end >= 'z' => {
            ['A', 'z', '7', 'ü', '€', '漢', '🚚', '"', '\\', ' '][rng.usize(..10)].clamp(start, end)
        }
        _ => rng.char(start..=end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_from_a_pattern_matches_it() {
        for written in [
            r"^[A-Z0-9][A-Z0-9-]{0,29}$",
            r"^\d{2}\.\d{2}\.\d{4}$",
            r"^(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?$",
            r"^(SO|PO)-[^<>]+$",
            r"^\p{Lu}\S*$",
        ] {
            let schema = serde_json::json!({ "pattern": written });
            let validator = jsonschema::validator_for(&schema).unwrap();
            let pattern = Pattern::parse(written).unwrap();
            let mut rng = Rng::with_seed(7);
            for round in 0..300 {
                let reach = [Reach::Least, Reach::Most, Reach::Any][round % 3];
                let text = pattern.text(reach, &mut rng);
                assert!(validator.is_valid(&serde_json::json!(text)), "{text:?} and {written}");
            }
        }
    }

    #[test]
    fn a_pattern_that_looks_around_is_not_walked() {
        assert!(Pattern::parse("^(?=.*[0-9])[a-z0-9]+$").is_none());
    }
}
