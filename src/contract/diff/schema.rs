//! Where two schemas are written differently: each difference with the keywords that decide what it means.
//!
//! Both are walked as they are written, references and `allOf` followed. Nothing is judged here.

mod keywords;

use std::collections::BTreeSet;

use serde_json::Value;

use super::Impact;
use crate::contract::containment::member_place;
use crate::contract::openapi::{OpenApi, push_token};

/// Differences that are listed for one pair of schemas.
const EDIT_LIMIT: usize = 1_000;

/// Pairs of schemas that are walked below one pair; what is refused further on is told without an explanation.
const STEP_LIMIT: usize = 2_000;

/// How deep schemas are followed.
const DEPTH_LIMIT: usize = 48;

/// One thing that is written differently.
pub(super) struct Edit {
    /// The rule's name, but for whose body it is: `max-length-lowered`.
    pub(super) rule: String,
    /// Where in the value: `lines[].uom`; empty for the whole value.
    pub(super) at: String,
    /// Whether it can narrow or widen what is admitted.
    pub(super) effect: Effect,
    /// Keywords whose refusal at that place it explains; empty for any of them, there and below.
    pub(super) keywords: &'static [&'static str],
    /// What it means where something sent is refused, and where something received is new.
    pub(super) refuted: [Impact; 2],
    /// What it means where nothing is.
    pub(super) unrefuted: [Impact; 2],
    /// What changed.
    pub(super) what: String,
    pub(super) older: Option<String>,
    pub(super) newer: Option<String>,
}

/// What an edit can do to what a schema admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Narrows,
    Widens,
    Either,
    /// It is not about what is admitted.
    None,
}

/// All differences between the schemas at two pointers, at most so many that people still read them.
pub(super) fn edits(older: &OpenApi, newer: &OpenApi, old: &str, new: &str) -> Vec<Edit> {
    let mut walk = Walk {
        older,
        newer,
        open: Vec::new(),
        steps: 0,
        edits: Vec::new(),
    };
    walk.schemas(old, new, "");
    walk.edits
}

struct Walk<'a> {
    older: &'a OpenApi,
    newer: &'a OpenApi,
    open: Vec<(String, String)>,
    steps: usize,
    edits: Vec<Edit>,
}

/// Names of members that were removed and are not to come back as something else: a list in the object's schema.
const RESERVED: &str = "x-reserved";

const SEVERE: [Impact; 2] = [Impact::Breaking; 2];
const HARMLESS: [Impact; 2] = [Impact::Safe; 2];

impl Walk<'_> {
    fn schemas(&mut self, old: &str, new: &str, at: &str) {
        let (Some(old), Some(new)) = (self.older.resolve(old), self.newer.resolve(new)) else {
            return;
        };
        let pair = (old, new);
        self.steps += 1;
        let is_long = self.steps > STEP_LIMIT || self.edits.len() > EDIT_LIMIT;
        if self.open.contains(&pair) || self.open.len() > DEPTH_LIMIT || is_long {
            return;
        }
        let (old, new) = (pair.0.clone(), pair.1.clone());
        self.open.push(pair);
        if self.types(&old, &new, at) {
            self.keywords(&old, &new, at);
        }
        self.open.pop();
    }

    fn keywords(&mut self, old: &str, new: &str, at: &str) {
        self.values(old, new, at);
        self.bounds(old, new, at);
        self.others(old, new, at);
        self.words(old, new, at);
        self.members(old, new, at);
        self.items(old, new, at);
        for keyword in ["oneOf", "anyOf"] {
            self.branches(old, new, at, keyword);
        }
        self.discriminator(old, new, at);
    }

    /// Compares the types. False if they have nothing in common: then nothing below can be compared.
    fn types(&mut self, old: &str, new: &str, at: &str) -> bool {
        let (own, its) = (type_names(self.older, old), type_names(self.newer, new));
        if own == its {
            return true;
        }
        let null = BTreeSet::from(["null".to_owned()]);
        let gained_null = its.is_superset(&own) && its.difference(&own).eq(&null) && !own.is_empty();
        let lost_null = own.is_superset(&its) && own.difference(&its).eq(&null) && !its.is_empty();
        let (rule, effect, what) = if gained_null {
            ("became-nullable", Effect::Widens, "may be null now".to_owned())
        } else if lost_null {
            (
                "became-not-nullable",
                Effect::Narrows,
                "may no longer be null".to_owned(),
            )
        } else {
            let say = |names: &BTreeSet<String>| match names.len() {
                0 => "of any type".to_owned(),
                _ => names.iter().cloned().collect::<Vec<_>>().join(" or "),
            };
            let what = format!("is {} now, before {}", say(&its), say(&own));
            ("type-changed", Effect::Either, what)
        };
        self.push(
            rule,
            at,
            effect,
            &["type", "enum", "const", "false"],
            what,
            (old, new),
            "type",
        );
        let is_number = |names: &BTreeSet<String>| names.contains("integer") || names.contains("number");
        own.is_empty() || its.is_empty() || !own.is_disjoint(&its) || (is_number(&own) && is_number(&its))
    }

    fn members(&mut self, old: &str, new: &str, at: &str) {
        let (own, its) = (self.older.properties(old), self.newer.properties(new));
        let (had, has) = (self.older.required(old), self.newer.required(new));
        for (name, schema) in &own {
            let place = member_place(at, name);
            let Some(newer) = its.get(name) else {
                self.edits.push(Edit {
                    rule: "property-removed".to_owned(),
                    at: place,
                    effect: Effect::Either,
                    keywords: &[],
                    // Where it always came, it is missed.
                    refuted: [
                        Impact::Breaking,
                        if had.contains(name) {
                            Impact::Breaking
                        } else {
                            Impact::Risky
                        },
                    ],
                    // What is no longer described is no longer looked at, and no longer comes.
                    unrefuted: [Impact::Risky; 2],
                    what: "was removed".to_owned(),
                    older: Some(schema.clone()),
                    newer: Some(new.to_owned()),
                });
                continue;
            };
            let pointers = (schema.as_str(), newer.as_str());
            match (had.contains(name), has.contains(name)) {
                (false, true) => {
                    let what = "became required".to_owned();
                    self.push(
                        "property-became-required",
                        &place,
                        Effect::Narrows,
                        &["required"],
                        what,
                        pointers,
                        "",
                    );
                }
                (true, false) => {
                    let what = "became optional".to_owned();
                    self.push(
                        "property-became-optional",
                        &place,
                        Effect::Widens,
                        &["required"],
                        what,
                        pointers,
                        "",
                    );
                }
                _ => {}
            }
            self.schemas(schema, newer, &place);
        }
        let (was_reserved, is_reserved) = (reserved(self.older, old), reserved(self.newer, new));
        for (name, schema) in its.iter().filter(|(name, _)| !own.contains_key(*name)) {
            let place = member_place(at, name);
            let (rule, what, refuted) = if was_reserved.union(&is_reserved).any(|reserved| reserved == name) {
                let what = "was added, though `x-reserved` says that its name is not to be used again";
                ("reserved-name-used", what.to_owned(), SEVERE)
            } else if has.contains(name) {
                let what = "was added and is required".to_owned();
                ("required-property-added", what, [Impact::Breaking, Impact::Risky])
            } else {
                ("property-added", "was added".to_owned(), [Impact::Risky; 2])
            };
            let unrefuted = if rule == "reserved-name-used" { SEVERE } else { HARMLESS };
            self.edits.push(Edit {
                rule: rule.to_owned(),
                at: place,
                effect: Effect::Either,
                keywords: &[],
                refuted,
                unrefuted,
                what,
                older: Some(old.to_owned()),
                newer: Some(schema.clone()),
            });
        }
        for name in was_reserved.difference(&is_reserved) {
            let what = "may be used again: `x-reserved` no longer names it".to_owned();
            let place = member_place(at, name);
            self.word(
                "reservation-removed",
                &place,
                [Impact::Risky; 2],
                what,
                (old, new),
                RESERVED,
            );
        }
        self.additional(old, new, at);
    }

    /// Members that are not named.
    fn additional(&mut self, old: &str, new: &str, at: &str) {
        let (was_closed, is_closed) = (self.older.is_closed(old), self.newer.is_closed(new));
        let place = if at.is_empty() {
            "*".to_owned()
        } else {
            format!("{at}.*")
        };
        if !was_closed && is_closed {
            let what = "are no longer allowed: members that are not described".to_owned();
            self.push(
                "additional-properties-closed",
                &place,
                Effect::Narrows,
                &[],
                what,
                (old, new),
                "additionalProperties",
            );
        } else if was_closed && !is_closed {
            let what = "are allowed now: members that are not described".to_owned();
            self.push(
                "additional-properties-opened",
                &place,
                Effect::Widens,
                &[],
                what,
                (old, new),
                "additionalProperties",
            );
            if let Some(edit) = self.edits.last_mut() {
                edit.refuted[1] = Impact::Risky;
            }
        }
        match (self.older.additional(old), self.newer.additional(new)) {
            (Some(own), Some(its)) => self.schemas(&own, &its, &place),
            (None, None) => {}
            (own, its) if was_closed == is_closed => {
                let rule = if its.is_some() {
                    "additional-properties-set"
                } else {
                    "additional-properties-removed"
                };
                let effect = if its.is_some() { Effect::Narrows } else { Effect::Widens };
                let what = "follow another schema: members that are not described".to_owned();
                let (own, its) = (
                    own.unwrap_or_else(|| old.to_owned()),
                    its.unwrap_or_else(|| new.to_owned()),
                );
                self.push(rule, &place, effect, &[], what, (&own, &its), "");
            }
            _ => {}
        }
    }

    fn items(&mut self, old: &str, new: &str, at: &str) {
        let prefix = |document: &OpenApi, pointer: &str| -> Vec<String> {
            let Some((Value::Array(listed), part)) = find(document, pointer, "prefixItems") else {
                return Vec::new();
            };
            (0..listed.len())
                .map(|position| format!("{part}/prefixItems/{position}"))
                .collect()
        };
        let (own, its) = (prefix(self.older, old), prefix(self.newer, new));
        for (position, (own, its)) in own.iter().zip(&its).enumerate() {
            self.schemas(own, its, &format!("{at}[{position}]"));
        }
        if own.len() != its.len() {
            let what = format!(
                "has {} items with a schema of their own, before {}",
                its.len(),
                own.len()
            );
            self.push(
                "prefix-items-changed",
                at,
                Effect::Either,
                &[],
                what,
                (old, new),
                "prefixItems",
            );
        }
        let place = format!("{at}[]");
        match (self.older.items(old), self.newer.items(new)) {
            (Some(own), Some(its)) => self.schemas(&own, &its, &place),
            (None, Some(its)) => {
                let what = "follow a schema now".to_owned();
                self.push("items-set", &place, Effect::Narrows, &[], what, (old, &its), "");
            }
            (Some(own), None) => {
                let what = "follow no schema any more".to_owned();
                self.push("items-removed", &place, Effect::Widens, &[], what, (&own, new), "");
            }
            (None, None) => {}
        }
    }

    /// Branches of a choice, matched by the name they lead to or what they say, else in their order.
    fn branches(&mut self, old: &str, new: &str, at: &str, keyword: &str) {
        let mut own = choices(self.older, old, keyword);
        let mut its = choices(self.newer, new, keyword);
        let rule = if keyword == "oneOf" { "one-of" } else { "any-of" };
        let had_none = own.is_empty();
        let mut pairs = Vec::new();
        own.retain(|branch| {
            let same = its.iter().position(|other| other.name == branch.name);
            let same = same.map(|position| its.remove(position));
            let is_gone = same.is_none();
            pairs.extend(same.map(|other| (branch.pointer.clone(), other.pointer)));
            is_gone
        });
        if own.len() == its.len() {
            let both = own.drain(..).zip(its.drain(..));
            pairs.extend(both.map(|(own, its)| (own.pointer, its.pointer)));
        }
        for (own, its) in pairs {
            self.schemas(&own, &its, at);
        }
        for branch in own {
            let what = format!("lost the branch {} of `{keyword}`", branch.label);
            let rule = format!("{rule}-branch-removed");
            self.push(&rule, at, Effect::Narrows, &[], what, (&branch.pointer, new), "");
        }
        for branch in its {
            let what = format!("gained the branch {} of `{keyword}`", branch.label);
            let rule = format!("{rule}-branch-added");
            // Another branch may also make two of `oneOf` fit at once, or be the first there is.
            let can_refuse = had_none || keyword == "oneOf";
            let effect = if can_refuse { Effect::Either } else { Effect::Widens };
            self.push(&rule, at, effect, &[], what, (old, &branch.pointer), "");
        }
    }

    /// An edit of a keyword that decides what is admitted.
    #[expect(clippy::too_many_arguments, reason = "each edit is one row of a table")]
    fn push(
        &mut self,
        rule: &str,
        at: &str,
        effect: Effect,
        keywords: &'static [&'static str],
        what: String,
        pointers: (&str, &str),
        keyword: &str,
    ) {
        self.edits.push(Edit {
            rule: rule.to_owned(),
            at: at.to_owned(),
            effect,
            keywords,
            refuted: SEVERE,
            unrefuted: HARMLESS,
            what,
            older: Some(written(self.older, pointers.0, keyword)),
            newer: Some(written(self.newer, pointers.1, keyword)),
        });
    }

    /// An edit that refuses nothing.
    fn word(&mut self, rule: &str, at: &str, impact: [Impact; 2], what: String, pointers: (&str, &str), keyword: &str) {
        self.push(rule, at, Effect::None, &[], what, pointers, keyword);
        if let Some(edit) = self.edits.last_mut() {
            edit.unrefuted = impact;
        }
    }
}

/// Where a keyword stands, or the schema that lacks it.
fn written(document: &OpenApi, pointer: &str, keyword: &str) -> String {
    match find(document, pointer, keyword) {
        Some((_, part)) if !keyword.is_empty() => format!("{part}/{keyword}"),
        _ => pointer.to_owned(),
    }
}

/// A keyword of a schema or of what it is made of, and the pointer of the part that has it.
fn find<'a>(document: &'a OpenApi, pointer: &str, keyword: &str) -> Option<(&'a Value, String)> {
    let parts = document.parts(pointer);
    parts
        .into_iter()
        .find_map(|part| Some((document.at(&part).get(keyword)?, part)))
}

/// The names that `x-reserved` of a schema, or of what it is made of, lists.
fn reserved(document: &OpenApi, pointer: &str) -> BTreeSet<String> {
    let parts = document.parts(pointer).into_iter();
    let lists = parts.filter_map(|part| document.at(&part).get(RESERVED)?.as_array().cloned());
    lists
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn type_names(document: &OpenApi, pointer: &str) -> BTreeSet<String> {
    match find(document, pointer, "type") {
        Some((Value::Array(names), _)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some((Value::String(name), _)) => BTreeSet::from([name.clone()]),
        _ => BTreeSet::new(),
    }
}

/// A branch of a choice.
struct Branch {
    /// What it leads to, or says.
    name: String,
    /// For people.
    label: String,
    pointer: String,
}

fn choices(document: &OpenApi, pointer: &str, keyword: &str) -> Vec<Branch> {
    let Some((Value::Array(branches), part)) = find(document, pointer, keyword) else {
        return Vec::new();
    };
    let branch = |(position, branch): (usize, &Value)| {
        let title = branch["$ref"].as_str().or(branch["title"].as_str());
        let label = title.and_then(|title| title.rsplit('/').next());
        Branch {
            name: title.map_or_else(|| branch.to_string(), str::to_owned),
            label: label.map_or_else(|| format!("number {}", position + 1), |label| format!("`{label}`")),
            pointer: format!("{part}/{keyword}/{position}"),
        }
    };
    branches.iter().enumerate().map(branch).collect()
}

/// Values as people read them.
fn quoted(values: &[Value]) -> String {
    let shown: Vec<String> = values.iter().take(8).map(short).collect();
    let more = values.len().saturating_sub(shown.len());
    let shown = shown.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// A value as people read it: texts bare, long ones cut.
pub(super) fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= 80 {
        return format!("`{text}`");
    }
    let cut: String = text.chars().take(77).collect();
    format!("`{cut}…`")
}

/// Adds a token to a pointer.
pub(super) fn under(pointer: &str, token: &str) -> String {
    let mut pointer = pointer.to_owned();
    push_token(&mut pointer, token);
    pointer
}
