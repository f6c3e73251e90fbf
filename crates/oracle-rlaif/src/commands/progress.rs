//! Progress of long work: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or lines where standard error is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    plain: bool,
    said: Instant,
    started: Instant,
}

const BETWEEN_LINES: Duration = Duration::from_secs(5);

impl Progress {
    /// Begins work of `total` units under a label.
    pub(crate) fn start(label: &str, total: u64, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal && !quiet {
            ProgressBar::new(total)
        } else {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
        };
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:<22} {bar:30} {pos:>5}/{len:<5} {elapsed:>4} eta {eta:<4} {wide_msg}",
        ) {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        let now = Instant::now();
        Progress {
            bar,
            label: label.to_owned(),
            plain: !terminal && !quiet,
            said: now,
            started: now,
        }
    }

    /// Work done so far, with a note.
    pub(crate) fn at(&mut self, done: u64, note: impl Into<String>) {
        let note = note.into();
        self.bar.set_position(done);
        if self.plain && self.said.elapsed() >= BETWEEN_LINES {
            self.said = Instant::now();
            let total = self.bar.length().unwrap_or(0);
            say(&format!("{}: {done}/{total} {note}", self.label));
        }
        self.bar.set_message(note);
    }

    /// Ends the bar and leaves one line behind.
    pub(crate) fn done(self, note: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("{:<22} {note} ({seconds:.1} s)", self.label);
        if self.plain || !self.bar.is_hidden() {
            self.bar.finish_and_clear();
            say(&line);
        }
    }
}

/// One line on standard error.
#[expect(clippy::print_stderr, reason = "the command line talks to the person on standard error")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// One line on standard output: data.
pub(crate) fn print(line: &str) {
    use std::io::Write as _;
    // A closed pipe (`| head`) ends the talk, not the program.
    let _ = writeln!(std::io::stdout(), "{line}");
}
