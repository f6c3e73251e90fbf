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
use super::flight::Claim;
use super::group::{Answered, Job, Reading};

/// A question with its words, and the right to ask it.
struct Worded<'a> {
    job: Job,
    request: ChatRequest,
    claim: Claim<'a>,
}

/// Asks until the Oracle is gone.
pub(super) fn work(shared: &Shared) {
    while let Some(jobs) = shared.queue.take(shared.batch) {
        // What a panic drops answers itself and gives up its claims, so that nobody waits for it.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| turn(shared, jobs))) {
            let words = excerpt(panic_message(&*panic));
            tracing::error!(oracle = shared.settings.name, words, "asking panicked");
        }
    }
}

/// Answers jobs from the ledger, and asks those that it does not know.
fn turn(shared: &Shared, jobs: Vec<Job>) {
    let mut asking = Vec::new();
    for job in jobs {
        if !is_wanted(&job) {
            continue;
        }
        job.asked.started.get_or_init(Instant::now);
        match worded(shared, job) {
            Ok(None) => {}
            // Claimed before the look-up: a reply that lands in between would be missed.
            Ok(Some(worded)) => asking.extend(unless_known(shared, worded)),
            Err((job, error)) => answer(*job, Err(error)),
        }
    }
    ask(shared, asking);
}

/// Whether anybody waits for the answer.
fn is_wanted(job: &Job) -> bool {
    !job.asked.over.load(Ordering::Acquire) && !job.asked.cancel.is_cancelled()
}

/// Puts a job into words; none where another asks the same already.
fn worded(shared: &Shared, mut job: Job) -> Result<Option<Worded<'_>>, (Box<Job>, OracleError)> {
    if job.messages.is_empty() {
        match shared.prompts.messages(&job.asked.request, &job.question) {
            Ok(messages) => job.messages = messages,
            Err(reason) => {
                let error = refused(&job, reason);
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
    let claimed = shared.flight.claim(&shared.queue, &digest, job);
    Ok(claimed.map(|(job, claim)| Worded { job, request, claim }))
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
fn unless_known<'a>(shared: &'a Shared, mut worded: Worded<'a>) -> Option<Worded<'a>> {
    match shared.ledger.reply(&worded.claim.digest) {
        Ok(None) => match permission(shared, &worded.job) {
            Ok(()) => Some(worded),
            Err(error) => {
                answer(worded.job, Err(error));
                None
            }
        },
        Ok(Some(entry)) => {
            shared.count(|usage| usage.cached += 1);
            worded.job.call.latency += entry.latency;
            worded.job.call.cost += entry.cost;
            let said = match entry.problem {
                Some(problem) => Err(problem),
                None => read(&entry.raw, &worded.job.question),
            };
            go_on(shared, worded, entry.raw, said);
            None
        }
        Err(error) => {
            let error = ledger_error(&worded.job, error);
            answer(worded.job, Err(error));
            None
        }
    }
}

fn permission(shared: &Shared, job: &Job) -> Result<(), OracleError> {
    let hopeless = shared.hopeless.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (oracle, example) = job.names();
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
fn ask(shared: &Shared, asking: Vec<Worded<'_>>) {
    let deadline = |job: &Job| {
        let started = job.asked.started.get()?;
        started.checked_add(shared.settings.deadline?)
    };
    if asking.is_empty() {
        return;
    }
    for worded in &asking {
        // Whatever goes wrong goes wrong again, and is told, when it is sent.
        catch_unwind(AssertUnwindSafe(|| shared.chat.prepare(&worded.request))).ok();
    }
    // Kept until the replies are stored.
    let _slot = shared.slots.enter();
    let (asking, unwanted): (Vec<_>, Vec<_>) =
        asking.into_iter().partition(|worded| is_wanted(&worded.job));
    for _ in &unwanted {
        shared.budget.give_back();
    }
    drop(unwanted);
    let Some(first) = asking.first() else { return };
    // Those of several groups go together: the first deadline holds for all, and so does the wish of
    // one of them to stop. The others are asked again then.
    let patience = Patience {
        deadline: asking.iter().filter_map(|worded| deadline(&worded.job)).min(),
        cancel: first.job.asked.cancel.clone(),
    };
    let requests: Vec<&ChatRequest> = asking.iter().map(|worded| &worded.request).collect();
    // A thread that ended here would leave everybody waiting for these replies.
    let mut replies = catch_unwind(AssertUnwindSafe(|| shared.chat.chat(&requests, &patience)))
        .unwrap_or_else(|panic| {
            let words = excerpt(panic_message(&*panic));
            vec![Err(ChatError::Hopeless(format!("the model panicked: {words}"))); asking.len()]
        });
    if replies.len() != asking.len() {
        // Nobody knows which question each of them belongs to.
        let why = format!("the model gave {} replies to {}", replies.len(), asking.len());
        replies = vec![Err(ChatError::Hopeless(why)); asking.len()];
    }
    for (worded, reply) in asking.into_iter().zip(replies) {
        let error = match reply {
            Ok(reply) => {
                take_in(shared, worded, reply);
                continue;
            }
            Err(error) => error,
        };
        shared.budget.give_back();
        let Worded { job, claim, .. } = worded;
        let is_of_others = match error {
            ChatError::Cancelled => {
                patience.cancel.is_cancelled() && !job.asked.cancel.is_cancelled()
            }
            ChatError::Deadline { .. } => deadline(&job) > patience.deadline,
            _ => false,
        };
        drop(claim);
        if is_of_others {
            shared.queue.push_first(vec![job]);
        } else {
            let error = chat_error(shared, &job, error);
            answer(job, Err(error));
        }
    }
}

/// Stores a reply before anything is made of it.
fn take_in(shared: &Shared, mut worded: Worded<'_>, reply: ChatReply) {
    let said = if reply.cut_off {
        Err(if reply.text.trim().is_empty() {
            "the reply reached `max_tokens` before it said anything: raise `max_tokens`, or let the \
             model think less"
        } else {
            "the reply was cut off at `max_tokens`: answer in fewer words"
        }
        .to_owned())
    } else {
        read(&reply.text, &worded.job.question)
    };
    let stored = shared.ledger.store(&entry(shared, &worded, &reply, &said));
    shared.budget.spend(reply.cost);
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
        let error = ledger_error(&worded.job, error);
        answer(worded.job, Err(error));
        return;
    }
    go_on(shared, worded, reply.text, said);
}

fn entry(
    shared: &Shared,
    worded: &Worded<'_>,
    reply: &ChatReply,
    said: &Result<Said, String>,
) -> Entry {
    let request = &worded.job.asked.request;
    Entry {
        digest: worded.claim.digest.clone(),
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
fn go_on(shared: &Shared, worded: Worded<'_>, raw: String, said: Result<Said, String>) {
    let Worded { mut job, claim, .. } = worded;
    // It is stored: those who wait for the same find it.
    drop(claim);
    if let Err(problem) = &said
        && job.repairs < shared.settings.repairs
        // There is no turn of silence to answer to.
        && !raw.trim().is_empty()
    {
        match shared.prompts.repair(&job.question, problem) {
            Ok(repair) => {
                shared.count(|usage| usage.repairs += 1);
                job.messages.push(ChatMessage::new(ChatRole::Assistant, raw));
                job.messages.push(repair);
                job.repairs += 1;
                shared.queue.push_first(vec![job]);
            }
            Err(reason) => {
                let error = refused(&job, reason);
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

fn refused(job: &Job, reason: String) -> OracleError {
    let (oracle, example) = job.names();
    OracleError::Refused { oracle, example, reason }
}

fn ledger_error(job: &Job, source: LedgerError) -> OracleError {
    let (oracle, example) = job.names();
    OracleError::Ledger { oracle, example, source }
}

fn chat_error(shared: &Shared, job: &Job, error: ChatError) -> OracleError {
    let (oracle, example) = job.names();
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
