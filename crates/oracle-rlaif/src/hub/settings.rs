//! What the environment says about the hub, by the names of `huggingface_hub`.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// The hub and its cache.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Folder of the cache, `$HF_HOME/hub` or `$HF_HUB_CACHE`.
    pub cache: PathBuf,
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// Who asks, where a repository is not for all.
    pub token: Option<Token>,
    /// Whether the network is left alone.
    pub offline: bool,
}

/// An access token; it prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token; `None` where the text holds nothing.
    #[must_use]
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Hub {
    /// The hub that the environment names: `HF_HOME` (`$XDG_CACHE_HOME/huggingface` or
    /// `~/.cache/huggingface`), `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`,
    /// `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    ///
    /// Fails where there is no home folder, or the address is none.
    pub fn from_env() -> Result<Hub> {
        Hub::from_vars(|name| std::env::var(name).ok())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Hub> {
        let set = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let any = |names: &[&str]| names.iter().find_map(|name| set(name));
        let home = match (set("HF_HOME"), set("XDG_CACHE_HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(cache)) => PathBuf::from(cache).join("huggingface"),
            (None, None) => {
                let home = any(&["HOME", "USERPROFILE"]).context(
                    "there is no home folder for the cache of models; set HF_HOME to a folder",
                )?;
                PathBuf::from(home).join(".cache/huggingface")
            }
        };
        let cache = any(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
            .map_or_else(|| home.join("hub"), PathBuf::from);
        let cache = std::path::absolute(&cache)
            .with_context(|| format!("the cache of models, `{}`", cache.display()))?;
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        if !(endpoint.starts_with("https://") || endpoint.starts_with("http://")) {
            bail!("HF_ENDPOINT must begin with `https://` or `http://`");
        }
        let token = match any(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
            Some(token) => Token::new(&token),
            None => {
                let file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
                std::fs::read_to_string(file).ok().and_then(|text| Token::new(&text))
            }
        };
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].iter().any(|name| {
            set(name).is_some_and(|value| {
                ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str())
            })
        });
        Ok(Hub { cache, endpoint, token, offline })
    }

    /// `text` without the token, whoever put it there.
    pub(super) fn scrub(&self, text: &str) -> String {
        match &self.token {
            Some(Token(token)) => text.replace(token.as_str(), "***"),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hub(vars: &[(&str, &str)]) -> Hub {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Hub::from_vars(|name| vars.iter().find(|(a, _)| a == name).map(|(_, b)| b.clone())).unwrap()
    }

    #[test]
    fn the_environment_is_read_as_python_reads_it() {
        let plain = hub(&[("HOME", "/h")]);
        assert_eq!(plain.cache, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!((plain.endpoint.as_str(), plain.offline), ("https://huggingface.co", false));
        assert_eq!(plain.token, None);
        let moved = hub(&[
            ("HOME", "/h"),
            ("XDG_CACHE_HOME", "/x"),
            ("HF_ENDPOINT", "https://mirror/hf/"),
            ("HF_HUB_OFFLINE", "true"),
        ]);
        assert_eq!(moved.cache, Path::new("/x/huggingface/hub"));
        assert_eq!((moved.endpoint.as_str(), moved.offline), ("https://mirror/hf", true));
        assert_eq!(hub(&[("HF_HOME", "/f"), ("HOME", "/h")]).cache, Path::new("/f/hub"));
        let apart = hub(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!((apart.cache.as_path(), apart.offline), (Path::new("/c"), false));
        let error = Hub::from_vars(|_| None).unwrap_err().to_string();
        assert!(error.contains("set HF_HOME"), "{error}");
        let error = Hub::from_vars(|_| Some("ftp://x".to_owned())).unwrap_err().to_string();
        assert!(error.contains("HF_ENDPOINT"), "{error}");
    }

    #[test]
    fn the_token_comes_from_the_variable_or_the_file_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let read = |more: &[(&str, &str)]| {
            let mut vars = vec![("HF_HOME", home)];
            vars.extend_from_slice(more);
            hub(&vars)
        };
        assert_eq!(read(&[]).token, Token::new("hf_file"));
        assert_eq!(read(&[("HF_TOKEN", " hf_variable ")]).token, Token::new("hf_variable"));
        assert_eq!(read(&[("HF_TOKEN_PATH", "/nowhere")]).token, None);
        let hub = read(&[]);
        assert!(!format!("{hub:?} {:#?}", hub.token).contains("hf_file"));
        assert_eq!(hub.scrub("a hf_file b"), "a *** b");
    }
}
