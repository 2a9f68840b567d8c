//! Sends documents through one lens, there and back, and collects what goes wrong with an example of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::compare::{Change, Difference, differences};
use super::engine::Lens;
use super::generate::Generator;
use super::judge::{self, Refusal};
use super::locate::{Sheet, Side, Spot};
use super::prove::Statics;
use super::sample::Sample;
use super::shrink::shrink;
use crate::contract::spec::Direction;
use crate::json::{Document, Pointer};

/// Violations that are told apart in one document.
const VIOLATIONS: usize = 4;

/// Mapped documents that are kept to see which places were ever carried.
const KEPT: usize = 256;

/// Kinds of findings one lens may have.
const FINDINGS: usize = 200;

/// Documents that are drawn to find some that suspects are put into.
const GROUND_DRAWS: usize = 48;

/// Documents that suspects are put into.
const GROUND: usize = 6;

/// Documents with one suspect that are sent.
const SUSPECT_TRIES: usize = 6;

/// Begins what is said of a step that never carried anything.
const EVERY: &str = "every value is refused, such as: ";

/// What was seen of one lens.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Documents that conformed and were sent.
    pub(super) tested: usize,
    /// Documents that did not conform to the source's schema, and were thrown away.
    pub(super) discarded: usize,
    /// Documents that the engine refused.
    pub(super) refused: usize,
    pub(super) found: BTreeMap<Key, Found>,
    /// Declared losses that showed: the mapping, and which.
    pub(super) losses: BTreeSet<(usize, usize)>,
}

/// One kind of thing that goes wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// Names with dots, `[]` for any item and `*` for any member. In the target's words for what is invalid.
    pub(super) path: String,
    /// What tells it from others at the same place: a keyword, a reason.
    pub(super) mark: String,
}

/// The step whose keys are not drawn.
const LOOKUP: &str = "lookup";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// What the mapping made does not conform to the target version.
    Invalid,
    /// The engine refuses what conforms to the source version.
    Refused(Refusal),
    /// The engine refuses on the way back what it made itself.
    NoReturn(Refusal),
    /// It comes back otherwise, and nobody said so.
    Undeclared(Change),
    /// It comes back otherwise, as declared under `losses`.
    Declared(Change),
    /// It comes back otherwise, as a step says.
    Chosen(Change),
    /// The same number or instant, written otherwise.
    Spelled,
    /// An object or list without anything in it is left out.
    Emptied,
}

/// An example, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) count: usize,
    /// In full at first, then made as small as may be.
    pub(super) example: Sample,
    /// What is wrong there, in words.
    pub(super) text: String,
    /// The mapping file, and the step's line and column in it; `None` where no mapping names the place.
    pub(super) place: Option<(usize, (u32, u32))>,
    /// The step's name.
    pub(super) op: Option<&'static str>,
    /// It was foreseen, before any document was drawn.
    pub(super) is_foreseen: bool,
}

impl Seen {
    /// Keeps what was seen in a document.
    fn note(&mut self, sample: &Sample, sights: Vec<Sight>, is_foreseen: bool) {
        for sight in sights {
            let has_room = self.found.len() < FINDINGS;
            match self.found.get_mut(&sight.key) {
                Some(found) => {
                    found.count += 1;
                    if sample.size() < found.example.size() {
                        found.example = sample.clone();
                    }
                }
                None if has_room => {
                    let found = Found {
                        count: 1,
                        example: sample.clone(),
                        text: sight.text,
                        place: sight.place,
                        op: sight.op,
                        is_foreseen,
                    };
                    self.found.insert(sight.key, found);
                }
                None => {}
            }
        }
    }
}

/// One thing seen in one document.
struct Sight {
    key: Key,
    /// Where the engine refuses, in the document's own words.
    refused_at: Option<Vec<String>>,
    text: String,
    place: Option<(usize, (u32, u32))>,
    op: Option<&'static str>,
}

/// Why a value came back otherwise.
#[derive(Clone)]
struct Reason {
    kind: Kind,
    text: String,
    mark: String,
    place: Option<(usize, (u32, u32))>,
    op: Option<&'static str>,
    loss: Option<(usize, usize)>,
    /// The reason depends on the value, as with codes.
    is_of_value: bool,
}

/// A lens at work.
pub(super) struct Runner<'r, 'c> {
    pub(super) lens: &'r Lens<'c>,
    /// The mapping from each version to the next.
    pub(super) sheets: &'r [Option<Sheet<'c>>],
    reasons: HashMap<(String, Change, Option<String>), Reason>,
    /// Places of the source that were told in general before.
    general: HashMap<Vec<String>, String>,
    valued: BTreeSet<String>,
    losses: BTreeSet<(usize, usize)>,
}

impl<'r, 'c> Runner<'r, 'c> {
    pub(super) fn new(lens: &'r Lens<'c>, sheets: &'r [Option<Sheet<'c>>]) -> Self {
        Self {
            lens,
            sheets,
            reasons: HashMap::new(),
            general: HashMap::new(),
            valued: BTreeSet::new(),
            losses: BTreeSet::new(),
        }
    }

    /// Sends what was suspected, then stored documents, then draws until so many were sent, and makes an example of each
    /// finding small.
    pub(super) fn run(
        &mut self,
        cases: usize,
        start: u64,
        (stored, statics): (&[Sample], &Statics),
        progress: &dyn Fn(usize),
    ) -> Seen {
        let mut seen = Seen::default();
        self.try_suspects(statics, start, &mut seen);
        let mut generator = Generator::new(&self.lens.source.document, start);
        let mut carried: Vec<Sample> = Vec::new();
        let mut stored = stored.iter().cloned();
        let tries = cases.saturating_mul(3).saturating_add(100);
        for turn in 0..tries {
            if seen.tested >= cases {
                break;
            }
            let sample = stored.next().unwrap_or_else(|| generator.draw(&self.lens.schemas[0]));
            let Some(sights) = self.examine(&sample) else {
                seen.discarded += 1;
                continue;
            };
            seen.tested += 1;
            if seen.tested.is_multiple_of(64) {
                progress(64);
            }
            let refused_at = sights.iter().find_map(|sight| sight.refused_at.as_deref());
            if let Some(tokens) = refused_at {
                seen.refused += 1;
                if let Some(value @ (Sample::Str(_) | Sample::Num(_))) = sample.at(tokens) {
                    generator.demote(value);
                }
            } else if carried.len() < KEPT {
                carried.push(sample.clone());
            } else if turn % 7 == 0 {
                carried[turn / 7 % KEPT] = sample.clone();
            }
            seen.note(&sample, sights, false);
        }
        progress(seen.tested % 64);
        progress(cases.saturating_sub(seen.tested));
        if seen.tested > 0 {
            self.refuse_what_is_never_carried(&mut seen, &carried);
        }
        self.make_small(&mut seen);
        seen.losses.clone_from(&self.losses);
        seen
    }

    /// Makes documents of the values that may fail, and sends them through the engine: only that refutes.
    fn try_suspects(&mut self, statics: &Statics, start: u64, seen: &mut Seen) {
        if statics.differences.is_empty() && statics.suspects.is_empty() {
            return;
        }
        let ground = self.ground(start);
        for difference in &statics.differences {
            // The way back often leads to a document of which this is made.
            let made = Sample::of_plain(&difference.witness).document();
            if let Some(back) = made.and_then(|made| self.lens.back(&made).ok()) {
                let sample = Sample::of(back.root());
                seen.note(&sample, self.examine(&sample).unwrap_or_default(), true);
            }
            if let Some(tokens) = self.source_of(&difference.path) {
                let value = Sample::of_plain(&difference.value);
                let twin = match &value {
                    Sample::Str(text) => Some(Sample::Num(text.clone())),
                    Sample::Num(text) => Some(Sample::Str(text.clone())),
                    _ => None,
                };
                for value in std::iter::once(value).chain(twin) {
                    self.try_suspect(&tokens, &value, &ground, seen);
                }
            }
            // Some are in every document, whatever value stands there.
            let is_shown = |key: &Key| key.kind == Kind::Invalid && key.path == difference.at;
            for sample in &ground {
                if seen.found.keys().any(is_shown) {
                    break;
                }
                seen.note(sample, self.examine(sample).unwrap_or_default(), true);
            }
        }
        for (tokens, value) in &statics.suspects {
            self.try_suspect(tokens, &Sample::of_plain(value), &ground, seen);
        }
    }

    /// Documents to put suspects into: those with which nothing goes wrong, if there are such.
    fn ground(&mut self, start: u64) -> Vec<Sample> {
        let mut generator = Generator::new(&self.lens.source.document, start);
        let (mut clean, mut others) = (Vec::new(), Vec::new());
        for _ in 0..GROUND_DRAWS {
            let sample = generator.draw(&self.lens.schemas[0]);
            match self.examine(&sample) {
                Some(sights) if sights.iter().all(|sight| weightless(sight.key.kind)) => clean.push(sample),
                Some(_) => others.push(sample),
                None => {}
            }
            if clean.len() == GROUND {
                break;
            }
        }
        clean.extend(others.into_iter().take(GROUND));
        clean
    }

    /// Puts a value into documents, and sends some that conform with it.
    fn try_suspect(&mut self, tokens: &[String], value: &Sample, ground: &[Sample], seen: &mut Seen) {
        // One value that became a list of one has no position of its own.
        let outer = tokens
            .split_last()
            .filter(|(last, _)| last.bytes().all(|byte| byte.is_ascii_digit()))
            .map(|(_, outer)| outer);
        let mut tries = 0;
        for tokens in std::iter::once(tokens).chain(outer) {
            for sample in ground {
                let mut sample = sample.clone();
                if tries == SUSPECT_TRIES || !sample.put(tokens, value) {
                    continue;
                }
                if let Some(sights) = self.examine(&sample) {
                    tries += 1;
                    seen.note(&sample, sights, true);
                }
            }
        }
    }

    /// Where a place of the target comes from in the source, by the steps that name it.
    fn source_of(&self, tokens: &[String]) -> Option<Vec<String>> {
        let mut tokens = tokens.to_vec();
        for leg in (0..self.lens.versions.len() - 1).rev() {
            let (spot, ..) = self.spot(leg, true, &tokens, None)?;
            tokens = spot.counterpart?;
        }
        Some(tokens)
    }

    /// A step that refuses everything is not made for what it is given.
    fn refuse_what_is_never_carried(&self, seen: &mut Seen, carried: &[Sample]) {
        let refused: Vec<Key> = seen
            .found
            .keys()
            .filter(|key| matches!(key.kind, Kind::Refused(refusal) if refusal != Refusal::Fault))
            .cloned()
            .collect();
        for key in refused {
            let names: Vec<&str> = key.path.split('.').filter(|name| !name.is_empty()).collect();
            // Tables of keys hold real ones, and draws never hit them: stored documents do.
            let is_lookup = key.mark == LOOKUP;
            if is_lookup || carried.iter().any(|sample| stands(sample, &names)) || self.lens.is_composed() {
                continue;
            }
            if let Some(mut found) = seen.found.remove(&key) {
                found.text = format!("{EVERY}{}", found.text);
                let kind = Kind::Refused(Refusal::Fault);
                seen.found.insert(Key { kind, ..key }, found);
            }
        }
    }

    fn make_small(&mut self, seen: &mut Seen) {
        for (key, found) in &mut seen.found {
            // A step that refuses everything was found by refusals of any kind.
            let refuses_all = found.text.starts_with(EVERY);
            let wanted = |kind: Kind| kind == key.kind || (refuses_all && matches!(kind, Kind::Refused(_)));
            let is_same =
                |sight: &Sight| wanted(sight.key.kind) && sight.key.path == key.path && sight.key.mark == key.mark;
            let mut last = None;
            found.example = shrink(&found.example, &mut |sample| {
                let sights = self.examine(sample).unwrap_or_default();
                let same = sights.into_iter().find(|sight| is_same(sight));
                let has = same.is_some();
                last = same.or(last.take());
                has
            });
            if let Some(sight) = last {
                found.text = if refuses_all {
                    format!("{EVERY}{}", sight.text)
                } else {
                    sight.text
                };
            }
        }
    }

    /// Everything that goes wrong with one document; `None` if it does not conform to the source's schema.
    fn examine(&mut self, sample: &Sample) -> Option<Vec<Sight>> {
        let document = sample.document()?;
        let lens = self.lens;
        if !lens.source_validator.is_valid(document.root()) || !lens.can_be_sent(&document) {
            return None;
        }
        let mapped = match lens.map(&document) {
            Ok(mapped) => mapped,
            Err(refused) => {
                let at = Pointer::parse(&refused.pointer).unwrap_or_default().tokens().to_vec();
                let (leg, refused, reached) = lens
                    .refusing_step(&document)
                    .unwrap_or_else(|| (0, refused, sample.clone()));
                let mut sight = self.refusal(leg, false, &refused, &reached);
                sight.refused_at = Some(at);
                return Some(vec![sight]);
            }
        };
        let mut sights = Vec::new();
        if !lens.target_validator.is_valid(mapped.root()) {
            let made = Sample::of(mapped.root());
            for error in lens.target_validator.iter_errors(mapped.root()).take(VIOLATIONS) {
                let at = Pointer::parse(&error.instance_path().to_string()).unwrap_or_default();
                let what = error.masked_with("the value").to_string();
                sights.push(self.violation(at.tokens(), error.kind().keyword(), &what, &made));
            }
            // What was wrongly made says nothing about the way back.
            return Some(sights);
        }
        if lens.is_parameters() {
            return Some(sights);
        }
        let back = match lens.back(&mapped) {
            Ok(back) => back,
            Err(refused) => {
                sights.push(self.refusal(lens.versions.len() - 2, true, &refused, &Sample::of(mapped.root())));
                return Some(sights);
            }
        };
        if back.text() == document.text() {
            return Some(sights);
        }
        let back = Sample::of(back.root());
        for difference in differences(sample, &back) {
            let sight = self.difference(&document, &difference);
            if sights.iter().all(|known| known.key != sight.key) {
                sights.push(sight);
            }
        }
        Some(sights)
    }

    /// The mapping of a leg, its direction, and the position of the mapping.
    fn leg(&self, leg: usize) -> (Option<&'r Sheet<'c>>, Direction, usize) {
        let (from, to) = (self.lens.versions[leg], self.lens.versions[leg + 1]);
        let way = if from < to { Direction::Up } else { Direction::Down };
        let index = from.min(to);
        (self.sheets.get(index).and_then(Option::as_ref), way, index)
    }

    /// What a leg's mapping does at a place in the words of the leg's source, or of its target.
    fn spot(
        &self,
        leg: usize,
        is_target: bool,
        tokens: &[String],
        body: Option<&Sample>,
    ) -> Option<(Spot<'r>, &'r Sheet<'c>, Direction, usize)> {
        let (sheet, way, index) = self.leg(leg);
        let sheet = sheet?;
        let (source, target) = (&self.lens.schemas[leg], &self.lens.schemas[leg + 1]);
        let side = if (way == Direction::Up) == is_target {
            Side::Newer
        } else {
            Side::Older
        };
        let (own, other) = if is_target { (target, source) } else { (source, target) };
        Some((sheet.spot(side, (own, other), tokens, body), sheet, way, index))
    }

    fn refusal(&self, leg: usize, is_back: bool, refused: &crate::contract::Unmappable, reached: &Sample) -> Sight {
        let tokens = Pointer::parse(&refused.pointer).unwrap_or_default().tokens().to_vec();
        let version = if is_back { leg + 1 } else { leg };
        let path = self.general(version, &tokens);
        let Some((spot, sheet, way, index)) = self.spot(leg, is_back, &tokens, Some(reached)) else {
            return Sight {
                key: key(Kind::Refused(Refusal::Fault), path, ""),
                refused_at: None,
                text: refused.detail.clone(),
                place: None,
                op: None,
            };
        };
        let way = if is_back { opposite(way) } else { way };
        let mut judged = judge::refusal(spot.op, way, reached.at(&tokens));
        let side = if way == Direction::Up { Side::Older } else { Side::Newer };
        if judged == Refusal::Fault && !sheet.is_known(side, &self.lens.schemas[version], &tokens) {
            judged = Refusal::Open;
        }
        let kind = if is_back {
            Kind::NoReturn(judged)
        } else {
            Kind::Refused(judged)
        };
        Sight {
            key: key(kind, path, spot.op.map_or("", judge::name)),
            refused_at: None,
            text: refused.detail.clone(),
            place: Some((index, spot.place)),
            op: spot.op.map(judge::name),
        }
    }

    fn violation(&self, tokens: &[String], keyword: &str, what: &str, made: &Sample) -> Sight {
        let last = self.lens.versions.len() - 1;
        let mut tokens = tokens.to_vec();
        let path = self.general(last, &tokens);
        let value = made.at(&tokens).map(shown).unwrap_or_default();
        let text = format!("{}: {value}", what.trim_end_matches('.'));
        let mut place = None;
        let mut op = None;
        // The last step that names the place, going back through the versions.
        for leg in (0..last).rev() {
            let Some((spot, _, _, index)) = self.spot(leg, true, &tokens, (leg + 1 == last).then_some(made)) else {
                break;
            };
            if place.is_none() || spot.op.is_some() {
                place = Some((index, spot.place));
            }
            op = spot.op.map(judge::name);
            match (spot.op, spot.counterpart) {
                (None, Some(counterpart)) => tokens = counterpart,
                _ => break,
            }
        }
        Sight {
            key: key(Kind::Invalid, path, keyword),
            refused_at: None,
            text,
            place,
            op,
        }
    }

    fn difference(&mut self, document: &Document, difference: &Difference) -> Sight {
        let path = self.generally(&difference.path);
        let simple = simple(difference.kind);
        let mut reason = None;
        if let Some(kind) = simple {
            reason = Some(Reason {
                kind,
                text: String::new(),
                mark: String::new(),
                place: None,
                op: None,
                loss: None,
                is_of_value: false,
            });
        }
        let reason = reason.unwrap_or_else(|| {
            let value = match &difference.before {
                Some(Sample::Str(text)) if self.valued.contains(&path) => Some(text.clone()),
                _ => None,
            };
            let known = (path.clone(), difference.kind, value);
            if let Some(reason) = self.reasons.get(&known) {
                return reason.clone();
            }
            let reason = self.explain(document, difference);
            let mut known = known;
            if reason.is_of_value {
                self.valued.insert(path.clone());
                if let Some(Sample::Str(text)) = &difference.before {
                    known.2 = Some(text.clone());
                }
            }
            self.reasons.insert(known, reason.clone());
            reason
        });
        self.losses.extend(reason.loss);
        let text = if reason.text.is_empty() || matches!(reason.kind, Kind::Undeclared(_)) {
            told(difference)
        } else {
            reason.text
        };
        Sight {
            key: key(reason.kind, path, &reason.mark),
            refused_at: None,
            text,
            place: reason.place,
            op: reason.op,
        }
    }

    /// Follows a place through the versions until a mapping says why it comes back otherwise.
    fn explain(&self, document: &Document, difference: &Difference) -> Reason {
        let mut tokens = difference.path.clone();
        let mut told = difference.clone();
        let mut reached = Some(document.clone());
        let (mut place, mut op, mut is_of_value) = (None, None, false);
        for leg in 0..self.lens.versions.len() - 1 {
            let body = reached.as_ref().map(|body| Sample::of(body.root()));
            let Some((spot, sheet, way, index)) = self.spot(leg, false, &tokens, body.as_ref()) else {
                break;
            };
            let here = Some((index, spot.place));
            if let Some((loss, written)) = sheet.losses(way, &spot).next() {
                return Reason {
                    kind: Kind::Declared(difference.kind),
                    text: written.value.reason.clone(),
                    mark: String::new(),
                    place: here,
                    op: spot.op.map(judge::name),
                    loss: Some((index, loss)),
                    is_of_value: false,
                };
            }
            let name = spot.op.map(judge::name);
            is_of_value |= name == Some("table");
            if let Some(text) = judge::permits(sheet, &spot, way, &told) {
                let mark = if is_of_value { text.clone() } else { String::new() };
                return Reason {
                    kind: Kind::Chosen(difference.kind),
                    text,
                    mark,
                    place: here,
                    op: name,
                    loss: None,
                    is_of_value,
                };
            }
            if difference.kind == Change::SpelledText && judge::rewrites_text(spot.op) {
                return Reason {
                    kind: Kind::Spelled,
                    text: String::new(),
                    mark: String::new(),
                    place: None,
                    op: None,
                    loss: None,
                    is_of_value: false,
                };
            }
            if place.is_none() || (op.is_none() && name.is_some()) {
                (place, op) = (here, name);
            }
            let Some(counterpart) = spot.counterpart else { break };
            tokens = counterpart;
            if leg + 2 < self.lens.versions.len() {
                reached = reached.and_then(|body| self.lens.step(leg, &body));
                told.before = reached
                    .as_ref()
                    .and_then(|body| Sample::of(body.root()).at(&tokens).cloned());
            }
        }
        let mark = match &difference.before {
            Some(Sample::Str(code)) if is_of_value => code.clone(),
            _ => String::new(),
        };
        Reason {
            kind: Kind::Undeclared(difference.kind),
            text: String::new(),
            mark,
            place,
            op,
            loss: None,
            is_of_value,
        }
    }

    /// As [`Self::general`] for the source, remembered: the same few places differ again and again.
    fn generally(&mut self, tokens: &[String]) -> String {
        let is_position = |token: &String| token.bytes().all(|byte| byte.is_ascii_digit());
        let known: Vec<String> = tokens
            .iter()
            .map(|token| {
                if is_position(token) {
                    "0".to_owned()
                } else {
                    token.clone()
                }
            })
            .collect();
        if let Some(path) = self.general.get(&known) {
            return path.clone();
        }
        let path = self.general(0, tokens);
        self.general.insert(known, path.clone());
        path
    }

    /// A place with `[]` for positions and `*` for members that no schema names.
    fn general(&self, version: usize, tokens: &[String]) -> String {
        let position = self.lens.versions[version];
        let (source, target) = (self.lens.source, self.lens.target);
        let document = match () {
            () if version == 0 => Some(&source.document),
            () if version + 1 == self.lens.versions.len() => Some(&target.document),
            () => self
                .sheets
                .get(position)
                .and_then(Option::as_ref)
                .map(|sheet| &sheet.older.document),
        };
        let mut at = document.and_then(|document| document.resolve(&self.lens.schemas[version]));
        let mut path = String::new();
        for token in tokens {
            let here = document.zip(at.as_deref());
            let items = here.and_then(|(document, at)| {
                let is_position = token.bytes().all(|byte| byte.is_ascii_digit());
                document.items(at).filter(|_| is_position)
            });
            if let (Some(items), Some(document)) = (items, document) {
                path.push_str("[]");
                at = document.resolve(&items);
                continue;
            }
            let property = here.and_then(|(document, at)| document.properties(at).remove(token));
            if !path.is_empty() {
                path.push('.');
            }
            if property.is_some() {
                path.push_str(token);
                at = property
                    .zip(document)
                    .and_then(|(place, document)| document.resolve(&place));
            } else if token.bytes().all(|byte| byte.is_ascii_digit()) {
                path.truncate(path.trim_end_matches('.').len());
                path.push_str("[]");
                at = None;
            } else {
                path.push('*');
                at = here
                    .and_then(|(document, at)| document.additional(at))
                    .zip(document)
                    .and_then(|(place, document)| document.resolve(&place));
            }
        }
        path
    }
}

/// What says nothing against a document.
fn weightless(kind: Kind) -> bool {
    match kind {
        Kind::Declared(_) | Kind::Chosen(_) | Kind::Spelled | Kind::Emptied => true,
        Kind::Invalid | Kind::Refused(_) | Kind::NoReturn(_) | Kind::Undeclared(_) => false,
    }
}

fn key(kind: Kind, path: String, mark: &str) -> Key {
    Key {
        kind,
        path,
        mark: mark.to_owned(),
    }
}

/// Differences that need no reason.
fn simple(change: Change) -> Option<Kind> {
    match change {
        Change::Spelled => Some(Kind::Spelled),
        Change::Emptied => Some(Kind::Emptied),
        _ => None,
    }
}

pub(super) fn opposite(way: Direction) -> Direction {
    match way {
        Direction::Up => Direction::Down,
        Direction::Down => Direction::Up,
    }
}

/// A difference in words.
fn told(difference: &Difference) -> String {
    match (&difference.before, &difference.after) {
        (Some(before), Some(after)) => format!("{} comes back as {}", shown(before), shown(after)),
        (Some(before), None) => format!("{} does not come back", shown(before)),
        (None, Some(after)) => format!("comes back as {} and was not there", shown(after)),
        (None, None) => String::new(),
    }
}

/// At most 60 characters of a value.
fn shown(value: &Sample) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    let mut short: String = text.chars().take(60).collect();
    short.push('…');
    short
}

/// Whether anything but null stands at a place.
fn stands(sample: &Sample, names: &[&str]) -> bool {
    let Some((name, rest)) = names.split_first() else {
        return *sample != Sample::Null;
    };
    let (name, lists) = (
        name.trim_end_matches("[]"),
        (name.len() - name.trim_end_matches("[]").len()) / 2,
    );
    let inner: Vec<&Sample> = match (name, sample) {
        ("", _) => vec![sample],
        ("*", Sample::Obj(members)) => members.iter().map(|(_, value)| value).collect(),
        _ => sample.get(name).into_iter().collect(),
    };
    inner
        .into_iter()
        .any(|value| items(value, lists).into_iter().any(|value| stands(value, rest)))
}

fn items(value: &Sample, levels: usize) -> Vec<&Sample> {
    match value {
        Sample::Arr(elements) if levels > 0 => elements.iter().flat_map(|element| items(element, levels - 1)).collect(),
        _ if levels > 0 => Vec::new(),
        _ => vec![value],
    }
}
