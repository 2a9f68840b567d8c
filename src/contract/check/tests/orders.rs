//! Faults put into the mappings of the demo contract: which are found, where, and which without drawing a document.

use super::*;

/// A fault: the file that is changed, what in it, and a text of the line of the mapping that is to blame.
struct Fault {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    line: &'static str,
}

const fn fault(file: &'static str, from: &'static str, to: &'static str, line: &'static str) -> Fault {
    Fault { file, from, to, line }
}

const FIRST: &str = "v1-v2.map.yaml";
const SECOND: &str = "v2-v3.map.yaml";
const V1: &str = "v1/openapi.yaml";
const V2: &str = "v2/openapi.yaml";
const V3: &str = "v3/openapi.yaml";

/// Faults in the first mapping and in the versions it joins.
const IN_FIRST: &[Fault] = &[
    // A wrong name, or none.
    fault(
        FIRST,
        "- move: { from: orderNo, to: orderId }",
        "- move: { from: orderNo, to: orderid }",
        "  Order:|to: orderid",
    ),
    fault(
        FIRST,
        "    - move: { from: custName, to: customer.name }\n",
        "",
        "  Order:",
    ),
    fault(FIRST, "to: shipTo.address.zip", "to: shipTo.address.street", "street"),
    fault(FIRST, "      - move: { from: qty, to: quantity }\n", "", "  OrderLine:"),
    fault(
        FIRST,
        "    - move: { from: remark, to: comment }\n",
        "",
        "  Cancellation:",
    ),
    fault(FIRST, "to: carrier.code", "to: carrier.trackingNumber", "carrier"),
    fault(
        FIRST,
        "- move: { from: count, to: total }",
        "- move: { from: counted, to: total }",
        "counted",
    ),
    fault(
        FIRST,
        "    - move: { from: currency, to: total.currency }\n",
        "",
        "  Order:",
    ),
    // A wrong type.
    fault(
        FIRST,
        "- decimal: { from: total, to: total.amount, scale: 2, pad: true }",
        "- move: { from: total, to: total.amount }",
        "to: total.amount",
    ),
    fault(
        FIRST,
        "- decimal: { from: price, to: unitPrice.amount, scale: 2, pad: true }",
        "- move: { from: price, to: unitPrice.amount }",
        "unitPrice.amount",
    ),
    fault(
        FIRST,
        "- decimal: { from: price, to: unitPrice.amount, scale: 2, pad: true }",
        "- decimal: { from: price, to: unitPrice.amount, as: number }",
        "unitPrice.amount",
    ),
    fault(
        FIRST,
        "- wrap: { from: remark, to: notes, more: drop }",
        "- move: { from: remark, to: notes }",
        "to: notes",
    ),
    fault(
        FIRST,
        "- wrap: { from: remark, to: notes, more: drop }",
        "- first: { from: remark, to: notes, more: drop }",
        "to: notes",
    ),
    fault(
        FIRST,
        "- date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }",
        "- case: { path: orderDate, newer: upper }",
        "path: orderDate",
    ),
    // Lost digits and padding.
    fault(
        FIRST,
        "to: total.amount, scale: 2, pad: true",
        "to: total.amount, scale: 3, pad: true",
        "to: total.amount",
    ),
    fault(
        FIRST,
        "to: total.amount, scale: 2, pad: true",
        "to: total.amount",
        "to: total.amount",
    ),
    fault(
        FIRST,
        "to: unitPrice.amount, scale: 2, pad: true",
        "to: unitPrice.amount, scale: 1, pad: true",
        "unitPrice.amount",
    ),
    fault(
        FIRST,
        "to: unitPrice.amount, scale: 2, pad: true",
        "to: unitPrice.amount, scale: 4, pad: true",
        "unitPrice.amount",
    ),
    fault(
        FIRST,
        "to: customer.id, char: '0', width: 10",
        "to: customer.id, char: '0', width: 9",
        "to: customer.id",
    ),
    fault(
        FIRST,
        "to: customer.id, char: '0', width: 10",
        "to: customer.id, char: ' ', width: 10",
        "to: customer.id",
    ),
    fault(
        FIRST,
        "- strip: { from: deliveryNo, to: shipmentId, char: '0', width: 10 }",
        "- move: { from: deliveryNo, to: shipmentId }",
        "to: shipmentId",
    ),
    fault(
        FIRST,
        "- strip: { from: deliveryNo, to: shipmentId, char: '0', width: 10 }",
        "- pad: { from: deliveryNo, to: shipmentId, char: '0', width: 10 }",
        "to: shipmentId",
    ),
    // Dates.
    fault(
        FIRST,
        "- date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }",
        "- date: { path: orderDate, older: yyyyMMdd, newer: yyyy-MM-dd }",
        "path: orderDate",
    ),
    fault(
        FIRST,
        "- date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }",
        "- date: { path: orderDate, older: dd.MM.yyyy, newer: yyyyMMdd }",
        "path: orderDate",
    ),
    fault(
        FIRST,
        "to: shippedOn, older: dd.MM.yyyy, newer: yyyy-MM-dd",
        "to: shippedOn, older: yyyy-MM-dd, newer: dd.MM.yyyy",
        "to: shippedOn",
    ),
    fault(
        FIRST,
        "    - date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }\n",
        "",
        "  Order:",
    ),
    // Wrong codes.
    fault(FIRST, "OPEN: open, ", "", "table: status"),
    fault(FIRST, "OPEN: open, ", "OPEN: opened, ", "table: status"),
    fault(FIRST, "PICKED: picked", "PICKED: open", "table: status"),
    fault(FIRST, ", missDown: { returned: INVOICED }", "", "table: status"),
    fault(FIRST, "SD: same-day, ", "", "table: service"),
    fault(FIRST, "RP: replenishment", "RP: standard", "table: service"),
    fault(FIRST, "M: metre, ", "", "table: unit"),
    fault(FIRST, "'02': out-of-stock", "'03': out-of-stock", "table: reason"),
    fault(
        FIRST,
        "from: delivClass, to: priority, table: service",
        "from: delivClass, to: priority, table: unit",
        "from: delivClass",
    ),
    // Outwards, and types.
    fault(FIRST, "from: ^.currency,", "from: ^.total,", "- copy"),
    fault(FIRST, "from: ^.currency,", "from: ^.custName,", "- copy"),
    fault(
        FIRST,
        "      - copy: { from: ^.currency, to: unitPrice.currency, agree: error }\n",
        "",
        "  OrderLine:",
    ),
    fault(FIRST, "as: OrderItem", "as: Order", "  OrderLine:"),
    // Parameters.
    fault(
        FIRST,
        "- strip: { path: customer, char: '0', width: 10 }",
        "- strip: { path: customer, char: '0', width: 8 }",
        "path: customer,",
    ),
    fault(
        FIRST,
        "- strip: { path: customer, char: '0', width: 10 }",
        "- trim: { path: customer }",
        "path: customer ",
    ),
    fault(
        FIRST,
        "      - strip: { path: customer, char: '0', width: 10 }\n",
        "",
        "listOrders:",
    ),
    fault(
        FIRST,
        "      - table: { path: status, table: status, missDown: { returned: INVOICED } }\n    cursors",
        "    cursors",
        "listOrders:",
    ),
    fault(
        FIRST,
        "  cancelOrder:\n    path: [{ move: { from: orderNo, to: orderId } }]\n",
        "",
        "kind",
    ),
    // What the versions say.
    fault(
        V2,
        "name: { type: string, maxLength: 80 }",
        "name: { type: string, maxLength: 79 }",
        "customer.name|Order:",
    ),
    fault(
        V2,
        "city: { type: string, maxLength: 60 }",
        "city: { type: string, maxLength: 40 }",
        "address.city",
    ),
    fault(
        V2,
        "items: { type: string, maxLength: 1000 }",
        "items: { type: string, maxLength: 500 }",
        "- wrap",
    ),
    fault(
        V2,
        "itemCode: { type: string, minLength: 1, maxLength: 40 }",
        "itemCode: { type: string, minLength: 1, maxLength: 18 }",
        "itemCode",
    ),
    fault(
        V2,
        "lineNumber: { type: integer, minimum: 1, maximum: 9990 }",
        "lineNumber: { type: integer, minimum: 10, maximum: 9990 }",
        "lineNumber",
    ),
    fault(
        V2,
        "pattern: '^(0|[1-9][0-9]{0,7})(\\.[0-9]{1,2})?$'",
        "pattern: '^(0|[1-9][0-9]{0,5})(\\.[0-9]{1,2})?$'",
        "amount",
    ),
    fault(
        V2,
        "required: [orderId, customer, orderDate, items, total]",
        "required: [orderId, customer, orderDate, priority, items, total]",
        "  Order:|delivClass",
    ),
    fault(
        V2,
        "pattern: '^[1-9][0-9]{0,9}$'\n    OrderStatus",
        "pattern: '^[1-9][0-9]{3,9}$'\n    OrderStatus",
        "customer.id|path: customer",
    ),
    fault(
        V2,
        "orders:\n          type: array\n          maxItems: 200",
        "orders:\n          type: array\n          maxItems: 100",
        "OrderList:",
    ),
    fault(
        V1,
        "qty: { type: number, exclusiveMinimum: 0, maximum: 9999999 }",
        "qty: { type: number, exclusiveMinimum: 0 }",
        "to: quantity",
    ),
    fault(
        V1,
        "remark: { type: string, maxLength: 500 }",
        "remark: { type: string }",
        "to: comment",
    ),
];

/// Faults in the second mapping and in the versions it joins.
const IN_SECOND: &[Fault] = &[
    fault(
        SECOND,
        "- move: { from: orderId, to: orderNumber }",
        "- move: { from: orderId, to: ordernumber }",
        "ordernumber",
    ),
    fault(
        SECOND,
        "    - move: { from: customer, to: parties.soldTo }\n",
        "",
        "  Order:",
    ),
    fault(SECOND, "to: parties.shipTo", "to: parties.soldTo", "parties.soldTo"),
    fault(
        SECOND,
        "- move: { from: orderDate, to: orderedOn }",
        "- move: { from: requestedDate, to: orderedOn }",
        "orderedOn|requestedDate",
    ),
    fault(
        SECOND,
        "    - move: { from: priority, to: serviceLevel }\n",
        "",
        "  Order:",
    ),
    fault(SECOND, "open: received\n", "open: recieved\n", "table: status"),
    fault(SECOND, "    shipped: shipped\n", "", "table: status"),
    fault(SECOND, "returned: returned", "returned: cancelled", "table: status"),
    fault(
        SECOND,
        "    - table: { path: status, table: status, missDown: { on-hold: open } }\n    - each",
        "    - each",
        "  Order:",
    ),
    fault(
        SECOND,
        "missDown: { on-hold: open }",
        "missDown: { on-hold: opened }",
        "table: status",
    ),
    fault(SECOND, "each: C62, ", "", "table: unit"),
    fault(SECOND, "metre: MTR", "metre: XCT", "table: unit"),
    fault(
        SECOND,
        "- move: { from: id, to: number }",
        "- move: { from: id, to: name }",
        "to: name|Customer:",
    ),
    fault(SECOND, "as: Consignee", "as: SoldTo", "ShipTo:"),
    fault(
        SECOND,
        "- move: { from: quantity, to: quantity.value }",
        "- wrap: { from: quantity, to: quantity.value }",
        "quantity.value",
    ),
    fault(
        SECOND,
        "- move: { from: quantity, to: quantity.value }",
        "- decimal: { from: quantity, to: quantity.value }",
        "quantity.value",
    ),
    fault(
        SECOND,
        "- table: { from: unit, to: quantity.unit, table: unit }",
        "- move: { from: unit, to: quantity.unit }",
        "quantity.unit",
    ),
    fault(
        SECOND,
        "older: yyyy-MM-dd, newer: rfc3339",
        "older: yyyyMMdd, newer: rfc3339",
        "to: shippedAt",
    ),
    fault(
        SECOND,
        "- date: { from: shippedOn, to: shippedAt, older: yyyy-MM-dd, newer: rfc3339, timezone: Europe/Berlin, time: '18:00' }",
        "- move: { from: shippedOn, to: shippedAt }",
        "to: shippedAt",
    ),
    fault(
        SECOND,
        "  - { type: Shipment, path: shippedAt, direction: down, reason: v2 knows the day only; the time of day is lost }\n",
        "",
        "to: shippedAt",
    ),
    fault(
        SECOND,
        "  - { type: Order, path: createdAt, direction: down, reason: v2 has no time of receipt }\n",
        "",
        "  Order:",
    ),
    fault(SECOND, "    - move: { from: total, to: totals.net }\n", "", "  Order:"),
    fault(
        SECOND,
        "  OrderPage:\n    - move: { from: total, to: totalCount }\n",
        "",
        "listOrders:",
    ),
    fault(
        SECOND,
        "      - table: { path: status, table: status, missDown: { on-hold: open } }\n    cursors",
        "      - case: { path: status, newer: upper }\n    cursors",
        "path: status, newer",
    ),
    fault(V3, "maxItems: 999", "maxItems: 99", "- each"),
    fault(V3, "maxLength: 35", "maxLength: 20", "  Order:"),
    fault(V3, "maxLength: 60", "maxLength: 59", "Address:"),
    fault(V3, "maximum: 9990", "maximum: 999", "OrderItem:"),
    fault(
        V3,
        "minLength: 1, maxLength: 40",
        "minLength: 2, maxLength: 40",
        "to: sku",
    ),
    fault(
        V3,
        "{ type: number, exclusiveMinimum: 0, maximum: 9999999 }",
        "{ type: integer, exclusiveMinimum: 0, maximum: 9999999 }",
        "quantity.value",
    ),
];

/// The files of two neighbouring versions, with a fault in one of them.
fn broken(fault: &Fault, versions: [&str; 2]) -> (Vec<SourceFile>, String) {
    let (mut mapping, mut is_changed) = (String::new(), false);
    let mut files = Vec::new();
    for mut file in folder("orders") {
        let path = file.path.to_string_lossy().into_owned();
        let is_version = versions
            .iter()
            .any(|version| path.ends_with(&format!("{version}/openapi.yaml")));
        let is_mapping = path.ends_with(&format!("{}-{}.map.yaml", versions[0], versions[1]));
        if !is_version && !is_mapping {
            continue;
        }
        if path.ends_with(fault.file) {
            let changed = file.text.replacen(fault.from, fault.to, 1);
            is_changed = changed != *file.text;
            file.text = changed.into();
        }
        if is_mapping {
            mapping = file.text.to_string();
        }
        files.push(file);
    }
    assert!(is_changed, "nothing is changed by {} -> {}", fault.from, fault.to);
    (files, mapping)
}

/// Lines that are blamed by what loading and the check say, with so many documents.
fn blamed(files: &[SourceFile], cases: usize) -> Vec<u32> {
    let contract = match Contract::load("orders", files) {
        Ok(contract) => contract,
        Err(mistakes) => return mistakes.iter().map(|mistake| mistake.line).collect(),
    };
    let options = Options {
        cases,
        ..Options::default()
    };
    let report = check(&contract, files, &options, &Progress::default());
    let lenses = || report.ways.iter().flat_map(|way| &way.lenses);
    let contradicted = lenses()
        .flat_map(|lens| &lens.unproved)
        .find(|open| open.why == report::CONTRADICTED);
    assert_eq!(contradicted, None);
    let wrong = report.all().filter(|finding| finding.weight <= Weight::Warning);
    wrong.map(|finding| finding.line).collect()
}

#[test]
fn faults_in_the_demo_mappings_are_found_nearly_all_without_drawing_a_document() {
    let (mut foreseen, mut led) = (0, 0);
    let mut missed = Vec::new();
    let pairs = [(IN_FIRST, ["v1", "v2"]), (IN_SECOND, ["v2", "v3"])];
    for (fault, versions) in pairs
        .iter()
        .flat_map(|(faults, versions)| faults.iter().map(|fault| (fault, *versions)))
    {
        let (files, mapping) = broken(fault, versions);
        let name = format!("{}: {} -> {}", fault.file, fault.from, fault.to);
        // A type is blamed where its steps begin.
        let mut expected: Vec<u32> = (1..)
            .zip(mapping.lines())
            .filter(|(_, line)| fault.line.split('|').any(|marker| line.contains(marker)))
            .flat_map(|(number, _)| [number, number + 1])
            .collect();
        assert!(!expected.is_empty(), "no line has `{}`", fault.line);
        if fault.line.contains("kind") {
            // Nothing in the mapping is there to be blamed.
            expected.push(0);
        }
        let mut lines = blamed(&files, 0);
        if lines.is_empty() {
            missed.push(format!("only by documents: {name}"));
            lines = blamed(&files, 300);
        } else {
            foreseen += 1;
        }
        if lines.iter().any(|line| expected.contains(line)) {
            led += 1;
        } else {
            missed.push(format!("found at {lines:?} and not {expected:?}: {name}"));
        }
    }
    let all = IN_FIRST.len() + IN_SECOND.len();
    let missed = missed.join("\n");
    assert!(all >= 80, "{all} faults");
    assert!(led * 100 >= all * 95, "{led} of {all} led to their line:\n{missed}");
    assert!(
        foreseen * 100 >= all * 90,
        "{foreseen} of {all} found without a drawn document:\n{missed}"
    );
}
