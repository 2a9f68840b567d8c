//! `kind: Channel`: a calling application or partner.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SignatureSpec, Spanned, WebhookSpec};

/// A calling application or partner: how it proves who it is, and what it may ask for at most.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelSpec {
    /// Always `Channel`.
    pub kind: ChannelKind,
    /// Unique name, in logs, metrics and limits.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What this channel is, for people.
    #[serde(default)]
    pub description: String,
    /// Tokens that identify it.
    #[serde(default)]
    pub tokens: Vec<ChannelTokenSpec>,
    /// API keys that identify it.
    #[serde(default)]
    pub api_keys: Vec<ApiKeySpec>,
    /// How it signs its requests with a secret that both sides know, as senders of webhooks do.
    #[serde(default)]
    pub signatures: Vec<SignatureSpec>,
    /// Scopes it may use. A token's own scopes are cut down to these; an API key or a signature carries all of them.
    #[serde(default)]
    pub scopes: BTreeSet<String>,
    /// The contract version it gets where it names none, by the name of an API whose path has no `{version}`:
    /// `{ erp-orders: v1 }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub versions: BTreeMap<String, Spanned<String>>,
    /// Where it is told how its queued requests ended. Without it, it asks the status resource.
    #[serde(default)]
    pub webhook: Option<WebhookSpec>,
}

/// The `kind` of a channel file.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum ChannelKind {
    /// The only value.
    Channel,
}

/// Tokens of one issuer that name this channel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelTokenSpec {
    /// Name of an `Issuer`.
    #[schemars(with = "String")]
    pub issuer: Spanned<String>,
    /// Value of the issuer's channel claim.
    pub value: String,
}

/// One API key, stored as its SHA-256 digest. The key itself is nowhere in the policies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApiKeySpec {
    /// Name of the key, in logs, so that it can be told from its successor.
    pub id: String,
    /// SHA-256 of the key, as 64 lower-case hexadecimal digits (`printf %s KEY | sha256sum`).
    #[schemars(with = "String", regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Spanned<String>,
    /// Not accepted from this instant on (RFC 3339).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub expires: Option<jiff::Timestamp>,
}
