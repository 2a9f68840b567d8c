//! Changes one version's state in the text of an API file, and nothing else in it.

use std::ops::Range;

use super::{ApiSpec, SourceFile, StateSpec, yaml};

/// The text with another state of one version; what else was said of the version goes with its former state. The error
/// is a phrase that says why this file cannot be changed so.
pub fn with_state(file: &SourceFile, version: &str, state: StateSpec) -> Result<String, String> {
    let key = yaml::Place::of_key(file, &["versions", version])
        .ok_or_else(|| format!("`versions` is no map that holds `{version}`"))?;
    let key = offset(&file.text, key);
    let value = value_after(&file.text, key).ok_or_else(|| format!("the value of `{version}` was not found"))?;
    let mut text = file.text.to_string();
    text.replace_range(value, &format!(" {}", state.as_str()));
    let changed = SourceFile {
        path: file.path.clone(),
        text: text.as_str().into(),
    };
    let is_as_wanted = is_changed(file, &changed, version, state);
    if is_as_wanted {
        Ok(text)
    } else {
        Err(format!(
            "the state of `{version}` is written in a way that only people read"
        ))
    }
}

/// Whether the two files differ in this state and in nothing else.
fn is_changed(before: &SourceFile, after: &SourceFile, version: &str, state: StateSpec) -> bool {
    let (Ok(before), Ok(after)) = (yaml::read::<ApiSpec>(before), yaml::read::<ApiSpec>(after)) else {
        return false;
    };
    let (former, latter) = (&before.versions.0, &after.versions.0);
    let is_one_state = former.len() == latter.len()
        && former.iter().zip(latter).all(|(one, other)| {
            let expected = if one.name.value == version {
                state
            } else {
                one.life.state
            };
            one.name.value == other.name.value && other.life.state == expected
        });
    let rest = |spec: &ApiSpec| {
        (
            spec.name.value.clone(),
            spec.path.value.clone(),
            spec.upstream.name.value.clone(),
        )
    };
    is_one_state && rest(&before) == rest(&after)
}

fn offset(text: &str, place: yaml::Place) -> usize {
    let lines = text.split_inclusive('\n').take((place.line as usize).saturating_sub(1));
    let before: usize = lines.map(str::len).sum();
    let line = text.get(before..).unwrap_or("");
    let column = (place.column as usize).saturating_sub(1);
    before + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
}

/// The stretch of a value, from behind the `:` of its key to its end: a flow map, a scalar, or the lines of a block.
fn value_after(text: &str, key: usize) -> Option<Range<usize>> {
    let start = key + text.get(key..)?.find(':')? + 1;
    let rest = &text[start..];
    let first = start + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let end = match text[first..].chars().next()? {
        '{' => first + flow(&text[first..])?,
        '\n' | '\r' | '#' => block(text, key, first)?,
        _ => first + scalar(&text[first..]),
    };
    Some(start..end)
}

/// Bytes to the brace that closes the first one. Quotes and comments are looked over.
fn flow(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut is_comment, mut before) = (0_u32, None, false, ' ');
    for (at, character) in text.char_indices() {
        match (character, quote) {
            ('\n', _) => is_comment = false,
            _ if is_comment => {}
            (_, Some(open)) => quote = quote.filter(|_| character != open),
            ('"' | '\'', None) => quote = Some(character),
            ('#', None) if before.is_whitespace() => is_comment = true,
            ('{' | '[', None) => depth += 1,
            ('}' | ']', None) => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        before = character;
    }
    None
}

/// Where the lines end that are indented deeper than their key.
fn block(text: &str, key: usize, first: usize) -> Option<usize> {
    let line = text[..key].rfind('\n').map_or(0, |at| at + 1);
    // In a flow map there is no block.
    let indentation = text[line..key].chars().all(|c| c == ' ').then_some(key - line)?;
    let mut at = first + text[first..].find('\n')? + 1;
    let mut end = None;
    for line in text[at..].split_inclusive('\n') {
        let content = line.trim_start_matches(' ');
        let depth = line.len() - content.len();
        let is_blank = content.trim().is_empty();
        if !is_blank && depth <= indentation {
            break;
        }
        at += line.len();
        if !is_blank {
            end = Some(at - (line.len() - line.trim_end().len()));
        }
    }
    end
}

/// Bytes of a plain word.
fn scalar(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}'))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "kind: Api\nname: erp-orders # ours\ntier: system\npath: /erp/{version}\ncontract: orders\n\
                        upstream: { name: erp, version: v3 }\n";

    fn changed(versions: &str, state: StateSpec) -> Result<String, String> {
        let file = SourceFile {
            path: "x.yaml".into(),
            text: format!("{HEAD}{versions}\nauthenticate: [jwt] # v3: draft\n").into(),
        };
        let text = with_state(&file, "v3", state)?;
        let own = text
            .strip_prefix(HEAD)
            .unwrap()
            .strip_suffix("\nauthenticate: [jwt] # v3: draft\n")
            .unwrap();
        Ok(own.to_owned())
    }

    #[test]
    fn one_state_changes_and_every_other_byte_stays() {
        for (before, after) in [
            (
                "versions: { v2: active, v3: draft }",
                "versions: { v2: active, v3: active }",
            ),
            (
                "versions:\n  v2:   active   # ü\n  'v3': { state: canary, share: 5%, # }\n    channels: [shop] }   # soon",
                "versions:\n  v2:   active   # ü\n  'v3': active   # soon",
            ),
            (
                "versions:\n    v3:   # first\n        state: canary\n\n        share: 5%\n\n    # next\n    v2: active",
                "versions:\n    v3: active\n\n    # next\n    v2: active",
            ),
            (
                "versions:\n  v3: draft\t# x\r\n  v2: active",
                "versions:\n  v3: active\t# x\r\n  v2: active",
            ),
        ] {
            assert_eq!(changed(before, StateSpec::Active).as_deref(), Ok(after), "{before}");
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_left_alone() {
        for versions in [
            "versions: [v2, v3]",
            "versions: { v2: active }",
            "",
            "versions:\n  v2: active\n  v3: &x active\n  v4: *x",
        ] {
            assert!(changed(versions, StateSpec::Draft).is_err(), "{versions}");
        }
    }
}
