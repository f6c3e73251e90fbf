//! Joins the answers of all methods under all seeds by item id.

use std::collections::{BTreeMap, BTreeSet};

use super::crossed::Crossed;
use super::error::ComparisonError;
use super::input::{MethodRuns, SeedRun};
use crate::item::{ItemKind, ItemResult};
use crate::measure::Measure;
use crate::report::headline;

/// A method with its runs in order of the seeds.
struct Ordered<'a> {
    name: &'a str,
    runs: Vec<&'a SeedRun>,
}

/// The answers of one kind, graded by one measure.
pub(super) struct Panel<'a> {
    pub(super) kind: ItemKind,
    pub(super) measure: Measure,
    /// In order of id.
    pub(super) questions: Vec<&'a ItemResult>,
    /// Indexed by method, then question, then seed.
    values: Vec<Vec<Vec<f64>>>,
}

impl Panel<'_> {
    /// The questions of each category, by index.
    pub(super) fn by_category(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut categories: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, question) in self.questions.iter().enumerate() {
            categories.entry(&question.head.category).or_default().push(index);
        }
        categories
    }

    /// What a method earned on some questions.
    pub(super) fn scores(&self, method: usize, questions: &[usize]) -> Option<Crossed> {
        let values = &self.values[method];
        Crossed::new(questions.iter().map(|q| (self.video(*q), values[*q].iter().copied())))
    }

    /// How much more `method` earned than `baseline`, question by question and seed by seed.
    pub(super) fn differences(
        &self,
        method: usize,
        baseline: usize,
        questions: &[usize],
    ) -> Option<Crossed> {
        let (these, those) = (&self.values[method], &self.values[baseline]);
        Crossed::new(questions.iter().map(|q| {
            let paired = std::iter::zip(&these[*q], &those[*q]);
            (self.video(*q), paired.map(|(this, that)| this - that))
        }))
    }

    fn video(&self, question: usize) -> &str {
        &self.questions[question].head.video
    }
}

/// Checks that all methods answered the same questions under the same seeds, and joins them: the
/// seeds in order, and a panel for each kind of question that was asked.
pub(super) fn join(methods: &[MethodRuns]) -> Result<(Vec<u64>, Vec<Panel<'_>>), ComparisonError> {
    let ordered = in_order(methods)?;
    let Some(first) = ordered.first() else { return Err(ComparisonError::NoMethods) };
    let seeds: Vec<u64> = first.runs.iter().map(|run| run.seed).collect();
    let reference = (first.name, first.runs[0]);
    let questions = by_id(first.name, first.runs[0])?;
    let mut answers: Vec<Vec<BTreeMap<&str, &ItemResult>>> = Vec::new();
    for method in &ordered {
        same_seeds(first, method)?;
        let mut of_method = Vec::new();
        for run in &method.runs {
            let items = by_id(method.name, run)?;
            same_questions(reference, &questions, (method.name, run), &items)?;
            of_method.push(items);
        }
        answers.push(of_method);
    }
    let mut panels = Vec::new();
    for kind in [ItemKind::MultipleChoice, ItemKind::OpenEnded] {
        let asked: Vec<&ItemResult> =
            questions.values().copied().filter(|item| item.kind == kind).collect();
        if asked.is_empty() {
            continue;
        }
        let measure = headline(&first.runs[0].items, kind);
        let mut values = Vec::new();
        for (method, of_method) in std::iter::zip(&ordered, &answers) {
            let mut of_questions = Vec::with_capacity(asked.len());
            for question in &asked {
                let graded = std::iter::zip(&method.runs, of_method).map(|(run, items)| {
                    let id = question.head.id.as_str();
                    measure.value(items[id]).ok_or_else(|| ComparisonError::Ungraded {
                        method: method.name.to_owned(),
                        seed: run.seed,
                        id: id.to_owned(),
                        measure,
                    })
                });
                of_questions.push(graded.collect::<Result<Vec<f64>, _>>()?);
            }
            values.push(of_questions);
        }
        panels.push(Panel { kind, measure, questions: asked, values });
    }
    Ok((seeds, panels))
}

/// Methods with their runs in order of the seeds, at least one each, names and seeds unique.
fn in_order(methods: &[MethodRuns]) -> Result<Vec<Ordered<'_>>, ComparisonError> {
    let mut names = BTreeSet::new();
    let mut ordered = Vec::with_capacity(methods.len());
    for method in methods {
        let name = method.name.as_str();
        if !names.insert(name) {
            return Err(ComparisonError::RepeatedMethod { method: name.to_owned() });
        }
        if method.runs.is_empty() {
            return Err(ComparisonError::NoRuns { method: name.to_owned() });
        }
        let mut runs: Vec<&SeedRun> = method.runs.iter().collect();
        runs.sort_by_key(|run| run.seed);
        if let Some(pair) = runs.windows(2).find(|pair| pair[0].seed == pair[1].seed) {
            let seed = pair[0].seed;
            return Err(ComparisonError::RepeatedSeed { method: name.to_owned(), seed });
        }
        ordered.push(Ordered { name, runs });
    }
    Ok(ordered)
}

fn same_seeds(first: &Ordered, method: &Ordered) -> Result<(), ComparisonError> {
    for (these, those) in [(first, method), (method, first)] {
        let there = |seed| those.runs.iter().any(|run| run.seed == seed);
        if let Some(alone) = these.runs.iter().find(|run| !there(run.seed)) {
            return Err(ComparisonError::UnpairedSeed {
                method: these.name.to_owned(),
                seed: alone.seed,
                missing: those.name.to_owned(),
            });
        }
    }
    Ok(())
}

fn by_id<'a>(
    method: &str,
    run: &'a SeedRun,
) -> Result<BTreeMap<&'a str, &'a ItemResult>, ComparisonError> {
    let (method, seed) = (method.to_owned(), run.seed);
    if run.items.is_empty() {
        return Err(ComparisonError::NoItems { method, seed });
    }
    let mut map = BTreeMap::new();
    for item in &run.items {
        let id = item.head.id.as_str();
        if map.insert(id, item).is_some() {
            return Err(ComparisonError::RepeatedItem { method, seed, id: id.to_owned() });
        }
    }
    Ok(map)
}

type Answers<'a> = BTreeMap<&'a str, &'a ItemResult>;

fn same_questions(
    (other, other_run): (&str, &SeedRun),
    questions: &Answers,
    (method, run): (&str, &SeedRun),
    items: &Answers,
) -> Result<(), ComparisonError> {
    lacks((method, run.seed), items, (other, other_run.seed), questions)?;
    lacks((other, other_run.seed), questions, (method, run.seed), items)?;
    for (id, question) in questions {
        let item = items[id];
        let same = item.head == question.head
            && item.kind == question.kind
            && item.choices == question.choices
            && item.reference == question.reference;
        if !same {
            return Err(ComparisonError::DifferentItem {
                method: method.to_owned(),
                seed: run.seed,
                id: (*id).to_owned(),
                other: other.to_owned(),
                other_seed: other_run.seed,
            });
        }
    }
    Ok(())
}

/// Refuses ids that `those` have and `these` lack.
fn lacks(
    (method, seed): (&str, u64),
    these: &Answers,
    (other, other_seed): (&str, u64),
    those: &Answers,
) -> Result<(), ComparisonError> {
    let mut lacking = those.keys().filter(|id| !these.contains_key(**id));
    match lacking.next() {
        None => Ok(()),
        Some(id) => Err(ComparisonError::Unanswered {
            method: method.to_owned(),
            seed,
            id: (*id).to_owned(),
            more: lacking.count(),
            other: other.to_owned(),
            other_seed,
        }),
    }
}
