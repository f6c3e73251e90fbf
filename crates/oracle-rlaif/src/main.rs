//! The command line of oracle-rlaif: one file per command, and the only room that prints.

use std::process::ExitCode;

use clap::Parser as _;

mod commands;

/// Page faults cost about a fifth of the time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    commands::start_tracing(&cli);
    match commands::run(&cli) {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => {
            commands::progress::say(&format!("error: {error:#}"));
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
