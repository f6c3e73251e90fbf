//! The one thread that has the model: jobs in, events out.
//!
//! Whatever waits when the model is free is answered together: the weights are read once per step
//! for all of it, and every request keeps its own sampling.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use anyhow::Result;
use rlaif_data::Message;
use rlaif_model::Vlm;
use rlaif_model::hf::ChatTokenizer;
use rlaif_rollout::{
    PromptBuilder, PromptError, PromptInput, SampleRequest, SamplingParams, Visual, Vocabulary,
    encode, sample_observed,
};
use rlaif_train::batch::vocabulary;
use rlaif_video::{LoadOptions, Loader};
use tokio::sync::mpsc::UnboundedSender;

use super::Limits;
use super::continuation::Continuation;
use super::media::Placed;
use super::problem::Problem;
use super::reply::{Event, Finish};
use super::request::Wish;
use crate::folder::{self, Folder};
use crate::recipe::VideoConfig;

/// Uploads after which the digests of their files are forgotten.
const UPLOADS: usize = 1000;

/// One request on its way to the model.
#[derive(Debug)]
pub struct Job {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Its clip.
    pub clip: Option<Placed>,
    /// What is wanted.
    pub wish: Wish,
    /// Where the answer goes. A closed channel cancels the job.
    pub events: UnboundedSender<Event>,
}

/// The model with everything that answers need.
pub struct Engine {
    model: Vlm,
    tokenizer: Arc<ChatTokenizer>,
    builder: PromptBuilder,
    vocabulary: Vocabulary,
    limits: Limits,
    uploads: usize,
    sampled_tokens: Arc<AtomicU64>,
}

/// A job with its encoded prompt to come, and its continuations still to end.
struct Ready {
    job: Job,
    input: PromptInput,
    params: SamplingParams,
    open: usize,
    tokens: usize,
}

impl Engine {
    /// Takes over an opened checkpoint.
    ///
    /// # Errors
    ///
    /// Fails where the settings of the video fit no model.
    pub fn new(folder: Folder, video: &VideoConfig, limits: Limits) -> Result<Self> {
        let mut builder = folder.builder(video, folder::world_clips(), 1)?;
        // Everybody waits while a clip is read.
        let reading = LoadOptions::default().timeout.min(limits.timeout);
        builder.loader = Loader::new(LoadOptions { timeout: reading, ..LoadOptions::default() });
        let vocabulary = vocabulary(&folder.tokenizer, &folder.model);
        let (model, tokenizer) = (folder.model, folder.tokenizer);
        let sampled_tokens = Arc::default();
        let uploads = 0;
        Ok(Engine { model, tokenizer, builder, vocabulary, limits, uploads, sampled_tokens })
    }

    /// Tokens sampled so far, end tokens and those of cancelled replies among them.
    #[must_use]
    pub fn sampled_tokens(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sampled_tokens)
    }

    /// Answers jobs until nobody can send any.
    pub fn work(mut self, jobs: &Receiver<Job>) {
        let mut waiting: Option<Job> = None;
        while let Some(first) = waiting.take().or_else(|| jobs.recv().ok()) {
            let mut width = first.wish.n;
            let mut batch = vec![first];
            while let Ok(next) = jobs.try_recv() {
                width += next.wish.n;
                if width > self.limits.max_batch {
                    waiting = Some(next);
                    break;
                }
                batch.push(next);
            }
            self.answer(batch);
        }
    }

    fn answer(&mut self, batch: Vec<Job>) {
        let mut ready = Vec::with_capacity(batch.len());
        for job in batch {
            if job.events.is_closed() {
                continue;
            }
            let events = job.events.clone();
            match guarded("a prompt", || self.prompt(job)) {
                Ok(one) => ready.push(one),
                Err(problem) => drop(events.send(Event::Failed(problem))),
            }
        }
        if ready.is_empty() {
            return;
        }
        let generated = guarded("generation", || {
            self.generate(&mut ready);
            Ok(())
        });
        if let Err(problem) = generated {
            for one in ready.iter().filter(|one| one.open > 0) {
                drop(one.job.events.send(Event::Failed(problem.clone())));
            }
        }
    }

    /// Reads the clip and makes the prompt; uploads are removed on the way out.
    fn prompt(&mut self, mut job: Job) -> Result<Ready, Problem> {
        self.builder.max_completion_length = job.wish.max_tokens.unwrap_or(1);
        let clip = job.clip.take();
        let input = match &clip {
            Some(clip) => self
                .builder
                .features(&self.model, &clip.video)
                .and_then(|features| {
                    let visual = Visual::Features(features);
                    self.builder.prompt_about(&self.model, &job.messages, visual)
                })
                .map_err(|error| {
                    tracing::info!(%error, "a prompt is refused");
                    Problem::from(&error)
                }),
            None => self.text_prompt(&job.messages),
        };
        if clip.is_some_and(|clip| clip.files.is_some()) {
            self.uploads += 1;
            if self.uploads.is_multiple_of(UPLOADS) {
                self.builder.loader = Loader::new(self.builder.loader.options().clone());
            }
        }
        let input = input?;
        let left = self.model.config.text.max_position_embeddings - input.ids.len();
        let longest = job.wish.max_tokens.unwrap_or(left.min(self.limits.max_new_tokens));
        let mut params = job.wish.sampling.clone();
        params.max_completion_length = longest;
        let open = job.wish.n;
        drop(job.events.send(Event::Started { prompt_tokens: input.ids.len() }));
        Ok(Ready { job, input, params, open, tokens: 0 })
    }

    /// A conversation that shows nothing.
    fn text_prompt(&self, messages: &[Message]) -> Result<PromptInput, Problem> {
        let text = |error| Problem::from(&PromptError::Text(error));
        let ids = self.tokenizer.encode_conversation(messages, true).map_err(text)?;
        let limit = self.model.config.text.max_position_embeddings;
        let room = limit.saturating_sub(self.builder.max_completion_length);
        if ids.len() > room {
            return Err(Problem::from(&PromptError::TooLong { tokens: ids.len(), room }));
        }
        if ids.is_empty() || ids.contains(&self.tokenizer.image_token_id()) {
            let message = "this model's chat template needs a clip: show an image or a video";
            return Err(Problem::invalid("messages", message));
        }
        Ok(PromptInput { ids, visual: None, positions: None })
    }

    fn generate(&self, ready: &mut [Ready]) {
        let inputs: Vec<&PromptInput> = ready.iter().map(|one| &one.input).collect();
        let prefix = encode(&self.model, &inputs);
        let (mut requests, mut params, mut continuations) = (Vec::new(), Vec::new(), Vec::new());
        for (prompt, one) in ready.iter().enumerate() {
            let first = one.job.wish.seed.unwrap_or_else(rand::random);
            for index in 0..one.job.wish.n {
                requests.push(SampleRequest { prompt, seed: first.wrapping_add(index as u64) });
                params.push(one.params.clone());
                let tokenizer = Arc::clone(&self.tokenizer);
                continuations.push((prompt, Continuation::new(index, tokenizer, &one.job.wish)));
            }
        }
        let mut observe = |token: &rlaif_rollout::Observed<'_>| {
            let (prompt, continuation) = &mut continuations[token.request];
            let one = &mut ready[*prompt];
            self.sampled_tokens.fetch_add(1, Ordering::Relaxed);
            if one.job.events.is_closed() {
                return ControlFlow::Break(());
            }
            let last = token.position + 1 == one.params.max_completion_length;
            let ended = match continuation.see(token, last) {
                Ok((event, ended)) => {
                    drop(one.job.events.send(event));
                    ended
                }
                Err(error) => {
                    tracing::error!(%error, "a reply is given up");
                    drop(one.job.events.send(Event::Failed(Problem::server(error.to_string()))));
                    Some(Finish::Stop)
                }
            };
            one.tokens += 1;
            let Some(finish) = ended else { return ControlFlow::Continue(()) };
            drop(one.job.events.send(Event::Ended { choice: continuation.index(), finish }));
            one.open -= 1;
            if one.open == 0 {
                drop(one.job.events.send(Event::Done { completion_tokens: one.tokens }));
            }
            ControlFlow::Break(())
        };
        let sampled = sample_observed(
            &self.model,
            &prefix,
            &requests,
            &params,
            &self.vocabulary,
            &mut observe,
        );
        tracing::debug!(
            continuations = sampled.len(),
            tokens = sampled.iter().map(|one| one.token_ids.len()).sum::<usize>(),
            "answered"
        );
    }
}

/// A panic in one request's work is that request's failure, not the end of the server.
fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("{what} ended in a panic, which its request is told; the server goes on");
        Err(Problem::server("the server failed on this request; its log says where"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_failure_of_its_request() {
        let failed = guarded("a test", || -> Result<(), Problem> { panic!("of a kernel") });
        let problem = failed.unwrap_err();
        assert_eq!((problem.status, problem.kind), (500, "server_error"));
        assert!(!problem.message.contains("kernel"), "{problem}");
        assert_eq!(guarded("a test", || Ok(3)), Ok(3));
    }
}
