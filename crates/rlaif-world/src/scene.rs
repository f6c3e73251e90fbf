//! The scene graph: what is in a clip, exactly.

use serde::Serialize;

use crate::{Color, Direction, Encounter, Motion, Phase, Shape, Split, WorldConfig};

/// Everything there is to know about a clip. The frames are drawn from it and the answers are
/// read off it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scene {
    /// The settings it was made with.
    pub config: WorldConfig,
    /// The split it belongs to.
    pub split: Split,
    /// Its index in the split.
    pub index: u64,
    /// Brightness of the gray background, 0 to 255.
    pub background: u8,
    /// One to three objects, no two of one shape. The first is the main object, and the largest.
    pub objects: Vec<Object>,
    /// What the first two objects do together, where they do something.
    pub encounter: Option<Encounter>,
}

/// One object and its way through the clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Object {
    /// Its shape, the same throughout.
    pub shape: Shape,
    /// Its color at first.
    pub color: Color,
    /// Its color in the end: another one only where it changes color.
    pub color_after: Color,
    /// What it does.
    pub motion: Motion,
    /// When its event happens, for motions that are events.
    pub event: Option<Event>,
    /// What it is in each frame.
    pub states: Vec<State>,
}

/// The moment at which an object appears, vanishes or changes color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The first frame after it.
    pub frame: usize,
    /// When that is, in words.
    pub phase: Phase,
}

/// An object in one frame. Lengths are in pixels, the origin is the upper left corner of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct State {
    /// Its center, to the right.
    pub x: f64,
    /// Its center, downwards.
    pub y: f64,
    /// Half the side of the box it fills.
    pub radius: f64,
    /// Its color.
    pub color: Color,
    /// Whether it is there.
    pub visible: bool,
}

/// The first or the last frame, as questions name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Start,
    End,
}

impl Moment {
    pub(crate) const BOTH: [Moment; 2] = [Moment::Start, Moment::End];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Moment::Start => "at the start",
            Moment::End => "at the end",
        }
    }
}

impl Object {
    /// The state in the first or last frame.
    pub(crate) fn at(&self, moment: Moment) -> State {
        match moment {
            Moment::Start => self.states[0],
            Moment::End => self.states[self.states.len() - 1],
        }
    }

    /// Color and shape: `red circle`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.color.word(), self.shape.word())
    }

    /// Color, shape and motion: `red circle moves left`.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} {}", self.name(), self.motion.words())
    }

    /// Whether it has this color in some frame.
    #[must_use]
    pub fn has_color(&self, color: Color) -> bool {
        self.color == color || self.color_after == color
    }
}

impl Scene {
    /// The one unit of length: a thirty-second of the frame's side.
    pub(crate) fn unit(&self) -> f64 {
        f64::from(self.config.size) / 32.0
    }

    /// The part of the frame in which an object's center lies, `top left`, or `None` where it
    /// lies too near to a border between parts for the answer to be beyond doubt.
    #[must_use]
    pub fn place(&self, state: &State) -> Option<&'static str> {
        let middle = f64::from(self.config.size) / 2.0;
        let third = |offset: f64| {
            let offset = offset / self.unit();
            if offset.abs() <= 2.5 {
                Some(0)
            } else if offset.abs() >= 4.5 {
                Some(if offset > 0.0 { 1 } else { -1 })
            } else {
                None
            }
        };
        Some(match (third(state.x - middle)?, third(state.y - middle)?) {
            (-1, -1) => "top left",
            (1, -1) => "top right",
            (-1, 1) => "bottom left",
            (1, 1) => "bottom right",
            (-1, _) => "left",
            (1, _) => "right",
            (_, -1) => "top",
            (_, 1) => "bottom",
            _ => "center",
        })
    }

    /// Where `a` lies as seen from `b`, or `None` where two answers could be defended.
    #[must_use]
    pub fn side(&self, a: &State, b: &State) -> Option<Direction> {
        let (dx, dy) = ((a.x - b.x) / self.unit(), (a.y - b.y) / self.unit());
        let clear =
            |along: f64, across: f64| along.abs() >= 6.0 && along.abs() >= across.abs() + 3.0;
        if clear(dx, dy) {
            Some(if dx > 0.0 { Direction::Right } else { Direction::Left })
        } else if clear(dy, dx) {
            Some(if dy > 0.0 { Direction::Down } else { Direction::Up })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(x: f64, y: f64) -> State {
        State { x, y, radius: 4.0, color: Color::Red, visible: true }
    }

    #[test]
    fn places_and_sides_are_named_only_where_clear() {
        let scene = crate::scene(&WorldConfig::default(), Split::Train, 0);
        for (x, y, place) in [
            (16.0, 16.0, Some("center")),
            (8.0, 17.0, Some("left")),
            (8.0, 8.0, Some("top left")),
            (24.0, 24.0, Some("bottom right")),
            (15.0, 24.0, Some("bottom")),
            (12.5, 16.0, None),
        ] {
            assert_eq!(scene.place(&state(x, y)), place, "{x} {y}");
        }
        let b = state(16.0, 16.0);
        assert_eq!(scene.side(&state(8.0, 18.0), &b), Some(Direction::Left));
        assert_eq!(scene.side(&state(17.0, 25.0), &b), Some(Direction::Down));
        assert_eq!(scene.side(&state(24.0, 24.0), &b), None);
        assert_eq!(scene.side(&state(20.0, 16.0), &b), None);
    }
}
