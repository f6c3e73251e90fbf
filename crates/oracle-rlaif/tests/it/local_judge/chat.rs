//! Replies of a checkpoint.

use std::time::{Duration, Instant};

use oracle_rlaif::folder::world_clips;
use oracle_rlaif::local_judge::{LocalChat, ModelOracleConfig};
use oracle_rlaif::recipe::VideoConfig;
use rlaif_data::{Message, Role, VideoRef};
use rlaif_model::Precision;
use rlaif_oracle::{
    Cancel, ChatError, ChatMessage, ChatModel as _, ChatReply, ChatRequest, ChatRole, Patience,
};
use rlaif_rollout::{SampleRequest, SamplingParams, Visual, encode, sample};
use rlaif_train::batch::vocabulary;
use rlaif_video::Sampling;

use super::{FIXTURES, config, folder, judge, world};

fn chat(config: &ModelOracleConfig) -> LocalChat {
    LocalChat::new(judge(config), config).expect("settings in range")
}

fn request(clip: usize, question: &str) -> ChatRequest {
    let messages = vec![
        ChatMessage::new(ChatRole::System, "you judge"),
        ChatMessage::new(ChatRole::User, question),
    ];
    ChatRequest { video: world(clip), messages, schema: None, repeat: 0 }
}

fn patience() -> Patience {
    Patience { deadline: None, cancel: Cancel::new() }
}

fn ask(chat: &LocalChat, requests: &[ChatRequest]) -> Vec<Result<ChatReply, ChatError>> {
    chat.chat(&requests.iter().collect::<Vec<_>>(), &patience())
}

/// Text and tokens of replies that are all there.
fn said(replies: Vec<Result<ChatReply, ChatError>>) -> Vec<(String, Option<u64>, Option<u64>)> {
    let said = |reply: Result<ChatReply, ChatError>| {
        let reply = reply.expect("a reply");
        (reply.text, reply.prompt_tokens, reply.completion_tokens)
    };
    replies.into_iter().map(said).collect()
}

#[test]
fn a_greedy_reply_is_what_sampling_on_the_same_prompt_gives() {
    for name in FIXTURES {
        let plain = folder(name);
        let video = VideoConfig {
            sampling: Some(Sampling::Uniform { frames: 2 }),
            ..VideoConfig::default()
        };
        let builder = plain.builder(&video, world_clips(), 6).expect("a builder");
        let features = builder.features(&plain.model, &world(3)).expect("features");
        let messages = [Message::text(Role::System, "you judge"), Message::ask("Who is better?")];
        let prompt = builder
            .prompt_about(&plain.model, &messages, Visual::Features(features))
            .expect("a prompt");
        let params = SamplingParams {
            temperature: 0.0,
            max_completion_length: 6,
            ..SamplingParams::default()
        };
        let vocabulary = vocabulary(&plain.tokenizer, &plain.model);
        let prefix = encode(&plain.model, &[&prompt]);
        let one = SampleRequest { prompt: 0, seed: 9 };
        let sampled = sample(&plain.model, &prefix, &[one], &params, &vocabulary).remove(0);

        let replies = said(ask(&chat(&config(name)), &[request(3, "Who is better?")]));
        let expected = (
            plain.tokenizer.decode(&sampled.token_ids),
            Some(prompt.ids.len() as u64),
            Some(sampled.token_ids.len() as u64),
        );
        assert_eq!(replies, [expected], "{name}");
    }
}

#[test]
fn replies_do_not_depend_on_what_else_is_asked() {
    for name in FIXTURES {
        for temperature in [0.0, 0.9] {
            let config = ModelOracleConfig { temperature, batch: 5, ..config(name) };
            let chat = chat(&config);
            let mut requests: Vec<ChatRequest> =
                ["a", "Which one?", "Is it the ball that rolls?", "Which one?"]
                    .iter()
                    .enumerate()
                    .map(|(clip, question)| request(clip, question))
                    .collect();
            requests.extend((0..3).map(|repeat| ChatRequest { repeat, ..request(1, "again") }));
            // Much about one clip, as protocols ask.
            requests.extend(["A or B?", "A or C?", "B or C?"].map(|text| request(2, text)));
            let together = said(ask(&chat, &requests));
            let alone: Vec<_> = requests
                .iter()
                .flat_map(|request| said(ask(&chat, std::slice::from_ref(request))))
                .collect();
            assert_eq!(together, alone, "{name} at {temperature}");
            let repeats = &together[4..7];
            let same = repeats[0].0 == repeats[1].0 && repeats[1].0 == repeats[2].0;
            assert_eq!(same, temperature == 0.0, "{name} at {temperature}: {repeats:?}");
        }
    }
}

#[test]
fn another_seed_samples_other_replies() {
    let at = |seed| {
        let config = ModelOracleConfig { temperature: 1.0, seed, ..config("smolvlm-a") };
        said(ask(&chat(&config), &[request(0, "why?")]))
    };
    assert_eq!(at(1), at(1));
    assert_ne!(at(1), at(2));
}

#[test]
fn a_request_at_fault_fails_alone_and_says_why() {
    let chat = chat(&config("llava-a"));
    let missing = VideoRef::File("no/such\u{1b}clip.mp4".into());
    let mut backwards = request(0, "a");
    backwards.messages.push(ChatMessage::new(ChatRole::Assistant, "b"));
    let replies = ask(
        &chat,
        &[
            ChatRequest { video: missing, ..request(0, "a") },
            request(0, "Which one?"),
            request(0, &"very ".repeat(400)),
            backwards,
            ChatRequest { video: VideoRef::World("train/x".to_owned()), ..request(0, "a") },
        ],
    );
    let Err(ChatError::Video(reason)) = &replies[0] else { panic!("{:?}", replies[0]) };
    assert!(reason.contains(r"no/such\u{1b}clip.mp4` does not exist"), "{reason}");
    let [(text, ..)] = &said(ask(&chat, &[request(0, "Which one?")]))[..] else { panic!("one") };
    assert_eq!(&replies[1].as_ref().expect("a reply").text, text);
    let Err(ChatError::Refused(reason)) = &replies[2] else { panic!("{:?}", replies[2]) };
    assert!(reason.contains("in `max_position_embeddings`"), "{reason}");
    let Err(ChatError::Refused(reason)) = &replies[3] else { panic!("{:?}", replies[3]) };
    assert!(reason.contains("does not end with a user's turn"), "{reason}");
    let Err(ChatError::Video(reason)) = &replies[4] else { panic!("{:?}", replies[4]) };
    assert!(reason.contains("world:train/x"), "{reason}");
}

/// 256 positions, 6 of them for the reply.
#[test]
fn a_prompt_leaves_room_for_its_reply() {
    let chat = chat(&config("llava-a"));
    let asked = |words: usize| ask(&chat, &[request(0, &"very ".repeat(words))]).remove(0);
    let tokens = |words| asked(words).expect("a reply").prompt_tokens.expect("it counts");
    let of_a_word = (tokens(20) - tokens(10)) / 10;
    assert!((1..=6).contains(&of_a_word), "{of_a_word}");
    let last = 10 + usize::try_from((250 - tokens(10)) / of_a_word).expect("a few words");
    assert!(tokens(last) + of_a_word > 250);
    let Err(ChatError::Refused(reason)) = asked(last + 1) else { panic!("{:?}", asked(last + 1)) };
    assert!(reason.contains("with room for 250 in `max_position_embeddings`"), "{reason}");
}

#[test]
fn nothing_is_begun_once_the_run_stops_or_time_is_over() {
    let chat = chat(&config("smolvlm-a"));
    let request = request(0, "a");
    let stopped = patience();
    stopped.cancel.cancel();
    assert_eq!(chat.chat(&[&request], &stopped), [Err(ChatError::Cancelled)]);
    let late = Instant::now().checked_sub(Duration::from_millis(1)).expect("the clock has run");
    let over = Patience { deadline: Some(late), cancel: Cancel::new() };
    let replies = chat.chat(&[&request, &request], &over);
    assert_eq!(replies.len(), 2);
    assert!(matches!(&replies[1], Err(ChatError::Deadline { attempts: 0, .. })), "{replies:?}");
}

#[test]
fn a_judge_is_its_weights_and_settings_and_not_its_folder() {
    let identity = |config: &ModelOracleConfig| chat(config).identity();
    let here = config("qwen2_5-vl-a");
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(&here.path).expect("the fixture").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
    }
    let there = ModelOracleConfig { path: copy.path().to_owned(), batch: 3, ..here.clone() };
    assert_eq!(identity(&there), identity(&here));
    assert_eq!(identity(&ModelOracleConfig { seed: 7, ..here.clone() }), identity(&here));

    let sampling = Some(Sampling::Uniform { frames: 4 });
    let packed = [Precision::Bf16, Precision::Int8, Precision::Nf4];
    let mut others = vec![
        here.clone(),
        ModelOracleConfig { temperature: 0.5, ..here.clone() },
        ModelOracleConfig { temperature: 0.5, seed: 7, ..here.clone() },
        ModelOracleConfig { max_tokens: 5, ..here.clone() },
        ModelOracleConfig { sampling, ..here.clone() },
        config("qwen2_5-vl-b"),
    ];
    others
        .extend(packed.map(|base_precision| ModelOracleConfig { base_precision, ..here.clone() }));
    let mut seen: Vec<serde_json::Value> = others.iter().map(identity).collect();
    assert!(!seen[0].to_string().contains("fixtures"), "{}", seen[0]);
    let weights = |identity: &serde_json::Value| identity["model"]["weights"].to_string();
    assert_eq!(weights(&seen[0]), weights(&seen[4]), "frames are no weights");
    assert_ne!(weights(&seen[0]), weights(&seen[8]), "four bits are other weights");
    seen.sort_by_key(ToString::to_string);
    seen.dedup();
    assert_eq!(seen.len(), others.len());
}

#[test]
fn replies_longer_than_the_model_are_refused_at_once() {
    let config = ModelOracleConfig { max_tokens: 256, ..config("llava-a") };
    let error = LocalChat::new(judge(&config), &config).err().expect("an error").to_string();
    assert!(error.contains("`max_tokens` must be below the 256 positions"), "{error}");
}
