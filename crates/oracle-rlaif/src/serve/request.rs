//! A chat request: JSON to a conversation, a clip and what is wanted.

use rlaif_data::Message;
use rlaif_rollout::SamplingParams;
use serde_json::{Map, Value};

use super::content::{self, Shown};
use super::problem::Problem;
use super::{Limits, fields};

/// Values in a request's JSON, at most: a thousand turns with as many frames are far fewer.
const VALUES: usize = 1 << 16;
/// Continuations of one prompt, at most.
pub const MOST_CHOICES: usize = 16;
/// Alternatives for each token, at most.
const MOST_ALTERNATIVES: usize = 20;
/// Stop strings, at most, and bytes of one.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 256;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// The model by name, where the client names one.
    pub model: Option<String>,
    /// The conversation, with the place of the clip.
    pub messages: Vec<Message>,
    /// The clip, still as it was sent.
    pub shown: Option<Shown>,
    /// How to answer.
    pub wish: Wish,
    /// Whether the reply comes in pieces.
    pub stream: bool,
    /// Whether a stream closes with the count of tokens.
    pub include_usage: bool,
}

/// How an answer is sampled and what is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Temperature and filters. Its `max_completion_length` is set once the prompt is known.
    pub sampling: SamplingParams,
    /// Longest reply in tokens; `None` for as long as the server and the model allow.
    pub max_tokens: Option<usize>,
    /// Continuations, 1 to 16.
    pub n: usize,
    /// Continuation `i` is sampled with `seed + i`; a random one where absent.
    pub seed: Option<u64>,
    /// Strings that end a reply.
    pub stops: Vec<String>,
    /// Alternatives for each token with its log-probability; `None` tells neither.
    pub top_logprobs: Option<usize>,
}

impl Chat {
    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// A [`Problem`] of status 400 that names the field.
    pub fn read(body: &[u8], limits: &Limits) -> Result<Chat, Problem> {
        let values = count_values(body);
        if values > VALUES {
            return Err(Problem::invalid(
                "messages",
                format!("the request holds some {values} JSON values; at most {VALUES} are read"),
            ));
        }
        let request: Value = serde_json::from_slice(body).map_err(|error| {
            Problem::new(400, "invalid_request_error", format!("the body is no JSON: {error}"))
        })?;
        let Value::Object(mut request) = request else {
            return Err(Problem::new(
                400,
                "invalid_request_error",
                "the body must be a JSON object with `messages`",
            ));
        };
        fields::check(&request)?;
        let (messages, shown) = content::read(request.remove("messages"))?;
        let stream = boolean(&request, "stream")?;
        let include_usage = match request.get("stream_options") {
            None | Some(Value::Null) => false,
            Some(Value::Object(options)) => boolean(options, "include_usage")?,
            Some(_) => return Err(Problem::invalid("stream_options", "expected an object")),
        };
        let model = match request.get("model") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err(Problem::invalid("model", "expected a string")),
        };
        let wish = Wish::read(&request, limits)?;
        Ok(Chat { model, messages, shown, wish, stream, include_usage })
    }
}

impl Wish {
    fn read(request: &Map<String, Value>, limits: &Limits) -> Result<Wish, Problem> {
        let longest = limits.max_new_tokens;
        // The newer name wins, as at OpenAI.
        let any = u32::MAX as usize;
        let max_tokens = match whole(request, "max_completion_tokens", 1, any)? {
            Some(tokens) => Some(tokens),
            None => whole(request, "max_tokens", 1, any)?,
        };
        // An upper bound: a reply that ends earlier says so by its `finish_reason`.
        let max_tokens = max_tokens.map(|tokens| tokens.min(longest));
        let top_p = number(request, "top_p", 0.0, 1.0)?.unwrap_or(1.0);
        if top_p <= 0.0 {
            return Err(Problem::invalid("top_p", "`top_p` must be above 0 and at most 1, got 0"));
        }
        let sampling = SamplingParams {
            temperature: number(request, "temperature", 0.0, 2.0)?.unwrap_or(1.0),
            top_p,
            top_k: top_k(request)?,
            max_completion_length: 1,
            min_completion_length: whole(request, "min_tokens", 0, longest)?.unwrap_or(0),
        };
        let most = limits.max_batch.min(MOST_CHOICES);
        Ok(Wish {
            sampling,
            max_tokens,
            n: whole(request, "n", 1, most)?.unwrap_or(1),
            seed: seed(request)?,
            stops: stops(request)?,
            top_logprobs: alternatives(request)?,
        })
    }
}

fn boolean(object: &Map<String, Value>, name: &str) -> Result<bool, Problem> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(Problem::invalid(name, format!("`{name}` must be true or false"))),
    }
}

fn number(
    object: &Map<String, Value>,
    name: &str,
    low: f64,
    high: f64,
) -> Result<Option<f64>, Problem> {
    let bad = || Problem::invalid(name, format!("`{name}` must be a number in {low}..={high}"));
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let value = value.as_f64().ok_or_else(bad)?;
            if (low..=high).contains(&value) { Ok(Some(value)) } else { Err(bad()) }
        }
    }
}

fn whole(
    object: &Map<String, Value>,
    name: &str,
    low: usize,
    high: usize,
) -> Result<Option<usize>, Problem> {
    let bad = |value: &Value| {
        let got = super::problem::quoted(&value.to_string());
        let message =
            format!("`{name}` must be a whole number in {low}..={high} at this server, got {got}");
        Problem::invalid(name, message)
    };
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            match number.filter(|number| (low..=high).contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(bad(value)),
            }
        }
    }
}

/// 0 and -1 keep all tokens, as servers have it.
fn top_k(request: &Map<String, Value>) -> Result<usize, Problem> {
    if request.get("top_k").and_then(Value::as_i64) == Some(-1) {
        return Ok(0);
    }
    Ok(whole(request, "top_k", 0, u32::MAX as usize)?.unwrap_or(0))
}

/// Any whole number of 64 bits; negative ones by their bits.
fn seed(request: &Map<String, Value>) -> Result<Option<u64>, Problem> {
    match request.get("seed") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .or_else(|| value.as_i64().map(i64::cast_unsigned))
            .map(Some)
            .ok_or_else(|| Problem::invalid("seed", "`seed` must be a whole number of 64 bits")),
    }
}

fn stops(request: &Map<String, Value>) -> Result<Vec<String>, Problem> {
    let bad = || {
        Problem::invalid(
            "stop",
            format!(
                "`stop` must be a string or a list of at most {MOST_STOPS}, none empty or above \
                 {LONGEST_STOP} bytes"
            ),
        )
    };
    let list = match request.get("stop") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if items.len() <= MOST_STOPS => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>().ok_or_else(bad)?
        }
        Some(_) => return Err(bad()),
    };
    if list.iter().any(|stop| stop.is_empty() || stop.len() > LONGEST_STOP) {
        return Err(bad());
    }
    Ok(list)
}

fn alternatives(request: &Map<String, Value>) -> Result<Option<usize>, Problem> {
    let top = whole(request, "top_logprobs", 0, MOST_ALTERNATIVES)?;
    match (boolean(request, "logprobs")?, top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            Err(Problem::invalid("top_logprobs", "`top_logprobs` needs `logprobs` to be true"))
        }
    }
}

/// Commas and opening brackets outside of strings: an upper bound on the values of a JSON text, had
/// before memory is taken for any of them.
fn count_values(body: &[u8]) -> usize {
    let (mut values, mut in_string, mut escaped) = (1, false, false);
    for byte in body {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else if *byte == b'"' {
            in_string = true;
        } else if matches!(byte, b',' | b'[' | b'{') {
            values += 1;
        }
    }
    values
}

#[cfg(test)]
mod tests;
