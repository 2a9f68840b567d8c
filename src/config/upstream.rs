//! `kind: Upstream`: a back-end system.

use std::{num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Percent, Rate, Secret, Spanned, Time};

/// A back-end system: where it is, how patient to be with it, when to leave it alone.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct UpstreamSpec {
    /// Always `Upstream`.
    pub kind: UpstreamKind,
    /// Unique name.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Base URLs, tried in turn: `http://10.0.0.5:9101`, `https://erp.internal/base`.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub endpoints: Vec<Spanned<String>>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: TimeoutsSpec,
    /// Attempts of a request in all, 1 to 10. Only a failed connect, and only of an idempotent request or one
    /// whose first byte was not sent, is tried again.
    #[serde(default = "UpstreamSpec::default_attempts")]
    pub attempts: NonZeroU32,
    /// When to leave an endpoint alone.
    #[serde(default)]
    pub breaker: BreakerSpec,
    /// How many retries it is to bear, of direct requests and of queued messages together.
    #[serde(default)]
    pub retry_budget: RetryBudgetSpec,
    /// How fast queued messages are delivered to it.
    #[serde(default)]
    pub delivery: DeliverySpec,
    /// What this system does with a request it has seen before. Decides how an uncertain delivery is resolved.
    #[serde(default)]
    pub repeats: RepeatsSpec,
    /// PEM file with the certificate authorities to trust, instead of the system's, for `https` endpoints.
    #[serde(default)]
    pub certificate_authorities: Option<std::path::PathBuf>,
    /// Header fields that identify the gateway to this system.
    #[serde(default)]
    pub credentials: Vec<CredentialSpec>,
}

/// The `kind` of an upstream file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum UpstreamKind {
    /// The only value.
    Upstream,
}

impl UpstreamSpec {
    fn default_attempts() -> NonZeroU32 {
        const TWO: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");
        TWO
    }
}

/// How long to wait for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TimeoutsSpec {
    /// To establish a connection, TLS included.
    pub connect: Time,
    /// From the request's last byte to the response's header.
    pub response: Time,
    /// For the whole exchange, all attempts and the response's body included.
    pub total: Time,
    /// How long an idle connection is kept.
    pub idle: Time,
}

impl Default for TimeoutsSpec {
    fn default() -> Self {
        Self {
            connect: Time(Duration::from_secs(1)),
            response: Time(Duration::from_secs(10)),
            total: Time(Duration::from_secs(30)),
            idle: Time(Duration::from_secs(30)),
        }
    }
}

/// When an endpoint is left alone, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct BreakerSpec {
    /// Failures in a row (connect, timeout, 502, 503, 504) that open the breaker.
    pub failures: NonZeroU32,
    /// How long it stays open before one request may try again.
    pub open_for: Time,
}

impl Default for BreakerSpec {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");
        Self {
            failures: FIVE,
            open_for: Time(Duration::from_secs(2)),
        }
    }
}

/// How many retries an upstream is to bear, so that its trouble does not double its load. A retry beyond it is not made:
/// a direct request fails as its first attempt did, and a queued message waits.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RetryBudgetSpec {
    /// Retries as a share of first attempts, over about ten seconds.
    pub share: Percent,
    /// Retries that are allowed besides, for an upstream with few requests.
    pub floor: Rate,
}

impl Default for RetryBudgetSpec {
    fn default() -> Self {
        const TEN: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
        Self {
            share: Percent(0.2),
            floor: Rate {
                count: TEN,
                per: Duration::from_secs(1),
            },
        }
    }
}

/// How fast queued messages are delivered to an upstream, at most. Direct requests are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DeliverySpec {
    /// Messages under way at the same time, of each gateway. After an outage one is tried first, then ever more.
    pub concurrency: NonZeroU32,
    /// What its vendor allows; all of them apply. Gateways that share a database share them.
    pub limits: Vec<DeliveryLimitSpec>,
}

impl Default for DeliverySpec {
    fn default() -> Self {
        const USUAL: NonZeroU32 = NonZeroU32::new(32).expect("it is not zero");
        Self {
            concurrency: USUAL,
            limits: Vec::new(),
        }
    }
}

/// A limit on deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeliveryLimitSpec {
    /// Deliveries in a unit of time, `10/s` or `100000/d`, spread evenly over it.
    pub rate: Rate,
    /// Deliveries that may come at once, by default one.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

/// What an upstream does with a request it has seen before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RepeatsSpec {
    /// It honours an idempotency key: the same key has one effect.
    Honoured(HonouredSpec),
    /// It may do it twice: an uncertain delivery is parked for a person.
    #[default]
    Unsafe,
}

/// How an upstream takes an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HonouredSpec {
    /// Header field that carries the key.
    #[serde(default = "HonouredSpec::default_header")]
    pub header: String,
    /// Whether keys of different channels are kept apart, by putting the channel's name in front. Turn it off only where
    /// keys are unique among all channels, such as UUIDs.
    #[serde(default = "HonouredSpec::default_per_channel")]
    pub per_channel: bool,
    /// How long the upstream remembers a key.
    #[serde(default = "HonouredSpec::default_retention")]
    pub retention: Time,
}

impl HonouredSpec {
    fn default_header() -> String {
        "Idempotency-Key".to_owned()
    }

    fn default_per_channel() -> bool {
        true
    }

    fn default_retention() -> Time {
        Time(Duration::from_hours(24))
    }
}

/// A header field the gateway adds to each request to this upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CredentialSpec {
    /// Name of the header field, such as `Authorization`.
    pub header: String,
    /// Where its value is kept, the whole of it: `Bearer …`, `Basic …`.
    #[schemars(with = "Secret")]
    pub value: Spanned<Secret>,
}
