//! How far annotators are of one mind.

use std::collections::BTreeMap;

use rlaif_rank::{Ranking, kendall_tau_b};
use serde::Serialize;

use super::{Answer, Judgement};

/// What one annotator did, and how near to the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnnotatorStats {
    /// The name.
    pub annotator: String,
    /// Orders given.
    pub ranked: u64,
    /// Tasks passed over.
    pub skipped: u64,
    /// Mean time for an order, in seconds; none without one.
    pub mean_seconds: Option<f64>,
    /// Tasks that somebody else has ordered, too.
    pub common_tasks: u64,
    /// Mean Kendall tau-b with the others over all pairs of orders of one task, in [-1, 1]; none
    /// where no pair has one, as with nobody else and where an order ties everything.
    pub tau_b: Option<f64>,
}

#[derive(Default)]
struct Sums {
    ranked: u64,
    skipped: u64,
    seconds: f64,
    common_tasks: u64,
    pairs: u64,
    tau: f64,
}

/// One entry per annotator, by name.
///
/// ```text
/// tau_b(a) = mean over tasks t that a ordered, over others b that ordered t, of tau_b(a_t, b_t)
/// ```
#[must_use]
pub fn agreement(judgements: &[Judgement]) -> Vec<AnnotatorStats> {
    let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
    let mut tasks: BTreeMap<&str, Vec<(&str, &Ranking)>> = BTreeMap::new();
    for judgement in judgements {
        let sums = sums.entry(&judgement.annotator).or_default();
        match &judgement.answer {
            Answer::Ranking(ranking) => {
                sums.ranked += 1;
                sums.seconds += judgement.seconds;
                tasks.entry(&judgement.task).or_default().push((&judgement.annotator, ranking));
            }
            Answer::Skipped(_) => sums.skipped += 1,
        }
    }
    for orders in tasks.values().filter(|orders| orders.len() > 1) {
        for (annotator, _) in orders {
            sums.entry(annotator).or_default().common_tasks += 1;
        }
        for (i, (left, a)) in orders.iter().enumerate() {
            for (right, b) in &orders[i + 1..] {
                let Ok(tau) = kendall_tau_b(a, b) else { continue };
                for annotator in [left, right] {
                    let sums = sums.entry(annotator).or_default();
                    sums.pairs += 1;
                    sums.tau += tau;
                }
            }
        }
    }
    let mean = |sum: f64, n: u64| (n > 0).then(|| sum / n as f64);
    sums.into_iter()
        .map(|(annotator, sums)| AnnotatorStats {
            annotator: annotator.to_owned(),
            ranked: sums.ranked,
            skipped: sums.skipped,
            mean_seconds: mean(sums.seconds, sums.ranked),
            common_tasks: sums.common_tasks,
            tau_b: mean(sums.tau, sums.pairs),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(task: &str, annotator: &str, answer: &str) -> Judgement {
        Judgement {
            id: 0,
            task: task.to_owned(),
            annotator: annotator.to_owned(),
            shown: vec![0, 1, 2],
            answer: match Ranking::parse(answer, 3) {
                Ok(ranking) => Answer::Ranking(ranking),
                Err(_) => Answer::Skipped(answer.to_owned()),
            },
            seconds: 4.0,
        }
    }

    #[test]
    fn agreement_is_the_mean_tau_over_common_orders() {
        let stats = agreement(&[
            said("1", "ann", "[1] > [2] > [3]"),
            said("1", "bob", "[1] > [2] > [3]"),
            said("2", "ann", "[1] > [2] > [3]"),
            said("2", "bob", "[3] > [2] > [1]"),
            // One pair of three turned: tau 1/3.
            said("3", "cyd", "[2] > [1] > [3]"),
            said("3", "ann", "[1] > [2] > [3]"),
            said("3", "bob", "cannot tell"),
            said("4", "dan", "[1] > [2] > [3]"),
            // Nothing is said by a tie of everything, so there is no tau.
            said("5", "eve", "[1] = [2] = [3]"),
            said("5", "dan", "[1] > [2] > [3]"),
        ]);
        let by_name = |name: &str| stats.iter().find(|one| one.annotator == name).unwrap();
        let ann = by_name("ann");
        assert_eq!((ann.ranked, ann.skipped, ann.common_tasks), (3, 0, 3));
        assert!((ann.tau_b.unwrap() - 1.0 / 9.0).abs() < 1e-12, "{ann:?}");
        let bob = by_name("bob");
        assert_eq!((bob.ranked, bob.skipped, bob.common_tasks), (2, 1, 2));
        assert_eq!((bob.tau_b, bob.mean_seconds), (Some(0.0), Some(4.0)));
        assert!((by_name("cyd").tau_b.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((by_name("dan").tau_b, by_name("dan").common_tasks), (None, 1));
        assert_eq!(stats.len(), 5);
    }
}
