use super::*;
use crate::config::{Severity, SourceFile};
use crate::contract::spec::{Direction, MappingSpec};

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

/// The first mapping between two documents, once as text and once read.
fn scaffolded(older: &str, newer: &str) -> (String, MappingSpec) {
    let files = [
        file("contracts/things/v1/openapi.yaml", older),
        file("contracts/things/v2/openapi.yaml", newer),
    ];
    let contract = Contract::load("things", &files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let text = scaffold(&contract, &contract.versions[0], &contract.versions[1]);
    let mapping = file("contracts/things/v1-v2.map.yaml", &text);
    let spec = crate::contract::openapi::read_yaml(&mapping).unwrap_or_else(|mistake| panic!("{mistake}\n{text}"));
    (text, spec)
}

/// Two documents whose only operation takes and answers a `Thing` with these properties.
fn things(older: &str, newer: &str) -> (String, MappingSpec) {
    let document = |properties: &str| {
        format!(
            "openapi: 3.1.0\ninfo: {{ title: Things, version: '1' }}\npaths:\n  /things:\n    put:\n      operationId: put\n      \
             requestBody: {{ required: true, content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Thing' }} }} }} }}\n      \
             responses: {{ '200': {{ description: ok, content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Thing' }} }} }} }} }}\n\
             components:\n  schemas:\n    Thing:\n      type: object\n      additionalProperties: false\n      properties: {{ {properties} }}\n"
        )
    };
    scaffolded(&document(older), &document(newer))
}

fn has(text: &str, line: &str) {
    assert!(
        text.lines().any(|written| written.trim().starts_with(line)),
        "{line} in\n{text}"
    );
}

#[test]
fn equal_versions_need_no_step() {
    let (text, spec) = things("a: { type: string }", "a: { type: string }");
    assert!(spec.types.is_empty() && spec.operations.is_empty(), "{text}");
    assert!(!text.contains("To do"), "{text}");
}

#[test]
fn a_likely_new_name_is_a_comment_with_its_score() {
    let (text, spec) = things(
        "custName: { type: string }, qty: { type: number }, same: { type: boolean }",
        "customer: { type: object, properties: { name: { type: string } } }, quantity: { type: number }, same: { type: boolean }",
    );
    has(&text, "# - move: { from: qty, to: quantity } # 0.");
    has(&text, "# - move: { from: custName, to: customer.name } # 0.");
    assert!(
        spec.types["Thing"].value.ops.is_empty() && !text.contains("same only") && !text.contains("To do"),
        "{text}"
    );
}

#[test]
fn what_has_to_be_converted_at_its_place_is_a_step() {
    let (text, spec) = things(
        "total: { type: number, multipleOf: 0.01 }, weight: { type: string }, day: { type: string, pattern: '^[0-9]{2}[.][0-9]{2}[.][0-9]{4}$' }, \
         note: { type: string }, tags: { type: array, items: { type: string } }, at: { type: string, format: date }",
        "total: { type: string, pattern: '^[0-9]+[.][0-9]{2}$' }, weight: { type: number }, day: { type: string, format: date }, \
         note: { type: array, items: { type: string } }, tags: { type: string }, at: { type: string, format: date-time }",
    );
    has(&text, "- decimal: { path: total, scale: 2 }");
    has(&text, "- decimal: { path: weight, as: number }");
    has(&text, "- date: { path: day, older: dd.MM.yyyy, newer: yyyy-MM-dd }");
    has(&text, "- wrap: { path: note }");
    has(&text, "- first: { path: tags }");
    has(
        &text,
        "# - date: { path: at, older: yyyy-MM-dd, newer: rfc3339, timezone: Etc/UTC, time: '00:00' }",
    );
    assert_eq!(spec.types["Thing"].value.ops.len(), 5);
}

#[test]
fn differing_codes_are_a_table_with_gaps() {
    let (text, spec) = things(
        "state: { type: string, enum: [OPEN, IN_WORK, 'NO'] }",
        "state: { type: string, enum: [open, in-work, closed] }",
    );
    let rows = &spec.tables["Thing_state"].value.rows;
    assert_eq!(
        (rows["OPEN"].as_str(), rows["IN_WORK"].as_str(), rows.len()),
        ("open", "in-work", 2)
    );
    has(&text, "# \"NO\": … # one of closed");
    has(&text, "- table: { path: state, table: Thing_state }");
}

#[test]
fn what_only_one_version_has_is_to_be_done() {
    let (text, _) = things(
        "legacy: { type: boolean }",
        "channel: { type: string, enum: [B2B, B2C] }",
    );
    has(&text, "# To do: legacy only in v1: true or false");
    has(&text, "# To do: channel only in v2: text (B2B, B2C)");
}

#[test]
fn a_schema_of_another_name_is_renamed_where_the_operations_meet() {
    let document = |name: &str, template: &str, parameter: &str, query: &str, code: u16| {
        format!(
            "openapi: 3.1.0\ninfo: {{ title: Things, version: '1' }}\npaths:\n  {template}:\n    get:\n      operationId: get\n      parameters:\n        \
             - {{ name: {parameter}, in: path, required: true, schema: {{ type: string }} }}\n        \
             - {{ name: {query}, in: query, schema: {{ type: integer }} }}\n      \
             responses: {{ '{code}': {{ description: ok, content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/{name}' }} }} }} }} }}\n\
             components:\n  schemas:\n    {name}: {{ type: object, properties: {{ parts: {{ type: array, items: {{ $ref: '#/components/schemas/{name}Part' }} }} }} }}\n    \
             {name}Part: {{ type: object, properties: {{ a: {{ type: string }} }} }}\n"
        )
    };
    let (text, spec) = scaffolded(
        &document("Order", "/o/{orderNo}", "orderNo", "pageSize", 200),
        &document("Sale", "/o/{key}", "key", "page_size", 202),
    );
    assert_eq!(spec.types["Order"].value.rename.as_deref(), Some("Sale"));
    assert_eq!(spec.types["OrderPart"].value.rename.as_deref(), Some("SalePart"));
    assert_eq!(spec.operations["get"].value.status[&200], 202);
    has(&text, "# - move: { from: pageSize, to: page_size }");
    has(&text, "- move: { from: orderNo, to: key }");
}

#[test]
fn the_first_mapping_of_the_demo_contract_parses_and_leaves_only_what_is_to_be_done() {
    let text = |version: &str| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(root.join(format!("contracts/orders/{version}/openapi.yaml"))).unwrap()
    };
    let (written, spec) = {
        let files = [
            file("contracts/orders/v1/openapi.yaml", &text("v1")),
            file("contracts/orders/v2/openapi.yaml", &text("v2")),
        ];
        let contract = Contract::load("orders", &files).unwrap();
        let written = scaffold(&contract, &contract.versions[0], &contract.versions[1]);
        let mapping = file("contracts/orders/v1-v2.map.yaml", &written);
        let spec: MappingSpec = crate::contract::openapi::read_yaml(&mapping).unwrap();
        let all: Vec<SourceFile> = files.iter().cloned().chain([mapping]).collect();
        let found = Contract::load("orders", &all).map_or_else(|found| found, |_| Vec::new());
        let errors: Vec<_> = found
            .iter()
            .filter(|mistake| mistake.severity == Severity::Error)
            .collect();
        // Nothing is said of a name that does not exist, a step that is not understood or a field that is written twice.
        for mistake in &errors {
            let is_to_do = [
                "has no place",
                "is required",
                "has no row",
                "is in",
                "does not",
                "in the newer",
                "no row",
                "becomes",
            ]
            .iter()
            .any(|known| mistake.message.contains(known));
            assert!(is_to_do, "{mistake}\n{written}");
        }
        (written, spec)
    };
    assert_eq!(
        spec.types["OrderLine"].value.rename.as_deref(),
        Some("OrderItem"),
        "{written}"
    );
    has(
        &written,
        "- date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }",
    );
    has(&written, "# - move: { from: orderNo, to: orderId }");
    has(&written, "# - move: { from: shipCity, to: shipTo.address.city }");
    has(&written, "# - move: { from: qty, to: quantity }");
    assert_eq!(spec.operations["getOrder"].value.path.len(), 1, "{written}");
    has(&written, "update: { mergeCurrent: { current: getOrder } }");
    assert!(spec.losses.iter().all(|loss| loss.value.direction != Direction::Up));
}
