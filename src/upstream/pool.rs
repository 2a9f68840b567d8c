//! Keep-alive connections of one thread. A request and its connections stay on one core.

use std::{cell::RefCell, collections::HashMap, time::Instant};

use super::link::Link;

/// Idle connections kept per endpoint and thread; further ones are closed.
const MOST_IDLE: usize = 512;

struct Idle {
    link: Box<Link>,
    since: Instant,
}

thread_local! {
    static IDLE: RefCell<HashMap<u64, Vec<Idle>>> = RefCell::default();
}

/// Takes the connection to an endpoint that idled the shortest, where one is alive.
pub(super) fn take(endpoint: u64, now: Instant) -> Option<Box<Link>> {
    IDLE.with_borrow_mut(|pools| {
        let pool = pools.get_mut(&endpoint)?;
        while let Some(mut idle) = pool.pop() {
            if now.saturating_duration_since(idle.since) < idle.link.keep && !idle.link.is_closed() {
                return Some(idle.link);
            }
        }
        None
    })
}

/// Keeps a connection whose response has been read to its end.
pub(super) fn put(endpoint: u64, link: Box<Link>) {
    // A body may be dropped while its thread ends.
    let _ = IDLE.try_with(|pools| {
        let mut pools = pools.borrow_mut();
        let pool = pools.entry(endpoint).or_default();
        if pool.len() < MOST_IDLE {
            pool.push(Idle {
                link,
                since: Instant::now(),
            });
        }
    });
}

/// Closes this thread's connections that idled too long, or that the other side has closed.
pub fn sweep() {
    IDLE.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            pool.retain_mut(|idle| idle.since.elapsed() < idle.link.keep && !idle.link.is_closed());
            !pool.is_empty()
        });
    });
}

/// Closes all idle connections of this thread.
pub fn clear() {
    IDLE.with_borrow_mut(HashMap::clear);
}
