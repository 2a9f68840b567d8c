//! What is wrong with policies although each file by itself is well formed. Nothing here needs a contract.

mod api;
mod candidate;
mod life;
mod party;

use std::collections::{BTreeSet, HashMap};

use super::{Draft, Loaded};
use crate::config::{Diagnostic, GatewaySpec, Size, SourceFile, Spanned, resolve, yaml};

/// Checks all files against each other.
pub(super) fn all(draft: &Draft) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    names(
        "Issuer",
        draft.issuers.iter().map(|one| (&one.file, &one.spec.name)),
        &mut found,
    );
    names(
        "Upstream",
        draft.upstreams.iter().map(|one| (&one.file, &one.spec.name)),
        &mut found,
    );
    names(
        "Channel",
        draft.channels.iter().map(|one| (&one.file, &one.spec.name)),
        &mut found,
    );
    names(
        "Api",
        draft.apis.iter().map(|one| (&one.file, &one.spec.name)),
        &mut found,
    );
    if let Some(gateway) = &draft.gateway {
        check_gateway(draft, gateway, &mut found);
    }
    party::issuers(draft, &mut found);
    party::channels(draft, &mut found);
    party::upstreams(draft, &mut found);
    api::apis(draft, &mut found);
    found
}

impl Draft {
    /// Names of a kind, those of broken files included.
    fn known<'a>(&'a self, kind: &'a str) -> BTreeSet<&'a str> {
        let whole: Vec<&str> = match kind {
            "Issuer" => self.issuers.iter().map(|one| one.spec.name.value.as_str()).collect(),
            "Upstream" => self.upstreams.iter().map(|one| one.spec.name.value.as_str()).collect(),
            "Channel" => self.channels.iter().map(|one| one.spec.name.value.as_str()).collect(),
            _ => self.apis.iter().map(|one| one.spec.name.value.as_str()).collect(),
        };
        let broken = self
            .broken
            .iter()
            .filter(|(of, _)| of == kind)
            .map(|(_, name)| name.as_str());
        whole.into_iter().chain(broken).collect()
    }

    /// A file of this kind could not be read, so nothing is known about what none of them has.
    fn has_broken(&self, kind: &str) -> bool {
        self.has_unknown || self.broken.iter().any(|(of, _)| of == kind)
    }

    /// A reference to a file that does not exist.
    fn refer(&self, kind: &str, file: &SourceFile, name: &Spanned<String>, found: &mut Vec<Diagnostic>) {
        let known = self.known(kind);
        if self.has_unknown || known.contains(name.value.as_str()) {
            return;
        }
        let diagnostic = Diagnostic::at(file, name, format!("there is no {kind} named `{}`", name.value));
        found.push(diagnostic.help(if known.is_empty() {
            format!("add a file of kind `{kind}`")
        } else {
            yaml::instead(&name.value, known)
        }));
    }
}

/// Names are labels of metrics and fields of logs, and parts of paths in the admin API.
fn names<'a>(
    kind: &str,
    all: impl Iterator<Item = (&'a SourceFile, &'a Spanned<String>)>,
    found: &mut Vec<Diagnostic>,
) {
    let mut first: HashMap<&str, &SourceFile> = HashMap::new();
    for (file, name) in all {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.value.is_empty() || name.value.len() > 100 || !name.value.chars().all(is_plain) {
            let diagnostic = Diagnostic::at(file, name, format!("`{}` cannot be a name", name.value));
            found.push(diagnostic.help("write 1 to 100 letters, digits, `-`, `_` or `.`"));
        } else if let Some(other) = first.insert(&name.value, file) {
            let diagnostic = Diagnostic::at(file, name, format!("a second {kind} named `{}`", name.value));
            found.push(diagnostic.help(format!(
                "the first one is in {}; names are unique",
                other.path.display()
            )));
        }
    }
}

fn check_gateway(draft: &Draft, gateway: &Loaded<GatewaySpec>, found: &mut Vec<Diagnostic>) {
    let Loaded { spec, file } = gateway;
    if !spec.admin.address.ip().is_loopback() {
        let message = format!("the admin address `{}` is not a loopback address", spec.admin.address);
        let help = "write 127.0.0.1:PORT or \"[::1]:PORT\"; the admin listener has no authentication of its own";
        found.push(Diagnostic::at_path(file, &["admin", "address"], message).help(help));
    }
    if spec.listeners.is_empty() {
        let diagnostic = Diagnostic::at_path(file, &["listeners"], "there is no listener");
        found.push(diagnostic.help("name at least one address, or leave `listeners` out for 127.0.0.1:8080"));
    }
    let mut addresses = vec![spec.admin.address];
    for (position, listener) in spec.listeners.iter().enumerate() {
        let position = position.to_string();
        if listener.address.port() != 0 && addresses.contains(&listener.address) {
            let message = format!("the address `{}` is used twice", listener.address);
            let help = "each listener, and the admin listener, has an address of its own";
            found.push(Diagnostic::at_path(file, &["listeners", &position, "address"], message).help(help));
        }
        addresses.push(listener.address);
        if let Some(tls) = &listener.tls {
            let path = ["listeners", &position, "tls", "certificate"];
            readable(draft, file, &tls.certificate, &path, found);
            if let Err(cause) = resolve(&tls.key, &draft.folder) {
                found.push(Diagnostic::at_path(
                    file,
                    &["listeners", &position, "tls", "key"],
                    cause,
                ));
            }
        }
    }
    let Size(bytes) = spec.limits.header_bytes;
    if !(8 << 10..=1 << 20).contains(&bytes) {
        let diagnostic = Diagnostic::at_path(file, &["limits", "headerBytes"], "`headerBytes` is out of bounds");
        found.push(diagnostic.help("write a size from 8KiB to 1MiB"));
    }
    if let Err((place, wrong)) = spec.database(&draft.folder) {
        found.push(Diagnostic::at_path(file, place, wrong).concealed());
    }
    let lease = spec.queue.lease.0;
    for Loaded { spec: upstream, .. } in &draft.upstreams {
        // As long as an attempt may take before it is cut.
        if upstream.timeouts.total.0 > lease.mul_f64(0.9) {
            let name = &upstream.name.value;
            let message = format!("a lease of {lease:?} is too short for upstream `{name}`");
            let diagnostic = Diagnostic::at_path(file, &["queue", "lease"], message);
            let total = upstream.timeouts.total.0;
            found.push(diagnostic.help(format!(
                "its `total` timeout is {total:?}, and an attempt has to end a tenth of a lease before the lease does"
            )));
        }
    }
    if let Some(traces) = &spec.telemetry.traces
        && let Err(wrong) = http_url(&traces.endpoint)
    {
        let diagnostic = Diagnostic::at_path(file, &["telemetry", "traces", "endpoint"], wrong);
        found.push(
            diagnostic
                .help("write an address such as http://127.0.0.1:4318/v1/traces")
                .concealed(),
        );
    }
}

/// A file that a policy names by its path can be opened.
fn readable(draft: &Draft, file: &SourceFile, path: &std::path::Path, place: &[&str], found: &mut Vec<Diagnostic>) {
    if let Err(cause) = std::fs::File::open(draft.folder.join(path)) {
        let message = format!("the file `{}` cannot be read: {cause}", path.display());
        let help = "a relative path starts at the folder of `gateway.yaml`";
        found.push(Diagnostic::at_path(file, place, message).help(help));
    }
}

/// A base URL without credentials or query. What is wrong is said without the URL: it may hold a password.
fn http_url(text: &str) -> Result<http::Uri, &'static str> {
    if text.contains('#') {
        return Err("the URL has a fragment");
    }
    let url: http::Uri = text.parse().map_err(|_| "this is not a URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("this is not an `http://` or `https://` URL");
    }
    let authority = url.authority().ok_or("the URL names no host")?;
    if authority.as_str().contains('@') {
        return Err("the URL carries a user name or password");
    }
    if authority.host().is_empty() {
        return Err("the URL names no host");
    }
    let after_host = &authority.as_str()[authority.host().len()..];
    if !after_host.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("the URL's port is not a number from 1 to 65535");
    }
    if url.query().is_some() {
        return Err("the URL has a query");
    }
    Ok(url)
}
