//! One `OpenAPI` document as plain values, in the words of 3.1, with the questions that are asked of its schemas.
//!
//! A schema is named by its JSON Pointer in the document, so that validators and mappings mean the same one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Map, Value, json};

use super::checker::Checker;
use super::document::assemble;
use super::shape::{Shape, visit};
use super::tree::{Content, Node, Origin};
use crate::config::{Diagnostic, Severity, SourceFile};
use crate::json::{Decimal, Pointer, Tape, exact_options};

/// Where the parameters of an operation stand as one schema, beside what people wrote.
pub(super) const PARAMETERS: &str = "x-crossdock-parameters";

/// The name that validators know the document by. Nothing is fetched: it only has to be one.
const DOCUMENT_URI: &str = "json-schema:///openapi";

/// How many validators of bodies a version has at hand from the start.
const KEPT: usize = 256;

/// How many `$ref`s are followed one after the other before a circle is assumed.
const REF_LIMIT: usize = 32;

/// The keywords that bound a number.
const BOUNDS: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];

/// How many names are shown where all would be too many.
const LIST_LIMIT: usize = 40;

/// One version's document.
pub(super) struct OpenApi {
    pub(super) version: Arc<str>,
    pub(super) root: Value,
    /// The files it was made of, the document itself first.
    files: Vec<SourceFile>,
    /// Where everything was written: kept while the version is loaded, read again for a mistake found later.
    tree: Mutex<Option<Arc<Node>>>,
    validators: Mutex<Validators>,
}

/// What validates messages, by the pointers of schemas.
#[derive(Default)]
struct Validators {
    built: HashMap<String, Arc<Validator<Tape>>>,
    /// Those of bodies.
    checkers: HashMap<String, Arc<Checker>>,
    /// The document as validators are built from it: one copy for all of them, for as long as they are built.
    registry: Option<Arc<Registry<'static>>>,
}

impl OpenApi {
    /// Reads a document, the first of the files, and checks what can be seen without its operations.
    pub(super) fn parse(version: &str, files: &[SourceFile]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let assembled = assemble(files)?;
        Self::of_tree(version, assembled.tree, files, assembled.warnings)
    }

    /// The document of a tree that was made of the files, once it is known to be sound.
    pub(super) fn of_tree(
        version: &str,
        mut tree: Node,
        files: &[SourceFile],
        mut mistakes: Vec<Diagnostic>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut questions = Vec::new();
        visit(&mut tree, Shape::Document, &mut Vec::new(), &mut |shape, node, at| {
            questions.extend(questions_of(shape, node, at));
        });
        let document = Self {
            version: version.into(),
            root: tree.to_value(),
            files: files.to_vec(),
            tree: Mutex::new(Some(Arc::new(tree))),
            validators: Mutex::default(),
        };
        for (at, question) in questions {
            mistakes.extend(match question {
                Question::Reference(reference) => document.check_reference(&at, &reference),
                Question::Bound(number) => document.check_bound(&at, &number),
            });
        }
        if mistakes.iter().any(|mistake| mistake.severity == Severity::Error) {
            Err(mistakes)
        } else {
            Ok((document, mistakes))
        }
    }

    /// The document of a tree as it is, to be asked about its parts. It does not know where they were written.
    pub(super) fn unchecked(tree: &Node) -> Self {
        Self {
            version: "".into(),
            root: tree.to_value(),
            files: Vec::new(),
            tree: Mutex::new(Some(Arc::new(Node::map(Origin::default(), [])))),
            validators: Mutex::default(),
        }
    }

    fn check_reference(&self, at: &str, reference: &str) -> Option<Diagnostic> {
        let Some(pointer) = target_of(reference) else {
            let mistake = self.mistake(at, format!("`$ref: {reference}` leads out of this document"));
            return Some(mistake.help(
                "a version is one file: `crossdock contract import` gathers what lies in several, or copy it to `components`",
            ));
        };
        if !self
            .root
            .pointer(&pointer)
            .is_some_and(|target| target.is_object() || target.is_boolean())
        {
            let names: Vec<_> = self.schema_names().collect();
            let mistake = self.mistake(at, format!("`$ref: '{reference}'` leads nowhere"));
            return Some(mistake.help(format!("schemas of this document are {}", list(names))));
        }
        (self.resolve(&pointer).is_none()).then(|| {
            self.mistake(at, format!("`$ref: '{reference}'` leads back to itself"))
                .help("let it lead to a schema")
        })
    }

    /// YAML numbers with a fraction are read as floats; one that is not what was written is worth a warning.
    fn check_bound(&self, at: &str, number: &str) -> Option<Diagnostic> {
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let is_exact = digits <= 15 || Decimal::parse(number).is_some_and(|number| number.is_integer() && digits < 17);
        (!is_exact).then(|| {
            let mut warning = self
                .mistake(at, format!("the bound {number} may not be what was written"))
                .help("bounds with a fraction are exact up to 15 digits; give a simpler one");
            warning.severity = Severity::Warning;
            warning
        })
    }

    /// A mistake at the place a pointer leads to.
    pub(super) fn mistake(&self, pointer: &str, message: impl Into<String>) -> Diagnostic {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if tree.is_none() {
            *tree = assemble(&self.files).ok().map(|assembled| Arc::new(assembled.tree));
        }
        let origin = tree.as_ref().map(|tree| tree.origin_of(pointer)).unwrap_or_default();
        origin.mistake(&self.files, message)
    }

    /// The value at a pointer.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.root.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Follows `$ref`s from the value at a pointer to the pointer of what is meant. `None` in a circle or nowhere.
    pub(super) fn resolve(&self, pointer: &str) -> Option<String> {
        let mut pointer = pointer.to_owned();
        for _ in 0..REF_LIMIT {
            match self.root.pointer(&pointer)?.get("$ref") {
                Some(Value::String(reference)) => pointer = target_of(reference)?,
                _ => return Some(pointer),
            }
        }
        None
    }

    /// The names under `components/schemas`.
    pub(super) fn schema_names(&self) -> impl Iterator<Item = &str> {
        let schemas = self.at("/components/schemas").as_object();
        schemas.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// The validator of the schema at a pointer, built on first use.
    pub(super) fn validator(&self, pointer: &str) -> Result<Arc<Validator<Tape>>, Diagnostic> {
        let pointer = self.resolve(pointer).unwrap_or_else(|| pointer.to_owned());
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = validators.built.get(&pointer) {
            return Ok(validator.clone());
        }
        let registry = self.shared(&mut validators)?;
        let validator = Arc::new(self.build(&pointer, &registry)?);
        validators.built.insert(pointer, validator.clone());
        Ok(validator)
    }

    /// What holds bodies against the schema at a pointer. The first so many are kept as they are built to see whether
    /// they can be; further ones are built again when they are used.
    pub(super) fn checker(&self, pointer: &str) -> Result<Arc<Checker>, Diagnostic> {
        let pointer = self.resolve(pointer).unwrap_or_else(|| pointer.to_owned());
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checker) = validators.checkers.get(&pointer) {
            return Ok(checker.clone());
        }
        let registry = self.shared(&mut validators)?;
        let validator = self.build(&pointer, &registry)?;
        let checker = Arc::new(if validators.checkers.len() < KEPT {
            Checker::Built(Arc::new(validator))
        } else {
            Checker::later(named(&pointer), registry)
        });
        validators.checkers.insert(pointer, checker.clone());
        Ok(checker)
    }

    fn shared(&self, validators: &mut Validators) -> Result<Arc<Registry<'static>>, Diagnostic> {
        if let Some(registry) = &validators.registry {
            return Ok(registry.clone());
        }
        let registry = self.registry().map_err(|error| self.unusable("", &error))?;
        Ok(validators.registry.insert(Arc::new(registry)).clone())
    }

    fn build(&self, pointer: &str, registry: &Registry<'static>) -> Result<Validator<Tape>, Diagnostic> {
        let options = exact_options().with_registry(registry);
        options.build(&named(pointer)).map_err(|error| {
            let place = error.instance_path().to_string();
            let is_inside = !place.is_empty() && self.root.pointer(&place).is_some();
            self.unusable(if is_inside { &place } else { pointer }, &error)
        })
    }

    /// Lets go of what only loading needs. A validator or a place that is asked for later is found all the same.
    pub(super) fn finish(&self) {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        validators.registry = None;
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn registry(&self) -> Result<Registry<'static>, jsonschema::ReferencingError> {
        let builder = Registry::new().draft(Draft::Draft202012);
        builder.add(DOCUMENT_URI, self.root.clone())?.prepare()
    }

    fn unusable(&self, place: &str, error: &dyn std::fmt::Display) -> Diagnostic {
        self.mistake(place, format!("this schema cannot be used: {error}"))
            .help("schemas are JSON Schema 2020-12")
    }

    /// The name, if the pointer is that of a schema under `components/schemas`.
    pub(super) fn schema_name(pointer: &str) -> Option<&str> {
        pointer
            .strip_prefix("/components/schemas/")
            .filter(|name| !name.contains('/'))
    }

    /// An object or a list, or a choice that may hold one: something a mapping can reach into.
    pub(super) fn is_structured(&self, pointer: &str) -> bool {
        let Some(pointer) = self.resolve(pointer) else {
            return false;
        };
        [
            "properties",
            "additionalProperties",
            "items",
            "prefixItems",
            "allOf",
            "oneOf",
            "anyOf",
        ]
        .iter()
        .any(|keyword| self.at(&pointer).get(keyword).is_some_and(|value| !value.is_boolean()))
    }

    /// The properties of an object schema and where their schemas stand, those of `allOf` included.
    pub(super) fn properties(&self, pointer: &str) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        for part in self.parts(pointer) {
            if let Some(Value::Object(members)) = self.at(&part).get("properties") {
                for name in members.keys() {
                    let mut place = format!("{part}/properties");
                    push_token(&mut place, name);
                    properties.entry(name.clone()).or_insert(place);
                }
            }
        }
        properties
    }

    /// The names an object of this schema must have.
    pub(super) fn required(&self, pointer: &str) -> BTreeSet<String> {
        let parts = self.parts(pointer);
        let lists = parts
            .iter()
            .filter_map(|part| self.at(part).get("required")?.as_array());
        lists.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether other properties than those named are refused.
    pub(super) fn is_closed(&self, pointer: &str) -> bool {
        self.parts(pointer).iter().any(|part| {
            let schema = self.at(part);
            schema.get("additionalProperties") == Some(&Value::Bool(false))
                || schema.get("unevaluatedProperties") == Some(&Value::Bool(false))
        })
    }

    /// The schema of a list's items.
    pub(super) fn items(&self, pointer: &str) -> Option<String> {
        self.keyword(pointer, "items")
    }

    /// The schema of an object's other members.
    pub(super) fn additional(&self, pointer: &str) -> Option<String> {
        self.keyword(pointer, "additionalProperties")
    }

    /// Schemas of which a value may follow one.
    pub(super) fn choices(&self, pointer: &str) -> Vec<String> {
        let parts = self.parts(pointer);
        let listed = parts.iter().flat_map(|part| {
            ["oneOf", "anyOf", "prefixItems"].iter().flat_map(move |keyword| {
                let count = self.at(part).get(keyword).and_then(Value::as_array).map_or(0, Vec::len);
                (0..count).map(move |position| format!("{part}/{keyword}/{position}"))
            })
        });
        listed.collect()
    }

    /// The codes a value may have, if they are listed.
    pub(super) fn codes(&self, pointer: &str) -> Option<Vec<String>> {
        self.parts(pointer).iter().find_map(|part| {
            let listed = self.at(part).get("enum")?.as_array()?;
            Some(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        })
    }

    /// The schema that a path of property names leads to.
    pub(super) fn find(&self, pointer: &str, path: &[Box<str>]) -> Option<String> {
        path.iter().try_fold(self.resolve(pointer)?, |place, name| {
            let property = self.properties(&place).remove(&**name)?;
            self.resolve(&property)
        })
    }

    /// Whether a document of this schema always has the field.
    pub(super) fn always_has(&self, pointer: &str, path: &[Box<str>]) -> bool {
        path.iter().enumerate().all(|(depth, name)| {
            let parent = self.find(pointer, &path[..depth]);
            parent.is_some_and(|parent| self.required(&parent).contains(&**name))
        })
    }

    /// The types a value may have, `null` aside; none where nothing says.
    pub(super) fn types(&self, pointer: &str) -> Vec<String> {
        let parts = self.parts(pointer);
        let written = parts.iter().find_map(|part| self.at(part).get("type"));
        let listed = match written {
            Some(Value::Array(types)) => types.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let types = listed.into_iter().filter_map(Value::as_str);
        types.filter(|name| *name != "null").map(str::to_owned).collect()
    }

    fn keyword(&self, pointer: &str, keyword: &str) -> Option<String> {
        let parts = self.parts(pointer);
        let part = parts
            .iter()
            .find(|part| self.at(part).get(keyword).is_some_and(Value::is_object))?;
        Some(format!("{part}/{keyword}"))
    }

    /// The schema and all it is made of by `allOf` and `$ref`.
    pub(super) fn parts(&self, pointer: &str) -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut waiting = vec![pointer.to_owned()];
        while let Some(pointer) = waiting.pop() {
            let Some(pointer) = self.resolve(&pointer) else {
                continue;
            };
            if parts.contains(&pointer) {
                continue;
            }
            let count = self
                .at(&pointer)
                .get("allOf")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            waiting.extend((0..count).map(|position| format!("{pointer}/allOf/{position}")));
            parts.push(pointer);
        }
        parts
    }
}

/// The schema at a pointer by its name. It is not copied: a document has as many schemas as it is long.
fn named(pointer: &str) -> Value {
    json!({ "$ref": format!("{DOCUMENT_URI}{}", fragment(pointer)) })
}

/// Something to be asked once the whole document is known.
enum Question {
    /// Does it lead anywhere?
    Reference(String),
    /// Is this what was written?
    Bound(String),
}

fn questions_of(shape: Shape, node: &Node, at: &[String]) -> Vec<(String, Question)> {
    let pointer = |name: &str| {
        let mut pointer = Pointer::from(at.to_vec()).to_string();
        push_token(&mut pointer, name);
        pointer
    };
    let mut questions = Vec::new();
    if let Some(reference) = node.get("$ref").and_then(Node::as_str) {
        questions.push((pointer("$ref"), Question::Reference(reference.to_owned())));
    }
    if shape == Shape::Schema {
        for name in BOUNDS {
            if let Some(Content::Number(number)) = node.get(name).map(|bound| &bound.content)
                && number.is_f64()
            {
                questions.push((pointer(name), Question::Bound(number.to_string())));
            }
        }
    }
    questions
}

/// The pointer a reference within its document leads to; none for another document's.
pub(super) fn target_of(reference: &str) -> Option<String> {
    let fragment = reference.strip_prefix('#')?;
    let pointer = percent_encoding::percent_decode_str(fragment).decode_utf8().ok()?;
    Some(pointer.into_owned())
}

/// Reads YAML into a type. A mistake carries its line and column.
pub(super) fn read_yaml<T: serde::de::DeserializeOwned>(file: &SourceFile) -> Result<T, Diagnostic> {
    let mut options = serde_saphyr::Options::default();
    // `NO` is a country and `on` a status; only `true` and `false` are truth values.
    options.strict_booleans = true;
    // A version of thousands of operations is long, not hostile; files have a largest size of their own.
    options.budget = serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 8_000_000 };
    serde_saphyr::from_str_with_options(&file.text, options).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((0, 0), |place| {
            let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            (small(place.line()), small(place.column()))
        });
        let message = error.to_string();
        // The place is told apart from the message.
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = match message.strip_prefix("budget breached: ") {
            Some(limit) if limit.starts_with("Depth") => "this document is nested deeper than is read",
            Some(limit) if limit.contains("Anchor") || limit.contains("Alias") => {
                "anchors and aliases make this document larger than is read"
            }
            Some(_) => "this document is larger than is read",
            None => message,
        };
        Diagnostic::error(file, line, column, message)
    })
}

/// A pointer as the fragment of a reference (RFC 6901 §6): a template's braces are no URI characters.
pub(super) fn fragment(pointer: &str) -> String {
    const UNSAFE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    format!("#{}", percent_encoding::utf8_percent_encode(pointer, UNSAFE))
}

/// Adds a token to a JSON Pointer.
pub(super) fn push_token(pointer: &mut String, token: &str) {
    pointer.push_str(&Pointer::from(vec![token.to_owned()]).to_string());
}

/// Names as a list for people: `a, b, c`.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > LIST_LIMIT => {
            format!("{} and {} more", names[..LIST_LIMIT].join(", "), count - LIST_LIMIT)
        }
        _ => names.join(", "),
    }
}
