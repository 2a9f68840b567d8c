//! One YAML document into one Rust type; what goes wrong becomes a diagnostic with its place.
//!
//! The only module that knows the YAML parser (JSON is read by it as well).

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, NonFiniteFloatPolicy, Options, UserMessageFormatter, options};

use super::{Diagnostic, Secret, SourceFile, Spanned};

/// Reads a file that holds one YAML or JSON document. Stops at the first mistake.
pub fn read<T: de::DeserializeOwned>(file: &SourceFile) -> Result<T, Box<Diagnostic>> {
    if is_blank(&file.text) {
        let diagnostic = Diagnostic::error(file, 0, 0, "the file is empty");
        return Err(Box::new(
            diagnostic.help("write the document, starting with its `kind`, or remove the file"),
        ));
    }
    let options = options! { with_snippet: false };
    serde_saphyr::from_str_with_options(&file.text, options).map_err(|error| Box::new(explain(file, &error)))
}

/// A stretch of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 1-based line; 0 where unknown.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// Characters; 0 where unknown.
    pub length: u32,
}

impl Place {
    /// Where a value is written. A value of several lines is cut to its first.
    pub fn of<T>(file: &SourceFile, value: &Spanned<T>) -> Self {
        Self::new(&file.text, value.referenced)
    }

    /// Where the value at a path of keys and list positions is written: `["credentials", "0", "header"]`.
    ///
    /// Points to the key of a value that is itself a map or a list, and to the nearest parent of a missing one.
    pub fn at(file: &SourceFile, path: &[&str]) -> Self {
        let Ok(root) = Node::read(&file.text) else {
            return Self::default();
        };
        let (mut node, mut place) = (&root, Self::default());
        for step in path {
            let Some((found, place_of_found)) = node.child(step) else {
                break;
            };
            (node, place) = (found, place_of_found);
        }
        place.within(&file.text)
    }

    /// Where the key of a map is written that a path of keys leads to; `None` where there is none.
    pub fn of_key(file: &SourceFile, path: &[&str]) -> Option<Self> {
        let root = Node::read(&file.text).ok()?;
        let (last, parents) = path.split_last()?;
        let parent = parents
            .iter()
            .try_fold(&root, |node, step| node.child(step).map(|(child, _)| child))?;
        let Content::Map(entries) = &parent.content else {
            return None;
        };
        let (key, _) = entries.iter().find(|(key, _)| key.value == *last)?;
        Some(Self::new(&file.text, key.referenced))
    }

    fn new(text: &str, location: Location) -> Self {
        Self::from(location).within(text)
    }

    /// Cuts the length to the end of the line.
    #[must_use]
    pub fn within(mut self, text: &str) -> Self {
        let line = text.lines().nth((self.line as usize).saturating_sub(1)).unwrap_or("");
        let rest = line
            .trim_end()
            .chars()
            .count()
            .saturating_sub((self.column as usize).saturating_sub(1));
        self.length = self.length.min(u32::try_from(rest).unwrap_or(u32::MAX));
        self
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            line: small(location.line()),
            column: small(location.column()),
            length: small(location.span().len()),
        }
    }
}

/// The candidate most like a misspelt word, where one is alike enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let (distance, candidate) = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.chars().count() / 3).max(1)).then_some(candidate)
}

/// What to write instead of a word that is not among the allowed ones: the nearest of them, or all.
pub fn instead<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, allowed.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("expected {}", one_of(allowed)),
    }
}

/// ``one of `a`, `b` `` as it is said.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing; there is none".to_owned(),
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    })
}

/// Says in our words what the parser found.
fn explain(file: &SourceFile, error: &Error) -> Diagnostic {
    let error = match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => error,
        other => other,
    };
    let at = error.location().unwrap_or(Location::UNKNOWN);
    let mut place = Place::new(&file.text, at);
    let (message, help) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            place.length = u32::try_from(field.chars().count()).unwrap_or(0);
            (
                format!("unknown key `{field}`"),
                Some(instead(field, expected.iter().copied())),
            )
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            place = value_at(file, place);
            let allowed = expected.iter().copied();
            // A short list is shown whole: the nearest word is not always the one that was meant.
            let help = if expected.len() <= 4 {
                format!("write {}", one_of(allowed))
            } else {
                instead(variant, allowed)
            };
            (format!("unknown value `{variant}`"), Some(help))
        }
        Error::SerdeMissingField { field, .. } => {
            // The parser names some neighbour; nothing there is wrong.
            place.length = 0;
            (
                format!("the key `{field}` is missing"),
                Some(format!("add `{field}: …`")),
            )
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("…");
            place.length = u32::try_from(key.chars().count()).unwrap_or(0);
            (
                format!("the key `{key}` is written twice"),
                Some("keep one of them".to_owned()),
            )
        }
        Error::MultipleDocuments { .. } => (
            "a second document starts here".to_owned(),
            Some("a file holds one document; give the second one a file of its own".to_owned()),
        ),
        Error::SerdeInvalidType {
            unexpected, expected, ..
        }
        | Error::SerdeInvalidValue {
            unexpected, expected, ..
        } => {
            place = value_at(file, place);
            (format!("expected {}, found {unexpected}", plain(expected)), None)
        }
        Error::Message { msg, .. } => {
            place = value_at(file, place);
            match msg.split_once("; ") {
                Some((what, instead)) => (what.to_owned(), Some(instead.to_owned())),
                None => (msg.clone(), None),
            }
        }
        Error::Unexpected { expected, .. } => (format!("expected {}", plain(expected)), None),
        Error::InvalidScalar { ty, .. } => {
            let found = file
                .text
                .lines()
                .nth((place.line as usize).saturating_sub(1))
                .unwrap_or("");
            let found: String = found
                .chars()
                .skip((place.column as usize).saturating_sub(1))
                .take(place.length as usize)
                .collect();
            match found.as_str() {
                "" => (format!("a value is missing, {}", plain(ty)), None),
                _ => (format!("`{found}` is not {}", plain(ty)), None),
            }
        }
        Error::NullIntoString { .. } => (
            "a value is missing".to_owned(),
            Some("write text after the `:`".to_owned()),
        ),
        other => syntax(file, place, other),
    };
    let is_secret = message.starts_with(Secret::MISPLACED);
    let mut diagnostic = Diagnostic::in_file(file, place, message);
    diagnostic.help = help;
    if is_secret { diagnostic.concealed() } else { diagnostic }
}

/// The parser's words for what it expected, in ours.
fn plain(expected: &str) -> &str {
    match expected {
        "mapping start" => "a map of keys and values",
        "sequence start" => "a list",
        "string scalar" => "text",
        "a nonzero u32" | "a nonzero usize" | "a nonzero u64" => "a whole number of at least 1",
        "u32" | "usize" | "u64" => "a whole number",
        other => other,
    }
}

fn syntax(file: &SourceFile, place: Place, error: &Error) -> (String, Option<String>) {
    let line = file
        .text
        .lines()
        .nth((place.line as usize).saturating_sub(1))
        .unwrap_or("");
    let indentation = &line[..line.len() - line.trim_start().len()];
    if indentation.contains('\t') {
        return (
            "a tab is used for indentation".to_owned(),
            Some("indent with spaces".to_owned()),
        );
    }
    let rendered = error.render_with_formatter(&UserMessageFormatter);
    // The place is ours to say.
    let message = rendered
        .rsplit_once(" at line ")
        .map_or(rendered.as_str(), |(message, _)| message);
    (message.to_owned(), None)
}

/// The parser blames the key where a value could be read but not converted; people look at the value.
fn value_at(file: &SourceFile, key: Place) -> Place {
    Node::read(&file.text)
        .ok()
        .and_then(|root| root.value_of_key_at(key))
        .map_or(key, |place| place.within(&file.text))
}

/// A document as a tree of places, to look one up once something is known to be wrong.
struct Node {
    place: Place,
    content: Content,
}

enum Content {
    Scalar,
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Node {
    fn read(text: &str) -> Result<Self, Error> {
        let options: Options = options! {
            with_snippet: false,
            duplicate_keys: DuplicateKeyPolicy::FirstWins,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        };
        serde_saphyr::from_str_with_options(text, options)
    }

    fn child(&self, step: &str) -> Option<(&Self, Place)> {
        match &self.content {
            Content::Scalar => None,
            Content::List(nodes) => nodes.get(step.parse::<usize>().ok()?).map(|node| (node, node.place)),
            Content::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.value == step)
                .map(|(key, node)| (node, node.shown(key))),
        }
    }

    /// A map or list in block style starts on the next line; its key says better what is meant.
    fn shown(&self, key: &Spanned<String>) -> Place {
        match self.content {
            Content::Scalar => self.place,
            _ => key.referenced.into(),
        }
    }

    fn value_of_key_at(&self, place: Place) -> Option<Place> {
        match &self.content {
            Content::Scalar => None,
            Content::List(nodes) => nodes.iter().find_map(|node| node.value_of_key_at(place)),
            Content::Map(entries) => entries.iter().find_map(|(key, node)| {
                let at = Place::from(key.referenced);
                if (at.line, at.column) == (place.line, place.column) {
                    Some(node.shown(key))
                } else {
                    node.value_of_key_at(place)
                }
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            place: spanned.referenced.into(),
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

/// Every kind of scalar is only a place.
macro_rules! scalars {
    ($($visit:ident($type:ty)),*) => {
        $(fn $visit<E: de::Error>(self, _: $type) -> Result<Content, E> {
            Ok(Content::Scalar)
        })*
    };
}

impl<'de> de::Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(
        visit_bool(bool),
        visit_i64(i64),
        visit_u64(u64),
        visit_i128(i128),
        visit_u128(u128),
        visit_f64(f64),
        visit_str(&str),
        visit_bytes(&[u8])
    );

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar)
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar)
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
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ApiSpec, IssuerSpec, UpstreamSpec};

    fn mistake<T: de::DeserializeOwned + fmt::Debug>(text: &str) -> Diagnostic {
        let file = SourceFile {
            path: "x.yaml".into(),
            text: text.into(),
        };
        *read::<T>(&file).unwrap_err()
    }

    /// The end of an upstream file, on line 4, and what is said about it.
    const MISTAKES: [(&str, &str); 14] = [
        (
            "attempts: 0",
            "4:11: error: expected a whole number of at least 1, found integer `0`",
        ),
        ("attempts: many", "4:11: error: `many` is not a whole number"),
        ("attempts:", "4:9: error: a value is missing, a whole number"),
        (
            "atempts: 3",
            "4:1: error: unknown key `atempts` (help: did you mean `attempts`?)",
        ),
        (
            "name: y",
            "4:1: error: the key `name` is written twice (help: keep one of them)",
        ),
        (
            "timeouts: { connect: 5x }",
            "4:22: error: `5x` is not a duration (help: write a whole number and a unit: 250ms",
        ),
        (
            "timeouts: { conect: 5s }",
            "4:13: error: unknown key `conect` (help: did you mean `connect`?)",
        ),
        ("timeouts: 5s", "4:11: error: expected a map of keys and values"),
        (
            "repeats: safe",
            "4:10: error: unknown value `safe` (help: write one of `honoured`, `unsafe`)",
        ),
        (
            "credentials:\n\t- header: A",
            "5:2: error: a tab is used for indentation (help: indent with spaces)",
        ),
        ("credentials: [", "4:14: error: unclosed bracket"),
        ("credentials: [{ header: [A] }]", "4:25: error: expected text"),
        (
            "---\nkind: Upstream",
            "5:1: error: a second document starts here (help: a file holds one document",
        ),
        ("breaker: *usual", "4:10: error: "),
    ];

    #[test]
    fn mistakes_are_named_with_their_place_and_remedy() {
        for (end, expected) in MISTAKES {
            let text = format!("kind: Upstream\nname: erp\nendpoints: [\"http://erp\"]\n{end}\n");
            let said = mistake::<UpstreamSpec>(&text).to_string();
            assert!(said.starts_with(&format!("x.yaml:{expected}")), "{end}: {said}");
        }
    }

    #[test]
    fn the_offending_text_is_underlined() {
        let text = "kind: Issuer\nname: x\nissuer: i\naudience: a\njwks: j\nleeway: '30 s'\n";
        let wrong = mistake::<IssuerSpec>(text);
        assert_eq!((wrong.line, wrong.column, wrong.length), (6, 9, 6));
        let wrong = mistake::<IssuerSpec>("kind: Issuer\nname: x\nisuer: i\n");
        assert_eq!((wrong.line, wrong.column, wrong.length), (3, 1, 5));
    }

    #[test]
    fn a_missing_key_says_which() {
        let said = mistake::<ApiSpec>("kind: Api\nname: a\n").to_string();
        assert!(
            said.contains("the key `tier` is missing (help: add `tier: …`)"),
            "{said}"
        );
    }

    #[test]
    fn an_empty_file_is_said_to_be_empty() {
        for text in ["", "\n\n", "# nothing\n---\n"] {
            assert!(
                mistake::<ApiSpec>(text)
                    .to_string()
                    .starts_with("x.yaml: error: the file is empty")
            );
        }
    }

    #[test]
    fn a_pasted_secret_is_not_shown() {
        let wrong = mistake::<UpstreamSpec>(
            "kind: Upstream\nname: x\nendpoints: [a]\ncredentials:\n  - { header: A, value: hunter2 }\n",
        );
        assert!(wrong.message.contains("named by where it is kept"));
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }

    #[test]
    fn deep_and_recursive_documents_are_refused() {
        for text in [
            "[".repeat(5_000),
            "a: &a [*a]\n".to_owned(),
            format!("kind: {}x{}", "[".repeat(500), "]".repeat(500)),
        ] {
            assert!(!mistake::<UpstreamSpec>(&text).message.is_empty());
        }
    }

    #[test]
    fn values_are_found_by_their_path() {
        let file = SourceFile {
            path: "x.yaml".into(),
            text: "a:\n  b:\n    - c: 'hallo'\n      d: {e: 1}\n200: x\n".into(),
        };
        let at = |path: &[&str]| {
            let place = Place::at(&file, path);
            (place.line, place.column, place.length)
        };
        assert_eq!(at(&["a", "b", "0", "c"]), (3, 10, 7));
        assert_eq!(at(&["a", "b", "0", "d", "e"]), (4, 14, 1));
        assert_eq!(at(&["200"]), (5, 6, 1));
        assert_eq!(at(&["a", "b"]), (2, 3, 1), "a list is shown by its key");
        assert_eq!(
            at(&["a", "b", "7"]),
            (2, 3, 1),
            "a missing value is shown by its parent"
        );
    }

    #[test]
    fn a_word_is_corrected_only_if_it_is_alike() {
        assert_eq!(nearest("upstraem", ["Upstream", "Issuer"]), Some("Upstream"));
        assert_eq!(nearest("kind", ["Upstream", "Issuer"]), None);
        assert_eq!(instead("x", ["one", "two"]), "expected one of `one`, `two`");
    }
}
