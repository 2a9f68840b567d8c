//! Brings queued messages to their upstreams: in order per key, never faster than the upstream recovers.

mod ceiling;
mod classify;
#[cfg(test)]
mod crash;
mod pace;
mod postman;
mod suspects;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future, num::NonZeroU32, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub use self::{
    ceiling::Limit,
    classify::{Attempt, Repeats, Signal, classify},
};
use self::{
    pace::Pace,
    postman::Postman,
    suspects::{Suspects, Turn},
};
use super::{
    AttemptOutcome, Claimed, Failure, Lease, LogError, MessageLog, NewMessage, StoredResponse, after, backoff::Backoff,
};
use crate::{
    config::DeliverySpec,
    telemetry::{DeliveryMetrics, Hold},
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
    /// How an upstream may be called at the moment; `None` where it may not: its breaker is open, and no probe is due.
    fn terms(&self, upstream: &str) -> Option<Terms>;
    /// Whether the upstream's budget has one more retry, which is taken then.
    fn may_retry(&self, upstream: &str) -> bool;
}

/// How an upstream may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Attempts at the same time, of this gateway.
    pub concurrency: usize,
    /// What its vendor allows, all of it, of all gateways together.
    pub limits: Arc<[Limit]>,
}

impl From<&DeliverySpec> for Terms {
    fn from(spec: &DeliverySpec) -> Self {
        let limits = spec.limits.iter().map(|limit| Limit {
            rate: limit.rate,
            burst: limit.burst.map_or(1, NonZeroU32::get),
        });
        Self {
            concurrency: usize::try_from(spec.concurrency.get()).unwrap_or(usize::MAX),
            limits: limits.collect(),
        }
    }
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A complete answer, mapped to the caller's contract version.
    Answer {
        response: StoredResponse,
        /// How long the upstream wants to be left alone.
        retry_after: Option<Duration>,
        /// The upstream's own limit is used up for so long.
        spent: Option<Duration>,
    },
    /// Not a byte of the request was sent: the upstream cannot be reached; why.
    NotSent(String),
    /// Not a byte of the request was sent: there is no way to say it to the upstream as things are; why.
    Unsendable(String),
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
    /// How long an attempt may take before its message is in doubt. Longer than any upstream's total timeout: attempts
    /// are cut at nine tenths of it.
    pub lease: Duration,
    /// How long finished messages are remembered.
    pub retention: Duration,
    pub metrics: DeliveryMetrics,
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
    let suspects = Suspects::new(clock());
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
        suspects,
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
    suspects: Suspects,
    next_sweep: Timestamp,
}

impl Round {
    /// Starts what is due and has room. Returns how long nothing will be due.
    async fn dispatch(&mut self) -> Result<Duration, LogError> {
        self.sweep().await?;
        let now = (self.postman.clock)();
        let members = self.postman.log.members();
        if !self.try_suspect(members, now).await? {
            // The end of an attempt will wake the loop.
            return Ok(SWEEP_INTERVAL);
        }
        let mut wait = SWEEP_INTERVAL;
        for (upstream, at) in self.postman.log.due().await? {
            match self.room(&upstream, at, members, now) {
                Ok(0) => {}
                Ok(room) => {
                    let lease = self.postman.settings.lease;
                    for claimed in self.postman.log.claim(&upstream, room, lease, now).await? {
                        if claimed.breaks > 0 {
                            self.postman.settings.metrics.holds(&upstream, Hold::Suspect);
                            self.suspects.add(&upstream, claimed, after(now, lease));
                            // Its trial may be next.
                            wait = Duration::ZERO;
                        } else {
                            self.start(&upstream, claimed, members, now);
                        }
                    }
                }
                Err(closed) => wait = wait.min(closed),
            }
            self.report(&upstream, now);
        }
        Ok(wait)
    }

    /// How many messages may start at an upstream whose first one is due at `at`, or how long none may. Without room the
    /// end of an attempt will wake the loop.
    fn room(&mut self, upstream: &str, at: Timestamp, members: u32, now: Timestamp) -> Result<usize, Duration> {
        let pace = self.paces.entry(upstream.to_owned()).or_default();
        let Some(terms) = self.postman.courier.terms(upstream) else {
            pace.close();
            return Err(CLOSED_INTERVAL);
        };
        pace.bound(terms.concurrency);
        pace.ceilings.set(&terms.limits, members, now);
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let due = at.max(pace.paused_until);
        if due > now {
            return Err(until(due));
        }
        let room = pace.room();
        let allowed = pace.ceilings.allowed(members, now);
        if room > 0 && allowed == 0 {
            if !std::mem::replace(&mut pace.is_at_ceiling, true) {
                self.postman.settings.metrics.holds(upstream, Hold::Limit);
            }
            return Err(until(pace.ceilings.next(members, now)));
        }
        pace.is_at_ceiling = false;
        Ok(room.min(allowed))
    }

    /// Starts the trial of a suspect, if it is time for one. Whether anything else may start.
    async fn try_suspect(&mut self, members: u32, now: Timestamp) -> Result<bool, LogError> {
        loop {
            let (paces, courier) = (&self.paces, &self.postman.courier);
            let may_start = |upstream: &str| {
                let pace = paces.get(upstream);
                pace.is_some_and(|pace| {
                    pace.room() > 0 && pace.paused_until <= now && pace.ceilings.allowed(members, now) > 0
                }) && courier.terms(upstream).is_some()
            };
            let suspect = match self.suspects.turn(self.attempts.len(), now, may_start) {
                Turn::Others => return Ok(true),
                Turn::Nothing => return Ok(false),
                Turn::Trial(suspect) => suspect,
            };
            // It may have waited for long.
            let lease = suspect.claimed.lease.clone();
            match self.postman.log.renew(lease, self.postman.settings.lease, now).await {
                Ok(()) => {}
                Err(LogError::Fenced) => continue,
                Err(error) => return Err(error),
            }
            let id = self.start(&suspect.upstream, suspect.claimed.clone(), members, now);
            self.suspects.begun(id, &suspect);
        }
    }

    /// What metrics say of an upstream's pace.
    fn report(&self, upstream: &str, now: Timestamp) {
        if let Some(pace) = self.paces.get(upstream) {
            let is_open = pace.paused_until <= now && self.postman.courier.terms(upstream).is_some();
            let limit = if is_open { pace.limit() } else { 0 };
            self.postman.settings.metrics.pace(upstream, pace.in_flight, limit);
        }
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

    fn start(&mut self, upstream: &str, claimed: Claimed, members: u32, now: Timestamp) -> Id {
        let pace = self.paces.entry(upstream.to_owned()).or_default();
        pace.in_flight += 1;
        pace.ceilings.take(members, now);
        let failures = pace.failures;
        let postman = Arc::clone(&self.postman);
        let lease = claimed.lease.clone();
        let task = self
            .attempts
            .spawn(async move { postman.deliver(claimed, failures).await });
        self.under_way.insert(task.id(), (upstream.to_owned(), lease));
        task.id()
    }

    async fn note(&mut self, done: Result<(Id, Signal), JoinError>) {
        let (id, signal) = match done {
            Ok(done) => done,
            Err(error) => {
                error!(%error, "an attempt at a queued message broke off; the message is in doubt");
                if let Some((upstream, lease)) = self.under_way.get(&error.id()) {
                    self.postman.broke_off(upstream, lease.clone()).await;
                }
                (error.id(), Signal::Trouble)
            }
        };
        self.suspects.ended(id);
        if let Some((upstream, _)) = self.under_way.remove(&id) {
            match signal {
                Signal::Pause { .. } => self.postman.settings.metrics.holds(&upstream, Hold::Pause),
                Signal::Spent { .. } => self.postman.settings.metrics.holds(&upstream, Hold::Spent),
                Signal::Answered | Signal::Trouble | Signal::None => {}
            }
            self.paces.entry(upstream.clone()).or_default().note(signal);
            self.report(&upstream, (self.postman.clock)());
        }
    }
}
