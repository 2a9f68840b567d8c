//! What the schemas of an `OpenAPI` document say of values, in the types of expressions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::openapi::OpenApi;
use crate::expression::{Schemas, Shape, Type};

/// Lists in lists that are followed; deeper ones hold anything.
const DEPTH_LIMIT: usize = 8;

impl Schemas for OpenApi {
    fn field(&self, place: &str, name: &str) -> Option<Type> {
        let is_required = self.required(place).contains(name);
        let mut kind = match self.properties(place).get(name) {
            Some(property) => self.value_type(property),
            None => self.other_field(place)?,
        };
        kind.may_be_absent = !is_required;
        Some(kind)
    }

    fn field_names(&self, place: &str) -> Vec<String> {
        self.properties(place).into_keys().collect()
    }
}

impl OpenApi {
    /// The type of values of the schema at a pointer.
    pub(super) fn value_type(&self, pointer: &str) -> Type {
        self.type_within(pointer, 0)
    }

    /// The type of a field that is not described. `None` if there is none.
    fn other_field(&self, place: &str) -> Option<Type> {
        let has_more = |keyword| {
            self.parts(place)
                .iter()
                .any(|part| self.at(part).get(keyword).is_some())
        };
        if has_more("patternProperties") || !self.choices(place).is_empty() {
            return Some(Shape::Dyn.into());
        }
        if self.is_closed(place) {
            return None;
        }
        let other = self.additional(place).map(|other| self.value_type(&other));
        Some(other.unwrap_or(Shape::Dyn.into()))
    }

    fn type_within(&self, pointer: &str, depth: usize) -> Type {
        let Some(pointer) = self.resolve(pointer).filter(|_| depth < DEPTH_LIMIT) else {
            return Shape::Dyn.into();
        };
        let parts = self.parts(&pointer);
        let find = |keyword: &'static str| parts.iter().filter_map(move |part| self.at(part).get(keyword));
        let Some(mut names) = self.type_names(&parts) else {
            return self.untyped(&pointer, depth);
        };
        let may_be_null = names.remove("null") && find("enum").all(has_null) && find("const").all(Value::is_null);
        let is_number = names.iter().all(|name| matches!(name.as_str(), "integer" | "number"));
        let shape = match names.iter().next().map(String::as_str) {
            None => Shape::Never,
            Some("integer") if names.len() == 1 => Shape::Int,
            Some(_) if is_number => Shape::Decimal,
            Some(_) if names.len() > 1 => Shape::Dyn,
            Some("boolean") => Shape::Bool,
            Some("object") => Shape::Object(pointer.as_str().into()),
            Some("array") => {
                let bound = |keyword: &'static str| find(keyword).filter_map(Value::as_u64);
                let is_tuple = find("prefixItems").next().is_some();
                let items = self.items(&pointer).filter(|_| !is_tuple);
                let item = items.map_or(Shape::Dyn.into(), |items| self.type_within(&items, depth + 1));
                Shape::List {
                    item: item.into(),
                    least: bound("minItems").max().unwrap_or_default(),
                    most: bound("maxItems").min(),
                }
            }
            Some("string") => match find("format").find_map(Value::as_str) {
                Some("date") => Shape::Date,
                Some("date-time") => Shape::Timestamp,
                _ => Shape::String(self.listed(&pointer, &parts)),
            },
            Some(_) => Shape::Dyn,
        };
        let mut kind = Type::from(shape);
        kind.may_be_null = may_be_null && kind.shape != Shape::Dyn;
        kind
    }

    /// The types that all parts of a schema allow. `None` if none says.
    fn type_names(&self, parts: &[String]) -> Option<BTreeSet<String>> {
        let mut names: Option<BTreeSet<String>> = None;
        for part in parts {
            let written: BTreeSet<String> = match self.at(part).get("type") {
                Some(Value::String(name)) => BTreeSet::from([name.clone()]),
                Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => continue,
            };
            names = Some(match names {
                // A whole number is a number.
                Some(known) if written.contains("number") && !written.contains("integer") => {
                    let is_common = |name: &String| name == "integer" || written.contains(name);
                    known.into_iter().filter(is_common).collect()
                }
                Some(known) => known.intersection(&written).cloned().collect(),
                None => written,
            });
        }
        names.filter(|names| !names.is_empty())
    }

    /// Without `type`: codes, or a choice between one schema and `null`.
    fn untyped(&self, pointer: &str, depth: usize) -> Type {
        let parts = self.parts(pointer);
        let values = parts.iter().find_map(|part| self.at(part).get("enum")?.as_array());
        if values.is_some_and(|values| values.iter().all(Value::is_string)) {
            return Shape::String(self.listed(pointer, &parts)).into();
        }
        if let [one, other] = self.choices(pointer).as_slice()
            && parts.iter().all(|part| self.at(part).get("prefixItems").is_none())
        {
            let is_null = |place: &str| self.at(place).get("type").and_then(Value::as_str) == Some("null");
            match (is_null(one), is_null(other)) {
                (true, false) => return self.nullable(other, depth),
                (false, true) => return self.nullable(one, depth),
                _ => {}
            }
        }
        Shape::Dyn.into()
    }

    fn nullable(&self, pointer: &str, depth: usize) -> Type {
        let kind = self.type_within(pointer, depth + 1);
        if kind.shape == Shape::Dyn { kind } else { kind.or_null() }
    }

    /// The texts a value may be, if they are listed.
    fn listed(&self, pointer: &str, parts: &[String]) -> Option<std::sync::Arc<[Box<str>]>> {
        let constant = parts.iter().find_map(|part| self.at(part).get("const")?.as_str());
        if let Some(constant) = constant {
            return Some([constant.into()].into());
        }
        let codes = self.codes(pointer)?;
        Some(codes.into_iter().map(String::into_boxed_str).collect())
    }
}

fn has_null(listed: &Value) -> bool {
    listed
        .as_array()
        .is_some_and(|values| values.iter().any(Value::is_null))
}
