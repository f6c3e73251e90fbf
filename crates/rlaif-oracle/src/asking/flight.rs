//! Requests that are on their way: one that reads the same waits for the first one's reply.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::group::Job;
use super::queue::Queue;

/// Digests of requests under way, with the jobs that wait for the same reply.
#[derive(Default)]
pub(super) struct Flight {
    waiting: Mutex<HashMap<String, Vec<Job>>>,
}

impl Flight {
    /// Claims the request of `job`: gives the job back to whoever is the one to ask. Where another is
    /// asking, the job is kept, and goes back to the head of `queue` when that one is done.
    pub(super) fn claim<'a>(
        &'a self,
        queue: &'a Queue,
        digest: &str,
        job: Job,
    ) -> Option<(Job, Claim<'a>)> {
        let mut waiting = self.lock();
        if let Some(jobs) = waiting.get_mut(digest) {
            jobs.push(job);
            return None;
        }
        waiting.insert(digest.to_owned(), Vec::new());
        Some((job, Claim { flight: self, queue, digest: digest.to_owned() }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Job>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask. Dropped when the request is over, whatever came of it, a panic included.
pub(super) struct Claim<'a> {
    flight: &'a Flight,
    queue: &'a Queue,
    pub(super) digest: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let jobs = self.flight.lock().remove(&self.digest).unwrap_or_default();
        self.queue.push_first(jobs);
    }
}
