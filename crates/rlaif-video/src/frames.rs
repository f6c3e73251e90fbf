//! What the processors of all families do to the frames of a clip.

use rlaif_data::{Clip, Frame, Pixels, VideoMetadata};

use crate::preprocess::{FRAME_PIXELS_LIMIT, PreprocessError};

/// Frames of one size as planes `[F, 3, H, W]`, each byte of a channel as its table has it.
pub(crate) fn lay_out(
    frames: &[Frame],
    tables: &[[f32; 256]; 3],
    digest: String,
    video: VideoMetadata,
) -> Result<Pixels, PreprocessError> {
    let first = frames.first().ok_or(PreprocessError::NoFrames)?;
    let (width, height) = (first.width, first.height);
    let area = width as usize * height as usize;
    let mut values = Vec::with_capacity(frames.len() * 3 * area);
    for (index, frame) in frames.iter().enumerate() {
        if (frame.width, frame.height) != (width, height) {
            return Err(PreprocessError::MixedSizes {
                frame: index,
                expected: format!("{width} x {height}"),
                got: format!("{} x {}", frame.width, frame.height),
            });
        }
        for (channel, table) in tables.iter().enumerate() {
            let bytes = frame.rgb.iter().skip(channel).step_by(3);
            values.extend(bytes.map(|byte| table[usize::from(*byte)]));
        }
    }
    Ok(Pixels {
        frames: frames.len(),
        height: height as usize,
        width: width as usize,
        values,
        digest,
        video,
    })
}

/// Runs a step on each frame of a clip; an error about a frame gets its index.
pub(crate) fn each_frame(
    clip: &Clip,
    step: impl Fn(&Frame) -> Result<Frame, PreprocessError>,
) -> Result<Vec<Frame>, PreprocessError> {
    let at = |index, error| match error {
        PreprocessError::BadFrame { width, height, bytes, .. } => {
            PreprocessError::BadFrame { frame: index, width, height, bytes }
        }
        other => other,
    };
    let frames = clip.frames.iter().enumerate();
    frames.map(|(index, frame)| step(frame).map_err(|error| at(index, error))).collect()
}

pub(crate) fn within_limit(width: u64, height: u64) -> Result<(u32, u32), PreprocessError> {
    let too_large = PreprocessError::TooLarge { width, height };
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(w), Ok(h)) if width.saturating_mul(height) <= FRAME_PIXELS_LIMIT => Ok((w, h)),
        _ => Err(too_large),
    }
}

/// Refuses a frame whose buffer does not match its size.
pub(crate) fn check_frame(frame: &Frame) -> Result<(), PreprocessError> {
    let bytes = u64::from(frame.width) * u64::from(frame.height) * 3;
    if bytes == 0 || frame.rgb.len() as u64 != bytes {
        return Err(PreprocessError::BadFrame {
            frame: 0,
            width: frame.width,
            height: frame.height,
            bytes: frame.rgb.len(),
        });
    }
    Ok(())
}

/// What each byte of a channel becomes, in the precision and order of torchvision's fused step:
/// mean and deviation are brought to bytes in f32, the byte is normalised by them.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
pub(crate) fn torch_tables(
    rescale: Option<f64>,
    normalize: Option<[[f64; 3]; 2]>,
) -> [[f32; 256]; 3] {
    let of = |channel: usize, byte: usize| {
        let value = byte as f32;
        match (normalize, rescale) {
            (None, None) => value,
            (None, Some(factor)) => value * factor as f32,
            (Some(statistics), rescale) => {
                let unit = rescale.map_or(1.0, |factor| (1.0 / factor) as f32);
                let [mean, std] = statistics.map(|channels| channels[channel] as f32 * unit);
                (value - mean) / std
            }
        }
    };
    std::array::from_fn(|channel| std::array::from_fn(|byte| of(channel, byte)))
}
