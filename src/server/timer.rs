//! The time a client has for its next request's header, with one timer for a whole connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

use crate::alarm::Alarm;

/// Of one HTTP/1 connection, which asks for a new deadline before each request.
#[derive(Default)]
pub(super) struct HeaderTimer(Arc<Mutex<Option<Alarm>>>);

struct Deadline {
    at: Instant,
    alarm: Arc<Mutex<Option<Alarm>>>,
}

impl Timer for HeaderTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Sleep>> {
        let alarm = self.0.clone();
        Box::pin(Deadline { at, alarm })
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let at = self.at.into();
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        alarm.get_or_insert_with(|| Alarm::new(at)).poll(at, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_request_has_a_deadline_of_its_own() {
        let (timer, began) = (HeaderTimer::default(), tokio::time::Instant::now());
        // The first header arrives in time: its deadline is dropped, and does not end the wait for the second one.
        let mut first = timer.sleep_until(began.into_std() + Duration::from_secs(5));
        assert!(
            std::future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context)))
                .await
                .is_pending()
        );
        drop(first);
        timer.sleep_until(began.into_std() + Duration::from_secs(8)).await;
        assert_eq!(began.elapsed().as_secs(), 8);
        timer.sleep_until(began.into_std() + Duration::from_secs(3)).await;
        assert_eq!(began.elapsed().as_secs(), 8);
    }
}
