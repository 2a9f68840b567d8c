//! What is proved of single steps, what is not, and that time is limited.

use super::*;

/// A contract of one operation, whose body has these fields in either version (YAML), and these steps.
fn contract(older: &str, newer: &str, steps: &[&str]) -> Vec<SourceFile> {
    let version = |fields: &str| {
        let required: Vec<&str> = fields
            .lines()
            .filter_map(|line| line.split_once(':').map(|(name, _)| name))
            .collect();
        let required: Vec<&str> = required.into_iter().filter(|name| !name.ends_with('?')).collect();
        let fields = fields.replace("?:", ":").replace('\n', "\n        ");
        format!(
            "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      operationId: send\n      requestBody: {{ content: {{ \
             application/json: {{ schema: {{ $ref: '#/components/schemas/A' }} }} }} }}\n      responses: {{ '204': {{ \
             description: done }} }}\ncomponents:\n  schemas:\n    A:\n      type: object\n      additionalProperties: \
             false\n      required: [{}]\n      properties:\n        {fields}\n",
            required.join(", ")
        )
    };
    let steps: Vec<String> = steps.iter().map(|step| format!("    - {step}\n")).collect();
    let steps = steps.concat();
    let map =
        format!("kind: Mapping\ncontract: a\nfrom: v1\nto: v2\ntables:\n  t: {{ A: x, B: y }}\ntypes:\n  A:\n{steps}");
    [
        ("contracts/a/v1/openapi.yaml", version(older)),
        ("contracts/a/v2/openapi.yaml", version(newer)),
        ("contracts/a/v1-v2.map.yaml", map),
    ]
    .map(|(path, text)| SourceFile {
        path: path.into(),
        text: text.into(),
    })
    .into()
}

/// What is not proved on the way up and on the way down; the documents that are drawn have to agree.
fn open(older: &str, newer: &str, steps: &[&str]) -> [Vec<String>; 2] {
    let report = checked("a", &contract(older, newer, steps), 300);
    let text = render(std::slice::from_ref(&report), Style::Text { is_full: true });
    let mut ways = report.ways.iter().map(|way| {
        let lens = &way.lenses[0];
        let open = lens.unproved.iter().map(|open| format!("{}: {}", open.path, open.why));
        let open: Vec<String> = open.collect();
        assert!(!text.contains(report::CONTRADICTED), "{text}");
        assert!(lens.standing != Standing::Proved || open.is_empty(), "{text}");
        assert!(lens.standing != Standing::Tested || !open.is_empty(), "{text}");
        open
    });
    [ways.next().unwrap(), ways.next().unwrap()]
}

fn assert_proved(older: &str, newer: &str, steps: &[&str]) {
    let none: [Vec<String>; 2] = Default::default();
    assert_eq!(open(older, newer, steps), none, "{steps:?}");
}

#[test]
fn steps_are_proved_where_the_schemas_say_enough() {
    assert_proved(
        "a: { type: string, maxLength: 9 }",
        "b: { type: string, maxLength: 9 }",
        &["move: { from: a, to: b }"],
    );
    assert_proved(
        "a: { enum: [A, B] }",
        "b: { enum: [x, y] }",
        &["table: { from: a, to: b, table: t }"],
    );
    assert_proved(
        "a: { type: number, minimum: 0, maximum: 999.99, multipleOf: 0.01 }",
        "b: { type: string, pattern: '^(0|[1-9][0-9]{0,2})\\.[0-9]{2}$' }",
        &["decimal: { from: a, to: b, scale: 2, pad: true }"],
    );
    assert_proved(
        "a: { enum: [X, ''] }",
        "b: { type: boolean }",
        &["bool: { from: a, to: b, yes: X, no: '' }"],
    );
    assert_proved(
        "a: { type: string, maxLength: 20 }",
        "b: { type: array, minItems: 1, maxItems: 1, items: { type: string, maxLength: 20 } }",
        &["wrap: { from: a, to: b }"],
    );
    assert_proved(
        "a?: { type: string, minLength: 1, maxLength: 20 }",
        "b: { type: [string, 'null'], minLength: 1, maxLength: 20 }",
        &["'null': { from: a, to: b, older: absent, newer: 'null' }"],
    );
    assert_proved(
        "a: { type: string, pattern: '^[A-Z]{2}$' }",
        "b: { type: string, pattern: '^[a-z]{2}$' }",
        &["case: { from: a, to: b, older: upper, newer: lower }"],
    );
    assert_proved(
        "a: { type: string, pattern: '^[A-Z]{2}-[0-9]{3,5}$' }",
        "b: { type: string, pattern: '^[A-Z]{2}$' }\nc: { type: string, pattern: '^[0-9]{3,5}$' }",
        &[
            "pattern: { older: { a: '{x}-{y}' }, newer: { b: '{x}', c: '{y}' }, parts: { x: '[A-Z]{2}', y: '[0-9]{3,5}' } }",
        ],
    );
}

#[test]
fn zero_has_no_sign_where_it_becomes_text() {
    // `-0.00` is a number of at least zero. The schemas show it; few draws do.
    let files = contract(
        "a: { type: number, minimum: 0, maximum: 9.99, multipleOf: 0.01 }",
        "b: { type: string, pattern: '^[0-9]\\.[0-9]{2}$' }",
        &["decimal: { from: a, to: b, scale: 2, pad: true }"],
    );
    let contract = Contract::load("a", &files).unwrap();
    let lens = lenses(&contract, 0, 1).remove(0);
    let body = crate::json::Document::parse(bytes::Bytes::from_static(br#"{"a":-0.00}"#)).unwrap();
    assert_eq!(lens.map(&body).unwrap().text(), r#"{"b":"0.00"}"#);
}

#[test]
fn what_is_not_proved_says_why() {
    let found = open(
        "a: { type: string, maxLength: 3 }",
        "b: { enum: [x, y] }",
        &["table: { from: a, to: b, table: t }"],
    );
    assert_eq!(found[0], ["b: a code without a row"]);
    let found = open(
        "a: { type: string, maxLength: 19, pattern: '^[a-z]{1,9} [a-z]{1,9}$' }",
        "b: { type: string, pattern: '^[^ ]+$', maxLength: 19 }\nc?: { type: string, pattern: '^[^ ]+$', maxLength: 19 }",
        &["split: { from: a, to: [b, c], separator: ' ' }"],
    );
    assert!(found[0].is_empty(), "{found:?}");
    assert_eq!(
        found[1],
        ["a: a text with an empty part, or with more parts than fields, on the way back"]
    );
    let found = open(
        "a: { type: string, pattern: '^[0-9]{2}[.][0-9]{2}[.][0-9]{4}$' }",
        "a: { type: string, format: date }",
        &["date: { path: a, older: dd.MM.yyyy, newer: yyyy-MM-dd }"],
    );
    assert_eq!(found, [vec!["a: a day that does not exist".to_owned()], Vec::new()]);
    let found = open(
        "a: { type: number, minimum: 0, maximum: 5 }",
        "a: { type: number, minimum: 0, maximum: 50 }",
        &["scale: { path: a, by: 10 }"],
    );
    assert!(
        found[0].contains(&"a: a number of too many digits to be computed with".to_owned()),
        "{found:?}"
    );
}

#[test]
fn without_time_nothing_is_proved_and_that_is_said() {
    let files = contract(
        "a: { type: string }",
        "b: { type: string }",
        &["move: { from: a, to: b }"],
    );
    let contract = Contract::load("a", &files).unwrap();
    let options = Options {
        cases: 150,
        proving: Duration::ZERO,
        ..Options::default()
    };
    let report = check(&contract, &files, &options, &Progress::default());
    assert_eq!(report.verdict, Verdict::Tested);
    for lens in report.ways.iter().flat_map(|way| &way.lenses) {
        assert_eq!(lens.standing, Standing::Tested);
        assert_eq!(lens.unproved[0].why, "undecided: the time for proving was used up");
        assert_eq!(lens.places.proved, 0);
    }
    let report = checked("a", &files, 150);
    assert_eq!(report.verdict, Verdict::Proved);
}
