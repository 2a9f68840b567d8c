//! The last step: sends the request to its upstream.

mod update;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use self::update::Updater;
use super::{Handling, Next, Policy, Request, Response, map::Target};
use crate::{
    contract::{Update, rewrite_links},
    exchange::{Attempt, Exchange},
    lookup::Resolver,
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
    /// What stands before it translates links.
    is_translated: bool,
    /// Where what is sent depends on what stands there.
    updater: Option<Updater>,
}

impl Forward {
    /// `prefix` is the API's path with its version filled in. Links of answers that are translated are left to that.
    pub fn new(upstream: Arc<Upstream>, prefix: String, base: String, is_translated: bool) -> Self {
        Self {
            upstream,
            prefix,
            base,
            is_translated,
            updater: None,
        }
    }

    /// Updates keep what their caller cannot see; `limit` bounds, in bytes, what is read for that.
    #[must_use]
    pub(crate) fn updating(mut self, update: Option<Arc<Update>>, limit: u64, resolver: &Arc<Resolver>) -> Self {
        self.updater = update.map(|update| Updater {
            update,
            limit,
            resolver: resolver.clone(),
        });
        self
    }

    /// Path at the upstream before the operation's own path.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether what is sent depends on what stands at the upstream.
    pub(crate) fn merges(&self) -> bool {
        self.updater.is_some()
    }

    /// Whether bodies are patches in the caller's words until they are sent.
    pub(crate) fn keeps_patch(&self) -> bool {
        self.updater.as_ref().is_some_and(|updater| updater.update.is_patch())
    }

    /// Sends a request as the upstream sees it; see `Upstream::send`.
    pub(crate) async fn send(
        &self,
        outbound: Outbound,
        trace: impl Fn(u64) -> Option<HeaderValue> + Sync,
        note: impl Fn(Attempt) + Sync,
    ) -> Result<Response, Refusal> {
        match &self.updater {
            // In a box of its own: all other requests would carry its size about.
            Some(updater) => Box::pin(updater.send(&self.upstream, outbound, trace, note)).await,
            None => self.upstream.send(outbound, trace, note).await,
        }
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

    /// Links in the header that lead to the upstream's own paths become ones that lead through the gateway.
    pub(crate) fn relocate(&self, headers: &mut HeaderMap) {
        if self.is_translated {
            return;
        }
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let own = headers.get(&name).and_then(|value| self.own(value.to_str().ok()?));
            if let Some(location) = own.and_then(|own| HeaderValue::try_from(own).ok()) {
                headers.insert(name, location);
            }
        }
        let header::Entry::Occupied(mut links) = headers.entry(header::LINK) else {
            return;
        };
        for value in links.iter_mut() {
            let mut own = |target: &str| Ok(Some(self.own(target).unwrap_or_else(|| target.to_owned())));
            let rewritten = value.to_str().ok().and_then(|text| rewrite_links(text, &mut own).ok()?);
            // What cannot be read passes as it came.
            if let Some(rewritten) = rewritten.and_then(|text| HeaderValue::try_from(text).ok()) {
                *value = rewritten;
            }
        }
    }

    /// A link to the upstream as it leads through the gateway; `None` where it leads elsewhere.
    fn own(&self, link: &str) -> Option<String> {
        let own = self.upstream.own_path(link)?.strip_prefix(&self.base)?;
        let is_whole = own.is_empty() || own.starts_with(['/', '?', '#']);
        is_whole.then(|| format!("{}{own}", self.prefix))
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
            let mut response = self
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
