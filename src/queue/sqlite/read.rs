//! What is asked of the store: views, lists, and what is due.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use super::{
    codec::Micros,
    outbox,
    row::{self, WHOLE, Whole, columns, more_columns},
};
use crate::{
    audit,
    queue::{
        Actor, AttemptView, Digest, Group, Lane, MessageCopy, MessageFilter, MessageState, MessageView, OrderKey, Page,
        Pause, PauseScope, Shown, StoredRequest, StoredResponse,
    },
};

/// A list looks at so many messages at most, where no index leads to those that are meant.
const LOOK: i64 = 50_000;

pub(super) fn find(connection: &Connection, scope: &Digest) -> rusqlite::Result<Option<(MessageView, Digest)>> {
    let whole = whole(connection, "scope", scope)?;
    let found = whole.map(|whole| Ok((view(connection, &whole)?, whole.message.fingerprint)));
    found.transpose()
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<MessageView>> {
    let whole = whole(connection, "id", id)?;
    whole.map(|whole| view(connection, &whole)).transpose()
}

pub(super) fn show(connection: &Connection, id: &str) -> rusqlite::Result<Option<Shown>> {
    let Some(whole) = whole(connection, "id", id)? else {
        return Ok(None);
    };
    let mut history = connection.prepare_cached(concat!(
        "SELECT number, at, actor, act, subject, reason, detail, previous, digest FROM audit ",
        "WHERE subject = ?1 ORDER BY number"
    ))?;
    let history = history.query_map([id], entry)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Shown {
        view: view(connection, &whole)?,
        request: request(connection, whole.known.seq)?,
        former: former(connection, whole.known.seq)?,
        history,
    }))
}

/// What stands at a place in the order of admission.
pub(super) fn at(connection: &Connection, seq: i64) -> rusqlite::Result<Option<Whole>> {
    whole(connection, "seq", seq)
}

fn whole(connection: &Connection, column: &'static str, value: impl ToSql) -> rusqlite::Result<Option<Whole>> {
    let mut statement = connection.prepare_cached(&format!(
        concat!("SELECT ", columns!(), more_columns!(), " FROM message WHERE {} = ?1"),
        column
    ))?;
    statement.query_row([value], Whole::read).optional()
}

pub(super) fn view(connection: &Connection, whole: &Whole) -> rusqlite::Result<MessageView> {
    let (known, view) = (&whole.known, whole.view());
    Ok(MessageView {
        ahead: if view.state.is_final() {
            0
        } else {
            ahead(connection, &known.key, known.seq)?
        },
        attempts: attempts(connection, known.seq)?,
        response: response(connection, known.seq)?,
        ..view
    })
}

fn ahead(connection: &Connection, key: &OrderKey, seq: i64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM message
         WHERE order_value = ?1 AND upstream = ?2 AND lane IN (0, 1, 2) AND holds = 1 AND seq < ?3",
    )?;
    statement.query_row(params![key.value, key.upstream, seq], |row| {
        Ok(row.get::<_, i64>(0)?.cast_unsigned())
    })
}

fn attempts(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<AttemptView>> {
    let mut statement = connection
        .prepare_cached("SELECT number, started, ended, result FROM attempt WHERE seq = ?1 ORDER BY number")?;
    let attempts = statement.query_map([seq], |row| {
        Ok(AttemptView {
            number: row.get(0)?,
            started: row.get::<_, Micros>(1)?.0,
            ended: row.get::<_, Option<Micros>>(2)?.map(|time| time.0),
            result: row.get(3)?,
        })
    })?;
    attempts.collect()
}

fn response(connection: &Connection, seq: i64) -> rusqlite::Result<Option<StoredResponse>> {
    let mut statement = connection.prepare_cached("SELECT status, headers, body FROM response WHERE seq = ?1")?;
    statement.query_row([seq], row::response).optional()
}

pub(super) fn request(connection: &Connection, seq: i64) -> rusqlite::Result<Option<StoredRequest>> {
    let mut statement = connection
        .prepare_cached("SELECT method, path_and_query, idempotency_key, headers, body FROM request WHERE seq = ?1")?;
    statement.query_row([seq], |row| row::request(row, 0)).optional()
}

fn former(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<StoredRequest>> {
    let mut statement = connection.prepare_cached(
        "SELECT method, path_and_query, idempotency_key, headers, body FROM former_request WHERE seq = ?1
         ORDER BY edition",
    )?;
    let former = statement.query_map([seq], |row| row::request(row, 0))?;
    former.collect()
}

/// Conditions of a filter besides its states, as SQL with named parameters.
fn conditions(filter: &MessageFilter) -> String {
    let mut sql = String::new();
    for (is_set, condition) in [
        (filter.upstream.is_some(), "upstream = :upstream"),
        (filter.api.is_some(), "api = :api"),
        (filter.operation.is_some(), "operation = :operation"),
        (filter.channel.is_some(), "channel = :channel"),
        (filter.key.is_some(), "order_value = :key"),
        (filter.class.is_some(), "class = :class"),
        (filter.error.is_some(), "instr(lower(cause), lower(:error)) > 0"),
        (filter.until.is_some(), "admitted <= :until"),
        (filter.since.is_some(), "admitted >= :since"),
    ] {
        // A parameter that is not used would not be known by its name.
        let condition = if is_set {
            condition.to_owned()
        } else {
            never_null(condition)
        };
        sql.push_str(" AND ");
        sql.push_str(&condition);
    }
    sql
}

/// A condition that is always met and names the parameter all the same.
fn never_null(condition: &str) -> String {
    let name = condition.split(':').nth(1).unwrap_or_default();
    let name: String = name.chars().take_while(char::is_ascii_alphabetic).collect();
    format!(":{name} IS NULL")
}

pub(super) fn list(
    connection: &Connection,
    filter: &MessageFilter,
    from: Option<u64>,
    max: usize,
) -> rusqlite::Result<Page<MessageView>> {
    let from = from.map_or(0, |from| i64::try_from(from).unwrap_or(i64::MAX));
    let last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM message", [], |row| row.get(0))?;
    // Along the index of states where states are asked for, else by order of admission.
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let mut end = last;
    let mut states: Vec<_> = filter.states.iter().copied().map(Some).collect();
    if states.is_empty() {
        states.push(None);
        end = end.min(from.saturating_add(LOOK));
    } else {
        let mut bound = connection
            .prepare_cached("SELECT seq FROM message WHERE state = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1 OFFSET ?3")?;
        for state in &states {
            let last_looked_at = bound
                .query_row(params![state, from, LOOK], |row| row.get(0))
                .optional()?;
            end = end.min(last_looked_at.unwrap_or(end));
        }
    }
    let mut found = BTreeMap::new();
    for state in states {
        for item in query(connection, filter, state, (from, end), limit)? {
            found.insert(item.known.seq, item);
        }
    }
    let mut next = (end < last).then_some(end + 1);
    let mut items = Vec::new();
    for (seq, whole) in found {
        if items.len() == max {
            next = Some(seq);
            break;
        }
        items.push(whole.view());
    }
    Ok(Page {
        items,
        next: next.map(i64::cast_unsigned),
    })
}

fn query(
    connection: &Connection,
    filter: &MessageFilter,
    state: Option<MessageState>,
    (from, end): (i64, i64),
    limit: i64,
) -> rusqlite::Result<Vec<Whole>> {
    let of_state = if state.is_some() {
        "state = :state"
    } else {
        ":state IS NULL"
    };
    let mut statement = connection.prepare_cached(&format!(
        concat!(
            "SELECT ",
            columns!(),
            more_columns!(),
            " FROM message WHERE {} AND seq >= :from AND seq <= :end{} ORDER BY seq LIMIT :limit"
        ),
        of_state,
        conditions(filter)
    ))?;
    let found = statement.query_map(
        named_params! {
            ":state": state,
            ":from": from,
            ":end": end,
            ":limit": limit,
            ":upstream": filter.upstream,
            ":api": filter.api,
            ":operation": filter.operation,
            ":channel": filter.channel,
            ":key": filter.key,
            ":class": filter.class,
            ":error": filter.error,
            ":until": filter.until.map(Micros),
            ":since": filter.since.map(Micros),
        },
        Whole::read,
    )?;
    found.collect()
}

pub(super) fn export(connection: &Connection, from: Option<u64>, max: usize) -> rusqlite::Result<Page<MessageCopy>> {
    let from = from.map_or(0, |from| i64::try_from(from).unwrap_or(i64::MAX));
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        more_columns!(),
        " FROM message WHERE seq >= ?1 ORDER BY seq LIMIT ?2"
    ))?;
    let found = statement.query_map([from, limit], Whole::read)?;
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    for whole in found {
        let whole = whole?;
        if page.items.len() == max {
            page.next = Some(whole.known.seq.cast_unsigned());
            break;
        }
        page.items.push(copy(connection, whole)?);
    }
    Ok(page)
}

/// A message with all that is kept of it.
pub(super) fn copy(connection: &Connection, whole: Whole) -> rusqlite::Result<MessageCopy> {
    let Whole { known, mut message } = whole;
    let request = request(connection, known.seq)?;
    let has_request = request.is_some();
    message.request = request.unwrap_or_default();
    message.is_in_doubt = known.standing.is_in_doubt;
    Ok(MessageCopy {
        message,
        has_request,
        admitted: known.admitted,
        attempts: attempts(connection, known.seq)?,
        response: response(connection, known.seq)?,
        former: former(connection, known.seq)?,
        notices: outbox::of(connection, known.seq)?,
        standing: known.standing,
    })
}

/// A whole message with its request, from a row of both: `message` columns, then those of `request`.
pub(super) fn claimed(row: &Row<'_>) -> rusqlite::Result<Whole> {
    let mut whole = Whole::read(row)?;
    whole.message.request = row::request(row, WHOLE)?;
    Ok(whole)
}

/// Which channels have messages of which APIs ready at an upstream in a lane, from one to the next along the index: few
/// of them, perhaps a million keys.
pub(super) fn sources(connection: &Connection, upstream: &str, lane: Lane) -> rusqlite::Result<Vec<(String, String)>> {
    let mut next = connection.prepare_cached(
        "SELECT channel, api FROM head WHERE upstream = ?1 AND lane = ?2 AND ready_at IS NOT NULL
            AND (channel, api) > (?3, ?4) ORDER BY channel, api LIMIT 1",
    )?;
    let mut sources = Vec::<(String, String)>::new();
    let mut last = (String::new(), String::new());
    while let Some(source) = next
        .query_row(params![upstream, lane, last.0, last.1], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?
    {
        last.clone_from(&source);
        sources.push(source);
    }
    Ok(sources)
}

pub(super) fn due(connection: &Connection) -> rusqlite::Result<Vec<(String, Timestamp)>> {
    let pauses = pauses(connection)?;
    let mut next = connection.prepare_cached("SELECT min(upstream) FROM head WHERE upstream > ?1")?;
    let mut first = connection.prepare_cached(
        "SELECT min(ready_at) FROM head
         WHERE upstream = ?1 AND lane = ?2 AND channel = ?3 AND api = ?4 AND ready_at IS NOT NULL",
    )?;
    let mut due = Vec::new();
    let mut upstream = String::new();
    while let Some(found) = next.query_row([&upstream], |row| row.get::<_, Option<String>>(0))? {
        upstream = found;
        if pauses.keys().any(|scope| scope.closes(&upstream)) {
            continue;
        }
        let mut earliest: Option<Timestamp> = None;
        for lane in Lane::ALL {
            for (channel, api) in sources(connection, &upstream, lane)? {
                if is_paused(&pauses, &api) {
                    continue;
                }
                let found = first.query_row(params![upstream, lane, channel, api], |row| {
                    row.get::<_, Option<Micros>>(0)
                })?;
                earliest = earliest.into_iter().chain(found.map(|time| time.0)).min();
            }
        }
        due.extend(earliest.map(|at| (upstream.clone(), at)));
    }
    Ok(due)
}

/// Whether an API is held back.
pub(super) fn is_paused(pauses: &BTreeMap<PauseScope, Pause>, api: &str) -> bool {
    pauses
        .keys()
        .any(|scope| matches!(scope, PauseScope::Api(name) if name == api))
}

pub(super) fn pauses(connection: &Connection) -> rusqlite::Result<BTreeMap<PauseScope, Pause>> {
    let mut statement = connection.prepare_cached("SELECT scope, since, actor, reason FROM pause")?;
    let mut rows = statement.query([])?;
    let mut pauses = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let Ok(scope) = row.get::<_, String>(0)?.parse::<PauseScope>() else {
            continue;
        };
        let pause = Pause {
            scope: scope.clone(),
            since: row.get::<_, Micros>(1)?.0,
            by: Actor {
                name: row.get(2)?,
                reason: row.get(3)?,
            },
        };
        pauses.insert(scope, pause);
    }
    Ok(pauses)
}

/// Age of the first message that waits, is under way or is in doubt.
pub(super) fn oldest(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Duration>> {
    let mut first = connection.prepare_cached("SELECT admitted FROM message WHERE state = ?1 ORDER BY seq LIMIT 1")?;
    let mut oldest: Option<Timestamp> = None;
    for state in MessageState::ALL.into_iter().filter(|state| state.is_open()) {
        let found = first.query_row([state], |row| row.get::<_, Micros>(0)).optional()?;
        oldest = oldest.into_iter().chain(found.map(|time| time.0)).min();
    }
    Ok(oldest.map(|admitted| Duration::try_from(now.duration_since(admitted)).unwrap_or_default()))
}

/// Counts all messages there are.
pub(super) fn groups(connection: &Connection) -> rusqlite::Result<BTreeMap<Group, u64>> {
    let mut groups = connection.prepare(
        "SELECT upstream, api, channel, lane, state, holds, count(*) FROM message GROUP BY 1, 2, 3, 4, 5, 6",
    )?;
    let groups = groups.query_map([], |row| {
        let group = Group {
            upstream: row.get(0)?,
            api: row.get(1)?,
            channel: row.get(2)?,
            lane: row.get(3)?,
            state: row.get(4)?,
            holds: row.get(5)?,
        };
        Ok((group, row.get::<_, i64>(6)?.cast_unsigned()))
    })?;
    groups.collect()
}

pub(super) fn audit(connection: &Connection, after: u64, max: usize) -> rusqlite::Result<Vec<audit::Entry>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, at, actor, act, subject, reason, detail, previous, digest FROM audit
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let bounds = [after, max as u64].map(|bound| i64::try_from(bound).unwrap_or(i64::MAX));
    let found = statement.query_map(bounds, entry)?;
    found.collect()
}

/// The end of the audit log.
pub(super) fn audit_head(connection: &Connection) -> rusqlite::Result<audit::Head> {
    let mut statement = connection.prepare_cached("SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1")?;
    let head = statement.query_row([], |row| {
        Ok(audit::Head {
            number: row.get::<_, i64>(0)?.cast_unsigned(),
            digest: row.get(1)?,
        })
    });
    Ok(head.optional()?.unwrap_or_default())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<audit::Entry> {
    Ok(audit::Entry {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        at: row.get::<_, Micros>(1)?.0,
        actor: row.get(2)?,
        act: row.get(3)?,
        subject: row.get(4)?,
        reason: row.get(5)?,
        detail: row.get(6)?,
        previous: row.get(7)?,
        digest: row.get(8)?,
    })
}
