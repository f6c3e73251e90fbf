//! One row of a preference data set: two answers to one question, and which is better.

use serde::{Deserialize, Serialize};

use crate::{Message, VideoRef};

/// Two answers to a question about a video, the better one named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    /// Unique within its data set; made from the line number where a row has none.
    #[serde(default)]
    pub id: String,
    /// The video that the conversation is about.
    pub video: VideoRef,
    /// The conversation up to the question; ends with a user turn.
    pub messages: Vec<Message>,
    /// The better answer.
    pub chosen: String,
    /// The worse answer.
    pub rejected: String,
    /// The question's category in reports, for instance `counting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What happens in the video, in words: context for a judge or a reward model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrative: Option<String>,
    /// Anything else the row carries, kept as it stands.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub meta: serde_json::Map<String, serde_json::Value>,
}
