//! Oracles as a run uses them.

mod asking;
mod asking_faults;
#[cfg(unix)]
mod command_faults;
#[cfg(unix)]
mod command_life;
#[cfg(unix)]
mod command_protocol;
mod http_faults;
mod http_secrets;
mod http_time;
#[cfg(unix)]
mod judge;
