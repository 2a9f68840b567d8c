//! What the durable queue does: enqueueing beside a bare loop of `rusqlite`, draining by the program itself, and a
//! backlog of a million messages.
//!
//! `bench/queue/run`. Everything is on disk; `TMPDIR` says on which.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a report, of what is part of it"
)]

mod backlog;
#[path = "../../tests/stories/database.rs"]
#[allow(dead_code, reason = "the stories use the rest")]
mod database;
mod enqueue;
mod gateway;
mod upstream;

use std::{sync::Arc, time::Duration};

use crossdock::{
    config::PostgresSettings,
    queue::{MessageLog, PostgresLog, SqliteLog},
};

use self::{
    backlog::Backlog,
    database::Server,
    enqueue::{Figures, median},
};

/// Callers at the same time; the bare loop has batches of as many.
const CALLERS: [usize; 3] = [16, 128, 512];
/// Room for everything that is measured, in bytes.
const QUOTA: u64 = 32 << 30;

struct Options {
    parts: Vec<String>,
    messages: u32,
    rounds: usize,
    seconds: u64,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            parts: Vec::new(),
            messages: 1_000_000,
            rounds: 3,
            seconds: 4,
        };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok());
            match argument.as_str() {
                "--messages" => options.messages = number().expect("--messages N"),
                "--rounds" => options.rounds = number().expect("--rounds N") as usize,
                "--seconds" => options.seconds = number().expect("--seconds N").into(),
                "enqueue" | "backlog" | "postgres" => options.parts.push(argument),
                other => panic!(
                    "there is no part or option {other}: enqueue, backlog, postgres, --messages, --rounds, --seconds"
                ),
            }
        }
        options
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|asked| asked == part)
    }
}

fn main() {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let database = options.has("postgres").then(Server::start).flatten();
    if options.has("enqueue") {
        runtime.block_on(enqueueing(&options, database.as_ref()));
    }
    if options.has("backlog") {
        runtime.block_on(async {
            let embedded = Backlog::measure(None, options.messages).await;
            let shared = match &database {
                Some(server) => Some(Backlog::measure(Some(server), options.messages).await),
                None => None,
            };
            backlog::report(options.messages, &embedded, shared.as_ref());
        });
    }
}

/// All take turns, so that a noisy minute hits all alike.
async fn enqueueing(options: &Options, database: Option<&Server>) {
    println!(
        "| callers | bare loop /s | p50, p99 ms | embedded /s | p50, p99 ms | share | PostgreSQL /s | p50, p99 ms |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let time = Duration::from_secs(options.seconds);
    for callers in CALLERS {
        let (mut bare, mut embedded, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..options.rounds {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("bare.db");
            bare.push(tokio::task::block_in_place(|| enqueue::bare(&path, callers, time)));
            let log: Arc<dyn MessageLog> = Arc::new(SqliteLog::open(&folder.path().join("log"), QUOTA).unwrap());
            embedded.push(enqueue::closed_loop(log, callers, time).await);
            if let Some(server) = database {
                let schema = format!("enqueue_{callers}_{round}");
                let log = PostgresLog::open(&settings(server, &schema), folder.path())
                    .await
                    .unwrap();
                shared.push(enqueue::closed_loop(Arc::new(log), callers, time).await);
                server.sql(&format!("DROP SCHEMA {schema} CASCADE"));
            }
        }
        let ratios: Vec<f64> = bare
            .iter()
            .zip(&embedded)
            .map(|(bare, log)| log.per_second / bare.per_second)
            .collect();
        println!(
            "| {callers} | {} | {} | {:.0} % | {} |",
            Figures::median(&bare),
            Figures::median(&embedded),
            median(ratios) * 100.0,
            if shared.is_empty() {
                "| ".to_owned()
            } else {
                Figures::median(&shared).to_string()
            },
        );
    }
}

fn settings(server: &Server, schema: &str) -> PostgresSettings {
    let mut settings = PostgresSettings::parse(&server.url(), None).unwrap();
    schema.clone_into(&mut settings.schema);
    settings
}
