//! What the model says, in OpenAI's forms: one object, or chunks of a stream.

use serde::Serialize;

use super::problem::Problem;

/// What the worker tells of a request, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its prompt is made and has so many tokens, visual ones among them.
    Started {
        /// Tokens.
        prompt_tokens: usize,
    },
    /// A token was sampled.
    Token {
        /// Number of the reply among the request's `n`.
        choice: usize,
        /// The text that became certain with it, often empty.
        text: String,
        /// Its log-probability, where it was asked for.
        logprob: Option<TokenLogprob>,
    },
    /// A reply ended.
    Ended {
        /// Number of the reply.
        choice: usize,
        /// Why.
        finish: Finish,
    },
    /// All replies ended.
    Done {
        /// Tokens that were sampled for all of them, end tokens among them.
        completion_tokens: usize,
    },
    /// The request failed, now or on the way.
    Failed(Problem),
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// At an end token or a stop string.
    Stop,
    /// At the limit of tokens.
    Length,
}

/// A token and its log-probability under the model's own distribution, whatever was sampled from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternative {
    /// The text that it adds; a special token's spelling; part of a character as U+FFFD, the last
    /// part as the whole.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes: those of all tokens together are the text. `None` where they are not known.
    pub bytes: Option<Vec<u8>>,
}

/// One sampled token with the likeliest in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token.
    #[serde(flatten)]
    pub token: Alternative,
    /// The likeliest in its place, likeliest first.
    pub top_logprobs: Vec<Alternative>,
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompt, visual ones among them.
    pub prompt_tokens: usize,
    /// Sampled, for all replies, end tokens among them.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
}

impl Usage {
    /// The sum of a prompt's and its replies' tokens.
    #[must_use]
    pub fn new(prompt_tokens: usize, completion_tokens: usize) -> Self {
        let total_tokens = prompt_tokens + completion_tokens;
        Usage { prompt_tokens, completion_tokens, total_tokens }
    }
}

/// What all objects of one reply begin with.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// `chatcmpl-` and a random number.
    pub id: String,
    /// `chat.completion`, or `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
}

impl Head {
    /// A new reply of `model`, now.
    #[must_use]
    pub fn new(model: &str, stream: bool) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Head {
            id: format!("chatcmpl-{:032x}", rand::random::<u128>()),
            object: if stream { "chat.completion.chunk" } else { "chat.completion" },
            created: now.map_or(0, |now| now.as_secs()),
            model: model.to_owned(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Logprobs {
    content: Vec<TokenLogprob>,
    refusal: Option<()>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Choice {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Said>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<Finish>,
}

#[derive(Debug, Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    head: &'a Head,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

impl Whole<'_> {
    fn text(&self) -> Result<String, Problem> {
        serde_json::to_string(self).map_err(|error| Problem::server(error.to_string()))
    }
}

/// A whole reply, put together from events.
#[derive(Debug)]
pub struct Collected {
    choices: Vec<Choice>,
    prompt_tokens: usize,
    usage: Option<Usage>,
}

impl Collected {
    /// For `n` replies; `logprobs` says whether they have log-probabilities.
    #[must_use]
    pub fn new(n: usize, logprobs: bool) -> Self {
        let said = Said { role: Some("assistant"), content: Some(String::new()) };
        let choice = |index| Choice {
            index,
            message: Some(said.clone()),
            delta: None,
            logprobs: logprobs.then(|| Logprobs { content: Vec::new(), refusal: None }),
            finish_reason: None,
        };
        Collected { choices: (0..n).map(choice).collect(), prompt_tokens: 0, usage: None }
    }

    /// Adds an event; true once there are no more to come.
    ///
    /// # Errors
    ///
    /// The request's own failure.
    pub fn add(&mut self, event: Event) -> Result<bool, Problem> {
        match event {
            Event::Started { prompt_tokens } => self.prompt_tokens = prompt_tokens,
            Event::Token { choice, text, logprob } => {
                let choice = &mut self.choices[choice];
                if let Some(Said { content: Some(content), .. }) = &mut choice.message {
                    content.push_str(&text);
                }
                if let (Some(all), Some(one)) = (&mut choice.logprobs, logprob) {
                    all.content.push(one);
                }
            }
            Event::Ended { choice, finish } => self.choices[choice].finish_reason = Some(finish),
            Event::Done { completion_tokens } => {
                self.usage = Some(Usage::new(self.prompt_tokens, completion_tokens));
                return Ok(true);
            }
            Event::Failed(problem) => return Err(problem),
        }
        Ok(false)
    }

    /// The reply as JSON.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 500 where it cannot be written.
    pub fn json(self, head: &Head) -> Result<String, Problem> {
        Whole { head, choices: self.choices, usage: self.usage }.text()
    }
}

/// Events to the chunks of a stream.
#[derive(Debug)]
pub struct Chunks {
    head: Head,
    n: usize,
    include_usage: bool,
    prompt_tokens: usize,
}

impl Chunks {
    /// For a reply of `n` choices.
    #[must_use]
    pub fn new(head: Head, n: usize, include_usage: bool) -> Self {
        Chunks { head, n, include_usage, prompt_tokens: 0 }
    }

    /// The data of an event, and true once there is no more to come.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 500 where it cannot be written.
    pub fn of(&mut self, event: Event) -> Result<(Vec<String>, bool), Problem> {
        match event {
            Event::Started { prompt_tokens } => {
                self.prompt_tokens = prompt_tokens;
                let said = Said { role: Some("assistant"), content: Some(String::new()) };
                let all = (0..self.n).map(|at| self.chunk(at, said.clone(), None, None));
                Ok((all.collect::<Result<_, _>>()?, false))
            }
            Event::Token { text, logprob: None, .. } if text.is_empty() => Ok((Vec::new(), false)),
            Event::Token { choice, text, logprob } => {
                let said = Said { role: None, content: Some(text) };
                Ok((vec![self.chunk(choice, said, logprob, None)?], false))
            }
            Event::Ended { choice, finish } => {
                Ok((vec![self.chunk(choice, Said::default(), None, Some(finish))?], false))
            }
            Event::Done { completion_tokens } => {
                let mut last = Vec::new();
                if self.include_usage {
                    let usage = Some(Usage::new(self.prompt_tokens, completion_tokens));
                    last.push(Whole { head: &self.head, choices: Vec::new(), usage }.text()?);
                }
                last.push("[DONE]".to_owned());
                Ok((last, true))
            }
            Event::Failed(problem) => Ok((vec![problem.body().to_string()], true)),
        }
    }

    fn chunk(
        &self,
        index: usize,
        delta: Said,
        logprob: Option<TokenLogprob>,
        finish_reason: Option<Finish>,
    ) -> Result<String, Problem> {
        let logprobs = logprob.map(|one| Logprobs { content: vec![one], refusal: None });
        let choice = Choice { index, message: None, delta: Some(delta), logprobs, finish_reason };
        Whole { head: &self.head, choices: vec![choice], usage: None }.text()
    }
}
