//! The tables, and connections with the settings that durability needs.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// The layout this release writes. Each older one has a step in [`migrate`].
const LAYOUT: i64 = 3;

/// Marks the file as a queue's store: "CDKQ".
const APPLICATION: i64 = 0x4344_4B51;

pub(super) const PAGE_BYTES: i64 = 4096;

/// Bodies are apart, so that the pages with what is searched stay dense. `head` has one row for each order key that is
/// held: its first message, its most urgent lane, and when that message is due (null while it is leased or parked).
/// Times are microseconds since 1970.
pub(super) const LAYOUT_1: &str = "
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    scope BLOB NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    api TEXT NOT NULL,
    operation TEXT NOT NULL,
    version TEXT NOT NULL,
    channel TEXT NOT NULL,
    upstream TEXT NOT NULL,
    order_value TEXT NOT NULL,
    lane INTEGER NOT NULL,
    transaction_type TEXT,
    transaction_key TEXT,
    correlation TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    state TEXT NOT NULL,
    holds INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    first_sent INTEGER,
    admitted INTEGER NOT NULL,
    next_at INTEGER,
    finished INTEGER,
    cause TEXT,
    epoch INTEGER NOT NULL,
    lease_until INTEGER
) STRICT;
CREATE INDEX message_order ON message (upstream, order_value, seq) WHERE holds = 1;
CREATE INDEX message_lane ON message (upstream, order_value, lane) WHERE holds = 1;
CREATE INDEX message_deadline ON message (deadline) WHERE holds = 1 AND next_at IS NOT NULL;
CREATE INDEX message_lease ON message (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX message_finished ON message (finished) WHERE finished IS NOT NULL;
CREATE INDEX message_state ON message (state, lane, admitted);

CREATE TABLE request (
    seq INTEGER PRIMARY KEY REFERENCES message ON DELETE CASCADE,
    method TEXT NOT NULL,
    path_and_query TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE response (
    seq INTEGER PRIMARY KEY REFERENCES message ON DELETE CASCADE,
    status INTEGER NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE attempt (
    seq INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    number INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    result TEXT NOT NULL,
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE head (
    upstream TEXT NOT NULL,
    order_value TEXT NOT NULL,
    seq INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    ready_at INTEGER,
    PRIMARY KEY (upstream, order_value)
) STRICT, WITHOUT ROWID;
CREATE INDEX head_ready ON head (upstream, lane, ready_at, seq) WHERE ready_at IS NOT NULL;
";

/// Decisions of persons, pauses, the audit log, and turns of channels. What was dead before has let go of its key.
///
/// `deadline` and `max_attempts` stay as admitted; `due_by` and `attempts_allowed` move when a person has a message tried
/// again. Bodies may be sealed, by the key of that id.
pub(super) const LAYOUT_2: &str = "
ALTER TABLE message ADD COLUMN head_of_line TEXT NOT NULL DEFAULT 'skip';
ALTER TABLE message ADD COLUMN synchronous INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN breaks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN last_sent INTEGER;
ALTER TABLE message ADD COLUMN due_by INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN attempts_allowed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN class TEXT;
UPDATE message SET due_by = deadline, attempts_allowed = max_attempts, last_sent = first_sent;
UPDATE message SET class = CASE WHEN EXISTS (SELECT 1 FROM response WHERE response.seq = message.seq)
    THEN 'business' ELSE 'technical' END WHERE cause IS NOT NULL;
DROP INDEX message_order;
DROP INDEX message_lane;
DROP INDEX message_deadline;
DROP INDEX message_state;
CREATE INDEX message_order ON message (order_value, upstream, lane, seq) WHERE holds = 1;
CREATE INDEX message_deadline ON message (due_by) WHERE next_at IS NOT NULL;
CREATE INDEX message_state ON message (state, seq);
ALTER TABLE request ADD COLUMN key_id TEXT;
ALTER TABLE response ADD COLUMN key_id TEXT;

CREATE TABLE former_request (
    seq INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    edition INTEGER NOT NULL,
    method TEXT NOT NULL,
    path_and_query TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    key_id TEXT,
    PRIMARY KEY (seq, edition)
) STRICT;

DROP TABLE head;
CREATE TABLE head (
    upstream TEXT NOT NULL,
    order_value TEXT NOT NULL,
    seq INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    channel TEXT NOT NULL,
    api TEXT NOT NULL,
    ready_at INTEGER,
    PRIMARY KEY (upstream, order_value)
) STRICT, WITHOUT ROWID;
CREATE INDEX head_ready ON head (upstream, lane, channel, api, ready_at, seq) WHERE ready_at IS NOT NULL;
INSERT INTO head (upstream, order_value, seq, lane, channel, api, ready_at)
    SELECT upstream, order_value, min(seq), lane, channel, api, next_at FROM message WHERE holds = 1
    GROUP BY upstream, order_value;
UPDATE head SET lane = (SELECT min(lane) FROM message WHERE message.upstream = head.upstream
    AND message.order_value = head.order_value AND holds = 1);

CREATE TABLE pause (
    scope TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous BLOB NOT NULL,
    digest BLOB NOT NULL
) STRICT;
CREATE INDEX audit_subject ON audit (subject);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
";

/// Notices: what channels are told of how messages ended. `next_try` is there exactly while one waits.
const LAYOUT_3: &str = "
CREATE TABLE notice (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    id TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    ending TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    class TEXT,
    cause TEXT,
    finished INTEGER NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    since INTEGER NOT NULL,
    next_try INTEGER,
    leased INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    ended INTEGER,
    error TEXT
) STRICT;
CREATE INDEX notice_message ON notice (seq, number);
CREATE INDEX notice_due ON notice (channel, next_try, number) WHERE next_try IS NOT NULL;
CREATE INDEX notice_open ON notice (channel, state, since) WHERE state <> 'sent';
";

/// The one connection that writes.
pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::of(path, source);
    let connection = Connection::open(path).map_err(failed)?;
    // What the file is comes before anything that would change it.
    let application = pragma(&connection, "application_id").map_err(failed)?;
    let layout = pragma(&connection, "user_version").map_err(failed)?;
    let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if objects.map_err(failed)? > 0 && application != APPLICATION {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if layout > LAYOUT {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: layout,
            known: LAYOUT,
        });
    }
    configure(&connection, max_bytes)
        .and_then(|()| migrate(&connection, layout))
        .map_err(failed)?;
    Ok(connection)
}

/// A connection that can only read; it sees what is committed.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// That it can be read as it is.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    let failed = |source| OpenError::of(&path, source);
    if pragma(connection, "application_id").map_err(failed)? != APPLICATION {
        return Err(OpenError::Foreign { path });
    }
    match pragma(connection, "user_version").map_err(failed)? {
        LAYOUT => Ok(()),
        found if found > LAYOUT => Err(OpenError::Newer {
            path,
            found,
            known: LAYOUT,
        }),
        found => Err(OpenError::Older {
            path,
            found,
            known: LAYOUT,
        }),
    }
}

/// Another connection that writes: it folds in the write-ahead log beside the first one, and changes no row.
pub(super) fn open_for_folding(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    Ok(connection)
}

/// Pages in the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) pages: i64,
    /// Those of them that are in the store as well.
    pub(super) folded: i64,
}

/// Looks at the write-ahead log.
pub(super) fn log(connection: &Connection) -> rusqlite::Result<Log> {
    checkpoint(connection, "NOOP")
}

/// Folds the write-ahead log into the store, as far as no reader is in the way.
pub(super) fn fold(connection: &Connection) -> rusqlite::Result<Log> {
    checkpoint(connection, "PASSIVE")
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Log> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| {
            Ok(Log {
                pages: row.get(1)?,
                folded: row.get(2)?,
            })
        })
}

/// Pages given back at a time, so that callers do not wait long.
const VACUUM_PAGES: i64 = 500;
/// Free pages that are kept: they will be used again.
const KEPT_PAGES: i64 = 1_024;

/// Gives some free pages back to the disk, where many are free. Whether there were as many.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let (free, all) = (pragma(connection, "freelist_count")?, pragma(connection, "page_count")?);
    if free <= KEPT_PAGES || free < all / 4 {
        return Ok(false);
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    drop(statement);
    // A store of the first release keeps what it has.
    Ok(pragma(connection, "freelist_count")? < free)
}

/// Bytes in use.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<i64> {
    Ok((pragma(connection, "page_count")? - pragma(connection, "freelist_count")?) * PAGE_BYTES)
}

/// What is left of a write-ahead log that grew larger, once it is folded in.
const LOG_BYTES: i64 = 16 << 20;

/// Pages kept in memory by the writer, in KiB.
const CACHE_KIB: i64 = 32 << 10;

/// How long another program that looks into the file may block us.
const PATIENCE: Duration = Duration::from_secs(10);

fn configure(connection: &Connection, max_bytes: u64) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Its indexes are written all over: a page that is not at hand costs a read for each message.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // Counts for a new store only; it gives pages back that way, and an older one keeps them for itself.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // The writer does it between commits, when nobody waits for an answer.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / PAGE_BYTES;
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

/// One step for each layout, each in a transaction of its own: a crash in between leaves a layout that is known.
fn migrate(connection: &Connection, layout: i64) -> rusqlite::Result<()> {
    for (number, step) in (1..).zip([LAYOUT_1, LAYOUT_2, LAYOUT_3]) {
        if layout < number {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 {step}
                 PRAGMA application_id = {APPLICATION};
                 PRAGMA user_version = {number};
                 COMMIT;"
            ))?;
        }
    }
    Ok(())
}

pub(super) fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&format!("PRAGMA {name}"))?
        .query_row([], |row| row.get(0))
}
