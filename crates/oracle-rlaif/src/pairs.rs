//! Preference pairs: from judged groups, and into what learns from them.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rlaif_data::{Example, Preference, Reader, VideoRef};
use rlaif_eval::Calibration;
use rlaif_model::{ScalarVlm, Vlm};
use rlaif_rank::{PairRule, Ranking, strict_pairs};
use rlaif_rollout::{PromptBuilder, Visual};
use rlaif_train::SftItem;
use rlaif_train::reward_model::{ScoredItem, scores};
use rlaif_video::digest::digest_parts;
use serde::{Deserialize, Serialize};

use crate::recipe::SourceConfig;
use crate::reward_model::{Settings, scored_item};
use crate::source::share;

/// One question, its sampled answers, and what the judge said: a line of `judged.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedGroup {
    /// Place in the order of the questions, from 0.
    pub position: u64,
    /// The row that was asked.
    pub example: Example,
    /// The answers.
    pub candidates: Vec<String>,
    /// The order, like `[2] > [1]`; absent where the judge failed.
    pub ranking: Option<String>,
    /// Why there is no order.
    pub failure: Option<String>,
    /// Seconds that the judge took.
    pub seconds: f64,
}

/// The pairs of a judged group; none where the judge failed or tied all.
///
/// # Errors
///
/// Fails on an order that cannot be read.
pub fn preferences(group: &JudgedGroup, rule: PairRule) -> Result<Vec<Preference>> {
    let Some(text) = &group.ranking else { return Ok(Vec::new()) };
    let ranking = Ranking::parse(text, group.candidates.len())
        .with_context(|| format!("the order `{text}` of question {}", group.position))?;
    let example = &group.example;
    let pairs = strict_pairs(&ranking, rule).into_iter().enumerate();
    Ok(pairs
        .map(|(number, (better, worse))| Preference {
            id: format!("{}#{}-{number}", example.id, group.position),
            video: example.video.clone(),
            messages: example.prompt().to_vec(),
            chosen: group.candidates[better].clone(),
            rejected: group.candidates[worse].clone(),
            category: example.category.clone(),
            narrative: example.narrative.clone(),
            meta: serde_json::Map::new(),
        })
        .collect())
}

/// Pairs of a file.
///
/// # Errors
///
/// Names the file, line and field at fault.
pub fn read(source: &SourceConfig) -> Result<Vec<Preference>> {
    let path = source.path.as_deref().context("`data.preferences` needs `path`")?;
    let reader = Reader {
        columns: source.columns.clone().unwrap_or_default(),
        video_root: source.video_root.clone(),
        ..Reader::default()
    };
    let pairs = reader.preferences(path)?.warned();
    anyhow::ensure!(!pairs.is_empty(), "`{}` holds no pairs", path.display());
    Ok(pairs)
}

/// Splits pairs into those to train on and those held out. All pairs about one video are on the
/// same side, and which it is depends on the video alone.
#[must_use]
pub fn split(pairs: Vec<Preference>, held_out: f64) -> (Vec<Preference>, Vec<Preference>) {
    pairs.into_iter().partition(|pair| place(&pair.video) >= held_out)
}

/// A number in [0, 1) that a video always has.
fn place(video: &VideoRef) -> f64 {
    let digest = digest_parts(&[video.to_string()]);
    let word = digest
        .bytes()
        .take(12)
        .fold(0_u64, |word, digit| word << 4 | char::from(digit).to_digit(16).map_or(0, u64::from));
    word as f64 / (1_u64 << 48) as f64
}

/// Both answers of a pair as continuations of their question, the chosen one first, for DPO.
///
/// # Errors
///
/// Fails on a clip that cannot be read or text that cannot be encoded.
pub fn answered(model: &Vlm, builder: &PromptBuilder, pair: &Preference) -> Result<SftItem> {
    let visual = Visual::Features(builder.features(model, &pair.video)?);
    let prompt = builder.prompt_about(model, &pair.messages, visual)?;
    let both = [&pair.chosen, &pair.rejected]
        .map(|text| builder.answer(text).map(|ids| (prompt.clone(), ids)));
    let [chosen, rejected] = both;
    share(&[chosen?, rejected?]).context("a pair has two answers")
}

/// Both answers of a pair as a reward model reads them, the chosen one first.
///
/// # Errors
///
/// Fails on a clip that cannot be read or text that cannot be encoded.
pub fn compared(
    model: &ScalarVlm,
    builder: &PromptBuilder,
    settings: &Settings,
    pair: &Preference,
) -> Result<ScoredItem> {
    let visual = Visual::Features(builder.features(&model.vlm, &pair.video)?);
    let candidates = [pair.chosen.as_str(), pair.rejected.as_str()];
    let narrative = pair.narrative.as_deref();
    scored_item(model, builder, settings, &pair.messages, &visual, narrative, &candidates)
        .with_context(|| format!("pair `{}`", pair.id))
}

/// What a reward model makes of pairs that it was not trained on.
pub struct HeldOut {
    /// Accuracy and calibration.
    pub calibration: Calibration,
    /// Mean of all scores.
    pub mean: f64,
    /// Their deviation.
    pub std: f64,
}

/// Scores held-out pairs; `None` where there are none. `progress` hears the number of pairs done.
///
/// # Errors
///
/// As [`compared`].
pub fn held_out(
    model: &ScalarVlm,
    builder: &PromptBuilder,
    settings: &Settings,
    pairs: &[Preference],
    together: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Option<HeldOut>> {
    let mut all: Vec<f64> = Vec::with_capacity(2 * pairs.len());
    for chunk in pairs.chunks(together.max(1)) {
        let items = chunk
            .iter()
            .map(|pair| compared(model, builder, settings, pair).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        all.extend(scores(model, &items).to_data().iter::<f32>().map(f64::from));
        progress(all.len() / 2);
    }
    let videos: Vec<String> = pairs.iter().map(|pair| pair.video.to_string()).collect();
    let margins: Vec<(&str, f64)> = videos
        .iter()
        .zip(all.as_chunks::<2>().0)
        .map(|(video, [chosen, rejected])| (video.as_str(), chosen - rejected))
        .collect();
    let Some(calibration) = Calibration::of(&margins) else { return Ok(None) };
    let n = all.len() as f64;
    let mean = all.iter().sum::<f64>() / n;
    let std = (all.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / n).sqrt();
    Ok(Some(HeldOut { calibration, mean, std }))
}

#[cfg(test)]
mod tests {
    use rlaif_data::Message;

    use super::*;

    fn group(ranking: Option<&str>) -> JudgedGroup {
        let example = Example {
            id: "row".into(),
            video: VideoRef::from_text("world:train/3"),
            messages: vec![Message::ask("what moves ?")],
            reference: Some("red".into()),
            choices: None,
            category: Some("motion".into()),
            narrative: Some("it moves .".into()),
            meta: serde_json::Map::new(),
        };
        JudgedGroup {
            position: 7,
            example,
            candidates: vec!["red".into(), "blue".into(), "up".into()],
            ranking: ranking.map(str::to_owned),
            failure: None,
            seconds: 0.0,
        }
    }

    #[test]
    fn a_judged_group_gives_its_strict_pairs_and_a_failure_none() {
        let pairs = preferences(&group(Some("[2] > [1] = [3]")), PairRule::All).unwrap();
        let texts: Vec<(&str, &str)> =
            pairs.iter().map(|p| (p.chosen.as_str(), p.rejected.as_str())).collect();
        assert_eq!(texts, [("blue", "red"), ("blue", "up")]);
        assert_ne!(pairs[0].id, pairs[1].id);
        assert_eq!(pairs[0].narrative.as_deref(), Some("it moves ."));
        assert!(preferences(&group(None), PairRule::All).unwrap().is_empty());
        assert!(preferences(&group(Some("[9] > [1]")), PairRule::All).is_err());
    }

    #[test]
    fn pairs_about_one_video_are_on_one_side() {
        let mut pairs = Vec::new();
        for clip in 0..400 {
            for _ in 0..2 {
                let mut pair = preferences(&group(Some("[1] > [2] > [3]")), PairRule::Extremes)
                    .unwrap()
                    .remove(0);
                pair.video = VideoRef::from_text(&format!("world:train/{clip}"));
                pairs.push(pair);
            }
        }
        let (train, held) = split(pairs.clone(), 0.25);
        assert_eq!(train.len() + held.len(), 800);
        assert!((60..=140).contains(&(held.len() / 2)), "{}", held.len());
        assert!(train.iter().all(|pair| held.iter().all(|other| other.video != pair.video)));
        assert_eq!(split(pairs, 0.0).1.len(), 0);
    }
}
