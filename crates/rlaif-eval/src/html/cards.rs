//! Sampled clips: what the video shows, what was asked, what was answered.

use maud::{Markup, html};
use rlaif_data::example::letter;
use rlaif_data::{Choices, Clip};

use super::thumbnail::{FrameError, Thumbnail, thumbnails};
use crate::format::words;
use crate::item::ItemResult;
use crate::measure::Measure;

/// Most characters of a text that a report shows.
const MAX_CHARS: usize = 2_000;

/// One answer to a card's question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CardAnswer {
    /// Who answered: the name of a checkpoint, or a number within the group.
    pub label: String,
    /// The answer.
    pub text: String,
    /// Level in the oracle's ranking, 0 best, equal is tied; `None` where unplaced or not ranked.
    pub rank: Option<usize>,
    /// Advantage in the policy gradient, for sampled groups.
    pub advantage: Option<f64>,
    /// Right or wrong, where known.
    pub correct: Option<bool>,
}

/// One question about one clip, with its answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipCard {
    /// Frames to show; up to eight are, evenly spread.
    pub clip: Option<Clip>,
    /// The video in words.
    pub video: String,
    /// The question's category.
    pub category: String,
    /// The question.
    pub question: String,
    /// A right answer in words.
    pub reference: Option<String>,
    /// Options and the right one.
    pub choices: Option<Choices>,
    /// Anything else to say, for instance the step at which the group was sampled.
    pub note: String,
    /// The answers; shown by rank where they have one.
    pub answers: Vec<CardAnswer>,
}

impl ClipCard {
    /// A held-out question with the answers that named checkpoints gave to it; the question is the
    /// first one's. `None` without answers.
    #[must_use]
    pub fn of_items(clip: Option<Clip>, answers: &[(&str, &ItemResult)]) -> Option<Self> {
        let (_, item) = answers.first()?;
        Some(ClipCard {
            clip,
            video: item.head.video.clone(),
            category: item.head.category.clone(),
            question: item.head.question.clone(),
            reference: item.reference.clone(),
            choices: item.choices.clone(),
            note: String::new(),
            answers: answers.iter().map(|(name, item)| CardAnswer::of_item(name, item)).collect(),
        })
    }
}

impl CardAnswer {
    /// The answer of a checkpoint: the option it finds most likely and what it wrote.
    fn of_item(name: &str, item: &ItemResult) -> Self {
        let likely = item.by_likelihood.map(|pick| format!("{} most likely", letter(pick)));
        let wrote =
            (!item.answer_text.is_empty() || likely.is_none()).then(|| item.answer_text.clone());
        let parts: Vec<String> = likely.into_iter().chain(wrote).collect();
        let correct = [Measure::Likelihood, Measure::Letter, Measure::NormalisedMatch]
            .into_iter()
            .find_map(|measure| measure.value(item));
        CardAnswer {
            label: name.to_owned(),
            text: parts.join(" · "),
            rank: None,
            advantage: None,
            correct: correct.map(|value| value > 0.5),
        }
    }
}

pub(super) fn section(title: &str, note: &str, cards: &[ClipCard]) -> Result<Markup, FrameError> {
    if cards.is_empty() {
        return Ok(html! {});
    }
    let frames = cards
        .iter()
        .map(|card| card.clip.as_ref().map_or(Ok(Vec::new()), thumbnails))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        section {
            h2 { (title) }
            p.note { (note) }
            div.cards {
                @for (card, frames) in cards.iter().zip(&frames) { (one(card, frames)) }
            }
        }
    })
}

fn one(card: &ClipCard, frames: &[Thumbnail]) -> Markup {
    html! {
        article.card {
            @if !frames.is_empty() {
                div.strip {
                    @for (i, frame) in frames.iter().enumerate() {
                        @let time = frame.seconds.map(|s| format!("{s:.1} s"));
                        img src=(frame.url) alt={ "frame " (i + 1) } title=[time] {}
                    }
                }
            }
            p.meta {
                @if !card.category.is_empty() { span.chip { (words(&card.category)) } }
                span.soft { bdi { (card.video) } }
                @if !card.note.is_empty() { span.soft { (card.note) } }
            }
            p.question { (clip_text(&card.question)) }
            @if let Some(choices) = &card.choices { (options(choices)) }
            @else if let Some(reference) = &card.reference {
                p.reference { span.soft { "reference " } (clip_text(reference)) }
            }
            (answers(&card.answers))
        }
    }
}

fn options(choices: &Choices) -> Markup {
    html! {
        ul.options {
            @for (i, option) in choices.options.iter().enumerate() {
                li.right[i == choices.answer] {
                    b { (letter(i)) } " " bdi { (clip_text(option)) }
                    @if i == choices.answer { " " span.tick-mark title="right option" { "✓" } }
                }
            }
        }
    }
}

fn answers(answers: &[CardAnswer]) -> Markup {
    let mut order: Vec<&CardAnswer> = answers.iter().collect();
    order.sort_by_key(|answer| answer.rank.unwrap_or(usize::MAX));
    let ranked = answers.iter().any(|answer| answer.rank.is_some());
    let weighed = answers.iter().any(|answer| answer.advantage.is_some());
    html! {
        table.answers {
            thead {
                tr {
                    th { @if ranked { "rank" } @else { "by" } }
                    @if weighed { th.num { "advantage" } }
                    th { "answer" }
                }
            }
            tbody {
                @for answer in order {
                    tr {
                        td.who {
                            @if ranked {
                                span.rank { (answer.rank.map_or("–".to_owned(), |r| (r + 1).to_string())) }
                            }
                            @if !answer.label.is_empty() { " " bdi.soft { (answer.label) } }
                        }
                        @if weighed {
                            td.num.(sign(answer.advantage)) {
                                (answer.advantage.map_or("–".to_owned(), |a| format!("{a:+.2}").replace('-', "−")))
                            }
                        }
                        td {
                            @if answer.text.is_empty() { span.soft { "(empty)" } }
                            bdi.text { (clip_text(&answer.text)) }
                            @match answer.correct {
                                Some(true) => { " " span.tick-mark title="right" { "✓" } }
                                Some(false) => { " " span.cross-mark title="wrong" { "✗" } }
                                None => {}
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sign(advantage: Option<f64>) -> &'static str {
    match advantage {
        Some(a) if a > 0.0 => "up",
        Some(a) if a < 0.0 => "down",
        _ => "level",
    }
}

/// A text of bounded length; what is cut off is counted.
fn clip_text(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => {
            format!("{} … ({} more characters)", &text[..end], text[end..].chars().count())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::tests::{choice, head};

    #[test]
    fn answers_appear_by_rank_with_unplaced_ones_last() {
        let answer = |label: &str, rank, advantage| CardAnswer {
            label: label.to_owned(),
            text: format!("text {label}"),
            rank,
            advantage: Some(advantage),
            correct: None,
        };
        let page = answers(&[
            answer("none", None, 0.0),
            answer("worse", Some(1), -0.5),
            answer("best", Some(0), 0.5),
        ])
        .into_string();
        let at = |needle: &str| page.find(needle).unwrap();
        assert!(at("text best") < at("text worse") && at("text worse") < at("text none"));
        assert!(page.contains(r#"<td class="num up">+0.50</td>"#), "{page}");
        assert!(page.contains(r#"<td class="num down">−0.50</td>"#), "{page}");
    }

    #[test]
    fn held_out_cards_show_what_each_checkpoint_said() {
        let right = choice("1", "counting", "v", true);
        let wrong = choice("1", "counting", "v", false);
        let card = ClipCard::of_items(None, &[("sft", &wrong), ("rl", &right)]).unwrap();
        assert_eq!((card.category.as_str(), card.choices.unwrap().answer), ("counting", 1));
        let said: Vec<(&str, &str, Option<bool>)> =
            card.answers.iter().map(|a| (a.label.as_str(), a.text.as_str(), a.correct)).collect();
        let expected = [("sft", "A most likely", Some(false)), ("rl", "B most likely", Some(true))];
        assert_eq!(said, expected);
        let open = ItemResult::open_ended(head("2", "c", "v"), "red".into(), Some("Red".into()));
        let card = ClipCard::of_items(None, &[("sft", &open)]).unwrap();
        assert_eq!((card.answers[0].text.as_str(), card.answers[0].correct), ("red", Some(true)));
        assert_eq!(ClipCard::of_items(None, &[]), None);
    }

    #[test]
    fn endless_texts_are_cut() {
        let text = "ä".repeat(MAX_CHARS + 5);
        assert!(clip_text(&text).ends_with("ä … (5 more characters)"));
        assert_eq!(clip_text("short"), "short");
    }
}
