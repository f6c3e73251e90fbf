//! Reading run folders back: curves, sampled groups and held-out answers for the report.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use rlaif_data::Clip;
use rlaif_eval::html::{CardAnswer, ClipCard, CurveSection};
use rlaif_eval::{ItemKind, ItemResult, MetricsLog};
use rlaif_train::completions::GroupRecord;

/// Training curves of a run folder; `None` where it has no `metrics.jsonl`.
///
/// # Errors
///
/// Names the line of the log that is no record.
pub fn curves(title: &str, run: &Path) -> Result<Option<CurveSection>> {
    let path = run.join("metrics.jsonl");
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Some(CurveSection::of_run(title, MetricsLog::read(&path)?)))
}

/// Up to `count` groups sampled in training, evenly spread over the run's steps.
///
/// # Errors
///
/// Names the file whose record cannot be read.
pub fn training_groups(run: &Path, count: usize) -> Result<Vec<ClipCard>> {
    let folder = run.join("completions");
    if !folder.is_dir() || count == 0 {
        return Ok(Vec::new());
    }
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("`{}`", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    let mut cards = Vec::new();
    for (number, path) in evenly(&files, count).enumerate() {
        let groups: Vec<GroupRecord> = read_lines(path)?;
        if let Some(group) = groups.get(number % groups.len().max(1)) {
            cards.push(group_card(group));
        }
    }
    Ok(cards)
}

/// One card per category and kind: a question and what each checkpoint answered, in the order of
/// `answers`.
#[must_use]
pub fn held_out(answers: &[(&str, &[ItemResult])]) -> Vec<ClipCard> {
    let Some((_, first)) = answers.first() else { return Vec::new() };
    let mut firsts: BTreeMap<(&str, bool), &ItemResult> = BTreeMap::new();
    for item in *first {
        let open = item.kind == ItemKind::OpenEnded;
        firsts.entry((&item.head.category, open)).or_insert(item);
    }
    firsts
        .into_values()
        .filter_map(|item| {
            let same: Vec<(&str, &ItemResult)> = answers
                .iter()
                .filter_map(|(name, items)| {
                    Some((*name, items.iter().find(|other| other.head.id == item.head.id)?))
                })
                .collect();
            ClipCard::of_items(world_clip(&item.head.video), &same)
        })
        .collect()
}

/// Records of a JSON-lines file.
///
/// # Errors
///
/// Names the file and the line.
pub fn read_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("`{}`, line {}", path.display(), number + 1))
        })
        .collect()
}

fn group_card(group: &GroupRecord) -> ClipCard {
    let answers = group
        .completions
        .iter()
        .enumerate()
        .map(|(index, completion)| CardAnswer {
            label: format!("[{}]", index + 1),
            text: completion.text.clone(),
            rank: completion.level,
            advantage: completion.advantage,
            correct: None,
        })
        .collect();
    let note = match &group.failure {
        Some(failure) => format!("step {}: not ranked, {failure}", group.step),
        None => format!("step {}", group.step),
    };
    ClipCard {
        clip: world_clip(&group.video),
        video: group.video.clone(),
        category: String::new(),
        question: group.question.clone(),
        reference: group.reference.clone(),
        choices: None,
        note,
        answers,
    }
}

/// The frames of a ClipWorld address; files are not decoded for a report.
fn world_clip(video: &str) -> Option<Clip> {
    rlaif_world::clip_at(video.strip_prefix("world:")?).ok()
}

/// Up to `count` of `all`, evenly spread, first and last included.
fn evenly<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(all.len());
    let last = all.len().saturating_sub(1);
    (0..count).map(move |i| &all[if count > 1 { i * last / (count - 1) } else { 0 }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_evenly_with_both_ends() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(evenly(&all, 4).copied().collect::<Vec<_>>(), [0, 3, 6, 9]);
        assert_eq!(evenly(&all[..2], 4).count(), 2);
        assert_eq!(evenly(&all[..0], 4).count(), 0);
    }

    #[test]
    fn groups_become_cards_with_ranks_and_advantages() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("completions");
        std::fs::create_dir_all(&folder).unwrap();
        let line = r#"{"step":3,"id":"a","video":"a.mp4","question":"what ?","reference":"x","ranking":"[1]","failure":null,"completions":[{"text":"x","tokens":1,"mean_logprob":-0.5,"finish_reason":"stop","level":0,"advantage":0.25}]}"#;
        std::fs::write(folder.join("step-000003.jsonl"), line).unwrap();
        let cards = training_groups(run.path(), 5).unwrap();
        assert_eq!(cards.len(), 1);
        assert_eq!(cards[0].note, "step 3");
        assert_eq!(cards[0].answers[0].rank, Some(0));
        assert_eq!(cards[0].answers[0].advantage, Some(0.25));
        std::fs::write(folder.join("step-000004.jsonl"), "{").unwrap();
        let error = training_groups(run.path(), 5).unwrap_err();
        assert!(format!("{error:#}").contains("step-000004.jsonl`, line 1"), "{error:#}");
    }
}
