use proptest::prelude::*;

use super::*;
use crate::testing::permutations;

const ALL: [Aggregator; 5] = [
    Aggregator::Borda,
    Aggregator::Copeland,
    Aggregator::Kemeny,
    Aggregator::BradleyTerry,
    Aggregator::PlackettLuce,
];

fn parse(texts: &[&str], candidates: usize) -> Vec<Ranking> {
    texts.iter().map(|text| Ranking::parse(text, candidates).unwrap()).collect()
}

fn shown(by: Aggregator, texts: &[&str], candidates: usize) -> String {
    aggregate(by, &parse(texts, candidates)).unwrap().to_string()
}

#[test]
fn one_ranking_stays_what_it_is() {
    for by in ALL {
        for text in ["[2] > [1] > [3]", "[3] > [1] = [2]", "[1] = [2] = [3]"] {
            assert_eq!(shown(by, &[text], 3), text, "{by:?}");
        }
    }
}

/// Three judges of 10, 7 and 5 votes, worked by hand.
#[test]
fn the_rules_differ_where_they_should() {
    let rankings = parse(&["[1] > [2] > [3]", "[2] > [3] > [1]", "[3] > [2] > [1]"], 3);
    let weights = [10.0, 7.0, 5.0];
    let by = |by| aggregate_weighted(by, &rankings, &weights).unwrap().to_string();
    // Wins: 1 over 2 and over 3 ten times of 22; 2 over 1 twelve, over 3 seventeen; 3 over 1 twelve,
    // over 2 five. Shares: 20/44, 29/44, 17/44.
    assert_eq!(by(Aggregator::Borda), "[2] > [1] > [3]");
    // 2 beats both, 3 beats 1.
    assert_eq!(by(Aggregator::Copeland), "[2] > [3] > [1]");
    // 2 3 1 disagrees 5 + 10 + 10 = 25 times; 2 1 3: 12 + 10 + 5 = 27; 1 2 3: 29.
    assert_eq!(by(Aggregator::Kemeny), "[2] > [3] > [1]");
}

#[test]
fn even_evidence_is_a_tie() {
    for by in ALL {
        assert_eq!(shown(by, &["[1] > [2] > [3]", "[2] > [1] > [3]"], 3), "[1] = [2] > [3]");
        // A cycle: three orders are optimal, and none is preferred.
        let cycle = ["[1] > [2] > [3]", "[2] > [3] > [1]", "[3] > [1] > [2]"];
        assert_eq!(shown(by, &cycle, 3), "[1] = [2] = [3]", "{by:?}");
    }
}

#[test]
fn what_no_ranking_places_stays_unplaced() {
    for by in ALL {
        let rankings = parse(&["[2] > [1]", "[2] > [4]"], 4);
        let one = aggregate(by, &rankings).unwrap();
        assert_eq!(one.levels()[2], None, "{by:?}");
        assert_eq!(one.levels()[1], Some(0), "{by:?}");
        assert_eq!(one.n_placed(), 3);
    }
}

/// Strengths once shrank to nothing where a tie of all was among the rankings.
#[test]
fn a_tie_of_all_beside_a_preference_leaves_the_preference() {
    for by in ALL {
        assert_eq!(shown(by, &["[1] > [2]", "[1] = [2]"], 2), "[1] > [2]", "{by:?}");
        let pairs = ["[1] > [2]", "[1] > [3]", "[2] = [3]"];
        assert_eq!(shown(by, &pairs, 3), "[1] > [2] = [3]", "{by:?}");
    }
}

/// The logarithms of equal strengths are some 1e-16, and no order is read out of them.
#[test]
fn every_cyclic_shift_of_an_order_together_is_a_tie_of_all() {
    for n in 2..8 {
        let shift =
            |k: usize| Ranking::from_order(&(0..n).map(|i| (i + k) % n).collect::<Vec<_>>());
        let rankings: Vec<Ranking> = (0..n).map(|k| shift(k).unwrap()).collect();
        for by in ALL {
            assert!(aggregate(by, &rankings).unwrap().is_all_tied(), "{by:?} {n}");
        }
    }
}

#[test]
fn weights_count_as_copies_and_a_weight_of_zero_as_none() {
    let rankings = parse(&["[1] > [2] > [3]", "[3] > [1] > [2]", "[2] > [3] > [1]"], 3);
    let copied: Vec<Ranking> = [0, 0, 1, 1, 1].iter().map(|i| rankings[*i].clone()).collect();
    for by in ALL {
        let weighted = aggregate_weighted(by, &rankings, &[2.0, 3.0, 0.0]).unwrap();
        assert_eq!(weighted, aggregate(by, &copied).unwrap(), "{by:?}");
    }
    for weights in [&[1.0, 1.0][..], &[0.0, 0.0, 0.0], &[1.0, f64::NAN, 1.0], &[1.0, -1.0, 1.0]] {
        let error = aggregate_weighted(Aggregator::Borda, &rankings, weights).unwrap_err();
        assert_eq!(error, AggregateError::Weights);
    }
}

#[test]
fn what_cannot_be_aggregated_is_said() {
    assert_eq!(aggregate(Aggregator::Borda, &[]), Err(AggregateError::Nothing));
    let unlike = [Ranking::all_tied(2).unwrap(), Ranking::all_tied(3).unwrap()];
    let error = aggregate(Aggregator::Borda, &unlike).unwrap_err();
    assert_eq!(error, AggregateError::DifferentLengths { left: 2, right: 3 });
    let many = [Ranking::all_tied(KEMENY_LIMIT + 1).unwrap()];
    let error = aggregate(Aggregator::Kemeny, &many).unwrap_err();
    assert!(error.to_string().contains("borda"), "{error}");
    assert!(aggregate(Aggregator::Borda, &many).is_ok());
}

/// A small tournament: 1 beat 2 three times of four, 2 beat 3 twice of three, 1 and 3 tied once.
#[test]
fn bradley_terry_finds_the_strengths_that_maximise_the_likelihood() {
    let rankings = parse(
        &[
            "[1] > [2]",
            "[1] > [2]",
            "[1] > [2]",
            "[2] > [1]",
            "[2] > [3]",
            "[2] > [3]",
            "[3] > [2]",
            "[1] = [3]",
        ],
        3,
    );
    let kept: Vec<(&Ranking, f64)> = rankings.iter().map(|r| (r, 1.0)).collect();
    let wins = Wins::count(&kept, &[0, 1, 2]);
    let theta = strength::bradley_terry(&wins);
    // The gradient of the penalised log-likelihood vanishes.
    for i in 0..3 {
        let mut slope = PRIOR_WINS - 1.0 / (1.0 + (-theta[i]).exp());
        for j in 0..3 {
            if i != j {
                let games = wins.of(i, j) + wins.of(j, i);
                slope += wins.of(i, j) - games / (1.0 + (theta[j] - theta[i]).exp());
            }
        }
        assert!(slope.abs() < 1e-8, "{i}: {slope}");
    }
    assert!(theta[0] > theta[1] && theta[1] > theta[2]);
}

const PRIOR_WINS: f64 = 0.5;

/// One to four rankings of two to five candidates, `complete` or with gaps.
fn rankings(complete: bool) -> impl Strategy<Value = Vec<Ranking>> {
    (2_usize..6).prop_flat_map(move |n| {
        let rank = proptest::option::weighted(0.85, 0..n)
            .prop_map(move |rank| rank.or(complete.then_some(0)));
        let ranking = proptest::collection::vec(rank, n)
            .prop_map(|ranks| Ranking::from_ranks(ranks).unwrap());
        proptest::collection::vec(ranking, 1..5)
    })
}

proptest! {
    /// Renaming the candidates renames the outcome; the order of the rankings says nothing.
    #[test]
    fn neither_names_nor_order_matter(rankings in rankings(false), seed in 0_usize..720) {
        let n = rankings[0].len();
        let mut permutation: Vec<usize> = (0..n).collect();
        let mut rest = seed;
        for i in (1..n).rev() {
            permutation.swap(i, rest % (i + 1));
            rest /= i + 1;
        }
        let renamed: Vec<Ranking> =
            rankings.iter().rev().map(|r| r.permute(&permutation).unwrap()).collect();
        for by in ALL {
            let whole = aggregate(by, &rankings).unwrap();
            prop_assert_eq!(
                aggregate(by, &renamed).unwrap(), whole.permute(&permutation).unwrap(), "{:?}", by
            );
        }
    }

    /// What all say, the one says.
    #[test]
    fn a_unanimous_preference_is_kept(rankings in rankings(true)) {
        let n = rankings[0].len();
        for by in ALL {
            let one = aggregate(by, &rankings).unwrap();
            for i in 0..n {
                for j in 0..n {
                    if rankings.iter().all(|r| r.levels()[i] < r.levels()[j]) {
                        prop_assert!(one.levels()[i] < one.levels()[j], "{:?}: {} {}", by, i, j);
                    }
                }
            }
        }
    }

    /// Kemeny's cost against every order tried one by one.
    #[test]
    fn kemeny_is_exact(rankings in rankings(false)) {
        let kept: Vec<(&Ranking, f64)> = rankings.iter().map(|r| (r, 1.0)).collect();
        let n = rankings[0].len();
        let all: Vec<usize> = (0..n).collect();
        let wins = Wins::count(&kept, &all);
        let orders = permutations(n);
        let cost = |order: &Vec<usize>| -> f64 {
            (0..n).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| wins.of(order[a], order[b])).sum()
        };
        let least = orders.iter().map(cost).fold(f64::INFINITY, f64::min);
        let best: Vec<&Vec<usize>> = orders.iter().filter(|o| cost(o) < least + 1e-9).collect();
        let means = kemeny::mean_positions(&wins);
        for (candidate, found) in means.iter().enumerate() {
            let sum: usize =
                best.iter().map(|o| o.iter().position(|c| *c == candidate).unwrap()).sum();
            let mean = sum as f64 / best.len() as f64;
            prop_assert!((mean - found).abs() < 1e-9, "{} {}", mean, found);
        }
    }
}
