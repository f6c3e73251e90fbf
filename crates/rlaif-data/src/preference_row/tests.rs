//! Rows by hand, and what has none.

use super::*;

fn preference() -> Preference {
    Preference {
        id: "row 0".to_owned(),
        video: VideoRef::Frames(vec!["/v/1.png".into(), "/v/2.png".into()]),
        messages: vec![
            Message::text(Role::System, "Be brief."),
            Message::ask("What moves?"),
            Message::text(Role::Assistant, "A <video> of a cat."),
            Message::text(Role::User, "Which?"),
        ],
        chosen: "The red\none.".to_owned(),
        rejected: String::new(),
        category: Some("counting".to_owned()),
        narrative: Some(String::new()),
        meta: Map::from_iter([("video".to_owned(), json!(1.5)), ("null".to_owned(), Value::Null)]),
    }
}

#[test]
fn a_row_in_the_layout_of_trl() {
    let text =
        |role: &str, text: &str| json!({"role": role, "content": [{"type": "text", "text": text}]});
    let expected = json!({
        "id": "row 0",
        "prompt": [
            text("system", "Be brief."),
            {"role": "user", "content": [
                {"type": "video", "video": ["/v/1.png", "/v/2.png"]},
                {"type": "text", "text": "What moves?"},
            ]},
            text("assistant", "A <video> of a cat."),
            text("user", "Which?"),
        ],
        "chosen": [text("assistant", "The red\none.")],
        "rejected": [text("assistant", "")],
        "category": "counting",
        "narrative": "",
        "meta": {"video": 1.5, "null": null},
    });
    assert_eq!(preference().to_row(PreferenceLayout::Trl), Ok(expected));
}

#[test]
fn a_row_in_the_layout_of_vlm_rlaif() {
    let turn = |from: &str, value: &str| json!({"from": from, "value": value});
    let mut expected = json!({
        "id": "row 0",
        "conversations": [
            turn("system", "Be brief."),
            turn("human", "<image>\nWhat moves?"),
            turn("gpt", "A <video> of a cat."),
            turn("human", "Which?"),
        ],
        "output_1": turn("gpt", ""),
        "output_2": turn("gpt", "The red\none."),
        "preference": 2,
        "images": ["/v/1.png", "/v/2.png"],
        "category": "counting",
        "narrative": "",
        "meta": {"video": 1.5, "null": null},
    });
    assert_eq!(preference().to_row(PreferenceLayout::VlmRlaif).as_ref(), Ok(&expected));

    // Another id, another side; files and clips of ClipWorld stand in `video`.
    for (video, text) in [
        (VideoRef::File("/v/a.mp4".into()), "/v/a.mp4"),
        (VideoRef::World("test/3".to_owned()), "world:test/3"),
    ] {
        let row = Preference { id: "row 1".to_owned(), video, ..preference() };
        let fields = expected.as_object_mut().unwrap();
        fields.remove("images");
        fields.insert("video".to_owned(), json!(text));
        fields.insert("id".to_owned(), json!("row 1"));
        fields.insert("output_1".to_owned(), turn("gpt", "The red\none."));
        fields.insert("output_2".to_owned(), turn("gpt", ""));
        fields.insert("preference".to_owned(), json!(1));
        assert_eq!(row.to_row(PreferenceLayout::VlmRlaif).as_ref(), Ok(&expected));
    }
}

/// 2000 rows of each naming: a half is 1000, its standard deviation 22.
#[test]
fn the_side_of_the_chosen_answer_tells_nothing() {
    for naming in [|i: usize| i.to_string(), |i: usize| format!("v_{:04}-0>{}", i / 3, i % 3)] {
        let first: Vec<bool> = (0..2000).map(|i| chosen_is_first(&naming(i))).collect();
        let count = first.iter().filter(|first| **first).count();
        assert!((900..1100).contains(&count), "{count}");
        // Nor does the row before.
        let repeats = first.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((900..1100).contains(&repeats), "{repeats}");
    }
}

#[test]
fn a_video_that_is_named_or_left_out_means_the_rows_own() {
    let plain = preference();
    let mut named = preference();
    named.messages[1].content[0] = Block::Video { video: Some(plain.video.clone()) };
    let mut left_out = preference();
    left_out.messages[1].content.remove(0);
    for layout in [PreferenceLayout::Trl, PreferenceLayout::VlmRlaif] {
        assert_eq!(named.to_row(layout), plain.to_row(layout));
        assert_eq!(left_out.to_row(layout), plain.to_row(layout));
    }
}

/// Checks the field and a part of the problem that both layouts, or VLM-RLAIF's alone, name.
fn check(change: impl Fn(&mut Preference), layouts: &[PreferenceLayout], field: &str, part: &str) {
    let mut changed = preference();
    change(&mut changed);
    for layout in [PreferenceLayout::Trl, PreferenceLayout::VlmRlaif] {
        let row = changed.to_row(layout);
        if !layouts.contains(&layout) {
            assert!(row.is_ok(), "{layout}: {row:?}");
            continue;
        }
        let error = row.unwrap_err();
        assert_eq!((error.layout, &error.id), (layout, &changed.id));
        assert_eq!(error.field, field, "{error}");
        assert!(error.problem.contains(part), "{error}");
        assert!(error.to_string().contains(&layout.to_string()), "{error}");
    }
}

#[test]
fn what_vlm_rlaif_cannot_carry_is_refused_and_trl_carries_it() {
    let check = |change: &dyn Fn(&mut Preference), field, part| {
        check(change, &[PreferenceLayout::VlmRlaif], field, part);
    };
    let says = |i: usize, text: &'static str| {
        move |p: &mut Preference| {
            let content = &mut p.messages[i].content;
            content.pop();
            content.push(Block::Text { text: text.to_owned() });
        }
    };
    check(&says(0, "See <image>."), "messages[0]", "says `<image>`");
    check(&says(1, "What is in <image>?"), "messages[1]", "says `<image>`");
    check(&says(2, "In <image>."), "messages[2]", "says `<image>`");
    check(&|p| p.chosen = "In <image>.".to_owned(), "chosen", "says `<image>`");
    check(&|p| p.rejected = "<image>".to_owned(), "rejected", "write the TRL layout");
    // Our own reader takes `<video>` for the video as well, in questions.
    check(&says(1, "What is in <video>?"), "conversations[1].value", "2 marks");
    check(&says(3, "Is <video> long?"), "conversations", "2 video blocks");
    // White space around the question, several texts, none.
    check(&says(1, " What moves?\n"), "messages[1]", "no white space around");
    check(&says(1, ""), "messages[1]", "would be read back changed");
    let text = |text: &str| Block::Text { text: text.to_owned() };
    check(&|p| p.messages[3].content.push(text("Why?")), "messages[3]", "one plain text");
    check(&|p| p.messages[0].content.clear(), "messages[0]", "one plain text");
    // The video behind the question, and in a later one.
    check(&|p| p.messages[1].content.reverse(), "messages[1]", "in front of the first question");
    let later = |p: &mut Preference| {
        let video = p.messages[1].content.remove(0);
        p.messages[3].content.insert(0, video);
    };
    check(&later, "messages[3]", "look for it in the first question");
}

#[test]
fn what_no_row_can_say_is_refused() {
    let check = |change: &dyn Fn(&mut Preference), field, part| {
        check(change, &[PreferenceLayout::Trl, PreferenceLayout::VlmRlaif], field, part);
    };
    check(&|p| p.id.clear(), "id", "expected a name");
    let file = |text: &'static str| move |p: &mut Preference| p.video = VideoRef::File(text.into());
    check(&file("world:a.mp4"), "video", "would be read as `world:a.mp4`");
    let other = |p: &mut Preference| {
        p.messages[1].content[0] = Block::Video { video: Some(VideoRef::File("/b.mp4".into())) };
    };
    check(&other, "messages[1]", "shows `/b.mp4`");
    let twice = |p: &mut Preference| p.messages[3].content.push(Block::Video { video: None });
    check(&twice, "messages", "2 video blocks");
    check(&|p| p.messages.clear(), "messages", "no user turn");
    let silent = |p: &mut Preference| p.messages = vec![Message::ask(" ")];
    check(&silent, "messages", "nothing is asked");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let bytes = std::ffi::OsStr::from_bytes(b"/v/\xff.png");
        check(&|p| p.video = VideoRef::Frames(vec![bytes.into()]), "video", "is not UTF-8");
    }
}

#[test]
fn the_reader_has_the_last_word() {
    let problem = |change: &dyn Fn(&mut Preference)| {
        let mut changed = preference();
        change(&mut changed);
        changed.to_row(PreferenceLayout::Trl).unwrap_err().to_string()
    };
    assert_eq!(
        problem(&|p| drop(p.messages.pop())),
        "preference `row 0` has no row in the TRL layout: `prompt`: the last turn is not the user's"
    );
    let remote = |p: &mut Preference| p.video = VideoRef::File("https://a.b/c.mp4".into());
    assert!(problem(&remote).contains("`prompt[1].content[0].video`"), "{}", problem(&remote));
    let frames = |p: &mut Preference| p.video = VideoRef::Frames(vec![]);
    assert!(problem(&frames).contains("got an empty list"), "{}", problem(&frames));
}
