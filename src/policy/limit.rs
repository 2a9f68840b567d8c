//! Limits how many requests are allowed, and tells channels where they stand.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::QuantaClock,
    middleware::StateInformationMiddleware, state::keyed::DashMapStateStore,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Handling, Next, Policy, Request};
use crate::{
    config::{LimitPerSpec, LimitSpec, Rate},
    exchange::Exchange,
    problem::Refusal,
};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

type Counts = RateLimiter<u32, DashMapStateStore<u32>, QuantaClock, StateInformationMiddleware>;

/// The limits of one operation. All of them must allow a request.
pub struct Limit {
    limits: Vec<One>,
}

struct One {
    counts: Arc<Counts>,
    per: LimitPerSpec,
    /// As written, for people: `100/s`.
    rate: Arc<str>,
    /// Name in the header fields.
    name: &'static str,
    /// Requests that may come at once.
    burst: u32,
    /// `RateLimit-Policy`, always the same.
    policy: HeaderValue,
}

/// Counts by limit. Outlive snapshots: a new one must not hand out a fresh quota. A limit that changed starts afresh.
#[derive(Default)]
pub struct Limiters(Mutex<HashMap<Key, Arc<Counts>>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    api: String,
    /// Empty where all operations of the limit are counted together.
    operation: String,
    per: LimitPerSpec,
    rate: Rate,
    burst: u32,
    operations: Vec<String>,
}

impl Limiters {
    fn counts(&self, key: Key) -> Option<Arc<Counts>> {
        let period = key.rate.per.checked_div(key.rate.count.get())?;
        let quota = Quota::with_period(period)?.allow_burst(NonZeroU32::new(key.burst)?);
        let mut limiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let counts: DefaultKeyedRateLimiter<u32> = RateLimiter::dashmap(quota);
            Arc::new(counts.with_middleware::<StateInformationMiddleware>())
        };
        Some(limiters.entry(key).or_insert_with(fresh).clone())
    }

    /// Forgets channels that are back at their full quota, and limits that no snapshot uses any more.
    pub fn sweep(&self) {
        let mut limiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.retain(|_, counts| {
            counts.retain_recent();
            Arc::strong_count(counts) > 1 || !counts.is_empty()
        });
    }
}

impl Limit {
    /// The limits that apply to an operation; `None` where there are none.
    pub fn compile(api: &str, operation: &str, specs: &[LimitSpec], limiters: &Limiters) -> Option<Self> {
        let applies = |spec: &&LimitSpec| {
            spec.operations.is_empty() || spec.operations.iter().any(|name| name.value == operation)
        };
        let limits: Vec<One> = specs
            .iter()
            .filter(applies)
            .filter_map(|spec| One::new(api, operation, spec, limiters))
            .collect();
        (!limits.is_empty()).then_some(Self { limits })
    }

    /// Takes one request of a channel from every limit, or says which one refuses. A refusal by a later limit has
    /// already been counted by the earlier ones: a channel that keeps knocking does not get in sooner.
    fn take(&self, channel: u32) -> Result<Standing<'_>, Refused<'_>> {
        let mut tightest: Option<Standing<'_>> = None;
        for one in &self.limits {
            let key = if one.per == LimitPerSpec::Api { 0 } else { channel };
            match one.counts.check_key(&key) {
                Ok(snapshot) => {
                    let standing = Standing {
                        one,
                        remaining: snapshot.remaining_burst_capacity(),
                    };
                    let is_tighter = tightest
                        .as_ref()
                        .is_none_or(|tightest| standing.share() < tightest.share());
                    if is_tighter {
                        tightest = Some(standing);
                    }
                }
                Err(until) => {
                    let wait = until.wait_time_from(one.counts.clock().now());
                    return Err(Refused { one, wait });
                }
            }
        }
        // `compile` makes no policy without a limit.
        tightest.ok_or(Refused {
            one: &self.limits[0],
            wait: Duration::ZERO,
        })
    }
}

impl One {
    fn new(api: &str, operation: &str, spec: &LimitSpec, limiters: &Limiters) -> Option<Self> {
        let burst = spec.burst.unwrap_or(spec.rate.count).get();
        let key = Key {
            api: api.to_owned(),
            operation: if spec.per == LimitPerSpec::Operation {
                operation.to_owned()
            } else {
                String::new()
            },
            per: spec.per,
            rate: spec.rate,
            burst,
            operations: spec.operations.iter().map(|name| name.value.clone()).collect(),
        };
        let (count, seconds) = (spec.rate.count, spec.rate.per.as_secs());
        let unit = match seconds {
            1 => "s",
            60 => "m",
            3_600 => "h",
            _ => "d",
        };
        let name = match spec.per {
            LimitPerSpec::Channel => "channel",
            LimitPerSpec::Api => "api",
            LimitPerSpec::Operation => "operation",
        };
        Some(Self {
            counts: limiters.counts(key)?,
            per: spec.per,
            rate: format!("{count}/{unit}").into(),
            name,
            burst,
            policy: HeaderValue::try_from(format!("\"{name}\";q={count};w={seconds}")).ok()?,
        })
    }

    /// `RateLimit` (draft-ietf-httpapi-ratelimit-headers): what remains now, and in how many seconds more is there.
    fn fields(&self, remaining: u32, seconds: u64) -> [(HeaderName, HeaderValue); 2] {
        let mut text = String::with_capacity(32);
        text.push('"');
        text.push_str(self.name);
        text.push_str("\";r=");
        push_number(&mut text, u64::from(remaining));
        text.push_str(";t=");
        push_number(&mut text, seconds);
        let standing = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        [(RATELIMIT_POLICY, self.policy.clone()), (RATELIMIT, standing)]
    }
}

/// What is left of a limit.
struct Standing<'a> {
    one: &'a One,
    remaining: u32,
}

impl Standing<'_> {
    fn share(&self) -> f64 {
        f64::from(self.remaining) / f64::from(self.one.burst)
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.extend(self.one.fields(self.remaining, 1));
    }
}

/// A limit is used up.
struct Refused<'a> {
    one: &'a One,
    wait: Duration,
}

impl Policy for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> Handling<'a> {
        let exchange = Exchange::of(&request).cloned();
        Box::pin(async move {
            let caller = exchange
                .as_ref()
                .and_then(|exchange| exchange.caller.get())
                .ok_or(Refusal::Internal)?;
            let standing = self.take(caller.index).map_err(|refused| {
                if let Some(exchange) = &exchange {
                    exchange
                        .trail()
                        .note("crossdock.limit", format!("{} {}", refused.one.name, refused.one.rate));
                }
                let seconds = refused.wait.as_millis().div_ceil(1_000).max(1);
                Refusal::RateLimited {
                    who: if refused.one.per == LimitPerSpec::Api {
                        "this API".into()
                    } else {
                        caller.channel.clone()
                    },
                    rate: refused.one.rate.clone(),
                    retry_after: refused.wait,
                    headers: refused.one.fields(0, u64::try_from(seconds).unwrap_or(u64::MAX)).into(),
                }
            })?;
            let mut response = next.run(request).await?;
            standing.write(response.headers_mut());
            Ok(response)
        })
    }
}

fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.push_str(str::from_utf8(&digits[start..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Spanned;

    fn spec(per: LimitPerSpec, rate: &str, burst: u32, operations: &[&str]) -> LimitSpec {
        let place = serde_saphyr::Location::UNKNOWN;
        LimitSpec {
            per,
            rate: rate.parse().unwrap(),
            burst: NonZeroU32::new(burst),
            operations: operations
                .iter()
                .map(|name| Spanned::new((*name).to_owned(), place, place))
                .collect(),
        }
    }

    #[test]
    fn a_channel_over_its_burst_is_refused_and_another_is_not() {
        let limiters = Limiters::default();
        let limit = Limit::compile("erp", "get", &[spec(LimitPerSpec::Channel, "1/h", 2, &[])], &limiters).unwrap();
        assert_eq!(limit.take(1).map_err(|_| ()).unwrap().remaining, 1);
        assert!(limit.take(1).is_ok());
        let refused = limit.take(1).err().unwrap();
        assert!(refused.wait > Duration::from_secs(3_500) && refused.wait <= Duration::from_hours(1));
        assert!(limit.take(2).is_ok());
    }

    #[test]
    fn an_api_limit_counts_all_channels_together() {
        let limiters = Limiters::default();
        let limit = Limit::compile("erp", "get", &[spec(LimitPerSpec::Api, "1/h", 1, &[])], &limiters).unwrap();
        assert!(limit.take(1).is_ok());
        assert!(limit.take(2).is_err());
    }

    #[test]
    fn an_unchanged_limit_keeps_its_counts_across_snapshots_and_a_changed_one_does_not() {
        let limiters = Limiters::default();
        let compile =
            |rate| Limit::compile("erp", "get", &[spec(LimitPerSpec::Channel, rate, 1, &[])], &limiters).unwrap();
        assert!(compile("1/h").take(1).is_ok());
        assert!(compile("1/h").take(1).is_err());
        assert!(compile("2/h").take(1).is_ok());
    }

    #[test]
    fn operations_have_counts_of_their_own_only_where_that_is_said() {
        let limiters = Limiters::default();
        let compile =
            |per, operation| Limit::compile("erp", operation, &[spec(per, "1/h", 1, &[])], &limiters).unwrap();
        assert!(compile(LimitPerSpec::Operation, "a").take(1).is_ok());
        assert!(compile(LimitPerSpec::Operation, "b").take(1).is_ok());
        assert!(compile(LimitPerSpec::Channel, "a").take(1).is_ok());
        assert!(compile(LimitPerSpec::Channel, "b").take(1).is_err());
    }

    #[test]
    fn a_limit_for_other_operations_does_not_apply() {
        let limits = [spec(LimitPerSpec::Channel, "1/s", 1, &["createOrder"])];
        assert!(Limit::compile("erp", "getOrder", &limits, &Limiters::default()).is_none());
    }

    #[test]
    fn the_fields_say_policy_and_standing() {
        let limiters = Limiters::default();
        let limit = Limit::compile(
            "erp",
            "get",
            &[spec(LimitPerSpec::Channel, "100/s", 200, &[])],
            &limiters,
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        limit.take(1).map_err(|_| ()).unwrap().write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"channel\";q=100;w=1");
        assert_eq!(headers["ratelimit"], "\"channel\";r=199;t=1");
    }

    #[test]
    fn what_nobody_uses_any_more_is_forgotten() {
        let limiters = Limiters::default();
        drop(Limit::compile(
            "erp",
            "get",
            &[spec(LimitPerSpec::Channel, "1/s", 1, &[])],
            &limiters,
        ));
        limiters.sweep();
        assert!(limiters.0.lock().unwrap().is_empty());
    }
}
