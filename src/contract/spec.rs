//! What people write in a mapping file (`contracts/NAME/v1-v2.map.yaml`).

mod message;
mod steps;
mod tables;
mod update;

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::Spanned;
pub use message::*;
pub use steps::*;
pub use tables::{TableFileSpec, TableSource};
pub use update::{MergeSpec, UpdateSpec, WithoutTag};

/// The translation between two neighbouring versions of a contract, in both directions.
///
/// It is written from the older to the newer version; the way back follows from it. Fields that nothing names are
/// carried unchanged.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MappingSpec {
    /// Always `Mapping`.
    pub kind: MappingKind,
    /// The contract's name: that of its folder.
    #[schemars(with = "String")]
    pub contract: Spanned<String>,
    /// The older version, such as `v1`.
    #[schemars(with = "String")]
    pub from: Spanned<String>,
    /// The newer version: the older one's next neighbour.
    #[schemars(with = "String")]
    pub to: Spanned<String>,
    /// Code lists: older code to newer code, or a file of them. The way back follows where no two codes become the same.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TableSource>")]
    pub tables: BTreeMap<String, Spanned<TableSource>>,
    /// For each named schema of the older version, how it becomes the newer one's. A schema inside another is
    /// translated wherever a `$ref` leads to it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TypeSpec>")]
    pub types: BTreeMap<String, Spanned<TypeSpec>>,
    /// What differs in an operation beside its bodies, by `operationId`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, OperationSpec>")]
    pub operations: BTreeMap<String, Spanned<OperationSpec>>,
    /// Where errors name places of the request. An operation's own says it better.
    #[serde(default)]
    #[schemars(with = "Option<ErrorsSpec>")]
    pub errors: Option<Spanned<ErrorsSpec>>,
    /// Links in answers. An operation's own says it better.
    #[serde(default)]
    #[schemars(with = "Option<LinksSpec>")]
    pub links: Option<Spanned<LinksSpec>>,
    /// What one version can say and the other cannot, and why that is accepted. It is left out on that way.
    #[serde(default)]
    #[schemars(with = "Vec<LossSpec>")]
    pub losses: Vec<Spanned<LossSpec>>,
}

/// The `kind` of a mapping file.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum MappingKind {
    /// The only value.
    Mapping,
}

/// How one named schema is translated: a list of steps, or a new name and a list of steps.
#[derive(Clone, Debug, Default)]
pub struct TypeSpec {
    /// Its name in the newer version, where that differs.
    pub rename: Option<String>,
    /// The steps. Their order does not matter: all read before any writes.
    pub ops: Vec<Spanned<OpSpec>>,
}

/// The long form of [`TypeSpec`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RenamedTypeSpec {
    /// Its name in the newer version.
    #[serde(rename = "as")]
    rename: String,
    /// The steps.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    ops: Vec<Spanned<OpSpec>>,
}

impl<'de> Deserialize<'de> for TypeSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = TypeSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of steps, or `as:` and `ops:`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, steps: A) -> Result<TypeSpec, A::Error> {
                let ops = Vec::deserialize(SeqAccessDeserializer::new(steps))?;
                Ok(TypeSpec { rename: None, ops })
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<TypeSpec, A::Error> {
                let long = RenamedTypeSpec::deserialize(MapAccessDeserializer::new(members))?;
                Ok(TypeSpec {
                    rename: Some(long.rename),
                    ops: long.ops,
                })
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for TypeSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TypeSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let steps = generator.subschema_for::<Vec<OpSpec>>();
        let renamed = generator.subschema_for::<RenamedTypeSpec>();
        json_schema!({ "anyOf": [steps, renamed] })
    }
}

/// What differs in an operation beside its bodies. Parameters that nothing names are carried unchanged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OperationSpec {
    /// Steps over the path parameters.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub path: Vec<Spanned<OpSpec>>,
    /// Steps over the query parameters.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub query: Vec<Spanned<OpSpec>>,
    /// Steps over the request's header fields.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub header: Vec<Spanned<OpSpec>>,
    /// Steps over the request's cookies.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub cookie: Vec<Spanned<OpSpec>>,
    /// Steps over the header fields of answers.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub response_header: Vec<Spanned<OpSpec>>,
    /// Status codes that differ: the older version's to the newer one's.
    #[serde(default)]
    pub status: BTreeMap<u16, u16>,
    /// Where its errors name places of the request.
    #[serde(default)]
    #[schemars(with = "Option<ErrorsSpec>")]
    pub errors: Option<Spanned<ErrorsSpec>>,
    /// Links in its answers.
    #[serde(default)]
    #[schemars(with = "Option<LinksSpec>")]
    pub links: Option<Spanned<LinksSpec>>,
    /// Cursors, where both versions page by them.
    #[serde(default)]
    #[schemars(with = "Option<CursorsSpec>")]
    pub cursors: Option<Spanned<CursorsSpec>>,
    /// For PUT and PATCH: what becomes of fields that the caller's version cannot see. Without it they are erased, and
    /// the check warns where there are any.
    #[serde(default)]
    pub update: Option<UpdateSpec>,
}

/// A loss that is accepted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossSpec {
    /// The schema, by its name in the older version.
    #[serde(rename = "type")]
    pub schema: String,
    /// The field, as the version names it that has it: `totals.tax`.
    pub path: String,
    /// On which way it is lost.
    pub direction: Direction,
    /// Why that is acceptable.
    #[schemars(length(min = 1))]
    pub reason: String,
}

/// A way through a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the older version to the newer one.
    Up,
    /// From the newer version to the older one.
    Down,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}
