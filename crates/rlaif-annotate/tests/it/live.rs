//! A run that waits, a server that comes back, a token.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rlaif_annotate::{Server, ServerOptions};
use rlaif_oracle::human::{AnnotatorName, HumanConfig, HumanOracle};
use rlaif_oracle::{Cancel, Desk, Ledger, RankRequest, rank_groups};

use crate::support::{Page, browser_or_skip, desk, example, said, serve, texts};

#[test]
fn a_run_gets_what_is_ranked_on_the_page_of_another_process() {
    let Some(chromium) = browser_or_skip("a waiting run") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    // The run's connection and the server's, as two processes have them.
    let config = HumanConfig { undo_seconds: 0.0, ..HumanConfig::default() };
    let oracle = HumanOracle::new(config, Arc::new(Ledger::open(&path).unwrap())).unwrap();
    let server = serve(&Desk::new(Arc::new(Ledger::open(&path).unwrap())));
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "ann");
    page.until("document.body.dataset.state === 'waiting'");

    let run = std::thread::spawn(move || {
        let candidates = texts(&["one", "two", "one ", "three"]);
        let request = RankRequest { example: example("1", "How many?"), candidates };
        rank_groups(&oracle, &[request], &Cancel::new())
    });
    page.until("document.body.dataset.state === 'ranking'");
    page.rank(&["three", "one", "two"]);
    page.key("Enter");
    let outcome = run.join().unwrap();
    let verdict = outcome.verdicts[0].as_ref().unwrap();
    assert_eq!(verdict.ranking.to_string(), "[4] > [1] = [3] > [2]");
    // The run has taken it: it cannot be taken back.
    page.key("u");
    page.until("document.querySelector('#toast').textContent.startsWith('Too late')");
}

#[test]
fn a_server_that_is_started_again_finds_the_page_where_it_was() {
    let Some(chromium) = browser_or_skip("a server that comes back") else { return };
    let desk = desk();
    let task = desk.file(&example("1", "One?"), &texts(&["a", "b", "c"]), 1).unwrap();
    let server = serve(&desk);
    let address = server.address();
    let page = Page::open_as(chromium.new_tab().unwrap(), &server.url(), "ann");
    page.rank(&["c", "b", "a"]);
    server.stop().unwrap();
    page.key("Enter");
    page.until("!document.querySelector('#trouble').hidden");
    page.until_rows(&[&["c"], &["b"], &["a"]]);
    assert_eq!(said(&desk, &task), []);

    let options = ServerOptions { host: address.ip(), port: address.port() };
    let _server = Server::start(desk.clone(), options).unwrap();
    page.until("document.querySelector('#trouble').hidden");
    page.key("Enter");
    page.until("document.body.dataset.state === 'waiting'");
    assert_eq!(said(&desk, &task), [("ann".to_owned(), "[3] > [2] > [1]".to_owned())]);
}

#[test]
fn with_the_token_of_the_address_a_browser_ranks_and_without_it_it_sees_nothing() {
    let Some(chromium) = browser_or_skip("the token") else { return };
    let desk = desk();
    desk.file(&example("1", "One?"), &texts(&["a", "b"]), 1).unwrap();
    let options = ServerOptions { host: Ipv4Addr::UNSPECIFIED.into(), port: 0 };
    let server = Server::start(desk.clone(), options).unwrap();
    let url = server.url().replace("0.0.0.0", "127.0.0.1");
    let bare = url.split_once('?').unwrap().0;

    let stranger = chromium.new_context().unwrap();
    let page = Page::open(stranger.new_tab().unwrap(), bare);
    page.until("document.body.innerText.startsWith('open the address with the token')");
    let page = Page::open_as(chromium.new_tab().unwrap(), &url, "ann");
    assert_eq!(page.js("location.href"), bare, "the token stands in no address bar");
    assert_eq!(page.js("document.cookie"), "", "and no script reads it");
    page.rank(&["b", "a"]);
    page.key("Enter");
    page.until("document.body.dataset.state === 'waiting'");
    let done = desk.progress(&AnnotatorName::new("ann").unwrap()).unwrap().done;
    assert_eq!(done, 1);
}
