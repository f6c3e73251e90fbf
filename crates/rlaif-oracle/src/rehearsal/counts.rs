//! What was asked and answered.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

/// What the judge counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chat requests that came whole, those that were turned down or went wrong included.
    pub requests: u64,
    /// Those turned down since more came at once than it works on.
    pub turned_down: u64,
    /// Most requests in work at once.
    pub peak: usize,
    /// Requests by the SHA-256 of their body, hexadecimal.
    pub asked: BTreeMap<String, u64>,
    /// Answers by the SHA-256 of the request's body: chat completions, right or wrong, of which
    /// the last byte was handed to the operating system. These would have been paid for.
    pub answered: BTreeMap<String, u64>,
    /// Faults that were acted out, by name.
    pub faults: BTreeMap<String, u64>,
}

impl Counts {
    /// Answers in all.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answered.values().sum()
    }

    /// Answers to requests that had been answered before: what was paid for twice.
    #[must_use]
    pub fn answered_again(&self) -> u64 {
        self.answered.values().map(|times| times.saturating_sub(1)).sum()
    }
}

/// A request as the judge saw it.
#[derive(Clone, PartialEq)]
pub struct Seen {
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

impl Seen {
    /// A header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Seen {
    /// Without the headers, among which is a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("body", &self.body).finish_non_exhaustive()
    }
}

/// The counts, shared by the threads of connections.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
    last: Mutex<Option<Seen>>,
    in_work: Mutex<usize>,
}

impl Tally {
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> Option<Seen> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request and gives it its number.
    pub(super) fn asked(&self, digest: &str, seen: Seen) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        let mut counts = self.lock();
        *counts.asked.entry(digest.to_owned()).or_default() += 1;
        counts.requests += 1;
        counts.requests - 1
    }

    /// Counts an answer before it goes out, so that whoever has it finds it counted.
    pub(super) fn answered(&self, digest: &str) {
        *self.lock().answered.entry(digest.to_owned()).or_default() += 1;
    }

    /// It did not go out.
    pub(super) fn not_answered(&self, digest: &str) {
        let mut counts = self.lock();
        if let Some(times) = counts.answered.get_mut(digest) {
            *times -= 1;
        }
        counts.answered.retain(|_, times| *times > 0);
    }

    pub(super) fn fault(&self, name: String) {
        *self.lock().faults.entry(name).or_default() += 1;
    }

    /// Takes a place among those in work; none where all are taken.
    pub(super) fn begin(&self, at_once: Option<usize>) -> Option<Place<'_>> {
        let mut in_work = self.in_work.lock().unwrap_or_else(PoisonError::into_inner);
        if at_once.is_some_and(|most| *in_work >= most) {
            self.lock().turned_down += 1;
            return None;
        }
        *in_work += 1;
        let mut counts = self.lock();
        counts.peak = counts.peak.max(*in_work);
        Some(Place { tally: self })
    }
}

/// A place among those in work, given back when dropped.
pub(super) struct Place<'a> {
    tally: &'a Tally,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.tally.in_work.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
