//! A judge on this machine to rehearse with: an OpenAI-compatible server on the loopback that
//! costs nothing, ranks by a rule, takes its time, fails by schedule, and counts.
//!
//! A run against it shows before anything is paid for how many requests a recipe makes, how long
//! they take under the recipe's limits, and that faults of the server change nothing.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use rlaif_oracle::rehearsal::{Fault, JudgeOptions, JudgeServer};
//!
//! let judge = JudgeServer::start(JudgeOptions {
//!     latency: Duration::from_millis(5),
//!     // Every third request is turned down.
//!     faults: Arc::new(|number| match number % 3 {
//!         2 => Fault::Status(503, Some("1".to_owned())),
//!         _ => Fault::None,
//!     }),
//!     ..JudgeOptions::default()
//! })?;
//! assert!(judge.base_url().starts_with("http://127.0.0.1:"));
//! assert_eq!(judge.counts().requests, 0);
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;
mod counts;
mod fault;
mod http;
mod rule;
mod serve;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

pub use counts::{Counts, Seen};
pub use fault::{Fault, Schedule};
pub use rule::{Rule, candidates_in, longest_first};

use serve::Shared;

/// How the judge behaves.
#[derive(Clone)]
pub struct JudgeOptions {
    /// Time that a reply takes. Default: none.
    pub latency: Duration,
    /// Requests that it works on at once; those beyond are turned down with 429, as hosted APIs
    /// do. Default: as many as come.
    pub at_once: Option<usize>,
    /// The key that it wants; others get 401 with their own key quoted, as some gateways do.
    /// Default: none is wanted.
    pub key: Option<String>,
    /// Whether it takes `response_format`, which it then does not heed; else it answers 400.
    /// Default: true.
    pub takes_schema: bool,
    /// How it ranks. Default: [`longest_first`].
    pub rule: Rule,
    /// What it says instead of a ranking under [`Fault::Abstain`].
    pub abstention: String,
    /// What goes wrong. Default: nothing.
    pub faults: Schedule,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        JudgeOptions {
            latency: Duration::ZERO,
            at_once: None,
            key: None,
            takes_schema: true,
            rule: Arc::new(longest_first),
            abstention: "ABSTAIN: the clip does not show it".to_owned(),
            faults: Arc::new(|_| Fault::None),
        }
    }
}

impl fmt::Debug for JudgeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgeOptions")
            .field("latency", &self.latency)
            .field("at_once", &self.at_once)
            .field("has_key", &self.key.is_some())
            .field("takes_schema", &self.takes_schema)
            .finish_non_exhaustive()
    }
}

/// The judge, running until it is dropped. Connections are kept open, one thread each.
#[derive(Debug)]
pub struct JudgeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl JudgeServer {
    /// Starts on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// Where no port can be had.
    pub fn start(options: JudgeOptions) -> io::Result<Self> {
        JudgeServer::start_on(0, options)
    }

    /// Starts on a certain port of the loopback, for instance that of a judge that was dropped.
    ///
    /// # Errors
    ///
    /// Where the port is in use.
    pub fn start_on(port: u16, options: JudgeOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let accepting = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("rehearsal".to_owned())
            .spawn(move || serve::accept(&listener, &accepting))?;
        Ok(JudgeServer { address, shared, acceptor: Some(acceptor) })
    }

    /// The address for a recipe, `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was asked and answered so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().clone()
    }

    /// The latest request.
    #[must_use]
    pub fn last_request(&self) -> Option<Seen> {
        self.shared.counts.last()
    }
}

impl Drop for JudgeServer {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.shared.wake();
        // Wakes the acceptor, which ends everything else. Where this fails, the acceptor is gone.
        let woken = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take()
            && woken.is_ok()
            && acceptor.join().is_err()
        {
            tracing::warn!("the rehearsal judge panicked");
        }
    }
}
