//! Holds requests and responses against the caller's contract version.

use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, header};
use tracing::warn;

use super::{Handling, Next, Policy, Request, Response, buffer::Payload};
use crate::{
    body::Body,
    config::EnforceSpec,
    contract::{Operation, RequestFault},
    exchange::Exchange,
    json::Document,
    problem::{Refusal, Violation},
    telemetry::ValidationMetrics,
};

/// Validates one operation.
pub struct Validate {
    operation: Arc<Operation>,
    request: EnforceSpec,
    response: EnforceSpec,
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
        (request, response): (EnforceSpec, EnforceSpec),
        upstream: Arc<str>,
        limit: u64,
        metrics: ValidationMetrics,
    ) -> Self {
        Self {
            operation,
            request,
            response,
            upstream,
            limit,
            metrics,
        }
    }

    fn check_request(&self, request: &Request) -> Result<(), Refusal> {
        if self.request == EnforceSpec::Off {
            return Ok(());
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
        let Err(fault) = checked else { return Ok(()) };
        self.metrics.request_violated();
        let refusal = match fault {
            RequestFault::Malformed(violations) => malformed(violations),
            RequestFault::Invalid(violations) => Refusal::Invalid { violations },
        };
        if self.request == EnforceSpec::Enforce {
            return Err(refusal);
        }
        if let Some(exchange) = exchange {
            exchange
                .trail()
                .note("crossdock.violation.request", refusal.to_string());
        }
        Ok(())
    }

    async fn check_response(&self, exchange: Option<Arc<Exchange>>, response: Response) -> Result<Response, Refusal> {
        if self.response == EnforceSpec::Off || response.extensions().get::<OwnAnswer>().is_some() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        if self.response == EnforceSpec::Report && http_body::Body::size_hint(&body).lower() > self.limit {
            return Ok(Response::from_parts(parts, body));
        }
        let bytes = body
            .buffer(self.limit)
            .await
            .map_err(|error| Refusal::UpstreamInvalid {
                upstream: self.upstream.clone(),
                detail: error.to_string(),
                violations: Vec::new(),
            })?;
        let violations = match parts.extensions.get::<Parsed>() {
            Some(Parsed(document)) => self
                .operation
                .check_response(parts.status, &parts.headers, Some(document)),
            None => self.violations(parts.status, &parts.headers, &bytes),
        };
        if violations.is_empty() {
            return Ok(Response::from_parts(parts, bytes.into()));
        }
        self.metrics.response_violated();
        if self.response == EnforceSpec::Enforce {
            return Err(Refusal::UpstreamInvalid {
                upstream: self.upstream.clone(),
                detail: format!("its {} answer does not conform to the contract", parts.status.as_u16()),
                violations,
            });
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
