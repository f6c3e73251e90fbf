//! Answers in JSON, wherever in a reply they stand.

use std::{fmt, ops::Range};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    ReplyError, Wanted,
    labels::{self, Blocks, Label},
    lines, scores, text,
};
use crate::{error::excerpt, protocol::Said};

/// Braces that an object is looked for at. An attempt that fails costs little: JSON nests no deeper
/// than 128, and a string that is read from its inside is no JSON for long.
const MOST_ATTEMPTS: usize = 1000;

/// An object found in a reply.
pub(super) struct Object {
    span: Range<usize>,
    fields: Vec<(String, Value)>,
}

/// The objects in `reply` from the first to the last; none lies inside another.
pub(super) fn objects(reply: &str) -> Result<Vec<Object>, ReplyError> {
    let mut objects = Vec::new();
    let mut from = 0;
    let mut attempts = 0;
    while let Some(at) = reply[from..].find('{').map(|at| from + at) {
        attempts += 1;
        if attempts > MOST_ATTEMPTS {
            return Err(ReplyError::Braces);
        }
        let mut stream = serde_json::Deserializer::from_str(&reply[at..]).into_iter::<Fields>();
        match stream.next() {
            Some(Ok(Fields(fields))) => {
                let span = at..at + stream.byte_offset();
                from = span.end;
                objects.push(Object { span, fields });
            }
            _ => from = at + 1,
        }
    }
    Ok(objects)
}

/// What of `reply` comes after `answer`, or all of it without one; objects become white space.
pub(super) fn rest(reply: &str, objects: &[Object], answer: Option<&Object>) -> String {
    let start = answer.map_or(0, |object| object.span.end);
    let (mut rest, mut from) = (String::new(), start);
    for Object { span, .. } in objects.iter().filter(|object| object.span.start >= start) {
        rest.push_str(&reply[from..span.start]);
        rest.push(' ');
        from = span.end;
    }
    rest.push_str(&reply[from..]);
    rest
}

/// An order given as a JSON list that is the whole reply, a code fence aside.
pub(super) fn list(reply: &str, wanted: Wanted) -> Option<Result<Said, ReplyError>> {
    let Wanted::Order { .. } = wanted else { return None };
    let fence = |line: &&str| !line.trim_start().starts_with("```");
    let bare = reply.lines().filter(fence).collect::<Vec<_>>().join("\n");
    let Ok(list @ Value::Array(_)) = serde_json::from_str(&bare) else { return None };
    Some(blocks("ranking", &list, wanted).and_then(|blocks| labels::order(&blocks, &[], wanted)))
}

impl Object {
    /// Whether it is meant as an answer.
    pub(super) fn answers(&self, wanted: Wanted) -> bool {
        self.fields.iter().any(|(key, _)| match wanted {
            Wanted::Order { .. } => matches!(key.as_str(), "ranking" | "order" | "abstain"),
            Wanted::Score { .. } => matches!(key.as_str(), "score" | "abstain"),
        })
    }

    /// What it says.
    pub(super) fn said(&self, wanted: Wanted) -> Result<Said, ReplyError> {
        let abstained = self.abstained()?;
        let said = match wanted {
            Wanted::Order { .. } => self.ordered(wanted)?,
            Wanted::Score { min, max } => {
                self.field("score")?.map(|score| scores::json(score, min, max))
            }
        };
        match (said, abstained) {
            (Some(said), None) => said,
            (None, Some(reason)) => Ok(Said::Abstained(reason)),
            (Some(_), Some(_)) => Err(wrong("abstain", "the reply abstains and answers as well")),
            (None, None) => Err(ReplyError::NoAnswer { expected: wanted.form() }),
        }
    }

    /// The value of `key`; none where it is absent or `null`.
    fn field(&self, key: &'static str) -> Result<Option<&Value>, ReplyError> {
        let mut values = self.fields.iter().filter(|(k, _)| k == key).map(|(_, value)| value);
        let value = values.next().filter(|value| !value.is_null());
        match values.next() {
            Some(_) => Err(wrong(key, "it is there more than once")),
            None => Ok(value),
        }
    }

    fn abstained(&self) -> Result<Option<String>, ReplyError> {
        match self.field("abstain")? {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::Bool(true)) => Ok(Some("it gave no reason".to_owned())),
            Some(Value::String(reason)) if reason.trim().is_empty() => Ok(None),
            Some(Value::String(reason)) => Ok(Some(excerpt(reason))),
            Some(_) => Err(wrong("abstain", "say why in a text, or `null`")),
        }
    }

    /// The order; none where there is no list or an empty one.
    fn ordered(&self, wanted: Wanted) -> Result<Option<Result<Said, ReplyError>>, ReplyError> {
        let (key, given) = match (self.field("ranking")?, self.field("order")?) {
            (Some(_), Some(_)) => return Err(wrong("order", "`ranking` is there as well")),
            (Some(ranking), None) => ("ranking", ranking),
            (None, Some(order)) => ("order", order),
            (None, None) => return Ok(None),
        };
        let unplaced = match self.field("unplaced")? {
            None => Vec::new(),
            Some(list) => blocks("unplaced", list, wanted)?.concat(),
        };
        let blocks = blocks(key, given, wanted)?;
        if blocks.iter().all(Vec::is_empty) && unplaced.is_empty() {
            return Ok(None);
        }
        Ok(Some(labels::order(&blocks, &unplaced, wanted)))
    }
}

fn wrong(field: &'static str, why: &str) -> ReplyError {
    ReplyError::Field { field, why: why.to_owned() }
}

/// A list of labels and lists of labels, or the same as text.
fn blocks(field: &'static str, given: &Value, wanted: Wanted) -> Result<Blocks, ReplyError> {
    let misread = || wrong(field, "give a list of lists of numbers such as `[[2], [1, 3]]`");
    match given {
        Value::Array(list) => list
            .iter()
            .map(|block| match block {
                Value::Array(block) => {
                    block.iter().map(|one| label(one, wanted)).collect::<Option<_>>()
                }
                one => label(one, wanted).map(|label| vec![label]),
            })
            .collect::<Option<_>>()
            .ok_or_else(misread),
        Value::String(order) => {
            lines::order(text::normalized(order).trim(), wanted).ok_or_else(misread)
        }
        _ => Err(misread()),
    }
}

fn label(given: &Value, wanted: Wanted) -> Option<Label> {
    match given {
        Value::Number(number) => number.as_u64().map(Label::Number),
        Value::String(text) => lines::label(text::normalized(text).trim(), wanted),
        _ => None,
    }
}

/// An object with its keys as they come, doubles among them.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> de::Visitor<'de> for Keys {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}
