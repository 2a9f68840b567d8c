//! `crossdock contract diff`.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::{
    cli::{complain, diagnosed, say},
    config::{SourceFile, read_contracts},
    contract::{
        diff::{Comparison, Impact, Options},
        version_files, version_names,
    },
};

#[derive(Args)]
pub(super) struct DiffArgs {
    /// The contract: its folder's name.
    name: String,
    /// The version that channels use, such as `v1`.
    older: String,
    /// The version that is to replace it, such as `v2`.
    newer: String,
    /// Fail if there is a change as bad as this.
    #[arg(long, value_enum, value_name = "IMPACT")]
    fail_on: Option<FailOn>,
    /// A sunset that is announced has to be at least so many days ahead.
    #[arg(long, value_name = "DAYS")]
    sunset_days: Option<u16>,
    /// How changes are shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Breaking changes.
    Breaking,
    /// Breaking and risky changes.
    Risky,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: by operation, the worst first.
    Text,
    /// For tools: one document with all changes.
    Json,
    /// Annotations of a pull request on GitHub.
    Github,
    /// A SARIF log, for code scanning.
    Sarif,
}

pub(super) fn run(contracts: &Path, args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let mut unreadable = Vec::new();
    let found = match read_contracts(contracts, &[], &mut unreadable) {
        Ok(found) => found,
        Err(mistake) => {
            complain(&diagnosed(&[mistake]));
            return Ok(ExitCode::FAILURE);
        }
    };
    let older = read(&found, &args.name, &args.older)?;
    let newer = read(&found, &args.name, &args.newer)?;
    let options = Options {
        sunset_days: args.sunset_days,
        earlier: earlier(&found, &args.name, &args.older),
    };
    let comparison = match Comparison::new(&args.name, &older, &newer, &options) {
        Ok(comparison) => comparison,
        Err(mistakes) => {
            complain(&diagnosed(&mistakes));
            return Ok(ExitCode::FAILURE);
        }
    };
    say(&match args.format {
        Format::Text => comparison.text(),
        Format::Json => comparison.json(),
        Format::Github => comparison.github(),
        Format::Sarif => comparison.sarif(),
    });
    let fails = args.fail_on.is_some_and(|worst| {
        comparison.has(match worst {
            FailOn::Breaking => Impact::Breaking,
            FailOn::Risky => Impact::Risky,
        })
    });
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The document of a version, and its overlays.
fn read(found: &BTreeMap<String, Vec<SourceFile>>, name: &str, version: &str) -> anyhow::Result<Vec<SourceFile>> {
    let Some(files) = found.get(name) else {
        bail!(
            "there is no contract `{name}`; there are {}",
            list(found.keys().cloned())
        );
    };
    version_files(files, version).with_context(|| {
        format!(
            "contract {name} has no version `{version}`; its versions are {}",
            list(version_names(files).into_iter())
        )
    })
}

/// The versions before one: the documents of each.
fn earlier(found: &BTreeMap<String, Vec<SourceFile>>, name: &str, version: &str) -> Vec<Vec<SourceFile>> {
    let files = found.get(name).map(Vec::as_slice).unwrap_or_default();
    let names = version_names(files).into_iter();
    let before = names.take_while(|known| known != version);
    before.filter_map(|known| version_files(files, &known)).collect()
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
