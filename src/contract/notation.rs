//! How errors write the place of a request that they are about.

use percent_encoding::percent_decode_str;

use super::openapi::fragment;
use super::parameter::Place;
use super::spec::{Notation, PartSpec};
use crate::json::Pointer;

/// A place of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Names and positions from the body inwards.
    Body(Vec<String>),
    /// A parameter by its name.
    Parameter(Place, String),
}

impl Spot {
    /// Reads a place; `None` if it is none.
    pub(super) fn parse(text: &str, of: PartSpec, notation: Notation) -> Option<Self> {
        if let Some(place) = place_of(of) {
            return (!text.is_empty()).then(|| Self::Parameter(place, text.to_owned()));
        }
        if let Some((part, name)) = text.split_once(':')
            && let Some(place) = Place::ALL.into_iter().find(|place| place.as_str() == part)
        {
            return Some(Self::Parameter(place, name.to_owned()));
        }
        let tokens = match notation {
            Notation::Pointer => Pointer::parse(text).ok()?.tokens().to_vec(),
            Notation::Fragment => {
                let decoded = percent_decode_str(text.strip_prefix('#')?).decode_utf8().ok()?;
                Pointer::parse(&decoded).ok()?.tokens().to_vec()
            }
            Notation::Path => read_path(text)?,
            Notation::JsonPath => {
                let rest = text.strip_prefix('$')?;
                read_path(rest.strip_prefix('.').unwrap_or(rest))?
            }
        };
        Some(Self::Body(tokens))
    }

    /// As it is written; `None` if a parameter's name is asked for and this is none.
    pub(super) fn write(&self, of: PartSpec, notation: Notation) -> Option<String> {
        let tokens = match self {
            Self::Parameter(place, name) => {
                return match place_of(of) {
                    Some(wanted) => (wanted == *place).then(|| name.clone()),
                    None => Some(format!("{}:{name}", place.as_str())),
                };
            }
            Self::Body(_) if place_of(of).is_some() => return None,
            Self::Body(tokens) => tokens,
        };
        let pointer = || Pointer::from(tokens.clone()).to_string();
        Some(match notation {
            Notation::Pointer => pointer(),
            Notation::Fragment => fragment(&pointer()),
            Notation::Path => write_path(tokens),
            Notation::JsonPath => {
                let mut text = "$".to_owned();
                for token in tokens {
                    if is_position(token) {
                        text.extend(["[", token, "]"]);
                    } else {
                        let escaped = token.replace('\\', "\\\\").replace('\'', "\\'");
                        text.extend(["['", &escaped, "']"]);
                    }
                }
                text
            }
        })
    }
}

fn place_of(of: PartSpec) -> Option<Place> {
    match of {
        PartSpec::Body => None,
        PartSpec::Query => Some(Place::Query),
        PartSpec::Path => Some(Place::Path),
        PartSpec::Header => Some(Place::Header),
        PartSpec::Cookie => Some(Place::Cookie),
    }
}

fn is_position(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit())
}

/// `lines[0].price`, `lines.0.price`, `lines[0]["we.ird"]`.
fn read_path(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''));
            let (token, after) = if let Some(quote) = quote {
                let mut token = String::new();
                let mut characters = after[1..].char_indices();
                let end = loop {
                    match characters.next()? {
                        (at, character) if character == quote => break at + 2,
                        (_, '\\') => token.push(characters.next()?.1),
                        (_, character) => token.push(character),
                    }
                };
                (token, after[end..].strip_prefix(']')?)
            } else {
                let (token, after) = after.split_once(']')?;
                (token.to_owned(), after)
            };
            tokens.push(token);
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (token, after) = rest.split_at(end);
            if token.is_empty() {
                return None;
            }
            tokens.push(token.to_owned());
            rest = match after.strip_prefix('.') {
                Some("") => return None,
                Some(after) => after,
                None => after,
            };
        }
    }
    Some(tokens)
}

fn write_path(tokens: &[String]) -> String {
    let mut text = String::new();
    for token in tokens {
        let is_plain = !token.is_empty() && !token.contains(['.', '[', ']', '"', '\'', '\\', ':']);
        if is_position(token) && !text.is_empty() {
            text.extend(["[", token, "]"]);
        } else if is_plain {
            let dot = if text.is_empty() { "" } else { "." };
            text.extend([dot, token]);
        } else {
            let escaped = token.replace('\\', "\\\\").replace('"', "\\\"");
            text.extend(["[\"", &escaped, "\"]"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Notation; 4] = [
        Notation::Pointer,
        Notation::Fragment,
        Notation::Path,
        Notation::JsonPath,
    ];

    fn body(tokens: &[&str]) -> Spot {
        Spot::Body(tokens.iter().map(|token| (*token).to_owned()).collect())
    }

    #[test]
    fn places_are_written_in_four_ways() {
        let place = body(&["lines", "0", "we.ird"]);
        for (notation, text) in [
            (Notation::Pointer, "/lines/0/we.ird"),
            (Notation::Fragment, "#/lines/0/we.ird"),
            (Notation::Path, "lines[0][\"we.ird\"]"),
            (Notation::JsonPath, "$['lines'][0]['we.ird']"),
        ] {
            assert_eq!(place.write(PartSpec::Body, notation).as_deref(), Some(text));
            assert_eq!(
                Spot::parse(text, PartSpec::Body, notation),
                Some(place.clone()),
                "{text}"
            );
        }
        assert_eq!(
            Spot::parse("lines.0.a", PartSpec::Body, Notation::Path),
            Some(body(&["lines", "0", "a"]))
        );
        assert_eq!(
            Spot::parse("$.lines[0].a", PartSpec::Body, Notation::JsonPath),
            Some(body(&["lines", "0", "a"]))
        );
    }

    #[test]
    fn what_is_no_place_is_told_apart() {
        for (notation, text) in [
            (Notation::Pointer, "lines/0"),
            (Notation::Fragment, "/lines"),
            (Notation::Path, "a..b"),
            (Notation::Path, "a[0"),
            (Notation::Path, "a."),
            (Notation::Path, "a['b"),
            (Notation::JsonPath, "lines"),
        ] {
            assert_eq!(Spot::parse(text, PartSpec::Body, notation), None, "{text}");
        }
    }

    #[test]
    fn parameters_go_by_their_names() {
        let status = Spot::Parameter(Place::Query, "status".to_owned());
        assert_eq!(
            Spot::parse("query:status", PartSpec::Body, Notation::Path),
            Some(status.clone())
        );
        assert_eq!(
            Spot::parse("status", PartSpec::Query, Notation::Pointer),
            Some(status.clone())
        );
        assert_eq!(status.write(PartSpec::Query, Notation::Path).as_deref(), Some("status"));
        assert_eq!(
            status.write(PartSpec::Body, Notation::Path).as_deref(),
            Some("query:status")
        );
        assert_eq!(status.write(PartSpec::Header, Notation::Path), None);
    }

    proptest! {
        #[test]
        fn any_place_is_read_as_it_was_written(tokens in proptest::collection::vec("[a-zäß][-a-zA-Z0-9 .\\[\\]'\"/~\\\\%]{0,6}|[0-9]{1,3}", 0..5)) {
            // A position alone is no field of a body in dotted form.
            let place = Spot::Body(tokens);
            for notation in ALL {
                let written = place.write(PartSpec::Body, notation).unwrap();
                prop_assert_eq!(Spot::parse(&written, PartSpec::Body, notation), Some(place.clone()), "{}", written);
            }
        }
    }
}
