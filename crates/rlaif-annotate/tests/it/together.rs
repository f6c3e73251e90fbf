//! Several annotators at once.

use crate::support::{Page, browser_or_skip, desk, example, said, serve, texts};

#[test]
fn two_annotators_get_different_tasks_and_their_agreement_is_shown() {
    let Some(chromium) = browser_or_skip("two annotators") else { return };
    let desk = desk();
    let answers = texts(&["x", "y", "z"]);
    let tasks = ["One?", "Two?"]
        .map(|question| desk.file(&example(question, question), &answers, 2).unwrap());
    let server = serve(&desk);
    // Contexts share neither cookies nor storage, as two machines.
    let contexts = [(); 2].map(|()| chromium.new_context().unwrap());
    let ann = Page::open_as(contexts[0].new_tab().unwrap(), &server.url(), "ann");
    let bob = Page::open_as(contexts[1].new_tab().unwrap(), &server.url(), "bob");
    assert_eq!(ann.task(), tasks[0]);
    assert_eq!(bob.task(), tasks[1]);

    // On task two bob turns one pair of three: tau 1/3. On task one they agree: 1. The mean is 2/3.
    bob.rank(&["y", "x", "z"]);
    bob.key("Enter");
    bob.until("document.querySelector('#turns h2').textContent === 'One?'");
    ann.rank(&["x", "y", "z"]);
    ann.key("Enter");
    ann.until("document.querySelector('#turns h2').textContent === 'Two?'");
    ann.rank(&["x", "y", "z"]);
    ann.key("Enter");
    bob.rank(&["x", "y", "z"]);
    bob.key("Enter");
    for page in [&ann, &bob] {
        page.until("document.body.dataset.state === 'waiting'");
        assert_eq!(page.text("#progress-text"), "2 done · 0 left");
    }
    let two: Vec<String> = said(&desk, &tasks[1]).into_iter().map(|(_, order)| order).collect();
    assert_eq!(two, ["[2] > [1] > [3]", "[1] > [2] > [3]"]);

    ann.js("document.querySelector('#open-stats').click()");
    ann.until("document.querySelector('#stats-dialog[open]')");
    ann.keep("agreement.png");
    let table = ann.js("[...document.querySelectorAll('#stats tr')].map((row) =>
           [...row.children].map((cell) => cell.textContent))");
    for (row, name) in table.as_array().unwrap().iter().zip(["ann", "bob"]) {
        assert_eq!(row[0], name);
        assert_eq!(
            (&row[1], &row[2], &row[4], &row[5]),
            (&"2".into(), &"0".into(), &"2".into(), &"0.67".into())
        );
    }
    let stats = ureq::get(format!("{}api/stats", server.url())).call().unwrap();
    let stats: serde_json::Value =
        serde_json::from_str(&stats.into_body().read_to_string().unwrap()).unwrap();
    let tau = stats["annotators"][1]["tau_b"].as_f64().unwrap();
    assert!((tau - 2.0 / 3.0).abs() < 1e-12, "{stats}");
}

#[test]
fn the_last_task_is_not_ranked_twice_and_comes_back_when_its_page_is_gone() {
    let Some(chromium) = browser_or_skip("one task, two annotators") else { return };
    let desk = desk();
    let task = desk.file(&example("1", "One?"), &texts(&["x", "y"]), 1).unwrap();
    let server = serve(&desk);
    let contexts = [(); 2].map(|()| chromium.new_context().unwrap());
    let ann = Page::open_as(contexts[0].new_tab().unwrap(), &server.url(), "ann");
    let bob = Page::open_as(contexts[1].new_tab().unwrap(), &server.url(), "bob");
    assert_eq!(ann.task(), task);
    bob.until("document.body.dataset.state === 'waiting'");
    assert!(bob.text("#waiting-text").starts_with("Others are at the last tasks"));
    ann.close();
    bob.until("document.body.dataset.state === 'ranking'");
    assert_eq!(bob.task(), task);
}
