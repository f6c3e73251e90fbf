//! From a [`Preference`] to a row of TRL's or VLM-RLAIF's preference data.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::content;
use crate::error::FieldError;
use crate::layout::Layout;
use crate::{Block, Columns, Message, Preference, Role, VideoRef};

/// The layouts preference data is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferenceLayout {
    /// `prompt`, `chosen` and `rejected` as messages with content blocks (TRL). The video block
    /// names the video, as chat templates of `transformers` take it. Carries everything.
    Trl,
    /// `conversations`, `output_1`, `output_2` and `preference` (VLM-RLAIF). Carries one plain
    /// text a turn, the video in front of the first question, no `<image>` in any text and no white
    /// space around the first question.
    ///
    /// Which output the chosen answer is, is drawn by a hash of the row's id, so that its place
    /// tells nothing and the same row is always written the same way. Frames stand in `images`;
    /// video files and `world:` addresses in `video`, which this project reads and VLM-RLAIF's own
    /// loaders do not. Nor do these know system turns, which are written with `from: system`.
    VlmRlaif,
}

impl fmt::Display for PreferenceLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PreferenceLayout::Trl => "TRL",
            PreferenceLayout::VlmRlaif => "VLM-RLAIF",
        })
    }
}

/// A preference that a layout cannot carry as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("preference `{id}` has no row in the {layout} layout: `{field}`: {problem}")]
pub struct PreferenceRowError {
    /// [`Preference::id`].
    pub id: String,
    /// The layout that was asked for.
    pub layout: PreferenceLayout,
    /// The field, of the preference or of its row.
    pub field: String,
    /// What is wrong with it and what to do.
    pub problem: String,
}

impl Preference {
    /// The preference as a row of a data set, paths as they stand.
    ///
    /// The row is read back before it is given out: what [`read_preferences`] would change or
    /// refuse is an error here. A video block that names the row's own video, and one that is left
    /// out of the messages, mean the same as a plain block (in front of the first question), and
    /// are read back as that.
    ///
    /// ```
    /// use rlaif_data::{Message, Preference, PreferenceLayout, VideoRef};
    ///
    /// let preference = Preference {
    ///     id: "a-1".to_owned(),
    ///     video: VideoRef::File("/clips/a.mp4".into()),
    ///     messages: vec![Message::ask("What moves?")],
    ///     chosen: "A cat.".to_owned(),
    ///     rejected: "A dog.".to_owned(),
    ///     category: None,
    ///     narrative: None,
    ///     meta: Default::default(),
    /// };
    /// let row = preference.to_row(PreferenceLayout::Trl)?;
    /// assert_eq!(row["prompt"][0]["content"][0]["video"], "/clips/a.mp4");
    /// assert_eq!(row["chosen"][0]["content"][0]["text"], "A cat.");
    ///
    /// let row = preference.to_row(PreferenceLayout::VlmRlaif)?;
    /// assert_eq!(row["conversations"][0]["value"], "<image>\nWhat moves?");
    /// # Ok::<(), rlaif_data::PreferenceRowError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Names the field that the layout cannot carry.
    ///
    /// [`read_preferences`]: crate::read_preferences
    pub fn to_row(&self, layout: PreferenceLayout) -> Result<Value, PreferenceRowError> {
        let row = meant(self).and_then(|meant| row(&meant, layout));
        row.map_err(|error| error.of(self, layout))
    }
}

impl FieldError {
    pub(crate) fn of(self, row: &Preference, layout: PreferenceLayout) -> PreferenceRowError {
        let FieldError { field, problem } = self;
        PreferenceRowError { id: row.id.clone(), layout, field, problem }
    }
}

/// The preference as it reads: one plain video block, in front of the first question where the
/// messages do not say.
pub(crate) fn meant(preference: &Preference) -> Result<Preference, FieldError> {
    let mut meant = preference.clone();
    for (i, message) in meant.messages.iter_mut().enumerate() {
        for block in &mut message.content {
            if let Block::Video { video } = block
                && let Some(named) = video.take()
                && named != preference.video
            {
                let problem = format!(
                    "shows `{named}`, and the row is about `{}`; a row is about one video",
                    preference.video
                );
                return Err(FieldError::new(format!("messages[{i}]"), problem));
            }
        }
    }
    content::place_video(&mut meant.messages, "messages")?;
    Ok(meant)
}

/// The row of a preference as [`meant`] gives it.
pub(crate) fn row(meant: &Preference, layout: PreferenceLayout) -> Result<Value, FieldError> {
    let video = video_value(&meant.video)?;
    let mut row = match layout {
        PreferenceLayout::Trl => trl(meant, &video),
        PreferenceLayout::VlmRlaif => vlm_rlaif(meant, video)?,
    };
    row.insert("id".to_owned(), json!(meant.id));
    for (column, value) in [("category", &meant.category), ("narrative", &meant.narrative)] {
        if let Some(text) = value {
            row.insert(column.to_owned(), json!(text));
        }
    }
    if !meant.meta.is_empty() {
        row.insert("meta".to_owned(), Value::Object(meant.meta.clone()));
    }
    reads_back(&row, meant, layout)?;
    Ok(Value::Object(row))
}

/// Every content is a list of blocks, so that the columns have one type throughout a file.
fn trl(meant: &Preference, video: &Value) -> Map<String, Value> {
    let block = |block: &Block| match block {
        Block::Text { text } => json!({"type": "text", "text": text}),
        Block::Video { .. } => json!({"type": "video", "video": video}),
    };
    let message = |message: &Message| {
        let content: Vec<Value> = message.content.iter().map(block).collect();
        json!({"role": message.role.as_str(), "content": content})
    };
    let prompt: Vec<Value> = meant.messages.iter().map(message).collect();
    let answer = |text: &String| json!([message(&Message::text(Role::Assistant, text))]);
    Map::from_iter([
        ("prompt".to_owned(), json!(prompt)),
        ("chosen".to_owned(), answer(&meant.chosen)),
        ("rejected".to_owned(), answer(&meant.rejected)),
    ])
}

fn vlm_rlaif(meant: &Preference, video: Value) -> Result<Map<String, Value>, FieldError> {
    let first_question = meant.messages.iter().position(|message| message.role == Role::User);
    let mut conversations = Vec::with_capacity(meant.messages.len());
    for (i, message) in meant.messages.iter().enumerate() {
        let field = format!("messages[{i}]");
        let text = message.plain_text();
        without_mark(&text, &field)?;
        let shows = message.content.iter().any(|block| matches!(block, Block::Video { .. }));
        if shows && Some(i) != first_question {
            let problem = "shows the video, and VLM-RLAIF's loaders look for it in the first \
                           question; move it there, or write the TRL layout";
            return Err(FieldError::new(field, problem));
        }
        let value = if shows { format!("<image>\n{text}") } else { text };
        let from = match message.role {
            Role::System => "system",
            Role::User => "human",
            Role::Assistant => "gpt",
        };
        conversations.push(json!({"from": from, "value": value}));
    }
    without_mark(&meant.chosen, "chosen")?;
    without_mark(&meant.rejected, "rejected")?;
    let output = |text: &String| json!({"from": "gpt", "value": text});
    let (first, second, preference) = if chosen_is_first(&meant.id) {
        (&meant.chosen, &meant.rejected, 1)
    } else {
        (&meant.rejected, &meant.chosen, 2)
    };
    let column = if matches!(meant.video, VideoRef::Frames(_)) { "images" } else { "video" };
    Ok(Map::from_iter([
        ("conversations".to_owned(), json!(conversations)),
        ("output_1".to_owned(), output(first)),
        ("output_2".to_owned(), output(second)),
        ("preference".to_owned(), json!(preference)),
        (column.to_owned(), video),
    ]))
}

/// VLM-RLAIF's loaders put the frames wherever a text says `<image>`, in answers as well.
fn without_mark(text: &str, field: &str) -> Result<(), FieldError> {
    if text.contains("<image>") {
        let problem = "says `<image>`, which VLM-RLAIF's loaders take for the place of the video; \
                       reword it, or write the TRL layout";
        return Err(FieldError::new(field, problem));
    }
    Ok(())
}

/// One bit of the id's SHA-256: the same everywhere, for ever, and no pattern over numbered rows.
fn chosen_is_first(id: &str) -> bool {
    Sha256::digest(id)[0] & 1 == 0
}

fn video_value(video: &VideoRef) -> Result<Value, FieldError> {
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| {
            let problem = format!("`{}` is not UTF-8, as JSON is; rename the file", path.display());
            FieldError::new("video", problem)
        })
    };
    Ok(match video {
        VideoRef::File(path) => json!(text(path)?),
        VideoRef::Frames(paths) => {
            json!(paths.iter().map(|path| text(path)).collect::<Result<Vec<_>, _>>()?)
        }
        VideoRef::World(_) => json!(video.to_string()),
    })
}

/// Makes sure that the row says what it should, by the reader's own word.
fn reads_back(
    row: &Map<String, Value>,
    meant: &Preference,
    layout: PreferenceLayout,
) -> Result<(), FieldError> {
    let columns = Columns::default();
    let read = Layout::new(row.clone(), &columns, Path::new("")).preference(String::new())?;
    let changed = |i: &usize| read.messages.get(*i) != meant.messages.get(*i);
    if let Some(i) = (0..meant.messages.len().max(read.messages.len())).find(changed) {
        let problem = match layout {
            PreferenceLayout::Trl => "would be read back changed",
            PreferenceLayout::VlmRlaif => {
                "would be read back changed: this layout holds one plain text a turn, the video \
                 in front of the first question and no white space around that question; trim or \
                 join the texts, or write the TRL layout"
            }
        };
        return Err(FieldError::new(format!("messages[{i}]"), problem));
    }
    let same = [
        ("video", read.video == meant.video),
        ("id", read.id == meant.id),
        ("chosen", read.chosen == meant.chosen),
        ("rejected", read.rejected == meant.rejected),
        ("category", read.category == meant.category),
        ("narrative", read.narrative == meant.narrative),
        ("meta", read.meta == meant.meta),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some(("video", _)) => {
            let problem = format!("`{}` would be read as `{}`; rename it", meant.video, read.video);
            Err(FieldError::new("video", problem))
        }
        Some((field, _)) => Err(FieldError::new(field, "would be read back changed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
