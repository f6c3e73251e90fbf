//! `world`: ClipWorld as files, and a look at one of its clips.

use std::path::PathBuf;

use anyhow::Result;
use oracle_rlaif::candidates::write_candidates;
use oracle_rlaif::world_groups;
use rlaif_data::write_atomic;
use rlaif_world::{Split, WorldConfig};

use super::progress::{Progress, print, say};
use super::{Context, Outcome};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum WorldCommand {
    /// Write clips as H.264 mp4 files with their questions as JSONL (needs ffmpeg)
    Export {
        /// train, validation or test
        #[arg(long, default_value = "train")]
        split: Split,
        /// Number of clips
        #[arg(long, default_value_t = 100)]
        clips: u64,
        /// First clip
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Pixels of the file for each pixel of the world
        #[arg(long, default_value_t = 4)]
        scale: u32,
        /// Seed of the world
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Folder for `clips/` and `SPLIT.jsonl`
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write groups of answers with their true order, to try `rank` and `oracle check` on
    Candidates {
        /// train, validation or test
        #[arg(long, default_value = "validation")]
        split: Split,
        /// Number of groups, one a clip
        #[arg(long, default_value_t = 100)]
        groups: usize,
        /// Answers in a group
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=16))]
        candidates: u8,
        /// Seed of the world and of the choice
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// File to write
        #[arg(long, value_name = "FILE.jsonl")]
        out: PathBuf,
    },
    /// Show a clip's frames as a picture, and its questions
    Show {
        /// Address, for instance test/3
        address: String,
        /// Picture to write
        #[arg(long, value_name = "FILE.png")]
        png: Option<PathBuf>,
        /// Print the questions as JSON lines
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(context: &Context, command: &WorldCommand) -> Result<Outcome> {
    match command {
        WorldCommand::Export { split, clips, first, scale, seed, out } => {
            let config = WorldConfig { seed: *seed, ..WorldConfig::default() };
            let mut bar = Progress::start("writing clips", *clips, context.quiet);
            let mut done = |clips| bar.at(clips, "");
            let summary =
                rlaif_world::export(&config, *split, *first, *clips, out, *scale, &mut done)?;
            bar.done(&summary.to_string());
        }
        WorldCommand::Candidates { split, groups, candidates, seed, out } => {
            let rows = world_groups::labelled(*split, *groups, usize::from(*candidates), *seed)?;
            let written = write_candidates(out, &rows)?;
            say(&format!("{written} groups: {}", out.display()));
        }
        WorldCommand::Show { address, png, json } => {
            let (config, split, index) = rlaif_world::parse_address(address)?;
            let scene = rlaif_world::scene(&config, split, index);
            for example in rlaif_world::examples(&config, split, index) {
                if *json {
                    print(&serde_json::to_string(&example)?);
                } else {
                    let answer = example.target().unwrap_or_default();
                    let category = example.category.clone().unwrap_or_default();
                    print(&format!("{category:<22} {} -> {answer}", example.question()));
                }
            }
            if !*json {
                print(&rlaif_world::narrative(&scene));
            }
            if let Some(path) = png {
                write_atomic(path, &rlaif_world::contact_sheet(&scene, 6))?;
                say(&format!("frames: {}", path.display()));
            }
        }
    }
    Ok(Outcome::Done)
}
