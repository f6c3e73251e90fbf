//! Oracles as a run uses them.

#[cfg(unix)]
mod command_faults;
#[cfg(unix)]
mod command_life;
#[cfg(unix)]
mod command_protocol;
#[cfg(unix)]
mod judge;
