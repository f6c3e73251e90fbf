//! What the tests share: a desk with tasks, a server, a browser.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headless_chrome::browser::tab::ModifierKey;
use headless_chrome::protocol::cdp::{Emulation, Input, Page as Cdp};
use headless_chrome::{Browser, LaunchOptions, Tab};
use rlaif_annotate::{Server, ServerOptions};
use rlaif_data::{Example, Message, VideoRef};
use rlaif_oracle::Ledger;
use rlaif_oracle::human::{Answer, Desk};
use serde_json::Value;

/// How long the page may take to do what it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A row about a clip of ClipWorld.
pub(crate) fn example(id: &str, question: &str) -> Example {
    Example {
        id: id.to_owned(),
        video: VideoRef::World("test/3".to_owned()),
        messages: vec![Message::ask(question)],
        reference: Some("The red circle moves to the right.".to_owned()),
        choices: None,
        category: None,
        narrative: None,
        meta: serde_json::Map::new(),
    }
}

pub(crate) fn texts(candidates: &[&str]) -> Vec<String> {
    candidates.iter().map(|text| (*text).to_owned()).collect()
}

/// A desk on a ledger in memory.
pub(crate) fn desk() -> Desk {
    Desk::new(Arc::new(Ledger::in_memory().unwrap()))
}

/// A server on a free port of the loopback.
pub(crate) fn serve(desk: &Desk) -> Server {
    Server::start(desk.clone(), ServerOptions { port: 0, ..ServerOptions::default() }).unwrap()
}

/// The orders of a task as text, by annotator; `skip` for a skip.
pub(crate) fn said(desk: &Desk, task: &str) -> Vec<(String, String)> {
    let judgements = desk.judgements(task).unwrap();
    let word = |answer: Answer| match answer {
        Answer::Ranking(ranking) => ranking.to_string(),
        Answer::Skipped(_) => "skip".to_owned(),
    };
    judgements.into_iter().map(|one| (one.annotator, word(one.answer))).collect()
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// A headless Chromium. Where there is none the test is to return, having said so past the capture
/// of test output; where `ORACLE_RLAIF_REQUIRE_CHROMIUM=1` is set, as in CI, it fails instead.
pub(crate) fn browser_or_skip(test: &str) -> Option<Browser> {
    use std::io::Write as _;
    let Some(program) = chromium() else {
        let required = std::env::var("ORACLE_RLAIF_REQUIRE_CHROMIUM").is_ok_and(|v| v == "1");
        assert!(!required, "ORACLE_RLAIF_REQUIRE_CHROMIUM=1, but chromium is not on PATH: {test}");
        writeln!(std::io::stderr(), "SKIPPED: no chromium on PATH: {test}")
            .expect("stderr is open");
        return None;
    };
    let options = LaunchOptions {
        path: Some(program),
        // Root may not sandbox, and CI is often root.
        sandbox: false,
        window_size: Some((1280, 800)),
        idle_browser_timeout: Duration::from_mins(2),
        args: vec![OsStr::new("--hide-scrollbars"), OsStr::new("--lang=en-US")],
        ..LaunchOptions::default()
    };
    Some(Browser::new(options).unwrap())
}

/// A tab that shows the page.
pub(crate) struct Page {
    tab: Arc<Tab>,
}

impl Page {
    /// Opens the page without anybody's name.
    pub(crate) fn open(tab: Arc<Tab>, url: &str) -> Page {
        tab.set_default_timeout(PATIENCE);
        let page = Page { tab };
        page.size(1280, 800);
        page.calm("light");
        page.tab.navigate_to(url).unwrap().wait_until_navigated().unwrap();
        page
    }

    /// Opens the page and gives a name, by keys alone.
    pub(crate) fn open_as(tab: Arc<Tab>, url: &str, name: &str) -> Page {
        let page = Page::open(tab, url);
        page.until(
            "document.querySelector('#name-dialog[open]') && document.activeElement.id === 'name'",
        );
        page.tab.type_str(name).unwrap();
        page.key("Enter");
        page.until("['ranking', 'waiting'].includes(document.body.dataset.state)");
        page
    }

    pub(crate) fn size(&self, width: u32, height: u32) {
        let metrics = Emulation::SetDeviceMetricsOverride {
            width,
            height,
            device_scale_factor: 1.0,
            mobile: false,
            scale: None,
            screen_width: None,
            screen_height: None,
            position_x: None,
            position_y: None,
            dont_set_visible_size: None,
            screen_orientation: None,
            viewport: None,
            display_feature: None,
            device_posture: None,
        };
        self.tab.call_method(metrics).unwrap();
    }

    /// Nothing moves by itself; `scheme` is `light` or `dark`.
    pub(crate) fn calm(&self, scheme: &str) {
        let feature = |name: &str, value: &str| Emulation::MediaFeature {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let features = vec![
            feature("prefers-reduced-motion", "reduce"),
            feature("prefers-color-scheme", scheme),
        ];
        let media = Emulation::SetEmulatedMedia { media: None, features: Some(features) };
        self.tab.call_method(media).unwrap();
    }

    pub(crate) fn reload(&self) {
        self.js("window.before = 1");
        self.tab.reload(true, None).unwrap();
        self.until("!window.before && document.body.dataset.state !== 'starting'");
    }

    /// The value of an expression; none where it throws or the page is just being replaced.
    fn try_js(&self, expression: &str) -> Option<Value> {
        let wrapped = format!("JSON.stringify(({expression}) ?? null)");
        let value = self.tab.evaluate(&wrapped, false).ok()?.value?;
        serde_json::from_str(value.as_str()?).ok()
    }

    /// The value of an expression.
    pub(crate) fn js(&self, expression: &str) -> Value {
        self.try_js(expression).unwrap_or_else(|| panic!("{expression} has no value"))
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&self, expression: &str) {
        let start = Instant::now();
        while self.try_js(&format!("Boolean({expression})")) != Some(Value::Bool(true)) {
            assert!(
                start.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {expression}; the page says {}",
                self.js("document.body.innerText.slice(0, 800)")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn text(&self, selector: &str) -> String {
        let selector = Value::from(selector);
        let text = self.js(&format!("document.querySelector({selector})?.textContent"));
        text.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn key(&self, key: &str) {
        self.tab.press_key(key).unwrap();
    }

    pub(crate) fn shift(&self, key: &str) {
        self.tab.press_key_with_modifiers(key, Some(&[ModifierKey::Shift])).unwrap();
    }

    pub(crate) fn alt(&self, key: &str) {
        self.tab.press_key_with_modifiers(key, Some(&[ModifierKey::Alt])).unwrap();
    }

    /// The answers as they stand, ties sorted.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.js("[...document.querySelectorAll('#rows > li')].map((row) =>
               [...row.querySelectorAll('.text')].map((text) => text.textContent).sort())");
        serde_json::from_value(rows).unwrap()
    }

    /// Waits until the answers stand so.
    pub(crate) fn until_rows(&self, expected: &[&[&str]]) {
        let expected = serde_json::to_string(expected).unwrap();
        self.until(&format!(
            "JSON.stringify([...document.querySelectorAll('#rows > li')].map((row) =>
               [...row.querySelectorAll('.text')].map((text) => text.textContent).sort()))
             === {expected:?}"
        ));
    }

    /// Chooses an answer with the arrow keys, as few as it takes: each costs a fifth of a second.
    pub(crate) fn choose(&self, answer: &str) {
        let answer = Value::from(answer);
        let steps = self.js(&format!(
            "(() => {{
               const cards = [...document.querySelectorAll('#rows .card')];
               const wanted = cards.findIndex((card) => card.querySelector('.text').textContent === {answer});
               return wanted - cards.findIndex((card) => card.classList.contains('current'));
             }})()"
        ));
        let steps = steps.as_i64().unwrap();
        for _ in 0..steps.abs() {
            self.key(if steps < 0 { "ArrowUp" } else { "ArrowDown" });
        }
        assert_eq!(Value::from(self.text(".card.current .text")), answer);
    }

    /// Ranks strictly in this order, by keys.
    pub(crate) fn rank(&self, best_first: &[&str]) {
        for (rank, answer) in best_first.iter().enumerate() {
            self.choose(answer);
            self.key(&(rank + 1).to_string());
        }
        let rows: Vec<Vec<&str>> = best_first.iter().map(|answer| vec![*answer]).collect();
        let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
        self.until_rows(&rows);
    }

    /// The task that is shown.
    pub(crate) fn task(&self) -> String {
        self.js("document.body.dataset.task").as_str().unwrap().to_owned()
    }

    pub(crate) fn mouse(&self, kind: Input::DispatchMouseEventTypeOption, x: f64, y: f64) {
        let pressed = !matches!(kind, Input::DispatchMouseEventTypeOption::MouseReleased);
        let event = Input::DispatchMouseEvent {
            Type: kind,
            x,
            y,
            modifiers: None,
            timestamp: None,
            button: Some(Input::MouseButton::Left),
            buttons: Some(u32::from(pressed)),
            click_count: Some(1),
            force: None,
            tangential_pressure: None,
            tilt_x: None,
            tilt_y: None,
            twist: None,
            delta_x: None,
            delta_y: None,
            pointer_Type: None,
        };
        self.tab.call_method(event).unwrap();
    }

    /// What is seen, as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let png = Cdp::CaptureScreenshotFormatOption::Png;
        self.tab.capture_screenshot(png, None, None, true).unwrap()
    }

    /// Keeps what is seen for people to look at, where `ORACLE_RLAIF_SCREENSHOTS` names a folder.
    pub(crate) fn keep(&self, name: &str) {
        if let Some(folder) = std::env::var_os("ORACLE_RLAIF_SCREENSHOTS") {
            std::fs::write(PathBuf::from(folder).join(name), self.screenshot()).unwrap();
        }
    }

    pub(crate) fn close(self) {
        self.tab.close(true).unwrap();
    }
}
