//! Prints how often each category is asked and how far guessing without the video gets in it.
//!
//! `cargo run --release -p rlaif-world --example distribution [clips] [split]`
//!
//! What a guesser can learn is learned from as many other clips of the split. The columns:
//! `asked`, the share of clips with such a question; `answers`, how many different ones there are;
//! `one answer`, the share right by always giving the most frequent one; `question`, by giving the
//! most frequent one to the same question; `letter`, by always choosing the same letter; `options`,
//! by choosing the option that is most often right when it is offered with the same question.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{collections::BTreeMap, error::Error};

use rlaif_data::Example;
use rlaif_world::{Category, Split, WorldConfig, examples};

type Counter = BTreeMap<String, usize>;

/// What a guesser remembers of one category.
#[derive(Default)]
struct Memory {
    answers: Counter,
    letters: Counter,
    by_question: BTreeMap<String, Counter>,
    /// How often an option was right and how often it was offered, by question and option.
    options: BTreeMap<(String, String), (usize, usize)>,
}

/// What was right of how many.
#[derive(Default)]
struct Score {
    asked: usize,
    one_answer: usize,
    question: usize,
    letter: usize,
    options: usize,
}

fn most(counts: &Counter) -> Option<&String> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(word, _)| word)
}

/// The question without its options.
fn stem(row: &Example) -> String {
    let question = row.question();
    question.split(" ?").next().unwrap_or_default().to_owned()
}

impl Memory {
    fn learn(&mut self, row: &Example) {
        let answer = row.target().unwrap_or_default();
        let Some(choices) = &row.choices else {
            *self.answers.entry(answer.clone()).or_default() += 1;
            *self.by_question.entry(stem(row)).or_default().entry(answer).or_default() += 1;
            return;
        };
        *self.letters.entry(answer).or_default() += 1;
        for (i, option) in choices.options.iter().enumerate() {
            let (right, offered) = self.options.entry((stem(row), option.clone())).or_default();
            *right += usize::from(i == choices.answer);
            *offered += 1;
        }
    }

    fn guess(&self, row: &Example, score: &mut Score) {
        let answer = row.target();
        let Some(choices) = &row.choices else {
            score.asked += 1;
            score.one_answer += usize::from(most(&self.answers) == answer.as_ref());
            let guess = self.by_question.get(&stem(row)).and_then(most);
            score.question += usize::from(guess.or(most(&self.answers)) == answer.as_ref());
            return;
        };
        score.letter += usize::from(most(&self.letters) == answer.as_ref());
        let rate = |option: &String| {
            let counts = self.options.get(&(stem(row), option.clone()));
            // One right of four offered before anything is seen.
            let (right, offered) = counts.copied().unwrap_or_default();
            (right as f64 + 1.0) / (offered as f64 + 4.0)
        };
        let options = choices.options.iter().enumerate();
        let guess = options.max_by(|a, b| rate(a.1).total_cmp(&rate(b.1))).map(|(i, _)| i);
        score.options += usize::from(guess == Some(choices.answer));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let clips: u64 = arguments.next().map_or(Ok(5000), |text| text.parse())?;
    let split: Split = arguments.next().map_or(Ok(Split::Train), |text| text.parse())?;
    let config = WorldConfig::default();
    let name = |row: &Example| row.category.clone().unwrap_or_default();
    let mut memories: BTreeMap<String, Memory> = BTreeMap::new();
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for row in (clips..2 * clips).flat_map(|index| examples(&config, split, index)) {
        memories.entry(name(&row)).or_default().learn(&row);
    }
    for row in (0..clips).flat_map(|index| examples(&config, split, index)) {
        let memory = memories.entry(name(&row)).or_default();
        memory.guess(&row, scores.entry(name(&row)).or_default());
    }
    println!("{clips} clips of {split}; shares in percent");
    println!("category                 asked  answers  one answer  question  letter  options");
    for category in Category::ALL {
        let Some(score) = scores.get(category.as_str()) else { continue };
        let answers = memories.get(category.as_str()).map_or(0, |memory| memory.answers.len());
        let of = |n: usize, all: usize| 100.0 * n as f64 / all as f64;
        println!(
            "{category:<23} {:>6.1} {answers:>8} {:>11.1} {:>9.1} {:>7.1} {:>8.1}",
            100.0 * score.asked as f64 / clips as f64,
            of(score.one_answer, score.asked),
            of(score.question, score.asked),
            of(score.letter, score.asked),
            of(score.options, score.asked),
        );
    }
    Ok(())
}
