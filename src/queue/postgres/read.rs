//! What is asked of the store: views, lists, and what is due.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    codec::{Columns, digest, micros},
    outbox,
    row::{COLUMNS, REQUEST, SHOWN, WITH_REQUEST, WITH_RESPONSE, Whole, shown},
    session::{Failure, Session},
};
use crate::{
    audit,
    problem::FailureClass,
    queue::{
        Actor, Digest, Gate, Group, MessageCopy, MessageFilter, MessageState, MessageView, NewMessage, OrderKey, Page,
        Pause, PauseScope, Shown, StoredRequest,
    },
};

/// A list looks at so many messages at most, where no index leads to those that are meant.
const LOOK: i64 = 50_000;

pub(super) async fn find(session: &Session, scope: &Digest) -> Result<Option<(MessageView, Digest)>, Failure> {
    let sql = format!("SELECT {COLUMNS}, {SHOWN} FROM message m {WITH_RESPONSE} WHERE m.scope = $1");
    let Some(row) = session.query_opt(&sql, &[&&scope[..]]).await? else {
        return Ok(None);
    };
    let (whole, view) = shown(&mut Columns::of(&row))?;
    Ok(Some((view, whole.message.fingerprint)))
}

pub(super) async fn get(session: &Session, id: &str) -> Result<Option<MessageView>, Failure> {
    let sql = format!("SELECT {COLUMNS}, {SHOWN} FROM message m {WITH_RESPONSE} WHERE m.id = $1");
    let Some(row) = session.query_opt(&sql, &[&id]).await? else {
        return Ok(None);
    };
    Ok(Some(shown(&mut Columns::of(&row))?.1))
}

pub(super) async fn show(session: &Session, id: &str) -> Result<Option<Shown>, Failure> {
    let sql =
        format!("SELECT {COLUMNS}, {SHOWN}, {REQUEST} FROM message m {WITH_RESPONSE} {WITH_REQUEST} WHERE m.id = $1");
    let Some(row) = session.query_opt(&sql, &[&id]).await? else {
        return Ok(None);
    };
    let mut columns = Columns::of(&row);
    let (whole, view) = shown(&mut columns)?;
    let request = columns.request()?;
    Ok(Some(Shown {
        view,
        request,
        former: former(session, &[whole.seq])
            .await?
            .remove(&whole.seq)
            .unwrap_or_default(),
        history: audit_of(session, id).await?,
    }))
}

async fn former(session: &Session, seqs: &[i64]) -> Result<BTreeMap<i64, Vec<StoredRequest>>, Failure> {
    let sql = format!("SELECT q.seq, {REQUEST} FROM former_request q WHERE q.seq = ANY($1) ORDER BY q.seq, q.edition");
    let mut former = BTreeMap::<_, Vec<_>>::new();
    for row in session.query(&sql, &[&seqs]).await? {
        let mut columns = Columns::of(&row);
        former.entry(columns.take()?).or_default().extend(columns.request()?);
    }
    Ok(former)
}

/// How many messages hold an order key, and what is held back.
pub(super) async fn gate(session: &Session, api: &str, key: &OrderKey) -> Result<Gate, Failure> {
    let sql = "SELECT (SELECT depth FROM order_key WHERE key = $1), ARRAY(SELECT scope FROM pause)";
    let row = session.query(sql, &[&&digest(key)[..]]).await?;
    let row = row.first().ok_or(Failure::Again)?;
    let (depth, scopes): (Option<i64>, Vec<Vec<u8>>) = (row.try_get(0)?, row.try_get(1)?);
    if let Some(depth) = depth.filter(|depth| *depth > 0) {
        return Ok(Gate::Behind(depth.cast_unsigned()));
    }
    let is_paused = scopes.into_iter().filter_map(scope).any(|scope| scope.covers(api, key));
    Ok(if is_paused { Gate::Paused } else { Gate::Open })
}

fn scope(text: Vec<u8>) -> Option<PauseScope> {
    String::from_utf8(text).ok()?.parse().ok()
}

pub(super) async fn list(
    session: &Session,
    filter: &MessageFilter,
    from: Option<u64>,
    max: usize,
) -> Result<Page<MessageView>, Failure> {
    let from = from.map_or(0, |from| i64::try_from(from).unwrap_or(i64::MAX));
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let states: Vec<&str> = filter.states.iter().map(|state| state.name()).collect();
    // Along the index of states where states are asked for, else by order of admission.
    let bounds = "SELECT coalesce((SELECT max(seq) FROM message), 0), CASE WHEN cardinality($1::text[]) = 0 THEN
            (SELECT seq FROM message WHERE seq >= $2 ORDER BY seq LIMIT 1 OFFSET $3)
        ELSE (SELECT min(b.seq) FROM unnest($1::text[]) s CROSS JOIN LATERAL
            (SELECT seq FROM message WHERE state = s AND seq >= $2 ORDER BY seq LIMIT 1 OFFSET $3) b) END";
    let bounds = session.query(bounds, &[&states, &from, &LOOK]).await?;
    let bounds = bounds.first().ok_or(Failure::Again)?;
    let last: i64 = bounds.try_get(0)?;
    let end = bounds.try_get::<_, Option<i64>>(1)?.unwrap_or(last).min(last);
    let conditions = "m.seq >= $1 AND m.seq <= $2
        AND ($4::text IS NULL OR m.upstream = $4) AND ($5::text IS NULL OR m.api = $5)
        AND ($6::text IS NULL OR m.operation = $6) AND ($7::text IS NULL OR m.channel = $7)
        AND ($8::bytea IS NULL OR m.order_value = $8) AND ($9::text IS NULL OR m.class = $9)
        AND ($10::text IS NULL OR strpos(lower(m.cause), $10) > 0)
        AND ($11::bigint IS NULL OR m.admitted <= $11) AND ($12::bigint IS NULL OR m.admitted >= $12)
        ORDER BY m.seq LIMIT $3";
    let sql = if states.is_empty() {
        format!("SELECT {COLUMNS} FROM message m WHERE $13::text[] IS NOT NULL AND {conditions}")
    } else {
        format!(
            "SELECT {COLUMNS} FROM unnest($13::text[]) s CROSS JOIN LATERAL
                (SELECT * FROM message m WHERE m.state = s AND {conditions}) m ORDER BY m.seq LIMIT $3"
        )
    };
    let key = filter.key.as_ref().map(String::as_bytes);
    let class = filter.class.map(FailureClass::as_str);
    let error = filter.error.as_ref().map(|error| error.to_ascii_lowercase());
    let (until, since) = (filter.until.map(micros), filter.since.map(micros));
    let rows = session
        .query(
            &sql,
            &[
                &from,
                &end,
                &limit,
                &filter.upstream,
                &filter.api,
                &filter.operation,
                &filter.channel,
                &key,
                &class,
                &error,
                &until,
                &since,
                &states,
            ],
        )
        .await?;
    let mut next = (end < last).then_some(end + 1);
    let mut items = Vec::new();
    for row in &rows {
        let whole = Whole::read(row)?;
        if items.len() == max {
            next = Some(whole.seq);
            break;
        }
        items.push(whole.view());
    }
    Ok(Page {
        items,
        next: next.map(i64::cast_unsigned),
    })
}

pub(super) async fn export(session: &Session, from: Option<u64>, max: usize) -> Result<Page<MessageCopy>, Failure> {
    let from = from.map_or(0, |from| i64::try_from(from).unwrap_or(i64::MAX));
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let sql = format!(
        "SELECT {COLUMNS}, {SHOWN}, {REQUEST} FROM message m {WITH_RESPONSE} {WITH_REQUEST}
         WHERE m.seq >= $1 ORDER BY m.seq LIMIT $2"
    );
    let rows = session.query(&sql, &[&from, &limit]).await?;
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut seqs = Vec::new();
    for row in &rows {
        let mut columns = Columns::of(row);
        let (whole, view) = shown(&mut columns)?;
        if page.items.len() == max {
            page.next = Some(whole.seq.cast_unsigned());
            break;
        }
        let request = columns.request()?;
        seqs.push(whole.seq);
        page.items.push(MessageCopy {
            has_request: request.is_some(),
            message: NewMessage {
                is_in_doubt: whole.standing.is_in_doubt,
                request: request.unwrap_or_default(),
                ..whole.message
            },
            admitted: whole.admitted,
            standing: whole.standing,
            attempts: view.attempts,
            response: view.response,
            former: Vec::new(),
            notices: Vec::new(),
        });
    }
    let mut former = former(session, &seqs).await?;
    let mut notices = outbox::of(session, &seqs).await?;
    for (copy, seq) in page.items.iter_mut().zip(&seqs) {
        copy.former = former.remove(seq).unwrap_or_default();
        copy.notices = notices.remove(seq).unwrap_or_default();
    }
    Ok(page)
}

/// Which channels have messages of which APIs ready at which upstream in which lane, from one to the next along the
/// index: few of them, perhaps a million keys.
pub(super) const SOURCES: &str = "RECURSIVE source AS (
        (SELECT upstream, lane, channel, api FROM order_key WHERE ready_at IS NOT NULL
            ORDER BY upstream, lane, channel, api LIMIT 1)
        UNION ALL
        SELECT n.* FROM source s CROSS JOIN LATERAL (
            SELECT k.upstream, k.lane, k.channel, k.api FROM order_key k WHERE k.ready_at IS NOT NULL
                AND (k.upstream, k.lane, k.channel, k.api) > (s.upstream, s.lane, s.channel, s.api)
            ORDER BY k.upstream, k.lane, k.channel, k.api LIMIT 1
        ) n
    )";

pub(super) async fn due(session: &Session) -> Result<Vec<(String, Timestamp)>, Failure> {
    let pauses = pauses(session).await?;
    let sql = format!(
        "WITH {SOURCES} SELECT s.upstream, s.api, (SELECT min(ready_at) FROM order_key k WHERE k.upstream = s.upstream
            AND k.lane = s.lane AND k.channel = s.channel AND k.api = s.api AND k.ready_at IS NOT NULL) FROM source s"
    );
    let mut due = BTreeMap::<String, Timestamp>::new();
    for row in session.query(&sql, &[]).await? {
        let mut columns = Columns::of(&row);
        let (upstream, api): (String, String) = (columns.take()?, columns.take()?);
        let at = columns.time_or_none()?;
        if pauses.keys().any(|scope| scope.closes(&upstream)) || is_paused(&pauses, &api) {
            continue;
        }
        if let Some(at) = at {
            due.entry(upstream)
                .and_modify(|first| *first = at.min(*first))
                .or_insert(at);
        }
    }
    Ok(due.into_iter().collect())
}

/// Whether an API is held back.
fn is_paused(pauses: &BTreeMap<PauseScope, Pause>, api: &str) -> bool {
    pauses
        .keys()
        .any(|scope| matches!(scope, PauseScope::Api(name) if name == api))
}

pub(super) async fn pauses(session: &Session) -> Result<BTreeMap<PauseScope, Pause>, Failure> {
    let mut pauses = BTreeMap::new();
    for row in session
        .query("SELECT scope, since, actor, reason FROM pause", &[])
        .await?
    {
        let mut columns = Columns::of(&row);
        let Some(scope) = scope(columns.take()?) else { continue };
        let pause = Pause {
            scope: scope.clone(),
            since: columns.time()?,
            by: Actor {
                name: columns.take()?,
                reason: columns.take()?,
            },
        };
        pauses.insert(scope, pause);
    }
    Ok(pauses)
}

/// Counts by group, where there are any.
pub(super) async fn groups(session: &Session) -> Result<BTreeMap<Group, u64>, Failure> {
    let sql = "SELECT upstream, api, channel, lane, state, holds, sum(n)::bigint FROM tally
        GROUP BY upstream, api, channel, lane, state, holds HAVING sum(n) > 0";
    let rows = session.query(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let group = Group {
                upstream: columns.take()?,
                api: columns.take()?,
                channel: columns.take()?,
                lane: columns.lane()?,
                state: columns.state()?,
                holds: columns.take()?,
            };
            Ok((group, columns.take::<i64>()?.cast_unsigned()))
        })
        .collect()
}

/// Age of the first message that waits, is under way or is in doubt.
pub(super) async fn oldest(session: &Session, now: Timestamp) -> Result<Option<Duration>, Failure> {
    let open: Vec<&str> = MessageState::ALL
        .into_iter()
        .filter(|state| state.is_open())
        .map(MessageState::name)
        .collect();
    let sql = "SELECT min(m.admitted) FROM unnest($1::text[]) s CROSS JOIN LATERAL
        (SELECT admitted FROM message WHERE state = s ORDER BY seq LIMIT 1) m";
    let rows = session.query(sql, &[&open]).await?;
    let oldest = rows
        .first()
        .map(|row| Columns::of(row).time_or_none())
        .transpose()?
        .flatten();
    Ok(oldest.map(|admitted| Duration::try_from(now.duration_since(admitted)).unwrap_or_default()))
}

pub(super) async fn audit(session: &Session, after: u64, max: usize) -> Result<Vec<audit::Entry>, Failure> {
    let bounds = [after, max as u64].map(|bound| i64::try_from(bound).unwrap_or(i64::MAX));
    let sql = format!("SELECT {ENTRY} FROM audit WHERE number > $1 ORDER BY number LIMIT $2");
    session
        .query(&sql, &[&bounds[0], &bounds[1]])
        .await?
        .iter()
        .map(entry)
        .collect()
}

/// What was done to a message, or a scope.
pub(super) async fn audit_of(session: &Session, subject: &str) -> Result<Vec<audit::Entry>, Failure> {
    let sql = format!("SELECT {ENTRY} FROM audit WHERE subject = $1 ORDER BY number");
    session.query(&sql, &[&subject]).await?.iter().map(entry).collect()
}

/// The end of the audit log.
pub(super) async fn audit_head(session: &Session) -> Result<audit::Head, Failure> {
    let row = session
        .query_opt("SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1", &[])
        .await?;
    let Some(row) = row else {
        return Ok(audit::Head::default());
    };
    let mut columns = Columns::of(&row);
    Ok(audit::Head {
        number: columns.take::<i64>()?.cast_unsigned(),
        digest: columns.digest()?,
    })
}

const ENTRY: &str = "number, at, actor, act, subject, reason, detail, previous, digest";

fn entry(row: &Row) -> Result<audit::Entry, Failure> {
    let mut columns = Columns::of(row);
    Ok(audit::Entry {
        number: columns.take::<i64>()?.cast_unsigned(),
        at: columns.time()?,
        actor: columns.take()?,
        act: columns.take()?,
        subject: columns.take()?,
        reason: columns.take()?,
        detail: columns.take()?,
        previous: columns.digest()?,
        digest: columns.digest()?,
    })
}
