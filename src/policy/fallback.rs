//! Accepts what the upstream cannot take now: stored durably, answered with 202, delivered in order.

mod record;

pub(crate) use self::record::Recorded;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::{
    Handling, Next, Outcome, Policy, Request, buffer::Payload, forward::Forward, idempotency::Keyed, place::Places,
    status::accepted,
};
use crate::{
    body::Body,
    config::FallbackWhenSpec,
    exchange::Exchange,
    problem::{Refusal, UpstreamCause},
    queue::{
        Admission, Admitted, Arriving, AttemptOutcome, Failure, Gate, HeadOfLine, Lane, Limits, LogError, MessageLog,
        MessageView, NewMessage, OrderKey, StoredRequest, TRANSLATED_TO,
    },
};

/// Queues requests of one operation.
pub struct Fallback {
    /// What the message says of itself; the lookup key of its route when it is delivered.
    pub api: Arc<str>,
    pub operation: Arc<str>,
    pub version: Arc<str>,
    pub upstream: Arc<str>,
    pub when: Vec<FallbackWhenSpec>,
    pub deadline: Duration,
    pub max_attempts: u32,
    pub head_of_line: HeadOfLine,
    pub limits: Limits,
    pub arriving: Arc<Arriving>,
    pub log: Arc<dyn MessageLog>,
    pub gates: Arc<Gates>,
    /// Storing goes on when the client hangs up.
    pub background: tokio::runtime::Handle,
    /// Between which versions what is stored was translated, as [`Mark::stored`](crate::contract::Mark::stored) says it.
    pub translated: Option<Arc<str>>,
    /// The last step, which knows what the upstream gets.
    pub forward: Arc<Forward>,
    /// Whether a request is on disk before it is sent.
    pub is_durable: bool,
    /// How long a request waits for an earlier one of its order key before it is queued behind it.
    pub patience: Duration,
}

/// Finds where a request would stand in the queue. Before it is translated: files say it in the caller's words, and what
/// the caller sent is not kept for longer.
pub struct Rank {
    pub order_by: Places,
    pub lane: Option<LaneBy>,
}

/// What a request waits behind, if behind any, and its lane; in the request's extensions.
#[derive(Clone)]
struct Ranked {
    order: Option<String>,
    lane: Lane,
}

impl Policy for Rank {
    fn name(&self) -> &'static str {
        "rank"
    }

    fn handle<'a>(&'a self, mut request: Request, next: Next<'a>) -> Handling<'a> {
        // Only what has a key is ever queued.
        if let (Some(_), Some(exchange)) = (request.extensions().get::<Keyed>(), Exchange::of(&request)) {
            let path_values = exchange.path_values.get().map_or(&[][..], Vec::as_slice);
            let document = Payload::of(&request);
            let find = |places: &Places| places.find(request.headers(), path_values, document.as_deref());
            let ranked = Ranked {
                order: find(&self.order_by),
                lane: self
                    .lane
                    .as_ref()
                    .map_or(Lane::Standard, |lane| lane.lane(find(&lane.by).as_deref())),
            };
            request.extensions_mut().insert(ranked);
        }
        next.run(request)
    }
}

/// Which requests go first.
pub struct LaneBy {
    pub by: Places,
    pub urgent: Vec<String>,
    pub bulk: Vec<String>,
}

impl LaneBy {
    fn lane(&self, value: Option<&str>) -> Lane {
        let is_in = |values: &[String]| value.is_some_and(|value| values.iter().any(|known| known == value));
        if is_in(&self.urgent) {
            Lane::Urgent
        } else if is_in(&self.bulk) {
            Lane::Bulk
        } else {
            Lane::Standard
        }
    }
}

/// One gate per order key: while a request of a key is at the upstream, the next one of that key waits. So a request
/// that ends up in the queue is never overtaken by a later one.
#[derive(Default)]
pub struct Gates(Mutex<HashMap<OrderKey, Weak<tokio::sync::Mutex<()>>>>);

impl Gates {
    fn of(&self, key: &OrderKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(key).and_then(Weak::upgrade) {
            return gate;
        }
        if gates.len() >= 1_024 && gates.len().is_power_of_two() {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        gates.insert(key.clone(), Arc::downgrade(&gate));
        gate
    }
}

impl Policy for Fallback {
    fn name(&self) -> &'static str {
        "fallback"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let Some(keyed) = request.extensions().get::<Keyed>().cloned() else {
                return next.run(request).await;
            };
            let exchange = Exchange::of(&request).cloned().ok_or(Refusal::Internal)?;
            let (order_key, lane) = self.place(&request, &keyed)?;
            let (spare, request) = copy(request)?;
            let message = self.message(spare, &keyed, &exchange, order_key.clone(), lane);
            self.arriving.count(message.request.size());
            if prefers_asynchronous(request.headers()) {
                return self.queue(message, &exchange, false, true).await;
            }
            if self.when.contains(&FallbackWhenSpec::Always) {
                return self.queue(message, &exchange, false, false).await;
            }
            let gate = self.gates.of(&order_key);
            let Ok(passing) = tokio::time::timeout(self.patience, gate.lock_owned()).await else {
                return self.queue(message, &exchange, false, false).await;
            };
            match self.log.gate(&self.api, &order_key).await {
                Ok(Gate::Open) => {}
                Ok(Gate::Behind(_) | Gate::Paused) => return self.queue(message, &exchange, false, false).await,
                Err(error) => return Err(unavailable(&error)),
            }
            if self.is_durable {
                return self.record(message, request, next, &exchange, passing).await;
            }
            let outcome = next.run(request).await;
            match self.reason(&outcome) {
                Some(is_in_doubt) => self.queue(message, &exchange, is_in_doubt, false).await,
                None => outcome,
            }
        })
    }
}

impl Fallback {
    /// Behind which requests this one waits, and in which lane.
    fn place(&self, request: &Request, keyed: &Keyed) -> Result<(OrderKey, Lane), Refusal> {
        let ranked = request.extensions().get::<Ranked>().ok_or(Refusal::Internal)?;
        // A request that belongs to no order has nobody to wait for.
        let value = ranked.order.clone().unwrap_or_else(|| format!("key:{}", keyed.key));
        let upstream = self.upstream.to_string();
        Ok((OrderKey { upstream, value }, ranked.lane))
    }

    /// Whether an outcome sends the request to the queue, and if so, whether the upstream may have acted on it.
    fn reason(&self, outcome: &Outcome) -> Option<bool> {
        use FallbackWhenSpec::{Throttled, Timeout, Unavailable};
        let (when, is_in_doubt) = match outcome {
            Err(Refusal::UpstreamUnavailable { cause, .. }) => (Unavailable, *cause == UpstreamCause::Broken),
            Err(Refusal::UpstreamTimeout { sent, .. }) => (Timeout, *sent),
            Ok(response) => match response.status() {
                StatusCode::TOO_MANY_REQUESTS => (Throttled, false),
                StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(http::header::RETRY_AFTER) => {
                    (Unavailable, false)
                }
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => (Unavailable, true),
                StatusCode::GATEWAY_TIMEOUT => (Timeout, true),
                _ => return None,
            },
            Err(_) => return None,
        };
        self.when.contains(&when).then_some(is_in_doubt)
    }

    fn message(
        &self,
        request: Request,
        keyed: &Keyed,
        exchange: &Exchange,
        order_key: OrderKey,
        lane: Lane,
    ) -> NewMessage {
        let outbound = self.forward.outbound(request, exchange);
        let headers = outbound
            .headers
            .iter()
            .filter(|(name, _)| name.as_str() != TRANSLATED_TO)
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let contract = self.translated.iter();
        let headers = headers.chain(contract.map(|mark| (TRANSLATED_TO.to_owned(), mark.as_bytes().to_vec())));
        let trail = exchange.trail();
        let fact = |name| {
            trail
                .facts
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        };
        let transaction = fact("crossdock.transaction.type").zip(fact("crossdock.transaction.key"));
        let deadline = jiff::SignedDuration::try_from(self.deadline).unwrap_or(jiff::SignedDuration::MAX);
        NewMessage {
            id: uuid::Uuid::now_v7().to_string(),
            scope: keyed.scope,
            fingerprint: keyed.fingerprint,
            api: self.api.to_string(),
            operation: self.operation.to_string(),
            version: self.version.to_string(),
            channel: exchange
                .caller
                .get()
                .map_or_else(String::new, |caller| caller.channel.to_string()),
            order_key,
            lane,
            head_of_line: self.head_of_line,
            transaction,
            correlation: exchange.correlation.to_string(),
            traceparent: exchange
                .trace
                .traceparent(exchange.trace.span_id)
                .to_str()
                .unwrap_or_default()
                .to_owned(),
            request: StoredRequest {
                method: outbound.method.to_string(),
                path_and_query: outbound.path_and_query,
                headers: headers.collect(),
                body: outbound.body.as_bytes().unwrap_or_default(),
                idempotency_key: keyed.key.clone(),
            },
            deadline: Timestamp::now().checked_add(deadline).unwrap_or(Timestamp::MAX),
            max_attempts: self.max_attempts,
            is_in_doubt: false,
            is_synchronous: false,
        }
    }

    /// Sends a request whose intent is on disk, so that a crash leaves doubt and not ignorance.
    async fn record(
        &self,
        mut message: NewMessage,
        request: Request,
        next: Next<'_>,
        exchange: &Exchange,
        passing: tokio::sync::OwnedMutexGuard<()>,
    ) -> Outcome {
        message.is_synchronous = true;
        let id = message.id.clone();
        let admission = Admission {
            message,
            limits: self.limits,
            // Longer than the attempt can take.
            attempt: Some(self.patience * 2 + Duration::from_secs(10)),
        };
        let (admitted, view) = self.store(admission).await?;
        let Admitted::New(Some(lease)) = admitted else {
            return queued(&admitted, view, exchange);
        };
        let recorded = Recorded::new(self.log.clone(), self.background.clone(), lease, passing);
        let mut outcome = next.run(request).await;
        let ended = match (self.reason(&outcome), &mut outcome) {
            (Some(is_in_doubt), outcome) => Some((waits(is_in_doubt, outcome), true)),
            (None, Ok(response)) => match response.status().as_u16() {
                // Nothing was done, and the client is told so.
                425 | 429 => Some((AttemptOutcome::Forgotten, false)),
                408 | 500.. => Some((waits(true, &outcome), false)),
                status => {
                    recorded.saw(status);
                    response.extensions_mut().insert(recorded.clone());
                    None
                }
            },
            (None, Err(refusal)) => {
                let may_have_happened = matches!(
                    refusal,
                    Refusal::UpstreamUnavailable {
                        cause: UpstreamCause::Broken,
                        ..
                    } | Refusal::UpstreamTimeout { sent: true, .. }
                );
                Some(if may_have_happened {
                    (waits(true, &outcome), false)
                } else {
                    (AttemptOutcome::Forgotten, false)
                })
            }
        };
        let Some((ended, is_queued)) = ended else {
            return outcome;
        };
        recorded.ended(ended).await.map_err(|error| unavailable(&error))?;
        if !is_queued {
            return outcome;
        }
        let view = self.log.get(&id).await.map_err(|error| unavailable(&error))?;
        queued(&Admitted::New(None), view, exchange)
    }

    /// Stores the message; the answer is given only after the commit.
    async fn queue(
        &self,
        mut message: NewMessage,
        exchange: &Exchange,
        is_in_doubt: bool,
        was_asked_for: bool,
    ) -> Outcome {
        message.is_in_doubt = is_in_doubt;
        let admission = Admission {
            message,
            limits: self.limits,
            attempt: None,
        };
        let (admitted, view) = self.store(admission).await?;
        let mut response = queued(&admitted, view, exchange)?;
        if was_asked_for {
            let applied = (
                HeaderName::from_static("preference-applied"),
                HeaderValue::from_static("respond-async"),
            );
            response.headers_mut().insert(applied.0, applied.1);
        }
        Ok(response)
    }

    /// Goes on when the client hangs up.
    async fn store(&self, admission: Admission) -> Result<(Admitted, Option<MessageView>), Refusal> {
        let (log, id) = (self.log.clone(), admission.message.id.clone());
        let storing = self.background.spawn(async move {
            let admitted = log.admit(admission, Timestamp::now()).await?;
            let id = match &admitted {
                Admitted::New(Some(_)) | Admitted::Mismatch => return Ok::<_, LogError>((admitted, None)),
                Admitted::New(None) => id,
                Admitted::Replay(view) => view.id.clone(),
            };
            let view = log.get(&id).await?;
            Ok((admitted, view))
        });
        match storing.await {
            Ok(stored) => stored.map_err(|error| unavailable(&error)),
            Err(_) => Err(unavailable(&LogError::Closed)),
        }
    }
}

/// 202 for what is stored.
fn queued(admitted: &Admitted, view: Option<MessageView>, exchange: &Exchange) -> Outcome {
    let (Admitted::New(_) | Admitted::Replay(_), Some(view)) = (admitted, view) else {
        return Err(Refusal::IdempotencyKeyReused);
    };
    let mut trail = exchange.trail();
    trail.is_queued = true;
    trail.note("crossdock.queue.id", view.id.clone());
    drop(trail);
    Ok(accepted(&view, matches!(admitted, Admitted::Replay(_))))
}

/// What an attempt that failed leaves.
fn waits(is_in_doubt: bool, outcome: &Outcome) -> AttemptOutcome {
    let cause = match outcome {
        Ok(response) => format!("the upstream answered {}", response.status().as_u16()),
        Err(refusal) => refusal.to_string(),
    };
    let (at, failure) = (Timestamp::now(), Failure::technical(cause));
    if is_in_doubt {
        AttemptOutcome::InDoubt { at, failure }
    } else {
        AttemptOutcome::RetryAt {
            at,
            failure,
            counts: false,
        }
    }
}

fn unavailable(error: &LogError) -> Refusal {
    Refusal::QueueUnavailable {
        cause: error.to_string().into(),
        retry_after: Duration::from_secs(5),
    }
}

/// The client asks to be answered before the work is done (RFC 7240 §4.1).
fn prefers_asynchronous(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

/// Two of a request whose body is in memory.
fn copy(request: Request) -> Result<(Request, Request), Refusal> {
    let (parts, body) = request.into_parts();
    // The buffer step stands before this one on every route that has a fallback.
    let bytes = body.as_bytes().ok_or(Refusal::Internal)?;
    let mut spare = Request::new(Body::from(bytes.clone()));
    *spare.method_mut() = parts.method.clone();
    *spare.uri_mut() = parts.uri.clone();
    *spare.headers_mut() = parts.headers.clone();
    *spare.extensions_mut() = parts.extensions.clone();
    Ok((spare, Request::from_parts(parts, Body::from(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_stands_among_others() {
        let headers: HeaderMap = [(
            HeaderName::from_static("prefer"),
            HeaderValue::from_static("wait=5, Respond-Async"),
        )]
        .into_iter()
        .collect();
        assert!(prefers_asynchronous(&headers));
        assert!(!prefers_asynchronous(&HeaderMap::new()));
    }

    #[test]
    fn a_gate_is_shared_by_all_who_hold_it_and_forgotten_after() {
        let (gates, key) = (
            Gates::default(),
            OrderKey {
                upstream: "erp".into(),
                value: "4711".into(),
            },
        );
        let first = gates.of(&key);
        assert!(Arc::ptr_eq(&first, &gates.of(&key)));
        drop(first);
        assert_eq!(Arc::strong_count(&gates.of(&key)), 1);
    }

    #[test]
    fn values_choose_the_lane() {
        let by = Places::compile(&crate::config::PlacesSpec::Everywhere(Vec::new()), "v1", &[]).unwrap();
        let lanes = LaneBy {
            by,
            urgent: vec!["same-day".into()],
            bulk: vec!["replenishment".into()],
        };
        assert_eq!(lanes.lane(Some("same-day")), Lane::Urgent);
        assert_eq!(lanes.lane(Some("replenishment")), Lane::Bulk);
        assert_eq!(lanes.lane(None), Lane::Standard);
    }
}
