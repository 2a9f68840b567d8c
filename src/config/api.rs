//! `kind: Api`: a published product.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Rate, Size, Spanned, Time};

/// A published API: where channels find it, what it promises, which upstream answers, what is enforced.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiSpec {
    /// Always `Api`.
    pub kind: ApiKind,
    /// Unique name.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What this API is, for people.
    #[serde(default)]
    pub description: String,
    /// What it stands for.
    pub tier: TierSpec,
    /// Path prefix, such as `/system/erp/{version}`. Without `{version}` the caller names the version by the
    /// `API-Version` header field, else it gets the oldest one offered.
    #[schemars(with = "String", regex(pattern = "^/"))]
    pub path: Spanned<String>,
    /// Name of a folder in the contracts. Without one, every method and path below `path` is passed through.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub contract: Option<Spanned<String>>,
    /// Contract versions offered to callers. By default every one that mappings join to the upstream's.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub versions: Vec<Spanned<String>>,
    /// The system that answers.
    pub upstream: ApiUpstreamSpec,
    /// How callers prove who they are: any one of these. `anonymous` must be said.
    #[schemars(length(min = 1))]
    pub authenticate: Vec<AuthenticateSpec>,
    /// What a caller must be allowed to.
    #[serde(default)]
    pub authorize: AuthorizeSpec,
    /// How many requests are allowed; all of them apply.
    #[serde(default)]
    pub limits: Vec<LimitSpec>,
    /// How requests and responses are held against the contract.
    #[serde(default)]
    pub validate: ValidateSpec,
    /// Same key, same answer.
    #[serde(default)]
    pub idempotency: IdempotencySpec,
    /// What happens to requests the upstream cannot take now.
    #[serde(default)]
    pub fallback: Option<FallbackSpec>,
    /// The business event a request belongs to.
    #[serde(default)]
    pub transaction: Option<TransactionSpec>,
    /// Largest body of a request whose content a policy reads.
    #[serde(default = "ApiSpec::default_body")]
    pub body: Size,
}

/// The `kind` of an API file.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum ApiKind {
    /// The only value.
    Api,
}

impl ApiSpec {
    fn default_body() -> Size {
        Size(1 << 20)
    }
}

/// What an API stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TierSpec {
    /// One capability of one upstream.
    System,
    /// Several, orchestrated.
    Process,
    /// Shaped for one kind of channel.
    Experience,
}

/// Which upstream answers, and which contract version it speaks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiUpstreamSpec {
    /// Name of an `Upstream`.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Contract version it speaks; needed where there is a contract.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub version: Option<Spanned<String>>,
    /// Path prefix at the upstream, before the operation's path.
    #[serde(default)]
    pub path: String,
}

/// A way for a caller to prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuthenticateSpec {
    /// A JWT access token in `Authorization: Bearer` (RFC 6750).
    Jwt,
    /// An API key in `X-API-Key`.
    ApiKey,
    /// Nobody is asked. The caller is the channel `anonymous`, without scopes.
    Anonymous,
}

/// What a caller must be allowed to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct AuthorizeSpec {
    /// Scopes that an operation asks for, all of them, by `operationId`.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub scopes: BTreeMap<String, Spanned<Vec<String>>>,
}

/// A limit on how many requests are allowed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitSpec {
    /// What is counted together.
    pub per: LimitPerSpec,
    /// Requests in a unit of time, `100/s`.
    pub rate: Rate,
    /// Requests that may come at once; by default the rate's count.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
    /// Only these operations; by default all.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub operations: Vec<Spanned<String>>,
}

/// What a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LimitPerSpec {
    /// All requests of one channel to this API.
    Channel,
    /// All requests to this API.
    Api,
    /// All requests of one channel to one operation.
    Operation,
}

/// How requests and responses are held against the contract.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ValidateSpec {
    /// Requests, against the caller's version. By default `enforce`.
    #[schemars(with = "Option<EnforceSpec>")]
    pub request: Option<EnforceSpec>,
    /// Responses, against the caller's version. By default `report`.
    #[schemars(with = "Option<EnforceSpec>")]
    pub response: Option<EnforceSpec>,
}

/// What a violation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EnforceSpec {
    /// The message is refused.
    Enforce,
    /// The message passes; the violation is counted and logged.
    Report,
    /// Nothing is looked at.
    Off,
}

/// Same key, same answer (draft-ietf-httpapi-idempotency-key-header).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct IdempotencySpec {
    /// Operations that must carry an `Idempotency-Key`. Others may.
    #[schemars(with = "Vec<String>")]
    pub required: Vec<Spanned<String>>,
}

/// What happens to requests that the upstream cannot take now.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FallbackSpec {
    /// Operations that may be accepted now and delivered later. Each needs an idempotency key.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub operations: Vec<Spanned<String>>,
    /// When.
    #[serde(default = "FallbackSpec::default_when")]
    pub when: Vec<FallbackWhenSpec>,
    /// Requests with the same value are delivered in order: a JSON Pointer into the caller's body (`/orderNumber`),
    /// `header:NAME` or `path:NAME`. By contract version where they differ: `{v1: /orderNo, v2: /orderId}`.
    pub order_by: OrderBySpec,
    /// Which requests go first.
    #[serde(default)]
    pub lane: Option<LaneSpec>,
    /// How long a message may wait before it is dead.
    #[serde(default = "FallbackSpec::default_deadline")]
    pub deadline: Time,
    /// Attempts before a message is dead; a closed door (no connection) is not counted.
    #[serde(default = "FallbackSpec::default_attempts")]
    pub attempts: NonZeroU32,
}

impl FallbackSpec {
    fn default_when() -> Vec<FallbackWhenSpec> {
        vec![
            FallbackWhenSpec::Unavailable,
            FallbackWhenSpec::Timeout,
            FallbackWhenSpec::Throttled,
        ]
    }

    fn default_deadline() -> Time {
        Time(std::time::Duration::from_secs(3 * 86_400))
    }

    fn default_attempts() -> NonZeroU32 {
        const TWENTY: NonZeroU32 = NonZeroU32::new(20).expect("twenty is not zero");
        TWENTY
    }
}

/// A condition that sends a request to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FallbackWhenSpec {
    /// No connection, an open breaker, 502 or 503.
    Unavailable,
    /// No answer in time, or 504.
    Timeout,
    /// 429.
    Throttled,
}

/// Where a value is found in a request: one place, or one per contract version.
///
/// Written as text (`/orderNumber`, `header:NAME`, `path:NAME`) or as a map from version to text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderBySpec {
    /// The same place in every version.
    Everywhere(String),
    /// By contract version.
    ByVersion(BTreeMap<String, String>),
}

impl OrderBySpec {
    /// The place for one contract version.
    pub fn place(&self, version: &str) -> Option<&str> {
        match self {
            Self::Everywhere(place) => Some(place),
            Self::ByVersion(places) => places.get(version).map(String::as_str),
        }
    }
}

impl<'de> Deserialize<'de> for OrderBySpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OrderBySpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON Pointer, `header:NAME`, `path:NAME`, or a map from contract version to one of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OrderBySpec, E> {
                Ok(OrderBySpec::Everywhere(text.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<OrderBySpec, A::Error> {
                let places = BTreeMap::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(OrderBySpec::ByVersion(places))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for OrderBySpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OrderBySpec".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A JSON Pointer into the body, header:NAME or path:NAME; or one of them per contract version.",
            "anyOf": [
                { "type": "string", "pattern": "^(/|header:|path:)" },
                { "type": "object", "additionalProperties": { "type": "string", "pattern": "^(/|header:|path:)" } }
            ]
        })
    }
}

/// Which requests go first. Lanes are served 8 : 3 : 1, so that none starves.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LaneSpec {
    /// Where the value is found.
    pub by: OrderBySpec,
    /// Values of the most urgent lane.
    #[serde(default)]
    pub urgent: Vec<String>,
    /// Values of the least urgent lane. All others are standard.
    #[serde(default)]
    pub bulk: Vec<String>,
}

/// The business event a request belongs to, so that it can be found by its number.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TransactionSpec {
    /// Where its number is found.
    pub key: OrderBySpec,
    /// What it is: `order`, `shipment`, `return`.
    #[serde(rename = "type")]
    pub kind: String,
}
