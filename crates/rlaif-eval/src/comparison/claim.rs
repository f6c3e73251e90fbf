//! Claims of others, held against the differences measured here.

use serde::{Deserialize, Serialize};

use super::crossed::CrossedBootstrap;
use super::difference::Difference;
use super::error::ComparisonError;
use super::panel::Panel;
use crate::bootstrap::Interval;
use crate::format::{points, points_interval};
use crate::item::ItemKind;

/// Which of two methods a claim says is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// The method earns more than what it is compared with.
    Greater,
    /// The method earns less.
    Less,
}

/// A claim as someone made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimSpec {
    /// The claim in words.
    pub text: String,
    /// Who made it, and where.
    pub source: String,
    /// Name of the method it is about.
    pub method: String,
    /// Name of the method it is compared with.
    pub against: String,
    /// Kind of questions.
    pub kind: ItemKind,
    /// Categories, all their questions pooled; empty for all questions of the kind.
    pub categories: Vec<String>,
    /// Who is better.
    pub expects: Expectation,
}

/// What the numbers say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval of the difference lies on the side that the claim expects.
    Holds,
    /// It lies on the other side.
    Contradicted,
    /// It includes zero.
    Undecided,
}

/// A claim with its verdict and the paired difference behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim.
    #[serde(flatten)]
    pub spec: ClaimSpec,
    /// What the numbers say.
    pub verdict: Verdict,
    /// Difference of the method to the other, in percentage points.
    pub points: f64,
    /// Its 95 % interval.
    pub ci95: Interval,
    /// Its two-sided p-value, not adjusted for the number of claims.
    pub p: f64,
    /// Number of seeds with a difference above zero.
    pub seeds_positive: usize,
    /// Number of questions.
    pub n: usize,
}

impl Claim {
    /// The verdict in plain words: `holds here: +4.2 points [+1.1, +7.3]`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Holds => "holds",
            Verdict::Contradicted => "contradicted",
            Verdict::Undecided => "undecided",
        };
        format!("{verdict} here: {} points {}", points(self.points), points_interval(self.ci95))
    }
}

/// The verdict on an expectation, given the interval of the difference.
fn verdict(expects: Expectation, [lo, hi]: Interval) -> Verdict {
    let (greater, less) = (lo > 0.0, hi < 0.0);
    match (expects, greater, less) {
        (Expectation::Greater, true, _) | (Expectation::Less, _, true) => Verdict::Holds,
        (_, false, false) => Verdict::Undecided,
        _ => Verdict::Contradicted,
    }
}

/// Holds a claim about two methods, by index, against their difference.
pub(super) fn judge(
    spec: ClaimSpec,
    panels: &[Panel],
    bootstrap: &CrossedBootstrap,
    method: usize,
    against: usize,
) -> Result<Claim, ComparisonError> {
    if method == against {
        return Err(ComparisonError::SameMethod { claim: spec.text, method: spec.method });
    }
    let not_asked = |category: Option<&String>| ComparisonError::NoQuestions {
        claim: spec.text.clone(),
        kind: spec.kind,
        category: category.cloned(),
    };
    let panel =
        panels.iter().find(|panel| panel.kind == spec.kind).ok_or_else(|| not_asked(None))?;
    let by_category = panel.by_category();
    if let Some(missing) = spec.categories.iter().find(|c| !by_category.contains_key(c.as_str())) {
        return Err(not_asked(Some(missing)));
    }
    let pooled = |q: &usize| {
        spec.categories.is_empty() || spec.categories.contains(&panel.questions[*q].head.category)
    };
    let questions: Vec<usize> = (0..panel.questions.len()).filter(pooled).collect();
    let difference = panel
        .differences(method, against, &questions)
        .and_then(|table| Difference::new(bootstrap, &table))
        .ok_or_else(|| not_asked(None))?;
    Ok(Claim {
        verdict: verdict(spec.expects, difference.ci95),
        points: difference.points,
        ci95: difference.ci95,
        p: difference.p,
        seeds_positive: difference.seeds_positive,
        n: difference.n,
        spec,
    })
}
