//! Pairs of neighbours in the current standing, as far as a budget goes: the Swiss system.
//!
//! Each round goes through the candidates, those with the fewest pairs first and then the best, and
//! gives each the nearest in the standing whom it has not met. The standing is the share of pairs
//! won, ties a half; equal shares stand as in the order shown.

use std::cmp::Ordering;

use rlaif_rank::Ranking;

use super::{Question, Said, course::Course, pairs::Pairs};

pub(super) struct Tournament {
    pairs: Pairs,
    /// The candidates in the order shown.
    shown: Vec<usize>,
    /// Pairs that may still be asked about.
    left: usize,
    open: Vec<(usize, usize)>,
}

impl Tournament {
    /// `pairs_at_most` pairs among the candidates `shown`.
    pub(super) fn new(pairs: Pairs, shown: Vec<usize>, pairs_at_most: usize) -> Self {
        Tournament { pairs, shown, left: pairs_at_most, open: Vec::new() }
    }

    /// The candidates by share of pairs won.
    fn standing(&self) -> Vec<usize> {
        let share = |candidate: usize| {
            let met = self.shown.iter().filter(|other| **other != candidate);
            let won = |said: Ordering| match said {
                Ordering::Less => 1.0,
                Ordering::Equal => 0.5,
                Ordering::Greater => 0.0,
            };
            let points: Vec<f64> =
                met.filter_map(|other| self.pairs.said(candidate, *other)).map(won).collect();
            if points.is_empty() { 0.5 } else { points.iter().sum::<f64>() / points.len() as f64 }
        };
        let shares: Vec<f64> = (0..self.shown.len()).map(share).collect();
        let mut standing = self.shown.clone();
        standing.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        standing
    }

    fn draw(&self) -> Vec<(usize, usize)> {
        let standing = self.standing();
        let n = standing.len();
        let asked = |place: usize| {
            let met = |other: &&usize| {
                **other != standing[place] && self.pairs.asked(standing[place], **other)
            };
            self.shown.iter().filter(met).count()
        };
        let mut places: Vec<usize> = (0..n).collect();
        places.sort_by_key(|place| asked(*place));
        let mut free = vec![true; n];
        let mut drawn = Vec::new();
        for place in places {
            if !free[place] || drawn.len() == self.left {
                continue;
            }
            let open = |other: &usize| {
                *other != place
                    && free[*other]
                    && !self.pairs.asked(standing[place], standing[*other])
            };
            if let Some(other) = (0..n).filter(open).min_by_key(|other| other.abs_diff(place)) {
                (free[place], free[other]) = (false, false);
                drawn.push((standing[place], standing[other]));
            }
        }
        drawn
    }
}

impl Course for Tournament {
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question> {
        self.pairs.keep(&self.open, said);
        self.open = self.draw();
        self.left -= self.open.len();
        self.pairs.questions(&self.open)
    }

    fn order(&self) -> Option<Ranking> {
        self.pairs.aggregated()
    }
}
