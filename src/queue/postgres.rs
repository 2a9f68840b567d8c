//! The message log of a fleet: `PostgreSQL`, shared by any number of gateways.
//!
//! **Order and leases.** Each order key that is held has a row. Whoever changes a message of a key locks this row first,
//! so a key's messages change one after the other, wherever that is done. A claim takes keys that nobody else has
//! locked. Each lease raises its message's epoch; what comes with another epoch is fenced, and every write also names
//! the epoch it read.
//!
//! **Commits.** Admissions and the steps of deliveries are committed in groups, each in three round trips. When a commit
//! is not answered, whether it went through is found out by reading back; a caller is told `InDoubt` only where the
//! database stays away, and may then call again.
//!
//! **Clocks.** Time comes from the callers. Leases only hold if the gateways' clocks agree, so each gateway holds its
//! own against the database's, and leaves deliveries to others while it is off by more than a twentieth of a lease.
//!
//! **Wake-ups.** A gateway wakes its own listeners at each commit, and the others by `NOTIFY`, at most every 50 ms and
//! in no transaction that waits for a disk. As notices may get lost, everybody also looks once a second.

mod acts;
mod book;
mod codec;
mod days;
mod group;
mod keeper;
mod outbox;
mod read;
mod row;
mod schema;
mod session;
#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::schema::Unfit;
use self::{
    codec::{day, rounded},
    group::{Command, Committers, Done},
    session::{Database, Failure, Session},
};
use super::{
    Act, Actor, Admission, Admitted, AttemptOutcome, Claimed, Digest, Gate, Health, Lease, LogError, LogFuture,
    MessageCopy, MessageFilter, MessageLog, MessageView, OpenError, OrderKey, Page, Pause, PauseScope, QueueStats,
    Room, Shown, SweepReport, lanes::Wheel, sqlite,
};
use crate::{audit, config::PostgresSettings};

/// How often partitions are looked through.
const TIDY: i64 = 60;

/// Messages in a database that other gateways share.
pub struct PostgresLog {
    database: Arc<Database>,
    committers: Committers,
    wheels: Arc<Mutex<HashMap<String, Wheel>>>,
    /// When partitions were looked through, in seconds since 1970.
    tidied: Arc<AtomicI64>,
    _stop: DropGuard,
    // Last, so that the folder is free only after all else.
    _lock: File,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Folder(OpenError),
    #[error("cannot keep this gateway's name in {}", path.display())]
    Name { path: PathBuf, source: io::Error },
    #[error("the queue's database cannot be used: {0}")]
    Unfit(#[from] Unfit),
}

impl PostgresLog {
    /// Uses the database, and makes its tables where there are none. `folder` holds what is this gateway's own: the name
    /// under which it holds leases. What it had under way when its former process ended is in doubt now.
    ///
    /// A database that does not answer is no error: the log says `Unavailable` until it does.
    ///
    /// # Errors
    /// The folder cannot be used, or another gateway uses it; the server, or the schema, is not fit.
    ///
    /// # Panics
    /// Outside a Tokio runtime. This one carries all the work.
    pub async fn open(settings: &PostgresSettings, folder: &Path) -> Result<Self, ConnectError> {
        let lock = sqlite::lock(folder).map_err(ConnectError::Folder)?;
        let node = name(folder)?;
        let database = Database::new(settings, node);
        database.look().await?;
        let stop = CancellationToken::new();
        keeper::start(&database, settings, &stop);
        Ok(Self {
            committers: Committers::start(&database),
            database,
            wheels: Arc::default(),
            tidied: Arc::default(),
            _stop: stop.drop_guard(),
            _lock: lock,
        })
    }

    fn read<T, R, F>(&self, work: F) -> LogFuture<'static, T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Session>) -> R + Send + 'static,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        let database = Arc::clone(&self.database);
        let reading = async move {
            let session = Arc::new(database.reader().await?);
            work(session).await.map_err(|failure| database.refusal(&failure))
        };
        self.database.run(reading)
    }
}

/// This gateway's name among those that share the database, made up once.
fn name(folder: &Path) -> Result<String, ConnectError> {
    let path = folder.join("node");
    let failed = |source| ConnectError::Name {
        path: path.clone(),
        source,
    };
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        Ok(_) => new_name(&path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_name(&path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn new_name(path: &Path) -> io::Result<String> {
    let name = uuid::Uuid::now_v7().to_string();
    std::fs::write(path, format!("{name}\n"))?;
    Ok(name)
}

impl MessageLog for PostgresLog {
    fn admit(&self, admission: Admission, now: Timestamp) -> LogFuture<'_, Admitted> {
        let (scope, id) = (admission.message.scope, admission.message.id.clone());
        let admitting = self.committers.submit(Command::Admit(Box::new(admission)), now);
        Box::pin(async move {
            match admitting.await? {
                Done::Admitted(lease) => Ok(Admitted::New(lease)),
                Done::Known(known) => {
                    let view = self.get(&known).await?;
                    // Forgotten in this very moment: the caller may try again.
                    let gone = || LogError::Unavailable(format!("message {id} is being forgotten"));
                    Ok(Admitted::Replay(Box::new(view.ok_or_else(gone)?)))
                }
                Done::Mismatch => Ok(Admitted::Mismatch),
                Done::Begun(_) | Done::Nothing => Err(LogError::InDoubt(format!("no word of scope {scope:?}"))),
            }
        })
    }

    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>> {
        self.read(async move |session| read::find(&session, &scope).await)
    }

    fn gate(&self, api: &str, order_key: &OrderKey) -> LogFuture<'_, Gate> {
        let (api, key) = (api.to_owned(), order_key.clone());
        let database = Arc::clone(&self.database);
        let upstream = order_key.upstream.clone();
        let asking = self.read(async move |session| read::gate(&session, &api, &key).await);
        Box::pin(async move {
            match asking.await {
                // While nobody can reach the database nothing is queued either, so there is still nothing before it.
                Err(LogError::Unavailable(_)) if database.held_nothing(&upstream) => Ok(Gate::Open),
                other => other,
            }
        })
    }

    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>> {
        let (database, wheels) = (Arc::clone(&self.database), Arc::clone(&self.wheels));
        let claim = acts::Claim {
            upstream: upstream.to_owned(),
            max,
            lease,
            now: rounded(now),
            node: database.node.clone(),
            number: fastrand::i64(1..),
        };
        self.database.run(async move {
            database.keeps_time()?;
            let mut tries = database.tries();
            loop {
                let mut wheel = wheels
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&claim.upstream)
                    .unwrap_or_default();
                let session = tries.begin().await?;
                let done = acts::claim(&session, &claim, &mut wheel, tries.is_in_doubt).await;
                wheels
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(claim.upstream.clone(), wheel);
                if let Some(ended) = tries.end(session, done).await {
                    let (claimed, wakes) = ended?;
                    if wakes {
                        database.committed(false);
                    }
                    return Ok(claimed);
                }
            }
        })
    }

    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(async |session| read::due(&session).await)
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.database.changed)
    }

    fn moved(&self) -> Arc<Notify> {
        Arc::clone(&self.database.moved)
    }

    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32> {
        let beginning = self.committers.submit(Command::Begin(lease), now);
        Box::pin(async move {
            match beginning.await? {
                Done::Begun(number) => Ok(number),
                _ => Err(LogError::Fenced),
            }
        })
    }

    fn renew(&self, lease: Lease, length: Duration, now: Timestamp) -> LogFuture<'_, ()> {
        let renewing = self.committers.submit(Command::Renew(lease, length), now);
        Box::pin(async move { renewing.await.map(drop) })
    }

    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        let finishing = self.committers.submit(Command::Finish(lease, Box::new(outcome)), now);
        Box::pin(async move { finishing.await.map(drop) })
    }

    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>> {
        let id = id.to_owned();
        self.read(async move |session| read::get(&session, &id).await)
    }

    fn show(&self, id: &str) -> LogFuture<'_, Option<Shown>> {
        let id = id.to_owned();
        self.read(async move |session| read::show(&session, &id).await)
    }

    fn list(&self, filter: MessageFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageView>> {
        self.read(async move |session| read::list(&session, &filter, from, max).await)
    }

    fn act(&self, id: &str, act: Act, by: Actor, now: Timestamp) -> LogFuture<'_, MessageView> {
        let (database, id, now) = (Arc::clone(&self.database), id.to_owned(), rounded(now));
        self.database.run(async move {
            let mut tries = database.tries();
            loop {
                let session = tries.begin().await?;
                let done = acts::act(&session, &id, &act, &by, now, tries.is_in_doubt).await;
                if let Some(ended) = tries.end(session, done).await {
                    database.committed(true);
                    return ended;
                }
            }
        })
    }

    fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, ()> {
        let pausing = self.hold(scope, by, now, true);
        Box::pin(async move { pausing.await.map(drop) })
    }

    fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, bool> {
        self.hold(scope, by, now, false)
    }

    fn pauses(&self) -> LogFuture<'_, Vec<Pause>> {
        self.read(async |session| Ok(read::pauses(&session).await?.into_values().collect()))
    }

    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport> {
        let (database, tidied, now) = (Arc::clone(&self.database), Arc::clone(&self.tidied), rounded(now));
        self.database.run(async move {
            database.keeps_time()?;
            let mut tries = database.tries();
            let report = loop {
                let session = tries.begin().await?;
                let done = acts::sweep(&session, retention, now).await;
                if let Some(ended) = tries.end(session, done).await {
                    let Some((report, wakes)) = ended? else {
                        return Ok(SweepReport::default());
                    };
                    if report != SweepReport::default() {
                        database.committed(wakes);
                    }
                    break report;
                }
            };
            if now.as_second().abs_diff(tidied.load(Ordering::Relaxed)) >= TIDY.unsigned_abs() {
                tidied.store(now.as_second(), Ordering::Relaxed);
                let mut tries = database.tries();
                let session = tries.begin().await?;
                let dropped = days::drop_unused(&session, now).await;
                // Another time will do.
                tries.end(session, dropped).await;
            }
            Ok(report)
        })
    }

    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats> {
        self.read(async move |session| {
            Ok(QueueStats {
                groups: read::groups(&session).await?,
                oldest: read::oldest(&session, now).await?,
            })
        })
    }

    fn members(&self) -> u32 {
        self.database.members()
    }

    fn room(&self) -> LogFuture<'_, Room> {
        let room = Room {
            admitted: self.database.admitted.load(Ordering::Relaxed),
            used: self.database.used(),
            quota: self.database.quota(),
        };
        Box::pin(std::future::ready(Ok(room)))
    }

    fn health(&self) -> Health {
        self.database.health()
    }

    fn export(&self, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageCopy>> {
        self.read(async move |session| read::export(&session, from, max).await)
    }

    fn import(&self, copies: Vec<MessageCopy>, now: Timestamp) -> LogFuture<'_, usize> {
        let (database, now) = (Arc::clone(&self.database), rounded(now));
        self.database.run(async move {
            let mut tries = database.tries();
            loop {
                days::make(&database, day(now)).await?;
                let session = tries.begin().await?;
                let done = acts::import(&session, &copies, now).await;
                if let Some(ended) = tries.end(session, done).await {
                    database.committed(true);
                    return ended;
                }
            }
        })
    }

    fn record(&self, entry: audit::NewEntry, now: Timestamp) -> LogFuture<'_, audit::Entry> {
        let (database, now) = (Arc::clone(&self.database), rounded(now));
        self.database.run(async move {
            let mut tries = database.tries();
            loop {
                let session = tries.begin().await?;
                let done = if tries.is_in_doubt {
                    acts::recorded(&session, &entry, now).await
                } else {
                    Ok(None)
                };
                let done = match done {
                    Ok(Some(entry)) => Ok(entry),
                    Ok(None) => acts::record(&session, entry.clone(), now).await,
                    Err(failure) => Err(failure),
                };
                if let Some(ended) = tries.end(session, done).await {
                    return ended;
                }
            }
        })
    }

    fn audit(&self, after: u64, max: usize) -> LogFuture<'_, Vec<audit::Entry>> {
        self.read(async move |session| read::audit(&session, after, max).await)
    }
}

impl PostgresLog {
    fn hold(&self, scope: PauseScope, by: Actor, now: Timestamp, holds_back: bool) -> LogFuture<'static, bool> {
        let (database, now) = (Arc::clone(&self.database), rounded(now));
        self.database.run(async move {
            let mut tries = database.tries();
            loop {
                let session = tries.begin().await?;
                let done = acts::pause(&session, &scope, &by, now, holds_back, tries.is_in_doubt).await;
                if let Some(ended) = tries.end(session, done).await {
                    let (was_held_back, scopes) = ended?;
                    database.pauses_are(scopes.into_iter());
                    database.committed(true);
                    return Ok(was_held_back);
                }
            }
        })
    }
}
