//! Notices in memory.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Inner, MemoryLog};
use crate::queue::{
    Actor, ClaimedNotice, LogError, LogFuture, Notice, NoticeFilter, NoticeLease, NoticeOutcome, NoticeStanding,
    NoticeState, NoticeStats, NoticeView, Outbox, Page, Subscriptions, after,
};

/// What is kept of them, in the order in which they were written.
#[derive(Default)]
pub(super) struct Notices {
    subscriptions: Subscriptions,
    all: BTreeMap<u64, NoticeView>,
    next: u64,
}

impl Notices {
    fn add(&mut self, view: NoticeView) {
        self.next += 1;
        self.all.insert(self.next, view);
    }

    fn find(&mut self, id: &str) -> Option<&mut NoticeView> {
        self.all.values_mut().find(|view| view.notice.id == id)
    }

    /// The first notice of each message that waits.
    fn heads(&self) -> BTreeMap<&str, (u64, &NoticeView)> {
        let mut heads = BTreeMap::new();
        let waiting = self.all.iter().filter(|(_, view)| view.standing.next_try.is_some());
        for (number, view) in waiting {
            heads.entry(view.notice.message.as_str()).or_insert((*number, view));
        }
        heads
    }

    pub(super) fn of(&self, message: &str) -> Vec<NoticeView> {
        let all = self.all.values().filter(|view| view.notice.message == message);
        all.cloned().collect()
    }

    pub(super) fn import(&mut self, views: Vec<NoticeView>) {
        for view in views {
            let standing = view.standing.without_lease();
            self.add(NoticeView { standing, ..view });
        }
    }

    /// Whether one of a message waits.
    pub(super) fn waits(&self, message: &str) -> bool {
        self.heads().contains_key(message)
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.all.retain(|_, view| is_kept(&view.notice.message));
    }
}

impl Inner {
    /// Writes the notice of an end, where there is one.
    pub(super) fn tell(&mut self, id: &str, before: Option<Timestamp>) {
        let Some(entry) = self.messages.values().find(|entry| entry.message.id == id) else {
            return;
        };
        let subscriptions = &self.notices.subscriptions;
        let notice = subscriptions.notice(id, &entry.message.channel, before, &entry.standing);
        if let Some(notice) = notice {
            let standing = NoticeStanding::new(notice.finished);
            self.notices.add(NoticeView { notice, standing });
        }
    }
}

impl Outbox for MemoryLog {
    fn subscribe(&self, subscriptions: Subscriptions) {
        self.lock().notices.subscriptions = subscriptions;
    }

    fn notices_due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(|inner| {
            let mut due = BTreeMap::<String, Timestamp>::new();
            for (_, view) in inner.notices.heads().into_values() {
                let at = view.standing.next_try.unwrap_or(Timestamp::MAX);
                due.entry(view.notice.channel.clone())
                    .and_modify(|first| *first = at.min(*first))
                    .or_insert(at);
            }
            due.into_iter().collect()
        })
    }

    fn claim_notices(
        &self,
        channel: &str,
        max: usize,
        lease: Duration,
        until: Timestamp,
        now: Timestamp,
    ) -> LogFuture<'_, Vec<ClaimedNotice>> {
        self.write(|inner| {
            let heads = inner.notices.heads().into_values();
            let mut due: Vec<_> = heads
                .filter(|(_, view)| view.notice.channel == channel && view.standing.since <= until)
                .filter_map(|(number, view)| Some((view.standing.next_try.filter(|at| *at <= now)?, number)))
                .collect();
            due.sort_unstable();
            let mut claimed = Vec::new();
            for (_, number) in due.into_iter().take(max) {
                if let Some(view) = inner.notices.all.get_mut(&number) {
                    view.standing.lease(after(now, lease));
                    claimed.push(ClaimedNotice::new(view.clone()));
                }
            }
            Ok(claimed)
        })
    }

    fn finish_notice(&self, lease: NoticeLease, outcome: NoticeOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(|inner| {
            let view = inner.notices.find(&lease.id).ok_or(LogError::Fenced)?;
            view.standing.finish(&lease, &outcome, now)
        })
    }

    fn notices(&self, filter: NoticeFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<NoticeView>> {
        self.read(|inner| {
            let from = inner.notices.all.range(from.unwrap_or(0)..);
            let mut meant = from.filter(|(_, view)| filter.matches(view));
            let items = meant.by_ref().take(max).map(|(_, view)| view.clone()).collect();
            let next = meant.next().map(|(number, _)| *number);
            Page { items, next }
        })
    }

    fn resend(&self, id: &str, by: Actor, now: Timestamp) -> LogFuture<'_, NoticeView> {
        self.write(|inner| {
            let view = inner.notices.find(id).ok_or(LogError::Unknown)?;
            view.standing.resend(now)?;
            let view = view.clone();
            inner.enter(by, Notice::RESEND, &view.notice.message, id.to_owned(), now);
            Ok(view)
        })
    }

    fn notice_stats(&self) -> LogFuture<'_, NoticeStats> {
        self.read(|inner| {
            let mut stats = NoticeStats::default();
            for NoticeView { notice, standing } in inner.notices.all.values() {
                if standing.state != NoticeState::Sent {
                    *stats
                        .groups
                        .entry((notice.channel.clone(), standing.state))
                        .or_default() += 1;
                }
                if standing.state == NoticeState::Waiting {
                    stats.oldest = Some(stats.oldest.map_or(standing.since, |oldest| oldest.min(standing.since)));
                }
            }
            stats
        })
    }
}
