//! Chooses the contract version of a request whose path does not name one, then walks that version's route.

use std::sync::Arc;

use super::{Handling, Next, Policy, Request};
use crate::{
    exchange::Exchange,
    lifecycle::{Fields, Offering, Signals, signals},
    problem::Refusal,
    snapshot::{Methods, Route},
};

/// Stands at one path of an API, after `authenticate`: the pin of a channel is known once the channel is.
pub struct Choose {
    offering: Arc<Offering>,
    /// What this path offers in each version of the offering; nothing where a version has no such path.
    routes: Vec<Methods>,
    /// What every answer of each version carries, also where the version does not have this path or method.
    fields: Arc<[Arc<Fields>]>,
}

impl Choose {
    /// `routes` and `fields` are in the order of the offering's versions.
    pub(crate) fn new(offering: Arc<Offering>, routes: Vec<Methods>, fields: Arc<[Arc<Fields>]>) -> Self {
        Self {
            offering,
            routes,
            fields,
        }
    }

    fn route(&self, request: &Request, exchange: &Exchange) -> Result<&Arc<Route>, Refusal> {
        let position = self.offering.pick(&Signals::of(request.headers()), exchange.who())?;
        let methods = self.routes.get(position).filter(|methods| !methods.is_empty());
        let found = methods.ok_or(Refusal::NotFound);
        let found = found.and_then(|methods| methods.find(request.method()));
        if let (Err(_), Some(fields)) = (&found, self.fields.get(position)) {
            let _ = exchange.fields.set(fields.clone());
        }
        found
    }
}

impl Policy for Choose {
    fn name(&self) -> &'static str {
        "choose"
    }

    fn handle<'a>(&'a self, mut request: Request, _: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let exchange = Exchange::of(&request).cloned().ok_or(Refusal::Internal)?;
            let route = self.route(&request, &exchange)?;
            let _ = exchange.route.set(route.clone());
            signals::strip(request.headers_mut());
            let _under_way = route.metrics.begin();
            Next::authenticated(route).run(request).await
        })
    }
}
