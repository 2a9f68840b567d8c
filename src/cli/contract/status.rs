//! `crossdock contract status [NAME]`.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt as _, Empty, Limited};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    admin,
    cli::{ConfigArgs, complain, diagnosed, run as on_runtime, say},
    client,
    config::{self, Sources},
    shared::Shared,
    snapshot,
};

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read, in bytes.
const LARGEST: usize = 16 << 20;

#[derive(clap::Args)]
pub(super) struct StatusArgs {
    /// Only this API, or the APIs of this contract.
    name: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the running gateway is asked. By default the admin address of the gateway file.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For tools.
    Json,
}

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    on_runtime(async move {
        let sources = match Sources::read(&args.config.config) {
            Ok(sources) => sources,
            Err(mistakes) => {
                complain(&diagnosed(&mistakes));
                return Ok(ExitCode::FAILURE);
            }
        };
        let shared = Shared::for_check(tokio::runtime::Handle::current());
        let (snapshot, mistakes) = snapshot::compile(&sources, &shared);
        let Some(snapshot) = snapshot else {
            complain(&diagnosed(&mistakes));
            return Ok(ExitCode::FAILURE);
        };
        let mut apis = apis_of(admin::versions::document(&snapshot, &shared, Timestamp::now()));
        if let Some(name) = &args.name {
            apis.retain(|api| api["api"] == **name || api["contract"] == **name);
            if apis.is_empty() {
                bail!("no API and no contract of one is named `{name}`");
            }
        }
        let (url, live) = ask(&sources, args.admin.as_deref()).await;
        match &live {
            Ok(live) => apis.iter_mut().for_each(|api| add_live(api, live)),
            Err(cause) => complain(&format!("no gateway answers at {url} ({cause}): calls are not known")),
        }
        match args.format {
            Format::Json => {
                let gateway = live.is_ok().then_some(url);
                say(&serde_json::to_string_pretty(
                    &json!({ "gateway": gateway, "apis": apis }),
                )?);
            }
            Format::Text => say(&text(&apis, live.is_ok())),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Why the running gateway has rolled back the candidate of a contract, where it has.
pub(super) async fn rolled_back(config: PathBuf, admin: Option<String>, contract: String) -> Option<String> {
    let sources = Sources::read(&config).ok()?;
    let (_, live) = ask(&sources, admin.as_deref()).await;
    let apis = live.ok()?;
    let of_contract = apis.iter().filter(|api| api["contract"] == *contract);
    let mut why = of_contract.filter_map(|api| api["candidate"]["rolledBack"]["why"].as_str());
    why.next().map(str::to_owned)
}

/// What a running gateway says of its APIs, and where it was asked.
async fn ask(sources: &Sources, admin: Option<&str>) -> (String, anyhow::Result<Vec<Value>>) {
    let url = match admin {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => match config::parse(sources).0 {
            Some(policies) => format!("http://{}", policies.gateway.spec.admin.address),
            None => "http://127.0.0.1:9901".to_owned(),
        },
    };
    let asked = tokio::time::timeout(PATIENCE, fetch(format!("{url}/versions"))).await;
    let answer = asked.context("no answer in time").and_then(|answer| answer);
    (url, answer.map(apis_of))
}

async fn fetch(url: String) -> anyhow::Result<Value> {
    let url: http::Uri = url.parse().context("this is not a URL")?;
    let request = http::Request::get(url).body(Empty::<Bytes>::new())?;
    let response = client::https().request(request).await.context("no connection")?;
    if !response.status().is_success() {
        bail!("it answers {}", response.status());
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(|cause| anyhow::anyhow!("its answer broke off: {cause}"))?;
    serde_json::from_slice(&body.to_bytes()).context("its answer is not JSON")
}

fn apis_of(mut document: Value) -> Vec<Value> {
    match document["apis"].take() {
        Value::Array(apis) => apis,
        _ => Vec::new(),
    }
}

/// Adds what the running gateway knows to what the files say.
fn add_live(api: &mut Value, live: &[Value]) {
    let Some(running) = live.iter().find(|running| running["api"] == api["api"]) else {
        return;
    };
    let versions = running["versions"].as_array().map_or(&[][..], Vec::as_slice);
    for version in api["versions"].as_array_mut().into_iter().flatten() {
        if let Some(same) = versions.iter().find(|same| same["version"] == version["version"]) {
            version["requests"] = same["requests"].clone();
            version["channels"] = same["channels"].clone();
        }
    }
    api["validation"] = running["validation"].clone();
    // What is said of another content says nothing of this one.
    if api["candidate"]["id"] == running["candidate"]["id"] {
        api["candidate"] = running["candidate"].clone();
    }
}

fn text(apis: &[Value], is_live: bool) -> String {
    let mut out = String::new();
    for api in apis {
        if !out.is_empty() {
            out.push('\n');
        }
        let word = |key: &str| api[key].as_str().unwrap_or("").to_owned();
        let (name, contract, spoken) = (word("api"), word("contract"), word("upstreamVersion"));
        let _ = writeln!(out, "{name}  contract {contract}, upstream speaks {spoken}");
        let mut rows = vec![
            [
                "VERSION",
                "STATE",
                "SINCE",
                "SUNSET",
                "SUCCESSOR",
                "REQUESTS",
                "CALLED BY",
            ]
            .map(str::to_owned),
        ];
        let versions = api["versions"].as_array().map_or(&[][..], Vec::as_slice);
        rows.extend(versions.iter().map(|version| row(version, is_live)));
        out.push_str(&table(&rows));
        if api["candidate"].is_object() {
            let _ = writeln!(out, "  candidate {}", candidate(&api["candidate"], is_live));
        }
        for line in validation(&api["validation"]) {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn row(version: &Value, is_live: bool) -> [String; 7] {
    let word = |key: &str| version[key].as_str().unwrap_or("-").to_owned();
    // Midnight is a day.
    let moment = |key: &str| word(key).trim_end_matches("T00:00:00Z").to_owned();
    let channels = version["channels"].as_array().map_or(&[][..], Vec::as_slice);
    let channels = channels.iter().map(|channel| {
        let last = channel["last"].as_str().unwrap_or("");
        format!(
            "{} {} (last {last})",
            channel["channel"].as_str().unwrap_or(""),
            channel["requests"]
        )
    });
    let (requests, called_by) = if is_live {
        (version["requests"].to_string(), channels.collect::<Vec<_>>().join(", "))
    } else {
        ("?".to_owned(), String::new())
    };
    [
        word("version"),
        word("state"),
        moment("since"),
        moment("sunset"),
        word("successor"),
        requests,
        called_by,
    ]
}

fn table(rows: &[[String; 7]]) -> String {
    let mut widths = [0; 7];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end());
        out.push('\n');
    }
    out
}

fn candidate(candidate: &Value, is_live: bool) -> String {
    let mode = candidate["mode"].as_str().unwrap_or("");
    let id = candidate["id"].as_str().unwrap_or("");
    if !is_live {
        return format!("{id} as {mode}");
    }
    let mut said = match mode {
        "shadow" => format!(
            "{id} as shadow: {} compared, {} differing, {} dropped",
            candidate["compared"], candidate["differing"], candidate["dropped"]
        ),
        _ => format!(
            "{id} as {mode}: {} served, {} failed",
            candidate["served"], candidate["failed"]
        ),
    };
    if let Some(why) = candidate["rolledBack"]["why"].as_str() {
        let at = candidate["rolledBack"]["at"].as_str().unwrap_or("");
        let _ = write!(said, "; ROLLED BACK at {at}: {why}");
    }
    for difference in candidate["differences"].as_array().into_iter().flatten() {
        let word = |key: &str| difference[key].as_str().unwrap_or("").escape_debug().to_string();
        let _ = write!(
            said,
            "\n    {} {} {} {}: {} ({} times)",
            word("operation"),
            word("version"),
            word("direction"),
            word("at"),
            word("kind"),
            difference["count"]
        );
    }
    said
}

/// What enforcing would refuse.
fn validation(validation: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for counted in validation.as_array().into_iter().flatten() {
        let word = |key: &str| counted[key].as_str().unwrap_or("").to_owned();
        lines.push(format!(
            "{} {} of {}: {} checked, {} violate",
            word("version"),
            word("direction"),
            word("channel"),
            counted["checked"],
            counted["violated"]
        ));
        for place in counted["places"].as_array().into_iter().flatten() {
            // Names that a caller made up may hold anything.
            let at = place["at"].as_str().unwrap_or("").escape_debug();
            let operation = place["operation"].as_str().unwrap_or("");
            lines.push(format!("  {operation} {at} ({} times)", place["count"]));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Value {
        json!({
            "api": "erp-orders", "contract": "orders", "upstreamVersion": "v3",
            "versions": [
                { "version": "v1", "state": "deprecated", "since": "2026-06-01T00:00:00Z", "sunset": null,
                  "successor": "v2", "requests": 0, "channels": [] },
            ],
            "candidate": { "id": "abc", "mode": "canary" },
        })
    }

    #[test]
    fn what_runs_is_added_to_what_is_written() {
        let mut api = api();
        let mut running = api.clone();
        running["versions"][0]["requests"] = 7.into();
        running["versions"][0]["channels"] =
            json!([{ "channel": "storefront", "requests": 7, "last": "2026-11-21T10:00:00Z" }]);
        running["candidate"] = json!({ "id": "abc", "mode": "canary", "served": 9, "failed": 3,
                                       "rolledBack": { "at": "2026-11-21T10:00:00Z", "why": "3 of 9" } });
        add_live(&mut api, &[running.clone()]);
        let said = text(&[api.clone()], true);
        for expected in [
            "v1       deprecated  2026-06-01  -       v2         7         storefront 7 (last 2026-11-21T10:00:00Z)",
            "candidate abc as canary: 9 served, 3 failed; ROLLED BACK at 2026-11-21T10:00:00Z: 3 of 9",
        ] {
            assert!(said.contains(expected), "{expected} in\n{said}");
        }
        running["candidate"]["id"] = "def".into();
        let mut api = self::api();
        add_live(&mut api, &[running]);
        assert_eq!(
            api["candidate"]["served"],
            Value::Null,
            "another content is another candidate"
        );
    }
}
