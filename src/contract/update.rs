//! Updates by callers that do not see all of what they update: what they cannot see stays.
//!
//! A caller reads a document in its version, changes it, and sends it back. Three documents decide what the upstream
//! gets: what stands there, what the caller would send had it changed nothing (the former, brought to the caller's
//! version and back), and what it sends. Where the last two agree, the caller changed nothing, and what stands there
//! stays, whether it could be seen or not.

mod merge;
mod patch;
mod project;
mod tree;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};

use super::lookup::{Answers, Lookup};
use super::openapi::OpenApi;
use super::operation::{Operation, StatusKey};
use super::spec::{Direction, WithoutTag};
use super::translation::{Running, Step, StepPlace, Unmappable, translate, written_by};
use crate::json::{Document, Pointer};
use merge::Keyed;
use patch::PatchFault;
use project::Projection;
use tree::Tree;

/// `application/json-patch+json` (RFC 6902).
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
/// `application/merge-patch+json` (RFC 7396).
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Names from an object inwards.
type Names = Vec<Box<str>>;

/// What a mapping says of an update that is merged.
#[derive(Clone, Debug)]
pub(super) struct MergeStep {
    /// The operation that reads.
    pub(super) current: String,
    /// Lists of the newer version and the keys of their items.
    pub(super) lists: Vec<(Names, Names)>,
    pub(super) without_tag: WithoutTag,
}

/// One operation's updates, compiled: from the caller's version to the upstream's.
#[derive(Clone, Debug)]
pub struct Update {
    /// The mappings on the way, the caller's first: the program of what is updated, and the way of a request.
    stages: Vec<(Arc<Step>, usize, Direction)>,
    /// In the upstream's words.
    keyed: Vec<Keyed>,
    without_tag: WithoutTag,
    upstream: Arc<Operation>,
    version: Arc<str>,
    /// What of a document that was read is sent.
    projection: Projection,
    /// What is known of keys; `None` where nobody is asked.
    answers: Option<Arc<dyn Answers>>,
}

/// Why an update cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateFault {
    /// What stands at the upstream cannot be shown in the caller's version.
    #[error("{detail}")]
    Current {
        /// What cannot be shown: it may name what stands there.
        detail: String,
        /// Where it would stand in the caller's version.
        pointer: String,
        /// The step of a mapping that cannot show it, where it is one.
        step: Option<Box<StepPlace>>,
    },
    /// The patch cannot be read.
    #[error("{detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
        /// Where in the patch.
        pointer: String,
    },
    /// The patch does not fit what stands there.
    #[error("{detail}")]
    Conflict {
        /// What does not fit.
        detail: String,
        /// Where in the patch.
        pointer: String,
    },
    /// Nothing is wrong yet: there are keys that its `Answers` do not know so far.
    #[error("there are keys that were not looked up")]
    Waiting,
    /// What the caller wants cannot be said in the upstream's version.
    #[error("{detail}")]
    Unmappable {
        /// What cannot be said.
        detail: String,
        /// Where in the patched document, as the caller's version calls it.
        pointer: String,
        /// The step of a mapping that could not say it, where it was one.
        step: Option<Box<StepPlace>>,
    },
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The body in the upstream's version.
    pub body: Document,
    /// Its media type.
    pub content_type: HeaderValue,
}

impl Update {
    /// Joins what the mappings of a way say; `None` if none of them merges. `stages` are the caller's first, `operations`
    /// the versions of the operation between which they lead, `document` is the upstream's version, `read` the
    /// operation of a name in the version at an end of a stage. Errors are phrases for a diagnostic.
    pub(super) fn join(
        stages: &[(Arc<Step>, Direction)],
        operations: &[Arc<Operation>],
        document: &OpenApi,
        read: impl Fn(usize, &str) -> Option<Arc<Operation>>,
    ) -> Result<Option<Self>, String> {
        let id = &operations[0].id;
        let said = |step: &Step| step.operations.get(id).and_then(|own| own.update.clone());
        let merges: Vec<MergeStep> = stages.iter().filter_map(|(step, _)| said(step)).collect();
        let Some(nearest) = merges.last() else {
            return Ok(None);
        };
        if let Some(other) = merges.iter().find(|other| other.current != nearest.current) {
            return Err(format!(
                "its mappings read what it updates by different operations, {} and {}",
                other.current, nearest.current
            ));
        }
        let is_patch = operations[0].method == Method::PATCH;
        let missing = || format!("what {} reads is not mapped as JSON on the whole way", nearest.current);
        let mut programs = Vec::with_capacity(stages.len());
        for (index, (step, way)) in stages.iter().enumerate() {
            let program = if is_patch {
                let ends = (read(index, &nearest.current), read(index + 1, &nearest.current));
                let (Some(caller), Some(upstream)) = ends else {
                    return Err(missing());
                };
                let (older, newer) = match way {
                    Direction::Up => (caller, upstream),
                    Direction::Down => (upstream, caller),
                };
                let key = json_answer(&older).zip(json_answer(&newer));
                key.and_then(|((older, media), (newer, _))| {
                    let own = step.operations.get(nearest.current.as_str())?;
                    own.responses.get(&(older, newer, media)).copied()
                })
            } else {
                let own = step.operations.get(id);
                let media = operations[0].media_types().find(|media| is_document(media));
                own.zip(media).and_then(|(own, media)| own.requests.get(media).copied())
            };
            programs.push((step.clone(), program.ok_or_else(missing)?, *way));
        }
        let upstream = operations[stages.len()].clone();
        let projection = if is_patch {
            Projection::default()
        } else {
            let media = upstream.body.iter().flat_map(|body| &body.media);
            let schema = media
                .filter(|media| is_document(&media.name))
                .find_map(|media| media.schema.as_deref());
            schema.map_or_else(Projection::default, |schema| Projection::of(document, schema))
        };
        Ok(Some(Self {
            keyed: keyed(&programs, id),
            without_tag: nearest.without_tag,
            stages: programs,
            version: document.version.clone(),
            upstream,
            projection,
            answers: None,
        }))
    }

    /// What its mappings ask of other systems.
    pub fn lookups(&self) -> impl Iterator<Item = &Arc<Lookup>> {
        self.stages.iter().flat_map(|(step, ..)| &step.lookups)
    }

    /// The same with what is known of keys.
    #[must_use]
    pub fn knowing(&self, answers: Arc<dyn Answers>) -> Self {
        Self {
            answers: Some(answers),
            ..self.clone()
        }
    }

    /// What is done where the upstream gives no strong `ETag`.
    pub fn sends_without_tag(&self) -> bool {
        self.without_tag == WithoutTag::Send
    }

    /// Whether the body of a request is a patch: it stays in the caller's words until what it changes is known.
    pub fn is_patch(&self) -> bool {
        self.upstream.method == Method::PATCH
    }

    /// The upstream's version.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The step that wrote a place of what is sent, as [`Translation::request_step`](super::Translation::request_step)
    /// tells it. What was merged in from the upstream is no step's.
    pub fn request_step(&self, pointer: &str) -> Option<Box<StepPlace>> {
        let stages = self.stages.iter().map(|(step, program, way)| (&**step, *program, *way));
        written_by(&stages.collect::<Vec<_>>(), pointer)
    }

    /// The operation in the upstream's version.
    pub fn upstream(&self) -> &Arc<Operation> {
        &self.upstream
    }

    /// Puts a document of the caller, in the upstream's version already, into what stands there.
    pub fn merged(&self, mine: &Document, current: &Document) -> Result<Document, UpdateFault> {
        let theirs = self.projection.apply(&Tree::of(current.root()));
        let theirs_document = document(&theirs)?;
        let seen = self.seen(&theirs_document)?;
        let base = self.sent(&seen).map_err(UpdateFault::current)?;
        let merged = merge::merge(&Tree::of(base.root()), &Tree::of(mine.root()), &theirs, &self.keyed);
        document(&merged)
    }

    /// Applies a patch of the caller to what stands at the upstream, as the caller sees it, and makes the upstream's
    /// patch of the difference.
    pub fn patched(&self, patch: &Document, headers: &HeaderMap, current: &Document) -> Result<Updated, UpdateFault> {
        let seen = self.seen(current)?;
        let base = self.sent(&seen).map_err(UpdateFault::current)?;
        let (seen, patch) = (Tree::of(seen.root()), Tree::of(patch.root()));
        let wanted = if is_media(headers, JSON_PATCH) {
            patch::apply_operations(&seen, &patch).map_err(|fault| match fault {
                PatchFault::Malformed { detail, pointer } => UpdateFault::Malformed { detail, pointer },
                PatchFault::Conflict { detail, pointer } => UpdateFault::Conflict { detail, pointer },
            })?
        } else {
            patch::apply_merge(Some(&seen), &patch)
        };
        let mine = self.sent(&document(&wanted)?).map_err(|unmappable| {
            if unmappable.is_waiting {
                return UpdateFault::Waiting;
            }
            UpdateFault::Unmappable {
                detail: unmappable.detail,
                pointer: unmappable.pointer,
                step: unmappable.step,
            }
        })?;
        let theirs = Tree::of(current.root());
        let merged = merge::merge(&Tree::of(base.root()), &Tree::of(mine.root()), &theirs, &self.keyed);
        self.difference(&theirs, &merged)
    }

    /// As a merge patch if the upstream takes one and it can say it, else as a JSON Patch.
    fn difference(&self, theirs: &Tree, merged: &Tree) -> Result<Updated, UpdateFault> {
        let takes = |name: &str| self.upstream.media_types().any(|media| media == name);
        let updated = |tree: &Tree, media: &'static str| {
            Ok(Updated {
                body: document(tree)?,
                content_type: HeaderValue::from_static(media),
            })
        };
        let merge = patch::make_merge(theirs, merged);
        match merge {
            Ok(patch) if takes(MERGE_PATCH) => updated(&patch, MERGE_PATCH),
            _ if takes(JSON_PATCH) => updated(&patch::make_operations(theirs, merged), JSON_PATCH),
            // Whoever takes a patch as plain JSON means one of these.
            Ok(patch) => updated(&patch, "application/json"),
            Err(pointer) => Err(UpdateFault::Unmappable {
                detail: "a null that no merge patch can put, and the upstream takes no other".to_owned(),
                pointer,
                step: None,
            }),
        }
    }

    /// What the caller sees of a document of the upstream.
    fn seen(&self, current: &Document) -> Result<Document, UpdateFault> {
        let back = self.stages.iter().rev();
        let back: Vec<Running<'_>> = back
            .map(|(step, program, way)| (&**step, *program, way.opposite()))
            .collect();
        translate(current, &back, None, self.answers.as_deref()).map_err(|mut unmappable| {
            if let Ok(pointer) = Pointer::parse(&unmappable.pointer) {
                let mut tokens = pointer.tokens().to_vec();
                for (step, program, way) in &back {
                    tokens = step.programs.origin(*program, way.opposite(), tokens);
                }
                unmappable.pointer = Pointer::from(tokens).to_string();
            }
            UpdateFault::current(unmappable)
        })
    }

    /// A document of the caller in the upstream's version.
    fn sent(&self, document: &Document) -> Result<Document, Unmappable> {
        let stages = self.stages.iter();
        let stages: Vec<Running<'_>> = stages.map(|(step, program, way)| (&**step, *program, *way)).collect();
        translate(document, &stages, None, self.answers.as_deref())
    }
}

impl UpdateFault {
    fn current(unmappable: Unmappable) -> Self {
        if unmappable.is_waiting {
            return Self::Waiting;
        }
        Self::Current {
            detail: unmappable.detail,
            pointer: unmappable.pointer,
            step: unmappable.step,
        }
    }
}

/// Lists and keys in the upstream's words: those of the mapping that is nearest to it and says any.
fn keyed(stages: &[(Arc<Step>, usize, Direction)], id: &str) -> Vec<Keyed> {
    let mut found = Vec::new();
    for (index, (step, program, way)) in stages.iter().enumerate() {
        let Some(said) = step.operations.get(id).and_then(|own| own.update.as_ref()) else {
            continue;
        };
        for (list, key) in &said.lists {
            let keyed = Keyed {
                list: list.clone(),
                key: key.clone(),
            };
            let in_target = match way {
                Direction::Up => Some(keyed),
                // The upstream has the older version: there the list is called what the newer one's came from.
                Direction::Down => origin(step, *program, &keyed),
            };
            // What a mapping further away says holds if no other mapping renames it on the rest of the way.
            let is_nearest = stages[index + 1..].iter().all(|(later, ..)| {
                later
                    .operations
                    .get(id)
                    .is_none_or(|own| own.update.as_ref().is_none_or(|said| said.lists.is_empty()))
            });
            if is_nearest {
                found.extend(in_target);
            }
        }
    }
    found
}

/// A list of the newer version as the older one calls it.
fn origin(step: &Step, program: usize, keyed: &Keyed) -> Option<Keyed> {
    let text = |names: &[Box<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut tokens = text(&keyed.list);
    tokens.push("0".to_owned());
    tokens.extend(text(&keyed.key));
    let tokens = step.programs.origin(program, Direction::Up, tokens);
    let item = tokens.iter().position(|token| token == "0")?;
    let names = |tokens: &[String]| tokens.iter().map(|token| token.as_str().into()).collect();
    Some(Keyed {
        list: names(&tokens[..item]),
        key: names(&tokens[item + 1..]),
    })
}

fn document(tree: &Tree) -> Result<Document, UpdateFault> {
    tree.document().ok_or_else(|| UpdateFault::Unmappable {
        detail: "a document larger than any that is read".to_owned(),
        pointer: String::new(),
        step: None,
    })
}

/// The JSON of an operation's successful answer: for which status, and as which media type.
pub(super) fn json_answer(operation: &Operation) -> Option<(StatusKey, String)> {
    let response = operation.response(200)?;
    let media = response.media.iter().find(|media| is_document(&media.name))?;
    Some((response.status, media.name.clone()))
}

/// JSON that is the thing itself, and no patch of it.
pub(super) fn is_document(media: &str) -> bool {
    let is_json = media == "application/json" || media.ends_with("+json");
    is_json && media != MERGE_PATCH && media != JSON_PATCH
}

fn is_media(headers: &HeaderMap, media: &str) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    given.is_some_and(|given| {
        given
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case(media)
    })
}

#[cfg(test)]
mod tests;
