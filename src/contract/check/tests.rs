mod faults;
mod orders;
mod proofs;

use super::*;

fn folder(name: &str) -> Vec<SourceFile> {
    crate::contract::tests::folder(&std::path::Path::new("contracts").join(name))
}

fn checked(name: &str, files: &[SourceFile], cases: usize) -> Report {
    let contract = Contract::load(name, files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let options = Options {
        cases,
        ..Options::default()
    };
    check(&contract, files, &options, &Progress::default())
}

#[test]
fn what_a_step_says_of_itself_holds_in_one_of_several_types() {
    let document = |schemas: &str| {
        let content = "content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } }";
        format!(
            "openapi: 3.1.0\ninfo: {{ title: t, version: '1' }}\npaths:\n  /things:\n    put:\n      operationId: put\n      requestBody: {{ required: true, {content} }}\n      responses: {{ '200': {{ description: d, {content} }} }}\ncomponents:\n  schemas:\n{schemas}"
        )
    };
    let object = "type: object, additionalProperties: false";
    let schemas = |more: &str, card: &str| {
        format!(
            "    Thing: {{ {object}, required: [pay], properties: {{ pay: {{ oneOf: [{{ $ref: '#/components/schemas/Card' }}, {{ $ref: '#/components/schemas/Debit' }}] }} }} }}\n    Card: {{ {object}, required: [kind, parts{card}], properties: {{ kind: {{ const: card }}, parts: {{ type: array, maxItems: 3, items: {{ enum: [a, b] }} }}{more} }} }}\n    Debit: {{ {object}, required: [kind, iban], properties: {{ kind: {{ const: debit }}, iban: {{ enum: [x, y] }} }} }}\n"
        )
    };
    let mapping = "kind: Mapping\ncontract: t\nfrom: v1\nto: v2\ntypes:\n  Thing:\n    - variant: { path: pay, by: kind, cases: [{ older: card, type: Card }, { older: debit, type: Debit }] }\n  Card:\n    - count: { of: parts, to: partCount }\n";
    let file = |path: &str, text: String| SourceFile {
        path: format!("contracts/t/{path}").into(),
        text: text.into(),
    };
    let files = [
        file("v1/openapi.yaml", document(&schemas("", ""))),
        file(
            "v2/openapi.yaml",
            document(&schemas(
                ", partCount: { type: integer, minimum: 0, maximum: 3 }",
                ", partCount",
            )),
        ),
        file("v1-v2.map.yaml", mapping.to_owned()),
    ];
    let report = checked("t", &files, 300);
    let text = render(std::slice::from_ref(&report), Style::Text { is_full: true });
    assert_ne!(report.verdict, Verdict::Blocked, "{text}");
    assert!(text.contains("counted anew"), "{text}");
}

#[test]
fn the_demo_contract_is_good() {
    let report = checked("orders", &folder("orders"), 300);
    let text = render(std::slice::from_ref(&report), Style::Text { is_full: true });
    assert_eq!(report.verdict, Verdict::Tested, "{text}");
}
