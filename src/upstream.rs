//! Back-end systems: which endpoint is asked, over which connection, for how long, and when it is left alone.

pub mod breaker;
mod budget;
mod endpoint;
pub(crate) mod headers;
mod link;
pub mod pool;
mod wire;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    body::Body,
    config::{HonouredSpec, RepeatsSpec, UpstreamSpec, resolve},
    exchange::Attempt,
    problem::{Refusal, UpstreamCause},
    telemetry::{AttemptResult, UpstreamMetrics},
};

#[doc(hidden)]
pub use wire::{WholeResponse, whole_response};

use breaker::BreakerState;
use budget::RetryBudget;
use endpoint::{Endpoint, SendError};

/// One back-end system. Outlives snapshots as long as its file is unchanged, and its breakers and pools with it.
pub struct Upstream {
    /// Its name in the policies.
    pub name: Arc<str>,
    spec: UpstreamSpec,
    /// Its file's text, to see whether anything changed.
    source: Arc<str>,
    endpoints: Vec<Endpoint>,
    /// Counts requests: endpoints take turns, and each request is a first attempt.
    turn: AtomicU64,
    /// Requests among them that are further attempts of queued messages.
    repeated: AtomicU64,
    budget: RetryBudget,
    credentials: Vec<(HeaderName, HeaderValue)>,
    metrics: UpstreamMetrics,
}

/// A request ready for an upstream: path and query are the upstream's own.
pub struct Outbound {
    pub method: Method,
    pub path_and_query: String,
    pub headers: HeaderMap,
    pub body: Body,
}

impl Upstream {
    /// Resolves addresses, certificate authorities and credentials. Errors are phrases for a diagnostic.
    pub fn new(spec: UpstreamSpec, source: Arc<str>, folder: &Path, metrics: UpstreamMetrics) -> Result<Self, String> {
        let tls = client_tls(&spec, folder)?;
        let endpoints = spec
            .endpoints
            .iter()
            .map(|url| Endpoint::new(&url.value, &spec, tls.as_ref()))
            .collect::<Result<Vec<_>, String>>()?;
        let credentials = spec.credentials.iter().map(|credential| {
            let name = HeaderName::try_from(credential.header.as_str())
                .map_err(|_| format!("`{}` is not the name of a header field", credential.header))?;
            let text = resolve(&credential.value.value, folder)?;
            let mut value = HeaderValue::try_from(text.as_str())
                .map_err(|_| format!("the secret for `{name}` has characters that a header field cannot carry"))?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        let floor = spec.retry_budget.floor;
        let floor = f64::from(floor.count.get()) / floor.per.as_secs_f64();
        Ok(Self {
            name: spec.name.value.as_str().into(),
            budget: RetryBudget::new(spec.retry_budget.share.0, floor, Instant::now()),
            repeated: AtomicU64::new(0),
            credentials: credentials.collect::<Result<_, String>>()?,
            turn: AtomicU64::new(0),
            endpoints,
            metrics,
            source,
            spec,
        })
    }

    /// Whether another one was written alike and has the same secrets.
    pub fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.credentials == other.credentials
    }

    /// What was written of it.
    pub fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// How it takes an idempotency key, where it honours one.
    pub fn honours_repeats(&self) -> Option<&HonouredSpec> {
        match &self.spec.repeats {
            RepeatsSpec::Honoured(honoured) => Some(honoured),
            RepeatsSpec::Unsafe => None,
        }
    }

    /// The path that a `Location` of this upstream means, below the base path of its endpoints; `None` where it leads
    /// elsewhere.
    pub fn own_path<'a>(&self, location: &'a str) -> Option<&'a str> {
        self.endpoints.iter().find_map(|endpoint| endpoint.own_path(location))
    }

    /// Whether a request would be let through by any endpoint's breaker.
    pub fn is_open_for_requests(&self) -> bool {
        let now = Instant::now();
        self.endpoints.iter().any(|endpoint| endpoint.breaker.would_admit(now))
    }

    /// Whether the budget has a retry for a queued message that was tried before; it is taken then.
    pub fn may_repeat(&self) -> bool {
        let may = self.may_retry();
        if may {
            self.repeated.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    fn may_retry(&self) -> bool {
        let firsts = self
            .turn
            .load(Ordering::Relaxed)
            .saturating_sub(self.repeated.load(Ordering::Relaxed));
        self.budget.take(firsts, Instant::now())
    }

    /// The best state among its endpoints' breakers.
    pub fn breaker_state(&self) -> BreakerState {
        let states = self.endpoints.iter().map(|endpoint| endpoint.breaker.state());
        states.min_by_key(|state| *state as u8).unwrap_or(BreakerState::Closed)
    }

    /// Sends a request and returns the response's head, its body still streaming.
    ///
    /// Endpoints take turns. A failed connect is tried again, on the next endpoint where there is one; nothing is sent
    /// twice unless the method is idempotent (RFC 9110 §9.2.2) or no byte of it had been sent, and nothing beyond the
    /// upstream's budget of retries. Each attempt is handed to `note`, with a `traceparent` made for it by `trace`.
    pub async fn send(
        &self,
        mut outbound: Outbound,
        trace: impl Fn(u64) -> Option<HeaderValue>,
        note: impl Fn(Attempt),
    ) -> Result<Response<Body>, Refusal> {
        for (name, value) in &self.credentials {
            outbound.headers.insert(name, value.clone());
        }
        // A stream can be sent once.
        let is_repeatable = outbound.method.is_idempotent() && outbound.body.as_bytes().is_some();
        let mut started = Instant::now();
        let deadline = started + self.spec.timeouts.total.0;
        let first = usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        let mut failure = Refusal::Internal;
        for number in 0..self.spec.attempts.get() as usize {
            // Before an endpoint is chosen: whoever a breaker lets in has to go.
            if number > 0 && !self.may_retry() {
                self.metrics.retry_refused();
                break;
            }
            let Some(endpoint) = self.choose(first.wrapping_add(number), started, &mut failure) else {
                break;
            };
            let span_id = fastrand::u64(1..);
            let result = endpoint.send(&mut outbound, trace(span_id), started, deadline).await;
            let ended = Instant::now();
            self.report(endpoint, &result, ended - started);
            note(Attempt {
                span_id,
                upstream: self.name.clone(),
                endpoint: endpoint.label.clone(),
                started,
                ended,
                result: result
                    .as_ref()
                    .map(|response| response.status().as_u16())
                    .map_err(ToString::to_string),
            });
            match result {
                Ok(response) => return Ok(response),
                Err(SendError::NotSent(_)) => failure = self.unavailable(UpstreamCause::Connect),
                Err(SendError::Broken(_)) => {
                    failure = self.unavailable(UpstreamCause::Broken);
                    if !is_repeatable {
                        break;
                    }
                }
                Err(SendError::TimedOut { sent }) => {
                    return Err(Refusal::UpstreamTimeout {
                        upstream: self.name.clone(),
                        sent,
                    });
                }
                Err(SendError::Request(error)) => return Err(error.refusal()),
            }
            started = Instant::now();
            if started >= deadline {
                break;
            }
        }
        Err(failure)
    }

    /// The endpoint whose turn it is, or the next one whose breaker lets a request pass.
    fn choose(&self, turn: usize, now: Instant, failure: &mut Refusal) -> Option<&Endpoint> {
        let mut wait = Duration::MAX;
        for offset in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[turn.wrapping_add(offset) % self.endpoints.len()];
            match endpoint.breaker.admit(now) {
                Ok(()) => return Some(endpoint),
                Err(remaining) => wait = wait.min(remaining),
            }
        }
        // An attempt that failed before says more than the breaker it opened.
        if matches!(failure, Refusal::Internal) {
            *failure = Refusal::UpstreamUnavailable {
                upstream: self.name.clone(),
                cause: UpstreamCause::BreakerOpen,
                retry_after: Some(wait),
            };
        }
        None
    }

    fn report(&self, endpoint: &Endpoint, result: &Result<Response<Body>, SendError>, took: Duration) {
        let outcome = match result {
            Ok(response) => match response.status() {
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    endpoint.breaker.failed(Instant::now());
                    AttemptResult::Status(response.status().as_u16())
                }
                status => {
                    endpoint.breaker.succeeded();
                    AttemptResult::Status(status.as_u16())
                }
            },
            // The caller's fault, not the endpoint's; a probe that ended so has shown nothing.
            Err(SendError::Request(_)) => AttemptResult::Broken,
            Err(error) => {
                endpoint.breaker.failed(Instant::now());
                match error {
                    SendError::NotSent(_) => AttemptResult::Connect,
                    SendError::TimedOut { .. } => AttemptResult::Timeout,
                    SendError::Broken(_) | SendError::Request(_) => AttemptResult::Broken,
                }
            }
        };
        self.metrics.attempt(outcome, took);
        self.metrics.breaker(self.breaker_state());
    }

    fn unavailable(&self, cause: UpstreamCause) -> Refusal {
        Refusal::UpstreamUnavailable {
            upstream: self.name.clone(),
            cause,
            retry_after: None,
        }
    }
}

fn client_tls(spec: &UpstreamSpec, folder: &Path) -> Result<Option<Arc<rustls::ClientConfig>>, String> {
    if !spec.endpoints.iter().any(|url| url.value.starts_with("https://")) {
        return Ok(None);
    }
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = &spec.certificate_authorities {
        let path = folder.join(path);
        let certificates = CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("cannot read certificate authorities from {}: {error}", path.display()))?;
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| format!("{} holds an unusable certificate: {error}", path.display()))?;
        }
        if roots.is_empty() {
            return Err(format!("{} holds no certificate", path.display()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(Some(Arc::new(
        rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )))
}
