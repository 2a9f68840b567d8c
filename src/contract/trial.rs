//! Mappings that are tried before they go live: `v1-v2.candidate.map.yaml`, beside `v1-v2.map.yaml`.

use std::path::Path;

use super::spec::MappingSpec;
use super::{Contract, openapi};
use crate::config::{Diagnostic, SourceFile};

/// How the file of a mapping ends.
pub(crate) const LIVE: &str = ".map.yaml";
/// How the file of a changed mapping ends that is tried.
pub(crate) const CANDIDATE: &str = ".candidate.map.yaml";
/// How the file of a mapping ends that was live before.
pub(crate) const PREVIOUS: &str = ".previous.map.yaml";

/// A contract as it would be with its candidate mappings in the place of the live ones.
#[derive(Debug)]
pub struct Candidate {
    /// The contract.
    pub contract: Contract,
    /// Of the candidate files' names and texts.
    pub digest: blake3::Hash,
    /// Between which versions the candidate files map.
    pairs: Vec<(String, String)>,
}

impl Candidate {
    /// The contract with the candidates among its files; `None` where there is none. Mistakes that the live files have
    /// as well are not repeated.
    pub fn load(name: &str, files: &[SourceFile]) -> Option<Result<Self, Vec<Diagnostic>>> {
        let candidates: Vec<&SourceFile> = files.iter().filter(|file| ends_with(&file.path, CANDIDATE)).collect();
        if candidates.is_empty() {
            return None;
        }
        let mappings = with(files, CANDIDATE);
        let mut hasher = blake3::Hasher::new();
        let mut pairs = Vec::new();
        for file in &candidates {
            for part in [
                file.path.file_name().unwrap_or_default().as_encoded_bytes(),
                file.text.as_bytes(),
            ] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            // A file that cannot be read is a mistake of loading.
            if let Ok(spec) = openapi::read_yaml::<MappingSpec>(file) {
                pairs.push((spec.from.value, spec.to.value));
            }
        }
        let own = |found: Vec<Diagnostic>| -> Vec<Diagnostic> {
            let is_own = |found: &Diagnostic| ends_with(&found.file, CANDIDATE);
            found.into_iter().filter(is_own).collect()
        };
        let loaded = Contract::load_with(name, files, &mappings);
        Some(loaded.map_err(&own).map(|mut contract| {
            contract.warnings = own(std::mem::take(&mut contract.warnings));
            Self {
                contract,
                digest: hasher.finalize(),
                pairs,
            }
        }))
    }

    /// Whether a candidate mapping stands on the way between two versions.
    pub fn touches(&self, one: &str, other: &str) -> bool {
        let position = |name: &str| self.contract.versions.iter().position(|known| *known.version == *name);
        let (Some(one), Some(other)) = (position(one), position(other)) else {
            return false;
        };
        let way = one.min(other)..=one.max(other);
        self.pairs.iter().any(|(from, to)| {
            let ends = position(from).zip(position(to));
            ends.is_some_and(|(from, to)| way.contains(&from) && way.contains(&to))
        })
    }
}

/// The mappings in force among the files of a contract.
pub(super) fn live(files: &[SourceFile]) -> Vec<&SourceFile> {
    let is_live = |file: &&SourceFile| {
        let path = &file.path;
        ends_with(path, LIVE) && !ends_with(path, CANDIDATE) && !ends_with(path, PREVIOUS)
    };
    files.iter().filter(is_live).collect()
}

/// The mappings as they would be with those that end so in the place of the live ones.
pub(super) fn with<'f>(files: &'f [SourceFile], end: &str) -> Vec<&'f SourceFile> {
    let others: Vec<&SourceFile> = files.iter().filter(|file| ends_with(&file.path, end)).collect();
    let is_replaced = |live: &SourceFile| {
        others
            .iter()
            .any(|other| live_name(&other.path) == live_name(&live.path))
    };
    let mut mappings: Vec<&SourceFile> = live(files).into_iter().filter(|live| !is_replaced(live)).collect();
    mappings.extend(&others);
    mappings
}

/// Whether this is the file of a mapping that is tried.
pub(super) fn is_candidate(path: &Path) -> bool {
    ends_with(path, CANDIDATE)
}

/// The name of a mapping's file once it is live.
pub(super) fn live_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = [CANDIDATE, PREVIOUS].iter().find_map(|end| name.strip_suffix(end));
    stem.map_or_else(|| name.clone(), |stem| format!("{stem}{LIVE}"))
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: text.into(),
        }
    }

    /// A contract with two versions, and this in its mapping's and its candidate's steps.
    fn files(live: &str, candidate: &str) -> Vec<SourceFile> {
        let version = |name: &str, field: &str| {
            file(
                &format!("contracts/c/{name}/openapi.yaml"),
                &format!(
                    "openapi: 3.1.0\ninfo: {{ title: c, version: '1' }}\npaths:\n  /c:\n    post:\n      operationId: \
                     create\n      requestBody: {{ required: true, content: {{ application/json: {{ schema: {{ $ref: \
                     '#/components/schemas/C' }} }} }} }}\n      responses: {{ '204': {{ description: ok }} \
                     }}\ncomponents:\n  schemas:\n    C:\n      type: object\n      additionalProperties: false\n      \
                     properties: {{ {field}: {{ type: string }} }}\n"
                ),
            )
        };
        let mapping = |name: &str, steps: &str| {
            let text = format!("kind: Mapping\ncontract: c\nfrom: v1\nto: v2\ntypes:\n  C: [{steps}]\n");
            file(&format!("contracts/c/{name}"), &text)
        };
        vec![
            version("v1", "a"),
            version("v2", "b"),
            mapping("v1-v2.map.yaml", live),
            mapping("v1-v2.candidate.map.yaml", candidate),
            mapping("v1-v2.previous.map.yaml", "{ drop: { path: a } }"),
        ]
    }

    const MOVE: &str = "{ move: { from: a, to: b } }";

    #[test]
    fn a_candidate_stands_in_the_place_of_its_live_mapping() {
        let files = files(MOVE, MOVE);
        assert!(Contract::load("c", &files).is_ok(), "the live contract does not see it");
        let candidate = Candidate::load("c", &files).unwrap().unwrap();
        assert!(candidate.touches("v2", "v1") && !candidate.touches("v1", "v1"));
        assert!(Candidate::load("c", &files[..3]).is_none());
    }

    #[test]
    fn a_mistake_of_the_candidate_is_told_of_its_file_alone() {
        let wrong = "{ move: { from: a, to: c } }";
        let mistakes = Candidate::load("c", &files(MOVE, wrong)).unwrap().unwrap_err();
        let is_own = |mistake: &Diagnostic| mistake.file.ends_with("v1-v2.candidate.map.yaml");
        assert!(!mistakes.is_empty() && mistakes.iter().all(is_own), "{mistakes:?}");
    }

    #[test]
    fn another_text_is_another_candidate() {
        let digest = |text: &str| Candidate::load("c", &files(MOVE, text)).unwrap().unwrap().digest;
        assert_eq!(digest(MOVE), digest(MOVE));
        assert_ne!(digest(MOVE), digest("{ move: { from: a, to: b } }, "));
    }
}
