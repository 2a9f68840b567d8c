//! The loop against a scripted upstream, in memory and in virtual time.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{task::JoinHandle, time::Instant};

use super::*;
use crate::{
    queue::{
        Lane, MemoryLog, MessageState, OrderKey,
        conformance::{Short as _, cause, created, key, message},
    },
    telemetry::Metrics,
};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const LEASE: Duration = Duration::from_mins(1);

/// Follows tokio's time, so that paused tests are nowhere else.
fn virtual_now() -> Timestamp {
    thread_local!(static START: Instant = Instant::now());
    after(Timestamp::UNIX_EPOCH, START.with(Instant::elapsed))
}

/// Answers what the script says, in turn, and 201 when it is at its end.
struct ScriptedCourier {
    script: Mutex<VecDeque<(Duration, Delivery)>>,
    repeats: Repeats,
    /// What it says when it is asked.
    known: Mutex<VecDeque<LookedUp>>,
    is_open: AtomicBool,
    terms: Mutex<Terms>,
    /// So many retries are left.
    retries: AtomicUsize,
    /// So many attempts break off.
    panics: AtomicUsize,
    /// What arrived: when, which message, which attempt.
    seen: Mutex<Vec<(Duration, String, u32)>>,
    start: Instant,
    busy: AtomicUsize,
    busiest: Mutex<Vec<usize>>,
    keys: Mutex<HashSet<OrderKey>>,
}

impl ScriptedCourier {
    fn new(script: impl IntoIterator<Item = Delivery>) -> Self {
        let script = script.into_iter().map(|delivery| (Duration::ZERO, delivery)).collect();
        Self {
            script: Mutex::new(script),
            repeats: Repeats::Honoured { retention: 10 * MINUTE },
            known: Mutex::default(),
            is_open: AtomicBool::new(true),
            terms: Mutex::new(terms(8, &[])),
            retries: AtomicUsize::new(usize::MAX),
            panics: AtomicUsize::new(0),
            seen: Mutex::default(),
            start: Instant::now(),
            busy: AtomicUsize::new(0),
            busiest: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    fn slow(deliveries: usize, each: Duration) -> Self {
        let script = (0..deliveries).map(|_| (each, ok())).collect();
        Self {
            script: Mutex::new(script),
            ..Self::new([])
        }
    }

    fn seen(&self) -> Vec<(String, u32)> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|(_, id, attempt)| (id.clone(), *attempt))
            .collect()
    }

    fn times(&self) -> Vec<Duration> {
        self.seen.lock().unwrap().iter().map(|(at, ..)| *at).collect()
    }
}

impl Courier for ScriptedCourier {
    fn attempt<'a>(
        &'a self,
        message: &'a NewMessage,
        attempt: u32,
    ) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>> {
        Box::pin(async move {
            self.seen
                .lock()
                .unwrap()
                .push((self.start.elapsed(), message.id.clone(), attempt));
            let breaks = self
                .panics
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            assert!(breaks.is_err(), "it breaks off");
            assert!(
                self.keys.lock().unwrap().insert(message.order_key.clone()),
                "two messages of one key at a time"
            );
            let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
            self.busiest.lock().unwrap().push(busy);
            let (wait, delivery) = self
                .script
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or((Duration::ZERO, ok()));
            sleep(wait).await;
            self.busy.fetch_sub(1, Ordering::Relaxed);
            self.keys.lock().unwrap().remove(&message.order_key);
            delivery
        })
    }

    fn look_up<'a>(&'a self, _: &'a NewMessage) -> Pin<Box<dyn Future<Output = LookedUp> + Send + 'a>> {
        let known = self.known.lock().unwrap().pop_front();
        Box::pin(std::future::ready(known.unwrap_or(LookedUp::NotFound)))
    }

    fn repeats(&self, _: &NewMessage) -> Repeats {
        self.repeats
    }

    fn terms(&self, _: &str) -> Option<Terms> {
        self.is_open
            .load(Ordering::Relaxed)
            .then(|| self.terms.lock().unwrap().clone())
    }

    fn may_retry(&self, _: &str) -> bool {
        let taken = self
            .retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok()
    }
}

fn terms(concurrency: usize, limits: &[(&str, u32)]) -> Terms {
    let limits = limits.iter().map(|(rate, burst)| Limit {
        rate: rate.parse().unwrap(),
        burst: *burst,
    });
    Terms {
        concurrency,
        limits: limits.collect(),
    }
}

fn ok() -> Delivery {
    Delivery::Answer {
        response: created(),
        retry_after: None,
        spent: None,
    }
}

fn status(status: u16) -> Delivery {
    Delivery::Answer {
        response: StoredResponse { status, ..created() },
        retry_after: None,
        spent: None,
    }
}

/// A loop that runs over a log until it is stopped.
struct World {
    log: Arc<MemoryLog>,
    courier: Arc<ScriptedCourier>,
    stop: CancellationToken,
    metrics: Metrics,
    delivery: JoinHandle<()>,
}

impl World {
    fn start(courier: ScriptedCourier) -> Self {
        Self::over(Arc::new(MemoryLog::default()), courier)
    }

    fn over(log: Arc<MemoryLog>, courier: ScriptedCourier) -> Self {
        let (courier, stop, metrics) = (Arc::new(courier), CancellationToken::new(), Metrics::default());
        let settings = DeliverySettings {
            lease: LEASE,
            retention: HOUR,
            metrics: metrics.deliveries(),
        };
        let (log_of_loop, courier_of_loop): (Arc<dyn MessageLog>, Arc<dyn Courier>) = (log.clone(), courier.clone());
        let delivery = tokio::spawn(run_at(
            log_of_loop,
            courier_of_loop,
            settings,
            stop.clone(),
            virtual_now,
        ));
        Self {
            log,
            courier,
            stop,
            metrics,
            delivery,
        }
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }

    async fn admit(&self, number: u8, value: &str) {
        let deadline = after(virtual_now(), HOUR);
        self.log
            .put(
                NewMessage {
                    deadline,
                    ..message(number, value)
                },
                virtual_now(),
            )
            .await
            .unwrap();
    }

    async fn state(&self, number: u8) -> MessageState {
        self.log.get(&format!("m{number}")).await.unwrap().unwrap().state
    }

    /// Waits until nothing is on its way any more. Virtual time runs as far as it has to.
    async fn settle(&self) {
        while !self.log.due().await.unwrap().is_empty() || self.courier.busy.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn ids(numbers: impl IntoIterator<Item = u8>) -> Vec<(String, u32)> {
    numbers.into_iter().map(|number| (format!("m{number}"), 1)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_with_its_answer() {
    let world = World::start(ScriptedCourier::new([]));
    world.admit(1, "a").await;
    world.settle().await;
    let view = world.log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.response), (MessageState::Delivered, Some(created())));
    assert_eq!(view.attempts[0].result, "delivered: 201");
}

#[tokio::test(start_paused = true)]
async fn a_key_keeps_its_order_through_failures() {
    let failures = [
        Delivery::NotSent("refused".into()),
        status(500),
        Delivery::Broken("reset".into()),
        status(429),
    ];
    let world = World::start(ScriptedCourier::new(failures));
    for number in 1..=3 {
        world.admit(number, "a").await;
    }
    world.settle().await;
    let order: Vec<(String, u32)> = [
        ("m1", 1),
        ("m1", 1),
        ("m1", 2),
        ("m1", 3),
        ("m1", 3),
        ("m2", 1),
        ("m3", 1),
    ]
    .map(|(id, attempt)| (id.to_owned(), attempt))
    .to_vec();
    assert_eq!(world.courier.seen(), order);
}

#[tokio::test(start_paused = true)]
async fn a_probe_goes_first_and_then_ever_more() {
    let world = World::start(ScriptedCourier::slow(40, Duration::from_secs(1)));
    for number in 0..30 {
        world.admit(number, &number.to_string()).await;
    }
    world.settle().await;
    let times = world.courier.times();
    let in_second = |second| times.iter().filter(|at| at.as_secs() == second).count();
    assert_eq!([0, 1, 2, 3, 4].map(in_second), [1, 2, 4, 8, 8]);
    assert_eq!(*world.courier.busiest.lock().unwrap().iter().max().unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_closed_upstream_gets_nothing_and_its_return_is_noticed_quickly() {
    let world = World::start(ScriptedCourier::new([]));
    world.courier.is_open.store(false, Ordering::Relaxed);
    world.admit(1, "a").await;
    sleep(10 * MINUTE).await;
    assert_eq!(
        (world.courier.seen(), world.state(1).await),
        (vec![], MessageState::Queued)
    );
    world.courier.is_open.store(true, Ordering::Relaxed);
    sleep(CLOSED_INTERVAL + Duration::from_millis(10)).await;
    assert_eq!(world.state(1).await, MessageState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_upstream_is_tried_with_one_message_and_uses_up_none() {
    let refused = (0..500).map(|_| Delivery::NotSent("refused".into()));
    let world = World::start(ScriptedCourier::new(refused));
    for number in 0..20 {
        world.admit(number, &number.to_string()).await;
    }
    world.settle().await;
    let times = world.courier.times();
    assert!(
        times
            .windows(2)
            .take(499)
            .all(|pair| pair[1].saturating_sub(pair[0]) <= Duration::from_millis(2100))
    );
    assert!(times[499] > Duration::from_secs(200), "{:?}", times[499]);
    assert_eq!(
        world
            .log
            .stats(virtual_now())
            .await
            .unwrap()
            .in_state(MessageState::Delivered),
        20
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttling_upstream_is_left_alone_as_long_as_it_asks() {
    let throttled = Delivery::Answer {
        response: StoredResponse {
            status: 429,
            ..created()
        },
        retry_after: Some(5 * MINUTE),
        spent: None,
    };
    let world = World::start(ScriptedCourier::new([throttled]));
    world.admit(1, "a").await;
    world.admit(2, "b").await;
    world.settle().await;
    let times = world.courier.times();
    assert_eq!(times.len(), 3);
    assert!(
        times[1] >= Duration::from_mins(5) && times[1] < Duration::from_secs(302),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_upstream_does_not_hold_up_another() {
    let world = World::start(ScriptedCourier::new([status(401)]));
    world.admit(1, "a").await;
    sleep(Duration::from_millis(1)).await;
    let wms = OrderKey {
        upstream: "wms".into(),
        value: "a".into(),
    };
    let other = NewMessage {
        order_key: wms,
        ..message(2, "a")
    };
    world.log.put(other, virtual_now()).await.unwrap();
    world.settle().await;
    assert_eq!(world.courier.seen()[..2], ids([1, 2]));
    assert_eq!(world.state(1).await, MessageState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn doubt_is_parked_where_repeats_are_not_honoured() {
    let world = World::start(ScriptedCourier {
        repeats: Repeats::Unsafe,
        ..ScriptedCourier::new([status(504)])
    });
    world.admit(1, "a").await;
    world.admit(2, "a").await;
    world.admit(3, "b").await;
    world.settle().await;
    assert_eq!(world.courier.seen(), ids([1, 3]));
    assert_eq!(
        (world.state(1).await, world.state(2).await),
        (MessageState::Parked, MessageState::Queued)
    );
    assert_eq!(world.log.depth(&key("a")).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_admitted_in_doubt_is_not_sent_where_repeats_are_not_honoured() {
    let world = World::start(ScriptedCourier {
        repeats: Repeats::Unsafe,
        ..ScriptedCourier::new([])
    });
    world
        .log
        .put(
            NewMessage {
                is_in_doubt: true,
                ..message(1, "a")
            },
            virtual_now(),
        )
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(
        (world.courier.seen(), world.state(1).await),
        (vec![], MessageState::Parked)
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_admitted_in_doubt_is_repeated_where_repeats_are_honoured() {
    let world = World::start(ScriptedCourier::new([]));
    let doubtful = NewMessage {
        is_in_doubt: true,
        ..message(1, "a")
    };
    world.log.put(doubtful, virtual_now()).await.unwrap();
    world.settle().await;
    assert_eq!(
        (world.courier.seen(), world.state(1).await),
        (ids([1]), MessageState::Delivered)
    );
}

#[tokio::test(start_paused = true)]
async fn doubt_that_outlives_the_upstreams_memory_is_parked_without_sending() {
    let world = World::start(ScriptedCourier::new([status(500)]));
    world.admit(1, "a").await;
    sleep(Duration::from_micros(1)).await;
    world.courier.is_open.store(false, Ordering::Relaxed);
    sleep(10 * MINUTE).await;
    world.courier.is_open.store(true, Ordering::Relaxed);
    world.settle().await;
    assert_eq!(
        (world.courier.seen(), world.state(1).await),
        (ids([1]), MessageState::Parked)
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_is_dead_after_its_last_attempt_and_the_next_one_waits_for_a_decision() {
    let world = World::start(ScriptedCourier::new((0..5).map(|_| status(500))));
    world.admit(1, "a").await;
    world.admit(2, "a").await;
    world.settle().await;
    let view = world.log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.attempts.len()), (MessageState::Dead, 5));
    let expected =
        "its attempts are used up, the last one: the upstream answered 500; an attempt may have had its effect";
    assert_eq!(cause(&view), Some(expected));
    assert_eq!(world.state(2).await, MessageState::Queued);
    let by = crate::queue::conformance::by("jo");
    world
        .log
        .act("m1", crate::queue::Act::Discard, by, virtual_now())
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(world.state(2).await, MessageState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn doubt_is_resolved_by_asking_where_the_upstream_can_be_asked() {
    let settle = Duration::from_secs(5);
    let courier = |known: Vec<LookedUp>| ScriptedCourier {
        repeats: Repeats::Lookup { settle },
        known: Mutex::new(known.into()),
        ..ScriptedCourier::new([status(504)])
    };
    // It was done: not sent again, however long it takes to find out.
    let failed = LookedUp::Failed("refused".into());
    let world = World::start(courier(vec![failed, LookedUp::Found(created())]));
    world.admit(1, "a").await;
    world.settle().await;
    assert_eq!(
        (world.courier.seen(), world.state(1).await),
        (ids([1]), MessageState::Delivered)
    );

    // It was not: that counts only when a slow attempt has had its time.
    let world = World::start(courier(vec![]));
    world.admit(1, "a").await;
    world.settle().await;
    let seen = world.courier.seen();
    assert_eq!((seen.len(), world.state(1).await), (2, MessageState::Delivered));
    let times = world.courier.times();
    assert!(times[1] >= times[0] + settle, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_never_takes_expires_at_its_deadline() {
    let world = World::start(ScriptedCourier::new([]));
    world.courier.is_open.store(false, Ordering::Relaxed);
    world.admit(1, "a").await;
    sleep(HOUR + SWEEP_INTERVAL * 2).await;
    assert_eq!(
        (world.courier.seen(), world.state(1).await),
        (vec![], MessageState::Expired)
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_end_is_cut_within_its_lease_and_in_doubt() {
    let world = World::start(ScriptedCourier::new([]));
    world.courier.script.lock().unwrap().push_back((HOUR, ok()));
    world.admit(1, "a").await;
    sleep(LEASE.mul_f64(0.9) + Duration::from_micros(1)).await;
    assert_eq!(world.state(1).await, MessageState::InDoubt);
    let attempts = world.log.get("m1").await.unwrap().unwrap().attempts;
    assert_eq!(attempts[0].result, "in doubt: no answer within 54s");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_leaves_its_message_in_doubt_and_the_loop_alive() {
    let world = World::start(ScriptedCourier::new([]));
    world.courier.panics.store(1, Ordering::Relaxed);
    world.admit(1, "a").await;
    sleep(Duration::from_millis(50)).await;
    world.admit(2, "b").await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.state(2).await, MessageState::Delivered);
    world.settle().await;
    // Its next attempt has to be alone, and is not made right after the start.
    sleep(Duration::from_secs(11)).await;
    assert_eq!(
        (world.courier.seen().len(), world.state(1).await),
        (3, MessageState::Delivered)
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_its_delivery_twice_is_parked() {
    let world = World::start(ScriptedCourier::new([]));
    world.courier.panics.store(2, Ordering::Relaxed);
    world.admit(1, "a").await;
    world.settle().await;
    sleep(Duration::from_secs(11)).await;
    let view = world.log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, world.courier.seen().len()), (MessageState::Parked, 2));
    assert!(
        cause(&view)
            .unwrap()
            .starts_with("its delivery broke off time and again"),
        "{view:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn urgent_messages_overtake_other_keys() {
    let world = World::start(ScriptedCourier::slow(9, Duration::from_secs(1)));
    for number in 1..=4 {
        let lane = if number == 4 { Lane::Urgent } else { Lane::Bulk };
        let new = NewMessage {
            lane,
            ..message(number, &number.to_string())
        };
        world.log.put(new, virtual_now()).await.unwrap();
    }
    world.settle().await;
    assert_eq!(world.courier.seen()[0].0, "m4");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_attempts_finish_and_starts_none() {
    let world = World::start(ScriptedCourier::slow(1, Duration::from_secs(20)));
    world.admit(1, "a").await;
    sleep(Duration::from_secs(1)).await;
    world.admit(2, "b").await;
    world.stop.cancel();
    world.delivery.await.unwrap();
    assert_eq!(
        world.log.get("m1").await.unwrap().unwrap().state,
        MessageState::Delivered
    );
    assert_eq!(world.courier.seen(), ids([1]));
}

#[tokio::test(start_paused = true)]
async fn a_vendors_limit_is_kept_whatever_waits() {
    let courier = ScriptedCourier::new([]);
    *courier.terms.lock().unwrap() = terms(32, &[("10/s", 3), ("120/m", 60)]);
    let world = World::start(courier);
    for number in 0..100 {
        world.admit(number, &number.to_string()).await;
    }
    world.settle().await;
    let times = world.courier.times();
    for (first, from) in times.iter().enumerate() {
        for (last, to) in times.iter().enumerate().skip(first) {
            let span = to.saturating_sub(*from).as_secs_f64();
            let most = (3.0 + 10.0 * span).min(60.0 + 2.0 * span);
            let many = u32::try_from(last - first + 1).unwrap();
            assert!(f64::from(many) <= most + 0.01, "{many} in {span} s");
        }
    }
    // And it is used: sixty at ten a second, after that two a second.
    assert!(times[99] < MINUTE, "{:?}", times[99]);
    let metrics = world.metrics();
    assert!(
        metrics.contains(r#"queue_holds_total{upstream="erp",cause="limit"}"#),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_changes_is_in_force_at_once() {
    let courier = ScriptedCourier::new([]);
    *courier.terms.lock().unwrap() = terms(32, &[("1/h", 1)]);
    let world = World::start(courier);
    for number in 0..3 {
        world.admit(number, &number.to_string()).await;
    }
    sleep(MINUTE).await;
    assert_eq!(world.courier.seen().len(), 1);
    *world.courier.terms.lock().unwrap() = terms(32, &[]);
    world.settle().await;
    assert_eq!(world.courier.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_says_its_limit_is_used_up_is_left_alone_until_it_is_not() {
    let spent = Delivery::Answer {
        response: created(),
        retry_after: None,
        spent: Some(2 * MINUTE),
    };
    let world = World::start(ScriptedCourier::new([spent]));
    world.admit(1, "a").await;
    world.admit(2, "b").await;
    world.settle().await;
    let times = world.courier.times();
    assert_eq!(times.len(), 2);
    assert!(
        times[1] >= 2 * MINUTE && times[1] < 2 * MINUTE + Duration::from_secs(2),
        "{times:?}"
    );
    assert_eq!(world.state(1).await, MessageState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn retries_beyond_the_budget_wait_and_first_attempts_do_not() {
    let courier = ScriptedCourier::new((0..4).map(|_| status(500)));
    courier.retries.store(0, Ordering::Relaxed);
    let world = World::start(courier);
    for number in 1..=6 {
        world.admit(number, &number.to_string()).await;
    }
    sleep(10 * Duration::from_secs(1)).await;
    let mut seen = world.courier.seen();
    seen.sort_unstable();
    assert_eq!(
        seen,
        ids(1..=6),
        "each has had its first attempt, and none a second one"
    );
    let view = world.log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.counted), (MessageState::InDoubt, 1));
    assert!(cause(&view).unwrap().contains("retryBudget"), "{view:?}");
    assert!(world.metrics().contains(r#"cause="budget""#));

    world.courier.retries.store(usize::MAX, Ordering::Relaxed);
    world.settle().await;
    for number in 1..=6 {
        assert_eq!(world.state(number).await, MessageState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_said_to_its_upstream_holds_nobody_up() {
    let world = World::start(ScriptedCourier::new([]));
    let unsendable = (0..3).map(|_| (Duration::ZERO, Delivery::Unsendable("no mapping leads there".into())));
    world.courier.script.lock().unwrap().extend(unsendable);
    world.admit(1, "a").await;
    sleep(Duration::from_millis(1)).await;
    world.courier.script.lock().unwrap().clear();
    world.admit(2, "b").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        (world.state(1).await, world.state(2).await),
        (MessageState::Queued, MessageState::Delivered)
    );
    world.settle().await;
    assert_eq!(world.state(1).await, MessageState::Delivered);
}

/// Leaves messages as a process does that ended in the middle of their delivery, so many times each.
async fn end_under_way(log: &MemoryLog, messages: impl IntoIterator<Item = (u8, u32)>) {
    for (number, times) in messages {
        log.put(message(number, &number.to_string()), virtual_now())
            .await
            .unwrap();
        for _ in 0..times {
            let claimed = log
                .claim("erp", 99, Duration::from_millis(1), virtual_now())
                .await
                .unwrap();
            let meant = claimed
                .into_iter()
                .find(|claimed| claimed.message.id == format!("m{number}"))
                .unwrap();
            log.begin_attempt(meant.lease, virtual_now()).await.unwrap();
            sleep(Duration::from_millis(2)).await;
            log.sweep(HOUR, virtual_now()).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_are_tried_one_at_a_time_beside_others() {
    let log = Arc::new(MemoryLog::default());
    end_under_way(&log, (1..=4).map(|number| (number, 1))).await;
    for number in 11..=20 {
        log.put(message(number, &number.to_string()), virtual_now())
            .await
            .unwrap();
    }
    let world = World::over(log, ScriptedCourier::slow(99, Duration::from_secs(1)));
    world.settle().await;
    let seen = world.courier.seen.lock().unwrap().clone();
    let is_suspect = |id: &str| ["m1", "m2", "m3", "m4"].contains(&id);
    let trials: Vec<_> = seen
        .iter()
        .filter(|(_, id, _)| is_suspect(id))
        .map(|(at, ..)| *at)
        .collect();
    assert_eq!(trials.len(), 4);
    assert!(
        trials
            .windows(2)
            .all(|pair| pair[1].saturating_sub(pair[0]) >= Duration::from_secs(1)),
        "{trials:?}"
    );
    let others = seen.iter().filter(|(at, id, _)| !is_suspect(id) && *at <= trials[3]);
    assert_eq!(others.count(), 10, "nobody waits for them: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_the_only_suspect_when_its_process_ended_is_tried_alone_and_not_at_once() {
    let log = Arc::new(MemoryLog::default());
    end_under_way(&log, [(1, 2)]).await;
    let world = World::over(log, ScriptedCourier::slow(999, Duration::from_secs(1)));
    for number in 11..=80 {
        world.admit(number, &number.to_string()).await;
    }
    world.settle().await;
    let seen = world.courier.seen.lock().unwrap().clone();
    let (trial, ..) = seen.iter().find(|(_, id, _)| id == "m1").unwrap();
    assert!(*trial >= Duration::from_secs(10), "others are served first: {trial:?}");
    let beside = seen
        .iter()
        .filter(|(at, id, _)| id != "m1" && *at > trial.saturating_sub(Duration::from_secs(1)))
        .filter(|(at, ..)| *at < *trial + Duration::from_secs(1));
    assert_eq!(beside.count(), 0, "{seen:?}");
    assert!(seen.iter().any(|(at, ..)| at > trial), "they go on after it");
    assert_eq!(world.state(1).await, MessageState::Delivered);
}
