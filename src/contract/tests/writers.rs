//! A place of what was translated leads to the step that wrote it.

use super::*;

fn step(from: &str, to: &str, pointer: &str) -> Option<String> {
    let contract = orders();
    let translation = contract.translation("createOrder", from, to).unwrap();
    let step = translation.request_step(&headers("application/json"), pointer)?;
    Some(step.below_contracts().to_string())
}

#[test]
fn a_place_leads_to_the_step_that_changed_it_last() {
    for (pointer, expected) in [
        ("/orderedOn", "orders/v1-v2.map.yaml:15:7 (date)"),
        ("/parties/soldTo/number", "orders/v1-v2.map.yaml:13:7 (strip)"),
        ("/lines/1/quantity/unit", "orders/v2-v3.map.yaml:42:9 (table)"),
        ("/lines/0/unitPrice/amount", "orders/v1-v2.map.yaml:39:9 (decimal)"),
        ("/lines/0/unitPrice/currency", "orders/v1-v2.map.yaml:41:9 (copy)"),
        ("/totals/net/amount", "orders/v1-v2.map.yaml:29:7 (decimal)"),
        ("/notes/0", "orders/v1-v2.map.yaml:27:7 (wrap)"),
        // Only moved: by the mapping that put it there.
        ("/orderNumber", "orders/v2-v3.map.yaml:17:7 (move)"),
        ("/lines/3/sku", "orders/v2-v3.map.yaml:40:9 (move)"),
        ("/parties/soldTo/name", "orders/v1-v2.map.yaml:14:7 (move)"),
    ] {
        assert_eq!(step("v1", "v3", pointer).as_deref(), Some(expected), "{pointer}");
    }
}

#[test]
fn it_does_so_on_the_way_to_an_older_version_too() {
    for (pointer, expected) in [
        ("/orderDate", "orders/v1-v2.map.yaml:15:7 (date)"),
        ("/lines/1/uom", "orders/v1-v2.map.yaml:38:9 (table)"),
        ("/customerNo", "orders/v1-v2.map.yaml:13:7 (strip)"),
    ] {
        assert_eq!(step("v3", "v1", pointer).as_deref(), Some(expected), "{pointer}");
    }
}

#[test]
fn what_no_step_wrote_is_nobodys() {
    for pointer in ["", "/nothing/of/it", "query:x", "/createdAt"] {
        assert_eq!(step("v1", "v3", pointer), None, "{pointer}");
    }
    assert_eq!(step("v2", "v2", "/orderId"), None, "nothing is translated");
}
