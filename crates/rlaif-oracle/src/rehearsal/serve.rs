//! Connections: each has a thread that reads requests and acts out their faults.

use std::{
    collections::HashMap,
    io::{self, BufReader, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Fault, JudgeOptions, Seen, answer,
    counts::Tally,
    http::{self, Reply, Request},
};

/// Blanks under [`Fault::HugeBody`].
const HUGE: usize = 16 << 20;
/// Longest sleep without a look at whether it is stopping.
const LOOK: Duration = Duration::from_mins(1);

/// What the threads share.
pub(super) struct Shared {
    options: JudgeOptions,
    pub(super) counts: Tally,
    pub(super) is_stopping: AtomicBool,
    asleep: Mutex<()>,
    woken: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What becomes of a request.
enum Course {
    /// This goes out; the digest where it is an answer that would be paid for.
    Say(Reply, Option<String>),
    /// The first half of this goes out, and the connection is closed.
    BreakOff(Reply),
    /// The first half of this goes out, and then nothing until the judge ends.
    Stall(Reply),
    /// The connection is closed.
    HangUp,
}

impl Shared {
    pub(super) fn new(options: JudgeOptions) -> Self {
        Shared {
            options,
            counts: Tally::default(),
            is_stopping: AtomicBool::new(false),
            asleep: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Ends every [`sleep`](Self::sleep), once it is stopping.
    pub(super) fn wake(&self) {
        let _asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.woken.notify_all();
    }

    /// Waits, unless it is stopping.
    fn sleep(&self, time: Duration) {
        let until = Instant::now().checked_add(time);
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until
                .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() || self.is_stopping() {
                return;
            }
            asleep = self
                .woken
                .wait_timeout(asleep, left.min(LOOK))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while !self.is_stopping() {
            let Some(request) = http::read(&mut reader, &mut writer)? else { break };
            let is_last = request.header("connection").is_some_and(|value| value == "close");
            match self.course(&request) {
                Course::Say(reply, None) => writer.write_all(&reply.bytes())?,
                Course::Say(reply, Some(digest)) => {
                    self.counts.answered(&digest);
                    writer
                        .write_all(&reply.bytes())
                        .inspect_err(|_| self.counts.not_answered(&digest))?;
                }
                Course::BreakOff(reply) => {
                    writer.write_all(&reply.first_half())?;
                    break;
                }
                Course::Stall(reply) => {
                    writer.write_all(&reply.first_half())?;
                    self.sleep(Duration::MAX);
                    break;
                }
                Course::HangUp => break,
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn course(&self, request: &Request) -> Course {
        let path = request.path.split('?').next().unwrap_or_default();
        if request.method == "GET" && path.ends_with("/models") {
            let list = json!({"object": "list", "data": [{"id": "rehearsal", "object": "model"}]});
            return Course::Say(Reply::new(200, list.to_string()), None);
        }
        if request.method != "POST" || !path.ends_with("/chat/completions") {
            return refuse(404, "there is nothing here");
        }
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return refuse(400, "the body is no JSON");
        };
        self.chat(request, &body)
    }

    fn chat(&self, request: &Request, body: &Value) -> Course {
        let options = &self.options;
        let digest = answer::digest(&request.body);
        let seen = Seen { headers: request.headers.clone(), body: body.clone() };
        let number = self.counts.asked(&digest, seen);
        let given = request.header("authorization").unwrap_or_default();
        if options.key.as_ref().is_some_and(|key| given != format!("Bearer {key}")) {
            return refuse(401, &format!("incorrect API key provided: {given}"));
        }
        if body["stream"] == true {
            return refuse(400, "this judge does not stream");
        }
        if !options.takes_schema && body.get("response_format").is_some() {
            return refuse(400, "response_format is not supported");
        }
        let Some(place) = self.counts.begin(options.at_once) else {
            return refuse(429, "too many requests at once");
        };
        let fault = (options.faults)(number);
        let slow = match fault {
            Fault::Slow(by) => by,
            _ => Duration::ZERO,
        };
        if fault != Fault::None {
            self.counts.fault(fault.to_string());
        }
        self.sleep(options.latency + slow);
        let course = self.act(&fault, (number, body, digest), given);
        // Before the reply goes out: whoever has it may ask again at once.
        drop(place);
        course
    }

    fn act(&self, fault: &Fault, asked: (u64, &Value, String), given: &str) -> Course {
        let (number, body, digest) = asked;
        let mut candidates = answer::last_candidates(body);
        if *fault == Fault::WrongCount {
            candidates.pop();
        }
        let said = match fault {
            Fault::Abstain => self.options.abstention.clone(),
            _ => (self.options.rule)(&candidates),
        };
        let mut completion = answer::completion(body, number, &said);
        match fault {
            Fault::None | Fault::WrongCount | Fault::Slow(_) | Fault::Abstain => {
                Course::Say(Reply::new(200, completion.to_string()), Some(digest))
            }
            Fault::Status(status, after) => {
                // Some gateways repeat the request's headers.
                let message = format!("rehearsed failure of a request with {given}");
                let mut reply = Reply::new(*status, answer::error(&message));
                reply.headers.extend(after.clone().map(|after| ("retry-after", after)));
                Course::Say(reply, None)
            }
            Fault::Redirect(location) => {
                let mut reply = Reply::new(307, "");
                reply.headers.push(("location", location.clone()));
                Course::Say(reply, None)
            }
            Fault::ResetBeforeHeaders => Course::HangUp,
            Fault::StallMidBody => Course::Stall(Reply::new(200, completion.to_string())),
            Fault::ResetMidBody => Course::BreakOff(Reply::new(200, completion.to_string())),
            Fault::Garbage => {
                let page = format!("<html><body>Bad gateway ({given})</body></html>");
                Course::Say(Reply::new(200, page), None)
            }
            Fault::EmptyChoices => {
                completion["choices"] = json!([]);
                Course::Say(Reply::new(200, completion.to_string()), None)
            }
            Fault::InvalidUtf8 => {
                let mut bytes = completion.to_string().into_bytes();
                if let Some(at) = bytes.iter().position(|byte| *byte == b'[') {
                    bytes.insert(at, 0xff);
                }
                Course::Say(Reply::new(200, bytes), None)
            }
            Fault::HugeBody => Course::Say(Reply::new(200, vec![b' '; HUGE]), None),
        }
    }
}

fn refuse(status: u16, message: &str) -> Course {
    Course::Say(Reply::new(status, answer::error(message)), None)
}

/// Open connections, to end them from outside.
type Open = Arc<Mutex<HashMap<u64, TcpStream>>>;

/// A connection's handle among the open ones, taken out when dropped.
struct Entry {
    number: u64,
    open: Open,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Takes connections until it is stopping, then ends them all.
pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let open = Open::default();
    let lock = || open.lock().unwrap_or_else(PoisonError::into_inner);
    let mut threads = Vec::new();
    for number in 0.. {
        let connection = listener.accept();
        if shared.is_stopping() {
            break;
        }
        let Ok((stream, _)) = connection else {
            // Out of files, for instance.
            shared.sleep(Duration::from_millis(10));
            continue;
        };
        if let Ok(handle) = stream.try_clone() {
            lock().insert(number, handle);
        }
        let entry = Entry { number, open: Arc::clone(&open) };
        let shared = Arc::clone(shared);
        threads.retain(|thread: &thread::JoinHandle<()>| !thread.is_finished());
        threads.push(thread::spawn(move || {
            // After `stream`, also where a rule panics: then the connection is closed.
            let _entry = entry;
            if let Err(error) = shared.converse(&stream) {
                tracing::debug!(%error, "a connection of the rehearsal judge ended");
            }
        }));
    }
    for stream in lock().values() {
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::warn!("a connection of the rehearsal judge panicked");
        }
    }
}
