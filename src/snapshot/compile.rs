//! From files to a snapshot. `crossdock check` and the running gateway come through here.

mod trial;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use self::{trial::Plan, versions::Offered};
use super::{ApiTrial, ApiVersions, DeliveryRoute, Route, RouteName, Snapshot, router::Router};
use crate::{
    config::{
        self, ApiSpec, AuthenticateSpec, Diagnostic, Loaded, LookupSpec, MappingsSpec, Policies, Severity, SourceFile,
        Sources, Spanned, StateSpec,
    },
    contract::{self, Candidate, Contract, ContractVersion, Operation, Standing, Surroundings, check},
    lifecycle::{Fields, Life},
    lookup::{Bound, Resolver},
    pipeline::{self, Compiling},
    policy::{
        authenticate::{Authenticate, ChannelTable},
        status::{self, Status},
    },
    queue::{courier::Lookup, notifier::Webhooks},
    shared::Shared,
    upstream::Upstream,
};

/// A snapshot, where there is no error, and everything that is wrong or doubtful.
pub fn compile(sources: &Sources, shared: &Shared) -> (Option<Snapshot>, Vec<Diagnostic>) {
    let (policies, mut diagnostics) = config::parse(sources);
    let contracts = contracts(sources, &mut diagnostics);
    let candidates = candidates(sources, &mut diagnostics);
    let Some(policies) = policies else {
        return (None, diagnostics);
    };
    if policies.gateway.spec.mappings == MappingsSpec::Checked {
        require_checked(sources, &contracts, &mut diagnostics);
    }
    let former = shared.snapshot.load_full();
    let mut compiler = Compiler {
        sources,
        shared,
        contracts: &contracts,
        candidates: &candidates,
        number: former.as_ref().map_or(1, |former| former.number + 1),
        upstreams: upstreams(&policies, former.as_deref(), shared, &mut diagnostics),
        diagnostics,
        router: Router::default(),
        by_name: HashMap::new(),
        versions: Vec::new(),
        webhooks: Webhooks::default(),
        resolver: Arc::default(),
    };
    compiler.compile(&policies);
    let Compiler {
        diagnostics,
        router,
        by_name,
        number,
        upstreams,
        versions,
        webhooks,
        ..
    } = compiler;
    if diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
    {
        return (None, diagnostics);
    }
    let snapshot = Snapshot {
        number,
        digest: sources.digest.to_string(),
        since: Timestamp::now(),
        unrouted: shared.metrics.route("none", "none", ""),
        upstreams,
        router,
        by_name,
        versions,
        webhooks,
    };
    (Some(snapshot), diagnostics)
}

/// Everything that is wrong or doubtful in the files, without a running gateway.
pub fn check(sources: &Sources, shared: &Shared) -> Vec<Diagnostic> {
    compile(sources, shared).1
}

/// How the upstream is asked whether it has done an operation, where its API says so.
fn lookup<'a>(
    spec: &'a ApiSpec,
    contract: &Contract,
    target: &Arc<ContractVersion>,
    life: &Life,
    operation: &Operation,
    resolver: &Arc<Resolver>,
) -> Result<Option<Lookup>, (&'a Spanned<LookupSpec>, String)> {
    let fallback = spec.fallback.as_ref();
    let Some(lookup) = fallback.and_then(|fallback| fallback.lookup.get(&*operation.id)) else {
        return Ok(None);
    };
    let compile = || {
        let find = |id: &str| {
            let found = target.operation(id).cloned();
            found.ok_or_else(|| format!("version {} of the contract has no operation `{id}`", target.version))
        };
        let asked = find(&lookup.value.operation.value)?;
        let translation = contract.translation(&asked.id, &life.version, &target.version)?;
        let translation = Some(Arc::new(translation)).filter(|translation| !translation.is_identity());
        let operations = (asked, find(&operation.id)?);
        let place = (spec.upstream.path.as_str(), spec.body.0);
        Lookup::compile(&lookup.value, operations, translation, place, resolver.clone())
    };
    compile().map(Some).map_err(|message| (lookup, message))
}

fn contracts(sources: &Sources, diagnostics: &mut Vec<Diagnostic>) -> BTreeMap<String, Contract> {
    let mut contracts = BTreeMap::new();
    for (name, files) in &sources.contracts {
        match Contract::load(name, files) {
            Ok(contract) => {
                diagnostics.extend(contract.warnings.iter().cloned());
                contracts.insert(name.clone(), contract);
            }
            Err(mistakes) => diagnostics.extend(mistakes),
        }
    }
    contracts
}

/// What is tried. A mistake in a candidate keeps it from being tried, like any other.
fn candidates(sources: &Sources, diagnostics: &mut Vec<Diagnostic>) -> BTreeMap<String, Candidate> {
    let mut candidates = BTreeMap::new();
    for (name, files) in &sources.contracts {
        match Candidate::load(name, files) {
            None => {}
            Some(Ok(candidate)) => {
                diagnostics.extend(candidate.contract.warnings.iter().cloned());
                candidates.insert(name.clone(), candidate);
            }
            Some(Err(mistakes)) => diagnostics.extend(mistakes),
        }
    }
    candidates
}

/// A mapping that was never checked, or was changed since, stays out.
fn require_checked(sources: &Sources, contracts: &BTreeMap<String, Contract>, diagnostics: &mut Vec<Diagnostic>) {
    // What cannot be read has mistakes that come first.
    for (name, files) in sources
        .contracts
        .iter()
        .filter(|(name, _)| contracts.contains_key(*name))
    {
        if let Err(fault) = check::verify(name, files) {
            diagnostics.push(fault.diagnostic(name, files));
        }
    }
}

fn upstreams(
    policies: &Policies,
    former: Option<&Snapshot>,
    shared: &Shared,
    diagnostics: &mut Vec<Diagnostic>,
) -> HashMap<String, Arc<Upstream>> {
    let mut upstreams = HashMap::new();
    for Loaded { spec, file } in &policies.upstreams {
        let name = &spec.name.value;
        match Upstream::new(
            spec.clone(),
            file.text.clone(),
            &policies.folder,
            shared.metrics.upstream(name),
        ) {
            Ok(fresh) => {
                let running = former
                    .and_then(|former| former.upstreams.get(name))
                    .filter(|running| running.is_same(&fresh));
                upstreams.insert(name.clone(), running.cloned().unwrap_or_else(|| Arc::new(fresh)));
            }
            Err(wrong) => diagnostics.push(at(file, &spec.name, wrong)),
        }
    }
    upstreams
}

struct Compiler<'a> {
    sources: &'a Sources,
    shared: &'a Shared,
    contracts: &'a BTreeMap<String, Contract>,
    candidates: &'a BTreeMap<String, Candidate>,
    number: u64,
    upstreams: HashMap<String, Arc<Upstream>>,
    diagnostics: Vec<Diagnostic>,
    router: Router,
    by_name: HashMap<RouteName, Arc<Route>>,
    versions: Vec<ApiVersions>,
    webhooks: Webhooks,
    /// Answers what mappings ask.
    resolver: Arc<Resolver>,
}

impl Compiler<'_> {
    fn compile(&mut self, policies: &Policies) {
        let channels = ChannelTable::compile(policies, &self.shared.channels, &self.shared.key_sets);
        let channels = match channels {
            Ok(channels) => Arc::new(channels),
            Err(mistakes) => return self.diagnostics.extend(mistakes),
        };
        match Webhooks::compile(policies) {
            Ok(webhooks) => self.webhooks = webhooks,
            Err(mistakes) => return self.diagnostics.extend(mistakes),
        }
        self.resolver = Arc::new(self.resolver(policies));
        for api in &policies.apis {
            self.api(policies, api, &channels);
        }
        self.status(policies, &channels);
    }

    /// Finds whom the mappings of all contracts ask.
    fn resolver(&mut self, policies: &Policies) -> Resolver {
        let mut resolver = Resolver {
            bound: HashMap::new(),
            lookups: self.shared.lookups.clone(),
        };
        let (contracts, candidates) = (self.contracts, self.candidates);
        let candidates = candidates.values().map(|candidate| &candidate.contract);
        for lookup in contracts.values().chain(candidates).flat_map(Contract::lookups) {
            match self.bound(policies, lookup) {
                Ok(Some(bound)) => drop(resolver.bound.insert(lookup.name.clone(), bound)),
                Ok(None) => {}
                // A live mapping and its candidate make the same mistake in files of their own.
                Err(mistake) => self.wrong(mistake),
            }
        }
        resolver
    }

    /// Whom a lookup asks; `None` where that has mistakes of its own, which are told there.
    fn bound(&self, policies: &Policies, lookup: &contract::Lookup) -> Result<Option<Bound>, Diagnostic> {
        let Some(api) = policies.apis.iter().find(|api| *api.spec.name.value == *lookup.api) else {
            let known = nearest(policies.apis.iter().map(|api| &api.spec.name.value), "APIs");
            let mistake = lookup.api_mistake(format!("there is no Api named `{}`", lookup.api));
            return Err(mistake.help(known));
        };
        let (Some(contract), Some(spoken)) = (&api.spec.contract, &api.spec.upstream.version) else {
            let mistake = lookup.api_mistake(format!("API `{}` has no contract", lookup.api));
            return Err(mistake.help("name one with a contract: what is asked and answered is checked against it"));
        };
        let version = self.contracts.get(&contract.value);
        let version = version.and_then(|contract| contract.version(&spoken.value));
        let upstream = self.upstreams.get(&api.spec.upstream.name.value);
        let (Some(version), Some(upstream)) = (version, upstream) else {
            return Ok(None);
        };
        let question = version.question(lookup)?;
        let metrics = self.shared.metrics.lookup(&lookup.api, &lookup.operation);
        let base = api.spec.upstream.path.as_str();
        Ok(Some(Bound::new(
            lookup,
            question,
            (upstream, &version.version, base),
            metrics,
        )))
    }

    fn api(&mut self, policies: &Policies, api: &Loaded<ApiSpec>, channels: &Arc<ChannelTable>) {
        // A missing upstream or contract was reported where the references were checked.
        let Some(upstream) = self.upstreams.get(&api.spec.upstream.name.value).cloned() else {
            return;
        };
        let (Some(contract), Some(spoken)) = (&api.spec.contract, &api.spec.upstream.version) else {
            return self.passthrough(api, channels, &upstream);
        };
        let contracts = self.contracts;
        let Some(found) = contracts.get(&contract.value) else {
            if self.sources.contracts.contains_key(&contract.value) {
                // Its own mistakes were reported where it could not be read.
                return;
            }
            let known = nearest(contracts.keys(), "contracts");
            return self.wrong(
                at(
                    &api.file,
                    contract,
                    format!("no contract is named `{}`", contract.value),
                )
                .help(known),
            );
        };
        let Some(target) = found.version(&spoken.value) else {
            let known = nearest(found.versions.iter().map(|version| &version.version), "versions");
            let message = format!("contract `{}` has no version `{}`", contract.value, spoken.value);
            return self.wrong(at(&api.file, spoken, message).help(known));
        };
        let offered = self.offered(api, found, target);
        let described: Vec<_> = offered.iter().filter_map(|offered| offered.contract.clone()).collect();
        self.check_operations(api, &described);
        let plan = self.plan(api, (found, target, &upstream));
        let mut routes = Vec::new();
        for Offered { life, contract } in &offered {
            let surroundings = self.surroundings(
                api,
                (found, &upstream),
                (&life.version, &target.version),
                &api.spec.upstream.path,
            );
            let operations = contract.iter().flat_map(|version| &version.operations);
            for operation in operations {
                let route = self.operation(
                    api,
                    channels,
                    &upstream,
                    (found, &surroundings),
                    (life, operation),
                    (target, plan.as_ref()),
                );
                // What was queued for a retired version is still answered in its words.
                if let Some(route) = route.filter(|_| life.state != StateSpec::Retired) {
                    routes.push((operation.method.clone(), route));
                }
            }
        }
        let lives: Vec<Arc<Life>> = offered.into_iter().map(|offered| offered.life).collect();
        if api.spec.is_versioned_by_path() {
            self.by_path(api, channels, &lives, routes);
        } else {
            self.by_choice(policies, api, channels, lives.clone(), routes);
        }
        self.versions.push(ApiVersions {
            api: api.spec.name.value.as_str().into(),
            contract: found.name.clone(),
            spoken: target.version.clone(),
            lives,
            trial: plan
                .as_ref()
                .zip(api.spec.candidate.as_ref())
                .map(|(plan, spec)| ApiTrial {
                    mode: spec.mode.value,
                    trial: plan.trial(),
                }),
        });
    }

    /// Every operation that a policy names is one of the contract's.
    fn check_operations(&mut self, api: &Loaded<ApiSpec>, versions: &[Arc<ContractVersion>]) {
        let known: BTreeSet<&str> = versions
            .iter()
            .flat_map(|version| &version.operations)
            .map(|operation| &*operation.id)
            .collect();
        let spec = &api.spec;
        let fallback = spec.fallback.iter().flat_map(|fallback| &fallback.operations);
        let limits = spec.limits.iter().flat_map(|limit| &limit.operations);
        let mut unknown = Vec::new();
        for name in spec.idempotency.required.iter().chain(fallback).chain(limits) {
            if !known.contains(name.value.as_str()) {
                unknown.push(at(
                    &api.file,
                    name,
                    format!("the contract has no operation `{}`", name.value),
                ));
            }
        }
        for (name, scopes) in &spec.authorize.scopes {
            if !known.contains(name.as_str()) {
                unknown.push(at(&api.file, scopes, format!("the contract has no operation `{name}`")));
            }
        }
        let help = nearest(known.iter(), "operations");
        self.diagnostics
            .extend(unknown.into_iter().map(|diagnostic| diagnostic.help(help.clone())));
    }

    fn operation(
        &mut self,
        api: &Loaded<ApiSpec>,
        channels: &Arc<ChannelTable>,
        upstream: &Arc<Upstream>,
        (contract, surroundings): (&Contract, &Arc<Surroundings>),
        (life, operation): (&Arc<Life>, &Arc<Operation>),
        (target, plan): (&Arc<ContractVersion>, Option<&Plan<'_>>),
    ) -> Option<Arc<Route>> {
        let wrong = |message: String| {
            at(
                &api.file,
                &api.spec.name,
                format!("operation `{}`: {message}", operation.id),
            )
        };
        let Some(spoken) = target.operation(&operation.id).cloned() else {
            let message = format!("the upstream's version {} does not have it", target.version);
            self.wrong(wrong(message));
            return None;
        };
        let translation = match contract.translation(&operation.id, &life.version, &target.version) {
            Ok(translation) => Some(translation)
                .filter(|translation| !translation.is_identity())
                .map(|translation| Arc::new(translation.within(surroundings))),
            Err(message) => {
                self.wrong(wrong(message));
                return None;
            }
        };
        let prefix = api.spec.path.value.replace("{version}", &life.version);
        let prefix = prefix.trim_end_matches('/').to_owned();
        let mut compiling = Compiling {
            spec: &api.spec,
            version: life.version.clone(),
            queued_as: life.version.clone(),
            life: Some(life.clone()).filter(|life| !life.is_plain()),
            operation: Some(operation.clone()),
            spoken: Some((target.version.clone(), spoken)),
            translation: translation.clone(),
            upstream: upstream.clone(),
            upstream_path: &api.spec.upstream.path,
            prefix: prefix.clone(),
            channels: channels.clone(),
            shared: self.shared,
            resolver: self.resolver.clone(),
            trying: None,
        };
        if let Some(plan) = plan {
            compiling.trying = match self.trying(plan, &compiling, operation) {
                Ok(trying) => trying,
                Err(message) => {
                    self.wrong(wrong(message));
                    return None;
                }
            };
        }
        let steps = match pipeline::steps(&compiling) {
            Ok(steps) => steps,
            Err(message) => {
                self.wrong(wrong(message));
                return None;
            }
        };
        let lookup = match lookup(&api.spec, contract, target, life, operation, &self.resolver) {
            Ok(lookup) => lookup,
            Err((lookup, message)) => {
                self.wrong(at(&api.file, lookup, message));
                return None;
            }
        };
        let pattern = format!("{prefix}{}", operation.template);
        let name = api.spec.name.value.as_str();
        let route = Arc::new(Route {
            api: name.into(),
            operation: operation.id.clone(),
            version: life.version.clone(),
            template: pattern.as_str().into(),
            steps,
            snapshot: self.number,
            metrics: self
                .shared
                .metrics
                .route(name, &operation.id, &life.version)
                .by_channel(&life.version, channels.indexes()),
            delivery: Some(DeliveryRoute {
                upstream: upstream.clone(),
                translation,
                operation: compiling.spoken.as_ref().map(|(_, operation)| operation.clone()),
                forward: pipeline::forward(&compiling),
                lookup,
                limit: api.spec.body.0,
                resolver: self.resolver.clone(),
                former: former(contract, &compiling, target),
                spoken: Some(target.version.clone()),
            }),
            fields: Fields::of(life, &api.spec.path.value),
            is_choice: false,
        });
        self.by_name.insert(
            (name.to_owned(), operation.id.to_string(), life.version.to_string()),
            route.clone(),
        );
        Some(route)
    }

    /// Where links in answers to callers of a version lead.
    pub(super) fn surroundings(
        &self,
        api: &Loaded<ApiSpec>,
        (contract, upstream): (&Contract, &Arc<Upstream>),
        (caller, spoken): (&str, &str),
        path: &str,
    ) -> Arc<Surroundings> {
        let prefix = api.spec.path.value.replace("{version}", caller);
        let upstream = upstream.clone();
        let standing = Standing {
            api: api.spec.name.value.as_str().into(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            base: path.trim_end_matches('/').to_owned(),
            own: Box::new(move |link| upstream.own_path(link).map(str::to_owned)),
            key: self.shared.cursors.key(),
        };
        Arc::new(contract.surroundings(caller, spoken, standing))
    }

    /// An API without a contract: every method and path below its own is passed through.
    fn passthrough(&mut self, api: &Loaded<ApiSpec>, channels: &Arc<ChannelTable>, upstream: &Arc<Upstream>) {
        let prefix = api.spec.path.value.trim_end_matches('/').to_owned();
        let compiling = Compiling {
            spec: &api.spec,
            version: "".into(),
            queued_as: "".into(),
            life: None,
            operation: None,
            spoken: None,
            translation: None,
            upstream: upstream.clone(),
            upstream_path: &api.spec.upstream.path,
            prefix: prefix.clone(),
            channels: channels.clone(),
            shared: self.shared,
            resolver: self.resolver.clone(),
            trying: None,
        };
        let steps = match pipeline::steps(&compiling) {
            Ok(steps) => steps,
            Err(message) => return self.wrong(at(&api.file, &api.spec.name, message)),
        };
        let name = api.spec.name.value.as_str();
        let route = Arc::new(Route {
            api: name.into(),
            operation: "proxy".into(),
            version: "".into(),
            template: format!("{prefix}/{{*rest}}").into(),
            steps,
            snapshot: self.number,
            metrics: self.shared.metrics.route(name, "proxy", ""),
            delivery: None,
            fields: Fields::none(),
            is_choice: false,
        });
        let bare = if prefix.is_empty() {
            "/".to_owned()
        } else {
            prefix.clone()
        };
        let slash = (!prefix.is_empty()).then(|| format!("{prefix}/"));
        for pattern in [Some(bare), slash, Some(format!("{prefix}/{{*rest}}"))]
            .into_iter()
            .flatten()
        {
            if let Err(message) = self.router.insert(&pattern, None, route.clone()) {
                self.wrong(at(&api.file, &api.spec.path, message));
            }
        }
        self.by_name
            .insert((name.to_owned(), "proxy".to_owned(), String::new()), route);
    }

    /// The gateway's own resource: how a queued request stands. Whoever may call an API with a fallback may ask.
    fn status(&mut self, policies: &Policies, channels: &Arc<ChannelTable>) {
        let queueing = policies.apis.iter().filter(|api| api.spec.fallback.is_some());
        let mut methods: Vec<AuthenticateSpec> = Vec::new();
        for method in queueing.flat_map(|api| &api.spec.authenticate) {
            if !methods.contains(method) {
                methods.push(*method);
            }
        }
        if methods.is_empty() {
            return;
        }
        let authenticate = Authenticate::new(&methods, 0, channels.clone(), self.shared.tokens.clone());
        let route = Arc::new(Route {
            api: "crossdock".into(),
            operation: "getStatus".into(),
            version: "".into(),
            template: "/status/{id}".into(),
            steps: vec![Box::new(authenticate), Box::new(Status::new(self.shared.log.clone()))],
            snapshot: self.number,
            metrics: self.shared.metrics.route("crossdock", "getStatus", ""),
            delivery: None,
            fields: Fields::none(),
            is_choice: false,
        });
        if let Err(message) = self.router.insert(&format!("{}{{id}}", status::PREFIX), None, route)
            && let Some(api) = policies.apis.first()
        {
            self.wrong(at(&api.file, &api.spec.path, message));
        }
    }

    fn wrong(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

/// What brings requests that were queued for another version of the upstream to the one it speaks now.
fn former(
    contract: &Contract,
    compiling: &Compiling<'_>,
    target: &ContractVersion,
) -> Vec<(Arc<str>, Arc<contract::Translation>)> {
    let Some(operation) = compiling.operation.as_ref().filter(|_| compiling.is_queueable()) else {
        return Vec::new();
    };
    let others = contract
        .versions
        .iter()
        .filter(|version| version.version != target.version);
    let translations = others.filter_map(|version| {
        let translation = contract
            .translation(&operation.id, &version.version, &target.version)
            .ok()?;
        Some((version.version.clone(), Arc::new(translation)))
    });
    translations.collect()
}

fn at<T>(file: &SourceFile, place: &Spanned<T>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::at(file, place, message)
}

fn nearest(known: impl Iterator<Item = impl AsRef<str>>, what: &str) -> String {
    let known: Vec<String> = known.map(|name| format!("`{}`", name.as_ref())).collect();
    if known.is_empty() {
        format!("there are no {what}")
    } else {
        format!("{what}: {}", known.join(", "))
    }
}
