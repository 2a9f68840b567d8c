//! Lists that become objects or groups, and back.

use serde_json::{Value, json};

use super::super::plan::Walk;
use super::members::Members;
use super::{Flow, Presence, Scope, any_of};
use crate::contract::containment::{Conj, Types};
use crate::contract::convert::{Grouping, Naming, Pair};

impl Flow<'_> {
    /// A list of names and values to an object.
    pub(super) fn pivot(&mut self, conj: &Conj, pair: &Pair, place: (u32, u32)) -> Value {
        let [key, member] = &pair.names;
        let (least, most) = (
            conj.at_least(self.side, "minItems"),
            conj.at_most(self.side, "maxItems"),
        );
        let item = conj.item(self.side, 0);
        let is_plain = conj.prefix(self.side) == 0 && self.has_only(&item, &[key, member]);
        let is_named = item.member(self.side, key).types.is_within(Types::STRING);
        if !is_plain || !is_named {
            let why = format!("an item that is not a `{key}` with its `{member}` alone");
            self.at_items(|flow| flow.refuse(place, &why, None));
        }
        if most.is_none_or(|most| most > 1) {
            self.refuse(place, "a name that stands twice", None);
        }
        let value = item.member(self.side, member);
        let value = self.plainly(&value);
        let mut object = json!({ "type": "object", "additionalProperties": value });
        object["propertyNames"] = self.plainly(&item.member(self.side, key).only(Types::STRING));
        object["minProperties"] = least.into();
        if let Some(most) = most {
            object["maxProperties"] = most.into();
        }
        object
    }

    /// An object to a list of names and values.
    pub(super) fn unpivot(&mut self, conj: &Conj, pair: &Pair) -> Value {
        let [key, member] = &pair.names;
        let names = conj.names(self.side);
        let others = self.unnamed(conj);
        let mut values: Vec<Value> = Vec::new();
        for name in &names {
            values.push(self.plainly(&conj.member(self.side, name)));
        }
        values.extend(others.iter().map(|other| self.plainly(other)));
        let listed: Vec<Value> = names.iter().cloned().map(Value::from).collect();
        let mut names_of = if others.is_empty() {
            json!({ "enum": listed })
        } else {
            json!({ "type": "string" })
        };
        let said = conj.parts.iter().filter_map(|part| {
            let said = self.side.keywords(part).get("propertyNames")?;
            said.is_object()
                .then(|| json!({ "$ref": crate::contract::openapi::fragment(&format!("{part}/propertyNames")) }))
        });
        let said: Vec<Value> = said.collect();
        if !said.is_empty() && !others.is_empty() {
            names_of["allOf"] = said.into();
        }
        let mut made = Members::default();
        made.put(key, names_of, Presence::Always);
        made.put(member, any_of(values), Presence::Always);
        let mut list = json!({ "type": "array", "items": made.schema() });
        let required = conj.required(self.side).len() as u64;
        list["minItems"] = conj.at_least(self.side, "minProperties").max(required).into();
        let closed = others.is_empty().then_some(names.len() as u64);
        let most = conj.at_most(self.side, "maxProperties").into_iter().chain(closed).min();
        if let Some(most) = most {
            list["maxItems"] = most.into();
        }
        list
    }

    /// A list to an object of named items.
    pub(super) fn named(
        &mut self,
        conj: &Conj,
        naming: &Naming,
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Value {
        let item = conj.item(self.side, 0);
        let key = item.member(self.side, &naming.key_name);
        let most = conj.at_most(self.side, "maxItems");
        let is_keyed = item.required(self.side).contains(&*naming.key_name) && key.types == Types::STRING;
        if conj.prefix(self.side) > 0 || item.types != Types::OBJECT || !is_keyed {
            let why = format!("an item without text in `{}`", naming.key_name);
            self.at_items(|flow| flow.refuse(place, &why, None));
        }
        if most.is_none_or(|most| most > 1) {
            self.refuse(place, "an item whose key stands twice", None);
        }
        let listed = key.listed(self.side);
        let is_named = |key: &Value| key.as_str().is_some_and(|key| naming.names.contains_key(key));
        let is_complete = listed.as_ref().is_some_and(|keys| keys.iter().all(is_named));
        if !naming.names.is_empty() && !is_complete {
            if naming.drops_others {
                self.unreturned(place, "items with other keys are left out", None);
            } else {
                self.at_items(|flow| flow.refuse(place, "a key that has no name", None));
            }
        }
        let walk = Self::item_walk(walk).clone();
        let under = |flow: &mut Self, name: &str| {
            flow.to.push(name.to_owned());
            let made = flow.at_source(&["0"], |flow| flow.value(&item.only(Types::OBJECT), &walk, Some(scope)));
            flow.to.pop();
            made
        };
        let mut object = if naming.names.is_empty() {
            let made = under(self, "*");
            let names = self.plainly(&key.only(Types::STRING));
            json!({ "type": "object", "additionalProperties": made, "propertyNames": names })
        } else {
            let can_come = |key: &str| {
                listed
                    .as_ref()
                    .is_none_or(|keys| keys.iter().any(|other| *other == *key))
            };
            let mut made = Members::default();
            for (_, name) in naming.names.iter().filter(|(key, _)| can_come(key)) {
                let schema = under(self, name);
                made.put(name, schema, Presence::Maybe);
            }
            made.schema()
        };
        if naming.names.is_empty() || is_complete {
            object["minProperties"] = conj.at_least(self.side, "minItems").into();
        }
        if let Some(most) = most {
            object["maxProperties"] = most.into();
        }
        object
    }

    /// An object of named items to a list.
    pub(super) fn keyed(
        &mut self,
        conj: &Conj,
        naming: &Naming,
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Value {
        let named: Vec<String> = conj.names(self.side).into_iter().collect();
        let members: Vec<(Option<String>, Conj)> = named
            .into_iter()
            .map(|name| {
                let member = conj.member(self.side, &name);
                (Some(name), member)
            })
            .filter(|(_, member)| !self.is_void(member))
            .chain(self.unnamed(conj).into_iter().map(|other| (None, other)))
            .collect();
        let (mut least, mut most, mut made) = (0_u64, Some(0_u64), Vec::new());
        let required = conj.required(self.side);
        let walk = Self::item_walk(walk).clone();
        for (name, member) in members {
            let key = match &name {
                _ if naming.names.is_empty() => match &name {
                    Some(name) => json!({ "const": name }),
                    None => json!({ "type": "string" }),
                },
                Some(name) if naming.keys.contains_key(&**name) => json!({ "const": naming.keys[&**name] }),
                _ if naming.drops_others => {
                    self.unreturned(place, "members of other names are left out", None);
                    continue;
                }
                _ => {
                    self.refuse(place, "a member that has no key", None);
                    continue;
                }
            };
            let at = name.clone().unwrap_or_else(|| "*".to_owned());
            if member.types != Types::OBJECT {
                self.at_source(&[&at], |flow| {
                    flow.refuse(place, "something else where an object is expected", None);
                });
            }
            match &name {
                Some(name) => {
                    least += u64::from(required.contains(name));
                    most = most.map(|most| most + 1);
                }
                None => most = None,
            }
            self.given = vec![(naming.key_name.to_string(), key)];
            self.to.push("[]".to_owned());
            let item = self.at_source(&[&at], |flow| {
                flow.value(&member.only(Types::OBJECT), &walk, Some(scope))
            });
            self.to.pop();
            self.given.clear();
            made.push(item);
        }
        let mut list = json!({ "type": "array", "items": any_of(made), "minItems": least });
        let declared = conj.at_most(self.side, "maxProperties");
        if let Some(most) = most.into_iter().chain(declared).min() {
            list["maxItems"] = most.into();
        }
        list
    }

    /// A list to a list of groups.
    pub(super) fn group(
        &mut self,
        conj: &Conj,
        grouping: &Grouping,
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Value {
        self.unreturned(place, "items may come back in another order", None);
        let item = conj.item(self.side, 0);
        if conj.prefix(self.side) > 0 || item.types != Types::OBJECT {
            self.at_items(|flow| flow.refuse(place, "something else where an object is expected", None));
        }
        let mut group = Members::default();
        let required = item.required(self.side);
        for by in &grouping.by {
            let member = item.member(self.side, &by.item_name);
            let is_scalar = member.types.is_within(Types::STRING | Types::NUMBER | Types::BOOL);
            if !is_scalar || !required.contains(&*by.item_name) {
                let why = format!("an item without a value in `{}`", by.item_name);
                self.at_items(|flow| flow.refuse(place, &why, None));
            }
            let member = member.only(Types::STRING | Types::NUMBER | Types::BOOL);
            let schema = self.plainly(&member);
            group.put(&by.group_name, schema, Presence::Always);
        }
        let walk = Self::item_walk(walk).clone();
        let items = {
            self.to.push("[]".to_owned());
            self.to.push(grouping.items_name.to_string());
            let made = self.at_items(|flow| flow.value(&item, &walk, Some(scope)));
            self.to.truncate(self.to.len() - 2);
            made
        };
        let mut list = json!({ "type": "array", "items": items, "minItems": 1 });
        let (least, most) = (
            conj.at_least(self.side, "minItems"),
            conj.at_most(self.side, "maxItems"),
        );
        if let Some(most) = most {
            list["maxItems"] = most.into();
        }
        group.put(&grouping.items_name, list, Presence::Always);
        let mut groups = json!({ "type": "array", "items": group.schema(), "minItems": least.min(1) });
        if let Some(most) = most {
            groups["maxItems"] = most.into();
        }
        groups
    }

    /// A list of groups to a list.
    pub(super) fn flatten(
        &mut self,
        conj: &Conj,
        grouping: &Grouping,
        walk: &Walk,
        scope: &Scope<'_>,
        place: (u32, u32),
    ) -> Value {
        self.unreturned(place, "items may come back in other groups", None);
        let group = conj.item(self.side, 0);
        let mut names: Vec<&str> = grouping.by.iter().map(|by| &*by.group_name).collect();
        names.push(&grouping.items_name);
        let list = group.member(self.side, &grouping.items_name);
        let item = list.item(self.side, 0);
        let is_list = list.types == Types::ARRAY && list.at_least(self.side, "minItems") > 0;
        let is_plain = conj.prefix(self.side) + list.prefix(self.side) == 0 && self.has_only(&group, &names);
        if !is_list || !is_plain || item.types != Types::OBJECT {
            let why = "a group that is not what makes it one and a list of items alone";
            self.at_items(|flow| flow.refuse(place, why, None));
        }
        let given: Vec<(String, Value)> = grouping
            .by
            .iter()
            .map(|by| {
                (
                    by.item_name.to_string(),
                    self.plainly(&group.member(self.side, &by.group_name)),
                )
            })
            .collect();
        self.given = given;
        let walk = Self::item_walk(walk).clone();
        let items = self.at_items(|flow| {
            flow.at_source(&[&*grouping.items_name, "0"], |flow| {
                flow.value(&item.only(Types::OBJECT), &walk, Some(scope))
            })
        });
        self.given.clear();
        let product = |one: u64, other: u64| one.saturating_mul(other);
        let least = product(
            conj.at_least(self.side, "minItems"),
            list.at_least(self.side, "minItems").max(1),
        );
        let mut flat = json!({ "type": "array", "items": items, "minItems": least });
        let most = conj
            .at_most(self.side, "maxItems")
            .zip(list.at_most(self.side, "maxItems"));
        if let Some((groups, items)) = most {
            flat["maxItems"] = product(groups, items).into();
        }
        flat
    }

    /// Whether it is an object that always has these members and never others.
    fn has_only(&self, conj: &Conj, names: &[&str]) -> bool {
        let required = conj.required(self.side);
        let mut known = conj.names(self.side).into_iter();
        conj.types == Types::OBJECT
            && names.iter().all(|name| required.contains(*name))
            && known.all(|name| names.contains(&&*name) || self.is_void(&conj.member(self.side, &name)))
            && self.unnamed(conj).is_empty()
    }
}
