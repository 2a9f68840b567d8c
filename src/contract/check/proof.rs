//! The record that a contract was checked, bound to what was checked by a hash.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::report::{Report, Verdict};
use crate::config::{Diagnostic, Severity, SourceFile};

/// The record's file, in the folder of its contract.
pub const RECORD: &str = "checked.json";

/// Another engine proves anew: this changes when the engine translates something differently.
const ENGINE: &str = "1";

/// What was checked, how, and with what result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Proof {
    /// The contract's name.
    pub contract: String,
    /// Over all versions, all mappings, and the engine.
    pub hash: String,
    /// The engine's version.
    pub engine: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Documents for each kind of body and direction.
    pub cases: usize,
    /// Where the draws began.
    pub seed: String,
    /// Findings that somebody accepted, with what they said.
    pub accepted: Vec<Accepted>,
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
    /// The record of a report that is not blocked; `None` if it is.
    pub fn of(report: &Report) -> Option<Self> {
        (report.verdict != Verdict::Blocked).then(|| Self {
            contract: report.contract.clone(),
            hash: report.fingerprint.clone(),
            engine: ENGINE.to_owned(),
            verdict: report.verdict,
            cases: report.cases,
            seed: report.seed.clone(),
            accepted: report
                .accepted()
                .map(|finding| Accepted {
                    id: finding.id.clone(),
                    finding: finding.headline(),
                })
                .collect(),
        })
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
    if proof.hash != fingerprint(files).to_hex().as_str() || proof.engine != ENGINE {
        return Err(ProofFault::Stale(name.to_owned()));
    }
    Ok(Some(proof))
}

/// Over everything a check depends on: versions, mappings, engine. Not over samples or notes beside them.
pub(super) fn fingerprint(files: &[SourceFile]) -> blake3::Hash {
    let mut parts: Vec<(String, &str)> = files
        .iter()
        .filter(|file| is_mapping(&file.path) || super::super::is_openapi(&file.path))
        .map(|file| {
            // The folder's own name and place do not matter.
            let mut names: Vec<_> = file
                .path
                .iter()
                .rev()
                .take(2)
                .map(|name| name.to_string_lossy())
                .collect();
            if is_mapping(&file.path) {
                names.truncate(1);
            }
            (names.join("<"), &*file.text)
        })
        .collect();
    parts.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(ENGINE.as_bytes());
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
