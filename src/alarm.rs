//! A timer for what almost never lasts too long: a deadline per message, armed once in a while.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Waits for one deadline after the other. Only a deadline before the armed one touches the runtime's timers; a later one
/// is armed when the earlier one fires. A timer of its own for each message would be set and removed for nothing.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Nothing is armed before the first deadline is polled.
    pub(crate) fn new(first: Instant) -> Self {
        Self(Box::pin(sleep_until(first)))
    }

    /// Ready once `deadline` has passed. May wake the task earlier, for a former deadline.
    pub(crate) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        loop {
            ready!(self.0.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whichever_came_before() {
        let start = Instant::now();
        let mut alarm = Alarm::new(start + Duration::from_secs(5));
        for seconds in [1, 2, 9, 9, 10] {
            let deadline = start + Duration::from_secs(seconds);
            poll_fn(|context| alarm.poll(deadline, context)).await;
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_is_not_taken_for_the_armed_one() {
        let start = Instant::now();
        let mut alarm = Alarm::new(start + Duration::from_secs(1));
        let early = poll_fn(|context| Poll::Ready(alarm.poll(start + Duration::from_secs(1), context)));
        assert!(early.await.is_pending());
        poll_fn(|context| alarm.poll(start + Duration::from_secs(3), context)).await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}
