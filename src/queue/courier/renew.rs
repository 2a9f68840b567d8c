//! A stored request in the words of the upstream as it speaks now: it was translated when it was accepted, and the
//! upstream may have moved to another contract version since.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::{
    body::Body,
    contract::{Mark, Translation},
    json::Document,
    lookup::Asker,
    snapshot::DeliveryRoute,
    upstream::Outbound,
};

/// Why an update is not sent that would be another one than was accepted.
pub(super) const UNMERGED: &str =
    "it was accepted to be merged into what stands there, and no mapping in force says how";

/// The request for the version that the upstream speaks. The error is a phrase: nothing is sent.
///
/// The same version's request goes out as it was stored, whatever became of the mappings: it conformed to that version
/// when it was accepted.
pub(super) async fn renew(
    route: &DeliveryRoute,
    outbound: Outbound,
    translated: Option<&str>,
    asker: &Asker<'_>,
) -> Result<Outbound, String> {
    if translated.is_some_and(Mark::is_merged) && !route.forward.merges() {
        return Err(UNMERGED.to_owned());
    }
    let Some(stored) = translated.and_then(Mark::spoken) else {
        return Ok(outbound);
    };
    let spoken = match &route.spoken {
        Some(spoken) if **spoken != *stored => spoken,
        _ => return Ok(outbound),
    };
    let translation = route.former.iter().find(|(version, _)| **version == *stored);
    let translation = translation
        .map(|(_, translation)| Arc::clone(translation))
        .ok_or_else(|| {
            format!("it was accepted for contract version {stored}, and nothing leads from there to {spoken}")
        })?;
    let refused =
        |detail: String| format!("it cannot be translated from contract version {stored} to {spoken}: {detail}");
    let Outbound {
        path_and_query,
        mut headers,
        body,
        ..
    } = outbound;
    let (path, query) = path_and_query
        .split_once('?')
        .map_or((path_and_query.as_str(), None), |(path, query)| (path, Some(query)));
    let own = path.strip_prefix(route.forward.base()).unwrap_or(path);
    let values = values(&translation.caller().template, own)
        .ok_or_else(|| refused(format!("its path {path} is not that of the operation any more")))?;
    let bytes = body.as_bytes().unwrap_or_default();
    // A patch stays in its caller's words until it is applied.
    let is_translated = !bytes.is_empty() && !route.forward.keeps_patch();
    let document = is_translated.then(|| Document::parse(bytes.clone())).transpose();
    let document = document.map_err(|error| refused(error.to_string()))?;
    let mapped = route
        .resolver
        .translate(&translation, asker, |translation: &Translation| {
            translation.request(&values, query, &mut headers, document.as_ref())
        })
        .await
        .map_err(|refusal| refused(refusal.to_string()))?
        .map_err(|unmappable| refused(unmappable.to_string()))?;
    let bytes = match mapped.body {
        None => bytes,
        Some(document) => {
            let violations = translation.upstream().check_request_body(&document);
            if let Some(violation) = violations.first() {
                return Err(refused(format!("{} at `{}`", violation.what, violation.at)));
            }
            headers.remove(header::CONTENT_LENGTH);
            without_digests(&mut headers);
            Bytes::from(document)
        }
    };
    Ok(Outbound {
        method: mapped.method,
        path_and_query: format!("{}{}", route.forward.base(), mapped.path_and_query),
        headers,
        body: Body::from(bytes),
    })
}

fn without_digests(headers: &mut HeaderMap) {
    headers.remove("content-digest");
}

/// The values in a path, decoded.
fn values(template: &str, path: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut rest = path;
    let mut pattern = template;
    while let Some((literal, after)) = pattern.split_once('{') {
        let (_, after) = after.split_once('}')?;
        rest = rest.strip_prefix(literal)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let stop = after.split('{').next().unwrap_or_default();
        // What follows in the same segment, such as `:cancel`, ends the value.
        let tail = stop.split('/').next().unwrap_or_default();
        let value = rest[..end].strip_suffix(tail)?;
        values.push(percent_decode_str(value).decode_utf8().ok()?.into_owned());
        rest = &rest[value.len()..];
        pattern = after;
    }
    (rest == pattern).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_a_path() {
        let found = |template: &str, path: &str| values(template, path);
        assert_eq!(found("/orders", "/orders"), Some(vec![]));
        assert_eq!(found("/orders/{no}", "/orders/A%2F1"), Some(vec!["A/1".to_owned()]));
        assert_eq!(
            found("/orders/{no}/lines/{line}", "/orders/A/lines/1"),
            Some(vec!["A".to_owned(), "1".to_owned()])
        );
        assert_eq!(
            found("/orders/{no}:cancel", "/orders/A:cancel"),
            Some(vec!["A".to_owned()])
        );
        for (template, path) in [
            ("/orders/{no}", "/order/A"),
            ("/orders/{no}", "/orders/A/B"),
            ("/orders/{no}/cancel", "/orders/A"),
            ("/orders", "/orders/A"),
        ] {
            assert_eq!(found(template, path), None, "{path}");
        }
    }
}
