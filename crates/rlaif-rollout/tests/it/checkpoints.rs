//! From a video to answers and gradients with checkpoints that `transformers` wrote, through the
//! same doors as the commands: processor, prompt builder, group pass. The folders and their golden
//! values are those of rlaif-model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use rlaif_data::{Clip, Example, Frame, Message, VideoMetadata, VideoRef};
use rlaif_model::hf::{ChatTokenizer, canonical_name};
use rlaif_model::{Parameters, Vlm, attach_adapter};
use rlaif_rollout::{
    Pass, PromptBuilder, PromptInput, Reads, SampleRequest, SamplingParams, Vocabulary, encode,
    sample, score,
};
use rlaif_video::{FeatureCache, FrameProcessor, Loader, Sampling};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{F32_SUMS, assert_close, host};

const FIXTURES: [&str; 4] = ["smolvlm-a", "smolvlm-b", "qwen2_5-vl-a", "qwen2_5-vl-b"];

struct Fixture {
    folder: PathBuf,
    tensors: Vec<u8>,
    document: Value,
}

impl Fixture {
    fn open(name: &str) -> Fixture {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures");
        let folder = fixtures.join(name);
        let document = std::fs::read(folder.join("golden.json")).expect("golden.json");
        Fixture {
            tensors: std::fs::read(folder.join("golden.safetensors")).expect("golden values"),
            document: serde_json::from_slice(&document).expect("JSON"),
            folder,
        }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.tensors).expect("it is whole")
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let file = self.file();
        let data = file.tensor(name).expect(name).data();
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        let file = self.file();
        let data = file.tensor(name).expect(name).data();
        let ids = data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        ids.map(|id| u32::try_from(id).expect("a token id")).collect()
    }

    /// A builder as the commands make it; `world:` addresses are numbers of golden prompts, whose
    /// videos are the scripts' synthetic ones, every frame of them.
    fn builder(&self) -> PromptBuilder {
        let processor = FrameProcessor::from_folder(&self.folder).expect("the processor");
        let prompts = self.document["prompts"].clone();
        PromptBuilder {
            tokenizer: Arc::new(ChatTokenizer::open(&self.folder).expect("the tokenizer")),
            sampling: processor.sampling().expect("a rule of its own"),
            processor,
            loader: Loader::default(),
            world: Box::new(move |address: &str| {
                let index: usize = address.parse().map_err(|_| "no number".to_owned())?;
                Ok(synthetic(&prompts[index]["video"]))
            }),
            cache: FeatureCache::in_memory(1 << 24),
            tower_digest: String::new(),
            max_completion_length: 16,
        }
    }

    fn example(&self, index: usize) -> Example {
        let messages: Vec<Message> =
            serde_json::from_value(self.document["prompts"][index]["messages"].clone())
                .expect("messages");
        Example {
            id: index.to_string(),
            video: VideoRef::World(index.to_string()),
            messages,
            reference: None,
            choices: None,
            category: None,
            narrative: None,
            meta: serde_json::Map::new(),
        }
    }
}

/// The videos of the scripts that made the fixtures, whole.
fn synthetic(video: &Value) -> Clip {
    let number = |key: &str| usize::try_from(video[key].as_u64().expect(key)).expect(key);
    let (width, height, frames) = (number("width"), number("height"), number("frames"));
    let frame = |t: usize| {
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                for c in 0..3 {
                    let wave = (x * (7 + c) + y * (3 + 2 * c) + t * 31 + c * 57) % 192;
                    let noise = ((x * 73 + y * 151 + t * 199 + c * 83) * (x + 2 * y + 5)) % 61;
                    rgb.push(u8::try_from(wave + noise).expect("below 253"));
                }
            }
        }
        let side = |pixels| u32::try_from(pixels).expect("small");
        Frame { width: side(width), height: side(height), rgb }
    };
    let metadata =
        VideoMetadata::new(frames, video["fps"].as_f64().expect("fps"), (0..frames).collect());
    Clip {
        frames: (0..frames).map(frame).collect(),
        timestamps: metadata.timestamps(),
        digest: video.to_string(),
        video: metadata,
    }
}

fn prompts(fixture: &Fixture, model: &Vlm) -> [PromptInput; 2] {
    let builder = fixture.builder();
    [0, 1].map(|index| builder.prompt(model, &fixture.example(index)).expect("a prompt"))
}

#[test]
fn a_video_and_a_question_become_the_processors_tokens_and_the_models_answers() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let model = rlaif_model::load(&fixture.folder, &Device::flex()).expect("the model");
        let [first, second] = prompts(&fixture, &model);
        assert_eq!(first.ids, fixture.ids("ids"), "{name}");
        assert_eq!(second.ids, fixture.ids("second.ids"), "{name}");

        // Both prompts packed, several answers each: the first is the golden one.
        let prefix = encode(&model, &[&first, &second]);
        let expected = fixture.ids("greedy");
        let greedy = SamplingParams {
            temperature: 0.0,
            max_completion_length: expected.len(),
            ..SamplingParams::default()
        };
        let requests = [0, 1, 0].map(|prompt| SampleRequest { prompt, seed: 1 });
        let got = sample(&model, &prefix, &requests, &greedy, &Vocabulary::default());
        assert_eq!(got[0].token_ids, expected, "{name}");
        assert_eq!(got[2].token_ids, expected, "{name}");
        let logprobs = fixture.floats("greedy_logprobs");
        assert_close(&got[0].logprobs, &logprobs, F32_SUMS, name);
        let stats = score(&model, &prefix, &[(0, &expected), (1, &got[1].token_ids)], &[]);
        assert_close(&host(&stats.logprobs)[..expected.len()], &logprobs, F32_SUMS, name);
    }
}

/// Clips of an odd number of frames, packed as a trained tower sees them, against each alone from the
/// cache: no step in time holds frames of two clips.
#[test]
fn clips_of_odd_length_stay_apart() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let model = rlaif_model::load(&fixture.folder, &Device::flex()).expect("the model");
        let builder =
            PromptBuilder { sampling: Sampling::Uniform { frames: 3 }, ..fixture.builder() };
        let example = fixture.example(0);
        let frames = |_| {
            let shown = builder.frames(&model, &example.video).expect("frames");
            builder.prompt_about(&model, example.prompt(), shown).expect("a prompt")
        };
        let [first, second] = [0, 1].map(frames);
        let cached = builder.prompt(&model, &example).expect("a prompt");
        assert_eq!((&first.ids, &first.positions), (&cached.ids, &cached.positions), "{name}");
        let alone = host(&encode(&model, &[&cached]).last_hidden);
        let packed = host(&encode(&model, &[&first, &second]).last_hidden);
        assert_close(&packed, &[alone.clone(), alone].concat(), F32_SUMS, name);
    }
}

/// The loss of an answer through the training pass, checkpointed and not, against PEFT's gradients.
#[test]
fn the_training_pass_gives_the_gradients_of_peft() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let mut model = rlaif_model::load(&fixture.folder, &Device::flex()).expect("the model");
        attach_adapter(&mut model, fixture.folder.join("adapter")).expect("the adapter");
        let [prompt, other] = prompts(&fixture, &model);
        let whole = fixture.ids("lora.ids");
        let answer = &whole[prompt.ids.len()..];
        for checkpointing in [false, true] {
            let tracked = model.tracked(|name| name.contains(".lora_"));
            // Another prompt in the pass, whose answer weighs nothing.
            let responses = [(0, answer), (1, answer)];
            let pass = Pass::new(
                &tracked,
                &[&prompt, &other],
                &responses,
                Reads::EachToken,
                checkpointing,
            );
            let targets: Vec<i64> =
                [answer, answer].concat().iter().map(|id| i64::from(*id)).collect();
            let device = pass.hidden.device();
            let targets = Tensor::from_data(targets.as_slice(), &device);
            let head = tracked.decoder.head();
            let stats = rlaif_ops::token_logprobs(pass.hidden.clone(), head, targets, &[]);
            let share = 1.0 / answer.len() as f32;
            let weights = [vec![share; answer.len()], vec![0.0; answer.len()]].concat();
            let loss =
                -(stats.logprobs * Tensor::<1>::from_data(weights.as_slice(), &device)).sum();
            let expected = fixture.floats("lora.loss")[0];
            assert!((host(&loss)[0] - expected).abs() < F32_SUMS, "{name}");
            let gradients = pass.gradients(&tracked, &loss);
            let file = fixture.file();
            let keys: Vec<&str> =
                file.names().into_iter().filter(|key| key.starts_with("lora.grad.")).collect();
            assert!(keys.len() >= 28 && gradients.len() == keys.len(), "{name}");
            for key in keys {
                let expected = fixture.floats(key);
                let scale = expected.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
                let module = canonical_name(key.trim_start_matches("lora.grad."));
                let what = format!("{name} {key}");
                assert_close(&host(&gradients[&module]), &expected, F32_SUMS * scale, &what);
            }
        }
    }
}
