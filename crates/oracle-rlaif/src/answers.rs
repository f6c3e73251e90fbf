//! Asking a checkpoint: greedy answers, and the likelihood of each option.

use anyhow::{Context as _, Result};
use rlaif_data::{Example, example::letter};
use rlaif_eval::ItemResult;
use rlaif_eval::item::ItemHead;
use rlaif_model::Vlm;
use rlaif_rollout::{
    PromptBuilder, PromptInput, SampleRequest, SamplingParams, encode, sample, score,
};
use rlaif_train::batch::vocabulary;
use rlaif_video::{BadClipPolicy, ClipCounts};

use crate::recipe::EvalConfig;

/// Credit in `0..=1` that whoever knows the truth about a row's video gives an answer; `None`
/// where nobody does.
pub type Truth<'a> = dyn Fn(&Example, &str) -> Option<f64> + 'a;

/// Asks every question and grades the answers. `progress` hears the number of questions done.
///
/// # Errors
///
/// Fails on a row that cannot become a prompt; rows whose clip is at fault are skipped and
/// counted where `on_bad_clip` says so.
pub fn ask(
    model: &Vlm,
    builder: &PromptBuilder,
    examples: &[Example],
    config: &EvalConfig,
    on_bad_clip: BadClipPolicy,
    truth: &Truth<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<ItemResult>, ClipCounts)> {
    let params = SamplingParams {
        temperature: 0.0,
        max_completion_length: config.max_completion_length,
        ..SamplingParams::default()
    };
    let vocabulary = vocabulary(&builder.tokenizer, model);
    let mut results = Vec::with_capacity(examples.len());
    let mut counts = ClipCounts::default();
    for (number, chunk) in examples.chunks(config.batch_size).enumerate() {
        let mut kept = Vec::new();
        let mut prompts = Vec::new();
        for (index, example) in chunk.iter().enumerate() {
            let row = number * config.batch_size + index;
            if let Some(prompt) = admit(model, builder, example, row, on_bad_clip, &mut counts)? {
                kept.push(example);
                prompts.push(prompt);
            }
        }
        if kept.is_empty() {
            continue;
        }
        let inputs: Vec<&PromptInput> = prompts.iter().collect();
        let prefix = encode(model, &inputs);
        let requests: Vec<SampleRequest> =
            (0..kept.len()).map(|prompt| SampleRequest { prompt, seed: 0 }).collect();
        let answers = sample(model, &prefix, &requests, &params, &vocabulary);

        // One teacher-forced pass over all options of all questions.
        let mut scored: Vec<(usize, Vec<u32>)> = Vec::new();
        for (prompt, example) in kept.iter().enumerate() {
            for option in 0..example.choices.as_ref().map_or(0, |c| c.options.len()) {
                scored.push((prompt, option_ids(builder, example, option)?));
            }
        }
        let mut likelihoods = Vec::with_capacity(scored.len());
        if !scored.is_empty() {
            let responses: Vec<(usize, &[u32])> =
                scored.iter().map(|(prompt, ids)| (*prompt, ids.as_slice())).collect();
            let stats = score(model, &prefix, &responses, &vocabulary.forbidden);
            let values: Vec<f32> = stats.logprobs.into_data().iter::<f32>().collect();
            let mut at = 0;
            for (_, ids) in &scored {
                likelihoods.push(values[at..at + ids.len()].iter().map(|v| f64::from(*v)).sum());
                at += ids.len();
            }
        }
        let mut next = 0;
        for (example, answer) in kept.iter().zip(answers) {
            let text = builder.tokenizer.decode(&answer.token_ids);
            let head = ItemHead::from_example(example);
            let credit = truth(example, &text);
            let mut item = match &example.choices {
                Some(choices) => {
                    let options = choices.options.len();
                    let of_this: Vec<f64> = likelihoods[next..next + options].to_vec();
                    next += options;
                    let choices = choices.clone();
                    let item =
                        ItemResult::multiple_choice(head, choices, Some(of_this), Some(text))?;
                    // A rule for letters says nothing of answers in words.
                    let by_first_letter = item.by_first_letter.filter(|_| !in_words(example));
                    ItemResult { by_first_letter, ..item }
                }
                None => ItemResult::open_ended(head, text, example.target()),
            };
            if let Some(credit) = credit {
                item = item.with_truth_score(credit)?;
            }
            results.push(item);
        }
        progress(results.len() + counts.total_skipped());
    }
    counts.check_any_loaded()?;
    Ok((results, counts))
}

/// A prompt, or `None` for a row that is skipped.
fn admit(
    model: &Vlm,
    builder: &PromptBuilder,
    example: &Example,
    row: usize,
    on_bad_clip: BadClipPolicy,
    counts: &mut ClipCounts,
) -> Result<Option<PromptInput>> {
    use rlaif_rollout::PromptError;
    let outcome = match builder.prompt(model, example) {
        Ok(prompt) => Ok(prompt),
        Err(PromptError::Video(error)) => Err(error),
        Err(other) => {
            return Err(other).with_context(|| format!("row `{}`", example.id));
        }
    };
    counts.admit(on_bad_clip, row, outcome).with_context(|| format!("row `{}`", example.id))
}

/// True where the row's own answer is the option's text, not its letter.
fn in_words(example: &Example) -> bool {
    match (&example.choices, example.target()) {
        (Some(choices), Some(target)) => choices.options.contains(&target),
        _ => false,
    }
}

/// What stands for an option when its likelihood is taken, in the form of the row's own answer:
/// the option's text to its end token, else its letter (in lower case where the answer is).
fn option_ids(builder: &PromptBuilder, example: &Example, option: usize) -> Result<Vec<u32>> {
    if in_words(example)
        && let Some(text) = example.choices.as_ref().and_then(|c| c.options.get(option))
    {
        return Ok(builder.answer(text)?);
    }
    let upper = letter(option).to_string();
    let lower_case = example.target().is_some_and(|target| {
        target.chars().next().is_some_and(|first| first.is_ascii_lowercase()) && target.len() == 1
    });
    let text = if lower_case { upper.to_ascii_lowercase() } else { upper };
    Ok(builder.tokenizer.encode_continuation(&text)?)
}
