//! The server over HTTP, and the page in a headless Chromium.

#![expect(clippy::unwrap_used, reason = "what tests share may fail as tests do")]

mod drag;
mod http;
mod keys;
mod live;
mod look;
mod support;
mod together;
mod video;
