//! What can be seen of a type's steps before they run: places that do not exist, clashes, losses, gaps.

use super::Steps;
use crate::contract::compile::{Compiler, Type, fields};
use crate::contract::openapi::OpenApi;
use crate::contract::program::{Computed, Nested, Path, Step as Inward};
use crate::contract::spec::{Direction, SideSpec};

/// Names from an object inwards, borrowed.
type Field<'v> = &'v [Box<str>];

impl Steps<'_> {
    /// Finds what would fail or be lost at run time.
    pub(in crate::contract) fn check(&self, compiler: &mut Compiler<'_>, subject: &Type<'_>, nested: &[Nested]) {
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
        for combined in &self.combined {
            for from in &combined.from {
                expected.push((older, subject.older, from, combined.place));
            }
            for to in &combined.to {
                expected.push((newer, subject.newer, to, combined.place));
            }
            for seen in &combined.seen {
                let around = subject.around.len().checked_sub(seen.up);
                match around {
                    _ if seen.up == 0 => expected.push((older, subject.older, &seen.path, combined.place)),
                    Some(index) => expected.push((older, &subject.around[index], &seen.path, combined.place)),
                    None => compiler.mistake(
                        combined.place,
                        format!("`^` leads out of everything around {}", subject.name),
                        "look at a field of this type or of one around it",
                    ),
                }
            }
        }
        for (expressed, way) in &self.expressions {
            let (document, schema) = match way {
                Direction::Up => (newer, subject.newer),
                Direction::Down => (older, subject.older),
            };
            expected.push((document, schema, &expressed.to, expressed.place));
        }
        for (computed, side) in &self.computed {
            let ((has, has_schema), (other, other_schema)) = match side {
                SideSpec::Newer => ((newer, subject.newer), (older, subject.older)),
                SideSpec::Older => ((older, subject.older), (newer, subject.newer)),
            };
            expected.push((has, has_schema, &computed.to, computed.place));
            expected.push((other, other_schema, &computed.of, computed.place));
            check_inner(compiler, (other, other_schema), computed);
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
        let combined = self
            .combined
            .iter()
            .flat_map(|combined| combined.to.iter().map(|to| (to, combined.place)));
        let computed = self.computed.iter().filter(|(_, side)| *side == SideSpec::Newer);
        let computed = computed.map(|(computed, _)| (&computed.to, computed.place));
        let expressed = self.expressions.iter().filter(|(_, way)| *way == Direction::Up);
        let expressed = expressed.map(|(expressed, _)| (&expressed.to, expressed.place));
        let targets: Vec<_> = moved
            .chain(copied)
            .chain(constant)
            .chain(combined)
            .chain(computed)
            .chain(expressed)
            .collect();
        clashes(compiler, &targets, "is written twice");
        let moved = self.moves.iter().map(|step| (&step.from, step.place));
        let sources: Vec<_> = moved
            .chain(self.drops.iter().map(|drop| (&drop.path, drop.place)))
            .chain(
                self.combined
                    .iter()
                    .flat_map(|combined| combined.from.iter().map(|from| (from, combined.place))),
            )
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

/// Lists inside of the items of a list that something is computed from.
fn check_inner(compiler: &mut Compiler<'_>, (document, schema): (&OpenApi, &str), computed: &Computed) {
    let mut list = document.find(schema, &computed.of);
    for path in &computed.inner {
        let Some(around) = list else { return };
        list = document.items(&around).and_then(|item| document.find(&item, path));
        if list.is_none() {
            let known = document
                .items(&around)
                .map_or_else(String::new, |item| fields(document, &item));
            let message = format!(
                "version {} has no `{}` in items of that list",
                document.version,
                path.join(".")
            );
            compiler.mistake(computed.place, message, format!("fields there are {known}"));
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
    flows: Vec<(Option<Field<'v>>, Field<'v>)>,
    /// Fields of the source that are left out.
    gone: Vec<Field<'v>>,
}

impl<'v> View<'v> {
    fn new(compiler: &Compiler<'v>, subject: &'v Type<'_>, steps: &'v Steps<'_>, way: Direction) -> Self {
        let mut flows: Vec<(Option<Field<'_>>, Field<'_>)> = Vec::new();
        let lost = steps.losses.iter().filter(|(_, lost, _)| *lost == way);
        let mut gone: Vec<Field<'_>> = lost.map(|(path, ..)| &**path).collect();
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
        for combined in &steps.combined {
            let (from, to) = match way {
                Direction::Up => (&combined.from, &combined.to),
                Direction::Down => (&combined.to, &combined.from),
            };
            flows.extend(to.iter().map(|to| (Some(&*from[0]), &**to)));
            flows.extend(from.iter().skip(1).map(|from| (Some(&**from), &*to[0])));
        }
        for (computed, side) in &steps.computed {
            if (*side == SideSpec::Newer) == (way == Direction::Up) {
                flows.push((None, &computed.to));
            } else {
                gone.push(&computed.to);
            }
        }
        for (path, side, _) in &steps.given {
            if (*side == SideSpec::Newer) == (way == Direction::Up) {
                flows.push((None, path));
            } else {
                gone.push(path);
            }
        }
        let nothings = steps.nothings.iter().filter(|(_, filled, ..)| *filled == way);
        flows.extend(nothings.map(|(path, ..)| (None, &**path)));
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
