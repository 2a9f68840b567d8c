//! What people write of updates (PUT and PATCH) in a mapping.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// What becomes of fields that the caller's version cannot see.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UpdateSpec {
    /// They are erased: what the caller sends is all there is.
    Replace,
    /// They stay: the gateway reads what stands at the upstream, puts the caller's changes into it, and sends that.
    MergeCurrent(MergeSpec),
}

/// `update: { mergeCurrent: { current: getOrder, lists: { items: lineNumber } } }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MergeSpec {
    /// The operation that reads what is updated: a GET of the same path.
    pub current: String,
    /// Lists of the newer version whose items are known by a member: items keep what the caller cannot see. All other
    /// lists that the caller changes are replaced.
    #[serde(default)]
    pub lists: BTreeMap<String, String>,
    /// What happens if the upstream gives no strong `ETag`, so that a change in between would go unnoticed.
    #[serde(default)]
    pub without_tag: WithoutTag,
}

/// What an update does without a strong `ETag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutTag {
    /// Nothing is sent.
    #[default]
    Refuse,
    /// It is sent without a condition.
    Send,
}
