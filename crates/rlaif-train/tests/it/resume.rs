//! A run that was stopped or killed goes on to the same bits as one that was not.

use std::path::Path;

use rlaif_model::LoraConfig;
use rlaif_train::metrics::{measures_time, truncate_after};
use rlaif_train::optim::OptimConfig;
use rlaif_train::{
    GrpoConfig, KlEstimator, Metrics, Online, RefreshReference, Trainable, checkpoint,
};

use crate::support::{ByTable, bits, config, distance, grpo, host, model, run, timeless};

fn lora() -> Trainable {
    Trainable::Lora(LoraConfig { r: 2, ..LoraConfig::default() })
}

/// What a run can be that a checkpoint has to bring back.
fn kinds() -> Vec<(&'static str, GrpoConfig)> {
    let base = || GrpoConfig { save_steps: 2, ..config() };
    vec![
        ("all weights", base()),
        ("adapters", GrpoConfig { trainable: lora(), ..base() }),
        (
            "all weights, a reference that follows",
            GrpoConfig { refresh_reference: RefreshReference::Epoch, ..base() },
        ),
        (
            "adapters, a reference that follows, two updates a step",
            GrpoConfig {
                refresh_reference: RefreshReference::Epoch,
                trainable: lora(),
                num_iterations: 2,
                kl_estimator: KlEstimator::Exact,
                optim: OptimConfig { weight_decay: 0.1, warmup_ratio: 0.3, ..config().optim },
                ..base()
            },
        ),
    ]
}

/// Prompts; two a step, so that a second epoch begins in step 4.
const LEN: usize = 5;

/// A new process: nothing is left but the folder.
fn reopened(config: &GrpoConfig, folder: &Path) -> Online {
    let mut grpo = grpo(config, ByTable::likes_red());
    let from = checkpoint::latest(folder).expect("the folder lists").expect("a checkpoint");
    truncate_after(&folder.join("metrics.jsonl"), from.state.step).expect("the log is cut");
    grpo.resume(&from).expect("it is this run's");
    assert_eq!(grpo.step, from.state.step);
    grpo
}

/// Both moments of every weight, as bits.
fn moments(grpo: &Online) -> Vec<(String, Vec<u32>)> {
    let of = |tensor| host(tensor).into_iter().map(f32::to_bits);
    let moments = grpo.optimizer.moments.iter();
    moments.map(|(name, both)| (name.clone(), of(&both.m).chain(of(&both.v)).collect())).collect()
}

/// `metrics.jsonl` without what measures the clock.
fn log(folder: &Path) -> Vec<Vec<(String, u64)>> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).expect("a log");
    let line = |line: &str| {
        let record: Metrics = serde_json::from_str(line).expect("numbers by name");
        timeless(&record)
    };
    text.lines().map(line).collect()
}

fn assert_same_run(what: &str, got: &Online, whole: &Online, folder: &Path, whole_folder: &Path) {
    assert!(bits(&got.policy) == bits(&whole.policy), "{what}: other weights");
    assert!(bits(&got.reference) == bits(&whole.reference), "{what}: another reference");
    assert!(moments(got) == moments(whole), "{what}: other moments");
    assert_eq!(got.optimizer.updates, whole.optimizer.updates, "{what}");
    let (got, expected) = (log(folder), log(whole_folder));
    assert_eq!(got.len(), 6, "{what}");
    assert_eq!(got, expected, "{what}");
    for step in 1..=6 {
        let file = format!("completions/step-{step:06}.jsonl");
        let read = |folder: &Path| std::fs::read(folder.join(&file)).expect("its completions");
        assert!(read(folder) == read(whole_folder), "{what}: {file}");
    }
}

#[test]
fn a_resumed_run_ends_in_the_same_bits_as_one_that_was_never_stopped() {
    for (what, config) in kinds() {
        let whole_folder = tempfile::tempdir().unwrap();
        let mut whole = grpo(&config, ByTable::likes_red());
        run(&mut whole, LEN, Some(whole_folder.path()), None).unwrap();
        assert!(distance(&whole.policy.merged(), &model()) > 1e-4, "{what}: it has trained");
        let refreshed = config.refresh_reference == RefreshReference::Epoch;
        let moved = bits(&whole.reference) != bits(&model());
        assert_eq!(moved, refreshed, "{what}: the reference");

        // Stopped by its user after step 4 (of another folder), and after step 3, where no
        // checkpoint was due.
        for stop in [4, 3] {
            let folder = tempfile::tempdir().unwrap();
            let mut first = grpo(&config, ByTable::likes_red());
            run(&mut first, LEN, Some(folder.path()), Some(stop)).unwrap();
            assert!(bits(&first.policy) != bits(&whole.policy));
            drop(first);
            let mut second = reopened(&config, folder.path());
            assert_eq!(second.step, stop);
            run(&mut second, LEN, Some(folder.path()), None).unwrap();
            assert_same_run(what, &second, &whole, folder.path(), whole_folder.path());
        }
    }
}

/// Killed in the middle of step 6: the log and the completions go beyond the checkpoint, and the
/// last line is torn.
#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint_and_repeats_what_came_after() {
    let (what, config) = kinds().remove(3);
    let whole_folder = tempfile::tempdir().unwrap();
    let mut whole = grpo(&config, ByTable::likes_red());
    run(&mut whole, LEN, Some(whole_folder.path()), None).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let mut killed = grpo(&config, ByTable::likes_red());
    run(&mut killed, LEN, Some(folder.path()), Some(5)).unwrap();
    std::fs::remove_dir_all(folder.path().join("checkpoint-5")).unwrap();
    std::fs::create_dir_all(folder.path().join("checkpoint-6.tmp/trainer")).unwrap();
    let log_file = folder.path().join("metrics.jsonl");
    let torn = std::fs::read_to_string(&log_file).unwrap() + "{\"step\":6,\"lo";
    std::fs::write(&log_file, torn).unwrap();
    drop(killed);

    let mut second = reopened(&config, folder.path());
    assert_eq!(second.step, 4);
    run(&mut second, LEN, Some(folder.path()), None).unwrap();
    assert_same_run(what, &second, &whole, folder.path(), whole_folder.path());
    assert!(!folder.path().join("checkpoint-6.tmp").exists());
}

#[test]
fn only_the_newest_checkpoints_are_kept() {
    for (limit, expected) in [(2, vec![4, 6]), (1, vec![6]), (0, vec![2, 4, 6])] {
        let config = GrpoConfig { save_steps: 2, save_total_limit: limit, ..config() };
        let folder = tempfile::tempdir().unwrap();
        run(&mut grpo(&config, ByTable::likes_red()), LEN, Some(folder.path()), None).unwrap();
        let kept: Vec<u64> =
            (1..=6).filter(|n| folder.path().join(format!("checkpoint-{n}")).exists()).collect();
        assert_eq!(kept, expected, "limit {limit}");
    }
}

#[test]
fn two_runs_of_one_recipe_differ_in_nothing_but_the_clock() {
    let config = GrpoConfig { max_steps: 2, ..config() };
    let once = |config: &GrpoConfig| {
        let mut grpo = grpo(config, ByTable::likes_red());
        let metrics = run(&mut grpo, LEN, None, None).unwrap();
        (bits(&grpo.policy), metrics)
    };
    let (first, second) = (once(&config), once(&config));
    assert!(first.0 == second.0);
    for (a, b) in first.1.iter().zip(&second.1) {
        assert_eq!(timeless(a), timeless(b));
        assert!(a.keys().any(|name| measures_time(name)) && timeless(a).len() > 15);
    }
    let other = once(&GrpoConfig { seed: 43, ..config });
    assert!(other.0 != first.0, "the seed matters");
}
