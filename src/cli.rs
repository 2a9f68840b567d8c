//! The commands.

mod check;
mod contract;
mod queue;
mod sandbox;
mod schema;
mod token;

use std::{
    io::{ErrorKind, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    config::Diagnostic,
    gateway::{self, StartError},
};

/// Where the policies are looked for.
const GATEWAY_FILE: &str = "policies/gateway.yaml";

/// API gateway and policy-enforcement proxy for companies that sell, store and ship goods.
///
/// Crossdock stands in front of ERP, WMS, carrier and CRM systems. It authenticates, limits, validates and translates
/// what channels send, and keeps it safe while a system is down.
#[derive(Parser)]
#[command(
    name = "crossdock",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        crossdock sandbox                  try everything on this machine\n  \
        crossdock check                    find all mistakes in policies and contracts\n  \
        crossdock serve                    run the gateway with policies/gateway.yaml\n\n\
        CROSSDOCK_LOG sets what is logged, such as `debug` or `crossdock::queue=debug`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    ///
    /// SIGTERM drains: no new connections, requests in flight finish. SIGHUP reads the files again; changed files are
    /// noticed without it.
    Serve(ConfigArgs),
    /// Find every mistake in policies and contracts.
    ///
    /// Reports all mistakes of all files at once, each with file, line, column and remedy. Exit code 1 on any error.
    Check(check::CheckArgs),
    /// Work on contracts: take them in, prove them, see what they do and how they stand.
    Contract(contract::ContractArgs),
    /// See and run the fallback queue.
    ///
    /// Asks a running gateway by its admin listener. Where none answers, `list`, `show`, `stats` and `export` read the
    /// state it left.
    Queue(Box<queue::QueueArgs>),
    /// See who did what with the queue, and prove that the record is whole.
    Audit(queue::AuditArgs),
    /// Print a development token.
    ///
    /// Signed with the sandbox's keys; a gateway accepts it whose policies trust the sandbox's issuer.
    Token(token::TokenArgs),
    /// Print the JSON Schema of a kind of file, for editors.
    Schema(schema::SchemaArgs),
    /// Try everything on this machine: back ends, token issuer, gateway.
    Sandbox(sandbox::SandboxArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which policies.
#[derive(clap::Args)]
struct ConfigArgs {
    /// The gateway file; all other policies are in its folder and below.
    #[arg(long, value_name = "FILE", default_value = GATEWAY_FILE, env = "CROSSDOCK_CONFIG")]
    config: PathBuf,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Both libraries would otherwise look for a provider when first used, on the request path.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    log(matches!(cli.command, Command::Serve(_)));
    let outcome = match cli.command {
        Command::Serve(args) => run(async { started(gateway::serve(&args.config).await) }),
        Command::Check(args) => run(async { Ok(check::run(&args)) }),
        Command::Contract(args) => contract::run(&args),
        Command::Queue(args) => queue::run(*args),
        Command::Audit(args) => queue::run_audit(args),
        Command::Token(args) => token::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Sandbox(args) => run(sandbox::run(args)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "crossdock", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// On the multi-threaded runtime that carries everything but requests.
fn run(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(command)
}

/// The end of a gateway; what is wrong with its files is shown as `check` shows it.
fn started(outcome: Result<(), StartError>) -> anyhow::Result<ExitCode> {
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(StartError::Files(diagnostics)) => {
            complain(&diagnosed(&diagnostics));
            Ok(ExitCode::FAILURE)
        }
        Err(StartError::Other(error)) => Err(error),
    }
}

fn diagnosed(diagnostics: &[Diagnostic]) -> String {
    let files = diagnostics
        .iter()
        .map(|diagnostic| &diagnostic.file)
        .collect::<std::collections::BTreeSet<_>>();
    crate::config::report(
        diagnostics,
        files.len(),
        crate::config::ReportStyle::of(std::io::stderr().is_terminal()),
    )
}

/// JSON for machines, lines for people. Logs go to standard error; standard output is for results.
fn log(is_service: bool) {
    let default = if is_service { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("CROSSDOCK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    if std::io::stderr().is_terminal() {
        registry
            .with(tracing_subscriber::fmt::layer().compact().with_writer(std::io::stderr))
            .init();
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr))
            .init();
    }
}

#[expect(clippy::print_stderr, reason = "a command's complaints belong there")]
fn complain(text: &str) {
    eprintln!("{}", text.trim_end());
}

fn say(text: &str) {
    // Whoever reads along may stop before the end: `| head`.
    if let Err(error) = writeln!(std::io::stdout(), "{}", text.trim_end())
        && error.kind() != ErrorKind::BrokenPipe
    {
        complain(&format!("error: writing to standard output: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
