//! What a difference between two schemas means: containment decides, what is written differently explains.

use std::fmt::Write as _;

use super::schema::{Edit, Effect, short};
use super::{Differ, Found, Impact, Scope, Way, paging};
use crate::contract::containment::{Answer, Difference, Doubt};

impl Differ<'_> {
    /// Compares the schemas at two pointers, whose values go the scope's way. `is_problem` where they tell of failures.
    pub(super) fn schemas(&mut self, scope: &Scope, older: &str, newer: &str, is_problem: bool) {
        // Named once, shared schemas are compared once.
        let resolved = self.older.resolve(older).zip(self.newer.resolve(newer));
        let (older, newer) = resolved
            .as_ref()
            .map_or((older, newer), |(older, newer)| (older, newer));
        let answer = self.answer(scope.way, older, newer);
        let (differences, doubts): (&[Difference], &[Doubt]) = match &*answer {
            Answer::Proved => (&[], &[]),
            Answer::Refuted { differences, doubts } => (differences, doubts),
            Answer::Unknown(doubts) => (&[], doubts),
        };
        let edits = self.edits(older, newer);
        let mut refuting: Vec<Option<&Difference>> = vec![None; edits.len()];
        let mut unexplained = Vec::new();
        for difference in differences {
            let fit = |edit: &Edit| edit.fit(scope.way, &difference.at, &difference.keyword);
            match edits.iter().filter_map(fit).max() {
                Some(best) => {
                    for (edit, refuting) in edits.iter().zip(&mut refuting) {
                        if fit(edit) == Some(best) {
                            refuting.get_or_insert(difference);
                        }
                    }
                }
                None => unexplained.push(difference),
            }
        }
        let mut considered = vec![false; doubts.len()];
        for (edit, difference) in edits.iter().zip(refuting) {
            let mut doubtful = None;
            for (doubt, considered) in doubts.iter().zip(&mut considered) {
                if edit.may_explain(scope.way, doubt) {
                    *considered = true;
                    doubtful.get_or_insert(doubt);
                }
            }
            self.edit(scope, edit, (difference, doubtful), is_problem);
        }
        for difference in unexplained {
            self.unexplained(scope, difference);
        }
        for (doubt, _) in doubts.iter().zip(&considered).filter(|(_, considered)| !**considered) {
            let (older, newer) = scope.way.ordered(&doubt.sub, &doubt.sup);
            let change = Found {
                rule: format!("{}-undecided", scope.subject),
                impact: Impact::Risky,
                what: format!("could not be decided: {}", doubt.why),
                older: Some(older.to_owned()),
                newer: Some(newer.to_owned()),
            };
            let scope = scope.at(&doubt.at);
            self.report(&scope, change);
        }
    }

    fn edit(
        &mut self,
        scope: &Scope,
        edit: &Edit,
        (refuting, doubtful): (Option<&Difference>, Option<&Doubt>),
        is_problem: bool,
    ) {
        let turn = usize::from(scope.way == Way::Received);
        let mut what = edit.what.clone();
        let mut impact = edit.unrefuted[turn];
        if let Some(difference) = refuting {
            impact = edit.refuted[turn];
            // Where members are missing or too many, or values are listed, the words say it already.
            let is_telling = !matches!(difference.keyword.as_str(), "required" | "false" | "enum" | "const");
            if is_telling && impact != Impact::Safe {
                let happens = if scope.way == Way::Sent {
                    "is refused now"
                } else {
                    "can come now"
                };
                let _ = write!(what, "; {} {happens}", short(&difference.value));
            }
        } else if let Some(doubt) = doubtful {
            impact = impact.min(Impact::Risky);
            let _ = write!(
                what,
                "; whether that refuses anything could not be decided: {}",
                doubt.why
            );
        } else if edit.effect.matters(scope.way) && impact == Impact::Safe && !edit.rule.contains("property-") {
            what.push_str(match scope.way {
                Way::Sent => "; all that was taken still is",
                Way::Received => "; nothing comes that could not come before",
            });
        }
        let mut rule = format!("{}-{}", scope.subject, edit.rule);
        if is_problem && matches!(edit.at.as_str(), "type" | "code") && edit.rule.starts_with("enum-value-") {
            // Callers tell failures apart by these: one that no longer comes leaves their handling behind.
            rule = edit.rule.replace("enum-value-", "problem-type-");
            impact = impact.min(Impact::Risky);
        }
        if edit.at.is_empty() && paging::is_size(scope) {
            for words in ["default-", "maximum-"] {
                if edit.rule.starts_with(words) {
                    rule = format!("page-size-{}", edit.rule);
                }
            }
        }
        let scope = scope.at(&edit.at);
        let mut change = self.change(
            &scope,
            Found {
                rule,
                impact,
                what,
                older: edit.older.clone(),
                newer: edit.newer.clone(),
            },
        );
        change.example = refuting.map(|difference| difference.value.clone());
        self.push(change);
    }

    /// Something is refused, and nothing that is written differently at its place says why.
    fn unexplained(&mut self, scope: &Scope, difference: &Difference) {
        let (older, newer) = scope.way.ordered(&difference.sub, &difference.sup);
        let (rule, what) = match scope.way {
            Way::Sent => (
                "narrowed",
                format!("took {} and refuses it now", short(&difference.value)),
            ),
            Way::Received => ("widened", format!("can be {} now", short(&difference.value))),
        };
        let what = match difference.keyword.as_str() {
            "" | "false" => what,
            keyword => format!("{what}, by `{keyword}`"),
        };
        let scope = scope.at(&difference.at);
        let mut change = self.change(
            &scope,
            Found {
                rule: format!("{}-{rule}", scope.subject),
                impact: Impact::Breaking,
                what,
                older: Some(older.to_owned()),
                newer: Some(newer.to_owned()),
            },
        );
        change.example = Some(difference.value.clone());
        self.push(change);
    }
}

impl Edit {
    /// How closely this edit explains that a keyword refuses something at a place; `None` if it does not.
    fn fit(&self, way: Way, at: &str, keyword: &str) -> Option<(usize, bool)> {
        let rest = at.strip_prefix(&self.at)?;
        let is_named = !self.keywords.is_empty();
        let is_met = if is_named {
            rest.is_empty() && self.keywords.contains(&keyword)
        } else {
            self.at.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
        };
        (is_met && self.effect.matters(way)).then_some((self.at.len(), is_named))
    }

    /// Whether this edit may be why something could not be decided.
    fn may_explain(&self, way: Way, doubt: &Doubt) -> bool {
        let is_around = self.at.starts_with(&doubt.at) && doubt.keyword.is_empty();
        self.effect.matters(way) && (is_around || self.fit(way, &doubt.at, &doubt.keyword).is_some())
    }
}

impl Effect {
    /// Whether it can do harm to values that go this way.
    fn matters(self, way: Way) -> bool {
        match self {
            Self::Narrows => way == Way::Sent,
            Self::Widens => way == Way::Received,
            Self::Either => true,
            Self::None => false,
        }
    }
}

impl Way {
    /// The pointers of the older and of the newer document.
    fn ordered<'p>(self, sub: &'p str, sup: &'p str) -> (&'p str, &'p str) {
        match self {
            Self::Sent => (sub, sup),
            Self::Received => (sup, sub),
        }
    }
}

impl Scope {
    /// At a place in the value.
    fn at(&self, at: &str) -> Self {
        let mut scope = self.clone();
        if !at.is_empty() {
            scope.place = format!("{} {at}", self.place);
        }
        scope
    }
}
