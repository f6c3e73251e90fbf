//! Real files: ClipWorld exported as mp4, trained on and evaluated, and clips that are broken.

use std::path::Path;

use burn::tensor::Device;
use oracle_rlaif::folder::{Folder, world_clips};
use oracle_rlaif::pictures::pictures;
use oracle_rlaif::recipe::VideoConfig;
use rlaif_data::{Pixels, VideoRef};
use rlaif_video::Loader;
use serde_json::Value;

use crate::support::{checkpoint, ffmpeg_or_skip, ok, recipe, refused, run, text};

fn export(out: &Path) {
    ok(&["world", "export", "--split", "test", "--clips", "3", "--out", text(out)]);
}

fn evaluate(rows: &Path, out: &Path) -> Value {
    let printed = ok(&[
        "eval",
        "--checkpoint",
        text(checkpoint()),
        "--data",
        text(rows),
        "--out",
        text(out),
        "--json",
        "--quiet",
    ]);
    serde_json::from_str(&printed).expect("one JSON object")
}

fn answers(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("answers.jsonl")).expect("answers");
    text.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect()
}

/// The frames of the mp4 differ from those in memory by the coding error alone, so likelihoods of
/// whole answers differ by a percent or so: H.264 at 4:2:0 moves a pixel by a few levels of 255.
#[test]
fn the_file_path_and_the_path_in_memory_agree() {
    if !ffmpeg_or_skip("files::the_file_path_and_the_path_in_memory_agree") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    export(folder.path());
    let from_files = folder.path().join("files");
    evaluate(&folder.path().join("test.jsonl"), &from_files);

    let rows = folder.path().join("memory.jsonl");
    let in_memory: String =
        (0..3).map(|clip| ok(&["world", "show", &format!("test/{clip}"), "--json"])).collect();
    std::fs::write(&rows, in_memory).unwrap();
    let from_memory = folder.path().join("memory");
    evaluate(&rows, &from_memory);

    let (files, memory) = (answers(&from_files), answers(&from_memory));
    assert_eq!(files.len(), memory.len());
    let mut apart = Vec::new();
    for (file, memory) in files.iter().zip(&memory) {
        assert_eq!(file["id"], memory["id"]);
        let logprobs = |row: &Value| -> Vec<f64> {
            let values = row["option_logprobs"].as_array().cloned().unwrap_or_default();
            values.iter().filter_map(Value::as_f64).collect()
        };
        let pairs = logprobs(file).into_iter().zip(logprobs(memory));
        apart.extend(pairs.map(|(a, b)| (a - b).abs() / b.abs()));
    }
    apart.sort_by(f64::total_cmp);
    assert!(apart.len() >= 40, "{} likelihoods", apart.len());
    let (median, most) = (apart[apart.len() / 2], apart[apart.len() - 1]);
    assert!(median < 0.02 && most < 0.1, "median {median}, most {most}");
}

/// Mean distance of what the tower is shown, in brightness from 0 to 1.
fn distance(a: &Pixels, b: &Pixels) -> f64 {
    assert_eq!((a.frames, a.height, a.width), (b.frames, b.height, b.width));
    let sum: f64 = a.values.iter().zip(&b.values).map(|(a, b)| f64::from((a - b).abs())).sum();
    sum / a.values.len() as f64
}

#[test]
fn an_exported_clip_shows_the_tower_what_the_world_does() {
    if !ffmpeg_or_skip("files::an_exported_clip_shows_the_tower_what_the_world_does") {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    export(out.path());
    let folder = Folder::open(checkpoint(), &Device::flex()).unwrap();
    let builder = folder.builder(&VideoConfig::default(), world_clips(), 0).unwrap();
    let file = |clip: u32| {
        let path = out.path().join(format!("clips/test-{clip:06}.mp4"));
        builder.pixels(&VideoRef::File(path)).unwrap()
    };
    let world = |clip: u32| builder.pixels(&VideoRef::World(format!("test/{clip}"))).unwrap();
    for clip in 0..3 {
        let same = distance(&file(clip), &world(clip));
        let other = distance(&file(clip), &world((clip + 1) % 3));
        assert!(same < 0.1 && other > 3.0 * same, "clip {clip}: {same} of itself, {other}");
    }
}

#[test]
fn a_recipe_trains_and_evaluates_on_mp4_files_and_skips_the_broken_one() {
    if !ffmpeg_or_skip("files::a_recipe_trains_and_evaluates_on_mp4_files") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    export(folder.path());
    std::fs::write(folder.path().join("clips/test-000001.mp4"), "no video").unwrap();
    let rows = folder.path().join("test.jsonl");
    let out = folder.path().join("run");
    let recipe = recipe("video-files.toml");
    let sets = [
        format!("model.path={}", text(checkpoint())),
        format!("data.train.path={}", text(&rows)),
        format!("data.eval.path={}", text(&rows)),
        "train.max_steps=2".to_owned(),
        "train.prompts_per_step=2".to_owned(),
        "train.sampling.max_completion_length=4".to_owned(),
        "eval.max_completion_length=4".to_owned(),
    ];
    let with = |policy: &str| {
        let mut arguments =
            vec!["train".to_owned(), "--recipe".to_owned(), recipe.clone(), "--out".to_owned()];
        arguments.push(text(&out).to_owned());
        for set in sets.iter().cloned().chain([format!("video.on_bad_clip={policy}")]) {
            arguments.extend(["--set".to_owned(), set]);
        }
        arguments
    };
    let strict = with("error");
    let message = refused(&strict.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(message.contains("test-000001.mp4"), "{message}");
    std::fs::remove_dir_all(&out).unwrap();

    let skipping = with("skip");
    let output = run(&skipping.iter().map(String::as_str).collect::<Vec<_>>());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("skipped"), "{stderr}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(out.join("eval/report.json")).unwrap()).unwrap();
    assert!(report["reports"][0]["skipped_clips"].as_u64().unwrap() > 0, "{report}");
    assert!(out.join("report.html").is_file() && out.join("model.safetensors").is_file());
}

/// A judge behind a server is shown of a file what it is shown of the world, but for the coding
/// error, and a file cut short is named.
#[test]
fn pictures_of_a_file_are_those_of_the_world() {
    if !ffmpeg_or_skip("files::pictures_of_a_file_are_those_of_the_world") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    export(folder.path());
    let row = std::fs::read_to_string(folder.path().join("test.jsonl")).expect("rows");
    let row: Value = serde_json::from_str(row.lines().next().expect("a row")).expect("JSON");
    let path = folder.path().join(row["video"].as_str().expect("a path"));
    let show = pictures(Loader::default());
    let of_file = show(&VideoRef::File(path.clone()), 4, 24, 95).expect("pictures");
    let of_world = show(&VideoRef::World("test/0".to_owned()), 4, 24, 95).expect("pictures");
    assert_eq!((of_file.len(), of_world.len()), (4, 4));
    for ((file, at), (world, time)) in of_file.iter().zip(&of_world) {
        assert!((at - time).abs() < 1e-6, "{at} {time}");
        let read = |bytes: &[u8]| image::load_from_memory(bytes).expect("a JPEG").into_rgb8();
        let (file, world) = (read(file), read(world));
        assert_eq!((file.dimensions(), world.dimensions()), ((24, 24), (24, 24)));
        let apart =
            file.as_raw().iter().zip(world.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let apart = apart.sum::<f64>() / file.as_raw().len() as f64;
        assert!(apart < 10.0, "{apart}");
    }
    let whole = std::fs::read(&path).expect("the file");
    let cut = folder.path().join("cut.mp4");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("it is written");
    let error = show(&VideoRef::File(cut), 4, 24, 95).unwrap_err();
    assert!(error.contains("cut.mp4") && error.contains("drop its row"), "{error}");
}

#[test]
fn export_says_what_to_install_where_ffmpeg_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let output = crate::support::program()
        .env("PATH", folder.path())
        .args(["world", "export", "--clips", "1", "--out", text(&folder.path().join("out"))])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("ffmpeg") && stderr.contains("install"), "{stderr}");
}
