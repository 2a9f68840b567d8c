//! Contracts: `OpenAPI` versions and the mappings between them.
//!
//! A contract is a folder: `v1/openapi.yaml`, `v2/openapi.yaml`, and `v1-v2.map.yaml` between them. Loading finds every
//! mistake it can before anything goes live; what is loaded holds messages against a version (`operation`) and turns
//! them into another (`translation`).

mod arithmetic;
mod book;
pub mod check;
mod checker;
mod combine;
mod compile;
pub mod containment;
mod convert;
mod cursor;
pub mod diff;
mod document;
mod errors;
pub mod import;
mod links;
mod lookup;
mod mark;
mod message;
mod notation;
mod openapi;
mod operation;
mod outline;
mod overlay;
mod parameter;
mod program;
pub mod promote;
mod rules;
pub mod scaffold;
mod schema_types;
mod shape;
mod sites;
pub mod spec;
mod steps;
mod translation;
mod tree;
mod trial;
mod update;
mod upgrade;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::Method;

use crate::config::{Diagnostic, Severity, SourceFile};
use book::Books;
use compile::Version;
pub use cursor::{CursorKey, CursorKeys};
pub(crate) use links::rewrite_links;
pub use links::{OwnPath, Standing, Surroundings};
pub use lookup::{Answer, Answers, LONGEST_KEY, Lookup, Question};
pub use mark::Mark;
use message::Messages;
pub use message::Missed;
use openapi::{OpenApi, list};
use operation::Listed;
pub use operation::{Operation, RequestFault};
pub(crate) use overlay::is_overlay;
pub use program::Effect;
use rules::Rules;
pub use spec::Direction;
use spec::MappingSpec;
use translation::{Chains, Step};
pub use translation::{ExplainedStage, MappedRequest, MappedResponse, StepPlace, Translation, Unmappable};
pub use trial::Candidate;
pub use update::{Update, UpdateFault, Updated};

/// The interface of an API through time.
#[derive(Debug)]
pub struct Contract {
    /// Name of its folder.
    pub name: Arc<str>,
    /// Oldest first; `v2` is older than `v10`.
    pub versions: Vec<Arc<ContractVersion>>,
    /// What somebody should look at, though it can go live.
    pub warnings: Vec<Diagnostic>,
    /// The mapping from each version to the next, where there is one.
    steps: Vec<Option<Arc<Step>>>,
    chains: Chains,
}

/// One version of a contract.
pub struct ContractVersion {
    /// Name of its folder: `v1`.
    pub version: Arc<str>,
    /// What it offers, sorted by path.
    pub operations: Vec<Arc<Operation>>,
    document: OpenApi,
    /// Of its document and overlays.
    digest: blake3::Hash,
}

impl fmt::Debug for ContractVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContractVersion")
            .field("version", &self.version)
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}

impl ContractVersion {
    /// The operation of this `operationId`.
    pub fn operation(&self, id: &str) -> Option<&Arc<Operation>> {
        self.operations.iter().find(|operation| *operation.id == *id)
    }
}

impl Contract {
    /// Whether mappings lead from one version to another, in either direction of age.
    pub fn is_joined(&self, one: &str, other: &str) -> bool {
        let position = |name: &str| self.versions.iter().position(|version| *version.version == *name);
        let (Some(one), Some(other)) = (position(one), position(other)) else {
            return false;
        };
        self.steps[one.min(other)..one.max(other)].iter().all(Option::is_some)
    }

    /// Reads all files of a contract's folder, given by their display paths (`contracts/orders/v1/openapi.yaml`).
    /// Files that are neither `openapi.yaml`, overlays beside it, nor end in `.map.yaml` are passed over, and so are
    /// mappings that are tried (`.candidate.map.yaml`) or were replaced (`.previous.map.yaml`). All mistakes are reported
    /// at once.
    pub fn load(name: &str, files: &[SourceFile]) -> Result<Self, Vec<Diagnostic>> {
        Self::load_with(name, files, &trial::live(files))
    }

    fn load_with(name: &str, files: &[SourceFile], mappings: &[&SourceFile]) -> Result<Self, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let mut versions = Vec::new();
        for file in files.iter().filter(|file| is_openapi(&file.path)) {
            match ContractVersion::load(&with_overlays(file, files)) {
                Ok((version, warnings)) => {
                    versions.push(Arc::new(version));
                    found.extend(warnings);
                }
                Err(mistakes) => found.extend(mistakes),
            }
        }
        found.extend(lone_overlays(files));
        let has_failed = found.iter().any(|mistake| mistake.severity == Severity::Error);
        versions.sort_by(|one, other| natural_order(&one.version, &other.version));
        if versions.is_empty() && !has_failed {
            let mut mistake = Diagnostic {
                severity: Severity::Error,
                file: Path::new("contracts").join(name),
                source: "".into(),
                line: 0,
                column: 0,
                length: 0,
                message: format!("the contract `{name}` has no version"),
                help: None,
            };
            mistake = mistake.help(format!("describe one in contracts/{name}/v1/openapi.yaml"));
            found.push(mistake);
        }
        let mut steps: Vec<Option<Arc<Step>>> = vec![None; versions.len().saturating_sub(1)];
        for file in mappings {
            // Without all versions, a mapping's mistakes would only be theirs.
            match openapi::read_yaml::<MappingSpec>(file) {
                Ok(_) if has_failed => {}
                Ok(mut spec) => match join(name, &versions, &mut spec, (file, files)) {
                    Ok((index, step, mistakes)) => {
                        found.extend(mistakes);
                        if steps[index].replace(Arc::new(step)).is_some() {
                            let message = format!("a second mapping from {} to {}", spec.from.value, spec.to.value);
                            let at = compile::place(&spec.from);
                            found.push(Diagnostic::error(file, at.0, at.1, message).help("keep one of the two"));
                        }
                    }
                    Err(mistakes) => found.extend(mistakes),
                },
                Err(mistake) => found.push(mistake),
            }
        }
        if found.iter().any(|mistake| mistake.severity == Severity::Error) {
            return Err(found);
        }
        Ok(Self {
            name: name.into(),
            versions,
            warnings: found,
            steps,
            chains: Chains::default(),
        })
    }

    /// What its mappings ask of other systems.
    pub fn lookups(&self) -> impl Iterator<Item = &Arc<Lookup>> {
        self.steps.iter().flatten().flat_map(|step| &step.lookups)
    }

    /// The version of this name.
    pub fn version(&self, name: &str) -> Option<&Arc<ContractVersion>> {
        self.versions.iter().find(|version| *version.version == *name)
    }

    /// One compiled way of an operation from the caller's version to the upstream's, whichever is older; the identity
    /// where they are the same. The error is a phrase that says what is missing.
    pub fn translation(&self, operation_id: &str, caller: &str, upstream: &str) -> Result<Translation, String> {
        let index = |name: &str| {
            self.versions
                .iter()
                .position(|version| *version.version == *name)
                .ok_or_else(|| {
                    let known = list(self.versions.iter().map(|version| &*version.version));
                    format!(
                        "contract {} has no version `{name}`; its versions are {known}",
                        self.name
                    )
                })
        };
        let (from, to) = (index(caller)?, index(upstream)?);
        let way: Vec<usize> = if from <= to {
            (from..=to).collect()
        } else {
            (to..=from).rev().collect()
        };
        let mut operations = Vec::with_capacity(way.len());
        for index in &way {
            let version = &self.versions[*index];
            let operation = version.operation(operation_id).ok_or_else(|| {
                format!(
                    "version {} of contract {} has no {operation_id}",
                    version.version, self.name
                )
            })?;
            operations.push(operation.clone());
        }
        let mut stages = Vec::with_capacity(way.len().saturating_sub(1));
        let mut mappings = Vec::with_capacity(stages.capacity());
        for pair in way.windows(2) {
            let (older, direction) = if pair[0] < pair[1] {
                (pair[0], Direction::Up)
            } else {
                (pair[1], Direction::Down)
            };
            let step = self.steps[older].clone().ok_or_else(|| {
                let (older, newer) = (&self.versions[older].version, &self.versions[older + 1].version);
                format!("contract {} has no mapping from {older} to {newer}", self.name)
            })?;
            stages.push((step, direction));
            mappings.push(older);
        }
        let messages = Messages::of(&stages, operation_id);
        let update = Update::join(&stages, &operations, &self.versions[to].document, |end, id| {
            self.versions[way[end]].operation(id).cloned()
        })?;
        let mark = Mark::new(
            &self.name,
            (caller, upstream),
            stages.iter().map(|(step, _)| &step.digest),
        );
        let translation = Translation {
            operations,
            stages,
            update: update.map(Arc::new),
            mark: Arc::new(mark),
            messages,
            surroundings: None,
            seals: true,
            answers: None,
            fused: Arc::default(),
        };
        let fused = Arc::new(self.chains.of(&translation, &mappings));
        Ok(Translation { fused, ..translation })
    }
}

impl ContractVersion {
    fn view(&self) -> Version<'_> {
        Version {
            document: &self.document,
            operations: &self.operations,
        }
    }

    /// Reads a version's document, the first of the files, and its overlays.
    fn load(files: &[SourceFile]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let folder = files
            .first()
            .and_then(|file| file.path.parent())
            .and_then(Path::file_name);
        let version = folder.unwrap_or_default().to_string_lossy();
        let (document, found) = OpenApi::parse(&version, files)?;
        let (mut read, found) = Self::of_document(&version, document, found)?;
        read.digest = mark::digest([], &files.iter().collect::<Vec<_>>());
        Ok((read, found))
    }

    /// Reads the operations of a document; `found` is what is known to be wrong with it.
    fn of_document(
        version: &str,
        mut document: OpenApi,
        mut found: Vec<Diagnostic>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let rules = Rules::compile(&document, &mut found);
        let mut operations: Vec<Arc<Operation>> = Vec::new();
        let mut ids = HashSet::new();
        for listed in listed_operations(&document, &mut found) {
            if let Some(mut operation) = Operation::compile(&mut document, &listed, &mut found) {
                operation.attach(&rules, &document);
                if !ids.insert(operation.id.clone()) {
                    let message = format!("two operations are named `{}`", operation.id);
                    found.push(
                        document
                            .mistake(&format!("/paths/{}", listed.template.replace('/', "~1")), message)
                            .help("give each its own operationId"),
                    );
                }
                operations.push(Arc::new(operation));
            }
        }
        document.finish();
        if found.iter().any(|mistake| mistake.severity == Severity::Error) {
            return Err(found);
        }
        let version = Self {
            version: version.into(),
            operations,
            document,
            digest: mark::digest([], &[]),
        };
        Ok((version, found))
    }
}

/// The document of a version among the files of its contract, followed by its overlays.
pub fn version_files(files: &[SourceFile], version: &str) -> Option<Vec<SourceFile>> {
    let is_version = |path: &Path| {
        path.parent()
            .and_then(Path::file_name)
            .is_some_and(|name| name == version)
    };
    let document = files
        .iter()
        .find(|file| is_openapi(&file.path) && is_version(&file.path))?;
    Some(with_overlays(document, files))
}

/// The versions that files of a contract are of, oldest first.
pub fn version_names(files: &[SourceFile]) -> Vec<String> {
    let documents = files.iter().filter(|file| is_openapi(&file.path));
    let folders = documents.filter_map(|file| file.path.parent()?.file_name());
    let mut names: Vec<String> = folders.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_by(|one, other| natural_order(one, other));
    names
}

/// The files of a contract as they are in force: without mappings that are tried or were live before.
pub fn live_files(files: &[SourceFile]) -> Vec<SourceFile> {
    check::files_with(files, &trial::live(files))
}

/// The files of a contract with the mappings that are tried in the place of the live ones; `None` where none is tried.
pub fn tried_files(files: &[SourceFile]) -> Option<Vec<SourceFile>> {
    let mappings = trial::with(files, trial::CANDIDATE);
    let is_tried = mappings.iter().any(|file| trial::is_candidate(&file.path));
    is_tried.then(|| check::files_with(files, &mappings))
}

/// The operations of a document: its paths' methods, those without a key of their own (3.2) among them.
fn listed_operations(document: &OpenApi, mistakes: &mut Vec<Diagnostic>) -> Vec<Listed> {
    let paths = document.at("/paths").as_object();
    let mut listed = Vec::new();
    for template in paths.into_iter().flat_map(serde_json::Map::keys) {
        let mut item = "/paths".to_owned();
        openapi::push_token(&mut item, template);
        let item = document.resolve(&item).unwrap_or(item);
        let mut add = |method: &str, place: String| {
            let Ok(method) = Method::from_bytes(method.as_bytes()) else {
                let mistake = document.mistake(&place, format!("`{method}` is no method"));
                mistakes.push(mistake.help("write a method's name in capitals, such as COPY"));
                return;
            };
            listed.push(Listed {
                method,
                template: template.clone(),
                item: item.clone(),
                place,
            });
        };
        for name in shape::METHODS {
            if document.at(&item).get(name).is_some() {
                add(&name.to_uppercase(), format!("{item}/{name}"));
            }
        }
        let others = document.at(&item).get("additionalOperations");
        for name in others
            .and_then(serde_json::Value::as_object)
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            let mut place = format!("{item}/additionalOperations");
            openapi::push_token(&mut place, name);
            add(name, place);
        }
    }
    listed
}

/// Compiles a mapping between the two neighbours it names.
fn join(
    name: &str,
    versions: &[Arc<ContractVersion>],
    spec: &mut MappingSpec,
    (file, files): (&SourceFile, &[SourceFile]),
) -> Result<(usize, Step, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut unread = Vec::new();
    let books = Books::open(spec, file, files, &mut unread);
    let spec = &*spec;
    let mistake = |written: &crate::config::Spanned<String>, message: String, help: String| {
        let at = compile::place(written);
        vec![Diagnostic::error(file, at.0, at.1, message).help(help)]
    };
    if spec.contract.value != name {
        let message = format!(
            "this mapping is for contract `{}` and lies with `{name}`",
            spec.contract.value
        );
        return Err(mistake(&spec.contract, message, format!("write `contract: {name}`")));
    }
    let known = list(versions.iter().map(|version| &*version.version));
    let mut places = BTreeMap::new();
    for (key, written) in [("from", &spec.from), ("to", &spec.to)] {
        let index = versions.iter().position(|version| *version.version == *written.value);
        let Some(index) = index else {
            let message = format!("contract {name} has no version `{}`", written.value);
            return Err(mistake(written, message, format!("its versions are {known}")));
        };
        places.insert(key, index);
    }
    let (from, to) = (places["from"], places["to"]);
    if to != from + 1 {
        let message = format!(
            "{} and {} are not neighbours, the older first",
            spec.from.value, spec.to.value
        );
        let help = format!("map each version to the next: {known}; longer ways are made of those");
        return Err(mistake(&spec.from, message, help));
    }
    // Without all tables, mistakes of steps would only be theirs.
    if !unread.is_empty() {
        return Err(unread);
    }
    let (mut step, mistakes) = compile::compile(versions[from].view(), versions[to].view(), spec, (file, &books.books));
    let sources: Vec<&SourceFile> = std::iter::once(file).chain(books.files).collect();
    step.digest = mark::digest([&versions[from].digest, &versions[to].digest], &sources);
    Ok((from, step, mistakes))
}

/// A version's document, and the overlays that lie beside it by their names.
fn with_overlays(document: &SourceFile, files: &[SourceFile]) -> Vec<SourceFile> {
    let is_beside = |file: &&SourceFile| is_overlay(&file.path) && file.path.parent() == document.path.parent();
    let mut overlays: Vec<&SourceFile> = files.iter().filter(is_beside).collect();
    overlays.sort_by(|one, other| one.path.cmp(&other.path));
    std::iter::once(document).chain(overlays).cloned().collect()
}

/// Overlays beside which there is nothing to change.
fn lone_overlays(files: &[SourceFile]) -> Vec<Diagnostic> {
    let is_document_of =
        |overlay: &SourceFile, file: &SourceFile| is_openapi(&file.path) && file.path.parent() == overlay.path.parent();
    let overlays = files.iter().filter(|file| is_overlay(&file.path));
    overlays
        .filter(|overlay| !files.iter().any(|file| is_document_of(overlay, file)))
        .map(|overlay| {
            Diagnostic::error(overlay, 0, 0, "no document lies beside this overlay")
                .help("put it into the folder of a version, beside its openapi.yaml")
        })
        .collect()
}

fn is_openapi(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name == "openapi.yaml" || name == "openapi.yml" || name == "openapi.json"
}

/// Digits compare as numbers: `v2` comes before `v10`.
fn natural_order(one: &str, other: &str) -> Ordering {
    let split = |text: &str| -> (String, u64, String) {
        let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let end = text[start..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(text.len(), |length| start + length);
        (
            text[..start].to_owned(),
            text[start..end].parse().unwrap_or(0),
            text[end..].to_owned(),
        )
    };
    split(one).cmp(&split(other)).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests;
