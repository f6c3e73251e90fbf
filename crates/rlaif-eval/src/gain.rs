//! What one checkpoint gains over another on the same questions.
//!
//! Answers are joined by item id, and the differences `d_i = after_i - before_i` are resampled by
//! video ([`crate::bootstrap`]), so that what makes a question easy for both cancels:
//!
//! ```text
//! points = 100 · Σ_i d_i / n,   ci95 = percentile bootstrap of it over videos
//! ```
//!
//! For measures that are right or wrong, McNemar's exact test (McNemar 1947) asks of the `w` wins
//! and `l` losses alone whether both are equally likely:
//!
//! ```text
//! p = min(1, 2 · P(X <= min(w, l))),  X ~ Binomial(w + l, 1/2)
//! ```
//!
//! It takes questions as independent; where many share a video, trust the interval.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval, clusters, mean};
use crate::item::{ItemKind, ItemResult};
use crate::measure::Measure;
use crate::pair::{Pair, PairError, pairs};
use crate::report::headline;

/// The gain on one set of questions, in percentage points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// The measure compared.
    pub measure: Measure,
    /// Mean difference after - before, in percentage points (`-100..=100`).
    pub points: f64,
    /// 95 % interval of `points`, in percentage points, by [`Bootstrap::difference`].
    pub ci95: Interval,
    /// McNemar's exact two-sided p-value; only for measures that are right or wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcnemar_p: Option<f64>,
    /// Number of questions.
    pub n: usize,
    /// Questions that earned more after.
    pub wins: usize,
    /// Questions that earned less after.
    pub losses: usize,
    /// The same by category; empty within a category.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_category: BTreeMap<String, Gain>,
}

impl Gain {
    /// The interval lies above zero.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.ci95[0] > 0.0
    }

    /// The interval lies below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.ci95[1] < 0.0
    }
}

/// Compares `after` with `before` by `measure`, overall and by category. Questions to which the
/// measure does not apply on either side are left out.
///
/// # Errors
///
/// The two do not answer the same questions, or no answer has the measure.
pub fn paired_gain(
    before: &[ItemResult],
    after: &[ItemResult],
    measure: Measure,
    bootstrap: &Bootstrap,
) -> Result<Gain, PairError> {
    let pairs = pairs(before, after, measure)?;
    let mut gain = gain_of(&pairs, measure, bootstrap).ok_or(PairError::NoItems { measure })?;
    let mut categories: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        categories.entry(&pair.item.head.category).or_default().push(pair);
    }
    gain.by_category = categories
        .into_iter()
        .filter_map(|(name, pairs)| Some((name.to_owned(), gain_of(&pairs, measure, bootstrap)?)))
        .collect();
    Ok(gain)
}

fn gain_of(pairs: &[Pair], measure: Measure, bootstrap: &Bootstrap) -> Option<Gain> {
    let differences =
        clusters(pairs.iter().map(|p| (p.item.head.video.as_str(), p.after - p.before)));
    let wins = pairs.iter().filter(|p| p.after > p.before).count();
    let losses = pairs.iter().filter(|p| p.after < p.before).count();
    Some(Gain {
        measure,
        points: 100.0 * mean(&differences)?,
        ci95: bootstrap.difference(&differences)?.map(|end| 100.0 * end),
        mcnemar_p: measure.is_binary().then(|| mcnemar(wins, losses)),
        n: pairs.len(),
        wins,
        losses,
        by_category: BTreeMap::new(),
    })
}

/// McNemar's exact two-sided p-value of `wins` against `losses`; 1 without either.
#[must_use]
pub fn mcnemar(wins: usize, losses: usize) -> f64 {
    let n = wins + losses;
    // ln C(n, k) - n ln 2, from k = 0 upward, so that large n does not underflow.
    let mut log_mass = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=wins.min(losses) {
        tail += log_mass.exp();
        log_mass += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// Gains of one pair of checkpoints: the headline of each kind, and every other measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gains {
    /// Name of the checkpoint compared with.
    pub before: String,
    /// Name of the checkpoint that gained.
    pub after: String,
    /// Multiple choice by its headline measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<Gain>,
    /// Open-ended questions by their headline measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ended: Option<Gain>,
    /// Every measure that both took.
    pub measures: BTreeMap<Measure, Gain>,
}

impl Gains {
    /// Compares two named lists of answers by every measure that they have.
    ///
    /// # Errors
    ///
    /// The two do not answer the same questions, or not graded in the same way.
    pub fn between(
        before: (&str, &[ItemResult]),
        after: (&str, &[ItemResult]),
        bootstrap: &Bootstrap,
    ) -> Result<Self, PairError> {
        let mut measures = BTreeMap::new();
        for measure in Measure::ALL {
            match paired_gain(before.1, after.1, measure, bootstrap) {
                Ok(gain) => {
                    measures.insert(measure, gain);
                }
                Err(PairError::NoItems { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let headline = |kind| measures.get(&headline(before.1, kind)).cloned();
        Ok(Gains {
            before: before.0.to_owned(),
            after: after.0.to_owned(),
            multiple_choice: headline(ItemKind::MultipleChoice),
            open_ended: headline(ItemKind::OpenEnded),
            measures,
        })
    }

    /// The headline gain of a kind.
    #[must_use]
    pub fn of(&self, kind: ItemKind) -> Option<&Gain> {
        match kind {
            ItemKind::MultipleChoice => self.multiple_choice.as_ref(),
            ItemKind::OpenEnded => self.open_ended.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::item::tests::{choice, head};

    fn answers(right: &[bool]) -> Vec<ItemResult> {
        let item = |(i, right): (usize, &bool)| {
            choice(&format!("q{i}"), ["even", "odd"][i % 2], &format!("v{i}"), *right)
        };
        right.iter().enumerate().map(item).collect()
    }

    fn gain(before: &[ItemResult], after: &[ItemResult]) -> Result<Gain, PairError> {
        let bootstrap = Bootstrap { resamples: 4_000, seed: 0 };
        paired_gain(before, after, Measure::Likelihood, &bootstrap)
    }

    #[test]
    fn a_gain_has_the_sign_of_the_change() {
        let (worse, better) = ([false, false, true, true], [true, true, true, false]);
        let up = gain(&answers(&worse), &answers(&better)).unwrap();
        assert_eq!((up.points, up.n, up.wins, up.losses), (25.0, 4, 2, 1));
        let down = gain(&answers(&better), &answers(&worse)).unwrap();
        assert_eq!((down.points, down.wins, down.losses), (-25.0, 1, 2));
        assert!((up.ci95[0] + down.ci95[1]).abs() < 1e-9, "{:?} {:?}", up.ci95, down.ci95);
        let even = &up.by_category["even"];
        assert_eq!((even.points, even.n), (50.0, 2));
        assert!((up.by_category["odd"].points).abs() < 1e-12);
    }

    #[test]
    fn order_of_the_lists_does_not_matter() {
        let before = answers(&[false, true, false, true, true]);
        let mut after = answers(&[true, true, false, true, true]);
        let straight = gain(&before, &after).unwrap();
        after.reverse();
        assert_eq!(gain(&before, &after).unwrap(), straight);
    }

    #[test]
    fn pairing_narrows_the_interval() {
        // 100 questions, 60 right in both, 10 gained: d has variance 0.1 - 0.01 = 0.09, so the
        // interval is 10 ± 1.96 · 0.3 / sqrt(100) · 100 = 10 ± 5.88. Unpaired it would be ± 13.3.
        let before: Vec<bool> = (0..100).map(|i| i < 60).collect();
        let after: Vec<bool> = (0..100).map(|i| i < 70).collect();
        let gain = gain(&answers(&before), &answers(&after)).unwrap();
        assert!((gain.points - 10.0).abs() < 1e-9);
        let expected = [4.12, 15.88];
        assert!(
            gain.ci95.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1.1),
            "{:?}",
            gain.ci95
        );
        assert!(gain.is_positive() && !gain.is_negative());
        // 10 wins, no losses: p = 2 / 2^10.
        assert!((gain.mcnemar_p.unwrap() - 2.0 / 1024.0).abs() < 1e-12);
    }

    #[test]
    fn mcnemar_follows_the_binomial() {
        // 2 (1 + 10 + 45) / 2^10.
        assert!((mcnemar(8, 2) - 112.0 / 1024.0).abs() < 1e-12);
        assert!((mcnemar(2, 8) - 112.0 / 1024.0).abs() < 1e-12);
        assert!((mcnemar(0, 0) - 1.0).abs() < 1e-12);
        assert!((mcnemar(5, 5) - 1.0).abs() < 1e-12);
        // n = 10,000 by the normal approximation with continuity correction: z = 1.99, p = 0.0466.
        assert!((mcnemar(5_100, 4_900) - 0.0466).abs() < 5e-4, "{}", mcnemar(5_100, 4_900));
    }

    #[test]
    fn intervals_cover_a_known_gain() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let bootstrap = Bootstrap { resamples: 400, seed: 5 };
        // After is right with 0.6, before with 0.4, independently: the true gain is 20 points.
        let covered = (0..200)
            .filter(|_| {
                let mut draw = |p| (0..60).map(|_| rng.random_bool(p)).collect::<Vec<bool>>();
                let (before, after) = (answers(&draw(0.4)), answers(&draw(0.6)));
                let pairs = pairs(&before, &after, Measure::Likelihood).unwrap();
                let [lo, hi] = gain_of(&pairs, Measure::Likelihood, &bootstrap).unwrap().ci95;
                (lo..=hi).contains(&20.0)
            })
            .count();
        assert!((180..=199).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn all_measures_are_compared() {
        let open = |text: &str| {
            ItemResult::open_ended(head("o", "c", "v"), text.into(), Some("red ball".into()))
        };
        let before = [answers(&[false, true]), vec![open("red")]].concat();
        let after = [answers(&[true, true]), vec![open("a red ball")]].concat();
        let gains =
            Gains::between(("sft", &before), ("rl", &after), &Bootstrap::default()).unwrap();
        let points = [gains.multiple_choice, gains.open_ended].map(|gain| gain.unwrap().points);
        assert!((points[0] - 50.0).abs() < 1e-9 && (points[1] - 100.0).abs() < 1e-9);
        let f1 = &gains.measures[&Measure::TokenF1];
        assert!((f1.points - 100.0 / 3.0).abs() < 1e-9 && f1.mcnemar_p.is_none());
        assert!(!gains.measures.contains_key(&Measure::Letter));
    }
}
