//! `versions` of an API: which contract versions it offers, and how far each has come in its life.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use super::{Moment, Percent, Spanned};

/// The contract versions an API offers: a list, `[v1, v2]`, where all are in full service, or a map from each to its
/// state, `{ v1: { state: deprecated, since: 2026-06-01 }, v2: active }`.
#[derive(Clone, Debug, Default)]
pub struct VersionsSpec(pub Vec<OfferedSpec>);

/// One version an API offers.
#[derive(Clone, Debug)]
pub struct OfferedSpec {
    /// Name of its folder in the contract.
    pub name: Spanned<String>,
    /// How far it has come.
    pub life: LifeSpec,
}

/// How far a version has come in its life. A word alone, such as `active`, is its state.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LifeSpec {
    /// What is done with requests for it.
    pub state: StateSpec,
    /// `deprecated`, `retired`: since when. A day (`2026-06-01`, from midnight UTC) or a point in time (RFC 3339).
    #[serde(default)]
    pub since: Option<Moment>,
    /// `deprecated`: when it ends. From then on it is answered as if it was `retired`.
    #[serde(default)]
    pub sunset: Option<Moment>,
    /// `deprecated`, `retired`: the version to use instead.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub successor: Option<Spanned<String>>,
    /// `deprecated`: times at which it is switched off for a while, so that nobody learns of its end by its end.
    #[serde(default)]
    pub brown_outs: Vec<BrownOutSpec>,
    /// `deprecated`, `retired`: where people read about it.
    #[serde(default)]
    pub link: Option<String>,
    /// `canary`: the share of callers that may use it, and of calls without a version that get it.
    #[serde(default)]
    pub share: Option<Percent>,
    /// `canary`: what the share is of. By default of channels, so that a channel always gets the same version.
    #[serde(default)]
    #[schemars(with = "Option<CohortSpec>")]
    pub by: Option<CohortSpec>,
    /// `canary`, `draft`: channels that may use it in any case.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub channels: Vec<Spanned<String>>,
}

/// The state of a contract version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StateSpec {
    /// Not served yet, but to the `channels` that test it.
    Draft,
    /// Served to some first.
    Canary,
    /// Served to all.
    Active,
    /// Served to all, who are told to move on.
    Deprecated,
    /// Not served any more: 410, with its successor.
    Retired,
}

impl StateSpec {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Canary => "canary",
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }
}

/// What a share is a share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CohortSpec {
    /// Channels: one always gets the same.
    #[default]
    Channel,
    /// Correlation ids (`X-Correlation-Id`): what belongs together gets the same.
    Correlation,
}

/// A time at which a deprecated version is switched off.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BrownOutSpec {
    /// When it begins.
    pub from: Moment,
    /// When it ends.
    pub to: Moment,
}

impl LifeSpec {
    /// Nothing but a state.
    pub fn plain(state: StateSpec) -> Self {
        Self {
            state,
            since: None,
            sunset: None,
            successor: None,
            brown_outs: Vec::new(),
            link: None,
            share: None,
            by: None,
            channels: Vec::new(),
        }
    }
}

/// A state by itself, or with what belongs to it.
struct Written(LifeSpec);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a state such as `active`, or a map with a `state`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                let state = StateSpec::deserialize(de::value::StrDeserializer::new(text))?;
                Ok(Written(LifeSpec::plain(state)))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                LifeSpec::deserialize(MapAccessDeserializer::new(map)).map(Written)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for VersionsSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = VersionsSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of versions, or a map from each version to its state")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<VersionsSpec, A::Error> {
                let mut versions = Vec::new();
                while let Some(name) = list.next_element()? {
                    let life = LifeSpec::plain(StateSpec::Active);
                    versions.push(OfferedSpec { name, life });
                }
                Ok(VersionsSpec(versions))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<VersionsSpec, A::Error> {
                let mut versions = Vec::new();
                while let Some((name, Written(life))) = map.next_entry()? {
                    versions.push(OfferedSpec { name, life });
                }
                Ok(VersionsSpec(versions))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for VersionsSpec {
    fn schema_name() -> Cow<'static, str> {
        "VersionsSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let state = generator.subschema_for::<StateSpec>();
        let life = generator.subschema_for::<LifeSpec>();
        json_schema!({
            "description": "A list of versions in full service, or a map from each version to its state.",
            "anyOf": [
                { "type": "array", "items": { "type": "string" } },
                { "type": "object", "additionalProperties": { "anyOf": [state, life] } }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_the_list_and_the_map() {
        let schema = serde_json::to_value(schemars::schema_for!(VersionsSpec)).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        for (versions, is_valid) in [
            ("[v1, v2]", true),
            ("{ v1: active, v2: { state: draft, channels: [shop] } }", true),
            (
                "{ v1: { state: deprecated, since: 2026-06-01, brownOuts: [{ from: 2027-01-01, to: 2027-01-02 }] } }",
                true,
            ),
            ("{ v1: { state: canary, share: 5%, by: correlation } }", true),
            ("{ v1: old }", false),
            ("{ v1: { state: draft, percent: 5 } }", false),
            ("v1", false),
        ] {
            let value: serde_json::Value = serde_saphyr::from_str(versions).unwrap();
            assert_eq!(schema.is_valid(&value), is_valid, "{versions}");
        }
    }
}
