//! The commands, and what they share.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;
use burn::tensor::Device;
use clap::{Parser, Subcommand};
use rlaif_oracle::OracleError;
use rlaif_train::{Control, TrainError};

mod annotate;
mod bench;
mod dpo;
mod eval;
mod generate;
mod merge;
mod oracle;
mod preferences;
pub(crate) mod progress;
mod quickstart;
mod rank;
mod recipe;
mod report;
mod reproduce;
mod reward;
mod serve;
mod sft;
mod stage;
mod train;
mod world;

/// Post-train video-language models from ranked feedback
///
/// The policy samples a group of answers about a video, an Oracle ranks them, and GRPO_rank turns
/// the order into an update. Start with `oracle-rlaif quickstart --out runs/first`.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Device to compute on: cpu, or cuda, vulkan, metal, wgpu in builds that have them
    #[arg(long, global = true, default_value = "cpu")]
    device: String,
    /// Say less: no progress, warnings only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; repeat for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See the method work: train, rank, fine-tune and compare a small model in five minutes
    Quickstart(quickstart::QuickstartArgs),
    /// Supervised fine-tuning on a recipe's answers
    Sft(sft::SftArgs),
    /// Sample answers, have them judged, and write the pairs in TRL's and VLM-RLAIF's layouts
    Preferences(preferences::PreferencesArgs),
    /// Train a reward model on preference pairs
    Reward(reward::RewardArgs),
    /// Fine-tune from preference pairs with DPO
    Dpo(dpo::DpoArgs),
    /// Fine-tune from judged groups: `GRPO_rank` on an Oracle's order; GRPO, RLOO or PPO on scores
    Train(train::TrainArgs),
    /// Compare Oracle-RLAIF with VLM-RLAIF, GRPO, RLOO and DPO on ClipWorld, over several seeds
    Reproduce(reproduce::ReproduceArgs),
    /// Let people rank on a page: the groups of a training run, or rows of a file
    Annotate(annotate::AnnotateArgs),
    /// Evaluate a checkpoint on questions about videos
    Eval(eval::EvalArgs),
    /// Ask a checkpoint about a video
    Generate(generate::GenerateArgs),
    /// Serve a checkpoint behind an OpenAI-compatible endpoint
    ///
    /// Any client of OpenAI's chat completions can ask it: curl, the `openai` packages, or another
    /// run that takes this checkpoint as its Oracle. A conversation may show one clip: a video or
    /// images as `data:` URLs, a path inside `--media-root`, or a clip of ClipWorld, `world:test/3`.
    /// Nothing is fetched from the network. Replies can be streamed, several for one prompt (`n`),
    /// and come with log-probabilities.
    ///
    /// Without a key the server listens to this machine alone. Ctrl-C ends it in good order.
    Serve(serve::ServeArgs),
    /// Write an adapter and its base as one plain checkpoint
    Merge(merge::MergeArgs),
    /// Put the candidates of a file in order with any Oracle
    Rank(rank::RankArgs),
    /// Oracles: measure one before a run is paid for
    #[command(subcommand)]
    Oracle(oracle::OracleCommand),
    /// ClipWorld: export its clips as files, or look at one
    #[command(subcommand)]
    World(world::WorldCommand),
    /// Write `report.html` for run folders
    Report(report::ReportArgs),
    /// Check a recipe and print it with every default filled in
    #[command(subcommand)]
    Recipe(recipe::RecipeCommand),
    /// Measure this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How a command ended when it did not fail.
pub(crate) enum Outcome {
    /// It did what it was asked.
    Done,
    /// Ctrl-C stopped it in good order.
    Interrupted,
}

/// What every command gets.
pub(crate) struct Context {
    device: Device,
    quiet: bool,
    control: Control,
}

/// Runs the command that was typed.
pub(crate) fn run(cli: &Cli) -> Result<Outcome> {
    let device = oracle_rlaif::device::open(&cli.device).map_err(anyhow::Error::msg)?;
    let context = Context { device, quiet: cli.quiet, control: Control::default() };
    match &cli.command {
        Command::Quickstart(args) => quickstart::run(&context, args),
        Command::Sft(args) => sft::run(&context, args),
        Command::Preferences(args) => preferences::run(&context, args),
        Command::Reward(args) => reward::run(&context, args),
        Command::Dpo(args) => dpo::run(&context, args),
        Command::Train(args) => train::run(&context, args),
        Command::Reproduce(args) => reproduce::run(&context, args),
        Command::Annotate(args) => annotate::run(&context, args),
        Command::Eval(args) => eval::run(&context, args),
        Command::Generate(args) => generate::run(&context, args),
        Command::Serve(args) => serve::run(&context, args),
        Command::Merge(args) => merge::run(&context, args),
        Command::Rank(args) => rank::run(&context, args),
        Command::Oracle(command) => oracle::run(&context, command),
        Command::World(command) => world::run(&context, command),
        Command::Report(args) => report::run(args),
        Command::Recipe(command) => recipe::run(command),
        Command::Bench(command) => bench::run(&context, command),
        Command::Completions { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(*shell, &mut command, "oracle-rlaif", &mut std::io::stdout());
            Ok(Outcome::Done)
        }
    }
}

/// Logs to standard error: warnings, more with `-v`, or as `RUST_LOG` says.
pub(crate) fn start_tracing(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}

/// 2 for bad usage and bad input; 1 where a run went wrong on good input; 3 where the budget of an
/// Oracle is used up.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let stopped = match error.downcast_ref::<TrainError>() {
        Some(TrainError::OracleStopped { source, .. }) => Some(source),
        _ => error.downcast_ref::<OracleError>(),
    };
    if let Some(stopped) = stopped {
        return if matches!(stopped, OracleError::Budget { .. }) { 3 } else { 1 };
    }
    match error.downcast_ref::<TrainError>() {
        Some(
            TrainError::NotFinite { .. }
            | TrainError::NothingRanked { .. }
            | TrainError::NothingScored { .. }
            | TrainError::Io { .. },
        ) => 1,
        _ => 2,
    }
}

impl Context {
    /// From here on Ctrl-C asks the run to finish its step and write a checkpoint; a second one
    /// ends the program at once.
    fn catch_interrupts(&self) -> Result<()> {
        self.catch_interrupts_saying(
            "finishing this step, then writing a checkpoint (Ctrl-C again: stop now)",
        )
    }

    /// The same for work without steps.
    fn catch_interrupts_saying(&self, words: &'static str) -> Result<()> {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        if INSTALLED.set(()).is_err() {
            return Ok(());
        }
        let control = self.control.clone();
        ctrlc::set_handler(move || {
            if control.stopping() {
                std::process::exit(130);
            }
            control.stop();
            progress::say(words);
        })?;
        Ok(())
    }
}

/// Where a recipe and its overrides come from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecipeArgs {
    /// Recipe file
    #[arg(long, value_name = "FILE.toml")]
    recipe: PathBuf,
    /// Start from this model instead of the recipe's `model.path`: a folder, or a name on the
    /// Hugging Face hub, `org/name` or `org/name@revision`
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
    /// Override a key of the recipe, for instance `--set train.beta=0.02`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl RecipeArgs {
    fn read(&self) -> Result<oracle_rlaif::recipe::Recipe> {
        let mut overrides = self.overrides.clone();
        if let Some(model) = &self.model {
            // As typed, a folder is seen from here; in a recipe, from the recipe's own folder.
            let path = std::path::Path::new(model);
            let path = if path.is_dir() { std::path::absolute(path)? } else { path.to_owned() };
            let value = serde_json::to_string(&path)?;
            overrides.push(format!("model.path={value}"));
        }
        oracle_rlaif::recipe::Recipe::read(&self.recipe, &overrides)
    }
}
