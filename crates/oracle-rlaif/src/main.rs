//! The command line of oracle-rlaif: one file per command, and the only room that prints.

use std::process::ExitCode;

use clap::Parser as _;

mod commands;

/// Page faults cost about a fifth of the time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs `work` on a thread of the pool that tensor operations share: a thread outside of it would
/// sleep and be woken around every one of them, thousands of times a second in decoding.
fn on_a_worker<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    commands::start_tracing(&cli);
    match on_a_worker(|| commands::run(&cli)) {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let text = format!("{error:#}");
            let line: Vec<&str> = text.lines().map(str::trim).collect();
            commands::progress::say(&format!("error: {}", line.join(" ")));
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
