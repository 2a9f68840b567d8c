use std::fmt::Write as _;
use std::fs;

use tempfile::TempDir;

use super::*;

/// A folder with these files, `openapi.yaml` among them.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn import_from(folder: &TempDir) -> Result<Imported, Vec<Diagnostic>> {
    let written = Path::new("contracts/things/v1/openapi.yaml");
    import(&folder.path().join("openapi.yaml"), false, written, &[])
}

/// A document with one operation, this path item's, beside these components.
fn document(operation: &str, components: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{ title: Things, version: '1' }}\npaths:\n  /things/{{id}}:\n    get:\n{operation}\ncomponents:\n{components}\n"
    )
}

const ANSWER: &str =
    "      responses: { '200': { description: ok, content: { application/json: { schema: { $ref: 'a.yaml' } } } } }";

fn told(folder: &TempDir) -> String {
    let found = import_from(folder).unwrap_err();
    assert!(found.iter().all(|mistake| !mistake.message.is_empty()), "{found:?}");
    let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn erp() -> Imported {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/erp/openapi.yaml");
    import(&file, false, Path::new("contracts/erp/v1/openapi.yaml"), &[]).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn a_document_of_many_files_becomes_one() {
    let imported = erp();
    assert_eq!(imported.report.operations, 5);
    assert_eq!(imported.report.files, 10);
    for expected in [
        "paths/sales-orders.yaml stands under its path",
        "schemas/Customer.yaml is components/schemas/Customer",
        "schemas/SalesOrder.yaml is components/schemas/SalesOrder",
        "common/types.yaml#/Address is components/schemas/types-Address",
        "common/responses.yaml#/Error is components/responses/Error",
    ] {
        let lines = &imported.report.bundled;
        assert!(
            lines.iter().any(|line| line.ends_with(expected)),
            "{expected} in {lines:#?}"
        );
    }
    let tree = super::super::tree::read_text(&imported.text).to_value();
    let schemas = &tree["components"]["schemas"];
    assert_eq!(
        schemas["SalesOrder"]["properties"]["splitFrom"]["$ref"],
        "#/components/schemas/SalesOrder"
    );
    assert_eq!(
        schemas["Customer"]["properties"]["address"]["$ref"],
        "#/components/schemas/Address"
    );
    assert_eq!(schemas["Line"]["properties"]["quantity"]["exclusiveMinimum"], 0);
    assert_eq!(schemas["Price"]["properties"]["scan"]["contentEncoding"], "base64");
    assert!(
        !imported.text.contains(".yaml'") && !imported.text.contains(".yaml#"),
        "{}",
        imported.text
    );
    let order = ["openapi:", "info:", "servers:", "paths:", "components:"];
    let places: Vec<_> = order
        .iter()
        .map(|key| imported.text.find(&format!("\n{key}")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn what_was_done_and_what_is_not_enforced_is_reported() {
    let report = erp().report;
    assert_eq!(
        report.named,
        [
            "POST /sales-orders is postSalesOrders",
            "GET /stock/{warehouse} is getStockByWarehouse"
        ]
    );
    let has =
        |lines: &[String], what: &str| assert!(lines.iter().any(|line| line.contains(what)), "{what} in {lines:#?}");
    has(
        &report.changed,
        "*/* at paths /stock/{warehouse} get responses 200: now application/json",
    );
    has(&report.changed, "status 4xx");
    has(&report.changed, "{warehouse} of /stock/{warehouse}: described as text");
    for what in [
        "parameter matrix",
        "1 bodies of application/pdf",
        "1 callbacks",
        "servers",
        "security",
    ] {
        has(&report.unenforced, what);
    }
    // One of them twice: a query parameter uses a property of the order.
    assert_eq!(report.converted["`nullable` became the type `null`"], 6);
    let text = report.text();
    assert!(
        text.starts_with("OpenAPI 3.0 with 5 operations from 10 files\n\nConverted to 3.1:\n  "),
        "{text}"
    );
    assert_eq!(report.document()["operations"], 5);
}

#[test]
fn an_imported_document_imported_again_is_the_same() {
    let imported = erp();
    let folder = folder(&[("openapi.yaml", &imported.text)]);
    let again = import_from(&folder).unwrap();
    assert_eq!(
        again.text.lines().skip(2).collect::<Vec<_>>(),
        imported.text.lines().skip(2).collect::<Vec<_>>()
    );
    assert!(
        again.report.named.is_empty() && again.report.changed.is_empty(),
        "{:?}",
        again.report
    );
}

#[test]
fn references_in_circles_across_files_are_told() {
    let text = document(ANSWER, "  schemas: {}");
    let circle = folder(&[
        ("openapi.yaml", &text),
        ("a.yaml", "$ref: b.yaml\n"),
        ("b.yaml", "$ref: a.yaml\n"),
    ]);
    let told = told(&circle);
    assert!(
        told.contains("openapi.yaml:6:") && told.contains("lead in a circle: a.yaml → b.yaml → a.yaml"),
        "{told}"
    );
    // A schema inside itself is none: trees are like that.
    let tree = folder(&[
        ("openapi.yaml", &text),
        ("a.yaml", "type: object\nproperties: { b: { $ref: b.yaml } }\n"),
        (
            "b.yaml",
            "type: object\nproperties: { a: { $ref: a.yaml }, self: { $ref: '#' } }\n",
        ),
    ]);
    assert!(
        import_from(&tree)
            .unwrap()
            .text
            .contains("self: { $ref: '#/components/schemas/b' }")
    );
}

#[test]
fn files_outside_the_folder_are_not_read() {
    for reference in [
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "schemas/../../secret.yaml",
        "..%2Fsecret.yaml",
        "link.yaml",
    ] {
        let text = document(&ANSWER.replace("a.yaml", reference), "  schemas: {}");
        let folder = folder(&[("in/openapi.yaml", &text), ("secret.yaml", "type: string\n")]);
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret.yaml", folder.path().join("in/link.yaml")).unwrap();
        let file = folder.path().join("in/openapi.yaml");
        let found = import(&file, false, Path::new("x/v1/openapi.yaml"), &[]).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].message.contains("lies outside the folder"),
            "{reference}: {found:?}"
        );
        assert!(found[0].line == 6 && !found[0].message.contains("root:"), "{found:?}");
        if reference.contains("secret") {
            let imported = import(&file, true, Path::new("x/v1/openapi.yaml"), &[]).unwrap();
            assert!(imported.text.contains("components/schemas/secret"), "{}", imported.text);
        }
    }
}

#[test]
fn addresses_are_not_fetched_and_missing_files_are_told() {
    for (reference, message) in [
        ("https://example.com/a.yaml", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("//example.com/a.yaml", "nothing is fetched"),
        ("missing.yaml", "cannot be followed: the file cannot be read"),
        ("a.yaml#/nothing/here", "leads nowhere"),
        ("a.yaml#anchor", "not a JSON Pointer"),
        ("#/components/schemas/Gone", "leads nowhere"),
        (".", "cannot be followed"),
    ] {
        let text = document(&ANSWER.replace("a.yaml", reference), "  schemas: {}");
        let told = told(&folder(&[("openapi.yaml", &text), ("a.yaml", "type: string\n")]));
        assert!(
            told.contains(message) && told.contains("openapi.yaml:6:") && told.contains("(help: "),
            "{told}"
        );
    }
}

#[test]
fn a_broken_file_is_told_with_its_own_place() {
    let text = document(ANSWER, "  schemas: {}");
    let told = told(&folder(&[
        ("openapi.yaml", &text),
        ("a.yaml", "type: object\n  properties: [\n"),
    ]));
    assert!(told.contains("a.yaml:"), "{told}");
    let broken = "type: object\nproperties:\n  a: { type: string, maxLength: many }\n";
    let told = self::told(&folder(&[("openapi.yaml", &text), ("a.yaml", broken)]));
    assert!(told.contains("a.yaml:3:") && told.contains("cannot be used"), "{told}");
    let told = self::told(&folder(&[("openapi.yaml", "swagger: '2.0'\n")]));
    assert!(told.contains("Swagger 2.0"), "{told}");
}

#[test]
fn bombs_and_towers_are_refused() {
    let text = document(ANSWER, "  schemas: {}");
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let _ = writeln!(
            bomb,
            "a{level}: &a{level} [{}]",
            format!("*a{}, ", level - 1).repeat(10)
        );
    }
    let told = told(&folder(&[("openapi.yaml", &text), ("a.yaml", &bomb)]));
    assert!(told.contains("aliases make this document larger"), "{told}");
    let tower = format!("{}type: string{}", "{ items: ".repeat(500), " }".repeat(500));
    let told = self::told(&folder(&[("openapi.yaml", &text), ("a.yaml", &tower)]));
    assert!(told.contains("a.yaml"), "{told}");
}

#[test]
fn two_operations_of_one_name_are_told() {
    let operation = "      operationId: a\n      responses: { '200': { description: ok } }\n    put:\n      operationId: a\n      responses: {}";
    let told = told(&folder(&[("openapi.yaml", &document(operation, "  schemas: {}"))]));
    assert!(
        told.contains("openapi.yaml:9:20: error: GET /things/{id} and PUT /things/{id} are both named `a`"),
        "{told}"
    );
}

#[test]
fn names_do_not_collide() {
    let text = document(
        ANSWER,
        "  schemas:\n    a: { type: integer }\n    a-Part: { $ref: 'x/a.yaml#/Part' }",
    );
    let folder = folder(&[
        ("openapi.yaml", &text),
        (
            "a.yaml",
            "type: object\nproperties: { x: { $ref: 'x/a.yaml' }, p: { $ref: 'x/a.yaml#/Part' }, 'q r': { $ref: '#/definitions/q r' } }\ndefinitions: { q r: { type: boolean } }\n",
        ),
        ("x/a.yaml", "type: string\nPart: { type: number }\n"),
    ]);
    let imported = import_from(&folder).unwrap();
    let schemas = super::super::tree::read_text(&imported.text).to_value()["components"]["schemas"].take();
    let names: Vec<_> = schemas.as_object().unwrap().keys().collect();
    assert_eq!(names, ["a", "a-Part", "a-a", "a-a-2", "q-r"]);
    assert_eq!(schemas["a"]["type"], "integer");
    assert_eq!(schemas["a-a"]["properties"]["x"]["$ref"], "#/components/schemas/a-a-2");
    assert_eq!(schemas["a-a"]["properties"]["p"]["$ref"], "#/components/schemas/a-Part");
}

#[test]
fn a_discriminators_mapping_is_followed() {
    let a =
        "oneOf: [{ $ref: dog.yaml }]\ndiscriminator: { propertyName: kind, mapping: { dog: dog.yaml, cat: Cat } }\n";
    let folder = folder(&[
        ("openapi.yaml", &document(ANSWER, "  schemas: {}")),
        ("a.yaml", a),
        ("dog.yaml", "type: object\n"),
    ]);
    let text = import_from(&folder).unwrap().text;
    assert!(
        text.contains("dog: '#/components/schemas/dog'") && text.contains("cat: Cat"),
        "{text}"
    );
}

#[test]
fn a_pattern_that_cannot_be_used_is_left_out_and_told() {
    let operation = "      responses: { '200': { description: ok, content: { application/json: { schema: { type: string, pattern: '^(?>x$' } } } } }";
    let imported = import_from(&folder(&[("openapi.yaml", &document(operation, "  schemas: {}"))])).unwrap();
    assert!(!imported.text.contains("(?>x"));
    assert!(
        imported.report.unenforced.iter().any(|line| line.contains("(?>x")),
        "{:?}",
        imported.report
    );
}

#[test]
fn three_thousand_operations_are_imported_and_load() {
    let mut text = String::from("openapi: 3.0.1\ninfo: { title: Large, version: '1' }\npaths:\n");
    let mut schemas = String::new();
    for number in 0..3_000 {
        let _ = write!(
            text,
            "  /things{number}/{{id}}:\n    put:\n      requestBody: {{ content: {{ application/json: {{ schema: {{ $ref: 'schemas.yaml#/Thing{number}' }} }} }} }}\n      \
             responses: {{ '200': {{ description: ok, content: {{ application/json: {{ schema: {{ $ref: 'schemas.yaml#/Thing{number}' }} }} }} }} }}\n"
        );
        let next = (number + 1) % 10 + number / 10 * 10;
        let _ = write!(
            schemas,
            "Thing{number}:\n  type: object\n  properties:\n    name: {{ type: string, nullable: true }}\n    next: {{ $ref: '#/Thing{next}' }}\n"
        );
    }
    let folder = folder(&[("openapi.yaml", &text), ("schemas.yaml", &schemas)]);
    let started = std::time::Instant::now();
    let imported = import_from(&folder).unwrap();
    assert_eq!(
        (imported.report.operations, imported.report.named.len()),
        (3_000, 3_000)
    );
    assert_eq!(imported.report.bundled.len(), 3_000);
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}
