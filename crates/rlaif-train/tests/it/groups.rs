//! Groups that the Oracle cannot rank: left out, counted, and without effect on the others.

use rlaif_model::Vlm;
use rlaif_train::completions::GroupRecord;
use rlaif_train::{GrpoConfig, Metrics, TrainError};

use crate::support::{ByTable, config, distance, grpo, model, run, taste};

/// Three prompts a step, one step; no KL, so that a group without advantage has no gradient.
fn one_step(mask_truncated_completions: bool) -> GrpoConfig {
    GrpoConfig {
        prompts_per_step: 3,
        prompts_per_batch: 2,
        max_steps: 1,
        beta: 0.0,
        mask_truncated_completions,
        ..config()
    }
}

/// Likes red, but on `row-1` does what it is told.
fn oracle(on_row_1: f64) -> ByTable {
    ByTable::new(
        move |request, text| {
            if request.example.id == "row-1" { on_row_1 } else { taste(text) }
        },
    )
}

fn step(config: &GrpoConfig, oracle: ByTable) -> (Vlm, Metrics, Vec<GroupRecord>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut grpo = grpo(config, oracle);
    let metrics = run(&mut grpo, 3, Some(folder.path()), None).expect("a step").remove(0);
    let text = std::fs::read_to_string(folder.path().join("completions/step-000001.jsonl"));
    let text = text.expect("the completions of step 1");
    let records = text.lines().map(|line| serde_json::from_str(line).expect("a record"));
    (grpo.policy, metrics, records.collect())
}

/// A tie gives everyone the advantage 0: what a failed group must amount to, its divisor included.
#[test]
fn a_failed_group_leaves_the_gradient_of_the_others_as_it_is() {
    for mask in [false, true] {
        let config = one_step(mask);
        let (failed, metrics, records) = step(&config, oracle(f64::NAN));
        let (tied, tied_metrics, _) = step(&config, oracle(0.0));
        assert!(distance(&failed, &model()) > 1e-4, "the others are trained on");
        assert!(distance(&failed, &tied) == 0.0);
        assert_eq!(metrics["loss"].to_bits(), tied_metrics["loss"].to_bits());
        assert_eq!(metrics["grad_norm"].to_bits(), tied_metrics["grad_norm"].to_bits());

        // Its part of the step's tokens, of those that count.
        let tokens = |of: &dyn Fn(&GroupRecord) -> bool| -> usize {
            let counts = |c: &&rlaif_train::completions::CompletionRecord| {
                !(mask && c.finish_reason == rlaif_data::FinishReason::Length)
            };
            records
                .iter()
                .filter(|record| of(record))
                .flat_map(|record| record.completions.iter().filter(counts))
                .map(|c| c.tokens)
                .sum()
        };
        let part = tokens(&|record| record.id == "row-1") as f64 / tokens(&|_| true) as f64;
        assert!(part > 0.0 && part < 1.0, "{part}");
        assert!((metrics["oracle/skipped_weight"] - part).abs() < 1e-6);
        assert!((metrics["oracle/failed"] - 1.0).abs() < 1e-9);
        assert!(tied_metrics["oracle/skipped_weight"].abs() < 1e-9);
        assert!(tied_metrics["oracle/failed"].abs() < 1e-9);

        for record in &records {
            let failed = record.id == "row-1";
            assert_eq!(record.failure.is_some(), failed);
            assert_eq!(record.ranking.is_none(), failed);
            assert_eq!(record.completions.len(), 4);
            assert!(record.completions.iter().all(|c| c.advantage.is_none() == failed));
        }
        let failure = records.iter().find_map(|record| record.failure.clone()).unwrap();
        assert!(failure.contains("I cannot tell") && failure.contains("row-1"), "{failure}");
    }
}

#[test]
fn a_step_in_which_no_group_is_ranked_is_an_error_and_changes_nothing() {
    let config = GrpoConfig { max_steps: 3, ..one_step(false) };
    let mut grpo = grpo(&config, ByTable::new(|_, _| f64::NAN));
    let error = run(&mut grpo, 3, None, None).unwrap_err();
    assert!(matches!(error, TrainError::NothingRanked { step: 1, groups: 3, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("none of its 3 groups") && message.contains("I cannot tell"));
    assert!(distance(&grpo.policy, &model()) == 0.0);
    assert_eq!(grpo.step, 0);
}

#[test]
fn an_empty_data_set_and_a_prompt_that_cannot_be_built_are_errors() {
    let mut grpo = grpo(&one_step(false), oracle(0.0));
    let mut listen = |_: rlaif_train::Event<'_>| {};
    let mut run = rlaif_train::Run {
        folder: None,
        control: rlaif_train::Control::default(),
        listen: &mut listen,
    };
    let nothing = |_: usize| -> Result<std::sync::Arc<rlaif_train::Prompted>, TrainError> {
        Err(TrainError::Prompt { id: "row-9".to_owned(), source: "no such clip".into() })
    };
    let error = grpo.train(0, &nothing, &mut run, &crate::support::save).unwrap_err();
    assert!(matches!(error, TrainError::NoData));
    let error = grpo.train(3, &nothing, &mut run, &crate::support::save).unwrap_err();
    assert_eq!(error.to_string(), "row `row-9`: no such clip");
}
