//! Same key, same answer (draft-ietf-httpapi-idempotency-key-header): a repeat is answered, not executed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use quick_cache::{Weighter, sync::Cache};

use super::{
    Handling, Next, Policy, Request, Response, buffer::Payload, fallback::Recorded, map::Translated, place::Derivation,
    status::accepted, validate::OwnAnswer,
};
use crate::{
    body::Body,
    contract::Mark,
    exchange::Exchange,
    problem::Refusal,
    queue::{Digest, LogError, MessageLog, StoredResponse},
    upstream::headers::IDEMPOTENCY_KEY,
};

/// Longest key, in bytes.
const LONGEST_KEY: usize = 255;
/// Largest answer that is kept for repeats, in bytes.
const LARGEST_ANSWER: u64 = 256 << 10;
/// How long an answer is kept for repeats.
const KEEP: Duration = Duration::from_hours(24);

/// Recognises repeats of one operation.
pub struct Idempotency {
    operation: Arc<str>,
    /// The caller's.
    version: Arc<str>,
    api: Arc<str>,
    is_required: bool,
    /// What makes a key where the client sends none.
    derivation: Option<Derivation>,
    /// How long answers are kept for repeats.
    keep: Duration,
    answers: Arc<Answers>,
    /// Where repeats of queued requests are found, and whether a request goes on while it cannot be asked.
    log: Option<(Arc<dyn MessageLog>, bool)>,
}

/// The idempotency key of a request and what it stands for; in the request's extensions.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// As the client wrote it, without quotes.
    pub key: String,
    /// Digest of channel, API, operation and key.
    pub scope: Digest,
    /// Digest of the request.
    pub fingerprint: Digest,
}

/// Answers given to requests with a key, and requests under way. Outlives snapshots; kept in memory, bounded.
pub struct Answers {
    under_way: Mutex<HashMap<Digest, Digest>>,
    given: Cache<Digest, Arc<Given>, ByBytes>,
}

struct Given {
    fingerprint: Digest,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    until: Instant,
    /// Between which versions, and by which revision, it was translated. It is given again as it was, whatever the
    /// contract has become.
    contract: Option<Arc<Mark>>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Digest, Arc<Given>> for ByBytes {
    fn weight(&self, _: &Digest, given: &Arc<Given>) -> u64 {
        given.body.len() as u64 + 1_024
    }
}

impl Answers {
    /// Keeps at most so many bytes of answers.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 2_048).unwrap_or(usize::MAX);
        Self {
            under_way: Mutex::default(),
            given: Cache::with_weighter(items, bytes, ByBytes),
        }
    }

    /// Marks a request as under way until the guard is dropped.
    fn begin(self: &Arc<Self>, keyed: &Keyed) -> Result<UnderWay, Refusal> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.get(&keyed.scope) {
            Some(fingerprint) if *fingerprint == keyed.fingerprint => Err(Refusal::IdempotencyInFlight {
                retry_after: Duration::from_secs(1),
            }),
            Some(_) => Err(Refusal::IdempotencyKeyReused),
            None => {
                under_way.insert(keyed.scope, keyed.fingerprint);
                Ok(UnderWay {
                    answers: self.clone(),
                    scope: keyed.scope,
                })
            }
        }
    }

    fn find(&self, keyed: &Keyed, exchange: Option<&Arc<Exchange>>) -> Result<Option<Response>, Refusal> {
        let Some(given) = self
            .given
            .get(&keyed.scope)
            .filter(|given| Instant::now() < given.until)
        else {
            return Ok(None);
        };
        if given.fingerprint != keyed.fingerprint {
            return Err(Refusal::IdempotencyKeyReused);
        }
        if let (Some(exchange), Some(contract)) = (exchange, &given.contract) {
            exchange.trail().note("crossdock.contract", &*contract.label);
        }
        Ok(Some(replay(given.status, given.headers.clone(), given.body.clone())))
    }
}

/// A request under way; the mark goes when the request ends, however it ends.
struct UnderWay {
    answers: Arc<Answers>,
    scope: Digest,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.answers
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.scope);
    }
}

impl Idempotency {
    /// For one operation; `log` where its requests may be queued, with whether a request goes on while it is away.
    pub fn new(
        api: Arc<str>,
        (operation, version): (Arc<str>, Arc<str>),
        is_required: bool,
        (derivation, keep): (Option<Derivation>, Option<Duration>),
        answers: Arc<Answers>,
        log: Option<(Arc<dyn MessageLog>, bool)>,
    ) -> Self {
        Self {
            operation,
            version,
            api,
            is_required,
            derivation,
            keep: keep.unwrap_or(KEEP),
            answers,
            log,
        }
    }

    fn keyed(&self, request: &Request) -> Result<Option<Keyed>, Refusal> {
        let given = key(request.headers())?;
        let Some(key) = given.or_else(|| self.derived(request)) else {
            if self.is_required {
                let detail = if self.derivation.is_some() {
                    "this operation needs an Idempotency-Key, or what its API derives one from"
                } else {
                    "this operation needs an Idempotency-Key: any text that is unique to this request"
                };
                return Err(Refusal::IdempotencyKeyMissing { detail: detail.into() });
            }
            return Ok(None);
        };
        let channel = Exchange::of(request).and_then(|exchange| exchange.caller.get());
        let channel = channel.map_or("", |caller| &caller.channel);
        let scope = digest(&[
            channel.as_bytes(),
            self.api.as_bytes(),
            self.operation.as_bytes(),
            key.as_bytes(),
        ]);
        Ok(Some(Keyed {
            fingerprint: fingerprint(request, &self.version),
            scope,
            key,
        }))
    }

    fn derived(&self, request: &Request) -> Option<String> {
        let exchange = Exchange::of(request);
        let path_values = exchange.and_then(|exchange| exchange.path_values.get());
        let path_values = path_values.map_or(&[][..], Vec::as_slice);
        let document = Payload::of(request);
        self.derivation
            .as_ref()?
            .key(request.headers(), path_values, document.as_deref())
    }

    /// The answer to a request that was queued before.
    async fn queued(&self, keyed: &Keyed) -> Result<Option<Response>, Refusal> {
        let Some((log, forwards_unknown)) = &self.log else {
            return Ok(None);
        };
        let found = match log.find(keyed.scope).await {
            // What may not be sent without a record, or may overtake one that waits, will not be: that needs the store
            // too. A repeat of what was queued is the upstream's to recognise.
            Err(LogError::Unavailable(_)) if *forwards_unknown => None,
            found => found.map_err(|error| Refusal::QueueUnavailable {
                cause: error.to_string().into(),
                retry_after: Duration::from_secs(5),
            })?,
        };
        match found {
            None => Ok(None),
            Some((_, fingerprint)) if fingerprint != keyed.fingerprint => Err(Refusal::IdempotencyKeyReused),
            // A record of an attempt that its caller still waits for, here or on another node.
            Some((view, _)) if view.is_being_answered() => Err(Refusal::IdempotencyInFlight {
                retry_after: Duration::from_secs(1),
            }),
            Some((view, _)) => Ok(Some(match &view.response {
                Some(response) => stored(response),
                None => accepted(&view, true),
            })),
        }
    }
}

impl Policy for Idempotency {
    fn name(&self) -> &'static str {
        "idempotency"
    }

    fn handle<'a>(&'a self, mut request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let Some(keyed) = self.keyed(&request)? else {
                return next.run(request).await;
            };
            if let Some(response) = self.answers.find(&keyed, Exchange::of(&request))? {
                return Ok(response);
            }
            let _under_way = self.answers.begin(&keyed)?;
            if let Some(response) = self.queued(&keyed).await? {
                return Ok(response);
            }
            if !request.headers().contains_key(IDEMPOTENCY_KEY)
                && let Ok(derived) = HeaderValue::try_from(keyed.key.as_str())
            {
                // The upstream gets it like one that was sent.
                request.headers_mut().insert(IDEMPOTENCY_KEY, derived);
            }
            request.extensions_mut().insert(keyed.clone());
            let response = next.run(request).await?;
            self.keep(&keyed, response).await
        })
    }
}

impl Idempotency {
    /// Keeps a definite answer of the upstream. What may turn out otherwise next time is not kept.
    async fn keep(&self, keyed: &Keyed, mut response: Response) -> Result<Response, Refusal> {
        if let Some(recorded) = response.extensions_mut().remove::<Recorded>() {
            // It is on disk that it was sent; its answer has to be there before the client has it.
            return recorded.answered(response).await;
        }
        let status = response.status();
        let is_definite = !status.is_server_error()
            && !matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        let is_own = response.extensions().get::<OwnAnswer>().is_some();
        if !is_definite || is_own || http_body::Body::size_hint(response.body()).lower() > LARGEST_ANSWER {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = match body.as_bytes() {
            Some(bytes) => bytes,
            // Nobody read it yet; a length that is not announced is not worth the risk of reading too much.
            None if http_body::Body::size_hint(&body).exact().is_none() => {
                return Ok(Response::from_parts(parts, body));
            }
            None => body
                .buffer(LARGEST_ANSWER)
                .await
                .map_err(|error| Refusal::UpstreamInvalid {
                    upstream: self.api.clone(),
                    detail: error.to_string(),
                    violations: Vec::new(),
                })?,
        };
        let given = Given {
            fingerprint: keyed.fingerprint,
            status,
            headers: parts.headers.clone(),
            // A slice would keep all of the buffer it was read or written in.
            body: Bytes::copy_from_slice(&bytes),
            until: Instant::now() + self.keep,
            contract: parts
                .extensions
                .get::<Translated>()
                .map(|translated| translated.0.clone()),
        };
        self.answers.given.insert(keyed.scope, Arc::new(given));
        Ok(Response::from_parts(parts, Body::from(bytes)))
    }
}

/// The key a client sent: an sf-string (RFC 9651 §3.3.3) or the bare text that many clients send.
fn key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let missing = |detail: &'static str| Refusal::IdempotencyKeyMissing { detail: detail.into() };
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(missing("the Idempotency-Key is given more than once"));
    }
    let text = value
        .to_str()
        .map_err(|_| missing("the Idempotency-Key is not printable ASCII"))?
        .trim();
    let text = match text.strip_prefix('"') {
        Some(quoted) => quoted
            .strip_suffix('"')
            .ok_or_else(|| missing("the Idempotency-Key lacks its closing quote"))?,
        None => text,
    };
    if text.is_empty() || text.len() > LONGEST_KEY {
        return Err(missing("the Idempotency-Key must have 1 to 255 characters"));
    }
    Ok(Some(text.to_owned()))
}

/// Digest of what makes two requests the same: method, target, content type and body. Members may come in any order,
/// numbers are compared as they are written: `1.0` is not `1.00`. An answer is given again to whoever asked in the same
/// contract version, named in whatever place.
fn fingerprint(request: &Request, version: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    };
    part(request.method().as_str().as_bytes());
    part(version.as_bytes());
    part(request.uri().path().as_bytes());
    part(request.uri().query().unwrap_or_default().as_bytes());
    part(
        request
            .headers()
            .get(header::CONTENT_TYPE)
            .map_or(b"", HeaderValue::as_bytes),
    );
    if let Some(document) = Payload::of(request) {
        document.root().canonical_digest(&mut part);
    }
    finish(context)
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    finish(context)
}

fn finish(context: Context) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn stored(response: &StoredResponse) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name.as_str()),
            HeaderValue::from_bytes(value),
        ) {
            headers.append(name, value);
        }
    }
    replay(
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK),
        headers,
        response.body.clone(),
    )
}

fn replay(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert("idempotency-replayed", HeaderValue::from_static("true"));
    response.extensions_mut().insert(OwnAnswer);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (IDEMPOTENCY_KEY, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        assert_eq!(key(&headers(&["\"po-1\""])).unwrap(), Some("po-1".to_owned()));
        assert_eq!(key(&headers(&["po-1"])).unwrap(), Some("po-1".to_owned()));
        assert_eq!(key(&headers(&[])).unwrap(), None);
    }

    #[test]
    fn a_malformed_key_is_refused() {
        for wrong in [&["a", "b"][..], &[""], &["\"open"], &["\"\""]] {
            assert!(
                matches!(key(&headers(wrong)), Err(Refusal::IdempotencyKeyMissing { .. })),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn parts_of_a_scope_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }

    #[test]
    fn a_key_in_use_is_a_conflict_until_its_request_ends() {
        let answers = Arc::new(Answers::new(1 << 20));
        let keyed = Keyed {
            key: "k".into(),
            scope: [1; 32],
            fingerprint: [2; 32],
        };
        let first = answers.begin(&keyed).unwrap();
        assert!(matches!(
            answers.begin(&keyed),
            Err(Refusal::IdempotencyInFlight { .. })
        ));
        let other = Keyed {
            fingerprint: [3; 32],
            ..keyed.clone()
        };
        assert!(matches!(answers.begin(&other), Err(Refusal::IdempotencyKeyReused)));
        drop(first);
        assert!(answers.begin(&keyed).is_ok());
    }
}
