//! Who is asked: address, key, sampling, prices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ureq::http::Uri;

use super::{omitted, secret::Secret};
use crate::ConfigError;

/// The server and how its model is asked.
///
/// ```
/// use rlaif_oracle::http::ServerConfig;
///
/// let config: ServerConfig = serde_json::from_str(
///     r#"{"base_url": "http://127.0.0.1:8000/v1", "model": "judge", "temperature": "none"}"#,
/// )?;
/// assert_eq!((config.temperature, config.max_tokens), (None, 512));
/// config.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The address up to and with the version, for instance `http://127.0.0.1:8000/v1`. It holds
    /// no user name, no key and no query.
    pub base_url: String,
    /// The model's name on the server.
    pub model: String,
    /// Environment variable that holds the key. No key is sent where this and
    /// [`api_key_file`](Self::api_key_file) are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// File that holds the key and nothing else, white space around it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Sampling temperature, in [0, 2]; `none` leaves it to the server, since some hosted models
    /// refuse it. Default 0: a judge is to say the same twice.
    #[serde(default = "zero_temperature", with = "omitted")]
    pub temperature: Option<f64>,
    /// Nucleus sampling, in (0, 1]. Default: left to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Longest reply in tokens, thinking included, in [1, 1,000,000]. Default 512.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: u32,
    /// What the server calls it: `max_tokens` (default), or `max_completion_tokens` for newer
    /// hosted models.
    #[serde(default)]
    pub max_tokens_name: MaxTokensName,
    /// Seed of the sampling, at most 2^53; the number of a repeat is added. Default: left to the
    /// server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether replies are held to a JSON schema. Default `auto`.
    #[serde(default)]
    pub structured: Structured,
    /// Further keys of the request's body, for instance `reasoning_effort` or
    /// `chat_template_kwargs`; none that has a setting of its own. They are written into run
    /// folders: keys of the server do not belong here. Default: none.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Price of a million tokens of prompts, in any currency, at least 0. Default 0.
    #[serde(default)]
    pub price_per_million_prompt_tokens: f64,
    /// Price of a million tokens of replies, in the same currency, at least 0. Default 0.
    #[serde(default)]
    pub price_per_million_completion_tokens: f64,
}

/// The key that bounds a reply's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensName {
    /// What all servers knew first.
    #[default]
    MaxTokens,
    /// What replaced it in hosted APIs.
    MaxCompletionTokens,
}

impl MaxTokensName {
    fn as_str(self) -> &'static str {
        match self {
            MaxTokensName::MaxTokens => "max_tokens",
            MaxTokensName::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Whether the server holds replies to a JSON schema (`response_format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// Asks for it, and goes on without where the server refuses it; that is logged once.
    #[default]
    Auto,
    /// Asks for it; a server that refuses it is an error.
    JsonSchema,
    /// Never asks for it.
    Text,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants a default of the field's type")]
fn zero_temperature() -> Option<f64> {
    Some(0.0)
}

fn default_max_tokens() -> u32 {
    512
}

/// Keys of the body that are this crate's own.
const OWN_KEYS: [&str; 12] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "tools",
    "response_format",
];

impl ServerConfig {
    /// The server at `base_url` with the default settings and no key.
    #[must_use]
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        ServerConfig {
            base_url: base_url.into(),
            model: model.into(),
            api_key_env: None,
            api_key_file: None,
            temperature: zero_temperature(),
            top_p: None,
            max_tokens: default_max_tokens(),
            max_tokens_name: MaxTokensName::default(),
            seed: None,
            structured: Structured::default(),
            extra: Map::new(),
            price_per_million_prompt_tokens: 0.0,
            price_per_million_completion_tokens: 0.0,
        }
    }

    /// Checks every range. The key is not read.
    ///
    /// # Errors
    ///
    /// Names the setting. An address with credentials is refused without repeating it.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.url()?;
        if self.model.is_empty() || self.model.chars().any(char::is_control) {
            return Err(wrong("model", "it is empty or has control characters in it"));
        }
        if self.api_key_env.is_some() && self.api_key_file.is_some() {
            return Err(wrong("api_key_file", "give this or `api_key_env`, not both"));
        }
        up_to("temperature", self.temperature, 2.0)?;
        above_zero("top_p", self.top_p, 1.0)?;
        if !(1..=1_000_000).contains(&self.max_tokens) {
            return Err(wrong("max_tokens", "it must be in [1, 1000000]"));
        }
        if self.seed.is_some_and(|seed| seed > 1 << 53) {
            return Err(wrong("seed", "it must be at most 2^53"));
        }
        for key in self.extra.keys() {
            let is_refused = OWN_KEYS.contains(&key.as_str())
                && !(key == "response_format" && self.structured == Structured::Text);
            if is_refused {
                let key = key.escape_debug();
                return Err(wrong("extra", format!("`{key}` has a setting of its own")));
            }
            let lower = key.to_lowercase().replace('-', "_");
            if ["api_key", "apikey", "authorization", "password"].iter().any(|s| lower.contains(s))
            {
                let why = "it is no place for keys: use `api_key_env` or `api_key_file`";
                return Err(wrong("extra", why));
            }
        }
        let (top, price) = (1e9, Some(self.price_per_million_prompt_tokens));
        up_to("price_per_million_prompt_tokens", price, top)?;
        let price = Some(self.price_per_million_completion_tokens);
        up_to("price_per_million_completion_tokens", price, top)
    }

    /// Where requests go.
    pub(super) fn url(&self) -> Result<Uri, ConfigError> {
        let refuse = |why: &str| wrong("base_url", why);
        if self.base_url.contains(['@', '?', '#']) {
            return Err(refuse(
                "it may hold no user name, no key and no query: keys belong into `api_key_env` or \
                 `api_key_file`",
            ));
        }
        let base = self.base_url.trim_end_matches('/');
        if base.ends_with("/chat/completions") {
            return Err(refuse("leave out `/chat/completions`, which is added to it"));
        }
        let url: Uri = format!("{base}/chat/completions")
            .parse()
            .map_err(|_| refuse("it is no address; one looks like `http://127.0.0.1:8000/v1`"))?;
        let is_http = url.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme));
        if !is_http || url.host().is_none_or(str::is_empty) {
            return Err(refuse("it must start with `http://` or `https://` and name a host"));
        }
        Ok(url)
    }

    /// The key, where there is one.
    pub(super) fn key(&self) -> Result<Option<Secret>, ConfigError> {
        match (&self.api_key_env, &self.api_key_file) {
            (Some(name), _) => Secret::from_env(name).map(Some),
            (None, Some(path)) => Secret::from_file(path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The part of the body that is the same in every request.
    pub(super) fn body(&self) -> Map<String, Value> {
        let mut body = self.extra.clone();
        body.insert(self.max_tokens_name.as_str().to_owned(), self.max_tokens.into());
        if let Some(temperature) = self.temperature {
            body.insert("temperature".to_owned(), temperature.into());
        }
        if let Some(top_p) = self.top_p {
            body.insert("top_p".to_owned(), top_p.into());
        }
        body
    }

    /// What that many tokens cost.
    pub(super) fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (prompt_tokens as f64 * self.price_per_million_prompt_tokens
            + completion_tokens as f64 * self.price_per_million_completion_tokens)
            / 1e6
    }

    /// Whether tokens cost anything.
    pub(super) fn has_prices(&self) -> bool {
        self.cost(1, 1) > 0.0
    }
}

/// A setting that is out of its range.
pub(super) fn wrong(field: &'static str, why: impl Into<String>) -> ConfigError {
    ConfigError::Field { oracle: "openai", field, why: why.into() }
}

/// Checks that a number, where there is one, is in `[0, most]`.
pub(super) fn up_to(field: &'static str, value: Option<f64>, most: f64) -> Result<(), ConfigError> {
    match value {
        Some(value) if !(0.0..=most).contains(&value) => {
            Err(wrong(field, format!("it must be in [0, {most}], and is {value}")))
        }
        _ => Ok(()),
    }
}

/// Checks that a number, where there is one, is in `(0, most]`.
pub(super) fn above_zero(
    field: &'static str,
    value: Option<f64>,
    most: f64,
) -> Result<(), ConfigError> {
    match value {
        Some(value) if !(f64::MIN_POSITIVE..=most).contains(&value) => {
            Err(wrong(field, format!("it must be in (0, {most}], and is {value}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> ServerConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = read(json!({"base_url": "http://a/v1", "model": "m"}));
        assert_eq!(config, ServerConfig::new("http://a/v1", "m"));
        assert_eq!(Value::Object(config.body()), json!({"temperature": 0.0, "max_tokens": 512}));
        assert_eq!(config.url().unwrap(), "http://a/v1/chat/completions");
        assert!(config.check().is_ok());
    }

    #[test]
    fn settings_read_back_as_written_and_make_the_body() {
        let text = json!({
            "base_url": "https://a/v1/", "model": "m", "temperature": "none", "top_p": 0.5,
            "max_tokens": 9, "max_tokens_name": "max_completion_tokens", "seed": 7,
            "structured": "json_schema", "extra": {"reasoning_effort": "low"},
        });
        let config = read(text);
        assert_eq!(read(serde_json::to_value(&config).unwrap()), config);
        assert_eq!(config.url().unwrap(), "https://a/v1/chat/completions");
        assert_eq!(
            Value::Object(config.body()),
            json!({"reasoning_effort": "low", "top_p": 0.5, "max_completion_tokens": 9})
        );
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let cases = [
            (json!({"base_url": "ftp://a/v1"}), "base_url"),
            (json!({"base_url": "a b"}), "base_url"),
            (json!({"base_url": "http://a/v1/chat/completions"}), "base_url"),
            (json!({"model": ""}), "model"),
            (json!({"api_key_env": "A", "api_key_file": "b"}), "api_key_file"),
            (json!({"temperature": 2.5}), "temperature"),
            (json!({"top_p": 0}), "top_p"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"seed": (1_u64 << 53) + 1}), "seed"),
            (json!({"extra": {"stream": true}}), "extra"),
            (json!({"extra": {"response_format": {}}}), "extra"),
            (json!({"extra": {"x-api-key": "k"}}), "extra"),
            (json!({"price_per_million_prompt_tokens": -1}), "price_per_million_prompt_tokens"),
        ];
        for (change, expected) in cases {
            let mut config = json!({"base_url": "http://a/v1", "model": "m"});
            for (key, value) in change.as_object().unwrap() {
                config[key] = value.clone();
            }
            let error = read(config).check().unwrap_err();
            assert!(
                matches!(error, ConfigError::Field { oracle: "openai", field, .. } if field == expected),
                "{error}"
            );
        }
        let unknown = json!({"base_url": "http://a/v1", "model": "m", "modle": 1});
        assert!(serde_json::from_value::<ServerConfig>(unknown).is_err());
    }

    #[test]
    fn an_address_with_credentials_is_not_repeated() {
        for address in ["https://me:hunter2@a/v1", "https://a/v1?key=hunter2"] {
            let error = ServerConfig::new(address, "m").check().unwrap_err().to_string();
            assert!(error.contains("base_url") && !error.contains("hunter2"), "{error}");
        }
    }

    /// 1,000 tokens at 2 a million and 100 at 10 a million: 0.002 + 0.001.
    #[test]
    fn tokens_cost_what_the_prices_say() {
        let mut config = ServerConfig::new("http://a/v1", "m");
        assert!(!config.has_prices());
        config.price_per_million_prompt_tokens = 2.0;
        config.price_per_million_completion_tokens = 10.0;
        assert!((config.cost(1000, 100) - 0.003).abs() < 1e-12);
    }
}
