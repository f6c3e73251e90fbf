//! What a policy sampled: completions, and the group of them that answers one prompt.

use serde::{Deserialize, Serialize};

/// Why sampling stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The policy ended its answer.
    Stop,
    /// The limit on tokens cut the answer off.
    Length,
}

/// One sampled answer, with what the update needs later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Decoded text without special tokens, as an Oracle sees it.
    pub text: String,
    /// Sampled token ids with the closing end-of-sequence token, where there is one. Length `T`.
    pub token_ids: Vec<u32>,
    /// `log π(o_t | q, o_<t)` in nats under the unmodified policy (temperature 1, nothing cut
    /// off but the tokens that can never be sampled), length `T`.
    pub logprobs: Vec<f32>,
    /// The same under the distribution that was sampled from (temperature, top-p, top-k),
    /// length `T`.
    pub sampling_logprobs: Vec<f32>,
    /// Why sampling stopped.
    pub finish_reason: FinishReason,
}

impl Completion {
    /// Mean token log-probability under the policy, the value that orders a group by the
    /// policy's own preference; negative infinity when empty.
    #[must_use]
    pub fn mean_logprob(&self) -> f32 {
        if self.logprobs.is_empty() {
            return f32::NEG_INFINITY;
        }
        self.logprobs.iter().sum::<f32>() / self.logprobs.len() as f32
    }
}

/// The G completions of one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// [`Example::id`](crate::Example::id) of the prompt.
    pub example_id: String,
    /// Length of the prompt in tokens, visual ones included.
    pub prompt_tokens: usize,
    /// The sampled answers.
    pub completions: Vec<Completion>,
}
