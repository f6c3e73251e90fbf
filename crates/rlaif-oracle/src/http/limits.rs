//! How hard and how long is asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    config::{above_zero, up_to, wrong},
    omitted,
};
use crate::ConfigError;

/// Longest time that a setting may name, in seconds: a day.
const DAY: f64 = 86_400.0;

/// Limits, retries and budgets. None of them changes a reply, so none is part of
/// [`identity`](crate::ChatModel::identity).
///
/// ```
/// use rlaif_oracle::http::LimitsConfig;
///
/// let limits: LimitsConfig = serde_json::from_str(r#"{"deadline_seconds": "none"}"#)?;
/// assert_eq!(limits, LimitsConfig { deadline_seconds: None, ..LimitsConfig::default() });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Requests on the wire at once, in [1, 1024]. Default 8.
    pub concurrency: usize,
    /// Requests a minute, retries included, in (0, 1,000,000]. Default: as many as can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<f64>,
    /// Requests that may be sent at once after a pause under `requests_per_minute`, in
    /// [1, 1,000,000]. Default 1: evenly spaced.
    pub burst: u32,
    /// Longest time of one attempt from connecting to the end of the reply, in seconds, in
    /// (0, 86400]. Default 120.
    pub timeout_seconds: f64,
    /// Longest time of connecting, in seconds, in (0, 86400]. Default 10.
    pub connect_timeout_seconds: f64,
    /// Times that a failed attempt is made again, in [0, 100]. Probes of an open breaker that do
    /// not reach the server are not counted: an outage is bounded by the deadline. Default 6.
    pub max_retries: u32,
    /// Longest wait before the first retry, in seconds, in (0, 3600]; it doubles with each. The
    /// wait is drawn evenly between 0 and that ("full jitter"). Default 1.
    pub backoff_seconds: f64,
    /// Where the doubling ends, in seconds, in (0, 3600]. Default 60.
    pub backoff_max_seconds: f64,
    /// Longest time of a group, retries and waits included, in seconds, in (0, 86400]; `none` for
    /// no end. Default 600.
    #[serde(with = "omitted")]
    pub deadline_seconds: Option<f64>,
    /// Failures in a row, of all threads, after which nothing is sent for
    /// [`breaker_seconds`](Self::breaker_seconds): no connection, a reset, a time-out, a status of
    /// 500 and above. At most `max_retries` where that is not 0, so that an outage opens the
    /// breaker before a request has used up its retries. 0 is never. Default 8.
    pub breaker_failures: u32,
    /// How long an open breaker keeps everybody waiting before one request probes the server, in
    /// seconds, in (0, 3600]. Default 30.
    pub breaker_seconds: f64,
    /// Requests that may be paid for in all, those of earlier runs in the same ledger included.
    /// Default: no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// Money that may be spent in all, earlier runs in the same ledger included, in the currency
    /// of the prices, at least 0. Needs prices. Default: no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            concurrency: 8,
            requests_per_minute: None,
            burst: 1,
            timeout_seconds: 120.0,
            connect_timeout_seconds: 10.0,
            max_retries: 6,
            backoff_seconds: 1.0,
            backoff_max_seconds: 60.0,
            deadline_seconds: Some(600.0),
            breaker_failures: 8,
            breaker_seconds: 30.0,
            max_calls: None,
            max_cost: None,
        }
    }
}

impl LimitsConfig {
    /// Checks every range.
    ///
    /// # Errors
    ///
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=1024).contains(&self.concurrency) {
            return Err(wrong("concurrency", "it must be in [1, 1024]"));
        }
        if !(1..=1_000_000).contains(&self.burst) {
            return Err(wrong("burst", "it must be in [1, 1000000]"));
        }
        if self.max_retries > 100 {
            return Err(wrong("max_retries", "it must be in [0, 100]"));
        }
        above_zero("requests_per_minute", self.requests_per_minute, 1e6)?;
        above_zero("timeout_seconds", Some(self.timeout_seconds), DAY)?;
        above_zero("connect_timeout_seconds", Some(self.connect_timeout_seconds), DAY)?;
        above_zero("backoff_seconds", Some(self.backoff_seconds), 3600.0)?;
        above_zero("backoff_max_seconds", Some(self.backoff_max_seconds), 3600.0)?;
        if self.backoff_max_seconds < self.backoff_seconds {
            return Err(wrong("backoff_max_seconds", "it is less than `backoff_seconds`"));
        }
        above_zero("deadline_seconds", self.deadline_seconds, DAY)?;
        above_zero("breaker_seconds", Some(self.breaker_seconds), 3600.0)?;
        up_to("max_cost", self.max_cost, f64::MAX)
    }

    /// [`deadline_seconds`](Self::deadline_seconds) as a duration.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_seconds.map(seconds)
    }

    /// The failures in a row that open the breaker; 0 is never.
    pub(super) fn breaker_threshold(&self) -> u32 {
        match self.max_retries {
            0 => self.breaker_failures,
            most => self.breaker_failures.min(most),
        }
    }
}

/// A checked number of seconds as a duration.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let cases = [
            (json!({"concurrency": 0}), "concurrency"),
            (json!({"requests_per_minute": 0.0}), "requests_per_minute"),
            (json!({"burst": 0}), "burst"),
            (json!({"timeout_seconds": 0}), "timeout_seconds"),
            (json!({"connect_timeout_seconds": 1e9}), "connect_timeout_seconds"),
            (json!({"max_retries": 101}), "max_retries"),
            (json!({"backoff_seconds": 0.0}), "backoff_seconds"),
            (json!({"backoff_max_seconds": 0.5}), "backoff_max_seconds"),
            (json!({"deadline_seconds": 0}), "deadline_seconds"),
            (json!({"breaker_seconds": -1}), "breaker_seconds"),
            (json!({"max_cost": -0.5}), "max_cost"),
        ];
        for (json, expected) in cases {
            let limits: LimitsConfig = serde_json::from_value(json).unwrap();
            let error = limits.check().unwrap_err();
            assert!(
                matches!(error, ConfigError::Field { field, .. } if field == expected),
                "{error}"
            );
        }
        assert!(LimitsConfig::default().check().is_ok());
        assert!(serde_json::from_str::<LimitsConfig>(r#"{"retries": 1}"#).is_err());
        assert!(serde_json::from_str::<LimitsConfig>(r#"{"deadline_seconds": "no"}"#).is_err());
    }

    #[test]
    fn an_endless_deadline_reads_back_as_written() {
        let endless = LimitsConfig { deadline_seconds: None, ..LimitsConfig::default() };
        let text = serde_json::to_string(&endless).unwrap();
        assert!(text.contains(r#""deadline_seconds":"none""#), "{text}");
        assert_eq!(serde_json::from_str::<LimitsConfig>(&text).unwrap(), endless);
        assert_eq!(LimitsConfig::default().deadline(), Some(Duration::from_mins(10)));
    }

    #[test]
    fn the_breaker_opens_before_retries_are_used_up() {
        let limits = |breaker_failures, max_retries| LimitsConfig {
            max_retries,
            breaker_failures,
            ..LimitsConfig::default()
        };
        assert_eq!(LimitsConfig::default().breaker_threshold(), 6);
        assert_eq!(limits(8, 0).breaker_threshold(), 8);
        assert_eq!(limits(0, 6).breaker_threshold(), 0);
        assert_eq!(limits(3, 6).breaker_threshold(), 3);
    }
}
