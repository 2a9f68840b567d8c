//! Which versions an API offers, and how a request finds its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::Method;

use super::{Compiler, at, nearest};
use crate::{
    config::{ApiSpec, Diagnostic, LifeSpec, Loaded, OfferedSpec, Policies, Spanned, StateSpec},
    contract::{Contract, ContractVersion},
    lifecycle::{self, Fields, Life, Offering},
    policy::{
        self,
        authenticate::{Authenticate, ChannelTable},
        choose::Choose,
    },
    snapshot::{Methods, Route, router::positional},
};

/// One version of an API, about to be compiled.
pub(super) struct Offered {
    pub(super) life: Arc<Life>,
    /// `None` for a retired version that the contract does not describe any more.
    pub(super) contract: Option<Arc<ContractVersion>>,
}

impl Compiler<'_> {
    /// The versions an API offers, oldest first: those it lists, else all that mappings join to the upstream's.
    pub(super) fn offered(
        &mut self,
        api: &Loaded<ApiSpec>,
        contract: &Contract,
        target: &ContractVersion,
    ) -> Vec<Offered> {
        let is_open = |life: &LifeSpec| matches!(life.state, StateSpec::Active | StateSpec::Deprecated);
        let listed = &api.spec.versions.0;
        let name = &api.spec.name.value;
        if listed.is_empty() {
            let is_joined = |version: &&Arc<ContractVersion>| contract.is_joined(&version.version, &target.version);
            let versions = contract.versions.iter().filter(is_joined);
            let active = LifeSpec::plain(StateSpec::Active);
            return versions
                .map(|version| Offered {
                    life: Arc::new(Life::new(name, &version.version, &active, Arc::from([]))),
                    contract: Some(version.clone()),
                })
                .collect();
        }
        let open = listed.iter().filter(|version| is_open(&version.life));
        let open: Arc<[Arc<str>]> = open.map(|version| version.name.value.as_str().into()).collect();
        let mut offered = Vec::new();
        for OfferedSpec { name: version, life } in listed {
            let described = contract.version(&version.value);
            let joined = described.filter(|_| contract.is_joined(&version.value, &target.version));
            // Nothing is served of a retired version: its files may be gone.
            if joined.is_none() && life.state != StateSpec::Retired {
                self.wrong(missing(api, contract, target, version));
                continue;
            }
            offered.push(Offered {
                life: Arc::new(Life::new(name, &version.value, life, open.clone())),
                contract: joined.cloned(),
            });
        }
        // In whichever order they are written. A version whose files are gone was one of the first.
        let age = |offered: &Offered| {
            let is_it = |version: &Arc<ContractVersion>| version.version == offered.life.version;
            contract.versions.iter().position(is_it)
        };
        offered.sort_by_key(age);
        offered
    }

    /// The path names the version: each route stands at a path of its own.
    pub(super) fn by_path(
        &mut self,
        api: &Loaded<ApiSpec>,
        channels: &Arc<ChannelTable>,
        lives: &[Arc<Life>],
        routes: Vec<(Method, Arc<Route>)>,
    ) {
        let known = lives
            .iter()
            .map(|life| (life.version.clone(), Arc::new(Fields::of(life, &api.spec.path.value))))
            .collect();
        let mut placed = vec![
            self.router
                .offer_versions(&api.spec.path.value, known, lifecycle::open(lives)),
        ];
        for (method, route) in routes {
            placed.push(self.router.insert(&route.template.clone(), Some(method), route));
        }
        for life in lives.iter().filter(|life| life.state == StateSpec::Retired) {
            let prefix = api.spec.path.value.replace("{version}", &life.version);
            let route = self.retired(api, channels, life, &prefix);
            placed.push(self.router.insert(&prefix, None, route.clone()));
            placed.push(self.router.insert(&format!("{prefix}/{{*rest}}"), None, route));
        }
        for wrong in placed.into_iter().filter_map(Result::err) {
            self.wrong(at(&api.file, &api.spec.path, wrong));
        }
    }

    /// The path does not name the version: at each path stands a choice, which leads to the routes of all versions.
    pub(super) fn by_choice(
        &mut self,
        policies: &Policies,
        api: &Loaded<ApiSpec>,
        channels: &Arc<ChannelTable>,
        lives: Vec<Arc<Life>>,
        routes: Vec<(Method, Arc<Route>)>,
    ) {
        let mut paths: BTreeMap<String, (Arc<str>, Vec<Methods>)> = BTreeMap::new();
        for (method, route) in routes {
            let Some(version) = lives.iter().position(|life| life.version == route.version) else {
                continue;
            };
            let (_, versions) = paths.entry(positional(&route.template)).or_insert_with(|| {
                let none = lives.iter().map(|_| Methods::default()).collect();
                (route.template.clone(), none)
            });
            if let Err(wrong) = versions[version].insert(Some(method), route) {
                self.wrong(at(&api.file, &api.spec.path, wrong));
            }
        }
        for (position, life) in lives.iter().enumerate() {
            if life.state == StateSpec::Retired {
                for (template, versions) in paths.values_mut() {
                    versions[position] = Methods::all(self.retired(api, channels, life, template));
                }
            }
        }
        let default = if let Some(version) = &api.spec.default_version {
            self.version_of(api, version, &lives, api)
        } else {
            // The oldest that is served to all; where there is none, the oldest that is served to anybody.
            let open = lives.iter().position(|life| life.is_open());
            open.or_else(|| lives.iter().position(|life| life.state != StateSpec::Retired))
        };
        let pins = self.pins(policies, api, &lives);
        let offering = Arc::new(Offering {
            versions: lives,
            default: default.unwrap_or(0),
            pins,
        });
        let fields = offering.versions.iter();
        let fields = fields.map(|life| Arc::new(Fields::of(life, &api.spec.path.value)));
        let fields: Arc<[Arc<Fields>]> = fields.collect();
        let name = api.spec.name.value.as_str();
        for (template, versions) in paths.into_values() {
            let authenticate = Authenticate::new(
                &api.spec.authenticate,
                api.spec.body.0,
                channels.clone(),
                self.shared.tokens.clone(),
            );
            let route = Arc::new(Route {
                api: name.into(),
                operation: "choose".into(),
                version: "".into(),
                template: template.clone(),
                steps: vec![
                    Box::new(authenticate),
                    Box::new(Choose::new(offering.clone(), versions, fields.clone())),
                ],
                snapshot: self.number,
                metrics: self.shared.metrics.route(name, "choose", ""),
                delivery: None,
                fields: Fields::undecided(),
                is_choice: true,
            });
            if let Err(wrong) = self.router.insert(&template, None, route) {
                self.wrong(at(&api.file, &api.spec.path, wrong));
            }
        }
    }

    /// What stands in the place of a retired version's operations. It asks who calls, so that one can tell them.
    fn retired(
        &self,
        api: &Loaded<ApiSpec>,
        channels: &Arc<ChannelTable>,
        life: &Arc<Life>,
        template: &str,
    ) -> Arc<Route> {
        let name = api.spec.name.value.as_str();
        let authenticate = Authenticate::new(
            &api.spec.authenticate,
            api.spec.body.0,
            channels.clone(),
            self.shared.tokens.clone(),
        );
        let metrics = self.shared.metrics.route(name, "retired", &life.version);
        Arc::new(Route {
            api: name.into(),
            operation: "retired".into(),
            version: life.version.clone(),
            template: template.into(),
            steps: vec![Box::new(authenticate), Box::new(policy::life::Life::new(life.clone()))],
            snapshot: self.number,
            metrics: metrics.by_channel(&life.version, channels.indexes()),
            delivery: None,
            fields: Fields::of(life, &api.spec.path.value),
            is_choice: false,
        })
    }

    fn pins(&mut self, policies: &Policies, api: &Loaded<ApiSpec>, lives: &[Arc<Life>]) -> HashMap<Arc<str>, usize> {
        let mut pins = HashMap::new();
        for channel in &policies.channels {
            let Some(pin) = channel.spec.versions.get(&api.spec.name.value) else {
                continue;
            };
            if let Some(position) = self.version_of(channel, pin, lives, api) {
                pins.insert(channel.spec.name.value.as_str().into(), position);
            }
        }
        pins
    }

    /// Where a version that some file names stands among those an API offers.
    fn version_of<T>(
        &mut self,
        file: &Loaded<T>,
        version: &Spanned<String>,
        lives: &[Arc<Life>],
        api: &Loaded<ApiSpec>,
    ) -> Option<usize> {
        let position = lives.iter().position(|life| *life.version == *version.value);
        if position.is_none() {
            let message = format!(
                "API `{}` does not offer version `{}`",
                api.spec.name.value, version.value
            );
            self.wrong(
                at(&file.file, version, message).help(nearest(lives.iter().map(|life| &life.version), "versions")),
            );
        }
        position
    }
}

/// What is wrong with a version that an API lists but its contract cannot serve.
fn missing(
    api: &Loaded<ApiSpec>,
    contract: &Contract,
    target: &ContractVersion,
    version: &Spanned<String>,
) -> Diagnostic {
    if contract.version(&version.value).is_some() {
        let message = format!(
            "no mappings join version `{}` to the upstream's `{}`",
            version.value, target.version
        );
        let help = "add the mapping files between them, or offer fewer versions";
        return at(&api.file, version, message).help(help);
    }
    let known = nearest(contract.versions.iter().map(|version| &version.version), "versions");
    let message = format!("contract `{}` has no version `{}`", contract.name, version.value);
    at(&api.file, version, message).help(known)
}
