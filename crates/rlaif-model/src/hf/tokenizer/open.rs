//! Finding and putting together the parts of a [`ChatTokenizer`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rlaif_data::{Message, Role};
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::hf::config::is_original_llava;
use crate::hf::files::{read_bytes, read_json, read_text};
use crate::hf::generation::GenerationConfig;
use crate::hf::tokenizer::library::parse;
use crate::hf::tokenizer::sentencepiece::{MAX_MODEL, convert};
use crate::hf::tokenizer::template::{ChatTemplate, SMOLVLM_VIDEO, Template};
use crate::hf::tokenizer::{AnswerFrame, ChatTokenizer, TokenizerError, VideoText, encode_error};

impl ChatTokenizer {
    /// Opens `tokenizer.json` (else `tokenizer.model`) and its companions in `dir`, with the
    /// checkpoint's own template. A checkpoint in the original LLaVA layout brings none: its code
    /// has `vicuna_v1`.
    ///
    /// # Errors
    ///
    /// When a file is missing or broken, there is no template or no end-of-sequence token.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let dir = dir.as_ref();
        let config = read_config(dir)?;
        let source = match find_template(dir, &config)? {
            Some(source) => source,
            None if is_original(dir)? => Template::VicunaV1.source().to_owned(),
            None => return Err(TokenizerError::NoTemplate { dir: dir.to_owned() }),
        };
        Self::from_dir(dir, config, &source, true)
    }

    /// Opens the tokenizer in `dir` with a template of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but the checkpoint needs no template.
    pub fn open_with_template(
        dir: impl AsRef<Path>,
        template: &Template,
    ) -> Result<Self, TokenizerError> {
        let dir = dir.as_ref();
        let mut config = read_config(dir)?;
        config.remove("chat_template");
        Self::from_dir(dir, config, template.source(), false)
    }

    fn from_dir(
        dir: &Path,
        mut config: Map<String, Value>,
        source: &str,
        own: bool,
    ) -> Result<Self, TokenizerError> {
        let mut path = dir.join("tokenizer.json");
        let model = dir.join("tokenizer.model");
        let json = if !path.exists() && model.exists() {
            path = model;
            let bytes = read_bytes(&path, MAX_MODEL)?;
            let (json, names) = convert(&bytes, &config)
                .map_err(|problem| TokenizerError::Broken { path: path.clone(), problem })?;
            for (key, name) in names {
                config.entry(key).or_insert(name);
            }
            json
        } else {
            read_text(&path)?
        };
        let generation = GenerationConfig::open(dir).map_err(|error| TokenizerError::Broken {
            path: dir.join("generation_config.json"),
            problem: error.to_string(),
        })?;
        let mut visual = match dir.join("config.json") {
            config if config.is_file() => VisualToken::of(&read_json(&config)?),
            _ => VisualToken::default(),
        };
        if !own {
            visual.template = None;
        }
        let mut chat = Self::build(json, config, source, &generation.eos_token_ids, visual)
            .map_err(|error| match error {
                TokenizerError::Encode { problem, .. } => TokenizerError::Broken { path, problem },
                other => other,
            })?;
        chat.split_at_video = is_original(dir)?;
        Ok(chat)
    }

    /// Puts the parts together.
    pub(super) fn build(
        mut json: String,
        config: Map<String, Value>,
        source: &str,
        more_eos: &[u32],
        visual: VisualToken,
    ) -> Result<Self, TokenizerError> {
        let mut tokenizer = parse(&json)?;
        let mut names = special_names(&config);
        let image_token = visual
            .id
            .and_then(|id| tokenizer.id_to_token(id))
            .filter(|token| !token.is_empty())
            .or_else(|| names.get("image_token").cloned())
            .unwrap_or_else(|| "<image>".to_owned());
        names.entry("image_token".to_owned()).or_insert_with(|| image_token.clone());
        let known = tokenizer.get_added_tokens_decoder();
        let missing: Vec<AddedToken> = names
            .values()
            .chain([&image_token])
            .filter(|name| !known.values().any(|token| token.special && token.content == **name))
            .map(|name| AddedToken::from(name.clone(), true).normalized(false))
            .collect();
        if !missing.is_empty() {
            tokenizer.add_special_tokens(&missing);
            json = tokenizer.to_string(true).map_err(|error| encode_error("", &error))?;
        }
        // A prompt is never cut off or padded behind our back.
        let _ = tokenizer.with_truncation(None);
        tokenizer.with_padding(None);
        let mut literal = tokenizer.clone();
        literal.set_encode_special_tokens(true);

        let id = |name: &str| names.get(name).and_then(|token| tokenizer.token_to_id(token));
        let image_token_id = tokenizer
            .token_to_id(&image_token)
            .ok_or(TokenizerError::NoToken { name: "image_token" })?;
        let mut eos_ids: Vec<u32> = id("eos_token").into_iter().collect();
        for id in more_eos {
            if !eos_ids.contains(id) {
                eos_ids.push(*id);
            }
        }
        let eos = *eos_ids.first().ok_or(TokenizerError::NoToken { name: "eos_token" })?;
        let added = tokenizer.get_added_tokens_decoder();
        let special_ids: BTreeSet<u32> =
            added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let mut specials: Vec<String> =
            added.values().filter(|t| t.special).map(|t| t.content.clone()).collect();
        specials.sort();
        let forbidden_ids =
            special_ids.iter().copied().filter(|id| !eos_ids.contains(id)).collect();
        let (bos_token, pad_id) = (names.get("bos_token").cloned(), id("pad_token"));
        let unk_id = id("unk_token");
        let placeholder = visual.placeholder.map_or(image_token, str::to_owned);
        if !specials.contains(&placeholder) {
            specials.push(placeholder.clone());
            specials.sort();
        }
        let template = ChatTemplate::new(source, visual.template, names, &placeholder)?;
        let mut chat = ChatTokenizer {
            tokenizer,
            literal,
            template,
            json,
            config,
            bos_token,
            unk_id,
            placeholder,
            image_token_id,
            pad_id,
            eos_ids,
            specials,
            special_ids,
            forbidden_ids,
            split_at_video: false,
            answer: AnswerFrame { eos, ..AnswerFrame::default() },
        };
        chat.answer = chat.find_answer_frame();
        Ok(chat)
    }

    /// Finds by trial what the template puts around an answer.
    fn find_answer_frame(&self) -> AnswerFrame {
        let plain = AnswerFrame { eos: self.answer.eos, ..AnswerFrame::default() };
        let trial = "\u{F8FF}";
        let mut messages = vec![Message::ask("a")];
        let Ok(before) = self.template.render(&messages, true) else { return plain };
        messages.push(Message::text(Role::Assistant, trial));
        let Ok(full) = self.template.render(&messages, false) else { return plain };
        let Some((head, tail)) = full.split_once(trial) else { return plain };
        let eos = self
            .eos_ids
            .iter()
            .find(|id| {
                let token = self.tokenizer.id_to_token(**id);
                token.is_some_and(|token| tail.trim_start().starts_with(&token))
            })
            .copied()
            .unwrap_or(plain.eos);
        match head.strip_prefix(before.as_str()) {
            Some(between) => AnswerFrame { between: between.to_owned(), before, eos },
            None => AnswerFrame { eos, ..plain },
        }
    }
}

/// Whether the model in `dir` has the original LLaVA layout.
fn is_original(dir: &Path) -> Result<bool, TokenizerError> {
    let path = dir.join("config.json");
    Ok(path.is_file() && is_original_llava(&read_json(&path)?))
}

/// How a model's prompts speak of videos.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VisualToken {
    /// The token that stands for a visual token, where the model names one.
    pub(super) id: Option<u32>,
    /// What templates write in the place of a video, where that is not this token.
    pub(super) placeholder: Option<&'static str>,
    /// The template for conversations with a video, where that is not the checkpoint's.
    pub(super) template: Option<&'static str>,
}

impl VisualToken {
    /// From `config.json`.
    fn of(config: &Value) -> Self {
        let id = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| config.get(*key)?.as_u64());
            found.and_then(|id| u32::try_from(id).ok())
        };
        match config.get("model_type").and_then(Value::as_str) {
            Some("smolvlm") => VisualToken {
                id: id(&["image_token_id"]),
                placeholder: Some("<video>"),
                template: Some(SMOLVLM_VIDEO),
            },
            Some("qwen2_5_vl") => {
                VisualToken { id: id(&["video_token_id"]), ..VisualToken::default() }
            }
            _ => VisualToken {
                id: id(&["image_token_index", "image_token_id"]),
                ..VisualToken::default()
            },
        }
    }
}

/// Puts a tokenizer together and makes a prompt and a text of it. True where all of it works.
pub(in crate::hf) fn try_prompt(json: &[u8]) -> bool {
    let Ok(json) = String::from_utf8(json.to_vec()) else { return false };
    let Value::Object(config) = serde_json::json!({ "eos_token": "</s>", "bos_token": "<s>" })
    else {
        return false;
    };
    let source = Template::VicunaV1.source();
    let Ok(chat) = ChatTokenizer::build(json, config, source, &[], VisualToken::default()) else {
        return false;
    };
    let prompt = chat.encode_prompt(&[Message::ask("What moves?")], &VideoText::Repeated(2));
    prompt.is_ok_and(|prompt| chat.decode(&prompt.ids).len() < 1 << 16)
}

/// `tokenizer_config.json`, completed from `special_tokens_map.json` of older releases.
fn read_config(dir: &Path) -> Result<Map<String, Value>, TokenizerError> {
    let mut config = Map::new();
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = dir.join(name);
        if !path.exists() {
            continue;
        }
        let Value::Object(map) = read_json(&path)? else {
            return Err(TokenizerError::Broken { path, problem: "not an object".to_owned() });
        };
        for (key, value) in map {
            config.entry(key).or_insert(value);
        }
    }
    Ok(config)
}

/// The checkpoint's own template, in `transformers`' order of preference.
fn find_template(
    dir: &Path,
    config: &Map<String, Value>,
) -> Result<Option<String>, TokenizerError> {
    let jinja = dir.join("chat_template.jinja");
    if jinja.exists() {
        return Ok(Some(read_text(&jinja)?));
    }
    let path = dir.join("chat_template.json");
    if path.exists() {
        let document = read_json(&path)?;
        return match document.get("chat_template").and_then(Value::as_str) {
            Some(source) => Ok(Some(source.to_owned())),
            None => Err(TokenizerError::Broken {
                path,
                problem: "`chat_template` is not a string".to_owned(),
            }),
        };
    }
    Ok(match config.get("chat_template") {
        Some(Value::String(source)) => Some(source.clone()),
        // Several named ones: `default` is the one for plain chats.
        Some(Value::Array(list)) => list
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template")?.as_str())
            .map(str::to_owned),
        _ => None,
    })
}

/// `bos_token`, `eos_token`, ... with their spellings.
fn special_names(config: &Map<String, Value>) -> BTreeMap<String, String> {
    config
        .iter()
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, value)| Some((key.clone(), token_text(value)?)))
        .collect()
}

/// A token's spelling: a string, or an object with `content`.
fn token_text(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
    (!text.is_empty()).then(|| text.to_owned())
}
