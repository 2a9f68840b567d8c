//! Reads a request's body once, bounded, and parses it once, for all policies that look into it.

use std::sync::Arc;

use http::{HeaderMap, header};

use super::{Handling, Next, Policy, Request};
use crate::{body::Body, contract::Operation, json::Document, problem::Refusal};

/// The parsed body of a request, in the caller's contract version; in the request's extensions.
#[derive(Clone)]
pub struct Payload(pub Arc<Document>);

impl Payload {
    /// The document of a request, where it has one.
    pub fn of<B>(request: &http::Request<B>) -> Option<Arc<Document>> {
        request.extensions().get::<Self>().map(|payload| payload.0.clone())
    }
}

/// Buffers and parses.
pub struct Buffer {
    operation: Arc<Operation>,
    limit: u64,
}

impl Buffer {
    /// For one operation; `limit` in bytes.
    pub fn new(operation: Arc<Operation>, limit: u64) -> Self {
        Self { operation, limit }
    }
}

impl Policy for Buffer {
    fn name(&self) -> &'static str {
        "buffer"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
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
            next.run(Request::from_parts(parts, Body::from(bytes))).await
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
