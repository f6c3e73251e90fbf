//! `merge`: an adapter and its base become one plain checkpoint.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::hub;

use super::progress::say;
use super::{Context, Outcome};

/// Files of a base that saving does not write and other programs may read.
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
    whole_or_nothing(&args.out, |folder| {
        merged.save(&merged.model, folder)?;
        carry(&base, folder)
    })?;
    say(&format!("checkpoint: {}", args.out.display()));
    Ok(Outcome::Done)
}

/// Makes the folder `out` of what `write` puts into a hidden one beside it. Where that fails,
/// neither is left behind.
fn whole_or_nothing(out: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let at = || format!("`{}`", out.display());
    let out = std::path::absolute(out).with_context(at)?;
    let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
        bail!("{} is not the path of a new folder", at());
    };
    std::fs::create_dir_all(parent).with_context(at)?;
    let part = parent.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    std::fs::create_dir(&part).with_context(at)?;
    let written = write(&part).and_then(|()| std::fs::rename(&part, &out).with_context(at));
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = std::fs::remove_dir_all(&part);
    }
    written
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("out");
        let write = |folder: &Path| Ok(std::fs::write(folder.join("a"), "1")?);
        let error = whole_or_nothing(&out, |folder| {
            write(folder)?;
            bail!("the disk is full")
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "the disk is full");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        whole_or_nothing(&out, write).unwrap();
        assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), "1");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
