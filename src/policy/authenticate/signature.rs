//! Requests signed with a secret that both sides know: Standard Webhooks, and what Shopify, Stripe, GitHub and others do.

use std::{path::Path, time::Duration};

use aws_lc_rs::{
    digest::{Context, SHA256},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts};
use jiff::Timestamp;

use crate::{
    config::{
        HmacAlgorithmSpec, HmacEncodingSpec, HmacSpec, Secret, SignaturePart, SignatureSpec, SignedPart, Spanned,
        resolve,
    },
    telemetry::hex,
    upstream::headers::IDEMPOTENCY_KEY,
    webhook,
};

/// Signatures in one field that are looked at; more than one while a secret is changed.
const MOST_SIGNATURES: usize = 8;

/// One way in which a channel signs.
pub(super) struct Signature {
    tolerance: Duration,
    scheme: Scheme,
}

enum Scheme {
    /// Standard Webhooks.
    Standard(Vec<webhook::Key>),
    /// The sender's own.
    Hmac(Box<Hmac>),
}

struct Hmac {
    keys: Vec<hmac::Key>,
    field: HeaderName,
    timestamp: Option<HeaderName>,
    id: Option<HeaderName>,
    spec: HmacSpec,
}

/// A request whose signature is genuine.
struct Genuine<'a> {
    /// When it was signed, where it says so.
    timestamp: Option<&'a str>,
    /// By which its repeats are known, where it has one.
    id: Option<&'a str>,
}

/// Why a signature does not count: a phrase for the sender.
type Wrong = &'static str;

const FORGED: Wrong = "the signature is not valid";

impl Signature {
    /// Reads the secrets.
    ///
    /// # Errors
    /// The secret that cannot be read or used, and why.
    pub(super) fn compile<'s>(spec: &'s SignatureSpec, folder: &Path) -> Result<Self, (&'s Spanned<Secret>, String)> {
        let secrets = spec.secrets.iter().map(|secret| {
            let text = resolve(&secret.value, folder).map_err(|wrong| (secret, wrong))?;
            Ok((secret, text))
        });
        let scheme = match &spec.hmac {
            None => Scheme::Standard(
                secrets
                    .map(|read| {
                        let (secret, text) = read?;
                        webhook::Key::parse(&text).map_err(|wrong| (secret, wrong))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Some(own) => {
                let key = |text: &str| hmac::Key::new(algorithm(own.algorithm), text.as_bytes());
                let keys = secrets.map(|read| Ok(key(&read?.1))).collect::<Result<_, _>>()?;
                let own = Hmac::compile(own, keys).map_err(|wrong| (&spec.secrets[0], wrong))?;
                Scheme::Hmac(Box::new(own))
            }
        };
        Ok(Self {
            tolerance: spec.tolerance.0,
            scheme,
        })
    }

    fn field(&self) -> &HeaderName {
        match &self.scheme {
            Scheme::Standard(_) => &webhook::SIGNATURE,
            Scheme::Hmac(own) => &own.field,
        }
    }

    /// Whether a request has a signature of this kind.
    pub(super) fn is_presented(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(self.field())
    }

    /// Judges a request; the key by which its repeats are known.
    pub(super) fn verify(&self, parts: &Parts, body: &[u8], now: Timestamp) -> Result<String, Wrong> {
        let genuine = match &self.scheme {
            Scheme::Standard(keys) => standard(keys, &parts.headers, body)?,
            Scheme::Hmac(own) => own.verify(parts, body)?,
        };
        if let Some(timestamp) = genuine.timestamp {
            let is_near = timestamp
                .parse()
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok())
                .is_some_and(|signed| now.duration_since(signed).unsigned_abs() <= self.tolerance);
            if !is_near {
                return Err("the signature is too old, or from the future");
            }
        }
        Ok(match genuine.id {
            Some(id) => id.to_owned(),
            // Who sends the same content again sends the same message: signatures and times may differ.
            None => content_key(&parts.method, parts.uri.path(), body),
        })
    }

    /// Makes the request one of the gateway's own: known by its key, and without a signature, which is for the gateway.
    pub(super) fn accept(&self, headers: &mut HeaderMap, key: &str) {
        headers.remove(self.field());
        // The sender's own key is not signed: who replays a request could write another one.
        headers.remove(IDEMPOTENCY_KEY);
        if let Ok(key) = HeaderValue::from_str(key) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
    }
}

/// A request signed as Standard Webhooks says.
fn standard<'a>(keys: &[webhook::Key], headers: &'a HeaderMap, body: &[u8]) -> Result<Genuine<'a>, Wrong> {
    let id = only(headers, &webhook::ID)?.ok_or("the webhook-id field is missing")?;
    let timestamp = only(headers, &webhook::TIMESTAMP)?.ok_or("the webhook-timestamp field is missing")?;
    let signatures = only(headers, &webhook::SIGNATURE)?.ok_or("the webhook-signature field is missing")?;
    if !keys.iter().any(|key| key.verifies(signatures, id, timestamp, body)) {
        return Err(FORGED);
    }
    Ok(Genuine {
        timestamp: Some(timestamp),
        id: Some(id),
    })
}

impl Hmac {
    fn compile(spec: &HmacSpec, keys: Vec<hmac::Key>) -> Result<Self, String> {
        let name =
            |text: &str| HeaderName::try_from(text).map_err(|_| format!("`{text}` is not the name of a header field"));
        Ok(Self {
            keys,
            field: name(&spec.header)?,
            timestamp: spec.timestamp.as_deref().map(name).transpose()?,
            id: spec.id.as_deref().map(name).transpose()?,
            spec: spec.clone(),
        })
    }

    fn verify<'a>(&self, parts: &'a Parts, body: &[u8]) -> Result<Genuine<'a>, Wrong> {
        let headers = &parts.headers;
        let field = only(headers, &self.field)?.ok_or("a signature is needed")?;
        let mut timestamp = match &self.timestamp {
            Some(name) => only(headers, name)?,
            None => None,
        };
        let id = match &self.id {
            Some(name) => Some(only(headers, name)?.ok_or("the field with the message's id is missing")?),
            None => None,
        };
        let mut signatures = Vec::new();
        for part in field.split(',').map(str::trim) {
            for (start, what) in &self.spec.format.0 {
                match (part.strip_prefix(start.as_str()), what) {
                    (Some(text), SignaturePart::Signature) if signatures.len() < MOST_SIGNATURES => {
                        signatures.extend(decode(self.spec.encoding, text));
                    }
                    (Some(text), SignaturePart::Timestamp) => timestamp = Some(text),
                    _ => {}
                }
            }
        }
        if self.spec.signs_time() && timestamp.is_none() {
            return Err("the time of signing is missing");
        }
        let is_genuine = self.keys.iter().any(|key| {
            let tag = self.tag(key, timestamp.unwrap_or_default(), parts, body);
            let is_same = |one: &Vec<u8>| aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), one).is_ok();
            signatures.iter().any(is_same)
        });
        if is_genuine {
            Ok(Genuine { timestamp, id })
        } else {
            Err(FORGED)
        }
    }

    fn tag(&self, key: &hmac::Key, timestamp: &str, parts: &Parts, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(key);
        for part in &self.spec.signs.0 {
            context.update(match part {
                SignedPart::Literal(text) => text.as_bytes(),
                SignedPart::Body => body,
                SignedPart::Timestamp => timestamp.as_bytes(),
                SignedPart::Method => parts.method.as_str().as_bytes(),
                SignedPart::Path => parts.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes(),
            });
        }
        context.sign()
    }
}

/// A field that may be given once, as text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Wrong> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() && !text.is_empty() => Ok(Some(text)),
        _ => Err("a field of the signature is empty, not plain text, or given more than once"),
    }
}

fn decode(encoding: HmacEncodingSpec, text: &str) -> Option<Vec<u8>> {
    match encoding {
        HmacEncodingSpec::Base64 => STANDARD.decode(text).ok(),
        HmacEncodingSpec::Hex => {
            let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| {
                (0..text.len())
                    .step_by(2)
                    .filter_map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
                    .collect()
            })
        }
    }
}

fn algorithm(spec: HmacAlgorithmSpec) -> hmac::Algorithm {
    match spec {
        HmacAlgorithmSpec::Sha256 => hmac::HMAC_SHA256,
        HmacAlgorithmSpec::Sha384 => hmac::HMAC_SHA384,
        HmacAlgorithmSpec::Sha512 => hmac::HMAC_SHA512,
    }
}

fn content_key(method: &Method, path: &str, body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    for part in [method.as_str().as_bytes(), b" ", path.as_bytes(), b"\n", body] {
        context.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&context.finish().as_ref()[..16]);
    hex(first, &mut [0; 32]).to_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn signature(secrets: &[&str], rest: &str) -> Signature {
        let folder = tempfile::tempdir().unwrap();
        let written = secrets.iter().enumerate().map(|(number, secret)| {
            std::fs::write(folder.path().join(number.to_string()), secret).unwrap();
            format!("'file:{number}'")
        });
        let written = written.collect::<Vec<_>>().join(", ");
        let spec: SignatureSpec = serde_saphyr::from_str(&format!("secrets: [{written}]\n{rest}")).unwrap();
        Signature::compile(&spec, folder.path())
            .map_err(|(_, wrong)| wrong)
            .unwrap()
    }

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post("/hooks/orders?shop=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn standard_webhooks_are_told_from_forged_old_and_incomplete_ones() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = signature(&["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", secret], "");
        let tag = webhook::Key::parse(secret).unwrap().sign("msg_1", "1614265330", b"{}");
        let mut fields = [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", tag.as_str()),
        ];
        assert_eq!(
            signature.verify(&parts(&fields), b"{}", at(1_614_265_400)),
            Ok("msg_1".into())
        );
        let refused =
            |fields: &[(&str, &str)], body: &[u8], now| signature.verify(&parts(fields), body, at(now)).unwrap_err();
        assert!(refused(&fields, b"{}", 1_614_265_330 + 301).contains("too old"));
        assert!(refused(&fields, b"{}", 1_614_265_330 - 301).contains("future"));
        assert!(refused(&fields, b"[]", 1_614_265_330).contains("not valid"));
        assert!(refused(&fields[1..], b"{}", 1_614_265_330).contains("webhook-id"));
        fields[1].1 = "1614265331";
        assert!(refused(&fields, b"{}", 1_614_265_330).contains("not valid"));
    }

    #[test]
    fn the_form_of_github_is_known_by_its_published_example() {
        let signature = signature(
            &["It's a Secret to Everybody"],
            "hmac: { header: X-Hub-Signature-256, encoding: hex, format: 'sha256={signature}', id: X-GitHub-Delivery }",
        );
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let fields = [("x-hub-signature-256", good), ("x-github-delivery", "72d3162e")];
        assert_eq!(
            signature.verify(&parts(&fields), b"Hello, World!", at(0)).unwrap(),
            "72d3162e"
        );
        for wrong in [&good[..70], "sha256=zz", &good[7..], "sha1=757107ea"] {
            let fields = [("x-hub-signature-256", wrong), ("x-github-delivery", "72d3162e")];
            assert!(
                signature.verify(&parts(&fields), b"Hello, World!", at(0)).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_time_among_the_parts_of_a_field_is_signed_and_judged() {
        let signature = signature(
            &["old", "new"],
            "hmac: { header: Stripe-Signature, encoding: hex, format: 't={timestamp},v1={signature}', \
             signs: '{timestamp}.{body}' }",
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"new");
        let tag = <[u8; 32]>::try_from(hmac::sign(&key, b"1000.{}").as_ref()).unwrap();
        let tag = tag.map(|byte| format!("{byte:02x}")).concat();
        let field = format!("t=1000,v1=00ff,v1={tag},v0=abc");
        let fields = [("stripe-signature", field.as_str())];
        let key = signature.verify(&parts(&fields), b"{}", at(1_010)).unwrap();
        assert_eq!(key.len(), 32, "known by its content: {key}");
        assert!(
            signature
                .verify(&parts(&fields), b"{}", at(2_000))
                .unwrap_err()
                .contains("too old")
        );
        let without = format!("v1={tag}");
        let fields = [("stripe-signature", without.as_str())];
        assert!(
            signature
                .verify(&parts(&fields), b"{}", at(1_010))
                .unwrap_err()
                .contains("time of signing")
        );
    }
}
