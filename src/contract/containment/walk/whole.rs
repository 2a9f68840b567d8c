//! Keywords that look at a value as a whole: conditions, dependencies, names of members, and what a list contains.
//!
//! Each is met where the other side says the same, or says enough; else a second opinion is asked. Where neither knows,
//! values are made up that would show the difference.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::conj::{Conj, count, has_plain_rest};
use super::super::same::has_same_keyword;
use super::super::sample::{Sampler, fresh_name};
use super::super::side::child;
use super::super::types::Types;
use super::{Finding, Walk, Way};

/// Keywords that mean something only together, the one that gives them their meaning first.
const GROUPS: [&[&str]; 9] = [
    &["if", "then", "else"],
    &["contains", "minContains", "maxContains"],
    &["propertyNames"],
    &["dependentRequired"],
    &["dependentSchemas"],
    &["dependencies"],
    &["unevaluatedItems"],
    &["$dynamicRef"],
    &["$recursiveRef"],
];

impl Walk<'_> {
    /// All keywords of a part that look at the value as a whole.
    pub(super) fn whole(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        let mut open: Vec<&str> = Vec::new();
        for group in GROUPS {
            let is_there = group.iter().any(|keyword| keywords.contains_key(*keyword));
            if is_there && !self.says_the_same(sub, part, group) && !self.is_met(sub, part, group[0]) {
                open.push(group[0]);
            }
        }
        if self.sup.others(part).is_none() && keywords.contains_key("unevaluatedProperties") {
            open.push("unevaluatedProperties");
        }
        if open.is_empty() || self.opinion(sub, part) {
            return true;
        }
        for keyword in open {
            let values = self.telling(sub, part, keyword);
            let why = format!("no value was found that shows whether `{keyword}` is met");
            self.find(&Finding {
                sub,
                part,
                keyword,
                values,
                beyond: None,
                why: &why,
            });
        }
        false
    }

    /// Whether one schema has all of these keywords as the other side has them.
    fn says_the_same(&self, sub: &Conj, part: &Arc<str>, group: &[&str]) -> bool {
        // What that one leaves over depends on the keywords around it.
        group[0] != "unevaluatedItems"
            && sub.parts.iter().any(|own| {
                let mut group = group.iter();
                group.all(|keyword| has_same_keyword((self.sub, own), (self.sup, part), keyword))
            })
    }

    fn is_met(&mut self, sub: &Conj, part: &Arc<str>, keyword: &str) -> bool {
        match keyword {
            "if" => self.condition(sub, part),
            "contains" => self.contents(&sub.only(Types::ARRAY), part),
            "propertyNames" => self.names_fit(&sub.only(Types::OBJECT), part),
            "dependentRequired" => self.lacking(&sub.only(Types::OBJECT), part).is_empty(),
            "dependentSchemas" => self.dependents(&sub.only(Types::OBJECT), part),
            // As `items`, where it is nothing else.
            "unevaluatedItems" => {
                !sub.types.meets(Types::ARRAY)
                    || has_plain_rest(self.sup, part)
                    || self.sup.keywords(part).contains_key("items")
            }
            _ => false,
        }
    }

    /// `if`: what meets it follows `then`, all else follows `else`.
    fn condition(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        if !keywords.contains_key("if") {
            return true;
        }
        let below = |part: &str, keyword: &str| -> Arc<str> { format!("{part}/{keyword}").into() };
        let (mut met, mut unmet) = (sub.clone(), sub.clone());
        // The same question on the other side: what it says then may be taken for granted.
        let is_same = |own: &&Arc<str>| has_same_keyword((self.sub, own), (self.sup, part), "if");
        for own in sub.parts.iter().filter(is_same) {
            met = met.and(self.sub, &below(own, "if"));
            let says = |keyword: &str| self.sub.keywords(own).contains_key(keyword);
            if says("then") {
                met = met.and(self.sub, &below(own, "then"));
            }
            if says("else") {
                unmet = unmet.and(self.sub, &below(own, "else"));
            }
        }
        let when = below(part, "if");
        let then = !keywords.contains_key("then") || self.holds(&met, &below(part, "then"));
        let otherwise = !keywords.contains_key("else") || self.holds(&unmet, &below(part, "else"));
        if then && (otherwise || self.holds(sub, &when)) {
            return true;
        }
        otherwise && self.is_apart(sub, &when, 0)
    }

    /// `contains`: enough items follow its schema, and not too many.
    fn contents(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        if sub.is_never() || !keywords.contains_key("contains") {
            return true;
        }
        let wanted: Arc<str> = format!("{part}/contains").into();
        let limit = |keyword: &str| keywords.get(keyword).and_then(count);
        let (least, most) = (limit("minContains").unwrap_or(1), limit("maxContains"));
        let items: Vec<Conj> = (0..=sub.prefix(self.sub)).map(|at| sub.item(self.sub, at)).collect();
        let own: Vec<Arc<str>> = sub
            .parts
            .iter()
            .filter(|own| self.sub.keywords(own).contains_key("contains"))
            .cloned()
            .collect();
        let own_limit = |own: &str, keyword: &str| self.sub.keywords(own).get(keyword).and_then(count);
        let is_few = most.is_none_or(|most| {
            let is_counted = |own: &Arc<str>| {
                own_limit(own, "maxContains").is_some_and(|its| its <= most)
                    && has_same_keyword((self.sub, own), (self.sup, part), "contains")
            };
            sub.at_most(self.sub, "maxItems").is_some_and(|its| its <= most)
                || own.iter().any(is_counted)
                || items.iter().all(|item| self.is_apart(item, &wanted, 0))
        });
        if !is_few {
            return false;
        }
        let enough: Vec<&Arc<str>> = own
            .iter()
            .filter(|own| own_limit(own, "minContains").unwrap_or(1) >= least)
            .collect();
        least == 0
            || enough.into_iter().any(|own| {
                let contained = Conj::new(self.sub, &[format!("{own}/contains").into()], &sub.origin);
                self.part_holds(sub, Way::Items(0), &contained, &wanted)
            })
            || (sub.at_least(self.sub, "minItems") >= least
                && items
                    .iter()
                    .all(|item| self.part_holds(sub, Way::Items(0), item, &wanted)))
    }

    /// `propertyNames`: every name that a member can have is admitted.
    fn names_fit(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let rule: Arc<str> = format!("{part}/propertyNames").into();
        if sub.is_never() || self.part_holds(sub, Way::Any(fresh_name(0)), &self.names_of(sub), &rule) {
            return true;
        }
        let mut patterns = sub.parts.iter().flat_map(|own| self.sub.patterns_of_names(own));
        if patterns.next().is_some() || !sub.others(self.sub).is_never() {
            return false;
        }
        let names = sub.names(self.sub).into_iter().chain(sub.required(self.sub));
        let mut possible = names.filter(|name| !sub.member(self.sub, name).is_never());
        possible.all(|name| self.sup.admits(&rule, &name.into()) == Some(true))
    }

    /// What the other side says of the names of members.
    fn names_of(&self, sub: &Conj) -> Conj {
        let has_rule = |own: &&Arc<str>| self.sub.keywords(own).contains_key("propertyNames");
        let rules = sub.parts.iter().filter(has_rule);
        let rules: Vec<Arc<str>> = rules.map(|own| format!("{own}/propertyNames").into()).collect();
        Conj::new(self.sub, &rules, &sub.origin).only(Types::STRING)
    }

    /// `dependentRequired`: members that may be there without another that has to be there then.
    fn lacking(&self, sub: &Conj, part: &Arc<str>) -> Vec<(String, String)> {
        let mut lacking = Vec::new();
        if sub.is_never() {
            return lacking;
        }
        for (name, wanted) in dependencies(self.sup.keywords(part)) {
            if sub.member(self.sub, name).is_never() {
                continue;
            }
            let mut present = sub.required(self.sub);
            present.insert(name.to_owned());
            // What follows from one name may bring further ones.
            loop {
                let own = sub.parts.iter().flat_map(|own| dependencies(self.sub.keywords(own)));
                let follow = own
                    .filter(|(name, _)| present.contains(*name))
                    .flat_map(|(_, names)| names);
                let more: BTreeSet<String> = follow
                    .map(str::to_owned)
                    .filter(|name| !present.contains(name))
                    .collect();
                if more.is_empty() {
                    break;
                }
                present.extend(more);
            }
            let missing = wanted.into_iter().filter(|wanted| !present.contains(*wanted));
            lacking.extend(missing.map(|missing| (name.to_owned(), missing.to_owned())));
        }
        lacking
    }

    /// `dependentSchemas`: objects that have a member follow its schema.
    fn dependents(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let schemas = self.sup.keywords(part).get("dependentSchemas");
        let schemas = schemas.and_then(Value::as_object);
        let mut names = schemas.into_iter().flat_map(Map::keys);
        sub.is_never()
            || names.all(|name| {
                let says = |own: &&Arc<str>| {
                    let own = self.sub.keywords(own).get("dependentSchemas");
                    own.is_some_and(|named| named.get(name).is_some())
                };
                let own = sub.parts.iter().filter(says);
                let with_own = own.fold(sub.clone(), |all, own| {
                    all.and(self.sub, &child(own, "dependentSchemas", name))
                });
                with_own.member(self.sub, name).is_never()
                    || self.holds(&with_own, &child(part, "dependentSchemas", name))
            })
    }

    /// The same question for a part of the value, without reporting anything.
    fn part_holds(&mut self, around: &Conj, into: Way, sub: &Conj, sup: &Arc<str>) -> bool {
        self.quiet += 1;
        let holds = self.within_part(around, into, sub, sup);
        self.quiet -= 1;
        holds
    }

    /// Values that might be refused by a keyword, the most telling first.
    fn telling(&self, sub: &Conj, part: &Arc<str>, keyword: &str) -> Vec<Value> {
        if self.quiet > 0 {
            return Vec::new();
        }
        let mut values = match keyword {
            "if" => self.meeting(sub, part),
            "contains" => self.lists(&sub.only(Types::ARRAY), part),
            "propertyNames" => self.oddly_named(&sub.only(Types::OBJECT), part),
            "dependentRequired" => {
                let lacking = self.lacking(&sub.only(Types::OBJECT), part);
                let with = lacking
                    .iter()
                    .flat_map(|(name, missing)| self.having(sub, name, &[missing]));
                with.collect()
            }
            "dependentSchemas" => {
                let named = self.sup.keywords(part).get(keyword).and_then(Value::as_object);
                let with = named.into_iter().flatten().flat_map(|(name, schema)| {
                    let wanted = strings(&schema["required"]);
                    let single = wanted.iter().map(std::slice::from_ref);
                    let without = [wanted.as_slice()].into_iter().chain(single);
                    without
                        .flat_map(|without| self.having(sub, name, without))
                        .collect::<Vec<_>>()
                });
                with.collect()
            }
            _ => Vec::new(),
        };
        values.extend(self.samples(sub));
        let mut seen: Vec<Value> = Vec::new();
        values.retain(|value| {
            let is_new = !seen.contains(value);
            seen.push(value.clone());
            is_new && self.sup.admits(part, value) == Some(false)
        });
        values
    }

    /// Values that meet a condition, and as little else as they may.
    fn meeting(&self, sub: &Conj, part: &Arc<str>) -> Vec<Value> {
        let when: Arc<str> = format!("{part}/if").into();
        let sampler = Sampler {
            side: self.sup,
            deadline: self.deadline,
        };
        let asked = Conj::new(self.sup, &[when], part);
        let then: Arc<str> = format!("{part}/then").into();
        let wanted = Conj::new(self.sup, &[then], part).required(self.sup);
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let mut values = Vec::new();
        for variant in 0..4 {
            let Some(meeting) = sampler.value(&asked.only(sub.types), variant | 1) else {
                continue;
            };
            let Value::Object(meeting) = meeting else {
                values.push(meeting);
                continue;
            };
            let single = wanted.iter().map(std::slice::from_ref);
            for without in [wanted.as_slice()].into_iter().chain(single).chain([[].as_slice()]) {
                let Some(Value::Object(mut members)) = self.sampler().object(sub, variant, 0, without) else {
                    continue;
                };
                members.extend(meeting.clone());
                values.push(members.into());
            }
        }
        values
    }

    /// Lists of telling lengths.
    fn lists(&self, sub: &Conj, part: &Arc<str>) -> Vec<Value> {
        let most = self.sup.keywords(part).get("maxContains").and_then(count);
        let least = sub.at_least(self.sub, "minItems");
        let lengths = [Some(least), Some(least.max(1)), most.map(|most| most.saturating_add(1))];
        let of_length = |length: u64| (0..3).filter_map(move |variant| self.sampler().list(sub, length, variant, 0));
        lengths.into_iter().flatten().flat_map(of_length).collect()
    }

    /// Objects with a member whose name is refused.
    fn oddly_named(&self, sub: &Conj, part: &Arc<str>) -> Vec<Value> {
        let rule: Arc<str> = format!("{part}/propertyNames").into();
        let mut names: Vec<String> = sub.names(self.sub).into_iter().collect();
        let made_up = self.samples(&self.names_of(sub)).into_iter();
        names.extend(made_up.filter_map(|name| name.as_str().map(str::to_owned)));
        names.extend([fresh_name(0), String::new(), "-".to_owned(), "A".repeat(300)]);
        names.retain(|name| self.sup.admits(&rule, &name.as_str().into()) == Some(false));
        names
            .iter()
            .take(8)
            .flat_map(|name| self.having(sub, name, &[]))
            .collect()
    }

    /// Objects that have a member, and lack others.
    fn having(&self, sub: &Conj, name: &str, without: &[&str]) -> Vec<Value> {
        let sub = &sub.only(Types::OBJECT);
        let of_variant = |variant: usize| {
            let Value::Object(mut members) = self.sampler().object(sub, variant, 0, without)? else {
                return None;
            };
            if !members.contains_key(name) {
                members.insert(
                    name.to_owned(),
                    self.sampler().value(&sub.member(self.sub, name), variant)?,
                );
            }
            Some(Value::Object(members))
        };
        (0..2).filter_map(of_variant).collect()
    }
}

/// Names and what `dependentRequired` asks for beside them.
fn dependencies(keywords: &Map<String, Value>) -> Vec<(&str, Vec<&str>)> {
    let named = keywords.get("dependentRequired").and_then(Value::as_object);
    let named = named.into_iter().flatten();
    named.map(|(name, wanted)| (name.as_str(), strings(wanted))).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
