//! `crossdock contract …`.

mod map;

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
    /// Translate one document by hand, as the gateway would.
    ///
    /// Reads a request's body from standard input, in the version FROM, and writes it in the version TO. With
    /// `--response` it is an answer's body: FROM is then the version the upstream speaks, TO the caller's. Exit code 1
    /// if it does not conform to FROM, cannot be translated, or what comes out does not conform to TO.
    Map(map::MapArgs),
}

pub(super) fn run(args: &ContractArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ContractCommand::Map(map) => map::run(&args.contracts, map),
    }
}
