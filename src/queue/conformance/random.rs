//! Random steps on both logs: the durable one has to do what the oracle does.

use std::time::Duration;

use super::{at, created, message};
use crate::queue::{
    AttemptOutcome, Lane, Lease, MemoryLog, MessageLog, NewMessage, OrderKey, SqliteLog, StoredResponse,
};

/// Drives both logs with the same random steps; whatever can be seen has to be the same.
#[tokio::test]
async fn the_durable_log_does_what_the_oracle_does() {
    for seed in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        let durable = SqliteLog::open(folder.path(), 16 << 20).unwrap();
        let oracle = MemoryLog::default();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut leases: Vec<Lease> = Vec::new();
        let mut now = 0;
        for step in 0..150 {
            let place = format!("seed {seed}, step {step}");
            now += random.u64(0..4);
            match random.u8(0..10) {
                0..=2 => {
                    let new = random_message(&mut random, now);
                    assert_eq!(
                        durable.admit(new.clone(), at(now)).await,
                        oracle.admit(new, at(now)).await,
                        "{place}"
                    );
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
                    let index = random.usize(0..leases.len());
                    let lease = leases[index].clone();
                    if random.bool() {
                        let begun = durable.begin_attempt(lease.clone(), at(now)).await;
                        assert_eq!(begun, oracle.begin_attempt(lease, at(now)).await, "{place}");
                    } else {
                        let outcome = random_outcome(&mut random, now);
                        let finished = durable.finish(lease.clone(), outcome.clone(), at(now)).await;
                        assert_eq!(finished, oracle.finish(lease, outcome, at(now)).await, "{place}");
                    }
                }
                _ => {
                    let retention = Duration::from_mins(1);
                    let report = oracle.sweep(retention, at(now)).await;
                    assert_eq!(durable.sweep(retention, at(now)).await, report, "{place}");
                }
            }
            compare(&durable, &oracle, now, &place).await;
        }
    }
}

async fn compare(durable: &SqliteLog, oracle: &MemoryLog, now: u64, place: &str) {
    assert_eq!(durable.due().await, oracle.due().await, "{place}");
    assert_eq!(durable.stats(at(now)).await, oracle.stats(at(now)).await, "{place}");
    for number in 0..20 {
        let id = format!("m{number}");
        assert_eq!(durable.get(&id).await, oracle.get(&id).await, "{place}");
        assert_eq!(
            durable.find([number; 32]).await,
            oracle.find([number; 32]).await,
            "{place}"
        );
    }
    for (upstream, value) in [
        ("erp", "a"),
        ("erp", "b"),
        ("erp", "c"),
        ("wms", "a"),
        ("wms", "b"),
        ("wms", "c"),
    ] {
        let key = OrderKey {
            upstream: upstream.into(),
            value: value.into(),
        };
        assert_eq!(durable.depth(&key), oracle.depth(&key), "{place}");
    }
}

fn random_upstream(random: &mut fastrand::Rng) -> &'static str {
    if random.u8(0..4) == 0 { "wms" } else { "erp" }
}

fn random_message(random: &mut fastrand::Rng, now: u64) -> NewMessage {
    let number = random.u8(0..20);
    NewMessage {
        // Now and then another request under a known scope.
        fingerprint: [if random.u8(0..10) == 0 { 99 } else { number }; 32],
        order_key: OrderKey {
            upstream: random_upstream(random).into(),
            value: ["a", "b", "c"][random.usize(0..3)].into(),
        },
        lane: Lane::ALL[random.usize(0..3)],
        deadline: at(now + random.u64(1..120)),
        is_in_doubt: random.u8(0..6) == 0,
        ..message(number, "a")
    }
}

fn random_outcome(random: &mut fastrand::Rng, now: u64) -> AttemptOutcome {
    let next = at(now + random.u64(0..20));
    match random.u8(0..8) {
        0..=1 => AttemptOutcome::Delivered(created()),
        2 => AttemptOutcome::Rejected(StoredResponse {
            status: 422,
            ..created()
        }),
        3..=4 => AttemptOutcome::RetryAt {
            at: next,
            cause: "busy".into(),
            counts: random.bool(),
        },
        5 => AttemptOutcome::InDoubt {
            at: next,
            cause: "reset".into(),
        },
        6 => AttemptOutcome::Parked {
            cause: "nobody knows".into(),
        },
        _ => AttemptOutcome::Dead {
            cause: "used up".into(),
        },
    }
}
