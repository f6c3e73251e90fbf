//! Orders by likelihood.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use burn::tensor::Device;
use oracle_rlaif::folder::{Folder, world_clips};
use oracle_rlaif::local_judge::{LikelihoodOracle, LocalModel, ModelOracleConfig, Normalize};
use oracle_rlaif::recipe::VideoConfig;
use rlaif_data::{Example, Message, VideoRef};
use rlaif_oracle::{Cancel, Oracle as _, OracleError, RankRequest};
use rlaif_rank::Ranking;
use rlaif_rollout::{PromptInput, Visual, encode};
use rlaif_train::batch::vocabulary;
use rlaif_video::Sampling;

use super::{FIXTURES, config, folder, judge, world};
use crate::support::tiny;

const ANSWERS: [&str; 5] = ["a ball", "No.", "it rolls to the left", "ball", "two of them"];

fn group(clip: usize, question: &str, candidates: &[&str]) -> RankRequest {
    RankRequest {
        example: Example {
            id: format!("{clip} {question}"),
            video: world(clip),
            messages: vec![Message::ask(question)],
            reference: None,
            choices: None,
            category: None,
            narrative: None,
            meta: serde_json::Map::new(),
        },
        candidates: candidates.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn groups() -> Vec<RankRequest> {
    let questions = ["What moves?", "how many", "Is there a ball?"];
    let group = |(clip, question): (usize, &&str)| group(clip, question, &ANSWERS);
    questions.iter().enumerate().map(group).collect()
}

fn oracle(judge: &Arc<LocalModel>, config: &ModelOracleConfig) -> LikelihoodOracle {
    LikelihoodOracle::new(judge.clone(), config).expect("settings in range")
}

fn orders(oracle: &LikelihoodOracle, requests: &[RankRequest]) -> Vec<Ranking> {
    let verdicts = oracle.rank(requests, &Cancel::new());
    verdicts.into_iter().map(|verdict| verdict.expect("a verdict").ranking).collect()
}

/// Log-probability of an answer, every token predicted by a pass of its own over all before it: no
/// prefix is shared and nothing is kept.
fn replicated(folder: &Folder, prompt: &PromptInput, answer: &[u32]) -> f64 {
    let forbidden = vocabulary(&folder.tokenizer, &folder.model).forbidden;
    let next = |at: usize| {
        let mut whole = prompt.clone();
        whole.extend(&answer[..at]);
        let last = encode(&folder.model, &[&whole]).last_hidden;
        let logits = rlaif_ops::linear(last, folder.model.decoder.head(), None);
        let row: Vec<f32> =
            rlaif_ops::log_softmax_rows(logits, &forbidden).into_data().iter::<f32>().collect();
        f64::from(row[answer[at] as usize])
    };
    (0..answer.len()).map(next).sum()
}

/// The scores of a group's answers by the formula at the head of the Oracle.
fn scores(folder: &Folder, request: &RankRequest, how: Normalize, calibrate: bool) -> Vec<f64> {
    let video =
        VideoConfig { sampling: Some(Sampling::Uniform { frames: 2 }), ..VideoConfig::default() };
    let builder = folder.builder(&video, world_clips(), 0).expect("a builder");
    let features = builder.features(&folder.model, &request.example.video).expect("features");
    let prompt = builder
        .prompt_about(&folder.model, request.example.prompt(), Visual::Features(features))
        .expect("a prompt");
    let text = Message::text(rlaif_data::Role::User, request.example.question());
    let ids = folder.tokenizer.encode_conversation(&[text], true).expect("a prompt");
    let blind = PromptInput { ids, visual: None, positions: None };
    let score = |answer: &String| {
        let ids = folder.tokenizer.encode_answer(answer).expect("known tokens");
        let mut score = replicated(folder, &prompt, &ids);
        if calibrate {
            score -= replicated(folder, &blind, &ids);
        }
        if how == Normalize::Token { score / ids.len() as f64 } else { score }
    };
    request.candidates.iter().map(score).collect()
}

#[test]
fn the_order_is_that_of_each_answer_scored_by_itself() {
    let mut different = 0;
    for name in FIXTURES {
        let folder = folder(name);
        let judge = judge(&config(name));
        let mut of_setting = Vec::new();
        for (normalize, calibrate) in
            [(Normalize::Token, false), (Normalize::None, false), (Normalize::Token, true)]
        {
            let config = ModelOracleConfig { normalize, calibrate, ..config(name) };
            let requests = groups();
            let found = orders(&oracle(&judge, &config), &requests);
            for (request, found) in requests.iter().zip(&found) {
                let scores = scores(&folder, request, normalize, calibrate);
                let expected = Ranking::from_scores(&scores).expect("numbers");
                assert_eq!(*found, expected, "{name} {normalize:?} {calibrate}: {scores:?}");
            }
            of_setting.push(found);
        }
        different += of_setting.iter().filter(|orders| **orders != of_setting[0]).count();
    }
    assert!(
        different >= 3,
        "the settings order differently, or the test could not tell them apart"
    );
}

#[test]
fn a_group_gets_the_same_verdict_in_any_company() {
    for name in FIXTURES {
        let judge = judge(&config(name));
        let mut requests = groups();
        requests.push(group(2, "Is there a ball?", &["yes", "no", "maybe so", "yes"]));
        requests.extend(groups().into_iter().rev());
        let alone = oracle(&judge, &ModelOracleConfig { batch: 1, ..config(name) });
        let expected = orders(&alone, &requests);
        assert_eq!(expected[0], expected[6], "{name}");
        for batch in [2, 8] {
            let config = ModelOracleConfig { batch, calibrate: false, ..config(name) };
            assert_eq!(orders(&oracle(&judge, &config), &requests), expected, "{name} {batch}");
        }
        assert!(expected[3].levels()[0] == expected[3].levels()[3], "{name}: equal answers tie");
    }
}

/// `<unk>` has no probability, so what holds it comes last; the same tokens are the same answer.
#[test]
fn what_the_model_can_never_say_comes_last_and_the_same_tokens_tie() {
    let folder = Folder::clip_world(&tiny(), 7, &Device::flex()).expect("the sizes fit");
    for calibrate in [false, true] {
        let config = ModelOracleConfig { calibrate, ..ModelOracleConfig::new("made here") };
        let judge = LocalModel::of(&folder, &config, &VideoConfig::default()).expect("a judge");
        let candidates = ["zyzzyva", "red", "red circle", "red  circle", "quux", ""];
        let request = group(0, "what color is the circle ?", &candidates);
        let order = orders(&oracle(&Arc::new(judge), &config), &[request]).remove(0);
        assert_eq!(order.blocks().last(), Some(&vec![0, 4]), "{order}");
        assert_eq!(order.levels()[2], order.levels()[3], "{order}");
        assert_eq!(order.blocks().len(), 4, "{order}");
    }
}

#[test]
fn a_group_at_fault_fails_alone_and_what_was_read_is_counted() {
    let config = config("llava-a");
    let oracle = oracle(&judge(&config), &config);
    let mut lost = group(0, "a", &["b", "c"]);
    lost.example.video = VideoRef::File("no/such.mp4".into());
    let long = "very ".repeat(300);
    let requests = [lost, group(0, "a", &["b", "c"]), group(0, "a", &["b", long.as_str()])];
    let verdicts = oracle.rank(&requests, &Cancel::new());
    let Err(OracleError::Video { reason, .. }) = &verdicts[0] else { panic!("{:?}", verdicts[0]) };
    assert!(reason.contains("`no/such.mp4` does not exist"), "{reason}");
    let verdict = verdicts[1].as_ref().expect("a verdict");
    assert_eq!((verdict.ranking.len(), verdict.raw.clone()), (2, None));
    let Err(OracleError::Refused { reason, .. }) = &verdicts[2] else {
        panic!("{:?}", verdicts[2])
    };
    assert!(reason.contains("in `max_position_embeddings`"), "{reason}");

    let answer =
        |text| folder("llava-a").tokenizer.encode_answer(text).expect("tokens").len() as u64;
    let usage = oracle.usage();
    assert_eq!((usage.requests, usage.completion_tokens), (1, answer("b") + answer("c")));
    assert!(usage.prompt_tokens > 20, "{}", usage.prompt_tokens);
}

#[test]
fn a_cancelled_oracle_ranks_nothing_more() {
    let config = config("smolvlm-a");
    let cancel = Cancel::new();
    cancel.cancel();
    let verdicts = oracle(&judge(&config), &config).rank(&groups(), &cancel);
    assert_eq!(verdicts.len(), 3);
    let cancelled = |v: &Result<_, OracleError>| matches!(v, Err(OracleError::Cancelled { .. }));
    assert!(verdicts.iter().all(cancelled), "{verdicts:?}");
}

/// On one processor the run's only thread waits for the verdict inside of the pool: here all of
/// them do.
#[test]
fn a_judge_needs_no_thread_of_the_run() {
    let config = config("smolvlm-a");
    let oracle = Arc::new(oracle(&judge(&config), &config));
    let threads = rayon::current_num_threads();
    let (all_wait, open) =
        (Arc::new(Barrier::new(threads + 1)), Arc::new(Barrier::new(threads + 1)));
    for _ in 0..threads {
        let (all_wait, open) = (all_wait.clone(), open.clone());
        rayon::spawn(move || {
            all_wait.wait();
            open.wait();
        });
    }
    all_wait.wait();
    let (sender, verdicts) = channel();
    let asked = oracle.clone();
    std::thread::spawn(move || sender.send(asked.rank(&groups(), &Cancel::new())));
    let verdicts = verdicts.recv_timeout(Duration::from_mins(2));
    open.wait();
    let verdicts = verdicts.expect("an answer while every thread of the pool waits");
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
}
