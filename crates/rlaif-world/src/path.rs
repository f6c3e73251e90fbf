//! Paths of objects through a frame of 32 units a side.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{Direction, Encounter, Motion};

const SIDE: f64 = 32.0;
/// Distance that every object keeps from the border of the frame.
const MARGIN: f64 = 1.0;

/// A straight way at one speed, with a radius that changes evenly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    from: (f64, f64),
    to: (f64, f64),
    radius: (f64, f64),
    /// The share of the clip after which it stands still.
    stop: f64,
}

impl Path {
    /// Center and radius at the time `t` in 0 to 1.
    pub(crate) fn at(&self, t: f64) -> (f64, f64, f64) {
        let way = (t / self.stop).min(1.0);
        let mix = |from: f64, to: f64, t: f64| from + (to - from) * t;
        let radius = mix(self.radius.0, self.radius.1, t);
        (mix(self.from.0, self.to.0, way), mix(self.from.1, self.to.1, way), radius)
    }
}

fn between(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    rng.random_range(low..=high)
}

/// A path anywhere in the frame. The main object is larger than the others.
pub(crate) fn single(rng: &mut ChaCha8Rng, motion: Motion, is_main: bool) -> Path {
    let radius = if motion.is_scaling() {
        let (small, large) = if is_main { (4.0, 6.5) } else { (2.8, 5.0) };
        let (small, large) =
            (between(rng, small - 0.2, small + 0.2), between(rng, large - 0.2, large + 0.2));
        if motion == Motion::Grows { (small, large) } else { (large, small) }
    } else {
        let radius = if is_main { between(rng, 5.2, 6.0) } else { between(rng, 3.6, 4.6) };
        (radius, radius)
    };
    let near = radius.0.max(radius.1) + MARGIN;
    let mut from = (between(rng, near, SIDE - near), between(rng, near, SIDE - near));
    let mut to = from;
    if let Some(direction) = motion.direction() {
        let travel = between(rng, 10.0, 16.0);
        let first = between(rng, near, SIDE - near - travel);
        let (first, last) = turned(direction, first, first + travel);
        if direction.is_horizontal() {
            (from.0, to.0) = (first, last);
        } else {
            (from.1, to.1) = (first, last);
        }
    }
    Path { from, to, radius, stop: 1.0 }
}

/// A way along the axis of `direction` that was laid out towards larger coordinates.
fn turned(direction: Direction, first: f64, last: f64) -> (f64, f64) {
    if direction.sign() > 0.0 { (first, last) } else { (SIDE - first, SIDE - last) }
}

/// A way along an axis, and the lane it lies in.
struct Lane {
    along: (f64, f64),
    across: f64,
}

/// The paths of two objects that do something together; the first goes `towards`.
pub(crate) fn pair(rng: &mut ChaCha8Rng, encounter: Encounter, towards: Direction) -> [Path; 2] {
    let radii = [between(rng, 5.0, 5.5), between(rng, 3.6, 4.1)];
    let one_lane = match encounter {
        Encounter::Collide => true,
        Encounter::Pass => false,
        Encounter::Separate | Encounter::Follow => rng.random_bool(0.5),
    };
    let across = if one_lane { same_lane(rng, radii) } else { two_lanes(rng, radii) };
    // All is laid out for a first object that goes towards larger coordinates.
    let along = match encounter {
        Encounter::Collide => collide(rng, radii),
        Encounter::Pass => pass(rng, radii),
        Encounter::Separate => separate(rng, radii, one_lane),
        Encounter::Follow => follow(rng, radii, one_lane),
    };
    let stop = if encounter == Encounter::Collide { between(rng, 0.55, 0.75) } else { 1.0 };
    let path = |i: usize| {
        let lane = Lane { along: turned(towards, along[i].0, along[i].1), across: across[i] };
        let point = |along: f64| {
            if towards.is_horizontal() { (along, lane.across) } else { (lane.across, along) }
        };
        let (from, to) = (point(lane.along.0), point(lane.along.1));
        Path { from, to, radius: (radii[i], radii[i]), stop }
    };
    [path(0), path(1)]
}

fn same_lane(rng: &mut ChaCha8Rng, radii: [f64; 2]) -> [f64; 2] {
    let near = radii[0] + MARGIN + 0.5;
    let lane = between(rng, near, SIDE - near);
    [lane, lane + between(rng, -0.5, 0.5)]
}

fn two_lanes(rng: &mut ChaCha8Rng, radii: [f64; 2]) -> [f64; 2] {
    let first = radii[0] + MARGIN + between(rng, 0.0, 1.5);
    let second = SIDE - radii[1] - MARGIN - between(rng, 0.0, 1.5);
    if rng.random_bool(0.5) { [first, second] } else { [SIDE - first, SIDE - second] }
}

/// From both ends until the boxes overlap by half a pixel, so that every two shapes touch.
fn collide(rng: &mut ChaCha8Rng, radii: [f64; 2]) -> [(f64, f64); 2] {
    let first = radii[0] + MARGIN + between(rng, 0.0, 0.5);
    let second = SIDE - radii[1] - MARGIN - between(rng, 0.0, 0.5);
    let travel = second - first - (radii[0] + radii[1] - 0.5);
    let share = between(rng, 0.4, 0.6);
    [(first, first + travel * share), (second, second - travel * (1.0 - share))]
}

fn pass(rng: &mut ChaCha8Rng, radii: [f64; 2]) -> [(f64, f64); 2] {
    let first = radii[0] + MARGIN + between(rng, 0.0, 1.0);
    let second = SIDE - radii[1] - MARGIN - between(rng, 0.0, 1.0);
    [(first, first + between(rng, 12.0, 16.0)), (second, second - between(rng, 12.0, 16.0))]
}

fn separate(rng: &mut ChaCha8Rng, radii: [f64; 2], one_lane: bool) -> [(f64, f64); 2] {
    let first_end = SIDE - radii[0] - MARGIN - between(rng, 0.0, 0.5);
    let second_end = radii[1] + MARGIN + between(rng, 0.0, 0.5);
    let gap = if one_lane { radii[0] + radii[1] + 1.0 } else { between(rng, 2.0, 6.0) };
    let travel = first_end - second_end - gap;
    let share = between(rng, 0.4, 0.6);
    [(first_end - travel * share, first_end), (second_end + travel * (1.0 - share), second_end)]
}

fn follow(rng: &mut ChaCha8Rng, radii: [f64; 2], one_lane: bool) -> [(f64, f64); 2] {
    if one_lane {
        // The one ahead starts a pixel and a half before the one behind.
        let distance = radii[0] + radii[1] + 1.5;
        let ahead = usize::from(rng.random_bool(0.5));
        let behind = radii[1 - ahead] + MARGIN;
        let room = SIDE - MARGIN - radii[ahead] - distance - behind;
        let travel = between(rng, 7.5, room.min(9.5));
        let mut along = [(behind, behind + travel); 2];
        along[ahead] = (behind + distance, behind + distance + travel);
        return along;
    }
    let travel = between(rng, 10.0, 14.0);
    let start = |rng: &mut ChaCha8Rng, radius: f64| {
        let near = radius + MARGIN;
        between(rng, near, SIDE - near - travel)
    };
    [radii[0], radii[1]].map(|radius| {
        let first = start(rng, radius);
        (first, first + travel)
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn paths(encounter: Encounter, seed: u64) -> [Path; 2] {
        pair(&mut ChaCha8Rng::seed_from_u64(seed), encounter, Direction::Right)
    }

    #[test]
    fn encounters_are_what_they_are_called() {
        for seed in 0..200 {
            let [a, b] = paths(Encounter::Collide, seed);
            let ((x, y, r), (p, q, s)) = (a.at(1.0), b.at(1.0));
            assert!((p - x - (r + s - 0.5)).abs() < 1e-9 && (y - q).abs() <= 0.5);
            assert_eq!(a.at(0.8).0.to_bits(), x.to_bits(), "they have stopped");
            assert!(x - a.at(0.0).0 > 3.5 && b.at(0.0).0 - p > 3.5);

            let [a, b] = paths(Encounter::Pass, seed);
            assert!(a.at(0.0).0 + 5.0 < b.at(0.0).0 && a.at(1.0).0 > b.at(1.0).0);
            assert!((a.at(0.0).1 - b.at(0.0).1).abs() > a.radius.0 + b.radius.0);

            let [a, b] = paths(Encounter::Separate, seed);
            assert!(a.at(1.0).0 - a.at(0.0).0 > 3.5 && b.at(0.0).0 - b.at(1.0).0 > 3.5);
            assert!(a.at(0.0).0 > b.at(0.0).0);

            let [a, b] = paths(Encounter::Follow, seed);
            let (da, db) = (a.at(1.0).0 - a.at(0.0).0, b.at(1.0).0 - b.at(0.0).0);
            assert!(da >= 7.5 && (da - db).abs() < 1e-9);
        }
    }

    #[test]
    fn a_path_mixes_its_ends() {
        let path = Path { from: (4.0, 8.0), to: (12.0, 8.0), radius: (2.0, 4.0), stop: 0.5 };
        assert_eq!(path.at(0.25), (8.0, 8.0, 2.5));
        assert_eq!(path.at(1.0), (12.0, 8.0, 4.0));
    }
}
