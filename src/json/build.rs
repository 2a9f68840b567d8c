//! A document being written: its text and its nodes at once, so that what was made needs no second reading.

use std::fmt::Write as _;

use super::parse::plain_length;
use super::{Document, ESCAPED, Kind, Name, Node, Out, PLACE_SHIFT, REST, SIZE_LIMIT, Value, trim};

/// Writes one [`Document`], value after value, from its start to its end.
///
/// What is copied keeps its layout; what is made has no superfluous whitespace. Whoever writes sees to it that no name
/// occurs twice in an object.
pub struct Builder {
    text: String,
    nodes: Vec<Node>,
}

/// An array or object that has been begun.
#[derive(Clone, Copy)]
pub struct Begun(usize);

/// A place to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    text: usize,
    nodes: usize,
    count: u32,
}

/// The name of a member, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberName {
    /// With its quotes.
    text: Box<str>,
    is_escaped: bool,
}

impl MemberName {
    /// Prepares a name.
    pub fn new(name: &str) -> Self {
        let mut text = String::with_capacity(name.len() + 2);
        let is_escaped = push_string(&mut text, name);
        Self {
            text: text.into(),
            is_escaped,
        }
    }
}

impl Builder {
    /// With room for a text of so many bytes and so many values.
    pub fn with_capacity(bytes: usize, values: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            nodes: Vec::with_capacity(values),
        }
    }

    /// With room for about what another document holds.
    pub fn like(document: &Document) -> Self {
        let (bytes, values) = (document.text.len(), document.nodes.len());
        Self::with_capacity(bytes + bytes / 4 + 64, values + values / 4 + 16)
    }

    /// Begins an object.
    pub fn begin_object(&mut self) -> Begun {
        self.begin('{', Kind::Object)
    }

    /// Begins an array.
    pub fn begin_array(&mut self) -> Begun {
        self.begin('[', Kind::Array)
    }

    fn begin(&mut self, bracket: char, kind: Kind) -> Begun {
        let begun = Begun(self.nodes.len());
        let start = small(self.text.len());
        self.nodes
            .extend([Node::new(start, kind as u32, 0), Node::new(0, REST, 0)]);
        self.text.push(bracket);
        begun
    }

    /// Ends what was begun last.
    pub fn end(&mut self, begun: Begun) {
        let (end, next) = (self.text.len() + 1, self.nodes.len());
        self.nodes[begun.0 + 1].head = small(end) << PLACE_SHIFT | REST;
        let node = &mut self.nodes[begun.0];
        node.tail = small(next);
        self.text.push(if node.kind() == Kind::Array { ']' } else { '}' });
    }

    /// The number of the value that is written next: [`Document::value`] finds it.
    pub(crate) fn position(&self) -> usize {
        self.nodes.len()
    }

    /// How many elements or members were begun.
    pub fn count(&self, begun: Begun) -> usize {
        self.nodes[begun.0 + 1].tail as usize
    }

    /// Where the next element or member of something begun will stand.
    pub fn mark(&self, begun: Begun) -> Mark {
        Mark {
            text: self.text.len(),
            nodes: self.nodes.len(),
            count: self.nodes[begun.0 + 1].tail,
        }
    }

    /// Takes back everything since a mark of the same thing begun.
    pub fn rewind(&mut self, begun: Begun, mark: Mark) {
        self.text.truncate(mark.text);
        self.nodes.truncate(mark.nodes);
        self.nodes[begun.0 + 1].tail = mark.count;
    }

    /// Announces the next element of an array; its value is written next.
    pub fn element(&mut self, begun: Begun) {
        let count = &mut self.nodes[begun.0 + 1].tail;
        if *count > 0 {
            self.text.push(',');
        }
        *count += 1;
    }

    /// Writes the name of the next member of an object; its value is written next.
    pub fn name(&mut self, begun: Begun, name: &MemberName) {
        self.element(begun);
        self.push_name(&name.text, name.is_escaped);
    }

    /// Like `name`, a name as it came.
    pub fn name_as_it_came(&mut self, begun: Begun, name: Name<'_>) {
        self.element(begun);
        self.push_name(name.0.raw(), name.0.node().is_escaped());
    }

    fn push_name(&mut self, quoted: &str, is_escaped: bool) {
        self.text.push_str(quoted);
        self.push_string(quoted.len(), is_escaped);
        self.text.push(':');
    }

    /// Copies a value with all it holds, as it came.
    pub fn copy(&mut self, value: Value<'_>) {
        let raw = value.raw();
        let first = value.node();
        let start = small(self.text.len());
        self.text.push_str(raw);
        if !first.is_nested() {
            let quote = u32::from(first.kind() == Kind::String);
            let end = small(self.text.len()) - quote;
            let info = first.head & (ESCAPED | 7);
            self.nodes.push(Node::new(start + quote, info, end));
            return;
        }
        let from = &value.document.nodes[value.index..first.tail as usize];
        // Both distances may be negative; they wrap around and back.
        let by = start.wrapping_sub(small(first.place()));
        let nodes_by = small(self.nodes.len()).wrapping_sub(small(value.index));
        // By kind: where a text ends, the next node, a number of elements.
        let tails_by = [by, by, by, by, nodes_by, nodes_by, 0, 0];
        self.nodes.extend(from.iter().map(|node| Node {
            head: node.head.wrapping_add(by << PLACE_SHIFT),
            tail: node.tail.wrapping_add(tails_by[(node.head & 7) as usize]),
        }));
    }

    /// Writes a string.
    pub fn string(&mut self, text: &str) {
        let start = self.text.len();
        let is_escaped = push_string(&mut self.text, text);
        self.push_string(self.text.len() - start, is_escaped);
    }

    /// Writes the text of a JSON number as it is.
    pub fn number(&mut self, text: &str) {
        self.scalar(text, Kind::Number);
    }

    /// Writes a truth value.
    pub fn bool(&mut self, value: bool) {
        self.scalar(if value { "true" } else { "false" }, Kind::Bool);
    }

    /// Writes `null`.
    pub fn null(&mut self) {
        self.scalar("null", Kind::Null);
    }

    /// Writes a value on its way out.
    pub fn out(&mut self, value: &Out<'_>) {
        match value {
            Out::Absent | Out::Null => self.null(),
            Out::Bool(value) => self.bool(*value),
            Out::Num(text) => self.number(text),
            Out::Str(text) => self.string(text),
            Out::Raw(value) => self.copy(*value),
            Out::Arr(elements) => {
                let begun = self.begin_array();
                for element in elements {
                    self.element(begun);
                    self.out(element);
                }
                self.end(begun);
            }
            Out::Obj(members) => {
                let begun = self.begin_object();
                for (name, value) in members.iter().filter(|(_, value)| !matches!(value, Out::Absent)) {
                    self.name(begun, &MemberName::new(name));
                    self.out(value);
                }
                self.end(begun);
            }
        }
    }

    /// Writes a value of the general kind.
    pub fn json(&mut self, value: &serde_json::Value) {
        use serde_json::Value as Json;
        match value {
            Json::Null => self.null(),
            Json::Bool(value) => self.bool(*value),
            Json::Number(number) => self.number(&number.to_string()),
            Json::String(text) => self.string(text),
            Json::Array(elements) => {
                let begun = self.begin_array();
                for element in elements {
                    self.element(begun);
                    self.json(element);
                }
                self.end(begun);
            }
            Json::Object(members) => {
                let begun = self.begin_object();
                for (name, value) in members {
                    self.name(begun, &MemberName::new(name));
                    self.json(value);
                }
                self.end(begun);
            }
        }
    }

    fn scalar(&mut self, text: &str, kind: Kind) {
        let start = small(self.text.len());
        self.text.push_str(text);
        self.nodes.push(Node::new(start, kind as u32, small(self.text.len())));
    }

    /// The node of a string whose text has been written, so many bytes with its quotes.
    fn push_string(&mut self, length: usize, is_escaped: bool) {
        let end = self.text.len();
        let info = Kind::String as u32 | if is_escaped { ESCAPED } else { 0 };
        self.nodes
            .push(Node::new(small(end - length + 1), info, small(end - 1)));
    }

    /// Makes room for more of a list that is long already, a quarter at a time: twice the room, at once, is more memory
    /// than a large document needs.
    pub(crate) fn make_room(&mut self) {
        const LARGE: usize = 1 << 20;
        let (bytes, values) = (self.text.len(), self.nodes.len());
        if bytes > LARGE && self.text.capacity() - bytes < bytes / 16 {
            self.text.reserve_exact(bytes / 4);
        }
        if values > LARGE / size_of::<Node>() && self.nodes.capacity() - values < values / 16 {
            self.nodes.reserve_exact(values / 4);
        }
    }

    /// The document, if it is not larger than any that is read.
    pub fn finish(self) -> Option<Document> {
        (self.text.len() <= SIZE_LIMIT && !self.nodes.is_empty()).then(|| self.into_document())
    }

    /// What was written is known to be one value of no more than can be read.
    pub(super) fn into_document(mut self) -> Document {
        const WORTH_IT: usize = 64 << 10;
        if self.text.capacity() - self.text.len() > WORTH_IT {
            self.text.shrink_to_fit();
        }
        trim(&mut self.nodes);
        Document {
            text: self.text.into(),
            nodes: self.nodes,
        }
    }
}

/// Positions beyond every limit are cut: such a document is never finished.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Writes a string with its quotes; true if it has escapes.
fn push_string(to: &mut String, text: &str) -> bool {
    to.push('"');
    let mut rest = text;
    let mut is_escaped = false;
    loop {
        // Special characters are ASCII, so both halves are whole.
        let (plain, after) = rest.split_at(plain_length(rest.as_bytes()));
        to.push_str(plain);
        let mut characters = after.chars();
        let Some(special) = characters.next() else { break };
        is_escaped = true;
        match special {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            other => {
                // Writing to a string cannot fail.
                let _ = write!(to, "\\u{:04x}", u32::from(other));
            }
        }
        rest = characters.as_str();
    }
    to.push('"');
    is_escaped
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    /// Writes a value anew, its arrays and objects one by one.
    fn rewrite(builder: &mut Builder, value: Value<'_>) {
        match value.kind() {
            Kind::Array => {
                let begun = builder.begin_array();
                for element in value.elements() {
                    builder.element(begun);
                    rewrite(builder, element);
                }
                builder.end(begun);
            }
            Kind::Object => {
                let begun = builder.begin_object();
                for (name, value) in value.members() {
                    builder.name(begun, &MemberName::new(&name.text()));
                    rewrite(builder, value);
                }
                builder.end(begun);
            }
            Kind::String => builder.string(&value.as_str().unwrap()),
            Kind::Number => builder.number(value.as_number_text().unwrap()),
            Kind::Bool => builder.bool(value.as_bool().unwrap()),
            Kind::Null => builder.null(),
        }
    }

    #[test]
    fn what_is_written_is_what_would_be_read() {
        let source = parsed(r#" {"a": [1, {"b": "\u00e9\n"}, []], "c\"": null, "d": {}, "e": true} "#);
        let mut builder = Builder::like(&source);
        rewrite(&mut builder, source.root());
        let written = builder.finish().unwrap();
        assert_eq!(written.text(), r#"{"a":[1,{"b":"é\n"},[]],"c\"":null,"d":{},"e":true}"#);
        assert!(written == parsed(written.text()));
    }

    #[test]
    fn a_copy_keeps_its_layout_and_its_nodes() {
        let source = parsed(r#"{"x": { "b" : [1e2, "\u00e9"] }, "y": "z"}"#);
        let mut builder = Builder::with_capacity(0, 0);
        let begun = builder.begin_array();
        for (_, value) in source.root().members() {
            builder.element(begun);
            builder.copy(value);
        }
        builder.end(begun);
        let written = builder.finish().unwrap();
        assert_eq!(written.text(), r#"[{ "b" : [1e2, "\u00e9"] },"z"]"#);
        assert!(written == parsed(written.text()));
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut builder = Builder::with_capacity(0, 0);
        let begun = builder.begin_object();
        builder.name(begun, &MemberName::new("a"));
        builder.number("1");
        let mark = builder.mark(begun);
        builder.name(begun, &MemberName::new("b"));
        let inner = builder.begin_object();
        builder.end(inner);
        builder.rewind(begun, mark);
        builder.name(begun, &MemberName::new("c"));
        builder.null();
        builder.end(begun);
        let written = builder.finish().unwrap();
        assert_eq!(written.text(), r#"{"a":1,"c":null}"#);
        assert!(written == parsed(written.text()));
    }

    #[test]
    fn a_large_document_keeps_no_room_that_it_does_not_need() {
        let list = parsed(&format!(
            "[{}]",
            vec![r#"{"sku":"FLOUR-405-25","qty":12}"#; 20_000].join(",")
        ));
        let mut builder = Builder::like(&list);
        let begun = builder.begin_array();
        for value in list.root().elements() {
            builder.make_room();
            builder.element(begun);
            let longer = builder.begin_object();
            for name in ["first", "second"] {
                builder.name(longer, &MemberName::new(name));
                builder.copy(value);
            }
            builder.end(longer);
        }
        builder.end(begun);
        let (bytes, values) = (builder.text.len(), builder.nodes.len());
        assert!(
            builder.text.capacity() < bytes + bytes / 2,
            "it grows by less than half"
        );
        assert!(builder.nodes.capacity() < values + values / 2);
        let written = builder.finish().unwrap();
        assert!(written == parsed(written.text()));
        for document in [&list, &written] {
            assert!(document.nodes.capacity() <= document.nodes.len() + (8 << 10));
        }
    }

    proptest! {
        #[test]
        fn random_strings_are_written_as_they_are_read(text in ".*") {
            let mut builder = Builder::with_capacity(0, 0);
            builder.string(&text);
            let written = builder.finish().unwrap();
            prop_assert_eq!(written.root().as_str().unwrap(), text.as_str());
            prop_assert!(written == parsed(written.text()));
        }
    }
}
