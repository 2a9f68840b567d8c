//! Parameters: values in the path, the query and header fields, read as the type their schema gives.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jsonschema::Validator;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::openapi::{OpenApi, push_token};
use crate::config::Diagnostic;
use crate::json::{Document, Kind, Out, Tape};
use crate::problem::Violation;

/// A declared parameter.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) is_required: bool,
    /// Where its schema stands in the document.
    pub(super) schema: String,
    /// A list: the name may be given several times.
    is_list: bool,
    /// Type of the value, or of a list's items.
    kind: ScalarKind,
    validator: Arc<Validator<Tape>>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    /// As written in a violation, and in `OpenAPI`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScalarKind {
    Text,
    Number,
    Bool,
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.place.as_str(), self.name)
    }
}

impl Parameter {
    /// Holds the values a message has for this parameter against its schema; a value that is not text is `None`.
    /// False if one cannot be read as its type.
    pub(super) fn check(&self, values: &[Option<&str>], violations: &mut Vec<Violation>) -> bool {
        let mut report = |what: String| {
            violations.push(Violation {
                at: format!("{}:{}", self.place.as_str(), self.name),
                what,
            });
        };
        let document = match values {
            [] => {
                if self.is_required {
                    report("is required".to_owned());
                }
                return true;
            }
            [Some(value)] if !self.is_list => self.read(value),
            values if self.is_list => self.read_list(values),
            [None] => Err("is not text in UTF-8".to_owned()),
            values => Err(format!("is given {} times", values.len())),
        };
        match document {
            Ok(document) if self.validator.is_valid(document.root()) => {}
            Ok(document) => {
                for error in self.validator.iter_errors(document.root()).take(8) {
                    report(error.masked_with("the value").to_string());
                }
            }
            Err(what) => {
                report(what);
                return false;
            }
        }
        true
    }

    fn read(&self, text: &str) -> Result<Document, String> {
        let wrong = |kind: &str| Err(format!("is not {kind}"));
        match self.kind {
            ScalarKind::Text => Ok(Document::of_string(text)),
            ScalarKind::Number => match Document::parse(Bytes::copy_from_slice(text.as_bytes())) {
                Ok(number) if number.root().kind() == Kind::Number => Ok(number),
                _ => wrong("a number"),
            },
            ScalarKind::Bool => match Document::parse(Bytes::copy_from_slice(text.as_bytes())) {
                Ok(value) if value.root().kind() == Kind::Bool => Ok(value),
                _ => wrong("true or false"),
            },
        }
    }

    fn read_list(&self, values: &[Option<&str>]) -> Result<Document, String> {
        let mut text = vec![b'['];
        // A header field is one list, its values divided by commas; a query name is repeated.
        let separator = if self.place == Place::Query { '\0' } else { ',' };
        for value in values {
            let value = value.ok_or_else(|| "is not text in UTF-8".to_owned())?;
            for item in value.split(separator) {
                if text.len() > 1 {
                    text.push(b',');
                }
                let item = self.read(item.trim())?;
                match item.root().as_str() {
                    Some(item) => Out::Str(item).write(&mut text),
                    None => text.extend_from_slice(item.root().raw().as_bytes()),
                }
            }
        }
        text.push(b']');
        Document::parse(text.into()).map_err(|_| "is not a list".to_owned())
    }

    /// The parameters of a path and of one of its operations, which override those.
    pub(super) fn compile_all(
        document: &OpenApi,
        item: &str,
        operation: &str,
        mistakes: &mut Vec<Diagnostic>,
    ) -> Vec<Self> {
        let mut parameters: Vec<Self> = Vec::new();
        for owner in [item, operation] {
            let count = document
                .at(owner)
                .get("parameters")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            for position in 0..count {
                let Some(place) = document.resolve(&format!("{owner}/parameters/{position}")) else {
                    continue;
                };
                if let Some(parameter) = Self::compile(document, &place, mistakes) {
                    parameters.retain(|other| other.name != parameter.name || other.place != parameter.place);
                    parameters.push(parameter);
                }
            }
        }
        parameters
    }

    fn compile(document: &OpenApi, at: &str, mistakes: &mut Vec<Diagnostic>) -> Option<Self> {
        let written = document.at(at);
        let name = written.get("name").and_then(Value::as_str).unwrap_or_default();
        let place = match written.get("in").and_then(Value::as_str) {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            // Cookies belong to browsers; they are carried and not looked at.
            Some("cookie") => return None,
            _ => {
                mistakes.push(
                    document
                        .mistake(at, format!("the parameter `{name}` does not say where it stands"))
                        .help("write `in: path`, `in: query` or `in: header`"),
                );
                return None;
            }
        };
        let style = written.get("style").and_then(Value::as_str);
        let explode = written.get("explode").and_then(Value::as_bool);
        let is_plain = match place {
            Place::Query => style.is_none_or(|style| style == "form") && explode != Some(false),
            Place::Path | Place::Header => style.is_none_or(|style| style == "simple"),
        };
        if !is_plain {
            mistakes.push(
                document
                    .mistake(at, format!("the style of parameter `{name}` is not supported"))
                    .help("leave `style` and `explode` out: lists repeat the name in a query"),
            );
            return None;
        }
        let is_required = place == Place::Path || written["required"] == true;
        Self::of_schema(document, name, place, is_required, at, mistakes)
    }

    /// The header fields of a response.
    pub(super) fn compile_headers(document: &OpenApi, at: &str, mistakes: &mut Vec<Diagnostic>) -> Vec<Self> {
        let Some(declared) = document.at(at).as_object() else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        for name in declared.keys() {
            let mut place = at.to_owned();
            push_token(&mut place, name);
            let Some(place) = document.resolve(&place) else {
                continue;
            };
            let is_required = document.at(&place)["required"] == true;
            headers.extend(Self::of_schema(
                document,
                name,
                Place::Header,
                is_required,
                &place,
                mistakes,
            ));
        }
        headers
    }

    fn of_schema(
        document: &OpenApi,
        name: &str,
        place: Place,
        is_required: bool,
        at: &str,
        mistakes: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let Some(schema) = document.resolve(&format!("{at}/schema")) else {
            mistakes.push(
                document
                    .mistake(at, format!("the parameter `{name}` has no schema"))
                    .help("add one, such as `schema: { type: string }`"),
            );
            return None;
        };
        let is_list = document.at(&schema)["type"] == "array";
        let scalar = if is_list {
            document.items(&schema)
        } else {
            Some(schema.clone())
        };
        let scalar = scalar.and_then(|scalar| document.resolve(&scalar));
        let written = scalar.map_or(&Value::Null, |scalar| &document.at(&scalar)["type"]);
        let kind = match written.as_str() {
            Some("string") | None if written.as_str().is_some() || written.is_null() => ScalarKind::Text,
            Some("integer" | "number") => ScalarKind::Number,
            Some("boolean") => ScalarKind::Bool,
            _ => {
                mistakes.push(
                    document
                        .mistake(at, format!("the type of parameter `{name}` is not supported"))
                        .help("use string, integer, number, boolean, or an array of one of these"),
                );
                return None;
            }
        };
        let validator = document
            .validator(&schema)
            .map_err(|mistake| mistakes.push(mistake))
            .ok()?;
        Some(Self {
            // Names of header fields have no case.
            name: if place == Place::Header {
                name.to_ascii_lowercase()
            } else {
                name.to_owned()
            },
            place,
            is_required,
            schema,
            is_list,
            kind,
            validator,
        })
    }
}

/// Names and values of a query, decoded; a value that is not UTF-8 is `None`.
pub(super) fn parse_query(query: &str) -> Vec<(String, Option<String>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                percent_decode_str(&text)
                    .decode_utf8()
                    .ok()
                    .map(std::borrow::Cow::into_owned)
            };
            (decode(name).unwrap_or_else(|| name.to_owned()), decode(value))
        })
        .collect()
}
