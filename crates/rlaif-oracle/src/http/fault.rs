//! What a status and the words of a server mean for the request, and for the next one.

use std::time::Duration;

use serde_json::Value;

use super::secret::Secret;
use crate::error::excerpt;

/// Why an attempt has no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// Another attempt may have one.
    Passing {
        /// In words.
        what: String,
        /// Where it comes from.
        origin: Origin,
        /// The wait that the server asks for.
        wait: Option<Duration>,
    },
    /// The server takes no schema.
    NoSchema(String),
    /// It will never answer this request.
    Refused(String),
    /// It will never answer any.
    Hopeless(String),
}

/// Where a passing fault comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// No connection, a reset, a time-out: the server may be gone.
    Network,
    /// The group's own deadline cut the attempt short, which says nothing of the server.
    Deadline,
    /// The server says that it is broken.
    Server,
    /// The server works and wants to be asked again, or babbled.
    Answer,
}

impl Fault {
    /// A fault that another attempt may not have.
    pub(super) fn passing(origin: Origin, what: impl Into<String>) -> Self {
        Fault::Passing { what: what.into(), origin, wait: None }
    }
}

/// What is known when a status is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) key: Option<&'a Secret>,
    pub(super) model: &'a str,
    /// The request carried a schema.
    pub(super) has_schema: bool,
}

impl Asked<'_> {
    /// The server's words, short, tame and without the key.
    pub(super) fn tame(&self, words: &str) -> String {
        match self.key {
            Some(key) => excerpt(&key.hide(words)),
            None => excerpt(words),
        }
    }

    /// What a status other than success means.
    pub(super) fn judge(&self, status: u16, body: &[u8], location: Option<&str>) -> Fault {
        let words = words(body);
        let said = format!("HTTP {status}: {}", self.tame(&words));
        let lower = words.to_lowercase();
        if self.has_schema && matches!(status, 400 | 422 | 501) && is_about_schemas(&lower) {
            return Fault::NoSchema(said);
        }
        match status {
            300..=399 => Fault::Hopeless(format!(
                "the server redirects (HTTP {status}) to {}, and redirects are not followed, since \
                 the key would go along: set `base_url` to where requests are answered",
                self.tame(location.unwrap_or_default()),
            )),
            401 => Fault::Hopeless(format!(
                "the server refuses the key, or wants one ({said}): check `api_key_env` or \
                 `api_key_file`"
            )),
            402 => Fault::Hopeless(format!("the server wants to be paid first ({said})")),
            403 => {
                Fault::Hopeless(format!("the server forbids it ({said}): check the key's rights"))
            }
            404 => Fault::Hopeless(format!(
                "the server has no such address or model ({said}): check `base_url` and `model`"
            )),
            400 if names_model(&lower, &self.model.to_lowercase()) => Fault::Hopeless(format!(
                "the server does not have the model ({said}): check `model`"
            )),
            429 if lower.contains("insufficient_quota") => {
                Fault::Hopeless(format!("the account is used up ({said})"))
            }
            408 | 409 | 425 | 429 => Fault::passing(Origin::Answer, said),
            400..=499 | 501 => Fault::Refused(said),
            500.. => Fault::passing(Origin::Server, said),
            _ => Fault::passing(Origin::Answer, said),
        }
    }
}

/// What an error's body says: `error.message` with `error.code`, or `detail`, else all of it.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Ok(json) = serde_json::from_str::<Value>(&text) else { return text.into_owned() };
    let error = json.get("error").unwrap_or(&json);
    let named = |name: &str| error.get(name).and_then(Value::as_str);
    let message = error.as_str().or_else(|| named("message")).or_else(|| named("detail"));
    match (message, named("code")) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(message), None) => message.to_owned(),
        (None, _) => text.into_owned(),
    }
}

/// Whether a refusal is about structured output.
fn is_about_schemas(lower: &str) -> bool {
    [
        "response_format",
        "json_schema",
        "json schema",
        "response format",
        "structured output",
        "guided",
        "grammar",
        "not supported",
        "unsupported",
        "extra_forbidden",
        "extra inputs",
    ]
    .iter()
    .any(|sign| lower.contains(sign))
}

/// Whether a refusal says that there is no such model.
fn names_model(lower: &str, model: &str) -> bool {
    lower.contains("model_not_found")
        || (lower.contains(model)
            && [
                "not exist",
                "not found",
                "not a valid model",
                "unknown model",
                "invalid model",
                "no such model",
                "pinned to",
            ]
            .iter()
            .any(|sign| lower.contains(sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'static> = Asked { key: None, model: "Judge-7B", has_schema: false };

    fn judge(status: u16, body: &str) -> Fault {
        ASKED.judge(status, body.as_bytes(), None)
    }

    #[test]
    fn what_will_pass_is_told_from_what_will_not() {
        for status in [408, 409, 425, 429] {
            let fault = judge(status, "busy");
            assert_eq!(fault, Fault::passing(Origin::Answer, format!("HTTP {status}: busy")));
        }
        for status in [500, 502, 503, 504, 529] {
            let fault = judge(status, "");
            assert_eq!(fault, Fault::passing(Origin::Server, format!("HTTP {status}: (nothing)")));
        }
        for status in [400, 405, 413, 422, 501] {
            assert_eq!(judge(status, "no"), Fault::Refused(format!("HTTP {status}: no")));
        }
        for status in [401, 402, 403, 404, 307] {
            assert!(matches!(judge(status, "no"), Fault::Hopeless(_)), "{status}");
        }
    }

    #[test]
    fn an_unknown_model_and_an_empty_account_are_hopeless() {
        let unknown = r#"{"error": {"message": "The model `judge-7b` does not exist."}}"#;
        assert!(matches!(judge(400, unknown), Fault::Hopeless(why) if why.contains("`model`")));
        // As `transformers serve` 5.24 says it.
        let pinned = r#"{"detail": "Server is pinned to 'a'; requested 'Judge-7B'."}"#;
        let why = "(HTTP 400: Server is pinned to 'a'; requested 'Judge-7B'.)";
        assert!(matches!(judge(400, pinned), Fault::Hopeless(said) if said.contains(why)));
        let other = r#"{"error": {"message": "judge-7b: the prompt is too long"}}"#;
        assert!(matches!(judge(400, other), Fault::Refused(_)));
        let empty = r#"{"error": {"message": "Pay.", "code": "insufficient_quota"}}"#;
        let expected = "the account is used up (HTTP 429: Pay. (insufficient_quota))";
        assert_eq!(judge(429, empty), Fault::Hopeless(expected.to_owned()));
    }

    #[test]
    fn a_refused_schema_is_known_where_one_was_sent() {
        let body = br#"{"error": "response_format is unknown"}"#;
        let asked = Asked { has_schema: true, ..ASKED };
        let said = "HTTP 422: response_format is unknown".to_owned();
        assert_eq!(asked.judge(422, body, None), Fault::NoSchema(said.clone()));
        assert_eq!(ASKED.judge(422, body, None), Fault::Refused(said));
        assert!(matches!(asked.judge(400, b"too long", None), Fault::Refused(_)));
        assert!(matches!(asked.judge(500, body, None), Fault::Passing { .. }));
    }

    #[test]
    fn redirects_say_where_to() {
        let fault = ASKED.judge(308, b"", Some("http://b/\u{7}"));
        let Fault::Hopeless(why) = fault else { panic!("redirects are not followed") };
        assert!(why.contains("to http://b/\\u{7}, ") && why.contains("`base_url`"), "{why}");
    }
}
