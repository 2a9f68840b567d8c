//! Issuers, channels and upstreams: who takes part.

use std::{collections::HashMap, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{Draft, Loaded, http_url, readable};
use crate::config::{
    ChannelSpec, CredentialSpec, Diagnostic, RepeatsSpec, Secret, SignatureSpec, SourceFile, Spanned, Time,
    TimeoutsSpec, UpstreamSpec, WebhookSpec, resolve, yaml,
};
use crate::webhook;

/// Fields that HTTP itself gives a meaning on one connection: no credential.
const RESERVED_FIELDS: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn issuers(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<&str, &str> = HashMap::new();
    for Loaded { spec, file } in &draft.issuers {
        if let Some(other) = first.insert(&spec.issuer, &spec.name.value) {
            let message = format!("a second Issuer with `issuer: {}`", spec.issuer);
            let help = format!("`{other}` has it already; a token could not be told from the other's");
            found.push(Diagnostic::at_path(file, &["issuer"], message).help(help));
        }
        if spec.leeway.0 > Duration::from_mins(5) {
            let diagnostic = Diagnostic::at_path(file, &["leeway"], "the leeway is more than 5m");
            found.push(diagnostic.help("write at most 5m; clocks that differ more are to be set right"));
        }
        if spec.algorithms.is_empty() {
            let diagnostic = Diagnostic::at_path(file, &["algorithms"], "no algorithm is accepted, so no token is");
            found.push(diagnostic.help("name at least one of `RS256`, `ES256`, `EdDSA`"));
        }
        if let Some(path) = spec.jwks.value.strip_prefix("file:") {
            readable(draft, file, path.as_ref(), &["jwks"], found);
        } else if let Err(wrong) = http_url(&spec.jwks.value) {
            // An address of keys may have a query, other than one of an upstream.
            if wrong != "the URL has a query" {
                let diagnostic = Diagnostic::at(file, &spec.jwks, wrong).concealed();
                found.push(diagnostic.help("write https://HOST/PATH, or file:PATH relative to the policy folder"));
            }
        }
    }
}

pub(super) fn channels(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let mut keys: HashMap<&str, &str> = HashMap::new();
    let mut tokens: HashMap<(&str, &str), &str> = HashMap::new();
    for Loaded { spec, file } in &draft.channels {
        let name = spec.name.value.as_str();
        if name == "anonymous" {
            let diagnostic = Diagnostic::at(file, &spec.name, "the name `anonymous` is reserved");
            found.push(diagnostic.help("it stands for callers of APIs with `authenticate: [anonymous]`"));
        }
        for key in &spec.api_keys {
            let digest = &key.sha256;
            let is_digest = digest.value.len() == 64
                && digest
                    .value
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_digest {
                // It may be the key itself, pasted by mistake: it is not repeated.
                let diagnostic = Diagnostic::at(file, digest, "this is not a SHA-256 digest").concealed();
                let help = "write 64 lower-case hexadecimal digits, as `printf %s KEY | sha256sum` prints them";
                found.push(diagnostic.help(help));
            } else if let Some(other) = keys.insert(&digest.value, name) {
                let message = format!("the API key `{}` is used twice", key.id);
                let help = format!("channel `{other}` has the same key; each key names one channel");
                found.push(Diagnostic::at(file, digest, message).help(help));
            }
        }
        for (position, signature) in spec.signatures.iter().enumerate() {
            check_signature(draft, file, &position.to_string(), signature, found);
        }
        if let Some(webhook) = &spec.webhook {
            check_webhook(draft, file, webhook, found);
        }
        pins(draft, spec, file, found);
        for (position, token) in spec.tokens.iter().enumerate() {
            draft.refer("Issuer", file, &token.issuer, found);
            if let Some(other) = tokens.insert((&token.issuer.value, &token.value), name) {
                let message = format!(
                    "tokens of `{}` for `{}` name two channels",
                    token.issuer.value, token.value
                );
                let help = format!("channel `{other}` has the same value; a token names one channel");
                let place = ["tokens", &position.to_string(), "value"];
                found.push(Diagnostic::at_path(file, &place, message).help(help));
            }
        }
    }
}

fn check_signature(
    draft: &Draft,
    file: &SourceFile,
    position: &str,
    spec: &SignatureSpec,
    found: &mut Vec<Diagnostic>,
) {
    if spec.secrets.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["signatures", position, "secrets"], "no secret, so no signature");
        found.push(diagnostic.help("name where it is kept: `file:PATH` or `env:NAME`"));
    }
    for secret in &spec.secrets {
        match resolve(&secret.value, &draft.folder) {
            Err(cause) => found.push(unresolved(file, secret, cause)),
            Ok(text) if spec.hmac.is_none() => {
                if let Err(wrong) = webhook::Key::parse(&text) {
                    let help = "a sender with a way of its own to sign is described under `hmac`";
                    found.push(Diagnostic::at(file, secret, wrong).help(help));
                }
            }
            Ok(_) => {}
        }
    }
    let Some(hmac) = &spec.hmac else { return };
    let names = [
        ("header", Some(&hmac.header)),
        ("timestamp", hmac.timestamp.as_ref()),
        ("id", hmac.id.as_ref()),
    ];
    for (key, name) in names {
        if let Some(name) = name {
            field_name(name, file, &["signatures", position, "hmac", key], found);
        }
    }
    if hmac.signs_time() && !hmac.has_time() {
        let place = ["signatures", position, "hmac", "signs"];
        let diagnostic = Diagnostic::at_path(file, &place, "`{timestamp}` is signed, but found nowhere");
        found.push(diagnostic.help("name its header field under `timestamp`, or its part of the field in `format`"));
    }
    if !hmac.signs_time() && hmac.has_time() {
        let place = ["signatures", position, "hmac", "signs"];
        let diagnostic = Diagnostic::at_path(file, &place, "the time of signing is not signed itself");
        let help = "write `{timestamp}` into `signs` as the sender does, or leave the time out: whoever repeats an old request can write any";
        found.push(diagnostic.help(help));
    }
}

fn check_webhook(draft: &Draft, file: &SourceFile, spec: &WebhookSpec, found: &mut Vec<Diagnostic>) {
    // A receiver may tell its callers apart by a query.
    match http_url(&spec.url.value) {
        Err(wrong) if wrong != "the URL has a query" => {
            let help = "write https://HOST/PATH; the receiver knows the gateway by its signature";
            found.push(Diagnostic::at(file, &spec.url, wrong).help(help).concealed());
        }
        _ if spec.url.value.starts_with("http:") && !is_loopback(&spec.url.value) => {
            let diagnostic = Diagnostic::at(file, &spec.url, "webhooks go over the network in clear text").concealed();
            let help = "write an `https://` URL: what was ordered, and by whom, stands in them";
            found.push(diagnostic.help(help).warning());
        }
        _ => {}
    }
    if spec.secrets.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["webhook", "secrets"], "no secret, so no signature");
        found.push(diagnostic.help("name where it is kept: `file:PATH` or `env:NAME`"));
    }
    for secret in &spec.secrets {
        match resolve(&secret.value, &draft.folder).map(|text| webhook::Key::parse(&text)) {
            Err(cause) => found.push(unresolved(file, secret, cause)),
            Ok(Err(wrong)) => {
                let help = "make one with `printf 'whsec_%s' \"$(openssl rand -base64 32)\"`";
                found.push(Diagnostic::at(file, secret, wrong).help(help));
            }
            Ok(Ok(_)) => {}
        }
    }
    if spec.events.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["webhook", "events"], "no event, so nothing is sent");
        found.push(diagnostic.help("name some of `delivered`, `dead`, `expired`, `discarded`, or leave `events` out"));
    }
    for (key, Time(time), least, most) in [
        (
            "timeout",
            spec.timeout,
            Duration::from_millis(1),
            WebhookSpec::LONGEST_TIMEOUT,
        ),
        (
            "giveUpAfter",
            spec.give_up_after,
            Duration::from_mins(1),
            Duration::from_hours(28 * 24),
        ),
    ] {
        if !(least..=most).contains(&time) {
            let diagnostic = Diagnostic::at_path(file, &["webhook", key], format!("`{key}` is out of bounds"));
            found.push(diagnostic.help(format!("write a duration from {least:?} to {} s", most.as_secs())));
        }
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let url: Option<http::Uri> = url.parse().ok();
    let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// A secret that cannot be read where it is said to be.
fn unresolved(file: &SourceFile, secret: &Spanned<Secret>, cause: String) -> Diagnostic {
    let diagnostic = Diagnostic::at(file, secret, cause);
    match secret.value {
        Secret::File(_) => diagnostic.help("a relative path starts at the folder of `gateway.yaml`"),
        Secret::Env(_) => diagnostic.help("set it in the environment the gateway starts in"),
    }
}

/// Whether the APIs of a channel's pins exist and choose a version at all. That they offer it is said with the contract.
fn pins(draft: &Draft, spec: &ChannelSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    for (name, version) in &spec.versions {
        let api = draft.apis.iter().find(|api| api.spec.name.value == *name);
        let (message, help) = match api {
            None if draft.has_unknown || draft.known("Api").contains(name.as_str()) => continue,
            None => (
                format!("there is no Api named `{name}`"),
                yaml::instead(name, draft.known("Api")),
            ),
            Some(api) if api.spec.contract.is_none() => (
                format!("API `{name}` has no contract, so no version"),
                "remove the pin".to_owned(),
            ),
            Some(api) if api.spec.is_versioned_by_path() => (
                format!("the path of API `{name}` names the version of every request: a pin changes nothing"),
                "remove the pin, or take `{version}` out of the path".to_owned(),
            ),
            Some(_) => continue,
        };
        found.push(Diagnostic::at(file, version, message).help(help));
    }
}

pub(super) fn upstreams(draft: &Draft, found: &mut Vec<Diagnostic>) {
    for Loaded { spec, file } in &draft.upstreams {
        endpoints(spec, file, found);
        timeouts(&spec.timeouts, file, found);
        if spec.attempts.get() > 10 {
            let diagnostic =
                Diagnostic::at_path(file, &["attempts"], format!("{} attempts are too many", spec.attempts));
            found.push(diagnostic.help("write 1 to 10; the fallback queue is there for what takes longer"));
        }
        if let RepeatsSpec::Honoured(honoured) = &spec.repeats {
            field_name(&honoured.header, file, &["repeats", "honoured", "header"], found);
        }
        if let Some(path) = &spec.certificate_authorities {
            readable(draft, file, path, &["certificateAuthorities"], found);
        }
        for (position, credential) in spec.credentials.iter().enumerate() {
            check_credential(draft, file, &position.to_string(), credential, found);
        }
    }
}

fn endpoints(spec: &UpstreamSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    if spec.endpoints.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["endpoints"], "there is no endpoint");
        found.push(diagnostic.help("name at least one base URL, such as http://10.0.0.5:9101"));
    }
    let mut seen = Vec::new();
    for endpoint in &spec.endpoints {
        match http_url(&endpoint.value) {
            Err(wrong) => {
                let help = "write a base URL such as http://10.0.0.5:9101; credentials go under `credentials`";
                found.push(Diagnostic::at(file, endpoint, wrong).help(help).concealed());
            }
            Ok(url) if seen.contains(&url) => {
                let message = format!("the endpoint `{}` is named twice", endpoint.value);
                found.push(Diagnostic::at(file, endpoint, message).help("keep one of them"));
            }
            Ok(url) => seen.push(url),
        }
    }
}

fn timeouts(spec: &TimeoutsSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let Time(zero) = Time(Duration::ZERO);
    for (key, Time(time)) in [
        ("connect", spec.connect),
        ("response", spec.response),
        ("total", spec.total),
    ] {
        if time == zero {
            let message = format!("with `{key}: 0` no request succeeds");
            let diagnostic = Diagnostic::at_path(file, &["timeouts", key], message);
            found.push(diagnostic.help("write a duration such as 500ms or 10s"));
        }
    }
}

fn check_credential(
    draft: &Draft,
    file: &SourceFile,
    position: &str,
    credential: &CredentialSpec,
    found: &mut Vec<Diagnostic>,
) {
    field_name(&credential.header, file, &["credentials", position, "header"], found);
    match resolve(&credential.value.value, &draft.folder) {
        Err(cause) => found.push(unresolved(file, &credential.value, cause)),
        Ok(value) if HeaderValue::from_str(&value).is_err() => {
            let message = format!(
                "the value kept in `{:?}` cannot be sent in a header field",
                credential.value.value
            );
            let help = "it may hold visible ASCII characters and spaces, and no line breaks";
            found.push(Diagnostic::at(file, &credential.value, message).help(help));
        }
        Ok(_) => {}
    }
}

fn field_name(name: &str, file: &SourceFile, place: &[&str], found: &mut Vec<Diagnostic>) {
    match HeaderName::from_bytes(name.as_bytes()) {
        Err(_) => {
            let diagnostic = Diagnostic::at_path(file, place, format!("`{name}` is not the name of a header field"));
            found.push(diagnostic.help("write a name such as `Authorization` or `X-Api-Key`"));
        }
        Ok(name) if RESERVED_FIELDS.contains(&name.as_str()) => {
            let diagnostic =
                Diagnostic::at_path(file, place, format!("the header field `{name}` is the gateway's own"));
            found.push(diagnostic.help("HTTP gives it a meaning for one connection; choose another"));
        }
        Ok(_) => {}
    }
}
