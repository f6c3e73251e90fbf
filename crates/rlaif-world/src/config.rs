//! The settings of a world, its splits, and the random streams that everything is drawn from.

use std::{fmt, str::FromStr};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::WorldError;

/// Changes whenever the same address would show other pixels or ask other questions.
pub const WORLD_VERSION: u32 = 1;

/// Frames a second of every clip.
pub const FPS: u32 = 4;

/// Fewest frames in which an event can be early, midway or late.
const MIN_FRAMES: usize = 4;
/// Fewest pixels in which the shapes can be told apart.
const MIN_SIZE: u32 = 16;
/// Frames and pixels beyond this are a slip of the pen and would only fill the memory.
const MAX_FRAMES: usize = 1024;
const MAX_SIZE: u32 = 1024;

/// Most objects that a clip ever shows.
const MAX_OBJECTS: usize = 3;

/// What a world is made of; with a [`Split`] and an index it names one clip.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Another seed is another world; default 0.
    pub seed: u64,
    /// Frames of a clip, 4 to 1024; default 8.
    pub frames: usize,
    /// Width and height of a frame in pixels, 16 to 1024; default 32.
    pub size: u32,
    /// Most objects in a clip, 1 to 3; default 3. With one there is nothing to tell apart, and no
    /// question that compares.
    pub max_objects: usize,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig { seed: 0, frames: 8, size: 32, max_objects: MAX_OBJECTS }
    }
}

impl WorldConfig {
    /// Checks that the settings are in their ranges.
    ///
    /// # Errors
    ///
    /// [`WorldError::Config`] names the setting that is not.
    pub fn validate(&self) -> Result<(), WorldError> {
        if !(MIN_FRAMES..=MAX_FRAMES).contains(&self.frames) {
            let why = format!("{} frames; set {MIN_FRAMES} to {MAX_FRAMES}", self.frames);
            return Err(WorldError::Config { field: "frames", why });
        }
        if !(MIN_SIZE..=MAX_SIZE).contains(&self.size) {
            let why = format!("{} pixels; set {MIN_SIZE} to {MAX_SIZE}", self.size);
            return Err(WorldError::Config { field: "size", why });
        }
        if !(1..=MAX_OBJECTS).contains(&self.max_objects) {
            let why = format!("{} objects; set 1 to {MAX_OBJECTS}", self.max_objects);
            return Err(WorldError::Config { field: "max_objects", why });
        }
        Ok(())
    }

    /// The settings with what is out of range taken to the nearest legal value.
    pub(crate) fn in_range(&self) -> Self {
        WorldConfig {
            seed: self.seed,
            frames: self.frames.clamp(MIN_FRAMES, MAX_FRAMES),
            size: self.size.clamp(MIN_SIZE, MAX_SIZE),
            max_objects: self.max_objects.clamp(1, MAX_OBJECTS),
        }
    }

    /// The random stream for one `purpose` in one clip: no two streams share numbers.
    pub(crate) fn stream(&self, split: Split, index: u64, purpose: &str) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        hash.update(format!("ClipWorld {WORLD_VERSION} {} {split} {index} {purpose}", self.seed));
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

/// A part of the world. The parts differ in their seeds and in the combinations they show: see
/// [`holdout`](crate::holdout).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose settings by.
    Validation,
    /// To report.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The name in addresses and file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that no split has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown split `{name}`; the splits are `train`, `validation` and `test`")]
pub struct UnknownSplit {
    /// The name that was given.
    pub name: String,
}

impl FromStr for Split {
    type Err = UnknownSplit;

    fn from_str(name: &str) -> Result<Self, UnknownSplit> {
        Split::ALL
            .into_iter()
            .find(|split| split.as_str() == name)
            .ok_or_else(|| UnknownSplit { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_read_as_they_print() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse(), Ok(split));
        }
        let error = "dev".parse::<Split>().unwrap_err().to_string();
        assert!(error.contains("`dev`") && error.contains("`validation`"), "{error}");
    }

    #[test]
    fn settings_have_defaults_and_ranges() {
        let config: WorldConfig = serde_json::from_str(r#"{"seed": 3}"#).unwrap();
        assert_eq!(config, WorldConfig { seed: 3, ..WorldConfig::default() });
        assert!(serde_json::from_str::<WorldConfig>(r#"{"sed": 3}"#).is_err());
        let error = WorldConfig { frames: 2, ..config.clone() }.validate().unwrap_err();
        assert!(error.to_string().contains("`frames`"), "{error}");
        assert!(WorldConfig { size: 8, ..config }.validate().is_err());
    }
}
