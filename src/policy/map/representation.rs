//! Header fields that speak of a representation's bytes (RFC 9110 §8.8, §13, §14): a translated message has others.

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{contract::Mark, problem::Refusal};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Makes a caller's fields the upstream's, before anything is sent. `body` is the caller's. Whether the body's digest
/// has to be made anew.
///
/// What names a part, a date or a digest of a representation that the upstream does not have is left out: the upstream
/// answers with all of it. Conditions on entity tags are kept, by the upstream's tags.
pub(super) fn request(headers: &mut HeaderMap, mark: &Mark, body: Option<&[u8]>) -> Result<bool, Refusal> {
    // One look at what is there, not a dozen questions for what hardly ever is.
    let is_concerned = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "range"
                | "if-range"
                | "if-modified-since"
                | "accept-encoding"
                | "if-match"
                | "if-none-match"
                | "content-digest"
                | "repr-digest"
                | "want-content-digest"
                | "want-repr-digest"
                | "digest"
                | "want-digest"
                | "content-md5"
                | "signature"
                | "signature-input"
        )
    };
    if !headers.keys().any(is_concerned) {
        return Ok(false);
    }
    if headers.contains_key("signature") || headers.contains_key("signature-input") {
        let detail = "a signed message cannot be translated to another contract version: its signature would not hold";
        return Err(Refusal::BadRequest { detail: detail.into() });
    }
    if let Some(body) = body {
        verify(headers, body).map_err(|detail| Refusal::Malformed { detail, pointer: None })?;
    }
    for name in [
        "range",
        "if-range",
        // A document may have stayed as it was, and its translation not.
        "if-modified-since",
        // What is compressed cannot be read.
        "accept-encoding",
        "want-content-digest",
        "want-repr-digest",
        "want-digest",
    ] {
        headers.remove(name);
    }
    if let Some(list) = condition(headers, &header::IF_MATCH)? {
        let tags = mark.tags(&list).ok_or_else(|| no_tags(&header::IF_MATCH))?;
        if tags.is_empty() {
            return Err(Refusal::PreconditionFailed {
                detail: "If-Match names no entity tag of this contract version as it is translated now: read the \
                         document again"
                    .into(),
            });
        }
        put(headers, header::IF_MATCH, &tags);
    }
    if let Some(list) = condition(headers, &header::IF_NONE_MATCH)? {
        let tags = mark.tags(&list).ok_or_else(|| no_tags(&header::IF_NONE_MATCH))?;
        if tags.is_empty() {
            headers.remove(header::IF_NONE_MATCH);
        } else {
            put(headers, header::IF_NONE_MATCH, &tags);
        }
    }
    Ok(remove_digests(headers))
}

/// Makes an upstream's fields the caller's. `body` is the upstream's. Whether the body's digest has to be made anew; the
/// error is a phrase.
pub(super) fn response(headers: &mut HeaderMap, mark: &Mark, body: &[u8]) -> Result<bool, String> {
    let is_concerned = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "etag"
                | "accept-ranges"
                | "content-range"
                | "content-digest"
                | "repr-digest"
                | "digest"
                | "content-md5"
                | "signature"
                | "signature-input"
        )
    };
    if !headers.keys().any(is_concerned) {
        return Ok(false);
    }
    verify(headers, body)?;
    if let Some(tag) = headers.remove(header::ETAG)
        && let Some(marked) = tag.to_str().ok().and_then(|tag| mark.tag(tag))
        && let Ok(marked) = HeaderValue::from_str(&marked)
    {
        headers.insert(header::ETAG, marked);
    }
    for name in ["accept-ranges", "signature", "signature-input"] {
        headers.remove(name);
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err("a part of a document, which cannot be translated".to_owned());
    }
    Ok(remove_digests(headers))
}

/// Says what a body's digest is (RFC 9530 §2).
pub(super) fn digest(headers: &mut HeaderMap, body: &[u8]) {
    let digest = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body));
    if let Ok(value) = HeaderValue::try_from(format!("sha-256=:{digest}:")) {
        headers.insert(CONTENT_DIGEST, value);
    }
}

/// What was said of bytes that are not sent. Whether anything was.
fn remove_digests(headers: &mut HeaderMap) -> bool {
    let before = headers.len();
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        headers.remove(name);
    }
    headers.len() < before
}

/// A digest that is not the body's must not be replaced by one that is.
fn verify(headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let values = headers
        .get_all(CONTENT_DIGEST)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for member in values.flat_map(|value| value.split(',')) {
        let Some((name, given)) = member.trim().split_once('=') else {
            continue;
        };
        let algorithm = match name {
            "sha-256" => &digest::SHA256,
            "sha-512" => &digest::SHA512,
            // Others are not known, and say nothing (RFC 9530 §5).
            _ => continue,
        };
        let given = given.split(';').next().unwrap_or_default().trim().trim_matches(':');
        if BASE64_STANDARD.decode(given).ok().as_deref() != Some(digest::digest(algorithm, body).as_ref()) {
            return Err(format!("the Content-Digest ({name}) is not that of the body"));
        }
    }
    Ok(())
}

/// The tags of a condition; `None` if there is none, or it is `*`, which is true of every representation.
fn condition(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    let mut list = String::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| no_tags(name))?;
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(text);
    }
    Ok(Some(list).filter(|list| !list.is_empty() && list.trim() != "*"))
}

fn no_tags(name: &HeaderName) -> Refusal {
    let shown = if *name == header::IF_MATCH {
        "If-Match"
    } else {
        "If-None-Match"
    };
    Refusal::BadRequest {
        detail: format!("{shown} is no list of entity tags: write \"…\", as ETag gave it").into(),
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, tags: &[String]) {
    // They came as a header field and only became shorter.
    if let Ok(value) = HeaderValue::from_str(&tags.join(", ")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            label: "orders@v1->v3#r1".into(),
            suffix: ";v1;r1".into(),
        }
    }

    fn fields(given: &[(&'static str, &str)]) -> HeaderMap {
        let fields = given
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        fields.collect()
    }

    fn sent(given: &[(&'static str, &str)], body: &str) -> Result<(HeaderMap, bool), Refusal> {
        let mut headers = fields(given);
        let is_digested = request(&mut headers, &mark(), Some(body.as_bytes()))?;
        Ok((headers, is_digested))
    }

    #[test]
    fn conditions_are_on_the_upstream_s_tags() {
        let (headers, _) = sent(
            &[
                ("if-match", "\"a;v1;r1\", \"b;v2;r1\""),
                ("if-none-match", "\"c;v2;r1\""),
            ],
            "",
        )
        .unwrap();
        assert_eq!(headers, fields(&[("if-match", "\"a\"")]));
        let (headers, _) = sent(&[("if-none-match", "*"), ("if-match", "*")], "").unwrap();
        assert_eq!(headers, fields(&[("if-none-match", "*"), ("if-match", "*")]));
    }

    #[test]
    fn a_tag_of_another_version_or_revision_is_no_match() {
        for tag in ["\"a;v2;r1\"", "\"a;v1;r2\"", "\"a\""] {
            assert!(
                matches!(sent(&[("if-match", tag)], ""), Err(Refusal::PreconditionFailed { .. })),
                "{tag}"
            );
            assert_eq!(sent(&[("if-none-match", tag)], "").unwrap().0, HeaderMap::new());
        }
    }

    #[test]
    fn what_is_no_tag_and_what_is_signed_is_refused() {
        for field in [
            ("if-match", "a"),
            ("if-none-match", "\"a"),
            ("signature", "x=:eA==:"),
            ("signature-input", "x=()"),
        ] {
            assert!(
                matches!(sent(&[field], ""), Err(Refusal::BadRequest { .. })),
                "{field:?}"
            );
        }
    }

    #[test]
    fn parts_dates_and_codings_are_not_asked_for() {
        let given = [
            ("range", "bytes=0-9"),
            ("if-range", "\"a\""),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("accept-encoding", "gzip"),
            ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ];
        let (headers, _) = sent(&given, "").unwrap();
        assert_eq!(
            headers,
            fields(&[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")])
        );
    }

    #[test]
    fn a_digest_is_held_against_the_body_and_made_anew() {
        let right = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
        let (headers, is_digested) = sent(&[("content-digest", right), ("content-md5", "x")], "hello").unwrap();
        assert!(is_digested && headers.is_empty());
        let wrong = sent(&[("content-digest", right)], "hello!");
        assert!(matches!(wrong, Err(Refusal::Malformed { .. })));
        let mut headers = HeaderMap::new();
        digest(&mut headers, b"hello");
        assert_eq!(headers[CONTENT_DIGEST], right);
    }

    #[test]
    fn an_answer_gets_the_caller_s_tag_and_loses_what_does_not_hold() {
        let mut headers = fields(&[
            ("etag", "W/\"a\""),
            ("accept-ranges", "bytes"),
            ("signature", "x"),
            ("signature-input", "y"),
            ("repr-digest", "z"),
            ("last-modified", "t"),
        ]);
        assert_eq!(response(&mut headers, &mark(), b"{}"), Ok(true));
        assert_eq!(headers, fields(&[("etag", "W/\"a;v1;r1\""), ("last-modified", "t")]));
        assert!(response(&mut fields(&[("content-range", "bytes 0-1/2")]), &mark(), b"").is_err());
        let mut wrong = fields(&[("etag", "a")]);
        assert_eq!(response(&mut wrong, &mark(), b""), Ok(false));
        assert!(wrong.is_empty());
    }
}
