//! Several methods under several seeds on the same held-out questions: what each reached, by how
//! much it differs from the baselines, and what that says of others' claims.
//!
//! ```text
//! accuracy    θ = mean over seeds s of (Σ_q right_sq / n)
//! difference  the same with right_sq of a method minus right_sq of the baseline: same seed, same q
//! ```
//!
//! # Intervals
//!
//! With two seeds or more, 95 % intervals are over seeds and videos: the seed part by Student's t,
//! the video part by a bootstrap of whole videos, combined as Behrens and Fisher's problem (module
//! `crossed` has the equations and sources). In simulations with known variance components (normal
//! effects, videos of one to three questions, 4,000 draws, 1,000 replicates) they held the truth in
//! this share of draws, beside a bootstrap that resamples seeds as it does videos:
//!
//! ```text
//! what differs                 seeds   videos   these   seeds resampled
//! seeds                            3       40   0.953             0.740
//! seeds                            5       40   0.945             0.837
//! videos                           3       40   0.942             0.935
//! videos by seed (interaction)     3       40   0.988             0.994
//! all three alike                  3       40   0.974             0.958
//! all three, seeds most            3      200   0.971             0.919
//! all three alike                  8       40   0.947             0.956
//! ```
//!
//! So they claim 95 % and hold 94 to 99 %. What that costs is power: with 3 seeds the seed part is
//! `4.3 √v_S` wide on either side, where many seeds would make it 1.96.
//!
//! With one seed they are over videos only, and say nothing of what another seed would give;
//! [`Comparison::interval_note`] says so in every rendering. P-values and intervals are of each
//! comparison alone; [`Difference::holm_p`] allows for the number of methods, and nothing does for
//! the number of categories.

mod claim;
mod course;
mod crossed;
mod difference;
mod error;
mod input;
mod markdown;
mod panel;
mod result;
mod student;
mod text;

pub use claim::{Claim, ClaimSpec, Expectation, Verdict};
pub use course::{Band, MeanCost, MeanCurvePoint};
pub use difference::{Contrast, Difference, Differences};
pub use error::ComparisonError;
pub use input::{ComparisonFacts, Cost, CurvePoint, MethodRuns, SeedRun, Selection};
pub use result::{MethodResult, Questions, Score, Scores};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bootstrap::Bootstrap;
use crate::item::ItemKind;
use crossed::CrossedBootstrap;
use panel::Panel;

/// Methods compared over seeds. Accuracies are fractions in `0..=1`, differences percentage points:
///
/// ```text
/// { "title", "command", "commit", "machine", "notes", "selection", "bootstrap", "seeds",
///   "baselines": [name], "questions": { "multiple_choice" | "open_ended": {
///       "headline", "n", "videos", "chance", "by_category": { name: n } } },
///   "methods": [ { "name", "label", "about", "learning_rate", "cost", "curve",
///       "multiple_choice" | "open_ended": { "accuracy", "ci95", "per_seed", "n",
///           "by_category": { name: { "accuracy", "ci95", "per_seed", "n" } } } } ],
///   "contrasts": [ { "method", "baseline",
///       "multiple_choice" | "open_ended": { "points", "ci95", "p", "holm_p", "seeds_positive",
///           "per_seed", "n", "by_category": { name: { the same } } } } ],
///   "claims": [ { "text", "source", "method", "against", "kind", "categories", "expects",
///       "verdict", "points", "ci95", "p", "seeds_positive", "n" } ] }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Headline, command, machine, notes.
    #[serde(flatten)]
    pub facts: ComparisonFacts,
    /// Resampling behind the intervals.
    pub bootstrap: Bootstrap,
    /// Seeds in ascending order.
    pub seeds: Vec<u64>,
    /// Names of the baselines; tables mark what differs from the first.
    pub baselines: Vec<String>,
    /// What was asked, by kind.
    pub questions: BTreeMap<ItemKind, Questions>,
    /// What each method reached, in the order given.
    pub methods: Vec<MethodResult>,
    /// Every other method against each baseline.
    pub contrasts: Vec<Contrast>,
    /// Claims with their verdicts.
    pub claims: Vec<Claim>,
}

impl Comparison {
    /// Compares `methods`, each of them with each of the `baselines` (by name), and judges `claims`.
    ///
    /// # Errors
    ///
    /// The methods were not run under the same seeds, did not answer the same questions, or were
    /// not graded in the same way; a baseline or claim names what is not there; or a point of a
    /// learning curve is no fraction.
    pub fn new(
        facts: ComparisonFacts,
        methods: &[MethodRuns],
        baselines: &[&str],
        claims: Vec<ClaimSpec>,
        bootstrap: &Bootstrap,
    ) -> Result<Comparison, ComparisonError> {
        let (seeds, panels) = panel::join(methods)?;
        let resampling = CrossedBootstrap::new(bootstrap, seeds.len());
        let place = |place: &str, name: &str| {
            methods.iter().position(|method| method.name == name).ok_or_else(|| {
                let known: Vec<String> = methods.iter().map(|m| format!("`{}`", m.name)).collect();
                ComparisonError::UnknownMethod {
                    place: place.to_owned(),
                    method: name.to_owned(),
                    known: known.join(", "),
                }
            })
        };

        let mut results = Vec::with_capacity(methods.len());
        for (index, method) in methods.iter().enumerate() {
            let scores = |kind| result::scores(panel_of(&panels, kind)?, &resampling, index);
            results.push(MethodResult {
                name: method.name.clone(),
                label: method.label.clone(),
                about: method.about.clone(),
                learning_rate: method.learning_rate,
                cost: course::cost(method),
                multiple_choice: scores(ItemKind::MultipleChoice),
                open_ended: scores(ItemKind::OpenEnded),
                curve: course::curve(method)?,
            });
        }

        let mut contrasts = Vec::new();
        for baseline in baselines {
            let at = place("the list of baselines", baseline)?;
            let mut by_kind = [ItemKind::MultipleChoice, ItemKind::OpenEnded].map(|kind| {
                let against = |panel| difference::against(panel, &resampling, methods.len(), at);
                panel_of(&panels, kind).map(against).unwrap_or_default()
            });
            for (index, method) in methods.iter().enumerate().filter(|(index, _)| *index != at) {
                let [multiple_choice, open_ended] = by_kind.each_mut().map(|d| d.remove(&index));
                contrasts.push(Contrast {
                    method: method.name.clone(),
                    baseline: (*baseline).to_owned(),
                    multiple_choice,
                    open_ended,
                });
            }
        }

        let mut judged = Vec::with_capacity(claims.len());
        for spec in claims {
            let of_claim = format!("claim \"{}\"", spec.text);
            let (method, against) =
                (place(&of_claim, &spec.method)?, place(&of_claim, &spec.against)?);
            judged.push(claim::judge(spec, &panels, &resampling, method, against)?);
        }

        Ok(Comparison {
            facts,
            bootstrap: *bootstrap,
            seeds,
            baselines: baselines.iter().map(|name| (*name).to_owned()).collect(),
            questions: panels.iter().map(|panel| (panel.kind, result::questions(panel))).collect(),
            methods: results,
            contrasts,
            claims: judged,
        })
    }

    /// What the intervals cover, in a sentence or two.
    #[must_use]
    pub fn interval_note(&self) -> String {
        match self.seeds.len() {
            1 => "One seed only: the 95 % intervals cover the choice of questions (bootstrap over \
                  videos) and say nothing about the spread between seeds."
                .to_owned(),
            seeds => format!(
                "95 % intervals cover the choice of questions (bootstrap over videos) and the \
                 spread between {seeds} seeds (Student's t, degrees of freedom: {}).",
                seeds - 1
            ),
        }
    }

    /// What a method is called in tables.
    pub(crate) fn label<'a>(&'a self, name: &'a str) -> &'a str {
        self.methods.iter().find(|method| method.name == name).map_or(name, |m| m.label.as_str())
    }

    /// An accuracy is the best of all methods' on these questions.
    pub(crate) fn is_best(&self, accuracy: f64, kind: ItemKind, category: Option<&str>) -> bool {
        let scores = self.methods.iter().filter_map(|method| method.score(kind, category));
        // Equal fractions may differ in the last digit.
        scores.map(|score| score.accuracy).all(|other| accuracy > other - 1e-9)
    }

    /// The interval of a method's difference to the first baseline leaves out zero.
    pub(crate) fn differs(&self, method: &str, kind: ItemKind, category: Option<&str>) -> bool {
        let Some(baseline) = self.baselines.first() else { return false };
        self.contrasts
            .iter()
            .filter(|c| c.method == method && c.baseline == *baseline)
            .filter_map(|contrast| contrast.difference(kind, category))
            .any(Difference::excludes_zero)
    }
}

fn panel_of<'p, 'a>(panels: &'p [Panel<'a>], kind: ItemKind) -> Option<&'p Panel<'a>> {
    panels.iter().find(|panel| panel.kind == kind)
}

#[cfg(test)]
pub(crate) mod tests;
