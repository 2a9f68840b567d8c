//! The strict reader: text in, flat list of nodes out.

use std::borrow::Cow;

use super::{DEPTH_LIMIT, ESCAPED, JsonError, Node, PLACE_SHIFT, REST, SIZE_LIMIT, after};

const NULL: u32 = 0;
const BOOL: u32 = 1;
const NUMBER: u32 = 2;
const STRING: u32 = 3;
const ARRAY: u32 = 4;
const OBJECT: u32 = 5;

/// Objects with more members are searched for duplicates by sorting: comparing all pairs is faster only for few.
const PAIRWISE_LIMIT: usize = 24;

/// Reads one JSON text. There are never more nodes than bytes.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, JsonError> {
    if text.len() > SIZE_LIMIT {
        return Err(JsonError::at(text, SIZE_LIMIT, "a text larger than 256 MiB"));
    }
    let mut parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        // Order documents have a node for about seven bytes; of what is not needed, nothing is touched.
        nodes: Vec::with_capacity(text.len() / 6 + 4),
        depth: 0,
    };
    parser
        .document()
        .map_err(|(offset, what)| JsonError::at(text, offset, what))?;
    Ok(parser.nodes)
}

/// The string that a checked text with escapes stands for.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('\\') {
        plain.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        let mut length = 1;
        match rest.as_bytes().first() {
            Some(b'b') => plain.push('\u{8}'),
            Some(b'f') => plain.push('\u{c}'),
            Some(b'n') => plain.push('\n'),
            Some(b'r') => plain.push('\r'),
            Some(b't') => plain.push('\t'),
            Some(b'u') => {
                let unit = hex(rest.as_bytes(), 1).unwrap_or(0xfffd);
                let (code, units) = if (0xd800..0xdc00).contains(&unit) {
                    let low = hex(rest.as_bytes(), 7).unwrap_or(0xdc00);
                    (0x10000 + ((unit - 0xd800) << 10) + low.wrapping_sub(0xdc00), 11)
                } else {
                    (unit, 5)
                };
                plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                length = units;
            }
            Some(byte) => plain.push(char::from(*byte)),
            None => length = 0,
        }
        rest = &rest[length..];
    }
    plain.push_str(rest);
    plain
}

/// How many bytes stand for themselves in a string before a quote, a backslash or a control character: eight at a time.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut length = 0;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * 0x20);
        // The high bit of the lowest byte that is one of these; bytes above it may be marked wrongly by the borrow.
        let special = (quote | backslash | control) & !word & (ONES * 0x80);
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    length + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// Four hexadecimal digits from `at`.
fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .iter()
        .try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

type Parsed<T> = Result<T, (usize, Cow<'static, str>)>;

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    depth: usize,
}

impl Parser<'_> {
    fn document(&mut self) -> Parsed<()> {
        if self.text.starts_with('\u{feff}') {
            return Err((0, "a byte order mark before the JSON text".into()));
        }
        self.whitespace();
        self.value()?;
        self.whitespace();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err((self.at, "text after the end of the JSON value".into())),
        }
    }

    fn value(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", BOOL),
            Some(b'f') => self.word("false", BOOL),
            Some(b'n') => self.word("null", NULL),
            _ => self.unexpected("a value"),
        }
    }

    fn object(&mut self) -> Parsed<()> {
        let node = self.enter(OBJECT)?;
        let mut count = 0;
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                if self.peek() != Some(b'"') {
                    return self.unexpected("a member name in double quotes");
                }
                self.string()?;
                self.whitespace();
                if self.peek() != Some(b':') {
                    return self.unexpected("`:`");
                }
                self.at += 1;
                self.whitespace();
                self.value()?;
                count += 1;
                if self.is_last(b'}', "`,` or `}`")? {
                    break;
                }
            }
        }
        self.leave(node, count);
        self.refuse_duplicates(node, count)
    }

    fn array(&mut self) -> Parsed<()> {
        let node = self.enter(ARRAY)?;
        let mut count = 0;
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.value()?;
                count += 1;
                if self.is_last(b']', "`,` or `]`")? {
                    break;
                }
            }
        }
        self.leave(node, count);
        Ok(())
    }

    /// Passes the opening bracket; its nodes are completed by `leave`.
    fn enter(&mut self, kind: u32) -> Parsed<usize> {
        if self.depth == DEPTH_LIMIT {
            return Err((self.at, format!("nesting deeper than {DEPTH_LIMIT} levels").into()));
        }
        self.depth += 1;
        let node = self.nodes.len();
        self.nodes
            .extend([Node::new(small(self.at), kind, 0), Node::new(0, REST, 0)]);
        self.at += 1;
        self.whitespace();
        Ok(node)
    }

    fn leave(&mut self, node: usize, count: u32) {
        self.depth -= 1;
        let next = small(self.nodes.len());
        let end = small(self.at);
        self.nodes[node].tail = next;
        let rest = &mut self.nodes[node + 1];
        rest.head |= end << PLACE_SHIFT;
        rest.tail = count;
    }

    fn is_last(&mut self, close: u8, expected: &'static str) -> Parsed<bool> {
        self.whitespace();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.whitespace();
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ => self.unexpected(expected),
        }
    }

    fn refuse_duplicates(&self, node: usize, count: u32) -> Parsed<()> {
        if count < 2 {
            return Ok(());
        }
        let mut names = Vec::new();
        let mut few = [""; PAIRWISE_LIMIT];
        let mut any_escaped = false;
        let mut index = node + 2;
        for position in 0..count as usize {
            let name = self.nodes[index];
            any_escaped |= name.is_escaped();
            if count as usize > PAIRWISE_LIMIT || any_escaped {
                break;
            }
            let text = &self.text[name.place()..name.tail as usize];
            if few[..position].contains(&text) {
                return Err(duplicate(name, text));
            }
            few[position] = text;
            index = after(&self.nodes, index + 1);
        }
        if count as usize <= PAIRWISE_LIMIT && !any_escaped {
            return Ok(());
        }
        index = node + 2;
        for _ in 0..count {
            let name = self.nodes[index];
            let text = &self.text[name.place()..name.tail as usize];
            let plain = if name.is_escaped() {
                Cow::Owned(unescape(text))
            } else {
                Cow::Borrowed(text)
            };
            names.push((plain, name));
            index = after(&self.nodes, index + 1);
        }
        names.sort_unstable_by(|(one, first), (other, second)| one.cmp(other).then(first.place().cmp(&second.place())));
        match names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(duplicate(pair[1].1, &pair[1].0)),
            None => Ok(()),
        }
    }

    fn string(&mut self) -> Parsed<()> {
        self.at += 1;
        let start = self.at;
        let mut escaped = 0;
        loop {
            self.plain_text();
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = ESCAPED;
                    self.escape()?;
                }
                Some(_) => {
                    return Err((
                        self.at,
                        "a control character in a string; it is written as an escape".into(),
                    ));
                }
                None => return self.unexpected("the end of a string"),
            }
        }
        self.push(start, self.at, STRING | escaped);
        self.at += 1;
        Ok(())
    }

    /// Passes everything that stands for itself in a string.
    fn plain_text(&mut self) {
        self.at += plain_length(&self.bytes[self.at..]);
    }

    fn escape(&mut self) -> Parsed<()> {
        let start = self.at;
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let lone = || (start, Cow::Borrowed("half of a surrogate pair"));
                let unit = hex(self.bytes, start + 2).ok_or((start, "`\\u` without four hexadecimal digits".into()))?;
                self.at += 6;
                match unit {
                    0xd800..0xdc00 => {
                        let is_pair = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                        let low = hex(self.bytes, self.at + 2).ok_or_else(lone)?;
                        if !is_pair || !(0xdc00..0xe000).contains(&low) {
                            return Err(lone());
                        }
                        self.at += 6;
                        Ok(())
                    }
                    0xdc00..0xe000 => Err(lone()),
                    _ => Ok(()),
                }
            }
            _ => Err((start, "an escape that JSON does not know".into())),
        }
    }

    fn number(&mut self) -> Parsed<()> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if let Some(b'0'..=b'9') = self.peek() {
                    return Err((start, "a number with a leading zero".into()));
                }
            }
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        self.push(start, self.at, NUMBER);
        Ok(())
    }

    fn digits(&mut self) -> Parsed<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return self.unexpected("a digit");
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str, kind: u32) -> Parsed<()> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.unexpected("a value");
        }
        self.push(self.at, self.at + word.len(), kind);
        self.at += word.len();
        Ok(())
    }

    fn push(&mut self, start: usize, end: usize, info: u32) {
        self.nodes.push(Node::new(small(start), info, small(end)));
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("`{}`", found.escape_debug()),
            None => "the end of the text".to_owned(),
        };
        Err((self.at, format!("{found} where {expected} is expected").into()))
    }
}

/// Positions fit: a text is at most `SIZE_LIMIT` bytes, and there are no more nodes than bytes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the size of a text is checked before it is read"
)]
fn small(position: usize) -> u32 {
    position as u32
}

#[cold]
fn duplicate(name: Node, text: &str) -> (usize, Cow<'static, str>) {
    let shown: String = text.chars().take(60).collect();
    (
        name.place() - 1,
        format!("a second member named `{}`", shown.escape_debug()).into(),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::json::{Document, Out};

    fn read(text: &[u8]) -> Result<Document, String> {
        Document::parse(Bytes::copy_from_slice(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_json_allows_is_read() {
        for text in [
            "null",
            " true ",
            "-0",
            "0.5e-7",
            "1E+2",
            "\"\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[[[]]]",
            "12345678901234567890.12",
            r#""\"\\\/\b\f\n\r\t\u00e9""#,
            r#""\ud83d\ude80""#,
            r#"{"":0}"#,
            "\"\u{7f}\u{20ac}\u{2028}\"",
            "[1,2,{\"a\":[]}]",
        ] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_json_does_not_allow_is_refused_with_its_place() {
        for (text, what, place) in [
            ("", "the end of the text where a value", "line 1, column 1"),
            ("{\"a\":1,\n \"a\":2}", "a second member named `a`", "line 2, column 2"),
            (r#"{"a":1,"\u0061":2}"#, "a second member named `a`", "column 8"),
            ("01", "leading zero", "column 1"),
            ("1.", "the end of the text where a digit", "column 3"),
            ("1e", "a digit", "column 3"),
            (".5", "a value", "column 1"),
            ("+1", "a value", "column 1"),
            ("-", "a digit", "column 2"),
            ("NaN", "a value", "column 1"),
            ("nul", "a value", "column 1"),
            ("[1,]", "`]` where a value", "column 4"),
            ("{\"a\":1,}", "`}` where a member name", "column 8"),
            ("{'a':1}", "a member name in double quotes", "column 2"),
            ("{\"a\" 1}", "`:`", "column 6"),
            ("[1 2]", "`,` or `]`", "column 4"),
            ("[1", "the end of the text", "column 3"),
            ("\"a", "the end of a string", "column 3"),
            ("\"\u{1}\"", "control character", "column 2"),
            ("\"\t\"", "control character", "column 2"),
            (r#""\x""#, "an escape", "column 2"),
            (r#""\u12g4""#, "four hexadecimal", "column 2"),
            (r#""\ud800""#, "surrogate", "column 2"),
            (r#""\ud800\u0041""#, "surrogate", "column 2"),
            (r#""\udc00""#, "surrogate", "column 2"),
            ("\u{feff}{}", "byte order mark", "column 1"),
            ("{} x", "after the end", "column 4"),
            ("1 2", "after the end", "column 3"),
            ("\"é\" é", "after the end", "column 5"),
        ] {
            let error = read(text.as_bytes()).expect_err(text);
            assert!(error.contains(what) && error.contains(place), "{text:?}: {error}");
        }
        assert!(read(b"\"\xff\"").unwrap_err().contains("not UTF-8 at line 1, column 2"));
        assert!(read(b"\"\xed\xa0\x80\"").unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(64).as_bytes()).is_ok());
        assert!(
            read(nested(65).as_bytes())
                .unwrap_err()
                .contains("deeper than 64 levels")
        );
        assert!(read("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn duplicates_are_found_among_many_members() {
        let members = |last: &str| {
            let many: Vec<_> = (0..200).map(|n| format!("\"m{n}\":{n}")).collect();
            format!("{{{},\"{last}\":0}}", many.join(","))
        };
        assert!(read(members("m200").as_bytes()).is_ok());
        assert!(read(members("m17").as_bytes()).unwrap_err().contains("`m17`"));
        assert!(read(members("\\u006d17").as_bytes()).unwrap_err().contains("`m17`"));
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        let document = read(br#""a\u20ac\ud83d\ude80\\\/\"\n\u0000z""#).unwrap();
        assert_eq!(document.root().as_str().unwrap(), "a€🚀\\/\"\n\0z");
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..8)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_and_writing_gives_the_same_bytes(value in any_json()) {
            let text = value.to_string();
            let document = read(text.as_bytes()).unwrap();
            prop_assert_eq!(document.root().raw(), &text);
            let mut out = Out::Raw(document.root());
            out.open_all();
            prop_assert_eq!(out.into_bytes(), text.into_bytes());
        }

        #[test]
        fn we_agree_with_another_reader_on_any_text(text in "[\\[\\]{}\",:0-9a-fnrtul\\\\ eE.+-]{0,40}") {
            let ours = read(text.as_bytes());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // It accepts duplicate members, and refuses numbers that no float holds.
            match (ours, theirs) {
                (Err(error), Ok(_)) => prop_assert!(error.contains("a second member"), "{}", error),
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range")),
                _ => {}
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
