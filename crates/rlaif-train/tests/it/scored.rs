//! Methods that learn from scores: GRPO, RLOO and PPO. They learn what the reward likes, resume to
//! the same bits, and lose a group that cannot be scored without a trace in the others.

use std::path::Path;

use rlaif_model::{LoraConfig, ScalarVlm};
use rlaif_oracle::RankRequest;
use rlaif_train::grpo::Grpo;
use rlaif_train::metrics::truncate_after;
use rlaif_train::optim::OptimConfig;
use rlaif_train::ppo::Ppo;
use rlaif_train::rloo::Rloo;
use rlaif_train::schedule::Schedule;
use rlaif_train::{
    GrpoConfig, KlEstimator, Method, MethodKind, Online, Reward, RewardError, TrainError,
    Trainable, checkpoint,
};

use crate::learning::red_first;
use crate::support::{bits, config, distance, host, model, run, taste, timeless, tokenizer};

/// Scores answers by a function; `NaN` is a group that cannot be scored.
struct ByScore(fn(&RankRequest, &str) -> f64);

impl Reward for ByScore {
    fn name(&self) -> &'static str {
        "by_score"
    }

    fn rewards(&mut self, requests: &[RankRequest]) -> Vec<Result<Vec<f64>, RewardError>> {
        let one = |request: &RankRequest| {
            let scores: Vec<f64> =
                request.candidates.iter().map(|text| (self.0)(request, text)).collect();
            if scores.iter().all(|score| score.is_nan()) {
                let example = request.example.id.clone();
                return Err(RewardError { example, reason: "no number".to_owned() });
            }
            Ok(scores)
        };
        requests.iter().map(one).collect()
    }
}

/// The more `red`, the better, in numbers of an ordinary size.
pub(crate) fn likes_red(_: &RankRequest, text: &str) -> f64 {
    taste(text) / 100.0
}

const SCORED: [MethodKind; 3] = [MethodKind::Grpo, MethodKind::Rloo, MethodKind::Ppo];

pub(crate) fn online(config: &GrpoConfig, score: fn(&RankRequest, &str) -> f64) -> Online {
    let reward = Box::new(ByScore(score));
    let method: Box<dyn Method> = match config.method {
        MethodKind::Grpo => Box::new(Grpo::new(reward)),
        MethodKind::Rloo => Box::new(Rloo::new(reward)),
        _ => Box::new(Ppo::new(reward, ScalarVlm::new(model()), config.trainable.clone(), 7)),
    };
    Online::new(model(), config.clone(), tokenizer(), method).expect("the knobs are in range")
}

fn lora() -> Trainable {
    Trainable::Lora(LoraConfig { r: 4, lora_alpha: 8.0, ..LoraConfig::default() })
}

#[test]
fn every_method_raises_the_probability_of_what_is_scored_high() {
    for method in SCORED {
        let config = GrpoConfig {
            method,
            max_steps: 60,
            num_generations: 8,
            beta: 0.01,
            trainable: lora(),
            learning_rate: 1e-2,
            optim: OptimConfig { lr_scheduler_type: Schedule::Constant, ..OptimConfig::default() },
            ..config()
        };
        let mut online = online(&config, likes_red);
        let before = red_first(&online.policy);
        let metrics = run(&mut online, 4, None, None).unwrap();
        let after = red_first(&online.policy);
        assert!(after > 5.0 * before, "{method:?}: {before} -> {after}");
        let reward = |steps: &[rlaif_train::Metrics]| -> f64 {
            steps.iter().map(|step| step["reward"]).sum::<f64>() / steps.len() as f64
        };
        let (first, last) = (reward(&metrics[..5]), reward(&metrics[55..]));
        assert!(last > first + 0.5, "{method:?}: {first} -> {last}");
        // What the log calls the reward is what the reward said.
        let told = metrics[0]["rewards/by_score/mean"];
        assert!((told - metrics[0]["reward"]).abs() < 1e-12, "{method:?}");
        if method == MethodKind::Ppo {
            // A critic of zeros explains nothing.
            let explained = |step: usize| metrics[step]["val/explained_variance"];
            assert!(explained(0).abs() < 1e-6, "{}", explained(0));
            let late = (50..60).map(explained).sum::<f64>() / 10.0;
            assert!(late > 0.1, "the critic learns: {late}");
        }
    }
}

/// One number for all answers of a group: nothing to tell apart, and nothing but the KL, which is 0
/// at the start, to move the policy.
#[test]
fn equal_scores_move_nothing_in_the_methods_that_compare() {
    for method in [MethodKind::Grpo, MethodKind::Rloo] {
        let config = GrpoConfig { method, max_steps: 1, beta: 0.0, ..config() };
        let mut online = online(&config, |_, _| 3.5);
        let metrics = run(&mut online, 2, None, None).unwrap().remove(0);
        assert!(distance(&online.policy, &model()) == 0.0, "{method:?}");
        assert!((metrics["frac_reward_zero_std"] - 1.0).abs() < 1e-12);
    }
}

/// Scores move by any constant, and for GRPO by any factor, without a trace.
#[test]
fn the_level_of_the_scores_does_not_matter_to_the_methods_that_compare() {
    let trained = |method, score| {
        let optim = OptimConfig { adam_epsilon: 1e-3, ..OptimConfig::default() };
        let config = GrpoConfig { method, max_steps: 2, beta: 0.0, optim, ..config() };
        let mut online = online(&config, score);
        run(&mut online, 4, None, None).unwrap();
        online.policy
    };
    for method in [MethodKind::Grpo, MethodKind::Rloo] {
        let plain = trained(method, likes_red);
        assert!(distance(&plain, &model()) > 1e-4, "it has trained");
        let shifted = trained(method, |request, text| likes_red(request, text) + 8.0);
        assert!(distance(&plain, &shifted) < 1e-5, "{method:?}");
    }
    let scaled = trained(MethodKind::Grpo, |request, text| 4.0 * likes_red(request, text));
    // 1e-4 beside the deviation is not scaled.
    assert!(distance(&trained(MethodKind::Grpo, likes_red), &scaled) < 1e-4);
}

#[test]
fn a_group_without_scores_is_left_out_and_counted() {
    for method in SCORED {
        let config = GrpoConfig {
            method,
            prompts_per_step: 3,
            prompts_per_batch: 2,
            max_steps: 1,
            beta: 0.0,
            ..config()
        };
        let failing: fn(&RankRequest, &str) -> f64 = |request, text| {
            if request.example.id == "row-1" { f64::NAN } else { likes_red(request, text) }
        };
        let folder = tempfile::tempdir().unwrap();
        let mut one = online(&config, failing);
        let metrics = run(&mut one, 3, Some(folder.path()), None).unwrap().remove(0);
        assert!(distance(&one.policy, &model()) > 1e-4, "{method:?}: the others are trained on");
        assert!((metrics["reward/failed_groups"] - 1.0).abs() < 1e-12);
        assert!((0.2..0.5).contains(&metrics["reward/skipped_weight"]), "{method:?}");
        let text = std::fs::read_to_string(folder.path().join("completions/step-000001.jsonl"));
        let text = text.unwrap();
        let failed: Vec<&str> = text.lines().filter(|line| line.contains("no number")).collect();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].contains("\"row-1\"") && failed[0].contains("\"advantage\":null"));

        let error = run(&mut online(&config, |_, _| f64::NAN), 3, None, None).unwrap_err();
        assert!(matches!(error, TrainError::NothingScored { groups: 3, .. }), "{error}");
        // Some numbers of a group missing is a failure of the group, not a zero.
        let torn: fn(&RankRequest, &str) -> f64 =
            |_, text| if text.len() % 2 == 0 { f64::NAN } else { f64::INFINITY };
        let error = run(&mut online(&config, torn), 3, None, None).unwrap_err();
        assert!(matches!(error, TrainError::NothingScored { .. }), "{error}");
    }
}

#[test]
fn answers_that_were_cut_off_lose_the_penalty() {
    let config = GrpoConfig {
        method: MethodKind::Grpo,
        max_steps: 1,
        missing_eos_penalty: Some(5.0),
        ..config()
    };
    let folder = tempfile::tempdir().unwrap();
    run(&mut online(&config, |_, _| 1.0), 4, Some(folder.path()), None).unwrap();
    let text = std::fs::read_to_string(folder.path().join("completions/step-000001.jsonl"));
    let mut seen = [0, 0];
    for line in text.unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        for completion in record["completions"].as_array().unwrap() {
            let cut = completion["finish_reason"] == "length";
            let reward = completion["reward"].as_f64().unwrap();
            assert!((reward - if cut { -4.0 } else { 1.0 }).abs() < 1e-12, "{completion}");
            seen[usize::from(cut)] += 1;
        }
    }
    assert!(seen[1] > 0, "an untrained model runs into the limit: {seen:?}");
}

#[test]
fn a_resumed_run_ends_in_the_same_bits_critic_and_all() {
    for (method, trainable) in [
        (MethodKind::Rloo, Trainable::All),
        (MethodKind::Ppo, Trainable::All),
        (MethodKind::Ppo, lora()),
    ] {
        let config = GrpoConfig { method, trainable, save_steps: 2, num_iterations: 2, ..config() };
        let whole_folder = tempfile::tempdir().unwrap();
        let mut whole = online(&config, likes_red);
        let all = run(&mut whole, 5, Some(whole_folder.path()), None).unwrap();

        let folder = tempfile::tempdir().unwrap();
        run(&mut online(&config, likes_red), 5, Some(folder.path()), Some(3)).unwrap();
        let from = checkpoint::latest(folder.path()).unwrap().unwrap();
        truncate_after(&folder.path().join("metrics.jsonl"), from.state.step).unwrap();
        let mut second = online(&config, likes_red);
        second.resume(&from).unwrap();
        let rest = run(&mut second, 5, Some(folder.path()), None).unwrap();

        assert!(bits(&second.policy) == bits(&whole.policy), "{method:?}");
        for (got, expected) in rest.iter().zip(&all[3..]) {
            assert_eq!(timeless(got), timeless(expected), "{method:?}");
        }
        if method == MethodKind::Ppo {
            assert_eq!(critic(folder.path()), critic(whole_folder.path()));
            torn_critic(&config, folder.path());
        }
    }
}

/// The critic's file in the last checkpoint.
fn critic(folder: &Path) -> Vec<u8> {
    let last = checkpoint::latest(folder).expect("it lists").expect("a checkpoint").path;
    std::fs::read(last.join("trainer/critic.safetensors")).expect("the file is there")
}

/// A damaged critic is refused.
fn torn_critic(config: &GrpoConfig, folder: &Path) {
    let from = checkpoint::latest(folder).expect("it lists").expect("a checkpoint");
    let path = from.path.join("trainer/critic.safetensors");
    let mut bytes = std::fs::read(&path).expect("the file is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("the file is there");
    let error = online(config, likes_red).resume(&from).expect_err("it is damaged").to_string();
    assert!(error.contains("critic.safetensors` is damaged"), "{error}");
}

#[test]
fn knobs_that_do_not_go_together_are_refused_by_name() {
    let refused = [
        (
            GrpoConfig { advantage: rlaif_rank::Advantage::Zscore, ..config() },
            "train.method = \"grpo\"",
        ),
        (GrpoConfig { method: MethodKind::Rloo, num_generations: 1, ..config() }, "at least 2"),
        (
            GrpoConfig { method: MethodKind::Ppo, kl_estimator: KlEstimator::Exact, ..config() },
            "train.kl_estimator",
        ),
    ];
    for (config, part) in refused {
        let error = config.check().unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let mut one = GrpoConfig { method: MethodKind::Ppo, num_generations: 1, ..config() };
    assert_eq!(one.check(), Ok(()));
    one.ppo.lam = 1.5;
    assert!(one.check().unwrap_err().contains("train.ppo.lam"));
}

/// PPO's critic reads the policy's prompts: with λ = 1 and a critic of zeros, returns are the scores
/// and the whitened advantage of every token of a response is the same.
#[test]
fn with_a_critic_that_knows_nothing_advantages_are_whitened_scores() {
    let mut config = GrpoConfig {
        method: MethodKind::Ppo,
        max_steps: 1,
        beta: 0.0,
        prompts_per_step: 4,
        ..config()
    };
    config.ppo.lam = 1.0;
    let folder = tempfile::tempdir().unwrap();
    run(&mut online(&config, likes_red), 4, Some(folder.path()), None).unwrap();
    let text = std::fs::read_to_string(folder.path().join("completions/step-000001.jsonl"));
    let (mut rewards, mut advantages) = (Vec::new(), Vec::new());
    for line in text.unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        for completion in record["completions"].as_array().unwrap() {
            let tokens = completion["tokens"].as_u64().unwrap();
            for _ in 0..tokens {
                rewards.push(completion["reward"].as_f64().unwrap());
                advantages.push(completion["advantage"].as_f64().unwrap());
            }
        }
    }
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let var = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
    for (reward, advantage) in rewards.iter().zip(&advantages) {
        let expected = (reward - mean) / (var + 1e-8).sqrt();
        assert!((advantage - expected).abs() < 1e-4, "{advantage} is not {expected}");
    }
}

/// The policy's distance to the reference costs reward: RLOO and PPO stay nearer with a larger β.
#[test]
fn the_divergence_from_the_reference_is_taken_off_the_rewards() {
    for method in [MethodKind::Rloo, MethodKind::Ppo] {
        let kl = |beta| {
            let optim =
                OptimConfig { lr_scheduler_type: Schedule::Constant, ..OptimConfig::default() };
            let config = GrpoConfig {
                method,
                max_steps: 40,
                num_generations: 8,
                beta,
                learning_rate: 1e-2,
                optim,
                trainable: lora(),
                ..config()
            };
            let mut online = online(&config, likes_red);
            let metrics = run(&mut online, 4, None, None).unwrap();
            metrics[39]["objective/kl"]
        };
        let (loose, tight) = (kl(0.01), kl(2.0));
        assert!(loose > 2.0 * tight.max(0.0), "{method:?}: {loose} {tight}");
    }
    // Host tensors of the critic's head are finite from the first step.
    let critic = ScalarVlm::new(model());
    assert!(host(&critic.score).iter().all(|weight| *weight == 0.0));
}
