//! Runs whose Oracle is a server that fails, costs money, or keeps people waiting.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oracle_rlaif::oracle::Ledger;
use oracle_rlaif::oracle::rehearsal::{Fault, JudgeOptions, JudgeServer};

use crate::support::{program, recipe, text};

/// Looks like a key, and is in no other file.
const KEY: &str = "sk-rehearsal-0123456789abcdef";

struct Run<'a> {
    out: &'a Path,
    oracle: String,
    more: Vec<&'a str>,
}

impl<'a> Run<'a> {
    /// Six steps of the smoke recipe, judged by `judge`.
    fn new(out: &'a Path, judge: &JudgeServer) -> Self {
        Run {
            out,
            oracle: openai(judge, "backoff_seconds = 0.02, max_retries = 50", ""),
            more: Vec::new(),
        }
    }

    fn command(&self) -> std::process::Command {
        let mut command = program();
        command.env("REHEARSAL_KEY", KEY);
        command.args(["train", "--recipe", &recipe("smoke.toml"), "--out", text(self.out)]);
        command.args(["--quiet", "--set", "train.max_steps=6"]);
        command.args(["--set", &format!("oracle={}", self.oracle)]);
        command.args(&self.more);
        command
    }

    fn output(&self) -> Output {
        self.command().output().expect("the program starts")
    }

    fn ok(&self) {
        let output = self.output();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn openai(judge: &JudgeServer, limits: &str, more: &str) -> String {
    format!(
        "{{type = \"openai\", base_url = \"{}\", model = \"judge\", api_key_env = \"REHEARSAL_KEY\", \
         frames = {{count = 2, max_side = 64}}, limits = {{{limits}}}{more}}}",
        judge.base_url()
    )
}

fn judge(faults: impl Fn(u64) -> Fault + Send + Sync + 'static) -> JudgeServer {
    let key = Some(KEY.to_owned());
    JudgeServer::start(JudgeOptions { key, faults: Arc::new(faults), ..JudgeOptions::default() })
        .expect("a port of the loopback")
}

fn weights(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("model.safetensors")).expect("weights")
}

/// The sum of a metric over the steps of a run; 0 where it never occurs.
fn total(run: &Path, name: &str) -> f64 {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).expect("the run has a log");
    let value = |line: &str| {
        let record: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(line).expect("a record is an object");
        record.get(name).and_then(serde_json::Value::as_f64).unwrap_or(0.0)
    };
    log.lines().map(value).sum()
}

#[test]
fn faults_of_the_server_change_no_weight_lose_no_verdict_and_are_not_paid_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (calm, stormy) = (folder.path().join("calm"), folder.path().join("stormy"));
    let sound = judge(|_| Fault::None);
    Run::new(&calm, &sound).ok();
    let faulty = judge(|number| match number % 9 {
        1 => Fault::Status(429, Some("0".to_owned())),
        2 => Fault::Status(500, None),
        4 => Fault::ResetBeforeHeaders,
        5 => Fault::ResetMidBody,
        6 => Fault::Garbage,
        8 => Fault::EmptyChoices,
        _ => Fault::None,
    });
    Run::new(&stormy, &faulty).ok();

    assert!(total(&stormy, "oracle/failed").abs() < 1e-9, "a verdict was lost");
    assert!(weights(&calm) == weights(&stormy), "the weights differ");
    let counts = faulty.counts();
    assert!(counts.faults.len() >= 6, "every kind occurred: {:?}", counts.faults);
    assert_eq!(counts.answered_again(), 0, "paid twice");
    assert_eq!(counts.answers(), sound.counts().answers());
    assert!(total(&stormy, "oracle/retries") > 0.0 && total(&calm, "oracle/retries") == 0.0);
    let ledger = Ledger::open(&stormy.join("ledger.sqlite")).unwrap();
    assert_eq!(ledger.spent("openai").unwrap().calls, counts.answers());

    // The same again in another folder, with the replies of the first.
    let (again, before) = (folder.path().join("again"), sound.counts().requests);
    let ledger = format!("ranking.ledger=\"{}\"", calm.join("ledger.sqlite").display());
    Run { more: vec!["--set", &ledger], ..Run::new(&again, &sound) }.ok();
    assert_eq!(sound.counts().requests, before, "nothing is asked again");
    assert!(weights(&again) == weights(&calm));
    assert!(total(&again, "oracle/cached") > 0.0);
}

#[test]
fn a_run_killed_while_it_is_judged_asks_nothing_again_that_had_been_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let slow = || {
        let (latency, key) = (Duration::from_millis(60), Some(KEY.to_owned()));
        JudgeServer::start(JudgeOptions { latency, key, ..JudgeOptions::default() }).unwrap()
    };
    let (first, second) = (slow(), slow());
    Run::new(&whole, &first).ok();

    let mut run = Run::new(&killed, &second);
    let mut child = run.command().stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while second.counts().answers() < first.counts().answers() / 2 {
        assert!(start.elapsed() < Duration::from_mins(2), "the judge is not asked");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("model.safetensors").exists(), "it was over before it could be killed");

    let kept = Ledger::open(&killed.join("ledger.sqlite")).unwrap().spent("openai").unwrap().calls;
    assert!(kept > 0);
    let (asked, answered) = (second.counts().requests, second.counts().answers());
    run.more = vec!["--resume"];
    run.ok();
    assert!(weights(&whole) == weights(&killed), "the weights differ");
    // Every reply that had been stored is answered from the ledger; no more than what was on the wire
    // at the kill (a batch holds two groups) is asked once more.
    let more = second.counts().requests - asked;
    assert_eq!(more, first.counts().answers() - kept);
    assert!(answered.saturating_sub(kept) <= 8, "{answered} answers, {kept} kept");
}

#[test]
fn a_spent_budget_stops_with_a_checkpoint_and_a_larger_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let server = judge(|_| Fault::None);
    let save = ["--set", "train.save_steps=0"];
    Run { more: save.to_vec(), ..Run::new(&whole, &server) }.ok();
    let all = server.counts().answers();

    let few =
        JudgeServer::start(JudgeOptions { key: Some(KEY.to_owned()), ..JudgeOptions::default() })
            .unwrap();
    let most = all / 2;
    let mut run = Run { more: save.to_vec(), ..Run::new(&stopped, &few) };
    run.oracle = openai(&few, &format!("max_calls = {most}"), "");
    let output = run.output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("max_calls") && stderr.contains("--resume"), "{stderr}");
    assert_eq!(few.counts().answers(), most, "not one more than may be paid for");
    let checkpoints = std::fs::read_dir(&stopped).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("checkpoint-")
    });
    assert_eq!(checkpoints.count(), 1, "the steps that were done are kept");

    run.oracle = openai(&few, &format!("max_calls = {all}"), "");
    run.more.push("--resume");
    run.ok();
    assert_eq!(few.counts().answers(), all, "nothing is paid for twice");
    assert!(weights(&whole) == weights(&stopped), "the weights differ");
}

#[test]
fn the_key_is_in_no_file_of_the_run_and_in_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let server = judge(|_| Fault::None);
    let mut good = Run::new(&run, &server);
    good.more = vec!["-vvv"];
    let output = good.output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let holds = |bytes: &[u8]| bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes());
    assert!(!holds(&output.stderr) && !holds(&output.stdout));
    let mut folders = vec![run];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                assert!(!holds(&std::fs::read(&path).unwrap()), "{}", path.display());
            }
        }
    }
    assert!(files > 5, "{files} files");

    // A wrong key ends the run at once, and is quoted by the server but not by us.
    let wrong = folder.path().join("wrong");
    let bad = Run::new(&wrong, &server);
    let asked = server.counts().requests;
    let output = bad.command().env("REHEARSAL_KEY", "sk-another-0123456789").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("401") && !stderr.contains("sk-another-0123456789"), "{stderr}");
    assert!(server.counts().requests - asked <= 8, "it goes on asking");
}

#[test]
fn several_oracles_are_heard_and_groups_they_disagree_on_count_less() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let server = judge(|_| Fault::None);
    let oracles = format!(
        "[{{type = \"world\"}}, {{type = \"world\", name = \"noisy\", tau = 0.0, weight = 0.5}}, {}]",
        openai(&server, "", ", repeats = 2, name = \"long\"")
    );
    let more = ["--set", "ranking.min_agreement=0.9", "--set", "ranking.low_agreement=\"scale\""];
    Run { oracle: oracles, more: more.to_vec(), ..Run::new(&run, &server) }.ok();
    let logged = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for name in [
        "oracle/agreement_tau",
        "oracle/agreement_w",
        "oracle/world/tau",
        "oracle/noisy/tau",
        "oracle/long/tau",
    ] {
        assert!(logged.contains(&format!("\"{name}\"")), "{name} is not logged");
    }
    assert!(total(&run, "oracle/low_agreement_scaled") > 0.0);
    let completions = std::fs::read_to_string(run.join("completions/step-000001.jsonl")).unwrap();
    assert!(completions.contains("[\"noisy\",\"["), "votes are kept: {completions}");
}

/// Nothing is learnt, and nothing is lost: an abstention comes back whenever it is asked for.
#[test]
fn a_judge_who_always_abstains_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let server = judge(|_| Fault::Abstain);
    Run { more: vec!["--set", "train.beta=0.0"], ..Run::new(&run, &server) }.ok();
    assert!(total(&run, "oracle/abstained") > 0.0);
    assert!(total(&run, "oracle/failures/abstained") > 0.0);
    assert!(total(&run, "grad_norm").abs() < 1e-9, "an update came of nothing");
}

/// Nobody answers, so the step cannot be finished.
#[cfg(unix)]
#[test]
fn ctrl_c_does_not_wait_for_a_judge_who_never_answers() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let server = judge(|number| if number < 20 { Fault::None } else { Fault::Status(503, None) });
    let child = Run::new(&run, &server)
        .command()
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let start = Instant::now();
    while server.counts().faults.is_empty() {
        assert!(start.elapsed() < Duration::from_mins(2), "the judge is not asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("SIGINT is sent");
    let asked = Instant::now();
    let output = child.wait_with_output().expect("the program ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert!(stderr.contains("--resume"), "{stderr}");
}
