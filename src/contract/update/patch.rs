//! Patches: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902), applied and made.

use super::tree::Tree;
use crate::json::Pointer;

/// Why a patch cannot be applied or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchFault {
    /// It is no patch.
    #[error("{detail}")]
    Malformed { detail: String, pointer: String },
    /// It does not fit the document it is for.
    #[error("{detail}")]
    Conflict { detail: String, pointer: String },
}

/// Applies a merge patch: `null` removes, objects are gone into, all else replaces (RFC 7396 §2).
pub(super) fn apply_merge(target: Option<&Tree>, patch: &Tree) -> Tree {
    let Tree::Object(changes) = patch else {
        return patch.clone();
    };
    let mut members: Vec<(Box<str>, Tree)> = target.and_then(Tree::members).unwrap_or_default().to_vec();
    for (name, change) in changes {
        let place = members.iter().position(|(known, _)| known == name);
        match (change, place) {
            (Tree::Null, Some(place)) => drop(members.remove(place)),
            (Tree::Null, None) => {}
            (change, Some(place)) => members[place].1 = apply_merge(Some(&members[place].1), change),
            (change, None) => members.push((name.clone(), apply_merge(None, change))),
        }
    }
    Tree::Object(members)
}

/// The merge patch that turns one document into another. The error is the place of a `null` that no merge patch can
/// put.
pub(super) fn make_merge(from: &Tree, to: &Tree) -> Result<Tree, String> {
    fn difference(from: Option<&Tree>, to: &Tree, place: &mut String) -> Result<Tree, String> {
        let (before, Tree::Object(after)) = (from.and_then(Tree::members), to) else {
            return if *to == Tree::Null {
                Err(place.clone())
            } else {
                Ok(to.clone())
            };
        };
        let mut changes: Vec<(Box<str>, Tree)> = Vec::new();
        for (name, value) in after {
            let known = from.and_then(|from| from.get(name));
            if known == Some(value) {
                continue;
            }
            let length = place.len();
            push(place, name);
            changes.push((name.clone(), difference(known, value, place)?));
            place.truncate(length);
        }
        let gone = before.unwrap_or_default().iter();
        let gone = gone.filter(|(name, _)| to.get(name).is_none());
        changes.extend(gone.map(|(name, _)| (name.clone(), Tree::Null)));
        Ok(Tree::Object(changes))
    }
    difference(Some(from), to, &mut String::new())
}

/// The JSON Patch that turns one document into another. Lists are replaced whole.
pub(super) fn make_operations(from: &Tree, to: &Tree) -> Tree {
    fn operation(name: &str, path: &str, value: Option<&Tree>) -> Tree {
        let mut members = vec![
            ("op".into(), Tree::Text(name.into())),
            ("path".into(), Tree::Text(path.into())),
        ];
        members.extend(value.map(|value| ("value".into(), value.clone())));
        Tree::Object(members)
    }
    fn differ(from: &Tree, to: &Tree, place: &mut String, found: &mut Vec<Tree>) {
        if from == to {
            return;
        }
        let (Tree::Object(before), Tree::Object(after)) = (from, to) else {
            found.push(operation("replace", place, Some(to)));
            return;
        };
        for (name, value) in before {
            let length = place.len();
            push(place, name);
            match to.get(name) {
                Some(new) => differ(value, new, place, found),
                None => found.push(operation("remove", place, None)),
            }
            place.truncate(length);
        }
        for (name, value) in after.iter().filter(|(name, _)| from.get(name).is_none()) {
            let length = place.len();
            push(place, name);
            found.push(operation("add", place, Some(value)));
            place.truncate(length);
        }
    }
    let mut found = Vec::new();
    differ(from, to, &mut String::new(), &mut found);
    Tree::List(found)
}

fn push(place: &mut String, name: &str) {
    place.push('/');
    place.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

/// Applies a JSON Patch: all of its operations in their order, or none (RFC 6902 §5).
pub(super) fn apply_operations(document: &Tree, changes: &Tree) -> Result<Tree, PatchFault> {
    let Tree::List(operations) = changes else {
        return Err(malformed("a JSON Patch is a list of operations", ""));
    };
    let mut document = document.clone();
    for (index, operation) in operations.iter().enumerate() {
        let place = format!("/{index}");
        let text = |name: &str| match operation.get(name) {
            Some(Tree::Text(text)) => Ok(&**text),
            _ => Err(malformed(format!("an operation needs `{name}`, as text"), &place)),
        };
        let pointer = |name: &str| {
            let text = text(name)?;
            let parsed = Pointer::parse(text).map(|pointer| pointer.tokens().to_vec());
            parsed.map_err(|wrong| malformed(format!("`{text}` is no JSON Pointer: {wrong}"), &place))
        };
        let value = || {
            let value = operation.get("value").cloned();
            value.ok_or_else(|| malformed("an operation of this kind needs `value`", &place))
        };
        let conflict = |detail: String| PatchFault::Conflict {
            detail,
            pointer: format!("{place}/path"),
        };
        let path = pointer("path")?;
        match text("op")? {
            "add" => add(&mut document, &path, value()?).map_err(conflict)?,
            "remove" => drop(remove(&mut document, &path).map_err(conflict)?),
            "replace" => *find(&mut document, &path).map_err(conflict)? = value()?,
            "test" => {
                let expected = value()?;
                if *find(&mut document, &path).map_err(conflict)? != expected {
                    return Err(conflict(format!("`{}` is not what is tested for", shown(&path))));
                }
            }
            "move" => {
                let from = pointer("from")?;
                if path.len() > from.len() && path.starts_with(&from) {
                    return Err(malformed("nothing can be moved into itself", &place));
                }
                let moved = remove(&mut document, &from).map_err(conflict)?;
                add(&mut document, &path, moved).map_err(conflict)?;
            }
            "copy" => {
                let copied = find(&mut document, &pointer("from")?).map_err(conflict)?.clone();
                add(&mut document, &path, copied).map_err(conflict)?;
            }
            other => {
                let detail = format!("`{other}` is no operation: add, remove, replace, move, copy or test");
                return Err(malformed(detail, &place));
            }
        }
    }
    Ok(document)
}

fn malformed(detail: impl Into<String>, pointer: &str) -> PatchFault {
    PatchFault::Malformed {
        detail: detail.into(),
        pointer: pointer.to_owned(),
    }
}

fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for token in path {
        push(&mut text, token);
    }
    text
}

fn find<'t>(document: &'t mut Tree, path: &[String]) -> Result<&'t mut Tree, String> {
    let absent = || format!("there is no `{}`", shown(path));
    path.iter()
        .try_fold(document, |tree, token| match tree {
            Tree::Object(members) => {
                let mut members = members.iter_mut();
                members.find(|(name, _)| **name == **token).map(|(_, value)| value)
            }
            Tree::List(items) => position(token, items.len()).and_then(|index| items.get_mut(index)),
            _ => None,
        })
        .ok_or_else(absent)
}

/// An index as JSON Pointer writes it, at most `length`.
fn position(token: &str, length: usize) -> Option<usize> {
    let is_plain = token == "0" || !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit());
    let index = token.parse().ok().filter(|_| is_plain)?;
    (index <= length).then_some(index)
}

fn add(document: &mut Tree, path: &[String], value: Tree) -> Result<(), String> {
    let Some((last, way)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find(document, way)? {
        Tree::Object(members) => {
            match members.iter_mut().find(|(name, _)| **name == **last) {
                Some((_, known)) => *known = value,
                None => members.push((last.as_str().into(), value)),
            }
            Ok(())
        }
        Tree::List(items) => {
            let index = if last == "-" {
                Some(items.len())
            } else {
                position(last, items.len())
            };
            let index = index.ok_or_else(|| format!("there is no place `{}`", shown(path)))?;
            items.insert(index, value);
            Ok(())
        }
        _ => Err(format!("`{}` is neither an object nor a list", shown(way))),
    }
}

fn remove(document: &mut Tree, path: &[String]) -> Result<Tree, String> {
    let absent = || format!("there is no `{}`", shown(path));
    let Some((last, way)) = path.split_last() else {
        return Err("the document itself cannot be removed".to_owned());
    };
    match find(document, way)? {
        Tree::Object(members) => {
            let place = members
                .iter()
                .position(|(name, _)| **name == **last)
                .ok_or_else(absent)?;
            Ok(members.remove(place).1)
        }
        Tree::List(items) => {
            let index = position(last, items.len()).filter(|index| *index < items.len());
            Ok(items.remove(index.ok_or_else(absent)?))
        }
        _ => Err(absent()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn tree(text: &str) -> Tree {
        Tree::of(Document::parse(text.to_owned().into()).unwrap().root())
    }

    fn text(tree: &Tree) -> String {
        tree.document().unwrap().text().to_owned()
    }

    /// The cases of RFC 7396, appendix A.
    #[test]
    fn a_merge_patch_is_applied_as_its_standard_shows() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(text(&apply_merge(Some(&tree(target)), &tree(patch))), result, "{patch}");
        }
    }

    #[test]
    fn a_patch_that_is_made_leads_from_the_one_to_the_other() {
        for (from, to) in [
            (r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#, r#"{"b":{"c":[2],"e":{"f":1}}}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":"x"}"#),
            (r#"{"a/b":{"~":1}}"#, r#"{"a/b":{"~":2}}"#),
        ] {
            let (from, to) = (tree(from), tree(to));
            assert_eq!(apply_merge(Some(&from), &make_merge(&from, &to).unwrap()), to);
            assert_eq!(apply_operations(&from, &make_operations(&from, &to)), Ok(to));
        }
        assert_eq!(
            text(&make_merge(&tree(r#"{"n":19.90,"m":1}"#), &tree(r#"{"n":19.9,"m":2}"#)).unwrap()),
            r#"{"m":2}"#
        );
    }

    #[test]
    fn a_null_cannot_be_put_by_a_merge_patch() {
        let null = tree(r#"{"a":{"b":null}}"#);
        assert_eq!(make_merge(&tree(r#"{"a":{"b":1}}"#), &null), Err("/a/b".to_owned()));
        assert_eq!(text(&make_merge(&null, &null).unwrap()), "{}");
        let operations = make_operations(&tree(r#"{"a":{"b":1}}"#), &null);
        assert_eq!(text(&operations), r#"[{"op":"replace","path":"/a/b","value":null}]"#);
    }

    #[test]
    fn operations_are_applied_in_their_order() {
        let patch = r#"[
            {"op":"test","path":"/a","value":1.0},
            {"op":"add","path":"/l/1","value":"x"},
            {"op":"add","path":"/l/-","value":"end"},
            {"op":"move","from":"/a","path":"/b"},
            {"op":"copy","from":"/l","path":"/m"},
            {"op":"remove","path":"/l/0"},
            {"op":"replace","path":"/m/0","value":null}]"#;
        let made = apply_operations(&tree(r#"{"a":1,"l":[1,2]}"#), &tree(patch)).unwrap();
        assert_eq!(text(&made), r#"{"l":["x",2,"end"],"b":1,"m":[null,"x",2,"end"]}"#);
    }

    #[test]
    fn what_does_not_fit_says_where() {
        let document = tree(r#"{"a":1,"l":[1]}"#);
        let fails = |patch: &str| apply_operations(&document, &tree(patch)).unwrap_err();
        for (patch, pointer, detail) in [
            (
                r#"[{"op":"test","path":"/a","value":2}]"#,
                "/0/path",
                "`/a` is not what is tested for",
            ),
            (r#"[{"op":"remove","path":"/x"}]"#, "/0/path", "there is no `/x`"),
            (
                r#"[{"op":"add","path":"/l/3","value":1}]"#,
                "/0/path",
                "there is no place `/l/3`",
            ),
            (
                r#"[{"op":"replace","path":"/l/01","value":1}]"#,
                "/0/path",
                "there is no `/l/01`",
            ),
            (
                r#"[{"op":"add","path":"/a/b","value":1}]"#,
                "/0/path",
                "`/a` is neither an object nor a list",
            ),
        ] {
            let expected = PatchFault::Conflict {
                detail: detail.into(),
                pointer: pointer.into(),
            };
            assert_eq!(fails(patch), expected);
        }
        for patch in [
            "{}",
            r#"[{"op":"sing","path":"/a"}]"#,
            r#"[{"op":"add","path":"a","value":1}]"#,
            r#"[{"op":"add","path":"/a"}]"#,
            r#"[{"path":"/a"}]"#,
            r#"[{"op":"move","from":"/l","path":"/l/0"}]"#,
        ] {
            assert!(matches!(fails(patch), PatchFault::Malformed { .. }), "{patch}");
        }
    }
}
