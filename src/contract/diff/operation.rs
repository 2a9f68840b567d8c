//! Which operations two versions have, and what changed about each as a whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use http::Method;
use serde_json::Value;

use super::schema::under;
use super::{Differ, Found, Impact, Scope, Side, Way, endpoint};
use crate::contract::listed_operations;
use crate::contract::openapi::{OpenApi, list};

/// An operation as a document lists it.
#[derive(Clone)]
struct Listed {
    id: Option<String>,
    method: Method,
    template: String,
    /// Pointers of the path's description and of the operation.
    item: String,
    at: String,
}

/// Stability levels, the least first.
const LEVELS: [&str; 4] = ["draft", "alpha", "beta", "stable"];

impl Differ<'_> {
    /// Compares all operations and webhooks.
    pub(super) fn compare(&mut self) {
        let older = operations(self.older);
        let ids: HashSet<String> = older.iter().filter_map(|old| old.id.clone()).collect();
        let mut newer = operations(self.newer);
        for old in older {
            // The name first: a path may change. Without one, what stands in its place.
            let by_name = newer.iter().position(|new| old.id.is_some() && new.id == old.id);
            // A namesake in the older version keeps what stands in its place.
            let by_path = || {
                newer.iter().position(|new| {
                    let is_free = new.id.as_ref().is_none_or(|id| !ids.contains(id));
                    is_free && new.method == old.method && shape(&new.template) == shape(&old.template)
                })
            };
            match by_name.or_else(by_path) {
                Some(position) => {
                    let new = newer.remove(position);
                    self.operation(&old, &new);
                }
                None => self.removed(&old),
            }
        }
        for new in newer {
            let scope = self.scope(&new);
            let what = format!("{} was added", scope.endpoint);
            self.report(
                &scope,
                found("operation-added", Impact::Safe, what, None, Some(&new.at)),
            );
        }
        self.webhooks();
    }

    fn scope(&mut self, listed: &Listed) -> Scope {
        let endpoint = endpoint(&listed.method, &listed.template);
        let operation = listed.id.clone().unwrap_or_else(|| endpoint.clone());
        if !self.operations.contains(&operation) {
            self.operations.push(operation.clone());
        }
        Scope {
            operation,
            endpoint,
            side: Side::Operation,
            way: Way::Sent,
            subject: "operation",
            place: String::new(),
        }
    }

    fn removed(&mut self, old: &Listed) {
        let scope = self.scope(old);
        let described = self.older.at(&old.at);
        let is_deprecated = described["deprecated"] == true;
        let sunset = described["x-sunset"].as_str();
        let today = jiff::Zoned::now().date();
        let (rule, impact, why) = match sunset.and_then(day) {
            _ if !is_deprecated => (
                "operation-removed",
                Impact::Breaking,
                "without being deprecated before".to_owned(),
            ),
            Some(sunset) if sunset > today => (
                "operation-removed-before-sunset",
                Impact::Breaking,
                format!("before its sunset on {sunset}"),
            ),
            Some(sunset) => (
                "operation-removed-after-sunset",
                Impact::Safe,
                format!("after its sunset on {sunset}"),
            ),
            None => (
                "deprecated-operation-removed",
                Impact::Risky,
                "deprecated, though without a sunset".to_owned(),
            ),
        };
        let what = format!("{} was removed, {why}", scope.endpoint);
        self.report(&scope, found(rule, impact, what, Some(&old.at), None));
    }

    fn operation(&mut self, old: &Listed, new: &Listed) {
        let scope = self.scope(new);
        let (older, newer) = (Some(old.at.as_str()), Some(new.at.as_str()));
        if old.id != new.id {
            let say = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
            let what = format!("the operationId was {} and is {} now", say(&old.id), say(&new.id));
            self.report(&scope, found("operation-id-changed", Impact::Risky, what, older, newer));
        }
        if old.method != new.method || shape(&old.template) != shape(&new.template) {
            let from = endpoint(&old.method, &old.template);
            let what = format!("{from} is {} now", scope.endpoint);
            self.report(&scope, found("operation-moved", Impact::Breaking, what, older, newer));
        } else if old.template != new.template {
            let what = format!(
                "the names in the path changed from {} to {}",
                old.template, new.template
            );
            self.report(&scope, found("path-names-changed", Impact::Safe, what, older, newer));
        }
        self.life(&scope, old, new);
        self.security(&scope, old, new);
        let request = scope.with(Side::Request, Way::Sent, "request", "");
        self.parameters(
            &request,
            (&old.item, &old.at, &old.template),
            (&new.item, &new.at, &new.template),
        );
        self.paging(
            &scope,
            (&old.item, &old.at, &old.template),
            (&new.item, &new.at, &new.template),
        );
        self.request_body(&request, &old.at, &new.at);
        self.responses(
            &scope.with(Side::Response, Way::Received, "response", ""),
            &old.at,
            &new.at,
        );
    }

    /// Deprecation, sunset, stability.
    fn life(&mut self, scope: &Scope, old: &Listed, new: &Listed) {
        let (own, its) = (self.older.at(&old.at), self.newer.at(&new.at));
        let (older, newer) = (Some(old.at.as_str()), Some(new.at.as_str()));
        let (was, is) = (own["deprecated"] == true, its["deprecated"] == true);
        let written = |described: &Value| described["x-sunset"].as_str().map(str::to_owned);
        let (from, to) = (written(own), written(its));
        let level = |described: &Value| {
            LEVELS
                .iter()
                .position(|level| described["x-stability-level"] == **level)
        };
        let levels = level(own).zip(level(its));
        if !was && is {
            let (rule, impact, what) = match (&to, to.as_deref().and_then(day)) {
                (Some(sunset), Some(date)) if self.is_near(date) => (
                    "sunset-too-near",
                    Impact::Breaking,
                    format!("it is deprecated, until {sunset} already"),
                ),
                (Some(sunset), Some(_)) => (
                    "operation-deprecated",
                    Impact::Safe,
                    format!("it is deprecated, until {sunset}"),
                ),
                (Some(sunset), None) => (
                    "operation-deprecated-without-sunset",
                    Impact::Risky,
                    format!("it is deprecated, and its `x-sunset` is no day: `{sunset}`; write 2027-06-30"),
                ),
                (None, _) => (
                    "operation-deprecated-without-sunset",
                    Impact::Risky,
                    "it is deprecated, and nobody knows until when: give it an `x-sunset`".to_owned(),
                ),
            };
            self.report(scope, found(rule, impact, what, older, newer));
        } else if was && !is {
            let what = "it is no longer deprecated".to_owned();
            self.report(
                scope,
                found("operation-no-longer-deprecated", Impact::Safe, what, older, newer),
            );
        } else if from != to {
            let what = format!(
                "its sunset was {} and is {} now",
                from.as_deref().unwrap_or("open"),
                to.as_deref().unwrap_or("open")
            );
            let (rule, impact) = match (from.as_deref().and_then(day), to.as_deref().and_then(day)) {
                (Some(from), Some(to)) if to < from => ("sunset-moved-earlier", Impact::Breaking),
                (_, Some(to)) if self.is_near(to) => ("sunset-too-near", Impact::Breaking),
                (Some(_), Some(_)) => ("sunset-moved-later", Impact::Safe),
                (None, Some(_)) => ("sunset-set", Impact::Safe),
                _ => ("sunset-removed", Impact::Risky),
            };
            self.report(scope, found(rule, impact, what, older, newer));
        }
        if let Some((from, to)) = levels.filter(|(from, to)| from != to) {
            let (rule, impact) = if to < from {
                ("stability-decreased", Impact::Breaking)
            } else {
                ("stability-increased", Impact::Safe)
            };
            let what = format!("its stability was {} and is {} now", LEVELS[from], LEVELS[to]);
            self.report(scope, found(rule, impact, what, older, newer));
        }
    }

    /// Whether a day is nearer than sunsets have to be.
    fn is_near(&self, sunset: jiff::civil::Date) -> bool {
        let Some(days) = self.sunset_days else { return false };
        let today = jiff::Zoned::now().date();
        let earliest = today.checked_add(jiff::Span::new().days(i64::from(days)));
        earliest.is_ok_and(|earliest| sunset < earliest)
    }

    fn security(&mut self, scope: &Scope, old: &Listed, new: &Listed) {
        let (own, its) = (alternatives(self.older, &old.at), alternatives(self.newer, &new.at));
        let (older, newer) = (
            written_security(self.older, &old.at),
            written_security(self.newer, &new.at),
        );
        let scope = scope.with(Side::Request, Way::Sent, "request", "");
        let suffices = |old: &Alternative, new: &Alternative| {
            new.iter()
                .all(|(scheme, scopes)| old.get(scheme).is_some_and(|granted| scopes.is_subset(granted)))
        };
        let mut is_relaxed = own != its;
        for alternative in own.iter().filter(|old| !its.iter().any(|new| suffices(old, new))) {
            is_relaxed = false;
            let what = format!("{} no longer suffices; {} does", say(alternative), say_all(&its));
            let asks_more = its.iter().any(|new| new.keys().eq(alternative.keys()));
            let rule = if asks_more {
                "security-scope-added"
            } else {
                "security-tightened"
            };
            self.report(&scope, found(rule, Impact::Breaking, what, Some(&older), Some(&newer)));
        }
        if is_relaxed {
            let what = format!("{} suffices now, before {}", say_all(&its), say_all(&own));
            self.report(
                &scope,
                found("security-relaxed", Impact::Safe, what, Some(&older), Some(&newer)),
            );
        }
        let schemes: BTreeSet<&String> = own.iter().flat_map(BTreeMap::keys).collect();
        for scheme in schemes
            .into_iter()
            .filter(|scheme| its.iter().any(|new| new.contains_key(*scheme)))
        {
            let pointer = under("/components/securitySchemes", scheme);
            let meaning = |document: &OpenApi| {
                let described = document.at(&pointer);
                ["type", "in", "name", "scheme", "openIdConnectUrl"].map(|key| described[key].clone())
            };
            if meaning(self.older) != meaning(self.newer) {
                let what = format!("the security scheme {scheme} changed");
                let change = found(
                    "security-scheme-changed",
                    Impact::Breaking,
                    what,
                    Some(&pointer),
                    Some(&pointer),
                );
                self.report(&scope, change);
            }
        }
    }

    /// Messages that go the other way: the API calls those who subscribed.
    fn webhooks(&mut self) {
        let names = |document: &OpenApi| -> BTreeSet<String> {
            document
                .at("/webhooks")
                .as_object()
                .into_iter()
                .flat_map(|hooks| hooks.keys().cloned())
                .collect()
        };
        let (own, its) = (names(self.older), names(self.newer));
        for name in own.union(&its) {
            let pointer = under("/webhooks", name);
            let own = hooks(self.older, &pointer);
            let its = hooks(self.newer, &pointer);
            for (method, at) in &own {
                let scope = self.webhook_scope(name, method);
                if let Some(new) = its.get(method) {
                    let received = scope.with(Side::Request, Way::Received, "webhook", "");
                    self.request_body(&received, at, new);
                    self.responses(&scope.with(Side::Response, Way::Sent, "webhook-response", ""), at, new);
                } else {
                    let what = format!("the webhook {name} was removed");
                    self.report(&scope, found("webhook-removed", Impact::Breaking, what, Some(at), None));
                }
            }
            for (method, at) in its.iter().filter(|(method, _)| !own.contains_key(*method)) {
                let scope = self.webhook_scope(name, method);
                let what = format!("the webhook {name} was added");
                self.report(&scope, found("webhook-added", Impact::Safe, what, None, Some(at)));
            }
        }
    }

    fn webhook_scope(&mut self, name: &str, method: &str) -> Scope {
        let operation = format!("webhook {name}");
        if !self.operations.contains(&operation) {
            self.operations.push(operation.clone());
        }
        Scope {
            endpoint: format!("{} by the API", method.to_uppercase()),
            operation,
            side: Side::Operation,
            way: Way::Received,
            subject: "webhook",
            place: String::new(),
        }
    }
}

/// Schemes that are needed together, each with its scopes.
type Alternative = BTreeMap<String, BTreeSet<String>>;

/// What an operation asks of those who call: one of these. Nothing asked is one empty alternative.
fn alternatives(document: &OpenApi, at: &str) -> Vec<Alternative> {
    let listed = document.at(&written_security(document, at)).as_array();
    let alternatives: Vec<Alternative> = listed
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(|schemes| {
            let scopes = |scopes: &Value| {
                let scopes = scopes.as_array().into_iter().flatten();
                scopes.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            schemes
                .iter()
                .map(|(scheme, listed)| (scheme.clone(), scopes(listed)))
                .collect()
        })
        .collect();
    if alternatives.is_empty() {
        vec![Alternative::new()]
    } else {
        alternatives
    }
}

/// Where the security of an operation is written: with it, or for the whole document.
fn written_security(document: &OpenApi, at: &str) -> String {
    let own = format!("{at}/security");
    if document.at(&own).is_null() {
        "/security".to_owned()
    } else {
        own
    }
}

fn say(alternative: &Alternative) -> String {
    if alternative.is_empty() {
        return "nothing".to_owned();
    }
    let schemes = alternative.iter().map(|(scheme, scopes)| {
        if scopes.is_empty() {
            format!("`{scheme}`")
        } else {
            format!("`{scheme}` ({})", list(scopes.iter().map(String::as_str)))
        }
    });
    schemes.collect::<Vec<_>>().join(" with ")
}

fn say_all(alternatives: &[Alternative]) -> String {
    alternatives.iter().map(say).collect::<Vec<_>>().join(" or ")
}

fn operations(document: &OpenApi) -> Vec<Listed> {
    // What is wrong with a method was told when the document was read.
    let listed = listed_operations(document, &mut Vec::new()).into_iter();
    listed
        .map(|listed| {
            let at = listed.place;
            let id = document
                .at(&at)
                .get("operationId")
                .and_then(Value::as_str)
                .map(str::to_owned);
            Listed {
                id,
                method: listed.method,
                template: listed.template,
                item: listed.item,
                at,
            }
        })
        .collect()
}

/// The operations of a webhook by method.
fn hooks(document: &OpenApi, pointer: &str) -> BTreeMap<String, String> {
    let Some(pointer) = document.resolve(pointer) else {
        return BTreeMap::new();
    };
    let methods = ["get", "put", "post", "delete", "patch"].into_iter();
    let present = methods.filter(|method| document.at(&pointer).get(method).is_some());
    present
        .map(|method| (method.to_owned(), format!("{pointer}/{method}")))
        .collect()
}

/// A path without the names in it: those are not on the wire.
fn shape(template: &str) -> String {
    let mut shape = String::new();
    let mut is_name = false;
    for character in template.chars() {
        match character {
            '{' => is_name = true,
            '}' => is_name = false,
            _ if is_name => continue,
            _ => {}
        }
        shape.push(character);
    }
    shape
}

/// The day of an `x-sunset`: `2027-06-30`, or a point in time that begins with one.
fn day(written: &str) -> Option<jiff::civil::Date> {
    written.get(..10)?.parse().ok()
}

/// A change of a rule.
pub(super) fn found(rule: &str, impact: Impact, what: String, older: Option<&str>, newer: Option<&str>) -> Found {
    Found {
        rule: rule.to_owned(),
        impact,
        what,
        older: older.map(str::to_owned),
        newer: newer.map(str::to_owned),
    }
}
