//! Parameters: values in the path, the query and header fields, read as the type their schema gives.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
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
    /// How a list is written; none where there is one value.
    list: Option<ListForm>,
    /// Type of the value, or of a list's items.
    kind: ScalarKind,
    /// Described by `content`: its text is JSON.
    pub(super) is_json: bool,
    /// A cookie in the style of 3.2: its value stands there as it is, else it is percent-encoded.
    pub(super) is_raw: bool,
    validator: Arc<Validator<Tape>>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

impl Place {
    /// All of a request.
    pub(super) const ALL: [Self; 4] = [Self::Path, Self::Query, Self::Header, Self::Cookie];

    /// Whether requests may have others than those described.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Header | Self::Cookie)
    }

    /// As written in a violation, and in `OpenAPI`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

/// How a list of values is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListForm {
    /// The name is given again for each item.
    Repeated,
    /// In one value, with this between the items.
    Separated(char),
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
        if values.is_empty() {
            if self.is_required {
                report("is required".to_owned());
            }
            return true;
        }
        let document = self.typed(values);
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

    /// The values a message has for this parameter, at least one, as its schema describes them.
    pub(super) fn typed(&self, values: &[Option<&str>]) -> Result<Document, String> {
        match values {
            [Some(value)] if self.list.is_none() => self.read(value),
            values if self.list.is_some() => self.read_list(values),
            [None] => Err("is not text in UTF-8".to_owned()),
            values => Err(format!("is given {} times", values.len())),
        }
    }

    /// What stands between the items of a list in one value; none where each is a value of its own, or there is one.
    pub(super) fn between(&self) -> Option<char> {
        match self.list {
            Some(ListForm::Separated(separator)) => Some(separator),
            Some(ListForm::Repeated) | None => None,
        }
    }

    fn read(&self, text: &str) -> Result<Document, String> {
        let wrong = |kind: &str| Err(format!("is not {kind}"));
        if self.is_json {
            let parsed = Document::parse(Bytes::copy_from_slice(text.as_bytes()));
            return parsed.map_err(|error| format!("is not JSON: {error}"));
        }
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
        for value in values {
            let value = value.ok_or_else(|| "is not text in UTF-8".to_owned())?;
            let items: Vec<&str> = match self.list {
                Some(ListForm::Separated(separator)) => value.split(separator).collect(),
                Some(ListForm::Repeated) | None => vec![value],
            };
            for item in items {
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
                for parameter in Self::compile(document, &place, mistakes) {
                    parameters.retain(|other| other.name != parameter.name || other.place != parameter.place);
                    parameters.push(parameter);
                }
            }
        }
        parameters
    }

    /// Where items of a list stand in one value of the query, what stands between them.
    pub(super) fn separator(&self) -> Option<char> {
        match self.list {
            Some(ListForm::Separated(separator)) if self.place == Place::Query => Some(separator),
            _ => None,
        }
    }

    /// One parameter, or one for each property where an object is spread over the query.
    pub(super) fn compile(document: &OpenApi, at: &str, mistakes: &mut Vec<Diagnostic>) -> Vec<Self> {
        let mut refuse = |message: String, help: &str| {
            mistakes.push(document.mistake(at, message).help(help));
            Vec::new()
        };
        let written = document.at(at);
        let name = written.get("name").and_then(Value::as_str).unwrap_or_default();
        let place = match written.get("in").and_then(Value::as_str) {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            Some("querystring") => {
                return refuse(
                    format!("the parameter `{name}` is the whole query, which is not read as one value"),
                    "describe each name in it as a parameter `in: query`",
                );
            }
            _ => {
                return refuse(
                    format!("the parameter `{name}` does not say where it stands"),
                    "write `in: path`, `in: query`, `in: header` or `in: cookie`",
                );
            }
        };
        let is_required = place == Place::Path || written["required"] == true;
        let style = written.get("style").and_then(Value::as_str);
        let is_raw = place == Place::Cookie && style == Some("cookie");
        if written.get("content").is_some() {
            let Some(schema) = json_content(document, at) else {
                return refuse(
                    format!("the parameter `{name}` is described by other `content` than application/json"),
                    "describe its text by `schema`, such as `schema: { type: string }`, or as application/json",
                );
            };
            let described = Self::of_json(document, name, place, is_required, schema, mistakes);
            return described
                .map(|parameter| Self { is_raw, ..parameter })
                .into_iter()
                .collect();
        }
        let schema = document.resolve(&format!("{at}/schema"));
        let is_object = schema
            .as_ref()
            .is_some_and(|schema| document.types(schema) == ["object"] || !document.properties(schema).is_empty());
        let explode = written.get("explode").and_then(Value::as_bool);
        let form = match (place, style, explode) {
            (Place::Query, Some("deepObject"), _) if is_object => {
                let named = |property: &str| format!("{name}[{property}]");
                return Self::spread(document, at, schema.as_deref(), is_required, &named, mistakes);
            }
            (Place::Query, None | Some("form"), None | Some(true)) if is_object => {
                return Self::spread(document, at, schema.as_deref(), is_required, &str::to_owned, mistakes);
            }
            (Place::Query, None | Some("form"), None | Some(true))
            | (Place::Query, Some("spaceDelimited" | "pipeDelimited"), Some(true)) => ListForm::Repeated,
            (Place::Query, None | Some("form"), Some(false))
            | (Place::Path | Place::Header, None | Some("simple"), _)
            | (Place::Cookie, None | Some("form" | "cookie"), _) => ListForm::Separated(','),
            (Place::Query, Some("spaceDelimited"), _) => ListForm::Separated(' '),
            (Place::Query, Some("pipeDelimited"), _) => ListForm::Separated('|'),
            _ => {
                let style = style.unwrap_or("form");
                return refuse(
                    format!("the style `{style}` of parameter `{name}` is not read"),
                    "in a query, lists are written in the style form, spaceDelimited or pipeDelimited and objects in form or \
                     deepObject; elsewhere in the style simple",
                );
            }
        };
        let described = Self::of_schema(document, name, place, is_required, at, schema, mistakes);
        let described = described.map(|parameter| Self {
            list: parameter.list.map(|_| form),
            is_raw,
            ..parameter
        });
        if place == Place::Cookie && explode != Some(false) && described.as_ref().is_some_and(|own| own.list.is_some())
        {
            mistakes.push(
                document
                    .mistake(at, format!("the list `{name}` would be several cookies of one name"))
                    .help("write `explode: false`: its items stand in one cookie, with commas between them"),
            );
            return Vec::new();
        }
        described.into_iter().collect()
    }

    /// A parameter whose text is JSON of any schema.
    fn of_json(
        document: &OpenApi,
        name: &str,
        place: Place,
        is_required: bool,
        schema: String,
        mistakes: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let validator = document.validator(&schema);
        let validator = validator.map_err(|mistake| mistakes.push(mistake)).ok()?;
        Some(Self {
            name: named(place, name),
            place,
            is_required,
            schema,
            list: None,
            kind: ScalarKind::Text,
            is_json: true,
            is_raw: false,
            validator,
        })
    }

    /// The properties of an object that is spread over the query.
    fn spread(
        document: &OpenApi,
        at: &str,
        schema: Option<&str>,
        is_required: bool,
        named: &dyn Fn(&str) -> String,
        mistakes: &mut Vec<Diagnostic>,
    ) -> Vec<Self> {
        let Some(schema) = schema else { return Vec::new() };
        let properties = document.properties(schema);
        if properties.is_empty() {
            let name = document.at(at)["name"].as_str().unwrap_or_default();
            let mistake = document.mistake(
                at,
                format!("the object `{name}` is spread over the query without naming its properties"),
            );
            mistakes.push(mistake.help("name them under `properties`: a query name that is not described is refused"));
        }
        let required = document.required(schema);
        let spread = properties.into_iter().filter_map(|(property, place)| {
            let is_required = is_required && required.contains(&property);
            let schema = document.resolve(&place);
            Self::of_schema(
                document,
                &named(&property),
                Place::Query,
                is_required,
                at,
                schema,
                mistakes,
            )
        });
        spread.collect()
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
            if let Some(schema) = json_content(document, &place) {
                headers.extend(Self::of_json(
                    document,
                    name,
                    Place::Header,
                    is_required,
                    schema,
                    mistakes,
                ));
                continue;
            }
            let schema = document.resolve(&format!("{place}/schema"));
            headers.extend(Self::of_schema(
                document,
                name,
                Place::Header,
                is_required,
                &place,
                schema,
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
        schema: Option<String>,
        mistakes: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let Some(schema) = schema else {
            mistakes.push(
                document
                    .mistake(at, format!("the parameter `{name}` has no schema"))
                    .help("add one, such as `schema: { type: string }`"),
            );
            return None;
        };
        let is_list = document.types(&schema) == ["array"];
        let scalar = if is_list {
            document.items(&schema)
        } else {
            Some(schema.clone())
        };
        let types = scalar.map_or_else(Vec::new, |scalar| document.types(&scalar));
        let kind = match types.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] | ["string"] => ScalarKind::Text,
            ["integer" | "number"] => ScalarKind::Number,
            ["boolean"] => ScalarKind::Bool,
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
            name: named(place, name),
            place,
            is_required,
            schema,
            // Header fields are one list, their values divided by commas.
            list: is_list.then_some(if place == Place::Query {
                ListForm::Repeated
            } else {
                ListForm::Separated(',')
            }),
            kind,
            is_json: false,
            is_raw: false,
            validator,
        })
    }
}

/// Names of header fields have no case.
fn named(place: Place, name: &str) -> String {
    if place == Place::Header {
        name.to_ascii_lowercase()
    } else {
        name.to_owned()
    }
}

/// The schema of a parameter or header field that is described as JSON text, and as nothing else.
fn json_content(document: &OpenApi, at: &str) -> Option<String> {
    let content = document.at(at).get("content")?.as_object()?;
    let (media, _) = content.iter().next().filter(|_| content.len() == 1)?;
    if !media.trim().eq_ignore_ascii_case("application/json") {
        return None;
    }
    let mut place = format!("{at}/content");
    push_token(&mut place, media);
    document.resolve(&format!("{place}/schema"))
}

/// Names and values of the cookies of a request, as they stand there (RFC 6265 §5.4).
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let fields = headers.get_all(http::header::COOKIE).iter();
    let pairs = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('='))
}

/// The value of a cookie, without quotes around it; percent-decoded unless it stands there as it is.
pub(super) fn cookie_value(written: &str, is_raw: bool) -> Option<Cow<'_, str>> {
    let bare = written
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(written);
    if is_raw {
        return Some(Cow::Borrowed(bare));
    }
    percent_decode_str(bare).decode_utf8().ok()
}

/// Names and values of a query, decoded; a value that is not UTF-8 is `None`.
pub(super) fn parse_query(query: &str) -> Vec<(String, Option<String>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
            };
            (decode(name).unwrap_or_else(|| name.to_owned()), decode(value))
        })
        .collect()
}
