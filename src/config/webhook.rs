//! Where a channel is told how its queued requests ended.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Secret, Spanned, Time};

/// A completion webhook: a POST for each end of a request that was answered with 202, signed as
/// [Standard Webhooks](https://www.standardwebhooks.com) says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WebhookSpec {
    /// Where it is sent: `https://HOST/PATH`. Redirects are not followed, and certificates are verified against those the
    /// system trusts.
    #[schemars(with = "String")]
    pub url: Spanned<String>,
    /// Where the secrets are kept that sign it, each written `whsec_` and base64. It carries one signature of each: two
    /// while one takes the other's place.
    #[schemars(with = "Vec<Secret>", length(min = 1))]
    pub secrets: Vec<Spanned<Secret>>,
    /// Which ends are told. By default all of them.
    #[serde(default = "WebhookEventSpec::all")]
    pub events: Vec<WebhookEventSpec>,
    /// How long the receiver may take to answer, at most 30s.
    #[serde(default = "WebhookSpec::default_timeout")]
    pub timeout: Time,
    /// After how long a webhook that the receiver does not take is given up and kept for a person, 1m to 28d.
    #[serde(default = "WebhookSpec::default_give_up_after")]
    pub give_up_after: Time,
}

impl WebhookSpec {
    /// The longest `timeout`.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

    fn default_timeout() -> Time {
        Time(Duration::from_secs(10))
    }

    fn default_give_up_after() -> Time {
        Time(Duration::from_hours(72))
    }
}

/// How a queued request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WebhookEventSpec {
    /// The upstream did it.
    Delivered,
    /// The upstream rejected it, or it was given up.
    Dead,
    /// It was not delivered before its deadline.
    Expired,
    /// A person took it out.
    Discarded,
}

impl WebhookEventSpec {
    fn all() -> Vec<Self> {
        vec![Self::Delivered, Self::Dead, Self::Expired, Self::Discarded]
    }
}
