//! `candidate` of an API: how a changed mapping, or another version of the upstream, is tried before it goes live.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiUpstreamSpec, Percent, Spanned, Time};

/// How a changed mapping, or another version of the upstream, is tried before it goes live.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CandidateSpec {
    /// What it is used for.
    #[schemars(with = "CandidateModeSpec")]
    pub mode: Spanned<CandidateModeSpec>,
    /// `shadow`: the share of requests whose translations are compared. By default 10%.
    #[serde(default)]
    pub sample: Option<Percent>,
    /// `canary`: the share of callers that get it.
    #[serde(default)]
    pub share: Option<Percent>,
    /// `canary`: what the share is of. By default of channels.
    #[serde(default)]
    pub by: Option<CandidateBySpec>,
    /// `canary`: channels that get it in any case.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub channels: Vec<Spanned<String>>,
    /// `canary`: when all callers go back to what is live.
    #[serde(default)]
    pub rollback: Option<RollbackSpec>,
    /// `canary`: another upstream, or another version it speaks. By default the API's own; then what is tried are the
    /// `*.candidate.map.yaml` files in the contract's folder.
    #[serde(default)]
    pub upstream: Option<ApiUpstreamSpec>,
}

/// What a candidate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CandidateModeSpec {
    /// Runs beside the live mapping, on what was sent and answered already. Differences are counted and shown.
    Shadow,
    /// Serves some callers.
    Canary,
}

/// What the share of a canary is a share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CandidateBySpec {
    /// Channels: one always gets the same.
    #[default]
    Channel,
    /// Correlation ids (`X-Correlation-Id`).
    Correlation,
    /// Business transactions (`transaction.key`): an order is created and read by the same. Requests without one stay
    /// with what is live.
    Key,
}

/// When a canary ends by itself.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RollbackSpec {
    /// More failures than this share of the canary's requests: what cannot be translated, an invalid translation, 5xx.
    pub failures: Percent,
    /// The time that is looked back on.
    pub over: Time,
    /// Requests in that time before anything is concluded.
    pub least: NonZeroU32,
}

impl Default for RollbackSpec {
    fn default() -> Self {
        const FIFTY: NonZeroU32 = NonZeroU32::new(50).expect("fifty is not zero");
        Self {
            failures: Percent(0.02),
            over: Time(std::time::Duration::from_mins(5)),
            least: FIFTY,
        }
    }
}
