//! Gathers a document of several files into one: what lies in other files gets a name under `components`.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use crate::config::{Diagnostic, SourceFile, read_file};
use crate::contract::openapi::{fragment, push_token};
use crate::contract::shape::{Shape, visit};
use crate::contract::tree::{Node, Origin};
use crate::json::Pointer;

/// Files that one document may be made of, and bytes of all of them together.
const FILES: usize = 2_000;
const BYTES: usize = 64 << 20;

/// How many references are followed one after the other before a circle is assumed.
const CHAIN: usize = 32;

/// One document, and the files it was made of.
pub(super) struct Bundle {
    pub(super) tree: Node,
    pub(super) files: Vec<SourceFile>,
    /// What came from where.
    pub(super) bundled: Vec<String>,
}

pub(super) fn bundle(file: &Path, allow_outside: bool) -> Result<Bundle, Vec<Diagnostic>> {
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let source = read_file(file, file).map_err(|mistake| vec![mistake])?;
    let mut tree = Node::read(&source, 0).map_err(|mistake| vec![mistake])?;
    let mut bundler = Bundler {
        root: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
        allow_outside,
        bytes: source.text.len(),
        by_path: HashMap::from([(file.canonicalize().unwrap_or_else(|_| file.to_owned()), 0)]),
        files: vec![source],
        trees: vec![tree.clone()],
        names: HashMap::new(),
        taken: HashSet::new(),
        waiting: Vec::new(),
        bundled: Vec::new(),
        mistakes: Vec::new(),
    };
    bundler.take_names(&mut tree);
    bundler.follow(&mut tree, Shape::Document);
    while let Some(target) = bundler.waiting.pop() {
        bundler.bring(&mut tree, &target);
    }
    if !bundler.mistakes.is_empty() {
        let key = |mistake: &Diagnostic| (mistake.file.clone(), mistake.line, mistake.column);
        bundler.mistakes.sort_by_key(key);
        bundler.mistakes.dedup();
        return Err(bundler.mistakes);
    }
    bundler.bundled.sort();
    Ok(Bundle {
        tree,
        files: bundler.files,
        bundled: bundler.bundled,
    })
}

struct Bundler {
    /// The folder of the document, which files are not read outside of.
    root: PathBuf,
    allow_outside: bool,
    bytes: usize,
    files: Vec<SourceFile>,
    trees: Vec<Node>,
    by_path: HashMap<PathBuf, usize>,
    /// The names of what was brought, by where it stood.
    names: HashMap<(&'static str, usize, String), String>,
    /// Names in use, by section.
    taken: HashSet<(&'static str, String)>,
    waiting: Vec<Target>,
    bundled: Vec<String>,
    mistakes: Vec<Diagnostic>,
}

/// Something that gets a place under `components`.
struct Target {
    shape: Shape,
    section: &'static str,
    name: String,
    file: usize,
    pointer: String,
}

/// Where a reference leads.
#[derive(Clone)]
struct Place {
    file: usize,
    pointer: String,
}

impl Bundler {
    /// Names under `components` belong to the document; one that only leads to another file is that file's name.
    fn take_names(&mut self, tree: &mut Node) {
        let sections = tree
            .get("components")
            .and_then(Node::members)
            .cloned()
            .unwrap_or_default();
        for shape in SECTIONS {
            let Some(section) = shape.section() else { continue };
            let Some(members) = sections.get(section).and_then(|member| member.value.members()) else {
                continue;
            };
            for name in members.keys() {
                self.taken.insert((section, name.clone()));
            }
            for (name, member) in members {
                let Some(reference) = member.value.get("$ref") else {
                    continue;
                };
                if reference.as_str().is_none_or(|text| text.starts_with('#')) {
                    continue;
                }
                let Some(place) = self.resolve(reference) else { continue };
                if place.file == 0 {
                    continue;
                }
                let key = (section, place.file, place.pointer.clone());
                if self.names.contains_key(&key) {
                    continue;
                }
                self.names.insert(key, name.clone());
                self.waiting.push(Target {
                    shape,
                    section,
                    name: name.clone(),
                    file: place.file,
                    pointer: place.pointer,
                });
            }
        }
    }

    /// Rewrites all references in a value so that they lead into `components`.
    fn follow(&mut self, node: &mut Node, shape: Shape) {
        visit(node, shape, &mut Vec::new(), &mut |shape, node, _| {
            if shape == Shape::Schema {
                self.follow_mapping(node);
            }
            let Some(reference) = node.get("$ref").filter(|reference| reference.as_str().is_some()) else {
                return;
            };
            let origin = reference.origin;
            let Some(local) = self.local(shape, &reference.clone()) else {
                return;
            };
            if let Some(member) = node.get_mut("$ref") {
                *member = Node::text(origin, local);
            }
        });
    }

    /// The values of a discriminator's mapping are names or references.
    fn follow_mapping(&mut self, node: &mut Node) {
        let mapping = node
            .get_mut("discriminator")
            .and_then(|discriminator| discriminator.get_mut("mapping"));
        for member in mapping
            .and_then(Node::members_mut)
            .into_iter()
            .flat_map(|members| members.values_mut())
        {
            let is_reference = member.value.as_str().is_some_and(|text| {
                text.contains('#') || [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end))
            });
            if is_reference && let Some(local) = self.local(Shape::Schema, &member.value) {
                member.value = Node::text(member.value.origin, local);
            }
        }
    }

    /// The reference within the bundled document that means what this one does.
    fn local(&mut self, shape: Shape, reference: &Node) -> Option<String> {
        let place = self.resolve(reference)?;
        let is_at_home = |pointer: &str| pointer.starts_with("/components/") || pointer.starts_with("/paths/");
        if place.file == 0 && is_at_home(&place.pointer) {
            return Some(fragment(&place.pointer));
        }
        let Some(section) = shape.section() else {
            self.mistakes.push(
                reference
                    .origin
                    .mistake(&self.files, "a reference stands where the document has none")
                    .help("write here what it leads to"),
            );
            return None;
        };
        let key = (section, place.file, place.pointer.clone());
        let name = if let Some(name) = self.names.get(&key) {
            name.clone()
        } else {
            let name = self.name(section, &place);
            self.names.insert(key, name.clone());
            self.waiting.push(Target {
                shape,
                section,
                name: name.clone(),
                file: place.file,
                pointer: place.pointer,
            });
            name
        };
        let mut pointer = format!("/components/{section}");
        push_token(&mut pointer, &name);
        Some(fragment(&pointer))
    }

    /// A name nothing else has: what it was called, where that is free, else with its file's name before it.
    fn name(&mut self, section: &'static str, place: &Place) -> String {
        let stem = self.files[place.file]
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let tokens = Pointer::parse(&place.pointer).unwrap_or_default();
        let last = tokens.tokens().last().filter(|token| token.parse::<usize>().is_err());
        let plain = |text: &str| -> String {
            let kept = text.chars().map(|c| {
                if c.is_ascii_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            });
            let kept: String = kept.collect();
            let kept = kept.trim_matches('-');
            if kept.is_empty() {
                section.to_owned()
            } else {
                kept.to_owned()
            }
        };
        let own = plain(last.map_or(stem.as_str(), String::as_str));
        let longer = plain(&format!("{stem}-{own}"));
        let numbered = (2..).map(|number| format!("{longer}-{number}"));
        let mut candidates = [own, longer.clone()].into_iter().chain(numbered);
        let free = candidates
            .find(|name| !self.taken.contains(&(section, name.clone())))
            .unwrap_or(longer);
        self.taken.insert((section, free.clone()));
        free
    }

    /// Copies what a reference leads to into `components`.
    fn bring(&mut self, tree: &mut Node, target: &Target) {
        let tokens = Pointer::parse(&target.pointer).unwrap_or_default();
        let Some(mut node) = self.trees[target.file].at(tokens.tokens()).cloned() else {
            return;
        };
        self.follow(&mut node, target.shape);
        let section = tree
            .section("components")
            .and_then(|components| components.section(target.section));
        if let Some(section) = section {
            section.set(target.name.clone(), node);
        }
        if target.file > 0 {
            let place = if target.pointer.is_empty() { "" } else { "#" };
            let path = self.files[target.file].path.display().to_string();
            let now = match target.shape {
                // A path names its operations itself.
                Shape::PathItem => "stands under its path".to_owned(),
                _ => format!("is components/{}/{}", target.section, target.name),
            };
            self.bundled.push(format!("{path}{place}{} {now}", target.pointer));
        }
    }

    /// Where a reference leads, through all that only refer on. What is wrong with it becomes a mistake.
    fn resolve(&mut self, reference: &Node) -> Option<Place> {
        let mut origin = reference.origin;
        let mut text = reference.as_str()?.to_owned();
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..CHAIN {
            let place = self.place(origin, &text)?;
            seen.push(text);
            let tokens = Pointer::parse(&place.pointer).unwrap_or_default();
            let node = self.trees[place.file].at(tokens.tokens())?;
            // In the document itself, names may refer on: they are somebody's choice.
            let is_final = place.file == 0 && place.pointer.starts_with("/components/");
            match node.get("$ref") {
                Some(next) if !is_final && next.as_str().is_some() => {
                    origin = next.origin;
                    text = next.as_str().map(String::from).unwrap_or_default();
                }
                _ => return Some(place),
            }
        }
        let way = seen.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(" → ");
        self.mistakes.push(
            reference
                .origin
                .mistake(&self.files, format!("these references lead in a circle: {way} → …"))
                .help("let one of them lead to what is meant"),
        );
        None
    }

    /// The file and pointer that one reference names.
    fn place(&mut self, origin: Origin, reference: &str) -> Option<Place> {
        let (path, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if path.is_empty() {
            origin.file
        } else {
            self.file(origin, path)?
        };
        let pointer = percent_encoding::percent_decode_str(pointer)
            .decode_utf8_lossy()
            .into_owned();
        let tokens = match Pointer::parse(&pointer) {
            Ok(tokens) => tokens,
            Err(what) => {
                let mistake = origin.mistake(&self.files, what);
                self.mistakes
                    .push(mistake.help("references lead to places, not to anchors: `#/components/schemas/Order`"));
                return None;
            }
        };
        if self.trees[file].at(tokens.tokens()).is_some() {
            return Some(Place { file, pointer });
        }
        // Parts that only make sense once they are gathered mean the document by `#`.
        if path.is_empty() && self.trees[0].at(tokens.tokens()).is_some() {
            return Some(Place { file: 0, pointer });
        }
        let known = self.files[file].path.display().to_string();
        self.mistakes.push(
            origin
                .mistake(&self.files, format!("`$ref: '{reference}'` leads nowhere"))
                .help(format!("{known} has nothing at `{pointer}`")),
        );
        None
    }

    /// The number of a file that a reference names, read where it has not been.
    fn file(&mut self, origin: Origin, written: &str) -> Option<usize> {
        let mut refuse = |message: String, help: &str| {
            self.mistakes.push(origin.mistake(&self.files, message).help(help));
            None
        };
        let decoded = percent_encoding::percent_decode_str(written)
            .decode_utf8_lossy()
            .replace('\\', "/");
        if decoded.split('/').next().is_some_and(|scheme| scheme.ends_with(':')) || decoded.starts_with("//") {
            return refuse(
                format!("`{written}` is an address, and nothing is fetched"),
                "save what it leads to beside the document, and refer to it by its path",
            );
        }
        let around = self.files[origin.file].path.parent().unwrap_or(Path::new(""));
        let shown = neat(&around.join(&decoded));
        let is_inside = |path: &Path| path.starts_with(&self.root);
        let absolute = std::path::absolute(&shown).unwrap_or_else(|_| shown.clone());
        let folder = self.files[0].path.parent().unwrap_or(Path::new(""));
        let start = std::path::absolute(neat(folder)).unwrap_or_default();
        let real = shown.canonicalize();
        let is_outside = match &real {
            Ok(real) => !is_inside(real),
            // What does not exist is only said of files that may be looked at.
            Err(_) => !neat(&absolute).starts_with(neat(&start)) && !is_inside(&neat(&absolute)),
        };
        if is_outside && !self.allow_outside {
            return refuse(
                format!("`{written}` lies outside the folder of the document"),
                "put it into that folder, or allow it with --allow-outside",
            );
        }
        let real = real.unwrap_or(absolute);
        if let Some(index) = self.by_path.get(&real) {
            return Some(*index);
        }
        if self.files.len() == FILES {
            return refuse(
                format!("this is the reference to one more file than {FILES}"),
                "gather some of the files into one",
            );
        }
        let source = match read_file(&shown, &shown) {
            Ok(source) => source,
            Err(cause) => {
                return refuse(
                    format!("`$ref: '{written}'` cannot be followed: {}", cause.message),
                    "references are paths relative to the file they stand in",
                );
            }
        };
        self.bytes += source.text.len();
        if self.bytes > BYTES {
            let message = format!("with `{written}`, the document is larger than {} MiB", BYTES >> 20);
            return refuse(message, "import a part of it");
        }
        let index = self.files.len();
        let tree = match Node::read(&source, index) {
            Ok(tree) => tree,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return None;
            }
        };
        self.files.push(source);
        self.trees.push(tree);
        self.by_path.insert(real, index);
        Some(index)
    }
}

/// What has a section under `components`.
const SECTIONS: [Shape; 11] = [
    Shape::Schema,
    Shape::Parameter,
    Shape::Header,
    Shape::RequestBody,
    Shape::Response,
    Shape::MediaType,
    Shape::Callback,
    Shape::Link,
    Shape::Example,
    Shape::SecurityScheme,
    Shape::PathItem,
];

/// A path without `.` and, as far as its text goes, without `..`.
fn neat(path: &Path) -> PathBuf {
    let mut neat = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(neat.components().next_back(), Some(Component::Normal(_))) => {
                neat.pop();
            }
            other => neat.push(other),
        }
    }
    neat
}
