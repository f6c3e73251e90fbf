//! Clips from image files: folders, lists, and animated GIF, WebP and PNG, without ffmpeg.
//!
//! Transparency is laid on white and EXIF orientation applied, as `transformers` loads images.
//! JPEG pixels may differ from libjpeg-turbo's by a level or two.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
    error::ImageFormatHint,
};
use rlaif_data::Frame;

use crate::{
    LoadOptions, Sampling, VideoError,
    decode::{Decoded, Finish, distinct},
    preprocess::FRAME_PIXELS_LIMIT,
    process::Deadline,
};

/// Endings of the files that are taken from a folder, in lower case.
const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "gif"];
/// Seconds that a frame with a delay of 0 or 10 ms lasts: what browsers make of it.
const DEFAULT_DELAY: f64 = 0.1;

/// The image format of a file, by its first bytes; `None` for anything else.
pub(crate) fn sniff(path: &Path) -> Result<Option<ImageFormat>, VideoError> {
    let fail = |source| VideoError::io(path, source);
    let truncated =
        |detail: &str| VideoError::Truncated { path: path.to_owned(), detail: detail.to_owned() };
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut head = Vec::new();
    (&mut file).take(16).read_to_end(&mut head).map_err(fail)?;
    if head.is_empty() {
        return Err(truncated("the file is empty"));
    }
    let format = image::guess_format(&head).ok();
    // The WebP decoder takes the end of the file for the end of the animation.
    if format == Some(ImageFormat::WebP)
        && let Some(size) = head[4..].first_chunk::<4>()
        && u64::from(u32::from_le_bytes(*size)) + 8 > length
    {
        return Err(truncated("it is shorter than its header says"));
    }
    Ok(format.filter(|format| {
        matches!(
            format,
            ImageFormat::Gif | ImageFormat::WebP | ImageFormat::Png | ImageFormat::Jpeg
        )
    }))
}

/// The images of a folder in natural order: `frame2.png` before `frame10.png`.
///
/// Hidden files and files that do not end in png, jpg, jpeg, webp or gif are passed over.
///
/// # Errors
///
/// [`VideoError::FileMissing`], [`VideoError::Io`], or [`VideoError::ZeroFrames`] where the folder
/// holds no image.
pub fn list_folder(folder: &Path) -> Result<Vec<PathBuf>, VideoError> {
    let fail = |source| VideoError::io(folder, source);
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let is_image = ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()));
        if let Some(name) = name
            && is_image
            && !name.starts_with('.')
        {
            images.push((name, path));
        }
    }
    if images.is_empty() {
        return Err(VideoError::ZeroFrames { path: folder.to_owned() });
    }
    images.sort_by(|(a, _), (b, _)| natural_order(a, b));
    Ok(images.into_iter().map(|(_, path)| path).collect())
}

/// Compares runs of digits as numbers and everything else by character.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let number = |text: &str| {
                let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                (text[..end].trim_start_matches('0').to_owned(), end)
            };
            let ((m, m_end), (n, n_end)) = (number(left), number(right));
            (left, right) = (&left[m_end..], &right[n_end..]);
            m.len().cmp(&n.len()).then_with(|| m.cmp(&n))
        } else {
            (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Reads the sampled images of a list, taken at `options.image_fps`.
pub(crate) fn load_list(
    images: &[PathBuf],
    sampling: &Sampling,
    options: &LoadOptions,
    deadline: Deadline,
    finish: Finish,
) -> Result<Decoded, VideoError> {
    let video = sampling.of_video(images.len(), options.image_fps)?;
    let (wanted, places) = distinct(&video.indices);
    let mut decoded = Decoded { frames: Vec::new(), times: Vec::new(), places, video };
    for index in wanted {
        let path = &images[index];
        deadline.check(path)?;
        let frame = finish(still(path)?, decoded.places.len())?;
        options.within_memory(path, &frame, decoded.places.len())?;
        decoded.frames.push(frame);
        decoded.times.push(index as f64 / options.image_fps);
    }
    Ok(decoded)
}

/// Reads the sampled frames of one image file, which may be animated.
pub(crate) fn load_animation(
    path: &Path,
    format: ImageFormat,
    sampling: &Sampling,
    options: &LoadOptions,
    deadline: Deadline,
    finish: Finish,
) -> Result<Decoded, VideoError> {
    if !is_animated(path, format)? {
        let images = [path.to_owned()];
        return load_list(&images, sampling, options, deadline, finish);
    }
    // The number of frames shows at the end only: count first, then take.
    let mut ends = Vec::new();
    for frame in frames(path, format)? {
        deadline.check(path)?;
        let (numerator, denominator) =
            frame.map_err(|error| image_error(path, error))?.delay().numer_denom_ms();
        let seconds = f64::from(numerator) / f64::from(denominator.max(1)) / 1000.0;
        let start = ends.last().copied().unwrap_or(0.0);
        ends.push(start + if seconds <= 0.010 { DEFAULT_DELAY } else { seconds });
    }
    let Some(duration) = ends.last() else {
        return Err(VideoError::ZeroFrames { path: path.to_owned() });
    };
    let video = sampling.of_video(ends.len(), ends.len() as f64 / duration)?;
    let (wanted, places) = distinct(&video.indices);
    let mut decoded = Decoded { frames: Vec::new(), times: Vec::new(), places, video };
    for (index, frame) in frames(path, format)?.enumerate() {
        deadline.check(path)?;
        if decoded.frames.len() == wanted.len() {
            break;
        }
        let frame = frame.map_err(|error| image_error(path, error))?;
        if wanted[decoded.frames.len()] == index {
            let frame = on_white(DynamicImage::ImageRgba8(frame.into_buffer()));
            let frame = finish(frame, decoded.places.len())?;
            options.within_memory(path, &frame, decoded.places.len())?;
            decoded.frames.push(frame);
            decoded.times.push(if index == 0 { 0.0 } else { ends[index - 1] });
        }
    }
    Ok(decoded)
}

/// Reads one image, the first frame of an animated one.
fn still(path: &Path) -> Result<Frame, VideoError> {
    let io = |source| VideoError::io(path, source);
    sniff(path)?;
    let mut reader = ImageReader::new(open(path)?).with_guessed_format().map_err(io)?;
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(|error| image_error(path, error))?;
    let (width, height) = decoder.dimensions();
    check_size(path, width, height)?;
    let orientation = decoder.orientation().map_err(|error| image_error(path, error))?;
    let mut image =
        DynamicImage::from_decoder(decoder).map_err(|error| image_error(path, error))?;
    image.apply_orientation(orientation);
    Ok(on_white(image))
}

fn is_animated(path: &Path, format: ImageFormat) -> Result<bool, VideoError> {
    let fail = |error| image_error(path, error);
    Ok(match format {
        ImageFormat::Gif => true,
        ImageFormat::WebP => WebPDecoder::new(open(path)?).map_err(fail)?.has_animation(),
        ImageFormat::Png => {
            PngDecoder::new(open(path)?).and_then(|decoder| decoder.is_apng()).map_err(fail)?
        }
        _ => false,
    })
}

fn frames(path: &Path, format: ImageFormat) -> Result<image::Frames<'static>, VideoError> {
    let fail = |error| image_error(path, error);
    match format {
        ImageFormat::Gif => {
            let mut gif = GifDecoder::new(open(path)?).map_err(fail)?;
            let (width, height) = gif.dimensions();
            check_size(path, width, height)?;
            gif.set_limits(limits()).map_err(fail)?;
            Ok(gif.into_frames())
        }
        ImageFormat::WebP => {
            let mut webp = WebPDecoder::new(open(path)?).map_err(fail)?;
            let (width, height) = webp.dimensions();
            check_size(path, width, height)?;
            webp.set_limits(limits()).map_err(fail)?;
            Ok(webp.into_frames())
        }
        _ => {
            let png = PngDecoder::with_limits(open(path)?, limits()).map_err(fail)?;
            let (width, height) = png.dimensions();
            check_size(path, width, height)?;
            Ok(png.apng().map_err(fail)?.into_frames())
        }
    }
}

fn open(path: &Path) -> Result<BufReader<File>, VideoError> {
    File::open(path).map(BufReader::new).map_err(|source| VideoError::io(path, source))
}

/// Bounds on what a decoder may allocate: 4 bytes for each of the pixels allowed, twice.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LoadOptions::SIDE_LIMIT);
    limits.max_image_height = Some(LoadOptions::SIDE_LIMIT);
    limits.max_alloc = Some(FRAME_PIXELS_LIMIT * 8);
    limits
}

/// Refuses frames of more pixels than [`FRAME_PIXELS_LIMIT`] or longer sides than
/// [`LoadOptions::SIDE_LIMIT`].
pub(crate) fn check_size(path: &Path, width: u32, height: u32) -> Result<(), VideoError> {
    let side = LoadOptions::SIDE_LIMIT;
    if width > side || height > side || u64::from(width) * u64::from(height) > FRAME_PIXELS_LIMIT {
        return Err(VideoError::TooLarge {
            path: path.to_owned(),
            detail: format!(
                "a frame is {width} x {height} pixels, above {side} a side or {FRAME_PIXELS_LIMIT} \
                 in all"
            ),
        });
    }
    Ok(())
}

fn image_error(path: &Path, error: ImageError) -> VideoError {
    let path = path.to_owned();
    let text = error.to_string();
    match error {
        ImageError::Limits(_) => VideoError::TooLarge { path, detail: text },
        ImageError::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            VideoError::io(&path, source)
        }
        ImageError::Unsupported(inner)
            if matches!(inner.format_hint(), ImageFormatHint::Unknown) =>
        {
            VideoError::Undecodable { path, detail: "it is no image that is known here".to_owned() }
        }
        ImageError::IoError(_) => VideoError::Truncated { path, detail: text },
        _ if ["eof", "end of file", "end of stream", "unexpected end", "not enough bytes"]
            .iter()
            .any(|phrase| text.to_lowercase().contains(phrase)) =>
        {
            VideoError::Truncated { path, detail: text }
        }
        _ => VideoError::Undecodable { path, detail: text },
    }
}

/// The image as RGB; what is transparent shows white, blended as Pillow's `alpha_composite` does.
fn on_white(image: DynamicImage) -> Frame {
    let (width, height) = (image.width(), image.height());
    if !image.color().has_alpha() {
        return Frame { width, height, rgb: image.into_rgb8().into_raw() };
    }
    let rgba = image.into_rgba8();
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for pixel in rgba.pixels() {
        let [red, green, blue, alpha] = pixel.0;
        rgb.extend([red, green, blue].map(|value| over_white(value, alpha)));
    }
    Frame { width, height, rgb }
}

/// Pillow, `AlphaComposite.c`, for an opaque white background: 7 fraction bits, division by 255
/// by shifts.
fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    let sum = value * alpha * 128 + 255 * (255 - alpha) * 128 + (0x80 << 7);
    // A blend of two bytes is a byte.
    u8::try_from((((sum >> 8) + sum) >> 8) >> 7).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_sort_as_numbers() {
        let mut names =
            ["frame10.png", "frame9.png", "frame1.png", "frame01.png", "a2b3", "a2b20", "a10"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["a2b3", "a2b20", "a10", "frame01.png", "frame1.png", "frame9.png", "frame10.png"]
        );
        assert_eq!(natural_order("x", "x1"), Ordering::Less);
        let long = "9".repeat(40);
        assert_eq!(natural_order(&format!("f{long}"), "f10"), Ordering::Greater);
    }

    /// Opaque keeps the value, clear shows white, and half of black over white is about 127.
    #[test]
    fn transparency_shows_white() {
        for value in [0, 1, 77, 255] {
            assert_eq!(over_white(value, 255), value);
            assert_eq!(over_white(value, 0), 255);
        }
        assert_eq!(over_white(0, 128), 127);
    }
}
