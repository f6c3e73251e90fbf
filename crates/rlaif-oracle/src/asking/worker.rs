//! What a thread does with a question: look it up, ask, store, read, ask for a repair.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rlaif_data::VideoRef;
use sha2::{Digest as _, Sha256};

use crate::error::excerpt;
use crate::ledger::Entry;
use crate::merged::panic_message;
use crate::parse::parse_reply;
use crate::prompts::Prompts;
use crate::protocol::{Question, Said};
use crate::{
    ChatError, ChatMessage, ChatReply, ChatRequest, ChatRole, LedgerError, OracleError, Patience,
};

use super::Shared;
use super::budget::Exhausted;
use super::group::{Answered, Job, Reading};

/// A question with its words, and the key that its reply is kept under.
struct Worded {
    job: Job,
    request: ChatRequest,
    digest: String,
}

/// Asks until the Oracle is gone.
pub(super) fn work(shared: &Shared) {
    while let Some(jobs) = shared.queue.take(shared.chat.batch().max(1)) {
        let (mut asking, mut waiting) = (Vec::new(), Vec::new());
        for job in jobs {
            if job.asked.over.load(Ordering::Acquire) || job.asked.cancel.is_cancelled() {
                continue;
            }
            job.asked.started.get_or_init(Instant::now);
            let worded = match worded(shared, job) {
                Ok(worded) => worded,
                Err((job, error)) => {
                    answer(*job, Err(error));
                    continue;
                }
            };
            // Claimed before the look-up: a reply that lands in between would be missed.
            if shared.flight.claim(&worded.digest) {
                asking.extend(unless_known(shared, worded));
            } else {
                waiting.push(worded);
            }
        }
        ask(shared, asking);
        for worded in waiting {
            shared.flight.wait(&worded.digest);
            shared.queue.push_first(worded.job);
        }
    }
}

/// Puts a job into words.
fn worded(shared: &Shared, mut job: Job) -> Result<Worded, (Box<Job>, OracleError)> {
    if job.messages.is_empty() {
        match shared.prompts.messages(&job.asked.request, &job.question) {
            Ok(messages) => job.messages = messages,
            Err(reason) => {
                let error = refused(shared, &job, reason);
                return Err((Box::new(job), error));
            }
        }
    }
    let request = ChatRequest {
        video: job.asked.request.example.video.clone(),
        messages: job.messages.clone(),
        schema: Some(Prompts::schema(&job.question)),
        repeat: job.question.repeat,
    };
    let digest = digest(shared, &request);
    Ok(Worded { job, request, digest })
}

/// SHA-256 of all that a reply depends on.
fn digest(shared: &Shared, request: &ChatRequest) -> String {
    let size = |path: &std::path::Path| std::fs::metadata(path).map(|file| file.len()).ok();
    let sizes: Vec<Option<u64>> = match &request.video {
        VideoRef::File(path) => vec![size(path)],
        VideoRef::Frames(frames) => frames.iter().map(|path| size(path)).collect(),
        VideoRef::World(_) => Vec::new(),
    };
    let whole = serde_json::json!({
        "identity": shared.identity,
        "video": request.video,
        "sizes": sizes,
        "messages": request.messages,
        "schema": request.schema,
        "repeat": request.repeat,
    });
    format!("{:x}", Sha256::digest(whole.to_string()))
}

/// Answers from the ledger where it has the reply; else gives the question back, to be asked.
fn unless_known(shared: &Shared, mut worded: Worded) -> Option<Worded> {
    match shared.ledger.reply(&worded.digest) {
        Ok(None) => match permission(shared, &worded.job) {
            Ok(()) => Some(worded),
            Err(error) => {
                shared.flight.land(&worded.digest);
                answer(worded.job, Err(error));
                None
            }
        },
        Ok(Some(entry)) => {
            shared.flight.land(&worded.digest);
            shared.count(|usage| usage.cached += 1);
            worded.job.call.latency += entry.latency;
            let said = match entry.problem {
                Some(problem) => Err(problem),
                None => read(&entry.raw, &worded.job.question),
            };
            go_on(shared, worded, entry.raw, said);
            None
        }
        Err(error) => {
            shared.flight.land(&worded.digest);
            let error = ledger_error(shared, &worded.job, error);
            answer(worded.job, Err(error));
            None
        }
    }
}

fn permission(shared: &Shared, job: &Job) -> Result<(), OracleError> {
    let hopeless = shared.hopeless.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (oracle, example) = (shared.settings.name.clone(), job.asked.request.example.id.clone());
    if let Some(reason) = hopeless {
        return Err(OracleError::Hopeless { oracle, example, reason });
    }
    shared.budget.take().map_err(|Exhausted { limit, spent }| OracleError::Budget {
        oracle,
        example,
        limit,
        spent,
    })
}

/// Sends questions, all of them claimed and paid for by the budget.
fn ask(shared: &Shared, asking: Vec<Worded>) {
    let Some(first) = asking.first() else { return };
    let asked = &first.job.asked;
    let deadline = shared.settings.deadline.zip(asked.started.get());
    let patience = Patience {
        deadline: deadline.and_then(|(time, start)| start.checked_add(time)),
        cancel: asked.cancel.clone(),
    };
    let requests: Vec<&ChatRequest> = asking.iter().map(|worded| &worded.request).collect();
    // A thread that ended here would leave everybody waiting for these replies.
    let replies = catch_unwind(AssertUnwindSafe(|| shared.chat.chat(&requests, &patience)))
        .unwrap_or_else(|panic| {
            let words = excerpt(panic_message(&*panic));
            vec![Err(ChatError::Hopeless(format!("the model panicked: {words}"))); asking.len()]
        });
    let mut replies = replies.into_iter();
    for worded in asking {
        let reply = replies.next().unwrap_or_else(|| {
            Err(ChatError::Hopeless(
                "the model gave fewer replies than it was asked for".to_owned(),
            ))
        });
        match reply {
            Ok(reply) => take_in(shared, worded, reply),
            Err(error) => {
                shared.budget.give_back();
                shared.flight.land(&worded.digest);
                let error = chat_error(shared, &worded.job, error);
                answer(worded.job, Err(error));
            }
        }
    }
}

/// Stores a reply before anything is made of it.
fn take_in(shared: &Shared, mut worded: Worded, reply: ChatReply) {
    let said = if reply.cut_off {
        Err("the reply was cut off at `max_tokens`: answer in fewer words".to_owned())
    } else {
        read(&reply.text, &worded.job.question)
    };
    let stored = shared.ledger.store(&entry(shared, &worded, &reply, &said));
    shared.budget.spend(reply.cost);
    shared.flight.land(&worded.digest);
    shared.count(|usage| {
        usage.requests += 1;
        usage.prompt_tokens += reply.prompt_tokens.unwrap_or(0);
        usage.completion_tokens += reply.completion_tokens.unwrap_or(0);
        usage.cost += reply.cost;
    });
    worded.job.call.cached = false;
    worded.job.call.latency += reply.latency;
    worded.job.call.cost += reply.cost;
    if let Err(error) = stored {
        let error = ledger_error(shared, &worded.job, error);
        answer(worded.job, Err(error));
        return;
    }
    go_on(shared, worded, reply.text, said);
}

fn entry(
    shared: &Shared,
    worded: &Worded,
    reply: &ChatReply,
    said: &Result<Said, String>,
) -> Entry {
    let request = &worded.job.asked.request;
    Entry {
        digest: worded.digest.clone(),
        oracle: shared.settings.name.clone(),
        example: request.example.id.clone(),
        question: request.example.question(),
        shown: worded.job.question.shown.iter().map(|i| request.candidates[*i].clone()).collect(),
        raw: reply.text.clone(),
        ranking: match said {
            Ok(Said::Order(ranking)) => Some(ranking.to_string()),
            Ok(Said::Score(score)) => Some(format!("score {score}")),
            Ok(Said::Abstained(_)) | Err(_) => None,
        },
        problem: said.as_ref().err().cloned(),
        prompt_tokens: reply.prompt_tokens,
        completion_tokens: reply.completion_tokens,
        cost: reply.cost,
        latency: reply.latency,
    }
}

fn read(raw: &str, question: &Question) -> Result<Said, String> {
    parse_reply(raw, question).map_err(|error| error.to_string())
}

/// Hands an answer in, or asks once more where it is none.
fn go_on(shared: &Shared, worded: Worded, raw: String, said: Result<Said, String>) {
    let Worded { mut job, .. } = worded;
    if let Err(problem) = &said
        && job.repairs < shared.settings.repairs
    {
        match shared.prompts.repair(&job.question, problem) {
            Ok(repair) => {
                shared.count(|usage| usage.repairs += 1);
                job.messages.push(ChatMessage::new(ChatRole::Assistant, raw));
                job.messages.push(repair);
                job.repairs += 1;
                shared.queue.push_first(job);
            }
            Err(reason) => {
                let error = refused(shared, &job, reason);
                answer(job, Err(error));
            }
        }
        return;
    }
    match &said {
        Ok(Said::Order(ranking)) => job.call.ranking = Some(ranking.clone()),
        Ok(Said::Abstained(_)) => shared.count(|usage| usage.abstained += 1),
        Ok(Said::Score(_)) => {}
        Err(_) => shared.count(|usage| usage.malformed += 1),
    }
    answer(job, Ok(Reading { raw, said }));
}

/// Hands in what came of a question; nobody may be waiting any more.
fn answer(job: Job, result: Result<Reading, OracleError>) {
    let Job { asked, ticket, call, .. } = job;
    asked.answers.send(Answered { group: asked.index, ticket, call, result }).ok();
}

fn refused(shared: &Shared, job: &Job, reason: String) -> OracleError {
    let (oracle, example) = (shared.settings.name.clone(), job.asked.request.example.id.clone());
    OracleError::Refused { oracle, example, reason }
}

fn ledger_error(shared: &Shared, job: &Job, source: LedgerError) -> OracleError {
    let (oracle, example) = (shared.settings.name.clone(), job.asked.request.example.id.clone());
    OracleError::Ledger { oracle, example, source }
}

fn chat_error(shared: &Shared, job: &Job, error: ChatError) -> OracleError {
    let (oracle, example) = (shared.settings.name.clone(), job.asked.request.example.id.clone());
    let words = error.to_string();
    match error {
        ChatError::Cancelled => OracleError::Cancelled { example },
        ChatError::Deadline { .. } | ChatError::Unavailable { .. } => {
            OracleError::Unavailable { oracle, example, reason: words }
        }
        ChatError::Refused(reason) => OracleError::Refused { oracle, example, reason },
        ChatError::Video(reason) => OracleError::Video { oracle, example, reason },
        ChatError::Hopeless(reason) => {
            let mut hopeless = shared.hopeless.lock().unwrap_or_else(PoisonError::into_inner);
            hopeless.get_or_insert_with(|| reason.clone());
            OracleError::Hopeless { oracle, example, reason }
        }
    }
}
