//! One operation's way from the caller's version to the upstream's, and back: whole messages, nothing by halves.

mod cookies;
mod fused;

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::cursor::Sealer;
use super::links::Surroundings;
use super::lookup::{Answers, Lookup};
use super::mark::Mark;
use super::message::{Message, Messages, Missed};
use super::operation::{Operation, StatusKey, find_media};
use super::outline::Outline;
use super::parameter::{Parameter, Place, parse_query};
use super::program::{Effect, Fault, Programs, Trace};
use super::spec::Direction;
use super::update::{MergeStep, Update};
use crate::config::SourceFile;
use crate::json::{Builder, Document, Kind, MemberName, Pointer, Value};
pub(super) use fused::{Chains, Fused};

/// Everything but the unreserved characters of RFC 3986.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The compiled mapping between two neighbouring versions.
#[derive(Debug)]
pub(super) struct Step {
    /// The mapping file.
    pub(super) file: SourceFile,
    /// Of all files that it was made of.
    pub(super) digest: blake3::Hash,
    pub(super) programs: Programs,
    /// What its steps ask of other systems.
    pub(super) lookups: Vec<Arc<Lookup>>,
    pub(super) operations: HashMap<Arc<str>, OperationStep>,
    /// Places that requests may have, in the older version and in the newer one.
    pub(super) outlines: [Outline; 2],
}

/// What a mapping does to one operation.
#[derive(Debug, Default)]
pub(super) struct OperationStep {
    pub(super) path: usize,
    pub(super) query: usize,
    pub(super) header: usize,
    /// Names of header fields that steps read or write.
    pub(super) header_names: Vec<Box<str>>,
    pub(super) cookie: usize,
    /// Names of cookies that steps read or write.
    pub(super) cookie_names: Vec<Box<str>>,
    pub(super) response_header: usize,
    /// Names of header fields of answers that steps read or write.
    pub(super) response_header_names: Vec<Box<str>>,
    /// Programs of request bodies by media type.
    pub(super) requests: HashMap<String, usize>,
    /// Programs of response bodies: older status key, newer status key, media type.
    pub(super) responses: HashMap<(StatusKey, StatusKey, String), usize>,
    /// Status codes, older to newer.
    pub(super) status_up: BTreeMap<u16, u16>,
    /// Status codes, newer to older.
    pub(super) status_down: BTreeMap<u16, u16>,
    /// What is said of whole messages.
    pub(super) message: Message,
    /// Where fields that the caller cannot see stay in an update.
    pub(super) update: Option<MergeStep>,
}

/// The compiled way of one operation between the caller's version and the upstream's.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The operation in every version on the way, the caller's first.
    pub(super) operations: Vec<Arc<Operation>>,
    /// The mapping between each two of them, and the way a request takes through it.
    pub(super) stages: Vec<(Arc<Step>, Direction)>,
    /// What the mappings say of whole messages; `None` where they say nothing.
    pub(super) messages: Option<Arc<Messages>>,
    /// Where links lead; `None` where a translation is looked at by itself.
    pub(super) surroundings: Option<Arc<Surroundings>>,
    /// Callers get cursors sealed.
    pub(super) seals: bool,
    /// Where the operation's updates keep what the caller cannot see.
    pub(super) update: Option<Arc<Update>>,
    pub(super) mark: Arc<Mark>,
    /// What is known of keys; `None` where nobody is asked.
    pub(super) answers: Option<Arc<dyn Answers>>,
    /// Chains of mappings that run as one program.
    pub(super) fused: Arc<Fused>,
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
    /// What was left out or put elsewhere, for want of a counterpart.
    pub missed: Missed,
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
    /// It is not even what it should be, in any version.
    pub is_malformed: bool,
    /// The step of a mapping that cannot translate it, where it is one.
    pub step: Option<Box<StepPlace>>,
    /// Nothing is wrong yet: it was met with keys that its `Answers` do not know so far.
    pub is_waiting: bool,
}

/// A place in a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlace {
    /// The mapping file, as it is shown to operators.
    pub file: PathBuf,
    /// Line and column of the step, 1-based, and its name; `None` where no step says what becomes of a value.
    pub step: Option<(u32, u32, String)>,
}

impl StepPlace {
    /// The same as callers are told it: without the folders around the contract's own.
    #[must_use]
    pub fn below_contracts(&self) -> Self {
        let parts: Vec<_> = self.file.components().rev().take(2).collect();
        Self {
            file: parts.into_iter().rev().collect(),
            step: self.step.clone(),
        }
    }
}

/// `contracts/orders/v1-v2.map.yaml:28:7 (decimal)`.
impl fmt::Display for StepPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match &self.step {
            Some((line, column, name)) => write!(f, ":{line}:{column} ({name})"),
            None => Ok(()),
        }
    }
}

impl Step {
    /// A place in this mapping.
    pub(super) fn place(&self, step: Option<(u32, u32)>) -> StepPlace {
        let name = |(line, column): (u32, u32)| {
            let text = self.file.text.lines().nth(line.saturating_sub(1) as usize)?;
            let before = text.char_indices().nth(column.saturating_sub(1) as usize)?.0;
            let from = text[before..].trim_start_matches(|character: char| !character.is_ascii_alphabetic());
            let name: String = from.chars().take_while(char::is_ascii_alphanumeric).collect();
            Some((line, column, name))
        };
        StepPlace {
            file: self.file.path.clone(),
            step: step.and_then(name),
        }
    }
}

impl Unmappable {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self::at(detail, "")
    }

    pub(super) fn at(detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            pointer: pointer.into(),
            is_malformed: false,
            step: None,
            is_waiting: false,
        }
    }

    fn waiting() -> Self {
        Self {
            is_waiting: true,
            ..Self::new("there are keys that were not looked up")
        }
    }

    /// The same as the fault of a step.
    pub(super) fn by(self, step: StepPlace) -> Self {
        Self {
            step: Some(Box::new(step)),
            ..self
        }
    }

    pub(super) fn malformed(detail: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self {
            is_malformed: true,
            ..Self::at(detail, pointer)
        }
    }
}

/// A value of the query that is replaced before anything else is done with it.
#[derive(Clone, Copy)]
pub(super) struct Swap<'s> {
    pub(super) name: &'s str,
    pub(super) by: &'s dyn Fn(&str) -> Result<String, String>,
}

impl Translation {
    /// What its mappings ask of other systems.
    pub fn lookups(&self) -> impl Iterator<Item = &Arc<Lookup>> {
        self.stages.iter().flat_map(|(step, _)| &step.lookups)
    }

    /// The same with what is known of keys.
    #[must_use]
    pub fn knowing(&self, answers: Arc<dyn Answers>) -> Self {
        Self {
            answers: Some(answers),
            ..self.clone()
        }
    }

    /// Whether messages pass as they are.
    pub fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// How updates keep what the caller cannot see, where they do.
    pub fn update(&self) -> Option<&Arc<Update>> {
        self.update.as_ref()
    }

    /// The contract's versions and the revision of what lies between them.
    pub fn mark(&self) -> &Arc<Mark> {
        &self.mark
    }

    /// Whether every version on the way declares answers with a status that is the same in all of them.
    pub fn answers(&self, status: StatusCode) -> bool {
        let mut operations = self.operations.iter();
        operations.all(|operation| operation.response(status.as_u16()).is_some())
    }

    /// Whether a request's body is a patch that is applied to what it changes, before anything is translated.
    pub fn keeps_patch(&self) -> bool {
        self.update.as_ref().is_some_and(|update| update.is_patch())
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
        self.request_of(path_values, query, headers, body)
    }

    /// The same with a body that is dropped as soon as the first mapping has read it: a large one is in memory in two
    /// versions at a time, not in all.
    pub fn request_of(
        &self,
        path_values: &[String],
        query: Option<&str>,
        headers: &mut HeaderMap,
        body: Option<impl Borrow<Document>>,
    ) -> Result<MappedRequest, Unmappable> {
        let upstream = self.upstream();
        // All parts are looked at before any is waited for.
        let path = ready(self.path(path_values))?;
        let query = ready(self.opened(query))?;
        let mapped_headers = ready(self.fields(headers, Fields::Request))?;
        let cookies = ready(self.cookies(headers))?;
        let body = match body {
            Some(body) if !self.keeps_patch() => {
                let programs = self.request_programs(headers)?;
                ready(self.translated(body, &programs, None).map(Some))?
            }
            _ => Some(None),
        };
        let (Some(path), Some(query), Some(mapped_headers), Some(cookies), Some(body)) =
            (path, query, mapped_headers, cookies, body)
        else {
            return Err(Unmappable::waiting());
        };
        let path_and_query = match query {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path,
        };
        if let Some(mapped) = mapped_headers {
            *headers = mapped;
        }
        if let Some(cookies) = cookies {
            cookies.put(headers);
        }
        Ok(MappedRequest {
            method: upstream.method.clone(),
            path_and_query,
            body,
        })
    }

    /// Turns the upstream's response into the caller's. Header fields are changed only if all else succeeded.
    pub fn response(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        body: Option<&Document>,
    ) -> Result<MappedResponse, Unmappable> {
        self.response_of(status, headers, body)
    }

    /// The same with a body that is dropped as soon as the first mapping has read it.
    pub fn response_of(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        body: Option<impl Borrow<Document>>,
    ) -> Result<MappedResponse, Unmappable> {
        let (code, programs) = self.response_programs(status, headers, body.is_some())?;
        let mut missed = Missed::default();
        let body = match body {
            Some(body) => {
                let mut prepare = |stage: usize, body: &Document| self.prepared(stage, code >= 400, body, &mut missed);
                let prepare: Option<&mut Prepare<'_>> = if self.edits(code >= 400) {
                    Some(&mut prepare)
                } else {
                    None
                };
                ready(self.translated(body, &programs, prepare).map(Some))?
            }
            None => Some(None),
        };
        let status = StatusCode::from_u16(code).map_err(|_| Unmappable::new(format!("{code} is no status")))?;
        let relinked = self.relinked(headers, &mut missed)?;
        let mapped = ready(self.fields(relinked.as_ref().unwrap_or(headers), Fields::Response))?;
        let (Some(mapped), Some(body)) = (mapped, body) else {
            return Err(Unmappable::waiting());
        };
        // Links wait for their keys, too.
        if is_waiting(self.known()) {
            return Err(Unmappable::waiting());
        }
        if let Some(mapped) = mapped.or(relinked) {
            *headers = mapped;
        }
        Ok(MappedResponse { status, body, missed })
    }

    /// Translates a request's body, and tells what each step did.
    pub fn explain_request(&self, headers: &HeaderMap, body: &Document) -> Result<Vec<ExplainedStage>, Unmappable> {
        explain(body, &self.request_programs(headers)?, None, self.known())
    }

    /// Translates a response's body, and tells what each step did.
    pub fn explain_response(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Document,
    ) -> Result<Vec<ExplainedStage>, Unmappable> {
        let (code, programs) = self.response_programs(status, headers, true)?;
        let mut missed = Missed::default();
        let mut prepare = |stage: usize, body: &Document| self.prepared(stage, code >= 400, body, &mut missed);
        explain(body, &programs, Some(&mut prepare), self.known())
    }

    /// The step that wrote a place of a translated request's body, of the mapping that changed the value last; `headers`
    /// are those of the request. `None` where no step did, or the place alone does not tell.
    pub fn request_step(&self, headers: &HeaderMap, pointer: &str) -> Option<Box<StepPlace>> {
        written_by(&self.request_programs(headers).ok()?, pointer)
    }

    /// What turns the body of a request into the upstream's, step by step.
    pub(super) fn request_programs(&self, headers: &HeaderMap) -> Result<Vec<Running<'_>>, Unmappable> {
        let Some(declared) = &self.caller().body else {
            return Err(Unmappable::new("a body where the operation takes none"));
        };
        if self.keeps_patch() {
            return Err(Unmappable::new(
                "a patch is translated with the document that it changes",
            ));
        }
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

    /// Where the caller would find what stands at a place of an answer, or what is nearest around it.
    pub fn caller_place(&self, status: StatusCode, headers: &HeaderMap, pointer: &str) -> String {
        let Ok(pointer) = Pointer::parse(pointer) else {
            // A header field: its name in the caller's version is not known without its value.
            return String::new();
        };
        let mut tokens = pointer.tokens().to_vec();
        if let Ok((_, programs)) = self.response_programs(status, headers, true) {
            for (step, program, way) in programs {
                tokens = step.programs.origin(program, way.opposite(), tokens);
            }
        }
        Pointer::from(tokens).to_string()
    }

    /// The same for bodies alone: places in errors, links and cursors stay as they are.
    #[must_use]
    pub(super) fn of_bodies(self) -> Self {
        Self {
            messages: None,
            surroundings: None,
            ..self
        }
    }

    /// The same among the operations of its API: links lead to them, and cursors are sealed.
    #[must_use]
    pub fn within(self, surroundings: &Arc<Surroundings>) -> Self {
        Self {
            surroundings: Some(surroundings.clone()),
            ..self
        }
    }

    /// The same with cursors as the upstream writes them: what is sealed differs from one mapping to the next.
    #[must_use]
    pub fn unsealed(self) -> Self {
        Self { seals: false, ..self }
    }

    /// Names the mappings on the way, as they are written.
    pub(super) fn revision(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (step, _) in &self.stages {
            hasher.update(blake3::hash(step.file.text.as_bytes()).as_bytes());
        }
        hasher.finalize().to_hex()[..12].to_owned()
    }

    /// What seals its cursors, where it has any.
    pub(super) fn sealer(&self) -> Option<&Arc<Sealer>> {
        let surroundings = self.surroundings.as_ref().filter(|_| self.seals)?;
        surroundings.sealer(&self.caller().id)
    }

    /// The upstream's query. A cursor in it is one that was sealed here.
    fn opened(&self, query: Option<&str>) -> Result<Option<String>, Unmappable> {
        let cursor = self.messages.as_ref().and_then(|messages| messages.cursor.as_ref());
        let (Some(cursor), Some(sealer)) = (cursor, cursor.and_then(|_| self.sealer())) else {
            return self.query(query, None);
        };
        let open = |sealed: &str| sealer.open(sealed);
        let swap = Swap {
            name: &cursor.caller,
            by: &open,
        };
        self.query(query, Some(swap))
    }

    /// What turns parameters into the upstream's, step by step; each step has a program for each kind.
    pub(super) fn parameter_programs(&self, program: impl Fn(&OperationStep) -> usize) -> Option<Vec<Running<'_>>> {
        let stages = self.stages.iter().enumerate();
        stages
            .map(|(index, (step, way))| Some((&**step, program(self.operation_step(index)?), *way)))
            .collect()
    }

    pub(super) fn operation_step(&self, stage: usize) -> Option<&OperationStep> {
        self.stages[stage].0.operations.get(&self.operations[0].id)
    }

    /// The upstream's path.
    pub(super) fn path(&self, values: &[String]) -> Result<String, Unmappable> {
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
        let mut given = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(values) {
            let parameter = self.caller().parameter(Place::Path, name);
            given.push((name.as_str(), Given::of(parameter, value, || format!("path:{name}"))?));
        }
        let mapped = self.run_parameters(parameters(given), "path", Way::Request, |own| own.path)?;
        let upstream = self.upstream();
        self.fill_template(|name| written(upstream.parameter(Place::Path, name), mapped.root().get(name)?))
    }

    fn fill_template<'v>(&self, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> Result<String, Unmappable> {
        let mut path = String::with_capacity(64);
        let mut rest = self.upstream().template.as_str();
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let value = value(name).ok_or_else(|| Unmappable::new(format!("no value for `{{{name}}}` in the path")))?;
            if matches!(&*value, "" | "." | "..") {
                // The upstream would read another path.
                return Err(Unmappable::at(
                    "a value that cannot stand in a path".to_owned(),
                    format!("path:{name}"),
                ));
            }
            path.push_str(literal);
            let _ = write!(path, "{}", utf8_percent_encode(&value, ENCODED));
            rest = after;
        }
        path.push_str(rest);
        Ok(path)
    }

    /// The upstream's query.
    pub(super) fn query(&self, query: Option<&str>, swap: Option<Swap<'_>>) -> Result<Option<String>, Unmappable> {
        let (caller, upstream) = (self.caller(), self.upstream());
        let is_written_alike = caller.separators().eq(upstream.separators());
        if swap.is_none() && is_written_alike && self.is_carried(|own| own.query) {
            return Ok(query.map(str::to_owned));
        }
        let mut given: Vec<(String, Vec<String>)> = Vec::new();
        for (name, value) in parse_query(query.unwrap_or_default()) {
            let value = value.ok_or_else(|| {
                Unmappable::at("a value that is not text in UTF-8".to_owned(), format!("query:{name}"))
            })?;
            let separator = caller.separators().find(|(separated, _)| *separated == name);
            let items: Vec<String> = match separator {
                Some((_, separator)) => value.split(separator).map(str::to_owned).collect(),
                None => vec![value],
            };
            let items = match swap.filter(|swap| swap.name == name) {
                Some(swap) => {
                    let swapped = items.iter().map(|value| (swap.by)(value)).collect::<Result<_, _>>();
                    swapped.map_err(|detail| Unmappable::malformed(detail, format!("query:{name}")))?
                }
                None => items,
            };
            match given.iter_mut().find(|(other, _)| *other == name) {
                Some((_, values)) => values.extend(items),
                None => given.push((name, items)),
            }
        }
        let mut values = Vec::with_capacity(given.len());
        for (name, texts) in &given {
            let parameter = caller.parameter(Place::Query, name);
            let value = match &texts[..] {
                [text] => Given::of(parameter, text, || format!("query:{name}"))?,
                _ => Given::Texts(texts.iter().map(String::as_str).collect()),
            };
            values.push((name.as_str(), value));
        }
        let mapped = self.run_parameters(parameters(values), "query", Way::Request, |own| own.query)?;
        let mut encoded = String::with_capacity(64);
        for (name, value) in mapped.root().members() {
            let name = name.text();
            let separator = upstream.separators().find(|(separated, _)| **separated == *name);
            let parameter = upstream.parameter(Place::Query, &name);
            let values: Vec<_> = if parameter.is_some_and(|parameter| parameter.is_json) {
                vec![Cow::Borrowed(value.raw())]
            } else {
                each(value).filter_map(text).collect()
            };
            for (position, value) in values.into_iter().enumerate() {
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

    /// Header fields for the other side, if any mapping touches them.
    fn fields(&self, headers: &HeaderMap, which: Fields) -> Result<Option<HeaderMap>, Unmappable> {
        let own = (0..self.stages.len()).filter_map(|index| self.operation_step(index));
        let names: Vec<&str> = own.flat_map(|own| which.names(own)).map(|name| &**name).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let (from, to, way) = match which {
            Fields::Request => (self.caller(), self.upstream(), Way::Request),
            Fields::Response => (self.upstream(), self.caller(), Way::Response),
        };
        let mut texts: Vec<(&str, String)> = Vec::new();
        for name in &names {
            if headers.contains_key(*name) && !texts.iter().any(|(other, _)| other == name) {
                let values: Result<Vec<&str>, _> = headers.get_all(*name).iter().map(HeaderValue::to_str).collect();
                let values = values.map_err(|_| {
                    Unmappable::at("a value that is not plain text".to_owned(), format!("header:{name}"))
                })?;
                // One list, however many fields it stands in (RFC 9110 §5.3).
                texts.push((name, values.join(", ")));
            }
        }
        let mut given = Vec::with_capacity(texts.len());
        for (name, text) in &texts {
            given.push((
                *name,
                Given::of(which.parameter(from, name), text, || format!("header:{name}"))?,
            ));
        }
        let values = self.run_parameters(parameters(given), "header", way, |own| which.program(own))?;
        let mut mapped = headers.clone();
        for name in names {
            mapped.remove(name);
        }
        for (name, value) in values.root().members() {
            let name = name.text();
            let Some(text) = written(which.parameter(to, &name), value) else {
                continue;
            };
            let field = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&text).ok());
            let (field, text) = field.ok_or_else(|| {
                Unmappable::at(
                    "a value that no header field can carry".to_owned(),
                    format!("header:{name}"),
                )
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
        way: Way,
        program: impl Fn(&OperationStep) -> usize,
    ) -> Result<Document, Unmappable> {
        let legs = self.legs(way);
        for (position, (index, way)) in legs.iter().enumerate() {
            let Some(own) = self.operation_step(*index) else {
                return Err(Unmappable::new("the operation is not mapped"));
            };
            let programs = &self.stages[*index].0.programs;
            let run = programs.run(program(own), *way, &values, self.known());
            if is_waiting(self.known()) {
                return Err(Unmappable::waiting());
            }
            values = run.map_err(|fault| {
                let step = self.stages[*index].0.place(fault.step);
                let mut tokens = fault.tokens;
                for (index, way) in legs[..position].iter().rev() {
                    if let Some(own) = self.operation_step(*index) {
                        tokens = self.stages[*index].0.programs.origin(program(own), *way, tokens);
                    }
                }
                let name = tokens.first().map_or("", String::as_str);
                Unmappable::at(fault.detail, format!("{place}:{name}")).by(step)
            })?;
        }
        Ok(values)
    }

    /// Runs a chain at once where it can. Whatever cannot be translated so, the mappings translate one after the other,
    /// or say what is wrong.
    fn translated(
        &self,
        body: impl Borrow<Document>,
        programs: &[Running<'_>],
        prepare: Option<&mut Prepare<'_>>,
    ) -> Result<Document, Unmappable> {
        let fused = self.fused.of(programs).filter(|_| prepare.is_none());
        match fused.and_then(|fused| fused.run_fused(body.borrow())) {
            Some(made) => Ok(made),
            None => translate(body, programs, prepare, self.known()),
        }
    }

    fn known(&self) -> Option<&dyn Answers> {
        self.answers.as_deref()
    }

    /// The mappings in the order in which a message passes them, by position, and the way through each.
    fn legs(&self, way: Way) -> Vec<(usize, Direction)> {
        let stages = self.stages.iter().enumerate();
        match way {
            Way::Request => stages.map(|(index, (_, way))| (index, *way)).collect(),
            Way::Response => stages.rev().map(|(index, (_, way))| (index, way.opposite())).collect(),
        }
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Request,
    Response,
}

/// Header fields of which message.
#[derive(Clone, Copy)]
enum Fields {
    Request,
    Response,
}

impl Fields {
    fn names(self, own: &OperationStep) -> &[Box<str>] {
        match self {
            Self::Request => &own.header_names,
            Self::Response => &own.response_header_names,
        }
    }

    fn program(self, own: &OperationStep) -> usize {
        match self {
            Self::Request => own.header,
            Self::Response => own.response_header,
        }
    }

    fn parameter<'o>(self, operation: &'o Operation, name: &str) -> Option<&'o Parameter> {
        match self {
            Self::Request => operation.parameter(Place::Header, name),
            Self::Response => operation.response_header(name),
        }
    }
}

/// What a message has for a parameter.
enum Given<'v> {
    Texts(Vec<&'v str>),
    /// Its text is JSON.
    Json(Document),
}

impl<'v> Given<'v> {
    /// One value, read as it is described.
    fn of(parameter: Option<&Parameter>, text: &'v str, at: impl Fn() -> String) -> Result<Self, Unmappable> {
        if !parameter.is_some_and(|parameter| parameter.is_json) {
            return Ok(Self::Texts(vec![text]));
        }
        let parsed = Document::parse(Bytes::copy_from_slice(text.as_bytes()));
        let parsed = parsed.map_err(|error| Unmappable::at(format!("a value that is not JSON: {error}"), at()));
        parsed.map(Self::Json)
    }
}

/// A value as a parameter of the other side is written.
fn written<'v>(parameter: Option<&Parameter>, value: Value<'v>) -> Option<Cow<'v, str>> {
    if parameter.is_some_and(|parameter| parameter.is_json) {
        return Some(Cow::Borrowed(value.raw()));
    }
    text(value)
}

/// Parameters as an object; one that is given several times is a list.
fn parameters<'v>(given: impl IntoIterator<Item = (&'v str, Given<'v>)>) -> Document {
    let mut builder = Builder::with_capacity(256, 16);
    let object = builder.begin_object();
    for (name, values) in given {
        builder.name(object, &MemberName::new(name));
        let values = match values {
            Given::Texts(values) => values,
            Given::Json(document) => {
                builder.copy(document.root());
                continue;
            }
        };
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

/// What is done with a body before a mapping translates it, by the mapping's position; `None` leaves it as it is.
type Prepare<'p> = dyn FnMut(usize, &Document) -> Result<Option<Document>, (String, String)> + 'p;

/// Runs `prepare` for the mapping that is next, where there is one.
fn prepared(
    prepare: &mut Option<&mut Prepare<'_>>,
    programs: &[Running<'_>],
    index: usize,
    body: &Document,
) -> Result<Option<Document>, Unmappable> {
    let Some(prepare) = prepare else { return Ok(None) };
    // Answers pass the mappings from the last to the first.
    prepare(programs.len() - 1 - index, body).map_err(|(pointer, detail)| {
        let tokens = Pointer::parse(&pointer).map(|pointer| pointer.tokens().to_vec());
        let fault = Fault {
            detail,
            tokens: tokens.unwrap_or_default(),
            step: None,
        };
        sent_as(fault, &programs[..=index])
    })
}

fn explain(
    body: &Document,
    programs: &[Running<'_>],
    mut prepare: Option<&mut Prepare<'_>>,
    answers: Option<&dyn Answers>,
) -> Result<Vec<ExplainedStage>, Unmappable> {
    let mut stages: Vec<ExplainedStage> = Vec::with_capacity(programs.len());
    for (index, (step, program, way)) in programs.iter().enumerate() {
        let before = stages.last().map_or(body, |stage| &stage.document);
        let edited = prepared(&mut prepare, programs, index, before)?;
        let before = edited.as_ref().unwrap_or(before);
        let explained = step.programs.explain(*program, *way, before, answers);
        if is_waiting(answers) {
            return Err(Unmappable::waiting());
        }
        let (document, effects) = explained.map_err(|fault| sent_as(fault, &programs[..=index]))?;
        stages.push(ExplainedStage {
            file: step.file.clone(),
            way: *way,
            effects,
            document,
        });
    }
    Ok(stages)
}

/// The step of a chain that wrote a place of what came out: the last one that changed the value, else the last one that
/// moved it.
pub(super) fn written_by(programs: &[Running<'_>], pointer: &str) -> Option<Box<StepPlace>> {
    let mut tokens = Pointer::parse(pointer).ok()?.tokens().to_vec();
    let mut moved = None;
    for (step, program, way) in programs.iter().rev() {
        if let Some(writer) = step.programs.writer(*program, *way, &tokens) {
            let place = Box::new(step.place(Some(writer.place)));
            if !writer.is_plain {
                return Some(place);
            }
            moved.get_or_insert(place);
        }
        let trace = step.programs.trace(*program, *way, Trace::exactly(tokens));
        if !trace.is_exact {
            break;
        }
        tokens = trace.tokens;
    }
    moved
}

/// Runs the programs of a chain one after the other. What the first made, the next reads without parsing it. What has
/// been read is dropped before anything else is made.
pub(super) fn translate(
    body: impl Borrow<Document>,
    programs: &[Running<'_>],
    mut prepare: Option<&mut Prepare<'_>>,
    answers: Option<&dyn Answers>,
) -> Result<Document, Unmappable> {
    let mut given = Some(body);
    let mut made: Option<Document> = None;
    for (index, (step, program, way)) in programs.iter().enumerate() {
        let Some(before) = made.as_ref().or(given.as_ref().map(Borrow::borrow)) else {
            break;
        };
        let edited = match prepare {
            Some(_) => prepared(&mut prepare, programs, index, before)?,
            None => None,
        };
        let next = if step.programs.list[*program].is_identity {
            edited
        } else {
            let before = edited.as_ref().unwrap_or(before);
            let translated = step.programs.run(*program, *way, before, answers);
            // Not even a fault means anything: it may be one of a key that is not known.
            if is_waiting(answers) {
                return Err(Unmappable::waiting());
            }
            Some(translated.map_err(|fault| sent_as(fault, &programs[..=index]))?)
        };
        if next.is_some() {
            made = next;
            given = None;
        }
    }
    made.or(given.map(|body| body.borrow().clone()))
        .ok_or_else(|| Unmappable::new("nothing is left of the body"))
}

fn is_waiting(answers: Option<&dyn Answers>) -> bool {
    answers.is_some_and(Answers::is_waiting)
}

/// A part of a message; `None` while it waits for keys.
fn ready<T>(part: Result<T, Unmappable>) -> Result<Option<T>, Unmappable> {
    match part {
        Ok(part) => Ok(Some(part)),
        Err(unmappable) if unmappable.is_waiting => Ok(None),
        Err(unmappable) => Err(unmappable),
    }
}

/// A fault of the last of some programs in the words of the message as it was sent: those before it are followed
/// backwards.
fn sent_as(fault: Fault, through: &[Running<'_>]) -> Unmappable {
    let Some(((at_fault, ..), before)) = through.split_last() else {
        return Unmappable::new(fault.detail);
    };
    let mut tokens = fault.tokens;
    for (step, program, way) in before.iter().rev() {
        tokens = step.programs.origin(*program, *way, tokens);
    }
    Unmappable::at(fault.detail, Pointer::from(tokens).to_string()).by(at_fault.place(fault.step))
}
