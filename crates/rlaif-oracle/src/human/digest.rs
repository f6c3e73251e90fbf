//! What makes two groups the same task.

use rlaif_data::{Example, VideoRef};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// SHA-256 of everything that an annotator is asked about: the video as the row names it, the
/// words of the conversation, its options and the candidates in their order. Hexadecimal.
#[must_use]
pub fn task_digest(example: &Example, candidates: &[String]) -> String {
    let video = match &example.video {
        VideoRef::Frames(paths) => paths.iter().map(|path| path.to_string_lossy()).collect(),
        other => vec![other.to_string().into()],
    };
    let prompt: Vec<(&str, String)> = example
        .prompt()
        .iter()
        .map(|message| (message.role.as_str(), message.plain_text()))
        .collect();
    let options = example.choices.as_ref().map(|choices| &choices.options);
    let identity = json!({
        "version": 1,
        "video": video,
        "prompt": prompt,
        "options": options,
        "candidates": candidates,
    });
    format!("{:x}", Sha256::digest(identity.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[test]
    fn a_task_is_known_by_what_is_asked_and_by_nothing_else() {
        let group = request("a", &["p", "q"]);
        let digest = task_digest(&group.example, &group.candidates);
        assert_eq!(digest.len(), 64);
        let mut renamed = group.example.clone();
        renamed.id = "b".to_owned();
        renamed.reference = Some("p".to_owned());
        assert_eq!(task_digest(&renamed, &group.candidates), digest);

        let other = request("a", &["q", "p"]);
        assert_ne!(task_digest(&other.example, &other.candidates), digest);
        let mut moved = group.example.clone();
        moved.video = VideoRef::File("clips/b.mp4".into());
        assert_ne!(task_digest(&moved, &group.candidates), digest);
        let mut asked = group.example.clone();
        asked.messages = vec![rlaif_data::Message::ask("What else?")];
        assert_ne!(task_digest(&asked, &group.candidates), digest);
    }
}
