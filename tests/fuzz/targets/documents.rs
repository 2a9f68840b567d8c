//! Documents through compiled mappings: refused, or carried so that a second turn changes nothing more.
#![no_main]

mod parts;

use std::sync::OnceLock;

use bytes::Bytes;
use crossdock::contract::Contract;
use crossdock::json::Document;
use libfuzzer_sys::fuzz_target;
use parts::{named, there_and_back};

macro_rules! pair {
    ($name:literal) => {
        (
            $name,
            [
                (
                    "v1/openapi.yaml",
                    include_str!(concat!("../../documents/pairs/", $name, "/v1/openapi.yaml")),
                ),
                (
                    "v2/openapi.yaml",
                    include_str!(concat!("../../documents/pairs/", $name, "/v2/openapi.yaml")),
                ),
                (
                    "v1-v2.map.yaml",
                    include_str!(concat!("../../documents/pairs/", $name, "/v1-v2.map.yaml")),
                ),
            ],
        )
    };
}

fn contracts() -> &'static [Contract] {
    static ALL: OnceLock<Vec<Contract>> = OnceLock::new();
    ALL.get_or_init(|| {
        let pairs = [
            pair!("sales-order"),
            pair!("shipment"),
            pair!("payment"),
            pair!("catalogue"),
            pair!("inventory"),
            pair!("case"),
        ];
        pairs
            .iter()
            .map(|(name, files)| named(name, files).expect("the pairs load"))
            .collect()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Document::parse(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    for contract in contracts() {
        there_and_back(contract, &document);
    }
});
