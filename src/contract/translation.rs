//! One operation's way from the caller's version to the upstream's, and back: whole messages, nothing by halves.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::operation::{Operation, StatusKey, find_media};
use super::parameter::parse_query;
use super::program::{Fault, Programs};
use super::spec::Direction;
use crate::json::{Document, Out, Pointer};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The compiled mapping between two neighbouring versions.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) programs: Programs,
    pub(super) operations: HashMap<Arc<str>, OperationStep>,
}

/// What a mapping does to one operation.
#[derive(Debug, Default)]
pub(super) struct OperationStep {
    pub(super) path: usize,
    pub(super) query: usize,
    pub(super) header: usize,
    /// Names of header fields that steps read or write.
    pub(super) header_names: Vec<Box<str>>,
    /// Programs of request bodies by media type.
    pub(super) requests: HashMap<String, usize>,
    /// Programs of response bodies: older status key, newer status key, media type.
    pub(super) responses: HashMap<(StatusKey, StatusKey, String), usize>,
    /// Status codes, older to newer.
    pub(super) status_up: BTreeMap<u16, u16>,
    /// Status codes, newer to older.
    pub(super) status_down: BTreeMap<u16, u16>,
}

/// The compiled way of one operation between the caller's version and the upstream's.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The operation in every version on the way, the caller's first.
    pub(super) operations: Vec<Arc<Operation>>,
    /// The mapping between each two of them, and the way a request takes through it.
    pub(super) stages: Vec<(Arc<Step>, Direction)>,
}

/// A request in the upstream's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRequest {
    /// The upstream's method.
    pub method: Method,
    /// Path and query, encoded, below wherever the upstream serves the API.
    pub path_and_query: String,
    /// The body, if there is one.
    pub body: Option<Bytes>,
}

/// A response in the caller's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedResponse {
    /// The caller's status code.
    pub status: StatusCode,
    /// The body, if there is one.
    pub body: Option<Bytes>,
}

/// A message has a value that no value of the other version corresponds to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail} at `{pointer}`")]
pub struct Unmappable {
    /// What cannot be translated: a lower-case phrase.
    pub detail: String,
    /// Where it stands in the message as it was sent: a JSON Pointer into the body (in the caller's words for a
    /// request, in the upstream's for a response), or `query:NAME`, `path:NAME`, `header:NAME`.
    pub pointer: String,
}

impl Unmappable {
    fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            pointer: String::new(),
        }
    }
}

impl Translation {
    /// Whether messages pass as they are.
    pub fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// The operation in the caller's version.
    pub fn caller(&self) -> &Arc<Operation> {
        &self.operations[0]
    }

    /// The operation in the upstream's version.
    pub fn upstream(&self) -> &Arc<Operation> {
        &self.operations[self.stages.len()]
    }

    /// Turns the caller's request into the upstream's. Header fields are changed only if all else succeeded.
    pub fn request(
        &self,
        path_values: &[String],
        query: Option<&str>,
        headers: &mut HeaderMap,
        body: Option<&Document>,
    ) -> Result<MappedRequest, Unmappable> {
        let upstream = self.upstream();
        let caller = self.caller();
        let path = self.path(path_values)?;
        let path_and_query = match self.query(query)? {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path,
        };
        let mapped_headers = self.headers(headers)?;
        let body = match (body, &caller.body) {
            (None, _) => None,
            (Some(_), None) => return Err(Unmappable::new("a body where the operation takes none")),
            (Some(body), Some(declared)) => {
                let media = find_media(&declared.media, headers).or(declared.media.first());
                let media = media.map(|media| media.name.as_str()).unwrap_or_default();
                let mut programs = Vec::with_capacity(self.stages.len());
                for (index, (step, way)) in self.stages.iter().enumerate() {
                    let program = self.operation_step(index).and_then(|own| own.requests.get(media));
                    let program =
                        program.ok_or_else(|| Unmappable::new(format!("no mapping for a body of {media}")))?;
                    programs.push((&**step, *program, *way));
                }
                Some(translate(body, &programs)?)
            }
        };
        if let Some(mapped) = mapped_headers {
            *headers = mapped;
        }
        Ok(MappedRequest {
            method: upstream.method.clone(),
            path_and_query,
            body,
        })
    }

    /// Turns the upstream's response into the caller's.
    pub fn response(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        body: Option<&Document>,
    ) -> Result<MappedResponse, Unmappable> {
        let mut code = status.as_u16();
        let mut programs = Vec::with_capacity(self.stages.len());
        for (index, (step, way)) in self.stages.iter().enumerate().rev() {
            let (from, to) = (&self.operations[index + 1], &self.operations[index]);
            let undeclared = |code| Unmappable::new(format!("status {code} is not declared for {}", from.id));
            let own = self.operation_step(index).ok_or_else(|| undeclared(code))?;
            let source = from.response(code).ok_or_else(|| undeclared(code))?;
            let statuses = if *way == Direction::Up {
                &own.status_down
            } else {
                &own.status_up
            };
            code = statuses.get(&code).copied().unwrap_or(code);
            let target = to.response(code).ok_or_else(|| undeclared(code))?;
            if body.is_none() {
                continue;
            }
            let media = find_media(&source.media, headers)
                .ok_or_else(|| Unmappable::new(format!("status {code} with a content type that is not declared")))?;
            let (older, newer, back) = match way {
                Direction::Up => (target.status, source.status, Direction::Down),
                Direction::Down => (source.status, target.status, Direction::Up),
            };
            let program = own
                .responses
                .get(&(older, newer, media.name.clone()))
                .ok_or_else(|| Unmappable::new(format!("no mapping for status {code} as {}", media.name)))?;
            programs.push((&**step, *program, back));
        }
        let body = body.map(|body| translate(body, &programs)).transpose()?;
        let status = StatusCode::from_u16(code).map_err(|_| Unmappable::new(format!("{code} is no status")))?;
        Ok(MappedResponse { status, body })
    }

    /// Where a place in the upstream's request body came from in the caller's: for problems an upstream reports.
    pub fn translate_pointer(&self, pointer_in_upstream: &str) -> Option<String> {
        let mut tokens = Pointer::parse(pointer_in_upstream).ok()?.tokens().to_vec();
        let media = self.caller().media_types().next()?;
        for (index, (step, way)) in self.stages.iter().enumerate().rev() {
            let program = self.operation_step(index)?.requests.get(media)?;
            tokens = step.programs.origin(*program, *way, tokens);
        }
        Some(Pointer::from(tokens).to_string())
    }

    fn operation_step(&self, stage: usize) -> Option<&OperationStep> {
        self.stages[stage].0.operations.get(&self.operations[0].id)
    }

    fn path(&self, values: &[String]) -> Result<String, Unmappable> {
        let names = &self.caller().path_names;
        if names.len() != values.len() {
            return Err(Unmappable::new(format!(
                "{} path values for {}",
                values.len(),
                names.len()
            )));
        }
        let values = names.iter().zip(values);
        let mut values = Out::Obj(
            values
                .map(|(name, value)| (Cow::Borrowed(name.as_str()), Out::Str(Cow::Borrowed(value.as_str()))))
                .collect(),
        );
        self.run_parameters(&mut values, "path", |own| own.path)?;
        let mut path = String::with_capacity(64);
        let mut rest = self.upstream().template.as_str();
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let found = values.find(&[name.into()]);
            let value = found.as_ref().and_then(|value| value.as_text());
            let value = value.ok_or_else(|| Unmappable::new(format!("no value for `{{{name}}}` in the path")))?;
            if matches!(&*value, "" | "." | "..") {
                // The upstream would read another path.
                return Err(Unmappable {
                    detail: "a value that cannot stand in a path".to_owned(),
                    pointer: format!("path:{name}"),
                });
            }
            path.push_str(literal);
            let _ = write!(path, "{}", utf8_percent_encode(&value, ENCODED));
            rest = after;
        }
        path.push_str(rest);
        Ok(path)
    }

    fn query(&self, query: Option<&str>) -> Result<Option<String>, Unmappable> {
        let is_carried = |(index, (step, _)): (usize, &(Arc<Step>, Direction))| {
            self.operation_step(index)
                .is_some_and(|own| step.programs.list[own.query].is_identity)
        };
        if self.stages.iter().enumerate().all(is_carried) {
            return Ok(query.map(str::to_owned));
        }
        let mut values: Vec<(Cow<'_, str>, Out<'_>)> = Vec::new();
        for (name, value) in parse_query(query.unwrap_or_default()) {
            let value = value.ok_or_else(|| Unmappable {
                detail: "a value that is not text in UTF-8".to_owned(),
                pointer: format!("query:{name}"),
            })?;
            let value = Out::Str(Cow::Owned(value));
            match values.iter_mut().find(|(other, _)| *other == name) {
                Some((_, Out::Arr(list))) => list.push(value),
                Some((_, first)) => *first = Out::Arr(vec![std::mem::replace(first, Out::Absent), value]),
                None => values.push((Cow::Owned(name), value)),
            }
        }
        let mut values = Out::Obj(values);
        self.run_parameters(&mut values, "query", |own| own.query)?;
        let mut encoded = String::with_capacity(64);
        if let Out::Obj(values) = &values {
            for (name, value) in values {
                let list = if let Out::Arr(list) = value {
                    list.as_slice()
                } else {
                    std::slice::from_ref(value)
                };
                for value in list.iter().filter_map(Out::as_text) {
                    let separator = if encoded.is_empty() { "" } else { "&" };
                    let name = utf8_percent_encode(name, ENCODED);
                    let _ = write!(encoded, "{separator}{name}={}", utf8_percent_encode(&value, ENCODED));
                }
            }
        }
        Ok(Some(encoded))
    }

    /// The header fields for the upstream, if any mapping touches them.
    fn headers(&self, headers: &HeaderMap) -> Result<Option<HeaderMap>, Unmappable> {
        let own = (0..self.stages.len()).filter_map(|index| self.operation_step(index));
        let names: Vec<&str> = own.flat_map(|own| &own.header_names).map(|name| &**name).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let mut values: Vec<(Cow<'_, str>, Out<'_>)> = Vec::new();
        for name in &names {
            if let (Some(value), true) = (headers.get(*name), !values.iter().any(|(other, _)| other == name)) {
                let value = value.to_str().map_err(|_| Unmappable {
                    detail: "a value that is not plain text".to_owned(),
                    pointer: format!("header:{name}"),
                })?;
                values.push((Cow::Borrowed(name), Out::Str(Cow::Borrowed(value))));
            }
        }
        let mut values = Out::Obj(values);
        self.run_parameters(&mut values, "header", |own| own.header)?;
        let mut mapped = headers.clone();
        for name in names {
            mapped.remove(name);
        }
        let Out::Obj(values) = &values else {
            return Ok(Some(mapped));
        };
        for (name, value) in values {
            let Some(text) = value.as_text() else { continue };
            let field = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&text).ok());
            let (field, text) = field.ok_or_else(|| Unmappable {
                detail: "a value that no header field can carry".to_owned(),
                pointer: format!("header:{name}"),
            })?;
            mapped.insert(field, text);
        }
        Ok(Some(mapped))
    }

    fn run_parameters<'a>(
        &'a self,
        values: &mut Out<'a>,
        place: &str,
        program: impl Fn(&OperationStep) -> usize,
    ) -> Result<(), Unmappable> {
        for (index, (step, way)) in self.stages.iter().enumerate() {
            let Some(own) = self.operation_step(index) else {
                return Err(Unmappable::new("the operation is not mapped"));
            };
            step.programs.run(program(own), *way, values).map_err(|fault| {
                let mut tokens = fault.tokens;
                for (index, (step, way)) in self.stages[..index].iter().enumerate().rev() {
                    if let Some(own) = self.operation_step(index) {
                        tokens = step.programs.origin(program(own), *way, tokens);
                    }
                }
                Unmappable {
                    detail: fault.detail,
                    pointer: format!("{place}:{}", tokens.first().map_or("", String::as_str)),
                }
            })?;
        }
        Ok(())
    }
}

/// Runs the programs of a chain one after the other over the same tree, and writes it once.
fn translate(body: &Document, programs: &[(&Step, usize, Direction)]) -> Result<Bytes, Unmappable> {
    let mut value = Out::Raw(body.root());
    for (index, (step, program, way)) in programs.iter().enumerate() {
        step.programs
            .run(*program, *way, &mut value)
            .map_err(|fault| sent_as(fault, &programs[..index]))?;
    }
    let mut bytes = Vec::with_capacity(body.text().len() * 5 / 4 + 64);
    value.write(&mut bytes);
    Ok(bytes.into())
}

/// A fault in the words of the message as it was sent: the programs before it are followed backwards.
fn sent_as(fault: Fault, before: &[(&Step, usize, Direction)]) -> Unmappable {
    let mut tokens = fault.tokens;
    for (step, program, way) in before.iter().rev() {
        tokens = step.programs.origin(*program, *way, tokens);
    }
    Unmappable {
        detail: fault.detail,
        pointer: Pointer::from(tokens).to_string(),
    }
}
