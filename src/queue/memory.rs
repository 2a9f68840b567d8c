//! A message log in memory: slow and plain, it says what the durable one has to do. For tests.

mod outbox;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use self::outbox::Notices;
use super::{
    Act, Actor, Admission, Admitted, AttemptOutcome, AttemptView, Claimed, Digest, EndedAttempt, Gate, Group, Health,
    Lane, Lease, LogError, LogFuture, MessageCopy, MessageFilter, MessageLog, MessageState, MessageView, NewMessage,
    OrderKey, Page, Pause, PauseScope, QueueStats, Room, Shown, Standing, StoredRequest, StoredResponse, SweepReport,
    after,
    lanes::{Ready, Wheel},
};
use crate::audit;

/// Keeps messages until the process ends.
#[derive(Default)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
    changed: Arc<Notify>,
    moved: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    /// By order of admission.
    messages: BTreeMap<u64, Entry>,
    next: u64,
    admitted: u64,
    wheels: HashMap<String, Wheel>,
    pauses: BTreeMap<PauseScope, Pause>,
    audit: Vec<audit::Entry>,
    head: audit::Head,
    notices: Notices,
}

struct Entry {
    message: NewMessage,
    has_request: bool,
    admitted: Timestamp,
    standing: Standing,
    attempts: Vec<AttemptView>,
    response: Option<StoredResponse>,
    former: Vec<StoredRequest>,
}

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T: Send + 'static>(&self, work: impl FnOnce(&mut Inner) -> Result<T, LogError>) -> LogFuture<'_, T> {
        let result = work(&mut self.lock());
        self.changed.notify_one();
        self.moved.notify_waiters();
        Box::pin(std::future::ready(result))
    }

    fn read<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T) -> LogFuture<'_, T> {
        let result = work(&self.lock());
        Box::pin(std::future::ready(Ok(result)))
    }
}

impl MessageLog for MemoryLog {
    fn admit(&self, admission: Admission, now: Timestamp) -> LogFuture<'_, Admitted> {
        self.write(|inner| inner.admit(admission, now))
    }

    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>> {
        self.read(|inner| {
            let (seq, entry) = inner.messages.iter().find(|(_, entry)| entry.message.scope == scope)?;
            Some((inner.view(*seq, entry), entry.message.fingerprint))
        })
    }

    fn gate(&self, api: &str, order_key: &OrderKey) -> LogFuture<'_, Gate> {
        self.read(|inner| match inner.held(order_key).count() as u64 {
            0 if inner.pauses.keys().any(|scope| scope.covers(api, order_key)) => Gate::Paused,
            0 => Gate::Open,
            depth => Gate::Behind(depth),
        })
    }

    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>> {
        self.write(|inner| Ok(inner.claim(upstream, max, lease, now)))
    }

    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(|inner| {
            let mut due = BTreeMap::<String, Timestamp>::new();
            for (key, _, at) in inner.ready() {
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

    fn moved(&self) -> Arc<Notify> {
        Arc::clone(&self.moved)
    }

    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32> {
        self.write(|inner| {
            let entry = inner.entry(&lease.id).ok_or(LogError::Fenced)?;
            let number = entry.standing.begin(&lease, now)?;
            entry.started(number, now);
            Ok(number)
        })
    }

    fn renew(&self, lease: Lease, length: Duration, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(|inner| {
            let entry = inner.entry(&lease.id).ok_or(LogError::Fenced)?;
            entry.standing.renew(&lease, after(now, length), now)
        })
    }

    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(|inner| {
            let entry = inner.entry(&lease.id).ok_or(LogError::Fenced)?;
            let before = entry.standing.finished;
            let ended = entry.standing.finish(&lease, &outcome, now)?;
            entry.ended(ended, now);
            if let Some(response) = outcome.response() {
                entry.response = Some(response.clone());
            }
            if matches!(outcome, AttemptOutcome::Delivered(_) | AttemptOutcome::Answered(_)) {
                entry.drop_request();
            }
            if outcome == AttemptOutcome::Forgotten {
                inner.messages.retain(|_, entry| entry.message.id != lease.id);
            }
            if outcome.is_news() {
                inner.tell(&lease.id, before);
            }
            Ok(())
        })
    }

    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>> {
        self.read(|inner| {
            let (seq, entry) = inner.messages.iter().find(|(_, entry)| entry.message.id == id)?;
            Some(inner.view(*seq, entry))
        })
    }

    fn show(&self, id: &str) -> LogFuture<'_, Option<Shown>> {
        self.read(|inner| {
            let (seq, entry) = inner.messages.iter().find(|(_, entry)| entry.message.id == id)?;
            let history = inner.audit.iter().filter(|act| act.subject == id);
            Some(Shown {
                view: inner.view(*seq, entry),
                request: entry.has_request.then(|| entry.message.request.clone()),
                former: entry.former.clone(),
                history: history.cloned().collect(),
            })
        })
    }

    fn list(&self, filter: MessageFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageView>> {
        self.read(|inner| {
            inner.page(from, max, |entry| {
                let view = MessageView::new(&entry.message, &entry.standing, entry.admitted);
                filter.matches(&view).then_some(view)
            })
        })
    }

    fn act(&self, id: &str, act: Act, by: Actor, now: Timestamp) -> LogFuture<'_, MessageView> {
        self.write(|inner| {
            let entry = inner.entry(id).ok_or(LogError::Unknown)?;
            let (before, finished) = (entry.standing.state, entry.standing.finished);
            let lifetime = entry.message.deadline.duration_since(entry.admitted);
            entry.standing.act(&act, lifetime, now)?;
            match &act {
                Act::Edit { request, .. } => {
                    let former = std::mem::replace(&mut entry.message.request, (**request).clone());
                    entry.former.push(former);
                }
                Act::Happened => entry.drop_request(),
                Act::Retry | Act::Discard | Act::DidNotHappen => {}
            }
            let detail = format!("{} -> {}", before.name(), entry.standing.state.name());
            inner.tell(id, finished);
            inner.enter(by, act.name(), id, detail, now);
            let found = inner.messages.iter().find(|(_, entry)| entry.message.id == id);
            let (seq, entry) = found.ok_or(LogError::Unknown)?;
            Ok(inner.view(*seq, entry))
        })
    }

    fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(|inner| {
            inner.enter(by.clone(), "pause", &scope.to_string(), String::new(), now);
            let pause = Pause {
                scope: scope.clone(),
                since: now,
                by,
            };
            inner.pauses.entry(scope).or_insert(pause);
            Ok(())
        })
    }

    fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, bool> {
        self.write(|inner| {
            inner.enter(by, "resume", &scope.to_string(), String::new(), now);
            Ok(inner.pauses.remove(&scope).is_some())
        })
    }

    fn pauses(&self) -> LogFuture<'_, Vec<Pause>> {
        self.read(|inner| inner.pauses.values().cloned().collect())
    }

    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport> {
        self.write(|inner| Ok(inner.sweep(retention, now)))
    }

    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats> {
        self.read(|inner| inner.stats(now))
    }

    fn room(&self) -> LogFuture<'_, Room> {
        self.read(|inner| Room {
            admitted: inner.admitted,
            ..Room::default()
        })
    }

    fn health(&self) -> Health {
        if self.lock().pauses.contains_key(&PauseScope::Intake) {
            return Health::Draining;
        }
        Health::Ok
    }

    fn export(&self, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageCopy>> {
        self.read(|inner| {
            inner.page(from, max, |entry| {
                Some(MessageCopy {
                    message: NewMessage {
                        is_in_doubt: entry.standing.is_in_doubt,
                        ..entry.message.clone()
                    },
                    has_request: entry.has_request,
                    admitted: entry.admitted,
                    standing: entry.standing.clone(),
                    attempts: entry.attempts.clone(),
                    response: entry.response.clone(),
                    former: entry.former.clone(),
                    notices: inner.notices.of(&entry.message.id),
                })
            })
        })
    }

    fn import(&self, copies: Vec<MessageCopy>, now: Timestamp) -> LogFuture<'_, usize> {
        self.write(|inner| {
            let mut taken = 0;
            for copy in copies {
                if inner.known(&copy.message).is_some() {
                    continue;
                }
                taken += 1;
                let entry = Entry {
                    message: copy.message,
                    has_request: copy.has_request,
                    admitted: copy.admitted,
                    standing: copy.standing.without_lease(now),
                    attempts: copy.attempts,
                    response: copy.response,
                    former: copy.former,
                };
                inner.insert(entry);
                inner.notices.import(copy.notices);
            }
            Ok(taken)
        })
    }

    fn record(&self, entry: audit::NewEntry, now: Timestamp) -> LogFuture<'_, audit::Entry> {
        self.write(|inner| Ok(inner.append(entry, now)))
    }

    fn audit(&self, after: u64, max: usize) -> LogFuture<'_, Vec<audit::Entry>> {
        self.read(|inner| {
            let later = inner.audit.iter().filter(|entry| entry.number > after);
            later.take(max).cloned().collect()
        })
    }
}

impl Inner {
    fn known(&self, message: &NewMessage) -> Option<(&u64, &Entry)> {
        let is_known = |known: &Entry| known.message.scope == message.scope || known.message.id == message.id;
        self.messages.iter().find(|(_, known)| is_known(known))
    }

    fn admit(&mut self, admission: Admission, now: Timestamp) -> Result<Admitted, LogError> {
        let Admission {
            message,
            limits,
            attempt,
        } = admission;
        if let Some((seq, known)) = self.known(&message) {
            let is_same = known.message.scope == message.scope && known.message.fingerprint == message.fingerprint;
            return Ok(if is_same {
                Admitted::Replay(Box::new(self.view(*seq, known)))
            } else {
                Admitted::Mismatch
            });
        }
        if self.pauses.contains_key(&PauseScope::Intake) {
            return Err(LogError::Draining);
        }
        let waiting = |is_meant: &dyn Fn(&NewMessage) -> bool| {
            let held = self.messages.values().filter(|entry| entry.holds_key());
            held.filter(|entry| is_meant(&entry.message)).count() as u64
        };
        if limits
            .api
            .is_some_and(|max| waiting(&|known| known.api == message.api) >= max)
        {
            return Err(LogError::TooMany(format!("API {}", message.api)));
        }
        let is_of_channel = |known: &NewMessage| known.api == message.api && known.channel == message.channel;
        if limits.channel.is_some_and(|max| waiting(&is_of_channel) >= max) {
            return Err(LogError::TooMany(format!("channel {}", message.channel)));
        }
        let until = attempt.filter(|_| self.held(&message.order_key).next().is_none());
        let until = until.map(|length| after(now, length));
        let mut entry = Entry {
            standing: Standing::admitted(&message, until, now),
            has_request: true,
            admitted: now,
            attempts: Vec::new(),
            response: None,
            former: Vec::new(),
            message,
        };
        let lease = until.map(|_| Lease {
            id: entry.message.id.clone(),
            epoch: entry.standing.epoch,
        });
        if lease.is_some() {
            entry.started(entry.standing.attempts, now);
        }
        self.insert(entry);
        self.admitted += 1;
        Ok(Admitted::New(lease))
    }

    fn insert(&mut self, entry: Entry) {
        self.next += 1;
        self.messages.insert(self.next, entry);
    }

    fn claim(&mut self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> Vec<Claimed> {
        self.expire(now);
        let mut ready: [BTreeMap<String, Vec<(Timestamp, u64)>>; 3] = Default::default();
        for (key, head, at) in self.ready() {
            if key.upstream == upstream && at <= now {
                let channel = self.messages[&head].message.channel.clone();
                ready[self.lane(&key).rank()]
                    .entry(channel)
                    .or_default()
                    .push((at, head));
            }
        }
        let ready = ready.map(|lane| {
            lane.into_iter()
                .map(|(channel, mut heads)| {
                    heads.sort_unstable();
                    (channel, VecDeque::from(heads))
                })
                .collect::<Ready<_>>()
        });
        let picked = self.wheels.entry(upstream.to_owned()).or_default().pick(ready, max);
        let mut claimed = Vec::new();
        for (_, head) in picked {
            if let Some(entry) = self.messages.get_mut(&head) {
                entry.standing.lease(after(now, lease));
                claimed.push(Claimed::new(entry.message.clone(), &entry.standing, entry.admitted));
            }
        }
        claimed
    }

    fn expire(&mut self, now: Timestamp) -> u64 {
        let mut expired = Vec::new();
        for entry in self.messages.values_mut() {
            if entry.standing.is_overdue(now) {
                entry.standing.expire(now);
                expired.push(entry.message.id.clone());
            }
        }
        for id in &expired {
            self.tell(id, None);
        }
        expired.len() as u64
    }

    fn sweep(&mut self, retention: Duration, now: Timestamp) -> SweepReport {
        let mut report = SweepReport::default();
        for entry in self.messages.values_mut() {
            if entry.standing.leased_until.is_some_and(|until| until <= now) {
                let ended = entry.standing.lose_lease(now);
                entry.ended(ended, now);
                report.leases_expired += 1;
            }
        }
        report.messages_expired = self.expire(now);
        let before = self.messages.len();
        let notices = &self.notices;
        self.messages.retain(|_, Entry { message, standing, .. }| {
            standing.is_kept(message.head_of_line, retention, now) || notices.waits(&message.id)
        });
        let messages = &self.messages;
        self.notices
            .retain(|id| messages.values().any(|entry| entry.message.id == id));
        report.messages_forgotten = (before - self.messages.len()) as u64;
        report
    }

    fn stats(&self, now: Timestamp) -> QueueStats {
        let mut stats = QueueStats::default();
        for entry in self.messages.values() {
            let group = Group {
                upstream: entry.message.order_key.upstream.clone(),
                api: entry.message.api.clone(),
                channel: entry.message.channel.clone(),
                lane: entry.message.lane,
                state: entry.standing.state,
                holds: entry.holds_key(),
            };
            *stats.groups.entry(group).or_default() += 1;
        }
        let first = |state| self.messages.values().find(|entry| entry.standing.state == state);
        let open = MessageState::ALL.into_iter().filter(|state| state.is_open());
        let oldest = open.filter_map(first).map(|entry| entry.admitted).min();
        stats.oldest = oldest.map(|admitted| Duration::try_from(now.duration_since(admitted)).unwrap_or_default());
        stats
    }

    /// What holds an order key, in order.
    fn held<'a>(&'a self, key: &'a OrderKey) -> impl Iterator<Item = (&'a u64, &'a Entry)> {
        self.messages
            .iter()
            .filter(move |(_, entry)| entry.holds_key() && entry.message.order_key == *key)
    }

    /// The first message of every order key that is held and may go out, and when. While a message of a key is under
    /// way, no other one is ready, not even one before it that a person had tried again.
    fn ready(&self) -> Vec<(OrderKey, u64, Timestamp)> {
        let leased = self
            .messages
            .values()
            .filter(|entry| entry.standing.leased_until.is_some());
        let mut seen: BTreeSet<_> = leased.map(|entry| &entry.message.order_key).collect();
        let holding = self.messages.iter().filter(|(_, entry)| entry.holds_key());
        let heads = holding.filter(|(_, entry)| seen.insert(&entry.message.order_key));
        let free = heads.filter(|(_, Entry { message, .. })| {
            !self
                .pauses
                .keys()
                .any(|scope| scope.covers(&message.api, &message.order_key))
        });
        free.filter_map(|(seq, entry)| Some((entry.message.order_key.clone(), *seq, entry.standing.ready_at()?)))
            .collect()
    }

    fn lane(&self, key: &OrderKey) -> Lane {
        self.held(key)
            .map(|(_, entry)| entry.message.lane)
            .min()
            .unwrap_or_default()
    }

    fn entry(&mut self, id: &str) -> Option<&mut Entry> {
        self.messages.values_mut().find(|entry| entry.message.id == id)
    }

    fn view(&self, seq: u64, entry: &Entry) -> MessageView {
        let before = self
            .held(&entry.message.order_key)
            .filter(|(other, _)| **other < seq)
            .count() as u64;
        MessageView {
            ahead: if entry.standing.state.is_final() { 0 } else { before },
            attempts: entry.attempts.clone(),
            response: entry.response.clone(),
            ..MessageView::new(&entry.message, &entry.standing, entry.admitted)
        }
    }

    fn page<T>(&self, from: Option<u64>, max: usize, item: impl Fn(&Entry) -> Option<T>) -> Page<T> {
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        for (seq, entry) in self.messages.range(from.unwrap_or(0)..) {
            if page.items.len() == max {
                page.next = Some(*seq);
                break;
            }
            page.items.extend(item(entry));
        }
        page
    }

    fn enter(&mut self, by: Actor, act: &str, subject: &str, detail: String, now: Timestamp) {
        let entry = audit::NewEntry {
            actor: by.name,
            act: act.to_owned(),
            subject: subject.to_owned(),
            reason: by.reason,
            detail,
        };
        self.append(entry, now);
    }

    fn append(&mut self, entry: audit::NewEntry, now: Timestamp) -> audit::Entry {
        let entry = self.head.append(entry, now);
        self.audit.push(entry.clone());
        entry
    }
}

impl Entry {
    fn holds_key(&self) -> bool {
        self.standing.holds_key(self.message.head_of_line)
    }

    /// Nobody will send it again.
    fn drop_request(&mut self) {
        self.has_request = false;
        self.message.request = StoredRequest::default();
    }

    fn started(&mut self, number: u32, now: Timestamp) {
        self.attempts.retain(|attempt| attempt.number != number);
        self.attempts.push(AttemptView {
            number,
            started: now,
            ended: None,
            result: String::new(),
        });
    }

    fn ended(&mut self, ended: Option<EndedAttempt>, now: Timestamp) {
        let Some(ended) = ended else { return };
        if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.number == ended.number) {
            attempt.ended = ended.ended.then_some(now);
            attempt.result = ended.result;
        }
    }
}
