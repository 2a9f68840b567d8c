//! The last step: sends the request to its upstream.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::{Handling, Next, Policy, Request, Response, map::Target};
use crate::{
    exchange::Exchange,
    problem::Refusal,
    upstream::{Outbound, Upstream, headers},
};

/// Sends to one upstream.
pub struct Forward {
    upstream: Arc<Upstream>,
    /// The request's path before the operation's own path.
    prefix: String,
    /// Path at the upstream before the operation's own path.
    base: String,
}

impl Forward {
    /// `prefix` is the API's path with its version filled in.
    pub fn new(upstream: Arc<Upstream>, prefix: String, base: String) -> Self {
        Self { upstream, prefix, base }
    }

    /// The request as the upstream will see it, credentials and trace context aside.
    pub(crate) fn outbound(&self, request: Request, exchange: &Exchange) -> Outbound {
        let target = request.extensions().get::<Target>().map(|target| target.0.as_str());
        let path_and_query = self.path_and_query(target, request.uri());
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        headers::for_upstream(&mut headers, exchange);
        if let Some(honoured) = self.upstream.honours_repeats() {
            headers::carry_idempotency_key(&mut headers, honoured, exchange);
        }
        Outbound {
            method: parts.method,
            path_and_query,
            headers,
            body,
        }
    }

    /// A `Location` in the upstream's own paths becomes one that leads through the gateway.
    pub(crate) fn relocate(&self, headers: &mut HeaderMap) {
        let Some(location) = headers.get(header::LOCATION) else {
            return;
        };
        let target = location.to_str().ok().and_then(|text| self.upstream.own_path(text));
        let Some(own) = target.and_then(|path| path.strip_prefix(&self.base)) else {
            return;
        };
        if let Ok(location) = HeaderValue::try_from(format!("{}{own}", self.prefix)) {
            headers.insert(header::LOCATION, location);
        }
    }

    fn path_and_query(&self, target: Option<&str>, uri: &http::Uri) -> String {
        let own = target.or_else(|| {
            let text = uri.path_and_query()?.as_str();
            text.get(self.prefix.len()..)
        });
        let own = own.unwrap_or_default();
        let mut path_and_query = String::with_capacity(self.base.len() + own.len() + 1);
        path_and_query.push_str(&self.base);
        // Nothing but a query, or nothing at all, is left where the prefix was the whole path.
        if !own.starts_with('/') && (self.base.is_empty() || !own.is_empty()) && !self.base.ends_with('/') {
            path_and_query.push('/');
        }
        path_and_query.push_str(own);
        path_and_query
    }
}

impl Policy for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn handle<'a>(&'a self, request: Request, _: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let exchange = Exchange::of(&request).cloned().ok_or(Refusal::Internal)?;
            let outbound = self.outbound(request, &exchange);
            let mut response: Response = self
                .upstream
                .send(
                    outbound,
                    |span| Some(exchange.trace.traceparent(span)),
                    |attempt| exchange.trail().attempts.push(attempt),
                )
                .await?;
            headers::from_upstream(response.headers_mut());
            self.relocate(response.headers_mut());
            Ok(response)
        })
    }
}
