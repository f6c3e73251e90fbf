//! Dividing advantages by a standard deviation, off by default.

use serde::{Deserialize, Serialize};

use crate::advantage::{STD_EPSILON, sample_std};

/// By what advantages are divided (TRL's `scale_rewards`).
///
/// Rank advantages have much the same spread in every group already, so that `none` is the
/// default. `group` makes up for that of groups with many ties, and with `dcg-gap` it blows small
/// disagreements up to full size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// By `std + 1e-4` of the group's own advantages.
    Group,
    /// By `std + 1e-4` of all advantages of the batch.
    Batch,
    /// By nothing.
    #[default]
    None,
}

/// Scales the advantages of a batch in place: one list a group. `std` has n - 1 in its
/// denominator, as TRL's; all-tied groups stay exactly 0, and count towards the batch's spread.
pub fn scale_advantages(scale: Scale, groups: &mut [Vec<f64>]) {
    match scale {
        Scale::None => {}
        Scale::Group => {
            for group in groups {
                let std = sample_std(group);
                divide(group, std);
            }
        }
        Scale::Batch => {
            let std = sample_std(&groups.concat());
            for group in groups {
                divide(group, std);
            }
        }
    }
}

fn divide(advantages: &mut [f64], std: f64) {
    for advantage in advantages {
        *advantage /= std + STD_EPSILON;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    fn scaled(scale: Scale) -> Vec<Vec<f64>> {
        let mut groups = vec![vec![3.0, -3.0, 0.0], vec![0.0, 0.0], vec![1.0, -1.0]];
        scale_advantages(scale, &mut groups);
        groups
    }

    /// Standard deviations with n - 1: sqrt(18 / 2) = 3, 0, sqrt(2 / 1); over all 7 values, whose
    /// mean is 0, sqrt(20 / 6) = 1.8257419.
    #[test]
    fn each_scale_matches_a_hand_calculation() {
        assert_eq!(scaled(Scale::None), [vec![3.0, -3.0, 0.0], vec![0.0, 0.0], vec![1.0, -1.0]]);

        let group = scaled(Scale::Group);
        assert!(close(&group[0], &[0.999_966_67, -0.999_966_67, 0.0], 1e-8));
        assert_eq!(group[1], [0.0, 0.0]);
        assert!(close(&group[2], &[0.707_056_78, -0.707_056_78], 1e-8));

        let batch = scaled(Scale::Batch);
        assert!(close(&batch[0], &[1.643_077_68, -1.643_077_68, 0.0], 1e-8));
        assert_eq!(batch[1], [0.0, 0.0]);
        assert!(close(&batch[2], &[0.547_692_56, -0.547_692_56], 1e-8));
    }

    #[test]
    fn nothing_to_scale_is_no_failure() {
        let mut none: Vec<Vec<f64>> = vec![vec![]];
        scale_advantages(Scale::Group, &mut none);
        scale_advantages(Scale::Batch, &mut none);
        assert_eq!(none, [vec![0.0; 0]]);
        assert_eq!(
            serde_json::to_string(&[Scale::Group, Scale::Batch, Scale::None]).unwrap(),
            r#"["group","batch","none"]"#
        );
    }
}
