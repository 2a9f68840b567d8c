//! Times what a contract costs per document, in nanoseconds of CPU: reading, checking and translating an order.
//!
//! `cargo bench --bench mapping`. The peer, `serde_json` with exact numbers, is measured by `bench/mapping/run` in the
//! same turn: its feature for them changes every crate of a build, so it is a program of its own.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
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
