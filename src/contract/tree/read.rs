//! Reads YAML and JSON into a tree.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer};
use serde_json::Number;

use super::{Content, Member, Members, Node, Origin};
use crate::config::{Diagnostic, SourceFile, Spanned, yaml::Place};
use crate::contract::openapi::read_yaml;
use crate::json::{self, Document, Kind};

/// Bytes of stack for reading YAML.
const DEEP_STACK: usize = 32 << 20;

impl Node {
    /// Reads a file; `index` is its number among those that are read together.
    pub(in crate::contract) fn read(file: &SourceFile, index: usize) -> Result<Self, Diagnostic> {
        let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
        let is_json = file.path.extension().is_some_and(|extension| extension == "json");
        if is_json || text.trim_start().starts_with('{') {
            match Document::parse(Bytes::copy_from_slice(text.as_bytes())) {
                Ok(document) => return Ok(Cursor::new(text, index).node(document.root())),
                Err(error) if is_json => {
                    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                    return Err(Diagnostic::error(
                        file,
                        small(error.line),
                        small(error.column),
                        format!("this is not JSON: {}", error.what),
                    ));
                }
                // YAML may begin with a brace too.
                Err(_) => {}
            }
        }
        let mut node: Self = with_deep_stack(|| read_yaml(file)).unwrap_or_else(|| {
            let mistake = Diagnostic::error(file, 0, 0, "the document cannot be read now: no thread can be started");
            Err(mistake.help("let the process have more threads"))
        })?;
        node.stamp(index);
        Ok(node)
    }

    fn stamp(&mut self, file: usize) {
        self.origin.file = file;
        match &mut self.content {
            Content::List(nodes) => nodes.iter_mut().for_each(|node| node.stamp(file)),
            Content::Map(members) => members.values_mut().for_each(|member| {
                member.key.file = file;
                member.value.stamp(file);
            }),
            _ => {}
        }
    }
}

/// Runs what calls itself for each level of a document: the reader's calls are many and large for each, and a document
/// may have as many levels as its limit allows.
fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP_STACK);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// Walks along a JSON text and counts its lines, once.
struct Cursor<'t> {
    text: &'t str,
    file: usize,
    offset: usize,
    line: u32,
    column: u32,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str, file: usize) -> Self {
        Self {
            text,
            file,
            offset: 0,
            line: 1,
            column: 1,
        }
    }

    /// Offsets are asked for in the order of the text.
    fn origin(&mut self, offset: usize, length: usize) -> Origin {
        for character in self.text.get(self.offset..offset).unwrap_or_default().chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.offset = self.offset.max(offset);
        let place = Place {
            line: self.line,
            column: self.column,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
        Origin { file: self.file, place }
    }

    fn node(&mut self, value: json::Value<'_>) -> Node {
        let origin = match value.kind() {
            Kind::Array | Kind::Object => self.origin(value.offset(), 1),
            _ => self.origin(value.offset(), value.raw().chars().count()),
        };
        let content = match value.kind() {
            Kind::Null => Content::Null,
            Kind::Bool => Content::Bool(value.as_bool() == Some(true)),
            Kind::Number => {
                let text = value.as_number_text().unwrap_or_default();
                // Only a number beyond every float is none.
                match serde_json::from_str::<Number>(text) {
                    Ok(number) => Content::Number(number),
                    Err(_) => Content::Text(text.to_owned()),
                }
            }
            Kind::String => Content::Text(value.as_str().unwrap_or_default().into_owned()),
            Kind::Array => Content::List(value.elements().map(|value| self.node(value)).collect()),
            Kind::Object => {
                let mut members = Members::with_capacity(value.len());
                for (name, value) in value.members() {
                    let text = name.text().into_owned();
                    let key = self.origin(name.offset(), text.chars().count() + 2);
                    let value = self.node(value);
                    members.insert(text, Member { key, value });
                }
                Content::Map(members)
            }
        };
        Node { origin, content }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        let place = Place::from(spanned.referenced);
        Ok(Self {
            origin: Origin { file: 0, place },
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> de::Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value);
        number
            .map(Content::Number)
            .ok_or_else(|| E::custom("this is not a number that JSON has"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut members = Members::new();
        while let Some((name, value)) = map.next_entry::<Spanned<String>, Node>()? {
            let place = Place::from(name.referenced);
            let key = Origin { file: 0, place };
            members.insert(name.value, Member { key, value });
        }
        Ok(Content::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;
    use crate::contract::tree::read_text;

    fn read(path: &str, text: &str) -> Result<Node, Diagnostic> {
        let file = SourceFile {
            path: path.into(),
            text: text.into(),
        };
        Node::read(&file, 0)
    }

    fn line_and_column(node: &Node, pointer: &str) -> (u32, u32) {
        let place = node.origin_of(pointer).place;
        (place.line, place.column)
    }

    #[test]
    fn the_same_places_are_found_in_yaml_and_in_json() {
        let yaml = read_text("b: 1\na:\n  - x: ü\n    y: [1.50, true, null]\n");
        assert_eq!(
            yaml.to_value(),
            json!({ "b": 1, "a": [{ "x": "ü", "y": [1.5, true, null] }] })
        );
        assert_eq!(line_and_column(&yaml, "/a"), (2, 1));
        assert_eq!(line_and_column(&yaml, "/a/0/x"), (3, 8));
        assert_eq!(line_and_column(&yaml, "/a/0/y/1"), (4, 15));
        assert_eq!(line_and_column(&yaml, "/a/0/nothing/there"), (3, 5));
        let json = read(
            "x.json",
            "\u{feff}{\"b\": 1,\n  \"a\": [{\"x\": \"ü\", \"y\": [1.50, true, null]}]}",
        )
        .unwrap();
        assert_eq!(json.to_value(), yaml.to_value());
        assert_eq!(line_and_column(&json, "/a"), (2, 3));
        assert_eq!(line_and_column(&json, "/a/0/y/1"), (2, 32));
        let names: Vec<_> = json.members().unwrap().keys().collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place_and_yaml_may_begin_with_a_brace() {
        let mistake = read("x.json", "{\n  \"a\": 1,\n}").unwrap_err();
        assert!(
            mistake.to_string().starts_with("x.json:3:1: error: this is not JSON: "),
            "{mistake}"
        );
        assert_eq!(
            read("x.yaml", "{ a: 1, b: [x] }").unwrap().to_value(),
            json!({ "a": 1, "b": ["x"] })
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_and_an_honest_alias_is_read() {
        let honest = read_text("a: &a { x: 1 }\nb: *a\n");
        assert_eq!(honest.to_value()["b"], json!({ "x": 1 }));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            let _ = writeln!(bomb, "a{level}: &a{level} [{before}]");
        }
        let mistake = read("x.yaml", &bomb).unwrap_err();
        assert!(mistake.line > 0, "{mistake}");
        assert!(mistake.message.contains("aliases"), "{mistake}");
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for (path, deep) in [
            ("x.yaml", "[".repeat(5_000)),
            ("x.json", "[".repeat(5_000)),
            ("y.yaml", format!("{}1{}", "{a: ".repeat(200), "}".repeat(200))),
        ] {
            assert!(read(path, &deep).is_err());
        }
    }
}
