//! Rows from a file or from ClipWorld, and supervised items made of them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rlaif_data::{Columns, Example, Preference, Reader, VideoRef};
use rlaif_model::Vlm;
use rlaif_rollout::{PromptBuilder, PromptError, PromptInput, Visual};
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
    let config = WorldConfig {
        seed: source.seed,
        max_objects: source.max_objects,
        ..WorldConfig::default()
    };
    config.validate().context("`world`")?;
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

/// A row about a video.
pub trait AboutVideo {
    /// Its name in messages.
    fn id(&self) -> &str;
    /// The video.
    fn video(&self) -> &VideoRef;
}

impl AboutVideo for Example {
    fn id(&self) -> &str {
        &self.id
    }

    fn video(&self) -> &VideoRef {
        &self.video
    }
}

impl AboutVideo for Preference {
    fn id(&self) -> &str {
        &self.id
    }

    fn video(&self) -> &VideoRef {
        &self.video
    }
}

/// Positions of the rows of each video, videos in the order of their first row.
#[must_use]
pub fn by_video(rows: &[impl AboutVideo]) -> Vec<Vec<usize>> {
    let mut place: HashMap<&VideoRef, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (row, example) in rows.iter().enumerate() {
        let group = *place.entry(example.video()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(row);
    }
    groups
}

/// The rows whose clips can be read, each clip read once: what is wrong with a clip is known now
/// and not in the night. `read` does the reading; a clip at fault is an error, or skipped and
/// counted, as `policy` says. `progress` hears the number of rows done.
///
/// # Errors
///
/// Names the row and the clip at fault; fails where no clip is left.
pub fn readable<T: AboutVideo>(
    rows: Vec<T>,
    policy: BadClipPolicy,
    read: &dyn Fn(&VideoRef) -> Result<(), PromptError>,
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<T>, ClipCounts)> {
    let mut counts = ClipCounts::default();
    let mut keep = vec![false; rows.len()];
    let mut done = 0;
    for group in by_video(&rows) {
        let mut good = false;
        for row in group {
            let context = || format!("row `{}`", rows[row].id());
            // A clip that was read once is not read again for its other rows.
            let outcome = match if good { Ok(()) } else { read(rows[row].video()) } {
                Ok(()) => Ok(()),
                Err(PromptError::Video(error)) => Err(error),
                Err(other) => return Err(other).with_context(context),
            };
            good = counts.admit(policy, row, outcome).with_context(context)?.is_some();
            keep[row] = good;
            done += 1;
        }
        progress(done);
    }
    counts.check_any_loaded()?;
    let mut keep = keep.into_iter();
    let rows = rows.into_iter().filter(|_| keep.next().unwrap_or(false)).collect();
    Ok((rows, counts))
}

/// One supervised item: the rows of one clip become continuations of the beginning that their
/// prompts share, so that the video is encoded once for all its questions.
///
/// # Errors
///
/// Fails on a row without an answer, or one that cannot become a prompt.
pub fn sft_item(
    model: &Vlm,
    builder: &PromptBuilder,
    rows: &[&Example],
    train_tower: bool,
) -> Result<SftItem> {
    let first = rows.first().context("a supervised item needs a row")?;
    let visual = if train_tower {
        builder.frames(model, &first.video)
    } else {
        builder.features(model, &first.video).map(Visual::Features)
    };
    let visual = visual.with_context(|| format!("row `{}`", first.id))?;
    let mut whole = Vec::with_capacity(rows.len());
    for example in rows {
        let context = || format!("row `{}`", example.id);
        let prompt =
            builder.prompt_about(model, example.prompt(), visual.clone()).with_context(context)?;
        let target = example.target().with_context(|| {
            format!(
                "row `{}` has no answer to imitate: expected a closing assistant message, \
                 `choices` or `reference`",
                example.id
            )
        })?;
        whole.push((prompt, builder.answer(&target).with_context(context)?));
    }
    share(&whole).context("a supervised item needs a row")
}

/// Tokens that all prompts of one clip begin with. At least one token of every prompt stays out of
/// it, so that each has a first state of its own to predict from, and the whole clip stays in.
#[must_use]
pub fn common_beginning(prompts: &[&[u32]], visual_end: usize) -> usize {
    let Some((first, others)) = prompts.split_first() else { return 0 };
    let shortest = prompts.iter().map(|ids| ids.len()).min().unwrap_or(0);
    let mut common = shortest.saturating_sub(1);
    for ids in others {
        let same = first.iter().zip(*ids).take_while(|(a, b)| a == b).count();
        common = common.min(same);
    }
    common.max(visual_end).max(1)
}

/// Splits prompts about one clip into their common beginning and the rest of each.
pub(crate) fn share(whole: &[(PromptInput, Vec<u32>)]) -> Option<SftItem> {
    let (first, _) = whole.first()?;
    let ids: Vec<&[u32]> = whole.iter().map(|(prompt, _)| prompt.ids.as_slice()).collect();
    let common = common_beginning(&ids, first.visual_end());
    let shared = first.truncated(common);
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
        PromptInput { ids: ids.to_vec(), visual: None, positions: None }
    }

    #[test]
    fn questions_about_one_clip_share_their_beginning() {
        let item = share(&[
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
        let item = share(&[(prompt(&[1, 2, 3]), vec![4])]).unwrap();
        assert_eq!(item.shared.ids, [1, 2]);
        assert_eq!(item.turns[0], SftTurn { ids: vec![3, 4], answer_from: 1 });
    }
}
