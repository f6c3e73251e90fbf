//! Joins two checkpoints' answers to the same questions.

use std::collections::BTreeMap;

use crate::item::ItemResult;
use crate::measure::Measure;

/// Two lists of answers that are not answers to the same questions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A question that only one of the two answered.
    #[error(
        "item `{id}` was answered {answered} but not {missing} ({more} more like it); \
         evaluate both checkpoints on the same data"
    )]
    Unpaired {
        /// The item.
        id: String,
        /// `before` or `after`.
        answered: &'static str,
        /// The other of the two.
        missing: &'static str,
        /// How many more ids lack a partner on that side.
        more: usize,
    },
    /// An id that stands for two answers on one side.
    #[error("item `{id}` appears twice {side}; give every row its own id")]
    Repeated {
        /// The item.
        id: String,
        /// `before` or `after`.
        side: &'static str,
    },
    /// One id, two different questions.
    #[error(
        "item `{id}` is not the same question before and after (its video, question, options or \
         reference differ); evaluate both checkpoints on the same data"
    )]
    Different {
        /// The item.
        id: String,
    },
    /// An answer was graded on one side only.
    #[error("item `{id}` has {label} on one side only; grade both in one way", label = measure.label())]
    Ungraded {
        /// The item.
        id: String,
        /// The measure.
        measure: Measure,
    },
    /// No question is graded by the measure.
    #[error("no answers with {label} to compare", label = measure.label())]
    NoItems {
        /// The measure.
        measure: Measure,
    },
}

/// One question's two values.
pub(crate) struct Pair<'a> {
    pub(crate) item: &'a ItemResult,
    pub(crate) before: f64,
    pub(crate) after: f64,
}

/// Joins two lists of answers by item id, in order of id. Questions to which the measure does not
/// apply on either side are left out.
pub(crate) fn pairs<'a>(
    before: &'a [ItemResult],
    after: &[ItemResult],
    measure: Measure,
) -> Result<Vec<Pair<'a>>, PairError> {
    let (old, new) = (by_id(before, "before")?, by_id(after, "after")?);
    unpaired(&old, &new, "before", "after")?;
    unpaired(&new, &old, "after", "before")?;
    let mut pairs = Vec::with_capacity(old.len());
    for (id, item) in old {
        let other = new[id];
        let same = item.head == other.head
            && item.choices == other.choices
            && item.reference == other.reference;
        if !same {
            return Err(PairError::Different { id: id.to_owned() });
        }
        match (measure.value(item), measure.value(other)) {
            (Some(before), Some(after)) => pairs.push(Pair { item, before, after }),
            (None, None) => {}
            _ => return Err(PairError::Ungraded { id: id.to_owned(), measure }),
        }
    }
    Ok(pairs)
}

fn by_id<'a>(
    items: &'a [ItemResult],
    side: &'static str,
) -> Result<BTreeMap<&'a str, &'a ItemResult>, PairError> {
    let mut map = BTreeMap::new();
    for item in items {
        if map.insert(item.head.id.as_str(), item).is_some() {
            return Err(PairError::Repeated { id: item.head.id.clone(), side });
        }
    }
    Ok(map)
}

fn unpaired(
    these: &BTreeMap<&str, &ItemResult>,
    those: &BTreeMap<&str, &ItemResult>,
    answered: &'static str,
    missing: &'static str,
) -> Result<(), PairError> {
    let mut alone = these.keys().filter(|id| !those.contains_key(**id));
    match alone.next() {
        None => Ok(()),
        Some(id) => Err(PairError::Unpaired {
            id: (*id).to_owned(),
            answered,
            missing,
            more: alone.count(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::tests::choice;

    fn answers(right: &[bool]) -> Vec<ItemResult> {
        let item = |(i, right): (usize, &bool)| choice(&format!("q{i}"), "c", "v", *right);
        right.iter().enumerate().map(item).collect()
    }

    fn paired(before: &[ItemResult], after: &[ItemResult]) -> Result<usize, PairError> {
        pairs(before, after, Measure::Likelihood).map(|pairs| pairs.len())
    }

    #[test]
    fn different_questions_are_refused() {
        let (four, three) = (answers(&[true; 4]), answers(&[true; 3]));
        let error = paired(&four, &three).unwrap_err().to_string();
        assert!(error.contains("`q3` was answered before but not after"), "{error}");
        let error = paired(&three, &four).unwrap_err().to_string();
        assert!(error.contains("`q3` was answered after but not before"), "{error}");
        let mut other = four.clone();
        other[1].head.question = "how many?".to_owned();
        assert!(matches!(paired(&four, &other), Err(PairError::Different { id }) if id == "q1"));
        let mut twice = four.clone();
        twice[0].head.id = "q1".to_owned();
        assert!(matches!(paired(&twice, &four), Err(PairError::Repeated { side: "before", .. })));
        assert_eq!(paired(&[], &[]).unwrap(), 0);
    }
}
