//! Keywords that two schemas write differently: lists, bounds, patterns, and what is only said.

use serde_json::{Map, Value};

use super::{Effect, HARMLESS, SEVERE, Walk, find, quoted, short};
use crate::contract::diff::Impact;
use crate::contract::openapi::OpenApi;
use crate::json::Decimal;

/// Keywords with a number above which, or below which, values are refused.
const BOUNDS: [(&str, &str, bool); 10] = [
    ("minLength", "min-length", false),
    ("maxLength", "max-length", true),
    ("minimum", "minimum", false),
    ("exclusiveMinimum", "exclusive-minimum", false),
    ("maximum", "maximum", true),
    ("exclusiveMaximum", "exclusive-maximum", true),
    ("minItems", "min-items", false),
    ("maxItems", "max-items", true),
    ("minProperties", "min-properties", false),
    ("maxProperties", "max-properties", true),
];

/// Keywords that are the same or not: the rule, the keywords that say it together, and those whose refusal it explains
/// (none: any of them, there and below).
const OTHERS: [(&str, &[&str], &[&str]); 12] = [
    ("pattern", &["pattern"], &["pattern"]),
    ("format", &["format"], &["format"]),
    ("multiple-of", &["multipleOf"], &["multipleOf"]),
    ("unique-items", &["uniqueItems"], &["uniqueItems"]),
    ("not", &["not"], &["not"]),
    ("condition", &["if", "then", "else"], &["if"]),
    ("contains", &["contains", "minContains", "maxContains"], &["contains"]),
    ("property-names", &["propertyNames"], &["propertyNames"]),
    ("pattern-properties", &["patternProperties"], &[]),
    (
        "dependencies",
        &["dependentRequired", "dependentSchemas"],
        &["dependentRequired", "dependentSchemas"],
    ),
    ("unevaluated-items", &["unevaluatedItems"], &[]),
    ("unevaluated-properties", &["unevaluatedProperties"], &[]),
];

impl Walk<'_> {
    /// `enum` and `const`.
    pub(super) fn values(&mut self, old: &str, new: &str, at: &str) {
        let own = listed(self.older, old);
        let its = listed(self.newer, new);
        let keywords = &["enum", "const", "type"];
        match (own, its) {
            (None, Some(its)) => {
                let what = format!("is one of {} now", quoted(&its));
                self.push("became-enum", at, Effect::Narrows, keywords, what, (old, new), "enum");
            }
            (Some(own), None) => {
                let what = format!("is no longer one of {} alone", quoted(&own));
                self.push("enum-opened", at, Effect::Widens, &[], what, (old, new), "enum");
                self.soften_if_extensible(old, new);
            }
            (Some(own), Some(its)) => {
                let lost: Vec<_> = own.iter().filter(|value| !its.contains(value)).cloned().collect();
                let gained: Vec<_> = its.iter().filter(|value| !own.contains(value)).cloned().collect();
                if !lost.is_empty() {
                    let what = format!("lost {}", quoted(&lost));
                    self.push(
                        "enum-value-removed",
                        at,
                        Effect::Narrows,
                        keywords,
                        what,
                        (old, new),
                        "enum",
                    );
                }
                if !gained.is_empty() {
                    let what = format!("gained {}", quoted(&gained));
                    self.push(
                        "enum-value-added",
                        at,
                        Effect::Widens,
                        keywords,
                        what,
                        (old, new),
                        "enum",
                    );
                    self.soften_if_extensible(old, new);
                }
            }
            (None, None) => {}
        }
    }

    /// A list of values that says it may grow: readers were told.
    fn soften_if_extensible(&mut self, old: &str, new: &str) {
        let is_told = |value: Option<(&Value, String)>| value.is_some_and(|(value, _)| *value != Value::Bool(false));
        let keyword = "x-extensible-enum";
        let is_extensible = is_told(find(self.older, old, keyword)) || is_told(find(self.newer, new, keyword));
        if let Some(edit) = self.edits.last_mut().filter(|_| is_extensible) {
            edit.refuted[1] = Impact::Safe;
        }
    }

    pub(super) fn bounds(&mut self, old: &str, new: &str, at: &str) {
        for (keyword, rule, is_upper) in BOUNDS {
            let own = find(self.older, old, keyword).map(|(value, _)| value.clone());
            let its = find(self.newer, new, keyword).map(|(value, _)| value.clone());
            let (verb, effect, what) = match (own, its) {
                (None, Some(its)) => ("set", Effect::Narrows, format!("has a `{keyword}` of {its} now")),
                (Some(own), None) => (
                    "removed",
                    Effect::Widens,
                    format!("has no `{keyword}` any more, before {own}"),
                ),
                (Some(own), Some(its)) => {
                    let (from, to) = (own.to_string(), its.to_string());
                    let order = Decimal::parse(&from)
                        .zip(Decimal::parse(&to))
                        .map(|(from, to)| from.cmp(&to));
                    let Some(order) = order.filter(|order| order.is_ne()) else {
                        continue;
                    };
                    let verb = if order.is_gt() { "lowered" } else { "raised" };
                    let effect = if order.is_gt() == is_upper {
                        Effect::Narrows
                    } else {
                        Effect::Widens
                    };
                    (verb, effect, format!("has a `{keyword}` of {its} now, before {own}"))
                }
                (None, None) => continue,
            };
            // Where one bound takes another's place, either may be the one that refuses.
            self.push(
                &format!("{rule}-{verb}"),
                at,
                effect,
                bound_keywords(keyword),
                what,
                (old, new),
                keyword,
            );
        }
    }

    pub(super) fn others(&mut self, old: &str, new: &str, at: &str) {
        for (rule, together, keywords) in OTHERS {
            let own = said(self.older, old, together);
            let its = said(self.newer, new, together);
            let is_closing = |said: &Map<String, Value>| said.get("unevaluatedProperties") == Some(&Value::Bool(false));
            if own == its || is_closing(&own) || is_closing(&its) {
                // What closes an object is told with its other members.
                continue;
            }
            let changed = together.iter().find(|keyword| own.get(**keyword) != its.get(**keyword));
            let keyword = changed.copied().unwrap_or(together[0]);
            let (verb, effect, what) = if own.is_empty() {
                ("set", Effect::Narrows, format!("has the {} now", spoken(&its)))
            } else if its.is_empty() {
                ("removed", Effect::Widens, format!("has no {} any more", spoken(&own)))
            } else {
                let what = format!("has another {}, before {}", spoken(&its), spoken(&own));
                ("changed", Effect::Either, what)
            };
            self.push(
                &format!("{rule}-{verb}"),
                at,
                effect,
                keywords,
                what,
                (old, new),
                keyword,
            );
        }
    }

    /// Keywords that say something about a value, and refuse none.
    pub(super) fn words(&mut self, old: &str, new: &str, at: &str) {
        for (keyword, rule) in [
            ("contentEncoding", "content-encoding"),
            ("contentMediaType", "content-media-type"),
        ] {
            let (own, its) = (find(self.older, old, keyword), find(self.newer, new, keyword));
            if own.as_ref().map(|own| own.0) != its.as_ref().map(|its| its.0) {
                let what = format!("has another `{keyword}`");
                self.word(
                    &format!("{rule}-changed"),
                    at,
                    [Impact::Breaking; 2],
                    what,
                    (old, new),
                    keyword,
                );
            }
        }
        let own = find(self.older, old, "default").map(|(value, _)| value.clone());
        let its = find(self.newer, new, "default").map(|(value, _)| value.clone());
        let (verb, impact, what) = match (own, its) {
            (Some(own), Some(its)) if own != its => {
                let what = format!("is {} by default now, before {}", short(&its), short(&own));
                ("changed", Impact::Breaking, what)
            }
            (None, Some(its)) => ("set", Impact::Risky, format!("is {} by default now", short(&its))),
            (Some(own), None) => (
                "removed",
                Impact::Risky,
                format!("is no longer {} by default", short(&own)),
            ),
            _ => ("", Impact::Safe, String::new()),
        };
        if !verb.is_empty() {
            self.word(
                &format!("default-{verb}"),
                at,
                [impact, Impact::Safe],
                what,
                (old, new),
                "default",
            );
        }
        for (keyword, rule, set) in [
            ("readOnly", "read-only", [Impact::Risky, Impact::Safe]),
            ("writeOnly", "write-only", [Impact::Safe, Impact::Risky]),
            ("deprecated", "deprecated", HARMLESS),
        ] {
            let is = |found: Option<(&Value, String)>| found.is_some_and(|(value, _)| *value == Value::Bool(true));
            let was = is(find(self.older, old, keyword));
            let is_now = is(find(self.newer, new, keyword));
            if was != is_now {
                let (verb, impact) = if is_now {
                    ("became", set)
                } else {
                    ("no-longer", HARMLESS)
                };
                let what = match verb {
                    "became" => format!("became `{keyword}`"),
                    _ => format!("is no longer `{keyword}`"),
                };
                self.word(&format!("{verb}-{rule}"), at, impact, what, (old, new), keyword);
            }
        }
    }

    pub(super) fn discriminator(&mut self, old: &str, new: &str, at: &str) {
        let own = find(self.older, old, "discriminator").map(|(value, _)| value.clone());
        let its = find(self.newer, new, "discriminator").map(|(value, _)| value.clone());
        if own == its {
            return;
        }
        let empty = Map::new();
        let mapping = |value: &Value| value["mapping"].as_object().unwrap_or(&empty).clone();
        let grew = own.as_ref().zip(its.as_ref()).is_some_and(|(own, its)| {
            own["propertyName"] == its["propertyName"]
                && mapping(own).iter().all(|(name, to)| mapping(its).get(name) == Some(to))
        });
        let (rule, impact) = match (&own, &its) {
            (None, _) => ("discriminator-set", [Impact::Risky; 2]),
            (_, None) => ("discriminator-removed", [Impact::Risky; 2]),
            _ if grew => ("discriminator-mapping-added", [Impact::Safe, Impact::Risky]),
            _ => ("discriminator-changed", SEVERE),
        };
        let say = |value: &Option<Value>| value.as_ref().map_or("none".to_owned(), short);
        let what = format!("has another discriminator: {}, before {}", say(&its), say(&own));
        self.word(rule, at, impact, what, (old, new), "discriminator");
    }
}

fn listed(document: &OpenApi, pointer: &str) -> Option<Vec<Value>> {
    match find(document, pointer, "enum") {
        Some((Value::Array(values), _)) => Some(values.clone()),
        _ => find(document, pointer, "const").map(|(value, _)| vec![value.clone()]),
    }
}

/// Those of some keywords that a schema says.
fn said(document: &OpenApi, pointer: &str, keywords: &[&str]) -> Map<String, Value> {
    let said = keywords.iter().filter_map(|keyword| {
        let (value, _) = find(document, pointer, keyword)?;
        Some(((*keyword).to_owned(), value.clone()))
    });
    said.collect()
}

/// Keywords and what they say, for people.
fn spoken(said: &Map<String, Value>) -> String {
    let said: Vec<_> = said
        .iter()
        .map(|(keyword, value)| format!("`{keyword}` {}", short(value)))
        .collect();
    said.join(" with ")
}

fn bound_keywords(keyword: &str) -> &'static [&'static str] {
    match keyword {
        "minLength" => &["minLength"],
        "maxLength" => &["maxLength"],
        "minimum" => &["minimum", "exclusiveMinimum"],
        "exclusiveMinimum" => &["exclusiveMinimum", "minimum"],
        "maximum" => &["maximum", "exclusiveMaximum"],
        "exclusiveMaximum" => &["exclusiveMaximum", "maximum"],
        "minItems" => &["minItems"],
        "maxItems" => &["maxItems"],
        "minProperties" => &["minProperties"],
        _ => &["maxProperties"],
    }
}
