//! The part of a document that some schemas lead to.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::contract::openapi::target_of;

/// What the schemas at these pointers lead to, each at its own pointer; nothing else of the document.
pub(in crate::contract) fn excerpt(document: &Value, pointers: &[&str]) -> Value {
    let mut taken = Value::Object(Map::new());
    let mut seen: HashSet<String> = HashSet::new();
    let mut waiting: Vec<String> = pointers.iter().map(|pointer| owner(pointer)).collect();
    while let Some(pointer) = waiting.pop() {
        if !seen.insert(pointer.clone()) {
            continue;
        }
        let Some(value) = document.pointer(&pointer) else {
            continue;
        };
        collect(value, &mut waiting);
        put(&mut taken, &pointer, value.clone());
    }
    taken
}

/// Named schemas are taken whole, whatever part of them is meant.
fn owner(pointer: &str) -> String {
    let mut parts = pointer.splitn(5, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(""), Some("components"), Some("schemas"), Some(name)) => format!("/components/schemas/{name}"),
        _ => pointer.to_owned(),
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.extend(target_of(reference).map(|target| owner(&target)));
            }
            members.values().for_each(|member| collect(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Puts a value at a pointer. What stands around it is an object, also where the document has a list.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let mut at = document;
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Array(items) => match name.parse::<usize>().ok().and_then(|position| items.get_mut(position)) {
                Some(item) => item,
                None => return,
            },
            Value::Object(members) => members.entry(name).or_insert_with(|| Value::Object(Map::new())),
            // It is there already, as part of what is around it.
            _ => return,
        };
    }
    *at = value;
}
