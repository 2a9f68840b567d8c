//! `kind: Issuer`: who may issue access tokens.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Spanned, Time};

/// A party whose JWT access tokens are accepted (RFC 9068, checked as RFC 8725 says).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IssuerSpec {
    /// Always `Issuer`.
    pub kind: IssuerKind,
    /// Name that channels refer to.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Exact value of the `iss` claim.
    pub issuer: String,
    /// Accepted value of the `aud` claim.
    pub audience: String,
    /// Its JSON Web Key Set: an `http://` or `https://` URL, or `file:PATH` relative to the policy folder.
    #[schemars(with = "String")]
    pub jwks: Spanned<String>,
    /// Accepted signature algorithms.
    #[serde(default = "IssuerSpec::default_algorithms")]
    pub algorithms: Vec<AlgorithmSpec>,
    /// The claim that names the channel.
    #[serde(default = "IssuerSpec::default_channel_claim")]
    pub channel_claim: String,
    /// Tolerated clock difference, at most 5m.
    #[serde(default = "IssuerSpec::default_leeway")]
    pub leeway: Time,
}

/// The `kind` of an issuer file.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// The only value.
    Issuer,
}

impl IssuerSpec {
    fn default_algorithms() -> Vec<AlgorithmSpec> {
        vec![AlgorithmSpec::RS256, AlgorithmSpec::ES256, AlgorithmSpec::EdDSA]
    }

    fn default_channel_claim() -> String {
        "client_id".to_owned()
    }

    fn default_leeway() -> Time {
        Time(std::time::Duration::from_secs(30))
    }
}

/// A signature algorithm of RFC 7518 or RFC 8037. Symmetric ones are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AlgorithmSpec {
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}
