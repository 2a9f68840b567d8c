//! Choices and negations, and the second opinion on them.

use std::sync::Arc;

use serde_json::Value;

use super::super::canon::Opinion;
use super::super::conj::Conj;
use super::super::types::{Types, equal};
use super::{Finding, Walk};

/// How deep two schemas are searched for what keeps them apart.
const APART_DEPTH: usize = 4;

impl Walk<'_> {
    /// A value must follow one branch; for `oneOf` no other one.
    pub(super) fn choice(&mut self, sub: &Conj, part: &Arc<str>, keyword: &str) -> bool {
        let branches = self.sup.branches(part, keyword);
        for (position, branch) in branches.iter().enumerate() {
            if self.holds(sub, branch) {
                let others = branches.iter().enumerate().filter(|(other, _)| *other != position);
                let mut others = others.map(|(_, other)| other);
                if keyword == "anyOf" || others.all(|other| self.is_apart(sub, other, 0)) {
                    return true;
                }
            }
        }
        if self.opinion(sub, part) {
            return true;
        }
        if self.quiet > 0 {
            return false;
        }
        let findings = self.differences.len() + self.doubts.len();
        if let Some(branch) = self.nearest(sub, &branches) {
            self.within(sub, &branch);
        }
        if self.differences.len() + self.doubts.len() == findings {
            let values = self.samples(sub);
            let why = "whether every value follows exactly one of the branches could not be decided";
            self.find(&Finding {
                sub,
                part,
                keyword,
                values,
                beyond: None,
                why,
            });
        }
        false
    }

    /// The branch that was probably meant, so that what is wrong with it is said.
    fn nearest(&mut self, sub: &Conj, branches: &[Arc<str>]) -> Option<Arc<str>> {
        let name = |pointer: &str| pointer.rsplit('/').next().map(str::to_owned);
        let origins: Vec<_> = sub.parts.iter().filter_map(|part| name(part)).collect();
        let mut best: Option<(usize, &Arc<str>)> = None;
        for branch in branches {
            let other = Conj::new(self.sup, std::slice::from_ref(branch), branch);
            if !sub.types.meets(other.types) || self.is_apart(sub, branch, 0) {
                continue;
            }
            let is_namesake = other
                .parts
                .iter()
                .filter_map(|part| name(part))
                .any(|name| origins.contains(&name));
            let shared = sub.names(self.sub).intersection(&other.names(self.sup)).count();
            let score = shared + if is_namesake { 1_000 } else { 0 };
            if best.is_none_or(|(least, _)| score > least) {
                best = Some((score, branch));
            }
        }
        best.map(|(_, branch)| branch.clone())
    }

    /// `not`: nothing may be in both.
    pub(super) fn negation(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let negated = format!("{part}/not").into();
        if self.is_apart(sub, &negated, 0) || self.opinion(sub, part) {
            return true;
        }
        let values = self.samples(sub);
        let why = "whether a value can be what `not` excludes could not be decided";
        self.find(&Finding {
            sub,
            part,
            keyword: "not",
            values,
            beyond: None,
            why,
        })
    }

    /// Whether no value follows both. False if that is not known.
    pub(super) fn is_apart(&self, sub: &Conj, sup: &Arc<str>, depth: usize) -> bool {
        let flat = self.sup.flat(sup);
        let other = Conj::new(self.sup, std::slice::from_ref(sup), sup);
        if flat.is_never || !sub.types.meets(other.types) {
            return true;
        }
        if depth > APART_DEPTH {
            return false;
        }
        if let (Some(one), Some(other)) = (sub.listed(self.sub), other.listed(self.sup)) {
            let is_shared = |value: &Value| other.iter().any(|other| equal(value, other));
            return !one.iter().any(is_shared);
        }
        if let Some(branches) = other.split(self.sup) {
            // Branches of one part alone: the others of this conjunction only narrow them further.
            let choices = flat.parts.iter().flat_map(|part| {
                let one = self.sup.branches(part, "oneOf");
                if one.is_empty() {
                    self.sup.branches(part, "anyOf")
                } else {
                    one
                }
            });
            let choices: Vec<_> = choices.collect();
            let is_single = choices.len() == branches.len();
            if is_single && choices.iter().all(|branch| self.is_apart(sub, branch, depth + 1)) {
                return true;
            }
        }
        if (sub.types & other.types) != Types::OBJECT {
            return false;
        }
        // One name that every such object has, and whose values differ, keeps them apart.
        let (own, its) = (sub.required(self.sub), other.required(self.sup));
        own.union(&its).any(|name| {
            let member = sub.member(self.sub, name);
            let other = other.member(self.sup, name);
            member.is_never()
                || other.is_never()
                || other.parts.iter().any(|part| self.is_apart(&member, part, depth + 1))
        })
    }

    /// Whether the second opinion knows that a part of the other side is met.
    pub(super) fn opinion(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        if sub.parts.is_empty() || sub.parts.len() > 16 {
            return false;
        }
        let Opinion { is_within, .. } = self.canon.parts(sub.parts.clone(), part.clone(), self.deadline);
        is_within
    }
}
