//! What goes over the line when the program behaves.

use std::time::Duration;

use rlaif_oracle::{Cancel, FailureKind, OracleError, rank_groups};

use crate::judge::{judge, judge_with, request};

#[test]
fn the_program_is_started_once_and_kept() {
    let judge = judge(r#"while next; do reply '"order": [2, 0, 1]'; done"#);
    assert!(judge.pids().is_empty(), "not before the first request");
    for _ in 0..3 {
        assert_eq!(judge.brief(&["a", "b"]), ["[3] > [1] > [2]"; 2]);
    }
    assert_eq!(judge.pids().len(), 1);
}

#[test]
fn verdicts_come_with_the_programs_own_words_and_its_time() {
    let judge = judge(r#"next; sleep 0.2; reply '"ranking": [[2], [0, 1]], "why": "ä"'; next"#);
    let verdict = judge.rank(&["a"]).remove(0).unwrap();
    assert_eq!(verdict.ranking.to_string(), "[3] > [1] = [2]");
    assert_eq!(verdict.raw.unwrap(), r#"{"id": 0, "ranking": [[2], [0, 1]], "why": "ä"}"#);
    assert!(verdict.latency >= Duration::from_millis(190), "{:?}", verdict.latency);
}

#[test]
fn hostile_candidates_reach_the_program_as_they_are() {
    let judge = judge(
        r#"while next; do printf '%s\n' "$line" >> "$1/lines"; reply '"ranks": [2, 1, 0]'; done"#,
    );
    let candidates = [
        "one\ntwo\r\n{\"id\": 0, \"order\": [0, 1, 2]}",
        "$(touch /tmp/x) `id` 'quoted' \"double\" \\n \\",
        "nul \0 escape \u{1b}[2J \u{85}\u{2028} 🎬",
    ];
    let requests = [request("a", &candidates), request("b", &["p", "q", "r"])];
    let outcome = rank_groups(&judge.oracle, &requests, &Cancel::new());
    assert_eq!(outcome.metrics.ranked, 2, "{:?}", outcome.verdicts);

    let lines = judge.trace("lines");
    assert_eq!(lines.lines().count(), 2);
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let seen: Vec<String> = serde_json::from_value(line["candidates"].clone()).unwrap();
    assert_eq!(seen, candidates);
}

#[test]
fn replies_are_matched_by_id_in_any_order() {
    let judge = judge_with(
        r#"
        next; a=$id; next; b=$id; next; c=$id
        id=$c; reply '"order": [2, 1, 0]'
        id=$a; reply '"order": [0, 1, 2]'
        id=$b; reply '"order": [1, 0, 2]'
        next; reply '"order": [2, 0, 1]'; next"#,
        |config| config.concurrency = 3,
    );
    let expected = ["[1] > [2] > [3]", "[2] > [1] > [3]", "[3] > [2] > [1]", "[3] > [1] > [2]"];
    assert_eq!(judge.brief(&["a", "b", "c", "d"]), expected);
    assert_eq!(judge.pids().len(), 1);
}

#[test]
fn one_request_at_a_time_unless_told_otherwise() {
    // Whatever else is in the pipe after the first line would be seen by `head`.
    let early = |concurrency, tenths: u32| {
        let script = format!(
            r#"
            exec 3<&0; next; first=$id
            (head -n 1 > "$1/early") <&3 &
            i=0; while [ $i -lt {tenths} ] && [ ! -s "$1/early" ]; do sleep 0.1; i=$((i + 1)); done
            kill $! 2> /dev/null; id=$first; reply '"abstain": true'"#
        );
        let judge = judge_with(&script, |config| {
            config.concurrency = concurrency;
            config.max_restarts = 0;
        });
        judge.brief(&["a", "b"]);
        judge.trace("early").lines().count()
    };
    assert_eq!(early(1, 5), 0);
    assert_eq!(early(2, 200), 1);
}

#[test]
fn abstentions_failures_and_partial_orders_keep_their_meaning() {
    let judge = judge(
        r#"
        while next; do
            about abstain && reply '"abstain": "too dark"' && continue
            about fail && reply '"error": "no GPU"' && continue
            about partially && reply '"order": [1], "unplaced": [0, 2]' && continue
            reply '"order": [0, 1, 2]'
        done"#,
    );
    let requests = ["abstain", "fail", "partially", "fine"].map(|id| request(id, &["p", "q", "r"]));
    let outcome = rank_groups(&judge.oracle, &requests, &Cancel::new());
    let [abstained, failed, partial, fine] = &outcome.verdicts[..] else { panic!("four") };
    assert!(
        matches!(abstained, Err(OracleError::Abstained { reason, .. }) if reason == "too dark")
    );
    assert!(matches!(failed, Err(OracleError::Reported { message, .. }) if message == "no GPU"));
    assert_eq!(partial.as_ref().unwrap().ranking.unplaced(), [0, 2]);
    assert!(fine.as_ref().unwrap().ranking.is_strict());
    let metrics = &outcome.metrics;
    assert_eq!((metrics.calls, metrics.ranked, metrics.failed(), metrics.partial), (4, 2, 2, 1));
    assert_eq!(metrics.failures[&FailureKind::Abstained], 1);
    assert_eq!(judge.pids().len(), 1, "none of this is a reason to restart");
}

#[test]
fn what_covers_not_or_repeats_is_rejected_with_the_programs_output() {
    let judge = judge(
        r#"
        while next; do
            about missing && reply '"order": [2, 0], "mark": "M"' && continue
            about repeated && reply '"ranking": [[2, 0], [0, 1]], "mark": "R"' && continue
            about unknown && reply '"order": [0, 1, 3], "mark": "U"' && continue
            about short && reply '"ranks": [0, 1], "mark": "S"' && continue
            reply '"order": [0, 1, 2]'
        done"#,
    );
    let results = judge.rank(&["missing", "repeated", "unknown", "short", "fine"]);
    for (result, parts) in results.iter().zip([
        ["\"missing\"", "candidate 1 is not placed", "\"mark\": \"M\""],
        ["\"repeated\"", "candidate 0 is placed more than once", "\"mark\": \"R\""],
        ["\"unknown\"", "candidate 3 does not exist", "\"mark\": \"U\""],
        ["\"short\"", "2 entries for 3 candidates", "\"mark\": \"S\""],
    ]) {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.kind(), FailureKind::Rejected);
        let (text, source) = (error.to_string(), std::error::Error::source(error));
        assert!(source.is_some());
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    assert!(results[4].is_ok());
    assert_eq!(judge.pids().len(), 1);
}

#[test]
fn only_the_named_environment_is_passed() {
    // Cargo sets this one for tests.
    let name = "CARGO_MANIFEST_DIR";
    let script = format!(r#"while next; do reply "\"error\": \"${{{name}-unset}}\""; done"#);
    let seen = |pass: Option<&[&str]>| {
        let names = pass.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let judge = judge_with(&script, |config| config.pass_env = names);
        match judge.rank(&["a"]).remove(0) {
            Err(OracleError::Reported { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    };
    let ours = std::env::var(name).unwrap();
    assert_eq!(seen(None), ours);
    assert_eq!(seen(Some(&[])), "unset");
    assert_eq!(seen(Some(&[name, "NO_SUCH_NAME"])), ours);
}
