//! Folds the write-ahead log into the store beside the commits, so that no caller waits for it.
//!
//! The log begins anew only when all of it is folded in at a moment when nothing is written. So a thread does most of
//! it, over and over, and the writer itself the small rest, seldom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    schema::{fold, log},
    worker::{Facts, is_full},
};

/// Pages worth a turn of the thread.
const TURN: i64 = 1_000;
/// Pages after which the log should begin anew: 64 MiB.
const LONG: i64 = 16_384;
/// Pages that it must not have: the writer folds them in, whatever waits. 256 MiB.
const TOO_LONG: i64 = 65_536;
/// A few pages wait so long at most, while something comes by.
const REST: Duration = Duration::from_secs(5);

/// The thread, and when it has something to do.
pub(super) struct Folding {
    asked: Option<SyncSender<()>>,
    is_busy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    last: Instant,
}

impl Folding {
    /// Uses a connection of its own. Without a thread the writer does it all.
    pub(super) fn new(connection: Connection, facts: &Arc<Facts>) -> Self {
        let (asked, asks) = mpsc::sync_channel(1);
        let is_busy = Arc::new(AtomicBool::new(false));
        let (facts, busy) = (Arc::clone(facts), Arc::clone(&is_busy));
        let thread = thread::Builder::new().name("queue-folder".to_owned()).spawn(move || {
            while asks.recv().is_ok() {
                if facts.trusted().is_ok()
                    && let Err(error) = fold(&connection)
                    && !is_full(&error)
                {
                    facts.poison(&error);
                }
                busy.store(false, Ordering::Release);
            }
        });
        if let Err(error) = &thread {
            tracing::warn!(%error, "the queue's store folds in its log between commits: no thread for it");
        }
        Self {
            asked: thread.is_ok().then_some(asked),
            is_busy,
            thread: thread.ok(),
            last: Instant::now(),
        }
    }

    /// After each commit, between two transactions of `writer`. With `is_short` of disk all is folded in at once.
    pub(super) fn look(&mut self, writer: &Connection, is_short: bool) -> rusqlite::Result<()> {
        let log = log(writer)?;
        let rest = log.pages - log.folded;
        if rest <= 0 {
            return Ok(());
        }
        let is_due = rest >= TURN || self.last.elapsed() >= REST;
        let is_nearly_done = log.pages >= LONG && rest < TURN && !self.is_busy.load(Ordering::Acquire);
        if is_short || is_nearly_done || log.pages >= TOO_LONG || (is_due && self.asked.is_none()) {
            self.last = Instant::now();
            return fold(writer).map(drop);
        }
        if let Some(asked) = &self.asked
            && is_due
            && !self.is_busy.swap(true, Ordering::AcqRel)
        {
            self.last = Instant::now();
            // There is room for one, and it was not busy.
            let _ = asked.try_send(());
        }
        Ok(())
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        self.asked = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that folds in the queue's log panicked");
        }
    }
}
