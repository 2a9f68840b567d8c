//! Places in documents where single texts are rewritten, and all else stays as it is.

use std::collections::BTreeMap;

use super::openapi::OpenApi;
use crate::json::{Builder, Document, Kind, Value};

/// A way from the root of a document: `errors[].pointer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(Box<str>),
    Items,
}

impl Way {
    /// Reads names with dots between them, `[]` after what is a list. The error is a phrase.
    pub(super) fn parse(written: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for (position, segment) in written.split('.').enumerate() {
            let name = segment.trim_end_matches("[]");
            let lists = (segment.len() - name.len()) / 2;
            let is_list = position == 0 && name.is_empty() && lists > 0;
            if name.contains(['[', ']']) || (name.is_empty() && !is_list) {
                return Err(format!("`{written}` is no way to a field"));
            }
            if !name.is_empty() {
                parts.push(Part::Name(name.into()));
            }
            parts.extend(std::iter::repeat_n(Part::Items, lists));
        }
        Ok(Self(parts))
    }

    /// Whether a schema describes it, or leaves room for it.
    pub(super) fn leads_somewhere(&self, document: &OpenApi, schema: &str) -> bool {
        let mut place = document.resolve(schema);
        for part in &self.0 {
            let Some(at) = place else { return false };
            let inner = match part {
                Part::Items => document.items(&at),
                Part::Name(name) => match document.properties(&at).remove(&**name) {
                    Some(inner) => Some(inner),
                    // What an open object may hold is not described further.
                    None if !document.is_closed(&at) && document.items(&at).is_none() => return true,
                    None => None,
                },
            };
            place = inner.and_then(|inner| document.resolve(&inner));
        }
        place.is_some()
    }

    /// Where a schema describes it.
    pub(super) fn schema(&self, document: &OpenApi, schema: &str) -> Option<String> {
        let start = document.resolve(schema)?;
        self.0.iter().try_fold(start, |at, part| {
            let inner = match part {
                Part::Items => document.items(&at)?,
                Part::Name(name) => document.properties(&at).remove(&**name)?,
            };
            document.resolve(&inner)
        })
    }

    /// Whether a document of this schema always has the field, at least where its list has the item.
    pub(super) fn is_required(&self, document: &OpenApi, schema: &str) -> bool {
        let Some((Part::Name(last), way)) = self.0.split_last() else {
            return false;
        };
        let around = Self(way.to_vec()).schema(document, schema);
        around.is_some_and(|around| document.required(&around).contains(&**last))
    }
}

/// Ways into documents, with what is to be done at their ends.
#[derive(Debug)]
pub(super) struct Sites<T> {
    root: Branch<T>,
}

#[derive(Debug)]
struct Branch<T> {
    here: Option<T>,
    names: BTreeMap<Box<str>, Branch<T>>,
    items: Option<Box<Branch<T>>>,
}

impl<T> Default for Branch<T> {
    fn default() -> Self {
        Self {
            here: None,
            names: BTreeMap::new(),
            items: None,
        }
    }
}

impl<T> Default for Sites<T> {
    fn default() -> Self {
        Self {
            root: Branch::default(),
        }
    }
}

/// What becomes of a text.
pub(super) enum Edit {
    Keep,
    Put(String),
    Remove,
}

/// Rewrites the texts at the ends of ways.
type Rewrite<'r, 'v, T> = dyn FnMut(&T, Value<'v>, &str) -> Result<Edit, String> + 'r;

impl<T> Sites<T> {
    /// Adds a way; of two alike the first counts.
    pub(super) fn add(&mut self, way: &Way, what: T) {
        let end = way.0.iter().fold(&mut self.root, |branch, part| match part {
            Part::Name(name) => branch.names.entry(name.clone()).or_default(),
            Part::Items => branch.items.get_or_insert_default(),
        });
        end.here.get_or_insert(what);
    }

    /// No way leads anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.root.names.is_empty() && self.root.items.is_none()
    }

    /// The document with its texts rewritten. An error carries the JSON Pointer of the text that was refused.
    pub(super) fn edit<'v>(
        &self,
        document: &'v Document,
        rewrite: &mut Rewrite<'_, 'v, T>,
    ) -> Result<Document, (String, String)> {
        let mut out = Builder::like(document);
        if !self.root.write(document.root(), &mut out, rewrite)? {
            out.null();
        }
        Ok(out.finish().unwrap_or_else(|| document.clone()))
    }
}

impl<T> Branch<T> {
    /// Writes a value; false if it is left out.
    fn write<'v>(
        &self,
        value: Value<'v>,
        out: &mut Builder,
        rewrite: &mut Rewrite<'_, 'v, T>,
    ) -> Result<bool, (String, String)> {
        if let (Some(what), Some(text)) = (&self.here, value.as_str()) {
            match rewrite(what, value, &text).map_err(|wrong| (value.pointer().to_string(), wrong))? {
                Edit::Keep => out.copy(value),
                Edit::Put(text) => out.string(&text),
                Edit::Remove => return Ok(false),
            }
            return Ok(true);
        }
        match (value.kind(), &self.items) {
            (Kind::Array, Some(items)) => {
                let begun = out.begin_array();
                for item in value.elements() {
                    let mark = out.mark(begun);
                    out.element(begun);
                    if !items.write(item, out, rewrite)? {
                        out.rewind(begun, mark);
                    }
                }
                out.end(begun);
            }
            (Kind::Object, _) if !self.names.is_empty() => {
                let begun = out.begin_object();
                for (name, member) in value.members() {
                    let mark = out.mark(begun);
                    out.name_as_it_came(begun, name);
                    match self.names.get(&*name.text()) {
                        Some(branch) => {
                            if !branch.write(member, out, rewrite)? {
                                out.rewind(begun, mark);
                            }
                        }
                        None => out.copy(member),
                    }
                }
                out.end(begun);
            }
            _ => out.copy(value),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn edited(ways: &[&str], text: &str) -> String {
        let mut sites = Sites::default();
        for way in ways {
            sites.add(&Way::parse(way).unwrap(), ());
        }
        let document = Document::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let edited = sites.edit(&document, &mut |(), _, text| match text {
            "gone" => Ok(Edit::Remove),
            "kept" => Ok(Edit::Keep),
            "bad" => Err("is bad".to_owned()),
            other => Ok(Edit::Put(format!("<{other}>"))),
        });
        match edited {
            Ok(document) => {
                let again = Document::parse(Bytes::copy_from_slice(document.text().as_bytes())).unwrap();
                assert_eq!(again, document, "text and nodes agree");
                document.text().to_owned()
            }
            Err((pointer, wrong)) => format!("{pointer} {wrong}"),
        }
    }

    #[test]
    fn only_texts_at_the_ends_of_ways_are_rewritten() {
        let text = r#"{"next":"a","n":1.50,"items":[{"href":"b","x":"c"},{"href":"gone"},{"href":"kept"},7]}"#;
        assert_eq!(
            edited(&["next", "items[].href", "nowhere.at.all"], text),
            r#"{"next":"<a>","n":1.50,"items":[{"href":"<b>","x":"c"},{},{"href":"kept"},7]}"#
        );
        assert_eq!(edited(&["[].a"], r#"[{"a":"b"},null]"#), r#"[{"a":"<b>"},null]"#);
        assert_eq!(
            edited(&["a[]"], r#"{"a":["gone","x"],"b":2}"#),
            r#"{"a":["<x>"],"b":2}"#
        );
        assert_eq!(edited(&["a"], r#"{"a":{"b":1}}"#), r#"{"a":{"b":1}}"#);
        assert_eq!(edited(&["a[].b"], r#"{"a":[{"b":"bad"}]}"#), "/a/0/b is bad");
    }

    #[test]
    fn a_way_is_names_and_lists() {
        for wrong in ["", "a..b", "a[0]", "a[]b", ".a"] {
            assert!(Way::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Way::parse("a[][].b").is_ok());
    }
}
