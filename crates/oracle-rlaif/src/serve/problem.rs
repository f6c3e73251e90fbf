//! What can be wrong with a request, in the form that OpenAI's clients read.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rlaif_rollout::PromptError;
use rlaif_video::VideoError;
use serde_json::{Value, json};

/// Characters of a request's own words that a message repeats, at most.
const QUOTED: usize = 80;

/// A refusal: its status and what its body says. Messages name no path of the server's and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct Problem {
    /// HTTP status, 400 and above.
    pub status: u16,
    /// `error.type`: `invalid_request_error`, `rate_limit_error`, `server_error`, ...
    pub kind: &'static str,
    /// `error.message`, for a person.
    pub message: String,
    /// `error.param`: the field at fault, where there is one.
    pub param: Option<String>,
    /// `error.code`, for programs.
    pub code: Option<&'static str>,
    /// Seconds after which asking again may help, for the header `Retry-After`.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A refusal of another status than 400.
    #[must_use]
    pub fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Problem { status, kind, message, param: None, code: None, retry_after_seconds: None }
    }

    /// A bad request: status 400, and the field at fault.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let problem = Problem::new(400, "invalid_request_error", message);
        Problem { param: Some(param.into()), ..problem }
    }

    /// The fault of the server: status 500.
    #[must_use]
    pub fn server(message: impl Into<String>) -> Self {
        Problem::new(500, "server_error", message)
    }

    /// The same with a code for programs.
    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Problem { code: Some(code), ..self }
    }

    /// `{"error": {...}}`.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A request's own words in a message: shortened, control characters escaped.
#[must_use]
pub fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).collect();
    let more = if text.chars().nth(QUOTED).is_some() { "..." } else { "" };
    format!("`{}{more}`", short.escape_debug())
}

/// Why a prompt could not be made, without the paths that the errors name.
impl From<&PromptError> for Problem {
    fn from(error: &PromptError) -> Self {
        let of_clip = |problem: Problem| Problem { param: Some("messages".to_owned()), ..problem };
        match error {
            PromptError::Video(error) => of_clip(Problem::from(error)),
            PromptError::Frames(error) => Problem::invalid("messages", error.to_string()),
            PromptError::World { address, reason } => Problem::invalid(
                "messages",
                format!("the clip `world:` {}: {}", quoted(address), quoted(reason)),
            ),
            PromptError::Text(rlaif_model::hf::TokenizerError::Template { problem }) => {
                Problem::invalid("messages", format!("the chat template refuses it: {problem}"))
            }
            PromptError::Text(_) => Problem::invalid(
                "messages",
                "the conversation cannot be written as the model's chat template has it",
            ),
            PromptError::FrameSize(error) => Problem::invalid("messages", error.to_string()),
            PromptError::TooLong { .. } => {
                Problem::invalid("messages", error.to_string()).code("context_length_exceeded")
            }
        }
    }
}

/// Why a clip could not be read, without its path.
impl From<&VideoError> for Problem {
    fn from(error: &VideoError) -> Self {
        let message = match error {
            VideoError::FfmpegMissing { .. } => {
                return Problem::server("this server cannot read video files: it has no ffmpeg");
            }
            VideoError::Io { .. } | VideoError::AllSkipped { .. } => {
                return Problem::server("the clip could not be read");
            }
            VideoError::FileMissing { .. } => "there is no such clip".to_owned(),
            VideoError::Truncated { .. } => "the clip is truncated".to_owned(),
            VideoError::NoVideoStream { .. } => "the file has no video stream".to_owned(),
            VideoError::ZeroFrames { .. } => "the clip holds no frames".to_owned(),
            VideoError::ZeroDuration { .. } => "the clip lasts 0 seconds".to_owned(),
            VideoError::Timeout { seconds, .. } => {
                format!("reading the clip took longer than {seconds} s")
            }
            VideoError::TooLarge { .. } => "the clip's frames have too many pixels".to_owned(),
            VideoError::MixedSizes { frame, expected, got, .. } => format!(
                "the frames are not all of one size: frame {frame} is {got}, frame 0 is {expected}"
            ),
            VideoError::Undecodable { .. } => {
                "the clip cannot be decoded: it is no image or video that is known here".to_owned()
            }
            VideoError::NotAFile { .. } => "a clip of ClipWorld is no file".to_owned(),
            VideoError::Sampling(problem) => format!("its frames cannot be sampled: {problem}"),
            VideoError::Preprocess(error) => error.to_string(),
        };
        Problem::invalid("messages", message).code("invalid_clip")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_clip_is_not_told() {
        let path = std::path::PathBuf::from("/secret/place/clip.mp4");
        let errors = [
            VideoError::FileMissing { path: path.clone() },
            VideoError::Truncated { path: path.clone(), detail: "/secret/place".to_owned() },
            VideoError::TooLarge { path: path.clone(), detail: "/secret/place".to_owned() },
            VideoError::Undecodable { path, detail: "/secret/place".to_owned() },
        ];
        for error in errors {
            let problem = Problem::from(&PromptError::Video(error));
            assert_eq!(problem.status, 400);
            assert_eq!(problem.param.as_deref(), Some("messages"));
            assert!(!problem.body().to_string().contains("secret"), "{problem}");
        }
    }

    #[test]
    fn words_of_a_request_are_shortened_and_escaped() {
        assert_eq!(quoted("a\u{1b}[2J"), "`a\\u{1b}[2J`");
        assert_eq!(quoted(&"x".repeat(90)), format!("`{}...`", "x".repeat(80)));
    }
}
