//! `tagsyncd`: arguments in, one run, one place that renders errors, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tagsyncd::cli::main(std::env::args_os()) as u8)
}
