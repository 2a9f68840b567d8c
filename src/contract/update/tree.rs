//! A document that can be taken apart and put together. Numbers keep their text.

use crate::json::{Builder, Decimal, Document, Kind, MemberName, Value};

/// A JSON value that owns what it holds.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// The number's text.
    Number(Box<str>),
    Text(Box<str>),
    List(Vec<Tree>),
    /// Members in their order.
    Object(Vec<(Box<str>, Tree)>),
}

/// The same value: members in any order, numbers by value.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => {
                one == other || Decimal::parse(one).is_some_and(|one| Decimal::parse(other) == Some(one))
            }
            (Self::List(ours), Self::List(theirs)) => ours == theirs,
            (Self::Object(ours), Self::Object(theirs)) => {
                ours.len() == theirs.len() && ours.iter().all(|(name, value)| other.get(name) == Some(value))
            }
            _ => false,
        }
    }
}

impl Tree {
    pub(super) fn of(value: Value<'_>) -> Self {
        match value.kind() {
            Kind::Null => Self::Null,
            Kind::Bool => Self::Bool(value.as_bool() == Some(true)),
            Kind::Number => Self::Number(value.raw().into()),
            Kind::String => Self::Text(value.as_str().unwrap_or_default().into()),
            Kind::Array => Self::List(value.elements().map(Self::of).collect()),
            Kind::Object => {
                let members = value.members();
                Self::Object(
                    members
                        .map(|(name, value)| (name.text().into(), Self::of(value)))
                        .collect(),
                )
            }
        }
    }

    /// `None` if it is larger than any text that is read.
    pub(super) fn document(&self) -> Option<Document> {
        let mut builder = Builder::with_capacity(1_024, 64);
        self.write(&mut builder);
        builder.finish()
    }

    fn write(&self, to: &mut Builder) {
        match self {
            Self::Null => to.null(),
            Self::Bool(value) => to.bool(*value),
            Self::Number(text) => to.number(text),
            Self::Text(text) => to.string(text),
            Self::List(items) => {
                let list = to.begin_array();
                for item in items {
                    to.element(list);
                    item.write(to);
                }
                to.end(list);
            }
            Self::Object(members) => {
                let object = to.begin_object();
                for (name, value) in members {
                    to.name(object, &MemberName::new(name));
                    value.write(to);
                }
                to.end(object);
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.members()?
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value)
    }

    pub(super) fn members(&self) -> Option<&[(Box<str>, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// What names lead to.
    pub(super) fn at(&self, path: &[Box<str>]) -> Option<&Self> {
        path.iter().try_fold(self, |tree, name| tree.get(name))
    }
}
