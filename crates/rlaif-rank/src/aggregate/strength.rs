//! Strengths by maximum likelihood, found by minorisation-maximisation.
//!
//! Source: Hunter 2004, "MM algorithms for generalized Bradley-Terry models". A candidate that
//! always wins would be infinitely strong: each also plays half a win and half a loss against an
//! imagined one of strength 1, which keeps all finite and changes no order among those compared
//! with each other.

use super::Wins;
use crate::Ranking;

/// Iterations at most, and the relative change at which they end.
const ITERATIONS: usize = 10_000;
const CONVERGED: f64 = 1e-12;
/// Wins and losses against the imagined candidate.
const PRIOR: f64 = 0.5;

/// Logarithms of the strengths in `P(i beats j) = p_i / (p_i + p_j)`.
pub(super) fn bradley_terry(wins: &Wins) -> Vec<f64> {
    let n = wins.n;
    let won: Vec<f64> = (0..n).map(|i| (0..n).map(|j| wins.of(i, j)).sum::<f64>()).collect();
    iterate(n, |p, i| {
        let games = |j: usize| wins.of(i, j) + wins.of(j, i);
        let others = (0..n).filter(|j| *j != i).map(|j| games(j) / (p[i] + p[j]));
        (won[i], others.sum())
    })
}

/// Logarithms of the strengths by which each ranking's blocks are chosen one after the other from
/// those that are left, `Π p_i / (Σ p)^b` for a block of `b` (Breslow's form for ties).
pub(super) fn plackett_luce(rankings: &[(&Ranking, f64)], placed: &[usize]) -> Vec<f64> {
    let n = placed.len();
    let index = |candidate: &usize| placed.iter().position(|p| p == candidate);
    let orders: Vec<(Vec<Vec<usize>>, f64)> = rankings
        .iter()
        .map(|(ranking, weight)| {
            let block = |block: &Vec<usize>| block.iter().filter_map(index).collect();
            (ranking.blocks().iter().map(block).collect(), *weight)
        })
        // The last block is chosen from itself and tells nothing, so neither does an only one.
        .filter(|(blocks, _): &(Vec<Vec<usize>>, f64)| blocks.len() > 1)
        .collect();
    let mut won = vec![0.0; n];
    for (blocks, weight) in &orders {
        for candidate in blocks.iter().rev().skip(1).flatten() {
            won[*candidate] += weight;
        }
    }
    iterate(n, |p, i| {
        let mut sum = 0.0;
        for (blocks, weight) in &orders {
            let Some(own) = blocks.iter().position(|block| block.contains(&i)) else { continue };
            for stage in 0..=own.min(blocks.len() - 2) {
                let left: f64 = blocks[stage..].iter().flatten().map(|j| p[*j]).sum();
                sum += weight * blocks[stage].len() as f64 / left;
            }
        }
        (won[i], sum)
    })
}

/// Runs `p_i <- (won_i + prior) / (rate_i(p) + 2 prior / (p_i + 1))` to its fixed point, where
/// `of(p, i)` gives `won_i` and `rate_i`.
fn iterate(n: usize, of: impl Fn(&[f64], usize) -> (f64, f64)) -> Vec<f64> {
    let mut p = vec![1.0_f64; n];
    for _ in 0..ITERATIONS {
        let next: Vec<f64> = (0..n)
            .map(|i| {
                let (won, rate) = of(&p, i);
                (won + PRIOR) / (rate + 2.0 * PRIOR / (p[i] + 1.0))
            })
            .collect();
        let change =
            p.iter().zip(&next).fold(0.0_f64, |m, (old, new)| m.max((new / old - 1.0).abs()));
        p = next;
        if change < CONVERGED {
            break;
        }
    }
    p.into_iter().map(f64::ln).collect()
}
