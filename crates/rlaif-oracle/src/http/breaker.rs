//! A circuit breaker: after failures in a row nothing is sent for a while, then one request
//! probes the server before the others follow.
//!
//! ```text
//! closed --failures in a row--> open --cool-down--> half-open --probe succeeds--> closed
//!                                ^                      |
//!                                +---- probe fails -----+
//! ```

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { is_probing: bool },
}

/// What a breaker says of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Admission {
    /// It may go.
    Go,
    /// It may go, as the one that finds out.
    Probe,
    /// Not before then.
    WaitUntil(Instant),
    /// Not before the probe has come back.
    WaitForProbe,
}

/// The state machine. Times are passed in, so that it needs no clock.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open it; 0 is never.
    threshold: u32,
    cool_down: Duration,
    state: State,
    opened: u64,
}

impl Breaker {
    pub(super) fn new(threshold: u32, cool_down: Duration) -> Self {
        Breaker { threshold, cool_down, state: State::Closed { failures: 0 }, opened: 0 }
    }

    /// How long it stays open.
    pub(super) fn cool_down(&self) -> Duration {
        self.cool_down
    }

    /// Times that it went from closed to open.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// What would become of a request now; nothing changes.
    pub(super) fn ask(&self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go,
            State::Open { until } if now < until => Admission::WaitUntil(until),
            State::HalfOpen { is_probing: true } => Admission::WaitForProbe,
            State::Open { .. } | State::HalfOpen { .. } => Admission::Probe,
        }
    }

    /// The probe has gone out, as [`ask`](Self::ask) allowed.
    pub(super) fn probe(&mut self) {
        self.state = State::HalfOpen { is_probing: true };
    }

    /// A request reached the server. True where that ended an outage.
    pub(super) fn reached(&mut self) -> bool {
        let was_closed = matches!(self.state, State::Closed { .. });
        self.state = State::Closed { failures: 0 };
        !was_closed
    }

    /// A request did not. True where that opened the breaker.
    pub(super) fn failed(&mut self, is_probe: bool, now: Instant) -> bool {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = failures.saturating_add(1);
                if self.threshold == 0 || *failures < self.threshold {
                    return false;
                }
                self.state = State::Open { until: now + self.cool_down };
                self.opened += 1;
                true
            }
            // Those that were sent before it opened say nothing new.
            State::Open { .. } => false,
            State::HalfOpen { .. } => {
                if is_probe {
                    self.state = State::Open { until: now + self.cool_down };
                }
                false
            }
        }
    }

    /// The probe was given up before it could tell: another one may go.
    pub(super) fn abandoned(&mut self) {
        if self.state == (State::HalfOpen { is_probing: true }) {
            self.state = State::HalfOpen { is_probing: false };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(2, 3 * SECOND);
        assert!(!breaker.failed(false, now));
        assert!(breaker.failed(false, now));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_starts_the_row_again() {
        let now = Instant::now();
        let mut breaker = Breaker::new(2, SECOND);
        assert!(!breaker.failed(false, now));
        assert!(!breaker.reached());
        assert!(!breaker.failed(false, now));
        assert_eq!((breaker.ask(now), breaker.opened()), (Admission::Go, 0));
        assert!(breaker.failed(false, now));
        assert_eq!(breaker.ask(now), Admission::WaitUntil(now + SECOND));
        assert_eq!(breaker.opened(), 1);
    }

    #[test]
    fn one_probe_goes_after_the_cool_down_and_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.ask(now + 2 * SECOND), Admission::WaitUntil(now + 3 * SECOND));
        assert_eq!(breaker.ask(now + 3 * SECOND), Admission::Probe);
        breaker.probe();
        assert_eq!(breaker.ask(now + 3 * SECOND), Admission::WaitForProbe);
        assert!(breaker.reached());
        assert_eq!(breaker.ask(now + 3 * SECOND), Admission::Go);
        assert!(!breaker.failed(false, now), "the row starts again");
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_for_the_same_outage() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.probe();
        assert!(!breaker.failed(true, now + 3 * SECOND));
        assert_eq!(breaker.ask(now + 4 * SECOND), Admission::WaitUntil(now + 6 * SECOND));
        assert_eq!(breaker.opened(), 1);
    }

    #[test]
    fn latecomers_of_before_do_not_speak_for_the_probe() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.failed(false, now + SECOND));
        assert_eq!(breaker.ask(now + SECOND), Admission::WaitUntil(now + 3 * SECOND));
        breaker.probe();
        assert!(!breaker.failed(false, now + 3 * SECOND));
        assert_eq!(breaker.ask(now + 3 * SECOND), Admission::WaitForProbe);
        assert!(breaker.reached(), "one that did get through does");
    }

    #[test]
    fn a_probe_that_is_given_up_makes_way_for_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.probe();
        breaker.abandoned();
        assert_eq!(breaker.ask(now + 3 * SECOND), Admission::Probe);
        breaker.reached();
        breaker.abandoned();
        assert_eq!(breaker.ask(now), Admission::Go);
    }

    #[test]
    fn a_threshold_of_zero_never_opens_it() {
        let mut breaker = Breaker::new(0, SECOND);
        assert!((0..1000).all(|_| !breaker.failed(false, Instant::now())));
    }
}
