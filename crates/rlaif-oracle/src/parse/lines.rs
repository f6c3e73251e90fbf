//! Answers in lines of text, which has been brought to ASCII.

use super::{
    ReplyError, Wanted,
    labels::{self, Blocks, Label},
    scores,
};
use crate::{error::excerpt, protocol::Said};

/// The last line that is an answer. A line that begins as further lines of a candidate do in a prompt
/// is a quotation, and no answer. Where the very last line is a label alone, it is half of an answer,
/// which nothing that was quoted before it makes whole.
pub(super) fn last_answer(text: &str, wanted: Wanted) -> Option<Result<Said, ReplyError>> {
    let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let last = lines.clone().next()?;
    if matches!(wanted, Wanted::Order { .. }) && last.trim().starts_with('[') {
        let only = label(conclusion(last), wanted);
        if let Some(only) = only {
            return Some(labels::order(&[vec![only]], &[], wanted));
        }
    }
    lines.find_map(|line| if is_quoted(line) { None } else { answer(line, wanted) })
}

/// Whether a line begins as [`prompts`](crate::prompts) have further lines of a candidate begin.
fn is_quoted(line: &str) -> bool {
    line.trim_start().strip_prefix('|').is_some_and(|rest| !rest.trim_end().ends_with('|'))
}

fn answer(line: &str, wanted: Wanted) -> Option<Result<Said, ReplyError>> {
    if let Some(reason) = abstained(line) {
        return Some(Ok(Said::Abstained(reason)));
    }
    match wanted {
        Wanted::Score { min, max } => scores::line(line, min, max),
        Wanted::Order { letters, .. } => {
            let blocks = last_run(line, letters)
                .or_else(|| order(conclusion(line), wanted))
                .or_else(|| if letters { verdict(line) } else { None })?;
            Some(labels::order(&blocks, &[], wanted))
        }
    }
}

/// What a line says once a heading such as `Answer:` and a full stop are gone. A key of JSON is no
/// heading: its value may have been cut.
pub(super) fn conclusion(line: &str) -> &str {
    let said = match line.rsplit_once(':') {
        Some((heading, said)) if !heading.contains(['{', '"']) => said,
        _ => line,
    };
    said.trim().trim_end_matches(['.', ';', '!']).trim_end()
}

fn abstained(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = line.strip_prefix("I ").or_else(|| line.strip_prefix("i ")).unwrap_or(line);
    let word = line.get(.."abstain".len()).filter(|word| word.eq_ignore_ascii_case("abstain"))?;
    let rest = &line[word.len()..];
    if rest.starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    let reason = rest.trim_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '-' | '.'));
    Some(if reason.is_empty() { "it gave no reason".to_owned() } else { excerpt(reason) })
}

/// A text that is nothing but an order: `[2] > [1] = [3]`, `2 > 1 = 3`, `A > B` for a pair.
pub(super) fn order(text: &str, wanted: Wanted) -> Option<Blocks> {
    let mut blocks: Blocks = Vec::new();
    let mut labels = 0;
    for block in text.split('>') {
        let block: Option<Vec<Label>> =
            block.split('=').map(|text| label(text.trim(), wanted)).collect();
        let block = block?;
        labels += block.len();
        blocks.push(block);
    }
    (labels > 1).then_some(blocks)
}

/// A text that is nothing but a label, in brackets or without.
pub(super) fn label(text: &str, wanted: Wanted) -> Option<Label> {
    let letters = matches!(wanted, Wanted::Order { letters: true, .. });
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    Label::read(inside.unwrap_or(text).trim(), letters)
}

/// The last run of at least two labels in brackets with `>` or `=` between them.
fn last_run(line: &str, letters: bool) -> Option<Blocks> {
    let mut last = None;
    let mut rest = line;
    while let Some(at) = rest.find('[') {
        rest = &rest[at..];
        let Some((label, after)) = bracketed(rest, letters) else {
            rest = &rest[1..];
            continue;
        };
        rest = after;
        let mut blocks = vec![vec![label]];
        let mut labels = 1;
        while let Some((tied, label, after)) = next_in_run(rest, letters) {
            rest = after;
            labels += 1;
            match blocks.last_mut() {
                Some(block) if tied => block.push(label),
                _ => blocks.push(vec![label]),
            }
        }
        if labels > 1 {
            last = Some(blocks);
        }
    }
    last
}

/// Whether the next label ties, the label, and what follows it.
fn next_in_run(text: &str, letters: bool) -> Option<(bool, Label, &str)> {
    let text = text.trim_start();
    let after = text.strip_prefix(['>', '='])?;
    let (label, rest) = bracketed(after.trim_start(), letters)?;
    Some((text.starts_with('='), label, rest))
}

/// `[label]` at the start of a text, and what follows it.
fn bracketed(text: &str, letters: bool) -> Option<(Label, &str)> {
    let inside = text.strip_prefix('[')?.trim_start();
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
    let (label, after) = inside.split_at(end);
    Some((Label::read(label, letters)?, after.trim_start().strip_prefix(']')?))
}

/// The verdict on a pair in one letter or the word `tie`: all that a line says, or `[[A]]` in it.
fn verdict(line: &str) -> Option<Blocks> {
    let of = |verdict: &str| match verdict {
        "A" | "a" => Some(vec![vec![Label::Number(1)], vec![Label::Number(2)]]),
        "B" | "b" => Some(vec![vec![Label::Number(2)], vec![Label::Number(1)]]),
        "C" | "c" | "tie" | "Tie" | "TIE" => Some(vec![vec![Label::Number(1), Label::Number(2)]]),
        _ => None,
    };
    let marked = line.rsplit("[[").next().and_then(|after| after.split_once("]]"));
    let marked = marked.filter(|_| line.contains("[[")).and_then(|(verdict, _)| of(verdict.trim()));
    let punctuation = |c: char| !c.is_alphanumeric();
    marked.or_else(|| of(conclusion(line).trim_matches(punctuation)))
}
