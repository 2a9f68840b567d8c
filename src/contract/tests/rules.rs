//! Rules in schemas: what they find, and which mistakes in them are told.

use super::*;
use crate::problem::Violation;

const ORDER: &str = "
openapi: 3.1.0
info: { title: Orders, version: '1' }
paths:
  /orders:
    post:
      operationId: createOrder
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: '#/components/schemas/Envelope' } } }
      responses: { '201': { description: created } }
components:
  schemas:
    Envelope:
      type: object
      required: [order]
      properties:
        order: { $ref: '#/components/schemas/Order' }
        payment:
          oneOf: [{ $ref: '#/components/schemas/Card' }, { $ref: '#/components/schemas/Invoice' }]
      additionalProperties: { type: object, additionalProperties: { $ref: '#/components/schemas/Line' } }
    Card:
      type: object
      required: [card]
      additionalProperties: false
      properties: { card: { type: string } }
    Invoice:
      type: object
      required: [days]
      additionalProperties: false
      properties: { days: { type: integer } }
      x-crossdock-rules:
        - { id: days, rule: days <= 30, message: thirty days at most }
    Order:
      type: object
      required: [total, lines]
      additionalProperties: false
      properties:
        total: { type: number }
        reference: { type: string }
        orderedOn: { type: string, format: date }
        wantedOn: { type: [string, 'null'], format: date }
        lines: { type: array, maxItems: 500, items: { $ref: '#/components/schemas/Line' } }
        status: { type: string, enum: [OPEN, CLOSED] }
        replaces: { $ref: '#/components/schemas/Order' }
      x-crossdock-rules:
        - id: total-matches
          rule: RULE
          message: the total is not the sum of the lines
        - id: edi-names-its-order
          rule: channel != 'edi' || has(reference)
          message: orders by EDI carry a reference
        - id: dates-in-order
          rule: |
            !has(orderedOn) || wantedOn == null
              || orderedOn <= wantedOn
          message: nothing is wanted before it is ordered
    Line:
      type: object
      required: [quantity, price]
      properties: { quantity: { type: number }, price: { type: number }, rebate: { type: number } }
      x-crossdock-rules:
        - { id: rebate, rule: '!has(rebate) || rebate <= price', message: the rebate is larger than the price }
";

const TOTAL: &str = "total == round(lines.sum(l, l.quantity * l.price), 2, 'HALF_UP')";

fn load(rule: &str) -> Result<Contract, Vec<Diagnostic>> {
    let text = ORDER.replace("RULE", rule);
    Contract::load("orders", &[file("contracts/orders/v1/openapi.yaml", &text)])
}

fn broken(channel: &str, body: &str) -> Vec<(String, String)> {
    let contract = load(TOTAL).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let operation = contract.versions[0].operation("createOrder").unwrap().clone();
    let (headers, body) = (headers("application/json"), document(body));
    assert_eq!(operation.check_request(&[], None, &headers, Some(&body)), Ok(()));
    let violations = operation.check_rules(&headers, &body, channel);
    violations
        .into_iter()
        .map(|Violation { at, what }| (at, what))
        .collect()
}

#[test]
fn a_broken_rule_is_told_at_its_object() {
    let good = r#"{"order":{"total":49.75,"lines":[{"quantity":2.5,"price":19.90}]}}"#;
    assert_eq!(broken("shop", good), []);
    let wrong = r#"{"order":{"total":49.74,"orderedOn":"2026-11-20","wantedOn":"2026-11-19",
        "lines":[{"quantity":2.5,"price":19.90},{"quantity":0,"price":1,"rebate":1.01}],
        "replaces":{"total":0.1,"wantedOn":null,"orderedOn":"2026-11-20","lines":[]}},
        "payment":{"days":60},"more":{"a/b":{"quantity":1,"price":1,"rebate":2}}}"#;
    let told = |at: &str, what: &str| (at.to_owned(), what.to_owned());
    let rebate = "the rebate is larger than the price (rule rebate)";
    let total = "the total is not the sum of the lines (rule total-matches)";
    let mut found = broken("edi", wrong);
    found.sort();
    assert_eq!(
        found,
        [
            told("/more/a~1b", rebate),
            told("/order", "nothing is wanted before it is ordered (rule dates-in-order)"),
            told("/order", "orders by EDI carry a reference (rule edi-names-its-order)"),
            told("/order", total),
            told("/order/lines/1", rebate),
            told(
                "/order/replaces",
                "orders by EDI carry a reference (rule edi-names-its-order)"
            ),
            told("/order/replaces", total),
            told("/payment", "thirty days at most (rule days)"),
        ]
    );
    assert_eq!(
        broken("shop", r#"{"order":{"total":0,"lines":[]},"payment":{"card":"x"}}"#),
        []
    );
}

#[test]
fn a_rule_that_cannot_be_decided_is_broken() {
    let digits = "9".repeat(30);
    let body = format!("{{\"order\":{{\"total\":0,\"lines\":[{{\"quantity\":{digits},\"price\":{digits}}}]}}}}");
    let found = broken("shop", &body);
    assert_eq!(
        found[0].1,
        "rule total-matches cannot be checked: a number has more than 38 digits"
    );
}

#[test]
fn mistakes_in_rules_are_told_where_they_stand() {
    let line = ORDER.lines().position(|line| line.contains("RULE")).unwrap() + 1;
    for (rule, line, column, length, message, help) in [
        (
            "total == 1 && totl > 2",
            line,
            31,
            4,
            "`totl` is not known",
            "did you mean `total`?",
        ),
        (
            "'!has(status) || status == \"OPNE\"'",
            line,
            34,
            16,
            "`status` is never `OPNE`",
            "did you mean `OPEN`?",
        ),
        ("total +", line, 24, 0, "the end where a value is expected", ""),
        (
            "total",
            line,
            17,
            5,
            "a rule is true or false, and this is decimal",
            "compare it",
        ),
        ("total / lines.size() > 1", line, 17, 24, "this can fail", "x.or(y)"),
        (
            ">-\n            total > 1 &&\n            wantedOn.year() > 1",
            line + 2,
            13,
            8,
            "`wantedOn` may be null",
            "orValue",
        ),
    ] {
        let found = load(rule).expect_err(rule);
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        let mistake = &found[0];
        let help_found = mistake.help.as_deref().unwrap_or_default();
        assert!(
            mistake.message.contains(message) && help_found.contains(help),
            "{rule}: {mistake}"
        );
        // How folded lines were indented is not known; then the value is shown.
        if !rule.starts_with('>') {
            let place = (mistake.line as usize, mistake.column, mistake.length);
            assert_eq!(place, (line, column, length), "{rule}: {mistake}");
        }
    }
}

#[test]
fn what_is_no_rule_is_told() {
    let load = |from: &str, to: &str| {
        let text = ORDER.replace("RULE", TOTAL);
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        Contract::load("orders", &[file("contracts/orders/v1/openapi.yaml", &text)]).unwrap_err()
    };
    for (from, to, message) in [
        ("id: total-matches", "name: total-matches", "unknown field `name`"),
        (
            "id: edi-names-its-order",
            "id: total-matches",
            "a second rule `total-matches`",
        ),
        (
            "{ id: days, rule: days <= 30, message: thirty days at most }",
            "days <= 30",
            "this is no rule",
        ),
        (
            "properties: { card: { type: string } }",
            "properties: { card: { type: string, x-crossdock-rules: [] } }",
            "rules belong to an object, and this is string",
        ),
    ] {
        let found = load(from, to);
        assert!(
            found.iter().any(|mistake| mistake.message.contains(message)),
            "{to}: {found:?}"
        );
        assert!(found.iter().all(|mistake| mistake.line > 0), "{to}: {found:?}");
    }
}
