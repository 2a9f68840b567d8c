//! Keys that only another system knows: what a mapping asks for them, and what an answer says.
//!
//! A mapping runs to its end without waiting for anybody. What it needs to know and does not yet, it notes with its
//! `Answers`; somebody else asks, and the mapping runs again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use percent_encoding::utf8_percent_encode;

use super::openapi::OpenApi;
use super::operation::{Operation, find_media};
use super::parameter::Place;
use super::spec::{Direction, LookupBySpec};
use super::translation::ENCODED;
use super::{ContractVersion, compile, openapi::list};
use crate::config::{Diagnostic, SourceFile, Spanned};
use crate::json::{Document, Kind, Pointer, Value};

/// Longest key that is asked for, and that is taken of an answer, in bytes.
pub const LONGEST_KEY: usize = 1_024;

/// What a mapping asks on one way.
#[derive(Debug)]
pub struct Lookup {
    /// Tells it from others that ask or take something else: `crm.getCustomer.number`, and what is taken.
    pub name: Arc<str>,
    /// As it is called in messages and in recorded answers: `crm.getCustomer.number`.
    pub label: Arc<str>,
    /// The API whose operation is asked.
    pub api: Arc<str>,
    /// The operation, by its `operationId`.
    pub operation: Arc<str>,
    /// How long a counterpart is kept.
    pub keep: Duration,
    /// How long it is kept that there is none.
    pub keep_misses: Duration,
    parameter: Arc<str>,
    take: Pointer,
    spec: LookupBySpec,
    file: SourceFile,
    /// The field whose values are keys, and the way on which this is asked.
    pub(super) field: Arc<Field>,
    pub(super) way: Direction,
}

/// A field whose values are looked up.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Field {
    /// Both versions, the older first.
    pub(super) versions: [Arc<str>; 2],
    /// Where its schema stands in both, if it is described.
    pub(super) schemas: [Option<String>; 2],
    /// Keys of both that have a counterpart without being looked up.
    pub(super) chosen: [Vec<String>; 2],
}

/// What stands for a key in the other system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This key.
    Key(Arc<str>),
    /// Several: which is meant, nobody knows.
    Several,
    /// None.
    Nothing,
}

/// What is known of keys while a message is translated.
pub trait Answers: fmt::Debug + Send + Sync {
    /// What stands for a key. `None` is not known yet: it is noted, and a translation that met it has no result.
    fn answer(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer>;

    /// The same for a link, which is left out where it cannot be found out.
    fn answer_for_link(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        self.answer(lookup, key)
    }

    /// Whether something was noted that is not known yet.
    fn is_waiting(&self) -> bool;
}

/// What is known of keys in links.
#[derive(Debug)]
pub(super) struct ForLinks(pub(super) Arc<dyn Answers>);

impl Answers for ForLinks {
    fn answer(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        self.0.answer_for_link(lookup, key)
    }

    fn is_waiting(&self) -> bool {
        self.0.is_waiting()
    }
}

impl Lookup {
    pub(super) fn new(spec: &LookupBySpec, file: &SourceFile, (field, way): (&Arc<Field>, Direction)) -> Self {
        let label = format!("{}.{}.{}", spec.api.value, spec.operation.value, spec.parameter.value);
        Self {
            name: format!("{label}{}", spec.take.value).into(),
            label: label.into(),
            api: spec.api.value.as_str().into(),
            operation: spec.operation.value.as_str().into(),
            parameter: spec.parameter.value.as_str().into(),
            take: Pointer::parse(&spec.take.value).unwrap_or_default(),
            keep: spec.keep.0,
            keep_misses: spec.keep_misses.0,
            spec: spec.clone(),
            file: file.clone(),
            field: field.clone(),
            way,
        }
    }

    /// A mistake of what it names as its API.
    pub fn api_mistake(&self, message: impl Into<String>) -> Diagnostic {
        self.mistake(&self.spec.api, message)
    }

    fn mistake(&self, written: &Spanned<String>, message: impl Into<String>) -> Diagnostic {
        let at = compile::place(written);
        Diagnostic::error(&self.file, at.0, at.1, message)
    }
}

/// How an operation is asked for a key, and what is taken of its answer.
#[derive(Debug)]
pub struct Question {
    operation: Arc<Operation>,
    place: Place,
    parameter: Arc<str>,
    take: Pointer,
}

impl ContractVersion {
    /// Finds the operation that a lookup names. The mistake is told where the mapping names what cannot be asked.
    pub fn question(&self, lookup: &Lookup) -> Result<Question, Diagnostic> {
        let spec = &lookup.spec;
        let Some(operation) = self.operation(&lookup.operation) else {
            let message = format!(
                "API `{}` has no operation `{}` in version {}, which its upstream speaks",
                lookup.api, lookup.operation, self.version
            );
            let known = list(self.operations.iter().map(|operation| &*operation.id));
            let help = format!("its operations are {known}");
            return Err(lookup.mistake(&spec.operation, message).help(help));
        };
        if operation.method != Method::GET {
            let message = format!(
                "{} is {}, and a lookup must not change anything",
                operation.id, operation.method
            );
            return Err(lookup
                .mistake(&spec.operation, message)
                .help("name an operation that is GET"));
        }
        let place = [Place::Path, Place::Query]
            .into_iter()
            .find(|place| operation.parameter(*place, &lookup.parameter).is_some());
        let Some(place) = place else {
            let message = format!(
                "{} has no parameter `{}` in its path or query",
                operation.id, lookup.parameter
            );
            let own = operation.parameters.iter();
            let own = own.filter(|parameter| matches!(parameter.place, Place::Path | Place::Query));
            let help = format!("it has {}", list(own.map(|parameter| parameter.name.as_str())));
            return Err(lookup.mistake(&spec.parameter, message).help(help));
        };
        let is_other = |name: &str, at: Place| name != &*lookup.parameter || at != place;
        let other = operation
            .parameters
            .iter()
            .find(|other| other.is_required && is_other(&other.name, other.place));
        if let Some(other) = other {
            let message = format!("{} needs `{}` besides `{}`", operation.id, other.name, lookup.parameter);
            let help = "name an operation that is asked by one parameter alone";
            return Err(lookup.mistake(&spec.parameter, message).help(help));
        }
        self.check_taken(operation, lookup)?;
        Ok(Question {
            operation: operation.clone(),
            place,
            parameter: lookup.parameter.clone(),
            take: lookup.take.clone(),
        })
    }

    /// What is taken of the answer is a key: text, or a whole number.
    fn check_taken(&self, operation: &Operation, lookup: &Lookup) -> Result<(), Diagnostic> {
        let wrong = |message: String, help: String| Err(lookup.mistake(&lookup.spec.take, message).help(help));
        let media = operation.response(200).map(|response| &response.media[..]);
        let json = media
            .into_iter()
            .flatten()
            .find(|media| super::update::is_document(&media.name));
        let Some(mut schema) = json.and_then(|media| media.schema.clone()) else {
            let message = format!("{} answers 200 with no JSON that is described", operation.id);
            return wrong(message, "describe its answer in the contract of its API".to_owned());
        };
        let document: &OpenApi = &self.document;
        for token in lookup.take.tokens() {
            let is_position = token.bytes().all(|byte| byte.is_ascii_digit());
            let inner = match document.items(&schema) {
                Some(items) if is_position => document.resolve(&items),
                _ => document.find(&schema, &[token.as_str().into()]),
            };
            let Some(inner) = inner else {
                let message = format!("the answer of {} has nothing at `{}`", operation.id, lookup.take);
                let properties = document.properties(&schema);
                let help = if properties.is_empty() {
                    format!("there is no `{token}` where it leads")
                } else {
                    let known = list(properties.keys().map(String::as_str));
                    format!("instead of `{token}` there are {known}")
                };
                return wrong(message, help);
            };
            schema = inner;
        }
        let types = document.types(&schema);
        if let Some(other) = types.iter().find(|name| !matches!(name.as_str(), "string" | "integer")) {
            let message = format!("what stands at `{}` is of type {other}, and no key", lookup.take);
            return wrong(message, "take a text or a whole number".to_owned());
        }
        Ok(())
    }
}

impl Question {
    /// Path and query that ask for a key, below the upstream's own path; `None` where no such key can exist.
    pub fn target(&self, key: &str) -> Option<String> {
        if key.len() > LONGEST_KEY || self.place == Place::Path && matches!(key, "" | "." | "..") {
            return None;
        }
        let parameter = self.operation.parameter(self.place, &self.parameter)?;
        let mut violations = Vec::new();
        if !parameter.check(&[Some(key)], &mut violations) || !violations.is_empty() {
            return None;
        }
        let written = utf8_percent_encode(key, ENCODED);
        if self.place == Place::Path {
            let placeholder = format!("{{{}}}", self.parameter);
            return Some(self.operation.template.replace(&placeholder, &written.to_string()));
        }
        let name = utf8_percent_encode(&self.parameter, ENCODED);
        Some(format!("{}?{name}={written}", self.operation.template))
    }

    /// The key in an answer with status 200. An error is a phrase.
    pub fn taken(&self, document: &Document) -> Result<Answer, String> {
        let mut value = document.root();
        for token in self.take.tokens() {
            let inner = match value.kind() {
                // One of several is no answer.
                Kind::Array if value.len() > 1 => return Ok(Answer::Several),
                Kind::Array if token == "0" => value.elements().next(),
                Kind::Object => value.get(token),
                _ => None,
            };
            match inner {
                Some(inner) => value = inner,
                None => return Ok(Answer::Nothing),
            }
        }
        self.key(value)
    }

    fn key(&self, value: Value<'_>) -> Result<Answer, String> {
        let text = match value.kind() {
            Kind::Null => return Ok(Answer::Nothing),
            Kind::String => value.as_str().unwrap_or_default(),
            Kind::Number if value.raw().bytes().all(|byte| byte.is_ascii_digit()) => value.raw().into(),
            _ => return Err(format!("what it has at `{}` is no key", self.take)),
        };
        match text.len() {
            0 => Ok(Answer::Nothing),
            1..=LONGEST_KEY => Ok(Answer::Key((&*text).into())),
            _ => Err(format!("what it has at `{}` is longer than any key", self.take)),
        }
    }

    /// Whether an answer is of a kind that is described.
    pub fn is_described(&self, headers: &http::HeaderMap) -> bool {
        let response = self.operation.response(200);
        response.is_some_and(|response| find_media(&response.media, headers).is_some())
    }
}
