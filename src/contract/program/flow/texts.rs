//! What is known of texts: which patterns they all match, which letters they are made of.

use std::time::Instant;

use serde_json::Value;

use crate::contract::containment::{Automaton, Conj, Side, Types, shortest};

/// The texts of a schema.
pub(in crate::contract) struct Texts<'t> {
    conj: Conj,
    side: &'t Side,
    deadline: Instant,
}

/// Whether all texts match a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::contract) enum Outcome {
    Within,
    /// A text that may be one that does not.
    Escapes(String),
    Unknown,
}

impl Outcome {
    pub(in crate::contract) fn holds(&self) -> bool {
        *self == Self::Within
    }

    /// The text that may show it.
    pub(in crate::contract) fn value(self) -> Option<Value> {
        match self {
            Self::Escapes(text) => Some(text.into()),
            Self::Within | Self::Unknown => None,
        }
    }
}

/// Letters, by ranges.
pub(in crate::contract) type Letters = Vec<(char, char)>;

/// Sets of letters that texts are made of, the smallest first.
const ALPHABETS: [&[(char, char)]; 8] = [
    &[('0', '9')],
    &[('A', 'Z')],
    &[('a', 'z')],
    &[('0', '9'), ('A', 'Z')],
    &[('0', '9'), ('A', 'Z'), ('a', 'z')],
    &[('-', '-'), ('0', '9'), ('A', 'Z')],
    &[('-', '-'), ('0', '9'), ('A', 'Z'), ('a', 'z')],
    &[(' ', '~')],
];

impl<'t> Texts<'t> {
    pub(in crate::contract) fn new(conj: &Conj, side: &'t Side, deadline: Instant) -> Self {
        Self {
            conj: conj.only(Types::STRING),
            side,
            deadline,
        }
    }

    /// The texts, if they are listed.
    pub(in crate::contract) fn listed(&self) -> Option<Vec<String>> {
        let listed = self.conj.listed(self.side)?;
        let is_admitted = |value: &Value| {
            let mut parts = self.conj.parts.iter();
            parts.all(|part| self.side.admits(part, value) != Some(false))
        };
        let admitted = listed.into_iter().filter(is_admitted);
        Some(admitted.filter_map(|value| value.as_str().map(str::to_owned)).collect())
    }

    /// Whether a text is one of them; true where that is not known.
    pub(in crate::contract) fn may_be(&self, text: &str) -> bool {
        let value = Value::from(text);
        let mut parts = self.conj.parts.iter();
        parts.all(|part| self.side.admits(part, &value) != Some(false))
    }

    /// Whether all match a pattern.
    pub(in crate::contract) fn within(&self, pattern: &str) -> Outcome {
        match Automaton::new(pattern) {
            Some(automaton) => self.within_automaton(automaton),
            None => Outcome::Unknown,
        }
    }

    /// Whether all are among some texts.
    pub(in crate::contract) fn among<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Outcome {
        match Automaton::of_texts(texts) {
            Some(automaton) => self.within_automaton(automaton),
            None => Outcome::Unknown,
        }
    }

    fn within_automaton(&self, mut automaton: Automaton) -> Outcome {
        if let Some(listed) = self.listed() {
            let escaping = listed.into_iter().find(|text| automaton.matches(text) != Ok(true));
            return escaping.map_or(Outcome::Within, Outcome::Escapes);
        }
        let (mut automata, length) = self.conj.texts(self.side);
        match shortest(&mut automata, Some(&mut automaton), length, self.deadline) {
            Ok(None) => Outcome::Within,
            Ok(Some(text)) => Outcome::Escapes(text),
            Err(_) => Outcome::Unknown,
        }
    }

    /// The smallest of the known sets of letters that they are all made of.
    pub(in crate::contract) fn alphabet(&self) -> Option<Letters> {
        let mut alphabets = ALPHABETS.iter();
        let found = alphabets.find(|letters| self.within(&format!("^{}*$", class(letters))).holds())?;
        Some(found.to_vec())
    }

    /// Whether a format is said of them.
    pub(in crate::contract) fn has_format(&self, format: &str) -> bool {
        self.conj.says(self.side, "format", &format.into())
    }

    /// The fewest characters they have.
    pub(in crate::contract) fn least(&self) -> u64 {
        self.conj.at_least(self.side, "minLength")
    }

    /// The most characters they have.
    pub(in crate::contract) fn most(&self) -> Option<u64> {
        let listed = self.listed();
        let longest = listed.map(|listed| listed.iter().map(|text| text.chars().count() as u64).max().unwrap_or(0));
        longest.or_else(|| self.conj.at_most(self.side, "maxLength"))
    }
}

/// Some letters as part of a pattern.
pub(in crate::contract) fn class(letters: &[(char, char)]) -> String {
    let escaped = |letter: char| {
        if letter.is_ascii_punctuation() {
            format!("\\x{:02X}", u32::from(letter))
        } else {
            letter.to_string()
        }
    };
    let ranges = letters.iter().map(|(first, last)| {
        if first == last {
            escaped(*first)
        } else {
            format!("{}-{}", escaped(*first), escaped(*last))
        }
    });
    format!("[{}]", ranges.collect::<String>())
}

/// The same letters without one.
pub(in crate::contract) fn without(letters: &[(char, char)], letter: char) -> Letters {
    let mut left = Vec::new();
    for (first, last) in letters {
        if !(*first..=*last).contains(&letter) {
            left.push((*first, *last));
            continue;
        }
        let code = u32::from(letter);
        if let Some(before) = char::from_u32(code.wrapping_sub(1)).filter(|before| before >= first && *first < letter) {
            left.push((*first, before));
        }
        if let Some(after) = char::from_u32(code + 1).filter(|after| after <= last) {
            left.push((after, *last));
        }
    }
    left
}

/// The same letters and one more.
pub(in crate::contract) fn with(letters: &[(char, char)], letter: char) -> Letters {
    let mut more = without(letters, letter);
    more.push((letter, letter));
    more
}
