//! Every refusal, and the problem document (RFC 9457) a channel sees. Nothing else knows status codes of ours.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{body::Body, contract::StepPlace};

/// The gateway answers instead of the upstream.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be understood as HTTP: a path that cannot be normalised, a malformed field.
    #[error("{detail}")]
    BadRequest { detail: Cow<'static, str> },
    /// The body, a parameter or a header field cannot be parsed.
    #[error("{detail}")]
    Malformed { detail: String, pointer: Option<String> },
    /// Parameters that cannot be parsed as what the contract says they are.
    #[error("{detail}")]
    MalformedParameters { detail: String, violations: Vec<Violation> },
    #[error("no API offers this path")]
    NotFound,
    #[error("contract version {version} is not offered; offered are {}", offered.join(", "))]
    UnknownVersion {
        version: String,
        place: VersionPlace,
        offered: Vec<Arc<str>>,
    },
    #[error("contract version {version} is a draft and not served yet; offered are {}", offered.join(", "))]
    DraftVersion { version: Arc<str>, offered: Vec<Arc<str>> },
    #[error("contract version {version} is tried with some callers first; offered to all are {}", offered.join(", "))]
    CanaryVersion { version: Arc<str>, offered: Vec<Arc<str>> },
    /// A deprecated version is switched off for a while, as announced.
    #[error("contract version {version} is switched off until {until}, to announce its end{}{}", at_sunset(*sunset), instead(successor.as_ref()))]
    BrownOut {
        version: Arc<str>,
        until: Timestamp,
        retry_after: Duration,
        sunset: Option<Timestamp>,
        successor: Option<Arc<str>>,
    },
    #[error("contract version {version} is not served any more{}{}", ever_since(*since), instead(successor.as_ref()))]
    RetiredVersion {
        version: Arc<str>,
        since: Option<Timestamp>,
        successor: Option<Arc<str>>,
    },
    /// Path and header, or two header fields, name different versions.
    #[error("{detail}")]
    ConflictingVersions { detail: String },
    #[error("this path does not offer {method}")]
    MethodNotAllowed { method: Method, allow: HeaderValue },
    #[error("{reason}")]
    Unauthenticated {
        reason: Cow<'static, str>,
        challenge: HeaderValue,
    },
    /// The keys of an issuer could not be fetched, so nobody's token can be judged.
    #[error("tokens of {issuer} cannot be verified at the moment")]
    IssuerUnavailable { issuer: Arc<str>, retry_after: Duration },
    #[error("{channel} lacks {missing}")]
    Forbidden { channel: Arc<str>, missing: String },
    #[error("{who} used up the limit of {rate}")]
    RateLimited {
        who: Arc<str>,
        rate: Arc<str>,
        retry_after: Duration,
        headers: Vec<(http::HeaderName, HeaderValue)>,
    },
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the client stopped sending its body")]
    BodyTimeout,
    #[error("the content type {found} is not supported; send {expected}")]
    UnsupportedMediaType { found: String, expected: String },
    /// The request does not conform to the caller's contract version.
    #[error("the request does not conform to the contract")]
    Invalid { violations: Vec<Violation> },
    /// The request conforms, but breaks a rule of the business that its contract states.
    #[error("the request breaks a rule of the contract")]
    RuleBroken { violations: Vec<Violation> },
    #[error("{detail}")]
    IdempotencyKeyMissing { detail: Cow<'static, str> },
    #[error("this Idempotency-Key was used before with a different request")]
    IdempotencyKeyReused,
    #[error("the first request with this Idempotency-Key is still in progress")]
    IdempotencyInFlight { retry_after: Duration },
    /// A valid request has a value that no value of the upstream's version corresponds to.
    #[error("the request cannot be expressed in contract version {version}: {detail}")]
    Unmappable {
        version: Arc<str>,
        detail: String,
        pointer: String,
        /// The step of a mapping that cannot translate it, where it is one.
        step: Option<Box<StepPlace>>,
    },
    /// What the mapping made is not what the upstream's version promises. A fault of the mapping.
    #[error("the mapping to contract version {version} produced an invalid document")]
    MappingInvalid {
        version: Arc<str>,
        violations: Vec<Violation>,
        /// The step that wrote the first of these places for which that can be told.
        step: Option<Box<StepPlace>>,
    },
    /// `If-Match` or `If-None-Match` is not fulfilled (RFC 9110 §13.1).
    #[error("{detail}")]
    PreconditionFailed { detail: Cow<'static, str> },
    /// An update does not fit what stands at the upstream now.
    #[error("{detail}")]
    UpdateConflict { detail: String, pointer: Option<String> },
    #[error("upstream {upstream} is unavailable")]
    UpstreamUnavailable {
        upstream: Arc<str>,
        cause: UpstreamCause,
        retry_after: Option<Duration>,
    },
    #[error("upstream {upstream} did not answer in time")]
    UpstreamTimeout { upstream: Arc<str>, sent: bool },
    /// The upstream answered something that must not be passed on.
    #[error("upstream {upstream} gave an answer that cannot be passed on: {detail}")]
    UpstreamInvalid {
        upstream: Arc<str>,
        detail: String,
        violations: Vec<Violation>,
    },
    /// An answer of the upstream has a value that no value of the caller's version corresponds to.
    #[error("upstream {upstream} gave an answer that cannot be passed on: {detail}")]
    UpstreamUnmappable {
        upstream: Arc<str>,
        detail: String,
        /// In the caller's words.
        pointer: String,
        /// The step of a mapping that cannot translate it, where it is one.
        step: Option<Box<StepPlace>>,
        /// Why: it may name what the upstream said, and is for operators alone.
        cause: String,
    },
    #[error("the request can neither be delivered nor queued at the moment: {cause}")]
    QueueUnavailable {
        cause: Cow<'static, str>,
        retry_after: Duration,
    },
    #[error("no message with this id is known")]
    UnknownMessage,
    #[error("an unexpected fault in the gateway")]
    Internal,
}

fn at_sunset(sunset: Option<Timestamp>) -> String {
    sunset.map_or_else(String::new, |sunset| format!(" on {sunset}"))
}

fn ever_since(time: Option<Timestamp>) -> String {
    time.map_or_else(String::new, |time| format!(" since {time}"))
}

fn instead(successor: Option<&Arc<str>>) -> String {
    successor.map_or_else(String::new, |successor| format!("; use {successor}"))
}

/// Why an upstream could not be reached, and whether it may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamCause {
    /// The breaker is open: nothing was sent.
    BreakerOpen,
    /// No connection: nothing was sent.
    Connect,
    /// The connection broke after the request was sent, before an answer: its effect is in doubt.
    Broken,
}

impl UpstreamCause {
    /// The upstream may have acted on the request.
    pub fn is_in_doubt(self) -> bool {
        self == Self::Broken
    }
}

/// Where a request names its contract version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionPlace {
    /// A segment of the path.
    Path,
    /// `Accept-Version`.
    Field,
    /// A media type in `Accept`.
    Accept,
    /// The media type in `Content-Type`.
    ContentType,
}

impl VersionPlace {
    /// As it is said.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "the path",
            Self::Field => "Accept-Version",
            Self::Accept => "Accept",
            Self::ContentType => "Content-Type",
        }
    }
}

/// One place where a message breaks its contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON Pointer into the body (RFC 6901), or `query:NAME`, `path:NAME`, `header:NAME`, `cookie:NAME`.
    pub at: String,
    /// What is wrong, as a phrase.
    pub what: String,
}

/// Who has to act on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Machines or networks.
    Technical,
    /// A rule of the business, or of the contract, was broken by the caller's data.
    Business,
    /// The calling partner's set-up: credentials, limits, protocol.
    Partner,
}

impl FailureClass {
    /// As written on problems, spans and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Technical => "technical",
            Self::Business => "business",
            Self::Partner => "partner",
        }
    }

    /// The class of that name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Technical, Self::Business, Self::Partner];
        all.into_iter().find(|class| class.as_str() == name)
    }
}

/// What a kind of refusal always looks like.
struct Shape {
    status: StatusCode,
    /// Last part of the problem's `type`; also the reason on spans, metrics and access log.
    slug: &'static str,
    title: &'static str,
    class: FailureClass,
}

impl Refusal {
    // No `_` arm: a new refusal does not compile until someone has chosen its status.
    #[expect(
        clippy::too_many_lines,
        clippy::match_same_arms,
        reason = "one table, a row per refusal"
    )]
    fn shape(&self) -> Shape {
        use FailureClass::{Business, Partner, Technical};
        let (status, slug, title, class) = match self {
            Self::BadRequest { .. } => (StatusCode::BAD_REQUEST, "bad-request", "Bad request", Partner),
            Self::Malformed { .. } => (StatusCode::BAD_REQUEST, "malformed", "Malformed content", Partner),
            Self::MalformedParameters { .. } => (StatusCode::BAD_REQUEST, "malformed", "Malformed content", Partner),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found", Partner),
            Self::UnknownVersion { place, .. } => (
                match place {
                    VersionPlace::Path => StatusCode::NOT_FOUND,
                    VersionPlace::Field => StatusCode::BAD_REQUEST,
                    VersionPlace::Accept => StatusCode::NOT_ACCEPTABLE,
                    VersionPlace::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                },
                "unknown-version",
                "Contract version not offered",
                Partner,
            ),
            Self::DraftVersion { .. } => (
                StatusCode::NOT_FOUND,
                "version-draft",
                "Contract version is a draft",
                Partner,
            ),
            Self::CanaryVersion { .. } => (
                StatusCode::NOT_FOUND,
                "version-canary",
                "Contract version not open to all",
                Partner,
            ),
            Self::BrownOut { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "version-brown-out",
                "Contract version switched off for a while",
                Partner,
            ),
            Self::RetiredVersion { .. } => (StatusCode::GONE, "version-retired", "Contract version retired", Partner),
            Self::ConflictingVersions { .. } => (
                StatusCode::BAD_REQUEST,
                "conflicting-versions",
                "Contract versions contradict each other",
                Partner,
            ),
            Self::MethodNotAllowed { .. } => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
                Partner,
            ),
            Self::Unauthenticated { .. } => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Authentication required",
                Partner,
            ),
            Self::IssuerUnavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "issuer-unavailable",
                "Tokens cannot be verified",
                Technical,
            ),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden", "Not permitted", Partner),
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many requests",
                Partner,
            ),
            Self::BodyTooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "Body too large",
                Partner,
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "body-timeout",
                "Body not received in time",
                Partner,
            ),
            Self::UnsupportedMediaType { .. } => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Content type not supported",
                Partner,
            ),
            Self::Invalid { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "contract-violation",
                "Contract violated",
                Business,
            ),
            Self::RuleBroken { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "rule-broken",
                "Business rule broken",
                Business,
            ),
            Self::IdempotencyKeyMissing { .. } => (
                StatusCode::BAD_REQUEST,
                "idempotency-key-missing",
                "Idempotency-Key required",
                Partner,
            ),
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency-Key reused",
                Partner,
            ),
            Self::IdempotencyInFlight { .. } => (
                StatusCode::CONFLICT,
                "idempotency-in-flight",
                "Request in progress",
                Partner,
            ),
            Self::Unmappable { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "unmappable",
                "Cannot be translated",
                Business,
            ),
            Self::MappingInvalid { .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "mapping-invalid",
                "Translation failed",
                Technical,
            ),
            Self::PreconditionFailed { .. } => (
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "Precondition failed",
                Business,
            ),
            Self::UpdateConflict { .. } => (StatusCode::CONFLICT, "update-conflict", "Update conflicts", Business),
            Self::UpstreamUnavailable { cause, .. } => {
                let status = if cause.is_in_doubt() {
                    StatusCode::BAD_GATEWAY
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                (status, "upstream-unavailable", "Upstream unavailable", Technical)
            }
            Self::UpstreamTimeout { .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream-timeout",
                "Upstream timed out",
                Technical,
            ),
            Self::UpstreamInvalid { .. } | Self::UpstreamUnmappable { .. } => (
                StatusCode::BAD_GATEWAY,
                "upstream-invalid",
                "Upstream answer withheld",
                Technical,
            ),
            Self::QueueUnavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "queue-unavailable",
                "Cannot be queued",
                Technical,
            ),
            Self::UnknownMessage => (StatusCode::NOT_FOUND, "unknown-message", "Message not known", Partner),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal fault",
                Technical,
            ),
        };
        Shape {
            status,
            slug,
            title,
            class,
        }
    }

    /// The status code a channel sees.
    pub fn status(&self) -> StatusCode {
        self.shape().status
    }

    /// The stable short name: last part of the problem's `type`.
    pub fn slug(&self) -> &'static str {
        self.shape().slug
    }

    /// Who has to act.
    pub fn class(&self) -> FailureClass {
        self.shape().class
    }

    /// The places it names.
    pub(crate) fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid { violations }
            | Self::RuleBroken { violations }
            | Self::MalformedParameters { violations, .. }
            | Self::MappingInvalid { violations, .. }
            | Self::UpstreamInvalid { violations, .. } => violations,
            _ => &[],
        }
    }

    /// The step of a mapping at fault.
    pub(crate) fn step(&self) -> Option<&StepPlace> {
        match self {
            Self::Unmappable { step, .. }
            | Self::UpstreamUnmappable { step, .. }
            | Self::MappingInvalid { step, .. } => step.as_deref(),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::IssuerUnavailable { retry_after, .. }
            | Self::IdempotencyInFlight { retry_after }
            | Self::BrownOut { retry_after, .. }
            | Self::QueueUnavailable { retry_after, .. } => Some(*retry_after),
            Self::UpstreamUnavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The problem document (RFC 9457) with the request's correlation id.
    pub fn document(&self, correlation: &str) -> Value {
        let shape = self.shape();
        let mut document = json!({
            "type": format!("urn:crossdock:problem:{}", shape.slug),
            "title": shape.title,
            "status": shape.status.as_u16(),
            "detail": self.to_string(),
            "class": shape.class.as_str(),
            "correlationId": correlation,
        });
        let unmappable = match self {
            Self::Malformed {
                pointer: Some(pointer), ..
            }
            | Self::UpdateConflict {
                pointer: Some(pointer), ..
            }
            | Self::Unmappable { pointer, .. } => Some(Violation {
                at: pointer.clone(),
                what: self.to_string(),
            }),
            Self::UpstreamUnmappable { pointer, .. } => Some(Violation {
                at: pointer.clone(),
                what: "has no counterpart in this contract version".to_owned(),
            }),
            _ => None,
        };
        let errors: Vec<Value> = self
            .violations()
            .iter()
            .chain(&unmappable)
            .map(|violation| match violation.at.split_once(':') {
                Some((place @ ("query" | "path" | "header" | "cookie"), name)) => {
                    json!({ "in": place, "name": name, "detail": violation.what })
                }
                _ => json!({ "pointer": violation.at, "detail": violation.what }),
            })
            .collect();
        if !errors.is_empty() {
            document["errors"] = errors.into();
        }
        match self {
            Self::UnknownVersion { offered, .. }
            | Self::DraftVersion { offered, .. }
            | Self::CanaryVersion { offered, .. } => {
                document["offered"] = offered.iter().map(|version| Value::from(&**version)).collect();
            }
            Self::BrownOut {
                successor: Some(successor),
                ..
            }
            | Self::RetiredVersion {
                successor: Some(successor),
                ..
            } => document["successor"] = Value::from(&**successor),
            _ => {}
        }
        if let Some(step) = self.step() {
            document["step"] = step.below_contracts().to_string().into();
        }
        document
    }

    /// The response a channel gets.
    pub fn into_response(self, correlation: &str) -> Response<Body> {
        let mut response = Response::new(Body::from(self.document(correlation).to_string()));
        *response.status_mut() = self.status();
        let retry_after = self.retry_after();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(wait) = retry_after {
            let seconds = u64::try_from(wait.as_millis().div_ceil(1_000).max(1)).unwrap_or(u64::MAX);
            // Rounded up: a client that waits this long is let in.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::MethodNotAllowed { allow, .. } => {
                headers.insert(header::ALLOW, allow);
            }
            Self::Unauthenticated { challenge, .. } => {
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::RateLimited { headers: fields, .. } => headers.extend(fields),
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_learns_the_step_and_the_place_but_not_what_the_upstream_said() {
        let step = StepPlace {
            file: "/srv/contracts/orders/v1-v2.map.yaml".into(),
            step: Some((28, 7, "decimal".to_owned())),
        };
        let refusal = Refusal::UpstreamUnmappable {
            upstream: "erp".into(),
            detail: "its 200 answer cannot be translated".to_owned(),
            pointer: "/total".to_owned(),
            step: Some(Box::new(step)),
            cause: "`secret` is no decimal".to_owned(),
        };
        assert_eq!(
            refusal.step().unwrap().to_string(),
            "/srv/contracts/orders/v1-v2.map.yaml:28:7 (decimal)"
        );
        let document = refusal.document("c");
        assert_eq!(document["step"], "orders/v1-v2.map.yaml:28:7 (decimal)");
        assert_eq!(document["errors"][0]["pointer"], "/total");
        assert_eq!(document["status"], 502);
        assert!(!document.to_string().contains("secret"), "{document}");
    }
}
