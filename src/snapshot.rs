//! What the gateway runs: routes compiled from policies and contracts, immutable, numbered.

mod compile;
mod methods;
mod router;
pub mod source;

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

pub use compile::{check, compile};
pub(crate) use methods::Methods;
pub(crate) use router::Matched;

use crate::{
    config::CandidateModeSpec,
    contract::{Operation, Translation},
    lifecycle::{Fields, Life, trial::Trial},
    lookup::Resolver,
    policy::{Policy, forward::Forward},
    queue::{courier::Lookup, notifier::Webhooks},
    telemetry::RouteMetrics,
    upstream::Upstream,
};
use router::Router;

/// One compiled state of all policies and contracts. A request uses one from start to end.
pub struct Snapshot {
    /// Counts up with every swap of this process.
    pub number: u64,
    /// BLAKE3 of all files it was compiled from, in hexadecimal.
    pub digest: String,
    /// When it was compiled.
    pub since: Timestamp,
    /// Counts requests that no route takes.
    pub(crate) unrouted: RouteMetrics,
    /// By name. One whose file did not change is the former snapshot's, with its breakers and pools.
    pub(crate) upstreams: HashMap<String, Arc<Upstream>>,
    router: Router,
    by_name: HashMap<RouteName, Arc<Route>>,
    /// The contract versions of each API that has a contract.
    pub(crate) versions: Vec<ApiVersions>,
    /// Where channels are told how their queued requests ended.
    pub(crate) webhooks: Webhooks,
}

/// The contract versions of one API, oldest first.
pub(crate) struct ApiVersions {
    pub(crate) api: Arc<str>,
    pub(crate) contract: Arc<str>,
    /// The version that the upstream speaks.
    pub(crate) spoken: Arc<str>,
    pub(crate) lives: Vec<Arc<Life>>,
    /// The candidate that is tried.
    pub(crate) trial: Option<ApiTrial>,
}

/// How an API's candidate is tried.
pub(crate) struct ApiTrial {
    pub(crate) mode: CandidateModeSpec,
    pub(crate) trial: Arc<Trial>,
}

/// API, operation, contract version.
type RouteName = (String, String, String);

/// One operation of one API in one contract version, with the steps a request passes.
pub struct Route {
    /// Name of the API.
    pub api: Arc<str>,
    /// `operationId`; `proxy` for an API without a contract.
    pub operation: Arc<str>,
    /// Contract version of the caller; empty for an API without a contract.
    pub version: Arc<str>,
    /// Path with its parameters in braces, for spans.
    pub template: Arc<str>,
    /// The steps, in order. The last one answers.
    pub steps: Vec<Box<dyn Policy>>,
    /// Number of the snapshot it belongs to.
    pub snapshot: u64,
    pub(crate) metrics: RouteMetrics,
    /// What delivers a queued request of this route.
    pub(crate) delivery: Option<DeliveryRoute>,
    /// What every answer of it carries.
    pub(crate) fields: Fields,
    /// It leads to the route of the version that it chooses.
    pub(crate) is_choice: bool,
}

/// How a queued request of a route reaches its upstream, and its answer the caller.
pub(crate) struct DeliveryRoute {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) translation: Option<Arc<Translation>>,
    /// The operation in the upstream's contract version.
    pub(crate) operation: Option<Arc<Operation>>,
    pub(crate) forward: Forward,
    /// How the upstream is asked whether it was done.
    pub(crate) lookup: Option<Lookup>,
    pub(crate) limit: u64,
    /// Answers what the mappings ask.
    pub(crate) resolver: Arc<Resolver>,
    /// The contract version that the upstream speaks.
    pub(crate) spoken: Option<Arc<str>>,
    /// What brings requests that were stored for another version to that one.
    pub(crate) former: Vec<(Arc<str>, Arc<Translation>)>,
}

impl Snapshot {
    /// The route of a request, by its normalised path.
    pub(crate) fn find(&self, method: &http::Method, path: &str) -> Result<Matched, crate::problem::Refusal> {
        self.router.find(method, path)
    }

    /// What every answer below a version's path carries, also where no route takes the request.
    pub(crate) fn fields(&self, path: &str) -> Option<&Arc<Fields>> {
        self.router.fields(path)
    }

    /// The route of a queued message, where this snapshot still has it.
    ///
    /// What a candidate queued is answered by the candidate; once that is live or gone, by what is live.
    pub(crate) fn route(&self, api: &str, operation: &str, version: &str) -> Option<&Arc<Route>> {
        let find = |version: &str| {
            self.by_name
                .get(&(api.to_owned(), operation.to_owned(), version.to_owned()))
        };
        find(version).or_else(|| find(version.strip_suffix(Route::CANDIDATE)?))
    }

    /// How many routes it has.
    pub fn routes(&self) -> usize {
        self.by_name.len()
    }
}

impl Route {
    /// Ends the version by which the route of a candidate is known.
    pub(crate) const CANDIDATE: &'static str = "+candidate";
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.api, self.operation, self.version)
    }
}
