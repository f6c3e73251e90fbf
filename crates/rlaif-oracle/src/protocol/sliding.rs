//! Listwise questions about overlapping windows, from the tail forward.
//!
//! Source: Sun et al. 2023, `RankGPT`, arXiv:2304.09542, section 4.2.
//! A window is shown in the order that the list has by then; its answer sorts it in place, ties keep
//! their places.
//!
//! Where a window has no answer, or one that leaves candidates unplaced, the list is not sorted: the
//! answers there are become partial rankings and are aggregated.

use std::{cmp::Ordering, ops::Range};

use rlaif_rank::{Aggregator, Ranking};

use super::{
    Question, QuestionKind, Said,
    course::{Course, of_all, order_given},
    pairs::together,
    standing::read_off,
};

/// The windows over `n` candidates in the order in which they are asked about.
pub(super) fn windows(n: usize, window: usize, stride: usize, passes: u32) -> Vec<Range<usize>> {
    if n <= window {
        return std::iter::once(0..n).collect();
    }
    let mut pass = Vec::new();
    let mut start = n - window;
    loop {
        pass.push(start..start + window);
        if start == 0 {
            break;
        }
        start = start.saturating_sub(stride);
    }
    vec![pass; passes as usize].concat()
}

pub(super) struct Sliding {
    repeat: u32,
    aggregator: Aggregator,
    /// The candidates as they stand.
    list: Vec<usize>,
    windows: std::vec::IntoIter<Range<usize>>,
    open: Option<Range<usize>>,
    /// `[a * n + b]`: what the last window that held both said.
    compared: Vec<Option<Ordering>>,
    /// Every answer as a ranking of the group.
    answers: Vec<Ranking>,
    sorted: bool,
}

impl Sliding {
    pub(super) fn new(
        list: Vec<usize>,
        repeat: u32,
        aggregator: Aggregator,
        windows: Vec<Range<usize>>,
    ) -> Self {
        Sliding {
            repeat,
            aggregator,
            compared: vec![None; list.len() * list.len()],
            list,
            windows: windows.into_iter(),
            open: None,
            answers: Vec::new(),
            sorted: true,
        }
    }

    /// Sorts `window` of the list as `order` of its candidates says; those unplaced keep their
    /// places.
    fn sort(&mut self, window: Range<usize>, order: &Ranking) {
        let n = self.list.len();
        let shown = self.list[window.clone()].to_vec();
        let levels = order.levels();
        for (a, level_a) in shown.iter().zip(levels) {
            for (b, level_b) in shown.iter().zip(levels) {
                if let (Some(level_a), Some(level_b)) = (level_a, level_b) {
                    self.compared[a * n + b] = Some(level_a.cmp(level_b));
                }
            }
        }
        self.sorted &= order.is_complete();
        self.answers.extend(of_all(&shown, order, n));
        let places = (0..shown.len()).filter(|at| levels[*at].is_some());
        let places: Vec<usize> = places.map(|at| window.start + at).collect();
        for (place, at) in places.into_iter().zip(order.blocks().into_iter().flatten()) {
            self.list[place] = shown[at];
        }
    }
}

impl Course for Sliding {
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question> {
        if let Some(window) = self.open.take() {
            match said.first().and_then(|said| order_given(said.as_ref())) {
                Some(order) => self.sort(window, order),
                None => self.sorted = false,
            }
        }
        self.open = self.windows.next();
        let question = |window: &Range<usize>| Question {
            kind: QuestionKind::Listwise,
            shown: self.list[window.clone()].to_vec(),
            repeat: self.repeat,
        };
        self.open.iter().map(question).collect()
    }

    fn order(&self) -> Option<Ranking> {
        if !self.sorted {
            return together(self.aggregator, &self.answers);
        }
        let n = self.list.len();
        read_off(&self.list, |a, b| self.compared[a * n + b])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_go_from_the_tail_to_the_head() {
        assert_eq!(windows(7, 4, 2, 1), [3..7, 1..5, 0..4]);
        assert_eq!(windows(8, 4, 2, 2), [4..8, 2..6, 0..4, 4..8, 2..6, 0..4]);
        assert_eq!(windows(4, 4, 2, 3), std::slice::from_ref(&(0..4)));
        assert_eq!(windows(2, 20, 10, 1), std::slice::from_ref(&(0..2)));
        // RankGPT's: 100 passages, w = 20, s = 10.
        assert_eq!(windows(100, 20, 10, 1).len(), 9);
    }
}
