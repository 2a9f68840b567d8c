//! Deliveries cut off at random points, over and over, and the upstream's own ledger as the judge.
//!
//! What is cut off here is the loop and its attempts; the store is opened again as a new process would. Killed
//! processes are among the user stories.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::*;
use crate::queue::{
    Act, MessageFilter, MessageState, SqliteLog,
    conformance::{Short as _, by, created, key, message},
};

/// What is broken on purpose, to see that the judge can tell.
#[derive(Clone, Copy, PartialEq)]
enum Control {
    /// Nothing.
    Sound,
    /// The upstream does not recognise a repeat, although it is said to.
    ForgetsKeys,
    /// A later request of a key goes out directly while an earlier one waits.
    NoGate,
    /// What was not sent counts as delivered.
    FinishedBeforeSent,
}

struct Erp {
    control: Control,
    /// Each effect, in order: the order key's value and the message.
    ledger: Mutex<Vec<(String, String)>>,
    known: Mutex<HashSet<String>>,
    random: Mutex<fastrand::Rng>,
    is_calm: bool,
    /// So many attempts, and the gateway is gone.
    left: AtomicUsize,
    gone: Notify,
}

impl Erp {
    fn takes(&self, message: &NewMessage) {
        let is_new = self
            .known
            .lock()
            .unwrap()
            .insert(message.request.idempotency_key.clone());
        if is_new || self.control == Control::ForgetsKeys {
            let entry = (message.order_key.value.clone(), message.id.clone());
            self.ledger.lock().unwrap().push(entry);
        }
    }

    fn dice(&self, sides: u8) -> u8 {
        self.random.lock().unwrap().u8(0..sides)
    }
}

/// One life of the gateway: the same ERP behind another process.
struct Life(Arc<Mutex<Arc<Erp>>>);

impl Courier for Life {
    fn attempt<'a>(&'a self, message: &'a NewMessage, _: u32) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>> {
        let erp = Arc::clone(&self.0.lock().unwrap());
        Box::pin(async move {
            let is_last = erp
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_err();
            if is_last && !erp.is_calm {
                if erp.dice(2) == 0 {
                    erp.takes(message);
                }
                erp.gone.notify_one();
                std::future::pending::<()>().await;
            }
            let answer = |status| Delivery::Answer {
                response: StoredResponse { status, ..created() },
                retry_after: None,
                spent: None,
            };
            match if erp.is_calm { 9 } else { erp.dice(10) } {
                0 => return Delivery::NotSent("refused".into()),
                1 => return Delivery::Broken("reset before the effect".into()),
                2 => {
                    erp.takes(message);
                    return Delivery::Broken("reset after the effect".into());
                }
                3 => return answer(429),
                4 => {
                    erp.takes(message);
                    return answer(503);
                }
                5 => sleep(Duration::from_secs(3)).await,
                6 if erp.control == Control::FinishedBeforeSent => return answer(201),
                _ => {}
            }
            erp.takes(message);
            answer(201)
        })
    }

    fn look_up<'a>(&'a self, _: &'a NewMessage) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>> {
        Box::pin(std::future::ready(LookedUp::Failed("nobody asks".into())))
    }

    fn repeats(&self, _: &NewMessage) -> Repeats {
        Repeats::Honoured {
            retention: Duration::from_hours(10_000),
        }
    }

    fn terms(&self, _: &str) -> Option<Terms> {
        Some(Terms {
            concurrency: 8,
            limits: Arc::default(),
        })
    }

    fn may_retry(&self, _: &str) -> bool {
        true
    }
}

fn virtual_now() -> Timestamp {
    thread_local!(static START: Instant = Instant::now());
    after(Timestamp::UNIX_EPOCH, START.with(Instant::elapsed))
}

/// What the ledger says against the promise, in words.
fn judge(acknowledged: &BTreeMap<String, Vec<String>>, ledger: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, accepted) in acknowledged {
        let done: Vec<&String> = ledger.iter().filter(|(of, _)| of == key).map(|(_, id)| id).collect();
        for id in accepted {
            match done.iter().filter(|known| **known == id).count() {
                0 => faults.push(format!("{id} is lost")),
                1 => {}
                times => faults.push(format!("{id} was done {times} times")),
            }
        }
        let mut first = Vec::new();
        for id in done {
            if !first.contains(&id) {
                first.push(id);
            }
        }
        if first != accepted.iter().collect::<Vec<_>>() {
            faults.push(format!("key {key} is out of order"));
        }
    }
    faults
}

/// Many short lives and a long one, and what the judge says.
async fn lives(control: Control, cycles: usize, seed: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let erp = |is_calm, former: Option<&Erp>, left| {
        Arc::new(Erp {
            control,
            ledger: Mutex::new(former.map(|erp| erp.ledger.lock().unwrap().clone()).unwrap_or_default()),
            known: Mutex::new(former.map(|erp| erp.known.lock().unwrap().clone()).unwrap_or_default()),
            random: Mutex::new(fastrand::Rng::with_seed(seed + left as u64)),
            is_calm,
            left: AtomicUsize::new(left),
            gone: Notify::new(),
        })
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = BTreeMap::<String, Vec<String>>::new();
    let (mut number, mut now) = (0_u32, erp(false, None, 0));
    for cycle in 0..=cycles {
        let is_last = cycle == cycles;
        now = erp(is_last, Some(&now), random.usize(0..6) + 1);
        // The threads of the former life may still hold the folder for a moment.
        let ending = std::time::Instant::now();
        let log = loop {
            match SqliteLog::open(folder.path(), 64 << 20) {
                Ok(log) => break Arc::new(log),
                Err(error) => assert!(ending.elapsed() < Duration::from_secs(10), "{error}"),
            }
            tokio::task::yield_now().await;
        };
        for _ in 0..if is_last { 0 } else { random.u8(1..4) } {
            number += 1;
            let (id, value) = (format!("n{number}"), ["a", "b", "c", "d"][random.usize(0..4)]);
            let plain = message(0, value);
            let mut scope = [0; 32];
            scope[..4].copy_from_slice(&number.to_be_bytes());
            let mut request = plain.request.clone();
            request.idempotency_key.clone_from(&id);
            let new = NewMessage {
                id: id.clone(),
                scope,
                request,
                channel: ["edi", "shop"][random.usize(0..2)].into(),
                deadline: Timestamp::MAX,
                max_attempts: u32::MAX,
                ..plain
            };
            acknowledged.entry(value.to_owned()).or_default().push(id);
            if control == Control::NoGate && log.depth(&key(value)).await > 0 && random.bool() {
                now.takes(&new);
            } else {
                log.put(new, virtual_now()).await.unwrap();
            }
        }
        let settings = DeliverySettings {
            lease: Duration::from_mins(1),
            retention: Duration::from_hours(10_000),
            metrics: DeliveryMetrics::default(),
        };
        let stop = CancellationToken::new();
        let shared: Arc<dyn MessageLog> = log.clone();
        let life = Arc::new(Life(Arc::new(Mutex::new(now.clone()))));
        let delivery = tokio::spawn(run_at(shared, life, settings, stop, virtual_now));
        loop {
            let stats = log.stats(virtual_now()).await.unwrap();
            let open = stats.count(|group| group.state.is_open());
            let parked = stats.in_state(MessageState::Parked);
            if is_last && parked > 0 {
                resolve(&log, &now).await;
            } else if open == 0 || (!is_last && parked > 0 && random.bool()) {
                break;
            }
            tokio::select! {
                () = now.gone.notified() => break,
                () = sleep(Duration::from_millis(50)) => {}
            }
        }
        // As a process ends: nothing gets to say anything more.
        delivery.abort();
        let _ = delivery.await;
        drop(log);
    }
    let ledger = now.ledger.lock().unwrap().clone();
    judge(&acknowledged, &ledger)
}

/// A person looks into the ledger and decides.
async fn resolve(log: &SqliteLog, erp: &Erp) {
    let parked = MessageFilter {
        states: vec![MessageState::Parked],
        ..MessageFilter::default()
    };
    for view in log.list(parked, None, 100).await.unwrap().items {
        let happened = erp.ledger.lock().unwrap().iter().any(|(_, id)| *id == view.id);
        let act = if happened { Act::Happened } else { Act::DidNotHappen };
        log.act(&view.id, act, by("jo"), virtual_now()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_lose_nothing_double_nothing_and_keep_order() {
    let cycles = std::env::var("CROSSDOCK_CRASHES")
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    let cycles = cycles.map_or(300, |cycles| cycles * 20);
    for seed in 0..2 {
        assert_eq!(
            lives(Control::Sound, cycles, seed).await,
            Vec::<String>::new(),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_are_judged_by_a_judge_that_can_tell() {
    for (control, fault) in [
        (Control::ForgetsKeys, "times"),
        (Control::NoGate, "out of order"),
        (Control::FinishedBeforeSent, "lost"),
    ] {
        let faults = lives(control, 40, 7).await;
        assert!(faults.iter().any(|found| found.contains(fault)), "{fault}: {faults:?}");
    }
}
