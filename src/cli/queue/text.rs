//! What people read.

use std::{fmt::Write as _, time::Duration};

use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use serde_json::Value;

use crate::admin::queue::length;

/// Longest error in a list, in characters.
const LONGEST_ERROR: usize = 60;

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(headings);
    table
}

fn age(value: &Value, name: &str) -> String {
    let Ok(time) = word(value, name).parse::<Timestamp>() else {
        return String::new();
    };
    length(Duration::try_from(Timestamp::now().duration_since(time)).unwrap_or_default())
}

/// Messages, one on each line.
pub(super) fn list(messages: &[Value], has_more: bool) -> String {
    if messages.is_empty() {
        return "no messages".to_owned();
    }
    let mut table = table(&[
        "ID",
        "STATE",
        "API",
        "OPERATION",
        "KEY",
        "CHANNEL",
        "TRIES",
        "AGE",
        "ERROR",
    ]);
    for message in messages {
        // What an upstream says may hold anything.
        let error: String = word(message, "error").escape_debug().take(LONGEST_ERROR).collect();
        let state = match (word(message, "state"), message["inDoubt"].as_bool()) {
            (state @ ("dead" | "expired"), Some(true)) => format!("{state}, in doubt"),
            (state, _) => state.to_owned(),
        };
        table.add_row([
            word(message, "id").to_owned(),
            state,
            word(message, "api").to_owned(),
            word(message, "operation").to_owned(),
            word(message, "key").escape_debug().to_string(),
            word(message, "channel").to_owned(),
            message["attempts"].to_string(),
            age(message, "admitted"),
            error,
        ]);
    }
    let mut out = trimmed(&table);
    if has_more {
        out.push_str("\n… and more");
    }
    out
}

/// Completion webhooks, one on each line.
pub(super) fn webhooks(webhooks: &[Value], has_more: bool) -> String {
    if webhooks.is_empty() {
        return "no webhooks".to_owned();
    }
    let mut table = table(&["ID", "CHANNEL", "EVENT", "STATE", "TRIES", "AGE", "ERROR"]);
    for webhook in webhooks {
        let error: String = word(webhook, "error").escape_debug().take(LONGEST_ERROR).collect();
        table.add_row([
            word(webhook, "id").to_owned(),
            word(webhook, "channel").to_owned(),
            word(webhook, "event").to_owned(),
            word(webhook, "state").to_owned(),
            webhook["tries"].to_string(),
            age(webhook, "since"),
            error,
        ]);
    }
    let mut out = trimmed(&table);
    if has_more {
        out.push_str("\n… and more");
    }
    out
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// One message.
pub(super) fn shown(text: &str) -> anyhow::Result<String> {
    let document: Value = serde_json::from_str(text)?;
    let message = &document["message"];
    let mut out = String::new();
    for name in [
        "id",
        "state",
        "error",
        "class",
        "upstream",
        "api",
        "operation",
        "version",
        "channel",
        "key",
        "lane",
        "headOfLine",
        "admitted",
        "deadline",
        "nextAttempt",
        "finished",
        "correlationId",
    ] {
        if let Some(value) = message[name].as_str() {
            let _ = writeln!(out, "{name:<14} {}", value.escape_debug());
        }
    }
    if message["inDoubt"].as_bool() == Some(true) {
        let _ = writeln!(out, "{:<14} an attempt may have had its effect", "doubt");
    }
    for attempt in document["status"]["attempts"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "attempt {:<6} {}  {}",
            attempt["number"].to_string(),
            word(attempt, "started"),
            word(attempt, "result").escape_debug()
        );
    }
    for entry in document["history"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "{:<14} {} by {} ({}) {}",
            word(entry, "act"),
            word(entry, "at"),
            word(entry, "by").escape_debug(),
            word(entry, "detail"),
            word(entry, "reason").escape_debug()
        );
    }
    let request = &document["request"];
    if request.is_object() {
        let _ = writeln!(
            out,
            "\n{} {}",
            word(request, "method"),
            word(request, "target").escape_debug()
        );
    }
    out.push_str("\nBodies, header fields and former requests: --format json");
    Ok(out)
}

/// The queue in numbers.
pub(super) fn stats(stats: &Value) -> String {
    let mut out = format!("{:<12} {}\n", "queue", word(stats, "health"));
    for (state, count) in stats["states"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "{state:<12} {count}");
    }
    let lanes = stats["waitingByLane"].as_object().into_iter().flatten();
    let lanes: Vec<String> = lanes.map(|(lane, count)| format!("{lane} {count}")).collect();
    let _ = writeln!(out, "{:<12} {}", "lanes", lanes.join(", "));
    if let Some(seconds) = stats["oldestSeconds"].as_u64() {
        let _ = writeln!(out, "{:<12} {}", "oldest", length(Duration::from_secs(seconds)));
    }
    let webhooks = &stats["webhooks"];
    if webhooks["waiting"].as_u64().unwrap_or(0) + webhooks["failed"].as_u64().unwrap_or(0) > 0 {
        let _ = writeln!(
            out,
            "{:<12} {} waiting, {} failed",
            "webhooks", webhooks["waiting"], webhooks["failed"]
        );
    }
    let (used, quota) = (mebibytes(&stats["usedBytes"]), mebibytes(&stats["quotaBytes"]));
    let _ = writeln!(out, "{:<12} {used} of {quota} MiB", "disk");
    let outage = &stats["outage"];
    if outage.is_object() {
        let rate = outage["requestsPerSecond"].as_f64().unwrap_or(0.0);
        let fits = match outage["fitsSeconds"].as_u64() {
            Some(seconds) => format!(
                "fits for {} at {rate}/s, then {} is used up",
                length(Duration::from_secs(seconds)),
                word(outage, "endsBy")
            ),
            None => "nothing comes in at present".to_owned(),
        };
        let _ = writeln!(out, "{:<12} {fits}", "an outage");
    }
    for pause in stats["pauses"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "{:<12} {} since {} by {} {}",
            "paused",
            word(pause, "scope"),
            word(pause, "since"),
            word(pause, "by").escape_debug(),
            word(pause, "reason").escape_debug()
        );
    }
    let mut groups = table(&["UPSTREAM", "API", "CHANNEL", "LANE", "STATE", "COUNT"]);
    for group in stats["groups"].as_array().into_iter().flatten() {
        let mut cells = ["upstream", "api", "channel", "lane", "state"]
            .map(|name| word(group, name).to_owned())
            .to_vec();
        cells.push(group["count"].to_string());
        groups.add_row(cells);
    }
    if groups.row_count() > 0 {
        let _ = write!(out, "\n{}", trimmed(&groups));
    }
    out
}

fn mebibytes(bytes: &Value) -> u64 {
    bytes.as_u64().unwrap_or(0).div_ceil(1 << 20)
}

/// The audit log.
pub(super) fn entries(entries: &[Value]) -> String {
    if entries.is_empty() {
        return "no entries".to_owned();
    }
    let mut table = table(&["NUMBER", "AT", "BY", "ACT", "SUBJECT", "REASON", "DETAIL"]);
    for entry in entries {
        let mut cells = vec![entry["number"].to_string()];
        cells.extend(
            ["at", "by", "act", "subject", "reason", "detail"].map(|name| word(entry, name).escape_debug().to_string()),
        );
        table.add_row(cells);
    }
    trimmed(&table)
}
