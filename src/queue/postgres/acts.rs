//! What is not done in groups: claims, sweeps, decisions of persons, pauses, moves between stores.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    book::{Book, write_tally},
    codec::{Columns, digest, micros, text},
    outbox, read,
    row::{COLUMNS, REQUEST, WITH_REQUEST, Whole},
    session::{Failure, Session},
};
use crate::{
    audit,
    queue::{
        Act, Actor, Claimed, Group, LogError, MessageCopy, MessageState, MessageView, NewMessage, NoticeView, Pause,
        PauseScope, StoredRequest, SweepReport, after, fields,
        lanes::{Ready, Wheel},
    },
};

/// At most so many messages are ended, and so many forgotten, by one sweep: others wait meanwhile.
const SWEEP_MESSAGES: i64 = 1000;

/// What a claim asks for.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) upstream: String,
    pub(super) max: usize,
    pub(super) lease: Duration,
    pub(super) now: Timestamp,
    pub(super) node: String,
    /// To find again what a commit of unknown outcome leased.
    pub(super) number: i64,
}

/// Leases what is due. Returns also whether something else changed that others wait for.
pub(super) async fn claim(
    session: &Session,
    claim: &Claim,
    wheel: &mut Wheel,
    is_in_doubt: bool,
) -> Result<(Vec<Claimed>, bool), Failure> {
    if is_in_doubt {
        let sql = format!(
            "SELECT {COLUMNS}, {REQUEST} FROM message m {WITH_REQUEST} WHERE m.lease_until IS NOT NULL
                AND m.holder = $1 AND m.claim = $2 ORDER BY m.seq"
        );
        let leased = session.query(&sql, &[&claim.node, &claim.number]).await?;
        if !leased.is_empty() {
            let leased = leased.iter().map(|row| Ok(claimed(&mut Columns::of(row))?.1));
            return Ok((leased.collect::<Result<_, Failure>>()?, true));
        }
    }
    let wakes = expire(session, claim.now).await?;
    let pauses = read::pauses(session).await?;
    if pauses.keys().any(|scope| scope.closes(&claim.upstream)) {
        return Ok((Vec::new(), wakes));
    }
    let (mut apis, mut keys) = (Vec::new(), Vec::new());
    for scope in pauses.keys() {
        match scope {
            PauseScope::Api(name) => apis.push(name.as_str()),
            PauseScope::Key(key) => keys.push(digest(key).to_vec()),
            _ => {}
        }
    }
    // What another gateway looks at is left to it.
    let sql = format!(
        "WITH {} SELECT k.key, k.seq, k.lane, k.channel, k.ready_at FROM source s CROSS JOIN LATERAL (
            SELECT * FROM order_key k WHERE k.upstream = s.upstream AND k.lane = s.lane AND k.channel = s.channel
                AND k.api = s.api AND k.ready_at <= $2 AND k.key <> ALL($5)
            ORDER BY k.ready_at, k.seq LIMIT $3 FOR UPDATE SKIP LOCKED
        ) k WHERE s.upstream = $1 AND s.api <> ALL($4)",
        read::SOURCES
    );
    let max = i64::try_from(claim.max).unwrap_or(i64::MAX);
    let heads = session
        .query(&sql, &[&claim.upstream, &micros(claim.now), &max, &apis, &keys])
        .await?;
    let mut ready: [BTreeMap<String, Vec<(i64, i64)>>; 3] = Default::default();
    for row in &heads {
        let mut columns = Columns::of(row);
        columns.digest()?;
        let (seq, lane, channel) = (columns.take()?, columns.lane()?, columns.take()?);
        ready[lane.rank()]
            .entry(channel)
            .or_default()
            .push((columns.take()?, seq));
    }
    let ready = ready.map(|lane| {
        let sorted = lane.into_iter().map(|(channel, mut heads)| {
            heads.sort_unstable();
            (channel, VecDeque::from(heads))
        });
        sorted.collect::<Ready<_>>()
    });
    let picked: Vec<i64> = wheel.pick(ready, claim.max).into_iter().map(|(_, seq)| seq).collect();
    if picked.is_empty() {
        return Ok((Vec::new(), wakes));
    }
    let sql = format!("SELECT {COLUMNS}, {REQUEST} FROM message m {WITH_REQUEST} WHERE m.seq = ANY($1)");
    let rows = session.query(&sql, &[&picked]).await?;
    let mut book = Book::with(session, &heads).await?;
    book.take(&rows)?;
    let mut leased = HashMap::new();
    for row in &rows {
        let (mut whole, _) = claimed(&mut Columns::of(row))?;
        whole.standing.lease(after(claim.now, claim.lease));
        let place = book.find(&whole.message.id).ok_or(Failure::Again)?;
        book.set(place, &whole.standing);
        book.at(place).holder = Some((claim.node.clone(), claim.number));
        let Whole {
            seq,
            message,
            standing,
            admitted,
            ..
        } = whole;
        leased.insert(seq, Claimed::new(message, &standing, admitted));
    }
    book.close().await?;
    let leased = picked.iter().filter_map(|seq| leased.remove(seq)).collect();
    Ok((leased, true))
}

fn claimed(columns: &mut Columns<'_>) -> Result<(Whole, Claimed), Failure> {
    let mut whole = Whole::from(columns)?;
    whole.message.request = columns.request()?.unwrap_or_default();
    let claimed = Claimed::new(whole.message.clone(), &whole.standing, whole.admitted);
    Ok((whole, claimed))
}

/// Ends what waits past its deadline. Whether there was something.
async fn expire(session: &Session, now: Timestamp) -> Result<bool, Failure> {
    let sql = "SELECT id FROM message WHERE next_at IS NOT NULL AND due_by <= $1 AND lease_until IS NULL
        ORDER BY due_by LIMIT $2";
    let ids = ids(session, sql, now).await?;
    if ids.is_empty() {
        return Ok(false);
    }
    let mut book = Book::open(session, &[], &ids).await?;
    for place in book.places() {
        let mut standing = book.standing(place).clone();
        if standing.is_overdue(now) {
            standing.expire(now);
            book.set(place, &standing);
        }
    }
    book.close().await
}

async fn ids(session: &Session, sql: &str, now: Timestamp) -> Result<Vec<String>, Failure> {
    let rows = session.query(sql, &[&micros(now), &SWEEP_MESSAGES]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// `None` where another gateway sweeps.
pub(super) async fn sweep(
    session: &Session,
    retention: Duration,
    now: Timestamp,
) -> Result<Option<(SweepReport, bool)>, Failure> {
    let sql = "SELECT pg_try_advisory_xact_lock(hashtext('crossdock sweep'), hashtext(current_schema()))";
    let is_ours = session
        .query(sql, &[])
        .await?
        .first()
        .map(|row| row.try_get::<_, bool>(0))
        .transpose()?;
    if is_ours != Some(true) {
        return Ok(None);
    }
    let mut report = SweepReport::default();
    let mut found = ids(
        session,
        "SELECT id FROM message WHERE lease_until <= $1 ORDER BY lease_until LIMIT $2",
        now,
    )
    .await?;
    let sql = "SELECT id FROM message WHERE next_at IS NOT NULL AND due_by <= $1 AND lease_until IS NULL
        ORDER BY due_by LIMIT $2";
    found.extend(ids(session, sql, now).await?);
    let mut wakes = false;
    if !found.is_empty() {
        let mut book = Book::open(session, &[], &found).await?;
        for place in book.places() {
            let mut standing = book.standing(place).clone();
            if standing.leased_until.is_some_and(|until| until <= now) {
                let ended = standing.lose_lease(now);
                book.ended(place, ended, now);
                report.leases_expired += 1;
            }
            if standing.is_overdue(now) {
                standing.expire(now);
                report.messages_expired += 1;
            }
            book.set(place, &standing);
        }
        wakes = book.close().await?;
    }
    report.messages_forgotten = forget(session, now.saturating_sub(retention).unwrap_or(Timestamp::MIN)).await?;
    let sql = "WITH added AS (
            DELETE FROM tally WHERE (SELECT count(*) FROM tally) > 1000 RETURNING *
        ) INSERT INTO tally SELECT upstream, api, channel, lane, state, holds, sum(n)::bigint FROM added
            GROUP BY upstream, api, channel, lane, state, holds HAVING sum(n) <> 0";
    session.execute(sql, &[]).await?;
    Ok(Some((report, wakes)))
}

async fn forget(session: &Session, past: Timestamp) -> Result<u64, Failure> {
    let sql = "DELETE FROM message WHERE seq IN (
            SELECT seq FROM message m WHERE finished IS NOT NULL AND finished <= $1 AND NOT holds
                AND NOT EXISTS (SELECT FROM notice n WHERE n.seq = m.seq AND n.next_try IS NOT NULL)
            ORDER BY finished LIMIT $2 FOR UPDATE SKIP LOCKED
        ) RETURNING seq, upstream, api, channel, lane, state, holds";
    let rows = session.query(sql, &[&micros(past), &SWEEP_MESSAGES]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut seqs: Vec<i64> = Vec::new();
    let mut groups = HashMap::<Group, i64>::new();
    for row in &rows {
        let mut columns = Columns::of(row);
        seqs.push(columns.take()?);
        let group = Group {
            upstream: columns.take()?,
            api: columns.take()?,
            channel: columns.take()?,
            lane: columns.lane()?,
            state: columns.state()?,
            holds: columns.take()?,
        };
        *groups.entry(group).or_default() -= 1;
    }
    session
        .execute("DELETE FROM former_request WHERE seq = ANY($1)", &[&seqs])
        .await?;
    write_tally(session, groups.iter().map(|(group, n)| (group, *n))).await?;
    Ok(rows.len() as u64)
}

/// Takes back what this gateway had leased before it was started: the folder's lock says that nobody goes on with it.
pub(super) async fn reclaim(session: &Session, node: &str, now: Timestamp) -> Result<usize, Failure> {
    outbox::reclaim(session, node).await?;
    let sql = "SELECT id FROM message WHERE lease_until IS NOT NULL AND holder = $1";
    let rows = session.query(sql, &[&node]).await?;
    let ids = rows
        .iter()
        .map(|row| Ok(row.try_get(0)?))
        .collect::<Result<Vec<String>, Failure>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let mut book = Book::open(session, &[], &ids).await?;
    for place in book.places() {
        let mut standing = book.standing(place).clone();
        if standing.leased_until.is_some() {
            let ended = standing.lose_lease(now);
            book.ended(place, ended, now);
            book.set(place, &standing);
        }
    }
    book.close().await?;
    Ok(ids.len())
}

pub(super) async fn act(
    session: &Session,
    id: &str,
    act: &Act,
    by: &Actor,
    now: Timestamp,
    is_in_doubt: bool,
) -> Result<MessageView, Failure> {
    if is_in_doubt && was_entered(session, by, act.name(), id, now).await? {
        return read::get(session, id).await?.ok_or(LogError::Unknown.into());
    }
    let mut book = Book::open(session, &[], &[id.to_owned()]).await?;
    let place = book.find(id).ok_or(LogError::Unknown)?;
    let Whole {
        seq,
        day,
        message,
        admitted,
        mut standing,
        ..
    } = book.at(place).whole.clone();
    let before = standing.state;
    standing.act(act, message.deadline.duration_since(admitted), now)?;
    if let Act::Edit { request, .. } = act {
        let sql = "INSERT INTO former_request (seq, edition, method, path_and_query, idempotency_key, headers, body)
            SELECT seq, (SELECT count(*) FROM former_request WHERE seq = $2)::int, method, path_and_query,
                idempotency_key, headers, body FROM request WHERE day = $1 AND seq = $2";
        session.execute(sql, &[&day, &seq]).await?;
        book.keep_request(place, (**request).clone());
    }
    if standing.state == MessageState::Delivered {
        book.drop_request(place);
    }
    book.set(place, &standing);
    book.close().await?;
    let detail = format!("{} -> {}", before.name(), standing.state.name());
    enter(session, by, act.name(), id, detail, now).await?;
    read::get(session, id).await?.ok_or(LogError::Unknown.into())
}

/// Holds something back, or lets it go. Returns whether it was held back before, and what is held back then.
pub(super) async fn pause(
    session: &Session,
    scope: &PauseScope,
    by: &Actor,
    now: Timestamp,
    holds_back: bool,
    is_in_doubt: bool,
) -> Result<(bool, Vec<PauseScope>), Failure> {
    let (name, subject) = (if holds_back { "pause" } else { "resume" }, scope.to_string());
    let keys: Vec<_> = match scope {
        PauseScope::Key(key) => vec![digest(key)],
        _ => Vec::new(),
    };
    let mut book = Book::open(session, &keys, &[]).await?;
    let is_entered = is_in_doubt && was_entered(session, by, name, &subject, now).await?;
    let mut was_held_back = book.pauses.contains_key(scope);
    if is_entered {
        // The first time, it did what it does now.
        was_held_back = !holds_back;
    } else {
        enter(session, by, name, &subject, String::new(), now).await?;
        if holds_back {
            let sql = "INSERT INTO pause (scope, since, actor, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            let (actor, reason) = (text(&by.name), text(&by.reason));
            session
                .execute(sql, &[&subject.as_bytes(), &micros(now), &actor, &reason])
                .await?;
            let pause = Pause {
                scope: scope.clone(),
                since: now,
                by: by.clone(),
            };
            book.pauses.entry(scope.clone()).or_insert(pause);
        } else {
            session
                .execute("DELETE FROM pause WHERE scope = $1", &[&subject.as_bytes()])
                .await?;
            book.pauses.remove(scope);
        }
        if let PauseScope::Key(key) = scope {
            book.refresh_key(key).await?;
        }
    }
    Ok((was_held_back, book.pauses.into_keys().collect()))
}

pub(super) async fn import(session: &Session, copies: &[MessageCopy], now: Timestamp) -> Result<usize, Failure> {
    let keys: Vec<_> = copies.iter().map(|copy| digest(&copy.message.order_key)).collect();
    let scopes: Vec<_> = copies.iter().map(|copy| copy.message.scope).collect();
    let ids: Vec<_> = copies.iter().map(|copy| copy.message.id.clone()).collect();
    let mut book = Book::open(session, &keys, &[]).await?;
    book.know(&scopes, &ids).await?;
    let seqs = book.reserve(copies.len()).await?;
    let mut taken = 0;
    let mut notices = Vec::new();
    for (copy, seq) in copies.iter().zip(seqs) {
        if book.known(&copy.message).is_some() {
            continue;
        }
        taken += 1;
        let standing = copy.standing.clone().without_lease(now);
        let message = NewMessage {
            is_in_doubt: false,
            ..copy.message.clone()
        };
        let place = book.insert(seq, message, copy.has_request, copy.admitted, &standing, now);
        for attempt in &copy.attempts {
            book.attempted(place, attempt.clone());
        }
        if let Some(response) = &copy.response {
            book.keep_response(place, response.clone());
        }
        for (edition, former) in (0_i32..).zip(&copy.former) {
            keep_former(session, seq, edition, former).await?;
        }
        for NoticeView { notice, standing } in copy.notices.iter().cloned() {
            let standing = standing.without_lease();
            notices.push((seq, NoticeView { notice, standing }));
        }
    }
    book.close().await?;
    outbox::keep(session, &notices).await?;
    Ok(taken)
}

async fn keep_former(session: &Session, seq: i64, edition: i32, former: &StoredRequest) -> Result<(), Failure> {
    let sql = "INSERT INTO former_request (seq, edition, method, path_and_query, idempotency_key, headers, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (method, path, key) = (
        text(&former.method),
        text(&former.path_and_query),
        text(&former.idempotency_key),
    );
    let (headers, body) = (fields::encode(&former.headers), &former.body[..]);
    session
        .execute(sql, &[&seq, &edition, &method, &path, &key, &headers, &body])
        .await?;
    Ok(())
}

pub(super) async fn enter(
    session: &Session,
    by: &Actor,
    act: &str,
    subject: &str,
    detail: String,
    now: Timestamp,
) -> Result<(), Failure> {
    let entry = audit::NewEntry {
        actor: by.name.clone(),
        act: act.to_owned(),
        subject: subject.to_owned(),
        reason: by.reason.clone(),
        detail,
    };
    record(session, entry, now).await.map(drop)
}

/// Appends to the audit log, one gateway after the other.
pub(super) async fn record(session: &Session, entry: audit::NewEntry, now: Timestamp) -> Result<audit::Entry, Failure> {
    let lock = "SELECT pg_advisory_xact_lock(hashtext('crossdock audit'), hashtext(current_schema()))";
    session.query(lock, &[]).await?;
    // Before it is sealed: what is read back has to verify.
    let entry = audit::NewEntry {
        actor: text(&entry.actor),
        act: text(&entry.act),
        subject: text(&entry.subject),
        reason: text(&entry.reason),
        detail: text(&entry.detail),
    };
    let entry = read::audit_head(session).await?.append(entry, now);
    let sql = "INSERT INTO audit (number, at, actor, act, subject, reason, detail, previous, digest)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    session
        .execute(
            sql,
            &[
                &entry.number.cast_signed(),
                &micros(entry.at),
                &entry.actor,
                &entry.act,
                &entry.subject,
                &entry.reason,
                &entry.detail,
                &&entry.previous[..],
                &&entry.digest[..],
            ],
        )
        .await?;
    Ok(entry)
}

/// Whether a commit of unknown outcome entered it.
pub(super) async fn was_entered(
    session: &Session,
    by: &Actor,
    act: &str,
    subject: &str,
    now: Timestamp,
) -> Result<bool, Failure> {
    let sql = "SELECT FROM audit WHERE subject = $1 AND act = $2 AND actor = $3 AND at = $4";
    let found = session
        .query(sql, &[&text(subject), &text(act), &text(&by.name), &micros(now)])
        .await?;
    Ok(!found.is_empty())
}

/// The entry that a commit of unknown outcome made.
pub(super) async fn recorded(
    session: &Session,
    entry: &audit::NewEntry,
    now: Timestamp,
) -> Result<Option<audit::Entry>, Failure> {
    let all = read::audit_of(session, &text(&entry.subject)).await?;
    let is_it = |known: &audit::Entry| known.act == text(&entry.act) && known.at.as_microsecond() == micros(now);
    Ok(all.into_iter().rfind(is_it))
}
