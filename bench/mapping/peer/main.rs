//! What the same work costs with `serde_json` and exact numbers: an order read, checked, turned from v1 into v3 by hand,
//! and written. Nanoseconds of CPU per document.

use std::hint::black_box;
use std::path::Path;

use serde_json::{Map, Value, json};

const BATCHES: usize = 31;
/// Nanoseconds.
const BATCH: u64 = 15_000_000;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let text = read("bench/orders/request-v1.json");
    let mut schema: Value = serde_saphyr::from_str(&read("contracts/orders/v1/openapi.yaml")).unwrap();
    schema["$ref"] = json!("#/components/schemas/Order");
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let order: Value = serde_json::from_str(&text).unwrap();
    assert!(validator.is_valid(&order));
    if std::env::args().any(|argument| argument == "memory") {
        return memory(&text, &schema);
    }
    println!("serde_json, exact numbers, members in order");
    report("parse", || serde_json::from_str::<Value>(&text).unwrap());
    report("validate", || validator.is_valid(&order));
    report("map v1 to v3", || map(order.clone()));
    report("parse + validate + map + serialise", || {
        let order: Value = serde_json::from_str(&text).unwrap();
        assert!(validator.is_valid(&order));
        serde_json::to_string(&map(order)).unwrap()
    });
}

/// The most memory that an order of 10 MB takes, as a multiple of its size.
fn memory(order: &str, schema: &Value) {
    let mut schema = schema.clone();
    let properties = &mut schema["components"]["schemas"]["Order"]["properties"];
    properties["lines"].as_object_mut().unwrap().remove("maxItems");
    let validator = jsonschema::options().build(&schema).unwrap();
    let batch = batch(order);
    let before = high_water();
    let order: Value = serde_json::from_str(&batch).unwrap();
    let parsed = high_water();
    assert!(validator.is_valid(&order));
    let written = serde_json::to_string(&map(order)).unwrap();
    let times = |bytes: u64| 1.0 + (bytes - before) as f64 / batch.len() as f64;
    println!(
        "serde_json: an order of {} bytes, {} bytes in v3: at most {:.1} times its size, {:.1} once it is read",
        batch.len(),
        written.len(),
        times(high_water()),
        times(parsed)
    );
}

/// The order of the benchmark with its lines repeated, 10 MB of it.
fn batch(order: &str) -> String {
    let (start, rest) = order.split_once("\"lines\": [").unwrap();
    let (lines, end) = rest.split_once(']').unwrap();
    let lines = vec![lines; 10_000_000 / lines.len()].join(",");
    format!("{start}\"lines\": [{lines}]{end}")
}

/// The most memory this process has had at once, in bytes.
fn high_water() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn map(mut order: Value) -> Value {
    let order = order.as_object_mut().unwrap();
    let currency = take(order, "currency");
    let mut mapped = Map::new();
    put(&mut mapped, "orderNumber", take(order, "orderNo"));
    let number = take(order, "customerNo").map(|number| json!(number.as_str().unwrap().trim_start_matches('0')));
    let sold_to = object([("number", number), ("name", take(order, "custName"))]);
    let address = object([
        ("street", take(order, "shipStreet")),
        ("postalCode", take(order, "shipZip")),
        ("city", take(order, "shipCity")),
        ("countryCode", take(order, "shipCountry")),
    ]);
    let ship_to = object([("name", take(order, "shipName")), ("address", Some(address))]);
    put(
        &mut mapped,
        "parties",
        Some(object([("soldTo", Some(sold_to)), ("shipTo", Some(ship_to))])),
    );
    put(&mut mapped, "orderedOn", take(order, "orderDate").map(date));
    put(&mut mapped, "requestedOn", take(order, "reqDate").map(date));
    let levels = [("SD", "same-day"), ("ST", "standard"), ("RP", "replenishment")];
    put(
        &mut mapped,
        "serviceLevel",
        take(order, "delivClass").map(|code| table(&code, &levels)),
    );
    let states = [
        ("OPEN", "received"),
        ("RELEASED", "released"),
        ("PICKED", "in-fulfilment"),
        ("SHIPPED", "shipped"),
    ];
    put(
        &mut mapped,
        "status",
        take(order, "status").map(|code| table(&code, &states)),
    );
    put(&mut mapped, "customerReference", take(order, "custRef"));
    put(
        &mut mapped,
        "notes",
        take(order, "remark").map(|remark| json!([remark])),
    );
    let total = take(order, "total").map(amount);
    if let Some(lines) = take(order, "lines") {
        let Value::Array(lines) = lines else { panic!("no list") };
        let lines = lines
            .into_iter()
            .map(|line| map_line(line, currency.as_ref()))
            .collect();
        put(&mut mapped, "lines", Some(Value::Array(lines)));
    }
    if total.is_some() {
        let net = object([("amount", total), ("currency", currency)]);
        put(&mut mapped, "totals", Some(object([("net", Some(net))])));
    }
    Value::Object(mapped)
}

fn map_line(mut line: Value, currency: Option<&Value>) -> Value {
    let line = line.as_object_mut().unwrap();
    let units = [
        ("EA", "C62"),
        ("KG", "KGM"),
        ("M", "MTR"),
        ("CT", "XCT"),
        ("PAL", "XPX"),
    ];
    let unit = take(line, "uom").map(|code| table(&code, &units));
    let quantity = object([("value", take(line, "qty")), ("unit", unit)]);
    let price = object([
        ("amount", take(line, "price").map(amount)),
        ("currency", currency.cloned()),
    ]);
    object([
        ("lineNumber", take(line, "pos")),
        ("sku", take(line, "sku")),
        ("description", take(line, "desc")),
        ("quantity", Some(quantity)),
        ("unitPrice", Some(price)),
    ])
}

fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    object.swap_remove(name)
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value);
    }
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let mut object = Map::with_capacity(N);
    for (name, value) in members {
        put(&mut object, name, value);
    }
    Value::Object(object)
}

fn date(value: Value) -> Value {
    let text = value.as_str().unwrap();
    Value::String(format!("{}-{}-{}", &text[6..], &text[3..5], &text[..2]))
}

fn table(code: &Value, rows: &[(&str, &str)]) -> Value {
    let code = code.as_str().unwrap();
    json!(rows.iter().find(|row| row.0 == code).unwrap().1)
}

fn amount(number: Value) -> Value {
    Value::String(number.to_string())
}

/// The median over batches of a fixed time each, after a warm-up as long as ten of them.
fn report<T>(what: &str, mut work: impl FnMut() -> T) {
    let mut batch = |time: u64| {
        let started = cpu_time();
        let mut count = 0;
        while cpu_time() - started < time {
            for _ in 0..256 {
                black_box(work());
            }
            count += 256;
        }
        (cpu_time() - started) / count
    };
    batch(BATCH * 10);
    let mut times: Vec<_> = (0..BATCHES).map(|_| batch(BATCH)).collect();
    times.sort_unstable();
    println!("{what:<40}{:>8}", times[BATCHES / 2]);
}

/// What this thread has had of a processor, in nanoseconds: other programs on the machine do not count.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
