//! The contract versions that a request names in its header.

use http::{HeaderMap, HeaderValue, header};

use super::ACCEPT_VERSION;
use crate::problem::{Refusal, VersionPlace};

/// What a request says about the version it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals<'a> {
    /// `Accept-Version`; several lines that differ are kept to be refused.
    pub(crate) field: Vec<&'a str>,
    /// The `version` of JSON media types in `Accept`, the most wanted first.
    pub(crate) accept: Vec<&'a str>,
    /// The `version` of a JSON media type in `Content-Type`.
    pub(crate) content_type: Option<&'a str>,
}

impl<'a> Signals<'a> {
    /// Reads the header of a request.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let mut field: Vec<&str> = headers.get_all(ACCEPT_VERSION).iter().map(text).collect();
        field.dedup();
        let mut accept: Vec<(u16, &str)> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter(|value| may_name_version(value))
            .flat_map(|value| pieces(text(value), ','))
            .filter_map(|range| Some((quality(range), version_of(range)?)))
            .filter(|(quality, _)| *quality > 0)
            .collect();
        // Stable: what is wanted alike keeps the order it was written in.
        accept.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
        let content_type = headers.get(header::CONTENT_TYPE);
        Self {
            field,
            accept: accept.into_iter().map(|(_, version)| version).collect(),
            content_type: content_type
                .filter(|value| may_name_version(value))
                .and_then(|value| version_of(text(value))),
        }
    }

    /// The version that is asked for, and where; `None` where the header names none.
    ///
    /// Places that name different versions are refused: whichever was followed, the caller would be wronged.
    pub(crate) fn asked(&self, is_known: impl Fn(&str) -> bool) -> Result<Option<(&'a str, VersionPlace)>, Refusal> {
        let conflict = |one: &str, other: &str| Refusal::ConflictingVersions {
            detail: format!("the request names two contract versions: {one} and {other}"),
        };
        if let [one, other, ..] = self.field[..] {
            return Err(conflict(
                &format!("{one} in Accept-Version"),
                &format!("{other} in another Accept-Version"),
            ));
        }
        let field = self.field.first().map(|version| (*version, VersionPlace::Field));
        let body = self.content_type.map(|version| (version, VersionPlace::ContentType));
        if let (Some((one, _)), Some((other, _))) = (field, body)
            && one != other
        {
            return Err(conflict(
                &format!("{one} in Accept-Version"),
                &format!("{other} in Content-Type"),
            ));
        }
        let Some((version, place)) = field.or(body) else {
            let known = self.accept.iter().find(|version| is_known(version));
            let asked = known.or(self.accept.first());
            return Ok(asked.map(|version| (*version, VersionPlace::Accept)));
        };
        match self.accept.first() {
            Some(other) if !self.accept.contains(&version) => Err(conflict(
                &format!("{version} in {}", place.as_str()),
                &format!("{other} in Accept"),
            )),
            _ => Ok(Some((version, place))),
        }
    }
}

/// Takes the version out of a request's header: it speaks of the caller's contract, which the upstream does not know.
pub(crate) fn strip(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_VERSION);
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if !headers.get_all(&name).iter().any(may_name_version) {
            continue;
        }
        let stripped: Vec<HeaderValue> = headers
            .get_all(&name)
            .iter()
            .filter_map(|value| HeaderValue::from_str(&without_version(text(value))).ok())
            .collect();
        headers.remove(&name);
        for value in stripped {
            headers.append(&name, value);
        }
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("?").trim()
}

/// A quick look: most requests name no version, and are not taken apart.
fn may_name_version(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .windows(b"version".len())
        .any(|window| window.eq_ignore_ascii_case(b"version"))
}

/// The `version` parameter of a JSON media type. Those of other types mean something else:
/// `application/openmetrics-text; version=1.0.0`.
fn version_of(media_type: &str) -> Option<&str> {
    let mut pieces = pieces(media_type, ';');
    let essence = pieces.next()?;
    if !crate::policy::validate::is_json(essence) {
        return None;
    }
    pieces.find_map(|parameter| value_of(parameter, "version"))
}

fn value_of<'a>(parameter: &'a str, wanted: &str) -> Option<&'a str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim()
        .eq_ignore_ascii_case(wanted)
        .then(|| value.trim().trim_matches('"'))
}

/// The weight of a media range in thousandths (RFC 9110 §12.4.2); one that cannot be read counts as the full one.
fn quality(range: &str) -> u16 {
    let weight = pieces(range, ';')
        .skip(1)
        .find_map(|parameter| value_of(parameter, "q"));
    let weight = weight.and_then(|weight| weight.parse::<f32>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1000"
    )]
    weight.map_or(1_000, |weight| (weight.clamp(0.0, 1.0) * 1_000.0) as u16)
}

fn without_version(value: &str) -> String {
    let ranges = pieces(value, ',').map(|range| {
        if version_of(range).is_none() {
            return range.to_owned();
        }
        let kept = pieces(range, ';').filter(|parameter| value_of(parameter, "version").is_none());
        kept.collect::<Vec<_>>().join("; ")
    });
    ranges.collect::<Vec<_>>().join(", ")
}

/// What stands between separators, trimmed; a separator within quotes is none.
fn pieces(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c: char| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        c == separator && !is_quoted
    })
    .map(str::trim)
    .filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        fields.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    /// Which version is asked for where `v1` and `v2` are known; `conflict` where two are.
    fn asked(fields: &[(&'static str, &'static str)]) -> String {
        match Signals::of(&headers(fields)).asked(|version| ["v1", "v2"].contains(&version)) {
            Ok(None) => "-".to_owned(),
            Ok(Some((version, place))) => format!("{version} {}", place.as_str()),
            Err(Refusal::ConflictingVersions { .. }) => "conflict".to_owned(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_version_is_named_by_field_or_media_type() {
        for (fields, expected) in [
            (&[][..], "-"),
            (&[("accept-version", "v2")], "v2 Accept-Version"),
            (&[("accept", "application/json; version=v2")], "v2 Accept"),
            (
                &[("accept", "text/html, application/vnd.acme+json;Version=\"v2\"")],
                "v2 Accept",
            ),
            (
                &[("content-type", "application/json; charset=utf-8; version=v1")],
                "v1 Content-Type",
            ),
            (&[("accept", "application/openmetrics-text; version=1.0.0")], "-"),
            (&[("accept", "application/json, text/plain; q=0.5")], "-"),
        ] {
            assert_eq!(asked(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_most_wanted_version_that_is_known_is_taken() {
        for (accept, expected) in [
            (
                "application/json; version=v1; q=0.3, application/json; version=v2",
                "v2 Accept",
            ),
            (
                "application/json; version=v9, application/json; version=v1; q=0.1",
                "v1 Accept",
            ),
            (
                "application/json; version=v2; q=0, application/json; version=v1",
                "v1 Accept",
            ),
            ("application/json; version=v9", "v9 Accept"),
        ] {
            assert_eq!(asked(&[("accept", accept)]), expected, "{accept}");
        }
    }

    #[test]
    fn two_different_versions_are_a_conflict() {
        for (fields, expected) in [
            (
                &[("accept-version", "v1"), ("accept", "application/json; version=v2")][..],
                "conflict",
            ),
            (
                &[
                    ("accept-version", "v1"),
                    ("content-type", "application/json; version=v2"),
                ],
                "conflict",
            ),
            (
                &[
                    ("accept", "application/json; version=v1"),
                    ("content-type", "application/json; version=v2"),
                ],
                "conflict",
            ),
            (&[("accept-version", "v1"), ("accept-version", "v2")], "conflict"),
            (
                &[("accept-version", "v1"), ("accept-version", "v1")],
                "v1 Accept-Version",
            ),
            (
                &[
                    ("accept-version", "v1"),
                    ("accept", "application/json; version=v2, application/json; version=v1"),
                ],
                "v1 Accept-Version",
            ),
        ] {
            assert_eq!(asked(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_upstream_is_not_told_the_callers_version() {
        let mut header = headers(&[
            ("accept-version", "v1"),
            (
                "accept",
                "application/json; version=v1; q=0.5, text/plain; version=0.0.4",
            ),
            ("content-type", "application/json; version=\"v1\"; charset=utf-8"),
        ]);
        strip(&mut header);
        assert_eq!(header.get("accept-version"), None);
        assert_eq!(header["accept"], "application/json; q=0.5, text/plain; version=0.0.4");
        assert_eq!(header["content-type"], "application/json; charset=utf-8");
    }
}
