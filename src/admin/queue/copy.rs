//! A message on one line of text, to move it between stores.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::document::{hex, unhex};
use crate::{
    problem::FailureClass,
    queue::{
        AttemptView, Failure, HeadOfLine, Lane, MessageCopy, MessageState, NewMessage, Notice, NoticeStanding,
        NoticeState, NoticeView, OrderKey, Standing, StoredRequest, StoredResponse,
    },
};

/// The form this release writes and reads.
const FORM: u64 = 1;

/// The copy as JSON on one line.
pub fn write_copy(copy: &MessageCopy) -> String {
    let (message, standing) = (&copy.message, &copy.standing);
    let failure = standing.failure.as_ref();
    json!({
        "form": FORM,
        "id": message.id,
        "scope": hex(&message.scope),
        "fingerprint": hex(&message.fingerprint),
        "api": message.api,
        "operation": message.operation,
        "version": message.version,
        "channel": message.channel,
        "upstream": message.order_key.upstream,
        "key": message.order_key.value,
        "lane": message.lane.name(),
        "headOfLine": message.head_of_line.name(),
        "transaction": message.transaction,
        "correlation": message.correlation,
        "traceparent": message.traceparent,
        "deadline": message.deadline,
        "maxAttempts": message.max_attempts,
        "synchronous": message.is_synchronous,
        "request": copy.has_request.then(|| write_request(&message.request)),
        "former": copy.former.iter().map(write_request).collect::<Vec<_>>(),
        "admitted": copy.admitted,
        "state": standing.state.name(),
        "inDoubt": standing.is_in_doubt,
        "attemptsMade": standing.attempts,
        "attemptsAllowed": standing.max_attempts,
        "breaks": standing.breaks,
        "firstSent": standing.first_sent,
        "lastSent": standing.last_sent,
        "nextAttempt": standing.next_attempt,
        "dueBy": standing.deadline,
        "finished": standing.finished,
        "class": failure.map(|failure| failure.class.as_str()),
        "cause": failure.map(|failure| &failure.cause),
        "epoch": standing.epoch,
        "leasedUntil": standing.leased_until,
        "attempts": copy.attempts.iter().map(|attempt| {
            json!({ "number": attempt.number, "started": attempt.started, "ended": attempt.ended,
                    "result": attempt.result })
        }).collect::<Vec<_>>(),
        "response": copy.response.as_ref().map(|response| {
            json!({ "status": response.status, "headers": write_headers(&response.headers),
                    "body": BASE64_STANDARD.encode(&response.body) })
        }),
        "webhooks": copy.notices.iter().map(write_notice).collect::<Vec<_>>(),
    })
    .to_string()
}

fn write_notice(NoticeView { notice, standing }: &NoticeView) -> Value {
    let failure = notice.failure.as_ref();
    json!({
        "id": notice.id, "message": notice.message, "channel": notice.channel, "event": notice.state.name(),
        "attempts": notice.attempts, "class": failure.map(|failure| failure.class.as_str()),
        "cause": failure.map(|failure| &failure.cause), "finished": notice.finished,
        "state": standing.state.name(), "tries": standing.tries, "since": standing.since,
        "nextTry": standing.next_try, "leased": standing.is_leased, "epoch": standing.epoch,
        "ended": standing.ended, "error": standing.error,
    })
}

fn write_request(request: &StoredRequest) -> Value {
    json!({
        "method": request.method, "target": request.path_and_query, "idempotencyKey": request.idempotency_key,
        "headers": write_headers(&request.headers), "body": BASE64_STANDARD.encode(&request.body),
    })
}

fn write_headers(headers: &[(String, Vec<u8>)]) -> Value {
    headers
        .iter()
        .map(|(name, value)| json!([name, BASE64_STANDARD.encode(value)]))
        .collect()
}

/// Reads what [`write_copy`] wrote.
///
/// # Errors
/// What is wrong with it, in a phrase.
pub fn read_copy(line: &str) -> Result<MessageCopy, String> {
    let document: Value = serde_json::from_str(line).map_err(|error| format!("it is not JSON: {error}"))?;
    let members = document.as_object().ok_or("it is not an object")?;
    let read = Reader(members);
    match read.0.get("form").and_then(Value::as_u64) {
        Some(FORM) => {}
        Some(form) => {
            return Err(format!(
                "it is of form {form}, which a newer release wrote; this one knows {FORM}"
            ));
        }
        None => return Err("it is no message that `crossdock queue export` wrote".to_owned()),
    }
    let request = read.0.get("request").filter(|request| !request.is_null());
    let failure = read.failure()?;
    let is_in_doubt = read.flag("inDoubt")?;
    Ok(MessageCopy {
        has_request: request.is_some(),
        message: NewMessage {
            id: read.text("id")?,
            scope: read.named("scope", unhex)?,
            fingerprint: read.named("fingerprint", unhex)?,
            api: read.text("api")?,
            operation: read.text("operation")?,
            version: read.text("version")?,
            channel: read.text("channel")?,
            order_key: OrderKey {
                upstream: read.text("upstream")?,
                value: read.text("key")?,
            },
            lane: read.named("lane", |name| Lane::ALL.into_iter().find(|lane| lane.name() == name))?,
            head_of_line: read.named("headOfLine", |name| {
                HeadOfLine::ALL.into_iter().find(|policy| policy.name() == name)
            })?,
            transaction: read.transaction()?,
            correlation: read.text("correlation")?,
            traceparent: read.text("traceparent")?,
            request: request.map(read_request).transpose()?.unwrap_or_default(),
            deadline: read.time("deadline")?,
            max_attempts: read.count("maxAttempts")?,
            is_in_doubt,
            is_synchronous: read.flag("synchronous")?,
        },
        admitted: read.time("admitted")?,
        standing: Standing {
            state: read.named("state", MessageState::named)?,
            is_in_doubt,
            attempts: read.count("attemptsMade")?,
            max_attempts: read.count("attemptsAllowed")?,
            breaks: read.count("breaks")?,
            first_sent: read.optional_time("firstSent")?,
            last_sent: read.optional_time("lastSent")?,
            next_attempt: read.optional_time("nextAttempt")?,
            deadline: read.time("dueBy")?,
            finished: read.optional_time("finished")?,
            failure,
            epoch: read.epoch()?,
            leased_until: read.optional_time("leasedUntil")?,
        },
        attempts: read
            .list("attempts")?
            .iter()
            .map(read_attempt)
            .collect::<Result<_, _>>()?,
        response: match read.0.get("response") {
            None | Some(Value::Null) => None,
            Some(response) => Some(read_response(response)?),
        },
        former: read
            .list("former")?
            .iter()
            .map(read_request)
            .collect::<Result<_, _>>()?,
        // Earlier releases kept none.
        notices: match read.0.get("webhooks") {
            None => Vec::new(),
            Some(_) => read
                .list("webhooks")?
                .iter()
                .map(read_notice)
                .collect::<Result<_, _>>()?,
        },
    })
}

fn read_notice(value: &Value) -> Result<NoticeView, String> {
    let read = Reader(value.as_object().ok_or("a webhook is not an object")?);
    Ok(NoticeView {
        notice: Notice {
            id: read.text("id")?,
            message: read.text("message")?,
            channel: read.text("channel")?,
            state: read.named("event", MessageState::named)?,
            attempts: read.count("attempts")?,
            failure: read.failure()?,
            finished: read.time("finished")?,
        },
        standing: NoticeStanding {
            state: read.named("state", NoticeState::named)?,
            tries: read.count("tries")?,
            since: read.time("since")?,
            next_try: read.optional_time("nextTry")?,
            is_leased: read.flag("leased")?,
            epoch: read.epoch()?,
            ended: read.optional_time("ended")?,
            error: read.optional_text("error")?,
        },
    })
}

fn read_attempt(value: &Value) -> Result<AttemptView, String> {
    let read = Reader(value.as_object().ok_or("an attempt is not an object")?);
    Ok(AttemptView {
        number: read.count("number")?,
        started: read.time("started")?,
        ended: read.optional_time("ended")?,
        result: read.text("result")?,
    })
}

fn read_request(value: &Value) -> Result<StoredRequest, String> {
    let read = Reader(value.as_object().ok_or("a request is not an object")?);
    Ok(StoredRequest {
        method: read.text("method")?,
        path_and_query: read.text("target")?,
        headers: read.headers()?,
        body: read.bytes("body")?,
        idempotency_key: read.text("idempotencyKey")?,
    })
}

fn read_response(value: &Value) -> Result<StoredResponse, String> {
    let read = Reader(value.as_object().ok_or("a response is not an object")?);
    let status = read.count("status")?;
    Ok(StoredResponse {
        status: u16::try_from(status).map_err(|_| format!("{status} is no status code"))?,
        headers: read.headers()?,
        body: read.bytes("body")?,
    })
}

/// Members of an object, each with an error that names it.
struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    fn optional_text(&self, name: &str) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("`{name}` is not text")),
        }
    }

    fn text(&self, name: &str) -> Result<String, String> {
        self.optional_text(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn named<T>(&self, name: &str, known: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let text = self.text(name)?;
        known(&text).ok_or_else(|| format!("`{name}` cannot be `{text}`"))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        let flag = self.0.get(name).and_then(Value::as_bool);
        flag.ok_or_else(|| format!("`{name}` is neither true nor false"))
    }

    fn count(&self, name: &str) -> Result<u32, String> {
        let count = self.0.get(name).and_then(Value::as_u64);
        let count = count.and_then(|count| u32::try_from(count).ok());
        count.ok_or_else(|| format!("`{name}` is not a count"))
    }

    fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let text = self.optional_text(name)?;
        let time = text.map(|text| text.parse().map_err(|_| format!("`{name}` is not a time")));
        time.transpose()
    }

    fn time(&self, name: &str) -> Result<Timestamp, String> {
        self.optional_time(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn bytes(&self, name: &str) -> Result<Bytes, String> {
        decode(&self.text(name)?).ok_or_else(|| format!("`{name}` is not Base64"))
    }

    fn list(&self, name: &str) -> Result<&[Value], String> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.map(Vec::as_slice).ok_or_else(|| format!("`{name}` is not a list"))
    }

    fn epoch(&self) -> Result<u64, String> {
        let epoch = self.0.get("epoch").and_then(Value::as_u64);
        epoch.ok_or_else(|| "`epoch` is not a number".to_owned())
    }

    fn failure(&self) -> Result<Option<Failure>, String> {
        let Some(cause) = self.optional_text("cause")? else {
            return Ok(None);
        };
        let class = self.named("class", FailureClass::named)?;
        Ok(Some(Failure { class, cause }))
    }

    fn headers(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let pair = |pair: &Value| {
            let (name, value) = (pair[0].as_str()?, decode(pair[1].as_str()?)?);
            Some((name.to_owned(), value.to_vec()))
        };
        let headers = self.list("headers")?.iter().map(pair).collect::<Option<Vec<_>>>();
        headers.ok_or_else(|| "`headers` is not a list of pairs".to_owned())
    }

    fn transaction(&self) -> Result<Option<(String, String)>, String> {
        match self.0.get("transaction") {
            None | Some(Value::Null) => Ok(None),
            Some(pair) => match (pair[0].as_str(), pair[1].as_str()) {
                (Some(kind), Some(key)) => Ok(Some((kind.to_owned(), key.to_owned()))),
                _ => Err("`transaction` is not a pair".to_owned()),
            },
        }
    }
}

fn decode(text: &str) -> Option<Bytes> {
    Some(BASE64_STANDARD.decode(text).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Act, AttemptOutcome, MemoryLog, MessageLog as _, Outbox as _, conformance::*};

    #[tokio::test]
    async fn a_copy_is_read_as_it_was_written() {
        let log = MemoryLog::default();
        log.subscribe(all_ends());
        admit(&log, 1, "a", 0).await;
        attempt(&log, 1, AttemptOutcome::Delivered(created())).await;
        admit(&log, 2, "a", 2).await;
        claim_one(&log, 3).await;
        admit(&log, 3, "b", 3).await;
        let failure = Failure::technical("reset");
        attempt(&log, 4, AttemptOutcome::Parked { failure }).await;
        admit(&log, 4, "c", 5).await;
        let edit = Act::Edit {
            request: Box::new(message(9, "c").request),
            retry: false,
        };
        log.act("m4", edit, by("jo"), at(6)).await.unwrap();
        for copy in log.export(None, 9).await.unwrap().items {
            let line = write_copy(&copy);
            assert!(!line.contains('\n'));
            assert_eq!(read_copy(&line), Ok(copy));
        }
    }

    #[test]
    fn what_is_no_copy_is_told() {
        for (line, expected) in [
            ("{", "not JSON"),
            ("[]", "not an object"),
            ("{}", "no message that"),
            (r#"{"form":2}"#, "newer release"),
            (r#"{"form":1}"#, "is missing"),
        ] {
            let wrong = read_copy(line).unwrap_err();
            assert!(wrong.contains(expected) || wrong.contains('`'), "{wrong}");
        }
    }
}
