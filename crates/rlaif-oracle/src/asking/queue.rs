//! Questions on their way to the threads that ask them: first come, first served, repairs first.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::group::Job;

/// The line of jobs.
#[derive(Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
    news: Condvar,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Adds jobs at the end.
    pub(super) fn push(&self, jobs: Vec<Job>) {
        self.lock().jobs.extend(jobs);
        self.news.notify_all();
    }

    /// Adds a job that is to be taken next.
    pub(super) fn push_first(&self, job: Job) {
        self.lock().jobs.push_front(job);
        self.news.notify_one();
    }

    /// Waits for jobs and takes up to `most` of those that are there; none once it is closed.
    pub(super) fn take(&self, most: usize) -> Option<Vec<Job>> {
        let mut line = self.lock();
        while line.jobs.is_empty() && !line.closed {
            line = self.news.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        if line.closed {
            return None;
        }
        let count = line.jobs.len().min(most);
        Some(line.jobs.drain(..count).collect())
    }

    /// Lets every thread go.
    pub(super) fn close(&self) {
        let mut line = self.lock();
        line.closed = true;
        line.jobs.clear();
        drop(line);
        self.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
