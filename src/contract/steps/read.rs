//! Single steps as they are written, turned into changes of values: one for each direction.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::contract::arithmetic::Ratio;
use crate::contract::book::{Book, SHORT};
use crate::contract::check::ends as ends_of;
use crate::contract::compile::{Compiler, Type, path, place};
use crate::contract::convert::{Change, Codes, DateChange, GroupedBy, Grouping, KeySource, Keys, Naming, Pair, YesNo};
use crate::contract::lookup::{Field, Lookup};
use crate::contract::openapi::{OpenApi, PARAMETERS, list};
use crate::contract::program::Path;
use crate::contract::spec::{
    BoolSpec, DateSpec, DecimalForm, DecimalSpec, Direction, Factor, GroupSpec, ListForm, ListSpec, LookupBySpec,
    LookupSpec, Others, PivotSpec, SideSpec, TableSpec, WrapSpec,
};
use crate::expression::{Environment, Expression};
use crate::json::{MemberName, Pointer};

/// Both ends of a step that names them by `path`, or by `from` and `to`.
pub(super) fn ends(
    compiler: &mut Compiler<'_>,
    at: (u32, u32),
    same: Option<&String>,
    from: Option<&String>,
    to: Option<&String>,
) -> Option<(Path, Path)> {
    match (same, from, to) {
        (Some(same), None, None) => Some((path(same), path(same))),
        (None, Some(from), Some(to)) => Some((path(from), path(to))),
        _ => {
            let help = "give `path` if the field stands at the same place in both versions, else `from` and `to`";
            compiler.mistake(at, "this step does not say where its value is and where it goes", help);
            None
        }
    }
}

pub(super) fn single(op: &WrapSpec) -> Change {
    Change::Single {
        more: op.more,
        separator: op.separator.as_str().into(),
    }
}

pub(super) fn decimal(compiler: &mut Compiler<'_>, op: &DecimalSpec, at: (u32, u32)) -> (Change, Change) {
    if op.pad && op.scale.is_none() {
        compiler.mistake(
            at,
            "`pad` without `scale`",
            "say how many digits stand after the point: `scale: 2`",
        );
    }
    let text = Change::NumberToText {
        scale: op.scale,
        pad: op.pad,
    };
    let number = Change::TextToNumber { scale: op.scale };
    match op.newer {
        DecimalForm::String => (text, number),
        DecimalForm::Number => (number, text),
    }
}

pub(super) fn dates(compiler: &mut Compiler<'_>, op: &DateSpec, at: (u32, u32)) -> Option<(Change, Change)> {
    if op.older == op.newer {
        compiler.mistake(
            at,
            "both versions write the date in the same form",
            "use `move`, or no step at all: it is carried as it is",
        );
        return None;
    }
    let is_joined = op.older.is_instant() != op.newer.is_instant();
    let timezone = match &op.timezone {
        Some(name) => {
            if let Ok(zone) = TimeZone::get(name) {
                zone
            } else {
                compiler.mistake(
                    at,
                    format!("`{name}` is no time zone"),
                    "use an IANA name, such as Europe/Berlin",
                );
                return None;
            }
        }
        None if !is_joined => TimeZone::UTC,
        None => {
            let help = "say where the day is a day: `timezone: Europe/Berlin`";
            compiler.mistake(at, "a day and a point in time are joined without a time zone", help);
            return None;
        }
    };
    let time = match &op.time {
        Some(written) => {
            let parsed = written.parse::<Time>();
            let Ok(time) = parsed else {
                compiler.mistake(at, format!("`{written}` is no time of day"), "write it as `18:00`");
                return None;
            };
            time
        }
        None if !is_joined => Time::midnight(),
        None => {
            let help = "a day needs one to become a point in time: `time: '18:00'`";
            compiler.mistake(at, "there is no inverse without a time of day", help);
            return None;
        }
    };
    let change = |from, to| {
        Change::Date(Arc::new(DateChange {
            from,
            to,
            timezone: timezone.clone(),
            time,
        }))
    };
    Some((change(op.older, op.newer), change(op.newer, op.older)))
}

pub(super) fn table(
    compiler: &mut Compiler<'_>,
    subject: &Type<'_>,
    op: &TableSpec,
    (from, to): (&Path, &Path),
    empty: [bool; 2],
    at: (u32, u32),
) -> Option<(Change, Change)> {
    let spec = compiler.spec;
    let Some(table) = spec.tables.get(&op.table) else {
        let known = list(spec.tables.keys().map(String::as_str));
        compiler.mistake(
            at,
            format!("there is no table `{}`", op.table),
            format!("tables here are {known}"),
        );
        return None;
    };
    if compiler.books.get(&op.table).is_some_and(|book| book.len() > SHORT) {
        let message = format!("table `{}` has more than {SHORT} rows", op.table);
        compiler.mistake(at, message, "write `lookup` instead of `table`: it takes any number");
        return None;
    }
    let (mut up, mut down) = (Codes::default(), Codes::default());
    for (older, newer) in &table.value.rows {
        up.rows.insert(older.as_str().into(), Some(newer.as_str().into()));
        let before = down.rows.insert(newer.as_str().into(), Some(older.as_str().into()));
        if let (Some(Some(before)), false) = (before, op.miss_down.contains_key(newer)) {
            compiler.mistake(
                at,
                format!(
                    "in table `{}` both `{before}` and `{older}` become `{newer}`, so there is no inverse",
                    op.table
                ),
                format!("choose what it becomes on the way back: `missDown: {{ {newer}: {older} }}`"),
            );
        }
    }
    for (codes, misses) in [(&mut up, &op.miss_up), (&mut down, &op.miss_down)] {
        for (code, to) in misses {
            let to = to.as_deref().map(Into::into);
            if code == "*" {
                codes.otherwise = to;
            } else {
                codes.rows.insert(code.as_str().into(), to);
            }
        }
    }
    let sides = [
        (compiler.older.document, subject.older, from, &up, &op.miss_up, "missUp"),
        (
            compiler.newer.document,
            subject.newer,
            to,
            &down,
            &op.miss_down,
            "missDown",
        ),
    ];
    let mut mistakes = Vec::new();
    for (position, (document, schema, path, codes, misses, key)) in sides.iter().enumerate() {
        let listed = codes_at(document, schema, path);
        let missing = listed
            .into_iter()
            .flatten()
            .filter(|code| !codes.rows.contains_key(code.as_str()) && !misses.contains_key("*"))
            // Empty text is no code where it says nothing.
            .filter(|code| !code.is_empty() || !empty[position]);
        for code in missing {
            mistakes.push((
                format!(
                    "table `{}` has no row for `{code}` of version {}",
                    op.table, document.version
                ),
                format!("add a row, or say what becomes of it: `{key}: {{ {code}: … }}` (`~` refuses it)"),
            ));
        }
        let (other, other_schema, other_path, ..) = &sides[1 - position];
        let known = codes_at(other, other_schema, other_path);
        if let Some(known) = known {
            let all = codes.rows.values().chain(std::iter::once(&codes.otherwise));
            let mut unknown: Vec<_> = all
                .flatten()
                .filter(|code| !known.iter().any(|known| **known == ***code))
                .collect();
            unknown.sort_unstable();
            for code in unknown {
                mistakes.push((
                    format!(
                        "table `{}` leads to `{code}`, which version {} does not know",
                        op.table, other.version
                    ),
                    format!("its codes are {}", known.join(", ")),
                ));
            }
        }
    }
    for (message, help) in mistakes {
        compiler.mistake(at, message, help);
    }
    Some((Change::Table(Arc::new(up)), Change::Table(Arc::new(down))))
}

/// A table of any length, or operations that are asked. Codes of schemas are not held against it: it has keys, not codes.
pub(super) fn lookup(
    compiler: &mut Compiler<'_>,
    subject: &Type<'_>,
    op: &LookupSpec,
    ends: Option<&(Path, Path)>,
    at: (u32, u32),
) -> Option<(Change, Change)> {
    let side = |source, misses: &BTreeMap<String, Option<String>>| {
        let mut rows = BTreeMap::new();
        for (key, to) in misses.iter().filter(|(key, _)| *key != "*") {
            rows.insert(key.as_str().into(), to.as_deref().map(Into::into));
        }
        let otherwise = misses.get("*").and_then(|to| to.as_deref().map(Into::into));
        Change::Lookup(Arc::new(Keys {
            source,
            chosen: Codes { rows, otherwise },
        }))
    };
    let (up, down) = match &op.table {
        Some(_) if op.up.is_some() || op.down.is_some() => {
            let help = "keep `table`, or `up` and `down`";
            compiler.mistake(at, "this lookup names a table and an operation", help);
            return None;
        }
        Some(table) => {
            let book = book(compiler, op, table, at)?;
            let source = |way| KeySource::Book(book.clone(), way);
            (source(Direction::Up), source(Direction::Down))
        }
        None => asked(compiler, subject, op, ends?, at)?,
    };
    Some((side(up, &op.miss_up), side(down, &op.miss_down)))
}

/// The table in a file that a lookup names.
fn book(compiler: &mut Compiler<'_>, op: &LookupSpec, table: &str, at: (u32, u32)) -> Option<Arc<Book>> {
    let Some(book) = compiler.books.get(table).cloned() else {
        let spec = compiler.spec;
        let (message, help) = if spec.tables.contains_key(table) {
            let message = format!("table `{table}` lies in no file");
            (
                message,
                "write `table` instead of `lookup`, or give it a `file`".to_owned(),
            )
        } else {
            let known = list(compiler.books.keys().map(String::as_str));
            (
                format!("there is no table `{table}`"),
                format!("tables in files are {known}"),
            )
        };
        compiler.mistake(at, message, help);
        return None;
    };
    let is_chosen = |newer: &&str| op.miss_down.contains_key(*newer);
    if let Some(newer) = book
        .ambiguous()
        .find(|newer| !is_chosen(newer) && !op.miss_down.contains_key("*"))
    {
        let message = format!("in table `{table}` several keys become `{newer}`, so there is no inverse");
        let help = format!(
            "choose what it becomes on the way back: `missDown: {{ {newer}: … }}`, or refuse all such: `missDown: {{ '*': ~ }}`"
        );
        compiler.mistake(at, message, help);
    }
    Some(book)
}

/// The operations that a lookup asks on either way. Whether there are such, only the policies tell.
fn asked(
    compiler: &mut Compiler<'_>,
    subject: &Type<'_>,
    op: &LookupSpec,
    (from, to): &(Path, Path),
    at: (u32, u32),
) -> Option<(KeySource, KeySource)> {
    if op.up.is_none() && op.down.is_none() {
        let help =
            "name a `table`, or the operations that are asked: `up: { api: …, operation: …, parameter: …, take: … }`";
        compiler.mistake(at, "this lookup says neither where keys stand nor who is asked", help);
        return None;
    }
    let sides = [
        (compiler.older.document, subject.older, from, &op.miss_up),
        (compiler.newer.document, subject.newer, to, &op.miss_down),
    ];
    let schemas = sides.map(|(document, schema, path, _)| {
        let field = document.find(schema, path)?;
        document
            .items(&field)
            .map_or(Some(field), |items| document.resolve(&items))
    });
    // Parameters are text on their way, whatever they are.
    let is_wire = subject.older.starts_with(&format!("/{PARAMETERS}"));
    for ((document, _, path, _), schema) in sides.iter().zip(&schemas).filter(|_| !is_wire) {
        let types = schema.as_ref().map(|schema| document.types(schema)).unwrap_or_default();
        if let Some(other) = types.iter().find(|name| *name != "string") {
            let message = format!(
                "`{}` of version {} may be of type {other}, and a lookup takes text",
                path.join("."),
                document.version
            );
            compiler.mistake(at, message, "describe the key as text in both versions");
            return None;
        }
    }
    let field = Arc::new(Field {
        versions: [compiler.older.document, compiler.newer.document].map(|document| document.version.clone()),
        chosen: sides.map(|(.., misses)| misses.keys().cloned().collect()),
        schemas,
    });
    let mut source = |spec: Option<&LookupBySpec>, misses: &BTreeMap<_, _>, way, [key, miss]: [&str; 2]| {
        let Some(spec) = spec else {
            if !misses.contains_key("*") {
                let message = format!("this lookup says nothing of the way {key}");
                let help = format!(
                    "name the operation that is asked: `{key}: {{ … }}`, or say what becomes of all keys: `{miss}: {{ '*': ~ }}` refuses them"
                );
                compiler.mistake(at, message, help);
            }
            return KeySource::Nobody;
        };
        if let Err(wrong) = Pointer::parse(&spec.take.value) {
            compiler.mistake(
                place(&spec.take),
                wrong,
                "write where the key stands in the answer: `take: /id`",
            );
        }
        let lookup = Arc::new(Lookup::new(spec, compiler.file, (&field, way)));
        compiler.lookups.push(lookup.clone());
        KeySource::Operation(lookup)
    };
    let up = source(op.up.as_deref(), &op.miss_up, Direction::Up, ["up", "missUp"]);
    let down = source(op.down.as_deref(), &op.miss_down, Direction::Down, ["down", "missDown"]);
    Some((up, down))
}

pub(super) fn yes_no(compiler: &mut Compiler<'_>, op: &BoolSpec, at: (u32, u32)) -> (Change, Change) {
    if op.yes.text() == op.no.text() {
        compiler.mistake(
            at,
            "`yes` and `no` are the same",
            "give the two codes that stand for true and false",
        );
    }
    let codes = Arc::new(YesNo {
        yes: op.yes.clone(),
        no: op.no.clone(),
    });
    let (truth, code) = (Change::ToBool(codes.clone()), Change::FromBool(codes));
    match op.codes {
        SideSpec::Older => (truth, code),
        SideSpec::Newer => (code, truth),
    }
}

pub(super) fn factor(compiler: &mut Compiler<'_>, written: &Factor, at: (u32, u32)) -> Option<Ratio> {
    match Ratio::parse(&written.0) {
        Ok(ratio) => Some(ratio),
        Err(wrong) => {
            let help = "write a decimal number or a fraction of two, such as '0.001' or '1/1000'; not zero";
            compiler.mistake(at, format!("`{}` is no factor: {wrong}", written.0), help);
            None
        }
    }
}

/// An expression over the object of one version, with the mapping's tables in the direction that is taken.
pub(super) fn expression(
    compiler: &mut Compiler<'_>,
    subject: &Type<'_>,
    text: &str,
    way: Direction,
    at: (u32, u32),
) -> Option<Expression> {
    let (document, schema) = match way {
        Direction::Up => (compiler.older.document, subject.older),
        Direction::Down => (compiler.newer.document, subject.newer),
    };
    let mut environment = Environment::new(document).subject("this", document.value_type(schema));
    for (name, table) in &compiler.spec.tables {
        let rows = &table.value.rows;
        let rows: BTreeMap<String, String> = match way {
            Direction::Up => rows.clone(),
            Direction::Down => rows
                .iter()
                .map(|(older, newer)| (newer.clone(), older.clone()))
                .collect(),
        };
        environment = environment.table(name, Arc::new(rows));
    }
    match Expression::compile(text, &environment) {
        Ok(expression) => Some(expression),
        Err(mistakes) => {
            for mistake in mistakes {
                let quoted: String = text.get(mistake.at).unwrap_or(text).chars().take(60).collect();
                let help = mistake.help.unwrap_or_else(|| format!("look at `{quoted}`"));
                compiler.mistake(at, format!("in the expression: {}", mistake.message), help);
            }
            None
        }
    }
}

/// The way of a text to a list of texts, and back.
pub(super) fn listed(compiler: &mut Compiler<'_>, op: &ListSpec, at: (u32, u32)) -> (Change, Change) {
    if op.separator.is_empty() {
        compiler.mistake(
            at,
            "the separator is empty",
            "give the text between the items: `separator: ', '`",
        );
    }
    let separator: Arc<str> = op.separator.as_str().into();
    let apart = Change::Apart {
        separator: separator.clone(),
    };
    let together = Change::Together { separator };
    match op.older {
        ListForm::Text => (apart, together),
        ListForm::List => (together, apart),
    }
}

/// The way from a list to an object of values, and back.
pub(super) fn pivot(compiler: &mut Compiler<'_>, op: &PivotSpec, value: &str, at: (u32, u32)) -> (Change, Change) {
    if !op.names.is_empty() || !op.ops.is_empty() || op.others != Others::Error {
        compiler.mistake(
            at,
            "`names`, `others` and `ops` are about whole items, and this step has a `value`",
            "leave `value` out, so that the rest of each item stands under its name",
        );
    }
    let pair = Arc::new(Pair {
        key: MemberName::new(&op.key),
        value: MemberName::new(value),
        names: [op.key.as_str().into(), value.into()],
    });
    (Change::Pivot(pair.clone()), Change::Unpivot(pair))
}

/// The way from a list to an object of named items, and back.
pub(super) fn naming(compiler: &mut Compiler<'_>, op: &PivotSpec, at: (u32, u32)) -> (Change, Change) {
    let mut keys: BTreeMap<Box<str>, Box<str>> = BTreeMap::new();
    for (key, name) in &op.names {
        if let Some(other) = keys.insert(name.as_str().into(), key.as_str().into()) {
            let message = format!("`{other}` and `{key}` are both called `{name}`");
            compiler.mistake(
                at,
                message,
                "give each key a name of its own, or it could not come back",
            );
        }
    }
    if op.names.is_empty() && op.others == Others::Drop {
        compiler.mistake(
            at,
            "`others` is about keys that `names` does not have, and there are no `names`",
            "list the keys that are known: `names: { AG: soldTo }`",
        );
    }
    let names = op
        .names
        .iter()
        .map(|(key, name)| (key.as_str().into(), name.as_str().into()));
    let naming = Arc::new(Naming {
        key: MemberName::new(&op.key),
        key_name: op.key.as_str().into(),
        names: names.collect(),
        keys,
        drops_others: op.others == Others::Drop,
    });
    (Change::Named(naming.clone()), Change::Keyed(naming))
}

/// The way from a flat list to groups, and back.
pub(super) fn grouping(op: &GroupSpec, groups: SideSpec) -> (Change, Change) {
    // Steps may have it stand elsewhere in the items of a group.
    let in_group = |member: &String| {
        let mut ends = op.ops.iter().map(|written| ends_of(&written.value));
        let moved = ends.find_map(|(older, newer)| {
            let (flat, grouped) = match groups {
                SideSpec::Newer => (older, newer),
                SideSpec::Older => (newer, older),
            };
            flat.contains(&member.as_str()).then(|| grouped.first().copied())?
        });
        path(moved.unwrap_or(member))
    };
    let by = op.by.iter().map(|(item, group)| GroupedBy {
        item_name: item.as_str().into(),
        group_name: group.as_str().into(),
        in_item: MemberName::new(item),
        in_group: MemberName::new(group),
    });
    let grouping = Arc::new(Grouping {
        by: by.collect(),
        items: MemberName::new(&op.items),
        items_name: op.items.as_str().into(),
        order_by: op.order_by.as_ref().map(in_group),
    });
    (Change::Group(grouping.clone()), Change::Flatten(grouping))
}

/// The codes that are listed for a field, or for the items of a list.
fn codes_at(document: &OpenApi, schema: &str, path: &Path) -> Option<Vec<String>> {
    let field = document.find(schema, path)?;
    document.codes(&document.items(&field).unwrap_or(field))
}
