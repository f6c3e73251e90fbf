//! One question for the whole group.

use rlaif_rank::Ranking;

use super::{
    Question, QuestionKind, Said,
    course::{Course, of_all, order_given},
};

pub(super) struct Listwise {
    question: Option<Question>,
    shown: Vec<usize>,
    order: Option<Ranking>,
}

impl Listwise {
    pub(super) fn new(shown: Vec<usize>, repeat: u32) -> Self {
        let question = Question { kind: QuestionKind::Listwise, shown: shown.clone(), repeat };
        Listwise { question: Some(question), shown, order: None }
    }
}

impl Course for Listwise {
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question> {
        let given = said.first().and_then(|said| order_given(said.as_ref()));
        self.order = given.and_then(|order| of_all(&self.shown, order, self.shown.len()));
        self.question.take().into_iter().collect()
    }

    fn order(&self) -> Option<Ranking> {
        self.order.clone()
    }
}
