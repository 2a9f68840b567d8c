//! Notes which business event a request belongs to, so that it can be found by its number.

use super::{Handling, Next, Policy, Request, buffer::Payload, place::Places};
use crate::exchange::Exchange;

/// Notes type and key of the business transaction.
pub struct Transaction {
    kind: String,
    key: Places,
}

impl Transaction {
    /// `kind` such as `order`; `key` where its number is found.
    pub fn new(kind: String, key: Places) -> Self {
        Self { kind, key }
    }
}

impl Policy for Transaction {
    fn name(&self) -> &'static str {
        "transaction"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        if let Some(exchange) = Exchange::of(&request).cloned() {
            let path_values = exchange.path_values.get().map_or(&[][..], Vec::as_slice);
            let document = Payload::of(&request);
            if let Some(key) = self.key.find(request.headers(), path_values, document.as_deref()) {
                let mut trail = exchange.trail();
                trail.note("crossdock.transaction.type", self.kind.clone());
                trail.note("crossdock.transaction.key", key);
            }
        }
        next.run(request)
    }
}
