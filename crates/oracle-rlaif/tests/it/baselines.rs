//! The pipeline of VLM-RLAIF by its commands: preferences, a reward model, and what learns from
//! either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::Device;
use oracle_rlaif::recipe::VideoConfig;
use oracle_rlaif::reward_model::RewardModel;
use rlaif_data::{Columns, read_preferences};
use rlaif_oracle::{Cancel, Oracle, RankRequest};
use rlaif_train::Reward;
use serde_json::Value;

use crate::support::{checkpoint, ok, refused, text};

const RECIPE: &str = r#"
seed = 3
[data.train.world]
split = "train"
clips = 24
max_objects = 1
questions_per_clip = 2
[oracle]
type = "world"
[preferences]
num_generations = 3
[preferences.sampling]
max_completion_length = 4
[reward_model]
batch_size = 8
max_steps = 4
learning_rate = 1e-3
prompt = "{narrative} is it like that ?"
opening = "it is"
held_out = 0.3
[dpo]
batch_size = 8
max_steps = 3
learning_rate = 1e-3
[train]
num_generations = 3
prompts_per_step = 4
max_steps = 2
learning_rate = 1e-3
[train.sampling]
max_completion_length = 4
[eval]
max_completion_length = 4
"#;

/// A folder with the recipe, its pairs and a reward model with narratives, made once.
fn made() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let keep = tempfile::tempdir().expect("a temporary folder can be made");
        let path = keep.path().to_owned();
        let model = format!("[model]\npath = '{}'\n", checkpoint().display());
        let recipe = RECIPE.replace("[data.train.world]", &format!("{model}[data.train.world]"));
        std::fs::write(path.join("recipe.toml"), recipe).expect("the recipe is written");
        command(&path, "preferences", "pairs", &[]);
        let pairs = pairs_at(&path);
        command(&path, "reward", "reward", &[&pairs, "reward_model.narrative=true"]);
        (keep, path)
    });
    path
}

fn pairs_at(folder: &Path) -> String {
    format!("data.preferences.path='{}'", folder.join("pairs/trl.jsonl").display())
}

/// Runs a command of the recipe into a folder beside it.
fn command(folder: &Path, name: &str, out: &str, sets: &[&str]) -> String {
    let (recipe, out) = (folder.join("recipe.toml"), folder.join(out));
    let mut arguments = vec![name, "--quiet", "--recipe", text(&recipe), "--out", text(&out)];
    for set in sets {
        arguments.extend(["--set", set]);
    }
    ok(&arguments)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("it is JSON")
}

#[test]
fn preferences_are_written_in_both_layouts_and_say_the_same() {
    let pairs = made().join("pairs");
    let read = |name: &str| {
        read_preferences(pairs.join(name), &Columns::default()).expect("the pairs read back")
    };
    let trl = read("trl.jsonl");
    let collected = json(&pairs.join("collected.json"));
    assert_eq!(collected["groups"], 48);
    assert_eq!(collected["completions"], 48 * 3);
    assert_eq!(collected["pairs"], trl.len());
    assert!(trl.len() > 20, "{}", trl.len());
    assert_eq!(read("vlm-rlaif.jsonl"), trl);
    assert_eq!(read("vlm-rlaif.json"), trl);
    assert!(trl.iter().all(|pair| pair.chosen != pair.rejected && pair.narrative.is_some()));
    // The better answer is on either side of VLM-RLAIF's rows.
    let rows = std::fs::read_to_string(pairs.join("vlm-rlaif.jsonl")).unwrap();
    let side = |line: &str| {
        serde_json::from_str::<Value>(line).expect("a row")["preference"].as_u64().expect("1 or 2")
    };
    assert_eq!(rows.lines().map(side).collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
}

/// Stopped in the middle, nothing that was judged is judged again, and the pairs are the same.
#[test]
fn collecting_goes_on_after_the_groups_that_are_there() {
    let folder = made();
    let whole = std::fs::read_to_string(folder.join("pairs/judged.jsonl")).unwrap();
    let out = folder.join("pairs-again");
    command(folder, "preferences", "pairs-again", &[]);
    let half = whole.lines().take(16).collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(out.join("judged.jsonl"), half.clone() + "{\"posi").unwrap();
    for name in ["trl.jsonl", "vlm-rlaif.jsonl", "collected.json"] {
        std::fs::remove_file(out.join(name)).unwrap();
    }
    let recipe = folder.join("recipe.toml");
    ok(&["preferences", "--quiet", "--recipe", text(&recipe), "--out", text(&out), "--resume"]);
    let timeless = |text: &str| -> Vec<Value> {
        let line = |line: &str| {
            let mut group: Value = serde_json::from_str(line).expect("a group");
            group.as_object_mut().expect("an object").remove("seconds");
            group
        };
        text.lines().map(line).collect()
    };
    let again = std::fs::read_to_string(out.join("judged.jsonl")).unwrap();
    assert!(again.starts_with(&half), "what was there stays");
    assert_eq!(timeless(&again), timeless(&whole));
    let pairs = |name: &str| std::fs::read(folder.join(name).join("trl.jsonl")).unwrap();
    assert!(pairs("pairs") == pairs("pairs-again"));
}

#[test]
fn a_reward_model_is_graded_on_other_videos_and_answers_as_it_was_trained() {
    let folder = made();
    let report = json(&folder.join("reward/held-out.json"));
    let held = &report["held_out"];
    let pairs = read_preferences(folder.join("pairs/trl.jsonl"), &Columns::default()).unwrap();
    let n = held["n"].as_u64().unwrap() + report["train_pairs"].as_u64().unwrap();
    assert_eq!(n, pairs.len() as u64);
    let accuracy = held["accuracy"].as_f64().unwrap();
    let [lo, hi] = [0, 1].map(|i| held["ci95"][i].as_f64().unwrap());
    assert!(lo <= accuracy && accuracy <= hi && held["nll"].as_f64().unwrap() > 0.0, "{held}");
    assert_eq!(held["bins"].as_array().unwrap().len(), 10);

    // As a reward it scores; as an Oracle it orders by the same scores, and says no number.
    let open = || {
        let device = Device::flex();
        RewardModel::open(&folder.join("reward"), &VideoConfig::default(), &device).unwrap()
    };
    let line = std::fs::read_to_string(folder.join("pairs/judged.jsonl")).unwrap();
    let group: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let example: rlaif_data::Example = serde_json::from_value(group["example"].clone()).unwrap();
    let candidates = ["red", "blue circle", "red", "up"].map(str::to_owned).to_vec();
    let request = RankRequest { example, candidates };
    let scores = open().rewards(std::slice::from_ref(&request)).remove(0).unwrap();
    assert_eq!(scores[0].to_bits(), scores[2].to_bits(), "equal answers have equal scores");
    let bits: BTreeSet<u64> = scores.iter().map(|score| score.to_bits()).collect();
    assert_eq!(bits.len(), 3, "and different ones different: {scores:?}");
    let verdict = open().rank(std::slice::from_ref(&request), &Cancel::new()).remove(0).unwrap();
    assert_eq!(verdict.ranking, rlaif_rank::Ranking::from_scores(&scores).unwrap());
    assert!(verdict.raw.is_none());
    let scaled = open().normalized(true).rewards(std::slice::from_ref(&request)).remove(0).unwrap();
    let ratio = (scores[1] - scores[0]) / (scaled[1] - scaled[0]);
    let again = (scores[3] - scores[0]) / (scaled[3] - scaled[0]);
    assert!((ratio - again).abs() < 1e-6 * ratio.abs(), "{ratio} {again}");

    // It was trained with narratives, and does without none.
    let mut blind = request.clone();
    blind.example.narrative = None;
    let error = open().rewards(&[blind, request]).remove(0).unwrap_err();
    assert!(error.to_string().contains("`narrative`"), "{error}");
}

#[test]
fn every_method_trains_from_its_command() {
    let folder = made();
    let pairs = pairs_at(folder);
    command(folder, "dpo", "dpo", &[&pairs]);
    let reward =
        format!("reward={{type='reward_model',path='{}'}}", folder.join("reward").display());
    let mut weights = BTreeSet::new();
    for method in ["grpo", "rloo", "ppo"] {
        let set = format!("train.method={method}");
        command(folder, "train", method, &[&set, &reward]);
    }
    command(folder, "train", "world", &["train.method=grpo", "reward={type='world'}"]);
    command(folder, "reward", "reward-plain", &[&pairs]);
    let plain = folder.join("reward-plain");
    let oracle = format!("oracle={{type='reward_model',path='{}'}}", plain.display());
    command(folder, "train", "order", &[&oracle]);
    command(folder, "train", "ranks", &[]);
    for out in ["dpo", "grpo", "rloo", "ppo", "world", "order", "ranks"] {
        let log = std::fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap();
        assert!(log.lines().count() >= 2, "{out}");
        assert!(folder.join(out).join("report.html").is_file(), "{out}");
        weights.insert(std::fs::read(folder.join(out).join("model.safetensors")).unwrap());
    }
    assert_eq!(weights.len(), 7, "no two methods end alike");
}

/// What VLM-RLAIF's rows cannot carry costs that file, not what was judged.
#[test]
fn a_question_that_one_layout_refuses_is_written_in_the_other() {
    let folder = made();
    let rows: String = (0..8)
        .map(|clip| {
            let question = serde_json::json!({"role": "user", "content": "what moves ?\n"});
            let row = serde_json::json!({
                "id": format!("row-{clip}"), "video": format!("world:train/{clip}"),
                "messages": [question], "reference": "red circle moves",
            });
            row.to_string() + "\n"
        })
        .collect::<Vec<_>>()
        .concat();
    std::fs::write(folder.join("newline.jsonl"), rows).unwrap();
    let data = format!("data.train={{path='{}'}}", folder.join("newline.jsonl").display());
    let more = ["preferences.prompts=80", "preferences.num_generations=5"];
    let reference = "oracle={type='reference'}";
    command(folder, "preferences", "newline", &[&data, reference, more[0], more[1]]);
    let collected = json(&folder.join("newline/collected.json"));
    let pairs = collected["pairs"].as_u64().unwrap();
    assert!(pairs > 0);
    let refused = collected["vlm_rlaif_refused"].as_str().expect("a reason");
    assert!(refused.contains("row-"), "{refused}");
    let trl = std::fs::read_to_string(folder.join("newline/trl.jsonl")).unwrap();
    assert_eq!(trl.lines().count() as u64, pairs);
    assert!(!folder.join("newline/vlm-rlaif.jsonl").exists());
}

#[test]
fn what_is_missing_is_named_with_the_remedy() {
    let folder = made();
    let recipe = folder.join("recipe.toml");
    let refuse = |name: &str, sets: &[&str]| {
        let out = folder.join("refused").join(name);
        let mut arguments = vec![name, "--recipe", text(&recipe), "--out", text(&out)];
        for set in sets {
            arguments.extend(["--set", set]);
        }
        let message = refused(&arguments);
        std::fs::remove_dir_all(folder.join("refused")).ok();
        message
    };
    assert!(refuse("dpo", &[]).contains("data.preferences"));
    assert!(refuse("reward", &[]).contains("data.preferences"));
    assert!(refuse("train", &["train.method=ppo"]).contains("`[reward]`"));
    let nowhere = "reward={type='reward_model',path='nowhere'}";
    assert!(refuse("train", &["train.method=grpo", nowhere]).contains("`oracle-rlaif reward`"));
    let message = refuse("train", &["train.methd=ppo"]);
    assert!(message.contains("did you mean `method`"), "{message}");
    let message =
        refuse("reward", &["reward_model.narrative=true", "reward_model.prompt='good ?'"]);
    assert!(message.contains("`{narrative}`"), "{message}");
    let rows = folder.join("silent.jsonl");
    let row = r#"{"id":"mute","video":"world:train/1","messages":[{"role":"user","content":"what moves ?"}]}"#;
    std::fs::write(&rows, row).unwrap();
    let silent = format!("data.train={{path='{}'}}", rows.display());
    let message = refuse("preferences", &["preferences.narrative=true", &silent]);
    assert!(message.contains("`mute` has no `narrative`"), "{message}");
    let message = refuse("preferences", &["preferences.num_generations=1"]);
    assert!(message.contains("preferences.num_generations"), "{message}");
}
