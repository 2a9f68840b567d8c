//! Documents of `OpenAPI` 3.0, 3.1 and 3.2, as YAML and as JSON.

use super::*;

fn load(path: &str, text: &str) -> Result<Contract, Vec<Diagnostic>> {
    Contract::load("things", &[file(&format!("contracts/things/v1/{path}"), text)])
}

fn loaded(text: &str) -> Contract {
    load("openapi.yaml", text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// A document with one operation whose parameters these are.
fn with_parameters(version: &str, parameters: &str) -> String {
    format!(
        "openapi: {version}\ninfo: {{ title: Things, version: '1' }}\npaths:\n  /things:\n    get:\n      operationId: list\n      \
         parameters:\n{parameters}\n      responses: {{ '200': {{ description: ok }} }}\n"
    )
}

fn faults(contract: &Contract, query: &str) -> Vec<String> {
    let operation = &contract.versions[0].operations[0];
    match operation.check_request(&[], Some(query), &HeaderMap::new(), None) {
        Ok(()) => Vec::new(),
        Err(RequestFault::Malformed(faults) | RequestFault::Invalid(faults)) => faults
            .into_iter()
            .map(|fault| format!("{} {}", fault.at, fault.what))
            .collect(),
    }
}

const OF_3_0: &str = "openapi: 3.0.3
info: { title: Things, version: '1' }
paths:
  /things:
    put:
      operationId: put
      requestBody:
        content:
          application/json:
            schema: { $ref: '#/components/schemas/Thing' }
      responses:
        '200': { description: ok }
components:
  schemas:
    Thing:
      type: object
      required: [weight]
      properties:
        weight: { type: number, minimum: 0, exclusiveMinimum: true, example: 1.5 }
        remark: { type: string, nullable: true, maxLength: 3 }
        kind: { type: string, nullable: true, enum: [A, B] }
        owner:
          nullable: true
          allOf:
            - $ref: '#/components/schemas/Owner'
        other: { $ref: '#/components/schemas/Owner', nullable: true }
    Owner:
      type: object
      required: [name]
      properties: { name: { type: string } }
";

#[test]
fn a_document_of_3_0_is_enforced_as_it_was_meant() {
    let contract = loaded(OF_3_0);
    assert_eq!(contract.warnings, []);
    let check = |body: &str| {
        let faults = contract.versions[0].operations[0].check_request_body(&document(body));
        faults.into_iter().map(|fault| fault.at).collect::<Vec<_>>()
    };
    assert!(check(r#"{"weight":0.1,"remark":null,"kind":null,"owner":null}"#).is_empty());
    assert!(check(r#"{"weight":0.1,"remark":"abc","kind":"A","owner":{"name":"x"},"other":{"name":"x"}}"#).is_empty());
    assert_eq!(check(r#"{"weight":0}"#), ["/weight"]);
    assert_eq!(check(r#"{"weight":1,"remark":"abcd"}"#), ["/remark"]);
    assert_eq!(check(r#"{"weight":1,"kind":"C"}"#), ["/kind"]);
    assert_eq!(check(r#"{"weight":1,"owner":{}}"#), ["/owner"]);
    assert_eq!(check(r#"{"weight":1,"other":null}"#), ["/other"]);
}

#[test]
fn mistakes_in_a_document_of_3_0_are_told_where_it_was_written() {
    let broken = OF_3_0.replace(
        "name: { type: string }",
        "name: { type: string, nullable: true, pattern: '[' }",
    );
    let found = load("openapi.yaml", &broken).unwrap_err();
    assert_eq!((found[0].line, found.len()), (30, 1), "{found:?}");
    assert!(found[0].message.contains("cannot be used"), "{found:?}");
    let broken = OF_3_0.replace("schemas/Owner'\n", "schemas/Ownr'\n");
    let found = load("openapi.yaml", &broken).unwrap_err();
    assert_eq!(found[0].line, 25, "{found:?}");
    assert!(found[0].message.contains("leads nowhere"), "{found:?}");
}

#[test]
fn a_document_may_be_json() {
    let tree = tree::read_text(OF_3_0).to_value();
    let contract = load("openapi.json", &serde_json::to_string_pretty(&tree).unwrap()).unwrap();
    assert_eq!(&*contract.versions[0].operations[0].id, "put");
    let one_line = tree
        .to_string()
        .replace("\"pattern\"", "")
        .replace("#/components/schemas/Owner", "#/nowhere");
    let found = load("openapi.json", &one_line).unwrap_err();
    assert!(found[0].line == 1 && found[0].column > 100, "{found:?}");
    let found = load("openapi.json", &one_line.replace("},", ",")).unwrap_err();
    assert!(found[0].message.contains("this is not JSON"), "{found:?}");
}

#[test]
fn a_version_without_quotes_is_a_version_and_swagger_is_told_apart() {
    loaded(&OF_3_0.replace("openapi: 3.0.3", "openapi: 3.0"));
    let found = load("openapi.yaml", &OF_3_0.replace("openapi: 3.0.3", "swagger: '2.0'")).unwrap_err();
    assert!(found[0].message.contains("Swagger 2.0"), "{found:?}");
    assert_eq!(found[0].line, 1);
}

#[test]
fn a_document_of_3_2_has_more_methods_and_names_itself() {
    let contract = loaded(
        "openapi: 3.2.0\n$self: https://example.com/things\ninfo: { title: Things, version: '1' }\npaths:\n  /things:\n    query:\n      \
         operationId: search\n      requestBody: { content: { application/json: { $ref: '#/components/mediaTypes/Search' } } }\n      \
         responses: { '200': { description: ok } }\n    additionalOperations:\n      COPY:\n        operationId: copy\n        \
         responses: { '201': { description: ok, content: { text/event-stream: { itemSchema: { type: object } } } } }\n\
         tags: [{ name: a, kind: nav }, { name: b, parent: a }]\n\
         components:\n  mediaTypes:\n    Search: { schema: { $ref: 'https://example.com/things#/components/schemas/Search' } }\n  \
         schemas:\n    Search: { type: object, required: [text] }\n",
    );
    let methods: Vec<_> = contract.versions[0]
        .operations
        .iter()
        .map(|operation| (operation.method.as_str(), &*operation.id))
        .collect();
    assert_eq!(methods, [("QUERY", "search"), ("COPY", "copy")]);
    let search = &contract.versions[0].operations[0];
    assert_eq!(search.check_request_body(&document("{}")).len(), 1);
    let warned: Vec<_> = contract
        .warnings
        .iter()
        .map(|warning| (warning.line, &warning.message))
        .collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].0 == 13 && warned[0].1.contains("`itemSchema` of text/event-stream"),
        "{warned:?}"
    );
}

#[test]
fn lists_in_a_query_are_read_in_the_style_they_are_written_in() {
    let list = "schema: { type: array, items: { type: integer }, maxItems: 2 }";
    for (style, good, bad) in [
        ("", "ids=1&ids=2", "ids=1,2"),
        ("explode: false,", "ids=1,2", "ids=1,2,3"),
        ("style: form, explode: false,", "ids=1", "ids=1|2"),
        ("style: spaceDelimited, explode: false,", "ids=1%202", "ids=1,2"),
        ("style: pipeDelimited, explode: false,", "ids=1|2", "ids=1|x"),
        ("style: pipeDelimited, explode: true,", "ids=1&ids=2", "ids=1|2"),
    ] {
        let parameter = format!("        - {{ name: ids, in: query, {style} {list} }}");
        let contract = loaded(&with_parameters("3.1.0", &parameter));
        assert_eq!(faults(&contract, good), Vec::<String>::new(), "{style}");
        assert_eq!(faults(&contract, bad).len(), 1, "{style}");
    }
}

#[test]
fn an_object_is_spread_over_the_query() {
    let schema = "required: true, schema: { type: object, required: [from], properties: { from: { type: integer }, to: { type: integer } } }";
    let deep = loaded(&with_parameters(
        "3.0.3",
        &format!("        - {{ name: day, in: query, style: deepObject, {schema} }}"),
    ));
    assert_eq!(faults(&deep, "day%5Bfrom%5D=1&day[to]=2"), Vec::<String>::new());
    assert_eq!(faults(&deep, "day[from]=x"), ["query:day[from] is not a number"]);
    assert_eq!(faults(&deep, ""), ["query:day[from] is required"]);
    assert_eq!(faults(&deep, "day[from]=1&day[until]=2").len(), 1);
    let form = loaded(&with_parameters(
        "3.0.3",
        &format!("        - {{ name: day, in: query, {schema} }}"),
    ));
    assert_eq!(faults(&form, "from=1"), Vec::<String>::new());
}

#[test]
fn a_parameter_may_be_nullable_or_described_in_parts() {
    let parameters = "        - { name: a, in: query, schema: { type: integer, nullable: true } }\n        \
                      - { name: b, in: query, schema: { allOf: [{ type: integer }], description: in parts } }\n        \
                      - { name: c, in: query, schema: { type: array, nullable: true, items: { type: boolean } } }";
    let contract = loaded(&with_parameters("3.0.3", parameters));
    assert_eq!(faults(&contract, "a=1&b=2&c=true&c=false"), Vec::<String>::new());
    assert_eq!(faults(&contract, "a=x&b=y&c=z").len(), 3);
}

#[test]
fn a_parameter_that_is_not_read_is_told_with_what_would_be() {
    for (parameter, message, help) in [
        (
            "name: a, in: query, content: { application/xml: {} }",
            "described by other `content`",
            "`schema`",
        ),
        (
            "name: a, in: cookie, schema: { type: array, items: { type: string } }",
            "several cookies of one name",
            "explode: false",
        ),
        ("name: a, in: querystring, content: {}", "the whole query", "in: query"),
        (
            "name: a, in: path, style: matrix, schema: {}",
            "the style `matrix`",
            "simple",
        ),
        (
            "name: a, in: query, style: deepObject, schema: { type: string }",
            "`deepObject`",
            "deepObject",
        ),
        (
            "name: a, in: query, style: deepObject, schema: { type: object }",
            "without naming its properties",
            "properties",
        ),
        (
            "name: a, in: query, style: deepObject, schema: { type: object, properties: { b: { type: object } } }",
            "the type of parameter `a[b]`",
            "string",
        ),
    ] {
        let found = load(
            "openapi.yaml",
            &with_parameters("3.2.0", &format!("        - {{ {parameter} }}")),
        )
        .unwrap_err();
        assert_eq!(found[0].line, 8, "{found:?}");
        assert!(found[0].message.contains(message), "{found:?}");
        assert!(
            found[0].help.as_deref().is_some_and(|told| told.contains(help)),
            "{found:?}"
        );
    }
}

#[test]
fn a_list_is_rewritten_in_the_style_of_the_other_version() {
    let version = |style: &str| {
        let parameter = format!(
            "        - {{ name: ids, in: query, {style} schema: {{ type: array, items: {{ type: string }} }} }}\n"
        );
        with_parameters(
            "3.1.0",
            &format!("{parameter}        - {{ name: q, in: query, schema: {{ type: string }} }}"),
        )
    };
    let files = [
        file("contracts/things/v1/openapi.yaml", &version("explode: false,")),
        file("contracts/things/v2/openapi.yaml", &version("")),
        file(
            "contracts/things/v3/openapi.yaml",
            &version("style: pipeDelimited, explode: false,"),
        ),
        file(
            "contracts/things/v1-v2.map.yaml",
            "kind: Mapping\ncontract: things\nfrom: v1\nto: v2\n",
        ),
        file(
            "contracts/things/v2-v3.map.yaml",
            "kind: Mapping\ncontract: things\nfrom: v2\nto: v3\n",
        ),
    ];
    let contract = Contract::load("things", &files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let sent = |from: &str, to: &str, query: &str| {
        let translation = contract.translation("list", from, to).unwrap();
        let mapped = translation
            .request(&[], Some(query), &mut HeaderMap::new(), None)
            .unwrap();
        mapped.path_and_query
    };
    assert_eq!(sent("v1", "v2", "ids=a,b%20c&q=x"), "/things?ids=a&ids=b%20c&q=x");
    assert_eq!(sent("v2", "v1", "ids=a&q=x,y&ids=b"), "/things?ids=a,b&q=x%2Cy");
    assert_eq!(sent("v1", "v3", "ids=a,b"), "/things?ids=a%7Cb");
    assert_eq!(sent("v3", "v3", "ids=a|b"), "/things?ids=a|b");
}

#[test]
fn a_version_is_what_its_overlays_make_of_it() {
    let overlay = |name: &str, text: &str| {
        let text = format!("overlay: 1.0.0\ninfo: {{ title: x, version: '1' }}\nactions:\n{text}");
        file(&format!("contracts/things/v1/{name}"), &text)
    };
    let document = file("contracts/things/v1/openapi.yaml", OF_3_0);
    let first = overlay(
        "a.overlay.yaml",
        "  - target: $.paths['/things'].put\n    update: { operationId: store }\n",
    );
    let second = overlay(
        "overlay.yaml",
        "  - { target: $.paths.*.put.operationId, update: keep }\n  - { target: $.gone, remove: true }\n",
    );
    let contract = Contract::load("things", &[second, document.clone(), first]).unwrap();
    assert_eq!(&*contract.versions[0].operations[0].id, "keep");
    let warned: Vec<_> = contract.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warned.len() == 1 && warned[0].starts_with("contracts/things/v1/overlay.yaml:5:15: warning: "),
        "{warned:?}"
    );

    // 3.0's own words may be used, and a mistake is told where it stands.
    let broken = overlay(
        "overlay.yaml",
        "  - target: $.components.schemas.Thing.properties\n    update:\n      size: { type: string, nullable: true, pattern: '(' }\n",
    );
    let found = Contract::load("things", &[document.clone(), broken]).unwrap_err();
    assert!(
        found[0]
            .to_string()
            .starts_with("contracts/things/v1/overlay.yaml:6:54: error: this schema cannot"),
        "{found:?}"
    );

    let elsewhere = file("contracts/things/v2/overlay.yaml", "overlay: 1.0.0\n");
    let found = Contract::load("things", &[document, elsewhere]).unwrap_err();
    assert!(found[0].message.contains("no document lies beside"), "{found:?}");
}
