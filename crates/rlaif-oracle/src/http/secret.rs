//! A key that is sent to one server and shown to nobody.

use std::{fmt, fs, io::Read as _, path::Path};

use ureq::http::HeaderValue;

use super::config::wrong;
use crate::ConfigError;

/// Longest key, in bytes.
const MAX_KEY: usize = 8 << 10;
/// What stands for a key in the words of a server.
const HIDDEN: &str = "[key]";
/// Shortest key that is looked for in replies, in bytes. Servers without accounts take any word as
/// a key, and a word may well be part of a reply.
const SHORTEST_SECRET: usize = 16;

/// A key. It has no `Display`, is not serialized, and its `Debug` hides it.
#[derive(Clone)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The key in an environment variable.
    pub(super) fn from_env(name: &str) -> Result<Self, ConfigError> {
        let shown = name.escape_debug();
        // Names that `std` panics on.
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(wrong("api_key_env", format!("`{shown}` is no name of a variable")));
        }
        let text = std::env::var_os(name)
            .ok_or_else(|| wrong("api_key_env", format!("the variable `{shown}` is not set")))?;
        let text = text.to_str().unwrap_or("\0");
        Secret::parse(text)
            .map_err(|why| wrong("api_key_env", format!("the variable `{shown}` {why}")))
    }

    /// The key in a file.
    pub(super) fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let failed = |why: String| wrong("api_key_file", format!("`{}` {why}", path.display()));
        let unreadable = |error: std::io::Error| failed(format!("cannot be read: {error}"));
        let file = fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_KEY as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = std::str::from_utf8(&bytes).unwrap_or("\0");
        Secret::parse(text).map_err(|why| failed(why.to_owned()))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let key = text.trim();
        if key.is_empty() {
            return Err("holds no key: it is empty");
        }
        if key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds no key: it is too long or has spaces, control characters or \
                        letters beyond ASCII in it");
        }
        Ok(Secret(key.to_owned()))
    }

    /// The header's value, which no log shows.
    pub(super) fn bearer(&self) -> Result<HeaderValue, ConfigError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .map_err(|_| wrong("api_key_env", "the key cannot be sent in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A reply without the key, where the key is long enough to be one.
    pub(super) fn hide_in_reply(&self, text: String) -> String {
        if self.0.len() < SHORTEST_SECRET { text } else { self.hide(&text) }
    }

    /// `text` without the key, also as JSON would write it.
    pub(super) fn hide(&self, text: &str) -> String {
        let hidden = text.replace(&self.0, HIDDEN);
        let quoted = serde_json::Value::from(self.0.as_str()).to_string();
        let quoted = &quoted[1..quoted.len() - 1];
        if quoted == self.0 { hidden } else { hidden.replace(quoted, HIDDEN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_hides_from_debug_and_from_the_words_of_a_server() {
        let key = Secret::parse(" sk-\"hunter2\\\n").unwrap();
        assert_eq!(format!("{key:?}"), "Secret");
        assert_eq!(format!("{:?}", key.bearer().unwrap()), "Sensitive");
        assert_eq!(key.hide(r#"a sk-"hunter2\ b"#), "a [key] b");
        assert_eq!(key.hide(r#"{"a": "sk-\"hunter2\\"}"#), r#"{"a": "[key]"}"#);
    }

    #[test]
    fn a_word_that_serves_as_a_key_is_left_in_replies() {
        let dummy = Secret::parse("2").unwrap();
        assert_eq!(dummy.hide_in_reply("[2] > [1]".to_owned()), "[2] > [1]");
        assert_eq!(dummy.hide("[2]"), "[[key]]");
        let key = Secret::parse("sk-hunter2-012345").unwrap();
        assert_eq!(key.hide_in_reply("[2] sk-hunter2-012345".to_owned()), "[2] [key]");
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        let error = Secret::from_env("ORACLE_RLAIF_NO_SUCH_KEY").unwrap_err().to_string();
        assert!(error.contains("`ORACLE_RLAIF_NO_SUCH_KEY` is not set"), "{error}");
        let error = Secret::from_env("A=B").unwrap_err().to_string();
        assert!(error.contains("no name of a variable"), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let error = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            Secret::from_file(&path).unwrap_err().to_string()
        };
        assert!(error(b" \n").contains("it is empty"));
        let two = error(b"hunter2 hunter3");
        assert!(two.contains("api_key_file") && !two.contains("hunter"), "{two}");
        assert!(error(&[0xff, 0xfe]).contains("no key"));
        assert!(error(&[b'a'; MAX_KEY + 1]).contains("too long"));
        fs::write(&path, "hunter2\r\n").unwrap();
        assert_eq!(Secret::from_file(&path).unwrap().0, "hunter2");
        assert!(Secret::from_file(folder.path()).is_err());
    }
}
