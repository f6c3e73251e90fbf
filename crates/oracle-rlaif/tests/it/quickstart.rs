//! The quickstart keeps its contract, and the same seed gives the same run.

use std::path::Path;

use serde_json::Value;

use crate::support::{ok, refused, text};

/// As short as the stages can be.
const SHORT: [&str; 10] = [
    "--set",
    "data.sft.world.clips=16",
    "--set",
    "sft.max_steps=4",
    "--set",
    "data.train.world.clips=16",
    "--set",
    "train.max_steps=2",
    "--set",
    "data.eval.world.clips=3",
];

fn quickstart(out: &Path, seed: &str) -> Value {
    let mut arguments =
        vec!["quickstart", "--quick", "--quiet", "--out", text(out), "--seed", seed];
    arguments.extend(SHORT);
    let table = ok(&arguments);
    assert!(table.contains("multiple choice") || table.contains("Multiple choice"), "{table}");
    let json = std::fs::read(out.join("summary.json")).expect("summary.json is there");
    serde_json::from_slice(&json).expect("summary.json is JSON")
}

#[test]
fn the_summary_the_checkpoints_and_the_report_are_there_and_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    let summary = quickstart(&first, "7");
    assert_eq!(summary["seed"], 7);
    for name in ["wall_seconds", "peak_rss_bytes"] {
        assert!(summary[name].as_f64().expect(name) > 0.0);
    }
    for stage in ["sft", "oracle_rlaif"] {
        for kind in ["multiple_choice", "open_ended"] {
            let section = &summary["stages"][stage][kind];
            let accuracy = section["accuracy"].as_f64().expect("accuracy");
            let [lo, hi] = [0, 1].map(|i| section["ci95"][i].as_f64().expect("ci95"));
            assert!(lo <= accuracy && accuracy <= hi, "{section}");
            assert!(section["n"].as_u64().expect("n") > 10);
            assert!(section["by_category"].as_object().expect("by_category").len() >= 6);
        }
    }
    let gain = &summary["gain"]["multiple_choice"];
    assert!(gain["points"].is_f64() && gain["ci95"][1].is_f64(), "{gain}");

    for checkpoint in ["sft", "oracle-rlaif"] {
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "preprocessor_config.json",
            "generation_config.json",
            "metrics.jsonl",
        ] {
            assert!(first.join(checkpoint).join(file).is_file(), "{checkpoint}/{file}");
        }
    }
    let html = std::fs::read_to_string(first.join("report.html")).expect("report.html is there");
    assert!(html.contains("<svg") && html.contains("data:image/png"));

    let repeated = quickstart(&again, "7");
    assert_eq!(summary["stages"], repeated["stages"]);
    assert_eq!(summary["gain"], repeated["gain"]);
    for checkpoint in ["sft", "oracle-rlaif"] {
        let weights = |run: &Path| std::fs::read(run.join(checkpoint).join("model.safetensors"));
        assert!(weights(&first).unwrap() == weights(&again).unwrap(), "{checkpoint} differs");
    }

    // The page can be made again from the folder alone.
    std::fs::remove_file(first.join("report.html")).unwrap();
    ok(&["report", text(&first)]);
    assert_eq!(std::fs::read_to_string(first.join("report.html")).unwrap(), html);
    let message = refused(&["quickstart", "--out", text(&first)]);
    assert!(message.contains("not empty"), "{message}");
}
