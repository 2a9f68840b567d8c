//! Links in answers: an upstream's own become the caller's way to the same thing, through the gateway.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;

use super::cursor::{CursorKey, Sealer};
use super::lookup::{Answers, ForLinks};
use super::message::Rules;
use super::spec::LinkPolicy;
use super::translation::{Swap, Translation, Unmappable};
use super::{Contract, ContractVersion};

/// The part of a link that is a path at the upstream; `None` where it leads to another system.
pub type OwnPath = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where an API stands, at the gateway and at its upstream.
pub struct Standing {
    /// Its name.
    pub api: Arc<str>,
    /// The gateway's path before an operation's own, the caller's version filled in.
    pub prefix: String,
    /// The upstream's path before an operation's own.
    pub base: String,
    /// What of a link is a path at the upstream.
    pub own: OwnPath,
    /// Seals cursors.
    pub key: Arc<CursorKey>,
}

/// All operations of an API between a caller's version and the upstream's, as links lead to them.
pub struct Surroundings {
    standing: Standing,
    /// By the upstream's paths.
    paths: matchit::Router<usize>,
    operations: Vec<Linked>,
    by_id: HashMap<Arc<str>, usize>,
}

/// An operation that a link may lead to.
struct Linked {
    method: Method,
    id: Arc<str>,
    /// The way of a request from the upstream's version to the caller's.
    back: Translation,
    /// The upstream's parameter that takes a cursor.
    cursor: Option<Box<str>>,
    sealer: Option<Arc<Sealer>>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Surroundings({})", self.standing.prefix)
    }
}

/// Where a link leads.
enum Lead {
    /// Here, for the caller.
    Here(String),
    /// To the upstream, and no further; with its path there, and why.
    Nowhere(String, String),
    /// To another system.
    Elsewhere,
    /// It has keys that are not looked up yet.
    Unknown,
}

/// Why a link has no counterpart.
struct Astray {
    why: String,
    /// It may have one once its keys are looked up.
    is_waiting: bool,
}

impl From<Unmappable> for Astray {
    fn from(unmappable: Unmappable) -> Self {
        Self {
            is_waiting: unmappable.is_waiting,
            why: unmappable.to_string(),
        }
    }
}

impl From<&str> for Astray {
    fn from(why: &str) -> Self {
        Self {
            is_waiting: false,
            why: why.to_owned(),
        }
    }
}

/// For whom a link is translated.
#[derive(Clone, Copy)]
struct Reader<'r> {
    /// The operation whose answer it stands in.
    operation: &'r str,
    /// Whether cursors are sealed.
    seals: bool,
    answers: Option<&'r Arc<dyn Answers>>,
}

impl Contract {
    /// What surrounds the operations of an API, so that links and cursors in answers lead back through the gateway. Where
    /// both versions are the same, nothing is translated.
    pub fn surroundings(&self, caller: &str, upstream: &str, standing: Standing) -> Surroundings {
        let mut surroundings = Surroundings {
            standing,
            paths: matchit::Router::new(),
            operations: Vec::new(),
            by_id: HashMap::new(),
        };
        if caller == upstream {
            return surroundings;
        }
        let operations = self
            .version(upstream)
            .map(|version: &Arc<ContractVersion>| &version.operations);
        for operation in operations.into_iter().flatten() {
            let ways = (
                self.translation(&operation.id, caller, upstream),
                self.translation(&operation.id, upstream, caller),
            );
            let (Ok(there), Ok(back)) = ways else { continue };
            let cursors = there.messages.as_ref().and_then(|messages| messages.cursor.as_ref());
            let sealer = cursors.map(|_| {
                Arc::new(Sealer {
                    key: surroundings.standing.key.clone(),
                    api: surroundings.standing.api.clone(),
                    operation: operation.id.clone(),
                    caller: caller.into(),
                    upstream: upstream.into(),
                    revision: there.revision(),
                })
            });
            surroundings.operations.push(Linked {
                method: operation.method.clone(),
                id: operation.id.clone(),
                cursor: cursors.map(|cursor| cursor.upstream.clone()),
                sealer,
                back,
            });
        }
        // A link is followed by GET where there is one; of templates that cannot be told apart the first is found.
        surroundings
            .operations
            .sort_by_key(|linked| linked.method != Method::GET);
        for (number, linked) in surroundings.operations.iter().enumerate() {
            surroundings.by_id.insert(linked.id.clone(), number);
            let _ = surroundings
                .paths
                .insert(positional(&linked.back.caller().template), number);
        }
        surroundings
    }
}

impl Surroundings {
    /// What seals the cursors of an operation.
    pub(super) fn sealer(&self, operation: &str) -> Option<&Arc<Sealer>> {
        self.operation(operation)?.sealer.as_ref()
    }

    fn operation(&self, id: &str) -> Option<&Linked> {
        self.by_id.get(id).map(|number| &self.operations[*number])
    }

    fn follow(&self, link: &str, hosts: &[String], reader: Reader<'_>) -> Lead {
        let (target, fragment) = match link.split_once('#') {
            Some((target, fragment)) => (target, format!("#{fragment}")),
            None => (link, String::new()),
        };
        if let Some(query) = target.strip_prefix('?') {
            // The same resource, and what is said of it: only the query is another.
            let linked = self.operation(reader.operation);
            let mapped = linked.map(|linked| linked.query(&linked.way_back(reader), query, reader));
            return match mapped {
                Some(Ok(query)) => Lead::Here(format!("?{query}{fragment}")),
                Some(Err(astray)) if astray.is_waiting => Lead::Unknown,
                Some(Err(astray)) => Lead::Nowhere(target.to_owned(), astray.why),
                None => Lead::Nowhere(target.to_owned(), "its operation is not known".to_owned()),
            };
        }
        let named = hosts.iter().find_map(|host| {
            let (_, rest) = target.split_once("//")?;
            let rest = rest.strip_prefix(host.as_str())?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
        });
        let own = match named {
            Some(path) => (self.standing.own)(path).or_else(|| Some(path.to_owned())),
            None => (self.standing.own)(target),
        };
        let Some(path) = own else {
            let is_elsewhere =
                target.starts_with("//") || target.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme));
            return if is_elsewhere {
                Lead::Elsewhere
            } else {
                Lead::Nowhere(target.to_owned(), "it is relative to something unknown".to_owned())
            };
        };
        let below = path.strip_prefix(self.standing.base.as_str());
        let Some(below) = below.filter(|below| below.is_empty() || below.starts_with(['/', '?'])) else {
            return Lead::Nowhere(path, "it lies outside the API".to_owned());
        };
        match self.back(below, reader) {
            Ok(mapped) => Lead::Here(format!("{}{mapped}{fragment}", self.standing.prefix)),
            Err(astray) if astray.is_waiting => Lead::Unknown,
            Err(astray) => Lead::Nowhere(format!("{}{below}{fragment}", self.standing.prefix), astray.why),
        }
    }

    /// A path and query of the upstream's version in the caller's.
    fn back(&self, target: &str, reader: Reader<'_>) -> Result<String, Astray> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let found = self.paths.at(path).map_err(|_| "it leads to no operation")?;
        let linked = &self.operations[*found.value];
        let values = found.params.iter().map(|(_, value)| {
            let decoded = percent_decode_str(value).decode_utf8();
            decoded.map(Cow::into_owned)
        });
        let values: Vec<String> = values.collect::<Result<_, _>>().map_err(|_| "it is not UTF-8")?;
        let back = linked.way_back(reader);
        // Both are looked at before either is waited for.
        let (path, query) = (
            back.path(&values),
            query.map(|query| linked.query(&back, query, reader)).transpose(),
        );
        let path = path.map_err(Astray::from)?;
        match query? {
            Some(query) if !query.is_empty() => Ok(format!("{path}?{query}")),
            _ => Ok(path),
        }
    }
}

impl Linked {
    /// The way back with what is known of keys, where it has any.
    fn way_back(&self, reader: Reader<'_>) -> Cow<'_, Translation> {
        match reader.answers {
            Some(answers) if self.back.lookups().next().is_some() => {
                Cow::Owned(self.back.knowing(Arc::new(ForLinks(answers.clone()))))
            }
            _ => Cow::Borrowed(&self.back),
        }
    }

    fn query(&self, back: &Translation, query: &str, reader: Reader<'_>) -> Result<String, Astray> {
        let seal = |cursor: &str| match &self.sealer {
            Some(sealer) => Ok(sealer.seal(cursor)),
            None => Ok(cursor.to_owned()),
        };
        let cursor = self.cursor.as_deref().filter(|_| reader.seals);
        let swap = cursor.map(|name| Swap { name, by: &seal });
        Ok(back.query(Some(query), swap)?.unwrap_or_default())
    }
}

impl Translation {
    /// A link of an answer for the caller; `None` where it is left out. The error is a phrase.
    pub(super) fn link(&self, link: &str, rules: &Rules, dropped: &mut u32) -> Result<Option<String>, String> {
        let Some(surroundings) = &self.surroundings else {
            return Ok(Some(link.to_owned()));
        };
        let reader = Reader {
            operation: &self.caller().id,
            seals: self.seals,
            answers: self.answers.as_ref(),
        };
        let (policy, passed, why) = match surroundings.follow(link, &rules.hosts, reader) {
            Lead::Here(link) => return Ok(Some(link)),
            // What comes out means nothing yet.
            Lead::Unknown => return Ok(Some(String::new())),
            Lead::Nowhere(path, why) => (rules.unknown, path, why),
            Lead::Elsewhere => (rules.elsewhere, link.to_owned(), "it leads elsewhere".to_owned()),
        };
        match policy {
            LinkPolicy::Pass => Ok(Some(passed)),
            LinkPolicy::Drop => {
                *dropped += 1;
                Ok(None)
            }
            LinkPolicy::Refuse => Err(format!("a link that cannot be given to the caller: {why}")),
        }
    }

    /// The header fields of an answer that are links, as the caller gets them.
    pub(super) fn link_fields(
        &self,
        headers: &HeaderMap,
        rules: &Rules,
        dropped: &mut u32,
    ) -> Result<Vec<(HeaderName, Vec<HeaderValue>)>, Unmappable> {
        let mut mapped = Vec::new();
        if self.surroundings.is_none() {
            return Ok(mapped);
        }
        for name in [header::LOCATION, header::CONTENT_LOCATION, header::LINK] {
            if !headers.contains_key(&name) {
                continue;
            }
            let refused = |detail: String| Unmappable::at(detail, format!("header:{name}"));
            let mut values = Vec::new();
            for value in headers.get_all(&name) {
                let text = value
                    .to_str()
                    .map_err(|_| refused("a link that is not plain text".to_owned()))?;
                let text = if name == header::LINK {
                    rewrite_links(text, &mut |link| self.link(link, rules, dropped))
                } else {
                    self.link(text, rules, dropped)
                };
                if let Some(text) = text.map_err(refused)? {
                    let value = HeaderValue::try_from(text);
                    values.push(value.map_err(|_| refused("a link that no header field can carry".to_owned()))?);
                }
            }
            mapped.push((name, values));
        }
        Ok(mapped)
    }
}

/// Rewrites the targets of a `Link` field (RFC 8288 §3) and leaves its parameters as they are. `None` if none is left.
/// The error is a phrase.
pub(crate) fn rewrite_links(
    field: &str,
    rewrite: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<Option<String>, String> {
    let malformed = || "a field Link that cannot be read".to_owned();
    let mut kept: Vec<String> = Vec::new();
    let mut rest = field.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (target, after) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or_else(malformed)?;
        let mut is_quoted = false;
        let mut is_escaped = false;
        let end = after.find(|character| {
            match character {
                _ if is_escaped => is_escaped = false,
                '\\' if is_quoted => is_escaped = true,
                '"' => is_quoted = !is_quoted,
                ',' => return !is_quoted,
                _ => {}
            }
            false
        });
        let (parameters, after) = after.split_at(end.unwrap_or(after.len()));
        if let Some(target) = rewrite(target.trim())? {
            kept.push(format!("<{target}>{}", parameters.trim_end()));
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Ok((!kept.is_empty()).then(|| kept.join(", ")))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Gives parameters names by position, so that two templates may call the same segment differently.
fn positional(template: &str) -> String {
    let mut number = 0;
    let segments = template.split('/').map(|segment| {
        if segment.starts_with('{') && segment.ends_with('}') {
            number += 1;
            format!("{{p{number}}}")
        } else {
            segment.to_owned()
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(field: &str) -> Result<Option<String>, String> {
        rewrite_links(field, &mut |link| match link {
            "/gone" => Ok(None),
            "/bad" => Err("is bad".to_owned()),
            other => Ok(Some(format!("/v1{other}"))),
        })
    }

    #[test]
    fn targets_of_a_link_field_are_rewritten_and_parameters_stay() {
        for (field, expected) in [
            ("</a>; rel=next", Some("</v1/a>; rel=next")),
            (
                "</a?x=1,2>; rel=\"next\"; title=\"a, <b>; \\\"c\\\"\" , </b>;rel=prev",
                Some("</v1/a?x=1,2>; rel=\"next\"; title=\"a, <b>; \\\"c\\\"\", </v1/b>;rel=prev"),
            ),
            ("</gone>; rel=x, </b>", Some("</v1/b>")),
            ("</gone>", None),
            ("", None),
        ] {
            assert_eq!(rewritten(field).unwrap().as_deref(), expected, "{field}");
        }
        for malformed in ["/a; rel=next", "<a", "</a>, x"] {
            assert!(rewritten(malformed).is_err(), "{malformed}");
        }
        assert_eq!(rewritten("</bad>").unwrap_err(), "is bad");
    }
}
