//! Prompts about one clip, encoded together: what they begin with is encoded once.
//!
//! ```text
//! prompts:   clip question A     clip question B     other
//! encoded:   clip question --> Prefix --> A, B       other
//! ```

use std::sync::Arc;

use rlaif_model::{Prefix, Turn, Vlm};

use crate::prompt::{PromptInput, Visual, encode};

/// Prompts that show one clip and begin alike.
struct Alike {
    /// Tokens that they have in common, the clip among them; each prompt has more.
    len: usize,
    /// The first of them, as a place in the list.
    first: usize,
    /// How many there are.
    count: usize,
}

/// [`encode`], with the beginnings that several prompts have in common encoded once: for a judge
/// that is asked much about one clip, almost all of the work. The result is that of [`encode`] up to
/// the rounding of sums. For generation: nothing is differentiated.
///
/// # Panics
///
/// As [`encode`].
#[must_use]
pub fn encode_alike(model: &Vlm, prompts: &[&PromptInput]) -> Prefix {
    let (groups, of_prompt) = grouped(prompts);
    let nothing_in_common = groups.iter().all(|group| group.count == 1);
    // A prompt that ends with its clip, or is one token long, has no beginning to go on from.
    let whole = |group: &Alike| group.len < prompts[group.first].visual_end().max(1);
    if nothing_in_common || groups.iter().any(whole) {
        return encode(model, prompts);
    }
    let beginnings: Vec<PromptInput> =
        groups.iter().map(|group| prompts[group.first].truncated(group.len)).collect();
    let prefix = encode(model, &beginnings.iter().collect::<Vec<_>>());
    let (mut ids, mut turns) = (Vec::new(), Vec::with_capacity(prompts.len()));
    for (prompt, group) in prompts.iter().zip(of_prompt) {
        let rest = &prompt.ids[groups[group].len..];
        ids.extend_from_slice(rest);
        turns.push(Turn { prompt: group, len: rest.len() });
    }
    model.decoder.prefill_after(&prefix, model.decoder.embed_tokens(&ids), &turns)
}

/// The groups, and which of them each prompt is in. Prompts without a clip, and those that differ
/// before its end, are by themselves.
fn grouped(prompts: &[&PromptInput]) -> (Vec<Alike>, Vec<usize>) {
    let mut groups: Vec<Alike> = Vec::new();
    let mut of_prompt = Vec::with_capacity(prompts.len());
    for (place, prompt) in prompts.iter().enumerate() {
        let joined = groups.iter_mut().enumerate().find_map(|(index, group)| {
            let common = in_common(prompts[group.first], prompt)?.min(group.len);
            group.len = common;
            group.count += 1;
            Some(index)
        });
        of_prompt.push(joined.unwrap_or_else(|| {
            let len = prompt.ids.len() - 1;
            groups.push(Alike { len, first: place, count: 1 });
            groups.len() - 1
        }));
    }
    (groups, of_prompt)
}

/// Tokens that two prompts begin with, one of each left out; none where they show no clip, not the
/// same one, or differ before its end.
fn in_common(a: &PromptInput, b: &PromptInput) -> Option<usize> {
    let (Some((places_a, clip_a)), Some((places_b, clip_b))) = (&a.visual, &b.visual) else {
        return None;
    };
    if places_a != places_b || !same_clip(clip_a, clip_b) {
        return None;
    }
    let same = a.ids.iter().zip(&b.ids).take_while(|(a, b)| a == b).count();
    let common = same.min(a.ids.len() - 1).min(b.ids.len() - 1);
    (common >= a.visual_end()).then_some(common)
}

/// Whether two clips are one; the cache hands out one copy of a clip's features.
fn same_clip(a: &Visual, b: &Visual) -> bool {
    match (a, b) {
        (Visual::Features(a), Visual::Features(b)) => Arc::ptr_eq(a, b) || a == b,
        (Visual::Pixels(a), Visual::Pixels(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}
