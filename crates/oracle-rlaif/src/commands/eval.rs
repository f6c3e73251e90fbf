//! `eval`: a checkpoint on questions about videos.

use std::path::{Path, PathBuf};

use anyhow::Result;
use oracle_rlaif::answers::ask;
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::recipe::{EvalConfig, Recipe, VideoConfig};
use oracle_rlaif::source;
use rlaif_data::{Columns, Example, write_atomic, write_jsonl};
use rlaif_eval::{Bootstrap, EvalReport, Gains, ItemResult, render_reports};
use rlaif_model::Vlm;
use rlaif_video::{BadClipPolicy, Sampling};

use super::progress::{Progress, print, say};
use super::{Context, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// Checkpoint folder, or a name on the Hugging Face hub
    #[arg(long, visible_alias = "model", value_name = "DIR|NAME")]
    checkpoint: PathBuf,
    /// Questions: a JSONL file with `video`, `messages`, and `reference` or `choices`
    #[arg(long, value_name = "FILE.jsonl")]
    data: PathBuf,
    /// Folder for `report.json`, `report.html` and `answers.jsonl`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A second checkpoint to compare with, question by question
    #[arg(long, value_name = "DIR|NAME")]
    baseline: Option<PathBuf>,
    /// Folder that relative video paths start from; the data file's own where absent
    #[arg(long, value_name = "DIR")]
    video_root: Option<PathBuf>,
    /// Frames taken from each video; the checkpoint's `num_frames` where absent
    #[arg(long)]
    frames: Option<usize>,
    /// Leave out rows whose clip cannot be read, and count them
    #[arg(long)]
    skip_bad_clips: bool,
    /// Longest generated answer in tokens
    #[arg(long, default_value_t = 32)]
    max_new_tokens: usize,
    /// Prompts that go through the model together
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, args: &EvalArgs) -> Result<Outcome> {
    let rows = source::file_rows(&args.data, Columns::default(), args.video_root.clone())?;
    let video = VideoConfig {
        sampling: args.frames.map(|frames| Sampling::Uniform { frames }),
        on_bad_clip: if args.skip_bad_clips { BadClipPolicy::Skip } else { BadClipPolicy::Error },
        ..VideoConfig::default()
    };
    let config = EvalConfig {
        max_completion_length: args.max_new_tokens.max(1),
        batch_size: args.batch_size.max(1),
        ..EvalConfig::default()
    };
    let named = |path: &PathBuf| {
        path.file_name().map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned())
    };
    let mut reports = Vec::new();
    let mut answers: Vec<(String, Vec<ItemResult>)> = Vec::new();
    std::fs::create_dir_all(&args.out)?;
    for path in args.baseline.iter().chain([&args.checkpoint]) {
        let start = Folder::open(path, &context.device)?;
        let mut name = named(path);
        if answers.iter().any(|(before, _)| *before == name) {
            name = format!("{name} ({})", path.display());
        }
        let (report, items) = evaluate(
            context,
            &start,
            &start.model,
            &rows,
            &Plan {
                name: &name,
                checkpoint: &path.display().to_string(),
                video: &video,
                config: &config,
            },
        )?;
        reports.push(report);
        answers.push((name, items));
    }
    let gains = match answers.as_slice() {
        [before, after] => {
            vec![Gains::between((&before.0, &before.1), (&after.0, &after.1), &bootstrap(&config))?]
        }
        _ => Vec::new(),
    };
    write(&args.out, &reports, &gains, &answers)?;
    if args.json {
        print(&serde_json::to_string_pretty(&Written { reports: &reports, gains: &gains })?);
    } else {
        print(render_reports(&reports, &gains).trim_end());
    }
    say(&format!("report: {}", super::report::write(&args.out)?.display()));
    Ok(Outcome::Done)
}

/// What one evaluation is called and how it is done.
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) checkpoint: &'a str,
    pub(super) video: &'a VideoConfig,
    pub(super) config: &'a EvalConfig,
}

#[derive(serde::Serialize)]
struct Written<'a> {
    reports: &'a [EvalReport],
    gains: &'a [Gains],
}

pub(super) fn bootstrap(config: &EvalConfig) -> Bootstrap {
    Bootstrap { resamples: config.resamples, ..Bootstrap::default() }
}

/// Asks `model` every question and sums up.
pub(super) fn evaluate(
    context: &Context,
    start: &Folder,
    model: &Vlm,
    rows: &[Example],
    plan: &Plan<'_>,
) -> Result<(EvalReport, Vec<ItemResult>)> {
    let builder =
        start.builder(plan.video, folder::world_clips(), plan.config.max_completion_length)?;
    let mut bar =
        Progress::start(&format!("evaluating {}", plan.name), rows.len() as u64, context.quiet);
    let (items, counts) = ask(
        model,
        &builder,
        rows,
        plan.config,
        plan.video.on_bad_clip,
        &|example, answer| rlaif_world::truth_score(example, answer).ok(),
        &mut |done| bar.at(done as u64, ""),
    )?;
    let report = EvalReport::new(
        plan.name,
        plan.checkpoint,
        &items,
        counts.total_skipped(),
        &bootstrap(plan.config),
    )?;
    bar.done(&format!("{} questions", items.len()));
    Ok((report, items))
}

/// Evaluates what training started from and what it made, and writes the comparison.
pub(super) fn compare(
    context: &Context,
    start: &Folder,
    policy: &Vlm,
    recipe: &Recipe,
    out: &Path,
    name: &str,
) -> Result<()> {
    let Some(source) = &recipe.data.eval else { return Ok(()) };
    let rows = source::rows(source)?;
    let plan = |name| Plan { name, checkpoint: "", video: &recipe.video, config: &recipe.eval };
    let (before, before_items) = evaluate(context, start, &start.model, &rows, &plan("start"))?;
    let (after, after_items) = evaluate(context, start, policy, &rows, &plan(name))?;
    let gains =
        Gains::between(("start", &before_items), (name, &after_items), &bootstrap(&recipe.eval))?;
    let reports = [before, after];
    let answers = [("start".to_owned(), before_items), (name.to_owned(), after_items)];
    let folder = out.join("eval");
    std::fs::create_dir_all(&folder)?;
    write(&folder, &reports, std::slice::from_ref(&gains), &answers)?;
    print(render_reports(&reports, &[gains]).trim_end());
    Ok(())
}

fn write(
    out: &Path,
    reports: &[EvalReport],
    gains: &[Gains],
    answers: &[(String, Vec<ItemResult>)],
) -> Result<()> {
    let json = serde_json::to_vec_pretty(&Written { reports, gains })?;
    write_atomic(out.join("report.json"), &json)?;
    for (index, (_, items)) in answers.iter().enumerate() {
        let name = if index + 1 == answers.len() {
            "answers.jsonl".to_owned()
        } else {
            "baseline-answers.jsonl".to_owned()
        };
        write_jsonl(out.join(name), items)?;
    }
    Ok(())
}
