//! A judge that has learned something orders by it.

use std::sync::Arc;

use burn::tensor::Device;
use oracle_rlaif::folder::{Folder, world_clips};
use oracle_rlaif::local_judge::{LikelihoodOracle, LocalModel, ModelOracleConfig};
use oracle_rlaif::recipe::{ClipWorldModel, Questions, VideoConfig, WorldSource};
use oracle_rlaif::source::{by_video, sft_item, world_rows};
use rlaif_data::Example;
use rlaif_model::Vlm;
use rlaif_oracle::{Cancel, Oracle as _, RankRequest};
use rlaif_train::batch::vocabulary;
use rlaif_train::optim::OptimConfig;
use rlaif_train::run::{Control, Event};
use rlaif_train::{Run, Sft, SftConfig, SftItem, TrainError, Trainable};

const CATEGORIES: [&str; 2] = ["attribute_perception", "object_recognition"];

/// Questions of one split about what a single look tells.
fn rows(split: &str, clips: u64) -> Vec<Example> {
    let source = WorldSource {
        split: split.to_owned(),
        clips,
        first: 0,
        seed: 0,
        max_objects: 1,
        questions: Questions::All,
        questions_per_clip: 0,
    };
    let mut rows = world_rows(&source).expect("rows");
    rows.retain(|row| row.category.as_deref().is_some_and(|name| CATEGORIES.contains(&name)));
    rows
}

/// A few dozen steps of supervised fine-tuning from random weights.
fn trained(folder: &Folder) -> Vlm {
    let rows = rows("train", 2400);
    let groups = by_video(&rows);
    let builder = folder.builder(&VideoConfig::default(), world_clips(), 0).expect("a builder");
    let items = |position: usize| -> Result<Arc<SftItem>, TrainError> {
        let members: Vec<&Example> = groups[position].iter().map(|row| &rows[*row]).collect();
        Ok(Arc::new(sft_item(&folder.model, &builder, &members, true).expect("an item")))
    };
    let config = SftConfig {
        batch_size: 16,
        clips_per_batch: 16,
        max_steps: 150,
        learning_rate: 2e-3,
        trainable: Trainable::Everything,
        optim: OptimConfig { adam_beta2: 0.95, warmup_ratio: 0.05, ..OptimConfig::default() },
        ..SftConfig::default()
    };
    let forbidden = vocabulary(&folder.tokenizer, &folder.model).forbidden;
    let mut sft = Sft::new(folder.model.clone(), config, forbidden).expect("full weights");
    let mut listen = |_: Event<'_>| {};
    let mut run = Run { folder: None, control: Control::default(), listen: &mut listen };
    let whole = sft.train(groups.len(), &items, &mut run, &|_, _| Ok(())).expect("it trains");
    assert!(whole);
    sft.policy
}

/// For each held-out question, by how many of its three wrong options the right one is preferred,
/// from 0 to 1.
fn preferred(model: Vlm, folder: &Folder, calibrate: bool) -> Vec<f64> {
    let config = ModelOracleConfig { calibrate, ..ModelOracleConfig::new("made here") };
    let folder = Folder {
        model,
        tokenizer: folder.tokenizer.clone(),
        processor: folder.processor.clone(),
        generation: folder.generation.clone(),
        path: None,
        opened: None,
    };
    let judge = LocalModel::of(&folder, &config, &VideoConfig::default()).expect("a judge");
    let oracle = LikelihoodOracle::new(Arc::new(judge), &config).expect("settings in range");
    let rows = rows("test", 120);
    let (requests, right): (Vec<RankRequest>, Vec<usize>) = rows
        .chunks(2)
        .map(|pair| {
            // Asked openly, with the options of the same question as answers.
            let choices = pair[1].choices.clone().expect("options");
            let request = RankRequest { example: pair[0].clone(), candidates: choices.options };
            (request, choices.answer)
        })
        .unzip();
    let verdicts = oracle.rank(&requests, &Cancel::new());
    let share = |(verdict, right): (Result<rlaif_oracle::Verdict, _>, usize)| {
        let ranking = verdict.expect("a verdict").ranking;
        let wrong = (0..4).filter(|option| *option != right);
        let above =
            wrong.filter(|option| ranking.levels()[right] < ranking.levels()[*option]).count();
        above as f64 / 3.0
    };
    verdicts.into_iter().zip(right).map(share).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Chance is one half. With some 200 questions the mean of the paired differences has a standard
/// error of about 0.03 (options of one question are not independent).
#[test]
fn a_trained_judge_prefers_right_answers_on_clips_that_it_never_saw() {
    let size = ClipWorldModel {
        hidden_size: 64,
        num_hidden_layers: 2,
        vision_hidden_size: 64,
        vision_layers: 2,
        ..ClipWorldModel::default()
    };
    let folder = Folder::clip_world(&size, 11, &Device::flex()).expect("the sizes fit");
    let before = preferred(folder.model.clone(), &folder, false);
    let policy = trained(&folder);
    let after = preferred(policy.clone(), &folder, false);
    let calibrated = preferred(policy, &folder, true);
    assert!(before.len() >= 100, "{}", before.len());
    for after in [after, calibrated] {
        let gains: Vec<f64> = before.iter().zip(&after).map(|(b, a)| a - b).collect();
        let gain = mean(&gains);
        let spread = gains.iter().map(|g| (g - gain).powi(2)).sum::<f64>() / gains.len() as f64;
        let error = (spread / gains.len() as f64).sqrt();
        assert!(mean(&after) > 0.65 && gain > 4.0 * error, "{} {gain} {error}", mean(&after));
    }
}
