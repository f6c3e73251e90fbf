//! `bench`: what this machine does with one training step, and with questions to a server.

mod oracle;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use oracle_rlaif::memory;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_data::{Example, Message, Role, VideoRef};
use rlaif_model::hf::{ChatTokenizer, ModelConfig, TextConfig, VisionConfig};
use rlaif_model::{LoraConfig, Vlm};
use rlaif_oracle::{Cancel, Oracle, OracleError, OracleWorker, RankRequest, Verdict};
use rlaif_rank::Ranking;
use rlaif_rollout::{PromptInput, SamplingParams};
use rlaif_train::flops::{Costs, GroupShape};
use rlaif_train::{Event, GrpoConfig, Metrics, Online, Prompted, Run, Trainable};
use serde::Serialize;

use super::progress::{Progress, print};
use super::{Context, Outcome};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {
    /// Time whole training steps of a text decoder: rollout, reference, update
    ///
    /// Layers of SmolLM2-135M's shape (hidden 576, 9 heads, 3 KV heads, intermediate 1536,
    /// vocabulary 49,152, tied head), LoRA r = 16 on all linear layers, KL to the reference, f32:
    /// the workload of `benches/peers/trl_grpo_step.py`.
    Step(StepArgs),
    /// Time questions to a server against what its latency and the concurrency allow
    ///
    /// Ranks groups of `ClipWorld` by asking a rehearsal judge on this machine over HTTP, with frames as
    /// JPEG and a ledger on disk; then once more out of the ledger. The best possible time is
    /// requests x latency / concurrency.
    Oracle(oracle::OracleArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StepArgs {
    /// Tokens of the prompt
    #[arg(long, default_value_t = 256)]
    prompt: usize,
    /// Completions of the prompt
    #[arg(long, default_value_t = 5)]
    group: usize,
    /// Tokens of each completion
    #[arg(long, default_value_t = 32)]
    new: usize,
    /// Blocks of the decoder; SmolLM2-135M itself has 30
    #[arg(long, default_value_t = 12)]
    layers: usize,
    /// Steps timed after one for warm-up, at least 5
    #[arg(long, default_value_t = 5)]
    steps: u64,
    /// Keep the prompt pass of the rollout for the update
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    reuse_prefill: bool,
    /// Keep each block's input alone in the update, and compute the rest again
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `bench step --json` prints. Seconds are medians over the steps.
#[derive(Serialize)]
struct StepReport {
    prompt: usize,
    group: usize,
    new: usize,
    steps: u64,
    rollout_seconds: f64,
    reference_seconds: f64,
    update_seconds: f64,
    step_seconds: f64,
    rollout: Work,
    reference: Work,
    update: Work,
    /// Bytes that the process held before the first step, the model with its adapters among them.
    start_rss_bytes: Option<u64>,
    /// The most that it held.
    peak_rss_bytes: Option<u64>,
    machine: rlaif_ops::peak::Peak,
}

/// Arithmetic and memory traffic of a phase, and how near its time is to what the machine allows.
#[derive(Serialize)]
struct Work {
    gflop: f64,
    gigabytes: f64,
    /// Seconds that the measured peaks would take: decoding reads the weights once per token, the
    /// rest is arithmetic.
    limit_seconds: f64,
    /// `limit_seconds` over the measured seconds.
    of_limit: f64,
}

pub(crate) fn run(context: &Context, command: &BenchCommand) -> Result<Outcome> {
    let args = match command {
        BenchCommand::Step(args) => args,
        BenchCommand::Oracle(args) => {
            oracle::run(args)?;
            return Ok(Outcome::Done);
        }
    };
    if args.prompt == 0 || args.group < 2 || args.new == 0 || args.layers == 0 {
        bail!("`--prompt`, `--new` and `--layers` must be at least 1, `--group` at least 2");
    }
    let report = step(context, args)?;
    if args.json {
        print(&serde_json::to_string(&report)?);
    } else {
        show(&report);
    }
    Ok(Outcome::Done)
}

fn step(context: &Context, args: &StepArgs) -> Result<StepReport> {
    let steps = args.steps.max(5);
    let (model, tokenizer) = model(context, args.layers)?;
    let [rollout, reference, update] = demands(&Costs::of(&model), args);
    let config = GrpoConfig {
        num_generations: args.group,
        prompts_per_step: 1,
        prompts_per_batch: 1,
        max_steps: steps + 1,
        reuse_prefill: args.reuse_prefill,
        gradient_checkpointing: args.gradient_checkpointing,
        trainable: Trainable::Lora(LoraConfig::default()),
        learning_rate: 1e-5,
        sampling: SamplingParams {
            max_completion_length: args.new,
            min_completion_length: args.new,
            ..SamplingParams::default()
        },
        ..GrpoConfig::default()
    };
    let oracle = OracleWorker::start(Box::new(ByDigest), &Cancel::new())?;
    let mut grpo = Online::grpo_rank(model, config, Arc::new(tokenizer), oracle)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let prompts: Vec<Arc<Prompted>> = (0..=steps)
        .map(|position| {
            let ids = (0..args.prompt).map(|_| rng.random_range(8..1000)).collect();
            Arc::new(Prompted {
                position,
                example: example(position),
                input: PromptInput { ids, visual: None, positions: None },
            })
        })
        .collect();
    let mut bar = Progress::start("training steps", steps + 1, context.quiet || args.json);
    let mut recorded: Vec<Metrics> = Vec::new();
    let mut listen = |event: Event<'_>| {
        if let Event::Step { step, metrics, .. } = event {
            recorded.push(metrics.clone());
            bar.at(step, "");
        }
    };
    let mut run = Run { folder: None, control: context.control.clone(), listen: &mut listen };
    let start_rss_bytes = memory::peak_rss_bytes();
    grpo.train(prompts.len(), &|i| Ok(prompts[i].clone()), &mut run, &|_, _| Ok(()))?;
    bar.done("timed");
    recorded.remove(0);
    let median = |name: &str| {
        let mut values: Vec<f64> =
            recorded.iter().map(|m| m.get(name).copied().unwrap_or(0.0)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let peak_rss_bytes = memory::peak_rss_bytes();
    let machine = rlaif_ops::peak::measure();
    let seconds = (median("time/rollout"), median("time/reference"), median("time/update"));
    Ok(StepReport {
        prompt: args.prompt,
        group: args.group,
        new: args.new,
        steps,
        rollout_seconds: seconds.0,
        reference_seconds: seconds.1,
        update_seconds: seconds.2,
        step_seconds: median("step_time"),
        start_rss_bytes,
        peak_rss_bytes,
        rollout: rollout.against(&machine, seconds.0),
        reference: reference.against(&machine, seconds.1),
        update: update.against(&machine, seconds.2),
        machine,
    })
}

const HIDDEN: usize = 576;
const VOCABULARY: usize = 49_152;

fn model(context: &Context, layers: usize) -> Result<(Vlm, ChatTokenizer)> {
    let tokenizer = ChatTokenizer::word_level((0..VOCABULARY - 8).map(|i| format!("w{i}")))?;
    let text = TextConfig {
        vocab_size: VOCABULARY,
        hidden_size: HIDDEN,
        intermediate_size: 1536,
        num_hidden_layers: layers,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        max_position_embeddings: 8192,
        tie_word_embeddings: true,
        ..TextConfig::default()
    };
    // The tower is never run: the smallest there is.
    let vision = VisionConfig {
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 2,
        num_attention_heads: 1,
        image_size: 8,
        patch_size: 8,
        ..VisionConfig::default()
    };
    let config = ModelConfig::new(vision, text, tokenizer.image_token_id());
    Ok((rlaif_model::init(&config, 1, &context.device), tokenizer))
}

fn example(position: u64) -> Example {
    Example {
        id: position.to_string(),
        video: VideoRef::Frames(Vec::new()),
        messages: vec![Message::text(Role::User, "")],
        reference: None,
        choices: None,
        category: None,
        narrative: None,
        meta: serde_json::Map::new(),
    }
}

/// Orders answers by a digest of their text: an Oracle that costs nothing.
struct ByDigest;

impl Oracle for ByDigest {
    fn name(&self) -> &'static str {
        "by digest"
    }

    fn rank(&self, requests: &[RankRequest], _: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        requests
            .iter()
            .map(|request| {
                let scores: Vec<f64> = request
                    .candidates
                    .iter()
                    .map(|text| text.bytes().fold(0_u32, |h, b| h.wrapping_mul(31) ^ u32::from(b)))
                    .map(f64::from)
                    .collect();
                Ranking::from_scores(&scores)
                    .map(|ranking| Verdict::new(ranking, Duration::ZERO))
                    .map_err(|_| OracleError::NoCandidates { example: request.example.id.clone() })
            })
            .collect()
    }
}

/// What a phase asks of the machine. Multiply-adds count two, floats have four bytes.
struct Demand {
    flops: f64,
    bytes: f64,
    /// Bytes of the part that reads weights faster than it computes with them.
    streamed: f64,
    /// Arithmetic of the rest.
    computed: f64,
}

impl Demand {
    /// A pass over all tokens at once: bound by arithmetic.
    fn dense(flops: f64, bytes: f64) -> Self {
        Demand { flops, bytes, streamed: 0.0, computed: flops }
    }

    fn against(&self, machine: &rlaif_ops::peak::Peak, seconds: f64) -> Work {
        let limit = self.streamed * 1e-9 / machine.read_gigabytes_per_second
            + self.computed * 1e-9 / machine.gemm_gflops;
        Work {
            gflop: self.flops * 1e-9,
            gigabytes: self.bytes * 1e-9,
            limit_seconds: limit,
            of_limit: if seconds > 0.0 { limit / seconds } else { 0.0 },
        }
    }
}

/// Rollout, reference and update. Decoding reads the weights of blocks and head once per token for
/// all completions; the passes over whole prompts and completions read them once or twice.
fn demands(costs: &Costs, args: &StepArgs) -> [Demand; 3] {
    let group =
        GroupShape { prompt: args.prompt, patches: 0, responses: vec![args.new; args.group] };
    let prefill = costs.prefill(args.prompt).flops();
    // One multiply-add for each weight makes a token's pass; four bytes a weight.
    let weights = (costs.extend(0, 2).linear + costs.head(1).linear) * 4.0;
    let rollout = group.rollout(costs).flops();
    let streamed = weights * args.new as f64;
    [
        Demand { flops: rollout, bytes: streamed, streamed, computed: prefill },
        Demand::dense(group.score(costs).flops(), weights),
        Demand::dense(
            group.update(costs, args.reuse_prefill && !args.gradient_checkpointing, false).flops(),
            2.0 * weights,
        ),
    ]
}

fn show(report: &StepReport) {
    print(&format!(
        "prompt {} tokens, {} completions of {} tokens, median of {} steps",
        report.prompt, report.group, report.new, report.steps
    ));
    print(&format!(
        "machine: {:.0} GFLOP/s matrix product, {:.1} GB/s read",
        report.machine.gemm_gflops, report.machine.read_gigabytes_per_second
    ));
    print("phase       seconds    GFLOP       GB   of limit");
    for (name, seconds, work) in [
        ("rollout", report.rollout_seconds, &report.rollout),
        ("reference", report.reference_seconds, &report.reference),
        ("update", report.update_seconds, &report.update),
    ] {
        print(&format!(
            "{name:<10} {seconds:>8.3} {:>8.1} {:>8.1} {:>9.0} %",
            work.gflop,
            work.gigabytes,
            100.0 * work.of_limit
        ));
    }
    print(&format!("step       {:>8.3}", report.step_seconds));
    if let (Some(start), Some(peak)) = (report.start_rss_bytes, report.peak_rss_bytes) {
        let megabytes = |bytes: u64| bytes as f64 * 1e-6;
        print(&format!(
            "memory     {:>8.0} MB at the start, {:.0} MB at most",
            megabytes(start),
            megabytes(peak)
        ));
    }
}
