//! Which versions an API offers, and how a request finds its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::Method;

use super::{Compiler, at, nearest};
use crate::{
    config::{ApiSpec, Loaded, Policies, Spanned},
    contract::{Contract, ContractVersion},
    lifecycle::{Fields, Offering},
    policy::{
        authenticate::{Authenticate, ChannelTable},
        choose::Choose,
    },
    snapshot::{Methods, Route, router::positional},
};

impl Compiler<'_> {
    /// The versions an API offers: those it lists, else all that mappings join to the upstream's.
    pub(super) fn offered(
        &mut self,
        api: &Loaded<ApiSpec>,
        contract: &Contract,
        target: &ContractVersion,
    ) -> Vec<Arc<ContractVersion>> {
        if api.spec.versions.is_empty() {
            let is_joined = |version: &&Arc<ContractVersion>| contract.is_joined(&version.version, &target.version);
            return contract.versions.iter().filter(is_joined).cloned().collect();
        }
        let mut offered = Vec::new();
        for name in &api.spec.versions {
            match contract.version(&name.value) {
                Some(version) if contract.is_joined(&name.value, &target.version) => offered.push(version.clone()),
                Some(_) => {
                    let message = format!(
                        "no mappings join version `{}` to the upstream's `{}`",
                        name.value, target.version
                    );
                    self.wrong(
                        at(&api.file, name, message)
                            .help("add the mapping files between them, or offer fewer versions"),
                    );
                }
                None => {
                    let known = nearest(contract.versions.iter().map(|version| &version.version), "versions");
                    let message = format!("contract `{}` has no version `{}`", contract.name, name.value);
                    self.wrong(at(&api.file, name, message).help(known));
                }
            }
        }
        // Oldest first, in whichever order they are written.
        let age = |offered: &Arc<ContractVersion>| {
            let is_it = |version: &Arc<ContractVersion>| version.version == offered.version;
            contract.versions.iter().position(is_it)
        };
        offered.sort_by_key(age);
        offered
    }

    /// The path names the version: each route stands at a path of its own.
    pub(super) fn by_path(&mut self, api: &Loaded<ApiSpec>, offered: &[Arc<str>], routes: Vec<(Method, Arc<Route>)>) {
        if let Err(wrong) = self.router.offer_versions(&api.spec.path.value, offered) {
            self.wrong(at(&api.file, &api.spec.path, wrong));
        }
        for (method, route) in routes {
            if let Err(wrong) = self.router.insert(&route.template.clone(), Some(method), route) {
                self.wrong(at(&api.file, &api.spec.path, wrong));
            }
        }
    }

    /// The path does not name the version: at each path stands a choice, which leads to the routes of all versions.
    pub(super) fn by_choice(
        &mut self,
        policies: &Policies,
        api: &Loaded<ApiSpec>,
        channels: &Arc<ChannelTable>,
        offered: Vec<Arc<str>>,
        routes: Vec<(Method, Arc<Route>)>,
    ) {
        let mut paths: BTreeMap<String, (Arc<str>, Vec<Methods>)> = BTreeMap::new();
        for (method, route) in routes {
            let Some(version) = offered.iter().position(|version| *version == route.version) else {
                continue;
            };
            let (_, versions) = paths.entry(positional(&route.template)).or_insert_with(|| {
                let none = offered.iter().map(|_| Methods::default()).collect();
                (route.template.clone(), none)
            });
            if let Err(wrong) = versions[version].insert(method, route) {
                self.wrong(at(&api.file, &api.spec.path, wrong));
            }
        }
        let default = match &api.spec.default_version {
            Some(version) => self.version_of(api, version, &offered, api),
            None => Some(0),
        };
        let pins = self.pins(policies, api, &offered);
        let offering = Arc::new(Offering {
            versions: offered,
            default: default.unwrap_or(0),
            pins,
        });
        let name = api.spec.name.value.as_str();
        for (template, versions) in paths.into_values() {
            let authenticate = Authenticate::new(&api.spec.authenticate, channels.clone(), self.shared.tokens.clone());
            let route = Arc::new(Route {
                api: name.into(),
                operation: "choose".into(),
                version: "".into(),
                template: template.clone(),
                steps: vec![
                    Box::new(authenticate),
                    Box::new(Choose::new(offering.clone(), versions)),
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

    fn pins(&mut self, policies: &Policies, api: &Loaded<ApiSpec>, offered: &[Arc<str>]) -> HashMap<Arc<str>, usize> {
        let mut pins = HashMap::new();
        for channel in &policies.channels {
            let Some(pin) = channel.spec.versions.get(&api.spec.name.value) else {
                continue;
            };
            if let Some(position) = self.version_of(channel, pin, offered, api) {
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
        offered: &[Arc<str>],
        api: &Loaded<ApiSpec>,
    ) -> Option<usize> {
        let position = offered.iter().position(|known| **known == *version.value);
        if position.is_none() {
            let message = format!(
                "API `{}` does not offer version `{}`",
                api.spec.name.value, version.value
            );
            self.wrong(at(&file.file, version, message).help(nearest(offered.iter(), "versions")));
        }
        position
    }
}
