//! How a message stands, and what each event makes of it: the state machine, without a store.

use jiff::Timestamp;

use super::{Act, AttemptOutcome, Failure, HeadOfLine, Lease, LogError, MessageState, NewMessage, after};
use crate::problem::FailureClass;

/// With so many grounds to believe that it ends its own delivery, a message is parked: a first one that it may share
/// with others, and two that are its alone.
const MOST_BREAKS: u32 = 3;

/// Everything of a message that changes. A store keeps one beside each message and changes it by these functions only,
/// each inside one commit with what the function's result asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: MessageState,
    /// An attempt may have had its effect.
    pub is_in_doubt: bool,
    /// Attempts that counted so far.
    pub attempts: u32,
    /// Attempts after which it is dead. Grows when a person has it tried again.
    pub max_attempts: u32,
    /// Grounds to believe that it ends its own delivery. The first is an attempt that ended with its process, as those of
    /// others may have: it is a suspect then, and suspects are delivered one at a time. Each further one is a process
    /// that ended while it was the only suspect at the upstream. An attempt that comes to an end clears it.
    pub breaks: u32,
    /// When the first attempt that may have had its effect was made.
    pub first_sent: Option<Timestamp>,
    /// When the last attempt was begun.
    pub last_sent: Option<Timestamp>,
    /// When it may go out; there exactly while it waits.
    pub next_attempt: Option<Timestamp>,
    pub deadline: Timestamp,
    pub finished: Option<Timestamp>,
    /// What went wrong last.
    pub failure: Option<Failure>,
    /// Grows with each lease; what comes with another one is fenced.
    pub epoch: u64,
    pub leased_until: Option<Timestamp>,
}

impl Standing {
    /// Of a message that is stored now. With `until` its caller makes the first attempt itself, under a lease.
    pub fn admitted(message: &NewMessage, until: Option<Timestamp>, now: Timestamp) -> Self {
        let mut standing = Self {
            state: if message.is_in_doubt {
                MessageState::InDoubt
            } else {
                MessageState::Queued
            },
            is_in_doubt: message.is_in_doubt,
            attempts: 0,
            max_attempts: message.max_attempts,
            breaks: 0,
            first_sent: message.is_in_doubt.then_some(now),
            last_sent: message.is_in_doubt.then_some(now),
            next_attempt: Some(now),
            deadline: message.deadline,
            finished: None,
            failure: None,
            epoch: 0,
            leased_until: None,
        };
        if let Some(until) = until {
            standing.lease(until);
            standing.start(now);
        }
        standing
    }

    /// Whether later messages of its order key wait behind it.
    pub fn holds_key(&self, policy: HeadOfLine) -> bool {
        self.state.holds_key(policy)
    }

    /// When it may be leased.
    pub fn ready_at(&self) -> Option<Timestamp> {
        self.next_attempt
            .filter(|_| self.leased_until.is_none() && self.state.is_waiting())
    }

    /// Gives it to somebody.
    pub fn lease(&mut self, until: Timestamp) {
        self.epoch += 1;
        self.leased_until = Some(until);
    }

    fn check(&self, lease: &Lease) -> Result<(), LogError> {
        if self.leased_until.is_none() || self.epoch != lease.epoch {
            return Err(LogError::Fenced);
        }
        Ok(())
    }

    /// Extends a lease that has not ended.
    pub fn renew(&mut self, lease: &Lease, until: Timestamp, now: Timestamp) -> Result<(), LogError> {
        self.check(lease)?;
        if self.leased_until.is_none_or(|until| until <= now) {
            return Err(LogError::Fenced);
        }
        self.leased_until = Some(until);
        Ok(())
    }

    /// An attempt is about to be made. Returns its number.
    pub fn begin(&mut self, lease: &Lease, now: Timestamp) -> Result<u32, LogError> {
        self.check(lease)?;
        if self.leased_until.is_none_or(|until| until <= now) || self.state == MessageState::Attempting {
            return Err(LogError::Fenced);
        }
        self.start(now);
        Ok(self.attempts)
    }

    fn start(&mut self, now: Timestamp) {
        self.state = MessageState::Attempting;
        self.first_sent.get_or_insert(now);
        self.last_sent = Some(now);
        self.attempts += 1;
    }

    /// A leased message ended its attempt, or was spared one. Returns what to write to the attempt under way.
    pub fn finish(
        &mut self,
        lease: &Lease,
        outcome: &AttemptOutcome,
        now: Timestamp,
    ) -> Result<Option<EndedAttempt>, LogError> {
        self.check(lease)?;
        let was_attempting = self.state == MessageState::Attempting;
        let ended = was_attempting.then(|| EndedAttempt {
            number: self.attempts,
            ended: !matches!(outcome, AttemptOutcome::Lost { .. }),
            result: outcome.result(),
        });
        let mut next = None;
        self.state = match outcome {
            AttemptOutcome::Lost { failure, at } => {
                // Its own task broke off, nobody else's: no need to find out whose fault it was.
                self.breaks = self.breaks.max(1);
                self.lose(failure.clone(), *at);
                return Ok(ended);
            }
            AttemptOutcome::Delivered(_) | AttemptOutcome::Answered(_) => MessageState::Delivered,
            AttemptOutcome::Rejected(_) => {
                // A definite answer: whatever an earlier attempt did, this is how it ended.
                self.is_in_doubt = false;
                MessageState::Dead
            }
            AttemptOutcome::RetryAt { at, counts, .. } => {
                next = Some(*at);
                if was_attempting && !counts {
                    self.attempts -= 1;
                }
                if self.is_in_doubt {
                    MessageState::InDoubt
                } else {
                    self.first_sent = None;
                    MessageState::Queued
                }
            }
            AttemptOutcome::InDoubt { at, .. } => {
                next = Some(*at);
                self.is_in_doubt = true;
                MessageState::InDoubt
            }
            AttemptOutcome::Parked { .. } => {
                self.is_in_doubt |= was_attempting;
                MessageState::Parked
            }
            AttemptOutcome::Dead { is_in_doubt, .. } => {
                self.is_in_doubt = *is_in_doubt;
                MessageState::Dead
            }
            AttemptOutcome::Forgotten => MessageState::Discarded,
        };
        self.leased_until = None;
        self.next_attempt = next;
        // What was not sent has shown nothing.
        if !matches!(outcome, AttemptOutcome::RetryAt { counts: false, .. }) {
            self.breaks = 0;
        }
        self.failure = outcome.failure();
        self.finished = self.state.is_final().then_some(now);
        Ok(ended)
    }

    /// Its lease ended before it did. Returns what to write to the attempt under way. `at` is when it is due again.
    pub fn lose_lease(&mut self, at: Timestamp) -> Option<EndedAttempt> {
        let number = self.attempts;
        if self.state == MessageState::Attempting {
            let failure = Failure::technical(LOST_CAUSE);
            let result = format!("in doubt: {LOST_CAUSE}");
            self.lose(failure, at);
            return Some(EndedAttempt {
                number,
                ended: false,
                result,
            });
        }
        self.leased_until = None;
        self.epoch += 1;
        None
    }

    fn lose(&mut self, failure: Failure, at: Timestamp) {
        self.leased_until = None;
        self.epoch += 1;
        self.is_in_doubt = true;
        self.breaks += 1;
        if self.breaks >= MOST_BREAKS {
            self.state = MessageState::Parked;
            self.next_attempt = None;
            self.failure = Some(Failure {
                cause: format!("{POISON}: {}", failure.cause),
                ..failure
            });
        } else {
            self.state = MessageState::InDoubt;
            self.next_attempt = Some(at);
            self.failure = Some(failure);
        }
    }

    /// Whether it waits past its deadline.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.leased_until.is_none() && self.state.is_waiting() && self.deadline <= now
    }

    /// Ends it at its deadline.
    pub fn expire(&mut self, now: Timestamp) {
        let mut cause = "its deadline passed".to_owned();
        if self.is_in_doubt {
            cause.push_str("; an attempt before may have had its effect");
        } else if let Some(failure) = &self.failure {
            cause = format!("{cause}; what went wrong last: {}", failure.cause);
        }
        self.state = MessageState::Expired;
        let class = self
            .failure
            .take()
            .map_or(FailureClass::Technical, |failure| failure.class);
        self.failure = Some(Failure { class, cause });
        self.finished = Some(now);
        self.next_attempt = None;
    }

    /// What a person decides. `lifetime` is how long the message was to live at first.
    ///
    /// Nothing is done to a message that is leased, and a decision never sends again what may have been done unless it
    /// says that it was not.
    pub fn act(&mut self, act: &Act, lifetime: jiff::SignedDuration, now: Timestamp) -> Result<(), LogError> {
        if self.leased_until.is_some() {
            return Err(conflict("an attempt is under way; ask again when it has ended"));
        }
        if self.state == MessageState::Delivered {
            return Err(conflict("it is delivered"));
        }
        if self.state == MessageState::Discarded {
            return Err(conflict("it is discarded"));
        }
        match act {
            Act::Retry => self.again(lifetime, now),
            Act::Edit { retry, .. } => {
                if self.is_in_doubt {
                    return Err(conflict(
                        "an attempt may have had its effect: decide by `release` first whether it happened",
                    ));
                }
                if *retry {
                    self.again(lifetime, now);
                }
            }
            Act::Discard => self.end(MessageState::Discarded, now),
            Act::Happened => {
                self.needs_doubt()?;
                self.is_in_doubt = false;
                self.failure = None;
                self.end(MessageState::Delivered, now);
            }
            Act::DidNotHappen => {
                self.needs_doubt()?;
                self.is_in_doubt = false;
                self.first_sent = None;
                self.again(lifetime, now);
            }
        }
        Ok(())
    }

    fn needs_doubt(&self) -> Result<(), LogError> {
        if self.is_in_doubt {
            return Ok(());
        }
        Err(conflict(
            "there is no doubt to resolve: no attempt may have had its effect",
        ))
    }

    fn again(&mut self, lifetime: jiff::SignedDuration, now: Timestamp) {
        if !self.state.is_waiting() {
            self.max_attempts = self.max_attempts.max(self.attempts.saturating_add(self.max_attempts));
            self.breaks = 0;
        }
        self.state = if self.is_in_doubt {
            MessageState::InDoubt
        } else {
            MessageState::Queued
        };
        self.finished = None;
        self.next_attempt = Some(now);
        if self.deadline <= now {
            self.deadline = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        }
    }

    fn end(&mut self, state: MessageState, now: Timestamp) {
        self.state = state;
        self.finished = Some(now);
        self.next_attempt = None;
    }

    /// As it stands in a copy that another store takes over: nobody there holds its lease.
    #[must_use]
    pub fn without_lease(mut self, now: Timestamp) -> Self {
        if self.leased_until.is_some() {
            self.lose_lease(now);
        }
        self
    }

    /// Whether it is kept: undelivered, or finished less than `retention` ago.
    pub fn is_kept(&self, policy: HeadOfLine, retention: std::time::Duration, now: Timestamp) -> bool {
        self.holds_key(policy) || self.finished.is_none_or(|finished| after(finished, retention) > now)
    }
}

/// What to write to the attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedAttempt {
    pub number: u32,
    /// Whether it is known when it ended: now.
    pub ended: bool,
    pub result: String,
}

/// Why an attempt whose process or lease ended before it did is in doubt.
pub(crate) const LOST_CAUSE: &str = "the gateway lost sight of it";

const POISON: &str =
    "its delivery broke off time and again, twice with nobody else to blame: it is not tried again without a person";

fn conflict(why: &str) -> LogError {
    LogError::Conflict(why.to_owned())
}
