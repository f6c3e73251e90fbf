//! What surrounds a loop: its folder, its listener, and the wish to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::Metrics;

/// Asks a run to finish its step, write a checkpoint and return. Clones share the wish.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<AtomicBool>);

impl Control {
    /// Asks the run to stop after the step under way.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a listener hears of a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step began a phase of its work.
    Phase {
        /// Step under way, counted from 1.
        step: u64,
        /// Steps in all.
        total: u64,
        /// For instance `rollout`.
        name: &'static str,
    },
    /// A step ended.
    Step {
        /// Steps done.
        step: u64,
        /// Steps in all.
        total: u64,
        /// Its numbers.
        metrics: &'a Metrics,
    },
    /// A checkpoint was written.
    Saved {
        /// Its folder.
        path: &'a std::path::Path,
    },
}

/// Where a run writes and whom it tells.
pub struct Run<'a> {
    /// Run folder; `None` writes nothing.
    pub folder: Option<PathBuf>,
    /// The wish to stop.
    pub control: Control,
    /// Listener.
    pub listen: &'a mut dyn FnMut(Event<'_>),
}
