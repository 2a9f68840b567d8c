//! Stores with pages overwritten, at each place of the file: nothing panics, and nothing is lost without a word.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rusqlite::Connection;

use super::*;
use crate::queue::{
    CheckResult, NewMessage, StoredRequest,
    conformance::{Short as _, at, claim, created, message},
};

const QUOTA: u64 = 64 << 20;
const PAGE: usize = 4096;

/// A store of messages with bodies that take most of a page, in one file; and what is in it.
async fn sound() -> (Vec<u8>, BTreeMap<String, MessageCopy>) {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(folder.path(), QUOTA).unwrap();
    for number in 0..120 {
        let plain = message(number, &(number % 40).to_string());
        let request = StoredRequest {
            body: Bytes::from(vec![number; 1500]),
            ..plain.request.clone()
        };
        log.put(NewMessage { request, ..plain }, at(0)).await.unwrap();
    }
    for claimed in claim(&log, 20, 1).await {
        log.begin_attempt(claimed.lease.clone(), at(1)).await.unwrap();
        log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(2))
            .await
            .unwrap();
    }
    let all = log.export(None, 1000).await.unwrap().items;
    drop(log);
    let path = folder.path().join("queue.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(connection);
    let all = all.into_iter().map(|copy| (copy.message.id.clone(), copy)).collect();
    (fs::read(path).unwrap(), all)
}

/// What a salvage of these bytes brings: saved messages, how many are told as lost, and what could not be read whole.
/// `None` where not even the list of tables can be read.
fn salvaged(folder: &Path, bytes: &[u8]) -> Option<(Vec<MessageCopy>, usize, Vec<String>)> {
    for name in ["queue.db-wal", "queue.db-shm"] {
        let _ = fs::remove_file(folder.join(name));
    }
    fs::write(folder.join("queue.db"), bytes).unwrap();
    let salvage = match Salvage::open(folder) {
        Ok(salvage) => salvage,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let faults = salvage.faults().to_vec();
    let (mut saved, mut lost) = (Vec::new(), 0);
    for message in salvage {
        match message {
            Salvaged::Whole(copy) => saved.push(*copy),
            Salvaged::Lost(message) => {
                assert!(!message.cause.is_empty());
                lost += 1;
            }
        }
    }
    Some((saved, lost, faults))
}

fn damage(bytes: &mut [u8], page: usize, kind: usize, random: &mut fastrand::Rng) {
    let page = &mut bytes[page * PAGE..(page + 1) * PAGE];
    match kind {
        0 => page.fill(0),
        1 => page.fill(0xA5),
        2 => random.fill(page),
        // The first half, which has what the rest is found by.
        _ => page[..PAGE / 2].fill(0xFF),
    }
}

#[tokio::test]
async fn a_damaged_page_takes_what_is_on_it_and_each_message_of_it_is_told() {
    let (bytes, all) = sound().await;
    let folder = tempfile::tempdir().unwrap();
    let (saved, lost, faults) = salvaged(folder.path(), &bytes).unwrap();
    assert_eq!((saved.len(), lost, faults.len()), (all.len(), 0, 0));
    let mut random = fastrand::Rng::with_seed(1);
    let (mut unreadable, mut roots) = (0, std::collections::BTreeSet::new());
    for page in 0..bytes.len() / PAGE {
        for kind in 0..4 {
            let mut bytes = bytes.clone();
            damage(&mut bytes, page, kind, &mut random);
            let Some((saved, lost, faults)) = salvaged(folder.path(), &bytes) else {
                unreadable += 1;
                continue;
            };
            for copy in &saved {
                assert_eq!(
                    Some(copy),
                    all.get(&copy.message.id),
                    "page {page}, {kind}: saved as it was"
                );
            }
            assert_eq!(
                saved.len() + lost,
                all.len(),
                "page {page}, {kind}: each is saved or told; {faults:?}"
            );
            if saved.is_empty() {
                roots.insert(page);
            }
        }
    }
    // The first page has the list of tables; a second one may go on with it.
    assert!(unreadable <= 3 * 4, "{unreadable}");
    // All of a table hangs on its root, and only that.
    let path = folder.path().join("sound");
    fs::write(&path, &bytes).unwrap();
    let connection = Connection::open(&path).unwrap();
    let mut statement = connection
        .prepare("SELECT rootpage - 1 FROM sqlite_schema WHERE rootpage > 0")
        .unwrap();
    let known = statement.query_map([], |row| row.get::<_, u32>(0)).unwrap();
    let known: std::collections::BTreeSet<_> = known.map(|page| page.unwrap() as usize).collect();
    assert!(roots.is_subset(&known), "{roots:?} of {known:?}");
}

#[tokio::test]
async fn a_store_with_many_damaged_pages_says_how_much_is_missing() {
    let (bytes, all) = sound().await;
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..60 {
        let mut bytes = bytes.clone();
        for _ in 0..random.usize(1..12) {
            let page = random.usize(3..bytes.len() / PAGE);
            damage(&mut bytes, page, random.usize(0..4), &mut random);
        }
        let Some((saved, lost, faults)) = salvaged(folder.path(), &bytes) else {
            continue;
        };
        assert!(saved.iter().all(|copy| Some(copy) == all.get(&copy.message.id)));
        let told = saved.len() + lost;
        assert!(
            told == all.len() || !faults.is_empty(),
            "{told} of {}: {faults:?}",
            all.len()
        );
    }
}

#[tokio::test]
async fn a_gateway_refuses_a_damaged_store_or_finds_it_out_in_the_background() {
    let (bytes, all) = sound().await;
    let mut random = fastrand::Rng::with_seed(3);
    let (mut refused, mut found, mut unnoticed) = (0, 0, Vec::new());
    for page in 0..bytes.len() / PAGE {
        let mut bytes = bytes.clone();
        damage(&mut bytes, page, page % 4, &mut random);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("queue.db"), &bytes).unwrap();
        let log = match SqliteLog::open(folder.path(), QUOTA) {
            Ok(log) => log,
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        OpenError::Damaged { .. } | OpenError::Foreign { .. } | OpenError::Store { .. }
                    ),
                    "{error}"
                );
                refused += 1;
                continue;
            }
        };
        let since = Instant::now();
        while log.checked().is_none() {
            assert!(since.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match log.checked().unwrap().result {
            CheckResult::Damaged(fault) => {
                found += 1;
                assert!(!fault.is_empty());
                let Health::Poisoned(cause) = log.health() else {
                    panic!("page {page}: {:?}", log.health())
                };
                assert!(cause.contains("--salvage"), "{cause}");
                assert!(log.put(message(200, "a"), at(9)).await.is_err());
            }
            CheckResult::Sound => unnoticed.push(page),
            CheckResult::Unfinished(why) => panic!("{why}"),
        }
    }
    assert!(refused > 0 && found > 0, "{refused} refused, {found} found");
    // Pages that hold nothing at the moment do not count.
    assert!(
        unnoticed.len() * PAGE * 10 < bytes.len(),
        "{unnoticed:?} of {} with {} messages",
        bytes.len() / PAGE,
        all.len()
    );
}

#[tokio::test]
async fn a_sound_store_is_said_to_be_sound_and_a_dropped_one_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(SqliteLog::open(folder.path(), QUOTA).unwrap());
    let since = Instant::now();
    while log.checked().is_none() {
        assert!(since.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(log.checked().unwrap().result, CheckResult::Sound);
    drop(log);
    assert!(since.elapsed() < Duration::from_secs(30));
}
