//! The states of an API's versions: what belongs to which, dates that contradict each other, versions that lead nowhere.

use super::Draft;
use crate::config::{ApiSpec, Diagnostic, LifeSpec, OfferedSpec, SourceFile, StateSpec, yaml};

pub(super) fn versions(draft: &Draft, spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let versions = &spec.versions.0;
    for (number, version) in versions.iter().enumerate() {
        if versions[..number]
            .iter()
            .any(|other| other.name.value == version.name.value)
        {
            let message = format!("version `{}` is named twice", version.name.value);
            found.push(Diagnostic::at(file, &version.name, message).help("keep one of them"));
        }
        let mut check = Check {
            draft,
            spec,
            file,
            version,
            found,
        };
        check.keys();
        check.dates();
        check.successor();
        check.channels();
        check.link();
    }
}

struct Check<'a> {
    draft: &'a Draft,
    spec: &'a ApiSpec,
    file: &'a SourceFile,
    version: &'a OfferedSpec,
    found: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    /// Each state has keys of its own; some it needs.
    fn keys(&mut self) {
        let LifeSpec {
            state,
            since,
            sunset,
            successor,
            brown_outs,
            link,
            share,
            by,
            channels,
        } = &self.version.life;
        let written = [
            ("since", since.is_some()),
            ("sunset", sunset.is_some()),
            ("successor", successor.is_some()),
            ("brownOuts", !brown_outs.is_empty()),
            ("link", link.is_some()),
            ("share", share.is_some()),
            ("by", by.is_some()),
            ("channels", !channels.is_empty()),
        ];
        let own: &[&str] = match state {
            StateSpec::Draft => &["channels"],
            StateSpec::Canary => &["share", "by", "channels"],
            StateSpec::Active => &[],
            StateSpec::Deprecated => &["since", "sunset", "successor", "brownOuts", "link"],
            StateSpec::Retired => &["since", "successor", "link"],
        };
        let name = state.as_str();
        for (key, _) in written
            .iter()
            .filter(|(key, is_written)| *is_written && !own.contains(key))
        {
            let help = match own {
                [] => "remove it".to_owned(),
                own => format!("beside `state: {name}` may stand {}", yaml::one_of(own.iter().copied())),
            };
            self.wrong(key, format!("`{key}` says nothing of a version that is `{name}`"), help);
        }
        if *state == StateSpec::Deprecated && since.is_none() {
            let help = "add `since: 2026-06-01`, the day its end was announced";
            self.wrong("state", "`deprecated` without the time since when".to_owned(), help);
        }
        if *state == StateSpec::Canary && share.is_none() && channels.is_empty() {
            let help = "add `share: 5%`, or `channels: [storefront]`, or both";
            self.wrong("state", "`canary` for nobody".to_owned(), help);
        }
        if by.is_some() && share.is_none() && *state == StateSpec::Canary {
            self.wrong("by", "`by` without a share".to_owned(), "add `share: 5%`, or remove it");
        }
    }

    fn dates(&mut self) {
        let life = &self.version.life;
        if let (Some(since), Some(sunset)) = (life.since, life.sunset)
            && sunset < since
        {
            let message = format!("its sunset, {}, comes before it is deprecated, {}", sunset.0, since.0);
            self.wrong("sunset", message, "let some time pass between the two (RFC 8594)");
        }
        for (number, brown_out) in life.brown_outs.iter().enumerate() {
            let (message, help) = if brown_out.to <= brown_out.from {
                (
                    "the brown-out ends before it begins".to_owned(),
                    "write `from` before `to`",
                )
            } else if life.since.is_some_and(|since| brown_out.from < since) {
                let message = "the brown-out comes before the version is deprecated".to_owned();
                (message, "callers are warned first: choose a time after `since`")
            } else if life.sunset.is_some_and(|sunset| brown_out.from >= sunset) {
                let message = "the brown-out comes after the version's sunset".to_owned();
                (message, "by then it is gone: choose a time before `sunset`")
            } else {
                continue;
            };
            let path = [
                "versions",
                &self.version.name.value,
                "brownOuts",
                &number.to_string(),
                "from",
            ];
            self.found
                .push(Diagnostic::at_path(self.file, &path, message).help(help));
        }
    }

    fn successor(&mut self) {
        let Some(successor) = &self.version.life.successor else {
            return;
        };
        let others = self.spec.versions.0.iter().filter(|other| {
            other.name.value != self.version.name.value
                && !matches!(other.life.state, StateSpec::Draft | StateSpec::Retired)
        });
        let names: Vec<&str> = others.map(|other| other.name.value.as_str()).collect();
        if !names.contains(&successor.value.as_str()) {
            let message = format!("`{}` is no version that callers could move to", successor.value);
            let help = match names[..] {
                [] => format!("offer it: add `{}: active` to `versions`", successor.value),
                _ => yaml::instead(&successor.value, names),
            };
            self.found
                .push(Diagnostic::at(self.file, successor, message).help(help));
        }
    }

    fn channels(&mut self) {
        for channel in &self.version.life.channels {
            if channel.value != "anonymous" {
                self.draft.refer("Channel", self.file, channel, self.found);
            }
        }
    }

    fn link(&mut self) {
        let Some(link) = &self.version.life.link else { return };
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ',');
        if !link.chars().all(is_plain) || !(link.starts_with("https://") || link.starts_with("http://")) {
            let message = format!("`{link}` is not a URL that an answer could point to");
            self.wrong("link", message, "write https://HOST/PATH");
        }
    }

    fn wrong(&mut self, key: &str, message: String, help: impl Into<String>) {
        let path = ["versions", &self.version.name.value, key];
        self.found
            .push(Diagnostic::at_path(self.file, &path, message).help(help));
    }
}
