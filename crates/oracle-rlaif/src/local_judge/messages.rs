//! From a judge's chat to the messages of a prompt.

use rlaif_data::{Message, Role};
use rlaif_model::hf::ChatTokenizer;
use rlaif_oracle::{ChatMessage, ChatRole};

/// Bytes that the texts of one request may have: a text that no prompt can hold is not tokenised.
pub(super) const TEXT_LIMIT_BYTES: usize = 1 << 20;

/// Whether the chat template has a place for a system turn: found out by trial.
pub(super) fn knows_system_turns(tokenizer: &ChatTokenizer) -> bool {
    const PROBE: &str = "rlaifsystemturn";
    let messages = [Message::text(Role::System, PROBE), Message::ask("question")];
    tokenizer.render(&messages, true).is_ok_and(|text| text.matches(PROBE).count() == 1)
}

/// The conversation as prompts hold it: the clip stands before the first user turn's text.
///
/// System turns come first and become one, a blank line between them; where the template has no
/// place for it (`system_turns` is false) it stands before the text of the first user turn, a blank
/// line between.
///
/// # Errors
///
/// A conversation that does not end with a user's turn, a system turn after the first other one,
/// and one that is too long, each in words.
pub(super) fn conversation(
    turns: &[ChatMessage],
    system_turns: bool,
) -> Result<Vec<Message>, String> {
    let bytes: usize = turns.iter().map(|turn| turn.text.len()).sum();
    if bytes > TEXT_LIMIT_BYTES {
        return Err(format!(
            "its texts have {bytes} bytes, above {TEXT_LIMIT_BYTES}; shorten the candidates"
        ));
    }
    if turns.last().is_none_or(|turn| turn.role != ChatRole::User) {
        return Err("the conversation does not end with a user's turn".to_owned());
    }
    let rules = turns.iter().take_while(|turn| turn.role == ChatRole::System).count();
    let (rules, rest) = turns.split_at(rules);
    if rest.iter().any(|turn| turn.role == ChatRole::System) {
        return Err("a system turn comes after another turn; it comes first".to_owned());
    }
    let rules: Vec<&str> = rules.iter().map(|turn| turn.text.as_str()).collect();
    let rules = rules.join("\n\n");

    let mut messages = Vec::with_capacity(rest.len() + 1);
    let mut before = String::new();
    if system_turns && !rules.is_empty() {
        messages.push(Message::text(Role::System, rules));
    } else if !rules.is_empty() {
        before = format!("{rules}\n\n");
    }
    let mut shown = false;
    for turn in rest {
        messages.push(match turn.role {
            ChatRole::User if !shown => {
                shown = true;
                Message::ask(format!("{before}{}", turn.text))
            }
            ChatRole::User => Message::text(Role::User, &turn.text),
            ChatRole::Assistant | ChatRole::System => Message::text(Role::Assistant, &turn.text),
        });
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_data::Block;
    use rlaif_model::hf::Template;

    fn turns(turns: &[(ChatRole, &str)]) -> Vec<ChatMessage> {
        turns.iter().map(|(role, text)| ChatMessage::new(*role, *text)).collect()
    }

    fn said(messages: &[Message]) -> Vec<(Role, String, bool)> {
        let shows = |m: &Message| m.content.iter().any(|b| matches!(b, Block::Video { .. }));
        messages.iter().map(|m| (m.role, m.plain_text(), shows(m))).collect()
    }

    #[test]
    fn the_clip_stands_in_the_first_user_turn_and_rules_stand_where_the_template_has_them() {
        let chat = turns(&[
            (ChatRole::System, "be fair"),
            (ChatRole::System, "be short"),
            (ChatRole::User, "which?"),
            (ChatRole::Assistant, "hm"),
            (ChatRole::User, "well?"),
        ]);
        let with = conversation(&chat, true).unwrap();
        let after =
            [(Role::Assistant, "hm".to_owned(), false), (Role::User, "well?".to_owned(), false)];
        assert_eq!(said(&with)[0], (Role::System, "be fair\n\nbe short".to_owned(), false));
        assert_eq!(said(&with)[1], (Role::User, "which?".to_owned(), true));
        assert_eq!(said(&with)[2..], after);
        let without = conversation(&chat, false).unwrap();
        let first = "be fair\n\nbe short\n\nwhich?".to_owned();
        assert_eq!(said(&without)[0], (Role::User, first, true));
        assert_eq!(said(&without)[1..], after);
    }

    #[test]
    fn conversations_that_no_template_could_take_are_refused_in_words() {
        let user = (ChatRole::User, "which?");
        let long = "x".repeat(TEXT_LIMIT_BYTES);
        for (chat, message) in [
            (turns(&[]), "does not end with a user's turn"),
            (turns(&[user, (ChatRole::Assistant, "a")]), "does not end with a user's turn"),
            (turns(&[user, (ChatRole::System, "s"), user]), "it comes first"),
            (turns(&[(ChatRole::User, long.as_str()), user]), "1048582 bytes, above 1048576"),
        ] {
            let error = conversation(&chat, true).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    /// A template may write a system turn, drop it, or refuse it.
    #[test]
    fn whether_a_template_has_system_turns_is_found_out_by_trial() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../rlaif-model/tests/fixtures/llava-a");
        let by = |of_system: &str| {
            let user = "{% if message['role'] == 'user' %}<image>{% endif %}";
            let text = "{% for block in message['content'] | selectattr('type', 'equalto', 'text') \
                        %}{{ block['text'] }}{% endfor %}";
            let source = format!(
                "{{% for message in messages %}}{{% if message['role'] == 'system' %}}{of_system}\
                 {{% else %}}{user}{text}{{% endif %}}{{% endfor %}}"
            );
            let template = Template::Jinja(source.replace("TEXT", text));
            let tokenizer = ChatTokenizer::open_with_template(fixture, &template).unwrap();
            knows_system_turns(&tokenizer)
        };
        assert!(by("rules: TEXT"));
        assert!(!by(""));
        assert!(!by("{{ raise_exception('only user and assistant roles are supported') }}"));
        assert!(knows_system_turns(&ChatTokenizer::open(fixture).unwrap()));
        assert!(knows_system_turns(&ChatTokenizer::word_level(["which?"]).unwrap()));
    }
}
