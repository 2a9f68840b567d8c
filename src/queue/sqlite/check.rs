//! Looks through the whole store for damage, in the background: when it is opened, and once a day.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};

use super::worker::Facts;
use crate::queue::{CheckResult, Checked};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_hours(24);
/// Longest look. A store that takes longer has been looked through in part only.
const LONGEST: Duration = Duration::from_mins(10);
/// Steps of the engine between two looks at the clock.
const STEPS: i32 = 10_000;
/// Faults that are told.
const FAULTS: usize = 5;

/// The thread that looks. Dropping it ends a look under way.
pub(super) struct Checks {
    stop: Arc<AtomicBool>,
    stopped: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checks {
    /// Uses a connection of its own. Damage is the end of all trust in the store.
    pub(super) fn start(mut connection: Connection, facts: &Arc<Facts>) -> std::io::Result<Self> {
        let (stopped, waiting) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (facts, asked) = (Arc::clone(facts), Arc::clone(&stop));
        let thread = thread::Builder::new().name("queue-check".to_owned()).spawn(move || {
            loop {
                let (at, started) = (Timestamp::now(), Instant::now());
                let result = check(&mut connection, LONGEST, &asked);
                if asked.load(Ordering::Relaxed) {
                    return;
                }
                let took = started.elapsed();
                match &result {
                    CheckResult::Sound => tracing::info!(?took, "the queue's store is sound"),
                    CheckResult::Unfinished(why) => {
                        tracing::warn!(?took, %why, "the queue's store was not looked through to its end");
                    }
                    CheckResult::Damaged(fault) => facts.damaged(fault),
                }
                facts.checked(Checked { at, took, result });
                if waiting.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self {
            stop,
            stopped: Some(stopped),
            thread: Some(thread),
        })
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.stopped = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks for damage in the queue's store panicked");
        }
    }
}

/// Looks through all pages: their form, the order of what is in them, and each index against its table.
fn check(connection: &mut Connection, longest: Duration, stop: &Arc<AtomicBool>) -> CheckResult {
    let (deadline, asked) = (Instant::now() + longest, Arc::clone(stop));
    let ends = move || asked.load(Ordering::Relaxed) || Instant::now() >= deadline;
    let found = connection
        .progress_handler(STEPS, Some(ends))
        .and_then(|()| faults(connection));
    match found {
        Ok(faults) if faults.is_empty() => CheckResult::Sound,
        Ok(faults) => CheckResult::Damaged(faults.join("; ")),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => CheckResult::Damaged(error.to_string()),
            Some(ErrorCode::OperationInterrupted) => {
                CheckResult::Unfinished(format!("it took longer than {} s", longest.as_secs()))
            }
            _ => CheckResult::Unfinished(error.to_string()),
        },
    }
}

/// What is wrong, the first few.
fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({FAULTS})"))?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    let faults = found.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(if faults == ["ok"] { Vec::new() } else { faults })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::sqlite::schema;

    #[test]
    fn a_look_that_takes_too_long_is_ended_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = schema::open(&folder.path().join("queue.db"), 64 << 20).unwrap();
        connection
            .execute_batch(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 20000)
                 INSERT INTO pause SELECT 'api:' || n, n, 'jo', '' FROM n",
            )
            .unwrap();
        let stop = Arc::default();
        assert!(matches!(
            check(&mut connection, Duration::ZERO, &stop),
            CheckResult::Unfinished(why) if why.contains("longer than 0 s")
        ));
        assert_eq!(check(&mut connection, LONGEST, &stop), CheckResult::Sound);
    }
}
