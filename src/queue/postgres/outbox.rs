//! Notices: written with the end of a message, leased by one gateway at a time, told, listed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    PostgresLog, acts,
    codec::{Columns, micros, rounded, text},
    session::{Failure, Session},
};
use crate::queue::{
    Actor, ClaimedNotice, LogError, LogFuture, Notice, NoticeFilter, NoticeLease, NoticeOutcome, NoticeStanding,
    NoticeState, NoticeStats, NoticeView, Outbox, Page, Subscriptions, after,
};

/// In the order that [`Stored::read`] expects, from `notice` as `n`.
const COLUMNS: &str = "n.number, n.seq, n.id, (SELECT m.id FROM message m WHERE m.seq = n.seq), n.channel, n.ending, \
    n.attempts, n.class, n.cause, n.finished, n.state, n.tries, n.since, n.next_try, n.holder IS NOT NULL, n.epoch, \
    n.ended, n.error";

/// No earlier notice of the same message waits.
const IS_HEAD: &str =
    "NOT EXISTS (SELECT FROM notice b WHERE b.seq = n.seq AND b.number < n.number AND b.next_try IS NOT NULL)";

struct Stored {
    number: i64,
    seq: i64,
    view: NoticeView,
}

impl Stored {
    fn read(row: &Row) -> Result<Self, Failure> {
        let mut columns = Columns::of(row);
        let (number, seq) = (columns.take()?, columns.take()?);
        let notice = Notice {
            id: columns.take()?,
            message: columns.take()?,
            channel: columns.take()?,
            state: columns.state()?,
            attempts: columns.number()?,
            failure: columns.failure()?,
            finished: columns.time()?,
        };
        let standing = NoticeStanding {
            state: NoticeState::named(columns.take()?).ok_or(Failure::Unreadable("a notice's state"))?,
            tries: columns.number()?,
            since: columns.time()?,
            next_try: columns.time_or_none()?,
            is_leased: columns.take()?,
            epoch: columns.take::<i64>()?.cast_unsigned(),
            ended: columns.time_or_none()?,
            error: columns.take()?,
        };
        let view = NoticeView { notice, standing };
        Ok(Self { number, seq, view })
    }
}

/// Writes notices of messages that are there, by the messages' places.
pub(super) async fn keep(session: &Session, notices: &[(i64, NoticeView)]) -> Result<(), Failure> {
    for (seq, NoticeView { notice, standing }) in notices {
        // What a commit of unknown outcome wrote has the same id.
        let sql = "INSERT INTO notice (seq, id, channel, ending, attempts, class, cause, finished, state, tries, since,
                next_try, holder, epoch, ended, error)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL, $13, $14, $15) ON CONFLICT DO NOTHING";
        let failure = notice.failure.as_ref();
        session
            .execute(
                sql,
                &[
                    seq,
                    &notice.id,
                    &text(&notice.channel),
                    &notice.state.name(),
                    &i64::from(notice.attempts),
                    &failure.map(|failure| failure.class.as_str()),
                    &failure.map(|failure| text(&failure.cause)),
                    &micros(notice.finished),
                    &standing.state.name(),
                    &i64::from(standing.tries),
                    &micros(standing.since),
                    &standing.next_try.map(micros),
                    &standing.epoch.cast_signed(),
                    &standing.ended.map(micros),
                    &standing.error.as_deref().map(text),
                ],
            )
            .await?;
    }
    Ok(())
}

/// Those of some messages, by the messages' places.
pub(super) async fn of(session: &Session, seqs: &[i64]) -> Result<HashMap<i64, Vec<NoticeView>>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM notice n WHERE n.seq = ANY($1) ORDER BY n.number");
    let mut found: HashMap<i64, Vec<NoticeView>> = HashMap::new();
    for row in session.query(&sql, &[&seqs]).await? {
        let stored = Stored::read(&row)?;
        found.entry(stored.seq).or_default().push(stored.view);
    }
    Ok(found)
}

/// Takes back what this gateway was sending before it was started.
pub(super) async fn reclaim(session: &Session, node: &str) -> Result<(), Failure> {
    let sql = "UPDATE notice SET holder = NULL, epoch = epoch + 1, next_try = since WHERE holder = $1";
    session.execute(sql, &[&node]).await?;
    Ok(())
}

async fn save(session: &Session, number: i64, standing: &NoticeStanding, holder: Option<&str>) -> Result<(), Failure> {
    let sql =
        "UPDATE notice SET state = $2, tries = $3, since = $4, next_try = $5, holder = $6, epoch = $7, ended = $8,
            error = $9 WHERE number = $1";
    session
        .execute(
            sql,
            &[
                &number,
                &standing.state.name(),
                &i64::from(standing.tries),
                &micros(standing.since),
                &standing.next_try.map(micros),
                &holder,
                &standing.epoch.cast_signed(),
                &standing.ended.map(micros),
                &standing.error.as_deref().map(text),
            ],
        )
        .await?;
    Ok(())
}

async fn due(session: &Session) -> Result<Vec<(String, Timestamp)>, Failure> {
    // From one channel to the next along the index: few of them, perhaps a million notices.
    let sql = format!(
        "WITH RECURSIVE source(channel) AS (
            SELECT min(channel) FROM notice WHERE next_try IS NOT NULL
            UNION ALL SELECT (SELECT min(m.channel) FROM notice m WHERE m.next_try IS NOT NULL
                AND m.channel > source.channel) FROM source WHERE source.channel IS NOT NULL
        ) SELECT s.channel, d.next_try FROM source s CROSS JOIN LATERAL (
            SELECT n.next_try FROM notice n WHERE n.channel = s.channel AND n.next_try IS NOT NULL AND {IS_HEAD}
            ORDER BY n.next_try LIMIT 1
        ) d WHERE s.channel IS NOT NULL"
    );
    let rows = session.query(&sql, &[]).await?;
    let read = |row: &Row| {
        let mut columns = Columns::of(row);
        Ok((columns.take()?, columns.time()?))
    };
    rows.iter().map(read).collect()
}

/// What a claim asks for.
struct Claim {
    channel: String,
    max: usize,
    lease: Duration,
    until: Timestamp,
    now: Timestamp,
}

async fn claim(session: &Session, claim: &Claim, node: &str) -> Result<Vec<ClaimedNotice>, Failure> {
    // What another gateway looks at is left to it.
    let sql = format!(
        "SELECT {COLUMNS} FROM notice n WHERE n.channel = $1 AND n.next_try <= $2 AND n.since <= $3 AND {IS_HEAD}
        ORDER BY n.next_try, n.number LIMIT $4 FOR UPDATE OF n SKIP LOCKED"
    );
    let max = i64::try_from(claim.max).unwrap_or(i64::MAX);
    let (now, until) = (micros(claim.now), micros(claim.until));
    let mut claimed = Vec::new();
    for row in session.query(&sql, &[&claim.channel, &now, &until, &max]).await? {
        let Stored { number, mut view, .. } = Stored::read(&row)?;
        view.standing.lease(rounded(after(claim.now, claim.lease)));
        save(session, number, &view.standing, Some(node)).await?;
        claimed.push(ClaimedNotice::new(view));
    }
    Ok(claimed)
}

async fn locked(session: &Session, id: &str) -> Result<Option<Stored>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM notice n WHERE n.id = $1 FOR UPDATE OF n");
    let row = session.query_opt(&sql, &[&text(id)]).await?;
    row.as_ref().map(Stored::read).transpose()
}

async fn finish(
    session: &Session,
    lease: &NoticeLease,
    outcome: &NoticeOutcome,
    now: Timestamp,
    is_in_doubt: bool,
) -> Result<(), Failure> {
    let Some(Stored { number, mut view, .. }) = locked(session, &lease.id).await? else {
        return Err(LogError::Fenced.into());
    };
    let is_done = !view.standing.is_leased && view.standing.epoch == lease.epoch;
    if is_in_doubt && is_done {
        return Ok(());
    }
    view.standing.finish(lease, outcome, now)?;
    save(session, number, &view.standing, None).await
}

async fn resend(
    session: &Session,
    id: &str,
    by: &Actor,
    now: Timestamp,
    is_in_doubt: bool,
) -> Result<NoticeView, Failure> {
    let Some(Stored { number, mut view, .. }) = locked(session, id).await? else {
        return Err(LogError::Unknown.into());
    };
    if is_in_doubt && acts::was_entered(session, by, Notice::RESEND, &view.notice.message, now).await? {
        return Ok(view);
    }
    view.standing.resend(now)?;
    save(session, number, &view.standing, None).await?;
    acts::enter(session, by, Notice::RESEND, &view.notice.message, id.to_owned(), now).await?;
    Ok(view)
}

async fn list(
    session: &Session,
    filter: &NoticeFilter,
    from: Option<u64>,
    max: usize,
) -> Result<Page<NoticeView>, Failure> {
    let states = if filter.states.is_empty() {
        NoticeState::ALL.to_vec()
    } else {
        filter.states.clone()
    };
    let states: Vec<_> = states.into_iter().map(NoticeState::name).collect();
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let from = from.map_or(0, |from| i64::try_from(from).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT {COLUMNS} FROM notice n WHERE n.number >= $1 AND n.state = ANY($2)
            AND ($3::text IS NULL OR n.channel = $3)
            AND ($4::text IS NULL OR n.seq = (SELECT seq FROM message WHERE id = $4)) ORDER BY n.number LIMIT $5"
    );
    let (channel, message) = (filter.channel.as_deref().map(text), filter.message.as_deref().map(text));
    let rows = session
        .query(&sql, &[&from, &states, &channel, &message, &limit])
        .await?;
    let mut found = rows.iter().map(Stored::read).collect::<Result<Vec<_>, _>>()?;
    let next = (found.len() > max).then(|| found.pop()).flatten();
    Ok(Page {
        items: found.into_iter().map(|stored| stored.view).collect(),
        next: next.map(|stored| stored.number.cast_unsigned()),
    })
}

async fn stats(session: &Session) -> Result<NoticeStats, Failure> {
    let sql = "SELECT channel, state, count(*), min(since) FROM notice WHERE state <> 'sent' GROUP BY 1, 2";
    let mut stats = NoticeStats::default();
    for row in session.query(sql, &[]).await? {
        let mut columns = Columns::of(&row);
        let channel = columns.take()?;
        let standing = NoticeState::named(columns.take()?).ok_or(Failure::Unreadable("a notice's state"))?;
        let count = columns.take::<i64>()?.cast_unsigned();
        let since = columns.time()?;
        stats.groups.insert((channel, standing), count);
        if standing == NoticeState::Waiting {
            stats.oldest = Some(stats.oldest.map_or(since, |oldest| oldest.min(since)));
        }
    }
    Ok(stats)
}

impl Outbox for PostgresLog {
    fn subscribe(&self, subscriptions: Subscriptions) {
        self.database.subscribe(subscriptions);
    }

    fn notices_due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>> {
        self.read(async |session| due(&session).await)
    }

    fn claim_notices(
        &self,
        channel: &str,
        max: usize,
        lease: Duration,
        until: Timestamp,
        now: Timestamp,
    ) -> LogFuture<'_, Vec<ClaimedNotice>> {
        let database = Arc::clone(&self.database);
        let asked = Claim {
            channel: text(channel),
            max,
            lease,
            until,
            now: rounded(now),
        };
        self.database.run(async move {
            database.keeps_time()?;
            let mut tries = database.tries();
            loop {
                let session = tries.begin().await?;
                // What a commit of unknown outcome leased is due again when that lease ends.
                let done = claim(&session, &asked, &database.node).await;
                if let Some(ended) = tries.end(session, done).await {
                    return ended;
                }
            }
        })
    }

    fn finish_notice(&self, lease: NoticeLease, outcome: NoticeOutcome, now: Timestamp) -> LogFuture<'_, ()> {
        let (database, now) = (Arc::clone(&self.database), rounded(now));
        self.database.run(async move {
            let mut tries = database.tries();
            loop {
                let session = tries.begin().await?;
                let done = finish(&session, &lease, &outcome, now, tries.is_in_doubt).await;
                if let Some(ended) = tries.end(session, done).await {
                    return ended;
                }
            }
        })
    }

    fn notices(&self, filter: NoticeFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<NoticeView>> {
        self.read(async move |session| list(&session, &filter, from, max).await)
    }

    fn resend(&self, id: &str, by: Actor, now: Timestamp) -> LogFuture<'_, NoticeView> {
        let (database, id, now) = (Arc::clone(&self.database), id.to_owned(), rounded(now));
        self.database.run(async move {
            let mut tries = database.tries();
            loop {
                let session = tries.begin().await?;
                let done = resend(&session, &id, &by, now, tries.is_in_doubt).await;
                if let Some(ended) = tries.end(session, done).await {
                    database.committed(true);
                    return ended;
                }
            }
        })
    }

    fn notice_stats(&self) -> LogFuture<'_, NoticeStats> {
        self.read(async |session| stats(&session).await)
    }
}
