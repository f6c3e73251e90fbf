//! A program that is kept running and spoken to by lines.
//!
//! Three threads serve its pipes, so that a program that neither reads nor writes cannot hold the
//! caller. On Unix it leads a process group of its own: Ctrl-C in the terminal does not reach it,
//! and ending it ends what it started.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Longest line a program may write, in bytes.
pub(crate) const LINE_LIMIT: usize = 1 << 20;
/// Lines that wait to be read before the program is made to wait.
const LINES_WAITING: usize = 4;
/// How much of the end of stderr is kept, in bytes.
const STDERR_LIMIT: usize = 4096;
/// Time a program is given to end by itself once it closed stdout or was sent the end of stdin.
const GRACE: Duration = Duration::from_secs(2);

/// What a program did.
#[derive(Debug)]
pub(crate) enum Event {
    /// A line without its line feed, not blank.
    Line(Vec<u8>),
    /// The output ended in the middle of a line; it may be whole but for its line feed.
    Unfinished(Vec<u8>),
    /// The beginning of a line over [`LINE_LIMIT`].
    TooLong(Vec<u8>),
    /// It closed stdout, most likely because it ended.
    Closed,
    /// Nothing in the time given.
    Nothing,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status in words.
    pub(crate) status: String,
    /// The end of what it wrote to stderr.
    pub(crate) stderr: String,
}

pub(crate) struct Process {
    child: Child,
    lines: Option<Sender<Vec<u8>>>,
    events: Receiver<Event>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    stderr_closed: Receiver<()>,
    /// Whether it has answered anything yet.
    pub(crate) has_replied: bool,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;

        let (lines, to_write) = channel::<Vec<u8>>();
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read is noticed by its silence, so errors are not reported.
            thread::spawn(move || {
                while let Ok(line) = to_write.recv() {
                    if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                        return;
                    }
                }
            });
        }
        let (event_sender, events) = sync_channel(LINES_WAITING);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || read_lines(stdout, &event_sender));
        }
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let (closed_sender, stderr_closed) = sync_channel(1);
        if let Some(pipe) = child.stderr.take() {
            let tail = Arc::clone(&stderr);
            thread::spawn(move || {
                keep_tail(pipe, &tail);
                closed_sender.send(()).ok();
            });
        }
        let lines = Some(lines);
        Ok(Process { child, lines, events, stderr, stderr_closed, has_replied: false })
    }

    /// Hands a line over; whether the program reads it shows in its answers.
    pub(crate) fn send(&self, line: Vec<u8>) {
        if let Some(lines) = &self.lines {
            lines.send(line).ok();
        }
    }

    /// What the program does next, waiting no longer than `patience`.
    pub(crate) fn next_event(&self, patience: Duration) -> Event {
        match self.events.recv_timeout(patience) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Nothing,
            Err(RecvTimeoutError::Disconnected) => Event::Closed,
        }
    }

    /// Ends the program, which has closed its stdout and may be about to end by itself.
    pub(crate) fn wait_and_end(mut self) -> Ended {
        self.wait(GRACE);
        self.end()
    }

    /// Ends the program at once.
    pub(crate) fn kill(mut self) -> Ended {
        self.end()
    }

    /// Closes the program's stdin, which asks it to end, and ends it if it does not.
    pub(crate) fn close(mut self) {
        self.lines = None;
        self.wait(GRACE);
        self.end();
    }

    fn wait(&mut self, patience: Duration) {
        let start = Instant::now();
        while !has_ended(&mut self.child) && start.elapsed() < patience {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the program with what it started, and reaps it.
    fn end(&mut self) -> Ended {
        self.lines = None;
        let by_itself = has_ended(&mut self.child);
        #[cfg(unix)]
        {
            // It is not reaped yet, so its id still names its group, which may outlive it.
            let group = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.child.kill().ok();
        let status = match self.child.wait() {
            Ok(status) if by_itself => status.to_string(),
            Ok(_) => "ended by us".to_owned(),
            Err(error) => format!("its status is unknown: {error}"),
        };
        // Its last words may still be in the pipe.
        self.stderr_closed.recv_timeout(GRACE).ok();
        let mut tail = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = String::from_utf8_lossy(tail.make_contiguous()).into_owned();
        Ended { status, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end();
        }
    }
}

/// Whether the program has ended; on Unix without reaping it, so that its group keeps its id.
#[cfg(unix)]
fn has_ended(child: &mut Child) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(Pid::from_child(child)), options), Ok(None))
}

#[cfg(not(unix))]
fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

fn read_lines(stdout: impl Read, events: &SyncSender<Event>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut stdout).take(LINE_LIMIT as u64 + 1).read_until(b'\n', &mut line);
        let event = match read {
            Ok(1..) if line.len() > LINE_LIMIT && line.last() != Some(&b'\n') => {
                line.truncate(LINE_LIMIT);
                Event::TooLong(line)
            }
            Ok(1..) if line.trim_ascii().is_empty() => continue,
            Ok(1..) if line.last() != Some(&b'\n') => Event::Unfinished(line),
            Ok(1..) => Event::Line(line.trim_ascii().to_vec()),
            Ok(0) | Err(_) => Event::Closed,
        };
        let last = matches!(event, Event::Closed | Event::TooLong(_));
        if events.send(event).is_err() || last {
            return;
        }
    }
}

fn keep_tail(mut pipe: impl Read, tail: &Mutex<VecDeque<u8>>) {
    let mut piece = [0; 1024];
    while let Ok(n @ 1..) = pipe.read(&mut piece) {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&piece[..n]);
        let excess = tail.len().saturating_sub(STDERR_LIMIT);
        tail.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(output: &[u8]) -> Vec<String> {
        let (sender, receiver) = sync_channel(100);
        read_lines(output, &sender);
        drop(sender);
        receiver
            .iter()
            .map(|event| match event {
                Event::Line(line) => format!("line {}", String::from_utf8_lossy(&line)),
                Event::Unfinished(line) => format!("unfinished {}", String::from_utf8_lossy(&line)),
                Event::TooLong(line) => format!("too long {}", line.len()),
                Event::Closed => "closed".to_owned(),
                Event::Nothing => "nothing".to_owned(),
            })
            .collect()
    }

    #[test]
    fn output_is_taken_apart_into_lines() {
        assert_eq!(events(b"a\r\n\n  \nb c\nd"), ["line a", "line b c", "unfinished d", "closed"]);
        assert_eq!(events(b""), ["closed"]);
    }

    #[test]
    fn lines_have_a_longest_length() {
        let mut output = vec![b'x'; LINE_LIMIT];
        output.extend(b"\nb\n");
        let longest = format!("line {}", "x".repeat(LINE_LIMIT));
        assert_eq!(events(&output), [longest.as_str(), "line b", "closed"]);
        output.insert(0, b'x');
        assert_eq!(events(&output), [format!("too long {LINE_LIMIT}")]);
    }

    #[test]
    fn only_the_end_of_stderr_is_kept() {
        let tail = Mutex::default();
        let mut written = vec![b'a'; 3 * STDERR_LIMIT];
        written.extend(b"the end");
        keep_tail(&written[..], &tail);
        let tail = tail.into_inner().unwrap();
        assert_eq!(tail.len(), STDERR_LIMIT);
        assert!(tail.iter().rev().copied().eq(written.iter().rev().copied().take(STDERR_LIMIT)));
    }
}
