//! What a channel is told: a `CloudEvents` 1.0 event in structured JSON.

use serde_json::{Map, Value, json};

use crate::{
    policy::status::PREFIX,
    queue::{
        MessageState, MessageView, Notice, StoredResponse,
        status::{response_document, with_member},
    },
};

/// `CloudEvents` JSON format 1.0 §3.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Largest body of an answer that stands in the event, in bytes. A larger one is got at the status resource.
const LARGEST_ANSWER: usize = 16 << 10;

/// The event as JSON text. It is text and not a tree, because the upstream's answer stands in it exactly as it was. It is
/// the same however often it is told.
pub(super) fn document(notice: &Notice, view: &MessageView) -> String {
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
    put("id", json!(notice.message));
    put("state", json!(notice.state.name()));
    put("location", json!(format!("{PREFIX}{}", notice.message)));
    put("api", json!(view.api));
    put("operation", json!(view.operation));
    put("version", json!(view.version));
    put("channel", json!(notice.channel));
    put("correlationId", json!(view.correlation));
    if let Some((kind, key)) = &view.transaction {
        put("transaction", json!({ "type": kind, "key": key }));
    }
    put("admitted", json!(view.admitted));
    put("finished", json!(notice.finished));
    put("attempts", json!(notice.attempts));
    if let Some(problem) = problem(notice) {
        put("problem", problem);
    }
    let mut data = Value::Object(data).to_string();
    // Of what is delivered nothing changes any more.
    if let (MessageState::Delivered, Some(response)) = (notice.state, &view.response) {
        data = with_member(&data, "response", &answer(response));
    }
    let event = json!({
        "specversion": "1.0",
        "id": notice.id,
        "source": format!("urn:crossdock:api:{}", view.api),
        "type": format!("crossdock.message.{}", notice.state.name()),
        "subject": notice.message,
        "time": notice.finished,
        "datacontenttype": "application/json",
    });
    with_member(&event.to_string(), "data", &data)
}

fn answer(response: &StoredResponse) -> String {
    if response.body.len() <= LARGEST_ANSWER {
        return response_document(response);
    }
    json!({ "status": response.status, "bodyBytes": response.body.len() }).to_string()
}

/// Why it was not delivered, as problem details (RFC 9457 §3).
fn problem(notice: &Notice) -> Option<Value> {
    let (title, cause) = match notice.state {
        MessageState::Dead => ("the request was rejected or given up", None),
        MessageState::Expired => ("the request was not delivered before its deadline", None),
        MessageState::Discarded => ("the request was taken out by a person", Some("a person took it out")),
        _ => return None,
    };
    let failure = notice.failure.as_ref();
    let mut detail = cause.unwrap_or_default().to_owned();
    if let Some(failure) = failure {
        if !detail.is_empty() {
            detail.push_str("; what went wrong last: ");
        }
        detail.push_str(&failure.cause);
    }
    let mut problem = json!({
        "type": format!("urn:crossdock:message:{}", notice.state.name()),
        "title": title,
        "detail": detail,
    });
    if let Some(failure) = failure {
        problem["class"] = json!(failure.class.as_str());
    }
    Some(problem)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::queue::{
        Act, AttemptOutcome, Failure, MemoryLog, MessageLog as _, NoticeFilter, Outbox as _,
        conformance::{admit, all_ends, at, attempt, by, created},
    };

    async fn told(outcome: AttemptOutcome, act: Option<Act>) -> (String, Value) {
        let log = MemoryLog::default();
        log.subscribe(all_ends());
        admit(&log, 1, "4711", 0).await;
        attempt(&log, 1, outcome).await;
        if let Some(act) = act {
            log.act("m1", act, by("jo"), at(9)).await.unwrap();
        }
        let notice = log
            .notices(NoticeFilter::default(), None, 9)
            .await
            .unwrap()
            .items
            .pop()
            .unwrap()
            .notice;
        let text = document(&notice, &log.get("m1").await.unwrap().unwrap());
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[tokio::test]
    async fn what_is_delivered_carries_its_answer_to_the_letter() {
        let (text, event) = told(AttemptOutcome::Delivered(created()), None).await;
        assert!(text.contains(r#""body":{"total":19.90}"#), "{text}");
        let expected = json!({
            "specversion": "1.0", "id": "m1_86402000000", "source": "urn:crossdock:api:orders",
            "type": "crossdock.message.delivered", "subject": "m1", "time": "1970-01-02T00:00:02Z",
            "datacontenttype": "application/json",
            "data": {
                "id": "m1", "state": "delivered", "location": "/status/m1", "api": "orders",
                "operation": "createOrder", "version": "1", "channel": "shop", "correlationId": "c1",
                "transaction": { "type": "order", "key": "4711" }, "admitted": "1970-01-02T00:00:00Z",
                "finished": "1970-01-02T00:00:02Z", "attempts": 1,
                "response": { "status": 201, "headers": { "location": "/orders/1" }, "body": { "total": 19.90 } },
            },
        });
        assert_eq!(event, expected);
    }

    #[tokio::test]
    async fn a_large_answer_is_left_at_the_status_resource() {
        for (bytes, is_there) in [(LARGEST_ANSWER, true), (LARGEST_ANSWER + 1, false)] {
            let response = StoredResponse {
                body: Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2))),
                ..created()
            };
            let (_, event) = told(AttemptOutcome::Delivered(response), None).await;
            let response = &event["data"]["response"];
            assert_eq!(response["status"], 201);
            assert_eq!(response.get("body").is_some(), is_there);
            assert_eq!(response.get("bodyBytes").is_some(), !is_there);
        }
    }

    #[tokio::test]
    async fn what_is_not_delivered_says_why() {
        let failure = Failure::technical("no answer");
        let dead = AttemptOutcome::Dead {
            failure,
            is_in_doubt: false,
        };
        let (_, event) = told(dead.clone(), None).await;
        let expected = json!({
            "type": "urn:crossdock:message:dead", "title": "the request was rejected or given up",
            "detail": "no answer", "class": "technical",
        });
        assert_eq!(
            (&event["data"]["problem"], event["data"].get("response")),
            (&expected, None)
        );
        let (_, event) = told(dead, Some(Act::Discard)).await;
        assert_eq!(event["type"], "crossdock.message.discarded");
        assert_eq!(
            event["data"]["problem"]["detail"],
            "a person took it out; what went wrong last: no answer"
        );
    }
}
