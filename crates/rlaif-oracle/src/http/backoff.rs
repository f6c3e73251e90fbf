//! How long to wait before an attempt is made again.

use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;

/// Longest wait that a server may ask for; after it, it is asked again.
const LONGEST: Duration = Duration::from_hours(1);

/// The wait before retry number `retry` (from 0): evenly between 0 and `base · 2^retry`, at most
/// `longest`. `draw` is in [0, 1).
///
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter.
pub(super) fn delay(retry: u32, base: Duration, longest: Duration, draw: f64) -> Duration {
    let doubled = 2_u32.checked_pow(retry).and_then(|factor| base.checked_mul(factor));
    doubled.unwrap_or(longest).min(longest).mul_f64(draw.clamp(0.0, 1.0))
}

/// The wait that a server asks for: `retry-after-ms`, else `Retry-After` in seconds or as a date.
/// What is neither, or is in the past, is none.
pub(super) fn asked_for(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str, unit: f64| {
        let seconds = text.parse::<f64>().ok().filter(|number| *number > 0.0)? * unit;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST))
    };
    let wait = text("retry-after-ms").and_then(|ms| number(ms, 1e-3)).or_else(|| {
        let after = text("retry-after")?;
        number(after, 1.0)
            .or_else(|| httpdate::parse_http_date(after).ok()?.duration_since(now).ok())
    })?;
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_are_drawn_below_it() {
        let full = |retry| delay(retry, SECOND, 60 * SECOND, 1.0);
        assert_eq!([0, 1, 5, 6, 7, 99].map(full), [1, 2, 32, 60, 60, 60].map(|n| n * SECOND));
        assert_eq!(delay(3, SECOND, 60 * SECOND, 0.25), 2 * SECOND);
        assert_eq!(delay(3, SECOND, 60 * SECOND, 0.0), Duration::ZERO);
    }

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        // Fri, 24 Nov 2023 10:00:00 GMT.
        asked_for(&headers, SystemTime::UNIX_EPOCH + Duration::from_hours(472_450))
    }

    #[test]
    fn seconds_dates_and_milliseconds_are_understood() {
        assert_eq!(asked(&[("retry-after", "7")]), Some(7 * SECOND));
        assert_eq!(asked(&[("retry-after", "1.5")]), Some(3 * SECOND / 2));
        assert_eq!(asked(&[("retry-after", "Fri, 24 Nov 2023 10:00:20 GMT")]), Some(20 * SECOND));
        let both = [("retry-after", "7"), ("retry-after-ms", "250")];
        assert_eq!(asked(&both), Some(SECOND / 4));
    }

    #[test]
    fn nonsense_and_the_past_are_no_wait_and_years_are_an_hour() {
        for nonsense in ["", "soon", "-3", "0", "NaN", "Fri, 24 Nov 2023 09:59:59 GMT"] {
            assert_eq!(asked(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(asked(&[]), None);
        for years in ["1e300", "inf", "999999999", "Fri, 24 Nov 2090 10:00:00 GMT"] {
            assert_eq!(asked(&[("retry-after", years)]), Some(LONGEST), "{years}");
        }
    }
}
