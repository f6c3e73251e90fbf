//! Ranking in the background, so that an Oracle thinks while the next groups are sampled.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    Cancel, Oracle, OracleError, OracleMetrics, RankOutcome, RankRequest, Usage, rank_groups,
};

/// Most batches that are ranked at once, however many the Oracle would take.
const MOST_AT_ONCE: usize = 32;

/// Ranks batches in the background, one after the other in the order of submission; several at once
/// where the Oracle gains by that ([`Oracle::batches_at_once`]).
///
/// ```text
/// rollout k   | rollout k+1 | update k   | rollout k+2
///             | ranking k --|-> wait     | ranking k+1 ...
/// ```
///
/// Dropping the worker cancels what is under way and waits for its threads; batches not yet ranked
/// come back as [`OracleError::Cancelled`].
pub struct OracleWorker {
    name: Arc<str>,
    cancel: Cancel,
    oracle: Option<Arc<dyn Oracle>>,
    batches: Option<Sender<Batch>>,
    threads: Vec<JoinHandle<()>>,
}

struct Batch {
    requests: Vec<RankRequest>,
    cancel: Cancel,
    outcome: SyncSender<RankOutcome>,
}

/// A submitted batch. Dropping it gives the batch up.
#[derive(Debug)]
pub struct Pending {
    oracle: Arc<str>,
    examples: Vec<String>,
    cancel: Cancel,
    outcome: Receiver<RankOutcome>,
    ready: Option<RankOutcome>,
}

impl OracleWorker {
    /// Starts the threads. Every batch also stops when `cancel` is set.
    ///
    /// # Errors
    ///
    /// When the operating system has no thread to give.
    pub fn start(oracle: Box<dyn Oracle>, cancel: &Cancel) -> std::io::Result<Self> {
        let oracle: Arc<dyn Oracle> = Arc::from(oracle);
        let (batches, queue) = channel::<Batch>();
        let queue = Arc::new(Mutex::new(queue));
        let mut worker = OracleWorker {
            name: oracle.name().into(),
            cancel: cancel.child(),
            oracle: Some(Arc::clone(&oracle)),
            batches: Some(batches),
            threads: Vec::new(),
        };
        for _ in 0..oracle.batches_at_once().clamp(1, MOST_AT_ONCE) {
            let (oracle, queue) = (Arc::clone(&oracle), Arc::clone(&queue));
            let work = move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(batch) = next else { break };
                    let outcome = rank_groups(&*oracle, &batch.requests, &batch.cancel);
                    batch.outcome.send(outcome).ok();
                }
                let_go(oracle);
            };
            let thread = thread::Builder::new().name("oracle".to_owned()).spawn(work)?;
            worker.threads.push(thread);
        }
        Ok(worker)
    }

    /// The Oracle's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the Oracle has spent so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.oracle.as_ref().map(Oracle::usage).unwrap_or_default()
    }

    /// Queues a batch and returns at once.
    #[must_use = "dropping the handle cancels the batch"]
    pub fn submit(&self, requests: Vec<RankRequest>) -> Pending {
        let cancel = self.cancel.child();
        let (sender, outcome) = sync_channel(1);
        let pending = Pending {
            oracle: Arc::clone(&self.name),
            examples: requests.iter().map(|request| request.example.id.clone()).collect(),
            cancel: cancel.clone(),
            outcome,
            ready: None,
        };
        if let Some(batches) = &self.batches {
            batches.send(Batch { requests, cancel, outcome: sender }).ok();
        }
        pending
    }
}

impl std::fmt::Debug for OracleWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OracleWorker").field("oracle", &self.name).finish_non_exhaustive()
    }
}

impl Drop for OracleWorker {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.batches = None;
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
        if let Some(oracle) = self.oracle.take() {
            let_go(oracle);
        }
    }
}

/// An Oracle that panics while it is dropped must not take the run with it.
fn let_go(oracle: Arc<dyn Oracle>) {
    catch_unwind(AssertUnwindSafe(|| drop(oracle))).ok();
}

impl Pending {
    /// Whether [`wait`](Self::wait) would return at once.
    pub fn is_ready(&mut self) -> bool {
        self.wait_for(Duration::ZERO)
    }

    /// Waits no longer than `patience`; whether the verdicts are there.
    pub fn wait_for(&mut self, patience: Duration) -> bool {
        if self.ready.is_none() {
            self.ready = match self.outcome.recv_timeout(patience) {
                Ok(outcome) => Some(outcome),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(self.lost()),
            };
        }
        self.ready.is_some()
    }

    /// Waits for the verdicts, for as long as the Oracle takes.
    #[must_use]
    pub fn wait(mut self) -> RankOutcome {
        match self.ready.take() {
            Some(outcome) => outcome,
            None => self.outcome.recv().unwrap_or_else(|_| self.lost()),
        }
    }

    /// Asks the Oracle to give this batch up; [`wait`](Self::wait) tells what was ranked by then.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// The outcome of a batch whose thread is gone.
    fn lost(&self) -> RankOutcome {
        let mut metrics = OracleMetrics { groups: self.examples.len(), ..OracleMetrics::default() };
        let verdicts = self.examples.iter().map(|example| {
            let (oracle, example) = (self.oracle.to_string(), example.clone());
            let detail = "its thread ended before it answered".to_owned();
            let error = OracleError::Contract { oracle, example, detail };
            metrics.count_failure(&error);
            Err(error)
        });
        RankOutcome { verdicts: verdicts.collect(), metrics }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use rlaif_rank::Ranking;

    use super::*;
    use crate::{
        FailureKind, Verdict,
        testing::{Scripted, request},
    };

    fn worker(oracle: impl Oracle + 'static) -> OracleWorker {
        OracleWorker::start(Box::new(oracle), &Cancel::new()).unwrap()
    }

    fn order(outcome: &RankOutcome) -> String {
        outcome.verdicts[0].as_ref().unwrap().ranking.to_string()
    }

    fn slow(delay: Duration) -> Scripted {
        let mut oracle = Scripted::longest_first();
        oracle.delay = delay;
        oracle
    }

    #[test]
    fn batches_come_back_whenever_they_are_asked_for() {
        let worker = worker(Scripted::longest_first());
        let first = worker.submit(vec![request("a", &["p", "qq"])]);
        let second = worker.submit(vec![request("b", &["rr", "s"])]);
        assert_eq!(order(&second.wait()), "[1] > [2]");
        assert_eq!(order(&first.wait()), "[2] > [1]");
        assert_eq!(worker.name(), "scripted");
    }

    /// Whoever ranks while we hold the gate closed can only be another thread.
    /// Each batch can only end once both are under way.
    #[test]
    fn batches_are_ranked_at_once_where_the_oracle_gains_by_that() {
        let both = std::sync::Barrier::new(2);
        let mut oracle = Scripted::answering(move |_| {
            both.wait();
            Ranking::from_order(&[1, 0]).unwrap()
        });
        oracle.at_once = 2;
        let worker = worker(oracle);
        let first = worker.submit(vec![request("a", &["p", "q"])]);
        let second = worker.submit(vec![request("b", &["p", "q"])]);
        assert_eq!(
            (order(&first.wait()), order(&second.wait())),
            ("[2] > [1]".into(), "[2] > [1]".into())
        );
    }

    #[test]
    fn the_caller_goes_on_while_the_oracle_thinks() {
        let (open, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let worker = worker(Scripted::answering(move |_| {
            gate.lock().unwrap().recv().unwrap();
            Ranking::from_order(&[0, 1]).unwrap()
        }));
        let mut first = worker.submit(vec![request("a", &["p", "q"])]);
        let mut second = worker.submit(vec![request("b", &["p", "q"])]);
        assert!(!first.is_ready());
        open.send(()).unwrap();
        assert!(!second.wait_for(Duration::from_millis(50)));
        assert!(first.wait_for(Duration::from_secs(20)));
        assert!(first.is_ready(), "batches are ranked in the order of submission");
        assert!(first.is_ready(), "asking twice changes nothing");
        open.send(()).unwrap();
        assert_eq!(order(&first.wait()), "[1] > [2]");
        assert_eq!(order(&second.wait()), "[1] > [2]");
    }

    #[test]
    fn a_dropped_handle_gives_its_batch_up_and_no_other() {
        let worker = worker(slow(Duration::from_millis(300)));
        let start = Instant::now();
        let given_up: Vec<Pending> =
            (0..100).map(|i| worker.submit(vec![request(&i.to_string(), &["p", "q"])])).collect();
        drop(given_up);
        let outcome = worker.submit(vec![request("kept", &["p", "qq"])]).wait();
        assert_eq!(order(&outcome), "[2] > [1]");
        assert!(start.elapsed() < Duration::from_secs(10), "100 batches would take 30 s");
    }

    #[test]
    fn dropping_the_worker_cancels_and_the_handles_say_so() {
        let worker = worker(slow(Duration::from_mins(1)));
        let pending: Vec<Pending> =
            (0..3).map(|_| worker.submit(vec![request("a", &["p", "q"])])).collect();
        let start = Instant::now();
        drop(worker);
        assert!(start.elapsed() < Duration::from_secs(10));
        for pending in pending {
            let outcome = pending.wait();
            assert_eq!(outcome.verdicts[0].as_ref().unwrap_err().kind(), FailureKind::Cancelled);
        }
    }

    #[test]
    fn the_runs_flag_and_the_handles_flag_stop_a_batch() {
        let run = Cancel::new();
        let oracle = Box::new(slow(Duration::from_mins(1)));
        let worker = OracleWorker::start(oracle, &run).unwrap();
        let pending = worker.submit(vec![request("a", &["p", "q"])]);
        pending.cancel();
        assert_eq!(pending.wait().metrics.failures[&FailureKind::Cancelled], 1);
        let pending = worker.submit(vec![request("b", &["p", "q"])]);
        run.cancel();
        assert_eq!(pending.wait().metrics.failures[&FailureKind::Cancelled], 1);
    }

    #[test]
    fn a_panic_fails_its_batch_and_the_worker_lives_on() {
        let worker = worker(Scripted::answering(|request| {
            assert_ne!(request.example.id, "bad", "cannot rank this");
            Ranking::from_order(&[1, 0]).unwrap()
        }));
        let bad = worker.submit(vec![request("bad", &["p", "q"])]);
        let good = worker.submit(vec![request("good", &["p", "q"])]);
        let error = bad.wait().verdicts.remove(0).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Panicked);
        assert!(error.to_string().contains("cannot rank this"), "{error}");
        assert_eq!(order(&good.wait()), "[2] > [1]");
    }

    /// An Oracle whose panic cannot be caught where it is asked.
    struct PanicsByName;

    impl Oracle for PanicsByName {
        fn name(&self) -> &str {
            if thread::current().name() == Some("oracle") { panic!("no name") } else { "nameless" }
        }

        fn rank(&self, _: &[RankRequest], _: &Cancel) -> Vec<Result<Verdict, OracleError>> {
            panic!("no verdict")
        }
    }

    #[test]
    fn a_dead_thread_is_an_error_per_group() {
        let worker = worker(PanicsByName);
        let requests = vec![request("a", &["p", "q"]), request("b", &["p", "q"])];
        let outcome = worker.submit(requests).wait();
        assert_eq!(outcome.verdicts.len(), 2);
        assert_eq!(outcome.metrics.failures[&FailureKind::Contract], 2);
        assert_eq!(outcome.metrics.groups, 2);
        let mut late = worker.submit(vec![request("c", &["p", "q"])]);
        assert!(late.wait_for(Duration::from_secs(20)));
        assert_eq!(late.wait().metrics.failures[&FailureKind::Contract], 1);
    }
}
