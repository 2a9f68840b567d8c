//! Reads what can be read of a damaged store.
//!
//! Rows are found by their place, from every table and index that tells of them, so that a page that is gone takes with
//! it what is on it and nothing else. What is known to have been there and cannot be read is told, one by one. The
//! engine keeps no checksums of pages: bytes that changed inside a value, and what the write-ahead log held behind a
//! damaged place in it, cannot be told from what was meant.

use std::{collections::BTreeSet, fs::File, path::Path};

use rusqlite::Connection;

use super::{OpenError, lock, read, row::Whole, schema};
use crate::queue::{MessageCopy, MessageState};

/// Where places of messages are told.
struct Source {
    name: &'static str,
    /// Behind `FROM`, with a condition to go on from.
    from: &'static str,
    /// As it lies in the file.
    order: &'static str,
}

const fn table(name: &'static str, from: &'static str) -> Source {
    Source {
        name,
        from,
        order: "seq",
    }
}

const fn index(name: &'static str, from: &'static str, order: &'static str) -> Source {
    Source { name, from, order }
}

const TABLES: [Source; 5] = [
    table("messages", "message NOT INDEXED WHERE seq >= ?1"),
    table("requests", "request WHERE seq >= ?1"),
    table("responses", "response WHERE seq >= ?1"),
    table("attempts", "attempt WHERE seq >= ?1"),
    table("former requests", "former_request WHERE seq >= ?1"),
];

const INDEXES: [Source; 5] = [
    index(
        "states",
        "message INDEXED BY message_state WHERE state > '' AND seq >= ?1",
        "state",
    ),
    index(
        "ids",
        "message INDEXED BY sqlite_autoindex_message_1 WHERE id > '' AND seq >= ?1",
        "id",
    ),
    index(
        "scopes",
        "message INDEXED BY sqlite_autoindex_message_2 WHERE scope > x'' AND seq >= ?1",
        "scope",
    ),
    index(
        "held keys",
        "message INDEXED BY message_order WHERE holds = 1 AND seq >= ?1",
        "order_value",
    ),
    index("heads of keys", "head WHERE seq >= ?1", "upstream"),
];

/// Places tried one by one where nothing can be read, before steps get longer.
const SMALL_STEPS: i64 = 100_000;

/// A damaged store, read without changing it.
pub struct Salvage {
    connection: Connection,
    places: std::collections::btree_set::IntoIter<i64>,
    /// What could not be read to its end.
    faults: Vec<String>,
    _lock: File,
}

/// One message of a damaged store.
#[derive(Debug)]
pub enum Salvaged {
    /// All of it.
    Whole(Box<MessageCopy>),
    /// It was there, and is not any more.
    Lost(Box<LostMessage>),
}

/// What is known of a message that could not be saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostMessage {
    /// Its place in the order of admission.
    pub seq: u64,
    /// Where its row could be read: its id, API and order key.
    pub known: Option<(String, String, String)>,
    /// What went wrong.
    pub cause: String,
}

impl Salvage {
    /// Opens the store in `folder`, which no gateway may have open, and looks for all that was in it.
    ///
    /// # Errors
    /// The folder is in use, or not even the list of tables can be read.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("queue.db");
        let failed = |source| OpenError::of(&path, source);
        std::fs::metadata(&path).map_err(|source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        let lock = lock(folder)?;
        let connection = schema::open_for_reading(&path).map_err(failed)?;
        // Damage is to be found where it is, not while a page is taken in.
        connection
            .pragma_update(None, "cell_size_check", false)
            .map_err(failed)?;
        schema::check(&connection, &path)?;
        let (mut places, mut faults, mut damaged) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut last = None;
        for source in TABLES.iter().chain(&INDEXES) {
            if let Err(error) = walk(&connection, source, &mut places) {
                faults.push(format!("{}: {error}", source.name));
                damaged.push(source);
                last = Some(error);
            }
        }
        // Not even the list of tables can be read.
        if places.is_empty()
            && damaged.len() == TABLES.len() + INDEXES.len()
            && let Some(error) = last
        {
            return Err(failed(error));
        }
        // Now it is known how far each has to go.
        for source in damaged {
            if source.order == "seq" {
                beyond(&connection, source, &mut places);
            }
        }
        Ok(Self {
            connection,
            places: places.into_iter(),
            faults,
            _lock: lock,
        })
    }

    /// Which tables and indexes could not be read to their end: with several of them damaged, there may have been
    /// messages that nothing tells of any more.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn message(&self, seq: i64) -> Result<Option<MessageCopy>, LostMessage> {
        let lost = |known: Option<&Whole>, error: &rusqlite::Error| LostMessage {
            seq: seq.cast_unsigned(),
            known: known.map(|whole| {
                let known = &whole.known;
                (known.id.clone(), known.api.clone(), known.key.value.clone())
            }),
            cause: error.to_string(),
        };
        let whole = read::at(&self.connection, seq).map_err(|error| lost(None, &error))?;
        let Some(whole) = whole else { return Ok(None) };
        let copy = read::copy(&self.connection, whole.clone());
        copy.map(Some).map_err(|error| lost(Some(&whole), &error))
    }
}

impl Iterator for Salvage {
    type Item = Salvaged;

    fn next(&mut self) -> Option<Salvaged> {
        let seq = self.places.next()?;
        Some(match self.message(seq) {
            // What is delivered needs no request any more.
            Ok(Some(copy)) if copy.has_request || copy.standing.state == MessageState::Delivered => {
                Salvaged::Whole(Box::new(copy))
            }
            Ok(Some(copy)) => Salvaged::Lost(Box::new(LostMessage {
                seq: seq.cast_unsigned(),
                known: Some((copy.message.id, copy.message.api, copy.message.order_key.value)),
                cause: "its request is gone".to_owned(),
            })),
            Ok(None) => Salvaged::Lost(Box::new(LostMessage {
                seq: seq.cast_unsigned(),
                known: None,
                cause: "its row is gone".to_owned(),
            })),
            Err(lost) => Salvaged::Lost(Box::new(lost)),
        })
    }
}

/// Collects all places that a source tells of, from both ends.
fn walk(connection: &Connection, source: &Source, places: &mut BTreeSet<i64>) -> rusqlite::Result<()> {
    let forwards = collect(connection, source, "ASC", i64::MIN, places);
    if forwards.1.is_err() {
        let _ = collect(connection, source, "DESC", i64::MIN, places);
    }
    forwards.1
}

/// Goes on behind each place that cannot be read, up to the last one known.
fn beyond(connection: &Connection, source: &Source, places: &mut BTreeSet<i64>) {
    let (mut from, mut tries) = (0_i64, 0_i64);
    while from <= places.last().copied().unwrap_or(0) {
        let (last, done) = collect(connection, source, "ASC", from, places);
        if done.is_ok() {
            return;
        }
        tries = if last.is_some() { 0 } else { tries + 1 };
        let step = if tries < SMALL_STEPS { 1 } else { tries };
        from = last.unwrap_or(from).saturating_add(step);
    }
}

/// The last place that was read, and how it ended.
fn collect(
    connection: &Connection,
    source: &Source,
    direction: &str,
    from: i64,
    places: &mut BTreeSet<i64>,
) -> (Option<i64>, rusqlite::Result<()>) {
    let mut last = None;
    let done = (|| {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT seq FROM {} ORDER BY {} {direction}",
            source.from, source.order
        ))?;
        let mut rows = statement.query([from])?;
        while let Some(row) = rows.next()? {
            let place = row.get(0)?;
            places.insert(place);
            last = Some(place);
        }
        Ok(())
    })();
    (last, done)
}
