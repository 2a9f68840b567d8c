//! Tables of a mapping, as people write them: rows, or a file of rows.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// The keys of a table that lies in a file.
const KEYS: [&str; 3] = ["file", "newer", "older"];

/// A code list: rows, or `{ file: tables/unit.csv, older: sap, newer: unece }`. A table with exactly these three keys is
/// a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSource {
    /// Older code to newer code; those of a file once it was read, where it is a short one.
    pub rows: BTreeMap<String, String>,
    /// The file they stand in.
    pub file: Option<TableFileSpec>,
}

/// A file of rows beside the mapping: comma-separated values with a header (RFC 4180).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableFileSpec {
    /// The file, from the folder of the mapping: `tables/unit.csv`.
    pub file: String,
    /// The column with the older version's codes.
    pub older: String,
    /// The column with the newer version's codes.
    pub newer: String,
}

impl<'de> Deserialize<'de> for TableSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = BTreeMap::<String, String>::deserialize(deserializer)?;
        if !rows.keys().map(String::as_str).eq(KEYS) {
            return Ok(Self { rows, file: None });
        }
        let file = TableFileSpec {
            file: rows["file"].clone(),
            older: rows["older"].clone(),
            newer: rows["newer"].clone(),
        };
        Ok(Self {
            rows: BTreeMap::new(),
            file: Some(file),
        })
    }
}

impl JsonSchema for TableSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TableSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rows = generator.subschema_for::<BTreeMap<String, String>>();
        let file = generator.subschema_for::<TableFileSpec>();
        json_schema!({ "anyOf": [file, rows] })
    }
}
