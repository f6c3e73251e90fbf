//! Connections, bounded in number and in the time that their requests take to come, until the
//! process is asked to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::http::{App, Here, router};
use super::tally::Counts;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Time for a request's head, and between requests of a connection.
const HEAD: Duration = Duration::from_secs(30);
/// Time for requests under way after the server was asked to stop.
const DRAINING: Duration = Duration::from_secs(30);

/// Speaks HTTP until the process is asked to stop.
///
/// # Errors
///
/// Fails where the runtime or the socket cannot be had.
pub fn serve(
    listener: std::net::TcpListener,
    app: &Arc<App>,
    stopping: impl FnOnce(),
) -> Result<Counts> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime that speaks HTTP")?;
    runtime.block_on(accept(listener, app, stopping))?;
    // Blocking work that is still under way holds a sender of jobs; the worker outlives it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(app.counts())
}

async fn accept(
    listener: std::net::TcpListener,
    app: &Arc<App>,
    stopping: impl FnOnce(),
) -> Result<()> {
    let at = listener.local_addr().context("the server's socket")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("the server's socket")?;
    let router = router(Here { app: Arc::clone(app), at });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let stop = stop_signal()?;
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: others must close first.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    stopping();
    drop(listener);
    if timeout(DRAINING, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were given up: their time to end is over");
    }
    Ok(())
}

/// Ready when the process is asked to stop; asked again, it ends at once.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    })
}
