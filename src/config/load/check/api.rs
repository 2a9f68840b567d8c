//! APIs: their paths, and what they ask of issuers, channels and upstreams.

use std::collections::{BTreeSet, HashMap};

use super::{Draft, Loaded, candidate, life};
use crate::config::{ApiSpec, AuthenticateSpec, Diagnostic, FallbackSpec, PlacesSpec, SourceFile, yaml};

/// First segment of paths that the gateway answers itself.
const RESERVED_SEGMENT: &str = "status";

pub(super) fn apis(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<&str, &str> = HashMap::new();
    for Loaded { spec, file } in &draft.apis {
        draft.refer("Upstream", file, &spec.upstream.name, found);
        if let Err((message, help)) = path(&spec.path.value) {
            found.push(Diagnostic::at(file, &spec.path, message).help(help));
        } else if let Some(other) = first.insert(&spec.path.value, &spec.name.value) {
            let diagnostic = Diagnostic::at(file, &spec.path, format!("a second API at `{}`", spec.path.value));
            found.push(diagnostic.help(format!("`{other}` is there already; give each API a path of its own")));
        }
        contract(spec, file, found);
        versions(spec, file, found);
        life::versions(draft, spec, file, found);
        candidate::candidate(draft, spec, file, found);
        validate(draft, spec, file, found);
        upstream_path(spec, file, found);
        authenticate(draft, spec, file, found);
        scopes(draft, spec, file, found);
        idempotency(spec, file, found);
        if let Some(fallback) = &spec.fallback {
            check_fallback(spec, fallback, file, found);
        }
        if let Some(transaction) = &spec.transaction {
            place(&transaction.key, file, &["transaction", "key"], found);
        }
    }
}

/// Checks a path prefix: what is wrong, and what instead.
fn path(path: &str) -> Result<(), (String, &'static str)> {
    let Some(below) = path.strip_prefix('/') else {
        return Err((
            format!("the path `{path}` does not start with `/`"),
            "write `/system/erp/{version}`",
        ));
    };
    let segments: Vec<&str> = below.split('/').collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        let help = "write it without `//` and without a final `/`; an API needs a prefix of its own";
        return Err((format!("the path `{path}` has an empty segment"), help));
    }
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err((
            format!("the path `{path}` is not normalised"),
            "write it without `.` and `..`",
        ));
    }
    for segment in &segments {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c);
        if *segment != "{version}" && !segment.chars().all(is_plain) {
            let (message, help) = if segment.contains(['{', '}']) {
                let help = "the only placeholder is `{version}`, as a whole segment";
                (format!("the segment `{segment}` is not `{{version}}`"), help)
            } else {
                let help = "write letters, digits and `-`, `.`, `_`, `~`; no query, no escapes";
                (
                    format!("the segment `{segment}` has a character that a path prefix cannot have"),
                    help,
                )
            };
            return Err((message, help));
        }
    }
    if segments.iter().filter(|segment| **segment == "{version}").count() > 1 {
        return Err(("the path names `{version}` twice".to_owned(), "keep one of them"));
    }
    match segments.first() {
        Some(&RESERVED_SEGMENT) => Err((
            "paths below `/status` are the gateway's own".to_owned(),
            "channels ask there for the state of queued requests; choose another prefix",
        )),
        Some(&"{version}") => Err((
            "a path that starts with `{version}` would cover `/status`".to_owned(),
            "put a fixed segment before it: `/erp/{version}`",
        )),
        _ => Ok(()),
    }
}

fn contract(spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    match (&spec.contract, &spec.upstream.version) {
        (Some(contract), None) => {
            let message = format!("contract `{}` without the version the upstream speaks", contract.value);
            let help = "add `version` to `upstream`: `upstream: { name: erp, version: v3 }`";
            found.push(Diagnostic::at(file, contract, message).help(help));
        }
        (None, Some(version)) => {
            let message = format!("the upstream speaks version `{}` of no contract", version.value);
            let help = "add `contract`, or remove `version` to pass everything through";
            found.push(Diagnostic::at(file, version, message).help(help));
        }
        (None, None) => without_contract(spec, file, found),
        (Some(_), Some(_)) => {}
    }
    if let Some(version) = spec
        .upstream
        .version
        .as_ref()
        .filter(|version| version.value.is_empty())
    {
        found.push(Diagnostic::at(file, version, "the version is empty").help("write the name of its folder: `v3`"));
    }
}

/// Versions and operations are a contract's.
fn without_contract(spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let help = "add `contract`, or remove this";
    if spec.is_versioned_by_path() {
        let diagnostic = Diagnostic::at(file, &spec.path, "`{version}` in the path of an API without a contract");
        found.push(diagnostic.help(help));
    }
    if let Some(version) = spec.versions.0.first() {
        found.push(Diagnostic::at(file, &version.name, "`versions` of an API without a contract").help(help));
    }
    if let Some(version) = &spec.default_version {
        found.push(Diagnostic::at(file, version, "`defaultVersion` of an API without a contract").help(help));
    }
    if let Some(operation) = spec.fallback.as_ref().and_then(|fallback| fallback.operations.first()) {
        found.push(Diagnostic::at(file, operation, "`fallback` of an API without a contract").help(help));
    }
}

fn versions(spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    if let (Some(version), true) = (&spec.default_version, spec.is_versioned_by_path()) {
        let message = "`defaultVersion`, but the path names the version of every request";
        found.push(Diagnostic::at(file, version, message).help("remove it, or take `{version}` out of the path"));
    }
}

fn validate(draft: &Draft, spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let known = draft.known("Channel");
    for name in spec.validate.channels.keys() {
        if name != "anonymous" && !known.contains(name.as_str()) && !draft.has_unknown {
            let message = format!("there is no Channel named `{name}`");
            let help = yaml::instead(name, known.iter().copied());
            found.push(Diagnostic::at_path(file, &["validate", "channels", name], message).help(help));
        }
    }
}

fn upstream_path(spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let path = &spec.upstream.path;
    if !path.is_empty() && (!path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '{', ' '])) {
        let diagnostic = Diagnostic::at_path(file, &["upstream", "path"], format!("`{path}` is not a path prefix"));
        found.push(diagnostic.help("write a path such as `/api`: `/` first, none at the end, no query"));
    }
}

fn authenticate(draft: &Draft, spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    if spec.authenticate.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["authenticate"], "nothing authenticates callers");
        found.push(diagnostic.help("name `jwt`, `apiKey` or `signature`; an API that is open to all says `anonymous`"));
    }
    let has_keys = || draft.channels.iter().any(|channel| !channel.spec.api_keys.is_empty());
    let has_signatures = || draft.channels.iter().any(|channel| !channel.spec.signatures.is_empty());
    for (position, way) in spec.authenticate.iter().enumerate() {
        let position = position.to_string();
        let place = ["authenticate", &position];
        match way {
            AuthenticateSpec::Jwt if draft.known("Issuer").is_empty() && !draft.has_broken("Issuer") => {
                let diagnostic = Diagnostic::at_path(file, &place, "`jwt` without any Issuer: no token is accepted");
                found.push(diagnostic.help("add a file of kind `Issuer`"));
            }
            AuthenticateSpec::ApiKey if !has_keys() && !draft.has_broken("Channel") => {
                let diagnostic = Diagnostic::at_path(file, &place, "`apiKey`, but no Channel has API keys");
                found.push(diagnostic.help("add `apiKeys` to a file of kind `Channel`").warning());
            }
            AuthenticateSpec::Signature if !has_signatures() && !draft.has_broken("Channel") => {
                let diagnostic = Diagnostic::at_path(file, &place, "`signature`, but no Channel has signatures");
                found.push(
                    diagnostic
                        .help("add `signatures` to a file of kind `Channel`")
                        .warning(),
                );
            }
            AuthenticateSpec::Jwt
            | AuthenticateSpec::ApiKey
            | AuthenticateSpec::Signature
            | AuthenticateSpec::Anonymous => {}
        }
    }
}

fn scopes(draft: &Draft, spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    if draft.has_broken("Channel") {
        return;
    }
    let granted: BTreeSet<&str> = draft
        .channels
        .iter()
        .flat_map(|channel| &channel.spec.scopes)
        .map(String::as_str)
        .collect();
    for (operation, asked) in &spec.authorize.scopes {
        for (position, scope) in asked.value.iter().enumerate() {
            if !granted.contains(scope.as_str()) {
                let place = ["authorize", "scopes", operation, &position.to_string()];
                let message = format!("no Channel has the scope `{scope}`, so nobody may call `{operation}`");
                let help = yaml::nearest(scope, granted.iter().copied()).map_or_else(
                    || "add it to the `scopes` of a Channel".to_owned(),
                    |candidate| format!("did you mean `{candidate}`?"),
                );
                found.push(Diagnostic::at_path(file, &place, message).help(help).warning());
            }
        }
    }
}

fn check_fallback(spec: &ApiSpec, fallback: &FallbackSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    if fallback.operations.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["fallback", "operations"], "`fallback` without operations");
        found.push(diagnostic.help("name the operations that may be delivered later, or remove `fallback`"));
    }
    for operation in &fallback.operations {
        if !spec
            .idempotency
            .required
            .iter()
            .any(|required| required.value == operation.value)
        {
            let message = format!("`{}` may be queued, but needs no idempotency key", operation.value);
            let help = format!("add it to `idempotency.required`: `required: [{}]`", operation.value);
            found.push(Diagnostic::at(file, operation, message).help(help));
        }
    }
    place(&fallback.order_by, file, &["fallback", "orderBy"], found);
    for (name, lookup) in &fallback.lookup {
        if !fallback.operations.iter().any(|operation| operation.value == *name) {
            let message = format!("`{name}` has a lookup, but is not one of `fallback.operations`");
            found.push(Diagnostic::at(file, lookup, message).help("add it there, or remove the lookup"));
        }
    }
    if let Some(lane) = &fallback.lane {
        place(&lane.by, file, &["fallback", "lane", "by"], found);
        for (position, value) in lane.bulk.iter().enumerate() {
            if lane.urgent.contains(value) {
                let at = ["fallback", "lane", "bulk", &position.to_string()];
                let diagnostic = Diagnostic::at_path(file, &at, format!("`{value}` is both urgent and bulk"));
                found.push(diagnostic.help("keep it in one of the two"));
            }
        }
    }
}

fn idempotency(spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let queued = spec.fallback.iter().flat_map(|fallback| &fallback.operations);
    let queued: Vec<&str> = queued.map(|operation| operation.value.as_str()).collect();
    for operation in &spec.idempotency.durable {
        if !queued.contains(&operation.value.as_str()) {
            let message = format!("`{}` is durable, but may not be queued", operation.value);
            let help = "add it to `fallback.operations`: what is in doubt after a crash is resolved there";
            found.push(Diagnostic::at(file, operation, message).help(help));
        }
    }
    if let Some(derive) = &spec.idempotency.derive {
        let hashes_are_pointers = |text: &String| text.strip_prefix("hash:").unwrap_or(text).to_owned();
        let places = match derive {
            PlacesSpec::Everywhere(places) => PlacesSpec::Everywhere(places.iter().map(hashes_are_pointers).collect()),
            PlacesSpec::ByVersion(places) => {
                let places = places.iter();
                PlacesSpec::ByVersion(
                    places
                        .map(|(version, places)| (version.clone(), places.iter().map(hashes_are_pointers).collect()))
                        .collect(),
                )
            }
        };
        place(&places, file, &["idempotency", "derive"], found);
    }
}

/// Checks where a value is said to be found in a request.
fn place(by: &PlacesSpec, file: &SourceFile, at: &[&str], found: &mut Vec<Diagnostic>) {
    let mut check = |text: &str, at: &[&str]| {
        if let Err(message) = well_formed(text) {
            let help = "write a JSON Pointer such as `/orderNumber`, or `header:NAME`, or `path:NAME`";
            found.push(Diagnostic::at_path(file, at, message).help(help));
        }
    };
    match by {
        PlacesSpec::Everywhere(places) if places.is_empty() => {
            found.push(
                Diagnostic::at_path(file, at, "no place is named").help("write `/orderNumber`, or a list of places"),
            );
        }
        PlacesSpec::Everywhere(places) => places.iter().for_each(|place| check(place, at)),
        PlacesSpec::ByVersion(places) if places.is_empty() => {
            found.push(
                Diagnostic::at_path(file, at, "no version is named").help("write `{v1: /orderNo, v2: /orderId}`"),
            );
        }
        PlacesSpec::ByVersion(places) => {
            for (version, places) in places {
                for place in places {
                    check(place, &[at, &[version.as_str()]].concat());
                }
            }
        }
    }
}

fn well_formed(text: &str) -> Result<(), String> {
    if let Some(name) = text.strip_prefix("header:") {
        return match http::HeaderName::from_bytes(name.as_bytes()) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("`{name}` is not the name of a header field")),
        };
    }
    if let Some(name) = text.strip_prefix("path:") {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        return if !name.is_empty() && name.chars().all(is_plain) {
            Ok(())
        } else {
            Err(format!("`{name}` is not the name of a path parameter"))
        };
    }
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not a place in a request"));
    }
    // RFC 6901: `~` is only written as `~0` or `~1`.
    let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if is_escaped {
        Ok(())
    } else {
        Err(format!(
            "`{text}` is not a JSON Pointer: `~` is written `~0`, `/` in a name `~1`"
        ))
    }
}
