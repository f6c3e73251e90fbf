//! The kinds of things there are: colors, shapes, motions, times, encounters, places.

use serde::{Deserialize, Serialize};

/// Declares a closed list of kinds with one word for each.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All of them, in their fixed order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word for it in questions and answers.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

kinds! {
    /// The color of an object.
    Color {
        /// Red.
        Red = "red",
        /// Green.
        Green = "green",
        /// Blue.
        Blue = "blue",
        /// Yellow.
        Yellow = "yellow",
        /// Purple.
        Purple = "purple",
        /// White.
        White = "white",
    }
}

impl Color {
    /// Red, green and blue, 8 bits each.
    #[must_use]
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Color::Red => [230, 40, 40],
            Color::Green => [40, 200, 60],
            Color::Blue => [50, 90, 250],
            Color::Yellow => [240, 220, 50],
            Color::Purple => [200, 60, 220],
            Color::White => [245, 245, 245],
        }
    }
}

kinds! {
    /// The shape of an object; all of one radius fill the same box.
    Shape {
        /// A disc.
        Circle = "circle",
        /// A square whose sides lie along the axes.
        Square = "square",
        /// A triangle that stands on its base.
        Triangle = "triangle",
        /// A plus sign.
        Cross = "cross",
    }
}

kinds! {
    /// A direction on the screen.
    Direction {
        /// Towards smaller x.
        Left = "left",
        /// Towards larger x.
        Right = "right",
        /// Towards smaller y.
        Up = "up",
        /// Towards larger y.
        Down = "down",
    }
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Direction::Left => Direction::Right,
            Direction::Right => Direction::Left,
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }

    /// Whether it runs along the rows of the frame.
    #[must_use]
    pub fn is_horizontal(self) -> bool {
        matches!(self, Direction::Left | Direction::Right)
    }

    /// 1 towards larger coordinates, -1 towards smaller ones.
    #[must_use]
    pub fn sign(self) -> f64 {
        match self {
            Direction::Right | Direction::Down => 1.0,
            Direction::Left | Direction::Up => -1.0,
        }
    }

    /// The word for a place in this direction of something: `left`, `right`, `above`, `below`.
    #[must_use]
    pub fn relative(self) -> &'static str {
        match self {
            Direction::Left => "left",
            Direction::Right => "right",
            Direction::Up => "above",
            Direction::Down => "below",
        }
    }

    /// The word for the part of the frame that lies there: `left`, `right`, `top`, `bottom`.
    #[must_use]
    pub fn region(self) -> &'static str {
        match self {
            Direction::Left => "left",
            Direction::Right => "right",
            Direction::Up => "top",
            Direction::Down => "bottom",
        }
    }
}

/// What an object does in its clip; each object does exactly one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// It goes one way at one speed, unless it hits something.
    Moves(Direction),
    /// It stays where and as it is.
    Stays,
    /// Its radius grows from the first frame to the last.
    Grows,
    /// Its radius shrinks from the first frame to the last.
    Shrinks,
    /// It is not there at first.
    Appears,
    /// It is not there in the end.
    Vanishes,
    /// Its color becomes another one.
    Changes,
}

impl Motion {
    /// All motions, in their fixed order.
    pub const ALL: [Motion; 10] = [
        Motion::Moves(Direction::Left),
        Motion::Moves(Direction::Right),
        Motion::Moves(Direction::Up),
        Motion::Moves(Direction::Down),
        Motion::Stays,
        Motion::Grows,
        Motion::Shrinks,
        Motion::Appears,
        Motion::Vanishes,
        Motion::Changes,
    ];

    /// What the object does, in one or two words: `moves left`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Motion::Moves(Direction::Left) => "moves left",
            Motion::Moves(Direction::Right) => "moves right",
            Motion::Moves(Direction::Up) => "moves up",
            Motion::Moves(Direction::Down) => "moves down",
            Motion::Stays => "stays still",
            Motion::Grows => "grows",
            Motion::Shrinks => "shrinks",
            Motion::Appears => "appears",
            Motion::Vanishes => "vanishes",
            Motion::Changes => "changes color",
        }
    }

    /// Whether it happens at one moment of the clip.
    #[must_use]
    pub fn is_event(self) -> bool {
        matches!(self, Motion::Appears | Motion::Vanishes | Motion::Changes)
    }

    /// Whether it changes the object's size.
    #[must_use]
    pub fn is_scaling(self) -> bool {
        matches!(self, Motion::Grows | Motion::Shrinks)
    }

    /// The direction it goes in, for objects that move.
    #[must_use]
    pub fn direction(self) -> Option<Direction> {
        match self {
            Motion::Moves(direction) => Some(direction),
            _ => None,
        }
    }
}

kinds! {
    /// When an event happens.
    Phase {
        /// In the first third.
        Early = "early",
        /// Around the middle.
        Midway = "midway",
        /// In the last third.
        Late = "late",
    }
}

kinds! {
    /// What the first two objects of a clip do together.
    Encounter {
        /// They meet in one lane and stop.
        Collide = "collide",
        /// They go past each other in two lanes.
        Pass = "pass",
        /// They go apart.
        Separate = "separate",
        /// They go the same way.
        Follow = "follow",
    }
}
