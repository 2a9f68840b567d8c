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
    if let Some(failure) = &view.failure {
        // Why it is where it is, or what went wrong last.
        put("cause", json!(failure.cause));
        put("class", json!(failure.class.as_str()));
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

pub(super) fn response_document(response: &StoredResponse) -> String {
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
pub(super) fn with_member(object: &str, name: &str, value: &str) -> String {
    let members = object.strip_suffix('}').unwrap_or(object);
    format!("{members},\"{name}\":{value}}}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::queue::{
        AttemptOutcome, MemoryLog, MessageLog, MessageView,
        conformance::{admit, at, attempt, created},
    };

    async fn after_attempt(outcome: AttemptOutcome) -> MessageView {
        let log = MemoryLog::default();
        admit(&log, 1, "4711", 0).await;
        attempt(&log, 1, outcome).await;
        log.get("m1").await.unwrap().unwrap()
    }

    fn parsed(view: &MessageView) -> Value {
        serde_json::from_str(&status_document(view, at(9))).unwrap()
    }

    #[tokio::test]
    async fn a_waiting_message_shows_its_place_and_its_next_attempt() {
        let log = MemoryLog::default();
        admit(&log, 1, "4711", 0).await;
        admit(&log, 2, "4711", 0).await;
        let document = parsed(&log.get("m2").await.unwrap().unwrap());
        let expected = json!({
            "id": "m2", "state": "waiting", "position": 1, "transaction": { "type": "order", "key": "4711" },
            "admitted": "1970-01-02T00:00:00Z", "deadline": "1970-01-03T00:00:00Z",
            "nextAttempt": "1970-01-02T00:00:09Z", "attempts": [],
        });
        assert_eq!(document, expected);
    }

    #[tokio::test]
    async fn a_delivered_message_shows_the_answer_to_the_letter() {
        let text = status_document(&after_attempt(AttemptOutcome::Delivered(created())).await, at(9));
        assert!(text.contains(r#""body":{"total":19.90}"#), "{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["state"], "delivered");
        assert_eq!(document["finished"], "1970-01-02T00:00:02Z");
        assert_eq!(document["response"]["headers"], json!({ "location": "/orders/1" }));
        assert_eq!(document["attempts"][0]["result"], "delivered: 201");
        assert!(document.get("position").is_none() && document.get("nextAttempt").is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_not_json_is_text_or_base64() {
        for (body, member, expected) in [
            (&b"no \"such\" order"[..], "body", "no \"such\" order"),
            (&b"{\"cut\":"[..], "body", "{\"cut\":"),
            (&[0xff, 0x00][..], "bodyBase64", "/wA="),
        ] {
            let answer = StoredResponse {
                status: 422,
                headers: vec![],
                body: Bytes::copy_from_slice(body),
            };
            let document = parsed(&after_attempt(AttemptOutcome::Rejected(answer)).await);
            assert_eq!(document["response"][member], expected);
            assert_eq!(
                (&document["state"], &document["response"]["status"]),
                (&json!("dead"), &json!(422))
            );
        }
        let empty = StoredResponse {
            status: 204,
            headers: vec![],
            body: Bytes::new(),
        };
        let document = parsed(&after_attempt(AttemptOutcome::Delivered(empty)).await);
        assert_eq!(document["response"], json!({ "status": 204, "headers": {} }));
    }

    #[tokio::test]
    async fn a_repeated_header_is_joined() {
        let headers = ["a", "b", "c"]
            .map(|value| ("x-list".to_owned(), value.as_bytes().to_vec()))
            .to_vec();
        let answer = StoredResponse {
            status: 200,
            headers,
            body: Bytes::new(),
        };
        let document = parsed(&after_attempt(AttemptOutcome::Delivered(answer)).await);
        assert_eq!(document["response"]["headers"]["x-list"], "a, b, c");
    }
}
