//! A small model with a few words, prompts about clips, and an Oracle that is told what to like.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use rlaif_data::{Example, Message, VideoMetadata, VideoRef};
use rlaif_model::hf::{ChatTokenizer, ModelConfig, TextConfig, VideoPooling, VisionConfig};
use rlaif_model::{LoadError, Parameters, Vlm};
use rlaif_oracle::{Cancel, Oracle, OracleError, OracleWorker, RankRequest, Verdict};
use rlaif_rank::Ranking;
use rlaif_rollout::{PromptInput, SamplingParams, Visual};
use rlaif_train::metrics::measures_time;
use rlaif_train::{Control, Event, GrpoConfig, Metrics, Online, Prompted, Run, TrainError};
use rlaif_video::Features;

const WORDS: [&str; 12] = [
    "what", "moves", "?", "red", "blue", "green", "circle", "square", "left", "right", "up", "down",
];
const PATCHES: usize = 4;
const VISION: usize = 8;
/// Id of `red`, behind the tokenizer's eight.
pub(crate) const RED: u32 = 8 + 3;

pub(crate) fn tokenizer() -> Arc<ChatTokenizer> {
    Arc::new(ChatTokenizer::word_level(WORDS).expect("words"))
}

/// Random weights, two blocks of width 16, tied head.
pub(crate) fn model() -> Vlm {
    let vision = VisionConfig {
        hidden_size: VISION,
        intermediate_size: 8,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 8,
        patch_size: 4,
        ..VisionConfig::default()
    };
    let text = TextConfig {
        vocab_size: 20,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 4,
        tie_word_embeddings: true,
        ..TextConfig::default()
    };
    let mut config = ModelConfig::new(vision, text, tokenizer().image_token_id());
    config.set_video_pooling(VideoPooling::SpatialTemporal);
    config.validate().expect("a model that can be");
    rlaif_model::init(&config, 11, &Device::flex())
}

pub(crate) fn example(position: usize) -> Example {
    Example {
        id: format!("row-{position}"),
        video: VideoRef::File(format!("{position}.mp4").into()),
        messages: vec![Message::ask("what moves ?")],
        reference: None,
        choices: None,
        category: None,
        narrative: None,
        meta: serde_json::Map::new(),
    }
}

/// A prompt about a clip of two or three frames.
pub(crate) fn input(position: usize) -> PromptInput {
    let frames = 2 + position % 2;
    let question = ["what moves ?", "what moves left ?", "moves up ?"][position % 3];
    let tokens = tokenizer()
        .encode_prompt(
            &[Message::ask(question)],
            &rlaif_model::hf::VideoText::Repeated(frames + PATCHES),
        )
        .expect("the question is of known words");
    let values: Vec<f32> = (0..frames * PATCHES * VISION)
        .map(|i| ((i * 17 + position * 29) % 23) as f32 / 8.0 - 1.4)
        .collect();
    let features = Features {
        shape: vec![frames, 1, PATCHES, VISION],
        values,
        video: VideoMetadata::default(),
    };
    let visual = Some((tokens.visual, Visual::Features(Arc::new(features))));
    PromptInput { ids: tokens.ids, visual, positions: None }
}

pub(crate) fn prompts(len: usize) -> Vec<Arc<Prompted>> {
    let one = |position: usize| Prompted {
        position: position as u64,
        example: example(position),
        input: input(position),
    };
    (0..len).map(|position| Arc::new(one(position))).collect()
}

/// Small steps on everything, two prompts of four answers of at most five tokens.
pub(crate) fn config() -> GrpoConfig {
    GrpoConfig {
        num_generations: 4,
        prompts_per_step: 2,
        prompts_per_batch: 2,
        max_steps: 6,
        learning_rate: 3e-3,
        sampling: SamplingParams { max_completion_length: 5, ..SamplingParams::default() },
        ..GrpoConfig::default()
    }
}

type Score = Box<dyn Fn(&RankRequest, &str) -> f64 + Send + Sync>;

/// Orders answers by a table: a number for every text, `NaN` for a group it fails on.
pub(crate) struct ByTable(Score);

impl ByTable {
    pub(crate) fn new(
        score: impl Fn(&RankRequest, &str) -> f64 + Send + Sync + 'static,
    ) -> ByTable {
        ByTable(Box::new(score))
    }

    pub(crate) fn likes_red() -> ByTable {
        ByTable::new(|_, text| taste(text))
    }
}

/// The more often `red`, the better; among equals, the longer.
pub(crate) fn taste(text: &str) -> f64 {
    let red = text.split(' ').filter(|word| *word == "red").count();
    (100 * red + text.len()) as f64
}

impl Oracle for ByTable {
    fn name(&self) -> &'static str {
        "by table"
    }

    fn rank(&self, requests: &[RankRequest], _: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let one = |request: &RankRequest| {
            let scores: Vec<f64> =
                request.candidates.iter().map(|text| (self.0)(request, text)).collect();
            if scores.iter().any(|score| score.is_nan()) {
                return Err(OracleError::Reported {
                    oracle: "by table".to_owned(),
                    example: request.example.id.clone(),
                    message: "I cannot tell".to_owned(),
                });
            }
            let ranking = Ranking::from_scores(&scores).expect("finite scores");
            Ok(Verdict::new(ranking, Duration::from_millis(3)))
        };
        requests.iter().map(one).collect()
    }
}

pub(crate) fn grpo(config: &GrpoConfig, oracle: ByTable) -> Online {
    let worker = OracleWorker::start(Box::new(oracle), &Cancel::new()).expect("a thread");
    Online::grpo_rank(model(), config.clone(), tokenizer(), worker).expect("the knobs are in range")
}

/// Writes the model's own files, as the command line does.
pub(crate) fn save(model: &Vlm, folder: &Path) -> Result<(), LoadError> {
    rlaif_model::save(model, folder)
}

/// Runs `train` with a listener that keeps the metrics of the steps, and asks to stop after one.
pub(crate) fn record(
    folder: Option<&Path>,
    stop_after: Option<u64>,
    train: impl FnOnce(&mut Run<'_>) -> Result<bool, TrainError>,
) -> Result<Vec<Metrics>, TrainError> {
    let control = Control::default();
    let mut recorded = Vec::new();
    let mut listen = |event: Event<'_>| {
        if let Event::Step { step, metrics, .. } = event {
            recorded.push(metrics.clone());
            if Some(step) == stop_after {
                control.stop();
            }
        }
    };
    let mut run = Run {
        folder: folder.map(Path::to_path_buf),
        control: control.clone(),
        listen: &mut listen,
    };
    let reached_the_end = train(&mut run)?;
    assert_eq!(reached_the_end, stop_after.is_none());
    Ok(recorded)
}

/// Trains over the first `len` prompts, asks to stop after step `stop_after`, and returns the
/// metrics of the steps.
pub(crate) fn run(
    grpo: &mut Online,
    len: usize,
    folder: Option<&Path>,
    stop_after: Option<u64>,
) -> Result<Vec<Metrics>, TrainError> {
    let prompts = prompts(len);
    record(folder, stop_after, |run| grpo.train(len, &|i| Ok(prompts[i].clone()), run, &save))
}

pub(crate) fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Name and values of every weight.
pub(crate) fn weights(model: &Vlm) -> Vec<(String, Vec<f32>)> {
    let mut out = Vec::new();
    model.read(|name, slot| out.push((name.to_owned(), host(&slot.flat()))));
    out
}

/// The same as bits, for comparisons that allow nothing.
pub(crate) fn bits(model: &Vlm) -> Vec<(String, Vec<u32>)> {
    let of =
        |(name, values): (String, Vec<f32>)| (name, values.into_iter().map(f32::to_bits).collect());
    weights(model).into_iter().map(of).collect()
}

/// The largest difference between two models' weights.
pub(crate) fn distance(a: &Vlm, b: &Vlm) -> f32 {
    let (a, b) = (weights(a), weights(b));
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(&b).flat_map(|((_, a), (_, b))| a.iter().zip(b));
    pairs.fold(0.0, |m, (a, b)| {
        let d = (a - b).abs();
        if d.is_nan() { f32::INFINITY } else { m.max(d) }
    })
}

/// Metrics without those that measure the clock.
pub(crate) fn timeless(metrics: &Metrics) -> Vec<(String, u64)> {
    let kept = metrics.iter().filter(|(name, _)| !measures_time(name));
    kept.map(|(name, value)| (name.clone(), value.to_bits())).collect()
}
