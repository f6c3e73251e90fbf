//! `reproduce`: the paper's comparison on ClipWorld, and the studies beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder;
use oracle_rlaif::recipe::Recipe;
use rlaif_data::{Example, write_atomic};
use rlaif_eval::comparison::{
    ClaimSpec, Comparison, ComparisonFacts, MethodRuns, SeedRun, Selection,
};

use super::progress::{print, say};
use super::{Context, Outcome, eval};

mod cell;
mod plan;
mod run;
mod tested;

use cell::Exam;
use plan::{Arm, Learns, Study};
use run::{Experiment, Stoppable, or_stop};

/// The recipe that all cells are made of.
const RECIPE: &str = include_str!("../../../../../recipes/reproduce.toml");

/// Learning rates that every method chooses from, by its accuracy on validation questions.
const GRID: [f64; 3] = [1e-4, 3e-4, 1e-3];

/// What `--quick` changes: an eighth of the budget, two learning rates, fewer questions.
const QUICK: [&str; 6] = [
    "data.sft.world.clips=2000",
    "data.train.world.clips=1000",
    "data.eval.world.clips=40",
    "sft.max_steps=100",
    "train.max_steps=60",
    "eval.resamples=1000",
];

#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// Folder of the experiment; one that was interrupted goes on where it stopped
    #[arg(long, value_name = "DIR", default_value = "runs/reproduce")]
    out: PathBuf,
    /// Seeds that every method is run under
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// A study in the place of the paper's comparison; in the same folder it shares its
    /// supervised checkpoints
    #[arg(long, value_enum)]
    study: Option<Study>,
    /// Everything in under ten minutes, too short to say much
    #[arg(long)]
    quick: bool,
    /// Override a key of the recipe, for instance `--set train.max_steps=200`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, args: &ReproduceArgs) -> Result<Outcome> {
    if args.seeds == 0 {
        bail!("`--seeds` must be at least 1");
    }
    let mut overrides: Vec<String> = Vec::new();
    if args.quick {
        overrides.extend(QUICK.map(str::to_owned));
    }
    overrides.extend_from_slice(&args.overrides);
    let recipe = Recipe::parse(RECIPE, &overrides).context("the experiment's recipe")?;
    let made_by = Made { command: command(args), commit: open(&args.out, &recipe)? };
    context.catch_interrupts()?;
    let grid = if args.quick { GRID[1..].to_vec() } else { GRID.to_vec() };
    let experiment = Experiment {
        context,
        text: RECIPE,
        overrides: &overrides,
        out: &args.out,
        grid,
        seeds: (1..=args.seeds).collect(),
    };
    let done = match args.study {
        None => comparison(&experiment, &recipe, made_by)?,
        Some(study) => self::study(&experiment, &recipe, study, made_by)?,
    };
    let Some(comparison) = done else {
        say(&format!("stopped; go on with: {} --out {}", command(args), args.out.display()));
        return Ok(Outcome::Interrupted);
    };
    let name =
        args.study.map_or("comparison".to_owned(), |study| format!("study-{}", study.name()));
    write(&args.out, &name, &comparison)?;
    if args.json {
        print(&serde_json::to_string_pretty(&comparison)?);
    } else {
        print(comparison.text().trim_end());
    }
    for kind in ["html", "md", "json"] {
        say(&format!("report: {}", args.out.join(format!("{name}.{kind}")).display()));
    }
    Ok(Outcome::Done)
}

/// A new folder, or the one of an experiment: its cells say themselves whether they are of the same
/// recipe. Returns the commits of the code that began it and, where it is another, that goes on.
fn open(out: &Path, recipe: &Recipe) -> Result<String> {
    let (file, begun_by) = (out.join("experiment.toml"), out.join("commit.txt"));
    let now = commit();
    if !file.is_file() {
        folder::fresh(out)?;
        write_atomic(&file, recipe.to_toml()?.as_bytes())?;
        write_atomic(&begun_by, now.as_bytes())?;
    }
    Ok(match std::fs::read_to_string(&begun_by) {
        Ok(begun) if begun.trim() != now => format!("{}, reported by {now}", begun.trim()),
        _ => now,
    })
}

/// The paper's comparison.
fn comparison(
    experiment: &Experiment<'_>,
    recipe: &Recipe,
    made_by: Made,
) -> Stoppable<Comparison> {
    let (validation, test) = run::questions(recipe)?;
    let exam = Exam { context: experiment.context, recipe, config: &recipe.eval };
    let mut selections = Vec::new();
    for narrative in [true, false] {
        selections.push(or_stop!(experiment.best_reward_rate(narrative)));
    }
    let mut chosen = Vec::new();
    for arm in plan::methods() {
        if arm.learns == Learns::Nothing {
            chosen.push((arm, None));
            continue;
        }
        let selection = or_stop!(experiment.best_rate(&arm, &exam, &validation));
        chosen.push((arm, Some(selection.chosen)));
        selections.push(selection);
    }
    let mut methods = Vec::new();
    for (arm, rate) in &chosen {
        methods.push(or_stop!(runs(experiment, arm, *rate, &arm.name, &exam, &test)));
    }
    let budget = experiment.budget()?;
    let notes = vec![
        format!(
            "Every method has the same {} completions and the same {} verdicts of the judge. A \
             reward model's verdicts are over {} answers each, and what is left of the completions \
             is sampled in training; DPO's groups take all of them.",
            budget.completions,
            budget.calls,
            recipe.preferences.as_ref().map_or(0, |config| config.num_generations)
        ),
        judge_note(recipe),
        format!(
            "Learning rates are chosen by the mean accuracy on {} validation questions under the \
             first seed, from the same grid for every method; reward models by held-out pairs.",
            validation.len()
        ),
    ];
    let facts = facts("Oracle-RLAIF and its baselines on ClipWorld", made_by, notes, selections);
    let baselines = ["vlm_rlaif", "sft"];
    finish(facts, &methods, &baselines, plan::claims(), recipe)
}

/// One study.
fn study(
    experiment: &Experiment<'_>,
    recipe: &Recipe,
    study: Study,
    made_by: Made,
) -> Stoppable<Comparison> {
    let (_, test) = run::questions(recipe)?;
    let exam = Exam { context: experiment.context, recipe, config: &recipe.eval };
    let train = recipe.train.as_ref().context("the experiment's recipe has no `[train]`")?;
    let per_step = train.prompts_per_step * train.num_generations;
    let mut methods = vec![or_stop!(runs(experiment, &plan::start(), None, "sft", &exam, &test))];
    for arm in study.arms(per_step) {
        let place = format!("study-{}/{}", study.name(), arm.name);
        let rate = Some(train.learning_rate);
        methods.push(or_stop!(runs(experiment, &arm, rate, &place, &exam, &test)));
    }
    let notes = vec![
        format!(
            "Each variant is Oracle-RLAIF with one setting changed, at learning rate {} and with \
             the same {} completions.",
            train.learning_rate,
            experiment.budget()?.completions
        ),
        judge_note(recipe),
    ];
    let facts = facts(study.title(), made_by, notes, Vec::new());
    let baselines = [study.base(), "sft"];
    finish(facts, &methods, &baselines, study.claims(), recipe)
}

/// An arm under all seeds.
fn runs(
    experiment: &Experiment<'_>,
    arm: &Arm,
    rate: Option<f64>,
    place: &str,
    exam: &Exam<'_>,
    test: &[Example],
) -> Stoppable<MethodRuns> {
    let mut runs: Vec<SeedRun> = Vec::new();
    for seed in &experiment.seeds {
        let trained = or_stop!(experiment.arm(*seed, arm, rate.unwrap_or_default(), place));
        runs.push(experiment.tested(*seed, arm, &trained, exam, test)?);
    }
    Ok(Some(MethodRuns {
        name: arm.name.clone(),
        label: arm.label.clone(),
        about: arm.about.clone(),
        learning_rate: rate,
        runs,
    }))
}

fn finish(
    facts: ComparisonFacts,
    methods: &[MethodRuns],
    baselines: &[&str],
    claims: Vec<ClaimSpec>,
    recipe: &Recipe,
) -> Stoppable<Comparison> {
    let bootstrap = eval::bootstrap(&recipe.eval);
    Ok(Some(Comparison::new(facts, methods, baselines, claims, &bootstrap)?))
}

fn judge_note(recipe: &Recipe) -> String {
    let judge = recipe.oracle.as_ref().and_then(|oracle| toml::to_string(oracle).ok());
    let judge = judge.unwrap_or_default().trim().replace('\n', ", ");
    format!("The judge: {judge}.")
}

/// What a comparison was made by.
struct Made {
    command: String,
    commit: String,
}

fn facts(
    title: &str,
    made_by: Made,
    notes: Vec<String>,
    selection: Vec<Selection>,
) -> ComparisonFacts {
    ComparisonFacts {
        title: title.to_owned(),
        command: made_by.command,
        commit: made_by.commit,
        machine: machine(),
        notes,
        selection,
    }
}

fn write(out: &Path, name: &str, comparison: &Comparison) -> Result<()> {
    let path = |kind: &str| out.join(format!("{name}.{kind}"));
    write_atomic(path("json"), &serde_json::to_vec_pretty(comparison)?)?;
    write_atomic(path("md"), comparison.markdown().as_bytes())?;
    Ok(write_atomic(path("html"), comparison.html().as_bytes())?)
}

/// The command as it was typed, but for the folder: results do not depend on it.
fn command(args: &ReproduceArgs) -> String {
    let mut parts = vec!["oracle-rlaif reproduce".to_owned(), format!("--seeds {}", args.seeds)];
    parts.extend(args.study.map(|study| format!("--study {}", study.name())));
    parts.extend(args.quick.then(|| "--quick".to_owned()));
    parts.extend(args.overrides.iter().map(|set| format!("--set {set}")));
    parts.join(" ")
}

/// Version, and the commit where the program runs inside its repository.
fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let described = git
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    match described.as_deref().map(str::trim) {
        Some(commit) if !commit.is_empty() => commit.to_owned(),
        _ => format!("version {}", env!("CARGO_PKG_VERSION")),
    }
}

/// Kind of machine: cores, processor, memory.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let field = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(String::new(), |kib| format!(", {:.0} GiB", kib / 1_048_576.0));
    format!("{cores} cores of {processor}{memory}")
}
