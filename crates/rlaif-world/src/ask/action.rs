//! Questions about what is done, and why.

use rand::Rng;

use super::{Asker, Draft, words};
use crate::{Direction, Encounter, Motion, Object, Shape, fact::Fact};

fn all_motions() -> Vec<String> {
    Motion::ALL.iter().map(|motion| motion.words().to_owned()).collect()
}

/// What does it do?
pub(super) fn recognition(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    for object in &scene.objects {
        let near = scene.objects.iter().map(|o| o.motion.words().to_owned()).collect();
        // Changing colors are named at times, too, so that a name with a color rules out nothing.
        let name =
            if asker.rng.random_bool(0.5) { object.name() } else { object.shape.word().to_owned() };
        let text = format!("what does the {name} do ?");
        asker.add(Draft {
            weight: 1,
            text,
            answer: object.motion.words().to_owned(),
            near,
            far: all_motions(),
            about: &[object],
        });
    }
}

/// What do they do together, why does it stop or look different, where does it go next?
pub(super) fn reasoning(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    if let (Some(encounter), [a, b, ..]) = (scene.encounter, &scene.objects[..]) {
        let (the_a, the_b) = (asker.the(a), asker.the(b));
        asker.add(Draft {
            weight: 6,
            text: format!("what do {the_a} and {the_b} do ?"),
            answer: encounter.word().to_owned(),
            near: vec![],
            far: words(Encounter::ALL, Encounter::word),
            about: &[a, b],
        });
        if encounter == Encounter::Collide {
            for (subject, hit) in [(a, b), (b, a)] {
                why_it_stops(asker, subject, hit);
            }
        }
    }
    for object in &scene.objects {
        if object.motion.is_scaling() || object.motion == Motion::Changes {
            let it = |motion: Motion| format!("it {}", motion.words());
            let far = [Motion::Grows, Motion::Shrinks, Motion::Changes, Motion::Vanishes];
            let text = format!("why does the {} look different at the end ?", object.shape.word());
            asker.add(Draft {
                weight: 3,
                text,
                answer: it(object.motion),
                near: vec![],
                far: far.map(it).to_vec(),
                about: &[object],
            });
        }
        let stops = scene.encounter == Some(Encounter::Collide);
        if let Some(direction) = object.motion.direction().filter(|_| !stops) {
            let text = format!("where does {} go next ?", asker.the(object));
            asker.add(Draft {
                weight: 2,
                text,
                answer: direction.word().to_owned(),
                near: vec![direction.opposite().word().to_owned()],
                far: words(Direction::ALL, Direction::word),
                about: &[],
            });
        }
    }
}

fn why_it_stops(asker: &mut Asker<'_>, subject: &Object, hit: &Object) {
    // Two verbs with two shapes: the options alone do not give the answer away.
    let third = asker.scene.objects.get(2).map(|object| object.shape);
    let is_other = |shape: &Shape| *shape != subject.shape && *shape != hit.shape;
    let others: Vec<Shape> = Shape::ALL.iter().copied().filter(is_other).collect();
    let other = third.unwrap_or(*crate::generate::pick(&mut asker.rng, &others));
    let it = |verb: &str, shape: Shape| format!("it {verb} the {}", shape.word());
    let near = vec![it("passes", hit.shape), it("hits", other), it("passes", other)];
    let text = format!("why does {} stop ?", asker.the(subject));
    let answer = it("hits", hit.shape);
    asker.add(Draft { weight: 4, text, answer, near, far: vec![], about: &[hit] });
    // Whoever names the subject as well, `the circle hits the square`, says nothing wrong.
    if let Some((_, question)) = asker.found.last_mut() {
        question.harmless.push(Fact::Shape(subject.shape));
        question.harmless.extend([Fact::Color(subject.color), Fact::Meet(Encounter::Collide)]);
    }
}
