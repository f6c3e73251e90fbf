//! Settings of a request: what is read, what is refused by name, what memory is taken for.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;

fn limits() -> Limits {
    Limits {
        max_new_tokens: 100,
        max_batch: 8,
        max_concurrent: 4,
        max_body_bytes: 1 << 20,
        timeout: Duration::from_secs(9),
    }
}

fn read(fields: &Value) -> Result<Chat, Problem> {
    let mut request = json!({"messages": [{"role": "user", "content": "hi"}]});
    let object = request.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    Chat::read(request.to_string().as_bytes(), &limits())
}

#[test]
fn a_bare_request_samples_as_openai_does() {
    let chat = read(&json!({})).unwrap();
    assert_eq!(
        (chat.stream, chat.include_usage, chat.model, chat.shown),
        (false, false, None, None)
    );
    let wish = chat.wish;
    assert!((wish.sampling.temperature, wish.sampling.top_p) == (1.0, 1.0));
    assert_eq!((wish.sampling.top_k, wish.n, wish.max_tokens, wish.seed), (0, 1, None, None));
    assert!(wish.stops.is_empty() && wish.top_logprobs.is_none());
}

#[test]
fn settings_are_read_and_the_newer_name_of_the_length_wins() {
    let chat = read(&json!({
        "model": "m", "temperature": 0, "top_p": 0.5, "top_k": -1, "seed": -1, "n": 3,
        "max_tokens": 7, "max_completion_tokens": 9, "stop": ["a", "b"], "logprobs": true,
        "top_logprobs": 2, "stream": true, "stream_options": {"include_usage": true},
        "min_tokens": 2,
    }))
    .unwrap();
    assert!(chat.stream && chat.include_usage);
    assert_eq!(chat.model.as_deref(), Some("m"));
    let wish = chat.wish;
    assert_eq!((wish.max_tokens, wish.n, wish.seed), (Some(9), 3, Some(u64::MAX)));
    assert_eq!(wish.stops, ["a", "b"]);
    assert_eq!((wish.top_logprobs, wish.sampling.min_completion_length), (Some(2), 2));
    assert!((wish.sampling.temperature, wish.sampling.top_p) == (0.0, 0.5));
    assert_eq!(read(&json!({"stop": "x"})).unwrap().wish.stops, ["x"]);
    assert_eq!(read(&json!({"logprobs": true})).unwrap().wish.top_logprobs, Some(0));
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (name, value) in [
        ("temperature", json!(-0.1)),
        ("temperature", json!("warm")),
        ("temperature", json!(2.1)),
        ("top_p", json!(0)),
        ("top_p", json!(1.01)),
        ("top_k", json!(-2)),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!(1.5)),
        ("n", json!(0)),
        ("n", json!(9)),
        ("seed", json!(0.5)),
        ("stop", json!("")),
        ("stop", json!([1])),
        ("stop", json!("x".repeat(LONGEST_STOP + 1))),
        ("stop", json!(vec!["x"; MOST_STOPS + 1])),
        ("top_logprobs", json!(3)),
        ("logprobs", json!(1)),
        ("stream", json!("yes")),
        ("stream_options", json!([])),
        ("model", json!(5)),
        ("tools", json!([{}])),
    ] {
        let problem = read(&json!({name: value})).expect_err(name);
        assert_eq!((problem.status, problem.param.as_deref()), (400, Some(name)), "{problem}");
    }
    let message = read(&json!({"n": 9})).unwrap_err().message;
    assert!(message.contains("1..=") && message.contains('9'), "{message}");
    // An upper bound that is higher than the server's is the server's.
    let most = read(&json!({"max_tokens": 101})).expect("an upper bound").wish.max_tokens;
    assert_eq!(most, Some(100));
}

#[test]
fn what_is_no_request_is_refused_without_taking_memory_for_it() {
    for body in ["", "[]", "{", "\"x\"", "{\"messages\": 1}", "\u{0}", &"[".repeat(1000)] {
        let problem = Chat::read(body.as_bytes(), &limits()).expect_err(body);
        assert_eq!(problem.status, 400);
    }
    let many = format!("{{\"messages\": [{}0]}}", "0,".repeat(VALUES));
    let problem = Chat::read(many.as_bytes(), &limits()).unwrap_err();
    assert!(problem.message.contains("65539 JSON values"), "{problem}");
}

#[test]
fn commas_and_brackets_within_strings_are_no_values() {
    assert_eq!(count_values(br#"{"a": "[,{\",,", "b": [1, 2]}"#), 5);
    assert_eq!(count_values(br#""\\",1"#), 2);
}

/// A request with every kind of part, its bytes changed at random: refused or read, never a panic,
/// and whatever is read keeps the bounds.
#[test]
fn mutated_requests_are_read_within_bounds_or_refused() {
    let whole = json!({
        "model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 3, "seed": 7, "n": 2,
        "max_tokens": 9, "stop": ["a"], "logprobs": true, "top_logprobs": 1, "stream": true,
        "stream_options": {"include_usage": true}, "tools": [], "logit_bias": {},
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "t\u{e9}"},
                {"type": "text", "text": "more"}]},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "u"}],
    })
    .to_string()
    .into_bytes();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut body = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..body.len());
            match rng.random_range(0..4) {
                0 => body[at] = b"0,:[]{}\"-9e\\"[rng.random_range(0..12)],
                1 => body[at] = rng.random(),
                2 => drop(body.remove(at)),
                _ => body.insert(at, rng.random()),
            }
        }
        match Chat::read(&body, &limits()) {
            Ok(chat) => {
                read += 1;
                assert!((1..=8).contains(&chat.wish.n), "{chat:?}");
                assert!(chat.wish.max_tokens.is_none_or(|tokens| (1..=100).contains(&tokens)));
                assert!((0.0..=2.0).contains(&chat.wish.sampling.temperature));
            }
            Err(problem) => {
                refused += 1;
                assert_eq!(problem.status, 400, "{problem}");
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}
