//! The page without a mouse.

use rlaif_annotate::shown_order;
use rlaif_oracle::human::AnnotatorName;

use crate::support::{Page, browser_or_skip, desk, example, said, serve, texts};

#[test]
fn four_answers_are_ranked_with_a_tie_skipped_and_taken_back_by_keys_alone() {
    let Some(chromium) = browser_or_skip("ranking by keys") else { return };
    let desk = desk();
    let answers = texts(&["alpha", "beta", "gamma", "delta"]);
    let first = desk.file(&example("1", "Which moves?"), &answers, 1).unwrap();
    let second = desk.file(&example("2", "Which stays?"), &texts(&["yes", "no"]), 1).unwrap();
    let server = serve(&desk);
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "Ann B.");

    assert_eq!(page.text("#turns h2"), "Which moves?");
    let shown: Vec<Vec<String>> = shown_order("Ann B.", &first, 4)
        .into_iter()
        .map(|candidate| vec![answers[candidate].clone()])
        .collect();
    assert_eq!(page.rows(), shown);
    assert_eq!(page.text("#progress-text"), "0 done · 2 left");
    page.until("getComputedStyle(document.activeElement).outlineStyle === 'solid'");

    // Submitting the order as it was shuffled is questioned.
    page.key("Enter");
    page.until("document.querySelector('#toast').textContent.includes('shuffled')");
    assert_eq!(said(&desk, &first), []);

    page.rank(&["gamma", "alpha", "delta", "beta"]);
    page.choose("delta");
    page.key("=");
    page.until_rows(&[&["gamma"], &["alpha", "delta"], &["beta"]]);
    page.shift("ArrowDown");
    page.until_rows(&[&["gamma"], &["alpha"], &["delta"], &["beta"]]);
    page.shift("ArrowDown");
    page.until_rows(&[&["gamma"], &["alpha"], &["beta"], &["delta"]]);
    page.alt("ArrowUp");
    page.key("=");
    page.until_rows(&[&["gamma"], &["alpha", "delta"], &["beta"]]);
    assert_eq!(page.text("#live"), "rank 2 of 3, tied with 1");

    page.key("Enter");
    page.until("document.querySelector('#turns h2').textContent === 'Which stays?'");
    let order = ("Ann B.".to_owned(), "[3] > [1] = [4] > [2]".to_owned());
    assert_eq!(said(&desk, &first), [order]);
    let judgement = &desk.judgements(&first).unwrap()[0];
    assert_eq!(judgement.shown, shown_order("Ann B.", &first, 4));
    assert!(judgement.seconds > 0.0 && judgement.seconds < 60.0, "{judgement:?}");

    page.key("s");
    page.until("document.body.dataset.state === 'waiting'");
    assert_eq!(said(&desk, &second), [("Ann B.".to_owned(), "skip".to_owned())]);
    assert_eq!(page.text("#progress-text"), "2 done · 0 left");

    page.key("u");
    page.until("document.querySelector('#turns h2').textContent === 'Which stays?'");
    page.until("document.body.dataset.state === 'ranking'");
    assert_eq!(said(&desk, &second), []);
    page.key("u");
    page.until("document.querySelector('#turns h2').textContent === 'Which moves?'");
    page.until_rows(&[&["gamma"], &["alpha", "delta"], &["beta"]]);
    assert_eq!(said(&desk, &first), []);
    page.key("u");
    page.until("document.querySelector('#toast').textContent.includes('nothing to take back')");
    let progress = desk.progress(&AnnotatorName::new("Ann B.").unwrap()).unwrap();
    assert_eq!((progress.done, progress.left), (0, 2));
}

#[test]
fn the_clip_and_the_help_obey_keys() {
    let Some(chromium) = browser_or_skip("keys of the clip") else { return };
    let desk = desk();
    desk.file(&example("1", "Which moves?"), &texts(&["a", "b"]), 1).unwrap();
    let server = serve(&desk);
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "ann");
    page.until("document.querySelector('#player').dataset.kind === 'frames'");
    // Nothing moves by itself where the system asks for that.
    assert_eq!(page.text("#clock"), "0.0 s");
    page.key("ArrowRight");
    page.key("ArrowRight");
    page.until("document.querySelector('#frames').dataset.frame === '2'");
    assert_eq!(page.text("#clock"), "0.5 s");
    page.key("ArrowLeft");
    page.until("document.querySelector('#frames').dataset.frame === '1'");
    page.key(" ");
    page.until("document.querySelector('#play').dataset.playing === 'true'");
    page.until("document.querySelector('#frames').dataset.frame === '7'");
    page.until("document.querySelector('#frames').dataset.frame === '0'");
    page.key(" ");
    page.until("document.querySelector('#play').dataset.playing === 'false'");

    assert_eq!(page.js("document.querySelector('#known').open"), false);
    page.key("r");
    page.until("document.querySelector('#known').open");
    assert_eq!(page.text("#reference"), "The red circle moves to the right.");
    page.shift("?");
    page.until("document.querySelector('#help-dialog[open]')");
    page.keep("help.png");
    // While it is open, keys do nothing else.
    page.key("s");
    page.key("Escape");
    page.until("!document.querySelector('#help-dialog[open]')");
    assert_eq!(page.text("#progress-text"), "0 done · 1 left");
}

#[test]
fn a_page_closed_midway_loses_nothing_and_new_tasks_appear_by_themselves() {
    let Some(chromium) = browser_or_skip("closing midway") else { return };
    let desk = desk();
    let first = desk.file(&example("1", "One?"), &texts(&["a", "b", "c"]), 1).unwrap();
    let second = desk.file(&example("2", "Two?"), &texts(&["d", "e", "f"]), 1).unwrap();
    let server = serve(&desk);
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "ann");
    page.rank(&["c", "a", "b"]);
    page.key("Enter");
    page.until("document.querySelector('#turns h2').textContent === 'Two?'");
    page.rank(&["f", "d", "e"]);
    // Reloaded, the order that was not submitted is still there.
    page.reload();
    page.until("document.body.dataset.state === 'ranking'");
    page.until_rows(&[&["f"], &["d"], &["e"]]);
    page.keep("two.png");
    page.close();
    assert_eq!(said(&desk, &first), [("ann".to_owned(), "[3] > [1] > [2]".to_owned())]);
    assert_eq!(said(&desk, &second), []);

    let page = Page::open(chromium.new_tab().unwrap(), &server.url());
    page.until("document.body.dataset.state === 'ranking'");
    assert_eq!((page.text("#who"), page.task()), ("ann".to_owned(), second));
    page.rank(&["d", "e", "f"]);
    page.key("Enter");
    page.until("document.body.dataset.state === 'waiting'");
    let third = desk.file(&example("3", "Three?"), &texts(&["g", "h"]), 1).unwrap();
    page.until("document.body.dataset.state === 'ranking'");
    assert_eq!(page.task(), third);
}
