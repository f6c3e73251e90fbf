#![doc = include_str!("../README.md")]

pub mod arange;
pub mod atomic;
pub mod clip;
pub mod columns;
pub mod completion;
mod content;
pub mod error;
pub mod example;
mod layout;
pub mod message;
pub mod preference;
pub mod preference_file;
pub mod preference_row;
pub mod reader;
mod rows;

pub use arange::arange_f32;
pub use atomic::{WriteError, write_atomic, write_atomic_with, write_jsonl};
pub use clip::{Clip, Frame, Pixels, VideoMetadata, VideoRef};
pub use columns::{ColumnClash, Columns};
pub use completion::{Completion, FinishReason, Group};
pub use error::DataError;
pub use example::{Choices, Example};
pub use message::{Block, Message, Role};
pub use preference::Preference;
pub use preference_file::{write_preference_array, write_preferences};
pub use preference_row::{PreferenceLayout, PreferenceRowError};
pub use reader::{Loaded, Note, Reader, read_examples, read_preferences};
