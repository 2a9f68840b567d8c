//! A JSON value in the making: what is generated, compared and made smaller.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::json::{Document, Kind, Out, Value};

/// A JSON value that can be changed. Numbers are their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::contract) enum Sample {
    Null,
    Bool(bool),
    Num(String),
    Str(String),
    Arr(Vec<Sample>),
    Obj(Vec<(String, Sample)>),
}

impl Sample {
    /// A copy of a value that was read.
    pub(super) fn of(value: Value<'_>) -> Self {
        match value.kind() {
            Kind::Null => Self::Null,
            Kind::Bool => Self::Bool(value.as_bool() == Some(true)),
            Kind::Number => Self::Num(value.as_number_text().unwrap_or_default().to_owned()),
            Kind::String => Self::Str(value.as_str().unwrap_or_default().into_owned()),
            Kind::Array => Self::Arr(value.elements().map(Self::of).collect()),
            Kind::Object => Self::Obj(
                value
                    .members()
                    .map(|(name, value)| (name.text().into_owned(), Self::of(value)))
                    .collect(),
            ),
        }
    }

    /// A copy of a plain value, such as a constant of a schema.
    pub(super) fn of_plain(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Num(number.to_string()),
            Json::String(text) => Self::Str(text.clone()),
            Json::Array(elements) => Self::Arr(elements.iter().map(Self::of_plain).collect()),
            Json::Object(members) => Self::Obj(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::of_plain(value)))
                    .collect(),
            ),
        }
    }

    /// Written out and read as the gateway reads a body; `None` if it would not, as beyond its limits.
    pub(in crate::contract) fn document(&self) -> Option<Document> {
        Document::parse(Bytes::from(self.out().into_bytes())).ok()
    }

    /// How many values there are in this one, itself included.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Arr(elements) => 1 + elements.iter().map(Self::size).sum::<usize>(),
            Self::Obj(members) => 1 + members.iter().map(|(_, value)| value.size()).sum::<usize>(),
            _ => 1,
        }
    }

    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Obj(members) => members
                .iter()
                .find(|(member, _)| member == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// What names and positions lead to.
    pub(super) fn at(&self, tokens: &[String]) -> Option<&Self> {
        tokens.iter().try_fold(self, |value, token| match value {
            Self::Arr(elements) => elements.get(token.parse::<usize>().ok()?),
            _ => value.get(token),
        })
    }

    /// Puts a value where names and positions lead; false if what is around it is not there.
    pub(super) fn put(&mut self, tokens: &[String], value: &Self) -> bool {
        let Some((token, rest)) = tokens.split_first() else {
            value.clone_into(self);
            return true;
        };
        match self {
            Self::Arr(elements) => match token
                .parse::<usize>()
                .ok()
                .and_then(|position| elements.get_mut(position))
            {
                Some(element) => element.put(rest, value),
                None => false,
            },
            Self::Obj(members) => match members.iter_mut().find(|(name, _)| name == token) {
                Some((_, member)) => member.put(rest, value),
                None if rest.is_empty() => {
                    members.push((token.clone(), value.clone()));
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    fn out(&self) -> Out<'_> {
        match self {
            Self::Null => Out::Null,
            Self::Bool(value) => Out::Bool(*value),
            Self::Num(text) => Out::Num(Cow::Borrowed(text)),
            Self::Str(text) => Out::Str(Cow::Borrowed(text)),
            Self::Arr(elements) => Out::Arr(elements.iter().map(Self::out).collect()),
            Self::Obj(members) => Out::Obj(
                members
                    .iter()
                    .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.out()))
                    .collect(),
            ),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.out().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_written_as_it_was_read() {
        let text = r#"{"a":[1e2,19.90,null,true],"b":{"ü":"\"\\"}}"#;
        let document = Document::parse(Bytes::from_static(text.as_bytes())).unwrap();
        let sample = Sample::of(document.root());
        assert_eq!(sample.to_string(), text);
        assert_eq!(sample.document().unwrap().text(), text);
        assert_eq!(sample.size(), 8);
        assert_eq!(sample.at(&["a".into(), "1".into()]), Some(&Sample::Num("19.90".into())));
    }
}
