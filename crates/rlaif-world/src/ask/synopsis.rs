//! The question for what it is all about.

use super::{Asker, Draft};
use crate::{
    Color, Motion, Object, Scene, Shape, Split,
    generate::{pick, shuffle},
    holdout::split_of,
};

type Triple = (Color, Shape, Motion);

/// What does the clip show? The reference is about the main object.
///
/// Two of its three facts are varied, and the options are their four combinations: each fact
/// stands in two options, so that the options alone do not give the answer away. Nor does the
/// combination: options of training clips are training combinations, the wrong ones as well.
pub(super) fn question(asker: &mut Asker<'_>) {
    let scene = asker.scene;
    let main = &scene.objects[0];
    let (color, shape, motion) = (main.color, main.shape, main.motion);
    // What other objects are comes first, then anything.
    let mut others: Vec<&Object> = scene.objects[1..].iter().collect();
    shuffle(&mut asker.rng, &mut others);
    let colors = alternatives(asker, color, others.iter().map(|o| o.color), Color::ALL);
    let shapes = alternatives(asker, shape, others.iter().map(|o| o.shape), Shape::ALL);
    let motions = alternatives(asker, motion, others.iter().map(|o| o.motion), &Motion::ALL);

    let is_legal = |wrong: &[Triple; 3]| wrong.iter().all(|triple| is_legal(scene, *triple));
    let pairings: Vec<[Triple; 3]> = [
        product(&colors, &shapes)
            .map(|(c, s)| [(c, shape, motion), (color, s, motion), (c, s, motion)])
            .find(is_legal),
        product(&colors, &motions)
            .map(|(c, m)| [(c, shape, motion), (color, shape, m), (c, shape, m)])
            .find(is_legal),
        product(&shapes, &motions)
            .map(|(s, m)| [(color, s, motion), (color, shape, m), (color, s, m)])
            .find(is_legal),
    ]
    .into_iter()
    .flatten()
    .collect();
    if pairings.is_empty() {
        return;
    }
    let near = pick(&mut asker.rng, &pairings).map(says).to_vec();
    let text = "what does the clip show ?".to_owned();
    let answer = main.description();
    asker.add(Draft { weight: 1, text, answer, near, far: vec![], about: &[main] });
    if let Some((_, question)) = asker.found.last_mut() {
        question.describes = true;
    }
}

fn says((color, shape, motion): Triple) -> String {
    format!("{} {} {}", color.word(), shape.word(), motion.words())
}

/// All other kinds, those of `near` first, the rest in random order.
fn alternatives<T: Copy + PartialEq>(
    asker: &mut Asker<'_>,
    this: T,
    near: impl Iterator<Item = T>,
    all: &[T],
) -> Vec<T> {
    let mut far = all.to_vec();
    shuffle(&mut asker.rng, &mut far);
    let mut kinds: Vec<T> = Vec::new();
    for kind in near.chain(far) {
        if kind != this && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn product<A: Copy, B: Copy>(first: &[A], second: &[B]) -> impl Iterator<Item = (A, B)> {
    first.iter().flat_map(|a| second.iter().map(|b| (*a, *b)))
}

/// Whether the words are true of no object, by either of its colors, and may stand in this split.
fn is_legal(scene: &Scene, (color, shape, motion): Triple) -> bool {
    let owner = split_of(shape, color, motion);
    let is_shown =
        scene.objects.iter().any(|o| o.shape == shape && o.motion == motion && o.has_color(color));
    !is_shown && (owner == Split::Train || owner == scene.split)
}
