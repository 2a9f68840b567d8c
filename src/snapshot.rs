//! What the gateway runs: routes compiled from policies and contracts, immutable, numbered.

pub mod source;

use std::sync::Arc;

use crate::policy::Policy;

/// One operation of one API in one contract version, with the steps a request passes.
pub struct Route {
    /// Name of the API.
    pub api: Arc<str>,
    /// `operationId`; `proxy` for an API without a contract.
    pub operation: Arc<str>,
    /// Contract version of the caller; empty for an API without a contract.
    pub version: Arc<str>,
    /// The steps, in order. The last one answers.
    pub steps: Vec<Box<dyn Policy>>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.api, self.operation, self.version)
    }
}
