//! How a sender signs its requests with a secret that both sides know: webhooks of other systems.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{Secret, Spanned, Time, values::text_value};

/// Requests that are signed with a secret that both sides know.
///
/// Without `hmac` they are signed as [Standard Webhooks](https://www.standardwebhooks.com) says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignatureSpec {
    /// Where the secrets are kept, any one of which counts: two while one takes the other's place. A secret of Standard
    /// Webhooks is written `whsec_` and base64.
    #[schemars(with = "Vec<Secret>", length(min = 1))]
    pub secrets: Vec<Spanned<Secret>>,
    /// How far the time of signing may be from now, either way, where it is signed.
    #[serde(default = "SignatureSpec::default_tolerance")]
    pub tolerance: Time,
    /// How the sender signs, where it is not as Standard Webhooks says.
    #[serde(default)]
    pub hmac: Option<HmacSpec>,
}

impl SignatureSpec {
    fn default_tolerance() -> Time {
        Time(Duration::from_mins(5))
    }
}

/// A sender's own way to sign: an HMAC (RFC 2104) in a header field.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HmacSpec {
    /// The header field with the signature, such as `X-Hub-Signature-256`.
    pub header: String,
    /// The hash function.
    #[serde(default)]
    pub algorithm: HmacAlgorithmSpec,
    /// How the signature is written.
    pub encoding: HmacEncodingSpec,
    /// What the header field looks like: `{signature}`, `sha256={signature}`, `t={timestamp},v1={signature}`. Parts
    /// between commas may come in any order, and more than once.
    #[serde(default)]
    pub format: SignatureFormat,
    /// What is signed: `{body}`, `{timestamp}.{body}`, with `{method}` and `{path}` (the query included).
    #[serde(default)]
    pub signs: SignedText,
    /// The header field with the time of signing in seconds since 1970, where it stands in one of its own.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// The header field by which repeats are known, such as `X-GitHub-Delivery`. Without it, two requests with the same
    /// content are the same request.
    #[serde(default)]
    pub id: Option<String>,
}

/// The hash function of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HmacAlgorithmSpec {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HmacEncodingSpec {
    /// Hexadecimal digits.
    Hex,
    /// Base64 (RFC 4648 §4).
    Base64,
}

/// What a header field with a signature looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFormat(pub Vec<(String, SignaturePart)>);

/// What stands in a part of a header field with a signature, behind a fixed beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePart {
    /// The signature.
    Signature,
    /// The time of signing.
    Timestamp,
}

text_value!(
    SignatureFormat,
    "\\{signature\\}",
    "What the field with the signature looks like: {signature}, sha256={signature} or t={timestamp},v1={signature}."
);

impl FromStr for SignatureFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` does not say where the signature stands; write a form such as `sha256={{signature}}` or \
                 `t={{timestamp}},v1={{signature}}`"
            )
        };
        let parts: Vec<_> = text
            .split(',')
            .map(|part| {
                let (start, name) = part.trim().split_once('{').ok_or_else(wrong)?;
                let what = match name {
                    "signature}" => SignaturePart::Signature,
                    "timestamp}" => SignaturePart::Timestamp,
                    _ => return Err(wrong()),
                };
                Ok((start.to_owned(), what))
            })
            .collect::<Result<_, String>>()?;
        let count = |wanted| parts.iter().filter(|(_, what)| *what == wanted).count();
        // Two parts without a beginning could not be told apart.
        let is_ambiguous = parts.len() > 1 && parts.iter().any(|(start, _)| start.is_empty());
        if count(SignaturePart::Signature) != 1 || count(SignaturePart::Timestamp) > 1 || is_ambiguous {
            return Err(wrong());
        }
        Ok(Self(parts))
    }
}

impl Default for SignatureFormat {
    fn default() -> Self {
        Self(vec![(String::new(), SignaturePart::Signature)])
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedText(pub Vec<SignedPart>);

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// This text.
    Literal(String),
    /// The body, byte by byte.
    Body,
    /// The time of signing, as it was written.
    Timestamp,
    /// The method.
    Method,
    /// Path and query, as they were sent.
    Path,
}

text_value!(
    SignedText,
    "\\{body\\}",
    "What is signed, with {body}, {timestamp}, {method} and {path} in it: {timestamp}.{body}."
);

impl FromStr for SignedText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            if !literal.is_empty() {
                parts.push(SignedPart::Literal(literal.to_owned()));
            }
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            parts.push(match name {
                "body" => SignedPart::Body,
                "timestamp" => SignedPart::Timestamp,
                "method" => SignedPart::Method,
                "path" => SignedPart::Path,
                _ => {
                    return Err(format!(
                        "`{{{name}}}` is nothing that can be signed; known are {{body}}, {{timestamp}}, {{method}} and {{path}}"
                    ));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(SignedPart::Literal(rest.to_owned()));
        }
        if !parts.contains(&SignedPart::Body) {
            return Err(format!("`{text}` leaves the body unsigned; write {{body}} into it"));
        }
        Ok(Self(parts))
    }
}

impl Default for SignedText {
    fn default() -> Self {
        Self(vec![SignedPart::Body])
    }
}

impl HmacSpec {
    /// Whether the time of signing is signed too: what is old can be told.
    pub fn signs_time(&self) -> bool {
        self.signs.0.contains(&SignedPart::Timestamp)
    }

    /// Whether the time of signing is found anywhere.
    pub fn has_time(&self) -> bool {
        self.timestamp.is_some() || self.format.0.iter().any(|(_, what)| *what == SignaturePart::Timestamp)
    }
}

impl fmt::Display for HmacAlgorithmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_known_senders_are_read() {
        let format = |text: &str| text.parse::<SignatureFormat>();
        assert_eq!(format("{signature}"), Ok(SignatureFormat::default()));
        assert_eq!(
            format("t={timestamp},v1={signature}").unwrap().0,
            [
                ("t=".to_owned(), SignaturePart::Timestamp),
                ("v1=".to_owned(), SignaturePart::Signature)
            ]
        );
        for wrong in [
            "",
            "sha256=",
            "{signature},{timestamp}",
            "{body}",
            "a={signature},b={signature}",
            "{signature",
        ] {
            assert!(format(wrong).unwrap_err().contains("{signature}"), "{wrong}");
        }

        let signs = |text: &str| text.parse::<SignedText>();
        assert_eq!(
            signs("v0:{timestamp}:{body}").unwrap().0,
            [
                SignedPart::Literal("v0:".into()),
                SignedPart::Timestamp,
                SignedPart::Literal(":".into()),
                SignedPart::Body
            ]
        );
        assert!(signs("{timestamp}").unwrap_err().contains("leaves the body unsigned"));
        assert!(signs("{bdy}").unwrap_err().contains("`{bdy}`"));
    }
}
