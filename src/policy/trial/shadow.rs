//! Translates a sample of messages once more, by the candidate, after their answers are on their way.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

use crate::{
    contract::{Operation, Translation, Unmappable},
    exchange::Exchange,
    json::Document,
    lifecycle::trial::{
        Seen, Trial,
        compare::{self, Difference, pattern},
    },
    lookup::Resolver,
    policy::{Handling, Next, Policy, Request, buffer::Payload, validate::OwnAnswer},
    problem::Violation,
};

/// Messages that wait to be compared; further ones are dropped and counted.
const WAITING: usize = 64;
/// Largest answer that is compared, in bytes: what waits must not fill the memory.
const LARGEST: usize = 1 << 20;

/// The two translations of one operation.
pub(crate) struct Pair {
    pub(crate) live: Arc<Translation>,
    pub(crate) candidate: Arc<Translation>,
    /// In the caller's version.
    pub(crate) caller: Arc<Operation>,
    /// In the upstream's version.
    pub(crate) upstream: Arc<Operation>,
    /// The caller's.
    pub(crate) version: Arc<str>,
}

/// Stands before the translation, and keeps what it gets.
pub(crate) struct Shadow {
    pub(crate) trial: Arc<Trial>,
    pub(crate) pair: Arc<Pair>,
    /// From 0 to 1.
    pub(crate) sample: f64,
    pub(crate) shadows: Arc<Shadows>,
    /// Answers what mappings ask, as far as that is known.
    pub(crate) resolver: Arc<Resolver>,
}

/// Stands behind the translation, and keeps what the upstream answers.
pub(crate) struct Tap;

/// What the upstream answered, once it has; in the request's extensions where the request is one of the sample.
#[derive(Clone, Default)]
struct Answered(Arc<Mutex<Option<Answer>>>);

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

/// One message to be compared.
struct Job {
    trial: Arc<Trial>,
    pair: Arc<Pair>,
    resolver: Arc<Resolver>,
    path_values: Vec<String>,
    query: Option<String>,
    headers: HeaderMap,
    document: Option<Arc<Document>>,
    answer: Option<Answer>,
}

/// The messages that wait to be compared. Outlives snapshots.
pub struct Shadows {
    sender: mpsc::Sender<Job>,
    receiver: Mutex<Option<mpsc::Receiver<Job>>>,
}

impl Default for Shadows {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl Shadows {
    /// Compares what comes, one after the other, until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else { return };
        while let Some(job) = receiver.recv().await {
            match job.compare() {
                Some(seen) => job.trial.compared(seen),
                None => job.trial.dropped(),
            }
            // Deliveries and reloads run here as well.
            tokio::task::yield_now().await;
        }
    }

    fn add(&self, job: Job) {
        if let Err(full) = self.sender.try_send(job) {
            full.into_inner().trial.dropped();
        }
    }
}

impl Policy for Shadow {
    fn name(&self) -> &'static str {
        "shadow"
    }

    fn handle<'a>(&'a self, mut request: Request, next: Next<'a>) -> Handling<'a> {
        if fastrand::f64() >= self.sample {
            return next.run(request);
        }
        let answered = Answered::default();
        request.extensions_mut().insert(answered.clone());
        let path_values = Exchange::of(&request).and_then(|exchange| exchange.path_values.get().cloned());
        let mut job = Job {
            trial: self.trial.clone(),
            pair: self.pair.clone(),
            resolver: self.resolver.clone(),
            path_values: path_values.unwrap_or_default(),
            query: request.uri().query().map(str::to_owned),
            headers: request.headers().clone(),
            document: Payload::of(&request),
            answer: None,
        };
        Box::pin(async move {
            let outcome = next.run(request).await;
            job.answer = answered.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.shadows.add(job);
            outcome
        })
    }
}

impl Policy for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        let Some(answered) = request.extensions().get::<Answered>().cloned() else {
            return next.run(request);
        };
        Box::pin(async move {
            let response = next.run(request).await?;
            if response.extensions().get::<OwnAnswer>().is_some() {
                return Ok(response);
            }
            // The translation reads all of it next; what is not within its bound is its to refuse.
            let (parts, body) = response.into_parts();
            let body = match body.peek(LARGEST).await {
                Ok(bytes) => {
                    let answer = Answer {
                        status: parts.status,
                        headers: parts.headers.clone(),
                        bytes: bytes.clone(),
                    };
                    *answered.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                    bytes.into()
                }
                Err(whole) => whole,
            };
            Ok(http::Response::from_parts(parts, body))
        })
    }
}

impl Job {
    /// In what the candidate's translations differ from the live ones; `None` where one of them asks for a key that
    /// is not known: what is tried calls nobody.
    fn compare(&self) -> Option<Vec<Seen>> {
        let mut seen: BTreeSet<Seen> = BTreeSet::new();
        let mut note = |direction, differences: Vec<Difference>| {
            seen.extend(differences.into_iter().map(|difference| Seen {
                operation: self.pair.caller.id.clone(),
                version: self.pair.version.clone(),
                direction,
                difference,
            }));
        };
        let knowing = |translation: &Arc<Translation>| Arc::new(self.resolver.knowing(translation));
        let pair = Pair {
            live: knowing(&self.pair.live),
            candidate: knowing(&self.pair.candidate),
            caller: self.pair.caller.clone(),
            upstream: self.pair.upstream.clone(),
            version: self.pair.version.clone(),
        };
        note("request", self.request(&pair)?);
        if let Some(answer) = &self.answer {
            note("response", pair.response(answer)?);
        }
        Some(seen.into_iter().collect())
    }

    fn request(&self, pair: &Pair) -> Option<Vec<Difference>> {
        let translate = |translation: &Translation| {
            let mut headers = self.headers.clone();
            let mapped = translation.request(
                &self.path_values,
                self.query.as_deref(),
                &mut headers,
                self.document.as_deref(),
            );
            mapped.map(|mapped| (mapped, headers))
        };
        let live = translate(&pair.live);
        let candidate = translate(&pair.candidate);
        let ((live, live_headers), (candidate, candidate_headers)) = match both(live, candidate) {
            Ok(both) => both,
            Err(differences) => return differences,
        };
        let mut found = compare::documents(live.body.as_ref(), candidate.body.as_ref());
        let target = |text: &str, position: usize| text.splitn(2, '?').nth(position).map(str::to_owned);
        for (at, is_same) in [
            ("method", live.method == candidate.method),
            (
                "path",
                target(&live.path_and_query, 0) == target(&candidate.path_and_query, 0),
            ),
            (
                "query",
                target(&live.path_and_query, 1) == target(&candidate.path_and_query, 1),
            ),
            ("header", live_headers == candidate_headers),
        ] {
            if !is_same {
                found.push(Difference::new(at, "value"));
            }
        }
        if let Some(body) = &candidate.body {
            found.extend(invalid(pair.upstream.check_request_body(body)));
        }
        Some(found)
    }
}

impl Pair {
    fn response(&self, answer: &Answer) -> Option<Vec<Difference>> {
        let document = if answer.bytes.is_empty() {
            None
        } else {
            // An answer that is not JSON is translated by neither.
            match Document::parse(answer.bytes.clone()) {
                Ok(document) => Some(document),
                Err(_) => return Some(Vec::new()),
            }
        };
        let translate = |translation: &Translation| {
            let mut headers = answer.headers.clone();
            let mapped = translation.response(answer.status, &mut headers, document.as_ref());
            mapped.map(|mapped| (mapped, headers))
        };
        let ((live, _), (candidate, headers)) = match both(translate(&self.live), translate(&self.candidate)) {
            Ok(both) => both,
            Err(differences) => return differences,
        };
        let mut found = compare::documents(live.body.as_ref(), candidate.body.as_ref());
        if live.status != candidate.status {
            found.push(Difference::new("status", "value"));
        }
        let violations = |mapped: &crate::contract::MappedResponse| {
            self.caller
                .check_response(mapped.status, &headers, mapped.body.as_ref())
        };
        // What the live one gets wrong as well is no difference.
        let known = violations(&live);
        let fresh = violations(&candidate)
            .into_iter()
            .filter(|violation| !known.contains(violation));
        found.extend(invalid(fresh.collect()));
        Some(found)
    }
}

/// Both results, or the difference that only one of them is any; `None` where one waits for a key.
fn both<T>(live: Result<T, Unmappable>, candidate: Result<T, Unmappable>) -> Result<(T, T), Option<Vec<Difference>>> {
    match (live, candidate) {
        (Ok(live), Ok(candidate)) => Ok((live, candidate)),
        (Err(waiting), _) | (_, Err(waiting)) if waiting.is_waiting => Err(None),
        (Err(_), Err(_)) => Err(Some(Vec::new())),
        (Ok(_), Err(unmappable)) => Err(Some(vec![Difference::new(pattern(&unmappable.pointer), "unmappable")])),
        (Err(unmappable), Ok(_)) => Err(Some(vec![Difference::new(pattern(&unmappable.pointer), "mappable")])),
    }
}

fn invalid(violations: Vec<Violation>) -> impl Iterator<Item = Difference> {
    let places = violations.into_iter().map(|violation| pattern(&violation.at));
    places.map(|at| Difference::new(at, "invalid"))
}
