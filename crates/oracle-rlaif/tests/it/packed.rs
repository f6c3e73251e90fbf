//! Adapters trained beside packed weights, from the command line.

use std::path::Path;

use burn::tensor::Device;
use oracle_rlaif::folder::Folder;
use rlaif_model::{Precision, attach_adapter};

use crate::support::{checkpoint, ok, recipe, refused, text};

/// Six steps of the smoke recipe's LoRA run on the small checkpoint, its weights kept as `base`.
fn arguments<'a>(recipe: &'a str, path: &'a str, base: &'a str, out: &'a Path) -> Vec<&'a str> {
    vec![
        "train",
        "--recipe",
        recipe,
        "--out",
        text(out),
        "--quiet",
        "--set",
        path,
        "--set",
        base,
        "--set",
        "train.max_steps=6",
    ]
}

/// The smoke recipe with its model taken out.
fn smoke(folder: &Path) -> String {
    let whole = std::fs::read_to_string(recipe("smoke.toml")).expect("the recipe is there");
    let (before, model) = whole.split_once("[model.clip_world]").expect("its model");
    let (_, after) = model.split_once("[data").expect("its data");
    let path = folder.join("smoke.toml");
    std::fs::write(&path, format!("{before}\n[data{after}")).expect("it is written");
    text(&path).to_owned()
}

#[test]
fn adapters_train_beside_four_bits_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (smoke(folder.path()), folder.path().join("run"));
    let path = format!("model.path={}", text(checkpoint()));
    ok(&arguments(&recipe, &path, "model.base_precision=nf4", &out));

    // The same bits from a run that was stopped on the way.
    let stopped = folder.path().join("stopped");
    let mut first = arguments(&recipe, &path, "model.base_precision=nf4", &stopped);
    ok(&first);
    for late in ["checkpoint-6", "model.safetensors"] {
        let late = stopped.join(late);
        if late.is_dir() {
            std::fs::remove_dir_all(late).unwrap();
        } else {
            std::fs::remove_file(late).unwrap();
        }
    }
    first.push("--resume");
    ok(&first);
    let weights = |run: &Path| std::fs::read(run.join("model.safetensors")).unwrap();
    assert!(weights(&out) == weights(&stopped), "resumed to other bits");

    // A checkpoint is an adapter, which goes onto packed weights again.
    let at = out.join("checkpoint-6");
    assert!(at.join("adapter_model.safetensors").is_file());
    assert!(!at.join("model.safetensors").exists());
    let device = Device::flex();
    let packed = Folder::open_with(checkpoint(), Precision::Nf4, &device).unwrap().model;
    let mut again = packed.clone();
    attach_adapter(&mut again, &at).unwrap();
    assert_eq!(again.base_precision(), Precision::Nf4);
    assert!(again.memory().adapters > 0 && again.memory().base == packed.memory().base);

    // What lies at the end is that adapter in the full weights, and another precision ends
    // elsewhere.
    let merged = Folder::open(&at, &device).unwrap();
    let expected = folder.path().join("expected");
    merged.save(&merged.model, &expected).unwrap();
    assert!(weights(&out) == weights(&expected));
    assert!(weights(&out) != weights(checkpoint()), "it has trained");
    let other = folder.path().join("other");
    ok(&arguments(&recipe, &path, "model.base_precision=bfloat16", &other));
    assert!(weights(&out) != weights(&other));

    // An adapter's folder is packed after it was merged.
    let opened = Folder::open_with(&at, Precision::Int8, &device).unwrap().model;
    assert_eq!((opened.base_precision(), opened.memory().adapters), (Precision::Int8, 0));
}

#[test]
fn packed_weights_are_not_to_be_trained() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe_file, out) = (smoke(folder.path()), folder.path().join("run"));
    let path = format!("model.path={}", text(checkpoint()));
    let mut all = arguments(&recipe_file, &path, "model.base_precision=int8", &out);
    all.extend(["--set", "train.trainable={ type = \"all\" }"]);
    let message = refused(&all);
    assert!(message.contains("train.trainable") && message.contains("lora"), "{message}");

    let whole = recipe("smoke.toml");
    let base = ["--set", "model.base_precision=nf4"];
    let mut random = vec!["train", "--recipe", &whole, "--out", text(&out)];
    random.extend(base);
    let message = refused(&random);
    assert!(message.contains("model.path"), "{message}");
    let message = refused(&arguments(&recipe_file, &path, "model.base_precision=int4", &out));
    assert!(message.contains("int8") && message.contains("nf4"), "{message}");
    assert!(!out.exists());
}
