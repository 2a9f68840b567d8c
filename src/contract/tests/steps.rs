use super::*;

/// A contract of two versions whose only operation takes and answers a `Thing`.
/// Keys of two systems; two of the older one became the same.
const SKUS: &str =
    "sap,name,shop\n4711,Weizenmehl,FLOUR-405-25\n4712,Zucker,SUGAR-1000\n4713,Salz,SALT\n4714,Salz,SALT\n";

pub(super) fn contract(older: &str, newer: &str, mapping: &str) -> Result<Contract, Vec<Diagnostic>> {
    let openapi = |schemas: &str| {
        let schemas = schemas.replace('\n', "\n    ");
        format!(
            "openapi: 3.1.0\ninfo: {{ title: Things, version: '1' }}\npaths:\n  /things:\n    post:\n      operationId: put\n      \
             parameters: [{{ name: X-Kind, in: header, schema: {{ type: string }} }}]\n      \
             requestBody: {{ required: true, content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Thing' }} }} }} }}\n      \
             responses: {{ '200': {{ description: ok, content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Thing' }} }} }} }} }}\n\
             components:\n  schemas:\n    {schemas}"
        )
    };
    let files = [
        file("contracts/things/v1/openapi.yaml", &openapi(older)),
        file("contracts/things/v2/openapi.yaml", &openapi(newer)),
        file("contracts/things/tables/sku.csv", SKUS),
        file(
            "contracts/things/v1-v2.map.yaml",
            &format!("kind: Mapping\ncontract: things\nfrom: v1\nto: v2\n{mapping}"),
        ),
    ];
    Contract::load("things", &files)
}

/// A closed object schema `Thing` with these properties, the first `required` ones required.
pub(super) fn thing(properties: &str) -> String {
    format!("Thing:\n  type: object\n  additionalProperties: false\n  properties: {{ {properties} }}")
}

pub(super) fn mapped(older: &str, newer: &str, steps: &str) -> Contract {
    contract(&thing(older), &thing(newer), &format!("types:\n  Thing:\n{steps}"))
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn up(contract: &Contract, body: &str) -> Result<String, String> {
    request(contract, "put", "v1", "v2", body).map_err(|error| error.to_string())
}

fn down(contract: &Contract, body: &str) -> Result<String, String> {
    response(contract, "put", "v1", "v2", 200, body).map_err(|error| error.to_string())
}

const TEXT: &str = "type: string";

#[test]
fn fields_may_change_places_with_each_other() {
    let swap = mapped(
        &format!("a: {{ {TEXT} }}, b: {{ {TEXT} }}"),
        &format!("a: {{ {TEXT} }}, b: {{ {TEXT} }}"),
        "    - move: { from: a, to: b }\n    - move: { from: b, to: a }",
    );
    assert_eq!(up(&swap, r#"{"a":"1","b":"2"}"#).unwrap(), r#"{"b":"1","a":"2"}"#);
    assert_eq!(down(&swap, r#"{"a":"2"}"#).unwrap(), r#"{"b":"2"}"#);
}

#[test]
fn a_default_fills_what_is_left_out_and_may_be_left_out_again() {
    let filled = mapped(
        &format!("a: {{ {TEXT} }}"),
        &format!("a: {{ {TEXT} }}, n: {{ type: integer }}"),
        "    - default: { path: a, value: none }\n    - const: { to: n, value: 7 }",
    );
    assert_eq!(up(&filled, "{}").unwrap(), r#"{"a":"none","n":7}"#);
    assert_eq!(up(&filled, r#"{"a":"x"}"#).unwrap(), r#"{"a":"x","n":7}"#);
    assert_eq!(down(&filled, r#"{"a":"none","n":7}"#).unwrap(), r#"{"a":"none"}"#);
    assert!(
        down(&filled, r#"{"n":8}"#)
            .unwrap_err()
            .contains("`8` where version v1 knows only 7")
    );
    let omitted = mapped(
        &format!("a: {{ {TEXT} }}"),
        &format!("a: {{ {TEXT} }}"),
        "    - default: { path: a, value: none, omit: true }",
    );
    assert_eq!(down(&omitted, r#"{"a":"none"}"#).unwrap(), "{}");
    assert_eq!(down(&omitted, r#"{"a":"x"}"#).unwrap(), r#"{"a":"x"}"#);
}

#[test]
fn a_dropped_field_is_restored() {
    let dropped = mapped(
        &format!("a: {{ {TEXT} }}, old: {{ {TEXT} }}"),
        &format!("a: {{ {TEXT} }}"),
        "    - drop: { path: old, restore: N }",
    );
    assert_eq!(up(&dropped, r#"{"a":"1","old":"J"}"#).unwrap(), r#"{"a":"1"}"#);
    assert_eq!(down(&dropped, r#"{"a":"1"}"#).unwrap(), r#"{"a":"1","old":"N"}"#);
}

#[test]
fn a_copy_is_dropped_again_if_it_agrees() {
    let copied = |agree: &str| {
        mapped(
            &format!("a: {{ {TEXT} }}"),
            &format!("a: {{ {TEXT} }}, b: {{ {TEXT} }}"),
            &format!("    - copy: {{ from: a, to: b{agree} }}"),
        )
    };
    assert_eq!(up(&copied(""), r#"{"a":"1"}"#).unwrap(), r#"{"a":"1","b":"1"}"#);
    assert_eq!(down(&copied(""), r#"{"a":"1","b":"1"}"#).unwrap(), r#"{"a":"1"}"#);
    assert!(
        down(&copied(""), r#"{"a":"1","b":"2"}"#)
            .unwrap_err()
            .contains("`2` differs")
    );
    assert_eq!(
        down(&copied(", agree: ignore"), r#"{"a":"1","b":"2"}"#).unwrap(),
        r#"{"a":"1"}"#
    );
}

#[test]
fn the_items_of_a_list_have_steps_of_their_own() {
    let list = |name: &str| {
        format!(
            "list: {{ type: array, items: {{ type: object, additionalProperties: false, properties: {{ {name}: {{ {TEXT} }} }} }} }}"
        )
    };
    let each = mapped(
        &list("a"),
        &list("b"),
        "    - each: { path: list, ops: [{ move: { from: a, to: b } }] }",
    );
    assert_eq!(
        up(&each, r#"{"list":[{"a":"1"},{}]}"#).unwrap(),
        r#"{"list":[{"b":"1"},{}]}"#
    );
    assert_eq!(
        down(&each, r#"{"list":[{"b":"1"}]}"#).unwrap(),
        r#"{"list":[{"a":"1"}]}"#
    );
}

#[test]
fn the_first_of_a_list_is_a_list_of_one_again() {
    let first = mapped(
        &format!("a: {{ type: array, items: {{ {TEXT} }} }}"),
        &format!("a: {{ {TEXT} }}"),
        "    - first: { path: a, more: drop }",
    );
    assert_eq!(up(&first, r#"{"a":["1","2"]}"#).unwrap(), r#"{"a":"1"}"#);
    assert_eq!(up(&first, r#"{"a":[]}"#).unwrap(), "{}");
    assert_eq!(down(&first, r#"{"a":"1"}"#).unwrap(), r#"{"a":["1"]}"#);
}

#[test]
fn numbers_keep_their_letters_where_nothing_names_them() {
    let carried = mapped(
        &format!("n: {{ type: number }}, a: {{ {TEXT} }}"),
        &format!("n: {{ type: number }}, b: {{ {TEXT} }}"),
        "    - move: { from: a, to: b }",
    );
    for number in ["19.90", "12345678901234567890.12", "1e2", "1E-3", "-0", "0.1000"] {
        assert_eq!(
            up(&carried, &format!(r#"{{"n":{number}}}"#)).unwrap(),
            format!(r#"{{"n":{number}}}"#)
        );
    }
}

#[test]
fn a_type_may_contain_itself() {
    let tree = |name: &str| {
        thing(&format!(
            "{name}: {{ {TEXT} }}, parts: {{ type: array, items: {{ $ref: '#/components/schemas/Thing' }} }}, \
             byName: {{ type: object, additionalProperties: {{ $ref: '#/components/schemas/Thing' }} }}"
        ))
    };
    let tree = contract(
        &tree("a"),
        &tree("b"),
        "types:\n  Thing:\n    - move: { from: a, to: b }",
    )
    .unwrap();
    assert_eq!(
        up(
            &tree,
            r#"{"parts":[{"a":"1","parts":[{"a":"2"}]}],"byName":{"x":{"a":"3"}}}"#
        )
        .unwrap(),
        r#"{"parts":[{"parts":[{"b":"2"}],"b":"1"}],"byName":{"x":{"b":"3"}}}"#
    );
    let error = up(&tree, r#"{"parts":[{"parts":[{"c":"2"}]}]}"#).unwrap_err();
    assert!(error.contains("/parts/0/parts/0/c"), "{error}");
}

#[test]
fn header_fields_and_status_codes_are_translated() {
    let schema = thing(&format!("a: {{ {TEXT} }}"));
    let mapping = "tables:\n  kinds: { A: b }\noperations:\n  put:\n    status: { 200: 200 }\n    \
                   header: [{ table: { path: x-kind, table: kinds } }]";
    let contract = contract(&schema, &schema, mapping).unwrap();
    let translation = contract.translation("put", "v1", "v2").unwrap();
    let mut fields = headers("application/json");
    fields.insert("x-kind", HeaderValue::from_static("A"));
    let body = document("{}");
    translation.request(&[], None, &mut fields, Some(&body)).unwrap();
    assert_eq!(fields["x-kind"], "b");
    assert_eq!(fields[CONTENT_TYPE], "application/json");
    let error = translation.request(&[], None, &mut fields, Some(&body)).unwrap_err();
    assert_eq!(error.pointer, "header:x-kind");
    assert_eq!(fields["x-kind"], "b");
}

#[test]
fn a_status_that_has_another_code_is_mapped() {
    let mut files = demo_files();
    let accepted = files[2].text.replacen("'201'", "'202'", 1);
    files[2] = file("contracts/orders/v3/openapi.yaml", &accepted);
    let found = Contract::load("orders", &files).unwrap_err();
    let told = found
        .iter()
        .any(|mistake| mistake.message.contains("createOrder answers 202 as application/json"));
    assert!(told, "{found:?}");
    let mapped = files[4].text.replace(
        "operations:\n",
        "operations:\n  createOrder:\n    status: { 201: 202 }\n",
    );
    files[4] = file("contracts/orders/v2-v3.map.yaml", &mapped);
    let contract = Contract::load("orders", &files).unwrap();
    assert_same(&response(&contract, "createOrder", "v1", "v3", 202, V3).unwrap(), V1);
    let translation = contract.translation("createOrder", "v1", "v3").unwrap();
    let mapped = translation
        .response(StatusCode::ACCEPTED, &mut HeaderMap::new(), None)
        .unwrap();
    assert_eq!(mapped.status, StatusCode::CREATED);
}

#[test]
fn lists_in_a_query_are_read_and_translated_item_by_item() {
    let mut files = demo_files();
    for (index, version) in ["v1", "v2", "v3"].iter().enumerate() {
        let item = "schema: { $ref: '#/components/schemas/OrderStatus' }";
        let list = "schema: { type: array, maxItems: 2, items: { $ref: '#/components/schemas/OrderStatus' } }";
        let text = files[index].text.replacen(item, list, 1);
        files[index] = file(&format!("contracts/orders/{version}/openapi.yaml"), &text);
    }
    let contract = Contract::load("orders", &files).unwrap();
    let translation = contract.translation("listOrders", "v1", "v3").unwrap();
    let check = |query| {
        translation
            .caller()
            .check_request(&[], Some(query), &HeaderMap::new(), None)
    };
    assert_eq!(check("status=OPEN&status=PICKED"), Ok(()));
    assert!(check("status=OPEN&status=LOST").is_err());
    assert!(check("status=OPEN&status=OPEN&status=OPEN").is_err());
    let query = Some("status=OPEN&status=PICKED&limit=5");
    let mapped = translation.request(&[], query, &mut HeaderMap::new(), None).unwrap();
    assert_eq!(
        mapped.path_and_query,
        "/orders?status=received&status=in-fulfilment&limit=5"
    );
}

#[test]
fn a_path_may_be_described_elsewhere_in_the_document() {
    let mut files = demo_files();
    let moved = files[0].text.replacen(
        "  /orders/{orderNo}:\n",
        "  /orders/{orderNo}: { $ref: '#/x-order' }\n",
        1,
    );
    let start = moved.find("{ $ref: '#/x-order' }\n").unwrap() + "{ $ref: '#/x-order' }\n".len();
    let end = moved.find("  /orders/{orderNo}/cancel:").unwrap();
    let item = moved[start..end].replace("\n  ", "\n");
    let text = format!(
        "{}{}x-order:\n{}",
        &moved[..start],
        &moved[end..],
        item.replacen("  ", "", 1)
    );
    files[0] = file("contracts/orders/v1/openapi.yaml", &text);
    let contract = Contract::load("orders", &files).unwrap();
    assert_eq!(
        contract.version("v1").unwrap().operation("getOrder").unwrap().template,
        "/orders/{orderNo}"
    );
}

#[test]
fn keys_are_looked_up_both_ways_and_what_is_not_there_is_refused() {
    let mapping = "tables: { sku: { file: tables/sku.csv, older: sap, newer: shop } }\ntypes:\n  Thing:\n    \
                   - lookup: { path: key, table: sku, missDown: { SALT: '4714' } }";
    let text = thing("key: { type: string }");
    let contract = contract(&text, &text, mapping).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    assert_eq!(up(&contract, r#"{"key":"4711"}"#).unwrap(), r#"{"key":"FLOUR-405-25"}"#);
    let refused = request(&contract, "put", "v1", "v2", r#"{"key":"1"}"#).unwrap_err();
    assert_eq!(
        (refused.pointer.as_str(), refused.detail.as_str()),
        ("/key", "the key `1` has no counterpart")
    );
    let back = response(&contract, "put", "v1", "v2", 200, r#"{"key":"SALT"}"#).unwrap();
    assert_eq!(back, r#"{"key":"4714"}"#);
}

#[test]
fn mistakes_of_tables_in_files_are_told() {
    let text = thing("key: { type: string, enum: [a] }");
    let found = |tables: &str, step: &str| {
        let mapping = format!("tables: {{ {tables} }}\ntypes:\n  Thing:\n    - {step}");
        let found = contract(&text, &text, &mapping).unwrap_err();
        assert!(found[0].line > 0 && found[0].help.is_some(), "{found:?}");
        found[0].message.clone()
    };
    let lookup = "lookup: { path: key, table: sku }";
    let sku = "sku: { file: tables/sku.csv, older: sap, newer: shop }";
    assert!(found("sku: { file: tables/no.csv, older: a, newer: b }", lookup).contains("there is no file"));
    assert_eq!(
        found("sku: { file: tables/sku.csv, older: sap, newer: web }", lookup),
        "the table has no column `web`"
    );
    assert!(found(sku, lookup).contains("several keys become `SALT`"));
    assert_eq!(found("sku: { a: b }", lookup), "table `sku` lies in no file");
    assert_eq!(
        found(sku, "lookup: { path: key, table: skus }"),
        "there is no table `skus`"
    );
    // A `table` step holds the codes of a file against the schemas.
    let table = found(sku, "table: { path: key, table: sku, missDown: { SALT: '4714' } }");
    assert!(table.contains("has no row for `a`"), "{table}");
}
