//! Where a value is found in a request: a pointer into the body, a header field, a path parameter.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName};

use crate::{
    config::PlacesSpec,
    json::{Document, Pointer},
};

/// Places to look at in turn, for one operation of one contract version.
#[derive(Debug)]
pub struct Places(Vec<Place>);

/// Values that make a key together.
#[derive(Debug)]
pub struct Derivation(Vec<Part>);

#[derive(Debug)]
enum Part {
    Value(Places),
    /// Digest of what is there.
    Hash(Pointer),
}

impl Derivation {
    /// For one operation of one contract version. Errors are phrases for a diagnostic.
    pub fn compile(spec: &PlacesSpec, version: &str, path_names: &[String]) -> Result<Self, String> {
        let parts = spec.of(version).iter().map(|text| {
            if let Some(pointer) = text.strip_prefix("hash:") {
                let parsed = Pointer::parse(pointer).map(Part::Hash);
                return parsed.map_err(|_| format!("`{pointer}` is no JSON Pointer"));
            }
            let one = PlacesSpec::Everywhere(vec![text.clone()]);
            Places::compile(&one, version, path_names).map(Part::Value)
        });
        Ok(Self(parts.collect::<Result<_, _>>()?))
    }

    /// The key of a request, where all its parts are there.
    pub fn key(&self, headers: &HeaderMap, path_values: &[String], body: Option<&Document>) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut context = Context::new(&SHA256);
        for part in &self.0 {
            let mut add = |bytes: &[u8]| {
                context.update(&(bytes.len() as u64).to_le_bytes());
                context.update(bytes);
            };
            match part {
                Part::Value(places) => add(places.find(headers, path_values, body)?.as_bytes()),
                Part::Hash(pointer) => body?.root().at(pointer)?.canonical_digest(&mut add),
            }
        }
        let digest = context.finish();
        let mut key = String::from("derived-");
        for byte in &digest.as_ref()[..16] {
            let _ = write!(key, "{byte:02x}");
        }
        Some(key)
    }
}

#[derive(Debug)]
enum Place {
    Body(Pointer),
    Header(HeaderName),
    /// Position among the operation's path parameters.
    Path(usize),
}

impl Places {
    /// Keeps the places that this operation can have: a path parameter of another operation is none of its own.
    /// Errors are phrases for a diagnostic.
    pub fn compile(spec: &PlacesSpec, version: &str, path_names: &[String]) -> Result<Self, String> {
        let mut places = Vec::new();
        for text in spec.of(version) {
            if let Some(name) = text.strip_prefix("header:") {
                let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no name of a header field"))?;
                places.push(Place::Header(name));
            } else if let Some(name) = text.strip_prefix("path:") {
                places.extend(path_names.iter().position(|known| known == name).map(Place::Path));
            } else {
                let pointer = Pointer::parse(text).map_err(|_| format!("`{text}` is no JSON Pointer"))?;
                places.push(Place::Body(pointer));
            }
        }
        Ok(Self(places))
    }

    /// The first value there is, as text.
    pub fn find(&self, headers: &HeaderMap, path_values: &[String], body: Option<&Document>) -> Option<String> {
        self.0.iter().find_map(|place| match place {
            Place::Header(name) => headers.get(name)?.to_str().ok().map(str::to_owned),
            Place::Path(position) => path_values.get(*position).cloned(),
            Place::Body(pointer) => {
                let value = body?.root().at(pointer)?;
                match value.as_str() {
                    Some(text) => Some(text.into_owned()),
                    None => value.as_number_text().map(str::to_owned),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(body: &str, control: Option<&str>) -> Option<String> {
        let spec = PlacesSpec::Everywhere(vec!["header:x-control".into(), "/po".into(), "hash:/lines".into()]);
        let headers = control.map(|control| (HeaderName::from_static("x-control"), control.parse().unwrap()));
        let document = Document::parse(body.to_owned().into()).unwrap();
        let derivation = Derivation::compile(&spec, "v1", &[]).unwrap();
        derivation.key(&headers.into_iter().collect(), &[], Some(&document))
    }

    #[test]
    fn a_key_is_made_of_all_its_parts() {
        let one = key(r#"{"po":"1","lines":[{"sku":"A","qty":1.0}]}"#, Some("7")).unwrap();
        assert_eq!(one.len(), "derived-".len() + 32);
        // Neither the order of members nor what is not named makes another one.
        let same = key(r#"{"note":"x","lines":[{"qty":1.0,"sku":"A"}],"po":"1"}"#, Some("7"));
        assert_eq!(same, Some(one.clone()));
        for (body, control) in [
            (r#"{"po":"2","lines":[{"sku":"A","qty":1.0}]}"#, "7"),
            (r#"{"po":"1","lines":[{"sku":"A","qty":2.0}]}"#, "7"),
            (r#"{"po":"1","lines":[{"sku":"A","qty":1.0}]}"#, "8"),
        ] {
            assert_ne!(key(body, Some(control)), Some(one.clone()), "{body}");
        }
    }

    #[test]
    fn without_one_of_its_parts_there_is_no_key() {
        assert_eq!(key(r#"{"po":"1","lines":[]}"#, None), None);
        assert_eq!(key(r#"{"po":"1"}"#, Some("7")), None);
        assert_eq!(key(r#"{"lines":[]}"#, Some("7")), None);
    }
}
