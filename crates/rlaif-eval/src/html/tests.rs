//! The page as a whole: what it contains, and that nothing from data becomes markup.

use std::fmt::Write;
use std::path::Path;

use rlaif_data::{Choices, Clip, Frame};

use super::*;
use crate::metrics::MetricsLog;
use crate::summary::tests::summary;

const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;</style>";

fn log() -> MetricsLog {
    let mut lines = String::new();
    for i in 1..=60 {
        let kl = if i == 7 { "null".to_owned() } else { format!("{}", 0.01 * f64::from(i)) };
        let loss = 3.0 / f64::from(i);
        writeln!(lines, "{{\"step\":{i},\"loss\":{loss},\"kl\":{kl}}}").unwrap();
    }
    MetricsLog::parse(lines.as_bytes(), Path::new("metrics.jsonl")).unwrap()
}

fn card(text: &str) -> ClipCard {
    let frame = Frame { width: 2, height: 2, rgb: vec![200; 12] };
    ClipCard {
        clip: Some(Clip {
            frames: vec![frame.clone(), frame],
            timestamps: vec![0.0, 0.5],
            digest: "d".to_owned(),
            video: rlaif_data::VideoMetadata::default(),
        }),
        video: text.to_owned(),
        category: text.to_owned(),
        question: text.to_owned(),
        reference: Some(text.to_owned()),
        choices: Some(Choices { options: vec![text.to_owned(), "blue".to_owned()], answer: 1 }),
        note: text.to_owned(),
        answers: vec![CardAnswer {
            label: text.to_owned(),
            text: text.to_owned(),
            rank: Some(0),
            advantage: Some(0.25),
            correct: Some(true),
        }],
    }
}

fn report() -> HtmlReport {
    HtmlReport {
        curves: vec![CurveSection::of_run("Oracle RLAIF", log())],
        held_out: vec![card("what moves?")],
        training_groups: vec![card("a red ball")],
        ..HtmlReport::of_summary("Quickstart", &summary())
    }
}

#[test]
fn the_page_has_its_parts() {
    let page = report().render().unwrap();
    for part in [
        "<!DOCTYPE html>",
        "<title>Quickstart</title>",
        "<dt>wall time</dt><dd>3 min 33 s</dd>",
        "+50.0",
        "Multiple choice by category",
        "Open-ended by category",
        "action recognition",
        "Gain of <bdi>oracle_rlaif</bdi> over <bdi>sft</bdi>",
        "accuracy by option likelihood",
        "Training: Oracle RLAIF",
        "rank</th>",
        "+0.25",
        "data:image/png;base64,",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Four questions a category, two checkpoints: four rows and two kinds of two bars each.
    let rows = page.matches("bar-row\"").count();
    assert_eq!((rows, page.matches("<rect class=\"bar\"").count()), (6, 12));
    // loss and kl, each with its values and their average.
    assert_eq!(page.matches("<path class=\"raw\"").count(), 2);
    assert_eq!(page.matches("<path class=\"smooth\"").count(), 2);
    assert_eq!(page.matches("<img ").count(), 4);
}

#[test]
fn elements_are_closed() {
    let page = report().render().unwrap();
    for element in ["svg", "g", "line", "path", "table", "tr", "section", "div", "figure", "p"] {
        let opened = page.matches(&format!("<{element} ")).count()
            + page.matches(&format!("<{element}>")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = report().render().unwrap();
    assert!(!page.contains("<script") && !page.contains("http:") && !page.contains("https:"));
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("<link"));
    assert!(page.contains("default-src 'none'"));
    let sources = page.matches(" src=\"").count();
    assert_eq!(sources, page.matches(" src=\"data:image/png;base64,").count());
}

#[test]
fn hostile_text_stays_text() {
    let clean = report().render().unwrap();
    let mut hostile = report();
    hostile.title = HOSTILE.to_owned();
    hostile.facts = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    for eval in &mut hostile.evals {
        eval.name = HOSTILE.to_owned();
        let section = eval.multiple_choice.as_mut().unwrap();
        let result = section.by_category.remove("counting").unwrap();
        section.by_category.insert(HOSTILE.to_owned(), result);
        (section.letters_missing, eval.skipped_clips) = (1, 1);
    }
    let gains = &mut hostile.gains[0];
    (gains.before, gains.after) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    let gain = gains.multiple_choice.as_mut().unwrap();
    let category = gain.by_category.remove("counting").unwrap();
    gain.by_category.insert(HOSTILE.to_owned(), category);
    let name = serde_json::to_string(HOSTILE).unwrap();
    let line = format!("{{\"step\":1,{name}:1}}\n");
    let log = MetricsLog::parse(line.as_bytes(), Path::new("m")).unwrap();
    let runs = ["a", HOSTILE].map(|name| CurveRun { name: name.to_owned(), log: log.clone() });
    hostile.curves =
        vec![CurveSection { title: HOSTILE.to_owned(), runs: runs.to_vec(), metrics: Vec::new() }];
    hostile.held_out = vec![card(HOSTILE)];
    hostile.training_groups = vec![card(HOSTILE)];

    let page = hostile.render().unwrap();
    assert!(!page.contains("<script") && !page.contains("<img src=x") && !page.contains("\"'>"));
    assert_eq!(page.matches("</style>").count(), 1);
    assert_eq!(page.matches("<img ").count(), clean.matches("<img ").count());
    assert_eq!(page.matches("onerror").count(), page.matches("&lt;img src=x onerror").count());
    // Shown as written: every `&` of the source is escaped once more.
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("&amp;amp;&lt;/style&gt;"));
    // 2 title, 2 facts, names, categories, metric and cards: none is lost.
    assert!(page.matches("&lt;script&gt;").count() >= 30);
}

#[test]
fn an_empty_report_is_still_a_page() {
    let page = HtmlReport { title: "Nothing yet".to_owned(), ..HtmlReport::default() };
    let page = page.render().unwrap();
    assert!(page.contains("<h1>Nothing yet</h1>") && !page.contains("<section"));
}
