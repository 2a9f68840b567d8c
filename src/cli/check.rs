//! `crossdock check`.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{ConfigArgs, say};
use crate::{
    config::{ReportStyle, Severity, Sources, report},
    shared::Shared,
    snapshot,
};

#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How mistakes are shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: with the line underlined on a terminal, one line each elsewhere.
    Text,
    /// For tools: an array.
    Json,
}

/// Compiles everything as the gateway would, and throws it away.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let (diagnostics, files) = match Sources::read(&args.config.config) {
        Ok(sources) => {
            let shared = Shared::for_check(tokio::runtime::Handle::current());
            (snapshot::check(&sources, &shared), sources.count())
        }
        Err(diagnostics) => {
            let files = diagnostics.len();
            (diagnostics, files)
        }
    };
    let style = match args.format {
        Format::Json => ReportStyle::Json,
        Format::Text => ReportStyle::of(std::io::stdout().is_terminal()),
    };
    say(&report(&diagnostics, files, style));
    let is_wrong = diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
