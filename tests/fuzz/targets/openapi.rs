//! Whatever stands in a document, loading ends and tells its mistakes; what loads can be compared with itself.
#![no_main]

mod parts;

use libfuzzer_sys::fuzz_target;
use parts::contract;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match contract(&[("v1/openapi.yaml", text)]) {
        Ok(contract) => {
            for version in &contract.versions {
                for operation in &version.operations {
                    let path = contract.translation(&operation.id, "v1", "v1").expect("the identity");
                    assert_eq!(path.caller().id, operation.id);
                }
            }
        }
        Err(mistakes) => {
            let lines = text.lines().count() + 1;
            assert!(mistakes.iter().any(|mistake| !mistake.message.is_empty()));
            assert!(
                mistakes.iter().all(|mistake| mistake.line as usize <= lines),
                "{mistakes:?}"
            );
        }
    }
});
