//! Translates requests to the upstream's contract version and answers back to the caller's. Fails closed.

mod representation;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response::Parts};

use super::{
    Handling, Next, Policy, Request, Response,
    buffer::Payload,
    validate::{OwnAnswer, Parsed, is_json, with_body},
};
use crate::{
    body::Body,
    contract::{Mark, Missed, Operation, Translation},
    exchange::{Attempt, Exchange},
    json::Document,
    lookup::{Asker, Resolver},
    problem::Refusal,
    telemetry::ValidationMetrics,
    upstream::Upstream,
};

/// Path and query at the upstream, below the API's prefix there; in the request's extensions where they were mapped.
#[derive(Clone, Debug)]
pub struct Target(pub String);

/// Between which versions an answer was translated, and by which revision; in the response's extensions.
#[derive(Clone)]
pub struct Translated(pub Arc<Mark>);

/// Maps one operation, both ways.
pub struct Map {
    translation: Arc<Translation>,
    /// The same operation in the upstream's version: what is sent must conform to it.
    operation: Arc<Operation>,
    version: Arc<str>,
    upstream: Arc<Upstream>,
    limit: u64,
    metrics: ValidationMetrics,
    /// Answers what the mappings ask.
    resolver: Arc<Resolver>,
}

impl Map {
    /// `version` is the upstream's; `limit` bounds, in bytes, the answers that are read.
    pub(crate) fn new(
        translation: Arc<Translation>,
        operation: Arc<Operation>,
        version: Arc<str>,
        upstream: Arc<Upstream>,
        limit: u64,
        metrics: ValidationMetrics,
        resolver: Arc<Resolver>,
    ) -> Self {
        Self {
            translation,
            operation,
            version,
            upstream,
            limit,
            metrics,
            resolver,
        }
    }

    async fn request(&self, mut request: Request, asker: &Asker<'_>) -> Result<Request, Refusal> {
        let exchange = Exchange::of(&request).cloned();
        let mark = self.translation.mark();
        if let Some(exchange) = &exchange {
            exchange.trail().note("crossdock.contract", &*mark.label);
        }
        let body = request.body().as_bytes();
        let is_digested = representation::request(request.headers_mut(), mark, body.as_deref())?;
        let path_values = exchange
            .as_ref()
            .and_then(|exchange| exchange.path_values.get())
            .map_or(&[][..], Vec::as_slice);
        // From here on nobody needs what the caller sent: a large body goes as soon as it has been read.
        drop(body);
        let document = request.extensions_mut().remove::<Payload>().map(|payload| payload.0);
        if document.is_some() && !self.translation.keeps_patch() {
            *request.body_mut() = Body::empty();
        }
        let query = request.uri().query().map(str::to_owned);
        let mut headers = std::mem::take(request.headers_mut());
        let mapped = if self.translation.lookups().next().is_none() {
            self.translation
                .request_of(path_values, query.as_deref(), &mut headers, document)
        } else {
            let translate = |translation: &Translation| {
                translation.request(path_values, query.as_deref(), &mut headers, document.as_deref())
            };
            self.resolver.translate(&self.translation, asker, translate).await?
        };
        let mapped = mapped.map_err(|unmappable| {
            self.metrics.request_unmappable();
            if unmappable.is_malformed {
                return Refusal::Malformed {
                    detail: unmappable.detail,
                    pointer: Some(unmappable.pointer),
                };
            }
            Refusal::Unmappable {
                version: self.version.clone(),
                detail: unmappable.detail,
                pointer: unmappable.pointer,
                step: unmappable.step,
            }
        })?;
        *request.headers_mut() = headers;
        *request.method_mut() = mapped.method;
        request.extensions_mut().insert(Target(mapped.path_and_query));
        if let Some(document) = mapped.body {
            // What a merged update becomes, is known and checked when it is sent.
            if self.translation.update().is_none() {
                self.check_mapped(request.headers(), &document)?;
            }
            request.headers_mut().remove(header::CONTENT_LENGTH);
            if is_digested {
                representation::digest(request.headers_mut(), document.text().as_bytes());
            }
            *request.body_mut() = Body::from(Bytes::from(document));
        }
        Ok(request)
    }

    /// What the mapping made must be what the upstream's version promises, else nothing is sent.
    fn check_mapped(&self, headers: &HeaderMap, document: &Document) -> Result<(), Refusal> {
        let violations = self.operation.check_request_body(document);
        if violations.is_empty() {
            return Ok(());
        }
        self.metrics.request_unmappable();
        let step = violations
            .iter()
            .find_map(|violation| self.translation.request_step(headers, &violation.at));
        Err(Refusal::MappingInvalid {
            version: self.version.clone(),
            violations,
            step,
        })
    }
}

impl Policy for Map {
    fn name(&self) -> &'static str {
        "map"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let exchange = Exchange::of(&request).cloned();
            let exchange = exchange.as_deref();
            let asker = Asker {
                correlation: exchange.map_or("", |exchange| &exchange.correlation),
                patience: self.upstream.spec().timeouts.total.0,
                trace: &|span| exchange.map(|exchange| exchange.trace.traceparent(span)),
                note: &|attempt: Attempt| {
                    if let Some(exchange) = exchange {
                        exchange.trail().attempts.push(attempt);
                    }
                },
            };
            let request = self.request(request, &asker).await?;
            // A merged update is translated to its end where it is sent.
            let response = next.run(request).await.inspect_err(|refusal| match refusal {
                Refusal::Unmappable { .. } | Refusal::MappingInvalid { .. } => self.metrics.request_unmappable(),
                Refusal::UpstreamUnmappable { .. } => self.metrics.response_unmappable(),
                _ => {}
            })?;
            if response.extensions().get::<OwnAnswer>().is_some() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let bytes = body
                .buffer(self.limit)
                .await
                .map_err(|error| withheld(&self.upstream.name, error.to_string()))?;
            let (response, missed) = answer(
                &self.translation,
                &self.upstream.name,
                parts,
                bytes,
                (&self.resolver, &asker),
            )
            .await
            .inspect_err(|_| self.metrics.response_unmappable())?;
            self.metrics.missed(missed.links, missed.places);
            Ok(response)
        })
    }
}

/// Maps an upstream's complete answer to the caller's version, and says what of it has no counterpart there.
pub(crate) async fn answer(
    translation: &Translation,
    upstream: &Arc<str>,
    mut parts: Parts,
    bytes: Bytes,
    (resolver, asker): (&Arc<Resolver>, &Asker<'_>),
) -> Result<(Response, Missed), Refusal> {
    let mark = translation.mark();
    let is_digested =
        representation::response(&mut parts.headers, mark, &bytes).map_err(|detail| withheld(upstream, detail))?;
    // These two are HTTP's own and mean the same in every version.
    if parts.status == StatusCode::NOT_MODIFIED {
        parts.headers.remove(header::CONTENT_TYPE);
        return Ok((with_body(parts, Bytes::new()), Missed::default()));
    }
    if parts.status == StatusCode::PRECONDITION_FAILED && !translation.answers(parts.status) {
        return Err(Refusal::PreconditionFailed {
            detail: "the document was changed in the meantime: read it again".into(),
        });
    }
    let document = if bytes.is_empty() {
        None
    } else {
        Some(parse(upstream, parts.status, &parts.headers, bytes)?)
    };
    let status = parts.status;
    let mapped = if translation.lookups().next().is_none() {
        translation.response_of(status, &mut parts.headers, document)
    } else {
        let translate = |translation: &Translation| translation.response(status, &mut parts.headers, document.as_ref());
        let known = resolver.translate(translation, asker, translate).await;
        // The upstream has acted: the caller must not take this for a request that never came there.
        known.map_err(|refusal| {
            let detail = format!("its {} answer cannot be translated: {refusal}", status.as_u16());
            withheld(upstream, detail)
        })?
    };
    let mapped = mapped.map_err(|unmappable| {
        let at = translation.caller_place(parts.status, &parts.headers, &unmappable.pointer);
        let detail = format!("its {} answer cannot be translated", parts.status.as_u16());
        // What concerns the message and no value in it, anyone may know.
        let is_plain = unmappable.step.is_none() && unmappable.pointer.is_empty();
        Refusal::UpstreamUnmappable {
            upstream: upstream.clone(),
            detail: if is_plain {
                format!("{detail}: {}", unmappable.detail)
            } else {
                detail
            },
            pointer: at,
            step: unmappable.step,
            cause: unmappable.detail,
        }
    })?;
    parts.status = mapped.status;
    parts.extensions.insert(Translated(mark.clone()));
    let Some(document) = mapped.body else {
        return Ok((with_body(parts, Bytes::new()), mapped.missed));
    };
    let document = Arc::new(document);
    let bytes = document.to_bytes();
    if is_digested {
        representation::digest(&mut parts.headers, &bytes);
    }
    parts.extensions.insert(Parsed(document));
    Ok((with_body(parts, bytes), mapped.missed))
}

fn parse(upstream: &Arc<str>, status: StatusCode, headers: &HeaderMap, bytes: Bytes) -> Result<Document, Refusal> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("(none)");
    if !is_json(content_type) || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(withheld(
            upstream,
            format!("its {} answer is {content_type}, not plain JSON", status.as_u16()),
        ));
    }
    Document::parse(bytes)
        .map_err(|error| withheld(upstream, format!("its {} answer is not JSON: {error}", status.as_u16())))
}

fn withheld(upstream: &Arc<str>, detail: String) -> Refusal {
    Refusal::UpstreamInvalid {
        upstream: upstream.clone(),
        detail,
        violations: Vec::new(),
    }
}
