//! What an object's keywords ask of its members, held against what the other side says of them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::conj::{Conj, count};
use super::super::regular::{Length, shortest};
use super::super::sample::{ITEM_LIMIT, fresh_name};
use super::super::side::child;
use super::super::types::Types;
use super::{Finding, Walk, Way};

impl Walk<'_> {
    /// Keywords of objects.
    pub(super) fn objects(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let sub = &sub.only(Types::OBJECT);
        let keywords = self.sup.keywords(part);
        self.required(sub, part, keywords)
            & self.widths(sub, part, keywords)
            & self.members(sub, part, keywords)
            & self.others(sub, part)
    }

    fn required(&mut self, sub: &Conj, part: &Arc<str>, keywords: &Map<String, Value>) -> bool {
        let required = sub.required(self.sub);
        let wanted = keywords.get("required").and_then(Value::as_array);
        let wanted: Vec<&str> = wanted.into_iter().flatten().filter_map(Value::as_str).collect();
        let missing: Vec<&str> = wanted.into_iter().filter(|name| !required.contains(*name)).collect();
        self.all(missing.iter(), |walk, name| {
            if walk.quiet > 0 {
                return false;
            }
            let sampler = walk.sampler();
            let values = (0..2).filter_map(|variant| sampler.object(sub, variant, 0, &[name]));
            let values = values.collect();
            // Named where it is missing, so that several of one object are told apart.
            let absent = Conj::new(walk.sub, &[], &sub.origin);
            walk.frames.push(super::Frame {
                around: sub.clone(),
                into: Way::Missing((*name).to_owned()),
            });
            let found = walk.find(&Finding {
                sub: &absent,
                part,
                keyword: "required",
                values,
                beyond: None,
                why: "no object was found that lacks it",
            });
            walk.frames.pop();
            found
        })
    }

    fn widths(&mut self, sub: &Conj, part: &Arc<str>, keywords: &Map<String, Value>) -> bool {
        let names = sub.names(self.sub);
        let least = sub
            .at_least(self.sub, "minProperties")
            .max(sub.required(self.sub).len() as u64);
        let declared = sub.at_most(self.sub, "maxProperties");
        let has_patterns = sub
            .parts
            .iter()
            .any(|part| self.sub.patterns_of_names(part).next().is_some());
        let is_closed = !has_patterns && sub.others(self.sub).is_never();
        let closed = is_closed.then(|| {
            names
                .iter()
                .filter(|name| !sub.member(self.sub, name).is_never())
                .count() as u64
        });
        let most = declared.into_iter().chain(closed).min();
        let limit = |keyword: &str| keywords.get(keyword).and_then(count);
        let mut holds = true;
        for (keyword, is_met) in [
            (
                "minProperties",
                limit("minProperties").is_none_or(|limit| least >= limit),
            ),
            (
                "maxProperties",
                limit("maxProperties").is_none_or(|limit| most.is_some_and(|most| most <= limit)),
            ),
        ] {
            if is_met {
                continue;
            }
            let count = match limit(keyword) {
                Some(limit) if keyword == "maxProperties" => limit.saturating_add(1),
                _ => least,
            };
            let sampler = self.sampler();
            let wide = |variant| sampler.wide(sub, count, variant, 0, &[]);
            let values = if self.quiet > 0 || count > ITEM_LIMIT {
                Vec::new()
            } else {
                (0..2).filter_map(wide).collect()
            };
            holds &= self.find(&Finding {
                sub,
                part,
                keyword,
                values,
                beyond: None,
                why: &format!("no object was found that shows whether `{keyword}` is met"),
            });
        }
        holds
    }

    /// Members with a schema of their own on the admitting side.
    fn members(&mut self, sub: &Conj, part: &Arc<str>, keywords: &Map<String, Value>) -> bool {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flat_map(Map::keys);
        let mut holds = self.all(properties, |walk, name| {
            let member = sub.member(walk.sub, name);
            let schema = child(part, "properties", name);
            walk.within_part(sub, Way::Member(name.clone()), &member, &schema)
        });
        let patterns: Vec<String> = self.sup.patterns_of_names(part).map(str::to_owned).collect();
        for pattern in patterns {
            holds &= self.patterned(sub, part, &pattern);
        }
        holds
    }

    /// Members whose name matches a pattern of the admitting side.
    fn patterned(&mut self, sub: &Conj, part: &Arc<str>, pattern: &str) -> bool {
        let schema = child(part, "patternProperties", pattern);
        let Some(mut automaton) = self.sup.automaton(pattern) else {
            return self.doubt(
                sub,
                part,
                "patternProperties",
                "a pattern of names is no regular expression",
            );
        };
        let mut holds = true;
        let names = sub.names(self.sub);
        for name in names.iter().chain(&sub.required(self.sub)) {
            if automaton.matches(name) != Ok(false) {
                let member = sub.member(self.sub, name);
                holds &= self.within_part(sub, Way::Member(name.clone()), &member, &schema);
            }
        }
        let own: Vec<_> = sub
            .parts
            .iter()
            .flat_map(|part| {
                self.sub
                    .patterns_of_names(part)
                    .map(|pattern| (part.clone(), pattern.to_owned()))
            })
            .collect();
        // A name of this pattern that matches the same one there follows what that says.
        let same = own.iter().filter(|(_, other)| other == pattern);
        let same: Vec<_> = same
            .map(|(part, other)| child(part, "patternProperties", other))
            .collect();
        let any = if same.is_empty() {
            // It may match any of the others alone, or none of them.
            for (part, other) in &own {
                let theirs = self.sub.automaton(other).into_iter();
                let mut both: Vec<_> = theirs.chain([automaton.clone()]).collect();
                let name = match shortest(&mut both, None, Length::default(), self.deadline) {
                    Ok(None) => continue,
                    Ok(Some(name)) => name,
                    Err(_) => fresh_name(0),
                };
                let one = child(part, "patternProperties", other);
                let one = Conj::new(self.sub, &[one], &sub.origin);
                holds &= self.within_part(sub, Way::Any(name), &one, &schema);
            }
            sub.others(self.sub)
        } else {
            Conj::new(self.sub, &same, &sub.origin)
        };
        let name = shortest(&mut [automaton], None, Length::default(), self.deadline);
        let name = name.ok().flatten().unwrap_or_else(|| fresh_name(0));
        holds & self.within_part(sub, Way::Any(name), &any, &schema)
    }

    /// Members that the admitting side does not name.
    fn others(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let Some(others) = self.sup.others(part) else {
            return true;
        };
        let mut names = sub.names(self.sub);
        names.extend(sub.required(self.sub));
        let mut holds = true;
        for name in &names {
            let mut known = others.named_by.iter().map(|part| self.sup.named(part, name));
            if known.any(|schemas| schemas.is_some_and(|schemas| !schemas.is_empty())) {
                continue;
            }
            let member = sub.member(self.sub, name);
            holds &= self.within_part(sub, Way::Member(name.clone()), &member, &others.schema);
            if !holds && self.quiet > 0 {
                return false;
            }
        }
        let has_pattern = |pattern: &str| {
            let mut own = others.named_by.iter().flat_map(|part| self.sup.patterns_of_names(part));
            own.any(|other| other == pattern)
        };
        let patterns: Vec<_> = sub
            .parts
            .iter()
            .flat_map(|own| {
                self.sub
                    .patterns_of_names(own)
                    .map(|pattern| (own.clone(), pattern.to_owned()))
            })
            .filter(|(_, pattern)| !has_pattern(pattern))
            .collect();
        for (own, pattern) in patterns {
            let schema = child(&own, "patternProperties", &pattern);
            let member = Conj::new(self.sub, &[schema], &own);
            let name = self.sub.automaton(&pattern);
            let name =
                name.and_then(|automaton| shortest(&mut [automaton], None, Length::default(), self.deadline).ok()?);
            let name = name.unwrap_or_else(|| fresh_name(0));
            holds &= self.within_part(sub, Way::Any(name), &member, &others.schema);
        }
        let member = sub.others(self.sub);
        let is_free = |name: &String| {
            !names.contains(name)
                && others
                    .named_by
                    .iter()
                    .all(|part| self.sup.named(part, name).is_some_and(|named| named.is_empty()))
        };
        let name = (0..100).map(fresh_name).find(is_free).unwrap_or_default();
        holds & self.within_part(sub, Way::Any(name), &member, &others.schema)
    }
}
