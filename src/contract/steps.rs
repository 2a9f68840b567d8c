//! The steps of one type, read from the mapping file, checked against both schemas, and turned into two sides.

use std::sync::Arc;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::compile::{Compiler, Type, fields, path, place};
use super::convert::{Change, Codes, DateChange};
use super::openapi::OpenApi;
use super::program::{CopyTo, Expect, Expected, Move, Nested, Outward, Path, Side, Step as Inward};
use super::spec::{DateForm, DateSpec, DecimalForm, DecimalSpec, Direction, OpSpec, TableSpec, WrapSpec};
use crate::config::Spanned;

/// The steps of one type.
#[derive(Default)]
pub(super) struct Steps<'a> {
    moves: Vec<TwoWay>,
    copies: Vec<Copied>,
    defaults: Vec<Filled>,
    constants: Vec<Filled>,
    drops: Vec<Dropped>,
    losses: Vec<(Path, Direction)>,
    /// Lists whose items have steps of their own.
    pub(super) eaches: Vec<Each<'a>>,
}

struct TwoWay {
    from: Path,
    to: Path,
    up: Change,
    down: Change,
    place: (u32, u32),
}

struct Copied {
    from: Outward,
    to: Path,
    agree: super::spec::Agree,
    place: (u32, u32),
}

struct Filled {
    to: Path,
    value: serde_json::Value,
    /// For a default: left out on the way back. For a constant: what another value does.
    omit: bool,
    agree: super::spec::Agree,
    place: (u32, u32),
}

struct Dropped {
    path: Path,
    restore: Option<serde_json::Value>,
    place: (u32, u32),
}

/// A list whose items have steps of their own.
pub(super) struct Each<'a> {
    pub(super) from: Path,
    pub(super) to: Path,
    pub(super) ops: &'a [Spanned<OpSpec>],
    pub(super) place: (u32, u32),
}

impl<'a> Steps<'a> {
    pub(super) fn read(
        compiler: &mut Compiler<'_>,
        subject: &Type<'_>,
        ops: &'a [Spanned<OpSpec>],
        losses: &[(Path, Direction)],
    ) -> Self {
        let mut steps = Self {
            losses: losses.to_vec(),
            ..Self::default()
        };
        for written in ops {
            steps.add(compiler, subject, &written.value, place(written));
        }
        steps
    }

    fn add(&mut self, compiler: &mut Compiler<'_>, subject: &Type<'_>, op: &'a OpSpec, at: (u32, u32)) {
        match op {
            OpSpec::Move(op) => self.moved(path(&op.from), path(&op.to), Change::Keep, Change::Keep, at),
            OpSpec::Wrap(op) => {
                let ends = ends(compiler, at, &op.path, &op.from, &op.to);
                self.changed(ends, Change::Wrap, single(op), at);
            }
            OpSpec::First(op) => {
                let ends = ends(compiler, at, &op.path, &op.from, &op.to);
                self.changed(ends, single(op), Change::Wrap, at);
            }
            OpSpec::Each(op) => {
                if let Some((from, to)) = ends(compiler, at, &op.path, &op.from, &op.to) {
                    self.eaches.push(Each {
                        from: from.clone(),
                        to: to.clone(),
                        ops: &op.ops,
                        place: at,
                    });
                    self.moved(from, to, Change::Keep, Change::Keep, at);
                }
            }
            OpSpec::Table(op) => {
                if let Some((from, to)) = ends(compiler, at, &op.path, &op.from, &op.to) {
                    if let Some((up, down)) = table(compiler, subject, op, (&from, &to), at) {
                        self.moved(from, to, up, down, at);
                    }
                }
            }
            OpSpec::Decimal(op) => {
                let ends = ends(compiler, at, &op.path, &op.from, &op.to);
                let (up, down) = decimal(compiler, op, at);
                self.changed(ends, up, down, at);
            }
            OpSpec::Date(op) => {
                let ends = ends(compiler, at, &op.path, &op.from, &op.to);
                if let Some((up, down)) = dates(compiler, op, at) {
                    self.changed(ends, up, down, at);
                }
            }
            OpSpec::Strip(op) => {
                let ends = ends(compiler, at, &op.path, &op.from, &op.to);
                let (char, width) = (op.char, op.width);
                self.changed(ends, Change::Strip { char, width }, Change::Pad { char, width }, at);
            }
            OpSpec::Pad(op) => {
                let ends = ends(compiler, at, &op.path, &op.from, &op.to);
                let (char, width) = (op.char, op.width);
                self.changed(ends, Change::Pad { char, width }, Change::Strip { char, width }, at);
            }
            OpSpec::Copy(op) => {
                let up = op.from.bytes().take_while(|byte| *byte == b'^').count();
                let inner = op.from.trim_start_matches('^').trim_start_matches('.');
                self.copies.push(Copied {
                    from: Outward { up, path: path(inner) },
                    to: path(&op.to),
                    agree: op.agree,
                    place: at,
                });
            }
            OpSpec::Default(op) => self.defaults.push(Filled {
                to: path(&op.path),
                value: op.value.0.clone(),
                omit: op.omit,
                agree: super::spec::Agree::Ignore,
                place: at,
            }),
            OpSpec::Const(op) => self.constants.push(Filled {
                to: path(&op.to),
                value: op.value.0.clone(),
                omit: true,
                agree: op.expect,
                place: at,
            }),
            OpSpec::Drop(op) => self.drops.push(Dropped {
                path: path(&op.path),
                restore: op.restore.as_ref().map(|value| value.0.clone()),
                place: at,
            }),
        }
    }

    fn changed(&mut self, ends: Option<(Path, Path)>, up: Change, down: Change, at: (u32, u32)) {
        if let Some((from, to)) = ends {
            self.moved(from, to, up, down, at);
        }
    }

    fn moved(&mut self, from: Path, to: Path, up: Change, down: Change, at: (u32, u32)) {
        self.moves.push(TwoWay {
            from,
            to,
            up,
            down,
            place: at,
        });
    }

    /// Where the newer version has a field of the older one; `None` if it is left out.
    pub(super) fn forward(&self, fields: &[Box<str>]) -> Option<Vec<Box<str>>> {
        let is_dropped = self.drops.iter().any(|drop| fields.starts_with(&drop.path));
        let step = self.moves.iter().find(|step| fields.starts_with(&step.from));
        match step {
            Some(step) => Some(step.to.iter().chain(&fields[step.from.len()..]).cloned().collect()),
            None => (!is_dropped).then(|| fields.to_vec()),
        }
    }

    /// Finds what would fail or be lost at run time.
    pub(super) fn check(&self, compiler: &mut Compiler<'_>, subject: &Type<'_>, nested: &[Nested]) {
        let mistakes = compiler.mistakes.len();
        self.check_paths(compiler, subject, nested);
        self.check_clashes(compiler);
        if compiler.mistakes.len() > mistakes {
            // What follows from these would only repeat them.
            return;
        }
        self.check_carried(compiler, subject, Direction::Up);
        self.check_carried(compiler, subject, Direction::Down);
    }

    fn check_paths(&self, compiler: &mut Compiler<'_>, subject: &Type<'_>, nested: &[Nested]) {
        let (older, newer) = (compiler.older.document, compiler.newer.document);
        let mut expected = Vec::new();
        for step in &self.moves {
            expected.push((older, subject.older, &step.from, step.place));
            expected.push((newer, subject.newer, &step.to, step.place));
        }
        for copy in &self.copies {
            let around = subject.around.len().checked_sub(copy.from.up);
            match around {
                _ if copy.from.up == 0 => expected.push((older, subject.older, &copy.from.path, copy.place)),
                Some(index) => expected.push((older, &subject.around[index], &copy.from.path, copy.place)),
                None => compiler.mistake(
                    copy.place,
                    format!("`^` leads out of everything around {}", subject.name),
                    "copy from a field of this type or of one around it",
                ),
            }
            expected.push((newer, subject.newer, &copy.to, copy.place));
        }
        for filled in self.defaults.iter().chain(&self.constants) {
            expected.push((newer, subject.newer, &filled.to, filled.place));
        }
        for drop in &self.drops {
            expected.push((older, subject.older, &drop.path, drop.place));
        }
        for (document, schema, path, at) in expected {
            if document.find(schema, path).is_none() {
                let reached = (0..path.len())
                    .rev()
                    .find_map(|depth| document.find(schema, &path[..depth]));
                let known = reached.map_or_else(String::new, |schema| fields(document, &schema));
                compiler.mistake(
                    at,
                    format!(
                        "version {} has no `{}` in {}",
                        document.version,
                        path.join("."),
                        subject.name
                    ),
                    format!("fields there are {known}"),
                );
            }
        }
        for step in &self.moves {
            let through = nested.iter().find(|nested| {
                let fields = nested.path.iter().map_while(|step| match step {
                    Inward::Field(name) => Some(name),
                    Inward::Items | Inward::Values => None,
                });
                let fields: Vec<_> = fields.cloned().collect();
                fields.len() < step.from.len() && step.from.starts_with(&fields)
            });
            if through.is_some() {
                compiler.mistake(
                    step.place,
                    format!("`{}` lies in a type that is translated itself", step.from.join(".")),
                    "write this step under that type",
                );
            }
        }
    }

    fn check_clashes(&self, compiler: &mut Compiler<'_>) {
        let moved = self.moves.iter().map(|step| (&step.to, step.place));
        let copied = self.copies.iter().map(|copy| (&copy.to, copy.place));
        let constant = self.constants.iter().map(|constant| (&constant.to, constant.place));
        let targets: Vec<_> = moved.chain(copied).chain(constant).collect();
        clashes(compiler, &targets, "is written twice");
        let moved = self.moves.iter().map(|step| (&step.from, step.place));
        let sources: Vec<_> = moved
            .chain(self.drops.iter().map(|drop| (&drop.path, drop.place)))
            .collect();
        clashes(compiler, &sources, "is taken twice; use `copy` for the second place");
    }

    /// Fields of the source without a place in the target, and fields the target needs that nothing fills.
    fn check_carried(&self, compiler: &mut Compiler<'_>, subject: &Type<'_>, way: Direction) {
        let view = View::new(compiler, subject, self, way);
        let (mut homeless, mut unfilled) = (Vec::new(), Vec::new());
        view.homeless(&mut Vec::new(), &mut homeless);
        view.unfilled(&mut Vec::new(), true, &mut unfilled);
        let (source, target) = (view.source.version.clone(), view.target.version.clone());
        let word = if way == Direction::Up { "up" } else { "down" };
        for field in homeless {
            compiler.mistake(
                subject.place,
                format!("`{field}` of {} in {source} has no place in {target}", subject.name),
                format!("move it, drop it, or declare `losses: - {{ type: …, path: {field}, direction: {word}, reason: … }}`"),
            );
        }
        for (field, is_optional) in unfilled {
            let message = if is_optional {
                format!(
                    "`{field}` of {} is required in {target}, and {source} may leave it out",
                    subject.name
                )
            } else {
                format!(
                    "`{field}` of {} is required in {target}, and nothing fills it",
                    subject.name
                )
            };
            let help = match way {
                Direction::Up => "move a field there, or give it a `default` or a `const`",
                Direction::Down => "let a step fill it, or `drop` it with `restore`",
            };
            compiler.mistake(subject.place, message, help);
        }
    }
}

fn clashes(compiler: &mut Compiler<'_>, places: &[(&Path, (u32, u32))], what: &str) {
    for (index, (path, at)) in places.iter().enumerate() {
        let clash = places[..index]
            .iter()
            .any(|(other, _)| other.starts_with(path) || path.starts_with(other));
        if clash {
            compiler.mistake(*at, format!("`{}` {what}", path.join(".")), "each field has one step");
        }
    }
}

/// One direction of a type, as the checks see it.
struct View<'v> {
    source: &'v OpenApi,
    source_schema: &'v str,
    target: &'v OpenApi,
    target_schema: &'v str,
    /// Where values are taken from and put; no source where a value comes from outside or from the mapping.
    flows: Vec<(Option<&'v [Box<str>]>, &'v [Box<str>])>,
    /// Fields of the source that are left out.
    gone: Vec<&'v [Box<str>]>,
}

impl<'v> View<'v> {
    fn new(compiler: &Compiler<'v>, subject: &'v Type<'_>, steps: &'v Steps<'_>, way: Direction) -> Self {
        let mut flows: Vec<(Option<&[Box<str>]>, &[Box<str>])> = Vec::new();
        let lost = steps.losses.iter().filter(|(_, lost)| *lost == way);
        let mut gone: Vec<&[Box<str>]> = lost.map(|(path, _)| &**path).collect();
        match way {
            Direction::Up => {
                flows.extend(steps.moves.iter().map(|step| (Some(&*step.from), &*step.to)));
                flows.extend(steps.copies.iter().map(|copy| (None, &*copy.to)));
                let filled = steps.defaults.iter().chain(&steps.constants);
                flows.extend(filled.map(|filled| (None, &*filled.to)));
                gone.extend(steps.drops.iter().map(|drop| &*drop.path));
            }
            Direction::Down => {
                flows.extend(steps.moves.iter().map(|step| (Some(&*step.to), &*step.from)));
                let restored = steps.drops.iter().filter(|drop| drop.restore.is_some());
                flows.extend(restored.map(|drop| (None, &*drop.path)));
                gone.extend(steps.copies.iter().map(|copy| &*copy.to));
                gone.extend(steps.constants.iter().map(|constant| &*constant.to));
            }
        }
        let (older, newer) = (
            (compiler.older.document, subject.older),
            (compiler.newer.document, subject.newer),
        );
        let ((source, source_schema), (target, target_schema)) = match way {
            Direction::Up => (older, newer),
            Direction::Down => (newer, older),
        };
        Self {
            source,
            source_schema,
            target,
            target_schema,
            flows,
            gone,
        }
    }

    fn is_consumed(&self, field: &[Box<str>]) -> bool {
        self.gone.contains(&field) || self.flows.iter().any(|(from, _)| *from == Some(field))
    }

    fn is_opened(&self, field: &[Box<str>]) -> bool {
        let inside = |path: &[Box<str>]| path.len() > field.len() && path.starts_with(field);
        self.gone.iter().any(|path| inside(path)) || self.flows.iter().any(|(from, _)| from.is_some_and(inside))
    }

    /// Fields of the source that no step names and the target does not take.
    fn homeless(&self, at: &mut Vec<Box<str>>, found: &mut Vec<String>) {
        let Some(schema) = self.source.find(self.source_schema, at) else {
            return;
        };
        for name in self.source.properties(&schema).into_keys() {
            at.push(name.into());
            if !self.is_consumed(at) {
                let container = self.target.find(self.target_schema, &at[..at.len() - 1]);
                let is_taken = container.is_some_and(|container| {
                    let known = self.target.properties(&container);
                    known.contains_key(&*at[at.len() - 1]) || !self.target.is_closed(&container)
                });
                if self.is_opened(at) {
                    self.homeless(at, found);
                } else if !is_taken {
                    found.push(at.join("."));
                }
            }
            at.pop();
        }
    }

    /// Fields the target requires that nothing fills, or that something fills only sometimes.
    fn unfilled(&self, at: &mut Vec<Box<str>>, always: bool, found: &mut Vec<(String, bool)>) {
        let Some(schema) = self.target.find(self.target_schema, at) else {
            return;
        };
        let required = self.target.required(&schema);
        for name in self.target.properties(&schema).into_keys() {
            let is_required = required.contains(&name);
            at.push(name.into());
            let mut into = self.flows.iter().filter(|(_, to)| *to == at.as_slice()).peekable();
            let is_made = self
                .flows
                .iter()
                .any(|(_, to)| to.len() > at.len() && to.starts_with(at));
            if into.peek().is_some() {
                let is_certain =
                    into.any(|(from, _)| from.is_none_or(|from| self.source.always_has(self.source_schema, from)));
                if is_required && always && !is_certain {
                    found.push((at.join("."), true));
                }
            } else if is_made {
                self.unfilled(at, always && is_required, found);
            } else if is_required {
                let is_carried = !self.is_consumed(at) && self.source.find(self.source_schema, at).is_some();
                let is_certain = is_carried && self.source.always_has(self.source_schema, at);
                if !is_carried || (always && !is_certain) {
                    found.push((at.join("."), is_carried));
                }
            }
            at.pop();
        }
    }
}

/// The two directions of a type's steps.
pub(super) fn sides(compiler: &Compiler<'_>, subject: &Type<'_>, steps: &Steps<'_>) -> (Side, Side) {
    let losses = |way| {
        let view = View::new(compiler, subject, steps, way);
        let lost = steps
            .losses
            .iter()
            .filter(|(_, lost)| *lost == way)
            .map(|(path, _)| path);
        // A field that a step carries in part is only declared a loss, not left out.
        let is_moved = |path: &Path| {
            view.flows
                .iter()
                .any(|(from, _)| from.is_some_and(|from| from.starts_with(path)))
        };
        lost.filter(|path| !is_moved(path)).cloned().collect::<Vec<_>>()
    };
    let (older, newer) = (compiler.older.document, compiler.newer.document);
    let mut up = Side {
        drops: losses(Direction::Up),
        carried: carried(newer, subject.newer),
        target: newer.version.clone(),
        ..Side::default()
    };
    let mut down = Side {
        drops: losses(Direction::Down),
        carried: carried(older, subject.older),
        target: older.version.clone(),
        ..Side::default()
    };
    for step in &steps.moves {
        up.moves.push(Move {
            from: step.from.clone(),
            to: step.to.clone(),
            change: step.up.clone(),
        });
        down.moves.push(Move {
            from: step.to.clone(),
            to: step.from.clone(),
            change: step.down.clone(),
        });
    }
    for copy in &steps.copies {
        up.copies.push(CopyTo {
            from: copy.from.clone(),
            to: copy.to.clone(),
        });
        down.expects.push(Expect {
            path: copy.to.clone(),
            expected: Expected::Same(copy.from.clone()),
            otherwise: copy.agree,
        });
    }
    for filled in &steps.defaults {
        up.fills.push((filled.to.clone(), filled.value.clone()));
        if filled.omit {
            down.expects.push(Expect {
                path: filled.to.clone(),
                expected: Expected::OrKept(filled.value.clone()),
                otherwise: filled.agree,
            });
        }
    }
    for filled in &steps.constants {
        up.fills.push((filled.to.clone(), filled.value.clone()));
        down.expects.push(Expect {
            path: filled.to.clone(),
            expected: Expected::Value(filled.value.clone()),
            otherwise: filled.agree,
        });
    }
    for drop in &steps.drops {
        up.drops.push(drop.path.clone());
        if let Some(value) = &drop.restore {
            down.fills.push((drop.path.clone(), value.clone()));
        }
    }
    for side in [&mut up, &mut down] {
        side.prune = emptied(side);
    }
    (up, down)
}

/// Objects that a side takes everything out of, innermost first.
fn emptied(side: &Side) -> Vec<Path> {
    let moved = side
        .moves
        .iter()
        .filter(|step| step.from != step.to)
        .map(|step| &step.from);
    let taken = moved
        .chain(&side.drops)
        .chain(side.expects.iter().map(|expect| &expect.path));
    let mut objects: Vec<Path> = taken
        .flat_map(|path| (1..path.len()).map(|depth| path[..depth].into()))
        .collect();
    objects.sort_by_key(|path| std::cmp::Reverse(path.len()));
    let mut unique: Vec<Path> = Vec::new();
    for object in objects {
        if !unique.contains(&object) {
            unique.push(object);
        }
    }
    unique
}

/// Names a closed object takes, sorted; `None` if it takes any.
fn carried(document: &OpenApi, schema: &str) -> Option<Box<[Box<str>]>> {
    document.is_closed(schema).then(|| {
        let names = document.properties(schema).into_keys();
        names.map(Into::into).collect()
    })
}

/// Both ends of a step that names them by `path`, or by `from` and `to`.
fn ends(
    compiler: &mut Compiler<'_>,
    at: (u32, u32),
    same: &Option<String>,
    from: &Option<String>,
    to: &Option<String>,
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

fn single(op: &WrapSpec) -> Change {
    Change::Single {
        more: op.more,
        separator: op.separator.as_str().into(),
    }
}

fn decimal(compiler: &mut Compiler<'_>, op: &DecimalSpec, at: (u32, u32)) -> (Change, Change) {
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

fn dates(compiler: &mut Compiler<'_>, op: &DateSpec, at: (u32, u32)) -> Option<(Change, Change)> {
    let instants = [op.older, op.newer]
        .iter()
        .filter(|form| **form == DateForm::Timestamp)
        .count();
    if instants == 2 {
        compiler.mistake(
            at,
            "both versions write points in time",
            "use `move`: they are carried as they are",
        );
        return None;
    }
    let timezone = match &op.timezone {
        Some(name) => match TimeZone::get(name) {
            Ok(zone) => zone,
            Err(_) => {
                compiler.mistake(
                    at,
                    format!("`{name}` is no time zone"),
                    "use an IANA name, such as Europe/Berlin",
                );
                return None;
            }
        },
        None if instants == 0 => TimeZone::UTC,
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
        None if instants == 0 => Time::midnight(),
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

fn table(
    compiler: &mut Compiler<'_>,
    subject: &Type<'_>,
    op: &TableSpec,
    (from, to): (&Path, &Path),
    at: (u32, u32),
) -> Option<(Change, Change)> {
    let spec = compiler.spec;
    let Some(rows) = spec.tables.get(&op.table) else {
        let known = super::openapi::list(spec.tables.keys().map(String::as_str));
        compiler.mistake(
            at,
            format!("there is no table `{}`", op.table),
            format!("tables here are {known}"),
        );
        return None;
    };
    let (mut up, mut down) = (Codes::default(), Codes::default());
    for (older, newer) in rows {
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
        let listed = document.find(schema, path).and_then(|schema| document.codes(&schema));
        let missing = listed
            .into_iter()
            .flatten()
            .filter(|code| !codes.rows.contains_key(code.as_str()) && !misses.contains_key("*"));
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
        let known = other
            .find(other_schema, other_path)
            .and_then(|schema| other.codes(&schema));
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
