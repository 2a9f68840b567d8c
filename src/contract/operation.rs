//! One operation of a contract version: what it takes, what it answers, and whether a message conforms.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::checker::Checker;
use super::openapi::{OpenApi, PARAMETERS, fragment, list, push_token};
use super::parameter::{Parameter, Place, cookie_value, cookies, parse_query};
use super::rules::{RulePlan, Rules};
use crate::config::Diagnostic;
use crate::json::Document;
use crate::problem::Violation;

/// The header fields of answers among the parameters of an operation, as mappings name them.
pub(super) const RESPONSE_HEADER: &str = "responseHeader";

/// A message is not searched further once it has this many violations.
const VIOLATION_LIMIT: usize = 64;

/// One thing a contract version offers: `createOrder`.
#[derive(Debug)]
pub struct Operation {
    /// `operationId`.
    pub id: Arc<str>,
    /// Its method.
    pub method: Method,
    /// Its path as `OpenAPI` writes it: `/orders/{orderNo}`.
    pub template: String,
    /// The names in the path, in order.
    pub path_names: Vec<String>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) responses: Vec<Response>,
}

/// An operation as a document lists it.
pub(super) struct Listed {
    pub(super) method: Method,
    /// Its path.
    pub(super) template: String,
    /// Where its path is described, such as `/paths/~1orders`.
    pub(super) item: String,
    /// Where it is described itself.
    pub(super) place: String,
}

/// What an operation takes as body.
#[derive(Debug)]
pub(super) struct RequestBody {
    is_required: bool,
    pub(super) media: Vec<Media>,
}

/// One form of a body.
#[derive(Debug)]
pub(super) struct Media {
    /// Media type in lower case, without parameters.
    pub(super) name: String,
    /// Where its schema stands in the document; only JSON has one that is used.
    pub(super) schema: Option<String>,
    checker: Option<Arc<Checker>>,
    /// Rules for what the schema describes.
    rules: Option<RulePlan>,
}

/// What an operation answers with a status.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusKey,
    pub(super) media: Vec<Media>,
    headers: Vec<Parameter>,
}

/// For which status codes a response is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum StatusKey {
    /// One code.
    Exactly(u16),
    /// A hundred: `4XX`.
    Range(u16),
    /// All others.
    Default,
}

impl std::fmt::Display for StatusKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(code) => write!(f, "{code}"),
            Self::Range(hundred) => write!(f, "{hundred}XX"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why a request does not conform: every violation that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// At least one parameter cannot be read as its type: the request is malformed (400).
    Malformed(Vec<Violation>),
    /// The request can be read, but is not what the contract asks for (422).
    Invalid(Vec<Violation>),
}

impl Operation {
    /// Whether a request may have a body.
    pub fn takes_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether a request must have a body.
    pub fn body_is_required(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.is_required)
    }

    /// Media types a request's body may have, in lower case and without parameters.
    pub fn media_types(&self) -> impl Iterator<Item = &str> {
        let media = self.body.iter().flat_map(|body| &body.media);
        media.map(|media| media.name.as_str())
    }

    /// Names of the parameters in the query.
    pub(super) fn query_names(&self) -> impl Iterator<Item = &str> {
        let own = self.parameters.iter();
        let own = own.filter(|parameter| parameter.place == Place::Query);
        own.map(|parameter| parameter.name.as_str())
    }

    /// A described parameter of a request.
    pub(super) fn parameter(&self, place: Place, name: &str) -> Option<&Parameter> {
        let mut all = self.parameters.iter();
        all.find(|parameter| parameter.place == place && parameter.name == name)
    }

    /// A header field of an answer, as the first answer describes it that does.
    pub(super) fn response_header(&self, name: &str) -> Option<&Parameter> {
        let mut all = self.responses.iter().flat_map(|response| &response.headers);
        all.find(|header| header.name == name)
    }

    /// Names of the query whose lists stand in one value, and what stands between the items.
    pub(super) fn separators(&self) -> impl Iterator<Item = (&str, char)> {
        let separated = |parameter: &Parameter| parameter.separator();
        self.parameters
            .iter()
            .filter_map(move |parameter| Some((parameter.name.as_str(), separated(parameter)?)))
    }

    /// Holds a request against the contract: decoded path values in the template's order, the raw query, header
    /// fields, the body. Finds every violation, at `query:NAME`, `path:NAME`, `header:NAME`, `cookie:NAME` or a JSON Pointer.
    pub fn check_request(
        &self,
        path_values: &[String],
        query: Option<&str>,
        headers: &HeaderMap,
        body: Option<&Document>,
    ) -> Result<(), RequestFault> {
        let mut violations = Vec::new();
        let mut is_malformed = false;
        let query = parse_query(query.unwrap_or_default());
        for parameter in &self.parameters {
            let values: Vec<Option<&str>> = match parameter.place {
                Place::Path => self
                    .path_names
                    .iter()
                    .zip(path_values)
                    .filter(|(name, _)| **name == parameter.name)
                    .map(|(_, value)| Some(value.as_str()))
                    .collect(),
                Place::Query => query
                    .iter()
                    .filter(|(name, _)| *name == parameter.name)
                    .map(|(_, value)| value.as_deref())
                    .collect(),
                Place::Header => header_values(headers, &parameter.name),
                Place::Cookie => {
                    let own = cookies(headers).filter(|(name, _)| *name == parameter.name);
                    let values: Vec<_> = own.map(|(_, value)| cookie_value(value, parameter.is_raw)).collect();
                    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
                    is_malformed |= !parameter.check(&values, &mut violations);
                    continue;
                }
            };
            is_malformed |= !parameter.check(&values, &mut violations);
        }
        for (name, _) in &query {
            let is_known = |parameter: &&Parameter| parameter.place == Place::Query;
            let mut known = self.parameters.iter().filter(is_known);
            if !known.any(|parameter| parameter.name == *name) && violations.len() < VIOLATION_LIMIT {
                let names = self
                    .parameters
                    .iter()
                    .filter(is_known)
                    .map(|parameter| parameter.name.as_str());
                violations.push(Violation {
                    at: format!("query:{name}"),
                    what: format!("is not a parameter of {}; its parameters are {}", self.id, list(names)),
                });
            }
        }
        match (&self.body, body) {
            (None, Some(_)) => violations.push(at_root("this operation takes no body")),
            (Some(body), None) if body.is_required => violations.push(at_root("a body is required")),
            (Some(expected), Some(body)) => {
                // Another media type is refused before anything is read, so a body without one is the first kind.
                let media = find_media(&expected.media, headers).or(expected.media.first());
                if let Some(media) = media {
                    media.check(body, &mut violations);
                }
            }
            _ => {}
        }
        if violations.is_empty() {
            Ok(())
        } else if is_malformed {
            Err(RequestFault::Malformed(violations))
        } else {
            Err(RequestFault::Invalid(violations))
        }
    }

    /// Holds a body that conforms against the rules of its schema, for the channel that sent it. Finds every object
    /// that breaks one, at its JSON Pointer.
    pub fn check_rules(&self, headers: &HeaderMap, body: &Document, channel: &str) -> Vec<Violation> {
        let mut violations = Vec::new();
        let kinds = self.body.as_ref().map_or(&[][..], |expected| &expected.media);
        let media = find_media(kinds, headers).or(kinds.first());
        if let Some(rules) = media.and_then(|media| media.rules.as_ref()) {
            rules.check(body.root(), channel, VIOLATION_LIMIT, &mut violations);
        }
        violations
    }

    /// Gives the request's bodies the rules of their schemas.
    pub(super) fn attach(&mut self, rules: &Rules, document: &OpenApi) {
        let kinds = self.body.iter_mut().flat_map(|body| &mut body.media);
        for media in kinds {
            media.rules = media.schema.as_ref().and_then(|schema| rules.plan(document, schema));
        }
    }

    /// Holds a body alone against the contract, such as one that a mapping made.
    pub fn check_request_body(&self, body: &Document) -> Vec<Violation> {
        let mut violations = Vec::new();
        match self.body.as_ref().and_then(|expected| expected.media.first()) {
            Some(media) => media.check(body, &mut violations),
            None => violations.push(at_root("this operation takes no body")),
        }
        violations
    }

    /// The same for a body of a media type; one that is not declared is a violation.
    pub fn check_request_body_as(&self, body: &Document, content_type: &http::HeaderValue) -> Vec<Violation> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.clone())]);
        let mut violations = Vec::new();
        match self
            .body
            .as_ref()
            .and_then(|expected| find_media(&expected.media, &headers))
        {
            Some(media) => media.check(body, &mut violations),
            None => violations.push(at_root(format!("this operation takes {}", list(self.media_types())))),
        }
        violations
    }

    /// Holds a response against the contract. A status that is not declared is a violation too.
    pub fn check_response(&self, status: StatusCode, headers: &HeaderMap, body: Option<&Document>) -> Vec<Violation> {
        let mut violations = Vec::new();
        let Some(response) = self.response(status.as_u16()) else {
            let declared: Vec<_> = self
                .responses
                .iter()
                .map(|response| response.status.to_string())
                .collect();
            let declared = list(declared.iter().map(String::as_str));
            violations.push(at_root(format!(
                "{} does not answer {}; it answers {declared}",
                self.id,
                status.as_u16()
            )));
            return violations;
        };
        for header in &response.headers {
            header.check(&header_values(headers, &header.name), &mut violations);
        }
        match body {
            Some(_) if response.media.is_empty() => violations.push(at_root("this answer has no body")),
            Some(body) => match find_media(&response.media, headers) {
                Some(media) => media.check(body, &mut violations),
                None => violations.push(Violation {
                    at: "header:content-type".to_owned(),
                    what: format!(
                        "is none of {}",
                        list(response.media.iter().map(|media| media.name.as_str()))
                    ),
                }),
            },
            None if response.media.iter().any(|media| media.schema.is_some()) => {
                violations.push(at_root("a body is required"));
            }
            None => {}
        }
        violations
    }

    /// What is declared for a status: exactly, for its hundred, or for all others.
    pub(super) fn response(&self, status: u16) -> Option<&Response> {
        [
            StatusKey::Exactly(status),
            StatusKey::Range(status / 100),
            StatusKey::Default,
        ]
        .iter()
        .find_map(|key| self.responses.iter().find(|response| response.status == *key))
    }

    /// Reads an operation.
    pub(super) fn compile(document: &mut OpenApi, listed: &Listed, mistakes: &mut Vec<Diagnostic>) -> Option<Self> {
        let Listed {
            method,
            template,
            item,
            place,
        } = listed;
        let Some(id) = document.at(place).get("operationId").and_then(Value::as_str) else {
            mistakes.push(
                document
                    .mistake(place, format!("{method} {template} has no operationId"))
                    .help("name it, such as `operationId: createOrder`, the same in every version"),
            );
            return None;
        };
        let id: Arc<str> = id.into();
        let parameters = Parameter::compile_all(document, item, place, mistakes);
        let path_names = path_names(template);
        for name in &path_names {
            let is_named = |parameter: &Parameter| parameter.place == Place::Path && parameter.name == *name;
            if !parameters.iter().any(is_named) {
                mistakes.push(
                    document
                        .mistake(place, format!("`{{{name}}}` in {template} is not described"))
                        .help(format!(
                            "add `- {{ name: {name}, in: path, required: true, schema: … }}`"
                        )),
                );
            }
        }
        let body = RequestBody::compile(document, &format!("{place}/requestBody"), mistakes);
        let responses = Response::compile_all(document, &format!("{place}/responses"), mistakes);
        if responses.is_empty() {
            mistakes.push(
                document
                    .mistake(place, format!("{id} answers nothing"))
                    .help("describe its `responses`"),
            );
        }
        describe_parameters(document, &id, &parameters, &responses);
        Some(Self {
            id,
            method: method.clone(),
            template: template.clone(),
            path_names,
            parameters,
            body,
            responses,
        })
    }
}

/// Puts the parameters of an operation beside the document as object schemas, so that mappings treat them as bodies.
fn describe_parameters(document: &mut OpenApi, id: &str, parameters: &[Parameter], responses: &[Response]) {
    let mut described = json!({});
    for place in Place::ALL {
        let own = parameters.iter().filter(|parameter| parameter.place == place);
        let required: Vec<_> = own
            .clone()
            .filter(|parameter| parameter.is_required)
            .map(|parameter| &*parameter.name)
            .collect();
        let mut schema = json!({
            "type": "object", "properties": {}, "required": required, "additionalProperties": place.is_open(),
        });
        for parameter in own {
            schema["properties"][&parameter.name] = json!({ "$ref": fragment(&parameter.schema) });
        }
        described[place.as_str()] = schema;
    }
    described[RESPONSE_HEADER] = describe_response_headers(responses);
    if !document.root[PARAMETERS].is_object() {
        document.root[PARAMETERS] = json!({});
    }
    document.root[PARAMETERS][id] = described;
}

/// The header fields of all answers; one is required if no answer comes without it.
fn describe_response_headers(responses: &[Response]) -> Value {
    let mut schema = json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": true });
    for header in responses.iter().flat_map(|response| &response.headers) {
        if schema["properties"].get(&header.name).is_some() {
            continue;
        }
        schema["properties"][&header.name] = json!({ "$ref": fragment(&header.schema) });
        let has = |response: &Response| {
            let mut own = response.headers.iter();
            own.any(|own| own.name == header.name && own.is_required)
        };
        if let (true, Some(required)) = (responses.iter().all(has), schema["required"].as_array_mut()) {
            required.push(json!(header.name));
        }
    }
    schema
}

impl RequestBody {
    fn compile(document: &OpenApi, place: &str, mistakes: &mut Vec<Diagnostic>) -> Option<Self> {
        let place = document.resolve(place)?;
        Some(Self {
            is_required: document.at(&place)["required"] == true,
            media: Media::compile_all(document, &format!("{place}/content"), mistakes),
        })
    }
}

impl Media {
    fn compile_all(document: &OpenApi, content: &str, mistakes: &mut Vec<Diagnostic>) -> Vec<Self> {
        let Some(kinds) = document.at(content).as_object() else {
            return Vec::new();
        };
        let mut media = Vec::new();
        for written in kinds.keys() {
            let name = essence(written);
            let mut place = content.to_owned();
            push_token(&mut place, written);
            // 3.2 may describe a media type once and refer to it.
            let mut place = document.resolve(&place).unwrap_or(place);
            place.push_str("/schema");
            let is_json = name == "application/json" || name.ends_with("+json");
            let schema = document.resolve(&place).filter(|_| is_json);
            let checker = schema.as_ref().and_then(|schema| {
                let built = document.checker(schema);
                built.map_err(|mistake| mistakes.push(mistake)).ok()
            });
            media.push(Self {
                name,
                schema,
                checker,
                rules: None,
            });
        }
        media
    }

    fn check(&self, body: &Document, violations: &mut Vec<Violation>) {
        let Some(checker) = &self.checker else { return };
        let Some(validator) = checker.get() else {
            // Never seen: it could be built when the version was loaded.
            return violations.push(at_root("its schema cannot be used now"));
        };
        if validator.is_valid(body.root()) {
            return;
        }
        let left = VIOLATION_LIMIT.saturating_sub(violations.len());
        violations.extend(validator.iter_errors(body.root()).take(left).map(|error| Violation {
            at: error.instance_path().to_string(),
            // The value itself may be personal, and the sender knows it.
            what: error.masked_with("the value").to_string(),
        }));
    }
}

impl Response {
    fn compile_all(document: &OpenApi, place: &str, mistakes: &mut Vec<Diagnostic>) -> Vec<Self> {
        let Some(declared) = document.at(place).as_object() else {
            return Vec::new();
        };
        let mut responses = Vec::new();
        for written in declared.keys() {
            let at = format!("{place}/{written}");
            let status = match written.as_bytes() {
                b"default" => StatusKey::Default,
                [hundred @ b'1'..=b'5', b'X', b'X'] => StatusKey::Range(u16::from(hundred - b'0')),
                _ => {
                    if let Ok(code @ 100..=599) = written.parse() {
                        StatusKey::Exactly(code)
                    } else {
                        mistakes.push(
                            document
                                .mistake(&at, format!("`{written}` is no status"))
                                .help("write '200', '4XX' or default"),
                        );
                        continue;
                    }
                }
            };
            let Some(at) = document.resolve(&at) else { continue };
            responses.push(Self {
                status,
                media: Media::compile_all(document, &format!("{at}/content"), mistakes),
                headers: Parameter::compile_headers(document, &format!("{at}/headers"), mistakes),
            });
        }
        responses
    }
}

/// The kind of body a message says it has, among those declared.
pub(super) fn find_media<'a>(media: &'a [Media], headers: &HeaderMap) -> Option<&'a Media> {
    let written = essence(headers.get(CONTENT_TYPE)?.to_str().ok()?);
    media.iter().find(|media| media.name == written)
}

/// A media type in lower case, without its parameters.
fn essence(written: &str) -> String {
    written
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

fn header_values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Option<&'a str>> {
    headers.get_all(name).iter().map(|value| value.to_str().ok()).collect()
}

/// The names in a path template, in order.
fn path_names(template: &str) -> Vec<String> {
    let names = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    names.map(|(name, _)| name.to_owned()).collect()
}

fn at_root(what: impl Into<String>) -> Violation {
    Violation {
        at: String::new(),
        what: what.into(),
    }
}
