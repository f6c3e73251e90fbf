//! Fixtures, golden values and comparisons.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::{Decoder, Grid, Turn, Vlm};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

/// Both checkpoints: one weights file and a tied head; four shards and a head of its own.
pub(crate) const FIXTURES: [&str; 2] = ["llava-a", "llava-b"];

/// `f32` here and in PyTorch add the same products in other orders. Over the few dozen terms of
/// these sums that is some 1e-6 of values below 10; a slip in the formula is a thousand times
/// more.
pub(crate) const F32_SUMS: f32 = 1e-4;

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn open(name: &str) -> Vlm {
    rlaif_model::load(fixture(name), &Device::flex()).expect("the fixture opens")
}

/// `golden.safetensors` of a fixture.
pub(crate) struct Golden {
    tensors: Vec<u8>,
    folder: PathBuf,
}

impl Golden {
    pub(crate) fn of(name: &str) -> Golden {
        let folder = fixture(name);
        let tensors = std::fs::read(folder.join("golden.safetensors")).expect("it is committed");
        Golden { tensors, folder }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.tensors).expect("golden.safetensors is whole")
    }

    /// `golden.json`.
    pub(crate) fn document(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.folder.join("golden.json")).expect("golden.json");
        serde_json::from_str(&text).expect("it is JSON")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.file().names().into_iter().map(ToString::to_string).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        self.file().tensor(name).expect(name).shape().to_vec()
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let file = self.file();
        let view = file.tensor(name).expect(name);
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        let file = self.file();
        let view = file.tensor(name).expect(name);
        assert_eq!(view.dtype(), Dtype::I64, "{name}");
        let ids = view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        ids.map(|id| u32::try_from(id).expect("a token id")).collect()
    }

    pub(crate) fn pixels(&self) -> Pixels {
        let shape = self.shape("pixel_values");
        Pixels {
            frames: shape[0],
            height: shape[2],
            width: shape[3],
            values: self.floats("pixel_values"),
            digest: String::new(),
            video: VideoMetadata::default(),
        }
    }
}

/// Two lists of numbers, no pair further apart than `tolerance`. The expected ones must differ
/// among themselves, so that a constant passes for nothing.
#[expect(clippy::print_stdout, reason = "the figures of docs/models.md, with --nocapture")]
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    let spread = expected.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x))
        - expected.iter().fold(f32::INFINITY, |m, x| m.min(*x));
    assert!(spread > 100.0 * tolerance, "{what}: the golden values are all alike");
    let worst = got.iter().zip(expected).fold(0.0_f32, |m, (g, e)| m.max((g - e).abs()));
    let largest = expected.iter().fold(0.0_f32, |m, e| m.max(e.abs()));
    println!("{what}: differs by {worst:.1e} where the largest is {largest:.1}");
    for (index, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance, "{what}: {g} is not {e} at {index}");
    }
}

pub(crate) fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Embeddings of `ids` with `visual` in the place of the image tokens, `[T, hidden]`.
pub(crate) fn spliced(model: &Vlm, ids: &[u32], visual: Tensor<2>) -> Tensor<2> {
    let image = model.config.image_token_id;
    let first = ids.iter().position(|id| *id == image).expect("the prompt has a video");
    let end = first + visual.dims()[0];
    assert!(ids[first..end].iter().all(|id| *id == image) && !ids[end..].contains(&image));
    let before = model.decoder.embed_tokens(&ids[..first]);
    Tensor::cat(vec![before, visual, model.decoder.embed_tokens(&ids[end..])], 0)
}

/// Logits of every position, `[T, vocabulary]`, the first `cut` tokens encoded as a prompt and
/// the others as its continuation.
pub(crate) fn logits(decoder: &Decoder, embeds: Tensor<2>, cut: usize) -> Tensor<2> {
    let tokens = embeds.dims()[0];
    let prefix = decoder.prefill(embeds.clone().narrow(0, 0, cut), &[cut]);
    let turn = Turn { prompt: 0, len: tokens - cut };
    let rest = decoder.extend(&prefix, embeds.narrow(0, cut, tokens - cut), &[turn]);
    Tensor::cat(vec![prefix.last_hidden, rest], 0).matmul(decoder.head().transpose())
}

pub(crate) fn grid_of(model: &Vlm, pixels: &Pixels) -> Grid {
    model.vision.grid(pixels).expect("frames of the tower's size")
}
