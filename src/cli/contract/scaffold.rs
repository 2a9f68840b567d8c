//! `crossdock contract scaffold NAME OLDER NEWER`.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;

use super::name;
use crate::{
    cli::{complain, diagnosed, say},
    config::{Bounds, SourceFile, files_below, read_file},
    contract::{Contract, scaffold::scaffold},
};

#[derive(Args)]
pub(super) struct ScaffoldArgs {
    /// Name of the contract.
    #[arg(value_parser = name)]
    name: String,
    /// The older version, such as v1.
    #[arg(value_parser = name)]
    older: String,
    /// The newer version: the older one's next neighbour.
    #[arg(value_parser = name)]
    newer: String,
    /// Replace the mapping where there is one.
    #[arg(long)]
    force: bool,
    /// Print the mapping and write nothing.
    #[arg(long)]
    stdout: bool,
}

pub(super) fn run(contracts: &Path, args: &ScaffoldArgs) -> anyhow::Result<ExitCode> {
    let folder = contracts.join(&args.name);
    let path = folder.join(format!("{}-{}.map.yaml", args.older, args.newer));
    if path.exists() && !args.force && !args.stdout {
        bail!("{} is there already; replace it with --force", path.display());
    }
    let mut files = Vec::new();
    for version in [&args.older, &args.newer] {
        match files_of(&folder.join(version)) {
            Ok(found) => files.extend(found),
            Err(mistake) => {
                complain(&diagnosed(&[*mistake]));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let contract = match Contract::load(&args.name, &files) {
        Ok(contract) => contract,
        Err(mistakes) => {
            complain(&diagnosed(&mistakes));
            return Ok(ExitCode::FAILURE);
        }
    };
    let version = |name: &str| {
        let missing = || {
            format!(
                "no document describes version {name} in {}",
                folder.join(name).display()
            )
        };
        contract.version(name).with_context(missing)
    };
    let text = scaffold(&contract, version(&args.older)?, version(&args.newer)?);
    if args.stdout {
        say(&text);
    } else {
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        say(&format!(
            "Written to {}. What is likely stands there as a comment; `crossdock check` tells what is still to be done.",
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The documents of a version and its overlays.
fn files_of(folder: &Path) -> Result<Vec<SourceFile>, Box<crate::config::Diagnostic>> {
    let is_document = |path: &Path| {
        let extension = path.extension().and_then(std::ffi::OsStr::to_str);
        path.components().count() == 1 && matches!(extension, Some("yaml" | "yml" | "json"))
    };
    let listed = files_below(folder, &[], &Bounds::default(), &is_document)?;
    let files = listed
        .iter()
        .map(|below| read_file(&folder.join(below), &folder.join(below)));
    Ok(files.collect::<Result<_, _>>()?)
}
