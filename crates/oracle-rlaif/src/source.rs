//! Rows from a file or from ClipWorld, and supervised items made of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rlaif_data::{Columns, Example, Reader};
use rlaif_model::Vlm;
use rlaif_rollout::{PromptBuilder, PromptError, PromptInput};
use rlaif_train::order::{mix, stream};
use rlaif_train::{SftItem, SftTurn};
use rlaif_video::{BadClipPolicy, ClipCounts};
use rlaif_world::{Split, WorldConfig};

use crate::recipe::{Questions, SourceConfig, WorldSource};

/// All rows of a source.
///
/// # Errors
///
/// Names the file, line and field at fault, or the setting of the world.
pub fn rows(source: &SourceConfig) -> Result<Vec<Example>> {
    let rows = match (&source.path, &source.world) {
        (Some(path), _) => {
            file_rows(path, source.columns.clone().unwrap_or_default(), source.video_root.clone())?
        }
        (None, Some(world)) => world_rows(world)?,
        (None, None) => bail!("a data source needs `path` or `world`"),
    };
    if rows.is_empty() {
        bail!("the data source holds no rows");
    }
    Ok(rows)
}

/// Rows of a file.
///
/// # Errors
///
/// Names the file, line and field at fault.
pub fn file_rows(
    path: &Path,
    columns: Columns,
    video_root: Option<std::path::PathBuf>,
) -> Result<Vec<Example>> {
    let reader = Reader { columns, video_root, ..Reader::default() };
    Ok(reader.examples(path)?.warned())
}

/// Rows of ClipWorld.
///
/// # Errors
///
/// Names an unknown split.
pub fn world_rows(source: &WorldSource) -> Result<Vec<Example>> {
    let split: Split = source
        .split
        .parse()
        .map_err(|error| anyhow::anyhow!("`world.split`: {error}"))
        .with_context(|| format!("split `{}`", source.split))?;
    let config = WorldConfig { seed: source.seed, ..WorldConfig::default() };
    let mut rows = Vec::new();
    for clip in source.first..source.first + source.clips {
        let mut asked: Vec<Example> = rlaif_world::examples(&config, split, clip)
            .into_iter()
            .filter(|example| match source.questions {
                Questions::All => true,
                Questions::MultipleChoice => example.choices.is_some(),
                Questions::OpenEnded => example.choices.is_none(),
            })
            .collect();
        if source.questions_per_clip > 0 && asked.len() > source.questions_per_clip {
            let seed = mix(&[source.seed, clip]);
            let mut kept = stream(asked.len(), 0, source.questions_per_clip, seed);
            kept.sort_unstable();
            asked = kept.into_iter().map(|index| asked[index].clone()).collect();
        }
        rows.append(&mut asked);
    }
    Ok(rows)
}

/// Supervised items: the rows of one clip become continuations of the beginning that their
/// prompts share, so that the video is encoded once for all its questions.
///
/// # Errors
///
/// Fails on a row without an answer, or one that cannot become a prompt; rows whose clip is at
/// fault are skipped and counted where `on_bad_clip` says so.
pub fn sft_items(
    model: &Vlm,
    builder: &PromptBuilder,
    rows: &[Example],
    train_tower: bool,
    on_bad_clip: BadClipPolicy,
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<Arc<SftItem>>, ClipCounts)> {
    let mut by_video: BTreeMap<String, Vec<(usize, &Example)>> = BTreeMap::new();
    let mut order = Vec::new();
    for (row, example) in rows.iter().enumerate() {
        let video = example.video.to_string();
        by_video
            .entry(video.clone())
            .or_insert_with(|| {
                order.push(video);
                Vec::new()
            })
            .push((row, example));
    }
    let mut counts = ClipCounts::default();
    let mut items = Vec::with_capacity(order.len());
    let mut seen = 0;
    for video in order {
        let Some(members) = by_video.remove(&video) else { continue };
        let mut whole: Vec<(PromptInput, Vec<u32>)> = Vec::new();
        for (row, example) in members {
            seen += 1;
            let context = || format!("row `{}`", example.id);
            let made = if train_tower {
                builder.prompt_with_pixels(model, example)
            } else {
                builder.prompt(model, example)
            };
            let outcome = match made {
                Ok(prompt) => Ok(prompt),
                Err(PromptError::Video(error)) => Err(error),
                Err(other) => return Err(other).with_context(context),
            };
            let Some(prompt) = counts.admit(on_bad_clip, row, outcome).with_context(context)? else {
                continue;
            };
            let target = example.target().with_context(|| {
                format!(
                    "row `{}` has no answer to imitate: expected a closing assistant message, \
                     `choices` or `reference`",
                    example.id
                )
            })?;
            let answer = builder.answer(&target).with_context(context)?;
            whole.push((prompt, answer));
        }
        if let Some(item) = share(whole) {
            items.push(Arc::new(item));
        }
        progress(seen);
    }
    counts.check_any_loaded()?;
    Ok((items, counts))
}

/// Splits prompts about one clip into their common beginning and the rest of each.
fn share(whole: Vec<(PromptInput, Vec<u32>)>) -> Option<SftItem> {
    let (first, _) = whole.first()?;
    let visual_end = first.visual.as_ref().map_or(0, |(at, _)| at.end);
    // At least one token of every prompt stays in its continuation, so that each has a first
    // state of its own to predict from.
    let shortest = whole.iter().map(|(prompt, _)| prompt.ids.len()).min()?;
    let mut common = shortest - 1;
    for (prompt, _) in &whole[1..] {
        let same = first.ids.iter().zip(&prompt.ids).take_while(|(a, b)| a == b).count();
        common = common.min(same);
    }
    let common = common.max(visual_end).max(1);
    let shared = PromptInput { ids: first.ids[..common].to_vec(), visual: first.visual.clone() };
    let turns = whole
        .iter()
        .map(|(prompt, answer)| {
            let mut ids = prompt.ids[common..].to_vec();
            let answer_from = ids.len();
            ids.extend_from_slice(answer);
            SftTurn { ids, answer_from }
        })
        .collect();
    Some(SftItem { shared, turns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(ids: &[u32]) -> PromptInput {
        PromptInput { ids: ids.to_vec(), visual: None }
    }

    #[test]
    fn questions_about_one_clip_share_their_beginning() {
        let item = share(vec![
            (prompt(&[1, 9, 9, 4, 5]), vec![7, 2]),
            (prompt(&[1, 9, 9, 6, 5, 5]), vec![8, 2]),
        ])
        .unwrap();
        assert_eq!(item.shared.ids, [1, 9, 9]);
        assert_eq!(item.turns[0], SftTurn { ids: vec![4, 5, 7, 2], answer_from: 2 });
        assert_eq!(item.turns[1], SftTurn { ids: vec![6, 5, 5, 8, 2], answer_from: 3 });
    }

    #[test]
    fn a_single_question_keeps_a_token_of_its_own() {
        let item = share(vec![(prompt(&[1, 2, 3]), vec![4])]).unwrap();
        assert_eq!(item.shared.ids, [1, 2]);
        assert_eq!(item.turns[0], SftTurn { ids: vec![3, 4], answer_from: 1 });
    }
}
