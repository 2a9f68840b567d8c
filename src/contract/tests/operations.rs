//! Steps that change the form of a document, and what they refuse.

use super::steps::{contract, mapped, thing};
use super::*;

fn up(contract: &Contract, body: &str) -> Result<String, String> {
    request(contract, "put", "v1", "v2", body).map_err(|error| error.to_string())
}

fn down(contract: &Contract, body: &str) -> Result<String, String> {
    response(contract, "put", "v1", "v2", 200, body).map_err(|error| error.to_string())
}

const TEXT: &str = "{ type: string }";
const ITEMS: &str = "type: object, additionalProperties: false, properties:";

fn mistakes(older: &str, newer: &str, steps: &str) -> String {
    let found = contract(&thing(older), &thing(newer), &format!("types:\n  Thing:\n{steps}")).unwrap_err();
    found
        .iter()
        .map(|mistake| mistake.message.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

fn grouped() -> Contract {
    mapped(
        &format!(
            "lines: {{ type: array, items: {{ {ITEMS} {{ pos: {{ type: integer }}, whs: {TEXT} }}, required: [pos, whs] }} }}"
        ),
        &format!(
            "deliveries: {{ type: array, items: {{ {ITEMS} {{ warehouse: {TEXT}, items: {{ type: array, items: {{ {ITEMS} {{ pos: {{ type: integer }} }}, required: [pos] }} }} }} }} }}"
        ),
        "    - group: { from: lines, to: deliveries, by: { whs: warehouse }, items: items, orderBy: pos }",
    )
}

#[test]
fn lines_are_grouped_and_come_back_in_their_order() {
    let lines = r#"{"lines":[{"pos":10,"whs":"A"},{"pos":9,"whs":"B"},{"pos":11,"whs":"A"}]}"#;
    let groups = up(&grouped(), lines).unwrap();
    assert_eq!(
        groups,
        r#"{"deliveries":[{"warehouse":"A","items":[{"pos":10},{"pos":11}]},{"warehouse":"B","items":[{"pos":9}]}]}"#
    );
    assert_eq!(
        down(&grouped(), &groups).unwrap(),
        r#"{"lines":[{"pos":9,"whs":"B"},{"pos":10,"whs":"A"},{"pos":11,"whs":"A"}]}"#
    );
    assert_eq!(up(&grouped(), r#"{"lines":[]}"#).unwrap(), r#"{"deliveries":[]}"#);
}

#[test]
fn groups_that_would_lose_something_are_refused() {
    let error = |body: &str| down(&grouped(), body).unwrap_err();
    assert!(error(r#"{"deliveries":[{"warehouse":"A","items":[]}]}"#).contains("without items"));
    assert!(error(r#"{"deliveries":[{"items":[{"pos":1}]}]}"#).contains("without a value in `warehouse`"));
    assert!(error(r#"{"deliveries":[{"warehouse":"A"}]}"#).contains("without a list in `items`"));
    assert!(error(r#"{"deliveries":[{"warehouse":"A","items":[7]}]}"#).contains("at `/deliveries/0/items/0`"));
    let error = up(&grouped(), r#"{"lines":[{"pos":1}]}"#).unwrap_err();
    assert!(error.contains("without a value in `whs` at `/lines/0`"), "{error}");
}

#[test]
fn thousands_of_lines_are_grouped_in_one_go() {
    let lines: Vec<_> = (0..5_000)
        .map(|pos| format!(r#"{{"pos":{pos},"whs":"{}"}}"#, pos % 700))
        .collect();
    let lines = format!(r#"{{"lines":[{}]}}"#, lines.join(","));
    let groups = up(&grouped(), &lines).unwrap();
    assert_eq!(document(&groups).root().get("deliveries").unwrap().len(), 700);
    assert_same(&down(&grouped(), &groups).unwrap(), &lines);
}

#[test]
fn a_flat_list_becomes_groups_on_the_way_back_too() {
    let flat = format!("rows: {{ type: array, items: {{ {ITEMS} {{ a: {TEXT}, k: {TEXT} }} }} }}");
    let nested = format!(
        "groups: {{ type: array, items: {{ {ITEMS} {{ key: {TEXT}, of: {{ type: array, items: {{ {ITEMS} {{ a: {TEXT} }} }} }} }} }} }}"
    );
    let steps = "    - flatten: { from: groups, to: rows, by: { k: key }, items: of }";
    let flattened = mapped(&nested, &flat, steps);
    let groups = r#"{"groups":[{"key":"x","of":[{"a":"1"},{"a":"2"}]}]}"#;
    let rows = r#"{"rows":[{"a":"1","k":"x"},{"a":"2","k":"x"}]}"#;
    assert_eq!(up(&flattened, groups).unwrap(), rows);
    assert_eq!(down(&flattened, rows).unwrap(), groups);
}

#[test]
fn names_and_values_are_an_object_if_each_name_stands_once() {
    let pivot = mapped(
        &format!("a: {{ type: array, items: {{ {ITEMS} {{ n: {TEXT}, v: {TEXT}, x: {TEXT} }} }} }}"),
        &format!("a: {{ type: object, additionalProperties: {TEXT} }}"),
        "    - pivot: { path: a, key: n, value: v }",
    );
    let list = r#"{"a":[{"n":"b","v":"1"},{"n":"a\"","v":"2"}]}"#;
    assert_eq!(up(&pivot, list).unwrap(), r#"{"a":{"b":"1","a\"":"2"}}"#);
    assert_eq!(down(&pivot, r#"{"a":{"b":"1","a\"":"2"}}"#).unwrap(), list);
    for (body, message) in [
        (
            r#"{"a":[{"n":"b","v":"1"},{"n":"b","v":"2"}]}"#,
            "a second value for `b` at `/a/1`",
        ),
        (r#"{"a":[{"n":"b"}]}"#, "without a value in `v`"),
        (r#"{"a":[{"v":"b"}]}"#, "without a name in `n`"),
        (r#"{"a":[{"n":"b","v":"1","x":"2"}]}"#, "more than `n` and `v`"),
    ] {
        let error = up(&pivot, body).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

/// Partners by their role in a list, and named in an object.
fn partners(more: &str) -> Contract {
    let newer_party = "{ type: object, additionalProperties: false, required: [id], properties: { id: { type: string }, name: { type: string } } }";
    mapped(
        &format!(
            "partners: {{ type: array, items: {{ {ITEMS} {{ role: {TEXT}, no: {TEXT}, name: {TEXT} }}, required: [role, no] }} }}"
        ),
        &format!("parties: {{ {ITEMS} {{ soldTo: {newer_party}, shipTo: {newer_party} }} }}"),
        &format!(
            "    - pivot: {{ from: partners, to: parties, key: role, names: {{ AG: soldTo, WE: shipTo }}, ops: [{{ move: {{ from: no, to: id }} }}]{more} }}"
        ),
    )
}

#[test]
fn items_stand_under_the_names_of_their_keys_and_come_back() {
    let list = r#"{"partners":[{"no":"18","name":"Ufer","role":"WE"},{"no":"17","role":"AG"}]}"#;
    let object = r#"{"parties":{"shipTo":{"name":"Ufer","id":"18"},"soldTo":{"id":"17"}}}"#;
    assert_eq!(up(&partners(""), list).unwrap(), object);
    let back = r#"{"partners":[{"name":"Ufer","no":"18","role":"WE"},{"no":"17","role":"AG"}]}"#;
    assert_eq!(down(&partners(""), object).unwrap(), back);
    for (older, newer) in [(r#"{"partners":[]}"#, r#"{"parties":{}}"#), ("{}", "{}")] {
        assert_eq!(up(&partners(""), older).unwrap(), newer);
        assert_eq!(down(&partners(""), newer).unwrap(), older);
    }
}

#[test]
fn items_that_could_not_come_back_are_refused_with_their_place() {
    for (body, message) in [
        (
            r#"{"partners":[{"no":"1","role":"AG"},{"no":"2","role":"AG"}]}"#,
            "a second item for `AG` at `/partners/1`",
        ),
        (
            r#"{"partners":[{"no":"1","role":"RE"}]}"#,
            "`RE` has no name here at `/partners/0`",
        ),
        (
            r#"{"partners":[{"no":"1"}]}"#,
            "an item without text in `role` at `/partners/0`",
        ),
        (r#"{"partners":[7]}"#, "an item without text in `role` at `/partners/0`"),
        (
            r#"{"partners":[null]}"#,
            "an item without text in `role` at `/partners/0`",
        ),
        (r#"{"partners":7}"#, "a number where a list is expected"),
    ] {
        let error = up(&partners(""), body).unwrap_err();
        assert!(error.contains(message), "{body}: {error}");
    }
    for (body, message) in [
        (
            r#"{"parties":{"payer":{"id":"1"}}}"#,
            "`payer` has no key there at `/parties/payer`",
        ),
        (
            r#"{"parties":{"soldTo":null}}"#,
            "something else where an object is expected at `/parties/soldTo`",
        ),
        (r#"{"parties":[]}"#, "a list where an object is expected"),
    ] {
        let error = down(&partners(""), body).unwrap_err();
        assert!(error.contains(message), "{body}: {error}");
    }
    let dropping = partners(", others: drop");
    let list = r#"{"partners":[{"no":"1","role":"RE"},{"no":"2","role":"AG"}]}"#;
    assert_eq!(up(&dropping, list).unwrap(), r#"{"parties":{"soldTo":{"id":"2"}}}"#);
}

#[test]
fn a_pivot_of_items_fits_both_schemas_or_says_why_not() {
    let list = |fields: &str| format!("a: {{ type: array, items: {{ {ITEMS} {{ {fields} }} }} }}");
    let object = |members: &str| format!("a: {{ {ITEMS} {{ {members} }} }}");
    let item = format!("{{ {ITEMS} {{ no: {TEXT} }} }}");
    let (plain, keyed) = (format!("no: {TEXT}"), format!("no: {TEXT}, role: {TEXT}"));
    let one = format!("soldTo: {item}");
    let two = format!("soldTo: {item}, shipTo: {{ {ITEMS} {{ no: {TEXT}, x: {TEXT} }} }}");
    for (older, newer, step, message) in [
        (
            list(&keyed),
            object(&one),
            "names: { AG: buyer }",
            "has no member `buyer` there",
        ),
        (
            list(&plain),
            object(&one),
            "names: { AG: soldTo }",
            "has no `role` in an item of a",
        ),
        (
            list(&keyed),
            object(&two),
            "names: { AG: soldTo, WE: shipTo }",
            "do not have the same schema",
        ),
        (
            list(&keyed),
            object(&one),
            "names: { AG: soldTo, WE: soldTo }",
            "`AG` and `WE` are both called `soldTo`",
        ),
        (
            list(&keyed),
            object(&one),
            "value: no, names: { AG: soldTo }",
            "are about whole items",
        ),
        (list(&keyed), object(&one), "others: drop", "there are no `names`"),
        (
            list(&keyed),
            list(&plain),
            "names: { AG: soldTo }",
            "needs a list in one version and an object in the other",
        ),
        (
            object(&one),
            list(&keyed),
            "names: { AG: soldTo }",
            "needs a list in one version and an object in the other",
        ),
    ] {
        let found = mistakes(
            &older,
            &newer,
            &format!("    - pivot: {{ path: a, key: role, {step} }}"),
        );
        assert!(found.contains(message), "{step}: {found}");
    }
}

#[test]
fn lists_in_lists_are_counted_and_added_up_exactly() {
    let lines = format!(
        "lines: {{ type: array, items: {{ {ITEMS} {{ serials: {{ type: array, items: {TEXT} }}, taxes: {{ type: array, items: {{ {ITEMS} {{ amount: {{ type: number }} }} }} }} }} }} }}"
    );
    let steps = "    - count: { of: 'lines[].serials', to: serialCount }\n    - sum: { of: 'lines[].taxes', field: amount, to: taxTotal, as: number }";
    let contract = mapped(
        &lines,
        &format!("{lines}, serialCount: {{ type: integer }}, taxTotal: {{ type: number }}"),
        steps,
    );
    let older = r#"{"lines":[{"serials":["a"],"taxes":[{"amount":0.10},{"amount":0.20}]},{},{"serials":["b","c"],"taxes":[{"amount":12345678901234567890.05},{}]}]}"#;
    let made = r#","serialCount":3,"taxTotal":12345678901234567890.35}"#;
    let newer = older.strip_suffix('}').unwrap().to_owned() + made;
    assert_eq!(up(&contract, older).unwrap(), newer);
    assert_eq!(down(&contract, &newer).unwrap(), older);
    let found = mistakes(
        &lines,
        &format!("{lines}, n: {{ type: integer }}"),
        "    - count: { of: 'lines[].parts', to: n }",
    );
    assert!(found.contains("has no `parts` in items of that list"), "{found}");
}

fn payments() -> Contract {
    let older = "Thing:\n  type: object\n  additionalProperties: false\n  properties: { pay: { oneOf: [{ $ref: '#/components/schemas/Card' }, { $ref: '#/components/schemas/Debit' }] } }\n\
        Card: { type: object, additionalProperties: false, required: [kind, no], properties: { kind: { const: card }, no: { type: string } } }\n\
        Debit: { type: object, additionalProperties: false, required: [kind, iban], properties: { kind: { const: debit }, iban: { type: string } } }";
    let newer = older
        .replace("kind", "type")
        .replace("const: card", "const: CARD")
        .replace("const: debit", "const: SEPA")
        .replace("no: {", "number: {")
        .replace(", no]", ", number]");
    let mapping = "tables: { kind: { card: CARD, debit: SEPA } }\ntypes:\n  Thing:\n    \
        - variant: { path: pay, by: kind, newerBy: type, cases: [{ older: card, newer: CARD, type: Card }, { older: debit, newer: SEPA, type: Debit }] }\n  \
        Card:\n    - table: { from: kind, to: type, table: kind }\n    - move: { from: no, to: number }\n  \
        Debit:\n    - table: { from: kind, to: type, table: kind }";
    contract(older, &newer, mapping).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

#[test]
fn a_value_is_translated_as_the_type_it_says_it_is() {
    let payments = payments();
    for (older, newer) in [
        (
            r#"{"pay":{"no":"4711","kind":"card"}}"#,
            r#"{"pay":{"type":"CARD","number":"4711"}}"#,
        ),
        (
            r#"{"pay":{"kind":"debit","iban":"DE1"}}"#,
            r#"{"pay":{"iban":"DE1","type":"SEPA"}}"#,
        ),
    ] {
        assert_same(&up(&payments, older).unwrap(), newer);
        assert_same(&down(&payments, newer).unwrap(), older);
    }
    assert!(
        up(&payments, r#"{"pay":{"kind":"cash"}}"#)
            .unwrap_err()
            .contains("`cash` is none of the types")
    );
    assert!(
        up(&payments, r#"{"pay":{"no":"1"}}"#)
            .unwrap_err()
            .contains("without `kind`")
    );
    let error = down(&payments, r#"{"pay":{"type":"CARD","number":"1","x":1}}"#).unwrap_err();
    assert!(error.contains("no place for `x` at `/pay/x`"), "{error}");
}

#[test]
fn several_values_are_refused_where_they_stand() {
    let split = mapped(
        &format!("name: {TEXT}"),
        &format!("first: {TEXT}, last: {TEXT}"),
        "    - split: { from: name, to: [first, last], separator: ' ' }",
    );
    assert_eq!(up(&split, "{}").unwrap(), "{}");
    assert!(
        up(&split, r#"{"name":"a b c"}"#)
            .unwrap_err()
            .contains("3 parts where 2 can be carried at `/name`")
    );
    assert!(
        up(&split, r#"{"name":null}"#)
            .unwrap_err()
            .contains("null where a value is expected at `/name`")
    );
    assert!(
        down(&split, r#"{"first":"a b","last":"c"}"#)
            .unwrap_err()
            .contains("told apart")
    );
}

#[test]
fn a_currency_further_out_is_seen_from_both_sides() {
    let older = format!("cur: {TEXT}, lines: {{ type: array, items: {{ {ITEMS} {{ price: {{ type: number }} }} }} }}");
    let newer = format!(
        "total: {{ {ITEMS} {{ currency: {TEXT} }} }}, lines: {{ type: array, items: {{ {ITEMS} {{ minor: {{ type: integer }} }} }} }}"
    );
    let minor = mapped(
        &older,
        &newer,
        "    - move: { from: cur, to: total.currency }\n    - each: { path: lines, ops: [{ minorUnits: { from: price, to: minor, currency: ^.cur, older: number } }] }",
    );
    let (one, other) = (
        r#"{"cur":"KWD","lines":[{"price":1.234}]}"#,
        r#"{"lines":[{"minor":1234}],"total":{"currency":"KWD"}}"#,
    );
    assert_same(&up(&minor, one).unwrap(), other);
    assert_same(&down(&minor, other).unwrap(), one);
    let error = up(&minor, r#"{"lines":[{"price":1}]}"#).unwrap_err();
    assert!(error.contains("without its currency at `/lines/0/price`"), "{error}");
}

#[test]
fn nothing_is_said_in_another_way() {
    let null = |older: &str, newer: &str| {
        let nullable = "a: { type: [string, 'null'] }";
        let steps = format!("    - null: {{ path: a, older: {older}, newer: {newer} }}");
        mapped(nullable, nullable, &steps)
    };
    let to_null = null("absent", "'null'");
    assert_eq!(up(&to_null, "{}").unwrap(), r#"{"a":null}"#);
    assert_eq!(down(&to_null, r#"{"a":null}"#).unwrap(), "{}");
    assert_eq!(up(&to_null, r#"{"a":""}"#).unwrap(), r#"{"a":""}"#);
    assert!(up(&to_null, r#"{"a":null}"#).unwrap_err().contains("taken for none"));
    let to_empty = null("'null'", "empty");
    assert_eq!(up(&to_empty, r#"{"a":null}"#).unwrap(), r#"{"a":""}"#);
    assert_eq!(down(&to_empty, r#"{"a":""}"#).unwrap(), r#"{"a":null}"#);
    assert!(up(&to_empty, r#"{"a":""}"#).unwrap_err().contains("taken for none"));
    let same = "    - null: { path: a, older: absent, newer: absent }";
    assert!(mistakes(&format!("a: {TEXT}"), &format!("a: {TEXT}"), same).contains("in the same way"));
}

#[test]
fn steps_that_cannot_work_are_told_before_they_run() {
    let (older, newer) = (format!("a: {TEXT}, b: {TEXT}"), format!("a: {TEXT}, c: {TEXT}"));
    for (step, message) in [
        ("split: { from: b, to: [c], separator: ' ' }", "fewer than two fields"),
        ("split: { from: b, to: [c, d], separator: ' ' }", "no `d` in Thing"),
        ("join: { from: [a, b], to: c, separator: '' }", "separator is empty"),
        ("scale: { from: b, to: c, by: 0 }", "has no inverse"),
        ("scale: { from: b, to: c, by: x }", "is no factor"),
        ("bool: { from: b, to: c, yes: X, no: X }", "are the same"),
        (
            "unit: { from: a, unit: b, to: c, factors: { KG: 1 }, back: G }",
            "`back` names `G`",
        ),
        (
            "pattern: { older: { b: '{x}' }, newer: { c: 'C' }, parts: { x: 'a' } }",
            "only one of the versions has the parts x",
        ),
        (
            "pattern: { older: { b: '{y}' }, newer: { c: '{y}' }, parts: { x: 'a' } }",
            "none of the parts",
        ),
        (
            "minorUnits: { from: b, to: c, currency: ^.x }",
            "leads out of everything",
        ),
        ("count: { of: lines, to: c }", "no `lines` in Thing"),
        (
            "group: { from: b, to: c, by: { x: y }, items: z }",
            "needs a list in both versions",
        ),
        (
            "variant: { from: b, to: c, by: kind, cases: [{ older: x, type: Nowhere }] }",
            "no schema `Nowhere`",
        ),
        (
            "paging: { page: a, size: b, cursor: a, limit: c, default: 20 }",
            "a page's number cannot become a cursor",
        ),
        (
            "paging: { page: a, size: b, limit: c, default: 20 }",
            "pages become nothing",
        ),
        (
            "paging: { page: a, size: b, offset: a, limit: c, default: 0 }",
            "pages of no items",
        ),
    ] {
        let told = mistakes(&older, &newer, &format!("    - {step}"));
        assert!(told.contains(message), "{step}: {told}");
    }
}

#[test]
fn an_expression_is_checked_and_fails_closed() {
    let (older, newer) = (
        format!("a: {TEXT}, n: {{ type: number }}"),
        format!("a: {TEXT}, n: {{ type: number }}, half: {{ type: number }}, day: {TEXT}"),
    );
    let expr = mapped(
        &older,
        &newer,
        "    - expr: { to: half, up: 'has(n) ? n / 2 : 0' }\n    - expr: { to: day, up: \"string(date(a.orValue('2026-01-01'), 'yyyy-MM-dd'))\" }",
    );
    assert_eq!(
        up(&expr, r#"{"a":"2026-11-21","n":3.50}"#).unwrap(),
        r#"{"a":"2026-11-21","n":3.50,"half":1.75,"day":"2026-11-21"}"#
    );
    assert_eq!(down(&expr, r#"{"n":1,"half":9,"day":"x"}"#).unwrap(), r#"{"n":1}"#);
    assert!(up(&expr, r#"{"a":"2026-02-30"}"#).is_err());
    for (step, message) in [
        ("expr: { to: half, up: 'm + 1' }", "`m`"),
        ("expr: { to: half, up: '(' }", "in the expression"),
        ("expr: { to: half }", "a field without its expression"),
        ("expr: {}", "computes nothing"),
        ("expr: { to: nowhere, up: '1' }", "no `nowhere` in Thing"),
    ] {
        let told = mistakes(&older, &newer, &format!("    - {step}"));
        assert!(told.contains(message), "{step}: {told}");
    }
}

#[test]
fn pages_in_a_query_become_offsets() {
    let contract = |mapping: &str| {
        let openapi = |names: [&str; 2]| {
            format!(
                "openapi: 3.1.0\ninfo: {{ title: T, version: '1' }}\npaths:\n  /t:\n    get:\n      operationId: list\n      parameters:\n        \
                 - {{ name: {}, in: query, schema: {{ type: integer }} }}\n        - {{ name: {}, in: query, schema: {{ type: integer }} }}\n      \
                 responses: {{ '200': {{ description: ok }} }}",
                names[0], names[1]
            )
        };
        let files = [
            file("contracts/t/v1/openapi.yaml", &openapi(["page", "size"])),
            file("contracts/t/v2/openapi.yaml", &openapi(["offset", "limit"])),
            file("contracts/t/v1-v2.map.yaml", mapping),
        ];
        Contract::load("t", &files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    };
    let paged = contract(
        "kind: Mapping\ncontract: t\nfrom: v1\nto: v2\noperations:\n  list:\n    query: [{ paging: { page: page, size: size, default: 20, offset: offset, limit: limit } }]",
    );
    let target = |from: &str, to: &str, query: &str| {
        let translation = paged.translation("list", from, to).unwrap();
        let mapped = translation.request(&[], Some(query), &mut HeaderMap::new(), None);
        mapped
            .map(|mapped| mapped.path_and_query)
            .map_err(|error| error.to_string())
    };
    assert_eq!(target("v1", "v2", "page=3&size=50").unwrap(), "/t?offset=100&limit=50");
    assert_eq!(target("v1", "v2", "").unwrap(), "/t");
    assert_eq!(target("v2", "v1", "offset=100&limit=50").unwrap(), "/t?page=3&size=50");
    assert!(
        target("v2", "v1", "offset=15&limit=10")
            .unwrap_err()
            .contains("no multiple of the limit 10")
    );
}
