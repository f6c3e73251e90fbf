//! What is written reads back, and nothing panics.

use proptest::prelude::*;

use super::*;
use crate::{Choices, write_jsonl};

/// Text with everything that JSON and line ends could trip over, and never only white space.
fn text() -> impl Strategy<Value = String> {
    "[a-z<>\\\\\"\u{e9}\r\n ]{0,8}[a-z]"
}

fn any_example() -> impl Strategy<Value = Example> {
    let video = prop_oneof![
        "[a-z]{1,5}".prop_map(|name| VideoRef::File(format!("/v/{name}.mp4").into())),
        "[a-z]{1,5}/[0-9]".prop_map(VideoRef::World),
        proptest::collection::vec("[a-z]{1,5}", 1..3).prop_map(|names| {
            VideoRef::Frames(names.iter().map(|n| format!("/v/{n}.png").into()).collect())
        }),
    ];
    let choices = (proptest::collection::btree_set(text(), 2..5), any::<prop::sample::Index>())
        .prop_map(|(options, answer)| Choices {
            answer: answer.index(options.len()),
            options: options.into_iter().collect(),
        });
    let optional = || proptest::option::of(text());
    (video, text(), optional(), optional(), proptest::option::of(choices), optional(), optional())
        .prop_map(|(video, question, answer, reference, choices, category, note)| Example {
            id: String::new(),
            video,
            messages: std::iter::once(Message::ask(question))
                .chain(answer.map(|answer| Message::text(Role::Assistant, answer)))
                .collect(),
            reference,
            choices,
            category,
            narrative: note.clone(),
            meta: note.map(|note| ("note".to_owned(), note.into())).into_iter().collect(),
        })
}

/// A row with the right keys and often the wrong values.
fn almost_a_row() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "id",
        "video",
        "videos",
        "images",
        "messages",
        "prompt",
        "completion",
        "conversations",
        "choices",
        "answer",
        "chosen",
        "rejected",
        "output_1",
        "preference",
        "meta",
        "role",
        "from",
        "content",
        "value",
        "type",
        "text",
        "options",
    ]);
    let word = prop::sample::select(vec![
        "user",
        "assistant",
        "human",
        "gpt",
        "video",
        "text",
        "<image>",
        "A",
        "a.mp4",
        "",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i8>().prop_map(Into::into),
        word.prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| { pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect() }),
        ]
    });
    value.prop_map(|value| value.to_string())
}

proptest! {
    #[test]
    fn what_is_written_reads_back(mut examples in proptest::collection::vec(any_example(), 1..5)) {
        for (i, example) in examples.iter_mut().enumerate() {
            example.id = format!("row {i}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        prop_assert_eq!(write_jsonl(&path, &examples).unwrap(), examples.len());
        let loaded = Reader::default().examples(&path).unwrap();
        prop_assert_eq!(loaded.notes, []);
        prop_assert_eq!(loaded.rows, examples);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), limit in 0_usize..50) {
        let reader = Reader { max_line_bytes: limit, ..Reader::default() };
        let _ = reader.examples_from(&bytes[..], Path::new(FILE));
        let _ = reader.preferences_from(&bytes[..], Path::new(FILE));
    }

    #[test]
    fn no_characters_of_json_panic(text in "[\\[\\]{}\":,a0\\\\\u{feff}\u{e9}\r\n ]{0,40}") {
        let _ = load(&text);
    }

    #[test]
    fn nothing_like_a_row_panics(rows in proptest::collection::vec(almost_a_row(), 1..3)) {
        for text in [rows.join("\n"), format!("[{}]", rows.join(","))] {
            let _ = load(&text);
            let _ = preference(&text);
        }
    }
}
