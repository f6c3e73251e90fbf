//! Constructors, accessors and what is refused.

use proptest::prelude::*;

use super::*;
use crate::testing::{any_ranking, shuffled};

fn ranking(blocks: &[&[usize]], candidates: usize) -> Ranking {
    let blocks: Vec<Vec<usize>> = blocks.iter().map(|b| b.to_vec()).collect();
    Ranking::from_blocks(&blocks, candidates).unwrap()
}

#[test]
fn ties_and_gaps_take_up_positions() {
    let r = ranking(&[&[3], &[0, 4]], 6);
    assert_eq!(r.levels(), [Some(1), None, None, Some(0), Some(1), None]);
    assert_eq!(r.blocks(), vec![vec![3], vec![0, 4]]);
    assert_eq!(r.unplaced(), [1, 2, 5]);
    assert_eq!(r.n_placed(), 3);
    assert_eq!(r.spans(), [1..3, 3..6, 3..6, 0..1, 1..3, 3..6]);
    assert_eq!(r.mean_positions(), [1.5, 4.0, 4.0, 0.0, 1.5, 4.0]);
    assert!(!r.is_complete() && !r.is_strict() && !r.is_all_tied());
}

#[test]
fn constructors_agree_on_one_order() {
    let order = Ranking::from_order(&[2, 0, 1]).unwrap();
    assert!(order.is_strict());
    assert_eq!(order, Ranking::from_scores(&[0.5, -1.0, 7.0]).unwrap());
    assert_eq!(order, Ranking::from_ranks(vec![Some(5), Some(9), Some(2)]).unwrap());
    assert_eq!(order, ranking(&[&[2], &[], &[0], &[1]], 3));
}

#[test]
fn equal_scores_tie_and_infinities_are_ordered() {
    let scores = [f64::NEG_INFINITY, 0.0, f64::INFINITY, -0.0];
    assert_eq!(Ranking::from_scores(&scores).unwrap(), ranking(&[&[2], &[1, 3], &[0]], 4));
}

#[test]
fn what_is_no_ranking_is_named() {
    use InvalidRanking as E;
    assert_eq!(Ranking::from_order(&[]), Err(E::Empty));
    assert_eq!(Ranking::from_scores(&[]), Err(E::Empty));
    assert_eq!(Ranking::from_scores(&[1.0, f64::NAN]), Err(E::NotANumber { candidate: 1 }));
    assert_eq!(Ranking::from_order(&[0, 0]), Err(E::Repeated { candidate: 0 }));
    assert_eq!(
        Ranking::from_order(&[0, 2]),
        Err(E::UnknownCandidate { candidate: 2, candidates: 2 })
    );
    assert_eq!(
        Ranking::from_order(&[0, 2]).unwrap_err().to_string(),
        "candidate 2 does not exist, there are 2 (0 to 1)"
    );
    let r = ranking(&[&[0], &[1]], 2);
    assert_eq!(r.permute(&[0]), Err(E::Length { got: 1, expected: 2 }));
    assert_eq!(r.permute(&[1, 1]), Err(E::Repeated { candidate: 1 }));
    assert_eq!(r.restrict(&[]), Err(E::Empty));
}

#[test]
fn saying_nothing_is_being_all_tied() {
    assert!(Ranking::all_tied(4).unwrap().is_all_tied());
    assert!(ranking(&[], 3).is_all_tied());
    assert!(ranking(&[&[0]], 1).is_all_tied());
    assert!(!ranking(&[&[0]], 2).is_all_tied());
}

#[test]
fn restricting_keeps_ties_and_order() {
    let r = ranking(&[&[3], &[0, 4], &[1]], 5);
    assert_eq!(r.restrict(&[1, 4, 0, 2]).unwrap(), ranking(&[&[1, 2], &[0]], 4));
    assert_eq!(r.reversed(), ranking(&[&[1], &[0, 4], &[3]], 5));
    assert_eq!(r.unplaced_last(), ranking(&[&[3], &[0, 4], &[1], &[2]], 5));
}

#[test]
fn json_is_a_list_of_ranks() {
    let r: Ranking = serde_json::from_str("[20, null, 3, 20]").unwrap();
    assert_eq!(r, ranking(&[&[2], &[0, 3]], 4));
    assert_eq!(serde_json::to_string(&r).unwrap(), "[1,null,0,1]");
    assert!(serde_json::from_str::<Ranking>("[]").is_err());
}

proptest! {
    #[test]
    fn positions_are_handed_out_exactly_once(r in any_ranking(9)) {
        let g = r.len() as f64;
        let sum: f64 = r.mean_positions().iter().sum();
        prop_assert!((sum - g * (g - 1.0) / 2.0).abs() < 1e-9);
        prop_assert_eq!(r.blocks().concat().len(), r.n_placed());
        prop_assert_eq!(Ranking::from_blocks(&r.blocks(), r.len()).unwrap(), r);
    }

    #[test]
    fn permuting_moves_what_is_known_of_each_candidate(
        (r, permutation) in any_ranking(9).prop_flat_map(|r| { let p = shuffled(r.len()); (Just(r), p) })
    ) {
        let moved = r.permute(&permutation).unwrap();
        for (i, &from) in permutation.iter().enumerate() {
            prop_assert_eq!(&moved.spans()[i], &r.spans()[from]);
        }
    }

    #[test]
    fn json_round_trips(r in any_ranking(9)) {
        let json = serde_json::to_string(&r).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ranking>(&json).unwrap(), r);
    }
}
