//! What is written reads back, and what cannot be written leaves the old file.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Block, Columns, Message, Role, read_preferences, write_atomic};

const BOTH: [PreferenceLayout; 2] = [PreferenceLayout::Trl, PreferenceLayout::VlmRlaif];

/// Text with everything that JSON, line ends and placeholders could trip over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z<>\\\\\"'\u{e9}\u{1f3ac}\u{2028}\r\n\t ]{0,8}[a-z?]",
        2 => Just("Ein \"Zitat\"\nund \\n { [ ,".to_owned()),
        1 => prop::sample::select(vec!["", " ", "a <image> b", "<video>", "<image>\n<image>"])
            .prop_map(str::to_owned),
    ]
}

fn video() -> impl Strategy<Value = VideoRef> {
    prop_oneof![
        "[a-z \u{e9}]{1,5}".prop_map(|name| VideoRef::File(format!("/v/{name}.mp4").into())),
        "[a-z]{1,5}/[0-9]".prop_map(VideoRef::World),
        proptest::collection::vec("[a-z]{1,5}", 1..3).prop_map(|names| {
            VideoRef::Frames(names.iter().map(|n| format!("/v/{n}.png").into()).collect())
        }),
    ]
}

fn meta() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let key = prop_oneof![text(), Just("video".to_owned()), Just("preference".to_owned())];
    let number = any::<f64>().prop_filter("JSON has none", |number| number.is_finite());
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        number.prop_map(Value::from),
        text().prop_map(|text| json!({"a": [text]})),
    ];
    proptest::collection::btree_map(key, value, 0..3).prop_map(|map| map.into_iter().collect())
}

/// A system turn or none, turns of both sides, and a question; the video in front of the first
/// question. Something is asked.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let optional = proptest::option::of(text());
    let turns = proptest::collection::vec((text(), text()), 0..3);
    (optional, turns, text()).prop_map(|(system, turns, last)| {
        let mut messages = Vec::new();
        messages.extend(system.map(|text| Message::text(Role::System, text)));
        for (question, answer) in turns {
            messages.push(Message::text(Role::User, question));
            messages.push(Message::text(Role::Assistant, answer));
        }
        let last = if last.trim().is_empty() { "What moves?".to_owned() } else { last };
        messages.push(Message::text(Role::User, last));
        let first = messages.iter_mut().find(|message| message.role == Role::User).unwrap();
        first.content.insert(0, Block::Video { video: None });
        messages
    })
}

fn any_preference() -> impl Strategy<Value = Preference> {
    let optional = || proptest::option::of(text());
    (text(), video(), messages(), text(), text(), optional(), optional(), meta()).prop_map(
        |(id, video, messages, chosen, rejected, category, narrative, meta)| Preference {
            id,
            video,
            messages,
            chosen,
            rejected,
            category,
            narrative,
            meta,
        },
    )
}

fn preferences() -> impl Strategy<Value = Vec<Preference>> {
    proptest::collection::vec(any_preference(), 1..6).prop_map(|mut rows| {
        for (i, row) in rows.iter_mut().enumerate() {
            row.id = format!("{}{i}", row.id);
        }
        rows
    })
}

/// Whether VLM-RLAIF's layout has a row for the preference, by its documented limits.
fn fits_vlm_rlaif(preference: &Preference) -> bool {
    let answers = [&preference.chosen, &preference.rejected];
    let marked = answers.into_iter().any(|answer| answer.contains("<image>"));
    let questions = preference.messages.iter().filter(|message| message.role == Role::User);
    let first = questions.clone().next().unwrap().plain_text();
    !marked
        && preference.messages.iter().all(|message| !message.plain_text().contains("<image>"))
        && questions.into_iter().all(|question| !question.plain_text().contains("<video>"))
        && !first.is_empty()
        && first.trim() == first
}

fn row(id: &str) -> Preference {
    Preference {
        id: id.to_owned(),
        video: VideoRef::File("/v/a.mp4".into()),
        messages: vec![Message::ask("What moves?")],
        chosen: "A cat.".to_owned(),
        rejected: "A dog.".to_owned(),
        category: None,
        narrative: None,
        meta: serde_json::Map::new(),
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(all in preferences()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        write_preferences(&path, &all, PreferenceLayout::Trl).unwrap();
        prop_assert_eq!(&read_preferences(&path, &Columns::default()).unwrap(), &all);

        for preference in &all {
            let row = preference.to_row(PreferenceLayout::VlmRlaif);
            prop_assert_eq!(row.is_ok(), fits_vlm_rlaif(preference), "{:?}", row);
        }
        let fitting: Vec<Preference> = all.into_iter().filter(fits_vlm_rlaif).collect();
        if fitting.is_empty() {
            return Ok(());
        }
        write_preferences(&path, &fitting, PreferenceLayout::VlmRlaif).unwrap();
        let lines = std::fs::read_to_string(&path).unwrap().matches('\n').count();
        prop_assert_eq!(lines, fitting.len());
        prop_assert_eq!(&read_preferences(&path, &Columns::default()).unwrap(), &fitting);

        let path = folder.path().join("pairs.json");
        write_preference_array(&path, &fitting).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        prop_assert_eq!(text.matches('\n').count(), fitting.len() + 2);
        let items: Vec<Value> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(items.len(), fitting.len());
        prop_assert_eq!(&read_preferences(&path, &Columns::default()).unwrap(), &fitting);
    }
}

/// The last rows shown in the crate's documentation, where one is shown on several lines.
#[test]
fn the_documented_rows_are_what_is_written() {
    let readme = include_str!("../../README.md").replace("\n ", " ");
    let fence = readme.split("```json\n").last().unwrap().split("```").next().unwrap();
    let rows: Vec<Value> = fence.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written = [("a-1", PreferenceLayout::Trl), ("a-2", PreferenceLayout::VlmRlaif)].map(
        |(id, layout)| {
            let video = VideoRef::File("/clips/a.mp4".into());
            Preference { video, ..row(id) }.to_row(layout).unwrap()
        },
    );
    assert_eq!(rows, written);
}

#[test]
fn the_reader_has_nothing_to_note() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.jsonl");
    for layout in BOTH {
        write_preferences(&path, &[row("a"), row("b")], layout).unwrap();
        let loaded = crate::Reader::default().preferences(&path).unwrap();
        assert_eq!((loaded.notes, loaded.rows), (vec![], vec![row("a"), row("b")]));
    }
}

#[test]
fn files_name_videos_by_absolute_paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.jsonl");
    let here = std::env::current_dir().unwrap();
    for (video, expected) in [
        (VideoRef::File("clips/a.mp4".into()), VideoRef::File(here.join("clips/a.mp4"))),
        (VideoRef::Frames(vec!["a.png".into()]), VideoRef::Frames(vec![here.join("a.png")])),
        (VideoRef::World("test/3".into()), VideoRef::World("test/3".into())),
    ] {
        let mut relative = Preference { video: video.clone(), ..row("a") };
        relative.messages[0].content[0] = Block::Video { video: Some(video) };
        for layout in BOTH {
            write_preferences(&path, std::slice::from_ref(&relative), layout).unwrap();
            let read = read_preferences(&path, &Columns::default()).unwrap();
            assert_eq!(read, [Preference { video: expected.clone(), ..row("a") }]);
        }
    }
}

#[test]
fn a_row_that_does_not_fit_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.json");
    write_atomic(&path, b"old").unwrap();
    let marked = Preference { chosen: "<image>".to_owned(), ..row("b") };
    let error = write_preference_array(&path, &[row("a"), marked]).unwrap_err();
    assert!(error.to_string().ends_with("pairs.json`: row 2 does not fit"), "{error}");
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("preference `b`") && why.contains("`chosen`"), "{why}");

    for layout in BOTH {
        let twice = [row("a"), row("b"), row("a")];
        let error = write_preferences(&path, &twice, layout).unwrap_err();
        let WriteError::Preference { row: 3, source, .. } = error else { panic!("{error}") };
        assert_eq!((source.layout, source.field.as_str()), (layout, "id"));
        assert!(source.problem.contains("the id of row 1 already"), "{source}");
    }
    let nowhere = Preference { video: VideoRef::File("".into()), ..row("a") };
    let error = write_preferences(&path, &[nowhere], PreferenceLayout::Trl).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("absolute path"), "{why}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn no_preferences_are_an_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs");
    write_preferences(&path, &[], PreferenceLayout::Trl).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    write_preference_array(&path, &[]).unwrap();
    let items: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(items, [Value::Null; 0]);
}
