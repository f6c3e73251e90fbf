//! What the tests of several modules draw from.

use proptest::prelude::*;

use crate::Ranking;

/// Any ranking of 1 to `most` candidates, ties and gaps included.
pub(crate) fn any_ranking(most: usize) -> impl Strategy<Value = Ranking> {
    proptest::collection::vec(proptest::option::weighted(0.85, 0..most), 1..=most)
        .prop_map(|ranks| Ranking::from_ranks(ranks).unwrap())
}

/// Any ranking with something placed and something told apart.
pub(crate) fn telling_ranking(most: usize) -> impl Strategy<Value = Ranking> {
    any_ranking(most).prop_filter("all tied", |ranking| !ranking.is_all_tied())
}

/// Any order of `0..n`.
pub(crate) fn shuffled(n: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..n).collect::<Vec<_>>()).prop_shuffle()
}

/// All orders of `0..n`.
pub(crate) fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for place in 0..n {
            let mut longer = shorter.clone();
            longer.insert(place, n - 1);
            all.push(longer);
        }
    }
    all
}

/// All strict rankings that break the ties of `ranking` in every way. Each is equally likely
/// when ties are broken by chance.
pub(crate) fn tie_breaks(ranking: &Ranking) -> Vec<Ranking> {
    let mut blocks = ranking.blocks();
    blocks.push(ranking.unplaced());
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for block in blocks {
        let mut longer = Vec::new();
        for order in &orders {
            for permutation in permutations(block.len()) {
                let mut order = order.clone();
                order.extend(permutation.iter().map(|i| block[*i]));
                longer.push(order);
            }
        }
        orders = longer;
    }
    orders.iter().map(|order| Ranking::from_order(order).unwrap()).collect()
}

/// Whether two lists agree to `tolerance` everywhere.
pub(crate) fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= tolerance)
}
