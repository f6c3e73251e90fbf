//! The layouts of the crate's documentation, and files that are refused.

use serde_json::json;

use super::*;
use crate::{Block, Choices, Message, Role, VideoRef};

mod properties;
mod refused;

const FILE: &str = "/data/d.jsonl";

fn load(text: &str) -> Result<Loaded<Example>, DataError> {
    Reader::default().examples_from(text.as_bytes(), Path::new(FILE))
}

fn one(text: &str) -> Example {
    let mut rows = load(text).unwrap().rows;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// The message without the file and the line.
fn refused(row: &str) -> String {
    let message = load(row).unwrap_err().to_string();
    let rest = message.strip_prefix("/data/d.jsonl:1: ");
    rest.unwrap_or_else(|| panic!("no place in `{message}`")).to_owned()
}

fn preference(text: &str) -> Result<Preference, DataError> {
    let loaded = Reader::default().preferences_from(text.as_bytes(), Path::new(FILE))?;
    Ok(loaded.rows[0].clone())
}

/// A question about `clips/a.mp4` and its answer, as every layout below says it.
fn cat() -> Example {
    Example {
        id: "d:1".into(),
        video: VideoRef::File("/data/clips/a.mp4".into()),
        messages: vec![Message::ask("What moves?"), Message::text(Role::Assistant, "A cat.")],
        reference: None,
        choices: None,
        category: None,
        narrative: None,
        meta: serde_json::Map::new(),
    }
}

#[test]
fn every_way_to_say_one_thing_reads_the_same() {
    let ways = [
        r#"{"video":"clips/a.mp4","messages":[{"role":"user","content":[{"type":"video"},{"type":"text","text":"What moves?"}]},{"role":"assistant","content":"A cat."}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"video","video":"file:///data/clips/a.mp4"},{"type":"text","text":"What moves?"}]},{"role":"assistant","content":[{"type":"text","text":"A cat."}]}]}"#,
        r#"{"video":"clips/a.mp4","messages":[{"role":"user","content":[{"type":"video","path":"clips/a.mp4"},{"type":"text","text":"What moves?"}]},{"role":"assistant","content":"A cat."}]}"#,
        r#"{"videos":["clips/a.mp4"],"messages":[{"role":"user","content":"<video>What moves?"},{"role":"assistant","content":"A cat."}]}"#,
        r#"{"video":"clips/a.mp4","prompt":"What moves?","completion":"A cat."}"#,
        r#"{"video":"clips/a.mp4","prompt":[{"role":"user","content":"What moves?"}],"completion":[{"role":"assistant","content":"A cat."}]}"#,
        r#"{"video":"clips/a.mp4","conversations":[{"from":"human","value":"<image>\nWhat moves?"},{"from":"gpt","value":"A cat."}],"images":null}"#,
        r#"{"video":"clips/a.mp4","conversations":[{"role":"user","value":"What moves?\n<video>"},{"role":"assistant","value":"A cat."}]}"#,
    ];
    for way in ways {
        assert_eq!(one(way), cat(), "{way}");
    }
}

#[test]
fn a_full_row_of_our_own_reads() {
    let row = json!({
        "id": "a-1", "video": "world:train/3", "messages": [{"role": "user", "content": "Which?"}],
        "reference": "a cat", "category": "counting", "narrative": "A cat crosses.",
        "choices": {"options": ["a cat", "a dog"], "answer": 1},
        "answer": "kept", "src_data": "x", "meta": {"n": 1},
    });
    let example = one(&row.to_string());
    assert_eq!(example.id, "a-1");
    assert_eq!(example.video, VideoRef::World("train/3".into()));
    assert_eq!(example.messages, [Message::ask("Which?")]);
    assert_eq!(example.reference.as_deref(), Some("a cat"));
    assert_eq!(example.category.as_deref(), Some("counting"));
    assert_eq!(example.narrative.as_deref(), Some("A cat crosses."));
    let choices = Choices { options: vec!["a cat".into(), "a dog".into()], answer: 1 };
    assert_eq!(example.choices, Some(choices));
    assert_eq!(
        serde_json::Value::Object(example.meta),
        json!({"n": 1, "answer": "kept", "src_data": "x"})
    );
}

#[test]
fn vlm_rlaif_arrays_read() {
    let text = r#"[
      {"id": "v_1", "src_data": "anet", "conversations": [
        {"from": "human", "value": "<image>\nWhat moves?"}, {"from": "gpt", "value": "A cat."}],
       "images": ["v_1/0001.jpg", "/abs/0002.jpg"]},
      {"uid": 7, "length_bonus": 1.0, "image": "one.jpg",
       "conversations": [{"from": "human", "value": "And now?"}]},
      {"conversations": [{"from": "human", "value": "And now?"}], "images": ["a.png"]}
    ]"#;
    let loaded = load(text).unwrap();
    assert_eq!(loaded.notes, []);
    let ids: Vec<&str> = loaded.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["v_1", "7", "d#3"]);
    let frames = vec!["/data/v_1/0001.jpg".into(), "/abs/0002.jpg".into()];
    assert_eq!(loaded.rows[0].video, VideoRef::Frames(frames));
    assert_eq!(loaded.rows[0].target().as_deref(), Some("A cat."));
    assert_eq!(loaded.rows[1].video, VideoRef::Frames(vec!["/data/one.jpg".into()]));
    assert_eq!(loaded.rows[1].meta["length_bonus"], 1.0);
}

#[test]
fn preferences_of_all_layouts_read_the_same() {
    let ways = [
        r#"{"video":"a.mp4","prompt":"What moves?","chosen":"A cat.","rejected":"A dog."}"#,
        r#"{"video":"a.mp4","messages":[{"role":"user","content":"What moves?"}],"chosen":[{"role":"assistant","content":"A cat."}],"rejected":"A dog."}"#,
        r#"{"video":"a.mp4","chosen":[{"role":"user","content":"What moves?"},{"role":"assistant","content":"A cat."}],"rejected":[{"role":"user","content":"What moves?"},{"role":"assistant","content":"A dog."}]}"#,
        r#"{"video":"a.mp4","conversations":[{"from":"human","value":"<image>\nWhat moves?"}],"output_1":{"from":"gpt","value":"A dog."},"output_2":{"from":"gpt","value":"A cat."},"preference":2}"#,
        r#"{"video":"a.mp4","conversations":[{"from":"human","value":"What moves?"}],"output_1":"A cat.","output_2":"A dog.","preference":1}"#,
    ];
    for way in ways {
        let row = preference(way).unwrap();
        assert_eq!(row.video, VideoRef::File("/data/a.mp4".into()));
        assert_eq!(row.messages, [Message::ask("What moves?")], "{way}");
        assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("A cat.", "A dog."), "{way}");
        assert!(row.meta.is_empty(), "{way}");
    }
}

#[test]
fn preferences_that_are_none_are_refused() {
    let ask = r#""video":"a.mp4","prompt":"What?""#;
    for (rest, expected) in [
        (r#","chosen":"A.""#, "`rejected`: missing; `chosen` is there"),
        (r#","rejected":"A.""#, "`chosen`: missing; `rejected` is there"),
        ("", "`chosen`: missing; a preference has `chosen` and `rejected`, or `output_1`"),
        (
            r#","output_1":"A.","output_2":"B.","preference":0"#,
            "`preference`: expected 1 or 2, got `0`",
        ),
        (r#","output_1":"A.","output_2":"B.""#, "`preference`: expected 1 or 2, got `null`"),
        (
            r#","output_1":{"from":"human","value":"A."},"output_2":"B.","preference":1"#,
            "`output_1`: expected the text of one answer",
        ),
        (
            r#","chosen":["A."],"rejected":"B.""#,
            "`chosen[0]`: expected a message object, got `\"A.\"`",
        ),
        (
            r#","chosen":3,"rejected":"B.""#,
            "`chosen`: expected a string or a list of messages, got `3`",
        ),
    ] {
        let message = preference(&format!("{{{ask}{rest}}}")).unwrap_err().to_string();
        assert!(message.starts_with(&format!("/data/d.jsonl:1: {expected}")), "{message}");
    }
    let alone = preference(r#"{"video":"a.mp4","chosen":"A.","rejected":"B."}"#).unwrap_err();
    assert!(
        alone.to_string().contains("`prompt`: missing; the two answers have no turns in common")
    );
    let answered = r#"{"video":"a.mp4","messages":[{"role":"user","content":"Q?"},{"role":"assistant","content":"A"}],"chosen":"A.","rejected":"B."}"#;
    assert!(preference(answered).unwrap_err().to_string().contains("ends with an answer"));
}

#[test]
fn choices_read_from_lists_letters_and_words() {
    let read = |choices: serde_json::Value, answer: serde_json::Value| {
        let row =
            json!({"video": "a.mp4", "prompt": "Which?", "choices": choices, "answer": answer});
        load(&row.to_string()).map(|loaded| {
            let choices = loaded.rows[0].choices.clone().unwrap();
            (choices.options.join("|"), choices.answer)
        })
    };
    let plain = ("red|green|blue".to_owned(), 1);
    assert_eq!(read(json!(["red", "green", "blue"]), json!(1)).unwrap(), plain);
    assert_eq!(read(json!(["red", "green", "blue"]), json!("b")).unwrap(), plain);
    assert_eq!(read(json!(["red", "green", "blue"]), json!("green")).unwrap(), plain);
    assert_eq!(read(json!(["A. red", "(B) green", "C) blue"]), json!("B")).unwrap(), plain);
    // Only one of them begins with its letter: an option may begin with "A. ".
    assert_eq!(
        read(json!(["A. Turing", "Gödel"]), json!(0)).unwrap(),
        ("A. Turing|Gödel".into(), 0)
    );
    // By its letter "B" is the second option, by its words the first.
    for (options, answer) in [
        (json!(["B", "A"]), json!("B")),
        (json!(["red", "green"]), json!(2)),
        (json!(["red", "green"]), json!(-1)),
        (json!(["red", "green"]), json!("C")),
        (json!(["red", "green"]), json!(null)),
    ] {
        let message = read(options, answer).unwrap_err().to_string();
        assert!(message.contains("`answer`: expected an index from 0 to 1"), "{message}");
    }
    for options in
        [json!(["red"]), json!("red"), json!([1, 2]), json!(["red", "red"]), json!(["", "x"])]
    {
        let message = read(options, json!(0)).unwrap_err().to_string();
        assert!(message.contains("`choices"), "{message}");
    }
}

#[test]
fn extra_keys_of_blocks_are_kept_or_ignored_and_told() {
    let row = r#"{"messages":[{"role":"user","name":"x","content":[{"type":"video","video":"a.mp4","fps":1.0,"min_frames":4,"max_pixels":null},{"type":"text","text":"What?","cache":true}]}]}"#;
    let text = format!("{row}\n{}", row.replace("What?", "And?"));
    let loaded = load(&text).unwrap();
    assert_eq!(loaded.rows[0].meta["video_options"], json!({"fps": 1.0, "min_frames": 4}));
    let told: Vec<(&str, bool, usize, usize)> =
        loaded.notes.iter().map(|n| (n.field.as_str(), n.kept, n.first_line, n.count)).collect();
    assert_eq!(
        told,
        [
            ("messages[].content[].cache", false, 1, 2),
            ("messages[].content[].fps", true, 1, 2),
            ("messages[].content[].min_frames", true, 1, 2),
            ("messages[].name", false, 1, 2),
        ]
    );
    assert_eq!(
        loaded.notes[3].to_string(),
        "/data/d.jsonl:1: `messages[].name` is ignored (2 times)"
    );
}

#[test]
fn ids_are_unique_and_files_have_rows() {
    let row = |id: &str| format!(r#"{{"id":{id},"prompt":"Q?","video":"a"}}"#);
    let text = format!("{}\n\n{}\n{}", row("\"7\""), row("8"), row("7"));
    assert_eq!(
        load(&text).unwrap_err().to_string(),
        "/data/d.jsonl:4: `id`: `7` is the id of line 1 already; ids are unique within a file"
    );
    for nothing in ["", "\n \r\n", "[]", "\u{feff}"] {
        assert!(matches!(load(nothing), Err(DataError::NoRows { .. })), "{nothing:?}");
    }
    let missing = read_examples("/no/such/file.jsonl", &Columns::default()).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read `/no/such/file.jsonl`");
}

#[test]
fn columns_are_mapped_and_videos_start_at_the_root() {
    let columns = Columns {
        video: "clip".into(),
        reference: "answer".into(),
        prompt: "question".into(),
        ..Columns::default()
    };
    let reader = Reader { columns, video_root: Some("/videos".into()), ..Reader::default() };
    let text = r#"{"clip":"a.mp4","question":"Q?","answer":"yes","prompt":"unread"}"#;
    let row = reader.examples_from(text.as_bytes(), Path::new(FILE)).unwrap().rows.remove(0);
    assert_eq!(row.video, VideoRef::File("/videos/a.mp4".into()));
    assert_eq!(row.reference.as_deref(), Some("yes"));
    assert_eq!(row.meta["prompt"], "unread");
    let clash = Columns { video: "x".into(), prompt: "x".into(), ..Columns::default() };
    let reader = Reader { columns: clash, ..Reader::default() };
    let error = reader.examples_from(text.as_bytes(), Path::new(FILE)).unwrap_err();
    assert!(matches!(error, DataError::Columns(_)));
}

/// The rows shown in the crate's documentation, each of them as it stands there (where one is
/// shown on several lines, these begin with a space).
#[test]
fn the_documented_rows_read() {
    let readme = include_str!("../../README.md").replace("\n ", " ");
    let fences: Vec<&str> = readme
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    let rows: Vec<Vec<Example>> = fences.iter().map(|text| load(text).unwrap().rows).collect();
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 2, 2]);
    for example in rows.concat() {
        assert_eq!(example.question(), "What moves?");
    }
    assert_eq!(rows[0][0].narrative.as_deref(), Some("A cat crosses a room."));
    let pair = preference(fences[1].lines().nth(2).unwrap()).unwrap();
    assert_eq!(pair.rejected, "A dog.");
}

#[test]
fn text_blocks_are_taken_at_their_word() {
    let row = r#"{"video":"a","messages":[{"role":"user","content":[{"type":"text","text":"what is <image>?"}]}]}"#;
    let content = one(row).messages.remove(0).content;
    let text = Block::Text { text: "what is <image>?".into() };
    assert_eq!(content, [Block::Video { video: None }, text]);
}

#[test]
fn numbered_examples_know_their_lines_and_keep_columns_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let row = |id: &str| {
        format!(r#"{{"id": "{id}", "video": "a.mp4", "prompt": "?", "candidates": ["x", "y"]}}"#)
    };
    std::fs::write(&path, format!("\n{}\n\n{}\n", row("p"), row("q"))).unwrap();
    let rows = Reader::default().numbered_examples(&path).unwrap().rows;
    let lines: Vec<(usize, &str)> = rows.iter().map(|(n, e)| (*n, e.id.as_str())).collect();
    assert_eq!(lines, [(2, "p"), (4, "q")]);
    assert_eq!(rows[0].1.meta["candidates"], serde_json::json!(["x", "y"]));
}
