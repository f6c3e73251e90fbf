//! Which combinations of shape, color and motion belong to which split.
//!
//! Number the shapes `s`, colors `c` and motions `m`. The triple `(s, c, m)` belongs to validation
//! where `(s + c + m) mod 6 = 0`, to test where it is 1, and to training otherwise. So every shape
//! with every motion is seen in training in four of the six colors, every color with every motion
//! and every shape with every color, too; what is new in the other splits is the triple alone.
//!
//! In training every object is of a training triple. In validation and test the main object is of
//! a triple of that split, and the others are of that split or of training.

use crate::{Color, Motion, Shape, Split};

/// The split that a combination belongs to.
#[must_use]
pub fn split_of(shape: Shape, color: Color, motion: Motion) -> Split {
    // The position in a fixed list; a motion is always in its list.
    let motion = Motion::ALL.iter().position(|m| *m == motion).unwrap_or_default();
    match (shape as usize + color as usize + motion) % Color::ALL.len() {
        0 => Split::Validation,
        1 => Split::Test,
        _ => Split::Train,
    }
}

/// The colors that an object of a clip in `split` may have.
pub(crate) fn colors(split: Split, is_main: bool, shape: Shape, motion: Motion) -> Vec<Color> {
    let allowed = |color: &Color| {
        let owner = split_of(shape, *color, motion);
        owner == split || (owner == Split::Train && !is_main)
    };
    Color::ALL.iter().copied().filter(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_and_motion_has_colors_in_every_split() {
        for &shape in Shape::ALL {
            for motion in Motion::ALL {
                let count = |split, is_main| colors(split, is_main, shape, motion).len();
                assert_eq!((count(Split::Train, true), count(Split::Train, false)), (4, 4));
                assert_eq!((count(Split::Test, true), count(Split::Test, false)), (1, 5));
                assert_eq!(count(Split::Validation, true), 1);
            }
        }
    }

    #[test]
    fn worked_triples() {
        let red_circle = |motion| split_of(Shape::Circle, Color::Red, motion);
        assert_eq!(red_circle(Motion::ALL[0]), Split::Validation);
        assert_eq!(red_circle(Motion::ALL[1]), Split::Test);
        assert_eq!(red_circle(Motion::ALL[2]), Split::Train);
        // 3 + 4 + 5 = 12.
        let (cross, purple) = (Shape::Cross, Color::Purple);
        assert_eq!(split_of(cross, purple, Motion::Grows), Split::Validation);
    }
}
