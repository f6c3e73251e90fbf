//! One test per command that needs no video file, and what bad usage answers.

use serde_json::Value;

use crate::support::{checkpoint, ok, recipe, refused, text};

#[test]
fn every_recipe_of_the_repository_checks() {
    let folder = recipe("");
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).expect("recipes/ is there") {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let resolved = ok(&["recipe", "check", "--recipe", text(&path)]);
            assert!(resolved.contains("[eval]"), "{resolved}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} recipes");
}

#[test]
fn a_recipe_with_a_typo_is_refused_with_the_nearest_key() {
    let message = refused(&[
        "recipe",
        "check",
        "--recipe",
        &recipe("smoke.toml"),
        "--set",
        "train.betta=0.1",
    ]);
    assert!(message.contains("did you mean `beta`"), "{message}");
    let message = refused(&["recipe", "check", "--recipe", "nowhere.toml"]);
    assert!(message.contains("nowhere.toml"), "{message}");
}

#[test]
fn generate_prints_tokens_and_log_probabilities_of_the_greedy_answer() {
    let answer = ok(&[
        "generate",
        "--checkpoint",
        text(checkpoint()),
        "--video",
        "world:test/3",
        "--prompt",
        "what color is the circle ?",
        "--temperature",
        "0",
        "--max-new-tokens",
        "6",
        "--json",
    ]);
    let answer: Value = serde_json::from_str(&answer).expect("one JSON object");
    let tokens = answer["tokens"].as_array().expect("tokens");
    let logprobs = answer["logprobs"].as_array().expect("logprobs");
    assert!((1..=6).contains(&tokens.len()) && tokens.len() == logprobs.len(), "{answer}");
    // Greedy: no token can be less likely than one of a uniform distribution.
    assert!(logprobs.iter().all(|l| (-7.0..=0.0).contains(&l.as_f64().unwrap())), "{answer}");
    assert!(answer["text"].is_string());
    assert!(answer["prompt_tokens"].as_u64().unwrap() > 24, "{answer}");
}

#[test]
fn bad_input_is_refused_with_the_file_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let message = refused(&[
        "generate",
        "--checkpoint",
        "nowhere",
        "--video",
        "world:test/3",
        "--prompt",
        "why ?",
    ]);
    assert!(message.contains("`nowhere` is no checkpoint folder"), "{message}");
    let at = text(checkpoint());
    let message =
        refused(&["generate", "--checkpoint", at, "--video", "gone.mp4", "--prompt", "why ?"]);
    assert!(message.contains("gone.mp4"), "{message}");
    let message = refused(&[
        "generate",
        "--checkpoint",
        at,
        "--video",
        "world:nowhere/3",
        "--prompt",
        "why ?",
    ]);
    assert!(message.contains("nowhere"), "{message}");
    let rows = folder.path().join("rows.jsonl");
    std::fs::write(&rows, "{\"video\": \"a.mp4\"}\n").unwrap();
    let message =
        refused(&["eval", "--checkpoint", at, "--data", text(&rows), "--out", text(&out)]);
    assert!(message.contains("rows.jsonl") && message.contains('1'), "{message}");
    let message = refused(&["report", text(folder.path())]);
    assert!(message.contains("no run folder"), "{message}");
    let message = refused(&["--device", "abacus", "recipe", "check", "--recipe", "x"]);
    assert!(message.contains("abacus"), "{message}");
    refused(&["no-such-command"]);
}

#[test]
fn world_show_prints_questions_and_draws_the_frames() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("clip.png");
    let shown = ok(&["world", "show", "test/3", "--png", text(&png)]);
    assert!(shown.contains("counting") && shown.contains("->"), "{shown}");
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    let rows = ok(&["world", "show", "test/3", "--json"]);
    for line in rows.lines() {
        let row: rlaif_data::Example = serde_json::from_str(line).expect("a row");
        assert_eq!(row.video.to_string(), "world:test/3");
    }
    let message = refused(&["world", "show", "test/x"]);
    assert!(message.contains("test/x"), "{message}");
}

#[test]
fn eval_compares_two_checkpoints_question_by_question() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.jsonl");
    let mut text_rows = String::new();
    for clip in ["test/1", "test/2"] {
        text_rows += &ok(&["world", "show", clip, "--json"]);
    }
    std::fs::write(&rows, &text_rows).unwrap();
    let out = folder.path().join("eval");
    let at = text(checkpoint());
    let printed = ok(&[
        "eval",
        "--checkpoint",
        at,
        "--baseline",
        at,
        "--data",
        text(&rows),
        "--out",
        text(&out),
        "--json",
        "--quiet",
    ]);
    let printed: Value = serde_json::from_str(&printed).expect("one JSON object");
    assert_eq!(printed["reports"].as_array().unwrap().len(), 2);
    // A checkpoint gains nothing over itself.
    assert_eq!(printed["gains"][0]["multiple_choice"]["points"], 0.0);
    let n = printed["reports"][0]["n"].as_u64().unwrap();
    assert_eq!(n, text_rows.lines().count() as u64);
    for file in ["report.json", "report.html", "answers.jsonl", "baseline-answers.jsonl"] {
        assert!(out.join(file).is_file(), "{file}");
    }
}

#[test]
fn bench_step_reports_medians_and_how_near_the_limit_they_are() {
    let report = ok(&["bench", "step", "--prompt", "8", "--group", "2", "--new", "2", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("one JSON object");
    for name in ["rollout", "reference", "update"] {
        let seconds = report[format!("{name}_seconds")].as_f64().unwrap();
        assert!(seconds > 0.0);
        assert!(report[name]["gflop"].as_f64().unwrap() > 0.0);
        assert!(report[name]["of_limit"].as_f64().unwrap() > 0.0);
        assert!(report["step_seconds"].as_f64().unwrap() >= seconds);
    }
    assert!(report["steps"].as_u64().unwrap() >= 5);
    refused(&["bench", "step", "--group", "1"]);
}

#[test]
fn bench_oracle_reports_a_request_for_each_question_and_none_out_of_the_ledger() {
    let common =
        ["--groups", "12", "--candidates", "3", "--latency-ms", "20", "--concurrency", "4"];
    let bench = |more: &[&str]| ok(&[&["bench", "oracle"], &common[..], more].concat());
    let report: Value = serde_json::from_str(&bench(&["--json"])).expect("one JSON object");
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
    assert_eq!(report["requests"], 12);
    assert_eq!(report["cached_requests"], 0);
    assert!((number("ideal_seconds") - 0.06).abs() < 1e-9, "{report}");
    // Nothing is faster than the latency allows: the server has no more than four at once.
    assert!((1..=4).contains(&report["peak_at_once"].as_u64().unwrap()), "{report}");
    assert!(number("ratio") >= 1.0, "{report}");
    let ratio = number("wall_seconds") / number("ideal_seconds");
    assert!((number("ratio") - ratio).abs() < 1e-9, "{report}");
    let rate = 12.0 / number("wall_seconds");
    assert!((number("requests_per_second") - rate).abs() < 1e-6, "{report}");
    assert!(number("cached_seconds") > 0.0, "{report}");

    // Three pairs in both orders.
    let said = bench(&["--protocol", "pairwise", "--frames", "0"]);
    let line = |name: &str| -> f64 {
        let line = said.lines().find(|line| line.starts_with(name)).expect(name);
        line[name.len()..].split_whitespace().next().unwrap().parse().expect(line)
    };
    assert_eq!(said.lines().count(), 8, "{said}");
    assert!((line("requests") - 72.0).abs() < 1e-9, "{said}");
    assert!((line("ideal") - 0.36).abs() < 1e-9, "{said}");
    assert!(line("wall") >= 0.36 && line("per second") > 0.0, "{said}");
    assert!(said.lines().last().unwrap().ends_with(", 0 requests"), "{said}");

    assert!(refused(&["bench", "oracle", "--groups", "0"]).contains("--groups"));
    assert!(refused(&["bench", "oracle", "--candidates", "1"]).contains("at least 2 candidates"));
    let message = refused(&["bench", "oracle", "--protocol", "listwize"]);
    assert!(message.contains("listwise"), "{message}");
}

#[test]
fn shells_get_completions_and_people_get_help() {
    assert!(ok(&["completions", "bash"]).contains("oracle-rlaif"));
    let help = ok(&["--help"]);
    for command in [
        "quickstart",
        "sft",
        "train",
        "annotate",
        "eval",
        "generate",
        "serve",
        "world",
        "report",
        "recipe",
        "bench",
    ] {
        assert!(help.contains(command), "{command} is not in the help");
    }
}
