//! Whatever bytes stand in the file of a store, or in a file that is to be imported, they are read or refused.
//!
//! The first byte chooses. Even: the rest is a line of an exported queue. Odd: the rest is written over a sound store,
//! in pieces, each with its place (3 bytes) and its length (1 byte).
#![no_main]

use std::{fs, path::PathBuf, sync::OnceLock, time::Duration};

use crossdock::admin::queue::{read_copy, write_copy};
use crossdock::queue::{Archive, MessageCopy, MessageFilter, MessageLog as _, Salvage, Salvaged, SqliteLog};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const LINES: &str = include_str!("../seeds/store/lines");
const QUOTA: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| match bytes.split_first() {
    Some((first, rest)) if first % 2 == 0 => line(rest),
    Some((_, rest)) => store(rest),
    None => {}
});

fn line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read_copy(text) {
        Ok(copy) => assert_eq!(read_copy(&write_copy(&copy)), Ok(copy), "what was read is written"),
        Err(wrong) => assert!(!wrong.is_empty()),
    }
}

fn store(mut pieces: &[u8]) {
    let (folder, sound) = sound();
    let mut file = sound.clone();
    while let Some(([place @ .., length], rest)) = pieces.split_first_chunk::<4>() {
        let place = place.iter().fold(0, |place, byte| place << 8 | usize::from(*byte)) % file.len();
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let end = file.len().min(place + piece.len());
        file[place..end].copy_from_slice(&piece[..end - place]);
        pieces = rest;
    }
    for name in ["queue.db-wal", "queue.db-shm"] {
        let _ = fs::remove_file(folder.join(name));
    }
    fs::write(folder.join("queue.db"), &file).expect("a file");
    if let Ok(archive) = Archive::open(folder) {
        let _ = archive.list(&MessageFilter::default(), None, 50);
        let _ = archive.stats(Timestamp::UNIX_EPOCH);
        let _ = archive.export(None, 50);
        let _ = archive.audit(0, 50);
    }
    if let Ok(salvage) = Salvage::open(folder) {
        for message in salvage {
            match message {
                Salvaged::Whole(copy) => assert_eq!(read_copy(&write_copy(&copy)), Ok(*copy)),
                Salvaged::Lost(lost) => assert!(!lost.cause.is_empty()),
            }
        }
    }
    if let Ok(log) = SqliteLog::open(folder, QUOTA) {
        let _ = wait(log.claim("erp", 9, Duration::from_secs(9), Timestamp::UNIX_EPOCH));
        let _ = wait(log.due());
        let _ = wait(log.sweep(Duration::ZERO, Timestamp::MAX));
        let _ = wait(log.list(MessageFilter::default(), None, 50));
    }
}

/// The folder for stores, and the bytes of one that is sound.
fn sound() -> &'static (PathBuf, Vec<u8>) {
    static SOUND: OnceLock<(PathBuf, Vec<u8>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = place.join(format!("crossdock-fuzz-{}", std::process::id()));
        let copies: Vec<MessageCopy> = LINES
            .lines()
            .map(|line| read_copy(line).expect("a seed of this release"))
            .collect();
        let log = SqliteLog::open(&folder, QUOTA).expect("a new store");
        wait(log.import(copies, Timestamp::UNIX_EPOCH)).expect("taken over");
        drop(log);
        // The last connection that closes leaves all in one file.
        let path = folder.join("queue.db");
        let connection = rusqlite::Connection::open(&path).expect("a sound store");
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .expect("folded in");
        drop(connection);
        let saved = Salvage::open(&folder).expect("a sound store").count();
        assert_eq!(saved, LINES.lines().count());
        let bytes = fs::read(path).expect("a sound store");
        (folder, bytes)
    })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}
