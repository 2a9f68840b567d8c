//! Holds requests and responses against the caller's contract version.

mod modes;

use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, header};
use tracing::warn;

pub use modes::{Mode, Modes};

use super::{
    Handling, Next, Policy, Request, Response,
    buffer::{Payload, Unread},
};
use crate::{
    body::{Body, BodyError},
    config::EnforceSpec,
    contract::{Operation, RequestFault},
    exchange::Exchange,
    json::Document,
    lifecycle::trial::compare::pattern,
    problem::{Refusal, Violation},
    telemetry::{Direction, ValidationMetrics},
};

/// Validates one operation.
pub struct Validate {
    operation: Arc<Operation>,
    modes: Modes,
    upstream: Arc<str>,
    /// Largest response that is looked at, in bytes.
    limit: u64,
    metrics: ValidationMetrics,
}

/// Marks a response that the gateway made itself: it is in no contract's words.
#[derive(Clone, Copy, Debug)]
pub struct OwnAnswer;

/// The response's body, where a mapping made it: in the response's extensions, so that it is not parsed again.
#[derive(Clone)]
pub struct Parsed(pub Arc<Document>);

impl Validate {
    /// `limit` bounds, in bytes, the response bodies that are read.
    pub fn new(
        operation: Arc<Operation>,
        modes: Modes,
        upstream: Arc<str>,
        limit: u64,
        metrics: ValidationMetrics,
    ) -> Self {
        Self {
            operation,
            modes,
            upstream,
            limit,
            metrics,
        }
    }

    fn mode(&self, exchange: Option<&Arc<Exchange>>) -> Mode {
        let channel = exchange.and_then(|exchange| exchange.caller.get());
        self.modes.of(channel.map_or("", |caller| &caller.channel))
    }

    fn check_request(&self, request: &Request) -> Result<(), Refusal> {
        let exchange = Exchange::of(request);
        let mode = self.mode(exchange).request;
        if !is_looked_at(mode) {
            return Ok(());
        }
        let refusal = self.request_refusal(request);
        let violations = refusal.as_ref().map_or(&[][..], Refusal::violations);
        self.count(exchange, Direction::Request, violations);
        let Some(refusal) = refusal else { return Ok(()) };
        self.metrics.request_violated();
        if mode == EnforceSpec::Enforce {
            return Err(refusal);
        }
        if let Some(exchange) = exchange {
            exchange
                .trail()
                .note("crossdock.violation.request", refusal.to_string());
        }
        Ok(())
    }

    /// What a request would be refused with if its contract was enforced.
    fn request_refusal(&self, request: &Request) -> Option<Refusal> {
        if let Some(Unread(violation)) = request.extensions().get::<Unread>() {
            let violations = vec![violation.clone()];
            return Some(Refusal::Invalid { violations });
        }
        let exchange = Exchange::of(request);
        let path_values = exchange
            .and_then(|exchange| exchange.path_values.get())
            .map_or(&[][..], Vec::as_slice);
        let document = Payload::of(request);
        let checked = self.operation.check_request(
            path_values,
            request.uri().query(),
            request.headers(),
            document.as_deref(),
        );
        match checked {
            Ok(()) => self.broken_rules(exchange, request, document.as_deref()),
            Err(RequestFault::Malformed(violations)) => Some(malformed(violations)),
            Err(RequestFault::Invalid(violations)) => Some(Refusal::Invalid { violations }),
        }
    }

    /// What a request that conforms says against the rules of the business.
    fn broken_rules(
        &self,
        exchange: Option<&Arc<Exchange>>,
        request: &Request,
        document: Option<&Document>,
    ) -> Option<Refusal> {
        let caller = exchange.and_then(|exchange| exchange.caller.get());
        let channel = caller.map_or("", |caller| &*caller.channel);
        let violations = self.operation.check_rules(request.headers(), document?, channel);
        (!violations.is_empty()).then_some(Refusal::RuleBroken { violations })
    }

    fn count(&self, exchange: Option<&Arc<Exchange>>, direction: Direction, violations: &[Violation]) {
        let caller = exchange.and_then(|exchange| exchange.caller.get());
        let places = violations.iter().map(|violation| pattern(&violation.at));
        self.metrics.checked(caller, direction, &self.operation.id, places);
    }

    async fn check_response(&self, exchange: Option<Arc<Exchange>>, response: Response) -> Result<Response, Refusal> {
        let mode = self.mode(exchange.as_ref()).response;
        // "Not modified" is HTTP's own answer to a condition, and no contract's.
        let is_own = response.extensions().get::<OwnAnswer>().is_some();
        if is_own || response.status() == StatusCode::NOT_MODIFIED || !is_looked_at(mode) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = if mode == EnforceSpec::Enforce {
            let refused = |error: BodyError| self.refused(error.to_string(), Vec::new());
            body.buffer(self.limit).await.map_err(refused)?
        } else {
            // A report changes nothing: what cannot be looked at passes as it comes.
            match body.peek(usize::try_from(self.limit).unwrap_or(usize::MAX)).await {
                Ok(bytes) => bytes,
                Err(whole) => return Ok(Response::from_parts(parts, whole)),
            }
        };
        let violations = match parts.extensions.get::<Parsed>() {
            Some(Parsed(document)) => self
                .operation
                .check_response(parts.status, &parts.headers, Some(document)),
            None => self.violations(parts.status, &parts.headers, &bytes),
        };
        self.count(exchange.as_ref(), Direction::Response, &violations);
        if violations.is_empty() {
            return Ok(Response::from_parts(parts, bytes.into()));
        }
        self.metrics.response_violated();
        if mode == EnforceSpec::Enforce {
            let detail = format!("its {} answer does not conform to the contract", parts.status.as_u16());
            return Err(self.refused(detail, violations));
        }
        if let Some(exchange) = exchange {
            let first = violations
                .first()
                .map_or_else(String::new, |violation| format!("{}: {}", violation.at, violation.what));
            warn!(
                crossdock.operation = %self.operation.id,
                crossdock.request.id = %exchange.id,
                http.response.status_code = parts.status.as_u16(),
                violations = violations.len(),
                first,
                "response does not conform to the contract"
            );
            exchange.trail().note("crossdock.violation.response", first);
        }
        Ok(Response::from_parts(parts, bytes.into()))
    }

    fn refused(&self, detail: String, violations: Vec<Violation>) -> Refusal {
        Refusal::UpstreamInvalid {
            upstream: self.upstream.clone(),
            detail,
            violations,
        }
    }

    fn violations(&self, status: StatusCode, headers: &http::HeaderMap, bytes: &Bytes) -> Vec<Violation> {
        if bytes.is_empty() {
            return self.operation.check_response(status, headers, None);
        }
        let is_json = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_json);
        if !is_json {
            return vec![Violation {
                at: "header:content-type".into(),
                what: "is not a JSON media type".into(),
            }];
        }
        match Document::parse(bytes.clone()) {
            Ok(document) => self.operation.check_response(status, headers, Some(&document)),
            Err(error) => vec![Violation {
                at: String::new(),
                what: format!("is not JSON: {error}"),
            }],
        }
    }
}

impl Policy for Validate {
    fn name(&self) -> &'static str {
        "validate"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            self.check_request(&request)?;
            let exchange = Exchange::of(&request).cloned();
            let response = next.run(request).await?;
            self.check_response(exchange, response).await
        })
    }
}

/// Whether this message is looked at; of a sample, some are.
fn is_looked_at(mode: EnforceSpec) -> bool {
    match mode {
        EnforceSpec::Off => false,
        EnforceSpec::Enforce | EnforceSpec::Report => true,
        EnforceSpec::Sampled(share) => fastrand::f64() < share.0,
    }
}

fn malformed(violations: Vec<Violation>) -> Refusal {
    let detail = match violations.first() {
        Some(first) => format!("{} {}", first.at.replace(':', " parameter "), first.what),
        None => "a parameter cannot be parsed".to_owned(),
    };
    Refusal::MalformedParameters { detail, violations }
}

/// `application/json` and `application/*+json`, parameters aside.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

/// The response with another body.
pub(crate) fn with_body(mut parts: http::response::Parts, body: Bytes) -> Response {
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}
