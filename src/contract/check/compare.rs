//! What became of a document that went to another version and came back.

use jiff::Timestamp;

use super::sample::Sample;
use crate::json::Decimal;

/// Most differences that are told apart in one document.
const LIMIT: usize = 64;

/// One place where a document did not come back as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Names and positions that lead there.
    pub(super) path: Vec<String>,
    pub(super) kind: Change,
    /// What stood there first.
    pub(super) before: Option<Sample>,
    /// What came back.
    pub(super) after: Option<Sample>,
}

/// How a value came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
    /// Not at all.
    Lost,
    /// Though it was not there.
    Added,
    /// As another value.
    Changed,
    /// As the same number, written in another way.
    Spelled,
    /// As text that reads as the same number or point in time.
    SpelledText,
    /// Not at all, and it said nothing: an object or a list without anything in it.
    Emptied,
}

/// All differences between a document and what came back of it.
pub(super) fn differences(before: &Sample, after: &Sample) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(before, after, &mut Vec::new(), &mut found);
    found
}

fn compare(before: &Sample, after: &Sample, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    if found.len() >= LIMIT || before == after {
        return;
    }
    match (before, after) {
        (Sample::Obj(ours), Sample::Obj(theirs)) => {
            for (name, value) in ours {
                path.push(name.clone());
                match after.get(name) {
                    Some(other) => compare(value, other, path, found),
                    None => lost(value, path, found),
                }
                path.pop();
            }
            for (name, value) in theirs {
                if before.get(name).is_none() {
                    path.push(name.clone());
                    tell(Change::Added, None, Some(value), path, found);
                    path.pop();
                }
            }
        }
        (Sample::Arr(ours), Sample::Arr(theirs)) => {
            for (position, (one, other)) in ours.iter().zip(theirs).enumerate() {
                path.push(position.to_string());
                compare(one, other, path, found);
                path.pop();
            }
            let longer = ours.get(theirs.len()).map(|lost| (Change::Lost, Some(lost), None));
            let added = theirs.get(ours.len()).map(|added| (Change::Added, None, Some(added)));
            if let Some((kind, one, other)) = longer.or(added) {
                path.push(ours.len().min(theirs.len()).to_string());
                tell(kind, one, other, path, found);
                path.pop();
            }
        }
        (Sample::Num(one), Sample::Num(other)) => {
            let is_same = Decimal::parse(one)
                .zip(Decimal::parse(other))
                .is_some_and(|(one, other)| one == other);
            let kind = if is_same { Change::Spelled } else { Change::Changed };
            tell(kind, Some(before), Some(after), path, found);
        }
        (Sample::Str(one), Sample::Str(other)) => {
            let is_number = Decimal::parse(one)
                .zip(Decimal::parse(other))
                .is_some_and(|(one, other)| one == other);
            let instant = |text: &str| text.parse::<Timestamp>().ok();
            let is_instant = instant(one)
                .zip(instant(other))
                .is_some_and(|(one, other)| one == other);
            let kind = if is_number || is_instant {
                Change::SpelledText
            } else {
                Change::Changed
            };
            tell(kind, Some(before), Some(after), path, found);
        }
        _ => tell(Change::Changed, Some(before), Some(after), path, found),
    }
}

/// An object that is lost is told by what was in it.
fn lost(value: &Sample, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    match value {
        _ if is_nothing(value) => tell(Change::Emptied, Some(value), None, path, found),
        Sample::Obj(members) => {
            for (name, value) in members {
                path.push(name.clone());
                lost(value, path, found);
                path.pop();
            }
        }
        _ => tell(Change::Lost, Some(value), None, path, found),
    }
}

fn tell(kind: Change, before: Option<&Sample>, after: Option<&Sample>, path: &[String], found: &mut Vec<Difference>) {
    found.push(Difference {
        path: path.to_vec(),
        kind,
        before: before.cloned(),
        after: after.cloned(),
    });
}

fn is_nothing(value: &Sample) -> bool {
    match value {
        Sample::Obj(members) => members.iter().all(|(_, value)| is_nothing(value)),
        Sample::Arr(elements) => elements.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::json::Document;

    fn sample(text: &'static str) -> Sample {
        Sample::of(Document::parse(Bytes::from_static(text.as_bytes())).unwrap().root())
    }

    fn found(before: &'static str, after: &'static str) -> Vec<(String, Change)> {
        let found = differences(&sample(before), &sample(after));
        found
            .into_iter()
            .map(|difference| (difference.path.join("/"), difference.kind))
            .collect()
    }

    #[test]
    fn numbers_are_compared_by_value_and_their_spelling_told_apart() {
        assert_eq!(found(r#"{"a":19.90,"b":1e2}"#, r#"{"b":1e2,"a":19.90}"#), []);
        assert_eq!(
            found(r#"{"a":19.90}"#, r#"{"a":19.9}"#),
            [("a".into(), Change::Spelled)]
        );
        assert_eq!(
            found(r#"{"a":19.90}"#, r#"{"a":19.91}"#),
            [("a".into(), Change::Changed)]
        );
        assert_eq!(
            found(r#"{"a":"19.9"}"#, r#"{"a":"19.90"}"#),
            [("a".into(), Change::SpelledText)]
        );
        assert_eq!(
            found(r#"["2026-11-20T18:00:00+01:00"]"#, r#"["2026-11-20T17:00:00Z"]"#),
            [("0".into(), Change::SpelledText)]
        );
    }

    #[test]
    fn what_is_lost_added_changed_or_was_nothing_is_found_where_it_stood() {
        assert_eq!(
            found(
                r#"{"a":{"b":1,"c":null},"d":[1,2,3],"e":{"f":{}},"g":"x","h":{"i":{"j":1}}}"#,
                r#"{"a":{"b":"1","x":0},"d":[1],"g":"y"}"#
            ),
            [
                ("a/b".into(), Change::Changed),
                ("a/c".into(), Change::Lost),
                ("a/x".into(), Change::Added),
                ("d/1".into(), Change::Lost),
                ("e".into(), Change::Emptied),
                ("g".into(), Change::Changed),
                ("h/i/j".into(), Change::Lost),
            ]
        );
    }
}
