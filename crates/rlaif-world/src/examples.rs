//! From a clip's questions to rows of a data set.

use rand::Rng;
use rlaif_data::{Choices, Example, Message, Role, VideoRef, example::letter};
use serde_json::json;

use crate::{Question, Split, WorldConfig, address, narrative, questions, scene};

/// All rows of a clip: each question open-ended (`.../open`) and as multiple choice (`.../mc`).
///
/// The last turn is the answer to imitate, in words for both forms: options are shown with letters
/// and answered by their text, which a small model learns long before it learns to say the letter
/// that stands beside a text (Gu et al. 2024, OLMES, arXiv:2406.08446). `meta` holds the clip's address (`world`) and the question's category (`question`), by
/// which [`truth_score`](crate::truth_score) finds the scene again.
///
/// ```
/// use rlaif_world::{Split, WorldConfig, examples};
///
/// let rows = examples(&WorldConfig::default(), Split::Test, 3);
/// let choice = rows.iter().find(|row| row.choices.is_some());
/// assert!(choice.is_some_and(|row| row.target() == row.reference));
/// ```
#[must_use]
pub fn examples(config: &WorldConfig, split: Split, index: u64) -> Vec<Example> {
    let scene = scene(config, split, index);
    let story = narrative(&scene);
    let address = address(&scene.config, split, index);
    let mut rows = Vec::new();
    for question in questions(&scene) {
        let name = question.category.as_str();
        let purpose = format!("options {name}");
        let place = scene.config.stream(split, index, &purpose).random_range(0..4);
        let meta = json!({ "world": address, "question": name });
        let row = |form: &str, text: String, answer: String| Example {
            id: format!("{address}#{name}/{form}"),
            video: VideoRef::World(address.clone()),
            messages: vec![Message::ask(text), Message::text(Role::Assistant, answer)],
            reference: Some(question.answer.clone()),
            choices: None,
            category: Some(name.to_owned()),
            narrative: Some(story.clone()),
            meta: meta.as_object().cloned().unwrap_or_default(),
        };
        rows.push(row("open", question.text.clone(), question.answer.clone()));
        let choices = choices(&question, place);
        let text = with_options(&question.text, &choices.options);
        rows.push(Example { choices: Some(choices), ..row("mc", text, question.answer.clone()) });
    }
    rows
}

/// The options with the right one at `place`.
fn choices(question: &Question, place: usize) -> Choices {
    let mut options = question.distractors.to_vec();
    options.insert(place, question.answer.clone());
    Choices { options, answer: place }
}

/// `what color is the circle ? A red B blue C green D white`.
fn with_options(text: &str, options: &[String]) -> String {
    let lettered = options.iter().enumerate().map(|(i, option)| format!("{} {option}", letter(i)));
    let all: Vec<String> = std::iter::once(text.to_owned()).chain(lettered).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use rlaif_data::Block;

    use super::*;
    use crate::{Category, Color, Motion, Shape, holdout::split_of};

    #[test]
    fn a_question_has_two_rows() {
        let config = WorldConfig { seed: 7, ..WorldConfig::default() };
        let rows = examples(&config, Split::Test, 3);
        for pair in rows.chunks(2) {
            let [open, mc] = pair else { panic!("an odd number of rows") };
            let name = open.category.clone().unwrap();
            assert_eq!(open.id, format!("test/3@7#{name}/open"));
            assert_eq!(mc.id, format!("test/3@7#{name}/mc"));
            assert_eq!((&open.meta, open.reference.clone()), (&mc.meta, open.target()));
            assert_eq!(open.meta["world"], "test/3@7");
            assert_eq!(open.meta["question"], name.as_str());
            assert_eq!(open.video, VideoRef::World("test/3@7".to_owned()));
            assert!(matches!(mc.prompt()[0].content[0], Block::Video { .. }));
            let choices = mc.choices.as_ref().unwrap();
            assert_eq!(choices.options[choices.answer], mc.reference.clone().unwrap());
            let text = format!("{} A {} B ", open.question(), choices.options[0]);
            assert!(mc.question().starts_with(&text), "{}", mc.question());
            assert_eq!(mc.target(), mc.reference);
        }
    }

    proptest! {
        #[test]
        fn rows_are_well_formed(
            seed in 0..3_u64, index: u64, split in proptest::sample::select(&Split::ALL[..]),
        ) {
            let config = WorldConfig { seed, ..WorldConfig::default() };
            let rows = examples(&config, split, index);
            prop_assert_eq!(&rows, &examples(&config, split, index));
            prop_assert!(rows.len() >= 10);
            let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            prop_assert_eq!(ids.len(), rows.len());
            for row in &rows {
                let words = row.reference.as_ref().unwrap().split_whitespace().count();
                prop_assert!((1..=6).contains(&words));
                let Some(choices) = &row.choices else { continue };
                let distinct: BTreeSet<&String> = choices.options.iter().collect();
                prop_assert_eq!(distinct.len(), 4);
            }
        }
    }

    /// Not even a wrong option of a training clip names a held-out combination.
    #[test]
    fn no_text_of_training_names_a_held_out_combination() {
        let mut held_out = Vec::new();
        for &shape in Shape::ALL {
            for &color in Color::ALL {
                for motion in Motion::ALL {
                    if split_of(shape, color, motion) != Split::Train {
                        let (color, shape) = (color.word(), shape.word());
                        held_out.push(format!("{color} {shape} {}", motion.words()));
                    }
                }
            }
        }
        assert_eq!(held_out.len(), 80);
        for index in 0..1000 {
            for row in examples(&WorldConfig::default(), Split::Train, index) {
                let options = row.choices.map(|choices| choices.options).unwrap_or_default();
                for text in options.iter().chain(&row.reference) {
                    assert!(!held_out.contains(text), "{text}");
                }
            }
        }
    }

    /// Neither one answer nor one letter gets far in any category.
    #[test]
    fn guessing_does_not_pay() {
        let mut answers: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        let clips = 3000;
        for index in 0..clips {
            for row in examples(&WorldConfig::default(), Split::Train, index) {
                let form = if row.choices.is_some() { "mc" } else { "open" };
                let category = format!("{}/{form}", row.category.clone().unwrap());
                let answer = match &row.choices {
                    Some(choices) => letter(choices.answer).to_string(),
                    None => row.target().unwrap(),
                };
                *answers.entry(category).or_default().entry(answer).or_default() += 1;
            }
        }
        assert_eq!(answers.len(), 2 * Category::ALL.len());
        for (category, counts) in answers {
            let asked: usize = counts.values().sum();
            let most = counts.values().max().copied().unwrap_or_default();
            let share = most as f64 / asked as f64;
            assert!(asked as u64 > clips * 2 / 5, "{category} is asked in {asked} clips");
            let limit = if category.ends_with("/mc") { 0.29 } else { 0.42 };
            assert!(share < limit, "{category}: {share} by guessing one of {counts:?}");
        }
    }
}
