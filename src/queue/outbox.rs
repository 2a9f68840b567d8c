//! The outbox: how a message ended is told to its channel by a webhook, at least once and from the same commit on.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::{Actor, Failure, LogError, LogFuture, MessageState, Page, Standing};

/// The part of a [`MessageLog`](super::MessageLog) that keeps notices.
///
/// A notice is written in the commit that ends its message, and kept as long as the message is. Notices of one message
/// are told in their order; those of different messages in any.
pub trait Outbox: Send + Sync + 'static {
    /// From now on these ends are told, of messages that are there already too. Before the first call none is.
    fn subscribe(&self, subscriptions: Subscriptions);
    /// For each channel with notices that wait: when the first of them is due.
    fn notices_due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>>;
    /// Leases up to `max` notices of `channel` that are due and wait since `until` or before, the longest due first. What
    /// was leased and not finished is due again when its lease ends.
    fn claim_notices(
        &self,
        channel: &str,
        max: usize,
        lease: Duration,
        until: Timestamp,
        now: Timestamp,
    ) -> LogFuture<'_, Vec<ClaimedNotice>>;
    /// Records what came of a leased notice. `Fenced` where its lease was given to somebody else.
    fn finish_notice(&self, lease: NoticeLease, outcome: NoticeOutcome, now: Timestamp) -> LogFuture<'_, ()>;
    /// Notices in the order in which they were written, from where a part before ended, at most `max`.
    fn notices(&self, filter: NoticeFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<NoticeView>>;
    /// Has a notice told again, or at once where it waits, with its entry in the audit log. `Conflict` while it is being
    /// sent, `Unknown` where there is no such notice.
    fn resend(&self, id: &str, by: Actor, now: Timestamp) -> LogFuture<'_, NoticeView>;
    /// Counts of notices that wait or failed.
    fn notice_stats(&self) -> LogFuture<'_, NoticeStats>;
}

/// Which ends are told, by channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions(pub HashMap<String, Vec<MessageState>>);

impl Subscriptions {
    /// The notice of an end, where there is one and it is to be told.
    pub(crate) fn notice(
        &self,
        message: &str,
        channel: &str,
        before: Option<Timestamp>,
        standing: &Standing,
    ) -> Option<Notice> {
        let finished = standing.finished.filter(|finished| Some(*finished) != before)?;
        let is_wanted = self.0.get(channel)?.contains(&standing.state);
        is_wanted.then(|| Notice {
            id: format!("{message}_{}", finished.as_microsecond()),
            message: message.to_owned(),
            channel: channel.to_owned(),
            state: standing.state,
            attempts: standing.attempts,
            failure: standing.failure.clone(),
            finished,
        })
    }
}

/// One end of a message. A message that a person had tried again may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event's id: the message's id and when it ended, in microseconds since 1970.
    pub id: String,
    /// The message's id.
    pub message: String,
    pub channel: String,
    /// How it ended.
    pub state: MessageState,
    /// Attempts that had counted then.
    pub attempts: u32,
    /// Why it ended so; what went wrong last.
    pub failure: Option<Failure>,
    pub finished: Timestamp,
}

impl Notice {
    /// What the audit log calls it when a person has one told again.
    pub(crate) const RESEND: &'static str = "resend webhook";
}

/// Whether a notice has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeState {
    /// It will be.
    Waiting,
    /// The receiver took it.
    Sent,
    /// Given up; a person may have it told again.
    Failed,
}

impl NoticeState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Sent, Self::Failed];

    /// As the admin API, metrics and the store write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Everything of a notice that changes: the state machine, without a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeStanding {
    pub state: NoticeState,
    /// Attempts to tell it, since it waits.
    pub tries: u32,
    /// Since when it waits.
    pub since: Timestamp,
    /// When it is due, or its lease ends; there exactly while it waits.
    pub next_try: Option<Timestamp>,
    pub is_leased: bool,
    /// Grows with each lease.
    pub epoch: u64,
    /// When it was told or given up.
    pub ended: Option<Timestamp>,
    /// What went wrong last.
    pub error: Option<String>,
}

impl NoticeStanding {
    /// Of a notice that is written now.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            state: NoticeState::Waiting,
            tries: 0,
            since: now,
            next_try: Some(now),
            is_leased: false,
            epoch: 0,
            ended: None,
            error: None,
        }
    }

    pub(crate) fn lease(&mut self, until: Timestamp) {
        self.tries += 1;
        self.epoch += 1;
        self.is_leased = true;
        self.next_try = Some(until);
    }

    pub(crate) fn finish(
        &mut self,
        lease: &NoticeLease,
        outcome: &NoticeOutcome,
        now: Timestamp,
    ) -> Result<(), LogError> {
        if !self.is_leased || self.epoch != lease.epoch {
            return Err(LogError::Fenced);
        }
        self.is_leased = false;
        match outcome {
            NoticeOutcome::Sent => self.end(NoticeState::Sent, None, now),
            NoticeOutcome::Failed(error) => self.end(NoticeState::Failed, Some(error.clone()), now),
            NoticeOutcome::RetryAt { at, error } => {
                self.next_try = Some(*at);
                self.error = Some(error.clone());
            }
        }
        Ok(())
    }

    fn end(&mut self, state: NoticeState, error: Option<String>, now: Timestamp) {
        self.state = state;
        self.next_try = None;
        self.ended = Some(now);
        self.error = error;
    }

    pub(crate) fn resend(&mut self, now: Timestamp) -> Result<(), LogError> {
        if self.is_leased && self.next_try.is_some_and(|until| until > now) {
            return Err(LogError::Conflict("it is being sent; ask again in a minute".to_owned()));
        }
        // A lease that ended counts no longer.
        let epoch = self.epoch + 1;
        *self = Self {
            epoch,
            error: self.error.take(),
            ..Self::new(now)
        };
        Ok(())
    }

    /// As it stands in a copy, or after a restart: nobody holds its lease.
    #[must_use]
    pub(crate) fn without_lease(mut self) -> Self {
        if self.is_leased {
            self.is_leased = false;
            self.epoch += 1;
            self.next_try = Some(self.since);
        }
        self
    }
}

/// The right to tell one notice, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeLease {
    pub id: String,
    pub epoch: u64,
}

/// A notice leased to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedNotice {
    pub lease: NoticeLease,
    pub notice: Notice,
    /// Number of this try, from 1.
    pub tries: u32,
    /// Since when it waits.
    pub since: Timestamp,
}

impl ClaimedNotice {
    /// Of a notice under its new lease.
    pub(crate) fn new(view: NoticeView) -> Self {
        Self {
            lease: NoticeLease {
                id: view.notice.id.clone(),
                epoch: view.standing.epoch,
            },
            notice: view.notice,
            tries: view.standing.tries,
            since: view.standing.since,
        }
    }
}

/// What came of telling a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeOutcome {
    /// The receiver took it.
    Sent,
    /// Again at `at`.
    RetryAt { at: Timestamp, error: String },
    /// Given up; why.
    Failed(String),
}

/// A notice and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeView {
    pub notice: Notice,
    pub standing: NoticeStanding,
}

/// Which notices are meant. What is not said is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeFilter {
    pub states: Vec<NoticeState>,
    pub channel: Option<String>,
    /// Id of the message.
    pub message: Option<String>,
}

impl NoticeFilter {
    /// Whether a notice is meant. The stores ask in their own words; this is what they have to mean.
    pub fn matches(&self, view: &NoticeView) -> bool {
        (self.states.is_empty() || self.states.contains(&view.standing.state))
            && self
                .channel
                .as_ref()
                .is_none_or(|channel| *channel == view.notice.channel)
            && self
                .message
                .as_ref()
                .is_none_or(|message| *message == view.notice.message)
    }
}

/// Notices that wait or failed, by channel. Those that were told are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeStats {
    pub groups: BTreeMap<(String, NoticeState), u64>,
    /// Since when the first one waits.
    pub oldest: Option<Timestamp>,
}

impl NoticeStats {
    /// Those in a state, of all channels.
    pub fn in_state(&self, wanted: NoticeState) -> u64 {
        let meant = self.groups.iter().filter(|((_, state), _)| *state == wanted);
        meant.map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_end_that_is_wanted_is_told() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let new = super::super::conformance::message(1, "a");
        let mut standing = Standing::admitted(&new, None, at(1));
        let wanted = Subscriptions(HashMap::from([("shop".to_owned(), vec![MessageState::Expired])]));
        let told = |subscriptions: &Subscriptions, before, standing: &Standing| {
            subscriptions
                .notice("m1", "shop", before, standing)
                .map(|notice| notice.id)
        };
        assert_eq!(told(&wanted, None, &standing), None, "it has not ended");
        standing.expire(at(5));
        assert_eq!(told(&wanted, None, &standing).as_deref(), Some("m1_5000000"));
        assert_eq!(told(&wanted, Some(at(5)), &standing), None, "it had ended before");
        assert_eq!(told(&Subscriptions::default(), None, &standing), None);
        let others = Subscriptions(HashMap::from([("shop".to_owned(), vec![MessageState::Dead])]));
        assert_eq!(told(&others, None, &standing), None);
    }
}
