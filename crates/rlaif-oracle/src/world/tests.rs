//! Tests of the `world` Oracle.

use rlaif_data::Example;
use rlaif_rank::kendall_tau_b;
use rlaif_world::{Split, WorldConfig, examples};

use super::*;
use crate::testing::request;

fn oracle(tau: f64, seed: u64) -> WorldOracle {
    WorldOracle::new(WorldOracleConfig { tau, seed, ..WorldOracleConfig::default() }).unwrap()
}

/// A question about colors, and answers from right to empty.
fn colors() -> RankRequest {
    let row = |index| {
        examples(&WorldConfig::default(), Split::Train, index).into_iter().find(|row| {
            row.choices.is_none() && row.category.as_deref() == Some("attribute_perception")
        })
    };
    let example: Example = (0..50).find_map(row).unwrap();
    let right = example.reference.clone().unwrap();
    let candidates =
        vec![String::new(), right.clone(), format!("{right} {right}"), "pink circus".to_owned()];
    RankRequest { example, candidates }
}

fn verdict(oracle: &WorldOracle, request: &RankRequest) -> Ranking {
    let mut results = oracle.rank(std::slice::from_ref(request), &Cancel::new());
    results.remove(0).unwrap().ranking
}

#[test]
fn without_noise_the_verdict_is_the_truth() {
    assert_eq!(verdict(&oracle(1.0, 5), &colors()).to_string(), "[2] > [3] > [4] > [1]");
}

#[test]
fn the_same_group_gets_the_same_verdict_and_noise_is_as_stated() {
    let (mut sum, mut seen) = (0.0, std::collections::BTreeSet::new());
    let n = 4000;
    let truth = verdict(&oracle(1.0, 0), &colors());
    for seed in 0..n {
        let noisy = verdict(&oracle(0.4, seed), &colors());
        if seed < 20 {
            assert_eq!(noisy, verdict(&oracle(0.4, seed), &colors()));
        }
        sum += kendall_tau_b(&truth, &noisy).unwrap();
        seen.insert(noisy.to_string());
    }
    let mean = sum / n as f64;
    assert!((mean - 0.4).abs() < 0.03, "{mean}");
    assert_eq!(seen.len(), 24, "every order occurs");
}

/// Runs are compared over versions: the noise of a seed does not change.
#[test]
fn the_noise_of_a_seed_is_pinned() {
    let verdicts: Vec<String> =
        (0..4).map(|seed| verdict(&oracle(0.4, seed), &colors()).to_string()).collect();
    let truth = "[2] > [3] > [4] > [1]";
    assert_eq!(verdicts, [truth, "[2] > [1] > [3] > [4]", truth, truth]);
}

#[test]
fn other_examples_and_candidates_have_other_noise() {
    let (one, two) = (colors(), colors());
    let other = RankRequest { example: Example { id: "another".to_owned(), ..two.example }, ..two };
    let verdicts = |request: &RankRequest| -> Vec<Ranking> {
        (0..20).map(|seed| verdict(&oracle(0.0, seed), request)).collect()
    };
    assert_ne!(verdicts(&one), verdicts(&other));
}

#[test]
fn settings_and_foreign_rows_are_refused_by_name() {
    for tau in [-0.1, 1.5, f64::NAN] {
        let error = WorldOracle::new(WorldOracleConfig { tau, ..WorldOracleConfig::default() })
            .unwrap_err();
        assert!(error.to_string().contains("`tau` of the world oracle"), "{error}");
    }
    let results = oracle(1.0, 0).rank(&[request("row-7", &["p", "q"]), colors()], &Cancel::new());
    let error = results[0].as_ref().unwrap_err();
    assert!(matches!(error, OracleError::NotOfTheWorld { example, .. } if example == "row-7"));
    assert!(error.to_string().contains("ClipWorld examples alone"), "{error}");
    assert!(results[1].is_ok());
    let nothing = RankRequest { candidates: vec![], ..colors() };
    let results = oracle(1.0, 0).rank(&[nothing], &Cancel::new());
    assert!(matches!(results[0], Err(OracleError::NoCandidates { .. })));
}

/// The answers of [`colors`] score 0, 1, 0.9525 (a word too many) and 0.0452 (two unknown words).
#[test]
fn a_coarse_judge_ties_what_one_step_holds() {
    let coarse = |levels| {
        let config = WorldOracleConfig { levels: Some(levels), ..WorldOracleConfig::default() };
        verdict(&WorldOracle::new(config).unwrap(), &colors()).to_string()
    };
    assert_eq!(coarse(2), "[2] = [3] > [1] = [4]");
    assert_eq!(coarse(20), "[2] = [3] > [1] = [4]");
    // The second answer is in the last step but one, and the unknown words are in the second.
    assert_eq!(coarse(40), "[2] > [3] > [4] > [1]");
}

/// Noise comes after coarsening: `tau` is to the coarse order, and its ties stay.
#[test]
fn noise_is_to_the_coarse_order() {
    let request = colors();
    let of = |tau, seed| {
        let config = WorldOracleConfig { tau, seed, levels: Some(2), unplaced: 0.0 };
        verdict(&WorldOracle::new(config).unwrap(), &request)
    };
    let coarse = of(1.0, 0);
    let (mut sum, mut seen) = (0.0, std::collections::BTreeSet::new());
    let n = 4000;
    for seed in 0..n {
        let noisy = of(0.4, seed);
        sum += kendall_tau_b(&coarse, &noisy).unwrap();
        seen.insert(noisy.to_string());
    }
    // Standard error 0.015: two blocks agree or do not.
    let mean = sum / n as f64;
    assert!((mean - 0.4).abs() < 0.06, "{mean}");
    let both = ["[1] = [4] > [2] = [3]", "[2] = [3] > [1] = [4]"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), both);
}

/// Of four candidates with p = 0.3 each, the expected number left out is 1.2, less 1 where it would
/// be three (4 * 0.3^3 * 0.7 = 0.0756) and less 2 where it would be all (0.0081): 1.1082.
#[test]
fn gaps_are_as_many_as_stated_and_leave_the_noise_as_it_is() {
    let request = colors();
    let of = |tau, seed, unplaced| {
        let config = WorldOracleConfig { tau, seed, levels: None, unplaced };
        verdict(&WorldOracle::new(config).unwrap(), &request)
    };
    let truth = of(1.0, 0, 0.0);
    let n = 4000;
    let (mut left_out, mut sum) = (0, 0.0);
    for seed in 0..n {
        let partial = of(0.4, seed, 0.3);
        let complete = of(0.4, seed, 0.0);
        if seed < 50 {
            assert_eq!(partial, of(0.4, seed, 0.3));
            assert_eq!(partial.unplaced(), of(0.9, seed, 0.3).unplaced(), "the same at any tau");
        }
        let placed: Vec<usize> =
            (0..4).filter(|candidate| partial.levels()[*candidate].is_some()).collect();
        assert!(placed.len() >= 2);
        let rest = complete.restrict(&placed).unwrap();
        assert_eq!(partial.restrict(&placed).unwrap(), rest, "those placed keep their order");
        left_out += partial.unplaced().len();
        sum += kendall_tau_b(&truth.restrict(&placed).unwrap(), &rest).unwrap();
    }
    let mean = left_out as f64 / n as f64;
    assert!((mean - 1.1082).abs() < 0.05, "{mean}");
    let tau = sum / n as f64;
    assert!((tau - 0.4).abs() < 0.04, "{tau}");
}

/// Copies count once, whether or not they were merged before: with all but two of the distinct
/// ones left out, both copies of one are, or neither.
#[test]
fn copies_are_left_out_together() {
    let mut request = colors();
    request.candidates.push(request.candidates[1].clone());
    let mut sizes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let config = WorldOracleConfig { seed, unplaced: 0.99, ..WorldOracleConfig::default() };
        let partial = verdict(&WorldOracle::new(config).unwrap(), &request);
        assert_eq!(partial.levels()[1], partial.levels()[4]);
        sizes.insert(partial.n_placed());
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [2, 3]);
    // Two distinct answers: both stay.
    request.candidates = vec!["red".to_owned(), "blue".to_owned(), "red".to_owned()];
    let config = WorldOracleConfig { unplaced: 0.99, ..WorldOracleConfig::default() };
    assert!(verdict(&WorldOracle::new(config).unwrap(), &request).is_complete());
}

#[test]
fn levels_and_gaps_out_of_range_are_refused_by_name() {
    for levels in [0, 1] {
        let config = WorldOracleConfig { levels: Some(levels), ..WorldOracleConfig::default() };
        let error = WorldOracle::new(config).unwrap_err().to_string();
        assert!(error.contains("`levels` of the world oracle"), "{error}");
    }
    for unplaced in [-0.1, 1.0, f64::NAN] {
        let config = WorldOracleConfig { unplaced, ..WorldOracleConfig::default() };
        let error = WorldOracle::new(config).unwrap_err().to_string();
        assert!(error.contains("`unplaced` of the world oracle"), "{error}");
    }
    let config: WorldOracleConfig =
        serde_json::from_str(r#"{"levels": 3, "unplaced": 0.25}"#).unwrap();
    let expected =
        WorldOracleConfig { levels: Some(3), unplaced: 0.25, ..WorldOracleConfig::default() };
    assert_eq!(config, expected);
    assert!(WorldOracle::new(config).is_ok());
}

#[test]
fn cancelled_means_cancelled() {
    let cancel = Cancel::new();
    cancel.cancel();
    let results = oracle(1.0, 0).rank(&[colors()], &cancel);
    assert!(matches!(&results[0], Err(OracleError::Cancelled { .. })));
}
