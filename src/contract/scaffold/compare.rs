//! Compares two schemas field by field: what is the same, what is certain, what is likely, and what is open.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

use super::likeness::likeness;
use super::{Draft, Table};
use crate::contract::openapi::{OpenApi, list};
use crate::json::{Document, exact_options};

/// How alike two fields have to be to be proposed as one.
const LIKELY: f64 = 0.55;

/// How many objects within objects are looked into, and how many fields of one type: an object inside itself has no end.
const DEPTH: usize = 4;
const FIELDS: usize = 200;

/// What there is to write for one type.
#[derive(Default)]
pub(super) struct Compared {
    /// Steps that are certain, as they are written.
    pub(super) steps: Vec<String>,
    pub(super) remarks: Vec<Remark>,
}

/// What is not certain.
pub(super) enum Remark {
    /// A step, how likely it is, and why.
    Likely { step: String, score: f64, why: String },
    /// Something to be done by somebody who knows.
    ToDo(String),
}

impl Compared {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.remarks.is_empty()
    }

    /// Where each path has one name that the other has not, they stand for each other: a path is known by its places.
    pub(super) fn settle_path(&mut self, older: &[String], newer: &[String]) {
        let only = |names: &[String], others: &[String]| -> Vec<String> {
            names.iter().filter(|name| !others.contains(name)).cloned().collect()
        };
        if let ([one], [other]) = (only(older, newer).as_slice(), only(newer, older).as_slice()) {
            self.steps
                .push(format!("move: {{ from: {}, to: {} }}", plain(one), plain(other)));
            self.remarks.clear();
        }
    }
}

/// A field of one version.
#[derive(Clone)]
struct Field {
    path: Vec<Box<str>>,
    place: String,
    is_required: bool,
    /// Where it stands among its siblings, from 0 to 1.
    position: f64,
}

impl Field {
    fn name(&self) -> String {
        self.path.join(".")
    }
}

/// Compares the schemas at two places; `table` is the name that code lists begin with.
pub(super) fn compare(draft: &mut Draft<'_>, older: &str, newer: &str, table: &str) -> Compared {
    let mut compared = Compared::default();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    side_by_side(
        draft,
        (older, newer),
        &mut Vec::new(),
        table,
        &mut compared,
        (&mut ours, &mut theirs),
    );
    let (older, newer) = (draft.older, draft.newer);
    let (left, right) = (
        candidates(older, &ours, &mut BTreeSet::new()),
        candidates(newer, &theirs, &mut BTreeSet::new()),
    );
    let mut pairs = Vec::new();
    for (index, one) in left.iter().enumerate() {
        for (other_index, other) in right.iter().enumerate() {
            let score = score(draft, one, other);
            if score >= LIKELY {
                pairs.push((score, index, other_index));
            }
        }
    }
    pairs.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let (mut told, mut told_there): (Vec<&Field>, Vec<&Field>) = (Vec::new(), Vec::new());
    for (score, index, other_index) in pairs {
        let (one, other) = (&left[index], &right[other_index]);
        let is_taken = |told: &[&Field], field: &Field| {
            told.iter()
                .any(|other| other.path.starts_with(&field.path) || field.path.starts_with(&other.path))
        };
        if is_taken(&told, one) || is_taken(&told_there, other) {
            continue;
        }
        told.push(one);
        told_there.push(other);
        draft.stand_for_each_other(&one.place, &other.place);
        if let (Some(one), Some(other)) = (older.items(&one.place), newer.items(&other.place)) {
            draft.stand_for_each_other(&one, &other);
        }
        let (step, why) = proposed(draft, one, other, table);
        compared.remarks.push(Remark::Likely { step, score, why });
    }
    for (fields, told, document) in [(&ours, &told, older), (&theirs, &told_there, newer)] {
        for field in fields {
            if is_told(document, field, told) {
                continue;
            }
            let is_begun = told.iter().any(|told| told.path.starts_with(&field.path));
            let what = if is_begun { "in part only" } else { "only" };
            compared.remarks.push(Remark::ToDo(format!(
                "{} {what} in {}: {}",
                field.name(),
                document.version,
                described(document, field)
            )));
        }
    }
    compared
}

/// Whether a field, or everything in it, is among those that were told.
fn is_told(document: &OpenApi, field: &Field, told: &[&Field]) -> bool {
    if told.iter().any(|told| told.path == field.path) {
        return true;
    }
    let inner = fields(document, &field.place, &field.path);
    !inner.is_empty() && field.path.len() <= DEPTH && inner.iter().all(|field| is_told(document, field, told))
}

/// Compares fields of the same name; those of one side only are collected.
fn side_by_side(
    draft: &mut Draft<'_>,
    (older, newer): (&str, &str),
    at: &mut Vec<Box<str>>,
    table: &str,
    compared: &mut Compared,
    (ours, theirs): (&mut Vec<Field>, &mut Vec<Field>),
) {
    let (one, other) = (fields(draft.older, older, at), fields(draft.newer, newer, at));
    for field in &one {
        let Some(twin) = other.iter().find(|twin| twin.path == field.path) else {
            ours.push(field.clone());
            continue;
        };
        let is_object = |document: &OpenApi, place: &str| !document.properties(place).is_empty();
        let is_inline = |place: &str| OpenApi::schema_name(place).is_none();
        let both_objects = is_object(draft.older, &field.place) && is_object(draft.newer, &twin.place);
        if both_objects && is_inline(&field.place) && at.len() < DEPTH {
            at.push(field.path[field.path.len() - 1].clone());
            side_by_side(
                draft,
                (&field.place, &twin.place),
                at,
                table,
                compared,
                (&mut *ours, &mut *theirs),
            );
            at.pop();
            continue;
        }
        draft.stand_for_each_other(&field.place, &twin.place);
        if let (Some(one), Some(other)) = (draft.older.items(&field.place), draft.newer.items(&twin.place)) {
            draft.stand_for_each_other(&one, &other);
        }
        match change(draft, field, twin) {
            Change::None => {}
            Change::Other => compared.remarks.push(Remark::ToDo(format!(
                "{} is {} in {} and {} in {}",
                field.name(),
                described(draft.older, field),
                draft.older.version,
                described(draft.newer, twin),
                draft.newer.version
            ))),
            change @ (Change::Date("rfc3339", _) | Change::Date(_, "rfc3339")) => {
                let step = written(draft, &change, field, twin, table);
                let why = "the time zone and the time of day are yours to say".to_owned();
                compared.remarks.push(Remark::Likely { step, score: 1.0, why });
            }
            change => compared.steps.push(written(draft, &change, field, twin, table)),
        }
    }
    theirs.extend(
        other
            .into_iter()
            .filter(|twin| !one.iter().any(|field| field.path == twin.path)),
    );
}

fn fields(document: &OpenApi, place: &str, at: &[Box<str>]) -> Vec<Field> {
    let required = document.required(place);
    let properties = document.properties(place);
    let count = properties.len().max(2) - 1;
    let share = |position: usize| {
        f64::from(u32::try_from(position).unwrap_or(u32::MAX)) / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let properties = properties.into_iter().take(FIELDS).enumerate();
    properties
        .filter_map(|(position, (name, place))| {
            let is_required = required.contains(&name);
            let mut path = at.to_vec();
            path.push(name.into());
            Some(Field {
                path,
                place: document.resolve(&place)?,
                is_required,
                position: share(position),
            })
        })
        .collect()
}

/// Fields of one side, and those inside them.
fn candidates(document: &OpenApi, fields_left: &[Field], way: &mut BTreeSet<String>) -> Vec<Field> {
    let mut all = Vec::new();
    for field in fields_left {
        all.push(field.clone());
        let is_new = way.len() < DEPTH && way.insert(field.place.clone());
        if is_new && all.len() < FIELDS {
            let inner = fields(document, &field.place, &field.path);
            all.extend(candidates(document, &inner, way));
            way.remove(&field.place);
        }
    }
    all.truncate(FIELDS);
    all
}

/// How likely two fields are one: mostly by name, then by type, format and codes, a little by position.
fn score(draft: &Draft<'_>, one: &Field, other: &Field) -> f64 {
    let kinds = (kind(draft.older, one), kind(draft.newer, other));
    let is_structure = |kind: &str| kind == "object" || kind == "list";
    if is_structure(kinds.0) != is_structure(kinds.1) && !matches!(kinds, ("list", _) | (_, "list")) {
        return 0.0;
    }
    let by_type = if kinds.0 == kinds.1 { 1.0 } else { 0.4 };
    let codes = (draft.older.codes(&one.place), draft.newer.codes(&other.place));
    let by_codes = match &codes {
        (Some(ours), Some(theirs)) => overlap(ours, theirs).max(0.5),
        (None, None) => {
            let keyword = |document: &OpenApi, place: &str, name: &str| document.at(place).get(name).cloned();
            let agrees = ["format", "pattern", "maxLength"].iter().any(|name| {
                let ours = keyword(draft.older, &one.place, name);
                ours.is_some() && ours == keyword(draft.newer, &other.place, name)
            });
            if agrees || one.place == other.place { 1.0 } else { 0.5 }
        }
        _ => 0.0,
    };
    let near = 1.0 - (one.position - other.position).abs();
    0.65 * likeness(&one.path, &other.path) + 0.15 * by_type + 0.15 * by_codes + 0.05 * near
}

/// How many of the codes both have, whatever their case.
fn overlap(ours: &[String], theirs: &[String]) -> f64 {
    let plain = |codes: &[String]| codes.iter().map(|code| letters(code)).collect::<BTreeSet<_>>();
    let (ours, theirs) = (plain(ours), plain(theirs));
    let shared = ours.intersection(&theirs).count();
    let all = ours.union(&theirs).count().max(1);
    f64::from(u32::try_from(shared).unwrap_or(0)) / f64::from(u32::try_from(all).unwrap_or(1))
}

fn letters(code: &str) -> String {
    code.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn kind(document: &OpenApi, field: &Field) -> &'static str {
    let types = document.types(&field.place);
    match types.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["array"] => "list",
        ["object"] => "object",
        ["string"] => "text",
        ["number" | "integer"] => "number",
        ["boolean"] => "true or false",
        [] if !document.properties(&field.place).is_empty() => "object",
        _ => "any",
    }
}

fn described(document: &OpenApi, field: &Field) -> String {
    let mut what = OpenApi::schema_name(&field.place).map_or_else(|| kind(document, field).to_owned(), str::to_owned);
    if let Some(codes) = document.codes(&field.place) {
        let _ = write!(what, " ({})", list(codes.iter().map(String::as_str)));
    }
    if field.is_required {
        what.push_str(", required");
    }
    what
}

/// What has to become of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Wrap,
    First,
    ToText,
    ToNumber,
    Date(&'static str, &'static str),
    Table,
    /// Nothing that could be known from here.
    Other,
}

fn change(draft: &Draft<'_>, one: &Field, other: &Field) -> Change {
    let (older, newer) = (draft.older, draft.newer);
    match (kind(older, one), kind(newer, other)) {
        ("list", "list") | ("object", "object") | ("any", _) | (_, "any") => Change::None,
        ("list", _) => Change::First,
        (_, "list") => Change::Wrap,
        ("number", "text") if takes(newer, &other.place, "19.90") || takes(newer, &other.place, "19") => Change::ToText,
        ("text", "number") => Change::ToNumber,
        ("text", "text") => match (older.codes(&one.place), newer.codes(&other.place)) {
            (Some(ours), Some(theirs)) => {
                let set = |codes: Vec<String>| codes.into_iter().collect::<BTreeSet<_>>();
                if set(ours) == set(theirs) {
                    Change::None
                } else {
                    Change::Table
                }
            }
            (None, None) => match (date_form(older, &one.place), date_form(newer, &other.place)) {
                (Some(ours), Some(theirs)) if ours != theirs => Change::Date(ours, theirs),
                _ => Change::None,
            },
            _ => Change::Other,
        },
        (ours, theirs) if ours == theirs => Change::None,
        _ => Change::Other,
    }
}

/// Whether a text fits a schema's own pattern and bounds.
fn takes(document: &OpenApi, place: &str, text: &str) -> bool {
    let schema = document.at(place);
    let own: serde_json::Map<String, Value> = ["pattern", "minLength", "maxLength", "enum", "format"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), schema.get(name)?.clone())))
        .collect();
    let quoted = Bytes::from(json!(text).to_string());
    match (exact_options().build(&Value::Object(own)), Document::parse(quoted)) {
        (Ok(validator), Ok(text)) => validator.is_valid(text.root()),
        _ => false,
    }
}

/// How a text is written that can only be a date.
fn date_form(document: &OpenApi, place: &str) -> Option<&'static str> {
    match document.at(place).get("format").and_then(Value::as_str) {
        Some("date") => return Some("yyyy-MM-dd"),
        Some("date-time") => return Some("rfc3339"),
        _ => {}
    }
    document.at(place).get("pattern")?;
    let forms = [
        ("20.11.2026", "dd.MM.yyyy"),
        ("2026-11-20", "yyyy-MM-dd"),
        ("20261120", "yyyyMMdd"),
    ];
    let mut fitting = forms.iter().filter(|(sample, _)| takes(document, place, sample));
    match (fitting.next(), fitting.next()) {
        (Some((_, form)), None) if !takes(document, place, "x") => Some(*form),
        _ => None,
    }
}

/// The step for two fields of different names, and what speaks for it.
fn proposed(draft: &mut Draft<'_>, one: &Field, other: &Field, table: &str) -> (String, String) {
    let change = change(draft, one, other);
    let why = format!("{} in both", kind(draft.older, one));
    match change {
        Change::None => (
            format!("move: {{ from: {}, to: {} }}", plain(&one.name()), plain(&other.name())),
            why,
        ),
        Change::Other => (
            format!("move: {{ from: {}, to: {} }}", plain(&one.name()), plain(&other.name())),
            format!(
                "{} becomes {}",
                described(draft.older, one),
                described(draft.newer, other)
            ),
        ),
        change => (
            written(draft, &change, one, other, table),
            format!("{} becomes {}", kind(draft.older, one), kind(draft.newer, other)),
        ),
    }
}

/// A step as it is written.
fn written(draft: &mut Draft<'_>, change: &Change, one: &Field, other: &Field, table: &str) -> String {
    let ends = if one.path == other.path {
        format!("path: {}", plain(&one.name()))
    } else {
        format!("from: {}, to: {}", plain(&one.name()), plain(&other.name()))
    };
    let scale = |document: &OpenApi, place: &str| {
        let unit = document.at(place).get("multipleOf").map(ToString::to_string);
        let digits = unit.and_then(|unit| unit.split_once('.').map(|(_, digits)| digits.len()));
        digits.map_or_else(String::new, |digits| format!(", scale: {digits}"))
    };
    match change {
        Change::Wrap => format!("wrap: {{ {ends} }}"),
        Change::First => format!("first: {{ {ends} }}"),
        Change::ToText => format!("decimal: {{ {ends}{} }}", scale(draft.older, &one.place)),
        Change::ToNumber => format!("decimal: {{ {ends}, as: number{} }}", scale(draft.newer, &other.place)),
        Change::Date(older, newer) => {
            let point = if *older == "rfc3339" || *newer == "rfc3339" {
                ", timezone: Etc/UTC, time: '00:00'"
            } else {
                ""
            };
            format!("date: {{ {ends}, older: {older}, newer: {newer}{point} }}")
        }
        Change::Table => {
            let name = format!("{table}_{}", one.path.join("_"));
            let codes = (draft.older.codes(&one.place), draft.newer.codes(&other.place));
            let (ours, theirs) = (codes.0.unwrap_or_default(), codes.1.unwrap_or_default());
            draft.tables.insert(name.clone(), rows(&ours, &theirs));
            format!("table: {{ {ends}, table: {} }}", plain(&name))
        }
        Change::None | Change::Other => format!("move: {{ {ends} }}"),
    }
}

/// Codes that are spelt alike stand for each other; the others are open.
fn rows(ours: &[String], theirs: &[String]) -> Table {
    let mut table = Table {
        rows: Vec::new(),
        open: (Vec::new(), Vec::new()),
    };
    for code in ours {
        match theirs.iter().find(|other| letters(other) == letters(code)) {
            Some(other) => table.rows.push((code.clone(), other.clone())),
            None => table.open.0.push(code.clone()),
        }
    }
    let is_taken = |code: &&String| table.rows.iter().any(|(_, other)| other == *code);
    table.open.1 = theirs.iter().filter(|code| !is_taken(code)).cloned().collect();
    table
}

/// Text as YAML takes it for text within braces.
pub(super) fn plain(text: &str) -> String {
    let is_bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_bare {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}
