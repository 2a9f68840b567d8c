//! Takes a queued message to its upstream, by the snapshot in force, and maps the answer for its caller.

mod lookup;
mod renew;
pub(super) mod throttle;

pub(crate) use self::lookup::Lookup;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};

use super::{
    NewMessage, StoredResponse, TRANSLATED_TO,
    delivery::{Courier, Delivery, LookedUp, Repeats, Terms},
};
use crate::{
    body::Body,
    contract::Mark,
    exchange::Attempt,
    lookup::Asker,
    policy::map,
    problem::{Refusal, UpstreamCause},
    shared::Shared,
    snapshot::{DeliveryRoute, Route},
    upstream::{Outbound, Upstream, headers},
};

/// Largest answer that is kept, in bytes, where the route is gone.
const LARGEST_ANSWER: u64 = 1 << 20;

/// Delivers by the gateway's own upstreams, so that breakers, pools and credentials are shared with direct traffic.
pub struct Gateway {
    shared: Arc<Shared>,
}

impl Gateway {
    /// For one gateway.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        self.shared.snapshot.load().as_ref()?.upstreams.get(name).cloned()
    }

    fn route(&self, message: &NewMessage) -> Option<Arc<Route>> {
        let snapshot = self.shared.snapshot.load_full()?;
        snapshot
            .route(&message.api, &message.operation, &message.version)
            .cloned()
    }

    async fn deliver(&self, message: &NewMessage, number: u32) -> Delivery {
        let Some(upstream) = self.upstream(&message.order_key.upstream) else {
            return Delivery::NotSent(format!(
                "the policies have no upstream `{}` any more",
                message.order_key.upstream
            ));
        };
        let Some(outbound) = outbound(message) else {
            return Delivery::Unsendable("the stored request cannot be rebuilt".to_owned());
        };
        let snapshot = self.shared.snapshot.load_full();
        let route = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.route(&message.api, &message.operation, &message.version))
            .and_then(|route| route.delivery.as_ref())
            .filter(|route| route.upstream.name == upstream.name);
        let trace = self
            .shared
            .traces
            .as_ref()
            .map(|traces| traces.delivery(&message.traceparent));
        let attempts = Mutex::new(Vec::<Attempt>::new());
        let started = Instant::now();
        let traceparent = |span| trace.as_ref().map(|trace| trace.traceparent(span));
        let note = |attempt| attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
        let asker = Asker {
            correlation: &message.correlation,
            patience: upstream.spec().timeouts.total.0,
            trace: &traceparent,
            note: &note,
        };
        let outbound = match route {
            // Sent as it is, it would erase what its caller could not see.
            None if message.request.translated().is_some_and(Mark::is_merged) => Err(renew::UNMERGED.to_owned()),
            None => Ok(outbound),
            Some(route) => renew::renew(route, outbound, message.request.translated(), &asker).await,
        };
        let outbound = match outbound {
            Ok(outbound) => outbound,
            Err(note) => return Delivery::Unsendable(note),
        };
        let sent = match route {
            Some(route) => route.forward.send(outbound, traceparent, note).await,
            None => upstream.send(outbound, traceparent, note).await,
        };
        let delivery = match sent {
            Ok(response) => self.answered(message, response, &asker).await,
            Err(refusal) => failed(&refusal),
        };
        if let (Some(traces), Some(trace)) = (&self.shared.traces, trace) {
            let attempts = attempts.into_inner().unwrap_or_else(PoisonError::into_inner);
            traces.record_delivery(&trace, message, number, &attempts, started, &delivery);
        }
        delivery
    }

    async fn answered(&self, message: &NewMessage, response: Response<Body>, asker: &Asker<'_>) -> Delivery {
        let (mut parts, body) = response.into_parts();
        headers::from_upstream(&mut parts.headers);
        let now = std::time::SystemTime::now();
        let retry_after = throttle::retry_after(&parts.headers, now);
        let spent = throttle::spent(&parts.headers, now);
        let status = parts.status;
        let snapshot = self.shared.snapshot.load_full();
        let route = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.route(&message.api, &message.operation, &message.version));
        let delivery = route.and_then(|route| route.delivery.as_ref());
        let limit = delivery.map_or(LARGEST_ANSWER, |delivery| delivery.limit);
        let bytes = match body.buffer(limit).await {
            Ok(bytes) => bytes,
            Err(error) => return Delivery::Broken(error.to_string()),
        };
        match mapped(delivery, parts, bytes, asker).await {
            Ok(response) => Delivery::Answer {
                response,
                retry_after,
                spent,
            },
            Err(note) if status.is_success() => Delivery::Withheld {
                status: status.as_u16(),
                note,
            },
            Err(detail) => Delivery::Answer {
                response: withheld(message, status, detail),
                retry_after,
                spent,
            },
        }
    }
}

impl Courier for Gateway {
    fn attempt<'a>(
        &'a self,
        message: &'a NewMessage,
        number: u32,
    ) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>> {
        Box::pin(self.deliver(message, number))
    }

    fn look_up<'a>(&'a self, message: &'a NewMessage) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>> {
        Box::pin(async move {
            let (route, upstream) = (self.route(message), self.upstream(&message.order_key.upstream));
            let delivery = route.as_ref().and_then(|route| route.delivery.as_ref());
            let lookup = delivery.and_then(|delivery| delivery.lookup.as_ref());
            match (lookup, upstream) {
                (Some(lookup), Some(upstream)) => lookup.ask(&upstream, message).await,
                _ => LookedUp::Failed("the policies name no lookup for it any more".to_owned()),
            }
        })
    }

    fn repeats(&self, message: &NewMessage) -> Repeats {
        let route = self.route(message);
        let delivery = route.as_ref().and_then(|route| route.delivery.as_ref());
        if let Some(lookup) = delivery.and_then(|delivery| delivery.lookup.as_ref()) {
            return Repeats::Lookup { settle: lookup.settle };
        }
        let upstream = self.upstream(&message.order_key.upstream);
        let honoured = upstream.as_ref().and_then(|upstream| upstream.honours_repeats());
        honoured.map_or(Repeats::Unsafe, |honoured| Repeats::Honoured {
            retention: honoured.retention.0,
        })
    }

    fn terms(&self, upstream: &str) -> Option<Terms> {
        let upstream = self.upstream(upstream)?;
        upstream
            .is_open_for_requests()
            .then(|| Terms::from(&upstream.spec().delivery))
    }

    fn may_retry(&self, upstream: &str) -> bool {
        self.upstream(upstream).is_none_or(|upstream| upstream.may_repeat())
    }
}

/// The answer in the caller's words. An answer in no words the caller knows is not kept.
async fn mapped(
    route: Option<&DeliveryRoute>,
    mut parts: http::response::Parts,
    bytes: Bytes,
    asker: &Asker<'_>,
) -> Result<StoredResponse, String> {
    let Some(route) = route else {
        return Err("the policies do not offer this operation any more".to_owned());
    };
    route.forward.relocate(&mut parts.headers);
    let response = match &route.translation {
        None => Response::from_parts(parts, Body::from(bytes)),
        Some(translation) => {
            map::answer(
                translation,
                &route.upstream.name,
                parts,
                bytes,
                (&route.resolver, asker),
            )
            .await
            .map_err(|refusal| refusal.to_string())?
            .0
        }
    };
    let headers = response.headers().iter().filter(|(name, _)| is_kept(name));
    Ok(StoredResponse {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: response.body().as_bytes().unwrap_or_default(),
    })
}

/// A refusal of the upstream in no words the caller knows: its status is kept, its text is not.
fn withheld(message: &NewMessage, status: http::StatusCode, detail: String) -> StoredResponse {
    let upstream = message.order_key.upstream.as_str().into();
    let refusal = Refusal::UpstreamInvalid {
        upstream,
        detail,
        violations: Vec::new(),
    };
    StoredResponse {
        status: status.as_u16(),
        headers: vec![("content-type".to_owned(), b"application/problem+json".to_vec())],
        body: refusal.document(&message.correlation).to_string().into(),
    }
}

/// Fields that still mean something when the answer is read later.
fn is_kept(name: &HeaderName) -> bool {
    *name != header::DATE && *name != header::CONTENT_LENGTH && *name != header::SET_COOKIE
}

fn failed(refusal: &Refusal) -> Delivery {
    match refusal {
        Refusal::UpstreamUnavailable {
            cause: UpstreamCause::Broken,
            ..
        }
        | Refusal::UpstreamTimeout { sent: true, .. } => Delivery::Broken(refusal.to_string()),
        _ => Delivery::NotSent(refusal.to_string()),
    }
}

fn outbound(message: &NewMessage) -> Option<Outbound> {
    let mut headers = HeaderMap::with_capacity(message.request.headers.len());
    for (name, value) in &message.request.headers {
        if name == TRANSLATED_TO {
            continue;
        }
        headers.append(
            HeaderName::try_from(name.as_str()).ok()?,
            HeaderValue::from_bytes(value).ok()?,
        );
    }
    Some(Outbound {
        method: Method::from_bytes(message.request.method.as_bytes()).ok()?,
        path_and_query: message.request.path_and_query.clone(),
        headers,
        body: Body::from(message.request.body.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_leaves_doubt() {
        let timeout = |sent| Refusal::UpstreamTimeout {
            upstream: "erp".into(),
            sent,
        };
        assert!(matches!(failed(&timeout(true)), Delivery::Broken(_)));
        assert!(matches!(failed(&timeout(false)), Delivery::NotSent(_)));
    }
}
