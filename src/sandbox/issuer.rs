//! A token issuer for development: key set, discovery, client credentials without a secret.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::keys::{self, TokenClaims};
use crate::config::AlgorithmSpec;

/// Scopes by client id, from the policies.
pub type Channels = BTreeMap<String, BTreeSet<String>>;

/// How long its tokens are valid.
const LIFETIME: Duration = Duration::from_hours(1);

/// Issues tokens to the channels of the policies.
pub struct Issuer {
    folder: PathBuf,
    url: String,
    key_set: Value,
    channels: Channels,
}

impl Issuer {
    /// With keys in `folder`, made where there are none.
    pub fn new(folder: &Path, url: String, channels: Channels) -> anyhow::Result<Self> {
        Ok(Self {
            key_set: keys::key_set(folder)?,
            folder: folder.to_owned(),
            url,
            channels,
        })
    }

    fn token(&self, form: &HashMap<String, String>) -> Result<Value, &'static str> {
        let field = |name: &str| form.get(name).map(String::as_str);
        if field("grant_type") != Some("client_credentials") {
            return Err("unsupported_grant_type");
        }
        let client = field("client_id").unwrap_or_default();
        let allowed = self.channels.get(client).ok_or("invalid_client")?;
        let scopes: Vec<String> = match field("scope") {
            None => allowed.iter().cloned().collect(),
            Some(wanted) => wanted.split_ascii_whitespace().map(str::to_owned).collect(),
        };
        if scopes.iter().any(|scope| !allowed.contains(scope)) {
            return Err("invalid_scope");
        }
        let algorithm = match field("alg") {
            None | Some("RS256") => AlgorithmSpec::RS256,
            Some("ES256") => AlgorithmSpec::ES256,
            Some("EdDSA") => AlgorithmSpec::EdDSA,
            Some(_) => return Err("invalid_request"),
        };
        let claims = TokenClaims {
            issuer: self.url.clone(),
            audience: "crossdock".to_owned(),
            client_id: client.to_owned(),
            scopes: scopes.clone(),
            lifetime: LIFETIME,
            algorithm,
        };
        let token = keys::issue_token(&self.folder, &claims).map_err(|_| "server_error")?;
        Ok(
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME.as_secs(), "scope": scopes.join(" ") }),
        )
    }
}

/// Serves until `stop`.
pub async fn serve(issuer: Arc<Issuer>, listener: tokio::net::TcpListener, stop: CancellationToken) {
    let router = Router::new()
        .route(
            "/.well-known/jwks.json",
            get(async |State(issuer): State<Arc<Issuer>>| Json(issuer.key_set.clone())),
        )
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/token", post(token))
        .with_state(issuer);
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
    {
        tracing::error!(%error, "the token issuer ended");
    }
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({
        "issuer": issuer.url,
        "jwks_uri": format!("{}/.well-known/jwks.json", issuer.url),
        "token_endpoint": format!("{}/token", issuer.url),
        "grant_types_supported": ["client_credentials"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
    }))
}

async fn token(State(issuer): State<Arc<Issuer>>, Form(form): Form<HashMap<String, String>>) -> Response {
    match issuer.token(&form) {
        Ok(token) => Json(token).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_known_clients_and_their_scopes() {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let folder = tempfile::tempdir().unwrap();
        let channels = BTreeMap::from([("shop".to_owned(), BTreeSet::from(["orders:read".to_owned()]))]);
        let issuer = Issuer::new(folder.path(), "http://issuer".into(), channels).unwrap();
        let ask = |fields: &[(&str, &str)]| {
            let mut form = HashMap::from([("grant_type".to_owned(), "client_credentials".to_owned())]);
            form.extend(
                fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            );
            issuer.token(&form)
        };
        assert_eq!(ask(&[("client_id", "shop")]).unwrap()["scope"], "orders:read");
        assert_eq!(ask(&[("client_id", "thief")]), Err("invalid_client"));
        assert_eq!(ask(&[("client_id", "shop"), ("scope", "admin")]), Err("invalid_scope"));
        assert_eq!(ask(&[("client_id", "shop"), ("alg", "HS256")]), Err("invalid_request"));
        assert_eq!(ask(&[("grant_type", "password")]), Err("unsupported_grant_type"));
    }
}
