//! From a scene to pixels.

use rlaif_data::{Clip, Frame, VideoMetadata};
use sha2::{Digest, Sha256};

use crate::{
    Scene, Shape, State, WorldError, address,
    config::{FPS, WORLD_VERSION},
    parse_address, scene,
};

/// The frames of a scene. Later objects are drawn over earlier ones; edges are crisp.
#[must_use]
pub fn frames(scene: &Scene) -> Vec<Frame> {
    (0..scene.config.frames).map(|index| frame(scene, index)).collect()
}

fn frame(scene: &Scene, index: usize) -> Frame {
    let size = scene.config.size;
    let mut rgb = vec![scene.background; size as usize * size as usize * 3];
    for object in &scene.objects {
        let state = &object.states[index];
        if !state.visible {
            continue;
        }
        let color = state.color.rgb();
        let pixels = (0..size).flat_map(|y| (0..size).map(move |x| (x, y)));
        for ((x, y), pixel) in pixels.zip(rgb.chunks_exact_mut(3)) {
            if covers(object.shape, state, f64::from(x) + 0.5, f64::from(y) + 0.5) {
                pixel.copy_from_slice(&color);
            }
        }
    }
    Frame { width: size, height: size, rgb }
}

/// Whether the point lies in the shape.
fn covers(shape: Shape, state: &State, x: f64, y: f64) -> bool {
    let (dx, dy, r) = ((x - state.x).abs(), y - state.y, state.radius);
    match shape {
        Shape::Circle => dx * dx + dy * dy <= r * r,
        Shape::Square => dx <= r && dy.abs() <= r,
        Shape::Triangle => dy.abs() <= r && dx <= f64::midpoint(r, dy),
        Shape::Cross => dx.max(dy.abs()) <= r && dx.min(dy.abs()) <= r * 0.34,
    }
}

/// The clip at an address: its frames, their times at [`FPS`] frames a second, and a digest of the
/// address and of [`WORLD_VERSION`], on which every pixel depends.
///
/// ```
/// let clip = rlaif_world::clip_at("test/3")?;
/// assert_eq!((clip.frames.len(), clip.frames[0].width), (8, 32));
/// assert_eq!(clip.timestamps[..2], [0.0, 0.25]);
/// # Ok::<(), rlaif_world::WorldError>(())
/// ```
///
/// # Errors
///
/// As [`parse_address`].
pub fn clip_at(text: &str) -> Result<Clip, WorldError> {
    let (config, split, index) = parse_address(text)?;
    let frames = frames(&scene(&config, split, index));
    let video = VideoMetadata::new(frames.len(), f64::from(FPS), (0..frames.len()).collect());
    // From what was read, so that two spellings of one address share their features.
    let name = format!("ClipWorld {WORLD_VERSION} {}", address(&config, split, index));
    let digest = format!("{:x}", Sha256::digest(name));
    Ok(Clip { frames, timestamps: video.timestamps(), digest, video })
}

/// All frames of a scene side by side as a PNG file, each pixel `scale` pixels wide (at least 1),
/// with a thin line between frames.
#[must_use]
pub fn contact_sheet(scene: &Scene, scale: u32) -> Vec<u8> {
    const LINE: [u8; 3] = [120, 120, 120];
    let scale = scale.max(1);
    let frames: Vec<Frame> = frames(scene).iter().map(|frame| magnified(frame, scale)).collect();
    let side = frames[0].width as usize;
    let gap = scale as usize / 2 + 1;
    let mut rows = Vec::new();
    for y in 0..side {
        for (i, frame) in frames.iter().enumerate() {
            if i > 0 {
                rows.extend(LINE.repeat(gap));
            }
            rows.extend(&frame.rgb[y * side * 3..(y + 1) * side * 3]);
        }
    }
    png(rows.len() / 3 / side, side, &rows)
}

/// Every pixel as a square of `scale` pixels.
pub(crate) fn magnified(frame: &Frame, scale: u32) -> Frame {
    let times = scale as usize;
    let mut rgb = Vec::with_capacity(frame.rgb.len() * times * times);
    for row in frame.rgb.chunks_exact(frame.width as usize * 3) {
        let wide: Vec<u8> = row.chunks_exact(3).flat_map(|pixel| pixel.repeat(times)).collect();
        rgb.extend(wide.repeat(times));
    }
    Frame { width: frame.width * scale, height: frame.height * scale, rgb }
}

fn png(width: usize, height: usize, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = |n: usize| u32::try_from(n).expect("a sheet of at most 1024 frames fits a PNG");
    let mut encoder = png::Encoder::new(&mut bytes, side(width), side(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(rgb))
        .expect("writing to memory with matching sizes does not fail");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Motion, Split, WorldConfig};

    /// Number of pixels and their mean position, of one color of one frame.
    fn blob(frame: &Frame, color: [u8; 3]) -> Option<(f64, f64, f64)> {
        let (mut n, mut x, mut y) = (0.0, 0.0, 0.0);
        for (i, pixel) in frame.rgb.chunks_exact(3).enumerate() {
            if pixel == color {
                n += 1.0;
                x += (i % frame.width as usize) as f64 + 0.5;
                y += (i / frame.width as usize) as f64 + 0.5;
            }
        }
        (n > 0.0).then(|| (n, x / n, y / n))
    }

    proptest! {
        /// Looks at the pixels alone and finds what the scene says.
        #[test]
        fn pixels_agree_with_the_scene(index: u64, split in proptest::sample::select(&Split::ALL[..])) {
            let scene = scene(&WorldConfig::default(), split, index);
            let frames = frames(&scene);
            for (i, object) in scene.objects.iter().enumerate() {
                let alone = |color| {
                    scene.objects.iter().enumerate().all(|(j, o)| i == j || !o.has_color(color))
                };
                if !alone(object.color) || !alone(object.color_after) {
                    continue;
                }
                // In the frames in which objects touch, one may hide a row of the other.
                let touching = scene.encounter == Some(crate::Encounter::Collide);
                let tolerance = if touching { 1.0 } else { 0.75 };
                let mut seen = Vec::new();
                for (frame, state) in frames.iter().zip(&object.states) {
                    let found = blob(frame, state.color.rgb());
                    prop_assert_eq!(found.is_some(), state.visible);
                    let Some((n, x, y)) = found else { continue };
                    // A triangle's centroid lies a third of its radius below its box's center.
                    let below = if object.shape == Shape::Triangle { state.radius / 3.0 } else { 0.0 };
                    prop_assert!((x - state.x).abs() < tolerance, "{} {}", x, state.x);
                    prop_assert!((y - state.y - below).abs() < tolerance + 0.4, "{} {}", y, state.y);
                    seen.push((n, x, y, state.color));
                }
                let (first, last) = (seen[0], seen[seen.len() - 1]);
                let (dx, dy) = (last.1 - first.1, last.2 - first.2);
                match object.motion {
                    Motion::Moves(direction) => {
                        let (along, across) = if direction.is_horizontal() { (dx, dy) } else { (dy, dx) };
                        prop_assert!(along * direction.sign() > 3.0 && across.abs() < 1.5);
                    }
                    Motion::Grows => prop_assert!(last.0 > first.0 * 1.8),
                    Motion::Shrinks => prop_assert!(first.0 > last.0 * 1.8),
                    Motion::Stays => prop_assert!(first == last && seen.len() == frames.len()),
                    Motion::Appears | Motion::Vanishes => prop_assert!(seen.len() < frames.len()),
                    Motion::Changes => prop_assert!(first.3 != last.3 && seen.len() == frames.len()),
                }
            }
        }
    }

    #[test]
    fn digests_follow_what_is_shown() {
        let digest = |address| clip_at(address).unwrap().digest;
        assert_eq!(digest("test/3"), digest("test/03@0"));
        assert_eq!(digest("test/3").len(), 64);
        for other in ["test/4", "train/3", "test/3@1", "test/3@frames=16"] {
            assert_ne!(digest("test/3"), digest(other), "{other}");
        }
        assert!(clip_at("nowhere").is_err());
    }

    #[test]
    fn a_square_covers_its_box() {
        let state = State { x: 4.0, y: 4.0, radius: 2.0, color: crate::Color::Red, visible: true };
        let count = |shape| {
            (0..64)
                .filter(|i| covers(shape, &state, f64::from(i % 8) + 0.5, f64::from(i / 8) + 0.5))
                .count()
        };
        assert_eq!(count(Shape::Square), 16);
        assert_eq!(count(Shape::Circle), 12);
        assert_eq!(count(Shape::Triangle), 8);
        assert_eq!(count(Shape::Cross), 12);
    }

    #[test]
    fn a_contact_sheet_is_a_picture_of_all_frames() {
        let scene = scene(&WorldConfig::default(), Split::Test, 0);
        let sheet = contact_sheet(&scene, 2);
        let mut reader = png::Decoder::new(std::io::Cursor::new(sheet)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (8 * 64 + 7 * 2, 64));
        assert_eq!(pixels[..3], frames(&scene)[0].rgb[..3]);
    }
}
