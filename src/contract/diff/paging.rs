//! How an operation pages its answers: by the parameters that ask for a page.

use std::collections::BTreeSet;

use super::message::parameter_names;
use super::operation::found;
use super::{Differ, Impact, Scope, Side, Way};
use crate::contract::openapi::OpenApi;

/// The styles, and the query parameters that speak of them; lower case, letters only.
const STYLES: [(&str, &[&str]); 3] = [
    ("page numbers", &["page", "pagenumber", "pageno", "pageindex"]),
    ("offsets", &["offset", "skip", "startindex", "pageoffset"]),
    (
        "cursors",
        &[
            "cursor",
            "pagetoken",
            "nexttoken",
            "continuationtoken",
            "startingafter",
            "endingbefore",
            "pagecursor",
            "pageafter",
            "pagebefore",
        ],
    ),
];

/// Query parameters that say how many items come at once; lower case, letters only.
const SIZES: [&str; 11] = [
    "limit",
    "size",
    "pagesize",
    "pagelimit",
    "perpage",
    "take",
    "top",
    "maxresults",
    "maxitems",
    "itemsperpage",
    "maxpagesize",
];

impl Differ<'_> {
    /// Compares how an operation pages: the pointers of its path and its own, and the path.
    pub(super) fn paging(&mut self, scope: &Scope, old: (&str, &str, &str), new: (&str, &str, &str)) {
        let (own, its) = (styles(self.older, old), styles(self.newer, new));
        if own.is_subset(&its) && (own == its || !own.is_empty()) {
            return;
        }
        let say = |styles: &BTreeSet<&str>| styles.iter().copied().collect::<Vec<_>>().join(" and ");
        let (rule, impact, what) = if own.is_empty() {
            let what = format!("comes in pages now, by {}: an answer may hold a part only", say(&its));
            ("pagination-added", Impact::Risky, what)
        } else if its.is_empty() {
            let what = format!("no longer comes in pages, before by {}", say(&own));
            ("pagination-removed", Impact::Breaking, what)
        } else {
            let what = format!("pages by {} now, before by {}", say(&its), say(&own));
            ("pagination-style-changed", Impact::Breaking, what)
        };
        let scope = scope.with(Side::Request, Way::Sent, "request", "");
        self.report(&scope, found(rule, impact, what, Some(old.1), Some(new.1)));
    }
}

/// Whether a scope is that of a parameter that says how many items come at once.
pub(super) fn is_size(scope: &Scope) -> bool {
    let name = scope.place.strip_prefix("query ");
    scope.subject == "request-parameter" && name.is_some_and(|name| SIZES.contains(&letters(name).as_str()))
}

fn styles(document: &OpenApi, operation: (&str, &str, &str)) -> BTreeSet<&'static str> {
    let names: Vec<String> = parameter_names(document, operation)
        .iter()
        .map(|name| letters(name))
        .collect();
    let is_used = |known: &[&str]| names.iter().any(|name| known.contains(&name.as_str()));
    let used = STYLES.iter().filter(|(_, known)| is_used(known));
    used.map(|(style, _)| *style).collect()
}

/// `page[size]`, `page_size` and `pageSize` are one name.
fn letters(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
