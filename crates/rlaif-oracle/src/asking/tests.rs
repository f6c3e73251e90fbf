//! The engine with a model that says what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::rehearsal::{candidates_in, longest_first};
use crate::testing::request;
use crate::{ChatError, ChatReply, ChatRequest, FailureKind, Patience, PromptsConfig};

mod failures;
mod ranks;
mod stops;

type Result<T, E = ChatError> = std::result::Result<T, E>;
type Script = dyn Fn(&ChatRequest, usize) -> Result<ChatReply> + Send + Sync;

/// A model that follows a script: the request and its number in, the reply out.
pub(super) struct Stub {
    batch: usize,
    concurrency: usize,
    script: Box<Script>,
    asked: AtomicUsize,
    seen: Mutex<Vec<(ChatRequest, Patience)>>,
    batches: Mutex<Vec<usize>>,
    prepared: Arc<AtomicUsize>,
}

impl Stub {
    fn new(
        script: impl Fn(&ChatRequest, usize) -> Result<ChatReply> + Send + Sync + 'static,
    ) -> Self {
        Stub {
            batch: 1,
            concurrency: 1,
            script: Box::new(script),
            asked: AtomicUsize::new(0),
            seen: Mutex::default(),
            batches: Mutex::default(),
            prepared: Arc::default(),
        }
    }

    fn honest() -> Self {
        Stub::new(|request, _| Ok(say(honest(request))))
    }

    fn threads(self, concurrency: usize) -> Self {
        Stub { concurrency, ..self }
    }

    fn batches(self, batch: usize) -> Self {
        Stub { batch, ..self }
    }

    /// Requests so far.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl ChatModel for Arc<Stub> {
    fn identity(&self) -> serde_json::Value {
        json!({"model": "stub"})
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn prepare(&self, _: &ChatRequest) {
        self.prepared.fetch_add(1, Ordering::SeqCst);
    }

    fn chat(&self, requests: &[&ChatRequest], patience: &Patience) -> Vec<Result<ChatReply>> {
        self.batches.lock().unwrap().push(requests.len());
        requests
            .iter()
            .map(|request| {
                self.seen.lock().unwrap().push(((*request).clone(), patience.clone()));
                (self.script)(request, self.asked.fetch_add(1, Ordering::SeqCst))
            })
            .collect()
    }
}

/// Longer candidates first.
fn honest(request: &ChatRequest) -> String {
    longest_first(&shown(request))
}

fn shown(request: &ChatRequest) -> Vec<String> {
    let question = request.messages.iter().find(|turn| turn.role == crate::ChatRole::User);
    candidates_in(&question.expect("a question").text)
}

fn say(text: impl Into<String>) -> ChatReply {
    ChatReply {
        text: text.into(),
        cut_off: false,
        prompt_tokens: Some(10),
        completion_tokens: Some(2),
        cost: 0.5,
        latency: Duration::from_millis(7),
    }
}

fn settings() -> AskingSettings {
    AskingSettings {
        name: "judge".to_owned(),
        protocol: ProtocolSettings::default(),
        repairs: 1,
        deadline: None,
        max_calls: None,
        max_cost: None,
    }
}

fn pairwise() -> ProtocolSettings {
    serde_json::from_value(json!({"protocol": "pairwise"})).unwrap()
}

fn repeats(repeats: u32) -> ProtocolSettings {
    ProtocolSettings { repeats, ..ProtocolSettings::default() }
}

fn ledger() -> Arc<Ledger> {
    Arc::new(Ledger::in_memory().unwrap())
}

fn oracle(settings: AskingSettings, stub: &Arc<Stub>, ledger: &Arc<Ledger>) -> ChatOracle {
    let prompts = Prompts::load(&PromptsConfig::default()).unwrap();
    ChatOracle::new(settings, Box::new(Arc::clone(stub)), prompts, Arc::clone(ledger)).unwrap()
}

/// Groups `g0`, `g1` and so on of three candidates each, of which the third is best and the second
/// worst.
fn groups(count: usize) -> Vec<RankRequest> {
    (0..count)
        .map(|at| {
            let texts = [format!("blue {at}"), "red".to_owned(), format!("a green ball {at}")];
            request(&format!("g{at}"), &texts.each_ref().map(String::as_str))
        })
        .collect()
}

fn rank(oracle: &ChatOracle, requests: &[RankRequest]) -> Vec<Result<Verdict, OracleError>> {
    oracle.rank(requests, &Cancel::new())
}

/// A verdict in short: the ranking, or the kind of the error.
fn brief(result: &Result<Verdict, OracleError>) -> String {
    match result {
        Ok(verdict) => verdict.ranking.to_string(),
        Err(error) => error.kind().as_str().to_owned(),
    }
}

fn briefs(results: &[Result<Verdict, OracleError>]) -> Vec<String> {
    results.iter().map(brief).collect()
}

/// All of a verdict that is the same whenever it is asked for.
fn lasting(result: &Result<Verdict, OracleError>) -> String {
    match result {
        Ok(verdict) => {
            let mut calls: Vec<String> = verdict
                .calls
                .iter()
                .map(|call| format!("{:?} {:?} {:?}", call.shown, call.ranking, call.latency))
                .collect();
            calls.sort();
            format!("{} {:?} {calls:?}", verdict.ranking, verdict.votes)
        }
        Err(error) => error.to_string(),
    }
}

fn rows(ledger: &Ledger) -> u64 {
    ledger.spent("judge").unwrap().calls
}

/// Waits until `done`.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} never came");
        thread::sleep(Duration::from_millis(2));
    }
}
