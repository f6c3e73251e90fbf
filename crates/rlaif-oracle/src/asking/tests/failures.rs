//! What goes wrong, and what a group's failure is called.

use super::*;

fn hopeless() -> ChatError {
    ChatError::Hopeless("no such model".to_owned())
}

#[test]
fn a_repair_that_does_not_help_is_counted_and_the_group_breaks_the_protocol() {
    let (stub, ledger) = (Arc::new(Stub::new(|_, _| Ok(say("who knows\u{7}")))), ledger());
    let judge = oracle(AskingSettings { repairs: 2, ..settings() }, &stub, &ledger);
    let error = rank(&judge, &groups(1)).remove(0).unwrap_err();
    assert_eq!((error.kind(), error.is_permanent()), (FailureKind::Protocol, false));
    let words = error.to_string();
    assert!(words.contains("there is no answer in the reply"), "{words}");
    assert!(words.contains("who knows\\u{7}"), "{words}");
    let usage = judge.usage();
    assert_eq!((stub.asked(), usage.repairs, usage.malformed, rows(&ledger)), (3, 2, 1, 3));

    let none = oracle(AskingSettings { repairs: 0, ..settings() }, &stub, &super::ledger());
    assert_eq!(briefs(&rank(&none, &groups(1))), ["protocol"]);
    assert_eq!((stub.asked(), none.usage().repairs), (4, 0));
}

#[test]
fn a_group_of_which_nobody_says_anything_is_an_abstention() {
    let stub = Arc::new(Stub::new(|_, _| Ok(say("abstain: it is dark"))));
    let oracle = oracle(AskingSettings { protocol: repeats(3), ..settings() }, &stub, &ledger());
    let error = rank(&oracle, &groups(1)).remove(0).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Abstained);
    assert!(error.to_string().contains("it is dark"), "{error}");
    assert_eq!((oracle.usage().abstained, oracle.usage().malformed), (3, 0));
}

#[test]
fn every_failure_of_a_model_has_its_name() {
    let last = || "status 503".to_owned();
    let cases = [
        (ChatError::Cancelled, FailureKind::Cancelled, "cancelled"),
        (
            ChatError::Deadline { seconds: 2.0, attempts: 3, last: last() },
            FailureKind::Unavailable,
            "no reply within 2 s after 3 attempts; the last: status 503",
        ),
        (
            ChatError::Unavailable { attempts: 7, last: last() },
            FailureKind::Unavailable,
            "no reply after 7 attempts; the last: status 503",
        ),
        (ChatError::Refused("too long".to_owned()), FailureKind::Refused, "too long"),
        (ChatError::Video("no frames".to_owned()), FailureKind::Video, "no frames"),
        (hopeless(), FailureKind::Hopeless, "no such model"),
    ];
    for batch in [1, 8] {
        for (error, kind, words) in cases.clone() {
            let stub = Arc::new(Stub::new(move |_, _| Err(error.clone())).batches(batch));
            let oracle = oracle(settings(), &stub, &ledger());
            let error = rank(&oracle, &groups(1)).remove(0).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().contains("g0"), "{error}");
            assert_eq!((oracle.usage().requests, stub.asked()), (0, 1));
        }
    }
}

/// Pairs of three candidates in both orders: six questions, of which the fourth fails.
#[test]
fn what_came_before_a_failure_stays_in_the_ledger_and_is_not_asked_again() {
    let ledger = ledger();
    let pairs = || AskingSettings { protocol: pairwise(), ..settings() };
    let failing = Arc::new(Stub::new(|request, number| match number {
        3 => Err(ChatError::Unavailable { attempts: 1, last: "status 500".to_owned() }),
        _ => Ok(say(honest(request))),
    }));
    let failed = rank(&oracle(pairs(), &failing, &ledger), &groups(1));
    assert_eq!(briefs(&failed), ["unavailable"]);
    let kept = rows(&ledger);
    assert!(kept >= 3, "{kept}");

    let honest = Arc::new(Stub::honest());
    let verdicts = rank(&oracle(pairs(), &honest, &ledger), &groups(1));
    assert_eq!(briefs(&verdicts), ["[3] > [1] > [2]"]);
    // A question that was on its way when the group failed may have been answered and stored since.
    assert!(honest.asked() as u64 <= 6 - kept, "{} asked, {kept} kept", honest.asked());
    assert!(honest.asked() >= 1, "the one that failed");
    assert_eq!(rows(&ledger), 6, "each question was stored once");
}

#[test]
fn a_failure_is_its_groups_alone() {
    let stub = Arc::new(
        Stub::new(|request, _| {
            let is_second = shown(request).concat().contains('1');
            let refusal = || ChatError::Refused("not this".to_owned());
            if is_second { Err(refusal()) } else { Ok(say(honest(request))) }
        })
        .batches(8),
    );
    let verdicts = briefs(&rank(&oracle(settings(), &stub, &ledger()), &groups(3)));
    assert_eq!(verdicts, ["[3] > [1] > [2]", "refused", "[3] > [1] > [2]"]);
}

#[test]
fn what_is_hopeless_is_not_tried_again_but_what_is_known_is_told() {
    let ledger = ledger();
    rank(&oracle(settings(), &Arc::new(Stub::honest()), &ledger), &groups(1));
    let stub = Arc::new(Stub::new(|_, _| Err(hopeless())));
    let oracle = oracle(settings(), &stub, &ledger);
    let mut requests = groups(5);
    requests.rotate_left(1);
    let verdicts = rank(&oracle, &requests);
    assert_eq!(briefs(&verdicts)[..4], ["hopeless"; 4]);
    assert_eq!(brief(&verdicts[4]), "[3] > [1] > [2]");
    assert!(verdicts[3].as_ref().unwrap_err().is_permanent());
    assert_eq!(briefs(&rank(&oracle, &groups(2))), ["[3] > [1] > [2]", "hopeless"]);
    assert_eq!(stub.asked(), 1);
}

#[test]
fn a_model_that_panics_fails_its_groups_and_hangs_nobody() {
    for (threads, batch) in [(1, 1), (4, 1), (1, 8)] {
        let stub = Stub::new(|_, _| panic!("out of cheese")).threads(threads).batches(batch);
        let oracle = oracle(settings(), &Arc::new(stub), &ledger());
        for error in rank(&oracle, &groups(6)).into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), FailureKind::Hopeless);
            assert!(error.to_string().contains("the model panicked: out of cheese"), "{error}");
        }
    }
}

/// Answers the first of what it is asked alone.
struct Forgetful;

impl ChatModel for Forgetful {
    fn identity(&self) -> serde_json::Value {
        json!("forgetful")
    }

    fn batch(&self) -> usize {
        8
    }

    fn chat(&self, requests: &[&ChatRequest], _: &Patience) -> Vec<Result<ChatReply>> {
        requests.iter().skip(1).map(|request| Ok(say(honest(request)))).collect()
    }
}

#[test]
fn replies_that_nobody_can_tell_apart_are_not_kept() {
    let (ledger, prompts) = (ledger(), Prompts::load(&PromptsConfig::default()).unwrap());
    let oracle =
        ChatOracle::new(settings(), Box::new(Forgetful), prompts, Arc::clone(&ledger)).unwrap();
    for error in rank(&oracle, &groups(5)).into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), FailureKind::Hopeless);
        assert!(error.to_string().contains("replies to"), "{error}");
    }
    assert_eq!(rows(&ledger), 0);
}

#[test]
fn a_panic_elsewhere_answers_the_job_and_gives_up_its_claim() {
    let (sender, answers) = channel();
    let cancel = Cancel::new();
    let job = |at: usize| {
        let mut group = Group::new(at, &groups(2)[at], &settings(), &cancel, &sender);
        group.questions().remove(0)
    };
    let (queue, flight) = (Queue::default(), Flight::default());
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _claimed = flight.claim(&queue, "same", job(0)).expect("nobody asks yet");
        assert!(flight.claim(&queue, "same", job(1)).is_none());
        panic!("somewhere");
    }));
    assert!(panic.is_err());
    let answered = answers.try_recv().unwrap();
    let error = answered.result.err().unwrap();
    assert_eq!((answered.group, error.kind()), (0, FailureKind::Panicked));
    // The other is asked in its turn.
    assert_eq!(queue.take(8).unwrap().len(), 1);
    assert!(flight.claim(&queue, "same", job(1)).is_some());
    assert!(answers.try_recv().is_err());
}

#[test]
fn a_ledger_that_cannot_be_read_or_written_fails_its_groups_for_good() {
    let stub = Arc::new(Stub::honest());
    let broken = ledger();
    let judge = oracle(settings(), &stub, &broken);
    broken.run(|connection| connection.execute_batch("DROP TABLE replies")).unwrap();
    let error = rank(&judge, &groups(1)).remove(0).unwrap_err();
    assert_eq!((error.kind(), error.is_permanent()), (FailureKind::Ledger, true));
    assert!(error.to_string().contains("no such table: replies"), "{error}");
    assert_eq!(stub.asked(), 0);

    let full = ledger();
    let judge = oracle(settings(), &stub, &full);
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON replies
                   BEGIN SELECT RAISE(FAIL, 'the disk is full'); END";
    full.run(|connection| connection.execute_batch(trigger)).unwrap();
    let error = rank(&judge, &groups(1)).remove(0).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Ledger);
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!((stub.asked(), judge.usage().requests), (1, 1), "it was paid for");
}
