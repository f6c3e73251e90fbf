//! A child process whose output comes in pieces and which never outlives its deadline.
//!
//! Two threads drain the child's pipes; the caller waits on channels, so that a child that
//! hangs, or one whose own children keep a pipe open, cannot hold the caller past the deadline.
//! On Unix the child leads a process group of its own: Ctrl-C in the terminal does not reach it
//! (the run ends its step first), and ending it ends what it started.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use crate::VideoError;

/// Bytes of a child's complaints that are kept for the error message.
const LOG_LIMIT: usize = 4096;
/// Time for the pipes to close once the child has exited.
const GRACE: Duration = Duration::from_secs(2);

/// When the work on one clip must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        let now = Instant::now();
        // A limit past the clock's range means none: a year will do.
        let at = now.checked_add(limit).unwrap_or(now + Duration::from_hours(365 * 24));
        Deadline { at, limit }
    }

    fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// An error once the time is up.
    pub(crate) fn check(&self, path: &Path) -> Result<(), VideoError> {
        if self.left().is_zero() { Err(self.error(path)) } else { Ok(()) }
    }

    fn error(&self, path: &Path) -> VideoError {
        VideoError::Timeout { path: path.to_owned(), seconds: self.limit.as_secs_f64() }
    }
}

/// What a child wrote to stderr, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Lines of level `error` or worse, or without a level; cut at a few kilobytes.
    pub(crate) errors: String,
    /// Presentation times that the `showinfo` filter printed, in seconds: one per frame that was
    /// delivered, in order, and perhaps more for frames that were not.
    pub(crate) times: Vec<Option<f64>>,
}

impl Log {
    fn push(&mut self, line: &str) {
        if let Some(time) = showinfo_time(line) {
            self.times.push(time.parse().ok());
        } else if !LEVELS_UNHEARD.iter().any(|level| line.contains(level))
            && !line.trim().is_empty()
            && self.errors.len() < LOG_LIMIT
        {
            if !self.errors.is_empty() {
                self.errors.push_str("; ");
            }
            let room = LOG_LIMIT - self.errors.len().min(LOG_LIMIT);
            self.errors.extend(line.trim().chars().take(room));
        }
    }

    /// True where the child said that the file ends too early.
    pub(crate) fn says_truncated(&self) -> bool {
        const PHRASES: [&str; 5] =
            ["partial file", "ended prematurely", ": End of file", "truncated", "Truncated"];
        PHRASES.iter().any(|phrase| self.errors.contains(phrase))
    }

    /// The complaints for an error message, at most a few hundred characters.
    pub(crate) fn brief(&self) -> String {
        const CHARS: usize = 400;
        if self.errors.is_empty() {
            return "ffmpeg gave no reason".to_owned();
        }
        let mut text: String = self.errors.chars().take(CHARS).collect();
        if text.len() < self.errors.len() {
            text.push_str(" ...");
        }
        text
    }
}

/// Levels that `-loglevel level+info` puts before a line that is no complaint.
const LEVELS_UNHEARD: [&str; 3] = ["[info]", "[verbose]", "[warning]"];

/// The word for the time in a `showinfo` line such as `... n:   1 pts:   7168 pts_time:0.7     pos: ...`.
fn showinfo_time(line: &str) -> Option<&str> {
    if !line.contains("showinfo") || !line.contains(" n:") {
        return None;
    }
    let (_, rest) = line.split_once("pts_time:")?;
    rest.split_whitespace().next()
}

/// A running child that delivers stdout in pieces of a given size.
pub(crate) struct Piped {
    child: Child,
    path: PathBuf,
    deadline: Deadline,
    pieces: Receiver<io::Result<Vec<u8>>>,
    log: Receiver<Log>,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: Log,
}

impl Piped {
    /// Starts `command` on behalf of the video at `path`; pieces are `piece_bytes` long, the last
    /// one may be shorter.
    pub(crate) fn spawn(
        mut command: Command,
        path: &Path,
        deadline: Deadline,
        piece_bytes: usize,
    ) -> Result<Self, VideoError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|source| {
            let program = PathBuf::from(command.get_program());
            if source.kind() == io::ErrorKind::NotFound {
                VideoError::FfmpegMissing { program, path: path.to_owned() }
            } else {
                VideoError::Io { path: program, source }
            }
        })?;

        // One piece waits in the channel while the next is read: at most three are held at once.
        let (piece_sender, pieces) = sync_channel(1);
        if let Some(mut stdout) = child.stdout.take() {
            thread::spawn(move || {
                loop {
                    let piece = read_piece(&mut stdout, piece_bytes);
                    let last = !matches!(&piece, Ok(bytes) if bytes.len() == piece_bytes);
                    if piece_sender.send(piece).is_err() || last {
                        return;
                    }
                }
            });
        }
        let (log_sender, log) = sync_channel(1);
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                let mut log = Log::default();
                let mut lines = BufReader::new(stderr);
                let mut line = Vec::new();
                // A line without an end must not fill the memory.
                while matches!((&mut lines).take(1 << 16).read_until(b'\n', &mut line), Ok(1..)) {
                    log.push(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                log_sender.send(log).ok();
            });
        }
        Ok(Piped { child, path: path.to_owned(), deadline, pieces, log })
    }

    /// The next piece; empty or short at the end.
    pub(crate) fn next_piece(&mut self) -> Result<Vec<u8>, VideoError> {
        match self.pieces.recv_timeout(self.deadline.left()) {
            Ok(piece) => piece.map_err(|source| VideoError::io(&self.path, source)),
            Err(RecvTimeoutError::Timeout) => {
                self.end();
                Err(self.deadline.error(&self.path))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(Vec::new()),
        }
    }

    /// Waits for the child's own end, which must come before the deadline.
    pub(crate) fn finish(mut self) -> Result<Ended, VideoError> {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if self.deadline.left().is_zero() => {
                    self.end();
                    return Err(self.deadline.error(&self.path));
                }
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Err(source) => return Err(VideoError::io(&self.path, source)),
            }
        };
        let log = self.log.recv_timeout(GRACE).unwrap_or_default();
        Ok(Ended { status, log })
    }

    /// Ends the child and what it started, and reaps it.
    fn end(&mut self) {
        #[cfg(unix)]
        if matches!(self.child.try_wait(), Ok(None)) {
            // The child is not reaped yet, so its id still names its group.
            let group = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.end();
    }
}

fn read_piece(reader: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(bytes);
    reader.take(bytes as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Runs `command` to its end and returns stdout, which may be up to `limit` bytes.
pub(crate) fn output(
    command: Command,
    path: &Path,
    deadline: Deadline,
    limit: usize,
) -> Result<(Vec<u8>, Ended), VideoError> {
    let mut child = Piped::spawn(command, path, deadline, limit)?;
    let stdout = child.next_piece()?;
    if stdout.len() >= limit {
        return Err(VideoError::TooLarge {
            path: path.to_owned(),
            detail: format!("its description is longer than {limit} bytes"),
        });
    }
    Ok((stdout, child.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_complaints_are_told_apart() {
        let mut log = Log::default();
        log.push("[Parsed_showinfo_1 @ 0x5] [info] n:   1 pts:   7168 pts_time:0.7     pos: 1943");
        log.push("[Parsed_showinfo_1 @ 0x5] [info] config in time_base: 1/10240");
        log.push("[Parsed_showinfo_1 @ 0x5] [info] n:   2 pts:  NOPTS pts_time:NOPTS   pos: 2");
        log.push("[mov @ 0x5] [error] stream 0, offset 0x1428: partial file");
        log.push("[mov @ 0x5] [warning] Packet corrupt");
        assert_eq!(log.times, [Some(0.7), None]);
        assert_eq!(log.errors, "[mov @ 0x5] [error] stream 0, offset 0x1428: partial file");
        assert!(log.says_truncated());
    }

    #[test]
    fn complaints_are_cut() {
        let mut log = Log::default();
        for _ in 0..1000 {
            log.push("[error] the same again and again and again");
        }
        assert!(log.errors.len() < LOG_LIMIT + 10, "{}", log.errors.len());
        assert!(log.brief().len() < 420);
    }

    #[cfg(unix)]
    mod unix {
        use super::*;

        fn shell(script: &str) -> Command {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        }

        /// The shell's own child holds the pipe open; both must go, and soon.
        #[test]
        fn a_hanging_child_ends_at_the_deadline_with_its_children() {
            let folder = tempfile::tempdir().unwrap();
            let pid_file = folder.path().join("pid");
            let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
            let start = Instant::now();
            let deadline = Deadline::after(Duration::from_millis(400));
            let error = output(shell(&script), Path::new("a.mp4"), deadline, 1 << 20).unwrap_err();
            assert!(matches!(error, VideoError::Timeout { .. }), "{error}");
            assert!(start.elapsed() < Duration::from_secs(10));

            let pid = std::fs::read_to_string(&pid_file).unwrap().trim().to_owned();
            let stat = PathBuf::from(format!("/proc/{pid}/stat"));
            if Path::new("/proc/self/stat").exists() {
                // The grandchild was handed to init, which may take a moment to reap it.
                let gone = || match std::fs::read_to_string(&stat) {
                    Ok(text) => text.contains(") Z "),
                    Err(_) => true,
                };
                let waited = Instant::now();
                while !gone() && waited.elapsed() < Duration::from_secs(5) {
                    thread::sleep(Duration::from_millis(10));
                }
                assert!(gone(), "process {pid} outlived its deadline");
            }
        }

        #[test]
        fn a_dropped_child_is_ended_and_reaped() {
            let deadline = Deadline::after(Duration::from_mins(1));
            let mut child =
                Piped::spawn(shell("echo ab; exec sleep 600"), Path::new("a.mp4"), deadline, 2)
                    .unwrap();
            assert_eq!(child.next_piece().unwrap(), b"ab");
            let pid = child.child.id();
            drop(child);
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a zombie is left");
        }

        #[test]
        fn output_and_complaints_arrive() {
            let deadline = Deadline::after(Duration::from_mins(1));
            let (stdout, ended) = output(
                shell("echo out; echo wrong >&2; exit 3"),
                Path::new("a.mp4"),
                deadline,
                1 << 20,
            )
            .unwrap();
            assert_eq!(stdout, b"out\n");
            assert_eq!(ended.status.code(), Some(3));
            assert_eq!(ended.log.errors, "wrong");
        }
    }
}
