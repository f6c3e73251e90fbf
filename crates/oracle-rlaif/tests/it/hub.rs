//! Models by name from the command line, out of a cache and without a network.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{program, text};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_verysecret";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures").join(name)
}

/// Puts a fixture into the cache of `home` as `org/tiny`, as `hf download` lays it out.
fn cached(home: &Path, name: &str) {
    let root = home.join("hub/models--org--tiny");
    let (refs, snapshot) = (root.join("refs"), root.join("snapshots").join(COMMIT));
    std::fs::create_dir_all(&refs).expect("a folder");
    std::fs::create_dir_all(&snapshot).expect("a folder");
    std::fs::write(refs.join("main"), COMMIT).expect("a file");
    for entry in std::fs::read_dir(fixture(name)).expect("the fixture") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let file = path.file_name().expect("a file has a name");
            std::fs::copy(&path, snapshot.join(file)).expect("a copy");
        }
    }
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    let mut command = program();
    command.env("HF_HOME", home).env("HF_TOKEN", TOKEN).env_remove("HF_HUB_CACHE");
    command.current_dir(home).args(arguments).output().expect("the program starts")
}

fn ok(home: &Path, arguments: &[&str]) -> String {
    let output = run(home, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    assert!(!stderr.contains(TOKEN));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON")
}

const RECIPE: &str = r#"
[model]
path = "org/tiny"
[data.train.world]
split = "train"
clips = 2
[oracle]
type = "world"
[train]
num_generations = 2
max_steps = 1
save_steps = 1
trainable = { type = "lora", r = 2 }
sampling = { max_completion_length = 3 }
"#;

#[test]
fn a_model_in_the_cache_is_trained_named_and_merged() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    cached(home, "smolvlm-a");
    std::fs::write(home.join("recipe.toml"), RECIPE).unwrap();
    ok(home, &["-vvv", "train", "--recipe", "recipe.toml", "--out", "run"]);
    let resolved = std::fs::read_to_string(home.join("run/recipe.toml")).unwrap();
    assert!(resolved.contains("path = \"org/tiny\""), "{resolved}");
    let adapter = json(&home.join("run/checkpoint-1/adapter_config.json"));
    assert_eq!(adapter["base_model_name_or_path"], "org/tiny");
    for file in files(&home.join("run")) {
        let bytes = std::fs::read(&file).unwrap();
        let leaks = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        assert!(!leaks, "{}", file.display());
    }

    // What it takes is estimated from the cache's shapes.
    ok(home, &["recipe", "check", "--recipe", "recipe.toml", "--memory", "8GB", "--frames", "8"]);

    // The adapter finds its base by that name; what is merged needs neither.
    ok(home, &["merge", "--adapter", "run/checkpoint-1", "--out", "merged"]);
    std::fs::rename(home.join("hub"), home.join("moved")).unwrap();
    let answers = |model: &str| {
        ok(
            home,
            &["generate", "--model", model, "--video", "world:test/3", "--prompt", "why ?", "-q"],
        )
    };
    let merged = answers("merged");
    let output = run(home, &["merge", "--adapter", "run/checkpoint-1", "--out", "again"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in ["`--base` names another", "hf download org/tiny", "HF_HUB_OFFLINE is set"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains(TOKEN) && !home.join("again").exists());
    std::fs::rename(home.join("moved"), home.join("hub")).unwrap();
    assert_eq!(answers("run/checkpoint-1"), merged);

    // A revision that the adapter names counts, and another one is not there.
    let mut pinned = adapter;
    pinned["revision"] = "v2".into();
    std::fs::write(home.join("run/checkpoint-1/adapter_config.json"), pinned.to_string()).unwrap();
    let output = run(home, &["merge", "--adapter", "run/checkpoint-1", "--out", "again"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("hf download org/tiny --revision v2"), "{message}");
}

#[test]
fn a_folder_of_that_name_comes_before_the_hub() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::create_dir_all(home.join("recipes")).unwrap();
    std::fs::write(home.join("recipes/recipe.toml"), RECIPE).unwrap();
    let path = |arguments: &[&str]| {
        let mut all = vec!["recipe", "check", "--recipe", "recipes/recipe.toml"];
        all.extend_from_slice(arguments);
        let text: toml::Table = toml::from_str(&ok(home, &all)).unwrap();
        text["model"]["path"].as_str().unwrap().to_owned()
    };
    let there = std::fs::canonicalize(home).unwrap();
    assert_eq!(path(&[]), "org/tiny");
    assert_eq!(path(&["--model", "other/name@v1"]), "other/name@v1");
    std::fs::create_dir_all(home.join("org/tiny")).unwrap();
    assert_eq!(path(&[]), text(&there.join("org/tiny")));
    assert_eq!(path(&["--model", "org/tiny"]), text(&there.join("org/tiny")));
    std::fs::create_dir_all(home.join("recipes/org/tiny")).unwrap();
    let beside = std::path::PathBuf::from(path(&[]));
    assert_eq!(std::fs::canonicalize(beside).unwrap(), there.join("recipes/org/tiny"));
}
