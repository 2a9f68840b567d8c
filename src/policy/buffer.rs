//! Reads a request's body once, bounded, and parses it once, for all policies that look into it.

use std::sync::Arc;

use http::{HeaderMap, header};

use super::{Handling, Next, Policy, Request, validate::Modes};
use crate::{
    body::{Body, BodyError},
    config::EnforceSpec,
    contract::Operation,
    exchange::Exchange,
    json::Document,
    problem::{Refusal, Violation},
    upstream::headers::IDEMPOTENCY_KEY,
};

/// The parsed body of a request, in the caller's contract version; in the request's extensions.
#[derive(Clone)]
pub struct Payload(pub Arc<Document>);

impl Payload {
    /// The document of a request, where it has one.
    pub fn of<B>(request: &http::Request<B>) -> Option<Arc<Document>> {
        request.extensions().get::<Self>().map(|payload| payload.0.clone())
    }
}

/// Why a request's body was not read, where nobody insists on it; in the request's extensions.
#[derive(Clone)]
pub struct Unread(pub Violation);

/// Buffers and parses.
pub struct Buffer {
    operation: Arc<Operation>,
    limit: u64,
    /// A translation cannot do without.
    is_needed: bool,
    modes: Modes,
}

impl Buffer {
    /// For one operation; `limit` in bytes.
    pub fn new(operation: Arc<Operation>, limit: u64, is_needed: bool, modes: Modes) -> Self {
        Self {
            operation,
            limit,
            is_needed,
            modes,
        }
    }

    /// Whether a body that cannot be read is refused. Where violations are only reported, it passes as it is.
    fn insists(&self, request: &Request) -> bool {
        let channel = Exchange::of(request).and_then(|exchange| exchange.caller.get());
        let mode = self.modes.of(channel.map_or("", |caller| &caller.channel));
        // Requests are told apart from repeats by their content.
        self.is_needed || mode.request == EnforceSpec::Enforce || request.headers().contains_key(IDEMPOTENCY_KEY)
    }

    async fn read(&self, request: Request) -> Result<Request, Refusal> {
        let (mut parts, body) = request.into_parts();
        if parts.headers.contains_key(header::CONTENT_TYPE) || !http_body::Body::is_end_stream(&body) {
            check_media_type(&self.operation, &parts.headers)?;
        }
        let bytes = body.buffer(self.limit).await.map_err(|error| error.refusal())?;
        if !bytes.is_empty() {
            let document = Document::parse(bytes.clone()).map_err(|error| Refusal::Malformed {
                detail: format!("the body is not JSON: {error}"),
                pointer: None,
            })?;
            parts.extensions.insert(Payload(Arc::new(document)));
        }
        Ok(Request::from_parts(parts, Body::from(bytes)))
    }

    /// The same, but what cannot be read is left as it came, with the reason.
    async fn try_read(&self, request: Request) -> Request {
        let (mut parts, body) = request.into_parts();
        let has_type = parts.headers.contains_key(header::CONTENT_TYPE) || !http_body::Body::is_end_stream(&body);
        if has_type && let Err(refusal) = check_media_type(&self.operation, &parts.headers) {
            parts.extensions.insert(unread("header:content-type", &refusal));
            return Request::from_parts(parts, body);
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let body = match body.peek(limit).await {
            Ok(bytes) => {
                match Document::parse(bytes.clone()) {
                    Ok(document) => {
                        parts.extensions.insert(Payload(Arc::new(document)));
                    }
                    Err(_) if bytes.is_empty() => {}
                    Err(error) => {
                        parts.extensions.insert(unread("", &error));
                    }
                }
                bytes.into()
            }
            Err(whole) => {
                parts
                    .extensions
                    .insert(unread("", &BodyError::TooLarge { limit: self.limit }));
                whole
            }
        };
        Request::from_parts(parts, body)
    }
}

fn unread(at: &str, why: &dyn std::fmt::Display) -> Unread {
    Unread(Violation {
        at: at.to_owned(),
        what: why.to_string(),
    })
}

impl Policy for Buffer {
    fn name(&self) -> &'static str {
        "buffer"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let request = if self.insists(&request) {
                self.read(request).await?
            } else {
                self.try_read(request).await
            };
            next.run(request).await
        })
    }
}

fn check_media_type(operation: &Operation, headers: &HeaderMap) -> Result<(), Refusal> {
    let unsupported = |found: &str| Refusal::UnsupportedMediaType {
        found: found.to_owned(),
        expected: operation.media_types().collect::<Vec<_>>().join(" or "),
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(unsupported(&format!(
            "with content coding {}",
            encoding.to_str().unwrap_or("?")
        )));
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Err(unsupported("(none)"));
    };
    let text = content_type.to_str().unwrap_or("?");
    let essence = text.split(';').next().unwrap_or_default().trim();
    // A contract that names no media type for an operation without a body leaves nothing to compare.
    if operation.media_types().any(|known| known.eq_ignore_ascii_case(essence)) {
        Ok(())
    } else {
        Err(unsupported(text))
    }
}
