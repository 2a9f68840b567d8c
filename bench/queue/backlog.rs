//! A long outage: a backlog is there, the gateway starts with it, is asked about it, and drains it.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossdock::queue::{MessageLog, PostgresLog, SqliteLog};
use serde_json::Value;

use super::{
    QUOTA,
    database::Server,
    enqueue,
    gateway::{Gateway, free_port},
    settings, upstream,
};

/// What is asked of the admin listener.
const QUESTIONS: [(&str, &str); 7] = [
    ("numbers", "/queue"),
    ("first page", "/queue/messages"),
    ("first page of a state", "/queue/messages?state=waiting"),
    (
        "of all that is not done",
        "/queue/messages?state=waiting,attempting,inDoubt,parked,dead,expired",
    ),
    ("of a channel", "/queue/messages?channel=channel-42"),
    ("of an order key", "/queue/messages?key=4711-500"),
    ("with an error that none has", "/queue/messages?error=none-has-it"),
];

pub(crate) struct Backlog {
    filled_per_second: f64,
    bytes: u64,
    ready: Duration,
    memory: u64,
    answers: Vec<Duration>,
    drained_per_second: f64,
    busy: f64,
    most_memory: u64,
    bytes_left: u64,
    given_back: Duration,
}

impl Backlog {
    pub(crate) async fn measure(database: Option<&Server>, messages: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let log: Arc<dyn MessageLog> = match database {
            None => Arc::new(SqliteLog::open(&state, QUOTA).unwrap()),
            Some(server) => Arc::new(PostgresLog::open(&settings(server, "backlog"), &state).await.unwrap()),
        };
        let filled_per_second = enqueue::fill(&log, messages).await;
        drop(log);
        let size = || match database {
            None => disk(&state),
            Some(server) => server.sql("SELECT pg_database_size('postgres')").parse().unwrap(),
        };
        let bytes = size();
        eprintln!("filled {messages}, {filled_per_second:.0}/s, {bytes} bytes");

        let port = free_port();
        let place = match database {
            None => format!("state: {}", state.display()),
            Some(server) => format!(
                "state: {}\ndatabase: {{ folder: {}, schema: backlog }}",
                server.url(),
                state.display()
            ),
        };
        let admin = Gateway::configure(folder.path(), &place, port);
        let (gateway, ready) = Gateway::start(folder.path(), admin);
        let mut answers = Vec::new();
        for (name, path) in QUESTIONS {
            let (time, answer) = gateway.time(path);
            eprintln!(
                "{name}: {time:?}, {} messages",
                answer["messages"].as_array().map_or(0, Vec::len)
            );
            answers.push(time);
        }
        let (memory, _) = gateway.memory();
        eprintln!("ready after {ready:?}, {} MB", memory >> 20);

        // The upstream is this process, on the other core.
        let this = std::process::id().to_string();
        let _ = Command::new("taskset").args(["-a", "-c", "-p", "1", &this]).output();
        let taken = upstream::start(port).await;
        while taken.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (started, cpu) = (Instant::now(), gateway.cpu());
        while taken.load(Ordering::Relaxed) < messages {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let time = started.elapsed().as_secs_f64();
        let busy = (gateway.cpu() - cpu) / time;
        let drained_per_second = f64::from(messages) / time;
        eprintln!(
            "drained, {drained_per_second:.0}/s, {:.0} % of a core, {} bytes",
            busy * 100.0,
            size()
        );

        // The file is at its smallest when it has stopped to shrink.
        let started = Instant::now();
        let (mut bytes_left, mut given_back) = (size(), Duration::ZERO);
        while started.elapsed() < given_back + Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = size();
            if now < bytes_left {
                (bytes_left, given_back) = (now, started.elapsed());
            }
        }
        let left = gateway.time("/queue").1;
        eprintln!(
            "{bytes_left} bytes left after {given_back:?}: {}",
            left.get("groups").unwrap_or(&Value::Null)
        );
        let (_, most_memory) = gateway.memory();
        let _ = Command::new("taskset").args(["-a", "-c", "-p", "0,1", &this]).output();
        if let Some(server) = database {
            drop(gateway);
            server.sql("DROP SCHEMA backlog CASCADE");
        }
        Self {
            filled_per_second,
            bytes,
            ready,
            memory,
            answers,
            drained_per_second,
            busy,
            most_memory,
            bytes_left,
            given_back,
        }
    }
}

/// Bytes of the files in a folder, without what is kept aside for a full disk.
fn disk(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().flatten();
    let stores = files.filter(|file| file.file_name().to_string_lossy().starts_with("queue.db"));
    stores.map(|file| file.metadata().map_or(0, |found| found.len())).sum()
}

pub(crate) fn report(messages: u32, embedded: &Backlog, shared: Option<&Backlog>) {
    let megabytes = |bytes: u64| format!("{} MB", bytes >> 20);
    let row = |name: &str, cell: &dyn Fn(&Backlog) -> String| {
        println!(
            "| {name} | {} | {} |",
            cell(embedded),
            shared.map_or_else(String::new, cell)
        );
    };
    println!("\n| a backlog of {messages} | embedded | PostgreSQL |\n| --- | ---: | ---: |");
    row("enqueued by 512 callers, /s", &|log| {
        format!("{:.0}", log.filled_per_second)
    });
    row("size on disk", &|log| megabytes(log.bytes));
    row("start to ready", &|log| format!("{:.2} s", log.ready.as_secs_f64()));
    row("memory with it", &|log| megabytes(log.memory));
    for (place, (name, _)) in QUESTIONS.iter().enumerate() {
        row(name, &|log| format!("{:.1} ms", log.answers[place].as_secs_f64() * 1e3));
    }
    row("drained on one core, /s", &|log| {
        format!("{:.0}", log.drained_per_second)
    });
    row("of the core", &|log| format!("{:.0} %", log.busy * 100.0));
    row("most memory", &|log| megabytes(log.most_memory));
    row("size after the drain", &|log| megabytes(log.bytes_left));
    row("given back within", &|log| {
        format!("{:.0} s", log.given_back.as_secs_f64())
    });
}
