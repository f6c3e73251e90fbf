//! Frames laid on other frames: padding to a square, cutting out the middle.

use rlaif_data::Frame;

/// The frame in the middle of a square as wide as its longer side; the odd pixel of border goes
/// below or to the right.
pub(crate) fn pad_to_square(frame: &Frame, color: [u8; 3]) -> Frame {
    let side = frame.width.max(frame.height);
    let (left, top) = ((side - frame.width) / 2, (side - frame.height) / 2);
    let mut square = Frame { width: side, height: side, rgb: Vec::new() };
    square.rgb = color.repeat(side as usize * side as usize);
    paste(frame, &mut square, i64::from(left), i64::from(top));
    square
}

/// `transformers`' centre crop: a frame smaller than the crop lies in the middle of black, the
/// odd pixel of border above or to the left.
pub(crate) fn center_crop(frame: &Frame, width: u32, height: u32) -> Frame {
    // Where the crop's corner lies in the frame, rounded towards minus infinity.
    let corner = |old: u32, new: u32| (i64::from(old) - i64::from(new)).div_euclid(2);
    let mut crop = Frame { width, height, rgb: vec![0; width as usize * height as usize * 3] };
    let (left, top) = (corner(frame.width, width), corner(frame.height, height));
    paste(frame, &mut crop, -left, -top);
    crop
}

/// Copies the part of `source` that lies on `target` when its corner is put at (left, top).
fn paste(source: &Frame, target: &mut Frame, left: i64, top: i64) {
    // Both frames are below 2^26 pixels, so that the casts below are of small numbers.
    let span = |offset: i64, source: u32, target: u32| -> (usize, usize, usize) {
        let from = (-offset).clamp(0, i64::from(source));
        let to = (i64::from(target) - offset).clamp(from, i64::from(source));
        let place = |value: i64| usize::try_from(value).unwrap_or(0);
        (place(from), place(to), place(from + offset))
    };
    let (x_from, x_to, x_place) = span(left, source.width, target.width);
    let (y_from, y_to, y_place) = span(top, source.height, target.height);
    let bytes = (x_to - x_from) * 3;
    for row in 0..y_to - y_from {
        let from = ((y_from + row) * source.width as usize + x_from) * 3;
        let to = ((y_place + row) * target.width as usize + x_place) * 3;
        target.rgb[to..to + bytes].copy_from_slice(&source.rgb[from..from + bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's -1 // 2 is -1: one black column on the left of 3 in 4, none on the right.
    #[test]
    fn crops_the_middle_and_pads_what_is_too_small() {
        let row = |values: &[u8]| Frame {
            width: u32::try_from(values.len()).unwrap(),
            height: 1,
            rgb: values.iter().flat_map(|v| [*v; 3]).collect(),
        };
        assert_eq!(center_crop(&row(&[1, 2, 3, 4, 5]), 2, 1), row(&[2, 3]));
        assert_eq!(center_crop(&row(&[1, 2, 3]), 4, 1), row(&[0, 1, 2, 3]));
        assert_eq!(center_crop(&row(&[1, 2]), 4, 1), row(&[0, 1, 2, 0]));
    }
}
