//! Tests of the ground truth.

use proptest::prelude::*;

use super::*;
use crate::{
    Color, Direction, Encounter, Motion, Object, Shape, Split, State, WorldConfig, examples,
};

fn object(color: Color, shape: Shape, motion: Motion) -> Object {
    let state = State { x: 16.0, y: 16.0, radius: 4.0, color, visible: true };
    Object { shape, color, color_after: color, motion, event: None, states: vec![state; 8] }
}

/// A red circle that moves left and a blue square that grows.
fn two_objects() -> Scene {
    let objects = vec![
        object(Color::Red, Shape::Circle, Motion::Moves(Direction::Left)),
        object(Color::Blue, Shape::Square, Motion::Grows),
    ];
    let config = WorldConfig::default();
    let (split, index, background, encounter) = (Split::Train, 0, 10, None);
    Scene { config, split, index, background, objects, encounter }
}

fn question(answer: &str, about: &Object) -> Question {
    let asked = facts_of(answer);
    let is_new = |fact: &Fact| !asked.iter().any(|asked| asked.is_of_kind(*fact));
    Question {
        category: Category::ActionRecognition,
        text: "what ?".to_owned(),
        answer: answer.to_owned(),
        distractors: Default::default(),
        harmless: about.facts().into_iter().filter(is_new).collect(),
        describes: false,
    }
}

fn assert_close(got: f64, expected: f64, answer: &str) {
    assert!((got - expected).abs() < 1e-9, "{answer:?}: {got} is not {expected}");
}

fn from_raw(raw: f64) -> f64 {
    if raw < 0.0 { 0.05 * raw.exp() } else { 0.05 + 0.95 * raw }
}

#[test]
fn worked_scores_of_an_action() {
    let scene = two_objects();
    let question = question("moves left", &scene.objects[0]);
    for (answer, raw) in [
        ("moves left", 1.0),
        ("It moves left.", 1.0),
        ("the red circle moves left", 1.0),
        // The direction is wrong, or missing.
        ("moves right", 0.5 - 0.3),
        ("moves", 0.5),
        // Another motion; another object of the clip; one that is not there.
        ("grows", -0.3),
        ("blue square moves left", 1.0 - 0.6),
        ("green triangle moves left", 1.0 - 0.6 - 0.4),
        // Both directions, one word too often, a word that says nothing, a denial.
        ("moves left right", 1.0 - 0.3),
        ("moves left left", 1.0 - 0.05),
        ("moves left quickly", 1.0 - 0.05),
        ("moves not left", 0.5 - 0.3),
        ("hello", -0.05),
    ] {
        assert_close(open_ended(&scene, &question, answer), from_raw(raw), answer);
    }
    for empty in ["", " ", " . ?"] {
        assert_close(open_ended(&scene, &question, empty), 0.0, empty);
    }
}

#[test]
fn worked_scores_of_a_description() {
    let scene = two_objects();
    let mut question = question("red circle moves left", &scene.objects[0]);
    question.describes = true;
    for (answer, raw) in [
        ("red circle moves left", 1.0),
        // Any object will do, and both are as good as one.
        ("a blue square grows", 1.0),
        ("the red circle moves left and the blue square grows", 1.0),
        ("red circle moves", 0.75),
        ("red circle grows", 0.5 - 0.3),
        // The second clause is best read as of the square: `grows` is right, `red` and `cross`
        // are wrong, and no cross is there.
        ("red circle moves left and red cross grows", 1.0 - 0.3 * (1.0 - (1.0 / 3.0 - 0.6 - 0.2))),
        ("red circle moves left and red circle moves left", 1.0 - 0.2),
        ("and and", -0.1),
    ] {
        assert_close(open_ended(&scene, &question, answer), from_raw(raw), answer);
    }
}

#[test]
fn a_choice_is_a_letter_or_a_text() {
    let options = ["red", "moves left", "blue", "a b"].map(str::to_owned);
    for (answer, option) in [
        ("B", Some(1)),
        ("b.", Some(1)),
        ("(C)", Some(2)),
        ("moves left", Some(1)),
        ("B moves left", Some(1)),
        ("Blue!", Some(2)),
        ("a b", Some(3)),
        ("A", Some(0)),
        // A letter with another option's text, two letters, a letter too many, no choice.
        ("B red", None),
        ("A B C", None),
        ("E", None),
        ("moves", None),
        ("", None),
    ] {
        assert_eq!(chosen(answer, &options), option, "{answer:?}");
    }
}

#[test]
fn wrong_letters_are_near_misses_where_they_share_facts() {
    let row = (0..200)
        .flat_map(|index| examples(&WorldConfig::default(), Split::Train, index))
        .find(|row| row.reference.as_deref() == Some("moves left") && row.choices.is_some());
    let mut row = row.unwrap();
    let choices = row.choices.as_mut().unwrap();
    choices.options = ["moves right", "moves left", "grows", "appears"].map(str::to_owned).to_vec();
    choices.answer = 1;
    let score = |answer: &str| truth_score(&row, answer).unwrap();
    assert_close(score("B"), 1.0, "B");
    assert_close(score("A"), 0.2, "A");
    for wrong in ["C", "D", "E", "", "hello"] {
        assert_close(score(wrong), 0.0, wrong);
    }
}

#[test]
fn steps_are_of_equal_width_and_borders_belong_above() {
    for (score, steps, expected) in [
        (0.0, 4, 0.0),
        (0.2499, 4, 0.0),
        (0.25, 4, 1.0),
        (0.99, 4, 3.0),
        (1.0, 4, 3.0),
        // 0.29 * 100 = 28.999999999999996, 0.1 * 3 is above 0.3.
        (0.29, 100, 29.0),
        (0.1, 30, 3.0),
        (1.0, 1, 0.0),
    ] {
        let got = step_of(score, NonZeroUsize::new(steps).unwrap());
        assert!((got - expected).abs() < f64::EPSILON, "{score} of {steps}: {got}");
    }
}

#[test]
fn rows_from_elsewhere_are_refused_by_name() {
    let mut row = examples(&WorldConfig::default(), Split::Test, 0).remove(0);
    for (key, value, why) in [
        ("question", "taste", "`taste`"),
        ("world", "nowhere", "`meta.world`"),
        ("world", "", "no `/`"),
    ] {
        let mut foreign = row.clone();
        foreign.meta.insert(key.to_owned(), value.into());
        let error = truth_score(&foreign, "red").unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(&row.id), "{error}");
    }
    let nothing = rank_answers(&row, &[]).unwrap_err();
    assert!(matches!(nothing, WorldError::NoCandidates { .. }));
    row.meta.clear();
    let error = rank_answers(&row, &["red".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("`meta` has no text `world`"), "{error}");
}

#[test]
fn a_collision_may_name_both() {
    let mut scene = two_objects();
    scene.encounter = Some(Encounter::Collide);
    let mut why = question("it hits the square", &scene.objects[1]);
    why.harmless.push(Fact::Shape(Shape::Circle));
    assert_close(open_ended(&scene, &why, "the circle hits the square"), 1.0, "both");
    assert!(open_ended(&scene, &why, "it hits the circle") < 0.6);
}

fn any_row() -> impl Strategy<Value = Example> {
    let row = |(split, index): (Split, u64)| {
        let rows = examples(&WorldConfig::default(), split, index);
        proptest::sample::select(rows)
    };
    (proptest::sample::select(&Split::ALL[..]), any::<u64>()).prop_flat_map(row)
}

/// Words of the world and others, so that many answers are nearly right.
fn any_answer() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => proptest::sample::select(crate::vocabulary()).prop_map(str::to_owned),
        1 => "[a-z]{1,6}",
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn targets_and_references_are_fully_right(row in any_row()) {
        for answer in [row.target().unwrap(), row.reference.clone().unwrap()] {
            prop_assert!(truth_score(&row, &answer).unwrap() >= 1.0, "{answer} of {}", row.question());
        }
    }

    #[test]
    fn wrong_options_are_not_fully_right(row in any_row()) {
        let mut open = row.clone();
        let Some(choices) = open.choices.take() else { return Ok(()) };
        for (i, option) in choices.options.iter().enumerate().filter(|(i, _)| *i != choices.answer) {
            prop_assert!(truth_score(&open, option).unwrap() < 1.0, "{option} of {}", row.question());
            let letter = rlaif_data::example::letter(i).to_string();
            prop_assert!(truth_score(&row, &letter).unwrap() < 0.5);
        }
    }

    #[test]
    fn rankings_sort_by_score_and_nothing_is_below_the_empty_answer(
        row in any_row(), mut answers in proptest::collection::vec(any_answer(), 1..6),
    ) {
        answers.push(String::new());
        let ranking = rank_answers(&row, &answers).unwrap();
        let scores: Vec<f64> = answers.iter().map(|a| truth_score(&row, a).unwrap()).collect();
        prop_assert_eq!(&ranking, &Ranking::from_scores(&scores).unwrap());
        prop_assert!(ranking.is_complete());
        prop_assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        let levels = ranking.levels();
        prop_assert_eq!(levels.last().unwrap(), levels.iter().max().unwrap());
        if row.choices.is_none() {
            let is_bad = |(answer, score): (&String, &f64)| *score <= 0.0 && !words_of(answer).is_empty();
            prop_assert!(!answers.iter().zip(&scores).any(is_bad));
        }
    }

    #[test]
    fn steps_tie_and_never_turn_the_order(
        row in any_row(), answers in proptest::collection::vec(any_answer(), 2..6),
        steps in 1_usize..12,
    ) {
        let fine = rank_answers(&row, &answers).unwrap();
        let coarse = rank_answers_in_steps(&row, &answers, NonZeroUsize::new(steps).unwrap());
        let coarse = coarse.unwrap();
        prop_assert!(coarse.blocks().len() <= steps);
        for i in 0..answers.len() {
            for j in 0..answers.len() {
                if fine.levels()[i] <= fine.levels()[j] {
                    prop_assert!(coarse.levels()[i] <= coarse.levels()[j]);
                }
            }
        }
        let many = NonZeroUsize::new(1_000_000_000).unwrap();
        prop_assert_eq!(rank_answers_in_steps(&row, &answers, many).unwrap(), fine);
    }

    #[test]
    fn any_text_is_graded(row in any_row(), answer in ".{0,60}") {
        prop_assert!((0.0..=1.0).contains(&truth_score(&row, &answer).unwrap()));
    }
}
