//! Groups of answers to questions of ClipWorld, with their true order.

use anyhow::Result;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rlaif_data::Example;
use rlaif_world::{Split, WorldConfig, rank_answers};

use crate::candidates::CandidateRow;

/// Clips that are looked at for each group before it is given up for want of different answers.
const PATIENCE: usize = 20;
/// Clips whose answers are lent as wrong ones.
const NEIGHBOURS: u64 = 8;

/// `groups` open questions, one a clip, each with `candidates` different answers: the right one among
/// answers to questions of its kind about other clips. The label is the truth's order, which ties what
/// is equally right. Fewer come where a kind of question has too few answers.
///
/// # Errors
///
/// Where a question is none of ClipWorld's.
pub fn labelled(
    split: Split,
    groups: usize,
    candidates: usize,
    seed: u64,
) -> Result<Vec<CandidateRow>> {
    let config = WorldConfig { seed, ..WorldConfig::default() };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for clip in 0..(groups * PATIENCE) as u64 {
        if rows.len() == groups {
            break;
        }
        let mut questions = open_questions(&config, split, clip);
        questions.shuffle(&mut random);
        let lent: Vec<Example> =
            (1..=NEIGHBOURS).flat_map(|step| open_questions(&config, split, clip + step)).collect();
        for question in questions {
            if let Some(row) = group(question, &lent, candidates, &mut random)? {
                rows.push(row);
                break;
            }
        }
    }
    Ok(rows)
}

fn open_questions(config: &WorldConfig, split: Split, clip: u64) -> Vec<Example> {
    let mut examples = rlaif_world::examples(config, split, clip);
    examples.retain(|example| example.choices.is_none() && example.reference.is_some());
    examples
}

/// The question with its answers; none where there are not enough different ones, or all are as right.
fn group(
    mut question: Example,
    lent: &[Example],
    candidates: usize,
    random: &mut ChaCha8Rng,
) -> Result<Option<CandidateRow>> {
    let Some(right) = question.reference.clone() else { return Ok(None) };
    let mut wrong: Vec<String> = lent
        .iter()
        .filter(|other| other.category == question.category)
        .filter_map(|other| other.reference.clone())
        .filter(|answer| *answer != right)
        .collect();
    wrong.sort();
    wrong.dedup();
    wrong.shuffle(random);
    let mut answers: Vec<String> = std::iter::once(right).chain(wrong).take(candidates).collect();
    if answers.len() < candidates {
        return Ok(None);
    }
    answers.shuffle(random);
    let label = rank_answers(&question, &answers)?;
    if label.is_all_tied() {
        return Ok(None);
    }
    // The row asks; a closing answer is for those who imitate.
    question.messages = question.prompt().to_vec();
    let ranking = Some(label.to_string());
    Ok(Some(CandidateRow { example: question, candidates: answers, ranking }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_different_answers_and_the_right_one_leads() {
        let rows = labelled(Split::Validation, 20, 3, 0).unwrap();
        assert_eq!(rows.len(), 20);
        assert_eq!(rows, labelled(Split::Validation, 20, 3, 0).unwrap(), "the seed decides");
        for row in rows {
            let label = row.parsed_ranking().unwrap();
            let right = row.example.reference.as_ref().unwrap();
            let at = row.candidates.iter().position(|answer| answer == right).unwrap();
            assert_eq!(label.levels()[at], Some(0), "{row:?}");
            assert!(!label.is_all_tied());
        }
    }
}
