//! What the gateway knows of one request while it travels: identity, trace, route, channel, and what was decided.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Instant, SystemTime},
};

use crate::{
    lifecycle::{Fields, Who},
    snapshot::Route,
    telemetry::TraceContext,
};

/// One request's identity and record. Lives in the request's extensions as `Arc<Exchange>`; the edge keeps another
/// reference, so what the policies noted is still there when the request has been consumed.
#[derive(Debug)]
pub struct Exchange {
    /// When its header had arrived.
    pub started: Instant,
    /// The same instant on the wall clock.
    pub started_at: SystemTime,
    /// Unique id of this request, 32 hexadecimal digits: `X-Request-Id`.
    pub id: Arc<str>,
    /// The caller's `X-Correlation-Id`, else the request's id.
    pub correlation: Arc<str>,
    /// W3C trace context: our server span and its parent.
    pub trace: TraceContext,
    /// Who connected.
    pub peer: SocketAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The route it took, once known.
    pub route: OnceLock<Arc<Route>>,
    /// What the answer carries of its contract version, where the version is known and no route of it was taken.
    pub(crate) fields: OnceLock<Arc<Fields>>,
    /// Percent-decoded values of the operation's path parameters, in the order of its template.
    pub path_values: OnceLock<Vec<String>>,
    /// Who calls, once known.
    pub caller: OnceLock<Caller>,
    trail: Mutex<Trail>,
}

/// An authenticated channel and what it may do with these credentials.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the channel; `anonymous` where nobody was asked.
    pub channel: Arc<str>,
    /// Number of the channel for limiters: the same channel keeps it across snapshots.
    pub index: u32,
    /// Scopes of these credentials, already cut down to the channel's.
    pub scopes: Arc<BTreeSet<String>>,
}

/// What happened to a request, step by step; becomes spans and the access line.
#[derive(Debug, Default)]
pub struct Trail {
    /// Steps in the order they were entered.
    pub steps: Vec<TrailStep>,
    /// Attempts at an upstream.
    pub attempts: Vec<Attempt>,
    /// Facts for span and access line: `crossdock.queue.id`, `crossdock.transaction.key`, …
    pub facts: Vec<(&'static str, String)>,
    /// Slug of the refusal, where there was one.
    pub refusal: Option<(&'static str, crate::problem::FailureClass)>,
    /// The request was accepted into the fallback queue: its trace is kept.
    pub is_queued: bool,
}

/// A step of the route was entered; it decided when the next one was entered, or the request ended.
#[derive(Clone, Copy, Debug)]
pub struct TrailStep {
    /// The policy's name.
    pub name: &'static str,
    /// When it was entered.
    pub entered: Instant,
}

/// One attempt at an upstream.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Id of its client span; the upstream sees it as its parent.
    pub span_id: u64,
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Host and port.
    pub endpoint: Arc<str>,
    /// When it began.
    pub started: Instant,
    /// When its response header, or its failure, was there.
    pub ended: Instant,
    /// Status code, or what failed.
    pub result: Result<u16, String>,
}

impl Exchange {
    /// A request whose header just arrived.
    pub fn new(id: Arc<str>, correlation: Arc<str>, trace: TraceContext, peer: SocketAddr, is_tls: bool) -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            id,
            correlation,
            trace,
            peer,
            is_tls,
            route: OnceLock::new(),
            fields: OnceLock::new(),
            path_values: OnceLock::new(),
            caller: OnceLock::new(),
            trail: Mutex::default(),
        }
    }

    /// The exchange a request belongs to. Every request that came through the pipeline has one.
    pub fn of<B>(request: &http::Request<B>) -> Option<&Arc<Self>> {
        request.extensions().get()
    }

    /// What of the caller counts for who is let in first.
    pub(crate) fn who(&self) -> Who<'_> {
        Who {
            channel: self.caller.get().map_or("", |caller| &caller.channel),
            correlation: &self.correlation,
        }
    }

    /// What happened so far. Held between two awaits, never across one.
    pub fn trail(&self) -> MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trail {
    /// A step of the route is entered.
    pub fn enter(&mut self, name: &'static str) {
        self.steps.push(TrailStep {
            name,
            entered: Instant::now(),
        });
    }

    /// What became of the request, in a word.
    pub fn decision(&self) -> &'static str {
        if self.is_queued {
            "queued"
        } else if self.refusal.is_some() {
            "refused"
        } else if self.attempts.is_empty() {
            "answered"
        } else {
            "forwarded"
        }
    }

    /// Notes a fact.
    pub fn note(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push((name, value.into()));
    }
}
