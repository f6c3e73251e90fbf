//! An Oracle that asks a chat model: plans become questions, replies become a ranking.
//!
//! ```text
//! RankRequest -> Plan -> Question -> ledger? -> ChatModel -> ledger -> reply -> Plan -> Verdict
//!                  ^                                |                    |
//!                  |                          one repair turn <- no answer
//!                  +------------------------ next questions -------------+
//! ```
//!
//! - Every reply is in the ledger before anybody reads it, and every question is looked up there
//!   first: nothing is paid for twice, also where the same question is asked by two threads at once.
//! - A reply that is no answer is sent back once with what is wrong with it. Where that does not help,
//!   its evidence is missing; nothing is guessed from half of it.
//! - A question that got no reply at all (an outage that outlasts the deadline, a refusal) fails its
//!   group: a verdict never rests on less than was asked for because a server was away. What the
//!   group's other questions brought stays in the ledger.

mod budget;
mod flight;
mod group;
mod queue;
mod slots;
mod worker;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::prompts::Prompts;
use crate::protocol::ProtocolSettings;
use crate::{
    Cancel, ChatModel, ConfigError, Ledger, Oracle, OracleError, RankRequest, Usage, Verdict,
};

use budget::Budget;
use flight::Flight;
use group::{Answered, Group};
use queue::Queue;
use slots::Slots;
use worker::work;

/// How often the wish to stop is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How long replies on the wire are waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Most threads that prepare questions while all places on the wire are taken.
const MOST_AHEAD: usize = 32;

/// How a chat model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct AskingSettings {
    /// The Oracle's name in the ledger, in errors and in metrics.
    pub name: String,
    /// Which questions are asked.
    pub protocol: ProtocolSettings,
    /// Repair turns after a reply that is no answer. 1 is a good number.
    pub repairs: u32,
    /// Time for a group from its first question on.
    pub deadline: Option<Duration>,
    /// Replies that may be paid for in all, by the ledger's count.
    pub max_calls: Option<u64>,
    /// Money that may be spent in all, by the ledger's count.
    pub max_cost: Option<f64>,
}

/// What the threads share.
struct Shared {
    settings: AskingSettings,
    chat: Box<dyn ChatModel>,
    /// Questions that are handed over together.
    batch: usize,
    identity: serde_json::Value,
    prompts: Prompts,
    ledger: Arc<Ledger>,
    queue: Queue,
    flight: Flight,
    slots: Slots,
    budget: Budget,
    usage: Mutex<Usage>,
    /// Why no further request is worth sending.
    hopeless: Mutex<Option<String>>,
}

impl Shared {
    fn count(&self, count: impl FnOnce(&mut Usage)) {
        count(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Ranks by asking a [`ChatModel`].
///
/// Its threads end with it; what is on the wire then is waited for, up to 15 s, and stored.
pub struct ChatOracle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl ChatOracle {
    /// An Oracle that asks `chat`, and remembers in `ledger`.
    ///
    /// # Errors
    ///
    /// Where a setting is out of its range, or the ledger cannot be read.
    pub fn new(
        settings: AskingSettings,
        chat: Box<dyn ChatModel>,
        prompts: Prompts,
        ledger: Arc<Ledger>,
    ) -> Result<Self, ConfigError> {
        let wrong = |field, why| ConfigError::Field { oracle: "asking", field, why };
        settings.protocol.check().map_err(|error| wrong("protocol", error.to_string()))?;
        let spent =
            ledger.spent(&settings.name).map_err(|error| wrong("ledger", error.to_string()))?;
        let places = chat.concurrency().max(1);
        let batch = chat.batch().max(1);
        // As many as are on the wire, for replies may come all at once. A model that takes batches gets
        // larger ones where nobody takes questions ahead of it, and one at a time goes in order.
        let ahead = if batch == 1 && places > 1 { places.min(MOST_AHEAD) } else { 0 };
        let shared = Arc::new(Shared {
            budget: Budget::new(settings.max_calls, settings.max_cost, spent),
            identity: chat.identity(),
            settings,
            batch,
            chat,
            prompts,
            ledger,
            queue: Queue::default(),
            flight: Flight::default(),
            slots: Slots::new(places),
            usage: Mutex::default(),
            hopeless: Mutex::default(),
        });
        let mut oracle = ChatOracle { shared, threads: Vec::new() };
        for _ in 0..places + ahead {
            let shared = Arc::clone(&oracle.shared);
            let thread = thread::Builder::new()
                .name("asking".to_owned())
                .spawn(move || work(&shared))
                .map_err(|error| wrong("concurrency", format!("no thread to be had: {error}")))?;
            oracle.threads.push(thread);
        }
        Ok(oracle)
    }

    /// Takes answers until every group is done or the run wants to stop.
    fn collect(&self, groups: &mut [Group], answers: &Receiver<Answered>, cancel: &Cancel) {
        let mut open = groups.iter().filter(|group| group.is_open()).count();
        while open > 0 {
            match answers.recv_timeout(GLANCE) {
                Ok(answered) => {
                    let group = &mut groups[answered.group];
                    if group.is_open() {
                        // A group that has begun is ended before another begins: its deadline runs.
                        self.shared.queue.push_first(group.take(answered));
                        open -= usize::from(!group.is_open());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if cancel.is_cancelled() {
                break;
            }
        }
    }
}

/// A seed that depends on the group alone: it is shown in the same orders whenever it is asked about.
fn seed(request: &RankRequest) -> u64 {
    let mut hash = Sha256::new();
    for text in std::iter::once(&request.example.id).chain(&request.candidates) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

impl Oracle for ChatOracle {
    fn name(&self) -> &str {
        &self.shared.settings.name
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let (sender, answers) = channel();
        let mut groups: Vec<Group> = requests
            .iter()
            .enumerate()
            .map(|(index, request)| {
                Group::new(index, request, &self.shared.settings, cancel, &sender)
            })
            .collect();
        drop(sender);
        for group in &mut groups {
            self.shared.queue.push(group.questions());
        }
        self.collect(&mut groups, &answers, cancel);
        let name = &self.shared.settings.name;
        groups.into_iter().map(|group| group.verdict(name, cancel)).collect()
    }

    fn batches_at_once(&self) -> usize {
        self.shared.chat.concurrency()
    }

    fn usage(&self) -> Usage {
        let mut usage = *self.shared.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage += self.shared.chat.usage();
        usage
    }
}

impl Drop for ChatOracle {
    fn drop(&mut self) {
        self.shared.queue.close();
        // What is on the wire is being paid for: it is waited for, not for ever.
        let start = Instant::now();
        let waits = || self.threads.iter().any(|thread| !thread.is_finished());
        while waits() && start.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests;
