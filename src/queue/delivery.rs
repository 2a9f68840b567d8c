//! Brings queued messages to their upstreams: in order per key, never faster than the upstream recovers.

mod classify;
#[cfg(test)]
mod crash;
mod pace;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::classify::{Attempt, Repeats, Signal, classify};
use self::pace::Pace;
use super::{
    AttemptOutcome, Claimed, Failure, Lease, LogError, MessageLog, NewMessage, StoredResponse, after, backoff::Backoff,
};

/// Carries one message to its upstream.
pub trait Courier: Send + Sync + 'static {
    /// One attempt. Everything about HTTP, pools, breakers, credentials and the mapping of the answer is in here.
    /// `attempt` counts from 1.
    fn attempt<'a>(
        &'a self,
        message: &'a NewMessage,
        attempt: u32,
    ) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>>;
    /// Asks the upstream whether it has done what the message asks for.
    fn look_up<'a>(&'a self, message: &'a NewMessage) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>>;
    /// What the upstream does with this message when it has seen it before.
    fn repeats(&self, message: &NewMessage) -> Repeats;
    /// Whether the upstream may be called at the moment: its breaker is closed, or a probe is due.
    fn is_open_for(&self, upstream: &str) -> bool;
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A complete answer, mapped to the caller's contract version.
    Answer {
        response: StoredResponse,
        retry_after: Option<Duration>,
    },
    /// Not a byte of the request was sent; why.
    NotSent(String),
    /// Some of it was sent and no complete answer came back; why.
    Broken(String),
    /// The upstream did it, with this status, but its answer could not be mapped and is not passed on; why.
    Withheld { status: u16, note: String },
}

/// What an upstream says when it is asked whether it has done something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookedUp {
    /// It has; its answer, mapped to the caller's contract version.
    Found(StoredResponse),
    /// It has not.
    NotFound,
    /// It did not say; why.
    Failed(String),
}

/// Bounds of the delivery loop.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// Attempts at the same time, per upstream.
    pub concurrency: usize,
    /// How long an attempt may take before its message is in doubt. Longer than any upstream's total timeout: attempts
    /// are cut at nine tenths of it.
    pub lease: Duration,
    /// How long finished messages are remembered.
    pub retention: Duration,
}

/// How often leases, deadlines and retention are looked after.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often a store that is away is tried again.
const AWAY_INTERVAL: Duration = Duration::from_millis(200);

/// How often a closed upstream is asked for again.
const CLOSED_INTERVAL: Duration = Duration::from_millis(200);

/// Delivers until `stop`, then lets the attempts under way finish, for at most a lease. Ends early only when the log
/// is poisoned or closed.
pub async fn run(
    log: Arc<dyn MessageLog>,
    courier: Arc<dyn Courier>,
    settings: DeliverySettings,
    stop: CancellationToken,
) {
    run_at(log, courier, settings, stop, Timestamp::now).await;
}

/// [`run`] with a clock of its own.
async fn run_at(
    log: Arc<dyn MessageLog>,
    courier: Arc<dyn Courier>,
    settings: DeliverySettings,
    stop: CancellationToken,
    clock: fn() -> Timestamp,
) {
    let changed = log.changed();
    let mut round = Round {
        postman: Arc::new(Postman {
            log,
            courier,
            settings,
            clock,
        }),
        paces: HashMap::new(),
        attempts: JoinSet::new(),
        under_way: HashMap::new(),
        next_sweep: Timestamp::MIN,
    };
    while !stop.is_cancelled() {
        let wait = match round.dispatch().await {
            Ok(wait) => wait,
            // The store says itself that it cannot be reached, and is asked again.
            Err(LogError::Full | LogError::Unavailable(_) | LogError::InDoubt(_)) => SWEEP_INTERVAL,
            Err(error) => {
                error!(%error, "delivery of queued messages stopped");
                break;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            Some(done) = round.attempts.join_next_with_id() => round.note(done).await,
            () = changed.notified() => {}
            () = sleep(wait) => {}
        }
    }
    let lease = round.postman.settings.lease;
    let rest = async { while round.attempts.join_next().await.is_some() {} };
    if timeout(lease, rest).await.is_err() {
        warn!("attempts were still under way when delivery stopped; they are in doubt");
    }
}

/// The loop's own state. Attempts run in tasks and report back when they end.
struct Round {
    postman: Arc<Postman>,
    paces: HashMap<String, Pace>,
    attempts: JoinSet<Signal>,
    under_way: HashMap<Id, (String, Lease)>,
    next_sweep: Timestamp,
}

impl Round {
    /// Starts what is due and has room. Returns how long nothing will be due.
    async fn dispatch(&mut self) -> Result<Duration, LogError> {
        self.sweep().await?;
        let now = (self.postman.clock)();
        let mut wait = SWEEP_INTERVAL;
        for (upstream, at) in self.postman.log.due().await? {
            let pace = self.paces.entry(upstream.clone()).or_default();
            if !self.postman.courier.is_open_for(&upstream) {
                pace.close();
                wait = wait.min(CLOSED_INTERVAL);
                continue;
            }
            let due = at.max(pace.paused_until);
            if due > now {
                wait = wait.min(Duration::try_from(due.duration_since(now)).unwrap_or_default());
                continue;
            }
            // Without room the end of an attempt will wake the loop.
            let room = pace.room(self.postman.settings.concurrency);
            if room > 0 {
                let claimed = self
                    .postman
                    .log
                    .claim(&upstream, room, self.postman.settings.lease, now)
                    .await?;
                pace.in_flight += claimed.len();
                for claimed in claimed {
                    self.start(&upstream, claimed);
                }
            }
        }
        Ok(wait)
    }

    async fn sweep(&mut self) -> Result<(), LogError> {
        let now = (self.postman.clock)();
        // A clock that was set back must not stop the sweeping.
        if now < self.next_sweep && after(now, SWEEP_INTERVAL) >= self.next_sweep {
            return Ok(());
        }
        self.next_sweep = after(now, SWEEP_INTERVAL);
        let report = self.postman.log.sweep(self.postman.settings.retention, now).await?;
        if report.leases_expired > 0 || report.messages_expired > 0 {
            warn!(
                leases_expired = report.leases_expired,
                messages_expired = report.messages_expired,
                "queued messages ran out of time"
            );
        }
        Ok(())
    }

    fn start(&mut self, upstream: &str, claimed: Claimed) {
        let failures = self.paces.get(upstream).map_or(0, |pace| pace.failures);
        let postman = Arc::clone(&self.postman);
        let lease = claimed.lease.clone();
        let task = self
            .attempts
            .spawn(async move { postman.deliver(claimed, failures).await });
        self.under_way.insert(task.id(), (upstream.to_owned(), lease));
    }

    async fn note(&mut self, done: Result<(Id, Signal), JoinError>) {
        let (id, signal) = match done {
            Ok(done) => done,
            Err(error) => {
                error!(%error, "an attempt at a queued message broke off; the message is in doubt");
                if let Some((_, lease)) = self.under_way.get(&error.id()) {
                    self.postman.broke_off(lease.clone()).await;
                }
                (error.id(), Signal::Trouble)
            }
        };
        if let Some((upstream, _)) = self.under_way.remove(&id) {
            self.paces.entry(upstream).or_default().note(signal);
        }
    }
}

/// What an attempt needs.
struct Postman {
    log: Arc<dyn MessageLog>,
    courier: Arc<dyn Courier>,
    settings: DeliverySettings,
    clock: fn() -> Timestamp,
}

impl Postman {
    /// One message, from its lease to its record.
    async fn deliver(&self, claimed: Claimed, closed_door_failures: u32) -> Signal {
        let now = (self.clock)();
        let repeats = self.courier.repeats(&claimed.message);
        if let Some(outcome) = self.without_sending(&claimed, repeats, now).await {
            self.finish(&claimed, outcome).await;
            return Signal::None;
        }
        let number = match self.log.begin_attempt(claimed.lease.clone(), now).await {
            Ok(number) => number,
            Err(error) => {
                warn!(message.id = claimed.message.id, %error, "a queued message was not sent: its attempt could not be recorded");
                return Signal::Trouble;
            }
        };
        // An attempt ends before its lease, so that nobody else sends the message meanwhile.
        let limit = self.settings.lease.mul_f64(0.9);
        let delivery = timeout(limit, self.courier.attempt(&claimed.message, number)).await;
        let delivery = delivery.unwrap_or_else(|_| Delivery::Broken(format!("no answer within {limit:?}")));
        let attempt = Attempt {
            number,
            max_attempts: claimed.message.max_attempts,
            deadline: claimed.message.deadline,
            first_sent: claimed.first_sent.unwrap_or(now),
            repeats,
            was_in_doubt: claimed.message.is_in_doubt,
            closed_door_failures,
        };
        let (outcome, signal) = classify(delivery, &attempt, (self.clock)(), fastrand::f64());
        self.finish(&claimed, outcome).await;
        signal
    }

    /// What can be said of a message before it is sent (again).
    async fn without_sending(&self, claimed: &Claimed, repeats: Repeats, now: Timestamp) -> Option<AttemptOutcome> {
        if claimed.message.is_in_doubt {
            let first_sent = claimed.first_sent.unwrap_or(claimed.admitted);
            match repeats {
                Repeats::Lookup { settle } => {
                    if let Some(outcome) = self.look_up(claimed, settle, now).await {
                        return Some(outcome);
                    }
                }
                _ if repeats.resolves(first_sent, now) => {}
                _ => {
                    return Some(AttemptOutcome::Parked {
                        failure: Failure::technical(classify::PARKED),
                    });
                }
            }
        }
        if claimed.attempts >= claimed.message.max_attempts {
            let is_in_doubt = claimed.message.is_in_doubt;
            return Some(AttemptOutcome::Dead {
                failure: Failure::technical(classify::exhausted(is_in_doubt, "no answer")),
                is_in_doubt,
            });
        }
        None
    }

    /// Asks whether it was done. `None`: it was not, so it may be sent again.
    async fn look_up(&self, claimed: &Claimed, settle: Duration, now: Timestamp) -> Option<AttemptOutcome> {
        let limit = self.settings.lease.mul_f64(0.4);
        let asked = timeout(limit, self.courier.look_up(&claimed.message)).await;
        match asked.unwrap_or_else(|_| LookedUp::Failed(format!("no answer within {limit:?}"))) {
            LookedUp::Found(response) => Some(AttemptOutcome::Delivered(response)),
            LookedUp::NotFound => {
                // An attempt that was slow may still have its effect.
                let settled = after(claimed.last_sent.unwrap_or(claimed.admitted), settle);
                (settled > now).then(|| AttemptOutcome::InDoubt {
                    at: settled,
                    failure: Failure::technical("the upstream does not have it yet; it is asked again"),
                })
            }
            LookedUp::Failed(cause) => {
                let wait = Backoff::CLOSED_DOOR.wait(u32::MAX, fastrand::f64());
                Some(AttemptOutcome::InDoubt {
                    at: after((self.clock)(), wait).min(claimed.message.deadline),
                    failure: Failure::technical(format!("whether it was done could not be found out: {cause}")),
                })
            }
        }
    }

    /// An attempt ended without an outcome.
    async fn broke_off(&self, lease: Lease) {
        let now = (self.clock)();
        let outcome = AttemptOutcome::Lost {
            at: after(now, Backoff::MESSAGE.wait(1, fastrand::f64())),
            failure: Failure::technical("its delivery broke off in the gateway"),
        };
        // It may have ended after its outcome was recorded.
        if let Err(error) = self.log.finish(lease, outcome, now).await
            && error != LogError::Fenced
        {
            error!(%error, "the end of an attempt could not be recorded");
        }
    }

    /// Records the outcome; where that fails, the lease will end and the message be in doubt.
    async fn finish(&self, claimed: &Claimed, outcome: AttemptOutcome) {
        report(claimed, &outcome);
        // A store that is away may be back before the lease ends.
        let until = after((self.clock)(), self.settings.lease);
        let mut was_in_doubt = false;
        loop {
            let error = match self.record(claimed, &outcome).await {
                Ok(()) => return,
                // It was recorded the time before.
                Err(LogError::Fenced) if was_in_doubt => return,
                Err(error) => error,
            };
            was_in_doubt |= matches!(error, LogError::InDoubt(_));
            let may_pass = matches!(error, LogError::Unavailable(_) | LogError::InDoubt(_));
            if !may_pass || (self.clock)() >= until {
                error!(message.id = claimed.message.id, %error, "the outcome of an attempt could not be recorded");
                return;
            }
            sleep(AWAY_INTERVAL).await;
        }
    }

    async fn record(&self, claimed: &Claimed, outcome: &AttemptOutcome) -> Result<(), LogError> {
        let mut result = self
            .log
            .finish(claimed.lease.clone(), outcome.clone(), (self.clock)())
            .await;
        if result == Err(LogError::Full) {
            // What matters is that it was done; its answer may be too large for what is left.
            result = self
                .log
                .finish(claimed.lease.clone(), without_body(outcome.clone()), (self.clock)())
                .await;
        }
        result
    }
}

fn without_body(outcome: AttemptOutcome) -> AttemptOutcome {
    let empty = |response: StoredResponse| StoredResponse {
        body: bytes::Bytes::new(),
        ..response
    };
    match outcome {
        AttemptOutcome::Delivered(response) => AttemptOutcome::Delivered(empty(response)),
        AttemptOutcome::Rejected(response) => AttemptOutcome::Rejected(empty(response)),
        other => other,
    }
}

fn report(claimed: &Claimed, outcome: &AttemptOutcome) {
    let message = &claimed.message;
    let (id, upstream, correlation) = (&message.id, &message.order_key.upstream, &message.correlation);
    match outcome {
        AttemptOutcome::Delivered(response) => {
            info!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                response.status,
                "queued message delivered"
            );
        }
        AttemptOutcome::Rejected(response) => {
            warn!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                response.status,
                "queued message rejected"
            );
        }
        AttemptOutcome::RetryAt { at, failure, .. } => {
            let cause = &failure.cause;
            info!(message.id = id, upstream.name = upstream, correlation, %at, cause, "queued message will be retried");
        }
        AttemptOutcome::InDoubt { at, failure } => {
            let cause = &failure.cause;
            warn!(message.id = id, upstream.name = upstream, correlation, %at, cause, "queued message in doubt");
        }
        AttemptOutcome::Parked { failure } => {
            warn!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                cause = failure.cause,
                "queued message parked for a person"
            );
        }
        // None of these is an upstream's word.
        AttemptOutcome::Answered(_) | AttemptOutcome::Lost { .. } | AttemptOutcome::Forgotten => {}
        AttemptOutcome::Dead { failure, .. } => {
            warn!(
                message.id = id,
                upstream.name = upstream,
                correlation,
                cause = failure.cause,
                "queued message dead"
            );
        }
    }
}
