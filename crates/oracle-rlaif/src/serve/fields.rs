//! Fields of a request that change nothing here, and those that would and are refused.

use serde_json::{Map, Value};

use super::problem::Problem;

/// Fields that only mean something at other values than these: `null`, and the ones listed.
const REFUSED: [(&str, &[&str], &str); 39] = [
    ("tools", &["[]"], "the model calls nothing"),
    ("tool_choice", &["\"none\"", "\"auto\""], "the model calls nothing"),
    ("functions", &["[]"], "the model calls nothing"),
    ("function_call", &["\"none\"", "\"auto\""], "the model calls nothing"),
    ("response_format", &[r#"{"type":"text"}"#], "replies are plain text"),
    ("logit_bias", &["{}"], "the logits are the model's"),
    ("presence_penalty", &["0"], "the logits are the model's"),
    ("frequency_penalty", &["0"], "the logits are the model's"),
    ("repetition_penalty", &["1"], "the logits are the model's"),
    ("min_p", &["0"], "use `top_p` or `top_k`"),
    ("typical_p", &["1"], "use `top_p` or `top_k`"),
    ("modalities", &[r#"["text"]"#], "replies are plain text"),
    ("audio", &[], "replies are plain text"),
    ("prediction", &[], "replies are sampled token by token"),
    ("web_search_options", &[], "this server asks no other"),
    ("reasoning_effort", &["\"none\""], "the model has no such setting"),
    ("verbosity", &["\"medium\""], "the model has no such setting"),
    ("best_of", &["1"], "use `n`"),
    ("use_beam_search", &["false"], "replies are sampled"),
    ("ignore_eos", &["false"], "an end token ends a reply"),
    ("stop_token_ids", &["[]"], "use `stop`"),
    ("echo", &["false"], "the prompt is not repeated"),
    ("add_generation_prompt", &["true"], "the reply is a turn of its own"),
    ("continue_final_message", &["false"], "the reply is a turn of its own"),
    ("chat_template", &[], "the template is the checkpoint's"),
    ("chat_template_kwargs", &["{}"], "the template is the checkpoint's"),
    ("prompt_logprobs", &["0"], "use `logprobs`, of the reply's tokens"),
    ("regex", &[], "replies are not constrained to a grammar"),
    ("ebnf", &[], "replies are not constrained to a grammar"),
    ("grammar", &["\"\""], "replies are not constrained to a grammar"),
    ("json_schema", &["{}"], "replies are not constrained to a grammar"),
    ("format", &["\"\""], "replies are not constrained to a grammar"),
    ("allowed_token_ids", &[], "the logits are the model's"),
    ("bad_words", &["[]"], "the logits are the model's"),
    ("length_penalty", &["1"], "replies are sampled"),
    ("no_repeat_ngram_size", &["0"], "the logits are the model's"),
    ("include_stop_str_in_output", &["false"], "a reply ends before its stop"),
    ("truncate_prompt_tokens", &[], "no prompt is cut"),
    ("mm_processor_kwargs", &["{}"], "frames are made as the checkpoint says"),
];

/// Beginnings of the names by which servers constrain replies to a grammar.
const CONSTRAINTS: [&str; 2] = ["guided_", "structured_output"];

/// Refuses fields that would change the reply and are not supported.
///
/// # Errors
///
/// A [`Problem`] that names the field.
pub fn check(request: &Map<String, Value>) -> Result<(), Problem> {
    for (name, harmless, why) in REFUSED {
        let Some(value) = request.get(name) else { continue };
        if !value.is_null() && !harmless.iter().any(|text| same(value, text)) {
            return Err(unsupported(name, why));
        }
    }
    for (name, value) in request {
        let constrains = CONSTRAINTS.iter().any(|start| name.starts_with(start));
        if constrains && !value.is_null() {
            return Err(unsupported(name, "replies are not constrained to a grammar"));
        }
    }
    Ok(())
}

fn unsupported(name: &str, why: &str) -> Problem {
    let message = format!("{} is not supported: {why}; leave it out", super::problem::quoted(name));
    Problem::invalid(name.chars().take(80).collect::<String>(), message)
        .code("unsupported_parameter")
}

/// Equal as JSON, numbers by value.
fn same(value: &Value, text: &str) -> bool {
    let expected: Value = serde_json::from_str(text).unwrap_or_default();
    match (value.as_f64(), expected.as_f64()) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits(),
        _ => *value == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(request: &Value) -> Option<String> {
        check(request.as_object().unwrap()).err().and_then(|problem| problem.param)
    }

    #[test]
    fn fields_that_would_change_the_reply_are_refused_by_name() {
        for (name, value) in [
            ("tools", json!([{"type": "function"}])),
            ("response_format", json!({"type": "json_schema", "json_schema": {}})),
            ("response_format", json!({"type": "json_object"})),
            ("logit_bias", json!({"5": 1})),
            ("presence_penalty", json!(0.5)),
            ("repetition_penalty", json!(1.1)),
            ("guided_json", json!({})),
            ("structured_outputs", json!({"json": {}})),
        ] {
            assert_eq!(refused(&json!({name: value})).as_deref(), Some(name));
        }
    }

    #[test]
    fn the_same_fields_at_rest_and_unknown_ones_pass() {
        let request = json!({
            "tools": null, "tool_choice": "auto", "response_format": {"type": "text"},
            "logit_bias": {}, "presence_penalty": 0.0, "frequency_penalty": 0,
            "repetition_penalty": 1.0, "user": "someone", "metadata": {"a": 1}, "store": true,
        });
        assert_eq!(refused(&request), None);
    }

    #[test]
    fn every_harmless_value_is_json() {
        for text in REFUSED.iter().flat_map(|(_, harmless, _)| harmless.iter()) {
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
    }
}
