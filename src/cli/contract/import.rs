//! `crossdock contract import FILE --name NAME --version VERSION`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::name;
use crate::{
    cli::{complain, diagnosed, say},
    config::{Bounds, Diagnostic, SourceFile, read_file},
    contract::{import::import, is_overlay},
};

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The `OpenAPI` document, in YAML or JSON.
    file: PathBuf,
    /// Name of the contract.
    #[arg(long, value_parser = name)]
    name: String,
    /// Name of the version, such as v1.
    #[arg(long, value_parser = name)]
    version: String,
    /// Replace the version's document where there is one. Overlays beside it stay.
    #[arg(long)]
    force: bool,
    /// Follow references to files outside the folder of FILE.
    #[arg(long)]
    allow_outside: bool,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For tools: one document.
    Json,
}

/// The names a version's document may have.
const DOCUMENTS: [&str; 3] = ["openapi.yaml", "openapi.yml", "openapi.json"];

pub(super) fn run(contracts: &Path, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let folder = contracts.join(&args.name).join(&args.version);
    let there: Vec<PathBuf> = DOCUMENTS
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.exists())
        .collect();
    if let (Some(there), false) = (there.first(), args.force) {
        bail!("{} is there already; replace it with --force", there.display());
    }
    let path = folder.join(DOCUMENTS[0]);
    let overlays = match overlays(&folder) {
        Ok(overlays) => overlays,
        Err(mistake) => return Ok(refused(&[mistake])),
    };
    let imported = match import(&args.file, args.allow_outside, &path, &overlays) {
        Ok(imported) => imported,
        Err(mistakes) => return Ok(refused(&mistakes)),
    };
    if imported.text.len() as u64 > Bounds::FILE {
        bail!(
            "the document is larger than the {} MiB that are read of one file",
            Bounds::FILE >> 20
        );
    }
    fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    for other in there.iter().filter(|other| **other != path) {
        fs::remove_file(other).with_context(|| format!("{} cannot be removed", other.display()))?;
    }
    fs::write(&path, &imported.text).with_context(|| format!("{} cannot be written", path.display()))?;
    if !imported.warnings.is_empty() {
        complain(&diagnosed(&imported.warnings));
    }
    match args.format {
        Format::Text => {
            say(&imported.report.text());
            say(&format!(
                "\nWritten to {}, which loads. Publish it with an API under policies/apis.",
                path.display()
            ));
        }
        Format::Json => {
            let mut document = imported.report.document();
            document["written"] = path.display().to_string().into();
            say(&format!("{document:#}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(mistakes: &[Diagnostic]) -> ExitCode {
    complain(&diagnosed(mistakes));
    complain("nothing was written");
    ExitCode::FAILURE
}

/// The overlays that lie where the document will.
fn overlays(folder: &Path) -> Result<Vec<SourceFile>, Diagnostic> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| is_overlay(path));
    paths.sort();
    paths.iter().map(|path| read_file(path, path)).collect()
}
