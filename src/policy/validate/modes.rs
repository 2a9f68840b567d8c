//! What is done about violations, of all channels and of single ones.

use std::collections::HashMap;

use crate::config::{ApiSpec, EnforceSpec};

/// What is done about requests and responses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    pub request: EnforceSpec,
    pub response: EnforceSpec,
}

impl Mode {
    fn is_off(self) -> bool {
        self.request == EnforceSpec::Off && self.response == EnforceSpec::Off
    }
}

/// The modes of one API.
#[derive(Debug)]
pub struct Modes {
    all: Mode,
    channels: HashMap<String, Mode>,
}

impl Modes {
    /// As it is written. Where nothing is, requests are enforced and responses reported.
    pub fn new(spec: &ApiSpec) -> Self {
        let all = Mode {
            request: spec.validate.request.unwrap_or(EnforceSpec::Enforce),
            response: spec.validate.response.unwrap_or(EnforceSpec::Report),
        };
        let channels = spec.validate.channels.iter().map(|(channel, own)| {
            let mode = Mode {
                request: own.request.unwrap_or(all.request),
                response: own.response.unwrap_or(all.response),
            };
            (channel.clone(), mode)
        });
        Self {
            all,
            channels: channels.collect(),
        }
    }

    /// What is done about a channel's messages.
    pub fn of(&self, channel: &str) -> Mode {
        if self.channels.is_empty() {
            return self.all;
        }
        self.channels.get(channel).copied().unwrap_or(self.all)
    }

    /// Whether nobody's messages are looked at.
    pub fn is_off(&self) -> bool {
        self.all.is_off() && self.channels.values().all(|mode| mode.is_off())
    }

    /// Whether somebody's requests are looked at.
    pub fn reads_requests(&self) -> bool {
        let mut all = self.channels.values().chain([&self.all]);
        all.any(|mode| mode.request != EnforceSpec::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, yaml};

    fn modes(validate: &str) -> Modes {
        let text = format!(
            "kind: Api\nname: a\ntier: system\npath: /a\nupstream: {{ name: erp }}\nauthenticate: [jwt]\n{validate}\n"
        );
        let file = SourceFile {
            path: "x.yaml".into(),
            text: text.into(),
        };
        Modes::new(&yaml::read(&file).unwrap_or_else(|wrong| panic!("{wrong}")))
    }

    #[test]
    fn a_channel_may_have_a_mode_of_its_own() {
        let modes = modes("validate: { channels: { edi: { request: report } } }");
        let (edi, other) = (modes.of("edi"), modes.of("storefront"));
        assert_eq!((edi.request, edi.response), (EnforceSpec::Report, EnforceSpec::Report));
        assert_eq!(
            (other.request, other.response),
            (EnforceSpec::Enforce, EnforceSpec::Report)
        );
    }

    #[test]
    fn what_is_off_for_all_but_one_is_not_off() {
        assert!(modes("validate: { request: off, response: off }").is_off());
        let one = modes("validate: { request: off, response: off, channels: { edi: { request: { sampled: 5% } } } }");
        assert!(!one.is_off() && one.reads_requests());
    }
}
