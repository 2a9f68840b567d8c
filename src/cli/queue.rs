//! `crossdock queue …` and `crossdock audit …`: what waits, what failed, and what to do about it.

mod act;
mod salvage;
mod source;
mod text;
mod webhooks;

use std::{
    collections::HashMap,
    io::{BufRead as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use self::source::Source;
use super::{GATEWAY_FILE, complain, run as on_runtime, say};
use crate::{
    admin::queue::{hex, read_entry},
    audit,
};

#[derive(Args)]
pub(super) struct QueueArgs {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: QueueCommand,
}

/// Which gateway.
#[derive(Args, Clone)]
struct At {
    /// The gateway file.
    #[arg(long, value_name = "FILE", default_value = GATEWAY_FILE, env = "CROSSDOCK_CONFIG", global = true)]
    config: PathBuf,
    /// Where the running gateway is asked. By default the admin address of the gateway file.
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,
    /// Folder of a stopped gateway's state. By default that of the gateway file, where no gateway answers.
    #[arg(long, value_name = "FOLDER", global = true, conflicts_with = "admin")]
    folder: Option<PathBuf>,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For tools.
    Json,
}

#[derive(Subcommand)]
enum QueueCommand {
    /// List messages. Without `--state`, those that are not done: delivered and discarded ones are left out.
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one message with its request, its attempts and what was done with it.
    Show {
        /// The message: the last part of its status resource.
        id: String,
    },
    /// Show how many messages wait where, and how long an outage still fits.
    Stats,
    /// Hold back deliveries, or new messages.
    ///
    /// Scopes are `all`, `upstream:NAME`, `api:NAME`, `key:UPSTREAM/VALUE`; requests of what is held back are accepted
    /// into the queue. `intake` refuses new messages and delivers those that are there. `webhook:URL` holds back
    /// completion webhooks to that URL, and so does `all`.
    Pause {
        scope: String,
        #[command(flatten)]
        who: Who,
    },
    /// Let go what was held back.
    Resume {
        scope: String,
        #[command(flatten)]
        who: Who,
    },
    /// Deliver dead, expired and parked messages after all, and waiting ones at once.
    ///
    /// What may have had its effect is asked about or repeated by the rules of its API, never blindly.
    Retry(act::Bulk),
    /// Take messages out. Each lets go of its order key.
    Discard(act::Bulk),
    /// Say of messages in doubt whether they happened.
    ///
    /// What happened counts as delivered; what did not is sent again.
    Release {
        #[command(flatten)]
        bulk: act::Bulk,
        /// The upstream did it.
        #[arg(long, conflicts_with = "did_not_happen", required_unless_present = "did_not_happen")]
        happened: bool,
        /// The upstream did not do it.
        #[arg(long)]
        did_not_happen: bool,
    },
    /// Make a message's request another one.
    ///
    /// The new body is in the upstream's contract version and held against it; the former request is kept. To the
    /// upstream it is a new request, with an idempotency key of its own.
    Edit {
        id: String,
        /// File with the new body, `-` for standard input. Without it the body stays, and the request is new.
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// Also deliver it.
        #[arg(long)]
        retry: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Deliver all that waits now, and stay until nothing does.
    ///
    /// Exit code 1 where something is left when time is up.
    Drain {
        #[command(flatten)]
        filter: Filter,
        /// How long to wait.
        #[arg(long, default_value = "10m")]
        timeout: crate::config::Time,
        #[command(flatten)]
        who: Who,
    },
    /// See and resend the webhooks by which channels are told how their messages ended.
    Webhooks {
        #[command(subcommand)]
        command: webhooks::WebhooksCommand,
    },
    /// Write all messages to a file, one on each line, to move them to another store.
    ///
    /// A running gateway has to be paused first (`pause all`): what goes on being delivered here must not be delivered
    /// by another one too.
    Export {
        /// The file; it must not exist.
        file: PathBuf,
        /// Read what can be read of a damaged store, of a stopped gateway.
        ///
        /// What was there and cannot be read is listed in a second file, FILE.lost. Exit code 1 where there is any.
        #[arg(long, conflicts_with = "admin")]
        salvage: bool,
    },
    /// Take over messages that `export` wrote. What is known is left out.
    Import {
        file: PathBuf,
        #[command(flatten)]
        who: Who,
    },
}

/// Who acts, and why; kept in the audit log.
#[derive(Args, Clone)]
struct Who {
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who.
    #[arg(long = "as", value_name = "NAME", env = "USER", default_value = "unnamed")]
    by: String,
}

/// Which messages.
#[derive(Args, Clone, Default)]
struct Filter {
    /// waiting, attempting, inDoubt, parked, delivered, dead, expired, discarded.
    #[arg(long, value_delimiter = ',')]
    state: Vec<String>,
    #[arg(long)]
    upstream: Option<String>,
    #[arg(long)]
    api: Option<String>,
    #[arg(long)]
    operation: Option<String>,
    #[arg(long)]
    channel: Option<String>,
    /// Value of the order key, such as an order number.
    #[arg(long)]
    key: Option<String>,
    /// Who has to act: technical, business, partner.
    #[arg(long)]
    class: Option<String>,
    /// Text in what went wrong last.
    #[arg(long)]
    error: Option<String>,
    /// Accepted at least so long ago, `2h`.
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// Accepted at most so long ago.
    #[arg(long, value_name = "TIME")]
    newer_than: Option<String>,
}

impl Filter {
    fn query(&self) -> HashMap<String, String> {
        let mut query = HashMap::new();
        if !self.state.is_empty() {
            query.insert("state".to_owned(), self.state.join(","));
        }
        for (name, value) in [
            ("upstream", &self.upstream),
            ("api", &self.api),
            ("operation", &self.operation),
            ("channel", &self.channel),
            ("key", &self.key),
            ("class", &self.class),
            ("error", &self.error),
            ("olderThan", &self.older_than),
            ("newerThan", &self.newer_than),
        ] {
            if let Some(value) = value {
                query.insert(name.to_owned(), value.clone());
            }
        }
        query
    }

    fn is_empty(&self) -> bool {
        self.query().is_empty()
    }

    /// The same, for these states where none is asked for.
    fn or_states(&self, states: &str) -> HashMap<String, String> {
        let mut query = self.query();
        query.entry("state".to_owned()).or_insert_with(|| states.to_owned());
        query
    }
}

/// What is not done yet.
const UNDONE: &str = "waiting,attempting,inDoubt,parked,dead,expired";

/// Runs a command on a queue.
pub(super) fn run(args: QueueArgs) -> anyhow::Result<ExitCode> {
    if let QueueCommand::Export { file, salvage: true } = &args.command {
        return salvage::salvage(&args.at, file);
    }
    on_runtime(async move {
        let source = Source::find(&args.at).await?;
        let is_json = args.at.format == Format::Json;
        match args.command {
            QueueCommand::List { filter, limit } => {
                let found = source.list(&filter.or_states(UNDONE), limit).await?;
                if is_json {
                    say(&serde_json::to_string_pretty(&found.messages)?);
                } else {
                    say(&text::list(&found.messages, found.has_more));
                }
                Ok(ExitCode::SUCCESS)
            }
            QueueCommand::Show { id } => {
                let shown = source.show(&id).await?;
                say(&if is_json { shown } else { text::shown(&shown)? });
                Ok(ExitCode::SUCCESS)
            }
            QueueCommand::Stats => {
                let stats = source.stats().await?;
                say(&if is_json {
                    serde_json::to_string_pretty(&stats)?
                } else {
                    text::stats(&stats)
                });
                Ok(ExitCode::SUCCESS)
            }
            QueueCommand::Pause { scope, who } => act::hold(&source, "pause", &scope, &who).await,
            QueueCommand::Resume { scope, who } => act::hold(&source, "resume", &scope, &who).await,
            QueueCommand::Retry(bulk) => act::bulk(&source, &bulk, "retry", "dead,expired,parked", &[]).await,
            QueueCommand::Discard(bulk) => act::bulk(&source, &bulk, "discard", UNDONE, &[]).await,
            QueueCommand::Release { bulk, happened, .. } => {
                let states = "parked,inDoubt,dead,expired";
                act::bulk(
                    &source,
                    &bulk,
                    "release",
                    states,
                    &[("happened", Value::Bool(happened))],
                )
                .await
            }
            QueueCommand::Edit { id, body, retry, who } => act::edit(&source, &id, body.as_deref(), retry, &who).await,
            QueueCommand::Drain { filter, timeout, who } => act::drain(&source, &filter, timeout.0, &who).await,
            QueueCommand::Webhooks { command } => webhooks::run(&source, command, args.at.format).await,
            QueueCommand::Export { file, .. } => export(&source, &file).await,
            QueueCommand::Import { file, who } => import(&source, &file, &who).await,
        }
    })
}

async fn export(source: &Source, path: &std::path::Path) -> anyhow::Result<ExitCode> {
    let file = std::fs::File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    let mut from = None;
    let mut messages = 0;
    loop {
        let exported = source.export(from).await;
        let (text, next) = match exported {
            Ok(page) => page,
            Err(error) => {
                drop(file);
                std::fs::remove_file(path)?;
                return Err(error);
            }
        };
        messages += text.lines().count();
        file.write_all(text.as_bytes())?;
        from = next;
        if from.is_none() {
            break;
        }
    }
    file.into_inner()?.sync_all()?;
    say(&format!("{messages} messages written to {}", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Messages sent to a gateway at once, in bytes of text.
const IMPORT_BYTES: usize = 4 << 20;

async fn import(source: &Source, path: &std::path::Path, who: &Who) -> anyhow::Result<ExitCode> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut taken, mut known) = (0, 0);
    let mut part = String::new();
    let mut lines = std::io::BufReader::new(file).lines().peekable();
    while let Some(line) = lines.next() {
        part.push_str(&line?);
        part.push('\n');
        if part.len() >= IMPORT_BYTES || lines.peek().is_none() {
            let done = source.import(std::mem::take(&mut part), &who.by, &who.reason).await?;
            taken += done["taken"].as_u64().unwrap_or(0);
            known += done["known"].as_u64().unwrap_or(0);
        }
    }
    say(&format!("{taken} messages taken over, {known} were known"));
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// List what persons did.
    List {
        /// Entries after this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Prove that no entry was changed, left out or put in.
    ///
    /// Prints the log's head. Note it down: with `--head` a later run also proves that nothing was cut off since.
    /// Exit code 1 where the log is broken.
    Verify {
        /// `NUMBER:DIGEST` that an earlier run printed.
        #[arg(long, value_name = "HEAD")]
        head: Option<String>,
    },
}

/// Runs a command on an audit log.
pub(super) fn run_audit(args: AuditArgs) -> anyhow::Result<ExitCode> {
    on_runtime(async move {
        let source = Source::find(&args.at).await?;
        match args.command {
            AuditCommand::List { after } => {
                let entries = all_entries(&source, after).await?;
                say(&match args.at.format {
                    Format::Json => serde_json::to_string_pretty(&entries)?,
                    Format::Text => text::entries(&entries),
                });
                Ok(ExitCode::SUCCESS)
            }
            AuditCommand::Verify { head } => verify(&all_entries(&source, 0).await?, head.as_deref()),
        }
    })
}

async fn all_entries(source: &Source, mut after: u64) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    loop {
        let entries = source.audit(after).await?;
        let Some(last) = entries.last().and_then(|entry| entry["number"].as_u64()) else {
            return Ok(all);
        };
        if last <= after {
            bail!("the audit log repeats entry {last}");
        }
        after = last;
        all.extend(entries);
    }
}

fn verify(entries: &[Value], expected: Option<&str>) -> anyhow::Result<ExitCode> {
    let expected = match expected.map(|text| text.split_once(':')) {
        None => None,
        Some(Some((number, digest))) => Some((number.parse::<u64>().context("`--head` is NUMBER:DIGEST")?, digest)),
        Some(None) => bail!("`--head` is NUMBER:DIGEST"),
    };
    let mut head = audit::Head::default();
    let mut was_seen = expected.is_none_or(|(number, _)| number == 0);
    for entry in entries {
        let entry = read_entry(entry).context("an entry of the audit log cannot be read")?;
        if let Err(broken) = head.verify(&entry) {
            complain(&broken.to_string());
            return Ok(ExitCode::FAILURE);
        }
        if let Some((number, digest)) = expected
            && number == head.number
        {
            if !hex(&head.digest).eq_ignore_ascii_case(digest) {
                complain(&format!(
                    "the audit log is another one: entry {number} has the digest {}",
                    hex(&head.digest)
                ));
                return Ok(ExitCode::FAILURE);
            }
            was_seen = true;
        }
    }
    if !was_seen {
        complain(&format!("the audit log was cut off: it ends at entry {}", head.number));
        return Ok(ExitCode::FAILURE);
    }
    say(&format!(
        "{} entries, none changed; head {}:{}",
        head.number,
        head.number,
        hex(&head.digest)
    ));
    Ok(ExitCode::SUCCESS)
}

/// How often a gateway is asked how it stands while somebody waits for it.
const GLANCE: Duration = Duration::from_millis(250);
