//! Which prompts a recipe asks for, and what they show.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `prompts` table of an Oracle that speaks. Unknown keys are errors.
///
/// A template is a file in the language of Jinja2 as minijinja speaks it, at most 256 KiB. Variables:
///
/// | name | in | is |
/// |---|---|---|
/// | `kind` | all | `listwise`, `pairwise` or `pointwise` |
/// | `count` | all | the number of candidates shown |
/// | `min`, `max` | all | the ends of the scale; none unless `kind` is `pointwise` |
/// | `criteria` | all but `repair` | the four criteria of VLM-RLAIF in words |
/// | `question` | questions | the text of the last user turn |
/// | `conversation` | questions | the turns before it, each with `role` and `text` |
/// | `choices` | questions | the options of a multiple-choice question, as `A. text` |
/// | `reference` | questions | the right answer; none unless `reference = true` |
/// | `narrative` | questions | what happens in the video; none unless `narrative = true` |
/// | `candidates` | questions | the candidates in the order shown |
/// | `problem` | `repair` | what was wrong with the reply |
///
/// "Questions" are the templates `listwise`, `pairwise` and `pointwise`. An unknown variable is an
/// error when the template is loaded. All texts of a row and all candidates have been made safe: the
/// lines after their first begin with `    | `, so that nothing in them passes for a line of the
/// template. Put a candidate behind its number, `[{{ loop.index }}] {{ candidate }}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptsConfig {
    /// File of the system prompt. Default: built in.
    pub system: Option<PathBuf>,
    /// File of the question for an order. Default: built in.
    pub listwise: Option<PathBuf>,
    /// File of the question about a pair. Default: built in.
    pub pairwise: Option<PathBuf>,
    /// File of the question for a score. Default: built in.
    pub pointwise: Option<PathBuf>,
    /// File of what is said to a reply that is no answer. Default: built in.
    pub repair: Option<PathBuf>,
    /// Whether the judge is told what happens in the video, where a row knows it. Default false: the
    /// Oracle of Oracle-RLAIF sees what the policy sees.
    pub narrative: bool,
    /// Whether the judge is told the right answer, where a row knows it. Default false.
    pub reference: bool,
    /// Characters of a candidate that are shown, 1 to 100,000; a longer one is cut, visibly.
    /// Default 4000.
    pub max_candidate_chars: usize,
}

impl Default for PromptsConfig {
    fn default() -> Self {
        PromptsConfig {
            system: None,
            listwise: None,
            pairwise: None,
            pointwise: None,
            repair: None,
            narrative: false,
            reference: false,
            max_candidate_chars: 4000,
        }
    }
}
