//! What the guide says of a step is what it does.

use serde_json::{Map, json};

use super::steps::contract;
use super::*;

/// A closed schema that fits all of these values.
fn schema_of(values: &[serde_json::Value]) -> serde_json::Value {
    let objects: Vec<&Map<_, _>> = values.iter().filter_map(serde_json::Value::as_object).collect();
    if !objects.is_empty() {
        let count = objects.len();
        let mut properties: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for (name, value) in objects.into_iter().flatten() {
            properties.entry(name.clone()).or_default().push(value.clone());
        }
        let required: Vec<_> = properties
            .iter()
            .filter(|(_, values)| values.len() == count)
            .map(|(name, _)| name.clone())
            .collect();
        let properties: Map<_, _> = properties
            .into_iter()
            .map(|(name, values)| (name, schema_of(&values)))
            .collect();
        return json!({
            "type": "object",
            "additionalProperties": false,
            "required": required,
            "properties": properties,
        });
    }
    if values.iter().any(serde_json::Value::is_array) {
        let items: Vec<_> = values
            .iter()
            .filter_map(serde_json::Value::as_array)
            .flatten()
            .cloned()
            .collect();
        return json!({ "type": "array", "items": schema_of(&items) });
    }
    match values.first() {
        Some(serde_json::Value::Number(_)) => json!({ "type": "number" }),
        Some(serde_json::Value::Bool(_)) => json!({ "type": "boolean" }),
        _ => json!({ "type": "string" }),
    }
}

const TABLES: &str = "tables: { status: { OPEN: open, INVOICED: completed }, unit: { EA: each }, sku: { file: tables/sku.csv, older: sap, newer: shop } }";

#[test]
fn the_steps_in_the_guide_do_what_it_says() {
    let guide = include_str!("../../../contracts/README.md");
    let steps = guide.split("### Steps").nth(1).unwrap().split("\n### ").next().unwrap();
    let blocks: Vec<_> = steps.split("```yaml\n").skip(1).collect();
    assert!(blocks.len() > 24);
    for block in blocks {
        let yaml = block.split("```").next().unwrap();
        serde_saphyr::from_str::<Vec<spec::OpSpec>>(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
        if yaml.contains("variant") {
            // Its types have names, which an example of values does not.
            continue;
        }
        let examples: Vec<(&str, &str, &str)> = yaml
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .map(|line| {
                let sign = ["⇄", "→", "←"].into_iter().find(|sign| line.contains(sign)).unwrap();
                let (older, newer) = line.split_once(sign).unwrap();
                (older.trim(), sign, newer.trim())
            })
            .collect();
        assert!(!examples.is_empty(), "{yaml}");
        let values = |texts: Vec<&str>| -> Vec<serde_json::Value> {
            texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
        };
        let older = schema_of(&values(examples.iter().map(|example| example.0).collect()));
        let newer = schema_of(&values(examples.iter().map(|example| example.2).collect()));
        let indented = yaml
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n    ");
        let mapping = format!("{TABLES}\ntypes:\n  Thing:\n    {indented}");
        let contract = contract(&format!("Thing: {older}"), &format!("Thing: {newer}"), &mapping)
            .unwrap_or_else(|mistakes| panic!("{yaml}: {mistakes:?}"));
        for (older, sign, newer) in examples {
            if sign != "←" {
                assert_same(&request(&contract, "put", "v1", "v2", older).unwrap(), newer);
            }
            if sign != "→" {
                assert_same(&response(&contract, "put", "v1", "v2", 200, newer).unwrap(), older);
            }
        }
    }
}
