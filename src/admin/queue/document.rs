//! Messages, counts and entries as JSON.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    audit,
    queue::{
        Health, Lane, MessageState, MessageView, Outlook, Pause, QueueStats, Room, Shown, StoredRequest,
        status_document,
    },
};

/// A message in a list.
pub(crate) fn summary(view: &MessageView) -> Value {
    let mut document = json!({
        "id": view.id,
        "state": view.state.name(),
        "inDoubt": view.is_in_doubt,
        "upstream": view.upstream,
        "api": view.api,
        "operation": view.operation,
        "version": view.version,
        "channel": view.channel,
        "key": view.order_key,
        "lane": view.lane.name(),
        "headOfLine": view.head_of_line.name(),
        "attempts": view.counted,
        "admitted": view.admitted,
        "deadline": view.deadline,
        "correlationId": view.correlation,
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            document[name] = value;
        }
    };
    put("nextAttempt", view.next_attempt.map(|at| json!(at)));
    put("finished", view.finished.map(|at| json!(at)));
    put(
        "class",
        view.failure.as_ref().map(|failure| json!(failure.class.as_str())),
    );
    put("error", view.failure.as_ref().map(|failure| json!(failure.cause)));
    let transaction = view.transaction.as_ref();
    put(
        "transaction",
        transaction.map(|(kind, key)| json!({ "type": kind, "key": key })),
    );
    document
}

/// One message with all that is kept of it, as text: bodies stand in it exactly as they are.
pub(crate) fn shown(shown: &Shown, now: Timestamp) -> String {
    let mut members = vec![("message", summary(&shown.view).to_string())];
    members.push(("status", status_document(&shown.view, now)));
    if let Some(sent) = &shown.request {
        members.push(("request", request(sent)));
    }
    if !shown.former.is_empty() {
        let former: Vec<String> = shown.former.iter().map(request).collect();
        members.push(("former", format!("[{}]", former.join(","))));
    }
    let history: Vec<Value> = shown.history.iter().map(entry_document).collect();
    members.push(("history", Value::from(history).to_string()));
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn request(request: &StoredRequest) -> String {
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into()))
        .collect();
    let head = json!({
        "method": request.method,
        "target": request.path_and_query,
        "idempotencyKey": request.idempotency_key,
        "headers": headers,
    })
    .to_string();
    let body = match std::str::from_utf8(&request.body) {
        _ if request.body.is_empty() => return head,
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            format!("\"body\":{}", text.trim())
        }
        Ok(text) => format!("\"body\":{}", Value::from(text)),
        Err(_) => format!("\"bodyBase64\":\"{}\"", BASE64_STANDARD.encode(&request.body)),
    };
    format!("{},{body}}}", head.trim_end_matches('}'))
}

/// The queue in numbers.
pub(crate) fn stats_document(
    stats: &QueueStats,
    room: &Room,
    pauses: &[Pause],
    outlook: Option<&Outlook>,
    health: &Health,
) -> Value {
    let by_state: Map<String, Value> = MessageState::ALL
        .into_iter()
        .map(|state| (state.name().to_owned(), stats.in_state(state).into()))
        .collect();
    let lanes: Map<String, Value> = Lane::ALL
        .into_iter()
        .map(|lane| (lane.name().to_owned(), stats.waiting(lane).into()))
        .collect();
    let groups = stats.groups.iter().map(|(group, count)| {
        json!({
            "upstream": group.upstream, "api": group.api, "channel": group.channel, "lane": group.lane.name(),
            "state": group.state.name(), "holds": group.holds, "count": count,
        })
    });
    let mut document = json!({
        "health": match health {
            Health::Ok => "ok",
            Health::Full => "full",
            Health::Draining => "draining",
            Health::Unavailable(_) => "unavailable",
            Health::Poisoned(_) => "failed",
        },
        "states": by_state,
        "waitingByLane": lanes,
        "groups": groups.collect::<Vec<_>>(),
        "oldestSeconds": stats.oldest.map(|age| age.as_secs()),
        "usedBytes": room.used,
        "quotaBytes": room.quota,
        "pauses": pauses.iter().map(pause).collect::<Vec<_>>(),
    });
    if let Some(outlook) = outlook {
        document["outage"] = json!({
            "requestsPerSecond": (outlook.per_second * 10.0).round() / 10.0,
            "bytesPerMessage": outlook.bytes_each,
            "fitsSeconds": outlook.fits.as_ref().map(|(length, _)| length.as_secs()),
            "endsBy": outlook.fits.as_ref().map(|(_, bound)| bound),
        });
    }
    document
}

/// Something that is held back.
pub(super) fn pause(pause: &Pause) -> Value {
    json!({ "scope": pause.scope.to_string(), "since": pause.since, "by": pause.by.name, "reason": pause.by.reason })
}

/// An entry of the audit log.
pub(crate) fn entry_document(entry: &audit::Entry) -> Value {
    json!({
        "number": entry.number,
        "at": entry.at,
        "by": entry.actor,
        "act": entry.act,
        "subject": entry.subject,
        "reason": entry.reason,
        "detail": entry.detail,
        "previous": hex(&entry.previous),
        "digest": hex(&entry.digest),
    })
}

/// Reads what [`entry_document`] wrote.
pub(crate) fn read_entry(document: &Value) -> Option<audit::Entry> {
    let text = |name: &str| document[name].as_str().map(str::to_owned);
    Some(audit::Entry {
        number: document["number"].as_u64()?,
        at: text("at")?.parse().ok()?,
        actor: text("by")?,
        act: text("act")?,
        subject: text("subject")?,
        reason: text("reason")?,
        detail: text("detail")?,
        previous: unhex(document["previous"].as_str()?)?,
        digest: unhex(document["digest"].as_str()?)?,
    })
}

/// A digest as text.
pub(crate) fn hex(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, place) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
    }
    Some(digest)
}

/// A length for people: `3 d 4 h`.
pub(crate) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
