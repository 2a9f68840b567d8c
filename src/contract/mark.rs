//! Which versions a message was translated between, and by which revision of what lies between them. Goes along with
//! what outlives a request: entity tags, remembered answers, queued messages.

use std::fmt::Write as _;
use std::sync::Arc;

use super::translation::Translation;
use crate::config::SourceFile;

/// Ends the label of a request that is merged when it is sent.
const MERGED: &str = " merged";
/// Digits of a revision. It tells revisions of one pair of versions apart, no more.
const DIGITS: usize = 8;

/// The two versions of a translation and its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// `orders@v1->v3#r1f3a9c2e`
    pub label: Arc<str>,
    /// What an entity tag ends in that a caller of this version gets: `;v1;r1f3a9c2e`.
    pub suffix: Arc<str>,
}

impl Mark {
    /// Of a contract, the caller's version and the upstream's, and what the mappings between them were made of.
    pub(super) fn new<'d>(
        contract: &str,
        (caller, upstream): (&str, &str),
        parts: impl Iterator<Item = &'d blake3::Hash>,
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        // Another engine may write the same document in other bytes.
        hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
        for part in parts {
            hasher.update(part.as_bytes());
        }
        let mut revision = hasher.finalize().to_hex().to_string();
        revision.truncate(DIGITS);
        Self {
            label: format!("{contract}@{caller}->{upstream}#r{revision}").into(),
            suffix: format!(";{caller};r{revision}").into(),
        }
    }
}

impl Mark {
    /// What is stored with a request that was translated so and waits: the label, and whether it is merged when it is
    /// sent.
    pub fn stored(translation: &Translation) -> Arc<str> {
        let label = &translation.mark().label;
        match translation.update() {
            Some(_) => format!("{label}{MERGED}").into(),
            None => label.clone(),
        }
    }

    /// Whether a stored request is merged with what stands at the upstream.
    pub fn is_merged(stored: &str) -> bool {
        stored.ends_with(MERGED)
    }

    /// The upstream's version of a label.
    pub fn spoken(label: &str) -> Option<&str> {
        let versions = label.split('#').next()?;
        versions.rsplit_once("->").map(|(_, upstream)| upstream)
    }

    /// The entity tag of a translated answer; `None` if what the upstream gave is none.
    pub fn tag(&self, tag: &str) -> Option<String> {
        tag_for_caller(tag, &self.suffix)
    }

    /// Those tags of a condition that mean answers of this translation, in the upstream's form; `None` if it is no list
    /// of tags.
    pub fn tags(&self, list: &str) -> Option<Vec<String>> {
        tags_for_upstream(list, &self.suffix)
    }
}

/// Of files and what other files were made into. Where the files lie does not matter.
pub(super) fn digest<'d>(parts: impl IntoIterator<Item = &'d blake3::Hash>, files: &[&SourceFile]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
    }
    for file in files {
        hasher.update(&(file.text.len() as u64).to_le_bytes());
        hasher.update(file.text.as_bytes());
    }
    hasher.finalize()
}

/// The tag of a representation in the caller's version, by the upstream's tag. `None` if it is no entity tag
/// (RFC 9110 §8.8.3).
///
/// A translation makes the same bytes of the same bytes as long as its revision is the same. So a strong tag stays
/// strong, and a weak one weak.
fn tag_for_caller(tag: &str, suffix: &str) -> Option<String> {
    let tag = tag.trim();
    let opaque = tag.strip_suffix('"').filter(|_| is_tag(tag))?;
    let mut marked = String::with_capacity(tag.len() + suffix.len());
    let _ = write!(marked, "{opaque}{suffix}\"");
    Some(marked)
}

/// The tags of an `If-Match` or `If-None-Match` that were given to callers of this version and revision, as the
/// upstream knows them; all others mean another representation and are left out. `None` if this is no list of tags.
fn tags_for_upstream(list: &str, suffix: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            // Empty elements are allowed in lists (RFC 9110 §5.6.1.2).
            rest = after.trim_start();
            continue;
        }
        let start = if rest.starts_with("W/\"") { 3 } else { 1 };
        let end = rest.get(start..)?.find('"')? + start + 1;
        let (tag, after) = rest.split_at(end);
        if !is_tag(tag) {
            return None;
        }
        if let Some(own) = tag.strip_suffix('"').and_then(|tag| tag.strip_suffix(suffix)) {
            tags.push(format!("{own}\""));
        }
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
    Some(tags)
}

/// `"…"` or `W/"…"` of printable characters (RFC 9110 §8.8.3).
fn is_tag(text: &str) -> bool {
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    quoted.len() >= 2
        && inner.is_some_and(|inner| {
            inner
                .chars()
                .all(|char| char == '!' || ('#'..='~').contains(&char) || char >= '\u{80}')
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUFFIX: &str = ";v1;r1f3a9c2e";

    #[test]
    fn a_tag_says_version_and_revision_and_stays_as_strong_as_it_was() {
        assert_eq!(
            tag_for_caller("\"abc\"", SUFFIX).as_deref(),
            Some("\"abc;v1;r1f3a9c2e\"")
        );
        assert_eq!(
            tag_for_caller("W/\"abc\"", SUFFIX).as_deref(),
            Some("W/\"abc;v1;r1f3a9c2e\"")
        );
        assert_eq!(tag_for_caller("\"\"", SUFFIX).as_deref(), Some("\";v1;r1f3a9c2e\""));
        for wrong in ["abc", "\"", "w/\"abc\"", "\"a b\"", "", "\"a\"b\""] {
            assert_eq!(tag_for_caller(wrong, SUFFIX), None, "{wrong}");
        }
    }

    #[test]
    fn a_label_tells_what_the_upstream_spoke() {
        let mark = Mark::new("orders", ("v1", "v3"), [].into_iter());
        assert_eq!(Mark::spoken(&mark.label), Some("v3"));
        assert_eq!(Mark::spoken("v1->2026-01-01"), Some("2026-01-01"));
        assert_eq!(Mark::spoken(""), None);
    }

    #[test]
    fn only_tags_of_this_version_and_revision_reach_the_upstream() {
        let tags = |list: &str| tags_for_upstream(list, SUFFIX);
        assert_eq!(tags("\"abc;v1;r1f3a9c2e\""), Some(vec!["\"abc\"".to_owned()]));
        assert_eq!(
            tags("\"a;v1;r1f3a9c2e\" , W/\"b;v1;r1f3a9c2e\",, \"c,d;v1;r1f3a9c2e\""),
            Some(vec!["\"a\"".to_owned(), "W/\"b\"".to_owned(), "\"c,d\"".to_owned()])
        );
        // Another version, another revision, the upstream's own.
        assert_eq!(
            tags("\"abc;v2;r1f3a9c2e\", \"abc;v1;r00000000\", \"abc\""),
            Some(vec![])
        );
        for wrong in ["abc", "\"abc", "\"a\" \"b\"", "*", "\"a\", *"] {
            assert_eq!(tags(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_tag_comes_back(tags in prop::collection::vec(("(W/)?", "[!#-~]{0,12}"), 1..4)) {
            let given: Vec<String> = tags.iter().map(|(weak, opaque)| format!("{weak}\"{opaque}\"")).collect();
            let marked: Vec<String> = given.iter().map(|tag| tag_for_caller(tag, SUFFIX).unwrap()).collect();
            prop_assert_eq!(tags_for_upstream(&marked.join(", "), SUFFIX), Some(given));
        }

        #[test]
        fn nothing_panics(list in ".{0,40}") {
            let _ = tags_for_upstream(&list, SUFFIX);
            let _ = tag_for_caller(&list, SUFFIX);
        }
    }
}
