//! What learns from preference pairs: DPO and reward models.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Tensor;
use rlaif_model::{LoadError, LoraConfig, ScalarVlm};
use rlaif_rollout::{Pass, Reads, encode, response_hidden, score};
use rlaif_train::metrics::truncate_after;
use rlaif_train::reward_model::{ScoredItem, scores};
use rlaif_train::{
    Dpo, DpoConfig, Metrics, RewardModelConfig, RewardTraining, Run, SftItem, SftTurn, Trainable,
    checkpoint,
};

use crate::support::{bits, distance, host, input, model, record, save, timeless, tokenizer};

fn lora() -> Trainable {
    Trainable::Lora(LoraConfig { r: 4, lora_alpha: 8.0, ..LoraConfig::default() })
}

fn turn(answer: &str) -> SftTurn {
    SftTurn { ids: tokenizer().encode_answer(answer).expect("known words"), answer_from: 0 }
}

const PAIRS: [[&str; 2]; 4] =
    [["red circle", "blue"], ["red", "up up"], ["red square", "down left"], ["red", "green"]];

pub(crate) fn pairs() -> Vec<Arc<SftItem>> {
    let item = |(position, [chosen, rejected]): (usize, &[&str; 2])| SftItem {
        shared: input(position),
        turns: vec![turn(chosen), turn(rejected)],
    };
    PAIRS.iter().enumerate().map(item).map(Arc::new).collect()
}

/// The same pairs as a reward model reads them: answer, then a request for a grade.
pub(crate) fn scored() -> Vec<Arc<ScoredItem>> {
    let ids = |answer: &str| {
        let mut ids = tokenizer().encode_answer(answer).expect("known words");
        ids.extend(tokenizer().encode_continuation("what moves ?").expect("known words"));
        ids
    };
    let item = |(position, [chosen, rejected]): (usize, &[&str; 2])| ScoredItem {
        shared: input(position),
        continuations: vec![ids(chosen), ids(rejected)],
    };
    PAIRS.iter().enumerate().map(item).map(Arc::new).collect()
}

pub(crate) fn dpo_config(trainable: Trainable) -> DpoConfig {
    DpoConfig {
        batch_size: 3,
        pairs_per_batch: 2,
        max_steps: 6,
        learning_rate: 1e-2,
        save_steps: 2,
        trainable,
        ..DpoConfig::default()
    }
}

fn dpo(config: &DpoConfig) -> Dpo {
    Dpo::new(model(), config.clone(), tokenizer().forbidden_ids().to_vec()).expect("in range")
}

fn train_dpo(dpo: &mut Dpo, folder: Option<&Path>, stop: Option<u64>) -> Vec<Metrics> {
    let pairs = pairs();
    let train = |run: &mut Run<'_>| dpo.train(pairs.len(), &|i| Ok(pairs[i].clone()), run, &save);
    record(folder, stop, train).expect("it trains")
}

#[test]
fn dpo_prefers_the_chosen_answers_after_a_few_steps() {
    for trainable in [Trainable::All, lora()] {
        let config = DpoConfig { max_steps: 30, ..dpo_config(trainable) };
        let mut dpo = dpo(&config);
        let metrics = train_dpo(&mut dpo, None, None);
        // The policy is the reference at the start: the loss is ln 2, the rewards are zero.
        assert!((metrics[0]["loss"] - std::f64::consts::LN_2).abs() < 1e-6);
        assert!(metrics[0]["rewards/margins"].abs() < 1e-6);
        let last = &metrics[29];
        assert!(last["loss"] < 0.4, "{}", last["loss"]);
        assert!((last["rewards/accuracies"] - 1.0).abs() < 1e-12);
        assert!(distance(&dpo.reference, &model()) == 0.0);
    }
}

/// The log-probabilities that the loss is made of are those of each answer on its own.
#[test]
fn dpo_sums_the_log_probabilities_of_whole_answers() {
    let config =
        DpoConfig { batch_size: 4, pairs_per_batch: 4, max_steps: 1, ..dpo_config(lora()) };
    let metrics = train_dpo(&mut dpo(&config), None, None).remove(0);
    let forbidden = tokenizer().forbidden_ids().to_vec();
    let alone = |side: usize| -> f64 {
        let of = |(position, pair): (usize, &[&str; 2])| {
            let model = model();
            let prefix = encode(&model, &[&input(position)]);
            let ids = tokenizer().encode_answer(pair[side]).expect("known words");
            let stats = score(&model, &prefix, &[(0, &ids)], &forbidden);
            host(&stats.logprobs).into_iter().map(f64::from).sum::<f64>()
        };
        PAIRS.iter().enumerate().map(of).sum::<f64>() / 4.0
    };
    assert!((metrics["logps/chosen"] - alone(0)).abs() < 1e-4);
    assert!((metrics["logps/rejected"] - alone(1)).abs() < 1e-4);
}

#[test]
fn a_resumed_dpo_run_ends_in_the_same_bits() {
    let config = dpo_config(lora());
    let mut whole = dpo(&config);
    let all = train_dpo(&mut whole, None, None);
    let folder = tempfile::tempdir().unwrap();
    train_dpo(&mut dpo(&config), Some(folder.path()), Some(3));
    let from = checkpoint::latest(folder.path()).unwrap().unwrap();
    truncate_after(&folder.path().join("metrics.jsonl"), from.state.step).unwrap();
    let mut second = dpo(&config);
    second.resume(&from).unwrap();
    let rest = train_dpo(&mut second, Some(folder.path()), None);
    assert!(bits(&second.policy) == bits(&whole.policy));
    assert_eq!(timeless(&rest[2]), timeless(&all[5]));
}

pub(crate) fn reward_config(trainable: Trainable) -> RewardModelConfig {
    RewardModelConfig {
        batch_size: 3,
        pairs_per_batch: 2,
        max_steps: 6,
        learning_rate: 1e-2,
        save_steps: 2,
        trainable,
        ..RewardModelConfig::default()
    }
}

fn train_reward(
    work: &mut RewardTraining,
    folder: Option<&Path>,
    stop: Option<u64>,
) -> Vec<Metrics> {
    let pairs = scored();
    let save = |model: &ScalarVlm, path: &Path| -> Result<(), LoadError> { model.save(path) };
    let train = |run: &mut Run<'_>| work.train(pairs.len(), &|i| Ok(pairs[i].clone()), run, &save);
    record(folder, stop, train).expect("it trains")
}

#[test]
fn a_reward_model_scores_the_chosen_answers_higher_after_a_few_steps() {
    for trainable in [Trainable::All, lora()] {
        let config = RewardModelConfig { max_steps: 40, ..reward_config(trainable) };
        let mut work = RewardTraining::new(model(), config).unwrap();
        let metrics = train_reward(&mut work, None, None);
        // A head of zeros scores everything zero.
        assert!((metrics[0]["loss"] - std::f64::consts::LN_2).abs() < 1e-6);
        assert!(metrics[0]["accuracy"].abs() < 1e-12);
        let last = &metrics[39];
        assert!((last["accuracy"] - 1.0).abs() < 1e-12, "{last:?}");
        assert!(last["loss"] < 0.3, "{last:?}");
    }
}

/// A score is read at the last token: equal to the state that would predict the next one, and
/// blind to what else is in the batch.
#[test]
fn a_score_is_read_after_the_last_token_whatever_stands_beside_it() {
    let mut work = RewardTraining::new(model(), reward_config(Trainable::All)).unwrap();
    train_reward(&mut work, None, None);
    let together = host(&scores(&work.model, &scored()));
    for (index, item) in scored().iter().enumerate() {
        for (side, ids) in item.continuations.iter().enumerate() {
            let prefix = encode(&work.model.vlm, &[&item.shared]);
            let mut longer = ids.clone();
            longer.push(9);
            let states = response_hidden(&work.model.vlm, &prefix, &[(0, &longer)]);
            let last: Tensor<2> = states.narrow(0, longer.len() - 1, 1);
            let alone = host(&work.model.read(last))[0];
            assert!((together[2 * index + side] - alone).abs() < 1e-5);
            let direct =
                Pass::after(&work.model.vlm, &prefix, &[(0, ids)], Reads::AfterLast).hidden;
            assert!((host(&work.model.read(direct))[0] - alone).abs() < 1e-6);
        }
    }
}

#[test]
fn a_resumed_reward_model_ends_in_the_same_bits_and_comes_back_from_its_folder() {
    for trainable in [Trainable::All, lora()] {
        let config = reward_config(trainable);
        let mut whole = RewardTraining::new(model(), config.clone()).unwrap();
        train_reward(&mut whole, None, None);
        let folder = tempfile::tempdir().unwrap();
        let mut first = RewardTraining::new(model(), config.clone()).unwrap();
        train_reward(&mut first, Some(folder.path()), Some(3));
        let from = checkpoint::latest(folder.path()).unwrap().unwrap();
        let mut second = RewardTraining::new(model(), config).unwrap();
        second.resume(&from).unwrap();
        train_reward(&mut second, Some(folder.path()), None);
        let of = |work: &RewardTraining| (bits(&work.model.vlm), host(&work.model.score));
        assert!(of(&second) == of(&whole));

        let merged = whole.model.merged();
        let out = tempfile::tempdir().unwrap();
        merged.save(out.path()).unwrap();
        let again = ScalarVlm::load(out.path(), &merged.vlm.device()).unwrap();
        assert!(host(&scores(&again, &scored())) == host(&scores(&merged, &scored())));
        std::fs::remove_dir_all(out.path().join("score")).unwrap();
        assert!(ScalarVlm::load(out.path(), &merged.vlm.device()).is_err(), "no head, no model");
    }
}
