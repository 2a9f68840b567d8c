//! Candidates that are being tried: what came of it so far, and which of them were rolled back.

pub(crate) mod compare;
mod window;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tracing::{error, warn};

use self::{compare::Difference, window::Window};
use crate::{
    config::RollbackSpec,
    files,
    telemetry::{Metrics, TrialMetrics},
};

/// Name of the file in the state folder that remembers what was rolled back.
const FILE: &str = "candidates.json";
/// Rollbacks that are remembered; the oldest go first.
const REMEMBERED: usize = 1_000;
/// Different differences that are kept of one candidate.
const KEPT: usize = 50;

/// One candidate by its content: the same across snapshots for as long as its files say the same.
pub(crate) struct Trial {
    api: Arc<str>,
    /// Of the API's name and everything that makes the candidate what it is.
    digest: String,
    metrics: TrialMetrics,
    window: Mutex<Window>,
    is_rolled_back: AtomicBool,
    rollback: Mutex<Option<Rollback>>,
    served: AtomicU64,
    failed: AtomicU64,
    compared: AtomicU64,
    differing: AtomicU64,
    dropped: AtomicU64,
    differences: Mutex<BTreeMap<Seen, u64>>,
}

/// A difference, and in which translation it was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) operation: Arc<str>,
    /// The caller's.
    pub(crate) version: Arc<str>,
    /// `request` or `response`.
    pub(crate) direction: &'static str,
    pub(crate) difference: Difference,
}

/// Why a candidate serves nobody any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rollback {
    digest: String,
    api: String,
    pub(crate) at: Timestamp,
    pub(crate) why: String,
}

/// How a trial stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) served: u64,
    pub(crate) failed: u64,
    pub(crate) compared: u64,
    pub(crate) differing: u64,
    pub(crate) dropped: u64,
    pub(crate) rollback: Option<Rollback>,
    pub(crate) differences: Vec<(Seen, u64)>,
}

impl Trial {
    /// Whether it serves nobody any more.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.is_rolled_back.load(Ordering::Relaxed)
    }

    /// Of the candidate's content, to tell one from its successor.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Notes a request that it served. Too many failures among the latest end the trial here and now.
    pub(crate) fn note(&self, trials: &Trials, has_failed: bool, bounds: &RollbackSpec) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(has_failed), Ordering::Relaxed);
        self.metrics.served(has_failed);
        let exceeded = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.note(Instant::now(), has_failed, bounds)
        };
        let Some((failures, requests)) = exceeded else { return };
        if self.is_rolled_back.swap(true, Ordering::Relaxed) {
            return;
        }
        let rollback = Rollback {
            digest: self.digest.clone(),
            api: self.api.to_string(),
            at: Timestamp::now(),
            why: format!("{failures} of its latest {requests} requests failed"),
        };
        error!(crossdock.api = %self.api, failures, requests, candidate = %self.digest, "candidate rolled back");
        self.rolled_back(rollback.clone());
        trials.remember(rollback);
    }

    fn rolled_back(&self, rollback: Rollback) {
        self.is_rolled_back.store(true, Ordering::Relaxed);
        self.metrics.rolled_back(true);
        *self.rollback.lock().unwrap_or_else(PoisonError::into_inner) = Some(rollback);
    }

    /// Notes a message that both mappings translated, and in what the results differ.
    pub(crate) fn compared(&self, seen: Vec<Seen>) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.metrics.compared(!seen.is_empty());
        if seen.is_empty() {
            return;
        }
        self.differing.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in seen {
            if kept.len() < KEPT || kept.contains_key(&seen) {
                *kept.entry(seen).or_default() += 1;
            }
        }
    }

    /// Notes a message that there was no time to compare.
    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.metrics.dropped();
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let differences = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        Standing {
            served: count(&self.served),
            failed: count(&self.failed),
            compared: count(&self.compared),
            differing: count(&self.differing),
            dropped: count(&self.dropped),
            rollback: self.rollback.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            differences: differences.iter().map(|(seen, count)| (seen.clone(), *count)).collect(),
        }
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trial({} {})", self.api, self.digest)
    }
}

/// All candidates of this process, and what earlier ones remembered.
pub(crate) struct Trials {
    running: Mutex<HashMap<String, Arc<Trial>>>,
    remembered: Arc<Mutex<Vec<Rollback>>>,
    /// Where rollbacks are kept; nowhere in a check.
    file: OnceLock<PathBuf>,
    background: Handle,
}

impl Trials {
    /// Remembers nothing yet.
    pub(crate) fn new(background: Handle) -> Self {
        Self {
            running: Mutex::default(),
            remembered: Arc::default(),
            file: OnceLock::new(),
            background,
        }
    }

    /// Remembers rollbacks in the state folder, those of earlier processes first.
    pub(crate) fn keep_in(&self, state: &Path) -> io::Result<()> {
        let path = state.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => {
                let known: Vec<Rollback> = serde_json::from_slice(&text).map_err(|cause| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {cause}", path.display()))
                })?;
                *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = known;
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
        let _ = self.file.set(path);
        Ok(())
    }

    /// The trial of this content: the running one, or a fresh one; rolled back if it ever was.
    pub(crate) fn trial(&self, api: &str, digest: &str, metrics: &Metrics) -> Arc<Trial> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Trials that no snapshot uses any more are forgotten; their rollbacks are not.
        running.retain(|_, trial| Arc::strong_count(trial) > 1);
        if let Some(trial) = running.get(digest) {
            return trial.clone();
        }
        let trial = Arc::new(Trial {
            api: api.into(),
            digest: digest.to_owned(),
            metrics: metrics.trial(api),
            window: Mutex::default(),
            is_rolled_back: AtomicBool::new(false),
            rollback: Mutex::default(),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            differing: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            differences: Mutex::default(),
        });
        trial.metrics.rolled_back(false);
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rollback) = remembered.iter().find(|rollback| rollback.digest == digest) {
            warn!(
                crossdock.api = api,
                candidate = digest,
                "this candidate was rolled back before: it serves nobody"
            );
            trial.rolled_back(rollback.clone());
        }
        running.insert(digest.to_owned(), trial.clone());
        trial
    }

    fn remember(&self, rollback: Rollback) {
        let remembered = self.remembered.clone();
        {
            let mut remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= REMEMBERED {
                remembered.remove(0);
            }
            remembered.push(rollback);
        }
        let Some(path) = self.file.get().cloned() else { return };
        // The request that brought it about does not wait for the disk.
        self.background.spawn_blocking(move || {
            // Held while writing, so that two rollbacks are written one after the other, the later one last.
            let remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            let text = serde_json::to_vec_pretty(&*remembered).unwrap_or_default();
            if let Err(cause) = files::replace(&path, &text) {
                error!(error = %cause, "the rollback of a candidate could not be stored; it holds until the next start");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Percent, Time};

    fn bounds() -> RollbackSpec {
        RollbackSpec {
            failures: Percent(0.2),
            over: Time(std::time::Duration::from_mins(5)),
            least: 10.try_into().unwrap(),
        }
    }

    #[tokio::test]
    async fn a_rollback_holds_across_reloads_and_restarts_for_the_same_content() {
        let (state, metrics) = (tempfile::tempdir().unwrap(), Metrics::default());
        let trials = Trials::new(Handle::current());
        trials.keep_in(state.path()).unwrap();
        let trial = trials.trial("erp-orders", "abc", &metrics);
        for _ in 0..9 {
            trial.note(&trials, true, &bounds());
            assert!(!trial.is_rolled_back());
        }
        trial.note(&trials, true, &bounds());
        assert!(trial.is_rolled_back());
        assert!(
            metrics.text().contains("candidate_rolled_back{api=\"erp-orders\"} 1"),
            "{}",
            metrics.text()
        );
        let again = trials.trial("erp-orders", "abc", &metrics);
        assert!(Arc::ptr_eq(&trial, &again), "a reload goes on with the same trial");
        assert!(
            !trials.trial("erp-orders", "def", &metrics).is_rolled_back(),
            "another content is another trial"
        );

        while !state.path().join(FILE).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let restarted = Trials::new(Handle::current());
        restarted.keep_in(state.path()).unwrap();
        let trial = restarted.trial("erp-orders", "abc", &metrics);
        assert!(trial.is_rolled_back());
        assert_eq!(
            trial.standing().rollback.unwrap().why,
            "10 of its latest 10 requests failed"
        );
    }

    #[tokio::test]
    async fn a_broken_memory_is_an_error_and_no_forgetting() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), "{").unwrap();
        let error = Trials::new(Handle::current()).keep_in(state.path()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }

    #[tokio::test]
    async fn differences_are_counted_by_place_and_kept_bounded() {
        let trials = Trials::new(Handle::current());
        let trial = trials.trial("erp-orders", "abc", &Metrics::default());
        let seen = |at: &str| Seen {
            operation: "createOrder".into(),
            version: "v1".into(),
            direction: "request",
            difference: Difference::new(at, "value"),
        };
        trial.compared(Vec::new());
        trial.compared(vec![seen("/a"), seen("/b")]);
        trial.compared(vec![seen("/a")]);
        for number in 0..100 {
            trial.compared(vec![seen(&format!("/{number}"))]);
        }
        let standing = trial.standing();
        assert_eq!((standing.compared, standing.differing), (103, 102));
        assert_eq!(standing.differences.len(), KEPT);
        assert!(standing.differences.contains(&(seen("/a"), 2)));
    }
}
