//! `bench oracle`: how near asking over HTTP comes to what latency and concurrency allow.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::judges::shown;
use rlaif_oracle::rehearsal::{JudgeOptions, JudgeServer};
use rlaif_oracle::{
    AskingSettings, Cancel, ChatOracle, FramesConfig, HttpChat, Ledger, LimitsConfig, Oracle as _,
    Prompts, PromptsConfig, ProtocolConfig, ProtocolSettings, RankRequest, ServerConfig, Usage,
    rank_groups,
};
use rlaif_world::{Split, WorldConfig};
use serde::Serialize;

use crate::commands::progress::print;

#[derive(Debug, clap::Args)]
pub(crate) struct OracleArgs {
    /// Groups to rank, each about a clip of its own
    #[arg(long, default_value_t = 1000)]
    groups: usize,
    /// Candidates of each group
    #[arg(long, default_value_t = 5)]
    candidates: usize,
    /// Time that the server takes for a reply, in milliseconds, 1 to 60,000
    #[arg(long, default_value_t = 200)]
    latency_ms: u64,
    /// Requests on the wire at once
    #[arg(long, default_value_t = 20)]
    concurrency: usize,
    /// How an order is asked for: listwise, pairwise, pointwise or sliding
    #[arg(long, default_value = "listwise", value_parser = protocol)]
    protocol: ProtocolConfig,
    /// Frames shown of each clip, as JPEG; 0 sends text alone
    #[arg(long, default_value_t = 4)]
    frames: usize,
    /// Width and height of a frame in pixels
    #[arg(long, default_value_t = 32)]
    size: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn protocol(name: &str) -> Result<ProtocolConfig, String> {
    serde_json::from_value(name.into()).map_err(|error| error.to_string())
}

/// What `bench oracle --json` prints.
#[derive(Serialize)]
struct OracleReport {
    groups: usize,
    candidates: usize,
    protocol: ProtocolConfig,
    frames: usize,
    size: u32,
    latency_ms: u64,
    concurrency: usize,
    /// Requests that the server got.
    requests: u64,
    /// Requests times latency over concurrency.
    ideal_seconds: f64,
    /// From handing the groups over to the last verdict.
    wall_seconds: f64,
    /// `wall_seconds` over `ideal_seconds`.
    ratio: f64,
    /// Most requests that the server had at once.
    peak_at_once: usize,
    requests_per_second: f64,
    /// The same groups again, out of the ledger.
    cached_seconds: f64,
    /// Requests that the server got in the second run.
    cached_requests: u64,
}

pub(super) fn run(args: &OracleArgs) -> Result<()> {
    if args.groups == 0 || !(1..=60_000).contains(&args.latency_ms) {
        bail!("`--groups` must be at least 1, `--latency-ms` in [1, 60000]");
    }
    let report = measure(args)?;
    if args.json {
        print(&serde_json::to_string(&report)?);
    } else {
        show(&report);
    }
    Ok(())
}

fn measure(args: &OracleArgs) -> Result<OracleReport> {
    let requests = groups(args)?;
    let latency = Duration::from_millis(args.latency_ms);
    let judge = JudgeServer::start(JudgeOptions { latency, ..JudgeOptions::default() })
        .context("the server of the rehearsal")?;
    let folder = tempfile::tempdir().context("a folder for the ledger")?;
    let ledger = folder.path().join("ledger.sqlite");

    let (wall, first) = rank(args, &judge, &ledger, &requests)?;
    let counts = judge.counts();
    let (cached, again) = rank(args, &judge, &ledger, &requests)?;
    let cached_requests = judge.counts().requests - counts.requests;
    if counts.answered_again() > 0 || first.requests != again.cached {
        bail!("{} replies were paid for, {} of them kept", counts.answers(), again.cached);
    }
    let ideal = counts.requests as f64 * latency.as_secs_f64() / args.concurrency as f64;
    Ok(OracleReport {
        groups: args.groups,
        candidates: args.candidates,
        protocol: args.protocol,
        frames: args.frames,
        size: args.size,
        latency_ms: args.latency_ms,
        concurrency: args.concurrency,
        requests: counts.requests,
        ideal_seconds: ideal,
        wall_seconds: wall.as_secs_f64(),
        ratio: wall.as_secs_f64() / ideal,
        peak_at_once: counts.peak,
        requests_per_second: counts.requests as f64 / wall.as_secs_f64(),
        cached_seconds: cached.as_secs_f64(),
        cached_requests,
    })
}

/// Questions of ClipWorld with candidates of several lengths, no two groups the same: without frames
/// they would be one question.
fn groups(args: &OracleArgs) -> Result<Vec<RankRequest>> {
    let world = WorldConfig { size: args.size, ..WorldConfig::default() };
    world.validate()?;
    let group = |at: usize| {
        let mut rows = rlaif_world::examples(&world, Split::Train, at as u64);
        let example = rows.swap_remove(at % rows.len());
        let answer = example.reference.clone().unwrap_or_default();
        let longer = |words: usize| format!("{answer} in clip {at}{}", " indeed".repeat(words));
        RankRequest { example, candidates: (0..args.candidates).map(longer).collect() }
    };
    Ok((0..args.groups).map(group).collect())
}

/// Ranks all groups with a new Oracle, and gives the time from handing them over to the verdicts.
fn rank(
    args: &OracleArgs,
    judge: &JudgeServer,
    ledger: &Path,
    requests: &[RankRequest],
) -> Result<(Duration, Usage)> {
    let frames = FramesConfig { count: args.frames, ..FramesConfig::default() };
    let limits = LimitsConfig { concurrency: args.concurrency, ..LimitsConfig::default() };
    let protocol = ProtocolSettings { protocol: args.protocol, ..ProtocolSettings::default() };
    protocol.check_for(args.candidates)?;
    let settings = AskingSettings {
        name: "rehearsal".to_owned(),
        protocol,
        repairs: 1,
        deadline: None,
        max_calls: None,
        max_cost: None,
    };
    let server = ServerConfig::new(judge.base_url(), "rehearsal");
    let chat = HttpChat::new(server, &frames, limits, shown())?;
    let prompts = Prompts::load(&PromptsConfig::default())?;
    let ledger = Arc::new(Ledger::open(ledger)?);
    let oracle = ChatOracle::new(settings, Box::new(chat), prompts, ledger)?;
    let start = Instant::now();
    let outcome = rank_groups(&oracle, requests, &Cancel::new());
    let wall = start.elapsed();
    for verdict in outcome.verdicts {
        verdict?;
    }
    Ok((wall, oracle.usage()))
}

fn show(report: &OracleReport) {
    let what = serde_json::to_value(report.protocol).unwrap_or_default();
    let what = what.as_str().or_else(|| what["type"].as_str()).unwrap_or_default();
    print(&format!(
        "{} groups of {} candidates, {what}, {} frames of {} pixels; {} ms a reply, {} at once",
        report.groups,
        report.candidates,
        report.frames,
        report.size,
        report.latency_ms,
        report.concurrency
    ));
    print(&format!("requests   {:>9}", report.requests));
    print(&format!("ideal      {:>9.3} s", report.ideal_seconds));
    print(&format!("wall       {:>9.3} s", report.wall_seconds));
    print(&format!("ratio      {:>9.3}", report.ratio));
    print(&format!("at once    {:>9}", report.peak_at_once));
    print(&format!("per second {:>9.1}", report.requests_per_second));
    print(&format!(
        "cached     {:>9.3} s, {} requests",
        report.cached_seconds, report.cached_requests
    ));
}
