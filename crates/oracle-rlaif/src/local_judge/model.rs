//! A judge's checkpoint with all that it needs to read a question, on threads of its own.
//!
//! Oracles are asked from plain threads while another one samples or waits for them inside of
//! rayon's global pool. There the judge would wait for threads that wait for it: on one processor
//! for ever. So its tensor operations run on a pool that belongs to it, and from its first to its
//! last one, since a thread outside of a pool would sleep and be woken around each of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};
use rlaif_data::{Message, VideoRef};
use rlaif_model::Vlm;
use rlaif_oracle::Cancel;
use rlaif_rollout::{PromptBuilder, PromptError, PromptInput, Visual, Vocabulary};
use rlaif_train::batch::vocabulary;
use serde_json::Value;

use super::config::ModelOracleConfig;
use super::digest::identity;
use super::messages::knows_system_turns;
use crate::folder::{self, Folder};
use crate::recipe::VideoConfig;
use crate::tame::tame;

/// How often whoever waits for a judge looks whether the run asked to stop.
const LOOK_FOR_CANCEL: Duration = Duration::from_millis(50);

/// A checkpoint that judges.
pub struct LocalModel {
    pub(super) model: Vlm,
    pub(super) builder: PromptBuilder,
    pub(super) vocabulary: Vocabulary,
    /// Whether its chat template has a place for system turns.
    pub(super) system_turns: bool,
    path: PathBuf,
    identity: Value,
    pool: ThreadPool,
}

impl LocalModel {
    /// Opens the checkpoint that `config` names. `video` says how clips are read, with the frames
    /// that `config` asks for in place of its own.
    ///
    /// # Errors
    ///
    /// Names the key that is out of its range, or the file that is missing or cannot be used.
    pub fn open(config: &ModelOracleConfig, video: &VideoConfig, device: &Device) -> Result<Self> {
        config.check()?;
        let folder = Folder::open_with(&config.path, config.base_precision, device)
            .with_context(|| format!("the judge `{}`", config.path.display()))?;
        Self::of(&folder, config, video)
    }

    /// The same of a folder that is open already; its weights are shared.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn of(folder: &Folder, config: &ModelOracleConfig, video: &VideoConfig) -> Result<Self> {
        config.check()?;
        let video = VideoConfig { sampling: config.sampling.or(video.sampling), ..video.clone() };
        // What room a reply or an answer needs is checked where its length is known.
        let builder = folder.builder(&video, folder::world_clips(), 0)?;
        let pool = ThreadPoolBuilder::new()
            .thread_name(|index| format!("judge {index}"))
            .build()
            .context("threads for the judge")?;
        let model = folder.model.clone();
        let identity = pool.install(|| identity(&model, &builder));
        Ok(LocalModel {
            vocabulary: vocabulary(&builder.tokenizer, &model),
            system_turns: knows_system_turns(&builder.tokenizer),
            path: config.path.clone(),
            identity,
            model,
            builder,
            pool,
        })
    }

    /// Where it was opened, as the recipe names it.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Digests of the weights (by content: a copy elsewhere is the same judge), the configuration,
    /// the tokenizer with its chat template and the preprocessing; and which frames are taken.
    #[must_use]
    pub fn identity(&self) -> &Value {
        &self.identity
    }

    /// Most tokens of a prompt and what follows it.
    pub(super) fn limit(&self) -> usize {
        self.model.config.text.max_position_embeddings
    }

    /// Runs `work` on the judge's threads. `None` once `cancel` is set: what is under way cannot be
    /// interrupted, and ends unheard.
    ///
    /// # Panics
    ///
    /// Panics as `work` does.
    pub(super) fn compute<R: Send + 'static>(
        &self,
        cancel: &Cancel,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        if cancel.is_cancelled() {
            return None;
        }
        let (sender, outcome) = sync_channel(1);
        self.pool.spawn(move || {
            // A panic must reach whoever asked, not end the process. What it leaves behind is
            // dropped with `work`.
            sender.send(catch_unwind(AssertUnwindSafe(work))).ok();
        });
        while !cancel.is_cancelled() {
            match outcome.recv_timeout(LOOK_FOR_CANCEL) {
                Ok(Ok(done)) => return Some(done),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("a judge's thread was lost"),
            }
        }
        None
    }

    /// The tower's features of a clip, from the cache where it has them.
    pub(super) fn visual(&self, video: &VideoRef) -> Result<Visual, Fault> {
        Ok(Visual::Features(self.builder.features(&self.model, video)?))
    }

    /// A prompt about a clip that leaves `room` tokens for what follows.
    pub(super) fn prompt(
        &self,
        messages: &[Message],
        visual: Visual,
        room: usize,
    ) -> Result<PromptInput, Fault> {
        let prompt = self.builder.prompt_about(&self.model, messages, visual)?;
        let (tokens, room) = (prompt.ids.len(), self.limit().saturating_sub(room));
        if tokens > room {
            return Err(PromptError::TooLong { tokens, room }.into());
        }
        Ok(prompt)
    }
}

/// Why a judge cannot read a question: whose fault it is, in words without control characters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// The clip's.
    Clip(String),
    /// That of the request's text.
    Request(String),
    /// That of the machine or the settings: no other request fares better.
    Everywhere(String),
}

impl From<PromptError> for Fault {
    fn from(error: PromptError) -> Self {
        let fault = match &error {
            PromptError::World { .. } | PromptError::FrameSize(_) => Fault::Clip,
            PromptError::Text(_) | PromptError::TooLong { .. } => Fault::Request,
            PromptError::Video(_) | PromptError::Frames(_) if error.is_clip_fault() => Fault::Clip,
            PromptError::Video(_) | PromptError::Frames(_) => Fault::Everywhere,
        };
        fault(tame(&format!("{:#}", anyhow::Error::new(error))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::recipe::ClipWorldModel;

    fn judge() -> LocalModel {
        let size = ClipWorldModel {
            hidden_size: 32,
            num_hidden_layers: 1,
            vision_hidden_size: 32,
            vision_layers: 2,
            ..ClipWorldModel::default()
        };
        let folder = Folder::clip_world(&size, 1, &Device::flex()).unwrap();
        let config = ModelOracleConfig::new("made here");
        LocalModel::of(&folder, &config, &VideoConfig::default()).unwrap()
    }

    #[test]
    fn work_under_way_is_given_up_at_the_wish_to_stop_and_a_panic_reaches_who_asked() {
        let (judge, cancel) = (judge(), Cancel::new());
        let inside = || rayon::current_thread_index().is_some();
        assert_eq!(judge.compute(&cancel, inside), Some(true));

        let panics = || judge.compute(&cancel, || -> u32 { panic!("out of cheese") });
        let panic = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"out of cheese"));
        assert_eq!(judge.compute(&cancel, || 7), Some(7), "the judge goes on");

        // Work that ends only after it was given up.
        let (release, gate) = channel::<()>();
        let (begun, wait) = channel();
        let stop = cancel.clone();
        let stopper = std::thread::spawn(move || {
            wait.recv().unwrap();
            stop.cancel();
        });
        let work = move || {
            begun.send(()).unwrap();
            gate.recv().ok();
        };
        assert_eq!(judge.compute(&cancel, work), None);
        stopper.join().unwrap();
        drop(release);
        assert_eq!(judge.compute(&cancel, || 7), None, "nothing is heard after that");
    }
}
