//! How an API's candidate is tried on each of its operations.

use std::sync::Arc;

use super::{Compiler, at, nearest};
use crate::{
    config::{ApiSpec, CandidateModeSpec, CandidateSpec, Diagnostic, Loaded},
    contract::{Candidate, Contract, ContractVersion, Operation, Translation},
    lifecycle::trial::Trial,
    pipeline::{self, Compiling, Trying},
    policy::trial::{Canary, Draw, Pair, Shadow},
    snapshot::{DeliveryRoute, Route},
    upstream::Upstream,
};

/// Shares of a shadow where nothing is written.
const SAMPLE: f64 = 0.1;

/// The candidate of one API.
pub(super) struct Plan<'a> {
    api: &'a Loaded<ApiSpec>,
    spec: &'a CandidateSpec,
    /// Its mappings.
    contract: &'a Contract,
    /// `None` where only the upstream is another.
    mappings: Option<&'a Candidate>,
    upstream: Arc<Upstream>,
    /// The version it is translated to.
    target: Arc<ContractVersion>,
    path: &'a str,
    trial: Arc<Trial>,
}

impl Plan<'_> {
    /// What of it can still be seen from outside, besides the steps that use it.
    pub(super) fn trial(&self) -> Arc<Trial> {
        self.trial.clone()
    }
}

impl<'c> Compiler<'c> {
    /// The candidate of an API, where it has one that can be tried.
    pub(super) fn plan<'a>(
        &mut self,
        api: &'a Loaded<ApiSpec>,
        live: (&'a Contract, &Arc<ContractVersion>, &Arc<Upstream>),
    ) -> Option<Plan<'a>>
    where
        'c: 'a,
    {
        let (contract, target, upstream) = live;
        let spec = api.spec.candidate.as_ref()?;
        let candidates = self.candidates;
        let mappings = candidates.get(&*contract.name);
        let contract = mappings.map_or(contract, |candidate| &candidate.contract);
        let (upstream, target, path) = match &spec.upstream {
            Some(own) => {
                // What is missing here was reported where the references were checked.
                let upstream = self.upstreams.get(&own.name.value).cloned()?;
                let version = own.version.as_ref()?;
                let Some(target) = contract.version(&version.value) else {
                    let known = nearest(contract.versions.iter().map(|version| &version.version), "versions");
                    let message = format!("contract `{}` has no version `{}`", contract.name, version.value);
                    self.wrong(at(&api.file, version, message).help(known));
                    return None;
                };
                (upstream, target.clone(), own.path.as_str())
            }
            None if mappings.is_none() => {
                let message = format!("contract `{}` has no candidate to be tried", contract.name);
                let help = format!(
                    "put the changed mapping beside the live one, as contracts/{}/v1-v2.candidate.map.yaml, or name \
                     another `upstream`",
                    contract.name
                );
                // Not an error: a candidate that was promoted is gone, while its API may still say how it was tried.
                let nothing = Diagnostic::at_path(&api.file, &["candidate"], message).help(help);
                self.wrong(nothing.warning());
                return None;
            }
            None => (upstream.clone(), target.clone(), api.spec.upstream.path.as_str()),
        };
        let mut hasher = blake3::Hasher::new();
        let own = spec.upstream.as_ref().map(|_| [&*upstream.name, &target.version, path]);
        for part in [api.spec.name.value.as_str()]
            .into_iter()
            .chain(own.into_iter().flatten())
        {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        if let Some(mappings) = mappings {
            hasher.update(mappings.digest.as_bytes());
        }
        let digest = hasher.finalize().to_hex()[..16].to_owned();
        let shared = self.shared;
        let trial = shared.trials.trial(&api.spec.name.value, &digest, &shared.metrics);
        Some(Plan {
            api,
            spec,
            contract,
            mappings,
            upstream,
            target,
            path,
            trial,
        })
    }

    /// How the candidate is tried on an operation that is live as `compiling` says; nothing where it changes nothing.
    /// Errors are phrases.
    pub(super) fn trying(
        &mut self,
        plan: &Plan<'_>,
        compiling: &Compiling<'_>,
        operation: &Arc<Operation>,
    ) -> Result<Option<Trying>, String> {
        let has_own_upstream = plan.spec.upstream.is_some();
        let is_touched = plan
            .mappings
            .is_some_and(|candidate| candidate.touches(&compiling.version, &plan.target.version));
        if !has_own_upstream && !is_touched {
            return Ok(None);
        }
        let spoken = plan.target.operation(&operation.id).cloned().ok_or_else(|| {
            format!(
                "the candidate: the upstream's version {} does not have it",
                plan.target.version
            )
        })?;
        let translation = plan
            .contract
            .translation(&operation.id, &compiling.version, &plan.target.version)
            .map_err(|wrong| format!("the candidate: {wrong}"))?;
        let surroundings = self.surroundings(
            plan.api,
            (plan.contract, &plan.upstream),
            (&compiling.version, &plan.target.version),
            plan.path,
        );
        let translation = Arc::new(translation.within(&surroundings));
        if plan.spec.mode.value == CandidateModeSpec::Shadow {
            return Ok(self.shadow(plan, compiling, operation, spoken, &translation));
        }
        let name = compiling.spec.name.value.as_str();
        let candidate = Compiling {
            spec: compiling.spec,
            version: compiling.version.clone(),
            queued_as: format!("{}{}", compiling.version, Route::CANDIDATE).into(),
            life: None,
            operation: compiling.operation.clone(),
            spoken: Some((plan.target.version.clone(), spoken)),
            translation: Some(translation).filter(|translation| !translation.is_identity()),
            upstream: plan.upstream.clone(),
            upstream_path: plan.path,
            prefix: compiling.prefix.clone(),
            channels: compiling.channels.clone(),
            shared: self.shared,
            resolver: self.resolver.clone(),
            trying: None,
        };
        let route = Arc::new(Route {
            api: name.into(),
            operation: operation.id.clone(),
            version: compiling.version.clone(),
            template: format!("{}{}", compiling.prefix, operation.template).into(),
            steps: pipeline::last_steps(&candidate)?,
            snapshot: self.number,
            metrics: self.shared.metrics.route(name, &operation.id, &compiling.version),
            delivery: Some(DeliveryRoute {
                upstream: plan.upstream.clone(),
                translation: candidate.translation.clone(),
                operation: candidate.spoken.as_ref().map(|(_, operation)| operation.clone()),
                forward: pipeline::forward(&candidate),
                // What is in doubt is sent again under its key, or parked.
                lookup: None,
                limit: compiling.spec.body.0,
                resolver: self.resolver.clone(),
                former: super::former(plan.contract, &candidate, &plan.target),
                spoken: Some(plan.target.version.clone()),
            }),
            fields: crate::lifecycle::Fields::none(),
            is_choice: false,
        });
        self.by_name.insert(
            (
                name.to_owned(),
                operation.id.to_string(),
                candidate.queued_as.to_string(),
            ),
            route.clone(),
        );
        Ok(Some(Trying::Canary(Arc::new(Canary {
            trial: plan.trial.clone(),
            trials: self.shared.trials.clone(),
            draw: Draw::new(name, plan.spec),
            bounds: plan.spec.rollback.unwrap_or_default(),
            candidate: route,
            operation: operation.clone(),
            has_own_upstream,
        }))))
    }

    fn shadow(
        &self,
        plan: &Plan<'_>,
        compiling: &Compiling<'_>,
        operation: &Arc<Operation>,
        spoken: Arc<Operation>,
        candidate: &Translation,
    ) -> Option<Trying> {
        let pair = Pair {
            live: Arc::new(Translation::clone(compiling.translation.as_ref()?).unsealed()),
            candidate: Arc::new(candidate.clone().unsealed()),
            caller: operation.clone(),
            upstream: spoken,
            version: compiling.version.clone(),
        };
        Some(Trying::Shadow(Arc::new(Shadow {
            trial: plan.trial.clone(),
            pair: Arc::new(pair),
            sample: plan.spec.sample.map_or(SAMPLE, |sample| sample.0),
            shadows: self.shared.shadows.clone(),
            resolver: self.resolver.clone(),
        })))
    }
}
