//! What a mapping does beside the bodies: cookies, header fields of answers, parameters that are JSON.

use super::*;

/// A contract of two versions of one operation, described by what stands under `get`.
pub(super) fn operation(older: &str, newer: &str, mapping: &str) -> Result<Contract, Vec<Diagnostic>> {
    let openapi = |operation: &str| {
        let operation = operation.replace('\n', "\n      ");
        format!(
            "openapi: 3.1.0\ninfo: {{ title: T, version: '1' }}\npaths:\n  /things:\n    get:\n      operationId: list\n      {operation}"
        )
    };
    let files = [
        file("contracts/t/v1/openapi.yaml", &openapi(older)),
        file("contracts/t/v2/openapi.yaml", &openapi(newer)),
        file(
            "contracts/t/v1-v2.map.yaml",
            &format!("kind: Mapping\ncontract: t\nfrom: v1\nto: v2\n{mapping}"),
        ),
    ];
    Contract::load("t", &files)
}

fn parameters(parameters: &str) -> String {
    format!("parameters: [{parameters}]\nresponses: {{ '200': {{ description: ok }} }}")
}

fn mapped(older: &str, newer: &str, mapping: &str) -> Contract {
    operation(older, newer, mapping).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
    pairs.collect()
}

#[test]
fn cookies_are_held_against_the_contract() {
    let contract = mapped(
        &parameters(
            "{ name: warehouse, in: cookie, required: true, schema: { type: string, pattern: '^H[0-9]$' } }, \
             { name: seen, in: cookie, explode: false, schema: { type: array, items: { type: integer } } }",
        ),
        &parameters(
            "{ name: warehouse, in: cookie, required: true, schema: { type: string } }, { name: seen, in: cookie, explode: false, schema: { type: array, items: { type: integer } } }",
        ),
        "",
    );
    let list = contract.version("v1").unwrap().operation("list").unwrap().clone();
    let faults = |cookie: &'static str| match list.check_request(&[], None, &fields(&[("cookie", cookie)]), None) {
        Ok(()) => String::new(),
        Err(RequestFault::Malformed(faults) | RequestFault::Invalid(faults)) => {
            let faults = faults.iter().map(|fault| format!("{} {}", fault.at, fault.what));
            faults.collect::<Vec<_>>().join(", ")
        }
    };
    assert_eq!(faults("theme=dark; warehouse=H1; seen=1,2"), "");
    assert_eq!(faults("warehouse=\"H1\""), "");
    assert_eq!(faults("theme=dark"), "cookie:warehouse is required");
    assert!(faults("warehouse=X").starts_with("cookie:warehouse "));
    assert_eq!(faults("warehouse=H1; seen=1,x"), "cookie:seen is not a number");
    assert_eq!(
        faults("warehouse=H1; warehouse=H2"),
        "cookie:warehouse is given 2 times"
    );
    assert_eq!(faults("warehouse=%FF"), "cookie:warehouse is not text in UTF-8");
}

#[test]
fn cookies_are_translated_among_those_that_nothing_names() {
    let contract = mapped(
        &parameters("{ name: lager, in: cookie, schema: { type: string } }"),
        &parameters("{ name: warehouse, in: cookie, style: cookie, schema: { type: string } }"),
        "tables: { whs: { 'H 1': HAM-1, 'H;2': 'HAM;2' } }\noperations:\n  list:\n    cookie: [{ table: { from: lager, to: warehouse, table: whs } }]",
    );
    let sent = |from: &str, to: &str, cookie: &'static str| {
        let translation = contract.translation("list", from, to).unwrap();
        let mut headers = fields(&[("cookie", cookie)]);
        let mapped = translation.request(&[], None, &mut headers, None);
        mapped.map_err(|error| error.to_string())?;
        Ok::<_, String>(headers.get("cookie").map(|value| value.to_str().unwrap().to_owned()))
    };
    assert_eq!(
        sent("v1", "v2", "a=b=c; lager=H%201; x=%zz").unwrap().unwrap(),
        "a=b=c; x=%zz; warehouse=HAM-1"
    );
    assert_eq!(sent("v2", "v1", "warehouse=HAM-1").unwrap().unwrap(), "lager=H%201");
    assert_eq!(sent("v1", "v2", "x=1").unwrap().unwrap(), "x=1");
    let refused = |cookie| sent("v1", "v2", cookie).unwrap_err();
    assert!(
        refused("lager=H9").ends_with("at `cookie:lager`"),
        "{}",
        refused("lager=H9")
    );
    assert!(refused("lager=H%3B2").contains("no cookie can carry"));
    assert!(refused("lager=H%201; lager=H%201").contains("two cookies of one name"));
}

#[test]
fn header_fields_of_answers_are_translated_both_ways() {
    let answers = |fields: &str| format!("responses: {{ '200': {{ description: ok, headers: {{ {fields} }} }} }}");
    let contract = mapped(
        &answers("X-Menge: { schema: { type: integer } }, X-Stand: { schema: { type: string } }"),
        &answers("X-Total: { schema: { type: integer } }, X-As-Of: { schema: { type: string } }"),
        "operations:\n  list:\n    responseHeader:\n      - move: { from: x-menge, to: x-total }\n      \
         - date: { from: x-stand, to: x-as-of, older: dd.MM.yyyy, newer: yyyy-MM-dd }",
    );
    let answered = |caller: &str, upstream: &str, pairs: &[(&'static str, &'static str)]| {
        let translation = contract.translation("list", caller, upstream).unwrap();
        let mut headers = fields(pairs);
        translation
            .response(StatusCode::OK, &mut headers, None)
            .map(|_| headers)
    };
    let down = answered(
        "v1",
        "v2",
        &[("x-total", "7"), ("x-as-of", "2026-11-20"), ("etag", "\"a\"")],
    )
    .unwrap();
    assert_eq!(
        (&down["x-menge"], &down["x-stand"], &down["etag"]),
        (
            &"7".parse().unwrap(),
            &"20.11.2026".parse().unwrap(),
            &"\"a\"".parse().unwrap()
        )
    );
    assert!(!down.contains_key("x-total") && !down.contains_key("x-as-of"));
    let up = answered("v2", "v1", &[("x-menge", "7")]).unwrap();
    assert_eq!(up, fields(&[("x-total", "7")]));
    let refused = answered("v1", "v2", &[("x-as-of", "soon")]).unwrap_err();
    assert_eq!(refused.pointer, "header:x-as-of");
    let mistakes = operation(
        &answers("X-Menge: { schema: { type: integer } }"),
        &answers("X-Total: { required: true, schema: { type: integer } }"),
        "operations:\n  list:\n    responseHeader: [{ move: { from: x-menge, to: x-count } }]",
    );
    let told = mistakes.unwrap_err();
    assert!(
        told.iter().any(|mistake| mistake.message.contains("no `x-count`")),
        "{told:?}"
    );
}

#[test]
fn a_parameter_that_is_json_is_read_validated_and_translated_inside() {
    let filter = |name: &str, status: &str| {
        parameters(&format!(
            "{{ name: {name}, in: query, content: {{ application/json: {{ schema: {{ type: object, additionalProperties: false, properties: {{ {status}: {{ type: string }} }} }} }} }} }}"
        ))
    };
    let contract = mapped(
        &filter("filter", "st"),
        &filter("where", "status"),
        "operations:\n  list:\n    query: [{ move: { from: filter.st, to: where.status } }]",
    );
    let list = contract.version("v1").unwrap().operation("list").unwrap().clone();
    let check = |query: &str| list.check_request(&[], Some(query), &HeaderMap::new(), None);
    assert_eq!(check("filter=%7B%22st%22%3A%22a%22%7D"), Ok(()));
    assert!(
        matches!(check("filter=%7B"), Err(RequestFault::Malformed(faults)) if faults[0].what.starts_with("is not JSON"))
    );
    assert!(matches!(
        check("filter=%7B%22x%22%3A1%7D"),
        Err(RequestFault::Invalid(_))
    ));
    let translation = contract.translation("list", "v1", "v2").unwrap();
    let mapped = |query| translation.request(&[], Some(query), &mut HeaderMap::new(), None);
    assert_eq!(
        mapped("filter=%7B%22st%22%3A%22a%26b%22%7D").unwrap().path_and_query,
        "/things?where=%7B%22status%22%3A%22a%26b%22%7D"
    );
    assert_eq!(mapped("filter=%7B").unwrap_err().pointer, "query:filter");
}
