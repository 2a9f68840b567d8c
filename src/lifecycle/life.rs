//! How far one version of one API has come, and what that means for a caller at a moment.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::cohort;
use crate::{
    config::{CohortSpec, LifeSpec, StateSpec},
    problem::Refusal,
};

/// The life of one version.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) version: Arc<str>,
    pub(crate) state: StateSpec,
    pub(crate) since: Option<Timestamp>,
    pub(crate) sunset: Option<Timestamp>,
    pub(crate) successor: Option<Arc<str>>,
    pub(crate) link: Option<String>,
    brown_outs: Vec<(Timestamp, Timestamp)>,
    share: f64,
    by: CohortSpec,
    channels: Vec<Arc<str>>,
    /// Keeps the share of this version apart from others.
    salt: String,
    /// Versions of the API that are served to all.
    open: Arc<[Arc<str>]>,
}

/// What of a caller counts for who is let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub(crate) channel: &'a str,
    pub(crate) correlation: &'a str,
}

impl Life {
    /// Of one version of an API; `open` are the API's versions that are served to all.
    pub(crate) fn new(api: &str, version: &str, spec: &LifeSpec, open: Arc<[Arc<str>]>) -> Self {
        Self {
            version: version.into(),
            state: spec.state,
            since: spec.since.map(|since| since.0),
            sunset: spec.sunset.map(|sunset| sunset.0),
            successor: spec.successor.as_ref().map(|successor| successor.value.as_str().into()),
            link: spec.link.clone(),
            brown_outs: spec.brown_outs.iter().map(|time| (time.from.0, time.to.0)).collect(),
            share: spec.share.map_or(0.0, |share| share.0),
            by: spec.by.unwrap_or_default(),
            channels: spec.channels.iter().map(|name| name.value.as_str().into()).collect(),
            salt: format!("{api}/{version}"),
            open,
        }
    }

    /// Whether everybody is served at all times, so that no request need be asked about.
    pub(crate) fn is_plain(&self) -> bool {
        self.state == StateSpec::Active
    }

    /// Whether it is served to all, brown-outs aside.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, StateSpec::Active | StateSpec::Deprecated)
    }

    /// Whether it is served to some first.
    pub(crate) fn is_canary(&self) -> bool {
        self.state == StateSpec::Canary
    }

    /// The state at a moment: a deprecated version is retired once its sunset has come.
    pub(crate) fn state(&self, now: Timestamp) -> StateSpec {
        match (self.state, self.sunset) {
            (StateSpec::Deprecated, Some(sunset)) if now >= sunset => StateSpec::Retired,
            (state, _) => state,
        }
    }

    /// Whether a caller that asks for this version is served.
    pub(crate) fn admit(&self, who: Who<'_>, now: Timestamp) -> Result<(), Refusal> {
        match self.state(now) {
            StateSpec::Active => Ok(()),
            StateSpec::Draft if self.names(who.channel) => Ok(()),
            StateSpec::Draft => Err(Refusal::DraftVersion {
                version: self.version.clone(),
                offered: self.open.to_vec(),
            }),
            StateSpec::Canary if self.draws(who) => Ok(()),
            StateSpec::Canary => Err(Refusal::CanaryVersion {
                version: self.version.clone(),
                offered: self.open.to_vec(),
            }),
            StateSpec::Deprecated => self.brown_out(now),
            StateSpec::Retired => Err(Refusal::RetiredVersion {
                version: self.version.clone(),
                since: self.sunset.or(self.since),
                successor: self.successor.clone(),
            }),
        }
    }

    /// Whether the canary is for this caller: its channel is named, or it belongs to the share.
    pub(crate) fn draws(&self, who: Who<'_>) -> bool {
        let value = match self.by {
            CohortSpec::Channel => who.channel,
            CohortSpec::Correlation => who.correlation,
        };
        self.state == StateSpec::Canary && (self.names(who.channel) || cohort::is_in(&self.salt, value, self.share))
    }

    /// Whether this channel is one of those that are let in by name.
    pub(crate) fn names(&self, channel: &str) -> bool {
        self.channels.iter().any(|named| **named == *channel)
    }

    fn brown_out(&self, now: Timestamp) -> Result<(), Refusal> {
        let Some((_, end)) = self.brown_outs.iter().find(|(from, to)| (*from..*to).contains(&now)) else {
            return Ok(());
        };
        Err(Refusal::BrownOut {
            version: self.version.clone(),
            until: *end,
            retry_after: Duration::try_from(end.duration_since(now)).unwrap_or_default(),
            sunset: self.sunset,
            successor: self.successor.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, VersionsSpec, yaml};

    /// The life that is written, of version v1.
    fn life(written: &str) -> Life {
        let file = SourceFile {
            path: "x.yaml".into(),
            text: format!("v1: {written}").into(),
        };
        let versions: VersionsSpec = yaml::read(&file).unwrap_or_else(|wrong| panic!("{wrong}"));
        Life::new("erp-orders", "v1", &versions.0[0].life, Arc::from([Arc::from("v2")]))
    }

    fn at(now: &str) -> Timestamp {
        now.parse().unwrap()
    }

    /// The status of the problem a channel gets, 200 where it is served.
    fn served(life: &Life, channel: &str, now: &str) -> u16 {
        let who = Who {
            channel,
            correlation: "c-1",
        };
        life.admit(who, at(now))
            .map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    const NOON: &str = "2027-03-01T12:00:00Z";

    #[test]
    fn a_draft_is_for_its_testers() {
        let life = life("{ state: draft, channels: [storefront] }");
        assert_eq!(
            (served(&life, "storefront", NOON), served(&life, "marketplace", NOON)),
            (200, 404)
        );
    }

    #[test]
    fn a_canary_is_for_named_channels_and_a_share() {
        let named = life("{ state: canary, channels: [storefront] }");
        assert_eq!(
            (served(&named, "storefront", NOON), served(&named, "marketplace", NOON)),
            (200, 404)
        );
        let all = life("{ state: canary, share: 100% }");
        assert_eq!(served(&all, "marketplace", NOON), 200);
        let half = life("{ state: canary, share: 50%, by: correlation }");
        let draws = |number: u32| {
            half.draws(Who {
                channel: "storefront",
                correlation: &number.to_string(),
            })
        };
        let count = (0..1_000).filter(|number| draws(*number)).count();
        assert!((400..600).contains(&count), "{count}");
        assert!((0..100).all(|number| draws(number) == draws(number)));
    }

    #[test]
    fn a_deprecated_version_is_served_until_its_sunset_but_for_its_brown_outs() {
        let life = life(
            "{ state: deprecated, since: 2026-06-01, sunset: 2027-06-01, successor: v2,
               brownOuts: [{ from: 2027-03-01T12:00:00Z, to: 2027-03-01T13:00:00Z }] }",
        );
        for (now, status) in [
            ("2026-01-01T00:00:00Z", 200),
            ("2027-03-01T11:59:59Z", 200),
            ("2027-03-01T12:00:00Z", 503),
            ("2027-03-01T12:59:59Z", 503),
            ("2027-03-01T13:00:00Z", 200),
            ("2027-05-31T23:59:59Z", 200),
            ("2027-06-01T00:00:00Z", 410),
        ] {
            assert_eq!(served(&life, "storefront", now), status, "{now}");
        }
        assert_eq!(life.state(at("2027-06-01T00:00:00Z")), StateSpec::Retired);
    }

    #[test]
    fn a_brown_out_says_when_it_ends_and_a_retired_version_what_to_use_instead() {
        let who = Who {
            channel: "storefront",
            correlation: "c",
        };
        let brown_out = life(
            "{ state: deprecated, since: 2026-06-01, successor: v2, brownOuts: [{ from: 2027-03-01, to: 2027-03-02 }] }",
        );
        let response = brown_out.admit(who, at(NOON)).unwrap_err().into_response("c");
        assert_eq!(response.headers()["retry-after"], "43200");
        let retired = life("{ state: retired, successor: v2 }")
            .admit(who, at(NOON))
            .unwrap_err();
        assert_eq!(retired.document("c")["successor"], "v2");
        assert!(retired.to_string().contains("use v2"), "{retired}");
    }

    #[test]
    fn a_word_alone_is_a_state() {
        assert_eq!(life("active").state, StateSpec::Active);
        assert_eq!(life("retired").state, StateSpec::Retired);
        assert!(life("active").is_plain());
    }
}
