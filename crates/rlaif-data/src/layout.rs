//! The layouts of rows, and how each becomes an [`Example`] or a [`Preference`].

use std::path::Path;

use serde_json::{Map, Value};

use crate::content::{self, Dialect, Findings};
use crate::error::FieldError;
use crate::example::letter;
use crate::{Block, Choices, Columns, Example, Message, Preference, Role, VideoRef};

/// A row on its way to a record: columns are taken out one by one, what is left becomes `meta`.
pub(crate) struct Layout<'a> {
    object: Map<String, Value>,
    columns: &'a Columns,
    folder: &'a Path,
    findings: Findings,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(object: Map<String, Value>, columns: &'a Columns, folder: &'a Path) -> Self {
        Layout { object, columns, folder, findings: Findings::default() }
    }

    /// What the row says and nothing reads.
    pub(crate) fn without_effect(self) -> Vec<(String, bool)> {
        self.findings.without_effect()
    }

    /// The row as an example. `id` names it where it does not name itself.
    pub(crate) fn example(&mut self, id: String) -> Result<Example, FieldError> {
        let id = self.id()?.unwrap_or(id);
        let (messages, field) = self.conversation()?;
        let choices = self.choices()?;
        let reference = self.string(&self.columns.reference)?;
        if reference.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let problem = "empty; leave the reference out where there is none";
            return Err(FieldError::new(&self.columns.reference, problem));
        }
        let category = self.string(&self.columns.category)?;
        let narrative = self.string(&self.columns.narrative)?;
        let (video, messages) = self.shown(messages, &field)?;
        let meta = self.meta()?;
        Ok(Example { id, video, messages, reference, choices, category, narrative, meta })
    }

    /// The row as a preference between two answers.
    pub(crate) fn preference(&mut self, id: String) -> Result<Preference, FieldError> {
        let id = self.id()?.unwrap_or(id);
        let columns = self.columns;
        let pair = (self.take(&columns.chosen), self.take(&columns.rejected));
        let (messages, field, chosen, rejected) = match pair {
            (None, None) => self.outputs()?,
            (Some(chosen), Some(rejected)) => self.chosen_and_rejected(chosen, rejected)?,
            (None, Some(_)) => return Err(missing(&columns.chosen, "`rejected` is there")),
            (Some(_), None) => return Err(missing(&columns.rejected, "`chosen` is there")),
        };
        if messages.last().is_some_and(|message| message.role == Role::Assistant) {
            return Err(FieldError::new(field, "ends with an answer, and the two answers follow"));
        }
        let category = self.string(&columns.category)?;
        let narrative = self.string(&columns.narrative)?;
        let (video, messages) = self.shown(messages, &field)?;
        let meta = self.meta()?;
        Ok(Preference { id, video, messages, chosen, rejected, category, narrative, meta })
    }

    /// TRL: `chosen` and `rejected` beside a prompt, or as whole conversations that begin alike.
    fn chosen_and_rejected(
        &mut self,
        chosen: Value,
        rejected: Value,
    ) -> Result<(Vec<Message>, String, String, String), FieldError> {
        let columns = self.columns;
        let mut chosen = self.answer_turns(chosen, &columns.chosen)?;
        let mut rejected = self.answer_turns(rejected, &columns.rejected)?;
        let has_prompt = [&columns.prompt, &columns.messages, &columns.conversations]
            .iter()
            .any(|column| self.object.get(*column).is_some_and(|value| !value.is_null()));
        let (messages, field) = if has_prompt {
            self.conversation()?
        } else {
            let common = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
            if common == 0 {
                return Err(missing(&columns.prompt, "the two answers have no turns in common"));
            }
            rejected.drain(..common);
            (chosen.drain(..common).collect(), columns.chosen.clone())
        };
        let chosen = only_answer(&chosen, &columns.chosen)?;
        let rejected = only_answer(&rejected, &columns.rejected)?;
        Ok((messages, field, chosen, rejected))
    }

    fn answer_turns(&mut self, value: Value, field: &str) -> Result<Vec<Message>, FieldError> {
        match value {
            Value::String(text) => Ok(vec![Message::text(Role::Assistant, text)]),
            list @ Value::Array(_) => self.messages(list, field, Dialect::Chat),
            other => Err(FieldError::expected(field, "a string or a list of messages", &other)),
        }
    }

    /// VLM-RLAIF: `output_1`, `output_2` and which of them is better.
    fn outputs(&mut self) -> Result<(Vec<Message>, String, String, String), FieldError> {
        let columns = self.columns;
        let (Some(first), Some(second)) =
            (self.take(&columns.output_1), self.take(&columns.output_2))
        else {
            let problem = format!(
                "missing; a preference has `{}` and `{}`, or `{}`, `{}` and `{}`",
                columns.chosen,
                columns.rejected,
                columns.output_1,
                columns.output_2,
                columns.preference
            );
            return Err(FieldError::new(&columns.chosen, problem));
        };
        let first = self.output(first, &columns.output_1)?;
        let second = self.output(second, &columns.output_2)?;
        let preference = self.take(&columns.preference).unwrap_or_default();
        let (chosen, rejected) = match preference.as_u64() {
            Some(1) => (first, second),
            Some(2) => (second, first),
            _ => {
                return Err(FieldError::expected(&columns.preference, "1 or 2", &preference));
            }
        };
        let (messages, field) = self.conversation()?;
        Ok((messages, field, chosen, rejected))
    }

    fn output(&mut self, value: Value, field: &str) -> Result<String, FieldError> {
        if let Value::String(text) = value {
            return Ok(text);
        }
        let list = Value::Array(vec![value]);
        let turns = self.messages(list, field, Dialect::Turns)?;
        only_answer(&turns, field)
    }

    /// The conversation with its answer, and the column it came from.
    fn conversation(&mut self) -> Result<(Vec<Message>, String), FieldError> {
        let columns = self.columns;
        let names = [&columns.messages, &columns.prompt, &columns.conversations];
        let mut present = names.into_iter().filter_map(|name| Some((name, self.take(name)?)));
        let (first, second) = (present.next(), present.next());
        let listed = format!("`{}`, `{}` or `{}`", names[0], names[1], names[2]);
        match (first, second) {
            (Some((field, value)), None) if *field == columns.prompt => {
                Ok((self.prompt(value)?, field.clone()))
            }
            (Some((field, value)), None) => {
                let turns = *field == columns.conversations;
                let dialect = if turns { Dialect::Turns } else { Dialect::Chat };
                Ok((self.messages(value, field, dialect)?, field.clone()))
            }
            (None, _) => Err(missing(
                names[0],
                &format!("a row has a conversation in {listed} (map other names with `columns`)"),
            )),
            (Some((first, _)), Some((second, _))) => Err(FieldError::new(
                second,
                format!(
                    "the row has a conversation in `{first}` already; of {listed} switch off all \
                     but one in `columns` with an empty name"
                ),
            )),
        }
    }

    fn messages(
        &mut self,
        list: Value,
        field: &str,
        dialect: Dialect,
    ) -> Result<Vec<Message>, FieldError> {
        content::messages(list, field, dialect, self.folder, &mut self.findings)
    }

    /// TRL: the question in `prompt`, the answer, where there is one, in `completion`.
    fn prompt(&mut self, prompt: Value) -> Result<Vec<Message>, FieldError> {
        let field = &self.columns.prompt;
        let mut messages = match prompt {
            Value::String(text) => {
                let content = content::string_content(Role::User, text, field)?;
                vec![Message { role: Role::User, content }]
            }
            list @ Value::Array(_) => self.messages(list, field, Dialect::Chat)?,
            other => {
                return Err(FieldError::expected(field, "a string or a list of messages", &other));
            }
        };
        if messages.last().is_some_and(|message| message.role != Role::User) {
            return Err(FieldError::new(field, "the last turn is not the user's"));
        }
        if let Some(completion) = self.take(&self.columns.completion) {
            let turns = self.answer_turns(completion, &self.columns.completion)?;
            let answer = only_answer(&turns, &self.columns.completion)?;
            messages.push(Message::text(Role::Assistant, answer));
        }
        Ok(messages)
    }

    /// The row's one video, and the messages with its place in them.
    fn shown(
        &mut self,
        mut messages: Vec<Message>,
        field: &str,
    ) -> Result<(VideoRef, Vec<Message>), FieldError> {
        let columns = self.columns;
        if let Some(value) = self.take(&columns.video) {
            let video = content::video_ref(&value, &columns.video, self.folder)?;
            self.findings.set_video(video, &columns.video)?;
        }
        if let Some(value) = self.take(&columns.videos) {
            let field = &columns.videos;
            let [only] = value.as_array().map_or(&[][..], Vec::as_slice) else {
                return Err(FieldError::expected(field, "a list of one video", &value));
            };
            let field = format!("{field}[0]");
            self.findings.set_video(content::video_ref(only, &field, self.folder)?, &field)?;
        }
        if let Some(value) = self.take(&columns.images) {
            let field = &columns.images;
            if !value.is_array() {
                return Err(FieldError::expected(field, "a list of the paths of frames", &value));
            }
            self.findings.set_video(content::video_ref(&value, field, self.folder)?, field)?;
        }
        if let Some(value) = self.take(&columns.image) {
            let frames = Value::Array(vec![value]);
            let video = content::video_ref(&frames, &columns.image, self.folder)?;
            self.findings.set_video(video, &columns.image)?;
        }
        let video = self.findings.take_video().ok_or_else(|| {
            missing(&columns.video, "a row is about a video; rows of text alone are not supported")
        })?;
        content::place_video(&mut messages, field)?;
        Ok((video, messages))
    }

    fn choices(&mut self) -> Result<Option<Choices>, FieldError> {
        let field = &self.columns.choices;
        let (options, options_field, answer, answer_field) = match self.take(field) {
            None => return Ok(None),
            Some(Value::Object(mut object)) => {
                let options = object.remove("options").unwrap_or_default();
                let answer = object.remove("answer").unwrap_or_default();
                (options, format!("{field}.options"), answer, format!("{field}.answer"))
            }
            Some(list) => {
                let answer = self.take(&self.columns.answer).unwrap_or_default();
                (list, field.clone(), answer, self.columns.answer.clone())
            }
        };
        let options = read_options(&options, &options_field)?;
        let index = match &answer {
            Value::String(text) => named_option(text, &options),
            number => number.as_u64().and_then(|n| usize::try_from(n).ok()),
        };
        if let Some(answer) = index.filter(|index| *index < options.len()) {
            return Ok(Some(Choices { options, answer }));
        }
        let last = options.len() - 1;
        let expected = format!(
            "an index from 0 to {last}, a letter from A to {} or the text of an option (and not \
             both, for two options)",
            letter(last)
        );
        Err(FieldError::expected(answer_field, &expected, &answer))
    }

    fn id(&mut self) -> Result<Option<String>, FieldError> {
        for field in [&self.columns.id, &self.columns.uid] {
            match self.take(field) {
                None => {}
                Some(Value::String(text)) if !text.trim().is_empty() => return Ok(Some(text)),
                Some(Value::Number(n)) if n.is_i64() || n.is_u64() => {
                    return Ok(Some(n.to_string()));
                }
                Some(other) => {
                    return Err(FieldError::expected(field, "a name or a whole number", &other));
                }
            }
        }
        Ok(None)
    }

    fn meta(&mut self) -> Result<Map<String, Value>, FieldError> {
        const OPTIONS: &str = "video_options";
        let mut meta = match self.take(&self.columns.meta) {
            None => Map::new(),
            Some(Value::Object(entries)) => entries,
            Some(other) => {
                return Err(FieldError::expected(&self.columns.meta, "an object", &other));
            }
        };
        let mut rest = std::mem::take(&mut self.object);
        if !self.findings.video_options.is_empty() {
            let options = std::mem::take(&mut self.findings.video_options);
            if rest.insert(OPTIONS.to_owned(), Value::Object(options)).is_some() {
                return Err(FieldError::new(OPTIONS, "is kept for the keys of the video block"));
            }
        }
        for (key, value) in rest {
            if meta.contains_key(&key) {
                let problem = format!("is both a column and an entry of `{}`", self.columns.meta);
                return Err(FieldError::new(key, problem));
            }
            meta.insert(key, value);
        }
        Ok(meta)
    }

    /// Takes a column out of the row; `null` is no value.
    fn take(&mut self, column: &str) -> Option<Value> {
        if column.is_empty() {
            return None;
        }
        self.object.remove(column).filter(|value| !value.is_null())
    }

    fn string(&mut self, column: &str) -> Result<Option<String>, FieldError> {
        match self.take(column) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(FieldError::expected(column, "a string", &other)),
        }
    }
}

fn missing(field: &str, why: &str) -> FieldError {
    FieldError::new(field, format!("missing; {why}"))
}

/// The text of the one assistant turn that an answer is.
fn only_answer(turns: &[Message], field: &str) -> Result<String, FieldError> {
    match turns {
        [Message { role: Role::Assistant, content }]
            if content.iter().all(|block| matches!(block, Block::Text { .. })) =>
        {
            Ok(turns[0].plain_text())
        }
        _ => Err(FieldError::new(field, "expected the text of one answer of the assistant")),
    }
}

/// The option that `text` means by its letter or its words; `None` where these are two options.
fn named_option(text: &str, options: &[String]) -> Option<usize> {
    let by_words = options.iter().position(|option| option == text);
    let by_letter = (0..options.len()).find(|i| letter(*i).to_string().eq_ignore_ascii_case(text));
    match (by_words, by_letter) {
        (Some(words), Some(letter)) if words != letter => None,
        (words, letter) => words.or(letter),
    }
}

/// The options, without their letters where every one of them begins with its own (`A. `, `(B) `).
fn read_options(value: &Value, field: &str) -> Result<Vec<String>, FieldError> {
    let texts: Option<Vec<String>> = value
        .as_array()
        .and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    let Some(mut options) = texts.filter(|options| (2..=26).contains(&options.len())) else {
        return Err(FieldError::expected(field, "a list of 2 to 26 strings", value));
    };
    let bare: Option<Vec<String>> = options
        .iter()
        .enumerate()
        .map(|(i, option)| {
            let l = letter(i);
            [format!("{l}. "), format!("{l}) "), format!("{l}: "), format!("({l}) ")]
                .iter()
                .find_map(|prefix| option.strip_prefix(prefix.as_str()))
                .map(|text| text.trim().to_owned())
        })
        .collect();
    if let Some(bare) = bare {
        options = bare;
    }
    for (i, option) in options.iter().enumerate() {
        if option.trim().is_empty() || options[..i].contains(option) {
            let problem = format!("`{option}` is empty or comes twice, so the answer is not one");
            return Err(FieldError::new(format!("{field}[{i}]"), problem));
        }
    }
    Ok(options)
}
