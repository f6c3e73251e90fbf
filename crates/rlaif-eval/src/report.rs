//! What one checkpoint reached: a section for multiple choice, one for open-ended questions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval, clusters, mean};
use crate::item::{ItemKind, ItemResult};
use crate::letter::LetterPick;
use crate::measure::Measure;

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean in `0..=1`.
    pub mean: f64,
    /// 95 % interval, clustered by video ([`Bootstrap::share`]).
    pub ci95: Interval,
    /// Number of answers behind it.
    pub n: usize,
}

/// The answers of one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryResult {
    /// Mean of the section's headline measure in `0..=1`.
    pub accuracy: f64,
    /// Its 95 % interval, clustered by video.
    pub ci95: Interval,
    /// Number of questions.
    pub n: usize,
    /// Every other measure that was taken.
    pub measures: BTreeMap<Measure, Estimate>,
}

/// The answers of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// What `accuracy` counts: the likelihood of options where it was taken, else the generated
    /// letter; the normalised match for open-ended questions.
    pub headline: Measure,
    /// Mean of the headline measure over all questions, in `0..=1`.
    pub accuracy: f64,
    /// Its 95 % interval, clustered by video.
    pub ci95: Interval,
    /// Number of questions.
    pub n: usize,
    /// Number of different videos they are about.
    pub videos: usize,
    /// Accuracy of guessing, the mean of one over the number of options; multiple choice only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// Generated texts that name no option; multiple choice only, counted as wrong.
    pub letters_missing: usize,
    /// Generated texts that name several options; multiple choice only, counted as wrong.
    pub letters_ambiguous: usize,
    /// Every measure that was taken, the headline included.
    pub measures: BTreeMap<Measure, Estimate>,
    /// The same by category.
    pub by_category: BTreeMap<String, CategoryResult>,
}

/// What one checkpoint reached on one set of questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalReport {
    /// Short name in tables and legends, for instance `sft`.
    pub name: String,
    /// Where the checkpoint lies, in words.
    pub checkpoint: String,
    /// Number of answers in both sections.
    pub n: usize,
    /// Questions left out because their video could not be read.
    pub skipped_clips: usize,
    /// Resampling behind the intervals.
    pub bootstrap: Bootstrap,
    /// Multiple-choice questions; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<Section>,
    /// Open-ended questions; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ended: Option<Section>,
}

/// Answers that do not add up to a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No answers at all.
    #[error("checkpoint `{name}`: no answers to report; check the data file and its skipped clips")]
    NoItems {
        /// The report's name.
        name: String,
    },
    /// Two answers to one question.
    #[error("checkpoint `{name}`: item `{id}` appears twice; give every row its own id")]
    Repeated {
        /// The report's name.
        name: String,
        /// The item.
        id: String,
    },
    /// An answer without the grade that the others of its kind are counted by.
    #[error(
        "checkpoint `{name}`: item `{id}` has no {label}, unlike others of its kind; \
         grade all of them in one way",
        label = measure.label()
    )]
    Ungraded {
        /// The report's name.
        name: String,
        /// The item.
        id: String,
        /// The measure that is missing.
        measure: Measure,
    },
}

impl EvalReport {
    /// Sums up the answers of one checkpoint. `skipped_clips` are questions that were left out
    /// because their video could not be read.
    ///
    /// # Errors
    ///
    /// There are no answers, an id repeats, or answers of one kind were not all graded by that
    /// kind's headline measure.
    pub fn new(
        name: impl Into<String>,
        checkpoint: impl Into<String>,
        items: &[ItemResult],
        skipped_clips: usize,
        bootstrap: &Bootstrap,
    ) -> Result<Self, ReportError> {
        let name = name.into();
        if items.is_empty() {
            return Err(ReportError::NoItems { name });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = items.iter().find(|item| !seen.insert(&item.head.id)) {
            return Err(ReportError::Repeated { name, id: twice.head.id.clone() });
        }
        let section = |kind| section(&name, items, kind, bootstrap);
        Ok(EvalReport {
            multiple_choice: section(ItemKind::MultipleChoice)?,
            open_ended: section(ItemKind::OpenEnded)?,
            checkpoint: checkpoint.into(),
            n: items.len(),
            skipped_clips,
            bootstrap: *bootstrap,
            name,
        })
    }

    /// The section of a kind.
    #[must_use]
    pub fn section(&self, kind: ItemKind) -> Option<&Section> {
        match kind {
            ItemKind::MultipleChoice => self.multiple_choice.as_ref(),
            ItemKind::OpenEnded => self.open_ended.as_ref(),
        }
    }
}

/// The measure by which answers of a kind are counted in the first place: likelihood if any
/// multiple-choice answer has it, else the letter; the normalised match for open-ended ones.
#[must_use]
pub fn headline(items: &[ItemResult], kind: ItemKind) -> Measure {
    match kind {
        ItemKind::OpenEnded => Measure::NormalisedMatch,
        ItemKind::MultipleChoice
            if items.iter().any(|item| Measure::Likelihood.value(item).is_some()) =>
        {
            Measure::Likelihood
        }
        ItemKind::MultipleChoice => Measure::Letter,
    }
}

fn section(
    name: &str,
    items: &[ItemResult],
    kind: ItemKind,
    bootstrap: &Bootstrap,
) -> Result<Option<Section>, ReportError> {
    let headline = headline(items, kind);
    let items: Vec<&ItemResult> = items.iter().filter(|item| item.kind == kind).collect();
    if let Some(item) = items.iter().find(|item| headline.value(item).is_none()) {
        return Err(ReportError::Ungraded {
            name: name.to_owned(),
            id: item.head.id.clone(),
            measure: headline,
        });
    }
    let measures = estimates(&items, bootstrap);
    let Some(total) = measures.get(&headline).copied() else { return Ok(None) };

    let mut categories: BTreeMap<String, Vec<&ItemResult>> = BTreeMap::new();
    for item in &items {
        categories.entry(item.head.category.clone()).or_default().push(item);
    }
    let by_category = categories
        .into_iter()
        .filter_map(|(category, items)| {
            let mut measures = estimates(&items, bootstrap);
            let Estimate { mean, ci95, n } = measures.remove(&headline)?;
            Some((category, CategoryResult { accuracy: mean, ci95, n, measures }))
        })
        .collect();

    let letters = |pick| items.iter().filter(|item| item.by_letter == Some(pick)).count();
    let options = items.iter().filter_map(|item| Some(item.choices.as_ref()?.options.len() as f64));
    let guesses: Vec<f64> = options.map(|options| 1.0 / options).collect();
    let videos: BTreeSet<&str> = items.iter().map(|item| item.head.video.as_str()).collect();
    Ok(Some(Section {
        headline,
        accuracy: total.mean,
        ci95: total.ci95,
        n: total.n,
        videos: videos.len(),
        chance: (!guesses.is_empty()).then(|| guesses.iter().sum::<f64>() / guesses.len() as f64),
        letters_missing: letters(LetterPick::Missing),
        letters_ambiguous: letters(LetterPick::Ambiguous),
        measures,
        by_category,
    }))
}

fn estimates(items: &[&ItemResult], bootstrap: &Bootstrap) -> BTreeMap<Measure, Estimate> {
    let estimate = |measure: Measure| {
        let values =
            items.iter().filter_map(|item| Some((item.head.video.as_str(), measure.value(item)?)));
        let clusters = clusters(values);
        Some(Estimate {
            mean: mean(&clusters)?,
            ci95: bootstrap.share(&clusters)?,
            n: clusters.iter().map(|cluster| cluster.n).sum(),
        })
    };
    Measure::ALL.into_iter().filter_map(|m| Some((m, estimate(m)?))).collect()
}

#[cfg(test)]
mod tests {
    use rlaif_data::Choices;

    use super::*;
    use crate::item::tests::{choice, head};

    fn report(items: &[ItemResult]) -> Result<EvalReport, ReportError> {
        EvalReport::new("sft", "out/sft", items, 2, &Bootstrap { resamples: 2_000, seed: 0 })
    }

    #[test]
    fn sections_count_by_category_and_video() {
        let mut items = vec![
            choice("1", "counting", "v1", true),
            choice("2", "counting", "v1", false),
            choice("3", "counting", "v2", true),
            choice("4", "action", "v3", false),
        ];
        let open = |id: &str, text: &str| {
            ItemResult::open_ended(head(id, "action", "v3"), text.into(), Some("red".into()))
        };
        items.extend([open("5", "Red."), open("6", "dark red")]);
        let report = report(&items).unwrap();
        assert_eq!((report.n, report.skipped_clips), (6, 2));

        let choice = report.multiple_choice.unwrap();
        assert_eq!((choice.n, choice.videos, choice.chance), (4, 3, Some(0.5)));
        assert!((choice.accuracy - 0.5).abs() < 1e-12);
        assert_eq!(choice.headline, Measure::Likelihood);
        let counting = &choice.by_category["counting"];
        assert_eq!(counting.n, 3);
        assert!((counting.accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!(counting.ci95[0] <= counting.accuracy && counting.accuracy <= counting.ci95[1]);
        // One wrong answer only: the Wilson interval of 0 of 1.
        assert!(choice.by_category["action"].ci95[1] > 0.5);

        let open = report.open_ended.unwrap();
        assert_eq!((open.accuracy, open.headline), (0.5, Measure::NormalisedMatch));
        assert!((open.measures[&Measure::TokenF1].mean - 5.0 / 6.0).abs() < 1e-12);
        assert!(!open.measures.contains_key(&Measure::TruthScore));
        assert_eq!(open.chance, None);
    }

    #[test]
    fn letters_that_cannot_be_read_are_wrong_and_counted() {
        let options = ["red", "blue", "green", "black"].map(str::to_owned).to_vec();
        let answer = |id: &str, text: &str| {
            let choices = Choices { options: options.clone(), answer: 0 };
            ItemResult::multiple_choice(head(id, "c", id), choices, None, Some(text.into()))
                .unwrap()
        };
        let items =
            [answer("1", "A"), answer("2", "A or B"), answer("3", "no idea"), answer("4", "")];
        let section = report(&items).unwrap().multiple_choice.unwrap();
        assert_eq!(section.headline, Measure::Letter);
        assert_eq!((section.accuracy, section.chance), (0.25, Some(0.25)));
        assert_eq!((section.letters_ambiguous, section.letters_missing), (1, 2));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        assert!(report(&[]).unwrap_err().to_string().contains("no answers"));
        let twice = [choice("1", "c", "v", true), choice("1", "c", "v", true)];
        assert!(report(&twice).unwrap_err().to_string().contains("`1` appears twice"));
        let choices = Choices { options: vec!["red".into(), "blue".into()], answer: 0 };
        let by_letter =
            ItemResult::multiple_choice(head("2", "c", "v"), choices, None, Some("A".into()));
        let mixed = [choice("1", "c", "v", true), by_letter.unwrap()];
        assert!(report(&mixed).unwrap_err().to_string().contains("`2` has no accuracy by option"));
        let no_reference = [ItemResult::open_ended(head("3", "c", "v"), "red".into(), None)];
        assert!(report(&no_reference).is_err());
    }

    #[test]
    fn json_speaks_the_contracts_words() {
        let report = report(&[choice("1", "counting", "v", true)]).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        let section = &json["multiple_choice"];
        assert_eq!(section["accuracy"], 1.0);
        assert_eq!(section["ci95"].as_array().unwrap().len(), 2);
        assert_eq!(section["n"], 1);
        assert_eq!(section["by_category"]["counting"]["n"], 1);
        assert_eq!(section["measures"]["likelihood"]["mean"], 1.0);
        assert_eq!(serde_json::from_value::<EvalReport>(json).unwrap(), report);
    }
}
