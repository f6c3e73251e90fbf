//! Replies: those of `generate`, whole and in pieces, one and several.

use serde_json::{Value, json};

use super::client::{Server, ask, reply};
use crate::support::{checkpoint, ok, text};

const QUESTION: &str = "what color is the circle ?";

fn floats(values: &Value) -> Vec<f32> {
    let values = values.as_array().expect("a list").iter();
    #[expect(clippy::cast_possible_truncation, reason = "written as f32")]
    values.map(|value| value.as_f64().expect("a number") as f32).collect()
}

fn generated(seed: &str, temperature: &str) -> Value {
    let answer = ok(&[
        "generate",
        "--checkpoint",
        text(checkpoint()),
        "--video",
        "world:test/3",
        "--prompt",
        QUESTION,
        "--temperature",
        temperature,
        "--seed",
        seed,
        "--max-new-tokens",
        "6",
        "--json",
    ]);
    serde_json::from_str(&answer).expect("one JSON object")
}

/// Log-probabilities of a choice's tokens.
fn logprobs(choice: &Value) -> Vec<f32> {
    let content = choice["logprobs"]["content"].as_array().expect("log-probabilities");
    floats(&content.iter().map(|token| token["logprob"].clone()).collect())
}

fn check_against_generate(reply: &Value, seed: &str, temperature: &str) {
    let (expected, choice) = (generated(seed, temperature), &reply["choices"][0]);
    assert_eq!(choice["message"]["content"], expected["text"]);
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["finish_reason"], expected["finish_reason"]);
    // The end token has no text, so no entry.
    let mut all = floats(&expected["logprobs"]);
    let sampled = all.len();
    if expected["finish_reason"] == "stop" {
        all.pop();
    }
    let got = logprobs(choice);
    assert_eq!(
        got.iter().map(|l| l.to_bits()).collect::<Vec<_>>(),
        all.iter().map(|l| l.to_bits()).collect::<Vec<_>>()
    );
    assert_eq!(reply["usage"]["prompt_tokens"], expected["prompt_tokens"]);
    assert_eq!(reply["usage"]["completion_tokens"], sampled);
    let total = expected["prompt_tokens"].as_u64().expect("it is there") + sampled as u64;
    assert_eq!(reply["usage"]["total_tokens"], total);
    let bytes: Vec<u8> = choice["logprobs"]["content"]
        .as_array()
        .expect("it is there")
        .iter()
        .flat_map(|token| token["bytes"].as_array().expect("bytes").clone())
        .map(|byte| u8::try_from(byte.as_u64().expect("it is there")).expect("it is there"))
        .collect();
    assert_eq!(
        String::from_utf8(bytes).expect("it is there"),
        choice["message"]["content"].as_str().expect("it is there")
    );
}

#[test]
fn a_reply_is_what_generate_says_to_the_bit() {
    let server = Server::start(&[]);
    let greedy = ask(QUESTION, json!({"logprobs": true, "top_logprobs": 3}));
    let reply = server.chat(&greedy);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reply = reply.json();
    check_against_generate(&reply, "1", "0");
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "checkpoint");
    for token in reply["choices"][0]["logprobs"]["content"].as_array().unwrap() {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy: the token is the likeliest, and they go down from there.
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&token["token"], &token["logprob"]));
        let values: Vec<f64> = top.iter().map(|t| t["logprob"].as_f64().unwrap()).collect();
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]), "{values:?}");
    }
    let drawn = ask(QUESTION, json!({"temperature": 1.5, "seed": 11, "logprobs": true}));
    check_against_generate(&server.chat(&drawn).json(), "11", "1.5");
}

/// Text, log-probabilities and end of each choice, from a stream or from a whole reply.
fn put_together(chunks: &[Value], n: usize) -> Vec<(String, Vec<Value>, Value)> {
    let mut choices = vec![(String::new(), Vec::new(), Value::Null); n];
    for chunk in chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        for choice in chunk["choices"].as_array().expect("it is there") {
            let out = &mut choices[usize::try_from(choice["index"].as_u64().expect("it is there"))
                .expect("it is there")];
            out.0 += choice["delta"]["content"].as_str().unwrap_or_default();
            out.1.extend(choice["logprobs"]["content"].as_array().cloned().unwrap_or_default());
            if !choice["finish_reason"].is_null() {
                assert!(out.2.is_null(), "it ends once");
                out.2 = choice["finish_reason"].clone();
            }
        }
    }
    choices
}

#[test]
fn a_stream_is_the_whole_reply_in_pieces() {
    let server = Server::start(&[]);
    for more in [
        json!({"logprobs": true, "top_logprobs": 2}),
        json!({"n": 3, "seed": 4, "temperature": 1.2, "logprobs": true}),
        json!({"n": 2, "seed": 9, "temperature": 1.9, "max_tokens": 20}),
    ] {
        let whole = server.chat(&ask(QUESTION, more.clone())).json();
        let n = whole["choices"].as_array().unwrap().len();
        let mut streamed = ask(QUESTION, more);
        streamed["stream"] = json!(true);
        streamed["stream_options"] = json!({"include_usage": true});
        let reply = server.chat(&streamed);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.head.to_lowercase().contains("content-type: text/event-stream"));
        let chunks = reply.chunks();
        let last = chunks.last().unwrap();
        assert_eq!(
            (&last["usage"], last["choices"].as_array().unwrap().len()),
            (&whole["usage"], 0)
        );
        for (at, (content, logprobs, finish)) in put_together(&chunks, n).into_iter().enumerate() {
            let choice = &whole["choices"][at];
            assert_eq!(choice["message"]["content"], content);
            assert_eq!(choice["finish_reason"], finish);
            let expected = choice["logprobs"]["content"].as_array().cloned().unwrap_or_default();
            assert_eq!(logprobs, expected);
        }
    }
}

#[test]
fn n_replies_of_one_prompt_are_those_of_following_seeds() {
    let server = Server::start(&[]);
    let of = |seed: u64, n: u64| {
        let more = json!({"seed": seed, "n": n, "temperature": 1.4});
        server.chat(&ask(QUESTION, more)).json()["choices"].clone()
    };
    let three = of(20, 3);
    let texts: Vec<&Value> =
        three.as_array().unwrap().iter().map(|choice| &choice["message"]["content"]).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] || texts[1] != texts[2], "seeds differ: {texts:?}");
    for (at, text) in texts.into_iter().enumerate() {
        assert_eq!(three[at]["index"], at);
        assert_eq!(*text, of(20 + at as u64, 1)[0]["message"]["content"]);
    }
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let server = Server::start(&[]);
    let free = server.chat(&ask(QUESTION, json!({"max_tokens": 12}))).json();
    let text = free["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let words: Vec<&str> = text.split(' ').collect();
    assert!(words.len() >= 3, "too short to say much: {text}");
    // Across two tokens.
    let stop = format!("{} {}", words[1], words[2]);
    let before = &text[..text.find(&stop).unwrap()];
    let stopped = server.chat(&ask(QUESTION, json!({"max_tokens": 12, "stop": [stop]}))).json();
    assert_eq!(stopped["choices"][0]["message"]["content"], before);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let (fewer, all) =
        (&stopped["usage"]["completion_tokens"], &free["usage"]["completion_tokens"]);
    assert!(fewer.as_u64() < all.as_u64(), "{fewer} of {all}");
}

#[test]
fn a_conversation_needs_no_clip_and_may_have_turns() {
    let server = Server::start(&[]);
    let reply = server.chat(&json!({"max_tokens": 3, "messages": [
        {"role": "system", "content": "answer"},
        {"role": "user", "content": "what moves ?"},
        {"role": "assistant", "content": "the circle"},
        {"role": "user", "content": [{"type": "text", "text": "what color ?"}]},
    ]}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let tokens = reply.json()["usage"]["prompt_tokens"].as_u64().unwrap();
    let shown = server.chat(&ask("what color ?", json!({}))).json();
    assert!(tokens < shown["usage"]["prompt_tokens"].as_u64().unwrap(), "no visual tokens");
}

#[test]
fn requests_at_the_same_time_are_all_answered_as_if_alone() {
    let server = Server::start(&[]);
    let request = |seed: u64| {
        ask(
            QUESTION,
            json!({"seed": seed, "temperature": 1.1 + 0.1 * (seed % 3) as f64, "max_tokens": 24}),
        )
    };
    let content = |reply: &Value| reply["choices"][0]["message"]["content"].clone();
    let alone: Vec<Value> =
        (0..6).map(|seed| content(&server.chat(&request(seed)).json())).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|seed| {
                let (server, request) = (&server, request(seed));
                scope.spawn(move || server.chat(&request).json())
            })
            .collect();
        threads.into_iter().map(|thread| content(&thread.join().unwrap())).collect()
    });
    assert_eq!(together, alone);
}

#[test]
fn the_model_is_listed_under_its_name() {
    let server = Server::start(&["--model-name", "org/tuned"]);
    let list = server.get("/v1/models").json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("org/tuned")));
    assert_eq!(server.get("/v1/models/org/tuned").json()["object"], "model");
    assert_eq!(server.get("/v1/models/other").status, 404);
    let named = |name: &str| server.chat(&ask(QUESTION, json!({"model": name, "max_tokens": 1})));
    assert_eq!(named("org/tuned").json()["model"], "org/tuned");
    let strange = named("gpt-4o");
    assert_eq!((strange.status, &strange.json()["error"]["param"]), (404, &json!("model")));
    assert_eq!(server.get("/health").json()["status"], "ok");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_in_good_order() {
    let mut server = Server::start(&[]);
    assert!(server.lives());
    let (code, said) = server.interrupt();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("curl http://127.0.0.1:"), "{said}");
    assert!(said.contains("1 requests answered, 0 refused, 0 failed"), "{said}");
}

/// What is under way when it is asked to stop gets its end; nobody else is let in.
#[cfg(unix)]
#[test]
fn a_stream_that_is_under_way_ends_before_the_server_does() {
    let mut server = Server::start(&[]);
    let long = json!({"max_tokens": 200, "min_tokens": 200, "n": 4, "stream": true, "seed": 2});
    let stream = server.begin(&ask(QUESTION, long));
    server.wait_for(|health| health["sampled_tokens"].as_u64().expect("a count") > 0);
    let (code, said) = server.interrupt();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 requests answered, 0 refused, 0 failed, 0 given up"), "{said}");
    let chunks = reply(stream).chunks();
    let ended = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "length");
    assert_eq!(ended.count(), 4);
}

/// Five requests of a second's work or so, one after the other, and a second of time for each.
#[test]
fn a_request_whose_time_is_over_is_told_so() {
    let server = Server::start(&["--timeout-seconds", "1"]);
    let long = |stream: bool| {
        let more = json!({
            "max_tokens": 450, "min_tokens": 450, "n": 16, "temperature": 1, "stream": stream,
            "logprobs": true, "top_logprobs": 20,
        });
        server.begin(&ask(QUESTION, more))
    };
    let streams: Vec<_> = (0..5).map(|at| long(at < 3)).collect();
    let mut replies: Vec<_> = streams.into_iter().map(reply).collect();
    let last = replies.pop().expect("a reply");
    assert_eq!((last.status, &last.json()["error"]["code"]), (504, &json!("timeout")));
    // At least the one before it waited as long.
    assert!(server.get("/health").json()["failed"].as_u64().unwrap() >= 2);
    server.wait_for(|health| health["in_progress"] == 0);
}
