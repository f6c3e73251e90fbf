//! `serve`: a checkpoint behind an OpenAI-compatible endpoint.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::Folder;
use oracle_rlaif::recipe::VideoConfig;
use oracle_rlaif::serve::{self, ApiKey, Engine, Limits, Settings};
use rlaif_video::Sampling;

use super::progress::{print, say};
use super::{Context, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oracle-rlaif serve --checkpoint runs/first/train
  oracle-rlaif serve --checkpoint runs/first/train --media-root videos --max-new-tokens-limit 256
  ORACLE_KEY=$(openssl rand -hex 24) oracle-rlaif serve --checkpoint runs/first/train \\
      --host 0.0.0.0 --api-key-env ORACLE_KEY

  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' -d '
    {\"messages\": [{\"role\": \"user\", \"content\": [
      {\"type\": \"video_url\", \"video_url\": {\"url\": \"world:test/3\"}},
      {\"type\": \"text\", \"text\": \"What happens?\"}]}]}'")]
pub(crate) struct ServeArgs {
    /// Checkpoint folder, or a name on the Hugging Face hub
    #[arg(long, visible_alias = "model", value_name = "DIR|NAME")]
    checkpoint: PathBuf,
    /// Address to listen at; any but the loopback needs an API key
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Clients must show the key in the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "api_key_env")]
    api_key_file: Option<PathBuf>,
    /// Clients must show the key in this environment variable
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// The model's name for clients; the checkpoint's own where absent
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// Longest reply in tokens; what a request gets that names no length
    #[arg(long, default_value_t = 512, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens_limit: u32,
    /// Folder whose videos clients may name by path
    #[arg(long, value_name = "DIR")]
    media_root: Option<PathBuf>,
    /// Largest request in MiB
    #[arg(long, default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_body_mib: u32,
    /// Frames taken from a clip; the checkpoint's `num_frames` where absent
    #[arg(long, value_name = "N")]
    frames: Option<usize>,
    /// Requests being read, waiting or answered at once; more get status 429
    #[arg(long, default_value_t = 32, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_concurrent: u32,
    /// Replies sampled together; whatever waits shares each reading of the weights
    #[arg(long, default_value_t = 16, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_batch: u32,
    /// Seconds for a request, from its arrival to its last byte
    #[arg(long, default_value_t = 600, value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..))]
    timeout_seconds: u32,
}

pub(crate) fn run(context: &Context, args: &ServeArgs) -> Result<Outcome> {
    let key = match (&args.api_key_file, &args.api_key_env) {
        (Some(file), _) => Some(ApiKey::from_file(file)?),
        (None, Some(name)) => Some(ApiKey::from_env(name)?),
        (None, None) => None,
    };
    let address = address(&args.host, args.port)?;
    if !address.ip().is_loopback() && key.is_none() {
        bail!(
            "`--host {}` lets other machines in, which needs a key: give `--api-key-file` or \
             `--api-key-env`, or listen at 127.0.0.1",
            args.host
        );
    }
    let media_root = args.media_root.as_deref().map(media_root).transpose()?;
    let limits = Limits {
        max_new_tokens: args.max_new_tokens_limit as usize,
        max_batch: args.max_batch as usize,
        max_concurrent: args.max_concurrent as usize,
        max_body_bytes: (args.max_body_mib as usize) << 20,
        timeout: Duration::from_secs(u64::from(args.timeout_seconds)),
    };
    let sampling = args.frames.map(|frames| Sampling::Uniform { frames });
    if let Some(sampling) = &sampling {
        sampling.validate().context("`--frames`")?;
    }
    // Before the model: a taken port is known at once.
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen at `{address}`; choose another `--port`"))?;
    let at = listener.local_addr().context("the server's socket")?;
    let folder = Folder::open(&args.checkpoint, &context.device)?;
    let video = VideoConfig { sampling, ..VideoConfig::default() };
    let engine = Engine::new(folder, &video, limits)?;
    let model_name = args.model_name.clone().unwrap_or_else(|| name_of(&args.checkpoint));
    let keyed = key.is_some();
    let settings = Settings { model_name: model_name.clone(), key, media_root, limits };
    print(&format!("http://{at}/v1"));
    if !context.quiet {
        greet(at, &model_name, keyed);
    }
    let quiet = context.quiet;
    let counts = serve::run(listener, engine, settings, move || {
        if !quiet {
            say("ending the requests under way (Ctrl-C again: stop now)");
        }
    })?;
    if !quiet {
        say(&format!(
            "{} requests answered, {} refused, {} failed, {} given up by their clients",
            counts.answered, counts.refused, counts.failed, counts.left
        ));
    }
    Ok(Outcome::Done)
}

fn greet(at: SocketAddr, model: &str, keyed: bool) {
    say(&format!("serving `{model}`; Ctrl-C ends it. For instance:"));
    let key = if keyed { " -H \"Authorization: Bearer $KEY\"" } else { "" };
    say(&format!(
        "  curl http://{at}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '\
         {{\"messages\": [{{\"role\": \"user\", \"content\": [{{\"type\": \"video_url\", \
         \"video_url\": {{\"url\": \"world:test/3\"}}}}, {{\"type\": \"text\", \"text\": \
         \"What happens?\"}}]}}]}}'"
    ));
}

/// The address of `--host`, a number or a name.
fn address(host: &str, port: u16) -> Result<SocketAddr> {
    let number = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = number.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let found = (host, port).to_socket_addrs().with_context(|| format!("`--host {host}`"))?;
    // A name with several addresses must not open more than it says.
    let all: Vec<SocketAddr> = found.collect();
    let first = all.iter().find(|address| address.is_ipv4()).or(all.first());
    first.copied().with_context(|| format!("`--host {host}` has no address"))
}

fn media_root(path: &Path) -> Result<PathBuf> {
    let root = std::fs::canonicalize(path)
        .with_context(|| format!("`--media-root {}`", path.display()))?;
    if !root.is_dir() {
        bail!("`--media-root {}` is no folder", path.display());
    }
    Ok(root)
}

/// The last part of a folder, or the name on the hub.
fn name_of(checkpoint: &Path) -> String {
    let folder = std::fs::canonicalize(checkpoint).ok().filter(|path| path.is_dir());
    match folder.as_deref().and_then(Path::file_name) {
        Some(name) => name.to_string_lossy().into_owned(),
        None => checkpoint.to_string_lossy().into_owned(),
    }
}
