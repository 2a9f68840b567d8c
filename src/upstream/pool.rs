//! Keep-alive connections of one thread. A request and its connections stay on one core.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

use hyper::client::conn::http1::SendRequest;

use crate::body::Body;

/// Idle connections kept per endpoint and thread; further ones are closed.
const MOST_IDLE: usize = 512;

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
    keep: Duration,
}

thread_local! {
    static IDLE: RefCell<HashMap<u64, Vec<Idle>>> = RefCell::default();
}

/// Takes the connection to an endpoint that idled the shortest, where one is alive.
pub(super) fn take(endpoint: u64) -> Option<SendRequest<Body>> {
    IDLE.with_borrow_mut(|pools| {
        let pool = pools.get_mut(&endpoint)?;
        while let Some(idle) = pool.pop() {
            if !idle.sender.is_closed() && idle.since.elapsed() < idle.keep {
                return Some(idle.sender);
            }
        }
        None
    })
}

/// Keeps a connection whose response has been read to its end.
pub(super) fn put(endpoint: u64, sender: SendRequest<Body>, keep: Duration) {
    if sender.is_closed() {
        return;
    }
    // A body may be dropped while its thread ends.
    let _ = IDLE.try_with(|pools| {
        let mut pools = pools.borrow_mut();
        let pool = pools.entry(endpoint).or_default();
        if pool.len() < MOST_IDLE {
            pool.push(Idle {
                sender,
                since: Instant::now(),
                keep,
            });
        }
    });
}

/// Closes this thread's connections that idled too long.
pub fn sweep() {
    IDLE.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            pool.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < idle.keep);
            !pool.is_empty()
        });
    });
}

/// Closes all idle connections of this thread.
pub fn clear() {
    IDLE.with_borrow_mut(HashMap::clear);
}
