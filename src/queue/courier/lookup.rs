//! Asks an upstream whether it has done what a message in doubt asks for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::is_kept;
use crate::{
    body::Body,
    config::LookupSpec,
    contract::{Operation, Translation},
    json::{Document, Pointer, Value},
    lookup::{Asker, Resolver},
    policy::map,
    queue::{NewMessage, StoredResponse, delivery::LookedUp},
    upstream::{Outbound, Upstream, headers},
};

/// What stands in a segment of a path as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The question of one operation, compiled.
pub(crate) struct Lookup {
    /// What is asked, and what was sent, in the upstream's contract version.
    asked: Arc<Operation>,
    sent: Arc<Operation>,
    /// Of the answer, to the caller's version.
    translation: Option<Arc<Translation>>,
    /// Path at the upstream before the operation's own path.
    base: String,
    values: BTreeMap<String, Source>,
    found: Option<Pointer>,
    pub(crate) settle: Duration,
    limit: u64,
    /// Answers what the mappings of the answer ask.
    resolver: Arc<Resolver>,
}

/// Where a value stands in a message.
enum Source {
    Body(Pointer),
    /// Position among the path parameters of what was sent.
    Path(usize),
}

impl Lookup {
    /// Errors are phrases for a diagnostic.
    pub(crate) fn compile(
        spec: &LookupSpec,
        (asked, sent): (Arc<Operation>, Arc<Operation>),
        translation: Option<Arc<Translation>>,
        (base, limit): (&str, u64),
        resolver: Arc<Resolver>,
    ) -> Result<Self, String> {
        if asked.method != Method::GET {
            return Err(format!(
                "`{}` is asked by {}, and a question is a GET",
                asked.id, asked.method
            ));
        }
        let mut values = BTreeMap::new();
        for (name, place) in &spec.values {
            let source = match place.strip_prefix("path:") {
                Some(parameter) => {
                    let position = sent.path_names.iter().position(|known| known == parameter);
                    let position = position.ok_or_else(|| format!("the path of `{}` has no `{parameter}`", sent.id))?;
                    Source::Path(position)
                }
                None => Source::Body(Pointer::parse(place).map_err(|_| format!("`{place}` is no JSON Pointer"))?),
            };
            values.insert(name.clone(), source);
        }
        if let Some(missing) = asked.path_names.iter().find(|name| !values.contains_key(*name)) {
            return Err(format!(
                "the lookup does not say where `{missing}` of `{}` is found",
                asked.id
            ));
        }
        let found = spec.found.as_deref().map(Pointer::parse).transpose();
        Ok(Self {
            asked,
            sent,
            translation,
            base: base.trim_end_matches('/').to_owned(),
            values,
            found: found.map_err(|_| "`found` is no JSON Pointer".to_owned())?,
            settle: spec.settle.0,
            limit,
            resolver,
        })
    }

    /// Asks.
    pub(super) async fn ask(&self, upstream: &Upstream, message: &NewMessage) -> LookedUp {
        let Some(path_and_query) = self.target(message) else {
            return LookedUp::Failed("the message lacks a value that the lookup needs".to_owned());
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(correlation) = HeaderValue::try_from(message.correlation.as_str()) {
            headers.insert(headers::X_CORRELATION_ID, correlation);
        }
        let outbound = Outbound {
            method: Method::GET,
            path_and_query,
            headers,
            body: Body::from(bytes::Bytes::new()),
        };
        match upstream.send(outbound, |_| None, |_| {}).await {
            Ok(response) => self.understand(upstream, message, response).await,
            Err(refusal) => LookedUp::Failed(refusal.to_string()),
        }
    }

    async fn understand(&self, upstream: &Upstream, message: &NewMessage, response: http::Response<Body>) -> LookedUp {
        let (mut parts, body) = response.into_parts();
        match parts.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => return LookedUp::NotFound,
            status if status.is_success() => {}
            status => return LookedUp::Failed(format!("the upstream answered {}", status.as_u16())),
        }
        headers::from_upstream(&mut parts.headers);
        let bytes = match body.buffer(self.limit).await {
            Ok(bytes) => bytes,
            Err(error) => return LookedUp::Failed(error.to_string()),
        };
        if let Some(found) = &self.found {
            match Document::parse(bytes.clone()) {
                Ok(document) if document.root().at(found).is_none_or(Value::is_null) => {
                    return LookedUp::NotFound;
                }
                Ok(_) => {}
                Err(error) => return LookedUp::Failed(format!("its answer is not JSON: {error}")),
            }
        }
        let response = match &self.translation {
            None => http::Response::from_parts(parts, Body::from(bytes)),
            Some(translation) => {
                let asker = Asker {
                    correlation: &message.correlation,
                    patience: upstream.spec().timeouts.total.0,
                    trace: &|_| None,
                    note: &|_| {},
                };
                match map::answer(translation, &upstream.name, parts, bytes, (&self.resolver, &asker)).await {
                    Ok((response, _)) => response,
                    // It was done all the same; what it says is in no words the caller knows.
                    Err(refusal) => return LookedUp::Found(note(&refusal.to_string())),
                }
            }
        };
        let headers = response.headers().iter().filter(|(name, _)| is_kept(name));
        LookedUp::Found(StoredResponse {
            status: response.status().as_u16(),
            headers: headers
                .map(|(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            body: response.body().as_bytes().unwrap_or_default(),
        })
    }

    fn target(&self, message: &NewMessage) -> Option<String> {
        let document = Document::parse(message.request.body.clone()).ok();
        let path = message.request.path_and_query.split('?').next().unwrap_or_default();
        let sent = path_values(&self.sent.template, path.strip_prefix(&self.base)?);
        let mut target = self.asked.template.clone();
        let mut query = Vec::new();
        for (name, source) in &self.values {
            let value = match source {
                Source::Path(position) => sent.as_ref()?.get(*position)?.clone(),
                Source::Body(pointer) => {
                    let value = document.as_ref()?.root().at(pointer)?;
                    let text = match value.as_str() {
                        Some(text) => text.into_owned(),
                        None => value.as_number_text()?.to_owned(),
                    };
                    utf8_percent_encode(&text, SEGMENT).to_string()
                }
            };
            if self.asked.path_names.contains(name) {
                target = target.replace(&format!("{{{name}}}"), &value);
            } else {
                query.push(format!("{}={value}", utf8_percent_encode(name, SEGMENT)));
            }
        }
        let question = if query.is_empty() { "" } else { "?" };
        Some(format!("{}{target}{question}{}", self.base, query.join("&")))
    }
}

/// The values of a path's parameters, still encoded, where it is one of the template.
fn path_values(template: &str, path: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let (mut expected, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return Some(values),
            (Some(expected), Some(found)) if expected.starts_with('{') && expected.ends_with('}') => {
                values.push(found.to_owned());
            }
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

fn note(text: &str) -> StoredResponse {
    StoredResponse {
        status: 200,
        headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: serde_json::json!({ "note": text }).to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_path_are_found_by_its_template() {
        let values = path_values("/orders/{number}/shipments/{id}", "/orders/A%2F1/shipments/7");
        assert_eq!(values, Some(vec!["A%2F1".to_owned(), "7".to_owned()]));
        assert_eq!(path_values("/orders/{number}", "/orders/1/lines"), None);
        assert_eq!(path_values("/orders", "/customers"), None);
    }
}
