//! The header fields by which every answer of a route tells its contract version.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Life;
use crate::config::StateSpec;

/// The field by which a caller names a contract version.
pub(crate) const ACCEPT_VERSION: HeaderName = HeaderName::from_static("accept-version");
/// The field by which an answer names its contract version.
const CONTENT_VERSION: HeaderName = HeaderName::from_static("content-version");

/// Since when a version is deprecated (RFC 9745).
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// When it ends (RFC 8594).
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// What every answer of a route carries, made once with the route.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// Ours alone: an upstream that speaks of its own version must not be heard.
    own: Vec<(HeaderName, HeaderValue)>,
    /// Beside what an upstream says.
    further: Vec<(HeaderName, HeaderValue)>,
}

impl Fields {
    /// Of a route without a contract.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Of one version. `path` is that of its API, as it is written: where it does not hold `{version}`, the request's
    /// header decides.
    pub(crate) fn of(life: &Life, path: &str) -> Self {
        let is_chosen = !path.contains("{version}");
        let mut fields = if is_chosen { Self::undecided() } else { Self::none() };
        fields.own(CONTENT_VERSION, &life.version);
        if life.state == StateSpec::Deprecated {
            if let Some(since) = life.since {
                fields.own(DEPRECATION, &format!("@{}", since.as_second()));
            }
            if let Some(sunset) = life.sunset {
                fields.own(SUNSET, &httpdate::fmt_http_date(SystemTime::from(sunset)));
            }
        }
        if let Some(link) = &life.link {
            fields.link(&format!("<{link}>; rel=\"deprecation\"; type=\"text/html\""));
        }
        if let Some(successor) = &life.successor {
            let target = path.replace("{version}", successor);
            // Behind the same path, the media type tells the versions apart.
            let hint = if is_chosen {
                format!("; type=\"application/json; version={successor}\"")
            } else {
                String::new()
            };
            fields.link(&format!("<{target}>; rel=\"successor-version\"{hint}"));
        }
        fields
    }

    fn own(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.own.push((name, value));
        }
    }

    fn link(&mut self, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.further.push((header::LINK, value));
        }
    }

    /// Of an API whose version the request's header decides on, before it has.
    pub(crate) fn undecided() -> Self {
        let vary = HeaderValue::from_static("Accept-Version, Accept, Content-Type");
        Self {
            own: Vec::new(),
            further: vec![(header::VARY, vary)],
        }
    }

    /// Puts the fields on an answer.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.own {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.further {
            headers.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LifeSpec, SourceFile, VersionsSpec, yaml};

    fn life(written: &str) -> Life {
        let file = SourceFile {
            path: "x.yaml".into(),
            text: format!("v1: {written}").into(),
        };
        let versions: VersionsSpec = yaml::read(&file).unwrap();
        Life::new("erp-orders", "v1", &versions.0[0].life, std::sync::Arc::from([]))
    }

    #[test]
    fn what_an_upstream_says_of_its_own_version_is_replaced_and_all_else_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_VERSION, HeaderValue::from_static("v3"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let life = Life::new(
            "erp-orders",
            "v1",
            &LifeSpec::plain(StateSpec::Active),
            std::sync::Arc::from([]),
        );
        Fields::of(&life, "/orders").apply(&mut headers);
        assert_eq!(headers[CONTENT_VERSION], "v1");
        let vary: Vec<_> = headers.get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Version, Accept, Content-Type"]);
        assert_eq!(headers.len(), 3, "an active version says nothing else: {headers:?}");
    }

    #[test]
    fn a_deprecated_version_tells_its_dates_and_its_successor() {
        let life = life(
            "{ state: deprecated, since: 2026-06-01, sunset: 2027-06-01T12:00:00Z, successor: v2, \
             link: 'https://docs.example/v1' }",
        );
        let mut headers = HeaderMap::new();
        Fields::of(&life, "/system/erp/{version}").apply(&mut headers);
        assert_eq!(headers[DEPRECATION], "@1780272000");
        assert_eq!(headers[SUNSET], "Tue, 01 Jun 2027 12:00:00 GMT");
        let links: Vec<_> = headers.get_all(header::LINK).iter().collect();
        assert_eq!(
            links,
            [
                "<https://docs.example/v1>; rel=\"deprecation\"; type=\"text/html\"",
                "</system/erp/v2>; rel=\"successor-version\""
            ]
        );
        let mut headers = HeaderMap::new();
        Fields::of(&life, "/orders").apply(&mut headers);
        assert!(
            headers
                .get_all(header::LINK)
                .iter()
                .any(|link| link == "</orders>; rel=\"successor-version\"; type=\"application/json; version=v2\""),
            "{headers:?}"
        );
    }
}
