//! Lists that become objects or groups, and back.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::super::plan::Walk;
use super::{Fault, Given, Run, Scope, shown_text, text};
use crate::contract::convert::{Grouping, Naming, Pair};
use crate::json::{Decimal, Kind, MemberName, Value};

impl<'a> Run<'a> {
    /// One text to a list of texts.
    pub(super) fn apart(&mut self, value: Value<'a>, separator: &str) -> Result<(), Fault> {
        let text = value.as_str().unwrap_or_default();
        let begun = self.out.begin_array();
        for item in text.split(separator).filter(|_| !text.is_empty()) {
            if item.is_empty() {
                return Err(Fault::at(value, format!("{} has an empty item", shown_text(&text))));
            }
            self.out.element(begun);
            self.out.string(item);
        }
        self.out.end(begun);
        Ok(())
    }

    /// A list of texts to one.
    pub(super) fn together(&mut self, list: Value<'a>, separator: &str) -> Result<(), Fault> {
        let mut joined = String::new();
        for (position, item) in list.elements().enumerate() {
            let text = item
                .as_str()
                .ok_or_else(|| Fault::at(item, "something else where text is expected"))?;
            if position > 0 {
                joined.push_str(separator);
            }
            joined.push_str(&text);
            // Separators may come about where two texts meet, too.
            if text.is_empty() || joined.split(separator).count() != position + 1 {
                let detail = format!("{} could not be told apart from its neighbours", shown_text(&text));
                return Err(Fault::at(item, detail));
            }
        }
        self.out.string(&joined);
        Ok(())
    }

    /// A list of names and values to an object.
    pub(super) fn pivot(&mut self, list: Value<'a>, pair: &Pair) -> Result<(), Fault> {
        let [key, member] = &pair.names;
        let mut known = HashSet::with_capacity(list.len());
        let begun = self.out.begin_object();
        for item in list.elements() {
            let name = item.get(key).and_then(Value::as_str);
            let name = name.ok_or_else(|| Fault::at(item, format!("an item without a name in `{key}`")))?;
            let value = item.get(member);
            let value = value.ok_or_else(|| Fault::at(item, format!("an item without a value in `{member}`")))?;
            if item.len() > 2 {
                let detail = format!("an item with more than `{key}` and `{member}`");
                return Err(Fault::at(item, detail));
            }
            self.out.name(begun, &MemberName::new(&name));
            self.out.copy(value);
            if let Some(name) = known.replace(name) {
                return Err(Fault::at(item, format!("a second value for {}", shown_text(&name))));
            }
        }
        self.out.end(begun);
        Ok(())
    }

    /// An object to a list of names and values.
    pub(super) fn unpivot(&mut self, object: Value<'a>, pair: &Pair) {
        let begun = self.out.begin_array();
        for (name, value) in object.members() {
            self.out.element(begun);
            let item = self.out.begin_object();
            self.out.name(item, &pair.key);
            self.out.string(&name.text());
            self.out.name(item, &pair.value);
            self.out.copy(value);
            self.out.end(item);
        }
        self.out.end(begun);
    }

    /// A list to an object: each item under the name that its key stands for.
    pub(super) fn named(
        &mut self,
        list: Value<'a>,
        naming: &Naming,
        walk: &Walk,
        scope: &Scope<'_, 'a>,
    ) -> Result<(), Fault> {
        let mut known = HashSet::with_capacity(list.len());
        let begun = self.out.begin_object();
        for item in list.elements() {
            let key = Some(item).filter(|item| item.kind() == Kind::Object);
            let key = key.and_then(|item| item.get(&naming.key_name)?.as_str());
            let key = key.ok_or_else(|| Fault::at(item, format!("an item without text in `{}`", naming.key_name)))?;
            let name = match naming.names.get(&*key) {
                Some(name) => Cow::Borrowed(&**name),
                None if naming.names.is_empty() => key.clone(),
                None if naming.drops_others => continue,
                None => return Err(Fault::at(item, format!("{} has no name here", shown_text(&key)))),
            };
            self.out.name(begun, &MemberName::new(&name));
            self.value(item, item_walk(walk), Some(scope))?;
            if let Some(key) = known.replace(key) {
                return Err(Fault::at(item, format!("a second item for {}", shown_text(&key))));
            }
        }
        self.out.end(begun);
        Ok(())
    }

    /// An object to a list: each member, in their order, with the key that its name stands for.
    pub(super) fn keyed(
        &mut self,
        object: Value<'a>,
        naming: &'a Naming,
        walk: &Walk,
        scope: &Scope<'_, 'a>,
    ) -> Result<(), Fault> {
        let begun = self.out.begin_array();
        for (name, member) in object.members() {
            let name = name.text();
            let key = match naming.keys.get(&*name) {
                Some(key) => Cow::Borrowed(&**key),
                None if naming.names.is_empty() => name,
                None if naming.drops_others => continue,
                None => return Err(Fault::at(member, format!("{} has no key there", shown_text(&name)))),
            };
            if member.kind() != Kind::Object {
                return Err(Fault::at(member, "something else where an object is expected"));
            }
            self.out.element(begun);
            self.given = vec![(&naming.key, Given::Text(key))];
            self.value(member, item_walk(walk), Some(scope))?;
        }
        self.out.end(begun);
        Ok(())
    }

    /// A list to a list of groups, in the order in which each is met first.
    pub(super) fn group(
        &mut self,
        list: Value<'a>,
        grouping: &Grouping,
        walk: &Walk,
        scope: &Scope<'_, 'a>,
    ) -> Result<(), Fault> {
        type Group<'g> = (Vec<Value<'g>>, Vec<Value<'g>>);
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut known: HashMap<Vec<Cow<'a, str>>, usize> = HashMap::new();
        for item in list.elements() {
            let (mut values, mut texts) = (Vec::new(), Vec::new());
            for by in &grouping.by {
                let value = item.get(&by.item_name);
                let found = value.and_then(|value| Some((value, text(value)?)));
                let (value, text) =
                    found.ok_or_else(|| Fault::at(item, format!("an item without a value in `{}`", by.item_name)))?;
                values.push(value);
                texts.push(text);
            }
            let number = *known.entry(texts).or_insert(groups.len());
            match groups.get_mut(number) {
                Some((_, items)) => items.push(item),
                None => groups.push((values, vec![item])),
            }
        }
        let begun = self.out.begin_array();
        for (values, items) in groups {
            self.out.element(begun);
            let group = self.out.begin_object();
            for (by, value) in grouping.by.iter().zip(values) {
                self.out.name(group, &by.in_group);
                self.out.copy(value);
            }
            self.out.name(group, &grouping.items);
            let flat = self.out.begin_array();
            for item in items {
                self.out.element(flat);
                self.value(item, item_walk(walk), Some(scope))?;
            }
            self.out.end(flat);
            self.out.end(group);
        }
        self.out.end(begun);
        Ok(())
    }

    /// A list of groups to a list, in the order that was agreed.
    pub(super) fn flatten(
        &mut self,
        list: Value<'a>,
        grouping: &'a Grouping,
        walk: &Walk,
        scope: &Scope<'_, 'a>,
    ) -> Result<(), Fault> {
        let mut rows: Vec<(Vec<(&'a MemberName, Given<'a>)>, Value<'a>)> = Vec::new();
        for group in list.elements() {
            let mut given = Vec::with_capacity(grouping.by.len());
            for by in &grouping.by {
                let value = group.get(&by.group_name);
                let value =
                    value.ok_or_else(|| Fault::at(group, format!("a group without a value in `{}`", by.group_name)))?;
                given.push((&by.in_item, Given::Value(value)));
            }
            if group.len() > given.len() + 1 {
                let detail = format!(
                    "a group with more than its items and what makes it one of {}",
                    list.len()
                );
                return Err(Fault::at(group, detail));
            }
            let items = group
                .get(&grouping.items_name)
                .filter(|items| items.kind() == Kind::Array);
            let items = items
                .ok_or_else(|| Fault::at(group, format!("a group without a list in `{}`", grouping.items_name)))?;
            if items.is_empty() {
                return Err(Fault::at(
                    items,
                    "a group without items, of which nothing would be left",
                ));
            }
            for item in items.elements() {
                if item.kind() != Kind::Object {
                    return Err(Fault::at(item, "something else where an object is expected"));
                }
                rows.push((given.clone(), item));
            }
        }
        if let Some(member) = &grouping.order_by {
            // Sorting is stable: items without the member stay where their groups put them, behind the others.
            let by = |item: Value<'a>| member.iter().try_fold(item, |value, name| value.get(name));
            rows.sort_by(|(_, one), (_, other)| order(by(*one), by(*other)));
        }
        let begun = self.out.begin_array();
        for (given, item) in rows {
            self.out.element(begun);
            self.given = given;
            self.value(item, item_walk(walk), Some(scope))?;
        }
        self.out.end(begun);
        Ok(())
    }
}

/// What is done with an item of a list.
fn item_walk(walk: &Walk) -> &Walk {
    match walk {
        Walk::Inside(inside) => inside.items.as_ref().unwrap_or(&Walk::Whole),
        _ => &Walk::Whole,
    }
}

/// Numbers by their value, texts letter by letter, what is not there last.
fn order(one: Option<Value<'_>>, other: Option<Value<'_>>) -> std::cmp::Ordering {
    let numbers = one.and_then(number).zip(other.and_then(number));
    if let Some((one, other)) = numbers {
        return one.cmp(&other);
    }
    let key = |value: Option<Value<'_>>| {
        value
            .and_then(text)
            .map_or((true, String::new()), |text| (false, text.into_owned()))
    };
    key(one).cmp(&key(other))
}

fn number(value: Value<'_>) -> Option<Decimal<'_>> {
    Decimal::parse(value.as_number_text()?)
}
