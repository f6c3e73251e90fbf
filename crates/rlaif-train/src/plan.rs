//! What each token of a step weighs in the loss, and the advantage that it carries.

use rlaif_data::Group;
use rlaif_objective::aggregate::Part;
use rlaif_objective::{Aggregation, token_weights};

use crate::batch::truncated;
use crate::config::GrpoConfig;
use crate::method::Judged;

/// Advantage and weight of every response token of the step.
pub struct Plan {
    /// `A_t`.
    pub advantages: Vec<f32>,
    /// `w_t`.
    pub weights: Vec<f32>,
    /// Part of the step's weight that fell to groups that were not judged.
    pub skipped_weight: f64,
}

impl Plan {
    /// Groups that were not judged keep their part of the divisors: their share of the step's
    /// weight is lost, and reported, not handed to the others.
    pub(crate) fn new(
        groups: &[Group],
        judged: &Judged,
        aggregation: Aggregation,
        config: &GrpoConfig,
    ) -> Plan {
        let completions = || groups.iter().flat_map(|group| &group.completions);
        let parts: Vec<Part> = completions()
            .map(|completion| Part {
                len: completion.token_ids.len(),
                counts: !(config.mask_truncated_completions && truncated(completion)),
            })
            .collect();
        let of_response = token_weights(&parts, aggregation, config.sampling.max_completion_length);
        let (mut advantages, mut weights) = (Vec::new(), Vec::new());
        let (mut whole, mut skipped) = (0.0, 0.0);
        let mut response = 0;
        for (group, values) in groups.iter().zip(&judged.advantages) {
            for index in 0..group.completions.len() {
                let (len, weight) = (parts[response].len, of_response[response]);
                response += 1;
                whole += f64::from(weight) * len as f64;
                let value = values.as_ref().map(|values| values[index]);
                if value.is_none() {
                    skipped += f64::from(weight) * len as f64;
                }
                let weight = if value.is_some() { weight } else { 0.0 };
                #[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
                let value = value.unwrap_or(0.0) as f32;
                advantages.extend(std::iter::repeat_n(value, len));
                weights.extend(std::iter::repeat_n(weight, len));
            }
        }
        if let Some(of_tokens) = &judged.token_advantages {
            advantages.clone_from(of_tokens);
        }
        let skipped_weight = if whole > 0.0 { skipped / whole } else { 0.0 };
        Plan { advantages, weights, skipped_weight }
    }
}
