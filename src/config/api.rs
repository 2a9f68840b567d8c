//! `kind: Api`: a published product.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CandidateSpec, Percent, Rate, Size, Spanned, Time, VersionsSpec};

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
    /// Path prefix, such as `/system/erp/{version}`. Without `{version}` the caller names the version by the header
    /// field `Accept-Version` or a media type (`application/json; version=v2`), else its channel's pin counts, else
    /// `defaultVersion`.
    #[schemars(with = "String", regex(pattern = "^/"))]
    pub path: Spanned<String>,
    /// Name of a folder in the contracts. Without one, every method and path below `path` is passed through.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub contract: Option<Spanned<String>>,
    /// Contract versions offered to callers, and how far each has come in its life. By default every one that mappings
    /// join to the upstream's.
    #[serde(default)]
    pub versions: VersionsSpec,
    /// What a caller gets that names no version and whose channel has no pin. By default the oldest one that is served
    /// to all.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub default_version: Option<Spanned<String>>,
    /// The system that answers.
    pub upstream: ApiUpstreamSpec,
    /// How a changed mapping, or another version of the upstream, is tried before it goes live.
    #[serde(default)]
    pub candidate: Option<CandidateSpec>,
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
    /// Whether the path names the contract version.
    pub fn is_versioned_by_path(&self) -> bool {
        self.path.value.contains("{version}")
    }

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
    /// A signature made with a secret of the channel's, over the body: webhooks.
    Signature,
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
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ValidateSpec {
    /// Requests, against the caller's version. By default `enforce`.
    #[schemars(with = "Option<EnforceSpec>")]
    pub request: Option<EnforceSpec>,
    /// Responses, against the caller's version. By default `report`.
    #[schemars(with = "Option<EnforceSpec>")]
    pub response: Option<EnforceSpec>,
    /// What is different for single channels, by their names.
    pub channels: BTreeMap<String, ChannelValidateSpec>,
}

/// How one channel's requests and responses are held against the contract. What is not said is as for all.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ChannelValidateSpec {
    /// Its requests.
    pub request: Option<EnforceSpec>,
    /// The responses it gets.
    pub response: Option<EnforceSpec>,
}

/// What a violation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EnforceSpec {
    /// The message is refused.
    Enforce,
    /// The message passes as it is; the violation is counted and logged.
    Report,
    /// As `report`, but only this share of messages is looked at: `{ sampled: 5% }`.
    Sampled(Percent),
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
    /// What makes a key where a channel sends none, all of it together: places as in `fallback.orderBy`, and
    /// `hash:/lines`, the digest of a part of the body. `[/purchaseOrderNumber, hash:/lines]`.
    pub derive: Option<PlacesSpec>,
    /// Operations whose requests are on disk before they are sent, so that not even a crash makes a repeat a second
    /// order. Each has to be one of `fallback.operations`: what is in doubt after a crash is resolved there.
    #[schemars(with = "Vec<String>")]
    pub durable: Vec<Spanned<String>>,
    /// How long the answers to other requests are remembered, in memory.
    pub keep: Option<Time>,
    /// What happens to a request with a key while the queue's store cannot be asked whether it is a repeat. By default
    /// it is forwarded where the upstream honours its key, and refused elsewhere.
    pub when_store_is_away: Option<StoreAwaySpec>,
}

/// What happens to a request with a key while nobody can tell whether it is a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StoreAwaySpec {
    /// It goes to the upstream, unless something may wait before it. Where the upstream does not honour keys, a repeat
    /// of a request that was queued may be done twice.
    Forward,
    /// It is refused with 503.
    Refuse,
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
    /// `header:NAME` or `path:NAME`. By contract version where they differ: `{v1: /orderNo, v2: [/orderId, path:id]}`.
    pub order_by: PlacesSpec,
    /// Which requests go first.
    #[serde(default)]
    pub lane: Option<LaneSpec>,
    /// How long a message may wait before it is dead.
    #[serde(default = "FallbackSpec::default_deadline")]
    pub deadline: Time,
    /// Attempts before a message is dead; a closed door (no connection) is not counted.
    #[serde(default = "FallbackSpec::default_attempts")]
    pub attempts: NonZeroU32,
    /// What a message that is dead or expired means for the later ones of its order key.
    #[serde(default)]
    pub head_of_line: HeadOfLineSpec,
    /// How the upstream is asked whether it has done something, by operation. Comes before what the upstream does with
    /// repeats: a message in doubt is sent again only when the upstream has been asked and does not have it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, LookupSpec>")]
    pub lookup: BTreeMap<String, Spanned<LookupSpec>>,
    /// How many messages may wait. Over it, requests that would be queued are refused with 503.
    #[serde(default)]
    pub waiting: WaitingSpec,
}

/// What a message that is dead or expired means for the later ones of its order key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HeadOfLineSpec {
    /// They wait until a person retries, edits or discards it: a shipment does not arrive before its order.
    #[default]
    Quarantine,
    /// They go on without it. Right where each message stands for itself, such as a stock level.
    Skip,
    /// It is tried for ever, without a deadline; what the upstream rejects still waits for a person.
    Block,
}

/// A question to the upstream: has it done this?
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LookupSpec {
    /// The operation that is asked, a safe one of the same contract: `getOrder`. 404 and 410 mean that it was not done.
    #[schemars(with = "String")]
    pub operation: Spanned<String>,
    /// Its parameters and where they stand in the message, in the upstream's contract version: a JSON Pointer into the
    /// body or `path:NAME`. Those of the path go there, others into the query.
    pub values: BTreeMap<String, String>,
    /// JSON Pointer that its answer must have, where an answer alone proves nothing: `/items/0`.
    #[serde(default)]
    pub found: Option<String>,
    /// How long after an attempt "not there" may be believed: a slow attempt may still have its effect.
    #[serde(default = "LookupSpec::default_settle")]
    pub settle: Time,
}

impl LookupSpec {
    fn default_settle() -> Time {
        Time(std::time::Duration::from_secs(30))
    }
}

/// How many undelivered messages an API may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct WaitingSpec {
    /// Of all channels together.
    pub api: Option<NonZeroU64>,
    /// Of each channel.
    pub channel: Option<NonZeroU64>,
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
        Time(std::time::Duration::from_hours(72))
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
    /// In any case: what is sent is accepted at once, as senders of webhooks expect, and delivered after.
    Always,
}

/// Where a value is found in a request.
///
/// A place is a JSON Pointer into the caller's body (`/orderNumber`), `header:NAME` or `path:NAME`. Written as one place,
/// as a list of places of which the first that has a value counts, or as a map from contract version to either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacesSpec {
    /// The same places in every version.
    Everywhere(Vec<String>),
    /// By contract version.
    ByVersion(BTreeMap<String, Vec<String>>),
}

impl PlacesSpec {
    /// The places for one contract version.
    pub fn of(&self, version: &str) -> &[String] {
        match self {
            Self::Everywhere(places) => places,
            Self::ByVersion(places) => places.get(version).map_or(&[], Vec::as_slice),
        }
    }

    /// Every place that is written.
    pub fn all(&self) -> Vec<&String> {
        match self {
            Self::Everywhere(places) => places.iter().collect(),
            Self::ByVersion(places) => places.values().flatten().collect(),
        }
    }
}

/// One place or a list of places.
struct PlaceList(Vec<String>);

impl<'de> Deserialize<'de> for PlaceList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match PlacesSpec::deserialize(deserializer)? {
            PlacesSpec::Everywhere(places) => Ok(Self(places)),
            PlacesSpec::ByVersion(_) => Err(serde::de::Error::custom("a map by version cannot stand inside another")),
        }
    }
}

impl<'de> Deserialize<'de> for PlacesSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PlacesSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "a JSON Pointer, `header:NAME`, `path:NAME`, a list of them, or a map from contract version",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PlacesSpec, E> {
                Ok(PlacesSpec::Everywhere(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<PlacesSpec, A::Error> {
                let mut places = Vec::new();
                while let Some(place) = list.next_element()? {
                    places.push(place);
                }
                Ok(PlacesSpec::Everywhere(places))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<PlacesSpec, A::Error> {
                let mut places = BTreeMap::new();
                while let Some((version, PlaceList(list))) = map.next_entry()? {
                    places.insert(version, list);
                }
                Ok(PlacesSpec::ByVersion(places))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for PlacesSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PlacesSpec".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let place = serde_json::json!({ "type": "string", "pattern": "^(/|header:|path:)" });
        let list = serde_json::json!({ "type": "array", "items": place, "minItems": 1 });
        schemars::json_schema!({
            "description": "A JSON Pointer into the body, header:NAME or path:NAME; a list of them, of which the first \
                            that has a value counts; or either of these per contract version.",
            "anyOf": [
                place,
                list,
                { "type": "object", "additionalProperties": { "anyOf": [place, list] } }
            ]
        })
    }
}

/// Which requests go first. Lanes are served 8 : 3 : 1, so that none starves.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LaneSpec {
    /// Where the value is found.
    pub by: PlacesSpec,
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
    pub key: PlacesSpec,
    /// What it is: `order`, `shipment`, `return`.
    #[serde(rename = "type")]
    pub kind: String,
}
