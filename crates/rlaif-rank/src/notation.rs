//! Rankings as text: `[2] > [1] = [3]`, candidates counted from 1.
//!
//! The form is that of `RankGPT` (Sun et al. 2023, arXiv:2304.09542), which listwise judges know, with
//! `=` for ties. The parser takes exactly this form; finding it in a judge's prose is the work of
//! whoever asked the judge.

use std::fmt;

use crate::{InvalidRanking, Ranking};

/// A text that is not a ranking in the form `[2] > [1] = [3]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRankingError {
    /// Something else stands where a part of the form belongs.
    #[error("expected {expected} at character {at}, got {got}; the form is `[2] > [1] = [3]`")]
    Syntax {
        /// Where, counted in characters from 1.
        at: usize,
        /// What belongs there.
        expected: &'static str,
        /// What stands there.
        got: String,
    },
    /// A number that names no candidate.
    #[error("`[{label}]` names no candidate, there are {candidates}, counted from 1")]
    UnknownLabel {
        /// The number as written.
        label: String,
        /// How many candidates there are.
        candidates: usize,
    },
    /// A candidate that is named twice.
    #[error("`[{label}]` is named more than once")]
    Repeated {
        /// The number as written.
        label: usize,
    },
    /// The ranking is to be of nothing.
    #[error("a ranking needs at least one candidate")]
    NoCandidates,
}

/// Tie blocks best first, `[2] > [1] = [3]`, candidates counted from 1. Unplaced candidates are
/// left out; with none placed it reads `(nothing placed)`.
impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.n_placed() == 0 {
            return f.pad("(nothing placed)");
        }
        let blocks: Vec<String> = self
            .blocks()
            .iter()
            .map(|block| {
                let labels: Vec<String> = block.iter().map(|c| format!("[{}]", c + 1)).collect();
                labels.join(" = ")
            })
            .collect();
        f.pad(&blocks.join(" > "))
    }
}

impl Ranking {
    /// Reads `[2] > [1] = [3]` as a ranking of `candidates` candidates. Candidates that are not
    /// named are unplaced: require [`Ranking::is_complete`] where that will not do. White space
    /// is free.
    ///
    /// ```
    /// # use rlaif_rank::Ranking;
    /// let ranking = Ranking::parse("[2] > [1] = [3]", 4)?;
    /// assert_eq!(ranking.levels(), [Some(1), Some(0), Some(1), None]);
    /// assert_eq!(ranking.to_string(), "[2] > [1] = [3]");
    /// # Ok::<(), rlaif_rank::ParseRankingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the text has another form, or names a candidate twice or one that does not exist. An
    /// empty text is no ranking.
    pub fn parse(text: &str, candidates: usize) -> Result<Ranking, ParseRankingError> {
        if candidates == 0 {
            return Err(ParseRankingError::NoCandidates);
        }
        let mut cursor = Cursor { rest: text, at: 1 };
        let mut blocks = vec![vec![cursor.label(candidates)?]];
        while let Some(sign) = cursor.peek() {
            cursor.expect(|c| matches!(c, '>' | '='), "`>`, `=` or the end")?;
            let candidate = cursor.label(candidates)?;
            match blocks.last_mut() {
                Some(block) if sign == '=' => block.push(candidate),
                _ => blocks.push(vec![candidate]),
            }
        }
        Ranking::from_blocks(&blocks, candidates).map_err(|error| match error {
            InvalidRanking::Repeated { candidate } => {
                ParseRankingError::Repeated { label: candidate + 1 }
            }
            // Labels were checked one by one, so that only the count can be wrong.
            _ => ParseRankingError::NoCandidates,
        })
    }
}

/// The unread part of a text, with the place for messages.
struct Cursor<'a> {
    rest: &'a str,
    at: usize,
}

impl Cursor<'_> {
    /// The next character that is no white space, left unread.
    fn peek(&mut self) -> Option<char> {
        let trimmed = self.rest.trim_start();
        self.at += self.rest.chars().count() - trimmed.chars().count();
        self.rest = trimmed;
        self.rest.chars().next()
    }

    /// Reads one character that `belongs` here.
    fn expect(
        &mut self,
        belongs: impl Fn(char) -> bool,
        expected: &'static str,
    ) -> Result<char, ParseRankingError> {
        match self.peek() {
            Some(c) if belongs(c) => {
                self.rest = &self.rest[c.len_utf8()..];
                self.at += 1;
                Ok(c)
            }
            got => Err(ParseRankingError::Syntax {
                at: self.at,
                expected,
                got: got.map_or_else(|| "the end".to_owned(), |c| format!("`{c}`")),
            }),
        }
    }

    /// Reads `[number]` as a candidate counted from 0.
    fn label(&mut self, candidates: usize) -> Result<usize, ParseRankingError> {
        self.expect(|c| c == '[', "`[`")?;
        let mut digits = String::from(self.expect(|c| c.is_ascii_digit(), "a number")?);
        // Without white space: `[1 2]` is not twelve.
        while let Some(digit) = self.rest.chars().next().filter(char::is_ascii_digit) {
            digits.push(self.expect(|c| c == digit, "a number")?);
        }
        self.expect(|c| c == ']', "`]`")?;
        match digits.parse::<usize>() {
            Ok(label) if (1..=candidates).contains(&label) => Ok(label - 1),
            _ => Err(ParseRankingError::UnknownLabel { label: digits, candidates }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_ranking;

    fn message(text: &str) -> String {
        Ranking::parse(text, 3).unwrap_err().to_string()
    }

    #[test]
    fn white_space_is_free() {
        let spread = Ranking::parse(" [2]>[ 1 ]\n= [3] ", 3).unwrap();
        assert_eq!(spread, Ranking::from_blocks(&[vec![1], vec![0, 2]], 3).unwrap());
    }

    #[test]
    fn messages_say_where_and_what() {
        let form = "; the form is `[2] > [1] = [3]`";
        assert_eq!(message(""), format!("expected `[` at character 1, got the end{form}"));
        assert_eq!(message("[1] > 2"), format!("expected `[` at character 7, got `2`{form}"));
        assert_eq!(
            message("[1], [2]"),
            format!("expected `>`, `=` or the end at character 4, got `,`{form}")
        );
        assert_eq!(message("[1"), format!("expected `]` at character 3, got the end{form}"));
        assert_eq!(message("[1 2]"), format!("expected `]` at character 4, got `2`{form}"));
        assert_eq!(message("[é]"), format!("expected a number at character 2, got `é`{form}"));
        assert_eq!(message("[1] > [4]"), "`[4]` names no candidate, there are 3, counted from 1");
        assert_eq!(message("[0]"), "`[0]` names no candidate, there are 3, counted from 1");
        assert_eq!(
            message("[99999999999999999999]"),
            "`[99999999999999999999]` names no candidate, there are 3, counted from 1"
        );
        assert_eq!(message("[1] > [1]"), "`[1]` is named more than once");
        assert_eq!(Ranking::parse("[1]", 0), Err(ParseRankingError::NoCandidates));
    }

    #[test]
    fn a_ranking_of_nothing_says_so_and_does_not_read_back() {
        let nothing = Ranking::from_ranks(vec![None, None]).unwrap();
        assert_eq!(nothing.to_string(), "(nothing placed)");
        assert!(Ranking::parse(&nothing.to_string(), 2).is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(
            r in any_ranking(12).prop_filter("nothing placed", |r| r.n_placed() > 0)
        ) {
            prop_assert_eq!(Ranking::parse(&r.to_string(), r.len()), Ok(r));
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]0-9>= é,]{0,20}", candidates in 0_usize..5) {
            let _ = Ranking::parse(&text, candidates);
        }
    }
}
