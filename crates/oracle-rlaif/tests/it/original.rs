//! A folder in the original LLaVA layout, as VLM-RLAIF publishes its checkpoints: no
//! `tokenizer.json`, no `preprocessor_config.json`, no chat template, no token for a picture.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use oracle_rlaif::data::{Message, VideoRef};
use oracle_rlaif::folder::{Folder, world_clips};
use oracle_rlaif::model::hf::ModelConfig;
use oracle_rlaif::model::{init, save};
use oracle_rlaif::recipe::VideoConfig;
use oracle_rlaif::rollout::{
    PromptInput, SampleRequest, SamplingParams, Visual, Vocabulary, encode, sample,
};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures").join(name)
}

/// `llava-original-a` with random weights for the vocabulary of `sentencepiece`, pooled.
fn checkpoint(folder: &Path) {
    let text =
        std::fs::read_to_string(fixture("llava-original-a/config.json")).expect("it is there");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["vocab_size"] = json!(420);
    config["video_pooling"] = json!("spatial_temporal");
    config["num_frames"] = json!(3);
    let tower = folder.join("clip-tiny-a");
    std::fs::create_dir(&tower).expect("a folder");
    for file in ["config.json", "preprocessor_config.json"] {
        std::fs::copy(fixture("llava-original-a/clip-tiny-a").join(file), tower.join(file))
            .expect("a copy");
    }
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a file");
    let config = ModelConfig::open(folder).expect("the configuration");
    save(&init(&config, 5, &Device::flex()), folder).expect("the weights");
    for file in ["tokenizer.model", "tokenizer_config.json"] {
        std::fs::copy(fixture("sentencepiece").join(file), folder.join(file)).expect("a copy");
    }
}

/// A prompt about a clip of ClipWorld, and what the model says, greedily.
fn answer(folder: &Folder) -> (PromptInput, Vec<u32>) {
    let builder = folder.builder(&VideoConfig::default(), world_clips(), 8).expect("a builder");
    let features = builder
        .features(&folder.model, &VideoRef::World("train/0".to_owned()))
        .expect("the clip's features");
    let prompt = builder
        .prompt_about(&folder.model, &[Message::ask("What moves?")], Visual::Features(features))
        .expect("a prompt");
    let prefix = encode(&folder.model, &[&prompt]);
    let params =
        SamplingParams { temperature: 0.0, max_completion_length: 6, ..SamplingParams::default() };
    let vocabulary = Vocabulary {
        forbidden: folder.tokenizer.forbidden_ids().to_vec(),
        ..Vocabulary::default()
    };
    let request = SampleRequest { prompt: 0, seed: 1 };
    let completion = sample(&folder.model, &prefix, &[request], &params, &vocabulary).remove(0);
    (prompt, completion.token_ids)
}

#[test]
fn it_opens_answers_and_is_saved_whole() {
    let top = tempfile::tempdir().unwrap();
    let (path, copy) = (top.path().join("original"), top.path().join("saved"));
    std::fs::create_dir(&path).unwrap();
    checkpoint(&path);
    let folder = Folder::open(&path, &Device::flex()).unwrap();
    let (prompt, tokens) = answer(&folder);
    assert_eq!(tokens.len(), 6);
    assert!(tokens.iter().all(|token| (3..420).contains(token)), "{tokens:?}");
    // Three frames and nine patches; a space and a newline follow the video.
    let visual = &prompt.visual.as_ref().unwrap().0;
    assert_eq!((visual.len(), visual[0].len()), (1, 3 + 9));
    assert!(prompt.ids[visual[0].clone()].iter().all(|id| *id == 420));
    let text = folder.tokenizer.decode(&prompt.ids[visual[0].end..]);
    assert!(text.starts_with("\nWhat moves? ASSISTANT:"), "{text:?}");

    // The saved folder stands alone, with the tower's shape and the steps of its processor.
    folder.save(&folder.model, &copy).unwrap();
    let again = Folder::open(&copy, &Device::flex()).unwrap();
    assert_eq!(again.model.config, folder.model.config);
    assert_eq!(again.processor.pixels_digest("x"), folder.processor.pixels_digest("x"));
    let (prompt_again, tokens_again) = answer(&again);
    assert_eq!((prompt_again.ids, tokens_again), (prompt.ids, tokens));
}
