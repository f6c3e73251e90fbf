//! From a row of a data set to a prompt: clip, preprocessing, tower features from the cache,
//! chat template, token ids.

use std::sync::Arc;

use rlaif_data::{Clip, Example, Message, Pixels, VideoMetadata, VideoRef};
use rlaif_model::hf::{ChatTokenizer, TokenizerError};
use rlaif_model::{GridError, Vlm};
use rlaif_video::{
    FeatureCache, Features, FrameProcessor, Loader, PreprocessError, Sampling, VideoError,
    digest::digest_parts,
};

use crate::prompt::{PromptInput, Visual};

/// Renders a ClipWorld clip from its address; handed in by whoever knows the world.
pub type WorldClips = Box<dyn Fn(&str) -> Result<Clip, String> + Send + Sync>;

/// A row that cannot become a prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// Its video.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The frames of a procedural clip.
    #[error(transparent)]
    Frames(#[from] PreprocessError),
    /// A procedural clip that is not there.
    #[error("`world:{address}`: {reason}")]
    World {
        /// Address after `world:`.
        address: String,
        /// Why.
        reason: String,
    },
    /// Its text.
    #[error(transparent)]
    Text(#[from] TokenizerError),
    /// Frames of another size than the tower takes.
    #[error(transparent)]
    FrameSize(#[from] GridError),
    /// The prompt does not fit the model.
    #[error(
        "the prompt has {tokens} tokens, with room for {room} in `max_position_embeddings`; sample \
         fewer frames or shorten the question"
    )]
    TooLong {
        /// Its length.
        tokens: usize,
        /// Positions left for it.
        room: usize,
    },
}

impl PromptError {
    /// True where only this row's clip is at fault, so that a run may skip it.
    #[must_use]
    pub fn is_clip_fault(&self) -> bool {
        match self {
            PromptError::Video(error) => error.is_clip_fault(),
            PromptError::Frames(error) => error.is_clip_fault(),
            _ => false,
        }
    }
}

/// Makes prompts for one model.
pub struct PromptBuilder {
    /// Tokenizer and chat template.
    pub tokenizer: Arc<ChatTokenizer>,
    /// Frames taken from a clip.
    pub sampling: Sampling,
    /// What is done to them.
    pub processor: FrameProcessor,
    /// Reader of files.
    pub loader: Loader,
    /// Renderer of procedural clips.
    pub world: WorldClips,
    /// The tower's features by clip.
    pub cache: FeatureCache,
    /// Digest of the tower's weights: part of the cache's key.
    pub tower_digest: String,
    /// Tokens kept free for the answer.
    pub max_completion_length: usize,
}

impl PromptBuilder {
    /// The clip of a row as the tower is shown it.
    ///
    /// # Errors
    ///
    /// Fails on a clip that cannot be read.
    pub fn pixels(&self, video: &VideoRef) -> Result<Pixels, PromptError> {
        match video {
            VideoRef::World(address) => {
                let clip = (self.world)(address)
                    .map_err(|reason| PromptError::World { address: address.clone(), reason })?;
                Ok(self.processor.apply(&self.resample(clip)?)?)
            }
            file => Ok(self.loader.load_pixels(file, &self.sampling, &self.processor)?),
        }
    }

    /// A prompt with the tower's features, from the cache where it has them.
    ///
    /// # Errors
    ///
    /// Fails on a clip that cannot be read or text that cannot be encoded.
    pub fn prompt(&self, model: &Vlm, example: &Example) -> Result<PromptInput, PromptError> {
        let features = self.features(model, &example.video)?;
        self.prompt_about(model, example.prompt(), Visual::Features(features))
    }

    /// The frames themselves, for a tower that is trained.
    ///
    /// # Errors
    ///
    /// Fails on a clip that cannot be read, or whose frames do not fit the tower.
    pub fn frames(&self, model: &Vlm, video: &VideoRef) -> Result<Visual, PromptError> {
        let pixels = self.pixels(video)?;
        model.vision.grid(&pixels)?;
        Ok(Visual::Pixels(Arc::new(pixels)))
    }

    /// Token ids of an answer with its end token.
    ///
    /// # Errors
    ///
    /// Fails where the tokenizer cannot encode the text.
    pub fn answer(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        Ok(self.tokenizer.encode_answer(text)?)
    }

    /// The tower's features of a clip, `[t, h, w, hidden]`.
    ///
    /// # Errors
    ///
    /// Fails on a clip that cannot be read.
    pub fn features(&self, model: &Vlm, video: &VideoRef) -> Result<Arc<Features>, PromptError> {
        let mut read = None;
        let digest = match video {
            VideoRef::World(_) => {
                let pixels = self.pixels(video)?;
                let digest = pixels.digest.clone();
                read = Some(pixels);
                digest
            }
            file => self.loader.pixels_digest(file, &self.sampling, &self.processor)?,
        };
        let key = digest_parts(&[digest.as_str(), self.tower_digest.as_str()]);
        self.cache.get_or_compute(&key, || {
            let pixels = match read {
                Some(pixels) => pixels,
                None => self.pixels(video)?,
            };
            let grid = model.vision.grid(&pixels)?;
            let values = model.visual_features(&pixels);
            let hidden = values.len() / grid.rows().max(1);
            Ok(Features {
                shape: vec![grid.t, grid.h, grid.w, hidden],
                values,
                video: pixels.video,
            })
        })
    }

    /// A prompt about a clip that was read before: the way to ask many questions about one.
    ///
    /// # Errors
    ///
    /// Fails on text that cannot be encoded, and a prompt that does not fit the model.
    pub fn prompt_about(
        &self,
        model: &Vlm,
        messages: &[Message],
        visual: Visual,
    ) -> Result<PromptInput, PromptError> {
        let grid = visual.grid(model)?;
        let text = model.video_text(grid, visual.video());
        let tokens = self.tokenizer.encode_prompt(messages, &text)?;
        let limit = model.config.text.max_position_embeddings;
        let room = limit.saturating_sub(self.max_completion_length);
        if tokens.ids.len() > room {
            return Err(PromptError::TooLong { tokens: tokens.ids.len(), room });
        }
        let positions = model.positions(&tokens, grid, visual.video());
        Ok(PromptInput { ids: tokens.ids, visual: Some((tokens.visual, visual)), positions })
    }

    /// Samples a rendered clip by the same rule as a file.
    fn resample(&self, clip: Clip) -> Result<Clip, PromptError> {
        let indices = self.sampling.indices(clip.frames.len(), clip.video.fps)?;
        if indices.iter().copied().eq(0..clip.frames.len()) {
            return Ok(clip);
        }
        Ok(Clip {
            frames: indices.iter().map(|i| clip.frames[*i].clone()).collect(),
            timestamps: indices.iter().map(|i| clip.timestamps[*i]).collect(),
            digest: digest_parts(&[clip.digest, format!("{indices:?}")]),
            video: VideoMetadata {
                indices: indices.iter().map(|i| clip.video.indices[*i]).collect(),
                ..clip.video
            },
        })
    }
}
