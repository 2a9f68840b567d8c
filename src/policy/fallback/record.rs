//! A request that is on disk before it is sent, and its answer before the client has it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response as HttpResponse;
use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;

use crate::{
    body::Body,
    policy::Response,
    problem::Refusal,
    queue::{AttemptOutcome, Failure, Lease, LogError, MessageLog, StoredResponse},
};

/// Largest answer that is kept, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// An attempt whose intent is on disk. It is in the extensions of the upstream's answer until that is recorded too.
///
/// Dropped without an outcome, because the client hung up or because the answer could not be brought into its words, it
/// records what is known then.
#[derive(Clone)]
pub(crate) struct Recorded(Arc<Intent>);

struct Intent {
    log: Arc<dyn MessageLog>,
    background: tokio::runtime::Handle,
    state: Mutex<Option<Pending>>,
}

struct Pending {
    lease: Lease,
    /// Of the upstream's answer, once there is one.
    status: Option<u16>,
    /// The next request of the order key waits until this one is recorded.
    _passing: OwnedMutexGuard<()>,
}

impl Recorded {
    /// For an attempt that is about to be made under a lease.
    pub(super) fn new(
        log: Arc<dyn MessageLog>,
        background: tokio::runtime::Handle,
        lease: Lease,
        passing: OwnedMutexGuard<()>,
    ) -> Self {
        let pending = Pending {
            lease,
            status: None,
            _passing: passing,
        };
        Self(Arc::new(Intent {
            log,
            background,
            state: Mutex::new(Some(pending)),
        }))
    }

    /// The upstream gave a definite answer.
    pub(super) fn saw(&self, status: u16) {
        if let Some(pending) = &mut *self.0.lock() {
            pending.status = Some(status);
        }
    }

    /// Records how the attempt ended.
    pub(super) async fn ended(&self, outcome: AttemptOutcome) -> Result<(), LogError> {
        let Some(pending) = self.0.lock().take() else {
            return Ok(());
        };
        let log = self.0.log.clone();
        // It goes on when the client hangs up.
        let recording = self.0.background.spawn(async move {
            let done = log.finish(pending.lease.clone(), outcome, Timestamp::now()).await;
            drop(pending);
            done
        });
        recording.await.unwrap_or(Err(LogError::Closed))
    }

    /// Records the answer as its client gets it, for all repeats.
    pub(crate) async fn answered(self, response: Response) -> Result<Response, Refusal> {
        let (parts, body) = response.into_parts();
        let (bytes, body) = match body.as_bytes() {
            Some(bytes) => (Some(bytes.clone()), Body::from(bytes)),
            None if http_body::Body::size_hint(&body)
                .upper()
                .is_some_and(|upper| upper <= LARGEST_ANSWER) =>
            {
                let read = body.buffer(LARGEST_ANSWER).await;
                let bytes = read.map_err(|error| Refusal::UpstreamInvalid {
                    upstream: "upstream".into(),
                    detail: error.to_string(),
                    violations: Vec::new(),
                })?;
                (Some(bytes.clone()), Body::from(bytes))
            }
            None => (None, body),
        };
        let kept = bytes.filter(|bytes| bytes.len() as u64 <= LARGEST_ANSWER);
        let answer = match kept {
            Some(body) => StoredResponse {
                status: parts.status.as_u16(),
                headers: parts
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                    .collect(),
                body,
            },
            None => note(parts.status.as_u16(), "the answer was too large to be kept"),
        };
        let recorded = self.ended(AttemptOutcome::Answered(answer)).await;
        if let Err(error) = recorded {
            // The client has its answer; a repeat may find the request in doubt, and it is resolved as such.
            tracing::error!(%error, "the answer to a durable request could not be recorded");
        }
        Ok(HttpResponse::from_parts(parts, body))
    }
}

impl Intent {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pending>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        let Some(pending) = self.lock().take() else { return };
        let now = Timestamp::now();
        let outcome = match pending.status {
            Some(status) => AttemptOutcome::Answered(note(status, "the answer could not be passed on")),
            None => AttemptOutcome::InDoubt {
                at: now,
                failure: Failure::technical("its client left before there was an answer"),
            },
        };
        let log = self.log.clone();
        self.background.spawn(async move {
            if let Err(error) = log.finish(pending.lease.clone(), outcome, now).await {
                tracing::error!(%error, "the end of a durable request could not be recorded");
            }
            drop(pending);
        });
    }
}

fn note(status: u16, text: &str) -> StoredResponse {
    StoredResponse {
        status,
        headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: Bytes::from(serde_json::json!({ "note": text }).to_string()),
    }
}
