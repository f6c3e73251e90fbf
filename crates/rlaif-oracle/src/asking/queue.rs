//! Questions on their way to the threads that ask them: groups in the order of their coming, and what
//! a group under way asks next before any group that has not begun.

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

    /// Adds jobs that are to be taken next, in their order.
    pub(super) fn push_first(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut line = self.lock();
        if line.closed {
            return;
        }
        for job in jobs.into_iter().rev() {
            line.jobs.push_front(job);
        }
        drop(line);
        self.news.notify_all();
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
