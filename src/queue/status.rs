//! The document a channel sees when it asks how its message stands.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{MessageView, StoredResponse};

/// The status document of a message as JSON text. It is text and not a tree, because the upstream's answer stands in it
/// exactly as it was: `19.90` does not become `19.9`.
pub fn status_document(view: &MessageView, now: Timestamp) -> String {
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("id", json!(view.id));
    put("state", json!(view.state.name()));
    if !view.state.is_final() {
        put("position", json!(view.ahead));
    }
    if let Some((kind, key)) = &view.transaction {
        put("transaction", json!({ "type": kind, "key": key }));
    }
    put("admitted", json!(view.admitted));
    put("deadline", json!(view.deadline));
    if let Some(at) = view.next_attempt.filter(|_| view.state.is_waiting()) {
        // What is due goes out next: a time in the past would read like a mistake.
        put("nextAttempt", json!(at.max(now)));
    }
    if let Some(finished) = view.finished {
        put("finished", json!(finished));
    }
    if let Some(cause) = &view.cause {
        put("cause", json!(cause));
    }
    let attempts = view.attempts.iter().map(|attempt| {
        json!({ "number": attempt.number, "started": attempt.started, "ended": attempt.ended, "result": attempt.result })
    });
    put("attempts", attempts.collect());
    let document = Value::Object(document).to_string();
    match &view.response {
        Some(response) => with_member(&document, "response", &response_document(response)),
        None => document,
    }
}

fn response_document(response: &StoredResponse) -> String {
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let value = String::from_utf8_lossy(value).into_owned();
        match headers.get_mut(name) {
            Some(Value::String(before)) => *before = format!("{before}, {value}"),
            _ => drop(headers.insert(name.clone(), Value::String(value))),
        }
    }
    let document = json!({ "status": response.status, "headers": headers }).to_string();
    if response.body.is_empty() {
        return document;
    }
    match std::str::from_utf8(&response.body) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => with_member(&document, "body", text.trim()),
        Ok(text) => with_member(&document, "body", &Value::from(text).to_string()),
        Err(_) => {
            let encoded = BASE64_STANDARD.encode(&response.body);
            with_member(&document, "bodyBase64", &Value::from(encoded).to_string())
        }
    }
}

/// Adds a member, given as JSON text, to the text of an object that has members.
fn with_member(object: &str, name: &str, value: &str) -> String {
    let members = object.strip_suffix('}').unwrap_or(object);
    format!("{members},\"{name}\":{value}}}")
}
