//! What only a durable log can get wrong: restarts, crashes, quotas, a store that fails.

use std::{fs, path::Path};

use bytes::Bytes;
use rusqlite::Connection;

use super::*;
use crate::queue::{
    LogError, MessageState, NewMessage, NoticeFilter, NoticeOutcome, Outbox as _, StoredRequest,
    conformance::{Short as _, admit, all_ends, at, attempt, claim, claim_one, created, key, message},
};

const QUOTA: u64 = 16 << 20;
const DAY: Duration = Duration::from_hours(24);

fn open(folder: &Path) -> SqliteLog {
    SqliteLog::open(folder, QUOTA).unwrap()
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    admit(&log, 1, "a", 0).await;
    admit(&log, 2, "a", 0).await;
    attempt(&log, 1, AttemptOutcome::Delivered(created())).await;
    let before = (log.get("m1").await, log.get("m2").await, log.stats(at(9)).await);
    drop(log);

    let log = open(folder.path());
    assert_eq!(
        (log.get("m1").await, log.get("m2").await, log.stats(at(9)).await),
        before
    );
    assert_eq!(log.depth(&key("a")).await, 1);
    assert!(log.find([1; 32]).await.unwrap().is_some());
    assert_eq!(claim_one(&log, 9).await.message, message(2, "a"));
}

#[tokio::test]
async fn a_restart_voids_leases_and_what_was_under_way_is_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for (number, value) in [(1, "a"), (2, "b"), (3, "a")] {
        admit(&log, number, value, u64::from(number)).await;
    }
    let mut leases = claim(&log, 9, 5).await.into_iter().map(|claimed| claimed.lease);
    let (attempted, untouched) = (leases.next().unwrap(), leases.next().unwrap());
    log.begin_attempt(attempted.clone(), at(5)).await.unwrap();
    drop(log);

    let log = open(folder.path());
    for lease in [attempted, untouched] {
        let finished = log.finish(lease, AttemptOutcome::Delivered(created()), at(6)).await;
        assert_eq!(finished, Err(LogError::Fenced));
    }
    let claimed = claim(&log, 9, 6).await;
    let doubts: Vec<_> = claimed
        .iter()
        .map(|c| (c.message.id.as_str(), c.message.is_in_doubt, c.first_sent))
        .collect();
    assert_eq!(doubts, [("m1", true, Some(at(5))), ("m2", false, None)]);
    assert_eq!(claimed[0].lease.epoch, 3);
}

#[tokio::test]
async fn a_late_finish_is_fenced_and_a_test_would_notice_if_it_were_not() {
    for trusts_every_epoch in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        let is_trusting = &log.facts.trusts_every_epoch;
        is_trusting.store(trusts_every_epoch, std::sync::atomic::Ordering::Relaxed);
        admit(&log, 1, "a", 0).await;
        let late = claim_one(&log, 0).await.lease;
        log.begin_attempt(late.clone(), at(1)).await.unwrap();
        // Its attempt takes longer than its lease, and another one is made.
        log.sweep(DAY, at(100)).await.unwrap();
        let lease = claim_one(&log, 100).await.lease;
        log.begin_attempt(lease.clone(), at(101)).await.unwrap();
        let rejected = crate::queue::StoredResponse {
            status: 422,
            ..created()
        };
        let finished = log.finish(late, AttemptOutcome::Rejected(rejected), at(102)).await;
        let ended = log.finish(lease, AttemptOutcome::Delivered(created()), at(103)).await;
        let state = log.get("m1").await.unwrap().unwrap().state;
        let seen = (finished, ended, state);
        let sound = (Err(LogError::Fenced), Ok(()), MessageState::Delivered);
        assert_eq!(seen == sound, !trusts_every_epoch, "{seen:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_at_any_point() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for number in 0..40 {
        admit(&log, number, &(number % 4).to_string(), u64::from(number)).await;
        if number % 3 == 2 {
            let claimed = claim(&log, 1, u64::from(number)).await.remove(0);
            log.begin_attempt(claimed.lease.clone(), at(0)).await.unwrap();
            log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(60))
                .await
                .unwrap();
        }
        // The files as a killed process leaves them; the log of changes is too short to be folded in meanwhile.
        let crashed = tempfile::tempdir().unwrap();
        for name in ["queue.db", "queue.db-wal"] {
            fs::copy(folder.path().join(name), crashed.path().join(name)).unwrap();
        }
        let after_crash = open(crashed.path());
        assert_eq!(after_crash.stats(at(99)).await, log.stats(at(99)).await);
        for known in 0..=number {
            let id = format!("m{known}");
            assert_eq!(after_crash.get(&id).await, log.get(&id).await);
        }
    }
}

#[tokio::test]
async fn two_logs_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let error = SqliteLog::open(folder.path(), QUOTA).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(
        error.to_string().contains(&folder.path().display().to_string()),
        "{error}"
    );
    drop(first);
    open(folder.path());
}

#[test]
fn a_store_of_a_newer_release_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("queue.db");
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 7)
        .unwrap();
    let error = SqliteLog::open(folder.path(), QUOTA).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 7, known: 3, .. }), "{error}");
}

/// A store as the first release left it: one message waits, one is dead, one was under way.
fn write_first_layout(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(schema::LAYOUT_1).unwrap();
    connection
        .execute_batch("PRAGMA application_id = 0x43444B51; PRAGMA user_version = 1;")
        .unwrap();
    for (number, value, state, holds, cause) in [
        (1_u8, "a", "dead", 0, Some("the upstream rejected it with 422")),
        (2, "a", "waiting", 1, None),
        (3, "b", "attempting", 1, None),
        (4, "a", "waiting", 1, None),
    ] {
        let lease = (state == "attempting").then_some(at(99).as_microsecond());
        connection
            .execute(
                "INSERT INTO message VALUES (?1, ?2, ?3, ?3, 'orders', 'createOrder', '1', 'shop', 'erp', ?4, ?10,
                    'order', ?4, ?5, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', ?6, 5, ?7, ?8, 0,
                    1, ?9, ?9, ?9, NULL, ?11, 1, ?12)",
                rusqlite::params![
                    number,
                    format!("m{number}"),
                    [number; 32],
                    value,
                    format!("c{number}"),
                    at(86_400).as_microsecond(),
                    state,
                    holds,
                    at(u64::from(number)).as_microsecond(),
                    // The last one is urgent, and its key with it.
                    i32::from(number != 4),
                    cause,
                    lease
                ],
            )
            .unwrap();
        connection
            .execute(
                "INSERT INTO request VALUES (?1, 'POST', '/orders?dry=0', ?2, x'', ?3)",
                rusqlite::params![number, format!("k{number}"), format!("{{\"n\":{number}}}").as_bytes()],
            )
            .unwrap();
    }
    connection
        .execute("INSERT INTO response VALUES (1, 422, x'', x'')", [])
        .unwrap();
}

#[tokio::test]
async fn a_store_of_an_earlier_release_goes_on() {
    for steps in [&[][..], &[schema::LAYOUT_2]] {
        goes_on(steps).await;
    }
}

/// A store that was taken so many steps from its first layout.
async fn goes_on(steps: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    write_first_layout(&path);
    let connection = Connection::open(&path).unwrap();
    for step in steps {
        connection.execute_batch(step).unwrap();
    }
    connection
        .pragma_update(None, "user_version", if steps.is_empty() { 1 } else { 2 })
        .unwrap();
    drop(connection);
    let log = open(folder.path());
    let dead = log.get("m1").await.unwrap().unwrap();
    assert_eq!((dead.state, dead.deadline), (MessageState::Dead, at(86_400)));
    assert_eq!(dead.failure.unwrap().class, crate::problem::FailureClass::Business);
    assert_eq!(log.get("m3").await.unwrap().unwrap().state, MessageState::InDoubt);
    // What was dead had let go of its key, and does so still.
    assert_eq!((log.depth(&key("a")).await, log.depth(&key("b")).await), (2, 1));
    let claimed = claim(&log, 9, 100).await;
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.message.id.as_str()).collect();
    assert_eq!(ids, ["m2", "m3"]);
    assert_eq!(&claimed[0].message.request.body[..], b"{\"n\":2}");
    assert_eq!(
        (claimed[0].message.max_attempts, claimed[0].message.deadline),
        (5, at(86_400))
    );
    log.subscribe(all_ends());
    log.finish(claimed[0].lease.clone(), AttemptOutcome::Delivered(created()), at(101))
        .await
        .unwrap();
    let notices = log.notices(NoticeFilter::default(), None, 9).await.unwrap().items;
    assert_eq!(notices[0].notice.id, format!("m2_{}", at(101).as_microsecond()));
    drop(log);
    open(folder.path());
}

#[tokio::test]
async fn a_notice_survives_and_a_restart_voids_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.subscribe(all_ends());
    admit(&log, 1, "a", 0).await;
    attempt(&log, 1, AttemptOutcome::Delivered(created())).await;
    let claim = async |log: &SqliteLog| log.claim_notices("shop", 9, DAY, at(9), at(9)).await.unwrap().remove(0);
    let first = claim(&log).await;
    drop(log);

    let log = open(folder.path());
    let sent = log.finish_notice(first.lease, NoticeOutcome::Sent, at(9)).await;
    assert_eq!(sent, Err(LogError::Fenced));
    assert_eq!(claim(&log).await.notice, first.notice);
}

#[test]
fn the_audit_log_cannot_be_rewritten_by_a_statement() {
    let folder = tempfile::tempdir().unwrap();
    let connection = schema::open(&folder.path().join("queue.db"), QUOTA).unwrap();
    connection
        .execute_batch("INSERT INTO audit VALUES (1, 0, 'jo', 'discard', 'm1', '', '', x'', x'')")
        .unwrap();
    for statement in ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"] {
        let error = connection.execute(statement, []).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[test]
fn a_file_of_another_kind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE invoices (number INTEGER)")
        .unwrap();
    let error = SqliteLog::open(folder.path(), QUOTA).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");

    fs::write(
        &path,
        b"not a database, but long enough to be looked at as one".repeat(100),
    )
    .unwrap();
    let error = SqliteLog::open(folder.path(), QUOTA).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_folder_that_cannot_be_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = SqliteLog::open(&file, QUOTA).err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");
    assert!(matches!(
        SqliteLog::open(folder.path(), 1000),
        Err(OpenError::TooSmall { max_bytes: 1000 })
    ));
}

fn bulky(number: u8) -> NewMessage {
    let plain = message(number, &number.to_string());
    let request = StoredRequest {
        body: Bytes::from(vec![b'x'; 16 << 10]),
        ..plain.request.clone()
    };
    NewMessage { request, ..plain }
}

#[tokio::test]
async fn a_full_log_refuses_drains_and_takes_messages_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(folder.path(), 1 << 20).unwrap();
    let mut stored = 0;
    while log.put(bulky(stored), at(0)).await != Err(LogError::Full) {
        stored += 1;
    }
    assert!((30..=60).contains(&stored), "{stored}");
    assert_eq!(log.health(), Health::Full);
    assert!(log.get(&format!("m{stored}")).await.unwrap().is_none());

    for claimed in claim(&log, 100, 1).await {
        log.begin_attempt(claimed.lease.clone(), at(1)).await.unwrap();
        log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(2))
            .await
            .unwrap();
    }
    assert_eq!(
        log.stats(at(3)).await.unwrap().in_state(MessageState::Delivered),
        u64::from(stored)
    );
    assert_eq!(log.health(), Health::Ok);
    log.put(bulky(stored), at(3)).await.unwrap();
}

#[tokio::test]
async fn what_does_not_fit_does_not_take_its_group_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(folder.path(), 1 << 20).unwrap();
    let huge = NewMessage {
        request: StoredRequest {
            body: Bytes::from(vec![b'x'; 2 << 20]),
            ..bulky(2).request
        },
        ..bulky(2)
    };
    let (first, second, third) = tokio::join!(log.put(bulky(1), at(0)), log.put(huge, at(0)), log.put(bulky(3), at(0)));
    assert_eq!(
        (first, second, third),
        (Ok(Admitted::New(None)), Err(LogError::Full), Ok(Admitted::New(None)))
    );

    // A response is not refused for the quota's last tenth, but it cannot go beyond the quota either.
    let leases = claim(&log, 2, 1).await;
    let large = crate::queue::StoredResponse {
        body: Bytes::from(vec![b'y'; 2 << 20]),
        ..created()
    };
    let (large, small) = tokio::join!(
        log.finish(leases[0].lease.clone(), AttemptOutcome::Delivered(large), at(2)),
        log.finish(leases[1].lease.clone(), AttemptOutcome::Delivered(created()), at(2)),
    );
    assert_eq!((large, small), (Err(LogError::Full), Ok(())));
    log.finish(leases[0].lease.clone(), AttemptOutcome::Delivered(created()), at(2))
        .await
        .unwrap();
    assert_eq!(log.health(), Health::Ok);
}

#[tokio::test]
async fn a_store_that_failed_acknowledges_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    admit(&log, 1, "a", 0).await;
    let path = folder.path().join("queue.db");
    let vandal = Connection::open(&path).unwrap();
    vandal.execute_batch("ALTER TABLE request RENAME TO elsewhere").unwrap();
    let poisoned = log.put(message(2, "a"), at(1)).await;
    assert!(matches!(poisoned, Err(LogError::Poisoned(_))), "{poisoned:?}");
    assert!(matches!(log.health(), Health::Poisoned(_)));

    // Even when the cause is gone: what the process believes may no longer be what is on disk.
    vandal.execute_batch("ALTER TABLE elsewhere RENAME TO request").unwrap();
    drop(vandal);
    assert_eq!(log.put(message(3, "b"), at(1)).await.err(), poisoned.clone().err());
    assert_eq!(log.find([1; 32]).await.err(), poisoned.clone().err());
    assert_eq!(log.sweep(DAY, at(1)).await.err(), poisoned.err());
    drop(log);

    let log = open(folder.path());
    assert_eq!(log.health(), Health::Ok);
    assert_eq!(
        (
            log.stats(at(1)).await.unwrap().waiting(crate::queue::Lane::Standard),
            log.depth(&key("a")).await
        ),
        (1, 1)
    );
    admit(&log, 2, "a", 2).await;
}

#[tokio::test]
async fn a_broken_page_poisons_the_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("queue.db");
    Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Every page but the first, which holds the list of tables.
    bytes[4096..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    match SqliteLog::open(folder.path(), QUOTA) {
        Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
        Ok(log) => {
            assert!(matches!(
                log.put(message(1, "a"), at(0)).await,
                Err(LogError::Poisoned(_))
            ));
            assert!(matches!(log.health(), Health::Poisoned(_)));
        }
    }
}

#[tokio::test]
async fn a_dropped_call_is_done_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    {
        let call = log.put(message(1, "a"), at(0));
        tokio::pin!(call);
        // Polled once: handed to the writer, then forgotten.
        assert!(std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context).is_pending())).await);
    }
    let Ok(Admitted::Replay(view)) = log.put(message(1, "a"), at(1)).await else {
        panic!("it was not stored")
    };
    assert_eq!((view.state, view.admitted), (MessageState::Queued, at(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_share_commits_and_each_gets_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open(folder.path()));
    let calls: Vec<_> = (0..=255)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                admit(&*log, number, "a", 0).await;
                assert!(log.depth(&key("a")).await > 0);
                log.get(&format!("m{number}")).await.unwrap().unwrap()
            })
        })
        .collect();
    let mut ahead = Vec::new();
    for call in calls {
        ahead.push(call.await.unwrap().ahead);
    }
    ahead.sort_unstable();
    assert_eq!(ahead, (0..256).collect::<Vec<_>>());
    assert_eq!(log.depth(&key("a")).await, 256);
}

#[test]
fn the_settings_that_durability_needs_are_on() {
    let folder = tempfile::tempdir().unwrap();
    let connection = schema::open(&folder.path().join("queue.db"), QUOTA).unwrap();
    let value = |name| schema::pragma(&connection, name).unwrap();
    assert_eq!(["synchronous", "foreign_keys", "cell_size_check"].map(value), [2, 1, 1]);
    assert_eq!(
        ["wal_autocheckpoint", "max_page_count", "auto_vacuum"].map(value),
        [0, 4096, 2]
    );
    let mode: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

/// A small disk of its own, where the machine lets us have one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_messages_and_delivers_the_others() {
    let Some(disk) = SmallDisk::mount("6m") else {
        tracing::warn!("no small disk can be mounted here");
        return;
    };
    // The quota is larger than the disk.
    let log = SqliteLog::open(disk.0.path(), QUOTA).unwrap();
    let mut stored = 20;
    for number in 0..stored {
        log.put(bulky(number), at(0)).await.unwrap();
    }
    // Somebody else takes what was left.
    let other = disk.0.path().join("other");
    let mut taken = File::create(&other).unwrap();
    while io::Write::write_all(&mut taken, &[0; 4096]).is_ok() {}
    drop(taken);
    while log.put(bulky(stored), at(0)).await != Err(LogError::Full) {
        stored += 1;
    }
    assert_eq!(log.health(), Health::Full);
    for claimed in claim(&log, 100, 1).await {
        log.begin_attempt(claimed.lease.clone(), at(1)).await.unwrap();
        log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(2))
            .await
            .unwrap();
    }
    let delivered = log.stats(at(3)).await.unwrap().in_state(MessageState::Delivered);
    assert_eq!(delivered, u64::from(stored), "everything that was taken is delivered");
    assert_eq!(log.health(), Health::Full);

    fs::remove_file(&other).unwrap();
    log.sweep(Duration::ZERO, at(9)).await.unwrap();
    while log.health() == Health::Full {
        log.sweep(Duration::ZERO, at(10)).await.unwrap();
    }
    log.put(bulky(stored), at(11)).await.unwrap();
}

#[tokio::test]
async fn disk_is_given_back_after_a_drain() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(folder.path(), 64 << 20).unwrap();
    let size = || fs::metadata(folder.path().join("queue.db")).unwrap().len();
    for round in 0..5_u32 {
        for number in 0..200 {
            let plain = bulky(number);
            let id = format!("{round}-{number}");
            let mut scope = [number; 32];
            scope[..4].copy_from_slice(&round.to_be_bytes());
            let order_key = key(&id);
            let new = NewMessage {
                id,
                scope,
                order_key,
                ..plain
            };
            log.put(new, at(0)).await.unwrap();
        }
    }
    for claimed in claim(&log, 1000, 1).await {
        log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(2))
            .await
            .unwrap();
    }
    // A sweep is what comes by when nobody wants anything.
    let large = 1000 * (16 << 10);
    for second in 0..200 {
        log.sweep(Duration::ZERO, at(10 + second)).await.unwrap();
    }
    assert_eq!(log.stats(at(999)).await.unwrap().groups.len(), 0);
    assert!(size() < large / 2, "{} bytes are left", size());
}
