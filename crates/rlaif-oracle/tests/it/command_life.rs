//! How a program's life ends: on cancellation, with its Oracle, by itself.

use std::{
    thread,
    time::{Duration, Instant},
};

use rlaif_oracle::{Cancel, FailureKind, Oracle, OracleWorker};

use crate::judge::{assert_gone, assert_reaped, brief, judge, judge_with, request};

const FINE: &str = "[1] > [2] > [3]";
const HANGS_ON_BAD: &str = r#"
    while next; do
        about bad && { sleep 600 & echo $! > "$1/sleep"; wait; }
        reply '"order": [0, 1, 2]'
    done"#;

#[test]
fn cancellation_works_while_waiting_and_the_oracle_can_be_used_again() {
    let judge = judge(HANGS_ON_BAD);
    let cancel = Cancel::new();
    let requests = ["a", "bad", "b"].map(|id| request(id, &["p", "q", "r"]));
    let mut cancelled_at = None;
    let results = thread::scope(|scope| {
        let ranking = scope.spawn(|| judge.oracle.rank(&requests, &cancel));
        judge.wait_for_trace("sleep");
        cancel.cancel();
        cancelled_at = Some(Instant::now());
        ranking.join().unwrap()
    });
    assert!(cancelled_at.unwrap().elapsed() < Duration::from_secs(5));
    let results: Vec<String> = results.iter().map(brief).collect();
    assert_eq!(results, [FINE, "cancelled", "cancelled"], "what was ranked by then is kept");
    assert_reaped(&judge.pids()[0]);
    assert_gone(&judge.trace("sleep"));

    assert_eq!(judge.brief(&["b"]), [FINE]);
    assert_eq!(judge.pids().len(), 2);
}

#[test]
fn cancellation_before_the_first_request_starts_nothing() {
    let judge = judge(HANGS_ON_BAD);
    let cancel = Cancel::new();
    cancel.cancel();
    let results = judge.oracle.rank(&[request("a", &["p", "q"])], &cancel);
    assert_eq!(results[0].as_ref().unwrap_err().kind(), FailureKind::Cancelled);
    assert!(judge.pids().is_empty());
}

#[test]
fn one_caller_can_give_up_while_another_is_served() {
    let judge = judge(HANGS_ON_BAD);
    let (first, second) = (Cancel::new(), Cancel::new());
    thread::scope(|scope| {
        let served = scope.spawn(|| judge.oracle.rank(&[request("bad", &["p", "q"])], &first));
        judge.wait_for_trace("sleep");
        second.cancel();
        let results = judge.oracle.rank(&[request("a", &["p", "q"])], &second);
        assert_eq!(results[0].as_ref().unwrap_err().kind(), FailureKind::Cancelled);
        assert!(!served.is_finished());
        first.cancel();
        served.join().unwrap();
    });
}

#[test]
fn the_end_of_stdin_asks_the_program_to_end() {
    let judge = judge(
        r#"while IFS= read -r line; do id=${line#*'"id":'}; id=${id%%,*}; reply '"order": [0, 1, 2]'; done
        sleep 0.2; echo bye > "$1/bye""#,
    );
    assert_eq!(judge.brief(&["a"]), [FINE]);
    let (pid, bye) = (judge.pids().remove(0), judge.path("bye"));
    assert_eq!(judge.oracle.name(), "command sh");
    let (folder, oracle) = judge.into_parts();
    drop(oracle);
    assert_eq!(std::fs::read_to_string(bye).unwrap(), "bye\n");
    assert_reaped(&pid);
    drop(folder);
}

#[test]
fn a_program_that_will_not_end_is_ended_with_its_children() {
    let judge = judge(
        r#"
        trap '' TERM HUP INT
        next; reply '"order": [0, 1, 2]'
        sleep 600 & echo $! > "$1/sleep"
        while :; do wait; done"#,
    );
    assert_eq!(judge.brief(&["a"]), [FINE]);
    judge.wait_for_trace("sleep");
    let (pid, sleep) = (judge.pids().remove(0), judge.trace("sleep"));
    let start = Instant::now();
    drop(judge);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_reaped(&pid);
    assert_gone(&sleep);
}

#[test]
fn a_program_that_ended_while_idle_costs_no_group() {
    let judge = judge_with("next; reply '\"order\": [0, 1, 2]'; exit 0", |config| {
        config.max_restarts = 1;
    });
    for _ in 0..4 {
        assert_eq!(judge.brief(&["a"]), [FINE]);
        assert_gone_or_zombie(&judge.pids());
    }
    assert_eq!(judge.pids().len(), 4, "started again exactly when it is needed");
}

/// The request that finds the program gone keeps its own second chance.
#[test]
fn nobody_is_blamed_for_an_end_between_two_requests() {
    let judge = judge(
        r#"
        next; about bad && [ ! -e "$1/crashed" ] && { : > "$1/crashed"; exit 1; }
        reply '"order": [0, 1, 2]'"#,
    );
    assert_eq!(judge.brief(&["a"]), [FINE]);
    assert_gone_or_zombie(&judge.pids());
    assert_eq!(judge.brief(&["bad"]), [FINE]);
    assert_eq!(judge.pids().len(), 3);
}

/// Waits until the last process is dead, whether or not it has been reaped yet.
fn assert_gone_or_zombie(pids: &[String]) {
    let stat = format!("/proc/{}/stat", pids.last().expect("a start"));
    let start = Instant::now();
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(start.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    }
    // Its pipe's end still has to be read.
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_dropped_worker_leaves_no_process() {
    let judge = judge(HANGS_ON_BAD);
    let (pids, sleep) = (judge.path("pids"), judge.path("sleep"));
    let (folder, oracle) = judge.into_parts();
    let worker = OracleWorker::start(Box::new(oracle), &Cancel::new()).unwrap();
    let fine = worker.submit(vec![request("a", &["p", "q", "r"])]);
    let hangs = worker.submit(vec![request("bad", &["p", "q", "r"])]);
    assert_eq!(brief(&fine.wait().verdicts[0]), FINE);
    let start = Instant::now();
    while !sleep.exists() && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(5));
    }
    drop(worker);
    assert_eq!(brief(&hangs.wait().verdicts[0]), "cancelled");
    assert_reaped(&std::fs::read_to_string(pids).unwrap());
    drop(folder);
}
