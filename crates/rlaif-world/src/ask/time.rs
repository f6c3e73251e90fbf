//! Questions about time.

use super::{Asker, Draft, other_shapes, words};
use crate::{Color, Motion, Object, Phase, Shape, generate::pick};

/// Motions that are events, with the question for when they happen.
const EVENTS: [(Motion, &str); 3] =
    [(Motion::Appears, "appear"), (Motion::Vanishes, "vanish"), (Motion::Changes, "change color")];

/// When does it happen, and what happens first or last?
pub(super) fn perception(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for object in &scene.objects {
        let Some(event) = object.event else { continue };
        for (motion, verb) in EVENTS {
            let (weight, answer) =
                if motion == object.motion { (6, event.phase.word()) } else { (1, "never") };
            let mut far = words(Phase::ALL, Phase::word);
            far.push("never".to_owned());
            // A changing color names nobody, and the shape is enough.
            let text = format!("when does the {} {verb} ?", object.shape.word());
            let answer = answer.to_owned();
            asker.add(Draft { weight, text, answer, near: vec![], far, about: &[object] });
        }
    }
    let events = in_order(&scene.objects);
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
    if events.len() < 2 {
        return;
    }
    // With three events, two at the same time leave the other end still clear.
    let moment = |object: &Object| object.event.map(|event| event.phase);
    for (object, next, word) in
        [(first, events[1], "first"), (last, events[events.len() - 2], "last")]
    {
        if moment(object) != moment(next) {
            let text = format!("what happens {word} ?");
            event_question(asker, text, object, &events, 8);
        }
    }
}

/// The objects with events, by the time of the event.
fn in_order(objects: &[Object]) -> Vec<&Object> {
    let mut events: Vec<&Object> = objects.iter().filter(|o| o.event.is_some()).collect();
    events.sort_by_key(|object| object.event.map(|event| event.frame));
    events
}

/// Asks for the event of `object`: `circle vanishes`.
fn event_question(
    asker: &mut Asker<'_>,
    text: String,
    object: &Object,
    events: &[&Object],
    weight: u32,
) {
    let mention = |shape: Shape, motion: Motion| format!("{} {}", shape.word(), motion.words());
    // Two shapes with two events: the options alone do not give the answer away.
    let others: Vec<&Object> =
        events.iter().copied().filter(|other| other.shape != object.shape).collect();
    let other = *pick(&mut asker.rng, &others);
    let is_new = |motion: &Motion| *motion != object.motion;
    let motions: Vec<Motion> =
        EVENTS.map(|(motion, _)| motion).into_iter().filter(is_new).collect();
    let motion = if is_new(&other.motion) { other.motion } else { *pick(&mut asker.rng, &motions) };
    let near = vec![
        mention(other.shape, motion),
        mention(object.shape, motion),
        mention(other.shape, object.motion),
    ];
    let answer = mention(object.shape, object.motion);
    asker.add(Draft { weight, text, answer, near, far: vec![], about: &[object] });
}

/// What is after, before, new, or gone?
pub(super) fn reasoning(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for object in scene.objects.iter().filter(|object| object.motion == Motion::Changes) {
        for (word, color, other) in [
            ("before", object.color, object.color_after),
            ("after", object.color_after, object.color),
        ] {
            let text = format!("what color is the {} {word} it changes ?", object.shape.word());
            let mut near = vec![other.word().to_owned()];
            near.extend(scene.objects.iter().map(|o| o.color.word().to_owned()));
            let far = words(Color::ALL, Color::word);
            let answer = color.word().to_owned();
            // The other color of the object is what the question tells apart: never harmless.
            asker.add(Draft { weight: 3, text, answer, near, far, about: &[object] });
        }
    }
    for (motion, difference) in [
        (Motion::Appears, "new"),
        (Motion::Vanishes, "gone"),
        (Motion::Grows, "larger"),
        (Motion::Shrinks, "smaller"),
    ] {
        let such: Vec<&Object> = scene.objects.iter().filter(|o| o.motion == motion).collect();
        let [object] = such[..] else { continue };
        asker.add(Draft {
            weight: 2,
            text: format!("which shape is {difference} at the end ?"),
            answer: object.shape.word().to_owned(),
            near: other_shapes(scene, object),
            far: words(Shape::ALL, Shape::word),
            about: &[object],
        });
    }
    if let [first, last] = in_order(&scene.objects)[..]
        && first.event.map(|event| event.phase) != last.event.map(|event| event.phase)
    {
        for (word, asked, known) in [("before", first, last), ("after", last, first)] {
            let (shape, does) = (known.shape.word(), known.motion.words());
            let text = format!("what happens {word} the {shape} {does} ?");
            event_question(asker, text, asked, &[first, last], 4);
        }
    }
}
