//! Clips as clients send them are the clips that `generate` reads from files.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::Server;
use crate::support::{checkpoint, ffmpeg_or_skip, ok, text};

const QUESTION: &str = "what color is the circle ?";

/// Bits of the log-probabilities of the greedy answer about a file or folder.
fn generated(video: &Path) -> Vec<u32> {
    let answer = ok(&[
        "generate",
        "--checkpoint",
        text(checkpoint()),
        "--video",
        text(video),
        "--prompt",
        QUESTION,
        "--max-new-tokens",
        "5",
        "--json",
    ]);
    let answer: Value = serde_json::from_str(&answer).expect("one JSON object");
    let end = usize::from(answer["finish_reason"] == "stop");
    let all = answer["logprobs"].as_array().expect("it is there");
    all[..all.len() - end].iter().map(bits).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "written as f32")]
fn bits(value: &Value) -> u32 {
    (value.as_f64().expect("it is there") as f32).to_bits()
}

fn served(server: &Server, parts: &[Value]) -> Vec<u32> {
    let mut content = parts.to_vec();
    content.push(json!({"type": "text", "text": QUESTION}));
    let reply = server.chat(&json!({
        "temperature": 0, "max_tokens": 5, "logprobs": true,
        "messages": [{"role": "user", "content": content}],
    }));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let tokens = reply.json()["choices"][0]["logprobs"]["content"].clone();
    tokens.as_array().expect("it is there").iter().map(|token| bits(&token["logprob"])).collect()
}

fn data(kind: &str, file: &Path) -> String {
    format!("data:{kind};base64,{}", STANDARD.encode(std::fs::read(file).expect("it is there")))
}

fn image(file: &Path) -> Value {
    json!({"type": "image_url", "image_url": {"url": data("image/png", file)}})
}

fn video(url: &str) -> Value {
    json!({"type": "video_url", "video_url": {"url": url}})
}

#[test]
fn images_are_the_frames_of_one_clip_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    let (one, two) = (frames.join("1.png"), frames.join("2.png"));
    for (clip, file) in [("test/3", &one), ("test/5", &two)] {
        ok(&["world", "show", clip, "--png", text(file)]);
    }
    let root = text(folder.path());
    let server = Server::start(&["--media-root", root]);
    let expected = generated(&frames);
    assert_eq!(served(&server, &[image(&one), image(&two)]), expected);
    assert_ne!(served(&server, &[image(&two), image(&one)]), expected, "the order counts");
    assert_eq!(served(&server, &[image(&one)]), generated(&one));
    // The folder itself, inside the media root.
    assert_eq!(served(&server, &[video("frames")]), expected);
}

#[test]
fn a_video_is_the_same_uploaded_and_inside_the_media_root() {
    if !ffmpeg_or_skip("serve::a_video_is_the_same_uploaded_and_inside_the_media_root") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("clips");
    ok(&["world", "export", "--split", "test", "--clips", "1", "--out", text(&out)]);
    let row = std::fs::read_to_string(out.join("test.jsonl")).unwrap();
    let row: Value = serde_json::from_str(row.lines().next().unwrap()).unwrap();
    let name = row["video"].as_str().unwrap();
    let file = out.join(name);
    let server = Server::start(&["--media-root", text(&out)]);
    let expected = generated(&file);
    assert_eq!(served(&server, &[video(&data("video/mp4", &file))]), expected);
    let bytes = STANDARD.encode(std::fs::read(&file).unwrap());
    let input = json!({"type": "input_video", "input_video": {"data": bytes, "format": "mp4"}});
    assert_eq!(served(&server, &[input]), expected);
    assert_eq!(served(&server, &[video(name)]), expected);
    assert_eq!(served(&server, &[video(&format!("file://{}", text(&file)))]), expected);
    // Cut off in the middle: refused, without a word of where it lay.
    let half = STANDARD.encode(&std::fs::read(&file).unwrap()[..600]);
    let part = video(&format!("data:video/mp4;base64,{half}"));
    let request = json!({"messages": [{"role": "user", "content": [part]}]});
    let reply = server.chat(&request);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("invalid_clip")));
    assert!(!reply.body.contains("oracle-rlaif-serve"), "{}", reply.body);
}
