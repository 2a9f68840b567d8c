//! What only this store has to do.

#[path = "../../../tests/stories/database.rs"]
#[allow(clippy::print_stderr, reason = "a test that tests nothing says so")]
#[allow(dead_code, reason = "the stories use the rest")]
mod database;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use self::database::Server;
use super::PostgresLog;
use crate::{
    config::PostgresSettings,
    queue::{
        AttemptOutcome, Health, LogError, MessageLog as _, MessageState, NewMessage, NoticeFilter, NoticeOutcome,
        Outbox as _, PauseScope, SqliteLog, StoredResponse,
        conformance::{Short as _, admit, all_ends, at, attempt, by, claim, claim_one, created, key, message},
    },
};

const DAY: Duration = Duration::from_hours(24);

/// One server for all tests of this process.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

/// A log in a schema of its own.
pub(in crate::queue) struct World {
    pub(in crate::queue) log: PostgresLog,
    settings: PostgresSettings,
    _folder: TempDir,
}

/// A schema that nobody else has.
fn settings(server: &Server) -> PostgresSettings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut settings = PostgresSettings::parse(&server.url(), None).unwrap();
    settings.schema = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    settings.connections = 4;
    settings.lease = Duration::from_mins(1);
    settings
}

impl World {
    /// `None` where there is no server, which was said.
    pub(in crate::queue) async fn new() -> Option<Self> {
        let settings = settings(server()?);
        let folder = tempfile::tempdir().unwrap();
        let log = PostgresLog::open(&settings, folder.path()).await.unwrap();
        Some(Self {
            log,
            settings,
            _folder: folder,
        })
    }
}

#[tokio::test]
async fn gateways_know_how_many_they_are() {
    let Some(first) = World::new().await else { return };
    let until = async |log: &PostgresLog, members| {
        for _ in 0..300 {
            if log.members() == members {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} members, not {members}", log.members());
    };
    until(&first.log, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let second = PostgresLog::open(&first.settings, folder.path()).await.unwrap();
    assert!(second.members() >= 1);
    until(&first.log, 2).await;
    until(&second, 2).await;
    drop(second);
    until(&first.log, 1).await;
}

#[tokio::test]
async fn a_late_finish_is_fenced_and_a_test_would_notice_if_it_were_not() {
    for trusts_every_epoch in [false, true] {
        let Some(world) = World::new().await else { return };
        let folder = tempfile::tempdir().unwrap();
        let other = PostgresLog::open(&world.settings, folder.path()).await.unwrap();
        let is_trusting = &world.log.database.trusts_every_epoch;
        is_trusting.store(trusts_every_epoch, Ordering::Relaxed);
        admit(&world.log, 1, "a", 0).await;
        let late = claim_one(&world.log, 0).await.lease;
        world.log.begin_attempt(late.clone(), at(1)).await.unwrap();
        // The first one sleeps past its lease, and another gateway goes on.
        other.sweep(DAY, at(100)).await.unwrap();
        let lease = claim_one(&other, 100).await.lease;
        other.begin_attempt(lease.clone(), at(101)).await.unwrap();
        let rejected = StoredResponse {
            status: 422,
            ..created()
        };
        let finished = world
            .log
            .finish(late, AttemptOutcome::Rejected(rejected), at(102))
            .await;
        let ended = other.finish(lease, AttemptOutcome::Delivered(created()), at(103)).await;
        let state = other.get("m1").await.unwrap().unwrap().state;
        let seen = (finished, ended, state);
        let sound = (Err(LogError::Fenced), Ok(()), MessageState::Delivered);
        assert_eq!(seen == sound, !trusts_every_epoch, "{seen:?}");
    }
}

#[tokio::test]
async fn gateways_that_start_at_once_make_the_tables_once() {
    let Some(server) = server() else { return };
    let settings = settings(server);
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut opening = tokio::task::JoinSet::new();
    for folder in &folders {
        let (settings, folder) = (settings.clone(), folder.path().to_owned());
        opening.spawn(async move { PostgresLog::open(&settings, &folder).await });
    }
    let logs: Vec<_> = opening.join_all().await.into_iter().map(Result::unwrap).collect();
    admit(&logs[0], 1, "a", 0).await;
    for log in &logs {
        assert_eq!(log.health(), Health::Ok);
        assert!(log.get("m1").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_schema_that_is_not_ours_or_newer_is_refused() {
    let Some(server) = server() else { return };
    let open = async |settings: &PostgresSettings| {
        let folder = tempfile::tempdir().unwrap();
        PostgresLog::open(settings, folder.path())
            .await
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let foreign = settings(server);
    server.sql(&format!(
        "CREATE SCHEMA {0}; CREATE TABLE {0}.users (id int)",
        foreign.schema
    ));
    let said = open(&foreign).await;
    assert!(said.contains("belongs to another program"), "{said}");

    let world = World::new().await.unwrap();
    server.sql(&format!("UPDATE {}.layout SET number = 99", world.settings.schema));
    let said = open(&world.settings).await;
    assert!(
        said.contains("written by a newer release (layout 99, this release knows 2)"),
        "{said}"
    );
}

#[tokio::test]
async fn a_schema_of_the_first_release_goes_on() {
    let Some(server) = server() else { return };
    let settings = settings(server);
    server.sql(&format!(
        "CREATE SCHEMA {0}; SET search_path TO {0}; {1}
         CREATE TABLE layout (number INTEGER NOT NULL); INSERT INTO layout VALUES (1);
         INSERT INTO message VALUES (nextval('message_seq'), 1, 'm1', 'scope', 'print', 'key', 'erp', 'a', 'orders',
            'createOrder', '1', 'shop', 1, 'quarantine', NULL, NULL, 'c1', '', {2}, 5, false, 0, false, 'waiting', true,
            false, 0, 5, 0, NULL, NULL, 0, {2}, NULL, NULL, NULL, 0, NULL, NULL, NULL);
         INSERT INTO order_key VALUES ('key', 'erp', 1, 1, 1, 'shop', 'orders', 0);",
        settings.schema,
        include_str!("layout_1.sql"),
        at(50).as_microsecond(),
    ));
    server.sql(&format!(
        "UPDATE {0}.message SET scope = decode(repeat('01', 32), 'hex'), fingerprint = decode(repeat('02', 32), 'hex'),
            key = decode(repeat('03', 32), 'hex');
         UPDATE {0}.order_key SET key = decode(repeat('03', 32), 'hex')",
        settings.schema
    ));
    let folder = tempfile::tempdir().unwrap();
    let log = PostgresLog::open(&settings, folder.path()).await.unwrap();
    log.subscribe(all_ends());
    assert_eq!(log.sweep(DAY, at(60)).await.unwrap().messages_expired, 1);
    let notices = log.notices(NoticeFilter::default(), None, 9).await.unwrap().items;
    assert_eq!(notices[0].notice.id, format!("m1_{}", at(60).as_microsecond()));
}

#[tokio::test]
async fn a_notice_is_told_by_one_gateway_and_taken_over_when_that_one_is_gone() {
    let Some(World {
        log,
        settings,
        _folder: folder,
    }) = World::new().await
    else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let other = PostgresLog::open(&settings, elsewhere.path()).await.unwrap();
    log.subscribe(all_ends());
    admit(&log, 1, "a", 0).await;
    attempt(&log, 1, AttemptOutcome::Delivered(created())).await;
    let claim = async |log: &PostgresLog, now| {
        let lease = Duration::from_mins(1);
        log.claim_notices("shop", 9, lease, at(now), at(now)).await.unwrap()
    };
    let first = claim(&log, 9).await.remove(0);
    assert_eq!(claim(&other, 9).await, []);
    let second = claim(&other, 69).await.remove(0);
    assert_eq!(second.notice, first.notice);
    let late = log.finish_notice(first.lease, NoticeOutcome::Sent, at(70)).await;
    assert_eq!(late, Err(LogError::Fenced));

    // What a gateway was sending when it ended is due when it starts, not when its lease ends.
    drop(other);
    let other = PostgresLog::open(&settings, elsewhere.path()).await.unwrap();
    let fenced = other.finish_notice(second.lease, NoticeOutcome::Sent, at(71)).await;
    assert_eq!(fenced, Err(LogError::Fenced));
    assert_eq!(claim(&log, 71).await.remove(0).notice, first.notice);
    drop(folder);
}

#[tokio::test]
async fn what_was_under_way_when_a_gateway_ended_is_in_doubt_when_it_starts() {
    let Some(World {
        log,
        settings,
        _folder: folder,
    }) = World::new().await
    else {
        return;
    };
    admit(&log, 1, "a", 0).await;
    let lease = claim_one(&log, 0).await.lease;
    log.begin_attempt(lease, at(1)).await.unwrap();
    drop(log);
    // Its last look at the database may still be under way, and the folder is free only then.
    let log = PostgresLog::open(&settings, folder.path()).await.unwrap();
    assert_eq!(log.get("m1").await.unwrap().unwrap().state, MessageState::InDoubt);
}

#[tokio::test]
async fn a_day_is_given_back_once_nothing_of_it_is_needed() {
    let Some(world) = World::new().await else { return };
    let days = || {
        let sql = format!(
            "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
             WHERE nspname = '{}' AND relkind = 'r' AND relname ~ '_1$'",
            world.settings.schema
        );
        server().unwrap().sql(&sql)
    };
    let long = |number| NewMessage {
        deadline: at(864_000),
        ..message(number, "a")
    };
    for number in 1..=2 {
        world.log.put(long(number), at(0)).await.unwrap();
    }
    attempt(&world.log, 1, AttemptOutcome::Delivered(created())).await;
    let retention = Duration::from_secs(500_000);
    // One of the day still waits.
    world.log.sweep(retention, at(300_000)).await.unwrap();
    assert_eq!(days(), "attempt_1 request_1 response_1");
    attempt(&world.log, 300_001, AttemptOutcome::Delivered(created())).await;
    // Answers are kept longer than requests.
    world.log.sweep(retention, at(400_000)).await.unwrap();
    assert_eq!(days(), "attempt_1 response_1");
    assert_eq!(world.log.get("m1").await.unwrap().unwrap().response, Some(created()));
    world.log.sweep(retention, at(900_000)).await.unwrap();
    assert_eq!(days(), "");
    // Whoever writes into a day that is gone makes it again.
    admit(&world.log, 3, "c", 1).await;
    assert_eq!(days(), "attempt_1 request_1 response_1");
}

#[tokio::test]
async fn a_queue_moves_here_from_a_folder() {
    let Some(world) = World::new().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let embedded = SqliteLog::open(folder.path(), 16 << 20).unwrap();
    for number in 1..=2 {
        admit(&embedded, number, "a", u64::from(number)).await;
    }
    attempt(&embedded, 9, AttemptOutcome::Delivered(created())).await;
    admit(&embedded, 3, "b\0c", 11).await;
    let copies = embedded.export(None, 9).await.unwrap();
    assert_eq!(world.log.import(copies.items.clone(), at(20)).await, Ok(3));
    assert_eq!(world.log.import(copies.items, at(20)).await, Ok(0));
    assert_eq!(
        world.log.export(None, 9).await.unwrap().items,
        embedded.export(None, 9).await.unwrap().items
    );
    assert_eq!(world.log.depth(&key("b\0c")).await, 1);
}

#[tokio::test]
async fn gateways_share_deliveries_and_keep_order() {
    let Some(world) = World::new().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let other = PostgresLog::open(&world.settings, folder.path()).await.unwrap();
    for number in 0..60 {
        admit(
            [&world.log, &other][usize::from(number) % 2],
            number,
            &(number % 6).to_string(),
            0,
        )
        .await;
    }
    let done = std::sync::Mutex::new(Vec::<(String, String)>::new());
    let deliver = async |log: &PostgresLog| {
        let mut count = 0;
        while done.lock().unwrap().len() < 60 {
            for claimed in claim(log, 4, 1).await {
                log.begin_attempt(claimed.lease.clone(), at(1)).await.unwrap();
                done.lock()
                    .unwrap()
                    .push((claimed.message.order_key.value, claimed.message.id));
                log.finish(claimed.lease, AttemptOutcome::Delivered(created()), at(2))
                    .await
                    .unwrap();
                count += 1;
            }
        }
        count
    };
    let (one, two) = tokio::join!(deliver(&world.log), deliver(&other));
    assert!(one > 0 && two > 0, "{one} and {two}");
    let done = done.into_inner().unwrap();
    for value in 0..6 {
        let ids: Vec<_> = done
            .iter()
            .filter(|(key, _)| *key == value.to_string())
            .map(|(_, id)| id.clone())
            .collect();
        let expected: Vec<_> = (0..10).map(|turn| format!("m{}", turn * 6 + value)).collect();
        assert_eq!(ids, expected);
    }
    assert_eq!(
        world.log.stats(at(9)).await.unwrap().in_state(MessageState::Delivered),
        60
    );
}

/// Passes everything on until it is told to cut: then the next commit is passed on, and its answer is not.
async fn lossy(server: &Server) -> (u16, std::sync::Arc<AtomicU32>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let url = server.url();
    let port: u16 = url
        .rsplit_once(':')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let cuts = std::sync::Arc::new(AtomicU32::new(0));
    let left = cuts.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let left = left.clone();
            tokio::spawn(async move {
                let Ok(server) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
                    return;
                };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 1 << 16];
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    // A simple query: its type, its length, its text.
                    let is_commit = buffer[..count].windows(7).any(|text| text == b"COMMIT\0");
                    let cuts = is_commit
                        && left
                            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                            .is_ok();
                    if cuts {
                        back.abort();
                    }
                    if to_server.write_all(&buffer[..count]).await.is_err() || cuts {
                        break;
                    }
                }
                // The server is left alone long enough to do what it was told.
                if !back.is_finished() {
                    back.abort();
                }
            });
        }
    });
    (own, cuts)
}

#[tokio::test]
async fn a_commit_that_is_not_answered_is_found_out_about() {
    let Some(server) = server() else { return };
    let (port, cuts) = lossy(server).await;
    let url = format!("postgres://crossdock@127.0.0.1:{port}/postgres");
    let direct = settings(server);
    let mut settings = PostgresSettings::parse(&url, None).unwrap();
    settings.schema.clone_from(&direct.schema);
    settings.lease = direct.lease;
    let folder = tempfile::tempdir().unwrap();
    let log = PostgresLog::open(&settings, folder.path()).await.unwrap();
    let cut = || cuts.store(1, Ordering::SeqCst);

    admit(&log, 1, "a", 0).await;
    cut();
    admit(&log, 2, "b", 0).await;
    assert_eq!(log.stats(at(0)).await.unwrap().in_state(MessageState::Queued), 2);
    cut();
    let mut claimed = claim(&log, 2, 1).await;
    assert_eq!(claimed.len(), 2);
    let lease = claimed.remove(0).lease;
    cut();
    assert_eq!(log.begin_attempt(lease.clone(), at(2)).await, Ok(1));
    cut();
    assert_eq!(
        log.finish(lease, AttemptOutcome::Delivered(created()), at(3)).await,
        Ok(())
    );
    assert_eq!(log.get("m1").await.unwrap().unwrap().state, MessageState::Delivered);
    cut();
    log.pause(PauseScope::All, by("jo"), at(4)).await.unwrap();
    assert_eq!(log.audit(0, 9).await.unwrap().len(), 1);
    assert_eq!(cuts.load(Ordering::SeqCst), 0, "each was cut");
}

#[tokio::test]
async fn commits_wait_for_the_disk_and_for_the_standby() {
    let Some(world) = World::new().await else { return };
    server()
        .unwrap()
        .sql("ALTER ROLE crossdock SET synchronous_commit TO off");
    let folder = tempfile::tempdir().unwrap();
    let log = PostgresLog::open(&world.settings, folder.path()).await.unwrap();
    let session = log.database.reader().await.unwrap();
    let row = session
        .query("SELECT current_setting('synchronous_commit')", &[])
        .await
        .unwrap();
    server().unwrap().sql("ALTER ROLE crossdock RESET synchronous_commit");
    assert_eq!(row[0].get::<_, &str>(0), "on");
}
