//! The versions an API offers, and which of them a caller gets.

use std::{collections::HashMap, sync::Arc};

use super::{Life, Signals, Who};
use crate::problem::{Refusal, VersionPlace};

/// All contract versions of an API whose path does not name one.
#[derive(Debug)]
pub(crate) struct Offering {
    /// Oldest first.
    pub(crate) versions: Vec<Arc<Life>>,
    /// Position of what a caller gets who names none and has no pin.
    pub(crate) default: usize,
    /// By channel, the position of the version it is pinned to.
    pub(crate) pins: HashMap<Arc<str>, usize>,
}

impl Offering {
    /// The position of the version a caller gets: the one it names, else what is meant for it.
    pub(crate) fn pick(&self, signals: &Signals<'_>, who: Who<'_>) -> Result<usize, Refusal> {
        match signals.asked(|version| self.position(version).is_some())? {
            Some((version, place)) => self.position(version).ok_or_else(|| self.unknown(version, place)),
            None => Ok(self.meant_for(who)),
        }
    }

    /// A canary, the newest first, where it is for this caller; else its channel's pin; else the default.
    ///
    /// A pin holds a channel where it is: no share moves it, only a canary that names it.
    fn meant_for(&self, who: Who<'_>) -> usize {
        let pin = self.pins.get(who.channel).copied();
        let canary = self.versions.iter().rposition(|life| match pin {
            Some(_) => life.is_canary() && life.names(who.channel),
            None => life.draws(who),
        });
        canary.or(pin).unwrap_or(self.default)
    }

    fn position(&self, version: &str) -> Option<usize> {
        self.versions.iter().position(|known| *known.version == *version)
    }

    fn unknown(&self, version: &str, place: VersionPlace) -> Refusal {
        Refusal::UnknownVersion {
            version: version.to_owned(),
            place,
            offered: open(&self.versions),
        }
    }
}

/// Names of the versions that are served to all.
pub(crate) fn open(versions: &[Arc<Life>]) -> Vec<Arc<str>> {
    let open = versions.iter().filter(|life| life.is_open());
    open.map(|life| life.version.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, VersionsSpec, yaml};

    /// v1 and v2 in service, v2 the storefront's pin; v3 as it is written.
    fn offering(v3: &str) -> Offering {
        let file = SourceFile {
            path: "x.yaml".into(),
            text: format!("v1: active\nv2: active\nv3: {v3}\n").into(),
        };
        let versions: VersionsSpec = yaml::read(&file).unwrap();
        let lives = versions.0.iter().map(|version| {
            let name = &version.name.value;
            Arc::new(Life::new("erp-orders", name, &version.life, Arc::from([])))
        });
        Offering {
            versions: lives.collect(),
            default: 0,
            pins: HashMap::from([(Arc::from("storefront"), 1)]),
        }
    }

    fn pick(offering: &Offering, signals: &Signals<'_>, channel: &str) -> Result<String, u16> {
        let who = Who {
            channel,
            correlation: "c",
        };
        match offering.pick(signals, who) {
            Ok(position) => Ok(offering.versions[position].version.to_string()),
            Err(refusal) => Err(refusal.status().as_u16()),
        }
    }

    fn named(version: &str) -> Signals<'_> {
        Signals {
            field: vec![version],
            ..Signals::default()
        }
    }

    #[test]
    fn a_name_comes_before_a_pin_and_a_pin_before_the_default() {
        let offering = offering("active");
        let none = Signals::default();
        assert_eq!(pick(&offering, &named("v3"), "storefront").as_deref(), Ok("v3"));
        assert_eq!(pick(&offering, &none, "storefront").as_deref(), Ok("v2"));
        assert_eq!(pick(&offering, &none, "marketplace").as_deref(), Ok("v1"));
    }

    #[test]
    fn a_canary_takes_its_share_of_calls_without_a_version() {
        let all = offering("{ state: canary, share: 100% }");
        let none = Signals::default();
        assert_eq!(pick(&all, &none, "marketplace").as_deref(), Ok("v3"));
        assert_eq!(pick(&all, &none, "storefront").as_deref(), Ok("v2"), "a pin holds");
        assert_eq!(pick(&all, &named("v1"), "marketplace").as_deref(), Ok("v1"));
        let by_name = offering("{ state: canary, channels: [storefront] }");
        assert_eq!(pick(&by_name, &none, "storefront").as_deref(), Ok("v3"));
        assert_eq!(pick(&by_name, &none, "marketplace").as_deref(), Ok("v1"));
    }

    #[test]
    fn an_unknown_version_is_answered_by_where_it_was_named() {
        let offering = offering("{ state: draft }");
        for (signals, status) in [
            (named("v9"), 400),
            (
                Signals {
                    accept: vec!["v9"],
                    ..Signals::default()
                },
                406,
            ),
            (
                Signals {
                    content_type: Some("v9"),
                    ..Signals::default()
                },
                415,
            ),
        ] {
            assert_eq!(pick(&offering, &signals, "storefront"), Err(status), "{signals:?}");
        }
        let who = Who {
            channel: "storefront",
            correlation: "c",
        };
        let refusal = offering.pick(&named("v9"), who).unwrap_err();
        assert_eq!(refusal.document("c")["offered"], serde_json::json!(["v1", "v2"]));
    }
}
