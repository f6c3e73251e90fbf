//! The part of a recipe that says who judges, for commands that train nothing.

use std::path::Path;

use anyhow::{Context as _, Result};
use rlaif_oracle::RankingConfig;
use serde::Deserialize;

use super::{Oracles, VideoConfig, read_toml, resolve, resolve_model};

/// `[oracle]`, `[ranking]` and `[video]` of a recipe. Other sections may be there and are not looked at,
/// so that the recipe of a training run serves as well.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct JudgeRecipe {
    /// Who ranks.
    pub oracle: Oracles,
    /// What becomes of verdicts.
    #[serde(default)]
    pub ranking: RankingConfig,
    /// How clips are read.
    #[serde(default)]
    pub video: VideoConfig,
}

impl JudgeRecipe {
    /// Reads the file, with `key.path=value` overrides. Relative paths start from its folder.
    ///
    /// # Errors
    ///
    /// Names the file, the line and the key.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let place = || format!("recipe `{}`", path.display());
        let text = std::fs::read_to_string(path).with_context(place)?;
        let mut recipe = JudgeRecipe::parse(&text, overrides).with_context(place)?;
        if let Some(folder) = path.parent() {
            resolve_paths(Some(&mut recipe.oracle), &mut recipe.ranking, folder);
            if let Some(cache) = &mut recipe.video.cache_dir {
                resolve(folder, cache);
            }
        }
        Ok(recipe)
    }

    /// Parses a recipe with overrides and checks it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), without the file's name.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let recipe: JudgeRecipe = read_toml(text, overrides)?;
        check(Some(&recipe.oracle), &recipe.ranking)?;
        Ok(recipe)
    }
}

/// Checks what one section cannot know of the other.
pub(super) fn check(oracles: Option<&Oracles>, ranking: &RankingConfig) -> Result<()> {
    if let Some(oracles) = oracles {
        ranking.check(oracles.have_votes())?;
    }
    Ok(())
}

/// Makes the paths of the Oracles and the ledger absolute.
pub(super) fn resolve_paths(
    oracles: Option<&mut Oracles>,
    ranking: &mut RankingConfig,
    folder: &Path,
) {
    if let Some(oracles) = oracles {
        for path in oracles.files() {
            resolve(folder, path);
        }
        for path in oracles.models() {
            resolve_model(folder, path);
        }
    }
    if let Some(ledger) = &mut ranking.ledger {
        resolve(folder, ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_of_a_run_serves_and_a_recipe_without_an_oracle_does_not() {
        let text =
            "seed = 1\n[model]\npath = \"x\"\n[oracle]\ntype = \"world\"\n[train]\nmax_steps = 3\n";
        let recipe = JudgeRecipe::parse(text, &["oracle.tau=0.5".to_owned()]).unwrap();
        assert_eq!(recipe.oracle.0[0].name, "world");
        let error = format!("{:#}", JudgeRecipe::parse("seed = 1", &[]).unwrap_err());
        assert!(error.contains("missing field `oracle`"), "{error}");
        let lonely = "[oracle]\ntype = \"world\"\n[ranking]\nmin_agreement = 0.3\n";
        let error = format!("{:#}", JudgeRecipe::parse(lonely, &[]).unwrap_err());
        assert!(error.contains("nothing to agree"), "{error}");
    }
}
