//! The header fields by which every answer of a route tells its contract version.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The field by which a caller names a contract version.
pub(crate) const ACCEPT_VERSION: HeaderName = HeaderName::from_static("accept-version");
/// The field by which an answer names its contract version.
const CONTENT_VERSION: HeaderName = HeaderName::from_static("content-version");

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

    /// Of one version; `is_chosen` where the request's header decided on it.
    pub(crate) fn of(version: &str, is_chosen: bool) -> Self {
        let mut fields = if is_chosen { Self::undecided() } else { Self::none() };
        if let Ok(version) = HeaderValue::from_str(version) {
            fields.own.push((CONTENT_VERSION, version));
        }
        fields
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

    #[test]
    fn what_an_upstream_says_of_its_own_version_is_replaced_and_all_else_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_VERSION, HeaderValue::from_static("v3"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        Fields::of("v1", true).apply(&mut headers);
        assert_eq!(headers[CONTENT_VERSION], "v1");
        let vary: Vec<_> = headers.get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Version, Accept, Content-Type"]);
    }
}
