//! Asking until there is an answer, or no hope or time for one.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Map, Value, json};

use super::{
    backoff,
    body::{self, Settings},
    config::{ServerConfig, Structured, wrong},
    fault::{Asked, Fault, Origin},
    frames::{Frames, FramesConfig, Pictures},
    gate::{Gate, Pass, Stop},
    limits::{LimitsConfig, seconds},
    reply::{self, Answer},
    secret::Secret,
    wire::{Lost, Wire},
};
use crate::{ChatError, ChatModel, ChatReply, ChatRequest, ConfigError, Patience, Usage};

/// A model behind an OpenAI-compatible address. Threads share it by reference: its limits, its
/// breaker and the server's pauses hold for all of them together.
///
/// ```no_run
/// use rlaif_data::VideoRef;
/// use rlaif_oracle::http::{FramesConfig, HttpChat, LimitsConfig, ServerConfig, no_pictures};
/// use rlaif_oracle::{Cancel, ChatMessage, ChatModel, ChatRequest, ChatRole, Patience};
///
/// let server = ServerConfig::new("http://127.0.0.1:8000/v1", "judge");
/// let frames = FramesConfig { count: 0, ..FramesConfig::default() };
/// let model = HttpChat::new(server, &frames, LimitsConfig::default(), no_pictures())?;
/// let request = ChatRequest {
///     video: VideoRef::File("clips/a.mp4".into()),
///     messages: vec![ChatMessage::new(ChatRole::User, "[1] a\n[2] b\nWhich is better?")],
///     schema: None,
///     repeat: 0,
/// };
/// let patience = Patience { deadline: None, cancel: Cancel::new() };
/// let reply = model.chat(&[&request], &patience).remove(0)?;
/// println!("{}", reply.text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HttpChat {
    server: ServerConfig,
    limits: LimitsConfig,
    key: Option<Secret>,
    /// Keys of the body that are the same in every request.
    rest: Map<String, Value>,
    wire: Wire,
    gate: Gate,
    frames: Frames,
    /// The server was found to take no schema.
    has_no_schema: AtomicBool,
    /// That tokens cost something and are not counted was said.
    has_warned_of_tokens: AtomicBool,
    retries: AtomicU64,
}

impl HttpChat {
    /// Checks the settings and reads the key. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Names a setting that is out of its range, or the variable or file that holds no key.
    pub fn new(
        server: ServerConfig,
        frames: &FramesConfig,
        limits: LimitsConfig,
        pictures: Pictures,
    ) -> Result<Self, ConfigError> {
        server.check()?;
        limits.check()?;
        if limits.max_cost.is_some() && !server.has_prices() {
            return Err(wrong(
                "max_cost",
                "nothing costs anything: set `price_per_million_prompt_tokens` and \
                 `price_per_million_completion_tokens`",
            ));
        }
        let key = server.key()?;
        let authorization = key.as_ref().map(Secret::bearer).transpose()?;
        let wire = Wire::new(server.url()?, authorization, &limits);
        if wire.shows_key() {
            tracing::warn!(
                base_url = server.base_url,
                "the key is sent without encryption: use `https`"
            );
        }
        Ok(HttpChat {
            rest: server.body(),
            gate: Gate::new(&limits),
            frames: Frames::new(frames, pictures)?,
            has_no_schema: AtomicBool::new(false),
            has_warned_of_tokens: AtomicBool::new(false),
            retries: AtomicU64::new(0),
            server,
            limits,
            key,
            wire,
        })
    }

    /// The limits, for whoever sets deadlines and holds budgets.
    #[must_use]
    pub fn limits(&self) -> &LimitsConfig {
        &self.limits
    }

    fn ask(&self, request: &ChatRequest, patience: &Patience) -> Result<ChatReply, ChatError> {
        let urls = self.frames.urls(&request.video).map_err(ChatError::Video)?;
        let settings = Settings {
            model: &self.server.model,
            seed: self.server.seed,
            detail: self.frames.config().detail,
            rest: &self.rest,
        };
        let write = |schema| {
            body::write(&settings, request, &urls, schema)
                .map_err(|error| ChatError::Refused(format!("the request is no JSON: {error}")))
        };
        let mut schema = request.schema.as_ref().filter(|_| self.wants_schema());
        let mut body = write(schema)?;
        let mut course = Course::new(patience);
        loop {
            let pass = self.gate.enter(patience).map_err(|stop| course.stopped(stop))?;
            course.attempts += 1;
            let asked = Asked {
                key: self.key.as_ref(),
                model: &self.server.model,
                has_schema: schema.is_some(),
            };
            let sent = Instant::now();
            let attempt = self.attempt(&asked, &body, patience);
            let fault = match attempt {
                Ok(answer) => {
                    pass.reached();
                    if schema.is_none() && course.schema_refused {
                        self.remember_no_schema(&course.last);
                    }
                    return Ok(self.reply(answer, sent.elapsed()));
                }
                Err(fault) => fault,
            };
            match fault {
                Fault::Refused(why) => {
                    pass.reached();
                    return Err(ChatError::Refused(why));
                }
                Fault::Hopeless(why) => {
                    pass.reached();
                    return Err(ChatError::Hopeless(why));
                }
                Fault::NoSchema(why) => {
                    pass.reached();
                    if self.server.structured == Structured::JsonSchema {
                        return Err(ChatError::Hopeless(format!(
                            "the server takes no JSON schema ({why}): set `structured` to `auto` \
                             or `text`"
                        )));
                    }
                    course.schema_refused = true;
                    course.last = why;
                    schema = None;
                    body = write(None)?;
                    self.retries.fetch_add(1, Ordering::Relaxed);
                }
                Fault::Passing { what, origin, wait } => {
                    self.wait(&mut course, pass, (what, origin, wait))?;
                }
            }
        }
    }

    /// One attempt, within its time.
    fn attempt(
        &self,
        asked: &Asked<'_>,
        body: &[u8],
        patience: &Patience,
    ) -> Result<Answer, Fault> {
        let longest = seconds(self.limits.timeout_seconds);
        // Never 0, which is no time-out to some.
        let left = patience.left().map(|left| left.max(Duration::from_millis(1)));
        let timeout = left.map_or(longest, |left| left.min(longest));
        let raw = self.wire.post(body, timeout).map_err(|lost| match lost {
            Lost::Timeout if patience.left().is_some_and(|left| left.is_zero()) => {
                let why = "the deadline came before the reply";
                Fault::passing(Origin::Deadline, why)
            }
            Lost::Timeout => {
                let seconds = self.limits.timeout_seconds;
                let why = format!("no reply within {seconds} s (`timeout_seconds`)");
                Fault::passing(Origin::Network, why)
            }
            Lost::Network(why) => Fault::passing(Origin::Network, asked.tame(&why)),
            Lost::Overheard => Fault::Hopeless(
                "a logger writes every byte that is sent, the key among them: keep its target \
                 `ureq_proto` at DEBUG or above"
                    .to_owned(),
            ),
            Lost::Huge => Fault::passing(Origin::Answer, "the reply is larger than 4 MiB"),
        })?;
        if (200..300).contains(&raw.status) {
            return reply::read(asked, &raw.body);
        }
        let header = |name: &str| raw.headers.get(name).and_then(|value| value.to_str().ok());
        let mut fault = asked.judge(raw.status, &raw.body, header("location"));
        if let Fault::Passing { wait, .. } = &mut fault {
            *wait = backoff::asked_for(&raw.headers, SystemTime::now());
        }
        Err(fault)
    }

    /// After a passing fault: tells the gate, counts, and waits for the next attempt.
    fn wait(
        &self,
        course: &mut Course<'_>,
        pass: Pass<'_>,
        (what, origin, asked_for): (String, Origin, Option<Duration>),
    ) -> Result<(), ChatError> {
        let is_outage = match origin {
            Origin::Network => pass.failed(),
            // It is there: only what cannot be reached is waited for without end.
            Origin::Server => {
                pass.failed();
                false
            }
            Origin::Answer => {
                pass.reached();
                false
            }
            Origin::Deadline => {
                drop(pass);
                false
            }
        };
        tracing::debug!(attempt = course.attempts, what, "an attempt failed");
        course.last = what;
        if let Some(wait) = asked_for {
            tracing::info!(seconds = wait.as_secs_f64(), "the server asks for a pause");
            self.gate.pause(wait);
        }
        if origin == Origin::Deadline {
            // The gate finds the deadline over.
            return Ok(());
        }
        if is_outage {
            // The breaker makes everybody wait.
            self.retries.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if course.retries >= self.limits.max_retries {
            return Err(course.given_up());
        }
        let retry = course.retries;
        course.retries += 1;
        self.retries.fetch_add(1, Ordering::Relaxed);
        let base = seconds(self.limits.backoff_seconds);
        let most = seconds(self.limits.backoff_max_seconds);
        // After the pause that the server asked for, so that not all come at once when it ends.
        let wait =
            asked_for.unwrap_or_default() + backoff::delay(retry, base, most, rand::random());
        Gate::sleep(course.patience, wait).map_err(|stop| match stop {
            Stop::Deadline(_) if asked_for.is_some() => {
                course.stopped(Stop::Deadline("the end of the pause that the server asked for"))
            }
            stop => course.stopped(stop),
        })
    }

    fn wants_schema(&self) -> bool {
        match self.server.structured {
            Structured::Auto => !self.has_no_schema.load(Ordering::Relaxed),
            Structured::JsonSchema => true,
            Structured::Text => false,
        }
    }

    fn remember_no_schema(&self, why: &str) {
        if !self.has_no_schema.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                why,
                "the server takes no JSON schema: from here on replies are asked for as text"
            );
        }
    }

    fn reply(&self, answer: Answer, latency: Duration) -> ChatReply {
        let Answer { text, cut_off, prompt_tokens, completion_tokens } = answer;
        let is_counted = prompt_tokens.is_some() && completion_tokens.is_some();
        if self.server.has_prices()
            && !is_counted
            && !self.has_warned_of_tokens.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the server does not count tokens: costs are too low in all figures");
        }
        let cost = self.server.cost(prompt_tokens.unwrap_or(0), completion_tokens.unwrap_or(0));
        ChatReply { text, cut_off, prompt_tokens, completion_tokens, cost, latency }
    }
}

/// One request on its way.
struct Course<'a> {
    patience: &'a Patience,
    started: Instant,
    attempts: u32,
    /// Attempts that counted against `max_retries`.
    retries: u32,
    schema_refused: bool,
    /// The last failure in words.
    last: String,
}

impl<'a> Course<'a> {
    fn new(patience: &'a Patience) -> Self {
        Course {
            patience,
            started: Instant::now(),
            attempts: 0,
            retries: 0,
            schema_refused: false,
            last: String::new(),
        }
    }

    fn stopped(&self, stop: Stop) -> ChatError {
        match stop {
            Stop::Cancelled => ChatError::Cancelled,
            Stop::Deadline(waited_for) => {
                let given = self.patience.deadline.map_or(Duration::ZERO, |deadline| {
                    deadline.saturating_duration_since(self.started)
                });
                let last = match self.last.as_str() {
                    "" => format!("waited for {waited_for}"),
                    last => format!("{last}; then waited for {waited_for}"),
                };
                let seconds = given.as_secs_f64();
                ChatError::Deadline { seconds, attempts: self.attempts, last }
            }
        }
    }

    fn given_up(&self) -> ChatError {
        ChatError::Unavailable { attempts: self.attempts, last: self.last.clone() }
    }
}

impl ChatModel for HttpChat {
    fn identity(&self) -> Value {
        let server = &self.server;
        json!({
            "base_url": server.base_url.trim_end_matches('/'),
            "model": server.model,
            "body": self.rest,
            "seed": server.seed,
            "structured": server.structured,
            "frames": self.frames.config(),
        })
    }

    fn concurrency(&self) -> usize {
        self.limits.concurrency
    }

    fn prepare(&self, request: &ChatRequest) {
        // Kept for when it is sent; a failure is told then.
        self.frames.urls(&request.video).ok();
    }

    fn chat(
        &self,
        requests: &[&ChatRequest],
        patience: &Patience,
    ) -> Vec<Result<ChatReply, ChatError>> {
        requests.iter().map(|request| self.ask(request, patience)).collect()
    }

    fn usage(&self) -> Usage {
        Usage {
            retries: self.retries.load(Ordering::Relaxed),
            breaker_opened: self.gate.breaker_opened(),
            ..Usage::default()
        }
    }
}
