//! Partitions by day: made when they are needed, given back when nothing in them is.

use jiff::Timestamp;
use tracing::{debug, info};

use super::{
    codec::day,
    session::{Database, Failure, Session},
};
use crate::queue::LogError;

/// What is kept by day, and which messages of a day need it.
const TABLES: [(&str, &str); 3] = [("request", "AND has_request"), ("response", ""), ("attempt", "")];

/// An emptied partition of this size is given back before its day has passed.
const WORTH_IT: i64 = 64 << 20;

/// Makes sure of a day's partitions, in a transaction of its own: what it locks is not for long.
pub(super) async fn make(database: &std::sync::Arc<Database>, day: i32) -> Result<(), LogError> {
    if database.knows_day(day) {
        return Ok(());
    }
    let mut tries = database.tries();
    loop {
        let session = tries.begin().await?;
        let made = make_all(&session, day).await;
        if let Some(ended) = tries.end(session, made).await {
            ended?;
            database.has_day(day);
            return Ok(());
        }
    }
}

async fn make_all(session: &Session, day: i32) -> Result<(), Failure> {
    let lock = "SELECT pg_advisory_xact_lock(hashtext('crossdock days'), hashtext(current_schema()))";
    session.query(lock, &[]).await?;
    for (table, _) in TABLES {
        let found = session
            .query("SELECT to_regclass($1) IS NOT NULL", &[&format!("{table}_{day}")])
            .await?;
        if found.first().map(|row| row.try_get::<_, bool>(0)).transpose()? != Some(true) {
            // Attached rather than made in place: nobody who reads or writes the other days has to wait.
            session
                .batch(&format!(
                    "CREATE TABLE {table}_{day} (LIKE {table} INCLUDING ALL);
                     ALTER TABLE {table} ATTACH PARTITION {table}_{day} FOR VALUES IN ({day});"
                ))
                .await?;
        }
    }
    Ok(())
}

/// Drops partitions of which nothing is needed any more. What is in use at the moment is left for the next time.
pub(super) async fn drop_unused(session: &Session, now: Timestamp) -> Result<usize, Failure> {
    let today = day(now);
    let mut dropped = 0;
    session.batch("SET LOCAL lock_timeout TO '500ms'").await?;
    for (table, needed) in TABLES {
        let sql = "SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
            WHERE inhparent = $1::text::regclass";
        for row in session.query(sql, &[&table]).await? {
            let (name, bytes): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let Some(day) = name.rsplit_once('_').and_then(|(_, day)| day.parse::<i32>().ok()) else {
                continue;
            };
            // Yesterday's may still be written to by a gateway whose day ends later.
            let is_over = day < today - 1;
            if !is_over && (bytes < WORTH_IT || table == "attempt") {
                continue;
            }
            let is_needed = format!("SELECT FROM message WHERE day = {day} {needed} LIMIT 1");
            if !session.query(&is_needed, &[]).await?.is_empty() {
                continue;
            }
            session.batch("SAVEPOINT day").await?;
            match give_back(session, &name, is_over, &is_needed).await {
                Ok(is_gone) => {
                    session.batch("RELEASE SAVEPOINT day").await?;
                    if is_gone {
                        info!(partition = name, bytes, "a day's partition was given back");
                        dropped += 1;
                    }
                }
                Err(failure) => {
                    debug!(partition = name, ?failure, "a partition is in use");
                    session.batch("ROLLBACK TO SAVEPOINT day").await?;
                }
            }
        }
    }
    Ok(dropped)
}

async fn give_back(session: &Session, name: &str, is_over: bool, is_needed: &str) -> Result<bool, Failure> {
    session
        .batch(&format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))
        .await?;
    // Nobody writes to it now: this time the answer is final.
    if !session.query(is_needed, &[]).await?.is_empty() {
        return Ok(false);
    }
    let how = if is_over { "DROP TABLE" } else { "TRUNCATE TABLE" };
    session.batch(&format!("{how} {name}")).await?;
    Ok(true)
}
