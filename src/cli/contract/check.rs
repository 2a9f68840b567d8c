//! `crossdock contract check`.

use std::{
    collections::BTreeSet,
    io::IsTerminal as _,
    num::NonZeroUsize,
    path::Path,
    process::ExitCode,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{complain, diagnosed, say},
    config::{SourceFile, read_contracts},
    contract::{
        Candidate, Contract,
        check::{self, Options, Progress, Proof, RECORD, Report, Style, Verdict},
        live_files, tried_files,
    },
};

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct CheckArgs {
    /// The contract; all that have mappings if none is named.
    name: Option<String>,
    /// Documents for each kind of body and direction.
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(check::CASES).unwrap_or(NonZeroUsize::MIN))]
    cases: NonZeroUsize,
    /// Seconds that are spent on proofs at most, without documents; what is not decided by then is not proved.
    #[arg(long, value_name = "SECONDS", default_value_t = check::PROVING.as_secs())]
    proving: u64,
    /// Where the draws begin, as a report names it; by default a hash of the contract.
    #[arg(long, value_name = "HEX", value_parser = seed)]
    seed: Option<u64>,
    /// A doubt that somebody has looked at, by its id. Those accepted before stay accepted.
    #[arg(long, value_name = "ID")]
    accept: Vec<String>,
    /// Forget what was accepted before.
    #[arg(long)]
    forget: bool,
    /// How the report is shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show an example of every value that is refused, too.
    #[arg(long)]
    full: bool,
    /// Write no `checked.json`.
    #[arg(long)]
    no_write: bool,
    /// Only see whether `checked.json` is of these versions and mappings.
    #[arg(long, conflicts_with_all = ["cases", "proving", "seed", "accept", "forget", "no_write", "full"])]
    verify: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// Everything, for tools.
    Json,
    /// `JUnit` XML.
    Junit,
    /// SARIF 2.1.0.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
}

pub(super) fn run(folder: &Path, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut unreadable = Vec::new();
    let contracts = match read_contracts(folder, &[], &mut unreadable) {
        Ok(contracts) => contracts,
        Err(mistake) => {
            complain(&diagnosed(&[mistake]));
            return Ok(ExitCode::FAILURE);
        }
    };
    if !unreadable.is_empty() {
        complain(&diagnosed(&unreadable));
        return Ok(ExitCode::FAILURE);
    }
    if let Some(name) = &args.name
        && !contracts.contains_key(name)
    {
        let known: Vec<&str> = contracts.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        bail!(
            "there is no contract `{name}` in {}; there are: {known}",
            folder.display()
        );
    }
    let is_wanted = |name: &str, files: &[SourceFile]| {
        args.name
            .as_deref()
            .map_or_else(|| check::is_needed(files), |wanted| wanted == name)
    };
    let mut reports = Vec::new();
    let mut is_good = true;
    for (name, files) in contracts.iter().filter(|(name, files)| is_wanted(name, files)) {
        if args.verify {
            is_good &= verified(name, files);
            continue;
        }
        let contract = match Contract::load(name, files) {
            Ok(contract) => contract,
            Err(mistakes) => {
                complain(&diagnosed(&mistakes));
                is_good = false;
                continue;
            }
        };
        let report = checked(&contract, &live_files(files), args);
        is_good &= report.verdict != Verdict::Blocked;
        let candidate = match (tried_files(files), Candidate::load(name, files)) {
            (Some(tried), Some(Ok(candidate))) => Some(checked(&candidate.contract, &tried, args)),
            (_, Some(Err(mistakes))) => {
                complain(&diagnosed(&mistakes));
                is_good = false;
                None
            }
            _ => None,
        };
        is_good &= candidate
            .as_ref()
            .is_none_or(|report| report.verdict != Verdict::Blocked);
        if !args.no_write {
            record(
                &folder.join(name).join(RECORD),
                Proof::of(&report, candidate.as_ref(), files),
            )?;
        }
        reports.push(report);
        reports.extend(candidate.map(|report| report.named(&format!("{name}, candidate"))));
    }
    if !args.verify {
        show(&reports, args);
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verified(name: &str, files: &[SourceFile]) -> bool {
    match check::verify(name, files) {
        Ok(None) => say(&format!("{name}: has no mappings")),
        Ok(Some(proof)) => {
            let verdict = if proof.verdict == Verdict::Proved {
                "proved"
            } else {
                "tested"
            };
            say(&format!(
                "{name}: {verdict} with {} documents for each kind of body, {} accepted",
                proof.cases,
                proof.accepted.len()
            ));
        }
        Err(fault) => {
            complain(&diagnosed(&[fault.diagnostic(name, files)]));
            return false;
        }
    }
    true
}

fn checked(contract: &Contract, files: &[SourceFile], args: &CheckArgs) -> Report {
    let mut accepted: BTreeSet<String> = args.accept.iter().cloned().collect();
    if !args.forget
        && let Ok(proof) = Proof::read(&contract.name, files)
    {
        accepted.extend(proof.accepted.into_iter().map(|accepted| accepted.id));
    }
    let options = Options {
        cases: args.cases.get(),
        proving: Duration::from_secs(args.proving),
        seed: args.seed,
        accepted,
        ..Options::default()
    };
    let progress = Progress::default();
    if !std::io::stderr().is_terminal() {
        return check::check(contract, files, &options, &progress);
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len} documents");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(contract.name.to_string());
    let (sender, receiver) = mpsc::channel();
    let report = thread::scope(|scope| {
        let work = scope.spawn(|| {
            let report = check::check(contract, files, &options, &progress);
            // Nobody waits only if the bar's thread is gone.
            let _ = sender.send(());
            report
        });
        while receiver.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) && !work.is_finished()
        {
            let (done, all) = progress.now();
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(match progress.proved() {
                (proved, to_prove) if proved < to_prove => {
                    format!("{} ({proved} of {to_prove} proved or not)", contract.name)
                }
                _ => contract.name.to_string(),
            });
        }
        work.join()
    });
    bar.finish_and_clear();
    report.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes the record of a contract that is good. The record of one that is not stays, and fits no more.
fn record(path: &Path, proof: Option<Proof>) -> anyhow::Result<()> {
    let shown = path.display();
    match proof {
        Some(proof) => std::fs::write(path, proof.text()).with_context(|| format!("cannot write {shown}")),
        None => Ok(()),
    }
}

fn show(reports: &[Report], args: &CheckArgs) {
    let style = match args.format {
        Format::Text => Style::Text { is_full: args.full },
        Format::Json => Style::Json,
        Format::Junit => Style::Junit,
        Format::Sarif => Style::Sarif,
        Format::Github => Style::Github,
    };
    if reports.is_empty() && args.format == Format::Text {
        say("no contract has mappings");
        return;
    }
    say(&check::render(reports, style));
}

fn seed(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("`{text}` is not a hexadecimal number of at most 16 digits"))
}
