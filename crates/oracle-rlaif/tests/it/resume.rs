//! A run that is killed or stopped and goes on ends with the bits of one that never was.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rlaif_train::metrics::measures_time;

use crate::support::{ok, program, recipe, refused, text};

/// `metrics.jsonl` without what measures the clock.
fn numbers(run: &Path) -> Vec<BTreeMap<String, String>> {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).expect("the run has a log");
    log.lines()
        .map(|line| {
            let record: BTreeMap<String, serde_json::Value> =
                serde_json::from_str(line).expect("a record is an object");
            record
                .into_iter()
                .filter(|(name, _)| !measures_time(name))
                .map(|(name, value)| (name, value.to_string()))
                .collect()
        })
        .collect()
}

fn same_run(a: &Path, b: &Path) {
    let weights = |run: &Path| std::fs::read(run.join("model.safetensors")).expect("weights");
    assert!(weights(a) == weights(b), "the weights differ");
    assert_eq!(numbers(a), numbers(b));
    let last = |run: &Path| {
        std::fs::read_to_string(run.join("completions/step-000020.jsonl")).expect("completions")
    };
    assert_eq!(last(a), last(b));
}

fn train(out: &Path) -> Vec<String> {
    ["train", "--recipe", &recipe("smoke.toml"), "--out", text(out), "--quiet"]
        .map(str::to_owned)
        .to_vec()
}

fn wait_for(path: &Path, deadline: Duration) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < deadline, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_run_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let arguments = train(&whole);
    ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());

    // Killed at three different points: once while a checkpoint may be under way.
    let mut arguments = train(&killed);
    let mut struck = 0;
    for (checkpoint, later) in [("checkpoint-4", 30), ("checkpoint-8", 0), ("checkpoint-14", 70)] {
        let mut child = program()
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        wait_for(&killed.join(checkpoint), Duration::from_mins(2));
        std::thread::sleep(Duration::from_millis(later));
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("the program ends");
        struck += usize::from(!killed.join("model.safetensors").exists());
        if !arguments.iter().any(|a| a == "--resume") {
            arguments.push("--resume".to_owned());
        }
    }
    assert!(struck >= 1, "the run was over before it could be killed");
    ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    same_run(&whole, &killed);
}

#[test]
fn a_checkpoint_torn_at_any_file_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let arguments = train(&run);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let steps = ["--set", "train.max_steps=4"];
    arguments.extend(steps);
    ok(&arguments);
    let before = std::fs::read(run.join("model.safetensors")).unwrap();
    let state = run.join("checkpoint-4/trainer/state.json");
    std::fs::write(&state, "{").unwrap();
    arguments.push("--resume");
    ok(&arguments);
    assert!(before == std::fs::read(run.join("model.safetensors")).unwrap());
    assert_eq!(numbers(&run).len(), 4);
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_step_writes_a_checkpoint_and_says_how_to_resume() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let arguments = train(&whole);
    ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());

    let mut arguments = train(&stopped);
    let child = program()
        .args(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    wait_for(&stopped.join("checkpoint-2"), Duration::from_mins(2));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("SIGINT is sent");
    let output = child.wait_with_output().expect("the program ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("--resume"), "{stderr}");

    arguments.push("--resume".to_owned());
    ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    same_run(&whole, &stopped);
}

#[test]
fn a_run_folder_in_use_and_another_recipe_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let arguments = train(&run);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--set", "train.max_steps=2"]);
    ok(&arguments);
    let message = refused(&arguments);
    assert!(message.contains("not empty") && message.contains("--resume"), "{message}");
    arguments.extend(["--set", "train.beta=0.5", "--resume"]);
    let message = refused(&arguments);
    assert!(message.contains("not the one"), "{message}");
}
