//! What a check found, put together for people and tools.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Options;
use super::engine::Lens;
use super::judge::Refusal;
use super::locate::Sheet;
use super::run::{Found, Key, Kind, Seen};
use super::stored::Stored;
use crate::contract::Contract;
use crate::contract::spec::Direction;

/// Of a hundred drawn documents, so many must conform for a test to mean something.
const CONFORMING_PERCENT: usize = 20;

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
    /// Proved, tested, or refuted.
    pub standing: Standing,
    /// Documents that were sent.
    pub tested: usize,
    /// Drawn documents that did not conform, and were thrown away.
    pub discarded: usize,
    /// Documents that the engine refused.
    pub refused: usize,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// How sure it is that a kind of body can be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
            if lens.findings.iter().any(|finding| finding.weight == Weight::Error) {
                lens.standing = Standing::Refuted;
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
    seen: &[(&Lens<'_>, Seen)],
    options: &Options,
) -> Report {
    let mut ways: Vec<Way> = Vec::new();
    // What a single step was found to do is not told again of every longer way through it.
    let mut told: BTreeSet<(usize, (u32, u32), u8)> = BTreeSet::new();
    let mut shown: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (lens, seen) in seen {
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
            findings.push(finding(&subject, lens, key, found, sheets));
        }
        if let Some(finding) = coverage(&subject, seen, options.cases) {
            findings.push(finding);
        }
        let lens_report = LensReport {
            name: lens.name.clone(),
            uses: lens.uses.clone(),
            standing: Standing::Tested,
            tested: seen.tested,
            discarded: seen.discarded,
            refused: seen.refused,
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
        findings: unused_losses(sheets, &shown),
        ways,
        samples: 0,
        cases: options.cases,
        seed: String::new(),
        fingerprint: String::new(),
        milliseconds: 0,
    }
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
