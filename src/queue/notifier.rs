//! Tells channels by signed webhooks how their messages ended (Standard Webhooks, <https://www.standardwebhooks.com>).
//!
//! Each channel has its own few connections and its own pace, so that a receiver that is slow or away holds up neither
//! the others nor the deliveries. While a receiver fails, one notice at a time is tried, farther and farther apart.

mod body;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use jiff::Timestamp;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Actor, ClaimedNotice, LogError, MessageLog, MessageState, NoticeOutcome, PauseScope, Subscriptions, after,
    backoff::Backoff, courier::throttle::retry_after,
};
use crate::{
    client::{self, Https},
    config::{self, Diagnostic, Policies, WebhookEventSpec, WebhookSpec},
    shared::Shared,
    telemetry::Metrics,
    webhook::{self, Key},
};

/// Webhooks under way at once, per channel.
const SENDS: usize = 4;
/// How much longer than a receiver's timeout a gateway may take with one before another takes it over: the store may be
/// away for a while.
const MARGIN: Duration = Duration::from_secs(15);
/// How long it is tried to record what became of one.
const RECORDING: Duration = Duration::from_secs(10);
/// How often it is looked for what is due where nothing tells.
const LOOK: Duration = Duration::from_secs(1);
/// However busy the queue is, it is looked only so often.
const GLANCE: Duration = Duration::from_millis(50);
/// How often what cannot be sent is held against its age.
const CLEAR: Duration = Duration::from_secs(10);
/// Notices given up at once.
const CLEARED: usize = 100;
/// Age at which a notice is given up where its channel has no webhook any more.
const ORPHAN_AGE: Duration = Duration::from_hours(72);
/// The longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);
/// What is read of an answer, in bytes. Nothing is done with it, but its connection can be used again.
const ANSWER: usize = 16 << 10;

/// Between two tries of one notice.
const NOTICE: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_mins(15),
};
/// Between two tries at a receiver that fails.
const RECEIVER: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_mins(1),
};

/// The webhooks of a snapshot, by channel.
#[derive(Debug, Default)]
pub struct Webhooks(HashMap<String, Arc<Webhook>>);

/// Where and how one channel is told.
#[derive(Debug)]
struct Webhook {
    uri: Uri,
    /// The URL without its query, which may hold a secret: for logs and pauses.
    shown: String,
    keys: Vec<Key>,
    ends: Vec<MessageState>,
    timeout: Duration,
    give_up_after: Duration,
}

impl Webhooks {
    /// Of all channels in the policies.
    pub(crate) fn compile(policies: &Policies) -> Result<Self, Vec<Diagnostic>> {
        let (mut webhooks, mut mistakes) = (HashMap::new(), Vec::new());
        for loaded in &policies.channels {
            let Some(spec) = &loaded.spec.webhook else { continue };
            let mut keys = Vec::new();
            for secret in &spec.secrets {
                let key = config::resolve(&secret.value, &policies.folder).and_then(|text| Key::parse(&text));
                match key {
                    Ok(key) => keys.push(key),
                    Err(wrong) => mistakes.push(Diagnostic::at(&loaded.file, secret, wrong)),
                }
            }
            // A malformed URL was reported where the files were checked.
            if let Ok(uri) = spec.url.value.parse::<Uri>() {
                webhooks.insert(loaded.spec.name.value.clone(), Arc::new(Webhook::new(uri, keys, spec)));
            }
        }
        if mistakes.is_empty() {
            Ok(Self(webhooks))
        } else {
            Err(mistakes)
        }
    }

    /// Which ends are told.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        let channels = self
            .0
            .iter()
            .map(|(channel, webhook)| (channel.clone(), webhook.ends.clone()));
        Subscriptions(channels.collect())
    }
}

impl Webhook {
    fn new(uri: Uri, keys: Vec<Key>, spec: &WebhookSpec) -> Self {
        let shown = uri.to_string();
        let ends = spec.events.iter().map(|event| match event {
            WebhookEventSpec::Delivered => MessageState::Delivered,
            WebhookEventSpec::Dead => MessageState::Dead,
            WebhookEventSpec::Expired => MessageState::Expired,
            WebhookEventSpec::Discarded => MessageState::Discarded,
        });
        Self {
            shown: shown.split('?').next().unwrap_or_default().to_owned(),
            uri,
            keys,
            ends: ends.collect(),
            timeout: spec.timeout.0,
            give_up_after: spec.give_up_after.0,
        }
    }

    fn request(&self, id: &str, body: Bytes, now: Timestamp) -> Option<Request<Full<Bytes>>> {
        let timestamp = now.as_second().to_string();
        let signatures: Vec<_> = self.keys.iter().map(|key| key.sign(id, &timestamp, &body)).collect();
        let request = Request::post(&self.uri)
            .header(header::CONTENT_TYPE, body::CONTENT_TYPE)
            .header(header::USER_AGENT, concat!("crossdock/", env!("CARGO_PKG_VERSION")))
            .header(&webhook::ID, id)
            .header(&webhook::TIMESTAMP, timestamp)
            .header(&webhook::SIGNATURE, HeaderValue::try_from(signatures.join(" ")).ok()?);
        request.body(Full::new(body)).ok()
    }
}

/// Tells until `stop`, then lets what is under way finish. Ends early only when the log is poisoned or closed.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let moved = shared.log.moved();
    let mut round = Round {
        teller: Arc::new(Teller {
            log: shared.log.clone(),
            metrics: shared.metrics.clone(),
            client: client::https(),
        }),
        shared,
        paces: HashMap::new(),
        sends: JoinSet::new(),
        under_way: HashMap::new(),
    };
    while !stop.is_cancelled() {
        let change = moved.notified();
        tokio::pin!(change);
        // From now on, so that no change falls in between.
        change.as_mut().enable();
        let wait = match round.dispatch().await {
            Ok(wait) => wait,
            // The store says itself that it cannot be reached, and is asked again.
            Err(LogError::Full | LogError::Unavailable(_) | LogError::InDoubt(_)) => LOOK,
            Err(error) => {
                error!(%error, "completion webhooks stopped");
                break;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            Some(done) = round.sends.join_next_with_id() => round.note(done),
            () = change => sleep(GLANCE).await,
            () = sleep(wait) => {}
        }
    }
    let rest = async { while round.sends.join_next().await.is_some() {} };
    if timeout(WebhookSpec::LONGEST_TIMEOUT, rest).await.is_err() {
        warn!("webhooks were still under way when the gateway stopped; they are sent again");
    }
}

/// How a receiver takes what it is sent.
#[derive(Default)]
struct Pace {
    url: String,
    in_flight: usize,
    /// Tries that failed in a row.
    failures: u32,
    not_before: Timestamp,
    /// When what cannot be sent was held against its age.
    cleared: Option<Instant>,
}

impl Pace {
    fn room(&self) -> usize {
        let most = if self.failures == 0 { SENDS } else { 1 };
        most.saturating_sub(self.in_flight)
    }
}

/// What a try says of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Taken,
    /// It failed, and said perhaps how long it wants to be left alone.
    Failed(Option<Duration>),
    /// It wants nothing more, ever.
    Gone,
    /// It was not asked.
    None,
}

struct Round {
    shared: Arc<Shared>,
    teller: Arc<Teller>,
    paces: HashMap<String, Pace>,
    sends: JoinSet<Signal>,
    under_way: HashMap<Id, (String, String)>,
}

impl Round {
    /// Starts what is due and has room. Returns how long nothing will be due.
    async fn dispatch(&mut self) -> Result<Duration, LogError> {
        let log = self.shared.log.clone();
        let due = log.notices_due().await?;
        if due.is_empty() {
            return Ok(LOOK);
        }
        let snapshot = self.shared.snapshot.load_full();
        let pauses = log.pauses().await?;
        let is_paused = |wanted: &PauseScope| pauses.iter().any(|pause| pause.scope == *wanted);
        let mut wait = LOOK;
        for (channel, at) in due {
            let webhook = snapshot.as_ref().and_then(|snapshot| snapshot.webhooks.0.get(&channel));
            let pace = self.paces.entry(channel.clone()).or_default();
            let now = Timestamp::now();
            let Some(webhook) = webhook else {
                self.clear(&channel, "its channel has no webhook any more", ORPHAN_AGE)
                    .await?;
                continue;
            };
            if is_paused(&PauseScope::All) || is_paused(&PauseScope::Webhook(webhook.shown.clone())) {
                self.clear(&channel, "webhooks to its URL were paused", webhook.give_up_after)
                    .await?;
                continue;
            }
            if pace.url != webhook.shown {
                // Another receiver: what the former one did says nothing.
                pace.url.clone_from(&webhook.shown);
                (pace.failures, pace.not_before) = (0, Timestamp::MIN);
            }
            let at = at.max(pace.not_before);
            if at > now {
                wait = wait.min(Duration::try_from(at.duration_since(now)).unwrap_or_default());
                continue;
            }
            // Without room the end of a try will wake the loop.
            let room = pace.room();
            if room == 0 {
                continue;
            }
            let claimed = log
                .claim_notices(&channel, room, webhook.timeout + MARGIN, now, now)
                .await?;
            pace.in_flight += claimed.len();
            for claimed in claimed {
                let (teller, webhook) = (Arc::clone(&self.teller), Arc::clone(webhook));
                let send = async move { teller.tell(&webhook, claimed).await };
                let task = self.sends.spawn(send);
                self.under_way.insert(task.id(), (channel.clone(), pace.url.clone()));
            }
        }
        Ok(wait)
    }

    /// Gives up what waited too long for somebody it may be sent to.
    async fn clear(&mut self, channel: &str, why: &str, age: Duration) -> Result<(), LogError> {
        let pace = self.paces.entry(channel.to_owned()).or_default();
        if pace.cleared.is_some_and(|cleared| cleared.elapsed() < CLEAR) {
            return Ok(());
        }
        let (log, now) = (&self.shared.log, Timestamp::now());
        let until = now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let old = log.claim_notices(channel, CLEARED, MARGIN, until, now).await?;
        // Where there were many, there may be more.
        pace.cleared = (old.len() < CLEARED).then(Instant::now);
        for claimed in old {
            self.teller
                .finish(&claimed, NoticeOutcome::Failed(why.to_owned()))
                .await;
        }
        Ok(())
    }

    fn note(&mut self, done: Result<(Id, Signal), JoinError>) {
        let (id, signal) = match done {
            Ok(done) => done,
            Err(error) => {
                error!(%error, "sending a webhook broke off; it is sent again when its lease ends");
                (error.id(), Signal::Failed(None))
            }
        };
        let Some((channel, url)) = self.under_way.remove(&id) else {
            return;
        };
        let pace = self.paces.entry(channel.clone()).or_default();
        pace.in_flight = pace.in_flight.saturating_sub(1);
        if pace.url != url {
            return;
        }
        match signal {
            Signal::Taken => {
                if pace.failures > 0 {
                    info!(channel, url, "a webhook receiver is back");
                }
                (pace.failures, pace.not_before) = (0, Timestamp::MIN);
            }
            Signal::Failed(asked) => {
                pace.failures = pace.failures.saturating_add(1);
                let wait = RECEIVER.wait(pace.failures, fastrand::f64());
                pace.not_before = after(Timestamp::now(), wait.max(asked.unwrap_or_default()));
            }
            Signal::Gone | Signal::None => {}
        }
    }
}

/// What a try needs.
struct Teller {
    log: Arc<dyn MessageLog>,
    metrics: Metrics,
    client: Https<Full<Bytes>>,
}

/// What a receiver answered: its status, and how long it wants to be left alone.
type Answer = Result<(StatusCode, Option<Duration>), String>;

impl Teller {
    /// One notice, from its lease to its record.
    async fn tell(&self, webhook: &Webhook, claimed: ClaimedNotice) -> Signal {
        let notice = &claimed.notice;
        let view = match self.log.get(&notice.message).await {
            Ok(Some(view)) => view,
            Ok(None) => {
                let why = "its message is no longer kept".to_owned();
                self.finish(&claimed, NoticeOutcome::Failed(why)).await;
                return Signal::None;
            }
            Err(error) => {
                let cause = Err(format!("its message could not be read: {error}"));
                let now = Timestamp::now();
                let (outcome, _) = classify(&cause, &claimed, webhook.give_up_after, now, fastrand::f64());
                warn!(webhook.id = notice.id, %error, "a webhook was not sent: its message could not be read");
                self.finish(&claimed, outcome).await;
                return Signal::None;
            }
        };
        let body = Bytes::from(body::document(notice, &view));
        let answer = match webhook.request(&notice.id, body, Timestamp::now()) {
            Some(request) => timeout(webhook.timeout, self.post(request))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {:?}", webhook.timeout))),
            None => Err("the request cannot be built".to_owned()),
        };
        let (outcome, signal) = classify(
            &answer,
            &claimed,
            webhook.give_up_after,
            Timestamp::now(),
            fastrand::f64(),
        );
        if let Err(cause) = &answer {
            warn!(
                channel = notice.channel,
                url = webhook.shown,
                webhook.id = notice.id,
                cause,
                "a webhook did not get through"
            );
        }
        if signal == Signal::Gone {
            self.stop(webhook, &notice.channel).await;
        }
        self.finish(&claimed, outcome).await;
        signal
    }

    async fn post(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.client.request(request).await.map_err(|error| causes(&error))?;
        let (parts, body) = response.into_parts();
        // The status says it all.
        let _ = Limited::new(body, ANSWER).collect().await;
        Ok((parts.status, asked(&parts.headers)))
    }

    /// The receiver said that it wants nothing more: so it is, until a person resumes it or the URL changes.
    async fn stop(&self, webhook: &Webhook, channel: &str) {
        let scope = PauseScope::Webhook(webhook.shown.clone());
        error!(
            channel,
            url = webhook.shown,
            "a webhook receiver answered 410: nothing more is sent to it; `crossdock queue resume {scope}` undoes that"
        );
        let is_known = |pauses: Vec<super::Pause>| pauses.iter().any(|pause| pause.scope == scope);
        if self.log.pauses().await.is_ok_and(is_known) {
            return;
        }
        let by = Actor {
            name: "gateway".to_owned(),
            reason: format!("the receiver of channel {channel} answered 410 Gone"),
        };
        if let Err(error) = self.log.pause(scope.clone(), by, Timestamp::now()).await {
            error!(%error, "webhooks to a receiver that is gone could not be paused");
        }
    }

    /// Records the outcome; where that fails, the lease will end and the notice be told again.
    async fn finish(&self, claimed: &ClaimedNotice, outcome: NoticeOutcome) {
        let (id, channel) = (&claimed.notice.id, &claimed.notice.channel);
        if let NoticeOutcome::Failed(cause) = &outcome {
            error!(
                channel,
                webhook.id = id,
                cause,
                "a webhook was given up; it is kept, and `crossdock queue webhooks resend` sends it again"
            );
        }
        self.metrics.webhook(channel, &outcome);
        let until = Instant::now() + RECORDING;
        loop {
            let done = self
                .log
                .finish_notice(claimed.lease.clone(), outcome.clone(), Timestamp::now())
                .await;
            match done {
                Ok(()) => return,
                // A store that is away may be back before the lease ends.
                Err(LogError::Unavailable(_) | LogError::InDoubt(_)) if Instant::now() < until => sleep(LOOK).await,
                Err(error) => {
                    error!(webhook.id = id, %error, "what became of a webhook could not be recorded; it may be sent again");
                    return;
                }
            }
        }
    }
}

/// How long a receiver wants to be left alone.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    Some(retry_after(headers, SystemTime::now())?.min(LONGEST_RETRY_AFTER))
}

/// An error with what led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What an answer, or none, means for a notice and its receiver. `random` is from 0 up to 1.
fn classify(
    answer: &Answer,
    claimed: &ClaimedNotice,
    give_up_after: Duration,
    now: Timestamp,
    random: f64,
) -> (NoticeOutcome, Signal) {
    let (error, asked, is_gone) = match answer {
        Ok((status, _)) if status.is_success() => return (NoticeOutcome::Sent, Signal::Taken),
        Ok((status, _)) if status.is_redirection() => (format!("{status}; redirects are not followed"), None, false),
        Ok((status, asked)) => (status.to_string(), *asked, *status == StatusCode::GONE),
        Err(cause) => (cause.clone(), None, false),
    };
    let bound = after(claimed.since, give_up_after);
    let signal = if is_gone { Signal::Gone } else { Signal::Failed(asked) };
    if now >= bound {
        let error = format!("given up after {} tries: {error}", claimed.tries);
        return (NoticeOutcome::Failed(error), signal);
    }
    let wait = NOTICE.wait(claimed.tries, random);
    // The last try is at the bound, unless the receiver wants to be left alone for longer.
    let at = after(now, wait).min(bound).max(after(now, asked.unwrap_or_default()));
    (NoticeOutcome::RetryAt { at, error }, signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Notice, NoticeLease};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claimed(tries: u32) -> ClaimedNotice {
        ClaimedNotice {
            lease: NoticeLease {
                id: "m1_0".into(),
                epoch: 1,
            },
            notice: Notice {
                id: "m1_0".into(),
                message: "m1".into(),
                channel: "shop".into(),
                state: MessageState::Delivered,
                attempts: 1,
                failure: None,
                finished: at(0),
            },
            tries,
            since: at(0),
        }
    }

    fn outcome(status: u16, asked: Option<u64>, tries: u32, now: i64) -> (NoticeOutcome, Signal) {
        let answer = Ok((StatusCode::from_u16(status).unwrap(), asked.map(Duration::from_secs)));
        classify(&answer, &claimed(tries), Duration::from_secs(1_000), at(now), 0.5)
    }

    fn retry(second: i64, error: &str) -> NoticeOutcome {
        NoticeOutcome::RetryAt {
            at: at(second),
            error: error.into(),
        }
    }

    #[test]
    fn only_2xx_is_taken() {
        for status in [200, 202, 204] {
            assert_eq!(outcome(status, None, 1, 5), (NoticeOutcome::Sent, Signal::Taken));
        }
        for (status, error) in [
            (302, "302 Found; redirects are not followed"),
            (400, "400 Bad Request"),
            (503, "503 Service Unavailable"),
        ] {
            assert_eq!(outcome(status, None, 2, 5), (retry(6, error), Signal::Failed(None)));
        }
        let nothing = classify(&Err("reset".into()), &claimed(2), Duration::from_hours(1), at(5), 0.5);
        assert_eq!(nothing, (retry(6, "reset"), Signal::Failed(None)));
    }

    #[test]
    fn a_receiver_is_left_alone_as_long_as_it_asks() {
        let asked = Some(Duration::from_mins(10));
        assert_eq!(
            outcome(429, Some(600), 1, 5),
            (retry(605, "429 Too Many Requests"), Signal::Failed(asked))
        );
        // Also past the age at which it is given up.
        assert_eq!(
            outcome(503, Some(600), 1, 900).0,
            retry(1_500, "503 Service Unavailable")
        );
        let headers = |text: &str| HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
        assert_eq!(super::asked(&headers("999999999")), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn what_is_not_taken_is_given_up_at_its_age_and_tried_once_more_then() {
        assert_eq!(outcome(500, None, 30, 999).0, retry(1_000, "500 Internal Server Error"));
        let (outcome, signal) = outcome(500, None, 31, 1_000);
        let error = "given up after 31 tries: 500 Internal Server Error".to_owned();
        assert_eq!((outcome, signal), (NoticeOutcome::Failed(error), Signal::Failed(None)));
    }

    #[test]
    fn a_receiver_that_is_gone_is_told_apart() {
        assert_eq!(outcome(410, None, 1, 5).1, Signal::Gone);
    }

    #[test]
    fn a_receiver_that_fails_is_tried_one_at_a_time() {
        let mut pace = Pace::default();
        assert_eq!(pace.room(), SENDS);
        pace.in_flight = 3;
        assert_eq!(pace.room(), 1);
        pace.failures = 1;
        assert_eq!(pace.room(), 0);
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        let spec = WebhookSpec {
            url: serde_saphyr::from_str("https://shop/hooks?token=s3cret").unwrap(),
            secrets: Vec::new(),
            events: vec![WebhookEventSpec::Dead],
            timeout: config::Time(Duration::from_secs(1)),
            give_up_after: config::Time(Duration::from_secs(1)),
        };
        let webhook = Webhook::new(spec.url.value.parse().unwrap(), Vec::new(), &spec);
        assert_eq!(
            (webhook.shown.as_str(), &webhook.ends[..]),
            ("https://shop/hooks", &[MessageState::Dead][..])
        );
    }
}
