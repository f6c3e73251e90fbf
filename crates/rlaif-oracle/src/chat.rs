//! The seam between judging and whoever answers: a chat in, a reply out.

use std::time::{Duration, Instant};

use rlaif_data::VideoRef;
use serde::{Deserialize, Serialize};

use crate::{Cancel, Usage};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// The rules of the conversation.
    System,
    /// Who asks.
    User,
    /// Who answers.
    Assistant,
}

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: ChatRole,
    /// What is said.
    pub text: String,
}

impl ChatMessage {
    /// A turn.
    #[must_use]
    pub fn new(role: ChatRole, text: impl Into<String>) -> Self {
        ChatMessage { role, text: text.into() }
    }
}

/// One thing to ask a chat model. The video belongs to the first user turn, before its text.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// What the conversation is about.
    pub video: VideoRef,
    /// The conversation; the last turn is the user's.
    pub messages: Vec<ChatMessage>,
    /// JSON schema that the reply keeps to, where the model can be held to one.
    pub schema: Option<serde_json::Value>,
    /// Tells apart requests that read the same and are to be answered anew: the number of the
    /// repeat, for models that sample their replies.
    pub repeat: u32,
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatReply {
    /// What was said.
    pub text: String,
    /// Whether it ended because it was as long as it may be: what is there may be half of a word.
    pub cut_off: bool,
    /// Tokens of the prompt, where the model counts them.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the reply, where the model counts them.
    pub completion_tokens: Option<u64>,
    /// What it cost, in the currency of the recipe's prices; 0 where there are none.
    pub cost: f64,
    /// From sending the attempt that was answered to its answer.
    pub latency: Duration,
}

/// Why there is no reply. Messages carry no key and no picture.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChatError {
    /// The run asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// No reply before the group's deadline, retries included.
    #[error("no reply within {seconds} s after {attempts} attempts; the last: {last}")]
    Deadline {
        /// The time that was given.
        seconds: f64,
        /// Attempts made.
        attempts: u32,
        /// The last failure in words.
        last: String,
    },
    /// Retries are used up.
    #[error("no reply after {attempts} attempts; the last: {last}")]
    Unavailable {
        /// Attempts made.
        attempts: u32,
        /// The last failure in words.
        last: String,
    },
    /// The model refuses this request; others may go through.
    #[error("refused: {0}")]
    Refused(String),
    /// The model refuses every request: a wrong key, a wrong address, an unknown model.
    #[error("{0}")]
    Hopeless(String),
    /// The video cannot be shown.
    #[error("the clip cannot be shown: {0}")]
    Video(String),
}

/// How long a request may take.
#[derive(Clone, Debug)]
pub struct Patience {
    /// When the group's time is over; none where it has all the time.
    pub deadline: Option<Instant>,
    /// The wish to stop. A request under way may still end and be stored.
    pub cancel: Cancel,
}

impl Patience {
    /// What is left before the deadline; none without one.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// Anything that answers a chat about a video: a server, or a model in this process.
pub trait ChatModel: Send + Sync {
    /// Everything beside the request that a reply depends on, as JSON: address, model, sampling,
    /// how the video is shown. Part of the ledger's key. Holds no secret.
    fn identity(&self) -> serde_json::Value;

    /// Threads that are worth keeping busy at once, at least 1.
    fn concurrency(&self) -> usize {
        1
    }

    /// Requests that are worth handing over together, at least 1.
    fn batch(&self) -> usize {
        1
    }

    /// Does what can be done for a request before its turn to be sent comes, for instance decodes its
    /// clip. What fails here fails again, and is told, when it is sent.
    fn prepare(&self, _request: &ChatRequest) {}

    /// One result per request, in their order. Retries, limits and waiting are the model's.
    fn chat(
        &self,
        requests: &[&ChatRequest],
        patience: &Patience,
    ) -> Vec<Result<ChatReply, ChatError>>;

    /// Attempts made again and openings of the breaker so far; the rest is counted by who asks.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}
