//! A run learns what its Oracle likes, reports its numbers, and gives the same weights however
//! its work is cut up.

use rlaif_rollout::{encode, score};
use rlaif_train::batch::vocabulary;
use rlaif_train::optim::OptimConfig;
use rlaif_train::schedule::Schedule;
use rlaif_train::{GrpoConfig, KlEstimator, Trainable};

use crate::support::{ByTable, RED, config, distance, grpo, host, input, model, run, tokenizer};

/// The probability that an answer to each prompt begins with `red`, mean over prompts.
pub(crate) fn red_first(policy: &rlaif_model::Vlm) -> f32 {
    let forbidden = tokenizer().forbidden_ids().to_vec();
    let of = |position: usize| {
        let prefix = encode(policy, &[&input(position)]);
        host(&score(policy, &prefix, &[(0, &[RED])], &forbidden).logprobs)[0].exp()
    };
    (0..4).map(of).sum::<f32>() / 4.0
}

#[test]
fn rows_of_the_vocabulary_that_stand_for_no_token_are_forbidden() {
    let (tokenizer, mut model) = (tokenizer(), model());
    let tokens = u32::try_from(tokenizer.vocab_size()).unwrap();
    model.config.text.vocab_size = tokenizer.vocab_size() + 3;
    let vocabulary = vocabulary(&tokenizer, &model);
    let beyond: Vec<u32> =
        vocabulary.forbidden.iter().copied().filter(|id| *id >= tokens).collect();
    assert_eq!(beyond, [tokens, tokens + 1, tokens + 2]);
    assert!(tokenizer.forbidden_ids().iter().all(|id| vocabulary.forbidden.contains(id)));
    assert!(!vocabulary.forbidden.contains(&RED));
}

#[test]
fn a_run_raises_the_probability_of_what_its_oracle_prefers() {
    let lora = rlaif_model::LoraConfig { r: 4, lora_alpha: 8.0, ..Default::default() };
    for trainable in [Trainable::All, Trainable::Lora(lora)] {
        let config = GrpoConfig {
            max_steps: 60,
            num_generations: 8,
            beta: 0.01,
            trainable,
            learning_rate: 1e-2,
            optim: OptimConfig { lr_scheduler_type: Schedule::Constant, ..OptimConfig::default() },
            ..config()
        };
        let mut grpo = grpo(&config, ByTable::likes_red());
        let before = red_first(&grpo.policy);
        let metrics = run(&mut grpo, 4, None, None).unwrap();
        let after = red_first(&grpo.policy);
        assert!(after > 10.0 * before, "{before} -> {after}");
        // The reference stands where it stood.
        assert!(distance(&grpo.reference, &model()) == 0.0);
        assert!(metrics[59]["kl"] > 0.1, "{}", metrics[59]["kl"]);
    }
}

#[test]
fn every_step_reports_what_the_contract_names() {
    let config = GrpoConfig { max_steps: 2, beta: 0.04, ..config() };
    let metrics = run(&mut grpo(&config, ByTable::likes_red()), 4, None, None).unwrap();
    let names = [
        "loss",
        "kl",
        "entropy",
        "clip_ratio/low_mean",
        "clip_ratio/high_mean",
        "clip_ratio/region_mean",
        "completions/mean_length",
        "completions/min_length",
        "completions/max_length",
        "completions/clipped_ratio",
        "grad_norm",
        "learning_rate",
        "num_tokens",
        "step_time",
        "rank/ndcg",
        "rank/tau",
        "rank/ties",
        "rank/frac_all_tied",
        "rank/advantage_corr",
        "oracle/calls",
        "oracle/failed",
        "oracle/latency",
        "oracle/skipped_weight",
        "sampler/mismatch_kl",
        "speed/rollout_tokens_per_second",
        "speed/reference_tokens_per_second",
        "speed/update_tokens_per_second",
        "speed/mfu",
        "time/rollout",
        "time/reference",
        "time/update",
    ];
    for step in &metrics {
        for name in names {
            assert!(step.get(name).is_some_and(|value| value.is_finite()), "{name} in {step:?}");
        }
        let between = |name: &str, low: f64, high: f64| {
            let value = step[name];
            assert!(value >= low && value <= high, "{name}: {value}");
        };
        between("entropy", 0.1, 20_f64.ln());
        between("completions/mean_length", 1.0, 5.0);
        between("rank/ndcg", 0.0, 1.0);
        between("rank/tau", -1.0 - 1e-9, 1.0 + 1e-9);
        between("rank/ties", 0.0, 1.0);
        // A small model in a debug build is far from the peak, and nothing is beyond it.
        between("speed/mfu", 1e-9, 1.0);
        // Sampler and training pass disagree by rounding alone: squares of some 1e-6.
        between("sampler/mismatch_kl", -1e-9, 1e-8);
    }
    // Linear, without warm-up: 3e-3, then half of it.
    assert!((metrics[0]["learning_rate"] - 3e-3).abs() < 1e-12);
    assert!((metrics[1]["learning_rate"] - 1.5e-3).abs() < 1e-12);
}

/// With a loss that is smooth in the gradient: plain Adam divides gradients that are nothing but
/// rounding by their own size.
fn smooth(config: GrpoConfig) -> GrpoConfig {
    let optim = OptimConfig { adam_epsilon: 1e-3, ..config.optim.clone() };
    GrpoConfig { optim, ..config }
}

/// Weights that moved by some 1e-2, compared to a thousandth of that.
const SAME_WEIGHTS: f32 = 1e-5;

fn trained(config: &GrpoConfig) -> rlaif_model::Vlm {
    let mut grpo = grpo(config, ByTable::likes_red());
    run(&mut grpo, 5, None, None).expect("it trains");
    assert!(distance(&grpo.policy, &model()) > 1e-3, "it has trained");
    grpo.policy
}

#[test]
fn gradients_accumulate_to_the_same_weights_however_the_prompts_are_batched() {
    for (kl_estimator, loss_aggregation) in [
        (KlEstimator::K3, rlaif_objective::Aggregation::Token),
        (KlEstimator::Exact, rlaif_objective::Aggregation::Sequence),
    ] {
        let of = |prompts_per_batch| {
            trained(&smooth(GrpoConfig {
                prompts_per_step: 4,
                prompts_per_batch,
                max_steps: 3,
                kl_estimator,
                loss_aggregation,
                entropy_coef: 0.01,
                ..config()
            }))
        };
        let whole = of(4);
        for prompts_per_batch in [1, 3] {
            let difference = distance(&whole, &of(prompts_per_batch));
            assert!(difference < SAME_WEIGHTS, "batches of {prompts_per_batch}: {difference}");
        }
    }
}

#[test]
fn keeping_the_prompt_pass_for_the_update_changes_no_weight() {
    for num_iterations in [1, 2] {
        let of = |reuse_prefill| {
            trained(&smooth(GrpoConfig { reuse_prefill, num_iterations, max_steps: 3, ..config() }))
        };
        let difference = distance(&of(true), &of(false));
        assert!(difference < SAME_WEIGHTS, "{num_iterations} iterations: {difference}");
    }
}

#[test]
fn both_measures_of_the_kl_are_zero_until_the_policy_moves() {
    for kl_estimator in [KlEstimator::K3, KlEstimator::Exact] {
        let config = GrpoConfig { kl_estimator, beta: 0.1, max_steps: 4, ..config() };
        let metrics = run(&mut grpo(&config, ByTable::likes_red()), 4, None, None).unwrap();
        // Squares, or first orders, of rounding.
        assert!(metrics[0]["kl"].abs() < 1e-6, "{kl_estimator:?}: {}", metrics[0]["kl"]);
        assert!(metrics[3]["kl"] > 1e-4, "{kl_estimator:?}: {}", metrics[3]["kl"]);
    }
    let config = GrpoConfig { beta: 0.0, max_steps: 1, ..config() };
    let metrics = run(&mut grpo(&config, ByTable::likes_red()), 4, None, None).unwrap();
    assert!(!metrics[0].contains_key("kl"), "no reference pass without a KL term");
    assert!(!metrics[0].contains_key("time/reference"));
}

#[test]
fn a_knob_out_of_range_is_named() {
    let worker = || {
        let oracle = Box::new(ByTable::likes_red());
        rlaif_oracle::OracleWorker::start(oracle, &rlaif_oracle::Cancel::new()).unwrap()
    };
    for (change, name) in [
        (GrpoConfig { num_generations: 1, ..config() }, "train.num_generations"),
        (GrpoConfig { epsilon: 1.0, ..config() }, "train.epsilon"),
        (GrpoConfig { beta: -0.1, ..config() }, "train.beta"),
        (GrpoConfig { prompts_per_batch: 0, ..config() }, "train.prompts_per_batch"),
    ] {
        let made = rlaif_train::Online::grpo_rank(model(), change, tokenizer(), worker());
        let message = made.err().expect("it is out of range").to_string();
        assert!(message.contains(name), "{message}");
    }
}
