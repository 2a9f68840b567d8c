//! `crossdock contract …`.

mod check;
mod diff;
mod import;
mod map;
mod promote;
mod scaffold;
mod status;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

#[derive(Args)]
pub(super) struct ContractArgs {
    /// Folder of the contracts.
    #[arg(long, global = true, default_value = "contracts", value_name = "FOLDER")]
    contracts: PathBuf,
    #[command(subcommand)]
    command: ContractCommand,
}

#[derive(Subcommand)]
enum ContractCommand {
    /// Take an `OpenAPI` document in as a contract version.
    ///
    /// Reads `OpenAPI` 3.0, 3.1 or 3.2 in YAML or JSON with the files it refers to, gathers them into one document, and
    /// says what was converted, what was given a name, and what the gateway will not enforce. What it writes is loaded
    /// first: a document with mistakes is not written. Nothing is fetched.
    Import(import::ImportArgs),
    /// Tell what changed between two versions, for those who call.
    ///
    /// Every change is breaking, risky or safe: what channels send has to fit the newer version, what they receive has to
    /// fit the older one. Exit code 1 if a change is as bad as `--fail-on` says.
    Diff(diff::DiffArgs),
    /// Prove mappings before they go live.
    ///
    /// Draws documents from the schemas of both versions, sends them through the engine that serves requests, holds
    /// what comes out against the other version, and brings it back. Writes `checked.json` beside the mappings if all
    /// is well. Exit code 1 if a document fails, a loss is not declared, or a doubt is not accepted.
    Check(check::CheckArgs),
    /// Translate one document by hand, as the gateway would.
    ///
    /// Reads a request's body from standard input, in the version FROM, and writes it in the version TO. With
    /// `--response` it is an answer's body: FROM is then the version the upstream speaks, TO the caller's. Exit code 1
    /// if it does not conform to FROM, cannot be translated, or what comes out does not conform to TO.
    Map(map::MapArgs),
    /// Tell how far each version has come, who calls it, and how candidates do.
    ///
    /// States and dates are those of the files; calls and candidates are asked of the running gateway, if there is one.
    Status(status::StatusArgs),
    /// Make what is tried live: a contract's candidate mapping, or an API's version.
    ///
    /// `promote orders` puts each `*.candidate.map.yaml` of contract `orders` in the place of the live mapping, which is
    /// kept as `*.previous.map.yaml`. `promote erp-orders v3` makes version v3 of API `erp-orders` `active`. A running
    /// gateway notices by itself. Exit code 1 where nothing was changed.
    Promote(promote::PromoteArgs),
    /// Take back what was promoted.
    ///
    /// `rollback orders` puts the former mappings of contract `orders` back and keeps what was live in their place.
    /// `rollback erp-orders v3` makes an active or canary version a `draft`, and a deprecated one `active` again. Exit
    /// code 1 where nothing was changed.
    Rollback(promote::RollbackArgs),
    /// Write a first mapping between two versions by comparing their schemas.
    ///
    /// What is certain becomes a step, what is likely a comment with a score, and all else is listed to be done.
    Scaffold(scaffold::ScaffoldArgs),
}

pub(super) fn run(args: &ContractArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ContractCommand::Import(import) => import::run(&args.contracts, import),
        ContractCommand::Diff(diff) => diff::run(&args.contracts, diff),
        ContractCommand::Check(check) => check::run(&args.contracts, check),
        ContractCommand::Map(map) => map::run(&args.contracts, map),
        ContractCommand::Status(status) => status::run(status),
        ContractCommand::Promote(promote) => promote::promote(&args.contracts, promote),
        ContractCommand::Rollback(rollback) => promote::rollback(&args.contracts, rollback),
        ContractCommand::Scaffold(scaffold) => scaffold::run(&args.contracts, scaffold),
    }
}

/// A name that is a folder's: of letters, digits, `-`, `_` and `.`, and not hidden.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 64 && !text.starts_with('.') && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("write up to 64 letters, digits, `-`, `_` and `.`, beginning with none of the last".to_owned())
    }
}
