//! What a check found, put together for people and tools.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Options;
use super::engine::Lens;
use super::judge::Refusal;
use super::locate::Sheet;
use super::prove::{Statics, described};
use super::run::{Found, Key, Kind, Seen};
use super::stored::Stored;
use crate::contract::Contract;
use crate::contract::spec::Direction;

/// Of a hundred drawn documents, so many must conform for a test to mean something.
const CONFORMING_PERCENT: usize = 20;

/// What is said where a document shows that a proof was none.
pub(super) const CONTRADICTED: &str = "a document contradicts what was proved, which is a mistake of this program";

/// What a check of a contract came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The contract's name.
    pub contract: String,
    /// Whether it may go live.
    pub verdict: Verdict,
    /// Every way between two versions, each step before the longer ones.
    pub ways: Vec<Way>,
    /// Findings of the contract as a whole: losses that never show, samples that do not conform.
    pub findings: Vec<Finding>,
    /// Stored documents that were sent with the drawn ones.
    pub samples: usize,
    /// Documents for each kind of body and direction.
    pub cases: usize,
    /// Where the draws began, in hexadecimal.
    pub seed: String,
    /// Over everything that was checked.
    #[serde(rename = "hash")]
    pub fingerprint: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// Whether a contract may go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No document can fail, and nothing had to be accepted.
    Proved,
    /// No document failed, of those that were tried.
    Tested,
    /// A document fails, a loss is not declared, or a finding awaits that somebody accepts it.
    Blocked,
}

/// One way between two versions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// The version that documents were drawn from.
    pub from: String,
    /// The version they were translated to.
    pub to: String,
    /// Whether it passes versions in between.
    pub is_composed: bool,
    /// Each kind of body.
    pub lenses: Vec<LensReport>,
}

/// One kind of body on one way.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LensReport {
    /// The schema's name.
    pub name: String,
    /// Where such bodies are sent.
    pub uses: Vec<String>,
    /// Not bodies, but the parameters of an operation.
    pub is_parameters: bool,
    /// Proved, tested, or refuted.
    pub standing: Standing,
    /// Documents that were sent.
    pub tested: usize,
    /// Drawn documents that did not conform, and were thrown away.
    pub discarded: usize,
    /// Documents that the engine refused.
    pub refused: usize,
    /// Of how many places it is known that they are right.
    pub places: Places,
    /// What is not proved, and why.
    pub unproved: Vec<Unproved>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Places of a kind of body, by what is known of them: its fields in the target's words, and lists as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Right for every document there can be: it conforms, no step refuses it, and it comes back or its loss is declared.
    pub proved: usize,
    /// Wrong for at least one document.
    pub refuted: usize,
    /// Neither.
    pub unproved: usize,
}

/// Something that is not proved; of the documents that were sent, none failed there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unproved {
    /// The field in the target's words; empty for the whole body.
    pub path: String,
    /// What is not known: one lower-case phrase.
    pub why: String,
    /// The mapping file, where a step is at fault.
    pub file: Option<PathBuf>,
    /// Where in it; 0 where no step is at fault.
    pub line: u32,
    /// 1-based; 0 where unknown.
    pub column: u32,
}

/// How sure it is that a kind of body can be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// For every document there can be.
    Proved,
    /// For those that were tried.
    Tested,
    /// Not for at least one.
    Refuted,
}

/// What a finding means for going live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// It must be repaired.
    Error,
    /// It must be repaired, or accepted by its id.
    Doubt,
    /// It was a doubt, and somebody accepted it.
    Accepted,
    /// Somebody should look at it.
    Warning,
    /// It is as it should be, and good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The same from run to run, for `--accept`.
    pub id: String,
    /// What it means for going live.
    pub weight: Weight,
    /// `invalid`, `refused`, `no-return`, `loss`, `partial`, `spelling`, `empty`, `coverage`, `unused-loss`, `sample`.
    pub kind: &'static str,
    /// In which body: `v1 -> v2 Order`.
    pub subject: String,
    /// The field: `lines[].price`. In the target's words for what is invalid, else in the source's.
    pub path: String,
    /// What is wrong, in words.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The mapping file.
    pub file: Option<PathBuf>,
    /// Where in it; 0 where the whole file is meant.
    pub line: u32,
    /// 1-based; 0 where unknown.
    pub column: u32,
    /// The step at fault.
    pub op: Option<&'static str>,
    /// All values that fail there, where that is known: `texts of 21 to 40 characters`.
    pub beyond: Option<String>,
    /// It follows from schemas and steps: a document was made to show it, not drawn.
    pub is_foreseen: bool,
    /// How many of the documents showed it.
    pub count: usize,
    /// The smallest document that shows it.
    pub witness: Option<String>,
}

impl Finding {
    /// The finding in one line, without its document.
    pub fn headline(&self) -> String {
        let path = if self.path.is_empty() {
            "(whole body)"
        } else {
            &self.path
        };
        format!("{}: {path}: {}", self.subject, self.message)
    }

    /// `file:line:column`, as far as known.
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?.display();
        Some(match self.line {
            0 => file.to_string(),
            line => format!("{file}:{line}:{}", self.column),
        })
    }
}

impl Report {
    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.contract);
        self
    }
    /// All findings, those of the contract first.
    pub fn all(&self) -> impl Iterator<Item = &Finding> {
        let lenses = self.ways.iter().flat_map(|way| &way.lenses);
        self.findings.iter().chain(lenses.flat_map(|lens| &lens.findings))
    }

    /// Doubts that were accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &Finding> {
        self.all().filter(|finding| finding.weight == Weight::Accepted)
    }

    /// How many findings weigh so much.
    pub fn count(&self, weight: Weight) -> usize {
        self.all().filter(|finding| finding.weight == weight).count()
    }

    /// Adds what is wrong with stored documents.
    pub(super) fn stored(&mut self, stored: &Stored) {
        self.samples = stored.count;
        for (file, fault) in &stored.faults {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.findings.push(Finding {
                id: id(&["sample", &name]),
                weight: Weight::Error,
                kind: "sample",
                subject: name,
                path: String::new(),
                message: fault.clone(),
                help: Some("repair the stored document, or remove it".to_owned()),
                file: Some(file.clone()),
                line: 0,
                column: 0,
                op: None,
                beyond: None,
                is_foreseen: false,
                count: 1,
                witness: None,
            });
        }
    }

    /// Takes what was accepted into account, and comes to a verdict.
    pub(super) fn settle(&mut self, accepted: &BTreeSet<String>) {
        let lenses = self.ways.iter_mut().flat_map(|way| &mut way.lenses);
        let own = self.findings.iter_mut();
        for finding in own.chain(lenses.flat_map(|lens| &mut lens.findings)) {
            if finding.weight == Weight::Doubt && accepted.contains(&finding.id) {
                finding.weight = Weight::Accepted;
            }
        }
        for lens in self.ways.iter_mut().flat_map(|way| &mut way.lenses) {
            lens.findings.sort_by_key(|finding| (finding.weight, finding.line));
            let worst = lens.findings.iter().map(|finding| finding.weight).min();
            if worst == Some(Weight::Error) {
                lens.standing = Standing::Refuted;
            } else if lens.unproved.is_empty()
                && lens.refused == 0
                && worst.is_none_or(|worst| worst > Weight::Accepted)
            {
                lens.standing = Standing::Proved;
            }
        }
        let is_proved = self
            .ways
            .iter()
            .flat_map(|way| &way.lenses)
            .all(|lens| lens.standing == Standing::Proved);
        self.verdict = if self.count(Weight::Error) + self.count(Weight::Doubt) > 0 {
            Verdict::Blocked
        } else if is_proved && self.count(Weight::Accepted) == 0 {
            Verdict::Proved
        } else {
            Verdict::Tested
        };
    }
}

/// Puts together what was seen of each lens.
pub(super) fn assemble(
    contract: &Contract,
    sheets: &[Option<Sheet<'_>>],
    seen: &[(&Lens<'_>, (Seen, Statics))],
    options: &Options,
) -> Report {
    let mut ways: Vec<Way> = Vec::new();
    // What a single step was found to do is not told again of every longer way through it.
    let mut told: BTreeSet<(usize, (u32, u32), u8)> = BTreeSet::new();
    let mut shown: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (lens, (seen, statics)) in seen {
        shown.extend(&seen.losses);
        let (from, to) = (&lens.source.version, &lens.target.version);
        let subject = format!("{from} -> {to} {}", lens.name);
        let mut findings = Vec::new();
        for (key, found) in &seen.found {
            let rank = rank(key.kind);
            let place = found.place.map(|(index, place)| (index, place, rank));
            if lens.is_composed() && place.is_some_and(|place| told.contains(&place)) {
                continue;
            }
            if !lens.is_composed() {
                told.extend(place);
            }
            let mut finding = finding(&subject, lens, key, found, sheets);
            let same = statics.differences.iter().find(|difference| difference.at == key.path);
            finding.beyond = same
                .and_then(|same| described(same.beyond.as_ref()?))
                .filter(|_| key.kind == Kind::Invalid);
            findings.push(finding);
        }
        let unproved = unproved(statics, seen, sheets);
        let places = places(statics, seen, &unproved);
        if let Some(finding) = coverage(&subject, seen, options.cases) {
            findings.push(finding);
        }
        let lens_report = LensReport {
            name: lens.name.clone(),
            uses: lens.uses.clone(),
            is_parameters: lens.is_parameters(),
            standing: Standing::Tested,
            tested: seen.tested,
            discarded: seen.discarded,
            refused: seen.refused,
            places,
            unproved,
            findings,
        };
        match ways.iter_mut().find(|way| *way.from == **from && *way.to == **to) {
            Some(way) => way.lenses.push(lens_report),
            None => ways.push(Way {
                from: from.to_string(),
                to: to.to_string(),
                is_composed: lens.is_composed(),
                lenses: vec![lens_report],
            }),
        }
    }
    Report {
        contract: contract.name.to_string(),
        verdict: Verdict::Blocked,
        findings: if options.cases == 0 {
            Vec::new()
        } else {
            unused_losses(sheets, &shown)
        },
        ways,
        samples: 0,
        cases: options.cases,
        seed: String::new(),
        fingerprint: String::new(),
        milliseconds: 0,
    }
}

/// What is left open by the half without documents.
fn unproved(statics: &Statics, seen: &Seen, sheets: &[Option<Sheet<'_>>]) -> Vec<Unproved> {
    let mut open: Vec<Unproved> = Vec::new();
    for left in &statics.open {
        let sheet = left.place.and_then(|(index, _)| sheets.get(index)?.as_ref());
        let (line, column) = left.place.map_or((0, 0), |(_, place)| place);
        open.push(Unproved {
            path: left.path.clone(),
            why: left.why.clone(),
            file: sheet.map(|sheet| sheet.file.path.clone()),
            line,
            column,
        });
    }
    for difference in &statics.differences {
        let is_shown = |key: &Key| key.kind == Kind::Invalid && key.path == difference.at;
        if !seen.found.keys().any(is_shown) {
            let values = difference.beyond.as_ref().and_then(described);
            let values = values.unwrap_or_else(|| shortened(&difference.value.to_string()));
            open.push(Unproved {
                path: difference.at.clone(),
                why: format!(
                    "{values} may be made, which `{}` refuses; no document shows it",
                    difference.keyword
                ),
                file: None,
                line: 0,
                column: 0,
            });
        }
    }
    // What is sound cannot be contradicted. Should it be all the same, that is told and nothing is called proved.
    let is_open = |path: &str| {
        let foreseen = statics.differences.iter().map(|difference| difference.at.as_str());
        let mut known = foreseen.chain(open.iter().map(|open| open.path.as_str()));
        known.any(|known| is_under(path, known) || is_under(known, path))
    };
    let invalid = seen.found.keys().filter(|key| key.kind == Kind::Invalid);
    let mut contradicted: Vec<&str> = invalid
        .map(|key| key.path.as_str())
        .filter(|path| !is_open(path))
        .collect();
    if open.is_empty() && seen.refused > 0 {
        contradicted.push("");
    }
    let contradictions: Vec<Unproved> = contradicted
        .into_iter()
        .map(|path| Unproved {
            path: path.to_owned(),
            why: CONTRADICTED.to_owned(),
            file: None,
            line: 0,
            column: 0,
        })
        .collect();
    open.extend(contradictions);
    open.sort();
    open.dedup();
    open
}

/// Whether a place is another or lies in it.
fn is_under(place: &str, around: &str) -> bool {
    let rest = place.strip_prefix(around);
    rest.is_some_and(|rest| around.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn places(statics: &Statics, seen: &Seen, unproved: &[Unproved]) -> Places {
    let is_wrong = |key: &&Key| weighed(key.kind).0 <= Weight::Doubt;
    let refuted: BTreeSet<&str> = seen
        .found
        .keys()
        .filter(is_wrong)
        .map(|key| key.path.as_str())
        .collect();
    let open: BTreeSet<&str> = unproved.iter().map(|open| open.path.as_str()).collect();
    let known: BTreeSet<&str> = statics.places.iter().map(String::as_str).collect();
    // What is open around a place is open for it.
    let all: BTreeSet<&str> = known.iter().chain(&open).chain(&refuted).copied().collect();
    let mut counted = Places::default();
    for place in all.iter().filter(|place| !place.is_empty() || all.len() == 1) {
        if refuted.contains(place) {
            counted.refuted += 1;
        } else if open.iter().any(|path| is_under(place, path)) {
            counted.unproved += 1;
        } else {
            counted.proved += 1;
        }
    }
    counted
}

fn finding(subject: &str, lens: &Lens<'_>, key: &Key, found: &Found, sheets: &[Option<Sheet<'_>>]) -> Finding {
    let (weight, kind) = weighed(key.kind);
    let (from, to) = (&lens.source.version, &lens.target.version);
    let message = match key.kind {
        Kind::Invalid => format!("does not conform to {to}: {}", found.text),
        Kind::NoReturn(_) => format!("cannot be translated back to {from}: {}", found.text),
        Kind::Undeclared(_) => format!("{}, and no loss is declared", found.text),
        Kind::Spelled => "the same number or instant, written otherwise".to_owned(),
        Kind::Emptied => "left out, as there is nothing in it".to_owned(),
        _ => found.text.clone(),
    };
    let (file, (line, column)) = match found.place {
        Some((index, place)) => {
            let sheet = sheets.get(index).and_then(Option::as_ref);
            (sheet.map(|sheet| sheet.file.path.clone()), place)
        }
        None => (None, (0, 0)),
    };
    Finding {
        id: id(&[subject, kind, &key.path, &key.mark]),
        weight,
        kind,
        subject: subject.to_owned(),
        path: key.path.clone(),
        message,
        help: help(lens, key, found),
        file,
        line,
        column,
        op: found.op,
        beyond: None,
        is_foreseen: found.is_foreseen,
        count: found.count,
        witness: (weight <= Weight::Doubt || matches!(key.kind, Kind::Refused(_))).then(|| found.example.to_string()),
    }
}

fn weighed(kind: Kind) -> (Weight, &'static str) {
    match kind {
        Kind::Invalid => (Weight::Error, "invalid"),
        Kind::Refused(Refusal::Fault) => (Weight::Error, "refused"),
        Kind::Refused(Refusal::Open) => (Weight::Doubt, "refused"),
        Kind::NoReturn(Refusal::Fault) => (Weight::Error, "no-return"),
        Kind::NoReturn(Refusal::Open) => (Weight::Doubt, "no-return"),
        Kind::Refused(Refusal::Declared | Refusal::Inherent)
        | Kind::NoReturn(Refusal::Declared | Refusal::Inherent) => (Weight::Note, "partial"),
        Kind::Undeclared(_) => (Weight::Error, "loss"),
        Kind::Declared(_) | Kind::Chosen(_) => (Weight::Note, "loss"),
        Kind::Spelled => (Weight::Note, "spelling"),
        Kind::Emptied => (Weight::Note, "empty"),
    }
}

/// Kinds that mean the same of a longer way as of the step.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid => 0,
        Kind::Refused(_) => 1,
        Kind::NoReturn(_) => 2,
        Kind::Undeclared(_) => 3,
        Kind::Declared(_) | Kind::Chosen(_) => 4,
        Kind::Spelled => 5,
        Kind::Emptied => 6,
    }
}

fn help(lens: &Lens<'_>, key: &Key, found: &Found) -> Option<String> {
    let (from, to) = (&lens.source.version, &lens.target.version);
    let step = found
        .op
        .map_or_else(|| "this type".to_owned(), |op| format!("this `{op}`"));
    let text = match key.kind {
        Kind::Invalid => match key.mark.as_str() {
            "required" => format!("let a step fill it, require it in {from} too, or make it optional in {to}"),
            "enum" | "const" => format!("add a row to the table, or let {from} and {to} know the same codes"),
            "additionalProperties" | "unevaluatedProperties" => {
                format!("write `additionalProperties: false` in {from}, or describe the field in {to}")
            }
            _ => format!("narrow the field in {from}, widen it in {to}, or change {step}"),
        },
        Kind::Refused(Refusal::Open) if found.op == Some("table") => {
            "add a row, say what becomes of other codes (`'*': …`, `~` refuses them), or list the codes in the schema"
                .to_owned()
        }
        Kind::Refused(Refusal::Open) if found.op.is_none() => {
            format!("write `additionalProperties: false` in {from}")
        }
        Kind::Refused(Refusal::Open) | Kind::NoReturn(Refusal::Open) => {
            format!("narrow the field's schema to what {step} can read, or accept that the rest is refused")
        }
        Kind::Refused(Refusal::Fault) | Kind::NoReturn(Refusal::Fault) => {
            format!("make {step} fit what {from} admits there")
        }
        Kind::Undeclared(_) => {
            let way = if lens.versions[0] < lens.versions[1] {
                "up"
            } else {
                "down"
            };
            format!(
                "let a step carry it, or declare it: `losses: - {{ type: …, path: …, direction: {way}, reason: … }}`"
            )
        }
        _ => return None,
    };
    Some(text)
}

/// A test with hardly any documents says nothing.
fn coverage(subject: &str, seen: &Seen, cases: usize) -> Option<Finding> {
    if cases == 0 {
        return None;
    }
    let drawn = seen.tested + seen.discarded;
    let is_poor = seen.tested < cases.min(100) || seen.tested * 100 < drawn * CONFORMING_PERCENT;
    is_poor.then(|| Finding {
        id: id(&[subject, "coverage"]),
        weight: Weight::Doubt,
        kind: "coverage",
        subject: subject.to_owned(),
        path: String::new(),
        message: format!(
            "only {} of {drawn} drawn documents conform to the schema, so little was tested",
            seen.tested
        ),
        help: Some(
            "say more in the schema (patterns that look around cannot be drawn from), or store samples".to_owned(),
        ),
        file: None,
        line: 0,
        column: 0,
        op: None,
        beyond: None,
        is_foreseen: false,
        count: seen.discarded,
        witness: None,
    })
}

/// A loss that never shows is declared for nothing, or is not what somebody thought.
fn unused_losses(sheets: &[Option<Sheet<'_>>], shown: &BTreeSet<(usize, usize)>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, sheet) in sheets.iter().enumerate() {
        let Some(sheet) = sheet else { continue };
        for (position, written) in sheet.spec.losses.iter().enumerate() {
            if shown.contains(&(index, position)) {
                continue;
            }
            let loss = &written.value;
            let (line, column) = crate::contract::compile::place(written);
            let way = if loss.direction == Direction::Up { "up" } else { "down" };
            let subject = format!("{} -> {} {}", sheet.spec.from.value, sheet.spec.to.value, loss.schema);
            found.push(Finding {
                id: id(&[&subject, "unused-loss", &loss.path, way]),
                weight: Weight::Warning,
                kind: "unused-loss",
                subject,
                path: loss.path.clone(),
                message: format!("the loss on the way {way} is declared and never showed"),
                help: Some("remove it from `losses` if the field comes back".to_owned()),
                file: Some(sheet.file.path.clone()),
                line,
                column,
                op: None,
                beyond: None,
                is_foreseen: false,
                count: 0,
                witness: None,
            });
        }
    }
    found
}

/// Eight letters that stay the same for as long as the finding does.
fn id(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..8].to_owned()
}

/// Findings by file and line, for what shows them beside the source.
pub(super) fn by_place(report: &Report) -> BTreeMap<(PathBuf, u32), Vec<&Finding>> {
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for finding in report.all().filter(|finding| finding.weight != Weight::Note) {
        let fallback = || Path::new("contracts").join(&report.contract);
        let file = finding.file.clone().unwrap_or_else(fallback);
        places.entry((file, finding.line)).or_default().push(finding);
    }
    places
}
