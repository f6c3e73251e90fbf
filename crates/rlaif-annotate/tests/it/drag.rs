//! The page with a mouse.

use headless_chrome::protocol::cdp::Input::DispatchMouseEventTypeOption::{
    MouseMoved, MousePressed, MouseReleased,
};
use serde_json::Value;

use crate::support::{Page, browser_or_skip, desk, example, said, serve, texts};

/// The box of the answer's row: left, top, width, height.
fn row_of(page: &Page, answer: &str) -> [f64; 4] {
    let answer = Value::from(answer);
    let found = page.js(&format!(
        "(() => {{
           const texts = [...document.querySelectorAll('#rows .text')];
           const text = texts.find((text) => text.textContent === {answer});
           const box = text.closest('.card').getBoundingClientRect();
           return [box.left, box.top, box.width, box.height];
         }})()"
    ));
    serde_json::from_value(found).unwrap()
}

/// Presses on an answer, moves over the other one at a share of its height, lets go.
fn drag(page: &Page, answer: &str, over: &str, share: f64) {
    let [left, top, _, height] = row_of(page, answer);
    let (x, y) = (left + 60.0, top + height / 2.0);
    let [_, top, _, height] = row_of(page, over);
    let to = top + share * height;
    page.mouse(MousePressed, x, y);
    for step in 1..=3 {
        page.mouse(MouseMoved, x, y + (to - y) * f64::from(step) / 3.0);
    }
    page.keep("dragging.png");
    page.mouse(MouseReleased, x, to);
}

#[test]
fn dragging_moves_before_after_and_beside() {
    let Some(chromium) = browser_or_skip("dragging") else { return };
    let desk = desk();
    let task =
        desk.file(&example("1", "Which?"), &texts(&["one", "two", "three", "four"]), 1).unwrap();
    let server = serve(&desk);
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "ann");
    let shown = page.rows().concat();
    let [a, b, c, d] = [&shown[0], &shown[1], &shown[2], &shown[3]].map(String::as_str);

    drag(&page, d, a, 0.1);
    page.until_rows(&[&[d], &[a], &[b], &[c]]);
    drag(&page, d, c, 0.95);
    page.until_rows(&[&[a], &[b], &[c], &[d]]);
    // Dropped where it was: nothing happens.
    drag(&page, b, b, 0.7);
    page.until_rows(&[&[a], &[b], &[c], &[d]]);
    drag(&page, d, b, 0.5);
    let mut tied = [b, d];
    tied.sort_unstable();
    page.until_rows(&[&[a], &tied, &[c]]);
    drag(&page, c, a, 0.05);
    page.until_rows(&[&[c], &[a], &tied]);
    // A press without a move only chooses.
    let [left, top, _, height] = row_of(&page, a);
    page.mouse(MousePressed, left + 60.0, top + height / 2.0);
    page.mouse(MouseReleased, left + 60.0, top + height / 2.0);
    page.until(&format!("document.activeElement.textContent.includes({a:?})"));
    page.until_rows(&[&[c], &[a], &tied]);

    let [left, top, width, height] = {
        let found = page
            .js("(() => { const b = document.querySelector('#submit').getBoundingClientRect();
               return [b.left, b.top, b.width, b.height]; })()");
        serde_json::from_value::<[f64; 4]>(found).unwrap()
    };
    page.mouse(MousePressed, left + width / 2.0, top + height / 2.0);
    page.mouse(MouseReleased, left + width / 2.0, top + height / 2.0);
    page.until("document.body.dataset.state === 'waiting'");
    let label = |text: &str| {
        let names = ["one", "two", "three", "four"];
        names.iter().position(|name| *name == text).unwrap() + 1
    };
    let mut pair = [label(b), label(d)];
    pair.sort_unstable();
    let expected = format!("[{}] > [{}] > [{}] = [{}]", label(c), label(a), pair[0], pair[1]);
    assert_eq!(said(&desk, &task), [("ann".to_owned(), expected)]);
}
