//! Kemeny's rule: the strict orders that disagree with the fewest comparisons.

use super::{EVEN, Wins};

/// Mean position of each candidate over all optimal orders, 0 first: candidates that the optimal
/// orders place alike have the same.
///
/// Dynamic programming over sets, `O(2^n n²)`: `before[S]` is the least disagreement among and
/// ahead of the candidates in `S` when they come first, and the number of orders that reach it,
/// `after[S]` the same for the rest.
pub(super) fn mean_positions(wins: &Wins) -> Vec<f64> {
    let n = wins.n;
    let sets = 1_usize << n;
    // What it costs to put `next` after `set` and before all others.
    let cost = |set: usize, next: usize| -> f64 {
        let rest = |j: &usize| *j != next && set & (1 << j) == 0;
        (0..n).filter(rest).map(|j| wins.of(j, next)).sum()
    };
    let mut before = vec![Best::NONE; sets];
    before[0] = Best::EMPTY;
    for set in 0..sets {
        for next in (0..n).filter(|next| set & (1 << next) == 0) {
            let way = before[set].plus(cost(set, next));
            before[set | 1 << next].offer(way);
        }
    }
    let mut after = vec![Best::NONE; sets];
    after[sets - 1] = Best::EMPTY;
    for set in (0..sets).rev() {
        for next in (0..n).filter(|next| set & (1 << next) == 0) {
            let way = after[set | 1 << next].plus(cost(set, next));
            after[set].offer(way);
        }
    }
    let best = before[sets - 1];
    let mut positions = vec![0.0; n];
    for set in 0..sets {
        for next in (0..n).filter(|next| set & (1 << next) == 0) {
            let (head, tail) = (before[set], after[set | 1 << next]);
            let whole = head.cost + cost(set, next) + tail.cost;
            if whole <= best.cost + tolerance(best.cost) {
                let orders = head.orders * tail.orders;
                positions[next] += f64::from(set.count_ones()) * orders / best.orders;
            }
        }
    }
    positions
}

fn tolerance(cost: f64) -> f64 {
    EVEN * cost.max(1.0)
}

/// The least cost, and how many orders have it.
#[derive(Clone, Copy)]
struct Best {
    cost: f64,
    orders: f64,
}

impl Best {
    const NONE: Best = Best { cost: f64::INFINITY, orders: 0.0 };
    const EMPTY: Best = Best { cost: 0.0, orders: 1.0 };

    fn plus(self, cost: f64) -> Best {
        Best { cost: self.cost + cost, ..self }
    }

    fn offer(&mut self, other: Best) {
        if other.cost < self.cost - tolerance(other.cost) {
            *self = other;
        } else if other.cost <= self.cost + tolerance(other.cost) {
            self.orders += other.orders;
        }
    }
}
