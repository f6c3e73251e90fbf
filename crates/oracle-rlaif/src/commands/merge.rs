//! `merge`: an adapter and its base become one plain checkpoint.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::hub;

use super::progress::say;
use super::{Context, Outcome};

/// Files of a base that say nothing we read, and other programs may.
const CARRIED: [&str; 6] = [
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.model",
    "video_preprocessor_config.json",
    "vocab.json",
];

#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    /// Folder with an adapter in PEFT's format, or its name on the Hugging Face hub
    #[arg(long, value_name = "DIR|NAME")]
    adapter: PathBuf,
    /// The model that the adapter was trained on; the one that the adapter names where absent
    #[arg(long, value_name = "DIR|NAME")]
    base: Option<PathBuf>,
    /// New folder for the checkpoint
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(context: &Context, args: &MergeArgs) -> Result<Outcome> {
    if args.out.symlink_metadata().is_ok() {
        bail!("`{}` is there already; `merge` overwrites nothing", args.out.display());
    }
    let adapter = hub::locate(&args.adapter)?;
    if !adapter.join("adapter_config.json").is_file() {
        bail!("`{}` holds no adapter: it has no `adapter_config.json`", adapter.display());
    }
    let base = match &args.base {
        Some(base) => base.clone(),
        None => folder::base_of(&adapter)?,
    };
    let base = hub::locate(&base).with_context(|| match args.base {
        Some(_) => "`--base`".to_owned(),
        None => format!(
            "the base that the adapter in `{}` names; `--base` names another",
            adapter.display()
        ),
    })?;
    let merged = Folder::open_on(&base, &adapter, &context.device)?;
    merged.save(&merged.model, &args.out)?;
    carry(&base, &args.out)?;
    say(&format!("checkpoint: {}", args.out.display()));
    Ok(Outcome::Done)
}

/// Copies the files of the base that saving did not write.
fn carry(base: &Path, out: &Path) -> Result<()> {
    for name in CARRIED {
        let (from, to) = (base.join(name), out.join(name));
        if from.is_file() && !to.exists() {
            std::fs::copy(&from, &to).with_context(|| format!("`{}`", to.display()))?;
        }
    }
    Ok(())
}
