//! Pauses, deadlines, the breaker, the rate and the wish to stop, against a judge on the loopback.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rlaif_oracle::{
    Cancel, ChatError, ChatModel as _, Patience,
    http::{HttpChat, LimitsConfig},
    rehearsal::{Fault, JudgeOptions, JudgeServer},
};

use crate::asking::{ask, chat, judge, question, quick, server, within};

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn retried(chat: &HttpChat) -> bool {
    chat.usage().retries > 0
}

#[test]
fn retry_after_in_seconds_holds_every_thread() {
    let judge = judge(|number| match number {
        0 => Fault::Status(429, Some("1".to_owned())),
        _ => Fault::None,
    });
    let chat = chat(server(&judge), quick());
    let start = Instant::now();
    thread::scope(|scope| {
        let first = scope.spawn(|| ask(&chat, &question(0)).map(|_| start.elapsed()));
        until("the first is turned down", || retried(&chat));
        let second = ask(&chat, &question(1)).map(|_| start.elapsed());
        for took in [first.join().unwrap(), second] {
            let took = took.unwrap();
            assert!(took >= Duration::from_secs(1), "{took:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    });
    assert_eq!(judge.counts().requests, 3);
}

#[test]
fn retry_after_as_a_date_is_honoured() {
    let judge = judge(|number| match number {
        // Cut to whole seconds, it is between 1 and 2 s from now.
        0 => {
            let date = SystemTime::now() + Duration::from_secs(2);
            Fault::Status(503, Some(httpdate::fmt_http_date(date)))
        }
        _ => Fault::None,
    });
    let start = Instant::now();
    ask(&chat(server(&judge), quick()), &question(0)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
}

#[test]
fn the_deadline_ends_retries_and_says_how_many() {
    let judge = judge(|_| Fault::Status(503, None));
    let limits = LimitsConfig { max_retries: 100, backoff_max_seconds: 0.05, ..quick() };
    let chat = chat(server(&judge), LimitsConfig { backoff_seconds: 0.05, ..limits });
    let start = Instant::now();
    let error = chat.chat(&[&question(0)], &within(0.4)).remove(0).unwrap_err();
    let ChatError::Deadline { seconds, attempts, last } = &error else { panic!("{error}") };
    assert!((0.3..=0.4).contains(seconds), "{seconds}");
    assert_eq!(u64::from(*attempts), judge.counts().requests);
    assert!(*attempts >= 2 && last.contains("HTTP 503"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn the_deadline_ends_a_slow_reply_and_blames_no_outage() {
    let judge = judge(|_| Fault::Slow(Duration::from_secs(20)));
    let limits = LimitsConfig { breaker_failures: 1, ..quick() };
    let chat = chat(server(&judge), limits);
    let start = Instant::now();
    let error = chat.chat(&[&question(0)], &within(0.3)).remove(0).unwrap_err();
    assert!(matches!(error, ChatError::Deadline { attempts: 1, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(chat.usage().breaker_opened, 0);
}

#[test]
fn a_pause_of_years_is_bounded_by_the_deadline() {
    let judge = judge(|_| Fault::Status(429, Some("999999999999".to_owned())));
    let chat = chat(server(&judge), quick());
    let error = chat.chat(&[&question(0)], &within(0.3)).remove(0).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ChatError::Deadline { attempts: 1, .. }), "{text}");
    assert!(text.contains("pause") && text.contains("HTTP 429"), "{text}");
}

#[test]
fn the_wish_to_stop_is_heard_in_every_wait() {
    let long = LimitsConfig { backoff_seconds: 3600.0, backoff_max_seconds: 3600.0, ..quick() };
    let open = LimitsConfig { breaker_failures: 1, breaker_seconds: 3600.0, ..quick() };
    let paused = Some("3600".to_owned());
    for (limits, after) in [(long, None), (open, None), (quick(), paused)] {
        let judge = judge(move |_| Fault::Status(503, after.clone()));
        let chat = chat(server(&judge), limits);
        let patience = Patience { deadline: None, cancel: Cancel::new() };
        thread::scope(|scope| {
            let asking = scope.spawn(|| chat.chat(&[&question(0)], &patience).remove(0));
            until("the first attempt failed", || retried(&chat));
            let start = Instant::now();
            patience.cancel.cancel();
            assert_eq!(asking.join().unwrap(), Err(ChatError::Cancelled));
            assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
        });
    }
}

#[test]
fn nothing_is_sent_once_the_run_wants_to_stop() {
    let judge = judge(|_| Fault::None);
    let chat = chat(server(&judge), quick());
    let patience = within(30.0);
    patience.cancel.cancel();
    assert_eq!(chat.chat(&[&question(0)], &patience).remove(0), Err(ChatError::Cancelled));
    assert_eq!(judge.counts().requests, 0);
}

#[test]
fn the_breaker_opens_waits_probes_and_closes() {
    let judge = judge(|number| match number {
        0..3 => Fault::Status(503, None),
        3 => Fault::ResetBeforeHeaders,
        _ => Fault::None,
    });
    let limits = LimitsConfig { breaker_failures: 3, breaker_seconds: 0.5, ..quick() };
    let chat = chat(server(&judge), limits);
    let start = Instant::now();
    ask(&chat, &question(0)).unwrap();
    // Three failures open it; a probe after half a second fails, the next one succeeds.
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((judge.counts().requests, chat.usage().breaker_opened), (5, 1));
    let start = Instant::now();
    ask(&chat, &question(1)).unwrap();
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
}

#[test]
fn while_the_breaker_is_open_a_deadline_still_ends_the_wait() {
    let judge = judge(|_| Fault::Status(503, None));
    let limits = LimitsConfig { breaker_failures: 1, breaker_seconds: 60.0, ..quick() };
    let chat = chat(server(&judge), limits);
    let error = chat.chat(&[&question(0)], &within(0.3)).remove(0).unwrap_err();
    assert!(matches!(error, ChatError::Deadline { attempts: 1, .. }), "{error}");
    assert!(error.to_string().contains("the breaker is open"), "{error}");
    let unsent = chat.chat(&[&question(1)], &within(0.1)).remove(0).unwrap_err();
    assert!(matches!(unsent, ChatError::Deadline { attempts: 0, .. }), "{unsent}");
    assert_eq!(judge.counts().requests, 1);
}

#[test]
fn no_more_than_the_rate_is_sent() {
    let judge = judge(|_| Fault::None);
    // 20 a second, the first at once: the eleventh comes half a second later.
    let limits = LimitsConfig { requests_per_minute: Some(1200.0), ..quick() };
    let chat = chat(server(&judge), limits);
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..4 {
            let chat = &chat;
            let mine = if thread == 0 { 2 } else { 3 };
            scope.spawn(move || {
                for number in 0..mine {
                    ask(chat, &question(thread * 10 + number)).unwrap();
                }
            });
        }
    });
    assert_eq!(judge.counts().requests, 11);
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn no_more_than_the_limit_are_on_the_wire_at_once() {
    let options = JudgeOptions {
        latency: Duration::from_millis(5),
        at_once: Some(3),
        ..JudgeOptions::default()
    };
    let judge = JudgeServer::start(options).unwrap();
    let chat = chat(server(&judge), LimitsConfig { concurrency: 3, ..quick() });
    thread::scope(|scope| {
        for number in 0..12 {
            let chat = &chat;
            scope.spawn(move || ask(chat, &question(number)).unwrap());
        }
    });
    let counts = judge.counts();
    assert_eq!((counts.requests, counts.turned_down, counts.answers()), (12, 0, 12));
    assert!(counts.peak <= 3, "{}", counts.peak);
}

/// 20 threads ask 50 questions each of a judge that takes 50 ms: at least 2.5 s.
#[test]
fn twenty_threads_wait_for_the_judge_and_for_little_else() {
    const THREADS: usize = 20;
    const EACH: usize = 50;
    let latency = Duration::from_millis(50);
    let ideal = latency * u32::try_from(EACH).unwrap();
    // Other programs may get in the way once, not always.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let options = JudgeOptions { latency, at_once: Some(THREADS), ..JudgeOptions::default() };
        let judge = JudgeServer::start(options).unwrap();
        let limits = LimitsConfig { concurrency: THREADS, ..quick() };
        let chat = Arc::new(chat(server(&judge), limits));
        let start = Instant::now();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let chat = &chat;
                scope.spawn(move || {
                    for number in 0..EACH {
                        ask(chat, &question(thread * EACH + number)).unwrap();
                    }
                });
            }
        });
        best = best.min(start.elapsed());
        let counts = judge.counts();
        let all = u64::try_from(THREADS * EACH).unwrap();
        assert_eq!((counts.answers(), counts.answered_again(), counts.peak), (all, 0, THREADS));
        if best < ideal.mul_f64(1.15) {
            break;
        }
    }
    assert!(best >= ideal && best < ideal.mul_f64(1.15), "{best:?} instead of {ideal:?}");
}
