//! Finds the step of a mapping file that a place of a document is the work of, by walking both schemas along it.

use std::collections::BTreeMap;

use super::sample::Sample;
use crate::config::{SourceFile, Spanned};
use crate::contract::ContractVersion;
use crate::contract::compile::place;
use crate::contract::openapi::{OpenApi, PARAMETERS, push_token};
use crate::contract::spec::{
    CaseOfSpec, Direction, LossSpec, MappingSpec, OpSpec, OperationSpec, SideSpec, VariantSpec,
};
use crate::json::Pointer;

/// Places that are followed at most.
const DEPTH_LIMIT: usize = 128;

/// A mapping file, beside the two versions it joins.
pub(super) struct Sheet<'c> {
    pub(super) spec: MappingSpec,
    pub(super) file: SourceFile,
    pub(super) older: &'c ContractVersion,
    pub(super) newer: &'c ContractVersion,
}

/// In which version's words a place is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Older,
    Newer,
}

/// What a mapping does at a place.
pub(super) struct Spot<'s> {
    /// The step, if one names the place or what is around or inside it.
    pub(super) op: Option<&'s OpSpec>,
    /// Line and column of the step, else of the type it lies in, else 0.
    pub(super) place: (u32, u32),
    /// The named types around the place, by their older name, and the fields from there on, without positions.
    pub(super) types: Vec<(String, Vec<String>)>,
    /// The place in the other version's words; `None` if it has none.
    pub(super) counterpart: Option<Vec<String>>,
}

/// Where the fields of one type are being followed.
struct Base<'s> {
    ops: &'s [Spanned<OpSpec>],
    /// Where the type's schema stands in the version that is followed, and in the other.
    own: String,
    other: Option<String>,
    fields: Vec<Box<str>>,
    /// The other version's words up to here.
    before: Vec<String>,
    place: (u32, u32),
}

impl<'c> Sheet<'c> {
    /// Which step a place of a body is the work of. The schemas are those of the body in both versions. The body itself,
    /// where it is at hand, says of which type a value is that may be of several.
    #[expect(clippy::too_many_lines, reason = "one walk")]
    pub(super) fn spot(
        &self,
        side: Side,
        (own, other): (&str, &str),
        tokens: &[String],
        body: Option<&Sample>,
    ) -> Spot<'_> {
        let (document, across) = self.documents(side);
        let mut spot = Spot {
            op: None,
            place: (0, 0),
            types: Vec::new(),
            counterpart: None,
        };
        let mut base = Base {
            ops: &[],
            own: document.resolve(own).unwrap_or_else(|| own.to_owned()),
            other: across.resolve(other),
            fields: Vec::new(),
            before: Vec::new(),
            place: (0, 0),
        };
        self.enter(side, &mut base, &mut spot);
        for (depth, token) in tokens.iter().enumerate().take(DEPTH_LIMIT) {
            self.settle(side, &mut base, &mut spot, (tokens, depth), body);
            let at = document.find(&base.own, &base.fields);
            let list = at
                .as_deref()
                .filter(|_| is_position(token))
                .and_then(|at| document.items(at));
            // Where items are members of an object, each is one by its name.
            let named = at.as_deref().filter(|_| base.is_pivoted(side));
            let named = named.and_then(|at| member_of(document, at, Some(token)));
            if let Some(items) = list.or(named) {
                let (op, moved) = base.follow(side);
                let ops: &[Spanned<OpSpec>] = match op.map(|op| &op.value) {
                    Some(OpSpec::Each(each)) => &each.ops,
                    Some(OpSpec::Pivot(pivot)) => &pivot.ops,
                    Some(OpSpec::Group(group) | OpSpec::Flatten(group)) => &group.ops,
                    _ => &[],
                };
                spot.op = op.map(|op| &op.value).filter(|_| base.is_exact(side));
                let variant = match op.map(|op| &op.value) {
                    Some(OpSpec::Variant(variant)) => Some(variant),
                    _ => None,
                };
                let other = base.other.as_deref().zip(moved.as_deref());
                let other = other.and_then(|(other, moved)| {
                    let other = across.find(other, moved)?;
                    across.items(&other).or_else(|| member_of(across, &other, None))
                });
                let mut before = std::mem::take(&mut base.before);
                before.extend(moved.into_iter().flatten().map(String::from));
                before.push(token.clone());
                let place = op.map_or(base.place, place);
                base = Base {
                    ops,
                    own: document.resolve(&items).unwrap_or(items),
                    other: other.and_then(|other| across.resolve(&other)),
                    fields: Vec::new(),
                    before,
                    place,
                };
                if let Some(case) = variant.and_then(|variant| self.case(side, variant, (tokens, depth + 1), body)) {
                    (base.own, base.other) = self.schemas(side, case);
                }
                self.enter(side, &mut base, &mut spot);
                continue;
            }
            base.fields.push(token.as_str().into());
            for (_, within) in &mut spot.types {
                within.push(token.clone());
            }
            // A type that has its own steps begins here.
            if let Some(at) = document.find(&base.own, &base.fields)
                && OpenApi::schema_name(&at).is_some()
                && document.is_structured(&at)
                && document.items(&at).is_none()
            {
                if base.reaches_inside(side) {
                    // The type around it takes it apart itself.
                    let name = OpenApi::schema_name(&at).unwrap_or_default();
                    spot.types.push((name.to_owned(), Vec::new()));
                    continue;
                }
                let (op, moved) = base.follow(side);
                let other = base.other.as_deref().zip(moved.as_deref());
                let other = other.and_then(|(other, moved)| across.find(other, moved));
                let mut before = std::mem::take(&mut base.before);
                before.extend(moved.into_iter().flatten().map(String::from));
                spot.op = op.map(|op| &op.value);
                spot.place = op.map_or(spot.place, place);
                let case = match spot.op {
                    Some(OpSpec::Variant(variant)) => self.case(side, variant, (tokens, depth + 1), body),
                    _ => None,
                };
                base = Base {
                    ops: &[],
                    own: at,
                    other,
                    fields: Vec::new(),
                    before,
                    place: op.map_or(base.place, place),
                };
                if let Some(case) = case {
                    (base.own, base.other) = self.schemas(side, case);
                }
                self.enter(side, &mut base, &mut spot);
            }
        }
        let (op, moved) = base.follow(side);
        if let Some(op) = op {
            spot.op = Some(&op.value);
            spot.place = place(op);
        } else if !base.fields.is_empty() || spot.place == (0, 0) {
            if !base.fields.is_empty() {
                spot.op = None;
            }
            spot.place = base.place;
        }
        spot.counterpart = moved.map(|moved| {
            let mut words = base.before;
            words.extend(moved.into_iter().map(String::from));
            words
        });
        spot
    }

    /// The declared losses on a way that cover a place.
    pub(super) fn losses<'s>(
        &'s self,
        way: Direction,
        spot: &Spot<'_>,
    ) -> impl Iterator<Item = (usize, &'s Spanned<LossSpec>)> {
        let types = spot.types.clone();
        self.spec.losses.iter().enumerate().filter(move |(_, written)| {
            let loss = &written.value;
            let path: Vec<&str> = loss.path.split('.').collect();
            loss.direction == way
                && types.iter().any(|(name, within)| {
                    *name == loss.schema
                        && within.len() >= path.len()
                        && within.iter().zip(&path).all(|(token, name)| token == name)
                })
        })
    }

    /// Goes on in the type that a value says it is, where the walk has come to one of several types.
    fn settle<'s>(
        &'s self,
        side: Side,
        base: &mut Base<'s>,
        spot: &mut Spot<'s>,
        (tokens, depth): (&[String], usize),
        body: Option<&Sample>,
    ) {
        let (Some(written), Some(moved)) = base.follow(side) else {
            return;
        };
        let OpSpec::Variant(variant) = &written.value else {
            return;
        };
        let (older, newer) = ends(&written.value);
        let own = if side == Side::Older { older } else { newer };
        let is_here = own.iter().any(|own| own.split('.').count() == base.fields.len());
        let (document, _) = self.documents(side);
        let at = document.find(&base.own, &base.fields);
        if !is_here || at.is_some_and(|at| document.items(&at).is_some()) {
            return;
        }
        let Some(case) = self.case(side, variant, (tokens, depth), body) else {
            return;
        };
        let (own, other) = self.schemas(side, case);
        let mut before = std::mem::take(&mut base.before);
        before.extend(moved.into_iter().map(String::from));
        spot.op = Some(&written.value);
        spot.place = place(written);
        *base = Base {
            ops: &[],
            own,
            other,
            fields: Vec::new(),
            before,
            place: spot.place,
        };
        self.enter(side, base, spot);
    }

    /// The case that the value behind so many tokens is; where it is not at hand, the first that has the next member.
    fn case<'s>(
        &self,
        side: Side,
        variant: &'s VariantSpec,
        (tokens, depth): (&[String], usize),
        body: Option<&Sample>,
    ) -> Option<&'s CaseOfSpec> {
        let by = match side {
            Side::Older => &variant.by,
            Side::Newer => variant.newer_by.as_ref().unwrap_or(&variant.by),
        };
        let value = body.and_then(|body| body.at(&tokens[..depth])?.get(by));
        let mut cases = variant.cases.iter();
        if let Some(Sample::Str(said)) = value {
            return cases.find(|case| match side {
                Side::Older => case.older == *said,
                Side::Newer => case.newer.as_ref().unwrap_or(&case.older) == said,
            });
        }
        let (document, _) = self.documents(side);
        let next = tokens.get(depth)?;
        cases.find(|case| document.properties(&self.schemas(side, case).0).contains_key(next))
    }

    /// The schema of a case on this side, and on the other.
    fn schemas(&self, side: Side, case: &CaseOfSpec) -> (String, Option<String>) {
        let renamed = self
            .spec
            .types
            .get(&case.schema)
            .and_then(|spec| spec.value.rename.as_ref());
        let pointer = |name: &str| {
            let mut pointer = "/components/schemas".to_owned();
            push_token(&mut pointer, name);
            pointer
        };
        let (older, newer) = (pointer(&case.schema), pointer(renamed.unwrap_or(&case.schema)));
        match side {
            Side::Older => (older, Some(newer)),
            Side::Newer => (newer, Some(older)),
        }
    }

    /// Whether the schemas know a member at a place.
    pub(super) fn is_known(&self, side: Side, schema: &str, tokens: &[String]) -> bool {
        let (document, _) = self.documents(side);
        let mut at = document.resolve(schema);
        for token in tokens {
            let Some(here) = at else { return false };
            let inner = if is_position(token) {
                document.items(&here)
            } else {
                None
            };
            at = inner
                .or_else(|| document.properties(&here).remove(token))
                .and_then(|inner| document.resolve(&inner));
        }
        at.is_some()
    }

    /// The steps over the parameters that are described at a place.
    fn parameters(&self, pointer: &str) -> Option<(&Spanned<OperationSpec>, &[Spanned<OpSpec>])> {
        let pointer = Pointer::parse(pointer).ok()?;
        let [root, id, kind] = pointer.tokens() else {
            return None;
        };
        if root != PARAMETERS {
            return None;
        }
        let written = self.spec.operations.get(id)?;
        let ops = match kind.as_str() {
            "path" => &written.value.path,
            "query" => &written.value.query,
            _ => &written.value.header,
        };
        Some((written, ops))
    }

    fn documents(&self, side: Side) -> (&'c OpenApi, &'c OpenApi) {
        match side {
            Side::Older => (&self.older.document, &self.newer.document),
            Side::Newer => (&self.newer.document, &self.older.document),
        }
    }

    /// The steps of a named type or of an operation's parameters, as the walk enters it.
    fn enter<'s>(&'s self, side: Side, base: &mut Base<'s>, spot: &mut Spot<'s>) {
        if let Some((written, ops)) = self.parameters(&base.own) {
            base.ops = ops;
            base.place = place(written);
            spot.place = base.place;
            return;
        }
        let Some(name) = OpenApi::schema_name(&base.own) else {
            return;
        };
        let types: &'s BTreeMap<_, _> = &self.spec.types;
        let written = match side {
            Side::Older => types.get_key_value(name),
            Side::Newer => {
                let older = base.other.as_deref().and_then(OpenApi::schema_name);
                let renamed = |(_, spec): &(&String, &Spanned<_>)| {
                    let spec: &crate::contract::spec::TypeSpec = &spec.value;
                    spec.rename.as_deref() == Some(name)
                };
                older
                    .and_then(|older| types.get_key_value(older))
                    .or_else(|| types.iter().find(renamed))
                    .or_else(|| types.get_key_value(name))
            }
        };
        if let Some((older, spec)) = written {
            base.ops = &spec.value.ops;
            base.place = place(spec);
            spot.types.push((older.clone(), Vec::new()));
        } else {
            spot.types.push((name.to_owned(), Vec::new()));
        }
        spot.place = base.place;
    }
}

impl<'s> Base<'s> {
    /// The step for the fields that were followed, and what the other version calls them.
    fn follow(&self, side: Side) -> (Option<&'s Spanned<OpSpec>>, Option<Vec<Box<str>>>) {
        let mut inside = None;
        for written in self.ops {
            let (older, newer) = ends(&written.value);
            let (own, other) = match side {
                Side::Older => (older, newer),
                Side::Newer => (newer, older),
            };
            // Where one field becomes several, the first stands for them.
            let other = other.first();
            for own in own {
                let own: Vec<Box<str>> = own.split('.').map(Into::into).collect();
                if self.fields.starts_with(&own) {
                    let moved = other.map(|other| {
                        let other = other.split('.').map(Into::into);
                        other.chain(self.fields[own.len()..].iter().cloned()).collect()
                    });
                    return (Some(written), moved);
                }
                if !self.fields.is_empty() && own.starts_with(&self.fields) && inside.is_none() {
                    inside = Some((written, other.map(|other| other.split('.').map(Into::into).collect())));
                }
            }
        }
        match inside {
            // An object the mapping takes apart: the first of its fields stands for it.
            Some((written, other)) => (Some(written), other),
            None => (None, Some(self.fields.clone())),
        }
    }

    /// Whether the fields that were followed lead to an object whose members are items of a list on the other side.
    fn is_pivoted(&self, side: Side) -> bool {
        self.ops.iter().any(|written| {
            let OpSpec::Pivot(op) = &written.value else {
                return false;
            };
            let (older, newer) = ends(&written.value);
            let own = if side == Side::Older { older } else { newer };
            let is_here = own
                .iter()
                .any(|own| own.split('.').eq(self.fields.iter().map(|field| &**field)));
            is_here && op.value.is_none()
        })
    }

    /// Whether a step names something inside the fields that were followed.
    fn reaches_inside(&self, side: Side) -> bool {
        self.ops.iter().any(|written| {
            let (older, newer) = ends(&written.value);
            let own = if side == Side::Older { older } else { newer };
            own.into_iter().any(|own| {
                let own: Vec<Box<str>> = own.split('.').map(Into::into).collect();
                own.len() > self.fields.len() && own.starts_with(&self.fields)
            })
        })
    }

    /// Whether a step names exactly the fields that were followed.
    fn is_exact(&self, side: Side) -> bool {
        self.follow(side).0.is_some()
    }
}

/// The fields a step names in the older and in the newer version.
pub(in crate::contract) fn ends(op: &OpSpec) -> (Vec<&str>, Vec<&str>) {
    match op {
        OpSpec::Move(op) => (vec![&op.from], vec![&op.to]),
        OpSpec::Copy(op) => (Vec::new(), vec![&op.to]),
        OpSpec::Wrap(op) | OpSpec::First(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Default(op) => (vec![&op.path], vec![&op.path]),
        OpSpec::Const(op) => (Vec::new(), vec![&op.to]),
        OpSpec::Drop(op) => (vec![&op.path], Vec::new()),
        OpSpec::Each(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Table(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Lookup(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Decimal(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Date(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Strip(op) | OpSpec::Pad(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Bool(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Case(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Trim(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Scale(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Null(op) => match &op.step {
            Some(step) => ends(step),
            None => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        },
        OpSpec::List(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Pivot(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Variant(op) => two(op.path.as_ref(), op.from.as_ref(), op.to.as_ref()),
        OpSpec::Split(op) => (vec![&op.from], op.to.iter().map(String::as_str).collect()),
        OpSpec::Join(op) => (op.from.iter().map(String::as_str).collect(), vec![&op.to]),
        OpSpec::Pattern(op) => (
            op.older.keys().map(String::as_str).collect(),
            op.newer.keys().map(String::as_str).collect(),
        ),
        OpSpec::MinorUnits(op) => (vec![&op.from], vec![&op.to]),
        OpSpec::Unit(op) => (vec![&op.from, &op.unit], vec![&op.to]),
        OpSpec::Group(op) | OpSpec::Flatten(op) => (vec![&op.from], vec![&op.to]),
        OpSpec::Count(op) => on(op.side, &op.to),
        OpSpec::Sum(op) => on(op.side, &op.to),
        OpSpec::Expr(op) => (
            op.from.as_deref().into_iter().collect(),
            op.to.as_deref().into_iter().collect(),
        ),
        OpSpec::Paging(op) => {
            let (pages, offsets) = (
                vec![op.page.as_str(), &op.size],
                vec![op.offset.as_deref().unwrap_or_default(), &op.limit],
            );
            match op.pages {
                SideSpec::Older => (pages, offsets),
                SideSpec::Newer => (offsets, pages),
            }
        }
    }
}

/// A field that has its place by `path`, or by `from` and `to`.
fn two<'o>(path: Option<&'o String>, from: Option<&'o String>, to: Option<&'o String>) -> (Vec<&'o str>, Vec<&'o str>) {
    let one = |own: Option<&'o String>| own.or(path).map(String::as_str).into_iter().collect();
    (one(from), one(to))
}

/// A field that only one version has.
fn on(side: SideSpec, own: &str) -> (Vec<&str>, Vec<&str>) {
    match side {
        SideSpec::Older => (vec![own], Vec::new()),
        SideSpec::Newer => (Vec::new(), vec![own]),
    }
}

/// The schema of a member of this name, or of any.
fn member_of(document: &OpenApi, object: &str, name: Option<&str>) -> Option<String> {
    let mut known = document.properties(object);
    let named = match name {
        Some(name) => known.remove(name),
        None => known.into_values().next(),
    };
    named.or_else(|| document.additional(object).filter(|_| !document.is_closed(object)))
}

fn is_position(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit())
}
