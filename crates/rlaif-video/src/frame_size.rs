//! In which size frames are wanted.

use serde::{Deserialize, Serialize};

use crate::VideoError;

/// The size in which frames are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FrameSize {
    /// As they are in the file; images of a folder must then agree in size.
    #[default]
    Native,
    /// The shorter side gets this many pixels, the longer one keeps the aspect ratio.
    ShortestEdge {
        /// Pixels of the shorter side.
        pixels: u32,
    },
    /// The longer side gets at most this many pixels, the shorter one keeps the aspect ratio; frames
    /// are never enlarged.
    LongestEdge {
        /// Pixels of the longer side, at most.
        pixels: u32,
    },
    /// Both sides as given, whatever the aspect ratio; images of a folder may then differ.
    Exact {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

impl FrameSize {
    /// Width and height of a frame that is `width` x `height` in the file.
    ///
    /// # Errors
    ///
    /// [`VideoError::Sampling`] where a side would be 0.
    pub fn of(self, width: u32, height: u32) -> Result<(u32, u32), VideoError> {
        let (width, height) = match self {
            FrameSize::Native => (width, height),
            FrameSize::Exact { width, height } => (width, height),
            FrameSize::ShortestEdge { pixels } => {
                let (short, long) = (width.min(height), width.max(height));
                let long = u64::from(pixels) * u64::from(long) / u64::from(short.max(1));
                let long = u32::try_from(long).unwrap_or(u32::MAX);
                if width <= height { (pixels, long) } else { (long, pixels) }
            }
            FrameSize::LongestEdge { pixels } => {
                let (short, long) = (width.min(height), width.max(height));
                if long <= pixels {
                    return Self::Native.of(width, height);
                }
                // Rounded to the nearest pixel; a hair of a frame keeps one.
                let (wanted, long) = (u64::from(pixels), u64::from(long));
                let short = (u64::from(short) * wanted + long / 2) / long;
                let short = u32::try_from(short).unwrap_or(pixels).max(u32::from(pixels > 0));
                if width <= height { (short, pixels) } else { (pixels, short) }
            }
        };
        if width == 0 || height == 0 {
            return Err(VideoError::Sampling(format!(
                "the frame size must be above 0, got {width} x {height}"
            )));
        }
        Ok((width, height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_edge_bounds_both_sides_and_enlarges_none() {
        let within = |pixels, width, height| {
            FrameSize::LongestEdge { pixels }.of(width, height).map_err(|error| error.to_string())
        };
        assert_eq!(within(64, 128, 72), Ok((64, 36)));
        assert_eq!(within(64, 72, 128), Ok((36, 64)));
        // 100 * 64 / 199 = 32.16, 101 * 64 / 199 = 32.48, 102 * 64 / 199 = 32.8.
        assert_eq!(within(64, 199, 100), Ok((64, 32)));
        assert_eq!(within(64, 199, 102), Ok((64, 33)));
        assert_eq!(within(64, 64, 10), Ok((64, 10)));
        assert_eq!(within(64, 5000, 2), Ok((64, 1)));
        assert_eq!(within(64, 10, 20), Ok((10, 20)));
        assert!(within(0, 10, 20).unwrap_err().contains("above 0"));
    }
}
