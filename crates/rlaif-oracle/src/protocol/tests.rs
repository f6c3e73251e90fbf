//! Judges of known character under every protocol.

mod settings;

use std::collections::HashSet;

use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rlaif_rank::{Aggregator, Ranking};

use super::*;

const AGGREGATORS: [Aggregator; 5] = [
    Aggregator::Borda,
    Aggregator::Copeland,
    Aggregator::Kemeny,
    Aggregator::BradleyTerry,
    Aggregator::PlackettLuce,
];

/// Every protocol with enough questions to order `n` candidates.
fn protocols(n: usize) -> Vec<ProtocolConfig> {
    let mut all = vec![ProtocolConfig::Listwise, ProtocolConfig::Pointwise { min: -20, max: 20 }];
    for both_orders in [false, true] {
        let budget = n * (n - 1) / 2 * (1 + usize::from(both_orders));
        for schedule in [Schedule::All, Schedule::Network, Schedule::Tournament { budget }] {
            all.push(ProtocolConfig::Pairwise { schedule, both_orders });
        }
    }
    for (window, stride) in [(2, 1), (3, 1), (3, 2), (4, 2), (20, 10)] {
        let passes = u32::try_from(n.div_ceil(window - stride)).unwrap();
        all.push(ProtocolConfig::Sliding { window, stride, passes });
    }
    all
}

/// Answers every question, in an order that `arrival` decides. Gives the outcome and what was asked.
fn run(
    settings: &ProtocolSettings,
    n: usize,
    seed: u64,
    arrival: u64,
    judge: &dyn Fn(&Question) -> Option<Said>,
) -> (Outcome, Vec<Question>) {
    let mut rng = ChaCha8Rng::seed_from_u64(arrival);
    let mut plan = Plan::new(settings, n, seed).unwrap();
    let (mut open, mut asked, mut tickets) = (Vec::new(), Vec::new(), HashSet::new());
    loop {
        if open.is_empty() || rng.random_bool(0.5) {
            for (ticket, question) in plan.ready() {
                assert!(tickets.insert(ticket), "ticket {ticket} was handed out twice");
                open.push((ticket, question));
            }
        }
        if open.is_empty() {
            return (plan.outcome().expect("nothing is open"), asked);
        }
        assert_eq!(plan.outcome(), None);
        let (ticket, question) = open.swap_remove(rng.random_range(0..open.len()));
        plan.answer(ticket, judge(&question));
        asked.push(question);
    }
}

/// A judge who is sure of `truth`.
fn perfect(truth: &Ranking) -> impl Fn(&Question) -> Option<Said> + use<> {
    let truth = truth.clone();
    move |question| {
        Some(match question.kind {
            QuestionKind::Pointwise { .. } => {
                Said::Score(-(truth.levels()[question.shown[0]].unwrap() as f64))
            }
            _ => Said::Order(truth.restrict(&question.shown).unwrap()),
        })
    }
}

/// A judge who gives the order shown.
#[expect(clippy::unnecessary_wraps, reason = "it is a judge like the others")]
fn first_shown(question: &Question) -> Option<Said> {
    let order: Vec<usize> = (0..question.shown.len()).collect();
    Some(Said::Order(Ranking::from_order(&order).unwrap()))
}

fn settings(protocol: ProtocolConfig, repeats: u32, aggregator: Aggregator) -> ProtocolSettings {
    ProtocolSettings { protocol, repeats, aggregator }
}

fn weak_order() -> impl Strategy<Value = Ranking> {
    (2_usize..9)
        .prop_flat_map(|n| proptest::collection::vec(0..n, n))
        .prop_map(|ranks| Ranking::from_ranks(ranks.into_iter().map(Some).collect()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_sure_judge_is_understood_under_every_protocol(
        truth in weak_order(), seed: u64, repeats in 1_u32..5, by in 0_usize..5,
    ) {
        let n = truth.len();
        for protocol in protocols(n) {
            let settings = settings(protocol, repeats, AGGREGATORS[by]);
            let (outcome, asked) = run(&settings, n, seed, seed, &perfect(&truth));
            prop_assert_eq!(outcome.ranking.as_ref(), Some(&truth), "{:?}", settings);
            prop_assert_eq!(outcome.votes.len(), repeats as usize);
            prop_assert_eq!((outcome.unanswered, outcome.abstained), (0, 0));
            let most = settings.most_questions(n);
            let exact = !matches!(
                protocol, ProtocolConfig::Pairwise { schedule: Schedule::Network, .. }
            );
            prop_assert!(asked.len() <= most, "{} {}", asked.len(), most);
            prop_assert!(!exact || asked.len() == most, "{:?}: {}", settings, asked.len());
            let distinct: HashSet<&Question> = asked.iter().collect();
            if !matches!(protocol, ProtocolConfig::Sliding { .. }) {
                prop_assert_eq!(distinct.len(), asked.len(), "the same was asked twice");
            }
        }
    }

    /// Any judge at all: what it says depends on the question alone, a part of it on its slots.
    #[test]
    fn the_outcome_does_not_depend_on_the_order_of_arrival(
        n in 2_usize..8, seed: u64, repeats in 1_u32..4, arrivals: (u64, u64), by in 0_usize..5,
    ) {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let judge = |question: &Question| {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, question));
            let mut rng = ChaCha8Rng::seed_from_u64(hash);
            Some(match (rng.random_range(0..12), question.kind) {
                (0, _) => return None,
                (1, _) => Said::Abstained("too dark".to_owned()),
                (_, QuestionKind::Pointwise { .. }) => Said::Score(f64::from(rng.random_range(0..4))),
                (kind, _) => {
                    let rank = |_| rng.random_range(0..4_usize).checked_sub(usize::from(kind == 2));
                    Said::Order(Ranking::from_ranks(question.shown.iter().map(rank).collect()).unwrap())
                }
            })
        };
        for protocol in protocols(n) {
            let settings = settings(protocol, repeats, AGGREGATORS[by]);
            let (one, asked) = run(&settings, n, seed, arrivals.0, &judge);
            let (other, _) = run(&settings, n, seed, arrivals.1, &judge);
            prop_assert_eq!(&one, &other, "{:?}", settings);
            prop_assert!(one.unanswered + one.abstained <= asked.len());
            prop_assert_eq!(one.ranking.is_some(), !one.votes.is_empty());
        }
    }

    #[test]
    fn a_judge_who_likes_the_first_slot_ties_all(n in 2_usize..8, seed: u64, by in 0_usize..5) {
        let tied = Ranking::all_tied(n).unwrap();
        let repeats = u32::try_from(n).unwrap();
        let mut judged = vec![
            settings(ProtocolConfig::Listwise, repeats, AGGREGATORS[by]),
        ];
        // Plackett-Luce looks at the best first: an order and its reverse do not cancel.
        if AGGREGATORS[by] != Aggregator::PlackettLuce {
            judged.push(settings(ProtocolConfig::Listwise, 2, AGGREGATORS[by]));
        }
        let full = Schedule::Tournament { budget: n * (n - 1) };
        for schedule in [Schedule::All, Schedule::Network, full] {
            let protocol = ProtocolConfig::Pairwise { schedule, both_orders: true };
            judged.push(settings(protocol, 1, AGGREGATORS[by]));
        }
        for settings in judged {
            let (outcome, _) = run(&settings, n, seed, seed, &first_shown);
            prop_assert_eq!(outcome.ranking.as_ref(), Some(&tied), "{:?}", settings);
        }
    }

    /// What is never answered is missing: a candidate nobody was heard about is in no order, and the
    /// others keep the order they have.
    #[test]
    fn a_candidate_without_evidence_is_unplaced(truth in weak_order(), seed: u64) {
        let n = truth.len();
        let lost = usize::try_from(seed % n as u64).unwrap();
        let judge = perfect(&truth);
        let deaf = |question: &Question| {
            (!question.shown.contains(&lost)).then(|| judge(question)).flatten()
        };
        let others: Vec<usize> = (0..n).filter(|candidate| *candidate != lost).collect();
        let full = Schedule::Tournament { budget: n * (n - 1) };
        for (protocol, whole) in [
            (ProtocolConfig::Pointwise { min: 0, max: 9 }, true),
            (ProtocolConfig::Pairwise { schedule: Schedule::All, both_orders: true }, n > 2),
            (ProtocolConfig::Pairwise { schedule: full, both_orders: true }, n > 2),
            (ProtocolConfig::Pairwise { schedule: Schedule::Network, both_orders: true }, false),
            (ProtocolConfig::Sliding { window: 2, stride: 1, passes: 1 }, false),
        ] {
            let (outcome, _) = run(&settings(protocol, 1, Aggregator::Borda), n, seed, 0, &deaf);
            prop_assert!(outcome.unanswered > 0);
            if let Some(ranking) = &outcome.ranking {
                prop_assert_eq!(ranking.levels()[lost], None, "{:?}", protocol);
            }
            if whole {
                let ranking = outcome.ranking.unwrap();
                prop_assert_eq!(
                    ranking.restrict(&others).unwrap(), truth.restrict(&others).unwrap()
                );
            }
        }
    }
}

#[test]
fn nothing_usable_is_no_ranking_and_is_counted() {
    for protocol in protocols(4) {
        let settings = settings(protocol, 2, Aggregator::Borda);
        let (outcome, asked) = run(&settings, 4, 1, 1, &|_| None);
        assert_eq!((outcome.ranking, outcome.votes), (None, Vec::new()), "{protocol:?}");
        assert_eq!((outcome.unanswered, outcome.abstained), (asked.len(), 0));

        let silent = |_: &Question| Some(Said::Abstained("no clip".to_owned()));
        let (outcome, asked) = run(&settings, 4, 1, 1, &silent);
        assert_eq!(outcome.ranking, None, "{protocol:?}");
        assert_eq!((outcome.unanswered, outcome.abstained), (0, asked.len()));
    }
}

#[test]
fn an_answer_that_does_not_fit_is_none() {
    let wrong = [
        Said::Score(3.0),
        Said::Order(Ranking::all_tied(2).unwrap()),
        Said::Order(Ranking::all_tied(4).unwrap()),
    ];
    for said in wrong {
        let (outcome, _) = run(&ProtocolSettings::default(), 3, 1, 1, &|_| Some(said.clone()));
        assert_eq!((outcome.ranking, outcome.unanswered), (None, 1), "{said:?}");
    }
    let scores = settings(ProtocolConfig::Pointwise { min: 1, max: 10 }, 1, Aggregator::Borda);
    for said in [Said::Score(f64::NAN), Said::Order(Ranking::all_tied(1).unwrap())] {
        let (outcome, _) = run(&scores, 3, 1, 1, &|_| Some(said.clone()));
        assert_eq!((outcome.ranking, outcome.unanswered), (None, 3), "{said:?}");
    }
}

#[test]
fn orders_that_disagree_tie_and_half_a_pair_is_no_evidence() {
    let protocol = ProtocolConfig::Pairwise { schedule: Schedule::All, both_orders: true };
    let both = settings(protocol, 1, Aggregator::Borda);
    let order = |text: &str| Some(Said::Order(Ranking::parse(text, 2).unwrap()));
    let outcome = |when_0_is_first: &str, when_1_is_first: &str| {
        let judge = |question: &Question| match question.shown[0] {
            0 if when_0_is_first.is_empty() => None,
            0 => order(when_0_is_first),
            _ => order(when_1_is_first),
        };
        run(&both, 2, 5, 5, &judge).0.ranking.map(|ranking| ranking.to_string())
    };
    assert_eq!(outcome("[1] > [2]", "[2] > [1]").unwrap(), "[1] > [2]");
    assert_eq!(outcome("[2] > [1]", "[1] > [2]").unwrap(), "[2] > [1]");
    assert_eq!(outcome("[1] > [2]", "[1] > [2]").unwrap(), "[1] = [2]");
    assert_eq!(outcome("[1] > [2]", "[1] = [2]").unwrap(), "[1] = [2]");
    assert_eq!(outcome("", "[2] > [1]"), None);
}

#[test]
fn a_small_tournament_gives_each_a_pair_and_keeps_to_its_budget() {
    for n in 2..10_usize {
        let truth = Ranking::from_order(&(0..n).collect::<Vec<_>>()).unwrap();
        for extra in 0..3 {
            let budget = 2 * (n.div_ceil(2) + extra) + 1;
            let schedule = Schedule::Tournament { budget };
            let protocol = ProtocolConfig::Pairwise { schedule, both_orders: true };
            let settings = settings(protocol, 1, Aggregator::BradleyTerry);
            let (outcome, asked) = run(&settings, n, 11, 0, &perfect(&truth));
            assert!(outcome.ranking.unwrap().is_complete(), "{n} {budget}");
            assert_eq!(asked.len(), (budget - 1).min(n * (n - 1)), "{n} {budget}");
        }
    }
}

/// Two windows of two over three candidates: the first, `[a, b]` at the tail, is unanswered.
#[test]
fn a_window_without_an_answer_leaves_no_presentation_order_behind() {
    let protocol = ProtocolConfig::Sliding { window: 2, stride: 1, passes: 1 };
    let settings = settings(protocol, 1, Aggregator::Borda);
    let mut plan = Plan::new(&settings, 3, 4).unwrap();
    let (ticket, tail) = plan.ready().remove(0);
    plan.answer(ticket, None);
    let (ticket, head) = plan.ready().remove(0);
    assert_eq!(head.shown[1], tail.shown[0]);
    plan.answer(ticket, Some(Said::Order(Ranking::parse("[2] > [1]", 2).unwrap())));
    let ranking = plan.outcome().unwrap().ranking.unwrap();
    assert_eq!(ranking.levels()[head.shown[1]], Some(0));
    assert_eq!(ranking.levels()[head.shown[0]], Some(1));
    assert_eq!(ranking.levels()[tail.shown[1]], None);
}

#[test]
fn one_pass_of_windows_finds_the_best() {
    let n = 30;
    let truth = Ranking::from_order(&(0..n).rev().collect::<Vec<_>>()).unwrap();
    let protocol = ProtocolConfig::Sliding { window: 10, stride: 5, passes: 1 };
    for seed in 0..5 {
        let settings = settings(protocol, 1, Aggregator::Borda);
        let (outcome, asked) = run(&settings, n, seed, 0, &perfect(&truth));
        assert_eq!(asked.len(), 5);
        let blocks = outcome.ranking.unwrap().blocks();
        assert_eq!(blocks[..5], [[29], [28], [27], [26], [25]]);
    }
}

#[test]
#[should_panic(expected = "ticket 0 was answered before")]
fn a_ticket_is_answered_once() {
    let mut plan =
        Plan::new(&settings(ProtocolConfig::Listwise, 2, Aggregator::Borda), 2, 0).unwrap();
    assert_eq!(plan.ready().len(), 2);
    plan.answer(0, None);
    plan.answer(0, None);
}

#[test]
#[should_panic(expected = "ticket 0 was never handed out")]
fn a_ticket_is_handed_out_first() {
    Plan::new(&ProtocolSettings::default(), 2, 0).unwrap().answer(0, None);
}
