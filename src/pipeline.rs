//! The way of a request, in order. Read this first.
//!
//! `handle` is what every request passes. `steps` is what a route adds: compiled once with the snapshot, walked by
//! `Next` for each request.

use std::{
    borrow::Cow,
    net::SocketAddr,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Version, header};
use hyper::body::Incoming;

use crate::{
    body::Body,
    config::{ApiSpec, HeadOfLineSpec, StoreAwaySpec},
    contract::{Mark, Operation, Translation},
    exchange::Exchange,
    lifecycle::{self, ACCEPT_VERSION},
    lookup::Resolver,
    path,
    policy::{
        Next, Policy, Request, Response,
        authenticate::{Authenticate, ChannelTable},
        authorize::Authorize,
        buffer::Buffer,
        fallback::{Fallback, LaneBy, Rank},
        forward::Forward,
        idempotency::Idempotency,
        life::Life,
        limit::Limit,
        map::Map,
        place::{Derivation, Places},
        transaction::Transaction,
        trial::{Canary, Shadow, Tap},
        validate::{Modes, Validate},
    },
    problem::Refusal,
    queue::{HeadOfLine, Limits},
    shared::Shared,
    snapshot::Snapshot,
    telemetry::{TraceContext, ValidationMetrics, hex},
    upstream::{Upstream, headers::X_CORRELATION_ID},
};

/// A body that was not read is thrown away up to this size, in bytes, to use its connection again.
const READ_FOR_NOTHING: u64 = 8 << 10;

/// What is known of the connection a request came over.
#[derive(Clone, Debug)]
pub struct Connection {
    pub peer: SocketAddr,
    pub is_tls: bool,
    /// Largest request body, in bytes.
    pub body_limit: u64,
    /// Longest pause in a request body.
    pub body_pause: Duration,
    /// Bytes of the last request's body that it was answered without; `u64::MAX` where nobody knows how many.
    pub unread: Arc<AtomicU64>,
}

/// What every request passes, from top to bottom.
pub async fn handle(shared: Arc<Shared>, connection: Connection, request: http::Request<Incoming>) -> Response {
    // One snapshot from start to end: a swap never changes a request under way.
    let Some(snapshot) = shared.snapshot.load_full() else {
        return Refusal::Internal.into_response("");
    };
    let exchange = Arc::new(identify(&shared, &connection, request.headers()));
    let (mut parts, incoming) = request.into_parts();
    let (method, uri, version) = (parts.method.clone(), parts.uri.clone(), parts.version);
    parts.extensions.insert(exchange.clone());
    let body = Body::request(
        incoming,
        connection.body_limit,
        connection.body_pause,
        &connection.unread,
    );

    let outcome = walk(&snapshot, &exchange, Request::from_parts(parts, body)).await;

    let mut response = outcome.unwrap_or_else(|refusal| {
        note(&exchange, &refusal);
        refusal.into_response(&exchange.correlation)
    });
    if let Ok(correlation) = HeaderValue::from_str(&exchange.correlation) {
        response.headers_mut().insert(X_CORRELATION_ID, correlation);
    }
    if version < Version::HTTP_2 && connection.unread.load(Ordering::Relaxed) > READ_FOR_NOTHING {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = exchange.route.get();
    let fields = exchange.fields.get().map(|fields| &**fields);
    if let Some(fields) = fields.or_else(|| route.map(|route| &route.fields)) {
        fields.apply(response.headers_mut());
    }
    // Traces, metrics and the access line are made here, once, of what the steps noted on the way.
    let ended = Instant::now();
    let status = response.status().as_u16();
    let metrics = route.map_or(&snapshot.unrouted, |route| &route.metrics);
    metrics.record(&exchange, status, ended);
    shared.access_log.write(&exchange, status, &method, uri.path(), ended);
    if let Some(traces) = &shared.traces {
        traces.record(&exchange, status, &method, uri.path(), ended);
    }
    response
}

/// What operators read of a refusal.
fn note(exchange: &Exchange, refusal: &Refusal) {
    let mut trail = exchange.trail();
    trail.refusal = Some((refusal.slug(), refusal.class()));
    if let Some(step) = refusal.step() {
        trail.note("crossdock.mapping.step", step.to_string());
    }
    if let Refusal::UpstreamUnmappable { pointer, cause, .. } = refusal {
        trail.note("crossdock.mapping.pointer", pointer.as_str());
        trail.note("crossdock.mapping.cause", cause.as_str());
    }
}

/// Finds the route and walks its steps.
async fn walk(snapshot: &Snapshot, exchange: &Exchange, mut request: Request) -> Result<Response, Refusal> {
    if let Cow::Owned(path) = path::normalise(request.uri().path())? {
        *request.uri_mut() = path::with_path(request.uri(), &path)?;
    }
    let path = request.uri().path();
    let found = snapshot.find(request.method(), path).inspect_err(|_| {
        if let Some(fields) = snapshot.fields(path) {
            let _ = exchange.fields.set(fields.clone());
        }
    })?;
    if !found.path_values.is_empty() {
        let _ = exchange.path_values.set(found.path_values);
    }
    if found.route.is_choice {
        let outcome = Next::all(&found.route).run(request).await;
        // Where no version was chosen, the refusal is the API's.
        exchange.route.get_or_init(|| found.route);
        return outcome;
    }
    let route = exchange.route.get_or_init(|| found.route);
    agrees(request.headers(), &route.version)?;
    let _under_way = route.metrics.begin();
    Next::all(route).run(request).await
}

/// A version in the path is the caller's word; another one in `Accept-Version` contradicts it.
fn agrees(headers: &HeaderMap, version: &str) -> Result<(), Refusal> {
    match headers.get(ACCEPT_VERSION) {
        Some(named) if !version.is_empty() && named != version => Err(Refusal::ConflictingVersions {
            detail: format!(
                "the request names two contract versions: {version} in its path and {} in Accept-Version",
                named.to_str().unwrap_or("?")
            ),
        }),
        _ => Ok(()),
    }
}

/// Request id, correlation id, trace context.
fn identify(shared: &Shared, connection: &Connection, headers: &HeaderMap) -> Exchange {
    let sampler = shared.traces.as_ref().map(crate::telemetry::Traces::sampler);
    let trace = TraceContext::from_headers(headers, sampler);
    let id: Arc<str> = hex(fastrand::u128(..).to_be_bytes(), &mut [0; 32]).into();
    let given = headers.get(X_CORRELATION_ID).and_then(|value| value.to_str().ok());
    // What is repeated in logs and answers is short and plain.
    let is_plain = |text: &&str| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let correlation = given.filter(is_plain).map_or_else(|| id.clone(), Arc::from);
    Exchange::new(id, correlation, trace, connection.peer, connection.is_tls)
}

/// One operation of an API in one contract version, about to be compiled.
pub(crate) struct Compiling<'a> {
    pub(crate) spec: &'a ApiSpec,
    pub(crate) version: Arc<str>,
    /// By this version the route of a queued message is found again.
    pub(crate) queued_as: Arc<str>,
    /// Where the version is not in full service: to whom and when it is served.
    pub(crate) life: Option<Arc<lifecycle::Life>>,
    /// `None` where the API has no contract.
    pub(crate) operation: Option<Arc<Operation>>,
    /// The upstream's contract version, and the same operation in it.
    pub(crate) spoken: Option<(Arc<str>, Arc<Operation>)>,
    /// `None` where caller and upstream speak the same version.
    pub(crate) translation: Option<Arc<Translation>>,
    pub(crate) upstream: Arc<Upstream>,
    /// Path at the upstream before the operation's own.
    pub(crate) upstream_path: &'a str,
    /// The request's path before the operation's own path.
    pub(crate) prefix: String,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) shared: &'a Shared,
    /// Answers what mappings ask.
    pub(crate) resolver: Arc<Resolver>,
    /// The candidate that is tried beside it.
    pub(crate) trying: Option<Trying>,
}

/// How a candidate is tried on an operation.
#[derive(Clone)]
pub(crate) enum Trying {
    /// It serves some requests.
    Canary(Arc<Canary>),
    /// It translates some once more.
    Shadow(Arc<Shadow>),
}

/// What a route adds, in order, each step with the reason for its place. Errors are phrases for a diagnostic.
pub(crate) fn steps(route: &Compiling<'_>) -> Result<Vec<Box<dyn Policy>>, String> {
    let mut steps: Vec<Box<dyn Policy>> = Vec::new();
    // Who calls decides everything below.
    steps.push(Box::new(Authenticate::new(
        &route.spec.authenticate,
        route.spec.body.0,
        route.channels.clone(),
        route.shared.tokens.clone(),
    )));
    // Who is served by this version at all, and when, is known with the channel.
    steps.extend(boxed(route.life.clone().map(Life::new)));
    // What may not be done at all costs nothing of the channel's limit.
    steps.extend(boxed(authorize(route)));
    // Before the body: a channel over its limit must not make us read and parse.
    steps.extend(boxed(Limit::compile(
        &route.spec.name.value,
        route.name(),
        &route.spec.limits,
        &route.shared.limiters,
    )));
    // Read and parsed once, for everything below.
    steps.extend(boxed(buffer(route)));
    steps.extend(boxed(transaction(route)?));
    // Before validation: a repeat gets its first answer even if the contract has changed since.
    steps.extend(boxed(idempotency(route)?));
    // In the caller's words, before they are translated; the answer after it was.
    steps.extend(boxed(validate(route)));
    steps.extend(last_steps(route)?);
    Ok(steps)
}

/// The steps in the upstream's words; a candidate has its own. Errors are phrases for a diagnostic.
pub(crate) fn last_steps(route: &Compiling<'_>) -> Result<Vec<Box<dyn Policy>>, String> {
    let mut steps: Vec<Box<dyn Policy>> = Vec::new();
    // Here the ways part: all before is the same for what is live and what is tried.
    match &route.trying {
        Some(Trying::Canary(canary)) => steps.push(Box::new(canary.clone())),
        Some(Trying::Shadow(shadow)) => steps.push(Box::new(shadow.clone())),
        None => {}
    }
    // In the caller's words, which are not kept once they are translated.
    steps.extend(boxed(rank(route)?));
    steps.extend(boxed(map(route)));
    if let Some(Trying::Shadow(_)) = &route.trying {
        steps.push(Box::new(Tap));
    }
    // Around the upstream alone: what is stored is what would have been sent.
    steps.extend(boxed(fallback(route)));
    steps.push(Box::new(forward(route)));
    Ok(steps)
}

fn boxed(step: Option<impl Policy>) -> Option<Box<dyn Policy>> {
    step.map(|step| Box::new(step) as Box<dyn Policy>)
}

impl Compiling<'_> {
    fn name(&self) -> &str {
        self.operation.as_ref().map_or("proxy", |operation| &operation.id)
    }

    fn places(&self, spec: &crate::config::PlacesSpec) -> Result<Places, String> {
        let names = self
            .operation
            .as_ref()
            .map_or(&[][..], |operation| &operation.path_names);
        Places::compile(spec, &self.version, names)
    }

    fn validation(&self) -> ValidationMetrics {
        let api = &self.spec.name.value;
        self.shared
            .metrics
            .validation(api, &self.version, self.name(), self.channels.indexes())
    }

    fn is_keyed(&self) -> bool {
        self.operation
            .as_ref()
            .is_some_and(|operation| !operation.method.is_safe())
    }

    pub(crate) fn is_queueable(&self) -> bool {
        self.spec
            .fallback
            .as_ref()
            .is_some_and(|fallback| fallback.operations.iter().any(|name| name.value == self.name()))
    }
}

fn authorize(route: &Compiling<'_>) -> Option<Authorize> {
    let scopes = route.spec.authorize.scopes.get(route.name())?;
    Authorize::new(&scopes.value)
}

fn buffer(route: &Compiling<'_>) -> Option<Buffer> {
    let operation = route.operation.clone().filter(|operation| operation.takes_body())?;
    let modes = Modes::new(route.spec);
    let is_translated = route.translation.is_some() || route.trying.is_some();
    let is_read = modes.reads_requests() || is_translated || route.is_keyed();
    let is_needed = is_translated || route.spec.idempotency.derive.is_some();
    is_read.then(|| Buffer::new(operation, route.spec.body.0, is_needed, modes))
}

fn transaction(route: &Compiling<'_>) -> Result<Option<Transaction>, String> {
    let Some(spec) = &route.spec.transaction else {
        return Ok(None);
    };
    Ok(Some(Transaction::new(spec.kind.clone(), route.places(&spec.key)?)))
}

fn idempotency(route: &Compiling<'_>) -> Result<Option<Idempotency>, String> {
    if !route.is_keyed() {
        return Ok(None);
    }
    let is_required = route
        .spec
        .idempotency
        .required
        .iter()
        .any(|name| name.value == route.name());
    let forwards_unknown = match route.spec.idempotency.when_store_is_away {
        Some(StoreAwaySpec::Forward) => true,
        Some(StoreAwaySpec::Refuse) => false,
        None => route.upstream.honours_repeats().is_some(),
    };
    let log = route
        .is_queueable()
        .then(|| (route.shared.log.clone(), forwards_unknown));
    let (api, operation) = (route.spec.name.value.as_str().into(), route.name().into());
    let spec = &route.spec.idempotency;
    let names = route
        .operation
        .as_ref()
        .map_or(&[][..], |operation| &operation.path_names);
    let derivation = spec.derive.as_ref();
    let derivation = derivation.map(|derive| Derivation::compile(derive, &route.version, names));
    Ok(Some(Idempotency::new(
        api,
        (operation, route.version.clone()),
        is_required,
        (derivation.transpose()?, spec.keep.map(|keep| keep.0)),
        route.shared.answers.clone(),
        log,
    )))
}

fn validate(route: &Compiling<'_>) -> Option<Validate> {
    let operation = route.operation.clone()?;
    let modes = Modes::new(route.spec);
    if modes.is_off() {
        return None;
    }
    let metrics = route.validation();
    Some(Validate::new(
        operation,
        modes,
        route.upstream.name.clone(),
        route.spec.body.0,
        metrics,
    ))
}

fn map(route: &Compiling<'_>) -> Option<Map> {
    let (version, operation) = route.spoken.clone()?;
    let translation = route.translation.clone()?;
    let metrics = route.validation();
    Some(Map::new(
        translation,
        operation,
        version,
        route.upstream.clone(),
        route.spec.body.0,
        metrics,
        route.resolver.clone(),
    ))
}

fn rank(route: &Compiling<'_>) -> Result<Option<Rank>, String> {
    let (Some(spec), true) = (&route.spec.fallback, route.is_queueable()) else {
        return Ok(None);
    };
    let lane = match &spec.lane {
        Some(lane) => Some(LaneBy {
            by: route.places(&lane.by)?,
            urgent: lane.urgent.clone(),
            bulk: lane.bulk.clone(),
        }),
        None => None,
    };
    let order_by = route.places(&spec.order_by)?;
    Ok(Some(Rank { order_by, lane }))
}

fn fallback(route: &Compiling<'_>) -> Option<Fallback> {
    let spec = route.spec.fallback.as_ref().filter(|_| route.is_queueable())?;
    Some(Fallback {
        api: route.spec.name.value.as_str().into(),
        operation: route.name().into(),
        version: route.queued_as.clone(),
        upstream: route.upstream.name.clone(),
        when: spec.when.clone(),
        deadline: match spec.head_of_line {
            HeadOfLineSpec::Block => Duration::MAX,
            HeadOfLineSpec::Quarantine | HeadOfLineSpec::Skip => spec.deadline.0,
        },
        max_attempts: if spec.head_of_line == HeadOfLineSpec::Block {
            u32::MAX
        } else {
            spec.attempts.get()
        },
        head_of_line: match spec.head_of_line {
            HeadOfLineSpec::Quarantine | HeadOfLineSpec::Block => HeadOfLine::Quarantine,
            HeadOfLineSpec::Skip => HeadOfLine::Skip,
        },
        arriving: route
            .shared
            .arrivals
            .of(&route.spec.name.value, spec.waiting.api.map(NonZeroU64::get)),
        limits: Limits {
            api: spec.waiting.api.map(NonZeroU64::get),
            channel: spec.waiting.channel.map(NonZeroU64::get),
        },
        log: route.shared.log.clone(),
        gates: route.shared.gates.clone(),
        background: route.shared.background.clone(),
        translated: route.spoken.as_ref().map(|(spoken, _)| match &route.translation {
            Some(translation) => Mark::stored(translation),
            None => format!("{spoken}->{spoken}").into(),
        }),
        forward: Arc::new(forward(route)),
        is_durable: route
            .spec
            .idempotency
            .durable
            .iter()
            .any(|name| name.value == route.name()),
        patience: route.upstream.spec().timeouts.total.0,
    })
}

pub(crate) fn forward(route: &Compiling<'_>) -> Forward {
    // Mapped targets and the rest of unmapped paths both begin after the API's own path.
    Forward::new(
        route.upstream.clone(),
        route.prefix.clone(),
        route.upstream_path.trim_end_matches('/').to_owned(),
        route.translation.is_some(),
    )
    .updating(
        route
            .translation
            .as_ref()
            .and_then(|translation| translation.update().cloned()),
        route.spec.body.0,
        &route.resolver,
    )
}
