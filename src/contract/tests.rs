mod chains;
mod editions;
mod guide;
mod http_level;
mod lookups;
mod messages;
mod mistakes;
mod operations;
mod pairs;
mod rules;
mod steps;
mod writers;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::json::Document;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

fn orders() -> Contract {
    let files = demo_files();
    Contract::load("orders", &files).unwrap_or_else(|mistakes| {
        let lines: Vec<_> = mistakes
            .iter()
            .map(|mistake| {
                format!(
                    "{}:{}:{} {} ({:?})",
                    mistake.file.display(),
                    mistake.line,
                    mistake.column,
                    mistake.message,
                    mistake.help
                )
            })
            .collect();
        panic!("{}", lines.join("\n"))
    })
}

fn demo_files() -> Vec<SourceFile> {
    vec![
        file(
            "contracts/orders/v1/openapi.yaml",
            include_str!("../../contracts/orders/v1/openapi.yaml"),
        ),
        file(
            "contracts/orders/v2/openapi.yaml",
            include_str!("../../contracts/orders/v2/openapi.yaml"),
        ),
        file(
            "contracts/orders/v3/openapi.yaml",
            include_str!("../../contracts/orders/v3/openapi.yaml"),
        ),
        file(
            "contracts/orders/v1-v2.map.yaml",
            include_str!("../../contracts/orders/v1-v2.map.yaml"),
        ),
        file(
            "contracts/orders/v2-v3.map.yaml",
            include_str!("../../contracts/orders/v2-v3.map.yaml"),
        ),
    ]
}

fn document(value: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(value.as_bytes())).unwrap()
}

#[test]
fn the_demo_contract_loads_without_a_warning() {
    let contract = orders();
    assert_eq!(contract.warnings, []);
    let versions: Vec<_> = contract.versions.iter().map(|version| &*version.version).collect();
    assert_eq!(versions, ["v1", "v2", "v3"]);
}

/// A document with so many operations, each with a schema of its own that leads on to others.
fn large(operations: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("openapi: 3.1.0\ninfo: { title: Large, version: '1' }\npaths:\n");
    for number in 0..operations {
        let _ = write!(
            text,
            "  /things{number}/{{id}}:\n    post:\n      operationId: put{number}\n      parameters:\n        \
             - {{ name: id, in: path, required: true, schema: {{ $ref: '#/components/schemas/Thing{number}/properties/id' }} }}\n        \
             - {{ name: limit, in: query, schema: {{ type: integer, minimum: 1 }} }}\n      \
             requestBody: {{ content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Thing{number}' }} }} }} }}\n      \
             responses: {{ '200': {{ description: ok, content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Thing{number}' }} }} }} }} }}\n"
        );
    }
    text.push_str("components:\n  schemas:\n");
    for number in 0..operations {
        let (next, other) = ((number + 1) % 10 + number / 10 * 10, number % 7);
        let _ = write!(
            text,
            "    Thing{number}:\n      type: object\n      required: [id]\n      properties:\n        id: {{ type: string, maxLength: 10 }}\n        \
             next: {{ $ref: '#/components/schemas/Thing{next}' }}\n        other: {{ $ref: '#/components/schemas/Thing{other}' }}\n        \
             amount: {{ type: number, multipleOf: 0.01 }}\n        lines: {{ type: array, items: {{ $ref: '#/components/schemas/Thing{other}' }} }}\n"
        );
    }
    text
}

#[test]
fn a_version_of_three_thousand_operations_loads() {
    let text = large(3_000);
    let contract = Contract::load("large", &[file("contracts/large/v1/openapi.yaml", &text)]).unwrap();
    let operations = &contract.versions[0].operations;
    assert_eq!(operations.len(), 3_000);
    let body = document(r#"{"id":"a","next":{"id":"b"},"amount":0.005}"#);
    let faults = operations[2_999].check_request_body(&body);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].at, "/amount");
}

/// All files of a folder and those inside it, by their names.
pub(super) fn folder(folder: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::folder(&path));
        } else {
            let text = std::fs::read_to_string(&path).unwrap().into();
            files.push(SourceFile { path, text });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn headers(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

const V1: &str = r#"{"orderNo":"SO-2026-000417","customerNo":"0000100234","custName":"Möbel Krüger","orderDate":"20.11.2026",
    "reqDate":"24.11.2026","delivClass":"SD","status":"OPEN","custRef":"B-77","shipName":"Lager 2","shipStreet":"Hafenstraße 5",
    "shipZip":"20457","shipCity":"Hamburg","shipCountry":"DE","remark":"Tor 3\nbitte läuten","currency":"EUR",
    "lines":[{"pos":10,"sku":"4711-A","desc":"Regal \"Nord\"","qty":2.50,"uom":"EA","price":19.90},
             {"pos":20,"sku":"0815","qty":1e1,"uom":"PAL","price":1250.00}],"total":12549.75}"#;

const V2: &str = r#"{"orderId":"SO-2026-000417","customer":{"id":"100234","name":"Möbel Krüger"},"orderDate":"2026-11-20",
    "requestedDate":"2026-11-24","priority":"same-day","status":"open","customerReference":"B-77",
    "shipTo":{"name":"Lager 2","address":{"street":"Hafenstraße 5","zip":"20457","city":"Hamburg","country":"DE"}},
    "notes":["Tor 3\nbitte läuten"],
    "items":[{"lineNumber":10,"itemCode":"4711-A","description":"Regal \"Nord\"","quantity":2.50,"unit":"each","unitPrice":{"amount":"19.90","currency":"EUR"}},
             {"lineNumber":20,"itemCode":"0815","quantity":1e1,"unit":"pallet","unitPrice":{"amount":"1250.00","currency":"EUR"}}],
    "total":{"amount":"12549.75","currency":"EUR"}}"#;

const V3: &str = r#"{"orderNumber":"SO-2026-000417","parties":{"soldTo":{"number":"100234","name":"Möbel Krüger"},
    "shipTo":{"name":"Lager 2","address":{"street":"Hafenstraße 5","postalCode":"20457","city":"Hamburg","countryCode":"DE"}}},
    "orderedOn":"2026-11-20","requestedOn":"2026-11-24","serviceLevel":"same-day","status":"received","customerReference":"B-77",
    "notes":["Tor 3\nbitte läuten"],
    "lines":[{"lineNumber":10,"sku":"4711-A","description":"Regal \"Nord\"","quantity":{"value":2.50,"unit":"C62"},"unitPrice":{"amount":"19.90","currency":"EUR"}},
             {"lineNumber":20,"sku":"0815","quantity":{"value":1e1,"unit":"XPX"},"unitPrice":{"amount":"1250.00","currency":"EUR"}}],
    "totals":{"net":{"amount":"12549.75","currency":"EUR"}}}"#;

/// The same content, numbers letter by letter.
fn assert_same(one: &str, other: &str) {
    let digest = |text: &str| {
        let mut fed = Vec::new();
        document(text)
            .root()
            .canonical_digest(&mut |bytes| fed.extend_from_slice(bytes));
        fed
    };
    assert!(digest(one) == digest(other), "{one}\nis not\n{other}");
}

fn request(contract: &Contract, operation: &str, from: &str, to: &str, body: &str) -> Result<String, Unmappable> {
    let translation = contract.translation(operation, from, to).unwrap();
    let translation = translation.knowing(Arc::new(lookups::Told::all()));
    let values: Vec<_> = translation
        .caller()
        .path_names
        .iter()
        .map(|_| "SO 1/2".to_owned())
        .collect();
    let mapped = translation.request(&values, None, &mut headers("application/json"), Some(&document(body)))?;
    let body = mapped.body.unwrap();
    assert!(
        body == document(body.text()),
        "what was made is what would be read: {}",
        body.text()
    );
    let values = vec!["SO-1".to_owned(); values.len()];
    let upstream = translation.upstream();
    assert_eq!(
        upstream.check_request(&values, None, &headers("application/json"), Some(&body)),
        Ok(())
    );
    Ok(body.text().to_owned())
}

#[test]
fn what_cannot_be_translated_is_laid_to_its_step() {
    let contract = orders();
    let step = |refused: Unmappable| {
        let place = refused.step.unwrap();
        let (line, column, name) = place.step.clone().unwrap();
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&place.file)).unwrap();
        let written = text.lines().nth(line as usize - 1).unwrap();
        assert_eq!(written.find(&name), Some(column as usize - 1), "{place}: {written}");
        (
            place.file.display().to_string(),
            written.trim().to_owned(),
            refused.pointer,
        )
    };
    let order = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/orders/request-v1.json"));
    let order = order.unwrap();
    let up = |from: &str, to: &str| {
        let refused = request(&contract, "createOrder", "v1", "v3", &order.replacen(from, to, 1));
        step(refused.unwrap_err())
    };
    let first = "contracts/orders/v1-v2.map.yaml".to_owned();
    assert_eq!(
        up("20.11.2026", "31.02.2026"),
        (
            first.clone(),
            "- date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }".to_owned(),
            "/orderDate".to_owned()
        )
    );
    // Inside a list, and a type of its own.
    assert_eq!(
        up("\"EA\"", "\"XX\""),
        (
            first.clone(),
            "- table: { from: uom, to: unit, table: unit }".to_owned(),
            "/lines/0/uom".to_owned()
        )
    );
    let answer = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/orders/answer-v3.json"));
    let answer = answer.unwrap().replacen("\"amount\": \"", "\"amount\": \"x", 1);
    let refused = response(&contract, "createOrder", "v1", "v3", 201, &answer).unwrap_err();
    let (file, written, pointer) = step(refused);
    assert_eq!(file, first, "{written} {pointer}");
    assert!(written.contains("decimal"), "{written} {pointer}");
}

fn response(
    contract: &Contract,
    operation: &str,
    caller: &str,
    upstream: &str,
    status: u16,
    body: &str,
) -> Result<String, Unmappable> {
    let translation = contract.translation(operation, caller, upstream).unwrap();
    let translation = translation.knowing(Arc::new(lookups::Told::all()));
    let status = StatusCode::from_u16(status).unwrap();
    let content_type = if status.is_success() {
        "application/json"
    } else {
        "application/problem+json"
    };
    let mapped = translation.response(status, &mut headers(content_type), Some(&document(body)))?;
    let body = mapped.body.unwrap();
    assert!(
        body == document(body.text()),
        "what was made is what would be read: {}",
        body.text()
    );
    let violations = translation
        .caller()
        .check_response(mapped.status, &headers(content_type), Some(&body));
    assert_eq!(violations, []);
    Ok(body.text().to_owned())
}

#[test]
fn an_order_goes_up_one_version_and_through_the_chain() {
    let contract = orders();
    assert_same(&request(&contract, "createOrder", "v1", "v2", V1).unwrap(), V2);
    assert_same(&request(&contract, "createOrder", "v2", "v3", V2).unwrap(), V3);
    assert_same(&request(&contract, "createOrder", "v1", "v3", V1).unwrap(), V3);
}

#[test]
fn an_order_comes_back_as_it_went() {
    let contract = orders();
    assert_same(&response(&contract, "getOrder", "v1", "v2", 200, V2).unwrap(), V1);
    assert_same(&response(&contract, "getOrder", "v2", "v3", 200, V3).unwrap(), V2);
    assert_same(&response(&contract, "createOrder", "v1", "v3", 201, V3).unwrap(), V1);
}

#[test]
fn a_new_caller_reaches_an_old_upstream() {
    let contract = orders();
    assert_same(&request(&contract, "createOrder", "v3", "v1", V3).unwrap(), V1);
    assert_same(&response(&contract, "createOrder", "v3", "v1", 201, V1).unwrap(), V3);
}

#[test]
fn a_smallest_order_stays_small() {
    let contract = orders();
    let small = r#"{"orderNo":"A","customerNo":"0000000001","orderDate":"01.01.2026","currency":"EUR","total":0,
        "lines":[{"pos":1,"sku":"x","qty":1,"uom":"EA","price":0}]}"#;
    let up = request(&contract, "createOrder", "v1", "v3", small).unwrap();
    let back = response(&contract, "createOrder", "v1", "v3", 201, &up).unwrap();
    // Amounts have two digits in the newer versions; everything else is as it was.
    assert_same(
        &back,
        &small
            .replace("\"total\":0", "\"total\":0.00")
            .replace("\"price\":0", "\"price\":0.00"),
    );
}

#[test]
fn lists_of_orders_and_shipments_are_translated_too() {
    let contract = orders();
    let page = response(
        &contract,
        "listOrders",
        "v1",
        "v3",
        200,
        &format!(r#"{{"orders":[{V3},{V3}],"totalCount":2}}"#),
    );
    assert_same(&page.unwrap(), &format!(r#"{{"orders":[{V1},{V1}],"count":2}}"#));
    let v1 = r#"{"deliveryNo":"0080001234","shipDate":"20.11.2026","carrier":"DHL","trackingNo":"JJD1","lines":[{"pos":10,"qty":2.50,"uom":"EA"}]}"#;
    let v3 = r#"{"shipmentNumber":"80001234","shippedAt":"2026-11-20T18:00:00+01:00","carrier":{"code":"DHL","trackingNumber":"JJD1"},
        "lines":[{"lineNumber":10,"quantity":{"value":2.50,"unit":"C62"}}]}"#;
    assert_same(&request(&contract, "confirmShipment", "v1", "v3", v1).unwrap(), v3);
    assert_same(
        &response(&contract, "confirmShipment", "v1", "v3", 201, v3).unwrap(),
        v1,
    );
}

#[test]
fn declared_losses_are_left_out_and_nothing_else() {
    let contract = orders();
    let with = |extra: &str| V3.replace(r#""totals":{"net""#, extra);
    let richer = with(r#""createdAt":"2026-11-20T09:00:00Z","totals":{"tax":{"amount":"1.00","currency":"EUR"},"net""#);
    assert_same(&response(&contract, "getOrder", "v1", "v3", 200, &richer).unwrap(), V1);
    let on_hold = V3.replace("received", "on-hold");
    assert_same(&response(&contract, "getOrder", "v1", "v3", 200, &on_hold).unwrap(), V1);
    let unknown = with(r#""approvedBy":"x","totals":{"net""#);
    let error = response(&contract, "getOrder", "v1", "v3", 200, &unknown).unwrap_err();
    assert!(
        error.detail.contains("no place for `approvedBy`") && error.pointer == "/approvedBy",
        "{error}"
    );
    let unknown = with(r#""totals":{"gross":{"amount":"1.00","currency":"EUR"},"net""#);
    let error = response(&contract, "getOrder", "v1", "v3", 200, &unknown).unwrap_err();
    assert!(error.detail.contains("no place for `totals`"), "{error}");
}

#[test]
fn what_cannot_be_said_is_refused_in_the_senders_words() {
    let contract = orders();
    for (operation, from, to, body, what, pointer) in [
        (
            "createOrder",
            "v1",
            "v3",
            V1.replace("24.11.2026", "24.13.2026"),
            "not a date",
            "/reqDate",
        ),
        (
            "createOrder",
            "v1",
            "v3",
            V1.replace("0000100234", "0000000000"),
            "nothing but padding",
            "/customerNo",
        ),
        (
            "createOrder",
            "v1",
            "v3",
            V1.replace("\"PAL\"", "\"ROLL\""),
            "`ROLL` has no counterpart",
            "/lines/1/uom",
        ),
        (
            "createOrder",
            "v1",
            "v3",
            V1.replace("1250.00", "1250.001"),
            "nothing is rounded",
            "/lines/1/price",
        ),
        (
            "createOrder",
            "v1",
            "v3",
            V1.replace("\"total\":12549.75", "\"total\":\"x\""),
            "text where a number",
            "/total",
        ),
        (
            "createOrder",
            "v1",
            "v3",
            r#"{"lines":{"a":1}}"#.to_owned(),
            "where a list",
            "/lines",
        ),
        (
            "createOrder",
            "v3",
            "v1",
            V3.replace("\"100234\"", "\"99999999999\""),
            "more than 10",
            "/parties/soldTo/number",
        ),
        (
            "createOrder",
            "v3",
            "v1",
            V3.replace("1250.00\",\"currency\":\"EUR", "1250.00\",\"currency\":\"USD"),
            "`USD` differs",
            "/lines/1/unitPrice/currency",
        ),
        (
            "createOrder",
            "v3",
            "v1",
            V3.replace("1250.00", "1250.005"),
            "nothing is rounded",
            "/lines/1/unitPrice/amount",
        ),
        ("createOrder", "v3", "v1", "[]".to_owned(), "where an object", ""),
    ] {
        let translation = contract.translation(operation, from, to).unwrap();
        let mut fields = headers("application/json");
        let error = translation
            .request(&[], None, &mut fields, Some(&document(&body)))
            .unwrap_err();
        assert!(error.detail.contains(what), "{error}");
        assert_eq!(error.pointer, pointer, "{error}");
    }
}

#[test]
fn an_upstreams_pointers_come_back_in_the_callers_words() {
    let contract = orders();
    let place = |from: &str, to: &str, pointer: &str| {
        let translation = contract.translation("createOrder", from, to).unwrap();
        let problem = format!(r#"{{"title":"No","status":422,"errors":[{{"pointer":"{pointer}","detail":"no"}}]}}"#);
        let mapped = translation.response(
            StatusCode::UNPROCESSABLE_ENTITY,
            &mut headers("application/problem+json"),
            Some(&document(&problem)),
        );
        let mapped = mapped.unwrap();
        let text = mapped.body.unwrap();
        let found = text.root().get("errors").unwrap().elements().next().unwrap();
        let found = found.get("pointer").unwrap().as_str().unwrap().into_owned();
        (found, mapped.missed.places)
    };
    for (upstream, caller) in [
        ("/lines/1/unitPrice/amount", "/lines/1/price"),
        ("/lines/0/quantity/unit", "/lines/0/uom"),
        ("/parties/shipTo/address/postalCode", "/shipZip"),
        ("/parties/soldTo/number", "/customerNo"),
        ("/totals/net/currency", "/currency"),
        ("/notes/0", "/remark"),
        ("/serviceLevel", "/delivClass"),
        ("", ""),
        ("header:Idempotency-Key", "header:idempotency-key"),
    ] {
        assert_eq!(place("v1", "v3", upstream), (caller.to_owned(), 0), "{upstream}");
    }
    // What v1 does not have: the nearest place around it.
    for (upstream, caller) in [
        ("/createdAt", ""),
        ("/lines/1/unitPrice/currency", "/lines/1"),
        ("/lines/7/nonsense", "/lines/7"),
        ("nonsense", ""),
        ("query:nonsense", ""),
    ] {
        assert_eq!(place("v1", "v3", upstream), (caller.to_owned(), 1), "{upstream}");
    }
    for (upstream, caller) in [
        ("/lines/1/price", "/lines/1/unitPrice/amount"),
        ("/shipCountry", "/parties/shipTo/address/countryCode"),
    ] {
        assert_eq!(place("v3", "v1", upstream), (caller.to_owned(), 0), "{upstream}");
    }
}

#[test]
fn paths_and_queries_are_translated() {
    let contract = orders();
    let translation = contract.translation("listOrders", "v1", "v3").unwrap();
    let mapped = |query| translation.request(&[], Some(query), &mut HeaderMap::new(), None);
    let path = mapped("customer=0000100234&status=PICKED&limit=5")
        .unwrap()
        .path_and_query;
    assert_eq!(path, "/orders?customer=100234&status=in-fulfilment&limit=5");
    assert_eq!(mapped("").unwrap().path_and_query, "/orders");
    let error = mapped("status=LOST").unwrap_err();
    assert_eq!(
        (error.pointer.as_str(), error.detail.contains("`LOST`")),
        ("query:status", true)
    );
    let translation = contract.translation("cancelOrder", "v1", "v3").unwrap();
    let body = document(r#"{"reasonCode":"02","remark":"a"}"#);
    let mapped = translation
        .request(&["A/7 ä".to_owned()], None, &mut HeaderMap::new(), Some(&body))
        .unwrap();
    assert_eq!(mapped.path_and_query, "/orders/A%2F7%20%C3%A4/cancel");
    assert_eq!(mapped.method, Method::POST);
    assert_eq!(
        mapped.body.unwrap().text(),
        r#"{"reason":"out-of-stock","comment":"a"}"#
    );
    let mapped = translation
        .request(&["A".to_owned()], None, &mut HeaderMap::new(), None)
        .unwrap();
    assert_eq!(mapped.body, None);
    for escape in ["..", ".", ""] {
        let error = translation.request(&[escape.to_owned()], None, &mut HeaderMap::new(), None);
        assert!(error.unwrap_err().detail.contains("cannot stand in a path"));
    }
}

#[test]
fn problems_pass_and_undeclared_answers_do_not() {
    let contract = orders();
    let problem = r#"{"type":"about:blank","title":"Credit limit","status":409,"code":"V1 042"}"#;
    assert_eq!(
        response(&contract, "createOrder", "v1", "v3", 409, problem).unwrap(),
        problem
    );
    let translation = contract.translation("createOrder", "v1", "v3").unwrap();
    let html = translation.response(
        StatusCode::BAD_GATEWAY,
        &mut headers("text/html"),
        Some(&document("{}")),
    );
    assert!(html.unwrap_err().detail.contains("content type"));
    let none = translation
        .response(StatusCode::CREATED, &mut HeaderMap::new(), None)
        .unwrap();
    assert_eq!(
        none,
        MappedResponse {
            status: StatusCode::CREATED,
            body: None,
            missed: Missed::default(),
        }
    );
}

#[test]
fn the_same_version_is_no_translation() {
    let contract = orders();
    assert!(contract.translation("createOrder", "v2", "v2").unwrap().is_identity());
    assert!(!contract.translation("createOrder", "v2", "v3").unwrap().is_identity());
    assert!(
        contract
            .translation("createOrder", "v1", "v9")
            .unwrap_err()
            .contains("its versions are v1, v2, v3")
    );
    assert!(
        contract
            .translation("placeOrder", "v1", "v2")
            .unwrap_err()
            .contains("no placeOrder")
    );
}

#[test]
fn a_good_order_conforms_and_a_bad_one_is_told_all_its_faults() {
    let contract = orders();
    let create = contract.version("v1").unwrap().operation("createOrder").unwrap();
    assert!(create.takes_body() && create.body_is_required());
    assert_eq!(create.media_types().collect::<Vec<_>>(), ["application/json"]);
    let fields = headers("application/json; charset=utf-8");
    assert_eq!(create.check_request(&[], None, &fields, Some(&document(V1))), Ok(()));
    let bad = V1
        .replace("\"PAL\"", "\"ROLL\"")
        .replace("1250.00", "1250.001")
        .replace("\"orderNo\":\"SO-2026-000417\",", "\"surprise\":1,");
    let Err(RequestFault::Invalid(violations)) = create.check_request(&[], None, &fields, Some(&document(&bad))) else {
        panic!("it conforms")
    };
    let at: Vec<_> = violations.iter().map(|violation| violation.at.as_str()).collect();
    assert!(
        at.contains(&"/lines/1/uom") && at.contains(&"/lines/1/price"),
        "{violations:?}"
    );
    assert!(
        violations
            .iter()
            .any(|violation| violation.what.contains("not a multiple of 0.01")),
        "{violations:?}"
    );
    assert!(
        violations.iter().any(|violation| violation.what.contains("orderNo")),
        "{violations:?}"
    );
    assert!(
        violations.iter().any(|violation| violation.what.contains("surprise")),
        "{violations:?}"
    );
    let missing = create.check_request(&[], None, &fields, None);
    assert!(matches!(missing, Err(RequestFault::Invalid(_))));
}

#[test]
fn parameters_that_cannot_be_read_are_malformed_and_wrong_ones_invalid() {
    let contract = orders();
    let list = contract.version("v1").unwrap().operation("listOrders").unwrap();
    let check = |query| list.check_request(&[], Some(query), &HeaderMap::new(), None);
    assert_eq!(check("customer=0000100234&status=OPEN&limit=20"), Ok(()));
    let faults = |query| match check(query) {
        Ok(()) => panic!("{query} conforms"),
        Err(RequestFault::Malformed(violations)) => (400, violations[0].at.clone()),
        Err(RequestFault::Invalid(violations)) => (422, violations[0].at.clone()),
    };
    assert_eq!(faults("limit=many"), (400, "query:limit".to_owned()));
    assert_eq!(faults("limit=%ff"), (400, "query:limit".to_owned()));
    assert_eq!(faults("limit=1&limit=2"), (400, "query:limit".to_owned()));
    assert_eq!(faults("limit=0"), (422, "query:limit".to_owned()));
    assert_eq!(faults("status=open"), (422, "query:status".to_owned()));
    assert_eq!(faults("offset=1"), (422, "query:offset".to_owned()));
    let get = contract.version("v1").unwrap().operation("getOrder").unwrap();
    let fault = get.check_request(&["nö".to_owned()], None, &HeaderMap::new(), None);
    assert!(matches!(fault, Err(RequestFault::Invalid(violations)) if violations[0].at == "path:orderNo"));
    let cancel = contract.version("v1").unwrap().operation("cancelOrder").unwrap();
    let long = HeaderMap::from_iter([(
        http::HeaderName::from_static("idempotency-key"),
        HeaderValue::from_str(&"x".repeat(129)).unwrap(),
    )]);
    let fault = cancel.check_request(&["A".to_owned()], None, &long, None);
    assert!(matches!(fault, Err(RequestFault::Invalid(violations)) if violations[0].at == "header:idempotency-key"));
}

#[test]
fn answers_are_held_against_the_contract() {
    let contract = orders();
    let create = contract.version("v3").unwrap().operation("createOrder").unwrap();
    let check = |status, content_type, body: Option<&str>| {
        let body = body.map(document);
        create.check_response(
            StatusCode::from_u16(status).unwrap(),
            &headers(content_type),
            body.as_ref(),
        )
    };
    assert_eq!(check(201, "application/json", Some(V3)), []);
    assert_eq!(
        check(500, "application/problem+json", Some(r#"{"title":"x","status":500}"#)),
        []
    );
    assert_eq!(check(500, "text/html", Some("{}"))[0].at, "header:content-type");
    assert_eq!(check(201, "application/json", Some("{}")).len(), 5);
    assert!(
        check(201, "application/json", None)[0]
            .what
            .contains("a body is required")
    );
}

fn any_order() -> impl Strategy<Value = String> {
    let line = (
        1..9_990_u32,
        "[A-Z0-9]{1,40}",
        prop::option::of(".{0,40}"),
        1..9_999_999_u32,
        0..10_000_000_u64,
    );
    let uom = prop::sample::select(vec!["EA", "KG", "M", "CT", "PAL"]);
    let lines = prop::collection::vec((line, uom), 1..6);
    let texts = prop::collection::vec(prop::option::of(".{1,40}"), 6);
    let day = prop::option::of((1..29_u8, 1..13_u8, 1..9_999_u16));
    (lines, texts, day, 1..10_000_000_000_u64).prop_map(|(lines, texts, day, customer)| {
        let mut order = serde_json::json!({
            "orderNo": "A-1", "customerNo": format!("{customer:010}"), "orderDate": "29.02.2028", "currency": "EUR",
        });
        let names = ["custName", "custRef", "shipName", "shipStreet", "shipCity", "remark"];
        for (name, text) in names.iter().zip(texts).filter_map(|(name, text)| Some((name, text?))) {
            order[*name] = text.chars().take(35).collect::<String>().into();
        }
        if let Some((day, month, year)) = day {
            order["reqDate"] = format!("{day:02}.{month:02}.{year:04}").into();
        }
        let lines = lines.iter().map(|((pos, sku, desc, qty, cents), uom)| {
            let desc = desc
                .as_ref()
                .map_or(String::new(), |desc| format!(r#""desc":{},"#, serde_json::json!(desc)));
            let (euros, cents) = (cents / 100, cents % 100);
            format!(r#"{{"pos":{pos},"sku":"{sku}",{desc}"qty":{qty},"uom":"{uom}","price":{euros}.{cents:02}}}"#)
        });
        // Added as text, so that amounts keep their two digits.
        let lines = lines.collect::<Vec<_>>().join(",");
        let order = order.to_string();
        format!(r#"{},"total":1.00,"lines":[{lines}]}}"#, order.trim_end_matches('}'))
    })
}

#[test]
fn any_order_comes_back_from_two_versions_on_as_it_went() {
    let contract = orders();
    let fields = headers("application/json");
    let create = contract.version("v1").unwrap().operation("createOrder").unwrap();
    let mut runner = TestRunner::new(Config::with_cases(128));
    let result = runner.run(&any_order(), |order| {
        prop_assert_eq!(
            create.check_request(&[], None, &fields, Some(&document(&order))),
            Ok(())
        );
        let up = request(&contract, "createOrder", "v1", "v3", &order).unwrap();
        let back = response(&contract, "createOrder", "v1", "v3", 201, &up).unwrap();
        assert_same(&back, &order);
        Ok(())
    });
    result.unwrap();
}
