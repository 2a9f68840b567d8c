//! `/status/{id}`: how a request that was answered with 202 stands.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;

use super::{Handling, Next, Policy, Request, Response, validate::OwnAnswer};
use crate::{
    body::Body,
    exchange::Exchange,
    problem::Refusal,
    queue::{MessageLog, MessageView, status_document},
};

/// Path of the status resource, before the message's id.
pub const PREFIX: &str = "/status/";

/// Answers with a message's status, to the channel that sent it and to no other.
pub struct Status {
    log: Arc<dyn MessageLog>,
}

impl Status {
    /// Reads from this log.
    pub fn new(log: Arc<dyn MessageLog>) -> Self {
        Self { log }
    }
}

impl Policy for Status {
    fn name(&self) -> &'static str {
        "status"
    }

    fn handle<'a>(&'a self, request: Request, _: Next<'a>) -> Handling<'a> {
        let id = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let exchange = Exchange::of(&request).cloned();
        Box::pin(async move {
            if !is_get {
                let allow = HeaderValue::from_static("GET, HEAD");
                return Err(Refusal::MethodNotAllowed {
                    method: request.method().clone(),
                    allow,
                });
            }
            let view = self.log.get(&id).await.map_err(|error| Refusal::QueueUnavailable {
                cause: error.to_string().into(),
                retry_after: std::time::Duration::from_secs(5),
            })?;
            let channel = exchange
                .as_ref()
                .and_then(|exchange| exchange.caller.get())
                .map(|caller| &*caller.channel);
            // Another channel's message does not exist for this one.
            let view = view
                .filter(|view| Some(view.channel.as_str()) == channel)
                .ok_or(Refusal::UnknownMessage)?;
            let mut response = document(&view);
            if view.finished.is_none() {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Ok(response)
        })
    }
}

/// 202 for a message that was stored, now or by an earlier request with the same key.
pub(crate) fn accepted(view: &MessageView, is_replay: bool) -> Response {
    let mut response = document(view);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}{}", view.id)) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    if is_replay {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response.extensions_mut().insert(OwnAnswer);
    response
}

fn document(view: &MessageView) -> Response {
    let mut response = Response::new(Body::from(status_document(view, Timestamp::now())));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
