//! JSON on the data path: exact numbers, member order kept, duplicates refused.
//!
//! A [`Document`] is a tape: the text, and one flat list of nodes that point into it. It borrows nothing, so it can be
//! shared by all policies of a request; [`Value`] is a cursor into it. Its text is shared with the body it was read from
//! and the body it becomes. Numbers stay the text they were sent as, because `19.90` has to leave as `19.90`.

mod build;
mod number;
mod out;
mod parse;
mod schema;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

pub use build::{Begun, Builder, Mark, MemberName};
pub use number::Decimal;
pub use out::Out;
pub use schema::{Tape, exact_options};

/// Deepest nesting of arrays and objects that is read.
pub const DEPTH_LIMIT: usize = 64;

/// Largest text that is read, in bytes: positions and counts are kept in 28 bits.
pub const SIZE_LIMIT: usize = (1 << 28) - 1;

/// One JSON text (RFC 8259), checked and indexed. Immutable and cheap to share behind an `Arc`.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: ByteString,
    nodes: Vec<Node>,
}

/// A value of a [`Document`].
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a Document,
    index: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// Why a text is not JSON that we read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub struct JsonError {
    /// What is wrong: a lower-case phrase.
    pub what: Cow<'static, str>,
    /// Bytes before the place.
    pub offset: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

/// Eight bytes, because large documents are mostly these: as much as their text, where values are short.
///
/// A string, a number or a word is one node. An array or object is two, the second with its end and how much it holds,
/// followed by its elements or by its members: a string node for the name, then the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    /// Kind in the low three bits, `ESCAPED` in the fourth. Above, where the text starts, strings without their quotes;
    /// in the second node of an array or object, where it ends.
    head: u32,
    /// Where the text ends; of an array or object, the index of the node after all it holds; in its second node, the
    /// number of elements or members.
    tail: u32,
}

const ESCAPED: u32 = 1 << 3;
const PLACE_SHIFT: u32 = 4;
/// The kind of an array's or object's second node.
const REST: u32 = 6;

impl Node {
    fn new(place: u32, info: u32, tail: u32) -> Self {
        Self {
            head: place << PLACE_SHIFT | info,
            tail,
        }
    }

    fn kind(self) -> Kind {
        match self.head & 7 {
            0 => Kind::Null,
            1 => Kind::Bool,
            2 => Kind::Number,
            3 => Kind::String,
            4 => Kind::Array,
            _ => Kind::Object,
        }
    }

    /// An array or object.
    fn is_nested(self) -> bool {
        self.head & 4 != 0
    }

    fn place(self) -> usize {
        (self.head >> PLACE_SHIFT) as usize
    }

    fn is_escaped(self) -> bool {
        self.head & ESCAPED != 0
    }
}

/// The index of the node after a value and all it holds.
fn after(nodes: &[Node], index: usize) -> usize {
    let node = nodes[index];
    if node.is_nested() {
        node.tail as usize
    } else {
        index + 1
    }
}

/// Gives back room that a large document does not need; that of a small one is not worth the call.
fn trim(nodes: &mut Vec<Node>) {
    const WORTH_IT: usize = 8 << 10;
    if nodes.capacity() - nodes.len() > WORTH_IT {
        nodes.shrink_to_fit();
    }
}

impl Document {
    /// Reads one JSON text, strictly: no byte order mark, no trailing text, no duplicate names, no lone surrogates,
    /// at most [`DEPTH_LIMIT`] levels and [`SIZE_LIMIT`] bytes.
    #[expect(clippy::needless_pass_by_value, reason = "the document keeps the bytes")]
    pub fn parse(bytes: Bytes) -> Result<Self, JsonError> {
        // The text is shared with whoever else holds the bytes.
        let text = ByteString::try_from(bytes.clone()).map_err(|error| {
            let offset = error.valid_up_to();
            let valid = String::from_utf8_lossy(&bytes[..offset]);
            JsonError::at(&valid, offset, "a byte that is not UTF-8")
        })?;
        let mut nodes = parse::parse(&text)?;
        trim(&mut nodes);
        Ok(Self { text, nodes })
    }

    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value {
            document: self,
            index: 0,
        }
    }

    /// A value by its number.
    pub(crate) fn value(&self, number: usize) -> Value<'_> {
        Value {
            document: self,
            index: number.min(self.nodes.len() - 1),
        }
    }

    /// The text as it was sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as bytes, without a copy.
    pub fn to_bytes(&self) -> Bytes {
        self.text.as_bytes().clone()
    }

    /// A document that is nothing but this string.
    pub(crate) fn of_string(text: &str) -> Self {
        let mut builder = Builder::with_capacity(text.len() + 2, 1);
        builder.string(text);
        builder.into_document()
    }
}

impl From<Document> for Bytes {
    fn from(document: Document) -> Self {
        document.text.into_bytes()
    }
}

impl<'a> Value<'a> {
    fn node(self) -> Node {
        self.document.nodes[self.index]
    }

    /// What comes with an array or object.
    fn rest(self) -> Node {
        self.document.nodes[self.index + 1]
    }

    fn slice(self) -> &'a str {
        let node = self.node();
        let end = if node.is_nested() {
            self.rest().place()
        } else {
            node.tail as usize
        };
        &self.document.text[node.place()..end]
    }

    /// The index of the node after this and all it holds.
    fn after(self) -> usize {
        after(&self.document.nodes, self.index)
    }

    /// What this is.
    pub fn kind(self) -> Kind {
        self.node().kind()
    }

    /// Bytes before this value in the text.
    pub(crate) fn offset(self) -> usize {
        self.node().place() - usize::from(self.node().kind() == Kind::String)
    }

    /// The text of this value, verbatim, strings with their quotes.
    pub fn raw(self) -> &'a str {
        let node = self.node();
        if node.kind() == Kind::String {
            &self.document.text[node.place() - 1..=node.tail as usize]
        } else {
            self.slice()
        }
    }

    /// The string, borrowed unless it was written with escapes.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let node = self.node();
        (node.kind() == Kind::String).then(|| {
            if node.is_escaped() {
                Cow::Owned(parse::unescape(self.slice()))
            } else {
                Cow::Borrowed(self.slice())
            }
        })
    }

    /// The number as it was written.
    pub fn as_number_text(self) -> Option<&'a str> {
        (self.kind() == Kind::Number).then(|| self.slice())
    }

    /// The truth value.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.slice() == "true")
    }

    /// `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// How many elements or members; 0 for anything else.
    pub fn len(self) -> usize {
        if self.node().is_nested() {
            self.rest().tail as usize
        } else {
            0
        }
    }

    /// Neither elements nor members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The member of this name, if this is an object that has it.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.members()
            .find(|(member, _)| member.is(name))
            .map(|(_, value)| value)
    }

    /// What a JSON Pointer leads to.
    pub fn at(self, pointer: &Pointer) -> Option<Value<'a>> {
        pointer.tokens.iter().try_fold(self, |value, token| match value.kind() {
            Kind::Object => value.get(token),
            Kind::Array => value.elements().nth(array_index(token)?),
            _ => None,
        })
    }

    /// Where this stands in its document. Searched for from the outermost value: not for the data path.
    pub fn pointer(self) -> Pointer {
        let mut tokens = Vec::new();
        let mut around = self.document.root();
        let holds = |value: Value<'_>| (value.index..value.after()).contains(&self.index);
        while around.index != self.index {
            let member = around.members().find(|(_, value)| holds(*value));
            let element = || around.elements().enumerate().find(|(_, value)| holds(*value));
            let (token, inner) = match member {
                Some((name, value)) => (name.text().into_owned(), value),
                None => match element() {
                    Some((position, value)) => (position.to_string(), value),
                    None => break,
                },
            };
            tokens.push(token);
            around = inner;
        }
        Pointer { tokens }
    }

    /// Names and values in the order they were sent; nothing if this is no object.
    pub fn members(self) -> Members<'a> {
        let left = if self.kind() == Kind::Object { self.len() } else { 0 };
        Members {
            document: self.document,
            index: self.index + 2,
            left,
        }
    }

    /// The elements in order; nothing if this is no array.
    pub fn elements(self) -> Elements<'a> {
        let left = if self.kind() == Kind::Array { self.len() } else { 0 };
        Elements {
            document: self.document,
            index: self.index + 2,
            left,
        }
    }

    /// Feeds a canonical form to `sink`: no whitespace, members sorted by name, numbers verbatim. Two texts that differ
    /// in layout, order of members or escapes feed the same bytes, so their fingerprints agree.
    pub fn canonical_digest(self, sink: &mut impl FnMut(&[u8])) {
        match self.kind() {
            Kind::Null | Kind::Bool | Kind::Number => sink(self.slice().as_bytes()),
            Kind::String => canonical_string(&self.as_str().unwrap_or_default(), sink),
            Kind::Array => {
                sink(b"[");
                for (position, element) in self.elements().enumerate() {
                    if position > 0 {
                        sink(b",");
                    }
                    element.canonical_digest(sink);
                }
                sink(b"]");
            }
            Kind::Object => {
                let mut members: Vec<_> = self.members().map(|(name, value)| (name.text(), value)).collect();
                members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                sink(b"{");
                for (position, (name, value)) in members.iter().enumerate() {
                    if position > 0 {
                        sink(b",");
                    }
                    canonical_string(name, sink);
                    sink(b":");
                    value.canonical_digest(sink);
                }
                sink(b"}");
            }
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw())
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Length first: no two strings run into each other whatever they hold.
fn canonical_string(text: &str, sink: &mut impl FnMut(&[u8])) {
    sink(b"\"");
    sink(&(text.len() as u64).to_le_bytes());
    sink(text.as_bytes());
}

/// The name of a member.
#[derive(Clone, Copy)]
pub struct Name<'a>(Value<'a>);

impl<'a> Name<'a> {
    /// The name's bytes where they stand; nothing if it was written with escapes.
    #[inline]
    pub fn as_it_stands(self) -> Option<&'a [u8]> {
        let node = self.0.node();
        let bytes = self.0.document.text.as_bytes();
        (!node.is_escaped()).then(|| &bytes[node.place()..node.tail as usize])
    }

    /// The name, borrowed unless it was written with escapes.
    pub fn text(self) -> Cow<'a, str> {
        self.0.as_str().unwrap_or_default()
    }

    /// Bytes before the name in the text.
    pub(crate) fn offset(self) -> usize {
        self.0.offset()
    }

    /// Whether it is this one.
    pub fn is(self, name: &str) -> bool {
        match self.as_it_stands() {
            Some(bytes) => bytes == name.as_bytes(),
            None => self.text() == name,
        }
    }
}

/// Iterator over the members of an object.
#[derive(Clone)]
pub struct Members<'a> {
    document: &'a Document,
    index: usize,
    left: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Name<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let document = self.document;
        let name = Value {
            document,
            index: self.index,
        };
        let value = Value {
            document,
            index: self.index + 1,
        };
        self.index = value.after();
        Some((Name(name), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Iterator over the elements of an array.
#[derive(Clone)]
pub struct Elements<'a> {
    document: &'a Document,
    index: usize,
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let value = Value {
            document: self.document,
            index: self.index,
        };
        self.index = value.after();
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// A JSON Pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    /// Reads a pointer: empty, or `/` before each token, with `~0` for `~` and `~1` for `/`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| format!("`{text}` is not a JSON Pointer; it starts with `/`, such as `/order/lines/0`"))?;
        let tokens = rest
            .split('/')
            .map(|token| {
                let lone = token.replace("~0", "").replace("~1", "").contains('~');
                if lone {
                    Err(format!(
                        "`~` in the JSON Pointer `{text}` is written `~0`, and `/` is written `~1`"
                    ))
                } else {
                    Ok(token.replace("~1", "/").replace("~0", "~"))
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { tokens })
    }

    /// The unescaped tokens.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

impl From<Vec<String>> for Pointer {
    fn from(tokens: Vec<String>) -> Self {
        Self { tokens }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            write!(f, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// Array positions are digits without leading zeros; `-` (after the end) leads nowhere.
fn array_index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0');
    (plain && token.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| token.parse().ok())
        .flatten()
}

impl JsonError {
    fn at(text: &str, offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |position| position + 1);
        Self {
            what: what.into(),
            offset,
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn digest(text: &str) -> Vec<u8> {
        let mut fed = Vec::new();
        document(text)
            .root()
            .canonical_digest(&mut |bytes| fed.extend_from_slice(bytes));
        fed
    }

    #[test]
    fn values_are_found_by_name_and_by_pointer() {
        let document = document(r#"{"a/b":{"~":[1,{"x":"y"}]},"n":19.90,"t":true,"z":null}"#);
        let root = document.root();
        let at = |pointer: &str| root.at(&Pointer::parse(pointer).unwrap());
        assert_eq!(at("/a~1b/~0/1/x").unwrap().as_str().unwrap(), "y");
        assert_eq!(at("").unwrap().raw(), document.text());
        assert_eq!(root.get("n").unwrap().as_number_text(), Some("19.90"));
        assert_eq!(root.get("t").unwrap().as_bool(), Some(true));
        assert!(root.get("z").unwrap().is_null());
        for nothing in ["/a~1b/~0/2", "/a~1b/~0/01", "/a~1b/~0/-", "/n/x", "/nowhere"] {
            assert!(at(nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn a_pointer_says_what_is_wrong_with_it() {
        assert!(Pointer::parse("orderNo").unwrap_err().contains("starts with `/`"));
        assert!(Pointer::parse("/a~2").unwrap_err().contains("~0"));
        assert_eq!(Pointer::parse("/a~1b/~01").unwrap().to_string(), "/a~1b/~01");
    }

    #[test]
    fn a_string_by_itself_is_a_document_like_any_other() {
        for text in ["", "plain", "é€", "say \"no\"\n"] {
            let string = Document::of_string(text);
            assert_eq!(string.root().as_str().unwrap(), text);
            assert_eq!(string.root().raw(), string.text());
            assert_eq!(string.root().offset(), 0);
            assert!(string == document(string.text()), "{text}");
        }
    }

    #[test]
    fn the_text_is_the_one_it_was_read_from() {
        let bytes = Bytes::from(br#"{"a":1}"#.to_vec());
        let document = Document::parse(bytes.clone()).unwrap();
        assert_eq!(Bytes::from(document).as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn a_document_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Document>();
    }

    #[test]
    fn fingerprints_ignore_layout_order_and_escapes_but_not_the_spelling_of_numbers() {
        assert_eq!(
            digest(r#"{"a":"é","b":[1,2]}"#),
            digest("{ \"b\": [1, 2],\n \"a\": \"\\u00e9\" }")
        );
        assert_ne!(digest(r#"{"a":1.0}"#), digest(r#"{"a":1}"#));
        assert_ne!(digest(r#"["a","b"]"#), digest(r#"["a\",\"b"]"#));
        assert_ne!(digest("[1,2]"), digest("[2,1]"));
    }
}
