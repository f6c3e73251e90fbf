//! What each response of a step weighs in the loss, and the advantage that it carries.

use rlaif_data::Group;
use rlaif_objective::aggregate::Part;
use rlaif_objective::token_weights;

use crate::batch::truncated;
use crate::config::GrpoConfig;

/// Advantage and token weight of every response of the step.
pub(crate) struct Plan {
    pub(crate) advantages: Vec<f32>,
    pub(crate) weights: Vec<f32>,
    /// Part of the step's weight that fell to groups without a ranking.
    pub(crate) skipped_weight: f64,
}

impl Plan {
    /// Groups without a ranking keep their part of the divisors: their share of the step's
    /// weight is lost, and reported, not handed to the others.
    pub(crate) fn new(
        groups: &[Group],
        advantages: &[Option<Vec<f64>>],
        config: &GrpoConfig,
    ) -> Plan {
        let completions = || groups.iter().flat_map(|group| &group.completions);
        let parts: Vec<Part> = completions()
            .map(|completion| Part {
                len: completion.token_ids.len(),
                counts: !(config.mask_truncated_completions && truncated(completion)),
            })
            .collect();
        let max_len = config.sampling.max_completion_length;
        let mut weights = token_weights(&parts, config.loss_aggregation, max_len);
        let share = |weight: &f32, part: &Part| f64::from(*weight) * part.len as f64;
        let whole: f64 = weights.iter().zip(&parts).map(|(w, p)| share(w, p)).sum();
        let mut skipped = 0.0;
        let mut flat = Vec::with_capacity(parts.len());
        for (group, advantage) in groups.iter().zip(advantages) {
            let at = flat.len();
            let end = at + group.completions.len();
            if let Some(values) = advantage {
                #[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
                flat.extend(values.iter().map(|a| *a as f32));
            } else {
                for (weight, part) in weights[at..end].iter_mut().zip(&parts[at..end]) {
                    skipped += share(weight, part);
                    *weight = 0.0;
                }
                flat.resize(end, 0.0);
            }
        }
        let skipped_weight = if whole > 0.0 { skipped / whole } else { 0.0 };
        Plan { advantages: flat, weights, skipped_weight }
    }
}
