//! `crossdock sandbox`: everything on one machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::IsTerminal as _,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use indicatif::{ProgressBar, ProgressStyle};

use super::{ConfigArgs, diagnosed, say, token};
use crate::{
    config::{self, AlgorithmSpec, Policies, Time},
    gateway::{self, Overrides, StartError},
    sandbox::{
        self, BACKENDS, Mode, PORT_BASE, Sandbox,
        exercise::{self, Report, Stage, order_body},
    },
    webhook,
};

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        crossdock sandbox                      back ends, token issuer and gateway, until Ctrl-C\n  \
        crossdock sandbox fault erp down       from another terminal: the ERP goes away\n  \
        crossdock sandbox fault erp up         and comes back\n  \
        crossdock sandbox --exercise           play a day with an outage, and hold it against the ERP's ledger"
)]
pub(super) struct SandboxArgs {
    #[command(subcommand)]
    act: Option<Act>,
    /// Start only the back ends and the issuer; run the gateway with `crossdock serve`.
    #[arg(long, conflicts_with = "exercise")]
    backends: bool,
    /// Play a day in miniature, print how it went, and end. Exit code 1 if an order was lost, doubled or out of order.
    #[arg(long)]
    exercise: bool,
    /// Orders of the exercise.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=100_000))]
    orders: u64,
    /// How the exercise's result is shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// First of five ports in a row: ERP, WMS, carrier, CRM, issuer. The policies are adapted.
    #[arg(long, default_value_t = PORT_BASE)]
    port_base: u16,
    /// Port of the gateway, in the place of the one in the policies.
    #[arg(long)]
    gateway_port: Option<u16>,
    /// Port of the admin listener, in the place of the one in the policies.
    #[arg(long)]
    admin_port: Option<u16>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Subcommand)]
enum Act {
    /// Switch how a back end behaves.
    Fault {
        /// Which one.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(BACKENDS))]
        backend: String,
        /// down: closes connections without an answer. slow: does it at once, answers late. throttle: 429. flaky: a bit
        /// of everything. up: as it should.
        #[arg(value_enum)]
        mode: Mode,
        /// How late a slow back end answers.
        #[arg(long, value_name = "TIME")]
        latency: Option<String>,
        /// First port of the sandbox.
        #[arg(long, default_value_t = PORT_BASE)]
        port_base: u16,
    },
    /// Show what a back end has done, in the order of effect.
    Ledger {
        /// Which one.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(BACKENDS))]
        backend: String,
        /// First port of the sandbox.
        #[arg(long, default_value_t = PORT_BASE)]
        port_base: u16,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One object.
    Json,
}

pub(super) async fn run(args: SandboxArgs) -> anyhow::Result<ExitCode> {
    match &args.act {
        Some(Act::Fault {
            backend,
            mode,
            latency,
            port_base,
        }) => {
            let latency = latency
                .as_ref()
                .map(|text| text.parse::<Time>().map_err(anyhow::Error::msg))
                .transpose()?;
            exercise::set_fault(&url(backend, *port_base), *mode, latency.map(|latency| latency.0)).await?;
            say(&format!("{backend} is {}", format!("{mode:?}").to_lowercase()));
            Ok(ExitCode::SUCCESS)
        }
        Some(Act::Ledger { backend, port_base }) => {
            let entries = exercise::ledger(&url(backend, *port_base)).await?;
            say(&serde_json::to_string_pretty(&entries)?);
            Ok(ExitCode::SUCCESS)
        }
        None => start(args).await,
    }
}

fn url(backend: &str, port_base: u16) -> String {
    let offset = (0..)
        .zip(BACKENDS)
        .find(|(_, name)| *name == backend)
        .map_or(0, |(offset, _)| offset);
    format!("http://127.0.0.1:{}", port_base + offset)
}

async fn start(args: SandboxArgs) -> anyhow::Result<ExitCode> {
    let policies = token::policies(&args.config.config, &moved(args.port_base))?;
    let channels: BTreeMap<String, BTreeSet<String>> = policies
        .channels
        .iter()
        .flat_map(|loaded| {
            loaded
                .spec
                .tokens
                .iter()
                .map(|token| (token.value.clone(), loaded.spec.scopes.clone()))
        })
        .collect();
    // An exercise leaves no trace in the state of the real sandbox.
    let scratch = if args.exercise { Some(Scratch::new()?) } else { None };
    let keys = scratch
        .as_ref()
        .map_or_else(|| token::keys(&policies), |scratch| scratch.0.join(token::KEYS));
    let sandbox = Sandbox::start(args.port_base, &keys, channels).await?;
    let mut table = addresses(&sandbox);
    if args.backends {
        say(&format!(
            "{table}\nRun the gateway beside them: crossdock serve --config {}",
            args.config.config.display()
        ));
        until_stopped().await?;
        sandbox.stop();
        return Ok(ExitCode::SUCCESS);
    }
    let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let overrides = Overrides {
        gateway: args.gateway_port.map(loopback),
        admin: args.admin_port.map(loopback),
        state: scratch.as_ref().map(|scratch| scratch.0.clone()),
        replace: moved(args.port_base),
        access_log_off: args.exercise,
    };
    let gateway = match gateway::start(&args.config.config, overrides).await {
        Ok(gateway) => gateway,
        Err(StartError::Files(diagnostics)) => bail!("the policies cannot be used\n{}", diagnosed(&diagnostics)),
        Err(StartError::Other(error)) => return Err(error),
    };
    let address = gateway
        .addresses
        .first()
        .context("the policies have no listener")?
        .to_string();
    table.add_row(["gateway", &format!("http://{address}")]);
    table.add_row(["admin", &format!("http://{}", gateway.admin)]);
    let code = if args.exercise {
        let stage = stage(&policies, &keys, &address, &args)?;
        let report = exercise::play(stage, bar()).await?;
        say(&match args.format {
            Format::Json => serde_json::to_string(&report)?,
            Format::Table => result(&report),
        });
        let is_wrong = report.lost + report.doubled + report.out_of_order > 0;
        if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    } else {
        say(&format!(
            "{table}\n\n{}\n\n{}",
            try_it(&policies, &keys, &address)?,
            outage(args.port_base)
        ));
        until_stopped().await?;
        ExitCode::SUCCESS
    };
    gateway.stop().await;
    sandbox.stop();
    Ok(code)
}

/// A folder that goes when the exercise ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("crossdock-exercise-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What to replace in the policies when the back ends are not at their usual ports.
fn moved(port_base: u16) -> Vec<(String, String)> {
    if port_base == PORT_BASE {
        return Vec::new();
    }
    let port = |base: u16, offset: u16| format!("127.0.0.1:{}", base + offset);
    // By way of a name that no file holds, so that overlapping ranges do not run into each other.
    let away = (0..5).map(|offset| (port(PORT_BASE, offset), format!("127.0.0.1:port-{offset}")));
    let back = (0..5).map(|offset| (format!("127.0.0.1:port-{offset}"), port(port_base, offset)));
    away.chain(back).collect()
}

fn addresses(sandbox: &Sandbox) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    for (name, address) in &sandbox.addresses {
        table.add_row([(*name).to_owned(), format!("http://{address}")]);
    }
    table
}

/// Header field and value by which a channel identifies itself.
fn credential(policies: &Policies, keys: &std::path::Path, channel: &str) -> anyhow::Result<(&'static str, String)> {
    if let Some(key) = sandbox::demo_key(channel) {
        return Ok(("x-api-key", key.to_owned()));
    }
    let token = token::token_with_keys(
        policies,
        keys,
        channel,
        None,
        Duration::from_hours(24),
        AlgorithmSpec::ES256,
    )?;
    Ok(("authorization", format!("Bearer {token}")))
}

fn stage(policies: &Policies, keys: &std::path::Path, gateway: &str, args: &SandboxArgs) -> anyhow::Result<Stage> {
    let channels = ["storefront", "edi-intake", "marketplace"].into_iter().map(|channel| {
        let (field, value) = credential(policies, keys, channel)?;
        Ok((channel.to_owned(), field, value))
    });
    let scopes = Some(vec!["orders:read".to_owned()]);
    let reader = token::token_with_keys(
        policies,
        keys,
        "storefront",
        scopes,
        Duration::from_hours(24),
        AlgorithmSpec::ES256,
    )?;
    Ok(Stage {
        gateway: format!("http://{gateway}"),
        erp: url("erp", args.port_base),
        channels: channels.collect::<anyhow::Result<_>>()?,
        reader: format!("Bearer {reader}"),
        orders: args.orders,
    })
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// One `curl` line per channel. Each has a body that works and a key of its own.
fn try_it(policies: &Policies, keys: &std::path::Path, gateway: &str) -> anyhow::Result<String> {
    let order = |channel: &str, version: &str| {
        let number = format!("{}-{:06}", channel[..2].to_uppercase(), fastrand::u32(..1_000_000));
        (
            format!("/system/erp/{version}/orders"),
            Some(order_body(version, &number, 0)),
        )
    };
    let shipment = r#"{"orderNumber":"ST-000001","warehouse":"LEJ","lines":[{"sku":"FLOUR-405-25","quantity":12}]}"#;
    let case = r#"{"orderNumber":"ST-000001","subject":"Where is my flour?","kind":"question"}"#;
    let lines = [
        ("storefront", "an order in contract v1", order("storefront", "v1")),
        ("marketplace", "an order in contract v2", order("marketplace", "v2")),
        (
            "edi-intake",
            "an order in contract v1, by API key",
            order("edi-intake", "v1"),
        ),
        (
            "partner-3pl",
            "a shipment, by API key",
            ("/system/shipments/v1/shipments".to_owned(), Some(shipment.to_owned())),
        ),
        (
            "handheld",
            "stock of an article",
            ("/system/inventory/v1/inventory/FLOUR-405-25".to_owned(), None),
        ),
        (
            "agent-desktop",
            "a service case",
            ("/system/crm/v1/cases".to_owned(), Some(case.to_owned())),
        ),
    ];
    let mut text = String::from("Try it. Each line is one channel:");
    for (channel, what, (path, body)) in lines {
        let (field, value) = credential(policies, keys, channel)?;
        let body = body.map_or_else(String::new, |body| {
            let key = uuid::Uuid::now_v7();
            format!(" -H 'content-type: application/json' -H 'idempotency-key: {key}' -d '{body}'")
        });
        // Writing to a String never fails.
        let _ = write!(
            text,
            "\n\n# {channel}: {what}\ncurl -i http://{gateway}{path} -H '{field}: {value}'{body}"
        );
    }
    text.push_str(&carriers_webhook(policies, gateway)?);
    Ok(text)
}

/// The `curl` line of a webhook, signed now.
fn carriers_webhook(policies: &Policies, gateway: &str) -> anyhow::Result<String> {
    let channel = policies
        .channels
        .iter()
        .find(|channel| channel.spec.name.value == "carrier");
    let signature = channel.and_then(|channel| channel.spec.signatures.first());
    let Some(secret) = signature.and_then(|signature| signature.secrets.first()) else {
        return Ok(String::new());
    };
    let secret = config::resolve(&secret.value, &policies.folder).map_err(anyhow::Error::msg)?;
    let key = webhook::Key::parse(&secret).map_err(anyhow::Error::msg)?;
    let now = jiff::Timestamp::now();
    let (id, time) = (uuid::Uuid::now_v7().to_string(), now.as_second().to_string());
    let body = format!(r#"{{"trackingNumber":"PX0000000001","status":"in-transit","occurredAt":"{now:.0}"}}"#);
    Ok(format!(
        "\n\n# carrier: what became of a parcel, as a signed webhook (within five minutes)\n\
         curl -i http://{gateway}/system/tracking-events/v1/events -H 'webhook-id: {id}' \
         -H 'webhook-timestamp: {time}' -H 'webhook-signature: {}' -H 'content-type: application/json' -d '{body}'",
        key.sign(&id, &time, body.as_bytes())
    ))
}

fn outage(port_base: u16) -> String {
    let base = if port_base == PORT_BASE {
        String::new()
    } else {
        format!(" --port-base {port_base}")
    };
    format!(
        "An outage, from another terminal:\n\
         \x20 crossdock sandbox fault erp down{base}     orders are accepted with 202 and wait; their Location says how they stand\n\
         \x20 crossdock sandbox fault erp up{base}       they are delivered, in order\n\
         \x20 crossdock sandbox ledger erp{base}         what the ERP has done\n\
         \x20 crossdock sandbox ledger crm{base}         how the storefront's waiting orders ended, told by webhooks\n\
         Ctrl-C ends everything."
    )
}

fn result(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let counts = [
        ("accepted", report.accepted),
        ("  of these queued", report.queued),
        ("  of the queued, delivered", report.delivered),
        ("  of the queued, dead", report.dead),
        ("refused", report.refused),
    ];
    for (name, count) in counts {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    for (kind, count) in &report.refused_by_type {
        table.add_row([format!("  {kind}"), count.to_string()]);
    }
    for (name, count) in [
        ("without an answer", report.unanswered),
        ("lost", report.lost),
        ("doubled", report.doubled),
        ("out of order", report.out_of_order),
    ] {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    let latency = &report.latency;
    table.add_row([
        "latency p50 / p95 / p99",
        &format!("{} / {} / {} ms", latency.p50_ms, latency.p95_ms, latency.p99_ms),
    ]);
    table.add_row([
        "the ERP's ledger agrees",
        if report.ledger_agrees { "yes, one to one" } else { "NO" },
    ]);
    table.to_string()
}

async fn until_stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_port_ranges_do_not_run_into_each_other() {
        let mut text = "127.0.0.1:9101 127.0.0.1:9103 127.0.0.1:9105".to_owned();
        for (from, to) in moved(9103) {
            text = text.replace(&from, &to);
        }
        assert_eq!(text, "127.0.0.1:9103 127.0.0.1:9105 127.0.0.1:9107");
    }
}
