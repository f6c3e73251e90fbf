//! Places on the wire: threads beyond them prepare what is asked next.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many places.
pub(super) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place, from before a question is sent until its reply is stored: a process that is killed loses
/// no more replies than there are places.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
}

impl Slots {
    pub(super) fn new(places: usize) -> Self {
        Slots { free: Mutex::new(places), freed: Condvar::new() }
    }

    /// Waits for a place.
    pub(super) fn enter(&self) -> Slot<'_> {
        let mut free = self.lock();
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot { slots: self }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.slots.lock() += 1;
        self.slots.freed.notify_one();
    }
}
