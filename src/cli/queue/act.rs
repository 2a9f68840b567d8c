//! Acts on one message or on many.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, Read as _, Write as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    Filter, GLANCE, UNDONE, Who,
    source::{Source, segment},
    text,
};
use crate::cli::{complain, say};

/// Which messages an act is meant for.
#[derive(clap::Args)]
pub(super) struct Bulk {
    /// Single messages.
    #[arg(conflicts_with_all = ["state", "upstream", "api", "operation", "channel", "key", "class", "error",
        "older_than", "newer_than"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

/// Messages shown before a bulk act.
const SAMPLE: usize = 5;
/// Refusals shown after it.
const REFUSALS: usize = 10;

/// Does the same to many messages: those that are named, or those that a filter finds, in the order of admission.
pub(super) async fn bulk(
    source: &Source,
    bulk: &Bulk,
    act: &str,
    states: &str,
    more: &[(&str, Value)],
) -> anyhow::Result<ExitCode> {
    let mut ids = bulk.ids.clone();
    if ids.is_empty() {
        if bulk.filter.is_empty() {
            bail!("name messages, or say which are meant by a filter such as `--state dead` or `--key 4711`");
        }
        let found = source.list(&bulk.filter.or_states(states), usize::MAX).await?.messages;
        if found.is_empty() {
            say("no message is meant");
            return Ok(ExitCode::SUCCESS);
        }
        complain(&format!("{act}: {} messages", found.len()));
        complain(&text::list(&found[..found.len().min(SAMPLE)], found.len() > SAMPLE));
        if !bulk.yes && !confirmed()? {
            complain("nothing was done; add `--yes` to do it");
            return Ok(ExitCode::FAILURE);
        }
        ids = found
            .iter()
            .filter_map(|message| message["id"].as_str().map(str::to_owned))
            .collect();
    }
    let mut body = json!({ "by": bulk.who.by, "reason": bulk.who.reason });
    for (name, value) in more {
        body[*name] = value.clone();
    }
    let progress = progress(ids.len() as u64);
    let mut refusals = Vec::new();
    for id in &ids {
        let path = format!("/queue/messages/{}/{act}", segment(id));
        if let Err(refusal) = source.post(&path, body.to_string()).await {
            refusals.push(format!("{id}: {refusal:#}"));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    say(&format!("{act}: {} of {} done", ids.len() - refusals.len(), ids.len()));
    for refusal in refusals.iter().take(REFUSALS) {
        complain(refusal);
    }
    if refusals.len() > REFUSALS {
        complain(&format!("and {} more were refused", refusals.len() - REFUSALS));
    }
    Ok(if refusals.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Asks, where somebody can answer.
fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut asked = std::io::stderr();
    write!(asked, "Do it? [y/N] ")?;
    asked.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(length: u64) -> ProgressBar {
    if length < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// Makes a request another one.
pub(super) async fn edit(
    source: &Source,
    id: &str,
    body: Option<&Path>,
    retry: bool,
    who: &Who,
) -> anyhow::Result<ExitCode> {
    let mut sent = json!({ "by": who.by, "reason": who.reason, "retry": retry }).to_string();
    if let Some(path) = body {
        let text = if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        } else {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        };
        serde_json::from_str::<serde::de::IgnoredAny>(&text)
            .with_context(|| format!("{} is not JSON", path.display()))?;
        // As it stands: `19.90` must not become `19.9`.
        sent.truncate(sent.len() - 1);
        sent.extend([",\"body\":", &text, "}"]);
    }
    let done = source
        .post(&format!("/queue/messages/{}/edit", segment(id)), sent)
        .await?;
    say(&format!("edited; {id} is {}", done["state"].as_str().unwrap_or("?")));
    Ok(ExitCode::SUCCESS)
}

/// Pauses or resumes.
pub(super) async fn hold(source: &Source, verb: &str, scope: &str, who: &Who) -> anyhow::Result<ExitCode> {
    let body = json!({ "scope": scope, "by": who.by, "reason": who.reason });
    let done = source.post(&format!("/queue/{verb}"), body.to_string()).await?;
    let scope = done["scope"].as_str().unwrap_or(scope);
    say(&match (verb, done["changed"].as_bool()) {
        ("pause", _) => format!("{scope} is paused"),
        (_, Some(true)) => format!("{scope} goes on"),
        _ => format!("{scope} was not paused"),
    });
    Ok(ExitCode::SUCCESS)
}

/// Has all that waits delivered now, and stays until nothing does.
pub(super) async fn drain(source: &Source, filter: &Filter, timeout: Duration, who: &Who) -> anyhow::Result<ExitCode> {
    let open = filter.or_states("waiting,inDoubt");
    let waiting = source.list(&open, usize::MAX).await?.messages;
    let body = json!({ "by": who.by, "reason": who.reason }).to_string();
    for message in &waiting {
        let id = message["id"].as_str().unwrap_or_default();
        // One that is under way by now needs no push.
        let _ = source
            .post(&format!("/queue/messages/{}/retry", segment(id)), body.clone())
            .await;
    }
    let progress = progress(waiting.len() as u64);
    let (started, undelivered) = (Instant::now(), filter.or_states("waiting,attempting,inDoubt"));
    loop {
        let left = source.list(&undelivered, usize::MAX).await?.messages.len();
        progress.set_position(waiting.len().saturating_sub(left) as u64);
        if left == 0 || started.elapsed() >= timeout {
            progress.finish_and_clear();
            return report(source, filter, waiting.len(), left).await;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn report(source: &Source, filter: &Filter, waited: usize, left: usize) -> anyhow::Result<ExitCode> {
    let stuck = source
        .list(&filter.or_states("parked,dead,expired"), usize::MAX)
        .await?
        .messages;
    say(&format!("{waited} waited, {left} still do"));
    if !stuck.is_empty() {
        complain(&format!("{} wait for a person:", stuck.len()));
        complain(&text::list(&stuck[..stuck.len().min(SAMPLE)], stuck.len() > SAMPLE));
    }
    if left > 0 {
        let states: HashMap<String, String> = filter.or_states(UNDONE);
        complain(&text::list(
            &source.list(&states, SAMPLE).await?.messages,
            left > SAMPLE,
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
