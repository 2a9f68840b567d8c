//! A message log in memory: slow and plain, it says what the durable one has to do. For tests.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    Admitted, AttemptOutcome, AttemptView, Claimed, Digest, Health, LOST_ATTEMPT, Lane, Lease, LogError, LogFuture,
    MessageLog, MessageState, MessageView, NewMessage, OrderKey, QueueStats, StoredResponse, SweepReport, after,
    expiry_cause, lanes::Wheel,
};

/// Keeps messages until the process ends.
#[derive(Default)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    /// By order of admission.
    messages: BTreeMap<u64, Entry>,
    next: u64,
    wheels: HashMap<String, Wheel>,
}

struct Entry {
    message: NewMessage,
    state: MessageState,
    is_in_doubt: bool,
    counted: u32,
    first_sent: Option<Timestamp>,
    admitted: Timestamp,
    next_attempt: Option<Timestamp>,
    finished: Option<Timestamp>,
    cause: Option<String>,
    epoch: u64,
    leased_until: Option<Timestamp>,
    attempts: Vec<AttemptView>,
    response: Option<StoredResponse>,
}

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T: Send + 'static>(&self, work: impl FnOnce(&mut Inner) -> Result<T, LogError>) -> LogFuture<'_, T> {
        let result = work(&mut self.lock());
        self.changed.notify_one();
        Box::pin(std::future::ready(result))
    }

    fn read<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T) -> LogFuture<'_, T> {
        let result = work(&self.lock());
        Box::pin(std::future::ready(Ok(result)))
    }
}

impl MessageLog for MemoryLog {
    fn admit(&self, message: NewMessage, now: Timestamp) -> LogFuture<'_, Admitted> {
        self.write(|inner| Ok(inner.admit(message, now)))
    }

    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>> {
        self.read(|inner| {
            let (seq, entry) = inner.messages.iter().find(|(_, entry)| entry.message.scope == scope)?;
            Some((inner.view(*seq, entry), entry.message.fingerprint))
        })
    }

    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>> {
        self.write(|inner| Ok(inner.claim(upstream, max, lease, now)))
    }

    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(|inner| {
            let mut due = BTreeMap::<String, Timestamp>::new();
            for (key, head) in inner.heads() {
                let Some(at) = inner.messages[&head].ready_at() else {
                    continue;
                };
                due.entry(key.upstream)
                    .and_modify(|first| *first = at.min(*first))
                    .or_insert(at);
            }
            due.into_iter().collect()
        })
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32> {
        self.write(|inner| {
            let entry = inner.leased(&lease)?;
            if entry.leased_until.is_none_or(|until| until <= now) || entry.state == MessageState::Attempting {
                return Err(LogError::Fenced);
            }
            entry.state = MessageState::Attempting;
            entry.first_sent.get_or_insert(now);
            entry.counted += 1;
            let number = entry.counted;
            entry.attempts.retain(|attempt| attempt.number != number);
            entry.attempts.push(AttemptView {
                number,
                started: now,
                ended: None,
                result: String::new(),
            });
            Ok(number)
        })
    }

    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(|inner| {
            inner.leased(&lease)?.finish(outcome, now);
            Ok(())
        })
    }

    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>> {
        self.read(|inner| {
            let (seq, entry) = inner.messages.iter().find(|(_, entry)| entry.message.id == id)?;
            Some(inner.view(*seq, entry))
        })
    }

    fn depth(&self, order_key: &OrderKey) -> usize {
        let inner = self.lock();
        inner.messages.values().filter(|entry| entry.holds(order_key)).count()
    }

    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport> {
        self.write(|inner| Ok(inner.sweep(retention, now)))
    }

    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats> {
        self.read(|inner| inner.stats(now))
    }

    fn health(&self) -> Health {
        Health::Ok
    }
}

impl Inner {
    fn admit(&mut self, message: NewMessage, now: Timestamp) -> Admitted {
        let known = self
            .messages
            .iter()
            .find(|(_, known)| known.message.scope == message.scope || known.message.id == message.id);
        if let Some((seq, known)) = known {
            let is_same = known.message.scope == message.scope && known.message.fingerprint == message.fingerprint;
            return if is_same {
                Admitted::Replay(Box::new(self.view(*seq, known)))
            } else {
                Admitted::Mismatch
            };
        }
        let entry = Entry {
            state: if message.is_in_doubt {
                MessageState::InDoubt
            } else {
                MessageState::Queued
            },
            is_in_doubt: message.is_in_doubt,
            first_sent: message.is_in_doubt.then_some(now),
            counted: 0,
            admitted: now,
            next_attempt: Some(now),
            finished: None,
            cause: None,
            epoch: 0,
            leased_until: None,
            attempts: Vec::new(),
            response: None,
            message,
        };
        self.messages.insert(self.next, entry);
        self.next += 1;
        Admitted::New
    }

    fn claim(&mut self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> Vec<Claimed> {
        self.expire(now);
        let mut waiting = [const { Vec::new() }; 3];
        for (key, head) in self.heads() {
            let ready_at = self.messages[&head].ready_at();
            if let Some(at) = ready_at.filter(|at| key.upstream == upstream && *at <= now) {
                waiting[self.lane(&key).rank()].push((at, head));
            }
        }
        for lane in &mut waiting {
            lane.sort_unstable();
        }
        let picked = self.wheels.entry(upstream.to_owned()).or_default().pick(waiting, max);
        picked
            .into_iter()
            .filter_map(|(_, head)| Some(self.messages.get_mut(&head)?.lease(after(now, lease))))
            .collect()
    }

    fn expire(&mut self, now: Timestamp) -> u64 {
        let overdue = |entry: &&mut Entry| {
            entry.leased_until.is_none() && entry.state.is_waiting() && entry.message.deadline <= now
        };
        let mut expired = 0;
        for entry in self.messages.values_mut().filter(overdue) {
            entry.state = MessageState::Expired;
            entry.cause = Some(expiry_cause(entry.is_in_doubt).to_owned());
            entry.finished = Some(now);
            entry.next_attempt = None;
            expired += 1;
        }
        expired
    }

    fn sweep(&mut self, retention: Duration, now: Timestamp) -> SweepReport {
        let mut report = SweepReport::default();
        for entry in self
            .messages
            .values_mut()
            .filter(|entry| entry.leased_until.is_some_and(|until| until <= now))
        {
            entry.lose_lease(now);
            report.leases_expired += 1;
        }
        report.messages_expired = self.expire(now);
        let before = self.messages.len();
        self.messages.retain(|_, entry| {
            entry.state.holds_key() || entry.finished.is_none_or(|finished| after(finished, retention) > now)
        });
        report.messages_forgotten = (before - self.messages.len()) as u64;
        report
    }

    fn stats(&self, now: Timestamp) -> QueueStats {
        let count = |state| self.messages.values().filter(|entry| entry.state == state).count() as u64;
        let waits = |entry: &&Entry| matches!(entry.state, MessageState::Queued | MessageState::Attempting);
        let in_lane = |lane| {
            self.messages
                .values()
                .filter(waits)
                .filter(|entry| entry.message.lane == lane)
                .count()
        };
        let open = self
            .messages
            .values()
            .filter(|entry| waits(entry) || entry.state == MessageState::InDoubt);
        let oldest = open.map(|entry| entry.admitted).min();
        QueueStats {
            waiting: Lane::ALL.map(|lane| (lane, in_lane(lane) as u64)).to_vec(),
            in_doubt: count(MessageState::InDoubt),
            parked: count(MessageState::Parked),
            delivered: count(MessageState::Delivered),
            dead: count(MessageState::Dead),
            expired: count(MessageState::Expired),
            oldest: oldest.map(|admitted| Duration::try_from(now.duration_since(admitted)).unwrap_or_default()),
        }
    }

    /// The first message of every order key that is held.
    fn heads(&self) -> Vec<(OrderKey, u64)> {
        let mut seen = BTreeSet::new();
        let holding = self.messages.iter().filter(|(_, entry)| entry.state.holds_key());
        holding
            .filter(|(_, entry)| seen.insert((&entry.message.order_key.upstream, &entry.message.order_key.value)))
            .map(|(seq, entry)| (entry.message.order_key.clone(), *seq))
            .collect()
    }

    fn lane(&self, key: &OrderKey) -> Lane {
        let lanes = self
            .messages
            .values()
            .filter(|entry| entry.holds(key))
            .map(|entry| entry.message.lane);
        lanes.min().unwrap_or_default()
    }

    fn leased(&mut self, lease: &Lease) -> Result<&mut Entry, LogError> {
        self.messages
            .values_mut()
            .find(|entry| entry.message.id == lease.id && entry.epoch == lease.epoch && entry.leased_until.is_some())
            .ok_or(LogError::Fenced)
    }

    fn view(&self, seq: u64, entry: &Entry) -> MessageView {
        let message = &entry.message;
        let before = self
            .messages
            .range(..seq)
            .filter(|(_, other)| other.holds(&message.order_key))
            .count() as u64;
        MessageView {
            id: message.id.clone(),
            api: message.api.clone(),
            operation: message.operation.clone(),
            version: message.version.clone(),
            channel: message.channel.clone(),
            upstream: message.order_key.upstream.clone(),
            order_key: message.order_key.value.clone(),
            lane: message.lane,
            transaction: message.transaction.clone(),
            correlation: message.correlation.clone(),
            state: entry.state,
            ahead: if entry.state.is_final() { 0 } else { before },
            attempts: entry.attempts.clone(),
            admitted: entry.admitted,
            deadline: message.deadline,
            next_attempt: entry.next_attempt,
            finished: entry.finished,
            cause: entry.cause.clone(),
            response: entry.response.clone(),
        }
    }
}

impl Entry {
    fn holds(&self, key: &OrderKey) -> bool {
        self.state.holds_key() && self.message.order_key == *key
    }

    fn ready_at(&self) -> Option<Timestamp> {
        self.next_attempt
            .filter(|_| self.leased_until.is_none() && self.state.is_waiting())
    }

    fn lease(&mut self, until: Timestamp) -> Claimed {
        self.epoch += 1;
        self.leased_until = Some(until);
        Claimed {
            lease: Lease {
                id: self.message.id.clone(),
                epoch: self.epoch,
            },
            message: NewMessage {
                is_in_doubt: self.is_in_doubt,
                ..self.message.clone()
            },
            attempts: self.counted,
            first_sent: self.first_sent,
            admitted: self.admitted,
        }
    }

    fn finish(&mut self, outcome: AttemptOutcome, now: Timestamp) {
        let was_attempting = self.state == MessageState::Attempting;
        self.leased_until = None;
        self.next_attempt = None;
        self.cause = outcome.cause();
        if let Some(attempt) = self.attempts.last_mut().filter(|_| was_attempting) {
            attempt.ended = Some(now);
            attempt.result = outcome.result();
        }
        self.state = match outcome {
            AttemptOutcome::Delivered(response) => {
                self.response = Some(response);
                MessageState::Delivered
            }
            AttemptOutcome::Rejected(response) => {
                self.response = Some(response);
                MessageState::Dead
            }
            AttemptOutcome::RetryAt { at, counts, .. } => {
                self.next_attempt = Some(at);
                if was_attempting && !counts {
                    self.counted -= 1;
                }
                if self.is_in_doubt {
                    MessageState::InDoubt
                } else {
                    self.first_sent = None;
                    MessageState::Queued
                }
            }
            AttemptOutcome::InDoubt { at, .. } => {
                self.next_attempt = Some(at);
                self.is_in_doubt = true;
                MessageState::InDoubt
            }
            AttemptOutcome::Parked { .. } => MessageState::Parked,
            AttemptOutcome::Dead { .. } => MessageState::Dead,
        };
        self.finished = self.state.is_final().then_some(now);
    }

    fn lose_lease(&mut self, now: Timestamp) {
        self.leased_until = None;
        self.epoch += 1;
        if self.state == MessageState::Attempting {
            self.state = MessageState::InDoubt;
            self.is_in_doubt = true;
            self.next_attempt = Some(now);
            if let Some(attempt) = self.attempts.last_mut() {
                LOST_ATTEMPT.clone_into(&mut attempt.result);
            }
        }
    }
}
