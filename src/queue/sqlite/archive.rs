//! A store that no gateway has open, read without changing it.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use rusqlite::Connection;

use super::{OpenError, outbox, read, schema};
use crate::{
    audit,
    queue::{
        Group, MessageCopy, MessageFilter, MessageView, NoticeFilter, NoticeStats, NoticeView, Page, Pause, QueueStats,
        Room, Shown,
    },
};

/// What a stopped gateway left in its folder.
pub struct Archive {
    connection: Connection,
}

impl Archive {
    /// Opens the store in `folder` for reading. One of another layout is not read: its own release does that.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("queue.db");
        let failed = |source| OpenError::of(&path, source);
        let connection = schema::open_for_reading(&path).map_err(failed)?;
        schema::check(&connection, &path)?;
        Ok(Self { connection })
    }

    /// As [`MessageLog::list`](crate::queue::MessageLog::list).
    pub fn list(&self, filter: &MessageFilter, from: Option<u64>, max: usize) -> rusqlite::Result<Page<MessageView>> {
        read::list(&self.connection, filter, from, max)
    }

    /// As [`MessageLog::show`](crate::queue::MessageLog::show).
    pub fn show(&self, id: &str) -> rusqlite::Result<Option<Shown>> {
        read::show(&self.connection, id)
    }

    /// As [`MessageLog::export`](crate::queue::MessageLog::export).
    pub fn export(&self, from: Option<u64>, max: usize) -> rusqlite::Result<Page<MessageCopy>> {
        read::export(&self.connection, from, max)
    }

    /// As [`Outbox::notices`](crate::queue::Outbox::notices).
    pub fn notices(&self, filter: &NoticeFilter, from: Option<u64>, max: usize) -> rusqlite::Result<Page<NoticeView>> {
        outbox::list(&self.connection, filter, from, max)
    }

    /// As [`Outbox::notice_stats`](crate::queue::Outbox::notice_stats).
    pub fn notice_stats(&self) -> rusqlite::Result<NoticeStats> {
        outbox::stats(&self.connection)
    }

    /// As [`MessageLog::audit`](crate::queue::MessageLog::audit).
    pub fn audit(&self, after: u64, max: usize) -> rusqlite::Result<Vec<audit::Entry>> {
        read::audit(&self.connection, after, max)
    }

    /// As [`MessageLog::stats`](crate::queue::MessageLog::stats), with what the store takes and what is held back.
    pub fn stats(&self, now: Timestamp) -> rusqlite::Result<(QueueStats, Room, Vec<Pause>)> {
        let groups: BTreeMap<Group, u64> = read::groups(&self.connection)?;
        let stats = QueueStats {
            groups,
            oldest: read::oldest(&self.connection, now)?,
        };
        let room = Room {
            used: schema::used(&self.connection)?.cast_unsigned(),
            ..Room::default()
        };
        Ok((stats, room, read::pauses(&self.connection)?.into_values().collect()))
    }
}
