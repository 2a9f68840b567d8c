//! A YAML or JSON document as it was written: in its order, and with the place of everything.
//!
//! Overlays, upgrades and imports work on this, so that a mistake is told where somebody wrote it.

mod read;
mod write;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

use crate::config::{Diagnostic, SourceFile, yaml::Place};
use crate::json::Pointer;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) content: Content,
}

/// Where something was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// Which of the files that were read together.
    pub(super) file: usize,
    pub(super) place: Place,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Members),
}

/// The members of a map, as they were written.
pub(super) type Members = IndexMap<String, Member>;

/// What stands behind a name.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Where the name was written.
    pub(super) key: Origin,
    pub(super) value: Node,
}

impl Origin {
    /// A mistake there. `files` are those that were read together.
    pub(super) fn mistake(self, files: &[SourceFile], message: impl Into<String>) -> Diagnostic {
        match files.get(self.file).or(files.first()) {
            Some(file) => Diagnostic::in_file(file, self.place.within(&file.text), message),
            None => Diagnostic::error(&SourceFile::default(), 0, 0, message),
        }
    }
}

impl Node {
    /// A text that stands for something written there.
    pub(super) fn text(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            content: Content::Text(text.into()),
        }
    }

    /// A list that stands for something written there.
    pub(super) fn list(origin: Origin, nodes: Vec<Self>) -> Self {
        Self {
            origin,
            content: Content::List(nodes),
        }
    }

    /// A map that stands for something written there.
    pub(super) fn map<const N: usize>(origin: Origin, members: [(&str, Self); N]) -> Self {
        let mut map = Self {
            origin,
            content: Content::Map(Members::new()),
        };
        for (name, value) in members {
            map.set(name, value);
        }
        map
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self.content, Content::Bool(true))
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        match &self.content {
            Content::List(nodes) => Some(nodes),
            _ => None,
        }
    }

    pub(super) fn as_list_mut(&mut self) -> Option<&mut Vec<Self>> {
        match &mut self.content {
            Content::List(nodes) => Some(nodes),
            _ => None,
        }
    }

    pub(super) fn members(&self) -> Option<&Members> {
        match &self.content {
            Content::Map(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn members_mut(&mut self) -> Option<&mut Members> {
        match &mut self.content {
            Content::Map(members) => Some(members),
            _ => None,
        }
    }

    /// What a name of a map stands for.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.members()?.get(name).map(|member| &member.value)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.members_mut()?.get_mut(name).map(|member| &mut member.value)
    }

    /// Sets a member of a map; a new one comes last.
    pub(super) fn set(&mut self, name: impl Into<String>, value: Self) {
        if let Some(members) = self.members_mut() {
            let key = value.origin;
            members.insert(name.into(), Member { key, value });
        }
    }

    /// Takes a member out of a map; the others keep their order.
    pub(super) fn take(&mut self, name: &str) -> Option<Self> {
        self.members_mut()?.shift_remove(name).map(|member| member.value)
    }

    /// The map of this name, made where there is none; nothing in what is no map.
    pub(super) fn section(&mut self, name: &str) -> Option<&mut Self> {
        if self.get(name).is_none_or(|node| node.members().is_none()) {
            self.set(name, Self::map(self.origin, []));
        }
        self.get_mut(name)
    }

    /// The node that the tokens of a pointer lead to.
    pub(super) fn at(&self, tokens: &[String]) -> Option<&Self> {
        tokens.iter().try_fold(self, |node, token| match &node.content {
            Content::Map(members) => members.get(token).map(|member| &member.value),
            Content::List(nodes) => nodes.get(token.parse::<usize>().ok()?),
            _ => None,
        })
    }

    pub(super) fn at_mut(&mut self, tokens: &[String]) -> Option<&mut Self> {
        tokens.iter().try_fold(self, |node, token| match &mut node.content {
            Content::Map(members) => members.get_mut(token).map(|member| &mut member.value),
            Content::List(nodes) => nodes.get_mut(token.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Where what a pointer leads to was written, or the nearest around it: the name of a map or a list, a plain
    /// value itself.
    pub(super) fn origin_of(&self, pointer: &str) -> Origin {
        let tokens = Pointer::parse(pointer).unwrap_or_default();
        let (mut node, mut origin) = (self, Origin::default());
        for token in tokens.tokens() {
            let (found, key) = match &node.content {
                Content::Map(members) => match members.get(token) {
                    Some(member) => (&member.value, member.key),
                    None => break,
                },
                Content::List(nodes) => match token.parse::<usize>().ok().and_then(|index| nodes.get(index)) {
                    Some(found) => (found, found.origin),
                    None => break,
                },
                _ => break,
            };
            origin = match found.content {
                Content::Map(_) | Content::List(_) => key,
                _ => found.origin,
            };
            node = found;
        }
        origin
    }

    /// The value alone.
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(nodes) => nodes.iter().map(Self::to_value).collect(),
            Content::Map(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, member)| (name.clone(), member.value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

#[cfg(test)]
pub(super) fn read_text(text: &str) -> Node {
    let file = SourceFile {
        path: "openapi.yaml".into(),
        text: text.into(),
    };
    Node::read(&file, 0).unwrap_or_else(|mistake| panic!("{mistake}"))
}
