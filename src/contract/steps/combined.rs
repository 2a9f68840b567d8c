//! Steps over several fields as they are written, turned into combinations: one for each direction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::CombinedTwoWay;
use super::read::factor;
use crate::contract::combine::{
    Combination, FromMinorUnits, FromUnit, Join, Pattern, Split, Template, ToMinorUnits, ToOffset, ToPage, ToUnit,
};
use crate::contract::compile::{Compiler, path};
use crate::contract::openapi::list;
use crate::contract::program::{Outward, Path};
use crate::contract::spec::{
    JoinSpec, MinorUnitsSpec, MoreParts, PagingSpec, PatternSpec, SideSpec, SplitSpec, UnitSpec,
};

type Combined = Option<CombinedTwoWay>;

pub(super) fn split(compiler: &mut Compiler<'_>, op: &SplitSpec, at: (u32, u32)) -> Combined {
    let parts = paths(&op.to);
    let (apart, together) = separated(compiler, parts.len(), &op.separator, op.more, at)?;
    Some(two_way(vec![path(&op.from)], parts, (apart, together), at))
}

pub(super) fn join(compiler: &mut Compiler<'_>, op: &JoinSpec, at: (u32, u32)) -> Combined {
    let parts = paths(&op.from);
    let (apart, together) = separated(compiler, parts.len(), &op.separator, op.more, at)?;
    Some(two_way(parts, vec![path(&op.to)], (together, apart), at))
}

type TwoRules = (Arc<dyn Combination>, Arc<dyn Combination>);

/// The way from one text to several, and the way from several to one.
fn separated(
    compiler: &mut Compiler<'_>,
    count: usize,
    separator: &str,
    more: MoreParts,
    at: (u32, u32),
) -> Option<TwoRules> {
    if count < 2 {
        compiler.mistake(
            at,
            "a text is split into fewer than two fields",
            "use `move` for one field",
        );
        return None;
    }
    if separator.is_empty() {
        compiler.mistake(
            at,
            "the separator is empty",
            "give the text between the parts: `separator: ' '`",
        );
        return None;
    }
    let separator: Box<str> = separator.into();
    let apart = Split {
        count,
        separator: separator.clone(),
        more,
    };
    Some((Arc::new(apart), Arc::new(Join { separator, more })))
}

pub(super) fn pattern(compiler: &mut Compiler<'_>, op: &PatternSpec, at: (u32, u32)) -> Combined {
    let mut mistakes = Vec::new();
    let mut read = |fields: &BTreeMap<String, String>| -> Vec<Template> {
        let templates = fields.values().map(|written| Template::parse(written, &op.parts));
        let (good, bad): (Vec<_>, Vec<_>) = templates.partition(Result::is_ok);
        mistakes.extend(bad.into_iter().filter_map(Result::err));
        good.into_iter().flatten().collect()
    };
    let (older, newer) = (read(&op.older), read(&op.newer));
    let parts = |templates: &[Template]| -> BTreeSet<String> {
        templates.iter().flat_map(Template::parts).map(str::to_owned).collect()
    };
    let (in_older, in_newer) = (parts(&older), parts(&newer));
    for mistake in &mistakes {
        let help = "write texts as 'A-{part}', and a regular expression for each part under `parts`";
        compiler.mistake(at, mistake.clone(), help);
    }
    if !mistakes.is_empty() {
        return None;
    }
    if older.is_empty() || newer.is_empty() {
        compiler.mistake(
            at,
            "a pattern without fields in one of the versions",
            "name fields under `older` and `newer`",
        );
        return None;
    }
    if in_older != in_newer {
        let alone: Vec<_> = in_older.symmetric_difference(&in_newer).map(String::as_str).collect();
        let message = format!("only one of the versions has the parts {}", list(alone));
        compiler.mistake(
            at,
            message,
            "each part stands in both versions, else there is no way back",
        );
        return None;
    }
    let (from, to) = (paths(op.older.keys()), paths(op.newer.keys()));
    let rule = |from: &[Template], to: &[Template]| {
        Arc::new(Pattern {
            from: from.to_vec(),
            to: to.to_vec(),
        })
    };
    Some(two_way(from, to, (rule(&older, &newer), rule(&newer, &older)), at))
}

pub(super) fn minor_units(op: &MinorUnitsSpec, at: (u32, u32)) -> CombinedTwoWay {
    let down = FromMinorUnits { form: op.older };
    let rules: TwoRules = (Arc::new(ToMinorUnits), Arc::new(down));
    let mut combined = two_way(vec![path(&op.from)], vec![path(&op.to)], rules, at);
    combined.seen = vec![Outward::parse(&op.currency)];
    combined
}

pub(super) fn unit(compiler: &mut Compiler<'_>, op: &UnitSpec, at: (u32, u32)) -> Combined {
    let mut factors = BTreeMap::new();
    for (code, written) in &op.factors {
        factors.insert(code.as_str().into(), factor(compiler, written, at)?);
    }
    let Some(back) = factors.get(op.back.as_str()).copied() else {
        let message = format!("`back` names `{}`, which has no factor", op.back);
        let help = format!("name one of {}", list(op.factors.keys().map(String::as_str)));
        compiler.mistake(at, message, help);
        return None;
    };
    let up = ToUnit {
        factors,
        round: op.round,
    };
    let down = FromUnit {
        factor: back.inverse(),
        unit: op.back.as_str().into(),
        round: op.round,
    };
    let from = vec![path(&op.from), path(&op.unit)];
    Some(two_way(from, vec![path(&op.to)], (Arc::new(up), Arc::new(down)), at))
}

pub(super) fn paging(compiler: &mut Compiler<'_>, op: &PagingSpec, at: (u32, u32)) -> Combined {
    if op.default == 0 {
        compiler.mistake(at, "pages of no items", "give the size of a page: `default: 20`");
        return None;
    }
    let Some(offset) = op.offset.as_ref().filter(|_| op.cursor.is_none()) else {
        let (message, help) = if op.cursor.is_some() {
            (
                "a page's number cannot become a cursor: a cursor only comes with the answer before it, and leads on from there",
                "let the version with cursors take an offset as well, or give the operation another operationId there; \
                 between two versions that page by cursors say `cursors` beside `query`",
            )
        } else {
            (
                "pages become nothing",
                "name the parameter that counts items: `offset: offset`",
            )
        };
        compiler.mistake(at, message, help);
        return None;
    };
    let pages = vec![path(&op.page), path(&op.size)];
    let offsets = vec![path(offset), path(&op.limit)];
    let (first, default) = (op.first.into(), op.default.into());
    let to_offset: Arc<dyn Combination> = Arc::new(ToOffset { first, default });
    let to_page: Arc<dyn Combination> = Arc::new(ToPage { first, default });
    Some(match op.pages {
        SideSpec::Older => two_way(pages, offsets, (to_offset, to_page), at),
        SideSpec::Newer => two_way(offsets, pages, (to_page, to_offset), at),
    })
}

fn two_way(from: Vec<Path>, to: Vec<Path>, (up, down): TwoRules, place: (u32, u32)) -> CombinedTwoWay {
    CombinedTwoWay {
        from,
        seen: Vec::new(),
        to,
        up,
        down,
        place,
    }
}

fn paths<'p>(written: impl IntoIterator<Item = &'p String>) -> Vec<Path> {
    written.into_iter().map(|written| path(written)).collect()
}
