//! A training step and an evaluation on another device, against the CPU's. `tools/device_smoke.sh` runs it and
//! names the device in `ORACLE_RLAIF_DEVICE`.

use std::path::Path;

use serde_json::Value;

use crate::support::{ok, recipe, text};

/// Sums in another order and functions of another accuracy, through a few layers.
const RELATIVE: f64 = 1e-3;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("it was written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn near(got: f64, expected: f64, what: &str) {
    let apart = (got - expected).abs();
    assert!(apart <= RELATIVE * expected.abs().max(1e-2), "{what}: {got}, on the CPU {expected}");
}

#[test]
fn a_training_step_and_an_evaluation_equal_the_cpus() {
    let device = std::env::var("ORACLE_RLAIF_DEVICE").expect("tools/device_smoke.sh names it");
    let folder = tempfile::tempdir().unwrap();
    let smoke = recipe("smoke.toml");
    let rows = folder.path().join("rows.jsonl");
    let questions: String =
        (0..2).map(|clip| ok(&["world", "show", &format!("test/{clip}"), "--json"])).collect();
    std::fs::write(&rows, questions).unwrap();
    let train = |device: &str, extra: &[&str]| {
        let out = folder.path().join(device).join(extra.len().to_string());
        let mut arguments = vec!["train", "--recipe", &smoke, "--out", text(&out), "--quiet"];
        arguments.extend(["--device", device, "--set", "train.max_steps=2"]);
        arguments.extend(extra);
        ok(&arguments);
        let metrics = lines(&out.join("metrics.jsonl"));
        (out, metrics)
    };
    for extra in [&[][..], &["--set", "train.gradient_checkpointing=true"]] {
        let ((cpu, expected), (_, got)) = (train("cpu", extra), train(&device, extra));
        for name in ["loss", "grad_norm", "entropy"] {
            let number = |metrics: &[Value]| metrics[0][name].as_f64().expect(name);
            println!("{name}: {} on {device}, {} on the CPU", number(&got), number(&expected));
            near(number(&got), number(&expected), name);
        }
        if !extra.is_empty() {
            continue;
        }
        let answers = |device: &str| {
            let out = folder.path().join(format!("answers-{device}"));
            let checkpoint = text(&cpu);
            let mut arguments = vec!["eval", "--checkpoint", checkpoint, "--device", device];
            arguments.extend(["--data", text(&rows), "--out", text(&out), "--quiet"]);
            ok(&arguments);
            lines(&out.join("answers.jsonl"))
        };
        let (expected, got) = (answers("cpu"), answers(&device));
        assert_eq!(got.len(), expected.len());
        let mut compared = 0;
        for (got, expected) in got.iter().zip(&expected) {
            let numbers = |row: &Value| -> Vec<f64> {
                let list = row["option_logprobs"].as_array().cloned().unwrap_or_default();
                list.iter().filter_map(Value::as_f64).collect()
            };
            for (got, expected) in numbers(got).into_iter().zip(numbers(expected)) {
                near(got, expected, "log-probability of an option");
                compared += 1;
            }
        }
        println!("{compared} log-probabilities agree to {RELATIVE}");
        assert!(compared > 20);
    }
}
