//! One group under way: its plan, what was answered, and the verdict that comes of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::{Outcome, Plan, Question, Said};
use crate::{Call, Cancel, ChatMessage, OracleError, RankRequest, Verdict, Vote, error::excerpt};

use super::{AskingSettings, seed};

/// What the threads need to know of a group.
pub(super) struct Asked {
    pub(super) index: usize,
    /// The Oracle's name.
    pub(super) oracle: String,
    pub(super) request: RankRequest,
    /// When its first question was taken up.
    pub(super) started: OnceLock<Instant>,
    /// Nobody waits for it any more.
    pub(super) over: AtomicBool,
    pub(super) cancel: Cancel,
    pub(super) answers: Sender<Answered>,
}

/// A question for the threads.
pub(super) struct Job {
    pub(super) asked: Arc<Asked>,
    pub(super) ticket: usize,
    pub(super) question: Question,
    /// The conversation so far where a reply was no answer; empty before the first.
    pub(super) messages: Vec<ChatMessage>,
    pub(super) repairs: u32,
    /// What earlier turns of this question took.
    pub(super) call: Call,
    _unanswered: Unanswered,
}

/// Answers a job that a panic drops: whoever waits for it would wait for ever.
pub(super) struct Unanswered {
    asked: Arc<Asked>,
    ticket: usize,
}

impl Job {
    /// The Oracle's name and the example's id, for an error.
    pub(super) fn names(&self) -> (String, String) {
        self.asked.names()
    }
}

impl Asked {
    fn names(&self) -> (String, String) {
        (self.oracle.clone(), self.request.example.id.clone())
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let (oracle, example) = self.asked.names();
        let message = "the thread that asked panicked, see the log".to_owned();
        let result = Err(OracleError::Panicked { oracle, example, message });
        let call = Call {
            shown: Vec::new(),
            ranking: None,
            cached: true,
            latency: Duration::ZERO,
            cost: 0.0,
        };
        let answered = Answered { group: self.asked.index, ticket: self.ticket, call, result };
        self.asked.answers.send(answered).ok();
    }
}

/// What came of a question.
pub(super) struct Answered {
    pub(super) group: usize,
    pub(super) ticket: usize,
    pub(super) call: Call,
    pub(super) result: Result<Reading, OracleError>,
}

/// A reply and what it says, or why it says nothing.
pub(super) struct Reading {
    pub(super) raw: String,
    pub(super) said: Result<Said, String>,
}

/// A group under way.
pub(super) struct Group {
    asked: Arc<Asked>,
    plan: Option<Plan>,
    result: Option<Result<Outcome, OracleError>>,
    calls: Vec<Call>,
    /// The last reply, and the last thing that was wrong with one.
    raw: Option<String>,
    problem: Option<String>,
    reason: Option<String>,
    finished: Option<Instant>,
}

impl Group {
    pub(super) fn new(
        index: usize,
        request: &RankRequest,
        settings: &AskingSettings,
        cancel: &Cancel,
        answers: &Sender<Answered>,
    ) -> Self {
        let plan = Plan::new(&settings.protocol, request.candidates.len(), seed(request));
        let asked = Arc::new(Asked {
            index,
            oracle: settings.name.clone(),
            request: request.clone(),
            started: OnceLock::new(),
            over: AtomicBool::new(false),
            cancel: cancel.clone(),
            answers: answers.clone(),
        });
        let (plan, result) = match plan {
            Ok(plan) => (Some(plan), None),
            Err(error) => {
                let error = OracleError::Refused {
                    oracle: settings.name.clone(),
                    example: request.example.id.clone(),
                    reason: error.to_string(),
                };
                (None, Some(Err(error)))
            }
        };
        Group {
            asked,
            plan,
            result,
            calls: Vec::new(),
            raw: None,
            problem: None,
            reason: None,
            finished: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.result.is_none()
    }

    /// The questions that can be asked now.
    pub(super) fn questions(&mut self) -> Vec<Job> {
        let ready = self.plan.as_mut().map(Plan::ready).unwrap_or_default();
        let job = |(ticket, question): (usize, Question)| Job {
            asked: Arc::clone(&self.asked),
            ticket,
            messages: Vec::new(),
            repairs: 0,
            call: Call {
                shown: question.shown.clone(),
                ranking: None,
                cached: true,
                latency: Duration::ZERO,
                cost: 0.0,
            },
            _unanswered: Unanswered { asked: Arc::clone(&self.asked), ticket },
            question,
        };
        ready.into_iter().map(job).collect()
    }

    /// Takes an answer; gives the questions that it makes ready.
    pub(super) fn take(&mut self, answered: Answered) -> Vec<Job> {
        self.calls.push(answered.call);
        let reading = match answered.result {
            Ok(reading) => reading,
            Err(error) => {
                self.end(Err(error));
                return Vec::new();
            }
        };
        let Some(plan) = &mut self.plan else { return Vec::new() };
        self.raw = Some(reading.raw);
        let said = match reading.said {
            Ok(said) => {
                if let Said::Abstained(reason) = &said {
                    self.reason = Some(reason.clone());
                }
                Some(said)
            }
            Err(problem) => {
                let (oracle, example) = (&self.asked.oracle, &self.asked.request.example.id);
                tracing::warn!(oracle, example, problem, "a reply is no answer");
                self.problem = Some(problem);
                None
            }
        };
        plan.answer(answered.ticket, said);
        if let Some(outcome) = plan.outcome() {
            self.end(Ok(outcome));
            return Vec::new();
        }
        self.questions()
    }

    fn end(&mut self, result: Result<Outcome, OracleError>) {
        self.result = Some(result);
        self.finished = Some(Instant::now());
        self.asked.over.store(true, Ordering::Release);
    }

    /// What became of it.
    pub(super) fn verdict(mut self, name: &str, cancel: &Cancel) -> Result<Verdict, OracleError> {
        let example = self.asked.request.example.id.clone();
        self.asked.over.store(true, Ordering::Release);
        let outcome = match self.result.take() {
            Some(result) => result?,
            None if cancel.is_cancelled() => return Err(OracleError::Cancelled { example }),
            None => {
                let detail = "its threads ended before they answered".to_owned();
                return Err(OracleError::Contract { oracle: name.to_owned(), example, detail });
            }
        };
        let started = self.asked.started.get().copied();
        let latency = started
            .zip(self.finished)
            .map_or(Duration::ZERO, |(start, end)| end.saturating_duration_since(start));
        let oracle = name.to_owned();
        let Some(ranking) = outcome.ranking else {
            return Err(match (self.reason, self.problem) {
                (Some(reason), None) => {
                    OracleError::Abstained { oracle, example, reason: excerpt(&reason) }
                }
                (None, None) => {
                    let reason = "no answer places a candidate".to_owned();
                    OracleError::Abstained { oracle, example, reason }
                }
                (_, Some(detail)) => OracleError::Protocol {
                    oracle,
                    example,
                    detail,
                    output: excerpt(self.raw.as_deref().unwrap_or_default()),
                },
            });
        };
        let vote = |ranking| Vote { voter: String::new(), ranking, weight: 1.0 };
        let votes = if outcome.votes.len() > 1 {
            outcome.votes.into_iter().map(vote).collect()
        } else {
            Vec::new()
        };
        Ok(Verdict { raw: self.raw, votes, calls: self.calls, ..Verdict::new(ranking, latency) })
    }
}
