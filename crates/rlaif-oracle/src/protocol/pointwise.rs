//! A score for each candidate, of which the order is used.

use rlaif_rank::Ranking;

use super::{
    Question, QuestionKind, Said,
    course::{Course, of_all},
};

pub(super) struct Pointwise {
    questions: Vec<Question>,
    shown: Vec<usize>,
    scores: Vec<Option<f64>>,
}

impl Pointwise {
    pub(super) fn new(shown: Vec<usize>, repeat: u32, min: i64, max: i64) -> Self {
        let kind = QuestionKind::Pointwise { min, max };
        let question = |candidate: &usize| Question { kind, shown: vec![*candidate], repeat };
        Pointwise { questions: shown.iter().map(question).collect(), shown, scores: Vec::new() }
    }
}

impl Course for Pointwise {
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question> {
        let score = |said: &Option<Said>| match said {
            Some(Said::Score(score)) => Some(*score),
            _ => None,
        };
        self.scores = said.iter().map(score).collect();
        std::mem::take(&mut self.questions)
    }

    fn order(&self) -> Option<Ranking> {
        let scored =
            |(at, score): (usize, &Option<f64>)| score.map(|score| (self.shown[at], score));
        let (candidates, scores): (Vec<usize>, Vec<f64>) =
            self.scores.iter().enumerate().filter_map(scored).unzip();
        let order = Ranking::from_scores(&scores).ok()?;
        of_all(&candidates, &order, self.shown.len())
    }
}
