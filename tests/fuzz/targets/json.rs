//! Whatever our parser takes, `serde_json` takes and reads alike; what it refuses beyond that, it refuses for a reason.
#![no_main]

use bytes::Bytes;
use crossdock::json::{Document, Kind, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
    match Document::parse(Bytes::copy_from_slice(bytes)) {
        Ok(document) => {
            theirs.expect("what we take is JSON");
            // Numbers out of the range of floats are none to it.
            if let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(bytes) {
                same(document.root(), &theirs);
            }
            let again = Document::parse(Bytes::copy_from_slice(document.text().as_bytes())).expect("our text is JSON");
            assert!(again == document, "reading twice");
        }
        Err(error) => {
            let told = error.to_string();
            let is_stricter = [
                "a second member",
                "deeper than",
                "larger than",
                "surrogate",
                "not UTF-8",
            ]
            .iter()
            .any(|word| told.contains(word));
            assert!(theirs.is_err() || is_stricter, "only we refuse: {told}");
        }
    }
});

fn same(ours: Value<'_>, theirs: &serde_json::Value) {
    match theirs {
        serde_json::Value::Null => assert!(ours.is_null()),
        serde_json::Value::Bool(value) => assert_eq!(ours.as_bool(), Some(*value)),
        serde_json::Value::Number(number) => {
            let text = ours.as_number_text().expect("a number");
            let float: f64 = text.parse().expect("digits");
            assert_eq!(Some(float), number.as_f64(), "{text}");
        }
        serde_json::Value::String(text) => assert_eq!(ours.as_str().as_deref(), Some(text.as_str())),
        serde_json::Value::Array(items) => {
            assert_eq!((ours.kind(), ours.len()), (Kind::Array, items.len()));
            for (one, other) in ours.elements().zip(items) {
                same(one, other);
            }
        }
        serde_json::Value::Object(members) => {
            assert_eq!((ours.kind(), ours.len()), (Kind::Object, members.len()));
            for (name, value) in members {
                same(ours.get(name).expect("a member of that name"), value);
            }
        }
    }
}
