//! In what two translations of the same message differ: places and kinds, never values.

use std::fmt::Write as _;

use crate::json::{Decimal, Document, Kind, Value};

/// Differences of one pair of documents that are looked for at most.
const LIMIT: usize = 16;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// JSON Pointer with `*` for positions in lists; or `path`, `query`, `status`, empty for the whole.
    pub(crate) at: String,
    /// What is different.
    pub(crate) kind: &'static str,
}

impl Difference {
    pub(crate) fn new(at: impl Into<String>, kind: &'static str) -> Self {
        Self { at: at.into(), kind }
    }
}

/// Where a candidate's document differs from the live one. Numbers are equal if their values are: `1.50` is `1.5`.
pub(crate) fn documents(live: Option<&Document>, candidate: Option<&Document>) -> Vec<Difference> {
    let mut found = Vec::new();
    match (live, candidate) {
        (None, None) => {}
        (Some(_), None) => found.push(Difference::new("", "missing")),
        (None, Some(_)) => found.push(Difference::new("", "added")),
        (Some(live), Some(candidate)) => values(live.root(), candidate.root(), &mut String::new(), &mut found),
    }
    found
}

/// Documents nest 64 levels at most, so this does too.
fn values(live: Value<'_>, candidate: Value<'_>, at: &mut String, found: &mut Vec<Difference>) {
    if found.len() >= LIMIT {
        return;
    }
    if live.kind() != candidate.kind() {
        return found.push(Difference::new(at.clone(), "type"));
    }
    let length = at.len();
    match live.kind() {
        Kind::Object => {
            for (name, value) in live.members() {
                push(at, &name.text());
                match candidate.get(&name.text()) {
                    Some(other) => values(value, other, at, found),
                    None => found.push(Difference::new(at.clone(), "missing")),
                }
                at.truncate(length);
            }
            for (name, _) in candidate.members() {
                if live.get(&name.text()).is_none() {
                    push(at, &name.text());
                    found.push(Difference::new(at.clone(), "added"));
                    at.truncate(length);
                }
            }
        }
        Kind::Array => {
            if live.len() != candidate.len() {
                found.push(Difference::new(at.clone(), "length"));
            }
            at.push_str("/*");
            for (value, other) in live.elements().zip(candidate.elements()) {
                values(value, other, at, found);
            }
            at.truncate(length);
        }
        _ if is_equal(live, candidate) => {}
        _ => found.push(Difference::new(at.clone(), "value")),
    }
}

fn is_equal(live: Value<'_>, candidate: Value<'_>) -> bool {
    match (live.as_number_text(), candidate.as_number_text()) {
        (Some(one), Some(other)) => {
            one == other
                || Decimal::parse(one)
                    .zip(Decimal::parse(other))
                    .is_some_and(|(one, other)| one == other)
        }
        _ => live.as_str() == candidate.as_str() && live.as_bool() == candidate.as_bool(),
    }
}

fn push(at: &mut String, name: &str) {
    let _ = write!(at, "/{}", name.replace('~', "~0").replace('/', "~1"));
}

/// A place, with `*` for positions in lists.
pub(crate) fn pattern(pointer: &str) -> String {
    let tokens = pointer.split('/').map(|token| match token {
        "" => "",
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => "*",
        name => name,
    });
    tokens.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(live: &'static str, candidate: &'static str) -> Vec<String> {
        let read = |text: &'static str| Document::parse(text.into()).unwrap();
        let found = documents(Some(&read(live)), Some(&read(candidate)));
        found
            .into_iter()
            .map(|found| format!("{} {}", found.at, found.kind))
            .collect()
    }

    #[test]
    fn numbers_are_compared_by_value_and_members_in_any_order() {
        assert!(differences(r#"{"a":1.50,"b":[1e2]}"#, r#"{"b":[100],"a":1.5}"#).is_empty());
        assert!(differences(r#"["\u00fc",true,null]"#, r#"["ü",true,null]"#).is_empty());
    }

    #[test]
    fn every_kind_of_difference_is_named_by_its_place_without_values() {
        for (live, candidate, expected) in [
            (r#"{"a":1}"#, r#"{"a":2}"#, "/a value"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#, "/a type"),
            (r#"{"a":1}"#, r"{}", "/a missing"),
            (r"{}", r#"{"a/b":1}"#, "/a~1b added"),
            (r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, "/a length"),
            (
                r#"{"a":[{"b":1},{"b":2}]}"#,
                r#"{"a":[{"b":1},{"b":3}]}"#,
                "/a/*/b value",
            ),
            (r"true", r"false", " value"),
        ] {
            assert_eq!(differences(live, candidate), [expected], "{live} {candidate}");
        }
        let nothing = documents(None, None);
        assert!(nothing.is_empty());
    }
}
