//! Preference data: answers are sampled, a judge orders them, pairs are written in two layouts.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::pairs::{self, JudgedGroup};
use oracle_rlaif::recipe::{PreferencesConfig, Recipe};
use oracle_rlaif::{judges, runs, source};
use rlaif_data::{
    Example, Preference, PreferenceLayout, VideoRef, WriteError, write_atomic,
    write_preference_array, write_preferences,
};
use rlaif_model::Vlm;
use rlaif_oracle::{Cancel, OracleWorker, Pending, RankRequest, RankingConfig, Settled};
use rlaif_rollout::PromptBuilder;
use rlaif_train::batch::Batch;
use rlaif_train::{GrpoConfig, Prompted, order};
use serde::{Deserialize, Serialize};

use super::readable;
use crate::commands::Context;
use crate::commands::progress::{Progress, say};

/// Every judged group, one a line: what was paid for, whatever happens afterwards.
const JUDGED: &str = "judged.jsonl";

/// `collected.json` of preferences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::commands) struct Collected {
    /// Questions asked, which is calls of the judge.
    pub(in crate::commands) groups: usize,
    /// Answers sampled.
    pub(in crate::commands) completions: usize,
    /// Questions that the judge gave no order for.
    pub(in crate::commands) failures: usize,
    /// Questions whose answers all tied.
    pub(in crate::commands) all_tied: usize,
    /// Pairs written.
    pub(in crate::commands) pairs: usize,
    /// Seconds that the judge took.
    pub(in crate::commands) judge_seconds: f64,
    /// Why there is no file in VLM-RLAIF's layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) vlm_rlaif_refused: Option<String>,
}

/// `[preferences]` from `start`'s model in `out`; goes on after the groups that are there. `None`
/// where Ctrl-C stopped it.
pub(in crate::commands) fn preferences(
    context: &Context,
    start: &Folder,
    recipe: &Recipe,
    out: &Path,
) -> Result<Option<Collected>> {
    let Some(config) = recipe.preferences.clone() else {
        bail!("the recipe has no `[preferences]` section");
    };
    let oracle = judges::of_run(recipe, out, &context.device)?;
    let oracle = OracleWorker::start(oracle, &Cancel::new()).context("the judge's thread")?;
    let rows = source::rows(&recipe.data.train)?;
    let told = |row: &&Example| row.narrative.as_ref().is_some_and(|n| !n.trim().is_empty());
    if config.narrative
        && let Some(row) = rows.iter().find(|row| !told(row))
    {
        bail!(
            "row `{}` has no `narrative` to tell the judge; add the column, or set \
             `preferences.narrative = false`",
            row.id
        );
    }
    let builder = start.builder(
        &recipe.video,
        folder::world_clips(),
        config.sampling.max_completion_length,
    )?;
    let read = |video: &VideoRef| builder.features(&start.model, video).map(drop);
    let rows = readable(context, rows, recipe.video.on_bad_clip, &read)?;
    let prompts = if config.prompts == 0 { rows.len() } else { usize::try_from(config.prompts)? };

    let path = out.join(JUDGED);
    let mut judged = already_judged(&path)?;
    judged.truncate(prompts);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("`{}`", path.display()))?;
    let mut bar = Progress::start("judged answers", prompts as u64, context.quiet);
    // One batch is sampled while the judge orders the one before.
    let mut pending: Option<(Vec<JudgedGroup>, Pending)> = None;
    let mut next = judged.len();
    loop {
        let more = next < prompts && !context.control.stopping();
        let sampled = if more {
            let count = config.prompts_per_batch.min(prompts - next);
            let groups = sample(start, &builder, &rows, &config, next, count)?;
            next += count;
            let requests = groups.iter().map(|group| request(group, &config)).collect();
            Some((groups, oracle.submit(requests)))
        } else {
            None
        };
        let before = std::mem::replace(&mut pending, sampled);
        if let Some((groups, waiting)) = before {
            judged.extend(verdicts(groups, waiting, &recipe.ranking, &mut file)?);
            bar.at(judged.len() as u64, "");
        }
        if pending.is_none() && (next >= prompts || context.control.stopping()) {
            break;
        }
    }
    if judged.len() < prompts {
        bar.done("stopped");
        return Ok(None);
    }
    bar.done(&format!("{prompts} questions"));
    Ok(Some(write(out, &judged, &config)?))
}

/// Samples the answers to questions `from..from + count` of the endless order of rows.
fn sample(
    start: &Folder,
    builder: &PromptBuilder,
    rows: &[Example],
    config: &PreferencesConfig,
    from: usize,
    count: usize,
) -> Result<Vec<JudgedGroup>> {
    let model: &Vlm = &start.model;
    let mut prompts = Vec::with_capacity(count);
    let visited = order::stream(rows.len(), from, count, config.seed).into_iter().zip(from..);
    for (row, position) in visited {
        let example = &rows[row];
        let input =
            builder.prompt(model, example).with_context(|| format!("row `{}`", example.id))?;
        let position = position as u64;
        prompts.push(Arc::new(Prompted { position, example: example.clone(), input }));
    }
    let draw = GrpoConfig {
        num_generations: config.num_generations,
        sampling: config.sampling.clone(),
        seed: config.seed,
        ..GrpoConfig::default()
    };
    let batch = Batch::roll_out(prompts, model, model, false, &draw, &start.tokenizer, 0);
    let group = |(prompt, group): (&Arc<Prompted>, &rlaif_data::Group)| JudgedGroup {
        position: prompt.position,
        example: prompt.example.clone(),
        candidates: group.completions.iter().map(|c| c.text.clone()).collect(),
        ranking: None,
        failure: None,
        seconds: 0.0,
    };
    Ok(batch.prompts.iter().zip(&batch.groups).map(group).collect())
}

fn request(group: &JudgedGroup, config: &PreferencesConfig) -> RankRequest {
    let request =
        RankRequest { example: group.example.clone(), candidates: group.candidates.clone() };
    if config.narrative { request } else { request.without_narrative() }
}

/// Waits for the judge and writes what it said before anything is made of it.
fn verdicts(
    mut groups: Vec<JudgedGroup>,
    waiting: Pending,
    ranking: &RankingConfig,
    file: &mut std::fs::File,
) -> Result<Vec<JudgedGroup>> {
    let outcome = waiting.wait();
    let mut text = String::new();
    let mut stopped = None;
    for (group, verdict) in groups.iter_mut().zip(outcome.verdicts) {
        let seconds = verdict.as_ref().map_or(0.0, |verdict| verdict.latency.as_secs_f64());
        match ranking.settle(verdict, group.candidates.len()) {
            // Pairs have no weight: a group counts in full or not at all.
            Settled::Ranked { weight, .. } if weight < 1.0 => {
                group.failure = Some("dropped: its votes agree too little".to_owned());
            }
            Settled::Ranked { ranking, .. } => {
                group.ranking = Some(ranking.to_string());
                group.seconds = seconds;
            }
            Settled::Tied(_, error) | Settled::Skipped(error) => {
                group.failure = Some(error.to_string());
            }
            Settled::Dropped { agreement } => {
                group.failure =
                    Some(format!("dropped: its votes agree at tau-b {agreement:.2} only"));
            }
            // Not written: this group and those after it are asked about when the run goes on.
            Settled::Stop(error) => {
                stopped = Some(error);
                break;
            }
        }
        text += &serde_json::to_string(group)?;
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    match stopped {
        None => Ok(groups),
        Some(error) => Err(error).context("the Oracle stopped the run"),
    }
}

/// The groups of an earlier attempt, cut after its last whole line.
fn already_judged(path: &Path) -> Result<Vec<JudgedGroup>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("`{}`", path.display())),
    };
    if !text.ends_with('\n') {
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        write_atomic(path, whole.as_bytes())?;
    }
    runs::read_lines(path)
}

/// Writes the pairs in both layouts, and what was collected.
fn write(out: &Path, judged: &[JudgedGroup], config: &PreferencesConfig) -> Result<Collected> {
    let mut all: Vec<Preference> = Vec::new();
    let mut collected = Collected {
        groups: judged.len(),
        completions: judged.iter().map(|group| group.candidates.len()).sum(),
        failures: judged.iter().filter(|group| group.ranking.is_none()).count(),
        all_tied: 0,
        pairs: 0,
        judge_seconds: judged.iter().map(|group| group.seconds).sum(),
        vlm_rlaif_refused: None,
    };
    for group in judged {
        let pairs = pairs::preferences(group, config.pairs)?;
        collected.all_tied += usize::from(group.ranking.is_some() && pairs.is_empty());
        all.extend(pairs);
    }
    collected.pairs = all.len();
    if all.is_empty() {
        let first = judged.iter().find_map(|group| group.failure.as_deref());
        bail!(
            "no pair came of {} judged questions: {}",
            judged.len(),
            first.unwrap_or("all answers tied; raise `preferences.sampling.temperature`")
        );
    }
    write_preferences(out.join("trl.jsonl"), &all, PreferenceLayout::Trl)?;
    // TRL's layout carries every conversation, VLM-RLAIF's does not: what was judged is not lost to
    // a stray newline in a question.
    let vlm_rlaif =
        write_preferences(out.join("vlm-rlaif.jsonl"), &all, PreferenceLayout::VlmRlaif)
            .and_then(|()| write_preference_array(out.join("vlm-rlaif.json"), &all));
    match vlm_rlaif {
        Err(error @ WriteError::Preference { .. }) => {
            let why = format!("{:#}", anyhow::Error::from(error));
            say(&format!("not written in VLM-RLAIF's layout: {why}"));
            collected.vlm_rlaif_refused = Some(why);
        }
        other => other?,
    }
    write_atomic(out.join("collected.json"), &serde_json::to_vec_pretty(&collected)?)?;
    Ok(collected)
}
