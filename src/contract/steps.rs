//! The steps of one type, read from the mapping file, checked against both schemas, and turned into two sides.

mod check;
mod read;

use super::compile::{Compiler, Type, path, place};
use super::convert::Change;
use super::openapi::OpenApi;
use super::program::{CopyTo, Expect, Expected, Move, Outward, Path, Side};
use super::spec::{Agree, Direction, OpSpec};
use crate::config::Spanned;
use read::{dates, decimal, ends, single, table};

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
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                self.changed(ends, Change::Wrap, single(op), at);
            }
            OpSpec::First(op) => {
                let ends = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref());
                self.changed(ends, single(op), Change::Wrap, at);
            }
            OpSpec::Each(op) => {
                if let Some((from, to)) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref()) {
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
                if let Some((from, to)) = ends(compiler, at, op.path.as_ref(), op.from.as_ref(), op.to.as_ref())
                    && let Some((up, down)) = table(compiler, subject, op, (&from, &to), at)
                {
                    self.moved(from, to, up, down, at);
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
}

/// The two directions of a type's steps.
pub(super) fn sides(compiler: &Compiler<'_>, subject: &Type<'_>, steps: &Steps<'_>) -> (Side, Side) {
    let losses = |way| {
        let lost = steps.losses.iter().filter(|(_, lost)| *lost == way);
        // A field that a step carries in part is only declared a loss, not left out.
        let is_moved = |path: &Path| {
            steps.moves.iter().any(|step| match way {
                Direction::Up => step.from.starts_with(path),
                Direction::Down => step.to.starts_with(path),
            })
        };
        let unmoved = lost.map(|(path, _)| path).filter(|path| !is_moved(path));
        unmoved.cloned().collect::<Vec<_>>()
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
    (up, down)
}

/// Names a closed object takes, sorted; `None` if it takes any.
fn carried(document: &OpenApi, schema: &str) -> Option<Box<[Box<str>]>> {
    document.is_closed(schema).then(|| {
        let names = document.properties(schema).into_keys();
        names.map(Into::into).collect()
    })
}
