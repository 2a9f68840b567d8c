//! The issuer's signing keys, kept in a folder so that tokens outlive a restart, and the tokens made with them.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse},
};
use serde_json::{Value, json};

use crate::config::AlgorithmSpec;

/// What a development token says.
#[derive(Clone, Debug)]
pub struct TokenClaims {
    pub issuer: String,
    pub audience: String,
    /// The channel's value of the issuer's channel claim.
    pub client_id: String,
    pub scopes: Vec<String>,
    pub lifetime: Duration,
    pub algorithm: AlgorithmSpec,
}

const ALGORITHMS: [AlgorithmSpec; 3] = [AlgorithmSpec::RS256, AlgorithmSpec::ES256, AlgorithmSpec::EdDSA];

/// Signs a token (RFC 9068) with the key of its algorithm, which is made where there is none yet.
pub fn issue_token(folder: &Path, claims: &TokenClaims) -> anyhow::Result<String> {
    let (algorithm, id) = names(claims.algorithm);
    let key = key(folder, claims.algorithm)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?
        .as_secs();
    let mut header = Header::new(algorithm);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(id.to_owned());
    let claims = json!({
        "iss": claims.issuer, "aud": claims.audience, "sub": claims.client_id, "client_id": claims.client_id,
        "scope": claims.scopes.join(" "), "iat": now, "nbf": now, "exp": now + claims.lifetime.as_secs(),
        "jti": uuid::Uuid::now_v7().to_string(),
    });
    jsonwebtoken::encode(&header, &claims, &key).context("the token cannot be signed")
}

/// The public keys (RFC 7517).
pub fn key_set(folder: &Path) -> anyhow::Result<Value> {
    let keys = ALGORITHMS.into_iter().map(|algorithm| {
        let (name, id) = names(algorithm);
        let mut jwk = Jwk::from_encoding_key(&key(folder, algorithm)?, name)?;
        jwk.common.key_id = Some(id.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(serde_json::to_value(jwk)?)
    });
    Ok(json!({ "keys": keys.collect::<anyhow::Result<Vec<Value>>>()? }))
}

fn names(algorithm: AlgorithmSpec) -> (Algorithm, &'static str) {
    match algorithm {
        AlgorithmSpec::RS256 => (Algorithm::RS256, "sandbox-rsa"),
        AlgorithmSpec::ES256 => (Algorithm::ES256, "sandbox-p256"),
        AlgorithmSpec::EdDSA => (Algorithm::EdDSA, "sandbox-ed25519"),
    }
}

fn key(folder: &Path, algorithm: AlgorithmSpec) -> anyhow::Result<EncodingKey> {
    let path = folder.join(format!("{}.pem", names(algorithm).1));
    if !path.exists() {
        make(folder, &path, algorithm)?;
    }
    let pem = fs::read(&path).with_context(|| format!("cannot read the development key {}", path.display()))?;
    let key = match algorithm {
        AlgorithmSpec::RS256 => EncodingKey::from_rsa_pem(&pem),
        AlgorithmSpec::ES256 => EncodingKey::from_ec_pem(&pem),
        AlgorithmSpec::EdDSA => EncodingKey::from_ed_pem(&pem),
    };
    key.with_context(|| format!("{} is no usable key; delete it to have a new one made", path.display()))
}

/// Two processes may make a key at once: it appears complete or not at all, and the first one stays.
fn make(folder: &Path, path: &Path, algorithm: AlgorithmSpec) -> anyhow::Result<()> {
    let failed = |_| anyhow::anyhow!("a development key cannot be generated");
    let random = SystemRandom::new();
    let der = match algorithm {
        AlgorithmSpec::RS256 => {
            let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
            der.as_ref().to_vec()
        }
        AlgorithmSpec::ES256 => {
            let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
            pair.as_ref().to_vec()
        }
        AlgorithmSpec::EdDSA => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
        }
    };
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    );
    let what = || format!("cannot write the development key {}", path.display());
    fs::create_dir_all(folder).with_context(what)?;
    let draft = folder.join(format!(".{}-{:016x}", std::process::id(), fastrand::u64(..)));
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .with_context(what)?;
        file.write_all(pem.as_bytes()).with_context(what)?;
    }
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).with_context(what)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error).with_context(what),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};

    use super::*;

    fn claims(algorithm: AlgorithmSpec) -> TokenClaims {
        TokenClaims {
            issuer: "http://issuer".into(),
            audience: "crossdock".into(),
            client_id: "shop".into(),
            scopes: vec!["a".into(), "b".into()],
            lifetime: Duration::from_mins(1),
            algorithm,
        }
    }

    #[test]
    fn every_token_verifies_against_the_key_set() {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let folder = tempfile::tempdir().unwrap();
        let set: JwkSet = serde_json::from_value(key_set(folder.path()).unwrap()).unwrap();
        for algorithm in ALGORITHMS {
            let token = issue_token(folder.path(), &claims(algorithm)).unwrap();
            let header = jsonwebtoken::decode_header(&token).unwrap();
            assert_eq!(header.typ.as_deref(), Some("at+jwt"));
            let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap()).unwrap()).unwrap();
            let mut validation = Validation::new(names(algorithm).0);
            validation.set_audience(&["crossdock"]);
            let data = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
            assert_eq!(data.claims["scope"], "a b");
        }
    }

    #[test]
    fn keys_stay_and_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let first = key_set(folder.path()).unwrap();
        assert_eq!(key_set(folder.path()).unwrap(), first);
        for entry in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
        }
    }

    #[test]
    fn a_broken_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sandbox-rsa.pem"), "nonsense").unwrap();
        let error = issue_token(folder.path(), &claims(AlgorithmSpec::RS256)).unwrap_err();
        assert!(error.to_string().contains("sandbox-rsa.pem"), "{error}");
    }
}
