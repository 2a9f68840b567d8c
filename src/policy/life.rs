//! Serves a contract version only to whom, and while, it is served.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Handling, Next, Policy, Request};
use crate::{exchange::Exchange, lifecycle, problem::Refusal};

/// Stands on the routes of versions that are not in full service.
pub struct Life {
    life: Arc<lifecycle::Life>,
}

impl Life {
    /// Of one version.
    pub(crate) fn new(life: Arc<lifecycle::Life>) -> Self {
        Self { life }
    }
}

impl Policy for Life {
    fn name(&self) -> &'static str {
        "life"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        let Some(exchange) = Exchange::of(&request) else {
            return Box::pin(async { Err(Refusal::Internal) });
        };
        match self.life.admit(exchange.who(), Timestamp::now()) {
            Ok(()) => next.run(request),
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        }
    }
}
