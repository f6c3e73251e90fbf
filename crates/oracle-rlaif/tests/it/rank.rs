//! `rank`, `oracle check` and `world candidates`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oracle_rlaif::oracle::rehearsal::{Fault, JudgeOptions, JudgeServer};
use serde_json::Value;

use crate::support::{ok, refused, run, text};

fn groups(folder: &Path, count: &str) -> PathBuf {
    let file = folder.join("groups.jsonl");
    ok(&["world", "candidates", "--groups", count, "--candidates", "4", "--out", text(&file)]);
    file
}

fn judge(folder: &Path, name: &str, recipe: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, recipe).expect("the recipe is written");
    file
}

fn check(data: &Path, recipe: &Path, more: &[&str]) -> Value {
    let mut arguments =
        vec!["oracle", "check", "--data", text(data), "--recipe", text(recipe), "--json"];
    arguments.extend(more);
    serde_json::from_str(&ok(&arguments)).expect("a report is an object")
}

fn value(report: &Value, name: &str) -> f64 {
    report["measures"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name}: {report}"))
}

#[test]
fn the_truth_agrees_with_itself_and_a_noisy_judge_as_much_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = groups(folder.path(), "120");
    let truth = judge(folder.path(), "truth.toml", "[oracle]\ntype = \"world\"\n");
    let report = check(&data, &truth, &[]);
    for (name, expected) in [
        ("tau", 1.0),
        ("ndcg", 1.0),
        ("top1", 1.0),
        ("pairs", 1.0),
        ("consistency", 1.0),
        ("first_slot", 0.0),
    ] {
        assert!((value(&report, name) - expected).abs() < 1e-9, "{name}: {report}");
    }
    let noisy = judge(folder.path(), "noisy.toml", "[oracle]\ntype = \"world\"\ntau = 0.5\n");
    let out = folder.path().join("check");
    let report = check(&data, &noisy, &["--out", text(&out)]);
    // The stated tau is expected, over 240 verdicts.
    assert!((value(&report, "tau") - 0.5).abs() < 0.12, "{report}");
    assert!(value(&report, "consistency") < 0.6, "{report}");
    let interval = &report["measures"]["tau"]["interval"];
    assert!(interval[0].as_f64() < interval[1].as_f64(), "{report}");
    let table = std::fs::read_to_string(out.join("check.md")).unwrap();
    assert!(table.contains("agrees with the labels at tau"), "{table}");
    assert!(out.join("check.json").is_file());
}

/// Which is listed first depends on nothing but the listing, so the judge knows nothing.
#[cfg(unix)]
#[test]
fn a_judge_who_takes_the_first_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = groups(folder.path(), "40");
    let script = judge(
        folder.path(),
        "first.sh",
        "while read -r line; do
         id=$(printf '%s' \"$line\" | sed 's/^{\"id\": *\\([0-9]*\\).*/\\1/')
         printf '{\"id\":%s,\"order\":[0,1,2,3]}\\n' \"$id\"
         done\n",
    );
    let recipe =
        format!("[oracle]\ntype = \"command\"\nprogram = \"sh\"\nargs = [\"{}\"]\n", text(&script));
    let recipe = judge(folder.path(), "first.toml", &recipe);
    let report = check(&data, &recipe, &[]);
    assert!(value(&report, "first_slot") > 0.5, "{report}");
    assert!((value(&report, "consistency") + 1.0).abs() < 1e-9, "reversed lists, reversed orders");
    assert!(value(&report, "tau").abs() < 0.2, "{report}");
    let words = ok(&["oracle", "check", "--data", text(&data), "--recipe", text(&recipe)]);
    assert!(words.contains("favours what is shown first") && words.contains("repeats"), "{words}");
}

fn openai(server: &JudgeServer, more: &str) -> String {
    format!(
        "[oracle]\ntype = \"openai\"\nbase_url = \"{}\"\nmodel = \"m\"\n{more}\n\
         [oracle.frames]\ncount = 0\n[oracle.limits]\nmax_retries = 0\nbackoff_seconds = 0.01\n",
        server.base_url()
    )
}

#[test]
fn what_was_ranked_is_written_and_what_failed_is_asked_again_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let data = groups(folder.path(), "12");
    let server = JudgeServer::start(JudgeOptions {
        latency: Duration::from_millis(1),
        faults: Arc::new(|number| if number < 4 { Fault::Status(500, None) } else { Fault::None }),
        ..JudgeOptions::default()
    })
    .unwrap();
    let recipe = judge(folder.path(), "judge.toml", &openai(&server, ""));
    let out = folder.path().join("ranked.jsonl");
    let arguments =
        ["rank", "--data", text(&data), "--recipe", text(&recipe), "--out", text(&out), "--json"];
    let summary: Value = serde_json::from_str(&ok(&arguments)).unwrap();
    assert_eq!((summary["ranked"].as_u64(), summary["failed"].as_u64()), (Some(8), Some(4)));
    let again: Value = serde_json::from_str(&ok(&arguments)).unwrap();
    assert_eq!((again["ranked"].as_u64(), again["requests"].as_u64()), (Some(12), Some(4)));
    assert_eq!(again["cached"].as_u64(), Some(8));
    let rows: Vec<Value> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 12);
    // The rehearsal's judge puts the longest first.
    for row in rows {
        let answers = row["candidates"].as_array().unwrap();
        let lengths = answers.iter().map(|answer| answer.as_str().unwrap().len());
        let longest = lengths.clone().max().unwrap();
        let first: usize = row["ranking"].as_str().unwrap()[1..2].parse().unwrap();
        assert_eq!(lengths.clone().nth(first - 1), Some(longest), "{row}");
        assert!(row["label"].is_string());
    }
    // What was ranked can be ranked and read again: nothing stands in it twice.
    let twice = folder.path().join("twice.jsonl");
    ok(&["rank", "--data", text(&out), "--recipe", text(&recipe), "--out", text(&twice)]);
    let report = check(&twice, &recipe, &[]);
    assert_eq!(report["verdicts"].as_u64(), Some(24), "{report}");
}

#[test]
fn a_wrong_key_and_a_file_without_labels_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = groups(folder.path(), "3");
    let server = JudgeServer::start(JudgeOptions {
        key: Some("right".to_owned()),
        ..JudgeOptions::default()
    })
    .unwrap();
    let recipe = judge(folder.path(), "judge.toml", &openai(&server, ""));
    let out = folder.path().join("ranked.jsonl");
    let output =
        run(&["rank", "--data", text(&data), "--recipe", text(&recipe), "--out", text(&out)]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("401"), "{stderr}");

    let bare = folder.path().join("bare.jsonl");
    std::fs::write(
        &bare,
        "{\"video\": \"world:test/1\", \"messages\": [{\"role\": \"user\", \"content\": \"what ?\"}], \
         \"candidates\": [\"a\", \"b\"]}\n",
    )
    .unwrap();
    let message = refused(&["oracle", "check", "--data", text(&bare), "--recipe", text(&recipe)]);
    assert!(message.contains("no row") && message.contains("annotate"), "{message}");
}
