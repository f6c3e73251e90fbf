//! `annotate` as people start and end it.

use std::path::Path;
use std::process::Child;

use serde_json::{Value, json};

use crate::support::{self, refused, text};

/// The command in the background, and the address that it prints.
fn start(arguments: &[&str]) -> (Child, String) {
    support::start(&[&["annotate", "--port", "0", "--quiet"], arguments].concat())
}

fn interrupt(child: Child) -> String {
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id fits"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn get(url: &str) -> Value {
    let answer = ureq::get(url).call().expect("it answers").into_body().read_to_string();
    serde_json::from_str(&answer.expect("text")).expect("JSON")
}

fn post(base: &str, path: &str, body: &Value) {
    let origin = base.trim_end_matches('/');
    let request = ureq::post(format!("{origin}{path}"))
        .header("origin", origin)
        .header("content-type", "application/json");
    assert_eq!(request.send(body.to_string()).expect("it answers").status(), 200);
}

fn rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("it was written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
#[cfg(unix)]
fn rows_of_a_file_are_ranked_written_and_never_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let [data, ledger, out] =
        ["groups.jsonl", "ledger.sqlite", "ranked.jsonl"].map(|name| folder.path().join(name));
    std::fs::write(
        &data,
        concat!(
            r#"{"id": "1", "video": "world:test/3", "prompt": "One?", "candidates": ["a", "b", "a"]}"#,
            "\n",
            r#"{"id": "2", "video": "clip.mp4", "prompt": "Two?", "candidates": ["c", "d"]}"#,
            "\n",
        ),
    )
    .unwrap();
    let arguments = ["--ledger", text(&ledger), "--data", text(&data), "--out", text(&out)];
    let (child, url) = start(&arguments);
    assert!(url.starts_with("http://127.0.0.1:") && !url.contains("token"), "{url}");

    let task = get(&format!("{url}api/task?annotator=ann"))["task"].clone();
    let shown = task["candidates"].as_array().unwrap();
    assert_eq!((shown.len(), &task["turns"][0]["text"]), (2, &json!("One?")));
    let best = shown.iter().position(|text| text == "b").unwrap();
    let verdict = json!({
        "annotator": "ann", "task": task["id"], "seconds": 3, "blocks": [[best], [1 - best]],
    });
    post(&url, "/api/verdicts", &verdict);
    let said = interrupt(child);
    assert!(said.contains("1 of 2 rows are ranked"), "{said}");
    let ranked = rows(&out);
    assert_eq!(ranked.len(), 1);
    assert_eq!((&ranked[0]["id"], &ranked[0]["ranking"]), (&json!("1"), &json!("[2] > [1] = [3]")));
    assert_eq!(ranked[0]["candidates"], json!(["a", "b", "a"]));

    // Again, as after a crash: what was ranked is there, and the other row is asked.
    std::fs::remove_file(&out).unwrap();
    let (child, url) = start(&arguments);
    let answer = get(&format!("{url}api/task?annotator=ann"));
    assert_eq!(answer["task"]["turns"][0]["text"], "Two?");
    assert_eq!(answer["progress"], json!({"done": 1, "left": 1, "wanting": 1}));
    interrupt(child);
    assert_eq!(rows(&out), ranked);
}

#[test]
fn what_cannot_be_annotated_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.sqlite");
    let said = refused(&["annotate", "--ledger", text(&missing)]);
    assert!(said.contains("there is no ledger") && said.contains("--data"), "{said}");
    assert!(!missing.exists());
    let said = refused(&["annotate", "--run", text(&missing)]);
    assert!(said.contains("is no folder of a run"), "{said}");
    refused(&["annotate"]);
    let data = folder.path().join("rows.jsonl");
    std::fs::write(&data, "{\"video\": \"a.mp4\", \"prompt\": \"?\"}\n").unwrap();
    let said = refused(&["annotate", "--ledger", text(&missing), "--data", text(&data)]);
    assert!(said.contains("rows.jsonl:1: `candidates`: missing"), "{said}");
}
