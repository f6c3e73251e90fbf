//! Prompts as the model reads them, and the one pass that encodes them.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Prefix, Vlm};
use rlaif_video::Features;

/// What stands in the place of the visual placeholders.
#[derive(Clone, Debug, PartialEq)]
pub enum Visual {
    /// The frozen tower's features `[F, P, hidden]`, from the cache.
    Features(Arc<Features>),
    /// Frames, for a tower that is trained itself.
    Pixels(Arc<Pixels>),
}

impl Visual {
    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        match self {
            Visual::Features(features) => features.shape.first().copied().unwrap_or(0),
            Visual::Pixels(pixels) => pixels.frames,
        }
    }
}

/// One prompt: token ids, and what takes the visual placeholders' place.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptInput {
    /// Token ids with the visual placeholders expanded, length `P`.
    pub ids: Vec<u32>,
    /// Where the placeholders stand, and the clip.
    pub visual: Option<(Range<usize>, Visual)>,
}

/// Encodes prompts, packed, without padding. On a [tracked](rlaif_model::Parameters::tracked)
/// model the result is differentiable.
///
/// # Panics
///
/// Panics when a prompt is empty or its clip does not fill its placeholders.
#[must_use]
pub fn encode(model: &Vlm, prompts: &[&PromptInput]) -> Prefix {
    let lens: Vec<usize> = prompts.iter().map(|prompt| prompt.ids.len()).collect();
    model.decoder.prefill(embed(model, prompts), &lens)
}

/// Token embeddings of packed prompts with the visual tokens in place, `[Σ P, hidden]`.
///
/// # Panics
///
/// Panics when a clip does not fill its placeholders.
#[must_use]
pub fn embed(model: &Vlm, prompts: &[&PromptInput]) -> Tensor<2> {
    let ids: Vec<u32> = prompts.iter().flat_map(|prompt| prompt.ids.iter().copied()).collect();
    let tokens = model.decoder.embed_tokens(&ids);
    let clips: Vec<&Visual> =
        prompts.iter().filter_map(|prompt| prompt.visual.as_ref().map(|(_, v)| v)).collect();
    if clips.is_empty() {
        return tokens;
    }
    let frames: Vec<usize> = clips.iter().map(|clip| clip.frames()).collect();
    let visual = model.visual_tokens(features(model, &clips), &frames);
    let mut rows: Vec<usize> = (0..ids.len()).collect();
    let (mut start, mut next) = (0, ids.len());
    for prompt in prompts {
        if let Some((at, clip)) = &prompt.visual {
            let filled = model.n_visual_tokens(clip.frames());
            assert_eq!(at.len(), filled, "the clip does not fill its placeholders");
            for (row, source) in rows[start + at.start..start + at.end].iter_mut().zip(next..) {
                *row = source;
            }
            next += filled;
        }
        start += prompt.ids.len();
    }
    let index = index_tensor(&rows, &tokens.device());
    Tensor::cat(vec![tokens, visual], 0).select(0, index)
}

/// The tower's features of all clips, packed. Runs of frames go through the tower together.
fn features(model: &Vlm, clips: &[&Visual]) -> Tensor<2> {
    let mut parts = Vec::new();
    for run in clips
        .chunk_by(|a, b| matches!((a, b), (Visual::Pixels(a), Visual::Pixels(b)) if a.height == b.height && a.width == b.width)
            || matches!((a, b), (Visual::Features(_), Visual::Features(_))))
    {
        match run[0] {
            Visual::Pixels(first) => {
                let mut joined =
                    Pixels {
                        frames: 0,
                        values: Vec::new(),
                        digest: String::new(),
                        video: VideoMetadata::default(),
                        ..**first
                    };
                for clip in run {
                    if let Visual::Pixels(pixels) = clip {
                        joined.frames += pixels.frames;
                        joined.values.extend_from_slice(&pixels.values);
                    }
                }
                parts.push(model.tower_features(&joined));
            }
            Visual::Features(_) => {
                let mut rows = 0;
                let mut values = Vec::new();
                for clip in run {
                    if let Visual::Features(features) = clip {
                        rows += features.shape.iter().take(2).product::<usize>();
                        values.extend_from_slice(&features.values);
                    }
                }
                let width = values.len() / rows.max(1);
                let data = TensorData::new(values, [rows, width]);
                parts.push(Tensor::from_data(data, &model.device()));
            }
        }
    }
    Tensor::cat(parts, 0)
}
