//! Checks that the caller's scopes allow the operation.

use std::{collections::BTreeSet, sync::Arc};

use super::{Handling, Next, Policy, Request};
use crate::{exchange::Exchange, problem::Refusal};

/// The scopes that an operation asks for, all of them.
pub struct Authorize {
    required: Vec<String>,
}

impl Authorize {
    /// `None` where nothing is asked for.
    pub fn new(required: &[String]) -> Option<Self> {
        (!required.is_empty()).then(|| Self {
            required: required.to_vec(),
        })
    }

    /// The scopes that are missing.
    fn missing(&self, scopes: &BTreeSet<String>) -> Vec<&str> {
        self.required
            .iter()
            .filter(|scope| !scopes.contains(*scope))
            .map(String::as_str)
            .collect()
    }
}

impl Policy for Authorize {
    fn name(&self) -> &'static str {
        "authorize"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        let Some(caller) = Exchange::of(&request).and_then(|exchange| exchange.caller.get()) else {
            return Box::pin(async { Err(Refusal::Internal) });
        };
        let missing = self.missing(&caller.scopes);
        if missing.is_empty() {
            return next.run(request);
        }
        let plural = if missing.len() == 1 { "scope" } else { "scopes" };
        let refusal = Refusal::Forbidden {
            channel: Arc::clone(&caller.channel),
            missing: format!("the {plural} {}", missing.join(", ")),
        };
        Box::pin(async move { Err(refusal) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_required_scope_must_be_there() {
        let authorize = Authorize::new(&["orders:read".to_owned(), "orders:write".to_owned()]).unwrap();
        let scopes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(authorize.missing(&scopes(&["orders:read"])), ["orders:write"]);
        assert!(
            authorize
                .missing(&scopes(&["orders:read", "orders:write", "more"]))
                .is_empty()
        );
    }

    #[test]
    fn where_nothing_is_asked_for_there_is_no_step() {
        assert!(Authorize::new(&[]).is_none());
    }
}
