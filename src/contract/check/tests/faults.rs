//! A hundred faults put into correct mappings: how many are found, and whether the report leads to their line.

use super::*;

const V1: &str = "openapi: 3.1.0
paths:
  /items/{matnr}:
    put:
      operationId: putItem
      parameters: [{ name: matnr, in: path, required: true, schema: { type: string } }]
      requestBody: { required: true, content: { application/json: { schema: { $ref: '#/components/schemas/Item' } } } }
      responses: { '204': { description: done } }
components:
  schemas:
    Item:
      type: object
      additionalProperties: false
      required: [matnr, text, kind, net, price, currency, valid, deleted, packs]
      properties:
        matnr: { type: string, pattern: '^[0-9]{18}$' }
        text: { type: string, minLength: 1, maxLength: 40 }
        long: { type: string, maxLength: 200 }
        kind: { enum: [F, H, R] }
        colour: { enum: [red, green, blue] }
        net: { type: number, minimum: 0, maximum: 99999.999, multipleOf: 0.001 }
        price: { type: number, minimum: 0, maximum: 99999.99, multipleOf: 0.01 }
        currency: { type: string, pattern: '^[A-Z]{3}$' }
        valid: { type: string, pattern: '^[0-9]{8}$' }
        deleted: { enum: [X, ''] }
        remark: { type: string, maxLength: 60 }
        height: { type: integer, minimum: 1, maximum: 5000 }
        width: { type: integer, minimum: 1, maximum: 5000 }
        old: { type: string, maxLength: 10 }
        packs: { type: array, minItems: 1, maxItems: 20, items: { $ref: '#/components/schemas/Pack' } }
    Pack:
      type: object
      additionalProperties: false
      required: [ean, count]
      properties:
        ean: { type: string, pattern: '^[0-9]{13}$' }
        count: { type: integer, minimum: 1, maximum: 999 }
        label: { type: string, maxLength: 15 }
        form: { enum: [B, P] }
";

const V2: &str = "openapi: 3.1.0
paths:
  /items/{matnr}:
    put:
      operationId: putItem
      parameters: [{ name: matnr, in: path, required: true, schema: { type: string } }]
      requestBody: { required: true, content: { application/json: { schema: { $ref: '#/components/schemas/Item' } } } }
      responses: { '204': { description: done } }
components:
  schemas:
    Item:
      type: object
      additionalProperties: false
      required: [number, description, category, weight, price, validFrom, isDeleted, channel, priority, packaging]
      properties:
        number: { type: string, pattern: '^[1-9][0-9]{0,17}$' }
        description:
          type: object
          additionalProperties: false
          required: [short]
          properties:
            short: { type: string, minLength: 1, maxLength: 40 }
            long: { type: string, maxLength: 200 }
        category: { enum: [finished, trading, raw, spare] }
        colour: { enum: [red, green, blue] }
        weight: { type: string, pattern: '^(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?$' }
        price:
          type: object
          additionalProperties: false
          required: [amount, currency]
          properties:
            amount: { type: string, pattern: '^(0|[1-9][0-9]{0,4})(\\.[0-9]{1,2})?$' }
            currency: { type: string, pattern: '^[A-Z]{3}$' }
        validFrom: { type: string, format: date }
        isDeleted: { type: boolean }
        notes: { type: array, maxItems: 1, items: { type: string, maxLength: 60 } }
        size:
          type: object
          additionalProperties: false
          properties:
            height: { type: integer, minimum: 1, maximum: 5000 }
            width: { type: integer, minimum: 1, maximum: 5000 }
        channel: { type: string, maxLength: 5 }
        priority: { enum: [low, high] }
        rating: { type: integer, minimum: 1, maximum: 5 }
        packaging: { type: array, minItems: 1, maxItems: 20, items: { $ref: '#/components/schemas/Packaging' } }
    Packaging:
      type: object
      additionalProperties: false
      required: [gtin, pieces, currency]
      properties:
        gtin: { type: string, pattern: '^[0-9]{13}$' }
        pieces: { type: integer, minimum: 1, maximum: 999 }
        label: { type: string, maxLength: 15 }
        form: { enum: [box, pallet] }
        currency: { type: string, pattern: '^[A-Z]{3}$' }
";

const MAP: &str = "kind: Mapping
contract: items
from: v1
to: v2
tables:
  kind: { F: finished, H: trading, R: raw }
  form: { B: box, P: pallet }
types:
  Item:
    - strip: { from: matnr, to: number, char: '0', width: 18 }
    - move: { from: text, to: description.short }
    - move: { from: long, to: description.long }
    - table: { from: kind, to: category, table: kind, missDown: { spare: R } }
    - decimal: { from: net, to: weight, scale: 3, pad: true }
    - decimal: { from: price, to: price.amount, scale: 2, pad: true }
    - move: { from: currency, to: price.currency }
    - date: { from: valid, to: validFrom, older: yyyyMMdd, newer: yyyy-MM-dd }
    - bool: { from: deleted, to: isDeleted, yes: X, no: '' }
    - wrap: { from: remark, to: notes }
    - move: { from: height, to: size.height }
    - move: { from: width, to: size.width }
    - drop: { path: old }
    - const: { to: channel, value: B2B, expect: ignore }
    - default: { path: priority, value: low }
    - each: { from: packs, to: packaging }
  Pack:
    as: Packaging
    ops:
      - move: { from: ean, to: gtin }
      - move: { from: count, to: pieces }
      - table: { path: form, table: form }
      - copy: { from: ^.currency, to: currency }
losses:
  - { type: Item, path: rating, direction: down, reason: v1 has no rating }
  - { type: Item, path: priority, direction: down, reason: v1 has no priority }
";

/// Documents for each lens: enough to come by every wide document once.
const TRIES: usize = 520;

fn files(v1: &str, v2: &str, map: &str) -> Vec<SourceFile> {
    [
        ("contracts/items/v1/openapi.yaml", v1),
        ("contracts/items/v2/openapi.yaml", v2),
        ("contracts/items/v1-v2.map.yaml", map),
    ]
    .map(|(path, text)| SourceFile {
        path: path.into(),
        text: text.into(),
    })
    .into()
}

/// A fault: which file was changed and how, and the line of the mapping that is to blame.
struct Fault {
    name: String,
    v2: String,
    map: String,
    lines: Vec<u32>,
}

fn line_of(map: &str, marker: &str) -> u32 {
    let position = map.lines().position(|line| line.contains(marker));
    u32::try_from(position.unwrap_or_else(|| panic!("{marker}")) + 1).unwrap()
}

/// Every step left out, led astray, or taken for a plain move.
fn step_faults() -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut around = 0;
    for (index, line) in MAP.lines().enumerate() {
        let number = u32::try_from(index + 1).unwrap();
        let step = line.trim_start();
        if step == "Item:" || step == "Pack:" {
            // The place of a type is where its steps begin.
            around = number + 1;
        }
        if !step.starts_with("- ") || step.starts_with("- {") {
            continue;
        }
        let mut with = |what: &str, new: Option<String>| {
            let mut lines: Vec<String> = MAP.lines().map(str::to_owned).collect();
            match new {
                Some(new) => lines[index] = new,
                None => drop(lines.remove(index)),
            }
            faults.push(Fault {
                name: format!("{what}: {step}"),
                v2: V2.to_owned(),
                map: lines.join("\n"),
                lines: vec![number, around],
            });
        };
        // The items of a list are carried under their name only if it is the same; a default is no loss to leave out
        // only where the field is optional.
        with("left out", None);
        let (kind, args) = step[2..].split_once(": {").unwrap();
        for key in ["to", "path"] {
            if let Some(at) = args.find(&format!("{key}: ")) {
                let end = at + args[at..].find([',', ' ', '}']).unwrap();
                let value_end = end + 1 + args[end + 1..].find([',', ' ']).unwrap();
                let value = &args[end + 1..value_end];
                with(
                    "misspelt",
                    Some(line.replacen(&format!("{key}: {value}"), &format!("{key}: {value}x"), 1)),
                );
                break;
            }
        }
        if let Some(at) = args
            .find("from: ")
            .filter(|_| matches!(kind, "strip" | "table" | "decimal" | "date" | "bool" | "wrap"))
        {
            let from = args[at + 6..].split(',').next().unwrap();
            let to = args.split("to: ").nth(1).unwrap().split([',', ' ']).next().unwrap();
            let indent = &line[..line.len() - step.len()];
            with(
                "a plain move",
                Some(format!("{indent}- move: {{ from: {from}, to: {to} }}")),
            );
        }
    }
    faults
}

/// Single words of the mapping or of the newer version that are wrong.
#[expect(clippy::too_many_lines, reason = "one table")]
fn word_faults() -> Vec<Fault> {
    let map = [
        ("width: 18", "width: 17", "- strip"),
        ("width: 18", "width: 10", "- strip"),
        ("char: '0'", "char: '1'", "- strip"),
        (
            "- strip: { from: matnr, to: number, char: '0', width: 18 }",
            "- pad: { from: matnr, to: number, char: '0', width: 18 }",
            "- pad",
        ),
        (
            "to: weight, scale: 3, pad: true",
            "to: weight, scale: 2, pad: true",
            "to: weight",
        ),
        (
            "to: weight, scale: 3, pad: true",
            "to: weight, scale: 4, pad: true",
            "to: weight",
        ),
        (
            "to: weight, scale: 3, pad: true",
            "to: weight, as: number",
            "to: weight",
        ),
        ("scale: 2, pad: true", "scale: 3, pad: true", "price.amount"),
        ("scale: 2, pad: true", "scale: 1, pad: true", "price.amount"),
        ("scale: 2, pad: true", "as: number", "price.amount"),
        ("older: yyyyMMdd", "older: yyyy-MM-dd", "- date"),
        ("older: yyyyMMdd", "older: dd.MM.yyyy", "- date"),
        ("newer: yyyy-MM-dd", "newer: dd.MM.yyyy", "- date"),
        ("newer: yyyy-MM-dd", "newer: yyyyMMdd", "- date"),
        (
            "newer: yyyy-MM-dd",
            "newer: rfc3339, timezone: Europe/Berlin, time: '18:00'",
            "- date",
        ),
        ("yes: X, no: ''", "yes: J, no: N", "- bool"),
        ("yes: X, no: ''", "yes: X, no: N", "- bool"),
        ("F: finished, ", "", "from: kind"),
        ("F: finished, ", "F: finish, ", "from: kind"),
        ("H: trading", "H: finished", "from: kind"),
        ("B: box, ", "", "path: form"),
        ("P: pallet", "P: palet", "path: form"),
        ("P: pallet", "P: box", "path: form"),
        (", missDown: { spare: R }", "", "from: kind"),
        ("missDown: { spare: R }", "missDown: { spare: S }", "from: kind"),
        ("table: kind,", "table: form,", "from: kind"),
        ("path: form, table: form", "path: form, table: kind", "path: form"),
        (
            "from: height, to: size.height",
            "from: text, to: size.height",
            "size.height",
        ),
        ("from: height, to: size.height", "from: height, to: size", "height"),
        (
            "from: currency, to: price.currency",
            "from: currency, to: price.amount",
            "from: currency",
        ),
        (
            "from: text, to: description.short",
            "from: text, to: description",
            "from: text",
        ),
        (
            "from: text, to: description.short",
            "from: long, to: description.short",
            "from: long, to: description.short",
        ),
        ("value: B2B", "value: BUSINESS", "- const"),
        ("value: low", "value: medium", "- default"),
        ("^.currency", "^.curr", "- copy"),
        ("^.currency", "^.^.currency", "- copy"),
        ("^.currency", "^.text", "- copy"),
        ("^.currency", "ean", "- copy"),
        ("from: ean, to: gtin", "from: label, to: gtin", "to: gtin"),
        ("from: count, to: pieces", "from: ean, to: pieces", "to: pieces"),
        ("as: Packaging", "as: Package", "Pack:"),
        ("expect: ignore", "expect: error", "- const"),
    ];
    let v2 = [
        (
            "short: { type: string, minLength: 1, maxLength: 40 }",
            "short: { type: string, minLength: 1, maxLength: 39 }",
            "description.short",
        ),
        (
            "short: { type: string, minLength: 1, maxLength: 40 }",
            "short: { type: string, minLength: 2, maxLength: 40 }",
            "description.short",
        ),
        (
            "short: { type: string, minLength: 1, maxLength: 40 }",
            "short: { type: string, pattern: '^[ -~]{1,40}$' }",
            "description.short",
        ),
        (
            "long: { type: string, maxLength: 200 }",
            "long: { type: string, maxLength: 100 }",
            "description.long",
        ),
        ("required: [short]", "required: [short, long]", "Item:"),
        ("raw, spare]", "raw, spare, used]", "from: kind"),
        (
            "[finished, trading, raw, spare]",
            "[finished, trading, spare]",
            "from: kind",
        ),
        ("[red, green, blue]", "[red, green]", "Item:"),
        ("[red, green, blue]", "[red, green, blue, black]", "Item:"),
        (
            "[0-9]{0,4})(\\.[0-9]{1,3})?$",
            "[0-9]{0,3})(\\.[0-9]{1,3})?$",
            "to: weight",
        ),
        (
            "[0-9]{0,4})(\\.[0-9]{1,3})?$",
            "[0-9]{0,5})(\\.[0-9]{1,3})?$",
            "to: weight",
        ),
        (
            "[0-9]{0,4})(\\.[0-9]{1,3})?$",
            "[0-9]{0,4})(\\.[0-9]{1,2})?$",
            "to: weight",
        ),
        ("[0-9]{0,4})(\\.[0-9]{1,2})?$", "[0-9]{0,4})$", "price.amount"),
        ("[0-9]{0,4})(\\.[0-9]{1,2})?$", "[0-9]{0,4})(\\.[0-9]{2})$", ""),
        (
            "validFrom: { type: string, format: date }",
            "validFrom: { type: string, format: date-time }",
            "- date",
        ),
        (
            "validFrom: { type: string, format: date }",
            "validFrom: { type: string, maxLength: 8 }",
            "- date",
        ),
        ("isDeleted: { type: boolean }", "isDeleted: { type: string }", "- bool"),
        (
            "notes: { type: array, maxItems: 1, items: { type: string, maxLength: 60 } }",
            "notes: { type: array, maxItems: 1, items: { type: string, maxLength: 50 } }",
            "- wrap",
        ),
        (
            "notes: { type: array, maxItems: 1,",
            "notes: { type: array, minItems: 2,",
            "- wrap",
        ),
        (
            "notes: { type: array, maxItems: 1, items: { type: string, maxLength: 60 } }",
            "notes: { type: string, maxLength: 60 }",
            "- wrap",
        ),
        (
            "height: { type: integer, minimum: 1, maximum: 5000 }",
            "height: { type: integer, minimum: 1, maximum: 4999 }",
            "size.height",
        ),
        (
            "width: { type: integer, minimum: 1, maximum: 5000 }",
            "width: { type: integer, minimum: 10, maximum: 5000 }",
            "size.width",
        ),
        (
            "width: { type: integer, minimum: 1, maximum: 5000 }",
            "width: { type: integer, minimum: 1, maximum: 9000 }",
            "size.width",
        ),
        (
            "width: { type: integer, minimum: 1, maximum: 5000 }",
            "width: { type: string }",
            "size.width",
        ),
        ("minItems: 1, maxItems: 20", "minItems: 2, maxItems: 20", "- each"),
        ("minItems: 1, maxItems: 20", "minItems: 1, maxItems: 19", "- each"),
        (
            "pieces: { type: integer, minimum: 1, maximum: 999 }",
            "pieces: { type: integer, minimum: 1, maximum: 99 }",
            "to: pieces",
        ),
        (
            "pieces: { type: integer, minimum: 1, maximum: 999 }",
            "pieces: { type: integer, multipleOf: 2 }",
            "to: pieces",
        ),
        (
            "gtin: { type: string, pattern: '^[0-9]{13}$' }",
            "gtin: { type: string, pattern: '^[0-9]{14}$' }",
            "to: gtin",
        ),
        (
            "label: { type: string, maxLength: 15 }",
            "label: { type: string, maxLength: 14 }",
            "Pack:",
        ),
        (
            "label: { type: string, maxLength: 15 }",
            "label: { type: [string, 'null'], maxLength: 15 }",
            "Pack:",
        ),
        (
            "number: { type: string, pattern: '^[1-9][0-9]{0,17}$' }",
            "number: { type: string, pattern: '^[1-9][0-9]{5,17}$' }",
            "- strip",
        ),
        (
            "number: { type: string, pattern: '^[1-9][0-9]{0,17}$' }",
            "number: { type: string, pattern: '^[0-9]{1,19}$' }",
            "- strip",
        ),
        (
            "channel: { type: string, maxLength: 5 }",
            "channel: { type: string, maxLength: 2 }",
            "- const",
        ),
        ("[low, high]", "[normal, high]", "- default"),
        ("rating: {", "stock: { type: integer }\n        rating: {", "Item:"),
        ("isDeleted, channel", "isDeleted, rating, channel", "Item:"),
    ];
    let (item, pack) = (line_of(MAP, "  Item:") + 1, line_of(MAP, "  Pack:") + 1);
    let mut faults = Vec::new();
    for (from, to, marker) in map {
        let changed = MAP.replacen(from, to, 1);
        assert_ne!(changed, MAP, "{from}");
        faults.push(Fault {
            name: format!("{from} -> {to}"),
            v2: V2.to_owned(),
            lines: vec![line_of(&changed, marker), item, pack],
            map: changed,
        });
    }
    for (from, to, marker) in v2 {
        // Leading back is right: two digits are what the way up writes.
        if marker.is_empty() {
            continue;
        }
        let changed = V2.replacen(from, to, 1);
        assert_ne!(changed, V2, "{from}");
        let own = line_of(MAP, marker);
        faults.push(Fault {
            name: format!("{from} -> {to}"),
            v2: changed,
            map: MAP.to_owned(),
            lines: vec![own, if own >= pack - 1 { pack } else { item }],
        });
    }
    faults
}

/// The lines of the mapping that are blamed, and how they were found.
fn blamed(fault: &Fault) -> (Vec<u32>, &'static str) {
    let files = files(V1, &fault.v2, &fault.map);
    let contract = match Contract::load("items", &files) {
        Ok(contract) => contract,
        Err(mistakes) => {
            return (
                mistakes.iter().map(|mistake| mistake.line).collect(),
                "before anything runs",
            );
        }
    };
    let options = Options {
        cases: TRIES,
        ..Options::default()
    };
    let report = check(&contract, &files, &options, &Progress::default());
    let wrong = report.all().filter(|finding| finding.weight <= Weight::Warning);
    (wrong.map(|finding| finding.line).collect(), "by documents")
}

#[test]
fn the_mapping_without_a_fault_is_good() {
    let files = files(V1, V2, MAP);
    let report = checked("items", &files, TRIES);
    let text = render(std::slice::from_ref(&report), Style::Text { is_full: true });
    assert_eq!(report.verdict, Verdict::Tested, "{text}");
    assert_eq!(report.count(Weight::Warning), 0, "{text}");
}

#[test]
fn at_least_ninety_five_of_a_hundred_faults_are_found_and_led_to_their_line() {
    let mut faults = step_faults();
    faults.extend(word_faults());
    let (mut found, mut led) = (0, 0);
    let mut missed = Vec::new();
    let mut ways: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for fault in &faults {
        let (lines, way) = blamed(fault);
        if lines.is_empty() {
            missed.push(format!("not found: {}", fault.name));
            continue;
        }
        found += 1;
        *ways.entry(way).or_default() += 1;
        if lines.iter().any(|line| fault.lines.contains(line)) {
            led += 1;
        } else {
            missed.push(format!("found at {lines:?} and not {:?}: {}", fault.lines, fault.name));
        }
    }
    let all = faults.len();
    assert!(all >= 100, "{all} faults");
    assert!(
        led * 100 >= all * 95,
        "{all} faults, {found} found ({ways:?}), {led} led to their line:\n{}",
        missed.join("\n")
    );
}

#[test]
fn what_no_check_can_find_is_known() {
    // Fields of one type that change places, codes that change places: both versions are content, and all comes back.
    let swapped = MAP
        .replace("from: height, to: size.height", "from: height, to: size.WIDTH")
        .replace("from: width, to: size.width", "from: width, to: size.height")
        .replace("size.WIDTH", "size.width");
    let crossed = MAP.replace("B: box, P: pallet", "B: pallet, P: box");
    for map in [swapped, crossed] {
        let report = checked("items", &files(V1, V2, &map), 200);
        assert_eq!(report.verdict, Verdict::Tested);
    }
}
