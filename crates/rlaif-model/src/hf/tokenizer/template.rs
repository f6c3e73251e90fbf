//! Chat templates: Jinja as Hugging Face uses it, rendered by `minijinja`.
//!
//! As in `transformers`: `trim_blocks` and `lstrip_blocks` are on, Python's string and list
//! methods work, `raise_exception` and `strftime_now` exist (the latter in UTC), `tojson` writes
//! what `json.dumps(..., ensure_ascii=False)` writes, `{% generation %}` marks are passed over.

use std::collections::BTreeMap;

use minijinja::value::{Kwargs, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind};
use rlaif_data::{Block, Message};
use serde_json::{Value, json};

use crate::hf::tokenizer::TokenizerError;
use crate::hf::tokenizer::clock::strftime_utc;

/// The template of Vicuna 1.1, LLaVA-1.5 and VLM-RLAIF (`vicuna_v1`): a system sentence,
/// `USER: <image>`, newline, question, space, `ASSISTANT:`; each answer after a space and closed
/// by the end-of-sequence token.
const VICUNA_V1: &str = r#"{%- if messages[0]['role'] == 'system' -%}
    {%- set rest = messages[1:] -%}
    {%- for block in messages[0]['content'] | selectattr('type', 'equalto', 'text') -%}
        {{- block['text'] + ' ' -}}
    {%- endfor -%}
{%- else -%}
    {%- set rest = messages -%}
    {{- "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. " -}}
{%- endif -%}
{%- for message in rest -%}
    {%- if message['role'] == 'user' -%}
        {{- 'USER: ' -}}
        {%- for block in message['content'] | selectattr('type', 'equalto', 'image') -%}
            {{- image_token + '\n' -}}
        {%- endfor -%}
        {%- for block in message['content'] | selectattr('type', 'equalto', 'text') -%}
            {{- block['text'] + ' ' -}}
        {%- endfor -%}
    {%- elif message['role'] == 'assistant' -%}
        {{- 'ASSISTANT:' -}}
        {%- for block in message['content'] | selectattr('type', 'equalto', 'text') -%}
            {{- ' ' + block['text'] -}}
        {%- endfor -%}
        {{- eos_token -}}
    {%- else -%}
        {{- raise_exception('the system message comes first') -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- 'ASSISTANT:' -}}
{%- endif -%}
"#;

/// Most instructions that rendering takes before it is stopped; a conversation of a hundred turns
/// needs some ten thousand.
const FUEL: u64 = 500_000;

/// What `transformers`' `SmolVLMProcessor` renders conversations with a video by, whatever template
/// the checkpoint brings: those of the hub may know images only.
pub(super) const SMOLVLM_VIDEO: &str = "<|im_start|>{% for message in messages %}\
{{ message['role'] | capitalize }}: {% for block in message['content'] %}\
{{ '<video>' if block['type'] == 'video' else block['text'] }}{% endfor %}<end_of_utterance>\n\
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

/// A chat template chosen by the caller rather than by the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// Vicuna 1.1's, which VLM-RLAIF was trained with.
    VicunaV1,
    /// Any other, as Jinja source.
    Jinja(String),
}

impl Template {
    /// Jinja source.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Template::VicunaV1 => VICUNA_V1,
            Template::Jinja(source) => source,
        }
    }
}

/// What a template expects a message's `content` to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A list of blocks, in which the video's place has this type.
    Blocks(&'static str),
    /// A string, in which the video's place is the placeholder and a newline.
    Text,
}

/// A template ready to render.
#[derive(Clone, Debug)]
pub(super) struct ChatTemplate {
    source: String,
    /// Takes the place of `source` for conversations that show a video.
    for_videos: Option<&'static str>,
    environment: Environment<'static>,
    /// `bos_token`, `eos_token`, ..., as templates read them.
    specials: BTreeMap<String, String>,
    image_token: String,
    content: Content,
}

impl ChatTemplate {
    /// Compiles `source` and finds out by trial what it expects messages to look like.
    pub(super) fn new(
        source: &str,
        for_videos: Option<&'static str>,
        specials: BTreeMap<String, String>,
        image_token: &str,
    ) -> Result<Self, TokenizerError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: String| strftime_utc(&format));
        environment.add_filter("tojson", to_json);
        let mut template = ChatTemplate {
            source: source.to_owned(),
            for_videos,
            environment,
            specials,
            image_token: image_token.to_owned(),
            content: Content::Text,
        };
        let trial = "trial of content";
        let messages = [Message::ask(trial)];
        let mut failure = None;
        for content in [Content::Blocks("image"), Content::Blocks("video"), Content::Text] {
            template.content = content;
            match template.render(&messages, true) {
                Ok(text)
                    if text.matches(trial).count() == 1
                        && text.matches(image_token).count() == 1
                        && !text.contains("\"type\"")
                        && !text.contains("'type'") =>
                {
                    return Ok(template);
                }
                Ok(_) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| TokenizerError::Template {
            problem: format!(
                "it does not write a user turn's text and the placeholder {image_token} once each"
            ),
        }))
    }

    /// Jinja source.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation.
    pub(super) fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TokenizerError> {
        let mut blocks = messages.iter().flat_map(|message| &message.content);
        let source = match self.for_videos {
            Some(source) if blocks.any(|block| matches!(block, Block::Video { .. })) => source,
            _ => &self.source,
        };
        let messages: Vec<Value> = messages.iter().map(|message| self.value(message)).collect();
        let mut context: BTreeMap<&str, Value> =
            self.specials.iter().map(|(name, token)| (name.as_str(), json!(token))).collect();
        context.insert("messages", json!(messages));
        context.insert("add_generation_prompt", json!(add_generation_prompt));
        context.insert("tools", Value::Null);
        context.insert("documents", Value::Null);
        self.environment
            .template_from_named_str("chat_template", &without_generation_marks(source))
            .and_then(|template| template.render(context))
            .map_err(|error| {
                let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
                let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
                TokenizerError::Template { problem: format!("{detail}{line}") }
            })
    }

    fn value(&self, message: &Message) -> Value {
        let content = match self.content {
            Content::Blocks(video) => json!(
                message
                    .content
                    .iter()
                    .map(|block| match block {
                        Block::Text { text } => json!({ "type": "text", "text": text }),
                        Block::Video { .. } => json!({ "type": video }),
                    })
                    .collect::<Vec<_>>()
            ),
            Content::Text => {
                let video = message.content.iter().filter(|b| matches!(b, Block::Video { .. }));
                let mut text = format!("{}\n", self.image_token).repeat(video.count());
                text.push_str(&message.plain_text());
                json!(text)
            }
        };
        json!({ "role": message.role.as_str(), "content": content })
    }
}

/// Replaces `{% generation %}` and `{% endgeneration %}` by blocks that do nothing, keeping how
/// they treat the white space around them.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start..].find("%}").map(|end| start + end) else { break };
        let tag = &rest[start + 2..end];
        let word = tag.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        let replacement = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => word,
        };
        out.push_str(&rest[..start + 2]);
        if replacement == word {
            out.push_str(tag);
        } else {
            out.push_str(&tag.replace(word, replacement));
        }
        out.push_str("%}");
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    out
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// `tojson` as `transformers` defines it: Python's separators, nothing escaped.
#[expect(clippy::needless_pass_by_value, reason = "the signature minijinja calls")]
fn to_json(value: Jinja, options: Kwargs) -> Result<Jinja, Error> {
    let fail =
        |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Jinja> = options.get(ignored)?;
    }
    options.assert_all_used()?;
    let mut out = Vec::new();
    if let Some(indent) = indent {
        let indent = " ".repeat(indent);
        let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
        serde::Serialize::serialize(&value, &mut serializer).map_err(fail)?;
    } else {
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
        serde::Serialize::serialize(&value, &mut serializer).map_err(fail)?;
    }
    Ok(Jinja::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}

/// `", "` and `": "`, as Python's `json.dumps` separates.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_data::Role;

    fn template(source: &str) -> Result<ChatTemplate, TokenizerError> {
        let specials = [("bos_token", "<s>"), ("eos_token", "</s>"), ("image_token", "<image>")]
            .map(|(name, token)| (name.to_owned(), token.to_owned()));
        ChatTemplate::new(source, None, specials.into(), "<image>")
    }

    #[test]
    fn vicuna_v1_is_laid_out_as_llava_lays_it_out() {
        let system = "A chat between a curious user and an artificial intelligence assistant. The \
                      assistant gives helpful, detailed, and polite answers to the user's questions.";
        let vicuna = template(Template::VicunaV1.source()).unwrap();
        let mut messages = vec![Message::ask("What moves?")];
        assert_eq!(
            vicuna.render(&messages, true).unwrap(),
            format!("{system} USER: <image>\nWhat moves? ASSISTANT:")
        );
        messages.push(Message::text(Role::Assistant, "A ball."));
        messages.push(Message::text(Role::User, "Where to?"));
        assert_eq!(
            vicuna.render(&messages, true).unwrap(),
            format!(
                "{system} USER: <image>\nWhat moves? ASSISTANT: A ball.</s>USER: Where to? ASSISTANT:"
            )
        );
        messages.insert(0, Message::text(Role::System, "Be brief."));
        assert!(vicuna.render(&messages, false).unwrap().starts_with("Be brief. USER: <image>\n"));
    }

    #[test]
    fn a_template_of_plain_strings_gets_the_placeholder_in_its_text() {
        let source = "{% for m in messages %}{{ m.role }}: {{ m.content.strip() }}\n{% endfor %}";
        let text = template(source).unwrap().render(&[Message::ask("hi ")], false).unwrap();
        assert_eq!(text, "user: <image>\nhi\n");
    }

    #[test]
    fn a_template_that_drops_the_video_or_fails_is_refused() {
        let message = |source: &str| template(source).unwrap_err().to_string();
        let dropped = "{% for m in messages %}{{ m.content[1].text }}{% endfor %}";
        assert!(message(dropped).contains("placeholder <image>"), "{}", message(dropped));
        assert!(message("{{ raise_exception('no way') }}").contains("no way"));
        assert!(message("{% for m in messages %}\n{% if %}").contains("line 2"));
    }

    #[test]
    fn tojson_writes_as_python_does() {
        let source = "{% for m in messages %}{{ m.content }}{% endfor %}\
                      {{ {'a': [1, 'é<b>'], 'b': none} | tojson }}";
        let text = template(source).unwrap().render(&[Message::ask("q")], false).unwrap();
        assert_eq!(
            text,
            r#"<image>
q{"a": [1, "é<b>"], "b": null}"#
        );
    }
}
