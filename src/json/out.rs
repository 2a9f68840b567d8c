//! JSON being written: whole subtrees are copied as they came, and opened only where a mapping reaches inside.

use std::borrow::Cow;

use super::parse::plain_length;
use super::{Kind, Value};

/// A value on its way out.
#[derive(Clone, Debug)]
pub enum Out<'a> {
    /// A member that was taken away. It is not written.
    Absent,
    Null,
    Bool(bool),
    /// The text of a JSON number.
    Num(Cow<'a, str>),
    Str(Cow<'a, str>),
    /// A value as it came; written verbatim.
    Raw(Value<'a>),
    Arr(Vec<Out<'a>>),
    /// Members in the order they are written. No name occurs twice among those that are not absent.
    Obj(Vec<(Cow<'a, str>, Out<'a>)>),
}

impl<'a> Out<'a> {
    /// Opens one level: a raw array or object becomes a list of raw parts, a raw scalar a scalar.
    pub fn open(&mut self) -> &mut Self {
        if let Self::Raw(value) = *self {
            *self = match value.kind() {
                Kind::Null => Self::Null,
                Kind::Bool => Self::Bool(value.as_bool() == Some(true)),
                Kind::Number => Self::Num(Cow::Borrowed(value.slice())),
                Kind::String => Self::Str(value.as_str().unwrap_or_default()),
                Kind::Array => Self::Arr(value.elements().map(Self::Raw).collect()),
                Kind::Object => {
                    // Room for what a mapping adds, so that the list does not move while it grows.
                    let mut members = Vec::with_capacity(value.len() + 6);
                    members.extend(value.members().map(|(name, value)| (name.text(), Self::Raw(value))));
                    Self::Obj(members)
                }
            };
        }
        self
    }

    /// Opens every level.
    pub fn open_all(&mut self) {
        match self.open() {
            Self::Arr(elements) => elements.iter_mut().for_each(Self::open_all),
            Self::Obj(members) => members.iter_mut().for_each(|(_, value)| value.open_all()),
            _ => {}
        }
    }

    /// The members, if this is an object.
    pub fn members_mut(&mut self) -> Option<&mut Vec<(Cow<'a, str>, Out<'a>)>> {
        match self.open() {
            Self::Obj(members) => Some(members),
            _ => None,
        }
    }

    /// A scalar as text: a string's content, a number's digits, `true`, `false`. `None` for the rest.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Str(text) | Self::Num(text) => Some(Cow::Borrowed(text)),
            Self::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Raw(value) => match value.kind() {
                Kind::String => value.as_str(),
                Kind::Number | Kind::Bool => Some(Cow::Borrowed(value.slice())),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a path of member names leads to, without opening anything.
    pub fn find(&self, path: &[Box<str>]) -> Option<Cow<'_, Out<'a>>> {
        let Some((first, rest)) = path.split_first() else {
            return Some(Cow::Borrowed(self));
        };
        match self {
            Self::Obj(members) => members
                .iter()
                .find(|(name, value)| **name == **first && !matches!(value, Self::Absent))?
                .1
                .find(rest),
            Self::Raw(value) => rest
                .iter()
                .try_fold(value.get(first)?, |value, name| value.get(name))
                .map(|value| Cow::Owned(Self::Raw(value))),
            _ => None,
        }
    }

    /// JSON text without superfluous whitespace, but for what raw parts came with.
    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Absent | Self::Null => to.extend_from_slice(b"null"),
            Self::Bool(value) => to.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Num(text) => to.extend_from_slice(text.as_bytes()),
            Self::Str(text) => write_string(text, to),
            Self::Raw(value) => to.extend_from_slice(value.raw().as_bytes()),
            Self::Arr(elements) => {
                to.push(b'[');
                for (position, element) in elements.iter().enumerate() {
                    if position > 0 {
                        to.push(b',');
                    }
                    element.write(to);
                }
                to.push(b']');
            }
            Self::Obj(members) => {
                to.push(b'{');
                let mut is_first = true;
                for (name, value) in members {
                    if matches!(value, Self::Absent) {
                        continue;
                    }
                    if !is_first {
                        to.push(b',');
                    }
                    is_first = false;
                    write_string(name, to);
                    to.push(b':');
                    value.write(to);
                }
                to.push(b'}');
            }
        }
    }

    /// The JSON text.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2_048);
        self.write(&mut bytes);
        bytes
    }
}

impl<'a> From<&'a serde_json::Value> for Out<'a> {
    fn from(value: &'a serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Num(Cow::Owned(number.to_string())),
            Json::String(text) => Self::Str(Cow::Borrowed(text)),
            Json::Array(elements) => Self::Arr(elements.iter().map(Into::into).collect()),
            Json::Object(members) => Self::Obj(
                members
                    .iter()
                    .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.into()))
                    .collect(),
            ),
        }
    }
}

fn write_string(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, after) = rest.split_at(plain_length(rest));
        to.extend_from_slice(plain);
        let Some((special, after)) = after.split_first() else {
            break;
        };
        match *special {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            0x8 => to.extend_from_slice(b"\\b"),
            0xc => to.extend_from_slice(b"\\f"),
            byte => to.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = after;
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::json::Document;

    #[test]
    fn what_is_not_opened_is_written_as_it_came() {
        let document = Document::parse(Bytes::from_static(br#"{"a": { "b" : 1e2 }, "c": "\u00e9"}"#)).unwrap();
        let mut out = Out::Raw(document.root());
        let members = out.members_mut().unwrap();
        members.push(("d".into(), Out::Str("\"\u{1}".into())));
        members[1].1.open();
        assert_eq!(
            String::from_utf8(out.into_bytes()).unwrap(),
            r#"{"a":{ "b" : 1e2 },"c":"é","d":"\"\u0001"}"#
        );
    }

    #[test]
    fn an_absent_member_is_neither_written_nor_found() {
        let out = Out::Obj(vec![
            ("a".into(), Out::Absent),
            ("b".into(), Out::Null),
            ("a".into(), Out::Bool(true)),
        ]);
        assert_eq!(out.find(&["a".into()]).unwrap().as_text().unwrap(), "true");
        assert_eq!(out.into_bytes(), br#"{"b":null,"a":true}"#);
    }
}
