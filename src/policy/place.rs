//! Where a value is found in a request: a pointer into the body, a header field, a path parameter.

use http::{HeaderMap, HeaderName};

use crate::{
    config::PlacesSpec,
    json::{Document, Pointer},
};

/// Places to look at in turn, for one operation of one contract version.
#[derive(Debug)]
pub struct Places(Vec<Place>);

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
