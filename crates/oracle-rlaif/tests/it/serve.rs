//! `serve`: what clients of OpenAI's protocol get, and what hostile ones do not.

mod answers;
mod client;
mod clips;
mod hostile;

pub(crate) use client::Server;
