//! Updates: what a mapping says of PUT and PATCH, checked against both versions.

use http::Method;

use super::{Compiler, list, path, place};
use crate::contract::operation::Operation;
use crate::contract::program::{Inner, Path};
use crate::contract::spec::{Direction, MergeSpec, UpdateSpec};
use crate::contract::translation::OperationStep;
use crate::contract::update::{JSON_PATCH, MergeStep, is_document, json_answer};

impl Compiler<'_> {
    /// What is said of an operation's updates.
    pub(super) fn update(
        &mut self,
        older: &Operation,
        newer: &Operation,
        spec: Option<&UpdateSpec>,
        at: (u32, u32),
    ) -> Option<MergeStep> {
        let (id, at) = (&older.id, self.head_or(at));
        let is_update = |operation: &Operation| [Method::PUT, Method::PATCH].contains(&operation.method);
        if spec.is_some() && (!is_update(older) || older.method != newer.method) {
            let message = format!(
                "{id} is {} in the older version and {} in the newer",
                older.method, newer.method
            );
            self.mistake(at, message, "`update` is for what is PUT or PATCH in both");
            return None;
        }
        let Some(UpdateSpec::MergeCurrent(spec)) = spec else {
            // Its pointers name places of one version only.
            if older.media_types().any(|media| media == JSON_PATCH) {
                let message = format!("the places in a JSON Patch of {id} cannot be translated by themselves");
                let help = "say `update: { mergeCurrent: { current: … } }`, or take application/json-patch+json out";
                self.mistake(at, message, help);
            }
            return None;
        };
        self.check_current(older, newer, spec, at)?;
        let mut lists = Vec::new();
        for (written, key) in &spec.lists {
            let (list, key_path) = (path(written), path(key));
            if self.check_list(newer, spec, (&list, &key_path), (written, key), at) {
                lists.push((list.to_vec(), key_path.to_vec()));
            }
        }
        Some(MergeStep {
            current: spec.current.clone(),
            lists,
            without_tag: spec.without_tag,
        })
    }

    /// Where nothing is written of an operation, the file's head stands for it.
    fn head_or(&self, at: (u32, u32)) -> (u32, u32) {
        if at.0 == 0 { place(&self.spec.from) } else { at }
    }

    /// The operation that reads has to be there in both versions, for the same resource.
    fn check_current(&mut self, older: &Operation, newer: &Operation, spec: &MergeSpec, at: (u32, u32)) -> Option<()> {
        for (version, update) in [(self.older, older), (self.newer, newer)] {
            let name = version.document.version.clone();
            let read = version
                .operations
                .iter()
                .find(|operation| *operation.id == *spec.current);
            let Some(read) = read else {
                let known: Vec<&str> = version.operations.iter().map(|operation| &*operation.id).collect();
                let message = format!("version {name} has no operation `{}`", spec.current);
                self.mistake(at, message, format!("its operations are {}", list(known)));
                return None;
            };
            let message = if read.method != Method::GET {
                format!("{} is {} in version {name}, and reads nothing", read.id, read.method)
            } else if anonymous(&read.template) != anonymous(&update.template) {
                format!(
                    "{} reads {} and {} updates {}",
                    read.id, read.template, update.id, update.template
                )
            } else if json_answer(read).is_none() {
                format!("{} does not answer 200 with JSON in version {name}", read.id)
            } else if update.method == Method::PUT && !update.media_types().any(is_document) {
                format!("{} takes no JSON in version {name}", update.id)
            } else {
                continue;
            };
            self.mistake(at, message, "`current` is the GET of the path that is updated");
            return None;
        }
        Some(())
    }

    fn check_list(
        &mut self,
        newer: &Operation,
        spec: &MergeSpec,
        (list_path, key_path): (&Path, &Path),
        (written, key): (&str, &str),
        at: (u32, u32),
    ) -> bool {
        let document = self.newer.document;
        let read = self
            .newer
            .operations
            .iter()
            .find(|operation| *operation.id == *spec.current);
        let media = match newer.method {
            Method::PUT => newer.body.iter().flat_map(|body| &body.media).collect::<Vec<_>>(),
            _ => read
                .and_then(|read| read.response(200))
                .iter()
                .flat_map(|response| &response.media)
                .collect(),
        };
        let schema = media
            .into_iter()
            .filter(|media| is_document(&media.name))
            .find_map(|media| media.schema.clone());
        let items = schema.and_then(|schema| {
            // Lists in between are passed through.
            let place = list_path.iter().try_fold(document.resolve(&schema)?, |place, name| {
                let place = document.items(&place).unwrap_or(place);
                document.find(&place, std::slice::from_ref(name))
            })?;
            document.items(&place)
        });
        let message = match items {
            None => format!(
                "version {} has no list `{written}` in what {} updates",
                document.version, newer.id
            ),
            Some(items) if document.find(&items, key_path).is_none() => {
                format!(
                    "the items of `{written}` have no `{key}` in version {}",
                    document.version
                )
            }
            Some(_) => return true,
        };
        let help = "`lists` are the newer version's, each with the member that tells its items apart";
        self.mistake(at, message, help);
        false
    }

    /// What the older version cannot see is gone after its callers' updates, unless somebody says otherwise.
    pub(super) fn warn_of_erasing(
        &mut self,
        older: &Operation,
        newer: &Operation,
        spec: Option<&UpdateSpec>,
        step: &OperationStep,
        at: (u32, u32),
    ) {
        let is_merged = matches!(spec, Some(UpdateSpec::MergeCurrent(_)));
        if is_merged || older.method != Method::PUT || newer.method != Method::PUT {
            return;
        }
        let (mut seen, mut lost) = (Vec::new(), Vec::new());
        for program in step.requests.values() {
            self.lost(*program, Direction::Down, &mut seen, &mut lost);
        }
        let at = self.head_or(at);
        lost.sort();
        lost.dedup();
        if lost.is_empty() {
            return;
        }
        let version = &self.older.document.version;
        let message = format!(
            "{} from version {version} erases what its callers cannot see: {}",
            older.id,
            list(lost.iter().map(String::as_str))
        );
        let help = "keep it: `update: { mergeCurrent: { current: … } }` names the operation that reads it";
        self.warning(at, message, help);
    }

    /// Fields that a program leaves out, and those of the types inside.
    fn lost(&self, program: usize, way: Direction, seen: &mut Vec<usize>, lost: &mut Vec<String>) {
        if seen.contains(&program) {
            return;
        }
        seen.push(program);
        let compiled = &self.programs[program];
        lost.extend(compiled.side(way).drops.iter().map(|(path, _)| path.join(".")));
        for nested in &compiled.nested {
            match &nested.what {
                Inner::Program(inner) => self.lost(*inner, way, seen, lost),
                Inner::Choice(choice) => {
                    for (_, inner) in &choice.cases {
                        self.lost(*inner, way, seen, lost);
                    }
                }
            }
        }
    }
}

/// A path without the names of its values.
fn anonymous(template: &str) -> Vec<&str> {
    let segments = template.split('/');
    segments
        .map(|segment| if segment.starts_with('{') { "{}" } else { segment })
        .collect()
}
