use super::*;

fn entry(digest: &str) -> Entry {
    Entry {
        digest: digest.to_owned(),
        oracle: "judge".to_owned(),
        example: "row-7".to_owned(),
        question: "What moves?".to_owned(),
        shown: vec!["a \"cat\"".to_owned(), "a dog".to_owned()],
        raw: "[2] > [1]".to_owned(),
        ranking: Some("[2] > [1]".to_owned()),
        problem: None,
        prompt_tokens: Some(300),
        completion_tokens: None,
        cost: 0.25,
        latency: Duration::from_millis(1500),
    }
}

#[test]
fn what_is_stored_reads_back_in_another_process_and_the_first_of_two_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.reply("a").unwrap(), None);
    ledger.store(&entry("a")).unwrap();
    // A second connection sees it while the first is open.
    let other = Ledger::open(&path).unwrap();
    assert_eq!(other.reply("a").unwrap(), Some(entry("a")));
    other.store(&Entry { raw: "[1]".to_owned(), ..entry("a") }).unwrap();
    other.store(&entry("b")).unwrap();
    assert_eq!(ledger.reply("a").unwrap().unwrap().raw, "[2] > [1]");
    assert_eq!(ledger.spent("judge").unwrap(), Spent { calls: 2, cost: 0.5 });
    assert_eq!(ledger.spent("another").unwrap(), Spent::default());
}

#[test]
fn what_is_no_ledger_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    std::fs::write(&path, "no database, however long this line is made to be here").unwrap();
    let error = Ledger::open(&path).unwrap_err().to_string();
    assert!(error.contains("ledger.sqlite`: file is not a database"), "{error}");

    let path = folder.path().join("newer.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
    drop(connection);
    let error = Ledger::open(&path).unwrap_err().to_string();
    assert!(error.contains("it has version 2, this program knows 1"), "{error}");
}
