//! What several targets need.
#![allow(dead_code, reason = "no target needs all of it")]

use bytes::Bytes;
use crossdock::config::{Diagnostic, SourceFile};
use crossdock::contract::Contract;
use crossdock::json::Document;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};

pub fn contract(files: &[(&str, &str)]) -> Result<Contract, Vec<Diagnostic>> {
    named("c", files)
}

pub fn named(contract: &str, files: &[(&str, &str)]) -> Result<Contract, Vec<Diagnostic>> {
    let files = files.iter().map(|(name, text)| SourceFile {
        path: format!("contracts/{contract}/{name}").into(),
        text: (*text).into(),
    });
    Contract::load(contract, &files.collect::<Vec<_>>())
}

pub fn document(text: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(text.as_bytes())).expect("JSON")
}

pub fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// Sends a document through every operation it fits, either way and back: it is refused, or what comes out reads as it
/// was made, and where both versions take it, a second turn makes what the first one did.
pub fn there_and_back(contract: &Contract, document: &Document) {
    let ids: Vec<_> = contract.versions[0]
        .operations
        .iter()
        .map(|operation| operation.id.clone())
        .collect();
    for id in ids {
        for (from, to) in [("v1", "v2"), ("v2", "v1")] {
            let Some(there) = request(contract, &id, from, to, document) else {
                continue;
            };
            let Some(back) = request(contract, &id, to, from, &there) else {
                continue;
            };
            let Some(again) = request(contract, &id, from, to, &back) else {
                continue;
            };
            let Some(settled) = request(contract, &id, to, from, &again) else {
                continue;
            };
            assert_eq!(
                back.text(),
                settled.text(),
                "{id} {from} {to}: what came back stays as it is"
            );
        }
        for status in [200, 201, 400, 402, 404, 422] {
            let Ok(translation) = contract.translation(&id, "v1", "v2") else {
                continue;
            };
            let status = StatusCode::from_u16(status).expect("a status");
            if let Ok(mapped) = translation.response(status, &mut json_headers(), Some(document)) {
                let body = mapped.body.expect("a body");
                assert!(
                    body == self::document(body.text()),
                    "what was made is what would be read"
                );
            }
        }
    }
}

/// `None` where the document is none of the version, is refused, or makes what the other version would refuse.
fn request(contract: &Contract, id: &str, from: &str, to: &str, body: &Document) -> Option<Document> {
    let translation = contract.translation(id, from, to).ok()?;
    let headers = json_headers();
    translation.caller().check_request_body(body).is_empty().then_some(())?;
    let path: Vec<_> = translation.caller().path_names.iter().map(|_| "1".to_owned()).collect();
    let mapped = translation
        .request(&path, None, &mut headers.clone(), Some(body))
        .ok()?;
    let made = mapped.body?;
    assert!(made == document(made.text()), "what was made is what would be read");
    translation
        .upstream()
        .check_request_body(&made)
        .is_empty()
        .then_some(made)
}
