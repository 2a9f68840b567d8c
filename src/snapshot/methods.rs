//! What one path offers, by method.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::Route;
use crate::problem::Refusal;

/// The routes of one path in one contract version.
#[derive(Debug)]
pub(crate) struct Methods {
    /// Takes every method.
    any: Option<Arc<Route>>,
    routes: Vec<(Method, Arc<Route>)>,
    allow: HeaderValue,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            any: None,
            routes: Vec::new(),
            allow: HeaderValue::from_static(""),
        }
    }
}

impl Methods {
    /// One route for all methods.
    pub(crate) fn all(route: Arc<Route>) -> Self {
        Self {
            any: Some(route),
            ..Self::default()
        }
    }

    /// Adds a route; `method` is `None` where it takes all. The error is a phrase.
    pub(crate) fn insert(&mut self, method: Option<Method>, route: Arc<Route>) -> Result<(), String> {
        match method {
            _ if self.any.is_some() => return Err(taken(&route)),
            None if !self.routes.is_empty() => return Err(taken(&route)),
            None => self.any = Some(route),
            Some(method) if self.routes.iter().any(|(known, _)| *known == method) => {
                return Err(format!("{method}: {}", taken(&route)));
            }
            Some(method) => {
                self.routes.push((method, route));
                self.allow = allow(&self.routes);
            }
        }
        Ok(())
    }

    /// The route that takes this method.
    pub(crate) fn find(&self, method: &Method) -> Result<&Arc<Route>, Refusal> {
        let exact = |method: &Method| self.routes.iter().find(|(known, _)| known == method);
        // HEAD is answered by GET where a contract does not name it (RFC 9110 §9.3.2).
        let head = || exact(&Method::GET).filter(|_| *method == Method::HEAD);
        let found = exact(method).or_else(head);
        let found = found.map(|(_, route)| route).or(self.any.as_ref());
        found.ok_or_else(|| Refusal::MethodNotAllowed {
            method: method.clone(),
            allow: self.allow.clone(),
        })
    }

    /// Nothing is offered.
    pub(crate) fn is_empty(&self) -> bool {
        self.any.is_none() && self.routes.is_empty()
    }
}

/// What is wrong with a route whose place another one has.
fn taken(route: &Route) -> String {
    format!(
        "another operation than `{}` of API `{}` stands at the same path",
        route.operation, route.api
    )
}

fn allow(methods: &[(Method, Arc<Route>)]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}
