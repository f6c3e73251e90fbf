//! A judge that fails by schedule: what is tried again, what is not, and what is said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rlaif_data::VideoRef;
use rlaif_oracle::{
    ChatError, ChatModel as _,
    http::{
        Detail, FramesConfig, HttpChat, LimitsConfig, Picture, Pictures, ServerConfig, Structured,
        no_pictures,
    },
    rehearsal::{Fault, JudgeOptions, JudgeServer},
};
use serde_json::json;

use crate::asking::{ask, chat, judge, question, quick, server};

#[test]
fn every_passing_fault_is_tried_again_and_nothing_is_paid_twice() {
    let mut faults: Vec<Fault> = [408, 409, 425, 429, 500, 502, 503, 504, 529]
        .map(|status| Fault::Status(status, None))
        .to_vec();
    faults.extend([
        Fault::Status(429, Some("nonsense".to_owned())),
        Fault::ResetBeforeHeaders,
        Fault::ResetMidBody,
        Fault::Garbage,
        Fault::EmptyChoices,
        Fault::InvalidUtf8,
        Fault::HugeBody,
    ]);
    for fault in faults {
        let first = fault.clone();
        let judge = judge(move |number| if number < 2 { first.clone() } else { Fault::None });
        let chat = chat(server(&judge), quick());
        let reply = ask(&chat, &question(0)).unwrap();
        assert_eq!(reply.text, "[2] > [1]", "{fault}");
        let counts = judge.counts();
        assert_eq!((counts.requests, chat.usage().retries), (3, 2), "{fault}");
        assert_eq!((counts.answers(), counts.answered_again()), (1, 0), "{fault}");
        assert_eq!(counts.asked.len(), 1, "{fault}: every attempt has the same body");
    }
}

#[test]
fn a_slow_reply_is_given_up_and_asked_again() {
    for fault in [Fault::Slow(Duration::from_secs(20)), Fault::StallMidBody] {
        let first = fault.clone();
        let judge = judge(move |number| if number == 0 { first.clone() } else { Fault::None });
        let chat = chat(server(&judge), LimitsConfig { timeout_seconds: 1.0, ..quick() });
        let start = Instant::now();
        let reply = ask(&chat, &question(0)).unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1), "{fault}");
        assert_eq!((reply.text.as_str(), chat.usage().retries), ("[2] > [1]", 1), "{fault}");
        // Of the attempt that was answered alone.
        assert!(reply.latency < Duration::from_secs(1), "{fault}: {:?}", reply.latency);
    }
}

#[test]
fn answers_that_are_wrong_or_none_are_answers() {
    for (fault, expected) in
        [(Fault::WrongCount, "[1]"), (Fault::Abstain, "ABSTAIN: the clip does not show it")]
    {
        let judge = judge(move |_| fault.clone());
        let reply = ask(&chat(server(&judge), quick()), &question(0)).unwrap();
        assert_eq!(reply.text, expected);
        assert_eq!((judge.counts().requests, judge.counts().answers()), (1, 1));
    }
}

#[test]
fn retries_end_and_the_last_failure_is_told() {
    let judge = judge(|_| Fault::Status(500, None));
    let chat = chat(server(&judge), LimitsConfig { max_retries: 2, ..quick() });
    let error = ask(&chat, &question(0)).unwrap_err();
    let ChatError::Unavailable { attempts: 3, last } = &error else { panic!("{error}") };
    assert!(last.starts_with("HTTP 500: rehearsed failure"), "{last}");
    assert_eq!((judge.counts().requests, chat.usage().retries), (3, 2));
}

#[test]
fn where_nobody_listens_retries_end_too() {
    let gone = judge(|_| Fault::None);
    let server = server(&gone);
    drop(gone);
    let chat = chat(server, LimitsConfig { max_retries: 1, ..quick() });
    let error = ask(&chat, &question(0)).unwrap_err();
    assert!(matches!(error, ChatError::Unavailable { attempts: 2, .. }), "{error}");
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    let cases = [
        (Fault::Status(401, None), "`api_key_env`"),
        (Fault::Status(402, None), "paid"),
        (Fault::Status(403, None), "forbids"),
        (Fault::Status(404, Some("1".to_owned())), "`base_url`"),
        (Fault::Status(400, None), "refused: HTTP 400"),
        (Fault::Status(413, None), "refused: HTTP 413"),
    ];
    for (fault, expected) in cases {
        let asked = fault.clone();
        let judge = judge(move |_| asked.clone());
        let chat = chat(server(&judge), quick());
        let error = ask(&chat, &question(0)).unwrap_err();
        assert_eq!(matches!(error, ChatError::Refused(_)), expected.starts_with("refused"));
        assert_eq!(matches!(error, ChatError::Hopeless(_)), !expected.starts_with("refused"));
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!((judge.counts().requests, chat.usage().retries), (1, 0), "{fault}");
    }
}

#[test]
fn an_outage_loses_no_verdict_and_opens_the_breaker_once() {
    // More failures than all retries of all threads.
    let judge = judge(|number| match number {
        0..40 => Fault::ResetBeforeHeaders,
        _ => Fault::None,
    });
    let limits =
        LimitsConfig { max_retries: 2, breaker_failures: 8, breaker_seconds: 0.02, ..quick() };
    let chat = chat(server(&judge), limits);
    thread::scope(|scope| {
        for thread in 0..8 {
            let chat = &chat;
            scope.spawn(move || {
                for number in 0..5 {
                    let reply = ask(chat, &question(thread * 5 + number)).unwrap();
                    assert_eq!(reply.text, "[2] > [1]");
                }
            });
        }
    });
    let counts = judge.counts();
    assert_eq!((counts.answers(), counts.answered.len(), counts.answered_again()), (40, 40, 0));
    assert_eq!((counts.requests, chat.usage().retries), (80, 40));
    assert_eq!(chat.usage().breaker_opened, 1);
}

#[test]
fn a_server_without_schemas_is_asked_without_from_then_on() {
    let options = JudgeOptions { takes_schema: false, ..JudgeOptions::default() };
    let judge = JudgeServer::start(options).unwrap();
    let mut request = question(0);
    request.schema = Some(json!({"type": "object"}));

    let chat_auto = chat(server(&judge), LimitsConfig { max_retries: 0, ..quick() });
    assert_eq!(ask(&chat_auto, &request).unwrap().text, "[2] > [1]");
    assert_eq!(judge.counts().requests, 2);
    assert_eq!(ask(&chat_auto, &request).unwrap().text, "[2] > [1]");
    assert_eq!(judge.counts().requests, 3);
    assert!(judge.last_request().unwrap().body.get("response_format").is_none());

    let strict = ServerConfig { structured: Structured::JsonSchema, ..server(&judge) };
    let error = ask(&chat(strict, quick()), &request).unwrap_err();
    assert!(matches!(&error, ChatError::Hopeless(why) if why.contains("`structured`")), "{error}");
    let text = ServerConfig { structured: Structured::Text, ..server(&judge) };
    assert!(ask(&chat(text, quick()), &request).is_ok());
}

#[test]
fn a_schema_goes_along_where_it_is_taken() {
    let judge = judge(|_| Fault::None);
    let chat = chat(server(&judge), quick());
    let mut request = question(0);
    request.schema = Some(json!({"type": "object"}));
    ask(&chat, &request).unwrap();
    let body = judge.last_request().unwrap().body;
    assert_eq!(body["response_format"]["json_schema"]["schema"], json!({"type": "object"}));
    assert_eq!((chat.usage().retries, judge.counts().requests), (0, 1));
}

#[test]
fn the_clip_is_decoded_once_and_shown_before_the_question() {
    let judge = judge(|_| Fault::None);
    let decoded = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&decoded);
    let pictures: Pictures = Arc::new(move |video, frames| {
        assert_eq!((video, frames.count), (&VideoRef::File("clips/a.mp4".into()), 2));
        counted.fetch_add(1, Ordering::SeqCst);
        Ok([b"one", b"two"].map(|jpeg| Picture { jpeg: jpeg.to_vec(), seconds: 0.0 }).to_vec())
    });
    let frames = FramesConfig { count: 2, detail: Some(Detail::Low), ..FramesConfig::default() };
    let prices = ServerConfig {
        price_per_million_prompt_tokens: 1e6,
        price_per_million_completion_tokens: 2e6,
        ..server(&judge)
    };
    let chat = HttpChat::new(prices, &frames, quick(), pictures).unwrap();
    let reply = ask(&chat, &question(1)).unwrap();
    ask(&chat, &question(2)).unwrap();
    assert_eq!(decoded.load(Ordering::SeqCst), 1);

    let content = &judge.last_request().unwrap().body["messages"][0]["content"];
    let url = json!({"url": "data:image/jpeg;base64,b25l", "detail": "low"});
    assert_eq!(content[0], json!({"type": "image_url", "image_url": url}));
    assert!(content[2]["text"].as_str().unwrap().starts_with("Question 2."), "{content}");
    // The 52 characters of the question are 13 tokens, a picture 85, nine characters of reply 3.
    assert_eq!((reply.prompt_tokens, reply.completion_tokens), (Some(13 + 170), Some(3)));
    assert!((reply.cost - (183.0 + 6.0)).abs() < 1e-9, "{}", reply.cost);
}

#[test]
fn a_clip_that_cannot_be_shown_is_not_asked_about() {
    let judge = judge(|_| Fault::None);
    let chat =
        HttpChat::new(server(&judge), &FramesConfig::default(), quick(), no_pictures()).unwrap();
    let error = ask(&chat, &question(0)).unwrap_err();
    assert!(matches!(&error, ChatError::Video(why) if why.contains("count = 0")), "{error}");
    assert_eq!(judge.counts().requests, 0);
}

#[test]
fn a_budget_of_money_needs_prices() {
    let judge = judge(|_| Fault::None);
    let limits = LimitsConfig { max_cost: Some(1.0), ..quick() };
    let frames = FramesConfig::default();
    let error = HttpChat::new(server(&judge), &frames, limits, no_pictures()).unwrap_err();
    assert!(error.to_string().contains("`max_cost`"), "{error}");
}

#[test]
fn who_is_asked_and_how_is_the_identity_and_limits_are_not() {
    let at = |server: ServerConfig, limits| chat(server, limits).identity();
    let base = || ServerConfig::new("http://127.0.0.1:1/v1", "m");
    let identity = at(base(), quick());
    assert_eq!(identity["base_url"], "http://127.0.0.1:1/v1");
    assert_eq!(identity["body"], json!({"max_tokens": 512, "temperature": 0.0}));
    assert_eq!(identity["frames"]["count"], 0);
    let slash = ServerConfig { base_url: "http://127.0.0.1:1/v1/".to_owned(), ..base() };
    assert_eq!(at(slash, LimitsConfig { concurrency: 3, ..quick() }), identity);
    assert_ne!(at(ServerConfig { temperature: None, ..base() }, quick()), identity);
    assert_ne!(at(ServerConfig { seed: Some(1), ..base() }, quick()), identity);
}
