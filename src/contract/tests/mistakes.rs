use super::steps::{contract, thing};
use super::*;

fn mistakes(older: &str, newer: &str, mapping: &str) -> Vec<Diagnostic> {
    match contract(&thing(older), &thing(newer), mapping) {
        Ok(contract) => contract.warnings,
        Err(mistakes) => mistakes,
    }
}

/// Asserts that one of the mistakes says this, at this line, with this remedy.
fn assert_told(mistakes: &[Diagnostic], line: u32, message: &str, help: &str) {
    let is_told = |mistake: &&Diagnostic| {
        let remedy = mistake.help.as_deref().unwrap_or_default();
        mistake.message.contains(message) && mistake.line == line && remedy.contains(help)
    };
    assert!(
        mistakes.iter().any(|mistake| is_told(&mistake)),
        "{line} {message}: {mistakes:#?}"
    );
}

const A: &str = "a: { type: string }";

#[test]
fn a_mistyped_mapping_is_told_with_its_place() {
    let found = mistakes(A, A, "types:\n  Thing:\n    - mvoe: { from: a, to: b }");
    assert!(found[0].message.contains("mvoe") && found[0].line == 7, "{found:?}");
    let found = mistakes(A, A, "types:\n  Thing:\n    - move: { from: a, too: b }");
    assert!(found[0].message.contains("too") && found[0].line == 7, "{found:?}");
    let found = mistakes(A, A, "tpyes: {}");
    assert!(found[0].message.contains("tpyes"), "{found:?}");
}

#[test]
fn names_that_do_not_exist_are_told_with_those_that_do() {
    let found = mistakes(A, A, "types:\n  Thong: []\noperations:\n  pull: {}");
    assert_told(&found, 6, "version v1 has no schema `Thong`", "Thing");
    assert_told(&found, 8, "version v1 has no operation `pull`", "put");
    let found = mistakes(A, A, "types:\n  Thing: { as: Object }");
    assert_told(&found, 6, "version v2 has no schema `Object`", "Thing");
    let found = mistakes(A, A, "types:\n  Thing:\n    - move: { from: x, to: y.z }");
    assert_told(&found, 7, "version v1 has no `x`", "fields there are a");
    assert_told(&found, 7, "version v2 has no `y.z`", "fields there are a");
    let found = mistakes(A, A, "types:\n  Thing:\n    - table: { path: a, table: codes }");
    assert_told(&found, 7, "no table `codes`", "tables here are none");
    let found = mistakes(A, A, "types:\n  Thing:\n    - copy: { from: ^.a, to: a }");
    assert_told(&found, 7, "`^` leads out", "copy from");
}

#[test]
fn a_field_is_not_written_or_taken_twice() {
    let two = "a: { type: string }, b: { type: string }";
    let found = mistakes(
        two,
        two,
        "types:\n  Thing:\n    - move: { from: a, to: b }\n    - move: { from: b, to: b }",
    );
    assert_told(&found, 8, "`b` is written twice", "one step");
    let found = mistakes(
        two,
        two,
        "types:\n  Thing:\n    - move: { from: a, to: b }\n    - move: { from: a, to: a }",
    );
    assert_told(&found, 8, "`a` is taken twice", "one step");
    let found = mistakes(
        two,
        two,
        "types:\n  Thing:\n    - strip: { from: a, char: '0', width: 3 }",
    );
    assert_told(&found, 7, "does not say where", "`path`");
}

#[test]
fn a_field_without_a_place_is_a_loss_to_be_declared() {
    let found = mistakes("a: { type: string }, x: { type: string }", A, "types: { Thing: [] }");
    assert_told(&found, 5, "`x` of Thing in v1 has no place in v2", "direction: up");
    let found = mistakes(A, "a: { type: string }, y: { type: string }", "");
    assert_told(&found, 0, "`y` of Thing in v2 has no place in v1", "direction: down");
    let declared = "losses:\n  - { type: Thing, path: y, direction: down, reason: nobody reads it }";
    assert_eq!(mistakes(A, "a: { type: string }, y: { type: string }", declared), []);
    let found = mistakes(
        A,
        A,
        "losses:\n  - { type: Thing, path: z, direction: down, reason: ' ' }",
    );
    assert_told(&found, 6, "version v2 has no `z`", "fields are a");
    assert_told(&found, 6, "has no reason", "why");
}

#[test]
fn a_required_field_must_be_filled() {
    let requiring = |properties: &str| format!("{} \n  required: [n]", thing(properties));
    let newer = requiring("a: { type: string }, n: { type: string }");
    let load = |older: &str, mapping: &str| {
        contract(older, &newer, mapping).map_or_else(|found| found, |contract| contract.warnings)
    };
    let lost = "losses:\n  - { type: Thing, path: n, direction: down, reason: new }\n";
    assert_told(
        &load(&thing(A), lost),
        0,
        "`n` of Thing is required in v2, and nothing fills it",
        "`const`",
    );
    let optional = thing("a: { type: string }, m: { type: string }");
    let moved = "types:\n  Thing:\n    - move: { from: m, to: n }\n";
    assert_told(&load(&optional, moved), 7, "v1 may leave it out", "default");
    let with_default = format!("{moved}    - default: {{ path: n, value: x }}\n");
    assert_eq!(load(&optional, &with_default), []);
    let older = requiring("a: { type: string }, n: { type: string }");
    let found = contract(&older, &thing(A), "types:\n  Thing:\n    - drop: { path: n }").unwrap_err();
    assert_told(
        &found,
        7,
        "`n` of Thing is required in v1, and nothing fills it",
        "restore",
    );
}

#[test]
fn a_table_without_an_inverse_asks_for_a_choice() {
    let codes = |codes: &str| format!("a: {{ type: string, enum: [{codes}] }}");
    let mapping = |rows: &str, misses: &str| {
        format!("tables:\n  codes: {{ {rows} }}\ntypes:\n  Thing:\n    - table: {{ path: a, table: codes{misses} }}")
    };
    let load = |older: &str, newer: &str, rows: &str, misses: &str| {
        mistakes(&codes(older), &codes(newer), &mapping(rows, misses))
    };
    assert_told(
        &load("A, B", "x", "A: x, B: x", ""),
        9,
        "no inverse",
        "missDown: { x: B }",
    );
    assert_eq!(load("A, B", "x", "A: x, B: x", ", missDown: { x: A }"), []);
    assert_told(
        &load("A, B", "x", "A: x", ""),
        9,
        "no row for `B` of version v1",
        "missUp: { B: … }",
    );
    assert_told(
        &load("A", "x, y", "A: x", ""),
        9,
        "no row for `y` of version v2",
        "missDown: { y: … }",
    );
    assert_eq!(
        load("A, B", "x, y", "A: x", ", missUp: { B: ~ }, missDown: { '*': A }"),
        []
    );
    assert_told(
        &load("A", "x", "A: z", ", missDown: { x: A }"),
        9,
        "leads to `z`, which version v2 does not know",
        "codes are x",
    );
}

#[test]
fn a_day_and_a_point_in_time_need_a_zone_and_a_time() {
    let date = |rest: &str| {
        mistakes(
            A,
            A,
            &format!("types:\n  Thing:\n    - date: {{ path: a, older: yyyy-MM-dd, newer: rfc3339{rest} }}"),
        )
    };
    assert_told(&date(""), 7, "without a time zone", "Europe/Berlin");
    assert_told(
        &date(", timezone: Europe/Berlin"),
        7,
        "no inverse without a time of day",
        "18:00",
    );
    assert_told(&date(", timezone: Berlin"), 7, "`Berlin` is no time zone", "IANA");
    assert_told(
        &date(", timezone: UTC, time: noon"),
        7,
        "`noon` is no time of day",
        "18:00",
    );
    assert_eq!(date(", timezone: UTC, time: '18:00'"), []);
}

#[test]
fn only_neighbours_are_mapped_and_only_once() {
    let mut files = demo_files();
    files[3] = file(
        "contracts/orders/v1-v3.map.yaml",
        "kind: Mapping\ncontract: orders\nfrom: v1\nto: v3\n",
    );
    files.push(file(
        "contracts/orders/v3-v9.map.yaml",
        "kind: Mapping\ncontract: orders\nfrom: v3\nto: v9\n",
    ));
    files.push(file(
        "contracts/orders/b.map.yaml",
        "kind: Mapping\ncontract: customers\nfrom: v1\nto: v2\n",
    ));
    files.push(file("contracts/orders/c.map.yaml", &files[4].text));
    let found = Contract::load("orders", &files).unwrap_err();
    assert_told(
        &found,
        3,
        "v1 and v3 are not neighbours",
        "each version to the next: v1, v2, v3",
    );
    assert_told(&found, 4, "no version `v9`", "v1, v2, v3");
    assert_told(&found, 2, "for contract `customers`", "contract: orders");
    assert_told(&found, 3, "a second mapping from v2 to v3", "one of the two");
}

#[test]
fn a_missing_mapping_is_told_when_it_is_asked_for() {
    let mut files = demo_files();
    files.remove(3);
    let contract = Contract::load("orders", &files).unwrap();
    assert!(
        contract
            .translation("createOrder", "v1", "v3")
            .unwrap_err()
            .contains("no mapping from v1 to v2")
    );
    assert!(contract.translation("createOrder", "v2", "v3").is_ok());
    assert!(
        Contract::load("orders", &[]).unwrap_err()[0]
            .message
            .contains("no version")
    );
}

#[test]
fn types_that_do_not_fit_together_are_told() {
    for (from, to, place, message, help) in [
        (
            "    as: SoldTo\n    ops:\n",
            "",
            "    - move: { from: id, to: number }",
            "no schema `Customer`",
            "as:",
        ),
        (
            "  ShipTo:\n    as: Consignee\n    ops: []\n",
            "",
            "    - move: { from: orderId",
            "is ShipTo in v2 and Consignee in v3",
            "as: Consignee",
        ),
    ] {
        let mut files = demo_files();
        let changed = files[4]
            .text
            .replacen(from, to, 1)
            .replace("  Customer:\n      -", "  Customer:\n    -");
        let line = changed.lines().position(|line| line.contains(place)).unwrap() + 1;
        let line = line.try_into().unwrap();
        files[4] = file("contracts/orders/v2-v3.map.yaml", &changed);
        assert_told(&Contract::load("orders", &files).unwrap_err(), line, message, help);
    }
}

#[test]
fn a_step_does_not_reach_into_a_type_that_is_translated_itself() {
    let schemas = |inner: &str| {
        let inside = "inner: { $ref: '#/components/schemas/Inner' }, c: { type: string }";
        format!(
            "{}\nInner:\n  type: object\n  properties: {{ {inner}: {{ type: string }}, x: {{ type: string }} }}",
            thing(inside)
        )
    };
    let mapping = "types:\n  Thing:\n    - move: { from: inner.x, to: c }\n  Inner:\n    - move: { from: a, to: b }";
    let found = contract(&schemas("a"), &schemas("b"), mapping).unwrap_err();
    assert_told(&found, 7, "lies in a type that is translated itself", "under that type");
}

#[test]
fn an_unused_type_is_a_warning() {
    let schemas = format!("{}\nLoose:\n  type: object", thing(A));
    let contract = contract(&schemas, &schemas, "types:\n  Loose: []").unwrap();
    assert_told(
        &contract.warnings,
        6,
        "no operation's body contains `Loose`",
        "remove it",
    );
    assert_eq!(contract.warnings[0].severity, Severity::Warning);
}

/// Replaces the first `from` by `to` in a good document, and returns the mistakes that stand in the line of `place`.
fn openapi(from: &str, to: &str, place: &str) -> Vec<Diagnostic> {
    let text = include_str!("../../../contracts/orders/v1/openapi.yaml");
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text);
    let line = changed
        .lines()
        .position(|line| line.contains(place))
        .map_or(0, |line| line + 1);
    let found = match Contract::load("orders", &[file("contracts/orders/v1/openapi.yaml", &changed)]) {
        Ok(contract) => contract.warnings,
        Err(mistakes) => mistakes,
    };
    let here = |mistake: &Diagnostic| (mistake.line as usize == line).then_some(mistake.clone());
    let told: Vec<_> = found.iter().filter_map(here).collect();
    assert!(!told.is_empty(), "line {line}: {found:#?}");
    told
}

#[test]
fn mistakes_in_a_version_are_told_with_their_place() {
    for (from, to, place, message, help) in [
        (
            "openapi: 3.1.0",
            "openapi: 4.0.0",
            "4.0.0",
            "`4.0.0` is not read",
            "3.1.0",
        ),
        (
            "openapi: 3.1.0",
            "x-openapi: 3.1.0",
            "nowhere",
            "not an OpenAPI document",
            "openapi: 3.1.0",
        ),
        (
            "schemas/OrderLine'",
            "schemas/Row'",
            "schemas/Row'",
            "leads nowhere",
            "OrderLine",
        ),
        (
            "'#/components/schemas/Uom'",
            "uom.yaml",
            "uom.yaml",
            "leads out of this document",
            "components",
        ),
        (
            "operationId: createOrder",
            "tags: []",
            "post:",
            "POST /orders has no operationId",
            "operationId",
        ),
        (
            "operationId: getOrder",
            "operationId: listOrders",
            "/orders/{orderNo}:",
            "two operations are named",
            "own",
        ),
        (
            "'^[0-9]{10}$'",
            "'^[0-9{10}$('",
            "'^[0-9{10}$('",
            "cannot be used",
            "2020-12",
        ),
        ("'200':", "'2000':", "'2000':", "`2000` is no status", "default"),
        (
            "multipleOf: 0.01",
            "multipleOf: 0.01234567890123456",
            "multipleOf",
            "may not be what was written",
            "15 digits",
        ),
    ] {
        let told = openapi(from, to, place);
        assert!(told.iter().any(|told| told.message.contains(message)), "{told:#?}");
        assert!(
            told.iter()
                .any(|told| told.help.as_deref().unwrap_or_default().contains(help)),
            "{told:#?}"
        );
    }
}

#[test]
fn a_reference_in_a_circle_is_told() {
    let circle = "    Loop: { $ref: '#/components/schemas/Loop' }\n    OrderNo:";
    let told = openapi("    OrderNo:", circle, "Loop: {");
    assert!(told[0].message.contains("leads back to itself"), "{told:?}");
}

#[test]
fn a_schema_without_a_name_does_not_contain_itself() {
    let properties = "a: { type: object, properties: { b: { $ref: '#/components/schemas/Thing/properties/a' } } }";
    let found = mistakes(properties, properties, "");
    assert_told(
        &found,
        0,
        "/components/schemas/Thing/properties/a contains itself",
        "give it a name",
    );
}
