//! What a whole run gained: the record that `quickstart` writes as `summary.json`.

use serde::{Deserialize, Serialize};

use crate::gain::Gains;
use crate::report::EvalReport;

/// What a run cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Seconds from start to end.
    pub wall_seconds: f64,
    /// Largest resident memory of the process, in bytes.
    pub peak_rss_bytes: u64,
    /// Seed that determines the run.
    pub seed: u64,
}

/// The two checkpoints of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// Before the ranked feedback.
    pub sft: EvalReport,
    /// After it.
    pub oracle_rlaif: EvalReport,
}

/// `summary.json`. Accuracies and their intervals are fractions in `0..=1`, gains are percentage
/// points:
///
/// ```text
/// { "wall_seconds", "peak_rss_bytes", "seed",
///   "stages": { "sft" | "oracle_rlaif": {
///       "multiple_choice" | "open_ended": {
///           "accuracy", "ci95": [lo, hi], "n", "by_category": { name: { "accuracy", "ci95", "n" } } } } },
///   "gain": { "multiple_choice" | "open_ended": { "points", "ci95": [lo, hi] } } }
/// ```
///
/// and more fields in each object. A kind of question that was not asked is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Cost and seed.
    #[serde(flatten)]
    pub facts: RunFacts,
    /// What each checkpoint reached.
    pub stages: Stages,
    /// What the second gained over the first.
    pub gain: Gains,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bootstrap::Bootstrap;
    use crate::item::tests::{choice, head};
    use crate::item::{ItemResult, UNCATEGORISED};

    /// Twelve multiple-choice and two open-ended questions, of which the second stage gets more.
    pub(crate) fn summary() -> Summary {
        let answers = |right: usize, word: &str| -> Vec<ItemResult> {
            let category = |i: usize| ["counting", "action_recognition", "spatial"][i % 3];
            let choices = (0..12)
                .map(|i| choice(&format!("q{i}"), category(i), &format!("v{}", i / 2), i < right));
            let open = (0..2).map(|i| {
                let head = head(&format!("o{i}"), UNCATEGORISED, "v0");
                ItemResult::open_ended(head, word.to_owned(), Some("blue".to_owned()))
            });
            choices.chain(open).collect()
        };
        let (before, after) = (answers(4, "red"), answers(10, "blue"));
        let bootstrap = Bootstrap { resamples: 2_000, seed: 1 };
        let report = |name: &str, items: &[ItemResult]| {
            EvalReport::new(name, format!("out/{name}"), items, 0, &bootstrap).unwrap()
        };
        Summary {
            facts: RunFacts { wall_seconds: 212.5, peak_rss_bytes: 1_200_000_000, seed: 42 },
            stages: Stages {
                sft: report("sft", &before),
                oracle_rlaif: report("oracle_rlaif", &after),
            },
            gain: Gains::between(("sft", &before), ("oracle_rlaif", &after), &bootstrap).unwrap(),
        }
    }

    #[test]
    fn json_keeps_the_contract() {
        let json = serde_json::to_value(summary()).unwrap();
        assert_eq!(json["wall_seconds"], 212.5);
        assert_eq!(json["peak_rss_bytes"], 1_200_000_000_u64);
        assert_eq!(json["seed"], 42);
        for (stage, accuracy) in [("sft", 4.0 / 12.0), ("oracle_rlaif", 10.0 / 12.0)] {
            let choice = &json["stages"][stage]["multiple_choice"];
            assert!((choice["accuracy"].as_f64().unwrap() - accuracy).abs() < 1e-12);
            assert_eq!(choice["ci95"].as_array().unwrap().len(), 2);
            assert_eq!(choice["n"], 12);
            assert_eq!(choice["by_category"]["counting"]["n"], 4);
            assert!(json["stages"][stage]["open_ended"]["accuracy"].is_f64());
        }
        assert_eq!(json["gain"]["multiple_choice"]["points"], 50.0);
        let [lo, hi] = [0, 1].map(|i| json["gain"]["multiple_choice"]["ci95"][i].as_f64().unwrap());
        assert!(0.0 < lo && lo < 50.0 && 50.0 < hi && hi <= 100.0, "[{lo}, {hi}]");
        assert_eq!(json["gain"]["open_ended"]["points"], 100.0);
        assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary());
    }
}
