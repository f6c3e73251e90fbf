//! Supervised runs: the loss is the likelihood, shared beginnings change nothing, resumed runs end
//! in the same bits.

use std::path::Path;
use std::sync::Arc;

use rlaif_model::LoraConfig;
use rlaif_rollout::{encode, score};
use rlaif_train::metrics::truncate_after;
use rlaif_train::optim::OptimConfig;
use rlaif_train::{Metrics, Sft, SftConfig, SftItem, SftTurn, TrainError, Trainable, checkpoint};

use crate::support::{bits, distance, host, input, model, record, save, timeless, tokenizer};

fn turn(question: &[u32], answer: &str) -> SftTurn {
    let mut ids = question.to_vec();
    let answer_from = ids.len();
    ids.extend(tokenizer().encode_answer(answer).expect("known words"));
    SftTurn { ids, answer_from }
}

/// Clips with two questions each, the second of which has a rest of its own before its answer.
pub(crate) fn items() -> Vec<Arc<SftItem>> {
    let answers = [["red circle", "left"], ["blue square", "up"], ["green", "down right"]];
    let item = |position: usize| {
        let [first, second] = answers[position % 3];
        let turns = vec![turn(&[], first), turn(&[9, 10, 7], second)];
        Arc::new(SftItem { shared: input(position), turns })
    };
    (0..5).map(item).collect()
}

pub(crate) fn config() -> SftConfig {
    SftConfig {
        batch_size: 2,
        max_steps: 6,
        learning_rate: 1e-2,
        save_steps: 2,
        ..SftConfig::default()
    }
}

fn sft(config: &SftConfig) -> Sft {
    Sft::new(model(), config.clone(), tokenizer().forbidden_ids().to_vec()).expect("full weights")
}

pub(crate) fn run(
    sft: &mut Sft,
    items: &[Arc<SftItem>],
    folder: Option<&Path>,
    stop_after: Option<u64>,
) -> Result<Vec<Metrics>, TrainError> {
    record(folder, stop_after, |run| sft.train(items.len(), &|i| Ok(items[i].clone()), run, &save))
}

/// Mean over the answers' tokens of what `score` gives them, each prompt and turn by itself.
fn likelihood(items: &[Arc<SftItem>]) -> f64 {
    let model = model();
    let (mut sum, mut tokens) = (0.0, 0);
    for item in items {
        for turn in &item.turns {
            let mut prompt = item.shared.clone();
            let (question, answer) = turn.ids.split_at(turn.answer_from);
            prompt.ids.extend_from_slice(question);
            let prefix = encode(&model, &[&prompt]);
            let stats = score(&model, &prefix, &[(0, answer)], tokenizer().forbidden_ids());
            sum += host(&stats.logprobs).iter().map(|lp| f64::from(*lp)).sum::<f64>();
            tokens += answer.len();
        }
    }
    -sum / tokens as f64
}

#[test]
fn the_first_loss_is_the_mean_likelihood_of_the_answers_and_it_falls() {
    let items = items();
    let config = SftConfig { batch_size: 5, max_steps: 30, ..config() };
    let metrics = run(&mut sft(&config), &items, None, None).unwrap();
    let expected = likelihood(&items);
    assert!(expected > 1.0);
    // A mean over some twenty f32 log-probabilities.
    assert!((metrics[0]["loss"] - expected).abs() < 1e-5, "{} {expected}", metrics[0]["loss"]);
    // Answer tokens with their ends: 3 + 2, 3 + 2, 2 + 3 of three kinds of clips, five clips.
    assert!((metrics[0]["num_tokens"] - 25.0).abs() < 1e-9);
    assert!(metrics[29]["loss"] < 0.3 * metrics[0]["loss"], "{}", metrics[29]["loss"]);
    for name in ["loss", "entropy", "grad_norm", "learning_rate", "num_tokens", "step_time"] {
        assert!(metrics.iter().all(|step| step[name].is_finite()), "{name}");
    }
}

#[test]
fn gradients_accumulate_to_the_same_weights_however_the_clips_are_batched() {
    let items = items();
    let of = |clips_per_batch| {
        // A loss that is smooth in the gradient: see `smooth` beside the same test of `Online`.
        let optim = OptimConfig { adam_epsilon: 1e-3, ..config().optim };
        let config = SftConfig { batch_size: 5, clips_per_batch, optim, save_steps: 0, ..config() };
        let mut sft = sft(&config);
        let metrics = run(&mut sft, &items, None, None).unwrap();
        assert!(distance(&sft.policy, &model()) > 1e-3, "it has trained");
        (sft.policy, metrics)
    };
    let (whole, metrics) = of(5);
    for clips_per_batch in [1, 2] {
        let (parts, same) = of(clips_per_batch);
        // Weights that moved by some 1e-2, compared to a thousandth of that.
        assert!(distance(&whole, &parts) < 1e-5, "batches of {clips_per_batch}");
        for name in ["loss", "entropy", "num_tokens"] {
            assert!((metrics[0][name] - same[0][name]).abs() < 1e-5, "{name}");
        }
    }
}

/// Two questions on one prefix, against the same two as items of their own. The prompt token
/// that is repeated must weigh nothing.
#[test]
fn a_shared_beginning_trains_as_its_conversations_one_by_one() {
    let shared = items();
    let apart: Vec<Arc<SftItem>> = shared
        .iter()
        .flat_map(|item| {
            item.turns
                .iter()
                .map(|turn| SftItem { shared: item.shared.clone(), turns: vec![turn.clone()] })
        })
        .map(Arc::new)
        .collect();
    let train = |items: &[Arc<SftItem>]| {
        // One whole epoch; smooth in gradients that are rounding.
        let optim = OptimConfig { adam_epsilon: 1e-3, ..config().optim };
        let config = SftConfig { batch_size: items.len(), max_steps: 1, optim, ..config() };
        let mut sft = sft(&config);
        let metrics = run(&mut sft, items, None, None).unwrap().remove(0);
        (sft.policy, metrics)
    };
    let ((a, a_metrics), (b, b_metrics)) = (train(&shared), train(&apart));
    assert!((a_metrics["loss"] - b_metrics["loss"]).abs() < 1e-5);
    assert!((a_metrics["grad_norm"] - b_metrics["grad_norm"]).abs() < 1e-4);
    let difference = distance(&a, &b);
    assert!(difference < 1e-5 && distance(&a, &model()) > 1e-3, "{difference}");
}

#[test]
fn a_resumed_run_ends_in_the_same_bits_as_one_that_was_never_stopped() {
    let lora = Trainable::Lora(LoraConfig { r: 2, ..LoraConfig::default() });
    for trainable in [Trainable::All, lora] {
        let config = SftConfig { trainable, ..config() };
        let whole_folder = tempfile::tempdir().unwrap();
        let mut whole = sft(&config);
        let expected = run(&mut whole, &items(), Some(whole_folder.path()), None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        run(&mut sft(&config), &items(), Some(folder.path()), Some(4)).unwrap();

        let mut second = sft(&config);
        let from = checkpoint::latest(folder.path()).unwrap().unwrap();
        assert_eq!(from.state.step, 4);
        truncate_after(&folder.path().join("metrics.jsonl"), 4).unwrap();
        second.resume(&from).unwrap();
        let got = run(&mut second, &items(), Some(folder.path()), None).unwrap();
        assert!(bits(&second.policy) == bits(&whole.policy));
        assert_eq!(got.len(), 2);
        for (got, expected) in got.iter().zip(&expected[4..]) {
            assert_eq!(timeless(got), timeless(expected));
        }
        let lines = |folder: &Path| {
            let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
            let line = |line: &str| timeless(&serde_json::from_str(line).unwrap());
            text.lines().map(line).collect::<Vec<_>>()
        };
        assert_eq!(lines(folder.path()), lines(whole_folder.path()));

        let mut other = sft(&SftConfig { seed: 7, ..config.clone() });
        let message = other.resume(&from).unwrap_err().to_string();
        assert!(message.contains("seed 42, the recipe says 7"), "{message}");
    }
}

#[test]
fn only_the_newest_checkpoints_are_kept() {
    for (limit, expected) in [(2, vec![4, 6]), (1, vec![6]), (0, vec![2, 4, 6])] {
        let config = SftConfig { save_total_limit: limit, ..config() };
        let folder = tempfile::tempdir().unwrap();
        run(&mut sft(&config), &items(), Some(folder.path()), None).unwrap();
        let kept: Vec<u64> =
            (1..=6).filter(|n| folder.path().join(format!("checkpoint-{n}")).exists()).collect();
        assert_eq!(kept, expected, "limit {limit}");
    }
}

/// Everything is trained, or all but the tower, or adapters alone.
#[test]
fn each_choice_of_weights_moves_those_and_no_others() {
    let lora = Trainable::Lora(LoraConfig { r: 2, ..LoraConfig::default() });
    for trainable in [Trainable::Everything, Trainable::All, lora] {
        let config = SftConfig { max_steps: 2, trainable: trainable.clone(), ..config() };
        let mut sft = sft(&config);
        let before = bits(&sft.policy);
        run(&mut sft, &items(), None, None).unwrap();
        let mut moved = 0;
        for ((name, before), (_, after)) in before.iter().zip(bits(&sft.policy)) {
            if *before != after {
                assert!(trainable.trains(name), "{name} moved under {trainable:?}");
                moved += 1;
            } else if trainable.trains(name) {
                // Features were handed in: the tower is in no graph here.
                assert!(name.starts_with("vision_tower."), "{name} stood still");
            }
        }
        assert!(moved >= 20, "{trainable:?}: {moved}");
    }
}
