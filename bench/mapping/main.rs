//! Times what a contract costs per document, in nanoseconds of CPU: reading, checking and translating an order.
//!
//! `cargo bench --bench mapping`. The peer, `serde_json` with exact numbers, is measured by `bench/mapping/run` in the
//! same turn: its feature for them changes every crate of a build, so it is a program of its own.
//!
//! `-- count N CASE` only does one of them so many times, to be counted from outside: `valgrind --tool=callgrind`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a report, of files that are part of it"
)]

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use crossdock::config::SourceFile;
use crossdock::contract::Contract;
use crossdock::json::Document;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};

const BATCHES: usize = 31;
/// Nanoseconds.
const BATCH: u64 = 15_000_000;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    if std::env::args().any(|argument| argument == "memory") {
        return memory(&read);
    }
    let contract = contract(&read);
    let (request, answer) = (
        read("bench/orders/request-v1.json"),
        read("bench/orders/answer-v3.json"),
    );
    let (request, answer) = (Bytes::from(request), Bytes::from(answer));
    let translation = contract.translation("createOrder", "v1", "v3").unwrap();
    let (caller, upstream) = (translation.caller().clone(), translation.upstream().clone());
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let document = |bytes: &Bytes| Document::parse(bytes.to_vec().into()).unwrap();
    let (order, answered) = (document(&request), document(&answer));
    let up = |order: &Document| {
        let mapped = translation.request(&[], None, &mut headers.clone(), Some(order));
        mapped.unwrap().body.unwrap()
    };
    let down = |order: &Document| {
        let mapped = translation.response(StatusCode::CREATED, &mut headers.clone(), Some(order));
        mapped.unwrap().body.unwrap()
    };
    let mapped = up(&order);
    let texts = (request.len(), mapped.text().len());
    println!(
        "order of {} bytes, v3 {} bytes; nanoseconds per document, median of {BATCHES} batches",
        texts.0, texts.1
    );
    report("parse", || document(&request));
    report("validate", || caller.check_request(&[], None, &headers, Some(&order)));
    report("map v1 to v3", || up(&order));
    report("validate what was mapped", || upstream.check_request_body(&mapped));
    report("map v3 to v1", || down(&answered));
    report("parse + validate + map + serialise", || {
        let order = document(&request);
        caller.check_request(&[], None, &headers, Some(&order)).unwrap();
        Bytes::from(up(&order))
    });
}

/// The most memory that an order of 10 MB takes, read, checked, translated from v1 to v3 and written, as a multiple of its
/// size. In a process of its own: the system remembers the highest figure.
fn memory(read: &dyn Fn(&str) -> String) {
    // As many lines as it takes; the contract's own bound is for orders of people.
    let unbounded = |name: &str| {
        let text = read(name);
        text.lines()
            .map(|line| {
                if line.trim_start().starts_with("maxItems:") {
                    ""
                } else {
                    line
                }
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    let contract = contract(&unbounded);
    let translation = contract.translation("createOrder", "v1", "v3").unwrap();
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let batch = batch(&read("bench/orders/request-v1.json"));
    let size = batch.len();
    let before = high_water();
    let order = Document::parse(batch).unwrap();
    let parsed = high_water();
    let found = translation.caller().check_request(&[], None, &headers, Some(&order));
    found.unwrap();
    let mapped = translation.request_of(&[], None, &mut headers, Some(order));
    let mapped = mapped.unwrap().body.unwrap();
    assert!(translation.upstream().check_request_body(&mapped).is_empty());
    let written = Bytes::from(mapped);
    // The body itself was there before.
    let times = |bytes: u64| 1.0 + (bytes - before) as f64 / size as f64;
    println!(
        "an order of {size} bytes, {} bytes in v3: at most {:.1} times its size, {:.1} once it is read",
        written.len(),
        times(high_water()),
        times(parsed)
    );
}

/// The order of the benchmark with its lines repeated, 10 MB of it.
fn batch(order: &str) -> Bytes {
    let (start, rest) = order.split_once("\"lines\": [").unwrap();
    let (lines, end) = rest.split_once(']').unwrap();
    let count = 10_000_000 / lines.len();
    let mut text = String::with_capacity(count * (lines.len() + 1) + order.len());
    text.push_str(start);
    text.push_str("\"lines\": [");
    for number in 0..count {
        text.push_str(if number > 0 { "," } else { "" });
        text.push_str(lines);
    }
    text.push(']');
    text.push_str(end);
    text.into()
}

/// The most memory this process has had at once, in bytes.
fn high_water() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn contract(read: &dyn Fn(&str) -> String) -> Contract {
    let names = [
        "v1/openapi.yaml",
        "v2/openapi.yaml",
        "v3/openapi.yaml",
        "v1-v2.map.yaml",
        "v2-v3.map.yaml",
    ];
    let files = names.map(|name| {
        let path = format!("contracts/orders/{name}");
        SourceFile {
            text: read(&path).as_str().into(),
            path: path.into(),
        }
    });
    Contract::load("orders", &files).unwrap()
}

/// The median over batches of a fixed time each, after a warm-up as long as ten of them.
fn report<T>(what: &str, mut work: impl FnMut() -> T) {
    let mut arguments = std::env::args().skip_while(|argument| argument != "count").skip(1);
    if let (Some(count), Some(case)) = (arguments.next(), arguments.next()) {
        if case == what {
            (0..count.parse().unwrap()).for_each(|_| {
                black_box(work());
            });
        }
        return;
    }
    let mut batch = |time: u64| {
        let started = cpu_time();
        let mut count = 0;
        while cpu_time() - started < time {
            for _ in 0..256 {
                black_box(work());
            }
            count += 256;
        }
        (cpu_time() - started) / count
    };
    batch(BATCH * 10);
    let mut times: Vec<_> = (0..BATCHES).map(|_| batch(BATCH)).collect();
    times.sort_unstable();
    println!("{what:<40}{:>8}", times[BATCHES / 2]);
}

/// What this thread has had of a processor, in nanoseconds: other programs on the machine do not count.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
