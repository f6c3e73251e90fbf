//! A checkpoint that answers chats in this process, as a server would.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use rlaif_data::FinishReason;
use rlaif_oracle::{ChatError, ChatModel, ChatReply, ChatRequest, Patience};
use rlaif_rollout::{PromptInput, SampleRequest, SamplingParams, encode_alike, sample};
use rlaif_video::digest::digest_parts;
use serde_json::{Value, json};

use super::config::ModelOracleConfig;
use super::messages::conversation;
use super::model::{Fault, LocalModel};
use crate::recipe::VideoConfig;

/// A checkpoint that answers chats about a video.
///
/// - System turns are the template's where it has a place for them; otherwise their text stands
///   before that of the first user turn.
/// - A reply is greedy, or sampled by a seed made of the recipe's, the request and its
///   [`repeat`](ChatRequest::repeat): it depends on nothing else in flight.
/// - [`ChatRequest::schema`] has no effect: nothing holds the model to it, and a reply that does
///   not keep to it is for the protocol's repair turn.
/// - Once the run asks to stop, requests come back at once, those under way among them. A deadline
///   is looked at before each batch: replies that came late are replies.
pub struct LocalChat {
    speaker: Arc<Speaker>,
    batch: usize,
}

/// What a reply depends on beside the request.
struct Speaker {
    model: Arc<LocalModel>,
    params: SamplingParams,
    seed: u64,
}

impl LocalChat {
    /// Opens the checkpoint that `config` names; `video` says how clips are read.
    ///
    /// # Errors
    ///
    /// Names the key that is out of its range, or the file that is missing or cannot be used.
    pub fn open(config: &ModelOracleConfig, video: &VideoConfig, device: &Device) -> Result<Self> {
        Self::new(Arc::new(LocalModel::open(config, video, device)?), config)
    }

    /// The same with a checkpoint that is open already.
    ///
    /// # Errors
    ///
    /// Names the key that is out of its range, replies longer than the model's positions among
    /// them.
    pub fn new(model: Arc<LocalModel>, config: &ModelOracleConfig) -> Result<Self> {
        config.check()?;
        if config.max_tokens >= model.limit() {
            bail!(
                "`max_tokens` must be below the {} positions of `{}`, which the prompt needs, too; \
                 got {}",
                model.limit(),
                model.path().display(),
                config.max_tokens
            );
        }
        let params = SamplingParams {
            temperature: config.temperature,
            max_completion_length: config.max_tokens,
            ..SamplingParams::default()
        };
        let speaker = Arc::new(Speaker { model, params, seed: config.seed });
        Ok(LocalChat { speaker, batch: config.batch })
    }

    /// The checkpoint.
    #[must_use]
    pub fn model(&self) -> &Arc<LocalModel> {
        &self.speaker.model
    }
}

impl Speaker {
    /// Requests that go through the model together; equal ones are encoded once, and so is what
    /// those about one clip begin with.
    fn together(&self, requests: &[ChatRequest]) -> Vec<Result<ChatReply, ChatError>> {
        let start = Instant::now();
        let mut prompts: Vec<(&ChatRequest, PromptInput)> = Vec::new();
        let mut wanted: Vec<Result<SampleRequest, ChatError>> = Vec::with_capacity(requests.len());
        for request in requests {
            let seed = self.seed(request);
            let same = |(other, _): &(&ChatRequest, PromptInput)| {
                other.video == request.video && other.messages == request.messages
            };
            wanted.push(match prompts.iter().position(same) {
                Some(prompt) => Ok(SampleRequest { prompt, seed }),
                None => self.prompt(request).map(|input| {
                    prompts.push((request, input));
                    SampleRequest { prompt: prompts.len() - 1, seed }
                }),
            });
        }
        let samples: Vec<SampleRequest> = wanted.iter().flatten().copied().collect();
        let mut sampled = if samples.is_empty() {
            Vec::new().into_iter()
        } else {
            let model = &self.model.model;
            let inputs: Vec<&PromptInput> = prompts.iter().map(|(_, input)| input).collect();
            let prefix = encode_alike(model, &inputs);
            sample(model, &prefix, &samples, &self.params, &self.model.vocabulary).into_iter()
        };
        let latency = start.elapsed();
        let replies = wanted.into_iter().map(|wanted| {
            let prompt = wanted?.prompt;
            let Some(one) = sampled.next() else {
                unreachable!("every request that has a prompt was sampled")
            };
            Ok(ChatReply {
                text: self.model.builder.tokenizer.decode(&one.token_ids),
                cut_off: one.finish_reason == FinishReason::Length,
                prompt_tokens: Some(prompts[prompt].1.ids.len() as u64),
                completion_tokens: Some(one.token_ids.len() as u64),
                cost: 0.0,
                latency,
            })
        });
        replies.collect()
    }

    fn prompt(&self, request: &ChatRequest) -> Result<PromptInput, ChatError> {
        let messages =
            conversation(&request.messages, self.model.system_turns).map_err(ChatError::Refused)?;
        let room = self.params.max_completion_length;
        let visual = self.model.visual(&request.video).map_err(fault)?;
        self.model.prompt(&messages, visual, room).map_err(fault)
    }

    /// Seed of a reply's own random stream.
    fn seed(&self, request: &ChatRequest) -> u64 {
        let asked = json!([self.seed, request.video, request.messages, request.repeat]);
        let digest = digest_parts(&["oracle-rlaif/local-chat/1".to_owned(), asked.to_string()]);
        digest.bytes().take(16).fold(0, |seed, digit| {
            seed << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or_default())
        })
    }
}

fn fault(fault: Fault) -> ChatError {
    match fault {
        Fault::Clip(reason) => ChatError::Video(reason),
        Fault::Request(reason) => ChatError::Refused(reason),
        Fault::Everywhere(reason) => ChatError::Hopeless(reason),
    }
}

impl ChatModel for LocalChat {
    fn identity(&self) -> Value {
        let Speaker { model, params, seed } = &*self.speaker;
        json!({
            "type": "model",
            "model": model.identity(),
            "temperature": params.temperature,
            "max_tokens": params.max_completion_length,
            // Greedy replies are the same with every seed.
            "seed": (params.temperature > 0.0).then_some(seed),
        })
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn chat(
        &self,
        requests: &[&ChatRequest],
        patience: &Patience,
    ) -> Vec<Result<ChatReply, ChatError>> {
        let start = Instant::now();
        let mut out = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(self.batch) {
            if let Some(error) = over(patience, start) {
                out.extend(chunk.iter().map(|_| Err(error.clone())));
                continue;
            }
            let own: Vec<ChatRequest> = chunk.iter().map(|request| (*request).clone()).collect();
            let speaker = self.speaker.clone();
            match speaker.model.clone().compute(&patience.cancel, move || speaker.together(&own)) {
                Some(replies) => out.extend(replies),
                None => out.extend(chunk.iter().map(|_| Err(ChatError::Cancelled))),
            }
        }
        out
    }
}

/// Why nothing more is to be begun, where so.
fn over(patience: &Patience, start: Instant) -> Option<ChatError> {
    if patience.cancel.is_cancelled() {
        return Some(ChatError::Cancelled);
    }
    let deadline = patience.deadline.filter(|deadline| *deadline <= Instant::now())?;
    Some(ChatError::Deadline {
        seconds: deadline.saturating_duration_since(start).as_secs_f64(),
        attempts: 0,
        last: "the model was busy with the requests before it".to_owned(),
    })
}
