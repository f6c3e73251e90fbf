//! The command line of oracle-rlaif.
fn main() {}
