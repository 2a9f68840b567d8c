//! Overlays: changes to a document that lie beside it, so that a vendor's file stays as it came (`OpenAPI` Overlay 1.1).

use std::cmp::Ordering;

use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

use super::tree::{Content, Member, Node};
use crate::config::{Diagnostic, SourceFile, yaml};

/// Longest target in bytes, most brackets within brackets, most searches of all levels (`..`): what a person writes has
/// fewer, and each costs time.
const TARGET_LIMITS: (usize, usize, usize) = (1_000, 16, 3);

/// Whether a file's name is that of an overlay: `overlay.yaml`, `prices.overlay.yaml`.
pub(crate) fn is_overlay(path: &std::path::Path) -> bool {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|extension| {
        let name = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
        name.is_some_and(|name| name == "overlay" || name.ends_with(".overlay"))
    })
}

/// Applies the overlay that is file `index`, action by action. Returns warnings, or all mistakes.
pub(super) fn apply(
    document: &mut Node,
    files: &[SourceFile],
    index: usize,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let Some(file) = files.get(index) else {
        return Ok(Vec::new());
    };
    let overlay = Node::read(file, index).map_err(|mistake| vec![mistake])?;
    let mut run = Run {
        files,
        overlay: &overlay,
        value: None,
        mistakes: Vec::new(),
        warnings: Vec::new(),
    };
    run.check_head();
    let actions = overlay.get("actions").and_then(Node::as_list).unwrap_or_default();
    for (position, action) in actions.iter().enumerate() {
        run.act(document, action, &format!("/actions/{position}"));
    }
    if run.mistakes.is_empty() {
        Ok(run.warnings)
    } else {
        run.mistakes.append(&mut run.warnings);
        Err(run.mistakes)
    }
}

struct Run<'r> {
    files: &'r [SourceFile],
    overlay: &'r Node,
    /// The document as plain values, for as long as no action has changed it.
    value: Option<Value>,
    mistakes: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// The way to a node: names and positions.
type Way = Vec<Token>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Position(usize),
    Name(String),
}

impl Run<'_> {
    fn mistake(&mut self, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        let mistake = self.overlay.origin_of(pointer).mistake(self.files, message);
        self.mistakes.push(mistake.help(help));
    }

    fn check_head(&mut self) {
        let version = match self.overlay.get("overlay").map(|version| &version.content) {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        if !["1.0", "1.1"]
            .iter()
            .any(|known| version == *known || version.starts_with(&format!("{known}.")))
        {
            self.mistake(
                "/overlay",
                format!("the overlay's version `{version}` is not read"),
                "begin the file with `overlay: 1.1.0`, or 1.0.0",
            );
        }
        self.check_keys(self.overlay, "", &["overlay", "info", "extends", "actions"]);
        if self
            .overlay
            .get("actions")
            .and_then(Node::as_list)
            .is_none_or(<[Node]>::is_empty)
        {
            self.mistake(
                "/actions",
                "this overlay has no actions",
                "add some: `actions: [{ target: $.info, update: { title: … } }]`",
            );
        }
        let own = self
            .files
            .first()
            .and_then(|file| file.path.file_name())
            .unwrap_or_default()
            .to_string_lossy();
        if let Some(extends) = self.overlay.get("extends").and_then(Node::as_str) {
            // What has a scheme is a name that only the document's vendor can confirm.
            let is_other = !extends.contains("://") && extends.trim_start_matches("./") != own;
            if is_other {
                self.mistake(
                    "/extends",
                    format!("this overlay extends `{extends}`, and lies beside `{own}`"),
                    format!("write `extends: ./{own}`, or leave it out"),
                );
            }
        }
    }

    fn check_keys(&mut self, node: &Node, pointer: &str, known: &[&str]) {
        for name in node.members().into_iter().flat_map(|members| members.keys()) {
            if !known.contains(&name.as_str()) && !name.starts_with("x-") {
                let help = yaml::instead(name, known.iter().copied());
                let mut at = pointer.to_owned();
                super::openapi::push_token(&mut at, name);
                let key = node
                    .members()
                    .and_then(|members| members.get(name))
                    .map(|member| member.key);
                let mistake = key
                    .unwrap_or_default()
                    .mistake(self.files, format!("unknown key `{name}`"));
                self.mistakes.push(mistake.help(help));
            }
        }
    }

    fn act(&mut self, document: &mut Node, action: &Node, at: &str) {
        self.check_keys(action, at, &["target", "description", "update", "remove", "copy"]);
        let Some(target) = action.get("target").and_then(Node::as_str) else {
            return self.mistake(
                at,
                "this action has no target",
                "add a JSONPath: `target: $.paths['/orders'].get`",
            );
        };
        let is_removal = action.get("remove").is_some_and(Node::is_true);
        let (update, copy) = (action.get("update"), action.get("copy"));
        if update.is_some() && copy.is_some() {
            return self.mistake(at, "this action has both `update` and `copy`", "make two actions of it");
        }
        if !is_removal && update.is_none() && copy.is_none() {
            return self.mistake(
                at,
                "this action changes nothing",
                "add `update: …`, `remove: true` or `copy: JSONPATH`",
            );
        }
        let Some(ways) = self.select(document, target, &format!("{at}/target")) else {
            return;
        };
        if ways.is_empty() {
            let place = self.overlay.origin_of(&format!("{at}/target"));
            let warning = place.mistake(self.files, format!("`{target}` matches nothing in the document"));
            let help = "the vendor's file may have changed: look where this has gone, or remove the action";
            return self.warnings.push(warning.warning().help(help));
        }
        if is_removal {
            return self.remove(document, &ways, at);
        }
        let copied;
        let (update, key) = match (update, copy.and_then(Node::as_str)) {
            (Some(update), _) => (update, "update"),
            (None, Some(source)) => {
                let Some(found) = self.select(document, source, &format!("{at}/copy")) else {
                    return;
                };
                let [way] = found.as_slice() else {
                    let count = found.len();
                    return self.mistake(
                        &format!("{at}/copy"),
                        format!("`{source}` matches {count} places, and one is copied"),
                        "give a JSONPath that leads to one place",
                    );
                };
                let Some(found) = find(document, way) else { return };
                copied = found.clone();
                (&copied, "copy")
            }
            (None, None) => return self.mistake(&format!("{at}/copy"), "`copy` is a JSONPath", "write it as text"),
        };
        self.value = None;
        for way in &ways {
            let Some(node) = find(document, way) else { continue };
            if let Err(clash) = merge(node, update, &mut Vec::new()) {
                let mut pointer = format!("{at}/{key}");
                if key == "update" {
                    clash
                        .path
                        .iter()
                        .for_each(|name| super::openapi::push_token(&mut pointer, name));
                }
                let message = format!("{} cannot be merged into {} at `{target}`", clash.new, clash.old);
                let help = "merge maps with maps, lists with lists and plain values with plain values; remove the old one first";
                return self.mistake(&pointer, message, help);
            }
        }
    }

    /// The nodes that a `JSONPath` selects, in the order of the document; none if it is not one.
    fn select(&mut self, document: &Node, path: &str, at: &str) -> Option<Vec<Way>> {
        let (length, depth, searches) = TARGET_LIMITS;
        let nesting = path.chars().fold((0_usize, 0), |(open, most), c| match c {
            '[' | '(' => (open + 1, most.max(open + 1)),
            ']' | ')' => (open.saturating_sub(1), most),
            _ => (open, most),
        });
        if path.len() > length || nesting.1 > depth || path.matches("..").count() > searches {
            let help =
                format!("at most {length} characters, {depth} brackets within brackets and {searches} times `..`");
            self.mistake(at, "this JSONPath is longer or deeper than is read", help);
            return None;
        }
        let query = match JsonPath::parse(path) {
            Ok(query) => query,
            Err(error) => {
                self.mistake(
                    at,
                    format!(
                        "`{path}` is not a JSONPath: {} at character {}",
                        error.message(),
                        error.position() + 1
                    ),
                    "write it as in RFC 9535: `$.paths['/orders'].get.parameters[?@.name == 'limit']`",
                );
                return None;
            }
        };
        let value = self.value.get_or_insert_with(|| document.to_value());
        let located = query.query_located(value);
        let mut ways: Vec<Way> = located
            .iter()
            .map(|node| {
                let elements = node.location().iter().map(|element| match element {
                    PathElement::Name(name) => Token::Name((*name).to_owned()),
                    PathElement::Index(position) => Token::Position(*position),
                });
                elements.collect()
            })
            .collect();
        ways.sort();
        ways.dedup();
        Some(ways)
    }

    /// The last first, so that none changes the way to another.
    fn remove(&mut self, document: &mut Node, ways: &[Way], at: &str) {
        self.value = None;
        for way in ways.iter().rev() {
            let Some((last, before)) = way.split_last() else {
                return self.mistake(
                    &format!("{at}/target"),
                    "the document itself cannot be removed",
                    "remove parts of it",
                );
            };
            let Some(around) = find(document, before) else { continue };
            match (&mut around.content, last) {
                (Content::Map(members), Token::Name(name)) => {
                    members.shift_remove(name);
                }
                (Content::List(nodes), Token::Position(position)) if *position < nodes.len() => {
                    nodes.remove(*position);
                }
                _ => {}
            }
        }
    }
}

fn find<'n>(document: &'n mut Node, way: &[Token]) -> Option<&'n mut Node> {
    way.iter()
        .try_fold(document, |node, token| match (&mut node.content, token) {
            (Content::Map(members), Token::Name(name)) => members.get_mut(name).map(|member| &mut member.value),
            (Content::List(nodes), Token::Position(position)) => nodes.get_mut(*position),
            _ => None,
        })
}

/// What does not go together, and where in the update.
struct Clash {
    path: Vec<String>,
    old: &'static str,
    new: &'static str,
}

fn merge(old: &mut Node, new: &Node, path: &mut Vec<String>) -> Result<(), Clash> {
    // Lists take anything as one more item, but only where the action points at them.
    let is_target = path.is_empty();
    match (&mut old.content, &new.content) {
        (Content::Map(members), Content::Map(update)) => {
            for (name, Member { key, value }) in update {
                if let Some(member) = members.get_mut(name) {
                    path.push(name.clone());
                    merge(&mut member.value, value, path)?;
                    path.pop();
                } else {
                    let (key, value) = (*key, value.clone());
                    members.insert(name.clone(), Member { key, value });
                }
            }
        }
        (Content::List(nodes), Content::List(more)) => nodes.extend(more.iter().cloned()),
        (Content::List(nodes), _) if is_target => nodes.push(new.clone()),
        (old_content, new_content) if rank(old_content) == Ordering::Equal && rank(new_content) == Ordering::Equal => {
            *old = new.clone();
        }
        (old_content, new_content) => {
            return Err(Clash {
                path: path.clone(),
                old: word(old_content),
                new: word(new_content),
            });
        }
    }
    Ok(())
}

fn rank(content: &Content) -> Ordering {
    match content {
        Content::Map(_) => Ordering::Greater,
        Content::List(_) => Ordering::Less,
        _ => Ordering::Equal,
    }
}

fn word(content: &Content) -> &'static str {
    match content {
        Content::Map(_) => "a map",
        Content::List(_) => "a list",
        _ => "a plain value",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DOCUMENT: &str = "info: { title: Orders, version: '1' }\ntags: [{ name: a }, { name: b }, { name: c }]\npaths:\n  /orders:\n    get:\n      \
                            tags: [x, old]\n      parameters: [{ name: filter, in: query }, { name: limit, in: query }]\n    post: { tags: [y] }\n";

    fn applied(actions: &str) -> Result<(Value, Vec<Diagnostic>), Vec<Diagnostic>> {
        let files = [
            SourceFile {
                path: "contracts/orders/v1/openapi.yaml".into(),
                text: DOCUMENT.into(),
            },
            SourceFile {
                path: "contracts/orders/v1/overlay.yaml".into(),
                text: format!("overlay: 1.1.0\ninfo: {{ title: x, version: '1' }}\nactions:\n{actions}\n").into(),
            },
        ];
        let mut document = Node::read(&files[0], 0).unwrap();
        let warnings = apply(&mut document, &files, 1)?;
        Ok((document.to_value(), warnings))
    }

    fn changed(actions: &str) -> Value {
        let (value, warnings) = applied(actions).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(warnings, []);
        value
    }

    #[test]
    fn an_update_merges_maps_appends_to_lists_and_replaces_plain_values() {
        let value = changed(
            "  - target: $.info\n    update: { title: Bestellungen, contact: { name: us } }\n  \
             - target: $.tags\n    update: { name: d }\n  \
             - target: $.paths.*.*.tags\n    update: [all]\n  \
             - target: $.info.version\n    update: '2'",
        );
        assert_eq!(
            value["info"],
            json!({ "title": "Bestellungen", "version": "2", "contact": { "name": "us" } })
        );
        assert_eq!(value["tags"][3], json!({ "name": "d" }));
        assert_eq!(value["paths"]["/orders"]["get"]["tags"], json!(["x", "old", "all"]));
        assert_eq!(value["paths"]["/orders"]["post"]["tags"], json!(["y", "all"]));
    }

    #[test]
    fn a_removal_takes_out_what_its_target_selects_and_nothing_beside_it() {
        let value = changed(
            "  - target: $.tags[?@.name != 'b']\n    remove: true\n  \
             - target: $..parameters[?@.name == 'filter']\n    remove: true\n  \
             - target: $.paths['/orders'].post\n    remove: true",
        );
        assert_eq!(value["tags"], json!([{ "name": "b" }]));
        assert_eq!(value["paths"]["/orders"]["get"]["parameters"][0]["name"], "limit");
        assert!(value["paths"]["/orders"].get("post").is_none());
    }

    #[test]
    fn a_copy_and_a_removal_move_something() {
        let value = changed(
            "  - target: $.paths\n    update: { /bestellungen: {} }\n  \
             - target: $.paths['/bestellungen']\n    copy: $.paths['/orders']\n  \
             - target: $.paths['/orders']\n    remove: true",
        );
        assert_eq!(value["paths"].as_object().unwrap().len(), 1);
        assert_eq!(value["paths"]["/bestellungen"]["post"]["tags"], json!(["y"]));
    }

    #[test]
    fn a_target_that_matches_nothing_is_a_warning_with_its_place() {
        let (_, warnings) = applied("  - target: $.paths['/gone'].get\n    remove: true").unwrap();
        assert_eq!(warnings.len(), 1);
        assert_eq!((warnings[0].line, warnings[0].column), (4, 13));
        assert!(
            warnings[0]
                .to_string()
                .contains("overlay.yaml:4:13: warning: `$.paths['/gone'].get` matches nothing")
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_remedy() {
        for (action, line, message) in [
            ("target: $.paths[, remove: true", 4, "is not a JSONPath"),
            ("target: '$.paths[?', remove: true", 4, "is not a JSONPath"),
            ("target: paths, remove: true", 4, "is not a JSONPath"),
            ("update: {}", 4, "has no target"),
            ("target: $.info", 4, "changes nothing"),
            ("target: $.info, remove: false", 4, "changes nothing"),
            ("target: $.info, updaet: {}", 4, "unknown key `updaet`"),
            ("target: $, remove: true", 4, "the document itself"),
            ("target: $.info, copy: $.tags.*", 4, "matches 3 places"),
            (
                "target: $.info, copy: $.info, update: {}",
                4,
                "both `update` and `copy`",
            ),
            (
                "target: $.info, update: text",
                4,
                "a plain value cannot be merged into a map",
            ),
            (
                "target: $, update: { info: { title: [] } }",
                4,
                "a list cannot be merged into a plain value",
            ),
            ("target: $..*..*..*..*, remove: true", 4, "longer or deeper"),
        ] {
            let found = applied(&format!("  - {{ {} }}", action.replace("$.paths[,", "'$.paths[',"))).unwrap_err();
            assert!(
                found[0].message.contains(message) && found[0].line == line,
                "{action}: {found:?}"
            );
            assert!(found[0].help.is_some(), "{found:?}");
        }
        let deep = format!(
            "  - target: $[?{}1{} == 1]\n    remove: true",
            "(".repeat(400),
            ")".repeat(400)
        );
        assert!(applied(&deep).unwrap_err()[0].message.contains("longer or deeper"));
    }

    #[test]
    fn the_head_is_checked_and_all_mistakes_come_at_once() {
        let files = [
            SourceFile {
                path: "v1/openapi.yaml".into(),
                text: DOCUMENT.into(),
            },
            SourceFile {
                path: "v1/a.overlay.yaml".into(),
                text: "overlay: 2.0.0\nextends: ./other.yaml\nacions: []\n".into(),
            },
        ];
        let mut document = Node::read(&files[0], 0).unwrap();
        let found = apply(&mut document, &files, 1).unwrap_err();
        let told: Vec<_> = found
            .iter()
            .map(|mistake| (mistake.line, mistake.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (1, "the overlay's version `2.0.0` is not read"),
                (3, "unknown key `acions`"),
                (0, "this overlay has no actions"),
                (2, "this overlay extends `./other.yaml`, and lies beside `openapi.yaml`"),
            ]
        );
    }

    #[test]
    fn what_an_overlay_adds_is_found_in_the_overlay() {
        let files = [
            SourceFile {
                path: "v1/openapi.yaml".into(),
                text: DOCUMENT.into(),
            },
            SourceFile {
                path: "v1/overlay.yaml".into(),
                text: "overlay: 1.0.0\nactions:\n  - target: $.info\n    update:\n      contact: { name: us }\n".into(),
            },
        ];
        let mut document = Node::read(&files[0], 0).unwrap();
        apply(&mut document, &files, 1).unwrap();
        let origin = document.origin_of("/info/contact/name");
        assert_eq!((origin.file, origin.place.line), (1, 5));
        assert_eq!(document.origin_of("/info/title").file, 0);
    }

    #[test]
    fn overlays_are_known_by_their_names() {
        for name in ["overlay.yaml", "overlay.yml", "overlay.json", "v1/prices.overlay.yaml"] {
            assert!(is_overlay(name.as_ref()), "{name}");
        }
        for name in ["openapi.yaml", "myoverlay.yaml", "overlay.txt", "overlay"] {
            assert!(!is_overlay(name.as_ref()), "{name}");
        }
    }
}
