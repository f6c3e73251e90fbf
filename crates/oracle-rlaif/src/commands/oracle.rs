//! `oracle`: choose an Oracle by figures.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::asked;
use oracle_rlaif::candidates::read_candidates;
use oracle_rlaif::judges;
use oracle_rlaif::oracle_check::report::report;
use oracle_rlaif::oracle_check::{Labelled, listings, requests};
use rlaif_data::{Reader, write_atomic};
use rlaif_oracle::FailureKind;

use super::progress::{Progress, print, say};
use super::rank::JudgeArgs;
use super::{Context, Outcome};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum OracleCommand {
    /// Measure an Oracle on groups whose order is known, before a run is paid for
    ///
    /// Every group is asked about several times, its candidates listed in other orders. The table has
    /// agreement with the labels, preference for a place, consistency, ties, failures, time and cost.
    /// `oracle-rlaif world candidates` makes a file to try it on.
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Rows with `candidates` and their known `ranking`, like "[2] > [1] = [3]", JSONL
    #[arg(long, value_name = "LABELLED.jsonl")]
    data: PathBuf,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Folder for `check.json`, `check.md` and the ledger, which is gone at the end without it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Times that each group is asked about
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    repeats: u8,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &OracleCommand) -> Result<Outcome> {
    let OracleCommand::Check(args) = command;
    let recipe = args.judge.read()?;
    let groups = labelled(args)?;
    let scratch = tempfile::tempdir().context("a temporary folder")?;
    let folder = args.out.as_deref().unwrap_or(scratch.path());
    std::fs::create_dir_all(folder).with_context(|| format!("`{}`", folder.display()))?;
    let ledger = folder.join(judges::LEDGER);
    let oracle =
        judges::open(&recipe.oracle, &recipe.ranking, &recipe.video, &ledger, &context.device)?;
    context.catch_interrupts_saying("stopping; the figures are of what has come")?;
    let repeats = usize::from(args.repeats);
    let requests = requests(&groups, repeats);
    let mut bar = Progress::start("asking", requests.len() as u64, context.quiet);
    let asked =
        asked::ask(oracle, &requests, &context.control, &mut |done| bar.at(done as u64, ""))?;
    bar.done(&format!("{} verdicts", requests.len()));
    let report = report(&groups, repeats, &asked);
    if args.json {
        print(&serde_json::to_string(&report)?);
    } else {
        print(&report.markdown());
    }
    if let Some(out) = &args.out {
        write_atomic(out.join("check.json"), &serde_json::to_vec_pretty(&report)?)?;
        write_atomic(out.join("check.md"), report.markdown().as_bytes())?;
        say(&format!("report: {}", out.join("check.md").display()));
    }
    if let Some(error) = asked.stopped_by() {
        return Err(error.clone()).context("the Oracle stopped");
    }
    if asked.metrics.failures.contains_key(&FailureKind::Cancelled) {
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

fn labelled(args: &CheckArgs) -> Result<Vec<Labelled>> {
    let rows = read_candidates(&args.data, &Reader::default())?;
    let all = rows.len();
    let groups: Vec<Labelled> = rows
        .into_iter()
        .filter_map(|row| row.parsed_ranking().map(|label| Labelled { row, label }))
        .collect();
    if groups.is_empty() {
        bail!(
            "no row of `{}` has a `ranking` to compare with: rank some by hand with `oracle-rlaif annotate \
             --data`, or make some with `oracle-rlaif world candidates`",
            args.data.display()
        );
    }
    let most = groups.iter().map(|group| listings(group.row.candidates.len())).min().unwrap_or(0);
    if usize::from(args.repeats) > most {
        bail!(
            "the smallest group has only {most} orders to list its candidates in, and what was asked before \
             is not asked again: set `--repeats {most}` or less"
        );
    }
    if groups.len() < all {
        say(&format!("{} of {all} rows have no `ranking` and are left out", all - groups.len()));
    }
    Ok(groups)
}
