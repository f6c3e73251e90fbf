//! The conversation with a program: who is owed an answer, by when, and what happens when it goes
//! wrong.

use std::{
    collections::{BTreeMap, VecDeque},
    process::Command,
    time::{Duration, Instant},
};

use rlaif_rank::Ranking;

use super::{
    CommandConfig,
    process::{Event, LINE_LIMIT, Process},
    protocol::{Answer, Reply, request_line},
};
use crate::{
    Cancel, OracleError, RankRequest, Verdict,
    error::{excerpt, excerpt_end},
};

/// How often cancellation is looked for while waiting.
const POLL: Duration = Duration::from_millis(20);
/// Longest reply kept in a verdict, in bytes.
const RAW_LIMIT: usize = 16 << 10;

/// What outlives a batch of requests.
#[derive(Default)]
pub(super) struct Session {
    process: Option<Process>,
    next_id: u64,
    /// Failures of the program since its last answer; each costs a restart.
    failures: u32,
    /// The last failure, once there are too many.
    given_up: Option<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("running", &self.process.is_some())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// A request on its way.
struct Job {
    place: usize,
    id: u64,
    first_sent: Option<Instant>,
    /// How often the program failed while this was open.
    failures: u32,
}

struct Open {
    job: Job,
    sent: Instant,
    allowed: Duration,
}

impl Open {
    fn left(&self, now: Instant) -> Duration {
        self.allowed.saturating_sub(now.saturating_duration_since(self.sent))
    }
}

/// Why the program had to be ended.
enum Failure {
    Timeout,
    Died { status: String, stderr: String },
    Protocol { detail: String, output: String },
}

/// One call of [`Session::rank`].
struct Batch<'a> {
    session: &'a mut Session,
    name: &'a str,
    config: &'a CommandConfig,
    requests: &'a [RankRequest],
    waiting: VecDeque<Job>,
    open: BTreeMap<u64, Open>,
    results: Vec<Option<Result<Verdict, OracleError>>>,
}

impl Session {
    /// One result per request, in their order.
    pub(super) fn rank(
        &mut self,
        name: &str,
        config: &CommandConfig,
        requests: &[RankRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Verdict, OracleError>> {
        let first_id = self.next_id;
        self.next_id += requests.len() as u64;
        let waiting = (first_id..)
            .zip(0..requests.len())
            .map(|(id, place)| Job { place, id, first_sent: None, failures: 0 })
            .collect();
        let mut batch = Batch {
            session: self,
            name,
            config,
            requests,
            waiting,
            open: BTreeMap::new(),
            results: vec![None; requests.len()],
        };
        batch.notice_what_happened_since();
        while !(batch.waiting.is_empty() && batch.open.is_empty()) {
            if cancel.is_cancelled() {
                batch.cancel();
            } else if let Some(last) = batch.session.given_up.clone() {
                batch.give_up(&last);
            } else if let Err(error) = batch.start() {
                batch.session.given_up = Some(error.to_string());
                batch.fail_next(error);
            } else {
                batch.fill();
                batch.listen();
            }
        }
        // The loop ends once every place is filled.
        batch.results.into_iter().flatten().collect()
    }

    pub(super) fn close(&mut self) {
        if let Some(process) = self.process.take() {
            process.close();
        }
    }
}

impl Batch<'_> {
    fn example(&self, place: usize) -> String {
        self.requests[place].example.id.clone()
    }

    fn resolve(&mut self, job: &Job, result: Result<Verdict, OracleError>) {
        self.results[job.place] = Some(result);
    }

    /// A program may end between two batches; no request is to blame for that.
    fn notice_what_happened_since(&mut self) {
        if let Some(process) = &self.session.process {
            match process.next_event(Duration::ZERO) {
                Event::Nothing => {}
                Event::Closed => self.fail_closed(),
                Event::Line(line) | Event::Unfinished(line) => self.fail_protocol(stray(), &line),
                Event::TooLong(line) => self.fail_protocol(too_long(), &line),
            }
        }
    }

    /// Makes sure that the program runs.
    fn start(&mut self) -> Result<(), OracleError> {
        if self.session.process.is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.config.program);
        command.args(&self.config.args);
        if let Some(names) = &self.config.pass_env {
            command.env_clear();
            for name in names.iter().map(String::as_str).chain(["PATH"]) {
                command.envs(std::env::var_os(name).map(|value| (name, value)));
            }
        }
        let process = Process::spawn(command).map_err(|error| OracleError::Start {
            program: self.config.program.clone(),
            example: self.waiting.front().map_or(String::new(), |job| self.example(job.place)),
            reason: error.to_string(),
        })?;
        self.session.process = Some(process);
        Ok(())
    }

    /// Gives the program as many requests as it may have.
    fn fill(&mut self) {
        while self.open.len() < self.config.concurrency {
            let (Some(process), Some(mut job)) = (&self.session.process, self.waiting.pop_front())
            else {
                return;
            };
            let request = &self.requests[job.place];
            let line = match request_line(job.id, request) {
                Ok(line) => line,
                Err(error) => {
                    let detail = format!("the request cannot be written as JSON: {error}");
                    let error = OracleError::Contract {
                        oracle: self.name.to_owned(),
                        example: self.example(job.place),
                        detail,
                    };
                    self.resolve(&job, Err(error));
                    continue;
                }
            };
            process.send(line);
            let sent = Instant::now();
            let startup = if process.has_replied { 0.0 } else { self.config.startup_seconds };
            let allowed = Duration::try_from_secs_f64(self.config.timeout_seconds + startup)
                .unwrap_or(Duration::MAX);
            job.first_sent.get_or_insert(sent);
            self.open.insert(job.id, Open { job, sent, allowed });
        }
    }

    /// Waits for the program's next word, or for the first request to run out of time.
    fn listen(&mut self) {
        let Some(process) = &self.session.process else { return };
        let now = Instant::now();
        let left = self.open.values().map(|open| open.left(now)).min().unwrap_or_default();
        match process.next_event(left.min(POLL)) {
            Event::Line(line) => self.read(&line),
            // A reply that only lacks its line feed counts; of anything else the end that follows
            // is the cause.
            Event::Unfinished(line) if Reply::read(&line).is_ok() => self.read(&line),
            Event::Unfinished(_) => {}
            Event::TooLong(line) => self.fail_protocol(too_long(), &line),
            Event::Closed => self.fail_closed(),
            Event::Nothing => {
                let now = Instant::now();
                if self.open.values().any(|open| open.left(now).is_zero()) {
                    if let Some(process) = self.session.process.take() {
                        process.kill();
                    }
                    self.fail(&Failure::Timeout);
                }
            }
        }
    }

    fn read(&mut self, line: &[u8]) {
        let reply = match Reply::read(line) {
            Ok(reply) => reply,
            Err(detail) => return self.fail_protocol(detail, line),
        };
        let Some(open) = self.open.remove(&reply.id) else {
            return self.fail_protocol(stray(), line);
        };
        self.session.failures = 0;
        if let Some(process) = &mut self.session.process {
            process.has_replied = true;
        }
        let result = self.judge(&open.job, reply, &String::from_utf8_lossy(line));
        self.resolve(&open.job, result);
    }

    fn judge(&self, job: &Job, reply: Reply, line: &str) -> Result<Verdict, OracleError> {
        let (oracle, example) = (self.name.to_owned(), self.example(job.place));
        let output = || excerpt(line);
        match reply.answer(self.requests[job.place].candidates.len()) {
            Answer::Ranking(ranking) => Ok(verdict(ranking, job, line)),
            Answer::Invalid(source) => {
                Err(OracleError::Rejected { oracle, example, source, output: output() })
            }
            Answer::Malformed(detail) => {
                Err(OracleError::Protocol { oracle, example, detail, output: output() })
            }
            Answer::Abstained(reason) => {
                Err(OracleError::Abstained { oracle, example, reason: excerpt(&reason) })
            }
            Answer::Failed(message) => {
                Err(OracleError::Reported { oracle, example, message: excerpt(&message) })
            }
        }
    }

    fn fail_closed(&mut self) {
        let Some(process) = self.session.process.take() else { return };
        let ended = process.wait_and_end();
        self.fail(&Failure::Died { status: ended.status, stderr: excerpt_end(&ended.stderr) });
    }

    fn fail_protocol(&mut self, detail: String, line: &[u8]) {
        if let Some(process) = self.session.process.take() {
            process.kill();
        }
        let output = excerpt(&String::from_utf8_lossy(line));
        self.fail(&Failure::Protocol { detail, output });
    }

    /// The program was ended: decides what becomes of the open requests, and of the program.
    fn fail(&mut self, failure: &Failure) {
        self.session.failures += 1;
        let no_more = self.session.failures > self.config.max_restarts;
        let now = Instant::now();
        let mut last = None;
        let mut again = Vec::new();
        for (_, mut open) in std::mem::take(&mut self.open) {
            let over = match failure {
                Failure::Timeout => open.left(now).is_zero(),
                Failure::Died { .. } | Failure::Protocol { .. } => {
                    open.job.failures += 1;
                    open.job.failures > 1 || no_more
                }
            };
            if over {
                let error = self.error(failure, &open);
                last = Some(error.to_string());
                self.resolve(&open.job, Err(error));
            } else {
                again.push(open.job);
            }
        }
        for job in again.into_iter().rev() {
            self.waiting.push_front(job);
        }
        tracing::warn!(
            oracle = self.name,
            failures = self.session.failures,
            failure = %failure,
            "the oracle program failed"
        );
        if no_more {
            self.session.given_up = Some(last.unwrap_or_else(|| failure.to_string()));
        }
    }

    fn error(&self, failure: &Failure, open: &Open) -> OracleError {
        let (oracle, example) = (self.name.to_owned(), self.example(open.job.place));
        match failure {
            Failure::Timeout => {
                OracleError::Timeout { oracle, example, seconds: open.allowed.as_secs_f64() }
            }
            Failure::Died { status, stderr } => OracleError::Died {
                oracle,
                example,
                status: status.clone(),
                stderr: stderr.clone(),
            },
            Failure::Protocol { detail, output } => OracleError::Protocol {
                oracle,
                example,
                detail: detail.clone(),
                output: output.clone(),
            },
        }
    }

    fn cancel(&mut self) {
        // Answers to what is open would come later and belong to nobody.
        if !self.open.is_empty()
            && let Some(process) = self.session.process.take()
        {
            process.kill();
        }
        self.fail_rest(|example| OracleError::Cancelled { example });
    }

    fn give_up(&mut self, last: &str) {
        let (oracle, restarts) = (self.name.to_owned(), self.config.max_restarts);
        self.fail_rest(|example| OracleError::GaveUp {
            oracle: oracle.clone(),
            example,
            restarts,
            last: last.to_owned(),
        });
    }

    fn fail_rest(&mut self, error: impl Fn(String) -> OracleError) {
        let open = std::mem::take(&mut self.open).into_values().map(|open| open.job);
        for job in open.chain(std::mem::take(&mut self.waiting)) {
            let error = error(self.example(job.place));
            self.resolve(&job, Err(error));
        }
    }

    fn fail_next(&mut self, error: OracleError) {
        if let Some(job) = self.waiting.pop_front() {
            self.resolve(&job, Err(error));
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Timeout => write!(f, "no answer in time"),
            Failure::Died { status, stderr } => write!(f, "it ended ({status}); stderr: {stderr}"),
            Failure::Protocol { detail, output } => write!(f, "{detail}; it wrote: {output}"),
        }
    }
}

fn stray() -> String {
    "a reply to no open request".to_owned()
}

fn too_long() -> String {
    format!("a line on stdout is longer than {LINE_LIMIT} bytes")
}

fn verdict(ranking: Ranking, job: &Job, line: &str) -> Verdict {
    let latency = job.first_sent.map_or(Duration::ZERO, |sent| sent.elapsed());
    let cut = line.floor_char_boundary(RAW_LIMIT);
    Verdict { raw: Some(line[..cut].to_owned()), ..Verdict::new(ranking, latency) }
}
