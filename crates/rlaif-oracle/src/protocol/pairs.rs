//! What is known about pairs, how a pair is asked about, and the schedule of every pair once.

use std::cmp::Ordering;

use rlaif_rank::{Aggregator, Ranking, aggregate};

use super::{
    Question, QuestionKind, Said,
    course::{Course, order_given},
    presentation::Turns,
};

/// What became of a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nobody asked.
    Unasked,
    /// Asked, without a usable answer.
    Missing,
    /// `Less` where the first is better.
    Said(Ordering),
}

/// The pairs of one repeat.
pub(super) struct Pairs {
    n: usize,
    repeat: u32,
    both_orders: bool,
    turns: Turns,
    aggregator: Aggregator,
    /// `[a * n + b]`, both ways.
    known: Vec<Known>,
}

impl Pairs {
    pub(super) fn new(
        base: &[usize],
        repeat: u32,
        both_orders: bool,
        aggregator: Aggregator,
    ) -> Self {
        let n = base.len();
        let (turns, known) = (Turns::new(base, repeat), vec![Known::Unasked; n * n]);
        Pairs { n, repeat, both_orders, turns, aggregator, known }
    }

    /// The questions about `pairs`, one or two each.
    pub(super) fn questions(&self, pairs: &[(usize, usize)]) -> Vec<Question> {
        let mut questions = Vec::new();
        for (a, b) in pairs {
            let [first, second] = self.turns.pair(*a, *b);
            let mut ask = |shown: Vec<usize>| {
                let (kind, repeat) = (QuestionKind::Pairwise, self.repeat);
                questions.push(Question { kind, shown, repeat });
            };
            ask(vec![first, second]);
            if self.both_orders {
                ask(vec![second, first]);
            }
        }
        questions
    }

    /// Keeps what was said to [`Pairs::questions`] about the same pairs.
    pub(super) fn keep(&mut self, pairs: &[(usize, usize)], said: &[Option<Said>]) {
        let per_pair = super::config::per_pair(self.both_orders);
        for ((a, b), said) in pairs.iter().zip(said.chunks(per_pair)) {
            let [first, second] = self.turns.pair(*a, *b);
            let once = said.first().and_then(|said| preferred(said.as_ref()));
            let found =
                if self.both_orders {
                    let turned = said.get(1).and_then(|said| preferred(said.as_ref()));
                    once.zip(turned).map(|(once, turned)| {
                        if once == turned.reverse() { once } else { Ordering::Equal }
                    })
                } else {
                    once
                };
            let known = |said: Option<Ordering>| said.map_or(Known::Missing, Known::Said);
            self.known[first * self.n + second] = known(found);
            self.known[second * self.n + first] = known(found.map(Ordering::reverse));
        }
    }

    /// What was said about two candidates, `Less` where `a` is better.
    pub(super) fn said(&self, a: usize, b: usize) -> Option<Ordering> {
        match self.known[a * self.n + b] {
            Known::Said(said) => Some(said),
            Known::Unasked | Known::Missing => None,
        }
    }

    /// Whether they were asked about, answered or not.
    pub(super) fn asked(&self, a: usize, b: usize) -> bool {
        self.known[a * self.n + b] != Known::Unasked
    }

    /// Every pair that was answered as a ranking of two, aggregated.
    pub(super) fn aggregated(&self) -> Option<Ranking> {
        let mut rankings = Vec::new();
        for a in 0..self.n {
            for b in 0..a {
                let Some(said) = self.said(a, b) else { continue };
                let mut ranks = vec![None; self.n];
                ranks[a] = Some(usize::from(said == Ordering::Greater));
                ranks[b] = Some(usize::from(said == Ordering::Less));
                rankings.push(Ranking::from_ranks(ranks).ok()?);
            }
        }
        together(self.aggregator, &rankings)
    }
}

/// One ranking of several, none of none.
///
/// The settings were checked against the number of candidates, and all rankings are of the same
/// group, so that there is nothing else that an aggregator could refuse.
pub(super) fn together(by: Aggregator, rankings: &[Ranking]) -> Option<Ranking> {
    match rankings {
        [] => None,
        [one] => Some(one.clone()),
        several => match aggregate(by, several) {
            Ok(ranking) => Some(ranking),
            Err(error) => unreachable!("checked settings: {error}"),
        },
    }
}

/// `Less` where the one shown first is better; none where either is left out.
fn preferred(said: Option<&Said>) -> Option<Ordering> {
    match order_given(said)?.levels() {
        [Some(first), Some(second)] => Some(first.cmp(second)),
        _ => None,
    }
}

/// Every pair in one round.
pub(super) struct All {
    pairs: Pairs,
    open: Vec<(usize, usize)>,
}

impl All {
    pub(super) fn new(pairs: Pairs) -> Self {
        All { pairs, open: Vec::new() }
    }
}

impl Course for All {
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question> {
        self.pairs.keep(&self.open, said);
        let unasked = |(a, b): &(usize, usize)| !self.pairs.asked(*a, *b);
        let every = (0..self.pairs.n).flat_map(|a| (0..a).map(move |b| (a, b)));
        self.open = every.filter(unasked).collect();
        self.pairs.questions(&self.open)
    }

    fn order(&self) -> Option<Ranking> {
        self.pairs.aggregated()
    }
}
