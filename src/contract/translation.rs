//! One operation's way from the caller's version to the upstream's, and back: whole messages, nothing by halves.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::operation::{Operation, StatusKey, find_media};
use super::parameter::parse_query;
use super::program::{Effect, Fault, Programs};
use super::spec::Direction;
use crate::config::SourceFile;
use crate::json::{Builder, Document, Kind, MemberName, Pointer, Value};

/// Everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The compiled mapping between two neighbouring versions.
#[derive(Debug)]
pub(super) struct Step {
    /// The mapping file.
    pub(super) file: SourceFile,
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
    pub body: Option<Document>,
}

/// A response in the caller's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedResponse {
    /// The caller's status code.
    pub status: StatusCode,
    /// The body, if there is one.
    pub body: Option<Document>,
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
        let path = self.path(path_values)?;
        let path_and_query = match self.query(query)? {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path,
        };
        let mapped_headers = self.headers(headers)?;
        let body = match body {
            Some(body) => Some(translate(body, &self.request_programs(headers)?)?),
            None => None,
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
        let (code, programs) = self.response_programs(status, headers, body.is_some())?;
        let body = body.map(|body| translate(body, &programs)).transpose()?;
        let status = StatusCode::from_u16(code).map_err(|_| Unmappable::new(format!("{code} is no status")))?;
        Ok(MappedResponse { status, body })
    }

    /// Translates a request's body, and tells what each step did.
    pub fn explain_request(&self, headers: &HeaderMap, body: &Document) -> Result<Vec<ExplainedStage>, Unmappable> {
        explain(body, &self.request_programs(headers)?)
    }

    /// Translates a response's body, and tells what each step did.
    pub fn explain_response(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Document,
    ) -> Result<Vec<ExplainedStage>, Unmappable> {
        explain(body, &self.response_programs(status, headers, true)?.1)
    }

    /// What turns the body of a request into the upstream's, step by step.
    pub(super) fn request_programs(&self, headers: &HeaderMap) -> Result<Vec<Running<'_>>, Unmappable> {
        let Some(declared) = &self.caller().body else {
            return Err(Unmappable::new("a body where the operation takes none"));
        };
        let media = find_media(&declared.media, headers).or(declared.media.first());
        let media = media.map(|media| media.name.as_str()).unwrap_or_default();
        let mut programs = Vec::with_capacity(self.stages.len());
        for (index, (step, way)) in self.stages.iter().enumerate() {
            let program = self.operation_step(index).and_then(|own| own.requests.get(media));
            let program = program.ok_or_else(|| Unmappable::new(format!("no mapping for a body of {media}")))?;
            programs.push((&**step, *program, *way));
        }
        Ok(programs)
    }

    /// The caller's status, and what turns the body of a response into the caller's, step by step.
    pub(super) fn response_programs(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        has_body: bool,
    ) -> Result<(u16, Vec<Running<'_>>), Unmappable> {
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
            if !has_body {
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
        Ok((code, programs))
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

    /// What turns parameters into the upstream's, step by step; each step has a program for each kind.
    pub(super) fn parameter_programs(&self, program: impl Fn(&OperationStep) -> usize) -> Option<Vec<Running<'_>>> {
        let stages = self.stages.iter().enumerate();
        stages
            .map(|(index, (step, way))| Some((&**step, program(self.operation_step(index)?), *way)))
            .collect()
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
        if self.is_carried(|own| own.path) {
            let find = |name: &str| {
                let position = names.iter().position(|known| known == name)?;
                Some(Cow::Borrowed(values[position].as_str()))
            };
            return self.fill_template(find);
        }
        let values = names.iter().zip(values);
        let given = values.map(|(name, value)| (name.as_str(), vec![value.as_str()]));
        let mapped = self.run_parameters(parameters(given), "path", |own| own.path)?;
        self.fill_template(|name| mapped.root().get(name).and_then(text))
    }

    /// The upstream's path.
    fn fill_template<'v>(&self, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> Result<String, Unmappable> {
        let mut path = String::with_capacity(64);
        let mut rest = self.upstream().template.as_str();
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let value = value(name).ok_or_else(|| Unmappable::new(format!("no value for `{{{name}}}` in the path")))?;
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
        let (caller, upstream) = (self.caller(), self.upstream());
        let is_written_alike = caller.separators().eq(upstream.separators());
        if is_written_alike && self.is_carried(|own| own.query) {
            return Ok(query.map(str::to_owned));
        }
        let mut given: Vec<(String, Vec<String>)> = Vec::new();
        for (name, value) in parse_query(query.unwrap_or_default()) {
            let value = value.ok_or_else(|| Unmappable {
                detail: "a value that is not text in UTF-8".to_owned(),
                pointer: format!("query:{name}"),
            })?;
            let separator = caller.separators().find(|(separated, _)| *separated == name);
            let items: Vec<String> = match separator {
                Some((_, separator)) => value.split(separator).map(str::to_owned).collect(),
                None => vec![value],
            };
            match given.iter_mut().find(|(other, _)| *other == name) {
                Some((_, values)) => values.extend(items),
                None => given.push((name, items)),
            }
        }
        let given = given
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()));
        let mapped = self.run_parameters(parameters(given), "query", |own| own.query)?;
        let mut encoded = String::with_capacity(64);
        for (name, value) in mapped.root().members() {
            let name = name.text();
            let separator = upstream.separators().find(|(separated, _)| **separated == *name);
            for (position, value) in each(value).filter_map(text).enumerate() {
                match separator {
                    Some((_, ',')) if position > 0 => encoded.push(','),
                    Some((_, separator)) if position > 0 => {
                        let _ = write!(encoded, "%{:02X}", u32::from(separator));
                    }
                    _ => {
                        let separator = if encoded.is_empty() { "" } else { "&" };
                        let _ = write!(encoded, "{separator}{}=", utf8_percent_encode(&name, ENCODED));
                    }
                }
                let _ = write!(encoded, "{}", utf8_percent_encode(&value, ENCODED));
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
        let mut given: Vec<(&str, Vec<&str>)> = Vec::new();
        for name in &names {
            if let (Some(value), true) = (headers.get(*name), !given.iter().any(|(other, _)| other == name)) {
                let value = value.to_str().map_err(|_| Unmappable {
                    detail: "a value that is not plain text".to_owned(),
                    pointer: format!("header:{name}"),
                })?;
                given.push((name, vec![value]));
            }
        }
        let values = self.run_parameters(parameters(given), "header", |own| own.header)?;
        let mut mapped = headers.clone();
        for name in names {
            mapped.remove(name);
        }
        for (name, value) in values.root().members() {
            let Some(text) = text(value) else { continue };
            let name = name.text();
            let field = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&text).ok());
            let (field, text) = field.ok_or_else(|| Unmappable {
                detail: "a value that no header field can carry".to_owned(),
                pointer: format!("header:{name}"),
            })?;
            mapped.insert(field, text);
        }
        Ok(Some(mapped))
    }

    /// Whether no mapping on the way has steps for these parameters.
    fn is_carried(&self, program: impl Fn(&OperationStep) -> usize) -> bool {
        self.stages.iter().enumerate().all(|(index, (step, _))| {
            self.operation_step(index)
                .is_some_and(|own| step.programs.list[program(own)].is_identity)
        })
    }

    fn run_parameters(
        &self,
        mut values: Document,
        place: &str,
        program: impl Fn(&OperationStep) -> usize,
    ) -> Result<Document, Unmappable> {
        for (index, (step, way)) in self.stages.iter().enumerate() {
            let Some(own) = self.operation_step(index) else {
                return Err(Unmappable::new("the operation is not mapped"));
            };
            values = step.programs.run(program(own), *way, &values).map_err(|fault| {
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
        Ok(values)
    }
}

/// Parameters as an object; one that is given several times is a list.
fn parameters<'v>(given: impl IntoIterator<Item = (&'v str, Vec<&'v str>)>) -> Document {
    let mut builder = Builder::with_capacity(256, 16);
    let object = builder.begin_object();
    for (name, values) in given {
        builder.name(object, &MemberName::new(name));
        if let [value] = values[..] {
            builder.string(value);
            continue;
        }
        let list = builder.begin_array();
        for value in values {
            builder.element(list);
            builder.string(value);
        }
        builder.end(list);
    }
    builder.end(object);
    // Header fields and targets are bounded far below what a document may hold.
    builder.finish().unwrap_or_else(|| Document::of_string(""))
}

/// The elements of a list, or the one value.
fn each(value: Value<'_>) -> impl Iterator<Item = Value<'_>> {
    let single = (value.kind() != Kind::Array).then_some(value);
    value.elements().chain(single)
}

/// A plain value as a parameter is written.
fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value.kind() {
        Kind::String => value.as_str(),
        Kind::Number | Kind::Bool => Some(Cow::Borrowed(value.raw())),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// A mapping, the position of one of its programs, and the way through it.
pub(super) type Running<'a> = (&'a Step, usize, Direction);

/// What one mapping of a chain did to a document.
#[derive(Clone, Debug)]
pub struct ExplainedStage {
    /// The mapping file.
    pub file: SourceFile,
    /// Which way it was taken.
    pub way: Direction,
    /// What its steps did, in the order in which they wrote.
    pub effects: Vec<Effect>,
    /// What came out.
    pub document: Document,
}

fn explain(body: &Document, programs: &[Running<'_>]) -> Result<Vec<ExplainedStage>, Unmappable> {
    let mut stages: Vec<ExplainedStage> = Vec::with_capacity(programs.len());
    for (index, (step, program, way)) in programs.iter().enumerate() {
        let before = stages.last().map_or(body, |stage| &stage.document);
        let (document, effects) = step
            .programs
            .explain(*program, *way, before)
            .map_err(|fault| sent_as(fault, &programs[..index]))?;
        stages.push(ExplainedStage {
            file: step.file.clone(),
            way: *way,
            effects,
            document,
        });
    }
    Ok(stages)
}

/// Runs the programs of a chain one after the other. What the first made, the next reads without parsing it.
fn translate(body: &Document, programs: &[Running<'_>]) -> Result<Document, Unmappable> {
    let mut made: Option<Document> = None;
    for (index, (step, program, way)) in programs.iter().enumerate() {
        if step.programs.list[*program].is_identity {
            continue;
        }
        let translated = step
            .programs
            .run(*program, *way, made.as_ref().unwrap_or(body))
            .map_err(|fault| sent_as(fault, &programs[..index]))?;
        made = Some(translated);
    }
    Ok(made.unwrap_or_else(|| body.clone()))
}

/// A fault in the words of the message as it was sent: the programs before it are followed backwards.
fn sent_as(fault: Fault, before: &[Running<'_>]) -> Unmappable {
    let mut tokens = fault.tokens;
    for (step, program, way) in before.iter().rev() {
        tokens = step.programs.origin(*program, *way, tokens);
    }
    Unmappable {
        detail: fault.detail,
        pointer: Pointer::from(tokens).to_string(),
    }
}
