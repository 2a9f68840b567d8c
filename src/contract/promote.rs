//! Puts a candidate mapping in the place of the live one, and the former one back.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::trial::{CANDIDATE, LIVE, PREVIOUS};
use crate::files;

/// A mapping that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The live file, which says something else now.
    pub live: PathBuf,
    /// Where what it said before is kept; nowhere if it said nothing.
    pub former: Option<PathBuf>,
}

/// Why nothing was replaced, or not all.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    #[error("{folder} has no {what}")]
    Nothing { folder: PathBuf, what: &'static str },
    #[error("{file}: {cause}")]
    Io {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Makes the candidates in a contract's folder live. Each live mapping is replaced in one step, so that a gateway reads
/// either; what it was is kept as `….previous.map.yaml`.
pub fn promote(folder: &Path) -> Result<Vec<Replaced>, PromoteError> {
    let candidates = files_ending(folder, CANDIDATE)?;
    if candidates.is_empty() {
        let what = "candidate: no file ends in `.candidate.map.yaml`";
        return Err(PromoteError::Nothing {
            folder: folder.to_owned(),
            what,
        });
    }
    candidates
        .iter()
        .map(|candidate| {
            let (live, previous) = (
                sibling(candidate, CANDIDATE, LIVE),
                sibling(candidate, CANDIDATE, PREVIOUS),
            );
            let former = match std::fs::read(&live) {
                Ok(former) => {
                    files::replace(&previous, &former).map_err(about(&previous))?;
                    Some(previous)
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
                Err(cause) => return Err(about(&live)(cause)),
            };
            std::fs::rename(candidate, &live).map_err(about(candidate))?;
            Ok(Replaced { live, former })
        })
        .collect()
}

/// Puts the former mappings of a contract's folder back. What was live is kept in their place, so that it may be done
/// once more.
pub fn withdraw(folder: &Path) -> Result<Vec<Replaced>, PromoteError> {
    let previous = files_ending(folder, PREVIOUS)?;
    if previous.is_empty() {
        let what = "former mapping: no file ends in `.previous.map.yaml`";
        return Err(PromoteError::Nothing {
            folder: folder.to_owned(),
            what,
        });
    }
    previous
        .into_iter()
        .map(|previous| {
            let live = sibling(&previous, PREVIOUS, LIVE);
            let (former, latter) = (
                std::fs::read(&previous).map_err(about(&previous))?,
                std::fs::read(&live).map_err(about(&live))?,
            );
            files::replace(&live, &former).map_err(about(&live))?;
            files::replace(&previous, &latter).map_err(about(&previous))?;
            Ok(Replaced {
                live,
                former: Some(previous),
            })
        })
        .collect()
}

fn about(file: &Path) -> impl FnOnce(io::Error) -> PromoteError {
    let file = file.to_owned();
    move |cause| PromoteError::Io { file, cause }
}

/// Files of a folder itself, sorted.
fn files_ending(folder: &Path, end: &str) -> Result<Vec<PathBuf>, PromoteError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(about(folder))? {
        let path = entry.map_err(about(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(end) && !name.starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn sibling(file: &Path, end: &str, other: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{}{other}", name.strip_suffix(end).unwrap_or(&name)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let mut texts: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().to_string_lossy().into_owned(), text)
            })
            .collect();
        texts.sort();
        texts
    }

    fn said(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_candidate_goes_live_and_the_former_mapping_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("v1-v2.map.yaml", "old"),
            ("v1-v2.candidate.map.yaml", "new"),
            ("v2-v3.map.yaml", "x"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let replaced = promote(folder.path()).unwrap();
        assert_eq!(replaced[0].live, folder.path().join("v1-v2.map.yaml"));
        let promoted = said(&[
            ("v1-v2.map.yaml", "new"),
            ("v1-v2.previous.map.yaml", "old"),
            ("v2-v3.map.yaml", "x"),
        ]);
        assert_eq!(texts(folder.path()), promoted);

        withdraw(folder.path()).unwrap();
        let withdrawn = said(&[
            ("v1-v2.map.yaml", "old"),
            ("v1-v2.previous.map.yaml", "new"),
            ("v2-v3.map.yaml", "x"),
        ]);
        assert_eq!(texts(folder.path()), withdrawn);
        withdraw(folder.path()).unwrap();
        assert_eq!(texts(folder.path()), promoted, "it may be done once more");
    }

    #[test]
    fn without_a_candidate_nothing_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("v1-v2.map.yaml"), "old").unwrap();
        for outcome in [promote(folder.path()), withdraw(folder.path())] {
            assert!(matches!(outcome, Err(PromoteError::Nothing { .. })), "{outcome:?}");
        }
        assert_eq!(texts(folder.path()), said(&[("v1-v2.map.yaml", "old")]));
    }
}
