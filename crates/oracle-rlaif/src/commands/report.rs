//! `report`: one self-contained HTML page for a run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::runs::{curves, held_out, read_lines, training_groups};
use rlaif_data::write_atomic;
use rlaif_eval::html::HtmlReport;
use rlaif_eval::{EvalReport, Gains, ItemResult, Summary};
use serde::Deserialize;

use super::Outcome;
use super::progress::say;

/// Groups of the training run that the page shows.
const GROUPS: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Run folders of `quickstart`, `sft`, `train` or `eval`
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
}

pub(crate) fn run(args: &ReportArgs) -> Result<Outcome> {
    for path in &args.runs {
        let html = write(path)?;
        say(&format!("report: {}", html.display()));
    }
    Ok(Outcome::Done)
}

/// `report.json` of `eval`.
#[derive(Deserialize)]
struct Evaluated {
    reports: Vec<EvalReport>,
    gains: Vec<Gains>,
}

/// Writes `report.html` into a run folder from what lies there, and returns its path.
pub(super) fn write(run: &Path) -> Result<PathBuf> {
    let summary = run.join("summary.json");
    let html = if summary.is_file() {
        of_quickstart(run, &read_json::<Summary>(&summary)?)?
    } else {
        of_run(run)?
    };
    let path = run.join("report.html");
    write_atomic(&path, html.render()?.as_bytes())?;
    Ok(path)
}

fn of_quickstart(run: &Path, summary: &Summary) -> Result<HtmlReport> {
    let (sft, rl) = (run.join("sft"), run.join("oracle-rlaif"));
    let mut html = HtmlReport::of_summary("Oracle-RLAIF on ClipWorld", summary);
    html.curves.extend(curves("supervised fine-tuning", &sft)?);
    html.curves.extend(curves("GRPO_rank", &rl)?);
    html.training_groups = training_groups(&rl, GROUPS)?;
    html.held_out =
        cards(&[("sft", sft.join("answers.jsonl")), ("oracle_rlaif", rl.join("answers.jsonl"))])?;
    Ok(html)
}

fn of_run(run: &Path) -> Result<HtmlReport> {
    let mut html = HtmlReport {
        title: run.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        ..HtmlReport::default()
    };
    // `train` keeps its evaluation in a folder of its own, `eval` writes one.
    let nested = run.join("eval");
    let evaluation = if nested.is_dir() { nested } else { run.to_owned() };
    let report = evaluation.join("report.json");
    if report.is_file() {
        let evaluated: Evaluated = read_json(&report)?;
        let names: Vec<String> = evaluated.reports.iter().map(|r| r.name.clone()).collect();
        let files = ["baseline-answers.jsonl", "answers.jsonl"].map(|name| evaluation.join(name));
        let files = &files[files.len() - names.len().min(files.len())..];
        let named: Vec<(&str, PathBuf)> =
            names.iter().map(String::as_str).zip(files.iter().cloned()).collect();
        html.held_out = cards(&named)?;
        html.evals = evaluated.reports;
        html.gains = evaluated.gains;
    }
    html.curves.extend(curves("run", run)?);
    html.training_groups = training_groups(run, GROUPS)?;
    if html.curves.is_empty() && html.evals.is_empty() {
        bail!(
            "`{}` is no run folder: it has neither `summary.json`, nor `metrics.jsonl`, nor \
             `report.json`",
            run.display()
        );
    }
    Ok(html)
}

fn cards(named: &[(&str, PathBuf)]) -> Result<Vec<rlaif_eval::html::ClipCard>> {
    let mut answers: Vec<(&str, Vec<ItemResult>)> = Vec::new();
    for (name, path) in named.iter().filter(|(_, path)| path.is_file()) {
        answers.push((name, read_lines(path)?));
    }
    let borrowed: Vec<(&str, &[ItemResult])> =
        answers.iter().map(|(name, items)| (*name, items.as_slice())).collect();
    Ok(held_out(&borrowed))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("`{}`", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("`{}`", path.display()))
}
