//! The steps of one type, read from the mapping file, checked against both schemas, and turned into two sides.

mod check;
mod combined;
mod read;

use std::sync::Arc;

use super::combine::Combination;
use super::compile::{Compiler, Type, path, place};
use super::convert::Change;
use super::openapi::OpenApi;
use super::program::{Combine, Computed, CopyTo, Expect, Expected, Expressed, Move, Outward, Path, Place, Side};
use super::spec::{
    Agree, DecimalForm, Direction, ExprSpec, GroupSpec, Nothing, NullSpec, OpSpec, PivotForm, PivotSpec, SideSpec,
    VariantSpec,
};
use crate::config::Spanned;
use combined::{join, minor_units, paging, pattern, split, unit};
use read::{dates, decimal, ends, expression, factor, grouping, listed, lookup, naming, pivot, single, table, yes_no};

/// The steps of one type.
#[derive(Default)]
pub(super) struct Steps<'a> {
    moves: Vec<TwoWay>,
    copies: Vec<Copied>,
    defaults: Vec<Filled>,
    constants: Vec<Filled>,
    drops: Vec<Dropped>,
    combined: Vec<CombinedTwoWay>,
    computed: Vec<(Computed, SideSpec)>,
    expressions: Vec<(Expressed, Direction)>,
    /// Fields of one version only, which come from around this type and go there.
    given: Vec<(Path, SideSpec, Place)>,
    /// What one way puts where the other says nothing.
    nothings: Vec<(Path, Direction, serde_json::Value, Place)>,
    losses: Vec<Loss>,
    /// Lists whose items have steps of their own.
    pub(super) eaches: Vec<Each<'a>>,
    /// Fields that hold one of several types.
    pub(super) variants: Vec<Variant<'a>>,
    /// Whether empty text says nothing in the older and in the newer version, to the step that is being read.
    empty: [bool; 2],
}

/// A field that is left out on one way, and where that is declared.
pub(super) type Loss = (Path, Direction, Place);

/// Several fields that become several others.
pub(super) struct CombinedTwoWay {
    pub(super) from: Vec<Path>,
    pub(super) seen: Vec<Outward>,
    pub(super) to: Vec<Path>,
    pub(super) up: Arc<dyn Combination>,
    pub(super) down: Arc<dyn Combination>,
    pub(super) place: (u32, u32),
}

/// A field that holds one of several types.
pub(super) struct Variant<'a> {
    pub(super) from: Path,
    pub(super) spec: &'a VariantSpec,
    pub(super) place: (u32, u32),
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
    agree: Agree,
    place: (u32, u32),
}

struct Filled {
    to: Path,
    value: serde_json::Value,
    /// For a default: left out on the way back. For a constant: what another value does.
    omit: bool,
    agree: Agree,
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
    pub(super) form: Form<'a>,
    pub(super) place: (u32, u32),
}

/// What the items are in one of the versions.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// In both the elements of a list.
    Items,
    /// In this version they lie in groups.
    Groups(SideSpec, &'a GroupSpec),
    /// In this version they are members of an object.
    Members(SideSpec, &'a PivotSpec),
}

impl<'a> Steps<'a> {
    pub(super) fn read(
        compiler: &mut Compiler<'_>,
        subject: &Type<'_>,
        ops: &'a [Spanned<OpSpec>],
        losses: &[Loss],
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
            OpSpec::Each(op) => {
                if let Some((from, to)) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref()) {
                    self.eaches.push(Each {
                        from: from.clone(),
                        to: to.clone(),
                        ops: &op.ops,
                        form: Form::Items,
                        place: at,
                    });
                    self.moved(from, to, Change::Keep, Change::Keep, at);
                }
            }
            OpSpec::Group(op) => self.grouped(op, SideSpec::Newer, at),
            OpSpec::Flatten(op) => self.grouped(op, SideSpec::Older, at),
            OpSpec::Pivot(op) if op.value.is_none() => self.named(compiler, op, at),
            OpSpec::Variant(op) => {
                if let Some((from, to)) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref()) {
                    self.variants.push(Variant {
                        from: from.clone(),
                        spec: op,
                        place: at,
                    });
                    self.moved(from, to, Change::Keep, Change::Keep, at);
                }
            }
            OpSpec::Copy(op) => {
                self.copies.push(Copied {
                    from: Outward::parse(&op.from),
                    to: path(&op.to),
                    agree: op.agree,
                    place: at,
                });
            }
            OpSpec::Default(op) => self.defaults.push(Filled {
                to: path(&op.path),
                value: op.value.0.clone(),
                omit: op.omit,
                agree: Agree::Ignore,
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
            _ => {
                self.add_change(compiler, subject, op, at);
                self.add_several(compiler, subject, op, at);
            }
        }
    }

    /// Steps that change one value.
    fn add_change(&mut self, compiler: &mut Compiler<'_>, subject: &Type<'_>, op: &OpSpec, at: (u32, u32)) {
        match op {
            OpSpec::Wrap(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                self.changed(ends, Change::Wrap, single(op), at);
            }
            OpSpec::First(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                self.changed(ends, single(op), Change::Wrap, at);
            }
            OpSpec::Table(op) => {
                if let Some((from, to)) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref())
                    && let Some((up, down)) = table(compiler, subject, op, (&from, &to), self.empty, at)
                {
                    self.moved(from, to, up, down, at);
                }
            }
            OpSpec::Lookup(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                if let Some((up, down)) = lookup(compiler, subject, op, ends.as_ref(), at) {
                    self.changed(ends, up, down, at);
                }
            }
            OpSpec::Decimal(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                let (up, down) = decimal(compiler, op, at);
                self.changed(ends, up, down, at);
            }
            OpSpec::Date(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                if let Some((up, down)) = dates(compiler, op, at) {
                    self.changed(ends, up, down, at);
                }
            }
            OpSpec::Strip(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                let (char, width) = (op.char, op.width);
                self.changed(ends, Change::Strip { char, width }, Change::Pad { char, width }, at);
            }
            OpSpec::Pad(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                let (char, width) = (op.char, op.width);
                self.changed(ends, Change::Pad { char, width }, Change::Strip { char, width }, at);
            }
            OpSpec::Bool(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                let (up, down) = yes_no(compiler, op, at);
                self.changed(ends, up, down, at);
            }
            OpSpec::Case(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                let case = |from, to| Change::Case { from, to };
                self.changed(ends, case(op.older, op.newer), case(op.newer, op.older), at);
            }
            OpSpec::Trim(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                self.changed(ends, Change::Trim, Change::Keep, at);
            }
            OpSpec::Scale(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                if let Some(by) = factor(compiler, &op.by, at) {
                    let scale = |by, form| Change::Scale {
                        by,
                        round: op.round,
                        form,
                    };
                    let older = op.newer.map(|newer| match newer {
                        DecimalForm::Number => DecimalForm::String,
                        DecimalForm::String => DecimalForm::Number,
                    });
                    self.changed(ends, scale(by, op.newer), scale(by.inverse(), older), at);
                }
            }
            OpSpec::Null(op) => self.nothing(compiler, subject, op, at),
            OpSpec::List(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                let (up, down) = listed(compiler, op, at);
                self.changed(ends, up, down, at);
            }
            OpSpec::Pivot(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                if let Some(value) = &op.value {
                    let (to_object, to_list) = pivot(compiler, op, value, at);
                    match op.older {
                        PivotForm::List => self.changed(ends, to_object, to_list, at),
                        PivotForm::Object => self.changed(ends, to_list, to_object, at),
                    }
                }
            }
            _ => {}
        }
    }

    /// Steps that make values of several others.
    fn add_several(&mut self, compiler: &mut Compiler<'_>, subject: &Type<'_>, op: &OpSpec, at: (u32, u32)) {
        match op {
            OpSpec::Split(op) => self.combined.extend(split(compiler, op, at)),
            OpSpec::Join(op) => self.combined.extend(join(compiler, op, at)),
            OpSpec::Pattern(op) => self.combined.extend(pattern(compiler, op, at)),
            OpSpec::MinorUnits(op) => self.combined.push(minor_units(op, at)),
            OpSpec::Unit(op) => self.combined.extend(unit(compiler, op, at)),
            OpSpec::Paging(op) => self.combined.extend(paging(compiler, op, at)),
            OpSpec::Expr(op) => self.expressed(compiler, subject, op, at),
            OpSpec::Count(op) => {
                let (of, inner) = lists(&op.of);
                let computed = Computed {
                    of,
                    inner,
                    field: None,
                    to: path(&op.to),
                    form: DecimalForm::Number,
                    place: at,
                };
                self.computed.push((computed, op.side));
            }
            OpSpec::Sum(op) => {
                let (of, inner) = lists(&op.of);
                let computed = Computed {
                    of,
                    inner,
                    field: Some(path(&op.field)),
                    to: path(&op.to),
                    form: op.form,
                    place: at,
                };
                self.computed.push((computed, op.side));
            }
            _ => {}
        }
    }

    /// Fields that come from around this type, and go there, in one version.
    pub(super) fn give(&mut self, fields: impl IntoIterator<Item = Path>, side: SideSpec, at: Place) {
        self.given.extend(fields.into_iter().map(|field| (field, side, at)));
    }

    fn grouped(&mut self, op: &'a GroupSpec, groups: SideSpec, at: (u32, u32)) {
        let (from, to) = (path(&op.from), path(&op.to));
        self.eaches.push(Each {
            from: from.clone(),
            to: to.clone(),
            ops: &op.ops,
            form: Form::Groups(groups, op),
            place: at,
        });
        let (group, flatten) = grouping(op, groups);
        let (up, down) = match groups {
            SideSpec::Newer => (group, flatten),
            SideSpec::Older => (flatten, group),
        };
        self.moved(from, to, up, down, at);
    }

    fn named(&mut self, compiler: &mut Compiler<'_>, op: &'a PivotSpec, at: (u32, u32)) {
        let Some((from, to)) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref()) else {
            return;
        };
        let (to_object, to_list) = naming(compiler, op, at);
        let (members, up, down) = match op.older {
            PivotForm::List => (SideSpec::Newer, to_object, to_list),
            PivotForm::Object => (SideSpec::Older, to_list, to_object),
        };
        self.eaches.push(Each {
            from: from.clone(),
            to: to.clone(),
            ops: &op.ops,
            form: Form::Members(members, op),
            place: at,
        });
        self.moved(from, to, up, down, at);
    }

    fn expressed(&mut self, compiler: &mut Compiler<'_>, subject: &Type<'_>, op: &ExprSpec, at: (u32, u32)) {
        let ways = [
            (op.to.as_ref(), op.up.as_ref(), Direction::Up, SideSpec::Newer),
            (op.from.as_ref(), op.down.as_ref(), Direction::Down, SideSpec::Older),
        ];
        if ways.iter().all(|(field, text, ..)| field.is_none() && text.is_none()) {
            let help = "give `to` and `up` for a field of the newer version, `from` and `down` for one of the older";
            compiler.mistake(at, "this step computes nothing", help);
        }
        for (field, text, way, side) in ways {
            match (field, text) {
                (Some(field), Some(text)) => {
                    if let Some(expression) = expression(compiler, subject, text, way, at) {
                        let expressed = Expressed {
                            expression: Arc::new(expression),
                            to: path(field),
                            place: at,
                        };
                        self.expressions.push((expressed, way));
                    }
                    self.give([path(field)], side, at);
                }
                (None, None) => {}
                _ => {
                    let help = "`up` is the expression for `to`, `down` the one for `from`";
                    compiler.mistake(
                        at,
                        "an expression without its field, or a field without its expression",
                        help,
                    );
                }
            }
        }
    }

    fn nothing(&mut self, compiler: &mut Compiler<'_>, subject: &Type<'_>, op: &NullSpec, at: (u32, u32)) {
        let Some((from, to, up, down)) = self.something(compiler, subject, op, at) else {
            return;
        };
        if op.older == op.newer {
            compiler.mistake(
                at,
                "both versions say nothing in the same way",
                "use `move`, or no step at all",
            );
            return;
        }
        let value = |nothing| match nothing {
            Nothing::Absent => None,
            Nothing::Null => Some(serde_json::Value::Null),
            Nothing::Empty => Some("".into()),
        };
        if op.older == Nothing::Absent {
            let filled = value(op.newer).map(|value| (to.clone(), Direction::Up, value, at));
            self.nothings.extend(filled);
        }
        if op.newer == Nothing::Absent {
            let filled = value(op.older).map(|value| (from.clone(), Direction::Down, value, at));
            self.nothings.extend(filled);
        }
        let change = |from, to, then| Change::Nothing {
            from,
            to,
            then: Box::new(then),
        };
        self.moved(
            from,
            to,
            change(op.older, op.newer, up),
            change(op.newer, op.older, down),
            at,
        );
    }

    /// What becomes of a value that may also say nothing: where it is, where it goes, and how it changes.
    fn something(
        &mut self,
        compiler: &mut Compiler<'_>,
        subject: &Type<'_>,
        op: &NullSpec,
        at: (u32, u32),
    ) -> Option<(Path, Path, Change, Change)> {
        let Some(step) = &op.step else {
            let (from, to) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref())?;
            return Some((from, to, Change::Keep, Change::Keep));
        };
        if op.path.is_some() || op.from.is_some() || op.to.is_some() {
            let help = "leave `path`, `from` and `to` to the step under `of`";
            compiler.mistake(at, "the place of the field is given twice", help);
            return None;
        }
        let (moves, mistakes) = (self.moves.len(), compiler.mistakes.len());
        if !matches!(**step, OpSpec::Null(_)) {
            self.empty = [op.older == Nothing::Empty, op.newer == Nothing::Empty];
            self.add_change(compiler, subject, step, at);
            self.empty = [false; 2];
        }
        let changed = self.moves.drain(moves..).next();
        if changed.is_none() && compiler.mistakes.len() == mistakes {
            let help = "name a step that changes one value: `of: { table: { … } }`";
            compiler.mistake(at, "this step under `of` does not change one value", help);
        }
        changed.map(|step| (step.from, step.to, step.up, step.down))
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
}

/// A list, and lists in its items: `lines[].serials`.
fn lists(text: &str) -> (Path, Vec<Path>) {
    let mut paths = text.split("[].").map(path);
    (paths.next().unwrap_or_default(), paths.collect())
}

/// The two directions of a type's steps.
pub(super) fn sides(compiler: &Compiler<'_>, subject: &Type<'_>, steps: &Steps<'_>) -> (Side, Side) {
    let losses = |way| {
        let lost = steps.losses.iter().filter(|(_, lost, _)| *lost == way);
        // A field that a step carries in part is only declared a loss, not left out.
        let is_moved = |path: &Path| {
            steps.moves.iter().any(|step| match way {
                Direction::Up => step.from.starts_with(path),
                Direction::Down => step.to.starts_with(path),
            })
        };
        let unmoved = lost.filter(|(path, ..)| !is_moved(path));
        unmoved
            .map(|(path, _, place)| (path.clone(), *place))
            .collect::<Vec<_>>()
    };
    let (older, newer) = (compiler.older.document, compiler.newer.document);
    let mut up = Side {
        drops: losses(Direction::Up),
        declared: declared(older, subject.older),
        carried: carried(newer, subject.newer),
        target: newer.version.clone(),
        ..Side::default()
    };
    let mut down = Side {
        drops: losses(Direction::Down),
        declared: declared(newer, subject.newer),
        carried: carried(older, subject.older),
        target: older.version.clone(),
        ..Side::default()
    };
    for step in &steps.moves {
        up.moves.push(Move {
            from: step.from.clone(),
            to: step.to.clone(),
            change: step.up.clone(),
            place: step.place,
        });
        down.moves.push(Move {
            from: step.to.clone(),
            to: step.from.clone(),
            change: step.down.clone(),
            place: step.place,
        });
    }
    for copy in &steps.copies {
        up.copies.push(CopyTo {
            from: copy.from.clone(),
            to: copy.to.clone(),
            place: copy.place,
        });
        down.expects.push(Expect {
            path: copy.to.clone(),
            expected: Expected::Same(copy.from.clone()),
            otherwise: copy.agree,
            place: copy.place,
        });
    }
    for filled in &steps.defaults {
        up.fills.push((filled.to.clone(), filled.value.clone(), filled.place));
        if filled.omit {
            down.expects.push(Expect {
                path: filled.to.clone(),
                expected: Expected::OrKept(filled.value.clone()),
                otherwise: filled.agree,
                place: filled.place,
            });
        }
    }
    for filled in &steps.constants {
        up.fills.push((filled.to.clone(), filled.value.clone(), filled.place));
        down.expects.push(Expect {
            path: filled.to.clone(),
            expected: Expected::Value(filled.value.clone()),
            otherwise: filled.agree,
            place: filled.place,
        });
    }
    for drop in &steps.drops {
        up.drops.push((drop.path.clone(), drop.place));
        if let Some(value) = &drop.restore {
            down.fills.push((drop.path.clone(), value.clone(), drop.place));
        }
    }
    several(steps, &mut up, &mut down);
    (up, down)
}

/// Steps over several values, and fields that only one version has.
fn several(steps: &Steps<'_>, up: &mut Side, down: &mut Side) {
    for combined in &steps.combined {
        let combine = |from: &[Path], to: &[Path], rule: &Arc<dyn Combination>| Combine {
            from: from.to_vec(),
            seen: combined.seen.clone(),
            to: to.to_vec(),
            rule: rule.clone(),
            place: combined.place,
        };
        up.combinations
            .push(combine(&combined.from, &combined.to, &combined.up));
        down.combinations
            .push(combine(&combined.to, &combined.from, &combined.down));
    }
    for (computed, side) in &steps.computed {
        let (has, other) = match side {
            SideSpec::Newer => (&mut *up, &mut *down),
            SideSpec::Older => (&mut *down, &mut *up),
        };
        other.drops.push((computed.to.clone(), computed.place));
        has.computed.push(computed.clone());
    }
    for (expressed, way) in &steps.expressions {
        let side = if *way == Direction::Up { &mut *up } else { &mut *down };
        side.expressions.push(expressed.clone());
    }
    for (path, side, place) in &steps.given {
        match side {
            SideSpec::Newer => down.drops.push((path.clone(), *place)),
            SideSpec::Older => up.drops.push((path.clone(), *place)),
        }
    }
    for (path, way, value, place) in &steps.nothings {
        let side = if *way == Direction::Up { &mut *up } else { &mut *down };
        side.fills.push((path.clone(), value.clone(), *place));
    }
}

/// Names a closed object takes, sorted; `None` if it takes any.
fn carried(document: &OpenApi, schema: &str) -> Option<Box<[Box<str>]>> {
    document.is_closed(schema).then(|| declared(document, schema))
}

fn declared(document: &OpenApi, schema: &str) -> Box<[Box<str>]> {
    let names = document.properties(schema).into_keys();
    names.map(Into::into).collect()
}
