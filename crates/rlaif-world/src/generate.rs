//! From an address to a scene: which objects there are, what they do, and where.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    Color, Direction, Encounter, Event, Motion, Object, Phase, Scene, Shape, Split, WorldConfig,
    holdout::colors,
    path::{Path, pair, single},
};

/// How often a clip with two or more objects shows an encounter.
const P_ENCOUNTER: f64 = 0.35;
/// How often a further object takes the color of the main one, where it may.
const P_SAME_COLOR: f64 = 0.35;
/// Places tried for an object that must not touch the others. Where none is free, the clip has
/// one object less.
const TRIES: usize = 200;

/// The scene of clip `index`, the same for the same arguments on every machine.
///
/// Settings out of their ranges count as the nearest legal ones; see [`WorldConfig::validate`].
///
/// ```
/// use rlaif_world::{Split, WorldConfig, scene};
///
/// let scene = scene(&WorldConfig::default(), Split::Test, 3);
/// assert_eq!(scene.objects[0].states.len(), 8);
/// ```
#[must_use]
pub fn scene(config: &WorldConfig, split: Split, index: u64) -> Scene {
    let config = config.in_range();
    let mut rng = config.stream(split, index, "scene");
    let background = rng.random_range(8..=40);
    let n_objects = weighted(&mut rng, &[(25, 1), (40, 2), (35, 3)][..config.max_objects]);
    let mut shapes: Vec<Shape> = Shape::ALL.to_vec();
    shuffle(&mut rng, &mut shapes);
    let mut cast = Cast { split, frames: config.frames, objects: Vec::new() };
    let meets = n_objects > 1 && rng.random_bool(P_ENCOUNTER);
    let encounter = meets.then(|| cast.encounter(&mut rng, &shapes));
    for &shape in &shapes[cast.objects.len()..n_objects] {
        cast.add(&mut rng, shape);
    }
    let mut objects = cast.objects;
    let unit = f64::from(config.size) / 32.0;
    for state in objects.iter_mut().flat_map(|object| &mut object.states) {
        state.x *= unit;
        state.y *= unit;
        state.radius *= unit;
    }
    Scene { config, split, index, background, objects, encounter }
}

/// The objects so far, in a frame of 32 units a side.
struct Cast {
    split: Split,
    frames: usize,
    objects: Vec<Object>,
}

impl Cast {
    /// Adds one object that touches no other; nothing where there is no room.
    fn add(&mut self, rng: &mut ChaCha8Rng, shape: Shape) {
        let is_main = self.objects.is_empty();
        let motion = weighted(rng, motion_weights(is_main));
        let color = self.color(rng, shape, motion);
        let mut object = self.object(rng, shape, color, motion);
        for _ in 0..TRIES {
            object.states = single(rng, motion, is_main).states(&object, self.frames);
            if self.objects.iter().all(|other| apart(&object, other)) {
                self.objects.push(object);
                return;
            }
        }
    }

    /// Adds the two objects of an encounter.
    fn encounter(&mut self, rng: &mut ChaCha8Rng, shapes: &[Shape]) -> Encounter {
        let encounter = *pick(rng, Encounter::ALL);
        let towards = *pick(rng, Direction::ALL);
        let others = match encounter {
            Encounter::Follow => towards,
            _ => towards.opposite(),
        };
        let paths = pair(rng, encounter, towards);
        for ((shape, direction), path) in shapes.iter().zip([towards, others]).zip(paths) {
            let motion = Motion::Moves(direction);
            let color = self.color(rng, *shape, motion);
            let mut object = self.object(rng, *shape, color, motion);
            object.states = path.states(&object, self.frames);
            self.objects.push(object);
        }
        encounter
    }

    /// A legal color: sometimes that of the main object, else one that nobody has, if there is one.
    fn color(&self, rng: &mut ChaCha8Rng, shape: Shape, motion: Motion) -> Color {
        let allowed = colors(self.split, self.objects.is_empty(), shape, motion);
        let same = rng.random_bool(P_SAME_COLOR);
        if let Some(main) = self.objects.first()
            && same
            && allowed.contains(&main.color)
        {
            return main.color;
        }
        let is_new = |color: &Color| !self.objects.iter().any(|object| object.has_color(*color));
        let new: Vec<Color> = allowed.iter().copied().filter(is_new).collect();
        *pick(rng, if new.is_empty() { &allowed } else { &new })
    }

    /// The object without its states.
    fn object(&self, rng: &mut ChaCha8Rng, shape: Shape, color: Color, motion: Motion) -> Object {
        let others: Vec<Color> = Color::ALL.iter().copied().filter(|c| *c != color).collect();
        let other = *pick(rng, &others);
        let color_after = if motion == Motion::Changes { other } else { color };
        let event = motion.is_event().then(|| event(rng, self.frames));
        Object { shape, color, color_after, motion, event, states: Vec::new() }
    }
}

/// Weights of the motions: events are a little more frequent than their number, because questions
/// about time need them.
fn motion_weights(is_main: bool) -> &'static [(u32, Motion)] {
    const MAIN: [(u32, Motion); 10] = weights([7, 7, 7, 7, 8, 10, 10, 15, 15, 14]);
    const OTHER: [(u32, Motion); 10] = weights([8, 8, 8, 8, 12, 7, 7, 14, 14, 14]);
    if is_main { &MAIN } else { &OTHER }
}

const fn weights(of: [u32; 10]) -> [(u32, Motion); 10] {
    let mut all = [(0, Motion::Stays); 10];
    let mut i = 0;
    while i < all.len() {
        all[i] = (of[i], Motion::ALL[i]);
        i += 1;
    }
    all
}

/// When it happens: around a quarter, half or three quarters of the clip.
fn event(rng: &mut ChaCha8Rng, frames: usize) -> Event {
    let phase = *pick(rng, Phase::ALL);
    let sooner = rng.random_range(0..=frames / 8);
    let frame = match phase {
        Phase::Early => (frames / 4 - sooner).max(1),
        Phase::Midway => frames / 2,
        Phase::Late => frames * 3 / 4,
    };
    Event { frame, phase }
}

/// Whether the boxes of two objects keep a pixel of distance wherever both are there.
fn apart(a: &Object, b: &Object) -> bool {
    a.states.iter().zip(&b.states).all(|(a, b)| {
        let distance = (a.x - b.x).abs().max((a.y - b.y).abs());
        !a.visible || !b.visible || distance >= a.radius + b.radius + 1.0
    })
}

/// One of `items`, which must not be empty, each equally likely.
pub(crate) fn pick<'a, T>(rng: &mut ChaCha8Rng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// One of `items`, as likely as its weight among the weights says.
pub(crate) fn weighted<T: Clone>(rng: &mut ChaCha8Rng, items: &[(u32, T)]) -> T {
    let total: u32 = items.iter().map(|(weight, _)| weight).sum();
    let mut left = rng.random_range(0..total);
    for (weight, item) in items {
        if left < *weight {
            return item.clone();
        }
        left -= weight;
    }
    unreachable!("the draw lies below the sum of the weights")
}

/// Puts `items` in random order, each order equally likely.
pub(crate) fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

impl Path {
    /// What `object` is in each of `frames` frames when it takes this path.
    fn states(&self, object: &Object, frames: usize) -> Vec<crate::State> {
        (0..frames)
            .map(|frame| {
                let (x, y, radius) = self.at(frame as f64 / (frames - 1) as f64);
                let after = object.event.is_some_and(|event| frame >= event.frame);
                let visible = match object.motion {
                    Motion::Appears => after,
                    Motion::Vanishes => !after,
                    _ => true,
                };
                let color = if after { object.color_after } else { object.color };
                crate::State { x, y, radius, color, visible }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::holdout::split_of;

    fn any_split() -> impl Strategy<Value = Split> {
        proptest::sample::select(&Split::ALL[..])
    }

    proptest! {
        #[test]
        fn the_same_address_is_the_same_scene(seed: u64, index: u64, split in any_split()) {
            let config = WorldConfig { seed, ..WorldConfig::default() };
            prop_assert_eq!(scene(&config, split, index), scene(&config, split, index));
        }

        #[test]
        fn combinations_keep_to_their_split(seed in 0..4_u64, index: u64, split in any_split()) {
            let scene = scene(&WorldConfig { seed, ..WorldConfig::default() }, split, index);
            for (i, object) in scene.objects.iter().enumerate() {
                let owner = split_of(object.shape, object.color, object.motion);
                prop_assert!(owner == split || (i > 0 && owner == Split::Train));
            }
        }

        #[test]
        fn scenes_are_well_formed(
            seed in 0..4_u64, index: u64, split in any_split(),
            frames in 4_usize..20, size in 16_u32..100,
        ) {
            let config = WorldConfig { seed, frames, size, ..WorldConfig::default() };
            let scene = scene(&config, split, index);
            prop_assert!((1..=3).contains(&scene.objects.len()));
            let side = f64::from(size);
            for (i, object) in scene.objects.iter().enumerate() {
                prop_assert_eq!(object.states.len(), frames);
                prop_assert_eq!(object.motion.is_event(), object.event.is_some());
                prop_assert_eq!(object.motion == Motion::Changes, object.color != object.color_after);
                prop_assert!(object.states.iter().any(|state| state.visible));
                for state in &object.states {
                    for center in [state.x, state.y] {
                        prop_assert!(center >= state.radius && center + state.radius <= side);
                    }
                }
                for other in &scene.objects[..i] {
                    prop_assert!(object.shape != other.shape);
                    if i == 2 || scene.encounter.is_none() {
                        // The distance was checked in units.
                        let free = object.states.iter().zip(&other.states).all(|(a, b)| {
                            let distance = (a.x - b.x).abs().max((a.y - b.y).abs());
                            !a.visible || !b.visible || distance > a.radius + b.radius
                        });
                        prop_assert!(free);
                    }
                }
            }
        }
    }

    #[test]
    fn no_clip_shows_more_objects_than_it_may() {
        for max_objects in 1..=3 {
            let config = WorldConfig { max_objects, ..WorldConfig::default() };
            let most = (0..200).map(|i| scene(&config, Split::Test, i).objects.len()).max();
            assert_eq!(most, Some(max_objects));
        }
    }

    #[test]
    fn everything_there_is_occurs() {
        let config = WorldConfig::default();
        let scenes: Vec<Scene> = (0..2000).map(|i| scene(&config, Split::Train, i)).collect();
        for n in 1..=3 {
            let share = scenes.iter().filter(|scene| scene.objects.len() == n).count();
            assert!(share > 400, "{n} objects in {share} of 2000 clips");
        }
        for &encounter in Encounter::ALL {
            assert!(scenes.iter().filter(|s| s.encounter == Some(encounter)).count() > 60);
        }
        for motion in Motion::ALL {
            assert!(scenes.iter().filter(|s| s.objects[0].motion == motion).count() > 80);
        }
        for &color in Color::ALL {
            assert!(scenes.iter().filter(|s| s.objects[0].color == color).count() > 200);
        }
    }

    #[test]
    fn main_objects_of_held_out_clips_are_new_combinations() {
        let config = WorldConfig::default();
        for split in [Split::Validation, Split::Test] {
            let mut main: Vec<_> = (0..1000)
                .map(|i| {
                    let main = &scene(&config, split, i).objects[0];
                    (main.shape, main.color, main.motion)
                })
                .collect();
            main.sort_unstable();
            main.dedup();
            assert_eq!(main.len(), 40, "all held-out triples of {split} occur");
            for i in 0..1000 {
                for object in scene(&config, Split::Train, i).objects {
                    let triple = (object.shape, object.color, object.motion);
                    assert!(!main.contains(&triple), "{triple:?}");
                }
            }
        }
    }
}
