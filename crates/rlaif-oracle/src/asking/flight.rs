//! Requests that are on their way: one that reads the same waits for the first one's reply.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Digests of requests under way.
#[derive(Default)]
pub(super) struct Flight {
    digests: Mutex<HashSet<String>>,
    landed: Condvar,
}

impl Flight {
    /// Whether the caller is the one to ask; false where another is asking.
    pub(super) fn claim(&self, digest: &str) -> bool {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned())
    }

    /// The request is over, whatever came of it.
    pub(super) fn land(&self, digest: &str) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        self.landed.notify_all();
    }

    /// Waits until nobody asks this.
    pub(super) fn wait(&self, digest: &str) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        while digests.contains(digest) {
            digests = self.landed.wait(digests).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
