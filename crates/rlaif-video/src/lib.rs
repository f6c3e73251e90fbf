//! Video files and image sequences to sampled, resized, normalised frames.
//!
//! ```text
//! VideoRef --probe, sample, decode--> Clip --pad, resize, crop, normalise--> Pixels [F, 3, H, W]
//! ```
//!
//! [`mod@load`] has the one call that does it, [`sampling`] which frames are taken, [`mod@probe`] what a
//! file says of itself, [`images`] the clips that need no `ffmpeg`, [`preprocess`] and
//! [`resample`] the steps of `transformers`' CLIP image processor, equal to the bit, [`batch`] what
//! a run does about bad clips, and [`cache`] the store of vision features.
//!
//! Video files are read by the `ffmpeg` and `ffprobe` programs; nothing is linked. A path is never
//! taken for an option or an address, and ffmpeg may open local files only.

pub mod batch;
pub mod cache;
mod canvas;
mod decode;
pub mod digest;
pub mod error;
mod feature_file;
mod frame_size;
mod frames;
pub mod images;
pub mod load;
mod mp4;
mod original_llava;
pub mod preprocess;
mod preprocess_error;
pub mod preprocessor_config;
pub mod probe;
mod process;
pub mod processor;
pub mod qwen;
pub mod resample;
pub mod sampling;
mod settings;
pub mod smolvlm;

pub use batch::{BadClipPolicy, ClipCounts, SkippedClip, load_rows};
pub use cache::{CacheError, CacheStats, FeatureCache, Features};
pub use error::VideoError;
pub use frame_size::FrameSize;
pub use load::{LoadOptions, Loader, load, probe};
pub use preprocess::{PreprocessError, Preprocessor, Size};
pub use probe::Probe;
pub use processor::FrameProcessor;
pub use qwen::QwenVlProcessor;
pub use resample::Filter;
pub use sampling::{FRAMES_LIMIT, Sampling};
pub use smolvlm::SmolVlmProcessor;
