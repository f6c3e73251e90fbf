//! Opening a checkpoint of which parts lie elsewhere: the original LLaVA code stores a projector
//! or a vision tower in files of their own.

use std::path::{Path, PathBuf};

use crate::hf::config::{ConfigError, LlavaLayout, ModelConfig};
use crate::hf::weights::{Weights, WeightsError};

/// Finds the folder of a vision tower by the name that `mm_vision_tower` gives it, where the
/// caller knows of one (a cache of the hub, say).
pub type ResolveTower<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Prefix of the tower's names in the original layout, and of the canonical ones.
const STORED: &str = "model.vision_tower.vision_tower.vision_model.";
const CANONICAL: &str = "vision_tower.vision_model.";

/// Why a checkpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// `config.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The vision tower is nowhere.
    #[error(
        "{}: the weights of the vision tower {name:?} are neither among the checkpoint's nor in \
         {place}; put them there: `hf download {name} --local-dir {place}`", dir.display()
    )]
    NoTower {
        /// The checkpoint's folder.
        dir: PathBuf,
        /// What `mm_vision_tower` says.
        name: String,
        /// Where its folder is looked for.
        place: String,
    },
}

/// Opens `config.json` and the weights in `dir`, with the parts of the original LLaVA layout that
/// lie in files of their own: the projector in `mm_projector.bin`, and the tower in a folder of
/// its name within `dir` or beside it, or where `resolve` says.
///
/// Tensors are not compared with the configuration; that is [`Weights::check`].
///
/// # Errors
///
/// When a file cannot be read or used, or there is no tower.
pub fn open_checkpoint(
    dir: impl AsRef<Path>,
    resolve: ResolveTower,
) -> Result<(ModelConfig, Weights), CheckpointError> {
    let dir = dir.as_ref();
    let config = ModelConfig::open_with(dir, resolve)?;
    let mut weights = Weights::open(dir)?;
    let Some(LlavaLayout::Original { tower }) = config.llava().map(|llava| &llava.layout) else {
        return Ok((config, weights));
    };
    let has = |weights: &Weights, prefix: &str| weights.names().any(|n| n.starts_with(prefix));
    let projector = dir.join("mm_projector.bin");
    if !has(&weights, "multi_modal_projector.") && projector.exists() {
        let part = Weights::open_file(&projector)?;
        weights.adopt(part, |name| {
            name.starts_with("multi_modal_projector.").then(|| (name.to_owned(), None))
        })?;
    }
    if !has(&weights, CANONICAL) {
        let Some(folder) = find_tower(dir, tower, resolve) else {
            let place = dir.join(last_part(tower).unwrap_or("vision_tower"));
            let (dir, name) = (dir.to_owned(), tower.clone());
            return Err(CheckpointError::NoTower { dir, name, place: place.display().to_string() });
        };
        weights.adopt(Weights::open(folder)?, |name| {
            // CLIP's vision side, alone or within a whole CLIP, whose text side is left.
            let rest = name.strip_prefix("vision_model.").unwrap_or(name);
            let parts = ["embeddings.", "pre_layrnorm.", "encoder.", "post_layernorm."];
            let wanted = parts.iter().any(|part| rest.starts_with(part));
            wanted.then(|| (format!("{CANONICAL}{rest}"), Some(format!("{STORED}{rest}"))))
        })?;
    }
    Ok((config, weights))
}

/// The folder of a tower: within the checkpoint's, beside it, or where `resolve` says. Only the
/// last part of the name is looked for, so that a name cannot lead elsewhere.
pub(super) fn find_tower(dir: &Path, name: &str, resolve: ResolveTower) -> Option<PathBuf> {
    let part = last_part(name)?;
    let beside = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new("."));
    [dir.join(part), beside.join(part)]
        .into_iter()
        .find(|folder| folder.join("config.json").is_file())
        .or_else(|| resolve(name))
}

fn last_part(name: &str) -> Option<&str> {
    let part = name.trim_end_matches('/').rsplit(['/', '\\']).next()?;
    (!part.is_empty() && !part.starts_with('.') && !part.contains([':', '\0'])).then_some(part)
}
