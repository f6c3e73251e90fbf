//! The server over HTTP, and the page in a headless Chromium.

mod drag;
mod http;
mod keys;
mod look;
mod support;
mod together;
mod video;
