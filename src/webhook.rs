//! Standard Webhooks (<https://www.standardwebhooks.com>): how messages to and from other systems are signed.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderName;

/// The message's id: repeats have the same.
pub static ID: HeaderName = HeaderName::from_static("webhook-id");
/// When it was signed, in seconds since 1970.
pub static TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Signatures of id, time and body, one per secret, separated by spaces.
pub static SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// What a symmetric signature begins with.
const VERSION: &str = "v1,";

/// A shared secret.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// A phrase that says what a secret looks like; never the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = text
            .strip_prefix(SECRET_PREFIX)
            .and_then(|text| STANDARD.decode(text).ok())
            .filter(|bytes| (24..=64).contains(&bytes.len()));
        bytes
            .map(|bytes| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
            .ok_or_else(|| {
                format!("the secret is not one of Standard Webhooks: `{SECRET_PREFIX}` and 24 to 64 bytes in base64")
            })
    }

    /// The value of `webhook-signature` for a message; `timestamp` as it stands in `webhook-timestamp`.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("{VERSION}{}", STANDARD.encode(self.tag(id, timestamp, body)))
    }

    /// Whether one of the signatures in a field is of this key. In constant time for each.
    pub fn verifies(&self, signatures: &str, id: &str, timestamp: &str, body: &[u8]) -> bool {
        let tag = self.tag(id, timestamp, body);
        signatures
            .split(' ')
            .filter_map(|one| STANDARD.decode(one.strip_prefix(VERSION)?).ok())
            .any(|signature| aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), &signature).is_ok())
    }

    fn tag(&self, id: &str, timestamp: &str, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        context.sign()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let other = Key::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let signature = key.sign("msg_1", "1614265330", b"{}");
        let several = format!("v1a,AAAA {} {signature}", other.sign("msg_1", "1614265330", b"{}"));
        assert!(key.verifies(&several, "msg_1", "1614265330", b"{}"));
        assert!(other.verifies(&several, "msg_1", "1614265330", b"{}"));
        assert!(!other.verifies(&signature, "msg_1", "1614265330", b"{}"));
        for (id, timestamp, body) in [
            ("msg_2", "1614265330", "{}"),
            ("msg_1", "1614265331", "{}"),
            ("msg_1", "1614265330", "[]"),
        ] {
            assert!(!key.verifies(&signature, id, timestamp, body.as_bytes()));
        }
        assert!(!key.verifies("", "msg_1", "1614265330", b"{}"));
        assert!(!key.verifies("v1,", "msg_1", "1614265330", b"{}"));
    }

    #[test]
    fn a_secret_that_is_none_is_refused_unseen() {
        for wrong in ["hunter2hunter2hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_*"] {
            let message = Key::parse(wrong).unwrap_err();
            assert!(message.contains("whsec_") && !message.contains("hunter2"), "{message}");
        }
    }
}
