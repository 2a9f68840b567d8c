//! The record that a contract was checked, bound to what was checked by a hash.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::trial::{self, CANDIDATE, PREVIOUS};
use super::report::{Places, Report, Standing, Verdict};
use crate::config::{Diagnostic, Severity, SourceFile};

/// The record's file, in the folder of its contract.
pub const RECORD: &str = "checked.json";

/// Another engine proves anew: this changes when the engine translates something differently, or proves by other means.
const ENGINE: &str = "3";

/// What was checked, how, and with what result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Proof {
    /// The contract's name.
    pub contract: String,
    /// Over all versions, the live mappings, and the engine.
    pub hash: String,
    /// The same with other mappings that passed: those that are tried, and those that were live before. So promoting
    /// and rolling back need no new check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The engine's version.
    pub engine: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Documents for each kind of body and direction.
    pub cases: usize,
    /// Where the draws began.
    pub seed: String,
    /// What is known of each kind of body.
    pub lenses: Vec<Known>,
    /// Findings that somebody accepted, with what they said.
    pub accepted: Vec<Accepted>,
}

/// What is known of one kind of body on one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Known {
    /// From which version to which, and what: `v1 -> v2 Order`.
    pub subject: String,
    /// Whether all of it is proved.
    pub standing: Standing,
    /// Of how many places what is known.
    pub places: Places,
}

/// A finding that somebody accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Accepted {
    /// As the report names it.
    pub id: String,
    /// What it said.
    pub finding: String,
}

/// Why a contract's record does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// There is none.
    #[error("the mappings of contract {0} were never checked")]
    Missing(String),
    /// It is of other versions or mappings, or of another engine.
    #[error("the versions or mappings of contract {0} were changed after they were checked")]
    Stale(String),
    /// It is not of the mappings that are tried.
    #[error("the candidate mappings of contract {0} were not checked as they are")]
    Untried(String),
    /// It cannot be read.
    #[error("{RECORD} of contract {0} cannot be read: {1}")]
    Unreadable(String, String),
    /// It says that the contract failed.
    #[error("the check of contract {0} refuted it")]
    Refuted(String),
}

impl ProofFault {
    /// The fault at the file it is about, with what to do.
    pub fn diagnostic(&self, name: &str, files: &[SourceFile]) -> Diagnostic {
        let record = files.iter().find(|file| is_record(&file.path));
        let shown = record.or_else(|| files.iter().find(|file| is_mapping(&file.path)));
        let mut diagnostic = Diagnostic {
            severity: Severity::Error,
            file: Path::new("contracts").join(name).join(RECORD),
            source: "".into(),
            line: 0,
            column: 0,
            length: 0,
            message: self.to_string(),
            help: Some(format!(
                "run `crossdock contract check {name}`; it writes {RECORD} if all is well"
            )),
        };
        if let Some(file) = shown {
            diagnostic.file = file.path.with_file_name(RECORD);
        }
        diagnostic
    }
}

impl Proof {
    /// The record of a report that is not blocked; `None` if it is. `candidate` is the report on what is tried; what the
    /// former record says of mappings that were live before is kept.
    pub fn of(report: &Report, candidate: Option<&Report>, files: &[SourceFile]) -> Option<Self> {
        let tried = candidate.filter(|candidate| candidate.verdict != Verdict::Blocked);
        let mut also: Vec<String> = tried.iter().map(|tried| tried.fingerprint.clone()).collect();
        let before = fingerprint(files, &trial::with(files, PREVIOUS)).to_hex().to_string();
        if Self::read(&report.contract, files).is_ok_and(|former| former.covers(&before)) {
            also.push(before);
        }
        also.retain(|hash| *hash != report.fingerprint);
        (report.verdict != Verdict::Blocked).then(|| Self {
            contract: report.contract.clone(),
            hash: report.fingerprint.clone(),
            also,
            engine: ENGINE.to_owned(),
            verdict: report.verdict,
            cases: report.cases,
            seed: report.seed.clone(),
            lenses: report
                .ways
                .iter()
                .flat_map(|way| {
                    way.lenses.iter().map(|lens| Known {
                        subject: format!("{} -> {} {}", way.from, way.to, lens.name),
                        standing: lens.standing,
                        places: lens.places,
                    })
                })
                .collect(),
            accepted: report
                .accepted()
                .map(|finding| Accepted {
                    id: finding.id.clone(),
                    finding: finding.headline(),
                })
                .collect(),
        })
    }

    fn covers(&self, hash: &str) -> bool {
        self.hash == hash || self.also.iter().any(|also| also == hash)
    }

    /// As it is stored.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads the record among the files of a contract.
    pub fn read(name: &str, files: &[SourceFile]) -> Result<Self, ProofFault> {
        let record = files.iter().find(|file| is_record(&file.path));
        let record = record.ok_or_else(|| ProofFault::Missing(name.to_owned()))?;
        serde_json::from_str(&record.text).map_err(|cause| ProofFault::Unreadable(name.to_owned(), cause.to_string()))
    }
}

/// Whether a contract has anything that needs a record.
pub fn is_needed(files: &[SourceFile]) -> bool {
    files.iter().any(|file| is_mapping(&file.path))
}

/// Whether the record of a contract is there and is of what the files say now. A contract without mappings needs none.
pub fn verify(name: &str, files: &[SourceFile]) -> Result<Option<Proof>, ProofFault> {
    if !is_needed(files) {
        return Ok(None);
    }
    let proof = Proof::read(name, files)?;
    if proof.verdict == Verdict::Blocked {
        return Err(ProofFault::Refuted(name.to_owned()));
    }
    let is_covered = |mappings: &[&SourceFile]| proof.covers(fingerprint(files, mappings).to_hex().as_str());
    if proof.engine != ENGINE || !is_covered(&trial::live(files)) {
        return Err(ProofFault::Stale(name.to_owned()));
    }
    if !is_covered(&trial::with(files, CANDIDATE)) {
        return Err(ProofFault::Untried(name.to_owned()));
    }
    Ok(Some(proof))
}

/// The files of a contract with these mappings and no others.
pub fn files_with(files: &[SourceFile], mappings: &[&SourceFile]) -> Vec<SourceFile> {
    let others = files.iter().filter(|file| !is_mapping(&file.path));
    others.chain(mappings.iter().copied()).cloned().collect()
}

/// Over everything a check depends on: versions with their overlays, mappings, engine. Not over samples or notes beside
/// them. Mappings count by the names they have once they are live.
pub(super) fn fingerprint(files: &[SourceFile], mappings: &[&SourceFile]) -> blake3::Hash {
    fingerprint_by(ENGINE, files, mappings)
}

fn fingerprint_by(engine: &str, files: &[SourceFile], mappings: &[&SourceFile]) -> blake3::Hash {
    let is_version = |file: &&SourceFile| super::super::is_openapi(&file.path) || super::super::is_overlay(&file.path);
    let versions = files.iter().filter(is_version).map(|file| {
        // The folder's own name and place do not matter.
        let names: Vec<_> = file
            .path
            .iter()
            .rev()
            .take(2)
            .map(|name| name.to_string_lossy())
            .collect();
        (names.join("<"), &*file.text)
    });
    let mappings = mappings.iter().map(|file| (trial::live_name(&file.path), &*file.text));
    let mut parts: Vec<(String, &str)> = versions.chain(mappings).collect();
    parts.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(engine.as_bytes());
    for (name, text) in parts {
        for part in [name.as_str(), text] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize()
}

pub(super) fn is_mapping(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".map.yaml")
}

fn is_record(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == RECORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_engine_is_another_hash() {
        let file = |path: &str, text: &str| SourceFile {
            path: path.into(),
            text: text.into(),
        };
        let files = [file("a/v1/openapi.yaml", "one"), file("a/v1-v2.map.yaml", "two")];
        let mappings = [&files[1]];
        assert_eq!(
            fingerprint(&files, &mappings),
            fingerprint_by(ENGINE, &files, &mappings)
        );
        assert_ne!(fingerprint(&files, &mappings), fingerprint_by("1", &files, &mappings));
        assert_ne!(fingerprint(&files, &mappings), fingerprint(&files, &[&files[0]]));
    }
}
