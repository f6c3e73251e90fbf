//! Which files of a repository are read.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// What a checkpoint needs, in words.
pub(super) const NEEDED: &str = "config.json, model.safetensors (or \
    model.safetensors.index.json and the files that it names), tokenizer.json, \
    tokenizer_config.json, the processor's settings (preprocessor_config.json, \
    processor_config.json, video_preprocessor_config.json), chat_template.jinja or \
    chat_template.json, and generation_config.json, as far as the model has them,";

/// Small files, taken where a repository has them.
const SMALL: [&str; 16] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "adapter_config.json",
    "reward_model.json",
    "mm_projector.bin",
    "non_lora_trainables.bin",
];

/// Weights, the first that a repository has.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
const ADAPTERS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// What is done to frames, in one or more of these.
const PROCESSORS: [&str; 3] =
    ["preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"];

/// Largest index or configuration believed.
const MAX_INDEX: u64 = 64 << 20;

/// What to fetch of a repository.
pub(super) struct Plan {
    /// Files that are taken whatever else there is, an adapter's weights among them.
    pub(super) small: Vec<String>,
    pub(super) weights: Planned,
}

/// The full weights.
pub(super) enum Planned {
    /// In one file.
    Whole(String),
    /// In the files that this one names.
    Index(String),
    /// The repository holds none.
    None,
}

/// What to fetch of a repository that holds `names`. Other names are never touched.
pub(super) fn plan(names: &BTreeSet<String>) -> Plan {
    let has = |name: &str| names.contains(name);
    let adapter = ADAPTERS.into_iter().find(|name| has(name));
    let small = SMALL.into_iter().filter(|name| has(name)).chain(adapter);
    let weights = WEIGHTS.into_iter().find_map(|whole| {
        let index = format!("{whole}.index.json");
        if has(whole) {
            Some(Planned::Whole(whole.to_owned()))
        } else {
            has(&index).then_some(Planned::Index(index))
        }
    });
    Plan { small: small.map(str::to_owned).collect(), weights: weights.unwrap_or(Planned::None) }
}

/// The files that an index of weights names.
///
/// # Errors
///
/// Fails where it is no index, or names something other than a file beside it.
pub(super) fn shards(index: &Path) -> Result<Vec<String>> {
    let document = json(index)?;
    let Some(map) = document.get("weight_map").and_then(Value::as_object) else {
        bail!("`{}`: no `weight_map` object", index.display());
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let Some(name) = file.as_str().filter(|name| is_file_name(name)) else {
            bail!("`{}`: `weight_map.{tensor}` is not a file name", index.display());
        };
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().collect())
}

fn json(path: &Path) -> Result<Value> {
    let at = || format!("`{}`", path.display());
    let size = std::fs::metadata(path).with_context(at)?.len();
    if size > MAX_INDEX {
        bail!("`{}`: {size} bytes are too many for what it is", path.display());
    }
    serde_json::from_slice(&std::fs::read(path).with_context(at)?).with_context(at)
}

/// Whether `name` is a file of weights right in a folder.
fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    let known = [".safetensors", ".bin"].iter().any(|end| name.ends_with(end));
    plain && known && !name.starts_with('.') && !name.contains(['\\', ':'])
}

/// What a checkpoint folder lacks to be opened; empty where it is whole.
///
/// # Errors
///
/// Fails where it holds an index of weights that is none.
pub fn missing(folder: &Path) -> Result<Vec<String>> {
    let has = |name: &str| folder.join(name).is_file();
    let mut lacking = missing_model(folder)?;
    let adapter_alone = has("adapter_config.json") && !has("config.json");
    if !adapter_alone && !has("tokenizer.json") && !has("tokenizer.model") {
        lacking.push("tokenizer.json".to_owned());
    }
    let processed = PROCESSORS.iter().any(|name| has(name));
    if !adapter_alone && !processed && !is_original(folder)? {
        lacking.push(PROCESSORS[0].to_owned());
    }
    Ok(lacking)
}

/// The same of the model alone: a vision tower has no tokenizer.
pub(super) fn missing_model(folder: &Path) -> Result<Vec<String>> {
    let has = |name: &str| folder.join(name).is_file();
    let mut lacking = Vec::new();
    if has("adapter_config.json") && !ADAPTERS.iter().any(|name| has(name)) {
        lacking.push(ADAPTERS[0].to_owned());
    }
    if has("adapter_config.json") && !has("config.json") {
        return Ok(lacking);
    }
    if !has("config.json") {
        lacking.push("config.json".to_owned());
    }
    if WEIGHTS.iter().any(|name| has(name)) {
        return Ok(lacking);
    }
    let index = WEIGHTS.iter().map(|name| format!("{name}.index.json")).find(|name| has(name));
    match index {
        Some(index) => {
            let shards = shards(&folder.join(index))?;
            lacking.extend(shards.into_iter().filter(|name| !has(name)));
        }
        None => lacking.push(WEIGHTS[0].to_owned()),
    }
    Ok(lacking)
}

/// Whether a folder has the original LLaVA layout, where the tower says what is done to frames.
fn is_original(folder: &Path) -> Result<bool> {
    let config = folder.join("config.json");
    Ok(config.is_file() && json(&config)?.get("mm_vision_tower").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_is_planned() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let plan_of = |list: &[&str]| {
            let plan = plan(&names(list));
            let weights = match plan.weights {
                Planned::Whole(name) => format!("whole {name}"),
                Planned::Index(name) => format!("index {name}"),
                Planned::None => "none".to_owned(),
            };
            (plan.small.join(" "), weights)
        };
        assert_eq!(
            plan_of(&["config.json", "README.md", "pytorch_model.bin", "model.safetensors"]),
            ("config.json".to_owned(), "whole model.safetensors".to_owned())
        );
        assert_eq!(
            plan_of(&["../../config.json", "x/tokenizer.json", "pytorch_model.bin.index.json"]),
            (String::new(), "index pytorch_model.bin.index.json".to_owned())
        );
        assert_eq!(
            plan_of(&["adapter_model.bin", "adapter_model.safetensors", "adapter_config.json"]),
            ("adapter_config.json adapter_model.safetensors".to_owned(), "none".to_owned())
        );
    }

    #[test]
    fn an_index_names_files_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("model.safetensors.index.json");
        let read = |name: &str| {
            let document = serde_json::json!({ "weight_map": { "a": name, "b": "b.bin" } });
            std::fs::write(&index, document.to_string()).unwrap();
            shards(&index)
        };
        assert_eq!(read("a.safetensors").unwrap(), ["a.safetensors", "b.bin"]);
        for name in [
            "../../x.bin",
            "/etc/x.bin",
            "a/b.bin",
            "..",
            "",
            ".bin",
            "x.py",
            "c:\\x.bin",
            "./a.bin/",
        ] {
            let error = read(name).unwrap_err().to_string();
            assert!(error.contains("`weight_map.a` is not a file name"), "{name}: {error}");
        }
    }

    #[test]
    fn a_folder_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let lacks = || missing(folder.path()).unwrap().join(" ");
        assert_eq!(
            lacks(),
            "config.json model.safetensors tokenizer.json preprocessor_config.json"
        );
        put("config.json", r#"{"mm_vision_tower": "a/b"}"#);
        put("tokenizer.model", "");
        assert_eq!(lacks(), "model.safetensors");
        put("config.json", "{}");
        assert_eq!(lacks(), "model.safetensors preprocessor_config.json");
        put("processor_config.json", "{}");
        put("model.safetensors.index.json", r#"{"weight_map": {"x": "1.bin", "y": "2.bin"}}"#);
        put("2.bin", "");
        assert_eq!(lacks(), "1.bin");
        put("adapter_config.json", "{}");
        assert_eq!(lacks(), "adapter_model.safetensors 1.bin");
        put("1.bin", "");
        put("adapter_model.bin", "");
        assert_eq!(lacks(), "");
    }
}
