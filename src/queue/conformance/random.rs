//! Random steps on both logs: the durable one has to do what the oracle does.

use std::time::Duration;

use super::{Short as _, at, by, created, message};
use crate::queue::{
    Act, Admission, Admitted, AttemptOutcome, Failure, HeadOfLine, Lane, Lease, Limits, MemoryLog, MessageFilter,
    MessageLog, MessageState, NewMessage, OrderKey, PauseScope, SqliteLog, StoredRequest, StoredResponse,
};

#[tokio::test]
async fn the_embedded_log_does_what_the_oracle_does() {
    for seed in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        let durable = SqliteLog::open(folder.path(), 16 << 20).unwrap();
        drive(&durable, seed, 150).await;
    }
}

#[tokio::test]
async fn the_log_of_a_fleet_does_what_the_oracle_does() {
    let seeds = std::env::var("CROSSDOCK_RANDOM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    for seed in 0..seeds {
        if let Some(world) = crate::queue::postgres::tests::World::new().await {
            drive(&world.log, seed, 120).await;
        }
    }
}

/// Drives both logs with the same random steps; whatever can be seen has to be the same.
async fn drive(durable: &dyn MessageLog, seed: u64, steps: usize) {
    let oracle = MemoryLog::default();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut leases: Vec<Lease> = Vec::new();
    let mut now = 0;
    for step in 0..steps {
        let place = format!("seed {seed}, step {step}");
        now += random.u64(0..4);
        match random.u8(0..14) {
            0..=2 => {
                let admission = random_admission(&mut random, now);
                let admitted = oracle.admit(admission.clone(), at(now)).await;
                if let Ok(Admitted::New(Some(lease))) = &admitted {
                    leases.push(lease.clone());
                }
                assert_eq!(durable.admit(admission, at(now)).await, admitted, "{place}");
            }
            3..=4 => {
                let (upstream, max) = (random_upstream(&mut random), random.usize(0..4));
                let lease = Duration::from_secs(random.u64(1..30));
                let claimed = oracle.claim(upstream, max, lease, at(now)).await.unwrap();
                leases.extend(claimed.iter().map(|claimed| claimed.lease.clone()));
                assert_eq!(
                    durable.claim(upstream, max, lease, at(now)).await.unwrap(),
                    claimed,
                    "{place}"
                );
            }
            5..=8 if !leases.is_empty() => {
                let lease = leases[random.usize(0..leases.len())].clone();
                match random.u8(0..9) {
                    0..=3 => {
                        let begun = durable.begin_attempt(lease.clone(), at(now)).await;
                        assert_eq!(begun, oracle.begin_attempt(lease, at(now)).await, "{place}");
                    }
                    4 => {
                        let length = Duration::from_secs(random.u64(1..30));
                        let renewed = durable.renew(lease.clone(), length, at(now)).await;
                        assert_eq!(renewed, oracle.renew(lease, length, at(now)).await, "{place}");
                    }
                    _ => {
                        let outcome = random_outcome(&mut random, now);
                        let finished = durable.finish(lease.clone(), outcome.clone(), at(now)).await;
                        assert_eq!(finished, oracle.finish(lease, outcome, at(now)).await, "{place}");
                    }
                }
            }
            9..=10 => {
                let (id, act) = (format!("m{}", random.u8(0..20)), random_act(&mut random));
                let acted = durable.act(&id, act.clone(), by("jo"), at(now)).await;
                assert_eq!(acted, oracle.act(&id, act, by("jo"), at(now)).await, "{place}");
            }
            11 => {
                let scope = random_scope(&mut random);
                if random.bool() {
                    let paused = durable.pause(scope.clone(), by("jo"), at(now)).await;
                    assert_eq!(paused, oracle.pause(scope, by("jo"), at(now)).await, "{place}");
                } else {
                    let resumed = durable.resume(scope.clone(), by("jo"), at(now)).await;
                    assert_eq!(resumed, oracle.resume(scope, by("jo"), at(now)).await, "{place}");
                }
            }
            _ => {
                let retention = Duration::from_mins(1);
                let report = oracle.sweep(retention, at(now)).await;
                assert_eq!(durable.sweep(retention, at(now)).await, report, "{place}");
            }
        }
        compare(durable, &oracle, now, &place).await;
    }
}

async fn compare(durable: &dyn MessageLog, oracle: &MemoryLog, now: u64, place: &str) {
    assert_eq!(durable.due().await, oracle.due().await, "{place}");
    assert_eq!(durable.stats(at(now)).await, oracle.stats(at(now)).await, "{place}");
    assert_eq!(durable.pauses().await, oracle.pauses().await, "{place}");
    assert_eq!(durable.health(), oracle.health(), "{place}");
    for number in 0..20 {
        let id = format!("m{number}");
        assert_eq!(durable.get(&id).await, oracle.get(&id).await, "{place}");
        assert_eq!(durable.show(&id).await, oracle.show(&id).await, "{place}");
        assert_eq!(
            durable.find([number; 32]).await,
            oracle.find([number; 32]).await,
            "{place}"
        );
    }
    let dead = MessageFilter {
        states: vec![MessageState::Dead, MessageState::Parked],
        ..MessageFilter::default()
    };
    for filter in [MessageFilter::default(), dead] {
        let listed = oracle.list(filter.clone(), None, 100).await.unwrap();
        assert_eq!(
            durable.list(filter.clone(), None, 100).await.unwrap().items,
            listed.items,
            "{place}"
        );
    }
    let copies = oracle.export(None, 100).await.unwrap();
    assert_eq!(durable.export(None, 100).await.unwrap().items, copies.items, "{place}");
    let mut under_way = std::collections::HashSet::new();
    for copy in copies.items {
        if copy.standing.leased_until.is_some() {
            assert!(
                under_way.insert(copy.message.order_key),
                "two of one key under way: {place}"
            );
        }
    }
    for upstream in ["erp", "wms"] {
        for value in ["a", "b", "c"] {
            let key = OrderKey {
                upstream: upstream.into(),
                value: value.into(),
            };
            assert_eq!(durable.depth(&key).await, oracle.depth(&key).await, "{place}");
            assert_eq!(
                durable.gate("stock", &key).await,
                oracle.gate("stock", &key).await,
                "{place}"
            );
        }
    }
}

fn random_upstream(random: &mut fastrand::Rng) -> &'static str {
    if random.u8(0..4) == 0 { "wms" } else { "erp" }
}

fn random_admission(random: &mut fastrand::Rng, now: u64) -> Admission {
    let number = random.u8(0..20);
    let is_synchronous = random.u8(0..4) == 0;
    let message = NewMessage {
        api: ["orders", "stock"][random.usize(0..2)].into(),
        channel: ["edi", "shop", "web"][random.usize(0..3)].into(),
        order_key: OrderKey {
            upstream: random_upstream(random).into(),
            value: ["a", "b", "c"][random.usize(0..3)].into(),
        },
        lane: Lane::ALL[random.usize(0..3)],
        head_of_line: HeadOfLine::ALL[random.usize(0..2)],
        deadline: at(now + random.u64(1..120)),
        max_attempts: random.u32(1..4),
        is_in_doubt: random.u8(0..6) == 0,
        is_synchronous,
        ..message(number, "a")
    };
    Admission {
        message,
        limits: Limits {
            api: (random.u8(0..4) == 0).then_some(4),
            channel: (random.u8(0..4) == 0).then_some(2),
        },
        attempt: is_synchronous.then_some(Duration::from_secs(20)),
    }
}

fn random_act(random: &mut fastrand::Rng) -> Act {
    match random.u8(0..7) {
        0..=1 => Act::Retry,
        2 => Act::Discard,
        3 => Act::Happened,
        4 => Act::DidNotHappen,
        _ => Act::Edit {
            request: Box::new(StoredRequest {
                method: "POST".into(),
                body: random.u32(..).to_string().into(),
                ..StoredRequest::default()
            }),
            retry: random.bool(),
        },
    }
}

fn random_scope(random: &mut fastrand::Rng) -> PauseScope {
    match random.u8(0..12) {
        0 => PauseScope::All,
        1 => PauseScope::Intake,
        2..=4 => PauseScope::Upstream(random_upstream(random).into()),
        5..=7 => PauseScope::Api("stock".into()),
        _ => PauseScope::Key(OrderKey {
            upstream: "erp".into(),
            value: ["a", "b", "c"][random.usize(0..3)].into(),
        }),
    }
}

fn random_outcome(random: &mut fastrand::Rng, now: u64) -> AttemptOutcome {
    let next = at(now + random.u64(0..20));
    match random.u8(0..11) {
        0..=1 => AttemptOutcome::Delivered(created()),
        8 => AttemptOutcome::Answered(created()),
        9 => AttemptOutcome::Forgotten,
        10 => AttemptOutcome::Lost {
            at: next,
            failure: Failure::technical("panic"),
        },
        2 => AttemptOutcome::Rejected(StoredResponse {
            status: 422,
            ..created()
        }),
        3..=4 => AttemptOutcome::RetryAt {
            at: next,
            failure: Failure::technical("busy"),
            counts: random.bool(),
        },
        5 => AttemptOutcome::InDoubt {
            at: next,
            failure: Failure::technical("reset"),
        },
        6 => AttemptOutcome::Parked {
            failure: Failure::technical("nobody knows"),
        },
        _ => AttemptOutcome::Dead {
            failure: Failure::technical("used up"),
            is_in_doubt: false,
        },
    }
}
