//! The threads that talk to `SQLite`: jobs in, answers out, one commit for many jobs.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    io, mem,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{
    Notify,
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::write::Writer;
use crate::queue::{
    Checked, Gate, Group, Health, LogError, LogFuture, OrderKey, Pause, PauseScope, Room, Subscriptions,
};

/// At most so many jobs, or so many bytes of bodies, are in one commit.
const GROUP_JOBS: usize = 512;
const GROUP_BYTES: usize = 1 << 20;

/// Callers beyond these wait until the thread keeps up.
const WAITING_JOBS: usize = 1024;

/// Where a thread takes its jobs from.
pub(super) type Jobs<C> = mpsc::Receiver<Box<dyn Job<C>>>;

/// One thread, or several, each with its context: a connection. Dropping it lets them finish what they were given.
pub(super) struct Worker<C> {
    jobs: mpsc::Sender<Box<dyn Job<C>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: Send + 'static> Worker<C> {
    pub(super) fn start(name: &str, context: C, facts: &Arc<Facts>, work: fn(C, Jobs<C>, &Facts)) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let facts = Arc::clone(facts);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(context, waiting, &facts))?;
        Ok(Self {
            jobs,
            threads: vec![thread],
        })
    }

    /// A thread for each context; each job is done by whichever is free.
    pub(super) fn start_all(
        name: &str,
        contexts: impl IntoIterator<Item = C>,
        facts: &Arc<Facts>,
        work: fn(C, &Mutex<Jobs<C>>, &Facts),
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_JOBS);
        let mut worker = Self {
            jobs,
            threads: Vec::new(),
        };
        let waiting = Arc::new(Mutex::new(waiting));
        for context in contexts {
            let (facts, waiting) = (Arc::clone(facts), Arc::clone(&waiting));
            let thread = thread::Builder::new().name(name.to_owned());
            worker
                .threads
                .push(thread.spawn(move || work(context, &waiting, &facts))?);
        }
        Ok(worker)
    }

    /// Has `work` done on the thread. `size` is what it adds to a commit, in bytes. Work may run twice, when the first
    /// run was rolled back, and must not change anything before it refuses.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnMut(&mut C) -> Result<T, Failure> + Send + 'static,
    ) -> LogFuture<'_, T> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Task {
            work,
            size,
            result: None,
            answer,
        });
        Box::pin(async move {
            self.jobs.send(job).await.map_err(|_| LogError::Closed)?;
            answered.await.map_err(|_| LogError::Closed)?
        })
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.jobs.is_closed()
    }
}

impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        // Closes the channel: the threads end when they have answered what they hold.
        drop(mem::replace(&mut self.jobs, mpsc::channel(1).0));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the queue's store panicked");
            }
        }
    }
}

/// Why a job has no result.
pub(super) enum Failure {
    /// The rules of the log say no; nothing was changed.
    Refused(LogError),
    /// The store could not do it.
    Store(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Refused(error)
    }
}

/// Work with an answer that is held back until the commit.
pub(super) trait Job<C>: Send {
    fn size(&self) -> usize;
    fn run(&mut self, context: &mut C) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, failure: Option<LogError>);
}

struct Task<T, F> {
    work: F,
    size: usize,
    result: Option<Result<T, LogError>>,
    answer: oneshot::Sender<Result<T, LogError>>,
}

impl<C, T: Send, F: FnMut(&mut C) -> Result<T, Failure> + Send> Job<C> for Task<T, F> {
    fn size(&self) -> usize {
        self.size
    }

    fn run(&mut self, context: &mut C) -> rusqlite::Result<()> {
        self.result = Some(match (self.work)(context) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Store(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<LogError>) {
        let result = match failure {
            Some(failure) => Err(failure),
            None => self.result.unwrap_or(Err(LogError::Closed)),
        };
        // A caller that stopped waiting needs no answer.
        let _ = self.answer.send(result);
    }
}

type Batch = Vec<Box<dyn Job<Writer>>>;

/// The writer thread. What can wait is done in small parts, each when nobody wants anything.
pub(super) fn write(mut writer: Writer, mut jobs: Jobs<Writer>, facts: &Facts) {
    let mut has_more = false;
    loop {
        let next = if has_more {
            jobs.try_recv()
        } else {
            jobs.blocking_recv().ok_or(TryRecvError::Disconnected)
        };
        match next {
            Ok(first) => commit(&mut writer, gather(first, &mut jobs), facts),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        has_more = facts.trusted().is_ok() && tidy(&mut writer, jobs.is_empty(), facts);
    }
}

/// No artificial delay: while one commit waits for the disk, the next group gathers.
fn gather(first: Box<dyn Job<Writer>>, jobs: &mut Jobs<Writer>) -> Batch {
    let mut bytes = first.size();
    let mut group = vec![first];
    while group.len() < GROUP_JOBS && bytes < GROUP_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.size();
        group.push(job);
    }
    group
}

/// Whether there is more to tidy.
fn tidy(writer: &mut Writer, is_idle: bool, facts: &Facts) -> bool {
    match writer.tidy(is_idle) {
        Ok(has_more) => {
            facts.apply_quietly(writer);
            has_more
        }
        Err(error) if is_full(&error) => false,
        Err(error) => {
            facts.poison(&error);
            false
        }
    }
}

fn commit(writer: &mut Writer, mut group: Batch, facts: &Facts) {
    if let Err(error) = facts.trusted() {
        return answer(group, Some(&error));
    }
    match transact(writer, &mut group) {
        Ok(()) => {
            facts.apply(writer);
            answer(group, None);
        }
        // The disk is full, not the quota: what is there has to be finished all the same.
        Err(error) if is_full(&error) && writer.makes_room() => commit(writer, group, facts),
        Err(error) if is_full(&error) && group.len() > 1 => {
            // One of them was too much: the others may fit.
            for job in group {
                commit(writer, vec![job], facts);
            }
        }
        Err(error) if is_full(&error) => {
            facts.is_full.store(true, Ordering::Relaxed);
            answer(group, Some(&LogError::Full));
        }
        Err(error) => answer(group, Some(&facts.poison(&error))),
    }
}

fn transact(writer: &mut Writer, group: &mut Batch) -> rusqlite::Result<()> {
    writer.begin()?;
    let done = group
        .iter_mut()
        .try_for_each(|job| job.run(writer))
        .and_then(|()| writer.commit());
    if done.is_err() {
        writer.roll_back();
    }
    done
}

fn answer(group: Batch, failure: Option<&LogError>) {
    for job in group {
        job.answer(failure.cloned());
    }
}

/// A full disk as well as a used-up quota: nothing was written, and it may pass.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// A reader thread. Each job sees one state of the store.
pub(super) fn read(mut connection: Connection, jobs: &Mutex<Jobs<Connection>>, facts: &Facts) {
    // Whoever waits holds the lock, and lets go of it with a job in hand.
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    while let Some(mut job) = next() {
        let failure = facts.trusted().and_then(|()| {
            let read = connection
                .execute_batch("BEGIN")
                .and_then(|()| job.run(&mut connection));
            let ended = connection.execute_batch("COMMIT");
            read.and(ended).map_err(|error| facts.poison(&error))
        });
        job.answer(failure.err());
    }
}

/// What is known without asking the store.
pub(super) struct Facts {
    /// Messages that hold an order key, by the key's hash: keys are many, and a key that shares its hash with another
    /// is merely thought to be held as long as that one is.
    depths: RwLock<HashMap<u64, u32>>,
    hasher: RandomState,
    groups: RwLock<HashMap<Group, u64>>,
    pauses: RwLock<BTreeMap<PauseScope, Pause>>,
    /// Messages in the store, finished ones included.
    stored: AtomicI64,
    admitted: AtomicU64,
    used: AtomicU64,
    quota: u64,
    is_full: AtomicBool,
    poison: OnceLock<String>,
    checked: Mutex<Option<Checked>>,
    #[cfg(test)]
    pub(super) trusts_every_epoch: AtomicBool,
    changed: Arc<Notify>,
    moved: Arc<Notify>,
    /// Which ends are told.
    subscriptions: RwLock<Arc<Subscriptions>>,
}

impl Facts {
    pub(super) fn new(quota: u64, pauses: BTreeMap<PauseScope, Pause>) -> Self {
        Self {
            depths: RwLock::default(),
            hasher: RandomState::new(),
            groups: RwLock::default(),
            pauses: RwLock::new(pauses),
            stored: AtomicI64::new(0),
            admitted: AtomicU64::new(0),
            used: AtomicU64::new(0),
            quota,
            is_full: AtomicBool::new(false),
            poison: OnceLock::new(),
            checked: Mutex::default(),
            #[cfg(test)]
            trusts_every_epoch: AtomicBool::new(false),
            changed: Arc::default(),
            moved: Arc::default(),
            subscriptions: RwLock::default(),
        }
    }

    pub(super) fn subscribe(&self, subscriptions: Subscriptions) {
        *self.subscriptions.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(subscriptions);
    }

    pub(super) fn subscriptions(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.subscriptions.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn gate(&self, api: &str, key: &OrderKey) -> Gate {
        let depths = self.depths.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(depth) = depths.get(&self.hasher.hash_one(key)) {
            return Gate::Behind(u64::from(*depth));
        }
        drop(depths);
        let pauses = self.pauses.read().unwrap_or_else(PoisonError::into_inner);
        if pauses.keys().any(|scope| scope.covers(api, key)) {
            return Gate::Paused;
        }
        Gate::Open
    }

    pub(super) fn deepen(&self, key: &OrderKey, change: i32) {
        let mut depths = self.depths.write().unwrap_or_else(PoisonError::into_inner);
        self.change(&mut depths, key, change);
    }

    fn change(&self, depths: &mut HashMap<u64, u32>, key: &OrderKey, change: i32) {
        let hash = self.hasher.hash_one(key);
        let depth = depths.get(&hash).copied().unwrap_or(0).saturating_add_signed(change);
        if depth == 0 {
            depths.remove(&hash);
        } else {
            depths.insert(hash, depth);
        }
    }

    pub(super) fn count(&self, is_meant: impl Fn(&Group) -> bool) -> u64 {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups
            .iter()
            .filter(|(group, _)| is_meant(group))
            .map(|(_, count)| count)
            .sum()
    }

    pub(super) fn groups(&self) -> BTreeMap<Group, u64> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.iter().map(|(group, count)| (group.clone(), *count)).collect()
    }

    pub(super) fn room(&self) -> Room {
        Room {
            admitted: self.admitted.load(Ordering::Relaxed),
            used: self.used.load(Ordering::Relaxed),
            // The last tenth is for finishing what is there.
            quota: self.quota / 10 * 9,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stored.load(Ordering::Acquire) == 0
    }

    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    pub(super) fn moved(&self) -> Arc<Notify> {
        Arc::clone(&self.moved)
    }

    pub(super) fn trusted(&self) -> Result<(), LogError> {
        self.poison
            .get()
            .map_or(Ok(()), |cause| Err(LogError::Poisoned(cause.clone())))
    }

    pub(super) fn health(&self) -> Health {
        let is_draining = || {
            let pauses = self.pauses.read().unwrap_or_else(PoisonError::into_inner);
            pauses.contains_key(&PauseScope::Intake)
        };
        match self.poison.get() {
            Some(cause) => Health::Poisoned(cause.clone()),
            None if self.is_full.load(Ordering::Relaxed) => Health::Full,
            None if is_draining() => Health::Draining,
            None => Health::Ok,
        }
    }

    /// Takes over what a commit changed.
    pub(super) fn apply(&self, writer: &mut Writer) {
        let wakes = self.apply_quietly(writer);
        self.moved.notify_waiters();
        if wakes {
            self.changed.notify_one();
        }
    }

    /// The same for changes that nobody waits for. Whether something may be due.
    pub(super) fn apply_quietly(&self, writer: &mut Writer) -> bool {
        let changes = writer.take_changes();
        if !changes.depths.is_empty() {
            let mut depths = self.depths.write().unwrap_or_else(PoisonError::into_inner);
            for (key, change) in &changes.depths {
                self.change(&mut depths, key, *change);
            }
        }
        if !changes.groups.is_empty() {
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            for (group, change) in changes.groups {
                self.stored.fetch_add(change, Ordering::AcqRel);
                let count = groups.get(&group).copied().unwrap_or(0).saturating_add_signed(change);
                if count == 0 {
                    groups.remove(&group);
                } else {
                    groups.insert(group, count);
                }
            }
        }
        if let Some(pauses) = changes.pauses {
            *self.pauses.write().unwrap_or_else(PoisonError::into_inner) = pauses;
        }
        self.admitted.fetch_add(changes.admitted, Ordering::Relaxed);
        self.used.store(writer.bytes_used(), Ordering::Relaxed);
        self.is_full
            .store(writer.is_full(self.is_full.load(Ordering::Relaxed)), Ordering::Relaxed);
        changes.wakes
    }

    /// The first failure stays the cause: later ones often follow from it.
    pub(super) fn poison(&self, error: &rusqlite::Error) -> LogError {
        let mut cause = error.to_string();
        if is_damage(error) {
            cause = format!("{cause}; {SALVAGE}");
        }
        self.fail(cause)
    }

    /// A look through the store has found something wrong.
    pub(super) fn damaged(&self, fault: &str) {
        self.fail(format!("it is damaged: {fault}; {SALVAGE}"));
    }

    fn fail(&self, cause: String) -> LogError {
        let cause = self.poison.get_or_init(|| {
            tracing::error!(error = %cause, "the queue's store failed; nothing is queued or delivered until a restart");
            cause
        });
        self.changed.notify_one();
        self.moved.notify_waiters();
        LogError::Poisoned(cause.clone())
    }

    pub(super) fn checked(&self, checked: Checked) {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(checked);
    }

    pub(super) fn last_check(&self) -> Option<Checked> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What to do about a damaged store.
const SALVAGE: &str = "stop the gateway and save what can be read by `crossdock queue export --salvage FILE`";

/// What is in the file cannot be right.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
