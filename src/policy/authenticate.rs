//! Establishes which channel calls: by token, API key or signature, or anonymously where that is said.

mod jwks;
mod jwt;
mod signature;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

pub use jwks::{KeySet, KeySets};
pub use jwt::TokenCache;

use super::{Handling, Next, Policy, Request};
use crate::{
    body::Body,
    config::{AuthenticateSpec, Diagnostic, Policies},
    exchange::{Caller, Exchange},
    problem::Refusal,
};
use jwt::Issuer;
use signature::Signature;

/// The field that carries an API key.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Longest API key, in bytes.
const LONGEST_KEY: usize = 512;
/// What a caller without a credential is told (RFC 6750 §3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"crossdock\"");

/// Judges the credentials of a route's callers.
pub struct Authenticate {
    methods: Box<[AuthenticateSpec]>,
    /// Largest body that is read to judge its signature, in bytes.
    limit: u64,
    channels: Arc<ChannelTable>,
    tokens: Arc<TokenCache>,
    anonymous: Caller,
}

impl Authenticate {
    /// Takes any one of `methods`. A body is read to judge its signature if it has at most `limit` bytes.
    pub fn new(methods: &[AuthenticateSpec], limit: u64, channels: Arc<ChannelTable>, tokens: Arc<TokenCache>) -> Self {
        Self {
            methods: methods.into(),
            limit,
            anonymous: channels.anonymous.clone(),
            channels,
            tokens,
        }
    }

    fn takes(&self, method: AuthenticateSpec) -> bool {
        self.methods.contains(&method)
    }

    /// Whichever credential is presented is judged; two must name the same channel.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        use AuthenticateSpec::{Anonymous, ApiKey, Jwt, Signature};
        let token = if self.takes(Jwt) { bearer(headers)? } else { None };
        let key = if self.takes(ApiKey) { api_key(headers)? } else { None };
        let by_token = match token {
            Some(token) => Some(self.tokens.verify(token, &self.channels).await?),
            None => None,
        };
        let by_key = match key {
            Some(key) => Some(self.channels.by_key(key, Timestamp::now())?),
            None => None,
        };
        match (by_token, by_key) {
            (Some(first), Some(second)) if first.channel != second.channel => {
                Err(unauthenticated("token and API key belong to different channels"))
            }
            (Some(caller), _) | (None, Some(caller)) => Ok(caller),
            (None, None) if self.takes(Anonymous) => Ok(self.anonymous.clone()),
            (None, None) => Err(unauthenticated(
                match (self.takes(Jwt), self.takes(ApiKey), self.takes(Signature)) {
                    (true, true, false) => "a bearer token or an API key is needed",
                    (false, true, false) => "an API key is needed",
                    (_, false, false) => "a bearer token is needed",
                    (false, false, true) => "a signature is needed",
                    (false, true, true) => "an API key or a signature is needed",
                    (true, false, true) => "a bearer token or a signature is needed",
                    (true, true, true) => "a bearer token, an API key or a signature is needed",
                },
            )),
        }
    }

    /// Who signed a request, if anybody did. Its body is read for that.
    async fn signer(&self, request: Request) -> Result<(Option<Caller>, Request), Refusal> {
        if !self.takes(AuthenticateSpec::Signature) || !self.channels.is_signed(request.headers()) {
            return Ok((None, request));
        }
        let (mut parts, body) = request.into_parts();
        let bytes = body.buffer(self.limit).await.map_err(|error| error.refusal())?;
        let caller = self.channels.by_signature(&mut parts, &bytes, Timestamp::now())?;
        Ok((Some(caller), Request::from_parts(parts, Body::from(bytes))))
    }
}

impl Policy for Authenticate {
    fn name(&self) -> &'static str {
        "authenticate"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let exchange = Exchange::of(&request).cloned().ok_or(Refusal::Internal)?;
            let (signer, mut request) = self.signer(request).await?;
            let caller = match signer {
                Some(caller) => caller,
                None => self.caller(request.headers()).await?,
            };
            let _ = exchange.caller.set(caller);
            // A channel's credential is for the gateway; an upstream gets its own. Where nobody was asked, it is not ours.
            if self.takes(AuthenticateSpec::Jwt) || self.takes(AuthenticateSpec::ApiKey) {
                request.headers_mut().remove(header::AUTHORIZATION);
                request.headers_mut().remove(X_API_KEY);
            }
            next.run(request).await
        })
    }
}

/// The token in `Authorization: Bearer` (RFC 6750 §2.1). Another scheme is no token.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unauthenticated("the Authorization field is given more than once"));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid_token("the Authorization field is not ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim_start())),
        _ => Err(unauthenticated("the Authorization field holds no bearer token")),
    }
}

fn api_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all(X_API_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.is_empty() || value.len() > LONGEST_KEY {
        return Err(unauthenticated("the API key is not valid"));
    }
    Ok(Some(value.as_bytes()))
}

fn unauthenticated(reason: &'static str) -> Refusal {
    Refusal::Unauthenticated {
        reason: Cow::Borrowed(reason),
        challenge: CHALLENGE,
    }
}

/// A token was presented and is not accepted (RFC 6750 §3.1).
fn invalid_token(reason: impl Into<Cow<'static, str>>) -> Refusal {
    let reason = reason.into();
    let text = format!("Bearer realm=\"crossdock\", error=\"invalid_token\", error_description=\"{reason}\"");
    Refusal::Unauthenticated {
        challenge: HeaderValue::try_from(text).unwrap_or(CHALLENGE),
        reason,
    }
}

/// All channels of a snapshot, by what identifies them.
pub struct ChannelTable {
    channels: Vec<Channel>,
    by_claim: HashMap<(String, String), usize>,
    by_key: HashMap<[u8; 32], Key>,
    signatures: Vec<(usize, Signature)>,
    issuers: Vec<Issuer>,
    anonymous: Caller,
    /// Tells tables apart, so that a cached token never outlives the channel it named.
    generation: u64,
}

struct Channel {
    name: Arc<str>,
    index: u32,
    scopes: Arc<BTreeSet<String>>,
}

impl Channel {
    /// With all its scopes.
    fn caller(&self) -> Caller {
        Caller {
            channel: self.name.clone(),
            index: self.index,
            scopes: self.scopes.clone(),
        }
    }
}

struct Key {
    digest: [u8; 32],
    channel: usize,
    expires: Option<Timestamp>,
}

/// Numbers of channels, for limiters: a channel keeps its number across snapshots.
#[derive(Default)]
pub struct ChannelIndexes(Mutex<Indexes>);

#[derive(Default)]
struct Indexes {
    by_name: HashMap<Arc<str>, u32>,
    generation: u64,
}

impl ChannelIndexes {
    fn index(&self, name: &str) -> (Arc<str>, u32) {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, index)) = indexes.by_name.get_key_value(name) {
            return (name.clone(), *index);
        }
        let (name, index) = (
            Arc::<str>::from(name),
            u32::try_from(indexes.by_name.len()).unwrap_or(u32::MAX),
        );
        indexes.by_name.insert(name.clone(), index);
        (name, index)
    }

    fn next_generation(&self) -> u64 {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.generation += 1;
        indexes.generation
    }
}

impl ChannelTable {
    /// Of all channels and issuers in the policies.
    pub fn compile(
        policies: &Policies,
        indexes: &ChannelIndexes,
        key_sets: &Arc<KeySets>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (name, index) = indexes.index("anonymous");
        let anonymous = Caller {
            channel: name,
            index,
            scopes: Arc::default(),
        };
        let mut table = Self {
            channels: Vec::new(),
            by_claim: HashMap::new(),
            by_key: HashMap::new(),
            signatures: Vec::new(),
            issuers: Vec::new(),
            anonymous,
            generation: indexes.next_generation(),
        };
        let mut mistakes = Vec::new();
        for (number, loaded) in policies.channels.iter().enumerate() {
            let (name, index) = indexes.index(&loaded.spec.name.value);
            table.channels.push(Channel {
                name,
                index,
                scopes: Arc::new(loaded.spec.scopes.clone()),
            });
            for token in &loaded.spec.tokens {
                table
                    .by_claim
                    .insert((token.issuer.value.clone(), token.value.clone()), number);
            }
            for signature in &loaded.spec.signatures {
                match Signature::compile(signature, &policies.folder) {
                    Ok(signature) => table.signatures.push((number, signature)),
                    Err((secret, wrong)) => mistakes.push(Diagnostic::at(&loaded.file, secret, wrong)),
                }
            }
            for key in &loaded.spec.api_keys {
                // A malformed digest was reported where the references were checked.
                if let Some(digest) = hex(&key.sha256.value) {
                    table.by_key.insert(
                        digest,
                        Key {
                            digest,
                            channel: number,
                            expires: key.expires,
                        },
                    );
                }
            }
        }
        for loaded in &policies.issuers {
            match key_sets.key_set(&loaded.spec, &policies.folder) {
                Ok(keys) => table.issuers.push(Issuer::new(&loaded.spec, keys)),
                Err(wrong) => mistakes.push(Diagnostic::at(&loaded.file, &loaded.spec.jwks, wrong)),
            }
        }
        if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
    }

    /// Numbers of channels are below this.
    pub(crate) fn indexes(&self) -> usize {
        let highest = self.channels.iter().map(|channel| channel.index).max();
        highest
            .max(Some(self.anonymous.index))
            .map_or(0, |index| index as usize + 1)
    }

    fn by_key(&self, presented: &[u8], now: Timestamp) -> Result<Caller, Refusal> {
        let digest = digest(&SHA256, presented);
        let found = <[u8; 32]>::try_from(digest.as_ref())
            .ok()
            .and_then(|digest| self.by_key.get(&digest));
        let key = found.filter(|key| bool::from(key.digest.ct_eq(digest.as_ref())));
        let key = key.filter(|key| key.expires.is_none_or(|expires| now < expires));
        let channel = key.and_then(|key| self.channels.get(key.channel));
        // Unknown and expired look the same from outside.
        let channel = channel.ok_or_else(|| unauthenticated("the API key is not valid"))?;
        Ok(channel.caller())
    }

    fn is_signed(&self, headers: &HeaderMap) -> bool {
        self.signatures
            .iter()
            .any(|(_, signature)| signature.is_presented(headers))
    }

    /// Whose secret a request was signed with. Several channels may use the same fields, each with its own secret.
    fn by_signature(&self, parts: &mut Parts, body: &[u8], now: Timestamp) -> Result<Caller, Refusal> {
        let mut why = "a signature is needed";
        for (channel, signature) in &self.signatures {
            if !signature.is_presented(&parts.headers) {
                continue;
            }
            match signature.verify(parts, body, now) {
                Ok(key) => {
                    signature.accept(&mut parts.headers, &key);
                    return Ok(self.channels[*channel].caller());
                }
                Err(wrong) => why = wrong,
            }
        }
        Err(unauthenticated(why))
    }

    /// The channel a verified token names, its scopes cut down to the channel's.
    fn by_claim(&self, issuer: &str, value: &str, scopes: &BTreeSet<String>) -> Option<Caller> {
        let channel = self
            .channels
            .get(*self.by_claim.get(&(issuer.to_owned(), value.to_owned()))?)?;
        let scopes = scopes.intersection(&channel.scopes).cloned().collect();
        Some(Caller {
            channel: channel.name.clone(),
            index: channel.index,
            scopes: Arc::new(scopes),
        })
    }
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (number, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(number * 2..number * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests;
