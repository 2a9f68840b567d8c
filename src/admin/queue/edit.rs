//! A message's request made another one: checked like any request, and new to its upstream.

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use bytes::Bytes;
use serde_json::json;

use crate::{
    admin::{problem_with, refuse},
    contract::{Mark, Operation},
    json::Document,
    queue::{Shown, StoredRequest},
    shared::Shared,
    snapshot::DeliveryRoute,
    upstream::headers::IDEMPOTENCY_KEY,
};

/// The request with another body, or the same one; in the upstream's contract version, held against it. Its idempotency
/// key is a new one: to the upstream it is another request.
pub(super) fn edited(shared: &Shared, shown: &Shown, body: Option<Bytes>) -> Result<StoredRequest, Box<Response>> {
    let Some(mut request) = shown.request.clone() else {
        let detail = "its request is no longer kept: it was delivered";
        return Err(refuse(StatusCode::CONFLICT, detail));
    };
    if let Some(body) = body {
        check(shared, shown, &request, &body)?;
        request.body = body;
    }
    let edition = shown.former.len() + 1;
    let original = shown
        .former
        .first()
        .map_or(&request.idempotency_key, |first| &first.idempotency_key);
    let key = format!("{original}.{edition}");
    let field = key_field(shared, &shown.view.upstream);
    for (name, value) in &mut request.headers {
        if name.eq_ignore_ascii_case(&field) {
            let text = String::from_utf8_lossy(value);
            // It may stand in quotes, or behind the channel's name.
            if let Some(front) = text.trim_end_matches('"').strip_suffix(&request.idempotency_key) {
                let end = if front.starts_with('"') { "\"" } else { "" };
                *value = format!("{front}{key}{end}").into_bytes();
            }
        }
    }
    request.idempotency_key = key;
    Ok(request)
}

/// Where the upstream looks for the key.
fn key_field(shared: &Shared, upstream: &str) -> String {
    let snapshot = shared.snapshot.load();
    let upstream = snapshot.as_ref().and_then(|snapshot| snapshot.upstreams.get(upstream));
    let honoured = upstream.and_then(|upstream| upstream.honours_repeats());
    honoured.map_or_else(|| IDEMPOTENCY_KEY.to_string(), |honoured| honoured.header.clone())
}

/// Holds a new body against the contract version that the request is stored for, which the upstream may have left since.
fn check(shared: &Shared, shown: &Shown, request: &StoredRequest, body: &Bytes) -> Result<(), Box<Response>> {
    let view = &shown.view;
    let snapshot = shared.snapshot.load_full();
    let route = snapshot
        .as_ref()
        .and_then(|snapshot| snapshot.route(&view.api, &view.operation, &view.version));
    let delivery = route.and_then(|route| route.delivery.as_ref());
    let Some(delivery) = delivery else {
        let detail = "the policies do not offer this operation any more: its body cannot be checked";
        return Err(refuse(StatusCode::CONFLICT, detail));
    };
    let Some((version, operation)) = kept(delivery, &view.version, request) else {
        let version = request.translated().and_then(Mark::spoken).unwrap_or("no longer known");
        let detail = format!(
            "its request is kept for contract version {version}, and nothing in force says what that is: its body cannot \
             be checked"
        );
        return Err(refuse(StatusCode::CONFLICT, &detail));
    };
    let document = Document::parse(body.clone())
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("the new body is not JSON: {error}")))?;
    let violations = operation.check_request_body(&document);
    if violations.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = violations
        .iter()
        .map(|violation| json!({ "pointer": violation.at, "detail": violation.what }))
        .collect();
    let detail = format!("the new body does not conform to contract version {version}, which the request is kept for");
    Err(Box::new(problem_with(
        StatusCode::UNPROCESSABLE_ENTITY,
        &detail,
        &errors,
    )))
}

/// The contract version in whose words a stored request is kept, and its operation there: that which the upstream spoke
/// when it was accepted, or the caller's for a patch, which is translated when it is sent.
fn kept<'a>(
    delivery: &'a DeliveryRoute,
    caller: &'a str,
    request: &'a StoredRequest,
) -> Option<(&'a str, &'a Arc<Operation>)> {
    if delivery.forward.keeps_patch()
        && let Some(translation) = &delivery.translation
    {
        return Some((caller, translation.caller()));
    }
    let spoken = delivery.spoken.as_deref();
    match request.translated().and_then(Mark::spoken) {
        Some(stored) if Some(stored) != spoken => {
            let former = delivery.former.iter().find(|(version, _)| **version == *stored)?;
            Some((stored, former.1.caller()))
        }
        _ => Some((spoken.unwrap_or(caller), delivery.operation.as_ref()?)),
    }
}
