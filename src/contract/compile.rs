//! Compiles a mapping file against the two versions it joins, and finds what would go wrong before it goes live.

mod nested;
mod updates;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use self::nested::Search;
use super::book::Book;
use super::lookup::Lookup;
use super::openapi::{OpenApi, PARAMETERS, list, push_token};
use super::operation::{Operation, RESPONSE_HEADER, StatusKey};
use super::outline::Outline;
use super::program::{Choice, Inner, Nested, Path, Program, Programs, Step as Inward};
use super::spec::{Direction, MappingSpec, OpSpec, OperationSpec, PivotSpec, SideSpec, TypeSpec};
use super::steps::{Form, Loss, Steps, sides};
use super::translation::{OperationStep, Step};
use crate::config::{Diagnostic, Severity, SourceFile, Spanned};

/// One of the two versions.
#[derive(Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) document: &'a OpenApi,
    pub(super) operations: &'a [Arc<Operation>],
}

/// What is at hand while a mapping is compiled.
pub(super) struct Compiler<'a> {
    pub(super) older: Version<'a>,
    pub(super) newer: Version<'a>,
    pub(super) spec: &'a MappingSpec,
    pub(super) file: &'a SourceFile,
    /// Tables that lie in files.
    pub(super) books: &'a HashMap<String, Arc<Book>>,
    /// What is asked of other systems.
    pub(super) lookups: Vec<Arc<Lookup>>,
    pub(super) mistakes: Vec<Diagnostic>,
    programs: Vec<Program>,
    /// Programs by the places of the older and the newer schema.
    known: HashMap<(String, String), usize>,
    used_types: HashSet<String>,
    /// Places that requests may have, in the older version and in the newer one.
    pub(super) outlines: [Outline; 2],
    /// Fields that some answer of a version has, by where the mapping names them.
    pub(super) found_members: HashSet<((u32, u32), Arc<str>)>,
}

/// A type that is being compiled.
pub(super) struct Type<'t> {
    /// Where its schema stands in the older version, `$ref`s followed.
    pub(super) older: &'t str,
    pub(super) newer: &'t str,
    /// As it is called in messages.
    pub(super) name: &'t str,
    /// The types around it in the older version, the nearest last.
    pub(super) around: &'t [String],
    /// Where in the mapping file.
    pub(super) place: (u32, u32),
}

/// Compiles a mapping. Mistakes and warnings are returned beside the result, all that were found.
pub(super) fn compile(
    older: Version<'_>,
    newer: Version<'_>,
    spec: &MappingSpec,
    (file, books): (&SourceFile, &HashMap<String, Arc<Book>>),
) -> (Step, Vec<Diagnostic>) {
    let mut compiler = Compiler {
        older,
        newer,
        spec,
        file,
        books,
        lookups: Vec::new(),
        mistakes: Vec::new(),
        programs: Vec::new(),
        known: HashMap::new(),
        used_types: HashSet::new(),
        outlines: Default::default(),
        found_members: HashSet::new(),
    };
    compiler.check_names();
    let mut operations = HashMap::new();
    for older in compiler.older.operations {
        let newer = compiler.newer.operations.iter().find(|newer| newer.id == older.id);
        if let Some(newer) = newer {
            let step = compiler.operation(older, newer);
            operations.insert(older.id.clone(), step);
        }
    }
    compiler.warn_unused();
    compiler.check_shared_members();
    let programs = Programs::new(compiler.programs);
    let mut mistakes = compiler.mistakes;
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes.dedup();
    let step = Step {
        file: file.clone(),
        digest: blake3::hash(b""),
        programs,
        lookups: compiler.lookups,
        operations,
        outlines: compiler.outlines,
    };
    (step, mistakes)
}

/// Line and column of something read from the mapping file.
pub(super) fn place<T>(written: &Spanned<T>) -> (u32, u32) {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    (small(written.referenced.line()), small(written.referenced.column()))
}

impl Compiler<'_> {
    pub(super) fn mistake(&mut self, place: (u32, u32), message: impl Into<String>, help: impl Into<String>) {
        let mistake = Diagnostic::error(self.file, place.0, place.1, message).help(help);
        self.mistakes.push(mistake);
    }

    fn warning(&mut self, place: (u32, u32), message: impl Into<String>, help: impl Into<String>) {
        self.mistake(place, message, help);
        if let Some(mistake) = self.mistakes.last_mut() {
            mistake.severity = Severity::Warning;
        }
    }

    fn check_names(&mut self) {
        let spec = self.spec;
        let (from, to) = (&*self.older.document.version, &*self.newer.document.version);
        for (name, written) in &spec.types {
            let known: BTreeSet<String> = self.older.document.schema_names().map(str::to_owned).collect();
            if !known.contains(name) {
                let help = format!("schemas of {from} are {}", list(known.iter().map(String::as_str)));
                self.mistake(place(written), format!("version {from} has no schema `{name}`"), help);
            }
            let newer = written.value.rename.as_deref().unwrap_or(name);
            let known: BTreeSet<String> = self.newer.document.schema_names().map(str::to_owned).collect();
            if !known.contains(newer) {
                let help = format!(
                    "say `as:` and its name there; schemas of {to} are {}",
                    list(known.iter().map(String::as_str))
                );
                self.mistake(place(written), format!("version {to} has no schema `{newer}`"), help);
            }
        }
        for (id, written) in &spec.operations {
            for version in [self.older, self.newer] {
                let ids: Vec<String> = version
                    .operations
                    .iter()
                    .map(|operation| operation.id.to_string())
                    .collect();
                if !ids.contains(id) {
                    let message = format!("version {} has no operation `{id}`", version.document.version);
                    let help = format!("its operations are {}", list(ids.iter().map(String::as_str)));
                    self.mistake(place(written), message, help);
                    break;
                }
            }
        }
        for written in &spec.losses {
            let loss = &written.value;
            if loss.reason.trim().is_empty() {
                let help = "say why nobody misses it";
                self.mistake(
                    place(written),
                    format!("the loss of `{}` has no reason", loss.path),
                    help,
                );
            }
            let name = spec
                .types
                .get(&loss.schema)
                .and_then(|written| written.value.rename.as_ref());
            let (document, schema) = match loss.direction {
                Direction::Up => (self.older.document, &loss.schema),
                Direction::Down => (self.newer.document, name.unwrap_or(&loss.schema)),
            };
            let mut pointer = "/components/schemas".to_owned();
            push_token(&mut pointer, schema);
            if document.find(&pointer, &path(&loss.path)).is_none() {
                let message = format!("version {} has no `{}` in {schema}", document.version, loss.path);
                let help = format!("its fields are {}", fields(document, &pointer));
                self.mistake(place(written), message, help);
            }
        }
    }

    fn warn_unused(&mut self) {
        for (name, written) in &self.spec.types {
            let exists = self.older.document.schema_names().any(|known| known == name);
            if exists && !self.used_types.contains(name) {
                let help = "remove it, or let a `$ref` lead to the schema";
                self.warning(place(written), format!("no operation's body contains `{name}`"), help);
            }
        }
    }

    fn operation(&mut self, older: &Operation, newer: &Operation) -> OperationStep {
        let written = self.spec.operations.get(&*older.id);
        let none = OperationSpec::default();
        let (spec, at) = written.map_or((&none, (0, 0)), |written| (&written.value, place(written)));
        let parameters = |part: &str| {
            let mut pointer = format!("/{PARAMETERS}");
            push_token(&mut pointer, &older.id);
            push_token(&mut pointer, part);
            pointer
        };
        let mut run = |part: &str, ops: &[Spanned<OpSpec>]| {
            let (pointer, name) = (parameters(part), format!("the {part} of {}", older.id));
            let subject = Type {
                older: &pointer,
                newer: &pointer,
                name: &name,
                around: &[],
                place: at,
            };
            self.compile_type(&subject, ops, &[])
        };
        let path = run("path", &spec.path);
        let query = run("query", &spec.query);
        let header = run("header", &spec.header);
        let cookie = run("cookie", &spec.cookie);
        let response_header = run(RESPONSE_HEADER, &spec.response_header);
        let mut step = OperationStep {
            path,
            query,
            header_names: self.touched(header),
            header,
            cookie_names: self.touched(cookie),
            cookie,
            response_header_names: self.touched(response_header),
            response_header,
            status_up: spec.status.clone(),
            status_down: spec.status.iter().map(|(older, newer)| (*newer, *older)).collect(),
            message: self.message(older, newer, spec),
            ..OperationStep::default()
        };
        if step.status_down.len() < step.status_up.len() {
            let help = "let each status of the newer version stand for one of the older";
            self.mistake(at, format!("two status codes of {} become the same", older.id), help);
        }
        step.update = self.update(older, newer, spec.update.as_ref(), at);
        // A patch that is applied to what it changes is not translated itself.
        if step.update.is_none() || older.method != http::Method::PATCH {
            self.request_bodies(older, newer, &mut step, at);
        }
        self.warn_of_erasing(older, newer, spec.update.as_ref(), &step, at);
        self.response_bodies(older, newer, &mut step, at);
        step
    }

    /// Names that the steps of a program read or write.
    fn touched(&self, program: usize) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = Vec::new();
        for side in [&self.programs[program].up, &self.programs[program].down] {
            let moved = side.moves.iter().flat_map(|step| [&step.from, &step.to]);
            let filled = side.fills.iter().map(|(path, ..)| path);
            let copied = side.copies.iter().flat_map(|copy| [&copy.from.path, &copy.to]);
            let combined = side
                .combinations
                .iter()
                .flat_map(|combine| combine.from.iter().chain(&combine.to));
            let expressed = side.expressions.iter().map(|expressed| &expressed.to);
            let computed = side.computed.iter().map(|computed| &computed.to);
            let dropped = side.drops.iter().map(|(path, _)| path);
            let expected = side.expects.iter().map(|expect| &expect.path);
            names.extend(
                moved
                    .chain(filled)
                    .chain(copied)
                    .chain(combined)
                    .chain(expressed)
                    .chain(computed)
                    .chain(dropped)
                    .chain(expected)
                    .filter_map(|path| path.first().cloned()),
            );
        }
        // What is described as JSON may hold types of its own.
        let nested = self.programs[program]
            .nested
            .iter()
            .filter_map(|nested| match nested.path.first() {
                Some(Inward::Field(name)) => Some(name.clone()),
                _ => None,
            });
        names.extend(nested);
        names.sort_unstable();
        names.dedup();
        names
    }

    fn request_bodies(&mut self, older: &Operation, newer: &Operation, step: &mut OperationStep, at: (u32, u32)) {
        let id = &older.id;
        match (&older.body, &newer.body) {
            (Some(one), Some(other)) => {
                for media in &one.media {
                    let Some(counterpart) = other.media.iter().find(|counterpart| counterpart.name == media.name)
                    else {
                        let help = "describe the body in that media type too";
                        self.mistake(at, format!("{id} takes no {} in the newer version", media.name), help);
                        continue;
                    };
                    if let (Some(one), Some(other)) = (&media.schema, &counterpart.schema) {
                        let program = self.program(one, other, &format!("the body of {id}"), &[], at);
                        step.requests.insert(media.name.clone(), program);
                    }
                }
            }
            (None, Some(_)) if newer.body_is_required() => {
                let help = "make the body optional in the newer version";
                self.mistake(at, format!("{id} requires a body in the newer version only"), help);
            }
            (Some(_), None) => {
                let help = "let the newer version take a body, or give it another operationId";
                self.mistake(at, format!("{id} takes a body in the older version only"), help);
            }
            _ => {}
        }
    }

    fn response_bodies(&mut self, older: &Operation, newer: &Operation, step: &mut OperationStep, at: (u32, u32)) {
        // Whether a declared code leads to the pair, or only the codes that both leave to their `default`.
        let mut pairs: BTreeMap<(StatusKey, StatusKey), bool> = BTreeMap::new();
        let mut missing: BTreeSet<u16> = BTreeSet::new();
        for code in 100..600_u16 {
            let counterpart = step.status_down.get(&code).copied().unwrap_or(code);
            if let Some(source) = newer.response(code) {
                match older.response(counterpart) {
                    Some(target) => {
                        *pairs.entry((target.status, source.status)).or_default() |=
                            source.status == StatusKey::Exactly(code);
                    }
                    None if source.status == StatusKey::Exactly(code) => {
                        missing.insert(code);
                    }
                    None => {}
                }
            }
            let counterpart = step.status_up.get(&code).copied().unwrap_or(code);
            if let (Some(source), Some(target)) = (older.response(code), newer.response(counterpart)) {
                *pairs.entry((source.status, target.status)).or_default() |= source.status == StatusKey::Exactly(code);
            }
        }
        let id = &older.id;
        for code in missing {
            let help =
                format!("map it under `operations: {{ {id}: {{ status: {{ OLDER: {code} }} }} }}`, or declare it");
            let message = format!("{id} answers {code} in the newer version, which the older does not declare");
            self.mistake(at, message, help);
        }
        for ((one, other), is_declared) in pairs {
            let media = |operation: &Operation, key| {
                let response = operation.responses.iter().find(|response| response.status == key);
                let media = response.into_iter().flat_map(|response| &response.media);
                media
                    .map(|media| (media.name.clone(), media.schema.clone()))
                    .collect::<BTreeMap<_, _>>()
            };
            let (ours, theirs) = (media(older, one), media(newer, other));
            for (name, schema) in &theirs {
                let counterpart = ours.get(name).cloned().flatten();
                match (counterpart, schema) {
                    (Some(counterpart), Some(schema)) => {
                        let what = format!("the {other} answer of {id}");
                        let program = self.program(&counterpart, schema, &what, &[], at);
                        step.responses.insert((one, other, name.clone()), program);
                    }
                    _ if ours.is_empty() || !is_declared => {}
                    _ => {
                        let message = format!("{id} answers {other} as {name}, and the older version does not");
                        let help = "describe the answer in that media type too, or map its code under `status` of the operation";
                        self.mistake(at, message, help);
                    }
                }
            }
        }
    }

    /// The program between two schemas, compiled on first use.
    pub(super) fn program(&mut self, older: &str, newer: &str, what: &str, around: &[String], at: (u32, u32)) -> usize {
        let documents = (self.older.document, self.newer.document);
        let older = documents.0.resolve(older).unwrap_or_else(|| older.to_owned());
        let newer = documents.1.resolve(newer).unwrap_or_else(|| newer.to_owned());
        let (one, other) = (OpenApi::schema_name(&older), OpenApi::schema_name(&newer));
        let written = one.and_then(|name| self.spec.types.get(name));
        let none = TypeSpec::default();
        let (spec, at) = written.map_or((&none, at), |written| (&written.value, place(written)));
        if let Some(one) = one {
            self.used_types.insert(one.to_owned());
            let expected = spec.rename.as_deref().unwrap_or(one);
            let is_structured = documents.0.is_structured(&older);
            if is_structured && other.is_some_and(|other| other != expected) {
                let other = other.unwrap_or_default();
                let message = format!(
                    "{what} is {one} in {} and {other} in {}",
                    documents.0.version, documents.1.version
                );
                let help = format!("say `types: {{ {one}: {{ as: {other}, ops: […] }} }}`");
                self.mistake(at, message, help);
            }
        }
        let key = (older.clone(), newer.clone());
        if let Some(program) = self.known.get(&key) {
            return *program;
        }
        // Taken before the type is looked into, so that a type inside itself finds its own program.
        let losses: Vec<_> = self
            .spec
            .losses
            .iter()
            .filter(|loss| Some(loss.value.schema.as_str()) == one)
            .map(|loss| (path(&loss.value.path), loss.value.direction, place(loss)))
            .collect();
        let name = one.unwrap_or(what).to_owned();
        let subject = Type {
            older: &older,
            newer: &newer,
            name: &name,
            around,
            place: at,
        };
        let index = self.reserve();
        self.known.insert(key, index);
        self.fill(index, &subject, &spec.ops, &losses);
        index
    }

    /// A program that nothing else shares: for parameters and the items of `each`.
    fn compile_type(&mut self, subject: &Type<'_>, ops: &[Spanned<OpSpec>], losses: &[Loss]) -> usize {
        let index = self.reserve();
        self.fill(index, subject, ops, losses);
        index
    }

    fn reserve(&mut self) -> usize {
        self.programs.push(Program::default());
        self.programs.len() - 1
    }

    fn fill(&mut self, index: usize, subject: &Type<'_>, ops: &[Spanned<OpSpec>], losses: &[Loss]) {
        let steps = Steps::read(self, subject, ops, losses);
        self.fill_with(index, subject, &steps, ops.is_empty() && losses.is_empty());
    }

    /// `is_empty` says that nothing is written about the type itself.
    fn fill_with(&mut self, index: usize, subject: &Type<'_>, steps: &Steps<'_>, is_empty: bool) {
        let mut nested = Vec::new();
        for each in &steps.eaches {
            if let Some(program) = self.each(subject, each) {
                let mut inward: Vec<_> = each.from.iter().cloned().map(Inward::Field).collect();
                inward.push(Inward::Items);
                let what = Inner::Program(program);
                nested.push(Nested { path: inward, what });
            }
        }
        for variant in &steps.variants {
            nested.extend(self.variant(subject, variant));
        }
        let mut search = Search {
            subject,
            steps,
            taken: nested.iter().map(|nested| nested.path.clone()).collect(),
            nested,
            way: Vec::new(),
        };
        self.search(&mut search, subject.older, &mut Vec::new(), 0);
        let nested = search.nested;
        steps.check(self, subject, &nested);
        let is_identity = is_empty && nested.is_empty();
        let (up, down) = sides(self, subject, steps);
        self.programs[index] = Program::new(is_identity, nested, up, down);
    }

    /// The types a field may hold.
    fn variant(&mut self, subject: &Type<'_>, variant: &super::steps::Variant<'_>) -> Option<Nested> {
        let mut cases = Vec::new();
        let mut around = subject.around.to_vec();
        around.push(subject.older.to_owned());
        for case in &variant.spec.cases {
            let place = |document: &OpenApi, name: &str| {
                let mut pointer = "/components/schemas".to_owned();
                push_token(&mut pointer, name);
                document.at(&pointer).is_object().then_some(pointer)
            };
            let renamed = self
                .spec
                .types
                .get(&case.schema)
                .and_then(|written| written.value.rename.clone());
            let newer_name = renamed.as_deref().unwrap_or(&case.schema);
            let documents = (self.older.document, self.newer.document);
            let ends = (place(documents.0, &case.schema), place(documents.1, newer_name));
            let (Some(older), Some(newer)) = ends else {
                let (document, name) = if ends.0.is_none() {
                    (documents.0, case.schema.as_str())
                } else {
                    (documents.1, newer_name)
                };
                let message = format!("version {} has no schema `{name}`", document.version);
                let help = format!("schemas there are {}", list(document.schema_names()));
                self.mistake(variant.place, message, help);
                continue;
            };
            let program = self.program(
                &older,
                &newer,
                &format!("a case of {}", subject.name),
                &around,
                variant.place,
            );
            let said = [case.older.as_str(), case.newer.as_deref().unwrap_or(&case.older)];
            if cases
                .iter()
                .any(|(known, _): &([Box<str>; 2], usize)| *known[0] == *said[0] || *known[1] == *said[1])
            {
                let message = format!("two cases are told by `{}`", case.older);
                self.mistake(variant.place, message, "each case says something else in `by`");
            }
            cases.push((said.map(Into::into), program));
        }
        let mut path: Vec<_> = variant.from.iter().cloned().map(Inward::Field).collect();
        let field = self.older.document.find(subject.older, &variant.from)?;
        if self.older.document.items(&field).is_some() {
            path.push(Inward::Items);
        }
        let spec = variant.spec;
        let choice = Choice {
            by: [spec.by.as_str(), spec.newer_by.as_deref().unwrap_or(&spec.by)].map(Into::into),
            cases,
            place: variant.place,
        };
        let what = Inner::Choice(Arc::new(choice));
        Some(Nested { path, what })
    }

    fn each(&mut self, subject: &Type<'_>, each: &super::steps::Each<'_>) -> Option<usize> {
        if each.ops.is_empty() && matches!(each.form, Form::Items) {
            return None;
        }
        let documents = (self.older.document, self.newer.document);
        // Where elements are groups, the items are one list further inside.
        let items = |document: &OpenApi, schema: &str, path: &Path, side: SideSpec| {
            let list = document.find(schema, path).ok_or(None)?;
            match each.form {
                Form::Members(object, spec) if object == side => match document.items(&list) {
                    Some(_) => Err(None),
                    None => member_schema(document, &list, spec).map_err(Some),
                },
                Form::Groups(grouped, spec) if grouped == side => {
                    let element = document.items(&list).ok_or(None)?;
                    let items = document.find(&element, &[spec.items.as_str().into()]).ok_or(None)?;
                    document.items(&items).ok_or(None)
                }
                _ => document.items(&list).ok_or(None),
            }
        };
        let older = items(documents.0, subject.older, &each.from, SideSpec::Older);
        let newer = items(documents.1, subject.newer, &each.to, SideSpec::Newer);
        let (older, newer) = match (older, newer) {
            (Ok(older), Ok(newer)) => (older, newer),
            (Err(Some((message, help))), _) | (_, Err(Some((message, help)))) => {
                self.mistake(each.place, message, help);
                return None;
            }
            _ => {
                let (message, help) = match each.form {
                    Form::Members(..) => (
                        "this step needs a list in one version and an object in the other",
                        "give the path of an array and of an object, and say `older: object` if that is the older one",
                    ),
                    _ => (
                        "this step needs a list in both versions",
                        "give the path of an array, and of groups the name of their list in `items`",
                    ),
                };
                self.mistake(each.place, message, help);
                return None;
            }
        };
        let (older, newer) = (documents.0.resolve(&older)?, documents.1.resolve(&newer)?);
        let mut around = subject.around.to_vec();
        around.push(subject.older.to_owned());
        let name = format!("an item of {}", each.from.join("."));
        let item = Type {
            older: &older,
            newer: &newer,
            name: &name,
            around: &around,
            place: each.place,
        };
        let index = self.reserve();
        let mut steps = Steps::read(self, &item, each.ops, &[]);
        let other = |side| match side {
            SideSpec::Newer => SideSpec::Older,
            SideSpec::Older => SideSpec::Newer,
        };
        match each.form {
            Form::Items => {}
            // The flat item has what its group says of it.
            Form::Groups(grouped, spec) => {
                steps.give(spec.by.keys().map(|name| path(name)), other(grouped), each.place);
            }
            // And the item of a list what the name of a member says.
            Form::Members(object, spec) => {
                let (document, item) = match object {
                    SideSpec::Newer => (documents.0, &older),
                    SideSpec::Older => (documents.1, &newer),
                };
                if document.properties(item).contains_key(&spec.key) {
                    steps.give([path(&spec.key)], other(object), each.place);
                } else {
                    let message = format!("version {} has no `{}` in {name}", document.version, spec.key);
                    self.mistake(
                        each.place,
                        message,
                        format!("fields there are {}", fields(document, item)),
                    );
                }
            }
        }
        self.fill_with(index, &item, &steps, false);
        Some(index)
    }
}

/// The one schema of the members that items become; or what is wrong with them, and what would be right.
fn member_schema(document: &OpenApi, object: &str, spec: &PivotSpec) -> Result<String, (String, String)> {
    let known = document.properties(object);
    let others = || document.additional(object).filter(|_| !document.is_closed(object));
    let mut schemas: Vec<String> = Vec::new();
    for name in spec.names.values() {
        let schema = known.get(name).cloned().or_else(others).ok_or_else(|| {
            let message = format!("version {} has no member `{name}` there", document.version);
            (message, format!("members there are {}", fields(document, object)))
        })?;
        schemas.push(schema);
    }
    if spec.names.is_empty() {
        schemas.extend(known.into_values().chain(others()));
    }
    let mut schemas = schemas.into_iter().filter_map(|schema| document.resolve(&schema));
    let first = schemas.next().ok_or_else(|| {
        let message = format!("version {} has no object with members there", document.version);
        (
            message,
            "name its members, or give their schema in `additionalProperties`".to_owned(),
        )
    })?;
    if schemas.any(|schema| schema != first && document.at(&schema) != document.at(&first)) {
        let message = "the members that items become do not have the same schema".to_owned();
        return Err((
            message,
            "let each of them refer to the same schema by `$ref`".to_owned(),
        ));
    }
    Ok(first)
}

/// A path as people write it, taken apart.
pub(super) fn path(text: &str) -> Path {
    text.split('.').map(Into::into).collect()
}

/// The fields of a schema as a list for people.
pub(super) fn fields(document: &OpenApi, pointer: &str) -> String {
    list(document.properties(pointer).keys().map(String::as_str))
}
