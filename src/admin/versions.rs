//! `/versions`: each API's contract versions, how far each has come, and who calls it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    config::CandidateModeSpec,
    lifecycle::Life,
    shared::Shared,
    snapshot::{ApiTrial, ApiVersions, Snapshot},
    telemetry::{ChannelChecks, VersionCalls},
};

/// What is known of all versions at a moment.
pub(crate) fn document(snapshot: &Snapshot, shared: &Shared, now: Timestamp) -> Value {
    let apis = snapshot.versions.iter().map(|api| of_api(api, shared, now));
    json!({ "apis": apis.collect::<Vec<_>>() })
}

fn of_api(api: &ApiVersions, shared: &Shared, now: Timestamp) -> Value {
    let calls = shared.metrics.calls(&api.api);
    let versions = api.lives.iter().map(|life| of_version(life, &calls, now));
    json!({
        "api": &*api.api,
        "contract": &*api.contract,
        "upstreamVersion": &*api.spoken,
        "versions": versions.collect::<Vec<_>>(),
        "validation": shared.metrics.checks(&api.api).iter().map(of_checks).collect::<Vec<_>>(),
        "candidate": api.trial.as_ref().map(of_trial),
    })
}

fn of_checks(checks: &ChannelChecks) -> Value {
    let places = checks.places.iter();
    json!({
        "version": checks.version,
        "channel": checks.channel,
        "direction": checks.direction,
        "checked": checks.checked,
        "violated": checks.violated,
        "places": places
            .map(|(operation, at, count)| json!({ "operation": &**operation, "at": at, "count": count }))
            .collect::<Vec<_>>(),
    })
}

fn of_trial(trying: &ApiTrial) -> Value {
    let standing = trying.trial.standing();
    let differences = standing.differences.iter().map(|(seen, count)| {
        json!({
            "operation": &*seen.operation,
            "version": &*seen.version,
            "direction": seen.direction,
            "at": seen.difference.at,
            "kind": seen.difference.kind,
            "count": count,
        })
    });
    json!({
        "id": trying.trial.digest(),
        "mode": match trying.mode {
            CandidateModeSpec::Shadow => "shadow",
            CandidateModeSpec::Canary => "canary",
        },
        "served": standing.served,
        "failed": standing.failed,
        "compared": standing.compared,
        "differing": standing.differing,
        "dropped": standing.dropped,
        "rolledBack": standing.rollback.map(|rollback| json!({ "at": rollback.at.to_string(), "why": rollback.why })),
        "differences": differences.collect::<Vec<_>>(),
    })
}

fn of_version(life: &Life, calls: &[VersionCalls], now: Timestamp) -> Value {
    let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    let own = calls.iter().filter(|calls| calls.version == *life.version);
    let channels: Vec<Value> = own
        .clone()
        .map(|calls| json!({ "channel": calls.channel, "requests": calls.requests, "last": calls.last.to_string() }))
        .collect();
    json!({
        "version": &*life.version,
        "state": life.state(now).as_str(),
        "since": moment(life.since),
        "sunset": moment(life.sunset),
        "successor": life.successor.as_deref(),
        "requests": own.map(|calls| calls.requests).sum::<u64>(),
        "channels": channels,
    })
}
