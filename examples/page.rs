//! The status page of a daemon that does not exist, to look at and for checks in a browser: `cargo run --example page`.
//!
//! Prints its URL and serves until its standard input ends. Arguments: how many repositories there are (12), `calm` for a
//! day without trouble, `alarm` for a daemon that is in trouble itself.

#![expect(clippy::print_stdout, reason = "the address is for the one who started it")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};

use jiff::Timestamp;
use support::watched::Watched;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let repositories = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(12);
    let watched = Watched::start("127.0.0.1:0");
    if has("calm") {
        watched.calm(repositories).await;
    } else {
        watched.troubled(repositories).await;
    }
    if has("alarm") {
        let why = "/etc/tagsyncd/config.toml:12:1: unknown key `polcy`\n  polcy = \"mirror\"\n  ^^^^^\n  hint: did you mean `policy`?";
        watched.board.reloaded(Err(why.to_owned()), Timestamp::now());
    }
    println!("http://{}/", watched.address);
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
