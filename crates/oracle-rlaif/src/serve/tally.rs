//! How requests ended, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its whole reply.
    Answered,
    /// Refused: status 400 to 499.
    Refused,
    /// The server failed on it: status 500 and above, or a stream that broke off.
    Failed,
    /// Its client left, which cancels what is left of it.
    Left,
}

/// What a server did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that got their whole reply.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that the server failed on.
    pub failed: u64,
    /// Requests whose client left before the end.
    pub left: u64,
}

/// The counts while the server runs.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; 4]);

impl Tally {
    /// One more request ended.
    pub fn add(&self, how: End) {
        self.0[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |how: End| self.0[how as usize].load(Ordering::Relaxed);
        Counts {
            answered: of(End::Answered),
            refused: of(End::Refused),
            failed: of(End::Failed),
            left: of(End::Left),
        }
    }
}
