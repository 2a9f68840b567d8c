//! What came of keys that were looked up.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    api: String,
    operation: String,
    result: &'static str,
}

/// Series of all lookups. A clone is another handle on the same ones.
#[derive(Clone, Default)]
pub(super) struct Keys(Family<KeyLabels, Counter>);

impl Keys {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Keys that mappings looked up: known without a call, or found, missing or failed by one";
        registry.register("lookup_keys", help, self.0.clone());
    }

    pub(super) fn of(&self, api: &str, operation: &str) -> LookupMetrics {
        let counter = |result| {
            let labels = KeyLabels {
                api: api.to_owned(),
                operation: operation.to_owned(),
                result,
            };
            self.0.get_or_create(&labels).clone()
        };
        LookupMetrics {
            known: counter("known"),
            found: counter("found"),
            missing: counter("missing"),
            failed: counter("failed"),
        }
    }
}

/// What one lookup counts.
pub struct LookupMetrics {
    known: Counter,
    found: Counter,
    missing: Counter,
    failed: Counter,
}

impl LookupMetrics {
    /// A key was known without a call.
    pub fn known(&self) {
        self.known.inc();
    }

    /// A call was made: whether there is a counterpart, where that could be told.
    pub fn called(&self, is_found: Option<bool>) {
        match is_found {
            Some(true) => self.found.inc(),
            Some(false) => self.missing.inc(),
            None => self.failed.inc(),
        };
    }
}
