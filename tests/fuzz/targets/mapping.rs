//! Whatever stands in a mapping file, loading ends, and what loads translates or refuses.
#![no_main]

mod parts;

use libfuzzer_sys::fuzz_target;
use parts::{contract, document, there_and_back};

const OLDER: &str = include_str!("../documents/v1.yaml");
const NEWER: &str = include_str!("../documents/v2.yaml");
const ORDER: &str = r#"{"orderNo":"SO-1","status":"OPEN","total":19.90,"currency":"EUR","day":"20.11.2026","tags":"a, b","note":"",
    "lines":[{"pos":1,"sku":"a","qty":2.50}],"extra":{"colour":"red"}}"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let files = [
        ("v1/openapi.yaml", OLDER),
        ("v2/openapi.yaml", NEWER),
        ("v1-v2.map.yaml", text),
    ];
    match contract(&files) {
        Ok(contract) => there_and_back(&contract, &document(ORDER)),
        Err(mistakes) => assert!(!mistakes.is_empty() && mistakes.iter().all(|mistake| !mistake.message.is_empty())),
    }
});
