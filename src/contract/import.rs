//! Takes somebody else's `OpenAPI` document in: gathers its files into one, names what has no name, and says what of it
//! will not be enforced.

mod bundle;
mod report;
mod tidy;

use std::path::Path;

use super::document::{Edition, name_itself, warn_of_sequences};
use super::tree::Node;
use super::upgrade::upgrade;
use super::{Contract, ContractVersion, OpenApi};
use crate::config::{Diagnostic, Severity, SourceFile};
pub use report::Report;

/// A document as it is to be written, and what was done to it.
#[derive(Debug)]
pub struct Imported {
    /// The text of `openapi.yaml`.
    pub text: String,
    /// What was done, and what is not enforced.
    pub report: Report,
    /// What somebody should look at, with its place in what was imported.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a document and the files it refers to, and makes one of them that a contract version can be.
///
/// `path` is where the result will be written; `beside` are the overlays there. Files outside the folder of `file` are
/// read only where that is allowed, and nothing is fetched.
pub fn import(
    file: &Path,
    allow_outside: bool,
    path: &Path,
    beside: &[SourceFile],
) -> Result<Imported, Vec<Diagnostic>> {
    let bundle::Bundle {
        mut tree,
        files,
        bundled,
    } = bundle::bundle(file, allow_outside)?;
    let edition = Edition::of(&tree, &files).map_err(|mistake| vec![mistake])?;
    let mut report = Report {
        edition: edition.to_string(),
        files: files.len(),
        bundled,
        ..Report::default()
    };
    let mut warnings = Vec::new();
    name_itself(&mut tree);
    match edition {
        Edition::V30 => report.converted = upgrade(&mut tree),
        Edition::V31 => {}
        Edition::V32 => warn_of_sequences(&mut tree, &files, &mut warnings),
    }
    tidy::tidy(&mut tree, &files, &mut report)?;
    let source = file.file_name().unwrap_or_default().to_string_lossy();
    let text = format!(
        "# Imported from {source} by `crossdock contract import`. Changes of your own belong into overlay.yaml beside this\n\
         # file: they survive the next import.\n{}",
        tree.to_yaml()
    );
    let written = SourceFile {
        path: path.to_owned(),
        text: text.clone().into(),
    };
    let mut together = vec![written];
    together.extend(beside.iter().cloned());
    match Contract::load("imported", &together) {
        Ok(contract) => {
            let version = contract.versions.first();
            report.operations = version.map_or(0, |version| version.operations.len());
            warnings.extend(contract.warnings);
            Ok(Imported { text, report, warnings })
        }
        // What is wrong is better told where it was written.
        Err(found) => Err(mistakes_of(tree, &files).filter(|_| beside.is_empty()).unwrap_or(found)),
    }
}

/// What is wrong with an imported document, with its place in the files it came from.
fn mistakes_of(tree: Node, files: &[SourceFile]) -> Option<Vec<Diagnostic>> {
    let (document, found) = match OpenApi::of_tree("imported", tree, files, Vec::new()) {
        Ok(parsed) => parsed,
        Err(found) => return Some(found),
    };
    let found = ContractVersion::of_document("imported", document, found).err()?;
    found
        .iter()
        .any(|mistake| mistake.severity == Severity::Error)
        .then_some(found)
}

#[cfg(test)]
mod tests;
