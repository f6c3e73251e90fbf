//! `serve`: a checkpoint behind an OpenAI-compatible endpoint.
//!
//! ```text
//! HTTP (its own thread) --request, content, media--> Job --queue--> worker (the model's thread)
//!      ^------------------------ reply <----------- Event <---------'
//! ```
//!
//! [`accept`] takes connections, [`http`] has the routes and [`guard`] says who may ask, [`request`] and [`content`] read what a client sends,
//! [`media`] puts its clip where it can be read, [`worker`] answers whatever waits in one group
//! pass, [`continuation`] and [`text`] turn tokens into pieces of text, and [`reply`] writes them
//! in OpenAI's forms. What is refused is a [`problem`].

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result};

pub mod accept;
pub mod content;
pub mod continuation;
pub mod fields;
pub mod guard;
pub mod http;
pub mod key;
pub mod media;
pub mod problem;
pub mod reply;
pub mod request;
pub mod stream;
pub mod tally;
pub mod text;
pub mod worker;

pub use key::ApiKey;
pub use tally::Counts;
pub use worker::Engine;

/// What bounds a request and the work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest reply in tokens.
    pub max_new_tokens: usize,
    /// Continuations that are sampled together, at least 1.
    pub max_batch: usize,
    /// Requests being read, waiting or answered; one more is told to come back.
    pub max_concurrent: usize,
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Time for a request, from its arrival to its last byte.
    pub timeout: Duration,
}

/// How a server presents itself and whom it lets in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the model, which requests may give.
    pub model_name: String,
    /// What clients must show; `None` lets everybody in who reaches the address.
    pub key: Option<ApiKey>,
    /// Folder whose videos may be named by path, canonical.
    pub media_root: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
}

/// Serves until Ctrl-C or SIGTERM; then refuses new requests, ends those under way, and returns
/// what was done. The model works on the calling thread.
///
/// # Errors
///
/// Fails where the listener or the thread that speaks HTTP cannot be set up.
pub fn run(
    listener: TcpListener,
    engine: Engine,
    settings: Settings,
    stopping: impl FnOnce() + Send + 'static,
) -> Result<Counts> {
    listener.set_nonblocking(true).context("the server's socket")?;
    let (sender, jobs) = mpsc::channel();
    let app = Arc::new(http::App::new(settings, sender, engine.sampled_tokens()));
    let speaker = std::thread::Builder::new()
        .name("serve-http".to_owned())
        .spawn(move || accept::serve(listener, &app, stopping))
        .context("the thread that speaks HTTP")?;
    // Ends when the speaker has dropped its end of the queue.
    engine.work(&jobs);
    match speaker.join() {
        Ok(counts) => counts,
        Err(_) => anyhow::bail!("the thread that speaks HTTP ended in a panic"),
    }
}
