use super::*;
use crate::hf::testing::{fixture, golden};

/// Messages as Hugging Face writes them; an image is the place of our video.
fn messages(value: &Value) -> Vec<Message> {
    let text = value.to_string().replace(r#""type":"image""#, r#""type":"video""#);
    serde_json::from_str(&text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn conversations_render_and_encode_as_transformers_does() {
    for name in ["llava-a", "llava-b"] {
        let chat = ChatTokenizer::open(fixture(name)).unwrap();
        let golden = golden(name);
        let cases = golden["chat"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let (messages, add) =
                (messages(&case["messages"]), case["add_generation_prompt"] == true);
            assert_eq!(chat.render(&messages, add).unwrap(), case["rendered"]);
            assert_eq!(chat.encode_conversation(&messages, add).unwrap(), ids(&case["ids"]));
        }
        for case in golden["decode"].as_array().unwrap() {
            assert_eq!(chat.decode(&ids(&case["ids"])), case["text"]);
        }
    }
}

#[test]
fn the_placeholder_is_repeated_once_per_visual_token() {
    for name in ["llava-a", "llava-b"] {
        let chat = ChatTokenizer::open(fixture(name)).unwrap();
        let case = &golden(name)["chat"][0];
        let prompt =
            chat.encode_prompt(&messages(&case["messages"]), &VideoText::Repeated(5)).unwrap();
        let once = ids(&case["ids"]);
        let at = prompt.visual[0].start;
        assert_eq!((prompt.visual.len(), prompt.visual[0].clone()), (1, at..at + 5));
        assert!(prompt.ids[at..at + 5].iter().all(|id| *id == chat.image_token_id()));
        assert_eq!(prompt.ids[..at], once[..at]);
        assert_eq!(prompt.ids[at + 5..], once[at + 1..]);
        assert!(!once[at + 1..].contains(&chat.image_token_id()));
    }
}

#[test]
fn a_prompt_shows_exactly_one_video() {
    let chat = ChatTokenizer::open(fixture("llava-a")).unwrap();
    let none = chat
        .encode_prompt(&[Message::text(Role::User, "hi")], &VideoText::Repeated(3))
        .unwrap_err();
    assert!(matches!(none, TokenizerError::VideoCount { found: 0 }), "{none}");
    let two = chat
        .encode_prompt(&[Message::ask("a"), Message::ask("b")], &VideoText::Repeated(3))
        .unwrap_err();
    assert!(matches!(two, TokenizerError::VideoCount { found: 2 }), "{two}");
}

#[test]
fn special_tokens_spelled_out_in_text_stay_text() {
    for name in ["llava-a", "llava-b"] {
        let chat = ChatTokenizer::open(fixture(name)).unwrap();
        let question = "what does <image> or </s> and <pad>?";
        let prompt =
            chat.encode_prompt(&[Message::ask(question)], &VideoText::Repeated(4)).unwrap();
        let specials: Vec<u32> = prompt
            .ids
            .iter()
            .copied()
            .filter(|id| chat.special_ids.contains(id) && Some(*id) != chat.unk_id)
            .collect();
        let image = chat.image_token_id();
        assert_eq!(specials, [1, image, image, image, image], "{name}");
        assert_eq!(prompt.ids[prompt.visual[0].clone()], [image; 4]);
        assert!(chat.render(&[Message::ask(question)], true).unwrap().contains(question));
    }
    // Byte-level BPE loses nothing: the text comes back whole.
    let chat = ChatTokenizer::open(fixture("llava-a")).unwrap();
    let text = "say </s> and <image>";
    assert_eq!(chat.decode(&chat.encode_continuation(text).unwrap()).trim_start(), text);
    // A token spelled across two blocks is no token either.
    let halves = ["<ima", "ge> ?"].map(|text| Block::Text { text: text.to_owned() });
    let content = [Block::Video { video: None }].into_iter().chain(halves).collect();
    let message = Message { role: Role::User, content };
    chat.encode_prompt(&[message], &VideoText::Repeated(4)).unwrap();
}

#[test]
fn an_answer_is_encoded_as_it_continues_the_prompt() {
    for (name, answer) in [("llava-a", "The red circle."), ("llava-b", "the red circle .")] {
        let chat = ChatTokenizer::open(fixture(name)).unwrap();
        // Question and answer in one, as transformers encodes them.
        let whole = ids(&golden(name)["chat"][2]["ids"]);
        let question = messages(&golden(name)["chat"][2]["messages"])[..1].to_vec();
        let prompt = chat.encode_conversation(&question, true).unwrap();
        let encoded = chat.encode_answer(answer).unwrap();
        let (eos, text) = encoded.split_last().unwrap();
        assert_eq!(*eos, 2);
        assert_eq!(whole[prompt.len()..prompt.len() + text.len()], *text, "{name}");
        assert_eq!(chat.decode(&encoded).trim_start(), answer);
    }
}

#[test]
fn only_ordinary_tokens_and_the_end_can_be_sampled() {
    let a = ChatTokenizer::open(fixture("llava-a")).unwrap();
    assert_eq!((a.eos_ids(), a.pad_id()), ([2].as_slice(), Some(3)));
    assert_eq!(a.forbidden_ids(), [0, 1, 3, 4]);
    assert_eq!(a.vocab_size(), 310);
    let b = ChatTokenizer::open(fixture("llava-b")).unwrap();
    assert_eq!((b.eos_ids(), b.pad_id()), ([2].as_slice(), Some(0)));
    assert_eq!(b.forbidden_ids(), [0, 1, 3, 4]);
}

#[test]
fn a_saved_tokenizer_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["llava-a", "llava-b"] {
        let chat = ChatTokenizer::open(fixture(name)).unwrap();
        chat.save(dir.path()).unwrap();
        let read = |dir: &Path| std::fs::read_to_string(dir.join("tokenizer.json")).unwrap();
        assert_eq!(read(dir.path()), read(&fixture(name)));
        let again = ChatTokenizer::open(dir.path()).unwrap();
        let question = [Message::ask("what moves ?")];
        assert_eq!(
            again.encode_prompt(&question, &VideoText::Repeated(2)).unwrap(),
            chat.encode_prompt(&question, &VideoText::Repeated(2)).unwrap()
        );
    }
}

#[test]
fn a_checkpoint_without_template_needs_one_chosen() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture("llava-a").join(name), dir.path().join(name)).unwrap();
    }
    let error = ChatTokenizer::open(dir.path()).unwrap_err();
    assert!(matches!(error, TokenizerError::NoTemplate { .. }), "{error}");
    let vicuna = crate::hf::tokenizer::template::Template::VicunaV1;
    let chat = ChatTokenizer::open_with_template(dir.path(), &vicuna).unwrap();
    let prompt =
        chat.encode_prompt(&[Message::ask("What moves?")], &VideoText::Repeated(3)).unwrap();
    assert_eq!(prompt.ids[0], 1, "the post-processor adds <s>");
    assert!(chat.decode(&prompt.ids).ends_with("USER: \nWhat moves? ASSISTANT:"));
    assert_eq!(chat.answer.between, " ");
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = |dir: &Path| ChatTokenizer::open(dir).unwrap_err().to_string();
    std::fs::copy(
        fixture("llava-a").join("chat_template.jinja"),
        dir.path().join("chat_template.jinja"),
    )
    .unwrap();
    assert!(message(dir.path()).contains("tokenizer.json"));
    std::fs::write(dir.path().join("tokenizer.model"), "").unwrap();
    assert!(message(dir.path()).contains("tokenizer.model: no SentencePiece model"));
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(message(dir.path()).contains("tokenizer.json: "), "{}", message(dir.path()));
}

/// The checkpoint's template knows no videos: its processor brings one that does, which gives way
/// to the caller's.
#[test]
fn smolvlm_brings_a_template_for_videos_that_the_callers_replaces() {
    let video = [Message::ask("What moves?")];
    let own = ChatTokenizer::open(fixture("smolvlm-a")).unwrap();
    assert!(!own.template.source().contains("video"), "{}", own.template.source());
    let golden = &golden("smolvlm-a")["prompts"];
    assert_eq!(own.render(&video, true).unwrap(), golden[0]["rendered"].as_str().unwrap());
    let text = messages(&golden[2]["messages"]);
    assert_eq!(own.render(&text, false).unwrap(), golden[2]["rendered"].as_str().unwrap());

    let source = "{% for m in messages %}{% for b in m.content %}{% if b.type == 'video' %}<video>\
                  {% else %}[{{ b.text }}]{% endif %}{% endfor %}{% endfor %}";
    let template = Template::Jinja(source.to_owned());
    let chosen = ChatTokenizer::open_with_template(fixture("smolvlm-a"), &template).unwrap();
    assert_eq!(chosen.render(&video, true).unwrap(), "<video>[What moves?]");
}
