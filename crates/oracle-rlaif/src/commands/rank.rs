//! `rank`: the candidates of a file, put in order by any Oracle.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::asked::{self, Asked};
use oracle_rlaif::candidates::{CandidateRow, read_candidates};
use oracle_rlaif::judges;
use oracle_rlaif::recipe::JudgeRecipe;
use rlaif_data::{Example, Reader, write_jsonl};
use rlaif_oracle::{FailureKind, OracleError, RankRequest, Verdict};
use serde::Serialize;

use super::progress::{Progress, print, say};
use super::{Context, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct RankArgs {
    /// Rows with `candidates`, JSONL: the rows of a data set and a list of answers in each
    #[arg(long, value_name = "GROUPS.jsonl")]
    data: PathBuf,
    #[command(flatten)]
    judge: JudgeArgs,
    /// The rows with `ranking`, or `failure` where there is none
    #[arg(long, value_name = "RANKED.jsonl")]
    out: PathBuf,
    /// Ledger that keeps the replies; without it the recipe's, else a file beside `--out`. The same
    /// command again pays for nothing twice
    #[arg(long, value_name = "FILE.sqlite")]
    ledger: Option<PathBuf>,
    /// Rank the first rows only
    #[arg(long, value_name = "ROWS")]
    limit: Option<usize>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Who judges.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct JudgeArgs {
    /// Recipe with an `[oracle]`, that of a training run for instance; `[video]` and, of `[ranking]`,
    /// `aggregation` and `ledger` are heeded, the rest is not
    #[arg(long, value_name = "JUDGE.toml")]
    pub(crate) recipe: PathBuf,
    /// Override a key of the recipe, for instance `--set oracle.repeats=2`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

impl JudgeArgs {
    pub(crate) fn read(&self) -> Result<JudgeRecipe> {
        JudgeRecipe::read(&self.recipe, &self.overrides)
    }
}

/// A row as it goes out.
#[derive(Serialize)]
struct RankedRow<'a> {
    #[serde(flatten)]
    row: CandidateRow,
    /// The ranking that the row came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    votes: Vec<(&'a str, String)>,
    seconds: f64,
    cost: f64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    groups: usize,
    ranked: usize,
    failed: usize,
    seconds: Option<f64>,
    requests: u64,
    cached: u64,
    cost: f64,
}

pub(crate) fn run(context: &Context, args: &RankArgs) -> Result<Outcome> {
    let mut recipe = args.judge.read()?;
    if args.ledger.is_some() {
        recipe.ranking.ledger.clone_from(&args.ledger);
    }
    let mut rows = read_candidates(&args.data, &Reader::default())?;
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    for row in &mut rows {
        // Of an earlier ranking; they are not part of the question.
        for column in ["label", "failure", "votes", "seconds", "cost"] {
            row.example.meta.remove(column);
        }
    }
    if rows.is_empty() {
        bail!("`{}` holds no row to rank", args.data.display());
    }
    let ledger = args.out.with_extension("ledger.sqlite");
    let oracle =
        judges::open(&recipe.oracle, &recipe.ranking, &recipe.video, &ledger, &context.device)?;
    context.catch_interrupts_saying("stopping; what was paid for is in the ledger")?;
    let requests: Vec<RankRequest> = rows
        .iter()
        .map(|row| RankRequest { example: row.example.clone(), candidates: row.candidates.clone() })
        .collect();
    let mut bar = Progress::start("ranking", rows.len() as u64, context.quiet);
    let asked =
        asked::ask(oracle, &requests, &context.control, &mut |done| bar.at(done as u64, ""))?;
    bar.done(&format!("{} groups", rows.len()));
    let out = rows.iter().zip(&asked.verdicts).map(|(row, verdict)| ranked(row, verdict));
    write_jsonl(&args.out, out)?;
    finish(context, args, &asked)
}

fn ranked<'a>(row: &CandidateRow, verdict: &'a Result<Verdict, OracleError>) -> RankedRow<'a> {
    let good = verdict.as_ref().ok();
    let votes = good.map(|verdict| verdict.votes.as_slice()).unwrap_or_default();
    let calls = good.map(|verdict| verdict.calls.as_slice()).unwrap_or_default();
    let example = Example { video: row.example.video.absolute(), ..row.example.clone() };
    RankedRow {
        label: row.ranking.clone(),
        row: CandidateRow {
            example,
            candidates: row.candidates.clone(),
            ranking: good.map(|verdict| verdict.ranking.to_string()),
        },
        failure: verdict.as_ref().err().map(ToString::to_string),
        votes: votes.iter().map(|vote| (vote.voter.as_str(), vote.ranking.to_string())).collect(),
        seconds: good.map_or(0.0, |verdict| verdict.latency.as_secs_f64()),
        cost: calls.iter().map(|call| call.cost).sum(),
    }
}

/// Says what came of it. A run that was stopped, by whomever, says how to go on.
fn finish(context: &Context, args: &RankArgs, asked: &Asked) -> Result<Outcome> {
    let (metrics, usage) = (&asked.metrics, asked.usage);
    let summary = Summary {
        groups: asked.verdicts.len(),
        ranked: metrics.ranked,
        failed: metrics.failed(),
        seconds: metrics.latency_mean().map(|mean| mean.as_secs_f64()),
        requests: usage.requests,
        cached: usage.cached,
        cost: usage.cost,
    };
    if args.json {
        print(&serde_json::to_string(&summary)?);
    }
    say(&format!(
        "{} of {} groups ranked; {} requests, {} from the ledger, cost {:.4}: {}",
        summary.ranked,
        summary.groups,
        summary.requests,
        summary.cached,
        summary.cost,
        args.out.display()
    ));
    for (kind, count) in &metrics.failures {
        say(&format!("not ranked, {}: {count}", kind.as_str()));
    }
    if let Some(error) = asked.stopped_by() {
        return Err(error.clone()).context("the Oracle stopped; the same command goes on");
    }
    if context.control.stopping() && metrics.failures.contains_key(&FailureKind::Cancelled) {
        say("stopped; the same command goes on");
        return Ok(Outcome::Interrupted);
    }
    if metrics.ranked == 0 {
        let first = asked.verdicts.iter().find_map(|verdict| verdict.as_ref().err());
        if let Some(error) = first {
            return Err(error.clone()).context("no group was ranked");
        }
    }
    Ok(Outcome::Done)
}
