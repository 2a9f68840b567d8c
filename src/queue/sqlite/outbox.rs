//! Notices: written with the end of a message, leased, told, listed.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension, Row, params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use super::{SqliteLog, codec::Micros, row::Known, worker::Failure, write::Writer};
use crate::queue::{
    self, Actor, ClaimedNotice, LogError, LogFuture, Notice, NoticeFilter, NoticeLease, NoticeOutcome, NoticeStanding,
    NoticeState, NoticeStats, NoticeView, Outbox, Page, Standing, Subscriptions, after,
};

/// In the order that [`read`] expects, from `notice` as `n`.
macro_rules! notice {
    ($rest:literal) => {
        concat!(
            "SELECT n.number, n.seq, n.id, (SELECT id FROM message WHERE message.seq = n.seq), n.channel, n.ending, \
             n.attempts, n.class, n.cause, n.finished, n.state, n.tries, n.since, n.next_try, n.leased, n.epoch, \
             n.ended, n.error FROM notice n ",
            $rest
        )
    };
}

/// No earlier notice of the same message waits.
macro_rules! is_head {
    () => {
        "NOT EXISTS (SELECT 1 FROM notice b WHERE b.seq = n.seq AND b.number < n.number AND b.next_try IS NOT NULL)"
    };
}

struct Stored {
    number: i64,
    view: NoticeView,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let time = |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<Micros>>(column)?.map(|time| time.0));
    let cause: Option<String> = row.get(8)?;
    let failure = match cause {
        Some(cause) => Some(queue::Failure {
            class: row.get(7)?,
            cause,
        }),
        None => None,
    };
    Ok(Stored {
        number: row.get(0)?,
        view: NoticeView {
            notice: Notice {
                id: row.get(2)?,
                message: row.get(3)?,
                channel: row.get(4)?,
                state: row.get(5)?,
                attempts: row.get(6)?,
                failure,
                finished: row.get::<_, Micros>(9)?.0,
            },
            standing: NoticeStanding {
                state: row.get(10)?,
                tries: row.get(11)?,
                since: row.get::<_, Micros>(12)?.0,
                next_try: time(13)?,
                is_leased: row.get(14)?,
                epoch: row.get::<_, i64>(15)?.cast_unsigned(),
                ended: time(16)?,
                error: row.get(17)?,
            },
        },
    })
}

impl ToSql for NoticeState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for NoticeState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::named(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

fn due(connection: &Connection) -> rusqlite::Result<Vec<(String, Timestamp)>> {
    // From one channel to the next along the index: few of them, perhaps a million notices.
    let mut statement = connection.prepare_cached(concat!(
        "WITH RECURSIVE source(channel) AS (
            SELECT min(channel) FROM notice WHERE next_try IS NOT NULL
            UNION ALL SELECT (SELECT min(m.channel) FROM notice m WHERE m.next_try IS NOT NULL
                AND m.channel > source.channel) FROM source WHERE source.channel IS NOT NULL
        ) SELECT channel, at FROM (
            SELECT s.channel, (SELECT n.next_try FROM notice n WHERE n.channel = s.channel AND n.next_try IS NOT NULL
                AND ",
        is_head!(),
        " ORDER BY n.next_try LIMIT 1) AS at FROM source s WHERE s.channel IS NOT NULL) WHERE at IS NOT NULL"
    ))?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Micros>(1)?.0)))?;
    found.collect()
}

pub(super) fn list(
    connection: &Connection,
    filter: &NoticeFilter,
    from: Option<u64>,
    max: usize,
) -> rusqlite::Result<Page<NoticeView>> {
    // Without one, as many conditions as with: a state that is not asked for is not among them.
    let named = |state: NoticeState| {
        let is_meant = filter.states.is_empty() || filter.states.contains(&state);
        is_meant.then(|| state.name())
    };
    let [waiting, sent, failed] = NoticeState::ALL.map(named);
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let from = from.map_or(0, |from| i64::try_from(from).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(notice!(
        "WHERE n.number >= ?1 AND n.state IN (?2, ?3, ?4) AND (?5 IS NULL OR n.channel = ?5)
            AND (?6 IS NULL OR n.seq = (SELECT seq FROM message WHERE id = ?6)) ORDER BY n.number LIMIT ?7"
    ))?;
    let params = params![from, waiting, sent, failed, filter.channel, filter.message, limit];
    let mut found = statement
        .query_map(params, read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let next = (found.len() > max).then(|| found.pop()).flatten();
    Ok(Page {
        items: found.into_iter().map(|stored| stored.view).collect(),
        next: next.map(|stored| stored.number.cast_unsigned()),
    })
}

/// Those of one message.
pub(super) fn of(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<NoticeView>> {
    let mut statement = connection.prepare_cached(notice!("WHERE n.seq = ?1 ORDER BY n.number"))?;
    statement.query_map([seq], |row| Ok(read(row)?.view))?.collect()
}

pub(super) fn stats(connection: &Connection) -> rusqlite::Result<NoticeStats> {
    let mut stats = NoticeStats::default();
    let mut statement = connection.prepare_cached(
        "SELECT channel, state, count(*), min(since) FROM notice WHERE state <> 'sent' GROUP BY 1, 2",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (standing, since) = (row.get(1)?, row.get::<_, Micros>(3)?.0);
        stats
            .groups
            .insert((row.get(0)?, standing), row.get::<_, i64>(2)?.cast_unsigned());
        if standing == NoticeState::Waiting {
            stats.oldest = Some(stats.oldest.map_or(since, |oldest| oldest.min(since)));
        }
    }
    Ok(stats)
}

impl Writer {
    /// Writes the notice of an end, where there is one that is told.
    pub(super) fn tell(&self, before: &Known, standing: &Standing) -> rusqlite::Result<()> {
        let subscriptions = self.facts().subscriptions();
        let notice = subscriptions.notice(&before.id, &before.channel, before.standing.finished, standing);
        let Some(notice) = notice else { return Ok(()) };
        let standing = NoticeStanding::new(notice.finished);
        self.keep_notice(before.seq, &NoticeView { notice, standing })
    }

    pub(super) fn keep_notice(&self, seq: i64, view: &NoticeView) -> rusqlite::Result<()> {
        let NoticeView { notice, standing } = view;
        self.execute(
            "INSERT OR IGNORE INTO notice (seq, id, channel, ending, attempts, class, cause, finished, state, tries,
                since, next_try, leased, epoch, ended, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                seq,
                notice.id,
                notice.channel,
                notice.state,
                notice.attempts,
                notice.failure.as_ref().map(|failure| failure.class),
                notice.failure.as_ref().map(|failure| &failure.cause),
                Micros(notice.finished),
                standing.state,
                standing.tries,
                Micros(standing.since),
                standing.next_try.map(Micros),
                standing.is_leased,
                standing.epoch.cast_signed(),
                standing.ended.map(Micros),
                standing.error,
            ],
        )
    }

    fn save_notice(&self, number: i64, standing: &NoticeStanding) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE notice SET state = ?2, tries = ?3, since = ?4, next_try = ?5, leased = ?6, epoch = ?7, ended = ?8,
                error = ?9 WHERE number = ?1",
            params![
                number,
                standing.state,
                standing.tries,
                Micros(standing.since),
                standing.next_try.map(Micros),
                standing.is_leased,
                standing.epoch.cast_signed(),
                standing.ended.map(Micros),
                standing.error,
            ],
        )
    }

    fn find_notice(&self, id: &str) -> rusqlite::Result<Option<Stored>> {
        let mut statement = self.connection().prepare_cached(notice!("WHERE n.id = ?1"))?;
        statement.query_row([id], read).optional()
    }

    /// Takes back what the former process had under way.
    pub(super) fn void_notice_leases(&self) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE notice SET leased = 0, epoch = epoch + 1, next_try = since WHERE next_try IS NOT NULL AND leased = 1",
            [],
        )
    }

    fn claim_notices(
        &self,
        channel: &str,
        max: usize,
        lease: Duration,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<ClaimedNotice>, Failure> {
        let mut statement = self.connection().prepare_cached(concat!(
            notice!("WHERE n.channel = ?1 AND n.next_try <= ?2 AND n.since <= ?3 AND "),
            is_head!(),
            " ORDER BY n.next_try, n.number LIMIT ?4"
        ))?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let found = statement.query_map(params![channel, Micros(now), Micros(until), max], read)?;
        let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut claimed = Vec::new();
        for Stored { number, mut view } in found {
            view.standing.lease(after(now, lease));
            self.save_notice(number, &view.standing)?;
            claimed.push(ClaimedNotice::new(view));
        }
        Ok(claimed)
    }

    fn finish_notice(&self, lease: &NoticeLease, outcome: &NoticeOutcome, now: Timestamp) -> Result<(), Failure> {
        let Some(Stored { number, mut view }) = self.find_notice(&lease.id)? else {
            return Err(LogError::Fenced.into());
        };
        view.standing.finish(lease, outcome, now)?;
        Ok(self.save_notice(number, &view.standing)?)
    }

    fn resend(&mut self, id: &str, by: &Actor, now: Timestamp) -> Result<NoticeView, Failure> {
        let Some(Stored { number, mut view }) = self.find_notice(id)? else {
            return Err(LogError::Unknown.into());
        };
        view.standing.resend(now)?;
        self.save_notice(number, &view.standing)?;
        self.enter(by, Notice::RESEND, &view.notice.message, id.to_owned(), now)?;
        Ok(view)
    }
}

impl Outbox for SqliteLog {
    fn subscribe(&self, subscriptions: Subscriptions) {
        self.facts.subscribe(subscriptions);
    }

    fn notices_due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(due)
    }

    fn claim_notices(
        &self,
        channel: &str,
        max: usize,
        lease: Duration,
        until: Timestamp,
        now: Timestamp,
    ) -> LogFuture<'_, Vec<ClaimedNotice>> {
        let channel = channel.to_owned();
        self.write(0, move |writer| writer.claim_notices(&channel, max, lease, until, now))
    }

    fn finish_notice(&self, lease: NoticeLease, outcome: NoticeOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        self.write(0, move |writer| writer.finish_notice(&lease, &outcome, now))
    }

    fn notices(&self, filter: NoticeFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<NoticeView>> {
        self.read(move |connection| list(connection, &filter, from, max))
    }

    fn resend(&self, id: &str, by: Actor, now: Timestamp) -> LogFuture<'_, NoticeView> {
        let id = id.to_owned();
        self.write(0, move |writer| writer.resend(&id, &by, now))
    }

    fn notice_stats(&self) -> LogFuture<'_, NoticeStats> {
        self.read(stats)
    }
}
