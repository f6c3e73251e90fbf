//! Intervals over seeds and videos at once.
//!
//! The same videos are answered under every seed, so that seeds and videos are crossed. With `S`
//! seeds, `C` videos, `x_sc` the sum over video `c`'s `n_c` questions under seed `s`, `N = Σ_c n_c`:
//!
//! ```text
//! θ_s = Σ_c x_sc / N,   θ = Σ_s θ_s / S,   x_c = Σ_s x_sc / S
//! model   x_sc / n_c = μ + a_s + b_c + e_sc
//! Var θ   σ_a²/S + σ_e²/(S C)   +   σ_b²/C
//!         `--- seed part ----'     `video part'
//! ```
//!
//! **Seed part.** `v_S = Σ_s (θ_s - θ)² / (S (S - 1))` estimates it without bias, with `S - 1`
//! degrees of freedom. Resampling seeds instead has the expectation `(S - 1)/S` of that (Davison and
//! Hinkley 1997, section 2.3), and even rescaled it never leaves the range of the few values seen.
//! So the seed part of a replicate is drawn as Student's t: `√v_S · T`, `T ~ t(S - 1)`, which takes
//! seed effects as normal. The `B` values of `T` are the quantiles `(i - 1/2) / B`, shuffled, so that
//! its heavy tails add no noise of their own.
//!
//! **Video part.** Videos are resampled with all their questions: `θ^c = Σ_j x_{c_j} / Σ_j n_{c_j}`.
//! The spread of that is `σ_b²/C + σ_e²/(S C)`, which counts the interaction a second time (resampling
//! both ways would count it three times: Owen 2007). Its deviations are shrunk by what the interaction
//! takes, as two-way clustered variances subtract it (Cameron, Gelbach and Miller 2011):
//!
//! ```text
//! u_c = x_c - θ n_c,   u_sc = (x_sc - θ_s n_c) - u_c
//! λ²  = C/(C - 1) · max(0, 1 - Σ_sc u_sc² / (S (S - 1)) / Σ_c u_c²)
//!
//! replicate  θ* = θ + λ (θ^c - θ) + √v_S T
//! ```
//!
//! The sum of two parts that are each estimated is Behrens and Fisher's problem, and this is the
//! distribution that Fisher (1935) gives for it. Its intervals do not fall short in coverage
//! (Robinson 1976).
//!
//! **Interval and p.** The interval is the percentile interval of `θ*`, widened where needed to hold
//! that of the videos alone ([`crate::bootstrap`]): three seeds that agree by chance must not make
//! an interval narrower than one seed would. `p = 2 (b + 1) / (B + 1)`, `b` the number of replicates
//! on the rarer side of zero (Davison and Hinkley 1997, section 4.2), and of the two the larger.
//! With one seed only the videos are left; the interval then says nothing about other seeds.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::student::{normal_two_sided, t_quantile};
use crate::bootstrap::{
    Bootstrap, Cluster, Interval, mean, percentiles, show_no_spread, unanimous, wilson,
};

/// Sums of values by seed and video.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Crossed {
    /// `x_sc`, indexed by video, then seed.
    sums: Vec<Vec<f64>>,
    /// `n_c`, at least 1.
    counts: Vec<usize>,
}

impl Crossed {
    /// Gathers questions, each with its video and its value under every seed, into videos in order
    /// of first appearance. `None` without questions or seeds.
    pub(super) fn new<'a, V>(questions: impl IntoIterator<Item = (&'a str, V)>) -> Option<Self>
    where
        V: IntoIterator<Item = f64>,
    {
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut table = Crossed { sums: Vec::new(), counts: Vec::new() };
        for (video, values) in questions {
            let at = *place.entry(video).or_insert(table.counts.len());
            if at == table.counts.len() {
                table.counts.push(1);
                table.sums.push(values.into_iter().collect());
            } else {
                table.counts[at] += 1;
                std::iter::zip(&mut table.sums[at], values).for_each(|(sum, value)| *sum += value);
            }
        }
        table.sums.first().is_some_and(|seeds| !seeds.is_empty()).then_some(table)
    }

    /// Number of questions, `N`.
    pub(super) fn n(&self) -> usize {
        self.counts.iter().sum()
    }

    /// `θ_s`, in order of the seeds.
    pub(super) fn per_seed(&self) -> Vec<f64> {
        let n = self.n() as f64;
        let seeds = self.sums.first().map_or(0, Vec::len);
        (0..seeds).map(|s| self.sums.iter().map(|video| video[s]).sum::<f64>() / n).collect()
    }

    /// `x_c` and `n_c`.
    fn clusters(&self) -> Vec<Cluster> {
        let over_seeds = |sums: &Vec<f64>| sums.iter().sum::<f64>() / sums.len() as f64;
        std::iter::zip(&self.sums, &self.counts)
            .map(|(sums, n)| Cluster { sum: over_seeds(sums), n: *n })
            .collect()
    }

    /// `λ`, see the [module](self); 0 where videos show no spread.
    fn shrinkage(&self, clusters: &[Cluster], estimate: f64, per_seed: &[f64]) -> f64 {
        let (c, s) = (clusters.len() as f64, per_seed.len() as f64);
        let (mut videos, mut interaction) = (0.0, 0.0);
        for (cluster, sums) in std::iter::zip(clusters, &self.sums) {
            let n = cluster.n as f64;
            let u = cluster.sum - estimate * n;
            videos += u * u;
            let residual = |(x, mean): (&f64, &f64)| (x - mean * n - u).powi(2);
            interaction += std::iter::zip(sums, per_seed).map(residual).sum::<f64>();
        }
        if videos <= 0.0 {
            return 0.0;
        }
        let share = 1.0 - interaction / (s * (s - 1.0)) / videos;
        (c / (c - 1.0) * share.max(0.0)).sqrt()
    }
}

/// What a mean comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Inference {
    pub(super) mean: f64,
    pub(super) ci95: Interval,
    /// Two-sided, of the mean being 0.
    pub(super) p: f64,
}

/// The resampling of the [module](self) for a number of seeds.
#[derive(Clone, Debug)]
pub(super) struct CrossedBootstrap {
    videos: Bootstrap,
    /// One value of `T` for each replicate; empty with one seed.
    seed_deviations: Vec<f64>,
}

impl CrossedBootstrap {
    pub(super) fn new(bootstrap: &Bootstrap, seeds: usize) -> Self {
        let replicates = if seeds > 1 { bootstrap.resamples } else { 0 };
        let quantile = |i| t_quantile((i as f64 + 0.5) / replicates as f64, seeds - 1);
        let mut seed_deviations: Vec<f64> = (0..replicates).map(quantile).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
        // Stream 0 draws the videos.
        rng.set_stream(1);
        seed_deviations.shuffle(&mut rng);
        CrossedBootstrap { videos: *bootstrap, seed_deviations }
    }

    /// Infers the mean of values in `0..=1`.
    pub(super) fn share(&self, table: &Crossed) -> Option<Inference> {
        let within = |[lo, hi]: Interval| [lo.max(0.0), hi.min(1.0)];
        let unspread = |mean, n| (wilson(mean, n), 1.0);
        self.infer(table, unspread).map(|i| Inference { ci95: within(i.ci95), ..i })
    }

    /// Infers the mean of differences, values in `-1..=1`.
    pub(super) fn difference(&self, table: &Crossed) -> Option<Inference> {
        let within = |[lo, hi]: Interval| [lo.max(-1.0), hi.min(1.0)];
        // The interval of a unanimous d leaves out 0 where n |d| > z², which gives the p-value.
        let unspread =
            |d: f64, n: usize| (unanimous(d, n), normal_two_sided((n as f64 * d.abs()).sqrt()));
        self.infer(table, unspread).map(|i| Inference { ci95: within(i.ci95), ..i })
    }

    fn infer(
        &self,
        table: &Crossed,
        unspread: impl Fn(f64, usize) -> (Interval, f64),
    ) -> Option<Inference> {
        let clusters = table.clusters();
        let mean = mean(&clusters)?;
        let mut replicates = self.videos.replicates(&clusters)?;
        let crossed = self.crossed(table, &clusters, mean, &replicates);
        let (mut ci95, mut p) = if show_no_spread(&clusters, mean) {
            unspread(mean, clusters.len())
        } else {
            let p = two_sided(&replicates);
            (percentiles(&mut replicates, mean), p)
        };
        if let Some(mut crossed) = crossed {
            p = p.max(two_sided(&crossed));
            let [lo, hi] = percentiles(&mut crossed, mean);
            ci95 = [ci95[0].min(lo), ci95[1].max(hi)];
        }
        Some(Inference { mean, ci95, p })
    }

    /// `θ*` for every replicate of the videos; `None` with one seed.
    fn crossed(
        &self,
        table: &Crossed,
        clusters: &[Cluster],
        mean: f64,
        replicates: &[f64],
    ) -> Option<Vec<f64>> {
        let per_seed = table.per_seed();
        let seeds = per_seed.len() as f64;
        if per_seed.len() < 2 {
            return None;
        }
        let squares: f64 = per_seed.iter().map(|seed| (seed - mean).powi(2)).sum();
        let error = (squares / (seeds * (seeds - 1.0))).sqrt();
        let shrink = table.shrinkage(clusters, mean, &per_seed);
        let combine = |(video, t): (&f64, &f64)| mean + shrink * (video - mean) + error * t;
        Some(std::iter::zip(replicates, &self.seed_deviations).map(combine).collect())
    }
}

/// `2 (b + 1) / (B + 1)`, at most 1.
fn two_sided(replicates: &[f64]) -> f64 {
    let below = replicates.iter().filter(|r| **r <= 0.0).count();
    let above = replicates.iter().filter(|r| **r >= 0.0).count();
    (2.0 * (below.min(above) + 1) as f64 / (replicates.len() + 1) as f64).min(1.0)
}

#[cfg(test)]
mod tests;
