//! Candidates: what belongs to a shadow and what to a canary.

use super::Draft;
use crate::config::{ApiSpec, CandidateBySpec, CandidateModeSpec, CandidateSpec, Diagnostic, SourceFile};

pub(super) fn candidate(draft: &Draft, spec: &ApiSpec, file: &SourceFile, found: &mut Vec<Diagnostic>) {
    let Some(candidate) = &spec.candidate else { return };
    let mut wrong = |key: &str, message: String, help: &str| {
        found.push(Diagnostic::at_path(file, &["candidate", key], message).help(help));
    };
    if spec.contract.is_none() {
        wrong(
            "mode",
            "`candidate` of an API without a contract".to_owned(),
            "add `contract`, or remove this",
        );
        return;
    }
    for key in foreign(candidate) {
        let (mode, help) = match candidate.mode.value {
            CandidateModeSpec::Shadow => ("shadow", "beside `mode: shadow` may stand `sample`"),
            CandidateModeSpec::Canary => (
                "canary",
                "beside `mode: canary` may stand `share`, `by`, `channels`, `rollback`, `upstream`",
            ),
        };
        wrong(
            key,
            format!("`{key}` says nothing of a candidate that is a {mode}"),
            help,
        );
    }
    if candidate.mode.value == CandidateModeSpec::Canary {
        if candidate.share.is_none() && candidate.channels.is_empty() {
            let help = "add `share: 5%`, or `channels: [storefront]`, or both";
            wrong("mode", "a canary for nobody".to_owned(), help);
        }
        if candidate.by == Some(CandidateBySpec::Key) && spec.transaction.is_none() {
            let help = "add `transaction`, which says where the key is found";
            wrong("by", "`by: key`, but the API knows no key".to_owned(), help);
        }
        if candidate.rollback.is_some_and(|rollback| rollback.over.0.is_zero()) {
            wrong(
                "rollback",
                "looks back on no time at all".to_owned(),
                "write `over: 5m`",
            );
        }
    }
    if let Some(upstream) = &candidate.upstream {
        draft.refer("Upstream", file, &upstream.name, found);
        if upstream.version.is_none() {
            let message = "the candidate's upstream without the version it speaks";
            let help = "add `version`: `upstream: { name: erp, version: v4 }`";
            found.push(Diagnostic::at(file, &upstream.name, message).help(help));
        }
    }
    for channel in &candidate.channels {
        if channel.value != "anonymous" {
            draft.refer("Channel", file, channel, found);
        }
    }
}

/// Keys that belong to the other mode.
fn foreign(candidate: &CandidateSpec) -> Vec<&'static str> {
    let written = match candidate.mode.value {
        CandidateModeSpec::Canary => vec![("sample", candidate.sample.is_some())],
        CandidateModeSpec::Shadow => vec![
            ("share", candidate.share.is_some()),
            ("by", candidate.by.is_some()),
            ("channels", !candidate.channels.is_empty()),
            ("rollback", candidate.rollback.is_some()),
            // What it would be asked must not be sent twice, so there is no answer to compare.
            ("upstream", candidate.upstream.is_some()),
        ],
    };
    written
        .into_iter()
        .filter_map(|(key, is_written)| is_written.then_some(key))
        .collect()
}
