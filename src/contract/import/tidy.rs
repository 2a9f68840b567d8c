//! Makes what a version needs of what others leave out, and notes what of their document is not enforced.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::Report;
use crate::config::{Diagnostic, SourceFile};
use crate::contract::openapi::{OpenApi, push_token};
use crate::contract::parameter::Parameter;
use crate::contract::shape::{METHODS, Shape, visit};
use crate::contract::tree::{Content, Node, Origin};
use crate::json::{Pointer, exact_options};

/// Changes a document, in the words of 3.1 or 3.2, so that a version can be loaded from it.
pub(super) fn tidy(tree: &mut Node, files: &[SourceFile], report: &mut Report) -> Result<(), Vec<Diagnostic>> {
    let mut tally = Tally::default();
    visit(
        tree,
        Shape::Document,
        &mut Vec::new(),
        &mut |shape, node, at| match shape {
            Shape::Schema => schema(node, at, report, &mut tally),
            Shape::Parameter => parameter(node, at, report),
            Shape::Response | Shape::RequestBody => media(node, at, report, &mut tally),
            Shape::Operation => operation(node, at, report, &mut tally),
            _ => {}
        },
    );
    name_operations(tree, files, report)?;
    leave_out_parameters(tree, report);
    for (name, what) in [
        (
            "webhooks",
            "webhooks: what an upstream sends on its own does not pass the gateway",
        ),
        ("security", "security: channels authenticate as the policies say"),
        ("servers", "servers: the upstream's address stands in the policies"),
    ] {
        if tree.get(name).is_some() {
            report.unenforced.push(what.to_owned());
        }
    }
    tally.tell(report);
    Ok(())
}

/// What is counted rather than listed.
#[derive(Default)]
struct Tally {
    media: BTreeMap<String, usize>,
    callbacks: usize,
    read_only: usize,
}

impl Tally {
    fn tell(self, report: &mut Report) {
        for (media, count) in self.media {
            report
                .unenforced
                .push(format!("{count} bodies of {media}: they pass unread"));
        }
        for (count, what) in [
            (self.callbacks, "callbacks: they do not pass the gateway"),
            (
                self.read_only,
                "required properties that are `readOnly`: they are asked for in requests too",
            ),
        ] {
            if count > 0 {
                report.unenforced.push(format!("{count} {what}"));
            }
        }
    }
}

/// A place as people read it: names with slashes, without escapes.
fn shown(at: &[String]) -> String {
    at.join(" ")
}

fn schema(node: &mut Node, at: &[String], report: &mut Report, tally: &mut Tally) {
    if let Some(pattern) = node.get("pattern").and_then(Node::as_str)
        && exact_options().build(&json!({ "pattern": pattern })).is_err()
    {
        report.unenforced.push(format!(
            "the pattern `{pattern}` at {}: it is no regular expression of ECMA-262",
            shown(at)
        ));
        node.take("pattern");
    }
    let required = node.get("required").and_then(Node::as_list).unwrap_or_default();
    let is_read_only = |name: &&Node| {
        let property = node
            .get("properties")
            .zip(name.as_str())
            .and_then(|(properties, name)| properties.get(name));
        property
            .and_then(|property| property.get("readOnly"))
            .is_some_and(Node::is_true)
    };
    tally.read_only += required.iter().filter(is_read_only).count();
}

/// Says by `schema` what is said by `content`, or not at all.
fn parameter(node: &mut Node, at: &[String], report: &mut Report) {
    if node.get("$ref").is_some() || node.get("in").and_then(Node::as_str) == Some("querystring") {
        return;
    }
    let name = node.get("name").and_then(Node::as_str).unwrap_or_default().to_owned();
    let origin = node.origin;
    let media = node.get("content").and_then(Node::members);
    if media.is_some_and(|media| media.len() == 1 && media.contains_key("application/json")) {
        return;
    }
    if let Some(content) = node.take("content") {
        let media = content
            .members()
            .and_then(|members| members.keys().next())
            .cloned()
            .unwrap_or_default();
        report.changed.push(format!(
            "parameter {name} at {}: described by {media}, now text",
            shown(at)
        ));
        node.set("schema", text_schema(origin));
    } else if node.get("schema").is_none() {
        report
            .changed
            .push(format!("parameter {name} at {}: without a schema, now text", shown(at)));
        node.set("schema", text_schema(origin));
    }
}

fn text_schema(origin: Origin) -> Node {
    Node::map(origin, [("type", Node::text(origin, "string"))])
}

/// Any media type is JSON where its schema is to be enforced.
fn media(node: &mut Node, at: &[String], report: &mut Report, tally: &mut Tally) {
    let Some(kinds) = node.get_mut("content").and_then(Node::members_mut) else {
        return;
    };
    for range in ["*/*", "application/*"] {
        let has_json = kinds.contains_key("application/json");
        let position = kinds.get_index_of(range);
        if let Some(position) = position.filter(|_| !has_json)
            && let Some((_, member)) = kinds.shift_remove_index(position)
        {
            report
                .changed
                .push(format!("{range} at {}: now application/json", shown(at)));
            kinds.shift_insert(position, "application/json".to_owned(), member);
        }
    }
    for name in kinds.keys() {
        let essence = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            *tally.media.entry(essence).or_default() += 1;
        }
    }
}

fn operation(node: &mut Node, at: &[String], report: &mut Report, tally: &mut Tally) {
    let origin = node.origin;
    // Callbacks describe other people's servers: their operations are not named.
    if node.get("callbacks").is_some() {
        tally.callbacks += 1;
    }
    let responses = node.section("responses").and_then(Node::members_mut);
    let Some(responses) = responses else { return };
    let written: Vec<String> = responses.keys().cloned().collect();
    for status in written {
        let upper = status.to_ascii_uppercase();
        let is_range = matches!(upper.as_bytes(), [b'1'..=b'5', b'X', b'X']);
        let is_code = status.len() == 3 && matches!(status.parse::<u16>(), Ok(100..=599));
        if status == "default" || is_code || (is_range && status == upper) {
            continue;
        }
        let Some(position) = responses.get_index_of(&status) else {
            continue;
        };
        let Some((_, member)) = responses.shift_remove_index(position) else {
            continue;
        };
        if is_range && !responses.contains_key(&upper) {
            report
                .changed
                .push(format!("status {status} at {}: now {upper}", shown(at)));
            responses.shift_insert(position.min(responses.len()), upper, member);
        } else if !status.starts_with("x-") {
            report
                .changed
                .push(format!("status {status} at {}: no status, left out", shown(at)));
        }
    }
    if responses.is_empty() {
        report
            .changed
            .push(format!("{}: answers nothing, now any answer", shown(at)));
        let any = Node::map(origin, [("description", Node::text(origin, "Any answer."))]);
        let (key, name) = (origin, "default".to_owned());
        responses.insert(name, crate::contract::tree::Member { key, value: any });
    }
}

/// Every operation of a path with its method and template.
fn each_operation(tree: &mut Node, look: &mut dyn FnMut(&str, &str, &mut Node)) {
    let Some(paths) = tree.get_mut("paths").and_then(Node::members_mut) else {
        return;
    };
    for (template, item) in paths.iter_mut().filter(|(template, _)| !template.starts_with("x-")) {
        let Some(members) = item.value.members_mut() else {
            continue;
        };
        for (method, member) in members {
            if METHODS.contains(&method.as_str()) {
                look(method, template, &mut member.value);
            } else if method == "additionalOperations" {
                for (method, member) in member.value.members_mut().into_iter().flatten() {
                    look(method, template, &mut member.value);
                }
            }
        }
    }
}

/// Gives operations without a name one that follows from method and path; two of one name are a mistake.
fn name_operations(tree: &mut Node, files: &[SourceFile], report: &mut Report) -> Result<(), Vec<Diagnostic>> {
    inline_path_items(tree);
    let mut known: HashMap<String, String> = HashMap::new();
    let mut mistakes = Vec::new();
    each_operation(tree, &mut |method, template, node| {
        let Some(id) = node.get("operationId").filter(|id| id.as_str().is_some()) else {
            return;
        };
        let what = format!("{} {template}", method.to_uppercase());
        let name = id.as_str().unwrap_or_default().to_owned();
        if let Some(other) = known.insert(name.clone(), what.clone()) {
            let mistake = id
                .origin
                .mistake(files, format!("{other} and {what} are both named `{name}`"));
            mistakes.push(mistake.help("give each operation an operationId of its own"));
        }
    });
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    each_operation(tree, &mut |method, template, node| {
        if node.get("operationId").is_some_and(|id| id.as_str().is_some()) {
            return;
        }
        let derived = derived_name(method, template);
        let mut candidates = std::iter::once(derived.clone()).chain((2..).map(|number| format!("{derived}{number}")));
        let name = candidates.find(|name| !known.contains_key(name)).unwrap_or(derived);
        let what = format!("{} {template}", method.to_uppercase());
        report.named.push(format!("{what} is {name}"));
        known.insert(name.clone(), what);
        let origin = node.origin;
        if let Some(members) = node.members_mut() {
            let (key, value) = (origin, Node::text(origin, name));
            members.shift_insert(
                0,
                "operationId".to_owned(),
                crate::contract::tree::Member { key, value },
            );
        }
    });
    Ok(())
}

/// A path described under `components` is written where it is used: each path names its operations itself.
fn inline_path_items(tree: &mut Node) {
    let items = tree
        .get("components")
        .and_then(|components| components.get("pathItems"))
        .cloned();
    let Some(items) = items else { return };
    let Some(paths) = tree.get_mut("paths").and_then(Node::members_mut) else {
        return;
    };
    for member in paths.values_mut() {
        let reference = member.value.get("$ref").and_then(Node::as_str);
        let name = reference.and_then(|reference| reference.strip_prefix("#/components/pathItems/"));
        if let Some(item) = name.and_then(|name| items.get(name)) {
            member.value = item.clone();
        }
    }
    if let Some(components) = tree.get_mut("components") {
        components.take("pathItems");
    }
}

/// `GET /orders/{orderNo}/lines` is `getOrdersByOrderNoLines`.
fn derived_name(method: &str, template: &str) -> String {
    let mut name = method.to_ascii_lowercase();
    let add = |text: &str, name: &mut String| {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let mut letters = word.chars();
            name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            name.extend(letters);
        }
    };
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (parameter, after) = after.split_once('}').unwrap_or((after, ""));
        add(literal, &mut name);
        name.push_str("By");
        add(parameter, &mut name);
        rest = after;
    }
    add(rest, &mut name);
    name
}

/// Leaves out parameters that are not read, and describes those of the path that nobody has described.
fn leave_out_parameters(tree: &mut Node, report: &mut Report) {
    let document = OpenApi::unchecked(tree);
    let mut faults: HashMap<String, Option<String>> = HashMap::new();
    let mut lists: Vec<(String, String)> = Vec::new();
    for (template, item) in document.at("/paths").as_object().into_iter().flatten() {
        let mut at = "/paths".to_owned();
        push_token(&mut at, template);
        lists.push((template.clone(), at.clone()));
        for (name, value) in item.as_object().into_iter().flatten() {
            if METHODS.contains(&name.as_str()) {
                lists.push((template.clone(), format!("{at}/{name}")));
            } else if name == "additionalOperations" {
                for method in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
                    let mut at = format!("{at}/additionalOperations");
                    push_token(&mut at, method);
                    lists.push((template.clone(), at));
                }
            }
        }
    }
    let mut described: HashMap<String, Vec<String>> = HashMap::new();
    for (template, owner) in lists {
        let written = document.at(&owner)["parameters"].as_array().map_or(0, Vec::len);
        let mut names = described.get(&template).cloned().unwrap_or_default();
        let mut gone = Vec::new();
        for position in 0..written {
            let at = format!("{owner}/parameters/{position}");
            let Some(place) = document.resolve(&at) else { continue };
            let value = document.at(&place);
            let (name, stands) = (text_of(value, "name"), text_of(value, "in"));
            let fault = faults
                .entry(place.clone())
                .or_insert_with(|| fault_of(&document, &place, value));
            match fault {
                Some(fault) => {
                    report
                        .unenforced
                        .push(format!("parameter {name} of {template}: {fault}; it is left out"));
                    gone.push(position);
                }
                None if stands == "path" => names.push(name),
                None => {}
            }
        }
        let is_operation = !document.at(&owner)["responses"].is_null();
        let missing: Vec<String> = if is_operation {
            let wanted = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
            let wanted = wanted.map(|(name, _)| name.to_owned());
            wanted.filter(|name| !names.contains(name)).collect()
        } else {
            described.insert(template.clone(), names);
            Vec::new()
        };
        change_list(tree, &owner, &gone, &missing);
        for name in missing {
            report
                .changed
                .push(format!("{{{name}}} of {template}: described as text"));
        }
    }
}

fn text_of(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Why a parameter is not read, if it is not.
fn fault_of(document: &OpenApi, place: &str, value: &Value) -> Option<String> {
    let name = value["name"].as_str().unwrap_or_default().to_ascii_lowercase();
    if value["in"] == "header" && matches!(name.as_str(), "accept" | "content-type" | "authorization") {
        return Some("OpenAPI has such header fields described elsewhere".to_owned());
    }
    let mut mistakes = Vec::new();
    Parameter::compile(document, place, &mut mistakes);
    mistakes.first().map(|mistake| mistake.message.clone())
}

fn change_list(tree: &mut Node, owner: &str, gone: &[usize], missing: &[String]) {
    if gone.is_empty() && missing.is_empty() {
        return;
    }
    let tokens = Pointer::parse(owner).unwrap_or_default();
    let Some(owner) = tree.at_mut(tokens.tokens()) else {
        return;
    };
    let origin = owner.origin;
    if owner.get("parameters").and_then(Node::as_list).is_none() {
        owner.set("parameters", Node::list(origin, Vec::new()));
    }
    let Some(list) = owner.get_mut("parameters").and_then(Node::as_list_mut) else {
        return;
    };
    for position in gone.iter().rev() {
        list.remove(*position);
    }
    for name in missing {
        let mut parameter = Node::map(
            origin,
            [
                ("name", Node::text(origin, name.clone())),
                ("in", Node::text(origin, "path")),
                ("schema", text_schema(origin)),
            ],
        );
        let required = Node {
            origin,
            content: Content::Bool(true),
        };
        parameter.set("required", required);
        list.push(parameter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_method_and_path() {
        for (method, template, name) in [
            ("get", "/orders", "getOrders"),
            ("get", "/orders/{orderNo}", "getOrdersByOrderNo"),
            (
                "post",
                "/orders/{orderNo}/lines/{pos}/cancel",
                "postOrdersByOrderNoLinesByPosCancel",
            ),
            ("COPY", "/api/v1/sales-orders", "copyApiV1SalesOrders"),
            ("get", "/", "get"),
            ("get", "/orders/{id}.{format}", "getOrdersByIdByFormat"),
            ("get", "/A_SalesOrder('{key}')/to_Item", "getASalesOrderByKeyToItem"),
        ] {
            assert_eq!(derived_name(method, template), name, "{template}");
        }
    }
}
