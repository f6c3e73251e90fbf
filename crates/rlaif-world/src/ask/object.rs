//! Questions about what there is: attributes, identity, number, comparison.

use super::{Asker, Draft, other_shapes, words};
use crate::{Color, Motion, Object, Scene, Shape, scene::Moment};

/// Number words; a clip never holds more than three objects.
const NUMBERS: [&str; 4] = ["zero", "one", "two", "three"];

/// Whether no other object does the same.
fn alone_in_motion(scene: &Scene, object: &Object) -> bool {
    scene.objects.iter().filter(|other| other.motion == object.motion).count() == 1
}

fn other_colors(scene: &Scene, object: &Object) -> Vec<String> {
    let others = scene.objects.iter().filter(|other| other.shape != object.shape);
    others.flat_map(|o| [o.color, o.color_after]).map(|c| c.word().to_owned()).collect()
}

/// Which color does it have?
pub(super) fn attribute(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for object in &scene.objects {
        let (shape, color) = (object.shape.word(), object.color.word());
        let constant = object.color == object.color_after;
        let mut texts = vec![];
        if constant {
            texts.push((3, format!("what color is the {shape} ?")));
            if alone_in_motion(scene, object) {
                let does = object.motion.words();
                texts.push((2, format!("what color is the object that {does} ?")));
            }
        } else {
            texts.push((1, format!("what color is the {shape} at the start ?")));
        }
        for (weight, text) in texts {
            let mut near = other_colors(scene, object);
            if !constant {
                near.push(object.color_after.word().to_owned());
            }
            asker.add(Draft {
                weight,
                text,
                answer: color.to_owned(),
                near,
                far: words(Color::ALL, Color::word),
                about: &[object],
            });
        }
    }
}

/// Which shape is it?
pub(super) fn recognition(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for object in &scene.objects {
        let is_other = |other: &&Object| other.shape != object.shape;
        let mut others = scene.objects.iter().filter(is_other);
        let mut texts = vec![];
        if object.color == object.color_after && !others.any(|o| o.has_color(object.color)) {
            texts.push((3, format!("which shape is {} ?", object.color.word())));
        }
        if alone_in_motion(scene, object) {
            texts.push((2, format!("which shape {} ?", object.motion.words())));
        }
        for (weight, text) in texts {
            asker.add(Draft {
                weight,
                text,
                answer: object.shape.word().to_owned(),
                near: other_shapes(scene, object),
                far: words(Shape::ALL, Shape::word),
                about: &[object],
            });
        }
    }
}

/// How many are there?
pub(super) fn counting(asker: &mut Asker<'_>) {
    let objects = &asker.scene.objects;
    let count = |is_such: &dyn Fn(&Object) -> bool| objects.iter().filter(|o| is_such(o)).count();
    let moving = |object: &Object| object.motion.direction().is_some();
    let such = [
        (6, "are in the clip", objects.len()),
        (2, "are there at the start", count(&|o| o.at(Moment::Start).visible)),
        (2, "are there at the end", count(&|o| o.at(Moment::End).visible)),
        (4, "move", count(&moving)),
        (2, "stay still", count(&|o| o.motion == Motion::Stays)),
    ];
    for (weight, which, n) in such {
        let near = [n.saturating_sub(1), (n + 1).min(3)].map(|n| NUMBERS[n].to_owned());
        asker.add(Draft {
            // Two is the most frequent number there is to count, three the rarest.
            weight: weight * [2, 4, 2, 5][n],
            text: format!("how many objects {which} ?"),
            answer: NUMBERS[n].to_owned(),
            near: near.to_vec(),
            far: NUMBERS.iter().map(|word| (*word).to_owned()).collect(),
            about: &[],
        });
    }
}

/// Which one is the largest, or like another?
pub(super) fn reasoning(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    let ask = |asker: &mut Asker<'_>, weight, text: String, object: &Object| {
        let draft = Draft {
            weight,
            text,
            answer: object.shape.word().to_owned(),
            near: other_shapes(scene, object),
            far: words(Shape::ALL, Shape::word),
            about: &[object],
        };
        asker.add(draft);
    };
    let sizes = by_size(scene);
    // The difference must be seen: three quarters of a pixel in the radius, a quarter in the area.
    let clear =
        |a: &Object, b: &Object| (a.states[0].radius - b.states[0].radius) / scene.unit() >= 0.75;
    if let [largest, second, ..] = sizes[..]
        && clear(largest, second)
    {
        ask(asker, 2, "which shape is the largest ?".to_owned(), largest);
    }
    if let [.., second, smallest] = sizes[..]
        && clear(second, smallest)
    {
        ask(asker, 2, "which shape is the smallest ?".to_owned(), smallest);
    }
    for object in &scene.objects {
        let others = || scene.objects.iter().filter(|other| other.shape != object.shape);
        let same: Vec<&Object> = others().filter(|o| o.has_color(object.color)).collect();
        if let [other] = same[..]
            && object.color == object.color_after
            && other.color == other.color_after
        {
            let text = format!("which shape has the color of the {} ?", object.shape.word());
            ask(asker, 4, text, other);
        }
        let same: Vec<&Object> = others().filter(|o| o.motion == object.motion).collect();
        if let ([other], Some(_)) = (&same[..], object.motion.direction()) {
            let text = format!("which shape moves like the {} ?", object.shape.word());
            ask(asker, 4, text, other);
        }
    }
}

/// The objects, largest first; none where one of them changes its size.
fn by_size(scene: &Scene) -> Vec<&Object> {
    let mut objects: Vec<&Object> = scene.objects.iter().collect();
    if objects.iter().any(|object| object.motion.is_scaling()) {
        return Vec::new();
    }
    objects.sort_by(|a, b| b.states[0].radius.total_cmp(&a.states[0].radius));
    objects
}
