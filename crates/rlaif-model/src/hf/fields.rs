//! Typed access to the keys of a JSON document, with errors that name the key.

use serde_json::{Map, Value};

/// A key whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The value has the wrong type.
    #[error("`{key}` is {found}, expected {expected}")]
    Type {
        /// Full key, for instance `text_config.hidden_size`.
        key: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The value asks for something this crate does not compute.
    #[error("`{key}` is {found}, which is not supported (supported: {supported})")]
    Unsupported {
        /// Full key.
        key: String,
        /// What stands there.
        found: String,
        /// What could.
        supported: &'static str,
    },
    /// A number no model has.
    #[error("`{key}` is {found}, outside of {min} to {max}")]
    OutOfRange {
        /// Full key.
        key: String,
        /// What stands there.
        found: String,
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
    },
    /// Two keys that contradict each other.
    #[error("`{key}` {problem}")]
    Inconsistent {
        /// Full key.
        key: String,
        /// How it contradicts another key.
        problem: String,
    },
}

impl FieldError {
    /// Refuses a size that is zero or above `max`.
    pub(crate) fn check_size(key: &str, size: usize, max: u64) -> Result<(), FieldError> {
        if (1..=max).contains(&(size as u64)) {
            return Ok(());
        }
        let found = size.to_string();
        Err(FieldError::OutOfRange { key: key.to_owned(), found, min: 1, max })
    }
}

/// A JSON object together with its place in the document.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    prefix: &'a str,
}

impl<'a> Fields<'a> {
    /// The document itself.
    pub(crate) fn root(value: &'a Value) -> Result<Self, FieldError> {
        match value {
            Value::Object(map) => Ok(Fields { map, prefix: "" }),
            other => Err(FieldError::Type {
                key: "(document)".to_owned(),
                found: shown(other),
                expected: "an object",
            }),
        }
    }

    /// The object under `key`, `None` where it is absent or null.
    pub(crate) fn object(&self, key: &'a str) -> Result<Option<Fields<'a>>, FieldError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { map, prefix: key })),
            Some(other) => Err(self.wrong(key, other, "an object")),
        }
    }

    /// Full name of `key`.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// The value under `key`, unless absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether `key` is written at all, be it as null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// All keys with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    pub(crate) fn wrong(&self, key: &str, found: &Value, expected: &'static str) -> FieldError {
        FieldError::Type { key: self.key(key), found: shown(found), expected }
    }

    pub(crate) fn unsupported(
        &self,
        key: &str,
        found: &Value,
        supported: &'static str,
    ) -> FieldError {
        FieldError::Unsupported { key: self.key(key), found: shown(found), supported }
    }

    /// The error of a number that lies outside of what `expected` says.
    pub(crate) fn outside(
        &self,
        key: &str,
        found: impl std::fmt::Display,
        expected: &'static str,
    ) -> FieldError {
        FieldError::Type { key: self.key(key), found: found.to_string(), expected }
    }

    /// A size within `1..=max`.
    pub(crate) fn size(&self, key: &str, default: usize, max: u64) -> Result<usize, FieldError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let expected = "a positive whole number";
        let number = value.as_number().ok_or_else(|| self.wrong(key, value, expected))?;
        if !number.is_u64() && !number.is_i64() && number.as_f64().is_some_and(|f| f < 1e15) {
            return Err(self.wrong(key, value, expected));
        }
        match number.as_u64().filter(|n| (1..=max).contains(n)).map(usize::try_from) {
            Some(Ok(size)) => Ok(size),
            _ => Err(FieldError::OutOfRange {
                key: self.key(key),
                found: number.to_string(),
                min: 1,
                max,
            }),
        }
    }

    /// A signed whole number.
    pub(crate) fn integer(&self, key: &str, default: i64) -> Result<i64, FieldError> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_i64().ok_or_else(|| self.wrong(key, value, "a whole number"))
        })
    }

    /// A token id; -1 is an old way to say that there is none.
    pub(crate) fn token(&self, key: &str) -> Result<Option<u32>, FieldError> {
        self.get(key)
            .filter(|value| value.as_i64() != Some(-1))
            .map(|value| self.as_token(key, value))
            .transpose()
    }

    /// Token ids: one number or a list of them.
    pub(crate) fn tokens(&self, key: &str) -> Result<Option<Vec<u32>>, FieldError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => list
                .iter()
                .map(|value| self.as_token(key, value))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(value) => Ok(Some(vec![self.as_token(key, value)?])),
        }
    }

    fn as_token(&self, key: &str, value: &Value) -> Result<u32, FieldError> {
        value
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| self.wrong(key, value, "a token id (0 to 4294967295)"))
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64, FieldError> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_f64().ok_or_else(|| self.wrong(key, value, "a number"))
        })
    }

    /// A finite number above zero.
    pub(crate) fn positive(&self, key: &str, default: f64) -> Result<f64, FieldError> {
        let number = self.number(key, default)?;
        if number > 0.0 {
            return Ok(number);
        }
        Err(FieldError::Type {
            key: self.key(key),
            found: number.to_string(),
            expected: "a number above zero",
        })
    }

    /// True or false.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, FieldError> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_bool().ok_or_else(|| self.wrong(key, value, "true or false"))
        })
    }

    /// Refuses a string that is none of `names`, which `supported` spells out.
    pub(crate) fn one_of(
        &self,
        key: &str,
        names: &[&str],
        supported: &'static str,
    ) -> Result<(), FieldError> {
        match self.text(key)? {
            Some(found) if !names.contains(&found) => {
                Err(self.unsupported(key, &Value::from(found), supported))
            }
            _ => Ok(()),
        }
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, FieldError> {
        self.get(key)
            .map(|value| value.as_str().ok_or_else(|| self.wrong(key, value, "a string")))
            .transpose()
    }

    /// Demands that `key` is absent or holds the one value supported.
    pub(crate) fn only(
        &self,
        key: &str,
        value: &Value,
        supported: &'static str,
    ) -> Result<(), FieldError> {
        match self.get(key) {
            Some(found) if found != value => Err(self.unsupported(key, found, supported)),
            _ => Ok(()),
        }
    }
}

/// A value as an error message shows it, cut short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(60).chain("...".chars()).collect()
}
