//! The ground truth: how right an answer is, and the order of answers.
//!
//! An open-ended answer is read word by word into facts and compared with the facts of the
//! reference answer:
//!
//! ```text
//! raw = right / needed - 0.3 wrong - 0.2 invented - 0.05 (repeated + unknown words)
//!
//! score = 0                        of an answer without words
//!         0.05 exp(raw)            where raw < 0
//!         0.05 + 0.95 raw          where raw >= 0
//! ```
//!
//! `wrong` counts facts that the answer states and that are not so, `invented` those of them that
//! name a color or shape which nothing in the clip has. What is true of the asked object but was
//! not asked for costs nothing. The score is a measure within ClipWorld and never leaves through
//! an Oracle, which gives the order alone.

use std::num::NonZeroUsize;

use rlaif_data::Example;
use rlaif_rank::Ranking;

use crate::{
    Category, Question, Scene, WorldError,
    fact::{Fact, Meaning, facts_of, meaning, words_of},
    parse_address, questions, scene,
};

/// Score of an answer that says nothing right and nothing wrong.
const FLOOR: f64 = 0.05;
const WRONG: f64 = 0.3;
const INVENTED: f64 = 0.2;
const NOISE: f64 = 0.05;
/// Best score of a wrong option of a multiple-choice question: that of sharing nearly all facts.
const NEAR_MISS: f64 = 0.4;

/// How right `answer` is, in [0, 1]; 1 only where it is fully right.
///
/// A multiple-choice row takes a letter (`B`, `b.`, `(B)`, also with the option's text behind it)
/// or the option's text. The right option is 1, a wrong one up to 0.4 as far as it shares facts
/// with the right one, anything else 0. For open-ended rows see the module's equation.
///
/// The scene is found through the row's `meta`, so that rows of exported clips are graded, too.
///
/// ```
/// use rlaif_world::{Split, WorldConfig, examples, truth_score};
///
/// let rows = examples(&WorldConfig::default(), Split::Test, 3);
/// let right = rows[0].target().unwrap_or_default();
/// assert_eq!(truth_score(&rows[0], &right)?, 1.0);
/// assert_eq!(truth_score(&rows[0], "")?, 0.0);
/// # Ok::<(), rlaif_world::WorldError>(())
/// ```
///
/// # Errors
///
/// [`WorldError::NotOfTheWorld`] where `meta` names no question of ClipWorld.
pub fn truth_score(example: &Example, answer: &str) -> Result<f64, WorldError> {
    Ok(Grader::new(example)?.score(answer))
}

/// The true order of candidate answers: best first, equally right ones tied.
///
/// # Errors
///
/// As [`truth_score`]; [`WorldError::NoCandidates`] without candidates.
pub fn rank_answers(example: &Example, candidates: &[String]) -> Result<Ranking, WorldError> {
    order_by(example, candidates, |score| score)
}

/// The same as a coarse judge sees it, who grades in `steps` steps of equal width over the scores
/// 0 to 1 and takes answers of one step for equally good. A score on the border of two steps
/// belongs to the upper one, and 1 to the highest.
///
/// Of two steps the lower one holds everything below 0.5: an empty answer ties with a wrong one.
///
/// # Errors
///
/// As [`rank_answers`].
pub fn rank_answers_in_steps(
    example: &Example,
    candidates: &[String],
    steps: NonZeroUsize,
) -> Result<Ranking, WorldError> {
    order_by(example, candidates, |score| step_of(score, steps))
}

/// The number of the step, from 0, as a score.
fn step_of(score: f64, steps: NonZeroUsize) -> f64 {
    let steps = steps.get() as f64;
    // To a billionth, as scores are: 0.29 * 100 is below 29 in floating point.
    let reached = ((score * steps * 1e9).round() / 1e9).floor();
    reached.min(steps - 1.0)
}

fn order_by(
    example: &Example,
    candidates: &[String],
    grade: impl Fn(f64) -> f64,
) -> Result<Ranking, WorldError> {
    let grader = Grader::new(example)?;
    let grades: Vec<f64> = candidates.iter().map(|answer| grade(grader.score(answer))).collect();
    Ranking::from_scores(&grades)
        .map_err(|_| WorldError::NoCandidates { example: example.id.clone() })
}

struct Grader<'a> {
    example: &'a Example,
    scene: Scene,
    question: Question,
}

impl<'a> Grader<'a> {
    fn new(example: &'a Example) -> Result<Self, WorldError> {
        let foreign = |why: String| WorldError::NotOfTheWorld { example: example.id.clone(), why };
        let text = |key: &str| {
            let value = example.meta.get(key).and_then(serde_json::Value::as_str);
            value.ok_or_else(|| foreign(format!("its `meta` has no text `{key}`")))
        };
        let (address, name) = (text("world")?, text("question")?);
        let (config, split, index) =
            parse_address(address).map_err(|error| foreign(format!("`meta.world`: {error}")))?;
        let scene = scene(&config, split, index);
        let category = Category::ALL.into_iter().find(|category| category.as_str() == name);
        let asked = |question: &Question| Some(question.category) == category;
        let question = questions(&scene).into_iter().find(asked).ok_or_else(|| {
            foreign(format!("clip `{address}` has no question `{name}` (`meta.question`)"))
        })?;
        Ok(Grader { example, scene, question })
    }

    fn score(&self, answer: &str) -> f64 {
        match &self.example.choices {
            Some(choices) => match chosen(answer, &choices.options) {
                Some(option) if option == choices.answer => 1.0,
                Some(option) => NEAR_MISS * self.shared(&choices.options[option]),
                None => 0.0,
            },
            None => open_ended(&self.scene, &self.question, answer),
        }
    }

    /// The share of the asked facts that a wrong option has.
    fn shared(&self, option: &str) -> f64 {
        let (needed, stated) = (facts_of(&self.question.answer), facts_of(option));
        needed.iter().filter(|fact| stated.contains(fact)).count() as f64 / needed.len() as f64
    }
}

/// The option that a multiple-choice answer takes.
fn chosen(answer: &str, options: &[String]) -> Option<usize> {
    let said = words_of(answer);
    let texts: Vec<Vec<String>> = options.iter().map(|option| words_of(option)).collect();
    if let Some(option) = texts.iter().position(|text| *text == said) {
        return Some(option);
    }
    let (first, rest) = said.split_first()?;
    let letter = match first.as_bytes() {
        [letter @ b'a'..=b'z'] => usize::from(letter - b'a'),
        _ => return None,
    };
    let text = texts.get(letter)?;
    // A letter with the text of another option chooses nothing.
    (rest.is_empty() || rest == text).then_some(letter)
}

fn open_ended(scene: &Scene, question: &Question, answer: &str) -> f64 {
    let words = words_of(answer);
    if words.is_empty() {
        return 0.0;
    }
    let raw = if question.describes {
        description(scene, &words)
    } else {
        let needed = facts_of(&question.answer);
        statement(scene, &[(&needed, &question.harmless)], &words)
    };
    // To a billionth: two sums of the same penalties in another order tie.
    let raw = (raw * 1e9).round() / 1e9;
    // Below -20 an answer is as bad as can be; the limit keeps it above an empty one.
    if raw < 0.0 { FLOOR * raw.max(-20.0).exp() } else { FLOOR + (1.0 - FLOOR) * raw }
}

/// Grades a description clause by clause: the best clause counts, and the false ones lower it.
fn description(scene: &Scene, words: &[String]) -> f64 {
    let said = |object: &crate::Object| {
        let needed = facts_of(&object.description());
        let rest: Vec<Fact> = object.facts().into_iter().filter(|f| !needed.contains(f)).collect();
        (needed, rest)
    };
    let objects: Vec<(Vec<Fact>, Vec<Fact>)> = scene.objects.iter().map(said).collect();
    let keys: Vec<(&[Fact], &[Fact])> = objects.iter().map(|(n, h)| (&n[..], &h[..])).collect();
    let clauses: Vec<&[String]> = words
        .split(|word| meaning(word) == Meaning::Joint)
        .filter(|clause| !clause.is_empty())
        .collect();
    let mut best = f64::NEG_INFINITY;
    let mut lost = 0.0;
    let mut seen: Vec<&[String]> = Vec::new();
    for clause in &clauses {
        if seen.contains(clause) {
            lost += NOISE * clause.len() as f64;
            continue;
        }
        seen.push(clause);
        let raw = statement(scene, &keys, clause);
        best = best.max(raw);
        lost += WRONG * (1.0 - raw);
    }
    if seen.is_empty() {
        // Joints alone say nothing.
        return -NOISE * words.len() as f64;
    }
    // The best clause is no loss beside itself.
    best - (lost - WRONG * (1.0 - best))
}

/// `raw` of one statement, by whichever of the keys (needed and harmless facts) fits best.
fn statement<N: AsRef<[Fact]>, H: AsRef<[Fact]>>(
    scene: &Scene,
    keys: &[(N, H)],
    words: &[String],
) -> f64 {
    let by_key =
        |(needed, harmless): &(N, H)| raw(scene, needed.as_ref(), harmless.as_ref(), words);
    keys.iter().map(by_key).fold(f64::NEG_INFINITY, f64::max)
}

fn raw(scene: &Scene, needed: &[Fact], harmless: &[Fact], words: &[String]) -> f64 {
    let (mut stated, mut denied): (Vec<Fact>, usize) = (Vec::new(), 0);
    let mut noise = 0;
    let mut negated = false;
    for (place, word) in words.iter().enumerate() {
        let meaning = meaning(word);
        // A word of grammar may stand twice.
        let free = usize::from(!matches!(meaning, Meaning::Fact(_)));
        let earlier = words[..place].iter().filter(|earlier| *earlier == word).count();
        noise += u32::from(earlier > free || meaning == Meaning::Unknown);
        match meaning {
            Meaning::Fact(fact) if negated => {
                negated = false;
                denied += usize::from(needed.contains(&fact));
            }
            Meaning::Fact(fact) if !stated.contains(&fact) => stated.push(fact),
            Meaning::Not => negated = true,
            _ => {}
        }
    }
    let right = stated.iter().filter(|fact| needed.contains(fact)).count();
    let is_wrong = |fact: &&Fact| !needed.contains(fact) && !harmless.contains(fact);
    let wrong: Vec<&Fact> = stated.iter().filter(is_wrong).collect();
    let invented = wrong.iter().filter(|fact| is_invented(scene, ***fact)).count();
    right as f64 / needed.len() as f64
        - WRONG * (wrong.len() + denied) as f64
        - INVENTED * invented as f64
        - NOISE * f64::from(noise)
}

/// Whether the fact names a color or shape that nothing in the clip has.
fn is_invented(scene: &Scene, fact: Fact) -> bool {
    match fact {
        Fact::Color(color) => !scene.objects.iter().any(|object| object.has_color(color)),
        Fact::Shape(shape) => !scene.objects.iter().any(|object| object.shape == shape),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
