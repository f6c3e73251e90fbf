//! Programs that hang, die, or write nonsense.

use std::time::{Duration, Instant};

use rlaif_oracle::{Cancel, FailureKind, Oracle, OracleError};

use crate::judge::{assert_gone, judge, judge_with, request};

const FINE: &str = "[1] > [2] > [3]";

/// A judge that does `fault` on the example `bad`, at every attempt, and ranks the others.
fn bad_on(fault: &str) -> String {
    format!("while next; do about bad && {{ {fault}; }}; reply '\"order\": [0, 1, 2]'; done")
}

/// A judge that does `fault` on the example `bad` at the first attempt alone.
fn bad_once(fault: &str) -> String {
    bad_on(&format!(r#"[ -e "$1/done" ] || {{ : > "$1/done"; {fault}; }}"#))
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children_and_started_again() {
    let script = bad_on(r#"sleep 600 & echo $! > "$1/sleep"; wait"#);
    let judge = judge_with(&script, |config| config.timeout_seconds = 1.0);
    let start = Instant::now();
    assert_eq!(judge.brief(&["a", "bad", "b"]), [FINE, "timeout", FINE]);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(judge.pids().len(), 2, "a request that timed out is not sent again");
    assert_gone(&judge.pids()[0]);
    assert_gone(&judge.trace("sleep"));
}

#[test]
fn the_timeout_is_named_with_its_remedy() {
    let judge = judge_with("next; sleep 600", |config| config.timeout_seconds = 0.2);
    let error = judge.rank(&["row-3"]).remove(0).unwrap_err();
    assert!(
        matches!(&error, OracleError::Timeout { seconds, .. } if (*seconds - 0.2).abs() < 1e-9)
    );
    let text = error.to_string();
    assert!(text.contains("\"row-3\"") && text.contains("timeout_seconds"), "{text}");
    assert!(!error.is_permanent());
}

#[test]
fn a_program_may_take_its_time_to_start() {
    let script =
        r#"sleep 0.8; while next; do about bad && sleep 600; reply '"order": [0, 1, 2]'; done"#;
    let slow_start = |startup_seconds| {
        judge_with(script, |config| {
            config.timeout_seconds = 0.4;
            config.startup_seconds = startup_seconds;
        })
    };
    assert_eq!(slow_start(0.0).brief(&["a"]), ["timeout"]);
    let patient = slow_start(30.0);
    assert_eq!(patient.brief(&["a"]), [FINE]);
    let start = Instant::now();
    assert_eq!(patient.brief(&["bad"]), ["timeout"]);
    assert!(start.elapsed() < Duration::from_secs(15), "the allowance ends with the first answer");
}

#[test]
fn a_program_that_dies_gets_one_more_chance() {
    let judge = judge(&bad_once("exit 3"));
    assert_eq!(judge.brief(&["a", "bad", "b"]), [FINE; 3]);
    assert_eq!(judge.pids().len(), 2);
}

#[test]
fn a_program_that_dies_again_fails_the_group_with_its_last_words() {
    let judge = judge(&bad_on(r#"seq 1 5000 >&2; echo "RuntimeError: out of memory" >&2; exit 3"#));
    let results = judge.rank(&["a", "bad", "b"]);
    assert!(results[0].is_ok() && results[2].is_ok());
    let Err(OracleError::Died { example, status, stderr, .. }) = &results[1] else {
        panic!("{:?}", results[1])
    };
    assert_eq!((example.as_str(), status.as_str()), ("bad", "exit status: 3"));
    assert!(stderr.ends_with("RuntimeError: out of memory"), "{stderr}");
    assert!(stderr.len() < 5000);
    assert_eq!(judge.pids().len(), 3);
}

#[test]
fn dying_in_the_middle_of_a_line_is_dying() {
    let judge = judge(&bad_on(r#"printf '{"id": %s, "ord' "$id"; exit 4"#));
    let results = judge.rank(&["bad"]);
    assert!(
        matches!(&results[0], Err(OracleError::Died { status, .. }) if status == "exit status: 4"),
        "{results:?}"
    );
}

#[test]
fn a_reply_without_its_line_feed_counts() {
    let judge = judge(r#"next; printf '{"id": %s, "order": [0, 1, 2]}' "$id""#);
    assert_eq!(judge.brief(&["a"]), [FINE]);
}

#[test]
fn lines_that_are_no_reply_are_shown() {
    for (fault, parts) in [
        ("echo 'Loading model...'", ["Loading model...", "logs belong on stderr"]),
        ("id=99 && reply '\"order\": [0, 1, 2]'", ["\"id\": 99", "no open request"]),
        ("echo '{\"order\": [0, 1, 2]}'", ["[0, 1, 2]", "no `id`"]),
        ("printf '\\377\\033[2J\\n'", ["\u{fffd}\\u{1b}[2J", "not JSON"]),
        (
            "head -c 1100000 /dev/zero | tr '\\0' x",
            ["xxxx ... (1048576 bytes in all)", "longer than 1048576 bytes"],
        ),
    ] {
        let judge = judge(&bad_on(&format!("{fault}; sleep 600")));
        let results = judge.rank(&["a", "bad", "b"]);
        assert!(results[0].is_ok() && results[2].is_ok(), "{fault}: {results:?}");
        let error = results[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), FailureKind::Protocol);
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{fault}: {text}");
        assert_eq!(judge.pids().len(), 3, "{fault}");
    }
}

#[test]
fn a_verdict_in_the_wrong_form_fails_its_group_alone() {
    let judge = judge(&bad_on(r#"reply '"rankings": [[0, 1, 2]]'; continue"#));
    let results = judge.rank(&["bad", "b"]);
    let text = results[0].as_ref().unwrap_err().to_string();
    assert!(text.contains("none of `ranking`") && text.contains("\"rankings\""), "{text}");
    assert!(results[1].is_ok());
    assert_eq!(judge.pids().len(), 1);
}

#[test]
fn answering_twice_is_noticed() {
    let judge =
        judge("while next; do reply '\"order\": [0, 1, 2]'; reply '\"order\": [2, 1, 0]'; done");
    let verdicts = judge.brief(&["a", "b", "c"]);
    assert_eq!(verdicts, [FINE; 3], "a second answer never replaces the first, nor another's");
    assert!(judge.pids().len() > 1);
}

#[test]
fn those_who_stand_by_are_asked_again() {
    // `bad` is never answered; `b` is sent once `a` is, and is still in time when `bad` is not.
    let judge = judge_with(
        r#"
        while next; do
            about bad && continue
            about a && sleep 1.5
            about b && [ "$(wc -l < "$1/pids")" -eq 1 ] && continue
            reply '"order": [0, 1, 2]'
        done"#,
        |config| {
            config.concurrency = 2;
            config.timeout_seconds = 3.0;
        },
    );
    assert_eq!(judge.brief(&["bad", "a", "b"]), ["timeout", FINE, FINE]);
    assert_eq!(judge.pids().len(), 2);

    let crash = bad_on(r#"echo crash >> "$1/crashes"; exit 1"#);
    let judge = judge_with(&crash, |config| config.concurrency = 2);
    assert_eq!(judge.brief(&["bad", "b", "c"])[0], "died");
    assert_eq!(judge.trace("crashes").lines().count(), 2);
}

#[test]
fn restarts_are_bounded_and_then_the_oracle_is_given_up() {
    let judge = judge_with("echo 'no weights' >&2; exit 7", |config| config.max_restarts = 2);
    let results = judge.rank(&["a", "b", "c"]);
    assert_eq!(judge.pids().len(), 3, "one start and two restarts");
    let kinds: Vec<&str> =
        results.iter().map(|r| r.as_ref().unwrap_err().kind().as_str()).collect();
    assert_eq!(kinds, ["died", "died", "gave_up"]);
    let error = results[2].as_ref().unwrap_err();
    assert!(error.is_permanent());
    assert!(error.to_string().contains("no weights"), "{error}");

    assert_eq!(judge.brief(&["d"]), ["gave_up"]);
    assert_eq!(judge.pids().len(), 3);
}

#[test]
fn an_answer_forgives_the_restarts_before_it() {
    // Ends after every answer: a program for one group at a time.
    let judge = judge_with("next; reply '\"order\": [0, 1, 2]'", |config| config.max_restarts = 2);
    assert_eq!(judge.brief(&["a", "b", "c", "d", "e", "f"]), [FINE; 6]);
    assert!(judge.pids().len() >= 6);
}

#[test]
fn a_program_that_cannot_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("judge");
    std::fs::write(&file, "not a program").unwrap();
    let config = rlaif_oracle::CommandConfig::new(file.to_string_lossy());
    let oracle = rlaif_oracle::CommandOracle::new(config).unwrap();
    let requests = [request("a", &["p", "q"]), request("b", &["p", "q"])];
    let results = oracle.rank(&requests, &Cancel::new());
    let first = results[0].as_ref().unwrap_err();
    assert_eq!(first.kind(), FailureKind::Start);
    assert!(first.is_permanent() && first.to_string().contains("judge"), "{first}");
    assert_eq!(results[1].as_ref().unwrap_err().kind(), FailureKind::GaveUp);
}

#[test]
fn neither_a_deaf_program_nor_a_flood_can_hold_the_caller() {
    let deaf = judge_with("sleep 600", |config| config.timeout_seconds = 0.3);
    let much = "x".repeat(1 << 20);
    let results = deaf.oracle.rank(&[request("a", &[&much, "q"])], &Cancel::new());
    assert_eq!(results[0].as_ref().unwrap_err().kind(), FailureKind::Timeout);

    let flood = judge_with("yes", |config| config.max_restarts = 1);
    assert_eq!(flood.brief(&["a", "b"]), ["protocol", "gave_up"]);

    let blank = judge_with("yes ''", |config| config.timeout_seconds = 0.3);
    assert_eq!(blank.brief(&["a"]), ["timeout"]);
}
