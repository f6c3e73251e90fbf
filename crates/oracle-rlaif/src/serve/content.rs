//! The turns of a conversation and the one clip that it may show, as a client sends them.

use rlaif_data::{Block, Message, Role};
use serde_json::{Map, Value};

use super::problem::{Problem, quoted};

/// Turns of a conversation, at most.
const MOST_MESSAGES: usize = 1024;
/// Bytes of all texts together, at most.
const MOST_TEXT: usize = 1 << 20;
/// Images of a clip, at most.
const MOST_IMAGES: usize = 1024;

/// The clip of a conversation as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Images, `data:` URLs: the frames of one clip in order.
    Images(Vec<String>),
    /// A video: a `data:` URL, a path, or the address of a clip of ClipWorld.
    Video(String),
}

/// Reads `messages`.
///
/// # Errors
///
/// A [`Problem`] of status 400 that names the message and the part.
pub fn read(messages: Option<Value>) -> Result<(Vec<Message>, Option<Shown>), Problem> {
    let Some(Value::Array(items)) = messages else {
        return Err(Problem::invalid("messages", "`messages` must be a list of messages"));
    };
    if items.is_empty() || items.len() > MOST_MESSAGES {
        return Err(Problem::invalid(
            "messages",
            format!("`messages` must hold 1 to {MOST_MESSAGES} messages, got {}", items.len()),
        ));
    }
    let mut reader = Reader::default();
    let mut messages = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        messages.push(reader.message(item, &format!("messages[{index}]"))?);
    }
    if messages.last().is_none_or(|last| last.role != Role::User) {
        return Err(Problem::invalid("messages", "the last message must be the user's"));
    }
    if messages.iter().skip(1).any(|message| message.role == Role::System) {
        return Err(Problem::invalid("messages", "only the first message may be the system's"));
    }
    Ok((messages, reader.shown))
}

/// What is found on the way.
#[derive(Default)]
struct Reader {
    shown: Option<Shown>,
    text_bytes: usize,
}

impl Reader {
    fn message(&mut self, item: Value, at: &str) -> Result<Message, Problem> {
        let Value::Object(mut item) = item else {
            return Err(Problem::invalid(at, format!("`{at}` must be an object")));
        };
        let role = match item.get("role").and_then(Value::as_str) {
            // What OpenAI calls the system since 2024.
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            other => {
                let got = other.map_or("nothing".to_owned(), quoted);
                let message = format!("`{at}.role` must be system, user or assistant, got {got}");
                return Err(Problem::invalid(format!("{at}.role"), message));
            }
        };
        for name in ["tool_calls", "function_call"] {
            if item
                .get(name)
                .is_some_and(|value| !value.is_null() && *value != Value::Array(Vec::new()))
            {
                let at = format!("{at}.{name}");
                let message = format!("`{at}` is not supported: the model calls nothing");
                return Err(Problem::invalid(at, message).code("unsupported_parameter"));
            }
        }
        let at = format!("{at}.content");
        let content = match item.remove("content") {
            Some(Value::String(text)) => vec![self.text(text)?],
            Some(Value::Array(parts)) => self.parts(parts, role, &at)?,
            _ => {
                let message = format!("`{at}` must be a string or a list of parts");
                return Err(Problem::invalid(at, message));
            }
        };
        Ok(Message { role, content })
    }

    fn parts(&mut self, parts: Vec<Value>, role: Role, at: &str) -> Result<Vec<Block>, Problem> {
        let mut blocks = Vec::with_capacity(parts.len().min(MOST_IMAGES));
        // True while images follow each other.
        let mut open = false;
        for (index, part) in parts.into_iter().enumerate() {
            let at = format!("{at}[{index}]");
            let Value::Object(mut part) = part else {
                return Err(Problem::invalid(&at, format!("`{at}` must be an object")));
            };
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            let visual = kind != "text";
            if visual && role != Role::User {
                return Err(Problem::invalid(&at, "only the user shows images and videos"));
            }
            match kind.as_str() {
                "text" => {
                    let Some(Value::String(text)) = part.remove("text") else {
                        return Err(Problem::invalid(&at, format!("`{at}.text` must be a string")));
                    };
                    blocks.push(self.text(text)?);
                }
                "image_url" => {
                    let url = url(part.remove("image_url"), &at, "image_url")?;
                    if self.image(url, open, &at)? {
                        blocks.push(Block::Video { video: None });
                    }
                }
                "video_url" | "input_video" => {
                    let url = match input_data(&part, &kind) {
                        Some(url) => url,
                        None => url(part.remove(&kind), &at, &kind)?,
                    };
                    if self.shown.is_some() {
                        return Err(second(&at));
                    }
                    self.shown = Some(Shown::Video(url));
                    blocks.push(Block::Video { video: None });
                }
                other => {
                    let message = format!(
                        "`{at}.type` must be text, image_url, video_url or input_video, got {}",
                        quoted(other)
                    );
                    return Err(Problem::invalid(format!("{at}.type"), message));
                }
            }
            open = kind == "image_url";
        }
        Ok(blocks)
    }

    /// Adds a frame; true where it is the clip's first. Only images without anything between them
    /// are one clip.
    fn image(&mut self, url: String, open: bool, at: &str) -> Result<bool, Problem> {
        match &mut self.shown {
            None => {
                self.shown = Some(Shown::Images(vec![url]));
                Ok(true)
            }
            Some(Shown::Images(images)) if open => {
                if images.len() == MOST_IMAGES {
                    return Err(Problem::invalid(
                        "messages",
                        format!("a clip of more than {MOST_IMAGES} images is not taken"),
                    ));
                }
                images.push(url);
                Ok(false)
            }
            Some(_) => Err(second(at)),
        }
    }

    fn text(&mut self, text: String) -> Result<Block, Problem> {
        self.text_bytes += text.len();
        if self.text_bytes > MOST_TEXT {
            return Err(Problem::invalid(
                "messages",
                format!("the messages hold more than {MOST_TEXT} bytes of text"),
            )
            .code("context_length_exceeded"));
        }
        Ok(Block::Text { text })
    }
}

fn second(at: &str) -> Problem {
    Problem::invalid(
        at,
        "a conversation shows one clip: one video, or images that follow each other in one \
         message with no text between them",
    )
}

/// `{"url": "..."}`, or the URL itself.
fn url(value: Option<Value>, at: &str, kind: &str) -> Result<String, Problem> {
    let url = match value {
        Some(Value::String(url)) => Some(url),
        Some(Value::Object(mut object)) => match object.remove("url") {
            Some(Value::String(url)) => Some(url),
            _ => None,
        },
        _ => None,
    };
    url.ok_or_else(|| {
        let at = format!("{at}.{kind}.url");
        Problem::invalid(&at, format!("`{at}` must be a string"))
    })
}

/// `{"data": BASE64, "format": "mp4"}` as the `data:` URL that it stands for.
fn input_data(part: &Map<String, Value>, kind: &str) -> Option<String> {
    let object = part.get(kind)?.as_object()?;
    let data = object.get("data")?.as_str()?;
    if data.starts_with("data:") {
        return Some(data.to_owned());
    }
    let format = object.get("format").and_then(Value::as_str).unwrap_or("mp4");
    Some(format!("data:video/{format};base64,{data}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(messages: Value) -> Problem {
        read(Some(messages)).expect_err("it is refused")
    }

    fn image(name: &str) -> Value {
        json!({"type": "image_url", "image_url": {"url": name}})
    }

    #[test]
    fn images_that_follow_each_other_are_one_clip_in_its_place() {
        let (messages, shown) = read(Some(json!([
            {"role": "developer", "content": "be short"},
            {"role": "user", "content": [
                {"type": "text", "text": "look:"}, image("a"), image("b"),
                {"type": "text", "text": "what moves?"}]},
        ])))
        .unwrap();
        assert_eq!(shown, Some(Shown::Images(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(messages[0], Message::text(Role::System, "be short"));
        let text = |text: &str| Block::Text { text: text.to_owned() };
        let place = Block::Video { video: None };
        assert_eq!(messages[1].content, [text("look:"), place, text("what moves?")]);
    }

    #[test]
    fn a_video_reads_from_a_url_a_string_and_data() {
        for part in [
            json!({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}}),
            json!({"type": "video_url", "video_url": "data:video/mp4;base64,AA=="}),
            json!({"type": "input_video", "input_video": {"data": "AA==", "format": "mp4"}}),
        ] {
            let (_, shown) = read(Some(json!([{"role": "user", "content": [part]}]))).unwrap();
            assert_eq!(shown, Some(Shown::Video("data:video/mp4;base64,AA==".to_owned())));
        }
    }

    #[test]
    fn a_second_clip_is_refused_where_it_stands() {
        let video = json!({"type": "video_url", "video_url": "world:test/3"});
        let text = json!({"type": "text", "text": "and"});
        for parts in [
            json!([video, video]),
            json!([image("a"), video]),
            json!([video, image("a")]),
            json!([image("a"), text, image("b")]),
        ] {
            let at = parts.as_array().unwrap().len() - 1;
            let problem = refused(json!([{"role": "user", "content": parts}]));
            assert_eq!(problem.param, Some(format!("messages[0].content[{at}]")));
        }
        let turn = json!({"role": "user", "content": [image("a")]});
        assert_eq!(refused(json!([turn, turn])).param.unwrap(), "messages[1].content[0]");
    }

    #[test]
    fn roles_parts_and_orders_that_mean_nothing_are_refused() {
        for (messages, param) in [
            (json!([]), "messages"),
            (json!("hi"), "messages"),
            (json!([{"role": "tool", "content": "x"}]), "messages[0].role"),
            (json!([{"content": "x"}]), "messages[0].role"),
            (json!([{"role": "user"}]), "messages[0].content"),
            (
                json!([{"role": "user", "content": [{"type": "audio"}]}]),
                "messages[0].content[0].type",
            ),
            (json!([{"role": "assistant", "content": "x"}]), "messages"),
            (json!([{"role": "system", "content": [image("a")]}]), "messages[0].content[0]"),
            (
                json!([{"role": "user", "content": "x"}, {"role": "system", "content": "x"},
                       {"role": "user", "content": "x"}]),
                "messages",
            ),
            (
                json!([{"role": "assistant", "content": "", "tool_calls": [{}]}]),
                "messages[0].tool_calls",
            ),
        ] {
            assert_eq!(refused(messages.clone()).param.as_deref(), Some(param), "{messages}");
        }
        let long = "x".repeat(MOST_TEXT + 1);
        let problem = refused(json!([{"role": "user", "content": long}]));
        assert_eq!(problem.code, Some("context_length_exceeded"));
    }
}
