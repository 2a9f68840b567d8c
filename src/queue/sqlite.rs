//! The durable message log: `SQLite` in one folder, one writer thread, and a commit for each group of commands.
//!
//! A writing call is answered after the commit, with `synchronous=FULL`, that contains it. The first error of the store
//! that is not "full" ends all trust: nothing is acknowledged any more until the process starts again and reads from
//! disk what is true.

mod codec;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod worker;
mod write;

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
    worker::{Facts, Worker},
    write::Writer,
};
use super::{
    Admitted, AttemptOutcome, Claimed, Digest, Health, Lease, LogFuture, MessageLog, MessageView, NewMessage, OrderKey,
    QueueStats, SweepReport,
};

/// The smallest quota that leaves room for anything.
const SMALLEST_QUOTA: u64 = 1 << 20;

/// Messages in a folder of this machine. Dropping it waits for the commit under way.
pub struct SqliteLog {
    writer: Worker<Writer>,
    reader: Worker<Connection>,
    facts: Arc<Facts>,
    // Last, so that the folder is free only after both threads have closed the store.
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
    #[error("{} is not a queue's store: it belongs to another program; choose another folder", path.display())]
    Foreign { path: PathBuf },
    #[error("a queue of {max_bytes} bytes is too small; give it at least {SMALLEST_QUOTA}")]
    TooSmall { max_bytes: u64 },
    #[error("cannot open the queue's store {}", path.display())]
    Store { path: PathBuf, source: rusqlite::Error },
}

impl SqliteLog {
    /// Opens or creates the log in `folder`. What was under way when the former process ended is in doubt now and due
    /// at once.
    ///
    /// `max_bytes` bounds the store's file; new messages are refused at nine tenths of it, so that the others can still
    /// be finished. Beside it there is a write-ahead log of a few MiB.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Self, OpenError> {
        if max_bytes < SMALLEST_QUOTA {
            return Err(OpenError::TooSmall { max_bytes });
        }
        let lock = lock(folder)?;
        let path = folder.join("queue.db");
        let store = |source| OpenError::Store {
            path: path.clone(),
            source,
        };
        let connection = schema::open(&path, max_bytes)?;
        let (writer, facts) = Writer::open(connection, max_bytes).map_err(store)?;
        let reader = schema::open_for_reading(&path).map_err(store)?;
        let thread = |source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        };
        Ok(Self {
            writer: Worker::start("queue-writer", writer, &facts, worker::write).map_err(thread)?,
            reader: Worker::start("queue-reader", reader, &facts, worker::read).map_err(thread)?,
            facts,
            _lock: lock,
        })
    }
}

/// The lock goes with the process, so a crash leaves nothing to clean up.
fn lock(folder: &Path) -> Result<File, OpenError> {
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

impl MessageLog for SqliteLog {
    fn admit(&self, message: NewMessage, now: Timestamp) -> LogFuture<'_, Admitted> {
        let size = write::size(&message);
        self.writer
            .submit(size, move |writer: &mut Writer| writer.admit(&message, now))
    }

    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>> {
        // Most of the time nothing is queued, and each request with a key asks.
        if self.facts.is_empty() {
            return Box::pin(std::future::ready(self.facts.trusted().map(|()| None)));
        }
        self.reader.submit(0, move |connection: &mut Connection| {
            Ok(read::find(connection, &scope)?)
        })
    }

    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>> {
        let upstream = upstream.to_owned();
        self.writer
            .submit(0, move |writer: &mut Writer| writer.claim(&upstream, max, lease, now))
    }

    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.reader
            .submit(0, |connection: &mut Connection| Ok(read::due(connection)?))
    }

    fn changed(&self) -> Arc<Notify> {
        self.facts.changed()
    }

    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32> {
        self.writer
            .submit(0, move |writer: &mut Writer| writer.begin_attempt(&lease, now))
    }

    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        let size = match &outcome {
            AttemptOutcome::Delivered(response) | AttemptOutcome::Rejected(response) => response.body.len(),
            _ => 0,
        };
        self.writer
            .submit(size, move |writer: &mut Writer| writer.finish(&lease, &outcome, now))
    }

    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>> {
        let id = id.to_owned();
        self.reader
            .submit(0, move |connection: &mut Connection| Ok(read::get(connection, &id)?))
    }

    fn depth(&self, order_key: &OrderKey) -> usize {
        self.facts.depth(order_key)
    }

    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport> {
        self.writer
            .submit(0, move |writer: &mut Writer| writer.sweep(retention, now))
    }

    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats> {
        self.reader
            .submit(0, move |connection: &mut Connection| Ok(read::stats(connection, now)?))
    }

    fn health(&self) -> Health {
        if self.writer.has_stopped() {
            return Health::Poisoned("its writer stopped".to_owned());
        }
        self.facts.health()
    }
}
