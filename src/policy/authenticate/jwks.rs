//! Issuers' keys (RFC 7517): fetched, refreshed, and kept through an issuer's outage.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;
use tracing::{info, warn};

use crate::{
    client::{Https, https},
    config::IssuerSpec,
    problem::Refusal,
};

/// Between two fetches when all is well.
const REFRESH: Duration = Duration::from_mins(5);
/// Between two fetches while the issuer has never answered.
const EAGER: Duration = Duration::from_secs(1);
/// Between two fetches that unknown key ids ask for.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// How long a request waits for a fetch it asked for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one fetch may take.
const FETCH: Duration = Duration::from_secs(5);
/// How long keys are used while the issuer cannot be reached.
const STALE: Duration = Duration::from_hours(24);
/// Largest key set, in bytes.
const LARGEST: usize = 1 << 20;
/// Most keys of one set.
const MOST: usize = 100;

/// The key sets of all issuers. Outlives snapshots.
pub struct KeySets {
    /// Fetches; `None` where nothing is to be fetched.
    background: Option<tokio::runtime::Handle>,
    remote: Mutex<HashMap<String, Arc<KeySet>>>,
}

/// The keys of one issuer.
pub struct KeySet {
    issuer: Arc<str>,
    keys: ArcSwap<Keys>,
    generation: AtomicU64,
    /// Asks the fetching task for a fetch now; `None` for a file.
    wanted: Option<Wanted>,
}

struct Wanted {
    ask: tokio::sync::Notify,
    fetched: tokio::sync::watch::Sender<u64>,
    last: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Keys {
    all: Vec<Key>,
    /// When they came; `None` while there are none yet.
    since: Option<Instant>,
    is_file: bool,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: Arc<DecodingKey>,
}

impl KeySets {
    /// `background` fetches.
    pub fn new(background: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self {
            background: Some(background),
            remote: Mutex::default(),
        })
    }

    /// Reads files and asks no issuer: for a check of the policies.
    pub fn offline() -> Arc<Self> {
        Arc::new(Self {
            background: None,
            remote: Mutex::default(),
        })
    }

    /// The keys of an issuer: from a file, read now, or from a URL, fetched in the background. Errors are phrases for a
    /// diagnostic.
    pub fn key_set(&self, spec: &IssuerSpec, folder: &Path) -> Result<Arc<KeySet>, String> {
        let place = spec.jwks.value.as_str();
        if let Some(path) = place.strip_prefix("file:") {
            let path = folder.join(path);
            let text = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let keys = parse(&text).map_err(|wrong| format!("{} is no key set: {wrong}", path.display()))?;
            let keys = Keys {
                all: keys,
                since: Some(Instant::now()),
                is_file: true,
            };
            return Ok(Arc::new(KeySet::new(spec, keys, None)));
        }
        let url: http::Uri = place
            .parse()
            .map_err(|_| format!("`{place}` is no URL and no `file:PATH`"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(format!("`{place}` is neither an http or https URL nor `file:PATH`"));
        }
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{} {place}", spec.issuer);
        if let Some(running) = remote.get(&name) {
            return Ok(running.clone());
        }
        let wanted = Wanted {
            ask: tokio::sync::Notify::new(),
            fetched: tokio::sync::watch::Sender::new(0),
            last: Mutex::default(),
        };
        let set = Arc::new(KeySet::new(spec, Keys::default(), Some(wanted)));
        remote.insert(name, set.clone());
        if let Some(background) = &self.background {
            background.spawn(keep_fresh(Arc::downgrade(&set), url));
        }
        Ok(set)
    }
}

impl KeySet {
    fn new(spec: &IssuerSpec, keys: Keys, wanted: Option<Wanted>) -> Self {
        let issuer = spec.name.value.as_str().into();
        Self {
            issuer,
            keys: ArcSwap::from_pointee(keys),
            generation: AtomicU64::new(0),
            wanted,
        }
    }

    /// Changes when the keys do.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The key a token is signed with. An unknown one makes the issuer be asked, at most every ten seconds; without any
    /// keys nobody can be judged, which is the issuer's fault and not the caller's.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<DecodingKey>>, Refusal> {
        if let Some(key) = self.look_up(id, algorithm)? {
            return Ok(Some(key));
        }
        let Some(wanted) = &self.wanted else { return Ok(None) };
        let is_due = wanted
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none_or(|last| last.elapsed() >= COOL_DOWN);
        if is_due || self.keys.load().since.is_none() {
            let mut fetched = wanted.fetched.subscribe();
            wanted.ask.notify_one();
            let _ = tokio::time::timeout(PATIENCE, fetched.changed()).await;
        }
        if self.keys.load().since.is_none() {
            return Err(Refusal::IssuerUnavailable {
                issuer: self.issuer.clone(),
                retry_after: Duration::from_secs(2),
            });
        }
        self.look_up(id, algorithm)
    }

    fn look_up(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Option<Arc<DecodingKey>>, Refusal> {
        let keys = self.keys.load();
        if !keys.is_file && keys.since.is_some_and(|since| since.elapsed() > STALE) {
            return Err(Refusal::IssuerUnavailable {
                issuer: self.issuer.clone(),
                retry_after: Duration::from_secs(10),
            });
        }
        let mut fitting = keys.all.iter().filter(|key| key.algorithm == algorithm);
        let key = match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            // Without an id the key must be the only one that fits.
            None => match (fitting.next(), fitting.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            },
        };
        Ok(key.map(|key| key.decoding.clone()))
    }

    fn replace(&self, keys: Vec<Key>) {
        let ids = |keys: &[Key]| {
            keys.iter()
                .map(|key| (key.id.clone(), key.algorithm))
                .collect::<Vec<_>>()
        };
        let is_changed = ids(&self.keys.load().all) != ids(&keys);
        self.keys.store(Arc::new(Keys {
            all: keys,
            since: Some(Instant::now()),
            is_file: false,
        }));
        if is_changed {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Fetches at start, every few minutes, and when asked. Ends when nobody has a use for the set any more.
async fn keep_fresh(set: std::sync::Weak<KeySet>, url: http::Uri) {
    let client = https();
    let mut is_failing = false;
    loop {
        let Some(current) = set.upgrade() else { return };
        let outcome = tokio::time::timeout(FETCH, fetch(&client, &url)).await;
        match outcome.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(keys) => {
                if is_failing {
                    info!(issuer = %current.issuer, "keys can be fetched again");
                }
                is_failing = false;
                current.replace(keys);
            }
            Err(cause) => {
                if !is_failing {
                    warn!(issuer = %current.issuer, %url, cause, "keys cannot be fetched; known ones stay in use");
                }
                is_failing = true;
            }
        }
        let Some(wanted) = &current.wanted else { return };
        *wanted.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        wanted.fetched.send_modify(|count| *count += 1);
        let pause = match (current.keys.load().since, is_failing) {
            (None, _) => EAGER,
            (_, true) => COOL_DOWN,
            (_, false) => REFRESH.mul_f64(0.9 + 0.2 * fastrand::f64()),
        };
        let asked = wanted.ask.notified();
        let _ = tokio::time::timeout(pause, asked).await;
    }
}

async fn fetch(client: &Https<Empty<Bytes>>, url: &http::Uri) -> Result<Vec<Key>, String> {
    let request = Request::get(url.clone()).header(header::ACCEPT, "application/jwk-set+json, application/json");
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| error.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answered {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    parse(&body.to_bytes())
}

/// The usable keys of a set. Keys of other kinds are passed over, so that an issuer may add new ones.
fn parse(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    let list = set.get("keys").and_then(Value::as_array).ok_or("it has no `keys`")?;
    let keys: Vec<Key> = list.iter().take(MOST).filter_map(key).collect();
    if keys.is_empty() {
        return Err("it has no RSA, P-256 or Ed25519 signing key".to_owned());
    }
    Ok(keys)
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
    {
        return None;
    }
    // Each key is good for the one algorithm of its kind, whatever a token's header says.
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key {
        id: jwk.common.key_id,
        algorithm,
        decoding: Arc::new(key),
    })
}
