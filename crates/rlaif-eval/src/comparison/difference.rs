//! Paired differences between methods, and the adjustment of their p-values.
//!
//! With `m` methods compared with one baseline on the same questions, Holm's step-down adjustment
//! (Holm 1979) of their ascending p-values bounds the chance of any false claim among them:
//!
//! ```text
//! holm p_(i) = max over j <= i of min(1, (m - j + 1) p_(j))
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::crossed::{Crossed, CrossedBootstrap};
use super::panel::Panel;
use crate::bootstrap::Interval;
use crate::item::ItemKind;

/// Paired difference of a method to a baseline: same seed, same question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean difference in percentage points (`-100..=100`), above zero where the method is better.
    pub points: f64,
    /// 95 % interval of `points` over seeds and videos.
    pub ci95: Interval,
    /// Two-sided p-value.
    pub p: f64,
    /// `p` after Holm's adjustment for all methods compared with this baseline on these questions.
    pub holm_p: f64,
    /// Number of seeds with a difference above zero.
    pub seeds_positive: usize,
    /// Difference in percentage points under each seed, in order of the seeds.
    pub per_seed: Vec<f64>,
    /// Number of questions.
    pub n: usize,
}

impl Difference {
    /// The interval leaves out zero.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.ci95[0] > 0.0 || self.ci95[1] < 0.0
    }

    /// Not yet adjusted.
    pub(super) fn new(bootstrap: &CrossedBootstrap, table: &Crossed) -> Option<Self> {
        let difference = bootstrap.difference(table)?;
        let per_seed: Vec<f64> = table.per_seed().iter().map(|d| 100.0 * d).collect();
        Some(Difference {
            points: 100.0 * difference.mean,
            ci95: difference.ci95.map(|end| 100.0 * end),
            p: difference.p,
            holm_p: difference.p,
            // Sums of equal fractions may differ in the last digit.
            seeds_positive: per_seed.iter().filter(|points| **points > 1e-9).count(),
            per_seed,
            n: table.n(),
        })
    }
}

/// Differences on all questions of a kind and by category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// All questions.
    #[serde(flatten)]
    pub overall: Difference,
    /// The same by category.
    pub by_category: BTreeMap<String, Difference>,
}

/// A method compared with a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// Name of the method.
    pub method: String,
    /// Name of the baseline.
    pub baseline: String,
    /// Multiple-choice questions; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<Differences>,
    /// Open-ended questions; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ended: Option<Differences>,
}

impl Contrast {
    /// The differences on questions of a kind.
    #[must_use]
    pub fn of(&self, kind: ItemKind) -> Option<&Differences> {
        match kind {
            ItemKind::MultipleChoice => self.multiple_choice.as_ref(),
            ItemKind::OpenEnded => self.open_ended.as_ref(),
        }
    }

    /// The difference on all questions of a kind, or on those of a category.
    #[must_use]
    pub fn difference(&self, kind: ItemKind, category: Option<&str>) -> Option<&Difference> {
        let differences = self.of(kind)?;
        match category {
            None => Some(&differences.overall),
            Some(category) => differences.by_category.get(category),
        }
    }
}

/// Every other method against `baseline`, by index, with adjusted p-values.
pub(super) fn against(
    panel: &Panel,
    bootstrap: &CrossedBootstrap,
    methods: usize,
    baseline: usize,
) -> BTreeMap<usize, Differences> {
    let all: Vec<usize> = (0..panel.questions.len()).collect();
    let categories = panel.by_category();
    let mut differences = BTreeMap::new();
    for method in (0..methods).filter(|method| *method != baseline) {
        let on = |questions: &[usize]| {
            Difference::new(bootstrap, &panel.differences(method, baseline, questions)?)
        };
        let Some(overall) = on(&all) else { continue };
        let by_category = categories
            .iter()
            .filter_map(|(name, questions)| Some(((*name).to_owned(), on(questions)?)))
            .collect();
        differences.insert(method, Differences { overall, by_category });
    }
    adjust(differences.values_mut().map(|d| &mut d.overall).collect());
    for category in categories.keys() {
        let family = differences.values_mut().filter_map(|d| d.by_category.get_mut(*category));
        adjust(family.collect());
    }
    differences
}

/// Holm's adjustment within one family.
fn adjust(mut family: Vec<&mut Difference>) {
    family.sort_by(|a, b| a.p.total_cmp(&b.p));
    let mut floor: f64 = 0.0;
    for (rank, left) in (1..=family.len()).rev().enumerate() {
        floor = floor.max((left as f64 * family[rank].p).min(1.0));
        family[rank].holm_p = floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_steps_down() {
        let difference = |p: f64| Difference {
            points: 0.0,
            ci95: [0.0; 2],
            p,
            holm_p: p,
            seeds_positive: 0,
            per_seed: Vec::new(),
            n: 1,
        };
        // Ascending 0.01, 0.02, 0.03, 0.5: 4 · 0.01, 3 · 0.02, 2 · 0.03 (no less than the one
        // before), 0.5.
        let mut family = [0.03, 0.01, 0.5, 0.02].map(difference);
        adjust(family.iter_mut().collect());
        for (got, expected) in family.iter().zip([0.06, 0.04, 0.5, 0.06]) {
            assert!((got.holm_p - expected).abs() < 1e-12, "{got:?}");
        }
        // 2 · 0.4 = 0.8, then max(0.8, 0.6); 3 · 0.9 stops at 1.
        let mut family = [0.6, 0.4].map(difference);
        adjust(family.iter_mut().collect());
        assert!(family.iter().all(|d| (d.holm_p - 0.8).abs() < 1e-12));
        let mut family = [0.9, 0.9, 0.9].map(difference);
        adjust(family.iter_mut().collect());
        assert!(family.iter().all(|d| (d.holm_p - 1.0).abs() < 1e-12));
    }
}
