//! Places in errors, links and cursors: whole messages in the caller's words.

use std::sync::Arc;

use super::*;

const THINGS: &str = "
  /things:
    get:
      operationId: list
      parameters:
        - { name: {after}, in: query, schema: { type: string } }
        - { name: {state}, in: query, schema: { type: string } }
      responses:
        '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Page' } } } }
        default: { description: no, content: { application/json: { schema: { $ref: '#/components/schemas/Error' } } } }
    post:
      operationId: put
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } } }
      responses:
        '201': { description: ok }
        default: { description: no, content: { application/json: { schema: { $ref: '#/components/schemas/Error' } } } }
  /things/{{no}}:
    get:
      operationId: read
      parameters: [{ name: {no}, in: path, required: true, schema: { type: string } }]
      responses: { '200': { description: ok } }
components:
  schemas:
";

fn openapi(names: [&str; 3], schemas: &str) -> String {
    let paths = THINGS
        .replace("{after}", names[0])
        .replace("{state}", names[1])
        .replace("{{no}}", &format!("{{{}}}", names[2]))
        .replace("{no}", names[2]);
    format!(
        "openapi: 3.1.0\ninfo: {{ title: T, version: '1' }}\npaths:{paths}{}",
        schemas.replace('\n', "\n    ")
    )
}

const OLDER: &str = "
Page: { type: object, additionalProperties: false, properties: { items: { type: array, items: { type: object, additionalProperties: false, properties: { self: { type: string } } } }, weiter: { type: string }, naechste: { type: string } } }
Error: { type: object, additionalProperties: false, properties: { code: { type: string }, felder: { type: array, items: { type: object, additionalProperties: false, properties: { feld: { type: string }, parameter: { type: string } } } } } }
Thing: { type: object, additionalProperties: false, properties: { nr: { type: string }, zeilen: { type: array, items: { $ref: '#/components/schemas/Line' } } } }
Line: { type: object, additionalProperties: false, properties: { preis: { type: string } } }";

const NEWER: &str = "
Page: { type: object, additionalProperties: false, properties: { items: { type: array, items: { type: object, additionalProperties: false, properties: { self: { type: string } } } }, links: { type: object, additionalProperties: false, properties: { next: { type: string } } }, nextCursor: { type: string } } }
Error: { type: object, additionalProperties: false, properties: { type: { type: string }, errors: { type: array, items: { type: object, additionalProperties: false, properties: { pointer: { type: string }, parameter: { type: string } } } } } }
Thing: { type: object, additionalProperties: false, properties: { id: { type: string }, lines: { type: array, items: { $ref: '#/components/schemas/Line' } } } }
Line: { type: object, additionalProperties: false, properties: { price: { type: object, additionalProperties: false, properties: { amount: { type: string }, currency: { type: string } } } } }";

const MAPPING: &str = "
kind: Mapping
contract: t
from: v1
to: v2
tables:
  state: { OFFEN: open }
  code: { E1: 'urn:missing' }
types:
  Page:
    - move: { from: weiter, to: links.next }
    - move: { from: naechste, to: nextCursor }
  Error:
    - table: { from: code, to: type, table: code, missUp: { '*': 'urn:other' }, missDown: { '*': E9 } }
    - each: { from: felder, to: errors, ops: [{ move: { from: feld, to: pointer } }] }
  Thing:
    - move: { from: nr, to: id }
    - each: { from: zeilen, to: lines }
  Line:
    - move: { from: preis, to: price.amount }
operations:
  read:
    path: [{ pattern: { older: { nr: 'T{n}' }, newer: { id: '{n}' }, parts: { n: '[0-9]+' } } }]
  list:
    query:
      - move: { from: ab, to: cursor }
      - table: { from: status, to: state, table: state }
    CURSORS
losses:
  - { type: Line, path: price.currency, direction: down, reason: there is one currency }
";

const ERRORS: &str = "errors:
  places:
    - { from: 'felder[].feld', to: 'errors[].pointer', older: path }
    - { path: 'felder[].parameter', of: query }
";

fn load(mapping: &str) -> Result<Contract, Vec<Diagnostic>> {
    let files = [
        file("contracts/t/v1/openapi.yaml", &openapi(["ab", "status", "nr"], OLDER)),
        file(
            "contracts/t/v2/openapi.yaml",
            &openapi(["cursor", "state", "id"], NEWER),
        ),
        file("contracts/t/v1-v2.map.yaml", mapping),
    ];
    Contract::load("t", &files)
}

fn mapping(cursors: &str, more: &str) -> String {
    format!("{}{more}", MAPPING.replace("CURSORS", cursors))
}

const PLACES: &str = "errors:
  places:
    - { from: 'felder[].feld', to: 'errors[].pointer', older: path }
    - { from: 'felder[].parameter', to: 'errors[].parameter', of: query }
";

fn loaded(cursors: &str, more: &str) -> Contract {
    load(&mapping(cursors, more)).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn error(contract: &Contract, operation: &str, from: &str, to: &str, body: &str) -> (String, u32) {
    let translation = contract.translation(operation, from, to).unwrap();
    let status = StatusCode::BAD_REQUEST;
    let mapped = translation.response(status, &mut headers("application/json"), Some(&document(body)));
    let mapped = mapped.unwrap();
    (mapped.body.unwrap().text().to_owned(), mapped.missed.places)
}

#[test]
fn places_of_errors_are_in_the_callers_words_and_notation() {
    let contract = loaded("", PLACES);
    let body = r#"{"type":"urn:missing","errors":[{"pointer":"/lines/2/price/amount"},{"pointer":"/lines/0/price/currency"},{"parameter":"state"},{"parameter":"nope"},{"pointer":"query:cursor"}]}"#;
    let (text, unknown) = error(&contract, "put", "v1", "v2", body);
    assert_eq!(
        text, r#"{"code":"E1","felder":[{"feld":"zeilen[2].preis"},{"feld":"zeilen[0]"},{},{},{"feld":""}]}"#,
        "put has no query"
    );
    assert_eq!(unknown, 4);
    let (text, unknown) = error(&contract, "list", "v1", "v2", body);
    assert_eq!(
        text, r#"{"code":"E1","felder":[{"feld":""},{"feld":""},{"parameter":"status"},{},{"feld":"query:ab"}]}"#,
        "list has no body"
    );
    assert_eq!(unknown, 3);
    let (text, unknown) = error(
        &contract,
        "put",
        "v2",
        "v1",
        r#"{"felder":[{"feld":"zeilen[0].preis"},{"feld":"nr"}]}"#,
    );
    assert_eq!(
        text,
        r#"{"errors":[{"pointer":"/lines/0/price/amount"},{"pointer":"/id"}]}"#
    );
    assert_eq!(unknown, 0);
}

#[test]
fn a_place_without_a_counterpart_may_be_left_out_or_kept() {
    let body = r#"{"errors":[{"pointer":"/lines/0/price/currency"}]}"#;
    for (choice, expected) in [
        ("drop", r#"{"felder":[{}]}"#),
        ("keep", r#"{"felder":[{"feld":"/lines/0/price/currency"}]}"#),
        ("nearest", r#"{"felder":[{"feld":"zeilen[0]"}]}"#),
    ] {
        let contract = loaded("", &format!("{PLACES}  unknown: {choice}\n"));
        assert_eq!(
            error(&contract, "put", "v1", "v2", body),
            (expected.to_owned(), 1),
            "{choice}"
        );
    }
}

#[test]
fn answers_that_are_no_errors_keep_what_looks_like_a_place() {
    let contract = loaded("", PLACES);
    let translation = contract.translation("put", "v1", "v2").unwrap();
    let body = document(r#"{"errors":[{"pointer":"/lines/0/price/amount"}]}"#);
    let mapped = translation.response(StatusCode::ACCEPTED, &mut headers("application/json"), Some(&body));
    assert_eq!(
        mapped.unwrap().body.unwrap().text(),
        r#"{"felder":[{"feld":"/lines/0/price/amount"}]}"#
    );
}

/// A translation as it stands in a gateway.
fn placed(contract: &Contract, operation: &str, from: &str, to: &str, key: &Arc<CursorKey>) -> Translation {
    let standing = Standing {
        api: "things".into(),
        prefix: format!("/api/{from}"),
        base: "/erp".to_owned(),
        own: Box::new(|link| {
            let path = link.strip_prefix("http://10.0.0.9:80").unwrap_or(link);
            path.starts_with('/')
                .then(|| path.to_owned())
                .filter(|path| !path.starts_with("//"))
        }),
        key: key.clone(),
    };
    let surroundings = Arc::new(contract.surroundings(from, to, standing));
    contract.translation(operation, from, to).unwrap().within(&surroundings)
}

fn any_key() -> Arc<CursorKey> {
    Arc::new(CursorKey::new(&[7; 32]).unwrap())
}

fn location(
    contract: &Contract,
    from: &str,
    to: &str,
    name: &'static str,
    value: &str,
) -> Result<Option<String>, String> {
    let translation = placed(contract, "put", from, to, &any_key());
    let mut fields = HeaderMap::new();
    fields.insert(name, value.parse().unwrap());
    translation
        .response(StatusCode::CREATED, &mut fields, None)
        .map(|_| fields.get(name).map(|value| value.to_str().unwrap().to_owned()))
        .map_err(|error| error.to_string())
}

#[test]
fn links_lead_to_the_callers_way_to_the_same_thing() {
    let contract = loaded("", "");
    let to = |link: &str| location(&contract, "v1", "v2", "location", link).unwrap();
    for (link, expected) in [
        ("http://10.0.0.9:80/erp/things/17", Some("/api/v1/things/T17")),
        ("/erp/things/17#top", Some("/api/v1/things/T17#top")),
        (
            "/erp/things?state=open&cursor=a%26b",
            Some("/api/v1/things?ab=a%26b&status=OFFEN"),
        ),
        // Values without a counterpart, no operation, outside the API: nothing of the upstream gets out.
        ("/erp/things/x", None),
        ("/erp/things?state=lost", None),
        ("http://10.0.0.9:80/erp/other", None),
        ("/elsewhere", None),
        ("things/17", None),
        // Other systems are meant to be found.
        (
            "https://docs.example/erp/things/17",
            Some("https://docs.example/erp/things/17"),
        ),
        ("mailto:it@example", Some("mailto:it@example")),
    ] {
        assert_eq!(to(link).as_deref(), expected, "{link}");
    }
    let up = |link: &str| location(&contract, "v2", "v1", "content-location", link).unwrap();
    assert_eq!(up("/erp/things/T17").as_deref(), Some("/api/v2/things/17"));
    let field = "</erp/things?cursor=b>; rel=\"next\", </erp/nowhere>; rel=x, <https://docs.example>; rel=help";
    assert_eq!(
        location(&contract, "v1", "v2", "link", field).unwrap().as_deref(),
        Some("</api/v1/things?ab=b>; rel=\"next\", <https://docs.example>; rel=help")
    );
}

#[test]
fn what_becomes_of_other_links_is_declared() {
    let with = |links: &str| loaded("", &format!("links: {links}\n"));
    let to = |contract: &Contract, link: &str| location(contract, "v1", "v2", "location", link);
    let passing = with("{ unknown: pass, elsewhere: drop, hosts: ['erp.intern:8443'] }");
    assert_eq!(
        to(&passing, "http://10.0.0.9:80/erp/other").unwrap().as_deref(),
        Some("/api/v1/other")
    );
    assert_eq!(to(&passing, "https://docs.example").unwrap(), None);
    assert_eq!(
        to(&passing, "https://erp.intern:8443/erp/things/17")
            .unwrap()
            .as_deref(),
        Some("/api/v1/things/T17")
    );
    let refusing = with("{ unknown: refuse }");
    let refused = to(&refusing, "/erp/other").unwrap_err();
    assert_eq!(
        refused,
        "a link that cannot be given to the caller: it leads to no operation at `header:location`"
    );
}

#[test]
fn links_in_bodies_are_rewritten_where_they_are_declared() {
    let contract = loaded(
        "",
        "links: { members: [{ from: weiter, to: links.next }, { path: 'items[].self' }] }\n",
    );
    let translation = placed(&contract, "list", "v1", "v2", &any_key());
    let body = document(
        r#"{"items":[{"self":"http://10.0.0.9:80/erp/things/1"},{"self":"/erp/things/x"}],"links":{"next":"?state=open&cursor=9"}}"#,
    );
    let mapped = translation
        .response(StatusCode::OK, &mut headers("application/json"), Some(&body))
        .unwrap();
    assert_eq!(
        mapped.body.unwrap().text(),
        r#"{"items":[{"self":"/api/v1/things/T1"},{}],"weiter":"?ab=9&status=OFFEN"}"#
    );
    assert_eq!(mapped.missed.links, 1);
}

const CURSORS: &str = "cursors: { query: { from: ab, to: cursor }, members: [{ from: naechste, to: nextCursor }] }";

#[test]
fn cursors_are_sealed_for_the_caller_and_opened_for_the_upstream() {
    let contract = loaded(CURSORS, "links: { members: [{ from: weiter, to: links.next }] }\n");
    let key = any_key();
    let translation = placed(&contract, "list", "v1", "v2", &key);
    let body = document(r#"{"links":{"next":"/erp/things?cursor=c%2F9"},"nextCursor":"c/9"}"#);
    let mapped = translation
        .response(StatusCode::OK, &mut headers("application/json"), Some(&body))
        .unwrap();
    let mapped = mapped.body.unwrap();
    let sealed = mapped.root().get("naechste").unwrap().as_str().unwrap().into_owned();
    assert_ne!(sealed, "c/9");
    let next = mapped.root().get("weiter").unwrap().as_str().unwrap().into_owned();
    assert_eq!(next, format!("/api/v1/things?ab={sealed}"));
    let request =
        |translation: &Translation, query: &str| translation.request(&[], Some(query), &mut HeaderMap::new(), None);
    let sent = request(&translation, &format!("status=OFFEN&ab={sealed}")).unwrap();
    assert_eq!(sent.path_and_query, "/things?cursor=c%2F9&state=open");
    assert_eq!(
        request(&translation, "status=OFFEN").unwrap().path_and_query,
        "/things?state=open"
    );
    for foreign in ["c%2F9", "x", ""] {
        let refused = request(&translation, &format!("ab={foreign}")).unwrap_err();
        assert!(refused.is_malformed && refused.pointer == "query:ab", "{refused:?}");
    }
    let other = placed(
        &contract,
        "list",
        "v1",
        "v2",
        &Arc::new(CursorKey::new(&[8; 32]).unwrap()),
    );
    assert!(
        request(&other, &format!("ab={sealed}"))
            .unwrap_err()
            .detail
            .contains("not given out here")
    );
    // Two mappings are compared by what the upstream says.
    let plain = translation
        .clone()
        .unsealed()
        .response(StatusCode::OK, &mut headers("application/json"), Some(&body));
    assert_eq!(
        plain.unwrap().body.unwrap().text(),
        r#"{"weiter":"/api/v1/things?ab=c%2F9","naechste":"c/9"}"#
    );
    let empty = document(r#"{"nextCursor":""}"#);
    let last = translation
        .response(StatusCode::OK, &mut headers("application/json"), Some(&empty))
        .unwrap();
    assert_eq!(last.body.unwrap().text(), r#"{"naechste":""}"#, "the end stays the end");
}

#[test]
fn what_cannot_be_meant_is_told_with_its_line() {
    let told = |cursors: &str, more: &str| {
        let found = load(&mapping(cursors, more)).unwrap_err();
        assert!(found.iter().all(|mistake| mistake.line > 0), "{found:?}");
        let lines: Vec<_> = found
            .iter()
            .map(|mistake| format!("{} {}", mistake.message, mistake.help.as_deref().unwrap_or("")))
            .collect();
        lines.join("\n")
    };
    for (cursors, more, message) in [
        ("", ERRORS, "no answer in v2 has this field"),
        ("", "errors: { places: [{ path: 'a[0]' }] }", "is no way to a field"),
        (
            "",
            "errors: { places: [{ from: code }] }",
            "does not say where its field is",
        ),
        (
            "",
            "links: { members: [{ path: nowhere }] }",
            "no answer in v1 has this field",
        ),
        ("", "links: { hosts: ['http://erp'] }", "is no name of a host"),
        (
            "errors: { places: [{ path: nowhere }] }",
            "",
            "no errors of list in v1 have this field",
        ),
        (
            "cursors: { query: { path: ab } }",
            "",
            "has no parameter `ab` in the query of v2",
        ),
        (
            "cursors: { query: { from: ab } }",
            "",
            "does not say which parameter takes the cursor",
        ),
        (
            "cursors: { query: { from: ab, to: cursor }, members: [{ path: nowhere }] }",
            "",
            "no answers of list in v1 have this field",
        ),
        (
            "cursors: { query: { from: seite, to: cursor } }",
            "",
            "there is no cursor to be had",
        ),
    ] {
        let found = told(cursors, more);
        assert!(found.contains(message), "{cursors}{more}: {found}");
    }
}

#[test]
fn a_fault_of_an_answer_is_told_at_the_callers_place() {
    let contract = loaded("", "");
    let translation = contract.translation("list", "v1", "v2").unwrap();
    let fields = headers("application/json");
    assert_eq!(
        translation.caller_place(StatusCode::OK, &fields, "/links/next"),
        "/weiter"
    );
    assert_eq!(
        translation.caller_place(StatusCode::OK, &fields, "/items/0/self"),
        "/items/0/self"
    );
}

#[test]
fn the_guide_says_what_is_done() {
    let guide = include_str!("../../../contracts/README.md");
    let section = |title: &str| guide.split(title).nth(1).unwrap().split("\n### ").next().unwrap();
    let block = |text: &'static str, fence: &str| text.split(fence).nth(1).unwrap().split("\n```").next().unwrap();
    let examples = |text| {
        let lines = block(text, "\n\n```\n").lines();
        let pairs = lines.map(|line| line.split_once("  →  ").unwrap());
        pairs.collect::<Vec<_>>()
    };
    let errors = section("### Places in errors");
    let contract = loaded("", block(errors, "```yaml\n"));
    let pairs = examples(errors);
    assert_eq!(pairs.len(), 2);
    for (newer, older) in pairs {
        let operation = if newer.contains("parameter") { "list" } else { "put" };
        assert_eq!(error(&contract, operation, "v1", "v2", newer), (older.to_owned(), 0));
    }
    let links = section("### Links");
    let contract = loaded("", block(links, "```yaml\n"));
    let translation = placed(&contract, "list", "v1", "v2", &any_key());
    for (newer, older) in examples(links) {
        let mapped = translation.response(StatusCode::OK, &mut headers("application/json"), Some(&document(newer)));
        assert_eq!(mapped.unwrap().body.unwrap().text(), older);
    }
    let cursors = block(section("### Cursors"), "```yaml\n");
    assert_eq!(cursors, CURSORS);
    let operations = block(section("### Operations"), "```yaml\n");
    let mapping = format!("kind: Mapping\ncontract: t\nfrom: v1\nto: v2\n{operations}");
    let read: MappingSpec = serde_saphyr::from_str(&mapping).unwrap();
    let list = &read.operations["listOrders"].value;
    assert_eq!((list.cookie.len(), list.response_header.len()), (1, 1));
}
