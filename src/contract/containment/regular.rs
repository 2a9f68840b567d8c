//! Whether a text that some patterns and lengths admit can escape another pattern: a walk through automata.
//!
//! Each pattern becomes a non-deterministic automaton over UTF-8, made deterministic only where the walk comes by. The
//! walk is breadth first, so the text it finds is a shortest one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use regex_automata::nfa::thompson::{NFA, State, WhichCaptures};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;

/// The largest automaton a pattern may become, in bytes.
const PATTERN_BYTES: usize = 8 << 20;

/// Joint states that one walk visits at most.
const STATE_LIMIT: usize = 200_000;

/// Sets of states that one pattern may become.
const SET_LIMIT: u32 = 50_000;

/// The longest text that is made up.
const TEXT_LIMIT: u64 = 100_000;

/// Why a walk came to no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contract) struct TooLarge;

/// How many characters a text may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::contract) struct Length {
    pub(in crate::contract) min: u64,
    pub(in crate::contract) max: Option<u64>,
}

/// A shortest text that all of `inside` admit, of the length, that `outside` does not admit.
pub(in crate::contract) fn shortest(
    inside: &mut [Automaton],
    mut outside: Option<&mut Automaton>,
    length: Length,
    deadline: Instant,
) -> Result<Option<String>, TooLarge> {
    if length.max.is_some_and(|max| max < length.min) {
        return Ok(None);
    }
    if inside.is_empty() && outside.is_none() {
        return match usize::try_from(length.min) {
            Ok(count) if length.min <= TEXT_LIMIT => Ok(Some("a".repeat(count))),
            _ => Err(TooLarge),
        };
    }
    let mut any = Automaton::any_text();
    let mut automata: Vec<&mut Automaton> = inside.iter_mut().collect();
    automata.push(&mut any);
    let is_inside = automata.len();
    automata.extend(outside.take());
    let alphabet = alphabet(&automata);
    let is_counted = length != Length::default();
    let ceiling = length.max.map_or(length.min, |max| max.saturating_add(1));

    let mut steps = vec![Step {
        states: vec![Automaton::START; automata.len()],
        characters: 0,
        came: None,
    }];
    let mut seen = HashSet::from([(steps[0].states.clone(), 0)]);
    let mut waiting = VecDeque::from([0_usize]);
    while let Some(current) = waiting.pop_front() {
        if steps.len() > STATE_LIMIT || (current.is_multiple_of(256) && Instant::now() > deadline) {
            return Err(TooLarge);
        }
        let (states, characters) = (steps[current].states.clone(), steps[current].characters);
        let mut admits = automata
            .iter_mut()
            .zip(&states)
            .map(|(automaton, state)| automaton.accepts(*state));
        let is_long_enough = !is_counted || characters >= length.min;
        if is_long_enough && admits.by_ref().take(is_inside).all(|admits| admits) && !admits.next().unwrap_or(false) {
            return spell(&steps, current).map(Some);
        }
        for byte in &alphabet {
            let is_character = byte & 0xC0 != 0x80;
            let characters = (characters + u64::from(is_counted && is_character)).min(ceiling);
            if length.max.is_some_and(|max| characters > max) {
                continue;
            }
            let mut next = Vec::with_capacity(states.len());
            for (position, (automaton, state)) in automata.iter_mut().zip(&states).enumerate() {
                let state = automaton.step(*state, *byte)?;
                if state == Automaton::DEAD && position < is_inside {
                    break;
                }
                next.push(state);
            }
            if next.len() == states.len() && seen.insert((next.clone(), characters)) {
                waiting.push_back(steps.len());
                steps.push(Step {
                    states: next,
                    characters,
                    came: Some((current, *byte)),
                });
            }
        }
    }
    Ok(None)
}

/// Where a walk has been.
struct Step {
    states: Vec<u32>,
    characters: u64,
    came: Option<(usize, u8)>,
}

fn spell(steps: &[Step], last: usize) -> Result<String, TooLarge> {
    let mut bytes = Vec::new();
    let mut at = last;
    while let Some((before, byte)) = steps[at].came {
        bytes.push(byte);
        at = before;
    }
    bytes.reverse();
    String::from_utf8(bytes).map_err(|_| TooLarge)
}

/// One byte of each kind that no automaton tells apart, letters and digits first: people read what is found.
fn alphabet(automata: &[&mut Automaton]) -> Vec<u8> {
    let mut kinds = HashSet::new();
    let readable = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(b' '..=b'~');
    readable
        .chain(0..=u8::MAX)
        .filter(|byte| {
            let kind: Vec<u8> = automata
                .iter()
                .map(|automaton| automaton.nfa.byte_classes().get(*byte))
                .collect();
            kinds.insert(kind)
        })
        .collect()
}

/// A pattern, as JSON Schema means it: it may match anywhere in the text.
#[derive(Clone)]
pub(in crate::contract) struct Automaton {
    nfa: NFA,
    sets: Vec<Box<[StateID]>>,
    numbers: HashMap<Box<[StateID]>, u32>,
    steps: HashMap<(u32, u8), u32>,
    accepting: HashMap<u32, bool>,
}

impl Automaton {
    /// No way leads on.
    const DEAD: u32 = 0;
    /// Nothing is read yet.
    const START: u32 = 1;

    /// `None` if the pattern is no regular expression (it looks around, refers back), or too large a one.
    pub(in crate::contract) fn new(pattern: &str) -> Option<Self> {
        // What validators match is this translation too, so both mean the same.
        let pattern = jsonschema_regex::to_rust_regex(pattern).ok()?;
        let is_anchored = compile(&pattern)?.is_always_start_anchored();
        let before = if is_anchored { "" } else { "(?s:.)*" };
        Self::of(compile(&format!("{before}(?:{pattern})(?s:.)*"))?)
    }

    /// Exactly these texts.
    pub(in crate::contract) fn of_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let escaped: Vec<String> = texts.map(escape).collect();
        if escaped.is_empty() {
            return None;
        }
        Self::of(compile(&format!("^(?:{})$", escaped.join("|")))?)
    }

    /// Whether the pattern matches a text.
    pub(in crate::contract) fn matches(&mut self, text: &str) -> Result<bool, TooLarge> {
        let mut state = Self::START;
        for byte in text.bytes() {
            state = self.step(state, byte)?;
        }
        Ok(self.accepts(state))
    }

    fn any_text() -> Self {
        Self::blank(compile("(?s:.)*").unwrap_or_else(NFA::always_match))
    }

    fn of(nfa: NFA) -> Option<Self> {
        let is_known = |look| matches!(look, Look::Start | Look::End);
        nfa.look_set_any().iter().all(is_known).then(|| Self::blank(nfa))
    }

    fn blank(nfa: NFA) -> Self {
        let start = closure(&nfa, [nfa.start_anchored()], &[Look::Start]);
        Self {
            sets: vec![Box::default(), start],
            // The start is not found again by its set: only there is the beginning of the text.
            numbers: HashMap::from([(Box::default(), Self::DEAD)]),
            steps: HashMap::new(),
            accepting: HashMap::new(),
            nfa,
        }
    }

    fn step(&mut self, state: u32, byte: u8) -> Result<u32, TooLarge> {
        if state == Self::DEAD {
            return Ok(state);
        }
        let kind = self.nfa.byte_classes().get(byte);
        if let Some(next) = self.steps.get(&(state, kind)) {
            return Ok(*next);
        }
        let reached = self.sets[state as usize]
            .iter()
            .filter_map(|id| match self.nfa.state(*id) {
                State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
                State::Sparse(sparse) => sparse.matches_byte(byte),
                State::Dense(dense) => dense.matches_byte(byte),
                _ => None,
            });
        let set = closure(&self.nfa, reached, &[]);
        let new = u32::try_from(self.sets.len()).map_err(|_| TooLarge)?;
        let next = *self.numbers.entry(set.clone()).or_insert(new);
        if next == new {
            if new >= SET_LIMIT {
                return Err(TooLarge);
            }
            self.sets.push(set);
        }
        self.steps.insert((state, kind), next);
        Ok(next)
    }

    fn accepts(&mut self, state: u32) -> bool {
        let (nfa, sets) = (&self.nfa, &self.sets);
        *self.accepting.entry(state).or_insert_with(|| {
            let looks: &[Look] = if state == Self::START {
                &[Look::Start, Look::End]
            } else {
                &[Look::End]
            };
            let set = closure(nfa, sets[state as usize].iter().copied(), looks);
            set.iter().any(|id| matches!(nfa.state(*id), State::Match { .. }))
        })
    }
}

/// All states that are reached without reading, where the given looks hold. A look at the end is kept: it may hold later.
fn closure(nfa: &NFA, from: impl IntoIterator<Item = StateID>, holding: &[Look]) -> Box<[StateID]> {
    let mut waiting: Vec<StateID> = from.into_iter().collect();
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        match nfa.state(id) {
            State::Look { look, next } => {
                if holding.contains(look) {
                    waiting.push(*next);
                } else if *look == Look::End {
                    kept.push(id);
                }
            }
            State::Union { alternates } => waiting.extend(alternates.iter().copied()),
            State::BinaryUnion { alt1, alt2 } => waiting.extend([*alt1, *alt2]),
            State::Capture { next, .. } => waiting.push(*next),
            State::Fail => {}
            State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => kept.push(id),
        }
    }
    kept.sort_unstable();
    kept.into_boxed_slice()
}

fn compile(pattern: &str) -> Option<NFA> {
    let config = NFA::config()
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(PATTERN_BYTES));
    NFA::compiler().configure(config).build(pattern).ok()
}

/// A text as a pattern that matches it alone.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A text of the first pattern that the second does not match.
    fn escapee(inside: &str, outside: &str) -> Option<String> {
        let mut outside = Automaton::new(outside).unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        let inside = &mut [Automaton::new(inside).unwrap()];
        shortest(inside, Some(&mut outside), Length::default(), deadline).unwrap()
    }

    /// A shortest text of a pattern and a length.
    fn shortest_of(pattern: &str, min: u64, max: Option<u64>) -> Option<String> {
        let deadline = Instant::now() + Duration::from_mins(1);
        let inside = &mut [Automaton::new(pattern).unwrap()];
        shortest(inside, None, Length { min, max }, deadline).unwrap()
    }

    #[test]
    fn a_pattern_within_another_has_no_escapee() {
        for (inside, outside) in [
            ("^[A-Z]{2}$", "^[A-Z]+$"),
            ("^SO-[0-9]{4}-[0-9]{6}$", "^[A-Z0-9-]{1,40}$"),
            ("^(?:[A-Z]{2})?[0-9A-Z]{2,12}$", "^[A-Z0-9]{2,14}$"),
            (r"^\d{1,13}\.\d{2}$", r"^-?(0|[0-9][0-9]*)(\.[0-9]+)?$"),
            ("^abc$", "b"),
            ("abc", "b"),
            ("^$", "^a*$"),
            ("^ä€$", "^.{2}$"),
        ] {
            assert_eq!(escapee(inside, outside), None, "{inside} within {outside}");
        }
    }

    #[test]
    fn a_pattern_outside_another_has_a_shortest_escapee() {
        for (inside, outside, found) in [
            ("^[A-Z]+$", "^[A-Z]{2}$", "A"),
            ("b", "^b", "ab"),
            ("^a*$", "^a+$", ""),
            ("", "^[a-z]*$", "A"),
            (r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$", r"^-?[0-9]{1,15}\.[0-9]{2}$", "0"),
            (
                r"^[0-9]{2}\.[0-9]{2}$",
                r"^(0[1-9]|[12][0-9]|3[01])\.(0[1-9]|1[0-2])$",
                "00.00",
            ),
        ] {
            let escaped = escapee(inside, outside).unwrap();
            assert_eq!(escaped.len(), found.len(), "{escaped} for {inside} outside {outside}");
        }
    }

    #[test]
    fn lengths_count_characters_and_not_bytes() {
        assert_eq!(shortest_of("^ä*$", 3, None).unwrap(), "äää");
        assert_eq!(shortest_of("^[0-9]{3}$", 4, None), None);
        assert_eq!(shortest_of("^(ab)+$", 3, Some(4)).unwrap(), "abab");
        assert_eq!(shortest_of("^(ab)+$", 3, Some(3)), None);
    }

    #[test]
    fn what_looks_around_is_no_regular_expression() {
        for pattern in ["^(?=a)a$", r"^(a)\1$", r"\bword\b", "("] {
            assert!(Automaton::new(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn listed_texts_are_taken_literally() {
        let mut codes = Automaton::of_texts(["a.b", "ö|", ""].into_iter()).unwrap();
        for (text, is_listed) in [("a.b", true), ("axb", false), ("ö|", true), ("", true), ("ö", false)] {
            assert_eq!(codes.matches(text), Ok(is_listed), "{text}");
        }
    }

    #[test]
    fn a_walk_that_grows_too_large_is_given_up() {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut outside = Automaton::new("^[^b]*(a|b)[ab]{60}$").unwrap();
        let inside = &mut [Automaton::new("^[ab]*a[ab]{40}$").unwrap()];
        let length = Length {
            min: 300,
            max: Some(5000),
        };
        assert_eq!(shortest(inside, Some(&mut outside), length, deadline), Err(TooLarge));
    }
}
