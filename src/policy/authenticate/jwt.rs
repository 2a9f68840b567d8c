//! JWT access tokens (RFC 9068), judged as RFC 8725 says, and remembered until they expire.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;

use super::{ChannelTable, KeySet, invalid_token};
use crate::{
    config::{AlgorithmSpec, IssuerSpec},
    exchange::Caller,
    problem::Refusal,
};

/// Longest token, in bytes.
const LONGEST_TOKEN: usize = 8_192;
/// Tokens remembered at most.
const REMEMBERED: usize = 20_000;

/// One accepted issuer.
pub(super) struct Issuer {
    name: String,
    url: String,
    channel_claim: String,
    validation: Validation,
    keys: Arc<KeySet>,
}

impl Issuer {
    pub(super) fn new(spec: &IssuerSpec, keys: Arc<KeySet>) -> Self {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.algorithms = spec.algorithms.iter().map(|algorithm| jwa(*algorithm)).collect();
        validation.leeway = spec.leeway.0.as_secs();
        validation.validate_nbf = true;
        validation.set_audience(&[&spec.audience]);
        validation.set_issuer(&[&spec.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        Self {
            name: spec.name.value.clone(),
            url: spec.issuer.clone(),
            channel_claim: spec.channel_claim.clone(),
            validation,
            keys,
        }
    }

    async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid_token("the token is malformed"))?;
        let kind = header.typ.as_deref().unwrap_or("JWT");
        if !["at+jwt", "application/at+jwt", "jwt"].contains(&kind.to_ascii_lowercase().as_str()) {
            return Err(invalid_token("the token is no access token"));
        }
        if header.crit.is_some() {
            return Err(invalid_token(
                "the token has critical extensions that are not understood",
            ));
        }
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(invalid_token("the token's algorithm is not accepted"));
        }
        let Some(key) = self.keys.find(header.kid.as_deref(), header.alg).await? else {
            return Err(invalid_token("the token is signed by an unknown key"));
        };
        let mut validation = self.validation.clone();
        // The library asks for one family of algorithms: exactly the key's own.
        validation.algorithms = vec![header.alg];
        match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
            Ok(data) => Ok(data.claims),
            Err(error) => Err(invalid_token(match error.kind() {
                ErrorKind::ExpiredSignature => "the token has expired",
                ErrorKind::ImmatureSignature => "the token is not valid yet",
                ErrorKind::InvalidAudience => "the token is for another audience",
                ErrorKind::InvalidSignature => "the token's signature is wrong",
                ErrorKind::MissingRequiredClaim(_) => "the token lacks a required claim",
                _ => "the token is malformed",
            })),
        }
    }
}

fn jwa(algorithm: AlgorithmSpec) -> Algorithm {
    match algorithm {
        AlgorithmSpec::RS256 => Algorithm::RS256,
        AlgorithmSpec::ES256 => Algorithm::ES256,
        AlgorithmSpec::EdDSA => Algorithm::EdDSA,
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    exp: f64,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

impl Claims {
    /// `scope` as RFC 8693 §4.2 writes it, or the `scp` of other issuers.
    fn scopes(&self) -> BTreeSet<String> {
        match self.others.get("scope").or_else(|| self.others.get("scp")) {
            Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// Tokens that were verified. Outlives snapshots; an entry counts only for the channels and keys it was verified with.
pub struct TokenCache {
    /// Of this process alone, so that nobody can aim at a slot.
    secret: hmac::Key,
    verified: Cache<[u8; 32], Arc<Verified>>,
}

struct Verified {
    caller: Caller,
    /// Seconds since 1970, without leeway.
    expires: f64,
    /// Of the channel table.
    generation: u64,
    /// Of the issuer's keys.
    keys: (Arc<KeySet>, u64),
}

impl Default for TokenCache {
    fn default() -> Self {
        let mut secret = [0; 32];
        for part in secret.chunks_mut(8) {
            part.copy_from_slice(&fastrand::u64(..).to_le_bytes());
        }
        Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            verified: Cache::new(REMEMBERED),
        }
    }
}

impl TokenCache {
    /// The caller a token names. Only one that is not remembered costs more than a look-up.
    pub(super) async fn verify(&self, token: &str, channels: &ChannelTable) -> Result<Caller, Refusal> {
        if token.is_empty() || token.len() > LONGEST_TOKEN {
            return Err(invalid_token("the token is empty or too long"));
        }
        let mut slot = [0; 32];
        slot.copy_from_slice(hmac::sign(&self.secret, token.as_bytes()).as_ref());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs_f64();
        if let Some(known) = self.verified.get(&slot)
            && known.generation == channels.generation
            && known.keys.0.generation() == known.keys.1
            && now < known.expires
        {
            return Ok(known.caller.clone());
        }
        Box::pin(self.judge(token, slot, channels)).await
    }

    /// Verifies a token and remembers it.
    async fn judge(&self, token: &str, slot: [u8; 32], channels: &ChannelTable) -> Result<Caller, Refusal> {
        let issuer = unverified_issuer(token)?;
        let issuer = channels.issuers.iter().find(|known| known.url == issuer);
        let issuer = issuer.ok_or_else(|| invalid_token("the token's issuer is not accepted"))?;
        let generation = issuer.keys.generation();
        let claims = issuer.verify(token).await?;
        let Some(Value::String(value)) = claims.others.get(&issuer.channel_claim) else {
            return Err(invalid_token(format!(
                "the token lacks the claim {}",
                issuer.channel_claim
            )));
        };
        let caller = channels.by_claim(&issuer.name, value, &claims.scopes());
        let caller = caller.ok_or_else(|| invalid_token("the token names no channel"))?;
        let verified = Verified {
            caller: caller.clone(),
            expires: claims.exp,
            generation: channels.generation,
            keys: (issuer.keys.clone(), generation),
        };
        self.verified.insert(slot, Arc::new(verified));
        Ok(caller)
    }
}

/// The issuer a token claims to come from; only to choose whose keys to judge it by.
fn unverified_issuer(token: &str) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let claimed = jsonwebtoken::dangerous::insecure_decode_claims::<Claimed>(token);
    Ok(claimed
        .map_err(|_| invalid_token("the token is malformed or names no issuer"))?
        .iss)
}
