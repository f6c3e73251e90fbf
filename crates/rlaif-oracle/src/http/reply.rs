//! What a server answers with: a chat completion, or something else with a status of success.

use serde_json::Value;

use super::fault::{Asked, Fault, Origin};

/// The parts of a chat completion that matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) cut_off: bool,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
}

/// Reads a body that came with success. Thoughts (`reasoning_content`) are left out.
pub(super) fn read(asked: &Asked<'_>, body: &[u8]) -> Result<Answer, Fault> {
    let strange = |why: &str| {
        let words = asked.tame(&String::from_utf8_lossy(body));
        Fault::passing(Origin::Answer, format!("the reply {why}: {words}"))
    };
    let json: Value = serde_json::from_slice(body).map_err(|_| strange("is no JSON"))?;
    let Some(choice) = json.pointer("/choices/0").filter(|choice| choice.is_object()) else {
        // Some gateways report what went wrong behind them with a status of success.
        let status = json.pointer("/error/code").and_then(Value::as_u64);
        return Err(match status.and_then(|status| u16::try_from(status).ok()) {
            Some(status @ 400..=599) => asked.judge(status, body, None),
            _ => strange("has no choices"),
        });
    };
    let Some(message) = choice.get("message").filter(|message| message.is_object()) else {
        return Err(strange("has no message"));
    };
    let text = text_of(message.get("content")).ok_or_else(|| strange("has no text"))?;
    let finish = choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default();
    // Silence was paid for, too: it is a reply, which whoever asked keeps and reads as none.
    let refusal = message.get("refusal").and_then(Value::as_str);
    let text = match refusal {
        Some(refusal) if text.trim().is_empty() => refusal.to_owned(),
        _ => text,
    };
    let tokens = |name: &str| json.get("usage")?.get(name)?.as_u64();
    Ok(Answer {
        text: match asked.key {
            Some(key) => key.hide_in_reply(text),
            None => text,
        },
        cut_off: finish == "length",
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
    })
}

/// A string as it is, the text parts of a list in a row, nothing for null; none for all else.
fn text_of(content: Option<&Value>) -> Option<String> {
    match content {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(parts)) => {
            Some(parts.iter().filter_map(|part| part.get("text")?.as_str()).collect())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ASKED: Asked<'static> = Asked { key: None, model: "m", has_schema: false };

    fn read_json(json: &Value) -> Result<Answer, Fault> {
        read(&ASKED, json.to_string().as_bytes())
    }

    fn message(message: &Value, finish: &str) -> Value {
        json!({"choices": [{"message": message, "finish_reason": finish}]})
    }

    #[test]
    fn strings_and_text_parts_are_read_and_thoughts_are_not() {
        let mut reply = message(&json!({"content": " [1] ", "reasoning_content": "hm"}), "stop");
        reply["usage"] = json!({"prompt_tokens": 7, "completion_tokens": 2});
        let answer = read_json(&reply).unwrap();
        assert_eq!(answer.text, " [1] ");
        assert_eq!((answer.prompt_tokens, answer.completion_tokens), (Some(7), Some(2)));

        let parts = json!({"content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "[2] > "},
            {"type": "text", "text": "[1]"},
        ]});
        let answer = read_json(&message(&parts, "stop")).unwrap();
        assert_eq!((answer.text.as_str(), answer.prompt_tokens), ("[2] > [1]", None));
    }

    #[test]
    fn absurd_counts_of_tokens_are_no_counts() {
        let mut reply = message(&json!({"content": "a"}), "stop");
        reply["usage"] = json!({"prompt_tokens": -7, "completion_tokens": "many"});
        let answer = read_json(&reply).unwrap();
        assert_eq!((answer.prompt_tokens, answer.completion_tokens), (None, None));
    }

    #[test]
    fn silence_was_paid_for_and_is_a_reply() {
        let cut = message(&json!({"content": null}), "length");
        let cut = read_json(&cut).unwrap();
        assert_eq!((cut.text.as_str(), cut.cut_off), ("", true));
        let declined = message(&json!({"content": "", "refusal": "No."}), "stop");
        assert_eq!(read_json(&declined).unwrap().text, "No.");
        assert_eq!(read_json(&message(&json!({}), "content_filter")).unwrap().text, "");
        let half = message(&json!({"content": "[1] >"}), "length");
        let half = read_json(&half).unwrap();
        assert_eq!((half.text.as_str(), half.cut_off), ("[1] >", true));
    }

    #[test]
    fn babble_is_asked_again() {
        let bodies: [&[u8]; 6] = [
            b"",
            b"<html>",
            b"{}",
            br#"{"choices": []}"#,
            br#"{"choices": [{"message": {"content": 7}}]}"#,
            b"{\"choices\": [{\"message\": {\"content\": \"\xff\"}}]}",
        ];
        for body in bodies {
            let fault = read(&ASKED, body).unwrap_err();
            assert!(matches!(fault, Fault::Passing { origin: Origin::Answer, .. }), "{fault:?}");
        }
    }

    #[test]
    fn an_error_in_the_clothes_of_success_is_judged_by_its_code() {
        let error = json!({"error": {"code": 502, "message": "upstream"}});
        let expected = Fault::passing(Origin::Server, "HTTP 502: upstream");
        assert_eq!(read_json(&error).unwrap_err(), expected);
        let error = json!({"error": {"code": 401, "message": "who?"}});
        assert!(matches!(read_json(&error), Err(Fault::Hopeless(_))));
    }
}
