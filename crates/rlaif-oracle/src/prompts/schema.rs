//! The JSON schema of a reply, in the subset that constrained decoders share: every property is
//! required, nothing else is allowed, and what does not apply is `null` or empty.

use serde_json::{Value, json};

use crate::protocol::{Question, QuestionKind};

/// The schema of a reply to `question`.
pub(super) fn schema(question: &Question) -> Value {
    let abstain = json!({"type": ["string", "null"]});
    let (key, answer) = match question.kind {
        QuestionKind::Listwise | QuestionKind::Pairwise => {
            let labels: Vec<usize> = (1..=question.shown.len()).collect();
            let block = json!({"type": "array", "items": {"type": "integer", "enum": labels}});
            ("ranking", json!({"type": "array", "items": block}))
        }
        QuestionKind::Pointwise { min, max } => {
            ("score", json!({"type": ["integer", "null"], "minimum": min, "maximum": max}))
        }
    };
    json!({
        "type": "object",
        "properties": {key: answer, "abstain": abstain},
        "required": [key, "abstain"],
        "additionalProperties": false,
    })
}
