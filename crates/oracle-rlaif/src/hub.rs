//! Models by their name on the Hugging Face hub: `org/name`, or `org/name@revision`.
//!
//! The conventions are those of `huggingface_hub`: the cache of `HF_HOME` or `HF_HUB_CACHE`, which
//! Python programs share; `HF_TOKEN`, or the file that `hf auth login` wrote; `HF_HUB_OFFLINE`;
//! `HF_ENDPOINT`. A snapshot that lies whole in the cache is used as it is, without a look at the
//! network; to follow a branch that moved, run `hf download org/name`.
//!
//! The layout of the cache comes from the `hf-hub` crate. Its downloads are not used: version 0.5
//! sends the token to the host that a file's address redirects to, and appends to a part of a file
//! without seeing whether the server honoured the range.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

mod fetch;
mod files;
mod settings;

use fetch::{FetchError, Remote};
pub use files::missing;
pub use settings::{Hub, Token};

/// The folder of a model: `model` itself where there is such a folder, else the snapshot of
/// `org/name` or `org/name@revision` in the cache, fetched where it is not there.
///
/// `revision` is a branch, a tag or a commit; `main` where absent. One in the name counts first.
///
/// # Errors
///
/// Says which files are missing, how to get them and where they belong.
pub fn resolve(model: &str, revision: Option<&str>) -> Result<PathBuf> {
    if Path::new(model).is_dir() {
        return Ok(PathBuf::from(model));
    }
    Hub::from_env()?.resolve(model, revision)
}

/// [`resolve`] for a path that may be a name.
///
/// # Errors
///
/// As [`resolve`].
pub fn locate(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    resolve(&path.to_string_lossy(), None)
}

/// Whether `text` has the form of a name on the hub, `org/name` or `org/name@revision`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    Name::parse(text).is_some()
}

/// A repository at a revision, its name checked.
#[derive(Debug)]
struct Name {
    /// `org/name`.
    id: String,
    /// A branch, a tag or a commit.
    revision: String,
}

impl Name {
    /// Splits `org/name` or `org/name@revision`.
    fn parse(text: &str) -> Option<(&str, Option<&str>)> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let (org, name) = id.split_once('/')?;
        let part = |part: &str| {
            part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && part.len() <= 96
                && part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && !part.ends_with(['-', '.'])
                && !part.contains("..")
                && !part.contains("--")
        };
        (part(org) && part(name) && revision.is_none_or(is_revision)).then_some((id, revision))
    }

    /// The folder in the cache as `hf-hub` lays it out.
    fn in_cache(&self, cache: &Path) -> (PathBuf, CacheRepo) {
        let repo = Repo::with_revision(self.id.clone(), RepoType::Model, self.revision.clone());
        let folder = cache.join(repo.folder_name());
        (folder, Cache::new(cache.to_owned()).repo(repo))
    }
}

fn is_revision(text: &str) -> bool {
    text.len() <= 200
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && !text.contains("..")
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit())
}

impl Hub {
    /// The folder of a model, as [`resolve`] says.
    ///
    /// # Errors
    ///
    /// As [`resolve`].
    pub fn resolve(&self, model: &str, revision: Option<&str>) -> Result<PathBuf> {
        if Path::new(model).is_dir() {
            return Ok(PathBuf::from(model));
        }
        let Some((id, named)) = Name::parse(model) else {
            bail!(
                "`{model}` is no checkpoint folder: there is no such folder, and a name on the \
                 hub looks like `org/name` or `org/name@revision`"
            );
        };
        let revision = named.or(revision).unwrap_or("main");
        if !is_revision(revision) {
            bail!("`{id}`: `{revision}` is no branch, tag or commit");
        }
        let name = Name { id: id.to_owned(), revision: revision.to_owned() };
        let cached = self.cached(&name);
        let lacking = match &cached {
            Some(folder) => missing(folder)?,
            None => Vec::new(),
        };
        if let Some(folder) = cached
            && lacking.is_empty()
        {
            return Ok(folder);
        }
        if self.offline {
            return Err(self.advice(&name, "HF_HUB_OFFLINE is set", &lacking));
        }
        self.fetch(&name).map_err(|error| match error.downcast_ref::<FetchError>() {
            Some(error) => self.advice(&name, &self.scrub(&error.to_string()), &lacking),
            None => error,
        })
    }

    /// The snapshot in the cache, whole or not.
    fn cached(&self, name: &Name) -> Option<PathBuf> {
        let (root, repo) = name.in_cache(&self.cache);
        let commit = if is_commit(&name.revision) {
            name.revision.clone()
        } else {
            let text = std::fs::read_to_string(root.join("refs").join(&name.revision)).ok()?;
            Some(text.trim().to_owned()).filter(|commit| is_commit(commit))?
        };
        let folder = repo.pointer_path(&commit);
        folder.is_dir().then_some(folder)
    }

    /// Fetches what is read of a repository, into the cache.
    fn fetch(&self, name: &Name) -> Result<PathBuf> {
        let remote = Remote::new(self)?;
        let listing = remote.listing(name)?;
        let (root, cache) = name.in_cache(&self.cache);
        let snapshot = cache.pointer_path(&listing.commit);
        let blobs = root.join("blobs");
        for folder in [&snapshot, &blobs] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("`{}` in the cache of models", folder.display()))?;
        }
        if !is_commit(&name.revision) {
            cache.create_ref(&listing.commit).with_context(|| format!("`{}`", root.display()))?;
        }
        tracing::warn!("fetching `{}` into `{}`", name.id, snapshot.display());
        let get = |files: &[String]| -> Result<(), FetchError> {
            files.iter().try_for_each(|file| {
                remote.file(&name.id, &listing.commit, file, &blobs, &snapshot)
            })
        };
        let plan = files::plan(&listing.names);
        get(&plan.small)?;
        let (index, shards) = match plan.weights {
            files::Planned::Whole(file) => (None, vec![file]),
            files::Planned::Index(file) => {
                get(std::slice::from_ref(&file))?;
                let shards = files::shards(&snapshot.join(&file))?;
                (Some(file), shards)
            }
            files::Planned::None => (None, Vec::new()),
        };
        if let Some(shard) = shards.iter().find(|shard| !listing.names.contains(*shard)) {
            bail!(
                "`{}`: `{}` names `{shard}`, which is not in the repository",
                name.id,
                index.unwrap_or_default()
            );
        }
        get(&shards)?;
        let lacking = missing(&snapshot)?;
        if !lacking.is_empty() {
            bail!(
                "`{}` is no checkpoint that can be opened: its repository has no {}",
                name.id,
                lacking.join(", no ")
            );
        }
        Ok(snapshot)
    }

    /// What to do where a repository cannot be had.
    fn advice(&self, name: &Name, why: &str, lacking: &[String]) -> anyhow::Error {
        let cached = if lacking.is_empty() {
            "it is not in the cache".to_owned()
        } else {
            format!("the cache lacks its {}", lacking.join(", "))
        };
        let mut command = format!("hf download {}", name.id);
        if name.revision != "main" {
            command = format!("{command} --revision {}", name.revision);
        }
        let (folder, _) = name.in_cache(&self.cache);
        anyhow::anyhow!(
            "`{}`: there is no such folder here, {cached}, and it cannot be fetched: {why}. Where \
             there is a network, `{command}` puts it into `{}/snapshots/<commit>/`; or put {} into \
             any folder and name that folder",
            name.id,
            folder.display(),
            files::NEEDED
        )
    }
}

#[cfg(test)]
mod tests;
