//! What came of candidates.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    api: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    api: String,
}

/// Series of all candidates. A clone is another handle on the same ones.
#[derive(Clone, Default)]
pub(super) struct Candidates {
    served: Family<OutcomeLabels, Counter>,
    compared: Family<OutcomeLabels, Counter>,
    rolled_back: Family<ApiLabels, Gauge>,
}

impl Candidates {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Requests that a candidate served as a canary";
        registry.register("candidate_requests", help, self.served.clone());
        let help = "Translations of a shadow, compared with the live ones";
        registry.register("candidate_comparisons", help, self.compared.clone());
        let help = "1 where the candidate failed too often and serves nobody any more";
        registry.register("candidate_rolled_back", help, self.rolled_back.clone());
    }

    pub(super) fn of(&self, api: &str) -> TrialMetrics {
        TrialMetrics {
            candidates: self.clone(),
            api: api.to_owned(),
        }
    }
}

/// What one API's candidate counts.
pub struct TrialMetrics {
    candidates: Candidates,
    api: String,
}

impl TrialMetrics {
    fn outcome(&self, outcome: &'static str) -> OutcomeLabels {
        let api = self.api.clone();
        OutcomeLabels { api, outcome }
    }

    /// A canary has served a request.
    pub fn served(&self, has_failed: bool) {
        let outcome = self.outcome(if has_failed { "failed" } else { "ok" });
        self.candidates.served.get_or_create(&outcome).inc();
    }

    /// A shadow's translation was compared.
    pub fn compared(&self, is_different: bool) {
        let outcome = self.outcome(if is_different { "differs" } else { "same" });
        self.candidates.compared.get_or_create(&outcome).inc();
    }

    /// There was no time to compare.
    pub fn dropped(&self) {
        self.candidates.compared.get_or_create(&self.outcome("dropped")).inc();
    }

    /// Whether it was rolled back.
    pub fn rolled_back(&self, is_rolled_back: bool) {
        let labels = ApiLabels { api: self.api.clone() };
        let gauge = self.candidates.rolled_back.get_or_create(&labels).clone();
        gauge.set(i64::from(is_rolled_back));
    }
}
