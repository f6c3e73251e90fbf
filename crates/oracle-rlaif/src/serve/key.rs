//! The API key: read once, kept as a digest, compared in constant time.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Shortest key that is taken: less could be tried out.
const SHORTEST: usize = 16;
/// Bytes of a key's file, at most.
const LONGEST: u64 = 4096;

/// What a client must show. Only a digest of it is kept, and no message holds it.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(not shown)")
    }
}

impl ApiKey {
    /// The first line of a file.
    ///
    /// # Errors
    ///
    /// Names the file where it cannot be read or holds no usable key.
    pub fn from_file(path: &Path) -> Result<Self> {
        let of = || format!("the API key in `{}`", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(of)?;
        file.take(LONGEST).read_to_string(&mut text).with_context(of)?;
        ApiKey::new(text.lines().next().unwrap_or_default()).with_context(of)
    }

    /// The value of an environment variable.
    ///
    /// # Errors
    ///
    /// Names the variable where it is not set or holds no usable key.
    pub fn from_env(name: &str) -> Result<Self> {
        let Ok(text) = std::env::var(name) else {
            bail!("the environment variable `{name}` is not set; it is to hold the API key");
        };
        ApiKey::new(&text).with_context(|| format!("the API key in the variable `{name}`"))
    }

    /// A key as it was written, white space around it left out.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, without it.
    pub fn new(text: &str) -> Result<Self> {
        let key = text.trim();
        if key.len() < SHORTEST {
            bail!(
                "{} characters are too few, it needs at least {SHORTEST}; \
                 `openssl rand -hex 24` writes a good one",
                key.len()
            );
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("it holds a character that no header can carry; letters and digits are good");
        }
        Ok(ApiKey(digest(key)))
    }

    /// True where `shown` is the key. Takes as long whatever it differs in.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        self.0.ct_eq(&digest(shown)).into()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef-key";

    #[test]
    fn only_the_key_itself_opens() {
        let key = ApiKey::new(&format!("  {KEY}\n")).unwrap();
        assert!(key.is(KEY));
        for other in ["", "0123456789abcdef-kez", "0123456789abcdef-ke", "0123456789abcdef-key "] {
            assert!(!key.is(other), "{other:?}");
        }
    }

    #[test]
    fn no_message_shows_a_key() {
        assert_eq!(format!("{:?}", ApiKey::new(KEY).unwrap()), "ApiKey(not shown)");
        for bad in ["tooshort", "0123456789 abcdefgh", "0123456789abcdefg\u{e9}"] {
            let error = format!("{:#}", ApiKey::new(bad).unwrap_err());
            assert!(!error.contains(bad) && !error.contains("abcdef"), "{error}");
        }
        let error = ApiKey::from_env("ORACLE_RLAIF_NO_SUCH_VARIABLE").unwrap_err();
        assert!(error.to_string().contains("ORACLE_RLAIF_NO_SUCH_VARIABLE"), "{error}");
    }
}
