//! Walks two schemas side by side, from the whole value into its members and items, and compares keyword by keyword.
//!
//! A comparison holds if every keyword of the admitting side is met by what the other side says. Recursion is
//! induction over the value: a pair that is met again one level deeper may be assumed, one that is met again at the
//! same level may not. Where a comparison fails, values are made up and wrapped into whole documents; only what
//! validators confirm is a difference, all else is a doubt.

mod keywords;
mod objects;
mod unions;
mod whole;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::canon::Canon;
use super::conj::{Conj, ConjKey};
use super::same::is_same;
use super::sample::Sampler;
use super::side::Side;
use super::{Difference, Doubt, member_place};

/// Pairs of schemas that are compared at most.
const STEP_LIMIT: usize = 200_000;

/// How deep schemas are followed.
const DEPTH_LIMIT: usize = 200;

/// Differences and doubts that are kept.
const FINDING_LIMIT: usize = 256;

/// Documents that are tried to confirm one difference.
const TRY_LIMIT: usize = 16;

/// What holds between two documents, whatever else is asked of them.
#[derive(Default)]
pub(super) struct Known {
    held: HashSet<Pair>,
    same: RefCell<HashMap<PartPair, bool>>,
}

/// One comparison of two schemas.
pub(super) struct Walk<'a> {
    pub(super) sub: &'a Side,
    pub(super) sup: &'a Side,
    pub(super) canon: &'a mut Canon,
    pub(super) deadline: Instant,
    /// Pointers of the schemas that are compared as a whole.
    pub(super) roots: (Arc<str>, Arc<str>),
    pub(super) differences: Vec<Difference>,
    pub(super) doubts: Vec<Doubt>,
    frames: Vec<Frame>,
    /// Above zero while it is only asked whether something holds.
    quiet: usize,
    steps: usize,
    is_exhausted: bool,
    known: &'a mut Known,
    failed: HashSet<Pair>,
    open: Vec<(Pair, usize)>,
    /// The lowest open pair that was relied on.
    relied_on: usize,
}

type Pair = (ConjKey, Arc<str>);

/// Pointers of a part of either side.
type PartPair = (Arc<str>, Arc<str>);

/// A step from a value into one of its parts.
struct Frame {
    around: Conj,
    into: Way,
}

#[derive(Clone)]
enum Way {
    Member(String),
    /// Any member that nothing names; made up under this name.
    Any(String),
    /// The object itself, for want of a member.
    Missing(String),
    Item(usize),
    /// Any item from this position on.
    Items(usize),
}

/// What is wrong at one place.
pub(super) struct Finding<'f> {
    pub(super) sub: &'f Conj,
    /// Pointer of the admitting side's part.
    pub(super) part: &'f str,
    pub(super) keyword: &'f str,
    /// Values of this place that might be refused, the most telling first.
    pub(super) values: Vec<Value>,
    /// All refused values as a schema, where that is known.
    pub(super) beyond: Option<Value>,
    /// What to say if no value is confirmed.
    pub(super) why: &'f str,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        sides: (&'a Side, &'a Side),
        canon: &'a mut Canon,
        known: &'a mut Known,
        deadline: Instant,
        roots: (Arc<str>, Arc<str>),
    ) -> Self {
        Self {
            sub: sides.0,
            sup: sides.1,
            canon,
            deadline,
            roots,
            differences: Vec::new(),
            doubts: Vec::new(),
            frames: Vec::new(),
            quiet: 0,
            steps: 0,
            is_exhausted: false,
            known,
            failed: HashSet::new(),
            open: Vec::new(),
            relied_on: usize::MAX,
        }
    }

    /// Whether all that `sub` admits is admitted at a pointer of the other side. What is not is reported.
    pub(super) fn within(&mut self, sub: &Conj, sup: &Arc<str>) -> bool {
        if sub.is_never() {
            return true;
        }
        let pair = (sub.key(), sup.clone());
        if self.known.held.contains(&pair) {
            return true;
        }
        if self.quiet > 0 && self.failed.contains(&pair) {
            return false;
        }
        if let Some(index) = self.open.iter().position(|(open, _)| *open == pair) {
            self.relied_on = self.relied_on.min(index);
            return self.open[index].1 < self.frames.len()
                || self.doubt(
                    sub,
                    sup,
                    "",
                    "the schema leads back to itself without a step into the value",
                );
        }
        self.steps += 1;
        if self.is_exhausted || self.steps > STEP_LIMIT || Instant::now() > self.deadline {
            self.is_exhausted = true;
            return self.doubt(sub, sup, "", "the budget for comparing was used up");
        }
        if self.open.len() > DEPTH_LIMIT {
            return self.doubt(sub, sup, "", "it nests deeper than is compared");
        }
        let index = self.open.len();
        let before = std::mem::replace(&mut self.relied_on, usize::MAX);
        self.open.push((pair.clone(), self.frames.len()));
        let is_within = self.compare(sub, sup);
        self.open.pop();
        // What rests on a pair that is still open is known once that one is.
        if self.relied_on >= index {
            self.relied_on = usize::MAX;
            let known = if is_within {
                &mut self.known.held
            } else {
                &mut self.failed
            };
            if !self.is_exhausted {
                known.insert(pair);
            }
        }
        self.relied_on = self.relied_on.min(before);
        is_within
    }

    /// The same question, without reporting anything.
    fn holds(&mut self, sub: &Conj, sup: &Arc<str>) -> bool {
        self.quiet += 1;
        let holds = self.within(sub, sup);
        self.quiet -= 1;
        holds
    }

    /// The same question for a part of the value.
    fn within_part(&mut self, around: &Conj, into: Way, sub: &Conj, sup: &Arc<str>) -> bool {
        self.frames.push(Frame {
            around: around.clone(),
            into,
        });
        let is_within = self.within(sub, sup);
        self.frames.pop();
        is_within
    }

    fn compare(&mut self, sub: &Conj, sup: &Arc<str>) -> bool {
        let flat = self.sup.flat(sup);
        if flat.is_broken {
            return self.doubt(sub, sup, "$ref", "a reference there is not followed");
        }
        if flat.is_never {
            let values = self.samples(sub);
            let why = "nothing is admitted there, and no value could be made up that the other side admits";
            return self.find(&Finding {
                sub,
                part: sup,
                keyword: "false",
                values,
                beyond: None,
                why,
            });
        }
        let parts = flat.parts.iter().filter(|part| !self.has_same(sub, part));
        let parts: Vec<_> = parts.cloned().collect();
        if parts.is_empty() {
            return true;
        }
        if let Some(values) = sub.listed(self.sub) {
            return self.compare_listed(sub, sup, &parts, &values);
        }
        if let Some(branches) = sub.split(self.sub) {
            return self.all(branches.iter(), |walk, branch| walk.within(branch, sup));
        }
        let is_by_type = |part: &Arc<str>| {
            let keywords = self.sup.keywords(part);
            let by_type = ["enum", "const", "anyOf", "oneOf", "not", "if"];
            by_type.iter().any(|keyword| keywords.contains_key(*keyword))
        };
        let classes: Vec<_> = sub.types.classes().map(|class| sub.only(class)).collect();
        if classes.len() > 1 && parts.iter().any(is_by_type) {
            return self.all(classes.iter(), |walk, class| walk.within(class, sup));
        }
        self.all(parts.iter(), |walk, part| walk.compare_part(sub, part))
    }

    /// Whether one of the schemas says the same as a part of the other side.
    fn has_same(&self, sub: &Conj, part: &Arc<str>) -> bool {
        sub.parts.iter().any(|own| {
            let pair = (own.clone(), part.clone());
            let known = self.known.same.borrow().get(&pair).copied();
            known.unwrap_or_else(|| {
                let is_same = is_same((self.sub, own), (self.sup, part));
                self.known.same.borrow_mut().insert(pair, is_same);
                is_same
            })
        })
    }

    /// Asks for all of several; where nothing is reported, the first that fails is enough.
    fn all<T>(&mut self, of: impl Iterator<Item = T>, mut holds: impl FnMut(&mut Self, T) -> bool) -> bool {
        let mut all = true;
        for one in of {
            all &= holds(self, one);
            if !all && (self.quiet > 0 || self.is_exhausted) {
                break;
            }
        }
        all
    }

    /// Some values of a conjunction, as different as the sampler makes them.
    fn samples(&self, sub: &Conj) -> Vec<Value> {
        if self.quiet > 0 {
            return Vec::new();
        }
        let sampler = self.sampler();
        let mut values: Vec<Value> = Vec::new();
        for value in (0..6).filter_map(|variant| sampler.value(sub, variant)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    fn sampler(&self) -> Sampler<'a> {
        Sampler {
            side: self.sub,
            deadline: self.deadline,
        }
    }

    /// Reports what does not hold: as a difference if a document shows it, else as a doubt. Always false.
    fn find(&mut self, finding: &Finding<'_>) -> bool {
        let is_full = self.differences.len() + self.doubts.len() >= FINDING_LIMIT;
        if self.quiet > 0 || is_full {
            return false;
        }
        let at = self.place();
        let is_known = |difference: &Difference| {
            difference.at == at && difference.keyword == finding.keyword && *difference.sup == *finding.part
        };
        if self.differences.iter().any(is_known) {
            return false;
        }
        for value in finding.values.iter().take(TRY_LIMIT) {
            let Some(witness) = self.wrapped(value.clone()) else {
                continue;
            };
            if self.sub.admits(&self.roots.0, &witness) == Some(true)
                && self.sup.admits(&self.roots.1, &witness) == Some(false)
            {
                // What was doubted for another reason of the same place is settled.
                self.doubts
                    .retain(|doubt| doubt.at != at || *doubt.sup != *finding.part);
                self.differences.push(Difference {
                    at,
                    path: self.path(),
                    keyword: finding.keyword.to_owned(),
                    sub: finding.sub.origin.to_string(),
                    sup: finding.part.to_owned(),
                    value: value.clone(),
                    witness,
                    beyond: finding.beyond.clone(),
                });
                return false;
            }
        }
        self.doubt(finding.sub, finding.part, finding.keyword, finding.why)
    }

    /// Reports what could not be decided. Always false.
    fn doubt(&mut self, sub: &Conj, part: &str, keyword: &str, why: &str) -> bool {
        if self.quiet > 0 || self.differences.len() + self.doubts.len() >= FINDING_LIMIT {
            return false;
        }
        let doubt = Doubt {
            at: self.place(),
            keyword: keyword.to_owned(),
            sub: sub.origin.to_string(),
            sup: part.to_owned(),
            why: why.to_owned(),
        };
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
        false
    }

    /// Where the walk is, as people write it: `lines[].uom`.
    fn place(&self) -> String {
        let mut place = String::new();
        for frame in &self.frames {
            match &frame.into {
                Way::Member(name) | Way::Missing(name) => place = member_place(&place, name),
                Way::Any(_) => place.push_str(if place.is_empty() { "*" } else { ".*" }),
                Way::Item(position) => place.extend(["[", &position.to_string(), "]"]),
                Way::Items(_) => place.push_str("[]"),
            }
        }
        place
    }

    /// Where the walk is, step by step.
    fn path(&self) -> Vec<String> {
        let steps = self.frames.iter().map(|frame| match &frame.into {
            Way::Member(name) | Way::Missing(name) | Way::Any(name) => name.clone(),
            Way::Item(position) | Way::Items(position) => position.to_string(),
        });
        steps.collect()
    }

    /// A whole document that has a value at the place where the walk is.
    fn wrapped(&self, value: Value) -> Option<Value> {
        let sampler = self.sampler();
        let mut frames = self.frames.iter().rev();
        frames.try_fold(value, |value, frame| match &frame.into {
            Way::Missing(_) => Some(value),
            Way::Member(name) | Way::Any(name) => {
                let Value::Object(others) = sampler.object(&frame.around, 0, 0, &[name])? else {
                    return None;
                };
                let mut members = Map::new();
                members.insert(name.clone(), value);
                members.extend(others);
                Some(members.into())
            }
            Way::Item(position) | Way::Items(position) => {
                let least = frame.around.at_least(self.sub, "minItems").max(*position as u64 + 1);
                let Value::Array(mut items) = sampler.list(&frame.around, least, 0, 0)? else {
                    return None;
                };
                items[*position] = value;
                Some(items.into())
            }
        })
    }
}
