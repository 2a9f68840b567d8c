//! The proof of a mapping before it goes live, in two halves. One follows the schemas through the steps, for every
//! document there can be (`prove`). The other draws documents from both versions' schemas, sends them through the engine
//! that serves requests, holds them against the other version, and brings them back (`run`).
//!
//! What is found is matched with what the mapping says of itself: a loss that is declared, a code that is refused on
//! purpose, a day that does not exist. The rest is an error, or has to be accepted by name.

mod compare;
mod engine;
mod generate;
mod judge;
mod locate;
mod proof;
mod prove;
mod render;
mod report;
mod run;
mod sample;
mod shrink;
mod stand_in;
mod stored;
mod wire;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::book::Books;
use super::spec::MappingSpec;
use super::{Contract, openapi};
use crate::config::SourceFile;
use engine::{Lens, lenses};
#[cfg(test)]
pub(super) use generate::Generator;
use locate::Sheet;
pub(super) use locate::ends;
pub use proof::{Proof, ProofFault, RECORD, files_with, is_needed, verify};
pub use render::{Style, render};
pub use report::{Finding, LensReport, Places, Report, Standing, Unproved, Verdict, Way, Weight};
use run::Runner;
use stored::Stored;

/// Documents that each kind of body is tested with, in each direction, unless something else is asked for.
pub const CASES: usize = 20_000;

/// How long all of a contract is looked at without documents, unless something else is asked for.
pub const PROVING: Duration = Duration::from_secs(30);

/// How a contract is checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Documents for each kind of body and direction. With none, only what is found without drawing any is told.
    pub cases: usize,
    /// How long is looked for proofs, all threads together. What is not decided by then is not proved.
    pub proving: Duration,
    /// Where the draws begin; by default a hash of what is checked.
    pub seed: Option<u64>,
    /// Findings that somebody has looked at, by id.
    pub accepted: BTreeSet<String>,
    /// Lenses that are looked at side by side.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cases: CASES,
            proving: PROVING,
            seed: None,
            accepted: BTreeSet::new(),
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        }
    }
}

/// How far a check has come.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicUsize,
    all: AtomicUsize,
    proved: AtomicUsize,
    to_prove: AtomicUsize,
}

impl Progress {
    /// Documents that were sent, and how many there will be.
    pub fn now(&self) -> (u64, u64) {
        let read = |number: &AtomicUsize| number.load(Ordering::Relaxed) as u64;
        (read(&self.done), read(&self.all))
    }

    /// Kinds of bodies that were looked at without documents, and how many there are.
    pub fn proved(&self) -> (usize, usize) {
        let read = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        (read(&self.proved), read(&self.to_prove))
    }
}

/// Checks all mappings of a contract, given by the files of its folder as [`Contract::load`] takes them.
pub fn check(contract: &Contract, files: &[SourceFile], options: &Options, progress: &Progress) -> Report {
    let started = Instant::now();
    let mappings: Vec<&SourceFile> = files.iter().filter(|file| proof::is_mapping(&file.path)).collect();
    let fingerprint = proof::fingerprint(files, &mappings);
    let start = options
        .seed
        .unwrap_or_else(|| u64::from_le_bytes(fingerprint.as_bytes()[..8].try_into().unwrap_or_default()));
    let sheets = sheets(contract, files);
    let stored = Stored::read(contract, files);
    let mut work: Vec<Lens<'_>> = Vec::new();
    for (from, to) in ways(contract) {
        work.extend(lenses(contract, from, to));
    }
    progress.all.store(work.len() * options.cases, Ordering::Relaxed);
    progress.to_prove.store(work.len(), Ordering::Relaxed);
    // Milliseconds that were spent on proofs, by all threads together.
    let spent = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(work.len()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, work.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, lens)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    work.get(index).map(|lens| (index, lens))
                } {
                    let replayed = stored.of(lens);
                    let mut runner = Runner::new(lens, &sheets);
                    let own = start ^ lens.fingerprint();
                    let advance = |documents| {
                        progress.done.fetch_add(documents, Ordering::Relaxed);
                    };
                    let begun = Instant::now();
                    let before = Duration::from_millis(spent.load(Ordering::Relaxed) as u64);
                    let statics = prove::prove(lens, begun + options.proving.saturating_sub(before));
                    let took = usize::try_from(begun.elapsed().as_millis()).unwrap_or(usize::MAX);
                    spent.fetch_add(took, Ordering::Relaxed);
                    progress.proved.fetch_add(1, Ordering::Relaxed);
                    let seen = runner.run(options.cases, own, (&replayed, &statics), &advance);
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((index, (seen, statics)));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    let seen: Vec<_> = work.iter().zip(results.into_iter().map(|(_, seen)| seen)).collect();
    let mut report = report::assemble(contract, &sheets, &seen, options);
    report.stored(&stored);
    report.fingerprint = fingerprint.to_hex().to_string();
    report.seed = format!("{start:016x}");
    report.settle(&options.accepted);
    report.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

/// From which version to which: every step both ways, and every longer way to and from the newest.
fn ways(contract: &Contract) -> Vec<(usize, usize)> {
    let is_joined = |from: usize, to: usize| contract.steps[from..to].iter().all(Option::is_some);
    let newest = contract.versions.len().saturating_sub(1);
    let mut ways = Vec::new();
    for older in 0..newest {
        if is_joined(older, older + 1) {
            ways.extend([(older, older + 1), (older + 1, older)]);
        }
    }
    for older in 0..newest.saturating_sub(1) {
        if is_joined(older, newest) {
            ways.extend([(older, newest), (newest, older)]);
        }
    }
    ways
}

/// The mapping files beside the versions they join, the oldest first.
fn sheets<'c>(contract: &'c Contract, files: &[SourceFile]) -> Vec<Option<Sheet<'c>>> {
    let mut sheets: Vec<Option<Sheet<'c>>> = contract.steps.iter().map(|_| None).collect();
    for file in files.iter().filter(|file| proof::is_mapping(&file.path)) {
        let Ok(mut spec) = openapi::read_yaml::<MappingSpec>(file) else {
            continue;
        };
        // The contract has loaded: its tables have been read before.
        let _ = Books::open(&mut spec, file, files, &mut Vec::new());
        let position = contract
            .versions
            .iter()
            .position(|version| *version.version == *spec.from.value);
        if let Some(index) = position
            && let (Some(sheet), Some(older), Some(newer)) = (
                sheets.get_mut(index),
                contract.versions.get(index),
                contract.versions.get(index + 1),
            )
        {
            *sheet = Some(Sheet {
                spec,
                file: file.clone(),
                older,
                newer,
            });
        }
    }
    sheets
}

#[cfg(test)]
mod tests;
