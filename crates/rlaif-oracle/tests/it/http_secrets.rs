//! Where a key goes, and where it does not.

use std::{
    cell::RefCell,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, Once},
};

use rlaif_oracle::{
    ChatModel as _,
    http::{HttpChat, LimitsConfig, ServerConfig},
    rehearsal::{Fault, JudgeOptions, JudgeServer},
};

use crate::asking::{ask, chat, judge, question, quick, server};

const KEY: &str = "sk-hunter2-0123456789";

type Buffer = Arc<Mutex<Vec<u8>>>;

thread_local! {
    /// Where this thread's log records go, and how many of them: the client logs the bytes on the
    /// wire at `TRACE`.
    static CAUGHT: RefCell<Option<(Buffer, log::Level)>> = const { RefCell::new(None) };
}

/// Writes the records of threads that have a buffer.
struct Catcher;

impl log::Log for Catcher {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        CAUGHT.with_borrow(|caught| {
            caught.as_ref().is_some_and(|(_, most)| metadata.level() <= *most)
        })
    }

    fn log(&self, record: &log::Record<'_>) {
        CAUGHT.with_borrow(|caught| {
            if let Some((buffer, most)) = caught
                && record.level() <= *most
            {
                let line = format!("{} {}\n", record.target(), record.args());
                buffer.lock().expect("no panic").extend_from_slice(line.as_bytes());
            }
        });
    }

    fn flush(&self) {}
}

struct Writer(Buffer);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All that this thread logs while `work` runs, of this crate and, up to `most`, of the client.
fn logged(most: log::Level, work: impl FnOnce()) -> String {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_boxed_logger(Box::new(Catcher)).expect("the first logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
    let buffer = Buffer::default();
    CAUGHT.set(Some((Arc::clone(&buffer), most)));
    let writer = Arc::clone(&buffer);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Writer(Arc::clone(&writer)))
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    CAUGHT.set(None);
    let bytes = buffer.lock().expect("no panic").clone();
    String::from_utf8(bytes).expect("log records are text")
}

fn with_key(config: ServerConfig, folder: &Path) -> ServerConfig {
    let path = folder.join("key");
    std::fs::write(&path, format!("{KEY}\n")).expect("a temporary file");
    ServerConfig { api_key_file: Some(path), ..config }
}

#[test]
fn the_key_reaches_the_server_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let last = [
        Fault::None,
        Fault::Status(401, None),
        Fault::Status(422, None),
        Fault::Status(500, None),
        Fault::Garbage,
        Fault::ResetMidBody,
        Fault::Redirect(format!("http://{KEY}@127.0.0.1:1/?key={KEY}")),
    ];
    for fault in last {
        let acted = fault.clone();
        let options = JudgeOptions {
            key: Some(KEY.to_owned()),
            faults: Arc::new(move |_| acted.clone()),
            // Even the reply repeats it.
            rule: Arc::new(|_| format!("[2] > [1] {KEY}")),
            ..JudgeOptions::default()
        };
        let judge = JudgeServer::start(options).unwrap();
        let text = logged(log::Level::Debug, || {
            let limits = LimitsConfig { max_retries: 2, breaker_failures: 3, ..quick() };
            let chat: HttpChat = chat(with_key(server(&judge), folder.path()), limits);
            let patience = crate::asking::within(2.0);
            let outcome = chat.chat(&[&question(0)], &patience).remove(0);
            assert_eq!(outcome.is_ok(), fault == Fault::None, "{fault}: {outcome:?}");
            tracing::info!("{outcome:?} {chat:?} {}", chat.identity());
            if let Err(error) = outcome {
                tracing::info!("{error}");
                let is_repeated = !matches!(fault, Fault::ResetMidBody);
                assert_eq!(error.to_string().contains("[key]"), is_repeated, "{error}");
            }
        });
        assert!(text.contains("ureq") && text.contains("HttpChat"), "{text}");
        assert!(!text.contains("hunter2"), "{fault}: {text}");
        let header = judge.last_request().unwrap();
        assert_eq!(header.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert!(!format!("{header:?} {judge:?}").contains("hunter2"));
    }
}

#[test]
fn with_a_logger_that_writes_every_byte_a_key_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let judge = judge(|_| Fault::None);
    let text = logged(log::Level::Trace, || {
        let keyed = chat(with_key(server(&judge), folder.path()), quick());
        let error = ask(&keyed, &question(0)).unwrap_err().to_string();
        assert!(error.contains("`ureq_proto`"), "{error}");
        assert_eq!(judge.counts().requests, 0);
        assert!(ask(&chat(server(&judge), quick()), &question(0)).is_ok(), "without a key");
    });
    assert!(text.contains("ureq_proto::util") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_redirect_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let other = judge(|_| Fault::None);
    let elsewhere = format!("{}/chat/completions", other.base_url());
    let judge = judge(move |_| Fault::Redirect(elsewhere.clone()));
    let chat = chat(with_key(server(&judge), folder.path()), quick());
    let error = ask(&chat, &question(0)).unwrap_err().to_string();
    assert!(error.contains("redirects") && error.contains(&other.base_url()), "{error}");
    assert_eq!((judge.counts().requests, other.counts().requests), (1, 0));
}

#[test]
fn a_wrong_key_is_hopeless_and_no_key_sends_none() {
    let folder = tempfile::tempdir().unwrap();
    let options = JudgeOptions { key: Some("another".to_owned()), ..JudgeOptions::default() };
    let judge = JudgeServer::start(options).unwrap();
    let keyed = chat(with_key(server(&judge), folder.path()), quick());
    let error = ask(&keyed, &question(0)).unwrap_err().to_string();
    assert!(error.contains("incorrect API key provided: Bearer [key]"), "{error}");
    assert!(ask(&chat(server(&judge), quick()), &question(0)).is_err());
    assert_eq!(judge.last_request().unwrap().header("authorization"), None);
    assert_eq!(judge.counts().requests, 2);
}

/// Cargo sets `CARGO_PKG_NAME` for tests.
#[test]
fn a_key_in_the_environment_is_sent() {
    let judge = judge(|_| Fault::None);
    let config = ServerConfig { api_key_env: Some("CARGO_PKG_NAME".to_owned()), ..server(&judge) };
    ask(&chat(config, quick()), &question(0)).unwrap();
    let seen = judge.last_request().unwrap();
    assert_eq!(seen.header("authorization"), Some("Bearer rlaif-oracle"));
}
