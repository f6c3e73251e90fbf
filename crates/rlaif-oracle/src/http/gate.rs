//! Where threads wait before they send: for a free place, for the server's own pause, for the
//! breaker, for a token. One gate stands before one server, whoever asks.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    breaker::{Admission, Breaker},
    bucket::Bucket,
    limits::{LimitsConfig, seconds},
};
use crate::Patience;

/// Longest time between two looks at the wish to stop.
const LOOK: Duration = Duration::from_millis(25);

/// Why a thread stopped waiting without being let through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    /// The run asked to stop.
    Cancelled,
    /// The deadline came; what it was waiting for.
    Deadline(&'static str),
}

#[derive(Debug)]
struct State {
    free: usize,
    paused_until: Option<Instant>,
    bucket: Option<Bucket>,
    breaker: Breaker,
}

/// The gate.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

/// Leave to send one request. Say what became of it with [`reached`](Pass::reached) or
/// [`failed`](Pass::failed); dropping it says nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    is_probe: bool,
    is_open: bool,
}

/// What a thread waits for, and until when where that is known.
struct Wait(&'static str, Option<Instant>);

impl Gate {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        let bucket = limits
            .requests_per_minute
            .map(|per_minute| Bucket::new(per_minute, limits.burst, Instant::now()));
        let breaker = Breaker::new(limits.breaker_threshold(), seconds(limits.breaker_seconds));
        Gate {
            state: Mutex::new(State {
                free: limits.concurrency,
                paused_until: None,
                bucket,
                breaker,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits until a request may be sent.
    pub(super) fn enter(&self, patience: &Patience) -> Result<Pass<'_>, Stop> {
        let mut state = self.lock();
        let mut waited_for = "time to send";
        loop {
            if patience.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            let now = Instant::now();
            if patience.deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Stop::Deadline(waited_for));
            }
            let Wait(what, until) = match state.admit(now) {
                Ok(is_probe) => {
                    state.free -= 1;
                    if is_probe {
                        state.breaker.probe();
                    }
                    return Ok(Pass { gate: self, is_probe, is_open: true });
                }
                Err(wait) => wait,
            };
            waited_for = what;
            let ends = [until, patience.deadline];
            let left = ends.into_iter().flatten().map(|end| end.saturating_duration_since(now));
            let slice = left.fold(LOOK, Duration::min);
            state =
                self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits before an attempt is made again, watching the wish to stop and the deadline.
    pub(super) fn sleep(patience: &Patience, wait: Duration) -> Result<(), Stop> {
        let until = Instant::now().checked_add(wait);
        loop {
            if patience.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            let now = Instant::now();
            let left = until.map_or(LOOK, |until| until.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(());
            }
            if patience.deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Stop::Deadline("the next attempt"));
            }
            thread::sleep(left.min(LOOK).min(patience.left().unwrap_or(LOOK)));
        }
    }

    /// Keeps everybody from sending for so long.
    pub(super) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.lock();
        state.paused_until = Some(state.paused_until.map_or(until, |before| before.max(until)));
    }

    /// Times that the breaker opened.
    pub(super) fn breaker_opened(&self) -> u64 {
        self.lock().breaker.opened()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a request may go, and then whether it is a probe. Takes the token, which must be
    /// the last thing that could be missing.
    fn admit(&mut self, now: Instant) -> Result<bool, Wait> {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Err(Wait("the end of the pause that the server asked for", Some(until)));
        }
        let is_probe = match self.breaker.ask(now) {
            Admission::Go => false,
            Admission::Probe => true,
            Admission::WaitUntil(until) => {
                return Err(Wait(
                    "a server that is out of reach (the breaker is open)",
                    Some(until),
                ));
            }
            Admission::WaitForProbe => {
                return Err(Wait("a server that is out of reach (it is being probed)", None));
            }
        };
        if self.free == 0 {
            return Err(Wait("a free place under `concurrency`", None));
        }
        match self.bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(now)) {
            Ok(()) => Ok(is_probe),
            Err(wait) => Err(Wait("its turn under `requests_per_minute`", now.checked_add(wait))),
        }
    }
}

impl Pass<'_> {
    /// The server answered, whatever it said.
    pub(super) fn reached(mut self) {
        let mut state = self.gate.lock();
        let was_outage = state.breaker.reached();
        drop(state);
        if was_outage {
            tracing::info!("the server is back: the breaker is closed");
        }
        self.is_open = false;
    }

    /// The server did not answer, or is broken itself. True where this was a probe, or the breaker
    /// was open by then.
    pub(super) fn failed(mut self) -> bool {
        let mut state = self.gate.lock();
        let has_opened = state.breaker.failed(self.is_probe, Instant::now());
        let is_closed = state.breaker.ask(Instant::now()) == Admission::Go;
        let cool_down = state.breaker.cool_down();
        drop(state);
        if has_opened {
            tracing::warn!(
                seconds = cool_down.as_secs_f64(),
                "the server failed too often in a row: the breaker is open, and nothing is sent \
                 before it has cooled down"
            );
        }
        self.is_open = false;
        !is_closed
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.free += 1;
        if self.is_open && self.is_probe {
            state.breaker.abandoned();
        }
        drop(state);
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;

    fn patience(milliseconds: u64) -> Patience {
        let deadline = Some(Instant::now() + Duration::from_millis(milliseconds));
        Patience { deadline, cancel: Cancel::new() }
    }

    #[test]
    fn places_are_given_back_and_a_full_house_waits_for_its_deadline() {
        let gate = Gate::new(&LimitsConfig { concurrency: 1, ..LimitsConfig::default() });
        let pass = gate.enter(&patience(1000)).unwrap();
        let stop = gate.enter(&patience(30)).unwrap_err();
        assert_eq!(stop, Stop::Deadline("a free place under `concurrency`"));
        drop(pass);
        gate.enter(&patience(1000)).unwrap().reached();
        assert!(gate.enter(&patience(1000)).is_ok());
    }

    #[test]
    fn a_pause_holds_everybody_and_a_shorter_one_does_not_end_it() {
        let gate = Gate::new(&LimitsConfig::default());
        let start = Instant::now();
        gate.pause(Duration::from_millis(150));
        gate.pause(Duration::from_millis(10));
        gate.enter(&patience(5000)).unwrap().reached();
        assert!(start.elapsed() >= Duration::from_millis(150));
        gate.pause(Duration::from_mins(1));
        assert!(
            matches!(gate.enter(&patience(30)), Err(Stop::Deadline(what)) if what.contains("pause"))
        );
    }

    #[test]
    fn a_wish_to_stop_ends_every_wait() {
        let gate = Gate::new(&LimitsConfig::default());
        gate.pause(Duration::from_mins(1));
        let cancel = Cancel::new();
        let patience = Patience { deadline: None, cancel: cancel.clone() };
        thread::scope(|scope| {
            let entering = scope.spawn(|| gate.enter(&patience).map(drop));
            let sleeping = scope.spawn(|| Gate::sleep(&patience, Duration::from_mins(1)));
            let start = Instant::now();
            cancel.cancel();
            assert_eq!(entering.join().unwrap(), Err(Stop::Cancelled));
            assert_eq!(sleeping.join().unwrap(), Err(Stop::Cancelled));
            assert!(start.elapsed() < Duration::from_millis(500));
        });
    }

    #[test]
    fn an_open_breaker_lets_one_probe_through_and_a_lost_probe_makes_way() {
        let limits =
            LimitsConfig { breaker_failures: 1, breaker_seconds: 0.05, ..LimitsConfig::default() };
        let gate = Gate::new(&limits);
        assert!(gate.enter(&patience(1000)).unwrap().failed());
        let probe = gate.enter(&patience(5000)).unwrap();
        assert!(probe.is_probe);
        assert!(
            matches!(gate.enter(&patience(80)), Err(Stop::Deadline(what)) if what.contains("probed"))
        );
        drop(probe);
        let probe = gate.enter(&patience(5000)).unwrap();
        assert!(probe.is_probe);
        probe.reached();
        assert!(!gate.enter(&patience(1000)).unwrap().is_probe);
        assert_eq!(gate.breaker_opened(), 1);
    }

    #[test]
    fn failures_below_the_threshold_leave_the_breaker_closed() {
        let gate = Gate::new(&LimitsConfig::default());
        assert!(!gate.enter(&patience(1000)).unwrap().failed());
    }
}
