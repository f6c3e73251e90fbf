//! Models behind an OpenAI-compatible `/v1/chat/completions`, made dependable: vLLM, `SGLang`,
//! llama.cpp, Ollama, `transformers serve`, hosted APIs.
//!
//! ```text
//! ChatRequest -> frames as data URLs -> gate (places, pause, breaker, tokens) -> one attempt
//!                                        ^                                         |
//!                                        +-- back-off, Retry-After <-- passing ----+--> reply
//! ```
//!
//! - [`ServerConfig`], [`FramesConfig`] and [`LimitsConfig`] are the settings, [`HttpChat`] asks.
//! - Attempts are made again after a lost connection, a time-out, 408, 409, 425, 429, 500 and
//!   above, and a reply that is no chat completion. `retry-after-ms` and `Retry-After` hold all
//!   threads of one [`HttpChat`].
//! - During an outage the breaker is open: everybody waits, one request at a time probes, and what
//!   it may take is bounded by the deadline alone.
//! - 401, 402, 403, 404, a redirect and an unknown model are hopeless at once. Redirects are not
//!   followed, so that the key goes to no other host.
//! - The key is in no error, no log, no `Debug` and no reply: where the server repeats it, `[key]`
//!   stands in its place (in replies from 16 characters on, for shorter keys are words). While a
//!   logger writes the bytes on the wire (`ureq_proto` at `TRACE`), nothing is sent with a key.

mod ask;
mod backoff;
mod body;
mod breaker;
mod bucket;
mod config;
mod fault;
mod frames;
mod gate;
mod limits;
mod omitted;
mod reply;
mod secret;
mod wire;

pub use ask::HttpChat;
pub use config::{MaxTokensName, ServerConfig, Structured};
pub use frames::{Detail, FramesConfig, Picture, Pictures, no_pictures};
pub use limits::LimitsConfig;
