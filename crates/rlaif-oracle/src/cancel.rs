//! A flag that asks running work to stop, shared between threads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Asks an Oracle to stop. Clones share one flag; once set it stays set.
///
/// A [child](Cancel::child) is also cancelled when its parent is, but not the other way round: one
/// batch can be given up without ending the run, and Ctrl-C ends every batch.
///
/// ```
/// use rlaif_oracle::Cancel;
///
/// let run = Cancel::new();
/// let (first, second) = (run.child(), run.child());
/// first.cancel();
/// assert!(first.is_cancelled() && !second.is_cancelled() && !run.is_cancelled());
/// run.cancel();
/// assert!(second.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    flag: AtomicBool,
    parent: Option<Cancel>,
}

impl Cancel {
    /// A flag that is not set and has no parent.
    #[must_use]
    pub fn new() -> Self {
        Cancel::default()
    }

    /// A flag of its own that also counts as set when this one is.
    #[must_use]
    pub fn child(&self) -> Self {
        Cancel {
            inner: Arc::new(Inner { flag: AtomicBool::new(false), parent: Some(self.clone()) }),
        }
    }

    /// Sets the flag.
    pub fn cancel(&self) {
        self.inner.flag.store(true, Ordering::Release);
    }

    /// Whether this flag or that of an ancestor is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.flag.load(Ordering::Acquire)
            || self.inner.parent.as_ref().is_some_and(Cancel::is_cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let cancel = Cancel::new();
        let clone = cancel.clone();
        assert!(!clone.is_cancelled());
        cancel.cancel();
        assert!(clone.is_cancelled());
    }

    #[test]
    fn a_grandchild_hears_of_the_run() {
        let run = Cancel::new();
        let grandchild = run.child().child();
        run.cancel();
        assert!(grandchild.is_cancelled());
        assert!(run.child().is_cancelled(), "a child made later is cancelled from the start");
    }
}
