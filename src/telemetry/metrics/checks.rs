//! How many messages would be refused if their contract was enforced.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::exchange::Caller;

/// Different places of violations that are kept of one channel's messages.
const KEPT: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    api: String,
    version: String,
    channel: String,
    direction: &'static str,
    result: &'static str,
}

/// API, version, channel, direction.
type Key = (String, String, String, &'static str);

/// Messages held against contracts, of all channels. A clone is another handle on the same ones.
#[derive(Clone, Default)]
pub(super) struct Checks {
    checked: Family<CheckLabels, Counter>,
    by_key: Arc<Mutex<BTreeMap<Key, Arc<Checked>>>>,
}

struct Checked {
    conforming: Counter,
    violating: Counter,
    /// Operation and place, and how often.
    places: Mutex<BTreeMap<(Arc<str>, String), u64>>,
}

/// Whether a message came from the channel or goes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

impl Direction {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// What came of the messages of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelChecks {
    pub version: String,
    pub channel: String,
    pub direction: &'static str,
    pub checked: u64,
    pub violated: u64,
    /// Operation, place, how often: the first that were seen.
    pub places: Vec<(Arc<str>, String, u64)>,
}

impl Checks {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Messages held against their contract, whether or not it is enforced";
        registry.register("contract_checks", help, self.checked.clone());
    }

    pub(super) fn version(&self, api: &str, version: &str, channels: usize) -> VersionChecks {
        let none = || std::iter::repeat_with(OnceLock::new).take(channels).collect();
        VersionChecks {
            checks: self.clone(),
            api: api.to_owned(),
            version: version.to_owned(),
            by_channel: [none(), none()],
        }
    }

    /// What came of all messages of an API.
    pub(super) fn of(&self, api: &str) -> Vec<ChannelChecks> {
        let by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let of_api = by_key.iter().filter(|((of, ..), _)| of == api);
        of_api
            .map(|((_, version, channel, direction), checked)| {
                let places = checked.places.lock().unwrap_or_else(PoisonError::into_inner);
                let violated = checked.violating.get();
                ChannelChecks {
                    version: version.clone(),
                    channel: channel.clone(),
                    direction,
                    checked: checked.conforming.get() + violated,
                    violated,
                    places: places
                        .iter()
                        .map(|((operation, at), count)| (operation.clone(), at.clone(), *count))
                        .collect(),
                }
            })
            .collect()
    }

    fn checked(&self, key: Key) -> Arc<Checked> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_key.get(&key) {
            return known.clone();
        }
        let counter = |result| {
            let (api, version, channel, direction) = key.clone();
            let labels = CheckLabels {
                api,
                version,
                channel,
                direction,
                result,
            };
            self.checked.get_or_create(&labels).clone()
        };
        let fresh = Arc::new(Checked {
            conforming: counter("conforms"),
            violating: counter("violates"),
            places: Mutex::default(),
        });
        by_key.insert(key, fresh.clone());
        fresh
    }
}

/// What one operation counts.
pub(super) struct VersionChecks {
    checks: Checks,
    api: String,
    version: String,
    by_channel: [Box<[OnceLock<Arc<Checked>>]>; 2],
}

impl VersionChecks {
    /// A message was held against the contract; `places` are those where it violates it.
    pub(super) fn count(
        &self,
        caller: Option<&Caller>,
        direction: Direction,
        operation: &Arc<str>,
        places: impl Iterator<Item = String>,
    ) {
        let find = || {
            let channel = caller.map_or("", |caller| &caller.channel);
            let key = (
                self.api.clone(),
                self.version.clone(),
                channel.to_owned(),
                direction.as_str(),
            );
            self.checks.checked(key)
        };
        let known = caller.and_then(|caller| self.by_channel[direction as usize].get(caller.index as usize));
        match known {
            Some(known) => known.get_or_init(find).count(operation, places),
            None => find().count(operation, places),
        }
    }
}

impl Checked {
    fn count(&self, operation: &Arc<str>, places: impl Iterator<Item = String>) {
        let mut places = places.peekable();
        if places.peek().is_none() {
            self.conforming.inc();
            return;
        }
        self.violating.inc();
        let mut kept = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        for at in places {
            let place = (operation.clone(), at);
            if kept.len() < KEPT || kept.contains_key(&place) {
                *kept.entry(place).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_channel_and_their_violations_by_place() {
        let checks = Checks::default();
        let caller = Caller {
            channel: "storefront".into(),
            index: 0,
            scopes: Arc::default(),
        };
        let (operation, version) = (Arc::from("createOrder"), checks.version("erp", "v1", 1));
        let count = |places: &[&str]| {
            let places = places.iter().map(|at| (*at).to_owned());
            version.count(Some(&caller), Direction::Request, &operation, places);
        };
        count(&[]);
        count(&["/lines/*/uom", "/total"]);
        count(&["/total"]);
        for number in 0..100 {
            count(&[&format!("/{number}")]);
        }
        let said = &checks.of("erp")[0];
        assert_eq!((said.checked, said.violated, said.places.len()), (103, 102, KEPT));
        assert!(said.places.contains(&(operation.clone(), "/total".to_owned(), 2)));
        assert!(checks.of("wms").is_empty());
    }
}
