//! A policy is one step of a route. A route walks its steps in order; each one passes the request on or answers.

pub mod authenticate;
pub mod authorize;
pub mod buffer;
pub mod choose;
pub mod fallback;
pub mod forward;
pub mod idempotency;
pub mod life;
pub mod limit;
pub mod map;
pub mod place;
pub mod status;
pub mod transaction;
pub mod trial;
pub mod validate;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{body::Body, exchange::Exchange, problem::Refusal, snapshot::Route};

/// A request on its way through the steps of a route.
pub type Request = http::Request<Body>;
/// What goes back to the channel.
pub type Response = http::Response<Body>;
/// A response, or the reason why the gateway answers instead of the upstream.
pub type Outcome = Result<Response, Refusal>;
/// The work of a policy on one request.
pub type Handling<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One step of a route: `Err` refuses, `next.run` continues, a returned response answers in the upstream's place.
///
/// Decisions live in plain functions that know nothing of HTTP; `handle` only translates.
pub trait Policy: Send + Sync + 'static {
    /// Config key, span name and metric label at once.
    fn name(&self) -> &'static str;

    /// Handles one request.
    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a>;
}

impl<P: Policy> Policy for Arc<P> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        (**self).handle(request, next)
    }
}

/// The rest of a route's steps.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    route: &'a Arc<Route>,
    position: usize,
}

impl<'a> Next<'a> {
    /// All steps of a route.
    pub(crate) fn all(route: &'a Arc<Route>) -> Self {
        Self { route, position: 0 }
    }

    /// All steps but the first, `authenticate`, which the request has passed on another route.
    pub(crate) fn authenticated(route: &'a Arc<Route>) -> Self {
        Self { route, position: 1 }
    }

    /// The route that is walked.
    pub fn route(&self) -> &'a Arc<Route> {
        self.route
    }

    /// Passes the request to the next step. The last step of every route answers.
    pub fn run(self, request: Request) -> Handling<'a> {
        let Some(step) = self.route.steps.get(self.position) else {
            return Box::pin(async { Err(Refusal::Internal) });
        };
        if let Some(exchange) = Exchange::of(&request) {
            exchange.trail().enter(step.name());
        }
        step.handle(
            request,
            Self {
                route: self.route,
                position: self.position + 1,
            },
        )
    }
}
