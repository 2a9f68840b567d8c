//! How an attempt ends.

use jiff::Timestamp;

use super::StoredResponse;
use crate::problem::FailureClass;

/// What went wrong, and who has to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: FailureClass,
    pub cause: String,
}

impl Failure {
    /// Machines or networks.
    pub fn technical(cause: impl Into<String>) -> Self {
        Self {
            class: FailureClass::Technical,
            cause: cause.into(),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The upstream did it.
    Delivered(StoredResponse),
    /// The caller waited and has this answer, whatever it says.
    Answered(StoredResponse),
    /// The upstream will never do it: the message is dead, its answer kept.
    Rejected(StoredResponse),
    /// Nothing was sent, or the upstream said it did nothing. `counts` is false for a closed door.
    RetryAt {
        at: Timestamp,
        failure: Failure,
        counts: bool,
    },
    /// It may have been done; what the upstream does with repeats decides how that is found out.
    InDoubt { at: Timestamp, failure: Failure },
    /// It may have been done, and nothing but a person can tell.
    Parked { failure: Failure },
    /// Attempts are used up.
    Dead { failure: Failure, is_in_doubt: bool },
    /// The delivery itself broke off, alone. Again at `at`, unless that happens twice in a row.
    Lost { at: Timestamp, failure: Failure },
    /// Nothing was done, and its caller knows: there never was a message.
    Forgotten,
}

impl AttemptOutcome {
    /// What `AttemptView::result` says of it.
    pub(crate) fn result(&self) -> String {
        match self {
            Self::Delivered(response) => format!("delivered: {}", response.status),
            Self::Answered(response) => format!("answered: {}", response.status),
            Self::Rejected(response) => format!("rejected: {}", response.status),
            Self::RetryAt { failure, .. } => format!("retry: {}", failure.cause),
            Self::InDoubt { failure, .. } | Self::Lost { failure, .. } => format!("in doubt: {}", failure.cause),
            Self::Parked { failure } => format!("parked: {}", failure.cause),
            Self::Dead { failure, .. } => format!("dead: {}", failure.cause),
            Self::Forgotten => "not sent".to_owned(),
        }
    }

    /// What is said of the message after it.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Rejected(response) => Some(Failure {
                class: FailureClass::Business,
                cause: format!("the upstream rejected it with {}", response.status),
            }),
            Self::RetryAt { failure, .. }
            | Self::InDoubt { failure, .. }
            | Self::Lost { failure, .. }
            | Self::Parked { failure }
            | Self::Dead { failure, .. } => Some(failure.clone()),
            Self::Delivered(_) | Self::Answered(_) | Self::Forgotten => None,
        }
    }

    /// Whether its channel does not know of it yet.
    pub(crate) fn is_news(&self) -> bool {
        !matches!(self, Self::Answered(_) | Self::Forgotten)
    }

    /// The upstream's answer, where there is one to keep.
    pub(crate) fn response(&self) -> Option<&StoredResponse> {
        match self {
            Self::Delivered(response) | Self::Answered(response) | Self::Rejected(response) => Some(response),
            _ => None,
        }
    }
}
