//! Keys that another system knows, asked for while messages are translated, and kept for a while.
//!
//! A translation runs to its end without waiting. What it needs to know and does not yet, it notes with `Asked`;
//! `resolve` asks for all of that at once, and the translation runs again.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use quick_cache::{Weighter, sync::Cache};

use crate::{
    body::Body,
    contract::{Answer, Answers, Lookup, Question, Translation, Unmappable, Update, UpdateFault, Updated},
    exchange::Attempt,
    json::Document,
    problem::{Refusal, UpstreamCause},
    telemetry::LookupMetrics,
    upstream::{Outbound, Upstream, headers::X_CORRELATION_ID},
};

/// Most keys of one message that are asked for at the same time.
const AT_ONCE: usize = 16;
/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 256 << 10;
/// Memory for what is known of keys, in bytes.
const MEMORY: u64 = 32 << 20;
/// Memory for one key beside its text and its counterpart's, in bytes.
const ENTRY: u64 = 160;

/// A key of one system, by whom is asked and what is taken.
type Place = (Arc<str>, Arc<str>);

/// What is known of keys, and the questions under way. Outlives snapshots; kept in memory, bounded.
pub(crate) struct Lookups {
    known: Cache<Place, Kept, ByBytes>,
    /// One question for one key, however many messages wait for it.
    under_way: Mutex<HashMap<Place, Arc<Flight>>>,
}

#[derive(Clone)]
struct Kept {
    answer: Answer,
    until: Instant,
}

/// A question under way. Who holds the lock asks; what came of it stands there for all who waited.
type Flight = tokio::sync::Mutex<Option<Result<Answer, Failure>>>;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Place, Kept> for ByBytes {
    fn weight(&self, (_, key): &Place, kept: &Kept) -> u64 {
        let answer = match &kept.answer {
            Answer::Key(key) => key.len(),
            Answer::Several | Answer::Nothing => 0,
        };
        (key.len() + answer) as u64 + ENTRY
    }
}

impl Default for Lookups {
    fn default() -> Self {
        let items = usize::try_from(MEMORY / (ENTRY + 32)).unwrap_or(usize::MAX);
        Self {
            known: Cache::with_weighter(items, MEMORY, ByBytes),
            under_way: Mutex::default(),
        }
    }
}

/// Why nothing is known of a key.
#[derive(Clone, Debug)]
enum Failure {
    Unavailable(Option<Duration>),
    TimedOut,
    /// It answered something that is no answer.
    Invalid(String),
}

/// One lookup of a snapshot: whom it asks.
pub(crate) struct Bound {
    upstream: Arc<Upstream>,
    question: Question,
    /// Path at the upstream before the operation's own.
    base: String,
    /// Tells its keys from those of others.
    space: Arc<str>,
    metrics: LookupMetrics,
}

impl Bound {
    /// `version` is the contract version that the upstream speaks.
    pub(crate) fn new(
        lookup: &Lookup,
        question: Question,
        (upstream, version, base): (&Arc<Upstream>, &str, &str),
        metrics: LookupMetrics,
    ) -> Self {
        Self {
            upstream: upstream.clone(),
            question,
            base: base.trim_end_matches('/').to_owned(),
            space: format!("{}\n{version}\n{base}\n{}", upstream.name, lookup.name).into(),
            metrics,
        }
    }
}

/// Answers what the mappings of one snapshot ask.
#[derive(Default)]
pub(crate) struct Resolver {
    pub(crate) bound: HashMap<Arc<str>, Bound>,
    pub(crate) lookups: Arc<Lookups>,
}

/// On whose behalf keys are asked for.
pub(crate) struct Asker<'a> {
    pub(crate) correlation: &'a str,
    /// How long the keys of a message are waited for in all.
    pub(crate) patience: Duration,
    /// Makes a `traceparent` for a span.
    pub(crate) trace: &'a (dyn Fn(u64) -> Option<HeaderValue> + Sync),
    pub(crate) note: &'a (dyn Fn(Attempt) + Sync),
}

/// The keys of one lookup.
type Keys = HashMap<Arc<str>, Key>;

/// How a key of a message stands.
#[derive(Clone, Debug)]
enum Key {
    /// It is asked for.
    Wanted,
    Known(Answer),
    /// It could not be found out, and only a link needed it.
    Lacking,
}

/// A key that is to be asked for.
struct Wanted {
    lookup: Arc<Lookup>,
    key: Arc<str>,
    /// More than a link needs it.
    is_needed: bool,
}

/// What is known of keys while one message is translated.
pub(crate) struct Asked {
    resolver: Arc<Resolver>,
    keys: Mutex<HashMap<Arc<str>, Keys>>,
    wanted: Mutex<Vec<Wanted>>,
    /// Known once something had to be asked.
    deadline: OnceLock<Instant>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

impl Answers for Asked {
    fn answer(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        self.find(lookup, key, true)
    }

    fn answer_for_link(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        self.find(lookup, key, false)
    }

    fn is_waiting(&self) -> bool {
        !locked(&self.wanted).is_empty()
    }
}

impl Asked {
    fn find(&self, lookup: &Arc<Lookup>, key: &str, is_needed: bool) -> Option<Answer> {
        let mut keys = locked(&self.keys);
        let own = keys.entry(lookup.name.clone()).or_default();
        match own.get(key) {
            Some(Key::Known(answer)) => return Some(answer.clone()),
            Some(Key::Lacking) if !is_needed => return Some(Answer::Nothing),
            Some(Key::Wanted) => {
                let mut wanted = locked(&self.wanted);
                let same = |wanted: &&mut Wanted| wanted.lookup.name == lookup.name && *wanted.key == *key;
                if is_needed && let Some(wanted) = wanted.iter_mut().find(same) {
                    wanted.is_needed = true;
                }
                return None;
            }
            Some(Key::Lacking) | None => {}
        }
        let key: Arc<str> = key.into();
        let answer = self.resolver.known(lookup, &key);
        if answer.is_none() {
            locked(&self.wanted).push(Wanted {
                lookup: lookup.clone(),
                key: key.clone(),
                is_needed,
            });
        }
        own.insert(key, answer.clone().map_or(Key::Wanted, Key::Known));
        answer
    }
}

impl Resolver {
    /// For one message.
    pub(crate) fn answers(self: &Arc<Self>) -> Arc<Asked> {
        Arc::new(Asked {
            resolver: self.clone(),
            keys: Mutex::default(),
            wanted: Mutex::default(),
            deadline: OnceLock::new(),
        })
    }

    /// Translates a message, as often as it takes to know all of its keys.
    pub(crate) async fn translate<T>(
        self: &Arc<Self>,
        translation: &Translation,
        asker: &Asker<'_>,
        mut run: impl FnMut(&Translation) -> Result<T, Unmappable>,
    ) -> Result<Result<T, Unmappable>, Refusal> {
        if translation.lookups().next().is_none() {
            return Ok(run(translation));
        }
        let answers = self.answers();
        let knowing = translation.knowing(answers.clone());
        loop {
            match run(&knowing) {
                Err(unmappable) if unmappable.is_waiting => answers.resolve(asker).await?,
                done => return Ok(done),
            }
        }
    }

    /// Makes an update, as often as it takes to know all of its keys.
    pub(crate) async fn update(
        self: &Arc<Self>,
        update: &Update,
        asker: &Asker<'_>,
        make: impl Fn(&Update) -> Result<Updated, UpdateFault>,
    ) -> Result<Result<Updated, UpdateFault>, Refusal> {
        if update.lookups().next().is_none() {
            return Ok(make(update));
        }
        let answers = self.answers();
        let knowing = update.knowing(answers.clone());
        loop {
            match make(&knowing) {
                Err(UpdateFault::Waiting) => answers.resolve(asker).await?,
                done => return Ok(done),
            }
        }
    }

    /// The translation with what is known by now; nobody is asked.
    pub(crate) fn knowing(self: &Arc<Self>, translation: &Translation) -> Translation {
        translation.knowing(self.answers())
    }

    /// What is known without asking.
    fn known(&self, lookup: &Lookup, key: &Arc<str>) -> Option<Answer> {
        let bound = self.bound.get(&lookup.name)?;
        if bound.question.target(key).is_none() {
            return Some(Answer::Nothing);
        }
        let answer = self.lookups.find(&(bound.space.clone(), key.clone()))?;
        bound.metrics.known();
        Some(answer)
    }

    async fn ask(&self, lookup: &Lookup, key: &Arc<str>, asker: &Asker<'_>) -> Result<Answer, Refusal> {
        // Every lookup of a snapshot is bound when it is compiled.
        let bound = self.bound.get(&lookup.name).ok_or(Refusal::Internal)?;
        let Some(target) = bound.question.target(key) else {
            return Ok(Answer::Nothing);
        };
        let place = (bound.space.clone(), key.clone());
        let waiting = Waiting::at(&self.lookups, place);
        let mut outcome = waiting.flight.lock().await;
        if outcome.is_none() {
            let answer = match self.lookups.find(&waiting.place) {
                // It came in between.
                Some(answer) => Ok(answer),
                None => bound.call(&target, asker).await,
            };
            match &answer {
                Ok(found) => {
                    let keep = if matches!(found, Answer::Key(_)) {
                        lookup.keep
                    } else {
                        lookup.keep_misses
                    };
                    self.lookups.keep(&waiting.place, found, keep);
                }
                Err(failure) => {
                    tracing::warn!(lookup = &*lookup.label, upstream.name = &*bound.upstream.name, cause = ?failure, "lookup failed");
                }
            }
            *outcome = Some(answer);
        }
        let outcome = outcome.clone().unwrap_or(Err(Failure::TimedOut));
        outcome.map_err(|failure| failure.refusal(&bound.upstream.name))
    }
}

impl Asked {
    /// Asks for all that was noted, at once. A refusal names the upstream that does not answer.
    pub(crate) async fn resolve(&self, asker: &Asker<'_>) -> Result<(), Refusal> {
        let wanted = std::mem::take(&mut *locked(&self.wanted));
        let asking = wanted.iter().map(|wanted| async move {
            match self.resolver.ask(&wanted.lookup, &wanted.key, asker).await {
                Ok(answer) => self.knows(wanted, Key::Known(answer)),
                Err(_) if !wanted.is_needed => self.knows(wanted, Key::Lacking),
                Err(refusal) => return Err(refusal),
            }
            Ok(())
        });
        let deadline = *self.deadline.get_or_init(|| Instant::now() + asker.patience);
        if let Ok(outcome) = tokio::time::timeout_at(deadline.into(), each(asking)).await {
            return outcome;
        }
        for wanted in &wanted {
            let is_open = locked(&self.keys)
                .get(&wanted.lookup.name)
                .is_some_and(|own| matches!(own.get(&wanted.key), Some(Key::Wanted)));
            if !is_open {
                continue;
            }
            if wanted.is_needed {
                let bound = self.resolver.bound.get(&wanted.lookup.name);
                return Err(Refusal::UpstreamTimeout {
                    upstream: bound.ok_or(Refusal::Internal)?.upstream.name.clone(),
                    sent: false,
                });
            }
            self.knows(wanted, Key::Lacking);
        }
        Ok(())
    }

    fn knows(&self, wanted: &Wanted, key: Key) {
        let mut keys = locked(&self.keys);
        let own = keys.entry(wanted.lookup.name.clone()).or_default();
        own.insert(wanted.key.clone(), key);
    }
}

impl Bound {
    async fn call(&self, target: &str, asker: &Asker<'_>) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(correlation) = HeaderValue::from_str(asker.correlation) {
            headers.insert(X_CORRELATION_ID, correlation);
        }
        let outbound = Outbound {
            method: Method::GET,
            path_and_query: format!("{}{target}", self.base),
            headers,
            body: Body::from(Bytes::new()),
        };
        let sent = self.upstream.send(outbound, asker.trace, asker.note).await;
        let answer = match sent {
            Ok(response) => self.taken(response).await,
            Err(refusal) => Err(Failure::of(&refusal)),
        };
        let is_found = answer.as_ref().ok().map(|answer| matches!(answer, Answer::Key(_)));
        self.metrics.called(is_found);
        answer
    }

    async fn taken(&self, response: Response<Body>) -> Result<Answer, Failure> {
        let (parts, body) = response.into_parts();
        match parts.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Nothing),
            StatusCode::TOO_MANY_REQUESTS => {
                let seconds = parts.headers.get(header::RETRY_AFTER);
                let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                return Err(Failure::Unavailable(seconds.map(Duration::from_secs)));
            }
            status if status.is_server_error() => return Err(Failure::Unavailable(None)),
            status => return Err(Failure::Invalid(format!("it answers {} to a lookup", status.as_u16()))),
        }
        let is_plain = !parts.headers.contains_key(header::CONTENT_ENCODING);
        if !is_plain || !self.question.is_described(&parts.headers) {
            let detail = "its answer to a lookup is of a kind that its contract does not describe";
            return Err(Failure::Invalid(detail.to_owned()));
        }
        let bytes = body.buffer(LARGEST_ANSWER).await;
        let bytes = bytes.map_err(|error| Failure::Invalid(format!("its answer to a lookup: {error}")))?;
        let document = Document::parse(bytes);
        let document =
            document.map_err(|error| Failure::Invalid(format!("its answer to a lookup is not JSON: {error}")))?;
        self.question.taken(&document).map_err(Failure::Invalid)
    }
}

impl Failure {
    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::UpstreamTimeout { .. } => Self::TimedOut,
            Refusal::UpstreamUnavailable { retry_after, .. } => Self::Unavailable(*retry_after),
            other => Self::Invalid(other.to_string()),
        }
    }

    /// A question changes nothing, so that nothing is in doubt.
    fn refusal(self, upstream: &Arc<str>) -> Refusal {
        let upstream = upstream.clone();
        match self {
            Self::Unavailable(retry_after) => Refusal::UpstreamUnavailable {
                upstream,
                cause: UpstreamCause::Connect,
                retry_after,
            },
            Self::TimedOut => Refusal::UpstreamTimeout { upstream, sent: false },
            Self::Invalid(detail) => Refusal::UpstreamInvalid {
                upstream,
                detail,
                violations: Vec::new(),
            },
        }
    }
}

impl Lookups {
    fn find(&self, place: &Place) -> Option<Answer> {
        let kept = self.known.get(place)?;
        (Instant::now() < kept.until).then_some(kept.answer)
    }

    fn keep(&self, place: &Place, answer: &Answer, time: Duration) {
        let kept = Kept {
            answer: answer.clone(),
            until: Instant::now() + time,
        };
        self.known.insert(place.clone(), kept);
    }
}

/// A message that waits for a key. The last one to go takes the question away.
struct Waiting<'l> {
    lookups: &'l Lookups,
    place: Place,
    flight: Arc<Flight>,
}

impl<'l> Waiting<'l> {
    fn at(lookups: &'l Lookups, place: Place) -> Self {
        let flight = locked(&lookups.under_way).entry(place.clone()).or_default().clone();
        Self { lookups, place, flight }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut under_way = locked(&self.lookups.under_way);
        let is_answered = self.flight.try_lock().is_ok_and(|outcome| outcome.is_some());
        let is_own = under_way
            .get(&self.place)
            .is_some_and(|known| Arc::ptr_eq(known, &self.flight));
        // The map holds one of the two that are left.
        if is_own && (is_answered || Arc::strong_count(&self.flight) <= 2) {
            under_way.remove(&self.place);
        }
    }
}

/// Runs all of them, so many at a time, until one fails.
async fn each<F>(mut all: impl Iterator<Item = F>) -> Result<(), Refusal>
where
    F: Future<Output = Result<(), Refusal>>,
{
    let mut under_way: Vec<_> = all.by_ref().take(AT_ONCE).map(Box::pin).collect();
    poll_fn(move |context| {
        let mut position = 0;
        while let Some(one) = under_way.get_mut(position) {
            match one.as_mut().poll(context) {
                Poll::Pending => position += 1,
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                Poll::Ready(Ok(())) => match all.next() {
                    Some(next) => under_way[position] = Box::pin(next),
                    None => drop(under_way.swap_remove(position)),
                },
            }
        }
        if under_way.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
