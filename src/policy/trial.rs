//! Tries a candidate: as a canary that serves some callers, or as a shadow that nobody notices.

mod shadow;

use std::sync::Arc;

pub use shadow::Shadows;
pub(crate) use shadow::{Pair, Shadow, Tap};

use super::{
    Handling, Next, Outcome, Policy, Request,
    validate::{OwnAnswer, Parsed},
};
use crate::{
    config::{CandidateBySpec, CandidateSpec, RollbackSpec},
    contract::Operation,
    exchange::Exchange,
    lifecycle::{
        Who, cohort,
        trial::{Trial, Trials},
    },
    problem::{Refusal, UpstreamCause},
    snapshot::Route,
};

/// Which requests a canary serves.
#[derive(Debug)]
pub(crate) struct Draw {
    share: f64,
    by: CandidateBySpec,
    channels: Vec<String>,
    salt: String,
}

impl Draw {
    /// As it is written for an API.
    pub(crate) fn new(api: &str, spec: &CandidateSpec) -> Self {
        Self {
            share: spec.share.map_or(0.0, |share| share.0),
            by: spec.by.unwrap_or_default(),
            channels: spec.channels.iter().map(|channel| channel.value.clone()).collect(),
            salt: format!("{api}/candidate"),
        }
    }

    /// Whether a request is the candidate's; `key` is that of its business transaction.
    fn draws(&self, who: Who<'_>, key: Option<&str>) -> bool {
        let value = match self.by {
            CandidateBySpec::Channel => Some(who.channel),
            CandidateBySpec::Correlation => Some(who.correlation),
            CandidateBySpec::Key => key,
        };
        self.channels.iter().any(|channel| channel == who.channel)
            || value.is_some_and(|value| cohort::is_in(&self.salt, value, self.share))
    }
}

/// Sends some requests the candidate's way, before they are translated.
pub(crate) struct Canary {
    pub(crate) trial: Arc<Trial>,
    pub(crate) trials: Arc<Trials>,
    pub(crate) draw: Draw,
    pub(crate) bounds: RollbackSpec,
    /// The rest of the way, as it would be.
    pub(crate) candidate: Arc<Route>,
    /// The caller's: what the candidate answers is held against it.
    pub(crate) operation: Arc<Operation>,
    /// It goes to another upstream, or another version of it.
    pub(crate) has_own_upstream: bool,
}

impl Canary {
    fn draws(&self, exchange: &Exchange) -> bool {
        if self.trial.is_rolled_back() {
            return false;
        }
        let trail = exchange.trail();
        let key = trail
            .facts
            .iter()
            .find(|(name, _)| *name == "crossdock.transaction.key");
        self.draw.draws(exchange.who(), key.map(|(_, value)| value.as_str()))
    }

    /// Whether an outcome speaks against the candidate.
    fn has_failed(&self, outcome: &Outcome) -> bool {
        match outcome {
            // A closed door says nothing about a mapping.
            Err(Refusal::UpstreamUnavailable {
                cause: UpstreamCause::BreakerOpen | UpstreamCause::Connect,
                ..
            }) => self.has_own_upstream,
            Err(refusal) => refusal.status().is_server_error() || matches!(refusal, Refusal::Unmappable { .. }),
            Ok(response) if response.extensions().get::<OwnAnswer>().is_some() => false,
            Ok(response) if response.status().is_server_error() => true,
            Ok(response) => response.extensions().get::<Parsed>().is_some_and(|Parsed(document)| {
                let (status, headers) = (response.status(), response.headers());
                !self
                    .operation
                    .check_response(status, headers, Some(document))
                    .is_empty()
            }),
        }
    }
}

impl Policy for Canary {
    fn name(&self) -> &'static str {
        "canary"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        Box::pin(async move {
            let exchange = Exchange::of(&request).cloned().ok_or(Refusal::Internal)?;
            if !self.draws(&exchange) {
                return next.run(request).await;
            }
            exchange.trail().note("crossdock.candidate", self.trial.digest());
            let outcome = Next::all(&self.candidate).run(request).await;
            self.trial.note(&self.trials, self.has_failed(&outcome), &self.bounds);
            outcome
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(written: &str) -> Draw {
        let file = crate::config::SourceFile {
            path: "x.yaml".into(),
            text: written.into(),
        };
        let spec: CandidateSpec = crate::config::yaml::read(&file).unwrap_or_else(|wrong| panic!("{wrong}"));
        Draw::new("erp-orders", &spec)
    }

    #[test]
    fn an_order_stays_with_the_same_mapping_whoever_calls() {
        let draw = draw("mode: canary\nshare: 50%\nby: key\n");
        let who = |channel| Who {
            channel,
            correlation: "c",
        };
        let drawn: Vec<bool> = (0..200)
            .map(|number| draw.draws(who("storefront"), Some(&format!("A-{number}"))))
            .collect();
        let count = drawn.iter().filter(|is_drawn| **is_drawn).count();
        assert!((60..140).contains(&count), "{count}");
        for (number, before) in drawn.iter().enumerate() {
            assert_eq!(draw.draws(who("marketplace"), Some(&format!("A-{number}"))), *before);
        }
        assert!(
            !draw.draws(who("storefront"), None),
            "what has no key stays with what is live"
        );
    }

    #[test]
    fn a_named_channel_is_drawn_whatever_the_share() {
        let draw = draw("mode: canary\nchannels: [storefront]\n");
        let who = |channel| Who {
            channel,
            correlation: "c",
        };
        assert!(draw.draws(who("storefront"), None));
        assert!(!draw.draws(who("marketplace"), None));
    }
}
