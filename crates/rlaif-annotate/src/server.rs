//! The server: where it listens, and how it starts and ends.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::middleware;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use rlaif_oracle::Desk;
use tokio::sync::oneshot;

use crate::api;
use crate::guard::{Guard, guard};

/// How long requests under way may take when the server ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The address. Anything but the loopback asks for a token.
    pub host: IpAddr,
    /// The port; 0 for a free one.
    pub port: u16,
}

impl Default for ServerOptions {
    /// Port 8765 of the loopback.
    fn default() -> Self {
        ServerOptions { host: Ipv4Addr::LOCALHOST.into(), port: 8765 }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; take another `--port`, or 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The operating system refuses what a server needs.
    #[error("cannot start the server")]
    Start(#[source] io::Error),
    /// It ended by itself.
    #[error("the server of the page ended")]
    Ended(#[source] io::Error),
}

/// A server that runs on a thread of its own until it is stopped or dropped.
pub struct Server {
    address: SocketAddr,
    token: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl fmt::Debug for Server {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens and serves the tasks of `desk`.
    ///
    /// # Errors
    ///
    /// Where the address is taken or the operating system refuses.
    pub fn start(desk: Desk, options: ServerOptions) -> Result<Self, ServeError> {
        let wanted = SocketAddr::new(options.host, options.port);
        let listen = |source| ServeError::Listen { address: wanted, source };
        let listener = std::net::TcpListener::bind(wanted).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let token = if options.host.is_loopback() {
            None
        } else {
            Some(random_token().map_err(ServeError::Start)?)
        };
        let rules = Arc::new(Guard::new(token.clone(), address.port()));
        let router = api::router(desk).layer(middleware::from_fn_with_state(rules, guard));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServeError::Start)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let server = axum::serve(listener, router);
            tokio::select! {
                ended = server.into_future() => ended,
                // A sender that is dropped means the same.
                _ = stopped => Ok(()),
            }
        };
        let run = move || {
            let ended = runtime.block_on(serve);
            runtime.shutdown_timeout(FAREWELL);
            ended
        };
        let thread = std::thread::Builder::new()
            .name("annotate".to_owned())
            .spawn(run)
            .map_err(ServeError::Start)?;
        Ok(Server { address, token, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page. Holds the token where one is needed: it is for the terminal of who
    /// started the server, and for no log.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.token {
            None => format!("http://{}/", self.address),
            Some(token) => format!("http://{}/?token={token}", self.address),
        }
    }

    /// Whether it still serves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it. What was submitted is in the ledger.
    ///
    /// # Errors
    ///
    /// Where it had ended by itself.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServeError> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended.map_err(ServeError::Ended),
            Some(Err(_)) => Err(ServeError::Ended(io::Error::other("its thread panicked"))),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the server of the page");
        }
    }
}

/// 128 bits of the operating system, hexadecimal.
fn random_token() -> io::Result<String> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
