//! Rows with something wrong in a field, and the beginning of what is said of it.

use super::refused;

const ROWS: &[(&str, &str)] = &[
    ("{}", "`messages`: missing; a row has a conversation in `messages`, `prompt` or"),
    (r#"{"prompt":"Q?"}"#, "`video`: missing; a row is about a video"),
    (
        r#"{"prompt":"Q?","messages":[{"role":"user","content":"Q?"}],"video":"a"}"#,
        "`prompt`: the row has a conversation in `messages` already",
    ),
    (
        r#"{"prompt":"Q?","video":3}"#,
        "`video`: expected a path, or a list of the paths of frames, got `3`",
    ),
    (r#"{"prompt":"Q?","video":""}"#, "`video`: expected a path, got an empty string"),
    (r#"{"prompt":"Q?","video":[]}"#, "`video`: expected the paths of frames, got an empty list"),
    (r#"{"prompt":"Q?","video":["a.MP4"]}"#, "`video[0]`: `a.MP4` is a video; a list is of frames"),
    (r#"{"prompt":"Q?","video":["a.png",1]}"#, "`video[1]`: expected the path of a frame, got `1`"),
    (
        r#"{"prompt":"Q?","video":"https://x.org/a.mp4"}"#,
        "`video`: `https://x.org/a.mp4` is no file here",
    ),
    (
        r#"{"prompt":"Q?","video":"data:video/mp4;base64,AAAA"}"#,
        "`video`: `data:video/mp4;base64,AAAA` is no file here",
    ),
    (r#"{"prompt":"Q?","videos":["a","b"]}"#, "`videos`: expected a list of one video"),
    (
        r#"{"prompt":"Q?","video":"a","videos":["b"]}"#,
        "`videos[0]`: `/data/b` is not the `/data/a` of `video`",
    ),
    (r#"{"prompt":"Q?","images":"a.png"}"#, "`images`: expected a list of the paths of frames"),
    (r#"{"prompt":"<image>","video":"a"}"#, "`prompt`: the user turns have no text"),
    (r#"{"prompt":"<image><video>Q?","video":"a"}"#, "`prompt`: 2 marks `<video>` or `<image>`"),
    (r#"{"prompt":[],"video":"a"}"#, "`prompt`: expected a list of messages, got an empty one"),
    (
        r#"{"prompt":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"video":"a"}"#,
        "`prompt`: the last turn is not the user's",
    ),
    (
        r#"{"prompt":"Q?","completion":[{"role":"user","content":"A"}],"video":"a"}"#,
        "`completion`: expected the text of one answer",
    ),
    (
        r#"{"id":"","prompt":"Q?","video":"a"}"#,
        "`id`: expected a name or a whole number, got `\"\"`",
    ),
    (
        r#"{"id":1.5,"prompt":"Q?","video":"a"}"#,
        "`id`: expected a name or a whole number, got `1.5`",
    ),
    (
        r#"{"reference":["x"],"prompt":"Q?","video":"a"}"#,
        "`reference`: expected a string, got `[\"x\"]`",
    ),
    (
        r#"{"reference":" ","prompt":"Q?","video":"a"}"#,
        "`reference`: empty; leave the reference out",
    ),
    (r#"{"meta":3,"prompt":"Q?","video":"a"}"#, "`meta`: expected an object, got `3`"),
    (
        r#"{"meta":{"x":1},"x":2,"prompt":"Q?","video":"a"}"#,
        "`x`: is both a column and an entry of `meta`",
    ),
    (r#"{"messages":{"role":"user"},"video":"a"}"#, "`messages`: expected a list of messages"),
    (
        r#"{"messages":[{"content":"Q"}],"video":"a"}"#,
        "`messages[0].role`: missing; a message says who speaks",
    ),
    (
        r#"{"messages":[{"role":"human","content":"Q"}],"video":"a"}"#,
        "`messages[0].role`: expected `system`, `user` or `assistant`, got `\"human\"`",
    ),
    (
        r#"{"conversations":[{"from":"bot","value":"Q"}],"video":"a"}"#,
        "`conversations[0].from`: expected `human`, `gpt` or `system`, got `\"bot\"`",
    ),
    (
        r#"{"conversations":[{"from":"human","value":[]}],"video":"a"}"#,
        "`conversations[0].value`: expected a string, got `[]`",
    ),
    (r#"{"messages":[{"role":"user"}],"video":"a"}"#, "`messages[0].content`: missing"),
    (
        r#"{"messages":[{"role":"user","content":null}],"video":"a"}"#,
        "`messages[0].content`: expected a string or a list of blocks, got `null`",
    ),
    (
        r#"{"messages":[{"role":"user","content":["Q"]}],"video":"a"}"#,
        "`messages[0].content[0]`: expected a block object with `type`",
    ),
    (
        r#"{"messages":[{"role":"user","content":[{"type":"audio"}]}],"video":"a"}"#,
        "`messages[0].content[0].type`: expected `text` or `video`, got `\"audio\"`",
    ),
    (
        r#"{"messages":[{"role":"user","content":[{"type":"text"}]}],"video":"a"}"#,
        "`messages[0].content[0].text`: expected a string, got `null`",
    ),
    (
        r#"{"messages":[{"role":"user","content":[{"type":"video","video":"b"}]}],"video":"a"}"#,
        "`video`: `/data/a` is not the `/data/b` of `messages[0].content[0].video`",
    ),
    (
        r#"{"messages":[{"role":"user","content":[{"type":"video"},{"type":"video"},{"type":"text","text":"Q"}]}],"video":"a"}"#,
        "`messages`: 2 video blocks; a row shows one video once",
    ),
    (
        r#"{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":[{"type":"video"}]}],"video":"a"}"#,
        "`messages[1].content`: a video block in a turn of `assistant`",
    ),
    (
        r#"{"messages":[{"role":"system","content":"Q"}],"video":"a"}"#,
        "`messages`: no user turn, so nothing is asked",
    ),
];

#[test]
fn bad_fields_are_named() {
    for (row, expected) in ROWS {
        let message = refused(row);
        assert!(message.starts_with(expected), "{message}\nexpected: {expected}");
    }
}

#[test]
fn long_values_are_cut_short() {
    let long = refused(&format!(r#"{{"video":"a.mp4","prompt":{{"x":"{}"}}}}"#, "é".repeat(500)));
    assert!(long.len() < 250 && long.ends_with("...`"), "{long}");
}
