//! Runs that are judged by people, by another checkpoint, and by one that is served.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oracle_rlaif::oracle::human::{AnnotatorName, Answer, NewJudgement};
use oracle_rlaif::oracle::{Desk, Ledger};
use oracle_rlaif::rank::Ranking;
use serde_json::Value;

use crate::serve::Server;
use crate::support::{checkpoint, ok, program, recipe, text};

/// Three steps of the smoke recipe.
fn arguments(out: &Path, oracle: &str) -> Vec<String> {
    [
        "train",
        "--quiet",
        "--recipe",
        &recipe("smoke.toml"),
        "--out",
        text(out),
        "--set",
        "train.max_steps=3",
        "--set",
        &format!("oracle={oracle}"),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Ranks what is open, longest first, as a person at the page would.
fn rank_open(desk: &Desk, person: &str) -> usize {
    let annotator = AnnotatorName::new(person).expect("a name");
    let open = desk.open_tasks(&annotator).expect("the ledger is read");
    for task in &open {
        let task = desk.task(&task.digest).expect("the ledger is read").expect("it is there");
        let lengths: Vec<f64> = task.candidates.iter().map(|text| text.len() as f64).collect();
        desk.submit(&NewJudgement {
            task: task.digest,
            annotator: annotator.clone(),
            shown: (0..task.candidates.len()).collect(),
            answer: Answer::Ranking(Ranking::from_scores(&lengths).expect("numbers")),
            seconds: 1.0,
        })
        .expect("the ledger is written");
    }
    open.len()
}

#[test]
fn a_run_waits_for_people_and_learns_from_two_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let oracle = "{type = \"human\", annotators = 2, undo_seconds = 0.0}";
    let mut child = program()
        .args(arguments(&run, oracle))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ledger = run.join("ledger.sqlite");
    let (start, mut ranked) = (Instant::now(), 0);
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_mins(3), "it waits for ever, {ranked} ranked");
        if ledger.exists() && run.join("recipe.toml").exists() {
            let desk = Desk::new(Arc::new(Ledger::open(&ledger).unwrap()));
            ranked += rank_open(&desk, "Ada") + rank_open(&desk, "Grace");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Two people, three steps of at most four groups.
    assert!((2..=24).contains(&ranked) && ranked.is_multiple_of(2), "{ranked}");
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(log.contains("\"oracle/Ada/tau\":1.0"), "they agree: {log}");
    let before = std::fs::read(run.join("model.safetensors")).unwrap();

    // Nobody is asked twice: the same run again, on the same ledger, needs no people.
    let again = folder.path().join("again");
    let mut more = arguments(&again, oracle);
    more.extend(["--set".to_owned(), format!("ranking.ledger=\"{}\"", text(&ledger))]);
    ok(&more.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(before == std::fs::read(again.join("model.safetensors")).unwrap());
}

#[test]
fn another_checkpoint_judges_by_its_likelihoods() {
    let folder = tempfile::tempdir().unwrap();
    let (run, again) = (folder.path().join("run"), folder.path().join("again"));
    let oracle =
        format!("{{type = \"model\", path = \"{}\", by = \"likelihood\"}}", text(checkpoint()));
    for out in [&run, &again] {
        let arguments = arguments(out, &oracle);
        ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let weights = |run: &Path| std::fs::read(run.join("model.safetensors")).unwrap();
    assert!(weights(&run) == weights(&again), "the same judge, the same bits");
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(log.contains("\"oracle/failed\":0.0"), "{log}");
}

fn ranked(folder: &Path, oracle: &str) -> (Value, Vec<Value>) {
    let data = folder.join("groups.jsonl");
    ok(&["world", "candidates", "--groups", "3", "--candidates", "2", "--out", text(&data)]);
    let recipe = folder.join("judge.toml");
    std::fs::write(&recipe, oracle).expect("the recipe is written");
    let out = folder.join("ranked.jsonl");
    let output = program()
        .args(["rank", "--data", text(&data), "--recipe", text(&recipe)])
        .args(["--out", text(&out), "--json"])
        .output()
        .expect("the program starts");
    let summary = serde_json::from_slice(&output.stdout).expect("a summary");
    let rows = std::fs::read_to_string(&out).expect("ranked rows");
    (summary, rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// A model with random weights says nothing that could be read: it is asked, twice a question, here and
/// over HTTP, and what it says is no verdict.
#[test]
fn a_checkpoint_is_asked_here_and_behind_serve_and_its_babble_becomes_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = "system = \"empty.j2\"\npairwise = \"pair.j2\"\nrepair = \"again.j2\"\n";
    for (name, words) in [
        ("empty.j2", ""),
        (
            "pair.j2",
            "{{ candidates[0] }} {{ candidates[1] }} ?{% if false %}{{ question }}{% endif %}",
        ),
        ("again.j2", "which ?"),
    ] {
        std::fs::write(folder.path().join(name), words).unwrap();
    }
    let asking = "protocol = \"pairwise\"\nmax_tokens = 6\n";
    let here = format!(
        "[oracle]\ntype = \"model\"\npath = \"{}\"\n{asking}[oracle.prompts]\n{prompts}",
        text(checkpoint())
    );
    let (summary, local) = ranked(folder.path(), &here);
    assert_eq!(summary["failed"], 3, "{summary}");

    let server = Server::start(&["--model-name", "checkpoint"]);
    let served = format!(
        "[oracle]\ntype = \"openai\"\nbase_url = \"http://127.0.0.1:{}/v1\"\nmodel = \"checkpoint\"\n\
         {asking}[oracle.frames]\ncount = 8\nquality = 100\n[oracle.prompts]\n{prompts}",
        server.port()
    );
    let (summary, remote) = ranked(folder.path(), &served);
    assert!(summary["requests"].as_u64() >= Some(6), "both orders of three pairs: {summary}");
    for (local, remote) in local.iter().zip(&remote) {
        for row in [local, remote] {
            let failure = row["failure"].as_str().unwrap();
            assert!(failure.contains("broke the protocol"), "{failure}");
        }
    }
}
