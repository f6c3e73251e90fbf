//! From JSON to messages: Hugging Face's content blocks, plain strings, VLM-RLAIF's turns.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::{Block, Message, Role, VideoRef};

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `role` and `content`.
    Chat,
    /// `from` (or `role`) and `value`, with `human` and `gpt`.
    Turns,
}

/// What a row says beside its messages while they are read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The one video of the row, and the field that named it.
    video: Option<(VideoRef, String)>,
    /// Keys of the video block that are no part of the record (`fps`, `min_frames`, ...).
    pub(crate) video_options: Map<String, Value>,
    /// Fields without effect, indices left out (`messages[].name`), and whether they are kept.
    without_effect: Vec<(String, bool)>,
}

impl Findings {
    /// Notes the row's video; a second one must be the same.
    pub(crate) fn set_video(&mut self, video: VideoRef, field: &str) -> Result<(), FieldError> {
        match &self.video {
            Some((first, named_by)) if *first != video => Err(FieldError::new(
                field,
                format!("`{video}` is not the `{first}` of `{named_by}`; a row is about one video"),
            )),
            Some(_) => Ok(()),
            None => {
                self.video = Some((video, field.to_owned()));
                Ok(())
            }
        }
    }

    pub(crate) fn take_video(&mut self) -> Option<VideoRef> {
        self.video.take().map(|(video, _)| video)
    }

    /// Fields without effect, indices left out, and whether they are kept in `video_options`.
    pub(crate) fn without_effect(self) -> Vec<(String, bool)> {
        self.without_effect
    }

    fn note(&mut self, field: &str, key: &str, kept: bool) {
        let mut general = String::new();
        for part in field.split_inclusive('[') {
            // After a bracket comes an index: `messages[`, `0].content[`, `1]`.
            general.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        self.without_effect.push((format!("{general}.{key}"), kept));
    }
}

/// Reads a list of messages. `folder` is where relative video paths start.
pub(crate) fn messages(
    value: Value,
    field: &str,
    dialect: Dialect,
    folder: &Path,
    findings: &mut Findings,
) -> Result<Vec<Message>, FieldError> {
    let Value::Array(items) = value else {
        return Err(FieldError::expected(field, "a list of messages", &value));
    };
    if items.is_empty() {
        return Err(FieldError::new(field, "expected a list of messages, got an empty one"));
    }
    let read = |(i, item)| message(item, &format!("{field}[{i}]"), dialect, folder, findings);
    items.into_iter().enumerate().map(read).collect()
}

fn message(
    value: Value,
    field: &str,
    dialect: Dialect,
    folder: &Path,
    findings: &mut Findings,
) -> Result<Message, FieldError> {
    let Value::Object(mut object) = value else {
        return Err(FieldError::expected(field, "a message object", &value));
    };
    let (speaker_keys, content_key): (&[&str], _) = match dialect {
        Dialect::Chat => (&["role"], "content"),
        Dialect::Turns => (&["from", "role"], "value"),
    };
    let Some((key, speaker)) =
        speaker_keys.iter().find_map(|key| object.remove(*key).map(|value| (*key, value)))
    else {
        let problem = format!("missing; a message says who speaks in `{}`", speaker_keys[0]);
        return Err(FieldError::new(format!("{field}.{}", speaker_keys[0]), problem));
    };
    let role = role(&speaker, dialect)
        .ok_or_else(|| FieldError::expected(format!("{field}.{key}"), known(dialect), &speaker))?;
    let content_field = format!("{field}.{content_key}");
    let content = match object.remove(content_key) {
        Some(Value::String(text)) => string_content(role, text, &content_field)?,
        Some(Value::Array(items)) if dialect == Dialect::Chat => {
            let mut blocks = Vec::with_capacity(items.len());
            for (i, item) in items.into_iter().enumerate() {
                blocks.push(block(item, &format!("{content_field}[{i}]"), folder, findings)?);
            }
            blocks
        }
        Some(other) if dialect == Dialect::Chat => {
            return Err(FieldError::expected(
                content_field,
                "a string or a list of blocks",
                &other,
            ));
        }
        Some(other) => return Err(FieldError::expected(content_field, "a string", &other)),
        None => return Err(FieldError::new(content_field, "missing")),
    };
    for key in object.keys() {
        findings.note(field, key, false);
    }
    if role != Role::User && content.iter().any(|block| matches!(block, Block::Video { .. })) {
        let problem = format!("a video block in a turn of `{}`; only users show", role.as_str());
        return Err(FieldError::new(content_field, problem));
    }
    Ok(Message { role, content })
}

fn role(speaker: &Value, dialect: Dialect) -> Option<Role> {
    match (speaker.as_str()?, dialect) {
        ("system", _) => Some(Role::System),
        ("user", _) | ("human", Dialect::Turns) => Some(Role::User),
        ("assistant", _) | ("gpt", Dialect::Turns) => Some(Role::Assistant),
        _ => None,
    }
}

fn known(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "`system`, `user` or `assistant`",
        Dialect::Turns => "`human`, `gpt` or `system`",
    }
}

/// A string: in a user turn `<video>` or `<image>` marks the video, which goes in front, as
/// VLM-RLAIF's loaders put it; the mark is taken out of the text.
pub(crate) fn string_content(
    role: Role,
    text: String,
    field: &str,
) -> Result<Vec<Block>, FieldError> {
    const MARKS: [&str; 2] = ["<video>", "<image>"];
    let n_marks: usize = MARKS.iter().map(|mark| text.matches(mark).count()).sum();
    if role != Role::User || n_marks == 0 {
        return Ok(vec![Block::Text { text }]);
    }
    if n_marks > 1 {
        let problem = format!("{n_marks} marks `<video>` or `<image>`; a row shows one video once");
        return Err(FieldError::new(field, problem));
    }
    let text = MARKS.iter().fold(text, |text, mark| text.replace(mark, ""));
    let mut blocks = vec![Block::Video { video: None }];
    if !text.trim().is_empty() {
        blocks.push(Block::Text { text: text.trim().to_owned() });
    }
    Ok(blocks)
}

fn block(
    value: Value,
    field: &str,
    folder: &Path,
    findings: &mut Findings,
) -> Result<Block, FieldError> {
    let Value::Object(mut object) = value else {
        return Err(FieldError::expected(field, "a block object with `type`", &value));
    };
    match object.remove("type") {
        Some(Value::String(kind)) if kind == "text" => match object.remove("text") {
            Some(Value::String(text)) => {
                for key in object.keys() {
                    findings.note(field, key, false);
                }
                Ok(Block::Text { text })
            }
            other => {
                let field = format!("{field}.text");
                Err(FieldError::expected(field, "a string", &other.unwrap_or_default()))
            }
        },
        Some(Value::String(kind)) if kind == "video" => {
            for key in ["video", "path", "url"] {
                match object.remove(key) {
                    None | Some(Value::Null) => {}
                    Some(video) => {
                        let field = format!("{field}.{key}");
                        findings.set_video(video_ref(&video, &field, folder)?, &field)?;
                    }
                }
            }
            object.retain(|_, value| !value.is_null());
            for key in object.keys() {
                findings.note(field, key, true);
            }
            findings.video_options.extend(object);
            Ok(Block::Video { video: None })
        }
        other => Err(FieldError::expected(
            format!("{field}.type"),
            "`text` or `video`",
            &other.unwrap_or_default(),
        )),
    }
}

/// Reads where a video lies: a path, `world:split/index`, or a list of frame paths.
pub(crate) fn video_ref(value: &Value, field: &str, folder: &Path) -> Result<VideoRef, FieldError> {
    match value {
        Value::String(text) => match VideoRef::from_text(text) {
            VideoRef::World(address) => Ok(VideoRef::World(address)),
            _ => Ok(VideoRef::File(resolve(text, field, folder)?)),
        },
        Value::Array(frames) => frame_paths(frames, field, folder),
        other => {
            Err(FieldError::expected(field, "a path, or a list of the paths of frames", other))
        }
    }
}

fn frame_paths(frames: &[Value], field: &str, folder: &Path) -> Result<VideoRef, FieldError> {
    const VIDEO_ENDINGS: [&str; 6] = ["mp4", "mkv", "webm", "avi", "mov", "m4v"];
    if frames.is_empty() {
        return Err(FieldError::new(field, "expected the paths of frames, got an empty list"));
    }
    let mut paths = Vec::with_capacity(frames.len());
    for (i, frame) in frames.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let Value::String(text) = frame else {
            return Err(FieldError::expected(field, "the path of a frame", frame));
        };
        let path = resolve(text, &field, folder)?;
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        if VIDEO_ENDINGS.iter().any(|video| ending == *video) {
            let problem =
                format!("`{text}` is a video; a list is of frames, one video is a string");
            return Err(FieldError::new(field, problem));
        }
        paths.push(path);
    }
    Ok(VideoRef::Frames(paths))
}

/// A path on this machine; relative ones start at `folder`.
fn resolve(text: &str, field: &str, folder: &Path) -> Result<PathBuf, FieldError> {
    if text.trim().is_empty() {
        return Err(FieldError::new(field, "expected a path, got an empty string"));
    }
    let path = text.strip_prefix("file://").unwrap_or(text);
    let remote = path.starts_with("data:") || path.contains("://");
    if remote {
        let start: String = text.chars().take(40).collect();
        let problem = format!("`{start}` is no file here; download it and give its path");
        return Err(FieldError::new(field, problem));
    }
    // `.join` of an absolute path is that path.
    Ok(folder.join(path))
}

/// Makes sure that the video has its place: in front of the first user turn where no block says
/// so, and never twice.
pub(crate) fn place_video(messages: &mut [Message], field: &str) -> Result<(), FieldError> {
    let is_video = |block: &Block| matches!(block, Block::Video { .. });
    let places = messages.iter().flat_map(|m| &m.content).filter(|block| is_video(block)).count();
    if places > 1 {
        let problem = format!("{places} video blocks; a row shows one video once");
        return Err(FieldError::new(field, problem));
    }
    let Some(first) = messages.iter_mut().find(|message| message.role == Role::User) else {
        return Err(FieldError::new(field, "no user turn, so nothing is asked"));
    };
    if places == 0 {
        first.content.insert(0, Block::Video { video: None });
    }
    let asked = messages.iter().filter(|message| message.role == Role::User);
    if asked.into_iter().all(|message| message.plain_text().trim().is_empty()) {
        return Err(FieldError::new(field, "the user turns have no text, so nothing is asked"));
    }
    Ok(())
}
