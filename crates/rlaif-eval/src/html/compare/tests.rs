//! The comparison's page: what it contains, and that nothing from data becomes markup.

use crate::comparison::tests::{comparison, methods};
use crate::comparison::{Comparison, ComparisonFacts, Selection};
use crate::item::ItemKind;
use crate::{Bootstrap, ClaimSpec, Expectation};

const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;</style>";

#[test]
fn the_page_has_its_parts() {
    let page = comparison().html();
    for part in [
        "<!DOCTYPE html>",
        "<title>Methods compared</title>",
        "<dt>command</dt><dd>oracle-rlaif reproduce</dd>",
        "Open-ended (n = 1)",
        "<b class=\"best\">77.5</b>†",
        "holds here: +50.0 points [",
        "Difference to <bdi>PPO</bdi>",
        "Difference to <bdi>SFT</bdi>",
        "Multiple choice by category",
        "action recognition",
        "1 min 30 s",
        "1,500",
        "A note.",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    // One method has a curve of multiple choice, drawn against completions and judge calls.
    assert_eq!(page.matches("<path class=\"band\"").count(), 2);
    // Two methods, two baselines, of multiple choice all and two categories, of open-ended all and
    // one.
    assert_eq!(page.matches("<circle class=\"dot\"").count(), 2 * 2 * 5 + 2);
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = comparison().html();
    assert!(!page.contains("<script") && !page.contains("http:") && !page.contains("https:"));
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("<link"));
    assert!(!page.contains(" src=") && page.contains("default-src 'none'"));
    for element in ["svg", "g", "line", "path", "table", "tr", "section", "details", "p", "li"] {
        let opened = page.matches(&format!("<{element} ")).count()
            + page.matches(&format!("<{element}>")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

/// The fixture with hostile text wherever text comes from outside.
fn hostile() -> Comparison {
    let mut methods = methods();
    for method in &mut methods {
        (method.label, method.about) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        for item in method.runs.iter_mut().flat_map(|run| &mut run.items) {
            item.head.category.push_str(HOSTILE);
        }
    }
    methods[0].name = HOSTILE.to_owned();
    let text = || HOSTILE.to_owned();
    let selection = vec![Selection { method: text(), candidates: vec![(1e-5, 0.5)], chosen: 1e-5 }];
    let facts = ComparisonFacts {
        title: text(),
        command: text(),
        commit: text(),
        machine: text(),
        notes: vec![text()],
        selection,
    };
    let claim = ClaimSpec {
        text: text(),
        source: text(),
        method: text(),
        against: "sft".to_owned(),
        kind: ItemKind::MultipleChoice,
        categories: vec![format!("counting{HOSTILE}")],
        expects: Expectation::Greater,
    };
    let bootstrap = Bootstrap { resamples: 200, seed: 0 };
    Comparison::new(facts, &methods, &[HOSTILE], vec![claim], &bootstrap).unwrap()
}

#[test]
fn hostile_text_stays_text() {
    let comparison = hostile();
    let page = comparison.html();
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("\"'>"));
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.matches("&lt;script&gt;").count() >= 40);
    // Markdown may show tags only within code, of which there are the command and the commit.
    let markdown = comparison.markdown();
    assert_eq!(markdown.matches("<script>").count(), 2);
    assert_eq!(markdown.matches("`\"'><script>").count(), 2);
}
