//! The durable message log: `SQLite` in one folder, one writer thread, and a commit for each group of commands.
//!
//! A writing call is answered after the commit, with `synchronous=FULL`, that contains it. The first error of the store
//! that is not "full" ends all trust: nothing is acknowledged any more until the process starts again and reads from
//! disk what is true.

mod archive;
mod ballast;
mod check;
mod codec;
#[cfg(test)]
mod damage;
mod fold;
mod outbox;
mod read;
mod row;
mod salvage;
mod schema;
#[cfg(test)]
mod tests;
mod worker;
mod write;

pub use self::{
    archive::Archive,
    salvage::{LostMessage, Salvage, Salvaged},
};

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::Notify;

use self::{
    ballast::Ballast,
    check::Checks,
    worker::{Facts, Failure, Worker},
    write::Writer,
};
use super::{
    Act, Actor, Admission, Admitted, AttemptOutcome, Checked, Claimed, Digest, Gate, Health, Lease, LogFuture,
    MessageCopy, MessageFilter, MessageLog, MessageView, OrderKey, Page, Pause, PauseScope, QueueStats, Room, Shown,
    SweepReport,
};
use crate::audit;

/// The smallest quota that leaves room for anything.
const SMALLEST_QUOTA: u64 = 1 << 20;

/// Connections that read, so that a long list does not hold up the answer to a caller.
const READERS: usize = 3;

/// Messages in a folder of this machine. Dropping it waits for the commit under way.
pub struct SqliteLog {
    writer: Worker<Writer>,
    readers: Worker<Connection>,
    facts: Arc<Facts>,
    _checks: Checks,
    // Last, so that the folder is free only after all threads have closed the store.
    _lock: File,
}

/// Why a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use folder {} for the queue", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("another gateway uses the queue in folder {}; give each gateway a folder of its own", folder.display())]
    InUse { folder: PathBuf },
    #[error(
        "{} was written by a newer release (layout {found}, this release knows {known}); start that release",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{} is of an older release (layout {found}, this release knows {known}); start the gateway once, or use that \
         release",
        path.display()
    )]
    Older { path: PathBuf, found: i64, known: i64 },
    #[error("{} is not a queue's store: it belongs to another program; choose another folder", path.display())]
    Foreign { path: PathBuf },
    #[error("a queue of {max_bytes} bytes is too small; give it at least {SMALLEST_QUOTA}")]
    TooSmall { max_bytes: u64 },
    #[error("cannot open the queue's store {}", path.display())]
    Store { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the queue's store {} is damaged, or no store at all; save what can be read by `crossdock queue export --salvage FILE --folder {}`, \
         put that folder aside, and import the file into a new queue",
        path.display(),
        path.parent().unwrap_or(path).display()
    )]
    Damaged { path: PathBuf, source: rusqlite::Error },
}

impl OpenError {
    fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        if worker::is_damage(&source) {
            Self::Damaged { path, source }
        } else {
            Self::Store { path, source }
        }
    }
}

impl SqliteLog {
    /// Opens or creates the log in `folder`. What was under way when the former process ended is in doubt now and due
    /// at once.
    ///
    /// `max_bytes` bounds the store's file; new messages are refused at nine tenths of it, so that the others can still
    /// be finished. Beside it there is a write-ahead log of a few MiB, and ballast: a file that is given up when the disk
    /// is full, so that what is there can be delivered.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Self, OpenError> {
        if max_bytes < SMALLEST_QUOTA {
            return Err(OpenError::TooSmall { max_bytes });
        }
        let lock = lock(folder)?;
        let path = folder.join("queue.db");
        let store = |source| OpenError::of(&path, source);
        let connection = schema::open(&path, max_bytes)?;
        let ballast = Ballast::new(folder, max_bytes);
        let second = schema::open_for_folding(&path).map_err(store)?;
        let (writer, facts) = Writer::open(connection, second, max_bytes, ballast).map_err(store)?;
        let readers = std::iter::repeat_with(|| schema::open_for_reading(&path)).take(READERS);
        let readers = readers.collect::<rusqlite::Result<Vec<_>>>().map_err(store)?;
        let checking = schema::open_for_reading(&path).map_err(store)?;
        let thread = |source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        };
        Ok(Self {
            writer: Worker::start("queue-writer", writer, &facts, worker::write).map_err(thread)?,
            readers: Worker::start_all("queue-reader", readers, &facts, worker::read).map_err(thread)?,
            _checks: Checks::start(checking, &facts).map_err(thread)?,
            facts,
            _lock: lock,
        })
    }
}

/// The lock goes with the process, so a crash leaves nothing to clean up.
pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder {
        folder: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("queue.lock"));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl SqliteLog {
    fn write<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnMut(&mut Writer) -> Result<T, Failure> + Send + 'static,
    ) -> LogFuture<'_, T> {
        self.writer.submit(size, work)
    }

    fn read<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> LogFuture<'_, T> {
        self.readers
            .submit(0, move |connection: &mut Connection| Ok(work(connection)?))
    }
}

impl MessageLog for SqliteLog {
    fn admit(&self, admission: Admission, now: Timestamp) -> LogFuture<'_, Admitted> {
        let size = write::size(&admission.message);
        self.write(size, move |writer| writer.admit(&admission, now))
    }

    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>> {
        // Most of the time nothing is queued, and each request with a key asks.
        if self.facts.is_empty() {
            return Box::pin(std::future::ready(self.facts.trusted().map(|()| None)));
        }
        self.read(move |connection| read::find(connection, &scope))
    }

    fn gate(&self, api: &str, order_key: &OrderKey) -> LogFuture<'_, Gate> {
        Box::pin(std::future::ready(Ok(self.facts.gate(api, order_key))))
    }

    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>> {
        let upstream = upstream.to_owned();
        self.write(0, move |writer| writer.claim(&upstream, max, lease, now))
    }

    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(read::due)
    }

    fn changed(&self) -> Arc<Notify> {
        self.facts.changed()
    }

    fn moved(&self) -> Arc<Notify> {
        self.facts.moved()
    }

    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32> {
        self.write(0, move |writer| writer.begin_attempt(&lease, now))
    }

    fn renew(&self, lease: Lease, length: Duration, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(0, move |writer| writer.renew(&lease, length, now))
    }

    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        let size = outcome.response().map_or(0, |response| response.body.len());
        self.write(size, move |writer| writer.finish(&lease, &outcome, now))
    }

    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>> {
        let id = id.to_owned();
        self.read(move |connection| read::get(connection, &id))
    }

    fn show(&self, id: &str) -> LogFuture<'_, Option<Shown>> {
        let id = id.to_owned();
        self.read(move |connection| read::show(connection, &id))
    }

    fn list(&self, filter: MessageFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageView>> {
        self.read(move |connection| read::list(connection, &filter, from, max))
    }

    fn act(&self, id: &str, act: Act, by: Actor, now: Timestamp) -> LogFuture<'_, MessageView> {
        let id = id.to_owned();
        self.write(0, move |writer| writer.act(&id, &act, &by, now))
    }

    fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(0, move |writer| writer.pause(&scope, &by, now))
    }

    fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, bool> {
        self.write(0, move |writer| writer.resume(&scope, &by, now))
    }

    fn pauses(&self) -> LogFuture<'_, Vec<Pause>> {
        self.read(|connection| Ok(read::pauses(connection)?.into_values().collect()))
    }

    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport> {
        self.write(0, move |writer| writer.sweep(retention, now))
    }

    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats> {
        let facts = Arc::clone(&self.facts);
        self.read(move |connection| {
            Ok(QueueStats {
                groups: facts.groups(),
                oldest: read::oldest(connection, now)?,
            })
        })
    }

    fn room(&self) -> LogFuture<'_, Room> {
        Box::pin(std::future::ready(Ok(self.facts.room())))
    }

    fn health(&self) -> Health {
        if self.writer.has_stopped() {
            return Health::Poisoned("its writer stopped".to_owned());
        }
        self.facts.health()
    }

    fn checked(&self) -> Option<Checked> {
        self.facts.last_check()
    }

    fn export(&self, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageCopy>> {
        self.read(move |connection| read::export(connection, from, max))
    }

    fn import(&self, copies: Vec<MessageCopy>, now: Timestamp) -> LogFuture<'_, usize> {
        let size = copies.iter().map(|copy| write::size(&copy.message)).sum();
        self.write(size, move |writer| writer.import(&copies, now))
    }

    fn record(&self, entry: audit::NewEntry, now: Timestamp) -> LogFuture<'_, audit::Entry> {
        self.write(0, move |writer| writer.record(entry.clone(), now))
    }

    fn audit(&self, after: u64, max: usize) -> LogFuture<'_, Vec<audit::Entry>> {
        self.read(move |connection| read::audit(connection, after, max))
    }
}
