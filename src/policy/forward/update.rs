//! Sends an update that keeps what its caller cannot see: reads what stands at the upstream, puts the caller's changes
//! into it, and sends that on condition that nothing happened in between.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    body::Body,
    contract::{Update, UpdateFault, Updated},
    exchange::Attempt,
    json::Document,
    lookup::{Asker, Resolver},
    policy::validate::is_json,
    problem::{Refusal, UpstreamCause},
    upstream::{
        Outbound, Upstream,
        headers::{IDEMPOTENCY_KEY, X_CORRELATION_ID},
    },
};

/// How often an update is begun anew because something else was faster.
const RACES: usize = 4;

/// Sends updates of one operation.
pub(super) struct Updater {
    pub(super) update: Arc<Update>,
    /// Bounds, in bytes, what is read.
    pub(super) limit: u64,
    /// Answers what the mappings ask.
    pub(super) resolver: Arc<Resolver>,
}

/// What stands at the upstream.
enum Current {
    /// A document, and its entity tag if that is a strong one.
    Found(Document, Option<HeaderValue>),
    /// Nothing: the answer that says so.
    Missing(Response<Body>),
    /// Something else is answered than what there is.
    Refused(Response<Body>),
}

impl Updater {
    /// Like `Upstream::send`.
    pub(super) async fn send(
        &self,
        upstream: &Upstream,
        outbound: Outbound,
        trace: impl Fn(u64) -> Option<HeaderValue> + Sync,
        note: impl Fn(Attempt) + Sync,
    ) -> Result<Response<Body>, Refusal> {
        let Outbound {
            method,
            path_and_query,
            headers,
            body,
        } = outbound;
        // Its place in the pipeline is behind what reads the body.
        let body = body.as_bytes().ok_or(Refusal::Internal)?;
        let asked = Asked {
            method,
            path_and_query,
            headers,
        };
        let mine = Document::parse(body).map_err(|error| Refusal::Malformed {
            detail: format!("the body is not JSON: {error}"),
            pointer: None,
        })?;
        let correlation = asked
            .headers
            .get(X_CORRELATION_ID)
            .and_then(|value| value.to_str().ok());
        let behalf = Asker {
            correlation: correlation.unwrap_or_default(),
            patience: upstream.spec().timeouts.total.0,
            trace: &trace,
            note: &note,
        };
        let condition = asked.headers.get(header::IF_MATCH).cloned();
        for _ in 0..RACES {
            let current = self.read(upstream, &asked, &trace, &note).await?;
            let (current, tag) = match current {
                Current::Found(document, tag) => (document, tag),
                Current::Refused(response) => return Ok(response),
                Current::Missing(response) => {
                    if condition.is_some() {
                        return Err(Refusal::PreconditionFailed {
                            detail: "there is no such document any more".into(),
                        });
                    }
                    if self.update.is_patch() {
                        return Ok(response);
                    }
                    return upstream.send(self.created(&asked, &mine)?, &trace, &note).await;
                }
            };
            are_met(&asked.headers, condition.as_ref(), tag.as_ref())?;
            if tag.is_none() && !self.update.sends_without_tag() {
                let detail = "it gives no strong ETag, so that an update could erase what somebody else changes";
                return Err(invalid(upstream, detail.to_owned()));
            }
            let updated = self.updated(upstream, &asked, (&mine, &current), &behalf).await?;
            let mut next = asked.with(updated);
            match tag {
                Some(tag) => next.headers.insert(header::IF_MATCH, tag),
                None => next.headers.remove(header::IF_MATCH),
            };
            let response = upstream.send(next, &trace, &note).await?;
            let has_lost = response.status() == StatusCode::PRECONDITION_FAILED;
            let is_on_condition = condition.as_ref().is_some_and(|condition| condition != "*");
            if !has_lost || is_on_condition {
                return Ok(response);
            }
        }
        Err(Refusal::UpdateConflict {
            detail: "the document was changed by others again and again while it was updated: try again".to_owned(),
            pointer: None,
        })
    }

    /// Reads what is updated, by the same path.
    async fn read(
        &self,
        upstream: &Upstream,
        asked: &Asked,
        trace: &impl Fn(u64) -> Option<HeaderValue>,
        note: &impl Fn(Attempt),
    ) -> Result<Current, Refusal> {
        let mut headers = asked.headers.clone();
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_UNMODIFIED_SINCE,
            IDEMPOTENCY_KEY,
        ] {
            headers.remove(name);
        }
        for name in ["prefer", "content-digest"] {
            headers.remove(name);
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let path = asked.path_and_query.split('?').next().unwrap_or_default();
        let reading = Outbound {
            method: Method::GET,
            path_and_query: path.to_owned(),
            headers,
            body: Body::from(Bytes::new()),
        };
        let response = upstream.send(reading, trace, note).await.map_err(unsent)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Current::Missing(response)),
            // Nothing has been written yet, so nothing is in doubt.
            status if status.is_server_error() => {
                return Err(Refusal::UpstreamUnavailable {
                    upstream: upstream.name.clone(),
                    cause: UpstreamCause::Connect,
                    retry_after: None,
                });
            }
            status if status.is_client_error() => return Ok(Current::Refused(response)),
            status => return Err(invalid(upstream, format!("it answers {} to a read", status.as_u16()))),
        }
        let (parts, body) = response.into_parts();
        let is_plain = !parts.headers.contains_key(header::CONTENT_ENCODING);
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(is_json) || !is_plain {
            return Err(invalid(
                upstream,
                "what it has to be updated is not plain JSON".to_owned(),
            ));
        }
        let bytes = body.buffer(self.limit).await;
        let bytes = bytes.map_err(|error| invalid(upstream, error.to_string()))?;
        let document = Document::parse(bytes);
        let document = document.map_err(|error| invalid(upstream, format!("what it has is not JSON: {error}")))?;
        // A weak tag cannot be a condition (RFC 9110 §13.1.1).
        let tag = parts
            .headers
            .get(header::ETAG)
            .filter(|tag| tag.as_bytes().starts_with(b"\""));
        Ok(Current::Found(document, tag.cloned()))
    }

    /// A PUT may create what is not there.
    fn created(&self, asked: &Asked, mine: &Document) -> Result<Outbound, Refusal> {
        let created = Updated {
            body: mine.clone(),
            content_type: asked.content_type(),
        };
        self.check(&created)?;
        let mut next = asked.with(created);
        next.headers
            .insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        Ok(next)
    }

    /// What is sent: conforming to the upstream's version, or nothing is.
    async fn updated(
        &self,
        upstream: &Upstream,
        asked: &Asked,
        (mine, current): (&Document, &Document),
        behalf: &Asker<'_>,
    ) -> Result<Updated, Refusal> {
        let make = |update: &Update| {
            if update.is_patch() {
                return update.patched(mine, &asked.headers, current);
            }
            update.merged(mine, current).map(|body| Updated {
                body,
                content_type: asked.content_type(),
            })
        };
        let updated = self.resolver.update(&self.update, behalf, make).await?;
        let updated = updated.map_err(|fault| self.refusal(upstream, fault))?;
        self.check(&updated)?;
        Ok(updated)
    }

    fn check(&self, updated: &Updated) -> Result<(), Refusal> {
        let upstream = self.update.upstream();
        let violations = upstream.check_request_body_as(&updated.body, &updated.content_type);
        if violations.is_empty() {
            return Ok(());
        }
        let step = violations
            .iter()
            .find_map(|violation| self.update.request_step(&violation.at));
        Err(Refusal::MappingInvalid {
            version: self.update.version().clone(),
            violations,
            step,
        })
    }

    fn refusal(&self, upstream: &Upstream, fault: UpdateFault) -> Refusal {
        match fault {
            UpdateFault::Current { detail, pointer, step } => Refusal::UpstreamUnmappable {
                upstream: upstream.name.clone(),
                detail: "what it has to be updated cannot be shown in the caller's version".to_owned(),
                pointer,
                step,
                cause: detail,
            },
            // Who asks has waited for all of them.
            UpdateFault::Waiting => Refusal::Internal,
            UpdateFault::Malformed { detail, pointer } => Refusal::Malformed {
                detail,
                pointer: Some(pointer),
            },
            UpdateFault::Conflict { detail, pointer } => Refusal::UpdateConflict {
                detail,
                pointer: Some(pointer),
            },
            UpdateFault::Unmappable { detail, pointer, step } => Refusal::Unmappable {
                version: self.update.version().clone(),
                detail,
                pointer,
                step,
            },
        }
    }
}

/// What the caller asked for, its body aside.
struct Asked {
    method: Method,
    path_and_query: String,
    headers: HeaderMap,
}

impl Asked {
    fn content_type(&self) -> HeaderValue {
        let given = self.headers.get(header::CONTENT_TYPE).cloned();
        given.unwrap_or_else(|| HeaderValue::from_static("application/json"))
    }

    fn with(&self, updated: Updated) -> Outbound {
        let mut headers = self.headers.clone();
        headers.remove(header::CONTENT_LENGTH);
        // It was of the caller's bytes.
        headers.remove("content-digest");
        headers.insert(header::CONTENT_TYPE, updated.content_type);
        Outbound {
            method: self.method.clone(),
            path_and_query: self.path_and_query.clone(),
            headers,
            body: Body::from(Bytes::from(updated.body)),
        }
    }
}

/// The caller's own conditions, held against what was read: what is sent has another one.
fn are_met(headers: &HeaderMap, if_match: Option<&HeaderValue>, tag: Option<&HeaderValue>) -> Result<(), Refusal> {
    let failed = |detail: &'static str| Err(Refusal::PreconditionFailed { detail: detail.into() });
    if headers.contains_key(header::IF_NONE_MATCH) {
        return failed("there is such a document already");
    }
    let Some(condition) = if_match.and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    let tag = tag.and_then(|tag| tag.to_str().ok());
    let is_met = condition == "*" || tag.is_some_and(|tag| condition.split(", ").any(|known| known == tag));
    if is_met {
        Ok(())
    } else {
        failed("the document was changed in the meantime: read it again")
    }
}

/// A read that failed leaves nothing in doubt.
fn unsent(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::UpstreamUnavailable {
            upstream, retry_after, ..
        } => Refusal::UpstreamUnavailable {
            upstream,
            cause: UpstreamCause::Connect,
            retry_after,
        },
        Refusal::UpstreamTimeout { upstream, .. } => Refusal::UpstreamTimeout { upstream, sent: false },
        other => other,
    }
}

fn invalid(upstream: &Upstream, detail: String) -> Refusal {
    Refusal::UpstreamInvalid {
        upstream: upstream.name.clone(),
        detail,
        violations: Vec::new(),
    }
}
