//! Updates by callers of an older and of a newer version than the upstream's.

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

use crate::config::SourceFile;
use crate::contract::{Contract, Translation, UpdateFault, Updated};
use crate::json::Document;

const OLDER: &str = r"
openapi: 3.1.0
info: { title: Parts, version: '1' }
paths:
  /parts/{no}:
    parameters: [{ name: no, in: path, required: true, schema: { type: string } }]
    get:
      operationId: getPart
      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } } }
    put:
      operationId: putPart
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } }
      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } } }
    patch:
      operationId: patchPart
      requestBody:
        content:
          application/merge-patch+json: { schema: { type: object } }
          application/json-patch+json: { schema: { type: array } }
      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } } }
components:
  schemas:
    Part:
      type: object
      additionalProperties: false
      required: [no]
      properties:
        no: { type: string }
        state: { type: string, enum: [OLD, NEW] }
        price: { type: number }
        pieces: { type: array, items: { $ref: '#/components/schemas/Piece' } }
    Piece:
      type: object
      additionalProperties: false
      properties: { pos: { type: integer }, text: { type: string } }
";

const NEWER: &str = r"
openapi: 3.1.0
info: { title: Parts, version: '2' }
paths:
  /parts/{no}:
    parameters: [{ name: no, in: path, required: true, schema: { type: string } }]
    get:
      operationId: getPart
      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } } }
    put:
      operationId: putPart
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } }
      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } } }
    patch:
      operationId: patchPart
      requestBody: { content: { application/merge-patch+json: { schema: { type: object } } } }
      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Part' } } } } }
components:
  schemas:
    Part:
      type: object
      additionalProperties: false
      required: [number]
      properties:
        number: { type: string }
        state: { type: string, enum: [old, new, revised] }
        price: { type: string, pattern: '^[0-9]+(\.[0-9]+)?$' }
        weight: { type: number }
        changedBy: { type: string, readOnly: true }
        lines: { type: array, items: { $ref: '#/components/schemas/Line' } }
    Line:
      type: object
      additionalProperties: false
      properties: { number: { type: integer }, text: { type: string }, colour: { type: string } }
";

const MAPPING: &str = r"
kind: Mapping
contract: parts
from: v1
to: v2
tables: { state: { OLD: old, NEW: new } }
types:
  Part:
    - move: { from: no, to: number }
    - table: { path: state, table: state, missDown: { revised: NEW } }
    - decimal: { path: price }
    - each: { from: pieces, to: lines }
  Piece:
    as: Line
    ops: [{ move: { from: pos, to: number } }]
operations:
  putPart: { update: { mergeCurrent: { current: getPart, lists: { lines: number } } } }
  patchPart: { update: { mergeCurrent: { current: getPart, lists: { lines: number } } } }
losses:
  - { type: Part, path: weight, direction: down, reason: not known }
  - { type: Part, path: changedBy, direction: down, reason: not known }
  - { type: Piece, path: colour, direction: down, reason: not known }
";

/// What stands at an upstream of v2.
const CURRENT: &str = r#"{"number":"P1","state":"revised","price":"1.50","weight":2.0,"changedBy":"x","lines":[{"number":1,"text":"a","colour":"red"},{"number":2,"text":"b","colour":"blue"}]}"#;
/// The same as a caller of v1 sees it.
const SEEN: &str = r#"{"no":"P1","state":"NEW","price":1.50,"pieces":[{"pos":1,"text":"a"},{"pos":2,"text":"b"}]}"#;

fn load(mapping: &str) -> Result<Contract, Vec<crate::config::Diagnostic>> {
    let file = |path: &str, text: &str| SourceFile {
        path: path.into(),
        text: text.into(),
    };
    let files = [
        file("contracts/parts/v1/openapi.yaml", OLDER),
        file("contracts/parts/v2/openapi.yaml", NEWER),
        file("contracts/parts/v1-v2.map.yaml", mapping),
    ];
    Contract::load("parts", &files)
}

fn document(text: &str) -> Document {
    Document::parse(text.to_owned().into()).unwrap()
}

fn translation(operation: &str, caller: &str, upstream: &str) -> Translation {
    load(MAPPING).unwrap().translation(operation, caller, upstream).unwrap()
}

/// What a PUT of a caller becomes.
fn put((caller, upstream): (&str, &str), body: &str, current: &str) -> Result<String, UpdateFault> {
    let translation = translation("putPart", caller, upstream);
    let mut headers = HeaderMap::new();
    let mapped = translation.request(&["P1".to_owned()], None, &mut headers, Some(&document(body)));
    let mine = mapped.unwrap().body.unwrap();
    let update = translation.update().unwrap();
    Ok(update.merged(&mine, &document(current))?.text().to_owned())
}

fn patch(media: &'static str, body: &str) -> Result<Updated, UpdateFault> {
    let translation = translation("patchPart", "v1", "v2");
    assert!(translation.keeps_patch());
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]);
    translation
        .update()
        .unwrap()
        .patched(&document(body), &headers, &document(CURRENT))
}

fn merge_patch(body: &str) -> Result<String, UpdateFault> {
    let updated = patch("application/merge-patch+json", body)?;
    assert_eq!(updated.content_type, "application/merge-patch+json");
    Ok(updated.body.text().to_owned())
}

#[test]
fn what_comes_back_unchanged_changes_nothing() {
    let sent = put(("v1", "v2"), SEEN, CURRENT).unwrap();
    // A member that is only read is not sent.
    assert_eq!(sent, CURRENT.replace(r#""changedBy":"x","#, ""));
}

#[test]
fn a_change_of_one_field_leaves_what_the_caller_cannot_see() {
    let changed = SEEN.replace(r#""text":"b""#, r#""text":"c""#);
    let sent = put(("v1", "v2"), &changed, CURRENT).unwrap();
    assert!(sent.contains(r#"{"number":2,"text":"c","colour":"blue"}"#), "{sent}");
    assert!(
        sent.contains(r#""state":"revised""#) && sent.contains(r#""weight":2.0"#),
        "{sent}"
    );
}

#[test]
fn what_the_caller_can_see_and_leaves_out_is_gone() {
    let sent = put(("v1", "v2"), r#"{"no":"P1","pieces":[{"pos":2,"text":"b"}]}"#, CURRENT).unwrap();
    assert_eq!(
        sent,
        r#"{"number":"P1","weight":2.0,"lines":[{"number":2,"text":"b","colour":"blue"}]}"#
    );
}

#[test]
fn a_caller_of_the_newer_version_keeps_its_hands_off_the_older_one_s_own() {
    // v1 has nothing that v2 cannot see, but its lists are matched by its own names.
    let sent = put(
        ("v2", "v1"),
        r#"{"number":"P1","state":"new","price":"1.5","lines":[{"number":2,"text":"c"}]}"#,
        SEEN,
    );
    assert_eq!(
        sent.unwrap(),
        r#"{"no":"P1","state":"NEW","price":1.50,"pieces":[{"pos":2,"text":"c"}]}"#
    );
}

#[test]
fn a_merge_patch_says_what_is_changed_and_removed() {
    assert_eq!(merge_patch(r#"{"price":2}"#).unwrap(), r#"{"price":"2"}"#);
    assert_eq!(
        merge_patch(r#"{"price":null,"state":null}"#).unwrap(),
        r#"{"state":null,"price":null}"#
    );
    assert_eq!(merge_patch(r#"{"price":1.50,"state":"NEW"}"#).unwrap(), "{}");
    assert_eq!(
        merge_patch(r#"{"pieces":[{"pos":1,"text":"z"}]}"#).unwrap(),
        r#"{"lines":[{"number":1,"text":"z","colour":"red"}]}"#
    );
    let wrong = merge_patch(r#"{"state":"SOLD"}"#);
    assert!(
        matches!(&wrong, Err(UpdateFault::Unmappable { pointer, .. }) if pointer == "/state"),
        "{wrong:?}"
    );
}

#[test]
fn a_json_patch_is_in_the_words_of_its_caller() {
    let changed = patch(
        "application/json-patch+json",
        r#"[{"op":"test","path":"/state","value":"NEW"},{"op":"replace","path":"/pieces/1/text","value":"z"}]"#,
    );
    assert_eq!(
        changed.unwrap().body.text(),
        r#"{"lines":[{"number":1,"text":"a","colour":"red"},{"number":2,"text":"z","colour":"blue"}]}"#
    );
    let wrong = patch(
        "application/json-patch+json",
        r#"[{"op":"test","path":"/state","value":"OLD"}]"#,
    );
    assert!(matches!(wrong, Err(UpdateFault::Conflict { .. })), "{wrong:?}");
    let wrong = patch("application/json-patch+json", r#"[{"op":"remove","path":"/weight"}]"#);
    assert!(matches!(wrong, Err(UpdateFault::Conflict { .. })), "{wrong:?}");
}

#[test]
fn what_the_caller_could_not_have_read_is_not_updated() {
    let unknown = CURRENT.replace("revised", "sold");
    assert!(matches!(
        put(("v1", "v2"), SEEN, &unknown),
        Err(UpdateFault::Current { .. })
    ));
}

fn complaints(mapping: &str) -> Vec<String> {
    let found = match load(mapping) {
        Ok(contract) => contract.warnings,
        Err(found) => found,
    };
    found
        .iter()
        .map(|found| {
            assert!(found.help.is_some(), "{found:?}");
            found.message.clone()
        })
        .collect()
}

#[test]
fn a_put_that_erases_is_warned_of() {
    let replacing = MAPPING.replace(
        "{ update: { mergeCurrent: { current: getPart, lists: { lines: number } } } }\n  patch",
        "{ update: replace }\n  patch",
    );
    assert_eq!(
        complaints(&replacing),
        ["putPart from version v1 erases what its callers cannot see: changedBy, colour, weight"]
    );
}

#[test]
fn mistakes_are_told() {
    let with = |from: &str, to: &str| complaints(&MAPPING.replacen(from, to, 1));
    for (from, to, told) in [
        (
            "current: getPart",
            "current: getParts",
            "version v1 has no operation `getParts`",
        ),
        (
            "current: getPart",
            "current: putPart",
            "putPart is PUT in version v1, and reads nothing",
        ),
        (
            "lists: { lines: number }",
            "lists: { parts: number }",
            "version v2 has no list `parts` in what putPart updates",
        ),
        (
            "lists: { lines: number }",
            "lists: { lines: pos }",
            "the items of `lines` have no `pos` in version v2",
        ),
        (
            "putPart: {",
            "getPart: {",
            "getPart is GET in the older version and GET in the newer",
        ),
    ] {
        let found = with(from, to);
        assert!(found.iter().any(|found| found == told), "{found:?}");
    }
    let unmerged = MAPPING.replace(
        "  patchPart: { update: { mergeCurrent: { current: getPart, lists: { lines: number } } } }\n",
        "",
    );
    let found = complaints(&unmerged);
    let told = "the places in a JSON Patch of patchPart cannot be translated by themselves";
    assert!(found.iter().any(|found| found == told), "{found:?}");
}
