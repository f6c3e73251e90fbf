//! Questions about a scene: one of each category, where the scene allows it.

mod action;
mod object;
mod space;
mod synopsis;
mod time;

use rand_chacha::ChaCha8Rng;

use crate::{
    Category, Scene,
    fact::{Fact, facts_of},
    generate::{shuffle, weighted},
    scene::Object,
};

/// A question about a scene, with its answer and what grading needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What it tests.
    pub category: Category,
    /// The question: `what color is the circle ?`.
    pub text: String,
    /// The right answer in words.
    pub answer: String,
    /// Three wrong answers, the likeliest mistakes first.
    pub distractors: [String; 3],
    /// True of what the question is about but not asked for: harmless in an answer.
    pub(crate) harmless: Vec<Fact>,
    /// Any true description of an object answers it.
    pub(crate) describes: bool,
}

/// The questions of a scene, in the order of [`Category::ALL`]; the same for the same scene.
#[must_use]
pub fn questions(scene: &Scene) -> Vec<Question> {
    let of = |category| {
        let purpose = format!("question {category}");
        let rng = scene.config.stream(scene.split, scene.index, &purpose);
        let mut asker = Asker { scene, rng, category, found: Vec::new() };
        match category {
            Category::TemporalPerception => time::perception(&mut asker),
            Category::TemporalReasoning => time::reasoning(&mut asker),
            Category::SpatialPerception => space::perception(&mut asker),
            Category::SpatialReasoning => space::reasoning(&mut asker),
            Category::AttributePerception => object::attribute(&mut asker),
            Category::ObjectRecognition => object::recognition(&mut asker),
            Category::ObjectReasoning => object::reasoning(&mut asker),
            Category::Counting => object::counting(&mut asker),
            Category::ActionRecognition => action::recognition(&mut asker),
            Category::ActionReasoning => action::reasoning(&mut asker),
            Category::InformationSynopsis => synopsis::question(&mut asker),
        }
        asker.choose()
    };
    Category::ALL.into_iter().filter_map(of).collect()
}

/// Collects the questions that a scene allows in one category.
struct Asker<'a> {
    scene: &'a Scene,
    rng: ChaCha8Rng,
    category: Category,
    found: Vec<(u32, Question)>,
}

/// A question before its options are chosen.
struct Draft<'a> {
    /// How often it is chosen, in proportion to the others that the scene allows.
    weight: u32,
    text: String,
    answer: String,
    /// Wrong answers that this clip suggests: tried first.
    near: Vec<String>,
    /// Other wrong answers of the same kind.
    far: Vec<String>,
    /// The objects whose other properties an answer may name.
    about: &'a [&'a Object],
}

impl Asker<'_> {
    fn add(&mut self, draft: Draft<'_>) {
        let Draft { weight, text, answer, near, far, about } = draft;
        let Some(distractors) = self.distractors(&answer, near, far) else { return };
        let asked = facts_of(&answer);
        let harmless = about
            .iter()
            .flat_map(|object| object.facts())
            .filter(|fact| !asked.iter().any(|asked| asked.is_of_kind(*fact)))
            .collect();
        let category = self.category;
        let question = Question { category, text, answer, distractors, harmless, describes: false };
        self.found.push((weight, question));
    }

    /// Three different wrong answers; `None` where there are not as many.
    fn distractors(
        &mut self,
        answer: &str,
        mut near: Vec<String>,
        mut far: Vec<String>,
    ) -> Option<[String; 3]> {
        shuffle(&mut self.rng, &mut near);
        shuffle(&mut self.rng, &mut far);
        let mut chosen: Vec<String> = Vec::new();
        for option in near.into_iter().chain(far) {
            if chosen.len() < 3 && option != answer && !chosen.contains(&option) {
                chosen.push(option);
            }
        }
        chosen.try_into().ok()
    }

    fn choose(mut self) -> Option<Question> {
        if self.found.is_empty() { None } else { Some(weighted(&mut self.rng, &self.found)) }
    }

    /// `the circle`, or half of the time `the red circle` where its color stays.
    fn the(&mut self, object: &Object) -> String {
        let with_color = *crate::generate::pick(&mut self.rng, &[false, true]);
        if with_color && object.color == object.color_after {
            format!("the {}", object.name())
        } else {
            format!("the {}", object.shape.word())
        }
    }
}

/// The shapes of all objects but `object`.
fn other_shapes(scene: &Scene, object: &Object) -> Vec<String> {
    let others = scene.objects.iter().filter(|other| other.shape != object.shape);
    others.map(|other| other.shape.word().to_owned()).collect()
}

/// Every word of a list of kinds.
fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<String> {
    all.iter().map(|kind| word(*kind).to_owned()).collect()
}
