//! Pairs as the comparators of a sorting network.
//!
//! Source: Batcher 1968, as merge exchange for any number of wires in Knuth, TAOCP vol. 3, 5.2.2,
//! Algorithm M. A comparator keeps the better candidate on the upper wire; ties stay where they are.
//! A pair that meets again is not asked about again.
//!
//! Where a comparator has no evidence the network has not sorted, and the answers there are become
//! rankings of two and are aggregated, as those of a tournament.

use std::cmp::Ordering;

use rlaif_rank::Ranking;

use super::{Question, Said, course::Course, pairs::Pairs, standing::read_off};

/// Comparators `(upper, lower)` on `wires` wires, in rounds that can run at once.
pub(super) fn rounds(wires: usize) -> Vec<Vec<(usize, usize)>> {
    let mut rounds = Vec::new();
    let top = wires.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            let upper = (0..wires.saturating_sub(d)).filter(|i| i & p == r);
            let round: Vec<(usize, usize)> = upper.map(|i| (i, i + d)).collect();
            if !round.is_empty() {
                rounds.push(round);
            }
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    rounds
}

pub(super) struct Network {
    pairs: Pairs,
    /// The candidate on each wire.
    wires: Vec<usize>,
    rounds: std::vec::IntoIter<Vec<(usize, usize)>>,
    /// The round under way, and its pairs that are being asked about.
    round: Vec<(usize, usize)>,
    open: Vec<(usize, usize)>,
    sorted: bool,
}

impl Network {
    pub(super) fn new(pairs: Pairs, wires: Vec<usize>) -> Self {
        let rounds = rounds(wires.len()).into_iter();
        Network { pairs, wires, rounds, round: Vec::new(), open: Vec::new(), sorted: true }
    }

    fn exchange(&mut self) {
        for (upper, lower) in std::mem::take(&mut self.round) {
            match self.pairs.said(self.wires[upper], self.wires[lower]) {
                Some(Ordering::Greater) => self.wires.swap(upper, lower),
                Some(_) => (),
                None => self.sorted = false,
            }
        }
    }
}

impl Course for Network {
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question> {
        self.pairs.keep(&self.open, said);
        self.open.clear();
        self.exchange();
        while let Some(round) = self.rounds.next() {
            self.round = round;
            let pair = |(upper, lower): &(usize, usize)| (self.wires[*upper], self.wires[*lower]);
            let unasked = |(a, b): &(usize, usize)| !self.pairs.asked(*a, *b);
            self.open = self.round.iter().map(pair).filter(unasked).collect();
            if !self.open.is_empty() {
                break;
            }
            self.exchange();
        }
        self.pairs.questions(&self.open)
    }

    fn order(&self) -> Option<Ranking> {
        if !self.sorted {
            return self.pairs.aggregated();
        }
        read_off(&self.wires, |a, b| self.pairs.said(a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 0-1 principle: a network that sorts every list of zeros and ones sorts everything.
    #[test]
    fn the_network_sorts_for_any_number_of_wires() {
        for n in 2..12_usize {
            for bits in 0..1_u32 << n {
                let mut wires: Vec<bool> = (0..n).map(|i| bits >> i & 1 == 1).collect();
                for (upper, lower) in rounds(n).into_iter().flatten() {
                    if wires[upper] && !wires[lower] {
                        wires.swap(upper, lower);
                    }
                }
                assert!(wires.is_sorted(), "{n} {bits:b}");
            }
        }
    }

    /// Comparators of Batcher's networks, Knuth's table in 5.3.4.
    #[test]
    fn the_network_is_as_small_as_batchers() {
        let size = |n| rounds(n).iter().map(Vec::len).sum::<usize>();
        let sizes: Vec<usize> = (2..=9).map(size).collect();
        assert_eq!(sizes, [1, 3, 5, 9, 12, 16, 19, 26]);
        assert_eq!(size(16), 63);
    }

    #[test]
    fn a_round_touches_each_wire_once() {
        for n in 2..40 {
            for round in rounds(n) {
                let mut seen: Vec<usize> = round.iter().flat_map(|(a, b)| [*a, *b]).collect();
                let touched = seen.len();
                seen.sort_unstable();
                seen.dedup();
                assert_eq!(seen.len(), touched);
            }
        }
    }
}
