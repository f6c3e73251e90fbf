//! Percentile bootstrap over videos.
//!
//! Questions about one video stand and fall together, so what is resampled is the video with all
//! its questions (the cluster), not the question. With `C` clusters of sums `s_c` and counts `n_c`:
//!
//! ```text
//! estimate   θ = Σ_c s_c / Σ_c n_c
//! replicate  θ* = Σ_j s_{c_j} / Σ_j n_{c_j},  c_1 .. c_C drawn uniformly with replacement
//! ci95       the 2.5 % and 97.5 % quantiles of the replicates
//! ```
//!
//! Source: Efron 1979; Efron and Tibshirani 1993, chapter 13 (percentile interval); Field and Welsh
//! 2007 for whole clusters. Quantiles interpolate linearly (type 7 of Hyndman and Fan 1996).
//!
//! Where every cluster has the same mean, resampling shows no spread at all and would claim
//! certainty (8 of 8 right: `[1, 1]`). [`Bootstrap::share`] then gives the Wilson score interval
//! (Wilson 1927) with `C` as the sample size, and [`Bootstrap::difference`] what follows from it:
//! of all videos a share of up to `z² / (C + z²)` (Wilson's upper bound after 0 of `C`) may be
//! unlike those seen, and differ by anything in `-1..=1`.

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Both ends of a 95 % interval, lower first.
pub type Interval = [f64; 2];

/// 97.5 % quantile of the standard normal distribution.
const Z_975: f64 = 1.959_963_984_540_054;

/// How often and from which seed to resample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Replicates; at least 2,000 for 95 % intervals. None at all leaves the interval at the
    /// estimate itself.
    pub resamples: usize,
    /// Seed of the resampling; every estimate starts from it afresh, so that none depends on which
    /// others were asked for before.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 10,000 replicates (Davison and Hinkley 1997 ask for at least 1,000 for 95 % intervals) from
    /// seed 0.
    fn default() -> Self {
        Bootstrap { resamples: 10_000, seed: 0 }
    }
}

/// Sum and number of the values of one cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Sum of the values.
    pub sum: f64,
    /// Number of values, at least 1.
    pub n: usize,
}

/// Gathers `(cluster name, value)` pairs into clusters, in order of first appearance.
pub fn clusters<'a>(values: impl IntoIterator<Item = (&'a str, f64)>) -> Vec<Cluster> {
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut clusters: Vec<Cluster> = Vec::new();
    for (name, value) in values {
        let at = *place.entry(name).or_insert(clusters.len());
        match clusters.get_mut(at) {
            Some(cluster) => {
                cluster.sum += value;
                cluster.n += 1;
            }
            None => clusters.push(Cluster { sum: value, n: 1 }),
        }
    }
    clusters
}

/// Mean over all values of all clusters; `None` without any.
#[must_use]
pub fn mean(clusters: &[Cluster]) -> Option<f64> {
    let n: usize = clusters.iter().map(|c| c.n).sum();
    (n > 0).then(|| clusters.iter().map(|c| c.sum).sum::<f64>() / n as f64)
}

impl Bootstrap {
    /// Interval of the mean of values of any range; `None` without clusters.
    #[must_use]
    pub fn interval(&self, clusters: &[Cluster]) -> Option<Interval> {
        let estimate = mean(clusters)?;
        Some(percentiles(&mut self.replicates(clusters)?, estimate))
    }

    /// The replicates `θ*` in the order of drawing; `None` without clusters.
    pub(crate) fn replicates(&self, clusters: &[Cluster]) -> Option<Vec<f64>> {
        let n = u32::try_from(clusters.len()).ok().filter(|n| *n > 0)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let replicate = |_| {
            let (mut sum, mut count) = (0.0, 0);
            for _ in 0..n {
                let cluster = clusters[rng.random_range(0..n) as usize];
                sum += cluster.sum;
                count += cluster.n;
            }
            sum / count as f64
        };
        Some((0..self.resamples).map(replicate).collect())
    }

    /// Interval of a share, that is of the mean of values in `0..=1`; the Wilson interval where the
    /// clusters show no spread. `None` without clusters.
    #[must_use]
    pub fn share(&self, clusters: &[Cluster]) -> Option<Interval> {
        let estimate = mean(clusters)?;
        if show_no_spread(clusters, estimate) {
            return Some(wilson(estimate, clusters.len()));
        }
        self.interval(clusters)
    }

    /// Interval of the mean of differences of shares, that is of values in `-1..=1`; a wide one
    /// where the clusters show no spread (see the [module](self)). `None` without clusters.
    #[must_use]
    pub fn difference(&self, clusters: &[Cluster]) -> Option<Interval> {
        let estimate = mean(clusters)?;
        if show_no_spread(clusters, estimate) {
            return Some(unanimous(estimate, clusters.len()));
        }
        self.interval(clusters)
    }
}

/// The 2.5 % and 97.5 % quantiles of replicates, which it sorts; `estimate` where there are none.
pub(crate) fn percentiles(replicates: &mut [f64], estimate: f64) -> Interval {
    replicates.sort_unstable_by(f64::total_cmp);
    [0.025, 0.975].map(|q| quantile(replicates, q).unwrap_or(estimate))
}

/// The interval of a difference that all of `n` videos agree on, see the [module](self).
pub(crate) fn unanimous(difference: f64, n: usize) -> Interval {
    let [like_these, _] = wilson(1.0, n);
    let centre = like_these * difference;
    [centre - (1.0 - like_these), centre + (1.0 - like_these)]
}

/// All clusters have the mean `estimate`.
pub(crate) fn show_no_spread(clusters: &[Cluster], estimate: f64) -> bool {
    clusters.iter().all(|c| (c.sum / c.n as f64 - estimate).abs() < 1e-12)
}

/// Wilson's 95 % score interval of a share `p` seen in `n` independent trials, `n` at least 1.
#[must_use]
pub fn wilson(p: f64, n: usize) -> Interval {
    let n = n as f64;
    let z2 = Z_975 * Z_975;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_975 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// Quantile `q` of ascending values by linear interpolation; `None` without values.
fn quantile(ascending: &[f64], q: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let place = q * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "place lies in 0..=last"
    )]
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    Some(ascending[below] + (place - below as f64) * (ascending[above] - ascending[below]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn singles(values: &[f64]) -> Vec<Cluster> {
        values.iter().map(|v| Cluster { sum: *v, n: 1 }).collect()
    }

    fn coin(right: usize, n: usize) -> Vec<Cluster> {
        (0..n).map(|i| Cluster { sum: f64::from(u8::from(i < right)), n: 1 }).collect()
    }

    fn close(a: Interval, b: Interval, tolerance: f64) {
        assert!(
            (a[0] - b[0]).abs() < tolerance && (a[1] - b[1]).abs() < tolerance,
            "{a:?} against {b:?}"
        );
    }

    #[test]
    fn two_values_have_three_replicates() {
        // {0, 1}: θ* is 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
        close(Bootstrap::default().interval(&singles(&[0.0, 1.0])).unwrap(), [0.0, 1.0], 1e-12);
        // {0, 1, 1, 1, 1, 1}: the replicates are Binomial(6, 5/6) / 6. P(<= 2) = 0.0087 and
        // P(<= 3) = 0.062, so the 2.5 % quantile is 3/6; P(6) = 0.33, so the upper one is 1.
        let six = singles(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        close(Bootstrap::default().interval(&six).unwrap(), [0.5, 1.0], 1e-12);
    }

    #[test]
    fn many_coins_follow_the_binomial() {
        // 240 of 400: 0.6 ± 1.96 sqrt(0.6 · 0.4 / 400) = 0.6 ± 0.048.
        let interval = Bootstrap::default().share(&coin(240, 400)).unwrap();
        close(interval, [0.552, 0.648], 0.004);
    }

    #[test]
    fn questions_of_one_video_count_as_one_draw() {
        let alone = coin(30, 50);
        let tenfold: Vec<Cluster> =
            alone.iter().map(|c| Cluster { sum: c.sum * 10.0, n: 10 }).collect();
        let bootstrap = Bootstrap::default();
        // Ten copies of each question in its own video add no information.
        close(bootstrap.share(&tenfold).unwrap(), bootstrap.share(&alone).unwrap(), 1e-9);
        // As 500 videos they would: the interval shrinks by sqrt(10).
        let [lo, hi] = bootstrap.share(&coin(300, 500)).unwrap();
        let [wide_lo, wide_hi] = bootstrap.share(&tenfold).unwrap();
        let ratio = (wide_hi - wide_lo) / (hi - lo);
        assert!((ratio - 10_f64.sqrt()).abs() < 0.4, "{ratio}");
    }

    #[test]
    fn names_gather_into_clusters() {
        let gathered = clusters([("a", 1.0), ("b", 0.0), ("a", 0.0)]);
        assert_eq!(gathered, [Cluster { sum: 1.0, n: 2 }, Cluster { sum: 0.0, n: 1 }]);
        assert!((mean(&gathered).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(mean(&[]), None);
        assert_eq!(Bootstrap::default().share(&[]), None);
    }

    #[test]
    fn no_spread_falls_back_to_wilson() {
        // 8 of 8: lower end 8 / (8 + z²) = 0.6756.
        close(Bootstrap::default().share(&coin(8, 8)).unwrap(), [0.675_59, 1.0], 1e-5);
        close(Bootstrap::default().share(&coin(0, 8)).unwrap(), [0.0, 0.324_41], 1e-5);
        // One video with 3 of 4 right says little, whatever the bootstrap thinks.
        let [lo, hi] = Bootstrap::default().share(&[Cluster { sum: 3.0, n: 4 }]).unwrap();
        assert!(lo < 0.25 && hi > 0.9, "[{lo}, {hi}]");
    }

    #[test]
    fn a_unanimous_difference_is_not_certain() {
        let difference =
            |d: f64, n| Bootstrap::default().difference(&singles(&vec![d; n])).unwrap();
        // One video: w = 1 / (1 + z²) = 0.2065, so d = 1 gives [2w - 1, 1].
        close(difference(1.0, 1), [-0.586_9, 1.0], 1e-4);
        close(difference(-1.0, 1), [-1.0, 0.586_9], 1e-4);
        // No change in 100 videos: up to z² / (100 + z²) = 3.7 % may change either way.
        close(difference(0.0, 100), [-0.037, 0.037], 1e-4);
        let mixed = singles(&[1.0, 0.0, -1.0, 1.0]);
        assert_eq!(Bootstrap::default().difference(&mixed), Bootstrap::default().interval(&mixed));
    }

    #[test]
    fn one_seed_gives_one_interval() {
        let values = coin(7, 20);
        let one = Bootstrap { resamples: 2_000, seed: 1 };
        assert_eq!(one.interval(&values), one.interval(&values));
        let other = Bootstrap { seed: 2, ..one };
        let smooth = singles(&(0..20).map(|i| f64::from(i).sqrt()).collect::<Vec<_>>());
        assert_ne!(one.interval(&smooth), other.interval(&smooth));
    }

    #[test]
    fn intervals_cover_the_truth_about_as_often_as_they_say() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let trials = 300;
        let covered = (0..trials)
            .filter(|_| {
                let right = (0..80).filter(|_| rng.random_bool(0.4)).count();
                let bootstrap = Bootstrap { resamples: 400, seed: 3 };
                let [lo, hi] = bootstrap.share(&coin(right, 80)).unwrap();
                (lo..=hi).contains(&0.4)
            })
            .count();
        // 95 % nominal, 1.3 % standard error over 300 trials, and a little below at n = 80.
        assert!((273..=296).contains(&covered), "{covered} of {trials}");
    }
}
