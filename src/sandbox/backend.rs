//! What all back ends have in common: HTTP, idempotency keys, the ledger, faults.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Largest body, in bytes.
const LARGEST: usize = 16 << 20;
/// Entries a ledger keeps. A sandbox that did more forgets none silently: it refuses.
const LEDGER: usize = 200_000;
/// How late a slow back end answers, where nothing else is said.
const LATENCY: Duration = Duration::from_secs(5);

/// What a system does with one call. Knows nothing of HTTP but method, path and status.
pub trait System: Send + 'static {
    /// Answers a call. Effects are in `Reply::effect`, and only there.
    fn call(&mut self, call: &Call<'_>) -> Reply;
}

/// A call of an operation.
pub struct Call<'a> {
    pub method: &'a str,
    /// Path without its first slash, split.
    pub segments: Vec<&'a str>,
    pub query: HashMap<String, String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub body: Value,
}

impl Call<'_> {
    /// A text in the body.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }
}

/// What a system answers.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub location: Option<String>,
    /// The entity tag of what is answered.
    pub etag: Option<String>,
    /// Operation and business key of what was done; `None` where nothing changed.
    pub effect: Option<(&'static str, String)>,
}

impl Reply {
    /// A plain answer.
    pub fn ok(body: Value) -> Self {
        Self {
            status: 200,
            body,
            location: None,
            etag: None,
            effect: None,
        }
    }

    /// Something was done.
    pub fn done(status: u16, body: Value, operation: &'static str, key: impl Into<String>) -> Self {
        Self {
            status,
            body,
            location: None,
            etag: None,
            effect: Some((operation, key.into())),
        }
    }

    /// Where the new thing is.
    #[must_use]
    pub fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// By which later changes can be made on condition.
    #[must_use]
    pub fn tagged(mut self, tag: String) -> Self {
        self.etag = Some(tag);
        self
    }

    /// The caller has it already.
    pub fn not_modified() -> Self {
        Self {
            status: 304,
            ..Self::ok(Value::Null)
        }
    }

    /// A refusal as problem document.
    pub fn refused(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let title = StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Refused");
        let body =
            json!({ "type": "about:blank", "title": title, "status": status, "detail": detail.into(), "code": code });
        Self {
            status,
            body,
            location: None,
            etag: None,
            effect: None,
        }
    }

    /// A refusal that says where in the body the fault is, by its JSON Pointer.
    pub fn refused_at(status: u16, code: &str, detail: impl Into<String>, pointer: &str) -> Self {
        let detail = detail.into();
        let mut reply = Self::refused(status, code, detail.clone());
        reply.body["errors"] = json!([{ "pointer": pointer, "detail": detail }]);
        reply
    }

    /// No such thing.
    pub fn not_found(what: &str) -> Self {
        Self::refused(404, "NOT_FOUND", format!("there is no {what}"))
    }
}

/// How a back end behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As it should.
    #[default]
    Up,
    /// Closes every connection without an answer, and does nothing.
    Down,
    /// Does it at once and answers late.
    Slow,
    /// 429 with Retry-After, and does nothing.
    Throttle,
    /// A bit of everything, at random.
    Flaky,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fault {
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
}

/// One entry of a ledger: something was done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    time: Timestamp,
    operation: &'static str,
    idempotency_key: Option<String>,
    business_key: String,
    traceparent: Option<String>,
    body: Value,
}

/// A back end.
pub struct Backend {
    name: &'static str,
    inner: Mutex<Inner>,
}

struct Inner {
    system: Box<dyn System>,
    fault: Fault,
    ledger: Vec<Entry>,
    /// First answer by idempotency key, with what was asked.
    answers: HashMap<String, (String, Answer)>,
    random: fastrand::Rng,
}

/// An answer that can be given again.
#[derive(Clone)]
struct Answer {
    status: u16,
    body: Bytes,
    content_type: &'static str,
    location: Option<String>,
    etag: Option<String>,
}

/// What a fault makes of a call.
struct Play {
    has_effect: bool,
    delay: Duration,
    ending: Ending,
}

enum Ending {
    Answer,
    Close,
    Status(u16),
}

impl Backend {
    /// One that behaves as it should.
    pub fn new(name: &'static str, system: Box<dyn System>) -> Self {
        let fault = Fault {
            mode: Mode::Up,
            latency_ms: None,
        };
        // Seeded, so that a flaky run can be told from another by its length alone.
        let random = fastrand::Rng::with_seed(0x00C0_FFEE);
        Self {
            name,
            inner: Mutex::new(Inner {
                system,
                fault,
                ledger: Vec::new(),
                answers: HashMap::new(),
                random,
            }),
        }
    }

    /// Serves until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
                () = stop.cancelled() => return,
            };
            let _ = stream.set_nodelay(true);
            let backend = self.clone();
            let service = service_fn(move |request| backend.clone().answer(request));
            tokio::spawn(async move {
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    /// An error closes the connection without an answer.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
        let (parts, body) = request.into_parts();
        let field = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (key, traceparent) = (
            field("idempotency-key").map(|key| key.trim_matches('"').to_owned()),
            field("traceparent"),
        );
        let Ok(body) = Limited::new(body, LARGEST).collect().await else {
            return Ok(respond(&reply(Reply::refused(
                413,
                "TOO_LARGE",
                "the body is larger than 1 MiB",
            ))));
        };
        let bytes = body.to_bytes();
        if let Some(response) = self.control(parts.method.as_str(), parts.uri.path(), &bytes) {
            return Ok(response);
        }
        let play = self.play();
        let answer = play.has_effect.then(|| {
            let call = Call {
                method: parts.method.as_str(),
                segments: parts.uri.path().trim_matches('/').split('/').collect(),
                query: query(parts.uri.query().unwrap_or_default()),
                if_match: field("if-match"),
                if_none_match: field("if-none-match"),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            self.act(&call, key, traceparent)
        });
        tokio::time::sleep(play.delay).await;
        match (play.ending, answer) {
            (Ending::Answer, Some(answer)) => Ok(respond(&answer)),
            (Ending::Status(429), _) => {
                let mut response = respond(&reply(Reply::refused(429, "THROTTLED", "too many calls")));
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
                Ok(response)
            }
            (Ending::Status(status), _) => Ok(respond(&reply(Reply::refused(
                status,
                "FAULT",
                "a fault of the sandbox",
            )))),
            (Ending::Close | Ending::Answer, _) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// `/sandbox/…` works in every mode.
    fn control(&self, method: &str, path: &str, body: &[u8]) -> Option<Response<Full<Bytes>>> {
        let path = path.strip_prefix("/sandbox/")?;
        let mut inner = self.lock();
        let answer = match (method, path) {
            ("GET", "ledger") => Reply::ok(serde_json::to_value(&inner.ledger).unwrap_or_default()),
            ("GET", "fault") => Reply::ok(serde_json::to_value(inner.fault).unwrap_or_default()),
            ("POST" | "PUT", "fault") => match serde_json::from_slice::<Fault>(body) {
                Ok(fault) => {
                    inner.fault = fault;
                    tracing::info!(backend = self.name, mode = ?fault.mode, "back end switched");
                    Reply::ok(serde_json::to_value(fault).unwrap_or_default())
                }
                Err(error) => Reply::refused(
                    400,
                    "BAD_FAULT",
                    format!("{error}; write {{\"mode\": \"down|slow|throttle|flaky|up\", \"latencyMs\": 3000}}"),
                ),
            },
            _ => Reply::not_found("such sandbox resource; there are /sandbox/ledger and /sandbox/fault"),
        };
        Some(respond(&reply(answer)))
    }

    fn play(&self) -> Play {
        let mut inner = self.lock();
        let latency = inner.fault.latency_ms.map_or(LATENCY, Duration::from_millis);
        let play = |has_effect, delay, ending| Play {
            has_effect,
            delay,
            ending,
        };
        let at_once = Duration::ZERO;
        match inner.fault.mode {
            Mode::Up => play(true, at_once, Ending::Answer),
            Mode::Down => play(false, at_once, Ending::Close),
            Mode::Slow => play(true, latency, Ending::Answer),
            Mode::Throttle => play(false, at_once, Ending::Status(429)),
            Mode::Flaky => match inner.random.u8(0..10) {
                0 => play(false, at_once, Ending::Close),
                1 => play(true, at_once, Ending::Close),
                2 => play(false, at_once, Ending::Status(500)),
                3 => play(false, at_once, Ending::Status(503)),
                4 => play(true, Duration::from_millis(1_500), Ending::Answer),
                5 => play(false, at_once, Ending::Status(429)),
                _ => play(true, at_once, Ending::Answer),
            },
        }
    }

    /// Does it, once per idempotency key.
    fn act(&self, call: &Call<'_>, key: Option<String>, traceparent: Option<String>) -> Answer {
        let mut inner = self.lock();
        let asked = format!("{} {}", call.method, call.segments.join("/"));
        let remembered = key.as_ref().filter(|_| call.method != "GET");
        if let Some((first, answer)) = remembered.and_then(|key| inner.answers.get(key)) {
            return if *first == asked {
                answer.clone()
            } else {
                reply(Reply::refused(
                    422,
                    "KEY_REUSED",
                    "this Idempotency-Key was used for another operation",
                ))
            };
        }
        if inner.ledger.len() >= LEDGER {
            return reply(Reply::refused(
                507,
                "LEDGER_FULL",
                "the sandbox keeps 200,000 entries; start it again",
            ));
        }
        let given = inner.system.call(call);
        let effect = given.effect.clone();
        let answer = reply(given);
        if let Some((operation, business_key)) = effect {
            let entry = Entry {
                time: Timestamp::now(),
                operation,
                idempotency_key: key.clone(),
                business_key,
                traceparent,
                body: call.body.clone(),
            };
            inner.ledger.push(entry);
            if let Some(key) = key {
                inner.answers.insert(key, (asked, answer.clone()));
            }
        }
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reply(reply: Reply) -> Answer {
    let content_type = if reply.status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    let body = if matches!(reply.status, 204 | 304) {
        Bytes::new()
    } else {
        reply.body.to_string().into()
    };
    Answer {
        status: reply.status,
        body,
        content_type,
        location: reply.location,
        etag: reply.etag,
    }
}

fn respond(answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body.clone()));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !answer.body.is_empty() {
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(answer.content_type),
        );
    }
    if let Some(location) = answer.location.as_deref().and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(tag) = answer.etag.as_deref().and_then(|tag| tag.parse().ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn query(text: &str) -> HashMap<String, String> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it is told to do.
    struct Counter(u32);

    impl System for Counter {
        fn call(&mut self, call: &Call<'_>) -> Reply {
            if call.method == "GET" {
                return Reply::ok(json!(self.0));
            }
            self.0 += 1;
            Reply::done(201, json!(self.0), "count", "it")
        }
    }

    fn backend() -> Backend {
        Backend::new("test", Box::new(Counter(0)))
    }

    fn post(backend: &Backend, key: Option<&str>, path: &str) -> Answer {
        let call = Call {
            method: "POST",
            segments: vec![path],
            query: HashMap::new(),
            if_match: None,
            if_none_match: None,
            body: Value::Null,
        };
        backend.act(&call, key.map(str::to_owned), None)
    }

    #[test]
    fn the_same_key_has_one_effect_and_one_answer() {
        let backend = backend();
        assert_eq!(post(&backend, Some("k"), "a").body, "1");
        assert_eq!(post(&backend, Some("k"), "a").body, "1");
        assert_eq!(post(&backend, Some("k"), "b").status, 422);
        assert_eq!(post(&backend, None, "a").body, "2");
        assert_eq!(backend.lock().ledger.len(), 2);
    }

    #[test]
    fn faults_are_switched_and_shown_in_every_mode() {
        let backend = backend();
        for mode in ["down", "slow", "throttle", "flaky", "up"] {
            let body = format!(r#"{{"mode":"{mode}"}}"#);
            assert_eq!(
                backend
                    .control("POST", "/sandbox/fault", body.as_bytes())
                    .unwrap()
                    .status(),
                200
            );
            assert_eq!(backend.control("GET", "/sandbox/ledger", b"").unwrap().status(), 200);
        }
        assert_eq!(
            backend
                .control("POST", "/sandbox/fault", br#"{"mode":"sleepy"}"#)
                .unwrap()
                .status(),
            400
        );
        assert!(backend.control("GET", "/orders", b"").is_none());
    }

    #[test]
    fn down_does_nothing_and_slow_does_it_before_it_answers() {
        let backend = backend();
        backend.lock().fault.mode = Mode::Down;
        assert!(matches!(
            backend.play(),
            Play {
                has_effect: false,
                ending: Ending::Close,
                ..
            }
        ));
        backend.lock().fault.mode = Mode::Slow;
        assert!(matches!(
            backend.play(),
            Play {
                has_effect: true,
                delay: LATENCY,
                ending: Ending::Answer
            }
        ));
    }

    #[test]
    fn a_query_is_decoded() {
        assert_eq!(query("a=b%20c&d=+&e")["a"], "b c");
        assert_eq!(query("a=b%20c&d=+&e")["e"], "");
    }
}
