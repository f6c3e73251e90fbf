//! A checkpoint folder: model, tokenizer, preprocessor and generation settings, in and out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use rlaif_data::Clip;
use rlaif_model::hf::{ChatTokenizer, GenerationConfig};
use rlaif_model::{LoadError, LoadOptions, Parameters, Precision, Vlm};
use rlaif_rollout::{PromptBuilder, WorldClips};
use rlaif_train::Trainable;
use rlaif_video::{FeatureCache, FrameProcessor, Loader, Sampling, digest::digest_parts};

use crate::hub;
use crate::recipe::{ModelSource, VideoConfig};

mod new;

/// What a checkpoint folder holds.
pub struct Folder {
    /// The model.
    pub model: Vlm,
    /// Tokenizer and chat template.
    pub tokenizer: Arc<ChatTokenizer>,
    /// What is done to frames.
    pub processor: FrameProcessor,
    /// End tokens and sampling defaults.
    pub generation: GenerationConfig,
    /// Where the weights were read from, as an adapter is to name its base: a folder, or the name
    /// on the hub; `None` for weights that were made here.
    pub path: Option<PathBuf>,
    /// The folder that was opened: the full weights are read from it again where the decoder's
    /// projections are packed.
    pub opened: Option<PathBuf>,
}

impl Folder {
    /// Opens a Hugging Face folder, or a model by its name on the hub ([`hub::resolve`]).
    ///
    /// # Errors
    ///
    /// Names the file that is missing or cannot be used.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        Folder::open_with(path, Precision::F32, device)
    }

    /// The same with the decoder's projections packed. A folder with an adapter is read in full
    /// and packed after it was merged; another is packed tensor by tensor.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and where the weights have no such form.
    pub fn open_with(path: &Path, base: Precision, device: &Device) -> Result<Self> {
        let name = path;
        let path = &hub::locate(path)?;
        let adapted = path.join("adapter_config.json").is_file();
        let mut folder = if adapted {
            Folder::read(path, Precision::F32, device)?
        } else {
            Folder::read(path, base, device)?
        };
        folder.model.pack_base(base)?;
        let memory = folder.model.memory();
        tracing::info!(
            base_precision = %base,
            base_bytes = memory.base,
            embeddings_bytes = memory.embeddings,
            vision_bytes = memory.vision,
            "weights in memory"
        );
        // A pinned revision has no form that PEFT would read; its snapshot's folder is exact.
        let pinned = name.to_string_lossy().contains('@');
        if name != path && !pinned && path.join("config.json").is_file() {
            folder.path = Some(name.to_owned());
        }
        folder.opened = Some(std::path::absolute(path)?);
        Ok(folder)
    }

    fn read(path: &Path, base: Precision, device: &Device) -> Result<Self> {
        if !path.join("config.json").is_file() && path.join("adapter_config.json").is_file() {
            return Folder::open_adapter(path, device);
        }
        if !path.join("config.json").is_file() {
            bail!(
                "`{}` is no checkpoint folder: it has no `config.json`; expected a Hugging Face \
                 folder with `config.json`, `model.safetensors`, `tokenizer.json` and \
                 `preprocessor_config.json`",
                path.display()
            );
        }
        let tokenizer = ChatTokenizer::open(path)?;
        let mut model =
            rlaif_model::load_resolved(path, device, &LoadOptions { base }, &hub::tower)?;
        if path.join("adapter_config.json").is_file() {
            rlaif_model::attach_adapter(&mut model, path)?;
            model = model.merged();
        }
        tokenizer.check(path, &model.config)?;
        Ok(Folder {
            model,
            tokenizer: Arc::new(tokenizer),
            processor: FrameProcessor::from_folder(path)?,
            generation: GenerationConfig::open(path)?,
            path: Some(std::path::absolute(path)?),
            opened: None,
        })
    }

    /// Opens a folder that holds an adapter alone, on the weights that it names.
    fn open_adapter(path: &Path, device: &Device) -> Result<Self> {
        Folder::open_on(&base_of(path)?, path, device)
    }

    /// Opens `base` with the adapter in `path` merged into its full weights.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and where the adapter does not fit.
    pub fn open_on(base: &Path, path: &Path, device: &Device) -> Result<Self> {
        let of = || format!("the base of the adapter in `{}`", path.display());
        let located = hub::locate(base).with_context(of)?;
        if !located.join("config.json").is_file() && located.join("adapter_config.json").is_file() {
            bail!(
                "`{}`, the base of the adapter in `{}`, is an adapter itself; merge that one first",
                base.display(),
                path.display()
            );
        }
        let mut folder = Folder::open(base, device).with_context(of)?;
        rlaif_model::attach_adapter(&mut folder.model, path)?;
        folder.model = folder.model.merged();
        Ok(folder)
    }

    /// Opens what a recipe starts from.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_source(source: &ModelSource, seed: u64, device: &Device) -> Result<Self> {
        match (&source.path, &source.clip_world) {
            (Some(path), _) => Folder::open_with(path, source.base_precision, device),
            (None, Some(size)) => Folder::clip_world(size, seed, device),
            (None, None) => bail!("`model` needs exactly one of `path` and `clip_world`"),
        }
    }

    /// Writes everything but the weights.
    ///
    /// # Errors
    ///
    /// Fails where a file cannot be written.
    pub fn save_companions(&self, path: &Path) -> Result<(), LoadError> {
        let other = |what: &str| {
            let what = path.join(what).display().to_string();
            move |source: Box<dyn std::error::Error + Send + Sync>| LoadError::Other {
                what,
                source,
            }
        };
        self.tokenizer.save(path).map_err(|e| other("tokenizer.json")(e.into()))?;
        self.processor.save(path).map_err(|e| other("preprocessor_config.json")(e.into()))?;
        self.generation.save(path).map_err(|e| other("generation_config.json")(e.into()))
    }

    /// `model` with its adapters merged into full weights, which are read again where it has packed
    /// ones.
    fn merged(&self, model: &Vlm) -> Result<Vlm, LoadError> {
        let precision = model.base_precision();
        if precision == Precision::F32 {
            return Ok(model.merged());
        }
        let Some(opened) = &self.opened else {
            return Err(LoadError::PackedBase { precision });
        };
        let full = Folder::open(opened, &model.device()).map_err(|error| LoadError::Other {
            what: format!("`{}`, for the full weights", opened.display()),
            source: error.into(),
        })?;
        Ok(model.on_base(&full.model)?.merged())
    }

    /// Writes a whole checkpoint folder for `model`, adapters merged. Beside packed weights they
    /// are merged into the full ones, which takes the memory of the full model.
    ///
    /// # Errors
    ///
    /// Fails where a file cannot be written, or the full weights cannot be read again.
    pub fn save(&self, model: &Vlm, path: &Path) -> Result<(), LoadError> {
        let io = |source: std::io::Error| LoadError::Other {
            what: path.display().to_string(),
            source: source.into(),
        };
        std::fs::create_dir_all(path).map_err(io)?;
        rlaif_model::save(&self.merged(model)?, path)?;
        self.save_companions(path)
    }

    /// Writes what a run is at a step: the adapter of a LoRA run, else the whole model.
    ///
    /// # Errors
    ///
    /// Fails where a file cannot be written.
    pub fn save_checkpoint(
        &self,
        model: &Vlm,
        trainable: &Trainable,
        path: &Path,
    ) -> Result<(), LoadError> {
        let Trainable::Lora(lora) = trainable else { return self.save(model, path) };
        rlaif_model::save_adapter(model, lora, self.path.as_deref(), path)?;
        self.save_companions(path)
    }

    /// Makes prompts for this model.
    ///
    /// # Errors
    ///
    /// Fails where the feature cache's folder cannot be made.
    pub fn builder(
        &self,
        video: &VideoConfig,
        world: WorldClips,
        max_completion_length: usize,
    ) -> Result<PromptBuilder> {
        let bytes = video.cache_memory_mib << 20;
        let cache = match &video.cache_dir {
            Some(folder) => FeatureCache::with_folder(bytes, folder)?,
            None => FeatureCache::in_memory(bytes),
        };
        let frames = self.model.config.num_frames.unwrap_or(8);
        let mut processor = self.processor.clone();
        if let Some(pixels) = video.max_pixels {
            processor.set_max_pixels(pixels).context("`video.max_pixels`")?;
        }
        Ok(PromptBuilder {
            tokenizer: self.tokenizer.clone(),
            sampling: video
                .sampling
                .or(self.processor.sampling())
                .unwrap_or(Sampling::Uniform { frames }),
            processor,
            loader: Loader::default(),
            world,
            cache,
            tower_digest: tower_digest(&self.model),
            max_completion_length,
        })
    }
}

/// The model that the adapter in `path` names as its base: a folder, seen from the adapter's own
/// or from where the program runs, or a name on the hub, at the `revision` that the adapter names.
///
/// # Errors
///
/// Fails where the adapter cannot be read or names none.
pub fn base_of(path: &Path) -> Result<PathBuf> {
    let config = rlaif_model::hf::Adapter::open(path)?.config;
    let Some(base) = config.base_model_name_or_path.filter(|base| !base.is_empty()) else {
        bail!(
            "`{}` holds an adapter that does not say whose it is: set `base_model_name_or_path` in \
             its `adapter_config.json` to the model's folder or name",
            path.display()
        );
    };
    let beside = path.join(&base);
    if beside.is_dir() || !hub::is_name(&base) {
        return Ok(beside);
    }
    let revision = config.document.get("revision").and_then(serde_json::Value::as_str);
    match revision.filter(|_| !Path::new(&base).is_dir() && !base.contains('@')) {
        Some(revision) => Ok(PathBuf::from(format!("{base}@{revision}"))),
        None => Ok(PathBuf::from(base)),
    }
}

/// Digest of the tower's weights and of the layer that is read: features of another tower must
/// never be found in the cache.
#[must_use]
pub fn tower_digest(model: &Vlm) -> String {
    let mut parts = vec![format!("{:?}", model.config.arch)];
    model.read(|name, slot| {
        if name.starts_with("vision_tower.") {
            let bytes: Vec<u8> =
                slot.flat().into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect();
            parts.push(digest_parts(&[name.as_bytes(), &bytes]));
        }
    });
    digest_parts(&parts)
}

/// Renders ClipWorld's clips from their addresses.
#[must_use]
pub fn world_clips() -> WorldClips {
    Box::new(|address: &str| -> Result<Clip, String> {
        rlaif_world::clip_at(address).map_err(|error| error.to_string())
    })
}

/// A folder that must be new or empty, made where it is not there.
///
/// # Errors
///
/// Fails where it holds something.
pub fn fresh(path: &Path) -> Result<PathBuf> {
    if let Ok(mut entries) = std::fs::read_dir(path)
        && entries.next().is_some()
    {
        bail!(
            "`{}` is not empty; choose another folder, or continue the run in it with `--resume`",
            path.display()
        );
    }
    std::fs::create_dir_all(path).with_context(|| format!("`{}`", path.display()))?;
    Ok(path.to_owned())
}
