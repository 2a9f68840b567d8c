//! Pairs of versions as they are met outside: what was recorded of the one is what was recorded of the other.

use super::*;
use crate::contract::check::{Options, Progress, Style, Verdict, check, render};

const PAIRS: [&str; 6] = ["sales-order", "shipment", "payment", "catalogue", "inventory", "case"];

fn loaded(name: &str) -> (Contract, Vec<SourceFile>) {
    let files = folder(&Path::new("tests/documents/pairs").join(name));
    let contract = Contract::load(name, &files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    (contract, files)
}

/// JSON without white space between its parts; every digit and letter stays.
fn compact(text: &str) -> String {
    let (mut out, mut is_text, mut is_escaped) = (String::new(), false, false);
    for c in text.chars() {
        if is_text || !c.is_whitespace() {
            out.push(c);
        }
        is_text ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
    }
    out
}

/// What was recorded of a version: operation, `request` or the status, the note of a file's name, and the document.
fn recorded(files: &[SourceFile], version: &str) -> Vec<(String, Option<u16>, String, String)> {
    let folder = Path::new("samples").join(version);
    let own = files
        .iter()
        .filter(|file| file.path.parent().is_some_and(|parent| parent.ends_with(&folder)));
    own.map(|file| {
        let name = file.path.file_name().unwrap().to_str().unwrap();
        let mut parts = name.trim_end_matches(".json").split('.');
        let operation = parts.next().unwrap().to_owned();
        let status = match parts.next() {
            Some("request") => None,
            _ => Some(parts.next().unwrap().parse().unwrap()),
        };
        (
            operation,
            status,
            parts.next().unwrap_or_default().to_owned(),
            compact(&file.text),
        )
    })
    .collect()
}

/// A document sent one way: the body of a request, or of an answer with this status of the version it comes from.
fn sent(
    contract: &Contract,
    operation: &str,
    (from, to): (&str, &str),
    status: Option<u16>,
    body: &str,
) -> (u16, String) {
    match status {
        None => {
            let translation = contract.translation(operation, from, to).unwrap();
            let values: Vec<_> = translation
                .caller()
                .path_names
                .iter()
                .map(|_| "A1B2".to_owned())
                .collect();
            let document = Document::parse(Bytes::copy_from_slice(body.as_bytes())).unwrap();
            let mapped = translation.request(&values, None, &mut headers("application/json"), Some(&document));
            let body = mapped.unwrap().body.unwrap();
            assert_eq!(translation.upstream().check_request_body(&body), [], "{}", body.text());
            (0, body.text().to_owned())
        }
        Some(status) => {
            let translation = contract.translation(operation, to, from).unwrap();
            let document = Document::parse(Bytes::copy_from_slice(body.as_bytes())).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let mapped = translation.response(status, &mut headers("application/json"), Some(&document));
            let mapped = mapped.unwrap();
            let body = mapped.body.unwrap();
            let violations =
                translation
                    .caller()
                    .check_response(mapped.status, &headers("application/json"), Some(&body));
            assert_eq!(violations, [], "{}", body.text());
            (mapped.status.as_u16(), body.text().to_owned())
        }
    }
}

#[test]
fn what_was_recorded_is_translated_to_the_byte() {
    let mut count = 0;
    for name in PAIRS {
        let (contract, files) = loaded(name);
        let (older, newer) = (recorded(&files, "v1"), recorded(&files, "v2"));
        assert_eq!(older.len(), newer.len(), "{name}");
        for (operation, status, note, older) in older {
            let is_answer = status.is_some();
            let other = newer
                .iter()
                .find(|other| other.0 == operation && other.1.is_some() == is_answer && other.2 == note);
            let (_, other_status, _, newer) = other.unwrap_or_else(|| panic!("{name} {operation} {status:?} {note}"));
            let (code, up) = sent(&contract, &operation, ("v1", "v2"), status, &older);
            assert_eq!(
                (code, up.as_str()),
                (other_status.unwrap_or(0), newer.as_str()),
                "{name} {operation} up"
            );
            count += 1;
            // What cannot come back as it was is named so.
            if note != "up" {
                let (code, down) = sent(&contract, &operation, ("v2", "v1"), *other_status, newer);
                assert_eq!((code, down), (status.unwrap_or(0), older), "{name} {operation} down");
                count += 1;
            }
        }
    }
    assert_eq!(count, 19, "all that was recorded");
}

#[test]
fn every_pair_passes_its_check() {
    for name in PAIRS {
        let (contract, files) = loaded(name);
        assert_eq!(contract.warnings, [], "{name}");
        let options = Options {
            cases: 60,
            ..Options::default()
        };
        let report = check(&contract, &files, &options, &Progress::default());
        assert!(
            report.verdict != Verdict::Blocked,
            "{}",
            render(&[report], Style::Text { is_full: false })
        );
    }
}
