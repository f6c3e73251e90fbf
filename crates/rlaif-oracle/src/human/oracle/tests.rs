use std::thread;

use super::*;
use crate::human::{AnnotatorName, NewJudgement, Submitted, TaskState, Withdrawn, task_digest};
use crate::rank_groups;
use crate::testing::request;

fn at_once(annotators: u32) -> HumanConfig {
    HumanConfig { annotators, undo_seconds: 0.0, ..HumanConfig::default() }
}

fn name(text: &str) -> AnnotatorName {
    AnnotatorName::new(text).unwrap()
}

fn ranks(desk: &Desk, task: &str, annotator: &str, answer: &str) -> Submitted {
    let candidates = desk.task(task).unwrap().unwrap().candidates.len();
    let answer = match Ranking::parse(answer, candidates) {
        Ok(ranking) => Answer::Ranking(ranking),
        Err(_) => Answer::Skipped(answer.to_owned()),
    };
    let shown = (0..candidates).rev().collect();
    let annotator = name(annotator);
    desk.submit(&NewJudgement { task: task.to_owned(), annotator, shown, answer, seconds: 2.5 })
        .unwrap()
}

fn desk() -> (Arc<Ledger>, Desk) {
    let ledger = Arc::new(Ledger::in_memory().unwrap());
    (ledger.clone(), Desk::new(ledger))
}

#[test]
fn people_answer_while_the_run_waits_and_a_second_run_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let oracle = HumanOracle::new(at_once(2), Arc::new(Ledger::open(&path).unwrap())).unwrap();
    let groups = [request("a", &["p", "q", "r"]), request("b", &["x", "y"])];
    // As another process would: a connection of its own.
    let desk = Desk::new(Arc::new(Ledger::open(&path).unwrap()));
    let people = thread::spawn({
        let (desk, groups) = (desk.clone(), groups.clone());
        move || {
            let tasks: Vec<String> =
                groups.iter().map(|g| task_digest(&g.example, &g.candidates)).collect();
            while desk.progress(&name("ann")).unwrap().left < 2 {
                thread::sleep(Duration::from_millis(5));
            }
            ranks(&desk, &tasks[0], "ann", "[3] > [1] > [2]");
            ranks(&desk, &tasks[1], "ann", "[2] > [1]");
            ranks(&desk, &tasks[1], "bob", "too dark");
            ranks(&desk, &tasks[0], "bob", "[1] > [3] > [2]");
        }
    });
    let outcome = rank_groups(&oracle, &groups, &Cancel::new());
    people.join().unwrap();
    let first = outcome.verdicts[0].as_ref().unwrap();
    assert_eq!(first.ranking.to_string(), "[1] = [3] > [2]");
    let voters: Vec<&str> = first.votes.iter().map(|vote| vote.voter.as_str()).collect();
    assert_eq!(voters, ["ann", "bob"]);
    // Shown the other way round, what ann put first stood first.
    assert_eq!(first.calls[0].shown, [2, 1, 0]);
    assert_eq!(first.calls[0].ranking.as_ref().unwrap().to_string(), "[1] > [3] > [2]");
    assert_eq!(first.calls[0].latency, Duration::from_millis(2500));
    // One order and one skip are two verdicts.
    assert_eq!(outcome.verdicts[1].as_ref().unwrap().ranking.to_string(), "[2] > [1]");
    assert_eq!((oracle.usage().requests, oracle.usage().cached), (2, 0));

    let resumed = HumanOracle::new(at_once(2), Arc::new(Ledger::open(&path).unwrap())).unwrap();
    let again = rank_groups(&resumed, &groups, &Cancel::new());
    assert_eq!(again.verdicts[0].as_ref().unwrap().ranking, first.ranking);
    assert!(again.verdicts[0].as_ref().unwrap().calls[0].cached);
    assert_eq!((resumed.usage().requests, resumed.usage().cached), (0, 2));
    assert_eq!(desk.all_judgements().unwrap().len(), 4);
}

#[test]
fn a_group_that_everybody_skips_is_an_abstention_with_their_reasons() {
    let (ledger, desk) = desk();
    let group = request("a", &["p", "q"]);
    let task = desk.file(&group.example, &group.candidates, 2).unwrap();
    ranks(&desk, &task, "ann", "too dark");
    ranks(&desk, &task, "bob", "");
    let oracle = HumanOracle::new(at_once(2), ledger).unwrap();
    let error = oracle.rank(&[group], &Cancel::new()).remove(0).unwrap_err().to_string();
    assert!(error.ends_with("skipped by ann: too dark; skipped by bob"), "{error}");
    assert_eq!(oracle.usage().abstained, 1);
}

#[test]
fn a_run_that_stops_lets_go_at_once_and_leaves_its_tasks_open() {
    let (ledger, desk) = desk();
    let oracle = Arc::new(HumanOracle::new(at_once(1), ledger).unwrap());
    let cancel = Cancel::new();
    let run = thread::spawn({
        let (oracle, cancel) = (oracle.clone(), cancel.clone());
        move || oracle.rank(&[request("a", &["p", "q"])], &cancel)
    });
    while desk.progress(&name("ann")).unwrap().left == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    cancel.cancel();
    let results = run.join().unwrap();
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    assert!(matches!(&results[0], Err(OracleError::Cancelled { example }) if example == "a"));
    assert_eq!(desk.progress(&name("ann")).unwrap().left, 1);
}

#[test]
fn a_deadline_is_a_failure_and_filing_again_asks_again() {
    let (ledger, desk) = desk();
    let config = HumanConfig { deadline_seconds: Some(0.01), ..at_once(1) };
    let oracle = HumanOracle::new(config, ledger).unwrap();
    let group = request("a", &["p", "q"]);
    let error = oracle.rank(std::slice::from_ref(&group), &Cancel::new()).remove(0).unwrap_err();
    assert_eq!(error.kind(), crate::FailureKind::Timeout);
    assert_eq!(desk.progress(&name("ann")).unwrap().wanting, 0);
    let task = desk.file(&group.example, &group.candidates, 1).unwrap();
    assert_eq!(desk.progress(&name("ann")).unwrap().wanting, 1);
    ranks(&desk, &task, "ann", "[1] > [2]");
    assert!(oracle.rank(&[group], &Cancel::new())[0].is_ok());
}

#[test]
fn nobody_ranks_a_task_twice_and_a_verdict_can_be_taken_back_until_a_run_has_it() {
    let (_, desk) = desk();
    let group = request("a", &["p", "q"]);
    let task = desk.file(&group.example, &group.candidates, 1).unwrap();
    assert_eq!(desk.withdraw_last(&name("ann")).unwrap(), Withdrawn::Nothing);
    assert_eq!(ranks(&desk, &task, "ann", "[1] > [2]"), Submitted::Stored);
    assert_eq!(ranks(&desk, &task, "ann", "[2] > [1]"), Submitted::Already);
    assert_eq!(desk.open_tasks(&name("bob")).unwrap(), []);

    let Withdrawn::Done(last) = desk.withdraw_last(&name("ann")).unwrap() else { panic!("done") };
    assert_eq!(last.answer, Answer::Ranking(Ranking::parse("[1] > [2]", 2).unwrap()));
    assert_eq!(desk.judgements(&task).unwrap(), []);
    let kept: u32 = desk
        .ledger()
        .run(|c| c.query_row("SELECT count(withdrawn_at) FROM verdicts", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(kept, 1, "withdrawn rows stay");
    assert_eq!(ranks(&desk, &task, "ann", "[2] > [1]"), Submitted::Stored);

    // Too fresh for a run that leaves time for undoing, old enough for one that does not.
    assert_eq!(desk.decide(&task, 1, 60.0).unwrap(), None);
    assert_eq!(desk.decide(&task, 1, 0.0).unwrap().unwrap().len(), 1);
    assert_eq!(desk.withdraw_last(&name("ann")).unwrap(), Withdrawn::Taken);
    // Decided once, it stays so for a run with more patience; a late verdict changes nothing.
    ranks(&desk, &task, "bob", "[1] > [2]");
    let taken = desk.decide(&task, 1, 60.0).unwrap().unwrap();
    assert_eq!(taken[0].annotator, "ann");
    assert_eq!(taken.len(), 1);

    // A run that wants more has others asked, and what was taken stays taken.
    assert_eq!(desk.file(&group.example, &group.candidates, 3).unwrap(), task);
    let wanted = desk.task(&task).unwrap().unwrap();
    assert_eq!((wanted.needed, wanted.state), (3, TaskState::Decided));
    assert_eq!(desk.open_tasks(&name("carol")).unwrap().len(), 1);
    assert_eq!(desk.progress(&name("carol")).unwrap().left, 1);
    assert_eq!(desk.withdraw_last(&name("ann")).unwrap(), Withdrawn::Taken);
}

#[test]
fn tasks_with_the_fewest_verdicts_come_first_and_paths_are_absolute() {
    let (_, desk) = desk();
    let groups = [request("a", &["p", "q"]), request("b", &["x", "y"])];
    let tasks: Vec<String> =
        groups.iter().map(|g| desk.file(&g.example, &g.candidates, 2).unwrap()).collect();
    ranks(&desk, &tasks[0], "ann", "[1] > [2]");
    let open = |who: &str| -> Vec<String> {
        desk.open_tasks(&name(who)).unwrap().into_iter().map(|task| task.digest).collect()
    };
    assert_eq!(open("bob"), [tasks[1].clone(), tasks[0].clone()]);
    assert_eq!(open("ann"), [tasks[1].clone()]);
    let progress = desk.progress(&name("ann")).unwrap();
    assert_eq!((progress.done, progress.left, progress.wanting), (1, 1, 2));
    let rlaif_data::VideoRef::File(path) = desk.task(&tasks[0]).unwrap().unwrap().example.video
    else {
        panic!("a file")
    };
    assert!(path.is_absolute() && path.ends_with("clips/a.mp4"), "{}", path.display());
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let ledger = Arc::new(Ledger::in_memory().unwrap());
    for (text, field) in [
        (r#"{"annotators": 0}"#, "annotators"),
        (r#"{"deadline_seconds": 0}"#, "deadline_seconds"),
        (r#"{"undo_seconds": -1}"#, "undo_seconds"),
    ] {
        let config: HumanConfig = serde_json::from_str(text).unwrap();
        let error = HumanOracle::new(config, ledger.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("the `{field}` of the human oracle")), "{error}");
    }
    assert!(serde_json::from_str::<HumanConfig>(r#"{"anotators": 2}"#).is_err());
}
