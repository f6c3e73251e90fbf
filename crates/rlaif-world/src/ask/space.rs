//! Questions about space.

use super::{Asker, Draft, other_shapes, words};
use crate::{Direction, Motion, Shape, scene::Moment};

/// All parts of the frame.
const PLACES: [&str; 9] = [
    "left",
    "right",
    "top",
    "bottom",
    "center",
    "top left",
    "top right",
    "bottom left",
    "bottom right",
];

/// Where is it?
pub(super) fn perception(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for object in &scene.objects {
        for moment in Moment::BOTH {
            let state = object.at(moment);
            let (true, Some(place)) = (state.visible, scene.place(&state)) else { continue };
            let mut near: Vec<String> = Vec::new();
            for other in &scene.objects {
                let places = Moment::BOTH.iter().filter_map(|m| scene.place(&other.at(*m)));
                near.extend(places.map(str::to_owned));
            }
            let text = format!("where is {} {} ?", asker.the(object), moment.words());
            // Things that move are where they are for a reason that can be seen.
            let weight = if matches!(object.motion, Motion::Moves(_)) { 3 } else { 2 };
            asker.add(Draft {
                weight,
                text,
                answer: place.to_owned(),
                near,
                far: PLACES.iter().map(|place| (*place).to_owned()).collect(),
                about: &[object],
            });
        }
    }
}

/// Where is it in relation to another?
pub(super) fn reasoning(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for moment in Moment::BOTH {
        let when = moment.words();
        let there: Vec<_> = scene.objects.iter().filter(|o| o.at(moment).visible).collect();
        for a in &there {
            for b in &there {
                let (a_state, b_state) = (a.at(moment), b.at(moment));
                let Some(side) = scene.side(&a_state, &b_state).filter(|_| a.shape != b.shape)
                else {
                    continue;
                };
                let (the_a, the_b) = (asker.the(a), asker.the(b));
                let near = vec![side.opposite().relative().to_owned()];
                asker.add(Draft {
                    weight: 2,
                    text: format!("where is {the_a} relative to {the_b} {when} ?"),
                    answer: side.relative().to_owned(),
                    near,
                    far: words(Direction::ALL, Direction::relative),
                    about: &[],
                });
                // Only one may lie there, and no other may lie there nearly.
                let is_other = |c: &&crate::Object| c.shape != a.shape && c.shape != b.shape;
                let clear = there.iter().copied().filter(is_other).all(|c| {
                    let other = scene.side(&c.at(moment), &b_state);
                    other.is_some_and(|other| other != side)
                });
                let of = match side {
                    Direction::Left => "left of",
                    Direction::Right => "right of",
                    Direction::Up => "above",
                    Direction::Down => "below",
                };
                if clear {
                    let mut near = other_shapes(scene, a);
                    near.push(b.shape.word().to_owned());
                    asker.add(Draft {
                        weight: if there.len() > 2 { 4 } else { 1 },
                        text: format!("which shape is {of} {the_b} {when} ?"),
                        answer: a.shape.word().to_owned(),
                        near,
                        far: words(Shape::ALL, Shape::word),
                        about: &[a],
                    });
                }
            }
        }
    }
}
