//! Between hyper and the pipeline: whatever happens, a channel gets an answer.

use std::{
    any::Any,
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::body::Incoming;
use tracing::error;

use crate::{
    pipeline::{self, Connection},
    policy::Response,
    problem::Refusal,
    shared::Shared,
};

/// Answers the requests of one connection.
pub struct Edge {
    shared: Arc<Shared>,
    connection: Connection,
}

impl Edge {
    /// For one connection.
    pub fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        Self { shared, connection }
    }

    /// Never fails: a fault of ours is a problem document.
    pub fn handle(
        &self,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + 'static + use<> {
        let handling = Box::pin(pipeline::handle(self.shared.clone(), self.connection.clone(), request));
        async move { Ok(CatchPanic(handling).await) }
    }
}

/// Turns a panic into the problem `internal`, so that other requests of the connection go on.
struct CatchPanic<F>(Pin<Box<F>>);

impl<F: Future<Output = Response>> Future for CatchPanic<F> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        // A request that panicked is never polled again, so nothing half-changed of it is seen.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => {
                error!(panic = message(&*panic), "a request ended by a panic");
                Poll::Ready(Refusal::Internal.into_response(""))
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_problem() {
        let response = CatchPanic(Box::pin(async { panic!("a fault made by the test") })).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
