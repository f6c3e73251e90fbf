//! The story of a clip, sentence by sentence.

use crate::{Encounter, Motion, Object, Scene, scene::Moment};

/// What happens in a clip, in words: how many objects there are, what each is, where it is and
/// what it does, and what they do together. All words are of the [`vocabulary`](crate::vocabulary).
///
/// ```
/// use rlaif_world::{Split, WorldConfig, narrative, scene};
///
/// let story = narrative(&scene(&WorldConfig::default(), Split::Test, 3));
/// assert!(story.ends_with(" ."));
/// ```
#[must_use]
pub fn narrative(scene: &Scene) -> String {
    let count = match scene.objects.len() {
        1 => "there is one object .",
        2 => "there are two objects .",
        _ => "there are three objects .",
    };
    let mut sentences = vec![count.to_owned()];
    sentences.extend(scene.objects.iter().map(|object| sentence(scene, object)));
    if let (Some(encounter), [a, b, ..]) = (scene.encounter, &scene.objects[..]) {
        let (a, b) = (a.shape.word(), b.shape.word());
        sentences.push(format!("the {a} and the {b} {} .", encounter.word()));
        if encounter == Encounter::Collide {
            sentences.push("they stop .".to_owned());
        }
    }
    sentences.join(" ")
}

/// `the red circle at the left moves right to the center .`
fn sentence(scene: &Scene, object: &Object) -> String {
    let (from, to) = (scene.place(&object.at(Moment::Start)), scene.place(&object.at(Moment::End)));
    let mut parts = vec![format!("the {}", object.name())];
    // An object that is not there at first is where it appears.
    parts.extend(from.map(|place| format!("at the {place}")));
    parts.push(object.motion.words().to_owned());
    if object.motion == Motion::Changes {
        parts.push(format!("to {}", object.color_after.word()));
    }
    parts.extend(to.filter(|_| to != from).map(|place| format!("to the {place}")));
    parts.extend(object.event.map(|event| event.phase.word().to_owned()));
    parts.push(".".to_owned());
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, WorldConfig, scene};

    #[test]
    fn a_story_tells_all_objects_and_what_they_do_together() {
        let told = |index| narrative(&scene(&WorldConfig::default(), Split::Train, index));
        for index in 0..200 {
            let (scene, story) = (scene(&WorldConfig::default(), Split::Train, index), told(index));
            for object in &scene.objects {
                assert!(story.contains(&object.name()), "{story}");
                assert!(story.contains(object.motion.words()), "{story}");
            }
            let together = scene.encounter.is_none_or(|encounter| story.contains(encounter.word()));
            assert!(together, "{story}");
        }
    }
}
