//! Cookies as parameters: read out of `Cookie`, translated, written back among those that nothing names.

use http::{HeaderMap, HeaderValue, header};
use percent_encoding::utf8_percent_encode;

use super::{ENCODED, Given, Translation, Unmappable, Way, parameters, written};
use crate::contract::parameter::{Place, cookie_value, cookies};

/// What `Cookie` will be.
pub(super) struct Cookies(String);

impl Cookies {
    /// In one field; in none where no cookie is left.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        headers.remove(header::COOKIE);
        if let Ok(value) = HeaderValue::try_from(self.0)
            && !value.is_empty()
        {
            headers.insert(header::COOKIE, value);
        }
    }
}

impl Translation {
    /// The cookies for the upstream, if any mapping touches them. Those that nothing names stay as they came.
    pub(super) fn cookies(&self, headers: &HeaderMap) -> Result<Option<Cookies>, Unmappable> {
        let own = (0..self.stages.len()).filter_map(|index| self.operation_step(index));
        let names: Vec<&str> = own.flat_map(|own| &own.cookie_names).map(|name| &**name).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let at = |name: &str, detail: &str| Unmappable::at(detail, format!("cookie:{name}"));
        let (mut texts, mut kept) = (Vec::new(), String::new());
        for (name, value) in cookies(headers) {
            if !names.contains(&name) {
                push(&mut kept, name, value);
                continue;
            }
            if texts.iter().any(|(other, _)| *other == name) {
                return Err(at(name, "two cookies of one name"));
            }
            let is_raw = self
                .caller()
                .parameter(Place::Cookie, name)
                .is_some_and(|own| own.is_raw);
            let value = cookie_value(value, is_raw).ok_or_else(|| at(name, "a value that is not text in UTF-8"))?;
            texts.push((name, value));
        }
        let mut given = Vec::with_capacity(texts.len());
        for (name, text) in &texts {
            let parameter = self.caller().parameter(Place::Cookie, name);
            given.push((*name, Given::of(parameter, text, || format!("cookie:{name}"))?));
        }
        let mapped = self.run_parameters(parameters(given), "cookie", Way::Request, |own| own.cookie)?;
        for (name, value) in mapped.root().members() {
            let name = name.text();
            let parameter = self.upstream().parameter(Place::Cookie, &name);
            let Some(text) = written(parameter, value) else {
                continue;
            };
            if !parameter.is_some_and(|parameter| parameter.is_raw) {
                push(&mut kept, &name, &utf8_percent_encode(&text, ENCODED).to_string());
            } else if text.bytes().all(is_cookie_octet) {
                push(&mut kept, &name, &text);
            } else {
                return Err(at(&name, "a value that no cookie can carry"));
            }
        }
        Ok(Some(Cookies(kept)))
    }
}

fn push(to: &mut String, name: &str, value: &str) {
    if !to.is_empty() {
        to.push_str("; ");
    }
    to.extend([name, "=", value]);
}

/// What a cookie's value is made of (RFC 6265 §4.1.1).
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}
