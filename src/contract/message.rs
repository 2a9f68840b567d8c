//! What a mapping says of whole messages, compiled: places in errors, links, cursors.

use std::sync::Arc;

use super::compile::{Compiler, place};
use super::errors::{Errors, Form};
use super::openapi::OpenApi;
use super::operation::{Operation, StatusKey};
use super::parameter::Place;
use super::sites::{Edit, Sites, Way};
use super::spec::{CursorsSpec, Direction, ErrorsSpec, LinkPolicy, LinksSpec, MemberSpec, OperationSpec, PlaceSpec};
use super::translation::{OperationStep, Step, Translation, Unmappable};
use crate::json::Document;

/// What a mapping says of the messages of one operation.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) errors: Option<Errors>,
    /// Where answers have links, in the older version and in the newer one.
    links: Vec<[Way; 2]>,
    rules: Option<Arc<Rules>>,
    cursors: Option<Cursors>,
}

#[derive(Debug)]
struct Cursors {
    query: [Box<str>; 2],
    members: Vec<[Way; 2]>,
}

/// What becomes of links that cannot be translated.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) unknown: LinkPolicy,
    pub(super) elsewhere: LinkPolicy,
    pub(super) hosts: Vec<String>,
}

impl Default for Rules {
    /// An upstream's own address is nobody's business; other systems are meant to be found.
    fn default() -> Self {
        Self {
            unknown: LinkPolicy::Drop,
            elsewhere: LinkPolicy::Pass,
            hosts: Vec::new(),
        }
    }
}

/// What a chain of mappings says of the messages of one operation.
#[derive(Debug, Default)]
pub(super) struct Messages {
    has_errors: bool,
    /// Where links stand on the upstream's side of each mapping and no mapping before has seen to them.
    links: Vec<Sites<()>>,
    cursors: Vec<Sites<()>>,
    pub(super) rules: Arc<Rules>,
    pub(super) cursor: Option<CursorNames>,
}

/// The parameter that takes a cursor.
#[derive(Debug)]
pub(super) struct CursorNames {
    pub(super) caller: Box<str>,
    pub(super) upstream: Box<str>,
}

/// What was left out or put elsewhere, for want of a counterpart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Links.
    pub links: u32,
    /// Places that errors name.
    pub places: u32,
}

impl Messages {
    /// Of the mappings an operation passes; `None` where they say nothing.
    pub(super) fn of(stages: &[(Arc<Step>, Direction)], operation: &str) -> Option<Arc<Self>> {
        let own: Vec<(&OperationStep, Direction)> = stages
            .iter()
            .filter_map(|(step, way)| Some((step.operations.get(operation)?, *way)))
            .collect();
        if own.len() < stages.len() {
            return None;
        }
        // On the caller's side first, on the upstream's side last; there the nearest word counts.
        let rules = own.iter().rev().find_map(|(own, _)| own.message.rules.clone());
        let name = |cursors: &Cursors, version: usize| cursors.query[version].clone();
        let of = |(own, way): &(&OperationStep, Direction), is_caller: bool| {
            let version = usize::from((*way == Direction::Up) != is_caller);
            own.message.cursors.as_ref().map(|cursors| name(cursors, version))
        };
        let caller = own.iter().find_map(|own| of(own, true));
        let upstream = own.iter().rev().find_map(|own| of(own, false));
        let messages = Self {
            has_errors: own.iter().any(|(own, _)| own.message.errors.is_some()),
            links: sites(&own, |own| &own.message.links),
            cursors: sites(&own, |own| {
                own.message.cursors.as_ref().map_or(&[], |cursors| &cursors.members)
            }),
            cursor: caller
                .zip(upstream)
                .map(|(caller, upstream)| CursorNames { caller, upstream }),
            rules: rules.clone().unwrap_or_default(),
        };
        let has_sites = |sites: &[Sites<()>]| sites.iter().any(|sites| !sites.is_empty());
        let says = messages.has_errors
            || rules.is_some()
            || messages.cursor.is_some()
            || has_sites(&messages.links)
            || has_sites(&messages.cursors);
        says.then(|| Arc::new(messages))
    }
}

/// For each mapping, where an answer on its upstream's side has fields that no mapping nearer to the upstream has named.
fn sites<'s>(
    own: &[(&'s OperationStep, Direction)],
    ways: impl Fn(&'s OperationStep) -> &'s [[Way; 2]],
) -> Vec<Sites<()>> {
    let mut seen: Vec<Way> = Vec::new();
    let mut all: Vec<Sites<()>> = Vec::with_capacity(own.len());
    for (step, way) in own.iter().rev() {
        let source = usize::from(*way == Direction::Up);
        let (mut sites, mut next) = (Sites::default(), Vec::new());
        let ways = ways(step);
        for ends in ways {
            if !seen.contains(&ends[source]) {
                sites.add(&ends[source], ());
            }
            next.push(ends[1 - source].clone());
        }
        next.extend(
            seen.into_iter()
                .filter(|seen| !ways.iter().any(|ends| ends[source] == *seen)),
        );
        seen = next;
        all.push(sites);
    }
    all.reverse();
    all
}

impl Translation {
    /// Whether anything in answers is changed before a mapping translates them.
    pub(super) fn edits(&self, is_failure: bool) -> bool {
        self.messages.as_ref().is_some_and(|messages| {
            let links = messages.links.iter().any(|sites| !sites.is_empty());
            let cursors = messages.cursors.iter().any(|sites| !sites.is_empty());
            is_failure && messages.has_errors || links || cursors
        })
    }

    /// An answer on the upstream's side of a mapping, with its places, links and cursors as the caller gets them; `None`
    /// where it has none. The error carries a JSON Pointer.
    pub(super) fn prepared(
        &self,
        stage: usize,
        is_failure: bool,
        answer: &Document,
        missed: &mut Missed,
    ) -> Result<Option<Document>, (String, String)> {
        let Some(messages) = &self.messages else {
            return Ok(None);
        };
        let mut made: Option<Document> = None;
        if is_failure && messages.has_errors {
            made = self.error_places(stage, answer, &mut missed.places);
        }
        if !messages.links[stage].is_empty() && self.surroundings.is_some() {
            let source = made.as_ref().unwrap_or(answer);
            let edited = messages.links[stage].edit(source, &mut |(), _, link| {
                let mapped = self.link(link, &messages.rules, &mut missed.links)?;
                Ok(mapped.map_or(Edit::Remove, Edit::Put))
            })?;
            made = Some(edited);
        }
        if !messages.cursors[stage].is_empty()
            && let Some(sealer) = self.sealer()
        {
            let source = made.as_ref().unwrap_or(answer);
            // An empty cursor says that there is no next page.
            let edited = messages.cursors[stage].edit(source, &mut |(), _, cursor| {
                Ok(if cursor.is_empty() {
                    Edit::Keep
                } else {
                    Edit::Put(sealer.seal(cursor))
                })
            })?;
            made = Some(edited);
        }
        Ok(made)
    }

    /// The header fields of an answer, with links as the caller gets them.
    pub(super) fn relinked(
        &self,
        headers: &http::HeaderMap,
        missed: &mut Missed,
    ) -> Result<Option<http::HeaderMap>, Unmappable> {
        let none = Rules::default();
        let rules = self.messages.as_ref().map_or(&none, |messages| &messages.rules);
        let mapped = self.link_fields(headers, rules, &mut missed.links)?;
        if mapped.is_empty() {
            return Ok(None);
        }
        let mut headers = headers.clone();
        for (name, values) in mapped {
            headers.remove(&name);
            for value in values {
                headers.append(name.clone(), value);
            }
        }
        Ok(Some(headers))
    }
}

impl Compiler<'_> {
    /// What is said of the messages of an operation, by itself or by the whole mapping.
    pub(super) fn message(&mut self, older: &Operation, newer: &Operation, spec: &OperationSpec) -> Message {
        let mapping = self.spec;
        let errors = spec.errors.as_ref().or(mapping.errors.as_ref());
        let errors = errors.map(|errors| self.errors(older, newer, &errors.value, spec.errors.is_some()));
        let links = spec.links.as_ref().or(mapping.links.as_ref());
        let (links, rules) = match links {
            Some(links) => self.links((older, newer), &links.value, spec.links.is_some(), place(links)),
            None => (Vec::new(), None),
        };
        Message {
            errors,
            links,
            rules,
            cursors: spec
                .cursors
                .as_ref()
                .and_then(|cursors| self.cursors((older, newer), &cursors.value)),
        }
    }

    fn errors(&mut self, older: &Operation, newer: &Operation, spec: &ErrorsSpec, is_own: bool) -> Errors {
        let mut sites: [Sites<Form>; 2] = Default::default();
        for written in &spec.places {
            let PlaceSpec {
                path,
                from,
                to,
                of,
                older: one,
                newer: other,
            } = &written.value;
            let Some(ends) = self.member_ends(place(written), [path.as_ref(), from.as_ref(), to.as_ref()]) else {
                continue;
            };
            if !self.is_in_answers((older, newer), &ends, place(written), is_own, true) {
                continue;
            }
            let form = |from, to| Form { of: *of, from, to };
            sites[0].add(&ends[0], form(*one, *other));
            sites[1].add(&ends[1], form(*other, *one));
        }
        let body = |operation: &Operation| {
            let mut media = operation.body.iter().flat_map(|body| &body.media);
            media.find_map(|media| media.schema.clone())
        };
        let documents = [self.older.document, self.newer.document];
        let bodies = [body(older), body(newer)];
        let bodies = std::array::from_fn(|version| {
            let schema = bodies[version].as_ref()?;
            Some(self.outlines[version].add(documents[version], schema))
        });
        Errors {
            sites,
            unknown: spec.unknown,
            bodies,
        }
    }

    fn links(
        &mut self,
        operations: (&Operation, &Operation),
        spec: &LinksSpec,
        is_own: bool,
        at: (u32, u32),
    ) -> (Vec<[Way; 2]>, Option<Arc<Rules>>) {
        let rules = Rules {
            unknown: spec.unknown.unwrap_or(LinkPolicy::Drop),
            elsewhere: spec.elsewhere.unwrap_or(LinkPolicy::Pass),
            hosts: spec.hosts.clone(),
        };
        for host in &spec.hosts {
            if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
                let help = "write it as it stands in links: `erp.intern.example`, with `:8443` if it has a port";
                self.mistake(at, format!("`{host}` is no name of a host"), help);
            }
        }
        let mut ways = Vec::new();
        for written in &spec.members {
            let MemberSpec { path, from, to } = &written.value;
            let Some(ends) = self.member_ends(place(written), [path.as_ref(), from.as_ref(), to.as_ref()]) else {
                continue;
            };
            if self.is_in_answers(operations, &ends, place(written), is_own, false) {
                self.check_link(operations, &ends, &rules, place(written));
                ways.push(ends);
            }
        }
        (ways, Some(Arc::new(rules)))
    }

    /// A link is given to callers as a path, and may be left out.
    fn check_link(&mut self, operations: (&Operation, &Operation), ends: &[Way; 2], rules: &Rules, at: (u32, u32)) {
        for (document, operation, way) in [
            (self.older.document, operations.0, &ends[0]),
            (self.newer.document, operations.1, &ends[1]),
        ] {
            for schema in answers(operation, false) {
                let Some(described) = way.schema(document, &schema) else {
                    continue;
                };
                if document.at(&described)["format"] == "uri" {
                    let message = format!("a link of {} is a whole URI in {}", operation.id, document.version);
                    let help = "callers get a path at the gateway: describe it as `format: uri-reference`";
                    self.mistake(at, message, help);
                }
                if rules.unknown == LinkPolicy::Drop && way.is_required(document, &schema) {
                    let message = format!(
                        "a link of {} is required in {}, and one that cannot be translated is left out",
                        operation.id, document.version
                    );
                    self.mistake(at, message, "say `unknown: refuse`, or make it optional");
                }
            }
        }
    }

    fn cursors(&mut self, operations: (&Operation, &Operation), spec: &CursorsSpec) -> Option<Cursors> {
        let at = place(&spec.query);
        let MemberSpec { path, from, to } = &spec.query.value;
        let names = match (path, from, to) {
            (Some(same), None, None) => [same, same],
            (None, Some(from), Some(to)) => [from, to],
            _ => {
                let help = "give `path` if the parameter has one name in both versions, else `from` and `to`";
                self.mistake(at, "this does not say which parameter takes the cursor", help);
                return None;
            }
        };
        let versions = [
            (self.older.document, operations.0, names[0]),
            (self.newer.document, operations.1, names[1]),
        ];
        for (document, operation, name) in versions {
            let Some(parameter) = operation.parameter(Place::Query, name) else {
                let known = super::openapi::list(operation.query_names());
                let message = format!(
                    "{} has no parameter `{name}` in the query of {}",
                    operation.id, document.version
                );
                let help = format!(
                    "its parameters are {known}; where a version counts pages, there is no cursor to be had: it only comes with an answer"
                );
                self.mistake(at, message, help);
                return None;
            };
            let longest = document.at(&parameter.schema)["maxLength"].as_u64();
            if longest.is_some_and(|longest| longest < 512) {
                let message = format!(
                    "`{name}` of {} takes {} characters at most",
                    document.version,
                    longest.unwrap_or(0)
                );
                let help = "a sealed cursor is longer than the upstream's: allow 512 or more";
                self.mistake(at, message, help);
            }
        }
        let mut members = Vec::new();
        for written in &spec.members {
            let MemberSpec { path, from, to } = &written.value;
            if let Some(ends) = self.member_ends(place(written), [path.as_ref(), from.as_ref(), to.as_ref()])
                && self.is_in_answers(operations, &ends, place(written), true, false)
            {
                members.push(ends);
            }
        }
        Some(Cursors {
            query: names.map(|name| name.as_str().into()),
            members,
        })
    }

    /// Where a field of answers stands in both versions.
    fn member_ends(&mut self, at: (u32, u32), written: [Option<&String>; 3]) -> Option<[Way; 2]> {
        let (from, to) = match written {
            [Some(same), None, None] => (same, same),
            [None, Some(from), Some(to)] => (from, to),
            _ => {
                let help = "give `path` if the field stands at the same place in both versions, else `from` and `to`";
                self.mistake(at, "this does not say where its field is", help);
                return None;
            }
        };
        let mut ways = [from, to].map(|text| {
            let help = "names with dots between them, and `[]` after a list: `errors[].pointer`";
            let parsed = Way::parse(text);
            parsed.map_err(|wrong| self.mistake(at, wrong, help)).ok()
        });
        Some([ways[0].take()?, ways[1].take()?])
    }

    /// Whether answers of an operation have a field. That they have none is a mistake where it is said of this operation,
    /// and of no interest where it is said of all.
    fn is_in_answers(
        &mut self,
        operations: (&Operation, &Operation),
        ends: &[Way; 2],
        at: (u32, u32),
        is_own: bool,
        only_failures: bool,
    ) -> bool {
        let versions = [
            (self.older.document, operations.0, &ends[0]),
            (self.newer.document, operations.1, &ends[1]),
        ];
        for (document, operation, way) in versions {
            let is_there = |document: &OpenApi, schema: &String| way.leads_somewhere(document, schema);
            let found = answers(operation, only_failures)
                .iter()
                .any(|schema| is_there(document, schema));
            if found {
                self.found_members.insert((at, document.version.clone()));
            } else {
                if is_own {
                    let what = if only_failures { "errors" } else { "answers" };
                    let message = format!("no {what} of {} in {} have this field", operation.id, document.version);
                    self.mistake(at, message, "name it from the root of the answer, as the schema does");
                }
                return false;
            }
        }
        true
    }

    /// Fields that are named for all operations, and that no answer has.
    pub(super) fn check_shared_members(&mut self) {
        let spec = self.spec;
        let places = spec.errors.iter().flat_map(|errors| &errors.value.places).map(place);
        let links = spec.links.iter().flat_map(|links| &links.value.members).map(place);
        let versions = [self.older.document.version.clone(), self.newer.document.version.clone()];
        for at in places.chain(links) {
            for version in &versions {
                if !self.found_members.contains(&(at, version.clone()))
                    && !self.mistakes.iter().any(|known| (known.line, known.column) == at)
                {
                    let message = format!("no answer in {version} has this field");
                    self.mistake(at, message, "name it from the root of the answer, as the schema does");
                    break;
                }
            }
        }
    }
}

/// Schemas of what an operation answers.
fn answers(operation: &Operation, only_failures: bool) -> Vec<String> {
    let is_failure = |key: StatusKey| match key {
        StatusKey::Exactly(code) => code >= 400,
        StatusKey::Range(hundred) => hundred >= 4,
        StatusKey::Default => true,
    };
    let responses = operation.responses.iter();
    let responses = responses.filter(|response| !only_failures || is_failure(response.status));
    let media = responses.flat_map(|response| &response.media);
    media.filter_map(|media| media.schema.clone()).collect()
}
