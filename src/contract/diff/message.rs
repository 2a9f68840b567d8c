//! Parameters, bodies, answers and header fields of an operation in two versions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::operation::found;
use super::schema::under;
use super::{Differ, Impact, Scope, Side, Way};
use crate::contract::openapi::OpenApi;

/// A parameter as it is written.
struct Declared {
    /// Where it stands: `query`.
    place: String,
    name: String,
    at: String,
}

impl Differ<'_> {
    /// Compares the parameters of an operation: the pointers of its path and its own, and the path.
    pub(super) fn parameters(&mut self, scope: &Scope, old: (&str, &str, &str), new: (&str, &str, &str)) {
        let own = parameters(self.older, old);
        let mut its = parameters(self.newer, new);
        for (key, old) in own {
            if let Some(new) = its.remove(&key) {
                self.parameter(scope, &old, &new);
                continue;
            }
            if old.place == "path" {
                // The path says so itself.
                continue;
            }
            let moved = its.iter().find(|(_, new)| new.name.eq_ignore_ascii_case(&old.name));
            let moved = moved.map(|(key, _)| key.clone());
            if let Some(new) = moved.and_then(|key| its.remove(&key)) {
                let what = format!("stands in the {} now", new.place);
                let scope = scope.with(
                    Side::Request,
                    Way::Sent,
                    "request",
                    format!("{} {}", old.place, old.name),
                );
                let change = found(
                    "request-parameter-moved",
                    Impact::Breaking,
                    what,
                    Some(&old.at),
                    Some(&new.at),
                );
                self.report(&scope, change);
                continue;
            }
            // A query parameter that is not described is refused; a header field is not looked at.
            let impact = if old.place == "query" {
                Impact::Breaking
            } else {
                Impact::Risky
            };
            let scope = scope.with(
                Side::Request,
                Way::Sent,
                "request",
                format!("{} {}", old.place, old.name),
            );
            let what = "was removed".to_owned();
            self.report(
                &scope,
                found("request-parameter-removed", impact, what, Some(&old.at), None),
            );
        }
        for new in its.into_values().filter(|new| new.place != "path") {
            let is_required = self.newer.at(&new.at)["required"] == true;
            let (rule, impact, how) = if is_required {
                ("required-request-parameter-added", Impact::Breaking, " and is required")
            } else {
                ("request-parameter-added", Impact::Safe, "")
            };
            let scope = scope.with(
                Side::Request,
                Way::Sent,
                "request",
                format!("{} {}", new.place, new.name),
            );
            let what = format!("was added{how}");
            self.report(&scope, found(rule, impact, what, None, Some(&new.at)));
        }
    }

    fn parameter(&mut self, scope: &Scope, old: &Declared, new: &Declared) {
        let scope = scope.with(
            Side::Request,
            Way::Sent,
            "request-parameter",
            format!("{} {}", new.place, new.name),
        );
        let (own, its) = (self.older.at(&old.at), self.newer.at(&new.at));
        let (older, newer) = (Some(old.at.as_str()), Some(new.at.as_str()));
        let is_required = |written: &Value| old.place == "path" || written["required"] == true;
        match (is_required(own), is_required(its)) {
            (false, true) => {
                let what = "became required".to_owned();
                self.report(
                    &scope,
                    found(
                        "request-parameter-became-required",
                        Impact::Breaking,
                        what,
                        older,
                        newer,
                    ),
                );
            }
            (true, false) => {
                let what = "became optional".to_owned();
                self.report(
                    &scope,
                    found("request-parameter-became-optional", Impact::Safe, what, older, newer),
                );
            }
            _ => {}
        }
        if style(&old.place, own) != style(&new.place, its) {
            let what = "is written in another style".to_owned();
            self.report(
                &scope,
                found("request-parameter-style-changed", Impact::Breaking, what, older, newer),
            );
        }
        if own["deprecated"] != true && its["deprecated"] == true {
            let what = "is deprecated".to_owned();
            self.report(
                &scope,
                found("request-parameter-deprecated", Impact::Safe, what, older, newer),
            );
        }
        let (own, its) = (format!("{}/schema", old.at), format!("{}/schema", new.at));
        if self.older.at(&own).is_null() || self.newer.at(&its).is_null() {
            return;
        }
        self.schemas(&scope, &own, &its, false);
    }

    /// Compares the bodies that operations at two pointers take.
    pub(super) fn request_body(&mut self, scope: &Scope, old: &str, new: &str) {
        let body = |document: &OpenApi, at: &str| document.resolve(&format!("{at}/requestBody"));
        let subject = if scope.way == Way::Sent {
            "request-body"
        } else {
            "webhook-body"
        };
        let scope = scope.with(Side::Request, scope.way, subject, "body");
        let is_sent = scope.way == Way::Sent;
        match (body(self.older, old), body(self.newer, new)) {
            (Some(own), Some(its)) => {
                let (older, newer) = (Some(own.as_str()), Some(its.as_str()));
                let was = self.older.at(&own)["required"] == true;
                let is = self.newer.at(&its)["required"] == true;
                if was != is {
                    let (verb, worst) = if is {
                        ("required", Way::Sent)
                    } else {
                        ("optional", Way::Received)
                    };
                    let impact = if scope.way == worst {
                        Impact::Breaking
                    } else {
                        Impact::Safe
                    };
                    let rule = format!("{subject}-became-{verb}");
                    self.report(&scope, found(&rule, impact, format!("became {verb}"), older, newer));
                }
                self.content(&scope, &own, &its, false);
            }
            (Some(own), None) => {
                let impact = if is_sent { Impact::Breaking } else { Impact::Risky };
                let rule = format!("{subject}-removed");
                let what = "is no longer taken".to_owned();
                self.report(&scope, found(&rule, impact, what, Some(&own), Some(new)));
            }
            (None, Some(its)) => {
                let is_required = self.newer.at(&its)["required"] == true;
                let (rule, impact) = if is_required && is_sent {
                    (format!("required-{subject}-added"), Impact::Breaking)
                } else {
                    (format!("{subject}-added"), Impact::Safe)
                };
                let how = if is_required { " and is required" } else { "" };
                let what = format!("is taken now{how}");
                self.report(&scope, found(&rule, impact, what, Some(old), Some(&its)));
            }
            (None, None) => {}
        }
    }

    /// Compares what operations at two pointers answer.
    pub(super) fn responses(&mut self, scope: &Scope, old: &str, new: &str) {
        let own = responses(self.older, old);
        let mut its = responses(self.newer, new);
        let subject = if scope.way == Way::Received {
            "response-body"
        } else {
            "webhook-response-body"
        };
        for (status, own) in &own {
            let named = its.remove(status);
            let is_problem = !status.starts_with(['1', '2', '3']);
            let place = format!("{status} body");
            if let Some(its) = named {
                let body = scope.with(Side::Response, scope.way, subject, place);
                self.content(&body, own, &its, is_problem);
                self.headers(scope, status, own, &its);
                continue;
            }
            let scope = scope.with(Side::Response, scope.way, "response", status.as_str());
            let covering = covering(status, &its).filter(|_| is_problem);
            let (impact, what) = match (&covering, is_problem) {
                (Some(key), _) => (Impact::Safe, format!("is described by {key} now")),
                (None, true) => (Impact::Risky, "is no longer answered".to_owned()),
                (None, false) => (Impact::Breaking, "is no longer answered".to_owned()),
            };
            let rule = if is_problem {
                "response-failure-status-removed"
            } else {
                "response-status-removed"
            };
            self.report(&scope, found(rule, impact, what, Some(own), Some(new)));
        }
        for (status, its) in &its {
            let is_problem = !status.starts_with(['1', '2', '3']);
            let was_covered = covering(status, &own).is_some();
            let scope = scope.with(Side::Response, scope.way, "response", status.as_str());
            let impact = if is_problem && was_covered {
                Impact::Safe
            } else {
                Impact::Risky
            };
            let rule = if is_problem {
                "response-failure-status-added"
            } else {
                "response-status-added"
            };
            let what = "may be answered now".to_owned();
            self.report(&scope, found(rule, impact, what, Some(old), Some(its)));
        }
    }

    /// Compares the kinds of a body that are described at two pointers.
    fn content(&mut self, scope: &Scope, old: &str, new: &str, is_problem: bool) {
        let (own, its) = (media(self.older, old), media(self.newer, new));
        let is_sent = scope.way == Way::Sent;
        for (name, at) in &own {
            if let Some(new) = its.get(name) {
                let (own, its) = (format!("{at}/schema"), format!("{new}/schema"));
                match (self.older.at(&own).is_null(), self.newer.at(&its).is_null()) {
                    (false, false) => self.schemas(scope, &own, &its, is_problem),
                    (true, false) => {
                        let impact = if is_sent { Impact::Breaking } else { Impact::Safe };
                        let rule = format!("{}-schema-set", scope.subject);
                        let what = format!("as {name} follows a schema now");
                        self.report(scope, found(&rule, impact, what, Some(at), Some(&its)));
                    }
                    (false, true) => {
                        let impact = if is_sent { Impact::Safe } else { Impact::Breaking };
                        let rule = format!("{}-schema-removed", scope.subject);
                        let what = format!("as {name} follows no schema any more");
                        self.report(scope, found(&rule, impact, what, Some(&own), Some(new)));
                    }
                    (true, true) => {}
                }
                continue;
            }
            let wider = its.keys().find(|wider| is_wider(wider, name));
            let (rule, impact, what) = match wider {
                Some(wider) if is_sent => (
                    "media-type-generalised",
                    Impact::Safe,
                    format!("as {name} is one of {wider} now"),
                ),
                Some(wider) => (
                    "media-type-generalised",
                    Impact::Breaking,
                    format!("as {name} became {wider}"),
                ),
                None => ("media-type-removed", Impact::Breaking, format!("as {name} was removed")),
            };
            let rule = format!("{}-{rule}", scope.subject);
            self.report(scope, found(&rule, impact, what, Some(at), Some(new)));
        }
        for (name, at) in its.iter().filter(|(name, _)| !own.contains_key(*name)) {
            if own.keys().any(|old| is_wider(name, old)) {
                continue;
            }
            let rule = format!("{}-media-type-added", scope.subject);
            // Answers of another kind come only to those who ask for them, unless there was none before.
            let impact = if is_sent || !own.is_empty() {
                Impact::Safe
            } else {
                Impact::Risky
            };
            self.report(
                scope,
                found(&rule, impact, format!("as {name} was added"), Some(old), Some(at)),
            );
        }
    }

    /// Compares the header fields of an answer.
    fn headers(&mut self, scope: &Scope, status: &str, old: &str, new: &str) {
        let (own, its) = (headers(self.older, old), headers(self.newer, new));
        for (name, at) in &own {
            let subject = "response-header";
            let scope = scope.with(Side::Response, scope.way, subject, format!("{status} header {name}"));
            let was_required = self.older.at(at)["required"] == true;
            let Some(field) = its.get(name) else {
                let (rule, impact) = if was_required {
                    ("required-response-header-removed", Impact::Breaking)
                } else {
                    ("response-header-removed", Impact::Risky)
                };
                let what = "was removed".to_owned();
                self.report(&scope, found(rule, impact, what, Some(at), Some(new)));
                continue;
            };
            let (older, newer) = (Some(at.as_str()), Some(field.as_str()));
            match (was_required, self.newer.at(field)["required"] == true) {
                (true, false) => {
                    let what = "became optional".to_owned();
                    self.report(
                        &scope,
                        found("response-header-became-optional", Impact::Breaking, what, older, newer),
                    );
                }
                (false, true) => {
                    let what = "always comes now".to_owned();
                    self.report(
                        &scope,
                        found("response-header-became-required", Impact::Safe, what, older, newer),
                    );
                }
                _ => {}
            }
            let (own, its) = (format!("{at}/schema"), format!("{field}/schema"));
            if !self.older.at(&own).is_null() && !self.newer.at(&its).is_null() {
                self.schemas(&scope, &own, &its, false);
            }
        }
        for (name, at) in its.iter().filter(|(name, _)| !own.contains_key(*name)) {
            let scope = scope.with(
                Side::Response,
                scope.way,
                "response-header",
                format!("{status} header {name}"),
            );
            let what = "was added".to_owned();
            self.report(
                &scope,
                found("response-header-added", Impact::Safe, what, Some(old), Some(at)),
            );
        }
    }
}

/// The names of an operation's query parameters.
pub(super) fn parameter_names(document: &OpenApi, operation: (&str, &str, &str)) -> Vec<String> {
    let all = parameters(document, operation).into_values();
    all.filter(|declared| declared.place == "query")
        .map(|declared| declared.name)
        .collect()
}

/// Parameters by where they stand and their name; those of the path by their position, as names there mean nothing.
fn parameters(
    document: &OpenApi,
    (item, operation, template): (&str, &str, &str),
) -> BTreeMap<(String, String), Declared> {
    let mut all = BTreeMap::new();
    let names: Vec<&str> = template
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .collect();
    for owner in [item, operation] {
        let count = document.at(owner)["parameters"].as_array().map_or(0, Vec::len);
        for position in 0..count {
            let Some(at) = document.resolve(&format!("{owner}/parameters/{position}")) else {
                continue;
            };
            let written = document.at(&at);
            let (Some(name), Some(place)) = (written["name"].as_str(), written["in"].as_str()) else {
                continue;
            };
            let key = match place {
                "path" => names
                    .iter()
                    .position(|known| *known == name)
                    .map_or(name.to_owned(), |at| at.to_string()),
                "header" => name.to_ascii_lowercase(),
                _ => name.to_owned(),
            };
            let declared = Declared {
                place: place.to_owned(),
                name: name.to_owned(),
                at,
            };
            all.insert((place.to_owned(), key), declared);
        }
    }
    all
}

/// How a parameter is written: its style, and whether lists repeat the name.
fn style(place: &str, written: &Value) -> (String, bool) {
    let usual = if matches!(place, "query" | "cookie") {
        "form"
    } else {
        "simple"
    };
    let style = written["style"].as_str().unwrap_or(usual);
    let explode = written["explode"].as_bool().unwrap_or(style == "form");
    (style.to_owned(), explode)
}

/// Pointers of the answers by status.
fn responses(document: &OpenApi, at: &str) -> BTreeMap<String, String> {
    resolved(document, &format!("{at}/responses"))
}

/// Pointers of the kinds of a body by media type, in lower case and without parameters.
fn media(document: &OpenApi, at: &str) -> BTreeMap<String, String> {
    let kinds = resolved(document, &format!("{at}/content")).into_iter();
    kinds
        .map(|(name, at)| {
            (
                name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
                at,
            )
        })
        .collect()
}

/// Pointers of the header fields by name, in lower case.
fn headers(document: &OpenApi, at: &str) -> BTreeMap<String, String> {
    let fields = resolved(document, &format!("{at}/headers")).into_iter();
    fields.map(|(name, at)| (name.to_ascii_lowercase(), at)).collect()
}

/// The members of an object and where each is described.
fn resolved(document: &OpenApi, pointer: &str) -> BTreeMap<String, String> {
    let members = document
        .at(pointer)
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    members
        .filter_map(|name| Some((name.clone(), document.resolve(&under(pointer, name))?)))
        .collect()
}

/// The key that answers a status which has none of its own.
fn covering(status: &str, responses: &BTreeMap<String, String>) -> Option<String> {
    let hundred = format!("{}XX", status.get(..1)?);
    [hundred, "default".to_owned()]
        .into_iter()
        .find(|key| *key != status && responses.contains_key(key))
}

/// Whether one media type names another and more: `application/*`.
fn is_wider(wider: &str, name: &str) -> bool {
    let family = wider.strip_suffix('*').filter(|family| family.ends_with('/'));
    wider == "*/*" || family.is_some_and(|family| name.starts_with(family) && name != wider)
}
