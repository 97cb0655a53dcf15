//! `tagsyncd`: arguments in, one run, one place that renders errors, an exit code out.

use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;

/// One heap for all threads. The C library's has one for each thread, up to eight for each core, and caches beside them: after
/// passes over a thousand repositories they hold several times what is in use, and never give it back.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    ExitCode::from(tagsyncd::cli::main(std::env::args_os()) as u8)
}
