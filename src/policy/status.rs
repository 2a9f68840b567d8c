//! `/status/{id}`: how a request that was answered with 202 stands.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Handling, Next, Policy, Request, Response, validate::OwnAnswer};
use crate::{
    body::Body,
    exchange::Exchange,
    problem::Refusal,
    queue::{MessageLog, MessageView, status_document},
};

/// Path of the status resource, before the message's id.
pub const PREFIX: &str = "/status/";

/// Answers with a message's status, to the channel that sent it and to no other.
pub struct Status {
    log: Arc<dyn MessageLog>,
}

impl Status {
    /// Reads from this log.
    pub fn new(log: Arc<dyn MessageLog>) -> Self {
        Self { log }
    }
}

impl Policy for Status {
    fn name(&self) -> &'static str {
        "status"
    }

    fn handle<'a>(&'a self, request: Request, _: Next<'a>) -> Handling<'a> {
        let id = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let exchange = Exchange::of(&request).cloned();
        Box::pin(async move {
            if !is_get {
                let allow = HeaderValue::from_static("GET, HEAD");
                return Err(Refusal::MethodNotAllowed {
                    method: request.method().clone(),
                    allow,
                });
            }
            let channel = exchange
                .as_ref()
                .and_then(|exchange| exchange.caller.get())
                .map(|caller| &*caller.channel);
            let known = known_tags(request.headers());
            let wait = wait(request.headers());
            let view = self.look(&id, channel, &known, wait.unwrap_or_default()).await?;
            let tag = tag(&view);
            let mut response = if is_among(&tag, &known) {
                let mut unchanged = Response::new(Body::from(bytes::Bytes::new()));
                *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
                unchanged
            } else {
                document(&view)
            };
            if let Ok(tag) = HeaderValue::try_from(tag) {
                response.headers_mut().insert(header::ETAG, tag);
            }
            if let Some(wait) = wait {
                let applied = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
                response
                    .headers_mut()
                    .extend(applied.ok().map(|applied| (PREFERENCE_APPLIED, applied)));
            }
            if view.finished.is_none() {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Ok(response)
        })
    }
}

/// Longest wait that a client gets (RFC 7240 §4.3).
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// However busy the queue is, a waiting client makes us look only so often.
const GLANCE: Duration = Duration::from_millis(100);
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

impl Status {
    /// How a message stands: at once, or within `wait` when it is no longer as the client knows it. A client that knows
    /// nothing waits for the end.
    async fn look(
        &self,
        id: &str,
        channel: Option<&str>,
        known: &[String],
        wait: Duration,
    ) -> Result<MessageView, Refusal> {
        let until = Instant::now() + wait;
        let moved = self.log.moved();
        loop {
            // From now on, so that no change falls in between.
            let change = moved.notified();
            let view = self.log.get(id).await.map_err(|error| Refusal::QueueUnavailable {
                cause: error.to_string().into(),
                retry_after: Duration::from_secs(5),
            })?;
            // Another channel's message does not exist for this one.
            let view = view
                .filter(|view| Some(view.channel.as_str()) == channel)
                .ok_or(Refusal::UnknownMessage)?;
            let is_news = if known.is_empty() {
                view.state.is_final()
            } else {
                !is_among(&tag(&view), known)
            };
            let now = Instant::now();
            if is_news || now >= until {
                return Ok(view);
            }
            // Where it stands among others changes without a change of its own; the last glance is at the end.
            let _ = timeout_at(until, change).await;
            sleep_until((now + GLANCE).min(until)).await;
        }
    }
}

/// Stands for all that a client sees of a message, except for the time that passes (RFC 9110 §8.8.3).
fn tag(view: &MessageView) -> String {
    let digest = blake3::hash(status_document(view, Timestamp::MIN).as_bytes());
    format!("W/\"{}\"", &digest.to_hex()[..16])
}

/// The tags in `If-None-Match`.
fn known_tags(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().to_owned())
        .collect()
}

/// Compares weakly (RFC 9110 §8.8.3.2).
fn is_among(tag: &str, known: &[String]) -> bool {
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    known.iter().any(|known| known == "*" || opaque(known) == opaque(tag))
}

/// How long the client would wait, `Prefer: wait=N`.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// 202 for a message that was stored, now or by an earlier request with the same key.
pub(crate) fn accepted(view: &MessageView, is_replay: bool) -> Response {
    let mut response = document(view);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}{}", view.id)) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    if is_replay {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response.extensions_mut().insert(OwnAnswer);
    response
}

fn document(view: &MessageView) -> Response {
    let mut response = Response::new(Body::from(status_document(view, Timestamp::now())));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{AttemptOutcome, MemoryLog, conformance::*};

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_wait_is_bounded() {
        let wait = |value| wait(&headers("prefer", value));
        assert_eq!(wait("respond-async, wait=5"), Some(Duration::from_secs(5)));
        assert_eq!(wait("Wait = 86400"), Some(LONGEST_WAIT));
        assert_eq!((wait("wait=soon"), wait("respond-async")), (None, None));
    }

    #[test]
    fn tags_are_compared_weakly() {
        let known = known_tags(&headers("if-none-match", "\"a\", W/\"b\""));
        assert!(is_among("W/\"a\"", &known) && is_among("W/\"b\"", &known));
        assert!(!is_among("W/\"c\"", &known) && is_among("W/\"c\"", &["*".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_is_told_of_the_end() {
        let log = Arc::new(MemoryLog::default());
        let status = Status::new(log.clone());
        admit(&*log, 1, "a", 0).await;
        let now = status.look("m1", Some("shop"), &[], Duration::ZERO).await.unwrap();
        let known = [tag(&now)];
        let wait = Duration::from_secs(30);
        let still = status.look("m1", Some("shop"), &known, wait).await.unwrap();
        assert_eq!(tag(&still), known[0], "nothing happened");

        let (end, news, other) = (
            status.look("m1", Some("shop"), &[], wait),
            status.look("m1", Some("shop"), &known, wait),
            status.look("m1", Some("edi"), &known, wait),
        );
        let works = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let lease = claim_one(&*log, 1).await.lease;
            log.begin_attempt(lease.clone(), at(1)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            log.finish(lease, AttemptOutcome::Delivered(created()), at(2))
                .await
                .unwrap();
        };
        let (end, news, other, ()) = tokio::join!(end, news, other, works);
        assert_eq!(end.unwrap().state, crate::queue::MessageState::Delivered);
        assert_eq!(news.unwrap().state, crate::queue::MessageState::Attempting);
        assert!(matches!(other, Err(Refusal::UnknownMessage)));
    }
}
