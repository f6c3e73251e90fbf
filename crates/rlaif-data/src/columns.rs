//! Which column of a data set holds what.

use serde::{Deserialize, Serialize};

/// Names of the columns that are read; what a row has beyond them is kept in `meta`.
///
/// The defaults are the names that TRL, VLM-RLAIF and this project use. In a recipe:
///
/// ```toml
/// [data.columns]
/// video = "video_path"
/// reference = "ground_truth"
/// ```
///
/// Unknown keys are an error, and so are two fields that are given the same column. A field that
/// was left at its default yields to one that was given its column: with `reference = "answer"`
/// the options of multiple choice find no `answer` any more. An empty name switches a field off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Unique name of the row, a string or a whole number. Default `id`.
    pub id: String,
    /// The same where the row has no `id`: VLM-RLAIF's RL data. Default `uid`.
    pub uid: String,
    /// The video: a path, `world:split/index`, or a list of frame paths. Default `video`.
    pub video: String,
    /// A list that holds the one video (ms-swift, LLaMA-Factory). Default `videos`.
    pub videos: String,
    /// A list of frame paths in temporal order (VLM-RLAIF). Default `images`.
    pub images: String,
    /// The path of a single frame (LLaVA). Default `image`.
    pub image: String,
    /// The conversation as chat messages. Default `messages`.
    pub messages: String,
    /// The question, as text or as messages (TRL). Default `prompt`.
    pub prompt: String,
    /// The answer to imitate, as text or as messages (TRL). Default `completion`.
    pub completion: String,
    /// The conversation as turns with `from` and `value` (VLM-RLAIF). Default `conversations`.
    pub conversations: String,
    /// A right answer in words. Default `reference`.
    pub reference: String,
    /// The options of a multiple-choice question: a list, or an object with `options` and
    /// `answer`. Default `choices`.
    pub choices: String,
    /// The right option, where `choices` is a list: index from 0, letter, or the option's text.
    /// Default `answer`.
    pub answer: String,
    /// The question's category in reports. Default `category`.
    pub category: String,
    /// What happens in the video, for judges. Default `narrative`.
    pub narrative: String,
    /// The better answer of a preference (TRL). Default `chosen`.
    pub chosen: String,
    /// The worse answer of a preference (TRL). Default `rejected`.
    pub rejected: String,
    /// The first answer of a preference (VLM-RLAIF). Default `output_1`.
    pub output_1: String,
    /// The second answer of a preference (VLM-RLAIF). Default `output_2`.
    pub output_2: String,
    /// Which of the two is better, 1 or 2 (VLM-RLAIF). Default `preference`.
    pub preference: String,
    /// An object whose entries are kept. Default `meta`.
    pub meta: String,
}

impl Default for Columns {
    fn default() -> Self {
        Columns {
            id: "id".into(),
            uid: "uid".into(),
            video: "video".into(),
            videos: "videos".into(),
            images: "images".into(),
            image: "image".into(),
            messages: "messages".into(),
            prompt: "prompt".into(),
            completion: "completion".into(),
            conversations: "conversations".into(),
            reference: "reference".into(),
            choices: "choices".into(),
            answer: "answer".into(),
            category: "category".into(),
            narrative: "narrative".into(),
            chosen: "chosen".into(),
            rejected: "rejected".into(),
            output_1: "output_1".into(),
            output_2: "output_2".into(),
            preference: "preference".into(),
            meta: "meta".into(),
        }
    }
}

/// Two fields of [`Columns`] that were given one column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the columns for `{first}` and `{second}` are both `{column}`; a column has one meaning")]
pub struct ColumnClash {
    /// One field.
    pub first: &'static str,
    /// The other.
    pub second: &'static str,
    /// The column that both name.
    pub column: String,
}

/// The fields with their names, borrowed as told.
macro_rules! named {
    ($columns:ident, $($borrow:tt)+) => {
        [
            ("id", $($borrow)+ $columns.id),
            ("uid", $($borrow)+ $columns.uid),
            ("video", $($borrow)+ $columns.video),
            ("videos", $($borrow)+ $columns.videos),
            ("images", $($borrow)+ $columns.images),
            ("image", $($borrow)+ $columns.image),
            ("messages", $($borrow)+ $columns.messages),
            ("prompt", $($borrow)+ $columns.prompt),
            ("completion", $($borrow)+ $columns.completion),
            ("conversations", $($borrow)+ $columns.conversations),
            ("reference", $($borrow)+ $columns.reference),
            ("choices", $($borrow)+ $columns.choices),
            ("answer", $($borrow)+ $columns.answer),
            ("category", $($borrow)+ $columns.category),
            ("narrative", $($borrow)+ $columns.narrative),
            ("chosen", $($borrow)+ $columns.chosen),
            ("rejected", $($borrow)+ $columns.rejected),
            ("output_1", $($borrow)+ $columns.output_1),
            ("output_2", $($borrow)+ $columns.output_2),
            ("preference", $($borrow)+ $columns.preference),
            ("meta", $($borrow)+ $columns.meta),
        ]
    };
}

impl Columns {
    /// The columns as they are looked up: fields at their default that yield to a given one are
    /// switched off.
    ///
    /// # Errors
    ///
    /// Names the first two fields that were given one column.
    pub fn resolved(&self) -> Result<Columns, ColumnClash> {
        let fields: [(&'static str, &String); 21] = named!(self, &);
        let given =
            || fields.iter().filter(|(field, column)| field != column && !column.is_empty());
        for (i, (second, column)) in given().enumerate() {
            if let Some((first, _)) = given().take(i).find(|(_, other)| other == column) {
                return Err(ColumnClash { first, second, column: (*column).clone() });
            }
        }
        let mut resolved = self.clone();
        for (field, column) in named!(resolved, &mut) {
            if given().any(|(other, taken)| *other != field && *taken == column) {
                column.clear();
            }
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_listed_and_has_its_own_name_by_default() {
        let columns = Columns::default();
        assert_eq!(columns.resolved(), Ok(columns.clone()));
        let listed: serde_json::Map<String, serde_json::Value> = named!(columns, &)
            .into_iter()
            .map(|(field, column)| (field.to_owned(), column.as_str().into()))
            .collect();
        assert!(listed.iter().all(|(field, column)| field == column));
        assert_eq!(serde_json::to_value(&columns).unwrap(), serde_json::Value::Object(listed));
    }

    #[test]
    fn partial_maps_read_and_typos_do_not() {
        let columns: Columns = serde_json::from_str(r#"{"reference": "ground_truth"}"#).unwrap();
        assert_eq!(columns.reference, "ground_truth");
        assert_eq!(columns.video, "video");
        let error = serde_json::from_str::<Columns>(r#"{"vidoe": "v"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `vidoe`") && error.contains("`video`"), "{error}");
    }

    #[test]
    fn one_column_has_one_meaning() {
        let given = |reference: &str, narrative: &str| Columns {
            reference: reference.into(),
            narrative: narrative.into(),
            ..Columns::default()
        };
        assert_eq!(
            given("text", "text").resolved().unwrap_err().to_string(),
            "the columns for `reference` and `narrative` are both `text`; a column has one meaning"
        );
        // A default yields, to a swap as well, and switching off is no clash.
        assert_eq!(given("answer", "narrative").resolved().unwrap().answer, "");
        let swapped = given("narrative", "reference");
        assert_eq!(swapped.resolved(), Ok(swapped));
        assert!(given("", "").resolved().is_ok());
    }
}
