//! The body of a request.

use serde::Serialize;
use serde_json::{Map, Value};

use super::frames::Detail;
use crate::{ChatRequest, ChatRole};

/// What a schema is called; servers want a name.
const SCHEMA_NAME: &str = "verdict";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: ChatRole,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    ImageUrl { image_url: ImageUrl<'a> },
    Text { text: &'a str },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema { json_schema: JsonSchema<'a> },
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'static str,
    schema: &'a Value,
    strict: bool,
}

/// What the body is made of, beside the request.
pub(super) struct Settings<'a> {
    pub(super) model: &'a str,
    pub(super) seed: Option<u64>,
    pub(super) detail: Option<Detail>,
    /// Keys that are the same in every request.
    pub(super) rest: &'a Map<String, Value>,
}

/// The body in JSON: the same bytes for the same request. The pictures stand before the text of
/// the first user turn; without pictures every turn is a plain string.
pub(super) fn write(
    settings: &Settings<'_>,
    request: &ChatRequest,
    urls: &[String],
    schema: Option<&Value>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut urls = Some(urls).filter(|urls| !urls.is_empty());
    let messages = request.messages.iter().map(|message| {
        let shown = if message.role == ChatRole::User { urls.take() } else { None };
        let content = shown.map_or(Content::Text(&message.text), |urls| {
            let pictures = urls
                .iter()
                .map(|url| Part::ImageUrl { image_url: ImageUrl { url, detail: settings.detail } });
            Content::Parts(pictures.chain([Part::Text { text: &message.text }]).collect())
        });
        Message { role: message.role, content }
    });
    serde_json::to_vec(&Body {
        model: settings.model,
        messages: messages.collect(),
        stream: false,
        seed: settings.seed.map(|seed| seed.wrapping_add(u64::from(request.repeat))),
        response_format: schema.map(|schema| ResponseFormat::JsonSchema {
            json_schema: JsonSchema { name: SCHEMA_NAME, schema, strict: true },
        }),
        rest: settings.rest,
    })
}

#[cfg(test)]
mod tests {
    use rlaif_data::VideoRef;
    use serde_json::json;

    use super::*;
    use crate::ChatMessage;

    fn request() -> ChatRequest {
        ChatRequest {
            video: VideoRef::File("a.mp4".into()),
            messages: vec![
                ChatMessage::new(ChatRole::System, "Judge."),
                ChatMessage::new(ChatRole::User, "Which?"),
                ChatMessage::new(ChatRole::Assistant, "Hm."),
                ChatMessage::new(ChatRole::User, "Say."),
            ],
            schema: None,
            repeat: 2,
        }
    }

    fn written(urls: &[String], detail: Option<Detail>, schema: Option<&Value>) -> Value {
        let rest = json!({"max_tokens": 5, "reasoning_effort": "low"});
        let rest = rest.as_object().unwrap();
        let settings = Settings { model: "m", seed: Some(40), detail, rest };
        serde_json::from_slice(&write(&settings, &request(), urls, schema).unwrap()).unwrap()
    }

    #[test]
    fn pictures_stand_before_the_first_question_alone() {
        let body = written(&["data:1".to_owned(), "data:2".to_owned()], Some(Detail::Low), None);
        let expected = json!({
            "model": "m", "stream": false, "seed": 42, "max_tokens": 5, "reasoning_effort": "low",
            "messages": [
                {"role": "system", "content": "Judge."},
                {"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": "data:1", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "data:2", "detail": "low"}},
                    {"type": "text", "text": "Which?"},
                ]},
                {"role": "assistant", "content": "Hm."},
                {"role": "user", "content": "Say."},
            ],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn without_pictures_content_is_a_plain_string_and_a_schema_is_strict() {
        let schema = json!({"type": "object"});
        let body = written(&[], None, Some(&schema));
        assert_eq!(body["messages"][1], json!({"role": "user", "content": "Which?"}));
        assert_eq!(
            body["response_format"],
            json!({"type": "json_schema", "json_schema":
                {"name": "verdict", "schema": {"type": "object"}, "strict": true}})
        );
    }
}
