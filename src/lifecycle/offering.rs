//! The versions an API offers, and which of them a caller gets.

use std::{collections::HashMap, sync::Arc};

use super::Signals;
use crate::problem::{Refusal, VersionPlace};

/// All contract versions of an API whose path does not name one.
#[derive(Debug)]
pub(crate) struct Offering {
    /// Oldest first.
    pub(crate) versions: Vec<Arc<str>>,
    /// Position of what a caller gets who names none and has no pin.
    pub(crate) default: usize,
    /// By channel, the position of the version it is pinned to.
    pub(crate) pins: HashMap<Arc<str>, usize>,
}

impl Offering {
    /// The position of the version a caller gets: the one it names, else its channel's pin, else the API's default.
    pub(crate) fn pick(&self, signals: &Signals<'_>, channel: &str) -> Result<usize, Refusal> {
        match signals.asked(|version| self.position(version).is_some())? {
            Some((version, place)) => self.position(version).ok_or_else(|| self.unknown(version, place)),
            None => Ok(self.pins.get(channel).copied().unwrap_or(self.default)),
        }
    }

    fn position(&self, version: &str) -> Option<usize> {
        self.versions.iter().position(|known| **known == *version)
    }

    fn unknown(&self, version: &str, place: VersionPlace) -> Refusal {
        Refusal::UnknownVersion {
            version: version.to_owned(),
            place,
            offered: self.versions.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering() -> Offering {
        Offering {
            versions: ["v1", "v2", "v3"].map(Arc::from).to_vec(),
            default: 0,
            pins: HashMap::from([(Arc::from("storefront"), 1)]),
        }
    }

    fn pick(signals: &Signals<'_>, channel: &str) -> Result<String, u16> {
        let offering = offering();
        match offering.pick(signals, channel) {
            Ok(position) => Ok(offering.versions[position].to_string()),
            Err(refusal) => Err(refusal.status().as_u16()),
        }
    }

    #[test]
    fn a_name_comes_before_a_pin_and_a_pin_before_the_default() {
        let named = |version| Signals {
            field: vec![version],
            ..Signals::default()
        };
        assert_eq!(pick(&named("v3"), "storefront").as_deref(), Ok("v3"));
        assert_eq!(pick(&Signals::default(), "storefront").as_deref(), Ok("v2"));
        assert_eq!(pick(&Signals::default(), "marketplace").as_deref(), Ok("v1"));
    }

    #[test]
    fn an_unknown_version_is_answered_by_where_it_was_named() {
        for (signals, status) in [
            (
                Signals {
                    field: vec!["v9"],
                    ..Signals::default()
                },
                400,
            ),
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
            assert_eq!(pick(&signals, "storefront"), Err(status), "{signals:?}");
        }
        let named = Signals {
            field: vec!["v9"],
            ..Signals::default()
        };
        let refusal = offering().pick(&named, "storefront").unwrap_err();
        assert_eq!(refusal.document("c")["offered"], serde_json::json!(["v1", "v2", "v3"]));
    }
}
