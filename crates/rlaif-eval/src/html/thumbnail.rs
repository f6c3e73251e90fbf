//! Frames as PNG data URLs.

use base64::Engine;
use rlaif_data::{Clip, Frame};

/// Most frames of a clip that are shown, evenly spread.
const MAX_FRAMES: usize = 8;

/// Longest side of a thumbnail in pixels; larger frames are averaged down to it.
const MAX_SIDE: u32 = 128;

/// A frame that cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes do not fill the frame.
    #[error(
        "frame {frame} of clip `{clip}`: expected {width} x {height} x 3 bytes, got {got}; \
         decode the clip again"
    )]
    WrongSize {
        /// Digest of the clip.
        clip: String,
        /// Index of the frame.
        frame: usize,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes that are there.
        got: usize,
    },
    /// The PNG encoder refused the frame.
    #[error("frame {frame} of clip `{clip}` cannot be encoded as PNG")]
    Encoding {
        /// Digest of the clip.
        clip: String,
        /// Index of the frame.
        frame: usize,
        /// Why.
        source: png::EncodingError,
    },
}

/// One frame to show.
pub(super) struct Thumbnail {
    /// Seconds from the start of the video, where the clip says so.
    pub(super) seconds: Option<f64>,
    /// `data:image/png;base64,...`
    pub(super) url: String,
}

/// At most eight frames of a clip, the first and the last among them.
pub(super) fn thumbnails(clip: &Clip) -> Result<Vec<Thumbnail>, FrameError> {
    let shown = clip.frames.len().min(MAX_FRAMES);
    (0..shown)
        .map(|i| {
            let frame = if shown > 1 { i * (clip.frames.len() - 1) / (shown - 1) } else { 0 };
            let url = data_url(&clip.frames[frame], &clip.digest, frame)?;
            Ok(Thumbnail { seconds: clip.timestamps.get(frame).copied(), url })
        })
        .collect()
}

fn data_url(frame: &Frame, clip: &str, index: usize) -> Result<String, FrameError> {
    let (width, height) = (frame.width, frame.height);
    let bytes = width as usize * height as usize * 3;
    if bytes == 0 || frame.rgb.len() != bytes {
        let (clip, got) = (clip.to_owned(), frame.rgb.len());
        return Err(FrameError::WrongSize { clip, frame: index, width, height, got });
    }
    let small = shrink(frame);
    let mut png = Vec::new();
    let encode = |png: &mut Vec<u8>| {
        let mut encoder = png::Encoder::new(png, small.width, small.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&small.rgb)?;
        writer.finish()
    };
    encode(&mut png).map_err(|source| FrameError::Encoding {
        clip: clip.to_owned(),
        frame: index,
        source,
    })?;
    Ok(format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png)))
}

/// The frame with its longer side at most [`MAX_SIDE`], each pixel the mean of those it covers.
fn shrink(frame: &Frame) -> Frame {
    let side = frame.width.max(frame.height);
    if side <= MAX_SIDE {
        return frame.clone();
    }
    let scaled = |length: u32| (length * MAX_SIDE / side).max(1);
    let (width, height) = (scaled(frame.width), scaled(frame.height));
    let stretch = |at: u32, small: u32, large: u32| {
        let from = at * large / small;
        from as usize..(((at + 1) * large / small).max(from + 1)) as usize
    };
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut n) = ([0_u32; 3], 0);
            for row in stretch(y, height, frame.height) {
                for column in stretch(x, width, frame.width) {
                    let at = (row * frame.width as usize + column) * 3;
                    for (sum, value) in sum.iter_mut().zip(&frame.rgb[at..at + 3]) {
                        *sum += u32::from(*value);
                    }
                    n += 1;
                }
            }
            rgb.extend(sum.map(|s| u8::try_from(s / n).unwrap_or(u8::MAX)));
        }
    }
    Frame { width, height, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(frames: usize, width: u32, height: u32) -> Clip {
        let shade = |i: usize| u8::try_from(i * 10).unwrap();
        let rgb = |i| vec![shade(i); (width * height * 3) as usize];
        Clip {
            frames: (0..frames).map(|i| Frame { width, height, rgb: rgb(i) }).collect(),
            timestamps: (0..frames).map(|i| i as f64).collect(),
            digest: "d".to_owned(),
            video: rlaif_data::VideoMetadata::default(),
        }
    }

    fn decode(url: &str) -> (u32, u32, Vec<u8>) {
        let base64 = url.strip_prefix("data:image/png;base64,").unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        (info.width, info.height, rgb)
    }

    #[test]
    fn frames_survive_the_way_into_the_page() {
        let thumbnails = thumbnails(&clip(3, 4, 2)).unwrap();
        assert_eq!(thumbnails.len(), 3);
        assert_eq!(thumbnails[2].seconds, Some(2.0));
        assert_eq!(decode(&thumbnails[2].url), (4, 2, vec![20; 24]));
    }

    #[test]
    fn long_clips_show_both_ends() {
        let thumbnails = thumbnails(&clip(20, 2, 2)).unwrap();
        let seconds: Vec<f64> = thumbnails.iter().filter_map(|t| t.seconds).collect();
        assert_eq!(seconds.len(), MAX_FRAMES);
        assert_eq!((seconds[0], seconds[7]), (0.0, 19.0));
        assert!(super::thumbnails(&clip(0, 2, 2)).unwrap().is_empty());
    }

    #[test]
    fn large_frames_shrink_by_averaging() {
        // Columns alternate between 0 and 200: each pixel of the half-size frame is 100.
        let rgb = (0..256 * 2).flat_map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3]).collect();
        let small = shrink(&Frame { width: 256, height: 2, rgb });
        assert_eq!((small.width, small.height), (128, 1));
        assert_eq!(small.rgb, vec![100; 128 * 3]);
        assert_eq!(shrink(&Frame { width: 1000, height: 1, rgb: vec![7; 3000] }).height, 1);
    }

    #[test]
    fn a_frame_of_the_wrong_size_is_named() {
        let mut broken = clip(2, 4, 2);
        broken.frames[1].rgb.pop();
        let error = thumbnails(&broken).err().unwrap().to_string();
        assert!(error.contains("frame 1 of clip `d`: expected 4 x 2 x 3 bytes, got 23"), "{error}");
    }
}
