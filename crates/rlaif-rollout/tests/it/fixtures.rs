//! Greedy generation from a folder equals `transformers`', video included. The folders and their
//! golden values are those of rlaif-model; `tools/make_llava_fixtures.py` wrote them.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::hf::VideoPooling;
use rlaif_rollout::{
    PromptInput, SampleRequest, SamplingParams, Visual, Vocabulary, encode, sample, score,
};
use safetensors::SafeTensors;

use crate::support::{F32_SUMS, assert_close, host};

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let data = file.tensor(name).expect(name).data();
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn ids(file: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let data = file.tensor(name).expect(name).data();
    let ids = data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    ids.map(|id| u32::try_from(id).expect("a token id")).collect()
}

#[test]
fn greedy_generation_follows_transformers() {
    for name in ["llava-a", "llava-b"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../rlaif-model/tests/fixtures")
            .join(name);
        let bytes = std::fs::read(folder.join("golden.safetensors")).unwrap();
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let mut model = rlaif_model::load(&folder, &Device::flex()).unwrap();
        let shape = golden.tensor("pixel_values").unwrap().shape().to_vec();
        let pixels = Arc::new(Pixels {
            frames: shape[0],
            height: shape[2],
            width: shape[3],
            values: floats(&golden, "pixel_values"),
            digest: String::new(),
            video: VideoMetadata::default(),
        });
        let image = model.config.image_token_id;
        for (path, pooling) in
            [("plain", VideoPooling::None), ("pooled", VideoPooling::SpatialTemporal)]
        {
            model.set_video_pooling(pooling);
            let tokens = ids(&golden, &format!("{path}.ids"));
            let first = tokens.iter().position(|id| *id == image).unwrap();
            let end = first + model.n_visual_tokens(model.vision.grid(&pixels).unwrap());
            let prompt = PromptInput {
                ids: tokens,
                visual: Some((
                    std::iter::once(first..end).collect(),
                    Visual::Pixels(pixels.clone()),
                )),
                positions: None,
            };
            let prefix = encode(&model, &[&prompt]);
            let expected = ids(&golden, &format!("{path}.greedy"));
            let greedy = SamplingParams {
                temperature: 0.0,
                max_completion_length: expected.len(),
                ..SamplingParams::default()
            };
            // Nothing is forbidden: the golden log-probabilities are over the whole vocabulary.
            let vocabulary = Vocabulary::default();
            let request = SampleRequest { prompt: 0, seed: 1 };
            let got = sample(&model, &prefix, &[request], &greedy, &vocabulary).remove(0);
            assert_eq!(got.token_ids, expected, "{name} {path}");
            let expected = floats(&golden, &format!("{path}.greedy_logprobs"));
            assert_close(&got.logprobs, &expected, F32_SUMS, &format!("{name} {path}"));
            let stats = score(&model, &prefix, &[(0, &got.token_ids)], &[]);
            assert_close(&host(&stats.logprobs), &expected, F32_SUMS, &format!("{name} {path}"));
        }
    }
}
