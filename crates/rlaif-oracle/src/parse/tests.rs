//! Replies as judges write them, and as nobody should.

use proptest::prelude::*;

use super::*;

fn listwise(n: usize) -> Question {
    Question { kind: QuestionKind::Listwise, shown: (0..n).collect(), repeat: 0 }
}

fn pair() -> Question {
    Question { kind: QuestionKind::Pairwise, shown: vec![3, 1], repeat: 0 }
}

fn score() -> Question {
    Question { kind: QuestionKind::Pointwise { min: 1, max: 10 }, shown: vec![2], repeat: 0 }
}

/// The answer in short: the order, the score, the reason, or the error.
fn read(reply: &str, question: &Question) -> String {
    match parse_reply(reply, question) {
        Ok(Said::Order(order)) => order.to_string(),
        Ok(Said::Score(score)) => score.to_string(),
        Ok(Said::Abstained(why)) => format!("abstained: {why}"),
        Err(error) => format!("error: {error}"),
    }
}

fn check(question: &Question, table: &[(&str, &str)]) {
    for (reply, expected) in table {
        assert_eq!(read(reply, question), *expected, "{reply}");
    }
}

#[test]
fn orders_are_read_in_every_form() {
    check(
        &listwise(3),
        &[
            (r#"{"ranking": [[2], [1, 3]]}"#, "[2] > [1] = [3]"),
            (r#"{"ranking": [2, 1, 3]}"#, "[2] > [1] > [3]"),
            (
                r#"{"order": [2, [1, 3]], "abstain": null, "why": "[1] is {vague}"}"#,
                "[2] > [1] = [3]",
            ),
            (r#"{"ranking": ["[2]", "1", "③"]}"#, "[2] > [1] > [3]"),
            (r#"{"ranking": "[2] > [1] = [3]"}"#, "[2] > [1] = [3]"),
            ("```json\n{\"ranking\": [[3], [2], [1]]}\n```", "[3] > [2] > [1]"),
            ("Let me see {so}: {\"a\": 1} then ```{\"ranking\": [3, 2, 1]}``` ", "[3] > [2] > [1]"),
            ("[[2], [1, 3]]", "[2] > [1] = [3]"),
            ("```\n[2, 1, 3]\n```\n", "[2] > [1] > [3]"),
            ("[2] > [1] = [3]", "[2] > [1] = [3]"),
            ("So, **[2] > [1] > [3]**, since [2] names the ball.", "[2] > [1] > [3]"),
            ("Ranking: 2 > 1 = 3.", "[2] > [1] = [3]"),
            ("［２］＞［１］＝［３］", "[2] > [1] = [3]"),
            ("② > ① = ③", "[2] > [1] = [3]"),
            ("[²] &gt; [ 1 ]>[3]", "[2] > [1] > [3]"),
            (
                "<think>[1] > [2] > [3] {\"ranking\": [1,2,3]}</think>[3] > [2] > [1]",
                "[3] > [2] > [1]",
            ),
        ],
    );
}

#[test]
fn the_last_answer_wins_whatever_its_form() {
    check(
        &listwise(2),
        &[
            ("[1] > [2]\nNo, wait.\n[2] > [1]", "[2] > [1]"),
            (r#"{"ranking": [1, 2]} or rather {"ranking": [2, 1]}"#, "[2] > [1]"),
            (r#"Answer 2 says {"ranking": [2, 1]}, which is no answer. [1] > [2]"#, "[1] > [2]"),
            (r#"Answer 2 says [2] > [1]. {"ranking": [1, 2]}"#, "[1] > [2]"),
            (r#"{"ranking": [1, 2]} {"note": "[2] > [1]"}"#, "[1] > [2]"),
            ("[2] > [1]\nabstain: both are wrong", "abstained: both are wrong"),
        ],
    );
}

/// Further lines of a candidate begin with `    | ` in every prompt.
#[test]
fn what_a_judge_quotes_makes_no_answer_of_half_of_one() {
    let half = "error: candidate [2] is missing; name each of [1] to [2] exactly once";
    let none = "error: there is no answer in the reply; give an order of [1] to [2] such as \
                `[2] > [1]`, or `abstain: why`";
    check(
        &pair(),
        &[
            ("It says [[A]]\n    | [1]\n    | Answer: A > B\nMy order:\n[1]", half),
            ("The first says\n    | [1] > [2]\n    | abstain: me\nI like it.", none),
            ("The first says\n    | [1] > [2]\n[2] > [1]\n    | tie", "[2] > [1]"),
            ("| best |\n| [2] > [1] |", "[2] > [1]"),
        ],
    );
    check(&listwise(2), &[("[2] > [1]\nNo:\n[1].", half)]);
}

#[test]
fn wrong_candidates_are_said_and_never_repaired() {
    let whole = "; name each of [1] to [4] exactly once";
    let table = [
        ("[2] > [1] > [4]", "candidate [3] is missing"),
        ("[2] > [1]", "candidates [3], [4] are missing"),
        (
            "[2] > [1] > [2] = [4]",
            "candidate [3] is missing; candidate [2] is named more than once",
        ),
        ("[2] > [1] > [3] > [4] > [5]", "candidate [5] does not exist"),
        ("[0] > [1] > [2] > [3]", "candidate [4] is missing; candidate [0] does not exist"),
        (
            "[1] > [2] > [3] > [4] > [99999999999999999999]",
            "candidate a number without end does not exist",
        ),
        (r#"{"ranking": [[2], [1, 3]]}"#, "candidate [4] is missing"),
        (
            r#"{"ranking": [1, 2, 3], "unplaced": [3]}"#,
            "candidate [4] is missing; candidate [3] is named more than once",
        ),
        ("[4, 3, 2]", "candidate [1] is missing"),
    ];
    for (reply, problems) in table {
        assert_eq!(read(reply, &listwise(4)), format!("error: {problems}{whole}"), "{reply}");
    }
    let many = read("[1] > [1]", &listwise(20));
    assert!(many.starts_with("error: candidates [2], [3], [4], [5], [6] and others are"), "{many}");
}

#[test]
fn candidates_are_left_out_on_purpose_only() {
    let question = listwise(4);
    let Ok(Said::Order(order)) =
        parse_reply(r#"{"ranking": [[2], [1]], "unplaced": [3, 4]}"#, &question)
    else {
        panic!("a partial order is an order")
    };
    assert_eq!(order.levels(), [Some(1), Some(0), None, None]);
    check(
        &question,
        &[(r#"{"ranking": [], "unplaced": [1, 2, 3, 4]}"#, "abstained: it placed no candidate")],
    );
}

#[test]
fn pairs_are_read_from_letters_too() {
    check(
        &pair(),
        &[
            ("A", "[1] > [2]"),
            ("The first names the colour.\n\nAnswer: **B**.", "[2] > [1]"),
            ("Tie", "[1] = [2]"),
            ("(C)", "[1] = [2]"),
            ("My final verdict is: [[B]]", "[2] > [1]"),
            ("I choose [[A]] because it is right", "[1] > [2]"),
            ("B > A", "[2] > [1]"),
            ("[A] = [B]", "[1] = [2]"),
            ("[2] > [1]", "[2] > [1]"),
            (r#"{"ranking": ["B", "A"]}"#, "[2] > [1]"),
            (r#"{"ranking": [[1, 2]]}"#, "[1] = [2]"),
            ("Ａ", "[1] > [2]"),
        ],
    );
    let nothing = "error: there is no answer in the reply; give an order of [1] to [2] such as \
                   `[2] > [1]`, or `abstain: why`";
    // A bare label may be the beginning of an order that was cut, as may a value of JSON.
    for reply in ["", "1", "[1] >", "A is better", r#"{"winner": "A"#, r#"{"ranking": [[1"#, "D"] {
        assert_eq!(read(reply, &pair()), nothing, "{reply}");
    }
    assert!(read("A", &listwise(2)).starts_with("error: there is no answer"), "letters name pairs");
}

#[test]
fn scores_are_read_in_every_form() {
    check(
        &score(),
        &[
            ("7", "7"),
            ("**8.5**", "8.5"),
            ("7/10", "7"),
            ("I count 3 balls; 6 / 10.", "6"),
            ("Score: 7", "7"),
            ("Score: **7** out of 10", "7"),
            ("The score is 4, as 2 balls are missing.", "4"),
            ("I give it a rating of 9 for 3 reasons", "9"),
            ("Final answer: 2.", "2"),
            ("[9]", "9"),
            (r#"{"score": 7, "abstain": null}"#, "7"),
            (r#"{"score": "7/10"}"#, "7"),
            (r#"{"score": 7.25}"#, "7.25"),
            ("score: ７", "7"),
            ("First 3/10, then 5/10", "5"),
            ("score: 3\n\nscore: 4", "4"),
        ],
    );
    let off = |score: &str| {
        format!("error: the score {score} is not on the scale; give a score from 1 to 10")
    };
    for (reply, score) in [
        ("11", "11"),
        ("score: 0", "0"),
        ("score: -3", "-3"),
        ("12/10", "12"),
        ("score: 80/100", "80 out of 100"),
        (r#"{"score": 1e300}"#, &format!("1{}", "0".repeat(300))),
    ] {
        assert_eq!(read(reply, &self::score()), off(score), "{reply}");
    }
    for reply in
        ["There are 3 balls", "7-8", "70%", "24/7", "v2", r#"{"score": 7"#, "", "[1] > [2]"]
    {
        let said = read(reply, &self::score());
        assert!(said.starts_with("error: there is no answer in the reply"), "{reply}: {said}");
    }
}

#[test]
fn a_negative_scale_has_negative_scores() {
    let kind = QuestionKind::Pointwise { min: -2, max: 2 };
    let question = Question { kind, shown: vec![0], repeat: 0 };
    check(&question, &[("-2", "-2"), ("Score: -1.5", "-1.5"), ("score: 2/2", "2")]);
}

#[test]
fn a_judge_may_abstain() {
    for question in [listwise(3), pair(), score()] {
        check(
            &question,
            &[
                (r#"{"abstain": "the clip is black"}"#, "abstained: the clip is black"),
                (r#"{"ranking": [], "score": null, "abstain": "black"}"#, "abstained: black"),
                (r#"{"abstain": true}"#, "abstained: it gave no reason"),
                ("ABSTAIN: no sound", "abstained: no sound"),
                ("I abstain.", "abstained: it gave no reason"),
                ("abstain: a\u{1b}[2Jb", "abstained: a\\u{1b}[2Jb"),
            ],
        );
        let said = read("I will not abstain from this", &question);
        assert!(said.starts_with("error: there is no answer"), "{said}");
        let said = read("Abstainers all", &question);
        assert!(said.starts_with("error: there is no answer"), "{said}");
    }
}

#[test]
fn contradictions_and_wrong_types_are_errors() {
    check(
        &listwise(2),
        &[
            (
                r#"{"ranking": [1, 2], "abstain": "no"}"#,
                "error: `abstain` is wrong: the reply abstains and answers as well",
            ),
            (
                r#"{"ranking": [1, 2], "order": [2, 1]}"#,
                "error: `order` is wrong: `ranking` is there as well",
            ),
            (
                r#"{"ranking": [1, 2], "ranking": [2, 1]}"#,
                "error: `ranking` is wrong: it is there more than once",
            ),
            (
                r#"{"ranking": [1, 2.5]}"#,
                "error: `ranking` is wrong: give a list of lists of numbers such as `[[2], [1, 3]]`",
            ),
            (
                r#"{"ranking": [[[1]], 2]}"#,
                "error: `ranking` is wrong: give a list of lists of numbers such as `[[2], [1, 3]]`",
            ),
            (r#"{"abstain": 3}"#, "error: `abstain` is wrong: say why in a text, or `null`"),
        ],
    );
    check(
        &score(),
        &[(r#"{"score": [7]}"#, "error: `score` is wrong: give a number from 1 to 10")],
    );
}

/// Each would take minutes if work were quadratic in the length.
#[test]
fn long_hostile_replies_end_soon() {
    let filled = |piece: &str| piece.repeat(LONGEST_REPLY / 4 / piece.len());
    for piece in [
        "{",
        "[",
        "{\"a\":",
        "{\"a\":[",
        "[[",
        "[1]>",
        "[1",
        "1 ",
        "1/",
        "score ",
        "{\"",
        "\"{",
        "[ ",
        "A=",
        "{\"a\":\"{\\\"",
        "-",
        ">",
        "</think>",
        "①",
        "abstain",
        "{\"score\":1}",
        "{\"ranking\":[1",
        ":",
        "1.",
    ] {
        for question in [listwise(5), pair(), score()] {
            let said = parse_reply(&filled(piece), &question);
            let counted = matches!(said, Ok(Said::Score(_) | Said::Abstained(_)));
            assert!(said.is_err() || counted, "{piece}: {said:?}");
        }
    }
    let error = parse_reply(&"a".repeat(LONGEST_REPLY + 1), &pair()).unwrap_err();
    assert_eq!(error, ReplyError::TooLong { bytes: LONGEST_REPLY + 1 });
    let error = parse_reply(&"{ ".repeat(20_000), &pair()).unwrap_err();
    assert_eq!(error, ReplyError::Braces);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(parse_reply(&deep, &listwise(3)).is_err());
    let long = format!("[1] > [2] > [{}]", "9".repeat(500_000));
    assert!(parse_reply(&long, &listwise(2)).unwrap_err().to_string().len() < 200);
}

proptest! {
    #[test]
    fn no_reply_panics(reply in r#"(?s)([\[\]{}>=:,.\-/"0-9A-Cⅳ①²\n ]|ranking|score|abstain|</think>|.){0,80}"#) {
        for question in [listwise(1), listwise(3), pair(), score()] {
            match parse_reply(&reply, &question) {
                Ok(Said::Order(order)) => {
                    prop_assert_eq!(order.len(), question.shown.len());
                    prop_assert!(order.is_complete() || reply.contains("unplaced"));
                }
                Ok(Said::Score(score)) => prop_assert!((1.0..=10.0).contains(&score)),
                Ok(Said::Abstained(why)) => prop_assert!(why.len() < 2000),
                Err(error) => prop_assert!(error.to_string().len() < 1000),
            }
        }
    }

    /// What a ranking is written as reads back, in text and as JSON, with prose around it.
    #[test]
    fn what_is_written_reads_back(ranks in proptest::collection::vec(0_usize..6, 2..12)) {
        let order = rlaif_rank::Ranking::from_ranks(ranks.into_iter().map(Some).collect()).unwrap();
        let one_based: Vec<Vec<usize>> =
            order.blocks().into_iter().map(|block| block.iter().map(|c| c + 1).collect()).collect();
        let json = serde_json::json!({"ranking": one_based});
        for reply in [order.to_string(), json.to_string(), format!("Hm, {json} it is"), format!("So: {order}.")] {
            let said = parse_reply(&reply, &listwise(order.len()));
            prop_assert_eq!(said, Ok(Said::Order(order.clone())), "{}", reply);
        }
    }
}
