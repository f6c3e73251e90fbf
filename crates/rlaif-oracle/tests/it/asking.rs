//! A judge and a chat with it, for tests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rlaif_data::VideoRef;
use rlaif_oracle::{
    Cancel, ChatError, ChatMessage, ChatModel as _, ChatReply, ChatRequest, ChatRole, Patience,
    http::{FramesConfig, HttpChat, LimitsConfig, ServerConfig, no_pictures},
    rehearsal::{Fault, JudgeOptions, JudgeServer},
};

/// A judge that fails as it is told.
pub(crate) fn judge(faults: impl Fn(u64) -> Fault + Send + Sync + 'static) -> JudgeServer {
    let options = JudgeOptions { faults: Arc::new(faults), ..JudgeOptions::default() };
    JudgeServer::start(options).expect("a port of the loopback")
}

/// The judge's address with the default settings.
pub(crate) fn server(judge: &JudgeServer) -> ServerConfig {
    ServerConfig::new(judge.base_url(), "judge")
}

/// Back-offs of milliseconds, and no breaker.
pub(crate) fn quick() -> LimitsConfig {
    LimitsConfig {
        backoff_seconds: 0.002,
        backoff_max_seconds: 0.01,
        breaker_failures: 0,
        ..LimitsConfig::default()
    }
}

/// A chat in text alone.
pub(crate) fn chat(server: ServerConfig, limits: LimitsConfig) -> HttpChat {
    let frames = FramesConfig { count: 0, ..FramesConfig::default() };
    HttpChat::new(server, &frames, limits, no_pictures()).expect("settings in their ranges")
}

/// Question number `number`, of which the judge prefers the second answer.
pub(crate) fn question(number: usize) -> ChatRequest {
    let text = format!("Question {number}.\n[1] red\n[2] a red ball\n\nWhich is better?");
    ChatRequest {
        video: VideoRef::File("clips/a.mp4".into()),
        messages: vec![ChatMessage::new(ChatRole::User, text)],
        schema: None,
        repeat: 0,
    }
}

/// A deadline in so many seconds.
pub(crate) fn within(seconds: f64) -> Patience {
    let deadline = Some(Instant::now() + Duration::from_secs_f64(seconds));
    Patience { deadline, cancel: Cancel::new() }
}

/// Asks one question, with half a minute to answer it.
pub(crate) fn ask(chat: &HttpChat, request: &ChatRequest) -> Result<ChatReply, ChatError> {
    chat.chat(&[request], &within(30.0)).remove(0)
}
