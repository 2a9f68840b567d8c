//! Whatever is written as an expression compiles or is refused with its place; what compiles ends, true or false.
#![no_main]

mod parts;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use parts::{contract, document, json_headers};

const DOCUMENT: &str = include_str!("../documents/v1.yaml");
const ORDER: &str = r#"{"orderNo":"SO-1","status":"OPEN","total":19.90,"currency":"EUR","day":"20.11.2026","tags":"a, b","note":"",
    "lines":[{"pos":1,"sku":"a","qty":2.50}],"extra":{"colour":"red"}}"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let rule = serde_json::to_string(text).expect("text is JSON");
    let rules = format!("x-crossdock-rules: [{{ id: a, rule: {rule}, message: m }}]\n      type: object");
    let written = DOCUMENT.replacen("type: object", &rules, 1);
    if let Ok(contract) = contract(&[("v1/openapi.yaml", &written)]) {
        let operation = contract.versions[0].operation("put").expect("the operation");
        let headers: HeaderMap = json_headers();
        let _ = operation.check_request(&[], None, &headers, Some(&document(ORDER)));
        let _ = operation.check_rules(&headers, &document(ORDER), "edi");
    }
});
