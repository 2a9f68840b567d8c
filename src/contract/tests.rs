use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::*;
use crate::json::Document;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

fn orders() -> Contract {
    let files = demo_files();
    Contract::load("orders", &files).unwrap_or_else(|mistakes| {
        let lines: Vec<_> = mistakes
            .iter()
            .map(|mistake| format!("{}:{}:{} {} ({:?})", mistake.file.display(), mistake.line, mistake.column, mistake.message, mistake.help))
            .collect();
        panic!("{}", lines.join("\n"))
    })
}

fn demo_files() -> Vec<SourceFile> {
    vec![
        file("contracts/orders/v1/openapi.yaml", include_str!("../../contracts/orders/v1/openapi.yaml")),
        file("contracts/orders/v2/openapi.yaml", include_str!("../../contracts/orders/v2/openapi.yaml")),
        file("contracts/orders/v3/openapi.yaml", include_str!("../../contracts/orders/v3/openapi.yaml")),
        file("contracts/orders/v1-v2.map.yaml", include_str!("../../contracts/orders/v1-v2.map.yaml")),
        file("contracts/orders/v2-v3.map.yaml", include_str!("../../contracts/orders/v2-v3.map.yaml")),
    ]
}

fn document(value: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(value.as_bytes())).unwrap()
}

#[test]
fn the_demo_contract_loads_without_a_warning() {
    let contract = orders();
    assert_eq!(contract.warnings, []);
    let versions: Vec<_> = contract.versions.iter().map(|version| &*version.version).collect();
    assert_eq!(versions, ["v1", "v2", "v3"]);
}
