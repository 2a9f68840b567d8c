//! What a caller changed, put into what it does not see.

use super::tree::Tree;

/// A list whose items are known by a member: names that lead to the list, and from an item to its key. Lists in between
/// are passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) list: Vec<Box<str>>,
    pub(super) key: Vec<Box<str>>,
}

/// Three documents become one. `base` is what the caller would send had it changed nothing, `mine` what it sends,
/// `theirs` what stands at the upstream. What it did not change stays as it is there, seen or not; what it changed or
/// left out is as it says.
pub(super) fn merge(base: &Tree, mine: &Tree, theirs: &Tree, keyed: &[Keyed]) -> Tree {
    let merged = member(Some(base), Some(mine), Some(theirs), keyed, &mut Vec::new());
    merged.unwrap_or_else(|| mine.clone())
}

fn member(
    base: Option<&Tree>,
    mine: Option<&Tree>,
    theirs: Option<&Tree>,
    keyed: &[Keyed],
    path: &mut Vec<Box<str>>,
) -> Option<Tree> {
    if base == mine {
        return theirs.cloned();
    }
    match (base, mine, theirs) {
        (None | Some(Tree::Object(_)), Some(Tree::Object(_)), Some(Tree::Object(_))) => {
            Some(object(base, mine?, theirs?, keyed, path))
        }
        (Some(Tree::List(base)), Some(Tree::List(mine)), Some(Tree::List(theirs))) => {
            let known = keyed.iter().find(|keyed| keyed.list == *path);
            let list = known.and_then(|known| items(base, mine, theirs, known, keyed, path));
            Some(list.unwrap_or_else(|| Tree::List(mine.clone())))
        }
        _ => mine.cloned(),
    }
}

/// Members in the upstream's order, then those that are new.
fn object(base: Option<&Tree>, mine: &Tree, theirs: &Tree, keyed: &[Keyed], path: &mut Vec<Box<str>>) -> Tree {
    let known = theirs.members().unwrap_or_default();
    let new = mine.members().unwrap_or_default().iter();
    let new = new.filter(|(name, _)| theirs.get(name).is_none());
    let mut merged = Vec::with_capacity(known.len());
    for (name, _) in known.iter().chain(new) {
        path.push(name.clone());
        let base = base.and_then(|base| base.get(name));
        let value = member(base, mine.get(name), theirs.get(name), keyed, path);
        path.pop();
        merged.extend(value.map(|value| (name.clone(), value)));
    }
    Tree::Object(merged)
}

/// Items in the caller's order; those it could not see come last. `None` if keys do not tell the items apart.
fn items(
    base: &[Tree],
    mine: &[Tree],
    theirs: &[Tree],
    known: &Keyed,
    keyed: &[Keyed],
    path: &mut Vec<Box<str>>,
) -> Option<Tree> {
    let keys = |list: &[Tree]| {
        let keys: Option<Vec<Tree>> = list.iter().map(|item| item.at(&known.key).cloned()).collect();
        keys.filter(|keys| keys.iter().enumerate().all(|(index, key)| !keys[..index].contains(key)))
    };
    let (base_keys, my_keys, their_keys) = (keys(base)?, keys(mine)?, keys(theirs)?);
    let find = |keys: &[Tree], key: &Tree| keys.iter().position(|known| known == key);
    let mut merged = Vec::with_capacity(mine.len());
    for (item, key) in mine.iter().zip(&my_keys) {
        let before = find(&base_keys, key).map(|index| &base[index]);
        let there = find(&their_keys, key).map(|index| &theirs[index]);
        merged.extend(member(before, Some(item), there, keyed, path));
    }
    let unseen = theirs.iter().zip(&their_keys);
    let unseen = unseen.filter(|(_, key)| find(&base_keys, key).is_none() && find(&my_keys, key).is_none());
    merged.extend(unseen.map(|(item, _)| item.clone()));
    Some(Tree::List(merged))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Document;

    fn tree(text: &str) -> Tree {
        Tree::of(Document::parse(text.to_owned().into()).unwrap().root())
    }

    fn merged(base: &str, mine: &str, theirs: &str) -> String {
        let keyed = [Keyed {
            list: vec!["lines".into()],
            key: vec!["no".into()],
        }];
        let merged = merge(&tree(base), &tree(mine), &tree(theirs), &keyed);
        merged.document().unwrap().text().to_owned()
    }

    #[test]
    fn what_the_caller_cannot_see_stays() {
        let made = merged(
            r#"{"a":1,"b":{"c":2}}"#,
            r#"{"a":9,"b":{"c":2}}"#,
            r#"{"a":1,"b":{"c":2,"d":3},"e":4}"#,
        );
        assert_eq!(made, r#"{"a":9,"b":{"c":2,"d":3},"e":4}"#);
    }

    #[test]
    fn what_it_can_see_and_leaves_out_goes_and_takes_what_is_inside_along() {
        let made = merged(
            r#"{"a":1,"b":{"c":2}}"#,
            r#"{"a":1}"#,
            r#"{"a":1,"b":{"c":2,"d":3},"e":4}"#,
        );
        assert_eq!(made, r#"{"a":1,"e":4}"#);
    }

    #[test]
    fn what_it_did_not_change_keeps_its_own_form_there() {
        // `returned` is shown as `completed`, and 19.90 as 19.9.
        let made = merged(
            r#"{"status":"completed","total":19.9,"name":"x"}"#,
            r#"{"status":"completed","total":19.90,"name":"y"}"#,
            r#"{"status":"returned","total":19.900,"name":"x"}"#,
        );
        assert_eq!(made, r#"{"status":"returned","total":19.900,"name":"y"}"#);
    }

    #[test]
    fn an_object_that_was_unseen_as_a_whole_is_added_to() {
        let made = merged(
            r#"{"a":1}"#,
            r#"{"a":1,"to":{"name":"x"}}"#,
            r#"{"a":1,"to":{"phone":"1"}}"#,
        );
        assert_eq!(made, r#"{"a":1,"to":{"phone":"1","name":"x"}}"#);
    }

    #[test]
    fn items_are_matched_by_their_key_else_the_list_is_replaced() {
        let made = merged(
            r#"{"lines":[{"no":1,"q":1},{"no":2,"q":1}]}"#,
            r#"{"lines":[{"no":3,"q":7},{"no":1,"q":5}]}"#,
            r#"{"lines":[{"no":1,"q":1,"hidden":true},{"no":2,"q":1,"hidden":true}]}"#,
        );
        assert_eq!(made, r#"{"lines":[{"no":3,"q":7},{"no":1,"q":5,"hidden":true}]}"#);
        let made = merged(
            r#"{"other":[{"no":1,"q":1}]}"#,
            r#"{"other":[{"no":1,"q":2}]}"#,
            r#"{"other":[{"no":1,"q":1,"hidden":true}]}"#,
        );
        assert_eq!(made, r#"{"other":[{"no":1,"q":2}]}"#);
    }

    #[test]
    fn keys_that_repeat_tell_nothing_apart() {
        let made = merged(
            r#"{"lines":[{"no":1}]}"#,
            r#"{"lines":[{"no":1},{"no":1}]}"#,
            r#"{"lines":[{"no":1,"hidden":true}]}"#,
        );
        assert_eq!(made, r#"{"lines":[{"no":1},{"no":1}]}"#);
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Null),
            any::<bool>().prop_map(Tree::Bool),
            (0..4_u8).prop_map(|number| Tree::Number(number.to_string().into())),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Tree::List),
                prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|members| {
                    Tree::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        /// Who changes nothing changes nothing.
        #[test]
        fn an_unchanged_document_leaves_everything(seen in any_tree(), theirs in any_tree()) {
            prop_assert_eq!(merge(&seen, &seen, &theirs, &[]), theirs);
        }

        /// Who sees everything replaces everything.
        #[test]
        fn whoever_sees_all_decides_all(theirs in any_tree(), mine in any_tree()) {
            prop_assert_eq!(merge(&theirs, &mine, &theirs, &[]), mine);
        }
    }
}
