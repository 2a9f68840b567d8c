//! `crossdock token`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::{ConfigArgs, diagnosed, say};
use crate::{
    config::{self, AlgorithmSpec, IssuerSpec, Policies, Sources, Time},
    sandbox::{self, TokenClaims},
};

/// Folder of the sandbox's keys, in the state folder.
pub(super) const KEYS: &str = "sandbox-keys";

#[derive(Args)]
pub(super) struct TokenArgs {
    /// Name of the channel in the policies.
    #[arg(long)]
    channel: String,
    /// How long the token is valid.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: String,
    /// Scopes, separated by spaces; by default all that the channel has.
    #[arg(long)]
    scope: Option<String>,
    /// Signature algorithm.
    #[arg(long, value_enum, default_value_t = Algorithm::Rs256)]
    algorithm: Algorithm,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let policies = policies(&args.config.config, &[])?;
    let ttl: Time = args.ttl.parse().map_err(anyhow::Error::msg)?;
    let scopes = args
        .scope
        .as_ref()
        .map(|text| text.split_ascii_whitespace().map(str::to_owned).collect());
    let algorithm = match args.algorithm {
        Algorithm::Rs256 => AlgorithmSpec::RS256,
        Algorithm::Es256 => AlgorithmSpec::ES256,
        Algorithm::EdDsa => AlgorithmSpec::EdDSA,
    };
    say(&token_with_keys(
        &policies,
        &keys(&policies),
        &args.channel,
        scopes,
        ttl.0,
        algorithm,
    )?);
    Ok(ExitCode::SUCCESS)
}

/// The policies with some text replaced, or everything that is wrong with them.
pub(super) fn policies(gateway_file: &std::path::Path, replace: &[(String, String)]) -> anyhow::Result<Policies> {
    let (policies, diagnostics) = match Sources::read(gateway_file) {
        Ok(mut sources) => {
            sources.replace(replace);
            config::parse(&sources)
        }
        Err(diagnostics) => (None, diagnostics),
    };
    policies.with_context(|| format!("the policies cannot be used\n{}", diagnosed(&diagnostics)))
}

/// A token for a channel, signed with the sandbox's keys in `keys`.
pub(super) fn token_with_keys(
    policies: &Policies,
    keys: &std::path::Path,
    channel: &str,
    scopes: Option<Vec<String>>,
    lifetime: Duration,
    algorithm: AlgorithmSpec,
) -> anyhow::Result<String> {
    let Some(found) = policies
        .channels
        .iter()
        .find(|loaded| loaded.spec.name.value == channel)
    else {
        let known: Vec<&str> = policies
            .channels
            .iter()
            .map(|loaded| loaded.spec.name.value.as_str())
            .collect();
        bail!("no channel is named `{channel}`; there are {}", known.join(", "));
    };
    let issuer = sandbox_issuer(policies)?;
    let named = found
        .spec
        .tokens
        .iter()
        .find(|token| token.issuer.value == issuer.name.value);
    let Some(named) = named else {
        bail!(
            "channel `{channel}` takes no tokens of issuer `{}`; it identifies itself by API key",
            issuer.name.value
        );
    };
    let claims = TokenClaims {
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        client_id: named.value.clone(),
        scopes: scopes.unwrap_or_else(|| found.spec.scopes.iter().cloned().collect()),
        lifetime,
        algorithm,
    };
    sandbox::issue_token(keys, &claims)
}

/// Where the sandbox's keys are.
pub(super) fn keys(policies: &Policies) -> std::path::PathBuf {
    policies.folder.join(policies.gateway.spec.state_folder()).join(KEYS)
}

fn sandbox_issuer(policies: &Policies) -> anyhow::Result<&IssuerSpec> {
    let found = policies
        .issuers
        .iter()
        .find(|loaded| loaded.spec.name.value == "sandbox");
    Ok(&found
        .context("the policies have no issuer named `sandbox`, and no other one's keys are known here")?
        .spec)
}
