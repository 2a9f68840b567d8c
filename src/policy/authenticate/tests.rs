//! Forged, stale and misdirected credentials.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{AlgorithmSpec, Sources, parse},
    sandbox::{TokenClaims, issue_token, keys},
};

/// Policies with one issuer, whose key set is a file, and two channels.
struct World {
    folder: TempDir,
    indexes: ChannelIndexes,
    key_sets: Arc<KeySets>,
    tokens: Arc<TokenCache>,
}

impl World {
    fn new() -> Self {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let folder = tempfile::tempdir().unwrap();
        let world = Self {
            indexes: ChannelIndexes::default(),
            key_sets: KeySets::new(tokio::runtime::Handle::current()),
            tokens: Arc::default(),
            folder,
        };
        let set = keys::key_set(&world.keys()).unwrap();
        world.write("keys.json", &set.to_string());
        world.write("gateway.yaml", "kind: Gateway\n");
        world.write(
            "issuer.yaml",
            "kind: Issuer\nname: login\nissuer: https://login.example\naudience: crossdock\njwks: file:keys.json\n",
        );
        world.channel(
            "shop",
            "tokens: [{ issuer: login, value: shop }]\nscopes: [read, write]\n",
        );
        let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of `secret`
        let spent = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of `test`
        world.channel(
            "edi",
            &format!(
                "tokens: [{{ issuer: login, value: edi }}]\nscopes: [write]\napiKeys:\n  - {{ id: a, sha256: {digest} }}\n  \
                 - {{ id: b, sha256: {spent}, expires: 2020-01-01T00:00:00Z }}\n"
            ),
        );
        world
    }

    fn keys(&self) -> std::path::PathBuf {
        self.folder.path().join("private")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn channel(&self, name: &str, rest: &str) {
        self.write(&format!("{name}.yaml"), &format!("kind: Channel\nname: {name}\n{rest}"));
    }

    fn authenticate(&self, methods: &[AuthenticateSpec]) -> Authenticate {
        let sources = Sources::read(&self.folder.path().join("gateway.yaml")).unwrap();
        let (policies, mistakes) = parse(&sources);
        let policies = policies.unwrap_or_else(|| panic!("{mistakes:?}"));
        let channels = ChannelTable::compile(&policies, &self.indexes, &self.key_sets).unwrap();
        Authenticate::new(methods, 1 << 20, Arc::new(channels), self.tokens.clone())
    }

    fn token(&self, algorithm: AlgorithmSpec, client: &str, lifetime: u64) -> String {
        let claims = TokenClaims {
            issuer: "https://login.example".into(),
            audience: "crossdock".into(),
            client_id: client.into(),
            scopes: vec!["read".into(), "admin".into()],
            lifetime: Duration::from_secs(lifetime),
            algorithm,
        };
        issue_token(&self.keys(), &claims).unwrap()
    }

    /// A token signed with the issuer's own key, but with claims and header of the test's choice.
    fn signed(&self, change: impl FnOnce(&mut Header, &mut Value)) -> String {
        let pem = std::fs::read(self.keys().join("sandbox-p256.pem")).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("sandbox-p256".into());
        let mut claims = json!({ "iss": "https://login.example", "aud": ["other", "crossdock"], "client_id": "shop", "exp": now + 60 });
        change(&mut header, &mut claims);
        encode(&header, &claims, &EncodingKey::from_ec_pem(&pem).unwrap()).unwrap()
    }
}

fn bearer_of(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        header::AUTHORIZATION,
        HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
    )])
}

fn key_of(key: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(X_API_KEY, HeaderValue::from_static(key))])
}

fn reason(outcome: Result<Caller, Refusal>) -> String {
    match outcome {
        Err(Refusal::Unauthenticated { reason, .. }) => reason.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_algorithm_names_the_channel_and_cuts_the_scopes_down() {
    let world = World::new();
    let authenticate = world.authenticate(&[AuthenticateSpec::Jwt]);
    for algorithm in [AlgorithmSpec::RS256, AlgorithmSpec::ES256, AlgorithmSpec::EdDSA] {
        let caller = authenticate
            .caller(&bearer_of(&world.token(algorithm, "shop", 60)))
            .await
            .unwrap();
        assert_eq!(&*caller.channel, "shop");
        assert_eq!(
            caller.scopes.iter().collect::<Vec<_>>(),
            ["read"],
            "`admin` is not the channel's"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said() {
    let world = World::new();
    world.token(AlgorithmSpec::ES256, "shop", 60);
    let authenticate = world.authenticate(&[AuthenticateSpec::Jwt]);
    let hour = 3_600;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let cases: Vec<(String, &str)> = vec![
        (world.signed(|_, claims| claims["exp"] = json!(now - hour)), "expired"),
        (
            world.signed(|_, claims| claims["nbf"] = json!(now + hour)),
            "not valid yet",
        ),
        (
            world.signed(|_, claims| claims["aud"] = json!("other")),
            "another audience",
        ),
        (
            world.signed(|_, claims| claims["iss"] = json!("https://evil.example")),
            "issuer is not accepted",
        ),
        (
            world.signed(|_, claims| claims["client_id"] = json!("nobody")),
            "names no channel",
        ),
        (
            world.signed(|_, claims| claims["client_id"] = json!(7)),
            "lacks the claim client_id",
        ),
        (world.signed(|_, claims| claims["exp"] = Value::Null), "malformed"),
        (
            world.signed(|header, _| header.kid = Some("other".into())),
            "unknown key",
        ),
        (
            world.signed(|header, _| header.typ = Some("id+jwt".into())),
            "no access token",
        ),
        (
            world.signed(|header, _| header.crit = Some(vec!["x".into()])),
            "critical extensions",
        ),
        ("x".repeat(9_000), "too long"),
        (String::new(), "empty"),
        ("a.b".into(), "malformed"),
    ];
    for (token, expected) in cases {
        let said = reason(authenticate.caller(&bearer_of(&token)).await);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret_and_none_is_no_algorithm() {
    let world = World::new();
    let authenticate = world.authenticate(&[AuthenticateSpec::Jwt]);
    let claims =
        json!({ "iss": "https://login.example", "aud": "crossdock", "client_id": "shop", "exp": 4_000_000_000_u64 });
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("sandbox-rsa".into());
    let set = std::fs::read(world.folder.path().join("keys.json")).unwrap();
    let confused = encode(&header, &claims, &EncodingKey::from_secret(&set)).unwrap();
    assert!(reason(authenticate.caller(&bearer_of(&confused)).await).contains("algorithm is not accepted"));

    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    reason(authenticate.caller(&bearer_of(&unsigned)).await);

    // The key of one algorithm does not verify the signature of another.
    let other = world.signed(|header, _| header.kid = Some("sandbox-rsa".into()));
    assert!(reason(authenticate.caller(&bearer_of(&other)).await).contains("unknown key"));
}

#[tokio::test]
async fn a_remembered_token_counts_only_while_its_channel_stands() {
    let world = World::new();
    let token = world.token(AlgorithmSpec::ES256, "shop", 60);
    assert!(
        world
            .authenticate(&[AuthenticateSpec::Jwt])
            .caller(&bearer_of(&token))
            .await
            .is_ok()
    );
    world.channel("shop", "tokens: [{ issuer: login, value: shop }]\nscopes: [write]\n");
    let caller = world
        .authenticate(&[AuthenticateSpec::Jwt])
        .caller(&bearer_of(&token))
        .await
        .unwrap();
    assert!(caller.scopes.is_empty(), "scopes are the present ones");
    world.channel("shop", "tokens: [{ issuer: login, value: renamed }]\n");
    let said = reason(
        world
            .authenticate(&[AuthenticateSpec::Jwt])
            .caller(&bearer_of(&token))
            .await,
    );
    assert!(said.contains("names no channel"), "{said}");
}

#[tokio::test]
async fn keys_are_known_by_their_digest_and_expire() {
    let world = World::new();
    let authenticate = world.authenticate(&[AuthenticateSpec::ApiKey]);
    let caller = authenticate.caller(&key_of("secret")).await.unwrap();
    assert_eq!((&*caller.channel, caller.scopes.contains("write")), ("edi", true));
    for wrong in [
        "test",
        "Secret",
        "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    ] {
        assert_eq!(
            reason(authenticate.caller(&key_of(wrong)).await),
            "the API key is not valid"
        );
    }
}

#[tokio::test]
async fn two_credentials_must_name_the_same_channel() {
    let world = World::new();
    let authenticate = world.authenticate(&[AuthenticateSpec::Jwt, AuthenticateSpec::ApiKey]);
    let both = |client| {
        let mut headers = bearer_of(&world.token(AlgorithmSpec::ES256, client, 60));
        headers.extend(key_of("secret"));
        headers
    };
    assert!(authenticate.caller(&both("edi")).await.is_ok());
    assert!(reason(authenticate.caller(&both("shop")).await).contains("different channels"));
}

#[tokio::test]
async fn nobody_is_anonymous_unless_that_is_said_and_a_bad_credential_never_is() {
    let world = World::new();
    let said = reason(
        world
            .authenticate(&[AuthenticateSpec::Jwt])
            .caller(&HeaderMap::new())
            .await,
    );
    assert!(said.contains("needed"), "{said}");
    let open = world.authenticate(&[AuthenticateSpec::Jwt, AuthenticateSpec::Anonymous]);
    assert_eq!(&*open.caller(&HeaderMap::new()).await.unwrap().channel, "anonymous");
    reason(open.caller(&bearer_of("forged")).await);
}

/// An issuer whose key set and health the test decides.
struct Remote {
    url: String,
    answer: Arc<Mutex<Option<String>>>,
}

impl Remote {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(None::<String>));
        let serving = answer.clone();
        tokio::spawn(async move {
            let router = axum::Router::new().route(
                "/keys",
                axum::routing::get(async move || match serving.lock().unwrap().clone() {
                    Some(set) => Ok(set),
                    None => Err(http::StatusCode::SERVICE_UNAVAILABLE),
                }),
            );
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, answer }
    }

    fn answers(&self, set: Option<String>) {
        *self.answer.lock().unwrap() = set;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_never_answered_is_unavailable_and_its_keys_outlive_its_outage() {
    let world = World::new();
    let remote = Remote::start().await;
    world.write(
        "issuer.yaml",
        &format!(
            "kind: Issuer\nname: login\nissuer: https://login.example\naudience: crossdock\njwks: {}\n",
            remote.url
        ),
    );
    let authenticate = world.authenticate(&[AuthenticateSpec::Jwt]);
    let token = || bearer_of(&world.token(AlgorithmSpec::RS256, "shop", 60));
    let outcome = authenticate.caller(&token()).await;
    assert!(matches!(outcome, Err(Refusal::IssuerUnavailable { .. })), "{outcome:?}");

    remote.answers(Some(keys::key_set(&world.keys()).unwrap().to_string()));
    let fetched = async {
        while authenticate.caller(&token()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), fetched)
        .await
        .expect("the keys are fetched once they are there");

    remote.answers(None);
    assert!(authenticate.caller(&token()).await.is_ok(), "known keys stay in use");
}
