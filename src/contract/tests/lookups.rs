//! Keys that other systems know: mistakes in asking, and translations that wait for answers.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::steps::{contract, mapped, thing};
use super::*;

/// What other systems know: older key, newer key.
const KNOWN: [(&str, &str); 4] = [
    ("0000010001", "C-17"),
    ("0000010002", "C-18"),
    ("0000010003", "C-19"),
    // As in the guide.
    ("0000700001", "10001"),
];

/// Knows what it was told, and notes what it is asked else.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: Mutex<BTreeSet<String>>,
    wanted: Mutex<Vec<String>>,
    asked: Mutex<usize>,
}

impl Told {
    /// Knows everything at once.
    pub(super) fn all() -> Self {
        let told = Self::default();
        let keys = KNOWN.iter().flat_map(|(older, newer)| [*older, *newer]);
        told.known
            .lock()
            .unwrap()
            .extend(keys.chain(["?", "10009"]).map(str::to_owned));
        told
    }

    /// Is told what it wanted to know.
    fn learn(&self) -> Vec<String> {
        let wanted = std::mem::take(&mut *self.wanted.lock().unwrap());
        self.known.lock().unwrap().extend(wanted.iter().cloned());
        wanted
    }
}

impl Answers for Told {
    fn answer(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        *self.asked.lock().unwrap() += 1;
        if !self.known.lock().unwrap().contains(key) {
            let mut wanted = self.wanted.lock().unwrap();
            if !wanted.iter().any(|known| known == key) {
                wanted.push(key.to_owned());
            }
            return None;
        }
        let found = KNOWN.iter().find_map(|(older, newer)| match lookup.way {
            Direction::Up if *older == key => Some(*newer),
            Direction::Down if *newer == key => Some(*older),
            _ => None,
        });
        Some(match found {
            Some(other) => Answer::Key(other.into()),
            None if key == "?" => Answer::Several,
            None => Answer::Nothing,
        })
    }

    fn is_waiting(&self) -> bool {
        !self.wanted.lock().unwrap().is_empty()
    }
}

const UP: &str = "up: { api: crm, operation: find, parameter: number, take: /items/0/id }";
const DOWN: &str = "down: { api: crm, operation: get, parameter: id, take: /number }";

fn step(rest: &str) -> String {
    format!("    - lookup: {{ path: key, {rest} }}")
}

#[test]
fn mistakes_in_asking_are_told_with_their_place() {
    let found = |properties: &str, rest: &str| {
        let mapping = format!("types:\n  Thing:\n{}", step(rest));
        let text = thing(properties);
        let found = contract(&text, &text, &mapping).unwrap_err();
        assert!(found[0].line > 0 && found[0].column > 0, "{found:?}");
        found[0].message.clone()
    };
    let text = "key: { type: string }";
    for (properties, rest, message) in [
        (
            text,
            "missUp: { a: b }".to_owned(),
            "this lookup says neither where keys stand nor who is asked",
        ),
        (
            text,
            format!("table: sku, {UP}"),
            "this lookup names a table and an operation",
        ),
        (text, UP.to_owned(), "this lookup says nothing of the way down"),
        (text, DOWN.to_owned(), "this lookup says nothing of the way up"),
        (
            text,
            format!("{UP}, missDown: {{ a: b }}"),
            "this lookup says nothing of the way down",
        ),
        (
            text,
            format!("{}, {DOWN}", UP.replace("/items", "items")),
            "`items/0/id` is not a JSON Pointer",
        ),
        (
            text,
            format!("{}, {DOWN}", UP.replace("api: crm, ", "")),
            "missing field `api`",
        ),
        (
            text,
            format!("{}, {DOWN}", UP.replace("take", "keep: soon, take")),
            "`soon` is not a duration",
        ),
        (
            text,
            format!("{}, {DOWN}", UP.replace("take", "pick")),
            "unknown field `pick`",
        ),
        (
            "key: { type: integer }",
            format!("{UP}, {DOWN}"),
            "`key` of version v1 may be of type integer",
        ),
    ] {
        let told = found(properties, &rest);
        assert!(told.starts_with(message), "{told}");
    }
}

const CUSTOMERS: &str = "openapi: 3.1.0
info: { title: Customers, version: '1' }
paths:
  /customers:
    get:
      operationId: find
      parameters:
        - { name: number, in: query, schema: { type: string, pattern: '^[0-9]{10}$' } }
      responses:
        '200':
          description: ok
          content:
            application/json:
              schema:
                type: object
                properties:
                  items: { type: array, items: { $ref: '#/components/schemas/Customer' } }
    post:
      operationId: add
      responses: { '204': { description: ok } }
  /customers/{id}:
    get:
      operationId: get
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses:
        '200': { description: ok, content: { application/json: { schema: { $ref: '#/components/schemas/Customer' } } } }
  /customers/{id}/notes/{note}:
    get:
      operationId: note
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: note, in: path, required: true, schema: { type: string } }
        - { name: X-Trace, in: header, schema: { type: string } }
      responses: { '200': { description: ok } }
components:
  schemas:
    Customer:
      type: object
      properties: { id: { type: string }, number: { type: integer }, blocked: { type: boolean } }
";

/// What a lookup up asks of the customers, or what is wrong with that.
fn question(up: &str) -> Result<Question, Diagnostic> {
    let file = file("contracts/customers/v1/openapi.yaml", CUSTOMERS);
    let customers = Contract::load("customers", &[file]).unwrap();
    let asking = mapped(
        "key: { type: string }",
        "key: { type: string }",
        &step(&format!("up: {{ api: crm, {up} }}, missDown: {{ '*': ~ }}")),
    );
    let lookup = asking.lookups().next().unwrap();
    customers.version("v1").unwrap().question(lookup)
}

#[test]
fn what_cannot_be_asked_is_told_where_it_is_named() {
    for (up, message) in [
        (
            "operation: finds, parameter: number, take: /id",
            "API `crm` has no operation `finds` in version v1",
        ),
        (
            "operation: add, parameter: number, take: /id",
            "add is POST, and a lookup must not change anything",
        ),
        (
            "operation: find, parameter: id, take: /id",
            "find has no parameter `id` in its path or query",
        ),
        (
            "operation: note, parameter: X-Trace, take: /id",
            "note has no parameter `X-Trace`",
        ),
        (
            "operation: note, parameter: id, take: /id",
            "note needs `note` besides `id`",
        ),
        (
            "operation: get, parameter: id, take: /nr",
            "the answer of get has nothing at `/nr`",
        ),
        (
            "operation: find, parameter: number, take: /items/id",
            "the answer of find has nothing at `/items/id`",
        ),
        (
            "operation: find, parameter: number, take: /items",
            "what stands at `/items` is of type array, and no key",
        ),
        (
            "operation: get, parameter: id, take: /blocked",
            "what stands at `/blocked` is of type boolean",
        ),
    ] {
        let mistake = question(up).unwrap_err();
        assert!(mistake.message.starts_with(message), "{mistake}");
        assert!(
            mistake.line > 0 && mistake.column > 20 && mistake.help.is_some(),
            "{mistake}"
        );
    }
}

#[test]
fn a_key_is_asked_for_as_its_parameter_is_written_and_taken_of_the_answer() {
    let find = question("operation: find, parameter: number, take: /items/0/id").unwrap();
    assert_eq!(
        find.target("0000010001").as_deref(),
        Some("/customers?number=0000010001")
    );
    assert_eq!(find.target("10001"), None, "no such key can exist");
    let get = question("operation: get, parameter: id, take: /number").unwrap();
    assert_eq!(get.target("C 1/7").as_deref(), Some("/customers/C%201%2F7"));
    for key in ["", ".", "..", &"x".repeat(LONGEST_KEY + 1)] {
        assert_eq!(get.target(key), None, "{key}");
    }
    let key = |text: &str| Ok(Answer::Key(text.into()));
    for (question, answer, expected) in [
        (&find, r#"{"items":[{"id":"C-17"}]}"#, key("C-17")),
        (&find, r#"{"items":[]}"#, Ok(Answer::Nothing)),
        (&find, r#"{"items":[{"id":"C-17"},{"id":"C-18"}]}"#, Ok(Answer::Several)),
        (&find, r#"{"items":[{"id":null}]}"#, Ok(Answer::Nothing)),
        (&find, r#"{"items":[{"id":""}]}"#, Ok(Answer::Nothing)),
        (&find, r#"{"items":{"0":7}}"#, Ok(Answer::Nothing)),
        (&get, r#"{"number":10001}"#, key("10001")),
        (
            &get,
            r#"{"number":1e3}"#,
            Err("what it has at `/number` is no key".to_owned()),
        ),
        (
            &get,
            r#"{"number":["1"]}"#,
            Err("what it has at `/number` is no key".to_owned()),
        ),
        (&get, "[]", Ok(Answer::Nothing)),
    ] {
        assert_eq!(question.taken(&document(answer)), expected, "{answer}");
    }
    let long = format!(r#"{{"number":"{}"}}"#, "x".repeat(LONGEST_KEY + 1));
    assert!(get.taken(&document(&long)).unwrap_err().contains("longer than any key"));
}

#[test]
fn a_translation_waits_for_all_keys_at_once_and_asks_for_each_only_once() {
    let keys = "keys: { type: array, items: { type: string } }, key: { type: string }";
    let steps = format!("    - lookup: {{ path: keys, {UP}, {DOWN} }}\n    - lookup: {{ path: key, {UP}, {DOWN} }}");
    let contract = mapped(keys, keys, &steps);
    let told = Arc::new(Told::default());
    let translation = contract.translation("put", "v1", "v2").unwrap().knowing(told.clone());
    let mut fields = headers("application/json");
    let body = document(r#"{"keys":["0000010001","0000010002","0000010001"],"key":"0000010003"}"#);
    let waiting = translation.request(&[], None, &mut fields, Some(&body)).unwrap_err();
    assert!(waiting.is_waiting, "{waiting}");
    let learned = told.learn();
    assert_eq!(learned.len(), 3, "{learned:?}");
    let mapped = translation.request(&[], None, &mut fields, Some(&body)).unwrap();
    assert_eq!(
        mapped.body.unwrap().text(),
        r#"{"keys":["C-17","C-18","C-17"],"key":"C-19"}"#
    );
}

#[test]
fn what_has_no_counterpart_is_refused_in_the_words_of_the_caller() {
    let steps = format!("    - lookup: {{ from: customerNo, to: customer.id, {UP}, {DOWN} }}");
    let older = "customerNo: { type: string }";
    let newer = "customer: { type: object, properties: { id: { type: string } } }";
    let contract = mapped(older, newer, &steps);
    let up = |key: &str| request(&contract, "put", "v1", "v2", &format!(r#"{{"customerNo":"{key}"}}"#));
    assert_eq!(up("0000010001").unwrap(), r#"{"customer":{"id":"C-17"}}"#);
    for (key, detail) in [
        ("10009", "the key `10009` has no counterpart"),
        ("?", "the key `?` stands for several"),
    ] {
        let refused = up(key).unwrap_err();
        assert!(!refused.is_waiting && !refused.is_malformed);
        assert_eq!(
            (refused.pointer.as_str(), refused.detail.as_str()),
            ("/customerNo", detail)
        );
    }
    let back = |id: &str| {
        response(
            &contract,
            "put",
            "v1",
            "v2",
            200,
            &format!(r#"{{"customer":{{"id":"{id}"}}}}"#),
        )
    };
    assert_eq!(back("C-18").unwrap(), r#"{"customerNo":"0000010002"}"#);
    assert_eq!(back("10009").unwrap_err().pointer, "/customer/id");
    // Where nobody is asked, nothing is guessed.
    let translation = contract.translation("put", "v1", "v2").unwrap();
    let body = document(r#"{"customerNo":"0000010001"}"#);
    let refused = translation.request(&[], None, &mut headers("application/json"), Some(&body));
    let refused = refused.unwrap_err();
    assert_eq!(refused.pointer, "/customerNo");
    assert!(refused.detail.contains("which is not done here"), "{refused}");
}

#[test]
fn keys_may_be_chosen_and_one_way_may_refuse_all() {
    let contract = mapped(
        "key: { type: string }",
        "key: { type: string }",
        &step(&format!(
            "{UP}, missUp: {{ CASH: C-0, '*': C-1 }}, missDown: {{ C-0: CASH, '*': ~ }}"
        )),
    );
    let up = |key: &str| request(&contract, "put", "v1", "v2", &format!(r#"{{"key":"{key}"}}"#)).unwrap();
    assert_eq!(up("CASH"), r#"{"key":"C-0"}"#);
    assert_eq!(up("10009"), r#"{"key":"C-1"}"#);
    let back = |key: &str| response(&contract, "put", "v1", "v2", 200, &format!(r#"{{"key":"{key}"}}"#));
    assert_eq!(back("C-0").unwrap(), r#"{"key":"CASH"}"#);
    assert_eq!(back("C-17").unwrap_err().detail, "the key `C-17` has no counterpart");
}

#[test]
fn a_fault_that_an_unknown_key_makes_is_none() {
    let steps = format!(
        "    - lookup: {{ path: key, {UP}, {DOWN} }}\n    - copy: {{ from: key, to: second }}\n    - date: {{ path: day, older: dd.MM.yyyy, newer: yyyy-MM-dd }}"
    );
    let (older, newer) = (
        "key: { type: string }, day: { type: string }",
        "key: { type: string }, second: { type: string }, day: { type: string }",
    );
    let contract = mapped(older, newer, &steps);
    let told = Arc::new(Told::default());
    let translation = contract.translation("put", "v1", "v2").unwrap().knowing(told.clone());
    let answer =
        |body: &str| translation.response(StatusCode::OK, &mut headers("application/json"), Some(&document(body)));
    // The copy agrees with what the older version will have, and that is not known yet.
    let body = r#"{"key":"C-17","second":"0000010001"}"#;
    assert!(answer(body).unwrap_err().is_waiting);
    told.learn();
    assert_eq!(answer(body).unwrap().body.unwrap().text(), r#"{"key":"0000010001"}"#);
    let wrong = answer(r#"{"key":"C-17","day":"tomorrow"}"#).unwrap_err();
    assert_eq!((wrong.is_waiting, wrong.pointer.as_str()), (false, "/day"));
}
