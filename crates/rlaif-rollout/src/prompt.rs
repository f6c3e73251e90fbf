//! Prompts as the model reads them, and the one pass that encodes them.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Grid, GridError, Positions, Prefix, Vlm};
use rlaif_video::Features;

/// What stands in the place of the visual placeholders.
#[derive(Clone, Debug, PartialEq)]
pub enum Visual {
    /// The frozen tower's features `[t, h, w, hidden]`, from the cache.
    Features(Arc<Features>),
    /// Frames, for a tower that is trained itself.
    Pixels(Arc<Pixels>),
}

impl Visual {
    /// The grid of patches that `model`'s tower makes of it.
    ///
    /// # Errors
    ///
    /// Fails on frames of a size that the tower does not take.
    ///
    /// # Panics
    ///
    /// Panics on features of another rank than four.
    pub fn grid(&self, model: &Vlm) -> Result<Grid, GridError> {
        match self {
            Visual::Features(features) => {
                let [t, h, w, _] = features.shape[..] else {
                    panic!("features of shape {:?}, not [t, h, w, hidden]", features.shape)
                };
                Ok(Grid { t, h, w })
            }
            Visual::Pixels(pixels) => model.vision.grid(pixels),
        }
    }

    /// Where the frames lie in their video.
    #[must_use]
    pub fn video(&self) -> &VideoMetadata {
        match self {
            Visual::Features(features) => &features.video,
            Visual::Pixels(pixels) => &pixels.video,
        }
    }
}

/// One prompt: token ids, and what takes the visual placeholders' place.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptInput {
    /// Token ids with the visual placeholders expanded, length `P`.
    pub ids: Vec<u32>,
    /// Where the placeholders stand, in order, and the clip.
    pub visual: Option<(Vec<Range<usize>>, Visual)>,
    /// Rotary positions; `None` where they are the tokens' places, 0, 1, 2, ...
    pub positions: Option<Positions>,
}

impl PromptInput {
    /// Rotary positions of all tokens.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions.clone().unwrap_or_else(|| Positions::text(self.ids.len()))
    }

    /// Place after the last visual token, 0 without a clip.
    #[must_use]
    pub fn visual_end(&self) -> usize {
        let places = self.visual.as_ref().and_then(|(places, _)| places.last());
        places.map_or(0, |last| last.end)
    }

    /// The first `len` tokens, which must hold the whole clip.
    #[must_use]
    pub fn truncated(&self, len: usize) -> PromptInput {
        PromptInput {
            ids: self.ids[..len].to_vec(),
            visual: self.visual.clone(),
            positions: self.positions.as_ref().map(|positions| positions.truncated(len)),
        }
    }

    /// Adds text at the end.
    pub fn extend(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        if let Some(positions) = &mut self.positions {
            positions.extend_text(ids.len());
        }
    }
}

/// Encodes prompts, packed, without padding. On a [tracked](rlaif_model::Parameters::tracked)
/// model the result is differentiable.
///
/// # Panics
///
/// Panics when a prompt is empty or its clip does not fill its placeholders.
#[must_use]
pub fn encode(model: &Vlm, prompts: &[&PromptInput]) -> Prefix {
    let positions: Vec<Positions> = prompts.iter().map(|prompt| prompt.positions()).collect();
    model.decoder.prefill_at(embed(model, prompts), &positions.iter().collect::<Vec<_>>())
}

/// Token embeddings of packed prompts with the visual tokens in place, `[Σ P, hidden]`.
///
/// # Panics
///
/// Panics when a clip does not fill its placeholders.
#[must_use]
pub fn embed(model: &Vlm, prompts: &[&PromptInput]) -> Tensor<2> {
    let clips: Vec<&Visual> =
        prompts.iter().filter_map(|prompt| prompt.visual.as_ref().map(|(_, v)| v)).collect();
    // Placeholders are not looked up: a token that only marks a place may have no embedding.
    let (mut texts, mut seen) = (Vec::new(), 0);
    // Row of each token among the texts', or among the visual tokens.
    let mut rows: Vec<Result<usize, usize>> = Vec::new();
    for prompt in prompts {
        let start = rows.len();
        rows.extend((0..prompt.ids.len()).map(|_| Ok(0)));
        if let Some((places, clip)) = &prompt.visual {
            let before = seen;
            for place in places.iter().flat_map(Clone::clone) {
                rows[start + place] = Err(seen);
                seen += 1;
            }
            let filled = model.n_visual_tokens(grid(model, clip));
            assert_eq!(seen - before, filled, "the clip does not fill its placeholders");
        }
        for (row, id) in rows[start..].iter_mut().zip(&prompt.ids) {
            if let Ok(row) = row {
                *row = texts.len();
                texts.push(*id);
            }
        }
    }
    let tokens = model.decoder.embed_tokens(&texts);
    if clips.is_empty() {
        return tokens;
    }
    let grids: Vec<Grid> = clips.iter().map(|clip| grid(model, clip)).collect();
    let visual = model.visual_tokens(features(model, &clips), &grids);
    let rows: Vec<usize> =
        rows.into_iter().map(|row| row.unwrap_or_else(|visual| texts.len() + visual)).collect();
    let index = index_tensor(&rows, &tokens.device());
    Tensor::cat(vec![tokens, visual], 0).select(0, index)
}

fn grid(model: &Vlm, clip: &Visual) -> Grid {
    match clip.grid(model) {
        Ok(grid) => grid,
        Err(error) => panic!("{error}"),
    }
}

/// The tower's features of all clips, packed. Runs of frames go through the tower together.
fn features(model: &Vlm, clips: &[&Visual]) -> Tensor<2> {
    let mut parts = Vec::new();
    let together = |a: &Visual, b: &Visual| match (a, b) {
        (Visual::Pixels(a), Visual::Pixels(b)) => {
            let independent = model.vision.frames_are_independent();
            independent && (a.height, a.width) == (b.height, b.width)
        }
        (Visual::Features(_), Visual::Features(_)) => true,
        _ => false,
    };
    for run in clips.chunk_by(|a, b| together(a, b)) {
        match run[0] {
            Visual::Pixels(only) if run.len() == 1 => parts.push(model.tower_features(only)),
            Visual::Pixels(first) => {
                let mut joined = Pixels {
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
                        rows += features.shape.iter().take(3).product::<usize>();
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
