//! The clock of the time table. Wall-clock time, because schedules are; so it also has to notice when somebody sets it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// What tells the time, and wakes up at one.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Returns at this time or soon after it; also when the clock was set meanwhile, because then the time may have come or
    /// gone. Without a time it waits until it is dropped.
    async fn sleep_until(&self, time: Option<Timestamp>);
}

/// The system's clock.
///
/// One timer of the kernel for each sleep, bound to real time and cancelled when that is set: no wake-up in between just to look,
/// and a machine that slept wakes up late rather than counting the sleep as nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Where there is no such timer: how long at most until the next look at the clock.
const LOOK: Duration = Duration::from_secs(30);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, time: Option<Timestamp>) {
        let Some(time) = time else { return std::future::pending().await };
        if time <= self.now() {
            return;
        }
        match timer(time) {
            // An error ends the sleep early, and the caller looks at the clock anyway.
            Ok(timer) => drop(timer.readable().await),
            Err(_) => {
                let left = Duration::try_from(time.duration_since(self.now())).unwrap_or_default();
                tokio::time::sleep(left.min(LOOK)).await;
            }
        }
    }
}

fn timer(time: Timestamp) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = Timespec { tv_sec: time.as_second(), tv_nsec: time.subsec_nanosecond().into() };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    match timerfd_settime(&timer, flags, &Itimerspec { it_interval: never, it_value: at }) {
        // The clock was set between the two calls; the timer runs all the same.
        Ok(_) | Err(Errno::CANCELED) => {}
        Err(fault) => return Err(fault.into()),
    }
    // Its successor is `unsafe`; both are sound for a descriptor that is owned (2026-11-21,
    // <https://github.com/tokio-rs/tokio/pull/8587>).
    #[expect(deprecated, reason = "the only way without `unsafe`")]
    AsyncFd::new(timer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_wakes_up_in_time_and_not_before() {
        let clock = SystemClock;
        let until = clock.now() + Duration::from_millis(50);
        clock.sleep_until(Some(until)).await;
        assert!(clock.now() >= until);
        clock.sleep_until(Some(Timestamp::MIN)).await;
        let never = tokio::time::timeout(Duration::from_millis(20), clock.sleep_until(None)).await;
        assert!(never.is_err());
        let late = tokio::time::timeout(Duration::from_millis(20), clock.sleep_until(Some(Timestamp::MAX))).await;
        assert!(late.is_err());
    }
}
