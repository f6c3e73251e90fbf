//! Budgets, deadlines, the wish to stop.

use std::sync::mpsc::Sender;
use std::time::Instant;

use super::*;

#[test]
fn calls_are_counted_over_restarts_and_known_replies_are_free() {
    let (stub, ledger) = (Arc::new(Stub::honest().threads(3)), ledger());
    let limited = |most| AskingSettings { max_calls: Some(most), ..settings() };
    let verdicts = rank(&oracle(limited(3), &stub, &ledger), &groups(5));
    let errors: Vec<&OracleError> = verdicts.iter().filter_map(|v| v.as_ref().err()).collect();
    assert_eq!((errors.len(), stub.asked()), (2, 3));
    for error in errors {
        assert_eq!((error.kind(), error.is_permanent()), (FailureKind::Budget, true));
        assert!(error.to_string().contains("raise `limits.max_calls`"), "{error}");
    }
    let again = rank(&oracle(limited(4), &stub, &ledger), &groups(5));
    assert_eq!(again.iter().filter(|verdict| verdict.is_ok()).count(), 4);
    let done = rank(&oracle(limited(5), &stub, &ledger), &groups(5));
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(stub.asked(), 5);
}

/// Replies cost 0.5: the third would pass 1.
#[test]
fn money_is_counted_over_restarts_and_a_failed_request_costs_none() {
    let (stub, ledger) = (
        Arc::new(Stub::new(|request, number| match number {
            0 => Err(ChatError::Refused("not this".to_owned())),
            _ => Ok(say(honest(request))),
        })),
        ledger(),
    );
    let limited = || AskingSettings { max_cost: Some(1.0), ..settings() };
    let verdicts = briefs(&rank(&oracle(limited(), &stub, &ledger), &groups(4)));
    let ranking = "[3] > [1] > [2]";
    assert_eq!(verdicts, ["refused", ranking, ranking, "budget"]);
    let again = briefs(&rank(&oracle(limited(), &stub, &ledger), &groups(4)));
    assert_eq!(again, ["budget", ranking, ranking, "budget"]);
    assert_eq!(stub.asked(), 3);
}

/// A model whose replies wait until they are let go, and what lets them go.
fn held() -> (Arc<Stub>, Sender<()>) {
    let (release, held) = channel();
    let held = Mutex::new(held);
    let stub = Stub::new(move |request, _| {
        held.lock().unwrap().recv().ok();
        Ok(say(honest(request)))
    });
    (Arc::new(stub), release)
}

#[test]
fn a_wish_to_stop_is_heard_within_200_ms_and_what_is_on_the_wire_is_stored() {
    let mut heard = Duration::MAX;
    // The machine may be busy: one prompt stop of a few tells a poll from a wait.
    for _ in 0..5 {
        let (stub, release) = held();
        let ledger = ledger();
        let (judge, cancel) = (oracle(settings(), &stub, &ledger), Cancel::new());
        let (verdicts, took) = thread::scope(|scope| {
            let ranking = scope.spawn(|| (judge.rank(&groups(3), &cancel), Instant::now()));
            wait_until("the first question", || stub.asked() + stub.seen.lock().unwrap().len() > 0);
            let start = Instant::now();
            cancel.cancel();
            let (verdicts, end) = ranking.join().unwrap();
            (verdicts, end - start)
        });
        assert_eq!(briefs(&verdicts), ["cancelled"; 3]);
        assert_eq!(rows(&ledger), 0);
        release.send(()).unwrap();
        wait_until("the reply", || rows(&ledger) == 1);
        drop(release);
        drop(judge);
        assert_eq!(stub.asked(), 1, "those in the queue are not asked");
        heard = heard.min(took);
    }
    assert!(heard < Duration::from_millis(200), "{heard:?}");
}

#[test]
fn an_oracle_that_is_dropped_still_stores_what_is_on_the_wire() {
    let (stub, release) = held();
    let (ledger, cancel) = (ledger(), Cancel::new());
    let judge = oracle(settings(), &stub, &ledger);
    thread::scope(|scope| {
        let ranking = scope.spawn(|| judge.rank(&groups(1), &cancel));
        wait_until("the question", || !stub.seen.lock().unwrap().is_empty());
        cancel.cancel();
        assert_eq!(briefs(&ranking.join().unwrap()), ["cancelled"]);
    });
    drop(judge);
    release.send(()).unwrap();
    wait_until("the reply", || rows(&ledger) == 1);
}

#[test]
fn a_deadline_runs_from_a_groups_first_question_and_is_that_of_all_its_questions() {
    let stub = Arc::new(Stub::new(|request, _| {
        thread::sleep(Duration::from_millis(30));
        Ok(say(honest(request)))
    }));
    let deadline = Some(Duration::from_secs(100));
    let twice = AskingSettings { protocol: repeats(2), deadline, ..settings() };
    let start = Instant::now();
    rank(&oracle(twice, &stub, &ledger()), &groups(3));
    let seen = stub.seen.lock().unwrap();
    let deadlines: Vec<Instant> =
        seen.iter().map(|(_, patience)| patience.deadline.unwrap()).collect();
    assert!(deadlines[0] >= start + Duration::from_secs(100));
    for group in deadlines.chunks(2) {
        assert_eq!(group[0], group[1]);
    }
    // Two replies of 30 ms lie between the first questions of two groups, however long it waited.
    assert!(deadlines[2] - deadlines[0] >= Duration::from_millis(60));
    assert!(deadlines[4] - deadlines[2] >= Duration::from_millis(60));
}

/// Pushes one job of each group at once, so that they go out as one batch, and gives the verdicts.
fn together(
    judge: &ChatOracle,
    cancels: &[Cancel],
    begun: &[Instant],
) -> Vec<Result<Verdict, OracleError>> {
    let requests = groups(cancels.len());
    let (sender, answers) = channel();
    let mut open: Vec<Group> = requests
        .iter()
        .enumerate()
        .map(|(at, request)| Group::new(at, request, &judge.shared.settings, &cancels[at], &sender))
        .collect();
    drop(sender);
    let jobs = open.iter_mut().zip(begun).map(|(group, begun)| {
        let job = group.questions().remove(0);
        job.asked.started.set(*begun).unwrap();
        job
    });
    judge.shared.queue.push(jobs.collect());
    judge.collect(&mut open, &answers, &Cancel::new());
    open.into_iter().zip(cancels).map(|(group, cancel)| group.verdict("judge", cancel)).collect()
}

#[test]
fn in_a_batch_the_wish_of_one_run_to_stop_is_not_that_of_another() {
    let cancels = [Cancel::new(), Cancel::new()];
    let first = cancels[0].clone();
    let stub = Stub::new(move |request, number| {
        first.cancel();
        match number {
            // The batch.
            0 | 1 => Err(ChatError::Cancelled),
            _ => Ok(say(honest(request))),
        }
    });
    let judge = oracle(settings(), &Arc::new(stub.batches(8)), &ledger());
    let verdicts = together(&judge, &cancels, &[Instant::now(); 2]);
    assert_eq!(briefs(&verdicts), ["cancelled", "[3] > [1] > [2]"]);
}

#[test]
fn in_a_batch_the_deadline_of_one_group_is_not_that_of_another() {
    let late = || ChatError::Deadline { seconds: 1.0, attempts: 0, last: "busy".to_owned() };
    let stub = Arc::new(
        Stub::new(move |request, number| match number {
            // The batch.
            0 | 1 => Err(late()),
            _ => Ok(say(honest(request))),
        })
        .batches(8),
    );
    let time = Duration::from_secs(50);
    let judge = oracle(AskingSettings { deadline: Some(time), ..settings() }, &stub, &ledger());
    let now = Instant::now();
    let begun = [now, now + Duration::from_secs(5)];
    let verdicts = together(&judge, &[Cancel::new(), Cancel::new()], &begun);
    assert_eq!(briefs(&verdicts), ["unavailable", "[3] > [1] > [2]"]);
    assert_eq!(*stub.batches.lock().unwrap(), [2, 1]);
    let seen = stub.seen.lock().unwrap();
    let deadlines: Vec<Instant> =
        seen.iter().map(|(_, patience)| patience.deadline.unwrap()).collect();
    assert_eq!(deadlines, [begun[0], begun[0], begun[1]].map(|begun| begun + time));
}
