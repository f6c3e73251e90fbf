//! Scores in text and in JSON.

use serde_json::Value;

use super::{ReplyError, lines::conclusion};
use crate::protocol::Said;

/// Characters before a number in which `score` is looked for.
const CONTEXT: usize = 24;
/// Longest number that is read, in bytes.
const LONGEST: usize = 24;

/// The score in a JSON field.
pub(super) fn json(score: &Value, min: i64, max: i64) -> Result<Said, ReplyError> {
    let number = match score {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match line(&format!("score: {text}"), min, max) {
            Some(said) => return said,
            None => None,
        },
        _ => None,
    };
    match number {
        Some(number) => on_scale(number, min, max),
        None => Err(ReplyError::Field {
            field: "score",
            why: format!("give a number from {min} to {max}"),
        }),
    }
}

/// The last score in a line.
pub(super) fn line(line: &str, min: i64, max: i64) -> Option<Result<Said, ReplyError>> {
    let whole = conclusion(line).trim_matches(['[', ']', '(', ')']).trim();
    let mut last = None;
    let mut from = 0;
    while let Some(number) = next_number(line, from) {
        from = number.end;
        let said = match number.out_of {
            Some(best) if same(best, max) => Some(on_scale(number.value, min, max)),
            Some(best) if number.is_score(line) => Some(Err(ReplyError::OffScale {
                score: format!("{} out of {best}", number.value),
                min,
                max,
            })),
            None if number.is_score(line) || line[number.start..number.end] == *whole => {
                Some(on_scale(number.value, min, max))
            }
            _ => None,
        };
        last = said.or(last);
    }
    last
}

#[expect(clippy::float_cmp, reason = "whole numbers up to a million are exact")]
fn same(a: f64, b: i64) -> bool {
    a == b as f64
}

fn on_scale(score: f64, min: i64, max: i64) -> Result<Said, ReplyError> {
    if (min as f64..=max as f64).contains(&score) {
        return Ok(Said::Score(score));
    }
    Err(ReplyError::OffScale { score: format!("{score}"), min, max })
}

/// A number in a line.
struct Number {
    value: f64,
    start: usize,
    /// The end, `/ 10` included.
    end: usize,
    out_of: Option<f64>,
}

impl Number {
    /// Whether the word `score` or `rating` leads up to it.
    fn is_score(&self, line: &str) -> bool {
        let before = &line[..self.start];
        let from = before.char_indices().rev().nth(CONTEXT - 1).map_or(0, |(at, _)| at);
        let mut before = before[from..].to_ascii_lowercase();
        loop {
            let kept = before.trim_end_matches(|c: char| c.is_whitespace() || ":=".contains(c));
            let kept = [" of", " is", " a", " be", " at"]
                .iter()
                .find_map(|word| kept.strip_suffix(word))
                .unwrap_or(kept);
            if kept.len() == before.len() {
                break;
            }
            before.truncate(kept.len());
        }
        ["score", "rating", "grade"].iter().any(|word| before.ends_with(word))
    }
}

/// The first number at or after `from` that stands on its own.
fn next_number(line: &str, from: usize) -> Option<Number> {
    let bytes = line.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = number_end(bytes, at);
        let start = signed_start(bytes, at);
        let alone = !line[..start].ends_with(|c: char| c.is_alphanumeric() || ".,-_/".contains(c));
        let ended = !line[end..].starts_with(|c: char| c.is_alphanumeric() || "%-_".contains(c));
        if alone && ended && end - start <= LONGEST {
            let value = line[start..end].parse().ok()?;
            let (out_of, end) = out_of(line, end);
            return Some(Number { value, start, end, out_of });
        }
        at = end;
    }
    None
}

/// Where the digits from `at` end, a fraction included.
fn number_end(bytes: &[u8], at: usize) -> usize {
    let digits =
        |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(at);
    if bytes.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if fraction > whole + 1 {
            return fraction;
        }
    }
    whole
}

/// `at`, or the minus sign before it where it is none between two numbers.
fn signed_start(bytes: &[u8], at: usize) -> usize {
    match bytes[..at] {
        [.., before, b'-'] if before.is_ascii_alphanumeric() => at,
        [.., b'-'] => at - 1,
        _ => at,
    }
}

/// The best score that is named after a number, and where that ends.
fn out_of(line: &str, end: usize) -> (Option<f64>, usize) {
    let rest = line[end..].trim_start();
    let Some(best) = rest.strip_prefix('/').or_else(|| rest.strip_prefix("out of")) else {
        return (None, end);
    };
    let start = line.len() - best.trim_start().len();
    let stop = number_end(line.as_bytes(), start);
    if stop - start > LONGEST {
        return (None, stop);
    }
    match line[start..stop].parse() {
        Ok(best) => (Some(best), stop),
        Err(_) => (None, end),
    }
}
